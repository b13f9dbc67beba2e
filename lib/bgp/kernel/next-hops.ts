/** Which next hops are in use, together with which others, and what they resolve to at present. Pure: the graph is the caller's. */
import { type Address, compareAddresses } from "../../ip/index.ts";
import { type RouteChange, type RouteInfo, RT_SCOPE } from "../../netlink/index.ts";
import { AddressIndex, type Version } from "./prefixes.ts";
import { compareHops, type Graph, type Hop, hopKey, type Resolution, resolveNextHop } from "./resolve.ts";

/** Numbers of paths with a meaning of their own. */
export const PATH = {
  /** No route. */
  NONE: 0,
  BLACKHOLE: 1,
  /** A route of our protocol that we would not have made: with weights, an MTU, of another type. */
  FOREIGN: 2,
} as const;

/** Numbers of sets of next hops with a meaning of their own. */
export const SET = { NONE: 0, BLACKHOLE: 1 } as const;

/** What leads somewhere, each once, as a number: routes of the kernel are compared by it. */
export class Paths {
  readonly #hops: (readonly Hop[])[] = [[], [], []];
  readonly #byKey = new Map<string, number>();
  readonly #free: number[] = [];

  get size(): number {
    return this.#byKey.size;
  }

  /** Forgets the others: links come and go under new numbers, and so do the paths by them. */
  keep(used: ReadonlySet<number>): void {
    for (const [key, path] of this.#byKey) {
      if (used.has(path)) continue;
      this.#byKey.delete(key);
      this.#hops[path] = [];
      this.#free.push(path);
    }
  }

  of(hops: readonly Hop[]): number {
    if (hops.length === 0) return PATH.NONE;
    const sorted = [...hops].sort(compareHops);
    const key = sorted.map(hopKey).join();
    const known = this.#byKey.get(key);
    if (known !== undefined) return known;
    const path = this.#free.pop() ?? this.#hops.length;
    this.#byKey.set(key, path);
    this.#hops[path] = sorted;
    return path;
  }

  /** Of a route in the kernel. */
  ofRoute(route: RouteInfo): number {
    const { type, nextHops, gateway, index, onlink } = route;
    if (route.tos || route.source || route.mtu !== undefined) return PATH.FOREIGN;
    if (type === "blackhole") return PATH.BLACKHOLE;
    if (type !== "unicast") return PATH.FOREIGN;
    if (route.destination.version === 4 && route.scope !== RT_SCOPE.UNIVERSE) return PATH.FOREIGN;
    if (nextHops?.some(({ weight = 1, index }) => weight !== 1 || index === undefined)) return PATH.FOREIGN;
    if (nextHops) return this.of(nextHops.map((hop) => ({ ...hop, index: hop.index ?? 0 })));
    return this.of([{ index: index ?? 0, ...(gateway && { gateway }), ...(onlink && { onlink }) }]);
  }

  /** What a request has to have, beside destination and metric. */
  change(path: number): Pick<RouteChange, "type" | "gateway" | "index" | "onlink" | "nextHops"> {
    if (path === PATH.BLACKHOLE) return { type: "blackhole" };
    const hops = this.#hops[path] ?? [];
    return hops.length === 1 ? hops[0]! : { nextHops: hops };
  }

  hops(path: number): readonly Hop[] {
    return this.#hops[path] ?? [];
  }
}

interface NextHop {
  readonly address: Address;
  result: Resolution | undefined;
  refs: number;
}

interface HopSet {
  readonly key: string;
  readonly version: Version;
  readonly nextHops: readonly Address[];
  /** Only what is on a network of the node counts: BIRD's static routes ask for neighbours. */
  readonly direct: boolean;
  path: number;
  refs: number;
}

export interface Unresolved {
  readonly set: number;
  readonly nextHop: Address;
  readonly reason: string;
}

const keyOf = ({ version, value }: Address): number | bigint => (version === 4 ? Number(value) : value + (1n << 128n));

export class NextHops {
  readonly #paths: Paths;
  readonly #hops = new Map<number | bigint, NextHop>();
  readonly #sets: (HopSet | undefined)[] = [undefined, undefined];
  readonly #setIds = new Map<string, number>();
  readonly #freeSets: number[] = [];
  /** Sets whose path is yet to be found. */
  readonly #fresh = new Set<number>();
  readonly #index = { 4: new AddressIndex(4), 6: new AddressIndex(6) };
  #indexed = true;

