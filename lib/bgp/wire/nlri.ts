/**
 * Prefixes as messages have them (RFC 4271 4.3, RFC 4760 5): length in bits, then as many bytes as these need; with RFC 7911 four bytes of path
 * identifier before each. In numbers a prefix is its length and four words of 32 bits, most significant first.
 */
import type { Family, Nlri } from "./types.ts";

/**
 * Words are signed (`| 0`), as an Int32Array has them: `w0 >>> 0` is the unsigned number. IPv4 has only `w0`, the others are 0. Bits after `length`
 * are 0, whatever the message had there. `pathId` is unsigned, and 0 where the NLRI has none.
 */
export type PrefixVisitor = (length: number, w0: number, w1: number, w2: number, w3: number, pathId: number) => void;

/** Calls `visit` for each prefix, in order, and makes no objects. The NLRI must have been checked, as those of an `Update` are. */
export function eachPrefix(nlri: Nlri, visit: PrefixVisitor): void {
  if (nlri.family === 4) eachV4(nlri.bytes, nlri.addPath, visit);
  else eachV6(nlri.bytes, nlri.addPath, visit);
}

function eachV4(bytes: Uint8Array, addPath: boolean, visit: PrefixVisitor): void {
  const end = bytes.length;
  let at = 0;
  while (at < end) {
    let pathId = 0;
    if (addPath) {
      pathId = word(bytes, at) >>> 0;
      at += 4;
    }
    const length = bytes[at++]!;
    if (length === 0) {
      visit(0, 0, 0, 0, 0, pathId);
      continue;
    }
    // Reads four bytes where it can and lets the mask take away what belongs to the next prefix.
    const w0 = at + 4 <= end ? word(bytes, at) : tail(bytes, at, end);
    visit(length, w0 & (-1 << (32 - length)), 0, 0, 0, pathId);
    at += (length + 7) >>> 3;
  }
}

function eachV6(bytes: Uint8Array, addPath: boolean, visit: PrefixVisitor): void {
  const end = bytes.length;
  let at = 0;
  while (at < end) {
    let pathId = 0;
    if (addPath) {
      pathId = word(bytes, at) >>> 0;
      at += 4;
    }
    const length = bytes[at++]!;
    let w0 = 0;
    let w1 = 0;
    let w2 = 0;
    let w3 = 0;
    if (at + 16 <= end) {
      w0 = word(bytes, at);
      if (length > 32) w1 = word(bytes, at + 4);
      if (length > 64) w2 = word(bytes, at + 8);
      if (length > 96) w3 = word(bytes, at + 12);
    } else {
      w0 = tail(bytes, at, end);
      if (length > 32) w1 = tail(bytes, at + 4, end);
      if (length > 64) w2 = tail(bytes, at + 8, end);
      if (length > 96) w3 = tail(bytes, at + 12, end);
    }
    const rest = length & 31;
    // A shift by 32 is a shift by none: whole words and the empty prefix need no mask of their own kind.
    if (rest !== 0) {
      const mask = -1 << (32 - rest);
      if (length < 32) w0 &= mask;
      else if (length < 64) w1 &= mask;
      else if (length < 96) w2 &= mask;
      else w3 &= mask;
    } else if (length === 0) {
      w0 = 0;
    }
    visit(length, w0, w1, w2, w3, pathId);
    at += (length + 7) >>> 3;
  }
}

function word(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** Like `word` at the end of the bytes: what is not there is 0. */
function tail(bytes: Uint8Array, at: number, end: number): number {
  let value = 0;
  for (let i = 0; i < 4; i++) value = (value << 8) | (at + i < end ? bytes[at + i]! : 0);
  return value;
}

/** How many prefixes there are. */
export function countPrefixes(nlri: Nlri): number {
  const { bytes } = nlri;
  const before = nlri.addPath ? 4 : 0;
  let count = 0;
  for (let at = 0; at < bytes.length; count++) {
    at += before;
    at += 1 + ((bytes[at]! + 7) >>> 3);
  }
  return count;
}

/** What is wrong with prefixes between `from` and `to` (RFC 7606 5.3); undefined: nothing. */
export function nlriFault(
  bytes: Uint8Array,
  from: number,
  to: number,
  family: Family,
  addPath: boolean,
): string | undefined {
  const most = family === 4 ? 32 : 128;
  const before = addPath ? 4 : 0;
  let at = from;
  while (at < to) {
    at += before;
    if (at >= to) return "a path identifier without a prefix at the end";
    const length = bytes[at]!;
    if (length > most) return `a prefix length of ${length}`;
    at += 1 + ((length + 7) >>> 3);
  }
  return at === to ? undefined : "a prefix that ends after the field";
}

/** Packs prefixes into memory of its own, which grows. `bytes` and `nlri` are views, valid until the next `add` or `clear`. */
export class PrefixWriter {
  #bytes: Uint8Array;
  #length = 0;
  count = 0;

  constructor(
    readonly family: Family,
    readonly addPath = false,
    capacity = 4096,
  ) {
    this.#bytes = new Uint8Array(capacity + MOST_BYTES);
  }

  /** Bits after `length` are cut off; `pathId` counts only with add-path. */
  add(length: number, w0: number, w1: number, w2: number, w3: number, pathId = 0): void {
    if (this.#length + MOST_BYTES > this.#bytes.length) {
      const larger = new Uint8Array(this.#bytes.length * 2);
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    this.#length = putPrefix(this.#bytes, this.#length, this.family, this.addPath, length, w0, w1, w2, w3, pathId);
    this.count++;
  }

  get bytes(): Uint8Array {
    return this.#bytes.subarray(0, this.#length);
  }

  get nlri(): Nlri {
    return { family: this.family, addPath: this.addPath, bytes: this.bytes };
  }

  clear(): void {
    this.#length = 0;
    this.count = 0;
  }
}

/** What {@link putPrefix} may write beyond where it begins, at most: path identifier, length, sixteen bytes. */
export const MOST_BYTES = 21;

/** Writes a prefix at `at` and returns where it ends. May write up to {@link MOST_BYTES}, also past that end. */
export function putPrefix(
  into: Uint8Array,
  at: number,
  family: Family,
  addPath: boolean,
  length: number,
  w0: number,
  w1: number,
  w2: number,
  w3: number,
  pathId: number,
): number {
  if (addPath) {
    putWord(into, at, pathId);
    at += 4;
  }
  into[at++] = length;
  putWord(into, at, w0);
  if (family === 6 && length > 32) {
    putWord(into, at + 4, w1);
    if (length > 64) {
      putWord(into, at + 8, w2);
      if (length > 96) putWord(into, at + 12, w3);
    }
  }
  const end = at + ((length + 7) >>> 3);
  const rest = length & 7;
  if (rest !== 0) into[end - 1] = into[end - 1]! & (0xff00 >>> rest);
  return end;
}

function putWord(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 24;
  into[at + 1] = value >>> 16;
  into[at + 2] = value >>> 8;
  into[at + 3] = value;
}
