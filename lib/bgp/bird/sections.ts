/** What BIRD 1.6 and BIRD 2 say in the same words: the bodies of filters and functions, without what is around them. Lines have no indentation of their own. */
import {
  type Family,
  type FamilyBgp,
  familyOf,
  isConfirmed,
  isInternal,
  NEVER_OWN,
  type NodeBgp,
  OVERRIDE_PREFERENCE,
  type Peer,
  PRIORITY_BASE,
  tunnelInterfaces,
} from "../model/index.ts";
import { addCommunity, filterCalls } from "./filters.ts";
import { byText, type Words } from "./words.ts";

/** Interfaces whose networks are the node's own: all but pods', kube-proxy's and those the user names. */
export function directInterfaces(model: NodeBgp, words: Words): string {
  const ignored = model.ignoredInterfaces.map((name) => `-${words.text(name, "BGPConfiguration: ignoredInterfaces")}`);
  return [...ignored, ...NEVER_OWN.map((pattern) => `-"${pattern}"`), '"*"'].join(", ");
}

export function importBody(model: NodeBgp, family: Family, peer: Peer, words: Words): string[] {
  const elevated = PRIORITY_BASE - normalPriority(model, family, words);
  return [
    ...filterCalls(model, peer.filters, "import", family, isInternal(model, peer), words),
    `if (defined(bgp_local_pref)&&(bgp_local_pref > ${elevated})) then`,
    `  preference = ${OVERRIDE_PREFERENCE};`,
    "accept;",
  ];
}

/** LOCAL_PREF and krt_metric are both set before anything asks for either; `whole` is the function that has the rest. */
export function exportBody(model: NodeBgp, family: Family, peer: Peer, whole: string, words: Words): string[] {
  const sameAs = isInternal(model, peer);
  return [
    "if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {",
    `  krt_metric = ${PRIORITY_BASE} - bgp_local_pref;`,
    "} else {",
    `  if (!defined(krt_metric)) then { krt_metric = ${normalPriority(model, family, words)}; }`,
    `  bgp_local_pref = ${PRIORITY_BASE} - krt_metric;`,
    "}",
    ...filterCalls(model, peer.filters, "export", family, sameAs, words),
    `${whole}(${sameAs});`,
    "reject;",
  ];
}

export function normalPriority(model: NodeBgp, family: Family, words: Words): number {
  const value = familyOf(model, family).normalPriority;
  return Number(words.number(value, `BGPConfiguration: ipv${family}NormalRoutePriority`, 0, PRIORITY_BASE));
}

export function rejectLocalBody(): string[] {
  return ["if (defined(ifname)) then {", '   if (ifname ~ "bpf*.cali") then {', "      reject;", "   }", "}"];
}

/** Routes through the agent's tunnels stay out of iBGP: the others' agents have their own. */
export function tunnelBody(bgp: FamilyBgp): string[] {
  return [
    "if (defined(ifname)) then {",
    `  if (${tunnelInterfaces(bgp)
      .map((pattern) => `(ifname ~ "${pattern}")`)
      .join(" || ")}) then {`,
    "    reject;",
    "  }",
    "}",
  ];
}

export function communitiesBody(bgp: FamilyBgp, words: Words): string[] {
  const of = "BGPConfiguration: prefixAdvertisements";
  return bgp.communities.flatMap(({ prefix, communities }) =>
    communities.length === 0
      ? []
      : [
          `if ( net ~ ${words.cidr(prefix, bgp.family, of)} ) then {`,
          ...communities.map((community) => `    ${addCommunity(community, of, words)}`),
          "}",
        ],
  );
}

/** A confirmed block goes out as a whole; what is longer does not, unless its priority is elevated (a workload on the move). */
export function aggregationBody(model: NodeBgp, family: Family, words: Words): string[] {
  const normal = normalPriority(model, family, words);
  return familyOf(model, family).blocks.flatMap((block) => {
    const cidr = words.cidr(block.cidr, family, "block affinity");
    if (!isConfirmed(block)) return [];
    return [
      `if ( net = ${cidr} ) then { accept; }`,
      `if ( net ~ ${cidr} && krt_metric < ${normal} ) then { accept; }`,
      `if ( net ~ ${cidr} ) then { reject; }`,
    ];
  });
}

/** Within one of these: `action`. */
export function within(
  cidrs: readonly string[],
  family: Family,
  action: "accept" | "reject",
  of: string,
  words: Words,
): string[] {
  return cidrs.map((cidr) => `if ( net ~ ${words.cidr(cidr, family, of)} ) then { ${action}; }`);
}

/** Pools whose routes do not leave the node, or those that do. */
export function poolExport(bgp: FamilyBgp, exported: boolean, words: Words): string[] {
  return bgp.pools
    .filter((pool) => pool.exported === exported)
    .map((pool) => poolStatement(bgp, pool.cidr, exported ? "accept;" : "reject;", words))
    .toSorted(byText);
}

export function poolStatement(bgp: FamilyBgp, cidr: string, body: string, words: Words): string {
  return `if (net ~ ${words.cidr(cidr, bgp.family, "IPPool")}) then { ${body} }`;
}

/** What reflectors pass on beside pools: single addresses of services that are another node's. */
export function reflectedRanges(model: NodeBgp, bgp: FamilyBgp, words: Words): string[] {
  if (model.clusterId === undefined) return [];
  return [
    ...within(bgp.loadBalancerRanges, bgp.family, "accept", "BGPConfiguration: serviceLoadBalancerIPs", words),
    ...within(bgp.externalRanges, bgp.family, "accept", "BGPConfiguration: serviceExternalIPs", words),
  ];
}

/** The kernel's metric of a learned route. */
export function metricBody(model: NodeBgp, family: Family, words: Words): string[] {
  const normal = normalPriority(model, family, words);
  return [
    "if (defined(source) && (source = RTS_BGP) && !defined(krt_metric)) then {",
    `    krt_metric = ${normal};`,
    "    if (defined(bgp_local_pref)) then {",
    `        krt_metric = ${PRIORITY_BASE} - bgp_local_pref;`,
    "    }",
    `    if (krt_metric < ${normal}) then {`,
    `        preference = ${OVERRIDE_PREFERENCE};`,
    "    }",
    "}",
  ];
}

export function wireguardBody(bgp: FamilyBgp, words: Words): string[] {
  return bgp.wireguardPeers
    .map((address) => words.address(address, bgp.family, "Node: WireGuard peer"))
    .map((address) => `if (defined(bgp_next_hop) && bgp_next_hop = ${address}) then { reject; }`)
    .toSorted(byText);
}

/** BIRD's BFD over several hops has to know where from. */
export function sourceAddress(model: NodeBgp, family: Family, peer: Peer): string | undefined {
  return peer.sourceAddress ?? (peer.bfd?.multihop ? familyOf(model, family).address : undefined);
}

export function nextHop(peer: Peer): string[] {
  switch (peer.nextHop) {
    case "self":
      return ["next hop self;"];
    case "keep":
      return ["next hop keep;"];
    default:
      return [];
  }
}

export function indent(by: number, lines: readonly string[]): string[] {
  return lines.map((line) => (line === "" ? line : " ".repeat(by) + line));
}
