/** Changes of the best on their way to `onBest`: many at a time, in objects that are used again. New ones for a table of 100,000 were 10 MB of garbage. */
import type { PrefixTable } from "./prefixes.ts";
import type { Best, BestListener, Prefix } from "./types.ts";

/** Told together. */
const MOST = 1024;

interface Entry {
  readonly prefix: { -readonly [K in keyof Prefix]: K extends "words" ? [number, number, number, number] : Prefix[K] };
  paths: Best["paths"];
}

export class BestChanges {
  readonly #onBest: BestListener;
  readonly #entries: Entry[] = [];
  #count = 0;

  constructor(onBest: BestListener) {
    this.#onBest = onBest;
  }

  add(prefixes: PrefixTable, id: number, paths: Best["paths"]): void {
    let entry = this.#entries[this.#count];
    if (!entry) {
      entry = { prefix: { family: 4, length: 0, words: [0, 0, 0, 0] }, paths };
      this.#entries.push(entry);
    }
    prefixes.read(id, entry.prefix);
    entry.paths = paths;
    if (++this.#count === MOST) this.flush();
  }

  flush(): void {
    const count = this.#count;
    if (count === 0) return;
    this.#count = 0;
    this.#onBest(count === this.#entries.length ? this.#entries : this.#entries.slice(0, count));
  }

  clear(): void {
    this.#count = 0;
  }
}
