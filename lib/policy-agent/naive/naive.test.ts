import { describe, expect, test } from "vitest";
import type { EndpointSlice } from "../../api/kubernetes/index.ts";
import type { EntityRule, Rule } from "../../api/rule.ts";
import type { AnyPolicy, Input, PlainInput, PolicyKind } from "../calc/index.ts";
import {
  type By,
  type Direction,
  evaluate,
  evaluateEndpoint,
  type Flow,
  type HostAction,
  makeState,
  type Traffic,
} from "./index.ts";

const V3 = "projectcalico.org/v3";

function input(kind: string, name: string, spec: object, more: { namespace?: string; labels?: object } = {}): Input {
  const { namespace, labels } = more;
  const inNamespace = namespace === undefined ? {} : { namespace };
  const metadata = { name, ...inNamespace, ...(labels ? { labels } : {}) };
  const resource = { apiVersion: V3, kind, metadata, spec } as unknown as PlainInput;
  return { kind: resource.kind, name, ...inNamespace, resource };
}

const TCP = 6;
const UDP = 17;

interface Pod {
  readonly labels?: Record<string, string>;
  readonly profiles?: string[];
  readonly ports?: object[];
  readonly account?: string;
  readonly namespace?: string;
}

const pod = (name: string, ip: string, { labels, profiles, ports, account, namespace = "ns" }: Pod = {}): Input =>
  input(
    "WorkloadEndpoint",
    name,
    {
      node: "n",
      pod: name,
      ipNetworks: ip.split(",").map((one) => (one.includes(":") ? `${one}/128` : `${one}/32`)),
      profiles: profiles ?? [`kns.${namespace}`],
      ...(ports ? { ports } : {}),
      ...(account ? { serviceAccountName: account } : {}),
    },
    { namespace, labels: { "projectcalico.org/namespace": namespace, ...labels } },
  );

const ALLOW_ALL = { ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] };
const profile = (name: string, spec: object = ALLOW_ALL): Input => input("Profile", name, spec);
const tier = (name: string, order: number | undefined, defaultAction = "Deny"): Input =>
  input("Tier", name, { ...(order === undefined ? {} : { order }), defaultAction });

function policy(kind: PolicyKind, name: string, spec: object, namespace?: string): Input {
  const inNamespace = namespace === undefined ? {} : { namespace };
  const body = { apiVersion: V3, kind, metadata: { name, ...inNamespace }, spec: { tier: "default", ...spec } };
  return { kind: "Policy", id: { kind, ...inNamespace, name }, policy: body as unknown as AnyPolicy };
}
const np = (name: string, spec: object, namespace = "ns"): Input => policy("NetworkPolicy", name, spec, namespace);
const gnp = (name: string, spec: object): Input => policy("GlobalNetworkPolicy", name, spec);

const BASE: readonly Input[] = [
  profile("kns.ns", { ...ALLOW_ALL, labelsToApply: { "pcns.team": "a" } }),
  profile("kns.other", { ...ALLOW_ALL, labelsToApply: { "pcns.team": "b" } }),
  tier("default", 1_000_000),
];
const web = pod("web", "10.0.0.1,fd00::1", { labels: { app: "web" } });
const client = pod("client", "10.0.0.2,fd00::2", { labels: { app: "client" } });

const flow = (more: Partial<Flow> = {}): Flow => ({
  source: "10.0.0.2",
  destination: "10.0.0.1",
  protocol: TCP,
  sourcePort: 40000,
  destinationPort: 80,
  ...more,
});
const v6 = { source: "fd00::2", destination: "fd00::1" } as const;

/** What the endpoint of a name says, in the short form that the tests read. */
function say(inputs: Input[], name: string, direction: Direction, of: Flow = flow(), traffic: Traffic = "normal") {
  const state = makeState([...BASE, ...inputs]);
  const endpoint = state.endpoints.find((one) => one.name === name)!;
  const { verdict, by } = evaluateEndpoint(state, endpoint, direction, of, traffic);
  return `${verdict}: ${text(by)}`;
}

function text(by: By): string {
  switch (by.kind) {
    case "rule":
      return `${by.tier} ${by.policy.name} ${by.rule}`;
    case "tier":
      return `end of ${by.tier}`;
    case "profile":
      return `${by.profile} ${by.rule}`;
    case "endpoint-to-host":
      return by.action;
    case "missing-profile":
      return `no ${by.profile}`;
    default:
      return by.kind;
  }
}

/** Whether a rule with these fields matches a flow to `web`; `namespace`: the rule is in a NetworkPolicy of `ns`, else in a global one. */
function ruleMatches(rule: Partial<Rule>, of: Flow = flow(), inputs: Input[] = [], namespaced = false): boolean {
  const spec = { selector: "app == 'web'", types: ["Ingress"], ingress: [{ action: "Allow", ...rule }] };
  const said = say([web, client, ...inputs, namespaced ? np("p", spec) : gnp("p", spec)], "web", "ingress", of);
  expect(["allow: default p 0", "deny: end of default"]).toContain(said);
  return said.startsWith("allow");
}

