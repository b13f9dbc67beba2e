import { describe, expect, it } from "vitest";
import { RenderContext } from "./context.ts";
import { type EndpointPolicy, hostChains, workloadChains } from "./endpoint.ts";
import { groupRules, policyTargets, type Target } from "./groups.ts";
import { RULES_DEFAULTS, type RulesConfig } from "./options.ts";
import { printChain, printRule } from "./print.ts";
import { gnp, workload } from "./testvalues.ts";

const context = (config: Partial<RulesConfig> = {}) => new RenderContext({ ...RULES_DEFAULTS, ...config });
const target = (chain: string): Target => ({ kind: "profile", chain, direction: "ingress", name: chain });
const nothing: EndpointPolicy = { tiers: [], profiles: [] };
const sample: EndpointPolicy = {
  tiers: [
    { name: "security", defaultAction: "Pass", targets: [target("P1")] },
    { name: "default", defaultAction: "Deny", targets: [target("P2"), target("P3")] },
  ],
  profiles: [target("R1")],
};
const both = (policy: EndpointPolicy) => ({ ingress: policy, egress: policy });

describe("a workload's chains", () => {
  it("let connections go on, then ask tiers and profiles, and deny what nobody allowed", () => {
    const [to, from] = workloadChains(context(), 4, workload("a"), both(sample));
    const policy = `
  -> set-mark 0x0/0x20000  # Start of tier security
  mark=0x0/0x20000 -> jump P1
  mark=0x10000/0x10000 -> return  # Return if policy accepted
  -> set-mark 0x0/0x20000  # Start of tier default
  mark=0x0/0x20000 -> jump P2
  mark=0x10000/0x10000 -> return  # Return if policy accepted
  mark=0x0/0x20000 -> jump P3
  mark=0x10000/0x10000 -> return  # Return if policy accepted
  mark=0x0/0x20000 -> drop  # End of tier default. Drop if no policies passed packet
  -> jump R1
  mark=0x10000/0x10000 -> return  # Return if profile accepted
  -> drop  # Drop if no profiles matched`;
    expect(printChain(to!)).toBe(`cali-tw-calia:
  ct=related,established -> accept
  ct=invalid -> drop
  -> set-mark 0x0/0x30000${policy}`);
    expect(printChain(from!)).toBe(`cali-fw-calia:
  ct=related,established -> accept
  ct=invalid -> drop
  -> set-mark 0x0/0x30000
  proto=17 dst-port=4789 -> drop  # Drop VXLAN encapped packets originating in workloads
  proto=4 -> drop  # Drop IPinIP encapped packets originating in workloads
  !src=10.0.0.1/32 -> drop  # Drop if the source is not its own${policy}`);
  });

  it("follow the configuration", () => {
    const config = {
      filterAllowAction: "RETURN",
      filterDenyAction: "REJECT",
      disableConntrackInvalidCheck: true,
      allowVXLANPacketsFromWorkloads: true,
      allowIPIPPacketsFromWorkloads: true,
      workloadSourceSpoofing: "Any",
    } as const;
    const spoofer = workload("a", { allowSpoofedSourcePrefixes: ["8.8.8.0/24", "fd08::/64"] });
    const [, from] = workloadChains(context(config), 4, spoofer, both(nothing));
    expect(printChain(from!)).toBe(`cali-fw-calia:
  ct=related,established -> set-mark 0x10000/0x10000
  ct=related,established -> return
  -> set-mark 0x0/0x30000
  -> set-mark 0x0/0x180000
  src=10.0.0.1/32 -> set-mark 0x80000/0x80000
  src=8.8.8.0/24 -> set-mark 0x80000/0x80000
  mark=0x0/0x80000 -> reject icmp  # Reject if the source is not its own
  -> reject icmp  # Reject if no profiles matched`);
  });

  it("let IPv6 link-local sources through, and no source where there is no address", () => {
    const sources = (version: 4 | 6, rest: Parameters<typeof workload>[1]) => {
      const [, from] = workloadChains(context(), version, workload("a", rest), both(nothing));
      return from!.rules.map(printRule).slice(5, -1);
    };
    expect(sources(6, {})).toEqual([
      "-> set-mark 0x0/0x180000",
      "src=fd00::1/128 -> set-mark 0x80000/0x80000",
      "src=fe80::/10 -> set-mark 0x80000/0x80000",
      "mark=0x0/0x80000 -> drop  # Drop if the source is not its own",
    ]);
    expect(sources(6, { ipv6Nets: [] })).toEqual(["!src=fe80::/10 -> drop  # Drop if the source is not its own"]);
    expect(sources(4, { ipv4Nets: [] })).toEqual(["-> drop  # Drop if the source is not its own"]);
    // Without WorkloadSourceSpoofing the annotation is ignored.
    expect(sources(4, { allowSpoofedSourcePrefixes: ["8.8.8.0/24"] })).toHaveLength(1);
  });

  it("limit the rate of packets before all else, established ones too", () => {
    const qos = { ingressPacketRate: 100, ingressPacketBurst: 20, egressPacketRate: 50 };
    const [to, from] = workloadChains(context(), 4, workload("a", { qos }), both(nothing));
    expect(to!.rules.map(printRule).slice(0, 5)).toEqual([
      "-> set-mark 0x0/0x80000",
      "limit=100/second,20 -> set-mark 0x80000/0x80000  # Mark packets within ingress packet rate limit",
      "mark=0x0/0x80000 -> drop  # Drop packets over ingress packet rate limit",
      "-> set-mark 0x0/0x80000",
      "ct=related,established -> accept",
    ]);
    expect(printRule(from!.rules[1]!)).toContain("limit=50/second,5 ->");
  });
});

