/** Kubernetes' condition NetworkUnavailable of this node: while it is true, no pods are put on the node. */
import type { V1Node } from "@kubernetes/client-node";
import { type Kubernetes, KubernetesError, type ResourcePath, type Wire } from "../../lib/kubernetes/index.ts";
import type { Logger } from "../../lib/telemetry/index.ts";
import { pause } from "../../lib/wait/index.ts";

const TYPE = "NetworkUnavailable";
/** Upstream's words (node/pkg/lifecycle/utils), which others look for. */
const UP = { status: "False", reason: "CalicoIsUp", message: "Calico is running on this node" } as const;
const DOWN = { status: "True", reason: "CalicoIsDown", message: "Calico is shutting down on this node" } as const;

const READY_POLL_MS = 1_000;
/** After so long pods may come even to a node that is not ready, as upstream has it. */
const READY_PATIENCE_MS = 300_000;
const RETRY_MS = 10_000;

/** Writes it, unless it says so already. Throws {@link KubernetesError}. */
export async function setNetworkUnavailable(kubernetes: Kubernetes, name: string, down: boolean): Promise<void> {
  const node: ResourcePath = { group: "", version: "v1", plural: "nodes", name };
  const wanted = down ? DOWN : UP;
  const { status } = await kubernetes.get<Wire<V1Node>>(node);
  const found = status?.conditions?.find(({ type }) => type === TYPE);
  if (found?.status === wanted.status && found.reason === wanted.reason) return;
  const now = new Date().toISOString();
  const condition = { type: TYPE, ...wanted, lastTransitionTime: now, lastHeartbeatTime: now };
  await kubernetes.patch({ ...node, subresource: "status" }, "strategic", { status: { conditions: [condition] } });
}

export interface NetworkUpOptions {
  readonly kubernetes: Kubernetes;
  /** What Kubernetes calls the node. */
  readonly node: string;
  /** Why pods should not come yet; undefined: they may. */
  readonly whyNot: () => Promise<string | undefined>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly patienceMs?: number;
}

/** Waits until the node is ready, though not for ever, and then says that it has a network. Goes on through errors, which it logs. */
export async function reportNetworkUp({
  kubernetes,
  node,
  whyNot,
  log,
  signal,
  ...options
}: NetworkUpOptions): Promise<void> {
  const deadline = performance.now() + (options.patienceMs ?? READY_PATIENCE_MS);
  for (let said: string | undefined; !signal.aborted; await pause(READY_POLL_MS, signal)) {
    const why = await whyNot();
    if (why === undefined) break;
    if (performance.now() >= deadline) {
      log.warning("pods may come to this node although it is not ready", { why });
      break;
    }
    if (why !== said) log.info("pods are kept off this node until it is ready", { why });
    said = why;
  }
  while (!signal.aborted) {
    try {
      await setNetworkUnavailable(kubernetes, node, false);
      return;
    } catch (error) {
      if (!(error instanceof KubernetesError)) throw error;
      log.warning("the Node's condition NetworkUnavailable cannot be set", { node, error: error.message });
      await pause(RETRY_MS, signal);
    }
  }
}
