import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createCalc, type Message } from "./index.ts";
import {
  anyInput,
  type Fields,
  fromScratch,
  globalNetworkSet,
  globalPolicy,
  hash,
  hostEndpoint,
  ingressOf,
  Mirror,
  NODE,
  namespaceProfile,
  networkPolicy,
  networkSet,
  node,
  oneRule,
  other,
  pod,
  profile,
  removal,
  rule,
  selectorSetId,
  slice,
  start,
  tier,
  types,
  walks,
  workload,
} from "./testing/index.ts";

describe("the selectors of rules", () => {
  test.each([
    ["of a namespaced policy", { selector: "app == 'x'" }, `(projectcalico.org/namespace == "blue" && app == "x")`],
    [
      "with a namespaceSelector",
      { selector: "app == 'x'", namespaceSelector: "a == 'b'" },
      `(pcns.a == "b" && app == "x")`,
    ],
    ["of all namespaces", { namespaceSelector: "all()" }, "has(projectcalico.org/namespace)"],
    ["of no namespace", { namespaceSelector: "global()" }, "!has(projectcalico.org/namespace)"],
    ["not of all namespaces", { namespaceSelector: "!global()" }, "has(projectcalico.org/namespace)"],
    [
      "of service accounts",
      { serviceAccounts: { names: ["b", "a"], selector: "x == 'y'" }, selector: "app == 'x'" },
      `(projectcalico.org/namespace == "blue" && ((pcsa.x == "y" && projectcalico.org/serviceaccount in {"a", "b"}) && app == "x"))`,
    ],
    ["negated alone", { notSelector: "app == 'x'" }, `(projectcalico.org/namespace == "blue" && !app == "x")`],
    ["negated twice", { notSelector: "!has(app)" }, `(projectcalico.org/namespace == "blue" && has(app))`],
    [
      "and negated",
      { selector: "has(a)", notSelector: "has(b)" },
      `((projectcalico.org/namespace == "blue" && has(a)) && !has(b))`,
    ],
  ])("%s become one set with upstream's id", (_, source, canonical) => {
    expect(oneRule(rule("Allow", { source }))?.source).toEqual({ sets: [selectorSetId(canonical)] });
  });

  test("in a global policy are as they are, and a negation alone stays one", () => {
    const global = start([
      pod,
      globalPolicy("p", {
        ingress: [
          rule("Allow", { source: { selector: "all()" } }),
          rule("Deny", { destination: { notSelector: "has(a)" } }),
        ],
      }),
    ]);
    const [first, second] = [...global.mirror.policies.values()][0]!.ingress!;
    expect(first?.source).toEqual({ sets: ["s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"] });
    expect(second?.destination).toEqual({ notSets: [selectorSetId("has(a)")] });
  });

  test("cannot end the parenthesis that the namespace is outside of", () => {
    const { rules, problems } = ingressOf({ ingress: [rule("Allow", { source: { selector: "has(a)) || (has(b)" } })] });
    expect(rules).toEqual([]);
    expect(problems.join()).toContain("NetworkPolicy/blue/p: spec.ingress[0]: source.selector");
  });
});

describe("named ports and services", () => {
  const TCP = { protocol: "TCP" } as const;
  test("a named port is a set of the selected endpoints' ports, and stands for the selector too", () => {
    const { rules, mirror } = ingressOf({
      ingress: [rule("Allow", { ...TCP, destination: { selector: "has(app)", ports: ["http"] } })],
    });
    const of = selectorSetId(`(projectcalico.org/namespace == "blue" && has(app))`);
    const id = `n:${hash(`n:${of},tcp,http`)}`;
    expect(rules[0]?.destination).toEqual({ namedPorts: [id] });
    expect(mirror.sets.get(id)).toEqual({ type: "port", members: new Set(["10.0.0.1,tcp:80"]) });
  });

  test("beside numbers the selector stays; without one the port is of all; without a protocol it is of any", () => {
    const { rules } = ingressOf({
      ingress: [
        rule("Allow", { ...TCP, destination: { selector: "has(app)", ports: ["http", 80, "1:2"] } }),
        rule("Allow", { destination: { notPorts: ["http"] } }),
      ],
    });
    expect(rules[0]?.destination.sets).toHaveLength(1);
    expect(rules[0]?.destination.ports).toEqual([
      { first: 80, last: 80 },
      { first: 1, last: 2 },
    ]);
    expect(rules[1]?.destination).toEqual({ notNamedPorts: [`n:${hash(`n:${selectorSetId("all()")},any,http`)}`] });
  });

  test("a service is its addresses with ports as destination, and without as source; its namespace is the policy's unless it says", () => {
    const { mirror } = start([
      pod,
      slice("blue", "front", ["10.0.0.2", "example.org"], [{ port: 80 }, { port: 53, protocol: "UDP" }]),
      networkPolicy("blue", "p", {
        ingress: [rule("Allow", { source: { services: { name: "front" } } })],
        egress: [rule("Allow", { destination: { services: { name: "front", namespace: "blue" } } })],
      }),
    ]);
    const policy = [...mirror.policies.values()][0]!;
    const [without, withPorts] = [`svcnoport:${hash("svcnoport:blue/front")}`, `svc:${hash("svc:blue/front")}`];
    expect(policy.ingress?.[0]?.source).toEqual({ sets: [without] });
    expect(policy.egress?.[0]?.destination).toEqual({ portSets: [withPorts] });
    expect(mirror.sets.get(without)).toEqual({ type: "net", members: new Set(["10.0.0.2/32"]) });
    expect(mirror.sets.get(withPorts)).toEqual({
      type: "port",
      members: new Set(["10.0.0.2,tcp:80", "10.0.0.2,udp:53"]),
    });
  });
});

