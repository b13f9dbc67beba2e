import type { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import type { GlobalNetworkSet } from "../../api/globalnetworkset.ts";
import type { HostEndpoint } from "../../api/hostendpoint.ts";
import type { EndpointSlice } from "../../api/kubernetes/index.ts";
import { API_VERSION } from "../../api/meta.ts";
import { endpointName } from "../../api/names.ts";
import type { NetworkPolicy } from "../../api/networkpolicy.ts";
import type { NetworkSet } from "../../api/networkset.ts";
import type { Node } from "../../api/node.ts";
import type { Profile } from "../../api/profile.ts";
import type { Tier } from "../../api/tier.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import type { AnyPolicy, Input, PlainInput, PolicyId } from "../calc/index.ts";
import { labelSelector, NETS, type RuleContext, randomRules, SERVICES } from "./generate-rules.ts";
import { Random } from "./random.ts";
import type { Flow } from "./types.ts";

/** Where a workload that the case is about really is. */
export interface WorkloadPlace {
  readonly namespace: string;
  readonly pod: string;
  readonly node: string;
  /** On the node; absent: made of the pod's name. */
  readonly interfaceName?: string;
  readonly ipv4?: string;
  readonly ipv6?: string;
}

export interface GenerateOptions {
  /** The workloads; absent: eight on two nodes, `node-a` and `node-b`. Labels, profiles and ports are random in any case. */
  readonly workloads?: readonly WorkloadPlace[];
  /** Whether there are host endpoints (of `node-a`), and flows from and to them. Default: yes. */
  readonly hostEndpoints?: boolean;
  /** Whether flows are only between workloads. Default: no, also from and to other addresses. */
  readonly flowsBetweenWorkloads?: boolean;
  /** IP protocol numbers of flows. Default: TCP, UDP, SCTP, ICMP of the flow's IP version, UDPLite and one that rules have no name for. */
  readonly protocols?: readonly number[];
  /** Ports to which flows go, beside those that rules know. */
  readonly destinationPorts?: readonly number[];
  /** How many flows. Default: 20. */
  readonly flows?: number;
}

export interface GeneratedCase {
  readonly seed: number;
  /** Valid resources; an order in which nothing is guaranteed to come before what it refers to. */
  readonly inputs: readonly Input[];
  readonly flows: readonly Flow[];
}

const NAMESPACES = ["blue", "green", "red"] as const;
const ACCOUNTS = ["default", "robot"] as const;
const TIERS = ["security", "platform", "audit"] as const;
const ORDERS = [10, 10, 20, 100, 1000, 0.5] as const;
const PORT_NAMES = ["http", "dns", "metrics"] as const;
const PORTS = [53, 80, 443, 8080, 9090] as const;
const ICMP = { 4: 1, 6: 58 } as const;

/** A cluster and flows through it. The same seed and options give the same. */
export function generateCase(seed: number, options: GenerateOptions = {}): GeneratedCase {
  const random = new Random(seed);
  const places = options.workloads ?? defaultPlaces(random);
  const withHosts = options.hostEndpoints ?? true;
  const addresses = places.flatMap(({ ipv4, ipv6 }) => [ipv4, ipv6]).filter((text) => text !== undefined);
  const tiers = random.some(TIERS, random.integer(0, 3));
  const resources: PlainInput[] = [
    ...profiles(random),
    ...tierResources(random, tiers),
    ...places.map((place) => workload(random, place)),
    ...sets(random),
    ...slices(random, places),
    ...nodes(),
    ...(withHosts ? hosts(random) : []),
  ];
  const context: RuleContext = { random, addresses };
  const inputs: Input[] = resources.map(inputOf);
  for (const name of random.some(NAMES, random.integer(2, 10))) inputs.push(policy(context, name, tiers, withHosts));
  const flows = Array.from({ length: options.flows ?? 20 }, () => flow(random, places, options, withHosts));
  return { seed, inputs: random.some(inputs, inputs.length), flows };
}

function defaultPlaces(random: Random): WorkloadPlace[] {
  return Array.from({ length: 8 }, (_, i) => ({
    namespace: random.pick(NAMESPACES),
    pod: `pod-${i + 1}`,
    node: i < 5 ? "node-a" : "node-b",
    ipv4: `10.65.${i % 2}.${i + 1}`,
    ...(i % 3 === 2 ? {} : { ipv6: `fd00:65::${i % 2}:${i + 1}` }),
  }));
}

function inputOf(resource: PlainInput): Input {
  const { name, namespace } = resource.metadata;
  return { kind: resource.kind, name, ...(namespace === undefined ? {} : { namespace }), resource };
}

function profiles(random: Random): Profile[] {
  const profile = (name: string, spec: Profile["spec"]): Profile => ({
    apiVersion: API_VERSION,
    kind: "Profile",
    metadata: { name },
    spec,
  });
  const all = [{ action: "Allow" as const, source: {}, destination: {} }];
  return [
    ...NAMESPACES.map((name) =>
      profile(`kns.${name}`, {
        ingress: all,
        egress: all,
        labelsToApply: {
          "pcns.projectcalico.org/name": name,
          "pcns.team": random.pick(["a", "b"]),
          ...(random.chance(0.5) ? { "pcns.env": random.pick(["prod", "dev"]) } : {}),
        },
      }),
    ),
    ...NAMESPACES.flatMap((namespace) =>
      ACCOUNTS.map((name) =>
        profile(`ksa.${namespace}.${name}`, {
          labelsToApply: {
            "pcsa.projectcalico.org/name": name,
            ...(random.chance(0.5) ? { "pcsa.trust": random.pick(["high", "low"]) } : {}),
          },
        }),
      ),
    ),
    profile("custom", {
      ingress: randomRules({ random, addresses: [] }, "ingress", random.integer(0, 3)),
      egress: randomRules({ random, addresses: [] }, "egress", random.integer(0, 3)),
      labelsToApply: { app: "web", role: "custom" },
    }),
  ];
}

function tierResources(random: Random, names: readonly string[]): Tier[] {
  const tier = (name: string, order: number, defaultAction: "Deny" | "Pass"): Tier => ({
    apiVersion: API_VERSION,
    kind: "Tier",
    metadata: { name },
    spec: { order, defaultAction },
  });
  return [
    tier("default", 1_000_000, "Deny"),
    tier("kube-admin", 1_000, "Pass"),
    tier("kube-baseline", 10_000_000, "Pass"),
    ...names.map((name) => tier(name, random.pick([100, 100, 200, 2_000_000]), random.pick(["Deny", "Pass", "Pass"]))),
  ];
}

function workload(random: Random, place: WorkloadPlace): WorkloadEndpoint {
  const { namespace, pod, node, ipv4, ipv6 } = place;
  const account = random.pick(ACCOUNTS);
  const names = [`kns.${namespace}`, `ksa.${namespace}.${account}`];
  if (random.chance(0.2)) names.splice(random.integer(0, 2), 0, "custom");
  if (random.chance(0.05)) names.splice(random.integer(0, names.length), 0, "gone");
  return {
    apiVersion: API_VERSION,
    kind: "WorkloadEndpoint",
    metadata: {
      name: endpointName({ node, orchestrator: "k8s", pod, endpoint: "eth0" }),
      namespace,
      labels: {
        ...labels(random),
        "projectcalico.org/namespace": namespace,
        "projectcalico.org/orchestrator": "k8s",
      },
    },
    spec: {
      orchestrator: "k8s",
      node,
      pod,
      endpoint: "eth0",
      containerID: "1337495556942031415926535",
      ...(random.chance(0.8) ? { serviceAccountName: account } : {}),
      ipNetworks: [...(ipv4 ? [`${ipv4}/32`] : []), ...(ipv6 ? [`${ipv6}/128`] : [])],
      profiles: random.chance(0.05) ? [] : names,
      interfaceName: place.interfaceName ?? `cali${pod.replaceAll("-", "")}`.slice(0, 15),
      mac: "02:00:00:00:00:01",
      ports: ports(random).map((port) => ({ ...port, hostPort: 0, hostIP: "" })),
    },
  };
}

const labels = (random: Random): Record<string, string> => ({
  ...(random.chance(0.8) ? { app: random.pick(["web", "db", "cache"]) } : {}),
  ...(random.chance(0.5) ? { role: random.pick(["front", "back"]) } : {}),
});

const ports = (random: Random): { name: string; protocol: string; port: number }[] =>
  random
    .some(PORT_NAMES, random.integer(0, 3))
    .map((name) => ({ name, protocol: random.pick(["TCP", "TCP", "UDP", "SCTP"]), port: random.pick(PORTS) }));

function sets(random: Random): (NetworkSet | GlobalNetworkSet)[] {
  const nets = () => random.some([...NETS[4], ...NETS[6]], random.integer(1, 3));
  return [
    {
      apiVersion: API_VERSION,
      kind: "NetworkSet",
      metadata: { name: "partners", namespace: random.pick(NAMESPACES), labels: labels(random) },
      spec: { nets: nets() },
    },
    {
      apiVersion: API_VERSION,
      kind: "GlobalNetworkSet",
      metadata: { name: "outside", labels: labels(random) },
      spec: { nets: nets() },
    },
  ];
}

function slices(random: Random, places: readonly WorkloadPlace[]): PlainInput[] {
  return SERVICES.flatMap(({ namespace, name }) =>
    (["IPv4", "IPv6"] as const).map((addressType): PlainInput => {
      const behind = random.some(places, random.integer(0, 3));
      const addresses = behind.map(({ ipv4, ipv6 }) => (addressType === "IPv4" ? ipv4 : ipv6));
      const slice: EndpointSlice = {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: `${name}-${addressType.toLowerCase()}`,
          namespace,
          labels: { "kubernetes.io/service-name": name },
        },
        addressType,
        endpoints: addresses
          .filter((text) => text !== undefined)
          .map((text) => ({ addresses: [text], conditions: { ready: random.chance(0.8) } })),
        ports: random.some(PORTS, random.integer(0, 2)).map((port, i) => ({
          name: `port-${i}`,
          port,
          ...(random.chance(0.7) ? { protocol: random.pick(["TCP", "UDP"]) } : {}),
        })),
      };
      return slice;
    }),
  );
}

