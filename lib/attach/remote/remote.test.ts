import { spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openClient } from "../../datastore/index.ts";
import { createIpam } from "../../ipam/index.ts";
import { allocate, closeFd, currentNamespace, OPEN, openFile, statFd } from "../../sys/index.ts";
import { itAsRoot } from "../../sys/testing.ts";
import { openFdSocket, sendFd } from "../../sys/unix.ts";
import { silentLogger } from "../../telemetry/index.ts";
import { Turns } from "../../wait/turns.ts";
import { Mailbox } from "./mail.ts";
import { LARGEST_REQUEST, PROTOCOL_VERSION, type Request, socketsIn } from "./protocol.ts";
import { parseRequest } from "./request.ts";
import { type AttachServer, serveAttachments } from "./server.ts";

let folder = "";
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "calico-remote-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const COOKIE = "0123456789abcdef0123456789abcdef";
const bytes = (text: string): Uint8Array<ArrayBuffer> => {
  const encoded = new TextEncoder().encode(text);
  const copy = allocate(encoded.length);
  copy.set(encoded);
  return copy;
};
const isOpen = (fd: number): boolean => {
  try {
    statFd(fd, "look");
    return true;
  } catch {
    return false;
  }
};

describe("a request", () => {
  const good: Request = {
    version: PROTOCOL_VERSION,
    cookie: COOKIE,
    namespace: 1,
    env: { CNI_COMMAND: "ADD" },
    stdin: "{}",
  };
  test("is read as it was written", () => expect(parseRequest(JSON.stringify(good))).toEqual(good));

  test.each<[unknown, RegExp]>([
    ["{", /not JSON/],
    [[], /no object/],
    [null, /no object/],
    [{ ...good, version: PROTOCOL_VERSION + 1 }, /version/],
    [{ ...good, cookie: "abc" }, /cookie/],
    [{ ...good, namespace: "1" }, /where the plugin runs/],
    [{ ...good, stdin: 1 }, /network configuration/],
    [{ ...good, env: { A: 1 } }, /environment/],
    [{ ...good, env: [] }, /environment/],
  ])("that is wrong is refused with the reason: %j", (value, why) => {
    expect(parseRequest(typeof value === "string" ? value : JSON.stringify(value))).toMatch(why);
  });

  test("whatever it is, is refused or whole", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.json(),
          fc.json().map((text) => JSON.stringify({ ...good, env: text })),
        ),
        (line) => {
          expect(typeof parseRequest(line)).toBe("string");
        },
      ),
    );
  });
});

