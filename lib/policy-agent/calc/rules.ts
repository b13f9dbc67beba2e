import { protocolNumber } from "../../api/protocol.ts";
import type { EntityRule, Rule } from "../../api/rule.ts";
import { type Node, parseSelector, selectorOf } from "../../selector/index.ts";
import { type SideSelectors, sideSelectors } from "./endpoint-selector.ts";
import { fieldsOf, isFields, labelsOf, listOf, textOf } from "./fields.ts";
import type { Icmp, ParsedRule, PortRange, RuleSide } from "./messages.ts";
import { netKey, netText } from "./nets.ts";
import { type PortProtocol, portSet, type SetDefinition, selectorSet, serviceSet } from "./set-definition.ts";

/** Rules as they are enforced, and the sets to which they refer. */
export interface ParsedRules {
  readonly ingress: readonly ParsedRule[];
  readonly egress: readonly ParsedRule[];
  readonly sets: ReadonlyMap<string, SetDefinition>;
}

/** A composed selector is longer than this before it can be too deep to be parsed again. */
const MAYBE_DEEP = 2000;

/**
 * Rules with selectors into rules with sets, as upstream's (felix/calc/rule_scanner.go): which selectors become one set, and which
 * ports of which endpoints, decides the ids of sets.
 *
 * A rule of which a part cannot be read still closes what it closes: an Allow then matches less than it might (nothing, where nothing of a
 * list can be read), a Deny more; a Pass, which would lead past rules that deny, becomes such a Deny; a Log is left out.
 */
export class RuleParser {
  readonly #sides = new Map<string, SideSelectors>();
  readonly #selectorSets = new Map<Node, SetDefinition>();

  /** `ingress` and `egress` are lists as they are stored. `closed`: nothing of them may let anything through. */
  parse(
    ingress: unknown,
    egress: unknown,
    namespace: string | undefined,
    closed: boolean,
    report: (where: string, why: string) => void,
  ): ParsedRules {
    const sets = new Map<string, SetDefinition>();
    const direction = (rules: unknown, name: string): ParsedRule[] => {
      const parsed: ParsedRule[] = [];
      for (const [i, rule] of listOf(rules).entries()) {
        const reader = new RuleReader(this, namespace, sets);
        const one = reader.read(fieldsOf(rule) as Partial<Rule>);
        for (const problem of reader.problems) report(`${name}[${i}]`, problem);
        if (one !== undefined && (!closed || one.action === "Deny")) parsed.push(one);
      }
      return parsed;
    };
    return { ingress: direction(ingress, "ingress"), egress: direction(egress, "egress"), sets };
  }

  /** Forgets what it remembers of selectors: they may never come again. */
  forget(): void {
    this.#sides.clear();
    this.#selectorSets.clear();
  }

  /** Many policies say the same of their peers. */
  sideSelectors(side: EntityRule, namespace: string | undefined): SideSelectors {
    const { selector, notSelector, namespaceSelector, serviceAccounts } = side;
    if (!selector && !notSelector && !namespaceSelector && !serviceAccounts) return NO_SELECTORS;
    const key =
      notSelector || namespaceSelector || serviceAccounts || typeof selector !== "string"
        ? JSON.stringify([namespace, selector, notSelector, namespaceSelector, serviceAccounts])
        : `${namespace ?? ""} ${selector}`;
    let found = this.#sides.get(key);
    if (found === undefined) {
      found = checkDepth(sideSelectors(side, namespace));
      this.#sides.set(key, found);
    }
    return found;
  }

  selectorSet(node: Node): SetDefinition {
    let found = this.#selectorSets.get(node);
    if (found === undefined) {
      found = selectorSet(node);
      this.#selectorSets.set(node, found);
    }
    return found;
  }
}

const NO_SELECTORS: SideSelectors = { problems: [], notProblems: [] };
const ACTIONS = ["Allow", "Deny", "Pass", "Log"] as const;

/** Parts that can each be read may together be deeper than a selector may be. */
function checkDepth(selectors: SideSelectors): SideSelectors {
  for (const node of [selectors.node, selectors.not]) {
    if (node === undefined) continue;
    const { text } = selectorOf(node);
    if (text.length < MAYBE_DEEP) continue;
    try {
      parseSelector(text);
    } catch (error) {
      return { problems: [error instanceof Error ? error.message : String(error)], notProblems: [] };
    }
  }
  return selectors;
}

class RuleReader {
  readonly problems: string[] = [];
  readonly #parser: RuleParser;
  readonly #namespace: string | undefined;
  readonly #sets: Map<string, SetDefinition>;
  /** Of the rule: what cannot be read makes it match more rather than less. */
  #widens = false;
  /** Something without which the rule would let too much through cannot be read. */
  #isLost = false;