const fromMatches = (source: EntityRule, of?: Flow, inputs?: Input[], namespaced?: boolean): boolean =>
  ruleMatches({ source }, of, inputs, namespaced);
const toMatches = (destination: EntityRule, of?: Flow, inputs?: Input[], namespaced?: boolean): boolean =>
  ruleMatches({ destination }, of, inputs, namespaced);

describe("which policies are for an endpoint", () => {
  const deny = { types: ["Ingress"], ingress: [{ action: "Deny" }] };
  const DENIED = "deny: default p 0";
  const UNTOUCHED = "allow: kns.ns 0";

  test.each([
    ["no selector: all of the namespace", np("p", deny), DENIED],
    ["another namespace", np("p", deny, "other"), UNTOUCHED],
    ["a selector that matches", np("p", { ...deny, selector: "app == 'web'" }), DENIED],
    ["a selector that does not", np("p", { ...deny, selector: "app == 'db'" }), UNTOUCHED],
    ["global, no selector: all endpoints", gnp("p", deny), DENIED],
    ["global, labels of the namespace", gnp("p", { ...deny, namespaceSelector: "team == 'a'" }), DENIED],
    ["global, labels of another", gnp("p", { ...deny, namespaceSelector: "team == 'b'" }), UNTOUCHED],
    ["labels of the service account", np("p", { ...deny, serviceAccountSelector: "trust == 'high'" }), UNTOUCHED],
    ["a direction that it is not for", np("p", { ...deny, types: ["Egress"] }), UNTOUCHED],
    ["staged: not enforced", policy("StagedNetworkPolicy", "p", deny, "ns"), UNTOUCHED],
    ["staged, global", policy("StagedGlobalNetworkPolicy", "p", deny), UNTOUCHED],
    ["made of one of Kubernetes", policy("KubernetesNetworkPolicy", "p", deny, "ns"), DENIED],
    ["no longer there", { ...np("p", deny), policy: undefined } as Input, UNTOUCHED],
  ])("%s", (_, input, said) => {
    expect(say([web, input], "web", "ingress")).toBe(said);
  });

  test("all() in a namespaceSelector is what is in a namespace: not a host endpoint", () => {
    const host = input("HostEndpoint", "host", { node: "n", interfaceName: "eth0", profiles: ["kns.ns"] });
    const inputs = [web, host, gnp("p", { ...deny, namespaceSelector: "all()" })];
    expect(say(inputs, "web", "ingress")).toBe(DENIED);
    expect(say(inputs, "host", "ingress")).toBe(UNTOUCHED);
    expect(say([host, gnp("p", deny)], "host", "ingress")).toBe(DENIED);
  });

  test("a serviceAccountSelector looks at the labels of the account's profile", () => {
    const robot = profile("ksa.ns.robot", { labelsToApply: { "pcsa.trust": "high" } });
    const inputs = [pod("web", "10.0.0.1", { profiles: ["kns.ns", "ksa.ns.robot"], account: "robot" }), robot];
    expect(say([...inputs, np("p", { ...deny, serviceAccountSelector: "trust == 'high'" })], "web", "ingress")).toBe(
      DENIED,
    );
    expect(say([...inputs, gnp("p", { ...deny, serviceAccountSelector: "all()" })], "web", "ingress")).toBe(DENIED);
    expect(say([web, gnp("p", { ...deny, serviceAccountSelector: "all()" })], "web", "ingress")).toBe(UNTOUCHED);
  });

  test.each([
    ["only ingress rules", { ingress: [{ action: "Deny" }] }, "ingress"],
    ["only egress rules", { egress: [{ action: "Deny" }] }, "egress"],
    ["both", { ingress: [{ action: "Deny" }], egress: [{ action: "Deny" }] }, "ingress egress"],
    ["none", {}, "ingress"],
  ])("types that are not said follow from the rules: %s", (_, spec, directions) => {
    const denied = (["ingress", "egress"] as const).filter((direction) =>
      say([web, np("p", spec)], "web", direction).startsWith("deny"),
    );
    expect(denied.join(" ")).toBe(directions);
  });

  test("labels come from the endpoint, then from its profiles in their order", () => {
    const one = profile("one", { ...ALLOW_ALL, labelsToApply: { app: "one", role: "one" } });
    const two = profile("two", { labelsToApply: { app: "two", role: "two", zone: "two" } });
    const inputs = [pod("web", "10.0.0.1", { labels: { app: "web" }, profiles: ["one", "two"] }), one, two];
    for (const selector of ["app == 'web'", "role == 'one'", "zone == 'two'"]) {
      expect(say([...inputs, np("p", { ...deny, selector })], "web", "ingress"), selector).toBe(DENIED);
    }
  });

  test("a workload cannot give itself the labels of a namespace or service account", () => {
    const liar = pod("web", "10.0.0.1", { labels: { "pcns.team": "b", "pcsa.trust": "high" } });
    expect(say([liar, gnp("p", { ...deny, namespaceSelector: "team == 'b'" })], "web", "ingress")).toBe(UNTOUCHED);
    expect(say([liar, gnp("p", { ...deny, serviceAccountSelector: "trust == 'high'" })], "web", "ingress")).toBe(
      UNTOUCHED,
    );
  });
});

