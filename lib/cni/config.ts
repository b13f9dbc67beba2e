import { tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { NAME_PATTERN, quote } from "./environment.ts";
import { CniError, errorCode } from "./errors.ts";
import { Fields, isObject } from "./fields.ts";
import type { Dns } from "./result.ts";
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
  /** Kept for the Kubernetes backend; nothing reads them before it exists. May hold secrets: never log them. */
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

/** The version a configuration asks for. CniError 1 when it is none that is supported. */
function versionOf(raw: Readonly<Record<string, unknown>>): CniVersion {
  const version = new Fields(raw).string("cniVersion");
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
  const top = new Fields(raw);
  const cniVersion = versionOf(raw);
  onVersion?.(cniVersion);
  const name = top.string("name");
  if (name === "") throw top.invalid("name", "is missing: a network needs one");
  if (!NAME_PATTERN.test(name) || name.length > 200) {
    throw top.invalid(
      "name",
      `is ${quote(name)}, which is no network name: at most 200 letters, digits, '_', '.' and '-'`,
    );
  }
  const ipam = parseIpam(top.fields("ipam"));
  checkDataplane(top);
  return {
    cniVersion,
    name,
    type: top.string("type"),
    ipam,
    raw,
    prevResult: top.record("prevResult"),
    validAttachments: parseValidAttachments(top),
    dns: parseDns(top.fields("runtimeConfig").fields("dns")),

    mtu: top.integer("mtu", 0, 65_535),
    requireMtuFile: top.boolean("require_mtu_file"),
    numQueues: Math.max(1, top.integer("num_queues", -4096, 4096)),
    deviceType: parseDeviceType(top),
    allowIpForwarding: top.fields("container_settings").boolean("allow_ip_forwarding"),
    includeDefaultRoutes: top.boolean("include_default_routes"),

    nodename: top.string("nodename"),
    nodenameFile: top.string("nodename_file"),
    nodenameFileOptional: top.boolean("nodename_file_optional"),
    hostname: top.string("hostname"),

    datastore: parseDatastore(top),
    ipamLockFile: top.string("ipam_lock_file"),
    readinessGates: parseGates(top),
    policySetupTimeoutSeconds: top.integer("policy_setup_timeout_seconds", 0, 86_400),
    endpointStatusDir: top.string("endpoint_status_dir"),

    log: parseLog(top),
    mesosLabels: parseMesosLabels(top),
    policyType: top.fields("policy").string("type"),
    features: {
      ipAddrsNoIpam: top.fields("feature_control").boolean("ip_addrs_no_ipam"),
      floatingIps: top.fields("feature_control").boolean("floating_ips"),
    },
    kubernetes: parseKubernetes(top),
  };
}

function parseIpam(ipam: Fields): IpamConfig {
  const type = ipam.string("type");
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
    name: ipam.string("name"),
    subnet: ipam.string("subnet"),
    assignIpv4: ipam.textualBoolean("assign_ipv4"),
    assignIpv6: ipam.textualBoolean("assign_ipv6"),
    ipv4Pools: ipam.strings("ipv4_pools"),
    ipv6Pools: ipam.strings("ipv6_pools"),
    routes,
  };
}

function parseDatastore(top: Fields): DatastoreKeys {
  const type = top.string("datastore_type");
  if (type === "kubernetes") {
    throw new CniError(
      errorCode.unsupportedField,
      '"datastore_type" is "kubernetes", which is not supported yet',
      'use "sqlite" (one machine) or "etcdv3"',
    );
  }
  if (type !== "" && type !== "sqlite" && type !== "etcdv3") {
    throw top.invalid("datastore_type", `is ${quote(type)}, it must be "sqlite" or "etcdv3"`);
  }
  return {
    type,
    file: top.string("datastore_file"),
    etcdEndpoints: top.string("etcd_endpoints"),
    etcdDiscoverySrv: top.string("etcd_discovery_srv"),
    etcdAuthority: top.string("etcd_authority"),
    etcdScheme: top.string("etcd_scheme"),
    etcdKeyFile: top.string("etcd_key_file"),
    etcdCertFile: top.string("etcd_cert_file"),
    etcdCaCertFile: top.string("etcd_ca_cert_file"),
  };
}

function parseDeviceType(top: Fields): "veth" | "netkit" {
  const type = top.string("device_type");
  if (type !== "" && type !== "veth" && type !== "netkit") {
    throw top.invalid("device_type", `is ${quote(type)}, it must be "veth" or "netkit"`);
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

function parseLog(top: Fields): LogKeys {
  const level = top.string("log_level").toLowerCase();
  return {
    // Upstream takes any other word for "info".
    level: level === "debug" || level === "error" || level === "warning" ? level : "info",
    filePath: top.string("log_file_path"),
    fileMaxSize: top.integer("log_file_max_size", 0, 1_000_000),
    fileMaxAge: top.integer("log_file_max_age", 0, 1_000_000),
    fileMaxCount: top.integer("log_file_max_count", 0, 1_000_000),
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
  return top.objects(key).map((attachment) => ({
    containerId: attachment.string("containerID"),
    ifName: attachment.string("ifname"),
  }));
}

function parseKubernetes(top: Fields): Readonly<Record<string, string | number>> {
  const kubernetes = top.fields("kubernetes");
  const policy = top.fields("policy");
  const kept: Record<string, string | number> = {
    qps: top.integer("qps", -1_000_000, 1_000_000),
    burst: top.integer("burst", -1_000_000, 1_000_000),
    calico_api_group: top.string("calico_api_group"),
  };
  for (const key of ["k8s_api_root", "kubeconfig", "node_name"]) kept[key] = kubernetes.string(key);
  for (const key of [
    "k8s_api_root",
    "k8s_auth_token",
    "k8s_client_certificate",
    "k8s_client_key",
    "k8s_certificate_authority",
  ]) {
    kept[`policy.${key}`] = policy.string(key);
  }
  return kept;
}

/** What a JSON parser says, without the text it quotes: that may be a secret. */
function reason(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/["'`].*/s, "…");
}
