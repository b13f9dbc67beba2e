import type { IPAMBlock } from "../api/ipamblock.ts";
import { type Cidr, cidrContains, cidrOverlaps, formatCidr, parseCidr } from "../ip/index.ts";
import { isOldEnough, ownerText, parseOwner } from "./affinity.ts";
import { freeCount, isEmpty } from "./block.ts";
import { candidates, rotated, startIndex } from "./candidates.ts";
import { deleteOrphan, releaseAffinity } from "./claim.ts";
import { isUnreadable } from "./context.ts";
import type { Pool } from "./pools.ts";
import { cidrOf, findOverlap, listBlocks } from "./reads.ts";
import { type Family, load, passOver, remember, type Work } from "./work.ts";

/** How many places are looked at, round by round, before all blocks are read. */
const PROBES = [4, 16, 64, 128] as const;

/**
 * A block that the owner can claim: one that does not exist, or is the owner's already and has room, else an empty one
 * taken from another owner. Undefined when there is none. Places are looked at by name, beginning at the host's own start,
 * so that the cost does not grow with the number of blocks until nearly all are taken.
 */
export async function findClaimable(work: Work, family: Family): Promise<Cidr | undefined> {
  return (await findPlace(work, family)) ?? reclaim(work, family);
}

/** The first part of {@link findClaimable}, which writes nothing: a place for a new block, or a block of the owner's with room. */
export async function findPlace(work: Work, family: Family): Promise<Cidr | undefined> {
  for (const pool of family.pools) {
    const start = startIndex(pool, work.owner.name, work.ctx.random);
    const walk = candidates(pool, start, work.reservations);
    for (const size of PROBES) {
      const round = take(walk, size);
      if (round.length === 0) break;
      if (!family.listed) await load(work, round.map(formatCidr));
      const found = await firstClaimable(work, family, round);
      if (found) return found;
    }
    for (let round = take(walk, 1024); round.length > 0; round = take(walk, 1024)) {
      await list(work, family);
      const found = await firstClaimable(work, family, round);
      if (found) return found;
    }
  }
  return undefined;
}

/** All blocks of the family's pools, beginning at the owner's start in each: where to borrow. */
export async function listing(work: Work, family: Family): Promise<IPAMBlock[]> {
  await list(work, family);
  return family.pools.flatMap((pool) => blocksOf(work, pool));
}

/** The known blocks of a pool, beginning at the owner's start. */
export function blocksOf(work: Work, pool: Pool): IPAMBlock[] {
  const inside: { cidr: Cidr; block: IPAMBlock }[] = [];
  for (const block of work.blocks.values()) {
    const cidr = block && cidrOf(block);
    if (cidr && cidrContains(pool.cidr, cidr)) inside.push({ cidr, block });
  }
  return rotated(inside, pool, startIndex(pool, work.owner.name, work.ctx.random)).map(({ block }) => block);
}

async function list(work: Work, family: Family): Promise<void> {
  if (family.listed) return;
  const blocks = await listBlocks(work.ctx, family.version, (cidr) => work.unreadable.add(cidr));
  for (const block of blocks) {
    // What this request has read before it may have allocated in.
    if (!work.blocks.get(block.spec.cidr)) remember(work, block.spec.cidr, block);
  }
  family.listed = true;
}

async function firstClaimable(work: Work, family: Family, places: readonly Cidr[]): Promise<Cidr | undefined> {
  for (const cidr of places) {
    const block = work.blocks.get(formatCidr(cidr));
    if (work.unreadable.has(formatCidr(cidr))) continue;
    if (!block) {
      if (!(await isCovered(work, family, cidr))) return cidr;
    } else if (block.spec.affinity === ownerText(work.owner) && freeCount(block.spec, cidr, work.reservations) > 0) {
      // Another process of this host has claimed it in the meantime.
      return cidr;
    }
  }
  return undefined;
}

/** Whether blocks of another size, from before the pool's block size was changed, lie in the same place. */
async function isCovered(work: Work, family: Family, cidr: Cidr): Promise<boolean> {
  if (!family.listed) return (await findOverlap(work.ctx, cidr)) !== undefined;
  for (const other of work.unreadable) if (cidrOverlaps(parseCidr(other), cidr)) return true;
  for (const block of work.blocks.values()) if (block && cidrOverlaps(cidrOf(block), cidr)) return true;
  return false;
}

/**
 * Takes an empty block from an owner that has had it for a while. Without this small pools of small blocks (a /32 each)
 * would run out while most of their addresses are free, because the blocks stay with nodes that do not use them.
 */
async function reclaim(work: Work, family: Family): Promise<Cidr | undefined> {
  const { ctx, config } = work;
  for (const block of await listing(work, family)) {
    if (!isReclaimable(work, block)) continue;
    const { spec } = block;
    const cidr = cidrOf(block);
    const other = parseOwner(spec.affinity);
    // The sequence number makes sure that it is the block that was seen empty, and not one made since by another who reclaims.
    let mine: boolean;
    try {
      const options = { mustBeEmpty: true, sequenceNumber: spec.sequenceNumber };
      mine = other
        ? (await releaseAffinity(ctx, config, other, cidr, options)) === "released"
        : await deleteOrphan(ctx, block);
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      passOver(work, spec.cidr, error);
      continue;
    }
    if (!mine) continue;
    ctx.log.info("reclaimed an empty block", { block: spec.cidr, from: spec.affinity });
    work.blocks.delete(spec.cidr);
    return cidr;
  }
  return undefined;
}

/** Whether a block may be taken from its owner. */
export function isReclaimable({ ctx, owner, reservations }: Work, block: IPAMBlock): boolean {
  const { spec } = block;
  if (spec.affinity === ownerText(owner) || !isEmpty(spec)) return false;
  return freeCount(spec, cidrOf(block), reservations) > 0 && isOldEnough(spec.affinityClaimTime, ctx.now());
}

function take<T>(items: Iterator<T>, count: number): T[] {
  const taken: T[] = [];
  while (taken.length < count) {
    const next = items.next();
    if (next.done) break;
    taken.push(next.value);
  }
  return taken;
}
