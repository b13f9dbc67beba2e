import { describe, expect, test } from "vitest";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
import { checkResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { networkPolicyToPolicy } from "./networkpolicy.ts";

const POD = "projectcalico.org/orchestrator == 'k8s'";
const convert = (spec: unknown, metadata: object = {}) =>
  networkPolicyToPolicy({ metadata: { name: "test.policy", namespace: "default", ...metadata }, spec });
const specOf = (spec: unknown) => convert(spec).value!.spec;
const complaints = (spec: unknown) => convert(spec).problems.map(describeProblem);
/** The rules of one ingress rule. */
const ingress = (rule: unknown) => specOf({ ingress: [rule] }).ingress;
const egress = (rule: unknown) => specOf({ egress: [rule] }).egress;
const allow = (source: object, destination: object, protocol?: string) => ({
  action: "Allow",
  ...(protocol === undefined ? {} : { protocol }),
  source,
  destination,
});

test("a NetworkPolicy becomes the policy that upstream makes of it", () => {
  const object = {
    metadata: {
      name: "test.policy",
      namespace: "default",
      uid: "30316465-6365-4463-ad63-3564622d3638",
      resourceVersion: "1234",
      creationTimestamp: "2026-01-31T12:00:00Z",
      labels: { not: "copied" },
    },
    spec: {
      podSelector: { matchLabels: { label2: "value2", label: "value" } },
      ingress: [
        {
          ports: [{ port: 80 }, { port: "foo" }],
          from: [{ podSelector: { matchLabels: { k: "v", k2: "v2" } } }],
        },
      ],
      egress: [{ to: [{ ipBlock: { cidr: "10.0.0.1/8", except: ["10.1.0.0/16", "10.2.0.0/16"] } }] }],
      policyTypes: ["Egress", "Ingress"],
    },
  };
  const before = structuredClone(object);
  const { key, value, problems } = networkPolicyToPolicy(object);
  expect(problems).toEqual([]);
  expect(key).toEqual({ kind: "KubernetesNetworkPolicy", name: "test.policy", namespace: "default" });
  expect(value).toEqual({
    apiVersion: "projectcalico.org/v3",
    kind: "NetworkPolicy",
    metadata: {
      name: "test.policy",
      namespace: "default",
      uid: "0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c",
      resourceVersion: "1234",
      creationTimestamp: "2026-01-31T12:00:00Z",
    },
    spec: {
      tier: "default",
      order: 1000,
      selector: `${POD} && label == 'value' && label2 == 'value2'`,
      types: ["Ingress", "Egress"],
      ingress: [allow({ selector: `${POD} && k == 'v' && k2 == 'v2'` }, { ports: [80, "foo"] }, "TCP")],
      egress: [allow({}, { nets: ["10.0.0.0/8"], notNets: ["10.1.0.0/16", "10.2.0.0/16"] })],
    },
  });
  expect(checkResource(NetworkPolicy, value!)).toEqual([]);
  expect(object).toEqual(before);
});

describe("directions", () => {
  test.each<[object, string[]]>([
    [{ policyTypes: ["Ingress"] }, ["Ingress"]],
    [{ policyTypes: ["Egress"] }, ["Egress"]],
    [{ policyTypes: ["Egress", "Ingress"] }, ["Ingress", "Egress"]],
    [{ policyTypes: ["Ingress"], egress: [{}] }, ["Ingress"]],
    [{}, ["Ingress"]],
    [{ policyTypes: [], ingress: [{}] }, ["Ingress"]],
    [{ egress: [] }, ["Ingress"]],
    [{ egress: [{}] }, ["Ingress", "Egress"]],
    [{ egress: [{ ports: [{ port: "a:b" }] }] }, ["Ingress", "Egress"]],
    [{ policyTypes: ["ingress"] }, ["Ingress", "Egress"]],
  ])("%j", (spec, types) => expect(specOf(spec).types).toEqual(types));

  test("a policy without a spec isolates the namespace", () => {
    expect(specOf(undefined)).toEqual({ tier: "default", order: 1000, selector: POD, types: ["Ingress"] });
  });
});

describe("ports", () => {
  const ports = (...list: unknown[]) =>
    ingress({ ports: list })?.map(({ protocol, destination }) => [protocol, destination?.ports]);

  test.each<[unknown[], unknown]>([
    [[], [[undefined, undefined]]],
    [[{}], [["TCP", undefined]]],
    [[{ protocol: "UDP" }], [["UDP", undefined]]],
    [[{ port: 80 }], [["TCP", [80]]]],
    [[{ port: "80" }], [["TCP", [80]]]],
    [[{ port: 80 }, {}], [["TCP", undefined]]],
    [[{}, { port: 80 }], [["TCP", undefined]]],
    [[{ port: 80, endPort: 90 }], [["TCP", ["80:90"]]]],
    [[{ port: 80, endPort: 80 }], [["TCP", [80]]]],
    [[{ port: 90 }, { port: 80, endPort: 82 }, { port: 83 }], [["TCP", ["80:83", 90]]]],
    [[{ port: 80 }, { port: "http" }], [["TCP", [80, "http"]]]],
    [[{ port: 80 }, { port: "http" }, { port: 81 }], [["TCP", ["http", "80:81"]]]],
    [
      [{ port: 53, protocol: "UDP" }, { port: 53 }, { protocol: "SCTP" }, { port: 54, protocol: "UDP" }],
      [
        ["SCTP", undefined],
        ["TCP", [53]],
        ["UDP", ["53:54"]],
      ],
    ],
  ])("%j", (list, expected) => expect(ports(...list)).toEqual(expected));

  test("are the destination's in both directions", () => {
    expect(egress({ ports: [{ port: 53 }], to: [{ ipBlock: { cidr: "fd00::/8" } }] })).toEqual([
      allow({}, { ports: [53], nets: ["fd00::/8"] }, "TCP"),
    ]);
    expect(ingress({ ports: [{ port: 53 }], from: [{ ipBlock: { cidr: "fd00::/8" } }] })).toEqual([
      allow({ nets: ["fd00::/8"] }, { ports: [53] }, "TCP"),
    ]);
  });
});

describe("peers", () => {
  const peer = (from: unknown) => ingress({ from: [from] })?.map((rule) => rule.source);
  const labels = (key: string) => ({ matchLabels: { [key]: "v" } });

  test.each<[unknown, object]>([
    [{ podSelector: {} }, { selector: POD }],
    [{ podSelector: labels("k") }, { selector: `${POD} && k == 'v'` }],
    [{ namespaceSelector: {} }, { selector: POD, namespaceSelector: "all()" }],
    [{ namespaceSelector: labels("n") }, { selector: POD, namespaceSelector: "n == 'v'" }],
    [
      { podSelector: labels("k"), namespaceSelector: labels("n") },
      { selector: `${POD} && k == 'v'`, namespaceSelector: "n == 'v'" },
    ],
    [{ podSelector: labels("k"), namespaceSelector: null }, { selector: `${POD} && k == 'v'` }],
    [{ ipBlock: { cidr: "192.168.0.0/16" } }, { nets: ["192.168.0.0/16"] }],
    [{ ipBlock: { cidr: "FD00::1/64", except: ["fd00::/96"] } }, { nets: ["fd00::/64"], notNets: ["fd00::/96"] }],
  ])("%j", (from, expected) => expect(peer(from)).toEqual([expected]));

  test("a label that is null is the empty value, as to Go, and not left out: that would allow more", () => {
    expect(ingress({ from: [{ podSelector: { matchLabels: { role: null } } }] })).toEqual([
      allow({ selector: "projectcalico.org/orchestrator == 'k8s' && role == ''" }, {}),
    ]);
  });

  test("every operator of selectors", () => {
    const matchExpressions = [
      { key: "a", operator: "In", values: ["y", "x"] },
      { key: "b", operator: "NotIn", values: ["z"] },
      { key: "example.com/c", operator: "Exists" },
      { key: "d", operator: "DoesNotExist" },
    ];
    const selector = { matchLabels: { k: "v" }, matchExpressions };
    const terms = "k == 'v' && a in { 'y', 'x' } && b not in { 'z' } && has(example.com/c) && ! has(d)";
    expect(peer({ podSelector: selector })).toEqual([{ selector: `${POD} && ${terms}` }]);
    expect(peer({ namespaceSelector: selector })).toEqual([{ selector: POD, namespaceSelector: terms }]);
    expect(specOf({ podSelector: selector }).selector).toBe(`${POD} && ${terms}`);
  });

  test("one rule for each protocol and each peer, protocols outside", () => {
    const rule = { ports: [{ protocol: "UDP" }, {}], from: [{ podSelector: {} }, { ipBlock: { cidr: "10.0.0.0/8" } }] };
    expect(ingress(rule)).toEqual([
      allow({ selector: POD }, {}, "TCP"),
      allow({ nets: ["10.0.0.0/8"] }, {}, "TCP"),
      allow({ selector: POD }, {}, "UDP"),
      allow({ nets: ["10.0.0.0/8"] }, {}, "UDP"),
    ]);
  });

  test("none is anybody", () => expect(ingress({})).toEqual([allow({}, {})]));
});

describe("a rule that cannot be converted allows nothing, and is named", () => {
  const good = { ports: [{ port: 80 }] };
  const selector = (podSelector: unknown) => ({ from: [{ podSelector: {} }, { podSelector }] });
  test.each<[unknown, string]>([
    [{ ports: [{ port: 80 }, { port: "-50:-1" }] }, 'ports[1].port: "-50:-1": is no port'],
    [{ ports: [{ port: 0 }] }, "ports[0].port: 0: must be an integer from 1 to 65535"],
    [{ ports: [{ port: 65536 }] }, "ports[0].port: 65536: must be an integer from 1 to 65535"],
    [{ ports: [{ port: "" }] }, 'ports[0].port: "": is no port'],
    [{ ports: [{ port: {} }] }, "ports[0].port: {}: must be text"],
    [{ ports: [{ port: 90, endPort: 80 }] }, "ports[0].endPort: 80: makes no range with the port 90"],
    [{ ports: [{ port: "http", endPort: 80 }] }, "ports[0].endPort: 80: makes no range with the port http"],
    [{ ports: [{ endPort: 80 }] }, "ports[0].endPort: 80: needs a port"],
    [{ ports: [{ protocol: "ICMP" }] }, 'ports[0].protocol: "ICMP": must be TCP, UDP or SCTP'],
    [{ ports: 80 }, "ports: 80: must be a list"],
    [{ from: {} }, "from: {}: must be a list"],
    [{ from: [{}] }, "from[0]: {}: must have a podSelector, a namespaceSelector or an ipBlock"],
    [{ from: [{ ipBlock: {} }] }, "from[0].ipBlock.cidr: must be a CIDR such as 10.0.0.0/16 or fd00::/64"],
    [{ from: [{ ipBlock: { cidr: "10.0.0.0/55" } }] }, 'ipBlock.cidr: "10.0.0.0/55": must be a CIDR'],
    [{ from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["x"] } }] }, 'ipBlock.except[0]: "x": must be a CIDR'],
    [{ from: [{ ipBlock: { cidr: "10.0.0.0/8" }, podSelector: {} }] }, "cannot be combined with selectors"],
    [selector({ matchExpressions: [{ key: "a", operator: "Gt" }] }), 'operator: "Gt": must be In, NotIn, Exists'],
    [selector({ matchExpressions: [{ key: "a", operator: "In" }] }), "must not be empty for the operator In"],
    [selector({ matchExpressions: [{ operator: "Exists" }] }), "must be the key of a label"],
    [selector({ matchLabels: { "a b": "c" } }), "must be the key of a label"],
    [selector({ matchLabels: { a: "' || all() || a == '" } }), "must be the value of a label, without quotes"],
    [selector({ matchLabels: { a: 1 } }), "matchLabels.a: 1: must be text"],
    [selector("all"), 'podSelector: "all": must be an object'],
    [null, "must be an object"],
    ["x", "must be an object"],
  ])("%j", (rule, complaint) => {
    const spec = { ingress: [rule, good], policyTypes: ["Ingress"] };
    expect(specOf(spec).ingress).toEqual([allow({}, { ports: [80] }, "TCP")]);
    expect(complaints(spec)).toHaveLength(1);
    expect(complaints(spec)[0]).toMatch(/^spec\.ingress\[0\]: .*allows nothing: /);
    expect(complaints(spec)[0]).toContain(complaint);
  });

  test("each of several, in both directions", () => {
    const bad = { ports: [{ port: "a:b" }] };
    expect(complaints({ ingress: [bad, good, bad], egress: [bad] }).map((text) => text.split(": ")[0])).toEqual([
      "spec.ingress[0]",
      "spec.ingress[2]",
      "spec.egress[0]",
    ]);
  });
});

test("where the pods cannot be told, all of the namespace are isolated", () => {
  const { value, problems } = convert({
    podSelector: { matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] },
    ingress: [{}],
    egress: [{}],
    policyTypes: ["Ingress", "Egress"],
  });
  expect(value?.spec).toEqual({ tier: "default", order: 1000, selector: POD, types: ["Ingress", "Egress"] });
  expect(problems.map(describeProblem)).toEqual([expect.stringContaining("isolates every pod of the namespace")]);
});

test("without a name or a namespace there is no policy", () => {
  expect(networkPolicyToPolicy({})).toEqual({ problems: [{ path: "metadata.name", message: "is missing" }] });
  const { key, value, problems } = convert({}, { namespace: undefined });
  expect(key).toEqual({ kind: "KubernetesNetworkPolicy", name: "test.policy", namespace: "" });
  expect(value).toBeUndefined();
  expect(problems.map(describeProblem)).toEqual(["metadata.namespace: is missing"]);
});

test("an odd uid costs no more than itself", () => {
  const { value, problems } = convert({}, { uid: "odd" });
  expect(value?.metadata).toEqual({ name: "test.policy", namespace: "default" });
  expect(problems).toHaveLength(1);
});
