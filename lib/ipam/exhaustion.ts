import { Node } from "../api/node.ts";
import { DatastoreError } from "../datastore/index.ts";
import { cidrContains, cidrSize, formatCidr, tryParseCidr } from "../ip/index.ts";
import { ownerText, parseOwner } from "./affinity.ts";
import { freeCount, isAllocated } from "./block.ts";
import type { Context } from "./context.ts";
import { IpamError, type PoolReason } from "./errors.ts";
import type { Pool } from "./pools.ts";
import { cidrOf } from "./reads.ts";
import { blocksOf } from "./search.ts";
import type { Family, Work } from "./work.ts";

/** The error of a request that found no address: why each pool gave nothing, and what would help. */
export async function explainExhaustion(work: Work, family: Family, host: string): Promise<IpamError> {
  const { config } = work;
  const atLimit = family.rows.length >= family.limit;
  const reasons: PoolReason[] = family.pools.map((pool) => ({
    pool: pool.name,
    cidr: formatCidr(pool.cidr),
    reason: atLimit
      ? `may give no further block: the node holds ${family.rows.length} and may hold ${family.limit} (maxBlocksPerHost)`
      : !config.autoAllocateBlocks
        ? "may give no further block: autoAllocateBlocks is off, and the node's own blocks are full"
        : usage(work, pool),
  }));
  const all = [...reasons, ...family.rejected];
  const hint = await goneNodes(work.ctx, work);
  const names = family.pools.map(({ name }) => name).join(", ");
  const why = all.map(({ pool, cidr, reason }) => `${pool} (${cidr}) ${reason}`).join("; ");
  return new IpamError(
    "IPAM_POOL_EXHAUSTED",
    `no free IPv${family.version} address in pools [${names}] for node ${host}: ${why}${hint}`,
    { pools: all, family: family.version },
  );
}

function usage(work: Work, pool: Pool): string {
  const { owner, reservations, config } = work;
  let inUse = 0;
  let elsewhere = 0;
  for (const block of blocksOf(work, pool)) {
    for (let ordinal = 0; ordinal < block.spec.allocations.length; ordinal++) {
      if (isAllocated(block.spec, ordinal)) inUse++;
    }
    if (block.spec.affinity !== ownerText(owner)) elsewhere += freeCount(block.spec, cidrOf(block), reservations);
  }
  const reserved = reservations.count(pool.cidr);
  const parts = [`${inUse} of ${cidrSize(pool.cidr)} addresses in use`];
  if (reserved > 0n) parts.push(`${reserved} reserved`);
  let hidden = 0n;
  for (const text of work.unreadable) {
    const cidr = tryParseCidr(text);
    if (cidr && cidrContains(pool.cidr, cidr)) hidden += cidrSize(cidr);
  }
  if (hidden > 0n) parts.push(`${hidden} in blocks that cannot be read`);
  if (elsewhere > 0 && config.strictAffinity)
    return `has ${elsewhere} free addresses, but in blocks of others, and strictAffinity is on (${parts.join(", ")})`;
  return `is full (${parts.join(", ")})`;
}

/** Names the most usual cause of a full pool. */
async function goneNodes(ctx: Context, work: Work): Promise<string> {
  try {
    const { items, unreadable } = await ctx.client.list(Node);
    const nodes = new Set([...items.map(({ metadata }) => metadata.name), ...unreadable.map(({ ref }) => ref.name)]);
    if (nodes.size === 0) return "";
    let count = 0;
    for (const block of work.blocks.values()) {
      const owner = parseOwner(block?.spec.affinity);
      if (owner?.type === "host" && !nodes.has(owner.name)) count++;
    }
    return count === 0 ? "" : `; ${count} blocks are affine to nodes that do not exist, see 'calico-ipam check'`;
  } catch (error) {
    // A plugin may not be allowed to list nodes.
    if (error instanceof DatastoreError) return "";
    throw error;
  }
}
