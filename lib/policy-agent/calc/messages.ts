/**
 * What the calculation says to a dataplane: the state of this node, as small changes. The messages and their fields are
 * upstream's (felix/proto/felixbackend.proto), under names of this project and without what no dataplane of ours reads.
 *
 * A flush emits them in an order in which nothing is ever referred to that is not there: sets, policies, profiles, endpoints; what goes
 * away goes in the opposite order.
 */
import type { EndpointPort, QoSControls, RuleMetadata } from "./inputs.ts";

/** The kinds of policy. Staged ones are evaluated and shown, never enforced. */
export type PolicyKind =
  | "NetworkPolicy"
  | "GlobalNetworkPolicy"
  | "StagedNetworkPolicy"
  | "StagedGlobalNetworkPolicy"
  | "StagedKubernetesNetworkPolicy"
  | "KubernetesNetworkPolicy"
  | "KubernetesClusterNetworkPolicy";

/** Which policy. `namespace` is absent on the kinds that have none. */
export interface PolicyId {
  readonly kind: PolicyKind;
  readonly namespace?: string;
  readonly name: string;
}

/** One text for one policy, for maps and messages: `NetworkPolicy/ns/name`, `GlobalNetworkPolicy/name`. */
export function policyKey(id: PolicyId): string {
  return id.namespace === undefined ? `${id.kind}/${id.name}` : `${id.kind}/${id.namespace}/${id.name}`;
}

/** Whether policies of the kind are only evaluated. */
export function isStaged(kind: PolicyKind): boolean {
  return kind.startsWith("Staged");
}

/** Inclusive at both ends. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** An IP set: `s:…` of a selector, `n:…` of a named port, `svc:…`, `svcnoport:…` of a Service, or a fixed name. */
export type SetId = string;

/**
 * `net`: members are CIDRs (`10.0.0.1/32`, `fd00::/64`) that may overlap no other member; `port`: an address with a port
 * (`10.0.0.1,tcp:80`, `fd00::1,udp:53`). One set holds both IP versions; a dataplane splits them.
 */
export type SetType = "net" | "port";

/** One ICMP type, or one of its codes. */
export interface Icmp {
  readonly type: number;
  readonly code?: number;
}

/**
 * One side of a rule. Fields that are there must all hold. Within a list of `nets`, any one; within `sets` **all**. Ports match when
 * `ports` has the packet's or any of `namedPorts` (sets of type `port`) has its address and port; `portSets` (sets of type `port`, of
 * Services) must all hold. What begins with `not` must not hold: no net, no set, no port, no named port.
 */
export interface RuleSide {
  readonly nets?: readonly string[];
  readonly notNets?: readonly string[];
  readonly sets?: readonly SetId[];
  readonly notSets?: readonly SetId[];
  readonly ports?: readonly PortRange[];
  readonly notPorts?: readonly PortRange[];
  readonly namedPorts?: readonly SetId[];
  readonly notNamedPorts?: readonly SetId[];
  readonly portSets?: readonly SetId[];
}

/** A rule as a dataplane enforces it: selectors have become sets. A list is absent rather than empty. */
export interface ParsedRule {
  readonly action: "Allow" | "Deny" | "Pass" | "Log";
  readonly ipVersion?: 4 | 6;
  /** IP protocol number. */
  readonly protocol?: number;
  readonly notProtocol?: number;
  readonly icmp?: Icmp;
  readonly notIcmp?: Icmp;
  readonly source: RuleSide;
  readonly destination: RuleSide;
  /** The rule has an HTTP clause. The kernel enforces the rest of it; the clause is Dikastes'. */
  readonly http?: true;
  readonly metadata?: RuleMetadata;
}

/** A policy with at least one local endpoint (or with the hint that every node needs it). */
export interface ActivePolicy {
  readonly id: PolicyId;
  readonly tier: string;
  /** Absent: the policy's `types` has no Ingress. */
  readonly ingress?: readonly ParsedRule[];
  readonly egress?: readonly ParsedRule[];
  readonly doNotTrack: boolean;
  readonly preDNAT: boolean;
  /** Canonical text of the selector by which endpoints were chosen. */
  readonly selector: string;
}

/** The rules of a profile that a local endpoint names. One that does not exist is not sent: the dataplane denies for it. */
export interface ActiveProfile {
  readonly name: string;
  readonly ingress: readonly ParsedRule[];
  readonly egress: readonly ParsedRule[];
}

