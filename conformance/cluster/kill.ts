/** `kill -9` of what a cluster consists of, each of which somebody starts again. */
import { readFileSync } from "node:fs";
import type { Cluster, PodObject } from "./cluster.ts";
import { AGENT, CONTROLLERS, NAMESPACE } from "./manifest.ts";
import type { ClusterNode } from "./node.ts";

/** Both processes of the node's agent and what supervises them, all at once; the kubelet makes a new container. Answers how many. */
export async function killAgent(cluster: Cluster, node: ClusterNode): Promise<number> {
  const pods = await cluster.pods(AGENT, NAMESPACE);
  return killContainers(
    node,
    pods.filter(({ spec }) => spec.nodeName === node.name),
    "calico-node",
  );
}

/** Only the process for policy, which serves the plugin; its supervisor starts it again. */
export async function killFelix(cluster: Cluster, node: ClusterNode): Promise<number> {
  const pods = await cluster.pods(AGENT, NAMESPACE);
  return killContainers(
    node,
    pods.filter(({ spec }) => spec.nodeName === node.name),
    "calico-node\0felix",
  );
}

/** Stops the node's agent where it is, as soon as its process for policy runs; it goes on when that is called which is answered. */
export async function holdAgent(cluster: Cluster, node: ClusterNode, agent: PodObject): Promise<() => void> {
  let pids: readonly number[] = [];
  await cluster.until(`the agent of ${node.name} runs`, async () => {
    pids = node.processes(agent.metadata.uid).filter((pid) => runs(pid, "calico-node"));
    return pids.some((pid) => runs(pid, "calico-node\0felix"));
  });
  for (const pid of pids) process.kill(pid, "SIGSTOP");
  return () => {
    for (const pid of pids) process.kill(pid, "SIGCONT");
  };
}

/** calico-kube-controllers, wherever it runs. */
export async function killControllers(cluster: Cluster): Promise<number> {
  const pods = await cluster.pods(CONTROLLERS, NAMESPACE);
  return cluster.nodes
    .map((node) =>
      killContainers(
        node,
        pods.filter(({ spec }) => spec.nodeName === node.name),
        "calico-kube-controllers",
      ),
    )
    .reduce((sum, killed) => sum + killed, 0);
}

/** The kubelet, which is started again at once. */
export async function killKubelet(cluster: Cluster, node: ClusterNode): Promise<void> {
  await node.kubelet.end("SIGKILL");
  await cluster.startKubelet(node);
}

/** containerd, which is started again at once; containers live on. */
export async function killContainerd(node: ClusterNode): Promise<void> {
  await node.containerd.end("SIGKILL");
  await node.startContainerd();
}

/** Processes of these pods whose command line has `command` in it: never the sandbox', with which the pod would end. */
function killContainers(node: ClusterNode, pods: readonly PodObject[], command: string): number {
  const pids = pods.flatMap(({ metadata }) => node.processes(metadata.uid)).filter((pid) => runs(pid, command));
  for (const pid of pids) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended meanwhile, as its parent has.
    }
  }
  return pids.length;
}

function runs(pid: number, command: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").includes(command);
  } catch {
    return false;
  }
}
