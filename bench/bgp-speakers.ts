/** Who stands in the middle of bench:bgp: the same two sessions for each, without a kernel to program. */
import type { Daemon, Node } from "../conformance/lab/index.ts";
import { BGPConfiguration } from "../lib/api/bgpconfiguration.ts";
import { BGPPeer } from "../lib/api/bgppeer.ts";
import type { Kind } from "../lib/api/kind.ts";
import type { Resource } from "../lib/api/meta.ts";
import { Node as CalicoNode } from "../lib/api/node.ts";
import { ensureInitialized, openClient } from "../lib/datastore/index.ts";
import { BIRD_HEAD, Bird } from "./bgp-bird.ts";

export const SPEAKERS = ["ours", "BIRD", "FRR", "GoBGP"] as const;
export type SpeakerName = (typeof SPEAKERS)[number];

export interface Neighbour {
  readonly address: string;
  readonly asn: number;
}

export interface Middle {
  readonly asn: number;
  readonly address: string;
  readonly neighbours: readonly Neighbour[];
  /** Neighbours of the same AS are its clients. */
  readonly reflects: boolean;
}

/** Prefixes of the bench are of it: routes to a Service's addresses are passed on by our speaker and not programmed into the kernel. */
export const RANGE = "16.0.0.0/5";
const CLUSTER_ID = "244.0.0.1";

export function startSpeaker(name: SpeakerName, node: Node, share: string, middle: Middle): Promise<Daemon> {
  return STARTERS[name](node, middle, share);
}

const STARTERS: Readonly<Record<SpeakerName, (node: Node, middle: Middle, share: string) => Promise<Daemon>>> = {
  ours: async (node, middle, share) => {
    await store(share, [
      stored(BGPConfiguration, "default", { nodeToNodeMeshEnabled: false, serviceLoadBalancerIPs: [{ cidr: RANGE }] }),
      stored(CalicoNode, node.name, nodeSpec(middle.asn, middle.address, middle.reflects)),
      ...middle.neighbours.map(({ address, asn }) =>
        stored(BGPPeer, `peer-${address}`, { peerIP: address, asNumber: asn }),
      ),
    ]);
    return startOurs(node);
  },
  BIRD: async (node, { asn, address, neighbours, reflects }) => {
    const sessions = neighbours.map(
      (one, index) => `protocol bgp p${index} {
  local ${address} as ${asn};
  neighbor ${one.address} as ${one.asn};
  connect delay time 1;
  ${reflects ? `rr client; rr cluster id ${CLUSTER_ID};` : ""}
  ipv4 { import all; export all; };
}
`,
    );
    const bird = await Bird.start(node, BIRD_HEAD(address) + sessions.join(""));
    bird.close();
    return bird.daemon;
  },
  FRR: async (node, { asn, address, neighbours, reflects }) => {
    const lines = neighbours.map(
      (one) => ` neighbor ${one.address} remote-as ${one.asn}
 neighbor ${one.address} timers connect 1
${reflects ? ` neighbor ${one.address} route-reflector-client\n` : ""}`,
    );
    const text = `router bgp ${asn}
 bgp router-id ${address}
 no bgp ebgp-requires-policy
${reflects ? ` bgp cluster-id ${CLUSTER_ID}\n` : ""}${lines.join("")}`;
    await Bun.write(node.path("/tmp/bgpd.conf"), text);
    return node.daemon("bgpd", [
      ...["/usr/lib/frr/bgpd", "-Z", "-n", "-S", "-f", "/tmp/bgpd.conf", "-i", "/tmp/bgpd.pid"],
      ...["--vty_socket", "/tmp", "-A", "127.0.0.1", "--log", "stdout"],
    ]);
  },
  GoBGP: async (node, { asn, address, neighbours, reflects }) => {
    const sessions = neighbours.map(
      (one) => `[[neighbors]]
  [neighbors.config]
    neighbor-address = "${one.address}"
    peer-as = ${one.asn}
  [neighbors.timers.config]
    connect-retry = 1
    idle-hold-time-after-reset = 1
${reflects ? `  [neighbors.route-reflector.config]\n    route-reflector-client = true\n    route-reflector-cluster-id = "${CLUSTER_ID}"\n` : ""}`,
    );
    const text = `[global.config]\n  as = ${asn}\n  router-id = "${address}"\n${sessions.join("")}`;
    await Bun.write(node.path("/tmp/gobgpd.toml"), text);
    return node.daemon("gobgpd", ["gobgpd", "-f", "/tmp/gobgpd.toml", "--api-hosts", "127.0.0.1:50051"]);
  },
};

export interface Stored {
  readonly kind: Kind;
  readonly resource: Resource;
}

/** A resource of that kind, to be written by {@link store}. */
export function stored<R extends Resource>(kind: Kind<R>, name: string, spec: object): Stored {
  return {
    kind: kind as unknown as Kind,
    resource: { apiVersion: kind.apiVersion, kind: kind.kind, metadata: { name }, spec } as Resource,
  };
}

export const nodeSpec = (asn: number, address: string, reflects = false): object => ({
  bgp: {
    asNumber: asn,
    ipv4Address: `${address}/24`,
    ...(reflects && { routeReflectorClusterID: CLUSTER_ID }),
  },
});

/** Writes the resources of a cluster into a new datastore in the folder that all nodes see. */
export async function store(share: string, resources: readonly Stored[]): Promise<void> {
  const client = await openClient({ type: "sqlite", file: `${share}/datastore.db` });
  try {
    await ensureInitialized(client);
    for (const { kind, resource } of resources) await client.create(kind, resource);
  } finally {
    await client.close();
  }
}

/** The built executable. */
export function startOurs(node: Node): Promise<Daemon> {
  return node.daemon("calico-node", ["/usr/local/bin/calico-node", "bgp"], {
    DATASTORE_TYPE: "sqlite",
    DATASTORE_FILE: "/mnt/share/datastore.db",
    NODENAME: node.name,
  });
}
