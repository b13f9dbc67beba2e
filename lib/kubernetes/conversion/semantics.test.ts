/**
 * Do converted policies allow what the originals do? Random clusters, policies and connections are decided twice: by the documentation of
 * Kubernetes' API read from scratch (`…ByTheBook`), and by Calico's tiers, policies and rules with what the conversions made of the
 * same pods, namespaces and policies.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { EntityRule, Rule } from "../../api/rule.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { containsAddress, parseAddress, parseCidr } from "../../ip/index.ts";
import { parseSelector, type Selector } from "../../selector/index.ts";
import { clusterNetworkPolicyToPolicy } from "./clusternetworkpolicy.ts";
import { networkPolicyToPolicy } from "./networkpolicy.ts";
import { podToEndpoint } from "./pod.ts";
import { namespaceToProfile } from "./profile.ts";

type Labels = Record<string, string>;
type Direction = "ingress" | "egress";

interface LabelSelector {
  matchLabels?: Labels;
  matchExpressions?: { key: string; operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; values?: string[] }[];
}
interface NamedPort {
  name: string;
  containerPort: number;
  protocol?: string;
}
interface Pod {
  namespace: string;
  name: string;
  labels: Labels;
  ips: readonly string[];
  ports: NamedPort[];
}
interface Cluster {
  readonly namespaces: readonly { name: string; labels: Labels }[];
  readonly pods: readonly Pod[];
}
interface Connection {
  from: string;
  to: string;
  protocol: string;
  port: number;
}

// ---- What Kubernetes says ----

interface PolicyPeer {
  podSelector?: LabelSelector;
  namespaceSelector?: LabelSelector;
  ipBlock?: { cidr: string; except?: string[] };
}
interface PolicyRule {
  from?: PolicyPeer[];
  to?: PolicyPeer[];
  ports?: { protocol?: string; port?: number | string; endPort?: number }[];
}
interface NetworkPolicy {
  metadata: { name: string; namespace: string };
  spec: {
    podSelector: LabelSelector;
    policyTypes?: ("Ingress" | "Egress")[];
    ingress?: PolicyRule[];
    egress?: PolicyRule[];
  };
}
type Verdict = "allow" | "deny" | "undecided";

function selects(selector: LabelSelector, labels: Labels): boolean {
  const equal = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  const fitting = (selector.matchExpressions ?? []).every(({ key, operator, values = [] }) => {
    const value = labels[key];
    switch (operator) {
      case "In":
        return value !== undefined && values.includes(value);
      case "NotIn":
        return value === undefined || !values.includes(value);
      case "Exists":
        return value !== undefined;
      default:
        return value === undefined;
    }
  });
  return equal && fitting;
}

/** There are few addresses and networks, and they are compared a great many times. */
const contained = new Map<string, boolean>();
function inCidr(cidr: string, ip: string): boolean {
  const question = `${ip} in ${cidr}`;
  const answer = contained.get(question) ?? containsAddress(parseCidr(cidr), parseAddress(ip));
  contained.set(question, answer);
  return answer;
}
const podAt = (cluster: Cluster, ip: string): Pod | undefined => cluster.pods.find((pod) => pod.ips.includes(ip));
const labelsOfNamespace = (cluster: Cluster, name: string): Labels =>
  cluster.namespaces.find((namespace) => namespace.name === name)!.labels;

/** Whether a named port of the pod is the one that is connected to. */
const isNamed = (pod: Pod | undefined, name: string, connection: Connection): boolean =>
  (pod?.ports ?? []).some(
    (port) =>
      port.name === name && port.containerPort === connection.port && (port.protocol ?? "TCP") === connection.protocol,
  );

