/** Two opinions about the same flows: explain, which asks the calculation that nodes enforce by, and the oracle, which recomputes everything. */
import { describe, expect, test } from "vitest";
import type { Input, PolicyKind } from "../policy-agent/calc/index.ts";
import { type By, evaluate, evaluateEndpoint, makeState } from "../policy-agent/naive/index.ts";
import { generateCase } from "../policy-agent/naive/testing.ts";
import { createExplainer } from "./index.ts";

const CASES = 100;
const FLOWS = 20;

describe(`explain and the oracle agree on ${CASES * FLOWS} flows`, () => {
  for (let first = 0; first < CASES; first += 5) {
    test(`seeds ${first} to ${first + 4}`, () => {
      for (let seed = first; seed < first + 5; seed++) compare(seed);
    });
  }
});

function compare(seed: number): void {
  const { inputs, flows } = generateCase(seed, { flows: FLOWS });
  const state = makeState(inputs);
  const stagedState = makeState(inputs.map(enforced));
  const explainer = createExplainer(inputs);
  for (const [i, flow] of flows.entries()) {
    const explained = explainer.explain(flow);
    const wanted = evaluate(state, flow);
    const said = {
      verdict: explained.verdict,
      steps: explained.steps
        .filter(({ decision }) => decision.verdict !== "continue")
        .map(({ endpoint, direction, traffic, decision }) => ({
          endpoint: endpoint.name,
          direction,
          traffic,
          verdict: decision.verdict,
          by: decision.by,
        })),
    };
    const expected = {
      verdict: wanted.verdict,
      steps: wanted.steps
        .filter(({ verdict }) => verdict !== "continue")
        .map(({ endpoint, ...step }) => ({ ...step, endpoint: endpoint.name })),
    };
    const where = `seed ${seed}, flow ${i}: ${JSON.stringify(flow)}`;
    expect(said, where).toEqual(expected);

    for (const { endpoint, direction, traffic, decision, staged } of [...explained.steps, ...explained.onTheWay]) {
      const at = (one: typeof state) =>
        one.endpoints.find(({ kind, name }) => kind === endpoint.kind && name === endpoint.name)!;
      const { verdict, by } = decision;
      expect({ verdict, by }, where).toEqual(evaluateEndpoint(state, at(state), direction, flow, traffic));
      if (staged === undefined) continue;
      const wanted = evaluateEndpoint(stagedState, at(stagedState), direction, flow, traffic);
      expect({ verdict: staged.verdict, by: unstagedBy(staged.by) }, where).toEqual(wanted);
    }
  }
}

const unstaged = (kind: PolicyKind): PolicyKind => kind.replace(/^Staged/, "") as PolicyKind;

/** The policy that a staged one is to become. */
function enforced(input: Input): Input {
  if (input.kind !== "Policy") return input;
  const spec = (input.policy?.spec ?? {}) as { readonly stagedAction?: string };
  if (spec.stagedAction === "Delete") return input;
  return { ...input, id: { ...input.id, kind: unstaged(input.id.kind) } };
}

const unstagedBy = (by: By): By =>
  by.kind === "rule" ? { ...by, policy: { ...by.policy, kind: unstaged(by.policy.kind) } } : by;
