/**
 * What sqlite, etcd and the in-memory store have in common: an ordered map of keys to texts under one revision counter,
 * as etcd v3 defines it. A transaction that changes anything takes the next revision; every key remembers the revision that
 * made it and the one that changed it last. {@link KeyValueClient} maps resources onto this, and is all that is above it.
 */

/** A part of the key space: one key, or all keys k with start <= k < end. */
export type Range = { readonly key: string } | { readonly start: string; readonly end: string };

export interface Stored {
  readonly key: string;
  readonly value: string;
  /** The revision of the transaction that wrote this value. */
  readonly modRevision: number;
  /** The revision of the transaction that created the key. */
  readonly createRevision: number;
}

/** A condition of a transaction: the key is absent (0), exists ("any"), or was last changed at this revision. */
export interface Compare {
  readonly key: string;
  readonly modRevision: number | "any";
}

/** One write: `value` undefined deletes the key. A transaction holds at most one write to a key. */
export interface Write {
  readonly key: string;
  readonly value: string | undefined;
}

export interface ReadResult {
  /** The state of the store that all results are from. */
  readonly revision: number;
  /** What each range held, by key; an answer to each range asked, in that order. */
  readonly results: readonly (readonly Stored[])[];
}

export type TransactResult =
  /** `previous` has what each deleted key held, in the order of the writes; undefined for a put, or a key that was absent. */
  | { readonly succeeded: true; readonly revision: number; readonly previous: readonly (Stored | undefined)[] }
  /** Nothing was written. `current` has what each compared key holds, in the order of the compares. */
  | { readonly succeeded: false; readonly revision: number; readonly current: readonly (Stored | undefined)[] };

/** One change. `previous` is what the key held before; undefined when it held nothing, or when that is no longer known. */
export type StoreEvent =
  | { readonly type: "put"; readonly stored: Stored; readonly previous?: Stored | undefined }
  | {
      readonly type: "delete";
      readonly key: string;
      readonly revision: number;
      readonly previous?: Stored | undefined;
    };

export interface KeyValueStore {
  /** For messages; never a secret. */
  readonly name: string;
  /** One round trip, one state of the store. */
  read(ranges: readonly Range[]): Promise<ReadResult>;
  /** All writes when all compares hold, none otherwise. */
  transact(compares: readonly Compare[], writes: readonly Write[]): Promise<TransactResult>;
  /**
   * Every change in the range after revision `from`, in order, a batch a revision or several. Reconnects by itself. Throws {@link Gap}
   * when changes after `from` are no longer known, and returns when `signal` aborts.
   */
  watch(range: Range, from: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]>;
  close(): Promise<void>;
}

/** Thrown by a watch whose next changes the store has forgotten (compaction), or whose store was replaced by another. */
export class Gap extends Error {
  override readonly name = "Gap";
}

/** All keys that begin with `prefix`, which ends in a character below U+10FFFF. */
export function prefixRange(prefix: string): Range {
  const last = prefix.charCodeAt(prefix.length - 1);
  return { start: prefix, end: prefix.slice(0, -1) + String.fromCharCode(last + 1) };
}

export function inRange(range: Range, key: string): boolean {
  return "key" in range ? range.key === key : compareKeys(range.start, key) <= 0 && compareKeys(key, range.end) < 0;
}

/** Orders keys as their UTF-8 bytes, which is how etcd and sqlite order them. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  // UTF-16 order equals UTF-8 order unless surrogates are compared with the few characters above them.
  return isBelowSurrogates(a) && isBelowSurrogates(b)
    ? a < b
      ? -1
      : 1
    : Buffer.compare(Buffer.from(a), Buffer.from(b));
}

const isBelowSurrogates = (text: string): boolean => !/[\ud800-\uffff]/.test(text);
