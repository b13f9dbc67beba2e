/** Which learned routes go into the kernel's table, and how. */
import { containsAddress, parseAddress, parseCidr } from "../../ip/index.ts";
import { type Family, type FamilyBgp, familyOf, type NodeBgp, type Pool, PRIORITY_BASE } from "../model/index.ts";
import { DEFAULT_LOCAL_PREF, type Prefix } from "../rib/index.ts";
import type { PathAttributes } from "../wire/index.ts";
import { CidrIndex } from "./prefixes.ts";

export interface KernelVerdict {
  /** The difference of LOCAL_PREF to 2147483647: 2147483547 for a route without LOCAL_PREF, whose 100 is implied. */
  readonly metric: number;
  /** Its priority is higher than normal: it wins over a local workload's route. */
  readonly overridesLocal: boolean;
}

/** Undefined: not the kernel's (a service's address, a pool or a node that the agent routes to). `preference` is of the import verdict. */
export type KernelPolicy = (
  prefix: Prefix,
  attributes: PathAttributes,
  preference: number | undefined,
) => KernelVerdict | undefined;

/** Throws a RangeError for an address or CIDR that is none. */
export function kernelPolicy(model: NodeBgp, family: Family): KernelPolicy {
  const bgp = familyOf(model, family);
  const services = new CidrIndex(bgp.notProgrammed, family);
  const wireguard = new Set(bgp.wireguardPeers.map((address) => parseAddress(address).value));
  const pools = poolsIntoKernel(bgp);
  const index = new CidrIndex(
    pools.map((pool) => pool.cidr),
    family,
  );
  const subnet = bgp.subnet === undefined ? undefined : parseCidr(bgp.subnet);
  // As in the rendered filter, metric decides of overriding, not the import filter's preference: a BGPFilter that accepts leaves that as it was.
  return (prefix, attributes, _preference) => {
    if (services.covers(prefix)) return undefined;
    const { nextHop } = attributes;
    if (nextHop.version === family && wireguard.has(nextHop.value)) return undefined;
    const pool = index.first(prefix);
    if (pool >= 0) {
      const programs = pools[pool]?.programs;
      if (programs === "no") return undefined;
      if (programs === "on-subnet" && !(subnet && containsAddress(subnet, nextHop))) return undefined;
    }
    const metric = (PRIORITY_BASE - (attributes.localPref ?? DEFAULT_LOCAL_PREF)) >>> 0;
    return { metric, overridesLocal: metric < bgp.normalPriority };
  };
}

/** Who programs routes of a pool: BGP, the agent, or BGP only where the next hop is on the node's own subnet (no tunnel is needed). */
type Programs = "yes" | "no" | "on-subnet";

interface KernelPool {
  readonly cidr: string;
  readonly programs: Programs;
  /** Blackholes of this node's blocks in it are BGP's to program. */
  readonly blackholes: boolean;
}

function keepsBlackholes(bgp: FamilyBgp, pool: Pool): boolean {
  if (pool.encapsulation === "none") return bgp.programs.noEncap;
  return bgp.programs.ipip && (pool.encapsulation === "ipip" || pool.encapsulation === "ipip-cross-subnet");
}

function programsOf(bgp: FamilyBgp, pool: Pool): Programs {
  switch (pool.encapsulation) {
    case "none":
      return bgp.programs.noEncap ? "yes" : "no";
    case "ipip-cross-subnet":
      return bgp.programs.ipip && bgp.subnet !== undefined ? "on-subnet" : "no";
    default:
      return "no";
  }
}

/**
 * In the order in which BIRD asks: that of their text. Of IPv6 only those that refuse are asked; of IPv4, none where the node's subnet is not known.
 */
export function poolsIntoKernel(bgp: FamilyBgp): readonly KernelPool[] {
  if (bgp.family === 4 && bgp.subnet === undefined) return [];
  return bgp.pools
    .map((pool) => ({ cidr: pool.cidr, programs: programsOf(bgp, pool), blackholes: keepsBlackholes(bgp, pool) }))
    .filter(({ programs }) => bgp.family === 4 || programs !== "yes")
    .toSorted((a, b) => (a.cidr < b.cidr ? -1 : a.cidr > b.cidr ? 1 : 0));
}
