import type { IPAMBlock } from "../api/ipamblock.ts";
import { type Cidr, formatCidr, parseCidr } from "../ip/index.ts";
import { collectCooled } from "./block.ts";
import { type Context, isUnreadable } from "./context.ts";
import type { PoolReason } from "./errors.ts";
import type { Pool } from "./pools.ts";
import { readBlock } from "./reads.ts";
import type { Reservations } from "./reservations.ts";
import type { IpamConfig, Owner } from "./types.ts";

/** What is known while one request is served. */
export interface Work {
  readonly ctx: Context;
  readonly owner: Owner;
  readonly config: IpamConfig;
  readonly reservations: Reservations;
  readonly allPools: readonly Pool[];
  /**
   * By CIDR; undefined: absent when it was looked for. There is one value a block, in which the request allocates, so a
   * block is never read again into a second one unless the first is dropped.
   */
  readonly blocks: Map<string, IPAMBlock | undefined>;
  /** CIDRs of blocks that cannot be read, or whose affinity cannot: nothing is assigned from them, and they are not claimed. */
  readonly unreadable: Set<string>;
}

/** An affinity of the owner, as far as it matters for a choice. */
export interface Row {
  readonly cidr: string;
  confirmed: boolean;
}

/** One address family of a request. */
export interface Family {
  readonly version: 4 | 6;
  readonly wanted: number;
  readonly pools: readonly Pool[];
  /** The other pools of the family, and why they are not used. */
  readonly rejected: readonly PoolReason[];
  /** Affinities of the owner to blocks of those pools, in the order in which they are tried. */
  rows: Row[];
  /** How many blocks the owner may have in them. */
  readonly limit: number;
  /** All blocks in those pools were read: what is not in `Work.blocks` does not exist. */
  listed: boolean;
}

/** The blocks of affinities. */
export function cidrsOf(rows: readonly Row[]): string[] {
  const cidrs: string[] = [];
  for (const { cidr } of rows) cidrs.push(cidr);
  return cidrs;
}

/** Reads blocks that are not known yet, in one round trip. */
export async function load(work: Work, cidrs: readonly string[]): Promise<void> {
  const missing: string[] = [];
  const reads: Promise<IPAMBlock | undefined>[] = [];
  for (const cidr of cidrs) {
    if (work.blocks.has(cidr) || missing.includes(cidr)) continue;
    missing.push(cidr);
    reads.push(readBlock(work.ctx, parseCidr(cidr)));
  }
  if (missing.length === 0) return;
  let found: (IPAMBlock | undefined)[];
  try {
    found = await Promise.all(reads);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    found = await Promise.all(missing.map((cidr) => loadReadable(work, cidr)));
  }
  for (let i = 0; i < missing.length; i++) remember(work, missing[i]!, found[i]);
}

async function loadReadable(work: Work, cidr: string): Promise<IPAMBlock | undefined> {
  try {
    return await readBlock(work.ctx, parseCidr(cidr));
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    passOver(work, cidr, error);
    return undefined;
  }
}

/** Reads a block again. */
export async function reload(work: Work, cidr: Cidr): Promise<void> {
  work.blocks.delete(formatCidr(cidr));
  await load(work, [formatCidr(cidr)]);
}

/** Leaves a block alone from now on, as it or its affinity cannot be read. */
export function passOver(work: Work, cidr: string, error: Error): void {
  if (!work.unreadable.has(cidr)) work.ctx.log.warning("a block is passed over", { block: cidr, error: error.message });
  work.unreadable.add(cidr);
}

/** Keeps a block that was read, with what has cooled down collected. */
export function remember(work: Work, cidr: string, block: IPAMBlock | undefined): void {
  if (block) collectCooled(block.spec, work.config.ipCooldownSeconds, work.ctx.now());
  work.blocks.set(cidr, block);
}
