/** Prefixes against CIDRs and prefix sets, as numbers. Words may be signed or not: bit operations make no difference. */
import { type Cidr, parseCidr } from "../../ip/index.ts";
import type { Family } from "../model/index.ts";
import { type Prefix, prefixOf } from "../rib/index.ts";

type Words = readonly [number, number, number, number];

/** Mask of one word of a prefix: word 0 has bits 0 to 31. */
function mask(length: number, word: number): number {
  const bits = length - 32 * word;
  return bits <= 0 ? 0 : bits >= 32 ? -1 : -1 << (32 - bits);
}

function masksOf(length: number): Words {
  return [mask(length, 0), mask(length, 1), mask(length, 2), mask(length, 3)];
}

/** Throws a RangeError for text that is no CIDR of the family. */
export const prefixIn = (family: Family, text: string): Prefix => prefixOf(parseOf(text, family));

function parseOf(text: string, family: Family): Cidr {
  const cidr = parseCidr(text);
  if (cidr.version !== family) throw new RangeError(`"${text}" is no IPv${family} CIDR`);
  return cidr;
}

/** A CIDR to compare single prefixes with. */
export class Net {
  readonly length: number;
  readonly #words: Words;
  readonly #masks: Words;

  /** Throws a RangeError for text that is no CIDR of the family. */
  constructor(text: string, family: Family) {
    const cidr = parseOf(text, family);
    this.length = cidr.length;
    this.#words = prefixOf(cidr).words;
    this.#masks = masksOf(cidr.length);
  }

  /** BIRD's `net ~ cidr`: it, or within it. */
  covers(prefix: Prefix): boolean {
    return prefix.length >= this.length && this.#agrees(prefix);
  }

  /** BIRD's `net = cidr`. */
  equals(prefix: Prefix): boolean {
    return prefix.length === this.length && this.#agrees(prefix);
  }

  #agrees({ words }: Prefix): boolean {
    const own = this.#words;
    const masks = this.#masks;
    return (
      ((words[0] ^ own[0]) & masks[0]) === 0 &&
      ((words[1] ^ own[1]) & masks[1]) === 0 &&
      ((words[2] ^ own[2]) & masks[2]) === 0 &&
      ((words[3] ^ own[3]) & masks[3]) === 0
    );
  }
}

/** Those CIDRs of an index that are of one length: a hash table with open addressing over their words. */
interface Table {
  readonly length: number;
  readonly masks: Words;
  /** Place in the list, or -1, by hash. A power of two of them, at least twice as many as CIDRs. */
  readonly slots: Int32Array;
}

/** Ordered CIDRs: which is the first that holds a prefix? As many look-ups as there are different lengths, however many CIDRs. */
export class CidrIndex {
  readonly #tables: readonly Table[];
  /** Four of each. */
  readonly #words: Int32Array;
  readonly #lengths: readonly number[];

  /** Throws a RangeError for what is no CIDR of the family. */
  constructor(cidrs: readonly string[], family: Family) {
    const parsed = cidrs.map((text) => parseOf(text, family));
    this.#lengths = parsed.map(({ length }) => length);
    this.#words = Int32Array.from(parsed.flatMap((cidr) => prefixOf(cidr).words));
    this.#tables = [...new Set(this.#lengths)].toSorted((a, b) => a - b).map((length) => this.#table(length));
  }

  /** Place of the first CIDR, in the order given, that the prefix is or lies within; -1 where there is none. */
  first(prefix: Prefix): number {
    const { words, length } = prefix;
    let best = -1;
    // Asked for every prefix of a table: no iterators and no destructuring of arrays, which cost more than the look-up.
    for (let index = 0; index < this.#tables.length; index++) {
      const table = this.#tables[index] as Table;
      if (table.length > length) break;
      const { masks } = table;
      const found = this.#find(
        table.slots,
        words[0] & masks[0],
        words[1] & masks[1],
        words[2] & masks[2],
        words[3] & masks[3],
      );
      if (found >= 0 && (best < 0 || found < best)) best = found;
    }
    return best;
  }

  covers(prefix: Prefix): boolean {
    return this.first(prefix) >= 0;
  }

  /** Length of the CIDR at that place: a prefix found there is the very same where lengths agree. */
  lengthAt(place: number): number {
    return this.#lengths[place] ?? -1;
  }

  #table(length: number): Table {
    const places = this.#lengths.flatMap((one, place) => (one === length ? [place] : []));
    const slots = new Int32Array(2 ** Math.ceil(Math.log2(places.length * 2))).fill(-1);
    const last = slots.length - 1;
    for (const place of places) {
      const word = (index: number) => this.#words[place * 4 + index] as number;
      // Of equal ones the first counts.
      if (this.#find(slots, word(0), word(1), word(2), word(3)) >= 0) continue;
      let slot = hash(word(0), word(1), word(2), word(3)) & last;
      while ((slots[slot] as number) >= 0) slot = (slot + 1) & last;
      slots[slot] = place;
    }
    return { length, masks: masksOf(length), slots };
  }

  #find(slots: Int32Array, w0: number, w1: number, w2: number, w3: number): number {
    const words = this.#words;
    const last = slots.length - 1;
    for (let slot = hash(w0, w1, w2, w3) & last; ; slot = (slot + 1) & last) {
      const place = slots[slot] as number;
      if (place < 0) return -1;
      const at = place * 4;
      if (words[at] === w0 && words[at + 1] === w1 && words[at + 2] === w2 && words[at + 3] === w3) return place;
    }
  }
}

/** Spreads prefixes, whose low bits are zeros, over the low bits. */
function hash(w0: number, w1: number, w2: number, w3: number): number {
  let value =
    Math.imul(w0, 0x9e3779b1) ^ Math.imul(w1, 0x85ebca6b) ^ Math.imul(w2, 0xc2b2ae35) ^ Math.imul(w3, 0x27d4eb2f);
  value ^= value >>> 16;
  value = Math.imul(value, 0x45d9f3b);
  return value ^ (value >>> 15);
}
