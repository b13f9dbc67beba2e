/** The main table: events, listings, programming and telling, in the order in which they have to happen. */
import { type Address, type Cidr, formatCidr, isLinkLocal } from "../../ip/index.ts";
import {
  type Change,
  links,
  type Monitor,
  type Netlink,
  openMonitor,
  openNetlink,
  type RouteInfo,
  RT_TABLE,
} from "../../netlink/index.ts";
import type { Namespace } from "../../sys/index.ts";
import { COST, Costs } from "./costs.ts";
import { OwnRoutes } from "./learned.ts";
import { Lister, type Part } from "./listing.ts";
import { LocalRoutes } from "./local.ts";
import { NextHops, PATH, Paths, SET } from "./next-hops.ts";
import { NodeLinks } from "./node.ts";
import { OtherRoutes, routeKey, stepOf } from "./others.ts";
import { type Version, wordsOf } from "./prefixes.ts";
import { describeProblems } from "./problems.ts";
import { type Family, Programmer, unreachable } from "./programmer.ts";
import type { Graph, Step } from "./resolve.ts";
import type { KernelOptions, KernelTable, LearnedRoute, StaticRoute } from "./types.ts";

/** Changes that come within this time are programmed together, in milliseconds. */
const GATHER = 1;
const PAUSE = 100;
/** After the kernel's routes could not be read, or another meddled with ours: so many pauses. */
const RETRY = 10;
const LONGEST_RETRY = 60_000;
/** How long other work waits while next hops are looked up for their costs, in milliseconds. */
const COST_SLICE = 4;
/** From so many on it is looked which of them are still in use. */
const MANY_PATHS = 1000;
const RTM_F_CLONED = 0x200;

export interface OpenOptions extends KernelOptions {
  /** The process's own when absent. */
  readonly namespace?: Namespace;
  /**
   * How long a route waits that the kernel refused once, or that another changed for the second time; doubled each time. 100 when absent, in
   * milliseconds. The table is compared after ten times as long.
   */
  readonly pause?: number;
  /** Bytes of events that the kernel may queue; 4 MiB when absent. */
  readonly receiveBuffer?: number;
}

/** See {@link openKernelTable}. */
export class MainTable implements KernelTable {
  inherited = false;
  readonly #options: OpenOptions;
  readonly #netlink: Netlink;
  readonly #listingNetlink: Netlink;
  #monitor: Monitor | undefined;
  readonly #links = new NodeLinks();
  readonly #paths = new Paths();
  readonly #nextHops = new NextHops(this.#paths);
  readonly #families: Readonly<Record<Version, Family>>;
  readonly #programmer: Programmer;
  readonly #lister: Lister;
  readonly #local: LocalRoutes;
  readonly #graph: Graph;
  readonly #costs = new Costs((nextHop) => this.#costOf(nextHop));

  /** What next hops resolve to may be something else. */
  #resolve = true;
  #parts: Part[] = [];
  /** The listing that runs. Nothing is programmed during one of a part, because it is about what was lost just now. */
  #listing: Promise<void> | undefined;
  #listingPart = false;
  #blind: Error | undefined;
  #ready = false;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #dueTimer: ReturnType<typeof setTimeout> | undefined;
  #checkTimer: ReturnType<typeof setInterval> | undefined;
  #againTimer: ReturnType<typeof setTimeout> | undefined;
  readonly #retry: number;
  #againPause: number;
  #problems = "";
  #problemsStale = true;
  #waiting: (() => void)[] = [];

