/**
 * A policy's or profile's rules as chains. A chain tells its caller the verdict through the mark: `accept` or `pass`; a packet that it denies never
 * returns; one that no rule decides returns as it came.
 *
 * One rule often needs several of the kernel's: a kernel rule compares each address with one net, and can only AND what ours ORs (many
 * nets, more than 15 ports, numeric ports beside named ones). Such parts become blocks that write to the mark, before the rule itself:
 * `scratch0` says whether all blocks so far held, `scratch1` whether the one being looked at does.
 */
import { type ParsedRule, type PolicyId, type PortRange, policyKey, type RuleSide } from "../calc/index.ts";
import {
  always,
  clearMark,
  isVersion,
  marked,
  PROTOCOL,
  PROTOCOLS_WITH_PORTS,
  protocol,
  RETURN,
  type RenderContext,
  rule,
  setMark,
  unmarked,
} from "./context.ts";
import type { IpVersion, Match, Rule, Side, Table } from "./ir.ts";
import { shortKind } from "./names.ts";

/** Whose rules they are. */
export type RuleOwner =
  | { readonly kind: "policy"; readonly id: PolicyId; readonly tier: string }
  | { readonly kind: "profile"; readonly name: string };

export interface RulesPlace {
  readonly ipVersion: IpVersion;
  readonly table: Table;
  readonly direction: "ingress" | "egress";
}

/** Ports a multiport match of iptables holds; a range counts as two. */
const PORTS_A_MATCH = 15;

/** The rules of a policy or profile in one direction. */
export function renderRules(
  context: RenderContext,
  owner: RuleOwner,
  rules: readonly ParsedRule[],
  place: RulesPlace,
): Rule[] {
  const prefix = logPrefix(context.config.logPrefix, owner);
  const rendered = rules.flatMap((parsed) => renderRule(context, parsed, owner, place, prefix));
  // At the end of a chain a packet returns anyway.
  while (rendered.at(-1)?.action.do === "return") rendered.pop();
  const first = rendered[0];
  if (first) rendered[0] = withComments(first, [title(owner, place.direction)]);
  return rendered;
}

/** Stands for rules that cannot be known yet, or do not exist: nothing gets through. */
export function denyRules(context: RenderContext, table: Table, comment: string): Rule[] {
  return [always(context.deny(table), comment)];
}

export function title(owner: RuleOwner, direction: "ingress" | "egress"): string {
  if (owner.kind === "profile") return `Profile ${owner.name} ${direction}`;
  const { kind, namespace, name } = owner.id;
  return `${kind} ${namespace === undefined ? name : `${namespace}/${name}`} ${direction}`;
}

/** `%t` tier, `%k` short kind, `%n` name, `%p` name with its namespace. */
function logPrefix(template: string, owner: RuleOwner): string {
  const [kind, name, path, tier] =
    owner.kind === "profile"
      ? ["pro", owner.name, owner.name, ""]
      : [shortKind(owner.id.kind), owner.id.name, policyKey(owner.id).slice(owner.id.kind.length + 1), owner.tier];
  const values: Record<string, string> = { "%k": kind, "%n": name, "%p": path, "%t": tier };
  return (template === "" ? "calico-packet" : template).replace(/%[tknp]/g, (token) => values[token]!);
}

function withComments(rule: Rule, comments: readonly string[]): Rule {
  const all = rule.comment === undefined ? comments : [...comments, rule.comment];
  return all.length === 0 ? rule : { ...rule, comment: all.join("; ") };
}