describe("order", () => {
  const says = (action: string, more: object = {}) => ({ types: ["Ingress"], ingress: [{ action }], ...more });

  test("rules in their order, Log decides nothing", () => {
    const rules = [{ action: "Log" }, { action: "Deny", protocol: "UDP" }, { action: "Allow" }, { action: "Deny" }];
    expect(say([web, np("p", { types: ["Ingress"], ingress: rules })], "web", "ingress")).toBe("allow: default p 2");
  });

  test("policies from the lowest order to the highest, those without one last", () => {
    const inputs = [np("a", says("Deny")), np("b", says("Deny", { order: 20 })), np("c", says("Allow", { order: 3 }))];
    expect(say([web, ...inputs], "web", "ingress")).toBe("allow: default c 0");
    expect(say([web, ...inputs.slice(0, 2)], "web", "ingress")).toBe("deny: default b 0");
  });

  test("the same order: by name, then namespace, then kind", () => {
    const tied = [gnp("b", says("Deny")), np("a", says("Allow"))];
    expect(say([web, ...tied], "web", "ingress")).toBe("allow: default a 0");
    const same = [np("a", says("Deny")), gnp("a", says("Allow"))];
    expect(say([web, ...same], "web", "ingress")).toBe("allow: default a 0");
    const kinds = [np("a", says("Deny")), policy("KubernetesNetworkPolicy", "a", says("Allow"), "ns")];
    expect(say([web, ...kinds], "web", "ingress")).toBe("allow: default a 0");
  });

  test("tiers from the lowest order to the highest, then by name; those without an order, and those that there are not, last", () => {
    const one = (name: string, action: string) => gnp(`${name}-p`, says(action, { tier: name }));
    const inputs = [
      one("x", "Deny"),
      one("default", "Deny"),
      one("y", "Allow"),
      tier("x", 20),
      tier("y", 10),
      tier("b", 10),
    ];
    expect(say([web, ...inputs], "web", "ingress")).toBe("allow: y y-p 0");
    expect(say([web, ...inputs, one("b", "Deny")], "web", "ingress")).toBe("deny: b b-p 0");
    expect(say([web, tier("late", undefined), one("late", "Deny"), one("default", "Allow")], "web", "ingress")).toBe(
      "allow: default default-p 0",
    );
    expect(say([web, tier("late", undefined), one("late", "Allow"), one("ghost", "Deny")], "web", "ingress")).toBe(
      "allow: late late-p 0",
    );
  });

  test("Pass goes to the next tier, over the tier's other policies; after the last tier come the profiles", () => {
    const first = gnp("a", says("Pass", { tier: "first", order: 1 }));
    const skipped = gnp("b", says("Deny", { tier: "first", order: 2 }));
    expect(say([web, tier("first", 1), first, skipped], "web", "ingress")).toBe("allow: kns.ns 0");
    expect(say([web, tier("first", 1), first, skipped, gnp("c", says("Deny"))], "web", "ingress")).toBe(
      "deny: default c 0",
    );
  });

  test("the end of a tier denies, or passes where its default action says so", () => {
    const unrelated = { types: ["Ingress"], tier: "first", ingress: [{ action: "Allow", protocol: "UDP" }] };
    expect(say([web, tier("first", 1), gnp("a", unrelated)], "web", "ingress")).toBe("deny: end of first");
    expect(say([web, tier("first", 1, "Pass"), gnp("a", unrelated)], "web", "ingress")).toBe("allow: kns.ns 0");
    expect(say([web, gnp("a", unrelated)], "web", "ingress")).toBe("deny: end of first");
    expect(say([web, tier("first", 1), gnp("a", unrelated)], "web", "egress")).toBe("allow: kns.ns 0");
  });

  test("staged policies do not make a tier deny", () => {
    const staged = policy("StagedGlobalNetworkPolicy", "a", says("Deny", { tier: "first" }));
    expect(say([web, tier("first", 1), staged], "web", "ingress")).toBe("allow: kns.ns 0");
  });
});

