import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, test, vi } from "vitest";
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
    const asked = { enforced: 0, prepared: 0, reached: 0 };
    const state: Record<"notEnforced" | "notPrepared" | "notReached", string | undefined> = {
      ...{ notEnforced: undefined, notPrepared: undefined, notReached: undefined },
    };
    done = keepCni({
      node: "n1",
      whyNotEnforced: async () => {
        asked.enforced++;
        return state.notEnforced;
      },
      whyNotPrepared: async () => {
        asked.prepared++;
        return state.notPrepared;
      },
      whyNotReached: async () => {
        asked.reached++;
        return state.notReached;
      },
      onTrouble: (why) => troubles.push(why),
      ...{ log: silentLogger, signal: stop.signal, host: host.host, secrets: host.secrets, pollMs: 1, lookMs: 1 },
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
  const withPlugin = (host: FakeHost): void => {
    for (const name of ["calico", "loopback"]) writeFileSync(join(host.bin, name), "");
  };

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

  test("other nodes are not waited for for ever; policy, and what this node lacks itself, is", async () => {
    using host = fakeHost();
    withPlugin(host);
    const { state, asked } = keep(host, { patienceMs: 0 });
    state.notEnforced = "felix is not ready";
    state.notPrepared = "the node is not prepared: no address";
    state.notReached = "BGP not established";
    await until(() => asked.enforced > 3);
    expect(content(host)).toBeUndefined();
    state.notEnforced = undefined;
    await until(() => asked.prepared > 3);
    expect(asked.reached).toBe(0);
    expect(content(host)).toBeUndefined();
    state.notPrepared = undefined;
    await until(() => content(host) === CONFIG);
  });

  test("patience with other nodes begins when this node is ready itself", async () => {
    using host = fakeHost();
    withPlugin(host);
    const { state, asked } = keep(host, { patienceMs: 60_000 });
    let now = 0;
    const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
    try {
      const come = async (holds: () => boolean): Promise<void> => {
        for (let round = 0; !holds(); round++) {
          if (round > 10_000) throw new Error("it did not come to pass");
          await Bun.sleep(1);
        }
      };
      state.notPrepared = "the node is being prepared";
      state.notReached = "BGP not established";
      await come(() => asked.prepared > 3);
      now = 120_000;
      state.notPrepared = undefined;
      await come(() => asked.reached > 3);
      expect(content(host)).toBeUndefined();
      now = 180_000;
      await come(() => content(host) === CONFIG);
    } finally {
      clock.mockRestore();
    }
  });

  test("that a runtime would take another network's file is told for as long as it is so, and one that calls ours is not that", async () => {
    using host = fakeHost();
    withPlugin(host);
    const theirs = join(host.net, "05-cilium.conflist");
    const multus = '{"name": "m", "cniVersion": "1.0.0", "type": "multus", "clusterNetwork": "k8s-pod-network"}';
    writeFileSync(join(host.net, "00-multus.conf"), multus);
    const { troubles } = keep(host);
    await until(() => troubles.length > 0);
    expect(troubles.at(-1)).toBeUndefined();
    writeFileSync(theirs, CONFIG.replace('"calico"', '"cilium-cni"'));
    await until(() => troubles.at(-1) !== undefined);
    expect(troubles.at(-1)).toMatch(/05-cilium.conflist is another network's, and comes before 10-calico.conflist/);
    rmSync(theirs);
    await until(() => troubles.at(-1) === undefined);
    expect(content(host)).toBe(CONFIG);
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