function networkPolicyByTheBook(
  cluster: Cluster,
  policies: NetworkPolicy[],
  direction: Direction,
  connection: Connection,
): Verdict {
  const self = podAt(cluster, direction === "ingress" ? connection.to : connection.from)!;
  const other = direction === "ingress" ? connection.from : connection.to;
  const type = direction === "ingress" ? "Ingress" : "Egress";
  const isolating = policies.filter(({ metadata, spec }) => {
    const types = spec.policyTypes ?? ["Ingress", ...((spec.egress ?? []).length > 0 ? ["Egress"] : [])];
    return metadata.namespace === self.namespace && selects(spec.podSelector, self.labels) && types.includes(type);
  });
  if (isolating.length === 0) return "undecided";
  const matchesPeer = (peer: PolicyPeer, namespace: string): boolean => {
    if (peer.ipBlock) {
      return inCidr(peer.ipBlock.cidr, other) && !(peer.ipBlock.except ?? []).some((except) => inCidr(except, other));
    }
    const pod = podAt(cluster, other);
    if (!pod) return false;
    const inNamespace = peer.namespaceSelector
      ? selects(peer.namespaceSelector, labelsOfNamespace(cluster, pod.namespace))
      : pod.namespace === namespace;
    return inNamespace && (peer.podSelector === undefined || selects(peer.podSelector, pod.labels));
  };
  const allowed = isolating.some(({ metadata, spec }) =>
    (spec[direction] ?? []).some((rule) => {
      const peers = (direction === "ingress" ? rule.from : rule.to) ?? [];
      const ports = rule.ports ?? [];
      return (
        (peers.length === 0 || peers.some((peer) => matchesPeer(peer, metadata.namespace))) &&
        (ports.length === 0 ||
          ports.some(({ protocol = "TCP", port, endPort }) => {
            if (protocol !== connection.protocol) return false;
            if (port === undefined) return true;
            if (typeof port === "string") return isNamed(podAt(cluster, connection.to), port, connection);
            return connection.port >= port && connection.port <= (endPort ?? port);
          }))
      );
    }),
  );
  return allowed ? "allow" : "deny";
}

interface NamespacedPods {
  namespaceSelector?: LabelSelector;
  podSelector?: LabelSelector;
}
interface ClusterPeer {
  namespaces?: LabelSelector;
  pods?: NamespacedPods;
  networks?: string[];
  nodes?: LabelSelector;
}
interface ClusterPort {
  destinationPort?: { number?: number; range?: { start: number; end: number } };
}
interface ClusterProtocol {
  tcp?: ClusterPort;
  udp?: ClusterPort;
  sctp?: ClusterPort;
  destinationNamedPort?: string;
}
interface ClusterRule {
  action: "Accept" | "Deny" | "Pass";
  from?: ClusterPeer[];
  to?: ClusterPeer[];
  protocols?: ClusterProtocol[];
}
interface ClusterPolicy {
  metadata: { name: string };
  spec: {
    tier: "Admin" | "Baseline";
    priority: number;
    subject: { namespaces?: LabelSelector; pods?: NamespacedPods };
    ingress?: ClusterRule[];
    egress?: ClusterRule[];
  };
}

/** The documentation's "fail closed": what is no such rule accepts nothing, or denies everything. */
const isUnknown = (rule: ClusterRule, peers: ClusterPeer[]): boolean =>
  peers.some((peer) => !peer.namespaces && !peer.pods && !peer.networks) ||
  (rule.protocols ?? []).some((protocol) => Object.keys(protocol).length === 0);

