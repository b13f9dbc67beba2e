/**
 * What is wanted at each destination of one IP version, and what the kernel has there of our protocol: two numbers each, in arrays beside the
 * prefixes. {@link OwnRoutes.decide} says what is to be done about the difference. Pure.
 */
import { type Cidr, sameCidr } from "../../ip/index.ts";
import type { RouteInfo } from "../../netlink/index.ts";
import { type NextHops, PATH, type Paths, SET } from "./next-hops.ts";
import type { OtherRoutes } from "./others.ts";
import { PrefixTable, type Version } from "./prefixes.ts";

/** IPv6 has no metric 0: asked for it, the kernel takes this (IP6_RT_PRIO_USER). */
const IPV6_DEFAULT_METRIC = 1024;

const FLAG = { OVERRIDES: 1, QUEUED: 2, SEEN: 4, TOUCHED: 8 } as const;

/** In this order: what is added before what is deleted, so that there is a route at any time. */
export type Operation =
  /** `exclusive`: there should be nothing. `replace`: what is there is ours. */
  | { readonly kind: "exclusive" | "replace"; readonly path: number; readonly metric: number }
  | { readonly kind: "delete"; readonly metric: number };

export interface Decision {
  readonly operations: readonly Operation[];
  /** Another's route of that metric is in the place: nothing is programmed there. */
  readonly taken?: RouteInfo;
}

const NOTHING: Decision = { operations: [] };

export class OwnRoutes {
  readonly prefixes: PrefixTable;
  readonly #nextHops: NextHops;
  readonly #paths: Paths;
  readonly #others: OtherRoutes;
  /** The set of next hops of the learned route, and its metric. */
  #learned: Uint32Array;
  #metric: Uint32Array;
  /** The path and the metric of the kernel's route. */
  #has: Uint32Array;
  #hasMetric: Uint32Array;
  #flags: Uint8Array;
  /** How often another changed it lately. */
  #disturbed: Uint8Array;
  readonly #static = new Map<number, number>();
  /** Metrics of further routes of our protocol at the destination. */
  readonly #strays = new Map<number, number[]>();
  #queue: number[] = [];

  constructor(version: Version, nextHops: NextHops, paths: Paths, others: OtherRoutes) {
    this.prefixes = new PrefixTable(version);
    this.#nextHops = nextHops;
    this.#paths = paths;
    this.#others = others;
    const { capacity } = this.prefixes;
    this.#learned = new Uint32Array(capacity);
    this.#metric = new Uint32Array(capacity);
    this.#has = new Uint32Array(capacity);
    this.#hasMetric = new Uint32Array(capacity);
    this.#flags = new Uint8Array(capacity);
    this.#disturbed = new Uint8Array(capacity);
  }

  #slotOf(destination: Cidr): number {
    const slot = this.prefixes.add(destination);
    const { capacity } = this.prefixes;
    if (capacity === this.#flags.length) return slot;
    const grown32 = (old: Uint32Array): Uint32Array => {
      const array = new Uint32Array(capacity);
      array.set(old);
      return array;
    };
    const grown8 = (old: Uint8Array): Uint8Array => {
      const array = new Uint8Array(capacity);
      array.set(old);
      return array;
    };
    this.#learned = grown32(this.#learned);
    this.#metric = grown32(this.#metric);
    this.#has = grown32(this.#has);
    this.#hasMetric = grown32(this.#hasMetric);
    this.#flags = grown8(this.#flags);
    this.#disturbed = grown8(this.#disturbed);
    return slot;
  }

  /** The set is held by the caller for this table. False: it is as it was, and the set released. */
  setLearned(destination: Cidr, set: number, metric: number, overrides: boolean): boolean {
    const slot = this.#slotOf(destination);
    const flags = overrides ? FLAG.OVERRIDES : 0;
    const before = this.#learned[slot]!;
    if (before === set && this.#metric[slot] === metric && (this.#flags[slot]! & FLAG.OVERRIDES) === flags) {
      this.#nextHops.release(set);
      return false;
    }
    this.#learned[slot] = set;
    this.#metric[slot] = metric;
    this.#flags[slot] = (this.#flags[slot]! & ~FLAG.OVERRIDES) | flags;
    this.#nextHops.release(before);
    this.queue(slot);
    return true;
  }

