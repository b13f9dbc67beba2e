import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect } from "vitest";
import { itAsRoot, makeNamespace, type TestNamespace } from "../sys/testing.ts";
import { silentLogger } from "../telemetry/index.ts";
import type { Backend } from "./backend.ts";
import { birdIn, describeWithBird } from "./bird/testing.ts";
import { openBirdBackend } from "./index.ts";
import { hasRoutesOf } from "./kernel/index.ts";
import { sampleNode, samplePeer } from "./model/testing.ts";

const DEADLINE = 20_000;

describeWithBird("2", "the BIRD back end", (executable) => {
  let space: TestNamespace;
  let folder: string;
  let backend: Backend;
  let pending: (() => void) | undefined;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "calico-bird-backend-"));
    space = makeNamespace("calico-birdbe");
    space.exec("ip", "link", "set", "lo", "up");
    backend = openBirdBackend({
      log: silentLogger,
      folder: join(folder, "conf"),
      socket: join(folder, "bird.ctl"),
      executable: birdIn(space, executable, folder),
      inherited: () => hasRoutesOf(12, space.namespace),
      after: (_milliseconds, callback) => {
        pending = callback;
        return () => {
          pending = undefined;
        };
      },
    });
  });
  afterEach(async () => {
    await backend.close({ graceful: true });
    space.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const node = sampleNode({ ipv4: { peers: [samplePeer()] } });
  const pidOfBird = (): number => {
    const inSpace = readdirSync("/proc").filter((pid) => /^\d+$/.test(pid));
    const found = inSpace.find((pid) => {
      try {
        return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(join(folder, "bird.ctl"));
      } catch {
        return false;
      }
    });
    return Number(found);
  };
  const until = async (done: () => Promise<boolean>): Promise<void> => {
    for (const end = performance.now() + DEADLINE; !(await done()); await Bun.sleep(20)) {
      if (performance.now() > end) throw new Error(JSON.stringify(await backend.status()));
    }
  };

  itAsRoot("says of BIRD which it is and since when, and of a peer what BIRD says", async () => {
    expect(await backend.status()).toMatchObject({ node: "", peers: [], problems: [] });
    const before = Date.now() - 2_000;
    await backend.configure(node);
    const status = await backend.status();
    expect(status).toMatchObject({ node: "node-1", backend: "bird", version: expect.stringMatching(/^BIRD 2\./) });
    expect(status.startedAt).toBeGreaterThan(before);
    expect(status.reconfiguredAt).toBeGreaterThanOrEqual(status.startedAt!);
    expect(status.peers).toMatchObject([{ name: "Mesh_10_0_0_2", family: 4, address: "10.0.0.2" }]);
    expect(status.peers[0]!.since).toBeGreaterThan(before);
  });

  itAsRoot("leaves the kernel's own routes as they are", async () => {
    space.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p");
    for (const name of ["eth0", "eth0p"]) space.exec("ip", "link", "set", name, "up");
    space.exec("ip", "address", "add", "10.0.0.1/24", "dev", "eth0");
    space.exec("ip", "address", "add", "fd00::1/64", "dev", "eth0", "nodad");
    // Link-local networks come up in their own time.
    const routes = () =>
      [space.exec("ip", "-4", "route"), space.exec("ip", "-6", "route")]
        .flatMap((text) => text.split("\n"))
        .filter((line) => !line.startsWith("fe80:"));
    const block = (line: string) => line.includes("10.65.1.0/26");
    const before = routes();
    await backend.configure(sampleNode({ ipv4: { blocks: [{ cidr: "10.65.1.0/26" }] } }));
    // Its own block is what it has the kernel know, and comes after what it knows of interfaces.
    await until(async () => routes().some(block));
    expect(routes().filter((line) => !block(line))).toEqual(before);
  });

  itAsRoot(
    "a node that comes up waits for no dead peer; one whose routes are in the kernel recovers from a restart",
    async () => {
      const block = (): boolean =>
        space.exec("ip", "route", "show", "proto", "bird").includes("blackhole 10.65.1.0/26");
      const dead = sampleNode({ ipv4: { peers: [samplePeer()], blocks: [{ cidr: "10.65.1.0/26" }] } });
      await backend.configure(dead);
      expect((await backend.status()).restarting).toBe(false);
      // Far less than BIRD's 240 s of patience with peers.
      await until(async () => block());
      for (const time of ["once", "and again while it recovers"]) {
        process.kill(pidOfBird(), "SIGKILL");
        await until(async () => pending !== undefined);
        expect(block(), time).toBe(true);
        pending!();
        await until(async () => (await backend.status()).startedAt !== undefined);
        expect((await backend.status()).restarting, time).toBe(true);
        expect(block(), time).toBe(true);
      }
    },
  );

  itAsRoot("tells BIRD's routes, as far as BIRD does", async () => {
    space.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0p");
    for (const name of ["eth0", "eth0p"]) space.exec("ip", "link", "set", name, "up");
    space.exec("ip", "address", "add", "10.0.0.1/24", "dev", "eth0");
    space.exec("ip", "route", "add", "10.9.0.0/24", "via", "10.0.0.9");
    expect(await backend.routes("best"), "before it has a configuration").toBeUndefined();
    await backend.configure(
      sampleNode({ ipv4: { peers: [samplePeer()], blocks: [{ cidr: "10.65.1.0/26" }, { cidr: "10.9.0.0/24" }] } }),
    );
    const best = async (): Promise<string[]> =>
      (await Array.fromAsync((await backend.routes("best"))!)).map(
        ({ prefix, nextHop, from }) => `${prefix} ${nextHop} ${from}`,
      );
    await until(async () => (await best()).length === 3);
    expect((await best()).toSorted()).toEqual([
      "10.0.0.0/24 - device",
      "10.65.1.0/26 - static",
      "10.9.0.0/24 - static",
    ]);
    await until(async () => (await backend.explain("10.9.0.0/24")).length === 2);
    const explained = await backend.explain("10.9.0.0/24");
    expect(explained).toMatchObject([
      { from: "static", nextHop: "-", best: true },
      { from: "kernel", nextHop: "10.0.0.9", best: false },
    ]);
    await until(async () => (await backend.explain("10.9.0.0/24"))[0]!.why?.includes("another's route") ?? false);
    expect(await backend.explain("10.9.0.0/25")).toEqual([]);
    await expect(Promise.try(() => backend.explain("nonsense"))).rejects.toThrow(RangeError);
    expect(await backend.routes("accepted", "Mesh_10_0_0_2"), "of a session that is not up").toBeUndefined();
    expect(await backend.routes("accepted", "Mesh_10_0_0_3"), "of nobody").toBeUndefined();
    await expect(Promise.try(() => backend.routes("received", "Mesh_10_0_0_2"))).rejects.toThrow(
      "BGP_REFUSED: BIRD does not keep",
    );
    process.kill(pidOfBird(), "SIGKILL");
    await until(async () => pending !== undefined);
    await expect(Promise.try(() => backend.explain("10.9.0.0/24"))).rejects.toThrow("BGP_REFUSED: BIRD is not running");
  });

  itAsRoot("a BIRD that dies is told of until it runs again", async () => {
    await backend.configure(node);
    process.kill(pidOfBird(), "SIGKILL");
    await until(async () => pending !== undefined);
    const dead = await backend.status();
    expect(dead.problems.join()).toContain("BIRD is not running: it ended (SIGKILL); it is started again");
    expect(dead.startedAt).toBeUndefined();
    expect(dead.peers).toMatchObject([{ state: "Idle", lastError: { code: "BIRD_NOT_RUNNING" } }]);
    expect(dead.peers[0]!.since).toBeGreaterThan(0);
    pending!();
    await until(async () => (await backend.status()).startedAt !== undefined);
    expect((await backend.status()).problems).toEqual([]);
  });

  itAsRoot("a session that BIRD has no words for is left out, and told of", async () => {
    await backend.configure(sampleNode({ ipv4: { peers: [samplePeer({ password: 'a"b' })] } }));
    const { problems, startedAt } = await backend.status();
    expect(problems).toEqual([expect.stringContaining("there is no session")]);
    expect(startedAt).toBeDefined();
  });

  itAsRoot("a configuration that BIRD has no words for leaves it as it is, and is told of", async () => {
    await backend.configure(node);
    const started = (await backend.status()).startedAt;
    await backend.configure({ ...node, routerId: "hash" });
    const status = await backend.status();
    expect(status.problems.join()).toContain("BIRD_UNSAYABLE");
    expect(status.startedAt).toBe(started);
    await backend.configure(node);
    expect((await backend.status()).problems).toEqual([]);
  });
});
