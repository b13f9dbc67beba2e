/**
 * What the renderer is told beside the calculation's messages: parameters of FelixConfiguration that shape rules, under upstream's names
 * (felix/docs/config-params.json) in lower camel case, already parsed. Whoever has the agent's whole configuration picks these out of it.
 */
import type { PortRange } from "../calc/index.ts";

/** A failsafe port: `tcp:22`, or `tcp:10.0.0.0/8:22` with a net at the far end. */
export interface ProtoPort {
  /** IP protocol number. */
  readonly protocol: number;
  readonly port: number;
  /** CIDR of one IP version; absent: any address of both. */
  readonly net?: string;
}

export interface RulesConfig {
  /** InterfacePrefix, split at its commas. Interfaces of workloads begin with one of them. */
  readonly interfacePrefixes: readonly string[];
  /** InterfaceExclude: interfaces whose addresses are not the host's. They are never a host endpoint's either. */
  readonly interfaceExclude: readonly RegExp[];
  /** Longest name of a chain: {@link MAX_CHAIN_NAME}. */
  readonly maxChainNameLength: number;
  /** IptablesMarkMask or NftablesMarkMask. At least five bits; with `kubeIPVSSupportEnabled` seven. */
  readonly markMask: number;
  /** IptablesFilterAllowAction or NftablesFilterAllowAction: RETURN leaves the last word to the rules after Calico's. */
  readonly filterAllowAction: "ACCEPT" | "RETURN";
  readonly mangleAllowAction: "ACCEPT" | "RETURN";
  /** IptablesFilterDenyAction or NftablesFilterDenyAction. */
  readonly filterDenyAction: "DROP" | "REJECT";
  readonly defaultEndpointToHostAction: "DROP" | "REJECT" | "ACCEPT" | "RETURN";
  readonly failsafeInboundHostPorts: readonly ProtoPort[];
  readonly failsafeOutboundHostPorts: readonly ProtoPort[];
  readonly disableConntrackInvalidCheck: boolean;
  /** Template: `%t` tier, `%k` short kind, `%n` name, `%p` namespace and name. */
  readonly logPrefix: string;
  /** `5/second`; absent: every packet is logged. */
  readonly logActionRateLimit?: string;
  readonly logActionRateLimitBurst: number;
  readonly allowVXLANPacketsFromWorkloads: boolean;
  readonly allowIPIPPacketsFromWorkloads: boolean;
  /** IpInIpEnabled, VXLANEnabled. Absent: on as soon as a pool asks for it. */
  readonly ipipEnabled?: boolean;
  readonly vxlanEnabled?: boolean;
  readonly vxlanPort: number;
  /** WireguardEnabled and WireguardListeningPort: present only when it is on. */
  readonly wireguardPort?: number;
  readonly wireguardPortV6?: number;
  /** ExternalNodesCIDRList: hosts that may send tunnelled packets though they are no nodes. */
  readonly externalNodes: readonly string[];
  /** kube-proxy runs in IPVS mode. */
  readonly kubeIPVSSupportEnabled: boolean;
  readonly kubeNodePortRanges: readonly PortRange[];
  readonly natOutgoingExclusions: "IPPoolsOnly" | "IPPoolsAndHostIPs";
  readonly natPortRange?: PortRange;
  /** IPv4, like upstream's. */
  readonly natOutgoingAddress?: string;
  /** IptablesNATOutgoingInterfaceFilter: name of an interface; a trailing `*` stands for any rest. */
  readonly natOutgoingInterfaceFilter?: string;
  /** FloatingIPs. */
  readonly floatingIPs: boolean;
  readonly serviceLoopPrevention: "Drop" | "Reject" | "Disabled";
  /** `Any`: a workload may send from its allowSpoofedSourcePrefixes too. */
  readonly workloadSourceSpoofing: "Any" | "Disabled";
}

/** Upstream's built-in defaults. */
export const RULES_DEFAULTS: RulesConfig = {
  interfacePrefixes: ["cali"],
  interfaceExclude: [/^kube-ipvs0$/],
  maxChainNameLength: 28,
  markMask: 0xffff0000,
  filterAllowAction: "ACCEPT",
  mangleAllowAction: "ACCEPT",
  filterDenyAction: "DROP",
  defaultEndpointToHostAction: "DROP",
  failsafeInboundHostPorts: [
    { protocol: 6, port: 22 },
    { protocol: 17, port: 68 },
    ...[179, 2379, 2380, 5473, 6443, 6666, 6667].map((port) => ({ protocol: 6, port })),
  ],
  failsafeOutboundHostPorts: [
    { protocol: 17, port: 53 },
    { protocol: 17, port: 67 },
    ...[179, 2379, 2380, 5473, 6443, 6666, 6667].map((port) => ({ protocol: 6, port })),
  ],
  disableConntrackInvalidCheck: false,
  logPrefix: "calico-packet",
  logActionRateLimitBurst: 5,
  allowVXLANPacketsFromWorkloads: false,
  allowIPIPPacketsFromWorkloads: false,
  vxlanPort: 4789,
  externalNodes: [],
  kubeIPVSSupportEnabled: false,
  kubeNodePortRanges: [{ first: 30000, last: 32767 }],
  natOutgoingExclusions: "IPPoolsOnly",
  floatingIPs: false,
  serviceLoopPrevention: "Drop",
  workloadSourceSpoofing: "Disabled",
};
