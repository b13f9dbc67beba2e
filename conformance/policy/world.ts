/**
 * One node of the lab with nine pods in three namespaces, attached by the built plugin, and a second machine that knows nothing of Calico.
 * The built agent enforces on the node; policies go into the datastore through the built calicoctl.
 */

import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { TCP } from "../../lib/policy-agent/rules/testing/index.ts";
import { type Cluster, createCluster, pool } from "../cni/cluster.ts";
import { addressesIn } from "../cni/result.ts";
import type { Node } from "../lab/index.ts";
import { DATAPLANE_ENVIRONMENT, type DataplaneName, FELIX } from "./felix.ts";
import { type Cell, type Check, cellsOf, describeProbe, NAMESPACES, NODE, OUTSIDE, PODS } from "./matrix.ts";
import { type ProbePlace, type ProbeResult, Prober } from "./prober.ts";

export { DATAPLANES, type DataplaneName } from "./felix.ts";

/** Addresses that are translated to x/a's own, once the agent is told to. The machine outside sends packets to them here. */
export const FLOATING = { 4: "203.0.113.50", 6: "2001:db8:50::50" } as const;
/** Networks of Services, of which this node has none. Packets for them go to the machine outside, which has one address of each. */
export const SERVICE_NETS = ["10.96.0.0/24", "fd96::/112"] as const;
export const SERVICE = { 4: "10.96.0.9", 6: "fd96::9" } as const;

/** A pod that only says, by the one port of it that is open, how far the agent has come. */
const BARRIER = "z/barrier";
const HEALTH = "http://localhost:9099/readiness";
const AGENT_LOG = "agent.log";

/** How long the agent may take to start, and a change to be in force, in milliseconds. Far more than either needs. */
const START_TIMEOUT = 30_000;
const CHANGE_TIMEOUT = 10_000;

/**
 * The kernel limits its ICMP errors, and a matrix asks for many at once. Its connection tracking verifies a UDP-Lite checksum as if it were UDP's
 * (udplite_error in net/netfilter/nf_conntrack_proto_udp.c) and calls every right one invalid.
 */
const SYSCTLS = `cd /proc/sys/net &&
  echo 0 >ipv4/icmp_ratelimit && echo 100000 >ipv4/icmp_msgs_burst && echo 100000 >ipv4/icmp_msgs_per_sec &&
  echo 0 >ipv6/icmp/ratelimit && echo 0 >netfilter/nf_conntrack_checksum`;

export class World {
  readonly #cluster: Cluster;
  readonly #node: Node;
  readonly #prober: Prober;
  readonly #agent: Subprocess;
  readonly addresses: ReadonlyMap<string, Readonly<Record<4 | 6, string>>>;
  #turn = 0;

  private constructor(cluster: Cluster, node: Node, places: readonly ProbePlace[], agent: Subprocess) {
    this.#cluster = cluster;
    this.#node = node;
    this.#agent = agent;
    this.#prober = new Prober(places);
    this.addresses = new Map(places.map((place) => [place.name, place.addresses]));
  }

