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

export type DatastoreConfig = SqliteConfig | EtcdConfig;

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
}

type Setting = keyof DatastoreSettings;

/** Each setting's environment variable (also with CALICO_ before it, which wins) and key in the plugin's network configuration. */
const NAMES: Readonly<Record<Setting, readonly [variable: string, pluginKey: string]>> = {
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
};
const SETTINGS = Object.keys(NAMES) as Setting[];

/** The datastore that a command line uses: DATASTORE_TYPE, DATASTORE_FILE, ETCD_*, each also with CALICO_ before it. CONFIG when they contradict. */
export function datastoreConfigFromEnv(
  env: Readonly<Record<string, string | undefined>> = process.env,
): DatastoreConfig {
  const settings: Partial<Record<Setting, string>> = {};
  for (const setting of SETTINGS) {
    const [variable] = NAMES[setting];
    const value = env[`CALICO_${variable}`] || env[variable];
    if (value) settings[setting] = value;
  }
  return datastoreConfig(settings, (setting) => NAMES[setting][0]);
}

/** The datastore that a network configuration names: `datastore_type`, `datastore_file`, `etcd_*`. CONFIG, naming the key, when one is wrong. */
export function datastoreConfigFromPlugin(keys: Readonly<Record<string, unknown>>): DatastoreConfig {
  const settings: Partial<Record<Setting, string>> = {};
  for (const setting of SETTINGS) {
    const key = NAMES[setting][1];
    const value = keys[key] ?? "";
    if (typeof value !== "string") throw config(`${key}: must be a string`);
    if (value !== "") settings[setting] = value;
  }
  return datastoreConfig(settings, (setting) => NAMES[setting][1]);
}

/** The datastore that `settings` describe; `named` says how the user calls a setting, for messages. */
export function datastoreConfig(
  settings: DatastoreSettings,
  named: (setting: Setting) => string = (setting) => setting,
): DatastoreConfig {
  const type = settings.datastoreType || (hasEtcd(settings) ? "etcdv3" : "sqlite");
  switch (type) {
    case "sqlite":
      return { type, file: settings.datastoreFile || DEFAULT_FILE };
    case "etcdv3":
      return etcdConfig(settings, named);
    case "kubernetes":
      throw config(`${named("datastoreType")}: "kubernetes" is not in this version: use "sqlite" or "etcdv3"`);
    default:
      throw config(`${named("datastoreType")}: "${type}": must be "sqlite" or "etcdv3"`);
  }
}

const hasEtcd = (settings: DatastoreSettings): boolean =>
  Boolean(settings.etcdEndpoints || settings.etcdDiscoverySrv || settings.etcdAuthority);

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

function checkEndpoint(endpoint: string, name: string): string {
  const url = URL.parse(endpoint);
  // The text may hold a password, so it is not repeated.
  if (url && (url.username !== "" || url.password !== ""))
    throw config(`${name}: must not contain a user name or password: they have settings of their own`);
  if (url && (url.protocol === "http:" || url.protocol === "https:") && url.hostname !== "") return url.origin;
  throw config(`${name}: "${endpoint}": must be http://host:port or https://host:port`);
}

function pair(settings: DatastoreSettings, named: (setting: Setting) => string, a: Setting, b: Setting): void {
  if (Boolean(settings[a]) === Boolean(settings[b])) return;
  const [present, missing] = settings[a] ? [a, b] : [b, a];
  throw config(`${named(present)} is set but ${named(missing)} is not: give both or neither`);
}

const config = (message: string): DatastoreError => new DatastoreError("CONFIG", message);
