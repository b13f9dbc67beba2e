import { BlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { cidrContains, formatCidr, parseCidr, subnetAt, tryParseCidr } from "../ip/index.ts";
import { claimReadable } from "./acquire.ts";
import { ownerOf } from "./affinity.ts";
import { chooseFamily } from "./assign.ts";
import { collectCooled } from "./block.ts";
import { claimBlock, releaseAffinity } from "./claim.ts";
import { type Context, isRace, RETRIES, updateOp } from "./context.ts";
import { IpamError } from "./errors.ts";
import { disabledReason } from "./pools.ts";
import { listBlocks, readAffinities, readAllPools, readAllReservations, readConfig, readNodeLabels } from "./reads.ts";
import { findClaimable } from "./search.ts";
import type { AffinityReleaseResult, ClaimResult, Ipam, Owner } from "./types.ts";
import { reload, type Work } from "./work.ts";

/** Blocks as a whole: claimed, given up, made sure of. */

/** See {@link Ipam.claimAffinity}. */
export async function claimAffinity(ctx: Context, text: string, owner: Owner): Promise<ClaimResult> {
  const cidr = tryParseCidr(text);
  if (!cidr) throw new IpamError("IPAM_INVALID", `cidr: "${text}" is not a CIDR`);
  const pool = (await readAllPools(ctx)).find((one) => cidrContains(one.cidr, cidr) && !disabledReason(one));
  if (!pool) throw new IpamError("IPAM_NOT_IN_POOL", `${text} is in no IP pool that is enabled`);
  if (cidr.length > pool.blockSize)
    throw new IpamError("IPAM_INVALID", `${text} is smaller than a block of pool ${pool.name} (/${pool.blockSize})`);
  const claimed: string[] = [];
  const taken: string[] = [];
  const count = 1n << BigInt(pool.blockSize - cidr.length);
  for (let index = 0n; index < count; index++) {
    const block = subnetAt(cidr, pool.blockSize, index);
    ((await claimBlock(ctx, owner, block)) ? claimed : taken).push(formatCidr(block));
  }
  return { claimed, taken };
}

/** See {@link Ipam.releaseOwner}. */
export async function releaseOwner(
  ctx: Context,
  owner: Owner,
  options: { readonly mustBeEmpty?: boolean } = {},
): Promise<AffinityReleaseResult> {
  return releaseAll(ctx, await readAffinities(ctx, owner), options.mustBeEmpty ?? false);
}

/** See {@link Ipam.releaseAffinities}. */
export async function releaseAffinities(
  ctx: Context,
  text: string,
  options: { readonly owner?: Owner; readonly mustBeEmpty?: boolean } = {},
): Promise<AffinityReleaseResult> {
  const cidr = tryParseCidr(text);
  if (!cidr) throw new IpamError("IPAM_INVALID", `cidr: "${text}" is not a CIDR`);
  const rows = options.owner
    ? await readAffinities(ctx, options.owner)
    : (await ctx.client.list(BlockAffinity, { ipVersion: cidr.version })).items;
  const inside = rows.filter(({ spec }) => {
    const block = tryParseCidr(spec.cidr);
    return block !== undefined && cidrContains(cidr, block);
  });
  return releaseAll(ctx, inside, options.mustBeEmpty ?? false);
}

async function releaseAll(
  ctx: Context,
  rows: readonly BlockAffinity[],
  mustBeEmpty: boolean,
): Promise<AffinityReleaseResult> {
  const config = await readConfig(ctx);
  const released: string[] = [];
  const notEmpty: string[] = [];
  for (const row of rows) {
    const cidr = tryParseCidr(row.spec.cidr);
    if (!cidr) continue;
    const result = await releaseAffinity(ctx, config, ownerOf(row), cidr, { mustBeEmpty });
    if (result === "released") released.push(row.spec.cidr);
    if (result === "not-empty") notEmpty.push(row.spec.cidr);
  }
  return { released, notEmpty };
}

/** See {@link Ipam.ensureBlock}. */
export async function ensureBlock(
  ctx: Context,
  request: Parameters<Ipam["ensureBlock"]>[0],
): Promise<{ v4?: string; v6?: string }> {
  const owner: Owner = { type: "host", name: request.host };
  const [config, allPools, reservations, rows, labels] = await Promise.all([
    readConfig(ctx),
    readAllPools(ctx),
    readAllReservations(ctx),
    readAffinities(ctx, owner),
    readNodeLabels(ctx, owner.name),
  ]);
  const work: Work = { ctx, owner, config, reservations, blocks: new Map(), unreadable: new Set(), allPools };
  const found: { v4?: string; v6?: string } = {};
  for (const version of new Set(request.versions)) {
    const family = chooseFamily(work, rows, labels ?? {}, version, 0, { ...request, use: "Workload" });
    const cidr = await firstBlock(work, family);
    if (version === 4) found.v4 = cidr;
    else found.v6 = cidr;
  }
  return found;
}

async function firstBlock(work: Work, family: ReturnType<typeof chooseFamily>): Promise<string> {
  const { owner, config } = work;
  for (const row of family.rows) {
    if (await claimReadable(work, parseCidr(row.cidr))) return row.cidr;
  }
  for (let claims = 0; config.autoAllocateBlocks && claims < RETRIES; claims++) {
    const cidr = await findClaimable(work, family);
    if (!cidr) break;
    if (await claimReadable(work, cidr)) return formatCidr(cidr);
    await reload(work, cidr);
  }
  const { explainExhaustion } = await import("./exhaustion.ts");
  throw await explainExhaustion(work, family, owner.name);
}

/** See {@link Ipam.collectCooled}. */
export async function collectAllCooled(ctx: Context): Promise<number> {
  const [config, blocks] = await Promise.all([readConfig(ctx), listBlocks(ctx)]);
  let freed = 0;
  for (const block of blocks) {
    const before = block.spec.unallocated.length;
    if (!collectCooled(block.spec, config.ipCooldownSeconds, ctx.now())) continue;
    block.spec.sequenceNumber += 1n;
    try {
      await ctx.client.batch([updateOp(IPAMBlock, block)]);
      freed += block.spec.unallocated.length - before;
    } catch (error) {
      // Whoever has changed it has collected it.
      if (!isRace(error)) throw error;
    }
  }
  return freed;
}
