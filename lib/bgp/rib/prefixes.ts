/** Every prefix once: numbers in columns, found by open addressing. A prefix is known by a dense id, which is used again after it was let go. */
import type { Family } from "../wire/index.ts";
import { grownInt32, grownUint8 } from "./columns.ts";
import type { Prefix } from "./types.ts";

const FIRST_CAPACITY = 1024;
/** A length no prefix has. */
const FREE = 255;

export class PrefixTable {
  readonly family: Family;
  /** Ids are below it. */
  limit = 0;
  size = 0;
  /** Ids that fit into the columns; whoever keeps columns of their own grows them with it. */
  capacity = FIRST_CAPACITY;
  /** 255: not in use. */
  #lengths: Uint8Array<ArrayBuffer> = new Uint8Array(FIRST_CAPACITY).fill(FREE);
  #w0: Int32Array<ArrayBuffer> = new Int32Array(FIRST_CAPACITY);
  /** Of IPv4 they stay empty. */
  #w1: Int32Array<ArrayBuffer>;
  #w2: Int32Array<ArrayBuffer>;
  #w3: Int32Array<ArrayBuffer>;
  /** Id + 1; 0 is free. At most three quarters are taken. */
  #slots: Int32Array<ArrayBuffer> = new Int32Array(FIRST_CAPACITY * 2);
  /** Linked through the first word. */
  #free = -1;
  /** Peers choose the prefixes: without a number of our own they could choose some that all meet in one slot. */
  readonly #seed = (Math.random() * 0x1_0000_0000) | 0;

  constructor(family: Family) {
    this.family = family;
    const rest = family === 6 ? FIRST_CAPACITY : 0;
    this.#w1 = new Int32Array(rest);
    this.#w2 = new Int32Array(rest);
    this.#w3 = new Int32Array(rest);
  }

  /** The id, or -1. Words are signed (`| 0`). */
  find(length: number, w0: number, w1: number, w2: number, w3: number): number {
    const mask = this.#slots.length - 1;
    for (let slot = this.#hash(length, w0, w1, w2, w3) & mask; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot]! - 1;
      if (id < 0 || this.#is(id, length, w0, w1, w2, w3)) return id;
    }
  }

  /** The id, a new one where there was none. */
  intern(length: number, w0: number, w1: number, w2: number, w3: number): number {
    const mask = this.#slots.length - 1;
    let slot = this.#hash(length, w0, w1, w2, w3) & mask;
    for (; ; slot = (slot + 1) & mask) {
      const id = this.#slots[slot]! - 1;
      if (id < 0) break;
      if (this.#is(id, length, w0, w1, w2, w3)) return id;
    }
    if ((this.size + 1) * 4 > this.#slots.length * 3) {
      this.#rehash(this.#slots.length * 2);
      return this.intern(length, w0, w1, w2, w3);
    }
    let id = this.#free;
    if (id >= 0) {
      this.#free = this.#w0[id]!;
    } else {
      id = this.limit++;
      if (id === this.capacity) this.#grow();
    }
    this.#lengths[id] = length;
    this.#w0[id] = w0;
    if (this.family === 6) {
      this.#w1[id] = w1;
      this.#w2[id] = w2;
      this.#w3[id] = w3;
    }
    this.#slots[slot] = id + 1;
    this.size++;
    return id;
  }

  /** Lets an id go; it must be in use. */
  release(id: number): void {
    const slots = this.#slots;
    const mask = slots.length - 1;
    let slot = this.#hashOf(id) & mask;
    while (slots[slot] !== id + 1) slot = (slot + 1) & mask;
    // Linear probing without tombstones: what stands behind and would be found no more moves up.
    for (let next = (slot + 1) & mask; ; next = (next + 1) & mask) {
      const other = slots[next]! - 1;
      if (other < 0) break;
      const home = this.#hashOf(other) & mask;
      if (((next - home) & mask) >= ((next - slot) & mask)) {
        slots[slot] = other + 1;
        slot = next;
      }
    }
    slots[slot] = 0;
    this.#lengths[id] = FREE;
    this.#w0[id] = this.#free;
    this.#free = id;
    this.size--;
  }

  /** Whether the id is in use. */
  has(id: number): boolean {
    return id < this.limit && this.#lengths[id] !== FREE;
  }

  length(id: number): number {
    return this.#lengths[id]!;
  }
  w0(id: number): number {
    return this.#w0[id]!;
  }
  w1(id: number): number {
    return this.family === 6 ? this.#w1[id]! : 0;
  }
  w2(id: number): number {
    return this.family === 6 ? this.#w2[id]! : 0;
  }
  w3(id: number): number {
    return this.family === 6 ? this.#w3[id]! : 0;
  }

  /** Into an object that is used again; words are unsigned there. */
  read(id: number, into: { family: Family; length: number; words: [number, number, number, number] }): void {
    const { words } = into;
    into.family = this.family;
    into.length = this.length(id);
    words[0] = this.w0(id) >>> 0;
    words[1] = this.w1(id) >>> 0;
    words[2] = this.w2(id) >>> 0;
    words[3] = this.w3(id) >>> 0;
  }

  /** As an object, for the edges; words are unsigned there. */
  prefix(id: number): Prefix {
    return {
      family: this.family,
      length: this.length(id),
      words: [this.w0(id) >>> 0, this.w1(id) >>> 0, this.w2(id) >>> 0, this.w3(id) >>> 0],
    };
  }

  #is(id: number, length: number, w0: number, w1: number, w2: number, w3: number): boolean {
    return (
      this.#w0[id] === w0 &&
      this.#lengths[id] === length &&
      (this.family === 4 || (this.#w1[id] === w1 && this.#w2[id] === w2 && this.#w3[id] === w3))
    );
  }

  #hashOf(id: number): number {
    return this.#hash(this.length(id), this.w0(id), this.w1(id), this.w2(id), this.w3(id));
  }

  /** The finalizer of MurmurHash3 over all words. */
  #hash(length: number, w0: number, w1: number, w2: number, w3: number): number {
    let h = this.#seed ^ w0 ^ Math.imul(length, 0x9e3779b1);
    if (this.family === 6) {
      h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) ^ w1;
      h = Math.imul(h ^ (h >>> 15), 0x297a2d39) ^ w2;
      h = Math.imul(h ^ (h >>> 15), 0x2c1b3c6d) ^ w3;
    }
    h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
    h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
    return (h ^ (h >>> 16)) >>> 0;
  }

  #rehash(length: number): void {
    this.#slots = new Int32Array(length);
    const mask = length - 1;
    for (let id = 0; id < this.limit; id++) {
      if (this.#lengths[id] === FREE) continue;
      let slot = this.#hashOf(id) & mask;
      while (this.#slots[slot] !== 0) slot = (slot + 1) & mask;
      this.#slots[slot] = id + 1;
    }
  }

  #grow(): void {
    const capacity = this.capacity * 2;
    this.#lengths = grownUint8(this.#lengths, capacity).fill(FREE, this.capacity);
    this.#w0 = grownInt32(this.#w0, capacity);
    if (this.family === 6) {
      this.#w1 = grownInt32(this.#w1, capacity);
      this.#w2 = grownInt32(this.#w2, capacity);
      this.#w3 = grownInt32(this.#w3, capacity);
    }
    this.capacity = capacity;
  }
}
