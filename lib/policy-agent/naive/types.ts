import type { Profile } from "../../api/profile.ts";
import type { Tier } from "../../api/tier.ts";
import type { AnyPolicy, EndpointPort, KubernetesEndpointSlice, PolicyId } from "../calc/index.ts";

export type Direction = "ingress" | "egress";

/**
 * Which policies of an endpoint are asked. Workloads have `normal` ones only. Of a host endpoint, `normal` are for what begins or ends at
 * the host, `forward` for what passes through it; `untracked` and `preDNAT` come before both, and the latter has no egress.
 */
export type Traffic = "normal" | "forward" | "untracked" | "preDNAT";

/** What a node does with packets from its workloads to itself that egress policy allows (DefaultEndpointToHostAction). */
export type HostAction = "DROP" | "ACCEPT" | "RETURN";

/** The first packet of a connection, as the policies of an endpoint see it. */
export interface Flow {
  /** Plain addresses of one IP version, without a prefix length. */
  readonly source: string;
  readonly destination: string;
  /** IP protocol number. */
  readonly protocol: number;
  /** Of TCP, UDP and SCTP. A port that is not known matches no port and no name of one. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Of ICMP and ICMPv6. */
  readonly icmp?: { readonly type: number; readonly code?: number };
}

/** A workload or host endpoint. */
export interface Endpoint {
  readonly kind: "WorkloadEndpoint" | "HostEndpoint";
  readonly name: string;
  /** Of workloads. */
  readonly namespace?: string;
  readonly node: string;
  /** Of workloads, the interface on the node; of host endpoints, the name of an interface, `*`, or empty. */
  readonly interfaceName: string;
  /** Plain addresses: those of the workload; the host endpoint's `expectedIPs`. */
  readonly addresses: readonly string[];
  /** Its own and those its profiles give it. */
  readonly labels: Readonly<Record<string, string>>;
  readonly profiles: readonly string[];
  readonly ports: readonly EndpointPort[];
}

/** A NetworkSet or GlobalNetworkSet. */
export interface AddressSet {
  readonly kind: "NetworkSet" | "GlobalNetworkSet";
  readonly name: string;
  readonly namespace?: string;
  readonly labels: Readonly<Record<string, string>>;
  /** CIDRs and addresses, as they are written. */
  readonly nets: readonly string[];
}

export interface Policy {
  readonly id: PolicyId;
  readonly spec: PolicySpec;
}

/** The fields of any kind of policy; those that a kind does not have are absent. */
export type PolicySpec = AnyPolicy["spec"] & {
  readonly namespaceSelector?: string;
  readonly doNotTrack?: boolean;
  readonly preDNAT?: boolean;
  readonly applyOnForward?: boolean;
  readonly stagedAction?: string;
};

/** Everything there is, as plain lists in which one looks for what one needs. */
export interface State {
  readonly endpoints: readonly Endpoint[];
  readonly sets: readonly AddressSet[];
  readonly policies: readonly Policy[];
  readonly tiers: readonly Tier[];
  readonly profiles: readonly Profile[];
  readonly slices: readonly KubernetesEndpointSlice[];
  /** Plain addresses of nodes. */
  readonly nodes: readonly { readonly name: string; readonly addresses: readonly string[] }[];
}

/** What decided. Rules count from 0. */
export type By =
  | { readonly kind: "rule"; readonly tier: string; readonly policy: PolicyId; readonly rule: number }
  /** Policies of the tier are for the endpoint, none of their rules matched, and the tier's default action is Deny. */
  | { readonly kind: "tier"; readonly tier: string }
  | { readonly kind: "profile"; readonly profile: string; readonly rule: number }
  /** The endpoint names a profile that there is not: everything that gets so far is denied. */
  | { readonly kind: "missing-profile"; readonly profile: string }
  /** No rule of any of its profiles matched, or it has none. */
  | { readonly kind: "no-profile" }
  /** The node's action for what its workloads send to it. */
  | { readonly kind: "endpoint-to-host"; readonly action: HostAction }
  /** ICMPv6 by which a workload and its router find each other. */
  | { readonly kind: "router"; readonly icmpType: number }
  /** Nothing decided. Forwarded packets are let through; after `untracked` and `preDNAT` policy the other kinds are asked. */
  | { readonly kind: "nothing" };

export interface EndpointVerdict {
  /** `continue`: `untracked` or `preDNAT` policy did not decide. */
  readonly verdict: "allow" | "deny" | "continue";
  readonly by: By;
}

/** What one endpoint on the way says. */
export interface Step extends EndpointVerdict {
  readonly endpoint: Endpoint;
  readonly direction: Direction;
  /** `toHost`: not policy, but what else there is between a workload and its host. */
  readonly traffic: Traffic | "toHost";
}

/** Both ends together. An address that belongs to no endpoint has no say. */
export interface Verdict {
  readonly verdict: "allow" | "deny";
  /** In the order in which a packet meets them; after one that denies there are no more. */
  readonly steps: readonly Step[];
}