  static async create(dataplane: DataplaneName): Promise<World> {
    const cluster = await createCluster({
      nodes: 2,
      pools: [
        pool("pool4", "10.65.0.0/24", { blockSize: 27, natOutgoing: true }),
        pool("pool6", "fd65::/120", { natOutgoing: true }),
      ],
    });
    try {
      const [node, outside] = cluster.nodes as [Node, Node];
      await cluster.apply(...objects());
      const places: ProbePlace[] = [
        { name: NODE, netns: `/proc/${node.pid}/ns/net`, addresses: { 4: node.address4, 6: node.address6 } },
        {
          name: OUTSIDE,
          netns: `/proc/${outside.pid}/ns/net`,
          addresses: { 4: outside.address4, 6: outside.address6 },
        },
        ...(await attach(cluster, node)),
      ];
      await outside.run(["ip", "-batch", "-"], {
        stdin: [
          ...["10.65.0.0/24", FLOATING[4]].map((to) => `route add ${to} via ${node.address4}\n`),
          ...["fd65::/120", FLOATING[6]].map((to) => `route add ${to} via ${node.address6}\n`),
          `address add ${SERVICE[4]}/32 dev lo\naddress add ${SERVICE[6]}/128 dev lo nodad\n`,
        ].join(""),
      });
      await node.run(["ip", "-batch", "-"], {
        stdin: [
          `route add ${SERVICE_NETS[0]} via ${outside.address4}\nroute add ${SERVICE_NETS[1]} via ${outside.address6}\n`,
          // Untranslated, they are nobody's, and nobody says so.
          ...Object.values(FLOATING).map(
            (one) => `route add ${one} dev eth0\nneighbour add ${one} lladdr 02:00:00:00:00:99 dev eth0\n`,
          ),
        ].join(""),
      });
      await node.run(["sh", "-c", SYSCTLS]);
      const agent = startAgent(cluster, node, dataplane);
      const world = new World(cluster, node, places, agent);
      await world.#ready();
      return world;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  /** Runs calicoctl on the node; its standard output. Throws with what it said when it fails. */
  calicoctl(args: readonly string[], stdin = ""): Promise<string> {
    return this.#node.run(["calicoctl", ...args], { env: this.#cluster.env, stdin });
  }

  /** Applies resources, and waits until the agent enforces what was written last: a port of the barrier's pod, which no earlier turn opened. */
  async apply(yaml: string): Promise<void> {
    const port = 20_000 + ++this.#turn;
    await this.calicoctl(["apply", "-f", "-"], `${yaml}---\n${barrierPolicy(port)}`);
    const probe = { from: OUTSIDE, to: BARRIER, version: 4, protocol: TCP, port } as const;
    const deadline = performance.now() + CHANGE_TIMEOUT;
    for (;;) {
      const [result] = await this.#prober.probe([probe]);
      if (result?.verdict === "allow") return;
      if (performance.now() > deadline) {
        throw new Error(`what was applied is not in force after ${CHANGE_TIMEOUT} ms\n${this.log().slice(-4000)}`);
      }
    }
  }
  async delete(yaml: string): Promise<void> {
    await this.calicoctl(["delete", "--skip-not-exists", "-f", "-"], yaml);
  }

  /** What is not as the checks say, in words; none when all is. Asks again for a while, because several kinds are watched each on its own. */
  async differences(checks: readonly Check[], timeout = CHANGE_TIMEOUT): Promise<readonly string[]> {
    const deadline = performance.now() + timeout;
    let cells = cellsOf(checks);
    for (;;) {
      const results = await this.#prober.probe(cells.map(({ probe }) => probe));
      const wrong = cells.flatMap((cell, index) => {
        const said = problem(cell, results[index]!);
        return said === undefined ? [] : [{ cell, said }];
      });
      if (wrong.length === 0) {
        if (cells.length === cellsOf(checks).length) return [];
        // What was wrong is right now; whether the rest still is, a last look at everything says.
        cells = cellsOf(checks);
        continue;
      }
      if (performance.now() > deadline) return wrong.map(({ said }) => said);
      cells = wrong.map(({ cell }) => cell);
    }
  }

  /** What the agent has logged so far. */
  log(): string {
    return readFileSync(join(this.#cluster.lab.machineShare, AGENT_LOG), "utf8");
  }

  async dispose(): Promise<void> {
    this.#prober.close();
    this.#agent.kill("SIGKILL");
    await this.#agent.exited;
    await this.#cluster.dispose();
  }

  async #ready(): Promise<void> {
    const deadline = performance.now() + START_TIMEOUT;
    for (;;) {
      const { status, stdout, stderr } = await this.#node.exec(["calico-node", "health", "--felix-ready"], {
        env: { FELIX_HEALTHENABLED: "true" },
      });
      if (status === 0) return;
      if (this.#agent.exitCode !== null || performance.now() > deadline) {
        throw new Error(`the agent is not ready (${HEALTH}): ${stdout}${stderr}\n${this.log()}`);
      }
      await Bun.sleep(50);
    }
  }
}

function problem({ probe, expected, check }: Cell, result: ProbeResult): string | undefined {
  const what = describeProbe(probe, check);
  if (result.verdict !== expected) return `${what}: ${result.verdict}, should be ${expected}`;
  if (expected !== "allow") return undefined;
  const at = check.arrivesAt ?? probe.to;
  if (result.at !== at) return `${what}: came out at ${result.at}, should be at ${at}`;
  if (check.seen !== undefined && result.packet !== undefined && !check.seen(result.packet, probe.version)) {
    return `${what}: came out as ${JSON.stringify(result.packet)}`;
  }
  return undefined;
}

function startAgent(cluster: Cluster, node: Node, dataplane: DataplaneName): Subprocess {
  const env = {
    ...cluster.env,
    ...DATAPLANE_ENVIRONMENT[dataplane],
    FELIX_FELIXHOSTNAME: node.name,
    NODENAME: node.name,
    FELIX_HEALTHENABLED: "true",
    FELIX_LOGSEVERITYSCREEN: "Info",
    PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  };
  const log = Bun.file(join(cluster.lab.machineShare, AGENT_LOG));
  const enter = [
    "nsenter",
    `--target=${node.pid}`,
    "--mount",
    "--uts",
    "--ipc",
    "--pid",
    "--cgroup",
    "--net",
    "--wdns=/",
    "--",
  ];
  return Bun.spawn([...enter, "sh", "-c", FELIX], { env, stdin: "ignore", stdout: log, stderr: log });
}

async function attach(cluster: Cluster, node: Node): Promise<ProbePlace[]> {
  const conf = cluster.conf({
    policy: { type: "k8s" },
    ipam: { type: "calico-ipam", assign_ipv6: "true" },
    feature_control: { floating_ips: true },
  });
  const names = [...PODS, BARRIER];
  const pods = await node.pods(names.map((name) => name.replace("/", "-")));
  return Promise.all(
    pods.map(async (pod, index) => {
      const name = names[index]!;
      const [namespace = "", podName = ""] = name.split("/");
      const args = {
        IgnoreUnknown: "1",
        K8S_POD_NAMESPACE: namespace,
        K8S_POD_NAME: podName,
        K8S_POD_INFRA_CONTAINER_ID: pod.containerId,
      };
      const addresses = addressesIn(await pod.add(conf, { args }));
      const [v4, v6] = [addresses.find((one) => !one.includes(":")), addresses.find((one) => one.includes(":"))];
      if (v4 === undefined || v6 === undefined) throw new Error(`${name} has the addresses ${addresses.join(", ")}`);
      return { name, netns: node.path(pod.netns), addresses: { 4: v4, 6: v6 } };
    }),
  );
}

/** Labels: `pod: a` and the like; `app: web` on every a, `app: db` on every b; `tier: front` in x. Namespaces have `team`. */
export function objects(): object[] {
  const namespaces = NAMESPACES.flatMap((name) => [
    {
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name, labels: { ns: name, team: name === "z" ? "red" : "blue" } },
    },
    ...["a", "b", "c"].map((account) => ({
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: `sa-${account}`, namespace: name, labels: { role: account === "a" ? "admin" : "user" } },
    })),
  ]);
  const annotations = { "cni.projectcalico.org/floatingIPs": JSON.stringify(Object.values(FLOATING)) };
  const pods = [...PODS, BARRIER].map((place) => {
    const [namespace = "", name = ""] = place.split("/");
    const app = name === "a" ? { app: "web" } : name === "b" ? { app: "db" } : {};
    return {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, labels: { pod: name, ...app }, ...(place === "x/a" ? { annotations } : {}) },
      spec: {
        nodeName: "node1",
        serviceAccountName: `sa-${name}`,
        containers: [
          {
            name: "main",
            image: "none",
            ports: [
              { name: "http", containerPort: name === "a" ? 80 : 8080, protocol: "TCP" },
              { name: "dns", containerPort: 53, protocol: "UDP" },
              { name: "sig", containerPort: 2905, protocol: "SCTP" },
            ],
          },
        ],
      },
    };
  });
  return [...namespaces, ...pods];
}

/** In a tier of its own before all others, so that no case's policy decides about it. */
function barrierPolicy(port: number): string {
  const head = { apiVersion: "projectcalico.org/v3" };
  const ingress = [{ action: "Allow", protocol: "TCP", destination: { ports: [port] } }, { action: "Deny" }];
  const spec = { tier: "barrier", selector: "pod == 'barrier'", types: ["Ingress"], ingress };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "List",
    items: [
      { ...head, kind: "Tier", metadata: { name: "barrier" }, spec: { order: 1, defaultAction: "Pass" } },
      { ...head, kind: "GlobalNetworkPolicy", metadata: { name: "barrier" }, spec },
    ],
  });
}
