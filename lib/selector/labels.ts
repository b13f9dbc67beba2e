import { Postings } from "./postings.ts";
import type { Labels } from "./tree.ts";

/** No label. */
export const NONE = 0;
const NO_PAIRS: readonly number[] = [];

/** Parents in the order of one object or of many: what these inherit. */
interface Group {
  /** One alone is by far the most common. */
  readonly parents: number | readonly number[];
  /** What the parents give, each label once: the parent that comes first wins. */
  pairs: readonly number[];
  refs: number;
}

interface Parent {
  readonly name: string;
  pairs: readonly number[];
  /** The group of this parent alone; 0: none. */
  alone: number;
  /** Groups of this and other parents. */
  groups: Set<number> | undefined;
}

/**
 * The labels of very many objects, and what they inherit from parents, as numbers. Every name, and every name with a value (a pair), is
 * kept once for as long as an object, a parent or a selector has it; an object is a run of pair numbers in one array. An object's own
 * label wins over an inherited one, and of the parents the first that has the label.
 *
 *     object -> own pairs            pair -> objects that have it themselves
 *            -> group (its parents)  pair -> groups that inherit it -> objects of the group
 */
export class LabelStore {
  readonly #names = new Map<string, number>();
  readonly #nameTexts: string[] = [""];
  readonly #values: Map<string, number>[] = [new Map()];
  readonly #nameRefs: number[] = [0];
  readonly #freeNames: number[] = [];

  #pairName = new Int32Array(1024);
  #pairRefs = new Int32Array(1024);
  readonly #pairValue: string[] = [""];
  readonly #freePairs: number[] = [];

  #arena = new Int32Array(4096);
  #arenaEnd = 0;
  /** Free runs of the arena, by length. */
  readonly #freeRuns: number[][] = [];
  #itemAt = new Int32Array(1024);
  /** -1: no such object. */
  #itemLength = new Int32Array(1024).fill(-1);
  #itemGroup = new Int32Array(1024);
  #itemsEnd = 0;
  readonly #freeItems: number[] = [];

  readonly #groups: (Group | undefined)[] = [{ parents: [], pairs: [], refs: 1 }];
  /** Of groups with several parents. */
  readonly #groupsByKey = new Map<string, number>();
  readonly #freeGroups: number[] = [];
  readonly #parents: (Parent | undefined)[] = [];
  readonly #parentsByName = new Map<string, number>();
  readonly #freeParents: number[] = [];

  readonly #owners = new Postings((pair, item) => this.#owns(item, pair));
  readonly #heirs = new Postings((pair, group) => this.#groups[group]?.pairs.includes(pair) === true);
  readonly #members = new Postings((group, item) => this.has(item) && this.#itemGroup[item] === group);
  #count = 0;

  /** How many objects there are. */
  get size(): number {
    return this.#count;
  }

  /** What is kept at present: all zero when nothing holds anything, for nothing is kept for ever. */
  get counts(): { readonly objects: number; readonly names: number; readonly pairs: number; readonly parents: number } {
    return {
      objects: this.#count,
      names: this.#names.size,
      pairs: this.#pairValue.length - 1 - this.#freePairs.length,
      parents: this.#parentsByName.size,
    };
  }

  /** Whether there is an object of this number. */
  has(item: number): boolean {
    return item < this.#itemsEnd && this.#itemLength[item]! >= 0;
  }

  /** A new object; answers its number, which may have been that of one removed. */
  add(labels: Labels, parents: readonly string[]): number {
    let item = this.#freeItems.pop();
    if (item === undefined) {
      item = this.#itemsEnd++;
      if (item >= this.#itemAt.length) {
        this.#itemAt = grown(this.#itemAt, item);
        this.#itemGroup = grown(this.#itemGroup, item);
        const from = this.#itemLength.length;
        this.#itemLength = grown(this.#itemLength, item);
        this.#itemLength.fill(-1, from);
      }
    }
    this.#itemLength[item] = 0;
    this.#itemGroup[item] = 0;
    this.#count++;
    this.set(item, labels, parents);
    return item;
  }

