/** Random histories: however the messages come, the programs are those of the last state; and packets fare as that state says. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type ActivePolicy,
  type ActiveProfile,
  type EndpointTier,
  isStaged,
  type LocalWorkload,
  type Message,
  type ParsedRule,
  type PolicyId,
  policyKey,
} from "../calc/index.ts";
import { interpret } from "./interpret.ts";
import type { Packet } from "./interpret-packet.ts";
import { TABLES } from "./ir.ts";
import { printChain, printProgram } from "./print.ts";
import type { Changes, Program } from "./program.ts";
import type { Programmer } from "./programmer.ts";
import { type Bench, gnp, host, np, parsedRule, policy, programmed, workload } from "./testvalues.ts";

const IDS: readonly PolicyId[] = [
  gnp("p0"),
  gnp("p1"),
  np("ns", "p2"),
  np("ns", "p3"),
  { kind: "StagedNetworkPolicy", namespace: "ns", name: "p4" },
];
const SETS = ["s:a", "s:b"];
const PROFILES = ["kns.a", "kns.b"];

const rules = fc.array(
  fc
    .record({
      action: fc.constantFrom<ParsedRule["action"]>("Allow", "Deny", "Pass", "Log"),
      protocol: fc.constantFrom(6, 17),
      port: fc.nat(3),
      set: fc.option(fc.constantFrom(...SETS), { nil: undefined, freq: 4 }),
    })
    .map(({ action, protocol, port, set }) =>
      parsedRule(action, {
        protocol,
        destination: { ports: [{ first: port, last: port + 1 }] },
        ...(set && { source: { sets: [set] } }),
      }),
    ),
  { maxLength: 3 },
);
const tiers: fc.Arbitrary<EndpointTier[]> = fc
  .array(
    fc.record({
      defaultAction: fc.constantFrom<EndpointTier["defaultAction"]>("Deny", "Pass"),
      ingress: fc.shuffledSubarray([...IDS]),
      egress: fc.shuffledSubarray([...IDS]),
    }),
    { maxLength: 2 },
  )
  .map((list) => list.map((tier, i) => ({ name: `t${i}`, ...tier })));
const profiles = fc.shuffledSubarray(PROFILES);
const names = fc.constantFrom("a", "b", "c");

const aPolicy = fc
  .record({ id: fc.constantFrom(...IDS), ingress: rules, egress: rules, selector: fc.constantFrom("x", "y") })
  .map(({ id, ...rest }) => policy(id, rest));
const aWorkload = fc
  .record({
    name: names,
    tiers,
    profiles,
    on: fc.constantFrom("calia", "calib"),
    nat: fc.boolean(),
    spoof: fc.boolean(),
  })
  .map(({ name, tiers, profiles, on, nat, spoof }) =>
    workload(name, {
      tiers,
      profiles,
      interfaceName: on,
      ipv4Nats: nat ? [{ internal: "10.0.0.1", external: `192.0.2.${name.charCodeAt(0)}` }] : [],
      qos: nat ? { dscp: 10 } : {},
      allowSpoofedSourcePrefixes: spoof ? ["8.8.8.0/24"] : [],
    }),
  );
const aHost = fc
  .record({
    name: names,
    interfaceName: fc.constantFrom("", "*", "eth0", "eth1"),
    tiers,
    forwardTiers: tiers,
    untrackedTiers: tiers,
    preDnatTiers: tiers,
    profiles,
  })
  .map(({ name, ...rest }) => host(name, { ...rest, expectedIPs: ["192.0.2.1"] }));
const aPool = fc.record({
  cidr: fc.constantFrom("10.0.0.0/16", "fd00::/64"),
  natOutgoing: fc.boolean(),
  ipipMode: fc.constantFrom("Never", "Always" as const),
  vxlanMode: fc.constantFrom("Never", "CrossSubnet" as const),
});

interface InterfaceEvent {
  readonly type: "interface";
  readonly name: string;
  readonly addresses: readonly string[] | undefined;
}
type Step = Message | InterfaceEvent | { readonly type: "complete" };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: aPolicy.map((policy) => ({ type: "policy", policy }) as const) },
  { weight: 1, arbitrary: fc.constantFrom(...IDS).map((id) => ({ type: "policy-removed", id }) as const) },
  {
    weight: 2,
    arbitrary: fc
      .record({ name: fc.constantFrom(...PROFILES), ingress: rules, egress: rules })
      .map((profile) => ({ type: "profile", profile }) as const),
  },
  { weight: 1, arbitrary: fc.constantFrom(...PROFILES).map((name) => ({ type: "profile-removed", name }) as const) },
  { weight: 4, arbitrary: aWorkload.map((workload) => ({ type: "workload", workload }) as const) },
  { weight: 2, arbitrary: names.map((name) => ({ type: "workload-removed", id: workload(name).id }) as const) },
  { weight: 3, arbitrary: aHost.map((host) => ({ type: "host", host }) as const) },
  { weight: 1, arbitrary: names.map((name) => ({ type: "host-removed", name }) as const) },
  { weight: 1, arbitrary: aPool.map((pool) => ({ type: "pool", pool }) as const) },
  { weight: 1, arbitrary: fc.constant({ type: "pool-removed", cidr: "10.0.0.0/16" } as const) },
  {
    weight: 2,
    arbitrary: fc
      .record({ name: fc.constantFrom("eth0", "eth1"), has: fc.constantFrom(undefined, [], ["192.0.2.1"]) })
      .map(({ name, has }) => ({ type: "interface", name, addresses: has }) as const),
  },
  {
    weight: 3,
    arbitrary: fc
      .record({ id: fc.constantFrom(...SETS), members: fc.subarray(["10.0.0.1/32", "10.0.0.2/32"]) })
      .map(({ id, members }) => ({ type: "set", id, setType: "net", members }) as const),
  },
  { weight: 3, arbitrary: fc.constant({ type: "complete" } as const) },
);
const history = fc.array(step, { maxLength: 40 });

function take(programmer: Programmer, each: Step): void {
  if (each.type === "complete") programmer.complete();
  else if (each.type === "interface")
    programmer.onInterface(each.name, each.addresses && { up: true, addresses: each.addresses });
  else programmer.onMessage(each);
}

/** What is left of a history: the last word about each thing. */
function lastWords(steps: readonly Step[]): Step[] {
  const last = new Map<string, Step>();
  for (const each of steps) last.set(subject(each), each);
  return [...last.values()].reverse();
}