/** Addresses of `node-a` and `node-b`. */
const NODES = [
  { name: "node-a", ipv4: "192.0.2.1", ipv6: "2001:db8::1" },
  { name: "node-b", ipv4: "192.0.2.2", ipv6: "2001:db8::2" },
] as const;

const nodes = (): Node[] =>
  NODES.map(({ name, ipv4, ipv6 }) => ({
    apiVersion: API_VERSION,
    kind: "Node",
    metadata: { name },
    spec: { bgp: { ipv4Address: `${ipv4}/24`, ipv6Address: `${ipv6}/64` } },
  }));

/** One of an interface, and perhaps one for all of them, on `node-a`. */
function hosts(random: Random): HostEndpoint[] {
  const host = (name: string, spec: Partial<HostEndpoint["spec"]>): HostEndpoint => ({
    apiVersion: API_VERSION,
    kind: "HostEndpoint",
    metadata: { name, labels: { ...labels(random), host: "yes" } },
    spec: {
      node: "node-a",
      profiles: random.pick([[], ["custom"], ["kns.blue"], ["gone", "custom"]]),
      ports: ports(random),
      ...spec,
    },
  });
  const { ipv4, ipv6 } = NODES[0];
  return [
    ...(random.chance(0.8) ? [host("node-a-eth0", { interfaceName: "eth0", expectedIPs: [ipv4, ipv6] })] : []),
    ...(random.chance(0.5) ? [host("node-a-all", { interfaceName: "*" })] : []),
  ];
}

