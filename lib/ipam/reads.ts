import { BlockAffinity, blockAffinityRef } from "../api/blockaffinity.ts";
import { IPAMBlock, ipamBlockRef } from "../api/ipamblock.ts";
import { IPAMConfiguration } from "../api/ipamconfiguration.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import { IPReservation } from "../api/ipreservation.ts";
import { Node } from "../api/node.ts";
import { type Address, type Cidr, cidrFromAddress, formatCidr, parseCidr } from "../ip/index.ts";
import type { Context } from "./context.ts";
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

export async function readConfig({ client }: Context): Promise<IpamConfig> {
  return (await client.get(IPAMConfiguration, { name: "default" }))?.spec ?? DEFAULT_CONFIG;
}

export async function readAllPools({ client }: Context): Promise<Pool[]> {
  return readPools((await client.list(IPPool)).items);
}

export async function readAllReservations({ client }: Context): Promise<Reservations> {
  return readReservations((await client.list(IPReservation)).items);
}

/** The labels of a node. Undefined when there is no such Node. */
export async function readNodeLabels({ client }: Context, name: string): Promise<Record<string, string> | undefined> {
  const node = await client.get(Node, { name });
  return node && (node.metadata.labels ?? {});
}

export async function readAffinities({ client }: Context, owner: Owner): Promise<BlockAffinity[]> {
  return (await client.list(BlockAffinity, { node: owner.name, affinityType: owner.type })).items;
}

export function readAffinity({ client }: Context, owner: Owner, cidr: Cidr): Promise<BlockAffinity | undefined> {
  return client.get(BlockAffinity, affinityRef(owner, cidr));
}

export function affinityRef(owner: Owner, cidr: Cidr) {
  return blockAffinityRef({ type: owner.type, node: owner.name, cidr: formatCidr(cidr) });
}

export function readHandle({ client }: Context, id: string): Promise<IPAMHandle | undefined> {
  return client.get(IPAMHandle, ipamHandleRef(id));
}

export function readBlock({ client }: Context, cidr: Cidr): Promise<IPAMBlock | undefined> {
  return client.get(IPAMBlock, ipamBlockRef(formatCidr(cidr)));
}

/** All blocks of a family, or of both. Costs as much as there are blocks. */
export async function listBlocks({ client }: Context, version?: 4 | 6): Promise<IPAMBlock[]> {
  return (await client.list(IPAMBlock, version === undefined ? undefined : { ipVersion: version })).items;
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