describe("descriptors", () => {
  let path = "";
  let fd = -1;
  beforeEach(() => {
    path = join(folder, "fd.sock");
    fd = openFdSocket(path);
  });
  afterEach(() => closeFd(fd));
  const some = () => openFile("/proc/self/ns/net", OPEN.READ, "open something");
  const sendSome = (cookie: string) => {
    const mine = some();
    sendFd(path, bytes(cookie), mine, 1000);
    closeFd(mine);
  };

  test("arrive for the cookie they were sent with, once", () => {
    sendSome(COOKIE);
    sendFd(path, bytes(COOKIE.replaceAll("0", "1")), undefined, 1000);
    const mail = new Mailbox(fd);
    expect(mail.take("f".repeat(32))).toBeUndefined();
    expect(mail.take(COOKIE.replaceAll("0", "1"))).toEqual({ netns: undefined, since: expect.any(Number) });
    const { netns } = mail.take(COOKIE)!;
    using own = currentNamespace();
    expect(statFd(netns!, "look").inode).toBe(own.inode);
    closeFd(netns!);
    expect(mail.take(COOKIE)).toBeUndefined();
  });

  test("of a cookie that is none, or is there already, are closed", () => {
    const mail = new Mailbox(fd);
    sendSome(COOKIE);
    mail.drain();
    const next = some();
    closeFd(next);
    sendSome("short");
    sendSome(COOKIE);
    mail.drain();
    expect(mail.size).toBe(1);
    expect(isOpen(next), "the number is free again").toBe(false);
    mail.close();
  });

  test("that nobody asks for are closed after a while", () => {
    let now = 0;
    const mail = new Mailbox(fd, { now: () => now });
    sendSome(COOKIE);
    mail.drain();
    const next = some();
    closeFd(next);
    now = 10_001;
    mail.drain();
    expect(mail.size).toBe(0);
    expect(isOpen(next - 1)).toBe(false);
  });

  test("the socket is its owner's alone", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  itAsRoot("of another user are dropped, whatever the socket's mode", () => {
    chmodSync(folder, 0o755);
    chmodSync(path, 0o666);
    const send = `use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); send(S, "${COOKIE}", 0, pack_sockaddr_un("${path}")) or die $!`;
    const nobody = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    const sent = spawnSync("setpriv", [...nobody, "perl", "-e", send], { encoding: "utf8" });
    expect({ status: sent.status, said: sent.stderr }).toEqual({ status: 0, said: "" });
    const mail = new Mailbox(fd);
    expect(mail.take(COOKIE)).toBeUndefined();
    sendFd(path, bytes(COOKIE), undefined, 1000);
    expect(mail.take(COOKIE)).toBeDefined();
  });
});

describe("turns", () => {
  test("what shares a key is done in order, all else at once", async () => {
    const turns = new Turns();
    const done: string[] = [];
    const gates = new Map<string, PromiseWithResolvers<void>>();
    const work = (name: string, ...keys: string[]) => {
      gates.set(name, Promise.withResolvers());
      return turns.run(keys, async () => {
        done.push(`${name} begins`);
        await gates.get(name)!.promise;
        done.push(`${name} ends`);
      });
    };
    const all = [work("a", "x", "y"), work("b", "y"), work("c", "z"), work("d", "x", "z")];
    gates.get("c")!.resolve();
    await all[2];
    expect(done).toEqual(["a begins", "c begins", "c ends"]);
    gates.get("a")!.reject(new Error("failed"));
    await expect(all[0]).rejects.toThrow("failed");
    for (const name of ["b", "d"]) gates.get(name)!.resolve();
    await Promise.all(all.slice(1));
    expect(done.filter((one) => one.endsWith("begins"))).toEqual(["a begins", "c begins", "b begins", "d begins"]);
  });
});

describe("the server", () => {
  let server: AttachServer;
  let outcomes: string[] = [];
  const sockets = () => socketsIn(folder);
  beforeEach(async () => {
    outcomes = [];
    const datastore = { type: "sqlite", file: join(folder, "datastore.db") } as const;
    const client = await openClient(datastore);
    server = serveAttachments({
      sockets: sockets(),
      nodeName: "n1",
      datastore,
      client,
      allocator: createIpam(client),
      whenInForce: async () => {},
      log: silentLogger,
      onRequest: (verb, outcome) => outcomes.push(`${verb} ${outcome}`),
    });
  });
  afterEach(() => server.close());

  /** All that is answered to a line, or to what is none. */
  async function answersTo(text: string): Promise<unknown[]> {
    const ended = Promise.withResolvers<void>();
    let said = "";
    const socket = await Bun.connect({
      unix: sockets().stream,
      socket: {
        data: (_, data) => {
          said += new TextDecoder().decode(data);
        },
        close: () => ended.resolve(),
        end: () => ended.resolve(),
      },
    });
    for (let rest = Buffer.from(text); rest.length > 0; ) {
      const count = socket.write(rest);
      if (count < 0) break;
      rest = rest.subarray(count);
      if (rest.length > 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await ended.promise;
    return said
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line));
  }

  const conf = (changes: object = {}) =>
    JSON.stringify({
      cniVersion: "1.0.0",
      name: "net",
      type: "calico",
      nodename: "n1",
      nodename_file_optional: true,
      datastore_type: "sqlite",
      datastore_file: join(folder, "datastore.db"),
      ipam: { type: "calico-ipam" },
      ...changes,
    });
  function request(changes: Partial<Request> = {}): string {
    using own = currentNamespace();
    const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: "" };
    const whole: Request = {
      version: PROTOCOL_VERSION,
      cookie: COOKIE,
      namespace: own.inode,
      env,
      stdin: conf(),
      ...changes,
    };
    return `${JSON.stringify(whole)}\n`;
  }
  const announce = () => sendFd(sockets().descriptors, bytes(COOKIE), undefined, 1000);
  const declined = (why: RegExp) => [{ type: "declined", why: expect.stringMatching(why) }];

  test("its sockets are root's alone", () => {
    for (const path of Object.values(sockets())) expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  test.each<[string, string]>([
    ["not JSON", "{\n"],
    ["empty", "\n"],
    ["too long", "x".repeat(LARGEST_REQUEST + 1)],
  ])("a line that is %s is declined", async (_, text) => {
    expect(await answersTo(text)).toEqual(declined(/request/));
  });

  test("a request whose datagram did not come is declined", async () => {
    expect(await answersTo(request())).toEqual(declined(/who asks/));
    announce();
    expect(await answersTo(request({ cookie: "f".repeat(32) }))).toEqual(declined(/who asks/));
  });

  test.each<[string, () => Partial<Request>, RegExp]>([
    [
      "of an ADD without a descriptor",
      () => ({ env: { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c", CNI_IFNAME: "eth0", CNI_NETNS: "/x" } }),
      /did not come/,
    ],
    ["from another network", () => ({ namespace: 1 }), /another network namespace/],
    ["for another datastore", () => ({ stdin: conf({ datastore_file: "/other" }) }), /another datastore/],
    ["for another kind of datastore", () => ({ stdin: conf({ datastore_type: "kubernetes" }) }), /another datastore/],
    ["for another node", () => ({ stdin: conf({ nodename: "n2" }) }), /n2/],
    [
      "for another IPAM plugin",
      () => ({ stdin: conf({ ipam: { type: "host-local", subnet: "10.0.0.0/24" } }) }),
      /another IPAM/,
    ],
    [
      "for an API server",
      () => ({ stdin: conf({ policy: { type: "k8s", k8s_api_root: "https://h:1" } }) }),
      /API server/,
    ],
    [
      "with a missing node file",
      () => ({ stdin: conf({ nodename: "", nodename_file_optional: false, nodename_file: "/none" }) }),
      /none/,
    ],
    ["with a configuration that is none", () => ({ stdin: "{}" }), /./],
    ["of a verb that is not served", () => ({ env: { CNI_COMMAND: "GC" } }), /./],
  ])("a request %s is declined", async (_, changes, why) => {
    announce();
    expect(await answersTo(request(changes()))).toEqual(declined(why));
    expect(outcomes).toEqual([expect.stringMatching(/declined/)]);
  });

  test("a call that fails is answered as the plugin would say it", async () => {
    announce();
    const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "c1", CNI_IFNAME: "eth0", CNI_NETNS: "", CNI_ARGS: "x" };
    expect(await answersTo(request({ env }))).toEqual([
      { type: "taken" },
      {
        type: "failed",
        code: 4,
        message: 'CNI_ARGS has an invalid pair: "x"',
        details: expect.any(String),
        log: [["error", expect.stringContaining("DEL failed"), expect.anything()]],
      },
    ]);
    expect(outcomes).toEqual(["DEL failed"]);
  });

  test("a server that has closed leaves no socket", async () => {
    await server.close();
    for (const path of Object.values(sockets())) expect(() => statSync(path)).toThrow("ENOENT");
  });
});
