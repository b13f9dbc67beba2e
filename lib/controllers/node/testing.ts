/** For tests: a cluster full of nodes, blocks and addresses, written past the allocator, as it would take the allocator long. */
import { BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock, newIPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool, newIPPool } from "../../api/ippool.ts";
import type { Client } from "../../datastore/index.ts";
import type { ApiServer } from "../../kubernetes/testing/index.ts";
import { Limit } from "./limit.ts";

export interface Fill {
  readonly nodes: readonly string[];
  readonly blocksPerNode: number;
  /** Each with a handle of its own. */
  readonly addressesPerBlock: number;
}

const PARALLEL = 24;

/** Makes pool, nodes, blocks, affinities and handles; the pods of the addresses do not exist. Answers the blocks' CIDRs. */
export async function fillCluster(server: ApiServer, client: Client, fill: Fill): Promise<string[]> {
  const { nodes, blocksPerNode, addressesPerBlock } = fill;
  await client.create(IPPool, newIPPool("pool", { cidr: "10.0.0.0/8", blockSize: 26 }));
  const limit = new Limit(PARALLEL);
  await settle(limit, nodes, (name) =>
    server.request("POST", "/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name } }),
  );
  const plan = nodes.flatMap((node, index) =>
    Array.from({ length: blocksPerNode }, (_, number) => {
      const at = (index * blocksPerNode + number) * 64;
      return { node, base: `10.${at >> 16}.${(at >> 8) & 255}`, last: at & 255 };
    }),
  );
  await settle(limit, plan, async ({ node, base, last }) => {
    const cidr = `${base}.${last}/26`;
    const block = newIPAMBlock({ cidr, affinity: `host:${node}`, sequenceNumber: 1_700_000_000_000_000_000n });
    const handles: string[] = [];
    for (let ordinal = 0; ordinal < addressesPerBlock; ordinal++) {
      const handle = `k8s-pod-network.${base}.${last + ordinal}`;
      handles.push(handle);
      block.spec.allocations[ordinal] = ordinal;
      block.spec.unallocated.shift();
      block.spec.attributes.push({
        handle_id: handle,
        secondary: { node, namespace: "default", pod: `p-${base}.${last + ordinal}` },
      });
      block.spec.sequenceNumberForAllocation[String(ordinal)] = block.spec.sequenceNumber;
    }
    await client.create(IPAMBlock, block);
    await client.create(BlockAffinity, newBlockAffinity({ type: "host", node, cidr, state: "confirmed" }));
    for (const handle of handles) await client.create(IPAMHandle, newIPAMHandle(handle, { [cidr]: 1 }));
  });
  return plan.map(({ base, last }) => `${base}.${last}/26`);
}

/** Deletes nodes, all at once. */
export async function deleteNodes(server: ApiServer, nodes: readonly string[]): Promise<void> {
  await settle(new Limit(PARALLEL), nodes, (name) => server.request("DELETE", `/api/v1/nodes/${name}`));
}

/** How many objects of IPAM there are, without reading them: the look of a test must not be what keeps the API server busy. */
export async function countIpam(
  server: ApiServer,
  version: "v1" | "v3" = "v1",
): Promise<{ blocks: number; affinities: number; handles: number }> {
  const group = version === "v1" ? "crd.projectcalico.org/v1" : "projectcalico.org/v3";
  const count = async (plural: string): Promise<number> => {
    const path = `/apis/${group}/${plural}?limit=1`;
    const { items, metadata } = await server.request<{ items: object[]; metadata: { remainingItemCount?: number } }>(
      "GET",
      path,
    );
    return items.length + (metadata.remainingItemCount ?? 0);
  };
  const [blocks, affinities, handles] = await Promise.all(["ipamblocks", "blockaffinities", "ipamhandles"].map(count));
  return { blocks: blocks!, affinities: affinities!, handles: handles! };
}

async function settle<T>(limit: Limit, items: readonly T[], work: (item: T) => Promise<unknown>): Promise<void> {
  const [failed] = await limit.each(items, async (item) => void (await work(item)));
  if (failed) throw failed.error;
}
