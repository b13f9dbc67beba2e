/** Calico on the nodes of a cluster: the plugin's configuration, and the agent as a process of the node or as a DaemonSet. */
import { copyFileSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Daemon } from "../lab/index.ts";
import type { Cluster } from "./cluster.ts";
import type { ClusterNode } from "./node.ts";
import { CALICO } from "./stock.ts";

/** What upstream's manifests install, as a list of one plugin: a node is Ready once it has it. */
export function installConflist(cluster: Cluster, node: ClusterNode, changes: object = {}): void {
  const folder = node.lab.path("/etc/cni/net.d");
  mkdirSync(folder, { recursive: true });
  copyFileSync(cluster.server.kubeconfig("cni", { server: cluster.relay.url }), `${folder}/calico-kubeconfig`);
  const plugin = {
    ...{ type: "calico", log_level: "info", datastore_type: "kubernetes", nodename: node.name },
    ...{ ipam: { type: "calico-ipam" }, policy: { type: "k8s" } },
    kubernetes: { kubeconfig: "/etc/cni/net.d/calico-kubeconfig" },
    ...changes,
  };
  const list = { name: "k8s-pod-network", cniVersion: "1.0.0", plugins: [plugin] };
  writeFileSync(`${folder}/10-calico.conflist`, JSON.stringify(list));
}

/** Takes away the plugins that a lab node has from the start, so that the node is as bare as a new machine. */
export function removePlugins(node: ClusterNode): void {
  const folder = node.lab.path("/opt/cni/bin");
  for (const name of readdirSync(folder)) if (name.startsWith("calico")) rmSync(join(folder, name));
}

const ENVIRONMENT = {
  DATASTORE_TYPE: "kubernetes",
  FELIX_HEALTHENABLED: "true",
  FELIX_LOGSEVERITYSCREEN: "Info",
  NO_DEFAULT_POOLS: "true",
  CALICO_NETWORKING_BACKEND: "bird",
  CLUSTER_TYPE: "k8s,bgp",
  IP: "autodetect",
};

/** `calico-node` as a process of the node. */
export async function startAgent(cluster: Cluster, node: ClusterNode): Promise<Daemon> {
  const folder = node.lab.path("/etc/calico");
  mkdirSync(folder, { recursive: true });
  copyFileSync(cluster.server.kubeconfig("node", { server: cluster.relay.url }), `${folder}/kubeconfig`);
  return await node.lab.daemon("calico-node", ["calico-node"], {
    ...ENVIRONMENT,
    KUBECONFIG: "/etc/calico/kubeconfig",
    NODENAME: node.name,
  });
}

/** Waits until the node's agent, process or container, enforces policy and has its BGP sessions. */
export async function agentReady(cluster: Cluster, node: ClusterNode): Promise<void> {
  let problem = "";
  await cluster.until(
    `calico-node is ready on ${node.name}`,
    async () => {
      const probe = await node.lab.exec(["calico-node", "health", "--felix-ready", "--bgp-ready"]);
      problem = probe.stdout + probe.stderr;
      return probe.status === 0;
    },
    () => problem,
  );
}

/** Objects that run `calico-node` as a container on every node, out of {@link calicoImage}. Account and role are the test server's. */
export function daemonSet(cluster: Cluster): object[] {
  const url = new URL(cluster.relay.url);
  const env = {
    ...ENVIRONMENT,
    // kube-proxy may need the agent: neither may wait for the other.
    KUBERNETES_SERVICE_HOST: url.hostname,
    KUBERNETES_SERVICE_PORT: url.port,
  };
  const mounts: readonly (readonly [name: string, path: string, more?: object])[] = [
    ["run", "/var/run/calico"],
    ["lib", "/var/lib/calico"],
    ["xtables-lock", "/run/xtables.lock"],
    ["modules", "/lib/modules", { readOnly: true }],
    ["policysync", "/var/run/nodeagent"],
    ["bpffs", "/sys/fs/bpf"],
    ["log", "/var/log/calico/cni", { readOnly: true }],
    ["netns", "/run/netns", { mountPropagation: "HostToContainer" }],
  ];
  const probe = (...flags: string[]): object => ({
    exec: { command: ["/usr/bin/calico-node", "health", ...flags] },
    timeoutSeconds: 10,
  });
  return [
    {
      ...{ apiVersion: "apps/v1", kind: "DaemonSet" },
      metadata: { name: "calico-node", namespace: "kube-system", labels: { "k8s-app": "calico-node" } },
      spec: {
        selector: { matchLabels: { "k8s-app": "calico-node" } },
        updateStrategy: { type: "RollingUpdate" },
        template: {
          metadata: { labels: { "k8s-app": "calico-node" } },
          spec: {
            ...{ hostNetwork: true, serviceAccountName: "calico-node", priorityClassName: "system-node-critical" },
            terminationGracePeriodSeconds: 5,
            tolerations: [{ operator: "Exists" }],
            initContainers: [
              {
                ...{ name: "install", image: CALICO, imagePullPolicy: "Never" },
                command: ["/usr/bin/calico", "install", "--bin-dir=/host/opt/cni/bin"],
                volumeMounts: [{ name: "cni-bin", mountPath: "/host/opt/cni/bin" }],
              },
            ],
            containers: [
              {
                ...{ name: "calico-node", image: CALICO, imagePullPolicy: "Never", command: ["/usr/bin/calico-node"] },
                securityContext: { privileged: true },
                env: [
                  ...Object.entries(env).map(([name, value]) => ({ name, value })),
                  { name: "NODENAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
                ],
                livenessProbe: { ...probe("--felix-live", "--bgp-live"), periodSeconds: 10, initialDelaySeconds: 10 },
                readinessProbe: { ...probe("--felix-ready", "--bgp-ready"), periodSeconds: 1 },
                volumeMounts: mounts.map(([name, mountPath, more]) => ({ name, mountPath, ...more })),
              },
            ],
            volumes: [...mounts, ["cni-bin", "/opt/cni/bin"] as const].map(([name, path]) => ({
              name,
              hostPath: { path, type: name === "xtables-lock" ? "FileOrCreate" : "DirectoryOrCreate" },
            })),
          },
        },
      },
    },
  ];
}
