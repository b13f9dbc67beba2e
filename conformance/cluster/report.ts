/** What one wants to see of a cluster when something on it has failed. */
import { beforeEach } from "vitest";
import type { Cluster } from "./cluster.ts";

/** Lines that are shown of each log. */
const TAIL = 40;
const tail = (text: string, lines = TAIL): string => text.trimEnd().split("\n").slice(-lines).join("\n");

interface SystemPod {
  readonly metadata: { readonly name: string };
  readonly status: { readonly containerStatuses?: readonly { readonly restartCount: number }[] };
}

/** Nodes, pods and events, the ends of the logs of what runs in kube-system, and what kubelets and containerds complained of. */
export async function report(cluster: Cluster): Promise<string> {
  const parts: string[] = [];
  const add = (title: string, text: string): void => void parts.push(`==== ${title}\n${text.trimEnd() || "(nothing)"}`);
  const kubectl = async (...args: readonly string[]): Promise<string> => {
    const { stdout, stderr } = await cluster.kubectl(...args);
    return stdout + stderr;
  };
  try {
    add("nodes", await kubectl("get", "nodes", "--output=wide"));
    add("pods", tail(await kubectl("get", "pods", "--all-namespaces", "--output=wide"), 80));
    add("events", tail(await kubectl("get", "events", "--all-namespaces", "--sort-by=.lastTimestamp")));
    const path = "/api/v1/namespaces/kube-system/pods";
    const { items } = await cluster.server.request<{ items: SystemPod[] }>("GET", path);
    for (const { metadata, status } of items) {
      const log = ["logs", "--namespace=kube-system", `--tail=${TAIL}`, metadata.name, "--all-containers"];
      if (status.containerStatuses?.some(({ restartCount }) => restartCount > 0))
        add(`${metadata.name}, before it was started again`, await kubectl(...log, "--previous"));
      add(metadata.name, await kubectl(...log));
    }
  } catch (error) {
    add("and no more, because the API server does not answer", (error as Error).message);
  }
  for (const node of cluster.nodes) {
    const daemons = { kubelet: node.hasKubelet ? node.kubelet.log() : "", containerd: node.containerd.log() };
    for (const [name, log] of Object.entries(daemons)) {
      const complaints = log.split("\n").filter((line) => /^[EF]\d{4} |level=(error|fatal)|^panic/.test(line));
      add(`${name} of ${node.name}, errors`, tail(complaints.join("\n"), 20));
    }
  }
  return parts.join("\n");
}

/** Each test of the suite that fails prints {@link report}. */
export function reportFailures(cluster: () => Cluster | undefined): void {
  beforeEach(({ onTestFailed }) => {
    onTestFailed(async ({ task }) => {
      const failed = cluster();
      if (failed !== undefined) process.stderr.write(`${task.name}: failed\n${await report(failed)}\n`);
    }, 120_000);
  });
}
