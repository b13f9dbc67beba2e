/** Carries decisions out: in batches, in slices of time, and again later what failed or what another keeps changing. */
import type { Cidr } from "../../ip/index.ts";
import { type Netlink, type NetlinkError, type Request, routeAdd, routeDelete } from "../../netlink/index.ts";
import type { Operation, OwnRoutes } from "./learned.ts";
import type { NextHops, Paths } from "./next-hops.ts";
import type { OtherRoutes } from "./others.ts";
import type { Version } from "./prefixes.ts";
import type { KernelProblem } from "./problems.ts";

/** How long other work waits for a slice, in milliseconds, and how many routes are taken from the queue at once. */
const SLICE = 10;
const CHUNK = 500;
/** However often. In milliseconds. */
const LONGEST_PAUSE = 30_000;
/** From so many times on it is a problem that somebody should know of. */
const CONTESTED = 4;
const ESRCH = 3;
const ENOENT = 2;
const EEXIST = 17;

/** Everything of one IP version. */
export interface Family {
  readonly version: Version;
  readonly own: OwnRoutes;
  readonly others: OtherRoutes;
}

interface Failure {
  readonly times: number;
  readonly error: Error;
}

interface Step {
  readonly slot: number;
  readonly operation: Operation;
  /** What is to be done at the slot after it. */
  readonly rest: readonly Operation[];
}

export class Programmer {
  readonly #netlink: Netlink;
  readonly #protocol: number;
  readonly #paths: Paths;
  readonly #pause: number;
  readonly #onUnknown: () => void;
  readonly #state: readonly FamilyState[];
  mayRemove = false;

  /** `pause`: the first, after a refusal and between repairs of what another keeps changing; `onUnknown`: the kernel has something that we did not know of. */
  constructor(
    netlink: Netlink,
    protocol: number,
    families: readonly Family[],
    paths: Paths,
    pause: number,
    onUnknown: () => void,
  ) {
    this.#netlink = netlink;
    this.#protocol = protocol;
    this.#paths = paths;
    this.#pause = pause;
    this.#onUnknown = onUnknown;
    this.#state = families.map((family) => ({
      ...family,
      failures: new Map(),
      taken: new Map(),
      due: new Map(),
      contested: new Set(),
    }));
  }

  get idle(): boolean {
    return this.#state.every(({ own }) => own.queued === 0);
  }

  /** Works for a while. True: there is nothing left to do for now. */
  slice(now = performance.now()): boolean {
    const end = now + SLICE;
    for (const family of this.#state) {
      while (family.own.queued > 0) {
        if (performance.now() > end) return false;
        this.#chunk(family, now);
      }
    }
    return true;
  }

  #chunk(family: FamilyState, now: number): void {
    const { own } = family;
    const slots = own.take(CHUNK);
    const steps: Step[] = [];
    for (const slot of slots) {
      if ((family.due.get(slot) ?? 0) > now) continue;
      family.due.delete(slot);
      const { operations, taken } = own.decide(slot, this.mayRemove);
      if (taken) family.taken.set(slot, { kind: "taken", destination: own.destinationAt(slot), by: taken });
      else family.taken.delete(slot);
      const [operation, ...rest] = operations;
      if (operation) steps.push({ slot, operation, rest });
      else family.failures.delete(slot);
    }
    // What is deleted waits for what is added in its stead.
    for (let round = steps; round.length > 0; ) round = this.#carryOut(family, round, now);
    for (const slot of slots) {
      own.tidy(slot);
      if (!own.prefixes.isUsed(slot)) {
        family.failures.delete(slot);
        family.due.delete(slot);
        family.taken.delete(slot);
      }
    }
  }

  /** What is to be done next at the same destinations. */
  #carryOut(family: FamilyState, steps: readonly Step[], now: number): Step[] {
    const results = this.#netlink.batch(steps.map(({ slot, operation }) => this.#request(family.own, slot, operation)));
    const next: Step[] = [];
    for (const [index, { slot, operation, rest }] of steps.entries()) {
      const error = results[index]?.error;
      if (error && !isGone(operation, error)) {
        this.#failed(family, slot, operation, error, now);
        continue;
      }
      family.own.done(slot, operation);
      const [following, ...more] = rest;
      if (following) next.push({ slot, operation: following, rest: more });
      else family.failures.delete(slot);
    }
    return next;
  }

  #request(own: OwnRoutes, slot: number, operation: Operation): Request {
    const destination = own.destinationAt(slot);
    const protocol = this.#protocol;
    const { metric } = operation;
    // Of whatever type: "unspec" matches each.
    if (operation.kind === "delete") return routeDelete({ destination, protocol, metric, type: "unspec" });
    const route = { destination, protocol, metric, ...this.#paths.change(operation.path) };
    return routeAdd(route, operation.kind);
  }

  #failed(family: FamilyState, slot: number, operation: Operation, error: NetlinkError, now: number): void {
    const times = (family.failures.get(slot)?.times ?? 0) + 1;
    family.failures.set(slot, { times, error });
    family.due.set(slot, now + this.#pauseAfter(times));
    if (operation.kind === "replace") family.own.unsure(slot, operation.metric);
    if (operation.kind === "exclusive" && error.errno === EEXIST) this.#onUnknown();
  }

  /** Another changed the route of a destination: the first time it is repaired at once. */
  disturbed(family: Version, slot: number, now = performance.now()): void {
    const state = this.#of(family);
    const times = state.own.disturb(slot);
    if (times >= CONTESTED) state.contested.add(slot);
    if (times > 1) state.due.set(slot, Math.max(state.due.get(slot) ?? 0, now + this.#pauseAfter(times - 1)));
  }

  /** Something else is wanted there: what was refused before says nothing about it. */
  hurry(version: Version, destination: Cidr): void {
    const { own, failures, due } = this.#of(version);
    if (failures.size === 0) return;
    const slot = own.prefixes.findCidr(destination);
    if (failures.delete(slot)) due.delete(slot);
  }

  /** What failed may succeed now: links, addresses or routes are others. */
  retryFailed(): void {
    for (const { own, failures, due } of this.#state) {
      for (const slot of failures.keys()) {
        due.delete(slot);
        own.queue(slot);
      }
    }
  }

  /** Queues what is due; when the next is, in milliseconds from now. */
  queueDue(now = performance.now()): number | undefined {
    let next: number | undefined;
    for (const { own, due } of this.#state) {
      for (const [slot, at] of due) {
        if (at <= now) own.queue(slot);
        else next = Math.min(next ?? Number.POSITIVE_INFINITY, at - now);
      }
    }
    return next;
  }

  *problems(): Generator<KernelProblem> {
    for (const { own, failures, taken, contested } of this.#state) {
      yield* taken.values();
      for (const [slot, { error }] of failures) {
        if (!taken.has(slot)) yield { kind: "refused", destination: own.destinationAt(slot), error };
      }
      for (const slot of contested) {
        const times = own.prefixes.isUsed(slot) ? own.disturbedAt(slot) : 0;
        if (times >= CONTESTED) yield { kind: "contested", destination: own.destinationAt(slot), times };
        else contested.delete(slot);
      }
    }
  }

  #pauseAfter(times: number): number {
    return Math.min(this.#pause * 2 ** (times - 1), LONGEST_PAUSE);
  }

  #of(version: Version): FamilyState {
    return this.#state.find((family) => family.version === version)!;
  }
}