function clusterPolicyByTheBook(
  cluster: Cluster,
  policies: ClusterPolicy[],
  tier: "Admin" | "Baseline",
  direction: Direction,
  connection: Connection,
): Verdict {
  const self = podAt(cluster, direction === "ingress" ? connection.to : connection.from)!;
  const other = direction === "ingress" ? connection.from : connection.to;
  const isAmong = (pods: NamespacedPods, pod: Pod | undefined): boolean =>
    pod !== undefined &&
    selects(pods.namespaceSelector ?? {}, labelsOfNamespace(cluster, pod.namespace)) &&
    selects(pods.podSelector ?? {}, pod.labels);
  const matchesPeer = (peer: ClusterPeer): boolean => {
    if (peer.networks) return peer.networks.some((cidr) => inCidr(cidr, other));
    return isAmong(peer.pods ?? { namespaceSelector: peer.namespaces! }, podAt(cluster, other));
  };
  const matchesProtocol = (protocol: ClusterProtocol): boolean => {
    const name = protocol.destinationNamedPort;
    if (name !== undefined) return isNamed(podAt(cluster, connection.to), name, connection);
    const match = protocol[connection.protocol.toLowerCase() as "tcp" | "udp" | "sctp"];
    if (!match) return false;
    const { number, range } = match.destinationPort ?? {};
    if (number !== undefined) return connection.port === number;
    return range === undefined || (connection.port >= range.start && connection.port <= range.end);
  };
  const inOrder = policies
    .filter((policy) => policy.spec.tier === tier)
    .sort((a, b) => a.spec.priority - b.spec.priority);
  for (const { spec } of inOrder) {
    if (!isAmong(spec.subject.pods ?? { namespaceSelector: spec.subject.namespaces! }, self)) continue;
    for (const rule of spec[direction] ?? []) {
      const peers = (direction === "ingress" ? rule.from : rule.to) ?? [];
      if (isUnknown(rule, peers)) {
        if (rule.action === "Accept") continue;
        return "deny";
      }
      const protocols = rule.protocols ?? [];
      if (!peers.some(matchesPeer) || (protocols.length > 0 && !protocols.some(matchesProtocol))) continue;
      if (rule.action === "Pass") return "undecided";
      return rule.action === "Accept" ? "allow" : "deny";
    }
  }
  return "undecided";
}

function byTheBook(
  cluster: Cluster,
  policies: NetworkPolicy[],
  clusterPolicies: ClusterPolicy[],
  direction: Direction,
  connection: Connection,
): boolean {
  const verdicts = [
    () => clusterPolicyByTheBook(cluster, clusterPolicies, "Admin", direction, connection),
    () => networkPolicyByTheBook(cluster, policies, direction, connection),
    () => clusterPolicyByTheBook(cluster, clusterPolicies, "Baseline", direction, connection),
  ];
  for (const verdict of verdicts) {
    const found = verdict();
    if (found !== "undecided") return found === "allow";
  }
  return true;
}

// ---- What Calico says ----

/** A few selectors are asked for a great many times. */
const parsed = new Map<string, Selector>();
function matches(selector: string, labels: Labels): boolean {
  const known = parsed.get(selector) ?? parseSelector(selector);
  parsed.set(selector, known);
  return known.matches(labels);
}

interface CalicoPolicy {
  namespace?: string;
  name: string;
  spec: {
    tier: string;
    order?: number;
    selector?: string;
    namespaceSelector?: string;
    types: string[];
    ingress?: Rule[];
    egress?: Rule[];
  };
}
interface Endpoint {
  endpoint: WorkloadEndpoint;
  labels: Labels;
  /** The namespace's labels as a namespaceSelector sees them. */
  inherited: Labels;
}

const TIERS = [
  { name: "kube-admin", defaultAction: "Pass" },
  { name: "default", defaultAction: "Deny" },
  { name: "kube-baseline", defaultAction: "Pass" },
];

function endpointsOf(cluster: Cluster): Endpoint[] {
  const profiles = new Map(
    cluster.namespaces.map((namespace) => {
      const { value } = namespaceToProfile({ metadata: namespace });
      return [value!.metadata.name, value!];
    }),
  );
  return cluster.pods.map((pod) => {
    const { value } = podToEndpoint({
      metadata: { name: pod.name, namespace: pod.namespace, labels: pod.labels },
      spec: { nodeName: "node", containers: [{ ports: pod.ports }] },
      status: { podIPs: pod.ips.map((ip) => ({ ip })) },
    });
    const applied = value!.spec.profiles!.map((name) => profiles.get(name)?.spec.labelsToApply ?? {});
    const inherited: Labels = {};
    for (const [key, text] of Object.entries(Object.assign({}, ...applied) as Labels)) {
      if (key.startsWith("pcns.")) inherited[key.slice("pcns.".length)] = text;
    }
    return { endpoint: value!, labels: value!.metadata.labels!, inherited };
  });
}

function isIn(endpoint: Endpoint, namespaceSelector: string): boolean {
  return "projectcalico.org/namespace" in endpoint.labels && matches(namespaceSelector, endpoint.inherited);
}

