/** Reading stored resources, which may hold anything: what has the wrong type is as if it were not there. The calculation says what is wrong. */
import type { EntityRule, Rule } from "../api/rule.ts";

type Fields = Readonly<Record<string, unknown>>;

export const fieldsOf = (value: unknown): Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Fields) : {};

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

export const textsOf = (value: unknown): string[] => listOf(value).filter((one) => typeof one === "string");

export function labelsOf(value: unknown): Record<string, string> {
  const texts = Object.entries(fieldsOf(value)).filter(([, text]) => typeof text === "string");
  return Object.fromEntries(texts) as Record<string, string>;
}

const isPort = (value: unknown): value is number | string => typeof value === "number" || typeof value === "string";

/** A rule without what cannot be shown. */
export function readRule(value: unknown): Rule {
  const { action, ipVersion, protocol, notProtocol, icmp, notICMP, source, destination, http } = fieldsOf(value);
  return {
    action: (textOf(action) || "no action") as Rule["action"],
    ...(ipVersion === 4 || ipVersion === 6 ? { ipVersion } : {}),
    ...(isPort(protocol) && { protocol }),
    ...(isPort(notProtocol) && { notProtocol }),
    ...readIcmp("icmp", icmp),
    ...readIcmp("notICMP", notICMP),
    source: readSide(source),
    destination: readSide(destination),
    ...(typeof http === "object" && http !== null && { http: {} }),
  };
}

function readIcmp(field: "icmp" | "notICMP", value: unknown): Pick<Rule, "icmp" | "notICMP"> {
  const { type, code } = fieldsOf(value);
  if (typeof type !== "number") return {};
  return { [field]: { type, ...(typeof code === "number" && { code }) } };
}

function readSide(value: unknown): EntityRule {
  const side = fieldsOf(value);
  const accounts = fieldsOf(side.serviceAccounts);
  const services = fieldsOf(side.services);
  return {
    nets: textsOf(side.nets),
    notNets: textsOf(side.notNets),
    ports: listOf(side.ports).filter(isPort),
    notPorts: listOf(side.notPorts).filter(isPort),
    selector: textOf(side.selector),
    notSelector: textOf(side.notSelector),
    namespaceSelector: textOf(side.namespaceSelector),
    serviceAccounts: { names: textsOf(accounts.names), selector: textOf(accounts.selector) },
    services: { name: textOf(services.name), namespace: textOf(services.namespace) },
  };
}
