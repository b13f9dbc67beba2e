import { describe, expect, it } from "vitest";
import type { WorkloadId } from "../calc/index.ts";
import { dscpValue } from "./dscp.ts";
import { RulesError } from "./marks.ts";
import { RULES_DEFAULTS } from "./options.ts";
import { printChain, printProgram } from "./print.ts";
import { Program } from "./program.ts";
import { createProgrammer } from "./programmer.ts";
import {
  ALLOW,
  type Bench,
  DENY,
  gnp,
  host,
  np,
  parsedRule,
  policy,
  programmed,
  tier,
  workload,
} from "./testvalues.ts";

const chainText = ({ v4 }: Bench, name: string, table: "filter" | "mangle" | "raw" | "nat" = "filter") => {
  const chain = v4.chains(table).get(name);
  return chain && printChain(chain).split("\n").slice(1).join("\n");
};
const entries = ({ v4 }: Bench, name: string, table: "filter" | "mangle" | "raw" = "filter") =>
  Object.fromEntries(v4.dispatches(table).get(name)!.entries);
const chainNames = ({ v4 }: Bench, table: "filter" | "mangle" | "raw") =>
  [...v4.chains(table).keys()].filter((name) => /^cali-(p[io]|pr[io]|g[io]|[tf][wh]|[tf]hfw)-/.test(name)).sort();
const members = ({ v4 }: Bench, id: string) => [...v4.sets.get(id)!.members].sort();
const idOf = (name: string): WorkloadId => workload(name).id;
const keyOf = (name: string) => `k8s/default/${name}/eth0`;

describe("before the first message", () => {
  it("workloads are denied, the host is left alone", () => {
    const bench = programmed();
    for (const name of ["cali-from-wl-dispatch", "cali-to-wl-dispatch"]) {
      expect(bench.v4.dispatches("filter").get(name)).toMatchObject({
        otherwise: [{ match: [], action: { do: "drop" }, comment: "Unknown interface" }],
      });
    }
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({});
    expect(bench.v4.hooks("filter").size).toBe(3);
    expect(bench.v6.hooks("raw").size).toBe(2);
  });
  it("a configuration that cannot be rendered is refused", () => {
    const config = { ...RULES_DEFAULTS, markMask: 0xf };
    expect(() => createProgrammer(config, { v4: new Program(4) })).toThrow(RulesError);
  });
  it("IPv6 may be left out", () => {
    const v4 = new Program(4);
    const programmer = createProgrammer(RULES_DEFAULTS, { v4 });
    programmer.onMessage({ type: "workload", workload: workload("a") });
    programmer.complete();
    expect(v4.chains("filter").has("cali-fw-calia")).toBe(true);
  });
});

