import { formatCidr, hostCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";

/**
 * A network as the key of a map: of IPv4 a number, prefix length * 2^32 + base, which costs no object; of IPv6 its canonical text.
 */
export type NetKey = number | string;

const SPAN = 2 ** 32;
const HOST = 32 * SPAN;

/** The address of a text with or without a prefix length, as a /32 or /128. Undefined when it is none. */
export function hostKey(text: string): NetKey | undefined {
  const slash = text.indexOf("/");
  const v4 = parseV4(text, slash < 0 ? text.length : slash);
  if (v4 >= 0) return slash < 0 || parseLength(text, slash + 1) >= 0 ? HOST + v4 : undefined;
  if (slash >= 0 && tryParseCidr(text) === undefined) return undefined;
  const parsed = tryParseAddress(slash < 0 ? text : text.slice(0, slash));
  if (parsed === undefined) return undefined;
  return parsed.version === 4 ? HOST + Number(parsed.value) : formatCidr(hostCidr(parsed));
}

/** The network of a CIDR, host bits cleared, or of a single address. Undefined when the text is neither. */
export function netKey(text: string): NetKey | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return hostKey(text);
  const v4 = parseV4(text, slash);
  if (v4 >= 0) {
    const length = parseLength(text, slash + 1);
    return length < 0 ? undefined : widened(HOST + v4, length);
  }
  const cidr = tryParseCidr(text);
  if (cidr === undefined) return undefined;
  return cidr.version === 4 ? cidr.length * SPAN + Number(cidr.base) : formatCidr(cidr);
}

/** Canonical text with prefix length. */
export function netText(key: NetKey): string {
  return typeof key === "string" ? key : `${v4Text(key % SPAN)}/${Math.floor(key / SPAN)}`;
}

/** The address without prefix length. */
export function addressText(key: NetKey): string {
  return typeof key === "string" ? key.slice(0, key.lastIndexOf("/")) : v4Text(key % SPAN);
}

export const versionOf = (key: NetKey): 4 | 6 => (typeof key === "number" ? 4 : 6);

export const lengthOf = (key: NetKey): number =>
  typeof key === "number" ? Math.floor(key / SPAN) : Number(key.slice(key.lastIndexOf("/") + 1));

export const isHost = (key: NetKey): boolean => (typeof key === "number" ? key >= HOST : key.endsWith("/128"));

/** The network of `length` bits, not longer than the key's own, around it. */
export function widened(key: NetKey, length: number): NetKey {
  if (typeof key === "number") {
    const size = 2 ** (32 - length);
    const base = key % SPAN;
    return length * SPAN + (base - (base % size));
  }
  const cidr = tryParseCidr(key)!;
  const shift = BigInt(128 - length);
  return formatCidr({ version: 6, base: (cidr.base >> shift) << shift, length });
}

/** The networks of `length` bits inside an IPv4 network. */
export function* subnets(key: number, length: number): Generator<number, void, undefined> {
  const step = 2 ** (32 - length);
  const base = key % SPAN;
  const end = base + 2 ** (32 - Math.floor(key / SPAN));
  for (let at = base; at < end; at += step) yield length * SPAN + at;
}

/** The kernel's sets have no network of length 0: it is two halves. */
export function halves(key: NetKey): readonly NetKey[] {
  if (lengthOf(key) !== 0) return [key];
  return typeof key === "number" ? [SPAN, SPAN + 2 ** 31] : ["::/1", "8000::/1"];
}

const v4Text = (value: number): string =>
  `${Math.floor(value / 2 ** 24)}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;

/** The number of the dotted quad before `end`, or -1. Of a million endpoints nearly every address is one: no array, no bigint. */
function parseV4(text: string, end: number): number {
  let value = 0;
  let octet = -1;
  let dots = 0;
  for (let i = 0; i < end; i++) {
    const code = text.charCodeAt(i);
    if (code === 46) {
      if (octet < 0 || ++dots > 3) return -1;
      value = value * 256 + octet;
      octet = -1;
    } else if (code >= 48 && code <= 57) {
      // No leading zeros.
      if (octet === 0) return -1;
      octet = octet < 0 ? code - 48 : octet * 10 + code - 48;
      if (octet > 255) return -1;
    } else return -1;
  }
  return dots === 3 && octet >= 0 ? value * 256 + octet : -1;
}

/** The prefix length of IPv4 that the text is from there on, or -1. */
function parseLength(text: string, from: number): number {
  const digits = text.length - from;
  if (digits < 1 || digits > 2 || (digits === 2 && text.charCodeAt(from) === 48)) return -1;
  let length = 0;
  for (let i = from; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 48 || code > 57) return -1;
    length = length * 10 + code - 48;
  }
  return length <= 32 ? length : -1;
}
