/**
 * Rules as nft's text, with upstream's words (felix/nftables/match_builder.go, actions.go) but where those say something else than meant:
 * negated ICMP type and code are one value, negated states are bits. The text is what a rule is hashed by and called in errors; the kernel gets
 * expressions (expressions.ts), which are those that nft makes of this text.
 */
import { createHash } from "node:crypto";
import { formatAddress } from "../../ip/index.ts";
import type { PortRange } from "../calc/index.ts";
import type { Action, IpVersion, Match, Rule, Table } from "../rules/index.ts";
import { nameIn, type PortSet, portSet, setName } from "./names.ts";
import {
  ALL_BITS,
  addressOf,
  interfaceOf,
  joinRanges,
  limitOf,
  logPrefixOf,
  markChange,
  NFLOG_SIZE,
  netOf,
  nflogPrefixOf,
  UnsayableError,
  wholeNumber,
} from "./normal.ts";

/** Where a rule stands. */
export interface Context {
  readonly version: IpVersion;
  readonly table: Table;
}

/** A rule, ready to be sent. */
export interface CompiledRule {
  readonly text: string;
  /** 16 characters that stand for this rule, its chain, and all rules before it. */
  readonly hash: string;
  /** What the kernel keeps with it: `cali:<hash>; <comment>`. */
  readonly comment: string;
  readonly rule: Rule;
  readonly context: Context;
}

/** Before the hash in a comment: a rule without it is nobody of ours. */
const HASH_PREFIX = "cali:";
const HASH_LENGTH = 16;
/** NFTNL_UDATA_COMMENT_MAXLEN, the NUL included. */
const MAX_COMMENT = 127;

/** Matches no packet. */
const NEVER = "meta mark & 0x0 != 0x0";

const hex = (value: number): string => `0x${(value >>> 0).toString(16)}`;
const range = ({ first, last }: PortRange): string => (first === last ? `${first}` : `${first}-${last}`);

/** Chain by chain: each hash covers the ones before. Throws {@link UnsayableError} naming the rule. */
export function compileRules(chain: string, rules: readonly Rule[], context: Context): CompiledRule[] {
  let hash = createHash("sha224").update(chain).digest();
  return rules.map((rule, position) => {
    let text: string;
    try {
      text = renderRule(rule, context);
    } catch (error) {
      if (!(error instanceof UnsayableError)) throw error;
      throw new UnsayableError(`rule ${position + 1} of chain ${chain}: ${error.message}`);
    }
    hash = createHash("sha224").update(hash).update(text).digest();
    const short = hash.toString("base64url").slice(0, HASH_LENGTH);
    return { text, hash: short, comment: commentOf(short, rule.comment), rule, context };
  });
}

/** Hash and comment of a rule that stands alone in the chain. */
export function tagRule(chain: string, text: string): { readonly hash: string; readonly comment: string } {
  const hash = createHash("sha224").update(`${chain} ${text}`).digest("base64url").slice(0, HASH_LENGTH);
  return { hash, comment: commentOf(hash, undefined) };
}

function commentOf(hash: string, comment: string | undefined): string {
  const tag = `${HASH_PREFIX}${hash};`;
  if (!comment) return tag;
  // One byte a character: the limit counts bytes.
  return `${tag} ${comment.replaceAll(/[^\w @%+=:,./()-]/g, "_")}`.slice(0, MAX_COMMENT);
}

/** The hash in a rule's comment; undefined for a rule that has none of ours. */
export function hashOf(comment: string | undefined): string | undefined {
  return comment && /^cali:([\w-]{16});/.exec(comment)?.[1];
}

/** Without the comment. */
export function renderRule(rule: Rule, context: Context): string {
  const parts = rule.match.map((match) => renderMatch(match, context.version)).filter((part) => part !== "");
  return [...parts, "counter", renderAction(rule.action, context)].join(" ");
}

/** The sets of ports that the rules look into. */
export function portSetsOf(rules: readonly Rule[], version: IpVersion): PortSet[] {
  const sets = new Map<string, PortSet>();
  for (const { match } of rules) {
    for (const one of match) {
      if (one.is !== "ports" || one.not) continue;
      const ranges = joinRanges(one.ports);
      if (ranges.length === 1) continue;
      const set = portSet(version, ranges);
      sets.set(set.name, set);
    }
  }
  return [...sets.values()];
}

