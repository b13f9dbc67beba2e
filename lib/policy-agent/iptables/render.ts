/**
 * The text of a rule as iptables-restore reads it, without the command and the chain: `-p 6 -m multiport --destination-ports 80 --jump DROP`.
 * Options as upstream writes them (felix/iptables/match_builder.go, actions.go). Whatever could break out of its place in the line is refused.
 */
import type { PortRange, SetId } from "../calc/index.ts";
import type { Action, IpVersion, Match, Rule, Side } from "../rules/index.ts";

/** A rule that cannot be said in iptables. */
export class RenderError extends Error {
  override readonly name = "RenderError";
}

/** What texts depend on beside the rules. */
export interface Dialect {
  readonly version: IpVersion;
  /** A set's name in the kernel. */
  readonly setName: (id: SetId) => string;
}

/** A rule as text, and what must be there before it. */
export interface RenderedRule {
  readonly text: string;
  /** The chain it jumps or goes to. */
  readonly target?: string;
  /** Kernel names of the sets it looks into. */
  readonly sets: readonly string[];
}

/** The kernel keeps 30 bytes of a LOG prefix and 64 of an NFLOG prefix, the terminators among them (xt_LOG.h, xt_NFLOG.h). */
const LOG_PREFIX = 29;
const NFLOG_PREFIX = 63;
/** XT_MAX_COMMENT_LEN is 256 with the terminator. */
const COMMENT = 255;

/** The rules that say it: one, or two where TCP and the rest are refused in different ways. Throws RenderError. */
export function renderRule(rule: Rule, dialect: Dialect): RenderedRule[] {
  const { action, match } = rule;
  if (action.do !== "reject" || action.with !== "tcp-reset") return [renderOne(rule, dialect)];
  // The kernel takes tcp-reset only in a rule that is about TCP.
  if (match.some((one) => one.is === "protocol" && !one.not)) {
    return [renderOne(match.some(isTcp) ? rule : { ...rule, action: { do: "reject", with: "icmp" } }, dialect)];
  }
  const tcp: Rule = {
    ...rule,
    match: [{ is: "protocol", protocol: TCP }, ...match.filter((one) => one.is !== "protocol")],
  };
  const rest: Rule = { ...rule, action: { do: "reject", with: "icmp" } };
  const excludesTcp = match.some((one) => one.is === "protocol" && one.not && one.protocol === TCP);
  return excludesTcp ? [renderOne(rest, dialect)] : [renderOne(tcp, dialect), renderOne(rest, dialect)];
}

const TCP = 6;
const isTcp = (match: Match): boolean => match.is === "protocol" && match.protocol === TCP && !match.not;

function renderOne(rule: Rule, dialect: Dialect): RenderedRule {
  const { version } = dialect;
  const sets: string[] = [];
  const parts: string[] = [];
  if (rule.comment !== undefined) parts.push(`-m comment --comment ${quoted(rule.comment, COMMENT)}`);
  for (const match of rule.match) parts.push(renderMatch(match, dialect, sets));
  parts.push(renderAction(rule.action, version));
  const { action } = rule;
  const text = parts.join(" ");
  return action.do === "jump" || action.do === "goto" ? { text, target: action.chain, sets } : { text, sets };
}

const SIDE: Readonly<Record<Side, { net: string; set: string; ports: string; type: string }>> = {
  source: { net: "--source", set: "src", ports: "--source-ports", type: "--src-type" },
  destination: { net: "--destination", set: "dst", ports: "--destination-ports", type: "--dst-type" },
};

function renderMatch(match: Match, { version, setName }: Dialect, sets: string[]): string {
  const not = "not" in match && match.not ? "! " : "";
  switch (match.is) {
    case "protocol":
      return `${not}-p ${number(match.protocol, 255)}`;
    case "net":
      return `${not}${SIDE[match.side].net} ${word(match.net)}`;
    case "set":
    case "port-set": {
      const name = word(setName(match.set));
      sets.push(name);
      const { set } = SIDE[match.side];
      return `-m set ${not}--match-set ${name} ${match.is === "set" ? set : `${set},${set}`}`;
    }
    case "ports":
      return `-m multiport ${not}${SIDE[match.side].ports} ${ports(match.ports)}`;
    case "icmp": {
      const type = match.code === undefined ? `${number(match.type, 255)}` : `${match.type}/${number(match.code, 255)}`;
      return version === 4 ? `-m icmp ${not}--icmp-type ${type}` : `-m icmp6 ${not}--icmpv6-type ${type}`;
    }
    case "mark":
      return `-m mark ${not}--mark ${hex(match.value)}/${hex(match.mask)}`;
    case "interface": {
      const option = match.direction === "in" ? "--in-interface" : "--out-interface";
      return `${not}${option} ${interfaceName(match.name)}`;
    }
    case "conntrack":
      return `-m conntrack ${not}--ctstate ${match.states.map((state) => state.toUpperCase()).join(",")}`;
    case "dnatted":
      return `-m conntrack ${not}--ctstate DNAT`;
    case "local-address":
      return `-m addrtype ${not}${SIDE[match.side].type} LOCAL${match.onOutInterface ? " --limit-iface-out" : ""}`;
    case "reverse-path-failed":
      return "-m rpfilter --invert --validmark";
    case "ipvs":
      return `-m ipvs ${not}--ipvs`;
    case "limit":
      return `-m limit --limit ${word(match.rate)} --limit-burst ${number(match.burst, 10_000)}`;
  }
}

