/** Calico on a cluster as an administrator puts it there: deploy/calico.yaml, in which only the image's name is another. */
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CHECKOUT } from "../lab/index.ts";
import { Cluster, type ClusterOptions, type PodObject } from "./cluster.ts";
import { type ProxyMode, startKubeProxy } from "./kube-proxy.ts";
import type { ClusterNode } from "./node.ts";
import { report } from "./report.ts";
import { CALICO, calicoImage } from "./stock.ts";

export const MANIFEST = join(CHECKOUT, "deploy/calico.yaml");
export const NAMESPACE = "kube-system";
export const AGENT = "k8s-app=calico-node";
export const CONTROLLERS = "k8s-app=calico-kube-controllers";
/** Where the agent writes what makes a node Ready. */
export const CONFLIST = "/etc/cni/net.d/10-calico.conflist";
/** The default pool, which the first agent makes: nothing tells it another one. */
export const POOL = /^192\.168\.\d+\.\d+$/;
/** The one of IPv6 that docs/install.md tells it, where it tells any. */
export const POOL6 = /^fd00:10:244:/;

/** When a node had what, in milliseconds since the manifest was applied. */
export interface NodeInstalled {
  readonly node: string;
  readonly conflist: number;
  readonly ready: number;
}

/** A cluster on which Calico was installed, and how that went. */
export interface Installed {
  readonly cluster: Cluster;
  readonly nodes: readonly NodeInstalled[];
}

export interface InstallOptions extends Pick<ClusterOptions, "nodes" | "audit" | "families"> {
  /** kube-proxy's, by the number of the node from 0. Default: nftables. */
  readonly proxies?: readonly ProxyMode[];
  /** What the administrator changes in the manifest before it is applied. */
  readonly change?: (manifest: string) => string;
}

/**
 * A cluster with nothing of Calico in it, on which the manifest is applied; resolves when all nodes and all of Calico's pods are ready. What was
 * reported when it fails, is in the error.
 */
export async function installed(options: InstallOptions = {}): Promise<Installed> {
  const images = [await calicoImage()];
  const { proxies = [], change, ...rest } = options;
  const cluster = await Cluster.create({ nodes: 2, ...rest, images });
  try {
    for (const [index, node] of cluster.nodes.entries()) {
      await makeBare(node);
      await startKubeProxy(cluster, node, proxies[index]);
    }
    const nodes = await cluster.phase("Calico ready", async () => {
      await applyManifest(cluster, change);
      const times = await watchNodes(cluster);
      await cluster.podsReady(AGENT, cluster.nodes.length, NAMESPACE);
      await cluster.podsReady(CONTROLLERS, 1, NAMESPACE);
      return times;
    });
    return { cluster, nodes };
  } catch (error) {
    const seen = await report(cluster);
    await cluster.dispose();
    throw new Error(`${(error as Error).message}\n${seen}`);
  }
}

/** Takes away what a lab node has from the start, and a new machine has not: the plugins, and forwarding. */
async function makeBare(node: ClusterNode): Promise<void> {
  const folder = node.lab.path("/opt/cni/bin");
  for (const name of readdirSync(folder)) if (name.startsWith("calico")) rmSync(join(folder, name));
  await node.lab.run(["sysctl", "--quiet", "net.ipv4.ip_forward=0", "net.ipv6.conf.all.forwarding=0"]);
}

/** The commands of docs/install.md, in their order. */
export async function applyManifest(
  cluster: Cluster,
  change: (manifest: string) => string = (manifest) => manifest,
): Promise<void> {
  const { hostname: host, port } = new URL(cluster.relay.url);
  // Service kubernetes is served by kube-proxy, and pods reach it only once they have a network.
  const endpoint = ["create", "configmap", "kubernetes-services-endpoint", `--namespace=${NAMESPACE}`];
  const addresses = { KUBERNETES_SERVICE_HOST: host.replaceAll(/[[\]]/g, ""), KUBERNETES_SERVICE_PORT: port };
  const literals = Object.entries(addresses).map((pair) => `--from-literal=${pair.join("=")}`);
  await succeed(cluster, [...endpoint, ...literals]);
  const text = readFileSync(MANIFEST, "utf8");
  const names = new Set(text.match(/(?<=^ *image: ).*/gm));
  if (names.size !== 1) throw new Error(`${MANIFEST} names other images than one: ${[...names].join(", ")}`);
  const file = join(cluster.server.folder, "calico.yaml");
  writeFileSync(file, change(text.replaceAll([...names][0]!, CALICO)));
  // The test server has roles of these names already, which somebody else applied.
  await succeed(cluster, ["apply", "--server-side", "--force-conflicts", "--validate=strict", `--filename=${file}`]);
}

async function succeed(cluster: Cluster, args: readonly string[]): Promise<void> {
  const { status, stderr } = await cluster.kubectl(...args);
  if (status !== 0) throw new Error(`kubectl ${args[0]}: ${stderr}`);
}

/** Throws when a node is Ready and has no network configuration. */
async function watchNodes(cluster: Cluster): Promise<NodeInstalled[]> {
  const began = performance.now();
  const since = (): number => Math.round(performance.now() - began);
  const conflists = new Map<string, number>();
  const ready = new Map<string, number>();
  const look = (): void => {
    for (const { name, lab } of cluster.nodes)
      if (!conflists.has(name) && existsSync(lab.path(CONFLIST))) conflists.set(name, since());
  };
  await cluster.until("all nodes are Ready", async () => {
    const nodes = await cluster.nodeObjects();
    look();
    for (const { metadata, status } of nodes) {
      const { name } = metadata;
      if (!status.conditions?.some(({ type, status: is }) => type === "Ready" && is === "True")) continue;
      if (!conflists.has(name)) throw new Error(`${name} is Ready and has no ${CONFLIST}`);
      if (!ready.has(name)) ready.set(name, since());
    }
    return ready.size === cluster.nodes.length;
  });
  return cluster.nodes.map(({ name }) => ({ node: name, conflist: conflists.get(name)!, ready: ready.get(name)! }));
}

/** The agent's pod of a node. */
export async function agentOf(cluster: Cluster, node: ClusterNode): Promise<PodObject> {
  const pods = await cluster.pods(AGENT, NAMESPACE);
  const pod = pods.find(({ spec, metadata }) => spec.nodeName === node.name && !metadata.deletionTimestamp);
  if (pod === undefined) throw new Error(`${node.name} has no calico-node`);
  return pod;
}

/** What a pod of kube-system has logged; the container before the present one's with `previous`, "" where there was none. */
export async function logOf(cluster: Cluster, pod: PodObject, previous = false): Promise<string> {
  const more = previous ? ["--previous"] : [];
  const { stdout } = await cluster.kubectl("logs", `--namespace=${NAMESPACE}`, pod.metadata.name, ...more);
  return stdout;
}

/** Waits until the agents of all nodes are ready, in the probes' own words. */
export async function agentsReady(cluster: Cluster): Promise<void> {
  await cluster.podsReady(AGENT, cluster.nodes.length, NAMESPACE);
}

/**
 * How long calico-kube-controllers looks at what seems superfluous before it takes it away, "10s"; 15 minutes otherwise. What is killed between two
 * writes leaves such things: an address without a pod, a handle without an address.
 */
export async function setLeakGracePeriod(cluster: Cluster, leakGracePeriod: string): Promise<void> {
  const patch = JSON.stringify({ spec: { controllers: { node: { leakGracePeriod } } } });
  const resource = ["kubecontrollersconfigurations.crd.projectcalico.org", "default"];
  await succeed(cluster, ["patch", ...resource, "--type=merge", `--patch=${patch}`]);
}
