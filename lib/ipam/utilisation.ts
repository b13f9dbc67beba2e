import type { IPAMBlock } from "../api/ipamblock.ts";
import { type Cidr, cidrOverlaps, cidrSize, formatCidr, tryParseCidr } from "../ip/index.ts";
import { parseOwner } from "./affinity.ts";
import { attributesAt, collectCooled, freeCount, isAllocated } from "./block.ts";
import type { Context } from "./context.ts";
import { IpamError } from "./errors.ts";
import type { Pool } from "./pools.ts";
import { cidrOf, listBlocks, readAllPools, readAllReservations, readConfig } from "./reads.ts";
import type { Reservations } from "./reservations.ts";
import type { BlockUtilisation, PoolUtilisation, UtilisationReport } from "./types.ts";

/** See {@link Ipam.utilisation}. */
export async function utilisation(ctx: Context, wanted: readonly string[] = []): Promise<UtilisationReport> {
  const [config, allPools, reservations, blocks] = await Promise.all([
    readConfig(ctx),
    readAllPools(ctx),
    readAllReservations(ctx),
    listBlocks(ctx),
  ]);
  for (const block of blocks) collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
  const pools = wanted.length === 0 ? allPools : wanted.map((text) => namedPool(allPools, text));
  const sorted = blocks
    .map((block) => ({ block, cidr: cidrOf(block) }))
    .sort((a, b) => a.cidr.version - b.cidr.version || (a.cidr.base < b.cidr.base ? -1 : 1));
  const ofPool = (pool: Pool) => sorted.filter(({ cidr }) => cidrOverlaps(pool.cidr, cidr));
  return {
    pools: pools.map((pool) => poolUse(pool, ofPool(pool), reservations)),
    orphans:
      wanted.length > 0
        ? []
        : sorted
            .filter(({ cidr }) => !allPools.some((pool) => cidrOverlaps(pool.cidr, cidr)))
            .map(({ block, cidr }) => blockUse(block, cidr, reservations)),
  };
}

function namedPool(pools: readonly Pool[], text: string): Pool {
  const cidr = tryParseCidr(text);
  const canonical = cidr && formatCidr(cidr);
  const pool = pools.find((one) => one.name === text || formatCidr(one.cidr) === canonical);
  if (pool) return pool;
  throw new IpamError("IPAM_POOL_NOT_FOUND", `there is no IP pool "${text}"; 'calicoctl get ippools' shows them`);
}

/** The counts of a pool cover all of it, also what no block covers yet: a reservation there is unassignable as well. */
function poolUse(
  pool: Pool,
  blocks: readonly { block: IPAMBlock; cidr: Cidr }[],
  reservations: Reservations,
): PoolUtilisation {
  const used = blocks.map(({ block, cidr }) => blockUse(block, cidr, reservations));
  const capacity = cidrSize(pool.cidr);
  const covered = reservations.plus(blocks.map(({ cidr }) => cidr)).count(pool.cidr);
  return {
    name: pool.name,
    cidr: formatCidr(pool.cidr),
    capacity,
    inUse: used.reduce((sum, { inUse }) => sum + inUse, 0n),
    reserved: reservations.count(pool.cidr),
    available: used.reduce((sum, { available }) => sum + available, capacity - covered),
    blocks: used,
  };
}

function blockUse({ spec }: IPAMBlock, cidr: Cidr, reservations: Reservations): BlockUtilisation {
  const owner = parseOwner(spec.affinity);
  let inUse = 0;
  let borrowed = 0;
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    if (!isAllocated(spec, ordinal)) continue;
    inUse++;
    const node = attributesAt(spec, ordinal)?.secondary?.node;
    if (node !== undefined && node !== owner?.name) borrowed++;
  }
  return {
    cidr: spec.cidr,
    ...(spec.affinity === undefined ? {} : { affinity: spec.affinity }),
    borrowed,
    capacity: cidrSize(cidr),
    inUse: BigInt(inUse),
    reserved: reservations.count(cidr),
    available: BigInt(freeCount(spec, cidr, reservations)),
  };
}