describe("workloads", () => {
  it("have chains and dispatch in both IP versions, and lose them", () => {
    const bench = programmed();
    const { programmer, v4, v6 } = bench;
    programmer.onMessage({ type: "workload", workload: workload("a") });
    programmer.complete();
    for (const program of [v4, v6]) {
      expect(program.chains("filter").has("cali-tw-calia")).toBe(true);
      expect(program.dispatches("filter").get("cali-to-wl-dispatch")!.entries.get("calia")).toBe("cali-tw-calia");
    }
    expect([...programmer.programmed]).toEqual([[keyOf("a"), idOf("a")]]);

    programmer.onMessage({ type: "workload-removed", id: idOf("a") });
    programmer.complete();
    expect(chainNames(bench, "filter")).toEqual([]);
    expect(entries(bench, "cali-from-wl-dispatch")).toEqual({});
    expect(programmer.programmed.size + programmer.incomplete.size).toBe(0);
  });

  it("are not told twice", () => {
    const { programmer, v4 } = programmed();
    programmer.onMessage({ type: "policy", policy: policy(gnp("p")) });
    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([gnp("p")])] }) });
    programmer.complete();
    expect(v4.takeChanges().empty).toBe(false);
    programmer.complete();
    programmer.onMessage({ type: "policy", policy: policy(gnp("p")) });
    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([gnp("p")])] }) });
    programmer.complete();
    expect(v4.takeChanges().empty).toBe(true);
  });

  it("touch nothing but their own when they change", () => {
    const { programmer, v4 } = programmed();
    programmer.onMessage({ type: "profile", profile: { name: "kns.default", ingress: [ALLOW], egress: [ALLOW] } });
    for (const name of ["a", "b", "c"])
      programmer.onMessage({ type: "workload", workload: workload(name, { profiles: ["kns.default"] }) });
    programmer.complete();
    v4.takeChanges();
    programmer.onMessage({ type: "workload", workload: workload("b") });
    programmer.complete();
    const { chains, dispatches, sets } = v4.takeChanges();
    expect([...chains.filter]).toEqual(["cali-tw-calib", "cali-fw-calib"]);
    expect([chains.raw.size, chains.mangle.size, chains.nat.size, dispatches.filter.size, sets.size]).toEqual([
      0, 0, 0, 0, 0,
    ]);
  });

  it("that claim the same interface: the first by id has it, until it goes", () => {
    const bench = programmed();
    const { programmer } = bench;
    const profiles = (name: string) => workload(name, { interfaceName: "cali0", profiles: [name] });
    programmer.onMessage({ type: "workload", workload: profiles("b") });
    programmer.complete();
    expect(programmer.programmed.has(keyOf("b"))).toBe(true);

    programmer.onMessage({ type: "workload", workload: profiles("c") });
    programmer.onMessage({ type: "workload", workload: profiles("a") });
    programmer.complete();
    expect([...programmer.programmed.keys()]).toEqual([keyOf("a")]);
    expect(programmer.incomplete.get(keyOf("b"))?.reason).toBe(`its interface cali0 belongs to ${keyOf("a")}`);
    expect(chainText(bench, "cali-tw-cali0")).toContain("jump cali-pri-a");

    programmer.onMessage({ type: "workload-removed", id: idOf("a") });
    programmer.complete();
    expect([...programmer.programmed.keys()]).toEqual([keyOf("b")]);
    expect(chainText(bench, "cali-tw-cali0")).toContain("jump cali-pri-b");
    expect(chainNames(bench, "filter").filter((name) => name.startsWith("cali-pri"))).toEqual(["cali-pri-b"]);
  });

  it("may move to another interface", () => {
    const bench = programmed();
    bench.programmer.onMessage({ type: "workload", workload: workload("a") });
    bench.programmer.complete();
    bench.programmer.onMessage({ type: "workload", workload: workload("a", { interfaceName: "cali9" }) });
    bench.programmer.complete();
    expect(entries(bench, "cali-from-wl-dispatch")).toEqual({ cali9: "cali-fw-cali9" });
    expect(chainNames(bench, "filter")).toEqual(["cali-fw-cali9", "cali-tw-cali9"]);
  });

  it("are not enforced on an interface whose packets never come by", () => {
    const { programmer } = programmed();
    programmer.onMessage({ type: "workload", workload: workload("a", { interfaceName: "tap0" }) });
    programmer.complete();
    expect(programmer.incomplete.get(keyOf("a"))?.reason).toContain("tap0 begins with none of InterfacePrefix (cali)");
  });

  it("may send from other addresses only where WorkloadSourceSpoofing lets them", () => {
    const spoofer = workload("a", { allowSpoofedSourcePrefixes: ["8.8.8.0/24", "fd08::/64"] });
    const bench = programmed({ workloadSourceSpoofing: "Any" });
    bench.programmer.onMessage({ type: "workload", workload: spoofer });
    bench.programmer.complete();
    expect(chainText(bench, "cali-rpf-skip", "raw")).toBe("  in=calia src=8.8.8.0/24 -> accept");
    expect(printChain(bench.v6.chains("raw").get("cali-rpf-skip")!)).toContain("in=calia src=fd08::/64 -> accept");
    bench.programmer.onMessage({ type: "workload-removed", id: spoofer.id });
    bench.programmer.complete();
    expect(chainText(bench, "cali-rpf-skip", "raw")).toBe("");

    const strict = programmed();
    strict.programmer.onMessage({ type: "workload", workload: spoofer });
    strict.programmer.complete();
    expect(chainText(strict, "cali-rpf-skip", "raw")).toBe("");
  });

  it("have floating addresses where they are on, or where OpenStack runs", () => {
    const nats = { ipv4Nats: [{ internal: "10.0.0.1", external: "192.0.2.1" }] };
    const rules = (floatingIPs: boolean, orchestrator: string) => {
      const bench = programmed({ floatingIPs });
      const id = { ...idOf("a"), orchestrator };
      bench.programmer.onMessage({ type: "workload", workload: workload("a", { ...nats, id }) });
      bench.programmer.complete();
      return chainText(bench, "cali-fip-dnat", "nat");
    };
    expect(rules(true, "k8s")).toBe("  dst=192.0.2.1/32 -> dnat 10.0.0.1");
    expect(rules(false, "k8s")).toBe("");
    expect(rules(false, "openstack")).toBe("  dst=192.0.2.1/32 -> dnat 10.0.0.1");
  });
});

