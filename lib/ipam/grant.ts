import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, newIPAMHandle } from "../api/ipamhandle.ts";
import type { Resource } from "../api/meta.ts";
import { DatastoreError, type Operation } from "../datastore/index.ts";
import { addressText, attributesAt, cleanHandle, release, sequenceOf } from "./block.ts";
import { asRead, type Context, commit, createOp, isRace, PartialCommit, retrying, updateOp } from "./context.ts";
import { lowerHandle } from "./counts.ts";
import { increment } from "./handle.ts";
import { cidrOf, readBlock } from "./reads.ts";
import type { AssignedAddress } from "./types.ts";

/** Addresses of one block that a request gets: newly allocated in the block's value, or its handle's already. */
export interface Portion {
  readonly block: IPAMBlock;
  /** Allocated in `block`, which is not written yet. */
  readonly fresh: readonly number[];
  /** The handle's from an earlier attempt. */
  readonly held: readonly number[];
  readonly pool: string;
}

export interface Grant {
  readonly portions: readonly Portion[];
  readonly handleId: string | undefined;
  /** The handle as it was read. */
  readonly handle: IPAMHandle | undefined;
  /** Set the handle's counts to what the blocks say, because an earlier attempt may have left them too high. */
  readonly recount?: ReadonlyMap<string, number>;
  readonly extra: readonly Operation[];
}

/** What the caller is told of a portion. To be called before it is written. */
export function describePortion(portion: Portion): AssignedAddress[] {
  const cidr = cidrOf(portion.block);
  return [...portion.held, ...portion.fresh].map((ordinal) => ({
    version: cidr.version,
    address: addressText(cidr, ordinal),
    block: portion.block.spec.cidr,
    pool: portion.pool,
    sequenceNumber: sequenceOf(portion.block.spec, ordinal),
  }));
}

/** Thrown when the operations of the caller, and not the allocator's, were refused. */
export class ExtraRefused extends Error {
  override readonly name = "ExtraRefused";
  constructor(override readonly cause: DatastoreError) {
    super(cause.message);
  }
}

/**
 * Writes a grant: the handle's new counts, the blocks, then what the caller adds. Where that is not one commit, a write
 * that fails undoes those before it. Throws the datastore's error, or ExtraRefused.
 */
export async function writeGrant(ctx: Context, grant: Grant): Promise<void> {
  const operations = [...handleOperations(grant), ...grant.portions.map(({ block }) => blockOperation(block))];
  const own = operations.length;
  operations.push(...grant.extra);
  try {
    await commit(ctx, operations);
  } catch (error) {
    if (!(error instanceof PartialCommit)) throw error;
    await undo(ctx, grant, operations, error.done);
    const { cause } = error;
    throw error.done.length >= own && isRace(cause) ? new ExtraRefused(cause) : cause;
  }
}

/** The write of a block: its sequence number grows with every one, and also guards what is only held. */
function blockOperation(block: IPAMBlock): Operation {
  block.spec.sequenceNumber += 1n;
  return updateOp(IPAMBlock, block);
}

function handleOperations({ portions, handleId, handle, recount }: Grant): Operation[] {
  if (handleId === undefined || portions.length === 0) return [];
  const counted = recount ? Object.fromEntries(recount) : handle?.spec.block;
  const spec = { handleID: handleId, block: { ...counted }, deleted: false };
  for (const { block, fresh } of portions) increment(spec, block.spec.cidr, fresh.length);
  const block = Object.fromEntries(Object.entries(spec.block).filter(([, count]) => count > 0));
  if (!handle) return Object.keys(block).length > 0 ? [createOp(IPAMHandle, newIPAMHandle(handleId, block))] : [];
  // Written also when its counts stay the same: a release that is under way has read it, and must not delete it now.
  return [updateOp(IPAMHandle, { ...handle, spec: { ...handle.spec, block } })];
}

/** Gives back what the first operations wrote. What cannot be given back now is logged, and found by check. */
async function undo(
  ctx: Context,
  grant: Grant,
  operations: readonly Operation[],
  done: readonly Resource[],
): Promise<void> {
  const { handleId } = grant;
  try {
    for (const [index, answer] of [...done.entries()].reverse()) {
      const operation = operations[index]!;
      const portion = operation.op === "update" && grant.portions.find(({ block }) => block === operation.resource);
      if (portion) await giveBack(ctx, portion, handleId);
      else if (operation.kind.kind === "IPAMHandle" && handleId !== undefined) {
        const raised = new Map(grant.portions.map(({ block, fresh }) => [block.spec.cidr, fresh.length]));
        await lowerHandle(ctx, answer as IPAMHandle, handleId, raised);
      } else if (operation.op === "create") {
        const { name, namespace } = answer.metadata;
        const ref = { name, ...(namespace === undefined ? {} : { namespace }) };
        await ctx.client.delete(operation.kind, ref, asRead(ctx, answer));
      }
    }
  } catch (error) {
    if (!(error instanceof DatastoreError)) throw error;
    ctx.log.warning("could not give back what a failed assignment had written; calicoctl ipam check finds it", {
      handle: handleId,
      error: error.message,
    });
  }
}

/** Frees addresses that nobody has used, without cooldown, if they still are this very allocation. */
async function giveBack(ctx: Context, portion: Portion, handleId: string | undefined): Promise<void> {
  if (portion.fresh.length === 0) return;
  await retrying(ctx, `give back addresses of block ${portion.block.spec.cidr}`, async () => {
    const block = await readBlock(ctx, cidrOf(portion.block));
    if (!block) return;
    const mine = portion.fresh.filter((ordinal) => {
      const owner = attributesAt(block.spec, ordinal);
      const handle = owner?.handle_id === undefined ? undefined : cleanHandle(owner.handle_id);
      return (
        owner && handle === handleId && sequenceOf(block.spec, ordinal) === sequenceOf(portion.block.spec, ordinal)
      );
    });
    if (mine.length === 0) return;
    release(block.spec, mine, 0, ctx.now());
    block.spec.sequenceNumber += 1n;
    await ctx.client.update(IPAMBlock, block);
  });
}
