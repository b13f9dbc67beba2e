/** Sessions of one node in one family: of the mesh, and of BGPPeers, under the names that they have in BIRD's files. */
import type { BGPConfigurationSpec } from "../../api/bgpconfiguration.ts";
import { isLinkLocal, tryParseAddress } from "../../ip/index.ts";
import { parseDuration } from "../../wait/duration.ts";
import type { Family, Peer, PeerKind, PeerRoute } from "../model/index.ts";
import { bfdOf } from "./bfd.ts";
import type { Cluster, ClusterNode } from "./cluster.ts";
import type { Password } from "./passwords.ts";
import { type Peering, peeringKey } from "./peerings.ts";
import { byText, type Problems, quoted } from "./problems.ts";
import { byKey } from "./services.ts";

const PREFIX: Readonly<Record<PeerKind, string>> = {
  mesh: "Mesh",
  global: "Global",
  node: "Node",
  localWorkload: "Local_Workload",
};

/** BIRD's protocol name. */
function peerName(kind: PeerKind, address: string, port?: number): string {
  const name = `${PREFIX[kind]}_${address.replace(/[.:]/g, "_")}`;
  return port === undefined ? name : `${name}_port_${port}`;
}

export interface SessionInputs {
  readonly cluster: Cluster;
  readonly self: ClusterNode;
  readonly family: Family;
  /** The node's address. */
  readonly address: string;
  readonly meshPassword: Password;
  readonly peerings: readonly Peering[];
  readonly isConnected: (address: string) => boolean;
}

/** By name. */
export function sessions(inputs: SessionInputs, problems: Problems): Peer[] {
  const peers = new Map<string, Peer>();
  for (const peer of meshSessions(inputs, problems)) peers.set(peer.name, peer);
  const inMesh = new Map([...peers.values()].map((peer) => [`${peer.address} ${peer.port ?? ""}`, peer]));
  for (const peering of inputs.peerings) {
    if (peering.family !== inputs.family || peering.address === inputs.address) continue;
    if (isOnNoLink(peering.address)) {
      problems.add(peering.reason, `${peering.address} ${ON_NO_LINK}; there is no session with it`);
      continue;
    }
    const { missing } = peering.password;
    if (missing !== undefined) {
      problems.add(
        peering.reason,
        `spec.password: ${missing}; there is no session with ${peeringKey(peering).replace("-", " port ")}, rather than one without the password`,
      );
      continue;
    }
    const peer = session(peering, inputs, problems);
    if (peers.has(peer.name)) continue;
    peers.set(peer.name, peer);
    if (inMesh.has(`${peer.address} ${peer.port ?? ""}`)) {
      problems.add(
        peering.reason,
        `node ${peer.node ?? peer.address} is a peer in the mesh as well; both sessions are there, and one of them will not come up: disable the mesh, or remove the BGPPeer`,
      );
    }
  }
  return [...peers.values()].sort((a, b) => byText(a.name, b.name));
}

const ON_NO_LINK = "is a link-local one, and no resource says on which interface it is";

function isOnNoLink(text: string): boolean {
  const address = tryParseAddress(text);
  return address !== undefined && isLinkLocal(address);
}

/** Every other node with an address of the family, but route reflectors; a reflector itself is in no mesh. */
function meshSessions(
  { cluster, self, family, address: own, meshPassword }: SessionInputs,
  problems: Problems,
): Peer[] {
  const configuration: Partial<BGPConfigurationSpec> = cluster.configuration ?? {};
  if (self.clusterId !== undefined || configuration.nodeToNodeMeshEnabled === false) return [];
  const restartTime = seconds(configuration.nodeMeshMaxRestartTime, problems);
  if (meshPassword.missing !== undefined) {
    problems.add(
      "BGPConfiguration default",
      `spec.nodeMeshPassword: ${meshPassword.missing}; there are no sessions of the mesh, rather than some without the password`,
    );
    return [];
  }
  const peers: Peer[] = [];
  const taken = new Map<string, string>([[own, self.name]]);
  for (const node of cluster.nodes) {
    const address = node.addresses[family]?.address;
    if (node.name === self.name || node.clusterId !== undefined || address === undefined) continue;
    if (isOnNoLink(address)) {
      problems.add(`Node ${node.name}`, `its address ${address} ${ON_NO_LINK}; it is left out of the mesh`);
      continue;
    }
    const holder = taken.get(address);
    if (holder !== undefined) {
      problems.add(
        `Node ${node.name}`,
        `has the address ${address}, as node ${holder} has; it is left out of the mesh`,
      );
      continue;
    }
    taken.set(address, node.name);
    peers.push({
      // The port of a mesh peer is not in its name.
      name: peerName("mesh", address),
      kind: "mesh",
      address,
      ...(node.port === undefined ? {} : { port: node.port }),
      asn: node.asn,
      node: node.name,
      sourceAddress: own,
      ...(meshPassword.password === undefined ? {} : { password: meshPassword.password }),
      ...(restartTime === undefined ? {} : { restartTime }),
      passive: address > own,
      nextHop: "auto",
      allowedOwnAsns: 0,
      filters: [],
      reason: "node-to-node mesh",
    });
  }
  return peers;
}

