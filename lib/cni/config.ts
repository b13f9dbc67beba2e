import { tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { isName, quote } from "./environment.ts";
import { CniError, errorCode } from "./errors.ts";
import { Fields, isObject, type Shape } from "./fields.ts";
import { type Dns, NO_DNS } from "./result.ts";
import { ABSENT_VERSION, type CniVersion, isSupported, SUPPORTED_VERSIONS } from "./version.ts";

/** A still valid attachment of the network, in a GC. */
export interface ValidAttachment {
  readonly containerId: string;
  readonly ifName: string;
}

/** One of host-local's `routes`. */
export interface RouteConfig {
  /** A CIDR. */
  readonly dst: string;
  /** "" when absent. Only for the result: a Calico pod's link is point to point and needs no gateway. */
  readonly gw: string;
}

/** The `ipam` object. Whatever else it holds reaches an executed plugin through `NetworkConfig.raw`. */
export interface IpamConfig {
  readonly type: string;
  readonly name: string;
  readonly subnet: string;
  /** Undefined when absent: then yes. */
  readonly assignIpv4: boolean | undefined;
  /** Undefined when absent: then no. */
  readonly assignIpv6: boolean | undefined;
  /** Names or CIDRs. */
  readonly ipv4Pools: readonly string[];
  readonly ipv6Pools: readonly string[];
  readonly routes: readonly RouteConfig[];
}

/**
 * The network configuration of one call, with every key of upstream's plugin (facts: cni-plugin/pkg/types/types.go).
 * Text that is absent is "", a number that is absent 0, a list that is absent empty. Unknown keys are ignored, and are
 * in `raw`.
 */
export interface NetworkConfig {
  readonly cniVersion: CniVersion;
  /** Name of the network; the handle and the profile are called after it. */
  readonly name: string;
  readonly type: string;
  readonly ipam: IpamConfig;
  /** The JSON object as it came, for executed plugins. */
  readonly raw: Readonly<Record<string, unknown>>;
  /** As given; see `parseResult`. */
  readonly prevResult: Readonly<Record<string, unknown>> | undefined;
  /** Of a GC. libcni leaves the key out when none is valid. */
  readonly validAttachments: readonly ValidAttachment[];
  readonly dns: Dns;

  readonly mtu: number;
  readonly requireMtuFile: boolean;
  readonly numQueues: number;
  readonly deviceType: "veth" | "netkit";
  readonly allowIpForwarding: boolean;
  readonly includeDefaultRoutes: boolean;

  readonly nodename: string;
  readonly nodenameFile: string;
  readonly nodenameFileOptional: boolean;
  /** The deprecated other name of `nodename`, of lower rank than the file. */
  readonly hostname: string;

  readonly datastore: DatastoreKeys;
  readonly ipamLockFile: string;
  readonly readinessGates: readonly string[];
  readonly policySetupTimeoutSeconds: number;
  readonly endpointStatusDir: string;

  readonly log: LogKeys;
  /** Labels from `args["org.apache.mesos"].network_info.labels`, in their order, as given. */
  readonly mesosLabels: readonly { readonly key: string; readonly value: string }[];
  readonly policyType: string;
  readonly features: { readonly ipAddrsNoIpam: boolean; readonly floatingIps: boolean };
  /**
   * `qps`, `burst`, `calico_api_group`, the keys of `kubernetes`, and with `policy.` before them those of `policy` that say
   * where the API server is. May hold secrets: never log them.
   */
  readonly kubernetes: Readonly<Record<string, string | number>>;
}

/** What says where the datastore is. Absent keys are "", and then the environment's variables count. */
export interface DatastoreKeys {
  readonly type: string;
  readonly file: string;
  readonly etcdEndpoints: string;
  readonly etcdDiscoverySrv: string;
  readonly etcdAuthority: string;
  readonly etcdScheme: string;
  readonly etcdKeyFile: string;
  readonly etcdCertFile: string;
  readonly etcdCaCertFile: string;
}

export interface LogKeys {
  readonly level: "debug" | "info" | "warning" | "error";
  readonly filePath: string;
  /** Mebibytes; 0 when absent. */
  readonly fileMaxSize: number;
  /** Days; 0 when absent. */
  readonly fileMaxAge: number;
  readonly fileMaxCount: number;
}

/** JSON from stdin; CniError 6 when it is none, or no object. */
export function parseJsonObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(
      errorCode.decodingFailure,
      "the network configuration on stdin is not JSON",
      text.trim() === "" ? "stdin was empty" : reason(error),
    );
  }
  if (!isObject(value))
    throw new CniError(errorCode.decodingFailure, "the network configuration on stdin is not a JSON object");
  return value;
}

