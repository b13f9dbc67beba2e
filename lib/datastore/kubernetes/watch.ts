import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import {
  type Kubernetes,
  type KubernetesError,
  type KubernetesObject,
  type ReflectorEvent,
  reflect,
} from "../../kubernetes/index.ts";
import type { WatchEvent, WatchOptions } from "../client.ts";
import { isMarkedDeleted } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { parseJson, stringifyJson } from "../json.ts";
import { selects } from "../select.ts";
import type { Source } from "./connection.ts";
import { asDatastoreError, asUnreadable } from "./errors.ts";
import { keyOf } from "./mapping.ts";

/**
 * A kind's events, from one reflector a source. The reflector keeps what it was told, to report deletions after a gap; here
 * that is a resource's text, which is small, and from which each event gets an object of its own. A kind with several sources
 * has a revision of several, joined by slashes, and is synced when all of them are.
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

export async function* watchSources<R extends Resource>(
  kubernetes: Kubernetes,
  kind: Kind<R>,
  sources: readonly Source[],
  options: WatchOptions,
): AsyncGenerator<WatchEvent<R>, void, undefined> {
  const { from, index } = options;
  const revisions = from === undefined ? sources.map(() => "") : from.split("/");
  if (revisions.length !== sources.length || (from !== undefined && revisions.some((one) => !/^\d+$/.test(one))))
    throw new DatastoreError(
      "INVALID",
      `watch of ${kind.kind}: "${from}" is not a revision of ${kubernetes.name}: begin with a list`,
    );
  const stop = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal;
  if (signal.aborted) return;

  /** The last text told of each object, by source and key. */
  const told = sources.map(() => new Map<string, string>());
  const synced = sources.map(() => from !== undefined);
  const begun = sources.map(() => from !== undefined);
  const revision = (): string => revisions.join("/");
  const resource = (text: string): R => parseJson(text) as R;

  function* there(at: number, kept: Kept): Generator<WatchEvent<R>> {
    const before = told[at]!.get(kept.key);
    if (kept.error) {
      yield { type: "invalid", key: kept.key, error: kept.error, revision: revision() };
    } else if (!kept.hidden) {
      told[at]!.set(kept.key, kept.text!);
      yield {
        type: before === undefined && !isChange ? "added" : "modified",
        resource: resource(kept.text!),
        revision: revision(),
      };
    } else yield* gone(at, kept, before);
  }

  function* gone(at: number, kept: Kept, before = told[at]!.get(kept.key)): Generator<WatchEvent<R>> {
    told[at]!.delete(kept.key);
    // A watch from a revision has not seen everything that its caller knows.
    const text = before ?? (from !== undefined && !ended[at]!.has(kept.key) ? kept.text : undefined);
    if (kept.hidden) ended[at]!.add(kept.key);
    else ended[at]!.delete(kept.key);
    if (text !== undefined) yield { type: "deleted", resource: resource(text), revision: revision() };
  }

  /** Objects of which it was told that they are gone for this watcher, though they are still there. */
  const ended = sources.map(() => new Set<string>());
  /** The event at hand is a change of an object that a watch from a revision has not seen before. */
  let isChange = false;

  if (kind.builtIn && from === undefined) yield { type: "added", resource: kind.builtIn.make(), revision: revision() };
  const streams = sources.map((source, at) =>
    reflect<KubernetesObject, Kept>({
      kubernetes,
      path: source.path,
      query: source.query,
      parse: source.parse ?? JSON.parse,
      signal,
      ...(from === undefined ? {} : { resourceVersion: revisions[at]! }),
      transform: (object) => keep(source, index, object),
    }),
  );
  try {
    for await (const { at, event } of merged(streams)) {
      if (signal.aborted) return;
      if (event.type === "failed") {
        if (begun[at] && synced[at] && event.error.code !== "INVALID") continue;
        if (FINAL.includes(event.error.code)) throw asDatastoreError(event.error);
        continue;
      }
      begun[at] = true;
      revisions[at] = event.resourceVersion;
      switch (event.type) {
        case "added":
        case "modified":
          isChange = event.type === "modified" && from !== undefined && !ended[at]!.has(event.object.key);
          ended[at]!.delete(event.object.key);
          yield* there(at, event.object);
          break;
        case "deleted":
          yield* gone(at, { ...event.object, hidden: false });
          break;
        case "synced":
          synced[at] = true;
          if (synced.every(Boolean)) yield { type: "synced", revision: revision() };
      }
    }
  } finally {
    stop.abort();
    for (const stream of streams) void stream.return(undefined);
  }
}

function keep(source: Source, index: WatchOptions["index"], object: KubernetesObject): Kept | undefined {
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
