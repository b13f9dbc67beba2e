import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import {
  type Capabilities,
  CEASE,
  decodeNotification,
  ERROR,
  encodeEndOfRib,
  encodeKeepalive,
  encodeNotification,
  encodeOpen,
  encodeRouteRefresh,
  type Family,
  MESSAGE,
  MessageReader,
  type Negotiated,
  type Notification,
  type Open,
} from "../wire/index.ts";
import { openSession } from "./index.ts";
import { FakeClock, type MemoryConnection, MemoryNetwork, settle } from "./testing.ts";
import type { Session, SessionError, SessionHandler, SessionOptions, State } from "./types.ts";

const CAPABILITIES: Capabilities = {
  families: [4, 6],
  routeRefresh: true,
  enhancedRouteRefresh: true,
  extendedMessages: false,
  fourOctetAsn: true,
  addPath: [],
  extendedNextHop: false,
  others: [],
  gracefulRestart: {
    restarting: false,
    notification: true,
    time: 120,
    families: [
      { family: 4, forwarding: true },
      { family: 6, forwarding: true },
    ],
  },
};

const A = "10.0.0.1";
const B = "10.0.0.2";

class Recorder implements SessionHandler {
  readonly log: string[] = [];
  readonly states: State[] = [];
  negotiated: Negotiated | undefined;
  keep: readonly Family[] = [];
  keepTime = 0;
  error: SessionError | undefined;
  updates = 0;
  ends: Family[] = [];
  drains = 0;
  onUpdate: () => void = () => {};
  established(_peer: Open, negotiated: Negotiated): void {
    this.negotiated = negotiated;
    this.log.push("established");
  }
  update(update: { readonly endOfRib?: Family }): void {
    this.updates++;
    if (update.endOfRib) this.ends.push(update.endOfRib);
    this.onUpdate();
  }
  refresh(): void {
    this.log.push("refresh");
  }
  drained(): void {
    this.drains++;
  }
  down(error: SessionError, keep: readonly Family[], time: number): void {
    this.error = error;
    this.keep = keep;
    this.keepTime = time;
    this.log.push(`down ${error.code}`);
  }
  stateChanged(state: State, error?: SessionError): void {
    this.states.push(state);
    if (error) this.error = error;
  }
}

let network: MemoryNetwork;
let clock: FakeClock;
let sessions: Session[];
beforeEach(() => {
  clock = new FakeClock();
  network = new MemoryNetwork({ clock });
  sessions = [];
});
afterEach(async () => {
  for (const session of sessions) void session.close({ graceful: false });
  await clock.advance(2_000);
  // Whatever happened: nothing is left behind.
  expect([clock.armed, network.open]).toEqual([0, 0]);
});

function options(here: string, there: string, more: Partial<SessionOptions> = {}): SessionOptions {
  const asn = (address: string) => 64511 + Number(address.split(".")[3]);
  return {
    name: `to_${there}`,
    address: parseAddress(there),
    port: 179,
    localAsn: asn(here),
    peerAsn: asn(there),
    routerId: Number(here.split(".")[3]),
    passive: false,
    holdTime: 90,
    capabilities: () => CAPABILITIES,
    ...more,
  };
}

function open(here: string, there: string, more: Partial<SessionOptions> = {}): { session: Session; seen: Recorder } {
  const seen = new Recorder();
  const session = openSession(options(here, there, more), seen, network.environment(here));
  sessions.push(session);
  return { session, seen };
}

/** Somebody who speaks BGP by hand. */
class Hand {
  readonly got: string[] = [];
  readonly notifications: Notification[] = [];
  lost = false;
  readonly #reader = new MessageReader();
  constructor(readonly connection: MemoryConnection) {
    connection.listen({
      data: (bytes) => {
        this.#reader.push(bytes);
        for (let message = this.#reader.next(); message; message = this.#reader.next()) {
          const name = Object.entries(MESSAGE).find(([, type]) => type === message.type)![0];
          this.got.push(name);
          if (message.type === MESSAGE.NOTIFICATION) this.notifications.push(decodeNotification(message.body));
        }
      },
      writable: () => {},
      lost: () => {
        this.lost = true;
      },
    });
  }
  say(...messages: Uint8Array[]): void {
    for (const message of messages) this.connection.write(message);
  }
}