/** The keys of the configuration that hold no numbers. */
const TOP = {
  cniVersion: "string",
  name: "string",
  type: "string",
  ipam: "record",
  prevResult: "record",
  runtimeConfig: "record",
  require_mtu_file: "boolean",
  device_type: "string",
  dataplane_options: "record",
  container_settings: "record",
  include_default_routes: "boolean",
  nodename: "string",
  nodename_file: "string",
  nodename_file_optional: "boolean",
  hostname: "string",
  datastore_type: "string",
  datastore_file: "string",
  etcd_endpoints: "string",
  etcd_discovery_srv: "string",
  etcd_authority: "string",
  etcd_scheme: "string",
  etcd_key_file: "string",
  etcd_cert_file: "string",
  etcd_ca_cert_file: "string",
  ipam_lock_file: "string",
  readiness_gates: "strings",
  endpoint_status_dir: "string",
  log_level: "string",
  log_file_path: "string",
  args: "record",
  policy: "record",
  feature_control: "record",
  kubernetes: "record",
  calico_api_group: "string",
} as const satisfies Shape;

const IPAM = {
  type: "string",
  name: "string",
  subnet: "string",
  assign_ipv4: "textualBoolean",
  assign_ipv6: "textualBoolean",
  ipv4_pools: "strings",
  ipv6_pools: "strings",
} as const satisfies Shape;

type Top = ReturnType<typeof Fields.prototype.checked<typeof TOP>>;

const NO_TEXTS: readonly string[] = [];

/** The version a configuration asks for. CniError 1 when it is none that is supported. */
function versionOf(version: string): CniVersion {
  if (version === "") return ABSENT_VERSION;
  if (!isSupported(version)) {
    throw new CniError(
      errorCode.incompatibleVersion,
      `incompatible CNI version: "cniVersion" is ${quote(version)}`,
      `supported are ${SUPPORTED_VERSIONS.join(", ")}`,
    );
  }
  return version;
}

/**
 * Checks a whole configuration; throws CniError 1, 2 or 7, which names the key. `onVersion` hears of the version before
 * anything else can fail, so that the error object can carry it.
 */
