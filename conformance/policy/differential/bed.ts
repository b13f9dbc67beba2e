/**
 * Two nodes with the pods that random cases are about, each with the built agent, and two machines outside whose addresses rules know. A whole
 * case is written to the datastore in one transaction; what the kernels then make of its flows is asked of all at once.
 *
 * The pods' addresses lie in the networks that generated rules are about (lib/policy-agent/naive/generate-rules.ts), and so do those of the
 * machines outside.
 */
import { join } from "node:path";
import type { Resource } from "../../../lib/api/meta.ts";
import { WorkloadEndpoint } from "../../../lib/api/workloadendpoint.ts";
import { type Client, openClient } from "../../../lib/datastore/index.ts";
import type { Flow } from "../../../lib/policy-agent/naive/index.ts";
import type { WorkloadPlace } from "../../../lib/policy-agent/naive/testing.ts";
import { TCP } from "../../../lib/policy-agent/rules/testing/index.ts";
import { type Cluster, createCluster, pool } from "../../cni/cluster.ts";
import { addressesIn } from "../../cni/result.ts";
import type { Node } from "../../lab/index.ts";
import { Agent, until } from "../faults/agent.ts";
import { type Probe, type ProbePlace, type ProbeResult, Prober } from "../prober.ts";
import type { DataplaneName } from "../world.ts";
import { BARRIER, write } from "./store.ts";

const NODES = [
  { v4: "10.65.0.0/28", v6: "fd00:65::/124", pods: ["pod-1", "pod-2", "pod-3", "pod-4", "pod-5"] },
  { v4: "10.65.1.0/28", v6: "fd00:65::1:0/124", pods: ["pod-6", "pod-7", "pod-8"] },
] as const;
const NAMESPACES = ["blue", "green", "red"] as const;

/** Beyond the nodes. Rules name the networks of the first; the others' are in none but the widest. */
const OUTSIDE = [
  { name: "outside-1", addresses: { 4: "203.0.113.7", 6: "2001:db8:ffff::7" } },
  { name: "outside-2", addresses: { 4: "198.51.100.9", 6: "fd00:66::9" } },
] as const;

/** The kernel limits its ICMP errors, and calls UDP-Lite's checksums wrong: see world.ts. */
const SYSCTLS = `cd /proc/sys/net &&
  echo 0 >ipv4/icmp_ratelimit && echo 100000 >ipv4/icmp_msgs_burst && echo 100000 >ipv4/icmp_msgs_per_sec &&
  echo 0 >ipv6/icmp/ratelimit && echo 0 >netfilter/nf_conntrack_checksum`;

/** Milliseconds until what was written has to be in force. */
const TIMEOUT = 15_000;

export class DifferentialBed {
  readonly workloads: readonly WorkloadPlace[];
  readonly client: Client;
  readonly #cluster: Cluster;
  readonly #agents: readonly Agent[];
  readonly #prober: Prober;
  /** The name of the place that has an address. */
  readonly #placeOf: ReadonlyMap<string, string>;
  #turn = 0;

