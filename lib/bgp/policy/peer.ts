/** A peer's import and export filters as policies. */
import { createHash } from "node:crypto";
import {
  type Family,
  isInternal,
  type NodeBgp,
  OVERRIDE_PREFERENCE,
  type Peer,
  PRIORITY_BASE,
} from "../model/index.ts";
import { DEFAULT_LOCAL_PREF, type Policy, type Route, type Verdict } from "../rib/index.ts";
import type { PathAttributes } from "../wire/index.ts";
import { type Change, dropLocalPref, setLocalPref } from "./changes.ts";
import { goesOut, groundOf } from "./ground.ts";
import { type CompiledRule, compileRules } from "./rules.ts";

/**
 * What is taken of a peer: everything, unless a BGPFilter says otherwise. A LOCAL_PREF above that of normal priority gives
 * {@link OVERRIDE_PREFERENCE}; one that came from another AS is taken off.
 *
 * Throws a RangeError for a CIDR that is none.
 */
export function importPolicy(model: NodeBgp, family: Family, peer: Peer): Policy {
  const { bgp } = groundOf(model, family);
  const external = !isInternal(model, peer);
  const { rules, source, asksPrefix } = compileRules(model, family, peer, "import");
  const elevated = (PRIORITY_BASE - bgp.normalPriority) >>> 0;
  const verdicts = new Verdicts();
  const decide = (route: Route): Verdict => {
    const { attributes } = route;
    const known = external ? undefined : attributes.localPref;
    const taken = external && attributes.localPref !== undefined ? dropLocalPref.apply(attributes) : attributes;
    const localPref = known ?? DEFAULT_LOCAL_PREF;
    const rule = firstMatch(rules, route, localPref);
    if (rule) return rule.accepts ? verdicts.of(rule.change?.apply(taken) ?? taken) : undefined;
    return verdicts.of(taken, localPref > elevated ? OVERRIDE_PREFERENCE : undefined);
  };
  return {
    decide,
    ignoresPrefix: !asksPrefix,
    key: keyOf(["import", family, external, bgp.normalPriority, source]),
  };
}

/**
 * What goes to a peer: blocks, pools and services of this node, and what it passes on, by BGPFilters first and the node's own rules then. Local routes
 * get the LOCAL_PREF of their metric.
 *
 * Throws a RangeError for a CIDR that is none.
 */
export function exportPolicy(model: NodeBgp, family: Family, peer: Peer): Policy {
  const ground = groundOf(model, family);
  const internal = isInternal(model, peer);
  const { rules, source } = compileRules(model, family, peer, "export");
  const { normalPriority } = ground.bgp;
  const priorities = new Priorities();
  const verdicts = new Verdicts();
  const decide = (route: Route): Verdict => {
    const local = route.source !== "bgp";
    const metric = local
      ? (route.metric ?? normalPriority)
      : (PRIORITY_BASE - (route.attributes.localPref ?? DEFAULT_LOCAL_PREF)) >>> 0;
    const localPref = (PRIORITY_BASE - metric) >>> 0;
    const rule = rules.length > 0 ? firstMatch(rules, route, localPref) : undefined;
    if (rule) {
      if (!rule.accepts) return undefined;
      const attributes = local ? priorities.of(localPref).apply(route.attributes) : route.attributes;
      return verdicts.of(rule.change?.apply(attributes) ?? attributes);
    }
    if (!goesOut(ground, route.prefix, route.interface ?? "", metric, internal)) return undefined;
    let attributes = local ? priorities.of(localPref).apply(route.attributes) : route.attributes;
    for (const { net, change } of ground.communities) {
      if (net.covers(route.prefix)) attributes = change.apply(attributes);
    }
    return verdicts.of(attributes);
  };
  return { decide, ignoresPrefix: false, key: keyOf(["export", internal, ground.digest, source]) };
}

function firstMatch(rules: readonly CompiledRule[], route: Route, localPref: number): CompiledRule | undefined {
  for (const rule of rules) if (rule.matches(route, localPref)) return rule;
  return undefined;
}

function keyOf(parts: readonly unknown[]): string {
  return createHash("sha256").update(JSON.stringify(parts)).digest("base64");
}

/** Runs of prefixes have the same attributes: their verdict is made once. */
class Verdicts {
  #last: NonNullable<Verdict> | undefined;

  of(attributes: PathAttributes, preference?: number): NonNullable<Verdict> {
    const last = this.#last;
    if (last !== undefined && last.attributes === attributes && last.preference === preference) return last;
    const verdict = preference === undefined ? { attributes } : { attributes, preference };
    this.#last = verdict;
    return verdict;
  }
}

/** Metrics are few: a change is kept of each. */
class Priorities {
  readonly #changes = new Map<number, Change>();

  of(localPref: number): Change {
    let change = this.#changes.get(localPref);
    if (!change) {
      if (this.#changes.size >= 1024) this.#changes.clear();
      change = setLocalPref(localPref);
      this.#changes.set(localPref, change);
    }
    return change;
  }
}