export function parseNetworkConfig(
  raw: Readonly<Record<string, unknown>>,
  onVersion?: (version: CniVersion) => void,
): NetworkConfig {
  const fields = new Fields(raw);
  const cniVersion = versionOf(fields.string("cniVersion"));
  onVersion?.(cniVersion);
  const top = fields.checked(TOP);
  const name = top.name ?? "";
  if (name === "") throw fields.invalid("name", "is missing: a network needs one");
  if (name.length > 200 || !isName(name)) {
    throw fields.invalid(
      "name",
      `is ${quote(name)}, which is no network name: at most 200 letters, digits, '_', '.' and '-'`,
    );
  }
  const ipam = parseIpam(fields.fields("ipam"));
  if (top.dataplane_options) checkDataplane(fields);
  const features = top.feature_control ? fields.fields("feature_control") : undefined;
  return {
    cniVersion,
    name,
    type: top.type ?? "",
    ipam,
    raw,
    prevResult: top.prevResult ?? undefined,
    validAttachments: parseValidAttachments(fields),
    dns: top.runtimeConfig ? parseDns(fields.fields("runtimeConfig").fields("dns")) : NO_DNS,

    mtu: fields.integer("mtu", 0, 65_535),
    requireMtuFile: top.require_mtu_file ?? false,
    numQueues: Math.max(1, fields.integer("num_queues", -4096, 4096)),
    deviceType: parseDeviceType(fields, top),
    allowIpForwarding: top.container_settings
      ? fields.fields("container_settings").boolean("allow_ip_forwarding")
      : false,
    includeDefaultRoutes: top.include_default_routes ?? false,

    nodename: top.nodename ?? "",
    nodenameFile: top.nodename_file ?? "",
    nodenameFileOptional: top.nodename_file_optional ?? false,
    hostname: top.hostname ?? "",

    datastore: parseDatastore(fields, top),
    ipamLockFile: top.ipam_lock_file ?? "",
    readinessGates: top.readiness_gates ? parseGates(fields) : NO_TEXTS,
    policySetupTimeoutSeconds: fields.integer("policy_setup_timeout_seconds", 0, 86_400),
    endpointStatusDir: top.endpoint_status_dir ?? "",

    log: parseLog(fields, top),
    mesosLabels: top.args ? parseMesosLabels(fields) : [],
    policyType: top.policy ? fields.fields("policy").string("type") : "",
    features: {
      ipAddrsNoIpam: features?.boolean("ip_addrs_no_ipam") ?? false,
      floatingIps: features?.boolean("floating_ips") ?? false,
    },
    kubernetes: parseKubernetes(fields, top),
  };
}

function parseIpam(ipam: Fields): IpamConfig {
  const given = ipam.checked(IPAM);
  const type = given.type ?? "";
  if (type === "")
    throw ipam.invalid("type", "is missing: it names the IPAM plugin, such as calico-ipam or host-local");
  if (type.includes("/") || type === "." || type === "..")
    throw ipam.invalid("type", `is ${quote(type)}, which is no plugin's name`);
  const routes: RouteConfig[] = [];
  // Only host-local's routes mean something here; other plugins may use the key as they like.
  if (type === "host-local") {
    for (const route of ipam.objects("routes")) {
      const dst = route.string("dst");
      if (dst === "") continue;
      if (!tryParseCidr(dst)) throw route.invalid("dst", `is ${quote(dst)}, which is no CIDR such as 10.0.0.0/8`);
      const gw = route.string("gw");
      if (gw !== "" && !tryParseAddress(gw)) throw route.invalid("gw", `is ${quote(gw)}, which is no IP address`);
      routes.push({ dst, gw });
    }
  }
  return {
    type,
    name: given.name ?? "",
    subnet: given.subnet ?? "",
    assignIpv4: ipam.textualBoolean("assign_ipv4"),
    assignIpv6: ipam.textualBoolean("assign_ipv6"),
    ipv4Pools: given.ipv4_pools ?? NO_TEXTS,
    ipv6Pools: given.ipv6_pools ?? NO_TEXTS,
    routes,
  };
}

function parseDatastore(fields: Fields, top: Top): DatastoreKeys {
  const type = top.datastore_type ?? "";
  if (type !== "" && type !== "sqlite" && type !== "etcdv3" && type !== "kubernetes") {
    throw fields.invalid("datastore_type", `is ${quote(type)}, it must be "sqlite", "etcdv3" or "kubernetes"`);
  }
  return {
    type,
    file: top.datastore_file ?? "",
    etcdEndpoints: top.etcd_endpoints ?? "",
    etcdDiscoverySrv: top.etcd_discovery_srv ?? "",
    etcdAuthority: top.etcd_authority ?? "",
    etcdScheme: top.etcd_scheme ?? "",
    etcdKeyFile: top.etcd_key_file ?? "",
    etcdCertFile: top.etcd_cert_file ?? "",
    etcdCaCertFile: top.etcd_ca_cert_file ?? "",
  };
}

