import { CniError, errorCode, type NetworkConfig } from "../cni/index.ts";
import { formatAddress, formatMac, parseMac, tryParseAddress } from "../ip/index.ts";
import { IpamError } from "../ipam/index.ts";
import { ANNOTATION } from "../kubernetes/conversion/index.ts";
import { asFailure } from "./failure.ts";

/** An object whose annotations are read. */
export interface Annotated {
  /** For messages: "Pod default/nginx". */
  readonly name: string;
  readonly annotations: Readonly<Record<string, unknown>>;
}

/** Pools that an annotation names. */
export interface PoolWish {
  /** Names or CIDRs; empty: any pool, whatever the network configuration says. */
  readonly pools: readonly string[];
  /** For messages: whose annotation it is. */
  readonly source: string;
}

/** What a pod's annotations, and its namespace's, ask the plugin for. */
export interface Wishes {
  /** Exactly these addresses, one of a family at most; `managed` ones are assigned by the allocator, others are nobody's. */
  readonly exact?: { readonly addresses: readonly string[]; readonly managed: boolean; readonly source: string };
  readonly pools4?: PoolWish;
  readonly pools6?: PoolWish;
  readonly families?: { readonly num4: number; readonly num6: number };
  /** Addresses that lead to the pod's. */
  readonly floating: readonly string[];
  readonly mac?: string;
}

type Key = keyof typeof ANNOTATION;

/**
 * Reads the annotations, those of the pod before those of its namespace (upstream's cni-plugin/pkg/k8s/k8s.go). An empty text is as
 * good as none, but for hwAddr. Pools and families are for calico-ipam only. Throws CniError 107, which names the object and the annotation.
 */
export function wishesOf(pod: Annotated, namespace: Annotated, config: NetworkConfig): Wishes {
  const isOwnIpam = config.ipam.type === "calico-ipam";
  const exact = exactAddresses(pod, config);
  const floating = isSet(pod, "floatingIPs") ? listOf(pod, "floatingIPs") : [];
  for (const text of floating) parseAddressOf(pod, "floatingIPs", text);
  if (isSet(pod, "floatingIPs") && !config.features.floatingIps) throw notEnabled(pod, "floatingIPs", "floating_ips");
  const pools4 = isOwnIpam ? poolsOf("ipv4pools", pod, namespace) : undefined;
  const pools6 = isOwnIpam ? poolsOf("ipv6pools", pod, namespace) : undefined;
  const families = isOwnIpam ? familiesOf(pod, namespace) : undefined;
  const mac = macOf(pod);
  return {
    floating,
    ...(exact === undefined ? {} : { exact }),
    ...(pools4 === undefined ? {} : { pools4 }),
    ...(pools6 === undefined ? {} : { pools6 }),
    ...(families === undefined ? {} : { families }),
    ...(mac === undefined ? {} : { mac }),
  };
}

/** Whether a pod's addresses are nobody's: no allocator knows them. */
export function isPastIpam(pod: Annotated): boolean {
  return isSet(pod, "ipAddrsNoIpam");
}

/** What the allocator says of pools that an annotation asked for, with whose annotation it was. */
export function poolError(error: unknown, { pools4, pools6 }: Wishes): unknown {
  if (!(error instanceof IpamError) || error.family === undefined) return error;
  const source = (error.family === 4 ? pools4 : pools6)?.source;
  if (source === undefined) return error;
  if (error.code !== "IPAM_POOL_NOT_FOUND") return asFailure(error, source);
  return new CniError(errorCode.annotation, `${source}: ${error.message}`, "", { cause: error });
}

function sourceOf({ name }: Annotated, key: Key): string {
  return `${name}: the annotation ${ANNOTATION[key]}`;
}

/** An error about an annotation; `problem` follows its name: `… must be …`. */
export function annotationError({ name, annotations }: Annotated, key: Key, problem: string, details = ""): CniError {
  const value = annotations[ANNOTATION[key]];
  const shown = JSON.stringify(typeof value === "string" && value.length > 80 ? `${value.slice(0, 80)}…` : value);
  return new CniError(
    errorCode.annotation,
    `${name}: the annotation ${ANNOTATION[key]} is ${shown}, ${problem}`,
    details,
  );
}

function isSet({ annotations }: Annotated, key: Key): boolean {
  const value = annotations[ANNOTATION[key]];
  return value !== undefined && value !== null && value !== "";
}

