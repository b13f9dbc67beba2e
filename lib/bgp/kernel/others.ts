/** Routes of others in the main table: what they lead to, and what of them BGP may know, by the rules of BIRD's `learn` and `direct`. Pure. */
import { type Address, type Cidr, cidrFromAddress, formatCidr } from "../../ip/index.ts";
import { type AddressInfo, IFA_F, type LinkInfo, type RouteInfo, RT_PROTOCOL, RT_SCOPE } from "../../netlink/index.ts";
import { PrefixTable, type Version, type Words } from "./prefixes.ts";
import type { Hop, Step } from "./resolve.ts";
import type { KernelRoute } from "./types.ts";

const RTNH_F_DEAD = 1;
const NAMES: Partial<Record<RouteInfo["type"], string>> = {
  blackhole: "a blackhole",
  unreachable: "marked unreachable",
  prohibit: "prohibited",
};

/** The others' routes of one IP version. */
export class OtherRoutes {
  readonly prefixes: PrefixTable;
  /** By slot. */
  readonly #routes: RouteInfo[][] = [];

  constructor(version: Version) {
    this.prefixes = new PrefixTable(version);
  }

  at(destination: Cidr): readonly RouteInfo[] {
    const slot = this.prefixes.findCidr(destination);
    return slot < 0 ? [] : this.#routes[slot]!;
  }

  /** False: it was known. */
  add(route: RouteInfo): boolean {
    const slot = this.prefixes.add(route.destination);
    this.#routes[slot] ??= [];
    const routes = this.#routes[slot];
    const key = routeKey(route);
    const known = routes.findIndex((other) => routeKey(other) === key);
    if (known >= 0) {
      routes[known] = route; // its flags may be others
      return false;
    }
    routes.push(route);
    return true;
  }

  /** Removes those that `goes` is true for; whether there were any. */
  remove(destination: Cidr, goes: (route: RouteInfo) => boolean): boolean {
    const slot = this.prefixes.findCidr(destination);
    if (slot < 0) return false;
    const before = this.#routes[slot]!;
    const after = before.filter((route) => !goes(route));
    if (after.length === before.length) return false;
    if (after.length > 0) {
      this.#routes[slot] = after;
    } else {
      this.#routes[slot] = [];
      this.prefixes.remove(slot);
    }
    return true;
  }

  *all(): Generator<RouteInfo> {
    for (let slot = 0; slot < this.prefixes.end; slot++) if (this.prefixes.isUsed(slot)) yield* this.#routes[slot]!;
  }

  /** The route that the kernel prefers, of the longest prefixes on. */
  *towards(words: Words): Generator<RouteInfo> {
    for (const slot of this.prefixes.covering(words)) {
      let best: RouteInfo | undefined;
      for (const route of this.#routes[slot]!) {
        if (leadsSomewhere(route) && (best === undefined || route.metric < best.metric)) best = route;
      }
      if (best) yield best;
    }
  }
}

/** Tells the kernel's routes apart; flags that change by themselves are left out. */
export function routeKey(route: RouteInfo): string {
  const hops = route.nextHops?.map((hop) => `${hopText(hop)}*${hop.weight ?? 1}`).sort();
  return [route.metric, route.tos ?? 0, route.protocol, route.type, route.scope, hops?.join() ?? hopText(route)].join(
    " ",
  );
}

function hopText({ gateway, index, onlink }: { gateway?: Address; index?: number; onlink?: boolean }): string {
  return `${gateway ? `${gateway.version}/${gateway.value}` : ""}%${index ?? 0}${onlink ? "!" : ""}`;
}

/** Whether packets follow it, if only to their end. Throw routes let the search go on, and local ones are of another table. */
function leadsSomewhere(route: RouteInfo): boolean {
  if (route.tos) return false;
  if (route.type !== "unicast") return route.type in NAMES;
  return route.nextHops ? route.nextHops.some(({ dead }) => !dead) : (route.flags & RTNH_F_DEAD) === 0;
}

