/**
 * The allocator of one node's agent: createIpam's rules and objects, for a process that stays. It keeps warm what an ordinary request
 * would read (warm.ts), and what wait at the same moment it decides together and writes with one write of each block
 * (group commit). The CNI plugin never loads it.
 *
 * Data flow: allocator.ts puts autoAssign for its node and releaseByHandle, one at a time for a handle, into the queue (lane.ts);
 * decide.ts serves a batch from copies of the known blocks (known.ts) with the decisions of the direct path; atomic.ts writes all in one
 * transaction, ordered.ts object by object where there is none. Everything else, and whatever a batch cannot do (a handle that exists
 * already, no room, refused operations of the caller, facts that are not known), goes the direct way, beside the queue. Where
 * blocks are full, one request claims and the others wait for what it brings.
 *
 * Why no address is assigned twice, or lost, though what is known may be old:
 *  1. An address belongs to whom the block says, and a block is only written by compare-and-swap on the revision that its value was read
 *     or written at. A batch decides in a copy of that value; within it each ordinal is taken once, and what the batch releases is
 *     applied after what it assigns, so nothing is both. If anybody has written the block since, the write is refused, the copy is
 *     thrown away, and all is decided anew on the block as it is read then. So stale facts cost an attempt, never an address.
 *  2. A pool that was disabled or deleted a moment ago: as on the direct path, which reads it a moment before it writes, an address may
 *     still be assigned from a block of it; the block exists, and whoever takes it down finds it in use. Watches tell within moments;
 *     facts that were not listed for ten minutes are not used.
 *  3. A block that was taken away (affinity released by the collector, reclaimed, deleted, made again): that is a write or a deletion of
 *     the block, so ours is refused, and its new value names another owner or is gone: it serves no more. Where we were first, the other
 *     finds the block changed and not empty, and leaves it to its owner.
 *  4. A handle is created before its block is written and deleted after it, so it never counts too little. Creating needs no
 *     read: where it exists the request goes the direct way. After a refused block the handle is deleted, and created anew with the next
 *     attempt: a release that has read it writes the block before it deletes the handle, so either our write of the block is
 *     refused, or its deletion of the handle is.
 *  5. A crash between any two writes leaves what one of the direct path does, perhaps for several handles: counts of addresses that no
 *     block gives them (the DEL of each, check and repair know them), or addresses whose endpoint is not written (their DEL finds them by
 *     handle). A write without an answer is undone by a write of the same block that a late arrival cannot pass; a transaction
 *     without one may arrive late, as on the direct path, and is found by its handle.
 *  6. A release carries out its caller's operations before the block, as the direct one does; only what they allowed is in the block's
 *     write. Its handle is deleted at the revision that was read: if it has been raised since, what it holds now is read and released.
 *
 * Nobody waits for ever: a batch is bounded, refused requests come first in the next one, and after as many conflicts as on the direct path
 * a request fails with IPAM_CONFLICT. Not here: blocks are not watched, because backends can watch only all of them; what others
 * change in the node's blocks costs one refused write.
 */
export type { NodeAllocator, NodeAllocatorOptions } from "./types.ts";

import type { Client } from "../../datastore/index.ts";
import type { NodeAllocator, NodeAllocatorOptions } from "./types.ts";

/**
 * The allocator of one node's agent: {@link NodeAllocator}. Begins to watch at once and does not wait for it: until all is known,
 * requests are served as by createIpam. Throws nothing.
 */
export async function openNodeAllocator(client: Client, options: NodeAllocatorOptions): Promise<NodeAllocator> {
  return (await import("./allocator.ts")).startNodeAllocator(client, options);
}
