/** Chains of one endpoint: in which order connection state, failsafes, tiers and profiles decide. */
import type { EndpointTier, LocalWorkload } from "../calc/index.ts";
import {
  ACCEPT,
  always,
  clearMark,
  ESTABLISHED,
  INVALID,
  isVersion,
  jump,
  marked,
  PROTOCOL,
  protocol,
  RETURN,
  type RenderContext,
  rule,
  setMark,
  unmarked,
} from "./context.ts";
import type { Target } from "./groups.ts";
import type { Action, Chain, IpVersion, Match, Rule, Table } from "./ir.ts";
import { CHAIN, type PolicyDirection, PREFIX } from "./names.ts";
import { blocksOf } from "./policy.ts";

/** What a tier has for the endpoint in one direction; with at least one target. */
export interface TierTargets {
  readonly name: string;
  readonly defaultAction: EndpointTier["defaultAction"];
  readonly targets: readonly Target[];
}

export interface EndpointChain {
  readonly name: string;
  readonly table: Table;
  /**
   * `normal`: tiers, then profiles, then deny. `forward`: tiers; allowed when there are none. `pre-dnat` and `untracked`: only what policy decides,
   * the rest is for the normal chains.
   */
  readonly kind: "normal" | "forward" | "pre-dnat" | "untracked";
  readonly tiers: readonly TierTargets[];
  /** Of `normal` only. */
  readonly profiles: readonly Target[];
  /** Chain of ports that no policy may close. */
  readonly failsafe?: string;
  /** For packets of connections that were allowed. */
  readonly allow: Action;
  /** Before everything else. */
  readonly first?: readonly Rule[];
  /** After connection state and failsafes: what no policy may allow. */
  readonly guards?: readonly Rule[];
}

export function endpointChain(context: RenderContext, endpoint: EndpointChain): Chain {
  const { marks } = context;
  const rules: Rule[] = [...(endpoint.first ?? [])];
  if (endpoint.kind !== "untracked") rules.push(...connectionRules(context, endpoint));
  if (endpoint.failsafe !== undefined) rules.push(always(jump(endpoint.failsafe)));
  rules.push(always(clearMark((marks.accept | marks.pass) >>> 0)));
  rules.push(...(endpoint.guards ?? []));
  for (const tier of endpoint.tiers) rules.push(...tierRules(context, endpoint, tier));
  if (endpoint.kind === "forward" && endpoint.tiers.length === 0)
    rules.push(always(setMark(marks.accept), "Allow forwarded traffic by default"));
  if (endpoint.kind === "normal") rules.push(...profileRules(context, endpoint));
  return { name: endpoint.name, rules };
}

/** A connection that was allowed stays so; what belongs to none and opens none is denied. */
function connectionRules(context: RenderContext, { allow, table }: EndpointChain): Rule[] {
  const rules: Rule[] = [];
  if (allow.do !== "accept") rules.push(rule([ESTABLISHED], setMark(context.marks.accept)));
  rules.push(rule([ESTABLISHED], allow));
  if (!context.config.disableConntrackInvalidCheck) rules.push(rule([INVALID], context.deny(table)));
  return rules;
}

function tierRules(context: RenderContext, endpoint: EndpointChain, tier: TierTargets): Rule[] {
  const { marks } = context;
  const rules: Rule[] = [always(clearMark(marks.pass), `Start of tier ${tier.name}`)];
  for (const { chain } of tier.targets) {
    rules.push(rule([unmarked(marks.pass)], jump(chain)));
    if (endpoint.kind === "untracked") rules.push(rule([marked(marks.accept)], { do: "notrack" }));
    rules.push(rule([marked(marks.accept)], RETURN, "Return if policy accepted"));
  }
  const decides = endpoint.kind === "normal" || endpoint.kind === "forward";
  if (decides && tier.defaultAction === "Deny") {
    const comment = `End of tier ${tier.name}. ${context.denyWord(endpoint.table)} if no policies passed packet`;
    rules.push(rule([unmarked(marks.pass)], context.deny(endpoint.table), comment));
  }
  return rules;
}

