import type { ClusterConfig } from "./config.ts";
import { KubernetesError } from "./errors.ts";
import { describe, type ResourcePath, urlPath } from "./paths.ts";
import { type OpenStream, Transport } from "./transport.ts";
import type { KubernetesObject, Status } from "./wire.ts";

export type Query = Readonly<Record<string, string | number | boolean | undefined>>;

export interface RequestOptions {
  readonly query?: Query | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds for the request with its retries; the configuration's when absent. */
  readonly timeout?: number | undefined;
  /** How the answer's text becomes a value, instead of the client's `parse`. */
  readonly parse?: ((text: string) => unknown) | undefined;
}

export interface BodyOptions extends RequestOptions {
  /** A value, or text that is sent as it is. */
  readonly body?: unknown;
  /** `application/json` when absent. */
  readonly contentType?: string | undefined;
}

/** How a patch is to be understood: RFC 7386, Kubernetes' own (built-in resources only), RFC 6902. */
export type PatchType = "merge" | "strategic" | "json";

export interface DeleteOptions extends RequestOptions {
  /** CONFLICT when the object is not, or no longer, this one. */
  readonly preconditions?: { readonly uid?: string | undefined; readonly resourceVersion?: string | undefined };
  readonly gracePeriodSeconds?: number;
  readonly propagationPolicy?: "Orphan" | "Background" | "Foreground";
}

export interface ListOptions extends RequestOptions {
  /** Objects a page; 500 when absent, 0 for all at once. */
  readonly limit?: number;
}

export interface KubernetesList<T> {
  /** `apiVersion` and `kind`, which an API server leaves out of the items of built-in resources, are filled in. */
  readonly items: T[];
  /** Where a watch may begin so as to miss nothing after this list. */
  readonly resourceVersion: string;
}

/** One page of a list; `resourceVersion` is the same on all of them. */
export interface ListPage<T> extends KubernetesList<T> {
  /** What was delivered before this page is to be forgotten: the continue token had expired, and this begins the list again. */
  readonly restarted: boolean;
  readonly last: boolean;
}

export interface WatchEvent<T> {
  readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK";
  /** A bookmark's object has `kind` and `metadata.resourceVersion` only. */
  readonly object: T;
}

export interface WatchOptions {
  /** From a list, an event or a bookmark. Absent: from any state, beginning with what exists. */
  readonly resourceVersion?: string | undefined;
  /** `labelSelector`, `fieldSelector`. */
  readonly query?: Query | undefined;
  /** Ends the iteration at once, without an error. */
  readonly signal?: AbortSignal | undefined;
  /** True when absent. */
  readonly allowBookmarks?: boolean | undefined;
  /** The API server ends the watch after so many seconds; it chooses when absent. */
  readonly timeoutSeconds?: number | undefined;
  /** CONNECTION when nothing comes for so many milliseconds while the iterator waits; no limit when absent. */
  readonly idleTimeout?: number | undefined;
  /** Called when the API server has begun to answer. */
  readonly onOpen?: (() => void) | undefined;
  readonly parse?: ((text: string) => unknown) | undefined;
}

export interface KubernetesOptions {
  /** How texts become values; `JSON.parse` when absent. Give one that keeps large integers where they matter. */
  readonly parse?: (text: string) => unknown;
  /** How values become texts; `JSON.stringify` when absent. */
  readonly stringify?: (value: unknown) => string;
  /** The API server's warnings (deprecated versions, unknown fields). */
  readonly onWarning?: (text: string) => void;
}

/**
 * An API server. All methods throw {@link KubernetesError} and nothing else, except when the caller's signal aborts a request:
 * then they throw its reason.
 */
