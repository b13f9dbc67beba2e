import fc from "fast-check";
import { expect, test } from "vitest";
import type { EntityRule, Rule } from "../../api/rule.ts";
import { describeProblem } from "../../api/schema.ts";
import { parseSelector } from "../../selector/index.ts";
import {
  ANNOTATION,
  clusterNetworkPolicyToPolicy,
  deletedEndpointToPodPatch,
  endpointToPodPatch,
  hasEndpoint,
  isFinished,
  namespaceToProfile,
  networkPolicyToPolicy,
  podToEndpoint,
  serviceAccountToProfile,
} from "./index.ts";

/** Anything that JSON can say, with names of fields that the conversions look for. */
const FIELDS = [
  ..."metadata spec status name namespace uid labels annotations generateName resourceVersion creationTimestamp".split(
    " ",
  ),
  ..."deletionTimestamp nodeName hostNetwork serviceAccountName containers initContainers ports containerPort".split(
    " ",
  ),
  ..."hostPort hostIP protocol podIP podIPs ip phase podSelector policyTypes ingress egress from to ipBlock cidr".split(
    " ",
  ),
  ..."except namespaceSelector matchLabels matchExpressions key operator values port endPort tier priority".split(" "),
  ..."subject namespaces pods action protocols tcp udp destinationPort number range start end networks".split(" "),
  ..."destinationNamedPort __proto__ constructor toString length".split(" "),
  ...Object.values(ANNOTATION),
  "qos.projectcalico.org/ingressBandwidth",
];
const leaf = fc.oneof(
  fc.constant(null),
  fc.boolean(),
  fc.double(),
  fc.integer(),
  fc.string(),
  fc.constantFrom(
    "",
    "Admin",
    "Accept",
    "Deny",
    "Ingress",
    "In",
    "Exists",
    "TCP",
    "80",
    "a'b",
    "10.0.0.1",
    "10.0.0.0/8",
    "[1]",
    "{",
    "1e9",
  ),
);
const { json } = fc.letrec((tie) => ({
  json: fc.oneof(
    { maxDepth: 7, depthIdentifier: "json", withCrossShrink: true },
    leaf,
    fc.array(tie("json"), { maxLength: 3, depthIdentifier: "json" }),
    fc.dictionary(fc.oneof(fc.constantFrom(...FIELDS), fc.string()), tie("json"), {
      maxKeys: 8,
      depthIdentifier: "json",
    }),
  ),
}));

/** A right object, some of whose parts are something else. */
const damaged = (whole: unknown): fc.Arbitrary<unknown> => {
  const part: fc.Arbitrary<unknown> = Array.isArray(whole)
    ? fc.tuple(...whole.map(damaged)).map((items) => [...items])
    : typeof whole === "object" && whole !== null
      ? fc.record(Object.fromEntries(Object.entries(whole).map(([key, value]) => [key, damaged(value)])), {
          requiredKeys: [],
        })
      : fc.constant(whole);
  return fc.oneof({ weight: 12, arbitrary: part }, { weight: 1, arbitrary: json });
};

