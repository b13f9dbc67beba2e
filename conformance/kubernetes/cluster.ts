/** A lab whose nodes have a Kubernetes API server for their datastore, and play the kubelet's part themselves. */
import { copyFileSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { type ApiServer, startApiServer, type UserName } from "../../lib/kubernetes/testing/index.ts";
import { Agent } from "../cni/agent.ts";
import { interfaces, kubernetesArgs, type NetworkConf, pool } from "../cni/cluster.ts";
import {
  type Attachment,
  type CniOutcome,
  type CniVerb,
  createLab,
  DIST,
  type Lab,
  type Node,
  type Outcome,
  type Pod,
  run,
} from "../lab/index.ts";
import { type Relay, startRelay } from "./relay.ts";

/** How Calico's own kinds are stored: crd.projectcalico.org/v1 or projectcalico.org/v3. */
export type Mode = "v1" | "v3";
export const MODES: readonly Mode[] = ["v1", "v3"];

export const GROUP_VERSION: Readonly<Record<Mode, string>> = {
  v1: "crd.projectcalico.org/v1",
  v3: "projectcalico.org/v3",
};

export interface KubernetesClusterOptions {
  readonly mode: Mode;
  /** How many nodes. Default: 1. */
  readonly nodes?: number;
  /** Applied with calicoctl. Default: one pool of 10.65.0.0/16 in blocks of 64, and fd65::/112. */
  readonly pools?: readonly object[];
  readonly audit?: boolean;
}

/** What the API server has of a pod. */
export interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
}

export interface PodOptions {
  readonly namespace?: string;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly labels?: Readonly<Record<string, string>>;
  /** Default: default. */
  readonly serviceAccount?: string;
}

/** calicoctl, calico-ipam or kubectl-like programs with nothing but a kubeconfig, on the machine itself. */
export function runProgram(
  program: string,
  args: readonly string[],
  kubeconfig: string,
  stdin?: string,
): Promise<Outcome> {
  return run([join(DIST, program), ...args], {
    env: { KUBECONFIG: kubeconfig },
    ...(stdin === undefined ? {} : { stdin }),
  });
}

export class KubernetesCluster {
  readonly #sandboxes = new Map<string, number>();
  /** By container: the uid of the pod that the sandbox is for. */
  readonly #uids = new Map<string, string>();

  private constructor(
    readonly mode: Mode,
    readonly server: ApiServer,
    readonly lab: Lab,
    readonly relay: Relay,
  ) {}

