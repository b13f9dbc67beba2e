/**
 * Clusters in the shapes that people build them in: each is a lab with the resources applied, a BGP process on every node and a pod on
 * every node, whose pings say whether it works. What is not a Calico node (a top-of-rack switch) is a node of the lab with a real daemon.
 */

import { cidrFromAddress, formatCidr, parseAddress } from "../../lib/ip/index.ts";
import { type Cluster, createCluster, kubernetesArgs, pool } from "../cni/cluster.ts";
import type { Node, Pod } from "../lab/index.ts";
import { bgpConfiguration, bgpPeer, labNode, nodeResource, Ours, until } from "./ours.ts";
import { bird2, frr, type RealPeer } from "./peers/index.ts";

const POOL = "10.65.0.0/16";
const POOL6 = "fd65::/112";

export interface Topology {
  readonly cluster: Cluster;
  /** Calico nodes with our process, in order. */
  readonly ours: readonly Ours[];
  /** One on each Calico node. */
  readonly pods: readonly PodAt[];
  readonly others: readonly RealPeer[];
  dispose(): Promise<void>;
}

export interface PodAt {
  readonly pod: Pod;
  readonly address: string;
  /** Its others: of IPv6, beside one of IPv4. */
  readonly more: readonly string[];
  /** The node's block, of which the address is. */
  readonly block: string;
}

/** Every node a peer of every other, as it is by default. */
export async function fullMesh(nodes: number): Promise<Topology> {
  const cluster = await createCluster({ nodes, pools: [pool("pool", POOL)] });
  return build(cluster, async () => {
    await cluster.apply(...cluster.nodes.map((node) => labNode(node)));
    return { on: cluster.nodes, others: [] };
  });
}

/** The first nodes reflect for all others, and for each other. */
export async function routeReflectors(reflectors: number, clients: number): Promise<Topology> {
  const cluster = await createCluster({ nodes: reflectors + clients, pools: [pool("pool", POOL)] });
  return build(cluster, async () => {
    await cluster.apply(
      bgpConfiguration({ nodeToNodeMeshEnabled: false }),
      bgpPeer("to-reflectors", { nodeSelector: "all()", peerSelector: "has(route-reflector)" }),
      ...cluster.nodes.map((node, index) =>
        labNode(node, index < reflectors ? { clusterId: "244.0.0.1", labels: { "route-reflector": "yes" } } : {}),
      ),
    );
    return { on: cluster.nodes, others: [] };
  });
}

export interface Racks extends Topology {
  /** Cuts a server's cable to one of its two switches, so that nothing passes and nobody is told. */
  cut(server: number, uplink: 0 | 1): Promise<void>;
}

/** Of each rack. */
const SERVERS = 2;
const SWITCHES = 2;
const firstAsn = 65_001;

/**
 * An AS per rack: two servers and two top-of-rack switches (FRR), every server on both of them by a cable each with BFD, no other network. The switches
 * reflect within their rack, and meet those of the other racks over the lab's underlay.
 */
