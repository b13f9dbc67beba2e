import type { BGPFilter, BGPFilterOperation, BGPFilterRule } from "../../api/bgpfilter.ts";
import { tryParseCidr } from "../../ip/index.ts";
import type { Community, Family, Filter, FilterOperation, FilterRule } from "../model/index.ts";
import { byName, type Problems, quoted } from "./problems.ts";

type Prefix = NonNullable<FilterRule["prefix"]>;

const OPERATORS: Readonly<Record<string, Prefix["operator"]>> = {
  Equal: "equal",
  NotEqual: "notEqual",
  In: "in",
  NotIn: "notIn",
};
const LONGEST: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };
const MAX_PRIORITY = 2_147_483_646;

/** What was made of a filter, and its problems: filters are read anew for any change of anything. */
const known = new WeakMap<BGPFilter, { readonly filter: Filter; readonly problems: readonly string[] }>();

/**
 * All filters, by name. One that is there and cannot be read lets nothing pass: whoever names it wanted some routes held back, and it is not
 * known which.
 */
export function readFilters(
  filters: Iterable<BGPFilter> | undefined,
  unreadable: Iterable<string>,
  problems: Problems,
): Record<string, Filter> {
  const read: Record<string, Filter> = Object.create(null) as Record<string, Filter>;
  for (const resource of byName(filters)) {
    let made = known.get(resource);
    if (!made) {
      made = readFilter(resource);
      known.set(resource, made);
    }
    for (const problem of made.problems) problems.add(`BGPFilter ${resource.metadata.name}`, problem);
    read[resource.metadata.name] = made.filter;
  }
  for (const name of unreadable) read[name] ??= { name, ...NOTHING };
  return read;
}

const REJECT: readonly FilterRule[] = [{ action: "reject", operations: [] }];
const NOTHING = { importV4: REJECT, exportV4: REJECT, importV6: REJECT, exportV6: REJECT };

function readFilter({ metadata, spec }: BGPFilter): { filter: Filter; problems: string[] } {
  const problems: string[] = [];
  const rules = (direction: keyof typeof spec, family: Family): FilterRule[] =>
    (spec[direction] ?? []).flatMap(
      (rule, i) => readRule(rule, family, (what) => problems.push(`spec.${direction}[${i}]${what}`)) ?? [],
    );
  const filter = {
    name: metadata.name,
    importV4: rules("importV4", 4),
    exportV4: rules("exportV4", 4),
    importV6: rules("importV6", 6),
    exportV6: rules("exportV6", 6),
  };
  return { filter, problems };
}

/**
 * A rule. What is stored may be odd, of a later version or somebody's mistake; then less passes, never more: an odd rule that would
 * accept is left out, and one that would reject goes without the odd condition and so rejects more.
 */
function readRule(rule: BGPFilterRule, family: Family, report: (what: string) => void): FilterRule | undefined {
  let isOdd = false;
  const instead = rule.action === "Accept" ? "the rule is left out" : "the rule rejects without that condition";
  const odd = (field: string, value: unknown, right: string): void => {
    isOdd = true;
    report(`.${field} ${quoted(value)}: must be ${right}; ${instead}`);
  };
  if (rule.action !== "Accept" && rule.action !== "Reject") {
    report(`.action ${quoted(rule.action)}: must be Accept or Reject; the rule rejects`);
  }
  const { cidr, matchOperator, source, interface: pattern, peerType, communities, asPathPrefix, priority } = rule;
  let prefix: Prefix | undefined;
  if (cidr || matchOperator) {
    const operator = OPERATORS[matchOperator ?? ""];
    if (!cidr || tryParseCidr(cidr)?.version !== family) odd("cidr", cidr, `an IPv${family} CIDR`);
    else if (!operator) odd("matchOperator", matchOperator, "one of Equal, NotEqual, In, NotIn");
    else prefix = { cidr, operator, ...lengthsOf(cidr, rule.prefixLength, family) };
  }
  if (source && source !== "RemotePeers") odd("source", source, "RemotePeers");
  if (pattern && !/^[a-zA-Z0-9_.*-]{1,15}$/.test(pattern)) odd("interface", pattern, "a name of an interface, or *");
  if (peerType && peerType !== "eBGP" && peerType !== "iBGP") odd("peerType", peerType, "eBGP or iBGP");
  const community = communities ? parseCommunity(communities.values[0] ?? "") : undefined;
  if (communities && (!community || communities.values.length > 1)) {
    odd("communities.values", communities.values, "one community such as 65000:1");
  }
  if (priority !== undefined && !(priority >= 1 && priority <= MAX_PRIORITY)) {
    odd("priority", priority, `from 1 to ${MAX_PRIORITY}`);
  }
  const operations: FilterOperation[] = [];
  if (rule.action === "Accept") {
    for (const [i, operation] of (rule.operations ?? []).entries()) {
      const read = readOperation(operation);
      if (read) operations.push(read);
      else odd(`operations[${i}]`, operation, "one of addCommunity, prependASPath, setPriority, with its value");
    }
  }
  if (isOdd && rule.action === "Accept") return undefined;
  return {
    action: rule.action === "Accept" ? "accept" : "reject",
    ...(prefix ? { prefix } : {}),
    ...(source === "RemotePeers" ? { learned: true } : {}),
    ...(pattern && /^[a-zA-Z0-9_.*-]{1,15}$/.test(pattern) ? { interface: pattern } : {}),
    ...(peerType === "eBGP" ? { peerType: "ebgp" } : peerType === "iBGP" ? { peerType: "ibgp" } : {}),
    ...(community ? { community } : {}),
    ...(asPathPrefix?.length ? { asPathPrefix } : {}),
    ...(priority !== undefined && priority >= 1 && priority <= MAX_PRIORITY ? { priority } : {}),
    operations,
  };
}

/** As upstream bounds them: never shorter than the prefix, never longer than an address. */
function lengthsOf(
  cidr: string,
  lengths: BGPFilterRule["prefixLength"],
  family: Family,
): Pick<Prefix, "minLength" | "maxLength"> {
  if (!lengths) return {};
  return {
    minLength: Math.max(Number(cidr.slice(cidr.indexOf("/") + 1)), lengths.min ?? 0),
    maxLength: Math.min(LONGEST[family], lengths.max ?? LONGEST[family]),
  };
}

function readOperation(operation: BGPFilterOperation): FilterOperation | undefined {
  const { addCommunity, prependASPath, setPriority } = operation;
  if (Object.keys(operation).length !== 1) return undefined;
  if (addCommunity) {
    const community = parseCommunity(addCommunity.value);
    return community && { kind: "addCommunity", community };
  }
  if (prependASPath) {
    return prependASPath.prefix.length > 0 ? { kind: "prependAsPath", asns: prependASPath.prefix } : undefined;
  }
  if (setPriority && setPriority.value >= 1 && setPriority.value <= MAX_PRIORITY) {
    return { kind: "setPriority", priority: setPriority.value };
  }
  return undefined;
}

/** `65000:1` (RFC 1997) or `65000:1:2` (RFC 8092); undefined: neither. */
export function parseCommunity(text: string): Community | undefined {
  if (!/^\d{1,10}(:\d{1,10}){1,2}$/.test(text)) return undefined;
  const [asn = 0, first = 0, second] = text.split(":").map(Number);
  const most = second === undefined ? 0xffff : 0xffff_ffff;
  if (asn > most || first > most || (second ?? 0) > most) return undefined;
  return second === undefined ? [asn, first] : [asn, first, second];
}