describe("code points", () => {
  it("are known by number and name", () => {
    const values = ["0", "63", 46, "DF", "ef", "AF11", "AF43", "CS6", " cs0 "].map(dscpValue);
    expect(values).toEqual([0, 63, 46, 0, 46, 10, 38, 48, 0]);
    for (const nonsense of ["64", "-1", "AF14", "CS7", "x", ""]) expect(dscpValue(nonsense), nonsense).toBeUndefined();
  });
  it("are set on what the workload sends out of the cluster", () => {
    const bench = programmed();
    bench.programmer.onMessage({ type: "workload", workload: workload("a", { qos: { dscp: "AF41" } }) });
    bench.programmer.complete();
    expect(chainText(bench, "cali-egress-dscp", "mangle")).toBe(`  !src@dscp-src-net -> return
  dst@network-ip-pools -> return
  dst@this-host -> return
  src=10.0.0.1/32 -> dscp 34`);
    expect([...bench.v6.sets.get("dscp-src-net")!.members]).toEqual(["fd00::1/128"]);
    bench.programmer.onMessage({ type: "workload", workload: workload("a") });
    bench.programmer.complete();
    expect(chainText(bench, "cali-egress-dscp", "mangle")).toBe("");
  });
});

describe("policies", () => {
  it("stand where somebody jumps to them, and only as long", () => {
    const bench = programmed();
    const { programmer } = bench;
    for (const name of ["p", "q"]) programmer.onMessage({ type: "policy", policy: policy(gnp(name)) });
    programmer.complete();
    expect(chainNames(bench, "filter")).toEqual([]);

    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([gnp("p")], [])] }) });
    programmer.complete();
    expect(chainNames(bench, "filter")).toEqual(["cali-fw-calia", "cali-pi-gnp/p", "cali-tw-calia"]);
    expect(chainNames(bench, "mangle")).toEqual([]);

    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([], [gnp("q")])] }) });
    programmer.complete();
    expect(chainNames(bench, "filter")).toEqual(["cali-fw-calia", "cali-po-gnp/q", "cali-tw-calia"]);
  });

  it("change without their endpoints", () => {
    const { programmer, v4 } = programmed();
    programmer.onMessage({ type: "policy", policy: policy(gnp("p")) });
    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([gnp("p")])] }) });
    programmer.complete();
    v4.takeChanges();
    programmer.onMessage({ type: "policy", policy: policy(gnp("p"), { ingress: [DENY] }) });
    programmer.complete();
    expect([...v4.takeChanges().chains.filter]).toEqual(["cali-pi-gnp/p"]);
  });

  it("that are not there deny, and their endpoints wait for them", () => {
    const bench = programmed();
    const { programmer } = bench;
    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([np("ns", "p")])] }) });
    programmer.complete();
    const denied = "  -> drop  # NetworkPolicy ns/p ingress is not there";
    expect(chainText(bench, "cali-pi-np/ns/p")).toBe(denied);
    expect(programmer.programmed.size).toBe(0);
    expect(programmer.incomplete.get(keyOf("a"))?.reason).toBe("policy NetworkPolicy/ns/p is not there");

    programmer.onMessage({ type: "policy", policy: policy(np("ns", "p")) });
    programmer.complete();
    expect(chainText(bench, "cali-pi-np/ns/p")).toContain("set-mark 0x10000/0x10000");
    expect([...programmer.programmed.keys()]).toEqual([keyOf("a")]);
    expect(programmer.incomplete.size).toBe(0);

    programmer.onMessage({ type: "policy-removed", id: np("ns", "p") });
    programmer.complete();
    expect(chainText(bench, "cali-pi-np/ns/p")).toBe(denied);
    expect(programmer.programmed.size).toBe(0);
  });

  it("that refer to sets which are not there deny until those come", () => {
    const bench = programmed();
    const { programmer } = bench;
    const ingress = [parsedRule("Allow", { source: { sets: ["s:a"], notNamedPorts: ["n:b"] } })];
    programmer.onMessage({ type: "policy", policy: policy(gnp("p"), { ingress }) });
    programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([gnp("p")])] }) });
    programmer.complete();
    expect(chainText(bench, "cali-pi-gnp/p")).toContain("drop");
    programmer.onMessage({ type: "set", id: "s:a", setType: "net", members: [] });
    programmer.complete();
    expect(programmer.incomplete.get(keyOf("a"))?.reason).toBe("not all sets of GlobalNetworkPolicy/p are there");
    programmer.onMessage({ type: "set", id: "n:b", setType: "port", members: [] });
    programmer.complete();
    expect(chainText(bench, "cali-pi-gnp/p")).toContain("src@s:a !src-port@n:b -> set-mark");
    expect(programmer.programmed.has(keyOf("a"))).toBe(true);
  });

  it("of staged kinds are not enforced, and decide nothing at the end of their tier", () => {
    const bench = programmed();
    const staged = { kind: "StagedNetworkPolicy", namespace: "ns", name: "p" } as const;
    bench.programmer.onMessage({ type: "policy", policy: policy(staged, { ingress: [DENY] }) });
    bench.programmer.onMessage({ type: "workload", workload: workload("a", { tiers: [tier([staged])] }) });
    bench.programmer.complete();
    expect(chainNames(bench, "filter")).toEqual(["cali-fw-calia", "cali-tw-calia"]);
    expect(chainText(bench, "cali-tw-calia")).not.toContain("tier");
    expect(bench.programmer.programmed.size).toBe(1);
  });

  it("chosen by one selector share a chain, for all their endpoints", () => {
    const bench = programmed();
    const { programmer } = bench;
    const ids = [gnp("p"), gnp("q")];
    for (const id of ids) programmer.onMessage({ type: "policy", policy: policy(id, { selector: "all()" }) });
    for (const name of ["a", "b"])
      programmer.onMessage({ type: "workload", workload: workload(name, { tiers: [tier(ids)] }) });
    programmer.complete();
    const groups = () => chainNames(bench, "filter").filter((name) => /-g[io]-/.test(name));
    expect(groups()).toHaveLength(2);
    expect(chainText(bench, groups()[0]!)).toBe("  -> jump cali-pi-gnp/p\n  mark=0x0/0x30000 -> jump cali-pi-gnp/q");
    // Another selector: the group comes apart everywhere.
    programmer.onMessage({ type: "policy", policy: policy(gnp("q"), { selector: "has(x)" }) });
    programmer.complete();
    expect(groups()).toEqual([]);
    for (const name of ["a", "b"]) expect(chainText(bench, `cali-tw-cali${name}`)).toContain("jump cali-pi-gnp/q");
  });
});