export async function racks(count: number): Promise<Racks> {
  const servers = count * SERVERS;
  const cluster = await createCluster({ nodes: servers + count * SWITCHES, pools: [pool("pool", POOL)] });
  const rackOf = (server: number): number => Math.floor(server / SERVERS);
  const switchOf = (server: number, uplink: number): Node =>
    cluster.nodes[servers + rackOf(server) * SWITCHES + uplink]!;
  const link = (server: number, uplink: number, end: number): string => `10.1.${server}.${uplink * 2 + end}`;
  const topology = await build(cluster, async () => {
    const on = cluster.nodes.slice(0, servers);
    for (const [server, node] of on.entries()) {
      for (const uplink of [0, 1]) {
        await cluster.lab.link(
          { node, interface: `up${uplink}`, addresses: [`${link(server, uplink, 0)}/31`] },
          {
            node: switchOf(server, uplink),
            interface: `server${server}`,
            addresses: [`${link(server, uplink, 1)}/31`],
          },
        );
      }
      // The only way out are the cables. A default route is what makes the gateway of pods answer.
      await node.run([
        "sh",
        "-ec",
        `ip link set eth0 down; ip address add 10.2.0.${server}/32 dev lo; ip route add default via ${link(server, 0, 1)} metric 5000; echo 1 >/proc/sys/net/ipv4/fib_multipath_hash_policy`,
      ]);
    }
    const switches = Array.from({ length: count * SWITCHES }, (_, index) => index);
    const others = await Promise.all(
      switches.map((index) => {
        const rack = Math.floor(index / SWITCHES);
        const node = cluster.nodes[servers + index]!;
        return frr.start(node, {
          asn: firstAsn + rack,
          routerId: node.address4,
          kernel: true,
          clusterId: `244.0.0.${rack + 1}`,
          neighbours: [
            ...on.flatMap((_, server) =>
              rackOf(server) === rack
                ? [
                    {
                      address: link(server, index % SWITCHES, 0),
                      local: link(server, index % SWITCHES, 1),
                      asn: firstAsn + rack,
                      reflectorClient: true,
                      nextHopSelf: true,
                      bfd: true,
                    },
                  ]
                : [],
            ),
            ...switches.flatMap((other) => {
              const otherRack = Math.floor(other / SWITCHES);
              const address = cluster.nodes[servers + other]!.address4;
              return otherRack === rack ? [] : [{ address, local: node.address4, asn: firstAsn + otherRack }];
            }),
          ],
        });
      }),
    );
    await cluster.apply(
      bgpConfiguration({ nodeToNodeMeshEnabled: false }),
      ...on.map((node, server) =>
        nodeResource(node.name, { asn: firstAsn + rackOf(server), address4: `10.2.0.${server}/32` }),
      ),
      ...on.flatMap((node, server) =>
        [0, 1].map((uplink) =>
          bgpPeer(`${node.name}-uplink${uplink}`, {
            node: node.name,
            peerIP: link(server, uplink, 1),
            asNumber: firstAsn + rackOf(server),
            sourceAddress: "None",
            failureDetectionMode: "BFDIfDirectlyConnected",
          }),
        ),
      ),
    );
    return { on, others };
  });
  return {
    ...topology,
    cut: async (server, uplink) => {
      const drop = ["input", "output", "forward"].map(
        (hook) =>
          `chain ${hook} {\ntype filter hook ${hook} priority 0\n${hook === "output" ? "" : `iifname "server${server}" drop\n`}${hook === "input" ? "" : `oifname "server${server}" drop\n`}}\n`,
      );
      await switchOf(server, uplink).run(["nft", "-f", "-"], { stdin: `table inet cut {\n${drop.join("")}}\n` });
    },
  };
}

/** A mesh of three: our speaker, our process with a real BIRD as its back end, and a BIRD that somebody configured by hand. */
export async function mixedMesh(): Promise<Topology> {
  const cluster = await createCluster({ nodes: 3, pools: [pool("pool", POOL)] });
  return build(cluster, async () => {
    await cluster.apply(...cluster.nodes.map((node) => labNode(node)));
    return {
      on: cluster.nodes.slice(0, 2),
      env: [{}, { CALICO_BGP_SPEAKER: "bird" }],
      byHand: async ({ block }: PodAt) => {
        const [one, two, three] = cluster.nodes as [Node, Node, Node];
        return bird2.start(three, {
          asn: 64512,
          routerId: three.address4,
          kernel: true,
          neighbours: [one, two].flatMap(({ address4, address6 }) => [
            { address: address4, local: three.address4, asn: 64512, gracefulRestart: 120 },
            { address: address6, local: three.address6, asn: 64512, gracefulRestart: 120 },
          ]),
          routes: [{ prefix: block }],
        });
      },
      others: [],
    };
  });
}

/**
 * Nodes that have an IPv6 address and no other, and find it out themselves: two with our speaker, one with BIRD as its back end, and pods that have IPv6
 * only.
 */