function profileRules(context: RenderContext, { profiles, table }: EndpointChain): Rule[] {
  return [
    ...profiles.flatMap(({ chain }) => [
      always(jump(chain)),
      rule([marked(context.marks.accept)], RETURN, "Return if profile accepted"),
    ]),
    always(context.deny(table), `${context.denyWord(table)} if no profiles matched`),
  ];
}

/** What decides about an endpoint in the two directions. */
export interface EndpointPolicy {
  readonly tiers: readonly TierTargets[];
  readonly profiles: readonly Target[];
}

/** The two filter chains of a workload: to it (ingress), from it (egress). */
export function workloadChains(
  context: RenderContext,
  ipVersion: IpVersion,
  workload: LocalWorkload,
  policy: Readonly<Record<PolicyDirection, EndpointPolicy>>,
): Chain[] {
  const { interfaceName, qos } = workload;
  const common = { table: "filter", kind: "normal", allow: context.allow } as const;
  return [
    endpointChain(context, {
      ...common,
      ...policy.ingress,
      name: context.endpointChain(PREFIX.toWorkload, interfaceName),
      first: packetRate(context, "ingress", qos?.ingressPacketRate, qos?.ingressPacketBurst),
    }),
    endpointChain(context, {
      ...common,
      ...policy.egress,
      name: context.endpointChain(PREFIX.fromWorkload, interfaceName),
      first: packetRate(context, "egress", qos?.egressPacketRate, qos?.egressPacketBurst),
      guards: [...tunnelGuards(context), ...sourceGuards(context, ipVersion, workload)],
    }),
  ];
}

/** A workload could hide from egress policy what it sends inside of a tunnel. */
function tunnelGuards(context: RenderContext): Rule[] {
  const { allowVXLANPacketsFromWorkloads, allowIPIPPacketsFromWorkloads, vxlanPort } = context.config;
  const word = context.denyWord("filter");
  const deny = context.deny("filter");
  const rules: Rule[] = [];
  if (!allowVXLANPacketsFromWorkloads) {
    const ports: Match = { is: "ports", side: "destination", ports: [{ first: vxlanPort, last: vxlanPort }] };
    const comment = `${word} VXLAN encapped packets originating in workloads`;
    rules.push(rule([protocol(PROTOCOL.udp), ports], deny, comment));
  }
  if (!allowIPIPPacketsFromWorkloads)
    rules.push(rule([protocol(PROTOCOL.ipip)], deny, `${word} IPinIP encapped packets originating in workloads`));
  return rules;
}

/**
 * A workload speaks for itself only. The reverse path filter (raw PREROUTING) leaves a gap where a route to some other address leads through the
 * workload's interface; this has none. Packets of established connections, which come before this, have passed it once.
 */
function sourceGuards(context: RenderContext, version: IpVersion, workload: LocalWorkload): Rule[] {
  const nets = sourcesOf(context, version, workload);
  const comment = `${context.denyWord("filter")} if the source is not its own`;
  const deny = context.deny("filter");
  const matches = nets.map((net): Match => ({ is: "net", side: "source", net }));
  if (matches.length === 0) return [always(deny, comment)];
  if (matches.length === 1) return [rule([{ is: "net", side: "source", net: nets[0]!, not: true }], deny, comment)];
  return [
    ...blocksOf(context, [matches.map((match) => [match])], []),
    rule([unmarked(context.marks.scratch0)], deny, comment),
  ];
}

/** Where packets of the workload may come from, as CIDRs. */
function sourcesOf(context: RenderContext, version: IpVersion, workload: LocalWorkload): string[] {
  const own = version === 4 ? workload.ipv4Nets : [...workload.ipv6Nets, LINK_LOCAL];
  return [...new Set([...own, ...spoofablePrefixes(context, workload).filter((net) => isVersion(net, version))])];
}

