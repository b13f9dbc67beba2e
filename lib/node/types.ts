/** What the start-up of a node is given and what it answers; and how its BGP looks to those who ask. Types only. */
import type { Node } from "../api/node.ts";
import type { Address } from "../ip/index.ts";

/** An address of an interface with the length of its network. */
export interface HostAddress {
  readonly address: Address;
  readonly length: number;
  /** IFA_F bits of the kernel. */
  readonly flags: number;
}

/** A network interface of this machine. */
export interface HostInterface {
  readonly index: number;
  readonly name: string;
  /** The kernel's kind: veth, bridge, wireguard…; absent for hardware and loopback. */
  readonly kind?: string;
  /** Administratively up. */
  readonly up: boolean;
  /** In the kernel's order. */
  readonly addresses: readonly HostAddress[];
}

/** What the machine is, as far as start-up asks. `hostFacts()` asks the kernel; a test says what it likes. */
export interface HostFacts {
  interfaces(): readonly HostInterface[];
  /** The source address of packets to that destination; undefined when there is no route. */
  sourceTowards(destination: Address): Address | undefined;
  /** Addresses of a name, of one family (for can-reach=NAME). */
  resolve(name: string, version: 4 | 6): Promise<readonly Address[]>;
  /** The MAC of another machine on that interface's network that says it has the address; undefined when none does, or that cannot be asked. */
  ownerOf?(address: Address, interfaceName: string): Promise<string | undefined>;
  /** Whether the kernel has IPv6 (/proc/sys/net/ipv6). */
  readonly ipv6: boolean;
  /** The machine's own name. */
  readonly hostname: string;
}

/** What Kubernetes says, when this is a node of one. */
export interface KubernetesFacts {
  /** Of the Node object: status.addresses of type InternalIP, in order. Absent: it could not be read. */
  readonly internalAddresses?: readonly string[];
  /** `data` of the ConfigMap kube-system/kubeadm-config; absent when there is none or it may not be read. */
  readonly kubeadmConfig?: Readonly<Record<string, string>>;
  /** There is a ConfigMap kube-system/full-cluster-state. */
  readonly rancher?: boolean;
}

export type Env = Readonly<Record<string, string | undefined>>;

export type NodeErrorCode =
  /** A variable of the environment is wrong. */
  | "ENVIRONMENT"
  /** No address was found where one is needed. */
  | "NO_ADDRESS"
  /** Another node has this node's address. */
  | "ADDRESS_CONFLICT"
  /** The Node object has to be there already (Kubernetes makes it), and is not. */
  | "NODE_MISSING"
  /** A file could not be written. */
  | "FILE";

/** A pool whose addresses cannot be reached from other nodes, because the encapsulation it asks for is not there. */
export interface UnservedPool {
  readonly pool: string;
  readonly cidr: string;
  readonly encapsulation: "IPIP" | "VXLAN";
  /** For readiness and node status: `IPPool default-ipv4-ippool (192.168.0.0/16) asks for VXLAN (Always), which …`. */
  readonly message: string;
}

/** What start-up came to. */
export interface PreparedNode {
  readonly name: string;
  /** As it is stored now. Absent with CALICO_NETWORKING_BACKEND=none and no Node there. */
  readonly node?: Node;
  /** With the length of the network: `10.0.0.1/24`. */
  readonly ipv4?: string;
  readonly ipv6?: string;
  readonly asn?: number;
  readonly unserved: readonly UnservedPool[];
  /** What the operator should look at, one sentence each; logged already. */
  readonly warnings: readonly string[];
}

/** How far a BGP session is, in RFC 4271's words and BIRD's. */
export type BgpState = "Idle" | "Connect" | "Active" | "OpenSent" | "OpenConfirm" | "Established" | "Close";

/**
 * One BGP peer. The required fields are what CalicoNodeStatus shows, and what the BGP process says of its peers to `calicoctl node status` has them
 * under the same names, so that it can be passed on as it is.
 */
export interface BgpPeerStatus {
  readonly family: 4 | 6;
  readonly kind: "mesh" | "global" | "node" | "localWorkload";
  readonly address: string;
  /** A {@link BgpState}; another word is not passed on. */
  readonly state: string;
  /** Milliseconds since 1970 at which it became so. */
  readonly since: number;
  /** Protocol name: `Mesh_10_0_0_2`. */
  readonly name?: string;
  readonly port?: number;
  readonly asn?: number;
  /** The Calico node that it is, when it is one. */
  readonly node?: string;
  /** BIRD's word for the protocol: `up` is established, `start` is on the way there, `down` is off. */
  readonly protocol?: "up" | "start" | "down";
  /** What BIRD shows behind the state; empty when there is nothing: `Socket: Connection refused`. */
  readonly info?: string;
  /** In words a user acts on; the last one, also of a session that is up. */
  readonly lastError?: { readonly code: string; readonly message: string; readonly at: number };
  /** Numbers of routes. */
  readonly routes?: { readonly received: number; readonly accepted: number; readonly sent: number };
  readonly bfd?: { readonly state: string; readonly detectionTime: number; readonly diagnostic: string };
}

/** A route as the BGP daemon knows it. */
export interface BgpRouteStatus {
  readonly family: 4 | 6;
  /** It is the best one, and so in the kernel (upstream: FIB; the others: RIB). */
  readonly primary: boolean;
  readonly destination: string;
  /** Absent: not by a gateway. */
  readonly gateway?: string;
  /** Its name; `blackhole` and `unreachable` for routes of that kind. */
  readonly interface?: string;
  readonly source: "Kernel" | "Static" | "Direct" | "NodeMesh" | "BGPPeer";
  /** Of the router that sent it. */
  readonly peerAddress?: string;
}

/** The BGP daemon of one family. */
export interface BgpAgentStatus {
  readonly ready: boolean;
  readonly version: string;
  readonly routerId: string;
  /** Milliseconds since 1970. */
  readonly started: number;
  readonly reconfigured: number;
}

/**
 * Where the reporter of CalicoNodeStatus asks. Undefined: there is no BGP daemon of that family (then upstream's values for "cannot be reached": NotReady,
 * no peers, no routes). What throws leaves the stored status as it is until the next time.
 */
export interface StatusSource {
  agent(family: 4 | 6): Promise<BgpAgentStatus | undefined>;
  peers(family: 4 | 6): Promise<readonly BgpPeerStatus[] | undefined>;
  /** Of both families, as they come; whoever has enough returns the iterator. */
  routes(): AsyncIterable<BgpRouteStatus>;
}