describe("profiles", () => {
  it("that do not exist deny, and there is nothing to wait for", () => {
    const bench = programmed();
    const { programmer } = bench;
    programmer.onMessage({ type: "workload", workload: workload("a", { profiles: ["kns.x"] }) });
    programmer.complete();
    expect(chainText(bench, "cali-pri-kns.x")).toBe("  -> drop  # Profile kns.x ingress is not there");
    expect(programmer.programmed.has(keyOf("a"))).toBe(true);
    programmer.onMessage({ type: "profile", profile: { name: "kns.x", ingress: [ALLOW], egress: [] } });
    programmer.complete();
    expect(chainText(bench, "cali-pri-kns.x")).toBe("  -> set-mark 0x10000/0x10000  # Profile kns.x ingress");
    expect(chainText(bench, "cali-pro-kns.x")).toBe("");
    programmer.onMessage({ type: "profile-removed", name: "kns.x" });
    programmer.complete();
    expect(chainText(bench, "cali-pro-kns.x")).toContain("drop");
  });
});

describe("host endpoints", () => {
  it("have policy of each class in the table of that class", () => {
    const bench = programmed();
    const { programmer } = bench;
    for (const name of ["normal", "forward", "untracked", "dnat"])
      programmer.onMessage({ type: "policy", policy: policy(gnp(name)) });
    programmer.onMessage({
      type: "host",
      host: host("h", {
        tiers: [tier([gnp("normal")])],
        forwardTiers: [tier([gnp("forward")])],
        untrackedTiers: [tier([gnp("untracked")])],
        preDnatTiers: [tier([gnp("dnat")], [])],
      }),
    });
    programmer.complete();
    const policies = (table: "filter" | "mangle" | "raw") =>
      chainNames(bench, table).filter((name) => /^cali-p[io]/.test(name));
    expect(policies("filter")).toEqual([
      "cali-pi-gnp/forward",
      "cali-pi-gnp/normal",
      "cali-po-gnp/forward",
      "cali-po-gnp/normal",
    ]);
    expect(policies("mangle")).toEqual(["cali-pi-gnp/dnat", "cali-po-gnp/normal"]);
    expect(policies("raw")).toEqual(["cali-pi-gnp/untracked", "cali-po-gnp/untracked"]);
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({ eth0: "cali-fh-eth0" });
    expect(entries(bench, "cali-to-hep-forward")).toEqual({ eth0: "cali-thfw-eth0" });
    expect(entries(bench, "cali-from-host-endpoint", "mangle")).toEqual({ eth0: "cali-fh-eth0" });
    expect(entries(bench, "cali-to-host-endpoint", "raw")).toEqual({ eth0: "cali-th-eth0" });

    programmer.onMessage({ type: "host-removed", name: "h" });
    programmer.complete();
    for (const table of ["filter", "mangle", "raw"] as const) expect(chainNames(bench, table)).toEqual([]);
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({});
  });

  it("for * hold for every interface that no other names; their untracked policy for none", () => {
    const bench = programmed({ maxChainNameLength: 248 });
    const { programmer, v4 } = bench;
    programmer.onMessage({ type: "policy", policy: policy(gnp("p")) });
    const all = host("all", {
      interfaceName: "*",
      untrackedTiers: [tier([gnp("p")])],
      preDnatTiers: [tier([gnp("p")], [])],
    });
    programmer.onMessage({ type: "host", host: all });
    programmer.onMessage({ type: "host", host: host("h") });
    programmer.complete();
    const otherwise = (table: "filter" | "mangle" | "raw", name: string) =>
      v4
        .dispatches(table)
        .get(name)!
        .otherwise.map(({ action }) => ("chain" in action ? action.chain : action.do));
    expect(otherwise("filter", "cali-from-host-endpoint")).toEqual(["cali-fh-any-interface-at-all"]);
    expect(otherwise("filter", "cali-to-hep-forward")).toEqual(["cali-thfw-any-interface-at-all"]);
    expect(otherwise("mangle", "cali-from-host-endpoint")).toEqual(["cali-fh-any-interface-at-all"]);
    expect(otherwise("mangle", "cali-to-host-endpoint")).toEqual(["return", "cali-th-any-interface-at-all"]);
    expect(otherwise("raw", "cali-from-host-endpoint")).toEqual([]);
    expect(chainNames(bench, "raw")).toEqual([]);
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({ eth0: "cali-fh-eth0" });
    expect(programmer.hostEndpoints.get("all")).toEqual(["*"]);
  });

  it("are found by their addresses as those come and go", () => {
    const bench = programmed();
    const { programmer } = bench;
    const at = (name: string, expectedIPs: string[]) =>
      programmer.onMessage({ type: "host", host: host(name, { interfaceName: "", expectedIPs }) });
    at("b", ["192.0.2.1"]);
    at("a", ["2001:db8:0::1"]);
    programmer.complete();
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({});
    expect(Object.fromEntries(programmer.hostEndpoints)).toEqual({ a: [], b: [] });

    programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.1"] });
    programmer.onInterface("calia", { up: true, addresses: ["192.0.2.1"] });
    programmer.complete();
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({ eth0: "cali-fh-eth0" });
    expect(Object.fromEntries(programmer.hostEndpoints)).toEqual({ a: [], b: ["eth0"] });

    // Both match: the first by name wins.
    programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.1", "2001:db8::1"] });
    programmer.complete();
    expect(Object.fromEntries(programmer.hostEndpoints)).toEqual({ a: ["eth0"], b: [] });

    programmer.onInterface("eth0", undefined);
    programmer.complete();
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({});
  });

  it("with an interface's name hold before it is there", () => {
    const bench = programmed();
    bench.programmer.onMessage({ type: "host", host: host("h", { expectedIPs: ["192.0.2.1"] }) });
    bench.programmer.onInterface("eth1", { up: true, addresses: ["192.0.2.1"] });
    bench.programmer.complete();
    expect(entries(bench, "cali-from-host-endpoint")).toEqual({ eth0: "cali-fh-eth0" });
    expect(bench.programmer.hostEndpoints.get("h")).toEqual([]);
    bench.programmer.onInterface("eth0", { up: true, addresses: [] });
    bench.programmer.onMessage({ type: "host", host: host("h") });
    bench.programmer.complete();
    expect(bench.programmer.hostEndpoints.get("h")).toEqual(["eth0"]);
  });

  it("are not rendered again when nothing about them is new", () => {
    const { programmer, v4 } = programmed();
    programmer.onMessage({ type: "host", host: host("h") });
    programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.1"] });
    programmer.complete();
    v4.takeChanges();
    programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.1"] });
    programmer.onInterface("eth9", undefined);
    programmer.onMessage({ type: "host", host: host("h") });
    programmer.complete();
    expect(v4.takeChanges().empty).toBe(true);
  });
});

