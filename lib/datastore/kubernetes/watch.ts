import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import {
  type Kubernetes,
  type KubernetesError,
  type KubernetesObject,
  type ReflectorEvent,
  reflect,
} from "../../kubernetes/index.ts";
import type { Index, WatchEvent } from "../client.ts";
import { isMarkedDeleted } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { parseJson, stringifyJson } from "../json.ts";
import { selects } from "../select.ts";
import type { Source } from "./connection.ts";
import { asDatastoreError, asUnreadable } from "./errors.ts";
import { type Change, Follower } from "./follower.ts";
import { keyOf } from "./mapping.ts";

/**
 * A kind's events, from one reflector a source, for all who follow them. The reflector keeps what it was told, to report deletions after
 * a gap; here that is a resource's text, which is small, and there once however many follow: each event gets an object of its own from
 * it. A kind with several sources has a revision of several, joined by slashes, and is synced when all of them are.
 *
 * It reads at the pace of the fastest follower, and not at all while nobody wants more. What a slower one has not taken waits
 * for it (follower.ts). With the last follower it ends.
 *
 * Nobody joins it any more once its server failed it or it has a gap, for what it knows may be old, and it would not notice before the
 * next event that it is not: who comes then lists for himself, and those who come after him with him.
 */

/** What is kept of an object. */
interface Kept {
  readonly key: string;
  /** The resource's text; undefined when it cannot be read. */
  readonly text: string | undefined;
  /** It is there, but not for this watcher: marked deleted, or outside the index. */
  readonly hidden: boolean;
  readonly error?: DatastoreError;
}

/** Errors that will not go away by trying: they end a watch that has not told anything yet. */
const FINAL: readonly KubernetesError["code"][] = ["CONFIG", "UNAUTHORIZED", "FORBIDDEN", "INVALID", "NOT_FOUND"];

export interface KindWatchOptions {
  readonly index: Index | undefined;
  readonly from: string | undefined;
  /** Who comes from now on needs another. May be called more than once. */
  readonly onEnd: () => void;
}

export class KindWatch {
  readonly #kubernetes: Kubernetes;
  readonly #kind: Kind;
  readonly #sources: readonly Source[];
  readonly #options: KindWatchOptions;
  readonly #stop = new AbortController();
  readonly #followers = new Set<Follower>();
  #taken = Promise.withResolvers<void>();
  /** The last text told of each object. */
  readonly #told = new Map<string, string>();
  /** Objects that cannot be read now. */
  readonly #invalid = new Map<string, DatastoreError>();
  /** Objects of which it was told that they are gone for this watcher, though they are still there. */
  readonly #ended = new Set<string>();
  readonly #revisions: string[];
  /** By source: everything that was there has come. */
  readonly #synced: boolean[];

