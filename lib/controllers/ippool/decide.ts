import type { IPPool } from "../../api/ippool.ts";
import { type Cidr, cidrOverlaps, tryParseCidr } from "../../ip/index.ts";
import { type Condition, withCondition } from "../conditions.ts";

/** Keeps a pool that is deleted until its blocks are released (kube-controllers/pkg/controllers/ippool). */
export const FINALIZER = "projectcalico.org/ippool-finalizer";

/** What is to be done to one pool. */
export interface PoolDecision {
  readonly pool: IPPool;
  /** The whole list; absent: it is right. */
  readonly conditions?: readonly Condition[];
  /** The whole list; absent: it is right. */
  readonly finalizers?: readonly string[];
  /** It waits for its blocks: their affinities are given up, and the finalizer goes when none is left. */
  readonly isEnding: boolean;
}

type Wanted = Omit<Condition, "type">;

const ALLOCATABLE = "Allocatable";
const OK: Wanted = { status: "True", reason: "OK", message: "IPPool is available for IP allocation." };
const DISABLED: Wanted = { status: "False", reason: "PoolDisabled", message: "IPPool.Spec.Disabled is true" };
const TERMINATING: Wanted = { status: "False", reason: "Terminating", message: "IPPool is being deleted" };
const OVERLAP: Wanted = {
  status: "False",
  reason: "CIDROverlap",
  message: "CIDR overlaps another pool; disabled to prevent IP allocation conflicts.",
};

/**
 * What is to be done to each of all pools, in the order in which they count: of pools that share addresses only the first may assign. Those that
 * assign already come first, then those that are being deleted, which keep others out until they are gone, then those that were kept out, then new ones;
 * among equals the oldest, then by name. `now` is in milliseconds since 1970.
 */
export function decidePools(pools: readonly IPPool[], now: number): PoolDecision[] {
  const active: Cidr[] = [];
  return [...pools].sort(comparePools).flatMap((pool) => {
    const cidr = tryParseCidr(pool.spec.cidr);
    return cidr ? [decide(pool, wantedCondition(pool, cidr, active), now)] : [];
  });
}

/** Adds the pool to those that keep others out. */
function wantedCondition(pool: IPPool, cidr: Cidr, active: Cidr[]): Wanted {
  if (pool.spec.disabled) return DISABLED;
  const isTerminating = Boolean(pool.metadata.deletionTimestamp);
  if (!isTerminating && active.some((other) => cidrOverlaps(cidr, other))) return OVERLAP;
  active.push(cidr);
  return isTerminating ? TERMINATING : OK;
}

function decide(pool: IPPool, wanted: Wanted, now: number): PoolDecision {
  const { finalizers = [], deletionTimestamp } = pool.metadata;
  const conditions = withCondition(pool.status?.conditions, { type: ALLOCATABLE, ...wanted }, now);
  const common = { pool, isEnding: false, ...(conditions && { conditions }) };
  const has = finalizers.includes(FINALIZER);
  if (deletionTimestamp) return { ...common, isEnding: has };
  // Blocks in an overlapping pool are another's: they must not keep it from being deleted.
  const shouldHave = wanted.status === "True";
  if (has === shouldHave) return common;
  return { ...common, finalizers: shouldHave ? [...finalizers, FINALIZER] : withoutFinalizer(pool) };
}

export const withoutFinalizer = ({ metadata }: IPPool): string[] =>
  (metadata.finalizers ?? []).filter((one) => one !== FINALIZER);

/** Whether any of these blocks lies in the pool. */
export function hasBlocks({ spec }: IPPool, blocks: Iterable<Cidr>): boolean {
  const cidr = tryParseCidr(spec.cidr);
  if (!cidr) return false;
  for (const block of blocks) if (cidrOverlaps(cidr, block)) return true;
  return false;
}

function comparePools(a: IPPool, b: IPPool): number {
  const age = (pool: IPPool) => Date.parse(pool.metadata.creationTimestamp ?? "") || 0;
  const byName = a.metadata.name < b.metadata.name ? -1 : a.metadata.name > b.metadata.name ? 1 : 0;
  return categoryOf(a) - categoryOf(b) || age(a) - age(b) || byName;
}

function categoryOf({ metadata, status }: IPPool): number {
  const is = (wanted: string) =>
    status?.conditions?.some(({ type, status }) => type === ALLOCATABLE && status === wanted) ?? false;
  if (metadata.deletionTimestamp) return 1;
  if (is("True")) return 0;
  return is("False") ? 2 : 3;
}
