/** That the kernel takes every kind of rule that the rule program makes, and gives each back as it was. */
import { spawnSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { isRoot } from "../../sys/index.ts";
import { makeNamespace } from "../../sys/testing.ts";
import type { LocalHost, LocalWorkload, Message, ParsedRule, PolicyId } from "../calc/index.ts";
import { createProgrammer, Program, RULES_DEFAULTS } from "../rules/index.ts";
import { openIptables } from "./index.ts";

const NEEDED = ["ip", "ipset", "iptables-nft-restore", "iptables-legacy-restore", "ip6tables-nft-restore"];
const missing = isRoot() ? NEEDED.find((tool) => spawnSync("which", [tool]).status !== 0) : "root";

const any = {};
const RULES: readonly ParsedRule[] = [
  {
    action: "Allow",
    protocol: 6,
    source: { sets: ["s:abc"] },
    destination: {
      ports: [
        { first: 80, last: 80 },
        { first: 100, last: 200 },
      ],
    },
    metadata: { annotations: { note: 'b "c" $(x)\n' } },
  },
  {
    action: "Deny",
    protocol: 17,
    source: { notSets: ["s:abc"], nets: ["10.0.0.0/8", "11.0.0.0/8", "fd00::/8"] },
    destination: { namedPorts: ["n:def"], ports: [{ first: 1, last: 1 }] },
  },
  { action: "Log", source: any, destination: any },
  { action: "Pass", source: { notNets: ["10.0.0.0/8"] }, destination: any },
  { action: "Allow", ipVersion: 4, protocol: 1, icmp: { type: 8 }, source: any, destination: any },
  { action: "Allow", ipVersion: 6, protocol: 58, notIcmp: { type: 128, code: 0 }, source: any, destination: any },
  {
    action: "Allow",
    protocol: 132,
    source: { ports: Array.from({ length: 20 }, (_, index) => ({ first: index * 10, last: index * 10 + 1 })) },
    destination: { notPorts: [{ first: 9, last: 9 }], portSets: ["n:def"] },
  },
  { action: "Deny", notProtocol: 6, source: any, destination: any },
];
const normal: PolicyId = { kind: "NetworkPolicy", namespace: "prod", name: "normal" };
const preDnat: PolicyId = { kind: "GlobalNetworkPolicy", name: "pre-dnat" };
const untracked: PolicyId = { kind: "GlobalNetworkPolicy", name: "untracked" };
const tiers = (id: PolicyId) => [{ name: "default", defaultAction: "Deny" as const, ingress: [id], egress: [id] }];

const workload = (interfaceName: string): LocalWorkload => ({
  id: { orchestrator: "k8s", workload: `prod/${interfaceName}`, endpoint: "eth0" },
  interfaceName,
  mac: "ee:ee:ee:ee:ee:ee",
  ipv4Nets: ["10.0.0.1/32"],
  ipv6Nets: ["fd00::1/128"],
  ipv4Nats: [{ internal: "10.0.0.1", external: "192.0.2.1" }],
  ipv6Nats: [{ internal: "fd00::1", external: "2001:db8::1" }],
  profiles: ["kns.prod"],
  tiers: tiers(normal),
  allowSpoofedSourcePrefixes: ["198.51.100.0/24"],
  ports: [],
  annotations: {},
});
const host = (name: string, interfaceName: string): LocalHost => ({
  name,
  interfaceName,
  expectedIPs: [],
  profiles: ["kns.prod"],
  tiers: tiers(normal),
  forwardTiers: tiers(normal),
  untrackedTiers: tiers(untracked),
  preDnatTiers: tiers(preDnat),
});
const policy = (
  id: PolicyId,
  rules: readonly ParsedRule[],
  kind: { doNotTrack?: boolean; preDNAT?: boolean } = {},
): Message => ({
  type: "policy",
  policy: {
    id,
    tier: "default",
    ingress: rules,
    egress: rules,
    doNotTrack: false,
    preDNAT: false,
    selector: "all()",
    ...kind,
  },
});
const allow: ParsedRule = { action: "Allow", source: any, destination: any };
const MESSAGES: readonly Message[] = [
  { type: "set", id: "s:abc", setType: "net", members: ["10.0.0.1/32", "fd00::1/128"] },
  { type: "set", id: "n:def", setType: "port", members: ["10.0.0.1,tcp:80", "fd00::1,udp:80"] },
  policy(normal, RULES),
  policy(preDnat, RULES.slice(0, 1), { preDNAT: true }),
  policy(untracked, RULES.slice(0, 1), { doNotTrack: true }),
  { type: "profile", profile: { name: "kns.prod", ingress: [allow], egress: [allow] } },
  ...["cali1a", "cali1b", "cali2"].map((name): Message => ({ type: "workload", workload: workload(name) })),
  { type: "host", host: host("named", "eth0") },
  { type: "host", host: host("all", "*") },
  { type: "pool", pool: { cidr: "10.0.0.0/16", natOutgoing: true, ipipMode: "Always", vxlanMode: "Always" } },
  { type: "pool", pool: { cidr: "fd00::/64", natOutgoing: true, ipipMode: "Never", vxlanMode: "Always" } },
  { type: "node", name: "n1", ipv4: "192.0.2.7", ipv6: "2001:db8::7" },
  { type: "service-cidrs", cidrs: ["10.96.0.0/12", "fd96::/108"] },
];

describe.skipIf(missing !== undefined)(
  `the rule program in iptables${missing ? ` [skipped: needs ${missing}]` : ""}`,
  () => {
    it.each(["nft", "legacy"] as const)("is taken whole by %s, and found again as it was", async (backend) => {
      using space = makeNamespace("calico-iptables");
      const programs = { v4: new Program(4), v6: new Program(6) };
      const config = {
        ...RULES_DEFAULTS,
        natPortRange: { first: 1000, last: 2000 },
        floatingIPs: true,
        logActionRateLimit: "5/second",
        workloadSourceSpoofing: "Any",
        filterDenyAction: "REJECT",
      } as const;
      const programmer = createProgrammer(config, programs);
      for (const message of MESSAGES) programmer.onMessage(message);
      programmer.onInterface("eth0", { up: true, addresses: ["192.0.2.2", "2001:db8::2"] });
      programmer.complete();
      const dataplane = await openIptables({ programs, backend, namespace: space.namespace });
      try {
        expect((await dataplane.apply()).commands).toBeGreaterThan(500);
        dataplane.recheck();
        expect(await dataplane.apply()).toEqual({ commands: 0, compared: true, repaired: [] });
      } finally {
        await dataplane.close();
      }
    });
  },
);