function openOf(here: string, more: Partial<Open> = {}): Uint8Array {
  const last = Number(here.split(".")[3]);
  return encodeOpen({ asn: 64511 + last, holdTime: 90, routerId: last, capabilities: CAPABILITIES, ...more });
}

/** A session on A that waits, and a peer by hand that has connected to it. */
async function byHand(more: Partial<SessionOptions> = {}): Promise<{ session: Session; seen: Recorder; hand: Hand }> {
  const { session, seen } = open(A, B, { passive: true, ...more });
  await settle();
  const hand = new Hand(network.connect(B, A));
  await settle();
  return { session, seen, hand };
}

async function upByHand(more: Partial<SessionOptions> = {}, theirs: Partial<Open> = {}) {
  const all = await byHand(more);
  all.hand.say(openOf(B, theirs), encodeKeepalive());
  await settle();
  expect(all.session.status.state).toBe("Established");
  return all;
}

describe("two sessions", () => {
  it("come up, settle the lower hold time, and tell each other of their tables", async () => {
    const a = open(A, B, { holdTime: 90 });
    const b = open(B, A, { holdTime: 30, passive: true });
    await clock.advance(3_000);
    expect(a.seen.states).toEqual(["Active", "Connect", "OpenSent", "OpenConfirm", "Established"]);
    expect(a.session.status).toMatchObject({ state: "Established", holdTime: 30, peer: { asn: 64513, routerId: 2 } });
    expect(b.session.status.lastError).toBeUndefined();
    expect(a.seen.negotiated?.families).toEqual([4, 6]);
    expect(a.session.send(encodeEndOfRib(4))).toBe(true);
    expect(b.session.requestRefresh(6)).toBe(true);
    await settle();
    expect([b.seen.ends, a.seen.log]).toEqual([[4], ["established", "refresh"]]);
    // A day without anything to say: KEEPALIVEs hold it.
    await clock.advance(600_000);
    expect([a.seen.log, b.seen.log]).toEqual([["established", "refresh"], ["established"]]);
    expect(a.session.status.messages.received).toBeGreaterThan(60);
  });

  it("both connecting at once have one session, of the connection that the higher router id made", async () => {
    const a = open(A, B);
    const b = open(B, A);
    await clock.advance(60_000);
    expect([a.session.status.state, b.session.status.state]).toEqual(["Established", "Established"]);
    expect([a.seen.log, b.seen.log]).toEqual([["established"], ["established"]]);
    expect(network.open).toBe(2);
  });

  it("both passive wait, without error", async () => {
    const a = open(A, B, { passive: true });
    open(B, A, { passive: true });
    await clock.advance(60_000);
    expect(a.session.status).toMatchObject({ state: "Active", flaps: 0 });
    expect(a.session.status.lastError).toBeUndefined();
  });

  it("are closed with words, which the other reports", async () => {
    const a = open(A, B);
    const b = open(B, A, { passive: true });
    await clock.advance(3_000);
    const closed = a.session.close({ graceful: true, text: "node is drained" });
    expect(a.seen.log).toEqual(["established"]); // nothing is told from within the call
    await clock.advance(2_000);
    await closed;
    expect(a.seen.log).toEqual(["established", "down SHUTDOWN"]);
    // Both keep routes over a NOTIFICATION (RFC 8538): this one says not to.
    expect(b.seen.error).toMatchObject({ code: "NOTIFICATION_RECEIVED" });
    expect(b.seen.error?.message).toContain("hard reset (6/9): Cease: administrative shutdown (6/2)");
    expect([b.seen.keep, b.session.status.state]).toEqual([[], "Active"]);
  });

  it("closed silently leave the other its routes for as long as was announced (RFC 4724)", async () => {
    const a = open(A, B);
    const b = open(B, A, { passive: true });
    await clock.advance(3_000);
    void a.session.close({ graceful: false });
    await settle();
    expect([b.seen.log, b.seen.keep, b.seen.keepTime]).toEqual([["established", "down CONNECTION_LOST"], [4, 6], 120]);
  });
});