/** What the route of another is on the way to an address within it. */
export function stepOf(route: RouteInfo): NonNullable<Step> {
  if (route.type !== "unicast")
    return { kind: "end", name: `${NAMES[route.type] ?? route.type} (${formatCidr(route.destination)})` };
  // A gateway behind a route that is not of link scope the kernel takes only when told that it is on the link (fib_check_nh).
  const far = route.destination.version === 4 && route.scope < RT_SCOPE.LINK;
  if (route.nextHops) {
    const hops = route.nextHops.filter(({ dead, index }) => !dead && index !== undefined);
    return { kind: "gateways", hops: hops.map((hop) => hopOf(hop, far)) };
  }
  const hop = hopOf(route, far);
  if (hop.gateway) return { kind: "gateways", hops: [hop] };
  return { kind: "link", index: hop.index, ...(hop.onlink && { onlink: true }) };
}

function hopOf(hop: { gateway?: Address; index?: number; onlink?: boolean }, far: boolean): Hop {
  const onlink = hop.onlink || (far && hop.gateway === undefined);
  return { index: hop.index ?? 0, ...(hop.gateway && { gateway: hop.gateway }), ...(onlink && { onlink: true }) };
}

/**
 * What BGP learns of the others' routes to one destination: the one of the lowest metric, of those that BIRD's `learn` takes. Undefined: nothing.
 * Not learned: the kernel's own (`direct` has those networks, see {@link connectedRoutes}), redirects, routes for a type of service, and types other
 * than unicast, blackhole, unreachable and prohibit; of IPv6 whatever is not for hosts or goes no further than the link.
 */
export function learnable(
  routes: readonly RouteInfo[],
  nameOf: (index: number) => string | undefined,
): KernelRoute | undefined {
  let best: RouteInfo | undefined;
  for (const route of routes) {
    if (!isLearnable(route) || (best !== undefined && best.metric <= route.metric)) continue;
    if (route.index !== undefined && route.type === "unicast" && nameOf(route.index) === undefined) continue;
    best = route;
  }
  if (!best) return undefined;
  const { destination, metric, protocol, type } = best;
  if (type !== "unicast" || best.index === undefined) return { destination, metric, protocol, connected: false };
  const name = nameOf(best.index)!;
  const gateway = best.gateway && { gateway: best.gateway };
  return { destination, metric, protocol, interface: name, ...gateway, connected: false };
}

function isLearnable(route: RouteInfo): boolean {
  const { protocol, destination } = route;
  if (protocol === RT_PROTOCOL.UNSPEC || protocol === RT_PROTOCOL.REDIRECT || protocol === RT_PROTOCOL.KERNEL)
    return false;
  return leadsSomewhere(route) && !(destination.version === 6 && isNarrow(destination.base));
}

/** IPv6 destinations that are multicast, of the link, or the loopback and unspecified addresses (but not the default route's). */
function isNarrow(base: bigint): boolean {
  return base >> 120n === 0xffn || base >> 118n === 0x3fan || base === 1n;
}

/**
 * The networks of interfaces that are up, as BIRD's `direct` has them: by their addresses, not by the kernel's routes, so that an address of full
 * length (a loopback's) is one too. Secondary addresses add none. Keyed by prefix.
 */
export function connectedRoutes(links: Iterable<LinkInfo>, addresses: Iterable<AddressInfo>): Map<string, KernelRoute> {
  const up = new Map<number, string>();
  for (const link of links) if (link.up) up.set(link.index, link.name);
  const found = new Map<string, KernelRoute>();
  for (const { index, address, peer, length, scope, flags } of addresses) {
    const name = up.get(index);
    if (name === undefined || flags & IFA_F.SECONDARY || scope >= RT_SCOPE.LINK || isOfLoopback(address)) continue;
    const destination = cidrFromAddress(peer ?? address, length);
    if (destination.version === 6 && isNarrow(destination.base)) continue;
    const key = formatCidr(destination);
    const known = found.get(key)?.interface;
    // One network on two interfaces: the same one always.
    if (known !== undefined && known <= name) continue;
    found.set(key, { destination, metric: 0, protocol: RT_PROTOCOL.KERNEL, interface: name, connected: true });
  }
  return found;
}

function isOfLoopback({ version, value }: Address): boolean {
  return version === 4 ? value >> 24n === 127n : value === 1n;
}

export function sameKernelRoute(a: KernelRoute | undefined, b: KernelRoute | undefined): boolean {
  if (!a || !b) return a === b;
  return (
    a.metric === b.metric &&
    a.protocol === b.protocol &&
    a.interface === b.interface &&
    a.connected === b.connected &&
    a.gateway?.version === b.gateway?.version &&
    a.gateway?.value === b.gateway?.value
  );
}
