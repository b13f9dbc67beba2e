import type { Audit, AuditedAddress } from "./audit.ts";

export interface AuditTextOptions {
  /** List every address that is looked at. */
  readonly allAddresses: boolean;
  /** List every address that is not as it should be; implied by `allAddresses`. */
  readonly problemAddresses: boolean;
}

/** At most so many nodes are listed. */
const TOP_NODES = 20;

/** The report of `ipam check` for people, in upstream's words and order, because scripts look for its lines. */
export function auditText(audit: Audit, options: AuditTextOptions): string {
  const showProblems = options.problemAddresses || options.allAddresses;
  return [
    "Checking IPAM for inconsistencies...\n",
    blocks(audit, options.allAddresses),
    pools(audit),
    users(audit, options.allAddresses),
    topNodes(audit),
    leaks(audit, showProblems),
    strangers(audit, showProblems),
    handles(audit, options.allAddresses, showProblems),
    structures(audit),
    `Check complete; found ${audit.problems} problems.`,
    "",
  ].join("\n");
}

function blocks(audit: Audit, all: boolean): string {
  const allocations = audit.blocks.reduce((sum, block) => sum + block.addresses.length, 0);
  return lines(
    "Loading all IPAM blocks...",
    `Found ${audit.blocks.length} IPAM blocks.`,
    ...audit.blocks.flatMap((block) => [
      ` IPAM block ${block.cidr} affinity=${block.affinity ?? "<none>"}:`,
      ...(all
        ? block.addresses.map((address) => `  ${address.allocation.ip} allocated; attrs ${address.attributes}`)
        : []),
    ]),
    `IPAM blocks record ${allocations} allocations.`,
    "",
  );
}

function pools(audit: Audit): string {
  return lines(
    "Loading all IPAM pools...",
    ...audit.pools.map((cidr) => `  ${cidr}`),
    `Found ${audit.pools.length} active IP pools.`,
    "",
  );
}

function users(audit: Audit, all: boolean): string {
  const list = (addresses: Audit["used"]) =>
    all ? addresses.flatMap(({ ip, owners }) => owners.map((owner) => `  ${ip} belongs to ${owner}`)) : [];
  return lines(
    "Loading all nodes.",
    ...list(audit.nodeAddresses),
    `Found ${audit.nodeAddresses.length} node tunnel IPs.`,
    "",
    "Loading all workload endpoints.",
    ...list(audit.endpointAddresses),
    `Found ${audit.endpointAddresses.length} workload IPs.`,
    `Workloads and nodes are using ${audit.used.length} IPs.`,
    "",
  );
}

function topNodes(audit: Audit): string {
  const [most] = audit.nodes;
  const median = audit.nodes[Math.floor(audit.nodes.length / 2)];
  return lines(
    `Looking for top (up to ${TOP_NODES}) nodes by allocations...`,
    ...audit.nodes.slice(0, TOP_NODES).map(({ name, allocations }) => `  ${name} has ${allocations} allocations`),
    ...(most && median ? [`Node with most allocations has ${most.allocations}; median is ${median.allocations}`] : []),
    "",
  );
}

function leaks(audit: Audit, show: boolean): string {
  const line = ({ allocation, attributes }: AuditedAddress) => `  ${allocation.ip} leaked; attrs ${attributes}`;
  return lines(
    "Scanning for IPs that are allocated but not actually in use...",
    ...(show ? audit.leaked.map(line) : []),
    `Found ${audit.leaked.length} IPs that are allocated in IPAM but not actually in use.`,
  );
}

function strangers(audit: Audit, show: boolean): string {
  const shared = audit.used.filter(({ owners }) => owners.length > 1);
  const each = (addresses: Audit["used"], verb: string) =>
    addresses.flatMap(({ ip, owners }) => owners.map((owner) => `  ${ip} in use by ${owner} ${verb}`));
  return lines(
    "Scanning for IPs that are in use by a workload or node but not allocated in IPAM...",
    ...(show
      ? [
          ...shared.map(({ ip }) => `  ${ip} has multiple owners.`),
          ...each(audit.outsidePools, "is not in any active IP pool."),
          ...each(audit.notAllocated, "and in active IPAM pool but has no IPAM allocation."),
        ]
      : []),
    `Found ${audit.outsidePools.length} in-use IPs that are not in active IP pools.`,
    `Found ${audit.notAllocated.length} in-use IPs that are in active IP pools but have no corresponding IPAM allocation.`,
    "",
  );
}

function handles(audit: Audit, all: boolean, show: boolean): string {
  return lines(
    "Scanning for IPAM handles with no matching IPs...",
    ...(all ? audit.leakedHandles.map(({ id }) => `  ${id} doesn't have any active IPs.`) : []),
    `Found ${audit.leakedHandles.length} handles with no matching IPs (and ${audit.goodHandles} handles with matches).`,
    "Scanning for IPs with missing handle...",
    ...(show ? audit.missingHandles.map((id) => `  ${id} is in use in a block but doesn't exist.`) : []),
    `Found ${audit.missingHandles.length} handles mentioned in blocks with no matching handle resource.`,
  );
}

function structures(audit: Audit): string {
  const invalid = audit.blocks.filter((block) => block.problem !== undefined);
  return lines(
    "Validating IPAMBlock structures...",
    ...invalid.map((block) => `  IPAMBlock ${block.cidr} is invalid: ${block.problem}`),
    `Found ${invalid.length} invalid IPAMBlocks.`,
  );
}

function lines(...items: readonly string[]): string {
  return items.join("\n");
}