describe("routes are kept", () => {
  const without = { ...CAPABILITIES, gracefulRestart: { ...CAPABILITIES.gracefulRestart!, notification: false } };

  it.each([
    ["the connection is lost", "lost", CAPABILITIES, [4, 6]],
    ["the connection is lost, one family has no restart", "lost", only4(), [4]],
    ["the connection is lost, and the other has no graceful restart", "lost", none(), []],
    ["a NOTIFICATION comes, and both have the N bit", "notification", CAPABILITIES, [4, 6]],
    ["a NOTIFICATION comes, and one has not", "notification", without, []],
    ["a hard reset comes", "hard", CAPABILITIES, []],
    ["nonsense comes, and both have the N bit", "nonsense", CAPABILITIES, [4, 6]],
    ["nonsense comes, and one has not", "nonsense", without, []],
    ["this side resets for its configuration", "reset", CAPABILITIES, [4, 6]],
    ["BFD says it is down", "bfd", CAPABILITIES, []],
  ] as const)("when %s: %s", async (_name, how, capabilities, kept) => {
    const { session, seen, hand } = await upByHand({}, { capabilities: capabilities as Capabilities });
    if (how === "lost") hand.connection.close();
    if (how === "notification") hand.say(encodeNotification({ code: 6, subcode: 4, data: new Uint8Array(0) }));
    if (how === "hard") hand.say(encodeNotification({ code: 6, subcode: CEASE.HARD_RESET, data: Uint8Array.of(6, 2) }));
    if (how === "nonsense") hand.say(new Uint8Array(40));
    if (how === "reset") session.reset({ code: "CONFIGURATION_CHANGED", message: "another filter" });
    if (how === "bfd") session.reset({ code: "BFD_DOWN", message: "BFD: 3 packets missed" });
    await settle();
    expect(seen.keep).toEqual(kept);
    expect(seen.keepTime).toBe(kept.length > 0 ? 120 : 0);
    if (how === "bfd") expect(hand.notifications[0]).toMatchObject({ code: 6, subcode: CEASE.HARD_RESET });
  });

  function only4(): Capabilities {
    const restart = CAPABILITIES.gracefulRestart!;
    return { ...CAPABILITIES, gracefulRestart: { ...restart, families: [{ family: 4, forwarding: true }] } };
  }
  function none(): Capabilities {
    const { gracefulRestart: _, ...rest } = CAPABILITIES;
    return rest;
  }
});

