/** The value itself: {@link NodeBgp} and what it is made of. */

/** IPv4 or IPv6, unicast (AFI 1 or 2, SAFI 1). */
export type Family = 4 | 6;

export interface NodeBgp {
  readonly node: string;
  readonly asn: number;
  /** Dotted quad: the node's IPv4 address, a configured one, or a hash of the node's name (CALICO_ROUTER_ID). */
  readonly routerId: string;
  /** Set: this node is a route reflector, and not of the mesh. Dotted quad. */
  readonly clusterId?: string;
  readonly log: LogLevel;
  readonly listen: Listen;
  /** Patterns (`*` and `?`) of interfaces whose networks are not the node's own; what is always ignored is not among them. */
  readonly ignoredInterfaces: readonly string[];
  readonly ipv4: FamilyBgp;
  readonly ipv6: FamilyBgp;
  /** Every BGPFilter, by name (BIRD's file defines them all). A peer that names one which is not here goes without it, as upstream's does. */
  readonly filters: Readonly<Record<string, Filter>>;
  /** What could not be used, in words: of which resource, which field, what is done instead. For logs, readiness and node status. */
  readonly problems: readonly string[];
}

/** Of BGPConfiguration's logSeverityScreen: `none` and `debug` change BIRD's debug lines, all others read `info`. */
export type LogLevel = "none" | "debug" | "info";

export interface Listen {
  /** Absent: 179. */
  readonly port?: number;
  /** bindMode NodeIP: only on the node's own addresses. */
  readonly onlyNodeAddresses: boolean;
}

/** What concerns one family. */
export interface FamilyBgp {
  readonly family: Family;
  /** The node's BGP address. Absent: it has none of this family, and so no sessions of it. */
  readonly address?: string;
  /** The node's address with its subnet: `10.0.0.1/24` is kept as `10.0.0.0/24`. */
  readonly subnet?: string;
  /** Ordered by name; names are unique. */
  readonly peers: readonly Peer[];
  /** Blocks that are affine to this node, ordered as upstream lists its keys. */
  readonly blocks: readonly Block[];
  /** Service prefixes that this node advertises: whole ranges, and single addresses by externalTrafficPolicy. Ordered. */
  readonly services: readonly string[];
  /** What never goes into the kernel's table: service prefixes (they are this node's own business, or kube-proxy's). Ordered. */
  readonly notProgrammed: readonly string[];
  /** The configured ranges of external and load-balancer addresses: what a route reflector passes on. */
  readonly externalRanges: readonly string[];
  readonly loadBalancerRanges: readonly string[];
  /** Every pool of the family, disabled ones too (their addresses may be in use still), ordered by prefix text as upstream sorts its statements. */
  readonly pools: readonly Pool[];
  /** Of BGPConfiguration's prefixAdvertisements: what the node's own routes within a prefix are tagged with. */
  readonly communities: readonly PrefixCommunities[];
  /** Routes to peers that are not on a network of the node (BGPPeer.reachableBy). */
  readonly peerRoutes: readonly PeerRoute[];
  /** Kernel metric of an ordinary route; a lower one is elevated. Default 1024. */
  readonly normalPriority: number;
  /** BGP addresses of nodes that are reached through WireGuard, when this node is: their routes are not ours to program. */
  readonly wireguardPeers: readonly string[];
  /** Who programs routes to blocks of other nodes (BGPConfiguration.programClusterRoutes): true is BGP, false is the agent. */
  readonly programs: { readonly noEncap: boolean; readonly ipip: boolean };
}

export interface Block {
  readonly cidr: string;
  /** Absent in old data: counts as confirmed. Only a confirmed block swallows the longer routes in it. */
  readonly state?: "confirmed" | "pending" | "pendingDeletion";
}

export interface Pool {
  readonly cidr: string;
  readonly encapsulation: "none" | "ipip" | "ipip-cross-subnet" | "vxlan" | "vxlan-cross-subnet";
  /** disableBGPExport */
  readonly exported: boolean;
}

export interface PrefixCommunities {
  readonly prefix: string;
  readonly communities: readonly Community[];
}

