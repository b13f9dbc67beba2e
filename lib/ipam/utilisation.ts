import type { IPAMBlock } from "../api/ipamblock.ts";
import { type Cidr, cidrOverlaps, cidrSize, formatCidr, parseCidr, tryParseCidr } from "../ip/index.ts";
import { parseOwner } from "./affinity.ts";
import { attributesAt, collectCooled, freeCount, isAllocated } from "./block.ts";
import type { Context } from "./context.ts";
import { IpamError } from "./errors.ts";
import type { Pool } from "./pools.ts";
import { cidrOf, listBlocks, readAllPools, readAllReservations, readConfig } from "./reads.ts";
import type { Reservations } from "./reservations.ts";
import type { BlockUtilisation, PoolUtilisation, UnreadableBlock, UtilisationReport } from "./types.ts";

/** A block and its place. One that cannot be read is somebody's all the same. */
interface Placed {
  readonly block: IPAMBlock | "unreadable";
  readonly cidr: Cidr;
}

/** See {@link Ipam.utilisation}. */
export async function utilisation(ctx: Context, wanted: readonly string[] = []): Promise<UtilisationReport> {
  const hidden: UnreadableBlock[] = [];
  const [config, allPools, reservations, blocks] = await Promise.all([
    readConfig(ctx),
    readAllPools(ctx),
    readAllReservations(ctx),
    listBlocks(ctx, undefined, (cidr, { message }) => void hidden.push({ cidr, problem: message })),
  ]);
  for (const block of blocks) collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
  const pools = wanted.length === 0 ? allPools : wanted.map((text) => namedPool(allPools, text));
  const placed: Placed[] = [
    ...blocks.map((block) => ({ block, cidr: cidrOf(block) })),
    ...hidden.map(({ cidr }) => ({ block: "unreadable" as const, cidr: parseCidr(cidr) })),
  ];
  const sorted = placed.sort((a, b) => a.cidr.version - b.cidr.version || (a.cidr.base < b.cidr.base ? -1 : 1));
  const ofPool = (pool: Pool) => sorted.filter(({ cidr }) => cidrOverlaps(pool.cidr, cidr));
  return {
    pools: pools.map((pool) => poolUse(pool, ofPool(pool), reservations)),
    orphans:
      wanted.length > 0
        ? []
        : sorted
            .filter(({ cidr }) => !allPools.some((pool) => cidrOverlaps(pool.cidr, cidr)))
            .map((one) => blockUse(one, reservations)),
    unreadable: hidden.filter(
      ({ cidr }) => wanted.length === 0 || pools.some((pool) => cidrOverlaps(pool.cidr, parseCidr(cidr))),
    ),
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
function poolUse(pool: Pool, blocks: readonly Placed[], reservations: Reservations): PoolUtilisation {
  const used = blocks.map((one) => blockUse(one, reservations));
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

function blockUse({ block, cidr }: Placed, reservations: Reservations): BlockUtilisation {
  const [capacity, reserved] = [cidrSize(cidr), reservations.count(cidr)];
  if (block === "unreadable") {
    return {
      cidr: formatCidr(cidr),
      unreadable: true,
      borrowed: 0,
      capacity,
      inUse: capacity,
      reserved,
      available: 0n,
    };
  }
  const { spec } = block;
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
    capacity,
    inUse: BigInt(inUse),
    reserved,
    available: BigInt(freeCount(spec, cidr, reservations)),
  };
}
