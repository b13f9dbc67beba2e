import type { EndpointSlice } from "../../api/kubernetes/index.ts";
import { protocolNumber } from "../../api/protocol.ts";
import type { EntityRule, Rule } from "../../api/rule.ts";
import { containsAddress, parseAddress, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { type Node, parseSelector, selectorOf } from "../../selector/index.ts";
import type { AddressSet, Endpoint, Flow, State } from "./types.ts";

type Labels = Readonly<Record<string, string>>;
type Ports = readonly (number | string)[];

const NAMESPACE_LABEL = "projectcalico.org/namespace";
const SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount";
const ICMP = { 4: 1, 6: 58 } as const;

/** Whether a packet is what a rule is about. `namespace`: of the policy that holds the rule; absent in global policies and profiles. */
export function ruleMatches(state: State, rule: Rule, namespace: string | undefined, flow: Flow): boolean {
  const version = parseAddress(flow.source).version;
  if (rule.ipVersion !== undefined && rule.ipVersion !== version) return false;
  if (rule.protocol !== undefined && protocolNumber(rule.protocol) !== flow.protocol) return false;
  if (rule.notProtocol !== undefined && protocolNumber(rule.notProtocol) === flow.protocol) return false;
  if (rule.icmp?.type !== undefined && !isIcmp(rule.icmp, flow)) return false;
  if (rule.notICMP?.type !== undefined) {
    // The clause is about ICMP messages other than these, not about all that is no ICMP.
    if (flow.protocol !== ICMP[version] || isIcmp(rule.notICMP, flow)) return false;
  }
  return (
    sideMatches(state, rule.source ?? {}, namespace, flow, flow.source, flow.sourcePort) &&
    sideMatches(state, rule.destination ?? {}, namespace, flow, flow.destination, flow.destinationPort) &&
    serviceMatches(state, rule, namespace, flow)
  );
}

function isIcmp(wanted: { readonly type?: number; readonly code?: number }, flow: Flow): boolean {
  if (flow.protocol !== ICMP[parseAddress(flow.source).version]) return false;
  if (flow.icmp?.type !== wanted.type) return false;
  return wanted.code === undefined || flow.icmp?.code === wanted.code;
}

/** What a rule says of the source, or of the destination, but for services. */
function sideMatches(
  state: State,
  side: EntityRule,
  namespace: string | undefined,
  flow: Flow,
  address: string,
  port: number | undefined,
): boolean {
  const nets = side.nets ?? [];
  if (nets.length > 0 && !nets.some((net) => contains(net, address))) return false;
  const notNets = side.notNets ?? [];
  if (notNets.some((net) => contains(net, address))) return false;
  // A rule all of whose notNets are of the other IP version is about that version only (felix/rules/policy.go, FilterRuleToIPVersion).
  if (notNets.length > 0 && notNets.every((net) => versionOf(net) !== parseAddress(address).version)) return false;

  const selected = selectedBy(state, side, namespace);
  if (selected !== undefined) {
    if (!selected.some((object) => hasAddress(object, address))) return false;
  } else if (side.notSelector) {
    const excluded = [...state.endpoints, ...state.sets].filter(({ labels }) => matches(side.notSelector, labels));
    if (excluded.some((object) => hasAddress(object, address))) return false;
  }

  const named = selected ?? state.endpoints;
  const ports = side.ports ?? [];
  if (ports.length > 0 && !hasPort(ports, named, flow, address, port)) return false;
  if (hasPort(side.notPorts ?? [], named, flow, address, port)) return false;
  return true;
}

type Labelled = Endpoint | AddressSet;

/**
 * The endpoints and sets that a rule is limited to; undefined: it says nothing of them, so that any address will do. In a namespaced policy
 * every way of naming endpoints, the negative one too, is about the policy's namespace unless namespaceSelector says about which.
 */
function selectedBy(state: State, side: EntityRule, namespace: string | undefined): Labelled[] | undefined {
  const accounts = side.serviceAccounts ?? {};
  const names = accounts.names ?? [];
  const byAccount = names.length > 0 || Boolean(accounts.selector);
  const byNamespace = Boolean(side.namespaceSelector);
  const isSelective = Boolean(side.selector) || byAccount || byNamespace;
  if (!isSelective && !(namespace !== undefined && side.notSelector)) return undefined;

  return [...state.endpoints, ...state.sets].filter(({ labels }) => {
    if (byNamespace) {
      if (!namespaceMatches(side.namespaceSelector!, labels)) return false;
    } else if (namespace !== undefined && labels[NAMESPACE_LABEL] !== namespace) return false;
    if (accounts.selector && !matches(accounts.selector, withPrefixRemoved("pcsa.", labels))) return false;
    if (names.length > 0 && !names.includes(labels[SERVICE_ACCOUNT_LABEL] ?? "")) return false;
    if (side.selector && !matches(side.selector, labels)) return false;
    return !(side.notSelector && matches(side.notSelector, labels));
  });
}

/** Numbers, ranges `first:last` of them, and names that an endpoint with the address gives to the port. */
function hasPort(
  ports: Ports,
  objects: readonly Labelled[],
  flow: Flow,
  address: string,
  port: number | undefined,
): boolean {
  if (port === undefined) return false;
  return ports.some((wanted) => {
    const range = /^(\d+)(?::(\d+))?$/.exec(String(wanted));
    if (range) return Number(range[1]) <= port && port <= Number(range[2] ?? range[1]);
    return objects.some(
      (object) =>
        "ports" in object &&
        hasAddress(object, address) &&
        object.ports.some(
          (own) => own.name === wanted && own.port === port && protocolNumber(own.protocol) === flow.protocol,
        ),
    );
  });
}

/** As source, the addresses behind a Service; as destination, these with its ports. Whether they are ready makes no difference. */
function serviceMatches(state: State, rule: Rule, namespace: string | undefined, flow: Flow): boolean {
  const from = rule.source?.services;
  if (from?.name) {
    const slices = slicesOf(state, from.namespace ?? namespace, from.name);
    if (!slices.some((slice) => isBehind(slice, flow.source))) return false;
  }
  const to = rule.destination?.services;
  if (to?.name) {
    const slices = slicesOf(state, to.namespace ?? namespace, to.name);
    const reached = slices.some(
      (slice) =>
        isBehind(slice, flow.destination) &&
        (slice.ports ?? []).some(
          ({ port, protocol = "TCP" }) =>
            port !== undefined && port === flow.destinationPort && protocolNumber(protocol) === flow.protocol,
        ),
    );
    if (!reached) return false;
  }
  return true;
}

function slicesOf(state: State, namespace: string | undefined, service: string): EndpointSlice[] {
  return (state.slices as readonly EndpointSlice[]).filter(
    ({ metadata }) => metadata.namespace === namespace && metadata.labels?.["kubernetes.io/service-name"] === service,
  );
}

const isBehind = (slice: EndpointSlice, address: string): boolean =>
  (slice.endpoints ?? []).some(({ addresses }) => addresses.some((one) => contains(one, address)));

/** Whether endpoints of these labels are in a namespace that a namespaceSelector means; global() means what is in none. */
export function namespaceMatches(selector: string, labels: Labels): boolean {
  return holds(parseSelector(selector).root, withPrefixRemoved("pcns.", labels), {
    all: Object.hasOwn(labels, NAMESPACE_LABEL),
    global: !Object.hasOwn(labels, NAMESPACE_LABEL),
  });
}

/** Whether endpoints of these labels run as a service account that a serviceAccountSelector means. */
export function serviceAccountMatches(selector: string, labels: Labels, all = true): boolean {
  return holds(parseSelector(selector).root, withPrefixRemoved("pcsa.", labels), { all, global: true });
}

/** A selector with a say in what all() and global() are. */
export function holds(
  node: Node,
  labels: Labels,
  meaning: { readonly all: boolean; readonly global: boolean },
): boolean {
  switch (node.op) {
    case "all":
      return meaning.all;
    case "global":
      return meaning.global;
    case "!":
      return !holds(node.operand, labels, meaning);
    case "&&":
      return node.operands.every((operand) => holds(operand, labels, meaning));
    case "||":
      return node.operands.some((operand) => holds(operand, labels, meaning));
    default:
      return selectorOf(node).matches(labels);
  }
}

/** Whether a selector of endpoints matches; one that is absent or empty matches all. */
export const matches = (selector: string | undefined, labels: Labels): boolean =>
  parseSelector(selector ?? "").matches(labels);

/** The labels of a namespace, or of a service account, among those that an endpoint has. */
function withPrefixRemoved(prefix: string, labels: Labels): Labels {
  const own = Object.entries(labels).filter(([label]) => label.startsWith(prefix));
  return Object.fromEntries(own.map(([label, value]) => [label.slice(prefix.length), value]));
}

export const hasAddress = (object: Labelled, address: string): boolean =>
  ("addresses" in object ? object.addresses : object.nets).some((net) => contains(net, address));

/** Whether a CIDR or a single address has the address in it. Of a text that is neither, no address is part. */
function contains(net: string, address: string): boolean {
  const single = tryParseAddress(net);
  const wanted = parseAddress(address);
  if (single) return single.version === wanted.version && single.value === wanted.value;
  const cidr = tryParseCidr(net);
  return cidr !== undefined && containsAddress(cidr, wanted);
}

const versionOf = (net: string): 4 | 6 | undefined => (tryParseAddress(net) ?? tryParseCidr(net))?.version;
