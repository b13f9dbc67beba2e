/**
 * A real Kubernetes cluster on one machine: etcd, kube-apiserver, kube-controller-manager and kube-scheduler, and for each node of a lab
 * (conformance/lab) a containerd with runc and a kubelet. No registry is involved: images are made of the machine's own files. A new
 * cluster has no network: `manifest.ts` installs Calico on it, by deploy/calico.yaml.
 *
 * Where things are: the control plane in the machine's own network namespace, on its loopback; nodes in namespaces of theirs. Nodes reach
 * the API server at the underlay's address through a relay, and the API server reaches kubelets (exec, logs) through `egress.ts`.
 *
 * What it takes to run kubelets here, and is not obvious:
 * - cgroup v1: a node sees a sub-tree of its own in each hierarchy as the whole of it, because those are mounted, and its daemons run, in
 *   a cgroup namespace that begins there (`cgroups.ts`). cgroup v2 alone is not served: such a machine skips these suites.
 * - Without CAP_SYS_RESOURCE nobody can lower an oom_score_adj: containerd is told to restrict it, the kubelet's own is 0.
 * - A kubelet writes six sysctls that belong to no namespace, kernel.panic among them. Files with what it wants are bound over them.
 * - containerd's and the kubelet's folders are on tmpfs: overlayfs takes no upper folder on an overlay, which a lab node's root is.
 * - Mounts of the node are shared, so that a DaemonSet sees the network namespaces of pods that come after it (`HostToContainer`).
 * - A node's /tmp is its own: programs are in the checkout or installed on the machine.
 * - Debian's static busybox crashes in whatever looks a name up, wget included. nc takes addresses.
 * - kube-proxy must leave the machine's conntrack limit alone. Service `kubernetes` has endpoints because `control-plane.ts` writes them;
 *   and pods reach it only from a pool with natOutgoing, because the underlay has no routes to pods.
 */
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type ApiServer, apiServerMissing, kubectl, kubeProxy } from "../../lib/kubernetes/testing/index.ts";
import { runProgram } from "../kubernetes/cluster.ts";
import type { Relay } from "../kubernetes/relay.ts";
import { createLab, type Lab, missingBuild, missingForLab, missingTool, type Outcome, run } from "../lab/index.ts";
import { Cgroups, missingCgroups } from "./cgroups.ts";
import { importImage } from "./containerd.ts";
import { CONTROLLER_MANAGER, ControlPlane, type Families, SCHEDULER } from "./control-plane.ts";
import { type Image, writeImage } from "./images.ts";
import { KUBELET } from "./kubelet.ts";
import { ClusterNode } from "./node.ts";
import { missingBusybox, stockImages } from "./stock.ts";

/** Why there can be no cluster here, or undefined when there can. */
export function clusterMissing(): string | undefined {
  for (const program of [KUBELET, CONTROLLER_MANAGER, SCHEDULER])
    if (!existsSync(program)) return `no ${program.split("/").at(-1)}: scripts/setup-cluster builds it`;
  for (const tool of ["containerd", "ctr", "runc"])
    if (missingTool(tool) !== undefined) return `needs ${tool}: scripts/setup-cluster installs it`;
  for (const [program, name] of [[kubectl(), "kubectl"] as const, [kubeProxy(), "kube-proxy"] as const])
    if (program === undefined) return `no ${name}: scripts/setup-kubernetes builds it`;
  return missingForLab() ?? apiServerMissing() ?? missingCgroups() ?? missingBusybox() ?? missingBuild();
}

export interface ClusterOptions {
  /** Default: 2. */
  readonly nodes?: number;
  /** Beside the stock of {@link stockImages}. */
  readonly images?: readonly Image[];
  /** Record every request to the API server. Default: false. */
  readonly audit?: boolean;
  /** Of Services' and nodes' addresses; the first is Kubernetes' primary. Default: IPv4 only. */
  readonly families?: Families;
}

/** How long a part of the work took, in milliseconds. */
export interface Phase {
  readonly name: string;
  readonly milliseconds: number;
}

/** Far more than anything here needs, in milliseconds, also where the machine is busy with something else. */
const PATIENCE = 120_000;
const POLL = 20;
/** Lines of events that an error shows. */
const EVENTS = 40;

export class Cluster {
  readonly phases: Phase[] = [];
  #nodes: readonly ClusterNode[] = [];
  #plane: ControlPlane | undefined;
  #admin: string | undefined;

  private constructor(
    readonly lab: Lab,
    readonly cgroups: Cgroups,
    readonly families: Families,
  ) {}

  /** Resolves when the kubelets have registered their nodes. Those are not Ready before they have a network. */
  static async create(options: ClusterOptions = {}): Promise<Cluster> {
    const lab = await createLab({ nodes: options.nodes ?? 2 });
    const cluster = new Cluster(lab, new Cgroups(), options.families ?? [4]);
    try {
      await cluster.#up(options);
      return cluster;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  async #up(options: ClusterOptions): Promise<void> {
    const { images = [], audit = false } = options;
    const parts = await Promise.allSettled([
      this.phase("control plane", async () => {
        this.#plane = await ControlPlane.start(this.lab, { audit, families: this.families });
      }),
      this.phase("containerd and images", async () => {
        this.#nodes = await Promise.all(this.lab.nodes.map((node) => ClusterNode.start(node, this.cgroups)));
        for (const image of [...stockImages(), ...images]) await this.#import(image);
      }),
    ]);
    for (const part of parts) if (part.status === "rejected") throw part.reason;
    await this.phase("kubelets", async () => {
      if (this.families[0] === 6 && this.families.length === 1)
        for (const { lab } of this.nodes) await lab.run(["ip", "-4", "address", "flush", "dev", "eth0"]);
      await Promise.all(this.nodes.map((node) => this.startKubelet(node)));
      await this.until("all nodes are registered", async () => {
        const ended = this.nodes.find(({ kubelet }) => !kubelet.running);
        if (ended !== undefined)
          throw new Error(`${ended.name}: its kubelet ended:\n${ended.kubelet.log().slice(-5000)}`);
        return (await this.nodeObjects()).length === this.nodes.length;
      });
    });
  }

  async #import(image: Image): Promise<void> {
    const name = "image.tar";
    await writeImage(image, join(this.lab.machineShare, name));
    await Promise.all(this.nodes.map(({ lab }) => importImage(lab, join(this.lab.share, name))));
    rmSync(join(this.lab.machineShare, name));
  }

