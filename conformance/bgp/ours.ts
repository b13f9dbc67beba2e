/** The built `calico-node bgp` on a node of the lab: started, killed, and asked through its own socket. */
import {
  type BgpStatus,
  ControlClient,
  type PeerStatus,
  type RouteText,
  type WhichRoutes,
} from "../../lib/bgp/control/index.ts";
import { type Cluster, createCluster } from "../cni/cluster.ts";
import type { Daemon, Node } from "../lab/index.ts";

/** How long anything may take, in milliseconds: far longer than it does, as the machine may be busy. */
export const PATIENCE = 30_000;

export class Ours {
  readonly node: Node;
  readonly #cluster: Cluster;
  readonly #env: Readonly<Record<string, string>>;
  readonly #control: ControlClient;
  #daemon: Daemon | undefined;
  #log = "";

  private constructor(cluster: Cluster, node: Node, env: Readonly<Record<string, string>>) {
    this.#cluster = cluster;
    this.node = node;
    this.#env = env;
    this.#control = new ControlClient(node.path("/run/calico/bgp.sock"));
  }

  /** `env`: on top of what every node's has. */
  static async start(cluster: Cluster, node: Node, env: Readonly<Record<string, string>> = {}): Promise<Ours> {
    const ours = new Ours(cluster, node, env);
    await ours.restart();
    return ours;
  }

  get daemon(): Daemon {
    return this.#daemon!;
  }

  async restart(): Promise<void> {
    this.#daemon = await this.node.daemon("calico-node", ["/usr/local/bin/calico-node", "bgp"], {
      ...this.#cluster.env,
      NODENAME: this.node.name,
      NO_DEFAULT_POOLS: "true",
      ...this.#env,
    });
  }

  /** kill -9. */
  async kill(): Promise<void> {
    await this.#daemon?.end("SIGKILL");
    this.#log += this.#daemon?.log() ?? "";
  }

  /** As systemd and kubelet end it. */
  async stop(): Promise<void> {
    await this.#daemon?.end("SIGTERM");
    this.#log += this.#daemon?.log() ?? "";
  }

  log(): string {
    return this.#log + (this.#daemon?.log() ?? "");
  }

  async status(): Promise<BgpStatus | undefined> {
    try {
      return await this.#control.status();
    } catch {
      return undefined;
    }
  }

  async peer(address: string): Promise<PeerStatus | undefined> {
    return (await this.status())?.peers.find((peer) => peer.address === address);
  }

  async routes(which: WhichRoutes, peer?: string): Promise<RouteText[]> {
    return Array.fromAsync(this.#control.routes(which, peer));
  }

  /** Best routes of a prefix's, as they are told. */
  async best(prefix: string): Promise<RouteText | undefined> {
    const routes = await this.#control.explain(prefix);
    return routes.find(({ best }) => best);
  }

  /** What `calicoctl node status` prints on the node. */
  nodeStatus(): Promise<string> {
    return this.node.run(["calicoctl", "node", "status"], { env: this.#cluster.env });
  }

  /** Waits until the sessions with these are Established. */
  async established(...addresses: readonly string[]): Promise<void> {
    for (const address of addresses) {
      await until(
        async () => (await this.peer(address))?.state === "Established",
        async () => `${this.node.name}: no session with ${address}: ${JSON.stringify(await this.peer(address))}`,
      );
    }
  }
}

/** Polls; throws what `why` says when it takes too long. */
export async function until(
  done: () => Promise<boolean> | boolean,
  why: () => Promise<string> | string,
  timeout = PATIENCE,
): Promise<void> {
  for (const deadline = performance.now() + timeout; !(await done()); await Bun.sleep(50)) {
    if (performance.now() > deadline) throw new Error(await why());
  }
}

/** A lab whose nodes share a datastore without pools, mesh or Nodes of a default kind; the resources are as given. */
export async function createWorld(nodes: number, ...resources: readonly object[]): Promise<Cluster> {
  const cluster = await createCluster({ nodes, pools: [] });
  try {
    await cluster.apply(...resources);
    return cluster;
  } catch (error) {
    await cluster.dispose();
    throw error;
  }
}

const resource = (kind: string, name: string, spec: object, labels: object = {}): object => ({
  apiVersion: "projectcalico.org/v3",
  kind,
  metadata: { name, labels },
  spec,
});

export interface NodeSpec {
  readonly asn?: number;
  /** With the length of the subnet. */
  readonly address4?: string;
  readonly address6?: string;
  readonly clusterId?: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export function nodeResource(name: string, { asn, address4, address6, clusterId, labels }: NodeSpec): object {
  const bgp = {
    ...(asn !== undefined && { asNumber: asn }),
    ...(address4 && { ipv4Address: address4 }),
    ...(address6 && { ipv6Address: address6 }),
    ...(clusterId && { routeReflectorClusterID: clusterId }),
  };
  return resource("Node", name, Object.keys(bgp).length > 0 ? { bgp } : {}, labels);
}

export const labNode = (node: Node, spec: NodeSpec = {}): object =>
  nodeResource(node.name, { address4: `${node.address4}/24`, address6: `${node.address6}/64`, ...spec });

export const bgpConfiguration = (spec: object): object => resource("BGPConfiguration", "default", spec);
export const bgpPeer = (name: string, spec: object): object => resource("BGPPeer", name, spec);
export const bgpFilter = (name: string, spec: object): object => resource("BGPFilter", name, spec);

export const secret = (name: string, values: Readonly<Record<string, string>>): object => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, namespace: "kube-system" },
  stringData: values,
});
