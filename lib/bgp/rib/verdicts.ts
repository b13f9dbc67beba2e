/** What policies answered, as interned sets. */
import type { PathAttributes } from "../wire/index.ts";
import type { AttributeSet, AttributeTable } from "./attributes.ts";

/** Policies answer equal input with the very same object more often than not: then finding its set costs no comparison. */
export class Verdicts {
  readonly #table: AttributeTable;
  readonly #known = new WeakMap<PathAttributes, AttributeSet>();
  #last: AttributeSet | undefined;

  constructor(table: AttributeTable) {
    this.#table = table;
  }

  set(attributes: PathAttributes, preference: number): AttributeSet {
    const last = this.#last;
    if (last?.attributes === attributes && last.preference === preference && last.id >= 0) return last;
    const known = this.#known.get(attributes);
    let set: AttributeSet;
    if (known && known.preference === preference) {
      set = this.#table.alive(known);
    } else {
      set = this.#table.made(attributes, preference);
    }
    if (set !== known) this.#known.set(attributes, set);
    this.#last = set;
    return set;
  }
}