describe("rules keep what they say", () => {
  test("protocols become numbers; ICMP by name is of one IP version; networks are canonical and of either version", () => {
    const { rules } = ingressOf({
      ingress: [
        rule("Allow", { protocol: "icmp", icmp: { type: 8, code: 0 } }),
        rule("Allow", { protocol: "UDPLite", notProtocol: 6 }),
        rule("Pass", { source: { nets: ["10.1.2.3/8", "FD00::1", "10.0.0.1"] } }),
        { action: "Allow", http: { methods: ["GET"] }, metadata: { annotations: { name: "x" } } },
        rule("Allow", { notICMP: { type: 3 }, ipVersion: 6 }),
      ],
    });
    const any = { source: {}, destination: {} };
    expect(rules).toEqual([
      { action: "Allow", ipVersion: 4, protocol: 1, icmp: { type: 8, code: 0 }, ...any },
      { action: "Allow", protocol: 136, notProtocol: 6, ...any },
      { action: "Pass", ...any, source: { nets: ["10.0.0.0/8", "fd00::1/128", "10.0.0.1/32"] } },
      { action: "Allow", ...any, http: true, metadata: { annotations: { name: "x" } } },
      { action: "Allow", ipVersion: 6, notIcmp: { type: 3 }, ...any },
    ]);
  });

  test("types are inferred where they are not said", () => {
    const of = (spec: Fields) => {
      const { ingress, egress } = [...start([pod, networkPolicy("blue", "p", spec)]).mirror.policies.values()][0]!;
      return [ingress !== undefined, egress !== undefined];
    };
    expect(of({})).toEqual([true, false]);
    expect(of({ egress: [rule("Allow")] })).toEqual([false, true]);
    expect(of({ ingress: [rule("Allow")], egress: [rule("Allow")] })).toEqual([true, true]);
    expect(of({ types: ["Egress"], ingress: [rule("Allow")] })).toEqual([false, true]);
  });
});

