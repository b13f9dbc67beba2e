/**
 * kill -9 from outside, by strace, just before the Nth call of each kind with which an installation changes anything, for every N there is; and the
 * same with calls that fail. Whatever a runtime finds at that moment must work, and doing it again must end what was begun.
 */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type FakeHost, fakeHost, writeExecutable } from "./testing.ts";

const CALLS = ["write,pwrite64", "fchmod", "fsync", "rename,renameat,renameat2", "link,linkat", "unlink,unlinkat"];
/** More than there are; only there so that a mistake cannot run for ever. */
const MOST = 40;
const missing =
  spawnSync("strace", ["--inject=write:error=EIO", "--quiet=all", "--output=/dev/null", "/bin/true"]).status === 0
    ? undefined
    : "no strace that may trace here";

const BEFORE = 1;
const NOW = 2;
const LENGTH = 2_500_000;
const template = (mtu: number): string =>
  JSON.stringify({
    name: "k8s-pod-network",
    cniVersion: "1.0.0",
    plugins: [{ type: "calico", mtu, ipam: { type: "calico-ipam" } }],
  });

const door = join(import.meta.dirname, "index.ts");

/** Installs in a process of its own, so that it can be killed. */
function run(host: FakeHost, strace: readonly string[] = []) {
  const options = { parts: ["executables", "conflist"], places: host.places(), binFolders: [host.bin], node: "n1" };
  const script =
    `const { install } = await import(${JSON.stringify(door)});` +
    `const options = ${JSON.stringify({ ...options, executable: join(host.host, "source"), secrets: host.secrets })};` +
    `const env = { CNI_NETWORK_CONFIG: ${JSON.stringify(template(NOW))}, TLS_ASSETS_DIR: "/nonexistent" };` +
    `try { await install({ ...options, env, onStep() {}, warn() {} }); } catch (error) { console.error(error.message); process.exit(3); }`;
  const command = [process.execPath, "-e", script];
  const [program, ...args] = [...strace, ...command];
  return spawnSync(program!, args, {
    encoding: "utf8",
    env: { ...process.env, BUN_RUNTIME_TRANSPILER_CACHE_PATH: "0" },
  });
}

function seedOf(path: string): number | undefined {
  if (!existsSync(path)) return undefined;
  const bytes = readFileSync(path);
  expect(bytes.length, path).toBe(LENGTH);
  expect(statSync(path).mode & 0o777, path).toBe(0o755);
  return Number(/true (\d)/.exec(bytes.subarray(0, 40).toString())?.[1]);
}

/** What a runtime that looks now must find, whatever was going on. */
function expectUsable(host: FakeHost, hadBefore: boolean): void {
  const plugins = ["calico", "calico-ipam"].map((name) => seedOf(join(host.bin, name)));
  for (const seed of plugins) expect(seed).toBeOneOf(hadBefore ? [BEFORE, NOW] : [undefined, NOW]);
  const configurations = host.names(host.net).filter((name) => /\.(conf|conflist|json)$/.test(name));
  for (const name of configurations) {
    const { mtu } = JSON.parse(readFileSync(join(host.net, name), "utf8")).plugins[0];
    expect(mtu).toBeOneOf(hadBefore ? [BEFORE, NOW] : [NOW]);
    if (mtu === NOW) expect(plugins).toEqual([NOW, NOW]);
  }
  if (hadBefore) expect(configurations).toEqual(["10-calico.conflist"]);
}

function prepare(host: FakeHost, hadBefore: boolean): void {
  writeExecutable(join(host.host, "source"), NOW, LENGTH);
  if (!hadBefore) return;
  for (const name of ["calico", "calico-ipam"]) writeExecutable(join(host.bin, name), BEFORE, LENGTH);
  writeFileSync(join(host.net, "10-calico.conflist"), template(BEFORE));
}

function expectFinished(host: FakeHost): void {
  const again = run(host);
  expect({ status: again.status, said: again.stderr }).toEqual({ status: 0, said: "" });
  expectUsable(host, true);
  expect(seedOf(join(host.bin, "calico"))).toBe(NOW);
  expect(host.names(host.bin)).toEqual(["calico", "calico-ipam"]);
  expect(host.names(host.net)).toEqual(["10-calico.conflist"]);
}

describe.skipIf(missing !== undefined)(missing ? `an installation (skipped: ${missing})` : "an installation", () => {
  describe.each([
    ["over an older one", true],
    ["into an empty node", false],
  ])("%s", (_, hadBefore) => {
    test.each(CALLS)("that is killed before any %s leaves what works", (calls) => {
      let killed = 0;
      for (let n = 1; n <= MOST; n++) {
        using host = fakeHost();
        prepare(host, hadBefore);
        const strace = ["strace", "--quiet=all", "--output=/dev/null", "--follow-forks"];
        const outcome = run(host, [...strace, `--trace=${calls}`, `--inject=${calls}:signal=KILL:when=${n}`]);
        expectUsable(host, hadBefore);
        if (outcome.status === 0) break;
        expect(outcome.signal ?? outcome.status, outcome.stderr).toBeOneOf(["SIGKILL", 137]);
        killed++;
        expectFinished(host);
      }
      expect(killed).toBeGreaterThan(0);
      expect(killed).toBeLessThan(MOST);
    });
  });

  test.each([
    ["fsync", "EIO"],
    ["rename,renameat,renameat2", "EIO"],
    ["link,linkat", "EPERM"],
  ])("whose %s fails with %s says so, or does without, and leaves what works", (calls, error) => {
    using host = fakeHost();
    prepare(host, true);
    const strace = ["strace", "--quiet=all", "--output=/dev/null", "--follow-forks"];
    const outcome = run(host, [...strace, `--trace=${calls}`, `--inject=${calls}:error=${error}`]);
    expectUsable(host, true);
    if (calls.startsWith("link")) expect(outcome.status).toBe(0);
    else expect(outcome).toMatchObject({ status: 3, stderr: expect.stringContaining(error) });
    expectFinished(host);
  });
});