  /** False: there was none. */
  forgetLearned(destination: Cidr): boolean {
    const slot = this.prefixes.findCidr(destination);
    if (slot < 0 || this.#learned[slot] === SET.NONE) return false;
    this.#nextHops.release(this.#learned[slot]!);
    this.#learned[slot] = SET.NONE;
    this.#flags[slot]! &= ~FLAG.OVERRIDES;
    this.queue(slot);
    return true;
  }

  /** All of them; sets are held by the caller for this table. What came, went or changed. */
  setStatic(routes: readonly { readonly destination: Cidr; readonly set: number }[]): Cidr[] {
    const before = new Map(this.#static);
    this.#static.clear();
    const changed: Cidr[] = [];
    for (const { destination, set } of routes) {
      const slot = this.#slotOf(destination);
      const twice = this.#static.get(slot);
      if (twice !== undefined) this.#nextHops.release(twice);
      this.#static.set(slot, set);
    }
    for (const slot of new Set([...before.keys(), ...this.#static.keys()])) {
      const was = before.get(slot);
      if (was !== undefined) this.#nextHops.release(was);
      if (was === this.#static.get(slot)) continue;
      changed.push(this.prefixes.cidrAt(slot));
      this.queue(slot);
    }
    return changed;
  }

  /** What is wanted there, by the number of its set: a static route goes before a learned one. */
  wantedAt(slot: number): number {
    return this.#static.get(slot) ?? this.#learned[slot]!;
  }

  /** The static route there, by the number of its set. */
  staticAt(slot: number): number | undefined {
    return this.#static.get(slot);
  }

  get hasStatics(): boolean {
    return this.#static.size > 0;
  }

  /** As it goes into the kernel. */
  metricAt(slot: number): number {
    const metric = this.#static.has(slot) ? 0 : this.#metric[slot]!;
    const kernel = this.prefixes.version === 6 && metric === 0 ? IPV6_DEFAULT_METRIC : metric;
    if ((this.#flags[slot]! & FLAG.OVERRIDES) === 0 || this.#static.has(slot)) return kernel;
    let lowest = kernel;
    for (const other of this.#others.at(this.prefixes.cidrAt(slot))) {
      if (other.type === "unicast" && other.metric <= lowest) lowest = other.metric - 1;
    }
    return Math.max(lowest, 1);
  }

  hasAt(slot: number): number {
    return this.#has[slot]!;
  }

  hasMetricAt(slot: number): number {
    return this.#hasMetric[slot]!;
  }

  decide(slot: number, mayRemove: boolean): Decision {
    const set = this.wantedAt(slot);
    const path = this.#nextHops.pathOf(set);
    const has = this.#has[slot]!;
    const strays = this.#strays.get(slot);
    if (path === PATH.NONE) {
      if ((has === PATH.NONE && !strays) || !mayRemove) return NOTHING;
      const metrics = [...(has === PATH.NONE ? [] : [this.#hasMetric[slot]!]), ...(strays ?? [])];
      return { operations: metrics.map((metric) => ({ kind: "delete", metric })) };
    }
    const metric = this.metricAt(slot);
    const there = has !== PATH.NONE && this.#hasMetric[slot] === metric;
    const gone = [...(has !== PATH.NONE && !there ? [this.#hasMetric[slot]!] : []), ...(strays ?? [])].filter(
      (other) => other !== metric,
    );
    const deletions = gone.map((other): Operation => ({ kind: "delete", metric: other }));
    const other = this.#othersAt(slot).find((route) => route.metric === metric && !route.tos);
    if (other) {
      if (there) deletions.push({ kind: "delete", metric });
      const agrees = path === PATH.BLACKHOLE && other.type === "blackhole";
      return { operations: deletions, ...(!agrees && { taken: other }) };
    }
    if (there && has === path && deletions.length === 0) return NOTHING;
    if (there && has === path) return { operations: deletions };
    const kind = there || strays?.includes(metric) ? "replace" : "exclusive";
    return { operations: [{ kind, path, metric }, ...deletions] };
  }

  #othersAt(slot: number): readonly RouteInfo[] {
    return this.#others.prefixes.size === 0 ? [] : this.#others.at(this.prefixes.cidrAt(slot));
  }

  /** The kernel did it. */
  done(slot: number, operation: Operation): void {
    this.#flags[slot]! |= FLAG.TOUCHED;
    if (operation.kind === "delete") {
      this.#drop(slot, operation.metric);
      return;
    }
    if (this.#strays.get(slot)?.includes(operation.metric)) this.#dropStray(slot, operation.metric);
    if (this.#has[slot] !== PATH.NONE && this.#hasMetric[slot] !== operation.metric) {
      this.#addStray(slot, this.#hasMetric[slot]!); // until the deletion that follows
    }
    this.#has[slot] = operation.path;
    this.#hasMetric[slot] = operation.metric;
  }

  /** The kernel refused, and what it has there is not sure any more. */
  unsure(slot: number, metric: number): void {
    this.#flags[slot]! |= FLAG.TOUCHED;
    if (this.#has[slot] !== PATH.NONE && this.#hasMetric[slot] === metric) this.#has[slot] = PATH.FOREIGN;
  }

  /** A route of our protocol is in the kernel: by a listing or, `event`, as another made it. True: that is news. */
  found(route: RouteInfo, event: boolean): boolean {
    const slot = this.#slotOf(route.destination);
    const flags = this.#flags[slot]!;
    if (!event && flags & FLAG.TOUCHED) return false;
    this.#flags[slot] = flags | (event ? FLAG.TOUCHED : FLAG.SEEN);
    const path = this.#paths.ofRoute(route);
    if (this.#has[slot] !== PATH.NONE && this.#hasMetric[slot] === route.metric) {
      if (this.#has[slot] === path) return false;
      this.#has[slot] = path;
    } else if (this.#has[slot] === PATH.NONE) {
      this.#has[slot] = path;
      this.#hasMetric[slot] = route.metric;
    } else if (this.#strays.get(slot)?.includes(route.metric)) {
      return false;
    } else {
      this.#addStray(slot, route.metric);
    }
    this.queue(slot);
    return true;
  }

  /** Another removed a route of our protocol, or put its own in the place (`route` is then without a path). -1: that is no news. */
  lost(route: RouteInfo, replaced: boolean): number {
    const slot = this.prefixes.findCidr(route.destination);
    if (slot < 0) return -1;
    const { metric } = route;
    if (this.#strays.get(slot)?.includes(metric)) {
      this.#flags[slot]! |= FLAG.TOUCHED;
      this.#dropStray(slot, metric);
      this.queue(slot);
      return slot;
    }
    if (this.#has[slot] === PATH.NONE || this.#hasMetric[slot] !== metric) return -1;
    this.#flags[slot]! |= FLAG.TOUCHED;
    // Of several next hops IPv6 lets one be deleted: what is left is not ours.
    const part =
      !replaced && this.#paths.hops(this.#has[slot]!).length > 1 && !route.nextHops && route.type === "unicast";
    this.#has[slot] = part ? PATH.FOREIGN : PATH.NONE;
    this.queue(slot);
    return slot;
  }

  #drop(slot: number, metric: number): void {
    if (this.#strays.get(slot)?.includes(metric)) this.#dropStray(slot, metric);
    else if (this.#hasMetric[slot] === metric) this.#has[slot] = PATH.NONE;
  }

  #addStray(slot: number, metric: number): void {
    const strays = this.#strays.get(slot) ?? [];
    if (!strays.includes(metric)) strays.push(metric);
    this.#strays.set(slot, strays);
  }

  #dropStray(slot: number, metric: number): void {
    const left = this.#strays.get(slot)!.filter((other) => other !== metric);
    if (left.length > 0) this.#strays.set(slot, left);
    else this.#strays.delete(slot);
  }

  /** From here until {@link endListing} it is noted what a listing shows, and what changed meanwhile. */
  beginListing(): void {
    for (let slot = 0; slot < this.prefixes.end; slot++) this.#flags[slot]! &= ~(FLAG.SEEN | FLAG.TOUCHED);
  }

  /** What the listing should have shown and did not is not there. `listed`: which paths it was about. How many are lost. */
  endListing(listed: (path: number) => boolean): number[] {
    const lost: number[] = [];
    for (let slot = 0; slot < this.prefixes.end; slot++) {
      if (!this.prefixes.isUsed(slot) || this.#flags[slot]! & (FLAG.SEEN | FLAG.TOUCHED)) continue;
      if (this.#has[slot] === PATH.NONE || !listed(this.#has[slot]!)) continue;
      this.#has[slot] = PATH.NONE;
      this.#strays.delete(slot);
      lost.push(slot);
      this.queue(slot);
    }
    return lost;
  }

  queue(slot: number): void {
    if (this.#flags[slot]! & FLAG.QUEUED) return;
    this.#flags[slot]! |= FLAG.QUEUED;
    this.#queue.push(slot);
  }

  queueDestination(destination: Cidr): void {
    const slot = this.prefixes.findCidr(destination);
    if (slot >= 0) this.queue(slot);
  }

  /** Destinations of these sets, which resolve to something else now. */
  queueSets(sets: ReadonlySet<number>): void {
    if (sets.size === 0) return;
    const statics = this.#static;
    for (let slot = 0; slot < this.prefixes.end; slot++) {
      if (!this.prefixes.isUsed(slot)) continue;
      const set = statics.size > 0 ? this.wantedAt(slot) : this.#learned[slot]!;
      if (sets.has(set)) this.queue(slot);
    }
  }

  /** What is in the kernel and not as wanted. */
  queueDifferent(): void {
    for (let slot = 0; slot < this.prefixes.end; slot++) {
      if (this.prefixes.isUsed(slot) && this.#nextHops.pathOf(this.wantedAt(slot)) !== this.#has[slot])
        this.queue(slot);
    }
    for (const slot of this.#strays.keys()) this.queue(slot);
  }

  /** Adds the paths of the kernel's routes. */
  pathsInUse(used: Set<number>): void {
    for (let slot = 0; slot < this.prefixes.end; slot++) used.add(this.#has[slot]!);
  }

  /** Whether the kernel has a route of ours with such a path. */
  uses(isMeant: (path: number) => boolean): boolean {
    const known = new Map<number, boolean>();
    for (let slot = 0; slot < this.prefixes.end; slot++) {
      const path = this.#has[slot]!;
      let meant = known.get(path);
      if (meant === undefined) {
        meant = isMeant(path);
        known.set(path, meant);
      }
      if (meant && this.prefixes.isUsed(slot)) return true;
    }
    return false;
  }

  get queued(): number {
    return this.#queue.length;
  }

  /** The next in the queue, at most `count`. They are not queued any more. */
  take(count: number): readonly number[] {
    const { length } = this.#queue;
    const slots = length <= count ? this.#queue : this.#queue.slice(length - count);
    if (length <= count) this.#queue = [];
    else this.#queue.length = length - count;
    for (const slot of slots) this.#flags[slot]! &= ~FLAG.QUEUED;
    return slots;
  }

  /** Lets go of a slot at which nothing is and nothing is wanted. */
  tidy(slot: number): void {
    if (this.#learned[slot] !== SET.NONE || this.#static.has(slot) || this.#has[slot] !== PATH.NONE) return;
    if (this.#strays.has(slot) || this.#flags[slot]! & FLAG.QUEUED || !this.prefixes.isUsed(slot)) return;
    this.#flags[slot] = 0;
    this.#disturbed[slot] = 0;
    this.prefixes.remove(slot);
  }

  /** Counts that another changed the route; how often lately. */
  disturb(slot: number): number {
    this.#disturbed[slot] = Math.min(this.#disturbed[slot]! + 1, 255);
    return this.#disturbed[slot]!;
  }

  disturbedAt(slot: number): number {
    return this.#disturbed[slot]!;
  }

  /** Time heals. */
  calm(): void {
    for (let slot = 0; slot < this.prefixes.end; slot++) this.#disturbed[slot]! >>= 1;
  }

  destinationAt(slot: number): Cidr {
    return this.prefixes.cidrAt(slot);
  }

  /** Whether the slot is this destination's still: slots are used again. */
  is(slot: number, destination: Cidr): boolean {
    return this.prefixes.isUsed(slot) && sameCidr(this.prefixes.cidrAt(slot), destination);
  }
}
