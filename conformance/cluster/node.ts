/** One node of a cluster: a node of the lab with cgroups, a containerd, and a kubelet once there is an API server. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Daemon, Node } from "../lab/index.ts";
import type { Cgroups } from "./cgroups.ts";
import { startContainerd } from "./containerd.ts";
import type { Families } from "./control-plane.ts";
import { prepareNode, startKubelet } from "./kubelet.ts";

export class ClusterNode {
  #kubelet: Daemon | undefined;

  private constructor(
    readonly lab: Node,
    /** Ended by kill -9, it is replaced by {@link startContainerd}; what its containers do goes on. */
    public containerd: Daemon,
  ) {}

  static async start(lab: Node, cgroups: Cgroups): Promise<ClusterNode> {
    await cgroups.giveTo(lab);
    await prepareNode(lab);
    return new ClusterNode(lab, await startContainerd(lab));
  }

  get name(): string {
    return this.lab.name;
  }

  get hasKubelet(): boolean {
    return this.#kubelet !== undefined;
  }

  get kubelet(): Daemon {
    if (this.#kubelet === undefined) throw new Error(`${this.name} has no kubelet yet`);
    return this.#kubelet;
  }

  async startContainerd(): Promise<void> {
    this.containerd = await startContainerd(this.lab);
  }

  /** `kubeconfig` is a file of the machine; `families`: of its addresses for Kubernetes. Not waited for. */
  async startKubelet(kubeconfig: string, families?: Families): Promise<void> {
    this.#kubelet = await startKubelet(this.lab, kubeconfig, {}, families);
  }

  /** The processes of a pod's containers, by the pod's UID, as the machine knows them; the sandbox' own is among them. */
  processes(uid: string): number[] {
    const cgroup = find(this.lab.path("/sys/fs/cgroup/pids/kubepods"), `pod${uid}`);
    if (cgroup === undefined) return [];
    return readdirSync(cgroup, { withFileTypes: true })
      .filter((entry) => entry.isDirectory())
      .flatMap(({ name }) =>
        readFileSync(join(cgroup, name, "cgroup.procs"), "utf8")
          .trim()
          .split("\n"),
      )
      .filter(Boolean)
      .map(Number);
  }

  /** As a power cut does: everything on the node ends at once, and nothing of it comes back. One that boots again is in reboot.ts. */
  powerOff(): void {
    process.kill(this.lab.pid, "SIGKILL");
  }
}

/** Pods are below the cgroups of their quality of service, where that is not Guaranteed. */
function find(folder: string, name: string): string | undefined {
  const candidates = [folder, join(folder, "burstable"), join(folder, "besteffort")];
  return candidates.map((one) => join(one, name)).find((one) => isFolder(one));
}

function isFolder(path: string): boolean {
  try {
    readdirSync(path);
    return true;
  } catch {
    return false;
  }
}