/** Two of them are for a kind with a namespace and for one with none: names tie. */
const NAMES = ["alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliet"] as const;

function policy(context: RuleContext, name: string, tiers: readonly string[], withHosts: boolean): Input {
  const { random } = context;
  const kind = random.pick([
    "NetworkPolicy",
    "NetworkPolicy",
    "NetworkPolicy",
    "GlobalNetworkPolicy",
    "GlobalNetworkPolicy",
    "GlobalNetworkPolicy",
    "StagedNetworkPolicy",
    "StagedGlobalNetworkPolicy",
    "KubernetesNetworkPolicy",
  ] as const);
  const isGlobal = kind.endsWith("GlobalNetworkPolicy");
  const namespace = random.pick(NAMESPACES);
  const tier = kind === "KubernetesNetworkPolicy" ? "default" : random.pick(["default", "default", ...tiers]);
  const special = isGlobal && withHosts && random.chance(0.5) ? random.pick(["doNotTrack", "preDNAT", "forward"]) : "";
  const types: ("Ingress" | "Egress")[] =
    special === "preDNAT" ? ["Ingress"] : random.pick([["Ingress"], ["Egress"], ["Ingress", "Egress"]]);
  const inNamespace = isGlobal ? {} : { namespace };
  const directed: RuleContext = { ...context, ...inNamespace };
  const spec = {
    tier,
    ...(random.chance(0.8) ? { order: kind === "KubernetesNetworkPolicy" ? 1000 : random.pick(ORDERS) } : {}),
    types,
    ...(random.chance(0.8)
      ? {
          selector:
            special !== "" || random.chance(0.3) ? random.pick(["all()", "all()", "has(host)"]) : labelSelector(random),
        }
      : {}),
    ...(random.chance(0.15) ? { serviceAccountSelector: random.pick(["trust == 'high'", "all()"]) } : {}),
    ...(isGlobal && random.chance(0.25)
      ? { namespaceSelector: random.pick(["team == 'a'", "all()", "!has(env)", "env != 'prod'"]) }
      : {}),
    ...(types.includes("Ingress") ? { ingress: randomRules(directed, "ingress", random.integer(0, 6)) } : {}),
    ...(types.includes("Egress") ? { egress: randomRules(directed, "egress", random.integer(0, 6)) } : {}),
    ...(special === "" ? {} : { applyOnForward: true }),
    ...(special === "doNotTrack" ? { doNotTrack: true } : {}),
    ...(special === "preDNAT" ? { preDNAT: true } : {}),
    ...(kind.startsWith("Staged") ? { stagedAction: random.pick(["Set", "Set", "Delete"]) } : {}),
  } as NetworkPolicy["spec"] & GlobalNetworkPolicy["spec"];
  const metadata = { name, ...inNamespace, labels: { "projectcalico.org/tier": tier } };
  const stored = kind === "KubernetesNetworkPolicy" ? "NetworkPolicy" : kind;
  const id: PolicyId = { kind, ...inNamespace, name };
  return { kind: "Policy", id, policy: { apiVersion: API_VERSION, kind: stored, metadata, spec } as AnyPolicy };
}

