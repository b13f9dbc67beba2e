/** What is best, on its way through the kernel policy into the kernel. */
import type { Cidr } from "../ip/index.ts";
import type { LearnedRoute } from "./kernel/index.ts";
import { FAMILIES, type Family } from "./model/index.ts";
import type { KernelPolicy } from "./policy/index.ts";
import { type Best, cidrOf } from "./rib/index.ts";

/** How long other work waits for a slice, in milliseconds. */
const SLICE_MS = 10;
/** Routes of a slice at most, and between two looks at the clock. */
const SLICE_ROUTES = 5_000;
const CHUNK = 100;

export interface ProgrammingOptions {
  /** Of a family, everything there is; may be left and gone on with while it changes. */
  entries(family: Family): Iterable<Best>;
  program(destination: Cidr, route: LearnedRoute | undefined): void;
  /** Lets others have their turn first. Default setImmediate. */
  readonly defer?: (slice: () => void) => void;
  /** Routes of a slice at most. Default 5,000. */
  readonly sliceRoutes?: number;
}

/**
 * What changed is programmed at once, by the policy that is in force then. With another policy everything is judged again: a walk in slices, as a table
 * of 500,000 routes takes a second. What changes while one is under way it finds as it is when it comes by, and nothing is lost where it has been.
 */
export class Programming {
  readonly #options: ProgrammingOptions;
  readonly #policies: Partial<Record<Family, KernelPolicy>> = {};
  readonly #walks = new Map<Family, Iterator<Best>>();
  #scheduled = false;
  #waiting: (() => void)[] = [];

  constructor(options: ProgrammingOptions) {
    this.#options = options;
  }

  /** `again`: what was programmed is judged by it, too. */
  setPolicy(family: Family, policy: KernelPolicy, again: boolean): void {
    this.#policies[family] = policy;
    if (!again) return;
    this.#walks.get(family)?.return?.();
    this.#walks.set(family, this.#options.entries(family)[Symbol.iterator]());
    this.#schedule();
  }

  told(changes: readonly Best[]): void {
    for (const best of changes) this.#program(best);
  }

  /** The tables are others: they tell everything themselves. */
  beginAnew(): void {
    for (const walk of this.#walks.values()) walk.return?.();
    this.#walks.clear();
  }

  /** Resolves when everything was judged by the policy of today. */
  async settled(): Promise<void> {
    if (this.#scheduled) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    (this.#options.defer ?? setImmediate)(this.#slice);
  }

  readonly #slice = (): void => {
    this.#scheduled = false;
    const until = performance.now() + SLICE_MS;
    let left = this.#options.sliceRoutes ?? SLICE_ROUTES;
    for (; left > 0 && this.#walks.size > 0 && performance.now() < until; left -= CHUNK) {
      this.#walk(Math.min(left, CHUNK));
    }
    if (this.#walks.size > 0) {
      this.#schedule();
      return;
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  };

  /** So many routes of the family whose turn it is. */
  #walk(count: number): void {
    const family = FAMILIES.find((one) => this.#walks.has(one))!;
    const walk = this.#walks.get(family)!;
    for (let i = 0; i < count; i++) {
      const { value, done } = walk.next();
      if (done) {
        this.#walks.delete(family);
        return;
      }
      this.#program(value);
    }
  }

  #program({ prefix, paths }: Best): void {
    const destination = cidrOf(prefix);
    const [first] = paths;
    const verdict = first && this.#policies[prefix.family]?.(prefix, first.attributes, first.preference);
    if (!verdict) {
      this.#options.program(destination, undefined);
      return;
    }
    const nextHops = paths.map(({ attributes }) => attributes.nextHop);
    this.#options.program(destination, { destination, nextHops, ...verdict });
  }
}