describe("a new connection while a session is up", () => {
  it("is turned away while the session is young, and later until its OPEN has come; then the old one goes, its routes kept", async () => {
    const { session, seen, hand } = await upByHand();
    const early = new Hand(network.connect(B, A));
    await settle();
    expect(early.notifications).toEqual([{ code: 6, subcode: CEASE.COLLISION, data: new Uint8Array(0) }]);
    expect(hand.lost).toBe(false);
    await clock.advance(11_000);
    const port = new Hand(network.connect(B, A)); // somebody only looks whether the port is open
    await settle();
    expect(port.got).toEqual(["OPEN"]);
    port.connection.close();
    await settle();
    expect(seen.log).toEqual(["established"]);
    const restarted = new Hand(network.connect(B, A));
    restarted.say(openOf(B), encodeKeepalive());
    await settle();
    expect(seen.log).toEqual(["established", "down CONNECTION_LOST", "established"]);
    expect([seen.keep, hand.lost, session.status.state]).toEqual([[4, 6], true, "Established"]);
    expect(session.status.lastError?.message).toContain("it has restarted");
  });

  it("with another router id is somebody else behind the same address: the session stays", async () => {
    const { seen } = await upByHand();
    await clock.advance(11_000);
    const other = new Hand(network.connect(B, A));
    other.say(openOf(B, { routerId: 99 }), encodeKeepalive());
    await settle();
    expect(other.notifications.map(({ subcode }) => subcode)).toEqual([CEASE.COLLISION]);
    expect(seen.log).toEqual(["established"]);
  });

  it("is turned away for good without graceful restart, and the old one is asked whether it lives", async () => {
    const { gracefulRestart: _, ...rest } = CAPABILITIES;
    const { seen, hand } = await upByHand({}, { capabilities: rest });
    await clock.advance(11_000);
    const before = hand.got.length;
    const second = new Hand(network.connect(B, A));
    await settle();
    expect(second.notifications.map(({ subcode }) => subcode)).toEqual([CEASE.COLLISION]);
    expect(hand.got.slice(before)).toEqual(["KEEPALIVE"]);
    expect(seen.log).toEqual(["established"]);
  });
});

