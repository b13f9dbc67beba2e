/**
 * The loop that keeps a picture of a resource: list in pages, watch from the list's revision, resume from the last event's.
 *
 * It keeps what it delivered by key, so that after a gap (the revision is gone, the resource was away, the stream is out of order)
 * a new list can be reported as differences. Revisions are compared for equality, and as numbers only to notice what is older than
 * what is known already: an API server's cache may lag behind another's, and something between may hold events back.
 */

import { pause } from "../wait/index.ts";
import type { WatchEvent } from "./client.ts";
import { KubernetesError } from "./errors.ts";
import type { ReflectOptions, ReflectorEvent } from "./reflector-types.ts";
import type { KubernetesObject } from "./wire.ts";

const BACKOFF = { first: 500, most: 30_000 };
/** Three times as long as an API server lets a stream be silent (bookmarks come once a minute). */
const IDLE = 180_000;
/** An API server is asked to end a watch after so many seconds, plus up to as many by chance, as client-go does. */
const WATCH_SECONDS = 300;
/** A stream that lasted so long was a good one, also when nothing came: the next failure is a first one. Milliseconds. */
const GOOD = 10_000;
/** After so many failures of a stream at the same place, it is the place: an event there cannot be told. */
const STUCK = 3;

interface Known<T> {
  readonly value: T;
  readonly version: string;
  readonly uid: string;
}

export async function* runReflector<O extends KubernetesObject, T>(
  options: ReflectOptions<O, T>,
): AsyncGenerator<ReflectorEvent<T>, void, undefined> {
  const { kubernetes, path, query, parse } = options;
  const ending = new AbortController();
  const abort = () => ending.abort();
  options.signal?.addEventListener("abort", abort);
  if (options.signal?.aborted) abort();
  const { signal } = ending;
  const random = options.random ?? Math.random;
  const backoff = options.backoff ?? BACKOFF;
  const picture = new Picture(options);
  /** Where to watch from; undefined: list first. */
  let from = options.resourceVersion;
  /** Failures since something last went well. */
  let attempt = 0;
  try {
    while (!signal.aborted) {
      /** When the stream began; time spent on what fails is no time that went well. */
      let opened: number | undefined;
      const lasted = () => (opened === undefined ? 0 : performance.now() - opened);
      let relist = false;
      let failure: KubernetesError;
      try {
        if (from === undefined) {
          from = yield* picture.list(signal);
          if (from === undefined) return;
        }
        let last = from;
        let came = false;
        const stream = kubernetes.watch<O>(path, {
          resourceVersion: from,
          query,
          signal,
          parse,
          timeoutSeconds: WATCH_SECONDS + Math.floor(random() * WATCH_SECONDS),
          idleTimeout: options.idleTimeout ?? IDLE,
          onOpen: () => {
            opened = performance.now();
          },
        });
        for await (const event of stream) {
          if (signal.aborted) return;
          const version = event.object.metadata?.resourceVersion ?? "";
          if (last !== "0" && isOlder(version, last)) {
            relist = true;
            throw new KubernetesError(
              "SERVER",
              `${kubernetes.name}: watch ${path.plural}: revision ${version} came after ${last}: events are out of order, so the list is read again`,
            );
          }
          came = true;
          attempt = 0;
          if (event.type === "BOOKMARK") yield { type: "bookmark", resourceVersion: version };
          else yield* picture.apply(event, version);
          if (version !== "") last = from = picture.floor = version;
        }
        if (signal.aborted) return;
        if (came || lasted() >= GOOD) {
          attempt = 0;
          // As asked for, after a while: go on at once.
          if (lasted() < GOOD) await pause(backoff.first * random(), signal);
          continue;
        }
        failure = new KubernetesError(
          "CONNECTION",
          `${kubernetes.name}: watch ${path.plural}: ended as soon as it began`,
        );
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof KubernetesError)) throw error;
        failure = error;
      }
      if (lasted() >= GOOD) attempt = 0;
      attempt++;
      const wait = Math.min(backoff.first * 2 ** (attempt - 1), backoff.most) * (1 + random());
      const isStuck = opened !== undefined && failure.code === "SERVER" && attempt >= STUCK;
      if (from !== undefined && (relist || isStuck || losesRevision(failure))) {
        from = undefined;
        options.onGap?.();
        // This is how it is meant to be, once: not a failure. All nodes meet it together, so they do not list together.
        if (failure.code === "GONE" && attempt === 1) {
          await pause(backoff.first * random(), signal);
          continue;
        }
      }
      yield { type: "failed", error: failure, attempt, wait };
      await pause(wait, signal);
    }
  } finally {
    options.signal?.removeEventListener("abort", abort);
    abort();
  }
}

