import { describe, expect, test } from "vitest";
import { GlobalNetworkPolicy } from "./globalnetworkpolicy.ts";
import { NetworkPolicy } from "./networkpolicy.ts";
import { defaultTypes } from "./policy.ts";
import { parseResource } from "./registry.ts";
import { describeProblem } from "./schema.ts";

type Metadata = Readonly<Record<string, unknown>>;

const parse = (kind: string, spec: unknown, metadata: Metadata = {}) =>
  parseResource({ apiVersion: "projectcalico.org/v3", kind, metadata: { name: "x", ...metadata }, spec });
const problems = (kind: string, spec: unknown, metadata?: Metadata) =>
  parse(kind, spec, metadata).problems.map(describeProblem);

const allow = [{ action: "Allow" }];

describe.each(["NetworkPolicy", "GlobalNetworkPolicy"])("%s", (kind) => {
  test.each<[string, object, string[]]>([
    ["no rules", {}, ["Ingress"]],
    ["ingress rules", { ingress: allow }, ["Ingress"]],
    ["egress rules", { egress: allow }, ["Egress"]],
    ["both", { ingress: allow, egress: allow }, ["Ingress", "Egress"]],
    ["lists of no rules", { ingress: [], egress: [] }, ["Ingress"]],
    ["no types at all", { types: [], egress: allow }, ["Egress"]],
    ["null types", { types: null, egress: allow }, ["Egress"]],
    ["types that say less than the rules", { types: ["Egress"], ingress: allow }, ["Egress"]],
  ])("applies to the directions of its rules unless it says otherwise: %s", (_, spec, types) => {
    const { problems, resource } = parse(kind, spec);
    expect(problems).toEqual([]);
    expect(resource?.spec).toMatchObject({ types });
  });

  test.each<[string, object, Metadata, object]>([
    ["none", {}, {}, { "projectcalico.org/tier": "default" }],
    ["empty", { tier: "" }, { labels: { a: "b" } }, { a: "b", "projectcalico.org/tier": "default" }],
    ["another", { tier: "kube-admin" }, { labels: null }, { "projectcalico.org/tier": "kube-admin" }],
    [
      "other than the label",
      { tier: "t" },
      { labels: { "projectcalico.org/tier": "u" } },
      { "projectcalico.org/tier": "t" },
    ],
  ])("is labelled with its tier: %s", (_, spec, metadata, labels) => {
    const { problems, resource } = parse(kind, spec, metadata);
    expect(problems).toEqual([]);
    expect(resource?.metadata.labels).toEqual(labels);
    expect(resource?.spec).toMatchObject({ tier: Object.values(labels).at(-1) });
  });

  test.each<[string, object, string[]]>([
    [
      "a selector with global()",
      { selector: "global()" },
      ['spec.selector: "global()": must not use global(); it belongs in the namespaceSelector of a rule'],
    ],
    [
      "a service account selector with global()",
      { serviceAccountSelector: "has(a) && global()" },
      [
        'spec.serviceAccountSelector: "has(a) && global()": must not use global(); it belongs in the namespaceSelector of a rule',
      ],
    ],
    [
      "a direction twice",
      { types: ["Ingress", "Ingress"] },
      ['spec.types[1]: "Ingress": is in the list already; remove one'],
    ],
    ["another direction", { types: ["Both"] }, ['spec.types[0]: "Both": must be one of Ingress, Egress']],
    [
      "another hint",
      { performanceHints: ["Fast"] },
      ['spec.performanceHints[0]: "Fast": must be one of AssumeNeededOnEveryNode'],
    ],
    [
      "services on the wrong side",
      {
        ingress: [{ action: "Allow", destination: { services: { name: "s", namespace: "n" } } }],
        egress: [{ action: "Allow", source: { services: { name: "s", namespace: "n" } } }],
      },
      [
        'spec.ingress[0].destination.services: {"name":"s","namespace":"n"}: is for the source in ingress rules',
        'spec.egress[0].source.services: {"name":"s","namespace":"n"}: is for the destination in egress rules',
      ],
    ],
    [
      "HTTP on the way out",
      { egress: [{ action: "Allow", http: { methods: ["GET"] } }] },
      ['spec.egress[0].http: {"methods":["GET"]}: is for ingress rules only'],
    ],
    [
      "a rule that cannot be",
      { ingress: [{ action: "Allow", source: { ports: [80] } }] },
      ["spec.ingress[0].source.ports: [80]: needs a protocol that has ports: TCP, UDP or SCTP"],
    ],
    ["an order that is no number", { order: "1" }, ['spec.order: "1": must be a number']],
  ])("refuses %s", (_, spec, expected) => {
    expect(problems(kind, spec)).toEqual(expected);
  });

  test("has a name of one or two parts", () => {
    for (const name of ["a", "a-1", "default.a", "t.a-b"]) expect(problems(kind, {}, { name }), name).toEqual([]);
    const message = "must be a name of lower-case letters, digits and -, or two such names with a dot between them";
    expect(problems(kind, {}, { name: "a.b.c" })).toEqual([`metadata.name: "a.b.c": ${message}`]);
    const foreign = ["knp.default.a.b", "ossg.default.a"].flatMap((name) => problems(kind, {}, { name }));
    expect(foreign).toHaveLength(kind === "NetworkPolicy" ? 0 : 2);
  });
});

