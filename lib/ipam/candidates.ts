import { type Cidr, cidrSize, subnetAt } from "../ip/index.ts";
import type { Pool } from "./pools.ts";
import type { Reservations } from "./reservations.ts";

/** FNV-1 (not 1a), 32 bits, of the UTF-8 bytes: the seed upstream makes of a host's name. */
export function fnv1(text: string): number {
  let hash = 0x811c9dc5;
  for (const byte of Buffer.from(text)) hash = (Math.imul(hash, 0x01000193) ^ byte) >>> 0;
  return hash;
}

/** 128 bits that depend on every bit of the seed (splitmix64 twice). */
function widen(seed: bigint): bigint {
  const mask = (1n << 64n) - 1n;
  let state = seed & mask;
  const next = () => {
    state = (state + 0x9e3779b97f4a7c15n) & mask;
    let z = state;
    z = ((z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n) & mask;
    z = ((z ^ (z >> 27n)) * 0x94d049bb133111ebn) & mask;
    return z ^ (z >> 31n);
  };
  return (next() << 64n) | next();
}

/** How many blocks a pool is cut into. */
export function blockCount(pool: Pool): bigint {
  const bits = pool.cidr.version === 4 ? 32 : 128;
  return pool.blockSize < pool.cidr.length ? 0n : cidrSize(pool.cidr) >> BigInt(bits - pool.blockSize);
}

/**
 * The index of the block at which a host begins to look. The same host begins at the same block, so that additions
 * that run at the same time want the same new block and not one each; different hosts begin apart, so that they do not
 * compete. Upstream draws it from Go's generator, which only matters as a spread: claims are settled by compare-and-swap.
 * Blocks of one address have no use for that: there every attempt begins somewhere else.
 */
export function startIndex(pool: Pool, host: string, random: () => number): bigint {
  const count = blockCount(pool);
  if (count <= 1n) return 0n;
  const single = pool.blockSize === (pool.cidr.version === 4 ? 32 : 128);
  const seed = single ? BigInt(Math.floor(random() * 2 ** 32)) : BigInt(fnv1(host));
  return widen(seed) % count;
}

/** The blocks of a pool from `start` once around, without those that are reserved as a whole. */
export function* candidates(pool: Pool, start: bigint, reservations: Reservations): Generator<Cidr> {
  const count = blockCount(pool);
  const size = cidrSize({ ...pool.cidr, length: pool.blockSize });
  for (const [from, to] of [
    [start, count],
    [0n, start],
  ] as const) {
    for (let index = from; index < to; index++) {
      const block = subnetAt(pool.cidr, pool.blockSize, index);
      const end = reservations.coverEnd(block);
      if (end === undefined) yield block;
      // A reservation may cover more blocks than anybody could walk through.
      else index = (end + 1n - pool.cidr.base) / size - 1n;
    }
  }
}

/** `items` sorted by address, beginning at the block with the index `start`. */
export function rotated<T extends { readonly cidr: Cidr }>(items: readonly T[], pool: Pool, start: bigint): T[] {
  const first = subnetAt(pool.cidr, pool.blockSize, start).base;
  const sorted = [...items].sort((a, b) => (a.cidr.base < b.cidr.base ? -1 : a.cidr.base > b.cidr.base ? 1 : 0));
  const split = sorted.findIndex((item) => item.cidr.base >= first);
  return split <= 0 ? sorted : [...sorted.slice(split), ...sorted.slice(0, split)];
}
