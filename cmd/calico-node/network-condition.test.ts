import { expect, test, vi } from "vitest";
import { type Kubernetes, KubernetesError } from "../../lib/kubernetes/index.ts";
import { silentLogger } from "../../lib/telemetry/index.ts";
import { reportNetworkUp, setNetworkUnavailable } from "./network-condition.ts";

type Condition = { readonly type: string; readonly status: string; readonly reason?: string };

/** A cluster of one node, which takes strategic patches of its conditions as an API server does: by their type. */
function cluster(...conditions: Condition[]) {
  const patches: unknown[] = [];
  const failures: KubernetesError[] = [];
  const kubernetes = {
    get: async () => ({ status: { conditions } }),
    patch: async (path: object, type: string, patch: { status: { conditions: Condition[] } }) => {
      const failure = failures.shift();
      if (failure) throw failure;
      patches.push({ path, type });
      for (const condition of patch.status.conditions) {
        const at = conditions.findIndex(({ type }) => type === condition.type);
        conditions.splice(at < 0 ? conditions.length : at, at < 0 ? 0 : 1, condition);
      }
    },
  } as unknown as Kubernetes;
  return { kubernetes, conditions, patches, failures };
}

test("says by upstream's words that the network is there, or goes", async () => {
  const { kubernetes, conditions, patches } = cluster({ type: "Ready", status: "True" });
  await setNetworkUnavailable(kubernetes, "n1", true);
  expect(conditions).toMatchObject([
    { type: "Ready" },
    {
      type: "NetworkUnavailable",
      status: "True",
      reason: "CalicoIsDown",
      message: "Calico is shutting down on this node",
      lastTransitionTime: expect.stringMatching(/^\d{4}-.*Z$/),
    },
  ]);
  await setNetworkUnavailable(kubernetes, "n1", false);
  expect(conditions[1]).toMatchObject({
    status: "False",
    reason: "CalicoIsUp",
    message: "Calico is running on this node",
  });
  const path = { group: "", version: "v1", plural: "nodes", name: "n1", subresource: "status" };
  expect(patches).toEqual([
    { path, type: "strategic" },
    { path, type: "strategic" },
  ]);
});

test("writes nothing when it is said already", async () => {
  const { kubernetes, patches } = cluster({ type: "NetworkUnavailable", status: "False", reason: "CalicoIsUp" });
  await setNetworkUnavailable(kubernetes, "n1", false);
  expect(patches).toEqual([]);
});

test("waits until the node is ready, and tries again what the cluster refuses", async () => {
  vi.useFakeTimers();
  try {
    const { kubernetes, conditions, failures } = cluster({ type: "NetworkUnavailable", status: "True" });
    failures.push(new KubernetesError("FORBIDDEN", "nodes/status is forbidden"));
    let why: string | undefined = "BGP not established";
    const { signal } = new AbortController();
    const done = reportNetworkUp({ kubernetes, node: "n1", whyNot: async () => why, log: silentLogger, signal });
    await vi.advanceTimersByTimeAsync(5_000);
    expect(conditions[0]!.status).toBe("True");
    why = undefined;
    await vi.advanceTimersByTimeAsync(1_000);
    expect(conditions[0]!.status).toBe("True");
    await vi.advanceTimersByTimeAsync(10_000);
    await done;
    expect(conditions[0]).toMatchObject({ status: "False", reason: "CalicoIsUp" });
  } finally {
    vi.useRealTimers();
  }
});

test("does not wait for ever", async () => {
  const { kubernetes, conditions } = cluster();
  const whyNot = async () => "BGP not established with 10.0.0.9";
  const { signal } = new AbortController();
  await reportNetworkUp({ kubernetes, node: "n1", whyNot, log: silentLogger, signal, patienceMs: 0 });
  expect(conditions).toMatchObject([{ type: "NetworkUnavailable", status: "False" }]);
});
