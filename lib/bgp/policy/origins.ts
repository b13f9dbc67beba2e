/** Routes that the node has because of its configuration: BIRD's static protocol. */
import { type Family, type FamilyBgp, familyOf, type NodeBgp } from "../model/index.ts";
import type { Prefix } from "../rib/index.ts";
import { poolsIntoKernel } from "./kernel.ts";
import { CidrIndex, prefixIn } from "./prefixes.ts";

export interface StaticOrigin {
  readonly cidr: string;
  readonly prefix: Prefix;
  /** Gateway of a route to a peer. Absent: a blackhole, there to be exported. */
  readonly via?: string;
  /** Goes into the kernel's table as well. */
  readonly programmed: boolean;
}

/** Blocks of more than one address, services, routes to peers behind a gateway; each prefix once, the first counts. Throws a RangeError for what is no CIDR. */
export function staticRoutes(model: NodeBgp, family: Family): StaticOrigin[] {
  const bgp = familyOf(model, family);
  const host = family === 4 ? "/32" : "/128";
  const intoKernel = staticIntoKernel(bgp);
  const routes = new Map<string, StaticOrigin>();
  const add = (cidr: string, via?: string): void => {
    if (routes.has(cidr)) return;
    const prefix = prefixIn(family, cidr);
    routes.set(cidr, { cidr, prefix, ...(via !== undefined && { via }), programmed: intoKernel(prefix) });
  };
  for (const { cidr } of bgp.blocks) if (!cidr.endsWith(host)) add(cidr);
  for (const cidr of bgp.services) add(cidr);
  for (const kind of ["global", "node"]) {
    for (const route of bgp.peerRoutes) if (route.kind === kind) add(`${route.peer}${host}`, route.via);
  }
  return [...routes.values()];
}

/** The kernel's filter for a route that nobody told us of. Blackholes in IPIP pools are BGP's where its routes to other nodes are. */
function staticIntoKernel(bgp: FamilyBgp): (prefix: Prefix) => boolean {
  const services = new CidrIndex(bgp.notProgrammed, bgp.family);
  const pools = poolsIntoKernel(bgp);
  const index = new CidrIndex(
    pools.map((pool) => pool.cidr),
    bgp.family,
  );
  return (prefix) => {
    if (services.covers(prefix)) return false;
    const pool = pools[index.first(prefix)];
    return pool === undefined || pool.blackholes;
  };
}
