/**
 * A process that waits for work gives back the memory that its start, or a burst of work, needed: garbage, code that was compiled for it, and
 * pages of the executable. A node has several such processes, which wait nearly always.
 */
import { releaseExecutable } from "../../lib/sys/resident.ts";

/** How often it is looked at, in milliseconds. */
const LOOK_MS = 10_000;
/** The share of a processor up to which it waits for work. */
const QUIET = 0.03;
/** More resident than at its last rest by so much: there is something to give back. */
const GROWN_BYTES = 8 * 2 ** 20;
/** What is known of a process at a look. */
export interface Look {
  /** Processor time since the last look, in microseconds, and the time itself in milliseconds. */
  readonly processorUs: number;
  readonly elapsedMs: number;
  /** In bytes. */
  readonly resident: number;
}

/** `collect`: what is no longer used. `release`: the executable's pages, of which collecting uses many. */
export type GiveBack = "collect" | "release";

/** Says at each look what to give back now. */
export class Rest {
  /** Resident at rest, in bytes; undefined: it has never rested. */
  #least: number | undefined;
  #last: GiveBack | undefined;

  look({ processorUs, elapsedMs, resident }: Look): GiveBack | undefined {
    this.#last = this.#next(processorUs / 1000 <= elapsedMs * QUIET, resident);
    return this.#last;
  }

  #next(quiet: boolean, resident: number): GiveBack | undefined {
    // It is done when the process has nothing else to do, and so by the next look.
    if (this.#last === "collect") return "release";
    // What a process uses at rest has come back by now.
    if (this.#last === "release") this.#least = resident;
    if (this.#least !== undefined) this.#least = Math.min(this.#least, resident);
    const grown = this.#least === undefined || resident >= this.#least + GROWN_BYTES;
    return quiet && grown ? "collect" : undefined;
  }
}

/** Looks for as long as the process lives, and does not keep it alive. */
export function restWhenQuiet(): void {
  const rest = new Rest();
  let usage = process.cpuUsage();
  let at = performance.now();
  setInterval(() => {
    const { user, system } = process.cpuUsage(usage);
    const elapsedMs = performance.now() - at;
    const giveBack = rest.look({ processorUs: user + system, elapsedMs, resident: process.memoryUsage.rss() });
    if (giveBack === "collect") Bun.shrink();
    else if (giveBack === "release") releaseExecutable();
    usage = process.cpuUsage();
    at = performance.now();
  }, LOOK_MS).unref();
}
