import type { IPAMBlock } from "../api/ipamblock.ts";
import type { IPAMHandle } from "../api/ipamhandle.ts";
import type { IPPool } from "../api/ippool.ts";
import type { Node } from "../api/node.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { type Address, containsAddress, formatAddress, parseCidr, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { addressText, attributesAt, blockProblems, cleanHandle, isAllocated, sequenceOf } from "./block.ts";

/**
 * What `ipam check` compares: who holds which address according to the blocks, and who uses which according to nodes and
 * endpoints. It is upstream's check (calicoctl/commands/ipam/check.go), question by question, because its report file is
 * what `ipam release --from-report` of either implementation reads. {@link Ipam.check} asks further.
 */
export interface AuditInput {
  readonly blocks: readonly IPAMBlock[];
  readonly handles: readonly IPAMHandle[];
  readonly pools: readonly IPPool[];
  readonly nodes: readonly Node[];
  readonly endpoints: readonly WorkloadEndpoint[];
  /** IDs of handles that exist and cannot be read: they are neither leaked nor missing. */
  readonly unreadableHandles?: readonly string[];
}

/** One allocated address; the fields of upstream's report. */
export interface AuditedAllocation {
  readonly ip: string;
  readonly handle?: string;
  readonly sequenceNumber: bigint;
  readonly pod?: string;
  readonly namespace?: string;
  readonly node?: string;
  readonly type?: string;
  readonly creationTimestamp?: string;
  readonly inUse: boolean;
  readonly borrowed?: true;
  readonly coolingDown?: true;
  readonly owners: readonly string[];
}

/** An address of the block listing: the allocation and what is stored with it. */
export interface AuditedAddress {
  readonly allocation: AuditedAllocation;
  /** `Main:<handle> Extra:<key=value,…>`. */
  readonly attributes: string;
}

export interface AuditedBlock {
  readonly cidr: string;
  readonly affinity?: string;
  readonly addresses: readonly AuditedAddress[];
  /** Why the block contradicts itself, if it does. */
  readonly problem?: string;
}

/** An address that a node or an endpoint uses, and by whom, as `Node(n)` or `Workload(ns/name)`. */
export interface UsedAddress {
  readonly ip: string;
  readonly owners: readonly string[];
}

/** A handle, and which state of it was seen. */
export interface HandleInfo {
  readonly id: string;
  readonly uid?: string;
  readonly revision: string;
}

export interface Audit {
  readonly blocks: readonly AuditedBlock[];
  /** CIDRs of the pools that are not disabled. */
  readonly pools: readonly string[];
  readonly nodeAddresses: readonly UsedAddress[];
  readonly endpointAddresses: readonly UsedAddress[];
  /** Every address in use, each once. */
  readonly used: readonly UsedAddress[];
  /** Nodes and the number of addresses allocated to them, most first. */
  readonly nodes: readonly { readonly name: string; readonly allocations: number }[];
  /** Allocated, but nobody uses it. */
  readonly leaked: readonly AuditedAddress[];
  /** Used, and in an active pool, but not allocated. */
  readonly notAllocated: readonly UsedAddress[];
  /** Used, but in no active pool. */
  readonly outsidePools: readonly UsedAddress[];
  /** Handles that no block mentions. */
  readonly leakedHandles: readonly HandleInfo[];
  /** How many handles a block mentions. */
  readonly goodHandles: number;
  /** Handles that a block mentions and that do not exist. */
  readonly missingHandles: readonly string[];
  /** As upstream counts them: missing handles are reported, but not counted. */
  readonly problems: number;
}

/** Compares. Addresses of endpoints and nodes that do not parse are ignored: their kinds are validated elsewhere. */
export function audit(input: AuditInput): Audit {
  const nodeAddresses = input.nodes.flatMap(usedByNode);
  const endpointAddresses = input.endpoints.flatMap(usedByEndpoint);
  const used = merge([...nodeAddresses, ...endpointAddresses, ...reservedForWindows(input.blocks)]);
  const ownersOf = new Map(used.map((address) => [address.ip, address.owners]));
  const blocks = input.blocks.map((block) => auditBlock(block, ownersOf));
  const addresses = blocks.flatMap((block) => block.addresses);
  const allocated = new Set(addresses.map(({ allocation }) => allocation.ip));
  const pools = input.pools.filter((pool) => pool.spec.disabled !== true).map((pool) => pool.spec.cidr);
  const networks = pools.flatMap((cidr) => tryParseCidr(cidr) ?? []);
  const inPool = (ip: string) => {
    const address = tryParseAddress(ip);
    return address !== undefined && networks.some((network) => containsAddress(network, address));
  };
  const leaked = addresses.filter(({ allocation }) => !allocation.inUse && !allocation.coolingDown);
  const unknown = used.filter(({ ip }) => !allocated.has(ip));
  const notAllocated = unknown.filter(({ ip }) => inPool(ip));
  const outsidePools = unknown.filter(({ ip }) => !inPool(ip));
  const mentioned = new Set(addresses.flatMap(({ allocation }) => allocation.handle ?? []));
  const handles = input.handles.map(handleInfo);
  const leakedHandles = handles.filter(({ id }) => !mentioned.has(id));
  const known = new Set([...handles.map(({ id }) => id), ...(input.unreadableHandles ?? []).map(cleanHandle)]);
  return {
    blocks,
    pools,
    nodeAddresses,
    endpointAddresses,
    used,
    nodes: countByNode(addresses),
    leaked,
    notAllocated,
    outsidePools,
    leakedHandles,
    goodHandles: handles.length - leakedHandles.length,
    missingHandles: [...mentioned].filter((id) => !known.has(id)).sort(),
    problems:
      leaked.length +
      notAllocated.length +
      outsidePools.length +
      leakedHandles.length +
      blocks.filter((block) => block.problem !== undefined).length,
  };
}

