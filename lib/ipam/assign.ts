import type { BlockAffinity } from "../api/blockaffinity.ts";
import type { IPAMHandle } from "../api/ipamhandle.ts";
import { cidrContains, parseCidr } from "../ip/index.ts";
import { blockLimit } from "./affinity.ts";
import { cleanHandle, ordinalsOfHandle } from "./block.ts";
import { backOff, type Context, isRace, RETRIES, tooManyConflicts } from "./context.ts";
import { IpamError } from "./errors.ts";
import { describePortion, ExtraRefused, type Portion, writeGrant } from "./grant.ts";
import { asksForNode, choosePools } from "./pools.ts";
import {
  cidrOf,
  readAffinities,
  readAllPools,
  readAllReservations,
  readConfig,
  readHandle,
  readNodeLabels,
} from "./reads.ts";
import { confirmedBlock, poolName, type Serving, take } from "./serving.ts";
import type { Assigned, AssignedAddress, AutoAssignRequest, Owner } from "./types.ts";
import { cidrsOf, type Family, load, type Row, type Work } from "./work.ts";

/** How many of a host's own blocks are read at a time. */
export const BLOCKS_A_ROUND = 8;

/** Everything one request reads first, in one round trip. */
async function begin(ctx: Context, request: AutoAssignRequest) {
  const owner: Owner = { type: request.use === "LoadBalancer" ? "virtual" : "host", name: request.host };
  const handleId = request.handle === undefined ? undefined : cleanHandle(request.handle);
  const readsNode = owner.type === "host" && request.nodeLabels === undefined;
  const [config, allPools, reservations, rows, handle, node] = await Promise.all([
    readConfig(ctx),
    readAllPools(ctx),
    readAllReservations(ctx),
    readAffinities(ctx, owner),
    handleId === undefined ? undefined : readHandle(ctx, handleId),
    readsNode ? readNodeLabels(ctx, owner.name) : undefined,
  ]);
  if (readsNode && node === undefined && asksForNode(allPools))
    ctx.log.warning("there is no such Node: pools are chosen as for one without labels", { node: owner.name });
  const nodeLabels = request.nodeLabels ?? node ?? {};
  const work: Work = { ctx, owner, config, reservations, blocks: new Map(), unreadable: new Set(), allPools };
  return { work, rows, handleId, handle, nodeLabels };
}

/** See {@link Ipam.autoAssign}. */
export async function autoAssign(ctx: Context, request: AutoAssignRequest): Promise<Assigned> {
  const wanted = { 4: count(request.num4, "num4"), 6: count(request.num6, "num6") };
  if (request.host === "") throw new IpamError("IPAM_INVALID", "host: must name the node that assigns");
  const start = await begin(ctx, request);
  const { work, handleId } = start;
  let { handle } = start;
  const families: Family[] = [];
  for (const version of [4, 6] as const) {
    if (wanted[version] === 0) continue;
    families.push(chooseFamily(work, start.rows, start.nodeLabels, version, wanted[version], request));
  }
  await loadFirst(work, families, request.reuse ? handle : undefined);

  let unexplained = 0;
  for (let attempt = 0; ; attempt++) {
    const portions: Portion[] = [];
    for (const family of families) portions.push(...(await plan(work, family, request, handleId, handle)));
    const assigned = toAssigned(portions);
    const recount = request.reuse && handle ? recounted(work, handle, portions) : undefined;
    try {
      const extra = (await request.alsoWrite?.(assigned)) ?? [];
      const written = touched(portions, extra.length > 0);
      await writeGrant(ctx, { portions: written, handleId, handle, ...(recount ? { recount } : {}), extra });
      return assigned;
    } catch (error) {
      const refused = error instanceof ExtraRefused ? error.cause : error;
      if (!isRace(refused)) throw error;
      if (attempt + 1 >= RETRIES) throw tooManyConflicts(`assign addresses for node ${request.host}`, refused);
      await backOff(ctx, attempt);
      const changed = await refresh(work, families, portions, handleId, handle, request.reuse ?? false);
      // When nothing of ours has changed it is the caller's operations that are refused: making them anew helps now and then.
      if ((error instanceof ExtraRefused || !changed.any) && request.alsoWrite && ++unexplained > 5) throw refused;
      handle = changed.handle;
    }
  }
}