function renderRule(
  context: RenderContext,
  parsed: ParsedRule,
  owner: RuleOwner,
  place: RulesPlace,
  prefix: string,
): Rule[] {
  const condition = conditionOf(context, parsed, place.ipVersion);
  if (condition === undefined) return [];
  const annotations = Object.entries(parsed.metadata?.annotations ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${value}`);
  return [...condition.blocks, ...act(context, parsed.action, condition.match, owner, place.table, prefix)].map(
    (each) => withComments(each, annotations),
  );
}

function act(
  context: RenderContext,
  action: ParsedRule["action"],
  match: readonly Match[],
  owner: RuleOwner,
  table: Table,
  prefix: string,
): Rule[] {
  const { marks, config } = context;
  switch (action) {
    case "Allow":
      return [rule(match, setMark(marks.accept)), rule([marked(marks.accept)], RETURN)];
    case "Pass":
      // There is no tier after a profile: the next profile decides. A mark would be taken for that of a tier.
      if (owner.kind === "profile") return [rule(match, RETURN)];
      return [rule(match, setMark(marks.pass)), rule([marked(marks.pass)], RETURN)];
    case "Deny":
      return [rule(match, context.deny(table))];
    case "Log": {
      const { logActionRateLimit: rate, logActionRateLimitBurst: burst } = config;
      const limit: Match[] = rate === undefined ? [] : [{ is: "limit", rate, burst }];
      return [rule([...match, ...limit], { do: "log", prefix })];
    }
  }
}

/** When a rule holds: its blocks, which come before it, and what the rule itself matches. Undefined: never. */
interface Condition {
  readonly blocks: readonly Rule[];
  readonly match: readonly Match[];
}

function conditionOf(context: RenderContext, parsed: ParsedRule, version: IpVersion): Condition | undefined {
  if (parsed.ipVersion !== undefined && parsed.ipVersion !== version) return undefined;
  const protocolNumber = protocolOf(parsed, version);
  if (protocolNumber === "none") return undefined;
  const sides = (["source", "destination"] as const).map((side) => sideOf(side, parsed[side], version, protocolNumber));
  if (sides.some((side) => side === undefined)) return undefined;

  const match: Match[] = [];
  const any: Match[][][] = [];
  const none: Match[][] = [];
  if (protocolNumber !== undefined) match.push(protocol(protocolNumber));
  else if (parsed.notProtocol !== undefined) match.push({ is: "protocol", protocol: parsed.notProtocol, not: true });
  for (const side of sides as SideCondition[]) {
    match.push(...side.match);
    any.push(...side.any);
    none.push(...side.none);
  }
  if (parsed.icmp !== undefined) match.push({ is: "icmp", ...parsed.icmp });
  if (parsed.notIcmp !== undefined) match.push({ is: "icmp", ...parsed.notIcmp, not: true });
  const blocks = blocksOf(context, any, none);
  if (blocks.length > 0) match.push(marked(context.marks.scratch0));
  return { blocks, match };
}

const icmpProtocol = (version: IpVersion): number => (version === 4 ? PROTOCOL.icmp : PROTOCOL.icmp6);

/** The protocol a packet must have; `none`: the rule contradicts itself in this IP version. */
function protocolOf(parsed: ParsedRule, version: IpVersion): number | undefined | "none" {
  const { protocol, notProtocol, icmp, notIcmp } = parsed;
  // A clause that says which messages it is not about is about ICMP all the same.
  const implied = icmp === undefined && notIcmp === undefined ? protocol : icmpProtocol(version);
  if (protocol !== undefined && protocol !== implied) return "none";
  return implied !== undefined && implied === notProtocol ? "none" : implied;
}

interface SideCondition {
  /** All hold, in the rule itself. */
  readonly match: Match[];
  /** Of each block, at least one must hold. */
  readonly any: Match[][][];
  /** None may hold. */
  readonly none: Match[][];
}

function sideOf(
  side: Side,
  wanted: RuleSide,
  version: IpVersion,
  protocolNumber: number | undefined,
): SideCondition | undefined {
  const nets = netsOf(wanted.nets, version);
  const notNets = netsOf(wanted.notNets, version);
  if (nets === undefined || notNets === undefined) return undefined;
  // No packet is outside of all networks.
  if (notNets.some(isEverything)) return undefined;
  const ports = portAlternatives(side, wanted, protocolNumber);
  if (ports !== undefined && ports.length === 0) return undefined;

  const condition: SideCondition = { match: [], any: [], none: [] };
  if (ports !== undefined) addAlternatives(condition, ports, protocolNumber);
  const netMatches = nets.some(isEverything) ? [] : nets.map((net): Match => ({ is: "net", side, net }));
  if (netMatches.length === 1) condition.match.push(netMatches[0]!);
  else if (netMatches.length > 1) condition.any.push(netMatches.map((match) => [match]));
  // A rule of the kernel holds one net a side.
  if (notNets.length === 1 && netMatches.length !== 1)
    condition.match.push({ is: "net", side, net: notNets[0]!, not: true });
  else for (const net of notNets) condition.none.push([{ is: "net", side, net }]);

  for (const set of wanted.sets ?? []) condition.match.push({ is: "set", side, set });
  for (const set of wanted.notSets ?? []) condition.match.push({ is: "set", side, set, not: true });
  for (const set of wanted.portSets ?? []) condition.match.push({ is: "port-set", side, set });
  for (const set of wanted.notNamedPorts ?? []) condition.match.push({ is: "port-set", side, set, not: true });
  addNotPorts(condition, side, wanted.notPorts ?? [], protocolNumber);
  return condition;
}

/**
 * Those of the IP version. Undefined when there are some, but all of the other version: then the rule is about that version only, also when the nets
 * are negated (felix/rules/policy.go, FilterRuleToIPVersion).
 */
function netsOf(nets: readonly string[] | undefined, version: IpVersion): readonly string[] | undefined {
  if (nets === undefined || nets.length === 0) return [];
  const mine = nets.filter((net) => isVersion(net, version));
  return mine.length === 0 ? undefined : mine;
}

const isEverything = (net: string): boolean => net === "0.0.0.0/0" || net === "::/0";

/** The ways in which a packet's port can be right; undefined: any port is. */
function portAlternatives(side: Side, wanted: RuleSide, protocolNumber: number | undefined): Match[][] | undefined {
  const ports = wanted.ports ?? [];
  const named = wanted.namedPorts ?? [];
  if (ports.length === 0 && named.length === 0) return undefined;
  const numeric = protocolsWithPorts(protocolNumber).flatMap((number) =>
    chunkPorts(ports).map((chunk): Match[] => [protocol(number), { is: "ports", side, ports: chunk }]),
  );
  return [...numeric, ...named.map((set): Match[] => [{ is: "port-set", side, set }])];
}

/** Of the protocols a packet may have, those with ports. */
function protocolsWithPorts(protocolNumber: number | undefined): readonly number[] {
  if (protocolNumber === undefined) return PROTOCOLS_WITH_PORTS;
  return PROTOCOLS_WITH_PORTS.includes(protocolNumber) ? [protocolNumber] : [];
}

function addAlternatives(condition: SideCondition, alternatives: Match[][], protocolNumber: number | undefined): void {
  if (alternatives.length > 1) condition.any.push(alternatives);
  // The rule itself matches the protocol already.
  else condition.match.push(...alternatives[0]!.filter((match) => !isProtocol(match, protocolNumber)));
}

const isProtocol = (match: Match, number: number | undefined): boolean =>
  match.is === "protocol" && match.protocol === number;

/** A packet without ports has none of the ports. */
function addNotPorts(
  condition: SideCondition,
  side: Side,
  notPorts: readonly PortRange[],
  protocolNumber: number | undefined,
): void {
  for (const ports of chunkPorts(notPorts)) {
    for (const number of protocolsWithPorts(protocolNumber)) {
      if (protocolNumber === undefined) condition.none.push([protocol(number), { is: "ports", side, ports }]);
      else condition.match.push({ is: "ports", side, ports, not: true });
    }
  }
}

export function chunkPorts(ports: readonly PortRange[]): PortRange[][] {
  const chunks: PortRange[][] = [];
  let room = 0;
  for (const range of ports) {
    const size = range.first === range.last ? 1 : 2;
    if (room < size) {
      chunks.push([]);
      room = PORTS_A_MATCH;
    }
    chunks.at(-1)!.push(range);
    room -= size;
  }
  return chunks;
}

/** Rules after which `scratch0` is set if every block of `any` has a match that holds, and none of `none` does. */
export function blocksOf(
  context: RenderContext,
  any: readonly (readonly (readonly Match[])[])[],
  none: readonly (readonly Match[])[],
): Rule[] {
  if (any.length === 0 && none.length === 0) return [];
  const { scratch0: all, scratch1: one } = context.marks;
  // The first block writes its result where that of all belongs.
  const rules: Rule[] = [always({ do: "set-mark", value: any.length === 0 ? all : 0, mask: (all | one) >>> 0 })];
  any.forEach((alternatives, i) => {
    if (i > 1) rules.push(always(clearMark(one)));
    for (const match of alternatives) rules.push(rule(match, setMark(i === 0 ? all : one)));
    if (i > 0) rules.push(rule([unmarked(one)], clearMark(all)));
  });
  for (const match of none) rules.push(rule(match, clearMark(all)));
  return rules;
}
