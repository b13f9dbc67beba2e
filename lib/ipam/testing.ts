/** For tests: a cluster in a datastore, and what must hold in it at any time. */
import { BlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMConfiguration, type IPAMConfigurationSpec } from "../api/ipamconfiguration.ts";
import { IPAMHandle } from "../api/ipamhandle.ts";
import { IPPool, type IPPoolSpec, newIPPool } from "../api/ippool.ts";
import { IPReservation } from "../api/ipreservation.ts";
import { API_VERSION } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import type { Client } from "../datastore/index.ts";
import { parseCidr } from "../ip/index.ts";
import { addressText, attributesAt, blockProblems, isAllocated } from "./block.ts";
import { createIpam } from "./ipam.ts";
import type { Ipam, IpamOptions } from "./types.ts";

/** A cluster's time: stands still unless it is moved. */
export class Clock {
  constructor(public milliseconds = Date.parse("2026-01-01T00:00:00Z")) {}
  readonly now = (): number => this.milliseconds;
  advance(seconds: number): void {
    this.milliseconds += seconds * 1000;
  }
}

export interface Cluster {
  readonly client: Client;
  readonly clock: Clock;
  readonly ipam: Ipam;
  /** Another allocator on the same data. */
  with(options: IpamOptions): Ipam;
}

/** An allocator over a client, with a clock that stands still, and no waiting. */
export function cluster(client: Client, make: (client: Client, options: IpamOptions) => Ipam = createIpam): Cluster {
  const clock = new Clock();
  const base: IpamOptions = { clock: clock.now, sleep: async () => {} };
  return {
    client,
    clock,
    ipam: make(client, base),
    with: (options) => make(client, { ...base, ...options }),
  };
}

export async function addPool(
  client: Client,
  name: string,
  cidr: string,
  spec: Partial<IPPoolSpec> = {},
  more: Partial<Pick<IPPool, "status">> & { readonly deletionTimestamp?: string } = {},
): Promise<void> {
  const pool = newIPPool(name, { cidr, ...spec });
  const { deletionTimestamp, status } = more;
  await client.create(IPPool, {
    ...pool,
    metadata: { ...pool.metadata, ...(deletionTimestamp ? { deletionTimestamp } : {}) },
    ...(status ? { status } : {}),
  });
}

export async function addNode(client: Client, name: string, labels: Record<string, string> = {}): Promise<void> {
  await client.create(Node, { apiVersion: API_VERSION, kind: "Node", metadata: { name, labels }, spec: {} });
}

export async function reserve(client: Client, name: string, ...reservedCIDRs: string[]): Promise<void> {
  await client.create(IPReservation, {
    apiVersion: API_VERSION,
    kind: "IPReservation",
    metadata: { name },
    spec: { reservedCIDRs },
  });
}

/** Sets the configuration as it is given, also where its fields contradict each other. */
export async function setConfig(client: Client, spec: Partial<IPAMConfigurationSpec>): Promise<void> {
  const defaults: IPAMConfigurationSpec = {
    strictAffinity: false,
    autoAllocateBlocks: true,
    maxBlocksPerHost: 0,
    kubeVirtVMAddressPersistence: "Enabled",
    ipCooldownSeconds: 0,
  };
  const current = await client.get(IPAMConfiguration, { name: "default" });
  const resource = {
    apiVersion: API_VERSION,
    kind: "IPAMConfiguration" as const,
    metadata: { name: "default", ...current?.metadata },
    spec: { ...defaults, ...current?.spec, ...spec },
  };
  await (current ? client.update(IPAMConfiguration, resource) : client.create(IPAMConfiguration, resource));
}

export async function blocks(client: Client): Promise<IPAMBlock[]> {
  return (await client.list(IPAMBlock)).items;
}

export async function affinities(client: Client): Promise<string[]> {
  const { items } = await client.list(BlockAffinity);
  return items.map(({ spec }) => `${spec.type}:${spec.node} ${spec.cidr} ${spec.state}`).sort();
}

export async function handles(client: Client): Promise<Record<string, Record<string, number>>> {
  const { items } = await client.list(IPAMHandle);
  return Object.fromEntries(items.map(({ spec }) => [spec.handleID, spec.block]));
}

/** Address to handle, of everything allocated that does not cool down. */
export async function owners(client: Client): Promise<Map<string, string | undefined>> {
  const found = new Map<string, string | undefined>();
  for (const { spec } of await blocks(client)) {
    for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
      const entry = attributesAt(spec, ordinal);
      if (!isAllocated(spec, ordinal) || entry?.releasedAt !== undefined) continue;
      const address = addressText(parseCidr(spec.cidr), ordinal);
      if (found.has(address)) throw new Error(`${address} is in two blocks`);
      found.set(address, entry?.handle_id);
    }
  }
  return found;
}

/** What is wrong with the stored data as a whole; empty when nothing is. For a moment at which nobody works on it. */
export async function contradictions(client: Client): Promise<string[]> {
  const wrong: string[] = [];
  const counts: Record<string, Record<string, number>> = {};
  const all = await blocks(client);
  for (const { spec } of all) {
    wrong.push(...blockProblems(spec).map((problem) => `${spec.cidr}: ${problem}`));
    for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
      const id = attributesAt(spec, ordinal)?.handle_id;
      if (id === undefined) continue;
      counts[id] ??= {};
      counts[id][spec.cidr] = (counts[id][spec.cidr] ?? 0) + 1;
    }
  }
  const stored = await handles(client);
  const sorted = (value: Record<string, Record<string, number>>) =>
    JSON.stringify(
      Object.entries(value)
        .map(([id, block]) => [id, Object.entries(block).sort()])
        .sort(),
    );
  if (sorted(stored) !== sorted(counts)) wrong.push(`handles say ${sorted(stored)}, blocks ${sorted(counts)}`);
  const owned = all.flatMap(({ spec }) =>
    spec.affinity === undefined ? [] : [`${spec.affinity} ${spec.cidr} confirmed`],
  );
  const rows = await affinities(client);
  if (rows.join() !== owned.sort().join()) wrong.push(`affinities say ${rows.join()}, blocks ${owned.join()}`);
  return wrong;
}
