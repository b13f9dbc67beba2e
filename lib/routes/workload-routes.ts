import type { Address, Cidr } from "../ip/index.ts";
import {
  type BatchResult,
  type Change,
  describeRoute,
  type Monitor,
  type Netlink,
  NetlinkError,
  openMonitor,
  openNetlink,
  type RouteInfo,
  RT_PROTOCOL,
  RT_SCOPE,
  RT_TABLE,
  routeAdd,
  routeDelete,
  routes,
} from "../netlink/index.ts";
import type { Namespace } from "../sys/index.ts";
import { Claims, type WorkloadTarget } from "./claims.ts";
import { type Decision, decide, elect, hostOf, isKernels, keyOf, sameRoute, type WantedRoute } from "./decide.ts";
import { RoutesError } from "./error.ts";
import type { HostInterface, InterfaceChange, Interfaces } from "./interfaces.ts";

/** Up to this many interfaces are listed one by one; for more, all routes once. */
const LISTED_SINGLY = 16;
/** felix/dataplane/linux/int_dataplane.go, routeCleanupGracePeriod. */
const GRACE = 10_000;
/** Who deletes a route again and again is answered at once, but not more often than this. In milliseconds. */
const REPAIR_PAUSE = 100;
/** After the kernel's routes could not be read. In milliseconds. */
const RETRY = 1000;

export interface WorkloadRoutesOptions {
  readonly interfaces: Interfaces;
  /** Which interfaces are workloads' (InterfacePrefix). */
  readonly prefixes: readonly string[];
  /** IPv6 routes are left alone when it is off. */
  readonly ipv6: boolean;
  /** DeviceRouteProtocol; 3 (boot) when absent. */
  readonly protocol?: number;
  /** IPv4NormalRoutePriority and IPv6NormalRoutePriority; 1024 each when absent. */
  readonly metrics?: { readonly v4: number; readonly v6: number };
  /** DeviceRouteSourceAddress and DeviceRouteSourceAddressIPv6. */
  readonly sources?: { readonly v4?: Address; readonly v6?: Address };
  /** RemoveExternalRoutes: routes on workloads' interfaces that others made are deleted too; true when absent. */
  readonly removeExternal?: boolean;
  /** BIRD's routes on this interface stay, because a workload there speaks BGP with it. */
  readonly isBgpPeer?: (interfaceName: string) => boolean;
  /**
   * Forgets the connections of addresses that were taken from an interface, before another gets them: what conntrack knows of
   * them is of another endpoint.
   */
  readonly flush?: (addresses: readonly Address[]) => void;
  /** What was done of itself, after an event. */
  readonly onApplied: (applied: RoutesApplied) => void;
  /** What failed of itself, after an event; `fatal`: no more events come. */
  readonly onError: (error: Error, fatal: boolean) => void;
  /**
   * For how long routes stay on a new interface while no endpoint is known for it, or its pod's end is not up yet: the plugin is faster
   * than the news. In milliseconds.
   */
  readonly gracePeriod?: number;
  readonly namespace?: Namespace;
  /** Bytes of events that the kernel may queue; 4 MiB when absent. */
  readonly receiveBuffer?: number;
}

export interface RoutesApplied {
  /** In words: "10.65.0.2/32 on the link with index 7". */
  readonly added: readonly string[];
  readonly deleted: readonly string[];
  /** What the kernel refused; tried again by the next apply. */
  readonly failed: readonly Error[];
  /** Whether the kernel's table was read as a whole. */
  readonly compared: boolean;
}

/** The routes to the node's own workloads, in the main table. */
export interface WorkloadRoutes extends Disposable {
  /** Replaces what is to be reached by the interface, which may be absent yet. What is no CIDR is answered, and left out. */
  set(interfaceName: string, target: WorkloadTarget): readonly string[];
  remove(interfaceName: string): void;
  /**
   * Makes the kernel's routes what `set` and `remove` asked for, by its differences. What cannot be yet, because an interface is not there
   * or down, is done when the event comes. Throws {@link RoutesError} when the kernel's routes cannot be read, and tries again of itself.
   */
  apply(): RoutesApplied;
  /** The next apply reads the kernel's table as a whole (RouteRefreshInterval). */
  recheck(): void;
  /** Interfaces with targets that are absent or down. */
  readonly pending: readonly string[];
  readonly counts: { readonly routes: number; readonly interfaces: number };
  /** Stops watching; the routes stay. */
  close(): void;
}