interface FamilyState extends Family {
  readonly failures: Map<number, Failure>;
  readonly taken: Map<number, KernelProblem>;
  /** Not before then, by performance.now(). */
  readonly due: Map<number, number>;
  readonly contested: Set<number>;
}

/** What is to be deleted is not there. */
function isGone(operation: Operation, error: NetlinkError): boolean {
  return operation.kind === "delete" && (error.errno === ESRCH || error.errno === ENOENT);
}

/** Destinations of next hops that lead nowhere: what {@link NextHops.unresolved} says, with the destinations. */
export function unreachable(
  families: readonly Family[],
  nextHops: NextHops,
  graph: Parameters<NextHops["unresolved"]>[0],
): KernelProblem[] {
  const bySet = new Map<number, { nextHop: Parameters<typeof textKey>[0]; reason: string }[]>();
  for (const { set, nextHop, reason } of nextHops.unresolved(graph)) {
    const known = bySet.get(set);
    if (known) known.push({ nextHop, reason });
    else bySet.set(set, [{ nextHop, reason }]);
  }
  if (bySet.size === 0) return [];
  const found = new Map<
    string,
    { nextHop: Parameters<typeof textKey>[0]; reason: string; destination: Cidr; destinations: number }
  >();
  for (const { own } of families) {
    // The least destination of each set stands for all.
    const least = new Map<number, { slot: number; count: number }>();
    for (let slot = 0; slot < own.prefixes.end; slot++) {
      if (!own.prefixes.isUsed(slot)) continue;
      const set = own.wantedAt(slot);
      if (!bySet.has(set)) continue;
      const known = least.get(set);
      if (!known) least.set(set, { slot, count: 1 });
      else {
        known.count++;
        if (own.prefixes.compare(slot, known.slot) < 0) known.slot = slot;
      }
    }
    for (const [set, { slot, count }] of least) {
      for (const { nextHop, reason } of bySet.get(set)!) {
        const key = `${textKey(nextHop)} ${reason}`;
        const known = found.get(key);
        if (known) known.destinations += count;
        else found.set(key, { nextHop, reason, destination: own.destinationAt(slot), destinations: count });
      }
    }
  }
  return [...found.values()].map((each) => ({ kind: "unreachable", ...each }));
}

function textKey({ version, value }: { version: Version; value: bigint }): string {
  return `${version}/${value}`;
}
