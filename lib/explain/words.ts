import { protocolNumber } from "../api/protocol.ts";
import type { EntityRule, Rule } from "../api/rule.ts";
import type { ParsedRule, PolicyId, PortRange } from "../policy-agent/calc/index.ts";
import type { By, Direction } from "./types.ts";

const PROTOCOLS: Readonly<Record<number, string>> = {
  1: "ICMP",
  6: "TCP",
  17: "UDP",
  58: "ICMPv6",
  132: "SCTP",
  136: "UDPLite",
};

export const protocolName = (protocol: number): string => PROTOCOLS[protocol] ?? `protocol ${protocol}`;

/** `NetworkPolicy blue/web`; policies made of Kubernetes' own are called as they are in Kubernetes. */
export function policyTitle({ kind, namespace, name }: PolicyId): string {
  const shown =
    kind === "KubernetesNetworkPolicy"
      ? "Kubernetes NetworkPolicy"
      : kind === "KubernetesClusterNetworkPolicy"
        ? "ClusterNetworkPolicy"
        : kind;
  return `${shown} ${namespace === undefined ? name : `${namespace}/${name}`}`;
}

/** What decided, as part of a sentence. */
export function byWords(by: By, direction: Direction): string {
  switch (by.kind) {
    case "rule":
      return `${policyTitle(by.policy)}, ${direction}[${by.rule}]`;
    case "tier":
      return `the default action of tier ${by.tier}, as no rule matched`;
    case "profile":
      return `profile ${by.profile}, ${direction}[${by.rule}]`;
    case "missing-profile":
      return `profile ${by.profile}, which does not exist`;
    case "no-profile":
      return "no rule at all: what neither policy nor a profile allows is denied";
    case "endpoint-to-host":
      return `DefaultEndpointToHostAction ${by.action}`;
    case "router":
      return `what every workload may send its host: ICMPv6 type ${by.icmpType}, by which routers and neighbours are found`;
    case "nothing":
      return "no rule, as none matched";
  }
}

/** `80, 8000 to 9000`. */
export const portsText = (ports: readonly PortRange[]): string =>
  ports.map(({ first, last }) => (first === last ? String(first) : `${first} to ${last}`)).join(", ");

export const list = (texts: readonly string[]): string => texts.join(" or ");

/** What a stored rule says, in one line without its action: `TCP from app == 'web' to port 80`. */
export function ruleText(rule: Rule): string {
  const parts = [
    rule.ipVersion === undefined ? "" : `IPv${rule.ipVersion}`,
    rule.protocol === undefined ? "" : protocolText(rule.protocol),
    rule.notProtocol === undefined ? "" : `not ${protocolText(rule.notProtocol)}`,
    icmpText("", rule.icmp),
    icmpText("not ", rule.notICMP),
    entityText("from", rule.source),
    entityText("to", rule.destination),
    rule.http ? "if the HTTP request matches" : "",
  ];
  return parts.filter((part) => part !== "").join(" ");
}

const protocolText = (protocol: number | string): string => {
  const number = protocolNumber(protocol);
  return number === undefined ? String(protocol) : protocolName(number);
};

function icmpText(not: string, icmp: Rule["icmp"]): string {
  if (icmp?.type === undefined) return "";
  return `${not}type ${icmp.type}${icmp.code === undefined ? "" : ` code ${icmp.code}`}`;
}

function entityText(word: "from" | "to", side: EntityRule = {}): string {
  const who = [
    endpointsText(side),
    side.nets?.length ? `nets ${side.nets.join(", ")}` : "",
    side.notNets?.length ? `outside of ${side.notNets.join(", ")}` : "",
    side.services?.name ? `service ${serviceText(side)}` : "",
    side.ports?.length ? `port ${side.ports.join(", ")}` : "",
    side.notPorts?.length ? `not port ${side.notPorts.join(", ")}` : "",
  ].filter((part) => part !== "");
  return who.length === 0 ? "" : `${word} ${who.join(", ")}`;
}

const serviceText = ({ services }: EntityRule): string =>
  services?.namespace ? `${services.namespace}/${services.name}` : (services?.name ?? "");

/** Which endpoints a side of a stored rule is about; empty where it says nothing of endpoints. */
export function endpointsText(side: EntityRule): string {
  const { names = [], selector } = side.serviceAccounts ?? {};
  return [
    podsText(side.selector ?? ""),
    side.namespaceSelector ? `namespaces ${side.namespaceSelector}` : "",
    names.length > 0 ? `service account ${list(names)}` : "",
    selector ? `service accounts ${selector}` : "",
    side.notSelector ? `not (${side.notSelector})` : "",
  ]
    .filter((part) => part !== "")
    .join(", ");
}

/** Selectors made of Kubernetes' own begin so. */
const IS_POD = "projectcalico.org/orchestrator == 'k8s'";

function podsText(selector: string): string {
  if (selector === IS_POD) return "pods";
  return selector.startsWith(`${IS_POD} && `) ? `pods ${selector.slice(IS_POD.length + 4)}` : selector;
}

/** What a rule says when the stored one cannot be put beside it: sets instead of selectors. */
export function parsedText(rule: ParsedRule): string {
  const sideText = (word: string, side: ParsedRule["source"]): string => {
    const parts = [
      side.nets ? `nets ${side.nets.join(", ")}` : "",
      side.notNets ? `outside of ${side.notNets.join(", ")}` : "",
      side.sets ? `sets ${side.sets.join(", ")}` : "",
      side.notSets ? `not in sets ${side.notSets.join(", ")}` : "",
      side.ports ? `port ${portsText(side.ports)}` : "",
      side.namedPorts ? `ports in sets ${side.namedPorts.join(", ")}` : "",
      side.notPorts ? `not port ${portsText(side.notPorts)}` : "",
      side.notNamedPorts ? `not ports in sets ${side.notNamedPorts.join(", ")}` : "",
      side.portSets ? `ports in sets ${side.portSets.join(", ")}` : "",
    ].filter((part) => part !== "");
    return parts.length === 0 ? "" : `${word} ${parts.join(", ")}`;
  };
  return [
    rule.ipVersion === undefined ? "" : `IPv${rule.ipVersion}`,
    rule.protocol === undefined ? "" : protocolName(rule.protocol),
    rule.notProtocol === undefined ? "" : `not ${protocolName(rule.notProtocol)}`,
    icmpText("", rule.icmp),
    icmpText("not ", rule.notIcmp),
    sideText("from", rule.source),
    sideText("to", rule.destination),
  ]
    .filter((part) => part !== "")
    .join(" ");
}