function parseDeviceType(fields: Fields, top: Top): "veth" | "netkit" {
  const type = top.device_type ?? "";
  if (type !== "" && type !== "veth" && type !== "netkit") {
    throw fields.invalid("device_type", `is ${quote(type)}, it must be "veth" or "netkit"`);
  }
  return type === "netkit" ? "netkit" : "veth";
}

/** Upstream hands `dataplane_options` to an external dataplane; the one in this plugin has no options. */
function checkDataplane(top: Fields): void {
  const options = top.fields("dataplane_options");
  const type = options.string("type");
  if (type === "" || type === "linux") return;
  const message =
    type === "grpc"
      ? '"dataplane_options.type" is "grpc": an external dataplane is not supported, remove the key'
      : `"dataplane_options.type" is ${quote(type)}, which is no known dataplane`;
  throw new CniError(errorCode.unsupportedField, message, "pod interfaces are made by this plugin itself");
}

function parseGates(top: Fields): readonly string[] {
  const gates = top.strings("readiness_gates");
  for (const [index, gate] of gates.entries()) {
    if (!/^https?:\/\//.test(gate) || !URL.canParse(gate)) {
      throw top.invalid(`readiness_gates[${index}]`, `is ${quote(gate)}, which is no http or https URL`);
    }
  }
  return gates;
}

function parseLog(fields: Fields, top: Top): LogKeys {
  const level = (top.log_level ?? "").toLowerCase();
  return {
    // Upstream takes any other word for "info".
    level: level === "debug" || level === "error" || level === "warning" ? level : "info",
    filePath: top.log_file_path ?? "",
    fileMaxSize: fields.integer("log_file_max_size", 0, 1_000_000),
    fileMaxAge: fields.integer("log_file_max_age", 0, 1_000_000),
    fileMaxCount: fields.integer("log_file_max_count", 0, 1_000_000),
  };
}

function parseMesosLabels(top: Fields): readonly { key: string; value: string }[] {
  const mesos = top.fields("args").fields("org.apache.mesos");
  const labels = mesos.fields("network_info").fields("labels").objects("labels");
  return labels.map((label) => ({ key: label.string("key"), value: label.string("value") }));
}

/** The runtime's names for DNS (`servers`, `searches`) differ from a result's (CONVENTIONS.md, capability `dns`). */
function parseDns(dns: Fields): Dns {
  return {
    nameservers: dns.strings("servers"),
    domain: dns.string("domain"),
    search: dns.strings("searches"),
    options: dns.strings("options"),
  };
}

/** libcni gives the list under two names, and `null` or no key at all for an empty one. */
function parseValidAttachments(top: Fields): readonly ValidAttachment[] {
  const key = top.has("cni.dev/valid-attachments") ? "cni.dev/valid-attachments" : "cni.dev/attachments";
  if (!top.has(key)) return [];
  return top.objects(key).map((attachment) => ({
    containerId: attachment.string("containerID"),
    ifName: attachment.string("ifname"),
  }));
}

/** Absent texts are "", here too. */
function parseKubernetes(fields: Fields, top: Top): Readonly<Record<string, string | number>> {
  const kept: Record<string, string | number> = {
    qps: fields.integer("qps", -1_000_000, 1_000_000),
    burst: fields.integer("burst", -1_000_000, 1_000_000),
    calico_api_group: top.calico_api_group ?? "",
  };
  const kubernetes = top.kubernetes && fields.fields("kubernetes");
  for (const key of ["k8s_api_root", "kubeconfig", "node_name"]) kept[key] = kubernetes ? kubernetes.string(key) : "";
  const policy = top.policy && fields.fields("policy");
  for (const key of [
    "k8s_api_root",
    "k8s_auth_token",
    "k8s_client_certificate",
    "k8s_client_key",
    "k8s_certificate_authority",
  ]) {
    kept[`policy.${key}`] = policy ? policy.string(key) : "";
  }
  return kept;
}

/** What a JSON parser says, without the text it quotes: that may be a secret. */
function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/["'`].*/s, "…");
}
