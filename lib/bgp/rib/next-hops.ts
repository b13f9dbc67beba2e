/**
 * The next hops that a choice was made between, each once, with what it costs to get there. Both families' tables share them: IPv4 prefixes may have
 * IPv6 next hops (RFC 8950). Sets of attributes refer to them (attributes.ts), so that a path needs no room for it.
 */
import type { Address } from "../../ip/index.ts";
import type { NextHopCost, NextHopCosts } from "./types.ts";

/** The cost of a next hop that nothing leads to. */
export const UNREACHABLE = Number.POSITIVE_INFINITY;

export interface NextHop {
  readonly address: Address;
  cost: number;
  /** The {@link NextHops.age} when that became so. */
  changed: number;
  /** Sets of attributes with it. */
  references: number;
}

export class NextHops {
  /** How often costs changed. */
  age = 0;
  readonly #costs: NextHopCosts;
  readonly #byKey = new Map<number | bigint, NextHop>();

  constructor(costs: NextHopCosts) {
    this.#costs = costs;
  }

  get size(): number {
    return this.#byKey.size;
  }

  /** Referred to once more. */
  refer(address: Address): NextHop {
    const key = keyOf(address);
    let nextHop = this.#byKey.get(key);
    if (!nextHop) {
      nextHop = { address, cost: this.#costs.follow(address), changed: 0, references: 0 };
      this.#byKey.set(key, nextHop);
    }
    nextHop.references++;
    return nextHop;
  }

  release(nextHop: NextHop): void {
    if (--nextHop.references > 0) return;
    this.#byKey.delete(keyOf(nextHop.address));
    this.#costs.unfollow(nextHop.address);
  }

  /** Whether any of them is known and costs something else now: then those have the {@link age} of now. */
  change(changes: readonly NextHopCost[]): boolean {
    const age = this.age + 1;
    for (const { nextHop: address, cost } of changes) {
      const nextHop = this.#byKey.get(keyOf(address));
      if (!nextHop || nextHop.cost === cost) continue;
      nextHop.cost = cost;
      nextHop.changed = age;
      this.age = age;
    }
    return this.age === age;
  }

  /** Follows none any more. */
  close(): void {
    for (const { address } of this.#byKey.values()) this.#costs.unfollow(address);
    this.#byKey.clear();
  }
}

const keyOf = ({ version, value }: Address): number | bigint => (version === 4 ? Number(value) : value + (1n << 128n));
