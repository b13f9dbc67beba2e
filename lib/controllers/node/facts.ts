import type { V1Pod } from "@kubernetes/client-node";
import type { IPAMBlock } from "../../api/ipamblock.ts";
import { addressAt, formatAddress, parseCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { ANNOTATION, isFinished } from "../../kubernetes/conversion/index.ts";
import type { Wire } from "../../kubernetes/index.ts";

/** What is kept of a pod. */
export interface Pod {
  /** `namespace/name`. */
  readonly key: string;
  readonly uid: string;
  /** Kubernetes' name of the node it is bound to; "": none yet. */
  readonly node: string;
  /** Every address that anything says it has: its status, Calico's annotations, Multus' record. Canonical text. */
  readonly addresses: readonly string[];
  /** Its status has an address: what has told of one must tell of all. */
  readonly reported: boolean;
  /** It has ended, or has been told that it lost its addresses. */
  readonly finished: boolean;
  /** Something that says which addresses it has cannot be read. */
  readonly unclear: boolean;
}

/**
 * Who an allocated address is for. `pod`, `tunnel` (lives as long as its node), and what is never collected here: `machine` (of KubeVirt, whose
 * addresses outlive pods), `other` (an allocation nobody here knows the user of).
 */
export type Use = "pod" | "tunnel" | "machine" | "other";

/** One allocated address that does not cool down. */
export interface Allocation {
  /** Tells it from every earlier and later allocation of the same address. */
  readonly id: string;
  readonly address: string;
  readonly block: string;
  readonly sequenceNumber: bigint;
  readonly handle: string | undefined;
  /** Calico's name of the node it was made on; undefined: not known. */
  readonly node: string | undefined;
  /** `namespace/name`. */
  readonly pod: string | undefined;
  readonly use: Use;
}

/** What is told of a block. */
export interface BlockFacts {
  readonly block: IPAMBlock;
  /** The name of the node it is affine to. */
  readonly host: string | undefined;
  readonly allocations: readonly Allocation[];
  /** When the address that cools down for longest was released, in milliseconds since 1970; undefined: none cools down. */
  readonly coolingSince: number | undefined;
  /** Nothing is allocated, and nothing cools down. */
  readonly empty: boolean;
}

/** Upstream's values of the attribute `type` (libcalico-go/lib/ipam). */
const TUNNELS: ReadonlySet<string> = new Set([
  "ipipTunnelAddress",
  "vxlanTunnelAddress",
  "vxlanV6TunnelAddress",
  "wireguardTunnelAddress",
  "wireguardV6TunnelAddress",
]);
/** Upstream's handle of addresses that a Windows node sets aside in its blocks; they go with the block. */
const WINDOWS_RESERVED = "windows-reserved-ipam-handle";

export function blockFacts(block: IPAMBlock): BlockFacts {
  const { spec } = block;
  const cidr = parseCidr(spec.cidr);
  const base = { version: cidr.version, value: cidr.base };
  const host = spec.affinity?.startsWith("host:") ? spec.affinity.slice("host:".length) : undefined;
  const virtual = spec.affinity?.startsWith("virtual:") ?? false;
  const allocations: Allocation[] = [];
  let coolingSince: number | undefined;
  let used = 0;
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    const index = spec.allocations[ordinal];
    if (index === null || index === undefined) continue;
    const { handle_id: text, secondary = {}, alternateOwnerAttrs = {}, releasedAt } = spec.attributes[index] ?? {};
    if (text?.toLowerCase() === WINDOWS_RESERVED) continue;
    used++;
    if (releasedAt !== undefined) {
      const since = Date.parse(releasedAt);
      coolingSince = Math.min(coolingSince ?? Number.POSITIVE_INFINITY, Number.isNaN(since) ? 0 : since);
      continue;
    }
    // What follows a carriage return is not of the handle (projectcalico/cni-plugin#821).
    const handle = text?.split("\r", 1)[0];
    const address = formatAddress(addressAt(base, ordinal));
    const sequenceNumber = spec.sequenceNumberForAllocation[String(ordinal)] ?? 0n;
    const { pod, namespace, type } = secondary;
    const isMachine = "vmi-name" in secondary || Object.keys(alternateOwnerAttrs).length > 0;
    allocations.push({
      id: `${address}#${sequenceNumber}#${handle ?? ""}`,
      address,
      block: spec.cidr,
      sequenceNumber,
      handle,
      node: secondary.node || (virtual ? undefined : host),
      pod: pod && namespace ? `${namespace}/${pod}` : undefined,
      use: isMachine
        ? "machine"
        : virtual
          ? "other"
          : TUNNELS.has(type ?? "")
            ? "tunnel"
            : pod && namespace
              ? "pod"
              : "other",
    });
  }
  return { block, host, allocations, coolingSince, empty: used === 0 };
}

/** What is kept of a pod; undefined when it can never have an address of ours. */
export function podFacts(pod: Wire<V1Pod>): Pod | undefined {
  if (pod.spec?.hostNetwork) return undefined;
  const annotations = pod.metadata?.annotations ?? {};
  const addresses = new Set<string>();
  let unclear = false;
  const take = (text: unknown): void => {
    if (text === undefined || text === "") return;
    const address = typeof text === "string" ? (tryParseAddress(text) ?? firstOf(text)) : undefined;
    if (address) addresses.add(formatAddress(address));
    else unclear = true;
  };
  const { podIP, podIPs } = pod.status ?? {};
  take(podIP);
  for (const one of podIPs ?? []) take(one?.ip);
  for (const name of [ANNOTATION.podIP, ANNOTATION.podIPs, ANNOTATION.awsPodIPs])
    for (const one of (annotations[name] ?? "").split(",")) take(one.trim());
  const network = annotations[ANNOTATION.networkStatus];
  if (network) {
    try {
      for (const one of JSON.parse(network) as { ips?: unknown[] }[]) for (const ip of one.ips ?? []) take(ip);
    } catch {
      unclear = true;
    }
  }
  return {
    key: `${pod.metadata?.namespace ?? ""}/${pod.metadata?.name ?? ""}`,
    uid: pod.metadata?.uid ?? "",
    node: pod.spec?.nodeName ?? "",
    addresses: [...addresses],
    reported: Boolean(podIP) || (podIPs?.length ?? 0) > 0,
    finished: isFinished(pod),
    unclear,
  };
}

function firstOf(text: string) {
  const cidr = tryParseCidr(text);
  const slash = text.indexOf("/");
  return cidr && slash > 0 ? tryParseAddress(text.slice(0, slash)) : undefined;
}
