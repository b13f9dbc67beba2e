/** Resources that no validation would let in, written past it: they stop nothing, open nothing, and the log says which they are. */
import { afterEach, expect, test } from "vitest";
import { until } from "./agent.ts";
import { type Bed, FRIEND, GUARDED, OUTSIDE, SERVER, STRANGER, serverPolicy } from "./bed.ts";

const PREFIX = "/calico/resources/v3/projectcalico.org/";

/** One that is wrong: its key after the common part, and its text. */
interface Wrong {
  readonly key: string;
  readonly text: string;
  /** What the log has to say of it, beside its name. */
  readonly field?: RegExp | undefined;
}

const resource = (kind: string, name: string, spec: unknown, namespace?: string): string =>
  JSON.stringify({
    apiVersion: "projectcalico.org/v3",
    kind,
    metadata: {
      name,
      namespace,
      uid: "7d1b7f0e-0000-4000-8000-000000000000",
      creationTimestamp: "2026-01-01T00:00:00Z",
    },
    spec,
  });

/** A policy for the server that lets everybody in, but for what is wrong with it. */
const policy = (name: string, changes: object, rule: object = {}, field?: RegExp): Wrong => ({
  key: `globalnetworkpolicies/${name}`,
  text: resource("GlobalNetworkPolicy", name, {
    order: 1,
    tier: "default",
    selector: "role == 'server'",
    types: ["Ingress"],
    ingress: [{ action: "Allow", source: { nets: ["198.18.0.0/15"] }, ...rule }],
    ...changes,
  }),
  ...(field ? { field } : {}),
});

/** Whom it is for cannot be read, so it closes all of its namespace: one in which nobody is to be reached. */
const unselective = (name: string, selector: string): Wrong => ({
  key: `networkpolicies/y/${name}`,
  text: resource("NetworkPolicy", name, { selector, types: ["Ingress"], ingress: [{ action: "Allow" }] }, "y"),
  field: /selector/,
});

const LONG = "x".repeat(10_000);
const DEEP = 5_000;

const WRONG: readonly Wrong[] = [
  policy("unknown-rule-field", {}, { sauce: { nets: ["0.0.0.0/0"] } }),
  policy("unknown-spec-field", { selectr: "all()" }),
  policy("wrong-net", {}, { source: { nets: ["10.0.0.0/99"] } }, /nets/),
  policy("wrong-nets", {}, { source: { nets: "all of them" } }, /nets/),
  policy("wrong-notnets", {}, { source: { notNets: ["300.1.1.1/8"] } }, /notNets/),
  policy("wrong-action", {}, { action: "Permit", source: {} }, /action/),
  policy("wrong-protocol", {}, { protocol: "TCPP", source: {} }, /protocol/),
  policy("wrong-port", {}, { protocol: "TCP", destination: { ports: [99_999_999] } }, /ports/),
  policy("wrong-port-range", {}, { protocol: "UDP", destination: { ports: ["90:10"] } }, /ports/),
  policy("wrong-icmp", {}, { protocol: "ICMP", icmp: { type: 700 } }, /icmp/),
  policy("wrong-order", { order: "first" }, { source: {} }, /order/),
  policy("wrong-types", { types: ["Ingres"] }, { source: {} }, /types/),
  policy("wrong-tier", { tier: 7 }, { source: {} }, /tier/),
  policy("wrong-source-selector", {}, { source: { selector: "role in {" } }, /selector/),
  policy("long-selector", { selector: `role == '${LONG}'` }, { source: {} }),
  unselective("wrong-selector", "role === 'server'"),
  unselective("long-selector-name", `${LONG} == 'a'`),
  unselective("deep-selector", `${"(".repeat(DEEP)}all()${")".repeat(DEEP)}`),
  { ...unselective("deep-negation", `${"!".repeat(DEEP)}all()`), field: undefined },
  policy("rules-no-list", { ingress: "everybody" }, {}, /ingress/),
  policy("rule-null", { ingress: [null] }, {}, /ingress/),
  policy("spec-null", null as never),
  { key: "globalnetworkpolicies/no-json", text: '{"kind":"GlobalNetworkPolicy","spec":{"ingress":[{"act' },
  { key: "globalnetworkpolicies/a-number", text: "7" },
  { key: "networkpolicies/y/deep-json", text: `${'{"spec":'.repeat(DEEP)}1${"}".repeat(DEEP)}` },
  {
    key: "globalnetworkpolicies/deep-list",
    text: resource("GlobalNetworkPolicy", "deep-list", { ingress: nested(DEEP) }),
  },
  {
    key: "globalnetworksets/wrong-set",
    text: resource("GlobalNetworkSet", "wrong-set", { nets: ["10.0.0.0/99", "198.18.0.1/32", 7] }),
    field: /nets/,
  },
  { key: "tiers/wrong-tier-order", text: resource("Tier", "wrong-tier-order", { order: "-", defaultAction: "Alow" }) },
  { key: "profiles/wrong-profile", text: resource("Profile", "wrong-profile", { ingress: [{ action: 1 }] }) },
  {
    key: "hostendpoints/wrong-host",
    text: resource("HostEndpoint", "wrong-host", { node: "node1", interfaceName: 5, expectedIPs: ["300.1.1.1"] }),
  },
  { key: "ippools/wrong-pool", text: resource("IPPool", "wrong-pool", { cidr: "10.0.0.0/99" }) },
  {
    key: "workloadendpoints/x/node1-k8s-wrong-eth0",
    text: resource("WorkloadEndpoint", "node1-k8s-wrong-eth0", {
      node: "node1",
      orchestrator: "k8s",
      pod: "wrong",
      endpoint: "eth0",
      interfaceName: "calideadbeef000000000000000000",
      ipNetworks: ["10.65.0.999/32"],
      profiles: ["kns.x"],
    }),
  },
];