function selectsEndpoint(policy: CalicoPolicy, endpoint: Endpoint): boolean {
  const { namespace, spec } = policy;
  if (namespace !== undefined && endpoint.endpoint.metadata.namespace !== namespace) return false;
  if (spec.namespaceSelector && !isIn(endpoint, spec.namespaceSelector)) return false;
  return matches(spec.selector ?? "", endpoint.labels);
}

function matchesEntity(
  entity: EntityRule,
  ip: string,
  endpoints: readonly Endpoint[],
  policy: CalicoPolicy,
  protocol: Rule["protocol"],
  connection: Connection,
): boolean {
  const endpoint = endpoints.find(({ endpoint }) => endpoint.spec.ipNetworks!.some((network) => inCidr(network, ip)));
  const { nets, notNets, selector, namespaceSelector, ports } = entity;
  if (nets && !nets.some((net) => inCidr(net, ip))) return false;
  if (notNets?.some((net) => inCidr(net, ip))) return false;
  if (selector || namespaceSelector) {
    if (!endpoint || !matches(selector ?? "", endpoint.labels)) return false;
    // A rule of a namespace's policy that names no namespaces means its own.
    if (
      namespaceSelector
        ? !isIn(endpoint, namespaceSelector)
        : endpoint.endpoint.metadata.namespace !== (policy.namespace ?? endpoint.endpoint.metadata.namespace)
    )
      return false;
  }
  if (!ports) return true;
  return ports.some((port) => {
    const [min, max = min] = String(port).split(":").map(Number);
    if (Number.isNaN(min)) {
      return (endpoint?.endpoint.spec.ports ?? []).some(
        (named) =>
          named.name === port && named.port === connection.port && named.protocol === (protocol ?? connection.protocol),
      );
    }
    return protocol !== undefined && connection.port >= min! && connection.port <= max!;
  });
}

function byCalico(
  endpoints: Endpoint[],
  policies: CalicoPolicy[],
  direction: Direction,
  connection: Connection,
): boolean {
  const ip = direction === "ingress" ? connection.to : connection.from;
  const self = endpoints.find(({ endpoint }) => endpoint.spec.ipNetworks!.some((network) => inCidr(network, ip)))!;
  const type = direction === "ingress" ? "Ingress" : "Egress";
  tiers: for (const tier of TIERS) {
    const applied = policies
      .filter(({ spec }) => spec.tier === tier.name && spec.types.includes(type))
      .filter((policy) => selectsEndpoint(policy, self))
      .sort((a, b) => a.spec.order! - b.spec.order! || (a.name < b.name ? -1 : 1));
    for (const policy of applied) {
      for (const rule of policy.spec[direction] ?? []) {
        const isMatch =
          (rule.protocol === undefined || rule.protocol === connection.protocol) &&
          matchesEntity(rule.source!, connection.from, endpoints, policy, rule.protocol, connection) &&
          matchesEntity(rule.destination!, connection.to, endpoints, policy, rule.protocol, connection);
        if (!isMatch) continue;
        if (rule.action === "Pass") continue tiers;
        return rule.action === "Allow";
      }
    }
    if (applied.length > 0 && tier.defaultAction === "Deny") return false;
  }
  // The profile of every namespace allows everything.
  return true;
}

// ---- Random ones ----

// Words of the selector language are good keys, too.
const key = fc.constantFrom("a", "app.kubernetes.io/name", "in", "not", "has", "all");
const value = fc.constantFrom("", "x", "y", "z-1");
const labels = fc.dictionary(key, value, { maxKeys: 3 });
const protocol = fc.constantFrom("TCP", "UDP", "SCTP");
const port = fc.integer({ min: 79, max: 84 });
const portName = fc.constantFrom("http", "dns");
const NAMESPACES = ["red", "green"];
const POD_IPS = Array.from({ length: 5 }, (_, i) => [`10.0.0.${i}`, `fd00::${i}`] as const);
const ip = fc.constantFrom(...POD_IPS.flat(), "10.0.1.1", "192.0.2.1", "fd00::1:1", "2001:db8::1");
const cidr = fc.constantFrom(
  "0.0.0.0/0",
  "10.0.0.0/8",
  "10.0.0.0/30",
  "10.0.0.2/32",
  "::/0",
  "fd00::/64",
  "fd00::2/127",
);