describe("profiles", () => {
  const rules = (...ingress: object[]) => ({ ingress });
  const withProfiles = (...profiles: string[]) => pod("web", "10.0.0.1", { profiles });

  test("the first that decides, in the order in which they are named", () => {
    const inputs = [
      profile("udp", rules({ action: "Allow", protocol: "UDP" })),
      profile("no", rules({ action: "Deny" })),
    ];
    expect(say([withProfiles("udp", "no"), ...inputs], "web", "ingress")).toBe("deny: no 0");
    expect(say([withProfiles("kns.ns", "no"), ...inputs], "web", "ingress")).toBe("allow: kns.ns 0");
  });

  test("without one that allows, everything is denied", () => {
    expect(say([withProfiles()], "web", "ingress")).toBe("deny: no-profile");
    expect(say([withProfiles("empty"), profile("empty", {})], "web", "ingress")).toBe("deny: no-profile");
  });

  test("one that is not there denies all that gets to it", () => {
    expect(say([withProfiles("gone", "kns.ns")], "web", "ingress")).toBe("deny: no gone");
    expect(say([withProfiles("kns.ns", "gone")], "web", "ingress")).toBe("allow: kns.ns 0");
  });
});

describe("what a rule matches", () => {
  test("nothing said: everything", () => {
    expect(ruleMatches({})).toBe(true);
    expect(ruleMatches({}, flow({ protocol: 47 }))).toBe(true);
  });

  test("ipVersion", () => {
    expect(ruleMatches({ ipVersion: 4 })).toBe(true);
    expect(ruleMatches({ ipVersion: 6 })).toBe(false);
    expect(ruleMatches({ ipVersion: 6 }, flow(v6))).toBe(true);
  });

  test("protocol, by name in any case or by number", () => {
    for (const protocol of ["TCP", "tcp", 6, "6"]) expect(ruleMatches({ protocol })).toBe(true);
    expect(ruleMatches({ protocol: "UDP" })).toBe(false);
    expect(ruleMatches({ protocol: "SCTP" }, flow({ protocol: 132 }))).toBe(true);
    expect(ruleMatches({ protocol: "UDPLite" }, flow({ protocol: 136 }))).toBe(true);
    expect(ruleMatches({ protocol: 47 }, flow({ protocol: 47 }))).toBe(true);
  });

  test("notProtocol", () => {
    expect(ruleMatches({ notProtocol: "TCP" })).toBe(false);
    expect(ruleMatches({ notProtocol: 17 })).toBe(true);
  });

  const ping = flow({ protocol: 1, icmp: { type: 8, code: 0 } });
  test("icmp: type, and code where it is said", () => {
    expect(ruleMatches({ protocol: "ICMP", icmp: { type: 8 } }, ping)).toBe(true);
    expect(ruleMatches({ protocol: "ICMP", icmp: { type: 8, code: 0 } }, ping)).toBe(true);
    expect(ruleMatches({ protocol: "ICMP", icmp: { type: 8, code: 1 } }, ping)).toBe(false);
    expect(ruleMatches({ protocol: "ICMP", icmp: { type: 0 } }, ping)).toBe(false);
    expect(
      ruleMatches({ protocol: "ICMPv6", icmp: { type: 128 } }, flow({ ...v6, protocol: 58, icmp: { type: 128 } })),
    ).toBe(true);
    expect(ruleMatches({ protocol: "ICMP" }, flow({ ...v6, protocol: 58, icmp: { type: 128 } }))).toBe(false);
  });

  test("notICMP: other ICMP messages, and nothing that is no ICMP", () => {
    expect(ruleMatches({ notICMP: { type: 8 } }, ping)).toBe(false);
    expect(ruleMatches({ notICMP: { type: 8, code: 1 } }, ping)).toBe(true);
    expect(ruleMatches({ notICMP: { type: 3 } }, ping)).toBe(true);
    expect(ruleMatches({ notICMP: { type: 3 } }, flow())).toBe(false);
  });

  test("nets: any of them", () => {
    expect(fromMatches({ nets: ["192.0.2.0/24", "10.0.0.0/24"] })).toBe(true);
    expect(fromMatches({ nets: ["10.0.0.1/32"] })).toBe(false);
    expect(toMatches({ nets: ["10.0.0.1"] })).toBe(true);
    expect(fromMatches({ nets: ["fd00::/64"] }, flow(v6))).toBe(true);
    expect(fromMatches({ nets: ["fd00::/64"] })).toBe(false);
  });

  test("notNets: none of them; those of one IP version limit the rule to it", () => {
    expect(fromMatches({ notNets: ["10.0.0.1/32", "192.0.2.0/24"] })).toBe(true);
    expect(fromMatches({ notNets: ["10.0.0.0/24"] })).toBe(false);
    expect(fromMatches({ nets: ["10.0.0.0/8"], notNets: ["10.0.0.0/24"] })).toBe(false);
    expect(fromMatches({ notNets: ["192.0.2.0/24"] }, flow(v6))).toBe(false);
  });

  const numbered = (side: "source" | "destination", ports: (number | string)[], not = false) =>
    ruleMatches({ protocol: "TCP", [side]: not ? { notPorts: ports } : { ports } });
  test("ports: numbers and ranges of the source or the destination", () => {
    expect(numbered("destination", [443, 80])).toBe(true);
    expect(numbered("destination", ["1:79"])).toBe(false);
    expect(numbered("destination", ["80:80"])).toBe(true);
    expect(numbered("source", ["32768:60999"])).toBe(true);
    expect(numbered("source", [80])).toBe(false);
  });

  test("notPorts", () => {
    expect(numbered("destination", [80], true)).toBe(false);
    expect(numbered("destination", ["81:90"], true)).toBe(true);
    expect(numbered("source", ["40000:40001"], true)).toBe(false);
  });

  const named = pod("named", "10.0.0.1", { ports: [{ name: "http", protocol: "TCP", port: 80 }], labels: { x: "y" } });
  test("named ports: an endpoint with the address has a port of that name, protocol and number", () => {
    expect(toMatches({ ports: ["http"] }, flow(), [named])).toBe(true);
    expect(toMatches({ ports: ["http"] }, flow({ destinationPort: 81 }), [named])).toBe(false);
    expect(toMatches({ ports: ["http"] }, flow({ protocol: UDP }), [named])).toBe(false);
    expect(toMatches({ ports: ["https"] }, flow(), [named])).toBe(false);
    expect(ruleMatches({ protocol: "TCP", destination: { ports: [443, "http"] } }, flow(), [named])).toBe(true);
    expect(toMatches({ notPorts: ["http"] }, flow(), [named])).toBe(false);
    expect(toMatches({ notPorts: ["http"] }, flow({ destinationPort: 81 }), [named])).toBe(true);
    expect(toMatches({ ports: ["http"] }, flow({ protocol: 1, icmp: { type: 8 } }), [named])).toBe(false);
  });

  test("named ports: of the endpoints that the selector selects", () => {
    expect(toMatches({ selector: "x == 'y'", ports: ["http"] }, flow(), [named])).toBe(true);
    expect(toMatches({ selector: "app == 'web'", ports: ["http"] }, flow(), [named])).toBe(false);
  });

  const set = input(
    "GlobalNetworkSet",
    "set",
    { nets: ["203.0.113.0/24", "198.51.100.1"] },
    { labels: { app: "out" } },
  );
  const outside = flow({ source: "203.0.113.9" });
  test("selector: endpoints and network sets of any namespace in a global policy", () => {
    expect(fromMatches({ selector: "app == 'client'" })).toBe(true);
    expect(fromMatches({ selector: "app == 'web'" })).toBe(false);
    expect(fromMatches({ selector: "app == 'out'" }, outside, [set])).toBe(true);
    expect(fromMatches({ selector: "app == 'out'" }, flow({ source: "198.51.100.1" }), [set])).toBe(true);
    expect(fromMatches({ selector: "all()" }, flow({ source: "203.0.114.1" }), [set])).toBe(false);
    expect(fromMatches({ selector: "app == 'client'" }, flow(v6))).toBe(true);
  });

  test("selector: of the policy's namespace in a namespaced one, sets of that namespace included", () => {
    const far = pod("far", "10.0.0.3", { namespace: "other", labels: { app: "client" } });
    const fromFar = flow({ source: "10.0.0.3" });
    expect(fromMatches({ selector: "app == 'client'" }, flow(), [far], true)).toBe(true);
    expect(fromMatches({ selector: "app == 'client'" }, fromFar, [far], true)).toBe(false);
    expect(fromMatches({ selector: "app == 'out'" }, outside, [set], true)).toBe(false);
    const own = input("NetworkSet", "own", { nets: ["203.0.113.0/24"] }, { namespace: "ns", labels: { app: "out" } });
    expect(fromMatches({ selector: "app == 'out'" }, outside, [own], true)).toBe(true);
    expect(fromMatches({ nets: ["10.0.0.3/32"] }, fromFar, [far], true)).toBe(true);
  });

  test("namespaceSelector: by labels of the namespace; all() is any, global() is none", () => {
    const far = pod("far", "10.0.0.3", { namespace: "other", profiles: ["kns.other"], labels: { app: "client" } });
    const fromFar = flow({ source: "10.0.0.3" });
    for (const namespaced of [true, false]) {
      expect(fromMatches({ namespaceSelector: "team == 'b'" }, fromFar, [far], namespaced)).toBe(true);
      expect(fromMatches({ namespaceSelector: "team == 'a'" }, fromFar, [far], namespaced)).toBe(false);
      expect(fromMatches({ namespaceSelector: "all()" }, fromFar, [far], namespaced)).toBe(true);
      expect(fromMatches({ namespaceSelector: "all()" }, outside, [set], namespaced)).toBe(false);
      expect(fromMatches({ namespaceSelector: "global()" }, outside, [set], namespaced)).toBe(true);
      expect(fromMatches({ namespaceSelector: "global()" }, fromFar, [far], namespaced)).toBe(false);
      const both = { selector: "app == 'web'", namespaceSelector: "team == 'b'" };
      expect(fromMatches(both, fromFar, [far], namespaced)).toBe(false);
    }
    const partners = input("NetworkSet", "own", { nets: ["203.0.113.0/24"] }, { namespace: "other" });
    expect(fromMatches({ namespaceSelector: "team == 'b'" }, outside, [partners])).toBe(true);
  });

  test("notSelector alone: what it does not match, addresses of nothing included; with others, or in a namespace, only endpoints", () => {
    expect(fromMatches({ notSelector: "app == 'client'" })).toBe(false);
    expect(fromMatches({ notSelector: "app == 'web'" })).toBe(true);
    expect(fromMatches({ notSelector: "app == 'web'" }, outside)).toBe(true);
    expect(fromMatches({ selector: "all()", notSelector: "app == 'web'" }, outside)).toBe(false);
    expect(fromMatches({ selector: "has(app)", notSelector: "app == 'client'" })).toBe(false);
    expect(fromMatches({ notSelector: "app == 'web'" }, outside, [], true)).toBe(false);
    expect(fromMatches({ notSelector: "app == 'web'" }, flow(), [], true)).toBe(true);
  });

  test("serviceAccounts: by name and by labels, both must hold", () => {
    const robot = pod("robot", "10.0.0.4", { account: "robot", profiles: ["kns.ns", "ksa.ns.robot"] });
    const account = profile("ksa.ns.robot", { labelsToApply: { "pcsa.trust": "high" } });
    const from = flow({ source: "10.0.0.4" });
    const match = (serviceAccounts: EntityRule["serviceAccounts"]) =>
      fromMatches({ ...(serviceAccounts ? { serviceAccounts } : {}) }, from, [robot, account], true);
    expect(match({ names: ["robot", "another"] })).toBe(true);
    expect(match({ names: ["another"] })).toBe(false);
    expect(match({ selector: "trust == 'high'" })).toBe(true);
    expect(match({ names: ["robot"], selector: "trust == 'low'" })).toBe(false);
    expect(match({})).toBe(true);
  });

  const slice = (more: Partial<EndpointSlice>): Input => ({
    kind: "EndpointSlice",
    name: "s-1",
    namespace: "ns",
    resource: {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { name: "s-1", namespace: "ns", labels: { "kubernetes.io/service-name": "s" } },
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.0.0.1"], conditions: { ready: false } }],
      ports: [{ port: 80 }],
      ...more,
    } as EndpointSlice,
  });
  const services = { name: "s", namespace: "ns" };
  test("services as destination: the addresses and ports behind it, ready or not", () => {
    expect(toMatches({ services }, flow(), [slice({})])).toBe(true);
    expect(toMatches({ services: { name: "s" } }, flow(), [slice({})], true)).toBe(true);
    expect(toMatches({ services: { name: "other", namespace: "ns" } }, flow(), [slice({})])).toBe(false);
    expect(toMatches({ services }, flow({ destinationPort: 81 }), [slice({})])).toBe(false);
    expect(toMatches({ services }, flow({ protocol: UDP }), [slice({})])).toBe(false);
    expect(toMatches({ services }, flow({ protocol: UDP }), [slice({ ports: [{ port: 80, protocol: "UDP" }] })])).toBe(
      true,
    );
    expect(toMatches({ services }, flow(), [slice({ ports: [{}] })])).toBe(false);
    expect(toMatches({ services }, flow(), [slice({ addressType: "FQDN", endpoints: [{ addresses: ["a.b"] }] })])).toBe(
      false,
    );
  });

  test("services as source: the addresses behind it, whatever the port", () => {
    const from = slice({ endpoints: [{ addresses: ["10.0.0.2"] }] });
    expect(fromMatches({ services }, flow(), [from])).toBe(true);
    expect(fromMatches({ services }, flow({ source: "10.0.0.9" }), [from])).toBe(false);
  });

  test("http: the rest of the rule", () => {
    expect(ruleMatches({ http: { methods: ["GET"] } })).toBe(true);
    expect(ruleMatches({ http: { methods: ["GET"] }, protocol: "UDP" })).toBe(false);
  });
});