describe("the peer's worst", () => {
  it("garbage before OPEN is told what it is, and meets a closed door for a while", async () => {
    const { session, hand } = await byHand();
    hand.say(new TextEncoder().encode("GET / HTTP/1.1\r\nHost: 10.0.0.1\r\n\r\n"));
    await settle();
    expect(hand.notifications.map(({ code, subcode }) => [code, subcode])).toEqual([[1, 1]]);
    expect(session.status).toMatchObject({ state: "Idle", lastError: { code: "NOTIFICATION_SENT" } });
    const again = new Hand(network.connect(B, A));
    await settle();
    expect(again.notifications.map(({ code, subcode }) => [code, subcode])).toEqual([[6, CEASE.CONNECTION_REJECTED]]);
    await clock.advance(6_000);
    expect(session.status.state).toBe("Active");
  });

  it("an OPEN byte by byte is waited for no longer than one that does not come", async () => {
    const { session, hand } = await byHand({ times: { openWait: 10_000 } });
    const bytes = openOf(B);
    for (let i = 0; i < 9; i++) {
      hand.say(bytes.subarray(i, i + 1));
      await clock.advance(1_100);
    }
    await clock.advance(1_000);
    expect(session.status).toMatchObject({ state: "Active", lastError: { code: "TIMED_OUT" } });
    expect(session.status.lastError?.message).toBe("connected to 10.0.0.2, but no OPEN came for 10 s");
    await clock.advance(1_100);
    expect(hand.lost).toBe(true);
  });

  it("silence after both OPENs ends with the hold timer, and says so", async () => {
    const { session, seen, hand } = await upByHand();
    await clock.advance(89_000);
    expect(session.status.state).toBe("Established");
    await clock.advance(2_000);
    expect(hand.notifications.map(({ code }) => code)).toEqual([ERROR.HOLD_TIMER]);
    expect(seen.error).toMatchObject({
      code: "HOLD_TIMER",
      message: "hold timer expired: nothing heard from 10.0.0.2 for 90 s",
    });
    expect(session.status.state).toBe("Active");
  });

  it("who connects again and again does not use up this process's descriptors", async () => {
    const { session } = open(A, B, { passive: true });
    await settle();
    for (let i = 0; i < 300; i++) network.connect(B, A);
    await settle();
    const here = network.connections.filter(({ local, isOpen }) => isOpen && local.value === parseAddress(A).value);
    expect(here.length).toBeLessThan(20);
    const last = new Hand(network.connect(B, A));
    last.say(openOf(B), encodeKeepalive());
    await settle();
    expect(session.status.state).toBe("Established");
    for (const connection of network.connections) if (connection !== last.connection) connection.close();
  });

  it("bytes that never become a message do not hold the session", async () => {
    const { session, hand } = await upByHand({ holdTime: 9 });
    const long = new Uint8Array(4096).fill(0xff, 0, 16);
    long.set([0x10, 0x00, 2], 16);
    for (let i = 0; i < 30; i++) {
      hand.say(long.subarray(i, i + 1));
      await clock.advance(500);
    }
    expect(session.status.lastError?.code).toBe("HOLD_TIMER");
  });

  it.each([
    ["another AS", { asn: 65001 }, 2, 2, "it is of AS 65001, and AS 64513 is configured here for it"],
    [
      "no family in common",
      { capabilities: { ...CAPABILITIES, families: [] as Family[] } },
      2,
      7,
      "IPv4 and IPv6 unicast",
    ],
  ] as const)("an OPEN with %s is not accepted, in words", async (_name, more, code, subcode, words) => {
    const { session, hand } = await byHand({
      ...(subcode === 7 && { capabilities: () => ({ ...CAPABILITIES, families: [6] }) }),
    });
    const capabilities = { ...CAPABILITIES, families: [4] as Family[] };
    hand.say(openOf(B, subcode === 7 ? { capabilities } : (more as Partial<Open>)));
    await settle();
    expect(hand.notifications.map((one) => [one.code, one.subcode])).toEqual([[code, subcode]]);
    expect(session.status.lastError?.code).toBe("OPEN_UNACCEPTABLE");
    if (subcode === 2) expect(session.status.lastError?.message).toContain(words);
    else expect(session.status.lastError?.message).toContain("it offers IPv4 unicast, and this side IPv6");
  });

  it("the same router id is accepted between two ASes (RFC 6286)", async () => {
    await upByHand({}, { routerId: 1 });
  });

  it("the same router id within one AS is refused", async () => {
    const { session, hand } = await byHand({ peerAsn: 64512 });
    hand.say(openOf(B, { asn: 64512, routerId: 1 }));
    await settle();
    expect(hand.notifications.map((one) => [one.code, one.subcode])).toEqual([[2, 3]]);
    expect(session.status.lastError?.message).toContain("0.0.0.1");
  });

  it("messages out of turn are told so (RFC 6608)", async () => {
    const { session, hand } = await byHand();
    hand.say(encodeKeepalive());
    await settle();
    expect(hand.notifications.map((one) => [one.code, one.subcode])).toEqual([[5, 1]]);
    expect(session.status.lastError?.message).toContain("sent a KEEPALIVE in OpenSent");
    await clock.advance(10_000);
    const next = new Hand(network.connect(B, A));
    next.say(openOf(B), encodeEndOfRib(4));
    await settle();
    expect(next.notifications.map((one) => [one.code, one.subcode])).toEqual([[5, 2]]);
  });

  it("a rejection of our OPEN says what the other wants", async () => {
    const { session, hand } = await byHand();
    hand.say(encodeNotification({ code: 2, subcode: 2, data: new Uint8Array(0) }));
    await settle();
    expect(session.status.lastError).toMatchObject({
      code: "OPEN_REJECTED",
      message: "OPEN rejected by 10.0.0.2: bad peer AS (2/2): it expects another AS than 64512",
    });
    expect(session.status.state).toBe("Idle");
  });

  it("a handler that throws ends its own session and nobody else's", async () => {
    const { session, seen, hand } = await upByHand();
    seen.onUpdate = () => {
      throw new Error("spoilt");
    };
    hand.say(encodeEndOfRib(4));
    await settle();
    expect(session.status.lastError).toMatchObject({ code: "INTERNAL" });
    expect(session.status.lastError?.message).toContain("spoilt");
    expect(hand.notifications.map((one) => [one.code, one.subcode])).toEqual([[6, 4]]);
  });
});

