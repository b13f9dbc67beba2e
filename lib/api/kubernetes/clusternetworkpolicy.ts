import type { V1Condition } from "@kubernetes/client-node";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import { checkLabelSelector, checkNetwork, type LabelSelector, labelSelector, partOf } from "./checks.ts";
import type { Json } from "./json.ts";

/** As kubernetes-sigs/network-policy-api, apis/v1alpha2/clusternetworkpolicy_types.go. */
export interface ClusterNetworkPolicySpec {
  tier: "Admin" | "Baseline";
  /** 0 to 1000; the lowest first. */
  priority: number;
  subject: ClusterNetworkPolicyPeer;
  ingress?: ClusterNetworkPolicyIngressRule[];
  egress?: ClusterNetworkPolicyEgressRule[];
}

export interface ClusterNetworkPolicyRule {
  name?: string;
  action: "Accept" | "Deny" | "Pass";
  protocols?: ClusterNetworkPolicyProtocol[];
}

export interface ClusterNetworkPolicyIngressRule extends ClusterNetworkPolicyRule {
  from: ClusterNetworkPolicyPeer[];
}

export interface ClusterNetworkPolicyEgressRule extends ClusterNetworkPolicyRule {
  to: ClusterNetworkPolicyEgressPeer[];
}

/** Exactly one of the fields. */
export interface ClusterNetworkPolicyPeer {
  namespaces?: LabelSelector;
  pods?: { namespaceSelector?: LabelSelector; podSelector: LabelSelector };
}

/** Exactly one of the fields. */
export interface ClusterNetworkPolicyEgressPeer extends ClusterNetworkPolicyPeer {
  nodes?: LabelSelector;
  /** CIDRs. */
  networks?: string[];
  domainNames?: string[];
}

/** Exactly one of the fields. */
export interface ClusterNetworkPolicyProtocol {
  tcp?: ClusterNetworkPolicyPorts;
  udp?: ClusterNetworkPolicyPorts;
  sctp?: ClusterNetworkPolicyPorts;
  destinationNamedPort?: string;
}

export interface ClusterNetworkPolicyPorts {
  /** Exactly one of the fields. */
  destinationPort?: { number?: number; range?: { start: number; end: number } };
}

export interface ClusterNetworkPolicy extends Resource<"ClusterNetworkPolicy"> {
  spec: ClusterNetworkPolicySpec;
  status?: { conditions?: Json<V1Condition>[] };
}

const MAX_ITEMS = 25;

const peer = () => ({
  namespaces: s.optional(labelSelector("Namespaces, whose pods are meant.")),
  pods: s.optional(
    s.object({
      namespaceSelector: s.optional(labelSelector("Whose pods; empty is all.")),
      podSelector: labelSelector("Which of them; empty is all."),
    }),
  ),
});

const portNumber = () => s.integer({ min: 1, max: 65535 });

const rule = () => {
  const ports = () =>
    s.optional(
      s.object({
        destinationPort: s.optional(
          s.object({
            number: s.optional(portNumber()),
            range: s.optional(s.object({ start: portNumber(), end: portNumber() })),
          }),
        ),
      }),
    );
  return {
    name: s.optional(s.string({ maxLength: 100 })),
    action: s.oneOf(["Accept", "Deny", "Pass"]),
    protocols: s.optional(
      s.array(s.object({ tcp: ports(), udp: ports(), sctp: ports(), destinationNamedPort: s.optional(s.string()) }), {
        maxItems: MAX_ITEMS,
      }),
    ),
  };
};

const texts = (): s.Schema<string[]> & { readonly optional: true } =>
  s.optional(s.array(s.string(), { maxItems: MAX_ITEMS, unique: true }));

const spec = partOf<ClusterNetworkPolicySpec>(() =>
  s.object({
    tier: s.oneOf(["Admin", "Baseline"]),
    priority: s.integer({ min: 0, max: 1000 }),
    subject: s.object(peer()),
    ingress: s.optional(
      s.array(s.object({ ...rule(), from: s.array(s.object(peer()), { maxItems: MAX_ITEMS }) }), {
        maxItems: MAX_ITEMS,
      }),
    ),
    egress: s.optional(
      s.array(
        s.object({
          ...rule(),
          to: s.array(
            s.object({
              ...peer(),
              nodes: s.optional(labelSelector("Nodes.")),
              networks: texts(),
              domainNames: texts(),
            }),
            { maxItems: MAX_ITEMS },
          ),
        }),
        { maxItems: MAX_ITEMS },
      ),
    ),
  }),
);