/** Of these the workload may not be the owner and still send from them. */
export function spoofablePrefixes(context: RenderContext, workload: LocalWorkload): readonly string[] {
  return context.config.workloadSourceSpoofing === "Any" ? workload.allowSpoofedSourcePrefixes : [];
}

/** Every IPv6 interface has such an address; the kernel forwards none of them (RFC 4291, 2.5.6). */
const LINK_LOCAL = "fe80::/10";

/** Upstream's burst where the annotation has none. */
const DEFAULT_BURST = 5;

/** Both dataplanes limit by what matches, so what does not is what is too much. */
function packetRate(
  context: RenderContext,
  direction: PolicyDirection,
  rate: number | undefined,
  burst: number | undefined,
): Rule[] {
  if (!rate) return [];
  const within = context.marks.scratch0;
  const limit: Match = { is: "limit", rate: `${rate}/second`, burst: burst || DEFAULT_BURST };
  return [
    always(clearMark(within)),
    rule([limit], setMark(within), `Mark packets within ${direction} packet rate limit`),
    rule([unmarked(within)], { do: "drop" }, `Drop packets over ${direction} packet rate limit`),
    always(clearMark(within)),
  ];
}

/** A host endpoint's policy for one class of traffic. */
export type HostPolicy = Readonly<Record<PolicyDirection, EndpointPolicy>>;

/** What a host endpoint has on one interface; a class that has nothing to say is absent. */
export interface HostPolicies {
  readonly normal: HostPolicy;
  readonly forward: HostPolicy;
  readonly untracked?: HostPolicy;
  readonly preDnat?: HostPolicy;
}

/**
 * The chains of a host endpoint on one interface. Towards the host ("from" the endpoint) ingress policy holds, away from it ("to" the endpoint) egress
 * policy. Egress of connections whose destination was translated is decided in mangle POSTROUTING: in filter OUTPUT the kernel does
 * not know yet by which interface such a packet will leave.
 */
export function hostChains(
  context: RenderContext,
  interfaceName: string,
  policies: HostPolicies,
): { readonly table: Table; readonly chain: Chain }[] {
  const name = (prefix: string): string => context.endpointChain(prefix, interfaceName);
  const chains: EndpointChain[] = [
    {
      ...policies.normal.egress,
      table: "filter",
      kind: "normal",
      name: name(PREFIX.toHost),
      failsafe: CHAIN.failsafeOut,
      allow: context.allow,
    },
    {
      ...policies.normal.ingress,
      table: "filter",
      kind: "normal",
      name: name(PREFIX.fromHost),
      failsafe: CHAIN.failsafeIn,
      allow: context.allow,
    },
    {
      ...policies.forward.egress,
      table: "filter",
      kind: "forward",
      name: name(PREFIX.toHostForward),
      allow: context.allow,
    },
    {
      ...policies.forward.ingress,
      table: "filter",
      kind: "forward",
      name: name(PREFIX.fromHostForward),
      allow: context.allow,
    },
    // The mangle table is where others change packets: what is allowed returns to their rules.
    {
      ...policies.normal.egress,
      table: "mangle",
      kind: "normal",
      name: name(PREFIX.toHost),
      failsafe: CHAIN.failsafeOut,
      allow: RETURN,
    },
  ];
  if (policies.preDnat)
    chains.push({
      ...policies.preDnat.ingress,
      table: "mangle",
      kind: "pre-dnat",
      name: name(PREFIX.fromHost),
      failsafe: CHAIN.failsafeIn,
      allow: context.mangleAllow,
    });
  if (policies.untracked)
    chains.push(
      {
        ...policies.untracked.egress,
        table: "raw",
        kind: "untracked",
        name: name(PREFIX.toHost),
        failsafe: CHAIN.failsafeOut,
        allow: ACCEPT,
      },
      {
        ...policies.untracked.ingress,
        table: "raw",
        kind: "untracked",
        name: name(PREFIX.fromHost),
        failsafe: CHAIN.failsafeIn,
        allow: ACCEPT,
      },
    );
  return chains.map((chain) => ({ table: chain.table, chain: endpointChain(context, chain) }));
}
