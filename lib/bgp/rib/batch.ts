/** Changes to messages: prefixes are sorted by attributes and by whom they concern, and packed once for all who get them. */
import { encodeAttributes, type Family, type Negotiated, UpdateWriter } from "../wire/index.ts";
import type { AttributeTable } from "./attributes.ts";
import type { PrefixTable } from "./prefixes.ts";

/** Most prefixes of a batch: fills messages also where attributes are mixed, and is what a slow peer keeps in memory at most. */
export const BATCH_MOST = 8192;

/** Who gets a message: 0 is everybody, n > 0 everybody but the peer of index n, n < 0 only the peer of index -n. */
export type Audience = number;

/** Shared by all who get it. */
export interface Batch {
  readonly messages: readonly Uint8Array[];
  readonly audiences: readonly Audience[];
  /** Where to go on afterwards. */
  readonly end: number;
}

/** Of each prefix one path is sent, and so one identifier does for all (RFC 7911 3). */
const PATH_ID = 1;

interface Bucket {
  readonly key: number;
  /** Id of a set; -1: withdrawn. */
  readonly set: number;
  readonly audience: Audience;
  first: number;
  last: number;
}

/** Scratch memory of a table: filled and packed in one go. */
export class BatchBuilder {
  readonly #prefixes: PrefixTable;
  readonly #attributes: AttributeTable;
  /** Prefix and the place of the next of the same bucket, -1 at the end. Each prefix may count twice: announced to many, withdrawn from one. */
  #ids: Int32Array<ArrayBuffer> = new Int32Array(256);
  #next: Int32Array<ArrayBuffer> = new Int32Array(256);
  size = 0;
  readonly #buckets = new Map<number, Bucket>();
  #last: Bucket | undefined;

  constructor(prefixes: PrefixTable, attributes: AttributeTable) {
    this.#prefixes = prefixes;
    this.#attributes = attributes;
  }

  /** `set` -1: withdrawn. */
  add(id: number, set: number, audience: Audience): void {
    const at = this.size++;
    if (at === this.#ids.length) this.#grow();
    this.#ids[at] = id;
    this.#next[at] = -1;
    // Unique: an audience has 17 bits with its sign.
    const key = (set + 1) * 0x2_0000 + audience + 0x1_0000;
    let bucket = this.#last;
    if (bucket?.key !== key) {
      bucket = this.#buckets.get(key);
      if (!bucket) {
        bucket = { key, set, audience, first: at, last: at };
        this.#buckets.set(key, bucket);
        this.#last = bucket;
        return;
      }
      this.#last = bucket;
    }
    this.#next[bucket.last] = at;
    bucket.last = at;
  }

  /** Empties the builder. `wanted` says whether there is anybody in an audience. */
  pack(packer: Packer, wanted: (audience: Audience) => boolean, end: number): Batch {
    const audiences: Audience[] = [];
    const messages = packer.messages;
    const { writer, family, negotiated } = packer;
    const prefixes = this.#prefixes;
    for (const { set, audience, first } of this.#buckets.values()) {
      if (!wanted(audience)) continue;
      if (set < 0 || !writer.reach(encodeAttributes(this.#attributes.sets[set]!.attributes, negotiated, { family }))) {
        // Attributes that do not fit into a message of this session (RFC 8654 5): without the route rather than with an old one.
        writer.withdraw(family);
      }
      for (let at = first; at >= 0; at = this.#next[at]!) {
        const id = this.#ids[at]!;
        const w0 = prefixes.w0(id);
        if (family === 4) writer.add(prefixes.length(id), w0, 0, 0, 0, PATH_ID);
        else writer.add(prefixes.length(id), w0, prefixes.w1(id), prefixes.w2(id), prefixes.w3(id), PATH_ID);
      }
      writer.flush();
      while (audiences.length < messages.length) audiences.push(audience);
    }
    packer.messages = [];
    this.#buckets.clear();
    this.#last = undefined;
    this.size = 0;
    return { messages, audiences, end };
  }

  #grow(): void {
    const length = this.#ids.length * 2;
    this.#ids = new Int32Array(this.#ids.buffer.transfer(length * 4));
    this.#next = new Int32Array(this.#next.buffer.transfer(length * 4));
  }
}

/** How messages are written for sessions that were negotiated alike. */
export class Packer {
  readonly family: Family;
  readonly negotiated: Negotiated;
  readonly writer: UpdateWriter;
  messages: Uint8Array[] = [];

  constructor(family: Family, negotiated: Negotiated) {
    this.family = family;
    this.negotiated = negotiated;
    this.writer = new UpdateWriter(negotiated, (message) => this.messages.push(message));
  }
}