  constructor(paths: Paths) {
    this.#paths = paths;
  }

  /** The set's number, held once more. */
  hold(version: Version, nextHops: readonly Address[], direct = false): number {
    const sorted = nextHops.length > 1 ? [...nextHops].sort(compareAddresses) : nextHops;
    let key = direct ? `${version}d` : `${version}`;
    for (const hop of sorted) key += `,${keyOf(hop)}`;
    let id = this.#setIds.get(key);
    if (id === undefined) {
      id = this.#freeSets.pop() ?? this.#sets.length;
      this.#sets[id] = { key, version, nextHops: sorted, direct, path: PATH.NONE, refs: 0 };
      this.#setIds.set(key, id);
      for (const address of sorted) this.#holdHop(address);
      this.#fresh.add(id);
    }
    this.#sets[id]!.refs++;
    return id;
  }

  release(id: number): void {
    const set = this.#sets[id];
    if (!set || --set.refs > 0) return;
    this.#sets[id] = undefined;
    this.#setIds.delete(set.key);
    this.#fresh.delete(id);
    this.#freeSets.push(id);
    for (const address of set.nextHops) {
      const hop = this.#hops.get(keyOf(address))!;
      if (--hop.refs === 0) {
        this.#hops.delete(keyOf(address));
        this.#indexed = false;
      }
    }
  }

  #holdHop(address: Address): void {
    const key = keyOf(address);
    const hop = this.#hops.get(key) ?? { address, result: undefined, refs: 0 };
    if (hop.refs++ > 0) return;
    this.#hops.set(key, hop);
    this.#indexed = false;
  }

  addressesOf(id: number): readonly Address[] {
    return this.#sets[id]?.nextHops ?? [];
  }

  pathOf(id: number): number {
    return id === SET.BLACKHOLE ? PATH.BLACKHOLE : (this.#sets[id]?.path ?? PATH.NONE);
  }

  /** Adds the paths that sets resolve to. */
  pathsInUse(used: Set<number>): void {
    for (const set of this.#sets) if (set) used.add(set.path);
  }

  /** Whether a route to there may change what a next hop resolves to. */
  concerns(destination: { version: Version; base: bigint; length: number }): boolean {
    if (!this.#indexed) {
      for (const version of [4, 6] as const) {
        this.#index[version].set(this.#hops.values().map(({ address }) => address));
      }
      this.#indexed = true;
    }
    return this.#index[destination.version].anyIn(destination);
  }

  get hasFresh(): boolean {
    return this.#fresh.size > 0;
  }

  /** Resolves anew: everything, or only what was not yet. The sets whose path is another now. */
  resolve(graph: Graph, everything: boolean): Set<number> {
    if (everything) for (const hop of this.#hops.values()) hop.result = undefined;
    const changed = new Set<number>();
    const ids = everything ? this.#sets.keys() : this.#fresh;
    for (const id of ids) {
      const set = this.#sets[id];
      if (!set) continue;
      const path = this.#paths.of(this.#hopsOf(set, graph));
      if (path === set.path) continue;
      set.path = path;
      changed.add(id);
    }
    this.#fresh.clear();
    return changed;
  }

  #hopsOf(set: HopSet, graph: Graph): readonly Hop[] {
    const results = set.nextHops.map((address) => this.#resultOf(set, address, graph).hops);
    if (results.length === 1) return results[0]!;
    const hops = new Map<string, Hop>();
    for (const hop of results.flat()) hops.set(hopKey(hop), hop);
    return [...hops.values()];
  }

  #resultOf(set: HopSet, address: Address, graph: Graph): Resolution {
    if (set.version === 6 && address.version === 4) {
      return { hops: [], problem: "it is IPv4, which the kernel takes for IPv4 routes only" };
    }
    if (set.direct && graph.lookup(address)?.kind !== "link") {
      return { hops: [], problem: "it is not on a network of this node" };
    }
    const hop = this.#hops.get(keyOf(address))!;
    hop.result ??= resolveNextHop(address, graph);
    return hop.result;
  }

  /** What leads nowhere, and why. */
  *unresolved(graph: Graph): Generator<Unresolved> {
    for (const [id, set] of this.#sets.entries()) {
      for (const nextHop of set?.nextHops ?? []) {
        const { problem } = this.#resultOf(set!, nextHop, graph);
        if (problem !== undefined) yield { set: id, nextHop, reason: problem };
      }
    }
  }
}