describe("a policy of the whole cluster", () => {
  test.each<[string, object, string[]]>([
    ["doNotTrack", { doNotTrack: true, applyOnForward: true, egress: allow }, []],
    ["preDNAT", { preDNAT: true, applyOnForward: true, ingress: allow }, []],
    ["a selector of namespaces", { namespaceSelector: "has(team)" }, []],
    [
      "both",
      { doNotTrack: true, preDNAT: true, applyOnForward: true },
      ["spec.preDNAT: true: cannot be true together with doNotTrack; make it two policies"],
    ],
    [
      "preDNAT with egress rules",
      { preDNAT: true, applyOnForward: true, types: ["Ingress"], egress: allow },
      ['spec.egress: [{"action":"Allow"}]: must be empty in a policy with preDNAT, which is for ingress only'],
    ],
    [
      "preDNAT with the type Egress",
      { preDNAT: true, applyOnForward: true, types: ["Ingress", "Egress"] },
      ['spec.types: ["Ingress","Egress"]: must be [Ingress] in a policy with preDNAT'],
    ],
    [
      "without applyOnForward",
      { preDNAT: true, applyOnForward: false },
      ["spec.applyOnForward: false: must be true in a policy with preDNAT"],
    ],
    [
      "a namespace selector with global()",
      { namespaceSelector: "global()" },
      ['spec.namespaceSelector: "global()": must not use global(); it belongs in the namespaceSelector of a rule'],
    ],
    [
      "a service of no namespace",
      { ingress: [{ action: "Allow", source: { services: { name: "s" } } }] },
      [
        "spec.ingress[0].source.services.namespace: is missing; it must be the namespace of the service, as the policy is in none",
      ],
    ],
  ])("may or may not have %s", (_, spec, expected) => {
    expect(problems("GlobalNetworkPolicy", spec)).toEqual(expected);
  });

  test("has fields that one of a namespace has not", () => {
    const spec = { doNotTrack: true, applyOnForward: true, preDNAT: true, namespaceSelector: "all()" };
    expect(parse("NetworkPolicy", spec).problems.map(({ path }) => path)).toEqual(
      Object.keys(spec).map((field) => `spec.${field}`),
    );
  });
});

test("a service of a policy in a namespace needs no namespace", () => {
  expect(
    problems("NetworkPolicy", { egress: [{ action: "Allow", destination: { services: { name: "s" } } }] }),
  ).toEqual([]);
});

test("a set's networks are addresses, each once", () => {
  for (const kind of ["NetworkSet", "GlobalNetworkSet"]) {
    expect(problems(kind, { nets: ["10.0.0.1/8", "10.0.0.1", "fd00::/64"] })).toEqual([]);
    expect(problems(kind, { nets: ["10.0.0.0/8", "10.0.0.0/8", "web"] })).toEqual([
      'spec.nets[1]: "10.0.0.0/8": is in the list already; remove one',
      'spec.nets[2]: "web": must be a CIDR such as 10.0.0.0/16 or fd00::/64, or an address',
    ]);
    expect(problems(kind, {}, { labels: { "projectcalico.org/namespace": "n" } })).toEqual([
      'metadata.labels["projectcalico.org/namespace"]: "n": is kept for the namespace of the object itself; use another label',
    ]);
  }
});

test("each kind of policy has a schema of its own", () => {
  expect(NetworkPolicy.spec).not.toBe(GlobalNetworkPolicy.spec);
  expect(defaultTypes(undefined, undefined)).toEqual(["Ingress"]);
});
