import { pause } from "../wait/index.ts";

/**
 * A token bucket: `burst` requests at once, `qps` a second after that, in the order they asked. Tokens may be owed, which is
 * what makes those who wait wait for each other.
 */
export class Limiter {
  readonly #qps: number;
  readonly #burst: number;
  readonly #now: () => number;
  #tokens: number;
  #filled: number;

  constructor(qps: number, burst: number, now: () => number = () => performance.now()) {
    this.#qps = qps;
    this.#burst = Math.max(1, burst);
    this.#now = now;
    this.#tokens = this.#burst;
    this.#filled = now();
  }

  /** Takes a token and answers how many milliseconds to wait before using it. */
  reserve(): number {
    const now = this.#now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filled) / 1000) * this.#qps);
    this.#filled = now;
    this.#tokens -= 1;
    return this.#tokens >= 0 ? 0 : (-this.#tokens / this.#qps) * 1000;
  }

  /** Gives back a token that was not used. */
  cancel(): void {
    this.#tokens = Math.min(this.#burst, this.#tokens + 1);
  }

  /** Waits for a token. False: there is none within `most` milliseconds, or the signal aborted. */
  async take(most: number, signal: AbortSignal): Promise<boolean> {
    const wait = this.reserve();
    if (wait === 0) return true;
    if (wait <= most) {
      await pause(wait, signal);
      if (!signal.aborted) return true;
    }
    this.cancel();
    return false;
  }
}