/** What was delivered, and what a list or an event changes about it. */
class Picture<O extends KubernetesObject, T> {
  readonly #options: ReflectOptions<O, T>;
  readonly #transform: (object: O) => T | undefined;
  readonly #known = new Map<string, Known<T>>();
  /** It began at a revision and has not listed yet: objects it does not know may still be known to whoever began it. */
  #partial: boolean;
  /** The revision of what was delivered: a list from a cache must not be older. Absent: ask etcd itself. */
  floor: string | undefined = "0";

  constructor(options: ReflectOptions<O, T>) {
    this.#options = options;
    this.#partial = options.resourceVersion !== undefined;
    this.#transform = options.transform ?? ((object) => object as unknown as T);
  }

  /** Delivers the difference between what is and what was delivered, and answers the revision; undefined when `signal` aborted. */
  async *list(signal: AbortSignal): AsyncGenerator<ReflectorEvent<T>, string | undefined, undefined> {
    const { kubernetes, path, fromCache, limit, parse } = this.#options;
    const atLeast =
      fromCache && this.floor !== undefined
        ? { resourceVersion: this.floor, resourceVersionMatch: "NotOlderThan" }
        : {};
    const seen = new Set<string>();
    let version = "";
    try {
      const pages = kubernetes.listPages<O>(path, {
        query: { ...this.#options.query, ...atLeast },
        signal,
        parse,
        ...(limit === undefined ? {} : { limit }),
      });
      for await (const page of pages) {
        if (page.restarted) seen.clear();
        version = page.resourceVersion;
        for (const object of page.items) {
          const key = keyOf(object);
          seen.add(key);
          yield* this.#put(key, object, object.metadata?.resourceVersion ?? "");
          if (signal.aborted) return undefined;
        }
      }
    } catch (error) {
      if (signal.aborted) return undefined;
      // The cache lags far behind, or etcd was restored from a backup and its revisions begin again further back.
      if (isTooLarge(error)) this.floor = undefined;
      throw error;
    }
    for (const [key, { value }] of this.#known)
      if (!seen.has(key)) {
        this.#known.delete(key);
        yield { type: "deleted", key, object: value, resourceVersion: version };
      }
    this.floor = version;
    this.#partial = false;
    yield { type: "synced", resourceVersion: version };
    return version;
  }

  *apply(event: WatchEvent<O>, version: string): Generator<ReflectorEvent<T>> {
    const { type, object } = event;
    const key = keyOf(object);
    if (type !== "DELETED") {
      yield* this.#put(key, object, version, type === "MODIFIED");
      return;
    }
    const known = this.#known.get(key);
    this.#known.delete(key);
    const value = known ? known.value : this.#partial ? this.#transform(object) : undefined;
    if (value !== undefined) yield { type: "deleted", key, object: value, resourceVersion: version };
  }

  /**
   * Also what is older than what was delivered: no list and no event is, unless etcd was restored from a backup, and then it is what
   * counts. `existed`: the API server says that this is a change, whether or not the object was delivered before.
   */
  *#put(key: string, object: O, resourceVersion: string, existed = false): Generator<ReflectorEvent<T>> {
    const known = this.#known.get(key);
    const uid = object.metadata?.uid ?? "";
    const isSame = known !== undefined && known.uid === uid;
    if (isSame && known.version === resourceVersion) return;
    const value = this.#transform(object);
    if (known && (value === undefined || !isSame)) {
      this.#known.delete(key);
      yield { type: "deleted", key, object: known.value, resourceVersion };
    }
    if (value === undefined) return;
    this.#known.set(key, { value, version: resourceVersion, uid });
    if (isSame) yield { type: "modified", key, object: value, previous: known.value, resourceVersion };
    else if (existed && !known && this.#partial) yield { type: "modified", key, object: value, resourceVersion };
    else yield { type: "added", key, object: value, resourceVersion };
  }
}

/** `namespace/name`, or the name of what has no namespace. */
const keyOf = ({ metadata }: KubernetesObject): string =>
  metadata?.namespace ? `${metadata.namespace}/${metadata.name}` : (metadata?.name ?? "");

/** The watch cannot go on from where it was, or what happened meanwhile cannot be told from events. */
function losesRevision(error: KubernetesError): boolean {
  // NOT_FOUND: the CRD was removed, and perhaps its objects with it.
  return ["GONE", "INVALID", "NOT_FOUND"].includes(error.code) || isTooLarge(error);
}

/** The API server does not know so late a revision. */
const isTooLarge = (error: unknown): boolean =>
  error instanceof KubernetesError &&
  Boolean(error.details?.causes?.some(({ reason }) => reason === "ResourceVersionTooLarge"));

/** Whether revision `a` is before `b`; false when they are not numbers. They exceed what a double can hold. */
function isOlder(a: string, b: string): boolean {
  if (!/^[1-9]\d*$/.test(a) || !/^[1-9]\d*$/.test(b)) return false;
  return a.length === b.length ? a < b : a.length < b.length;
}
