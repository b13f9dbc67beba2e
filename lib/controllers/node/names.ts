import type { Node } from "../../api/node.ts";

/** What Kubernetes calls a node of Calico's; undefined: it is none of Kubernetes'. */
export function kubernetesNodeOf(node: Node): string | undefined {
  for (const { orchestrator, nodeName } of node.spec.orchRefs ?? []) {
    if (orchestrator === "k8s") return nodeName || node.metadata.name;
  }
  return undefined;
}