describe("what is said, and when", () => {
  const policy = networkPolicy("blue", "p", {
    ingress: [rule("Allow", { source: { namespaceSelector: "all()", selector: "app == 'db'" } })],
  });

  test("nothing before in-sync; then sets, policies, profiles, endpoints, and in-sync last; removals the other way", () => {
    const calc = createCalc({ nodeName: NODE });
    const said: Message[] = [];
    const flush = () => calc.flush((message) => said.push(message));
    for (const input of [policy, pod, other, namespaceProfile("blue"), node("this", {})]) calc.update(input);
    flush();
    expect(said).toEqual([]);
    calc.inSync();
    flush();
    expect(types(said)).toEqual(["set", "policy", "profile", "workload", "node", "in-sync"]);
    said.length = 0;
    for (const input of [policy, pod, other, namespaceProfile("blue"), node("this", {})]) calc.update(removal(input));
    flush();
    expect(types(said)).toEqual([
      "workload-removed",
      "profile-removed",
      "policy-removed",
      "set-removed",
      "node-removed",
    ]);
  });

  test("a change that comes to nothing says nothing", () => {
    const { tell } = start([pod, other, policy, tier("default", {})]);
    expect(tell(removal(other), other, removal(policy), policy, removal(pod), pod)).toEqual([]);
    expect(tell(pod, other, policy, tier("default", {}))).toEqual([]);
    expect(tell(workload("green", "far", ["10.0.0.7"], {}, { node: "other" }))).toEqual([]);
    expect(tell(networkPolicy("green", "far", { ingress: [rule("Allow")] }))).toEqual([]);
  });

  test("a member that comes is one message; so is one whose labels move it", () => {
    const { tell } = start([pod, policy]);
    const [delta, ...more] = tell(other);
    expect(delta).toMatchObject({ type: "set-delta", added: ["10.0.0.2/32"], removed: [] });
    expect(more).toEqual([]);
    expect(tell(workload("green", "db", ["10.0.0.2"], { app: "no" }, { node: "other" }))).toMatchObject([
      { type: "set-delta", added: [], removed: ["10.0.0.2/32"] },
    ]);
  });

  test("a policy that says something new is said; endpoints are when its place changes", () => {
    const { tell } = start([pod, networkPolicy("blue", "a", {}), networkPolicy("blue", "b", {})]);
    expect(types(tell(networkPolicy("blue", "b", { ingress: [rule("Deny")] })))).toEqual(["policy"]);
    expect(types(tell(networkPolicy("blue", "b", { order: 1, ingress: [rule("Deny")] })))).toEqual([
      "policy",
      "workload",
    ]);
  });

  test("a first workload gets what it needs, and only that", () => {
    const { calc, mirror } = start([
      other,
      policy,
      networkPolicy("green", "x", { ingress: [rule("Allow", { source: { selector: "has(x)" } })] }),
    ]);
    const here = workload("green", "here", ["10.0.0.8"]);
    for (const input of [
      here,
      pod,
      globalPolicy("g", { selector: "app == 'web'" }),
      globalNetworkSet("s", ["10.9.0.0/16"], { app: "db" }),
    ])
      calc.update(input);
    expect(calc.newWorkloads.map(({ workload }) => workload)).toEqual(["green/here", "blue/web"]);
    const said: Message[] = [];
    calc.flush((message) => said.push(message), {
      first: { orchestrator: "k8s", workload: "blue/web", endpoint: "eth0" },
    });
    for (const message of said) mirror.apply(message);
    expect(types(said)).toEqual(["set", "policy", "policy", "workload"]);
    expect(calc.newWorkloads.map(({ workload }) => workload)).toEqual(["green/here"]);
    calc.flush(mirror.apply);
    expect(mirror.workloads.size).toBe(2);
    expect(calc.isDirty).toBe(false);
    calc.flush(mirror.apply, { first: { orchestrator: "k8s", workload: "no/body", endpoint: "eth0" } });
  });

  test("inputs that come during a flush in steps count after it", () => {
    const calc = createCalc({ nodeName: NODE });
    const mirror = new Mirror();
    calc.inSync();
    for (const input of [pod, other, policy]) calc.update(input);
    const steps = calc.flushing(mirror.apply);
    steps.next();
    calc.update(removal(policy));
    expect(() => calc.flush(() => {})).toThrow("under way");
    for (const _ of steps);
    expect(mirror.policies.size).toBe(1);
    expect(calc.isDirty).toBe(true);
    calc.flush(mirror.apply);
    expect(mirror.policies.size).toBe(0);
  });

  test("many inputs that came during a flush are taken in steps, and so are those that come then", () => {
    const { calc, tell, mirror } = start([pod]);
    calc.update(workload("blue", "second", ["10.0.0.7"]));
    const steps = calc.flushing(mirror.apply);
    steps.next();
    for (let i = 0; i < 500; i++) calc.update(globalPolicy(`g${i}`, {}));
    let count = 0;
    for (const _ of steps) if (++count === 10) calc.update(removal(pod));
    expect(count).toBeGreaterThan(30);
    expect(mirror.workloads.size).toBe(2);
    tell();
    expect(mirror.workloads.size).toBe(1);
    expect(calc.stats().clusterPolicies).toBe(500);
  });

  test("a long flush is many short steps", () => {
    const calc = createCalc({ nodeName: NODE });
    for (let i = 0; i < 500; i++) {
      calc.update(
        workload("blue", `p${i}`, [`10.1.${i >> 8}.${i & 255}`], { app: "x" }, i < 400 ? { node: "other" } : {}),
      );
      calc.update(
        globalPolicy(`g${i}`, { ingress: [rule("Allow", { source: { selector: `app == 'x' && n != '${i}'` } })] }),
      );
    }
    calc.inSync();
    let steps = 0;
    for (const _ of calc.flushing(() => {})) steps++;
    expect(steps).toBeGreaterThan(1000);
  });
});

