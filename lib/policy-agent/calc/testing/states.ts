/** Named states of a small cluster, each about one thing; tests tell them, and lists of them, in every way (histories.ts). */
import type { Input } from "../inputs.ts";
import {
  bgpConfiguration,
  globalNetworkSet,
  globalPolicy,
  hostEndpoint,
  namespaceProfile,
  networkPolicy,
  networkSet,
  node,
  pool,
  profile,
  rule,
  slice,
  tier,
  workload,
} from "./resources.ts";

const web = workload(
  "blue",
  "web",
  ["10.0.0.1", "fd00::1"],
  { app: "web" },
  { ports: [{ name: "http", protocol: "TCP", port: 80 }] },
);
const db = workload(
  "blue",
  "db",
  ["10.0.0.2"],
  { app: "db" },
  { ports: [{ name: "http", protocol: "TCP", port: 53 }] },
);
const remote = workload("green", "p-2", ["10.0.0.3", "fd00::2"], { app: "web", role: "x" }, { node: "other" });
const guest = workload(
  "green",
  "guest",
  ["10.0.1.1"],
  { app: "db" },
  { profiles: ["kns.green", "ksa.green.sa"], serviceAccountName: "sa" },
);
const pods = [web, db, remote, guest];
const profiles = [
  namespaceProfile("blue", { color: "cold" }),
  namespaceProfile("green", { color: "warm" }),
  profile("ksa.green.sa", { "pcsa.team": "a" }),
];
const base = [...pods, ...profiles, tier("default", { order: 1_000_000 })];

const host = hostEndpoint(
  "eth0",
  { interfaceName: "eth0", expectedIPs: ["10.0.1.1"], profiles: ["own"] },
  { kind: "host" },
);
const own = profile(
  "own",
  {},
  { ingress: [rule("Allow", { protocol: "TCP", destination: { ports: [80] } })], egress: [rule("Allow")] },
);
const hosts = [...base, host, hostEndpoint("all", { interfaceName: "*" }, { kind: "host" }), own];

const TCP = { protocol: "TCP" } as const;
const forWeb = { selector: "app == 'web'" };
const from = (source: object) => ({ ...forWeb, ingress: [rule("Allow", { source })] });

