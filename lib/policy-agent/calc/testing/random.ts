/** Random resources of a world so small that they often meet. All of them are valid. */
import fc from "fast-check";
import type { EntityRule, Rule } from "../../../api/rule.ts";
import type { Input } from "../inputs.ts";
import type { Packet } from "./mirror.ts";
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
  slice,
  tier,
  workload,
} from "./resources.ts";

const NAMESPACES = ["blue", "green"];
const V4 = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1"];
const V6 = ["fd00::1", "fd00::2"];
const ADDRESSES = [...V4, ...V6, "192.0.2.7"];
const NETS = [
  "10.0.0.0/30",
  "10.0.0.2/31",
  "10.0.0.0/16",
  "10.0.0.3",
  "0.0.0.0/0",
  "fd00::/64",
  "fd00::2/128",
  "::/0",
  "192.0.2.0/24",
];
const NOT_NETS = NETS.filter((net) => !net.endsWith("/0"));
const SELECTORS = [
  "all()",
  "app == 'web'",
  "app == 'db' || role == 'x'",
  "has(app) && role != 'y'",
  "!has(role)",
  "app in {'web', 'db'} && env == 'prod'",
  "app not in {'web'}",
  "app contains 'e'",
  "role starts with 'x'",
  "!(app ends with 'b')",
  "env == 'prod'",
];
const NAMESPACE_SELECTORS = ["all()", "color == 'warm'", "projectcalico.org/name == 'blue'", "!has(color)"];
const ACCOUNT_SELECTORS = ["team == 'a'", "all()", "has(team)"];

const some = <T>(list: readonly T[]) => fc.constantFrom(...list);
const optional = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined, freq: 2 });
const lists = <T>(list: readonly T[], max = 2) => fc.uniqueArray(some(list), { minLength: 1, maxLength: max });

const labels = fc.record(
  { app: some(["web", "db"]), role: some(["x", "y"]), env: some(["prod", "dev"]) },
  { requiredKeys: [] },
) as fc.Arbitrary<Record<string, string>>;

const namedPorts = fc.array(
  fc.record({ name: some(["http", "dns"]), protocol: some(["TCP", "UDP", "SCTP"]), port: some([80, 53]) }),
  { maxLength: 2 },
);

const side: fc.Arbitrary<EntityRule> = fc
  .record({
    nets: optional(lists(NETS)),
    notNets: optional(lists(NOT_NETS)),
    selector: optional(some(SELECTORS)),
    notSelector: optional(some(SELECTORS)),
    namespaceSelector: optional(some([...NAMESPACE_SELECTORS, "global()"])),
    serviceAccounts: optional(
      fc.record({ names: lists(["sa", "sb"]), selector: some(ACCOUNT_SELECTORS) }, { requiredKeys: [] }),
    ),
    ports: optional(lists<number | string>([80, "50:60", "http", "dns"])),
    notPorts: optional(lists<number | string>([53, "79:80", "http"])),
  })
  // At most three of the clauses: rules that say everything match nothing.
  .chain((full) => {
    const clauses = Object.entries(full).filter(([, value]) => value !== undefined);
    return fc.subarray(clauses, { maxLength: Math.min(3, clauses.length) }).map((kept) => Object.fromEntries(kept));
  });

const serviceSide: fc.Arbitrary<EntityRule> = fc.record({
  services: fc.record({ name: some(["front", "back"]), namespace: some(NAMESPACES) }),
});

const withPorts = (given: EntityRule) => given.ports !== undefined || given.notPorts !== undefined;