  static async create(options: KubernetesClusterOptions): Promise<KubernetesCluster> {
    const [server, lab] = await Promise.allSettled([
      startApiServer({ crds: options.mode, names: ["172.31.0.1"], audit: options.audit ?? false }),
      createLab({ nodes: options.nodes ?? 1, ...(process.env.CALICO_DIST ? { dist: process.env.CALICO_DIST } : {}) }),
    ]);
    if (server.status === "rejected" || lab.status === "rejected") {
      if (server.status === "fulfilled") await server.value.stop();
      if (lab.status === "fulfilled") await lab.value.dispose();
      throw server.status === "rejected" ? server.reason : (lab as PromiseRejectedResult).reason;
    }
    const relay = startRelay(lab.value, server.value.port);
    const cluster = new KubernetesCluster(options.mode, server.value, lab.value, relay);
    try {
      await cluster.#populate(options.pools ?? [pool("pool4", "10.65.0.0/16"), pool("pool6", "fd65::/112")]);
      return cluster;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  async #populate(pools: readonly object[]): Promise<void> {
    for (const node of this.lab.nodes) {
      await this.server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: node.name } });
      this.writeKubeconfig(node, this.server.kubeconfig("cni", { server: this.relay.url }));
    }
    if (pools.length > 0) await this.applyCalico(...pools);
  }

  /** Starts `calico-node felix` on every node, with upstream's role for it; resolves when they serve the plugin. */
  async serveByAgents(): Promise<readonly Agent[]> {
    const agents = this.lab.nodes.map((node) => {
      mkdirSync(node.path("/etc/calico"), { recursive: true });
      copyFileSync(this.server.kubeconfig("node", { server: this.relay.url }), node.path("/etc/calico/kubeconfig"));
      return new Agent(node, { DATASTORE_TYPE: "kubernetes", KUBECONFIG: "/etc/calico/kubeconfig" });
    });
    await Promise.all(agents.map((agent) => agent.start()));
    return agents;
  }

  get node(): Node {
    return this.lab.nodes[0]!;
  }

  /** Copies a kubeconfig to where the network configuration of {@link conf} says it is. */
  writeKubeconfig(node: Node, file: string): void {
    mkdirSync(node.path("/etc/cni/net.d"), { recursive: true });
    copyFileSync(file, node.path("/etc/cni/net.d/calico-kubeconfig"));
  }

  /** The network configuration that upstream's manifests install, for one plugin; `changes` are laid over it, key by key. */
  conf(changes: Readonly<Record<string, unknown>> = {}): NetworkConf {
    return {
      cniVersion: "1.0.0",
      name: "k8s-pod-network",
      type: "calico",
      log_level: "info",
      datastore_type: "kubernetes",
      ipam: { type: "calico-ipam" },
      policy: { type: "k8s" },
      kubernetes: { kubeconfig: "/etc/cni/net.d/calico-kubeconfig" },
      ...changes,
    };
  }

  program(program: string, args: readonly string[], user: UserName = "admin", stdin?: string): Promise<Outcome> {
    return runProgram(program, args, this.server.kubeconfig(user), stdin);
  }

  calicoctl(...args: string[]): Promise<Outcome> {
    return this.program("calicoctl", args);
  }

  /** Applies Calico's resources with the built calicoctl. */
  async applyCalico(...resources: object[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: resources };
    const outcome = await this.program("calicoctl", ["apply", "-f", "-"], "admin", JSON.stringify(list));
    if (outcome.status !== 0) throw new Error(`calicoctl apply: ${outcome.stderr}${outcome.stdout}`);
  }

  /** The list of `calicoctl get -o json`. */
  async get<T = unknown>(...args: string[]): Promise<T[]> {
    const outcome = await this.calicoctl("get", ...args, "-o", "json");
    if (outcome.status !== 0) throw new Error(`calicoctl get ${args.join(" ")}: ${outcome.stderr}${outcome.stdout}`);
    const object = JSON.parse(outcome.stdout) as { kind: string; items?: T[] };
    return object.items ?? [object as T];
  }

  async namespace(name: string, annotations: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.server.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name, annotations } });
  }

  /** A pod as the scheduler leaves it, and its sandbox on that node. */
  async pod(name: string, options: PodOptions = {}, node: Node = this.node): Promise<Pod> {
    const { namespace = "default", annotations = {}, labels = {}, serviceAccount = "default" } = options;
    await this.server.apply({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace, annotations, labels },
      // The account is what the admission plugin fills in that the harness leaves out.
      spec: { nodeName: node.name, serviceAccountName: serviceAccount, containers: [{ name: "c", image: "none" }] },
    });
    const { uid } = (await this.podObject(name, namespace)).metadata;
    return this.sandbox(name, node, uid);
  }

  /** One more sandbox for a pod: another container ID and network namespace. The runtime says whose it is where `uid` does. */
  async sandbox(name: string, node: Node = this.node, uid?: string): Promise<Pod> {
    const number = (this.#sandboxes.get(name) ?? 0) + 1;
    this.#sandboxes.set(name, number);
    const pod = await node.pod(number === 1 ? name : `${name}.${number}`);
    if (uid !== undefined) this.#uids.set(pod.containerId, uid);
    return pod;
  }

  /** Calls the plugin for a pod object; the name of the sandbox up to its first dot is the pod's. */
  cni(
    verb: CniVerb,
    pod: Pod,
    conf: NetworkConf = this.conf(),
    namespace = "default",
    attachment: Attachment = {},
  ): Promise<CniOutcome> {
    const uid = this.#uids.get(pod.containerId);
    const args = {
      ...kubernetesArgs(pod, namespace),
      K8S_POD_NAME: pod.name.split(".")[0]!,
      ...(uid === undefined ? {} : { K8S_POD_UID: uid }),
    };
    return pod.cni(verb, conf, { args, ...attachment });
  }

  podObject(name: string, namespace = "default"): Promise<PodObject> {
    return this.server.request("GET", `/api/v1/namespaces/${namespace}/pods/${name}`);
  }

  async deletePod(name: string, namespace = "default"): Promise<void> {
    await this.server.request("DELETE", `/api/v1/namespaces/${namespace}/pods/${name}`, { gracePeriodSeconds: 0 });
  }

  /** The stored objects of a kind, as they are in the API server: "ipamblocks", "blockaffinities", "ipamhandles". */
  async stored<T = StoredObject>(plural: string): Promise<T[]> {
    const list = await this.server.request<{ items: T[] }>("GET", `/apis/${GROUP_VERSION[this.mode]}/${plural}`);
    return list.items;
  }

  /** Addresses that some block says are held, with the handle that holds them. */
  async held(): Promise<{ readonly block: string; readonly ordinal: number; readonly handle: string | undefined }[]> {
    const blocks = await this.stored<BlockObject>("ipamblocks");
    return blocks.flatMap(({ spec }) =>
      spec.allocations.flatMap((attribute, ordinal) =>
        attribute === null ? [] : [{ block: spec.cidr, ordinal, handle: spec.attributes[attribute]?.handle_id }],
      ),
    );
  }

  /** Takes down what a failed test left. */
  async clean(): Promise<void> {
    for (const node of this.lab.nodes) {
      const sandboxes = readdirSync(node.path("/run/netns"));
      if (sandboxes.length > 0)
        await node.run(["ip", "-batch", "-"], { stdin: sandboxes.map((name) => `netns delete ${name}\n`).join("") });
      for (const name of await interfaces(node)) await node.exec(["ip", "link", "delete", name]);
    }
    const pods = await this.server.request<{ items: PodObject[] }>("GET", "/api/v1/pods");
    await Promise.all(pods.items.map(({ metadata }) => this.deletePod(metadata.name, metadata.namespace)));
    for (const plural of ["ipamhandles", "ipamblocks", "blockaffinities"])
      await this.server.request("DELETE", `/apis/${GROUP_VERSION[this.mode]}/${plural}`);
  }

  async dispose(): Promise<void> {
    this.relay.stop();
    await Promise.all([this.lab.dispose(), this.server.stop()]);
  }
}

export interface StoredObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec: Readonly<Record<string, unknown>>;
}

interface BlockObject {
  readonly spec: {
    readonly cidr: string;
    readonly allocations: readonly (number | null)[];
    readonly attributes: readonly { readonly handle_id?: string }[];
  };
}
