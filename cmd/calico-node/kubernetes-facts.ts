import type { V1ConfigMap, V1Node } from "@kubernetes/client-node";
import { type DatastoreConfig, openCluster } from "../../lib/datastore/index.ts";
import {
  type Kubernetes,
  KubernetesError,
  type KubernetesObject,
  type ResourcePath,
  type Wire,
} from "../../lib/kubernetes/index.ts";
import type { KubernetesFacts } from "../../lib/node/index.ts";

/** The cluster that the node is of, as far as start-up goes. */
export interface ClusterOfNode {
  ask(): Promise<KubernetesFacts | undefined>;
  cluster(): Promise<Kubernetes | undefined>;
  close(): Promise<void>;
}

/** Asks for what a node's start-up wants to know of its cluster. Undefined: there is no cluster. What may not be read is absent. */
export function kubernetesFactsOf(config: DatastoreConfig, node: string): ClusterOfNode {
  if (config.type !== "kubernetes") {
    return { ask: async () => undefined, cluster: async () => undefined, close: async () => {} };
  }
  let cluster: Promise<Kubernetes> | undefined;
  const open = (): Promise<Kubernetes> => {
    cluster ??= openCluster(config);
    return cluster;
  };
  return {
    ask: async () => facts(await open(), node),
    cluster: open,
    close: async () => (await cluster)?.close(),
  };
}

async function facts(kubernetes: Kubernetes, name: string): Promise<KubernetesFacts> {
  const configMap = (map: string) =>
    optional<Wire<V1ConfigMap>>(kubernetes, {
      group: "",
      version: "v1",
      plural: "configmaps",
      namespace: "kube-system",
      name: map,
    });
  const [node, kubeadm, rancher] = await Promise.all([
    optional<Wire<V1Node>>(kubernetes, { group: "", version: "v1", plural: "nodes", name }),
    configMap("kubeadm-config"),
    configMap("full-cluster-state"),
  ]);
  const addresses = node?.status?.addresses?.filter(({ type }) => type === "InternalIP").map(({ address }) => address);
  return {
    ...(addresses && { internalAddresses: addresses }),
    ...(kubeadm?.data && { kubeadmConfig: kubeadm.data }),
    rancher: rancher !== undefined,
  };
}

/** Undefined: it is not there, or this account may not read it. */
async function optional<T extends KubernetesObject>(
  kubernetes: Kubernetes,
  path: ResourcePath,
): Promise<T | undefined> {
  try {
    return await kubernetes.get<T>(path);
  } catch (error) {
    if (error instanceof KubernetesError && (error.code === "NOT_FOUND" || error.code === "FORBIDDEN"))
      return undefined;
    throw error;
  }
}
