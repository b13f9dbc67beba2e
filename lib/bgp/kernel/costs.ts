/**
 * What BGP next hops cost, for its choice between paths (RFC 4271 9.1.2.1), as BIRD 2 has it (nest/rt-table.c, rt_update_hostentry and rt_get_igp_metric):
 * by connected networks, others' routes and our static ones. Learned routes do not count, or what is chosen would depend on what was chosen.
 */
import { type Address, formatAddress } from "../../ip/index.ts";
import { AddressIndex, type Version } from "./prefixes.ts";
import type { NextHopCost } from "./types.ts";

export const COST = {
  /** On a network of the node. */
  CONNECTED: 0,
  /** Behind a route, of whose length nothing is known: all of them are alike. */
  BEHIND_ROUTE: 1,
  UNREACHABLE: Number.POSITIVE_INFINITY,
} as const;

/** Next hops between two looks at the clock. */
const CHUNK = 64;

interface Followed {
  readonly nextHop: Address;
  /** As it was told last. */
  cost: number;
}

/** The next hops that somebody follows. What they cost is the caller's to say. */
export class Costs {
  readonly #costOf: (nextHop: Address) => number;
  readonly #followed = new Map<string, Followed>();
  readonly #index = { 4: new AddressIndex(4), 6: new AddressIndex(6) };
  #indexed = true;
  #outdated = false;
  #walk: Iterator<Followed> | undefined;

  constructor(costOf: (nextHop: Address) => number) {
    this.#costOf = costOf;
  }

  follow(nextHop: Address): number {
    const key = formatAddress(nextHop);
    const known = this.#followed.get(key);
    if (known) return known.cost;
    const cost = this.#costOf(nextHop);
    this.#followed.set(key, { nextHop, cost });
    this.#indexed = false;
    return cost;
  }

  unfollow(nextHop: Address): void {
    if (this.#followed.delete(formatAddress(nextHop))) this.#indexed = false;
  }

  /** A route to there is another. */
  routeChanged(destination: { readonly version: Version; readonly base: bigint; readonly length: number }): void {
    if (this.#outdated) return;
    if (!this.#indexed) {
      for (const version of [4, 6] as const) {
        this.#index[version].set(this.#followed.values().map(({ nextHop }) => nextHop));
      }
      this.#indexed = true;
    }
    if (this.#index[destination.version].anyIn(destination)) this.#outdated = true;
  }

  /** Any of them may cost something else. */
  outdate(): void {
    this.#outdated = true;
  }

  /** Whether there is something to look up again. */
  get pending(): boolean {
    return this.#outdated || this.#walk !== undefined;
  }

  /** Looks up again for so many milliseconds, and says what is another. */
  slice(milliseconds: number): NextHopCost[] {
    // What was looked up before the last change may be wrong by now.
    if (this.#outdated) this.#walk = this.#followed.values();
    this.#outdated = false;
    const changes: NextHopCost[] = [];
    const until = performance.now() + milliseconds;
    for (let i = 1; this.#walk; i++) {
      const { value: followed, done } = this.#walk.next();
      if (done) {
        this.#walk = undefined;
        break;
      }
      const cost = this.#costOf(followed.nextHop);
      if (cost !== followed.cost) {
        followed.cost = cost;
        changes.push({ nextHop: followed.nextHop, cost });
      }
      if (i % CHUNK === 0 && performance.now() >= until) break;
    }
    return changes;
  }
}
