import { BlockAffinity, blockAffinityRef } from "../api/blockaffinity.ts";
import { IPAMBlock, ipamBlockRef } from "../api/ipamblock.ts";
import { IPAMConfiguration } from "../api/ipamconfiguration.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import { IPReservation } from "../api/ipreservation.ts";
import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import type { Index, Unreadable } from "../datastore/index.ts";
import {
  type Address,
  type Cidr,
  cidrFromAddress,
  cidrOverlaps,
  formatCidr,
  parseCidr,
  tryParseCidr,
} from "../ip/index.ts";
import { type Context, isUnreadable } from "./context.ts";
import { type Pool, poolOf, readPools } from "./pools.ts";
import { type Reservations, readReservations } from "./reservations.ts";
import type { IpamConfig, Owner } from "./types.ts";

/** One function a kind of read. Reads that are started in one synchronous stretch cost one round trip. */

export const DEFAULT_CONFIG: IpamConfig = {
  strictAffinity: false,
  autoAllocateBlocks: true,
  maxBlocksPerHost: 0,
  kubeVirtVMAddressPersistence: "Enabled",
  ipCooldownSeconds: 0,
};

/** The configuration. Throws INVALID when it cannot be read, as nothing may be assigned then; `anyhow`: it has its defaults then. */
export async function readConfig({ client, log }: Context, anyhow = false): Promise<IpamConfig> {
  try {
    return (await client.get(IPAMConfiguration, { name: "default" }))?.spec ?? DEFAULT_CONFIG;
  } catch (error) {
    if (!anyhow || !isUnreadable(error)) throw error;
    log.warning("the IPAM configuration cannot be read: released addresses do not cool down", { error: error.message });
    return DEFAULT_CONFIG;
  }
}

/** The objects of a kind, or of an index of it, that can be read. Of the others the log names key and field: one of them stops nothing. */
async function listReadable<R extends Resource>(
  { client, log }: Context,
  kind: Kind<R>,
  index?: Index,
  passedOver?: (one: Unreadable) => void,
): Promise<R[]> {
  const { items, unreadable } = await client.list(kind, index);
  for (const one of unreadable) {
    log.warning(`a stored ${kind.kind} is passed over`, { error: one.error.message });
    passedOver?.(one);
  }
  return items;
}

export async function readAllPools(ctx: Context): Promise<Pool[]> {
  return readPools(await listReadable(ctx, IPPool));
}

export async function readAllReservations(ctx: Context): Promise<Reservations> {
  return readReservations(await listReadable(ctx, IPReservation));
}

/** The labels of a node. Undefined when there is no such Node, or none that can be read. */
export async function readNodeLabels(
  { client, log }: Context,
  name: string,
): Promise<Record<string, string> | undefined> {
  try {
    const node = await client.get(Node, { name });
    return node && (node.metadata.labels ?? {});
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    log.warning("a stored Node counts as absent", { error: error.message });
    return undefined;
  }
}

export function readAffinities(ctx: Context, owner: Owner): Promise<BlockAffinity[]> {
  return listReadable(ctx, BlockAffinity, { node: owner.name, affinityType: owner.type });
}

export function readAffinity({ client }: Context, owner: Owner, cidr: Cidr): Promise<BlockAffinity | undefined> {
  return client.get(BlockAffinity, affinityRef(owner, cidr));
}

export function affinityRef(owner: Owner, cidr: Cidr) {
  return blockAffinityRef({ type: owner.type, node: owner.name, cidr: formatCidr(cidr) });
}

/** A handle, its blocks in canonical text. What it counts under a text that is no CIDR is nowhere, and is left out. */
export async function readHandle({ client, log }: Context, id: string): Promise<IPAMHandle | undefined> {
  const handle = await client.get(IPAMHandle, ipamHandleRef(id));
  if (!handle) return undefined;
  const block: Record<string, number> = {};
  for (const text of Object.keys(handle.spec.block)) {
    const cidr = tryParseCidr(text);
    if (cidr) block[formatCidr(cidr)] = (block[formatCidr(cidr)] ?? 0) + handle.spec.block[text]!;
    else log.warning("a handle counts addresses of a block that is no CIDR", { handle: id, block: text });
  }
  handle.spec.block = block;
  return handle;
}

export function readBlock({ client }: Context, cidr: Cidr): Promise<IPAMBlock | undefined> {
  return client.get(IPAMBlock, ipamBlockRef(formatCidr(cidr)));
}

/**
 * All blocks of a family, or of both, that can be read; `passedOver` is told the CIDR of each of the others, and why. Costs as
 * much as there are blocks.
 */
export function listBlocks(
  ctx: Context,
  version?: 4 | 6,
  passedOver?: (cidr: string, error: Error) => void,
): Promise<IPAMBlock[]> {
  const index: Index | undefined = version === undefined ? undefined : { ipVersion: version };
  return listReadable(ctx, IPAMBlock, index, ({ ref, error }) => passedOver?.(String(ref.spec?.cidr), error));
}

/**
 * A block of another size that shares addresses with `cidr`, from before the pool's block size was changed; one that cannot be
 * read counts, and `unread` is told why it cannot.
 */
export async function findOverlap(
  { client }: Context,
  cidr: Cidr,
  unread?: (error: Error) => void,
): Promise<string | undefined> {
  const own = formatCidr(cidr);
  const { items, unreadable } = await client.list(IPAMBlock, { overlapping: own });
  const isOther = (text: unknown): boolean => {
    const parsed = tryParseCidr(String(text));
    return parsed !== undefined && text !== own && cidrOverlaps(parsed, cidr);
  };
  const found = items.find(({ spec }) => isOther(spec.cidr));
  if (found) return found.spec.cidr;
  const hidden = unreadable.find(({ ref }) => isOther(ref.spec?.cidr));
  if (!hidden) return undefined;
  unread?.(hidden.error);
  return String(hidden.ref.spec?.cidr);
}

/** The CIDR of a block as numbers. */
export function cidrOf(block: IPAMBlock): Cidr {
  return parseCidr(block.spec.cidr);
}

/**
 * The block that holds an address. Looked for with the block size of its pool first, then with every size that is
 * allowed: a block keeps its size when its pool changes, or goes. Two round trips at most, however many blocks there are.
 */
export async function findBlock(
  ctx: Context,
  pools: readonly Pool[],
  address: Address,
): Promise<IPAMBlock | undefined> {
  const expected = poolOf(pools, address)?.blockSize;
  if (expected !== undefined) {
    const block = await readBlock(ctx, cidrFromAddress(address, expected));
    if (block) return block;
  }
  const [first, last] = address.version === 4 ? [20, 32] : [116, 128];
  const sizes: number[] = [];
  for (let length = first!; length <= last!; length++) if (length !== expected) sizes.push(length);
  const found = await Promise.all(sizes.map((length) => readBlock(ctx, cidrFromAddress(address, length))));
  return found.find((block) => block !== undefined);
}