describe("endpoints", () => {
  test("a workload is said as the dataplane needs it", () => {
    const input = workload(
      "blue",
      "a-b",
      ["10.0.0.1", "fd00::1"],
      {},
      {
        ports: [
          { name: "http", protocol: "TCP", port: 80 },
          { name: "", protocol: "TCP", port: 81 },
        ],
      },
    );
    const [said] = [...start([input, namespaceProfile("blue")]).mirror.workloads.values()];
    expect(said).toEqual({
      id: { orchestrator: "k8s", workload: "blue/a-b", endpoint: "eth0" },
      interfaceName: "calibluea-b",
      mac: "ee:ee:ee:ee:ee:ee",
      ipv4Nets: ["10.0.0.1/32"],
      ipv6Nets: ["fd00::1/128"],
      ipv4Nats: [],
      ipv6Nats: [],
      profiles: ["kns.blue"],
      tiers: [],
      allowSpoofedSourcePrefixes: [],
      ports: [{ name: "http", protocol: "TCP", port: 80 }],
      annotations: {},
    });
  });

  test("a workload cannot say itself in what namespace it is", () => {
    const liar = workload("green", "liar", ["10.0.0.66"], { "pcns.team": "a", "pcsa.team": "a" }, { node: "other" });
    const { mirror } = start([
      pod,
      liar,
      networkPolicy("blue", "p", { ingress: [rule("Allow", { source: { namespaceSelector: "team == 'a'" } })] }),
    ]);
    expect([...mirror.sets.values()].map(({ members }) => members.size)).toEqual([0]);
  });

  test("a network set in a namespace has the namespace's labels", () => {
    const { mirror } = start([
      pod,
      networkSet("green", "s", ["192.0.2.0/24"], {}),
      namespaceProfile("green", { team: "a" }),
      networkPolicy("blue", "p", { ingress: [rule("Allow", { source: { namespaceSelector: "team == 'a'" } })] }),
    ]);
    expect([...mirror.sets.values()].map(({ members }) => [...members])).toEqual([["192.0.2.0/24"]]);
  });

  test("a host endpoint has its policies by kind of traffic", () => {
    const host = hostEndpoint("h", { interfaceName: "eth0", expectedIPs: ["10.0.0.5"] }, { host: "yes" });
    const of = (name: string, more: object) =>
      globalPolicy(name, { selector: "host == 'yes'", ingress: [rule("Allow")], egress: [rule("Allow")], ...more });
    const { mirror } = start([
      host,
      tier("default", {}),
      of("a", {}),
      of("b", { applyOnForward: true }),
      of("c", { applyOnForward: true, doNotTrack: true }),
      of("d", { applyOnForward: true, preDNAT: true, egress: [] }),
    ]);
    const said = mirror.hosts.get("h")!;
    const names = (tiers: typeof said.tiers) =>
      tiers.map(({ defaultAction, ingress, egress }) => [
        defaultAction,
        ingress.map(({ name }) => name),
        egress.map(({ name }) => name),
      ]);
    expect(names(said.tiers)).toEqual([["Deny", ["a", "b"], ["a", "b"]]]);
    expect(names(said.forwardTiers)).toEqual([["Deny", ["b"], ["b"]]]);
    expect(names(said.untrackedTiers)).toEqual([["Pass", ["c"], ["c"]]]);
    expect(names(said.preDnatTiers)).toEqual([["Pass", ["d"], []]]);
  });

  test("a profile that does not exist is not said, and is as soon as it does", () => {
    const { first, tell } = start([pod]);
    expect(types(first)).toEqual(["workload", "in-sync"]);
    expect(types(tell(namespaceProfile("blue")))).toEqual(["profile"]);
    expect(types(tell(profile("kns.green", {})))).toEqual([]);
  });
});

test("numbers for metrics", () => {
  const { calc } = start([
    pod,
    other,
    hostEndpoint("h", { node: "third", interfaceName: "*" }),
    node("this", {}),
    node("fourth", {}),
    namespaceProfile("blue"),
    tier("default", {}),
    networkPolicy("blue", "p", { ingress: [rule("Allow", { source: { selector: "has(a)" } })] }),
    networkPolicy("green", "q", {}),
  ]);
  expect(calc.stats()).toEqual({
    activeLocalEndpoints: 1,
    activeLocalPolicies: 1,
    activeLocalSelectors: 1,
    clusterHosts: 4,
    clusterHostEndpoints: 1,
    clusterWorkloadEndpoints: 2,
    clusterPolicies: 2,
    clusterProfiles: 1,
    clusterTiers: 1,
  });
});

test("what a state says does not depend on the order in which it was told", () => {
  fc.assert(
    fc.property(walks(anyInput, 1), fc.infiniteStream(fc.nat()), ([state = []], keys) => {
      const shuffled = state
        .map((input) => [keys.next().value as number, input] as const)
        .sort(([a], [b]) => a - b)
        .map(([, input]) => input);
      expect(fromScratch(shuffled).snapshot()).toEqual(fromScratch(state).snapshot());
    }),
  );
});
