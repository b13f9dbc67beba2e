import { describe, expect, test } from "vitest";
import type { Rule } from "../api/rule.ts";
import type { AnyPolicy, Input, PlainInput, PolicyKind } from "../policy-agent/calc/index.ts";
import { createExplainer, ExplainError, type Explanation, explain, type Query, renderExplanation } from "./index.ts";

const V3 = "projectcalico.org/v3";
const TCP = 6;

function input(kind: string, name: string, spec: object, more: { namespace?: string; labels?: object } = {}): Input {
  const { namespace, labels } = more;
  const inNamespace = namespace === undefined ? {} : { namespace };
  const metadata = { name, ...inNamespace, ...(labels ? { labels } : {}) };
  const resource = { apiVersion: V3, kind, metadata, spec } as unknown as PlainInput;
  return { kind: resource.kind, name, ...inNamespace, resource };
}

function policy(kind: PolicyKind, name: string, spec: object, namespace?: string): Input {
  const inNamespace = namespace === undefined ? {} : { namespace };
  const body = { apiVersion: V3, kind, metadata: { name, ...inNamespace }, spec: { tier: "default", ...spec } };
  return { kind: "Policy", id: { kind, ...inNamespace, name }, policy: body as unknown as AnyPolicy };
}

interface Pod {
  readonly app: string;
  readonly node?: string;
  readonly ports?: object[];
  readonly namespace?: string;
  readonly profiles?: string[];
}

const pod = (
  name: string,
  ip: string,
  { app, node = "node-a", ports = [], namespace = "shop", profiles }: Pod,
): Input =>
  input(
    "WorkloadEndpoint",
    `${node}-k8s-${name}-eth0`,
    {
      orchestrator: "k8s",
      endpoint: "eth0",
      node,
      pod: name,
      interfaceName: `cali${name}`,
      ipNetworks: ip.split(",").map((one) => (one.includes(":") ? `${one}/128` : `${one}/32`)),
      profiles: profiles ?? [`kns.${namespace}`],
      ports,
    },
    { namespace, labels: { app, "projectcalico.org/namespace": namespace, "projectcalico.org/orchestrator": "k8s" } },
  );

const kns = (namespace: string, labels: object = {}): Input =>
  input("Profile", `kns.${namespace}`, {
    ingress: [{ action: "Allow" }],
    egress: [{ action: "Allow" }],
    labelsToApply: { "pcns.projectcalico.org/name": namespace, ...labels },
  });
const tier = (name: string, order: number, defaultAction = "Deny") => input("Tier", name, { order, defaultAction });

const BASE: readonly Input[] = [
  tier("default", 1_000_000),
  kns("shop", { "pcns.team": "sales" }),
  kns("jobs", { "pcns.team": "ops" }),
  pod("web", "10.65.0.2,fd00::2", { app: "web" }),
  pod("db", "10.65.1.2,fd00::1:2", {
    app: "db",
    node: "node-b",
    ports: [{ name: "pg", protocol: "TCP", port: 5432 }],
  }),
  pod("cron", "10.65.0.9", { app: "cron", namespace: "jobs" }),
];

const ask = (more: Partial<Query> = {}): Query => ({
  source: "shop/web",
  destination: "shop/db",
  protocol: TCP,
  destinationPort: 5432,
  ...more,
});

