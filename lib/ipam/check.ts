import { BlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle } from "../api/ipamhandle.ts";
import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import type { Unreadable } from "../datastore/index.ts";
import {
  type Address,
  type Cidr,
  cidrOverlaps,
  containsAddress,
  formatAddress,
  parseCidr,
  tryParseAddress,
} from "../ip/index.ts";
import { ownerOf, ownerText, parseOwner } from "./affinity.ts";
import {
  addressText,
  attributesAt,
  blockProblems,
  cleanHandle,
  collectCooled,
  isAllocated,
  sequenceOf,
} from "./block.ts";
import type { Context } from "./context.ts";
import { disabledReason, type Pool, poolOf } from "./pools.ts";
import { cidrOf, readAllPools, readConfig } from "./reads.ts";
import type { CheckOptions, CheckReport, Finding, IpamConfig } from "./types.ts";

const WINDOWS_RESERVED = "windows-reserved-ipam-handle";

/** Everything a check compares: read in one round, so that it is one state of the datastore where that can be. */
interface State {
  readonly config: IpamConfig;
  readonly blocks: readonly { readonly block: IPAMBlock; readonly cidr: Cidr }[];
  readonly affinities: readonly BlockAffinity[];
  readonly handles: readonly IPAMHandle[];
  readonly pools: readonly Pool[];
  /** Names of the nodes that exist; empty where nobody keeps Node resources, and then no node counts as gone. */
  readonly nodes: ReadonlySet<string>;
  /** Who uses an address; undefined when that is not to be compared. */
  readonly users: ReadonlyMap<string, string> | undefined;
}

/** One allocated address. */
interface Held {
  readonly address: string;
  readonly block: string;
  readonly virtual: boolean;
  readonly handle: string | undefined;
  readonly node: string | undefined;
  readonly cooling: boolean;
  readonly sequenceNumber: bigint;
}

/** See {@link Ipam.check}. */
export async function check(ctx: Context, options: CheckOptions = {}): Promise<CheckReport> {
  const findings: Finding[] = [];
  const hidden: Hidden = { IPAMBlock: [], BlockAffinity: [], IPAMHandle: [], Node: [], WorkloadEndpoint: [] };
  const withEndpoints = options.endpoints ?? true;
  const [config, pools, blocks, affinities, handles, nodes, endpoints] = await Promise.all([
    readConfig(ctx, true),
    readAllPools(ctx),
    listReadable(ctx, IPAMBlock, hidden),
    listReadable(ctx, BlockAffinity, hidden),
    listReadable(ctx, IPAMHandle, hidden),
    listReadable(ctx, Node, hidden),
    withEndpoints ? listReadable(ctx, WorkloadEndpoint, hidden) : [],
  ]);
  // Of an endpoint or a node that cannot be read nobody knows which addresses it uses.
  const users = withEndpoints && hidden.Node.length === 0 && hidden.WorkloadEndpoint.length === 0;

  const now = ctx.now();
  for (const block of blocks) {
    for (const problem of blockProblems(block.spec)) findings.push(corrupt(block, problem));
    collectCooled(block.spec, config.ipCooldownSeconds, now);
  }
  const state: State = {
    config,
    pools,
    affinities,
    handles,
    blocks: blocks.map((block) => ({ block, cidr: cidrOf(block) })),
    nodes: new Set([...nodes.map(({ metadata }) => metadata.name), ...hidden.Node.map(({ ref }) => ref.name)]),
    users: users ? usersOf(nodes, endpoints) : undefined,
  };
  const held = state.blocks.flatMap(({ block, cidr }) => heldIn(block, cidr));
  const compared = [
    ...overlaps(state),
    ...handleFindings(state, held),
    ...affinityFindings(state),
    ...addressFindings(state, held),
  ];
  findings.push(...unreadableFindings(hidden), ...compared.filter((finding) => !depends(finding, hidden, handles)));
  return {
    findings,
    blocks: blocks.length,
    allocations: held.filter(({ cooling }) => !cooling).length,
    handles: handles.length,
    affinities: affinities.length,
    cooling: held.filter(({ cooling }) => cooling).length,
  };
}

/** What cannot be read, by kind. */
type Hidden = Record<"IPAMBlock" | "BlockAffinity" | "IPAMHandle" | "Node" | "WorkloadEndpoint", Unreadable[]>;

async function listReadable<R extends Resource>({ client }: Context, kind: Kind<R>, hidden: Hidden): Promise<R[]> {
  const { items, unreadable } = await client.list(kind);
  hidden[kind.kind as keyof Hidden].push(...unreadable);
  return items;
}

function unreadableFindings(hidden: Hidden): Finding[] {
  const { IPAMHandle: handles, ...others } = hidden;
  const about = ({ key, error }: Unreadable) => ({ kind: "unreadable" as const, subject: key, message: error.message });
  // The blocks say all that a handle does, when all of them can be read.
  const repair = hidden.IPAMBlock.length === 0 && { repair: "makes the handle anew from the blocks, or deletes it" };
  return [
    ...Object.values(others)
      .flat()
      .map((one) => ({ ...about(one), detail: {} })),
    ...handles.map((one) => ({ ...about(one), ...repair, detail: { handle: String(one.ref.spec?.handleID) } })),
  ];
}

