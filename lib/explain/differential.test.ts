/** Two opinions about the same flows: explain, which asks the calculation that nodes enforce by, and the oracle, which recomputes everything. */
import { describe, expect, test } from "vitest";
import type { Input, PolicyKind } from "../policy-agent/calc/index.ts";
import { type By, evaluate, evaluateEndpoint, makeState } from "../policy-agent/naive/index.ts";
import { generateCase, Random } from "../policy-agent/naive/testing.ts";
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

test("whatever a resource holds, a question is answered or refused", () => {
  const junk = [undefined, null, 0, -1, "", "(", "junk", [], [null], {}, { a: 1 }, true, ["10.0.0.0/99"], "10.0.0.0/8"];
  for (let seed = 0; seed < 60; seed++) {
    const random = new Random(seed);
    const { inputs, flows } = generateCase(seed, { flows: 5 });
    const damaged = structuredClone(inputs) as Input[];
    for (const input of random.some(damaged, 8)) {
      const body = input.kind === "Policy" ? input.policy : input.resource;
      spoil(random, body as unknown as Record<string, unknown>, junk);
    }
    const explainer = createExplainer(damaged);
    for (const flow of flows) {
      const { verdict } = explainer.explain(flow);
      expect(["allow", "deny"], `seed ${seed}`).toContain(verdict);
    }
  }
});

/** Puts something else into one field, somewhere in an object. */
function spoil(random: Random, object: Record<string, unknown>, junk: readonly unknown[]): void {
  const keys = Object.keys(object);
  if (keys.length === 0) return;
  const key = random.pick(keys);
  const inner = object[key];
  if (typeof inner === "object" && inner !== null && random.chance(0.8)) {
    spoil(random, inner as Record<string, unknown>, junk);
  } else object[key] = random.pick(junk);
}

function compare(seed: number): void {
  const { inputs, flows } = generateCase(seed, { flows: FLOWS });
  const state = makeState(inputs);
  const stagedState = makeState(inputs.map(enforced));
  const action = (["DROP", "ACCEPT", "RETURN"] as const)[seed % 3]!;
  const explainer = createExplainer(inputs, { endpointToHostAction: () => action });
  for (const [i, flow] of flows.entries()) {
    const explained = explainer.explain(flow);
    const wanted = evaluate(state, flow, action);
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
      if (traffic === "toHost") continue;
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
