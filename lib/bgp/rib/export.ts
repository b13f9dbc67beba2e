/** From the best path to what a peer is sent: RFC 4271 5.1, 9.1.3 and 9.2, RFC 4456 6 and 8, RFC 1997. Pure. */
import type { Address } from "../../ip/index.ts";
import type { AsSegment, Family, PathAttributes } from "../wire/index.ts";
import { DEFAULT_LOCAL_PREF } from "./attributes.ts";
import type { RibPeer } from "./types.ts";

/** RFC 1997. */
const NO_EXPORT = 0xffff_ff01;
const NO_ADVERTISE = 0xffff_ff02;
const NO_EXPORT_SUBCONFED = 0xffff_ff03;
/** As many AS numbers as fit into a segment. */
const SEGMENT_MOST = 255;

/** Where the path came from. */
export interface From {
  readonly kind: "local" | "ibgp" | "ebgp";
  readonly routerId: number;
  /** Set: from a client of that cluster. */
  readonly clusterId: number | undefined;
}

export interface To {
  readonly family: Family;
  readonly type: "ibgp" | "ebgp";
  readonly localAsn: number;
  readonly nextHop: "auto" | "self" | "keep";
  /** For `self`: of the prefix's family, or IPv6 for IPv4 prefixes where the session can (RFC 8950). */
  readonly self: Address | undefined;
  readonly extendedNextHop: boolean;
  readonly clusterId: number | undefined;
}

export function exportRules(peer: RibPeer, family: Family): To {
  const { negotiated, localAddress } = peer;
  return {
    family,
    type: peer.type,
    localAsn: peer.localAsn,
    nextHop: peer.nextHop,
    self: localAddress[family] ?? (negotiated.extendedNextHop ? localAddress[6] : undefined),
    extendedNextHop: negotiated.extendedNextHop,
    clusterId: peer.reflectorClient,
  };
}

/** Why the path is not sent, whatever the policy says; undefined: ask the policy. */
export function withheld(attributes: PathAttributes, from: From, to: To): string | undefined {
  const { communities } = attributes;
  if (communities.length > 0) {
    if (communities.includes(NO_ADVERTISE)) return "it has the community NO_ADVERTISE";
    if (to.type === "ebgp") {
      if (communities.includes(NO_EXPORT)) return "it has the community NO_EXPORT";
      if (communities.includes(NO_EXPORT_SUBCONFED)) return "it has the community NO_EXPORT_SUBCONFED";
    }
  }
  if (from.kind === "ibgp" && to.type === "ibgp" && from.clusterId === undefined && to.clusterId === undefined)
    return "learned by iBGP from one that is no client, and so not for iBGP peers that are none";
  return undefined;
}

/** What the policy let out, as it is sent; undefined: there is no next hop to give. */
export function outgoing(attributes: PathAttributes, from: From, to: To): PathAttributes | undefined {
  const nextHop = nextHopFor(attributes.nextHop, to);
  if (!nextHop) return undefined;
  const { med, localPref, originatorId, aggregator } = attributes;
  const external = to.type === "ebgp";
  const reflected = !external && from.kind === "ibgp";
  // One shape for all, and without copies of what nobody changes: there may be as many of them as prefixes.
  const out: { -readonly [K in keyof PathAttributes]: PathAttributes[K] } = {
    origin: attributes.origin,
    asPath: external ? prepended(attributes.asPath, to.localAsn) : attributes.asPath,
    nextHop,
    atomicAggregate: attributes.atomicAggregate,
    communities: attributes.communities,
    largeCommunities: attributes.largeCommunities,
    extendedCommunities: attributes.extendedCommunities,
    clusterList: external
      ? NONE
      : reflected
        ? clusterList(attributes.clusterList, from.clusterId, to.clusterId)
        : attributes.clusterList,
    unknown: attributes.unknown,
  };
  if (aggregator) out.aggregator = aggregator;
  // RFC 4271 5.1.4: a neighbour's MED is not for other neighbours; 5.1.5: LOCAL_PREF is not for other ASes.
  if (external) return out;
  out.localPref = localPref ?? DEFAULT_LOCAL_PREF;
  if (med !== undefined) out.med = med;
  const originator = reflected ? (originatorId ?? from.routerId) : originatorId;
  if (originator !== undefined) out.originatorId = originator;
  return out;
}

const NONE: readonly number[] = [];

/**
 * `auto` is RFC 4271 5.1.3 as BIRD has it with `multihop`: towards eBGP this node itself, towards iBGP what the path has. A route without a next hop
 * (this node is where it ends) has this node's anyway.
 */
function nextHopFor(nextHop: Address, to: To): Address | undefined {
  const keep = to.nextHop === "keep" || (to.nextHop === "auto" && to.type === "ibgp");
  return keep && canCarry(nextHop, to) ? nextHop : to.self;
}

function canCarry({ version, value }: Address, to: To): boolean {
  if (value === 0n) return false;
  // Link-local: means nothing beyond the link, and we do not know who is on it (RFC 2545 3).
  if (version === 6 && value >> 118n === 0x3fan) return false;
  return version === to.family || (version === 6 && to.extendedNextHop);
}

function prepended(path: readonly AsSegment[], asn: number): readonly AsSegment[] {
  // What confederations put there is not for those outside (RFC 5065 4.1 c).
  const outside = path.every(isOutside) ? path : path.filter(isOutside);
  const first = outside[0];
  if (first?.type !== "sequence" || first.asns.length >= SEGMENT_MOST)
    return [{ type: "sequence", asns: [asn] }, ...outside];
  const longer: AsSegment = { type: "sequence", asns: [asn, ...first.asns] };
  return outside.length === 1 ? [longer] : [longer, ...outside.slice(1)];
}

function isOutside({ type }: AsSegment): boolean {
  return type === "sequence" || type === "set";
}

/** RFC 4456 8, with the cluster of whom it goes to in front; where it came from one of another cluster, that one, too. */
function clusterList(list: readonly number[], from: number | undefined, to: number | undefined): readonly number[] {
  const own = to ?? from!;
  return from !== undefined && from !== own ? [from, own, ...list] : [own, ...list];
}
