/**
 * Turns for everybody: what sessions have read is worked off in small slices, round and round, and the event loop gets its turn between. So a
 * peer that floods delays the others' KEEPALIVEs, and ours, by milliseconds.
 */

/** Works for about as long as it is let; whether there is more to do. */
export interface Work {
  work(until: number): boolean;
}

/** Milliseconds: of one session at a time, and of all before the event loop has its turn. */
const SLICE = 2;
const TURN = 8;

export class Turns {
  readonly #waiting = new Set<Work>();
  #scheduled = false;

  /** It will be called. Again, while it waits, changes nothing. */
  schedule(work: Work): void {
    this.#waiting.add(work);
    this.#plan();
  }

  cancel(work: Work): void {
    this.#waiting.delete(work);
  }

  #plan(): void {
    if (this.#scheduled || this.#waiting.size === 0) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#run();
    });
  }

  #run(): void {
    const end = performance.now() + TURN;
    // A set is walked in the order of insertion, and what is added during the walk comes at its end: round robin.
    for (const work of this.#waiting) {
      const now = performance.now();
      if (now >= end) break;
      this.#waiting.delete(work);
      if (work.work(Math.min(end, now + SLICE))) this.#waiting.add(work);
    }
    this.#plan();
  }
}

/** All sessions of the process take turns with each other. */
export const sharedTurns = new Turns();
