import type { IPAMBlock } from "../api/ipamblock.ts";
import { selectsNode } from "../api/ippool.ts";
import { type Cidr, cidrContains, formatCidr, parseCidr } from "../ip/index.ts";
import { claimBlock, releaseAffinity } from "./claim.ts";
import { isUnreadable, RETRIES } from "./context.ts";
import { explainExhaustion } from "./exhaustion.ts";
import { asksForNode, disabledReason, selectsAll } from "./pools.ts";
import { readAffinities, readNodeLabels } from "./reads.ts";
import { findClaimable, listing } from "./search.ts";
import { confirmedBlock, type Serving, take } from "./serving.ts";
import type { AutoAssignRequest } from "./types.ts";
import { passOver, reload, remember, type Work } from "./work.ts";

/**
 * Serves what the owner's confirmed blocks could not: from claims that were cut short, new blocks, reclaimed ones, and blocks of
 * others. Answers false when a claim has written a block that was allocated in before: then all has to be planned anew.
 * Throws IPAM_POOL_EXHAUSTED.
 */
export async function acquire(serving: Serving): Promise<boolean> {
  const { work, family, request } = serving;
  const { config } = work;
  // Claims and releases that were cut short: taken up only when they are needed.
  for (const row of [...family.rows]) {
    if (serving.need === 0) break;
    if (confirmedBlock(work, row)) continue;
    const block = await claimReadable(work, parseCidr(row.cidr));
    remember(work, row.cidr, block);
    if (block) row.confirmed = true;
    else family.rows = family.rows.filter((other) => other !== row);
    if (block && isOutdated(serving, block)) return forget(serving, block);
    if (block) take(serving, block);
  }
  if (serving.need > 0) await releaseUnselected(work, request);
  for (let claims = 0; serving.need > 0 && claims < RETRIES; claims++) {
    if (family.rows.length >= family.limit || !config.autoAllocateBlocks)
      throw await explainExhaustion(work, family, request.host);
    const cidr = await findClaimable(work, family);
    if (!cidr) break;
    const block = await claimReadable(work, cidr);
    if (block) remember(work, formatCidr(cidr), block);
    else await reload(work, cidr);
    if (!block) continue;
    const { cidr: name } = block.spec;
    if (!family.rows.some((row) => row.cidr === name)) family.rows.push({ cidr: name, confirmed: true });
    if (isOutdated(serving, block)) return forget(serving, block);
    take(serving, block);
  }
  if (serving.need > 0 && !config.strictAffinity) {
    for (const block of await listing(work, family)) {
      if (serving.need === 0) break;
      take(serving, block);
    }
  }
  if (serving.need > 0) throw await explainExhaustion(work, family, request.host);
  return true;
}

/** The block, claimed; undefined when it is another's, or cannot be read. */
export async function claimReadable(work: Work, cidr: Cidr): Promise<IPAMBlock | undefined> {
  if (work.unreadable.has(formatCidr(cidr))) return undefined;
  try {
    return await claimBlock(work.ctx, work.owner, cidr);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    passOver(work, formatCidr(cidr), error);
    return undefined;
  }
}

/** A claim has written a block that addresses were already taken from: what was taken is out of date. */
function isOutdated({ portions }: Serving, claimed: IPAMBlock): boolean {
  return portions.some(({ block }) => block.spec.cidr === claimed.spec.cidr);
}

/** The other blocks that were allocated in have to be read again as well. */
function forget({ work, portions }: Serving, claimed: IPAMBlock): false {
  for (const { block } of portions) if (block.spec.cidr !== claimed.spec.cidr) work.blocks.delete(block.spec.cidr);
  return false;
}

/** Gives up empty blocks of pools that do not select this node any more, as others may need them. */
async function releaseUnselected(work: Work, request: AutoAssignRequest): Promise<void> {
  const { ctx, owner, config, allPools } = work;
  if (owner.type !== "host" || !asksForNode(allPools)) return;
  const labels = request.nodeLabels ?? (await readNodeLabels(ctx, owner.name));
  if (!labels) return;
  for (const row of await readAffinities(ctx, owner)) {
    const cidr = parseCidr(row.spec.cidr);
    const pool = allPools.find((candidate) => cidrContains(candidate.cidr, cidr));
    if (!pool || disabledReason(pool) !== undefined || selectsAll(pool.resource.spec.nodeSelector)) continue;
    if (selectsNode(pool.resource, labels)) continue;
    try {
      await releaseAffinity(ctx, config, owner, cidr, { mustBeEmpty: true });
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      passOver(work, row.spec.cidr, error);
    }
  }
}
