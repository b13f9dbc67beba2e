/** What to change so that the kernel holds the routes that are wanted: a comparison, without effects. */
import type { Address, Cidr } from "../ip/index.ts";
import { type RouteChange, type RouteInfo, RT_SCOPE } from "../netlink/index.ts";

/** A route to an endpoint: straight to its interface. */
export interface WantedRoute extends RouteChange {
  readonly index: number;
  readonly metric: number;
  readonly protocol: number;
}

/** In this order. Between `release` and `program` is the time to forget connections of addresses that changed hands. */
export interface Decision {
  /** To delete first: they lead where nothing is wanted, or where another interface's endpoint is to be reached. */
  readonly release: readonly RouteInfo[];
  /** To add, in the place of what has the same destination and metric. */
  readonly program: readonly WantedRoute[];
  /** To delete last: another route takes over without a gap. */
  readonly clean: readonly RouteInfo[];
}

/**
 * `wanted` has each destination once. `found` are the kernel's routes on the interfaces in question: all of those that have, had or might get
 * one of the destinations. `owned` says whether a route that is not wanted may be deleted.
 */
export function decide(
  wanted: readonly WantedRoute[],
  found: readonly RouteInfo[],
  owned: (route: RouteInfo) => boolean,
): Decision {
  const missing = new Map<string, WantedRoute>();
  for (const route of wanted) missing.set(keyOf(route.destination), route);
  const byDestination = new Map(missing);
  const others: RouteInfo[] = [];
  for (const route of found) {
    const key = keyOf(route.destination);
    const target = missing.get(key);
    if (target && isRoute(route, target)) missing.delete(key);
    else others.push(route);
  }

  const release: RouteInfo[] = [];
  const clean: RouteInfo[] = [];
  const replaced = new Set<string>();
  for (const route of others) {
    const key = keyOf(route.destination);
    const target = byDestination.get(key);
    const here = target !== undefined && target.index === route.index;
    // The kernel puts what is added where the first of the same destination, metric and type of service is.
    if (here && missing.has(key) && route.metric === target.metric && !route.tos && !replaced.has(key)) {
      replaced.add(key);
    } else if (owned(route)) {
      (here ? clean : release).push(route);
    }
  }
  return { release, program: [...missing.values()], clean };
}

/** Whether the kernel's route is the wanted one in everything. */
export function isRoute(route: RouteInfo, wanted: WantedRoute): boolean {
  return (
    route.index === wanted.index &&
    route.metric === wanted.metric &&
    route.protocol === wanted.protocol &&
    route.type === "unicast" &&
    // IPv6 has no scopes: the kernel shows universe whatever was asked.
    (route.destination.version === 6 || route.scope === (wanted.scope ?? RT_SCOPE.UNIVERSE)) &&
    sameAddress(route.source, wanted.source) &&
    route.gateway === undefined &&
    route.nextHops === undefined &&
    route.mtu === undefined &&
    !route.tos &&
    keyOf(route.destination) === keyOf(wanted.destination)
  );
}

/** A destination as the key of a map: cheaper than its text. */
export function keyOf({ version, base, length }: Cidr): string {
  return `${version}/${length}/${base.toString(36)}`;
}

/** The index of the interface, of those that claim a destination and are up, that gets it: the newest (felix/routetable). */
export function elect(claimants: Iterable<{ readonly index: number; readonly up: boolean }>): number | undefined {
  let best: number | undefined;
  for (const { index, up } of claimants) if (up && (best === undefined || index > best)) best = index;
  return best;
}

/** Link-local bootstrap routes of IPv6, which the kernel keeps on every interface. */
export function isKernels({ destination }: RouteInfo): boolean {
  const { version, base, length } = destination;
  return version === 6 && ((length === 64 && base === 0xfe80n << 112n) || (length === 8 && base === 0xffn << 120n));
}

/** The address of a /32 or /128. */
export function hostOf({ version, base, length }: Cidr): Address | undefined {
  return length === (version === 4 ? 32 : 128) ? { version, value: base } : undefined;
}

/** Whether two descriptions are of one route of the kernel. */
export function sameRoute(a: RouteInfo, b: RouteInfo): boolean {
  return (
    a.index === b.index &&
    a.metric === b.metric &&
    a.protocol === b.protocol &&
    a.type === b.type &&
    a.scope === b.scope &&
    (a.tos ?? 0) === (b.tos ?? 0) &&
    a.mtu === b.mtu &&
    (a.nextHops?.length ?? 0) === (b.nextHops?.length ?? 0) &&
    keyOf(a.destination) === keyOf(b.destination) &&
    sameAddress(a.source, b.source) &&
    sameAddress(a.gateway, b.gateway)
  );
}

function sameAddress(a: Address | undefined, b: Address | undefined): boolean {
  return a?.version === b?.version && a?.value === b?.value;
}