function nested(depth: number): unknown {
  let value: unknown = [];
  for (let level = 0; level < depth; level++) value = [value];
  return value;
}

/** Packets from these must never reach the server, whatever a policy that cannot be read may have meant. */
const DENIED = GUARDED.filter(({ expected }) => expected === "deny");

export function resourceTests(bed: () => Bed): void {
  afterEach(() => bed().endAll());
  const texts = (some: readonly Wrong[], value: (wrong: Wrong) => string | undefined) =>
    Object.fromEntries(some.map((wrong) => [PREFIX + wrong.key, value(wrong)]));
  const nameOf = ({ key }: Wrong): string => key.slice(key.lastIndexOf("/") + 1);

  async function goesOn(what: string): Promise<void> {
    await bed().apply(closed());
    await bed().becomes("deny", STRANGER, FRIEND);
    await bed().delete(closed());
    await bed().becomes("allow", STRANGER, FRIEND);
    expect(await bed().verdict(STRANGER, SERVER), what).toBe("deny");
  }

  test("one by one, while the agent runs", async () => {
    const agent = await bed().start().ready();
    const right = await bed().enforced();
    const traffic = bed().guard(DENIED);
    const silent: string[] = [];
    for (const wrong of WRONG) {
      const said = agent.log().length;
      bed().store(texts([wrong], ({ text }) => text));
      const isSaid = (): boolean => {
        const line = agent
          .log()
          .slice(said)
          .split("\n")
          .find((one) => one.includes(nameOf(wrong)));
        return line !== undefined && (wrong.field === undefined || wrong.field.test(line));
      };
      // Two changes later it has been seen, whatever became of it.
      if (wrong.field) await until(isSaid, "", 3_000).catch(() => silent.push(nameOf(wrong)));
      expect(agent.hasEnded, `${nameOf(wrong)}: ${agent.log().slice(said)}`).toBe(false);
      expect(traffic.leaks, nameOf(wrong)).toEqual([]);
      bed().store(texts([wrong], () => undefined));
    }
    expect(silent, agent.log().slice(-5_000)).toEqual([]);
    await goesOn("one by one");
    await until(
      async () => right === (await bed().enforced()),
      () => agent.log(),
    );
    expect(await traffic.stop()).toEqual([]);
  });

  test("all at once, found at the start", async () => {
    bed().store(texts(WRONG, ({ text }) => text));
    try {
      const traffic = bed().guard(DENIED);
      const agent = await bed().start().ready();
      await goesOn("all at once");
      expect(await bed().verdict(OUTSIDE, SERVER)).toBe("deny");
      for (const wrong of WRONG) if (wrong.field) expect(agent.log()).toContain(nameOf(wrong));
      expect(await traffic.stop()).toEqual([]);
    } finally {
      bed().store(texts(WRONG, () => undefined));
    }
  });

  test("a good policy that is overwritten by a wrong one does not open", async () => {
    const agent = await bed().start().ready();
    const traffic = bed().guard(DENIED);
    const key = `${PREFIX}networkpolicies/x/server`;
    const good = bed().stored(key);
    expect(good).toBeDefined();
    for (const text of ["{", JSON.stringify({ ...serverPolicy(), spec: { ingress: 3 } }), "null"]) {
      bed().store({ [key]: text });
      await goesOn(text);
      expect(agent.hasEnded).toBe(false);
    }
    bed().store({ [key]: good });
    await bed().becomes("allow", FRIEND, SERVER);
    expect(traffic.leaks).toEqual([]);
  });
}

const closed = (): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "GlobalNetworkPolicy",
  metadata: { name: "closed" },
  spec: { selector: "role == 'friend'", types: ["Ingress"] },
});