const anyRule = fc
  .record({
    action: some(["Allow", "Allow", "Deny", "Pass", "Log"] as const),
    ipVersion: fc.option(some([4, 6] as const), { nil: undefined, freq: 6 }),
    protocol: optional(some<string | number>(["TCP", "UDP", "SCTP", 6])),
    notProtocol: fc.option(some<string | number>(["TCP", 17]), { nil: undefined, freq: 6 }),
    source: optional(fc.oneof({ weight: 6, arbitrary: side }, { weight: 1, arbitrary: serviceSide })),
    destination: optional(fc.oneof({ weight: 6, arbitrary: side }, { weight: 1, arbitrary: serviceSide })),
    icmp: fc.option(fc.record({ type: some([8, 3]), code: some([0, 1]) }, { requiredKeys: ["type"] }), {
      nil: undefined,
      freq: 8,
    }),
    notICMP: fc.option(fc.record({ type: some([8]) }), { nil: undefined, freq: 10 }),
  })
  .map((given): Rule => {
    const rule = Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as Rule;
    // As validation has it: ports need a protocol with ports, ICMP clauses the protocol ICMP.
    if (withPorts(rule.source ?? {}) || withPorts(rule.destination ?? {})) rule.protocol ??= "TCP";
    if ((rule.icmp || rule.notICMP) && rule.protocol === undefined && rule.notProtocol === undefined) {
      rule.protocol = rule.ipVersion === 6 ? "ICMPv6" : "ICMP";
    } else {
      delete rule.icmp;
      delete rule.notICMP;
    }
    return rule;
  });

const rules = fc.array(anyRule, { maxLength: 3 });

const policySpec = fc.record(
  {
    tier: some(["default", "first", "nowhere"]),
    order: some([1, 2, 10.5]),
    selector: some(["", ...SELECTORS]),
    serviceAccountSelector: some(["", "", ...ACCOUNT_SELECTORS]),
    types: fc.subarray(["Ingress", "Egress"] as const),
    ingress: rules,
    egress: rules,
  },
  { requiredKeys: ["tier", "ingress", "egress"] },
);

const globalSpec = fc
  .tuple(
    policySpec,
    fc.record(
      {
        namespaceSelector: some(["", ...NAMESPACE_SELECTORS]),
        performanceHints: fc.constant(["AssumeNeededOnEveryNode"]),
      },
      { requiredKeys: [] },
    ),
    some(["", "", "applyOnForward", "doNotTrack", "preDNAT"]),
  )
  .map(([spec, more, traffic]) => ({
    ...spec,
    ...more,
    ...(traffic === "" ? {} : { applyOnForward: true, [traffic]: true }),
    ...(traffic === "preDNAT" ? { egress: [], types: ["Ingress"] } : {}),
  }));

const workloads = fc
  .record({
    namespace: some(NAMESPACES),
    pod: some(["p1", "p-2", "p3"]),
    addresses: fc.tuple(lists(V4, 2), fc.uniqueArray(some(V6), { maxLength: 1 })).map((both) => both.flat()),
    labels,
    isLocal: some([true, true, false]),
    account: some(["", "sa", "sb"]),
    ports: namedPorts,
    hasOwnProfile: fc.boolean(),
  })
  .map(({ namespace, pod, addresses, labels, isLocal, account, ports, hasOwnProfile }) => {
    const profiles = [`kns.${namespace}`, ...(account === "" ? [] : [`ksa.${namespace}.${account}`])];
    return workload(namespace, pod, addresses, labels, {
      profiles: hasOwnProfile ? ["own", ...profiles] : profiles,
      ports,
      ...(isLocal ? {} : { node: "other" }),
      ...(account === "" ? {} : { serviceAccountName: account }),
    });
  });

const hosts = fc
  .record({
    name: some(["h1", "h2"]),
    labels,
    expectedIPs: lists(V4, 2),
    ports: namedPorts,
    profiles: some([[], ["own"]]),
    interfaceName: some(["eth0", "*"]),
    isLocal: some([true, true, false]),
  })
  .map(({ name, labels, isLocal, ...spec }) =>
    hostEndpoint(name, { ...spec, ...(isLocal ? {} : { node: "other" }) }, labels),
  );