  /** Throws INVALID when it cannot begin at `from`. Begins with the first follower. */
  constructor(kubernetes: Kubernetes, kind: Kind, sources: readonly Source[], options: KindWatchOptions) {
    const { from } = options;
    this.#kubernetes = kubernetes;
    this.#kind = kind;
    this.#sources = sources;
    this.#options = options;
    this.#revisions = from === undefined ? sources.map(() => "") : from.split("/");
    if (
      this.#revisions.length !== sources.length ||
      (from !== undefined && this.#revisions.some((one) => !/^\d+$/.test(one)))
    )
      throw new DatastoreError(
        "INVALID",
        `watch of ${kind.kind}: "${from}" is not a revision of ${kubernetes.name}: begin with a list`,
      );
    this.#synced = sources.map(() => from !== undefined);
  }

  /** Tells what is known so far, `synced` once that is everything, and what changes from then on. To be iterated at once. */
  async *follow<R extends Resource>(signal?: AbortSignal): AsyncGenerator<WatchEvent<R>, void, undefined> {
    if (signal?.aborted) return;
    const follower = this.#join();
    // Whoever stops may never ask for more.
    const end = (): void => {
      follower.end();
      this.#leave(follower);
    };
    signal?.addEventListener("abort", end);
    try {
      const { builtIn } = this.#kind;
      if (builtIn && this.#options.from === undefined)
        yield { type: "added", resource: builtIn.make() as R, revision: this.#revision };
      for (let changes = await follower.take(); changes; changes = await follower.take()) {
        for (const change of changes) {
          if (signal?.aborted) return;
          yield "text" in change
            ? { type: change.type, resource: parseJson(change.text) as R, revision: change.revision }
            : change;
        }
      }
    } finally {
      signal?.removeEventListener("abort", end);
      this.#leave(follower);
    }
  }

  get #revision(): string {
    return this.#revisions.join("/");
  }

  #join(): Follower {
    const follower = new Follower(() => this.#taken.resolve());
    this.#followers.add(follower);
    const revision = this.#revision;
    for (const [key, text] of this.#told) follower.put({ type: "added", key, text, revision });
    for (const [key, error] of this.#invalid) follower.put({ type: "invalid", key, error, revision });
    if (this.#options.from === undefined && this.#synced.every(Boolean)) follower.put({ type: "synced", revision });
    if (this.#followers.size === 1) void this.#run();
    this.#taken.resolve();
    return follower;
  }

  #leave(follower: Follower): void {
    this.#followers.delete(follower);
    this.#taken.resolve();
    if (this.#followers.size > 0) return;
    this.#options.onEnd();
    this.#stop.abort();
  }

  async #run(): Promise<void> {
    const { index, from, onEnd } = this.#options;
    const { signal } = this.#stop;
    const streams = this.#sources.map((source, at) =>
      reflect<KubernetesObject, Kept>({
        kubernetes: this.#kubernetes,
        path: source.path,
        query: source.query,
        parse: source.parse ?? JSON.parse,
        signal,
        onGap: onEnd,
        ...(from === undefined ? {} : { resourceVersion: this.#revisions[at]! }),
        transform: (object) => keep(source, index, object),
      }),
    );
    try {
      for await (const { at, event } of merged(streams)) {
        if (signal.aborted) break;
        this.#heard(at, event);
        await this.#room();
      }
      for (const follower of this.#followers) follower.end();
    } catch (error) {
      onEnd();
      for (const follower of this.#followers) follower.fail(error);
    } finally {
      this.#stop.abort();
      for (const stream of streams) void stream.return(undefined);
    }
  }

  /** Resolves when a follower waits for more. */
  async #room(): Promise<void> {
    while (this.#followers.size > 0 && [...this.#followers].every(({ isBehind }) => isBehind)) {
      this.#taken = Promise.withResolvers();
      await this.#taken.promise;
    }
  }

  #tell(change: Change): void {
    for (const follower of this.#followers) follower.put(change);
  }

  #heard(at: number, event: ReflectorEvent<Kept>): void {
    if (event.type === "failed") {
      const { error } = event;
      if (this.#synced[at] && error.code !== "INVALID") this.#options.onEnd();
      else if (FINAL.includes(error.code)) throw asDatastoreError(error);
      return;
    }
    this.#revisions[at] = event.resourceVersion;
    switch (event.type) {
      case "added":
      case "modified":
        this.#there(event.object, event.type === "modified");
        break;
      case "deleted":
        this.#gone({ ...event.object, hidden: false });
        break;
      case "synced":
        this.#synced[at] = true;
        if (this.#synced.every(Boolean)) this.#tell({ type: "synced", revision: this.#revision });
    }
  }

  #there(kept: Kept, isModified: boolean): void {
    const { key, text, error, hidden } = kept;
    // A watch from a revision has not seen everything that its caller knows.
    const isChange = isModified && this.#options.from !== undefined && !this.#ended.has(key);
    const before = this.#told.get(key);
    this.#ended.delete(key);
    this.#invalid.delete(key);
    if (error) {
      this.#invalid.set(key, error);
      this.#tell({ type: "invalid", key, error, revision: this.#revision });
    } else if (!hidden) {
      this.#told.set(key, text!);
      const type = before === undefined && !isChange ? "added" : "modified";
      this.#tell({ type, key, text: text!, revision: this.#revision });
    } else this.#gone(kept);
  }

  #gone({ key, text, hidden }: Kept): void {
    const before = this.#told.get(key);
    this.#told.delete(key);
    this.#invalid.delete(key);
    const last = before ?? (this.#options.from !== undefined && !this.#ended.has(key) ? text : undefined);
    if (hidden) this.#ended.add(key);
    else this.#ended.delete(key);
    if (last !== undefined) this.#tell({ type: "deleted", key, text: last, revision: this.#revision });
  }
}

function keep(source: Source, index: Index | undefined, object: KubernetesObject): Kept | undefined {
  const key = keyOf(source.path, object);
  try {
    const resource = source.read(object);
    if (!resource) return undefined;
    const hidden = isMarkedDeleted(resource) || !selects(index, resource);
    return { key, text: stringifyJson(resource), hidden };
  } catch (error) {
    return { key, text: undefined, hidden: false, error: asUnreadable(error, key) };
  }
}

/** Events of several streams as they come. Ends when all have ended. */
async function* merged<T>(
  streams: readonly AsyncGenerator<ReflectorEvent<T>, void, undefined>[],
): AsyncGenerator<{ at: number; event: ReflectorEvent<T> }, void, undefined> {
  if (streams.length === 1) {
    for await (const event of streams[0]!) yield { at: 0, event };
    return;
  }
  const next = (at: number) => streams[at]!.next().then((result) => ({ at, result }));
  const waiting = new Map(streams.map((_, at) => [at, next(at)]));
  while (waiting.size > 0) {
    const { at, result } = await Promise.race(waiting.values());
    if (result.done) waiting.delete(at);
    else {
      yield { at, event: result.value };
      waiting.set(at, next(at));
    }
  }
}
