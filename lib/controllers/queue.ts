import { systemTime, type Time } from "./time.ts";

export interface WorkQueueOptions {
  /**
   * Does what there is to do for a key, and looks at what is now, not at what it was when the key was added. Throws: it is tried
   * again, later each time. A number: it succeeded, and wants to be called again after so many milliseconds.
   */
  readonly work: (key: string, signal: AbortSignal) => Promise<number | undefined>;
  /** How many keys at once; 4 when absent. Never one key twice at once. */
  readonly workers?: number;
  /** Milliseconds until a key that failed is tried again: doubled from `first` to `most`, and up to a quarter more by chance. 100 and 60000 when absent. */
  readonly backoff?: { readonly first: number; readonly most: number };
  /** Hears of what failed. */
  readonly onFailure?: (key: string, error: unknown, attempt: number, wait: number) => void;
  readonly time?: Time;
}

interface Item {
  /** When it is due. */
  at: number;
  /** When it first became due without having succeeded since. */
  since: number;
  attempts: number;
  running: boolean;
  /** Added again while it ran: what it looked at may have been old. */
  again: boolean;
}

/**
 * Keys that want something done. A key is there once however often it is added; one that fails waits by itself, so it
 * never keeps others back.
 */
export class WorkQueue {
  readonly #options: WorkQueueOptions;
  readonly #time: Time;
  readonly #items = new Map<string, Item>();
  readonly #settled = new Set<() => void>();
  #wake: (() => void) | undefined;
  #running = 0;

  constructor(options: WorkQueueOptions) {
    this.#options = options;
    this.#time = options.time ?? systemTime;
  }

  /** Now, also when it waits for its next attempt. */
  add(key: string): void {
    this.#add(key, this.#time.now());
  }

  /** After so many milliseconds; earlier if it is due earlier already. */
  addAfter(key: string, milliseconds: number): void {
    this.#add(key, this.#time.now() + milliseconds);
  }

  /** How many keys are known, those that wait included. */
  get size(): number {
    return this.#items.size;
  }

  /** Keys that failed when they were tried last. */
  get failing(): readonly string[] {
    return [...this.#items].filter(([, { attempts }]) => attempts > 0).map(([key]) => key);
  }

  /** For how long the oldest key that is due, or failed, has not succeeded, in milliseconds; 0 when there is none. */
  get oldest(): number {
    const now = this.#time.now();
    let oldest = 0;
    for (const { since } of this.#items.values()) oldest = Math.max(oldest, now - since);
    return oldest;
  }

  /** Resolves when nothing is due and nothing runs. */
  settled(): Promise<void> {
    if (this.#isSettled()) return Promise.resolve();
    return new Promise((resolve) => this.#settled.add(resolve));
  }

  /** Works until the signal aborts, and resolves when what was under way has ended. */
  async run(signal: AbortSignal): Promise<void> {
    const workers = this.#options.workers ?? 4;
    const under = new Set<Promise<void>>();
    const wake = () => this.#wake?.();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted) {
        const key = this.#running < workers ? this.#next() : undefined;
        if (key !== undefined) {
          const work = this.#carryOut(key, signal).finally(() => under.delete(work));
          under.add(work);
          continue;
        }
        await this.#wait(signal);
      }
      await Promise.all(under);
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  #add(key: string, at: number): void {
    const item = this.#items.get(key);
    if (!item) this.#items.set(key, { at, since: at, attempts: 0, running: false, again: false });
    else if (item.running && at <= this.#time.now()) item.again = true;
    else if (at < item.at || item.running) {
      item.at = item.running ? Math.min(item.at, at) : at;
      if (item.attempts === 0) item.since = Math.min(item.since, at);
    }
    this.#wake?.();
  }

  /** The key that is due for longest. */
  #next(): string | undefined {
    const now = this.#time.now();
    let best: string | undefined;
    let at = Number.POSITIVE_INFINITY;
    for (const [key, item] of this.#items) {
      if (item.running || item.at > now || item.at >= at) continue;
      best = key;
      at = item.at;
    }
    return best;
  }

  async #carryOut(key: string, signal: AbortSignal): Promise<void> {
    const item = this.#items.get(key)!;
    item.running = true;
    item.again = false;
    item.at = Number.POSITIVE_INFINITY;
    this.#running++;
    let after: number | undefined;
    try {
      after = await this.#options.work(key, signal);
      item.attempts = 0;
    } catch (error) {
      const { first, most } = this.#options.backoff ?? { first: 100, most: 60_000 };
      after = Math.min(most, first * 2 ** Math.min(item.attempts, 30)) * (1 + this.#time.random() / 4);
      item.attempts++;
      if (!signal.aborted) this.#options.onFailure?.(key, error, item.attempts, after);
    }
    item.running = false;
    this.#running--;
    const now = this.#time.now();
    const due = Math.min(
      item.at,
      item.again ? now : Number.POSITIVE_INFINITY,
      after === undefined ? Number.POSITIVE_INFINITY : now + after,
    );
    if (due === Number.POSITIVE_INFINITY) this.#items.delete(key);
    else {
      item.at = due;
      if (item.attempts === 0) item.since = due;
    }
    this.#wake?.();
    this.#tellSettled();
  }

  async #wait(signal: AbortSignal): Promise<void> {
    this.#tellSettled();
    let soonest = Number.POSITIVE_INFINITY;
    if (this.#running < (this.#options.workers ?? 4))
      for (const { at, running } of this.#items.values()) if (!running) soonest = Math.min(soonest, at);
    const woken = new AbortController();
    const waiting = new Promise<void>((resolve) => {
      this.#wake = resolve;
      if (signal.aborted) resolve();
    });
    const wait = soonest - this.#time.now();
    const timer =
      wait === Number.POSITIVE_INFINITY
        ? new Promise<void>(() => {})
        : this.#time.sleep(Math.max(0, wait), woken.signal);
    await Promise.race([waiting, timer]);
    this.#wake = undefined;
    woken.abort();
  }

  #isSettled(): boolean {
    const now = this.#time.now();
    for (const { at, running } of this.#items.values()) if (running || at <= now) return false;
    return true;
  }

  #tellSettled(): void {
    if (this.#settled.size === 0 || !this.#isSettled()) return;
    for (const resolve of this.#settled) resolve();
    this.#settled.clear();
  }
}
