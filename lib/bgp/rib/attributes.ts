/**
 * Every set of attributes once, together with the preference that a policy gave it. Paths have its id; what the decision process asks for is worked
 * out once. Sets that no path and no Adj-RIB-Out uses any more are let go (reference counts), and ids are used again.
 */
import type { AsSegment, PathAttributes, Update } from "../wire/index.ts";
import { grownInt32 } from "./columns.ts";
import type { NextHop, NextHops } from "./next-hops.ts";

/** What BIRD gives routes of BGP peers (DEF_PREF_BGP). */
export const BGP_PREFERENCE = 100;
/** What a path without LOCAL_PREF counts as, and carries to iBGP peers: BIRD's and every other implementation's default (`bgp_default_local_pref`). */
export const DEFAULT_LOCAL_PREF = 100;

export class AttributeSet {
  /** Changes when the set was let go and came back: keep the object and ask {@link AttributeTable.alive}. */
  id = -1;
  readonly attributes: PathAttributes;
  readonly preference: number;
  readonly localPref: number;
  /** RFC 4271 9.1.2.2 (a): a set counts as one, confederation segments as nothing (RFC 5065 5.3). */
  readonly pathLength: number;
  /** RFC 4271 9.1.2.2 (c): a missing one is the lowest possible. */
  readonly med: number;
  /** Of whom paths are compared by MED: 0 where the path begins with a set or is empty. */
  readonly neighbourAs: number;
  /** As received: the bytes of its key. Made by us: its text. */
  readonly key: Uint8Array | string;
  readonly hash: number;
  /** The next of equal hash. */
  next: AttributeSet | undefined;
  /** Who imported it last, and what it made of it: see import.ts. Not counted as a reference. */
  importer: object | undefined;
  imported: AttributeSet | number = 0;
  /** Its next hop, once a choice asked for its cost; a set that is let go has none. */
  nextHop: NextHop | undefined;
  /** What groups made of it, by their number: see group.ts. Not counted either. */
  exports: (ExportEntry | undefined)[] | undefined;

  constructor(attributes: PathAttributes, preference: number, key: Uint8Array | string, hash: number) {
    this.attributes = attributes;
    this.preference = preference;
    this.key = key;
    this.hash = hash;
    this.localPref = attributes.localPref ?? DEFAULT_LOCAL_PREF;
    this.pathLength = pathLength(attributes.asPath);
    this.med = attributes.med ?? 0;
    this.neighbourAs = neighbourAs(attributes.asPath);
  }
}

export interface ExportEntry {
  readonly owner: object;
  /** Where it came from. */
  readonly from: object;
  readonly result: AttributeSet | undefined;
}

export class AttributeTable {
  /** By id. */
  readonly sets: (AttributeSet | undefined)[] = [];
  #references: Int32Array<ArrayBuffer> = new Int32Array(256);
  readonly #free: number[] = [];
  readonly #received = new Map<number, AttributeSet>();
  readonly #made = new Map<string, AttributeSet>();
  readonly #seed = (Math.random() * 0x1_0000_0000) | 0;
  readonly #nextHops: NextHops | undefined;

  constructor(nextHops?: NextHops) {
    this.#nextHops = nextHops;
  }

  get size(): number {
    return this.sets.length - this.#free.length;
  }

  /** The attributes of an UPDATE, decoded where nobody had them yet. Whoever asks refers to it, or it stays for ever. */
  received(update: Update): AttributeSet {
    const key = update.attributesKey;
    const hash = this.#hash(key);
    const first = this.#received.get(hash);
    for (let set = first; set; set = set.next) if (sameBytes(set.key as Uint8Array, key)) return set;
    const set = new AttributeSet(update.attributes(), BGP_PREFERENCE, key.slice(), hash);
    set.next = first;
    this.#received.set(hash, set);
    this.#register(set);
    return set;
  }

  /** Attributes that a policy or we ourselves made. Whoever asks refers to it, or it stays for ever. */
  made(attributes: PathAttributes, preference: number): AttributeSet {
    const key = attributesText(attributes, preference);
    const known = this.#made.get(key);
    if (known) return known;
    const set = new AttributeSet(attributes, preference, key, 0);
    this.#made.set(key, set);
    this.#register(set);
    return set;
  }

