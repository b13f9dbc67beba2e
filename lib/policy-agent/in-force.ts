import type { LocalWorkload } from "./calc/index.ts";

interface Waiter {
  readonly isIt: (workload: LocalWorkload) => boolean;
  readonly done: () => void;
}

/** Whose policy the kernel enforces, as of the last round, and who waits for it. */
export class InForce {
  #now: ReadonlyMap<string, LocalWorkload> = new Map();
  readonly #waiting = new Map<string, Set<Waiter>>();

  /** Tells what is in force now, by the workloads' keys. */
  set(now: ReadonlyMap<string, LocalWorkload>): void {
    this.#now = now;
    for (const [key, waiters] of this.#waiting) {
      const workload = now.get(key);
      if (!workload) continue;
      for (const { isIt, done } of [...waiters]) if (isIt(workload)) done();
    }
  }

  /** Resolves when a workload of this key is in force and is the one; rejects with the signal's reason. */
  when(key: string, isIt: Waiter["isIt"], signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const now = this.#now.get(key);
      if (now && isIt(now)) return resolve();
      if (signal.aborted) return reject(signal.reason);
      const waiters = this.#waiting.get(key) ?? new Set();
      const leave = (): void => {
        signal.removeEventListener("abort", abort);
        waiters.delete(waiter);
        if (waiters.size === 0 && this.#waiting.get(key) === waiters) this.#waiting.delete(key);
      };
      const abort = (): void => {
        leave();
        reject(signal.reason);
      };
      const waiter: Waiter = {
        isIt,
        done: () => {
          leave();
          resolve();
        },
      };
      waiters.add(waiter);
      this.#waiting.set(key, waiters);
      signal.addEventListener("abort", abort);
    });
  }
}