describe("sets, pools, nodes", () => {
  it("of the calculation go to the program of their IP version, as changes", () => {
    const bench = programmed();
    const { programmer, v4, v6 } = bench;
    programmer.onMessage({ type: "set", id: "s:a", setType: "net", members: ["10.0.0.1/32", "fd00::1/128"] });
    v4.takeChanges();
    programmer.onMessage({ type: "set-delta", id: "s:a", added: ["10.0.0.2/32"], removed: ["10.0.0.1/32"] });
    const change = v4.takeChanges().sets.get("s:a")!;
    expect([change.whole, [...change.added], [...change.removed]]).toEqual([false, ["10.0.0.2/32"], ["10.0.0.1/32"]]);
    expect([...v6.sets.get("s:a")!.members]).toEqual(["fd00::1/128"]);
    programmer.onMessage({ type: "set-removed", id: "s:a" });
    expect(v4.sets.has("s:a")).toBe(false);
  });

  it("pools decide about masquerading and tunnels, live", () => {
    const bench = programmed();
    const { programmer } = bench;
    const pool = { cidr: "10.0.0.0/16", natOutgoing: true, ipipMode: "Never", vxlanMode: "Always" } as const;
    programmer.onMessage({ type: "pool", pool });
    programmer.onMessage({ type: "pool", pool: { ...pool, cidr: "10.1.0.0/16", natOutgoing: false } });
    programmer.complete();
    expect(members(bench, "network-ip-pools")).toEqual(["10.0.0.0/16", "10.1.0.0/16"]);
    expect(members(bench, "masq-ipam-pools")).toEqual(["10.0.0.0/16"]);
    expect(chainText(bench, "cali-nat-outgoing", "nat")).toContain("masquerade");
    expect(chainText(bench, "cali-INPUT")).toContain("Allow IPv4 VXLAN");
    expect(printProgram(bench.v6)).not.toContain("VXLAN packets");

    programmer.onMessage({ type: "pool-removed", cidr: "10.0.0.0/16" });
    programmer.onMessage({
      type: "pool",
      pool: { ...pool, cidr: "10.1.0.0/16", natOutgoing: false, vxlanMode: "Never" },
    });
    programmer.complete();
    expect(chainText(bench, "cali-nat-outgoing", "nat")).toBe("");
    expect(chainText(bench, "cali-INPUT")).not.toContain("VXLAN");
  });

  it("the configuration may say otherwise about tunnels", () => {
    const off = programmed({ vxlanEnabled: false });
    const pool = { cidr: "10.0.0.0/16", natOutgoing: true, ipipMode: "CrossSubnet", vxlanMode: "Always" } as const;
    off.programmer.onMessage({ type: "pool", pool });
    off.programmer.complete();
    expect(chainText(off, "cali-INPUT")).not.toContain("VXLAN");
    expect(chainText(off, "cali-INPUT")).toContain("IPIP");
    expect(chainText(programmed({ ipipEnabled: true }), "cali-INPUT")).toContain("IPIP");
  });

  it("nodes, external hosts and the host's own addresses are sets without overlap", () => {
    const bench = programmed({ externalNodes: ["192.0.2.0/28", "198.51.100.7", "nonsense"] });
    const { programmer } = bench;
    programmer.onMessage({ type: "node", name: "n1", ipv4: "192.0.2.1", ipv6: "2001:db8::1" });
    programmer.onMessage({ type: "node", name: "n2", ipv4: "192.0.2.33" });
    programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.1", "fe80::1"] });
    programmer.onInterface("calia", { up: true, addresses: ["169.254.1.1"] });
    programmer.complete();
    expect(members(bench, "all-hosts-net")).toEqual(["192.0.2.0/28", "192.0.2.33/32", "198.51.100.7/32"]);
    expect(members(bench, "all-vxlan-net")).toEqual(members(bench, "all-hosts-net"));
    expect(members(bench, "this-host")).toEqual(["192.0.2.1/32"]);
    expect([...bench.v6.sets.get("all-hosts-net")!.members]).toEqual(["2001:db8::1/128"]);
    programmer.onMessage({ type: "node-removed", name: "n2" });
    programmer.onInterface("eth0", undefined);
    programmer.complete();
    expect(members(bench, "all-hosts-net")).toEqual(["192.0.2.0/28", "198.51.100.7/32"]);
    expect(members(bench, "this-host")).toEqual([]);
  });

  it("addresses of Services are blocked where they would loop", () => {
    const bench = programmed();
    bench.programmer.onMessage({ type: "service-cidrs", cidrs: ["10.96.0.0/12"] });
    bench.programmer.onMessage({ type: "in-sync" });
    bench.programmer.complete();
    expect(chainText(bench, "cali-cidr-block")).toBe("  dst=10.96.0.0/12 -> drop");
  });
});

