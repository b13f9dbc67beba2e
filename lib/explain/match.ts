import type { EntityRule, Rule } from "../api/rule.ts";
import type { Icmp, ParsedRule, RuleSide } from "../policy-agent/calc/index.ts";
import { type Node, parseSelector } from "../selector/index.ts";
import { sideOf } from "./resources.ts";
import type { Packet } from "./types.ts";
import { isAddressIn, type View } from "./view.ts";
import { endpointsText, portsText, protocolName } from "./words.ts";

/** What is known of the ends of the packet's way, for words. */
export interface Ends {
  readonly source: End;
  readonly destination: End;
}

/** A rule as people wrote it, and the namespace of the policy that holds it. For words only. */
export interface Written {
  readonly rule?: Rule;
  readonly namespace?: string;
}

export interface End {
  /** `blue/web`; absent: the address belongs to no endpoint. */
  readonly title?: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Set members name protocols so. */
const MEMBER_PROTOCOLS: Readonly<Record<number, string>> = { 6: "tcp", 17: "udp", 132: "sctp" };

/**
 * Everything that keeps the packet from matching a rule, in words; nothing: it matches. What counts is the parsed rule.
 */
export function mismatches(view: View, rule: ParsedRule, written: Written, packet: Packet, ends: Ends): string[] {
  const reasons: string[] = [];
  const { ipVersion, protocol } = packet;
  if (rule.ipVersion !== undefined && rule.ipVersion !== ipVersion) {
    reasons.push(`the packet is IPv${ipVersion}, the rule is for IPv${rule.ipVersion}`);
  }
  if (rule.protocol !== undefined && rule.protocol !== protocol) {
    reasons.push(`protocol is ${packet.protocolName}, the rule wants ${protocolName(rule.protocol)}`);
  }
  if (rule.notProtocol === protocol) reasons.push(`protocol is ${packet.protocolName}, which the rule excludes`);
  if (rule.icmp !== undefined && !isIcmp(rule.icmp, packet)) {
    reasons.push(`${icmpIs(packet)}, the rule wants ${icmpText(rule.icmp)}`);
  }
  if (rule.notIcmp !== undefined) {
    if (protocol !== icmpOf(packet)) reasons.push("the packet is no ICMP message, which notICMP is about");
    else if (isIcmp(rule.notIcmp, packet)) reasons.push(`${icmpIs(packet)}, which the rule excludes`);
  }
  // A rule for another protocol says nothing of this one's ports.
  const isForProtocol = rule.protocol === undefined || rule.protocol === protocol;
  for (const side of ["source", "destination"] as const) {
    const asking: Asking = {
      view,
      packet,
      side,
      end: ends[side],
      stored: sideOf(written.rule, side),
      namespace: written.namespace,
    };
    reasons.push(...addressMismatches(asking, rule[side]));
    if (isForProtocol) reasons.push(...portMismatches(asking, rule[side]));
  }
  return reasons;
}

interface Asking {
  readonly view: View;
  readonly packet: Packet;
  readonly side: "source" | "destination";
  readonly end: End;
  readonly stored: EntityRule;
  readonly namespace: string | undefined;
}

function addressMismatches(asking: Asking, rule: RuleSide): string[] {
  const { view, packet, side, stored } = asking;
  const address = packet[side];
  const who = `${side} ${address}`;
  const reasons: string[] = [];
  const isOurs = (net: string) => net.includes(":") === (packet.ipVersion === 6);

  const { nets, notNets } = rule;
  if (nets !== undefined && !isAddressIn(nets, address)) {
    reasons.push(
      nets.some(isOurs)
        ? `${who} is not in ${nets.join(", ")}`
        : `the packet is IPv${packet.ipVersion}, the rule's ${side} nets are not`,
    );
  }
  if (notNets !== undefined) {
    const excluding = notNets.filter((net) => isAddressIn([net], address));
    if (excluding.length > 0) reasons.push(`${who} is in ${excluding.join(", ")}, which the rule excludes`);
    else if (!notNets.some(isOurs)) {
      reasons.push(`the packet is IPv${packet.ipVersion}, the rule's ${side} notNets are not, and limit it to theirs`);
    }
  }
  for (const id of rule.sets ?? []) {
    if (!view.set(id).hasAddress(address)) reasons.push(notInSet(asking, id));
  }
  for (const id of rule.notSets ?? []) {
    if (!view.set(id).hasAddress(address)) continue;
    reasons.push(
      `${who} is in an endpoint or network set matching ${stored.notSelector ?? id}, which the rule excludes`,
    );
  }
  return reasons;
}

/** Why an address is not among those that selectors, or a service, stand for. */
function notInSet({ view, packet, side, end, stored, namespace }: Asking, id: string): string {
  const size = view.set(id).size;
  const members = setText(id, size);
  if (stored.services?.name && id.startsWith("svc")) {
    return `${side} ${packet[side]} is not behind the service ${stored.services.name} (${members})`;
  }
  const scope = namespace !== undefined && !stored.namespaceSelector ? namespace : undefined;
  const where = scope === undefined ? "" : ` in namespace ${scope}`;
  const wanted = endpointsText(stored) || "the rule's selector";
  const which = `${side} ${packet[side]} is in no endpoint or network set${where} matching ${wanted} (${members})`;
  const labels = labelsText(stored, end, scope);
  return labels === "" ? which : `${which}: ${labels}`;
}

const setText = (id: string, size: number): string =>
  `set ${id.slice(0, 14)}…, ${size === 1 ? "1 member" : `${size} members`}`;

/** The values that an endpoint has of the labels in the selectors of a rule. */
function labelsText(stored: EntityRule, { title, labels }: End, scope: string | undefined): string {
  if (title === undefined) return "";
  const wanted = [
    ...labelsIn(stored.selector, ""),
    ...labelsIn(stored.notSelector, ""),
    ...labelsIn(stored.namespaceSelector, "pcns."),
    ...labelsIn(stored.serviceAccounts?.selector, "pcsa."),
  ];
  // That it is a pod, its name says.
  const telling = [...new Set(wanted)].filter((label) => label !== "projectcalico.org/orchestrator");
  const shown = telling.map((label) => {
    const where = label.startsWith("pcns.") ? "namespace " : label.startsWith("pcsa.") ? "service account " : "";
    const name = label.replace(/^pc(ns|sa)\./, "");
    const value = Object.hasOwn(labels, label) ? labels[label] : undefined;
    return value === undefined ? `no ${where}label ${name}` : `${where}${name}=${value}`;
  });
  if (stored.serviceAccounts?.names?.length) {
    shown.push(`service account ${labels["projectcalico.org/serviceaccount"] ?? "unknown"}`);
  }
  const namespace = labels["projectcalico.org/namespace"];
  if (scope !== undefined && namespace !== scope) {
    shown.push(namespace === undefined ? "no namespace" : `namespace ${namespace}`);
  }
  return shown.length === 0 ? "" : `${title} has ${shown.join(", ")}`;
}

function labelsIn(selector: string | undefined, prefix: string): string[] {
  if (!selector) return [];
  try {
    return labelsOf(parseSelector(selector).root).map((label) => prefix + label);
  } catch {
    // What is wrong with it, the calculation says.
    return [];
  }
}

function labelsOf(node: Node): string[] {
  if ("operands" in node) return node.operands.flatMap(labelsOf);
  if ("operand" in node) return labelsOf(node.operand);
  return "label" in node ? [node.label] : [];
}

function portMismatches({ view, packet, side, stored }: Asking, rule: RuleSide): string[] {
  const address = packet[side];
  const port = side === "source" ? packet.sourcePort : packet.destinationPort;
  const protocol = MEMBER_PROTOCOLS[packet.protocol];
  const isMember = (id: string) =>
    port !== undefined && protocol !== undefined && view.set(id).hasPort(address, protocol, port);
  const isIn = (ports: RuleSide["ports"]) =>
    port !== undefined && (ports ?? []).some(({ first, last }) => first <= port && port <= last);
  const is =
    protocol === undefined
      ? `${packet.protocolName} has no ports`
      : port === undefined
        ? portNotKnown(side)
        : `${side} port is ${port}`;

  const reasons: string[] = [];
  if (rule.ports !== undefined || rule.namedPorts !== undefined) {
    if (!isIn(rule.ports) && !(rule.namedPorts ?? []).some(isMember)) {
      const names = (stored.ports ?? []).filter((one) => !/^\d/.test(String(one)));
      const wanted = [
        ...(rule.ports === undefined ? [] : [portsText(rule.ports)]),
        ...(rule.namedPorts === undefined ? [] : [`a port named ${names.join(" or ")}`]),
      ].join(" or ");
      const where = rule.namedPorts === undefined ? "" : namedText(view, rule.namedPorts);
      reasons.push(`${is}, the rule wants ${wanted}${where}`);
    }
  }
  if (isIn(rule.notPorts) || (rule.notNamedPorts ?? []).some(isMember)) {
    reasons.push(`${side} port is ${port}, which the rule excludes`);
  }
  for (const id of rule.portSets ?? []) {
    if (isMember(id)) continue;
    const size = view.set(id).size;
    const service = stored.services?.name ?? "";
    const what = port === undefined ? address : `${address} port ${port}/${protocol ?? packet.protocolName}`;
    reasons.push(`${side} ${what} is not behind the service ${service} (${setText(id, size)})`);
  }
  return reasons;
}

/** How a reason begins that is only for want of a port in the question. */
export const portNotKnown = (side: string): string => `the ${side} port is not known`;

function namedText(view: View, ids: readonly string[]): string {
  const total = ids.reduce((sum, id) => sum + view.set(id).size, 0);
  return ` (${total === 0 ? "no endpoint has one" : total === 1 ? "there is 1" : `there are ${total}`})`;
}

const icmpOf = ({ ipVersion }: Packet): number => (ipVersion === 4 ? 1 : 58);

function isIcmp(wanted: Icmp, packet: Packet): boolean {
  if (packet.protocol !== icmpOf(packet) || packet.icmp?.type !== wanted.type) return false;
  return wanted.code === undefined || packet.icmp.code === wanted.code;
}

const icmpText = ({ type, code }: Icmp): string => `ICMP type ${type}${code === undefined ? "" : ` code ${code}`}`;

const icmpIs = (packet: Packet): string =>
  packet.icmp === undefined ? `protocol is ${packet.protocolName}` : `the packet is ${icmpText(packet.icmp as Icmp)}`;