function seconds(text: string | undefined, problems: Problems): number | undefined {
  if (!text) return undefined;
  const milliseconds = parseDuration(text);
  if (milliseconds !== undefined && milliseconds >= 0) return Math.round(milliseconds / 1000);
  problems.add(
    "BGPConfiguration default",
    `spec.nodeMeshMaxRestartTime ${quoted(text)}: must be a duration such as 2m30s; it is taken for absent`,
  );
  return undefined;
}

function session(peering: Peering, inputs: SessionInputs, problems: Problems): Peer {
  const { self, address: own } = inputs;
  const { address, port, asn, localAsn, node, password, bfd } = peering;
  const kind: PeerKind = peering.isWorkload ? "localWorkload" : peering.isGlobal ? "global" : "node";
  const ownAsn = localAsn ?? self.asn;
  const isReflected =
    self.clusterId !== undefined &&
    asn === ownAsn &&
    // Who is named by address may be a reflector of the same cluster, but it is not known of it.
    (peering.isNamed || node?.clusterId !== self.clusterId);
  const watch =
    bfd && bfdOf(bfd, peering.isWorkload || (peering.reachableBy === undefined && inputs.isConnected(address)));
  if (bfd && !watch) {
    problems.add(
      peering.reason,
      `failureDetectionMode BFDIfDirectlyConnected: ${address} is on no network of this node; there is no BFD with it`,
    );
  }
  return {
    name: peerName(kind, address, port),
    kind,
    address,
    ...(port === undefined ? {} : { port }),
    asn,
    ...(node ? { node: node.name } : {}),
    ...(localAsn === undefined ? {} : { localAsn }),
    ...(peering.useNodeAddress ? { sourceAddress: own } : {}),
    ...(peering.ttlSecurity > 0 ? { ttlSecurity: peering.ttlSecurity } : {}),
    ...(password.password === undefined ? {} : { password: password.password }),
    ...(peering.restartTime === undefined ? {} : { restartTime: peering.restartTime }),
    ...(peering.keepaliveTime === undefined ? {} : { keepaliveTime: peering.keepaliveTime }),
    passive: peering.isWorkload || (kind === "global" && peering.isNamed && node !== undefined && address > own),
    ...(isReflected ? { reflectorClient: self.clusterId } : {}),
    nextHop: peering.keepsNextHopOfOthers && asn !== ownAsn ? "keep" : peering.nextHop,
    allowedOwnAsns: peering.allowedOwnAsns,
    filters: peering.filters,
    ...(watch ? { bfd: watch } : {}),
    reason: peering.reason,
  };
}

/** Static routes to peers behind a gateway, in the order of upstream's keys. */
export function peerRoutes(peerings: readonly Peering[], family: Family, own: string | undefined): PeerRoute[] {
  return (["global", "node"] as const).flatMap((kind) =>
    peerings
      .filter(
        (peering) => peering.family === family && peering.isGlobal === (kind === "global") && peering.address !== own,
      )
      .sort((a, b) => byKey(peeringKey(a), peeringKey(b)))
      .flatMap(({ address, reachableBy }) => (reachableBy ? [{ peer: address, via: reachableBy, kind }] : [])),
  );
}
