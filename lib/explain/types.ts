import type { PolicyId } from "../policy-agent/calc/index.ts";

export type Direction = "ingress" | "egress";

/**
 * Which policies of an endpoint are asked: `normal` are those of a workload, and of a host endpoint those for what begins or ends at the
 * host; `untracked` and `preDNAT` policies of a host endpoint come before them; `forward`: for what passes through the host.
 */
export type Traffic = "normal" | "forward" | "untracked" | "preDNAT";

/** What becomes of packets from a workload to its host that egress policy lets through: `RETURN` leaves them to the host's own rules. */
export type EndpointToHostAction = "DROP" | "ACCEPT" | "RETURN";

/** What is asked. */
export interface Query {
  /** `namespace/pod`, the name of a workload or of a host endpoint, or an address. */
  readonly source: string;
  readonly destination: string;
  /** IP protocol number; `icmp`: ICMP of whatever IP version the packet has. */
  readonly protocol: number | "icmp";
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** Of ICMP and ICMPv6; absent: an echo request. */
  readonly icmp?: { readonly type: number; readonly code?: number };
  /** Absent: the version of an address in the query, else IPv4 where both ends have it, else IPv6. */
  readonly ipVersion?: 4 | 6;
}

/** The packet that is followed: the first of a connection. */
export interface Packet {
  readonly ipVersion: 4 | 6;
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  /** `TCP`, `ICMP`, or the number. */
  readonly protocolName: string;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmp?: { readonly type: number; readonly code?: number };
}

/** One end of the packet's way. */
export interface Party {
  /** As it was asked for. */
  readonly given: string;
  readonly address: string;
  /** Absent: the address belongs to no endpoint, so that nothing is enforced at this end. */
  readonly endpoint?: EndpointName;
}

export interface EndpointName {
  readonly kind: "WorkloadEndpoint" | "HostEndpoint";
  /** For people: `blue/web` of a workload, the name of a host endpoint. */
  readonly title: string;
  /** Of the resource. */
  readonly name: string;
  readonly namespace?: string;
  readonly node: string;
  readonly interfaceName: string;
}

/** What decided. Rules count from 0, as in the path `ingress[0]`. */
export type By =
  | { readonly kind: "rule"; readonly tier: string; readonly policy: PolicyId; readonly rule: number }
  /** No rule of the tier's policies matched; its default action is Deny. */
  | { readonly kind: "tier"; readonly tier: string }
  | { readonly kind: "profile"; readonly profile: string; readonly rule: number }
  /** The endpoint names a profile that there is not. */
  | { readonly kind: "missing-profile"; readonly profile: string }
  /** No rule of its profiles matched, or it has none. */
  | { readonly kind: "no-profile" }
  /** DefaultEndpointToHostAction of FelixConfiguration. */
  | { readonly kind: "endpoint-to-host"; readonly action: EndpointToHostAction }
  /** ICMPv6 by which a workload finds its router, which its host always takes. */
  | { readonly kind: "router"; readonly icmpType: number }
  /** Nothing decided: forwarded packets go through; after untracked and preDNAT policy others are asked. */
  | { readonly kind: "nothing" };

export interface Decision {
  readonly verdict: "allow" | "deny" | "continue";
  readonly by: By;
  /** The same in words: `NetworkPolicy blue/web, ingress[0]`. */
  readonly words: string;
}

/** One rule that was looked at. */
export interface VisitedRule {
  /** `ingress[0]` */
  readonly path: string;
  readonly action: "Allow" | "Deny" | "Pass" | "Log";
  /** What the rule says, in short. */
  readonly text: string;
  readonly matched: boolean;
  /** Everything that kept it from matching, in words; empty when it matched. */
  readonly reasons: readonly string[];
  /** What one should know besides. */
  readonly notes: readonly string[];
  /** It has an http clause, which the kernel does not enforce. */
  readonly http?: true;
}

export interface VisitedPolicy {
  readonly id: PolicyId;
  /** `NetworkPolicy blue/web` */
  readonly title: string;
  /** Absent: none, and so behind those that have one. */
  readonly order?: number;
  /** Evaluated, never enforced. */
  readonly staged: boolean;
  readonly rules: readonly VisitedRule[];
  /** `Log` decides nothing; `none`: no rule matched. Of a staged policy, what it would have decided. */
  readonly outcome: "Allow" | "Deny" | "Pass" | "none";
}

export interface VisitedTier {
  readonly name: string;
  readonly order?: number;
  readonly defaultAction: "Deny" | "Pass";
  /** In order, up to the one that decided. */
  readonly policies: readonly VisitedPolicy[];
  /** Titles of those behind the one that decided, which have no say any more; absent: there are none. */
  readonly notAsked?: readonly string[];
  /** How it ended: with a rule's action, or its default action; `staged`: none of its policies is enforced, so that it has no say. */
  readonly outcome: "Allow" | "Deny" | "Pass" | "default Deny" | "default Pass" | "staged";
}

export interface VisitedProfile {
  readonly name: string;
  readonly exists: boolean;
  readonly rules: readonly VisitedRule[];
  readonly outcome: "Allow" | "Deny" | "none";
}

/** What one endpoint says about the packet. */
export interface Step {
  readonly endpoint: EndpointName;
  readonly direction: Direction;
  /** `toHost`: no policy, but what else decides about packets from a workload to its own host. */
  readonly traffic: Traffic | "toHost";
  readonly decision: Decision;
  /** Those with a policy for the endpoint in this direction. None: no policy selects it. */
  readonly tiers: readonly VisitedTier[];
  readonly profiles: readonly VisitedProfile[];
  /** What the decision would be if the staged policies were enforced; absent when there are none. */
  readonly staged?: Decision;
}

export interface Explanation {
  readonly packet: Packet;
  readonly source: Party;
  readonly destination: Party;
  readonly verdict: "allow" | "deny";
  /** In one sentence. */
  readonly summary: string;
  /** In the order in which the packet meets them; after one that denies there are no more. */
  readonly steps: readonly Step[];
  /** Host endpoints with policy for forwarded packets, if this one passes their interface. They are not part of the verdict. */
  readonly onTheWay: readonly Step[];
  /** What might make the answer another than it reads. */
  readonly warnings: readonly string[];
}