describe("who is meant", () => {
  const ends = (source: string, destination: string, more: Partial<Query> = {}) => {
    const { source: from, destination: to } = explain(BASE, ask({ source, destination, ...more }));
    return [from, to].map(({ address, endpoint }) => `${endpoint?.title ?? "-"} ${address}`);
  };

  test("namespace/pod, the name of a pod or endpoint, or an address", () => {
    expect(ends("shop/web", "db")).toEqual(["shop/web 10.65.0.2", "shop/db 10.65.1.2"]);
    expect(ends("node-a-k8s-web-eth0", "10.65.1.2")).toEqual(["shop/web 10.65.0.2", "shop/db 10.65.1.2"]);
    expect(ends("10.65.0.2/32", "db")).toEqual(["shop/web 10.65.0.2", "shop/db 10.65.1.2"]);
    expect(ends("203.0.113.1", "db")).toEqual(["- 203.0.113.1", "shop/db 10.65.1.2"]);
  });

  test("IPv6 when an address says so, when it is asked for, or where there is nothing else", () => {
    expect(ends("shop/web", "fd00::1:2")).toEqual(["shop/web fd00::2", "shop/db fd00::1:2"]);
    expect(ends("shop/web", "shop/db", { ipVersion: 6 })).toEqual(["shop/web fd00::2", "shop/db fd00::1:2"]);
    expect(explain(BASE, ask({ protocol: "icmp", ipVersion: 6 })).packet).toMatchObject({
      protocol: 58,
      icmp: { type: 128, code: 0 },
    });
  });

  test.each([
    [
      "nobody",
      "EXPLAIN_NOT_FOUND",
      "there is no endpoint or address nobody; there are shop/web, shop/db, jobs/cron, jobs/late, shop/twin, jobs/twin",
    ],
    ["shop/nobody", "EXPLAIN_NOT_FOUND", "there are shop/web, shop/db, shop/twin"],
    ["shp/nobody", "EXPLAIN_NOT_FOUND", "the namespace shp has no endpoint, and these do: shop, jobs"],
    ["10.65.0.2/24", "EXPLAIN_NOT_FOUND", "there is no endpoint or address 10.65.0.2/24"],
    ["we", "EXPLAIN_NOT_FOUND", "did you mean shop/web?"],
    ["shop/cron", "EXPLAIN_NOT_FOUND", "there is no endpoint or address shop/cron"],
    ["jobs/late", "EXPLAIN_NO_ADDRESS", "jobs/late has no address: it does not run yet, or not any more"],
    ["fd00::9", "EXPLAIN_NO_ADDRESS", "the two ends need addresses of one IP version"],
    ["twin", "EXPLAIN_AMBIGUOUS", "twin may be shop/twin on node-a (10.65.0.7) or jobs/twin on node-a (10.65.0.8)"],
  ])("%s", (source, code, message) => {
    const inputs = [
      ...BASE,
      input("WorkloadEndpoint", "late", { node: "node-a", pod: "late", ipNetworks: [] }, { namespace: "jobs" }),
      pod("twin", "10.65.0.7", { app: "twin" }),
      pod("twin", "10.65.0.8", { app: "twin", namespace: "jobs" }),
    ];
    const failure = (() => {
      try {
        explain(inputs, ask({ source, destination: "203.0.113.1" }));
      } catch (error) {
        return error;
      }
      return undefined;
    })();
    expect(failure).toBeInstanceOf(ExplainError);
    expect(failure).toMatchObject({ code, message: expect.stringContaining(message) });
  });

  test("two addresses of nobody: no policy applies", () => {
    const { verdict, steps, summary } = explain([], ask({ source: "203.0.113.1", destination: "203.0.113.2" }));
    expect([verdict, steps.length, summary]).toEqual([
      "allow",
      0,
      "Allowed: neither address belongs to an endpoint, so that no policy applies.",
    ]);
  });
});