  get nodes(): readonly ClusterNode[] {
    return this.#nodes;
  }

  get plane(): ControlPlane {
    if (this.#plane === undefined) throw new Error("the control plane is not up");
    return this.#plane;
  }

  get server(): ApiServer {
    return this.plane.server;
  }

  get relay(): Relay {
    return this.plane.relay;
  }

  /** Starts one, also in place of one that was killed. */
  async startKubelet(node: ClusterNode): Promise<void> {
    await node.startKubelet(this.server.kubeconfig("admin-token", { server: this.relay.url }), this.families);
  }

  /** Does and times a part of the work. */
  async phase<T>(name: string, work: () => Promise<T>): Promise<T> {
    const began = performance.now();
    const result = await work();
    this.phases.push({ name, milliseconds: performance.now() - began });
    return result;
  }

  /** "control plane 8.7 s, …" */
  summary(): string {
    return this.phases.map(({ name, milliseconds }) => `${name} ${(milliseconds / 1000).toFixed(1)} s`).join(", ");
  }

  /**
   * Polls; when it takes too long, the error has the cluster's last events. Where the work consists of many parts, `progress` says how far it is, and
   * too long is counted from its last change.
   */
  async until(
    what: string,
    holds: () => Promise<boolean>,
    describe: () => string = () => "",
    progress: () => unknown = () => undefined,
  ): Promise<void> {
    let reached = progress();
    let deadline = performance.now() + PATIENCE;
    while (!(await holds())) {
      const now = progress();
      if (now !== reached) deadline = performance.now() + PATIENCE;
      reached = now;
      if (performance.now() > deadline) {
        const { stdout } = await this.kubectl("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp");
        const events = stdout.split("\n").slice(-EVENTS).join("\n");
        throw new Error(`${what}: not within ${PATIENCE} ms\n${describe()}\n${events}`);
      }
      await Bun.sleep(POLL);
    }
  }

  /** The kubectl of the server's version, as administrator. */
  kubectl(...args: readonly string[]): Promise<Outcome> {
    this.#admin ??= this.server.kubeconfig("admin");
    return run([kubectl()!, `--kubeconfig=${this.#admin}`, ...args], { env: { HOME: this.server.folder } });
  }

  /** Runs a command in a pod's container. */
  exec(pod: PodObject, command: readonly string[]): Promise<Outcome> {
    const { name, namespace } = pod.metadata;
    return this.kubectl("exec", `--namespace=${namespace}`, name, "--", ...command);
  }

  /** The built calicoctl, as administrator. */
  calicoctl(...args: readonly string[]): Promise<Outcome> {
    return runProgram("calicoctl", args, this.server.kubeconfig("admin"));
  }

  async nodeObjects(): Promise<readonly NodeObject[]> {
    return (await this.server.request<{ items: NodeObject[] }>("GET", "/api/v1/nodes")).items;
  }

  /** Waits until all nodes that have a kubelet are. */
  async nodesReady(): Promise<void> {
    await this.until("all nodes are Ready", async () => {
      const ready = new Set((await this.nodeObjects()).filter(isReady).map(({ metadata }) => metadata.name));
      return this.nodes.every(({ name }) => ready.has(name));
    });
  }

  async pods(selector: string, namespace = "default"): Promise<readonly PodObject[]> {
    const path = `/api/v1/namespaces/${namespace}/pods?labelSelector=${encodeURIComponent(selector)}`;
    return (await this.server.request<{ items: PodObject[] }>("GET", path)).items;
  }

  /** Waits until exactly so many pods are there, all of them ready and none about to go. */
  async podsReady(selector: string, count: number, namespace = "default"): Promise<readonly PodObject[]> {
    let pods: readonly PodObject[] = [];
    await this.until(
      `${count} pods of ${selector} are ready`,
      async () => {
        pods = await this.pods(selector, namespace);
        return pods.length === count && pods.every((pod) => isReady(pod) && !pod.metadata.deletionTimestamp);
      },
      () => pods.map(({ metadata, spec, status }) => JSON.stringify([metadata.name, spec.nodeName, status])).join("\n"),
    );
    return pods;
  }

  /** Ends and removes everything. May be called more than once. */
  async dispose(): Promise<void> {
    await this.phase("down", async () => {
      await this.lab.dispose();
      await this.#plane?.stop();
      await this.cgroups.remove();
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

interface Conditions {
  readonly conditions?: readonly { readonly type: string; readonly status: string }[];
}

export interface NodeObject {
  readonly metadata: { readonly name: string };
  readonly status: Conditions;
}

export interface PodObject {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly nodeName?: string };
  readonly status: Conditions & {
    readonly phase: string;
    readonly podIP?: string;
    readonly podIPs?: readonly { readonly ip: string }[];
  };
}

export const isReady = ({ status }: { readonly status: Conditions }): boolean =>
  (status.conditions ?? []).some(({ type, status: is }) => type === "Ready" && is === "True");
