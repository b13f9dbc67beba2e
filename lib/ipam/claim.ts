import { BlockAffinity, newBlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock, ipamBlockRef, newIPAMBlock } from "../api/ipamblock.ts";
import { type Cidr, formatCidr } from "../ip/index.ts";
import { ownerText } from "./affinity.ts";
import { collectCooled, isEmpty, timestamp } from "./block.ts";
import { type Context, deleteRead, isRace, retrying } from "./context.ts";
import { affinityRef, readAffinity, readBlock } from "./reads.ts";
import type { IpamConfig, Owner } from "./types.ts";

/**
 * Claims a block for an owner: affinity pending, block written, affinity confirmed, each a write of its own, in the
 * order in which every Calico does it. Takes up whatever an earlier claim or release left half done. Answers the block,
 * or undefined when it belongs to somebody else; a left-over affinity of the owner is deleted then.
 */
export function claimBlock(ctx: Context, owner: Owner, cidr: Cidr): Promise<IPAMBlock | undefined> {
  return retrying(ctx, `claim block ${formatCidr(cidr)} for ${ownerText(owner)}`, () => tryClaim(ctx, owner, cidr));
}

async function tryClaim(ctx: Context, owner: Owner, cidr: Cidr): Promise<IPAMBlock | undefined> {
  const { client } = ctx;
  let [affinity, block] = await Promise.all([readAffinity(ctx, owner, cidr), readBlock(ctx, cidr)]);
  if (block && block.spec.affinity !== ownerText(owner)) {
    if (affinity) await deleteAffinity(ctx, owner, cidr, affinity);
    return undefined;
  }
  if (affinity?.spec.state === "confirmed" && block) return block;
  if (!affinity) {
    const id = { type: owner.type, node: owner.name, cidr: formatCidr(cidr) };
    affinity = await client.create(BlockAffinity, newBlockAffinity({ ...id, state: "pending" }));
  } else if (affinity.spec.state !== "pending") {
    affinity.spec.state = "pending";
    affinity = await client.update(BlockAffinity, affinity);
  }
  if (block) {
    // Whoever is about to delete the block, or to assign from it, has read it before: now they must read it again.
    block.spec.sequenceNumber += 1n;
    block = await client.update(IPAMBlock, block);
  } else {
    block = await client.create(
      IPAMBlock,
      newIPAMBlock({
        cidr: formatCidr(cidr),
        affinity: ownerText(owner),
        affinityClaimTime: timestamp(ctx.now()),
        sequenceNumber: ctx.seed(),
      }),
    );
  }
  affinity.spec.state = "confirmed";
  await client.update(BlockAffinity, affinity);
  return block;
}

/** What became of a release of an affinity. `changed`: the block is not the one the caller had seen. */
export type AffinityRelease = "released" | "not-empty" | "not-owner" | "changed" | "absent";

export interface AffinityReleaseOptions {
  readonly mustBeEmpty?: boolean;
  /** Only while the block still has this sequence number. */
  readonly sequenceNumber?: bigint;
}

/**
 * Gives up an owner's block: affinity pendingDeletion, block deleted (or, when addresses are in use, left without an
 * owner), affinity deleted. An affinity whose block is gone or another's is deleted.
 */
export async function releaseAffinity(
  ctx: Context,
  config: IpamConfig,
  owner: Owner,
  cidr: Cidr,
  options: AffinityReleaseOptions = {},
): Promise<AffinityRelease> {
  const what = `release block ${formatCidr(cidr)} of ${ownerText(owner)}`;
  const progress = { marked: false };
  const result = await retrying(ctx, what, () => tryRelease(ctx, config, owner, cidr, options, progress));
  // Somebody assigned from the block after it was marked: its owner keeps it, and its routes.
  if (progress.marked && (result === "not-empty" || result === "changed")) await claimBlock(ctx, owner, cidr);
  return result;
}

async function tryRelease(
  ctx: Context,
  config: IpamConfig,
  owner: Owner,
  cidr: Cidr,
  options: AffinityReleaseOptions,
  progress: { marked: boolean },
): Promise<AffinityRelease> {
  const { client } = ctx;
  let [affinity, block] = await Promise.all([readAffinity(ctx, owner, cidr), readBlock(ctx, cidr)]);
  if (!block) {
    if (!affinity) return "absent";
    // Deleted as it was read: a claim that goes on at this moment finds it gone and begins again.
    await deleteRead(ctx, BlockAffinity, affinityRef(owner, cidr), affinity);
    return "released";
  }
  if (options.sequenceNumber !== undefined && options.sequenceNumber !== block.spec.sequenceNumber) return "changed";
  if (block.spec.affinity !== undefined && block.spec.affinity !== ownerText(owner)) {
    if (affinity) await deleteAffinity(ctx, owner, cidr, affinity);
    return "not-owner";
  }
  if (block.spec.affinity === undefined && !affinity) return "absent";
  collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
  const empty = isEmpty(block.spec);
  if (options.mustBeEmpty && !empty) return "not-empty";
  if (affinity && affinity.spec.state !== "pendingDeletion") {
    affinity.spec.state = "pendingDeletion";
    affinity = await client.update(BlockAffinity, affinity);
    progress.marked = true;
  }
  if (empty) {
    await deleteRead(ctx, IPAMBlock, ipamBlockRef(block.spec.cidr), block);
  } else {
    delete block.spec.affinity;
    delete block.spec.affinityClaimTime;
    block.spec.sequenceNumber += 1n;
    block = await client.update(IPAMBlock, block);
  }
  // When the owner has begun to claim the block again, it is not pendingDeletion any more, and that claim's.
  if (affinity) await deleteAffinity(ctx, owner, cidr, affinity);
  return "released";
}

/** Deletes an affinity, as long as it is in the state in which it was read; else it is somebody else's concern. */
async function deleteAffinity(ctx: Context, owner: Owner, cidr: Cidr, read: BlockAffinity): Promise<void> {
  let affinity: BlockAffinity | undefined = read;
  await retrying(ctx, `delete the affinity of ${ownerText(owner)} to block ${formatCidr(cidr)}`, async (attempt) => {
    if (attempt > 0) affinity = await readAffinity(ctx, owner, cidr);
    if (affinity?.spec.state !== read.spec.state) return;
    await deleteRead(ctx, BlockAffinity, affinityRef(owner, cidr), affinity);
  });
}

/** Deletes an empty block that has no owner, or whose owner has no affinity for it. False when it has changed since it was read. */
export async function deleteOrphan(ctx: Context, block: IPAMBlock): Promise<boolean> {
  try {
    await deleteRead(ctx, IPAMBlock, ipamBlockRef(block.spec.cidr), block);
    return true;
  } catch (error) {
    if (isRace(error)) return false;
    throw error;
  }
}
