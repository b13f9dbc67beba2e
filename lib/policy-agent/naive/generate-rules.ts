import type { EntityRule, Rule } from "../../api/rule.ts";
import type { Random } from "./random.ts";

/** What rules are made of. */
export interface RuleContext {
  readonly random: Random;
  /** Of workloads; some rules name one of them. */
  readonly addresses: readonly string[];
  /** Of the policy, if it is in one. */
  readonly namespace?: string;
}

/** Networks of rules and of sets, by IP version. They hold each other, and workloads, and addresses of nothing. */
export const NETS = {
  4: ["10.65.0.0/16", "10.65.0.0/24", "10.65.1.0/24", "10.65.0.1/32", "203.0.113.0/24", "192.0.2.1/32", "0.0.0.0/0"],
  6: ["fd00:65::/64", "fd00:65::1:0/112", "fd00:65::1/128", "2001:db8:ffff::/48", "2001:db8::1/128", "::/0"],
} as const;

/** Services that there are. */
export const SERVICES = [
  { namespace: "blue", name: "front" },
  { namespace: "green", name: "store" },
] as const;

const ANY_PROTOCOL = [undefined, undefined, undefined, undefined, undefined, undefined] as const;
const WITH_PORTS = ["TCP", "UDP", "SCTP"] as const;

/** A selector of endpoints and sets that some of them match. */
export function labelSelector(random: Random): string {
  const app = random.pick(["web", "db", "cache"]);
  const role = random.pick(["front", "back"]);
  return random.pick([
    `app == '${app}'`,
    `app == '${app}'`,
    `app != '${app}'`,
    `role == '${role}'`,
    "has(role)",
    "!has(role)",
    `app in {'${app}', 'db'}`,
    `app not in {'${app}'}`,
    `app starts with '${app.slice(0, 1)}'`,
    `app contains 'b'`,
    `role ends with 'ck'`,
    `app == '${app}' && role == '${role}'`,
    `app == '${app}' || role == '${role}'`,
    `!(app == '${app}' && has(role))`,
  ]);
}

/** Rules that validation lets through. */
export function randomRules(context: RuleContext, direction: "ingress" | "egress", count: number): Rule[] {
  return Array.from({ length: count }, () => randomRule(context, direction));
}

function randomRule(context: RuleContext, direction: "ingress" | "egress"): Rule {
  const { random } = context;
  const action = random.pick(["Allow", "Allow", "Allow", "Deny", "Deny", "Pass", "Log"] as const);
  const rule: Rule = { action };
  let version = random.pick([undefined, undefined, undefined, 4, 6] as const);
  const protocol = random.pick([
    ...ANY_PROTOCOL,
    ...WITH_PORTS,
    "TCP",
    "TCP",
    "ICMP",
    "ICMPv6",
    "UDPLite",
    47,
  ] as const);
  if (protocol !== undefined) rule.protocol = protocol;
  else if (random.chance(0.15)) rule.notProtocol = random.pick(["TCP", "UDP", 47]);
  if (protocol === "ICMP") version = 4;
  if (protocol === "ICMPv6") version = 6;
  if (version !== undefined && random.chance(0.7)) rule.ipVersion = version;
  const icmp = () => ({
    type: random.pick(version === 6 ? [128, 135] : [8, 13]),
    ...(random.chance(0.4) ? { code: random.pick([0, 1]) } : {}),
  });
  if (protocol === "ICMP" || protocol === "ICMPv6") {
    const clause = random.pick(["icmp", "icmp", "notICMP", undefined] as const);
    if (clause !== undefined) rule[clause] = icmp();
  }
  const numbered = WITH_PORTS.some((name) => name === protocol);
  // All networks of a rule are of one IP version.
  const nets = NETS[version ?? random.pick([4, 4, 6] as const)];
  const source = side(context, nets, numbered, protocol === undefined);
  const destination = side(context, nets, numbered, protocol === undefined);
  if (Object.keys(source).length > 0 || random.chance(0.3)) rule.source = source;
  if (Object.keys(destination).length > 0 || random.chance(0.3)) rule.destination = destination;
  if (random.chance(0.12)) {
    const { namespace, name } = random.pick(SERVICES);
    const isLocal = context.namespace === namespace && random.chance(0.5);
    const services = isLocal ? { name } : { namespace, name };
    if (direction === "ingress") rule.source = { services };
    else rule.destination = { services };
  }
  return rule;
}

function side(context: RuleContext, nets: readonly string[], numbered: boolean, anyProtocol: boolean): EntityRule {
  const { random, addresses } = context;
  const entity: EntityRule = {};
  if (random.chance(0.55)) return entity;
  if (random.chance(0.15)) {
    const isV4 = nets[0]!.includes(".");
    const own = addresses.filter((address) => address.includes(".") === isV4);
    entity.nets = random.some([...nets, ...random.some(own, 2)], random.integer(1, 3));
  }
  if (random.chance(0.08)) {
    entity.notNets = random.some(
      nets.filter((net) => !net.endsWith("/0")),
      random.integer(1, 2),
    );
  }
  if (random.chance(0.25)) entity.selector = random.chance(0.15) ? "all()" : labelSelector(random);
  if (random.chance(0.1)) entity.notSelector = labelSelector(random);
  if (random.chance(0.12)) {
    entity.namespaceSelector = random.pick(["team == 'a'", "all()", "global()", "!has(env)", "env == 'prod'"]);
  }
  if (random.chance(0.08)) {
    entity.serviceAccounts = random.pick([
      { names: ["robot"] },
      { names: ["robot", "default"], selector: "trust == 'high'" },
      { selector: "trust != 'low'" },
    ]);
  }
  const ports = () =>
    numbered
      ? random.some([80, 53, 443, "8000:9000", "1:1023", "http", "dns", "metrics", 40000], random.integer(1, 3))
      : random.some(["http", "dns", "metrics"], random.integer(1, 2));
  if (numbered || anyProtocol) {
    if (random.chance(numbered ? 0.3 : 0.08)) entity.ports = ports();
    if (random.chance(0.06)) entity.notPorts = ports();
  }
  return entity;
}
