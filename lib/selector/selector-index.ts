import { type Compiled, compile } from "./compile.ts";
import type { LabelStore } from "./labels.ts";
import { parse } from "./parse.ts";
import { type Restriction, restrictionsOf } from "./restrictions.ts";
import type { Node } from "./tree.ts";

/** Where a selector is found from the labels of an object: under pairs, under a name, among the rest, or nowhere, since it cannot match. */
type Place = "pair" | "name" | "rest" | "never";

interface Entry {
  readonly text: string;
  readonly place: Place;
  /** The pair or name, or the pairs, under which it lies. */
  readonly at: number | readonly number[];
  /** Made when the selector is first asked: most selectors of a cluster never meet an object of this node. */
  compiled: Compiled | undefined;
}

/** How many objects are looked at between two pauses. */
const STRIDE = 512;
const NO_MATCHES: readonly number[] = [];

/**
 * Which selectors match which objects of a {@link LabelStore}. A selector lies under one of its restrictions, that under which the fewest
 * lie: an object meets only selectors that lie under one of its labels, and a selector only objects that have what it asks for
 * (felix/labelindex does the same by label restrictions).
 */
export class SelectorIndex {
  readonly #store: LabelStore;
  readonly #only: ReadonlySet<number> | undefined;
  readonly #entries: (Entry | undefined)[] = [];
  readonly #free: number[] = [];
  readonly #byPair = new Map<number, number | Set<number>>();
  readonly #byName = new Map<number, number | Set<number>>();
  readonly #rest = new Set<number>();
  readonly #matches = new Map<number, number | readonly number[]>();
  /** By selector: the last evaluation that asked it. */
  readonly #asked: number[] = [];
  #evaluation = 0;
  #size = 0;

  /** `only`: the objects that this index is about; absent: all of the store. The caller keeps it up to date. */
  constructor(store: LabelStore, only?: ReadonlySet<number>) {
    this.#store = store;
    this.#only = only;
  }

  /** How many selectors there are. */
  get size(): number {
    return this.#size;
  }