  constructor(parser: RuleParser, namespace: string | undefined, sets: Map<string, SetDefinition>) {
    this.#parser = parser;
    this.#namespace = namespace;
    this.#sets = sets;
  }

  /** Undefined: the rule matches nothing. */
  read(rule: Partial<Rule>): ParsedRule | undefined {
    const known = ACTIONS.find((action) => action === rule.action);
    if (known === undefined) this.problems.push("action must be Allow, Deny, Pass or Log; the rule denies");
    const action = known ?? "Deny";
    this.#widens = action === "Deny" || action === "Pass";

    const protocol = this.#protocol("protocol", rule.protocol);
    const notProtocol = this.#protocol("notProtocol", rule.notProtocol);
    const ipVersion = this.#ipVersion(rule);
    const icmp = this.#icmp("icmp", rule.icmp);
    const notIcmp = this.#icmp("notICMP", rule.notICMP);
    const found = new Map<string, SetDefinition>();
    const use = (definition: SetDefinition): string => {
      found.set(definition.id, definition);
      return definition.id;
    };
    const source = this.#side("source", rule.source, protocol, use);
    const destination = this.#side("destination", rule.destination, protocol, use);
    const annotations = labelsOf(rule.metadata?.annotations);

    const isWhole = this.problems.length === 0;
    if (!isWhole && known !== undefined) this.problems.push(this.#consequence(action));
    if (this.#isLost || (!isWhole && action === "Log")) return undefined;
    for (const [id, definition] of found) this.#sets.set(id, definition);
    return {
      action: !isWhole && action === "Pass" ? "Deny" : action,
      ...(ipVersion !== undefined && { ipVersion }),
      ...(protocol !== undefined && { protocol }),
      ...(notProtocol !== undefined && { notProtocol }),
      ...(icmp && { icmp }),
      ...(notIcmp && { notIcmp }),
      source,
      destination,
      ...(isFields(rule.http) && { http: true as const }),
      ...(Object.keys(annotations).length > 0 && { metadata: { annotations } }),
    };
  }

  #consequence(action: Rule["action"]): string {
    if (action === "Log") return "the rule is left out";
    if (action === "Allow") return this.#isLost ? "the rule allows nothing" : "the rule allows what is left of it";
    return "the rule denies without this condition";
  }

  /** A condition that must hold cannot be read. */
  #lost(problem: string): undefined {
    this.problems.push(problem);
    if (!this.#widens) this.#isLost = true;
    return undefined;
  }

  #protocol(field: string, value: unknown): number | undefined {
    if (value === undefined || value === null || value === "") return undefined;
    const number = typeof value === "string" || typeof value === "number" ? protocolNumber(value) : undefined;
    if (number !== undefined && Number.isInteger(number) && number >= 0 && number <= 255) return number;
    return this.#lost(`${field} must be the name or number of an IP protocol`);
  }