describe("why a rule does not match", () => {
  /** The reasons of one rule of a policy for `db`; `namespace` absent: of a global one. */
  function reasons(rule: Partial<Rule>, query: Partial<Query> = {}, more: Input[] = [], namespace?: string) {
    const kind = namespace === undefined ? "GlobalNetworkPolicy" : "NetworkPolicy";
    const spec = { selector: "app == 'db'", types: ["Ingress"], ingress: [{ action: "Allow", ...rule }] };
    const { steps } = explain([...BASE, ...more, policy(kind, "p", spec, namespace)], ask(query));
    return steps.at(-1)!.tiers[0]!.policies[0]!.rules[0]!.reasons;
  }

  test.each<[Partial<Rule>, Partial<Query>, string]>([
    [{ protocol: "TCP" }, { protocol: 17 }, "protocol is UDP, the rule wants TCP"],
    [{ protocol: 47 }, {}, "protocol is TCP, the rule wants protocol 47"],
    [{ notProtocol: "TCP" }, {}, "protocol is TCP, which the rule excludes"],
    [{ ipVersion: 6 }, {}, "the packet is IPv4, the rule is for IPv6"],
    [
      { protocol: "ICMP", icmp: { type: 3, code: 1 } },
      { protocol: 1 },
      "the packet is ICMP type 8 code 0, the rule wants ICMP type 3 code 1",
    ],
    [
      { protocol: "ICMP", notICMP: { type: 8 } },
      { protocol: 1 },
      "the packet is ICMP type 8 code 0, which the rule excludes",
    ],
    [{ notICMP: { type: 8 } }, {}, "the packet is no ICMP message, which notICMP is about"],
    [{ source: { nets: ["192.0.2.0/24"] } }, {}, "source 10.65.0.2 is not in 192.0.2.0/24"],
    [{ source: { nets: ["fd00::/64"] } }, {}, "the packet is IPv4, the rule's source nets are not"],
    [
      { source: { notNets: ["10.65.0.0/24", "192.0.2.0/24"] } },
      {},
      "source 10.65.0.2 is in 10.65.0.0/24, which the rule excludes",
    ],
    [
      { source: { notNets: ["fd00::/64"] } },
      {},
      "the packet is IPv4, the rule's source notNets are not, and limit it to theirs",
    ],
    [
      { protocol: "TCP", destination: { ports: [80, "8000:9000"] } },
      {},
      "destination port is 5432, the rule wants 80, 8000 to 9000",
    ],
    [
      { protocol: "TCP", destination: { notPorts: ["5000:6000"] } },
      {},
      "destination port is 5432, which the rule excludes",
    ],
    [{ destination: { notPorts: ["pg"] } }, {}, "destination port is 5432, which the rule excludes"],
    [{ protocol: "TCP", source: { ports: [53] } }, {}, "the source port is not known, the rule wants 53"],
    [
      { destination: { ports: ["http"] } },
      {},
      "destination port is 5432, the rule wants a port named http (no endpoint has one)",
    ],
    [
      { destination: { ports: ["pg"] } },
      { protocol: 1 },
      "ICMP has no ports, the rule wants a port named pg (there are 2)",
    ],
    [
      { source: { services: { name: "api", namespace: "shop" } } },
      {},
      "source 10.65.0.2 is not behind the service api (set svcnoport:…, 0 members)",
    ],
  ])("%j", (rule, query, reason) => {
    const found = reasons(rule, query).map((text) => text.replace(/set (s|svcnoport):[^…]*…/, "set $1:…"));
    expect(found).toEqual([reason]);
  });

  test("selectors: what was looked for, in how many there are, and what the endpoint has instead", () => {
    const found = (rule: Partial<Rule>, source: string, namespace?: string) =>
      reasons(rule, { source }, [], namespace)
        .join()
        .replace(/set s:[^…]*…/, "set …");
    expect(found({ source: { selector: "app == 'db'" } }, "shop/web", "shop")).toBe(
      "source 10.65.0.2 is in no endpoint or network set in namespace shop matching app == 'db' (set …, 2 members): shop/web has app=web",
    );
    expect(found({ source: { selector: "app == 'cron'" } }, "jobs/cron", "shop")).toBe(
      "source 10.65.0.9 is in no endpoint or network set in namespace shop matching app == 'cron' (set …, 0 members): jobs/cron has app=cron, namespace jobs",
    );
    expect(found({ source: { namespaceSelector: "team == 'sales' && has(env)" } }, "jobs/cron", "shop")).toBe(
      "source 10.65.0.9 is in no endpoint or network set matching namespaces team == 'sales' && has(env) (set …, 0 members): jobs/cron has namespace team=ops, no namespace label env",
    );
    expect(found({ source: { notSelector: "app == 'web'" } }, "shop/web")).toBe(
      "source 10.65.0.2 is in an endpoint or network set matching app == 'web', which the rule excludes",
    );
    expect(found({ source: { selector: "all()" } }, "203.0.113.1")).toBe(
      "source 203.0.113.1 is in no endpoint or network set matching all() (set …, 5 members)",
    );
  });
});