const expression = fc.oneof(
  fc.record({
    key,
    operator: fc.constantFrom("In" as const, "NotIn" as const),
    values: fc.array(value, { minLength: 1, maxLength: 2 }),
  }),
  fc.record({ key, operator: fc.constantFrom("Exists" as const, "DoesNotExist" as const) }),
);
const selector: fc.Arbitrary<LabelSelector> = fc.record(
  {
    matchLabels: fc.dictionary(key, value, { maxKeys: 1 }),
    matchExpressions: fc.array(expression, { maxLength: 1 }),
  },
  { requiredKeys: [] },
);

const cluster = fc.record({
  namespaces: fc.tuple(...NAMESPACES.map((name) => labels.map((labels) => ({ name, labels })))),
  pods: fc.tuple(
    ...POD_IPS.map((ips, i) =>
      fc.record({
        namespace: fc.constantFrom(...NAMESPACES),
        name: fc.constant(`pod-${i}`),
        labels,
        ips: fc.constant(ips),
        ports: fc.array(
          fc.record({ name: portName, containerPort: port, protocol }, { requiredKeys: ["name", "containerPort"] }),
          { maxLength: 2 },
        ),
      }),
    ),
  ),
});

const policyPeer: fc.Arbitrary<PolicyPeer> = fc.oneof(
  fc.record({ podSelector: selector }),
  fc.record({ namespaceSelector: selector }),
  fc.record({ podSelector: selector, namespaceSelector: selector }),
  fc.record({
    ipBlock: fc.record({ cidr, except: fc.array(cidr, { maxLength: 2 }) }, { requiredKeys: ["cidr"] }),
  }),
);
const policyPort = fc.oneof(
  fc.record({ protocol, port: fc.oneof(port, portName) }, { requiredKeys: [] }),
  fc.record({ protocol, port, size: fc.nat(3) }).map(({ size, ...rest }) => ({ ...rest, endPort: rest.port + size })),
);
const policyRules = (peers: "from" | "to") =>
  fc.array(
    fc.record(
      { [peers]: fc.array(policyPeer, { maxLength: 2 }), ports: fc.array(policyPort, { maxLength: 3 }) },
      { requiredKeys: [] },
    ),
    { maxLength: 2 },
  );
const networkPolicies: fc.Arbitrary<NetworkPolicy[]> = fc.array(
  fc.record({
    metadata: fc.record({
      name: fc.stringMatching(/^[a-z]{3}$/),
      namespace: fc.constantFrom(...NAMESPACES),
    }),
    spec: fc.record(
      {
        podSelector: selector,
        policyTypes: fc.subarray(["Ingress", "Egress"] as const, { minLength: 1 }).map((types) => [...types]),
        ingress: policyRules("from"),
        egress: policyRules("to"),
      },
      { requiredKeys: ["podSelector"] },
    ),
  }),
  { maxLength: 3 },
);

const namespacedPods = fc.record({ namespaceSelector: selector, podSelector: selector }, { requiredKeys: [] });
const clusterPeer = (withNetworks: boolean): fc.Arbitrary<ClusterPeer> =>
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ namespaces: selector }) },
    { weight: 5, arbitrary: fc.record({ pods: namespacedPods }) },
    {
      weight: withNetworks ? 5 : 0,
      arbitrary: fc.record({ networks: fc.array(cidr, { minLength: 1, maxLength: 2 }) }),
    },
    { weight: 1, arbitrary: fc.record({ nodes: selector }) },
    { weight: 1, arbitrary: fc.constant({}) },
  );
