import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { type Client, DatastoreError, type Index } from "../datastore/index.ts";
import { type Kubernetes, type KubernetesObject, type Query, type ResourcePath, reflect } from "../kubernetes/index.ts";
import type { ControllerContext } from "./controller.ts";
import { systemTime, type Time } from "./time.ts";

/** What there is of a kind, as far as this process has heard. It may lag behind, but it never has a hole for good. */
export interface Mirror<T> {
  /** By `name`, or `namespace/name`. */
  readonly items: ReadonlyMap<string, T>;
  /** Whether all that there was at the beginning is in it. */
  readonly synced: boolean;
  /** Stored objects that cannot be read, by key: what relies on the whole looks here. */
  readonly unreadable: ReadonlyMap<string, Error>;
  /** Resolves once it is synced; never when the signal aborts before. */
  whenSynced(): Promise<void>;
  /** Ends when the signal aborts. Never throws. */
  readonly done: Promise<void>;
}

interface Listening<T> {
  readonly signal: AbortSignal;
  /** After every change; `now` is undefined when it is gone, `before` when it is new. */
  readonly onChange?: (key: string, now: T | undefined, before: T | undefined) => void;
  readonly onSynced?: () => void;
  /** It cannot be watched now, and why; undefined: it can again. What is known stays. */
  readonly onTrouble?: (why: string | undefined) => void;
  readonly time?: Time;
}

export interface MirrorOptions<R extends Resource, T> extends Listening<T> {
  readonly client: Client;
  readonly kind: Kind<R>;
  readonly index?: Index;
  /** What is kept of an object; the object itself when absent. Undefined: it does not count. */
  readonly transform?: (resource: R) => T | undefined;
  /** A cluster may not have the kind; that counts as having none of it, and is looked at again now and then. */
  readonly optional?: boolean;
}

export interface KubernetesMirrorOptions<O extends KubernetesObject, T> extends Listening<T> {
  readonly kubernetes: Kubernetes;
  readonly path: ResourcePath;
  readonly query?: Query;
  readonly transform?: (object: O) => T | undefined;
  readonly optional?: boolean;
}

/** What the mirrors of a controller have in common: it reports what any of them cannot watch. `report` says how it stands. */
export function inCommon(
  { client, time, report: tell }: Pick<ControllerContext, "client" | "time" | "report">,
  signal: AbortSignal,
) {
  const troubles = new Map<string, string>();
  const report = (): void => tell(troubles.size === 0, [...troubles.values()].join("; "));
  const common = (what: string) => ({
    client,
    signal,
    time,
    onTrouble: (why: string | undefined) => {
      if (why === undefined) troubles.delete(what);
      else troubles.set(what, why);
      report();
    },
  });
  return { report, common };
}

/** Until a kind that could not be watched is tried again, in milliseconds. */
const RETRY = { first: 500, most: 30_000 };

/** A mirror of a kind of the datastore. */
export function mirror<R extends Resource, T = R>(options: MirrorOptions<R, T>): Mirror<T> {
  const { client, kind, index, signal, optional } = options;
  const transform = options.transform ?? ((resource: R) => resource as unknown as T);
  return new Copy<T>(options, async (copy) => {
    try {
      for await (const event of client.watch(kind, { signal, ...(index && { index }) })) {
        copy.heard();
        if (event.type === "synced") copy.synced_();
        else if (event.type === "invalid") copy.invalid(event.key, event.error);
        else {
          const { name, namespace } = event.resource.metadata;
          const key = namespace === undefined ? name : `${namespace}/${name}`;
          copy.set(key, event.type === "deleted" ? undefined : transform(event.resource));
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof DatastoreError)) throw error;
      if (optional && error.kindMissing) copy.none();
      else copy.trouble(error.message);
    }
  });
}

/** A mirror of one of Kubernetes' own kinds, or of any other that an API server has. */
export function mirrorKubernetes<O extends KubernetesObject, T = O>(options: KubernetesMirrorOptions<O, T>): Mirror<T> {
  const { kubernetes, path, query, signal, transform, optional } = options;
  return new Copy<T>(options, async (copy) => {
    for await (const event of reflect<O, T>({ kubernetes, path, query, signal, transform })) {
      if (event.type === "failed") {
        if (optional && event.error.resourceMissing) copy.none();
        else copy.trouble(event.error.message);
        continue;
      }
      copy.heard();
      if (event.type === "synced") copy.synced_();
      else if (event.type !== "bookmark") copy.set(event.key, event.type === "deleted" ? undefined : event.object);
    }
  });
}

class Copy<T> implements Mirror<T> {
  readonly items = new Map<string, T>();
  readonly unreadable = new Map<string, Error>();
  readonly done: Promise<void>;
  synced = false;
  readonly #options: Listening<T>;
  readonly #waiting: (() => void)[] = [];
  /** What a list that began after a break has not shown yet. */
  #stale = new Set<string>();
  #why: string | undefined;
  #failures = 0;

  constructor(options: Listening<T>, watch: (copy: Copy<T>) => Promise<void>) {
    this.#options = options;
    this.done = this.#run(watch);
  }

  async #run(watch: (copy: Copy<T>) => Promise<void>): Promise<void> {
    const { signal, time = systemTime } = this.#options;
    while (!signal.aborted) {
      this.#stale = new Set(this.items.keys());
      this.unreadable.clear();
      try {
        await watch(this);
      } catch (error) {
        this.trouble((error as Error).message);
      }
      const wait = Math.min(RETRY.most, RETRY.first * 2 ** Math.min(this.#failures, 10));
      this.#failures++;
      if (!signal.aborted) await time.sleep(wait * (1 + time.random() / 4), signal);
    }
  }

  whenSynced(): Promise<void> {
    if (this.synced) return Promise.resolve();
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  set(key: string, now: T | undefined): void {
    const before = this.items.get(key);
    this.#stale.delete(key);
    if (now === undefined) this.items.delete(key);
    else this.items.set(key, now);
    if (now !== undefined || before !== undefined) this.#options.onChange?.(key, now, before);
  }

  invalid(key: string, error: Error): void {
    this.unreadable.set(key, error);
  }

  synced_(): void {
    for (const key of this.#stale) this.set(key, undefined);
    this.#failures = 0;
    this.trouble(undefined);
    const first = !this.synced;
    this.synced = true;
    if (first) this.#options.onSynced?.();
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** The kind does not exist. */
  none(): void {
    this.synced_();
  }

  heard(): void {
    this.#failures = 0;
  }

  trouble(why: string | undefined): void {
    if (why === this.#why) return;
    this.#why = why;
    this.#options.onTrouble?.(why);
  }
}