describe("warnings", () => {
  const ingress = (rule: object, spec: object = {}) =>
    policy("GlobalNetworkPolicy", "p", { selector: "app == 'db'", types: ["Ingress"], ingress: [rule], ...spec });

  test("a rule with an http clause applies without it", () => {
    const { warnings, steps } = explain([...BASE, ingress({ action: "Allow", http: { methods: ["GET"] } })], ask());
    expect(warnings).toEqual([
      "GlobalNetworkPolicy p, ingress[0] has an http clause, which is not enforced in the kernel: the rest of the rule decides",
    ]);
    expect(steps.at(-1)?.tiers[0]?.policies[0]?.rules[0]?.notes).toEqual([
      "its http clause is not enforced in the kernel: it matches whatever the request",
    ]);
  });

  test("a tier that there is not; a port that was not said; a resource that cannot be read", () => {
    expect(explain([...BASE, ingress({ action: "Allow" }, { tier: "ghost" })], ask()).warnings).toEqual([
      "there is no tier ghost: its policies come after those of all other tiers, and it denies at its end",
    ]);
    const { destinationPort: _, ...withoutPort } = ask();
    const rule = { action: "Allow", protocol: "TCP", destination: { ports: [80] } };
    expect(explain([...BASE, ingress(rule)], withoutPort).warnings).toEqual([
      "rules ask for the destination port, which is not known: say --port",
    ]);
    const { warnings, verdict } = explain(
      [...BASE, ingress({ action: "Allow", source: { nets: ["10.0.0.0/99"] } })],
      ask(),
    );
    expect(verdict).toBe("deny");
    expect(warnings).toEqual([
      "GlobalNetworkPolicy/p: spec.ingress[0]: source.nets must each be a CIDR or an address",
      "GlobalNetworkPolicy/p: spec.ingress[0]: the rule allows nothing",
    ]);
    const { steps } = explain(
      [
        ...BASE,
        policy("GlobalNetworkPolicy", "p", {
          selector: "app == 'db'",
          types: ["Ingress"],
          ingress: [
            { action: "Allow", source: { nets: ["10.0.0.0/99"] } },
            { action: "Allow", source: { selector: "app == 'web'" } },
            { action: "Allow", source: { selector: "(" } },
          ],
        }),
      ],
      ask(),
    );
    expect(steps.at(-1)?.decision.words).toBe("GlobalNetworkPolicy p, ingress[1]");
    expect(
      steps.at(-1)?.tiers[0]?.policies[0]?.rules.map(({ path, reasons, text }) => [path, text, ...reasons]),
    ).toEqual([
      [
        "ingress[0]",
        "from nets 10.0.0.0/99",
        "it cannot be read: source.nets must each be a CIDR or an address",
        "it cannot be read: the rule allows nothing",
      ],
      ["ingress[1]", "from app == 'web'"],
    ]);
    expect(explain(BASE, ask(), { problems: ["a file is odd"] }).warnings).toEqual(["a file is odd"]);
  });
});

describe("staged policies", () => {
  const spec = { selector: "app == 'db'", types: ["Ingress"] };
  const staged = policy("StagedNetworkPolicy", "s", { ...spec, ingress: [{ action: "Deny" }] }, "shop");

  test("are shown, do not decide, and what would be with them is said", () => {
    const { verdict, steps } = explain([...BASE, staged], ask());
    const { decision, tiers, staged: would } = steps.at(-1)!;
    expect([verdict, decision.words, tiers[0]?.outcome]).toEqual(["allow", "profile kns.shop, ingress[0]", "staged"]);
    expect(tiers[0]?.policies[0]).toMatchObject({ staged: true, outcome: "Deny" });
    expect(would).toMatchObject({ verdict: "deny", words: "StagedNetworkPolicy shop/s, ingress[0]" });
  });

  test("take the place of the policy that they are to become", () => {
    const enforced = policy("NetworkPolicy", "s", { ...spec, ingress: [{ action: "Allow" }], order: 1 }, "shop");
    const later = policy("StagedNetworkPolicy", "s", { ...spec, ingress: [{ action: "Deny" }], order: 2 }, "shop");
    expect(explain([...BASE, enforced, later], ask()).steps.at(-1)).toMatchObject({
      decision: { verdict: "allow" },
      staged: { verdict: "deny" },
    });
  });
});

