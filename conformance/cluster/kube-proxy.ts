/** kube-proxy as a process of a node. */
import { copyFileSync, mkdirSync } from "node:fs";
import { kubeProxy } from "../../lib/kubernetes/testing/index.ts";
import type { Daemon } from "../lab/index.ts";
import type { Cluster } from "./cluster.ts";
import type { ClusterNode } from "./node.ts";

export type ProxyMode = "nftables" | "iptables";

/** Not waited for. In mode iptables it takes the back end that the node has under the name `iptables`. */
export async function startKubeProxy(
  cluster: Cluster,
  node: ClusterNode,
  mode: ProxyMode = "nftables",
): Promise<Daemon> {
  mkdirSync(node.lab.path("/etc/kubernetes"), { recursive: true });
  const kubeconfig = "/etc/kubernetes/kube-proxy.kubeconfig";
  copyFileSync(cluster.server.kubeconfig("admin-token", { server: cluster.relay.url }), node.lab.path(kubeconfig));
  return await node.lab.daemon("kube-proxy", [
    ...[kubeProxy()!, `--kubeconfig=${kubeconfig}`, `--hostname-override=${node.name}`, `--proxy-mode=${mode}`],
    // The limit is the machine's, and no namespace's.
    ...["--conntrack-max-per-core=0", "--conntrack-min=0"],
    "--healthz-bind-address=127.0.0.1:10256",
  ]);
}
