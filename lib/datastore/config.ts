import { DatastoreError } from "./errors.ts";

/** Where the embedded datastore is unless said otherwise. */
export const DEFAULT_FILE = "/var/lib/calico/datastore.db";

/** The embedded datastore: one file. */
export interface SqliteConfig {
  readonly type: "sqlite";
  /** The file; it and its folder are made when they are absent. */
  readonly file: string;
  /** False: a file that is absent is UNAVAILABLE, and nothing is made. */
  readonly create?: boolean;
  /**
   * `full` (default): what was committed survives a power cut. `normal`: it survives a killed process, but a power cut can
   * undo the last commits; two to four times as fast.
   */
  readonly synchronous?: "full" | "normal";
  /**
   * The process ends right after it closes the client: the write-ahead log is left to the next process instead of being
   * folded into the file and removed, which saves a plugin 1.5 ms a run. The connection itself ends with the process.
   */
  readonly brief?: boolean;
  /** How long an operation waits for other processes, in milliseconds; 10000 when absent. */
  readonly timeout?: number;
}

/** An etcd cluster, version 3.4 or later, through its JSON gateway. */
export interface EtcdConfig {
  readonly type: "etcdv3";
  /** `http://host:port` or `https://host:port`, tried in turn. Empty when `discoverySrv` is set. */
  readonly endpoints: readonly string[];
  /** A domain whose SRV records name the endpoints. */
  readonly discoverySrv?: string;
  readonly username?: string;
  readonly password?: string;
  /** PEM files. */
  readonly caCertFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  /** The same as PEM text. */
  readonly caCert?: string;
  readonly cert?: string;
  readonly key?: string;
  /** How long an operation may take altogether, in milliseconds; 5000 when absent. */
  readonly timeout?: number;
}

/**
 * A Kubernetes API server. Without a kubeconfig and without an endpoint it is the one of `$HOME/.kube/config`, and where there
 * is no such file, that of the pod this runs in.
 */
export interface KubernetesConfig {
  readonly type: "kubernetes";
  /** One kubeconfig, or several separated by colons. */
  readonly kubeconfig?: string;
  /** The text of a kubeconfig; wins over the file. */
  readonly kubeconfigInline?: string;
  /** The context to use instead of the kubeconfig's current one. */
  readonly context?: string;
  /** `https://host:port`; with this and what follows, no kubeconfig is needed. Each replaces what the kubeconfig says. */
  readonly apiEndpoint?: string;
  /** PEM files. */
  readonly caFile?: string;
  readonly certFile?: string;
  readonly keyFile?: string;
  readonly token?: string;
  readonly insecureSkipTlsVerify?: boolean;
  /** Requests a second, on average; unlimited when absent. */
  readonly qps?: number;
  /** Requests at once before `qps` holds them back; 100 when absent, as the allocator asks in bursts. */
  readonly burst?: number;
  /** Where Calico's resources are: "v1" crd.projectcalico.org/v1, "v3" projectcalico.org/v3. Absent: the API server is asked. */
  readonly apiGroup?: "v1" | "v3";
  /** Pods get their addresses from their Node's podCIDRs (host-local), so tunnel addresses come from there too. */
  readonly usePodCidr?: boolean;
  /** What the API server's audit log calls this program; `calico/<version>` when absent. */
  readonly userAgent?: string;
}

export type DatastoreConfig = SqliteConfig | EtcdConfig | KubernetesConfig;

