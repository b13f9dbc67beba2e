/** What the tests of this folder build their cases from. */
import type { ActivePolicy, LocalHost, LocalWorkload, ParsedRule, PolicyId } from "../calc/index.ts";
import type { RulesConfig } from "./options.ts";
import { RULES_DEFAULTS } from "./options.ts";
import { Program } from "./program.ts";
import { createProgrammer, type Programmer } from "./programmer.ts";

export const gnp = (name: string): PolicyId => ({ kind: "GlobalNetworkPolicy", name });
export const np = (namespace: string, name: string): PolicyId => ({ kind: "NetworkPolicy", namespace, name });

export const parsedRule = (action: ParsedRule["action"], rest: Partial<ParsedRule> = {}): ParsedRule => ({
  action,
  source: {},
  destination: {},
  ...rest,
});
export const ALLOW = parsedRule("Allow");
export const DENY = parsedRule("Deny");

export const policy = (id: PolicyId, rest: Partial<ActivePolicy> = {}): ActivePolicy => ({
  id,
  tier: "default",
  ingress: [ALLOW],
  egress: [ALLOW],
  doNotTrack: false,
  preDNAT: false,
  selector: `of(${id.name})`,
  ...rest,
});

export const workload = (name: string, rest: Partial<LocalWorkload> = {}): LocalWorkload => ({
  id: { orchestrator: "k8s", workload: `default/${name}`, endpoint: "eth0" },
  interfaceName: `cali${name}`,
  mac: "ee:ee:ee:ee:ee:ee",
  ipv4Nets: ["10.0.0.1/32"],
  ipv6Nets: ["fd00::1/128"],
  ipv4Nats: [],
  ipv6Nats: [],
  profiles: [],
  tiers: [],
  allowSpoofedSourcePrefixes: [],
  ports: [],
  annotations: {},
  ...rest,
});

export const host = (name: string, rest: Partial<LocalHost> = {}): LocalHost => ({
  name,
  interfaceName: "eth0",
  expectedIPs: [],
  profiles: [],
  tiers: [],
  forwardTiers: [],
  untrackedTiers: [],
  preDnatTiers: [],
  ...rest,
});

export const tier = (ingress: readonly PolicyId[], egress: readonly PolicyId[] = ingress, name = "default") => ({
  name,
  defaultAction: "Deny" as const,
  ingress,
  egress,
});

export interface Bench {
  readonly v4: Program;
  readonly v6: Program;
  readonly programmer: Programmer;
}

export function programmed(config: Partial<RulesConfig> = {}): Bench {
  const v4 = new Program(4);
  const v6 = new Program(6);
  return { v4, v6, programmer: createProgrammer({ ...RULES_DEFAULTS, ...config }, { v4, v6 }) };
}