  /**
   * A selector by its canonical text (throws SelectorError when it is none), or where the caller has it also its tree. Objects that match it
   * are found by {@link enroll}.
   */
  add(text: string, root: Node = parse(text)): number {
    const id = this.#free.pop() ?? this.#entries.length;
    const { place, at } = this.#choosePlace(root);
    this.#entries[id] = { text, place, at, compiled: undefined };
    this.#asked[id] = 0;
    this.#size++;
    if (place === "pair") for (const pair of listOf(at)) put(this.#byPair, pair, id);
    else if (place === "name") for (const name of listOf(at)) put(this.#byName, name, id);
    else if (place === "rest") this.#rest.add(id);
    return id;
  }

  /** Finds the objects that match a selector, tells those not known before, and pauses now and then. */
  *enroll(id: number, started: (item: number) => void, root?: Node): Generator<void, void, undefined> {
    if (this.#only?.size === 0) return;
    let looked = 0;
    for (const item of this.#candidates(id, root)) {
      if (++looked % STRIDE === 0) yield;
      if (!this.#test(id, item)) continue;
      const known = this.#matches.get(item);
      if (known === undefined) this.#matches.set(item, id);
      else if (typeof known === "number") {
        if (known === id) continue;
        this.#matches.set(item, [known, id]);
      } else {
        if (known.includes(id)) continue;
        this.#matches.set(item, [...known, id]);
      }
      started(item);
    }
  }

  /**
   * Removes a selector; it tells nobody. `items`: those that match it; without them they are looked for, and objects whose inherited labels
   * changed must have been evaluated before.
   */
  *remove(id: number, items?: Iterable<number>): Generator<void, void, undefined> {
    const entry = this.#entries[id]!;
    let looked = 0;
    for (const item of items ?? this.#candidates(id)) {
      if (++looked % STRIDE === 0) yield;
      this.#unmatch(item, id);
    }
    if (entry.place === "pair") {
      for (const pair of listOf(entry.at)) {
        take(this.#byPair, pair, id);
        this.#store.releasePair(pair);
      }
    } else if (entry.place === "name") {
      for (const name of listOf(entry.at)) {
        take(this.#byName, name, id);
        this.#store.releaseName(name);
      }
    } else if (entry.place === "rest") this.#rest.delete(id);
    entry.compiled?.release();
    this.#entries[id] = undefined;
    this.#free.push(id);
    this.#size--;
  }

  /** The selectors that match an object, as of when it was last evaluated. */
  matchesOf(item: number): readonly number[] {
    const known = this.#matches.get(item);
    return known === undefined ? NO_MATCHES : typeof known === "number" ? [known] : known;
  }

  /** Evaluates an object anew; answers the selectors that match now. */
  evaluate(item: number): readonly number[] {
    const evaluation = ++this.#evaluation;
    const found: number[] = [];
    const ask = (id: number): void => {
      if (this.#asked[id] === evaluation) return;
      this.#asked[id] = evaluation;
      if (this.#test(id, item)) found.push(id);
    };
    for (const id of this.#rest) ask(id);
    for (const pair of this.#store.pairsOf(item)) {
      each(this.#byPair.get(pair), ask);
      each(this.#byName.get(this.#store.nameOf(pair)), ask);
    }
    if (found.length === 0) this.#matches.delete(item);
    else this.#matches.set(item, found.length === 1 ? found[0]! : found);
    return found;
  }

  /** An object is no more, or no more one of this index. */
  forget(item: number): void {
    this.#matches.delete(item);
  }

  #test(id: number, item: number): boolean {
    const entry = this.#entries[id]!;
    entry.compiled ??= compile(parse(entry.text), this.#store);
    return entry.compiled.matches(item);
  }

  #unmatch(item: number, id: number): void {
    const known = this.#matches.get(item);
    if (known === undefined) return;
    if (known === id) this.#matches.delete(item);
    else if (typeof known !== "number" && known.includes(id)) {
      const left = known.filter((one) => one !== id);
      this.#matches.set(item, left.length === 1 ? left[0]! : left);
    }
  }

  /** The restriction under which the fewest selectors lie, exact values before mere presence; it takes hold of its pairs or name. */
  #choosePlace(root: Node): Pick<Entry, "place" | "at"> {
    let best: Restriction | undefined;
    let fewest = Number.POSITIVE_INFINITY;
    for (const restriction of restrictionsOf(root).values()) {
      const { label, values } = restriction;
      if (values?.size === 0) return { place: "never", at: [] };
      // A label that selectors merely ask for is likely to be common: a little worse than any exact value.
      const crowd = values === undefined ? this.#crowdOfName(label) + 64 : this.#crowdOfPairs(label, values);
      if (crowd >= fewest) continue;
      fewest = crowd;
      best = restriction;
    }
    if (best === undefined) return { place: "rest", at: [] };
    const { label, values } = best;
    if (values === undefined) return { place: "name", at: this.#store.acquireName(label) };
    const pairs = Array.from(values, (value) => this.#store.acquirePair(label, value));
    return { place: "pair", at: pairs.length === 1 ? pairs[0]! : pairs };
  }

  #crowdOfName(label: string): number {
    const name = this.#store.acquireName(label);
    const crowd = sizeOf(this.#byName.get(name));
    this.#store.releaseName(name);
    return crowd;
  }

  #crowdOfPairs(label: string, values: ReadonlySet<string>): number {
    let crowd = values.size - 1;
    for (const value of values) {
      const pair = this.#store.acquirePair(label, value);
      crowd += sizeOf(this.#byPair.get(pair));
      this.#store.releasePair(pair);
    }
    return crowd;
  }

  /** Objects that may match: those that the selector's cheapest restriction leads to. */
  *#candidates(id: number, root?: Node): Generator<number, void, undefined> {
    const entry = this.#entries[id]!;
    if (entry.place === "never") return;
    const store = this.#store;
    let cost = this.#only?.size ?? store.size;
    let pairs: number[] | undefined;
    const held: (() => void)[] = [];
    for (const { label, values } of restrictionsOf(root ?? parse(entry.text)).values()) {
      const found: number[] = [];
      if (values === undefined) {
        const name = store.acquireName(label);
        held.push(() => store.releaseName(name));
        // So many values that counting their objects costs more than it can save.
        if (store.countPairsOfName(name) >= cost) continue;
        found.push(...store.pairsOfName(name));
      } else {
        for (const value of values) {
          const pair = store.acquirePair(label, value);
          held.push(() => store.releasePair(pair));
          found.push(pair);
        }
      }
      let sum = 0;
      for (const pair of found) sum += store.countWithPair(pair);
      if (sum >= cost) continue;
      cost = sum;
      pairs = found;
    }
    try {
      if (pairs === undefined) {
        yield* this.#only ?? store.items();
        return;
      }
      for (const pair of pairs) {
        for (const item of store.withPair(pair)) {
          if (this.#only === undefined ? store.has(item) : this.#only.has(item)) yield item;
        }
      }
    } finally {
      for (const release of held) release();
    }
  }
}

const listOf = (at: number | readonly number[]): readonly number[] => (typeof at === "number" ? [at] : at);

function put(map: Map<number, number | Set<number>>, key: number, id: number): void {
  const found = map.get(key);
  if (found === undefined) map.set(key, id);
  else if (typeof found === "number") map.set(key, new Set([found, id]));
  else found.add(id);
}

function take(map: Map<number, number | Set<number>>, key: number, id: number): void {
  const found = map.get(key);
  if (found === id) map.delete(key);
  else if (typeof found === "object") {
    found.delete(id);
    if (found.size === 0) map.delete(key);
  }
}

function each(found: number | Set<number> | undefined, visit: (id: number) => void): void {
  if (found === undefined) return;
  if (typeof found === "number") visit(found);
  else for (const id of found) visit(id);
}

const sizeOf = (found: number | Set<number> | undefined): number =>
  found === undefined ? 0 : typeof found === "number" ? 1 : found.size;