describe("with IPVS", () => {
  it("addresses of Services, which are on kube-ipvs0, are not the host's: what is for them is forwarded", () => {
    const bench = programmed({ kubeIPVSSupportEnabled: true });
    const { programmer } = bench;
    programmer.onMessage({ type: "host", host: host("service", { interfaceName: "", expectedIPs: ["10.96.0.1"] }) });
    programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.1"] });
    programmer.onInterface("kube-ipvs0", { up: false, addresses: ["10.96.0.1", "10.96.0.10"] });
    programmer.complete();
    expect(members(bench, "this-host")).toEqual(["192.0.2.1/32"]);
    expect(programmer.hostEndpoints.get("service")).toEqual([]);
    programmer.onInterface("kube-ipvs0", undefined);
    programmer.complete();
    expect(members(bench, "this-host")).toEqual(["192.0.2.1/32"]);
  });

  it("InterfaceExclude says which interfaces' addresses are not the host's", () => {
    const bench = programmed({ interfaceExclude: [/^lb/] });
    const { programmer } = bench;
    for (const [name, address] of Object.entries({ lb0: "10.0.0.1", eth0: "192.0.2.1", "kube-ipvs0": "10.96.0.1" }))
      programmer.onInterface(name, { up: true, addresses: [address] });
    programmer.complete();
    expect(members(bench, "this-host")).toEqual(["10.96.0.1/32", "192.0.2.1/32"]);
  });

  it("marks come and go with the endpoints", () => {
    const bench = programmed({ kubeIPVSSupportEnabled: true });
    const { programmer } = bench;
    programmer.onMessage({ type: "workload", workload: workload("a") });
    programmer.onMessage({ type: "host", host: host("h") });
    programmer.complete();
    expect(entries(bench, "cali-set-endpoint-mark")).toEqual({ calia: "cali-sm-calia", eth0: "cali-sm-eth0" });
    expect(chainText(bench, "cali-from-endpoint-mark")).toMatch(/goto cali-fw-calia\n.*goto cali-fhfw-eth0\n.*drop/);
    programmer.onMessage({ type: "workload-removed", id: idOf("a") });
    programmer.complete();
    expect(entries(bench, "cali-set-endpoint-mark")).toEqual({ eth0: "cali-sm-eth0" });
    expect(bench.v4.chains("filter").has("cali-sm-calia")).toBe(false);
  });
});
