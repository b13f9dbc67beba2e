/** A program as compact text, for tests, logs and people: one line a rule, matches before the arrow, the action after it. */
import type { PortRange } from "../calc/index.ts";
import type { Action, Chain, Dispatch, Match, Rule } from "./ir.ts";
import { TABLES } from "./ir.ts";
import type { Program } from "./program.ts";

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
const side = (value: "source" | "destination"): string => (value === "source" ? "src" : "dst");
const port = ({ first, last }: PortRange): string => (first === last ? `${first}` : `${first}-${last}`);
const local = (match: Extract<Match, { is: "local-address" }>): string =>
  `${side(match.side)}-local${match.onOutInterface ? "-on-out" : ""}`;

function printMatch(match: Match): string {
  const not = "not" in match && match.not ? "!" : "";
  switch (match.is) {
    case "protocol":
      return `${not}proto=${match.protocol}`;
    case "net":
      return `${not}${side(match.side)}=${match.net}`;
    case "set":
      return `${not}${side(match.side)}@${match.set}`;
    case "port-set":
      return `${not}${side(match.side)}-port@${match.set}`;
    case "ports":
      return `${not}${side(match.side)}-port=${match.ports.map(port).join(",")}`;
    case "icmp":
      return `${not}icmp=${match.type}${match.code === undefined ? "" : `/${match.code}`}`;
    case "mark":
      return `${not}mark=${hex(match.value)}/${hex(match.mask)}`;
    case "interface":
      return `${not}${match.direction}=${match.name}`;
    case "conntrack":
      return `${not}ct=${match.states.join(",")}`;
    case "dnatted":
      return `${not}dnatted`;
    case "local-address":
      return `${not}${local(match)}`;
    case "reverse-path-failed":
      return "rpf-failed";
    case "ipvs":
      return `${not}ipvs`;
    case "limit":
      return `limit=${match.rate},${match.burst}`;
  }
}

function printAction(action: Action): string {
  switch (action.do) {
    case "accept":
    case "drop":
    case "return":
    case "notrack":
      return action.do;
    case "reject":
      return `reject ${action.with}`;
    case "jump":
    case "goto":
      return `${action.do} ${action.chain}`;
    case "set-mark":
      return `set-mark ${hex(action.value)}/${hex(action.mask)}`;
    case "save-mark":
    case "restore-mark":
      return `${action.do} ${hex(action.mask)}`;
    case "log":
      return `log "${action.prefix}"`;
    case "nflog":
      return `nflog ${action.group} "${action.prefix}"${action.size === undefined ? "" : ` size ${action.size}`}`;
    case "masquerade":
    case "snat": {
      const address = action.do === "snat" ? ` ${action.address}` : "";
      const ports = action.ports ? ` ports ${port(action.ports)}` : "";
      return `${action.do}${address}${ports}${action.fullyRandom ? " random" : ""}`;
    }
    case "dnat":
      return `dnat ${action.address}${action.port === undefined ? "" : ` port ${action.port}`}`;
    case "dscp":
      return `dscp ${action.value}`;
  }
}

/** `proto=6 dst-port=80 -> set-mark 0x10000/0x10000  # comment`; without matches, `-> accept`. */
export function printRule(rule: Rule): string {
  const words = [...rule.match.map(printMatch), "->", printAction(rule.action)].join(" ");
  return rule.comment === undefined ? words : `${words}  # ${rule.comment}`;
}

/** Its name and a colon, then its rules, indented. */
export function printChain(chain: Chain): string {
  return [`${chain.name}:`, ...chain.rules.map((rule) => `  ${printRule(rule)}`)].join("\n");
}

function printDispatch({ name, direction, entries, otherwise }: Dispatch): string {
  return [
    `${name} by ${direction}:`,
    ...[...entries].map(([interfaceName, chain]) => `  ${interfaceName} -> goto ${chain}`),
    ...otherwise.map((rule) => `  * ${printRule(rule)}`),
  ].join("\n");
}

/** Everything, by table, sorted by name. */
export function printProgram(program: Program): string {
  const byName = <T extends { readonly name: string }>(all: Iterable<T>): T[] =>
    [...all].sort((a, b) => (a.name < b.name ? -1 : 1));
  const blocks = TABLES.flatMap((table) => [
    `== ${table}`,
    ...[...program.hooks(table)].map(([hook, { first, last }]) =>
      printChain({ name: hook, rules: [...first, ...last] }),
    ),
    ...byName(program.dispatches(table).values()).map(printDispatch),
    ...byName(program.chains(table).values()).map(printChain),
  ]);
  const sets = [...program.sets.values()]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, type, members }) => `set ${id} ${type}: ${[...members].sort().join(" ")}`);
  return [...blocks, ...sets].join("\n");
}