export interface Kubernetes {
  /** For messages: "kubernetes https://10.96.0.1:443". Never a secret. */
  readonly name: string;
  /** Any request: `request("GET", "/version")`. `path` begins with a slash. */
  request<T>(method: string, path: string, options?: BodyOptions): Promise<T>;
  get<T extends KubernetesObject>(path: ResourcePath, options?: RequestOptions): Promise<T>;
  /** All pages, as one list. */
  list<T extends KubernetesObject>(path: ResourcePath, options?: ListOptions): Promise<KubernetesList<T>>;
  /** The same page by page, for lists that need not be in memory as a whole. */
  listPages<T extends KubernetesObject>(
    path: ResourcePath,
    options?: ListOptions,
  ): AsyncGenerator<ListPage<T>, void, undefined>;
  create<T extends KubernetesObject>(path: ResourcePath, object: unknown, options?: RequestOptions): Promise<T>;
  /** PUT; compare-and-swap when `metadata.resourceVersion` is set. */
  replace<T extends KubernetesObject>(path: ResourcePath, object: unknown, options?: RequestOptions): Promise<T>;
  patch<T extends KubernetesObject>(
    path: ResourcePath,
    type: PatchType,
    patch: unknown,
    options?: RequestOptions,
  ): Promise<T>;
  /** The object when its deletion is still going on (finalizers, grace period) or the resource answers with it; a Status otherwise. */
  delete<T extends KubernetesObject>(path: ResourcePath, options?: DeleteOptions): Promise<T | Status>;
  /** One connection: ends when the API server ends it, throws when it breaks off or delivers an ERROR event (GONE: list again). */
  watch<T extends KubernetesObject>(
    path: ResourcePath,
    options?: WatchOptions,
  ): AsyncGenerator<WatchEvent<T>, void, undefined>;
  /** Ends what is under way and closes the connections. */
  close(): Promise<void>;
}

/** Opens nothing yet: the first request connects. */
export function openKubernetes(config: ClusterConfig, options: KubernetesOptions = {}): Kubernetes {
  return new ApiServer(config, options);
}

const PATCH_TYPES: Readonly<Record<PatchType, string>> = {
  merge: "application/merge-patch+json",
  strategic: "application/strategic-merge-patch+json",
  json: "application/json-patch+json",
};
const PAGE = 500;

class ApiServer implements Kubernetes {
  readonly #transport: Transport;
  readonly #parse: (text: string) => unknown;
  readonly #stringify: (value: unknown) => string;

  constructor(config: ClusterConfig, options: KubernetesOptions) {
    this.#transport = new Transport(config, options.onWarning);
    this.#parse = options.parse ?? JSON.parse;
    this.#stringify = options.stringify ?? JSON.stringify;
  }

  get name(): string {
    return this.#transport.name;
  }

  request<T>(method: string, path: string, options: BodyOptions = {}): Promise<T> {
    return this.#call(method, path, `${method} ${path}`, options);
  }

  get<T extends KubernetesObject>(path: ResourcePath, options: RequestOptions = {}): Promise<T> {
    return this.#call("GET", urlPath(path), `get ${describe(path)}`, options);
  }

  async list<T extends KubernetesObject>(path: ResourcePath, options: ListOptions = {}): Promise<KubernetesList<T>> {
    let items: T[] = [];
    let resourceVersion = "";
    for await (const page of this.listPages<T>(path, options)) {
      if (page.restarted) items = [];
      for (const item of page.items) items.push(item);
      resourceVersion = page.resourceVersion;
    }
    return { items, resourceVersion };
  }

  async *listPages<T extends KubernetesObject>(
    path: ResourcePath,
    options: ListOptions = {},
  ): AsyncGenerator<ListPage<T>, void, undefined> {
    const what = `list ${describe(path)}`;
    let limit = options.limit ?? PAGE;
    let from: string | undefined;
    for (let restarted = false; ; ) {
      // The revision is in the continue token, and an API server refuses both.
      const paging =
        from === undefined ? {} : { continue: from, resourceVersion: undefined, resourceVersionMatch: undefined };
      const query: Query = { ...options.query, limit: limit || undefined, ...paging };
      let answer: ListAnswer<T>;
      try {
        answer = await this.#call<ListAnswer<T>>("GET", urlPath(path), what, { ...options, query });
      } catch (error) {
        // The token outlived etcd's history. All at once cannot meet that again.
        if (!(error instanceof KubernetesError && error.code === "GONE") || from === undefined) throw error;
        from = undefined;
        limit = 0;
        restarted = true;
        continue;
      }
      const { resourceVersion = "", continue: next } = answer.metadata ?? {};
      if (!answer.items && !answer.kind?.endsWith("List"))
        throw new KubernetesError(
          "SERVER",
          `${this.name}: ${what}: the answer is not a list; is this a Kubernetes API server?`,
        );
      yield { items: named(answer), resourceVersion, restarted, last: !next };
      if (!next) return;
      restarted = false;
      from = next;
    }
  }