/** Whether a finding may only be one because something cannot be read: it must not be repaired then, so it is not reported. */
function depends({ kind, subject, detail }: Finding, hidden: Hidden, handles: readonly IPAMHandle[]): boolean {
  const blocks = new Set([...hidden.IPAMBlock, ...hidden.BlockAffinity].map(({ ref }) => ref.spec?.cidr));
  if (blocks.size === 0 && hidden.IPAMHandle.length === 0) return false;
  if (detail.block !== undefined && blocks.has(detail.block)) return true;
  const address = kind === "not-allocated" ? tryParseAddress(subject) : undefined;
  if (address && [...blocks].some((cidr) => containsAddress(parseCidr(String(cidr)), address))) return true;
  if (detail.handle === undefined) return false;
  if (hidden.IPAMHandle.some(({ ref }) => ref.spec?.handleID === detail.handle)) return true;
  const handle = handles.find(({ spec }) => cleanHandle(spec.handleID) === detail.handle);
  return kind.startsWith("handle-") && Object.keys(handle?.spec.block ?? {}).some((cidr) => blocks.has(cidr));
}

function corrupt({ spec }: IPAMBlock, problem: string): Finding {
  return {
    kind: "block-corrupt",
    subject: spec.cidr,
    message: `block ${spec.cidr}: ${problem}`,
    repair: "makes the block consistent; what is allocated stays allocated",
    detail: { block: spec.cidr },
  };
}

function heldIn({ spec }: IPAMBlock, cidr: Cidr): Held[] {
  const held: Held[] = [];
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    if (!isAllocated(spec, ordinal)) continue;
    const entry = attributesAt(spec, ordinal);
    const owner = parseOwner(spec.affinity);
    const handle = entry?.handle_id === undefined ? undefined : cleanHandle(entry.handle_id);
    if (handle?.toLowerCase() === WINDOWS_RESERVED) continue;
    held.push({
      address: addressText(cidr, ordinal),
      block: spec.cidr,
      virtual: owner?.type === "virtual",
      handle,
      node: entry?.secondary?.node ?? (owner?.type === "host" ? owner.name : undefined),
      cooling: entry?.releasedAt !== undefined,
      sequenceNumber: sequenceOf(spec, ordinal),
    });
  }
  return held;
}

function usersOf(nodes: readonly Node[], endpoints: readonly WorkloadEndpoint[]): Map<string, string> {
  const users = new Map<string, string>();
  const use = (text: string | undefined, who: string): void => {
    const address = text === undefined ? undefined : tryParseAddress(text.split("/")[0]!);
    if (address) users.set(formatAddress(address), who);
  };
  for (const { metadata, spec } of nodes) {
    const { bgp, wireguard } = spec;
    const tunnels = [
      bgp?.ipv4IPIPTunnelAddr,
      spec.ipv4VXLANTunnelAddr,
      spec.ipv6VXLANTunnelAddr,
      wireguard?.interfaceIPv4Address,
      wireguard?.interfaceIPv6Address,
    ];
    for (const address of tunnels) use(address, `node ${metadata.name}`);
  }
  for (const { metadata, spec } of endpoints) {
    for (const network of spec.ipNetworks ?? []) use(network, `endpoint ${metadata.namespace}/${metadata.name}`);
  }
  return users;
}

function overlaps({ blocks }: State): Finding[] {
  const sorted = [...blocks].sort((a, b) =>
    a.cidr.version !== b.cidr.version
      ? a.cidr.version - b.cidr.version
      : a.cidr.base !== b.cidr.base
        ? a.cidr.base < b.cidr.base
          ? -1
          : 1
        : a.cidr.length - b.cidr.length,
  );
  const findings: Finding[] = [];
  let widest = sorted[0];
  for (const next of sorted.slice(1)) {
    if (widest && cidrOverlaps(widest.cidr, next.cidr)) {
      const [a, b] = [widest.block.spec.cidr, next.block.spec.cidr];
      findings.push({
        kind: "blocks-overlap",
        subject: b,
        message: `blocks ${a} and ${b} share addresses: release one of them by 'calico-ipam release', moving its pods first`,
        detail: { block: b },
      });
    } else {
      widest = next;
    }
  }
  return findings;
}