  /** ICMP and ICMPv6 by name are of one IP version (felix/calc/rule_convert.go). */
  #ipVersion({ ipVersion, protocol }: Partial<Rule>): 4 | 6 | undefined {
    if (ipVersion === 4 || ipVersion === 6) return ipVersion;
    if (ipVersion !== undefined && ipVersion !== null) return this.#lost("ipVersion must be 4 or 6");
    const name = typeof protocol === "string" ? protocol.toLowerCase() : "";
    return name === "icmp" ? 4 : name === "icmpv6" ? 6 : undefined;
  }

  /** A code without a type says nothing. */
  #icmp(field: string, value: unknown): Icmp | undefined {
    const { type, code } = fieldsOf(value);
    if (type === undefined || type === null) return undefined;
    const isByte = (one: unknown): one is number =>
      typeof one === "number" && Number.isInteger(one) && one >= 0 && one <= 255;
    const hasCode = code !== undefined && code !== null;
    if (!isByte(type) || (hasCode && !isByte(code))) return this.#lost(`${field} must be numbers up to 255`);
    return hasCode ? { type, code: code as number } : { type };
  }

  #side(
    name: "source" | "destination",
    given: unknown,
    protocol: number | undefined,
    use: (definition: SetDefinition) => string,
  ): RuleSide {
    const side = fieldsOf(given) as EntityRule;
    if (isEmpty(side)) return ANY;
    const selectors = this.#parser.sideSelectors(side, this.#namespace);
    for (const problem of selectors.problems) this.#lost(`${name}.${problem}`);
    for (const problem of selectors.notProblems) this.#lost(`${name}.${problem}`);
    const { node, not } = selectors;

    const nets = this.#positive(`${name}.nets`, side.nets, net, "a CIDR or an address");
    const notNets = this.#negative(`${name}.notNets`, side.notNets, net, "a CIDR or an address");
    const ports = this.#positive(`${name}.ports`, side.ports, port, "a port, a range or a name");
    const notPorts = this.#negative(`${name}.notPorts`, side.notPorts, port, "a port, a range or a name");
    const [numbers, names] = apart(ports);
    const [notNumbers, notNames] = apart(notPorts);
    const of = portProtocol(protocol);
    const named = (list: readonly string[]) => list.map((one) => use(portSet(node, one, of)));

    const sets: string[] = [];
    // Named ports are those of the endpoints that the selector matches: beside them alone it has nothing to add.
    if (node !== undefined && (numbers.length > 0 || names.length === 0)) {
      sets.push(use(this.#parser.selectorSet(node)));
    }
    const portSets: string[] = [];
    const service = textOf(side.services?.name);
    if (isFields(side.services)) {
      if (service === "") this.#lost(`${name}.services.name must be the name of a service`);
      else {
        const namespace = textOf(side.services.namespace) || (this.#namespace ?? "");
        if (name === "destination") portSets.push(use(serviceSet(namespace, service, true)));
        else sets.push(use(serviceSet(namespace, service, false)));
      }
    }
    return compact({
      nets,
      notNets,
      sets,
      notSets: not === undefined ? [] : [use(this.#parser.selectorSet(not))],
      ports: numbers,
      notPorts: notNumbers,
      namedPorts: named(names),
      notNamedPorts: named(notNames),
      portSets,
    });
  }

  /** A list of which one must match: without what cannot be read it matches less. */
  #positive<T>(field: string, list: unknown, read: (item: unknown) => T | undefined, what: string): T[] {
    const items = this.#items(field, list);
    const found = items.map(read).filter((one) => one !== undefined);
    if (found.length === items.length) return found;
    const problem = `${field} must each be ${what}`;
    if (found.length === 0) this.#lost(problem);
    else this.problems.push(problem);
    return this.#widens ? [] : found;
  }

  /** A list of which none may match: without what cannot be read the rule matches more. */
  #negative<T>(field: string, list: unknown, read: (item: unknown) => T | undefined, what: string): T[] {
    const items = this.#items(field, list);
    const found = items.map(read).filter((one) => one !== undefined);
    if (found.length !== items.length) this.#lost(`${field} must each be ${what}`);
    return found;
  }

  #items(field: string, list: unknown): readonly unknown[] {
    if (list !== undefined && list !== null && !Array.isArray(list)) this.#lost(`${field} must be a list`);
    return listOf(list);
  }
}

const net = (value: unknown): string | undefined => {
  const key = netKey(textOf(value));
  return key === undefined ? undefined : netText(key);
};

/** A number, a range `first:last`, or the name of a port. */
function port(value: unknown): PortRange | string | undefined {
  const isPort = (one: number) => Number.isInteger(one) && one >= 0 && one <= 65535;
  if (typeof value === "number") return isPort(value) ? { first: value, last: value } : undefined;
  if (typeof value !== "string" || value === "") return undefined;
  const range = /^(\d+)(?::(\d+))?$/.exec(value);
  if (range === null) return value;
  const [first, last] = [Number(range[1]), Number(range[2] ?? range[1])];
  return isPort(first) && isPort(last) && first <= last ? { first, last } : undefined;
}

function apart(ports: readonly (PortRange | string)[]): [PortRange[], string[]] {
  return [ports.filter((one) => typeof one !== "string"), ports.filter((one) => typeof one === "string")];
}

/** Of endpoints' ports: those of another protocol than UDP and SCTP count as TCP's (felix/labelindex/ipsetmember). */
const portProtocol = (protocol: number | undefined): PortProtocol =>
  protocol === undefined ? "any" : protocol === 17 || protocol === 132 ? protocol : 6;

/** Without lists that are empty. */
function compact(side: { readonly [Field in keyof RuleSide]-?: NonNullable<RuleSide[Field]> }): RuleSide {
  const found: Record<string, RuleSide[keyof RuleSide]> = {};
  for (const field of Object.keys(side) as (keyof RuleSide)[]) if (side[field].length > 0) found[field] = side[field];
  return found;
}

/** Any address and port. */
const ANY: RuleSide = {};

function isEmpty(side: object): boolean {
  for (const _ in side) return false;
  return true;
}