/** Empty for what every packet is. */
function renderMatch(match: Match, version: IpVersion): string {
  const ip = version === 4 ? "ip" : "ip6";
  const not = "not" in match && match.not === true;
  const unequal = not ? "!= " : "";
  switch (match.is) {
    case "protocol":
      return `meta l4proto ${unequal}${wholeNumber(match.protocol, 255, "protocol number")}`;
    case "net": {
      const net = netOf(match.net, version);
      if (net.length === 0) return not ? NEVER : "";
      const full = net.length === (version === 4 ? 32 : 128);
      return `${ip} ${address(match.side)} ${unequal}${formatAddress(net.address)}${full ? "" : `/${net.length}`}`;
    }
    case "set":
      return `${ip} ${address(match.side)} ${unequal}@${setName(version, match.set)}`;
    case "port-set":
      return `${ip} ${address(match.side)} . meta l4proto . th ${port(match.side)} ${unequal}@${setName(version, match.set)}`;
    case "ports": {
      const field = `th ${port(match.side)}`;
      const ranges = joinRanges(match.ports);
      if (not) return ranges.map((one) => `${field} != ${range(one)}`).join(" ");
      return ranges.length === 1 ? `${field} ${range(ranges[0]!)}` : `${field} @${portSet(version, ranges).name}`;
    }
    case "icmp": {
      const name = version === 4 ? "icmp" : "icmpv6";
      wholeNumber(match.type, 255, "ICMP type");
      wholeNumber(match.code ?? 0, 255, "ICMP code");
      if (match.code === undefined) return `${name} type ${unequal}${match.type}`;
      return not
        ? `@th,0,16 != ${hex((match.type << 8) | match.code)}`
        : `${name} type ${match.type} ${name} code ${match.code}`;
    }
    case "mark":
      return match.mask === ALL_BITS
        ? `meta mark ${unequal}${hex(match.value)}`
        : `meta mark & ${hex(match.mask)} ${not ? "!=" : "=="} ${hex(match.value)}`;
    case "interface": {
      const name = interfaceOf(match.name);
      if (name.any) return not ? NEVER : "";
      return `${match.direction === "in" ? "iifname" : "oifname"} ${unequal}"${name.name}${name.prefix ? "*" : ""}"`;
    }
    case "conntrack": {
      if (match.states.length === 0) throw new UnsayableError("a list of states is empty");
      return not ? `ct state & (${match.states.join("|")}) == 0` : `ct state ${match.states.join(",")}`;
    }
    case "dnatted":
      return not ? "ct status & dnat == 0" : "ct status dnat";
    case "local-address":
      return `fib ${address(match.side)}${match.onOutInterface ? " . oif" : ""} type ${unequal}local`;
    case "reverse-path-failed":
      return "fib saddr . mark . iif oif 0";
    case "ipvs":
      throw new UnsayableError("nftables knows nothing of IPVS");
    case "limit": {
      const { rate, unit, burst } = limitOf(match);
      return `limit rate ${rate}/${unit} burst ${burst} packets`;
    }
  }
}

const address = (side: "source" | "destination"): string => (side === "source" ? "saddr" : "daddr");
const port = (side: "source" | "destination"): string => (side === "source" ? "sport" : "dport");

function renderAction(action: Action, { version, table }: Context): string {
  switch (action.do) {
    case "accept":
    case "drop":
    case "return":
    case "notrack":
      return action.do;
    case "reject": {
      if (action.with === "tcp-reset") return "reject with tcp reset";
      const reason = action.with === "icmp" ? "port-unreachable" : "admin-prohibited";
      return `reject with ${version === 4 ? "icmp" : "icmpv6"} ${reason}`;
    }
    case "jump":
    case "goto":
      return `${action.do} ${nameIn(table, action.chain)}`;
    case "set-mark": {
      const { keep, set } = markChange(action);
      return keep === 0 ? `meta mark set ${hex(set)}` : `meta mark set mark & ${hex(keep)} ^ ${hex(set)}`;
    }
    // Bits outside of the mask become zero, as upstream's: before Linux 6.15 nftables cannot join two marks.
    case "save-mark":
      return action.mask === ALL_BITS ? "ct mark set mark" : `ct mark set mark & ${hex(action.mask)}`;
    case "restore-mark":
      return action.mask === ALL_BITS ? "meta mark set ct mark" : `meta mark set ct mark & ${hex(action.mask)}`;
    case "log":
      return `log prefix "${logPrefixOf(action.prefix)}" level info`;
    case "nflog": {
      const size = action.size ?? NFLOG_SIZE;
      return `log prefix "${nflogPrefixOf(action.prefix)}"${size < 0 ? "" : ` snaplen ${size}`} group ${wholeNumber(action.group, 0xffff, "NFLOG group")}`;
    }
    case "masquerade": {
      const ports = action.ports ? ` to :${range(joinRanges([action.ports])[0]!)}` : "";
      return `masquerade${ports}${action.fullyRandom ? " fully-random" : ""}`;
    }
    case "snat": {
      const to = natTarget(action.address, action.ports && range(joinRanges([action.ports])[0]!), version);
      return `snat to ${to}${action.fullyRandom ? " fully-random" : ""}`;
    }
    case "dnat":
      return `dnat to ${natTarget(action.address, action.port?.toString(), version)}`;
    case "dscp":
      return `${version === 4 ? "ip" : "ip6"} dscp set ${wholeNumber(action.value, 63, "DSCP")}`;
  }
}

function natTarget(text: string, ports: string | undefined, version: IpVersion): string {
  const target = formatAddress(addressOf(text, version));
  if (ports === undefined) return target;
  return version === 4 ? `${target}:${ports}` : `[${target}]:${ports}`;
}