describe("host endpoints", () => {
  const host = (spec: object = {}) =>
    input("HostEndpoint", "host", { node: "n", interfaceName: "eth0", ...spec }, { labels: { host: "yes" } });
  const says = (action: string, more: object = {}) =>
    gnp(`p-${action}`.toLowerCase(), {
      selector: "has(host)",
      types: ["Ingress", "Egress"],
      ingress: [{ action }],
      egress: [{ action }],
      ...more,
    });
  const all = (inputs: Input[], direction: Direction = "ingress") =>
    (["untracked", "preDNAT", "normal", "forward"] as const).map((traffic) =>
      say([host(), ...inputs], "host", direction, flow(), traffic),
    );
  const NOTHING = ["continue: nothing", "continue: nothing", "deny: no-profile", "allow: nothing"];

  test("without policy: nothing to or from the host, all that is forwarded", () => {
    expect(all([])).toEqual(NOTHING);
    expect(say([host({ profiles: ["kns.ns"] })], "host", "ingress")).toBe("allow: kns.ns 0");
  });

  test("plain policy is for what begins or ends at the host", () => {
    expect(all([says("Allow")])).toEqual([...NOTHING.slice(0, 2), "allow: default p-allow 0", NOTHING[3]]);
  });

  test("applyOnForward: for what is forwarded, too, with the default action of the tier", () => {
    const other = says("Deny", { applyOnForward: true, ingress: [{ action: "Deny", protocol: "UDP" }] });
    expect(all([other])).toEqual([...NOTHING.slice(0, 2), "deny: end of default", "deny: end of default"]);
    expect(all([says("Pass", { applyOnForward: true })])).toEqual(NOTHING);
    expect(all([{ ...says("Allow", { applyOnForward: true, types: ["Egress"] }) }])).toEqual(NOTHING);
  });

  test("doNotTrack: before all others, which are asked when it does not decide", () => {
    const untracked = { doNotTrack: true, applyOnForward: true };
    expect(all([says("Deny", untracked)])).toEqual(["deny: default p-deny 0", ...NOTHING.slice(1)]);
    expect(all([says("Deny", { ...untracked, ingress: [] })])).toEqual(NOTHING);
  });

  test("preDNAT: ingress only, and it has no default action", () => {
    const preDNAT = { preDNAT: true, applyOnForward: true };
    expect(all([says("Deny", preDNAT)])).toEqual([NOTHING[0], "deny: default p-deny 0", ...NOTHING.slice(2)]);
    expect(all([says("Deny", preDNAT)], "egress")).toEqual(NOTHING);
    expect(all([says("Deny", { ...preDNAT, ingress: [] })])).toEqual(NOTHING);
  });

  test("a workload knows neither untracked nor preDNAT policy", () => {
    const untracked = gnp("p", { types: ["Ingress"], ingress: [{ action: "Deny" }], doNotTrack: true });
    expect(say([web, untracked], "web", "ingress")).toBe("allow: kns.ns 0");
  });
});

