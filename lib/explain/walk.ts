import type { Rule } from "../api/rule.ts";
import { type EndpointTier, isStaged, type ParsedRule, type PolicyId, policyKey } from "../policy-agent/calc/index.ts";
import { type Ends, mismatches } from "./match.ts";
import type { Resources } from "./resources.ts";
import type {
  By,
  Decision,
  Direction,
  Packet,
  Traffic,
  VisitedPolicy,
  VisitedProfile,
  VisitedRule,
  VisitedTier,
} from "./types.ts";
import type { View } from "./view.ts";
import { byWords, parsedText, policyTitle, ruleText } from "./words.ts";

/** One packet at one endpoint. */
export interface Way {
  readonly view: View;
  readonly resources: Resources;
  readonly packet: Packet;
  readonly ends: Ends;
  readonly direction: Direction;
  readonly traffic: Traffic;
  readonly tiers: readonly EndpointTier[];
  readonly profiles: readonly string[];
}

export interface Walked {
  readonly decision: Decision;
  readonly tiers: readonly VisitedTier[];
  readonly profiles: readonly VisitedProfile[];
  readonly staged?: Decision;
}

/** Goes through tiers, policies, rules and profiles as the dataplane does, and notes what it meets. */
export function walk(way: Way): Walked {
  const visited = new Map<string, VisitedPolicy>();
  const visit = (id: PolicyId): VisitedPolicy => {
    const key = policyKey(id);
    const policy = visited.get(key) ?? visitPolicy(way, id);
    visited.set(key, policy);
    return policy;
  };
  const enforced = decide(way, visit, ({ kind }) => !isStaged(kind));

  const ids = way.tiers.flatMap((tier) => tier[way.direction]);
  if (!ids.some(({ kind }) => isStaged(kind))) return enforced;
  // A staged policy takes the place of the enforced one that it is to become.
  const replaced = new Set(ids.filter(({ kind }) => isStaged(kind)).map((id) => policyKey(unstaged(id))));
  const { decision: staged } = decide(way, visit, (id) => isStaged(id.kind) || !replaced.has(policyKey(id)));
  return { ...enforced, staged };
}

const unstaged = (id: PolicyId): PolicyId => ({ ...id, kind: id.kind.replace(/^Staged/, "") as PolicyId["kind"] });

function decide(way: Way, visit: (id: PolicyId) => VisitedPolicy, isEnforced: (id: PolicyId) => boolean): Walked {
  const { direction, traffic, resources } = way;
  const answer = (verdict: Decision["verdict"], by: By): Decision => ({ verdict, by, words: byWords(by, direction) });
  const isLast = traffic === "normal" || traffic === "forward";
  const tiers: VisitedTier[] = [];
  for (const { name, defaultAction, [direction]: ids } of way.tiers) {
    if (ids.length === 0) continue;
    const policies: VisitedPolicy[] = [];
    const order = resources.tierOrder(name);
    const end = (outcome: VisitedTier["outcome"]) => {
      const notAsked = ids.slice(policies.length).map(policyTitle);
      tiers.push({
        name,
        ...(order === undefined ? {} : { order }),
        defaultAction,
        policies,
        ...(notAsked.length === 0 ? {} : { notAsked }),
        outcome,
      });
    };
    let deciding: VisitedPolicy | undefined;
    for (const id of ids) {
      const policy = visit(id);
      policies.push(policy);
      if (policy.outcome === "none" || !isEnforced(id)) continue;
      deciding = policy;
      break;
    }
    if (deciding !== undefined && deciding.outcome !== "none") {
      end(deciding.outcome);
      if (deciding.outcome === "Pass") continue;
      const by: By = { kind: "rule", tier: name, policy: deciding.id, rule: indexOf(deciding.rules) };
      return { decision: answer(deciding.outcome === "Allow" ? "allow" : "deny", by), tiers, profiles: [] };
    }
    if (!ids.some(isEnforced)) end("staged");
    else if (!isLast || defaultAction === "Pass") end("default Pass");
    else {
      end("default Deny");
      return { decision: answer("deny", { kind: "tier", tier: name }), tiers, profiles: [] };
    }
  }
  if (traffic === "normal") return { ...askProfiles(way, answer), tiers };
  return { decision: answer(traffic === "forward" ? "allow" : "continue", { kind: "nothing" }), tiers, profiles: [] };
}