/** What the cluster's administrator decides before, and after, the NetworkPolicies of namespaces. */
export const ClusterNetworkPolicy: Kind<ClusterNetworkPolicy> = {
  kind: "ClusterNetworkPolicy",
  apiVersion: "policy.networking.k8s.io/v1alpha2",
  plural: "clusternetworkpolicies",
  namespaced: false,
  aliases: ["cnp"],
  doc: "What the cluster's administrator decides before, and after, the NetworkPolicies of namespaces.",
  verbatim: true,
  get spec() {
    return spec();
  },
  check({ spec }) {
    return [
      ...checkPeer(spec.subject, "spec.subject", ["namespaces", "pods"]),
      ...(spec.ingress ?? []).flatMap((one, i) =>
        checkRule(one, one.from, `spec.ingress[${i}]`, "from", ["namespaces", "pods"]),
      ),
      ...(spec.egress ?? []).flatMap((one, i) =>
        checkRule(one, one.to, `spec.egress[${i}]`, "to", ["namespaces", "pods", "nodes", "networks", "domainNames"]),
      ),
    ];
  },
  compare: (a, b) =>
    a.spec.tier < b.spec.tier ? -1 : a.spec.tier > b.spec.tier ? 1 : a.spec.priority - b.spec.priority,
  get columns(): Columns<ClusterNetworkPolicy> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "TIER", value: ({ spec }) => spec.tier },
      { title: "PRIORITY", value: ({ spec }) => String(spec.priority) },
    ];
  },
};

function checkRule(
  { protocols }: ClusterNetworkPolicyRule,
  peers: readonly ClusterNetworkPolicyEgressPeer[],
  path: string,
  field: "from" | "to",
  fields: readonly (keyof ClusterNetworkPolicyEgressPeer)[],
): s.Problem[] {
  const problems = peers.flatMap((one, i) => checkPeer(one, `${path}.${field}[${i}]`, fields));
  if (peers.length === 0)
    problems.push({ path: `${path}.${field}`, value: undefined, message: "must have at least one peer" });
  if (protocols?.length === 0) {
    const message = "must be absent, which is all protocols, or have at least one";
    problems.push({ path: `${path}.protocols`, value: undefined, message });
  }
  for (const [i, protocol] of (protocols ?? []).entries())
    problems.push(...checkProtocol(protocol, `${path}.protocols[${i}]`));
  const outside = peers.some(({ networks, nodes, domainNames }) => networks || nodes || domainNames);
  const named = (protocols ?? []).findIndex(({ destinationNamedPort }) => destinationNamedPort !== undefined);
  if (outside && named >= 0) {
    const message = "must be absent beside networks, nodes and domainNames, which name no ports";
    problems.push({ path: `${path}.protocols[${named}].destinationNamedPort`, value: undefined, message });
  }
  return problems;
}

function checkPeer(
  peer: ClusterNetworkPolicyEgressPeer,
  path: string,
  fields: readonly (keyof ClusterNetworkPolicyEgressPeer)[],
): s.Problem[] {
  const { namespaces, pods, nodes, networks, domainNames } = peer;
  const problems = [
    ...exactlyOne(peer, path, fields),
    ...checkLabelSelector(namespaces, `${path}.namespaces`),
    ...checkLabelSelector(pods?.namespaceSelector, `${path}.pods.namespaceSelector`),
    ...checkLabelSelector(pods?.podSelector, `${path}.pods.podSelector`),
    ...checkLabelSelector(nodes, `${path}.nodes`),
    ...(networks ?? []).flatMap((network, i) => checkNetwork(network, `${path}.networks[${i}]`)),
  ];
  for (const [i, name] of (domainNames ?? []).entries()) {
    if (DOMAIN_NAME.test(name)) continue;
    const message = "must be a DNS name of several parts, such as www.example.com or *.example.com";
    problems.push({ path: `${path}.domainNames[${i}]`, value: name, message });
  }
  return problems;
}

const DOMAIN_NAME = /^(\*\.)?([a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.)+[a-zA-Z0-9_]([-a-zA-Z0-9_]*[a-zA-Z0-9])?\.?$/;

function checkProtocol(protocol: ClusterNetworkPolicyProtocol, path: string): s.Problem[] {
  const problems = exactlyOne(protocol, path, ["tcp", "udp", "sctp", "destinationNamedPort"]);
  for (const name of ["tcp", "udp", "sctp"] as const) {
    const ports = protocol[name];
    const at = `${path}.${name}.destinationPort`;
    if (ports && Object.keys(ports).length === 0)
      problems.push({ path: at, value: undefined, message: "is missing; it says which ports of the protocol" });
    const port = ports?.destinationPort;
    if (!port) continue;
    problems.push(...exactlyOne(port, at, ["number", "range"]));
    if (port.range && port.range.start >= port.range.end)
      problems.push({
        path: `${at}.range.end`,
        value: port.range.end,
        message: `must be more than ${port.range.start}`,
      });
  }
  return problems;
}

/** Counts also fields that are not known here: a newer definition may have more of them. */
function exactlyOne(value: object, path: string, fields: readonly string[]): s.Problem[] {
  const given = Object.keys(value);
  if (given.length === 1) return [];
  const found = given.length === 0 ? "" : `, not ${given.join(" and ")}`;
  return [{ path, value: undefined, message: `must have exactly one of ${fields.join(", ")}${found}` }];
}
