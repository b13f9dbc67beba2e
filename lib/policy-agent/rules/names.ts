/** Names of chains and sets, as upstream makes them (felix/rules/rule_defs.go, libcalico-go/lib/hash/unique_id.go). */
import { createHash } from "node:crypto";
import type { PolicyId, PolicyKind } from "../calc/index.ts";

/**
 * Longest name of a chain. iptables: its own limit of 28. nftables: 255 (NFT_NAME_MAXLEN less its terminator) less the longest `mangle-` that
 * its dataplane puts in front.
 */
export const MAX_CHAIN_NAME = { iptables: 28, nftables: 248 } as const;

export type PolicyDirection = "ingress" | "egress";

/** Chains that are always there, by what they are for. The same name in two tables is two chains. */
export const CHAIN = {
  input: "cali-INPUT",
  forward: "cali-FORWARD",
  output: "cali-OUTPUT",
  prerouting: "cali-PREROUTING",
  postrouting: "cali-POSTROUTING",
  failsafeIn: "cali-failsafe-in",
  failsafeOut: "cali-failsafe-out",
  workloadToHost: "cali-wl-to-host",
  fromWorkload: "cali-from-wl-dispatch",
  toWorkload: "cali-to-wl-dispatch",
  fromHost: "cali-from-host-endpoint",
  toHost: "cali-to-host-endpoint",
  fromHostForward: "cali-from-hep-forward",
  toHostForward: "cali-to-hep-forward",
  rpfSkip: "cali-rpf-skip",
  natOutgoing: "cali-nat-outgoing",
  floatingDnat: "cali-fip-dnat",
  floatingSnat: "cali-fip-snat",
  cidrBlock: "cali-cidr-block",
  egressDscp: "cali-egress-dscp",
  setEndpointMark: "cali-set-endpoint-mark",
  fromEndpointMark: "cali-from-endpoint-mark",
  forwardCheck: "cali-forward-check",
  forwardEndpointMark: "cali-forward-endpoint-mark",
} as const;

/** What chains of one interface begin with; the rest is the interface's name. */
export const PREFIX = {
  toWorkload: "cali-tw-",
  fromWorkload: "cali-fw-",
  toHost: "cali-th-",
  fromHost: "cali-fh-",
  toHostForward: "cali-thfw-",
  fromHostForward: "cali-fhfw-",
  setMark: "cali-sm-",
} as const;

/** Stands for the name of the interface in the chains of a host endpoint for `*`. */
export const ANY_INTERFACE = "any-interface-at-all";

/** Sets that the programmer fills itself. All are of type `net`. */
export const SET = {
  /** CIDRs of all IP pools. */
  pools: "network-ip-pools",
  /** CIDRs of the pools with natOutgoing. */
  natPools: "masq-ipam-pools",
  /** Addresses of all nodes, and ExternalNodesCIDRList. */
  hosts: "all-hosts-net",
  /** From whom VXLAN packets are let in. */
  vxlanHosts: "all-vxlan-net",
  /** This host's own addresses. */
  thisHost: "this-host",
  /** Addresses of workloads that ask for a code point. */
  dscp: "dscp-src-net",
} as const;

const SHORT_KIND: Record<PolicyKind, string> = {
  NetworkPolicy: "np",
  GlobalNetworkPolicy: "gnp",
  StagedNetworkPolicy: "snp",
  StagedGlobalNetworkPolicy: "sgnp",
  StagedKubernetesNetworkPolicy: "sknp",
  KubernetesNetworkPolicy: "knp",
  KubernetesClusterNetworkPolicy: "kcnp",
};

export const shortKind = (kind: PolicyKind): string => SHORT_KIND[kind];

/** `prefix` and `suffix`, or, where that is too long, `prefix`, `_` and as much of the suffix's hash as fits. */
export function limitedName(prefix: string, suffix: string, max: number): string {
  const rest = suffix === "" ? "_" : suffix;
  const length = prefix.length + Buffer.byteLength(rest);
  // A name of full length that begins like a shortened one could be taken for it.
  if (length < max || (length === max && !rest.startsWith("_"))) return prefix + rest;
  const hash = createHash("sha256").update(rest).digest("base64url");
  return `${prefix}_${hash.slice(0, max - 1 - prefix.length)}`;
}

export function policyChain(direction: PolicyDirection, id: PolicyId, max: number): string {
  const path = id.namespace === undefined ? id.name : `${id.namespace}/${id.name}`;
  return limitedName(direction === "ingress" ? "cali-pi-" : "cali-po-", `${shortKind(id.kind)}/${path}`, max);
}

export function profileChain(direction: PolicyDirection, name: string, max: number): string {
  return limitedName(direction === "ingress" ? "cali-pri-" : "cali-pro-", name, max);
}

/** Of policies that are chosen by one selector and so always come together. */
export function groupChain(direction: PolicyDirection, selector: string, policies: readonly PolicyId[]): string {
  const lines = [
    selector,
    direction === "ingress" ? "inbound" : "outbound",
    String(policies.length),
    ...policies.map((id) => `{Name: ${id.name}, Namespace: ${id.namespace ?? ""}, Kind: ${id.kind}}`),
  ];
  const hash = createHash("sha3-224");
  for (const line of lines) hash.update(`${line}\n`);
  return `cali-${direction === "ingress" ? "gi" : "go"}-${hash.digest("base64url").slice(0, 20)}`;
}
