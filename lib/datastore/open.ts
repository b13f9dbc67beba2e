import type { Kubernetes } from "../kubernetes/index.ts";
import type { Client } from "./client.ts";
import type { DatastoreConfig, EtcdConfig, KubernetesConfig, SqliteConfig } from "./config.ts";
import { KeyValueClient } from "./key-value-client.ts";
import type { KeyValueStore } from "./store.ts";

/** Connects to a datastore. Only the code of the chosen backend is loaded. */
export async function openClient(config: DatastoreConfig): Promise<Client> {
  if (config.type === "kubernetes") return (await import("./kubernetes/open.ts")).openKubernetesClient(config);
  return new KeyValueClient(await openStore(config));
}

/** The API server that a configuration names, for what is not a resource of Calico's: nodes' addresses, kubeadm's settings. */
export async function openCluster(config: KubernetesConfig): Promise<Kubernetes> {
  return (await import("./kubernetes/open.ts")).openCluster(config);
}

/** Where Calico's resources are in a cluster: "v1", in crd.projectcalico.org, or "v3", in projectcalico.org itself. One request, unless it is configured. */
export async function apiGroupOf(config: KubernetesConfig, cluster: Kubernetes): Promise<"v1" | "v3"> {
  return config.apiGroup ?? (await import("./kubernetes/group.ts")).discoverGroup(cluster);
}

/** The store beneath {@link openClient}, where there is one. */
export async function openStore(config: SqliteConfig | EtcdConfig): Promise<KeyValueStore> {
  switch (config.type) {
    case "sqlite":
      return (await import("./sqlite/store.ts")).openSqlite(config);
    case "etcdv3":
      return (await import("./etcd/store.ts")).openEtcd(config);
  }
}
