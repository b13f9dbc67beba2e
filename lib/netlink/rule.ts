/** Routing policy rules: include/uapi/linux/fib_rules.h. */
import { addressFromBytes, type Cidr, cidrFromAddress, formatCidr } from "../ip/index.ts";
import { AF, type DumpRequest, FLAG, familyOf, type Message, type Request, TYPE } from "./message.ts";
import { Reader, type Writer } from "./wire.ts";

const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  GOTO: 4,
  PRIORITY: 6,
  FWMARK: 10,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PROTOCOL: 21,
} as const;
const FIB_RULE_INVERT = 2;
const FIB_RULE = 12;
const NO_SUPPRESSION = 0xffffffff;

const ACTIONS = [
  "unspec",
  "table",
  "goto",
  "nop",
  "reserved3",
  "reserved4",
  "blackhole",
  "unreachable",
  "prohibit",
] as const;
export type RuleAction = (typeof ACTIONS)[number];

export interface RuleChange {
  readonly version: 4 | 6;
  readonly priority: number;
  /** "table" when absent. */
  readonly action?: RuleAction;
  readonly table?: number;
  readonly from?: Cidr;
  readonly to?: Cidr;
  /** Packet mark, and which bits of it count (all when absent). */
  readonly mark?: number;
  readonly mask?: number;
  readonly inputInterface?: string;
  readonly outputInterface?: string;
  /** Applies to packets that do not match. */
  readonly invert?: boolean;
  /** Priority of the rule to go on with, for "goto". */
  readonly goto?: number;
  /** Ignores found routes with a prefix of at most this length. */
  readonly suppressPrefixLength?: number;
  /** Who made it: RT_PROTOCOL. */
  readonly protocol?: number;
}

export interface RuleInfo extends RuleChange {
  readonly action: RuleAction;
  readonly invert: boolean;
}

function body(writer: Writer, rule: RuleChange): void {
  const table = rule.table ?? 0;
  writer.u8(familyOf(rule.version));
  writer.u8(rule.to?.length ?? 0);
  writer.u8(rule.from?.length ?? 0);
  writer.u8(0); // type of service
  writer.u8(table < 256 ? table : 0);
  writer.zeros(2);
  writer.u8(ACTIONS.indexOf(rule.action ?? "table"));
  writer.u32(rule.invert ? FIB_RULE_INVERT : 0);
  if (rule.to) writer.attributeAddress(FRA.DST, { version: rule.to.version, value: rule.to.base });
  if (rule.from) writer.attributeAddress(FRA.SRC, { version: rule.from.version, value: rule.from.base });
  if (rule.inputInterface !== undefined) writer.attributeString(FRA.IIFNAME, rule.inputInterface);
  if (rule.outputInterface !== undefined) writer.attributeString(FRA.OIFNAME, rule.outputInterface);
  writer.attributeU32(FRA.PRIORITY, rule.priority);
  if (rule.mark !== undefined) writer.attributeU32(FRA.FWMARK, rule.mark);
  if (rule.mask !== undefined) writer.attributeU32(FRA.FWMASK, rule.mask);
  if (rule.goto !== undefined) writer.attributeU32(FRA.GOTO, rule.goto);
  if (rule.suppressPrefixLength !== undefined) writer.attributeU32(FRA.SUPPRESS_PREFIXLEN, rule.suppressPrefixLength);
  if (table >= 256) writer.attributeU32(FRA.TABLE, table);
  if (rule.protocol !== undefined) writer.attributeU8(FRA.PROTOCOL, rule.protocol);
}

function describe(rule: RuleChange): string {
  const from = rule.from ? formatCidr(rule.from) : "all";
  return `IPv${rule.version} rule ${rule.priority} (from ${from}, table ${rule.table ?? 0})`;
}

/** Adds a rule; EEXIST when one with all the same properties is there. */
export function ruleAdd(rule: RuleChange): Request {
  return {
    type: TYPE.NEWRULE,
    flags: FLAG.CREATE | FLAG.EXCLUSIVE,
    attempt: () => `add the ${describe(rule)}`,
    body: (writer) => body(writer, rule),
  };
}

/** Deletes the first rule that has all the given properties; ENOENT when there is none. */
export function ruleDelete(rule: RuleChange): Request {
  return {
    type: TYPE.DELRULE,
    flags: 0,
    attempt: () => `delete the ${describe(rule)}`,
    body: (writer) => body(writer, rule),
  };
}

/** All rules of both IP versions, or of one. */
export function rules(filter: { readonly version?: 4 | 6 } = {}): DumpRequest<RuleInfo> {
  return {
    type: TYPE.GETRULE,
    attempt: () => "list the rules",
    body: (writer) => {
      writer.u8(familyOf(filter.version));
      writer.zeros(FIB_RULE - 1);
    },
    decode: (message) => {
      const rule = message.type === TYPE.NEWRULE ? decodeRule(message) : undefined;
      return rule && (filter.version === undefined || rule.version === filter.version) ? rule : undefined;
    },
  };
}

/** A NEWRULE or DELRULE message; undefined for families other than IPv4 and IPv6. */
export function decodeRule(message: Message): RuleInfo | undefined {
  const reader = new Reader(message.payload);
  const family = reader.u8(0);
  if (family !== AF.INET && family !== AF.INET6) return undefined;
  const version = family === AF.INET ? 4 : 6;
  const attributes = reader.attributes(FIB_RULE);
  const network = (bytes: Uint8Array | undefined, length: number): Cidr | undefined => {
    if (bytes?.length !== (version === 4 ? 4 : 16)) return undefined;
    return cidrFromAddress(addressFromBytes(bytes), Math.min(length, bytes.length * 8));
  };
  const to = network(attributes.get(FRA.DST), reader.u8(1));
  const from = network(attributes.get(FRA.SRC), reader.u8(2));
  const optional = {
    table: attributes.u32(FRA.TABLE) ?? (reader.u8(4) || undefined),
    mark: attributes.u32(FRA.FWMARK),
    mask: attributes.u32(FRA.FWMASK),
    inputInterface: attributes.string(FRA.IIFNAME),
    outputInterface: attributes.string(FRA.OIFNAME),
    goto: attributes.u32(FRA.GOTO),
    protocol: attributes.u8(FRA.PROTOCOL),
  };
  const suppress = attributes.u32(FRA.SUPPRESS_PREFIXLEN);
  return {
    version,
    priority: attributes.u32(FRA.PRIORITY) ?? 0,
    action: ACTIONS[reader.u8(7)] ?? "unspec",
    invert: (reader.u32(8) & FIB_RULE_INVERT) !== 0,
    ...(to && { to }),
    ...(from && { from }),
    ...present(optional),
    ...(suppress !== undefined && suppress !== NO_SUPPRESSION && { suppressPrefixLength: suppress }),
  };
}

type Present<T> = { [K in keyof T]?: Exclude<T[K], undefined> };

function present<T extends Record<string, unknown>>(values: T): Present<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Present<T>;
}
