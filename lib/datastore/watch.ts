import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { pause } from "../wait/index.ts";
import type { WatchEvent, WatchOptions } from "./client.ts";
import { decode, isMarkedDeleted } from "./codec.ts";
import { DatastoreError } from "./errors.ts";
import { parseKey, rangesOf } from "./keys.ts";
import { selects } from "./select.ts";
import { Gap, type KeyValueStore, type Range, type Stored, type StoreEvent } from "./store.ts";

/**
 * Turns a store's changes into a kind's events. It remembers what the watcher was told of each key, so that a change is `added`,
 * `modified` or `deleted` from the watcher's point of view (also when an object enters or leaves the index, becomes
 * unreadable, or is marked deleted), and so that after a gap the difference to a new list can be told, deletions included.
 */
interface Known {
  /** The last value that could be read and that the watcher was told of; undefined when there was none. */
  readonly told: Stored | undefined;
  /** The revision that was looked at last: the same one is not reported twice. */
  readonly seen: number;
}

/** Waits between attempts to go on when the store does not answer, in milliseconds. */
const RETRY = { first: 100, most: 5000 };

/** What a watch needs of a store. */
type Watched = Pick<KeyValueStore, "read" | "watch">;

export async function* watchKind<R extends Resource>(
  watched: Watched | Promise<Watched>,
  kind: Kind<R>,
  options: WatchOptions,
): AsyncGenerator<WatchEvent<R>, void, undefined> {
  const store = await watched;
  const signal = options.signal ?? new AbortController().signal;
  const range = covering(rangesOf(kind as unknown as Kind, options.index));
  const known = new Map<string, Known>();
  const { builtIn } = kind;
  const isBuiltIn = (key: string): boolean =>
    builtIn !== undefined && parseKey(kind as unknown as Kind, key)?.name === builtIn.name;
  const read = (stored: Stored): R | undefined => {
    const resource = decode(kind, stored);
    return resource && !isMarkedDeleted(resource) && selects(options.index, resource) ? resource : undefined;
  };

  /** What the watcher was told of a key: from its own list, when that is where it has it from. */
  const toldBefore = (key: string, previous: Stored | undefined): Stored | undefined => {
    const before = known.get(key);
    if (before || !previous) return before?.told;
    try {
      return read(previous) && previous;
    } catch (error) {
      if (error instanceof DatastoreError) return undefined;
      throw error;
    }
  };

  function* put(stored: Stored, previous?: Stored): Generator<WatchEvent<R>> {
    const { key, modRevision } = stored;
    if (isBuiltIn(key)) return;
    if (known.get(key)?.seen === modRevision) return;
    const told = toldBefore(key, previous);
    const revision = String(modRevision);
    let resource: R | undefined;
    try {
      resource = read(stored);
    } catch (error) {
      if (!(error instanceof DatastoreError)) throw error;
      known.set(key, { told, seen: modRevision });
      yield { type: "invalid", key, error, revision };
      return;
    }
    if (resource) {
      known.set(key, { told: stored, seen: modRevision });
      yield { type: told ? "modified" : "added", resource, revision };
    } else yield* gone(key, modRevision, previous);
  }

  function* gone(key: string, at: number, previous?: Stored): Generator<WatchEvent<R>> {
    if (isBuiltIn(key)) return;
    const told = toldBefore(key, previous);
    known.delete(key);
    const resource = told && read(told);
    if (resource) yield { type: "deleted", resource, revision: String(at) };
  }

  function* difference(revision: number, list: readonly Stored[]): Generator<WatchEvent<R>> {
    const present = new Set(list.map(({ key }) => key));
    for (const key of [...known.keys()]) if (!present.has(key)) yield* gone(key, revision);
    for (const stored of list) yield* put(stored);
    yield { type: "synced", revision: String(revision) };
  }

  let from: number;
  if (options.from === undefined) {
    const { revision, results } = await store.read([range]);
    if (builtIn) yield { type: "added", resource: builtIn.make(), revision: String(revision) };
    yield* difference(revision, results[0]!);
    from = revision;
  } else {
    from = /^\d{1,15}$/.test(options.from) ? Number(options.from) : refuse(kind, options.from);
    // What the watcher knows from its own list: without it, deletions after a gap could not be told.
    const { revision, results } = await store.read([range]);
    for (const stored of results[0]!) {
      try {
        if (stored.createRevision <= from && read(stored))
          known.set(stored.key, { told: stored, seen: Math.min(stored.modRevision, from) });
      } catch (error) {
        if (!(error instanceof DatastoreError)) throw error;
      }
    }
    // Not from this store, or from a time before it was restored.
    if (from > revision) {
      known.clear();
      yield* difference(revision, results[0]!);
      from = revision;
    }
  }

  while (!signal.aborted) {
    try {
      for await (const events of store.watch(range, from, signal)) {
        for (const event of events) {
          if (signal.aborted) return;
          yield* event.type === "put"
            ? put(event.stored, event.previous)
            : gone(event.key, event.revision, event.previous);
          from = revisionOf(event);
        }
      }
      return;
    } catch (error) {
      if (error instanceof DatastoreError && error.code === "UNAVAILABLE") {
        await pause(RETRY.first, signal);
        continue;
      }
      if (!(error instanceof Gap)) throw error;
      const list = await listAgain(store, range, signal);
      if (!list) return;
      yield* difference(list.revision, list.stored);
      from = list.revision;
    }
  }
}

/** The list after a gap. A store that does not answer is asked again until it does, or until the watch ends. */
async function listAgain(store: Watched, range: Range, signal: AbortSignal) {
  for (let wait = RETRY.first; !signal.aborted; wait = Math.min(wait * 2, RETRY.most)) {
    try {
      const { revision, results } = await store.read([range]);
      return { revision, stored: results[0]! };
    } catch (error) {
      if (!(error instanceof DatastoreError) || error.code !== "UNAVAILABLE") throw error;
      await pause(wait, signal);
    }
  }
  return undefined;
}

const revisionOf = (event: StoreEvent): number => (event.type === "put" ? event.stored.modRevision : event.revision);

/** One range around several; the index decides what of it counts. */
function covering(ranges: readonly Range[]): Range {
  if (ranges.length === 1) return ranges[0]!;
  const starts = ranges.map((range) => ("key" in range ? range.key : range.start)).sort();
  const ends = ranges.map((range) => ("key" in range ? `${range.key}\0` : range.end)).sort();
  return { start: starts[0]!, end: ends.at(-1)! };
}

function refuse(kind: { kind: string }, from: string): never {
  throw new DatastoreError(
    "INVALID",
    `watch of ${kind.kind}: "${from}" is not a revision of this datastore: begin with a list`,
  );
}