describe("whatever a peer sends", () => {
  const piece = fc.oneof(
    fc.constantFrom(
      openOf(B),
      encodeKeepalive(),
      encodeEndOfRib(4),
      encodeRouteRefresh({ family: 4, kind: "request" }),
    ),
    fc.constantFrom(2, 3, 6).map((code) => encodeNotification({ code, subcode: 2, data: new Uint8Array(0) })),
    fc.uint8Array({ maxLength: 60 }),
    fc.tuple(fc.constantFrom(1, 2, 3, 4, 5, 6), fc.uint8Array({ maxLength: 60 })).map(([type, body]) => {
      const message = new Uint8Array(19 + body.length).fill(0xff, 0, 16);
      message.set([0, 19 + body.length, type], 16);
      message.set(body, 19);
      return message;
    }),
  );

  it("nothing is thrown, nothing is left open, and the next who behaves has a session", async () => {
    const { session } = open(A, B, { passive: true });
    await settle();
    const check = async (prologue: boolean, pieces: readonly Uint8Array[]) => {
      const hand = new Hand(network.connect(B, A));
      if (prologue) hand.say(openOf(B), encodeKeepalive());
      hand.say(...pieces);
      await settle();
      hand.connection.close();
      await clock.advance(40_000);
      expect([session.status.state, network.open]).toEqual(["Active", 0]);
    };
    await fc.assert(fc.asyncProperty(fc.boolean(), fc.array(piece, { maxLength: 6 }), check), { numRuns: 150 });
    const good = new Hand(network.connect(B, A));
    good.say(openOf(B), encodeKeepalive());
    await settle();
    expect(session.status.state).toBe("Established");
  });

  it("a handler that throws at everything is told so, and does not hang the process", async () => {
    const spoilt = (): never => {
      throw new Error("spoilt");
    };
    const handler = {
      established: spoilt,
      update: spoilt,
      refresh: spoilt,
      drained: spoilt,
      down: spoilt,
      stateChanged: spoilt,
    };
    const session = openSession(options(A, B, { passive: true }), handler, network.environment(A));
    sessions.push(session);
    await settle();
    const hand = new Hand(network.connect(B, A));
    hand.say(openOf(B), encodeKeepalive(), encodeEndOfRib(4));
    await settle();
    expect(session.status).toMatchObject({ state: "Active", lastError: { code: "INTERNAL" } });
  });
});

