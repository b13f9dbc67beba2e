import type { V1Node, V1Pod } from "@kubernetes/client-node";
import { type Kubernetes, KubernetesError, type Wire } from "../../kubernetes/index.ts";
import { type Pod, podFacts } from "./facts.ts";

/** The last look before something is taken away: at the API server itself, past every cache. What cannot be asked throws. */
export interface LiveCluster {
  nodeExists(name: string): Promise<boolean>;
  /** The pods that are bound to a node and have not ended, by `namespace/name`. */
  podsOn(node: string): Promise<ReadonlyMap<string, Pod>>;
  /** `namespace/name`. Undefined: there is none, or it is on its node's own network. */
  pod(key: string): Promise<Pod | undefined>;
}

export function liveCluster(kubernetes: Kubernetes): LiveCluster {
  return {
    nodeExists: async (name) =>
      (await found(kubernetes.get<Wire<V1Node>>({ group: "", version: "v1", plural: "nodes", name }))) !== undefined,
    podsOn: async (node) => {
      const query = { fieldSelector: `spec.nodeName=${node}` };
      const { items } = await kubernetes.list<Wire<V1Pod>>({ group: "", version: "v1", plural: "pods" }, { query });
      const pods = items.flatMap((pod) => podFacts(pod) ?? []).filter(({ finished }) => !finished);
      return new Map(pods.map((pod) => [pod.key, pod]));
    },
    pod: async (key) => {
      const slash = key.indexOf("/");
      const [namespace, name] = [key.slice(0, slash), key.slice(slash + 1)];
      const pod = await found(
        kubernetes.get<Wire<V1Pod>>({ group: "", version: "v1", plural: "pods", namespace, name }),
      );
      return pod && podFacts(pod);
    },
  };
}

/** Only the object's own absence counts: "no such resource" is no answer about it. */
async function found<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof KubernetesError && error.code === "NOT_FOUND" && !error.resourceMissing) return undefined;
    throw error;
  }
}
