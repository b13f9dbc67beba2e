import { tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { parseSelector, SelectorError } from "../selector/index.ts";
import { isPlain } from "./plain.ts";
import { hasPorts, protocolNumber } from "./protocol.ts";
import * as s from "./schema.ts";

const ACTIONS = ["Allow", "Deny", "Log", "Pass"] as const;

const selector = (doc: string) => s.optional(s.string({ doc, format: "selector", maxLength: 1024 }));
const nets = (doc: string) => s.optional(s.array(s.string({ format: "net" }), { doc, unique: true, maxItems: 256 }));
const ports = (doc: string) => s.optional(s.array(s.intOrString("port"), { doc, maxItems: 50 }));
const icmp = (doc: string) =>
  s.optional(
    s.object(
      {
        type: s.optional(s.integer({ doc: "ICMP type.", min: 0, max: 254 })),
        code: s.optional(s.integer({ doc: "ICMP code; needs a type.", min: 0, max: 255 })),
      },
      { doc },
    ),
  );

const entity = s.lazy(() =>
  s.object({
    nets: nets("Addresses in any of these networks."),
    selector: selector("Endpoints and network sets whose labels match."),
    namespaceSelector: selector("Only endpoints in namespaces whose labels match; global() for those in none."),
    services: s.optional(
      s.object(
        {
          name: s.optional(s.string({ doc: "Name of the Kubernetes service.", format: "name", maxLength: 253 })),
          namespace: s.optional(
            s.string({ doc: "Its namespace; absent: the policy's.", format: "name", maxLength: 253 }),
          ),
        },
        { doc: "The endpoints, and ports, of a Kubernetes service." },
      ),
    ),
    ports: ports("Any of these ports or ranges; needs a protocol that has ports."),
    notNets: nets("Addresses in none of these networks."),
    notSelector: selector("Not what this matches; unlike a negated selector it also matches what is no endpoint."),
    notPorts: ports("None of these ports or ranges."),
    serviceAccounts: s.optional(
      s.object(
        {
          names: s.optional(s.array(s.string(), { doc: "Any of these service accounts.", unique: true })),
          // Alone among selectors, upstream lets it be of any length.
          selector: s.optional(s.string({ doc: "Service accounts whose labels match.", format: "selector" })),
        },
        { doc: "Pods that run as a matching service account." },
      ),
    ),
  }),
);

const rule = s.lazy(() =>
  s.object({
    action: s.oneOf(ACTIONS, { doc: "What happens to packets that match." }),
    ipVersion: s.optional(s.oneOfIntegers([4, 6], { doc: "Only packets of this IP version." })),
    protocol: s.optional(s.intOrString("protocol", { doc: "Only packets of this protocol." })),
    icmp: icmp("Only ICMP messages of this type and code."),
    notProtocol: s.optional(s.intOrString("protocol", { doc: "Only packets of other protocols." })),
    notICMP: icmp("Only ICMP messages of another type or code."),
    source: s.optional(s.described(entity(), "Where the packet comes from.")),
    destination: s.optional(s.described(entity(), "Where it goes to.")),
    http: s.optional(
      s.object(
        {
          methods: s.optional(s.array(s.string(), { doc: "Any of these HTTP methods.", maxItems: 20 })),
          paths: s.optional(
            s.array(
              s.object({
                exact: s.optional(s.string({ doc: "The path.", maxLength: 1024 })),
                prefix: s.optional(s.string({ doc: "What the path begins with.", maxLength: 1024 })),
              }),
              { doc: "Any of these paths; each is exact or a prefix.", maxItems: 20 },
            ),
          ),
        },
        { doc: "Only HTTP requests that match." },
      ),
    ),
    metadata: s.optional(
      s.object(
        { annotations: s.optional(s.map(s.string(), { doc: "Keys and values, for people and tools." })) },
        { doc: "Further information about the rule." },
      ),
    ),
  }),
);

/** Whether stored rules say no more than an action and selectors; see `plain.ts`. */
export function arePlainRules(rules: unknown): boolean {
  if (!Array.isArray(rules)) return false;
  for (const rule of rules as unknown[]) {
    if (typeof rule !== "object" || rule === null) return false;
    const { action, source = {}, destination = {}, ...others } = rule as Partial<Rule>;
    if (typeof action !== "string" || Object.keys(others).length > 0) return false;
    if (!isPlain(source, { selector: "selector" }, true) || !isPlain(destination, { selector: "selector" }, true))
      return false;
  }
  return true;
}

/** Rules of one direction, in order; the first that matches decides. */
export const rules = (doc: string) => s.optional(s.array(rule(), { doc, maxItems: 1024 }));

/** One rule of a policy or profile. */
export type Rule = s.Infer<ReturnType<typeof rule>>;
/** What a rule says of the source or the destination. */
export type EntityRule = s.Infer<ReturnType<typeof entity>>;

type Report = (path: string, value: unknown, message: string) => void;

const ICMP = 1;
const TCP = 6;
const ICMPV6 = 58;

/** Rules across the fields of rules, as upstream's CRD and validator have them. `path` is where the list lies. */
export function checkRules(list: readonly Rule[], path: string, direction: "ingress" | "egress"): s.Problem[] {
  const problems: s.Problem[] = [];
  for (const [i, rule] of list.entries()) {
    checkRule(rule, direction, (field, value, message) =>
      problems.push({ path: `${path}[${i}].${field}`, value, message }),
    );
  }
  return problems;
}

function checkRule(rule: Rule, direction: "ingress" | "egress", report: Report): void {
  const protocol = rule.protocol === undefined ? undefined : protocolNumber(rule.protocol);
  for (const field of ["protocol", "notProtocol"] as const) {
    const number = rule[field] === undefined ? undefined : protocolNumber(rule[field]);
    const version = number === ICMP ? 4 : number === ICMPV6 ? 6 : undefined;
    if (version !== undefined && rule.ipVersion !== undefined && rule.ipVersion !== version) {
      report("ipVersion", rule.ipVersion, `must be ${version} when ${field} is ${rule[field]}`);
    }
  }
  if (rule.icmp && protocol !== ICMP && protocol !== ICMPV6) {
    report("icmp", rule.icmp, "needs the protocol ICMP or ICMPv6");
  }
  for (const field of ["icmp", "notICMP"] as const) {
    const match = rule[field];
    if (match?.code !== undefined && match.type === undefined) report(`${field}.code`, match.code, "needs a type");
  }
  if (rule.http) {
    if (protocol !== undefined && protocol !== TCP) report("http", rule.http, "needs the protocol TCP, or none");
    if (rule.action !== "Allow") report("http", rule.http, "is for rules with the action Allow only");
    checkHttp(rule.http, report);
  }
  let versions: { field: string; version: 4 | 6 } | undefined;
  for (const side of ["source", "destination"] as const) {
    const entity = rule[side];
    if (!entity) continue;
    checkEntity(entity, side, report);
    for (const field of ["ports", "notPorts"] as const) {
      const ports = entity[field] ?? [];
      const needy = rule.protocol === undefined ? ports.some(isNumeric) : ports.length > 0 && !hasPorts(rule.protocol);
      if (needy) report(`${side}.${field}`, ports, "needs a protocol that has ports: TCP, UDP or SCTP");
      if (entity.services && ports.length > 0 && (side === "destination" || direction === "egress")) {
        report(`${side}.${field}`, ports, "cannot be combined with services, which say the ports");
      }
    }
    for (const field of ["nets", "notNets"] as const) {
      for (const [i, net] of (entity[field] ?? []).entries()) {
        const version = (tryParseCidr(net) ?? tryParseAddress(net))?.version;
        if (version === undefined) continue;
        const path = `${side}.${field}[${i}]`;
        if (field === "notNets" && tryParseCidr(net)?.length === 0)
          report(path, net, "excludes every address; nothing would match");
        if (rule.ipVersion !== undefined && version !== rule.ipVersion) {
          report(path, net, `must be IPv${rule.ipVersion}, as ipVersion says`);
        } else if (versions && versions.version !== version) {
          report(
            path,
            net,
            `must be IPv${versions.version}, as ${versions.field} is; use one rule for each IP version`,
          );
        }
        versions ??= { field: path, version };
      }
    }
  }
}

function checkEntity(entity: EntityRule, side: string, report: Report): void {
  if (entity.selector?.includes("global(")) {
    report(`${side}.selector`, entity.selector, "must not use global(); it belongs in namespaceSelector");
  }
  if (entity.namespaceSelector?.includes("global(") && !isGlobal(entity.namespaceSelector)) {
    report(`${side}.namespaceSelector`, entity.namespaceSelector, "must be global() alone where it uses global()");
  }
  if (!entity.services) return;
  if (!entity.services.name) report(`${side}.services.name`, undefined, "is missing; it must be the name of a service");
  for (const field of ["nets", "notNets", "selector", "notSelector", "namespaceSelector", "serviceAccounts"] as const) {
    const value = entity[field];
    if (value !== undefined && value !== "" && !(Array.isArray(value) && value.length === 0)) {
      report(`${side}.${field}`, value, "cannot be combined with services");
    }
  }
}

function checkHttp(http: NonNullable<Rule["http"]>, report: Report): void {
  const methods = http.methods ?? [];
  if (new Set(methods).size !== methods.length) report("http.methods", methods, "must name each method once");
  for (const [i, path] of (http.paths ?? []).entries()) {
    const text = path.exact || path.prefix;
    if (!text || (path.exact && path.prefix)) report(`http.paths[${i}]`, path, "must have either exact or prefix");
    else if (!/^\/[^? #]*$/.test(text)) report(`http.paths[${i}]`, path, "must begin with / and hold no ?, # or blank");
  }
}

/** Whether a port is a number or a range of numbers, not a name. */
const isNumeric = (port: number | string): boolean => /^\d+(:\d+)?$/.test(String(port));

function isGlobal(text: string): boolean {
  try {
    return parseSelector(text).text === "global()";
  } catch (error) {
    if (error instanceof SelectorError) return true; // reported where the field itself is checked
    throw error;
  }
}
