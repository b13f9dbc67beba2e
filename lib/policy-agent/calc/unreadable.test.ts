import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Input, ParsedRule } from "./index.ts";
import {
  anyInput,
  globalPolicy,
  ingressOf,
  Mirror,
  oneRule,
  pod,
  removal,
  rule,
  selectorSetId,
  start,
  workload,
} from "./testing/index.ts";

describe("what cannot be read closes", () => {
  test.each<[string, object, ParsedRule | undefined]>([
    ["an Allow with a bad selector allows nothing", { action: "Allow", source: { selector: "((" } }, undefined],
    [
      "a Deny with one denies all that the rest says",
      { action: "Deny", protocol: "TCP", source: { selector: "((", nets: ["10.0.0.0/8"] } },
      {
        action: "Deny",
        protocol: 6,
        source: { nets: ["10.0.0.0/8"], sets: [selectorSetId(`projectcalico.org/namespace == "blue"`)] },
        destination: {},
      },
    ],
    [
      "a Pass with one denies",
      { action: "Pass", destination: { notSelector: 7 } },
      { action: "Deny", source: {}, destination: {} },
    ],
    ["a Log with one is left out", { action: "Log", source: { selector: "((" } }, undefined],
    [
      "an Allow without a network that can be read allows nothing",
      { action: "Allow", source: { nets: ["x", 5] } },
      undefined,
    ],
    [
      "an Allow with one that can be read allows that",
      { action: "Allow", source: { nets: ["x", "10.0.0.1"] } },
      { action: "Allow", source: { nets: ["10.0.0.1/32"] }, destination: {} },
    ],
    [
      "a Deny with one that cannot be read denies all",
      { action: "Deny", source: { nets: ["x", "10.0.0.1"] } },
      { action: "Deny", source: {}, destination: {} },
    ],
    [
      "an Allow with an exception that cannot be read allows nothing",
      { action: "Allow", source: { notNets: ["x"] } },
      undefined,
    ],
    [
      "a Deny with one denies the exception too",
      { action: "Deny", source: { notNets: ["x"] } },
      { action: "Deny", source: {}, destination: {} },
    ],
    ["an Allow of an unknown protocol allows nothing", { action: "Allow", protocol: "FTP" }, undefined],
    [
      "an Allow of ports that are none allows nothing",
      { action: "Allow", protocol: "TCP", destination: { ports: ["9:3"] } },
      undefined,
    ],
    ["an Allow of a service without a name allows nothing", { action: "Allow", source: { services: {} } }, undefined],
    ["an unknown action denies", { action: "Permit" }, { action: "Deny", source: {}, destination: {} }],
    ["what is no rule denies", "rule" as unknown as object, { action: "Deny", source: {}, destination: {} }],
  ])("%s", (_, given, wanted) => {
    const { rules, problems } = ingressOf({ ingress: [given] });
    expect(rules).toEqual(wanted === undefined ? [] : [wanted]);
    expect(problems.length).toBeGreaterThan(0);
  });

  test("a policy with a bad selector is for all that the rest of it selects, and allows nothing", () => {
    const { mirror, problems, rules } = ingressOf({
      selector: "app = 'web'",
      ingress: [rule("Allow"), rule("Deny", { protocol: "UDP" }), rule("Pass")],
    });
    expect(rules.map(({ action }) => action)).toEqual(["Deny"]);
    expect([...mirror.workloads.values()][0]?.tiers[0]?.ingress).toHaveLength(1);
    expect(problems[0]).toContain("NetworkPolicy/blue/p: selector");
  });

  test("what is no list of rules denies everything, and is about the direction", () => {
    const { rules, egress, problems } = ingressOf({
      ingress: { action: "Allow" },
      egress: "all",
    });
    expect([rules, egress]).toEqual([
      [{ action: "Deny", source: {}, destination: {} }],
      [{ action: "Deny", source: {}, destination: {} }],
    ]);
    expect(problems).toEqual([
      "NetworkPolicy/blue/p: ingress must be a list of rules; it denies everything",
      "NetworkPolicy/blue/p: egress must be a list of rules; it denies everything",
    ]);
  });

  test("a direction that there is not is reported", () => {
    const { problems, rules } = ingressOf({ types: ["Ingres", "ingress"], ingress: [rule("Allow")] });
    expect(rules).toHaveLength(1);
    expect(problems).toEqual([
      `NetworkPolicy/blue/p: types has "ingres", which is neither Ingress nor Egress; it does not count`,
    ]);
  });

  test("a global policy of whose endpoints nothing can be read is not enforced: it would close the whole cluster", () => {
    const { mirror, problems } = start([
      workload("blue", "a", ["10.0.0.1"]),
      globalPolicy("g", { selector: "app = 'web'", types: ["Ingress"] }),
      globalPolicy("some", { selector: "app = 'web'", namespaceSelector: "has(x)", types: ["Ingress"] }),
    ]);
    expect(mirror.policies.size).toBe(0);
    expect(problems.join()).toContain("GlobalNetworkPolicy/g: selector");
    expect(problems.join()).toContain("it is not enforced");
    expect(problems.join()).toContain("GlobalNetworkPolicy/some: selector");
    expect(problems.join()).toContain("it is for every endpoint that the rest of it selects");
  });

  test("a selector that is too deep only together with its namespace is one that cannot be read", () => {
    let deep = "has(a)";
    for (let i = 0; i < 256; i++) deep = i % 2 ? `(${deep} || has(b))` : `(${deep} && has(b))`;
    expect(oneRule(rule("Allow", { source: { selector: deep } }))).toBeUndefined();
    const { problems, mirror } = ingressOf({ selector: deep, ingress: [] });
    expect(problems).toHaveLength(1);
    expect(mirror.policies.size).toBe(1);
  });

  test("an endpoint without addresses is as good as absent; bad addresses are left out", () => {
    const bad = workload("blue", "bad", []);
    const half = workload("blue", "half", ["10.0.0.9", "10.0.0.999"]);
    const { mirror, problems } = start([bad, half]);
    expect([...mirror.workloads.values()].map(({ ipv4Nets }) => ipv4Nets)).toEqual([["10.0.0.9/32"]]);
    expect(problems).toHaveLength(1);
  });

  const anything = fc.anything({
    maxDepth: 4,
    key: fc.constantFrom(
      "metadata",
      "spec",
      "name",
      "labels",
      "selector",
      "ingress",
      "egress",
      "action",
      "source",
      "nets",
      "ports",
      "endpoints",
      "addresses",
      "types",
      "tier",
      "order",
      "ipNetworks",
      "profiles",
      "node",
      "bgp",
      "labelsToApply",
      "services",
      "0",
    ),
  });
  /** A resource with something anywhere in it replaced. */
  const spoiled = fc.tuple(anyInput, anything, fc.nat(40)).map(([input, junk, at]): Input => {
    let left = at;
    const copy = JSON.parse(JSON.stringify(input), (key, value) =>
      key !== "" && left-- === 0 ? junk : value,
    ) as Input;
    const body =
      input.kind === "Policy"
        ? { ...input, policy: (copy as { policy?: never }).policy }
        : { ...input, resource: (copy as { resource?: never }).resource };
    return body as Input;
  });

  test("nothing that a resource holds makes it throw, or leaves anything behind", () => {
    fc.assert(
      fc.property(fc.array(spoiled, { maxLength: 12 }), fc.array(anyInput, { maxLength: 8 }), (bad, good) => {
        const { tell, mirror, calc } = start([...bad, pod, ...good]);
        tell(...bad.toReversed(), ...good);
        tell(...bad.map(removal), ...good.map(removal), removal(pod));
        expect(mirror.snapshot()).toEqual(new Mirror().snapshot());
        expect(calc.stats()).toEqual({
          activeLocalEndpoints: 0,
          activeLocalPolicies: 0,
          activeLocalSelectors: 0,
          clusterHosts: 0,
          clusterHostEndpoints: 0,
          clusterWorkloadEndpoints: 0,
          clusterPolicies: 0,
          clusterProfiles: 0,
          clusterTiers: 0,
        });
      }),
      { numRuns: 500 },
    );
  });
});
