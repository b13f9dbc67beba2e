import { expect, test } from "vitest";
import { ALL_KINDS } from "../../api/registry.ts";
import { checkResource, completeResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { evaluate, makeState } from "./index.ts";
import { generateCase } from "./testing.ts";

const SEEDS = Array.from({ length: 30 }, (_, i) => i + 1);

test("the same seed gives the same case", () => {
  expect(generateCase(7)).toEqual(generateCase(7));
  expect(generateCase(7)).not.toEqual(generateCase(8));
});

test("all resources are valid", () => {
  for (const seed of SEEDS) {
    for (const input of generateCase(seed).inputs) {
      const resource = structuredClone(input.kind === "Policy" ? input.policy! : input.resource!);
      const kind = ALL_KINDS.find((one) => one.kind === resource.kind && one.apiVersion === resource.apiVersion)!;
      completeResource(kind, resource);
      // Deleting a staged policy says nothing else; the generator leaves in the rest, which nobody looks at.
      if ((resource.spec as { stagedAction?: string } | undefined)?.stagedAction === "Delete") continue;
      const found = checkResource(kind, resource).map(describeProblem);
      expect(found, `seed ${seed}: ${JSON.stringify(resource)}`).toEqual([]);
    }
  }
});

test("flows meet every kind of decision, and neither verdict is rare", () => {
  const counts = new Map<string, number>();
  for (const seed of [1, 2, 3].flatMap((part) => SEEDS.map((seed) => part * 1000 + seed))) {
    const { inputs, flows } = generateCase(seed);
    const state = makeState(inputs);
    for (const flow of flows) {
      const { verdict, steps } = evaluate(state, flow);
      const decisions = steps.map(({ traffic, by }) => `${traffic} ${by.kind}`);
      for (const key of [verdict, ...decisions]) counts.set(key, (counts.get(key) ?? 0) + 1);
    }
  }
  const total = counts.get("allow")! + counts.get("deny")!;
  for (const verdict of ["allow", "deny"]) expect(counts.get(verdict)! / total).toBeGreaterThan(0.2);
  for (const decision of [
    "normal rule",
    "normal tier",
    "normal profile",
    "normal missing-profile",
    "normal no-profile",
    "untracked rule",
    "untracked nothing",
    "preDNAT rule",
    "toHost endpoint-to-host",
    "toHost router",
  ]) {
    expect(counts.get(decision), decision).toBeGreaterThan(2);
  }
});

test("endpoints can be those that somebody has", () => {
  const workloads = [
    { namespace: "blue", pod: "one", node: "here", interfaceName: "cali1", ipv4: "10.9.0.1" },
    { namespace: "red", pod: "two", node: "here", ipv4: "10.9.0.2" },
  ];
  const options = { workloads, hostEndpoints: false, flowsBetweenWorkloads: true, protocols: [6], flows: 50 };
  for (const seed of SEEDS) {
    const { inputs, flows } = generateCase(seed, options);
    const endpoints = makeState(inputs).endpoints.map(({ node, interfaceName }) => `${node} ${interfaceName}`);
    expect(endpoints.sort()).toEqual(["here cali1", "here calitwo"]);
    expect(flows).toHaveLength(50);
    expect(flows.every(({ source, protocol }) => source.startsWith("10.9.0.") && protocol === 6)).toBe(true);
  }
});