export async function ipv6Mesh(): Promise<Topology> {
  const cluster = await createCluster({ nodes: 3, pools: [pool("pool", POOL6)] });
  return build(cluster, async () => {
    for (const node of cluster.nodes) await node.run(["ip", "-4", "address", "flush", "dev", "eth0"]);
    await cluster.apply(...cluster.nodes.map(({ name }) => nodeResource(name, {})));
    const env = { IP: "none", IP6: "autodetect", CALICO_ROUTER_ID: "hash" };
    return {
      on: cluster.nodes,
      env: [env, env, { ...env, CALICO_BGP_SPEAKER: "bird" }],
      conf: { ipam: { type: "calico-ipam", assign_ipv4: "false", assign_ipv6: "true" } },
      others: [],
    };
  });
}

/** Two nodes and pods with both families. */
export async function dualStack(): Promise<Topology> {
  const cluster = await createCluster({ nodes: 2, pools: [pool("pool4", POOL), pool("pool6", POOL6)] });
  return build(cluster, async () => {
    await cluster.apply(...cluster.nodes.map((node) => labNode(node)));
    return {
      on: cluster.nodes,
      conf: { ipam: { type: "calico-ipam", assign_ipv4: "true", assign_ipv6: "true" } },
      others: [],
    };
  });
}

interface Plan {
  /** Nodes with our process, and what each has for an environment more than the others. */
  readonly on: readonly Node[];
  readonly env?: readonly Readonly<Record<string, string>>[];
  /** What the pods' network configuration says otherwise. */
  readonly conf?: Readonly<Record<string, unknown>>;
  /** The node behind those has a pod, and this. */
  readonly byHand?: (pod: PodAt) => Promise<RealPeer>;
  readonly others: readonly RealPeer[];
}

async function build(cluster: Cluster, prepare: () => Promise<Plan>): Promise<Topology> {
  try {
    const { on, env = [], conf, byHand, others } = await prepare();
    const pods: PodAt[] = [];
    const hosts = byHand ? cluster.nodes.slice(0, on.length + 1) : on;
    for (const node of hosts) pods.push(await attach(cluster, node, conf));
    const extra = byHand ? [await byHand(pods.at(-1)!)] : [];
    const ours = await Promise.all(on.map((node, index) => Ours.start(cluster, node, env[index])));
    return { cluster, ours, pods, others: [...others, ...extra], dispose: () => cluster.dispose() };
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

/** A pod on a node, and so a block of it. */
export async function attach(cluster: Cluster, node: Node, conf: Plan["conf"] = {}): Promise<PodAt> {
  const pod = await node.pod("pod");
  const result = await pod.add(cluster.conf(conf), { args: kubernetesArgs(pod) });
  const { ips } = result as unknown as { readonly ips: readonly { readonly address: string }[] };
  const addresses = ips.map((ip) => ip.address.split("/")[0]!);
  const [address = "", ...more] = addresses;
  return { pod, address, more, block: blockOf(address) };
}

/** Of 64 addresses, as pools have them by default. */
function blockOf(text: string): string {
  const address = parseAddress(text);
  return formatCidr(cidrFromAddress(address, address.version === 4 ? 26 : 122));
}

export const reaches = async (pod: Pod, address: string): Promise<boolean> =>
  (await pod.exec(["ping", "-c1", "-W1", address])).status === 0;

/** Waits until every pod reaches every other, at all of its addresses. */
export async function allPing({ pods, ours }: Topology): Promise<void> {
  await Promise.all(
    pods.map(async ({ pod }, index) => {
      for (const other of pods.filter((_, at) => at !== index)) {
        for (const address of [other.address, ...other.more]) {
          await until(
            () => reaches(pod, address),
            async () => {
              const routes = await pod.node.run(["ip", address.includes(":") ? "-6" : "-4", "route"]);
              return `${pod.node.name} does not reach ${address} of ${other.pod.node.name}:\n${routes}\n${ours[index]?.log().slice(-3000)}`;
            },
          );
        }
      }
    }),
  );
}