/** The settings as texts, by the names that calicoctl's configuration file gives them; "" counts as absent. */
export interface DatastoreSettings {
  readonly datastoreType?: string | undefined;
  /** The file of the embedded datastore; ours, upstream has none. */
  readonly datastoreFile?: string | undefined;
  /** Separated by commas. */
  readonly etcdEndpoints?: string | undefined;
  readonly etcdDiscoverySrv?: string | undefined;
  /** `host:port` of one endpoint, and its scheme: the plugin's older way to say `etcdEndpoints`. */
  readonly etcdAuthority?: string | undefined;
  readonly etcdScheme?: string | undefined;
  readonly etcdUsername?: string | undefined;
  readonly etcdPassword?: string | undefined;
  readonly etcdKeyFile?: string | undefined;
  readonly etcdCertFile?: string | undefined;
  readonly etcdCACertFile?: string | undefined;
  readonly etcdKey?: string | undefined;
  readonly etcdCert?: string | undefined;
  readonly etcdCACert?: string | undefined;
  readonly kubeconfig?: string | undefined;
  readonly kubeconfigInline?: string | undefined;
  readonly k8sAPIEndpoint?: string | undefined;
  readonly k8sKeyFile?: string | undefined;
  readonly k8sCertFile?: string | undefined;
  readonly k8sCAFile?: string | undefined;
  readonly k8sAPIToken?: string | undefined;
  /** "true" or "false", and what else Go's strconv.ParseBool takes. */
  readonly k8sInsecureSkipTLSVerify?: string | undefined;
  readonly k8sCurrentContext?: string | undefined;
  /** Numbers. */
  readonly k8sClientQPS?: string | undefined;
  readonly k8sClientBurst?: string | undefined;
  readonly usePodCIDR?: string | undefined;
  /** projectcalico.org/v3 or crd.projectcalico.org/v1. */
  readonly calicoAPIGroup?: string | undefined;
}

type Setting = keyof DatastoreSettings;

/**
 * Each setting's environment variable (also with CALICO_ before it, which wins) and its keys in the plugin's network
 * configuration, the one that wins first. "" where there is none.
 */
const NAMES: Readonly<Record<Setting, readonly [variable: string, ...pluginKeys: string[]]>> = {
  datastoreType: ["DATASTORE_TYPE", "datastore_type"],
  datastoreFile: ["DATASTORE_FILE", "datastore_file"],
  etcdEndpoints: ["ETCD_ENDPOINTS", "etcd_endpoints"],
  etcdDiscoverySrv: ["ETCD_DISCOVERY_SRV", "etcd_discovery_srv"],
  etcdAuthority: ["ETCD_AUTHORITY", "etcd_authority"],
  etcdScheme: ["ETCD_SCHEME", "etcd_scheme"],
  etcdUsername: ["ETCD_USERNAME", "etcd_username"],
  etcdPassword: ["ETCD_PASSWORD", "etcd_password"],
  etcdKeyFile: ["ETCD_KEY_FILE", "etcd_key_file"],
  etcdCertFile: ["ETCD_CERT_FILE", "etcd_cert_file"],
  etcdCACertFile: ["ETCD_CA_CERT_FILE", "etcd_ca_cert_file"],
  etcdKey: ["ETCD_KEY", "etcd_key"],
  etcdCert: ["ETCD_CERT", "etcd_cert"],
  etcdCACert: ["ETCD_CA_CERT", "etcd_ca_cert"],
  kubeconfig: ["KUBECONFIG", "kubernetes.kubeconfig"],
  kubeconfigInline: [""],
  k8sAPIEndpoint: ["K8S_API_ENDPOINT", "kubernetes.k8s_api_root", "policy.k8s_api_root"],
  k8sKeyFile: ["K8S_KEY_FILE", "policy.k8s_client_key"],
  k8sCertFile: ["K8S_CERT_FILE", "policy.k8s_client_certificate"],
  k8sCAFile: ["K8S_CA_FILE", "policy.k8s_certificate_authority"],
  k8sAPIToken: ["K8S_API_TOKEN", "policy.k8s_auth_token"],
  k8sInsecureSkipTLSVerify: ["K8S_INSECURE_SKIP_TLS_VERIFY", "k8s_insecure_skip_tls_verify"],
  k8sCurrentContext: ["K8S_CURRENT_CONTEXT", "k8s_current_context"],
  k8sClientQPS: ["K8S_CLIENT_QPS", "qps"],
  k8sClientBurst: ["K8S_CLIENT_BURST", "burst"],
  usePodCIDR: ["USE_POD_CIDR", "use_pod_cidr"],
  calicoAPIGroup: ["CALICO_API_GROUP", "calico_api_group"],
};
const SETTINGS = Object.keys(NAMES) as Setting[];

/**
 * The datastore that a command line uses: DATASTORE_TYPE, DATASTORE_FILE, ETCD_*, KUBECONFIG, K8S_*, USE_POD_CIDR, CALICO_API_GROUP,
 * each also with CALICO_ before it. CONFIG when they contradict.
 */