describe("a host endpoint's chains", () => {
  const print = (policies: Parameters<typeof hostChains>[2], config: Partial<RulesConfig> = {}) =>
    hostChains(context(config), "eth0", policies).map(({ table, chain }) => `${table} ${printChain(chain)}`);

  it("have failsafes, and allow forwarding where no policy speaks of it", () => {
    const chains = print({ normal: both(nothing), forward: both(nothing) });
    expect(chains).toEqual([
      `filter cali-th-eth0:
  ct=related,established -> accept
  ct=invalid -> drop
  -> jump cali-failsafe-out
  -> set-mark 0x0/0x30000
  -> drop  # Drop if no profiles matched`,
      `filter cali-fh-eth0:
  ct=related,established -> accept
  ct=invalid -> drop
  -> jump cali-failsafe-in
  -> set-mark 0x0/0x30000
  -> drop  # Drop if no profiles matched`,
      `filter cali-thfw-eth0:
  ct=related,established -> accept
  ct=invalid -> drop
  -> set-mark 0x0/0x30000
  -> set-mark 0x10000/0x10000  # Allow forwarded traffic by default`,
      `filter cali-fhfw-eth0:
  ct=related,established -> accept
  ct=invalid -> drop
  -> set-mark 0x0/0x30000
  -> set-mark 0x10000/0x10000  # Allow forwarded traffic by default`,
      `mangle cali-th-eth0:
  ct=related,established -> set-mark 0x10000/0x10000
  ct=related,established -> return
  ct=invalid -> drop
  -> jump cali-failsafe-out
  -> set-mark 0x0/0x30000
  -> drop  # Drop if no profiles matched`,
    ]);
  });

  it("leave to the normal chains what pre-DNAT and untracked policy do not decide", () => {
    const deny = { tiers: [{ name: "t", defaultAction: "Deny", targets: [target("P")] }], profiles: [] } as const;
    const chains = print(
      { normal: both(nothing), forward: both(deny), preDnat: both(deny), untracked: both(deny) },
      { filterDenyAction: "REJECT", mangleAllowAction: "RETURN" },
    );
    expect(chains.slice(3)).toEqual([
      `filter cali-fhfw-eth0:
  ct=related,established -> accept
  ct=invalid -> reject icmp
  -> set-mark 0x0/0x30000
  -> set-mark 0x0/0x20000  # Start of tier t
  mark=0x0/0x20000 -> jump P
  mark=0x10000/0x10000 -> return  # Return if policy accepted
  mark=0x0/0x20000 -> reject icmp  # End of tier t. Reject if no policies passed packet`,
      expect.stringContaining("mangle cali-th-eth0:"),
      `mangle cali-fh-eth0:
  ct=related,established -> set-mark 0x10000/0x10000
  ct=related,established -> return
  ct=invalid -> drop
  -> jump cali-failsafe-in
  -> set-mark 0x0/0x30000
  -> set-mark 0x0/0x20000  # Start of tier t
  mark=0x0/0x20000 -> jump P
  mark=0x10000/0x10000 -> return  # Return if policy accepted`,
      `raw cali-th-eth0:
  -> jump cali-failsafe-out
  -> set-mark 0x0/0x30000
  -> set-mark 0x0/0x20000  # Start of tier t
  mark=0x0/0x20000 -> jump P
  mark=0x10000/0x10000 -> notrack
  mark=0x10000/0x10000 -> return  # Return if policy accepted`,
      expect.stringContaining("raw cali-fh-eth0:\n  -> jump cali-failsafe-in"),
    ]);
  });
});

describe("groups of policies", () => {
  const ids = Array.from({ length: 7 }, (_, i) => gnp(`p${i}`));

  it("are neighbours with one selector; staged policies are not there", () => {
    const staged = { kind: "StagedGlobalNetworkPolicy", name: "s" } as const;
    const selectors: Record<string, string> = { p0: "a", p1: "a", p2: "b", p3: "a", s: "a" };
    const targets = policyTargets(
      context(),
      "ingress",
      [ids[0]!, staged, ids[1]!, ...ids.slice(2, 6)],
      ({ name }) => selectors[name],
    );
    expect(targets.map(({ kind, chain }) => (kind === "group" ? kind : chain))).toEqual([
      "group",
      "cali-pi-gnp/p2",
      "cali-pi-gnp/p3",
      // Without a known selector: alone.
      "cali-pi-gnp/p4",
      "cali-pi-gnp/p5",
    ]);
    expect(policyTargets(context(), "ingress", [staged], () => "a")).toEqual([]);
  });

  it("look for a verdict between their policies", () => {
    const members = policyTargets(context(), "egress", ids, () => undefined);
    expect(groupRules(context(), members).map(printRule)).toEqual([
      "-> jump cali-po-gnp/p0",
      ...[1, 2, 3, 4].map((i) => `mark=0x0/0x30000 -> jump cali-po-gnp/p${i}`),
      "!mark=0x0/0x30000 -> return  # Return on verdict",
      "-> jump cali-po-gnp/p5",
      "mark=0x0/0x30000 -> jump cali-po-gnp/p6",
    ]);
  });
});