describe("attempts to connect", () => {
  const attempts = async (answer: "ECONNREFUSED" | "silent", seconds: number) => {
    const times: number[] = [];
    network.answer(B, answer);
    const { session, seen } = open(A, B, { sourceAddress: parseAddress(A) });
    const begun = clock.now();
    seen.stateChanged = (state) => void (state === "Connect" && times.push((clock.now() - begun) / 1000));
    await clock.advance(seconds * 1000);
    return { times, error: session.status.lastError };
  };

  /** Seconds from the end of a session by its peer, of which many went before, until the next attempt. */
  async function afterSessions(count: number, upFor: number): Promise<number[]> {
    const { session, seen } = open(A, B, { times: { connectDelay: 100, connectRetry: 1_000 } });
    const waits: number[] = [];
    let ended = clock.now();
    network.answer(B, (far) => {
      if (ended > 0) waits.push((clock.now() - ended) / 1000);
      ended = 0;
      const hand = new Hand(far);
      hand.say(openOf(B), encodeKeepalive());
    });
    for (let i = 0; i < count; i++) {
      while (session.status.state !== "Established") await clock.advance(50);
      await clock.advance(upFor);
      ended = clock.now();
      network.reset(A, B);
      await settle();
    }
    expect(seen.log.filter((one) => one.startsWith("down")).length).toBe(count);
    return waits.slice(1);
  }

  it("after a session that was up for a while come at once, however often that was before", async () => {
    expect(Math.max(...(await afterSessions(9, 11_000)))).toBeLessThan(0.2);
  });

  it("after sessions in a row that end young are soon, and then grow apart for some seconds", async () => {
    const waits = await afterSessions(10, 1_000);
    expect(waits.map((wait) => Math.round(wait * 10) / 10)).toEqual([0.1, 0.9, 0.9, 0.9, 0.9, 1.8, 3.5, 7, 7]);
  });

  it("begin anew with each session: failures of before do not count", async () => {
    const { session, seen } = open(A, B, { times: { connectDelay: 100, connectRetry: 1_000 } });
    network.answer(B, "ECONNREFUSED");
    await clock.advance(120_000);
    network.answer(B, undefined);
    const b = open(B, A, { passive: true });
    while (session.status.state !== "Established") await clock.advance(1_000);
    await clock.advance(1_000);
    void b.session.close({ graceful: false });
    await clock.advance(3_000);
    const tried = seen.states.length;
    await clock.advance(2_000);
    expect(seen.states.length).toBeGreaterThan(tried);
  });

  it("grow apart up to a limit, spread by a quarter, and the cause is told", async () => {
    const { times, error } = await attempts("ECONNREFUSED", 120);
    const gaps = times.map((time, i) => time - (times[i - 1] ?? 0));
    expect(gaps).toEqual([1.75, 4.375, 4.375, 4.375, 4.375, 4.375, 8.75, 17.5, 26.25, 26.25]);
    expect(error).toMatchObject({
      code: "REFUSED",
      message: "refused: nothing listens on 10.0.0.2 port 179, or a firewall rejects connections from 10.0.0.1",
    });
  });

  it("without an answer are given up, and a password is suspected where there is one", async () => {
    expect((await attempts("silent", 15)).error).toMatchObject({
      code: "TIMED_OUT",
      message:
        "no answer from 10.0.0.2 port 179 to 10.0.0.1 for 10 s: it is down, a firewall drops the packets, or it has a password for this node",
    });
    network.answer(B, undefined);
    const b = open("10.0.0.3", B, { password: "one" });
    open(B, "10.0.0.3", { password: "another", passive: true });
    await clock.advance(15_000);
    expect(b.session.status.lastError).toMatchObject({ code: "MD5_SUSPECTED" });
  });

  it("say after four seconds that nobody answers, while they go on; once", async () => {
    network.answer(B, "silent");
    const { session, seen } = open(A, B, { password: "one" });
    await clock.advance(1_750 + 3_900);
    expect(session.status.lastError).toBeUndefined();
    await clock.advance(200);
    expect(session.status).toMatchObject({ state: "Connect", lastError: { code: "MD5_SUSPECTED" } });
    expect(session.status.lastError?.message).toContain("no answer from 10.0.0.2 port 179 for 4 s; a password is set");
    let told = 0;
    seen.stateChanged = (_state, error) => void (error && told++);
    await clock.advance(5_900 + 4_375 + 9_000);
    expect(told).toBe(1);
  });

  it("do not hide what ended the session before, which is kept with its time until the next has ended", async () => {
    const { session, hand } = await upByHand({ passive: false });
    await clock.advance(20_000);
    expect(session.status.endedBy).toBeUndefined();
    const at = clock.now();
    session.reset({ code: "BFD_DOWN", message: "BFD: 3 packets missed" });
    await settle();
    hand.connection.close();
    network.answer(B, "ECONNREFUSED");
    await clock.advance(60_000);
    const endedBy = { code: "BFD_DOWN", message: "BFD: 3 packets missed", at };
    expect(session.status).toMatchObject({ lastError: { code: "REFUSED" }, endedBy });
    const back = new Hand(network.connect(B, A));
    back.say(openOf(B), encodeKeepalive());
    await settle();
    expect(session.status).toMatchObject({ state: "Established", endedBy });
    back.connection.close();
    await settle();
    expect(session.status.endedBy?.code).toBe("CONNECTION_LOST");
  });

  it("end with a session, whose last error stays to be seen", async () => {
    network.answer(B, "EHOSTUNREACH");
    const { session } = open(A, B);
    await clock.advance(3_000);
    expect(session.status.lastError?.code).toBe("NO_ROUTE");
    network.answer(B, undefined);
    open(B, A, { passive: true });
    await clock.advance(10_000);
    expect(session.status).toMatchObject({ state: "Established", lastError: { code: "NO_ROUTE" } });
  });
});

