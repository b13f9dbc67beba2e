/** For tests: as many node allocators as there are hosts, behind one Ipam, so that the rules of the allocator can be tried on them. */
import type { Client } from "../../datastore/index.ts";
import { createContext } from "../context.ts";
import { readAffinities, readAllPools, readAllReservations, readConfig, readNodeLabels } from "../reads.ts";
import type { Ipam, IpamOptions } from "../types.ts";
import { startNodeAllocator } from "./allocator.ts";
import type { NodeAllocator } from "./types.ts";

export interface Fleet {
  make(client: Client, options: IpamOptions): Ipam;
  close(): Promise<void>;
}

/**
 * Every request goes to the allocator of its host, releases to those in turn; whoever asks finds the allocator knowing what is stored
 * at that moment, as the tests are not about the delay of watches. Blocks are never read for that.
 */
export function fleet(): Fleet {
  const open: NodeAllocator[] = [];
  const make = (client: Client, options: IpamOptions): Ipam => {
    const nodes = new Map<string, ReturnType<typeof startNodeAllocator>>();
    const of = async (node: string) => {
      let allocator = nodes.get(node);
      if (!allocator) {
        allocator = startNodeAllocator(client, { ...options, node });
        nodes.set(node, allocator);
        open.push(allocator);
        await allocator.inSync;
      }
      await upToDate(client, node, allocator);
      return allocator;
    };
    let turn = 0;
    const any = () => of([...nodes.keys()][turn++ % Math.max(1, nodes.size)] ?? "n1");
    const direct = startNodeAllocator(client, { ...options, node: "", signal: AbortSignal.abort() });
    return {
      ...direct,
      autoAssign: async (request) => (request.host === "" ? direct : await of(request.host)).autoAssign(request),
      releaseByHandle: async (handle, more) => (await any()).releaseByHandle(handle, more),
      releaseAddresses: async (requests) => (await any()).releaseAddresses(requests),
    };
  };
  const close = async () => {
    for (const allocator of open.splice(0)) await allocator.close();
  };
  return { make, close };
}

/** Waits until a node's allocator knows what is stored. Where something cannot be read it never does, and reads instead. */
export async function upToDate(
  client: Client,
  node: string,
  allocator: ReturnType<typeof startNodeAllocator>,
): Promise<void> {
  const ctx = createContext(client, {});
  const text = (value: unknown) => JSON.stringify(value, (_, one) => (typeof one === "bigint" ? String(one) : one));
  for (const end = Date.now() + 10_000; ; ) {
    const [config, pools, reservations, rows, labels] = await Promise.all([
      readConfig(ctx).catch(() => undefined),
      readAllPools(ctx),
      readAllReservations(ctx),
      readAffinities(ctx, { type: "host", name: node }),
      readNodeLabels(ctx, node),
    ]);
    const facts = allocator.facts();
    const wanted = config && text([config, pools, reservations, sorted(rows.map((row) => text(row))), labels ?? {}]);
    const present =
      facts &&
      text([
        facts.config,
        facts.pools,
        facts.reservations,
        sorted(facts.rows.map((row) => text(row))),
        facts.nodeLabels,
      ]);
    if (wanted === present) return;
    if (Date.now() > end) throw new Error(`the allocator of ${node} knows ${present}, stored is ${wanted}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

const sorted = (texts: string[]): string[] => texts.sort();
