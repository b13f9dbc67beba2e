import type { IPAMHandleSpec } from "../api/ipamhandle.ts";

/**
 * A handle counts the addresses its user holds in each block. On a datastore without transactions the count is raised
 * before the block is written and lowered after it, so it may be too high for a moment, never too low: whoever releases
 * the handle always finds every block.
 */

/** Counts `count` more addresses of a block. */
export function increment(spec: IPAMHandleSpec, cidr: string, count: number): void {
  // What was written wrongly may be below none.
  if (count > 0) spec.block[cidr] = Math.max(0, spec.block[cidr] ?? 0) + count;
}

/** Counts `count` fewer; a block of which nothing is left is dropped. What was counted wrongly never goes below none. */
export function decrement(spec: IPAMHandleSpec, cidr: string, count: number): void {
  const left = (spec.block[cidr] ?? 0) - count;
  if (left > 0) spec.block[cidr] = left;
  else delete spec.block[cidr];
}

/** Whether it holds nothing and can be deleted. */
export function holdsNothing(spec: IPAMHandleSpec): boolean {
  return Object.keys(spec.block).length === 0;
}
