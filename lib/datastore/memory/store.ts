import { DatastoreError } from "../errors.ts";
import {
  type Compare,
  compareKeys,
  Gap,
  inRange,
  type KeyValueStore,
  type Range,
  type ReadResult,
  type Stored,
  type StoreEvent,
  type TransactResult,
  type Write,
} from "../store.ts";

interface Change {
  readonly revision: number;
  readonly event: StoreEvent;
}

/** The data of an in-memory datastore: any number of clients share one. */
export class MemoryData {
  revision = 1;
  readonly #values = new Map<string, Stored>();
  #changes: Change[] = [];
  #compacted = 0;
  readonly #listeners = new Set<() => void>();

  read(ranges: readonly Range[]): ReadResult {
    return { revision: this.revision, results: ranges.map((range) => this.#range(range)) };
  }

  transact(compares: readonly Compare[], writes: readonly Write[]): TransactResult {
    const current = compares.map(({ key }) => this.#values.get(key));
    if (!compares.every((compare, i) => holds(compare, current[i])))
      return { succeeded: false, revision: this.revision, current };
    const revision = this.revision + 1;
    let changed = false;
    const previous = writes.map(({ key, value }) => {
      const before = this.#values.get(key);
      if (value === undefined) {
        if (!before) return undefined;
        this.#values.delete(key);
        this.#changes.push({ revision, event: { type: "delete", key, revision, previous: before } });
      } else {
        const stored = { key, value, modRevision: revision, createRevision: before?.createRevision ?? revision };
        this.#values.set(key, stored);
        this.#changes.push({ revision, event: { type: "put", stored, previous: before } });
      }
      changed = true;
      return value === undefined ? before : undefined;
    });
    if (changed) {
      this.revision = revision;
      for (const wake of [...this.#listeners]) wake();
    }
    return { succeeded: true, revision: this.revision, previous };
  }

  /** Forgets which changes led to the present state: watches that have not seen them must list again. */
  compact(): void {
    this.#changes = [];
    this.#compacted = this.revision;
  }

  changesAfter(range: Range, from: number): { events: StoreEvent[]; revision: number } {
    if (from < this.#compacted || from > this.revision) throw new Gap(`changes after revision ${from} are gone`);
    const events = this.#changes
      .filter(
        ({ revision, event }) => revision > from && inRange(range, event.type === "put" ? event.stored.key : event.key),
      )
      .map(({ event }) => event);
    return { events, revision: this.revision };
  }

  /** Resolves at the next change after `from`, or when the signal aborts. */
  changed(from: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (this.revision > from || signal.aborted) return resolve();
      const done = () => {
        this.#listeners.delete(done);
        signal.removeEventListener("abort", done);
        resolve();
      };
      this.#listeners.add(done);
      signal.addEventListener("abort", done);
    });
  }

  #range(range: Range): Stored[] {
    if ("key" in range) {
      const stored = this.#values.get(range.key);
      return stored ? [stored] : [];
    }
    return [...this.#values.values()]
      .filter(({ key }) => inRange(range, key))
      .sort((a, b) => compareKeys(a.key, b.key));
  }
}

/** What is about to happen; given to the hook of a {@link MemoryStore}. */
export interface StoreOperation {
  readonly type: "read" | "write";
  /** Keys, or the starts of ranges, that it reads; or keys that it writes. */
  readonly keys: readonly string[];
  /** How many operations this client carried out before. */
  readonly operation: number;
  /** How many writes this client carried out or tried before. */
  readonly write: number;
  /** Carries out a write after its answer was given up: what a broken connection had sent on already. */
  late(): void;
}

/**
 * What a hook may answer: nothing (go on); `conflict` (a write finds its conditions not met); `unavailable` (not carried out, the client is told
 * that the datastore does not answer); `lost` (carried out, but the client is told so too); `crash` and `crash-after` (the client's
 * process ends before, or just after, the operation: it and all later operations throw {@link Crashed}).
 */
export type Fault = "conflict" | "unavailable" | "lost" | "crash" | "crash-after" | undefined;

/** Awaited before every operation, so that a test can decide who goes next and what goes wrong. */
export type Hook = (operation: StoreOperation) => Fault | Promise<Fault>;

/** Thrown by the operations of a client whose simulated process has ended. */
export class Crashed extends Error {
  override readonly name = "Crashed";
}

export class MemoryStore implements KeyValueStore {
  readonly name = "memory";
  #operations = 0;
  #writes = 0;
  #crashed = false;
  #closed = false;

  constructor(
    readonly data: MemoryData,
    readonly hook?: Hook,
  ) {}

  async read(ranges: readonly Range[]): Promise<ReadResult> {
    const keys = ranges.map((range) => ("key" in range ? range.key : range.start));
    const fault = await this.#before("read", keys, () => {});
    const result = this.data.read(ranges);
    return this.#after(fault, result);
  }

  async transact(compares: readonly Compare[], writes: readonly Write[]): Promise<TransactResult> {
    const fault = await this.#before(
      "write",
      writes.map(({ key }) => key),
      () => void this.data.transact(compares, writes),
    );
    if (fault === "conflict") {
      const { revision, results } = this.data.read(compares.map(({ key }) => ({ key })));
      return { succeeded: false, revision, current: results.map((found) => found[0]) };
    }
    return this.#after(fault, this.data.transact(compares, writes));
  }

  async *watch(range: Range, from: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]> {
    let seen = from;
    while (!signal.aborted && !this.#closed) {
      const { events, revision } = this.data.changesAfter(range, seen);
      seen = revision;
      if (events.length > 0) yield events;
      await this.data.changed(seen, signal);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
  }

  async #before(type: StoreOperation["type"], keys: readonly string[], late: () => void): Promise<Fault> {
    this.#refuse();
    const operation = this.#operations++;
    const write = type === "write" ? this.#writes++ : this.#writes;
    const fault = this.hook ? ((await this.hook({ type, keys, operation, write, late })) ?? undefined) : undefined;
    this.#refuse();
    if (fault === "crash") {
      this.#crashed = true;
      throw new Crashed(`crashed before ${type} ${keys.join(", ")}`);
    }
    if (fault === "unavailable") throw unavailable();
    return fault;
  }

  #after<T>(fault: Fault, result: T): T {
    if (fault === "crash-after") {
      this.#crashed = true;
      throw new Crashed("crashed after an operation");
    }
    if (fault === "lost") throw unavailable();
    return result;
  }

  #refuse(): void {
    if (this.#crashed) throw new Crashed("crashed earlier");
    if (this.#closed) throw new DatastoreError("UNAVAILABLE", "memory: the client is closed");
  }
}

function holds(compare: Compare, current: Stored | undefined): boolean {
  if (compare.modRevision === "any") return current !== undefined;
  return (current?.modRevision ?? 0) === compare.modRevision;
}

const unavailable = (): DatastoreError => new DatastoreError("UNAVAILABLE", "memory: no answer, as the test asked for");
