/** What of pods is to be seen in the datastore and in the nodes' kernels: the same before and after pods have come and gone. */
import { addressAt, formatAddress, parseCidr } from "../../lib/ip/index.ts";
import type { Cluster } from "./cluster.ts";
import { POOL, POOL6 } from "./manifest.ts";
import type { ClusterNode } from "./node.ts";

interface Block {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly cidr: string;
    readonly affinity?: string | null;
    readonly allocations: readonly (number | null)[];
    readonly attributes: readonly { readonly handle_id?: string }[];
  };
}

interface Affinity {
  readonly spec: { readonly cidr: string; readonly node: string; readonly state: string };
}

interface Handle {
  readonly spec: { readonly handleID: string; readonly block: Readonly<Record<string, number>> };
}

interface AnnotatedPod {
  readonly metadata: {
    readonly namespace: string;
    readonly name: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

/** Calico's records of addresses. */
export interface Ipam {
  readonly blocks: readonly Block["spec"][];
  readonly affinities: readonly Affinity["spec"][];
  readonly handles: readonly Handle["spec"][];
}

export async function ipamOf(cluster: Cluster): Promise<Ipam> {
  const list = async <T>(plural: string): Promise<T[]> => {
    const path = `/apis/crd.projectcalico.org/v1/${plural}`;
    return (await cluster.server.request<{ items: { spec: T }[] }>("GET", path)).items.map(({ spec }) => spec);
  };
  const [blocks, affinities, handles] = await Promise.all([
    list<Block["spec"]>("ipamblocks"),
    list<Affinity["spec"]>("blockaffinities"),
    list<Handle["spec"]>("ipamhandles"),
  ]);
  return { blocks, affinities, handles };
}

/** Addresses that are held: "address handle". */
export const heldIn = ({ blocks }: Ipam): string[] =>
  blocks.flatMap(({ cidr, allocations, attributes }) =>
    allocations.flatMap((index, ordinal) =>
      index === null ? [] : [`${nthOf(cidr, ordinal)} ${attributes[index]?.handle_id ?? "without a handle"}`],
    ),
  );

function nthOf(cidr: string, ordinal: number): string {
  const { version, base } = parseCidr(cidr);
  return formatAddress(addressAt({ version, value: base }, ordinal));
}

/** A line for each thing, sorted. Blocks stay with their nodes and are not among them, but for those whose affinity is not as it should be. */
export async function remains(cluster: Cluster): Promise<string[]> {
  const [ipam, pods, ...nodes] = await Promise.all([
    ipamOf(cluster),
    cluster.server.request<{ items: AnnotatedPod[] }>("GET", "/api/v1/pods"),
    ...cluster.nodes.map(onNode),
  ]);
  const affine = new Map(ipam.affinities.map(({ cidr, node, state }) => [`${cidr} host:${node}`, state]));
  return [
    ...heldIn(ipam).map((held) => `allocation ${held}`),
    ...ipam.handles.map(({ handleID, block }) => `handle ${handleID} ${JSON.stringify(block)}`),
    ...ipam.blocks
      .filter(({ cidr, affinity }) => affine.get(`${cidr} ${affinity}`) !== "confirmed")
      .map(({ cidr, affinity }) => `block ${cidr} of ${affinity}, whose affinity is not confirmed`),
    ...ipam.affinities
      .filter(({ cidr, node }) => !ipam.blocks.some((one) => one.cidr === cidr && one.affinity === `host:${node}`))
      .map(({ cidr, node, state }) => `affinity of ${node}, ${state}, to ${cidr}, which is no block of it`),
    ...pods.items
      .filter(({ metadata }) => metadata.annotations?.["cni.projectcalico.org/podIP"])
      .map(({ metadata }) => `annotation of ${metadata.namespace}/${metadata.name}`),
    ...nodes.flat(),
  ].sort();
}

/** Of either family, alone or as a network of one. */
const ADDRESS =
  /(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.]|\/(?!32))|(?<![\da-f:])[\da-f]{1,4}:[\da-f:]+(?![\da-f:]|\/(?!128))/g;

/** Its interfaces, routes, namespaces, and addresses of pods that firewall, sets and proxies know. */
async function onNode(node: ClusterNode): Promise<string[]> {
  const script = `ip -o link show type veth
    ip -4 -o route show table all; ip -6 -o route show table all
    ls /run/netns | sed 's/^/netns /'
    nft list ruleset; ipset save; iptables-nft-save; iptables-legacy-save; ip6tables-nft-save; ip6tables-legacy-save; true`;
  const text = await node.lab.run(["sh", "-c", script]);
  const lines = new Set<string>();
  for (const line of text.split("\n")) {
    const link = /^\d+: (cali[^@:]+)/.exec(line)?.[1];
    if (link !== undefined) lines.add(`interface ${link}`);
    else if (line.startsWith("netns ")) lines.add(line);
    else if (/^\S+ dev cali/.test(line)) lines.add(`route ${line.trim()}`);
    else
      for (const [address] of line.matchAll(ADDRESS))
        if (POOL.test(address) || POOL6.test(address)) lines.add(`address in the firewall ${address}`);
  }
  return [...lines].map((line) => `${node.name}: ${line}`);
}

/** Waits until nothing is there beside what was before; what is, is in the error. */
export async function nothingLeft(cluster: Cluster, before: readonly string[]): Promise<void> {
  let now: readonly string[] = [];
  await cluster.until(
    "nothing is left of the pods",
    async () => {
      now = await remains(cluster);
      return now.join("\n") === before.join("\n");
    },
    () => {
      const [had, has] = [new Set(before), new Set(now)];
      return [
        ...now.filter((line) => !had.has(line)).map((line) => `left: ${line}`),
        ...before.filter((line) => !has.has(line)).map((line) => `missing: ${line}`),
      ].join("\n");
    },
  );
}
