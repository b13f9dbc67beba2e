import type { Rule } from "../../api/rule.ts";
import type { Tier } from "../../api/tier.ts";
import { parseAddress } from "../../ip/index.ts";
import { parseSelector } from "../../selector/index.ts";
import { isStaged } from "../calc/index.ts";
import { hasAddress, holds, matches, namespaceMatches, ruleMatches, serviceAccountMatches } from "./match.ts";
import type {
  By,
  Direction,
  Endpoint,
  EndpointVerdict,
  Flow,
  HostAction,
  Policy,
  State,
  Step,
  Traffic,
  Verdict,
} from "./types.ts";

const NAMESPACE_LABEL = "projectcalico.org/namespace";
const SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount";

/** What the policies and profiles of one endpoint say about a packet that enters (`ingress`) or leaves (`egress`) it. */
export function evaluateEndpoint(
  state: State,
  endpoint: Endpoint,
  direction: Direction,
  flow: Flow,
  traffic: Traffic = "normal",
): EndpointVerdict {
  const isLast = traffic === "normal" || traffic === "forward";
  for (const { name, defaultAction, policies } of tiersOf(state, endpoint, direction, traffic)) {
    const decision = firstMatch(state, policies, direction, flow);
    if (decision?.action === "Pass") continue;
    if (decision !== undefined) {
      const by: By = { kind: "rule", tier: name, policy: decision.policy.id, rule: decision.rule };
      return { verdict: decision.action === "Allow" ? "allow" : "deny", by };
    }
    if (isLast && defaultAction === "Deny") return { verdict: "deny", by: { kind: "tier", tier: name } };
  }
  if (traffic === "normal") return profilesSay(state, endpoint, direction, flow);
  return { verdict: traffic === "forward" ? "allow" : "continue", by: { kind: "nothing" } };
}

/**
 * Whether the first packet of a connection gets from one address to the other, wherever the endpoints of these addresses are. `hostAction`: what
 * nodes do with what their own workloads send them.
 */
export function evaluate(state: State, flow: Flow, hostAction: HostAction = "DROP"): Verdict {
  const steps: Step[] = [];
  const workloadsOn = (address: string, node: string | undefined) =>
    endpointsAt(state, address).filter((one) => one.kind === "WorkloadEndpoint" && one.node === node);
  // What the host itself sends leaves it for a workload's interface before any policy is asked.
  if (workloadsOn(flow.destination, hostAt(state, flow.source)).length > 0) return { verdict: "allow", steps };
  const ask = (endpoint: Endpoint, direction: Direction, traffic: Traffic): "allow" | "deny" | "continue" => {
    const said = evaluateEndpoint(state, endpoint, direction, flow, traffic);
    steps.push({ ...said, endpoint, direction, traffic });
    return said.verdict;
  };
  for (const workload of workloadsOn(flow.source, hostAt(state, flow.destination))) {
    const all = state.endpoints
      .filter(
        ({ kind, node, interfaceName }) => kind === "HostEndpoint" && node === workload.node && interfaceName === "*",
      )
      .sort((a, b) => compareTexts(a.name, b.name));
    // What it allows goes on: in the filter table a workload's packets are asked about first, and whether they were accepted only then.
    if (all[0] !== undefined && ask(all[0], "ingress", "preDNAT") === "deny") return { verdict: "deny", steps };
    const base = { endpoint: workload, direction: "egress", traffic: "toHost" } as const;
    if (flow.protocol === 58 && flow.icmp !== undefined && TO_ROUTER.includes(flow.icmp.type)) {
      steps.push({ ...base, verdict: "allow", by: { kind: "router", icmpType: flow.icmp.type } });
      return { verdict: "allow", steps };
    }
    if (ask(workload, "egress", "normal") === "deny") return { verdict: "deny", steps };
    const verdict = hostAction === "DROP" ? "deny" : "allow";
    steps.push({ ...base, verdict, by: { kind: "endpoint-to-host", action: hostAction } });
    return { verdict, steps };
  }
  for (const endpoint of endpointsAt(state, flow.source)) {
    const kinds: readonly Traffic[] = endpoint.kind === "HostEndpoint" ? ["untracked", "normal"] : ["normal"];
    for (const traffic of kinds) {
      const verdict = ask(endpoint, "egress", traffic);
      if (verdict === "deny") return { verdict, steps };
      if (verdict === "allow") break;
    }
  }
  for (const endpoint of endpointsAt(state, flow.destination)) {
    const kinds: readonly Traffic[] =
      endpoint.kind === "HostEndpoint" ? ["untracked", "preDNAT", "normal"] : ["normal"];
    for (const traffic of kinds) {
      const verdict = ask(endpoint, "ingress", traffic);
      if (verdict === "deny") return { verdict, steps };
      if (verdict === "allow") break;
    }
  }
  return { verdict: "allow", steps };
}

