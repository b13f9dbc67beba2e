import { describe, expect, test } from "vitest";
import { parseResource } from "./registry.ts";
import { describeProblem } from "./schema.ts";

const KINDS = ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy", "StagedKubernetesNetworkPolicy"] as const;
const TIERED = ["StagedNetworkPolicy", "StagedGlobalNetworkPolicy"] as const;

const parse = (kind: string, spec: unknown, name = "x") =>
  parseResource({ apiVersion: "projectcalico.org/v3", kind, metadata: { name }, spec });
const problems = (kind: string, spec: unknown, name?: string) => parse(kind, spec, name).problems.map(describeProblem);

describe.each(KINDS)("%s", (kind) => {
  test("is to be set unless it says otherwise", () => {
    expect(parse(kind, {}).resource?.spec).toMatchObject({ stagedAction: "Set" });
    for (const stagedAction of ["Set", "Learn", "Ignore", "Delete"]) {
      expect(problems(kind, { stagedAction })).toEqual([]);
      expect(parse(kind, { stagedAction }).resource?.spec).toMatchObject({ stagedAction });
    }
    expect(problems(kind, { stagedAction: "Keep" })).toEqual([
      'spec.stagedAction: "Keep": must be one of Set, Delete, Learn, Ignore',
    ]);
  });

  test("that deletes a policy says nothing else of it", () => {
    const rules = kind === "StagedKubernetesNetworkPolicy" ? [{}] : [{ action: "Allow" }];
    const fields = kind === "StagedKubernetesNetworkPolicy" ? "stagedAction" : "stagedAction and tier";
    expect(problems(kind, { stagedAction: "Delete", ingress: [], egress: rules })).toEqual([
      `spec.egress: ${JSON.stringify(rules)}: must be absent where stagedAction is Delete; only ${fields} may be there`,
    ]);
  });
});

describe.each(TIERED)("%s, as what it stands for,", (kind) => {
  test("has a tier, its label and types", () => {
    expect(parse(kind, { egress: [{ action: "Allow" }], tier: "t" }).resource).toMatchObject({
      metadata: { labels: { "projectcalico.org/tier": "t" } },
      spec: { tier: "t", types: ["Egress"] },
    });
    expect(problems(kind, { stagedAction: "Delete", tier: "t", types: ["Egress"] })).toEqual([]);
  });

  test("is refused for the same reasons", () => {
    const enforced = kind.replace("Staged", "");
    for (const spec of [
      { selector: "global()" },
      { ingress: [{ action: "Allow", destination: { services: { name: "a", namespace: "b" } } }] },
      { ingress: [{ action: "Allow", protocol: "UDP", http: {} }] },
      { types: ["Ingress", "Ingress"] },
      ...(kind === "StagedGlobalNetworkPolicy"
        ? [{ preDNAT: true, doNotTrack: true, egress: [{ action: "Deny" }] }]
        : []),
    ]) {
      const found = problems(kind, spec);
      expect(found).not.toEqual([]);
      expect(found).toEqual(problems(enforced, spec));
    }
    for (const name of ["a", "a.b", "a.b.c", "knp.default.a.b", "UPPER", "-a"]) {
      expect(problems(kind, {}, name)).toEqual(problems(enforced, {}, name));
      expect(problems(kind, { stagedAction: "Delete" }, name)).toEqual(problems(enforced, {}, name));
    }
  });
});

describe("StagedKubernetesNetworkPolicy, as what it stands for,", () => {
  const kind = "StagedKubernetesNetworkPolicy";

  test("selects all pods of its namespace where it does not say which", () => {
    expect(parse(kind, { ingress: null }).resource?.spec).toEqual({ stagedAction: "Set", podSelector: {} });
  });

  test("is checked as Kubernetes does", () => {
    const spec = {
      podSelector: { matchExpressions: [{ key: "a", operator: "In" }] },
      policyTypes: ["Both"],
      ingress: [{ from: [{}] }],
      egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] } }], ports: [{ port: 5, endPort: 4 }] }],
    };
    expect(problems(kind, spec)).toEqual(['spec.policyTypes[0]: "Both": must be one of Ingress, Egress']);
    expect(problems(kind, { ...spec, policyTypes: ["Egress"] })).toEqual([
      "spec.podSelector.matchExpressions[0].values: is missing; the operator In needs at least one value",
      "spec.ingress[0].from[0]: must have podSelector, namespaceSelector or ipBlock; {} as a selector selects all",
      "spec.egress[0].ports[0].endPort: 4: must be 5, the port, or more",
      'spec.egress[0].to[0].ipBlock.except[0]: "11.0.0.0/8": must be a part of 10.0.0.0/8, and not all of it',
    ]);
  });
});