describe("from end to end", () => {
  const check = (inputs: Input[], of: Flow = flow(), hostAction?: HostAction) => {
    const { verdict, steps } = evaluate(makeState([...BASE, ...inputs]), of, hostAction);
    return [verdict, ...steps.map(({ endpoint, direction, by }) => `${endpoint.name} ${direction} ${text(by)}`)];
  };

  test("egress at the source, then ingress at the destination", () => {
    expect(check([web, client])).toEqual(["allow", "client egress kns.ns 0", "web ingress kns.ns 0"]);
    const ingress = np("in", { selector: "app == 'web'", types: ["Ingress"] });
    expect(check([web, client, ingress])).toEqual(["deny", "client egress kns.ns 0", "web ingress end of default"]);
    const egress = np("out", { selector: "app == 'client'", types: ["Egress"] });
    expect(check([web, client, ingress, egress])).toEqual(["deny", "client egress end of default"]);
  });

  test("an address of nobody has no say", () => {
    expect(check([web], flow({ source: "203.0.113.1" }))).toEqual(["allow", "web ingress kns.ns 0"]);
    expect(check([])).toEqual(["allow"]);
  });

  test("an endpoint without an address is not there", () => {
    const empty = input("WorkloadEndpoint", "x", { node: "n", ipNetworks: [] }, { namespace: "ns" });
    expect(makeState([empty]).endpoints).toEqual([]);
  });

  const node = input("Node", "n", { bgp: { ipv4Address: "192.0.2.1/24" } });
  const atHost = flow({ destination: "192.0.2.1" });
  test("a host endpoint is found by expectedIPs, or as that of all interfaces of the node", () => {
    const named = input("HostEndpoint", "b", { node: "n", interfaceName: "eth0", expectedIPs: ["192.0.2.1"] });
    const other = input("HostEndpoint", "a", { node: "n", interfaceName: "eth1", expectedIPs: ["192.0.2.9"] });
    const every = input("HostEndpoint", "c", { node: "n", interfaceName: "*", profiles: ["kns.ns"] });
    expect(check([named, other, every, node], atHost).slice(-1)).toEqual(["b ingress no-profile"]);
    expect(check([other, every, node], atHost).slice(-1)).toEqual(["c ingress kns.ns 0"]);
    expect(check([other, every], atHost)).toEqual(["allow"]);
  });

  test("at a host endpoint: doNotTrack, then preDNAT, then the others; the first that decides", () => {
    const host = input("HostEndpoint", "h", { node: "n", expectedIPs: ["192.0.2.1"] });
    const spec = { types: ["Ingress"], ingress: [{ action: "Allow" }], applyOnForward: true };
    expect(check([host, gnp("p", { ...spec, preDNAT: true })], atHost)).toEqual([
      "allow",
      "h ingress nothing",
      "h ingress default p 0",
    ]);
    expect(check([host, gnp("p", { ...spec, doNotTrack: true })], atHost)).toEqual(["allow", "h ingress default p 0"]);
    expect(check([host, gnp("p", spec)], atHost)).toEqual([
      "allow",
      "h ingress nothing",
      "h ingress nothing",
      "h ingress default p 0",
    ]);
  });

  describe("between a host and its own workloads", () => {
    const host = input("HostEndpoint", "h", { node: "n", interfaceName: "eth0", expectedIPs: ["192.0.2.1"] });
    const every = input("HostEndpoint", "all", { node: "n", interfaceName: "*" });
    const up = flow({ source: "10.0.0.1", destination: "192.0.2.1" });
    const deny = { ingress: [{ action: "Deny" }], egress: [{ action: "Deny" }], types: ["Ingress", "Egress"] };
    const early = (action: string) =>
      gnp("p", { preDNAT: true, applyOnForward: true, types: ["Ingress"], ingress: [{ action }] });
    const one = pod("one", "10.0.0.1,fd00::1");

    test("the host reaches them, whoever denies it", () => {
      const down = flow({ source: "192.0.2.1", destination: "10.0.0.1" });
      for (const more of [[], [host], [every]])
        expect(check([one, node, gnp("p", deny), ...more], down)).toEqual(["allow"]);
      const far = input("Node", "n", { bgp: { ipv4Address: "192.0.2.9/24" } });
      expect(check([one, far, gnp("p", deny)], down)[0]).toBe("deny");
    });

    test("they reach it when egress policy and the node's action allow it, and plain policy of the host is not asked", () => {
      const egress = "one egress kns.ns 0";
      for (const more of [
        [],
        [host],
        [host, gnp("p", { ...deny, selector: "!has(app) && !has(projectcalico.org/namespace)" })],
      ]) {
        const inputs = [one, node, ...more];
        expect(check(inputs, up)).toEqual(["deny", egress, "one egress DROP"]);
        expect(check(inputs, up, "ACCEPT")).toEqual(["allow", egress, "one egress ACCEPT"]);
        expect(check(inputs, up, "RETURN")).toEqual(["allow", egress, "one egress RETURN"]);
      }
      expect(check([one, node, np("p", deny)], up, "ACCEPT")).toEqual(["deny", "one egress default p 0"]);
    });

    test("preDNAT policy of the host endpoint for all interfaces comes first, untracked policy never", () => {
      expect(check([one, node, host, early("Deny")], up, "ACCEPT")[0]).toBe("allow");
      expect(check([one, node, every, early("Deny")], up, "ACCEPT")).toEqual(["deny", "all ingress default p 0"]);
      const passed = ["all ingress default p 0", "one egress kns.ns 0"];
      expect(check([one, node, every, early("Allow")], up)).toEqual(["deny", ...passed, "one egress DROP"]);
      const raw = gnp("p", { ...deny, doNotTrack: true, applyOnForward: true });
      expect(check([one, node, every, raw], up, "ACCEPT")[0]).toBe("allow");
    });

    test("ICMPv6 that finds the router needs no rule", () => {
      const v6 = input("Node", "n", { bgp: { ipv6Address: "2001:db8::1/64" } });
      const icmp = (type: number) =>
        check([one, v6, np("p", deny)], {
          source: "fd00::1",
          destination: "2001:db8::1",
          protocol: 58,
          icmp: { type, code: 0 },
        });
      for (const type of [130, 131, 132, 133, 135, 136]) expect(icmp(type)).toEqual(["allow", "one egress router"]);
      for (const type of [128, 134]) expect(icmp(type)).toEqual(["deny", "one egress default p 0"]);
    });
  });

  test("of what was said twice the later counts, and what is gone is gone", () => {
    const deny = np("p", { types: ["Ingress"], ingress: [{ action: "Deny" }] });
    const allow = np("p", { types: ["Ingress"], ingress: [{ action: "Allow" }] });
    expect(check([web, client, deny, allow])[0]).toBe("allow");
    expect(check([web, client, deny, { ...deny, policy: undefined } as Input])[0]).toBe("allow");
    expect(check([web, client, { ...web, resource: undefined } as Input])).toEqual(["allow", "client egress kns.ns 0"]);
  });
});