function handleFindings({ handles }: State, held: readonly Held[]): Finding[] {
  const findings: Finding[] = [];
  const actual = new Map<string, Map<string, number>>();
  for (const { handle, block } of held) {
    if (handle === undefined) continue;
    const counts = actual.get(handle) ?? new Map<string, number>();
    counts.set(block, (counts.get(block) ?? 0) + 1);
    actual.set(handle, counts);
  }
  const known = new Set<string>();
  for (const { spec } of handles) {
    const id = cleanHandle(spec.handleID);
    known.add(id);
    const counts = actual.get(id);
    if (!counts) {
      findings.push({
        kind: "handle-empty",
        subject: id,
        message: `handle ${id} holds no address, but counts some in ${Object.keys(spec.block).join(", ") || "no block"}`,
        repair: "deletes the handle",
        detail: { handle: id },
      });
      continue;
    }
    for (const block of new Set([...Object.keys(spec.block), ...counts.keys()])) {
      const [says, is] = [spec.block[block] ?? 0, counts.get(block) ?? 0];
      if (says === is) continue;
      findings.push({
        kind: says === 0 ? "handle-missing" : "handle-count",
        subject: id,
        message: `handle ${id} counts ${says} addresses in block ${block}, which gives it ${is}`,
        repair: "corrects the count",
        detail: { handle: id, block },
      });
    }
  }
  for (const [id, counts] of actual) {
    if (known.has(id)) continue;
    for (const [block, count] of counts) {
      findings.push({
        kind: "handle-missing",
        subject: id,
        message: `block ${block} gives ${count} addresses to handle ${id}, which does not exist`,
        repair: "makes the handle",
        detail: { handle: id, block },
      });
    }
  }
  return findings;
}

function affinityFindings({ affinities, blocks, nodes }: State): Finding[] {
  const findings: Finding[] = [];
  const byCidr = new Map(blocks.map(({ block }) => [block.spec.cidr, block]));
  const confirmed = new Set<string>();
  const isGone = (owner: { type: string; name: string }) =>
    owner.type === "host" && nodes.size > 0 && !nodes.has(owner.name);
  for (const row of affinities) {
    const owner = ownerOf(row);
    const { cidr, state } = row.spec;
    const block = byCidr.get(cidr);
    const about = { subject: cidr, detail: { block: cidr, owner, node: owner.name } };
    if (!block) {
      findings.push({
        ...about,
        kind: "affinity-without-block",
        message: `${ownerText(owner)} has an affinity (${state}) for block ${cidr}, which does not exist`,
        repair: "deletes the affinity",
      });
    } else if (block.spec.affinity !== ownerText(owner)) {
      findings.push({
        ...about,
        kind: "affinity-of-another",
        message: `${ownerText(owner)} has an affinity (${state}) for block ${cidr}, which belongs to ${block.spec.affinity ?? "nobody"}`,
        repair: "deletes the affinity",
      });
    } else if (state === "confirmed") {
      confirmed.add(cidr);
    }
    if (isGone(owner))
      findings.push({
        ...about,
        kind: "affinity-node-gone",
        message: `block ${cidr} is affine to node ${owner.name}, which does not exist`,
        repair: "gives up the affinity, when repair is told to clean up after nodes",
      });
  }
  for (const { block } of blocks) {
    const owner = parseOwner(block.spec.affinity);
    if (!owner || confirmed.has(block.spec.cidr)) continue;
    findings.push({
      kind: "block-without-affinity",
      subject: block.spec.cidr,
      message: `block ${block.spec.cidr} belongs to ${ownerText(owner)}, which has no confirmed affinity for it`,
      repair: "confirms the affinity, or deletes the block when it is empty",
      detail: { block: block.spec.cidr, owner, node: owner.name },
    });
  }
  return findings;
}

function addressFindings({ pools, nodes, users }: State, held: readonly Held[]): Finding[] {
  const findings: Finding[] = [];
  for (const one of held) {
    if (one.cooling) continue;
    const { address, block, handle, node, sequenceNumber } = one;
    const about = {
      subject: address,
      detail: {
        block,
        sequenceNumber,
        ...(handle === undefined ? {} : { handle }),
        ...(node === undefined ? {} : { node }),
      },
    };
    const whose = handle === undefined ? "without a handle" : `of handle ${handle}`;
    if (!poolOf(pools, parsed(address)))
      findings.push({
        ...about,
        kind: "outside-pools",
        message: `${address} ${whose} is in no IP pool: make the pool again, or recreate the workload`,
      });
    if (node !== undefined && nodes.size > 0 && !nodes.has(node) && !one.virtual) {
      findings.push({
        ...about,
        kind: "node-gone",
        message: `${address} ${whose} is of node ${node}, which does not exist`,
        repair: "releases the address, when repair is told to clean up after nodes",
      });
    } else if (users && !one.virtual && !users.has(address)) {
      findings.push({
        ...about,
        kind: "not-in-use",
        message: `${address} ${whose} is allocated, but no endpoint and no node uses it`,
        repair: "releases the address, when repair is told to release what is unused",
      });
    }
  }
  const allocated = new Set(held.filter(({ cooling }) => !cooling).map(({ address }) => address));
  for (const [address, who] of users ?? []) {
    const pool = poolOf(pools, parsed(address));
    if (allocated.has(address) || !pool || disabledReason(pool) !== undefined) continue;
    findings.push({
      kind: "not-allocated",
      subject: address,
      message: `${who} uses ${address} of pool ${pool.name}, which is not allocated: somebody else may get it; recreate the workload`,
      detail: {},
    });
  }
  return findings;
}

const parsed = (text: string): Address => tryParseAddress(text)!;