describe("back-pressure", () => {
  it("says when there is no room, and when there is again; the order is kept and nothing is lost", async () => {
    const { session, seen, hand } = await upByHand();
    hand.connection.pause();
    let sent = 0;
    while (session.send(encodeEndOfRib(sent % 2 ? 4 : 6))) sent++;
    sent++;
    expect(sent).toBeGreaterThan(10_000);
    await clock.advance(60_000);
    expect([seen.drains, session.status.state]).toEqual([0, "Established"]);
    hand.connection.resume();
    hand.say(encodeKeepalive());
    for (let i = 0; i < 200 && hand.got.length < sent; i++) await settle();
    expect(seen.drains).toBe(1);
    expect(hand.got.filter((name) => name === "UPDATE")).toHaveLength(sent);
  });

  it("a peer that takes nothing for eight minutes has gone, though it talks (RFC 9687)", async () => {
    const { session, seen, hand } = await upByHand();
    hand.connection.pause();
    while (session.send(encodeEndOfRib(4)));
    for (let i = 0; i < 25 && session.status.state === "Established"; i++) {
      hand.say(encodeKeepalive());
      await clock.advance(20_000);
    }
    expect(seen.error).toMatchObject({ code: "HOLD_TIMER" });
    expect(seen.error?.message).toContain("has taken nothing of what is sent for 480 s");
    hand.connection.close();
  });

  it("a receiver that is behind makes the other wait, and nobody takes that for silence", async () => {
    const { session, seen, hand } = await upByHand();
    session.pause();
    const update = encodeEndOfRib(4);
    const all = 20_000;
    const stream = new Uint8Array(all * update.length);
    for (let i = 0; i < all; i++) stream.set(update, i * update.length);
    let written = 0;
    const write = async () => {
      written += hand.connection.write(stream.subarray(written));
      await new Promise<void>((resolve) => setImmediate(resolve));
    };
    for (let i = 0; i < 100; i++) await write();
    expect(written).toBeLessThan(300 * 1024);
    await clock.advance(300_000);
    expect([seen.updates, session.status.state]).toEqual([0, "Established"]);
    session.resume();
    for (let i = 0; i < 2000 && seen.updates < all; i++) await write();
    expect(seen.updates).toBe(all);
  });
});

describe("many sessions", () => {
  it("a peer that floods does not keep another's messages waiting", async () => {
    const { seen, hand } = await upByHand();
    const flooder = open(A, "10.0.0.9", { passive: true });
    await settle();
    const flood = new Hand(network.connect("10.0.0.9", A));
    flood.say(openOf("10.0.0.9"), encodeKeepalive());
    await settle();
    flooder.seen.onUpdate = () => {
      const until = performance.now() + 1;
      while (performance.now() < until); // routes cost something
    };
    const many = new Uint8Array(64 * 1024);
    const update = encodeEndOfRib(4);
    for (let at = 0; at + update.length <= many.length; at += update.length) many.set(update, at);
    flood.say(many.subarray(0, many.length - (many.length % update.length)));
    while (flooder.seen.updates === 0) await new Promise<void>((resolve) => setImmediate(resolve));
    hand.say(encodeEndOfRib(6));
    let turns = 0;
    for (; seen.ends.length === 0 && turns < 1000; turns++) await new Promise<void>((resolve) => setImmediate(resolve));
    expect(seen.ends).toEqual([6]);
    expect(flooder.seen.updates).toBeLessThan(many.length / update.length / 2);
    flooder.seen.onUpdate = () => {};
  });
});