/** What one tier has for one endpoint, in order. Only tiers with a policy for the endpoint are listed. */
export interface EndpointTier {
  readonly name: string;
  readonly defaultAction: "Deny" | "Pass";
  /** Staged ones included: a dataplane leaves them out. The default action holds in a direction with at least one that is not staged. */
  readonly ingress: readonly PolicyId[];
  readonly egress: readonly PolicyId[];
}

export interface WorkloadId {
  /** `k8s`, `cni`, or another orchestrator. */
  readonly orchestrator: string;
  /** `<namespace>/<pod>` on Kubernetes. */
  readonly workload: string;
  /** `eth0`. */
  readonly endpoint: string;
}

/** One text for one workload, for maps and messages: `k8s/prod/web-0/eth0`. */
export function workloadKey({ orchestrator, workload, endpoint }: WorkloadId): string {
  return `${orchestrator}/${workload}/${endpoint}`;
}

export interface Nat {
  readonly internal: string;
  readonly external: string;
}

/** A workload of this node. */
export interface LocalWorkload {
  readonly id: WorkloadId;
  /** Name of the interface on the node. */
  readonly interfaceName: string;
  readonly mac: string;
  /** CIDRs. */
  readonly ipv4Nets: readonly string[];
  readonly ipv6Nets: readonly string[];
  readonly ipv4Nats: readonly Nat[];
  readonly ipv6Nats: readonly Nat[];
  /** In the order in which their rules apply. */
  readonly profiles: readonly string[];
  readonly tiers: readonly EndpointTier[];
  readonly allowSpoofedSourcePrefixes: readonly string[];
  readonly ports: readonly EndpointPort[];
  readonly qos?: QoSControls;
  readonly annotations: Readonly<Record<string, string>>;
}

/** A host endpoint of this node. Policies of the four kinds of traffic are apart. */
export interface LocalHost {
  /** Of the resource. */
  readonly name: string;
  /** `*`: all interfaces of the host; empty: found by `expectedIPs`. */
  readonly interfaceName: string;
  readonly expectedIPs: readonly string[];
  readonly profiles: readonly string[];
  /** To and from the host itself. */
  readonly tiers: readonly EndpointTier[];
  /** Forwarded traffic (`applyOnForward`). */
  readonly forwardTiers: readonly EndpointTier[];
  readonly untrackedTiers: readonly EndpointTier[];
  /** Ingress only. */
  readonly preDnatTiers: readonly EndpointTier[];
}

/** What a dataplane needs to know of an IP pool. */
export interface Pool {
  readonly cidr: string;
  readonly natOutgoing: boolean;
  readonly ipipMode: "Never" | "Always" | "CrossSubnet";
  readonly vxlanMode: "Never" | "Always" | "CrossSubnet";
}

export type Message =
  /** The whole of a set: before any rule refers to it. */
  | { readonly type: "set"; readonly id: SetId; readonly setType: SetType; readonly members: readonly string[] }
  /** A set that is there changes. No member is in both lists. */
  | {
      readonly type: "set-delta";
      readonly id: SetId;
      readonly added: readonly string[];
      readonly removed: readonly string[];
    }
  | { readonly type: "set-removed"; readonly id: SetId }
  | { readonly type: "policy"; readonly policy: ActivePolicy }
  | { readonly type: "policy-removed"; readonly id: PolicyId }
  | { readonly type: "profile"; readonly profile: ActiveProfile }
  | { readonly type: "profile-removed"; readonly name: string }
  | { readonly type: "workload"; readonly workload: LocalWorkload }
  | { readonly type: "workload-removed"; readonly id: WorkloadId }
  | { readonly type: "host"; readonly host: LocalHost }
  | { readonly type: "host-removed"; readonly name: string }
  | { readonly type: "pool"; readonly pool: Pool }
  | { readonly type: "pool-removed"; readonly cidr: string }
  /** The addresses of a node (of any), as plain addresses. */
  | { readonly type: "node"; readonly name: string; readonly ipv4?: string; readonly ipv6?: string }
  | { readonly type: "node-removed"; readonly name: string }
  /** CIDRs from which Services get addresses (BGPConfiguration `default`). */
  | { readonly type: "service-cidrs"; readonly cidrs: readonly string[] }
  /** Everything that the datastore had at the beginning has been said. */
  | { readonly type: "in-sync" };