function subject(each: Step): string {
  switch (each.type) {
    case "policy":
      return `policy ${policyKey(each.policy.id)}`;
    case "policy-removed":
      return `policy ${policyKey(each.id)}`;
    case "profile":
      return `profile ${each.profile.name}`;
    case "profile-removed":
      return `profile ${each.name}`;
    case "workload":
      return `workload ${each.workload.id.workload}`;
    case "workload-removed":
      return `workload ${each.id.workload}`;
    case "host":
      return `host ${each.host.name}`;
    case "host-removed":
      return `host ${each.name}`;
    case "pool":
      return `pool ${each.pool.cidr}`;
    case "pool-removed":
      return `pool ${each.cidr}`;
    case "interface":
      return `interface ${each.name}`;
    case "set":
      return `set ${each.id}`;
    default:
      return each.type;
  }
}

/** Every chain and set that something names is there. */
function expectWhole(program: Program): void {
  for (const table of TABLES) {
    const chains = program.chains(table);
    const dispatches = program.dispatches(table);
    const all = [
      ...[...chains.values()].flatMap((chain) => chain.rules),
      ...[...program.hooks(table).values()].flatMap(({ first, last }) => [...first, ...last]),
      ...[...dispatches.values()].flatMap(({ otherwise }) => otherwise),
    ];
    const targets = all.flatMap(({ action }) => ("chain" in action ? [action.chain] : []));
    for (const { entries } of dispatches.values()) targets.push(...entries.values());
    for (const target of targets) expect(chains.has(target) || dispatches.has(target), `${table} ${target}`).toBe(true);
    for (const { match } of all)
      for (const each of match) if ("set" in each) expect(program.sets.has(each.set), each.set).toBe(true);
  }
}

