import { readdirSync } from "node:fs";
import { createLab, type Lab, type LabOptions, type Node, type Outcome, type Pod } from "../lab/index.ts";
import { Agent } from "./agent.ts";
import { type Records, readEtcd, readSqlite } from "./records.ts";

/** Whether the suites are run by way of the nodes' agents, which put right at once what somebody changes of an interface on the host. */
export const BY_AGENT = process.env.CALICO_CNI_BY === "agent";

export type Backend = "sqlite" | "etcd";

/** A lab whose nodes share a datastore, with the pools that a suite asks for. */
export interface Cluster {
  readonly lab: Lab;
  readonly nodes: readonly Node[];
  readonly backend: Backend;
  /** The nodes' agents, where the cluster has them. */
  readonly agents: readonly Agent[];
  /** What a network configuration says to find the datastore, and what a command line's environment says. */
  readonly keys: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  /** A network configuration for one plugin; `changes` are laid over it, key by key. */
  conf(changes?: Readonly<Record<string, unknown>>): NetworkConf;
  /** Applies resources with the built calicoctl on the first node. */
  apply(...resources: object[]): Promise<void>;
  calicoctl(...args: string[]): Promise<Outcome>;
  /** Takes down what a failed test left, so that the next one fails for reasons of its own only. */
  clean(networks?: readonly string[]): Promise<void>;
  /** All that the datastore says about pods and addresses, read past the product where that is possible. */
  records(): Promise<Records>;
  dispose(): Promise<void>;
}

export type NetworkConf = Readonly<Record<string, unknown>> & { readonly name: string; readonly cniVersion: string };

export interface ClusterOptions extends LabOptions {
  readonly backend?: Backend;
  /** Default: 10.65.0.0/16 in blocks of 64, and fd65::/112 in blocks of 64. */
  readonly pools?: readonly object[];
  /** Whether `calico-node felix` serves the plugin on every node. Default: CALICO_CNI_BY=agent in the environment, with which all suites run by way of it. */
  readonly agent?: boolean;
}

export const pool = (name: string, cidr: string, spec: object = {}): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "IPPool",
  metadata: { name },
  spec: { cidr, ...spec },
});

const POOLS = [pool("pool4", "10.65.0.0/16"), pool("pool6", "fd65::/112")];

export async function createCluster(options: ClusterOptions = {}): Promise<Cluster> {
  const { backend = "sqlite", pools = POOLS, agent = BY_AGENT, ...lab } = options;
  const cluster = new LabCluster(await createLab(lab), backend);
  try {
    if (backend === "etcd") await cluster.startEtcd();
    if (pools.length > 0) await cluster.apply(...pools);
    if (agent) await cluster.startAgents();
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

class LabCluster implements Cluster {
  readonly nodes: readonly Node[];
  readonly keys: Readonly<Record<string, string>>;
  readonly env: Readonly<Record<string, string>>;
  agents: readonly Agent[] = [];
  readonly #endpoint: string;

  constructor(
    readonly lab: Lab,
    readonly backend: Backend,
  ) {
    this.nodes = lab.nodes;
    this.#endpoint = `http://${lab.underlay4}:2379`;
    this.keys =
      backend === "sqlite"
        ? { datastore_type: "sqlite", datastore_file: `${lab.share}/datastore.db` }
        : { datastore_type: "etcdv3", etcd_endpoints: this.#endpoint };
    this.env = Object.fromEntries(Object.entries(this.keys).map(([key, value]) => [key.toUpperCase(), value]));
  }

  conf(changes: Readonly<Record<string, unknown>> = {}): NetworkConf {
    return {
      cniVersion: "1.0.0",
      name: "calico-net",
      type: "calico",
      ...this.keys,
      ipam: { type: "calico-ipam" },
      ...changes,
    };
  }

  async apply(...resources: object[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: resources };
    await this.nodes[0]!.run(["calicoctl", "apply", "-f", "-"], { env: this.env, stdin: JSON.stringify(list) });
  }

  calicoctl(...args: string[]): Promise<Outcome> {
    return this.nodes[0]!.exec(["calicoctl", ...args], { env: this.env });
  }

  async clean(networks: readonly string[] = ["calico-net"]): Promise<void> {
    for (const node of this.nodes) {
      const namespaces = readdirSync(node.path("/run/netns"));
      if (namespaces.length === 0) continue;
      await node.run(["ip", "-batch", "-"], { stdin: namespaces.map((name) => `netns delete ${name}\n`).join("") });
      for (const name of networks) {
        const conf = this.conf({ cniVersion: "1.1.0", name, "cni.dev/valid-attachments": [] });
        await node.exec(["/opt/cni/bin/calico"], { stdin: JSON.stringify(conf), env: { CNI_COMMAND: "GC" } });
      }
      for (const name of await interfaces(node)) await node.exec(["ip", "link", "delete", name]);
    }
  }

  records(): Promise<Records> {
    return this.backend === "sqlite"
      ? readSqlite(`${this.lab.machineShare}/datastore.db`)
      : readEtcd(this.nodes[0]!, this.#endpoint);
  }

  async startAgents(): Promise<void> {
    const agents = this.nodes.map((node) => new Agent(node, this.env));
    await Promise.all(agents.map((agent) => agent.start()));
    this.agents = agents;
  }

  dispose(): Promise<void> {
    return this.lab.dispose();
  }

  /** In the underlay's network, where all nodes reach it. */
  async startEtcd(): Promise<void> {
    const peer = `http://${this.lab.underlay4}:2380`;
    const server = this.lab.serve(
      [
        ...["etcd", "--name=lab", `--data-dir=${this.lab.machineShare}/etcd`, "--log-level=error"],
        ...[`--listen-client-urls=${this.#endpoint}`, `--advertise-client-urls=${this.#endpoint}`],
        ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=lab=${peer}`],
      ],
      "etcd.log",
    );
    const deadline = performance.now() + 30_000;
    for (;;) {
      const health = await this.nodes[0]!.exec(["etcdctl", `--endpoints=${this.#endpoint}`, "endpoint", "health"], {
        env: { ETCDCTL_API: "3" },
      });
      if (health.status === 0) return;
      if (server.exitCode !== null || performance.now() > deadline) {
        throw new Error(`etcd of the lab did not come up: ${health.stderr}`);
      }
      await Bun.sleep(50);
    }
  }
}

/** What a pod and its node's network show of an attachment: nothing of it may be left after a DEL. */
export async function interfaces(node: Node): Promise<string[]> {
  const links = JSON.parse(await node.run(["ip", "-json", "link"])) as { ifname: string }[];
  return links.map((link) => link.ifname).filter((name) => !["lo", "eth0"].includes(name));
}

/** CNI_ARGS as a kubelet's runtime fills them in. */
export function kubernetesArgs(pod: Pod, namespace = "default"): Record<string, string> {
  return {
    IgnoreUnknown: "1",
    K8S_POD_NAMESPACE: namespace,
    K8S_POD_NAME: pod.name,
    K8S_POD_INFRA_CONTAINER_ID: pod.containerId,
  };
}
