import type { KeyValueStore, Range, Stored } from "./store.ts";

export interface Answer {
  readonly revision: number;
  /** What each range of this request held. */
  readonly results: readonly (readonly Stored[])[];
}

interface Waiting {
  readonly ranges: readonly Range[];
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Joins reads that are asked for in one synchronous stretch into one round trip: a plugin's
 * `Promise.all([get(…), get(…), list(…)])` is one transaction, and all of it is from one state of the store.
 */
export class ReadBatcher {
  #waiting: Waiting[] = [];

  constructor(readonly store: KeyValueStore) {}

  read(ranges: readonly Range[]): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ ranges, resolve, reject });
      if (this.#waiting.length === 1) void Promise.resolve().then(() => this.#flush());
    });
  }

  async #flush(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      const all: Range[] = [];
      for (const { ranges } of waiting) all.push(...ranges);
      const { revision, results } = await this.store.read(all);
      let next = 0;
      for (const { ranges, resolve } of waiting) {
        resolve({ revision, results: results.slice(next, next + ranges.length) });
        next += ranges.length;
      }
    } catch (error) {
      for (const { reject } of waiting) reject(error);
    }
  }
}
