/** What every reader of a {@link NodeBgp} takes it to mean: numbers that upstream fixes, and the questions that both back ends ask of it. */
import type { Block, Family, FamilyBgp, Filter, FilterRule, NodeBgp, Peer } from "./types.ts";

export const FAMILIES: readonly Family[] = [4, 6];

/** Where BGP is spoken where no port is said (RFC 4271 8.2.1). */
export const BGP_PORT = 179;

/** LOCAL_PREF and kernel metric are each other's difference from it (confd's template functions: BIRD's largest integer). */
export const PRIORITY_BASE = 2_147_483_647;
/** Kernel metric of an ordinary route where BGPConfiguration (ipv4NormalRoutePriority, ipv6NormalRoutePriority) says none. */
export const NORMAL_PRIORITY = 1024;
/** The preference of a learned route of elevated priority: that of static routes in BIRD, so that it wins over a local workload's of the same prefix. */
export const OVERRIDE_PREFERENCE = 200;

/** Interfaces whose networks are never the node's own: workloads', and the one with all the addresses of Services (confd's bird.cfg). */
export const NEVER_OWN: readonly string[] = ["cali*", "kube-ipvs*"];

/** Interfaces of the agent's tunnels, whose routes do not go to internal peers: the agents of the others have their own. */
export const tunnelInterfaces = ({ programs }: FamilyBgp): readonly string[] => [
  "*.cali",
  "*.calico",
  ...(programs.ipip ? [] : ["tunl0"]),
];

export const familyOf = (node: NodeBgp, family: Family): FamilyBgp => (family === 4 ? node.ipv4 : node.ipv6);

/** Whether the peer is of the AS that this node is to it (RFC 4271 1.1: internal; iBGP). */
export const isInternal = (node: NodeBgp, peer: Peer): boolean => peer.asn === (peer.localAsn ?? node.asn);

/** Whether a block goes out as a whole, and swallows the longer routes in it. */
export const isConfirmed = ({ state }: Block): boolean => state === undefined || state === "confirmed";

export type Direction = "import" | "export";

export function rulesOf(filter: Filter, direction: Direction, family: Family): readonly FilterRule[] {
  if (direction === "import") return family === 4 ? filter.importV4 : filter.importV6;
  return family === 4 ? filter.exportV4 : filter.exportV6;
}