/**
 * Listens from now on, and changes nothing before the first `apply`, which is for when all endpoints of the node are known: it takes over
 * what it finds, and deletes what nobody wants once the grace period of the interface is over.
 */
export function openWorkloadRoutes(options: WorkloadRoutesOptions): WorkloadRoutes {
  return new RouteKeeper(options);
}

class RouteKeeper implements WorkloadRoutes {
  readonly #options: WorkloadRoutesOptions;
  readonly #interfaces: Interfaces;
  readonly #netlink: Netlink;
  readonly #monitor: Monitor;
  readonly #forget: () => void;
  readonly #protocol: number;

  readonly #claims: Claims;
  /** The kernel's routes by index of the interface, as last read and changed since. */
  readonly #found = new Map<number, RouteInfo[]>();
  /** Interfaces whose routes may not be as wanted. */
  readonly #dirty = new Set<number>();
  /** Those of the dirty ones whose found routes are not to be relied on. */
  readonly #stale = new Set<number>();
  #everything = true;
  /** Whether `apply` was called: before, nobody has said what is wanted, and all routes would seem stale. */
  #begun = false;
  /** What each interface was last given, by its index and the destination. */
  readonly #given = new Map<number, ReadonlyMap<string, Cidr>>();
  /** Whose connections are yet to be forgotten. */
  readonly #unflushed = new Map<string, Address>();
  /** Until when what is found on a new interface stays that is given nothing yet, in ms of performance.now(). */
  readonly #grace = new Map<number, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #due = Number.POSITIVE_INFINITY;
  #repaired = Number.NEGATIVE_INFINITY;

