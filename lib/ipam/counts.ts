import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../api/ipamhandle.ts";
import type { Operation } from "../datastore/index.ts";
import { formatCidr, parseCidr, tryParseCidr } from "../ip/index.ts";
import { ordinalsOfHandle } from "./block.ts";
import {
  type Context,
  commit,
  createOp,
  deleteOp,
  deleteRead,
  isRace,
  PartialCommit,
  retrying,
  updateOp,
} from "./context.ts";
import { decrement, holdsNothing } from "./handle.ts";
import { readBlock, readHandle } from "./reads.ts";

/**
 * Takes addresses off a handle that was read (or written) before they were given back. When it has changed since, its
 * counts may be those of newer allocations under the same handle, so they are not lowered but counted.
 */
export async function lowerHandle(
  ctx: Context,
  read: IPAMHandle | undefined,
  id: string,
  counts: ReadonlyMap<string, number>,
): Promise<void> {
  if (!read) return;
  const handle = { ...read, spec: { ...read.spec, block: { ...read.spec.block } } };
  for (const [cidr, count] of counts) decrement(handle.spec, cidr, count);
  try {
    if (holdsNothing(handle.spec)) await deleteRead(ctx, IPAMHandle, ipamHandleRef(id), read);
    else await ctx.client.update(IPAMHandle, handle);
  } catch (error) {
    if (!isRace(error)) throw error;
    await recountHandle(ctx, id, [...counts.keys()]);
  }
}

/**
 * Makes a handle count what blocks give it: `cidrs`, and with `all` every other block that it counts. A block whose count was
 * wrong is written as well: an assignment that has raised the count, but not written its block yet, then finds the
 * block changed and begins again.
 */
export async function recountHandle(ctx: Context, id: string, cidrs: readonly string[], all = false): Promise<void> {
  await retrying(ctx, `count what handle ${id} holds`, async () => {
    const handle = await readHandle(ctx, id);
    // What counts under a text that is no block's is dropped, which reading the handle has done.
    const named = cidrs.flatMap((text) => tryParseCidr(text) ?? []).map(formatCidr);
    const targets = [...new Set([...named, ...(all ? Object.keys(handle?.spec.block ?? {}) : [])])];
    const blocks = await Promise.all(targets.map((cidr) => readBlock(ctx, parseCidr(cidr))));
    const counts = { ...handle?.spec.block };
    const operations: Operation[] = [];
    let changed = cidrs.some((cidr) => !named.includes(cidr));
    for (const [index, cidr] of targets.entries()) {
      const block = blocks[index];
      const count = block ? ordinalsOfHandle(block.spec, id).length : 0;
      if (count === (counts[cidr] ?? 0)) continue;
      changed = true;
      if (count > 0) counts[cidr] = count;
      else delete counts[cidr];
      if (!block) continue;
      block.spec.sequenceNumber += 1n;
      operations.push(updateOp(IPAMBlock, block));
    }
    const holds = Object.keys(counts).length > 0;
    if (!changed && holds) return;
    if (handle && holds) operations.push(updateOp(IPAMHandle, { ...handle, spec: { ...handle.spec, block: counts } }));
    else if (handle) operations.push(deleteOp(ctx, IPAMHandle, ipamHandleRef(id), handle));
    else if (holds) operations.push(createOp(IPAMHandle, newIPAMHandle(id, counts)));
    try {
      await commit(ctx, operations);
    } catch (error) {
      throw error instanceof PartialCommit ? error.cause : error;
    }
  });
}