  constructor(options: OpenOptions) {
    this.#options = options;
    const { pause = PAUSE } = options;
    this.#retry = pause * RETRY;
    this.#againPause = this.#retry;
    const family = (version: Version): Family => {
      const others = new OtherRoutes(version);
      return { version, others, own: new OwnRoutes(version, this.#nextHops, this.#paths, others) };
    };
    this.#families = { 4: family(4), 6: family(6) };
    const families = [this.#families[4], this.#families[6]];
    this.#netlink = openNetlink(options.namespace);
    this.#listingNetlink = openNetlink(options.namespace);
    this.#programmer = new Programmer(this.#netlink, options.protocol, families, this.#paths, pause, () =>
      this.#listAgain(),
    );
    this.#lister = new Lister({
      netlink: this.#listingNetlink,
      families,
      paths: this.#paths,
      protocol: options.protocol,
      onOther: (destination) => this.#otherChanged(destination),
      isClosed: () => this.#closed,
    });
    this.#local = new LocalRoutes(families, this.#links);
    this.#graph = {
      isOwn: (address) => this.#links.isOwn(address),
      lookup: (address) => this.#lookup(address),
    };
  }

  async open(): Promise<void> {
    try {
      this.#netlink.dump(links()); // any answer tells the socket's port
      this.#listen();
      this.#links.list(this.#netlink);
      this.#parts.push({});
      await this.#list();
      if (this.#blind) throw this.#blind;
    } catch (error) {
      await this.close();
      throw error;
    }
    this.#ready = true;
    this.inherited = ([4, 6] as const).some((version) =>
      this.#families[version].own.uses((path) => path !== PATH.NONE),
    );
    this.#options.onLocal(this.#local.take());
    this.#checkTimer = setInterval(() => this.#check(), this.#options.checkInterval);
    this.#schedule();
  }

  #listen(): void {
    const { namespace, receiveBuffer } = this.#options;
    this.#monitor?.close();
    this.#monitor = openMonitor({
      watch: ["links", "addresses", "routes"],
      onChange: (change) => this.#changed(change),
      onError: (error) => this.#lostSight(error),
      exceptPort: this.#netlink.port,
      ...(namespace && { namespace }),
      ...(receiveBuffer !== undefined && { receiveBuffer }),
    });
  }

  setLearned(destination: Cidr, route: LearnedRoute | undefined): void {
    const { own } = this.#families[destination.version];
    let changed: boolean;
    if (route && route.nextHops.length > 0) {
      const set = this.#nextHops.hold(destination.version, route.nextHops);
      changed = own.setLearned(destination, set, route.metric, route.overridesLocal);
    } else {
      changed = own.forgetLearned(destination);
    }
    if (!changed) return;
    this.#programmer.hurry(destination.version, destination);
    if (!this.#resolve && this.#nextHops.concerns(destination)) this.#resolve = true;
    this.#schedule();
  }

  setStatic(routes: readonly StaticRoute[]): void {
    for (const version of [4, 6] as const) {
      const wanted = routes.filter(({ destination }) => destination.version === version);
      const held = wanted.map(({ destination, via }) => ({
        destination,
        set: via ? this.#nextHops.hold(version, [via], true) : SET.BLACKHOLE,
      }));
      for (const destination of this.#families[version].own.setStatic(held)) {
        if (this.#nextHops.concerns(destination)) this.#resolve = true;
        // Also where none is followed there yet: what it resolves to is not known before the next turn.
        this.#costs.outdate();
      }
    }
    this.#schedule();
  }

  follow(nextHop: Address): number {
    return this.#costs.follow(nextHop);
  }

  unfollow(nextHop: Address): void {
    this.#costs.unfollow(nextHop);
  }

  endOfRestart(): void {
    if (this.#programmer.mayRemove) return;
    this.#programmer.mayRemove = true;
    this.#families[4].own.queueDifferent();
    this.#families[6].own.queueDifferent();
    this.#schedule();
  }

  settled(): Promise<void> {
    if (this.#isIdle()) return Promise.resolve();
    return new Promise((resolve) => void this.#waiting.push(resolve));
  }

  #isIdle(): boolean {
    if (this.#closed) return true;
    return (
      !this.#timer &&
      !this.#listing &&
      this.#programmer.idle &&
      !this.#local.pending &&
      !this.#costs.pending &&
      !this.#problemsStale
    );
  }

  #schedule(after = GATHER): void {
    if (this.#closed || !this.#ready) return;
    this.#problemsStale = true;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.#run();
    }, after);
  }

  #run(): void {
    if (this.#closed) return;
    if (this.#parts.length > 0 && !this.#listing) void this.#list();
    if (this.#listing && this.#listingPart) return; // it schedules when it ends
    if (this.#resolve || this.#nextHops.hasFresh) {
      const everything = this.#resolve;
      this.#resolve = false;
      const changed = this.#nextHops.resolve(this.#graph, everything);
      this.#families[4].own.queueSets(changed);
      this.#families[6].own.queueSets(changed);
      if (everything) {
        this.#programmer.retryFailed();
        this.#costs.outdate();
      }
    }
    const costs = this.#costs.pending ? this.#costs.slice(COST_SLICE) : [];
    if (costs.length > 0 && this.#options.onCosts) {
      this.#options.onCosts(costs);
      // First another path may be chosen: it then replaces what leads nowhere any more, which would be removed now.
      this.#schedule();
      return;
    }
    let done = true;
    try {
      done = this.#programmer.slice();
    } catch (error) {
      this.#lostSight(error as Error);
      return;
    }
    const changes = this.#local.take();
    if (changes.length > 0) this.#options.onLocal(changes);
    if (!done || this.#costs.pending) {
      this.#schedule(0);
      return;
    }
    this.#wakeWhenDue();
    if (this.#timer) return; // a callback gave more to do
    this.#tellProblems();
    this.#problemsStale = false;
    if (!this.#listing) for (const resolve of this.#waiting.splice(0)) resolve();
  }

  #wakeWhenDue(): void {
    clearTimeout(this.#dueTimer);
    const next = this.#programmer.queueDue();
    if (!this.#programmer.idle) this.#schedule();
    else if (next !== undefined) {
      this.#dueTimer = setTimeout(() => {
        this.#programmer.queueDue();
        this.#schedule();
      }, Math.ceil(next) + 1);
    }
  }

  #tellProblems(): void {
    const families = [this.#families[4], this.#families[6]];
    const lines = describeProblems([
      ...(this.#blind ? [{ kind: "blind" as const, error: this.#blind }] : []),
      ...unreachable(families, this.#nextHops, this.#graph),
      ...this.#programmer.problems(),
    ]);
    const text = lines.join("\n");
    if (text === this.#problems) return;
    this.#problems = text;
    this.#options.onProblems(lines);
  }

  // What the kernel tells.

  #changed(change: Change): void {
    switch (change.kind) {
      case "route":
        if (change.route.table === RT_TABLE.MAIN && !(change.route.flags & RTM_F_CLONED)) this.#routeChanged(change);
        break;
      case "link":
        if (change.event === "new") {
          const before = this.#links.setLink(change.link);
          if (before?.up === change.link.up && before.name === change.link.name) return;
          if (before?.up !== change.link.up) this.#mayHaveLost({ index: change.link.index });
        } else {
          this.#links.removeLink(change.link.index);
          this.#mayHaveLost({ index: change.link.index });
        }
        this.#linksChanged(true);
        break;
      case "address":
        if (change.event === "new") {
          this.#links.setAddress(change.address);
        } else {
          this.#links.removeAddress(change.address);
          // With the last address go all routes by the link, and those with that source, and no event tells (fib_inetaddr_event).
          if (change.address.address.version === 4) this.#mayHaveLost({ version: 4, index: change.address.index });
        }
        this.#linksChanged(false);
        break;
      case "resync":
        this.#resync();
        break;
    }
  }

  #linksChanged(named: boolean): void {
    this.#local.linksChanged(named);
    this.#resolve = true;
    this.#schedule();
  }

  #routeChanged({ event, route, replaces }: Change & { kind: "route" }): void {
    const { own, others, version } = this.#families[route.destination.version];
    const { destination, metric, tos, protocol } = route;
    const ours = protocol === this.#options.protocol;
    let changed = false;
    if (event === "new") {
      const merges = version === 6 && (route.gateway !== undefined || route.nextHops !== undefined);
      if (replaces || merges) {
        changed = others.remove(destination, (other) => {
          if (other.metric !== metric || other.tos !== tos) return false;
          if (!ours && routeKey(other) === routeKey(route)) return false;
          return replaces || other.gateway !== undefined || other.nextHops !== undefined;
        });
      }
      if (ours) {
        if (own.found(route, true)) this.#meddled(route, own.prefixes.findCidr(destination));
      } else {
        if (replaces) this.#meddled(route, own.lost(route, true));
        if (others.add(route)) changed = true;
      }
    } else if (ours) {
      this.#meddled(route, own.lost(route, false));
    } else {
      const key = routeKey(route);
      changed = others.remove(destination, (other) => routeKey(other) === key);
      // One of several next hops went, or it is told otherwise than it was.
      if (!changed && others.at(destination).some((other) => other.metric === metric))
        this.#listPart({ version, protocol });
    }
    if (!ours) this.#lister.touch(destination);
    if (changed) this.#otherChanged(destination);
    this.#schedule();
  }

  #otherChanged(destination: Cidr): void {
    this.#local.routeChanged(destination);
    this.#families[destination.version].own.queueDestination(destination);
    if (!this.#resolve && this.#nextHops.concerns(destination)) this.#resolve = true;
    this.#costs.routeChanged(destination);
  }

  /** Another changed a route of ours: it is set right, and as our own changes may have crossed the other's, all is compared a little later. */
  #meddled(route: RouteInfo, slot: number): void {
    if (slot < 0) return;
    const indexes = route.nextHops?.map(({ index }) => index) ?? [route.index];
    // IPv6 tells of each route that goes with its link.
    if (route.type === "unicast" && indexes.every((index) => index === undefined || !this.#links.isUp(index))) return;
    this.#programmer.disturbed(route.destination.version, slot);
    this.#listAgain();
  }

  /** Routes come and go with a link, and IPv4 tells of none of them. Nothing is read when none is known. */
  #mayHaveLost(part: Part & { index: number }): void {
    const uses = (index: number | undefined): boolean => index === part.index;
    for (const { others, own, version } of [this.#families[4], this.#families[6]]) {
      if (part.version !== undefined && part.version !== version) continue;
      for (const route of others.all()) {
        if (!uses(route.index) && !route.nextHops?.some(({ index }) => uses(index))) continue;
        this.#listPart(part);
        return;
      }
      if (own.uses((path) => this.#paths.hops(path).some(({ index }) => uses(index)))) {
        this.#listPart(part);
        return;
      }
    }
  }

  // Listings.

  #listPart(part: Part): void {
    const known = this.#parts.some(
      (other) => other.version === part.version && other.index === part.index && other.protocol === part.protocol,
    );
    if (!known) this.#parts.push(part);
    this.#schedule();
  }

  #list(): Promise<void> {
    this.#listing = this.#listAll().finally(() => {
      this.#listing = undefined;
      this.#schedule();
    });
    return this.#listing;
  }

  async #listAll(): Promise<void> {
    try {
      for (let part = this.#parts.shift(); part && !this.#closed; part = this.#parts.shift()) {
        this.#listingPart = part.index !== undefined || part.protocol !== undefined;
        if (!(await this.#lister.list(part))) this.#listAgain();
        this.#resolve = true;
      }
      this.#blind = undefined;
    } catch (error) {
      this.#lostSight(error as Error);
    } finally {
      this.#listingPart = false;
    }
  }

  /** Everything, a little later, and later each time until it is calm for an interval. */
  #listAgain(): void {
    if (this.#closed || this.#againTimer) return;
    this.#againTimer = setTimeout(() => {
      this.#againTimer = undefined;
      this.#listPart({});
    }, this.#againPause);
    this.#againPause = Math.min(this.#againPause * 2, LONGEST_RETRY);
  }

  #resync(): void {
    try {
      this.#links.list(this.#netlink);
    } catch (error) {
      this.#lostSight(error as Error);
      return;
    }
    this.#parts = [{}];
    this.#linksChanged(true);
  }

  /** Events do not come, or the kernel does not answer: everything again, after a pause. */
  #lostSight(error: Error): void {
    if (this.#closed) return;
    this.#blind = error;
    this.#schedule();
    setTimeout(() => {
      if (this.#closed) return;
      try {
        this.#listen();
      } catch (again) {
        this.#lostSight(again as Error);
        return;
      }
      this.#resync();
    }, this.#retry);
  }

  #check(): void {
    this.#families[4].own.calm();
    this.#families[6].own.calm();
    this.#prunePaths();
    if (!this.#againTimer) this.#againPause = this.#retry;
    if (!this.#listing && this.#programmer.idle) this.#resync();
  }

  #prunePaths(): void {
    if (this.#paths.size < MANY_PATHS) return;
    const used = new Set<number>();
    this.#nextHops.pathsInUse(used);
    this.#families[4].own.pathsInUse(used);
    this.#families[6].own.pathsInUse(used);
    this.#paths.keep(used);
  }

  // Where packets to an address go.

  #lookup(address: Address): Step {
    const { own, others } = this.#families[address.version];
    const words = wordsOf(address.version, address.value);
    const other = others.towards(words).next().value as RouteInfo | undefined;
    for (const slot of own.prefixes.covering(words)) {
      const length = own.prefixes.lengthAt(slot);
      if (other && other.destination.length > length) break;
      const set = own.wantedAt(slot);
      if (set === SET.NONE) continue;
      if (other && other.destination.length === length && other.metric <= own.metricAt(slot)) break;
      if (set === SET.BLACKHOLE) return { kind: "end", name: `a blackhole (${formatCidr(own.destinationAt(slot))})` };
      return { kind: "recursive", nextHops: this.#nextHops.addressesOf(set) };
    }
    return other && stepOf(other);
  }

  /** See {@link NextHopCost}. */
  #costOf(nextHop: Address): number {
    if (this.#links.isOwn(nextHop) || isLinkLocal(nextHop)) return COST.UNREACHABLE;
    const { own, others } = this.#families[nextHop.version];
    const words = wordsOf(nextHop.version, nextHop.value);
    const other = others.towards(words).next().value as RouteInfo | undefined;
    for (const slot of own.hasStatics ? own.prefixes.covering(words) : []) {
      const length = own.prefixes.lengthAt(slot);
      if (other && other.destination.length > length) break;
      const set = own.staticAt(slot);
      const path = set === undefined ? PATH.NONE : this.#nextHops.pathOf(set);
      if (path === PATH.NONE) continue;
      if (other && other.destination.length === length && other.metric <= own.metricAt(slot)) break;
      return path === PATH.BLACKHOLE ? COST.UNREACHABLE : COST.BEHIND_ROUTE;
    }
    if (!other) return COST.UNREACHABLE;
    const { kind } = stepOf(other);
    if (kind === "end") return COST.UNREACHABLE;
    return kind === "link" && this.#local.isConnected(other.destination) ? COST.CONNECTED : COST.BEHIND_ROUTE;
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#dueTimer);
    clearTimeout(this.#againTimer);
    clearInterval(this.#checkTimer);
    this.#monitor?.close();
    await this.#listing;
    this.#netlink.close();
    this.#listingNetlink.close();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
