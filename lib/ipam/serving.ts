import type { IPAMBlock } from "../api/ipamblock.ts";
import { ownerText } from "./affinity.ts";
import { allocate } from "./block.ts";
import type { Portion } from "./grant.ts";
import { type Pool, poolOf } from "./pools.ts";
import { cidrOf } from "./reads.ts";
import type { AutoAssignRequest } from "./types.ts";
import type { Family, Row, Work } from "./work.ts";

/** One address family being served: what it has got so far on this attempt, and what is missing. */
export interface Serving {
  readonly work: Work;
  readonly family: Family;
  readonly request: AutoAssignRequest;
  readonly handleId: string | undefined;
  readonly portions: Portion[];
  /** How many addresses are missing. */
  need: number;
}

/** Allocates what is missing, or as much of it as a block has. */
export function take(serving: Serving, block: IPAMBlock): void {
  const { work, family, request, handleId, portions, need } = serving;
  if (need === 0) return;
  const fresh = allocate(block.spec, cidrOf(block), need, handleId, request.attributes ?? {}, work.reservations);
  if (fresh.length === 0) return;
  serving.need -= fresh.length;
  for (let i = 0; i < portions.length; i++) {
    const before = portions[i]!;
    if (before.block !== block) continue;
    portions[i] = { ...before, fresh: [...before.fresh, ...fresh] };
    return;
  }
  portions.push({ block, fresh, held: [], pool: poolName(family.pools, block) });
}

/** The block of an affinity, when both say that it is the owner's. */
export function confirmedBlock(work: Work, row: Row): IPAMBlock | undefined {
  const block = work.blocks.get(row.cidr);
  return row.confirmed && block?.spec.affinity === ownerText(work.owner) ? block : undefined;
}

/** The pool that a block is in; "" when it is gone. */
export function poolName(pools: readonly Pool[], block: IPAMBlock): string {
  const { version, base } = cidrOf(block);
  return poolOf(pools, { version, value: base })?.name ?? "";
}
