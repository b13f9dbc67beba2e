import { describe, expect, test } from "vitest";
import { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import { checkResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { clusterNetworkPolicyToPolicy } from "./clusternetworkpolicy.ts";

const POD = "projectcalico.org/orchestrator == 'k8s'";
const BASE = { tier: "Admin", priority: 300, subject: { namespaces: {} } };
const convert = (spec: unknown, metadata: object = {}) =>
  clusterNetworkPolicyToPolicy({ metadata: { name: "test.policy", ...metadata }, spec });
const specOf = (spec: object) => convert({ ...BASE, ...spec }).value!.spec;
const complaints = (spec: unknown) => convert(spec).problems.map(describeProblem);
const labels = (key: string) => ({ matchLabels: { [key]: "v" } });

test("a ClusterNetworkPolicy becomes the policy that upstream makes of it", () => {
  const object = {
    metadata: {
      name: "test.policy",
      uid: "30316465-6365-4463-ad63-3564622d3638",
      resourceVersion: "1234",
      creationTimestamp: "2026-01-31T12:00:00Z",
    },
    spec: {
      priority: 200,
      tier: "Admin",
      subject: { namespaces: { matchLabels: { label2: "value2", label: "value" } } },
      ingress: [
        {
          name: "A random ingress rule",
          action: "Accept",
          protocols: [
            { tcp: { destinationPort: { number: 80 } } },
            { tcp: { destinationPort: { range: { start: 2000, end: 3000 } } } },
          ],
          from: [{ namespaces: { matchLabels: { k: "v", k2: "v2" } } }],
        },
      ],
      egress: [{ action: "Pass", to: [{ networks: ["10.0.0.1/8", "fd00::/8"] }] }],
    },
  };
  const before = structuredClone(object);
  const { key, value, problems } = clusterNetworkPolicyToPolicy(object);
  expect(problems).toEqual([]);
  expect(key).toEqual({ kind: "KubernetesClusterNetworkPolicy", name: "test.policy" });
  expect(value).toEqual({
    apiVersion: "projectcalico.org/v3",
    kind: "GlobalNetworkPolicy",
    metadata: {
      name: "test.policy",
      uid: "0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c",
      resourceVersion: "1234",
      creationTimestamp: "2026-01-31T12:00:00Z",
    },
    spec: {
      tier: "kube-admin",
      order: 200,
      namespaceSelector: "label == 'value' && label2 == 'value2'",
      selector: POD,
      types: ["Ingress", "Egress"],
      ingress: [
        {
          action: "Allow",
          protocol: "TCP",
          source: { namespaceSelector: "k == 'v' && k2 == 'v2'" },
          destination: { ports: [80, "2000:3000"] },
          metadata: { annotations: { name: "A random ingress rule" } },
        },
      ],
      egress: [{ action: "Pass", source: {}, destination: { nets: ["10.0.0.0/8", "fd00::/8"] } }],
    },
  });
  expect(object).toEqual(before);
  value!.spec.egress![0]!.destination!.nets = ["10.0.0.0/8"];
  expect(checkResource(GlobalNetworkPolicy, value!)).toEqual([]);
});

test("tiers, and directions by the rules there are", () => {
  const rule = { action: "Deny", from: [{ pods: {} }], to: [{ pods: {} }] };
  expect(specOf({ tier: "Baseline", priority: 0 })).toEqual({
    tier: "kube-baseline",
    order: 0,
    namespaceSelector: "all()",
    selector: POD,
    types: [],
  });
  expect(specOf({ ingress: [rule] }).types).toEqual(["Ingress"]);
  expect(specOf({ egress: [rule] }).types).toEqual(["Egress"]);
});

test("without a priority it is the first, and that is said", () => {
  const { value, problems } = convert({ ...BASE, priority: undefined });
  expect(value?.spec.order).toBe(0);
  expect(problems.map(describeProblem)).toEqual([expect.stringContaining("spec.priority: is missing")]);
});

describe("subjects", () => {
  test.each<[object, object]>([
    [{ namespaces: {} }, { namespaceSelector: "all()", selector: POD }],
    [{ namespaces: labels("n") }, { namespaceSelector: "n == 'v'", selector: POD }],
    [{ pods: {} }, { namespaceSelector: "all()", selector: POD }],
    [{ pods: { podSelector: labels("k") } }, { namespaceSelector: "all()", selector: `${POD} && k == 'v'` }],
    [
      { pods: { podSelector: labels("k"), namespaceSelector: labels("n") } },
      { namespaceSelector: "n == 'v'", selector: `${POD} && k == 'v'` },
    ],
    [
      { namespaces: labels("n"), pods: { podSelector: labels("k") } },
      { namespaceSelector: "n == 'v'", selector: POD },
    ],
  ])("%j", (subject, expected) => expect(specOf({ subject })).toMatchObject(expected));
});

describe("peers", () => {
  const ingress = (from: unknown) => specOf({ ingress: [{ action: "Accept", from: [from] }] }).ingress?.[0]?.source;
  const egress = (to: unknown) => specOf({ egress: [{ action: "Accept", to: [to] }] }).egress?.[0]?.destination;
  test.each<[object, object]>([
    [{ namespaces: {} }, { namespaceSelector: "all()" }],
    [{ namespaces: labels("n") }, { namespaceSelector: "n == 'v'" }],
    [{ pods: {} }, { namespaceSelector: "all()", selector: POD }],
    [
      { pods: { podSelector: labels("k"), namespaceSelector: labels("n") } },
      { namespaceSelector: "n == 'v'", selector: `${POD} && k == 'v'` },
    ],
    [
      { namespaces: labels("x"), pods: {} },
      { namespaceSelector: "all()", selector: POD },
    ],
  ])("%j", (peer, expected) => {
    expect(ingress(peer)).toEqual(expected);
    expect(egress(peer)).toEqual(expected);
  });

  test("networks, for egress", () => {
    expect(egress({ networks: ["0.0.0.0/0"] })).toEqual({ nets: ["0.0.0.0/0"] });
  });
});

describe("protocols", () => {
  const tcp = (destinationPort: object) => ({ tcp: { destinationPort } });
  const matches = (...protocols: unknown[]) =>
    specOf({ ingress: [{ action: "Accept", from: [{ pods: {} }], protocols }] }).ingress?.map((rule) => [
      rule.protocol,
      rule.destination?.ports,
    ]);
  test.each<[unknown[], unknown]>([
    [[], [[undefined, undefined]]],
    [[{ tcp: {} }], [["TCP", undefined]]],
    [[tcp({ number: 80 }), { tcp: {} }], [["TCP", undefined]]],
    [[tcp({ number: 81 }), tcp({ number: 80 })], [["TCP", ["80:81"]]]],
    [[tcp({ range: { start: 80, end: 80 } })], [["TCP", [80]]]],
    [[{ destinationNamedPort: "http" }, { destinationNamedPort: "dns" }], [[undefined, ["http", "dns"]]]],
    [
      [
        { udp: { destinationPort: { number: 53 } } },
        { sctp: {} },
        { destinationNamedPort: "http" },
        tcp({ number: 53 }),
      ],
      [
        [undefined, ["http"]],
        ["SCTP", undefined],
        ["TCP", [53]],
        ["UDP", [53]],
      ],
    ],
  ])("%j", (protocols, expected) => expect(matches(...protocols)).toEqual(expected));
});

describe("a rule that cannot be converted", () => {
  const peer = { from: [{ pods: {} }], to: [{ pods: {} }] };
  const protocols = (entry: unknown) => ({ ...peer, protocols: [{ udp: {} }, entry] });
  const DENY = { action: "Deny", source: {}, destination: {} };
  const both: [object, string][] = [
    [{ from: [], to: [] }, "needs at least one peer"],
    [{ from: [{}], to: [{}] }, "must have one of namespaces, pods"],
    [{ from: [{ nodes: {} }], to: [{ nodes: {} }] }, "must have one of namespaces, pods"],
    [{ from: [{ pods: 1 }], to: [{ pods: 1 }] }, "must be an object"],
    [protocols({}), "must have one of tcp, udp, sctp, destinationNamedPort"],
    [protocols({ icmp: {} }), "must have one of tcp, udp, sctp, destinationNamedPort"],
    [protocols({ tcp: {}, udp: {} }), "must have one of tcp, udp, sctp, destinationNamedPort"],
    [protocols({ tcp: { destinationPort: {} } }), "must have a number or a range"],
    [protocols({ tcp: { destinationPort: { number: 0 } } }), "must be an integer from 1 to 65535"],
    [
      protocols({ tcp: { destinationPort: { number: 1, range: { start: 1, end: 2 } } } }),
      "must have a number or a range",
    ],
    [protocols({ tcp: { destinationPort: { range: { start: 40, end: 20 } } } }), "ends before it begins: 40:20"],
    [protocols({ tcp: { destinationPort: { range: { start: 40 } } } }), "must have a start and an end"],
    [protocols({ destinationNamedPort: "80" }), "must be the name of a port"],
    [protocols({ destinationNamedPort: "a:b" }), "must be the name of a port"],
  ];
  const egressOnly: [object, string][] = [
    [{ to: [{ networks: [] }] }, "must not be empty"],
    [{ to: [{ networks: ["10.0.0.0/33"] }] }, "must be a CIDR"],
    [{ to: [{ networks: ["10.0.0.0/8"], pods: {} }] }, "must have one of namespaces, pods, networks"],
    [{ to: [{ domainNames: ["kubernetes.io"] }] }, "must have one of namespaces, pods, networks"],
  ];

  test.each(
    both
      .flatMap(([rule, text]) => [["ingress", rule, text] as const, ["egress", rule, text] as const])
      .concat(egressOnly.map(([rule, text]) => ["egress", rule, text] as const)),
  )("%s %j", (direction, rule, text) => {
    for (const [action, instead] of [
      ["Accept", []],
      ["Deny", [DENY]],
      ["Pass", [DENY]],
    ] as const) {
      const good = { action: "Pass", ...peer };
      const { value, problems } = convert({ ...BASE, [direction]: [good, { action, ...rule }, good] });
      const rules = value!.spec[direction]!;
      expect(rules.slice(1, -1)).toEqual(instead);
      expect(problems.map(({ path }) => path)).toEqual([`spec.${direction}[1]`]);
      expect(problems[0]?.message).toContain(text);
      expect(problems[0]?.message).toContain(instead.length > 0 ? "denies everything" : "accepts nothing");
    }
  });

  test("an unknown action accepts nothing", () => {
    const { value, problems } = convert({ ...BASE, ingress: [{ action: "Log", ...peer }] });
    expect(value?.spec.ingress).toBeUndefined();
    expect(problems).toHaveLength(1);
  });
});

test.each<[unknown, string]>([
  [{ ...BASE, tier: "invalid" }, 'spec.tier: "invalid": must be Admin or Baseline'],
  [{ ...BASE, tier: undefined }, "spec.tier: must be Admin or Baseline"],
  [{ ...BASE, subject: {} }, "spec.subject: {}: must have namespaces or pods"],
  [
    { ...BASE, subject: { namespaces: { matchExpressions: [{ key: "a", operator: "Gt" }] } } },
    "spec.subject.namespaces",
  ],
  [{ ...BASE, priority: 1.5 }, "spec.priority: 1.5: must be an integer"],
])("%j is no policy, but is known by its key", (spec, complaint) => {
  const { key, value } = convert(spec);
  expect(key).toEqual({ kind: "KubernetesClusterNetworkPolicy", name: "test.policy" });
  expect(value).toBeUndefined();
  expect(complaints(spec)).toEqual([expect.stringContaining(complaint)]);
});
