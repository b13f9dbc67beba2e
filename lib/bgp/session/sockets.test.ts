/** Sessions over the kernel's TCP, each end in a network namespace of its own. */
import { readdirSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { closeFd } from "../../sys/index.ts";
import { listenTcp, openTcpSocket } from "../../sys/tcp.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import { type Capabilities, encodeEndOfRib } from "../wire/index.ts";
import {
  type Listener,
  openListener,
  openSession,
  openTransport,
  type Session,
  type SessionHandler,
  type SessionOptions,
} from "./index.ts";

const CAPABILITIES: Capabilities = {
  families: [4, 6],
  routeRefresh: true,
  enhancedRouteRefresh: false,
  extendedMessages: true,
  fourOctetAsn: true,
  addPath: [],
  extendedNextHop: false,
  others: [],
};

/** So quick that a test sees several attempts. */
const TIMES = {
  connectDelay: 10,
  connectRetry: 100,
  connectRetryMost: 200,
  connectTimeout: 1_500,
  errorWait: 200,
  errorWaitMost: 200,
};

const descriptors = () => readdirSync("/proc/self/fd").length;

/** Polls, and gives up with what it saw. */
async function until(what: string, test: () => boolean, seen: () => unknown = () => ""): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!test()) {
    if (performance.now() > deadline) throw new Error(`not within 20 s: ${what}; ${JSON.stringify(seen())}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describeAsRoot("sessions over TCP", () => {
  let one: TestNamespace;
  let two: TestNamespace;
  let sessions: Session[];
  let listeners: Listener[];
  let before: number;
  const log = new Map<Session, string[]>();

  beforeEach(() => {
    one = makeNamespace("calico-bgp");
    two = makeNamespace("calico-bgp");
    before = descriptors();
    sessions = [];
    listeners = [];
    one.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", two.name);
    for (const [space, last] of [
      [one, 1],
      [two, 2],
    ] as const) {
      space.exec("sysctl", "-qw", "net.ipv6.conf.eth0.accept_dad=0");
      space.exec("ip", "link", "set", "lo", "up");
      space.exec("ip", "address", "add", `10.0.0.${last}/24`, "dev", "eth0");
      space.exec("ip", "address", "add", `fd00::${last}/64`, "dev", "eth0", "nodad");
      space.exec("ip", "address", "add", `fe80::${last}/64`, "dev", "eth0", "nodad");
      space.exec("ip", "link", "set", "eth0", "up");
    }
  });
  afterEach(async () => {
    await Promise.all(sessions.map((session) => session.close({ graceful: true })));
    for (const listener of listeners) listener.close();
    await until(
      "every socket is closed",
      () => descriptors() <= before,
      () => [before, descriptors()],
    );
    one.dispose();
    two.dispose();
  });

  const listen = (space: TestNamespace, family: 4 | 6): Listener => {
    const listener = openListener({ family, port: 179, namespace: space.namespace });
    listeners.push(listener);
    return listener;
  };

  function open(
    space: TestNamespace,
    there: string,
    listener: Listener | undefined,
    more: Partial<SessionOptions> = {},
  ) {
    const first = space === one;
    const events: string[] = [];
    const handler: SessionHandler = {
      established: (peer, _negotiated, local) => {
        events.push(`established with ${peer.asn} from ${local.version === 4 ? "IPv4" : "IPv6"}`);
      },
      update: ({ endOfRib }) => void events.push(`end of ${endOfRib}`),
      refresh: () => {},
      drained: () => {},
      down: ({ code }) => void events.push(`down ${code}`),
      stateChanged: () => {},
    };
    const options: SessionOptions = {
      name: there,
      address: parseAddress(there),
      port: 179,
      localAsn: first ? 64512 : 4_200_000_000,
      peerAsn: first ? 4_200_000_000 : 64512,
      routerId: first ? 1 : 2,
      passive: false,
      holdTime: 90,
      capabilities: () => CAPABILITIES,
      times: TIMES,
      ...more,
    };
    const transport = openTransport(space.namespace);
    const session = openSession(options, handler, { transport, ...(listener && { listener }) });
    sessions.push(session);
    log.set(session, events);
    return { session, events };
  }

  const up = (session: Session) => session.status.state === "Established";

  it.each([
    ["IPv4", "10.0.0.1", "10.0.0.2", {}],
    ["IPv6", "fd00::1", "fd00::2", {}],
    ["a link-local address", "fe80::1", "fe80::2", { interface: "eth0" }],
    ["TCP-MD5", "10.0.0.1", "10.0.0.2", { password: "s3cret ü" }],
    ["TCP-MD5 over IPv6", "fd00::1", "fd00::2", { password: "s3cret" }],
    ["TTL security", "10.0.0.1", "10.0.0.2", { ttlSecurity: 1 }],
    ["TTL security over IPv6", "fd00::1", "fd00::2", { ttlSecurity: 1 }],
    ["everything at once", "fe80::1", "fe80::2", { interface: "eth0", ttlSecurity: 1, password: "x" }],
  ] as const)("come up by %s, say something, and close", async (_name, a, b, more) => {
    const family = a.includes(":") ? 6 : 4;
    const near = open(one, b, listen(one, family), { ...more, sourceAddress: parseAddress(a) });
    const far = open(two, a, listen(two, family), { ...more, passive: true });
    await until(
      "both are up",
      () => up(near.session) && up(far.session),
      () => [near.session.status, near.events],
    );
    near.session.send(encodeEndOfRib(6));
    await until("the message is there", () => far.events.includes("end of 6"));
    expect(near.events).toEqual([`established with 4200000000 from IPv${family}`]);
    await near.session.close({ graceful: true, text: "bye" });
    await until("the other knows", () => far.events.includes("down NOTIFICATION_RECEIVED"));
    expect(far.session.status.lastError?.message).toContain('administrative shutdown (6/2): "bye"');
  });

  it("settle on one connection when both connect at once, time and again", async () => {
    const [here, there] = [listen(one, 4), listen(two, 4)];
    for (let round = 0; round < 5; round++) {
      const near = open(one, "10.0.0.2", here, { times: { ...TIMES, connectDelay: 1 } });
      const far = open(two, "10.0.0.1", there, { times: { ...TIMES, connectDelay: 1 } });
      await until(
        "both are up",
        () => up(near.session) && up(far.session),
        () => [near.session.status, far.session.status],
      );
      near.session.send(encodeEndOfRib(4));
      await until(
        "they are up with each other",
        () => far.events.includes("end of 4"),
        () => [near.events, far.events],
      );
      await Promise.all([near.session.close({ graceful: true }), far.session.close({ graceful: false })]);
    }
  });

  it("with different passwords, or one, stay down, and both say why", async () => {
    const near = open(one, "10.0.0.2", listen(one, 4), { password: "right" });
    const far = open(two, "10.0.0.1", listen(two, 4), { password: "wrong" });
    const codes = () => [near.session.status.lastError?.code, far.session.status.lastError?.code];
    await until("both suspect it", () => codes().every((code) => code === "MD5_SUSPECTED"), codes);
    expect(near.session.status.lastError?.message).toMatch(
      /passwords of both sides seem to differ|does not answer at all/,
    );
    await far.session.close({ graceful: true });
    const without = open(two, "10.0.0.1", listeners[1]);
    await until(
      "both suspect it again",
      () => without.session.status.lastError?.code === "MD5_SUSPECTED",
      () => without.session.status,
    );
    expect(without.session.status.lastError?.message).toContain("no password is set, but");
    expect(without.events).toEqual([]);
    // A password that is changed counts for the next connection.
    await without.session.close({ graceful: true });
    const repaired = open(two, "10.0.0.1", listeners[1], { password: "right" });
    await until(
      "they are up",
      () => up(near.session) && up(repaired.session),
      () => near.session.status,
    );
  });

  it("say of different passwords what the kernel drops, before an attempt is over; and who only waits does, too", async () => {
    const patient = { ...TIMES, connectTimeout: 60_000 };
    const near = open(one, "10.0.0.2", listen(one, 4), { password: "right", passive: true });
    const far = open(two, "10.0.0.1", listen(two, 4), { password: "wrong", times: patient });
    const message = (session: Session) => session.status.lastError?.message ?? "";
    await until(
      "the passive one says so",
      () => message(near.session).includes("of it or of another peer: the passwords of both sides seem to differ"),
      () => near.session.status,
    );
    await until(
      "the other suspects it",
      () => message(far.session).includes("a peer with another password, or without one, does not answer at all"),
      () => far.session.status,
    );
    await near.session.close({ graceful: true });
    const active = open(one, "10.0.0.2", listeners[0], { password: "right", times: patient });
    await until(
      "the kernel's counters are told",
      () => message(active.session).includes("with another signature or none: the passwords of both sides seem"),
      () => active.session.status,
    );
    expect(active.session.status.state).toBe("Connect");
  });

  it("with a peer that has no TTL security stay down, and say so", async () => {
    const near = open(one, "10.0.0.2", listen(one, 4), { ttlSecurity: 1, times: { ...TIMES, openWait: 500 } });
    // Answers with 255 hops, as it has to for all its peers, and then sends with the kernel's default.
    open(two, "10.0.0.1", listen(two, 4), { passive: true });
    await until("it says so", () => near.session.status.lastError !== undefined);
    expect(near.session.status.lastError?.message).toContain("ttlSecurity 1 drops what comes from farther away");
    expect(near.events).toEqual([]);
  });

  it("with a peer of another make that has no TTL security, say what the kernel dropped", async () => {
    const fd = two.run(() => {
      const plain = openTcpSocket(4);
      listenTcp(plain, { bytes: new Uint8Array(4), port: 179 }, 8, "listen");
      return plain;
    });
    const near = open(one, "10.0.0.2", undefined, { ttlSecurity: 1 });
    await until("it says so", () => near.session.status.lastError !== undefined);
    closeFd(fd);
    expect(near.session.status.lastError?.code).toBe("TIMED_OUT");
    expect(near.session.status.lastError?.message).toMatch(
      /with too low a TTL: ttlSecurity 1 wants|more than 1 hop away/,
    );
  });

  it("say why there is no connection", async () => {
    const error = async (there: string, more: Partial<SessionOptions>) => {
      const { session } = open(one, there, undefined, more);
      await until(`there is an error for ${there}`, () => session.status.lastError !== undefined);
      return session.status.lastError!;
    };
    const from = { sourceAddress: parseAddress("10.0.0.1") };
    expect(await error("10.0.0.2", from)).toMatchObject({ code: "REFUSED" });
    expect(await error("192.0.2.1", from)).toMatchObject({
      code: "NO_ROUTE",
      message: "no route to 192.0.2.1 from 10.0.0.1",
    });
    expect(await error("10.0.0.9", { times: { ...TIMES, connectTimeout: 10_000 } })).toMatchObject({
      code: "NO_ROUTE",
    });
    expect((await error("10.0.0.2", { sourceAddress: parseAddress("10.9.9.9") })).message).toBe(
      "cannot speak from 10.9.9.9: it is no address of this node",
    );
    expect((await error("fe80::2", { interface: "eth7" })).message).toContain("there is no interface eth7");
    two.exec("nft", "add table ip t");
    two.exec("nft", "add chain ip t c { type filter hook input priority 0; policy drop; }");
    expect(await error("10.0.0.2", from)).toMatchObject({ code: "TIMED_OUT" });
  });

  it("strangers are turned away, and told of", async () => {
    const strangers: string[] = [];
    listeners.push(
      openListener({ family: 4, port: 179, namespace: two.namespace, onStranger: () => void strangers.push("one") }),
    );
    const near = open(one, "10.0.0.2", undefined);
    await until("it is told of", () => strangers.length > 0 && near.session.status.lastError !== undefined);
    expect(near.session.status.lastError).toMatchObject({ code: "CONNECTION_LOST" });
    expect(near.session.status.lastError?.message).toContain("it may not have this node's address as a peer");
  });

  it("a port that is taken is an error that says so", () => {
    listen(one, 4);
    expect(() => listen(one, 4)).toThrow("listen on 0.0.0.0 port 179: bind: EADDRINUSE");
  });
});