export function datastoreConfigFromEnv(
  env: Readonly<Record<string, string | undefined>> = process.env,
): DatastoreConfig {
  const settings: Partial<Record<Setting, string>> = {};
  for (const setting of SETTINGS) {
    const [variable] = NAMES[setting];
    const value = variable === "" ? undefined : env[`CALICO_${variable}`] || env[variable];
    if (value) settings[setting] = value;
  }
  return datastoreConfig(settings, (setting) => NAMES[setting][0]);
}

/**
 * The datastore that a network configuration names: `datastore_type`, `datastore_file`, `etcd_*`, `kubernetes.*`, `policy.k8s_*`,
 * `qps`, `burst`, `calico_api_group`. A key with a dot is looked for as it stands, and within the object before the dot. CONFIG,
 * naming the key, when one is wrong.
 */
export function datastoreConfigFromPlugin(keys: Readonly<Record<string, unknown>>): DatastoreConfig {
  const settings: Partial<Record<Setting, string>> = {};
  for (const setting of SETTINGS) {
    for (const key of NAMES[setting].slice(1)) {
      let value = pluginValue(keys, key);
      // A rate of 0, or below, is none.
      if (typeof value === "number" && (key === "qps" || key === "burst")) value = value > 0 ? String(value) : "";
      if (typeof value !== "string") throw config(`${key}: must be a string`);
      if (value !== "") settings[setting] ??= value;
    }
  }
  return datastoreConfig(settings, (setting) => NAMES[setting][1] ?? setting);
}

function pluginValue(keys: Readonly<Record<string, unknown>>, key: string): unknown {
  const value = keys[key] ?? "";
  const dot = key.indexOf(".");
  if (value !== "" || dot < 0) return value;
  const group = keys[key.slice(0, dot)];
  return (typeof group === "object" && group !== null && (group as Record<string, unknown>)[key.slice(dot + 1)]) || "";
}

/** The datastore that `settings` describe; `named` says how the user calls a setting, for messages. */
export function datastoreConfig(
  settings: DatastoreSettings,
  named: (setting: Setting) => string = (setting) => setting,
): DatastoreConfig {
  const type = settings.datastoreType || presumedType(settings);
  switch (type) {
    case "sqlite":
      return { type, file: settings.datastoreFile || DEFAULT_FILE };
    case "etcdv3":
      return etcdConfig(settings, named);
    case "kubernetes":
      return kubernetesConfig(settings, named);
    default:
      throw config(`${named("datastoreType")}: "${type}": must be "sqlite", "etcdv3" or "kubernetes"`);
  }
}

/** As upstream, where etcd's endpoints mean etcd, and everything else Kubernetes; ours has an embedded datastore besides. */
function presumedType(settings: DatastoreSettings): DatastoreConfig["type"] {
  if (settings.etcdEndpoints || settings.etcdDiscoverySrv || settings.etcdAuthority) return "etcdv3";
  if (settings.datastoreFile) return "sqlite";
  return settings.kubeconfig || settings.kubeconfigInline || settings.k8sAPIEndpoint ? "kubernetes" : "sqlite";
}

function kubernetesConfig(settings: DatastoreSettings, named: (setting: Setting) => string): KubernetesConfig {
  pair(settings, named, "k8sCertFile", "k8sKeyFile");
  const endpoint = settings.k8sAPIEndpoint || undefined;
  const optional = {
    kubeconfig: settings.kubeconfig,
    kubeconfigInline: settings.kubeconfigInline,
    context: settings.k8sCurrentContext,
    apiEndpoint: endpoint && checkEndpoint(endpoint, named("k8sAPIEndpoint"), true),
    caFile: settings.k8sCAFile,
    certFile: settings.k8sCertFile,
    keyFile: settings.k8sKeyFile,
    token: settings.k8sAPIToken,
    insecureSkipTlsVerify: flag(settings, named, "k8sInsecureSkipTLSVerify"),
    qps: rate(settings, named, "k8sClientQPS"),
    burst: rate(settings, named, "k8sClientBurst"),
    apiGroup: apiGroup(settings, named),
    usePodCidr: flag(settings, named, "usePodCIDR"),
  };
  const given = Object.entries(optional).filter(([, value]) => value);
  return { type: "kubernetes", ...(Object.fromEntries(given) as Partial<KubernetesConfig>) };
}