/** Multicast listener queries, reports and dones, router and neighbour solicitations, neighbour advertisements. */
const TO_ROUTER: readonly number[] = [130, 131, 132, 133, 135, 136];

/** The node that has the address as its own. */
function hostAt(state: State, address: string): string | undefined {
  const [first] = endpointsAt(state, address);
  if (first !== undefined) return first.kind === "HostEndpoint" ? first.node : undefined;
  return nodeAt(state, address);
}

function nodeAt(state: State, address: string): string | undefined {
  return state.nodes.find(({ addresses }) => addresses.some((one) => isSame(one, address)))?.name;
}

interface TierOfEndpoint {
  readonly name: string;
  readonly defaultAction: "Deny" | "Pass";
  readonly policies: readonly Policy[];
}

/** The tiers that have a policy for the endpoint in this direction, in order, each with these policies in theirs. */
function tiersOf(state: State, endpoint: Endpoint, direction: Direction, traffic: Traffic): TierOfEndpoint[] {
  const applying = state.policies.filter(
    (policy) =>
      !isStaged(policy.id.kind) &&
      typesOf(policy).includes(direction) &&
      trafficOf(policy, direction).includes(traffic) &&
      selects(policy, endpoint),
  );
  const names = [...new Set(applying.map(tierOf))];
  const known = names.map((name) => ({ name, tier: state.tiers.find(({ metadata }) => metadata.name === name) }));
  return known.sort(byTierOrder).map(({ name, tier }) => ({
    name,
    // What is said of a tier that there is not, or nothing, is Deny.
    defaultAction: tier?.spec.defaultAction === "Pass" ? "Pass" : "Deny",
    policies: applying.filter((policy) => tierOf(policy) === name).sort(byPolicyOrder),
  }));
}

const tierOf = ({ spec }: Policy): string => spec.tier || "default";

/** Tiers that there are not come last; before them those without an order. The same order: by name. */
function byTierOrder(a: { name: string; tier: Tier | undefined }, b: { name: string; tier: Tier | undefined }): number {
  if ((a.tier === undefined) !== (b.tier === undefined)) return a.tier === undefined ? 1 : -1;
  return compareNumbers(orderOf(a.tier?.spec), orderOf(b.tier?.spec)) || compareTexts(a.name, b.name);
}

/** Policies without an order come last. The same order: by name, then namespace, then kind. */
function byPolicyOrder(a: Policy, b: Policy): number {
  const text = ({ id }: Policy) => `${id.name}/${id.namespace ?? ""}/${id.kind}`;
  return compareNumbers(orderOf(a.spec), orderOf(b.spec)) || compareTexts(text(a), text(b));
}

const orderOf = (spec: { readonly order?: number } | undefined): number => spec?.order ?? Number.POSITIVE_INFINITY;
const compareNumbers = (a: number, b: number): number => (a < b ? -1 : a > b ? 1 : 0);
const compareTexts = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

function typesOf({ spec }: Policy): Direction[] {
  const types = (spec.types ?? []).map((type) => type.toLowerCase() as Direction);
  if (types.length > 0) return types;
  const hasIngress = (spec.ingress ?? []).length > 0;
  const hasEgress = (spec.egress ?? []).length > 0;
  if (!hasEgress) return ["ingress"];
  return hasIngress ? ["ingress", "egress"] : ["egress"];
}

