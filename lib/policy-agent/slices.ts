/** How long one stretch of calculation may keep everything else waiting, in milliseconds. */
const SLICE_MS = 10;

/**
 * Long work in short stretches: whoever works asks after each step whether to pause. Shared by all who work, because what counts is for how
 * long the event loop (health, netlink events, a new endpoint) has not had its turn.
 */
export class Slices {
  #began = performance.now();
  #turn: Promise<void> | undefined;

  /** To wait for before the next step; undefined while there is time left. */
  pause(): Promise<void> | undefined {
    if (this.#turn) return this.#turn;
    if (performance.now() - this.#began < SLICE_MS) return undefined;
    this.#turn = new Promise((resolve) => {
      setImmediate(() => {
        this.#turn = undefined;
        this.#began = performance.now();
        resolve();
      });
    });
    return this.#turn;
  }

  /** A stretch begins now: nothing has run since the event loop had its turn. */
  begin(): void {
    this.#began = performance.now();
  }
}