/** Names of chains that are not as they were. */
function differences(before: Snapshot, after: Snapshot): string[] {
  const keys = new Set([...before.keys(), ...after.keys()]);
  return [...keys].filter((key) => before.get(key) !== after.get(key)).sort();
}
type Snapshot = ReadonlyMap<string, string>;
const snapshot = (program: Program): Snapshot =>
  new Map(
    TABLES.flatMap((table) =>
      [...program.chains(table)].map(([name, chain]) => [`${table} ${name}`, printChain(chain)]),
    ),
  );
const told = (changes: Changes): string[] =>
  TABLES.flatMap((table) => [...changes.chains[table]].map((name) => `${table} ${name}`)).sort();

const world = (): Bench => programmed({ floatingIPs: true, workloadSourceSpoofing: "Any" });

describe("the programs", () => {
  it("are those of the last state, whatever came before, and nothing in them is missing", () => {
    fc.assert(
      fc.property(history, (steps) => {
        const lived = world();
        for (const each of steps) {
          take(lived.programmer, each);
          if (each.type !== "complete") continue;
          expectWhole(lived.v4);
          expectWhole(lived.v6);
        }
        lived.programmer.complete();
        const fresh = world();
        for (const each of lastWords(steps)) take(fresh.programmer, each);
        fresh.programmer.complete();
        expect(printProgram(lived.v4)).toBe(printProgram(fresh.v4));
        expect(printProgram(lived.v6)).toBe(printProgram(fresh.v6));
        expect([...lived.programmer.programmed.keys()].sort()).toEqual([...fresh.programmer.programmed.keys()].sort());
        expect([...lived.programmer.incomplete].sort()).toEqual([...fresh.programmer.incomplete].sort());
        expectWhole(lived.v4);
      }),
      { numRuns: 80 },
    );
  }, 60_000);

  it("tell of every chain that changed, and hardly of any other", () => {
    fc.assert(
      fc.property(history, fc.array(step, { maxLength: 3 }), (steps, more) => {
        const { programmer, v4 } = world();
        for (const each of steps) take(programmer, each);
        programmer.complete();
        v4.takeChanges();
        const before = snapshot(v4);
        for (const each of more) take(programmer, each);
        programmer.complete();
        const changed = differences(before, snapshot(v4));
        const named = told(v4.takeChanges());
        for (const name of changed) expect(named).toContain(name);
        // A chain that changed and changed back within one apply may be named.
        if (more.length <= 1) expect(named).toEqual(changed);
        programmer.complete();
        expect(v4.takeChanges().empty).toBe(true);
      }),
      { numRuns: 80 },
    );
  }, 60_000);
});

// What a state means for a packet from one workload to another, straight from the messages.

interface Meaning {
  readonly policies: ReadonlyMap<string, ActivePolicy>;
  readonly profiles: ReadonlyMap<string, ActiveProfile>;
  readonly sets: ReadonlyMap<string, readonly string[]>;
}
type Direction = "ingress" | "egress";

function ruleHolds(rule: ParsedRule, packet: Packet, { sets }: Meaning): boolean {
  if (rule.protocol !== packet.protocol) return false;
  const inPorts = rule.destination.ports!.some(
    ({ first, last }) => first <= packet.destinationPort! && packet.destinationPort! <= last,
  );
  return inPorts && (rule.source.sets ?? []).every((set) => sets.get(set)!.includes(`${packet.source}/32`));
}

/** Undefined: no rule decides. Rules that are not there, or refer to a set that is not, deny. */
function decide(list: readonly ParsedRule[] | undefined, packet: Packet, meaning: Meaning, all: readonly ParsedRule[]) {
  if (list === undefined) return "Deny";
  const missing = all.some((rule) => (rule.source.sets ?? []).some((set) => !meaning.sets.has(set)));
  if (missing) return "Deny";
  return list.find((rule) => rule.action !== "Log" && ruleHolds(rule, packet, meaning))?.action;
}

function lets(endpoint: LocalWorkload, direction: Direction, packet: Packet, meaning: Meaning): boolean {
  for (const tier of endpoint.tiers) {
    const ids = tier[direction].filter(({ kind }) => !isStaged(kind));
    if (ids.length === 0) continue;
    let verdict: string | undefined;
    for (const id of ids) {
      const known = meaning.policies.get(policyKey(id));
      const all = known ? [...known.ingress!, ...known.egress!] : [];
      verdict = decide(known?.[direction], packet, meaning, all);
      if (verdict !== undefined) break;
    }
    verdict ??= tier.defaultAction;
    if (verdict !== "Pass") return verdict === "Allow";
  }
  for (const name of endpoint.profiles) {
    const known = meaning.profiles.get(name);
    const verdict = decide(known?.[direction], packet, meaning, known ? [...known.ingress, ...known.egress] : []);
    if (verdict === "Allow" || verdict === "Deny") return verdict === "Allow";
  }
  return false;
}

