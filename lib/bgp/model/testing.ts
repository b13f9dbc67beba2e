/** For tests: models of nodes, of which a test says only what it is about. */
import type { Family, FamilyBgp, NodeBgp, Peer } from "./index.ts";

export interface Sample extends Partial<Omit<NodeBgp, "ipv4" | "ipv6">> {
  readonly ipv4?: Partial<FamilyBgp>;
  readonly ipv6?: Partial<FamilyBgp>;
}

/** A node of AS 64512 at 10.0.0.1 and fd00::1 that has neither peers nor anything to tell them. */
export function sampleNode(sample: Sample = {}): NodeBgp {
  return {
    node: "node-1",
    asn: 64512,
    routerId: "10.0.0.1",
    log: "info",
    listen: { onlyNodeAddresses: false },
    ignoredInterfaces: [],
    filters: {},
    problems: [],
    ...sample,
    ipv4: sampleFamily(4, { address: "10.0.0.1", subnet: "10.0.0.0/24", ...sample.ipv4 }),
    ipv6: sampleFamily(6, { address: "fd00::1", subnet: "fd00::/64", ...sample.ipv6 }),
  };
}

function sampleFamily(family: Family, some: Partial<FamilyBgp>): FamilyBgp {
  return {
    family,
    peers: [],
    blocks: [],
    services: [],
    notProgrammed: [],
    externalRanges: [],
    loadBalancerRanges: [],
    pools: [],
    communities: [],
    peerRoutes: [],
    normalPriority: 1024,
    wireguardPeers: [],
    programs: { noEncap: true, ipip: false },
    ...some,
  };
}

/** A neighbour in the node's own AS at 10.0.0.2. */
export function samplePeer(some: Partial<Peer> = {}): Peer {
  return {
    name: "Mesh_10_0_0_2",
    kind: "mesh",
    address: "10.0.0.2",
    asn: 64512,
    passive: false,
    nextHop: "auto",
    allowedOwnAsns: 0,
    filters: [],
    reason: "node-to-node mesh",
    ...some,
  };
}
