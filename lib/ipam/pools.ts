import { type IPPool, selectsNamespace, selectsNode } from "../api/ippool.ts";
import { type Address, type Cidr, containsAddress, formatCidr, sameCidr, tryParseCidr } from "../ip/index.ts";
import { IpamError, type PoolReason } from "./errors.ts";
import type { Use } from "./types.ts";

/** A pool with what is parsed of it. */
export interface Pool {
  readonly name: string;
  readonly cidr: Cidr;
  /** Prefix length of its blocks. */
  readonly blockSize: number;
  readonly resource: IPPool;
}

/** Pools by name. One whose CIDR cannot be read is passed over. */
export function readPools(items: readonly IPPool[]): Pool[] {
  const pools: Pool[] = [];
  for (const resource of items) {
    const cidr = tryParseCidr(resource.spec.cidr);
    if (!cidr) continue;
    const blockSize = resource.spec.blockSize || (cidr.version === 4 ? 26 : 122);
    pools.push({ name: resource.metadata.name, cidr, blockSize, resource });
  }
  return pools.sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Why nothing may be assigned from a pool, whoever asks; undefined when it is enabled. */
export function disabledReason({ resource, blockSize, cidr }: Pool): string | undefined {
  if (resource.metadata.deletionTimestamp) return "is being deleted";
  if (resource.spec.disabled) return "is disabled";
  const condition = resource.status?.conditions?.find(
    ({ type, status }) => type === "Allocatable" && status === "False",
  );
  if (condition) return `may not be assigned from (${condition.reason || "Allocatable is False"})`;
  if (blockSize < cidr.length) return `has blocks of /${blockSize}, larger than itself`;
  return undefined;
}

/** The pool that contains an address. */
export function poolOf(pools: readonly Pool[], address: Address): Pool | undefined {
  for (const pool of pools) if (containsAddress(pool.cidr, address)) return pool;
  return undefined;
}

/** Whether the choice of pools depends on the node's labels. */
export function asksForNode(pools: readonly Pool[]): boolean {
  for (const { resource } of pools) if (!selectsAll(resource.spec.nodeSelector)) return true;
  return false;
}

/** Whether a selector is one of those that select everything, so that nothing needs to be read or parsed. */
export function selectsAll(selector: string | undefined): boolean {
  return selector === undefined || selector.trim() === "" || selector.trim() === "all()";
}

export interface PoolQuery {
  readonly version: 4 | 6;
  readonly use: Use;
  readonly host: string;
  /** Names or CIDRs. */
  readonly requested: readonly string[];
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** `any`: which pod it will be for is not known, so namespaces do not count. */
  readonly namespaceLabels: Readonly<Record<string, string>> | "any";
}

export interface PoolChoice {
  /** In the order in which they are tried: as requested, else by name. */
  readonly usable: readonly Pool[];
  /** Every other pool of the family, and why not. */
  readonly rejected: readonly PoolReason[];
}

/** Which pools a request may take addresses from. Throws IPAM_POOL_NOT_FOUND when a requested one may not be used. */
export function choosePools(pools: readonly Pool[], query: PoolQuery): PoolChoice {
  const chosen = new Set<Pool>();
  for (const text of query.requested) chosen.add(requestedPool(pools, text, query));
  if (query.requested.length === 0) for (const pool of pools) if (pool.cidr.version === query.version) chosen.add(pool);
  const usable: Pool[] = [];
  const rejected: PoolReason[] = [];
  for (const pool of chosen) {
    const reason = query.requested.length > 0 ? wrongUse(pool, query.use) : unfitReason(pool, query);
    if (reason === undefined) usable.push(pool);
    else rejected.push({ pool: pool.name, cidr: formatCidr(pool.cidr), reason });
  }
  return { usable, rejected };
}

/** Why a pool does not allow a use; undefined when it does. */
export function wrongUse({ resource }: Pool, use: Use): string | undefined {
  const allowed = resource.spec.allowedUses;
  return allowed.includes(use) ? undefined : `is for ${allowed.join(" and ") || "nothing"}, not for ${use}`;
}

function unfitReason(pool: Pool, query: PoolQuery): string | undefined {
  const { spec } = pool.resource;
  const disabled = disabledReason(pool);
  if (disabled !== undefined) return disabled;
  if (spec.assignmentMode !== "Automatic") return `has assignmentMode ${spec.assignmentMode} and was not asked for`;
  if (!selectsAll(spec.nodeSelector) && !selectsNode(pool.resource, query.nodeLabels))
    return `does not select node ${query.host} (nodeSelector ${spec.nodeSelector})`;
  const { namespaceLabels } = query;
  if (
    namespaceLabels !== "any" &&
    !selectsAll(spec.namespaceSelector) &&
    !selectsNamespace(pool.resource, namespaceLabels)
  )
    return `does not select the namespace (namespaceSelector ${spec.namespaceSelector})`;
  return wrongUse(pool, query.use);
}

function requestedPool(pools: readonly Pool[], text: string, query: PoolQuery): Pool {
  const cidr = tryParseCidr(text);
  const pool = pools.find((candidate) => candidate.name === text || (cidr && sameCidr(candidate.cidr, cidr)));
  const problem = !pool
    ? "does not exist"
    : pool.cidr.version !== query.version
      ? `is not an IPv${query.version} pool`
      : disabledReason(pool);
  if (pool && problem === undefined) return pool;
  throw new IpamError(
    "IPAM_POOL_NOT_FOUND",
    `the IPv${query.version} pool "${text}" that was asked for ${problem}; name a pool that 'calicoctl get ippools' shows`,
    { family: query.version },
  );
}
