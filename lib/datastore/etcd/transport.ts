import { DatastoreError } from "../errors.ts";
import { etcdError, GatewayError } from "./errors.ts";

/** What `fetch` needs for HTTPS; texts in PEM. */
export interface Tls {
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export interface TransportOptions {
  readonly endpoints: readonly string[];
  readonly tls?: Tls;
  readonly credentials?: { readonly username: string; readonly password: string };
  /** For a whole operation, all endpoints together, in milliseconds. */
  readonly timeout: number;
}

/** Codes of `fetch` that mean that nothing was sent: trying elsewhere cannot do anything twice. */
const NOT_SENT = new Set(["ConnectionRefused", "FailedToOpenSocket", "ECONNREFUSED", "ENOTFOUND", "DNSException"]);

/**
 * Calls etcd's v3 JSON gateway, failing over between endpoints. What changes nothing (reads, the log-in, the start of a stream) leaves
 * time for the endpoints that remain, so a silent member costs its share of the time limit, once: the client moves on to the next
 * endpoint and stays there. A write has all of the time, and is only sent elsewhere when the earlier attempt cannot have been carried out.
 * The gateway has no lease to keep alive and no stream to share: each call is one HTTP request on a kept-alive connection.
 */
export class Transport {
  readonly #endpoints: readonly string[];
  readonly #options: TransportOptions;
  /** The endpoint to begin with: the first one that has not failed since another one did. */
  #current = 0;
  /** The token of the user. Every member knows it, whoever gave it. */
  #token: string | undefined;
  /** The log-in that is under way. */
  #login: { readonly endpoint: string; readonly token: Promise<string> } | undefined;

  constructor(options: TransportOptions) {
    this.#endpoints = options.endpoints;
    this.#options = options;
  }

  get name(): string {
    return `etcd ${this.#endpoints.join(",")}`;
  }

  /** Posts `body` to `path` (`/v3/kv/txn`) and answers the JSON. `changes`: it is not safe to carry it out twice. */
  async call(path: string, body: unknown, changes: boolean): Promise<unknown> {
    const deadline = performance.now() + this.#options.timeout;
    const response = await this.#request(path, body, changes, deadline);
    return response.value;
  }

  /** Opens a stream: the response to a watch, for as long as `signal` allows. */
  async stream(path: string, body: unknown, signal: AbortSignal): Promise<ReadableStream<Uint8Array>> {
    const deadline = performance.now() + this.#options.timeout;
    const { response } = await this.#request(path, body, false, deadline, signal);
    if (!response.body) throw etcdError(this.name, new GatewayError(response.status, undefined, "an empty answer"));
    return response.body;
  }

  async #request(
    path: string,
    body: unknown,
    changes: boolean,
    deadline: number,
    streaming?: AbortSignal,
  ): Promise<{ response: Response; value: unknown }> {
    const text = JSON.stringify(body);
    const { credentials } = this.#options;
    const count = this.#endpoints.length;
    const first = this.#current;
    let failure: unknown;
    let doubtful = false;
    let renewed = false;
    for (let attempt = 0; attempt < count; attempt++) {
      const index = (first + attempt) % count;
      const endpoint = this.#endpoints[index]!;
      const now = performance.now();
      const share = now + (deadline - now) / (count - attempt);
      let token: string | undefined;
      doubtful = false;
      try {
        if (credentials) token = await this.#authenticate(credentials, endpoint, share);
        doubtful = changes;
        return await this.#post(endpoint, path, text, changes ? deadline : share, token, streaming);
      } catch (error) {
        if (streaming?.aborted) throw error;
        failure = error;
        if (token !== undefined && error instanceof GatewayError && error.staleToken && !renewed) {
          renewed = true;
          if (this.#token === token) this.#token = undefined;
          attempt--;
          continue;
        }
        if (!isFailing(error)) break;
        // Unless another call has moved on already.
        if (this.#current === index) this.#current = (index + 1) % count;
        if (performance.now() >= deadline || (doubtful && !isNotSent(error))) break;
      }
    }
    throw etcdError(this.name, failure, doubtful);
  }

  async #post(
    endpoint: string,
    path: string,
    body: string,
    deadline: number,
    token?: string,
    streaming?: AbortSignal,
  ): Promise<{ response: Response; value: unknown }> {
    const limit = new AbortController();
    const abort = () => limit.abort(streaming?.reason);
    streaming?.addEventListener("abort", abort);
    const timer = setTimeout(() => limit.abort(new TimedOut()), Math.max(1, deadline - performance.now()));
    try {
      if (streaming?.aborted) abort();
      const response = await fetch(endpoint + path, {
        method: "POST",
        body,
        headers: { "content-type": "application/json", ...(token ? { authorization: token } : {}) },
        redirect: "error",
        signal: limit.signal,
        // fetch drops a connection that is silent for five minutes, which a watch may be.
        ...(streaming ? { timeout: false } : {}),
        ...(this.#options.tls ? { tls: this.#options.tls } : {}),
      } as RequestInit);
      if (!response.ok) throw gatewayError(response.status, await response.text());
      // A stream's signal stays connected to it, its time limit does not.
      if (streaming) return { response, value: undefined };
      return { response, value: parseAnswer(response.status, await response.text()) };
    } catch (error) {
      streaming?.removeEventListener("abort", abort);
      if (limit.signal.aborted && !streaming?.aborted) throw new TimedOut();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** The token of the user; asked for once, and again when etcd says that it has expired. */
  async #authenticate(
    { username, password }: NonNullable<TransportOptions["credentials"]>,
    endpoint: string,
    deadline: number,
  ): Promise<string> {
    if (this.#token !== undefined) return this.#token;
    // Whoever comes meanwhile waits for the same answer, but not for one from another member, which may be silent.
    if (this.#login?.endpoint !== endpoint)
      this.#login = { endpoint, token: this.#logIn({ name: username, password }, endpoint, deadline) };
    const login = this.#login;
    try {
      const token = await login.token;
      this.#token = token;
      return token;
    } finally {
      if (this.#login === login) this.#login = undefined;
    }
  }

  async #logIn(credentials: { name: string; password: string }, endpoint: string, deadline: number): Promise<string> {
    const { value } = await this.#post(endpoint, "/v3/auth/authenticate", JSON.stringify(credentials), deadline);
    const token = (value as { token?: unknown }).token;
    if (typeof token !== "string") throw new GatewayError(200, undefined, "no token in the answer to the log-in");
    return token;
  }
}

/** Nothing was answered in time. */
export class TimedOut extends Error {
  override readonly name = "TimedOut";
  constructor() {
    super("no answer in time");
  }
}

/** The endpoint is to blame: another one may do better. */
function isFailing(error: unknown): boolean {
  if (error instanceof DatastoreError) return false;
  return error instanceof GatewayError ? error.unavailable : true;
}

function isNotSent(error: unknown): boolean {
  const code = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" && NOT_SENT.has(code);
}

function parseAnswer(status: number, text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new GatewayError(status, undefined, "the answer is not JSON: is this an etcd server, version 3.4 or later?");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new GatewayError(status, undefined, "the answer is not a JSON object");
  return value;
}

function gatewayError(status: number, text: string): GatewayError {
  try {
    const value = JSON.parse(text) as { error?: unknown; message?: unknown; code?: unknown };
    const message = typeof value.error === "string" ? value.error : value.message;
    if (typeof message === "string")
      return new GatewayError(status, typeof value.code === "number" ? value.code : undefined, message);
  } catch {
    // Not from etcd: the status has to do.
  }
  return new GatewayError(status, undefined, `HTTP status ${status}: is this an etcd server, version 3.4 or later?`);
}
