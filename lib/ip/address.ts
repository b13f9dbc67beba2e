/** An address: `value` is its 32 or 128 bits as one number. IPv4-mapped IPv6 text parses as IPv4, as Go's net package reads it. */
export interface Address {
  readonly version: 4 | 6;
  readonly value: bigint;
}

const MAPPED = 0xffffn << 32n;

/** The address in `text`, or undefined: no zone, no leading zeros in IPv4 octets, no surrounding space. */
export function tryParseAddress(text: string): Address | undefined {
  if (text.indexOf(":") < 0) {
    const v4 = parseV4(text);
    return v4 === undefined ? undefined : { version: 4, value: BigInt(v4) };
  }
  const v6 = parseV6(text);
  if (v6 === undefined) return undefined;
  return v6 >> 32n === 0xffffn ? { version: 4, value: v6 - MAPPED } : { version: 6, value: v6 };
}

/** Like {@link tryParseAddress}, but throws a RangeError that names the text. */
export function parseAddress(text: string): Address {
  const address = tryParseAddress(text);
  if (address === undefined) throw new RangeError(`"${text}" is not an IP address`);
  return address;
}

/** Canonical text: dotted quad, or RFC 5952 (lower case, the longest run of zero groups as `::`). */
export function formatAddress(address: Address): string {
  return address.version === 4 ? formatV4(Number(address.value)) : formatV6(address.value);
}

/** The address `offset` after `base`. */
export function addressAt(base: Address, offset: bigint | number): Address {
  return { version: base.version, value: base.value + BigInt(offset) };
}

/** How far `address` lies after `base`; negative when before. Both must be of one version. */
export function offsetOf(base: Address, address: Address): bigint {
  return address.value - base.value;
}

/** Orders IPv4 before IPv6, then by number. */
export function compareAddresses(a: Address, b: Address): number {
  if (a.version !== b.version) return a.version - b.version;
  return a.value < b.value ? -1 : a.value > b.value ? 1 : 0;
}

function parseV4(text: string): number | undefined {
  const parts = text.split(".");
  if (parts.length !== 4) return undefined;
  let value = 0;
  for (const part of parts) {
    // Decimal digits without leading zeros are what a number is printed as. Neither a regular expression nor a function for one
    // octet: a plugin run parses too few for the one to pay, and so many that the other would start the compiler's threads.
    const octet = Number(part);
    if (String(octet) !== part || (octet & 255) !== octet) return undefined;
    value = value * 256 + octet;
  }
  return value;
}

function parseV6(text: string): bigint | undefined {
  const halves = text.split("::");
  if (halves.length > 2) return undefined;
  const head = groups(halves[0]!, halves.length === 1);
  const tail = halves.length === 2 ? groups(halves[1]!, true) : [];
  if (!head || !tail) return undefined;
  const missing = 8 - head.length - tail.length;
  if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
  let value = 0n;
  for (const group of head) value = (value << 16n) | BigInt(group);
  value <<= BigInt(16 * missing);
  for (const group of tail) value = (value << 16n) | BigInt(group);
  return value;
}

/** The 16-bit groups of one side of `::`; a dotted quad may stand for the last two where `last` allows it. */
function groups(text: string, last: boolean): number[] | undefined {
  if (text === "") return [];
  const out: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (last && index === parts.length - 1 && part.indexOf(".") >= 0) {
      const v4 = parseV4(part);
      if (v4 === undefined) return undefined;
      out.push(v4 >>> 16, v4 & 0xffff);
    } else {
      if (!/^[0-9a-fA-F]{1,4}$/.test(part)) return undefined;
      out.push(Number.parseInt(part, 16));
    }
  }
  return out;
}

function formatV4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

function formatV6(value: bigint): string {
  const words: number[] = [];
  for (let shift = 112n; shift >= 0n; shift -= 16n) words.push(Number((value >> shift) & 0xffffn));
  let best = -1;
  let bestLength = 1; // RFC 5952 4.2.2: a single zero group is not shortened
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && words[end] === 0) end++;
    if (end - start > bestLength) {
      best = start;
      bestLength = end - start;
    }
    if (end > start) start = end;
  }
  const text = (from: number, to: number) =>
    words
      .slice(from, to)
      .map((word) => word.toString(16))
      .join(":");
  return best < 0 ? text(0, 8) : `${text(0, best)}::${text(best + bestLength, 8)}`;
}

/** fe80::/10: there is such an address on every link, so it means a place only together with an interface. */
export function isLinkLocal({ version, value }: Address): boolean {
  return version === 6 && value >> 118n === 0x3fan;
}
