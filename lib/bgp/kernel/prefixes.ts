/**
 * Prefixes as small numbers. A table of 500,000 routes has no object a route: a prefix is a slot, and what is known of it stands at that slot in
 * typed arrays (here its bits and length, in `learned.ts` the rest). Slots are found by a hash with open addressing.
 */
import { type Address, type Cidr, cidrFromAddress } from "../../ip/index.ts";

export type Version = 4 | 6;

/** 32 bits each, most significant first; IPv4 uses the first. */
export type Words = Uint32Array;

const UNUSED = 255;
const LOW = 0xffffffffn;

export const bitsOf = (version: Version): number => (version === 4 ? 32 : 128);

export function wordsOf(version: Version, value: bigint, into: Words = new Uint32Array(4)): Words {
  if (version === 4) {
    into[0] = Number(value);
    return into;
  }
  into[0] = Number(value >> 96n);
  into[1] = Number((value >> 64n) & LOW);
  into[2] = Number((value >> 32n) & LOW);
  into[3] = Number(value & LOW);
  return into;
}

/** `words` without the bits after `length`. */
export function masked(words: Words, length: number, into: Words): Words {
  for (let i = 0; i < 4; i++) {
    const kept = length - 32 * i;
    into[i] = kept >= 32 ? words[i]! : kept <= 0 ? 0 : words[i]! & (-1 << (32 - kept));
  }
  return into;
}

export class PrefixTable {
  readonly version: Version;
  readonly #stride: number;
  #bits: Uint32Array;
  #lengths: Uint8Array;
  /** Slot + 1; 0 is free. Twice as many places as slots at least. */
  #places: Uint32Array;
  readonly #free: number[] = [];
  /** How many prefixes there are of each length. */
  readonly #counts = new Uint32Array(129);
  readonly #scratch = new Uint32Array(4);
  #size = 0;
  #end = 0;

  constructor(version: Version) {
    this.version = version;
    this.#stride = version === 4 ? 1 : 4;
    this.#bits = new Uint32Array(64 * this.#stride);
    this.#lengths = new Uint8Array(64).fill(UNUSED);
    this.#places = new Uint32Array(128);
  }

  get size(): number {
    return this.#size;
  }

  /** Slots in use are below. */
  get end(): number {
    return this.#end;
  }

  /** How many slots there is room for: arrays beside this one have to be as long. */
  get capacity(): number {
    return this.#lengths.length;
  }

  isUsed(slot: number): boolean {
    return this.#lengths[slot] !== UNUSED;
  }

  lengthAt(slot: number): number {
    return this.#lengths[slot]!;
  }