/** How many addresses a request asks for. Throws IPAM_INVALID. */
export function count(value: number | undefined, name: string): number {
  if (value === undefined) return 0;
  if (Number.isSafeInteger(value) && value >= 0) return value;
  throw new IpamError("IPAM_INVALID", `${name}: ${value}: must be a whole number, 0 or more`);
}

/** The pools of a family and the owner's blocks in them. Throws IPAM_NO_POOLS when there are none. */
export function chooseFamily(
  work: Work,
  rows: readonly BlockAffinity[],
  nodeLabels: Readonly<Record<string, string>>,
  version: 4 | 6,
  wanted: number,
  request: Pick<AutoAssignRequest, "pools4" | "pools6" | "use" | "host" | "namespaceLabels" | "maxBlocksPerHost">,
): Family {
  const { usable, rejected } = choosePools(work.allPools, {
    version,
    use: request.use,
    host: request.host,
    requested: (version === 4 ? request.pools4 : request.pools6) ?? [],
    nodeLabels,
    namespaceLabels: request.namespaceLabels ?? {},
  });
  if (usable.length === 0) {
    const why = rejected.map(({ pool, cidr, reason }) => `${pool} (${cidr}) ${reason}`).join("; ");
    throw new IpamError(
      "IPAM_NO_POOLS",
      rejected.length === 0
        ? `there is no IPv${version} pool; ${version === 6 ? "let calico-node make one (FELIX_IPV6SUPPORT=true), " : ""}make one with 'calicoctl create -f', or ask for no IPv${version} address`
        : `no IPv${version} pool may be used by node ${request.host}: ${why}`,
      { pools: rejected, family: version },
    );
  }
  const ranked: { row: Row; base: bigint; rank: number }[] = [];
  for (const { spec } of rows) {
    const cidr = parseCidr(spec.cidr);
    if (cidr.version !== version) continue;
    let rank = 0;
    while (rank < usable.length && !cidrContains(usable[rank]!.cidr, cidr)) rank++;
    const row = { cidr: spec.cidr, confirmed: spec.state === "confirmed" };
    if (rank < usable.length) ranked.push({ row, base: cidr.base, rank });
  }
  ranked.sort((a, b) => a.rank - b.rank || (a.base < b.base ? -1 : 1));
  const own: Row[] = [];
  for (const { row } of ranked) own.push(row);
  const limit = blockLimit(request.maxBlocksPerHost ?? 0, work.config.maxBlocksPerHost);
  return { version, wanted, pools: usable, rejected, rows: own, limit, listed: false };
}

/** The second round: the first blocks of every family, and those of the handle. */
async function loadFirst(work: Work, families: readonly Family[], handle: IPAMHandle | undefined): Promise<void> {
  const wanted = handle ? Object.keys(handle.spec.block) : [];
  for (const { rows } of families) wanted.push(...cidrsOf(rows.slice(0, BLOCKS_A_ROUND)));
  await load(work, wanted);
}

/**
 * Decides from which blocks a family is served, and allocates in their values: what the handle holds, then the owner's
 * confirmed blocks. Nearly every request ends there; what claims, reclaims and borrows is loaded when one does not.
 */
