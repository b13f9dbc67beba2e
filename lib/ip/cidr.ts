import { type Address, formatAddress, tryParseAddress } from "./address.ts";

/** A network: `base` has no bit set beyond `length`. */
export interface Cidr {
  readonly version: 4 | 6;
  readonly base: bigint;
  readonly length: number;
}

const bits = (version: 4 | 6): number => (version === 4 ? 32 : 128);

/** The network in `text` ("10.0.0.0/8"); host bits are cleared. Undefined when it is none, or has no prefix length. */
export function tryParseCidr(text: string): Cidr | undefined {
  const slash = text.lastIndexOf("/");
  if (slash < 0) return undefined;
  const address = tryParseAddress(text.slice(0, slash));
  const digits = text.slice(slash + 1);
  const length = Number(digits);
  if (!address || String(length) !== digits || (length & 255) !== length) return undefined;
  // An IPv4-mapped network keeps its IPv6 prefix length in text; it has no IPv4 meaning below /96, so it is refused.
  if (address.version === 4 ? length > 32 || text.indexOf(":") >= 0 : length > 128) return undefined;
  return cidrFromAddress(address, length);
}

/** Like {@link tryParseCidr}, but throws a RangeError that names the text. */
export function parseCidr(text: string): Cidr {
  const cidr = tryParseCidr(text);
  if (!cidr) throw new RangeError(`"${text}" is not a CIDR such as 10.0.0.0/16 or fd00::/64`);
  return cidr;
}

/** The network of `length` bits around an address. */
export function cidrFromAddress(address: Address, length: number): Cidr {
  const shift = BigInt((address.version === 4 ? 32 : 128) - length);
  return { version: address.version, base: (address.value >> shift) << shift, length };
}

/** The /32 or /128 of one address. */
export function hostCidr(address: Address): Cidr {
  return { version: address.version, base: address.value, length: bits(address.version) };
}

/** "10.0.0.0/8", canonical. */
export function formatCidr(cidr: Cidr): string {
  return `${formatAddress({ version: cidr.version, value: cidr.base })}/${cidr.length}`;
}

/** How many addresses it holds. */
export function cidrSize(cidr: Cidr): bigint {
  return 1n << BigInt(bits(cidr.version) - cidr.length);
}

export function containsAddress(cidr: Cidr, address: Address): boolean {
  const shift = BigInt(bits(cidr.version) - cidr.length);
  return cidr.version === address.version && address.value >> shift === cidr.base >> shift;
}

/** Whether every address of `inner` is in `outer`. */
export function cidrContains(outer: Cidr, inner: Cidr): boolean {
  return inner.length >= outer.length && containsAddress(outer, { version: inner.version, value: inner.base });
}

export function cidrOverlaps(a: Cidr, b: Cidr): boolean {
  return cidrContains(a, b) || cidrContains(b, a);
}

export function sameCidr(a: Cidr, b: Cidr): boolean {
  return a.version === b.version && a.base === b.base && a.length === b.length;
}

/** The `index`-th network of `length` bits inside `cidr`. */
export function subnetAt(cidr: Cidr, length: number, index: bigint | number): Cidr {
  const step = 1n << BigInt(bits(cidr.version) - length);
  return { version: cidr.version, base: cidr.base + BigInt(index) * step, length };
}