const REJECT: Readonly<Record<"tcp-reset" | "icmp" | "admin", Readonly<Record<IpVersion, string>>>> = {
  "tcp-reset": { 4: "tcp-reset", 6: "tcp-reset" },
  icmp: { 4: "icmp-port-unreachable", 6: "icmp6-port-unreachable" },
  admin: { 4: "icmp-admin-prohibited", 6: "icmp6-adm-prohibited" },
};

function renderAction(action: Action, version: IpVersion): string {
  switch (action.do) {
    case "accept":
    case "drop":
    case "return":
    case "notrack":
      return `--jump ${action.do.toUpperCase()}`;
    case "reject":
      return `--jump REJECT --reject-with ${REJECT[action.with][version]}`;
    case "jump":
    case "goto":
      return `--${action.do} ${word(action.chain)}`;
    case "set-mark":
      return `--jump MARK --set-mark ${hex(action.value)}/${hex(action.mask)}`;
    case "save-mark":
    case "restore-mark":
      return `--jump CONNMARK --${action.do} --mask ${hex(action.mask)}`;
    case "log":
      // The kernel puts its own text right behind the prefix.
      return `--jump LOG --log-prefix ${quoted(`${printable(action.prefix).slice(0, LOG_PREFIX - 2)}: `, LOG_PREFIX)} --log-level 5`;
    case "nflog": {
      const size = action.size === undefined ? "" : ` --nflog-size ${number(action.size, 0xffffffff)}`;
      return `--jump NFLOG --nflog-group ${number(action.group, 0xffff)} --nflog-prefix ${quoted(action.prefix, NFLOG_PREFIX)}${size}`;
    }
    case "masquerade":
      return `--jump MASQUERADE${action.ports ? ` --to-ports ${span(action.ports)}` : ""}${random(action)}`;
    case "snat": {
      const to = withPort(action.address, action.ports && span(action.ports));
      return `--jump SNAT --to-source ${to}${random(action)}`;
    }
    case "dnat":
      return `--jump DNAT --to-destination ${withPort(action.address, action.port === undefined ? undefined : `${number(action.port, 0xffff)}`)}`;
    case "dscp":
      return `--jump DSCP --set-dscp ${number(action.value, 63)}`;
  }
}

const random = (action: { readonly fullyRandom?: boolean }): string => (action.fullyRandom ? " --random-fully" : "");
const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
const port = (value: number): number => number(value, 0xffff);
const span = ({ first, last }: PortRange): string => `${port(first)}-${port(last)}`;
const ports = (ranges: readonly PortRange[]): string =>
  ranges.map(({ first, last }) => (first === last ? `${port(first)}` : `${port(first)}:${port(last)}`)).join(",");

function withPort(address: string, ports: string | undefined): string {
  const text = word(address);
  if (ports === undefined) return text;
  return text.includes(":") ? `[${text}]:${ports}` : `${text}:${ports}`;
}

function number(value: number, max: number): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new RenderError(`${value} is not a number from 0 to ${max}`);
}

const WORD = /^[^\s"'\\!-][^\s"'\\]*$/;
/** A word that iptables-restore reads as one and as itself (it splits at blanks, and knows quotes and backslashes). */
function word(text: string): string {
  if (WORD.test(text)) return text;
  throw new RenderError(`${JSON.stringify(text)} cannot be written as one word`);
}

/** IFNAMSIZ is 16 with the terminator. `+` at the end is iptables' wildcard, so that no interface whose name ends in it can be meant. */
export function canMatchInterface(name: string): boolean {
  return Buffer.byteLength(name) <= 15 && WORD.test(name) && !/[+*]$/.test(name);
}

function interfaceName(name: string): string {
  if (name === "*") return "+";
  const wildcard = name.endsWith("*");
  const stem = wildcard ? name.slice(0, -1) : name;
  if (!wildcard && !canMatchInterface(stem)) {
    throw new RenderError(`iptables cannot match an interface of the name ${JSON.stringify(name)}`);
  }
  return wildcard ? `${word(stem)}+` : stem;
}

/** What somebody may have put in to break a line, an underscore; upstream's rule for what is safe. */
const printable = (text: string): string => text.replace(/[^a-zA-Z0-9 _@%+=:,./|*()[\]{}<>#-]/g, "_");
const quoted = (text: string, max: number): string => `"${printable(text).slice(0, max)}"`;
