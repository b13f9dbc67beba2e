import type { IPAMBlock } from "../api/ipamblock.ts";
import { parseCidr } from "../ip/index.ts";
import { ownerText } from "./affinity.ts";
import { chooseFamily } from "./assign.ts";
import { freeCount } from "./block.ts";
import type { Context } from "./context.ts";
import { explainExhaustion } from "./exhaustion.ts";
import { cidrOf, readAffinities, readAllPools, readAllReservations, readConfig, readNodeLabels } from "./reads.ts";
import { findPlace, isReclaimable, listing } from "./search.ts";
import type { Owner, RoomRequest } from "./types.ts";
import { cidrsOf, type Family, load, type Work } from "./work.ts";

/**
 * See {@link Ipam.requireRoom}. Goes where autoAssign goes, in the same order, and stops before each write: the owner's
 * blocks, claims that were cut short, a new block, an empty one of another's, borrowing. All blocks are only read when
 * nearly all places for one are taken.
 */
export async function requireRoom(ctx: Context, request: RoomRequest): Promise<void> {
  const owner: Owner = { type: request.use === "LoadBalancer" ? "virtual" : "host", name: request.host };
  const [config, allPools, reservations, rows, labels] = await Promise.all([
    readConfig(ctx),
    readAllPools(ctx),
    readAllReservations(ctx),
    readAffinities(ctx, owner),
    owner.type === "host" ? readNodeLabels(ctx, owner.name) : undefined,
  ]);
  const work: Work = { ctx, owner, config, reservations, blocks: new Map(), unreadable: new Set(), allPools };
  for (const version of [4, 6] as const) {
    const wanted = (version === 4 ? request.num4 : request.num6) ?? 0;
    if (wanted === 0) continue;
    const family = chooseFamily(work, rows, labels ?? {}, version, wanted, request);
    if (!(await hasRoom(work, family))) throw await explainExhaustion(work, family, request.host);
  }
}

async function hasRoom(work: Work, family: Family): Promise<boolean> {
  const { config, owner, reservations } = work;
  const isFree = (block: IPAMBlock): boolean => freeCount(block.spec, cidrOf(block), reservations) > 0;
  await load(work, cidrsOf(family.rows));
  // A claim that was cut short is taken up, unless the block is another's by now.
  family.rows = family.rows.filter(({ cidr }) => {
    const block = work.blocks.get(cidr);
    return !work.unreadable.has(cidr) && (!block || block.spec.affinity === ownerText(owner));
  });
  for (const { cidr } of family.rows) {
    const block = work.blocks.get(cidr);
    // One that has to be made yet has room unless all of it is reserved.
    if (block ? isFree(block) : reservations.coverEnd(parseCidr(cidr)) === undefined) return true;
  }
  if (family.rows.length >= family.limit || !config.autoAllocateBlocks) return false;
  if (await findPlace(work, family)) return true;
  const others = await listing(work, family);
  return others.some((block) => isReclaimable(work, block) || (!config.strictAffinity && isFree(block)));
}
