import { BlockAffinity } from "../../lib/api/blockaffinity.ts";
import { IPAMBlock } from "../../lib/api/ipamblock.ts";
import { IPAMHandle } from "../../lib/api/ipamhandle.ts";
import { WorkloadEndpoint } from "../../lib/api/workloadendpoint.ts";
import { openClient } from "../../lib/datastore/index.ts";
import { formatAddress, parseCidr } from "../../lib/ip/index.ts";
import type { Node } from "../lab/index.ts";

/** One address that somebody holds. */
export interface Held {
  readonly address: string;
  readonly block: string;
  readonly handle: string | undefined;
}

/** What a datastore says about pods, sorted. */
export interface Records {
  /** `namespace/name: address,address`. */
  readonly endpoints: readonly { readonly name: string; readonly addresses: readonly string[] }[];
  readonly held: readonly Held[];
  /** Handle to its count for each block. */
  readonly handles: ReadonlyMap<string, ReadonlyMap<string, number>>;
  /** Blocks and whose they are. */
  readonly blocks: readonly { readonly cidr: string; readonly affinity: string | undefined }[];
  readonly affinities: readonly { readonly cidr: string; readonly node: string; readonly state: string }[];
}

interface BlockText {
  readonly cidr: string;
  readonly affinity?: string | null | undefined;
  readonly allocations: readonly (number | null)[];
  readonly attributes: readonly { readonly handle_id?: string | undefined; readonly releasedAt?: string | undefined }[];
}

/** Through the door of the datastore. */
export async function readSqlite(file: string): Promise<Records> {
  const client = await openClient({ type: "sqlite", file });
  try {
    const [endpoints, blocks, handles, affinities] = await Promise.all([
      client.list(WorkloadEndpoint),
      client.list(IPAMBlock),
      client.list(IPAMHandle),
      client.list(BlockAffinity),
    ]);
    return {
      endpoints: endpoints.items.map(({ metadata, spec }) => endpoint(`${metadata.namespace}/${metadata.name}`, spec)),
      held: blocks.items.flatMap(({ spec }) => heldIn(spec)),
      handles: new Map(handles.items.map(({ spec }) => [spec.handleID, new Map(Object.entries(spec.block))])),
      blocks: blocks.items.map(({ spec }) => ({ cidr: spec.cidr, affinity: spec.affinity ?? undefined })),
      affinities: affinities.items.map(({ spec }) => ({ cidr: spec.cidr, node: spec.node, state: spec.state })),
    };
  } finally {
    await client.close();
  }
}

/** With etcdctl and upstream's key layout, so that what another Calico would read is what is judged. */
export async function readEtcd(node: Node, endpointUrl: string): Promise<Records> {
  const text = await node.run(
    ["etcdctl", `--endpoints=${endpointUrl}`, "get", "--prefix", "/calico/", "--write-out=json"],
    {
      env: { ETCDCTL_API: "3" },
    },
  );
  const answer = JSON.parse(text) as { kvs?: { key: string; value?: string }[] };
  const pairs = (answer.kvs ?? []).map(({ key, value }) => [decode(key), decode(value ?? "")] as const);
  const under = (pattern: RegExp) =>
    pairs.flatMap(([key, value]) => {
      const match = pattern.exec(key);
      return match ? [{ match, value: value === "" ? {} : (JSON.parse(value) as Record<string, unknown>) }] : [];
    });
  const blocks = under(/^\/calico\/ipam\/v2\/assignment\/ipv[46]\/block\//).map(
    ({ value }) => value as unknown as BlockText,
  );
  return {
    endpoints: under(/^\/calico\/resources\/v3\/projectcalico\.org\/workloadendpoints\/(.+)$/).map(({ match, value }) =>
      endpoint(match[1]!, value.spec as { ipNetworks?: string[] }),
    ),
    held: blocks.flatMap(heldIn),
    handles: new Map(
      under(/^\/calico\/ipam\/v2\/handle\/(.+)$/).map(({ match, value }) => [
        match[1]!,
        new Map(Object.entries(value.block as Record<string, number>)),
      ]),
    ),
    blocks: blocks.map(({ cidr, affinity }) => ({ cidr, affinity: affinity ?? undefined })),
    affinities: under(/^\/calico\/ipam\/v2\/host\/([^/]+)\/ipv[46]\/block\/(.+)-(\d+)$/).map(({ match, value }) => ({
      cidr: `${match[2]!.replaceAll("-", match[2]!.includes(".") ? "." : ":")}/${match[3]}`,
      node: match[1]!,
      state: String(value.state),
    })),
  };
}

const decode = (text: string): string => Buffer.from(text, "base64").toString();

function endpoint(name: string, spec: { readonly ipNetworks?: readonly string[] | undefined }) {
  return { name, addresses: (spec.ipNetworks ?? []).map((network) => network.replace(/\/\d+$/, "")) };
}

function heldIn(block: BlockText): Held[] {
  return block.allocations.flatMap((index, ordinal) => {
    const attributes = index === null ? undefined : block.attributes[index];
    if (index === null || attributes?.releasedAt !== undefined) return [];
    const { version, base } = parseCidr(block.cidr);
    const address = formatAddress({ version, value: base + BigInt(ordinal) });
    return [{ address, block: block.cidr, handle: attributes?.handle_id }];
  });
}

/**
 * What contradicts itself in the records: an address with two users, a handle that does not count what it holds, an
 * endpoint whose address is not held, a block or affinity without the other. Empty when all is well.
 */
export function contradictions(records: Records): string[] {
  const found: string[] = [];
  const users = new Map<string, string>();
  for (const { name, addresses } of records.endpoints) {
    for (const address of addresses) {
      const other = users.get(address);
      if (other !== undefined) found.push(`${address} is the address of ${other} and of ${name}`);
      users.set(address, name);
    }
  }
  const holders = new Map<string, Held>();
  for (const held of records.held) {
    const other = holders.get(held.address);
    if (other) found.push(`${held.address} is held in ${other.block} and in ${held.block}`);
    holders.set(held.address, held);
  }
  for (const [address, name] of users) {
    if (!holders.has(address)) found.push(`${address} of ${name} is not held in any block`);
  }
  const counts = new Map<string, number>();
  for (const { handle, block } of records.held) {
    const key = `${handle?.toLowerCase()} ${block}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  for (const [handle, blocks] of records.handles) {
    for (const [block, count] of blocks) {
      const key = `${handle.toLowerCase()} ${block}`;
      if ((counts.get(key) ?? 0) !== count) {
        found.push(`handle ${handle} counts ${count} in ${block}, which has ${counts.get(key) ?? 0}`);
      }
      counts.delete(key);
    }
  }
  for (const [key, count] of counts) found.push(`${count} addresses of ${key} are in no handle`);
  for (const { cidr, affinity } of records.blocks) {
    if (affinity === undefined) continue;
    const owner = records.affinities.find((one) => one.cidr === cidr && `host:${one.node}` === affinity);
    if (!owner) found.push(`block ${cidr} is ${affinity}'s, and there is no affinity`);
  }
  return found;
}

/** What of pods is in the records, for a comparison with what it should be: nothing, mostly. */
export function remains(records: Records): { endpoints: string[]; addresses: string[]; handles: string[] } {
  return {
    endpoints: records.endpoints.map(({ name }) => name),
    addresses: records.held.map(({ address, handle }) => `${address} ${handle}`),
    handles: [...records.handles.keys()],
  };
}

export const NOTHING = { endpoints: [], addresses: [], handles: [] };
