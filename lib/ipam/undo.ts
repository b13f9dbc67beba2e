import { IPAMBlock } from "../api/ipamblock.ts";
import type { IPAMHandle } from "../api/ipamhandle.ts";
import { DatastoreError, type Operation } from "../datastore/index.ts";
import { attributesAt, cleanHandle, release, sequenceOf } from "./block.ts";
import { type Context, deleteRead, type PartialCommit, retrying } from "./context.ts";
import { lowerHandle } from "./counts.ts";
import type { Grant } from "./grant.ts";
import { cidrOf, readBlock } from "./reads.ts";

/**
 * Gives back what the first operations wrote. What cannot be given back now is logged, and found by check; the handle, which
 * goes last, then still leads to it.
 */
export async function undo(
  ctx: Context,
  grant: Grant,
  operations: readonly Operation[],
  { done, cause }: PartialCommit,
): Promise<void> {
  const { handleId } = grant;
  try {
    // A write without an answer may have been carried out, or be carried out yet.
    const failed = operations[done.length];
    const unanswered = cause instanceof DatastoreError && cause.code === "UNAVAILABLE";
    const perhaps =
      unanswered && grant.portions.find(({ block }) => failed?.op === "update" && block === failed.resource);
    if (perhaps) await giveBack(ctx, perhaps.block, [{ handleId, fresh: perhaps.fresh }], true);
    for (const [index, answer] of [...done.entries()].reverse()) {
      const operation = operations[index]!;
      const portion = operation.op === "update" && grant.portions.find(({ block }) => block === operation.resource);
      if (portion) await giveBack(ctx, portion.block, [{ handleId, fresh: portion.fresh }], false);
      else if (operation.kind.kind === "IPAMHandle" && handleId !== undefined) {
        const raised = new Map(grant.portions.map(({ block, fresh }) => [block.spec.cidr, fresh.length]));
        await lowerHandle(ctx, answer as IPAMHandle, handleId, raised);
      } else if (operation.op === "create" && answer) {
        const { name, namespace } = answer.metadata;
        const ref = { name, ...(namespace === undefined ? {} : { namespace }) };
        await deleteRead(ctx, operation.kind, ref, answer);
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

/** Addresses that were allocated to a handle in a block's value. */
export interface Taken {
  readonly handleId: string | undefined;
  readonly fresh: readonly number[];
}

/**
 * Frees addresses that nobody has used, without cooldown, if they still are these very allocations of `written`. With `onItsWay`
 * the block is written in any case: the allocation, should it arrive later, then finds the block changed.
 */
export async function giveBack(
  ctx: Context,
  written: IPAMBlock,
  taken: readonly Taken[],
  onItsWay: boolean,
): Promise<void> {
  if (taken.every(({ fresh }) => fresh.length === 0)) return;
  await retrying(ctx, `give back addresses of block ${written.spec.cidr}`, async () => {
    const block = await readBlock(ctx, cidrOf(written));
    if (!block) return;
    const isStill = (ordinal: number, handleId: string | undefined): boolean => {
      const owner = attributesAt(block.spec, ordinal);
      if (!owner || sequenceOf(block.spec, ordinal) !== sequenceOf(written.spec, ordinal)) return false;
      return (owner.handle_id === undefined ? undefined : cleanHandle(owner.handle_id)) === handleId;
    };
    const mine = taken.flatMap(({ handleId, fresh }) => fresh.filter((ordinal) => isStill(ordinal, handleId)));
    if (mine.length === 0 && !onItsWay) return;
    release(block.spec, mine, 0, ctx.now());
    block.spec.sequenceNumber += 1n;
    await ctx.client.update(IPAMBlock, block);
  });
}
