import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import { type Bfd, type BfdOptions, type BfdSession, type BfdStatus, openBfd } from "./index.ts";

const TIMES = { minSend: 100, minReceive: 100, multiplier: 3 };
/** Detection takes 300 ms; the processor may have other things to do, too. */
const BUSY = 5000;

/** BIRD 2 by its version: 1.6 is called bird as well. */
const hasBird = /BIRD version 2/.test(String(spawnSync("bird", ["--version"], { encoding: "utf8" }).stderr));
const withBird = hasBird
  ? test
  : (name: string, _body: unknown) => test.skip(`${name} [skipped: needs BIRD 2 (Debian package bird2)]`, () => {});

let spaces: TestNamespace[];
let engines: Bfd[];
let cleanups: (() => void)[];

beforeEach(() => {
  spaces = [];
  engines = [];
  cleanups = [];
});
afterEach(async () => {
  for (const engine of engines) await engine.close();
  for (const cleanup of cleanups) cleanup();
  for (const space of spaces) space.dispose();
});

async function until(what: string, condition: () => boolean, milliseconds = 20_000): Promise<void> {
  for (const deadline = performance.now() + milliseconds; !condition(); ) {
    if (performance.now() > deadline) throw new Error(`not in ${milliseconds} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Two machines with a cable. */
function pair(): [TestNamespace, TestNamespace] {
  const [a, b] = [makeNamespace(), makeNamespace()] as const;
  spaces.push(a, b);
  a.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", b.name);
  for (const [i, space] of [a, b].entries()) {
    space.exec("ip", "addr", "add", `10.0.0.${i + 1}/24`, "dev", "eth0");
    space.exec("ip", "addr", "add", `fd00::${i + 1}/64`, "dev", "eth0", "nodad");
    space.exec("ip", "link", "set", "eth0", "addrgenmode", "none");
    space.exec("ip", "link", "set", "eth0", "up");
    space.exec("ip", "addr", "add", `fe80::${i + 1}/64`, "dev", "eth0", "nodad");
    space.exec("ip", "link", "set", "lo", "up");
  }
  return [a, b];
}

function start(space: TestNamespace, local: string, remote: string, over: Partial<BfdOptions> = {}) {
  const engine = openBfd({ namespace: space.namespace });
  engines.push(engine);
  const heard: { readonly at: number; readonly status: BfdStatus }[] = [];
  const options = { name: local, local: parseAddress(local), remote: parseAddress(remote), multihop: false };
  const session = engine.open({ ...options, ...TIMES, ...over }, (status) =>
    heard.push({ at: performance.now(), status }),
  );
  return { engine, session, heard };
}

const isUp = (session: BfdSession): boolean => session.status.state === "Up";

describeAsRoot("BFD between machines", () => {
  const KINDS: [string, string, string, Partial<BfdOptions>][] = [
    ["IPv4", "10.0.0.1", "10.0.0.2", {}],
    ["IPv6", "fd00::1", "fd00::2", {}],
    ["IPv6 link-local", "fe80::1", "fe80::2", { interface: "eth0" }],
    ["IPv4, multihop", "10.0.0.1", "10.0.0.2", { multihop: true }],
    ["IPv6, multihop", "fd00::1", "fd00::2", { multihop: true }],
  ];
  test.each(KINDS)("%s: up, cut, and up again", async (_name, left, right, over) => {
    const [one, two] = pair();
    const a = start(one, left, right, over);
    const b = start(two, right, left, over);
    await until("both up", () => isUp(a.session) && isUp(b.session));
    await until("intervals", () => a.session.status.detectionTime === 300 && b.session.status.detectionTime === 300);
    two.exec("ip", "link", "set", "eth0", "down");
    const cut = performance.now();
    await until("both down", () => !isUp(a.session) && !isUp(b.session));
    expect(a.heard.at(-1)!.at - cut).toBeLessThan(BUSY);
    expect(a.session.status.diagnostic).toBe("Control Detection Time Expired");
    two.exec("ip", "link", "set", "eth0", "up");
    two.exec("ip", "addr", "replace", "fd00::2/64", "dev", "eth0", "nodad");
    two.exec("ip", "addr", "replace", "fe80::2/64", "dev", "eth0", "nodad");
    await until("both up again", () => isUp(a.session) && isUp(b.session));
    expect(a.session.status.problem).toBeUndefined();
  });

  test("a single-hop packet that crossed a router is not taken", async () => {
    const [one, two] = pair();
    const router = makeNamespace();
    spaces.push(router);
    // 10.0.0.0/24 becomes two networks with a router between them.
    one.exec("ip", "link", "del", "eth0");
    for (const [i, space] of [one, two].entries()) {
      router.exec("ip", "link", "add", `eth${i}`, "type", "veth", "peer", "name", "eth0", "netns", space.name);
      router.exec("ip", "addr", "add", `10.0.${i}.254/24`, "dev", `eth${i}`);
      router.exec("ip", "link", "set", `eth${i}`, "up");
      space.exec("ip", "addr", "add", `10.0.${i}.1/24`, "dev", "eth0");
      space.exec("ip", "link", "set", "eth0", "up");
      space.exec("ip", "route", "add", "default", "via", `10.0.${i}.254`);
    }
    router.exec("sysctl", "-q", "-w", "net.ipv4.ip_forward=1");
    const near = [start(one, "10.0.0.1", "10.0.1.1"), start(two, "10.0.1.1", "10.0.0.1")] as const;
    const far = [
      start(one, "10.0.0.1", "10.0.1.1", { multihop: true }),
      start(two, "10.0.1.1", "10.0.0.1", { multihop: true }),
    ] as const;
    await until("multihop up", () => far.every(({ session }) => isUp(session)));
    expect(near.map(({ session }) => session.status.state)).toEqual(["Down", "Down"]);
    expect(near.flatMap(({ heard }) => heard)).toEqual([]);
  });

  test("an address that is not there yet and a port that is taken are said, and got over", async () => {
    const [one, two] = pair();
    const b = start(two, "10.0.0.2", "10.0.0.9");
    const a = start(one, "10.0.0.9", "10.0.0.2");
    await until("a problem", () => a.session.status.problem !== undefined);
    one.exec("ip", "addr", "add", "10.0.0.9/24", "dev", "eth0");
    await until("both up", () => isUp(a.session) && isUp(b.session));
    const rival = start(one, "10.0.0.9", "10.0.0.3");
    expect(rival.session.status.problem).toMatch(/3784: bind: EADDRINUSE/);
    await a.engine.close();
    await until(
      "the port",
      () => rival.session.status.problem === undefined || !/EADDRINUSE/.test(rival.session.status.problem),
    );
  });

  function bird(space: TestNamespace, config: string): { show(): string } {
    const folder = mkdtempSync(join(tmpdir(), "bfd-bird-"));
    writeFileSync(join(folder, "bird.conf"), config);
    const socket = join(folder, "bird.ctl");
    const child = space.run(() =>
      spawn("bird", ["-f", "-c", join(folder, "bird.conf"), "-s", socket, "-P", join(folder, "bird.pid")], {
        stdio: ["ignore", "ignore", "inherit"],
      }),
    );
    cleanups.push(() => {
      child.kill("SIGKILL");
      rmSync(folder, { recursive: true });
    });
    return { show: () => spawnSync("birdc", ["-s", socket, "show", "bfd", "sessions"], { encoding: "utf8" }).stdout };
  }

  const BIRD: [string, string, string, string, Partial<BfdOptions>][] = [
    ["IPv4", "10.0.0.1", "10.0.0.2", 'interface "eth0"', {}],
    ["IPv6 link-local", "fe80::1", "fe80::2", 'interface "eth0"', { interface: "eth0" }],
    ["multihop", "10.0.0.1", "10.0.0.2", "multihop", { multihop: true }],
  ];
  for (const [name, left, right, where, over] of BIRD) {
    withBird(`${name}, with BIRD: up, its interface dies, and up again`, async () => {
      const [one, two] = pair();
      const neighbour =
        where === "multihop"
          ? `neighbor ${left} local ${right} multihop yes;`
          : `neighbor ${left} dev "eth0" local ${right};`;
      const daemon = bird(
        two,
        `router id 10.0.0.2;
         protocol device {}
         protocol bfd { ${where} { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; ${neighbour} }`,
      );
      const { session, heard } = start(one, left, right, over);
      await until("up with BIRD", () => isUp(session) && session.status.detectionTime === 300);
      expect(daemon.show()).toMatch(new RegExp(`${left}\\s+\\S+\\s+Up`));
      two.exec("ip", "link", "set", "eth0", "down");
      const cut = performance.now();
      await until("down", () => !isUp(session));
      expect(heard.at(-1)!.at - cut).toBeLessThan(BUSY);
      two.exec("ip", "link", "set", "eth0", "up");
      two.exec("ip", "addr", "replace", "fe80::2/64", "dev", "eth0", "nodad");
      await until("up again", () => isUp(session));
      // And the other way round: BIRD notices that we are gone, without a word.
      session.close();
      await until("BIRD hears of the end", () => !/Up/.test(daemon.show()));
    });
  }
});
