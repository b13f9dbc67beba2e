/** A binary heap of moments. An item may be in it more than once; who takes one out knows whether it is still meant. */
export class Schedule<Item> {
  readonly #at: number[] = [];
  readonly #items: Item[] = [];

  /** Infinity when it is empty. */
  get first(): number {
    return this.#at[0] ?? Number.POSITIVE_INFINITY;
  }

  add(at: number, item: Item): void {
    let hole = this.#at.length;
    while (hole > 0) {
      const parent = (hole - 1) >> 1;
      if (this.#at[parent]! <= at) break;
      this.#at[hole] = this.#at[parent]!;
      this.#items[hole] = this.#items[parent]!;
      hole = parent;
    }
    this.#at[hole] = at;
    this.#items[hole] = item;
  }

  /** The item of the first moment. The heap must not be empty. */
  take(): Item {
    const taken = this.#items[0]!;
    const at = this.#at.pop()!;
    const item = this.#items.pop()!;
    const length = this.#at.length;
    if (length === 0) return taken;
    let hole = 0;
    for (let child = 1; child < length; child = 2 * hole + 1) {
      if (child + 1 < length && this.#at[child + 1]! < this.#at[child]!) child++;
      if (this.#at[child]! >= at) break;
      this.#at[hole] = this.#at[child]!;
      this.#items[hole] = this.#items[child]!;
      hole = child;
    }
    this.#at[hole] = at;
    this.#items[hole] = item;
    return taken;
  }
}