  constructor(options: WorkloadRoutesOptions) {
    this.#options = options;
    this.#interfaces = options.interfaces;
    this.#claims = new Claims(options.ipv6);
    this.#protocol = options.protocol ?? RT_PROTOCOL.BOOT;
    this.#monitor = openMonitor({
      watch: ["routes"],
      onChange: (change) => this.#routeChanged(change),
      onError: (error) => options.onError(error, true),
      ...(options.namespace && { namespace: options.namespace }),
      ...(options.receiveBuffer !== undefined && { receiveBuffer: options.receiveBuffer }),
    });
    try {
      this.#netlink = openNetlink(options.namespace);
    } catch (error) {
      this.#monitor.close();
      throw error;
    }
    for (const each of this.#interfaces.all) if (this.#isOurs(each)) this.#arrived(each.index);
    this.#forget = this.#interfaces.onChange((change) => this.#interfaceChanged(change));
  }

  set(interfaceName: string, target: WorkloadTarget): readonly string[] {
    return this.#claim(interfaceName, target);
  }

  remove(interfaceName: string): void {
    this.#claim(interfaceName, undefined);
  }

  #claim(name: string, target: WorkloadTarget | undefined): readonly string[] {
    const { refused, rivals } = this.#claims.set(name, target);
    for (const each of [name, ...rivals]) this.#markName(each);
    this.#settle(this.#interfaces.byName(name));
    return refused;
  }

  /** Who is known and up is given its routes by us: nothing is to be waited for. One that an endpoint has left is not waited for either. */
  #settle(link: HostInterface | undefined): void {
    if (link && (link.up || !this.#claims.get(link.name))) this.#grace.delete(link.index);
  }

  #markName(name: string): void {
    const found = this.#interfaces.byName(name);
    if (found) this.#dirty.add(found.index);
  }

  #isOurs({ name }: HostInterface): boolean {
    return this.#options.prefixes.some((prefix) => name.startsWith(prefix));
  }

  #arrived(index: number): void {
    this.#stale.add(index);
    this.#dirty.add(index);
    this.#grace.set(index, performance.now() + (this.#options.gracePeriod ?? GRACE));
  }

  #interfaceChanged(change: InterfaceChange): void {
    if (change.event === "resync") {
      this.#everything = true;
      this.#schedule();
      return;
    }
    const { interface: found } = change;
    if (!this.#isOurs(found)) return;
    if (change.event === "new") this.#arrived(found.index);
    if (change.event === "removed" || !found.enabled) {
      // Routes go with the link, and of IPv4's no event tells (net/ipv4/fib_frontend.c, fib_disable_ip).
      this.#found.delete(found.index);
      this.#stale.delete(found.index);
    } else if (!this.#found.has(found.index)) {
      this.#stale.add(found.index);
    }
    if (change.event === "removed") this.#grace.delete(found.index);
    else if (this.#claims.get(found.name)) this.#settle(found);
    this.#dirty.add(found.index);
    // Who gets a destination depends on who is there.
    for (const rival of this.#claims.rivals(found.name)) this.#markName(rival);
    this.#schedule();
  }

  #routeChanged(change: Change): void {
    if (change.kind === "resync") {
      this.#everything = true;
      this.#schedule();
      return;
    }
    if (change.kind !== "route") return;
    const { route } = change;
    if (route.table !== RT_TABLE.MAIN || (route.destination.version === 6 && !this.#options.ipv6)) return;
    const indexes = route.nextHops?.map(({ index }) => index) ?? [route.index];
    const ours = indexes.flatMap((index) => {
      const link = index === undefined ? undefined : this.#interfaces.byIndex(index);
      return link && this.#isOurs(link) && !isKernels(route) ? link.index : [];
    });
    const news = ours.filter((index) => this.#isNews(route, index, change.event));
    if (ours.length > 0 && news.length === 0) return;
    for (const index of news) this.#doubt(index);
    let doubted = news.length > 0;
    if (change.event === "new") {
      // It may stand in the place of one of ours, by another interface: the kernel does not tell of what is replaced.
      for (const name of this.#claims.of(keyOf(route.destination))) {
        const link = this.#interfaces.byName(name);
        if (!link || indexes.includes(link.index)) continue;
        this.#doubt(link.index);
        doubted = true;
      }
    }
    if (!doubted) return;
    const now = performance.now();
    const at = Math.max(now, this.#repaired + REPAIR_PAUSE);
    if (this.#due <= at) return;
    this.#schedule(at - now);
    this.#repaired = at;
  }

  #doubt(index: number): void {
    this.#stale.add(index);
    this.#dirty.add(index);
  }

  /** Whether the event tells what is not known: events of our own changes come back to us. */
  #isNews(route: RouteInfo, index: number, event: "new" | "deleted"): boolean {
    const known = this.#found.get(index)?.some((other) => sameRoute(other, route)) ?? false;
    return event === "new" ? !known : known;
  }

  recheck(): void {
    this.#everything = true;
  }

  apply(): RoutesApplied {
    this.#begun = true;
    const compared = this.#everything;
    const { dirty, found } = this.#look();
    const wanted: WantedRoute[] = [];
    for (const index of dirty) {
      const here = this.#wantedOn(index);
      wanted.push(...here);
      this.#give(index, here);
    }
    const decision = decide(wanted, found, (route) => this.#isOwned(route));
    const applied = this.#carryOut({
      release: this.#spare(decision.release),
      program: decision.program,
      clean: this.#spare(decision.clean),
    });
    return { ...applied, compared };
  }

  /** Notes what an interface gets, and what it got and gets no longer. */
  #give(index: number, wanted: readonly WantedRoute[]): void {
    const before = this.#given.get(index);
    const now = new Map(wanted.map(({ destination }) => [keyOf(destination), destination]));
    for (const [key, destination] of before ?? []) if (!now.has(key)) this.#noteGone(key, destination);
    if (now.size > 0) this.#given.set(index, now);
    else this.#given.delete(index);
  }

  #noteGone(key: string, destination: Cidr): void {
    const address = hostOf(destination);
    if (address && this.#options.flush) this.#unflushed.set(key, address);
  }

  /** The interfaces in question and the routes on them, read where they are not known. */
  #look(): { dirty: Set<number>; found: RouteInfo[] } {
    try {
      if (this.#everything || [...this.#stale].filter((index) => this.#dirty.has(index)).length > LISTED_SINGLY) {
        this.#readAll();
      } else {
        for (const index of this.#stale) if (this.#dirty.has(index)) this.#readOne(index);
      }
    } catch (error) {
      this.#schedule(RETRY);
      throw new RoutesError("ROUTES_UNREADABLE", "cannot list the node's routes; it is tried again in a second", {
        cause: error,
      });
    }
    const dirty = new Set(this.#dirty);
    this.#dirty.clear();
    return { dirty, found: [...dirty].flatMap((index) => this.#found.get(index) ?? []) };
  }

  #readAll(): void {
    const all = this.#dump();
    for (const index of this.#found.keys()) this.#dirty.add(index);
    for (const link of this.#interfaces.all) if (this.#isOurs(link)) this.#dirty.add(link.index);
    this.#found.clear();
    for (const route of all)
      if (route.index !== undefined && this.#dirty.has(route.index)) this.#note(route.index, route);
    this.#stale.clear();
    this.#everything = false;
  }

  #readOne(index: number): void {
    this.#found.delete(index);
    for (const route of this.#dump(index)) if (route.index === index) this.#note(index, route);
    this.#stale.delete(index);
  }

  #dump(index?: number): RouteInfo[] {
    const filter = { table: RT_TABLE.MAIN, ...(index !== undefined && { index }) };
    const list = (version: 4 | 6): RouteInfo[] => {
      try {
        return this.#netlink.dump(routes({ version, ...filter }));
      } catch (error) {
        // The interface went meanwhile; a table without a route is not there (strict dumps, since 4.20).
        if (error instanceof NetlinkError && ["ENODEV", "ENOENT"].includes(error.code)) return [];
        throw error;
      }
    };
    const found = this.#options.ipv6 ? [...list(4), ...list(6)] : list(4);
    return found.filter((route) => !isKernels(route));
  }

  #note(index: number, route: RouteInfo): void {
    const known = this.#found.get(index);
    if (known) known.push(route);
    else this.#found.set(index, [route]);
  }

  #wantedOn(index: number): WantedRoute[] {
    const link = this.#interfaces.byIndex(index);
    const claim = link && this.#claims.get(link.name);
    if (!link?.up || !claim || !this.#isOurs(link)) return [];
    const { metrics, sources } = this.#options;
    const wanted: WantedRoute[] = [];
    for (const [key, destination] of claim.cidrs) {
      if (this.#elected(key) !== index) continue;
      const v4 = destination.version === 4;
      const source = v4 ? sources?.v4 : sources?.v6;
      wanted.push({
        destination,
        index,
        protocol: this.#protocol,
        metric: claim.metric ?? (v4 ? metrics?.v4 : metrics?.v6) ?? 1024,
        ...(v4 && { scope: RT_SCOPE.LINK }),
        ...(source && { source }),
      });
    }
    return wanted;
  }

  /** The interface that gets a destination now; undefined: none that claims it is up. */
  #elected(key: string): number | undefined {
    return elect([...this.#claims.of(key)].flatMap((name) => this.#interfaces.byName(name) ?? []));
  }

  #isOwned(route: RouteInfo): boolean {
    const link = route.index === undefined ? undefined : this.#interfaces.byIndex(route.index);
    if (!link || !this.#isOurs(link)) return false;
    if (route.protocol === this.#protocol) return true;
    if (!(this.#options.removeExternal ?? true)) return false;
    return !(route.protocol === RT_PROTOCOL.BIRD && (this.#options.isBgpPeer?.(link.name) ?? false));
  }

  /** Without what stays for the grace period of its interface, which is looked at again when that ends. */
  #spare(found: readonly RouteInfo[]): RouteInfo[] {
    const now = performance.now();
    return found.filter((route) => {
      const until = route.index === undefined ? undefined : this.#grace.get(route.index);
      if (until === undefined) return true;
      const link = this.#interfaces.byIndex(route.index!);
      if (until <= now || !link) {
        this.#grace.delete(route.index!);
        return true;
      }
      const claim = this.#claims.get(link.name);
      const key = keyOf(route.destination);
      // Nor where another interface that is up has it: the plugin's metric of 0 would win over that one's.
      if (claim && (link.up || !claim.cidrs.has(key) || this.#elected(key) !== undefined)) return true;
      this.#dirty.add(route.index!);
      this.#schedule(until - now);
      return false;
    });
  }

  #carryOut({ release, program, clean }: Decision): Omit<RoutesApplied, "compared"> {
    const added: string[] = [];
    const deleted: string[] = [];
    const failed: Error[] = [];
    this.#delete(release, deleted, failed);
    for (const { destination } of release) this.#noteGone(keyOf(destination), destination);
    this.#flush(failed);
    this.#run(
      program,
      (route) => routeAdd(route, "replace"),
      (route, { error }) => {
        if (!error) {
          added.push(describeRoute(route));
          this.#replaceFound(route);
        } else {
          this.#dirty.add(route.index);
          this.#stale.add(route.index);
          // The interface went, or was shut down, meanwhile: its event says what is next.
          if (error.code !== "ENODEV" && error.code !== "ENETDOWN") failed.push(error);
        }
      },
    );
    this.#delete(clean, deleted, failed);
    return { added, deleted, failed };
  }

  #flush(failed: Error[]): void {
    if (this.#unflushed.size === 0) return;
    try {
      this.#options.flush?.([...this.#unflushed.values()]);
      this.#unflushed.clear();
    } catch (error) {
      failed.push(error as Error);
    }
  }

  #delete(found: readonly RouteInfo[], deleted: string[], failed: Error[]): void {
    this.#run(
      found,
      (route) => routeDelete(route),
      (route, { error }) => {
        const index = route.index ?? 0;
        if (error && !["ESRCH", "ENODEV", "ENETDOWN"].includes(error.code)) {
          failed.push(error);
          this.#dirty.add(index);
          this.#stale.add(index);
          return;
        }
        if (!error) deleted.push(describeRoute(route));
        const left = this.#found.get(index)?.filter((other) => !sameRoute(other, route)) ?? [];
        if (left.length > 0) this.#found.set(index, left);
        else this.#found.delete(index);
      },
    );
  }

  #run<Route>(
    all: readonly Route[],
    request: (route: Route) => ReturnType<typeof routeAdd>,
    done: (route: Route, result: BatchResult) => void,
  ): void {
    if (all.length === 0) return;
    this.#netlink.batch(all.map(request)).forEach((result, i) => void done(all[i]!, result));
  }

  #replaceFound(route: WantedRoute): void {
    const { index } = route;
    const key = keyOf(route.destination);
    const known = this.#found.get(index) ?? [];
    const place = known.findIndex(
      (other) => keyOf(other.destination) === key && other.metric === route.metric && !other.tos,
    );
    const info: RouteInfo = {
      ...route,
      table: RT_TABLE.MAIN,
      scope: route.scope ?? RT_SCOPE.UNIVERSE,
      type: "unicast",
      flags: 0,
    };
    if (place < 0) known.push(info);
    else known[place] = info;
    this.#found.set(index, known);
  }

  /** Applies of itself, soon. */
  #schedule(delay = 0): void {
    if (!this.#begun) return;
    const now = performance.now();
    const at = now + delay;
    if (at >= this.#due) return;
    clearTimeout(this.#timer);
    this.#due = at;
    this.#timer = setTimeout(() => this.#applyAfterEvent(), Math.max(0, Math.ceil(at - now)));
  }

  #applyAfterEvent(): void {
    this.#due = Number.POSITIVE_INFINITY;
    try {
      const applied = this.apply();
      if (applied.added.length + applied.deleted.length + applied.failed.length > 0) this.#options.onApplied(applied);
    } catch (error) {
      this.#options.onError(error as Error, false);
    }
  }

  get pending(): readonly string[] {
    return [...this.#claims.names()].filter((name) => !this.#interfaces.byName(name)?.up);
  }

  get counts(): { routes: number; interfaces: number } {
    let count = 0;
    for (const found of this.#found.values()) count += found.length;
    let interfaces = 0;
    for (const each of this.#interfaces.all) if (this.#isOurs(each)) interfaces++;
    return { routes: count, interfaces };
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#due = Number.NEGATIVE_INFINITY; // nothing is scheduled any more
    this.#forget();
    this.#monitor.close();
    this.#netlink.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