export const STATES: Readonly<Record<string, readonly Input[]>> = {
  nothing: [],
  "endpoints alone": pods,
  "endpoints and profiles": base,
  "a missing profile": [...base, workload("blue", "lost", ["10.0.0.3"], {}, { profiles: ["nowhere", "kns.blue"] })],
  "deny by selection": [...base, networkPolicy("blue", "deny", forWeb)],
  "no policy of another namespace": [...base, networkPolicy("green", "deny", forWeb)],
  "a selector of the same namespace": [...base, networkPolicy("blue", "p", from({ selector: "has(app)" }))],
  "only a negated selector": [...base, networkPolicy("blue", "p", from({ notSelector: "app == 'db'" }))],
  "a negated selector in a global policy": [...base, globalPolicy("p", from({ notSelector: "app == 'db'" }))],
  "selector and negated selector": [
    ...base,
    globalPolicy("p", from({ selector: "has(app)", notSelector: "role == 'x'" })),
  ],
  "a namespace selector": [...base, networkPolicy("blue", "p", from({ namespaceSelector: "color == 'warm'" }))],
  "all namespaces": [...base, networkPolicy("blue", "p", from({ namespaceSelector: "all()" }))],
  "no namespace": [
    ...base,
    networkPolicy("blue", "p", from({ namespaceSelector: "global()" })),
    globalNetworkSet("s", ["192.0.2.0/24"], {}),
  ],
  "service accounts": [
    ...base,
    networkPolicy(
      "blue",
      "p",
      from({ namespaceSelector: "all()", serviceAccounts: { names: ["sa"], selector: "team == 'a'" } }),
    ),
  ],
  "a policy for service accounts": [...base, globalPolicy("p", { serviceAccountSelector: "team == 'a'", ingress: [] })],
  "a policy for namespaces": [
    ...base,
    globalPolicy("p", { namespaceSelector: "color == 'cold'", selector: "app == 'db'", egress: [] }),
  ],
  "a named port": [
    ...base,
    networkPolicy("blue", "p", {
      types: ["Egress"],
      egress: [rule("Allow", { ...TCP, destination: { ports: ["http"] } })],
    }),
  ],
  "a named port of a selector": [
    ...base,
    networkPolicy("blue", "p", {
      egress: [rule("Allow", { ...TCP, destination: { selector: "app == 'web'", ports: ["http", 55] } })],
    }),
  ],
  "not a named port": [
    ...base,
    networkPolicy("blue", "p", {
      egress: [rule("Allow", { ...TCP, destination: { selector: "has(app)", notPorts: ["http"] } })],
    }),
  ],
  "a service as destination": [
    ...base,
    slice("green", "front", ["10.0.0.3", "10.0.1.1"], [{ port: 80 }, { port: 53, protocol: "UDP" }]),
    networkPolicy("blue", "p", {
      egress: [rule("Allow", { destination: { services: { name: "front", namespace: "green" } } })],
    }),
  ],
  "a service of the policy's namespace as source": [
    ...base,
    slice("blue", "front", ["10.0.0.2"], [{ port: 80 }], "front-a"),
    slice("blue", "front", ["10.0.0.2", "10.0.0.3"], [], "front-b"),
    networkPolicy("blue", "p", from({ services: { name: "front" } })),
  ],
  "network sets that overlap": [
    ...base,
    globalNetworkSet("a", ["10.0.0.0/16", "10.0.0.2/32", "fd00::/64"], { set: "x" }),
    globalNetworkSet("b", ["10.0.0.0/30", "fd00::2"], { set: "x" }),
    networkSet("blue", "c", ["192.0.2.7", "0.0.0.0/0"], { set: "y" }),
    globalPolicy("p", from({ selector: "set == 'x'" })),
    networkPolicy("blue", "q", {
      selector: "app == 'db'",
      ingress: [rule("Deny", { source: { selector: "set == 'y'" } })],
    }),
  ],
  "network sets that overlap no more": [
    ...base,
    globalNetworkSet("a", ["10.0.0.2/32"], { set: "x" }),
    globalNetworkSet("b", ["10.0.0.0/30", "fd00::2"], { set: "x" }),
    networkSet("blue", "c", ["192.0.2.7"], { set: "x" }),
    globalPolicy("p", from({ selector: "set == 'x'" })),
  ],
  "an address of two endpoints": [
    ...base,
    workload("green", "twin", ["10.0.0.2"], { app: "db" }),
    globalPolicy("p", from({ selector: "app == 'db'" })),
  ],
  "the other of two endpoints with an address": [
    web,
    workload("green", "twin", ["10.0.0.2"], { app: "db" }),
    ...profiles,
    globalPolicy("p", from({ selector: "app == 'db'" })),
  ],
  "labels moved": [
    workload("blue", "web", ["10.0.0.1"], { app: "db" }),
    workload("blue", "db", ["10.0.0.2"], { app: "web" }),
    remote,
    ...profiles,
    networkPolicy("blue", "p", from({ selector: "has(app)" })),
  ],
  "a namespace relabelled": [
    ...pods,
    namespaceProfile("blue", { color: "warm" }),
    namespaceProfile("green", {}),
    networkPolicy("blue", "p", from({ namespaceSelector: "color == 'warm'" })),
  ],
  "an endpoint that moved to another node": [
    workload("blue", "web", ["10.0.0.1"], { app: "web" }, { node: "other" }),
    db,
    ...profiles,
    networkPolicy("blue", "p", { ingress: [rule("Allow", { source: { selector: "app == 'web'" } })] }),
  ],
  "order, and none": [
    ...base,
    globalPolicy("last", { ...forWeb, ingress: [rule("Deny")] }),
    globalPolicy("b", { ...forWeb, order: 10, ingress: [rule("Allow", { ...TCP, destination: { ports: [80] } })] }),
    globalPolicy("a", { ...forWeb, order: 10, ingress: [rule("Deny", { source: { nets: ["10.0.0.3"] } })] }),
    networkPolicy("blue", "a", { ...forWeb, order: 10, ingress: [rule("Pass", { source: { nets: ["10.0.0.2"] } })] }),
  ],
  "order turned round": [
    ...base,
    globalPolicy("last", { ...forWeb, order: -1, ingress: [rule("Deny", { source: { nets: ["fd00::/64"] } })] }),
    globalPolicy("b", { ...forWeb, order: 10, ingress: [rule("Allow", { ...TCP, destination: { ports: [80] } })] }),
    globalPolicy("a", { ...forWeb, order: 11, ingress: [rule("Deny", { source: { nets: ["10.0.0.3"] } })] }),
  ],
  "tiers, one of which there is not": [
    ...base,
    tier("late", { order: 2_000_000, defaultAction: "Pass" }),
    tier("early", { order: 1, defaultAction: "Pass" }),
    globalPolicy("a", { ...forWeb, tier: "nowhere", ingress: [rule("Allow")] }),
    globalPolicy("b", { ...forWeb, tier: "late", ingress: [rule("Deny", { source: { nets: ["10.0.0.3"] } })] }),
    globalPolicy("c", {
      ...forWeb,
      tier: "early",
      ingress: [rule("Pass", { ...TCP }), rule("Log"), rule("Deny", { protocol: "UDP" })],
    }),
    globalPolicy("d", { ...forWeb, ingress: [rule("Pass", { source: { selector: "app == 'db'" } })] }),
  ],
  "tiers in another order": [
    ...base,
    tier("late", { order: 2, defaultAction: "Deny" }),
    tier("early", { order: 3, defaultAction: "Deny" }),
    tier("nowhere", {}),
    globalPolicy("a", { ...forWeb, tier: "nowhere", ingress: [rule("Allow")] }),
    globalPolicy("b", { ...forWeb, tier: "late", ingress: [rule("Pass", { source: { nets: ["10.0.0.3"] } })] }),
    globalPolicy("c", { ...forWeb, tier: "early", ingress: [rule("Pass", { ...TCP })] }),
  ],
  "kinds with the same name": [
    ...base,
    networkPolicy("blue", "p", from({ nets: ["10.0.0.2"] })),
    networkPolicy("blue", "p", { ...from({ nets: ["10.0.0.3"] }), order: 1000 }, "KubernetesNetworkPolicy"),
    networkPolicy("blue", "p", { ...forWeb, ingress: [rule("Deny")] }, "StagedNetworkPolicy"),
    globalPolicy("p", { ...forWeb, types: ["Ingress"] }, "KubernetesClusterNetworkPolicy"),
    globalPolicy("p", { ...forWeb, order: 1, ingress: [rule("Deny")] }, "StagedGlobalNetworkPolicy"),
  ],
  "only staged": [...base, globalPolicy("p", { ingress: [rule("Deny")] }, "StagedGlobalNetworkPolicy")],
  "needed everywhere": [
    ...base,
    globalPolicy("p", {
      selector: "nobody == 'x'",
      performanceHints: ["AssumeNeededOnEveryNode"],
      ingress: [rule("Allow", { source: { selector: "has(app)" } })],
    }),
  ],
  "protocols and ICMP": [
    ...base,
    globalPolicy("p", {
      ...forWeb,
      ingress: [
        rule("Allow", { protocol: "ICMP", icmp: { type: 8, code: 0 } }),
        rule("Allow", { protocol: "ICMPv6", notICMP: { type: 8 } }),
        rule("Deny", { notProtocol: "TCP", source: { nets: ["10.0.0.0/30"] } }),
        rule("Allow", { protocol: 132, ipVersion: 4 }),
        rule("Allow", { protocol: "UDP", destination: { ports: ["50:60", 1234] } }),
      ],
    }),
  ],
  "nets of both versions in one rule": [
    ...base,
    globalPolicy(
      "p",
      {
        ...forWeb,
        ingress: [rule("Allow", { source: { nets: ["10.0.0.2", "fd00::/64"], notNets: ["10.0.0.3", "fd00::2"] } })],
      },
      "KubernetesClusterNetworkPolicy",
    ),
  ],
  "host endpoints": [
    ...hosts,
    globalPolicy("p", {
      selector: "kind == 'host'",
      ingress: [rule("Allow", { source: { selector: "app == 'web'" } })],
    }),
  ],
  "host endpoints as peers": [...hosts, networkPolicy("blue", "p", from({ namespaceSelector: "global()" }))],
  "host endpoints, all traffic": [
    ...hosts,
    globalPolicy("forward", { selector: "kind == 'host'", applyOnForward: true, ingress: [rule("Deny", TCP)] }),
    globalPolicy("untracked", {
      selector: "kind == 'host'",
      applyOnForward: true,
      doNotTrack: true,
      ingress: [rule("Allow", { protocol: "UDP" })],
      egress: [rule("Deny", TCP)],
    }),
    globalPolicy("pre-dnat", {
      selector: "kind == 'host'",
      applyOnForward: true,
      preDNAT: true,
      types: ["Ingress"],
      ingress: [rule("Deny", { source: { nets: ["192.0.2.0/24"] } })],
    }),
  ],
  "profiles with rules": [
    web,
    db,
    profile(
      "kns.blue",
      {},
      {
        ingress: [rule("Deny", { source: { selector: "app == 'db'" } }), rule("Pass", TCP), rule("Allow")],
        egress: [rule("Log"), rule("Allow", TCP)],
      },
    ),
  ],
  "pools, nodes and service addresses": [
    ...base,
    pool("v4", { cidr: "10.0.0.0/16", natOutgoing: true, ipipMode: "CrossSubnet", vxlanMode: "Never" }),
    pool("v6", { cidr: "fd00::/64", vxlanMode: "Always" }),
    node("this", { bgp: { ipv4Address: "172.16.0.1/24" }, addresses: [{ address: "fd01::1", type: "InternalIP" }] }),
    node("other", {
      addresses: [
        { address: "198.51.100.2", type: "ExternalIP" },
        { address: "172.16.0.2/24", type: "InternalIP" },
      ],
    }),
    bgpConfiguration({
      serviceClusterIPs: [{ cidr: "10.96.0.0/12" }],
      serviceExternalIPs: [{ cidr: "192.0.2.128/25" }],
    }),
  ],
  "pools renamed": [
    pool("new", { cidr: "10.0.0.0/16", natOutgoing: true, ipipMode: "CrossSubnet", vxlanMode: "Never" }),
    node("other", {}),
  ],
};
