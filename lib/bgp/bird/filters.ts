/** BGPFilters in BIRD's language, which is the same in 1.6 and 2 here: conditions, operations, and a function for each direction. */
import { createHash } from "node:crypto";
import {
  type Community,
  type Direction,
  type Family,
  type FilterOperation,
  type FilterRule,
  type NodeBgp,
  PRIORITY_BASE,
  rulesOf,
} from "../model/index.ts";
import { byText, ofResource, type Words } from "./words.ts";

/** Every filter that has rules of the family, in the order of their names. */
export function filterFunctions(model: NodeBgp, family: Family, words: Words): string[] {
  const lines: string[] = [];
  for (const filter of Object.values(model.filters).toSorted((a, b) => byText(a.name, b.name))) {
    for (const direction of ["import", "export"] as const) {
      const rules = rulesOf(filter, direction, family);
      if (rules.length === 0) continue;
      lines.push(ofResource(`BGPFilter ${filter.name}`));
      lines.push(
        `function ${functionName(filter.name, direction, family, words)}(${asksPeerType(rules) ? "bool is_same_as" : ""}) {`,
      );
      rules.forEach((rule, index) => {
        const of = `BGPFilter ${filter.name}: ${direction}V${family}[${index}]`;
        lines.push(`  ${ruleStatement(rule, family, of, words)}`);
      });
      lines.push("}");
    }
  }
  return lines;
}

/** The calls of a peer's filters; one that is not there, or has no rules of that direction, is passed over. */
export function filterCalls(
  model: NodeBgp,
  names: readonly string[],
  direction: Direction,
  family: Family,
  sameAs: boolean,
  words: Words,
): string[] {
  return names.flatMap((name) => {
    const filter = Object.hasOwn(model.filters, name) ? model.filters[name] : undefined;
    const rules = filter ? rulesOf(filter, direction, family) : [];
    if (!filter || rules.length === 0) return [];
    return [`${functionName(filter.name, direction, family, words)}(${asksPeerType(rules) ? sameAs : ""});`];
  });
}

/** Symbols have 64 characters at most: a longer name is cut, and a hash of the whole keeps it apart from others (upstream's TruncateAndHashName). */
function functionName(name: string, direction: Direction, family: Family, words: Words): string {
  const frame = `bgp__${direction}FilterV${family}`.length;
  const room = 64 - frame;
  const hash = () => createHash("sha256").update(name).digest("hex").toUpperCase().slice(0, 16);
  const short = name.length <= room ? name : `${name.slice(0, room - 17)}_${hash()}`;
  return words.quotedSymbol(`bgp_${short}_${direction}FilterV${family}`, `BGPFilter ${name}`);
}

function asksPeerType(rules: readonly FilterRule[]): boolean {
  return rules.some((rule) => rule.peerType !== undefined);
}

function ruleStatement(rule: FilterRule, family: Family, of: string, words: Words): string {
  const body = [
    ...(rule.action === "accept" ? operations(rule, of, words) : []),
    rule.action === "accept" ? "accept;" : "reject;",
  ].join(" ");
  const conditions = conditionsOf(rule, family, of, words);
  const statement = conditions.length > 0 ? `if (${conditions.join("&&")}) then { ${body} }` : body;
  if (rule.peerType === undefined) return statement;
  return `if (${rule.peerType === "ibgp" ? "" : "!"}is_same_as) then { ${statement} }`;
}

function conditionsOf(rule: FilterRule, family: Family, of: string, words: Words): string[] {
  const conditions: string[] = [];
  if (rule.prefix) conditions.push(prefixCondition(rule.prefix, family, of, words));
  if (rule.learned) conditions.push("((defined(source))&&(source ~ [ RTS_BGP ]))");
  if (rule.interface !== undefined) {
    conditions.push(`((defined(ifname))&&(ifname ~ ${words.text(rule.interface, `${of}.interface`)}))`);
  }
  if (rule.community)
    conditions.push(`(${communityPair(rule.community, of, words)} ~ ${communityList(rule.community)})`);
  if (rule.asPathPrefix && rule.asPathPrefix.length > 0) {
    const asns = rule.asPathPrefix.map((asn) => words.number(asn, `${of}.asPathPrefix`));
    conditions.push(`(bgp_path ~ [= ${asns.join(" ")} * =])`);
  }
  if (rule.priority !== undefined) {
    conditions.push(
      `(defined(bgp_local_pref)&&(bgp_local_pref = ${localPref(rule.priority, `${of}.priority`, words)}))`,
    );
  }
  return conditions;
}

const OPERATORS = { equal: "=", notEqual: "!=", in: "~", notIn: "!~" } as const;

function prefixCondition(prefix: NonNullable<FilterRule["prefix"]>, family: Family, of: string, words: Words): string {
  const cidr = words.cidr(prefix.cidr, family, `${of}.cidr`);
  const operator = OPERATORS[prefix.operator];
  if (prefix.minLength === undefined && prefix.maxLength === undefined) return `(net ${operator} ${cidr})`;
  const { least, most } = lengthsOf(prefix, family);
  // BIRD's parser refuses a set of a range with nothing in it, and with that the whole file.
  if (least > most) return prefix.operator === "notIn" || prefix.operator === "notEqual" ? "true" : "false";
  const range = `${words.number(least, `${of}.prefixLength`, 0, 128)},${words.number(most, `${of}.prefixLength`, 0, 128)}`;
  return `(net ${operator} [ ${cidr}{${range}} ])`;
}

/** The lengths a prefix set stands for: never shorter than its prefix, never longer than an address. */
function lengthsOf(prefix: NonNullable<FilterRule["prefix"]>, family: Family): { least: number; most: number } {
  const own = Number(prefix.cidr.slice(prefix.cidr.lastIndexOf("/") + 1));
  const longest = family === 4 ? 32 : 128;
  return {
    least: Math.max(own, prefix.minLength ?? own),
    most: Math.min(longest, prefix.maxLength ?? longest),
  };
}

function operations(rule: FilterRule, of: string, words: Words): string[] {
  return rule.operations.flatMap((operation) => operationStatements(operation, of, words));
}

function operationStatements(operation: FilterOperation, of: string, words: Words): string[] {
  switch (operation.kind) {
    case "addCommunity":
      return [addCommunity(operation.community, `${of}.operations`, words)];
    case "prependAsPath":
      // Each goes in front of those before it.
      return operation.asns.toReversed().map((asn) => `bgp_path.prepend(${words.number(asn, `${of}.operations`)});`);
    case "setPriority":
      return [`bgp_local_pref = ${localPref(operation.priority, `${of}.operations`, words)};`];
  }
}

export function addCommunity(community: Community, of: string, words: Words): string {
  return `${communityList(community)}.add(${communityPair(community, of, words)});`;
}

function communityPair(community: Community, of: string, words: Words): string {
  const most = community.length === 2 ? 65_535 : 4_294_967_295;
  return `(${community.map((part) => words.number(part, `${of}: community`, 0, most)).join(", ")})`;
}

function communityList(community: Community): string {
  return community.length === 2 ? "bgp_community" : "bgp_large_community";
}

function localPref(priority: number, of: string, words: Words): string {
  return words.number(PRIORITY_BASE - priority, `${of} (as LOCAL_PREF)`, 0, PRIORITY_BASE);
}