  /** What an object's labels and parents are now; answers whether they changed. */
  set(item: number, labels: Labels, parents: readonly string[]): boolean {
    const changed = this.#setOwn(item, this.#acquireAll(labels));
    const group = this.#groupOf(parents);
    const before = this.#itemGroup[item]!;
    if (group === before) {
      this.#releaseGroup(group);
      return changed;
    }
    this.#itemGroup[item] = group;
    if (before !== 0) {
      this.#members.remove(before, item);
      this.#releaseGroup(before);
    }
    if (group !== 0) this.#members.add(group, item);
    return true;
  }

  remove(item: number): void {
    this.#setOwn(item, []);
    const group = this.#itemGroup[item]!;
    this.#itemLength[item] = -1;
    this.#itemGroup[item] = 0;
    if (group !== 0) {
      this.#members.remove(group, item);
      this.#releaseGroup(group);
    }
    this.#freeItems.push(item);
    this.#count--;
  }

  /**
   * The labels that a parent gives; undefined: none. Answers the groups that inherit other labels than before, for
   * {@link itemsOf}.
   */
  setParent(name: string, labels: Labels | undefined): readonly number[] {
    if (labels === undefined && !this.#parentsByName.has(name)) return [];
    const id = this.#parentOf(name);
    const parent = this.#parents[id]!;
    const next = this.#acquireAll(labels ?? {});
    const before = parent.pairs;
    const same = next.length === before.length && next.every((pair) => before.includes(pair));
    if (!same) parent.pairs = next;
    const affected: number[] = [];
    if (!same) for (const group of groupsOf(parent)) if (this.#mergeGroup(group)) affected.push(group);
    for (const pair of same ? next : before) this.releasePair(pair);
    this.#dropParent(id);
    return affected;
  }

  /** Objects with these parents; may name one twice, and some that have left. */
  itemsOf(group: number): Iterable<number> {
    return this.#members.each(group);
  }

  groupOf(item: number): number {
    return this.#itemGroup[item]!;
  }

  /** The pair an object has of a label, its own or inherited; {@link NONE} when it lacks the label. */
  find(item: number, name: number): number {
    let at = this.#itemAt[item]!;
    for (const end = at + this.#itemLength[item]!; at < end; at++) {
      const pair = this.#arena[at]!;
      if (this.#pairName[pair] === name) return pair;
    }
    const group = this.#itemGroup[item]!;
    if (group === 0) return NONE;
    for (const pair of this.#groups[group]!.pairs) if (this.#pairName[pair] === name) return pair;
    return NONE;
  }

  /** All pairs of an object; inherited ones also where a label of its own hides them. */
  pairsOf(item: number): number[] {
    const at = this.#itemAt[item]!;
    const found: number[] = [];
    for (let i = 0; i < this.#itemLength[item]!; i++) found.push(this.#arena[at + i]!);
    const group = this.#itemGroup[item]!;
    if (group !== 0) for (const pair of this.#groups[group]!.pairs) found.push(pair);
    return found;
  }

  nameOf(pair: number): number {
    return this.#pairName[pair]!;
  }

  valueOf(pair: number): string {
    return this.#pairValue[pair]!;
  }

  /** How many objects at most {@link withPair} visits. */
  countWithPair(pair: number): number {
    let count = this.#owners.size(pair);
    for (const group of this.#heirs.each(pair)) count += this.#members.size(group);
    return count;
  }

  /** Objects that may have the pair, own or inherited; a superset that may name one twice. */
  *withPair(pair: number): Generator<number, void, undefined> {
    yield* this.#owners.each(pair);
    for (const group of this.#heirs.each(pair)) yield* this.#members.each(group);
  }

  /** All pairs of a name that anything holds. */
  pairsOfName(name: number): Iterable<number> {
    return this.#values[name]!.values();
  }

  countPairsOfName(name: number): number {
    return this.#values[name]!.size;
  }

  /** Every object. */
  *items(): Generator<number, void, undefined> {
    for (let item = 0; item < this.#itemsEnd; item++) if (this.#itemLength[item]! >= 0) yield item;
  }

  /** The number of a label's name; to be given back by {@link releaseName}. */
  acquireName(text: string): number {
    let name = this.#names.get(text);
    if (name === undefined) {
      name = this.#freeNames.pop() ?? this.#nameTexts.length;
      this.#nameTexts[name] = text;
      this.#values[name] = new Map();
      this.#nameRefs[name] = 0;
      this.#names.set(text, name);
    }
    this.#nameRefs[name]!++;
    return name;
  }

  releaseName(name: number): void {
    if (--this.#nameRefs[name]! > 0) return;
    this.#names.delete(this.#nameTexts[name]!);
    this.#nameTexts[name] = "";
    this.#freeNames.push(name);
  }

  /** The number of a name with a value; to be given back by {@link releasePair}. */
  acquirePair(name: string, value: string): number {
    const known = this.#names.get(name);
    const found = known === undefined ? undefined : this.#values[known]!.get(value);
    if (found !== undefined) {
      this.#pairRefs[found]!++;
      return found;
    }
    const id = this.acquireName(name);
    const pair = this.#freePairs.pop() ?? this.#pairValue.length;
    if (pair >= this.#pairName.length) {
      this.#pairName = grown(this.#pairName, pair);
      this.#pairRefs = grown(this.#pairRefs, pair);
    }
    this.#pairName[pair] = id;
    this.#pairRefs[pair] = 1;
    this.#pairValue[pair] = value;
    this.#values[id]!.set(value, pair);
    return pair;
  }

  releasePair(pair: number): void {
    if (--this.#pairRefs[pair]! > 0) return;
    const name = this.#pairName[pair]!;
    this.#values[name]!.delete(this.#pairValue[pair]!);
    this.#pairValue[pair] = "";
    this.#freePairs.push(pair);
    this.releaseName(name);
  }

  #acquireAll(labels: Labels): number[] {
    const pairs: number[] = [];
    for (const name of Object.keys(labels)) pairs.push(this.acquirePair(name, labels[name]!));
    return pairs;
  }

  #owns(item: number, pair: number): boolean {
    const at = this.#itemAt[item]!;
    for (let i = 0; i < this.#itemLength[item]!; i++) if (this.#arena[at + i] === pair) return true;
    return false;
  }

  /** Takes over the references to `next`. */
  #setOwn(item: number, next: readonly number[]): boolean {
    const at = this.#itemAt[item]!;
    const length = this.#itemLength[item]!;
    const before: number[] = [];
    for (let i = 0; i < length; i++) before.push(this.#arena[at + i]!);
    if (next.length === length && next.every((pair) => before.includes(pair))) {
      for (const pair of next) this.releasePair(pair);
      return false;
    }
    if (next.length !== length) {
      if (length > 0) this.#free(at, length);
      this.#itemAt[item] = this.#allocate(next.length);
      this.#itemLength[item] = next.length;
    }
    this.#arena.set(next, this.#itemAt[item]!);
    for (const pair of next) if (!before.includes(pair)) this.#owners.add(pair, item);
    for (const pair of before) {
      if (!next.includes(pair)) this.#owners.remove(pair, item);
      this.releasePair(pair);
    }
    return true;
  }

  #free(at: number, length: number): void {
    while (this.#freeRuns.length <= length) this.#freeRuns.push([]);
    this.#freeRuns[length]!.push(at);
  }

  #allocate(length: number): number {
    if (length === 0) return 0;
    const free = this.#freeRuns[length]?.pop();
    if (free !== undefined) return free;
    const at = this.#arenaEnd;
    this.#arenaEnd += length;
    if (this.#arenaEnd > this.#arena.length) this.#arena = grown(this.#arena, this.#arenaEnd);
    return at;
  }

  /** The number of a list of parents, with a reference to it. */
  #groupOf(names: readonly string[]): number {
    if (names.length === 0) {
      this.#groups[0]!.refs++;
      return 0;
    }
    if (names.length === 1) {
      const parent = this.#parentOf(names[0]!);
      const found = this.#parents[parent]!;
      if (found.alone === 0) {
        found.alone = this.#newGroup(parent);
        this.#mergeGroup(found.alone);
      }
      this.#groups[found.alone]!.refs++;
      return found.alone;
    }
    const parents = names.map((name) => this.#parentOf(name));
    const key = parents.join();
    let id = this.#groupsByKey.get(key);
    if (id === undefined) {
      id = this.#newGroup(parents);
      this.#groupsByKey.set(key, id);
      for (const parent of parents) {
        const found = this.#parents[parent]!;
        if (found.groups === undefined) found.groups = new Set([id]);
        else found.groups.add(id);
      }
      this.#mergeGroup(id);
    }
    this.#groups[id]!.refs++;
    return id;
  }

  #newGroup(parents: number | readonly number[]): number {
    const id = this.#freeGroups.pop() ?? this.#groups.length;
    this.#groups[id] = { parents, pairs: NO_PAIRS, refs: 0 };
    return id;
  }

  #releaseGroup(id: number): void {
    const group = this.#groups[id]!;
    if (--group.refs > 0 || id === 0) return;
    const { pairs } = group;
    this.#groups[id] = undefined;
    for (const pair of pairs) {
      this.#heirs.remove(pair, id);
      this.releasePair(pair);
    }
    if (typeof group.parents === "number") {
      this.#parents[group.parents]!.alone = 0;
      this.#dropParent(group.parents);
    } else {
      this.#groupsByKey.delete(group.parents.join());
      for (const parent of new Set(group.parents)) {
        this.#parents[parent]!.groups!.delete(id);
        this.#dropParent(parent);
      }
    }
    this.#freeGroups.push(id);
  }

  /** Computes anew what a group inherits; answers whether that changed. A group holds its pairs: the parent may give them up first. */
  #mergeGroup(id: number): boolean {
    const group = this.#groups[id]!;
    const next = typeof group.parents === "number" ? this.#parents[group.parents]!.pairs : this.#merged(group.parents);
    const before = group.pairs;
    if (next.length === before.length && next.every((pair) => before.includes(pair))) return false;
    group.pairs = next;
    for (const pair of next) {
      this.#pairRefs[pair]!++;
      if (!before.includes(pair)) this.#heirs.add(pair, id);
    }
    for (const pair of before) {
      if (!next.includes(pair)) this.#heirs.remove(pair, id);
      this.releasePair(pair);
    }
    return true;
  }

  #merged(parents: readonly number[]): number[] {
    const names = new Set<number>();
    const found: number[] = [];
    for (const parent of parents) {
      for (const pair of this.#parents[parent]!.pairs) {
        const name = this.#pairName[pair]!;
        if (names.has(name)) continue;
        names.add(name);
        found.push(pair);
      }
    }
    return found;
  }

  #parentOf(name: string): number {
    let id = this.#parentsByName.get(name);
    if (id === undefined) {
      id = this.#freeParents.pop() ?? this.#parents.length;
      this.#parents[id] = { name, pairs: NO_PAIRS, alone: 0, groups: undefined };
      this.#parentsByName.set(name, id);
    }
    return id;
  }

  #dropParent(id: number): void {
    const parent = this.#parents[id]!;
    if (parent.alone !== 0 || (parent.groups?.size ?? 0) > 0 || parent.pairs.length > 0) return;
    this.#parentsByName.delete(parent.name);
    this.#parents[id] = undefined;
    this.#freeParents.push(id);
  }
}

function* groupsOf({ alone, groups }: Parent): Generator<number, void, undefined> {
  if (alone !== 0) yield alone;
  if (groups !== undefined) yield* groups;
}

/** A copy with room for index `need` and half as much again. */
function grown(array: Int32Array<ArrayBuffer>, need: number): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(Math.max(need + 1, array.length + (array.length >> 1)));
  copy.set(array);
  return copy;
}
