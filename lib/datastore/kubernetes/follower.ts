import type { DatastoreError } from "../errors.ts";

/** What a watch tells of an object that can be read. */
interface ObjectChange {
  readonly type: "added" | "modified" | "deleted";
  readonly key: string;
  /** The resource's; of a deleted one its last. */
  readonly text: string;
  readonly revision: string;
}

/** A watch's event before an object is made of it. */
export type Change =
  | ObjectChange
  | { readonly type: "invalid"; readonly key: string; readonly error: DatastoreError; readonly revision: string }
  | { readonly type: "synced"; readonly revision: string };

/** With so many changes waiting, those of one object are made one. */
const MOST = 1_000;

/** One who follows a watch, at a pace of its own: what it was not given yet waits here, a few changes an object at most. */
export class Follower {
  #waiting: Change[] = [];
  #most = MOST;
  #failure: { readonly error: unknown } | undefined;
  #isEnded = false;
  #wake = Promise.withResolvers<void>();
  readonly #onTaken: () => void;

  /** `onTaken`: nothing waits any more. */
  constructor(onTaken: () => void) {
    this.#onTaken = onTaken;
  }

  get isBehind(): boolean {
    return this.#waiting.length > 0;
  }

  put(change: Change): void {
    this.#waiting.push(change);
    if (this.#waiting.length > this.#most) {
      this.#waiting = compacted(this.#waiting);
      this.#most = Math.max(MOST, 2 * this.#waiting.length);
    }
    this.#wake.resolve();
  }

  /** After what waits. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake.resolve();
  }

  /** At once. */
  end(): void {
    this.#isEnded = true;
    this.#wake.resolve();
  }

  /** What has come since, at least one; undefined at the end. Throws what the watch failed with. */
  async take(): Promise<readonly Change[] | undefined> {
    while (!this.#isEnded) {
      if (this.#waiting.length > 0) {
        const taken = this.#waiting;
        this.#waiting = [];
        this.#most = MOST;
        this.#onTaken();
        return taken;
      }
      if (this.#failure) throw this.#failure.error;
      this.#wake = Promise.withResolvers();
      await this.#wake.promise;
    }
    return undefined;
  }
}

/** What the changes of one object come to. */
interface Sum {
  /** Whether it was told of before them. */
  known?: boolean;
  gone?: ObjectChange;
  there?: ObjectChange;
  invalid?: Change;
}

/** Of each object what its changes come to, in the order of the last ones: as after a gap. */
export function compacted(changes: readonly Change[]): Change[] {
  const sums = new Map<string, Sum>();
  let synced: Change | undefined;
  for (const change of changes) {
    if (change.type === "synced") {
      synced = change;
      continue;
    }
    const { key } = change;
    const sum = sums.get(key) ?? {};
    sums.delete(key);
    sums.set(key, sum);
    if (change.type === "invalid") sum.invalid = change;
    else add(sum, change);
  }
  const left: Change[] = [];
  for (const { known, gone, there, invalid } of sums.values()) {
    if (gone) left.push(gone);
    if (there) left.push({ ...there, type: known && !gone ? "modified" : "added" });
    if (invalid) left.push(invalid);
  }
  if (synced) left.push(synced);
  return left;
}

function add(sum: Sum, change: ObjectChange): void {
  sum.known ??= change.type !== "added";
  delete sum.invalid;
  if (change.type === "deleted") {
    delete sum.there;
    // One of its name that comes then is another.
    if (sum.known) sum.gone ??= change;
  } else sum.there = change;
}