function trafficOf({ spec }: Policy, direction: Direction): Traffic[] {
  if (spec.doNotTrack) return ["untracked"];
  if (spec.preDNAT) return direction === "ingress" ? ["preDNAT"] : [];
  return spec.applyOnForward ? ["normal", "forward"] : ["normal"];
}

/** Whether a policy is for the endpoint. */
function selects({ id, spec }: Policy, { labels }: Endpoint): boolean {
  if (id.namespace !== undefined) {
    if (labels[NAMESPACE_LABEL] !== id.namespace || !matches(spec.selector, labels)) return false;
    return !spec.serviceAccountSelector || serviceAccountMatches(spec.serviceAccountSelector, labels);
  }
  // With a namespaceSelector, all() is what is in a namespace; else, with a serviceAccountSelector, what has a service account.
  const all = spec.namespaceSelector
    ? Object.hasOwn(labels, NAMESPACE_LABEL)
    : spec.serviceAccountSelector
      ? Object.hasOwn(labels, SERVICE_ACCOUNT_LABEL)
      : true;
  if (spec.selector && !holds(parseSelector(spec.selector).root, labels, { all, global: true })) return false;
  if (spec.namespaceSelector && !namespaceMatches(spec.namespaceSelector, labels)) return false;
  const hasAccount = Object.hasOwn(labels, SERVICE_ACCOUNT_LABEL);
  return !spec.serviceAccountSelector || serviceAccountMatches(spec.serviceAccountSelector, labels, hasAccount);
}

/** The first rule that decides, in the first policy that has one. Log decides nothing. */
function firstMatch(state: State, policies: readonly Policy[], direction: Direction, flow: Flow) {
  for (const policy of policies) {
    for (const [rule, body] of (policy.spec[direction] ?? []).entries()) {
      if (body.action === "Log" || !ruleMatches(state, body, policy.id.namespace, flow)) continue;
      return { action: body.action, policy, rule };
    }
  }
  return undefined;
}

function profilesSay(state: State, endpoint: Endpoint, direction: Direction, flow: Flow): EndpointVerdict {
  for (const name of endpoint.profiles) {
    const profile = state.profiles.find(({ metadata }) => metadata.name === name);
    if (profile === undefined) return { verdict: "deny", by: { kind: "missing-profile", profile: name } };
    const rules: readonly Rule[] = profile.spec[direction] ?? [];
    for (const [rule, body] of rules.entries()) {
      if (body.action === "Log" || !ruleMatches(state, body, undefined, flow)) continue;
      if (body.action === "Pass") break;
      return { verdict: body.action === "Allow" ? "allow" : "deny", by: { kind: "profile", profile: name, rule } };
    }
  }
  return { verdict: "deny", by: { kind: "no-profile" } };
}

/**
 * The workloads that have the address, or else the host endpoint of the interface that has it: one that names it among its expectedIPs before
 * one for all interfaces of the node whose address it is; of several the first by name.
 */
function endpointsAt(state: State, address: string): Endpoint[] {
  const workloads = state.endpoints.filter((one) => one.kind === "WorkloadEndpoint" && hasAddress(one, address));
  if (workloads.length > 0) return workloads;
  const hosts = state.endpoints
    .filter(({ kind }) => kind === "HostEndpoint")
    .sort((a, b) => compareTexts(a.name, b.name));
  const node = nodeAt(state, address);
  const explicit = hosts.find((one) => one.interfaceName !== "*" && hasAddress(one, address));
  const general = hosts.find(
    (one) => one.interfaceName === "*" && (hasAddress(one, address) || (node !== undefined && one.node === node)),
  );
  const found = explicit ?? general;
  return found === undefined ? [] : [found];
}

function isSame(a: string, b: string): boolean {
  const [left, right] = [parseAddress(a), parseAddress(b)];
  return left.version === right.version && left.value === right.value;
}
