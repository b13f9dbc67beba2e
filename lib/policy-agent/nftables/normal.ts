/** What the text of a rule (render.ts) and its expressions (expressions.ts) must agree about. */

import { type Address, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import type { PortRange } from "../calc/index.ts";
import type { Action, IpVersion, Match } from "../rules/index.ts";

/** A rule that cannot be said, or an element that is none; in words. */
export class UnsayableError extends Error {
  override readonly name = "UnsayableError";
}

/** Sorted, with what touches or overlaps joined. */
export function joinRanges(ports: readonly PortRange[]): PortRange[] {
  const joined: { first: number; last: number }[] = [];
  for (const { first, last } of ports.toSorted((a, b) => a.first - b.first)) {
    if (!(Number.isInteger(first) && Number.isInteger(last) && 0 <= first && first <= last && last <= 0xffff)) {
      throw new UnsayableError(`${first}-${last} is no range of ports`);
    }
    const before = joined.at(-1);
    if (before && first <= before.last + 1) before.last = Math.max(before.last, last);
    else joined.push({ first, last });
  }
  if (joined.length === 0) throw new UnsayableError("a list of ports is empty");
  return joined;
}

/** Of the rule's IP version; an address stands for itself alone. */
export function netOf(text: string, version: IpVersion): { readonly address: Address; readonly length: number } {
  const cidr = tryParseCidr(text.includes("/") ? text : `${text}/${version === 4 ? 32 : 128}`);
  if (cidr?.version === version) return { address: { version, value: cidr.base }, length: cidr.length };
  throw new UnsayableError(`${JSON.stringify(text)} is no CIDR of IPv${version}`);
}

export function addressOf(text: string, version: IpVersion): Address {
  const address = tryParseAddress(text);
  if (address?.version === version) return address;
  throw new UnsayableError(`${JSON.stringify(text)} is no address of IPv${version}`);
}

/** Longest name of an interface: IFNAMSIZ without its NUL. */
const MAX_INTERFACE_NAME = 15;

/** `any`: the name says nothing, a bare `*`. */
export function interfaceOf(name: string): { readonly prefix: boolean; readonly name: string; readonly any: boolean } {
  const prefix = name.endsWith("*");
  const stem = prefix ? name.slice(0, -1) : name;
  if (stem.length > MAX_INTERFACE_NAME || !/^[^\s"*/]*$/.test(stem) || (stem === "" && !prefix)) {
    throw new UnsayableError(`${JSON.stringify(name)} is no name of an interface`);
  }
  return { prefix, name: stem, any: stem === "" };
}

const UNITS = { second: 1, minute: 60, hour: 3600, day: 86400 } as const;
/** The kernel's when nobody says (nft: 5). */
const DEFAULT_BURST = 5;

export function limitOf(match: Extract<Match, { is: "limit" }>): {
  rate: number;
  unit: keyof typeof UNITS;
  seconds: number;
  burst: number;
} {
  const [, rate, unit] = /^(\d+)\/(second|minute|hour|day)$/.exec(match.rate) ?? [];
  if (rate === undefined || Number(rate) < 1) {
    throw new UnsayableError(`${JSON.stringify(match.rate)} is no rate such as 5/second`);
  }
  const name = unit as keyof typeof UNITS;
  return { rate: Number(rate), unit: name, seconds: UNITS[name], burst: match.burst > 0 ? match.burst : DEFAULT_BURST };
}

/** `mark = mark & keep ^ set`. */
export function markChange({ value, mask }: Extract<Action, { do: "set-mark" }>): { keep: number; set: number } {
  return { keep: ~(mask | value) >>> 0, set: value >>> 0 };
}

export const ALL_BITS = 0xffffffff;

/** Bytes of a packet that NFLOG copies when the rule does not say: upstream's 80; below zero, all. */
export const NFLOG_SIZE = 80;

/** IP_CT states and statuses as bits (include/uapi/linux/netfilter/nf_conntrack_common.h). */
export const CT_STATES = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;
export const CT_DNAT = 0x20;

/** A whole number from 0 to `max`. */
export function wholeNumber(value: number, max: number, what: string): number {
  if (Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new UnsayableError(`${value} is no ${what}`);
}

/** NF_LOG_PREFIXLEN, less the NUL. */
const MAX_LOG_PREFIX = 127;

/** What is too long for the kernel is cut, and what would break a log line or nft's text replaced: no rule is refused for its words. */
function printable(text: string, max: number): string {
  return text.replaceAll(/[^ !#-[\]-~]/g, "_").slice(0, max);
}

/** Of the kernel's log: upstream sets the configured prefix off from the kernel's words. */
export function logPrefixOf(prefix: string): string {
  return `${printable(prefix, MAX_LOG_PREFIX - 2)}: `;
}

export function nflogPrefixOf(prefix: string): string {
  return printable(prefix, MAX_LOG_PREFIX);
}
