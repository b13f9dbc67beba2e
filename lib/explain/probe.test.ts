import { execFileSync, spawn, spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { isRoot } from "../sys/index.ts";
import { compared, type Explanation, explain, verificationText, verify } from "./index.ts";

describe("what a probe says of a verdict", () => {
  test.each([
    ["allow", "reached", /^Verified: it came back, as explained\.$/],
    ["deny", "silent", /^Verified: it came back, as explained\.$/],
    ["deny", "reached", /^NOT AS EXPLAINED: it came back, although policy denies it\./],
    ["allow", "silent", /^NOT AS EXPLAINED: it came back, although policy allows it\./],
    ["allow", "refused", /^Verified: it came back, as explained\.$/],
    ["deny", "refused", /^Not verified: it came back, or where policy rejects/],
    ["allow", "unknown", /^Not verified: it came back\.$/],
  ] as const)("%s and %s", (verdict, outcome, text) => {
    expect(verificationText(compared(verdict, { outcome, detail: "it came back" }))).toMatch(text);
  });
});

const DOOR = join(import.meta.dirname, "index.ts");
/** A process that sends the packet of its last argument. */
const COMMAND = [
  process.execPath,
  "-e",
  `const { probe } = await import(${JSON.stringify(DOOR)});
   console.log(JSON.stringify(await probe(JSON.parse(process.argv.at(-1)))));`,
];

const missing = !isRoot()
  ? "needs root to make network namespaces"
  : spawnSync("ip", ["-V"]).status !== 0
    ? "needs ip of iproute2"
    : undefined;

describe.skipIf(missing)(`packets from a network namespace${missing ? ` (${missing})` : ""}`, () => {
  const [here, there] = ["a", "b"].map((name) => `explain-${process.pid}-${name}`) as [string, string];
  const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "ignore", "pipe"] });
  let server: ReturnType<typeof spawn> | undefined;

  beforeAll(async () => {
    ip("netns", "add", here);
    ip("netns", "add", there);
    ip("-n", here, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", there);
    for (const [name, address] of [
      [here, "198.18.99.1/24"],
      [there, "198.18.99.2/24"],
    ] as const) {
      ip("-n", name, "address", "add", address, "dev", "eth0");
      ip("-n", name, "link", "set", "eth0", "up");
    }
    for (const name of [here, there]) await carrier(name);
    // Nobody is behind this one, and nobody says so.
    ip("-n", here, "neighbour", "add", "198.18.99.9", "lladdr", "02:00:00:00:00:09", "dev", "eth0");
    const script = `require("node:net").createServer((s) => s.end()).listen(8080, "198.18.99.2", () => {
      const udp = require("node:dgram").createSocket("udp4");
      udp.on("message", (_, from) => udp.send("yes", from.port, from.address));
      udp.bind(5353, "198.18.99.2", () => console.log("listening"));
    });`;
    server = spawn("ip", ["netns", "exec", there, process.execPath, "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    await new Promise((resolve, reject) => {
      server?.stdout?.once("data", resolve);
      server?.once("exit", () => reject(new Error("the server ended")));
    });
  });

  /** The kernel tells a little later that an interface is running. */
  async function carrier(name: string): Promise<void> {
    const deadline = Date.now() + 30_000;
    while (!execFileSync("ip", ["-n", name, "link", "show", "eth0"], { encoding: "utf8" }).includes("state UP")) {
      if (Date.now() > deadline) throw new Error(`eth0 of ${name} does not come up`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  afterAll(() => {
    server?.removeAllListeners("exit");
    server?.kill();
    for (const name of [here, there]) spawnSync("ip", ["netns", "delete", name]);
  });

  const asked = (destination: string, protocol: number, destinationPort?: number): Explanation =>
    explain([], {
      source: "198.18.99.1",
      destination,
      protocol,
      ...(destinationPort === undefined ? {} : { destinationPort }),
    });

  test.each<[string, Explanation, object]>([
    [
      "accepted",
      asked("198.18.99.2", 6, 8080),
      { outcome: "reached", detail: "the connection was accepted", agrees: true },
    ],
    ["refused: it arrived", asked("198.18.99.2", 6, 8081), { outcome: "refused", agrees: true }],
    ["no answer", asked("198.18.99.9", 6, 8080), { outcome: "silent", agrees: false }],
    ["denied, and yet accepted", { ...asked("198.18.99.2", 6, 8080), verdict: "deny" }, { agrees: false }],
    ["denied, and no answer", { ...asked("198.18.99.9", 6, 8080), verdict: "deny" }, { agrees: true }],
    ["UDP, answered", asked("198.18.99.2", 17, 5353), { outcome: "reached", agrees: true }],
    ["UDP, port unreachable", asked("198.18.99.2", 17, 5354), { outcome: "refused", agrees: true }],
    ["UDP, no answer", asked("198.18.99.9", 17, 5353), { outcome: "unknown", detail: expect.stringContaining("UDP") }],
    ["without a port", asked("198.18.99.2", 6), { outcome: "unknown", detail: "a probe needs --port" }],
    ["another protocol", asked("198.18.99.2", 132, 80), { outcome: "unknown", detail: "no probe is made for SCTP" }],
  ])("%s", (_, explanation, expected) => {
    // What is not answered is not waited for long; what is, has time.
    const patience = explanation.packet.destination === "198.18.99.9" ? 200 : 10_000;
    expect(verify(explanation, COMMAND, patience)).toMatchObject(expected);
  });

  test("an address that is not on this machine", () => {
    const explanation = explain([], {
      source: "198.18.98.1",
      destination: "198.18.99.2",
      protocol: 6,
      destinationPort: 1,
    });
    expect(verify(explanation, COMMAND)).toEqual({
      outcome: "unknown",
      detail: "no network namespace of this machine has the address 198.18.98.1 of 198.18.98.1",
    });
  });
});
