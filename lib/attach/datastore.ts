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
 * The same for an API server: each key, as lib/datastore knows it, with its variable, in groups. `k8s_insecure_skip_tls_verify` and
 * `k8s_current_context` are no keys of a network configuration.
 */
const KUBERNETES_GROUPS: readonly (readonly (readonly [key: string, variable: string])[])[] = [
  [
    ["kubernetes.kubeconfig", "KUBECONFIG"],
    ["kubernetes.k8s_api_root", "K8S_API_ENDPOINT"],
    ["policy.k8s_api_root", ""],
    ["k8s_current_context", "K8S_CURRENT_CONTEXT"],
  ],
  [
    ["policy.k8s_auth_token", "K8S_API_TOKEN"],
    ["policy.k8s_client_certificate", "K8S_CERT_FILE"],
    ["policy.k8s_client_key", "K8S_KEY_FILE"],
    ["policy.k8s_certificate_authority", "K8S_CA_FILE"],
    ["k8s_insecure_skip_tls_verify", "K8S_INSECURE_SKIP_TLS_VERIFY"],
  ],
  [["qps", "K8S_CLIENT_QPS"]],
  [["burst", "K8S_CLIENT_BURST"]],
  [["calico_api_group", "CALICO_API_GROUP"]],
];

/**
 * Where the datastore is: the keys of the configuration over upstream's environment variables (each also with CALICO_
 * before it). Without a type, settings of etcd mean etcd, a kubeconfig or the address of an API server in the configuration
 * Kubernetes, which are upstream's defaults, and none of them the embedded sqlite.
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
  const keys: Record<string, string | number> = {};
  for (const group of GROUPS) {
    let isGiven = false;
    for (const key of group) if (given[key]) isGiven = true;
    for (const key of group) {
      const variable = key.toUpperCase();
      const value = isGiven ? given[key] : env[`CALICO_${variable}`] || env[variable];
      if (value) keys[key] = value;
    }
  }
  if (keys.datastore_type === "kubernetes" || (!keys.datastore_type && namesApiServer(config)))
    Object.assign(keys, kubernetesKeys(config, env));
  try {
    return datastoreConfigFromPlugin(keys);
  } catch (error) {
    throw asFailure(error, "the datastore is not configured");
  }
}

/** The API server that has the pods, where the configuration names one: it need not be the datastore. */
export function apiServerConfig(config: NetworkConfig, env: Host["env"]): DatastoreConfig | undefined {
  if (!namesApiServer(config)) return undefined;
  try {
    return datastoreConfigFromPlugin({ ...kubernetesKeys(config, env), datastore_type: "kubernetes" });
  } catch (error) {
    throw asFailure(error, "the Kubernetes API server is not configured");
  }
}

function namesApiServer({ kubernetes }: NetworkConfig): boolean {
  return Boolean(kubernetes.kubeconfig || kubernetes.k8s_api_root || kubernetes["policy.k8s_api_root"]);
}

function kubernetesKeys({ kubernetes }: NetworkConfig, env: Host["env"]): Record<string, string | number> {
  const keys: Record<string, string | number> = {};
  for (const group of KUBERNETES_GROUPS) {
    const own = (key: string) => kubernetes[key.replace("kubernetes.", "")];
    const isGiven = group.some(([key]) => own(key));
    for (const [key, variable] of group) {
      const value = isGiven || variable === "" ? own(key) : env[`CALICO_${variable}`] || env[variable];
      // Very old configurations have the API's path in it.
      if (value) keys[key] = key.endsWith("api_root") ? String(value).split("/api/")[0]! : value;
    }
  }
  return keys;
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
  if (host.agent) return work(host.agent.client);
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

/** Reads the gate's object, unless the agent knows it. */
export async function readClusterInformation(client: Client, host: Host): Promise<ClusterInformation | undefined> {
  return host.agent?.warm?.information() ?? client.get(ClusterInformation, { name: "default" });
}
