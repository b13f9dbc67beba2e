/**
 * The allocator: which address goes to whom. A pool is cut into blocks; a node owns blocks by an affinity and assigns
 * from them without asking anybody; a handle counts what one user holds in which block, so that all of it can be
 * released without a search. Every write is a compare-and-swap on one block, affinity or handle, so any number of
 * nodes, and other Calicos, may work on the same datastore at the same time.
 *
 * Data flow: configuration, pools, reservations, affinities and the handle are read in one round, the blocks in a
 * second; `block.ts`, `pools.ts`, `candidates.ts`, `reservations.ts`, `handle.ts` and `affinity.ts` decide without
 * effects; `assign.ts` (with `grant.ts` for the commit), `given.ts`, `claim.ts` and `release.ts` write. What an
 * ordinary ADD or DEL does not need is loaded when it is: `acquire.ts` (new blocks, with `search.ts`; borrowing), `undo.ts`, and what
 * people ask for. Handle, block and what the caller adds go into one batch:
 * one commit where the datastore has transactions, elsewhere in that order and undone on failure. A conflict means
 * that somebody was faster: what conflicted is read again and decided anew.
 *
 * Not here: the owner swap of a migrating KubeVirt machine (SetOwnerAttributes) and its limit of addresses a handle,
 * and blocks with addresses set aside for Windows; they are kept as they are found.
 */
export type { Audit, AuditedAllocation, AuditInput, HandleInfo, UsedAddress } from "./audit.ts";
export type { AuditTextOptions } from "./audit-text.ts";
export type { BorrowedAddress } from "./borrowed.ts";
export { IpamError, type IpamErrorCode, type PoolReason } from "./errors.ts";
export { createIpam } from "./ipam.ts";
export type { LeakedHandle, LeakReport, Leaks } from "./leak-report.ts";
export type { Reclaimed, ReclaimRequest } from "./reclaim.ts";
export type { ManageOptions } from "./resources.ts";
export type {
  AffinityReleaseResult,
  Allocation,
  AlsoWrite,
  Assigned,
  AssignedAddress,
  AssignIpRequest,
  Attributes,
  AutoAssignRequest,
  BlockUtilisation,
  CheckOptions,
  CheckReport,
  ClaimResult,
  Finding,
  FindingKind,
  Ipam,
  IpamConfig,
  IpamOptions,
  Owner,
  PoolUtilisation,
  ReleaseByHandleOptions,
  Released,
  ReleaseOutcome,
  ReleaseRequest,
  RepairOptions,
  RepairReport,
  RoomRequest,
  SplitResult,
  UnreadableBlock,
  Use,
  Utilisation,
  UtilisationReport,
} from "./types.ts";

/** Audits, their reports, and writes of resources with all their rules: for command lines and controllers. */
export function ipamAdmin(): Promise<typeof import("./admin.ts")> {
  return import("./admin.ts");
}