function flag(settings: DatastoreSettings, named: (setting: Setting) => string, setting: Setting): boolean {
  const text = settings[setting] || "false";
  if (["1", "t", "T", "true", "TRUE", "True"].includes(text)) return true;
  if (["0", "f", "F", "false", "FALSE", "False"].includes(text)) return false;
  throw config(`${named(setting)}: "${text}": must be true or false`);
}

function rate(settings: DatastoreSettings, named: (setting: Setting) => string, setting: Setting): number | undefined {
  const text = settings[setting];
  if (!text) return undefined;
  const value = Number(text);
  if (Number.isFinite(value) && value >= 0) return value;
  throw config(`${named(setting)}: "${text}": must be a number, 0 or more`);
}

function apiGroup(settings: DatastoreSettings, named: (setting: Setting) => string): "v1" | "v3" | undefined {
  const text = settings.calicoAPIGroup;
  switch (text?.toLowerCase() ?? "") {
    case "":
      return undefined;
    case "projectcalico.org/v3":
      return "v3";
    case "crd.projectcalico.org/v1":
      return "v1";
    default:
      throw config(
        `${named("calicoAPIGroup")}: "${text}": must be "projectcalico.org/v3" or "crd.projectcalico.org/v1", or absent`,
      );
  }
}

function etcdConfig(settings: DatastoreSettings, named: (setting: Setting) => string): EtcdConfig {
  if (settings.etcdEndpoints && settings.etcdDiscoverySrv)
    throw config(`${named("etcdEndpoints")} and ${named("etcdDiscoverySrv")} are both set: give one of them`);
  const endpoints = settings.etcdDiscoverySrv ? [] : endpointsOf(settings, named);
  const inline = settings.etcdKey || settings.etcdCert || settings.etcdCACert;
  const files = settings.etcdKeyFile || settings.etcdCertFile || settings.etcdCACertFile;
  if (inline && files)
    throw config(
      `${named("etcdCert")} and ${named("etcdCertFile")}: give the certificates in files or inline, not both`,
    );
  pair(settings, named, "etcdCertFile", "etcdKeyFile");
  pair(settings, named, "etcdCert", "etcdKey");
  pair(settings, named, "etcdUsername", "etcdPassword");
  const optional = {
    discoverySrv: settings.etcdDiscoverySrv,
    username: settings.etcdUsername,
    password: settings.etcdPassword,
    caCertFile: settings.etcdCACertFile,
    certFile: settings.etcdCertFile,
    keyFile: settings.etcdKeyFile,
    caCert: settings.etcdCACert,
    cert: settings.etcdCert,
    key: settings.etcdKey,
  };
  const given = Object.fromEntries(Object.entries(optional).filter(([, value]) => value)) as Partial<EtcdConfig>;
  return { type: "etcdv3", endpoints, ...given };
}

function endpointsOf(settings: DatastoreSettings, named: (setting: Setting) => string): string[] {
  if (settings.etcdEndpoints) {
    const endpoints = settings.etcdEndpoints.split(",").map((one) => one.trim());
    return endpoints.filter((one) => one !== "").map((one) => checkEndpoint(one, named("etcdEndpoints")));
  }
  if (settings.etcdAuthority) {
    const scheme = settings.etcdScheme || "http";
    return [checkEndpoint(`${scheme}://${settings.etcdAuthority}`, named("etcdAuthority"))];
  }
  throw config(`${named("etcdEndpoints")}: missing: must be one or more of http://host:2379, separated by commas`);
}

function checkEndpoint(endpoint: string, name: string, withPath = false): string {
  const url = URL.parse(endpoint);
  // The text may hold a password, so it is not repeated.
  if (url && (url.username !== "" || url.password !== ""))
    throw config(`${name}: must not contain a user name or password: they have settings of their own`);
  if (url && (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "")
    return withPath ? url.href.replace(/\/$/, "") : url.origin;
  throw config(`${name}: "${endpoint}": must be http://host:port or https://host:port`);
}

function pair(settings: DatastoreSettings, named: (setting: Setting) => string, a: Setting, b: Setting): void {
  if (Boolean(settings[a]) === Boolean(settings[b])) return;
  const [present, missing] = settings[a] ? [a, b] : [b, a];
  throw config(`${named(present)} is set but ${named(missing)} is not: give both or neither`);
}

const config = (message: string): DatastoreError => new DatastoreError("CONFIG", message);