export interface PeerRoute {
  readonly peer: string;
  readonly via: string;
  /** Of which kind of peer it is for: BIRD's file lists them apart. */
  readonly kind: "global" | "node";
}

/** Of two numbers (RFC 1997) or three (RFC 8092). */
export type Community = readonly [asn: number, value: number] | readonly [asn: number, first: number, second: number];

export type PeerKind = "mesh" | "global" | "node" | "localWorkload";

/** One session to be had. */
export interface Peer {
  /** BIRD's protocol name, and ours in logs and metrics: `Mesh_10_0_0_2`, `Global_2001_db8__1_port_1790`, `Node_…`, `Local_Workload_…`. */
  readonly name: string;
  readonly kind: PeerKind;
  readonly address: string;
  /** Absent: 179, unless the other is a node whose configuration says otherwise. */
  readonly port?: number;
  readonly asn: number;
  /** Whether the other is a Calico node, and what it is called. */
  readonly node?: string;
  /** The AS this side says it is, instead of the node's. */
  readonly localAsn?: number;
  /** The address this side speaks from; absent: as the kernel routes. */
  readonly sourceAddress?: string;
  /** GTSM (RFC 5082): the other is at most so many hops away. Absent: off. */
  readonly ttlSecurity?: number;
  readonly password?: string;
  /** Graceful restart time that is announced, in seconds. Absent: the back end's default (120). */
  readonly restartTime?: number;
  /** Seconds. Absent: a third of the hold time. */
  readonly keepaliveTime?: number;
  /** Waits to be connected to. */
  readonly passive: boolean;
  /** This node reflects for that peer, with this cluster id. Dotted quad. */
  readonly reflectorClient?: string;
  readonly nextHop: "auto" | "self" | "keep";
  /** How often our own AS number may be in a path that is taken (allow local as). */
  readonly allowedOwnAsns: number;
  /** BGPFilters, by name, in the order in which they are asked. */
  readonly filters: readonly string[];
  /** Liveness by BFD (RFC 5880). Absent: none. */
  readonly bfd?: BfdParameters;
  /** Which resource asked for it, for words to the user: `BGPPeer rack-tor`, `node-to-node mesh`. */
  readonly reason: string;
}

export interface BfdParameters {
  /** Milliseconds. */
  readonly minReceive: number;
  readonly minSend: number;
  readonly multiplier: number;
  readonly multihop: boolean;
}

export interface Filter {
  readonly name: string;
  readonly importV4: readonly FilterRule[];
  readonly exportV4: readonly FilterRule[];
  readonly importV6: readonly FilterRule[];
  readonly exportV6: readonly FilterRule[];
}

/** A rule matches when all that it asks for holds; the first that matches decides. No match: the next filter, and at the end what the direction's default is. */
export interface FilterRule {
  readonly action: "accept" | "reject";
  readonly prefix?: {
    /** As it is written, not canonical: upstream's files have it so (`5000::0/64`). Its length is within minLength. */
    readonly cidr: string;
    /** equal: the very prefix; in: it or within it; and their opposites. */
    readonly operator: "equal" | "notEqual" | "in" | "notIn";
    readonly minLength?: number;
    readonly maxLength?: number;
  };
  /** Only routes learned from peers (source RemotePeers). */
  readonly learned?: boolean;
  /** Pattern of the interface that a local route is of. */
  readonly interface?: string;
  readonly peerType?: "ebgp" | "ibgp";
  /** The route has this one. */
  readonly community?: Community;
  /** The AS path begins with these. */
  readonly asPathPrefix?: readonly number[];
  /** Kernel metric, which travels as LOCAL_PREF 2147483647 - priority. */
  readonly priority?: number;
  /** In order; only where the rule accepts. */
  readonly operations: readonly FilterOperation[];
}

export type FilterOperation =
  | { readonly kind: "addCommunity"; readonly community: Community }
  /** In front of the path, in the order given: the first is leftmost. */
  | { readonly kind: "prependAsPath"; readonly asns: readonly number[] }
  | { readonly kind: "setPriority"; readonly priority: number };