  create<T extends KubernetesObject>(path: ResourcePath, object: unknown, options: RequestOptions = {}): Promise<T> {
    const name = path.name ?? (object as KubernetesObject | null)?.metadata?.name;
    const what = `create ${describe({ ...path, name })}`;
    return this.#call("POST", urlPath({ ...path, name: path.subresource ? path.name : undefined }), what, {
      ...options,
      body: object,
    });
  }

  replace<T extends KubernetesObject>(path: ResourcePath, object: unknown, options: RequestOptions = {}): Promise<T> {
    return this.#call("PUT", urlPath(path), `replace ${describe(path)}`, { ...options, body: object });
  }

  patch<T extends KubernetesObject>(
    path: ResourcePath,
    type: PatchType,
    patch: unknown,
    options: RequestOptions = {},
  ): Promise<T> {
    const contentType = PATCH_TYPES[type];
    return this.#call("PATCH", urlPath(path), `patch ${describe(path)}`, { ...options, body: patch, contentType });
  }

  delete<T extends KubernetesObject>(path: ResourcePath, options: DeleteOptions = {}): Promise<T | Status> {
    const { preconditions, gracePeriodSeconds, propagationPolicy, ...rest } = options;
    const how = { preconditions, gracePeriodSeconds, propagationPolicy };
    const body = Object.values(how).some((one) => one !== undefined)
      ? { body: { apiVersion: "v1", kind: "DeleteOptions", ...how } }
      : {};
    return this.#call("DELETE", urlPath(path), `delete ${describe(path)}`, { ...rest, ...body });
  }

  async *watch<T extends KubernetesObject>(
    path: ResourcePath,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<T>, void, undefined> {
    const { signal, idleTimeout } = options;
    const subject = { name: this.name, what: `watch ${describe(path)}`, changes: false };
    const query: Query = {
      ...options.query,
      watch: true,
      allowWatchBookmarks: (options.allowBookmarks ?? true) || undefined,
      resourceVersion: options.resourceVersion,
      timeoutSeconds: options.timeoutSeconds,
    };
    const { events } = await import("./watch.ts");
    let stream: OpenStream;
    try {
      stream = await this.#transport.stream({ subject, method: "GET", path: urlPath(path) + queryText(query), signal });
    } catch (error) {
      if (signal?.aborted) return;
      throw error;
    }
    options.onOpen?.();
    yield* events<T>(stream, { subject, parse: options.parse ?? this.#parse, signal, idleTimeout });
  }

  async close(): Promise<void> {
    this.#transport.close();
  }

  async #call<T>(method: string, path: string, what: string, options: BodyOptions): Promise<T> {
    const { body, contentType, signal, timeout } = options;
    const subject = { name: this.name, what, changes: method !== "GET" && method !== "HEAD" };
    const answer = await this.#transport.call({
      subject,
      method,
      path: path + queryText(options.query),
      body: body === undefined || typeof body === "string" ? body : this.#stringify(body),
      contentType,
      signal,
      timeout,
    });
    try {
      return (options.parse ?? this.#parse)(answer) as T;
    } catch (error) {
      throw new KubernetesError(
        "SERVER",
        `${this.name}: ${what}: the answer is not JSON; is this a Kubernetes API server?`,
        { doubtful: subject.changes, cause: error },
      );
    }
  }
}

interface ListAnswer<T> {
  readonly apiVersion?: string;
  readonly kind?: string;
  readonly metadata?: { readonly resourceVersion?: string; readonly continue?: string };
  readonly items?: T[] | null;
}

function named<T extends KubernetesObject>({ apiVersion, kind, items }: ListAnswer<T>): T[] {
  const all = items ?? [];
  if (!kind?.endsWith("List")) return all;
  const one = kind.slice(0, -"List".length);
  for (const item of all) {
    item.kind ??= one;
    if (apiVersion) item.apiVersion ??= apiVersion;
  }
  return all;
}

function queryText(query: Query = {}): string {
  const given = Object.entries(query).flatMap(([name, value]) =>
    value === undefined || value === "" ? [] : [`${encodeURIComponent(name)}=${encodeURIComponent(value)}`],
  );
  return given.length === 0 ? "" : `?${given.join("&")}`;
}