const clusterPort: fc.Arbitrary<ClusterPort> = fc.oneof(
  fc.constant({}),
  fc.record({ destinationPort: fc.record({ number: port }) }),
  fc.record({
    destinationPort: fc.record({
      range: fc.tuple(port, fc.nat(3)).map(([start, size]) => ({ start, end: start + size })),
    }),
  }),
);
const clusterProtocol: fc.Arbitrary<ClusterProtocol> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ tcp: clusterPort }) },
  { weight: 4, arbitrary: fc.record({ udp: clusterPort }) },
  { weight: 4, arbitrary: fc.record({ sctp: clusterPort }) },
  { weight: 4, arbitrary: fc.record({ destinationNamedPort: portName }) },
  { weight: 1, arbitrary: fc.constant({}) },
);
const clusterRules = (direction: Direction) =>
  fc.array(
    fc.record(
      {
        action: fc.constantFrom("Accept" as const, "Deny" as const, "Pass" as const),
        [direction === "ingress" ? "from" : "to"]: fc.array(clusterPeer(direction === "egress"), {
          minLength: 1,
          maxLength: 2,
        }),
        protocols: fc.array(clusterProtocol, { minLength: 1, maxLength: 3 }),
      },
      { requiredKeys: ["action", direction === "ingress" ? "from" : "to"] },
    ),
    { maxLength: 3 },
  ) as fc.Arbitrary<ClusterRule[]>;
const clusterPolicies: fc.Arbitrary<ClusterPolicy[]> = fc.uniqueArray(
  fc.record({
    metadata: fc.record({ name: fc.stringMatching(/^[a-z]{3}$/) }),
    spec: fc.record(
      {
        tier: fc.constantFrom("Admin" as const, "Baseline" as const),
        priority: fc.nat(9),
        subject: fc.oneof(fc.record({ namespaces: selector }), fc.record({ pods: namespacedPods })),
        ingress: clusterRules("ingress"),
        egress: clusterRules("egress"),
      },
      { requiredKeys: ["tier", "priority", "subject"] },
    ),
  }),
  // Between policies of one tier and priority the documentation decides nothing.
  { maxLength: 3, selector: ({ spec }) => `${spec.tier}/${spec.priority}` },
);

const connections = (of: fc.Arbitrary<string>, other: fc.Arbitrary<string>) =>
  fc.array(
    fc
      .record({ self: of, other, protocol, port })
      // Both ends speak one version of IP.
      .filter(({ self, other }) => self.includes(":") === other.includes(":") && self !== other),
    { minLength: 5, maxLength: 12 },
  );
const attempts = connections(fc.constantFrom(...POD_IPS.flat()), ip);

function compare(
  cluster: Cluster,
  policies: NetworkPolicy[],
  clusterPolicies: ClusterPolicy[],
  tries: { self: string; other: string; protocol: string; port: number }[],
  seen: Set<string>,
): void {
  const endpoints = endpointsOf(cluster);
  const converted: CalicoPolicy[] = [
    ...policies.map((policy) => networkPolicyToPolicy(policy)),
    ...clusterPolicies.map((policy) => clusterNetworkPolicyToPolicy(policy)),
  ].map(({ key, value }) => ({ ...key!, spec: value!.spec }));
  for (const { self, other, protocol, port } of tries) {
    for (const direction of ["ingress", "egress"] as const) {
      const [from, to] = direction === "ingress" ? [other, self] : [self, other];
      const connection = { from, to, protocol, port };
      const expected = byTheBook(cluster, policies, clusterPolicies, direction, connection);
      seen.add(`${direction} ${expected ? "allowed" : "denied"}`);
      const actual = byCalico(endpoints, converted, direction, connection);
      if (actual !== expected) expect({ connection, direction, actual }).toEqual({ connection, direction, expected });
    }
  }
}

const BOTH = ["egress allowed", "egress denied", "ingress allowed", "ingress denied"];

test("converted NetworkPolicies allow what the originals allow", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(cluster, networkPolicies, attempts, (cluster, policies, tries) =>
      compare(cluster, policies, [], tries, seen),
    ),
    { numRuns: 500 },
  );
  expect([...seen].sort()).toEqual(BOTH);
});

test("converted ClusterNetworkPolicies allow what the originals allow, between and around NetworkPolicies", () => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(cluster, networkPolicies, clusterPolicies, attempts, (cluster, policies, clusterPolicies, tries) =>
      compare(cluster, policies, clusterPolicies, tries, seen),
    ),
    { numRuns: 500 },
  );
  expect([...seen].sort()).toEqual(BOTH);
});
