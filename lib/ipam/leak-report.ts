import type { ClusterInformation } from "../api/clusterinformation.ts";
import { parseJson } from "../datastore/index.ts";
import type { Audit, AuditedAllocation, HandleInfo } from "./audit.ts";
import { IpamError } from "./errors.ts";
import type { ReleaseRequest } from "./types.ts";

/** The file of `ipam check -o`, field by field as upstream writes it (calicoctl/commands/ipam/check.go, CheckReport). */
export interface LeakReport {
  readonly version: string;
  readonly clusterGUID: string;
  readonly datastoreLocked: boolean;
  readonly clusterInformationRevision: string;
  readonly clusterType: string;
  /** By address; a list, because blocks that overlap may both hold it. */
  readonly allocations: Readonly<Record<string, readonly AuditedAllocation[]>>;
  readonly leakedHandles?: readonly LeakedHandle[];
}

/** Go prints these fields by their own names. */
export interface LeakedHandle {
  readonly ID: string;
  readonly UID: string | null;
  readonly Revision: string;
}

/** The report of an audit, for the cluster it was made of. */
export function leakReport(audit: Audit, cluster: ClusterInformation | undefined, version: string): LeakReport {
  const allocations: Record<string, AuditedAllocation[]> = {};
  for (const { allocation } of audit.blocks.flatMap((block) => block.addresses)) {
    const same = allocations[allocation.ip];
    if (same) same.push(allocation);
    else allocations[allocation.ip] = [allocation];
  }
  return {
    version,
    clusterGUID: cluster?.spec.clusterGUID ?? "",
    datastoreLocked: cluster?.spec.datastoreReady === false,
    clusterInformationRevision: cluster?.metadata.resourceVersion ?? "",
    clusterType: cluster?.spec.clusterType ?? "",
    allocations,
    ...(audit.leakedHandles.length === 0 ? {} : { leakedHandles: audit.leakedHandles.map(leakedHandle) }),
  };
}

function leakedHandle({ id, uid, revision }: HandleInfo): LeakedHandle {
  return { ID: id, UID: uid ?? null, Revision: revision };
}

/** Reads a report file. Throws IpamError IPAM_INVALID that names the file and what is not right in it. */
export function parseLeakReport(text: string, path: string): LeakReport {
  const fail = (what: string, cause?: unknown) =>
    new IpamError("IPAM_INVALID", `${path} is not a report of 'ipam check': ${what}`, { cause });
  let value: unknown;
  try {
    value = parseJson(text);
  } catch (cause) {
    throw fail((cause as Error).message, cause);
  }
  if (!isObject(value)) throw fail("it is not an object");
  const string = (key: string) => {
    const field = value[key];
    if (typeof field !== "string") throw fail(`"${key}" is not a text`);
    return field;
  };
  const { allocations } = value;
  if (!isObject(allocations)) throw fail('"allocations" is not an object');
  for (const [ip, entries] of Object.entries(allocations)) {
    if (!Array.isArray(entries) || !entries.every(isAllocation)) {
      throw fail(`"allocations" of ${ip} is not a list of allocations`);
    }
  }
  const leaked = value.leakedHandles ?? [];
  if (!Array.isArray(leaked) || !leaked.every((entry) => isObject(entry) && typeof entry.ID === "string")) {
    throw fail('"leakedHandles" is not a list of handles');
  }
  return {
    version: string("version"),
    clusterGUID: string("clusterGUID"),
    datastoreLocked: value.datastoreLocked === true,
    clusterInformationRevision: string("clusterInformationRevision"),
    clusterType: string("clusterType"),
    allocations: allocations as LeakReport["allocations"],
    leakedHandles: leaked as LeakedHandle[],
  };
}

/** What all of several reports call leaked: with reports made some time apart, nothing that was only just being attached. */
export interface Leaks {
  readonly addresses: readonly ReleaseRequest[];
  readonly handles: readonly HandleInfo[];
}

export function leaksIn(reports: readonly LeakReport[]): Leaks {
  let addresses: Map<string, ReleaseRequest> | undefined;
  let handles: Map<string, HandleInfo> | undefined;
  for (const report of reports) {
    const unused = Object.values(report.allocations)
      .flat()
      .filter((allocation) => !allocation.inUse && !allocation.coolingDown);
    const before = addresses;
    addresses = new Map(
      unused
        .filter(({ ip, sequenceNumber }) => {
          const known = before?.get(ip);
          return before === undefined || (known !== undefined && sameNumber(known.sequenceNumber, sequenceNumber));
        })
        .map((allocation) => [allocation.ip, releaseRequest(allocation)]),
    );
    const handlesBefore = handles;
    handles = new Map(
      (report.leakedHandles ?? [])
        .filter(({ ID, Revision }) => handlesBefore === undefined || handlesBefore.get(ID)?.revision === Revision)
        .map(({ ID, UID, Revision }) => [ID, { id: ID, ...(UID ? { uid: UID } : {}), revision: Revision }]),
    );
  }
  return { addresses: [...(addresses?.values() ?? [])], handles: [...(handles?.values() ?? [])] };
}

function releaseRequest({ ip, handle, sequenceNumber }: AuditedAllocation): ReleaseRequest {
  return {
    address: ip,
    ...(handle ? { handle } : {}),
    // A report that was read has a number where the sequence number is small.
    ...(sequenceNumber === undefined || sequenceNumber === null ? {} : { sequenceNumber: BigInt(sequenceNumber) }),
  };
}

function sameNumber(a: bigint | undefined, b: bigint | undefined): boolean {
  return a === undefined || b === undefined || BigInt(a) === BigInt(b);
}

/** Why these reports may not be used on this cluster; empty when they may. `force` lifts what is only a precaution. */
export function refusals(
  reports: readonly { readonly path: string; readonly report: LeakReport }[],
  cluster: ClusterInformation | undefined,
  version: string,
  force: boolean,
): { readonly errors: readonly string[]; readonly warnings: readonly string[] } {
  const errors: string[] = [];
  const warnings: string[] = [];
  for (const { path, report } of reports) {
    if (report.clusterGUID !== (cluster?.spec.clusterGUID ?? "")) {
      errors.push(`cluster does not match the provided report (${path}): mismatched cluster GUID. Refusing to release`);
    }
    if (report.version !== version) {
      if (force) {
        warnings.push("Report was produced using a different version of calicoctl. Ignoring due to --force option");
      } else {
        errors.push(
          `the provided report (${path}) was produced using a different version (${report.version}) of calicoctl. Refusing to release`,
        );
      }
    }
  }
  const revision = cluster?.metadata.resourceVersion ?? "";
  if (!reports.some(({ report }) => report.clusterInformationRevision === revision)) {
    errors.push(
      "the provided reports are all stale - at least one should be up-to-date. Please generate a new report while the data store is locked and try again",
    );
  }
  if (cluster?.spec.datastoreReady !== false) {
    if (force) warnings.push("Data store is not locked. Ignoring due to --force option");
    else errors.push("data store is not locked. Either lock the data store, or re-run with --force");
  }
  return { errors, warnings };
}

function isAllocation(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { ip, handle, sequenceNumber } = value;
  const number = sequenceNumber ?? 0;
  return (
    typeof ip === "string" &&
    typeof (handle ?? "") === "string" &&
    (typeof number === "bigint" || Number.isSafeInteger(number))
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
