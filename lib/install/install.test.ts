import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Env, install, type Part, type Step } from "./index.ts";
import { type FakeHost, fakeHost } from "./testing.ts";

const LIST = (...types: readonly string[]): string =>
  JSON.stringify({ name: "k8s-pod-network", cniVersion: "1.0.0", plugins: types.map((type) => ({ type })) });

async function run(host: FakeHost, dryRun: boolean, env: Env, parts: readonly Part[] = ["executables", "conflist"]) {
  const steps: Step[] = [];
  const warnings: string[] = [];
  const executable = join(host.host, "calico");
  writeFileSync(executable, "#!/bin/true", { mode: 0o755 });
  const failure = await install({
    ...{ env, parts, places: host.places(), executable, binFolders: [host.bin], makesFolders: true, node: "n1" },
    ...{ secrets: host.secrets, dryRun, onStep: (step) => void steps.push(step), warn: (text) => warnings.push(text) },
  }).then(
    () => undefined,
    (error: Error) => error.message,
  );
  const actions = steps.map(({ path, action }) => `${action} ${path.split("/").at(-1)}`);
  return { failure, actions, steps, warnings };
}

describe("a dry run", () => {
  test("fails as the real one would, by the same words, where a plugin is missing; and says that the file is left alone", async () => {
    using host = fakeHost();
    const env = { CNI_NETWORK_CONFIG: LIST("calico", "portmap") };
    const dry = await run(host, true, env);
    expect(host.names(host.bin)).toEqual([]);
    expect(dry.failure).toMatch(/10-calico.conflist is not written, because what it names is not there: portmap;/);
    expect(dry.steps.at(-1)).toMatchObject({ action: "left alone", why: dry.failure });
    expect((await run(host, false, env)).failure).toBe(dry.failure);
  });

  test.each([true, false])("counts as there what it would write itself; folders are there: %s", async (isThere) => {
    using host = fakeHost();
    if (!isThere) rmSync(host.bin, { recursive: true });
    const { failure, actions, warnings } = await run(host, true, { CNI_NETWORK_CONFIG: LIST("calico") });
    expect(failure).toBeUndefined();
    expect(actions).toEqual(["written calico", "linked calico-ipam", "written 10-calico.conflist"]);
    expect(host.names(host.net)).toEqual([]);
    expect(warnings).toEqual([
      expect.stringMatching(/^there is no loopback in .*: containerd starts no pod without it/),
    ]);
  });

  test("misses a plugin's kubeconfig that nobody would write, as the real one does", async () => {
    using host = fakeHost();
    const plugin = { type: "calico", kubernetes: { kubeconfig: "__KUBECONFIG_FILEPATH__" } };
    const env = { CNI_NETWORK_CONFIG: JSON.stringify({ name: "k8s-pod-network", plugins: [plugin] }) };
    const dry = await run(host, true, env, ["executables", "kubeconfig", "conflist"]);
    expect(dry.failure).toMatch(/not there: .*calico-kubeconfig/);
    expect((await run(host, false, env, ["executables", "kubeconfig", "conflist"])).failure).toBe(dry.failure);
  });
});