describe("what a tired reader would miss", () => {
  const pass = policy("GlobalNetworkPolicy", "first", { order: 1, types: ["Ingress"], ingress: [{ action: "Pass" }] });
  const own = policy("NetworkPolicy", "own", { order: 2, types: ["Ingress"] }, "shop");
  const many = Array.from({ length: 6 }, (_, i) => policy("NetworkPolicy", `p${i}`, { types: ["Ingress"] }, "shop"));

  test("policies behind the one that decided are named", () => {
    const explanation = explain([...BASE, pass, own, ...many], ask());
    expect(explanation.steps.at(-1)?.tiers[0]?.notAsked).toEqual([
      "NetworkPolicy shop/own",
      ...many.map((_, i) => `NetworkPolicy shop/p${i}`),
    ]);
    expect(renderExplanation(explanation)).toContain(`
     not asked any more: NetworkPolicy shop/own, NetworkPolicy shop/p0, NetworkPolicy shop/p1, NetworkPolicy shop/p2, NetworkPolicy shop/p3 and 2 more
     -> passed on to the profiles
`);
    expect(explain([...BASE, own], ask()).steps.at(-1)?.tiers[0]).not.toHaveProperty("notAsked");
  });

  test("of a policy whose selector cannot be read the rules are shown, and why most do not count", () => {
    const typo = policy(
      "NetworkPolicy",
      "typo",
      {
        selector: "app = 'db'",
        types: ["Ingress"],
        ingress: [{ action: "Allow" }, { action: "Deny", protocol: "UDP" }, { action: "Pass" }],
      },
      "shop",
    );
    const { steps, warnings } = explain([...BASE, typo], ask());
    const [visited] = steps.at(-1)!.tiers[0]!.policies;
    const why = "what the policy selects cannot be read (see the warnings), so that only its Deny rules count";
    expect(visited?.rules.map(({ path, action, reasons }) => [path, action, reasons])).toEqual([
      ["ingress[0]", "Allow", [why]],
      ["ingress[1]", "Deny", ["protocol is TCP, the rule wants UDP"]],
      ["ingress[2]", "Pass", [why]],
    ]);
    expect(visited?.rules.flatMap(({ notes }) => notes)).toEqual([]);
    expect(warnings).toEqual([expect.stringContaining("NetworkPolicy/shop/typo: selector")]);
  });

  test("the address of a Service is not what policy sees", () => {
    const services = input("BGPConfiguration", "default", { serviceClusterIPs: [{ cidr: "10.96.0.0/12" }] });
    const { warnings } = explain([...BASE, services], ask({ destination: "10.96.0.10" }));
    expect(warnings).toEqual([expect.stringContaining("10.96.0.10 is the address of a Service (one of 10.96.0.0/12)")]);
    expect(explain([...BASE, services], ask()).warnings).toEqual([]);
  });
});