function exactAddresses(pod: Annotated, config: NetworkConfig): Wishes["exact"] {
  const key = isSet(pod, "ipAddrsNoIpam") ? "ipAddrsNoIpam" : "ipAddrs";
  if (!isSet(pod, key)) return undefined;
  if (key === "ipAddrsNoIpam" && isSet(pod, "ipAddrs")) {
    throw annotationError(pod, key, `and ${ANNOTATION.ipAddrs} is set too: a pod may have one of them`);
  }
  const { type } = config.ipam;
  if (type !== "calico-ipam") {
    throw annotationError(pod, key, `which needs calico-ipam`, `"ipam.type" of the network is ${JSON.stringify(type)}`);
  }
  if (key === "ipAddrsNoIpam" && !config.features.ipAddrsNoIpam) throw notEnabled(pod, key, "ip_addrs_no_ipam");
  const parsed = listOf(pod, key).map((text) => parseAddressOf(pod, key, text));
  if (parsed.length === 0) throw annotationError(pod, key, "which has no address");
  for (const version of [4, 6] as const) {
    if (parsed.filter((address) => address.version === version).length > 1) {
      throw annotationError(pod, key, `which has more than one IPv${version} address: a pod can have one`);
    }
  }
  return { addresses: parsed.map(formatAddress), managed: key === "ipAddrs", source: sourceOf(pod, key) };
}

function notEnabled(pod: Annotated, key: Key, feature: string): CniError {
  return annotationError(
    pod,
    key,
    `which the network does not allow`,
    `requested feature is not enabled: ${feature}; set "feature_control.${feature}" to true, or remove the annotation`,
  );
}

function poolsOf(key: "ipv4pools" | "ipv6pools", pod: Annotated, namespace: Annotated): PoolWish | undefined {
  for (const object of [pod, namespace]) {
    if (!isSet(object, key)) continue;
    return { pools: listOf(object, key), source: sourceOf(object, key) };
  }
  return undefined;
}

function familiesOf(pod: Annotated, namespace: Annotated): Wishes["families"] {
  const object = isSet(pod, "ipFamilies") ? pod : namespace;
  if (!isSet(object, "ipFamilies")) return undefined;
  const families = listOf(object, "ipFamilies");
  if (families.length === 0 || families.some((family) => family !== "IPv4" && family !== "IPv6")) {
    throw annotationError(object, "ipFamilies", `which must have "IPv4", "IPv6" or both`);
  }
  return { num4: families.includes("IPv4") ? 1 : 0, num6: families.includes("IPv6") ? 1 : 0 };
}

/** A MAC address in one of the forms of Go's net.ParseMAC, that an interface can have. */
function macOf(pod: Annotated): string | undefined {
  const value = pod.annotations[ANNOTATION.hwAddr];
  if (value === undefined || value === null) return undefined;
  const text = typeof value === "string" ? value : "";
  const dotted = /^([0-9a-f]{2})([0-9a-f]{2})\.([0-9a-f]{2})([0-9a-f]{2})\.([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  try {
    const mac = parseMac(dotted ? dotted.slice(1).join(":") : text);
    if ((mac[0]! & 1) === 0 && mac.some((byte) => byte !== 0)) return formatMac(mac);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw annotationError(pod, "hwAddr", "which must be a MAC address such as 02:00:00:00:00:01");
  }
  throw annotationError(pod, "hwAddr", "which no interface can have: it must be a unicast address other than zero");
}

/** The texts of a JSON list; of `null` none, as Go has it. */
function listOf(object: Annotated, key: Key): string[] {
  let list: unknown;
  try {
    list = JSON.parse(object.annotations[ANNOTATION[key]] as string) ?? [];
  } catch {
    list = undefined;
  }
  if (Array.isArray(list) && list.every((item) => typeof item === "string")) return list;
  throw annotationError(object, key, `which must be a JSON list of texts, such as ${EXAMPLES[key] ?? "[]"}`);
}

const EXAMPLES: Readonly<Partial<Record<Key, string>>> = {
  ipAddrs: '["10.0.0.1"]',
  ipAddrsNoIpam: '["10.0.0.1"]',
  floatingIPs: '["10.0.0.1"]',
  ipv4pools: '["pool-1", "10.0.0.0/16"]',
  ipv6pools: '["pool-1", "fd00::/64"]',
  ipFamilies: '["IPv4", "IPv6"]',
};

function parseAddressOf(object: Annotated, key: Key, text: string) {
  const address = tryParseAddress(text);
  if (address) return address;
  throw annotationError(object, key, `in which ${JSON.stringify(text.slice(0, 80))} is no IP address`);
}
