import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, newIPAMHandle } from "../api/ipamhandle.ts";
import type { DatastoreError, Operation } from "../datastore/index.ts";
import { addressText, sequenceOf } from "./block.ts";
import { type Context, commit, createOp, isRace, PartialCommit, updateOp } from "./context.ts";
import { increment } from "./handle.ts";
import { cidrOf } from "./reads.ts";
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
  readonly recount?: Readonly<Record<string, number>>;
  readonly extra: readonly Operation[];
}

/** What the caller is told of a portion. To be called before it is written. */
export function describePortion(portion: Portion): AssignedAddress[] {
  const cidr = cidrOf(portion.block);
  const described: AssignedAddress[] = [];
  for (const ordinal of [...portion.held, ...portion.fresh]) {
    described.push({
      version: cidr.version,
      address: addressText(cidr, ordinal),
      block: portion.block.spec.cidr,
      pool: portion.pool,
      sequenceNumber: sequenceOf(portion.block.spec, ordinal),
    });
  }
  return described;
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
  const operations = handleOperations(grant);
  for (const { block } of grant.portions) operations.push(blockOperation(block));
  const own = operations.length;
  operations.push(...grant.extra);
  try {
    await commit(ctx, operations);
  } catch (error) {
    if (!(error instanceof PartialCommit)) throw error;
    const { undo } = await import("./undo.ts");
    await undo(ctx, grant, operations, error);
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
  const spec = { handleID: handleId, block: { ...(recount ?? handle?.spec.block) }, deleted: false };
  for (const { block, fresh } of portions) increment(spec, block.spec.cidr, fresh.length);
  const block: Record<string, number> = {};
  for (const cidr of Object.keys(spec.block)) if (spec.block[cidr]! > 0) block[cidr] = spec.block[cidr]!;
  if (!handle) return Object.keys(block).length > 0 ? [createOp(IPAMHandle, newIPAMHandle(handleId, block))] : [];
  // Written also when its counts stay the same: a release that is under way has read it, and must not delete it now.
  return [updateOp(IPAMHandle, { ...handle, spec: { ...handle.spec, block } })];
}