  /** The set as it is in the table now: itself, or its equal where it was let go since. */
  alive(set: AttributeSet): AttributeSet {
    if (set.id >= 0) return set;
    if (typeof set.key === "string") {
      const known = this.#made.get(set.key);
      if (known) return known;
      this.#made.set(set.key, set);
    } else {
      const first = this.#received.get(set.hash);
      for (let other = first; other; other = other.next) if (sameBytes(other.key as Uint8Array, set.key)) return other;
      set.next = first;
      this.#received.set(set.hash, set);
    }
    this.#register(set);
    return set;
  }

  /** What its next hop costs. Most sets are never asked for it, as their prefixes have no other path. */
  costOf(set: AttributeSet): number {
    if (!this.#nextHops) return 0;
    set.nextHop ??= this.#nextHops.refer(set.attributes.nextHop);
    return set.nextHop.cost;
  }

  refer(id: number): void {
    this.#references[id]!++;
  }

  release(id: number): void {
    if (--this.#references[id]! === 0) this.#drop(this.sets[id]!);
  }

  /** Like {@link release}, for somebody who is about to refer to it again: it stays though nobody does. */
  unrefer(id: number): void {
    this.#references[id]!--;
  }

  #register(set: AttributeSet): void {
    const id = this.#free.pop() ?? this.sets.length;
    set.id = id;
    this.sets[id] = set;
    if (id >= this.#references.length) this.#references = grownInt32(this.#references, this.#references.length * 2);
    this.#references[id] = 0;
  }

  #drop(set: AttributeSet): void {
    this.sets[set.id] = undefined;
    this.#free.push(set.id);
    set.id = -1;
    if (set.nextHop) {
      this.#nextHops!.release(set.nextHop);
      set.nextHop = undefined;
    }
    if (typeof set.key === "string") {
      this.#made.delete(set.key);
      return;
    }
    const first = this.#received.get(set.hash)!;
    if (first === set) {
      if (set.next) this.#received.set(set.hash, set.next);
      else this.#received.delete(set.hash);
    } else {
      let before = first;
      while (before.next !== set) before = before.next!;
      before.next = set.next;
    }
    set.next = undefined;
  }

  /** FNV-1a, seeded: peers choose the bytes. */
  #hash(key: Uint8Array): number {
    let h = this.#seed ^ key.length;
    for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key[i]!, 0x0100_0193);
    return h ^ (h >>> 15);
  }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

function pathLength(path: readonly AsSegment[]): number {
  let length = 0;
  for (const { type, asns } of path) {
    if (type === "sequence") length += asns.length;
    else if (type === "set") length++;
  }
  return length;
}

/** RFC 4271 9.1.2.2 (c): the leftmost AS of a sequence; what confederations put in front is not counted (RFC 5065 5.3). */
function neighbourAs(path: readonly AsSegment[]): number {
  for (const { type, asns } of path) {
    if (type === "sequence") return asns[0] ?? 0;
    if (type === "set") return 0;
  }
  return 0;
}

/**
 * A text that is equal for equal attributes and preference only. Put together by hand: a table with as many sets as prefixes makes one for each, and
 * JSON takes several times as long.
 */
export function attributesText(a: PathAttributes, preference: number): string {
  let text = `${preference} ${a.origin} ${a.nextHop.version} ${a.nextHop.value} `;
  text += `${a.med ?? ""} ${a.localPref ?? ""} ${a.originatorId ?? ""} ${a.atomicAggregate ? 1 : 0}`;
  for (const { type, asns } of a.asPath) text += `${SEGMENT[type]}${asns.join()}`;
  // Rare, or short: each with a mark of its own where there is any.
  if (a.communities.length > 0) text += `C${a.communities.join()}`;
  if (a.clusterList.length > 0) text += `L${a.clusterList.join()}`;
  if (a.linkLocalNextHop) text += `N${a.linkLocalNextHop.value}`;
  if (a.aggregator) text += `A${a.aggregator.asn},${a.aggregator.address}`;
  for (const parts of a.largeCommunities) text += `G${parts.join()}`;
  for (const community of a.extendedCommunities) text += `E${community.toHex()}`;
  for (const { flags, type, value } of a.unknown) text += `U${flags},${type},${value.toHex()}`;
  return text;
}

const SEGMENT = { sequence: "q", set: "s", confederationSequence: "r", confederationSet: "t" } as const;