  private constructor(
    readonly dataplane: DataplaneName,
    cluster: Cluster,
    client: Client,
    agents: readonly Agent[],
    places: readonly ProbePlace[],
    workloads: readonly WorkloadPlace[],
  ) {
    this.#cluster = cluster;
    this.client = client;
    this.#agents = agents;
    this.workloads = workloads;
    this.#prober = new Prober(places);
    this.#placeOf = new Map(
      places.flatMap(({ name, addresses }) => Object.values(addresses).map((one) => [one, name])),
    );
  }

  static async create(dataplane: DataplaneName): Promise<DifferentialBed> {
    const cluster = await createCluster({
      nodes: NODES.length + OUTSIDE.length,
      ...(process.env.CALICO_DIST ? { dist: process.env.CALICO_DIST } : {}),
      pools: NODES.flatMap(({ v4, v6 }, index) => [
        pool(`pool4-${index}`, v4, { blockSize: 28 }),
        pool(`pool6-${index}`, v6, { blockSize: 124 }),
      ]),
    });
    const agents: Agent[] = [];
    let client: Client | undefined;
    try {
      const nodes = cluster.nodes.slice(0, NODES.length);
      const places = (await Promise.all(nodes.map((node, index) => attach(cluster, node, index)))).flat();
      await connect(cluster.nodes);
      client = await openClient({ type: "sqlite", file: join(cluster.lab.machineShare, "datastore.db") });
      const workloads = await workloadsOf(client, places);
      for (const node of nodes) {
        await node.run(["sh", "-c", SYSCTLS]);
        const log = join(cluster.lab.machineShare, `${node.name}.log`);
        agents.push(new Agent(node, { dataplane, log, env: cluster.env }));
      }
      await Promise.all(agents.map((agent) => agent.ready()));
      const outside = OUTSIDE.map(({ name, addresses }, index): ProbePlace => {
        const { pid } = cluster.nodes[NODES.length + index]!;
        return { name, addresses, netns: `/proc/${pid}/ns/net` };
      });
      return new DifferentialBed(dataplane, cluster, client, agents, [...places, ...outside], workloads);
    } catch (error) {
      await client?.close();
      for (const agent of agents) await agent.kill();
      await cluster.dispose();
      throw error;
    }
  }

  /** Makes the datastore hold these resources and no others of their kinds; resolves when both nodes enforce what was written. */
  async put(resources: readonly Resource[]): Promise<void> {
    const port = 20_000 + (++this.#turn % 40_000);
    await write(this.client, resources, port);
    const probes = NODES.flatMap((_, index) =>
      ([4, 6] as const).map(
        (version): Probe => ({ from: "outside-1", to: `${BARRIER}-${index}`, version, protocol: TCP, port }),
      ),
    );
    await until(
      async () => (await this.#prober.probe(probes)).every(({ verdict }) => verdict === "allow"),
      () => `what was written is not in force\n${this.log().slice(-6_000)}`,
      TIMEOUT,
    );
  }

  /** What the kernels make of each flow. No two may be of one connection: see {@link isDistinct}. */
  async verdicts(flows: readonly Flow[]): Promise<readonly ProbeResult["verdict"][]> {
    for (const node of this.#cluster.nodes.slice(0, NODES.length)) {
      await node.run(["sh", "-c", "conntrack -F -f ipv4 && conntrack -F -f ipv6"]);
    }
    const probes = flows.map((flow) => this.#probe(flow));
    const results = await this.#prober.probe(probes);
    return results.map(({ verdict, at }, index) => (at === undefined || at === probes[index]!.to ? verdict : "reject"));
  }

  #probe({ source, destination, protocol, sourcePort, destinationPort, icmp }: Flow): Probe {
    const [from, to] = [this.#placeOf.get(source), this.#placeOf.get(destination)];
    if (from === undefined || to === undefined) throw new RangeError(`nothing has ${source} or ${destination}`);
    return {
      from,
      to,
      protocol,
      version: source.includes(":") ? 6 : 4,
      ...(sourcePort === undefined ? {} : { sourcePort }),
      ...(destinationPort === undefined ? {} : { port: destinationPort }),
      ...(icmp === undefined ? {} : { icmp: { type: icmp.type, code: icmp.code ?? 0 } }),
    };
  }

  /** What the agents have said. */
  log(): string {
    return this.#agents.map((agent, index) => `--- agent of node ${index + 1}\n${agent.log()}`).join("\n");
  }

  async dispose(): Promise<void> {
    this.#prober.close();
    await this.client.close();
    for (const agent of this.#agents) if (!agent.hasEnded) await agent.kill();
    await this.#cluster.dispose();
  }
}

/** The pods of one node, and one that says how far its agent has come. */
async function attach(cluster: Cluster, node: Node, index: number): Promise<ProbePlace[]> {
  const { v4, v6, pods } = NODES[index]!;
  const conf = cluster.conf({
    ipam: { type: "calico-ipam", assign_ipv6: "true", ipv4_pools: [v4], ipv6_pools: [v6] },
  });
  const made = await node.pods([...pods, `${BARRIER}-${index}`]);
  const places: ProbePlace[] = [];
  // One after the other, so that each has the same addresses every time.
  for (const pod of made) {
    const args = {
      IgnoreUnknown: "1",
      K8S_POD_NAMESPACE: namespaceOf(pod.name),
      K8S_POD_NAME: pod.name,
      K8S_POD_INFRA_CONTAINER_ID: pod.containerId,
    };
    const addresses = addressesOf(addressesIn(await pod.add(conf, { args })));
    places.push({ name: pod.name, netns: node.path(pod.netns), addresses });
  }
  return places;
}

const namespaceOf = (pod: string): string =>
  pod.startsWith(BARRIER) ? BARRIER : NAMESPACES[Number(pod.split("-")[1]) % NAMESPACES.length]!;

function addressesOf(texts: readonly string[]): Readonly<Record<4 | 6, string>> {
  const [v4, v6] = [texts.find((one) => !one.includes(":")), texts.find((one) => one.includes(":"))];
  if (v4 === undefined || v6 === undefined) throw new Error(`a pod has the addresses ${texts.join(", ")}`);
  return { 4: v4, 6: v6 };
}

/** Routes between the nodes, and to and from the machines outside. */
async function connect(machines: readonly Node[]): Promise<void> {
  const [nodes, outside] = [machines.slice(0, NODES.length), machines.slice(NODES.length)];
  const toPods = nodes.map((node, index) => ({ node, lines: routes([NODES[index]!.v4, NODES[index]!.v6], node) }));
  const toOutside = outside.flatMap((machine, index) => routes(Object.values(OUTSIDE[index]!.addresses), machine));
  for (const node of nodes) {
    const others = toPods.filter((one) => one.node !== node).flatMap(({ lines }) => lines);
    await node.run(["ip", "-batch", "-"], { stdin: [...others, ...toOutside].join("") });
  }
  for (const [index, machine] of outside.entries()) {
    const { 4: v4, 6: v6 } = OUTSIDE[index]!.addresses;
    const own = [`address add ${v4}/32 dev lo\n`, `address add ${v6}/128 dev lo nodad\n`];
    await machine.run(["ip", "-batch", "-"], { stdin: [...own, ...toPods.flatMap(({ lines }) => lines)].join("") });
  }
}

const routes = (destinations: readonly string[], { address4, address6 }: Node): string[] =>
  destinations.map((one) => `route add ${one} via ${one.includes(":") ? address6 : address4}\n`);

async function workloadsOf(client: Client, places: readonly ProbePlace[]): Promise<WorkloadPlace[]> {
  const { items } = await client.list(WorkloadEndpoint);
  return items
    .filter(({ spec }) => !spec.pod?.startsWith(BARRIER))
    .map(({ metadata, spec }): WorkloadPlace => {
      const { addresses } = places.find(({ name }) => name === spec.pod)!;
      return {
        namespace: metadata.namespace!,
        pod: spec.pod!,
        node: spec.node!,
        interfaceName: spec.interfaceName!,
        ipv4: addresses[4],
        ipv6: addresses[6],
      };
    })
    .sort((a, b) => (a.pod < b.pod ? -1 : 1));
}
