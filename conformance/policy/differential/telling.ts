/**
 * Of many flows, those that would find something out: of a random flow the rules that decide say little, and most clauses of most rules are never
 * what counts. So each clause of each rule is left out once, and flows are looked for about which the oracle then says otherwise.
 */
import type { Rule } from "../../../lib/api/rule.ts";
import { evaluate, type Flow, type Policy, type State } from "../../../lib/policy-agent/naive/index.ts";
import { ruleMatches } from "../../../lib/policy-agent/naive/testing.ts";

const DIRECTIONS = ["ingress", "egress"] as const;
/** How many flows that such a rule treats otherwise are asked about: for most, other rules decide either way. */
const TRIES = 8;

/** The telling ones first, then the others in their order. */
export function tellingFirst(state: State, flows: readonly Flow[]): Flow[] {
  const telling = new Set<Flow>();
  const verdicts = new Map<Flow, string>();
  const verdictOf = (flow: Flow): string => {
    const verdict = verdicts.get(flow) ?? evaluate(state, flow).verdict;
    verdicts.set(flow, verdict);
    return verdict;
  };
  for (const policy of state.policies) {
    if (policy.id.kind.startsWith("Staged")) continue;
    for (const direction of DIRECTIONS) {
      for (const [index, rule] of (policy.spec[direction] ?? []).entries()) {
        if (rule.action === "Log") continue;
        for (const other of withoutOneClause(rule)) {
          const found = telltale(state, flows, verdictOf, policy, direction, index, other);
          if (found !== undefined) telling.add(found);
        }
      }
    }
  }
  return [...telling, ...flows.filter((flow) => !telling.has(flow))];
}

function telltale(
  state: State,
  flows: readonly Flow[],
  verdictOf: (flow: Flow) => string,
  policy: Policy,
  direction: (typeof DIRECTIONS)[number],
  index: number,
  other: Rule,
): Flow | undefined {
  const rules = policy.spec[direction]!;
  const changed: Policy = { ...policy, spec: { ...policy.spec, [direction]: rules.with(index, other) } };
  const otherwise: State = { ...state, policies: state.policies.map((one) => (one === policy ? changed : one)) };
  const { namespace } = policy.id as { readonly namespace?: string };
  const rule = rules[index]!;
  let tries = TRIES;
  for (const flow of flows) {
    // What the rule matches it matches without the clause, too.
    if (!ruleMatches(state, other, namespace, flow) || ruleMatches(state, rule, namespace, flow)) continue;
    if (verdictOf(flow) !== evaluate(otherwise, flow).verdict) return flow;
    if (--tries === 0) break;
  }
  return undefined;
}

/** The rule without each of the things that it says of a packet. */
function withoutOneClause(rule: Rule): Rule[] {
  const { action: _, ...clauses } = rule;
  return Object.keys(clauses).flatMap((key): Rule[] => {
    if (key !== "source" && key !== "destination") return [without(rule, key)];
    const side = rule[key] ?? {};
    return Object.keys(side).map((clause) => ({ ...rule, [key]: without(side, clause) }));
  });
}

const without = <T extends object>(object: T, key: string): T =>
  Object.fromEntries(Object.entries(object).filter(([one]) => one !== key)) as T;