async function plan(
  work: Work,
  family: Family,
  request: AutoAssignRequest,
  handleId: string | undefined,
  handle: IPAMHandle | undefined,
): Promise<Portion[]> {
  if (request.reuse && handle) await load(work, Object.keys(handle.spec.block));
  const portions =
    request.reuse && handle && handleId !== undefined ? heldPortions(work, family, handle, handleId) : [];
  const serving: Serving = { work, family, request, handleId, portions, need: family.wanted };
  for (const { held } of portions) serving.need -= held.length;
  for (let first = 0; first < family.rows.length && serving.need > 0; first += BLOCKS_A_ROUND) {
    const round = family.rows.slice(first, first + BLOCKS_A_ROUND);
    await load(work, cidrsOf(round));
    for (const row of round) {
      const block = confirmedBlock(work, row);
      if (block) take(serving, block);
    }
  }
  if (serving.need === 0) return portions;
  const { acquire } = await import("./acquire.ts");
  return (await acquire(serving)) ? portions : plan(work, family, request, handleId, handle);
}

/** What the handle holds already of a family, up to what is wanted. */
function heldPortions(work: Work, family: Family, handle: IPAMHandle, handleId: string): Portion[] {
  const portions: Portion[] = [];
  let need = family.wanted;
  for (const cidr of Object.keys(handle.spec.block).sort()) {
    const block = work.blocks.get(cidr);
    if (!block || cidrOf(block).version !== family.version) continue;
    const held = ordinalsOfHandle(block.spec, handleId).slice(0, need);
    if (held.length === 0) continue;
    need -= held.length;
    portions.push({ block, fresh: [], held, pool: poolName(work.allPools, block) });
  }
  return portions;
}

/** What the handle holds according to the blocks, before the portions' new addresses are added. */
function recounted(work: Work, handle: IPAMHandle, portions: readonly Portion[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const cidr of Object.keys(handle.spec.block)) {
    const block = work.blocks.get(cidr);
    if (!block) continue;
    const fresh = portions.find((portion) => portion.block === block)?.fresh.length ?? 0;
    counts[cidr] = ordinalsOfHandle(block.spec, cleanHandle(handle.spec.handleID)).length - fresh;
  }
  return counts;
}

/** The blocks to write: those with new addresses, and when there is anything else to write also those that are only held, to guard them. */
function touched(portions: readonly Portion[], withExtra: boolean): readonly Portion[] {
  if (withExtra) return portions;
  for (const { fresh } of portions) if (fresh.length > 0) return portions;
  return [];
}

/** What the caller is told of portions. To be called before they are written. */
export function toAssigned(portions: readonly Portion[]): Assigned {
  const v4: AssignedAddress[] = [];
  const v6: AssignedAddress[] = [];
  for (const portion of portions) {
    for (const one of describePortion(portion)) (one.version === 4 ? v4 : v6).push(one);
  }
  return { v4, v6 };
}

/** Reads again what a refused write was made of. */
async function refresh(
  work: Work,
  families: readonly Family[],
  portions: readonly Portion[],
  handleId: string | undefined,
  handle: IPAMHandle | undefined,
  reuse: boolean,
) {
  const cidrs = new Set(portions.map(({ block }) => block.spec.cidr));
  if (reuse) for (const cidr of Object.keys(handle?.spec.block ?? {})) cidrs.add(cidr);
  const before = new Map(portions.map(({ block }) => [block.spec.cidr, block.metadata.resourceVersion]));
  // Values that were allocated in, and places that were empty, are not to be relied on; after a search through all
  // blocks neither is what was found full.
  const searched = families.some((family) => family.listed);
  for (const family of families) family.listed = false;
  for (const [cidr, block] of work.blocks) if (searched || !block || cidrs.has(cidr)) work.blocks.delete(cidr);
  const [again] = await Promise.all([
    handleId === undefined ? undefined : readHandle(work.ctx, handleId),
    load(work, [...cidrs]),
  ]);
  const any =
    again?.metadata.resourceVersion !== handle?.metadata.resourceVersion ||
    [...before].some(([cidr, version]) => work.blocks.get(cidr)?.metadata.resourceVersion !== version);
  return { handle: again, any };
}
