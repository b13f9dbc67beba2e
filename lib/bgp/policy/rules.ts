/** BGPFilters of a peer as one list of rules: the first that matches decides, none leaves it to what follows. */
import {
  type Direction,
  type Family,
  type Filter,
  type FilterRule,
  isInternal,
  type NodeBgp,
  type Peer,
  PRIORITY_BASE,
  rulesOf,
} from "../model/index.ts";
import type { Prefix, Route } from "../rib/index.ts";
import type { AsSegment } from "../wire/index.ts";
import { type Change, changeOf, hasCommunity, inOrder } from "./changes.ts";
import { matchesPattern } from "./pattern.ts";
import { Net } from "./prefixes.ts";

export interface CompiledRule {
  /** `localPref` as it stands where filters are asked. */
  matches(route: Route, localPref: number): boolean;
  readonly accepts: boolean;
  readonly change?: Change;
}

export interface CompiledRules {
  readonly rules: readonly CompiledRule[];
  /** The rules that they are of: what keys are made of. */
  readonly source: readonly FilterRule[];
  /** A rule asks for prefix or interface. */
  readonly asksPrefix: boolean;
}

/** A filter that does not exist is passed over; rules for the other type of peer are left out here and now. */
export function compileRules(model: NodeBgp, family: Family, peer: Peer, direction: Direction): CompiledRules {
  const type = isInternal(model, peer) ? "ibgp" : "ebgp";
  const source = peer.filters
    .flatMap((name) => (Object.hasOwn(model.filters, name) ? [model.filters[name] as Filter] : []))
    .flatMap((filter) => rulesOf(filter, direction, family))
    .filter((rule) => rule.peerType === undefined || rule.peerType === type);
  return {
    source,
    rules: source.map((rule) => compileRule(rule, family)),
    asksPrefix: source.some((rule) => rule.prefix !== undefined || rule.interface !== undefined),
  };
}

type Condition = (route: Route, localPref: number) => boolean;

function compileRule(rule: FilterRule, family: Family): CompiledRule {
  const conditions = conditionsOf(rule, family);
  const change = rule.action === "accept" ? inOrder(rule.operations.map(changeOf)) : undefined;
  return {
    matches: (route, localPref) => {
      for (const condition of conditions) if (!condition(route, localPref)) return false;
      return true;
    },
    accepts: rule.action === "accept",
    ...(change && { change }),
  };
}

function conditionsOf(rule: FilterRule, family: Family): Condition[] {
  const conditions: Condition[] = [];
  if (rule.prefix) conditions.push(prefixCondition(rule.prefix, family));
  if (rule.learned) conditions.push((route) => route.source === "bgp");
  if (rule.interface !== undefined) {
    const match = onceEach(rule.interface);
    conditions.push((route) => match(route.interface ?? ""));
  }
  if (rule.community) {
    const { community } = rule;
    conditions.push((route) => hasCommunity(route.attributes, community));
  }
  if (rule.asPathPrefix && rule.asPathPrefix.length > 0) {
    const asns = rule.asPathPrefix;
    conditions.push((route) => beginsWith(route.attributes.asPath, asns));
  }
  if (rule.priority !== undefined) {
    const wanted = (PRIORITY_BASE - rule.priority) >>> 0;
    conditions.push((_, localPref) => localPref === wanted);
  }
  return conditions;
}

function prefixCondition(match: NonNullable<FilterRule["prefix"]>, family: Family): Condition {
  const net = new Net(match.cidr, family);
  const { operator } = match;
  const negated = operator === "notEqual" || operator === "notIn";
  const ranged = match.minLength !== undefined || match.maxLength !== undefined;
  // A prefix and a set of prefixes are never equal in BIRD.
  if (ranged && (operator === "equal" || operator === "notEqual")) return () => negated;
  if (ranged) {
    const least = Math.max(net.length, match.minLength ?? net.length);
    const most = Math.min(family === 4 ? 32 : 128, match.maxLength ?? 128);
    const inside = (prefix: Prefix) => prefix.length >= least && prefix.length <= most && net.covers(prefix);
    return (route) => inside(route.prefix) !== negated;
  }
  return operator === "equal" || operator === "notEqual"
    ? (route) => net.equals(route.prefix) !== negated
    : (route) => net.covers(route.prefix) !== negated;
}

/** A pattern asked of few interfaces, many times. */
export function onceEach(...patterns: readonly string[]): (name: string) => boolean {
  const known = new Map<string, boolean>();
  return (name) => {
    let answer = known.get(name);
    if (answer === undefined) {
      // Pods come and go: their interfaces' names are not kept for ever.
      if (known.size >= 4096) known.clear();
      answer = patterns.some((pattern) => matchesPattern(pattern, name));
      known.set(name, answer);
    }
    return answer;
  };
}

/** BIRD's `[= a b * =]`: a set is one place, and matches each of its members. */
export function beginsWith(path: readonly AsSegment[], asns: readonly number[]): boolean {
  let place = 0;
  for (const { type, asns: members } of path) {
    if (type === "sequence" || type === "confederationSequence") {
      for (const asn of members) {
        if (place === asns.length) return true;
        if (asn !== asns[place]) return false;
        place++;
      }
    } else {
      if (place === asns.length) return true;
      if (!members.includes(asns[place] as number)) return false;
      place++;
    }
  }
  return place === asns.length;
}