/** Addresses of nothing; some are in sets. */
const OUTSIDE = { 4: ["203.0.113.7", "198.51.100.9"], 6: ["2001:db8:ffff::7", "fd00:66::9"] } as const;

function flow(random: Random, places: readonly WorkloadPlace[], options: GenerateOptions, withHosts: boolean): Flow {
  const hasV6 = places.some(({ ipv6 }) => ipv6 !== undefined);
  const hasV4 = places.some(({ ipv4 }) => ipv4 !== undefined);
  const version = !hasV4 || (hasV6 && random.chance(0.35)) ? 6 : 4;
  const field = version === 4 ? "ipv4" : "ipv6";
  const inside = places.map((place) => place[field]).filter((text) => text !== undefined);
  const others: readonly string[] = options.flowsBetweenWorkloads
    ? []
    : [...OUTSIDE[version], ...(withHosts ? [NODES[0], NODES[0], NODES[0], NODES[1]].map((node) => node[field]) : [])];
  const end = () => (others.length > 0 && random.chance(0.35) ? random.pick(others) : random.pick(inside));
  const source = end();
  let destination = end();
  while (destination === source) destination = random.pick([...inside, ...OUTSIDE[version]]);
  const icmp = ICMP[version];
  const protocol = random.pick(options.protocols ?? [6, 6, 6, 17, 17, 132, icmp, icmp, 136, 47]);
  if (protocol === 1 || protocol === 58) {
    return {
      source,
      destination,
      protocol: icmp,
      icmp: { type: random.pick(icmp === 1 ? [8, 13] : [128, 135]), code: random.pick([0, 0, 1]) },
    };
  }
  if (protocol !== 6 && protocol !== 17 && protocol !== 132) return { source, destination, protocol };
  return {
    source,
    destination,
    protocol,
    sourcePort: random.pick([40000, 40001, 53]),
    destinationPort: random.pick([...PORTS, 81, ...(options.destinationPorts ?? [])]),
  };
}
