import type { Kubernetes, Query } from "./client.ts";
import type { KubernetesError } from "./errors.ts";
import type { ResourcePath } from "./paths.ts";
import type { KubernetesObject } from "./wire.ts";

export interface ReflectOptions<O extends KubernetesObject, T> {
  readonly kubernetes: Kubernetes;
  readonly path: ResourcePath;
  /** `labelSelector`, `fieldSelector`. */
  readonly query?: Query | undefined;
  /** Ends the iteration at once. */
  readonly signal?: AbortSignal | undefined;
  /**
   * Watch from here without a list first; only changes are delivered. What the reflector has not seen itself it cannot report
   * as deleted after a gap.
   */
  readonly resourceVersion?: string | undefined;
  /**
   * What is kept and delivered instead of the object: keep as little as the work needs. Undefined: the object does not count, and
   * one that did is reported as deleted. Must not throw. The object itself when absent.
   */
  readonly transform?: ((object: O) => T | undefined) | undefined;
  /**
   * The first list may come from the API server's cache (`resourceVersion=0`), which costs it much less when every node asks, but
   * may lag behind what this process itself has written. False when absent.
   */
  readonly fromCache?: boolean | undefined;
  /** What was delivered has a gap, and is listed anew: until `synced`, what comes is some of what changed meanwhile. */
  readonly onGap?: (() => void) | undefined;
  /** Objects a page; 500 when absent. */
  readonly limit?: number | undefined;
  readonly parse?: ((text: string) => unknown) | undefined;
  /** Milliseconds between attempts: doubled from `first` to `most`, each plus up to as much again by chance; 500 and 30000 when absent. */
  readonly backoff?: { readonly first: number; readonly most: number } | undefined;
  /** A stream that is silent for so many milliseconds is opened anew; 180000 when absent. An API server sends a bookmark each minute. */
  readonly idleTimeout?: number | undefined;
  /** From 0 to below 1; `Math.random` when absent. */
  readonly random?: (() => number) | undefined;
}

export type ReflectorEvent<T> =
  | { readonly type: "added"; readonly key: string; readonly object: T; readonly resourceVersion: string }
  | {
      readonly type: "modified";
      readonly key: string;
      readonly object: T;
      /** Absent when the reflector began at a revision and had not seen the object. */
      readonly previous?: T;
      readonly resourceVersion: string;
    }
  /** `object` is the last state the reflector delivered, or, when it had none, the state at the deletion. */
  | { readonly type: "deleted"; readonly key: string; readonly object: T; readonly resourceVersion: string }
  /** Everything that existed when the list was made has been delivered, and what had gone is reported as deleted. */
  | { readonly type: "synced"; readonly resourceVersion: string }
  /** Nothing changed up to here: a later `reflect` may begin at this revision. */
  | { readonly type: "bookmark"; readonly resourceVersion: string }
  /** It could not list or watch; it will try again in `wait` milliseconds. What was delivered stays in force. */
  | { readonly type: "failed"; readonly error: KubernetesError; readonly attempt: number; readonly wait: number };
