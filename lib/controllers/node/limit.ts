/** Does things side by side, at most `most` at once over all calls, and waits for all of them whatever fails. */
export class Limit {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(most: number) {
    this.#free = most;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#free++;
    }
  }

  /** Answers what failed, and why. */
  async each<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<{ item: T; error: unknown }[]> {
    const failed: { item: T; error: unknown }[] = [];
    await Promise.all(
      items.map((item) => this.run(() => work(item)).catch((error: unknown) => void failed.push({ item, error }))),
    );
    return failed;
  }
}