function askProfiles(
  way: Way,
  answer: (verdict: Decision["verdict"], by: By) => Decision,
): { readonly decision: Decision; readonly profiles: readonly VisitedProfile[] } {
  const profiles: VisitedProfile[] = [];
  for (const name of way.profiles) {
    const profile = way.view.profile(name);
    if (profile === undefined) {
      profiles.push({ name, exists: false, rules: [], outcome: "Deny" });
      return { decision: answer("deny", { kind: "missing-profile", profile: name }), profiles };
    }
    const rules = visitRules(way, profile[way.direction], {
      what: `Profile/${name}`,
      rules: way.resources.profileRules(name, way.direction),
    });
    const last = rules.at(-1);
    const action = last?.matched && last.action !== "Log" ? last.action : "none";
    // Pass in a profile leads to the next one.
    profiles.push({ name, exists: true, rules, outcome: action === "Pass" ? "none" : action });
    if (action === "none" || action === "Pass") continue;
    const by: By = { kind: "profile", profile: name, rule: indexOf(rules) };
    return { decision: answer(action === "Allow" ? "allow" : "deny", by), profiles };
  }
  return { decision: answer("deny", { kind: "no-profile" }), profiles };
}

/** The number of the last rule: the one that decided. */
const indexOf = (rules: readonly VisitedRule[]): number => Number(/\d+/.exec(rules.at(-1)?.path ?? "")?.[0] ?? -1);

function visitPolicy(way: Way, id: PolicyId): VisitedPolicy {
  const parsed = way.view.policy(id)?.[way.direction] ?? [];
  const rules = visitRules(way, parsed, {
    what: policyKey(id),
    rules: way.resources.policyRules(id, way.direction),
    ...(id.namespace !== undefined && { namespace: id.namespace }),
  });
  const order = way.resources.policyOrder(id);
  const last = rules.at(-1);
  return {
    id,
    title: policyTitle(id),
    ...(order === undefined ? {} : { order }),
    staged: isStaged(id.kind),
    rules,
    outcome: last?.matched && last.action !== "Log" ? last.action : "none",
  };
}

/** Where rules are stored, so that they can be shown as people wrote them. */
interface Stored {
  /** What the calculation calls the policy or profile. */
  readonly what: string;
  readonly rules: readonly Rule[];
  readonly namespace?: string;
}

/** The rules up to the first that decides. */
function visitRules(way: Way, parsed: readonly ParsedRule[], { what, rules, namespace }: Stored): VisitedRule[] {
  const { view, packet, ends, direction } = way;
  const leftOut = parsed.length === rules.length ? NONE : leftOutOf(view, what, direction, rules);
  const isAligned = parsed.length + leftOut.size === rules.length;
  const visited: VisitedRule[] = [];
  let at = 0;
  for (const rule of parsed) {
    for (; isAligned && leftOut.has(at); at++) visited.push(unread(direction, at, rules[at]!, leftOut.get(at) ?? []));
    const written = isAligned ? rules[at] : undefined;
    const reasons = mismatches(
      view,
      rule,
      { ...(written && { rule: written }), ...(namespace !== undefined && { namespace }) },
      packet,
      ends,
    );
    const matched = reasons.length === 0;
    const notes: string[] = [];
    if (rule.http && matched)
      notes.push("its http clause is not enforced in the kernel: it matches whatever the request");
    if (rule.action === "Log" && matched) notes.push("logs the packet and goes on to the next rule");
    if (written !== undefined && written.action !== rule.action) {
      notes.push(
        `it says ${written.action}, but a part of it cannot be read, so that it is enforced as ${rule.action}`,
      );
    }
    if (!isAligned && at === 0) {
      notes.push("rules that cannot be read are left out: numbers are of those that are left");
    }
    visited.push({
      path: `${direction}[${at}]`,
      action: rule.action,
      text: written === undefined ? parsedText(rule) : ruleText(written),
      matched,
      reasons,
      notes,
      ...(rule.http && { http: true }),
    });
    if (matched && rule.action !== "Log") return visited;
    at++;
  }
  for (; isAligned && leftOut.has(at); at++) visited.push(unread(direction, at, rules[at]!, leftOut.get(at) ?? []));
  return visited;
}

const NONE: ReadonlyMap<number, readonly string[]> = new Map();

/** The rules that are enforced as matching nothing, by number, each with why: nobody can read them, or whom their policy is for. */
function leftOutOf(
  view: View,
  what: string,
  direction: Direction,
  rules: readonly Rule[],
): ReadonlyMap<number, readonly string[]> {
  const unreadable = [...view.leftOut(what, direction)].map(
    ([at, reasons]) => [at, reasons.map((reason) => `it cannot be read: ${reason}`)] as const,
  );
  if (!view.isClosed(what)) return new Map(unreadable);
  const why = ["what the policy selects cannot be read (see the warnings), so that only its Deny rules count"];
  return new Map(rules.flatMap(({ action }, at) => (action === "Deny" ? [] : [[at, why] as const])));
}

const unread = (direction: Direction, index: number, rule: Rule, reasons: readonly string[]): VisitedRule => ({
  path: `${direction}[${index}]`,
  action: rule.action,
  text: ruleText(rule),
  matched: false,
  reasons,
  notes: [],
});
