/** Many ids under one key. `ids` may hold ids that left, and ids twice; `live` is how many really are members. */
interface List {
  ids: Int32Array;
  length: number;
  live: number;
}

/** Below this length a list is not worth sweeping. */
const SWEEP_FROM = 16;

/**
 * Sets of small integers under small integers, for hundreds of thousands of keys of which most have one member: a key costs eight
 * bytes, a further member four. Removal only counts; a list is swept when half of it has left, so every operation is cheap on
 * average. What {@link each} visits is therefore a superset that may name an id twice: callers look at each id themselves anyway.
 */
export class Postings {
  /** By key: a member, -1 for none, or several. */
  readonly #lists: (number | List)[] = [];
  readonly #holds: (key: number, id: number) => boolean;

  /** `holds`: whether the id is a member now, as its owner knows; asked when a list is swept. */
  constructor(holds: (key: number, id: number) => boolean) {
    this.#holds = holds;
  }

  /** The id becomes a member; it must not be one. */
  add(key: number, id: number): void {
    while (this.#lists.length <= key) this.#lists.push(-1);
    const found = this.#lists[key]!;
    if (typeof found === "number") {
      if (found < 0) this.#lists[key] = id;
      else this.#lists[key] = { ids: Int32Array.of(found, id, 0, 0), length: 2, live: 2 };
      return;
    }
    if (found.length === found.ids.length) {
      const grown = new Int32Array(found.length + (found.length >> 1));
      grown.set(found.ids);
      found.ids = grown;
    }
    found.ids[found.length++] = id;
    found.live++;
  }

  /** The id is no member any more, and its owner knows that already. */
  remove(key: number, id: number): void {
    const found = this.#lists[key];
    if (found === undefined) return;
    if (typeof found === "number") {
      if (found === id) this.#lists[key] = -1;
      return;
    }
    found.live--;
    if (found.live === 0) this.#lists[key] = -1;
    else if (found.length >= SWEEP_FROM && found.live * 2 < found.length) this.#sweep(key, found);
  }

  /** How many members the key has. */
  size(key: number): number {
    const found = this.#lists[key];
    if (found === undefined) return 0;
    return typeof found === "number" ? (found < 0 ? 0 : 1) : found.live;
  }

  /** The members, and perhaps former ones; an id may come twice. The key must not change meanwhile. */
  *each(key: number): Generator<number, void, undefined> {
    const found = this.#lists[key];
    if (found === undefined) return;
    if (typeof found === "number") {
      if (found >= 0) yield found;
      return;
    }
    for (let i = 0; i < found.length; i++) yield found.ids[i]!;
  }

  #sweep(key: number, list: List): void {
    const sorted = list.ids.subarray(0, list.length).sort();
    let kept = 0;
    let last = -1;
    for (const id of sorted) {
      if (id === last || !this.#holds(key, id)) continue;
      sorted[kept++] = id;
      last = id;
    }
    list.ids = list.ids.slice(0, Math.max(kept + (kept >> 2), 4));
    list.length = kept;
    list.live = kept;
  }
}
