import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { silentLogger } from "../telemetry/index.ts";
import { type Env, type KeepCniOptions, keepCni } from "./index.ts";
import { type FakeHost, fakeHost } from "./testing.ts";

const CONFIG = '{"name": "k8s-pod-network", "cniVersion": "1.0.0", "plugins": [{"type": "calico"}]}';
const OLD = CONFIG.replace('"calico"', '"calico", "mtu": 1400');

describe("the agent and the network configuration", () => {
  let stop = new AbortController();
  let done: Promise<void> | undefined;
  afterEach(async () => {
    stop.abort();
    await done;
    stop = new AbortController();
  });

  function keep(host: FakeHost, changes: Partial<KeepCniOptions> & { env?: Env } = {}) {
    const troubles: (string | undefined)[] = [];
    const asked = { enforced: 0, reached: 0 };
    const state = { notEnforced: undefined as string | undefined, notReached: undefined as string | undefined };
    done = keepCni({
      node: "n1",
      whyNotEnforced: async () => {
        asked.enforced++;
        return state.notEnforced;
      },
      whyNotReached: async () => {
        asked.reached++;
        return state.notReached;
      },
      onTrouble: (why) => troubles.push(why),
      ...{ log: silentLogger, signal: stop.signal, host: host.host, secrets: host.secrets, pollMs: 1 },
      ...changes,
      env: { CNI_NETWORK_CONFIG: CONFIG, ...changes.env },
    });
    return { troubles, asked, state };
  }
  const path = (host: FakeHost): string => join(host.net, "10-calico.conflist");
  const content = (host: FakeHost): string | undefined =>
    existsSync(path(host)) ? readFileSync(path(host), "utf8") : undefined;
  async function until(holds: () => boolean): Promise<void> {
    const deadline = performance.now() + 20_000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error("it did not come to pass");
      await Bun.sleep(1);
    }
  }
  const withPlugin = (host: FakeHost): void => writeFileSync(join(host.bin, "calico"), "");

  test("it appears when policy is enforced and others are reached, and not before", async () => {
    using host = fakeHost();
    withPlugin(host);
    const { state, asked } = keep(host);
    state.notEnforced = "felix is not ready";
    state.notReached = "BGP not established";
    await until(() => asked.enforced > 3);
    expect(asked.reached).toBe(0);
    expect(content(host)).toBeUndefined();
    state.notEnforced = undefined;
    await until(() => asked.reached > 3);
    expect(content(host)).toBeUndefined();
    state.notReached = undefined;
    await until(() => content(host) === CONFIG);
  });

  test("one from before stays until then", async () => {
    using host = fakeHost();
    withPlugin(host);
    writeFileSync(path(host), OLD);
    const { state, asked } = keep(host);
    state.notEnforced = "felix is not ready";
    await until(() => asked.enforced > 3);
    expect(content(host)).toBe(OLD);
    state.notEnforced = undefined;
    await until(() => content(host) === CONFIG);
  });

  test("other nodes are not waited for for ever, policy is", async () => {
    using host = fakeHost();
    withPlugin(host);
    const { state, asked } = keep(host, { patienceMs: 0 });
    state.notEnforced = "felix is not ready";
    state.notReached = "BGP not established";
    await until(() => asked.enforced > 3);
    expect(content(host)).toBeUndefined();
    state.notEnforced = undefined;
    await until(() => content(host) === CONFIG);
  });

  test("without the executables it is not written, and the agent says so", async () => {
    using host = fakeHost();
    const { troubles } = keep(host);
    await until(() => troubles.at(-1)?.includes("not there: calico") === true);
    expect(content(host)).toBeUndefined();
  });

  test.each<[string, Env]>([
    ["CALICO_MANAGE_CNI=false", { CALICO_MANAGE_CNI: "false" }],
    ["no CNI_NETWORK_CONFIG, as in manifests in which another container writes it", { CNI_NETWORK_CONFIG: "" }],
  ])("%s: it is left alone", async (_, env) => {
    using host = fakeHost();
    withPlugin(host);
    writeFileSync(path(host), OLD);
    keep(host, { env });
    await done;
    expect(content(host)).toBe(OLD);
    expect(host.names(host.net)).toEqual(["10-calico.conflist"]);
  });

  test("on a machine that mounts nothing it does nothing", async () => {
    using host = fakeHost();
    rmSync(host.net, { recursive: true });
    const { asked } = keep(host);
    await done;
    expect(asked.enforced).toBe(0);
  });
});