describe("host endpoints", () => {
  const host = (name: string, spec: object) =>
    input("HostEndpoint", name, { node: "node-b", ...spec }, { labels: { host: "y" } });
  const node = input("Node", "node-b", { bgp: { ipv4Address: "192.0.2.2/24" } });
  const eth0 = host("eth0", { interfaceName: "eth0", expectedIPs: ["192.0.2.2"] });
  const rules = (name: string, spec: object) =>
    policy("GlobalNetworkPolicy", name, { selector: "has(host)", types: ["Ingress"], ...spec });

  test("untracked, preDNAT and plain policy in turn; failsafe ports are warned of", () => {
    const inputs = [
      ...BASE,
      node,
      eth0,
      rules("raw", { doNotTrack: true, applyOnForward: true, ingress: [{ action: "Allow", protocol: "UDP" }] }),
      rules("nat", { preDNAT: true, applyOnForward: true, ingress: [{ action: "Pass" }] }),
      rules("plain", { ingress: [{ action: "Deny" }] }),
    ];
    const { steps, warnings } = explain(
      inputs,
      ask({ source: "203.0.113.1", destination: "192.0.2.2", destinationPort: 22 }),
    );
    expect(steps.map(({ traffic, decision }) => [traffic, decision.verdict, decision.words])).toEqual([
      ["untracked", "continue", "no rule, as none matched"],
      ["preDNAT", "continue", "no rule, as none matched"],
      ["normal", "deny", "GlobalNetworkPolicy plain, ingress[0]"],
    ]);
    expect(warnings).toEqual([expect.stringContaining("TCP port 22 is a failsafe port by default")]);
  });

  test("policy for forwarded packets between two nodes is shown, and warned of where it denies", () => {
    const forward = rules("fwd", { applyOnForward: true, ingress: [{ action: "Deny" }] });
    const { verdict, onTheWay, warnings } = explain([...BASE, node, eth0, forward], ask());
    expect(verdict).toBe("allow");
    expect(
      onTheWay.map(({ endpoint, direction, traffic, decision }) => [
        endpoint.name,
        direction,
        traffic,
        decision.verdict,
      ]),
    ).toEqual([["eth0", "ingress", "forward", "deny"]]);
    expect(warnings).toEqual([
      expect.stringContaining("HostEndpoint eth0 on node-b denies forwarded packets like this one"),
    ]);
  });

  const told = ({ verdict, steps }: Explanation) => [
    verdict,
    ...steps.map(
      ({ endpoint, traffic, decision }) => `${endpoint.name} ${traffic} ${decision.verdict}: ${decision.words}`,
    ),
  ];

  describe("what a workload sends to its own host", () => {
    const toHost = ask({ source: "shop/db", destination: "192.0.2.2" });
    const allowed = "node-b-k8s-db-eth0 normal allow: profile kns.shop, egress[0]";
    const action =
      "node-b-k8s-db-eth0 toHost deny: DefaultEndpointToHostAction DROP (the default; FelixConfiguration may say otherwise)";
    const shut = rules("plain", { ingress: [{ action: "Deny" }] });
    const open = rules("plain", { ingress: [{ action: "Allow" }] });
    const early = (verdict: string) =>
      rules("nat", { preDNAT: true, applyOnForward: true, ingress: [{ action: verdict }] });
    const every = host("every", { interfaceName: "*", expectedIPs: [] });

    test("is dropped after its egress policy, whatever the host endpoint's plain policy, and without a host endpoint", () => {
      for (const more of [[eth0, open], [eth0, shut], [eth0, early("Allow")], []]) {
        expect(told(explain([...BASE, node, ...more], toHost))).toEqual(["deny", allowed, action]);
      }
      const explanation = explain([...BASE, node, eth0, open], toHost);
      expect(explanation.summary).toBe(
        "Denied on the way to the host of shop/db: DefaultEndpointToHostAction DROP (the default; FelixConfiguration may say otherwise).",
      );
      expect(explanation.warnings).toEqual([]);
      expect(renderExplanation(explanation)).toContain(
        "\n\n2. From shop/db to its host (on node-b): DENIED by DefaultEndpointToHostAction DROP (the default; FelixConfiguration may say otherwise)\n",
      );
    });

    test("by its egress policy, which comes first", () => {
      const out = policy("NetworkPolicy", "out", { types: ["Egress"] }, "shop");
      expect(told(explain([...BASE, node, eth0, open, out], toHost, { endpointToHostAction: () => "ACCEPT" }))).toEqual(
        ["deny", "node-b-k8s-db-eth0 normal deny: the default action of tier default, as no rule matched"],
      );
    });

    test("as FelixConfiguration says of the node", () => {
      const options = { endpointToHostAction: (name: string) => (name === "node-b" ? ("RETURN" as const) : undefined) };
      const explanation = explain([...BASE, node, eth0, shut], toHost, options);
      expect(told(explanation)).toEqual([
        "allow",
        allowed,
        "node-b-k8s-db-eth0 toHost allow: DefaultEndpointToHostAction RETURN",
      ]);
      expect(explanation.summary).toBe(
        "Allowed: egress of shop/db by profile kns.shop, egress[0]; to its host by DefaultEndpointToHostAction RETURN.",
      );
      expect(explanation.warnings).toEqual([
        expect.stringContaining("the host's own rules, which are not known here, decide"),
      ]);
      const accepted = explain([...BASE, node, eth0, shut], toHost, { endpointToHostAction: () => "ACCEPT" });
      expect([accepted.verdict, accepted.warnings]).toEqual(["allow", []]);
    });

    test("preDNAT policy of the host endpoint for all interfaces comes before, and what it allows is asked further", () => {
      const inputs = [...BASE, node, eth0, every];
      const accept = { endpointToHostAction: () => "ACCEPT" as const };
      expect(told(explain([...inputs, early("Deny")], toHost, accept))).toEqual([
        "deny",
        "every preDNAT deny: GlobalNetworkPolicy nat, ingress[0]",
      ]);
      expect(told(explain([...inputs, early("Allow")], toHost))).toEqual([
        "deny",
        "every preDNAT allow: GlobalNetworkPolicy nat, ingress[0]",
        allowed,
        action,
      ]);
      const untracked = rules("raw", { doNotTrack: true, applyOnForward: true, ingress: [{ action: "Deny" }] });
      expect(told(explain([...inputs, untracked], toHost, accept))[0]).toBe("allow");
      // Of two for all interfaces the first by name holds.
      const first = input("HostEndpoint", "a", { node: "node-b", interfaceName: "*" });
      expect(told(explain([...inputs, first, early("Deny")], toHost, accept))[0]).toBe("allow");
    });

    test("ICMPv6 that finds the router goes through, another host's address is as any other", () => {
      const v6 = input("Node", "node-b", { bgp: { ipv4Address: "192.0.2.2/24", ipv6Address: "2001:db8::2/64" } });
      const out = policy("NetworkPolicy", "out", { types: ["Egress"] }, "shop");
      const icmp = (type: number) =>
        explain(
          [...BASE, v6, out],
          ask({ source: "shop/db", destination: "2001:db8::2", protocol: "icmp", icmp: { type } }),
        );
      expect(told(icmp(135))).toEqual([
        "allow",
        "node-b-k8s-db-eth0 toHost allow: what every workload may send its host: ICMPv6 type 135, by which routers and neighbours are found",
      ]);
      expect(icmp(128).verdict).toBe("deny");
      expect(told(explain([...BASE, node, eth0, open], ask({ destination: "192.0.2.2" }))).slice(-1)).toEqual([
        "eth0 normal allow: GlobalNetworkPolicy plain, ingress[0]",
      ]);
    });
  });

  test("a host may always reach its own workloads", () => {
    const deny = { types: ["Ingress", "Egress"], ingress: [{ action: "Deny" }], egress: [{ action: "Deny" }] };
    const inputs = [...BASE, node, policy("GlobalNetworkPolicy", "nothing", deny)];
    for (const more of [[], [eth0], [host("every", { interfaceName: "*" })]]) {
      const { verdict, steps, summary, warnings } = explain(
        [...inputs, ...more],
        ask({ source: "192.0.2.2", destination: "shop/db" }),
      );
      expect([verdict, steps, summary, warnings]).toEqual([
        "allow",
        [],
        "Allowed: 192.0.2.2 is the host of shop/db, and the host may always reach its own workloads; no policy is asked.",
        [],
      ]);
    }
    expect(explain([...inputs, eth0], ask({ source: "192.0.2.2", destination: "shop/web" })).verdict).toBe("deny");
  });
});