const METADATA = {
  name: "a",
  namespace: "b",
  uid: "30316465-6365-4463-ad63-3564622d3638",
  resourceVersion: "1",
  labels: { a: "b" },
};
const SELECTOR = { matchLabels: { a: "b" }, matchExpressions: [{ key: "a", operator: "In", values: ["b"] }] };
const pods = damaged({
  metadata: {
    ...METADATA,
    annotations: {
      [ANNOTATION.podIPs]: "10.0.0.1/32",
      [ANNOTATION.floatingIPs]: '["1.1.1.1"]',
      [ANNOTATION.allowedSourcePrefixes]: '["10.0.0.0/8"]',
      [ANNOTATION.containerID]: "c",
      [ANNOTATION.dscp]: "EF",
      "qos.projectcalico.org/ingressBandwidth": "1M",
    },
  },
  spec: {
    nodeName: "n",
    serviceAccountName: "s",
    containers: [{ ports: [{ name: "http", containerPort: 80, hostPort: 80, protocol: "TCP" }] }],
  },
  status: { podIPs: [{ ip: "10.0.0.1" }], podIP: "10.0.0.1", phase: "Running" },
});
const peers = [
  { podSelector: SELECTOR, namespaceSelector: SELECTOR },
  { ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } },
];
const ports = [{ port: 80, endPort: 90, protocol: "TCP" }, { port: "http" }];
const networkPolicies = damaged({
  metadata: METADATA,
  spec: {
    podSelector: SELECTOR,
    policyTypes: ["Ingress", "Egress"],
    ingress: [{ from: peers, ports }],
    egress: [{ to: peers, ports }],
  },
});
const clusterPeers = [{ namespaces: SELECTOR }, { pods: { podSelector: SELECTOR, namespaceSelector: SELECTOR } }];
const protocols = [
  { tcp: { destinationPort: { number: 80 } } },
  { udp: { destinationPort: { range: { start: 1, end: 2 } } } },
];
const clusterPolicies = damaged({
  metadata: METADATA,
  spec: {
    tier: "Admin",
    priority: 1,
    subject: { namespaces: SELECTOR },
    ingress: [{ action: "Deny", from: clusterPeers, protocols, name: "r" }],
    egress: [{ action: "Accept", to: [...clusterPeers, { networks: ["10.0.0.0/8"] }], protocols }],
  },
});

/** Anything at all, or nearly right; as the API's types promise nothing of the sort. */
const check = (near: fc.Arbitrary<unknown>, property: (object: never, text: string) => void) =>
  fc.assert(
    fc.property(fc.oneof(json, near), (object) => {
      const text = JSON.stringify(object);
      property(object as never, text);
      // Nothing changes what it is given.
      expect(JSON.stringify(object)).toBe(text);
    }),
    { numRuns: 400 },
  );

const conversions = {
  namespaceToProfile,
  serviceAccountToProfile,
  podToEndpoint,
  networkPolicyToPolicy,
  clusterNetworkPolicyToPolicy,
};

test.each(Object.entries(conversions))("%s never throws, and says why when there is nothing", (name, convert) => {
  const near = {
    podToEndpoint: pods,
    networkPolicyToPolicy: networkPolicies,
    clusterNetworkPolicyToPolicy: clusterPolicies,
  }[name];
  check(near ?? damaged({ metadata: METADATA }), (object) => {
    const { value, problems } = convert(object);
    for (const problem of problems) expect(describeProblem(problem)).not.toBe("");
    if (value === undefined && (name !== "podToEndpoint" || hasEndpoint(object))) expect(problems).not.toEqual([]);
  });
});

test("endpoints of damaged pods can be written and finished", () => {
  check(pods, (object) => {
    isFinished(object);
    const { value } = podToEndpoint(object);
    if (value) JSON.stringify([endpointToPodPatch(value), deletedEndpointToPodPatch(value.metadata)]);
  });
});

const entities = (rules: Rule[] = []): EntityRule[] =>
  rules.flatMap((rule) => [rule.source ?? {}, rule.destination ?? {}]);

test("all selectors of policies can be parsed, and no rule lost what it was to match", () => {
  for (const [near, convert] of [
    [networkPolicies, networkPolicyToPolicy],
    [clusterPolicies, clusterNetworkPolicyToPolicy],
  ] as const) {
    check(near, (object) => {
      const spec = convert(object).value?.spec as
        | { selector?: string; namespaceSelector?: string; ingress?: Rule[]; egress?: Rule[] }
        | undefined;
      if (!spec) return;
      for (const entity of [spec, ...entities(spec.ingress), ...entities(spec.egress)]) {
        parseSelector(entity.selector ?? "");
        parseSelector(entity.namespaceSelector ?? "");
      }
      for (const { nets, notNets, ports } of [...entities(spec.ingress), ...entities(spec.egress)]) {
        for (const list of [nets, notNets, ports]) if (list) expect(list).not.toEqual([]);
      }
    });
  }
});

// More than a call can have arguments.
test("very many peers are no problem", () => {
  const from = Array.from({ length: 70_000 }, () => ({ podSelector: {} }));
  const { value } = networkPolicyToPolicy({ metadata: METADATA, spec: { ingress: [{ from }] } });
  expect(value?.spec.ingress).toHaveLength(from.length);
});