/** Any resource. */
export const anyInput: fc.Arbitrary<Input> = fc.oneof(
  { weight: 6, arbitrary: workloads },
  { weight: 2, arbitrary: hosts },
  {
    weight: 2,
    arbitrary: fc
      .record({ namespace: some(NAMESPACES), color: some(["warm", "cold", ""]) })
      .map(({ namespace, color }) => namespaceProfile(namespace, color === "" ? {} : { color })),
  },
  {
    weight: 1,
    arbitrary: fc
      .record({ namespace: some(NAMESPACES), account: some(["sa", "sb"]), team: some(["a", "b"]) })
      .map(({ namespace, account, team }) => profile(`ksa.${namespace}.${account}`, { "pcsa.team": team })),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(labels, rules, rules).map(([own, ingress, egress]) => profile("own", own, { ingress, egress })),
  },
  {
    weight: 2,
    arbitrary: fc
      .record({
        name: some(["default", "first"]),
        spec: fc.record(
          { order: some([100, 200]), defaultAction: some(["Deny", "Pass"] as const) },
          { requiredKeys: [] },
        ),
      })
      .map(({ name, spec }) => tier(name, spec)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(some(["s1", "s2"]), fc.uniqueArray(some(NETS), { maxLength: 4 }), labels)
      .map(([name, nets, own]) => globalNetworkSet(name, nets, own)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(some(NAMESPACES), some(["s1", "s2"]), fc.uniqueArray(some(NETS), { maxLength: 4 }), labels)
      .map(([namespace, name, nets, own]) => networkSet(namespace, name, nets, own)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(
        some(NAMESPACES),
        some(["front", "back"]),
        lists(V4, 3),
        fc.array(fc.record({ port: some([80, 53]), protocol: some(["TCP", "UDP"]) }), { maxLength: 2 }),
        some(["a", "b"]),
      )
      .map(([namespace, service, addresses, ports, name]) => slice(namespace, service, addresses, ports, name)),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        some(NAMESPACES),
        some(["n1", "n2", "n3"]),
        policySpec,
        some(["NetworkPolicy", "NetworkPolicy", "KubernetesNetworkPolicy", "StagedNetworkPolicy"] as const),
      )
      .map(([namespace, name, spec, kind]) => networkPolicy(namespace, name, spec, kind)),
  },
  {
    weight: 4,
    arbitrary: fc
      .tuple(
        some(["g1", "g2", "g3"]),
        globalSpec,
        some([
          "GlobalNetworkPolicy",
          "GlobalNetworkPolicy",
          "KubernetesClusterNetworkPolicy",
          "StagedGlobalNetworkPolicy",
        ] as const),
      )
      .map(([name, spec, kind]) => globalPolicy(name, spec, kind)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(some(["p1", "p2"]), some(["10.0.0.0/16", "fd00::/64"]), fc.boolean())
      .map(([name, cidr, natOutgoing]) => pool(name, { cidr, natOutgoing, ipipMode: "Never", vxlanMode: "Always" })),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(some(["this", "other"]), some(["172.16.0.1/24", "172.16.0.2/24"]))
      .map(([name, ipv4Address]) => node(name, { bgp: { ipv4Address } })),
  },
  {
    weight: 1,
    arbitrary: some(["10.96.0.0/12", "10.112.0.0/12"]).map((cidr) =>
      bgpConfiguration({ serviceClusterIPs: [{ cidr }] }),
    ),
  },
);

/** First packets between addresses of this world. */
export const packets: fc.Arbitrary<Packet> = fc
  .record({
    source: some(ADDRESSES),
    destination: some(ADDRESSES),
    protocol: some([6, 6, 17, 132, 1, 47]),
    sourcePort: some([80, 53, 1234]),
    destinationPort: some([80, 53, 55, 1234]),
    type: some([8, 3]),
  })
  .filter(({ source, destination }) => source.includes(":") === destination.includes(":"))
  .map(({ source, destination, protocol, sourcePort, destinationPort, type }) => {
    if (protocol === 1) {
      return { source, destination, protocol: source.includes(":") ? 58 : 1, icmp: { type, code: 0 } };
    }
    if (protocol === 47) return { source, destination, protocol };
    return { source, destination, protocol, sourcePort, destinationPort };
  });