  cidrAt(slot: number): Cidr {
    const { version } = this;
    const at = slot * this.#stride;
    const bits = this.#bits;
    if (version === 4) return { version, base: BigInt(bits[at]!), length: this.#lengths[slot]! };
    let base = 0n;
    for (let i = 0; i < 4; i++) base = (base << 32n) | BigInt(bits[at + i]!);
    return { version, base, length: this.#lengths[slot]! };
  }

  /** Orders slots by address, then the shorter first. */
  compare(a: number, b: number): number {
    for (let i = 0; i < this.#stride; i++) {
      const difference = this.#bits[a * this.#stride + i]! - this.#bits[b * this.#stride + i]!;
      if (difference !== 0) return difference;
    }
    return this.#lengths[a]! - this.#lengths[b]!;
  }

  /** -1 without. The words have no bits after `length`. */
  find(words: Words, length: number): number {
    const mask = this.#places.length - 1;
    for (let place = this.#hash(words, 0, length) & mask; ; place = (place + 1) & mask) {
      const slot = this.#places[place]! - 1;
      if (slot < 0 || this.#is(slot, words, length)) return slot;
    }
  }

  findCidr({ base, length }: Cidr): number {
    return this.find(wordsOf(this.version, base, this.#scratch), length);
  }

  /** The prefix's slot, a new one where it has none. */
  add(cidr: Cidr): number {
    const words = wordsOf(this.version, cidr.base, this.#scratch);
    const found = this.find(words, cidr.length);
    if (found >= 0) return found;
    const slot = this.#free.pop() ?? this.#end;
    if (slot === this.#end) {
      if (slot === this.capacity) this.#grow();
      this.#end++;
    }
    this.#bits.set(this.#stride === 1 ? words.subarray(0, 1) : words, slot * this.#stride);
    this.#lengths[slot] = cidr.length;
    this.#counts[cidr.length]!++;
    this.#size++;
    this.#put(slot);
    return slot;
  }

  remove(slot: number): void {
    const mask = this.#places.length - 1;
    let gap = this.#home(slot);
    while (this.#places[gap] !== slot + 1) gap = (gap + 1) & mask;
    // Those that follow move up, unless that would put them before their home.
    for (let place = (gap + 1) & mask; this.#places[place] !== 0; place = (place + 1) & mask) {
      const home = this.#home(this.#places[place]! - 1);
      if (((place - home) & mask) < ((place - gap) & mask)) continue;
      this.#places[gap] = this.#places[place]!;
      gap = place;
    }
    this.#places[gap] = 0;
    this.#counts[this.#lengths[slot]!]!--;
    this.#lengths[slot] = UNUSED;
    this.#free.push(slot);
    this.#size--;
  }

  /** Slots of the prefixes that hold the address, the longest first. */
  *covering(words: Words): Generator<number> {
    const scratch = new Uint32Array(4);
    for (let length = bitsOf(this.version); length >= 0; length--) {
      if (this.#counts[length] === 0) continue;
      const slot = this.find(masked(words, length, scratch), length);
      if (slot >= 0) yield slot;
    }
  }

  #is(slot: number, words: Words, length: number): boolean {
    if (this.#lengths[slot] !== length) return false;
    const at = slot * this.#stride;
    if (this.#bits[at] !== words[0]) return false;
    if (this.#stride === 1) return true;
    return this.#bits[at + 1] === words[1] && this.#bits[at + 2] === words[2] && this.#bits[at + 3] === words[3];
  }

  #hash(words: Uint32Array, at: number, length: number): number {
    let hash = Math.imul(length + 1, 0x9e3779b1);
    for (let i = 0; i < this.#stride; i++) {
      hash = Math.imul(hash ^ words[at + i]!, 0x85ebca6b);
      hash ^= hash >>> 15;
    }
    hash = Math.imul(hash, 0xc2b2ae35);
    return (hash ^ (hash >>> 16)) >>> 0;
  }

  #home(slot: number): number {
    return this.#hash(this.#bits, slot * this.#stride, this.#lengths[slot]!) & (this.#places.length - 1);
  }

  #put(slot: number): void {
    const mask = this.#places.length - 1;
    let place = this.#home(slot);
    while (this.#places[place] !== 0) place = (place + 1) & mask;
    this.#places[place] = slot + 1;
  }

  #grow(): void {
    const bits = new Uint32Array(this.#bits.length * 2);
    bits.set(this.#bits);
    this.#bits = bits;
    const lengths = new Uint8Array(this.#lengths.length * 2).fill(UNUSED);
    lengths.set(this.#lengths);
    this.#lengths = lengths;
    this.#places = new Uint32Array(lengths.length * 2);
    for (let slot = 0; slot < this.#end; slot++) if (this.isUsed(slot)) this.#put(slot);
  }
}

/** Addresses in order: whether a prefix holds any of them. */
export class AddressIndex {
  #sorted: readonly bigint[] = [];
  readonly #version: Version;

  constructor(version: Version) {
    this.#version = version;
  }

  set(addresses: Iterable<Address>): void {
    const sorted: bigint[] = [];
    for (const { version, value } of addresses) if (version === this.#version) sorted.push(value);
    this.#sorted = sorted.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  }

  /** Whether an address is within. */
  anyIn(cidr: Cidr): boolean {
    const sorted = this.#sorted;
    let low = 0;
    for (let high = sorted.length; low < high; ) {
      const middle = (low + high) >>> 1;
      if (sorted[middle]! < cidr.base) low = middle + 1;
      else high = middle;
    }
    const first = sorted[low];
    return (
      first !== undefined && cidrFromAddress({ version: this.#version, value: first }, cidr.length).base === cidr.base
    );
  }
}
