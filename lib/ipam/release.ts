import { IPAMBlock, ipamBlockRef } from "../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import { selectsNode } from "../api/ippool.ts";
import { DatastoreError, type Operation } from "../datastore/index.ts";
import { offsetOf, parseCidr, tryParseAddress } from "../ip/index.ts";
import { parseOwner } from "./affinity.ts";
import { addressText, baseOf, cleanHandle, collectCooled, isEmpty, ordinalsOfHandle, release } from "./block.ts";
import {
  backOff,
  type Context,
  commit,
  deleteOp,
  isRace,
  isUnreadable,
  PartialCommit,
  RETRIES,
  tooManyConflicts,
  updateOp,
} from "./context.ts";
import { IpamError } from "./errors.ts";
import { disabledReason, poolOf, selectsAll } from "./pools.ts";
import { cidrOf, readAllPools, readBlock, readConfig, readHandle, readNodeLabels } from "./reads.ts";
import type { IpamConfig, ReleaseByHandleOptions, Released } from "./types.ts";

/**
 * See {@link Ipam.releaseByHandle}. What the caller adds is written first, then the blocks, then the handle: whatever
 * is left after a crash, the same call finishes it. A block that the handle counts but that gives it nothing is written
 * all the same: an assignment for this handle that is under way must not find its block unchanged once the handle is gone.
 */
export async function releaseByHandle(
  ctx: Context,
  handleText: string,
  options: ReleaseByHandleOptions = {},
): Promise<Released> {
  const id = cleanHandle(handleText);
  if (id === "") throw new IpamError("IPAM_INVALID", "handle: must not be empty");
  let handle: IPAMHandle | undefined;
  try {
    handle = await readHandle(ctx, id);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    return (await import("./release-unread.ts")).releaseByBlocks(ctx, id, error, options);
  }
  const found = handle !== undefined;
  if (!found && !options.alsoWrite) return { addresses: [], found };
  const released = new Set<string>();
  let unexplained = 0;
  for (let attempt = 0; ; attempt++) {
    const kept: Record<string, number> = {};
    const [config, extra, ...blocks] = await Promise.all([
      readConfig(ctx, true),
      options.alsoWrite?.() ?? [],
      ...readBlocks(ctx, handle?.spec.block ?? {}, kept),
    ]);
    const operations: Operation[] = [...extra];
    const addresses: string[] = [];
    const written: IPAMBlock[] = [];
    for (const block of blocks) {
      if (!block) continue;
      collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
      const ordinals = ordinalsOfHandle(block.spec, id);
      for (const ordinal of ordinals) addresses.push(addressText(cidrOf(block), ordinal));
      release(block.spec, ordinals, config.ipCooldownSeconds, ctx.now());
      written.push(block);
      operations.push(blockOperation(ctx, block));
    }
    if (handle && Object.keys(kept).length > 0)
      operations.push(updateOp(IPAMHandle, { ...handle, spec: { ...handle.spec, block: kept } }));
    else if (handle) operations.push(deleteOp(ctx, IPAMHandle, ipamHandleRef(id), handle));
    try {
      await commit(ctx, operations);
      for (const address of addresses) released.add(address);
      for (const block of written) await keepConsistent(ctx, config, block);
      return { addresses: [...released], found };
    } catch (error) {
      const cause = error instanceof PartialCommit ? error.cause : error;
      if (!isRace(cause)) throw cause;
      if (error instanceof PartialCommit) {
        const blocksDone = error.done.length - extra.length;
        for (const block of written.slice(0, Math.max(0, blocksDone))) noteReleased(block, addresses, released);
      }
      if (attempt + 1 >= RETRIES) throw tooManyConflicts(`release what handle ${id} holds`, cause);
      await backOff(ctx, attempt);
      const before = [handle, ...blocks].map((one) => one?.metadata.resourceVersion).join();
      handle = await readHandle(ctx, id);
      const again = await Promise.all(blocks.map((block) => block && readBlock(ctx, cidrOf(block))));
      const same = before === [handle, ...again].map((one) => one?.metadata.resourceVersion).join();
      // When nothing of ours has changed it is the caller's operations that are refused.
      if (same && options.alsoWrite && ++unexplained > 5) throw cause;
    }
  }
}

/**
 * The blocks that a handle counts. Of one that cannot be read nothing can be released now: its count goes to `kept`, so that the
 * handle stays and tells of the addresses once the block is mended.
 */
function readBlocks(
  ctx: Context,
  counts: Readonly<Record<string, number>>,
  kept: Record<string, number>,
): Promise<IPAMBlock | undefined>[] {
  const reads: Promise<IPAMBlock | undefined>[] = [];
  for (const cidr of Object.keys(counts)) {
    const keep = (error: unknown): undefined => {
      if (!isUnreadable(error)) throw error;
      ctx.log.warning("addresses stay allocated until their block is mended", { block: cidr, error: error.message });
      kept[cidr] = counts[cidr]!;
    };
    reads.push(readBlock(ctx, parseCidr(cidr)).catch(keep));
  }
  return reads;
}

function noteReleased(block: IPAMBlock, addresses: readonly string[], released: Set<string>): void {
  const cidr = cidrOf(block);
  for (const address of addresses) {
    const parsed = tryParseAddress(address);
    if (!parsed || parsed.version !== cidr.version) continue;
    const ordinal = Number(offsetOf(baseOf(cidr), parsed));
    if (ordinal >= 0 && ordinal < block.spec.allocations.length) released.add(address);
  }
}

/** The write of a block that addresses were released in; one without an owner goes with its last address. */
export function blockOperation(ctx: Context, block: IPAMBlock): Operation {
  if (block.spec.affinity === undefined && isEmpty(block.spec))
    return deleteOp(ctx, IPAMBlock, ipamBlockRef(block.spec.cidr), block);
  block.spec.sequenceNumber += 1n;
  return updateOp(IPAMBlock, block);
}

/**
 * After a release: an empty block goes back when its pool does not select its node any more, or when its owner is a virtual
 * one, which has no node whose end would free it. The addresses are released already, so a failure here is only logged.
 */
export async function keepConsistent(ctx: Context, config: IpamConfig, block: IPAMBlock): Promise<void> {
  const owner = parseOwner(block.spec.affinity);
  if (!owner || !isEmpty(block.spec)) return;
  const cidr = cidrOf(block);
  try {
    if (owner.type === "host") {
      const pool = poolOf(await readAllPools(ctx), baseOf(cidr));
      if (!pool || disabledReason(pool) !== undefined || selectsAll(pool.resource.spec.nodeSelector)) return;
      const labels = await readNodeLabels(ctx, owner.name);
      if (!labels || selectsNode(pool.resource, labels)) return;
    }
    const { releaseAffinity } = await import("./claim.ts");
    await releaseAffinity(ctx, config, owner, cidr, { mustBeEmpty: true });
  } catch (error) {
    if (!(error instanceof DatastoreError) && !(error instanceof IpamError)) throw error;
    ctx.log.warning("could not give back an empty block", { block: block.spec.cidr, error: error.message });
  }
}