/** Upstream's handle for the first three and the last address of a Windows node's block: allocated, and used by nobody. */
const WINDOWS_RESERVED = "windows-reserved-ipam-handle";

function auditBlock(block: IPAMBlock, ownersOf: ReadonlyMap<string, readonly string[]>): AuditedBlock {
  const { spec } = block;
  const cidr = parseCidr(spec.cidr);
  const problems = blockProblems(spec);
  const addresses: AuditedAddress[] = [];
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    if (!isAllocated(spec, ordinal)) continue;
    const attributes = attributesAt(spec, ordinal);
    const ip = addressText(cidr, ordinal);
    const extra = attributes?.secondary ?? {};
    const owner = spec.affinity?.startsWith("host:") ? spec.affinity.slice("host:".length) : "";
    const node = extra.node || owner;
    const handle = attributes?.handle_id;
    const owners = ownersOf.get(ip) ?? [];
    const allocation: AuditedAllocation = {
      ip,
      ...(handle !== undefined && handle !== WINDOWS_RESERVED ? { handle: cleanHandle(handle) } : {}),
      sequenceNumber: sequenceOf(spec, ordinal),
      ...(extra.pod ? { pod: extra.pod } : {}),
      ...(extra.namespace ? { namespace: extra.namespace } : {}),
      ...(node ? { node } : {}),
      ...(extra.type ? { type: extra.type } : {}),
      ...(extra.timestamp ? { creationTimestamp: extra.timestamp } : {}),
      inUse: owners.length > 0,
      ...(node === owner ? {} : { borrowed: true }),
      ...(attributes?.releasedAt === undefined ? {} : { coolingDown: true }),
      owners,
    };
    const alternate = pairs(attributes?.alternateOwnerAttrs ?? {});
    const text = attributes
      ? `Main:${handle ?? "<none>"} Extra:${pairs(extra)}${alternate === "" ? "" : ` Alternate:${alternate}`}`
      : "<missing>";
    addresses.push({ allocation, attributes: text });
  }
  return {
    cidr: spec.cidr,
    ...(spec.affinity === undefined ? {} : { affinity: spec.affinity }),
    addresses,
    ...(problems.length === 0 ? {} : { problem: problems.join("; ") }),
  };
}

function pairs(values: Readonly<Record<string, string>>): string {
  return Object.keys(values)
    .sort()
    .map((key) => `${key}=${values[key]}`)
    .join(",");
}

function usedByNode(node: Node): UsedAddress[] {
  const { spec } = node;
  const tunnels = [
    spec.ipv4VXLANTunnelAddr,
    spec.ipv6VXLANTunnelAddr,
    spec.wireguard?.interfaceIPv4Address,
    spec.wireguard?.interfaceIPv6Address,
    spec.bgp?.ipv4IPIPTunnelAddr,
  ];
  return tunnels.flatMap((text) => use(text, `Node(${node.metadata.name})`));
}

function usedByEndpoint(endpoint: WorkloadEndpoint): UsedAddress[] {
  const owner = `Workload(${endpoint.metadata.namespace ?? ""}/${endpoint.metadata.name})`;
  return (endpoint.spec.ipNetworks ?? []).flatMap((text) => use(text, owner));
}

function reservedForWindows(blocks: readonly IPAMBlock[]): UsedAddress[] {
  return blocks.flatMap(({ spec }) => {
    if (!spec.attributes.some((attributes) => attributes.handle_id === WINDOWS_RESERVED)) return [];
    const cidr = parseCidr(spec.cidr);
    return spec.allocations.flatMap((_, ordinal) =>
      attributesAt(spec, ordinal)?.handle_id === WINDOWS_RESERVED
        ? [{ ip: addressText(cidr, ordinal), owners: ["Reserved for Windows"] }]
        : [],
    );
  });
}

function use(text: string | undefined, owner: string): UsedAddress[] {
  const address = text === undefined || text === "" ? undefined : addressIn(text);
  return address === undefined ? [] : [{ ip: formatAddress(address), owners: [owner] }];
}

function addressIn(text: string): Address | undefined {
  const slash = text.indexOf("/");
  return tryParseAddress(slash < 0 ? text : text.slice(0, slash));
}

function merge(uses: readonly UsedAddress[]): UsedAddress[] {
  const owners = new Map<string, string[]>();
  for (const { ip, owners: more } of uses) {
    const known = owners.get(ip);
    if (known) known.push(...more);
    else owners.set(ip, [...more]);
  }
  return [...owners].map(([ip, names]) => ({ ip, owners: names }));
}

function countByNode(addresses: readonly AuditedAddress[]): { name: string; allocations: number }[] {
  const counts = new Map<string, number>();
  for (const { allocation } of addresses) {
    const name = allocation.node ?? "";
    counts.set(name, (counts.get(name) ?? 0) + 1);
  }
  return [...counts]
    .map(([name, allocations]) => ({ name, allocations }))
    .sort((a, b) => b.allocations - a.allocations || (a.name < b.name ? -1 : 1));
}

function handleInfo(handle: IPAMHandle): HandleInfo {
  const { uid, resourceVersion } = handle.metadata;
  return { id: handle.spec.handleID, ...(uid === undefined ? {} : { uid }), revision: resourceVersion ?? "" };
}
