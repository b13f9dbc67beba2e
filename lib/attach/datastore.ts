import { ClusterInformation } from "../api/clusterinformation.ts";
import { CniError, errorCode, type NetworkConfig } from "../cni/index.ts";
import { type Client, type DatastoreConfig, datastoreConfigFromPlugin, ensureInitialized } from "../datastore/index.ts";
import { VERSION } from "../telemetry/index.ts";
import { asFailure, step } from "./failure.ts";
import type { Host } from "./host.ts";

/**
 * Settings that only make sense together: where the configuration gives one of a group, the environment's others do not
 * count. Each is the configuration's key; the variable is the same in capitals.
 */
const GROUPS: readonly (readonly string[])[] = [
  ["datastore_type"],
  ["datastore_file"],
  ["etcd_endpoints", "etcd_discovery_srv", "etcd_authority", "etcd_scheme"],
  ["etcd_key_file", "etcd_cert_file", "etcd_ca_cert_file", "etcd_key", "etcd_cert", "etcd_ca_cert"],
  ["etcd_username", "etcd_password"],
];

/**
 * Where the datastore is: the keys of the configuration over upstream's environment variables (each also with CALICO_
 * before it). Without a type, settings of etcd mean etcd, which is upstream's default, and none the embedded sqlite.
 */
export function datastoreConfig(config: NetworkConfig, env: Host["env"]): DatastoreConfig {
  const { datastore } = config;
  const given: Readonly<Record<string, string>> = {
    datastore_type: datastore.type,
    datastore_file: datastore.file,
    etcd_endpoints: datastore.etcdEndpoints,
    etcd_discovery_srv: datastore.etcdDiscoverySrv,
    etcd_authority: datastore.etcdAuthority,
    etcd_scheme: datastore.etcdScheme,
    etcd_key_file: datastore.etcdKeyFile,
    etcd_cert_file: datastore.etcdCertFile,
    etcd_ca_cert_file: datastore.etcdCaCertFile,
  };
  const keys: Record<string, string> = {};
  for (const group of GROUPS) {
    let isGiven = false;
    for (const key of group) if (given[key]) isGiven = true;
    for (const key of group) {
      const variable = key.toUpperCase();
      const value = isGiven ? given[key] : env[`CALICO_${variable}`] || env[variable];
      if (value) keys[key] = value;
    }
  }
  try {
    return datastoreConfigFromPlugin(keys);
  } catch (error) {
    throw asFailure(error, "the datastore is not configured");
  }
}

/**
 * A connection that is closed however the work ends. Only an ADD makes the embedded datastore when there is none: to the
 * other verbs an empty one would say that there is nothing to remove.
 */
export async function withClient<T>(
  config: NetworkConfig,
  host: Host,
  work: (client: Client) => Promise<T>,
  create = false,
): Promise<T> {
  const where = datastoreConfig(config, host.env);
  const client = await step("the datastore cannot be opened", () =>
    host.openClient(where.type === "sqlite" ? { ...where, create } : where),
  );
  try {
    return await work(client);
  } finally {
    await client
      .close()
      .catch((error: Error) => host.log.debug("closing the datastore failed", { error: error.message }));
  }
}

/**
 * The gate of upstream's plugin: nothing is attached or detached while `datastoreReady` is false, which says that the
 * datastore is being migrated. A new sqlite file has no ClusterInformation yet and gets one; on a shared datastore its
 * absence means that nobody has set the cluster up.
 */
export async function requireReady(client: Client, information: ClusterInformation | undefined): Promise<void> {
  if (information === undefined) {
    if (!isEmbedded(client)) {
      throw new CniError(
        errorCode.tryAgainLater,
        `ClusterInformation "default" does not exist in ${client.name}`,
        "calico-node, or calicoctl with its first write, makes it; check that this is the right datastore",
      );
    }
    await step("the datastore cannot be initialised", () => ensureInitialized(client, { calicoVersion: VERSION }));
    return;
  }
  if (information.spec.datastoreReady !== true) {
    throw new CniError(
      errorCode.tryAgainLater,
      "Calico is currently not ready to process requests",
      `datastoreReady of ClusterInformation "default" in ${client.name} is not true: an upgrade or a migration may be under way`,
    );
  }
}

/** Whether the datastore belongs to this machine alone, so that there is nobody else to set it up. */
export function isEmbedded(client: Client): boolean {
  return client.name.startsWith("sqlite");
}

/** Reads the gate's object. */
export function readClusterInformation(client: Client): Promise<ClusterInformation | undefined> {
  return client.get(ClusterInformation, { name: "default" });
}