describe("as text", () => {
  const inputs: Input[] = [
    ...BASE,
    tier("security", 100, "Pass"),
    policy("GlobalNetworkPolicy", "security.watch", {
      tier: "security",
      order: 10,
      types: ["Ingress"],
      ingress: [
        { action: "Log", protocol: "TCP" },
        { action: "Deny", protocol: "TCP", destination: { ports: [23] } },
      ],
    }),
    policy(
      "StagedNetworkPolicy",
      "lock",
      { order: 5, types: ["Ingress"], selector: "app == 'db'", ingress: [{ action: "Deny" }] },
      "shop",
    ),
    policy(
      "NetworkPolicy",
      "db",
      {
        types: ["Ingress"],
        selector: "app == 'db'",
        ingress: [
          { action: "Allow", protocol: "TCP", source: { selector: "app == 'web'" }, destination: { ports: ["pg"] } },
        ],
      },
      "shop",
    ),
  ];
  const text = (query: Partial<Query>) =>
    renderExplanation(explain(inputs, ask(query))).replaceAll(/(set s:.{4})[^…]*…/g, "$1…");

  test("allowed", () => {
    expect(text({})).toMatchInlineSnapshot(`
      "ALLOWED  TCP  10.65.0.2 -> 10.65.1.2:5432

        from  10.65.0.2  shop/web, caliweb on node-a
        to    10.65.1.2  shop/db, calidb on node-b

      Allowed: egress of shop/web by profile kns.shop, egress[0]; ingress of shop/db by NetworkPolicy shop/db, ingress[0].

      1. Egress from shop/web (on node-a): ALLOWED by profile kns.shop, egress[0]
         No policy selects it for egress: its profiles decide.
         profile kns.shop
             egress[0]  Allow
                        matches

      2. Ingress to shop/db (on node-b): ALLOWED by NetworkPolicy shop/db, ingress[0]
         tier security (order 100, default action Pass)
           GlobalNetworkPolicy security.watch (order 10)
             ingress[0]  Log TCP
                         matches
                         ! logs the packet and goes on to the next rule
             ingress[1]  Deny TCP to port 23
                         no: destination port is 5432, the rule wants 23
           -> no rule matched: passed on to the next tier
         tier default (order 1000000, default action Deny)
           StagedNetworkPolicy shop/lock (order 5, staged: not enforced)
             ingress[0]  Deny
                         matches
             would deny
           NetworkPolicy shop/db (no order: last)
             ingress[0]  Allow TCP from app == 'web' to port pg
                         matches
           -> allowed
         If the staged policies were enforced: DENIED by StagedNetworkPolicy shop/lock, ingress[0]
      "
    `);
  });

  test("denied", () => {
    expect(text({ source: "jobs/cron", sourcePort: 40000 })).toMatchInlineSnapshot(`
      "DENIED  TCP  10.65.0.9:40000 -> 10.65.1.2:5432

        from  10.65.0.9  jobs/cron, calicron on node-a
        to    10.65.1.2  shop/db, calidb on node-b

      Denied by the ingress policy of shop/db: the default action of tier default, as no rule matched.

      1. Egress from jobs/cron (on node-a): ALLOWED by profile kns.jobs, egress[0]
         No policy selects it for egress: its profiles decide.
         profile kns.jobs
             egress[0]  Allow
                        matches

      2. Ingress to shop/db (on node-b): DENIED by the default action of tier default, as no rule matched
         tier security (order 100, default action Pass)
           GlobalNetworkPolicy security.watch (order 10)
             ingress[0]  Log TCP
                         matches
                         ! logs the packet and goes on to the next rule
             ingress[1]  Deny TCP to port 23
                         no: destination port is 5432, the rule wants 23
           -> no rule matched: passed on to the next tier
         tier default (order 1000000, default action Deny)
           StagedNetworkPolicy shop/lock (order 5, staged: not enforced)
             ingress[0]  Deny
                         matches
             would deny
           NetworkPolicy shop/db (no order: last)
             ingress[0]  Allow TCP from app == 'web' to port pg
                         no: source 10.65.0.9 is in no endpoint or network set in namespace shop matching app == 'web' (set s:lJBh…, 2 members): jobs/cron has app=cron, namespace jobs
           -> no rule matched: denied by the tier's default action
         If the staged policies were enforced: DENIED by StagedNetworkPolicy shop/lock, ingress[0]
      "
    `);
  });

  test("a missing profile, IPv6, no policy", () => {
    const lost = pod("lost", "fd00::7", { app: "lost", profiles: ["gone"] });
    const explanation = createExplainer([...inputs, lost]).explain({
      source: "fd00::2",
      destination: "lost",
      protocol: "icmp",
    });
    expect(renderExplanation(explanation)).toMatchInlineSnapshot(`
      "DENIED  ICMPv6 type 128 code 0  fd00::2 -> fd00::7

        from  fd00::2  shop/web, caliweb on node-a
        to    fd00::7  shop/lost, calilost on node-a

      Denied by the ingress policy of shop/lost: profile gone, which does not exist.

      1. Egress from shop/web (on node-a): ALLOWED by profile kns.shop, egress[0]
         No policy selects it for egress: its profiles decide.
         profile kns.shop
             egress[0]  Allow
                        matches

      2. Ingress to shop/lost (on node-a): DENIED by profile gone, which does not exist
         tier security (order 100, default action Pass)
           GlobalNetworkPolicy security.watch (order 10)
             ingress[0]  Log TCP
                         no: protocol is ICMPv6, the rule wants TCP
             ingress[1]  Deny TCP to port 23
                         no: protocol is ICMPv6, the rule wants TCP
           -> no rule matched: passed on to the profiles
         profile gone does not exist: everything is denied
      "
    `);
  });

  test("words that stand out", () => {
    const mark = (tag: string) => (text: string) => `<${tag}>${text}</${tag}>`;
    const style = { bold: mark("b"), dim: mark("d"), red: mark("r"), green: mark("g"), yellow: mark("y") };
    const lines = renderExplanation(explain(inputs, ask()), { style }).split("\n");
    expect(lines[0]).toBe("<b><g>ALLOWED</g></b>  TCP  10.65.0.2 -> 10.65.1.2:5432");
  });
});