/** Rules of which many match, and most do not deny: packets get past several policies and tiers. */
const lenient = fc.array(
  fc
    .record({
      action: fc.constantFrom<ParsedRule["action"]>("Allow", "Allow", "Allow", "Pass", "Pass", "Deny", "Log"),
      port: fc.nat(3),
      width: fc.nat(3),
      set: fc.option(fc.constantFrom(...SETS), { nil: undefined, freq: 1 }),
    })
    .map(({ action, port, width, set }) =>
      parsedRule(action, {
        protocol: 6,
        destination: { ports: [{ first: port, last: port + width }] },
        ...(set && action === "Deny" && { source: { sets: [set] } }),
      }),
    ),
  { minLength: 1, maxLength: 2 },
);
const lenientPolicy = fc
  .record({ id: fc.constantFrom(...IDS), ingress: lenient, egress: lenient, selector: fc.constantFrom("x", "y") })
  .map(({ id, ...rest }) => policy(id, rest));

describe("a packet from workload to workload", () => {
  it("fares as tiers, policies and profiles say, in the order they have", () => {
    const state = fc.record({
      policies: fc.uniqueArray(lenientPolicy, { selector: ({ id }) => policyKey(id), minLength: 4 }),
      profiles: fc.uniqueArray(fc.record({ name: fc.constantFrom(...PROFILES), ingress: lenient, egress: lenient }), {
        selector: ({ name }) => name,
        minLength: 1,
      }),
      sets: fc.uniqueArray(
        fc.record({ id: fc.constantFrom(...SETS), members: fc.subarray(["10.0.0.1/32", "10.0.0.9/32"]) }),
        {
          selector: ({ id }) => id,
          minLength: 1,
        },
      ),
      from: fc.record({ tiers, profiles }),
      to: fc.record({ tiers, profiles }),
    });
    const packets = fc.array(fc.record({ protocol: fc.constantFrom(6, 6, 6, 17), port: fc.nat(4) }), { minLength: 8 });
    const seen = { accept: 0, drop: 0 };
    fc.assert(
      fc.property(state, packets, (state, packets) => {
        const { programmer, v4 } = programmed();
        const a = workload("a", state.from);
        const b = workload("b", { ...state.to, ipv4Nets: ["10.0.0.2/32"] });
        for (const { id, members } of state.sets) programmer.onMessage({ type: "set", id, setType: "net", members });
        for (const policy of state.policies) programmer.onMessage({ type: "policy", policy });
        for (const profile of state.profiles) programmer.onMessage({ type: "profile", profile });
        for (const each of [a, b]) programmer.onMessage({ type: "workload", workload: each });
        programmer.complete();
        const meaning: Meaning = {
          policies: new Map(state.policies.map((policy) => [policyKey(policy.id), policy])),
          profiles: new Map(state.profiles.map((profile) => [profile.name, profile])),
          sets: new Map(state.sets.map(({ id, members }) => [id, members])),
        };
        const route = (address: string) => ({ "10.0.0.1": "calia", "10.0.0.2": "calib" })[address];
        for (const { protocol, port } of packets) {
          const packet: Packet = {
            version: 4,
            source: "10.0.0.1",
            destination: "10.0.0.2",
            protocol,
            sourcePort: 40000,
            destinationPort: port,
          };
          const expected =
            lets(a, "egress", packet, meaning) && lets(b, "ingress", packet, meaning) ? "accept" : "drop";
          seen[expected]++;
          const { verdict } = interpret(v4, packet, { inInterface: "calia", route, addresses: {} });
          expect(verdict, JSON.stringify(packet)).toBe(expected);
        }
      }),
      { numRuns: 150 },
    );
    expect(seen.accept, "packets that get through, too, must be among the cases").toBeGreaterThan(10);
  }, 60_000);
});
