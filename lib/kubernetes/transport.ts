import { VERSION } from "../telemetry/index.ts";
import { orAborted, pause } from "../wait/index.ts";
import type { ClusterConfig } from "./config.ts";
import { Credentials, type Secrets } from "./credentials.ts";
import { KubernetesError } from "./errors.ts";
import {
  codeOf,
  connectionError,
  isBrokenOff,
  isTlsFailure,
  type Subject,
  statusError,
  timeoutError,
} from "./failure.ts";
import { Limiter } from "./limiter.ts";

/** Upstream's, for a configuration that has a rate but no burst. */
const BURST = 100;
const TIMEOUT = 30_000;
/** As often as client-go sends a request again that the API server had no time for. */
const MOST_ATTEMPTS = 10;

export interface Exchange {
  readonly subject: Subject;
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly body?: string | undefined;
  readonly contentType?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds, retries and waiting for the rate limit included. */
  readonly timeout?: number | undefined;
}

/** What a request waits for: until it is sent, nothing can have been carried out. */
interface Progress {
  waitsFor: "credentials" | "answer";
}

/** An answer that has begun; the signal of the exchange goes on to end it. */
export interface OpenStream {
  readonly body: ReadableStream<Uint8Array>;
  /** Which credentials it was opened with, for messages. */
  readonly credentials: string;
  /** Closes the connection. */
  end(): void;
}

/**
 * HTTPS with `fetch`, over one pool of connections for each set of certificates. A 401, and a certificate that does not hold, make
 * it read the credentials again and try once more; 429 and 503 make it wait as told. A read whose kept-alive connection turns
 * out to be closed is sent again; a write is not, because it may have arrived.
 */
export class Transport {
  readonly name: string;
  readonly #config: ClusterConfig;
  readonly #credentials: Credentials;
  readonly #limiter: Limiter | undefined;
  readonly #onWarning: ((text: string) => void) | undefined;
  readonly #closing = new AbortController();
  /** The pool of connections, and the certificates it was made with. */
  #pool: { readonly session: Bun.FetchSession; readonly secrets: Secrets } | undefined;

  constructor(config: ClusterConfig, onWarning?: (text: string) => void) {
    this.name = `kubernetes ${config.server}`;
    this.#config = config;
    this.#credentials = new Credentials(config);
    this.#limiter = config.qps ? new Limiter(config.qps, config.burst ?? BURST) : undefined;
    this.#onWarning = onWarning;
  }

  /** Whole texts, in and out. */
  async call(exchange: Exchange): Promise<string> {
    return this.#exchange(exchange, async (response, release) => {
      try {
        return await response.text();
      } finally {
        release();
      }
    });
  }

  /** An answer that goes on; the time limit is for its beginning. */
  async stream(exchange: Exchange): Promise<OpenStream> {
    return this.#exchange(
      exchange,
      async (response, release) => {
        if (!response.body) {
          release();
          throw new KubernetesError("SERVER", `${this.name}: ${exchange.subject.what}: an empty answer`);
        }
        return { body: response.body, credentials: this.#credentials.origin, end: release };
      },
      true,
    );
  }

  close(): void {
    this.#closing.abort();
    this.#pool?.session.close();
  }

  async #exchange<T>(
    exchange: Exchange,
    consume: (response: Response, release: () => void) => Promise<T>,
    streaming = false,
  ): Promise<T> {
    const { subject, signal } = exchange;
    const limit = exchange.timeout ?? this.#config.timeout ?? TIMEOUT;
    const deadline = performance.now() + limit;
    const ending = new AbortController();
    const progress: Progress = { waitsFor: "credentials" };
    const abort = () => ending.abort();
    const timer = setTimeout(abort, limit);
    signal?.addEventListener("abort", abort);
    this.#closing.signal.addEventListener("abort", abort);
    const release = () => {
      signal?.removeEventListener("abort", abort);
      this.#closing.signal.removeEventListener("abort", abort);
      // Also when all is read: a stream that the reader leaves early ends so.
      if (streaming) ending.abort();
    };
    /** Why it ended, when this side ended it. */
    const ended = (): unknown => {
      if (!ending.signal.aborted) return undefined;
      if (signal?.aborted) return signal.reason;
      if (this.#closing.signal.aborted)
        return new KubernetesError("CONNECTION", `${this.name}: ${subject.what}: this connection is closed`);
      return timeoutError(subject, limit, progress.waitsFor);
    };
    if (signal?.aborted || this.#closing.signal.aborted) abort();
    try {
      const response = await this.#attempts(exchange, deadline, ending.signal, streaming, progress);
      if (streaming) clearTimeout(timer);
      return await consume(response, release);
    } catch (error) {
      const why = ended();
      release();
      if (why !== undefined) throw why;
      if (error instanceof KubernetesError) throw error;
      throw connectionError(subject, error, await this.#trust(error));
    } finally {
      clearTimeout(timer);
    }
  }

  /** The first answer that is a success. */
  async #attempts(
    exchange: Exchange,
    deadline: number,
    signal: AbortSignal,
    streaming: boolean,
    progress: Progress,
  ): Promise<Response> {
    const { subject } = exchange;
    let renewed = false;
    let resent = false;
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted();
      if (this.#limiter && !(await this.#limiter.take(deadline - performance.now(), signal)))
        throw new KubernetesError(
          "TOO_MANY_REQUESTS",
          `${this.name}: ${subject.what}: this process may send ${this.#config.qps} requests a second, and more are waiting than the time limit has room for`,
        );
      // A program may make them, which takes what time it takes; nothing has been sent meanwhile.
      const secrets = await orAborted(this.#credentials.current(), signal);
      let response: Response;
      progress.waitsFor = "answer";
      try {
        response = await this.#send(exchange, secrets, signal, streaming);
      } catch (error) {
        if (signal.aborted) throw error;
        if (isTlsFailure(error) && !renewed && this.#credentials.renewable) {
          renewed = true;
          progress.waitsFor = "credentials";
          if ((await orAborted(this.#credentials.renew(secrets), signal)) !== secrets) continue;
        }
        if (isBrokenOff(error) && !subject.changes && !resent) {
          resent = true;
          continue;
        }
        throw error;
      }
      this.#warn(response);
      if (response.ok) return response;
      const text = withoutToken(await response.text(), secrets);
      if (response.status === 401 && !renewed && this.#credentials.renewable) {
        renewed = true;
        progress.waitsFor = "credentials";
        await orAborted(this.#credentials.renew(secrets), signal);
        continue;
      }
      const wait = retryAfter(response, subject.changes);
      if (wait !== undefined && attempt < MOST_ATTEMPTS && performance.now() + wait < deadline) {
        await pause(wait, signal);
        continue;
      }
      throw statusError(subject, response.status, text, this.#credentials.origin);
    }
  }

  #send(exchange: Exchange, secrets: Secrets, signal: AbortSignal, streaming: boolean): Promise<Response> {
    const { method, path, body, contentType } = exchange;
    const headers: Record<string, string> = {
      accept: "application/json",
      "user-agent": this.#config.userAgent ?? `calico/${VERSION}`,
    };
    if (secrets.token !== undefined) headers.authorization = `Bearer ${secrets.token}`;
    if (body !== undefined) headers["content-type"] = contentType ?? "application/json";
    return this.#session(secrets).fetch(this.#config.server + path, {
      method,
      headers,
      signal,
      // A redirect would take the credentials elsewhere.
      redirect: "manual",
      // Nor does the environment's proxy see them: a node's is for the world outside, and its exceptions may be CIDRs, which fetch cannot read.
      proxy: false,
      ...(body === undefined ? {} : { body: method === "PUT" || method === "DELETE" ? sentOnce(body) : body }),
      // fetch gives up on an answer that is silent for five minutes, which a watch may be.
      ...(streaming ? { timeout: false } : {}),
    } as BunFetchRequestInit);
  }

  /** The pool for these certificates. That of earlier ones goes on for the streams it has. */
  #session(secrets: Secrets): Bun.FetchSession {
    const pool = this.#pool;
    if (pool && (pool.secrets === secrets || sameTls(pool.secrets, secrets))) return pool.session;
    pool?.session.close();
    const { ca, cert, key } = secrets;
    const { serverName, insecureSkipTlsVerify } = this.#config;
    const session = new Bun.FetchSession({
      // Seconds; before what lies between forgets a connection without a word. The same as client-go's.
      keepAlive: { idleTimeout: 90 },
      tls: {
        ...(ca === undefined ? {} : { ca }),
        ...(cert === undefined ? {} : { cert }),
        ...(key === undefined ? {} : { key }),
        ...(serverName === undefined ? {} : { serverName }),
        ...(insecureSkipTlsVerify ? { rejectUnauthorized: false } : {}),
      },
    });
    this.#pool = { session, secrets };
    return session;
  }

  #warn(response: Response): void {
    const header = this.#onWarning && response.headers.get("warning");
    // 299 - "text", several of them separated by commas (RFC 7234, section 5.5)
    if (header) for (const [, text] of header.matchAll(/299 \S+ "((?:[^"\\]|\\.)*)"/g)) this.#onWarning?.(text!);
  }

  async #trust(error: unknown) {
    const { server, ca, serverName } = this.#config;
    const secrets = this.#pool?.secrets;
    return {
      host: new URL(server).host,
      hasCa: ca !== undefined,
      caFile: typeof ca === "object" ? ca.file : undefined,
      serverName,
      // Bun says only that there is no connection when PEM texts cannot be used.
      unusable:
        codeOf(error) === "FailedToOpenSocket" && secrets ? await unusable(secrets, this.#credentials) : undefined,
    };
  }
}

const sameTls = (a: Secrets, b: Secrets): boolean => a.ca === b.ca && a.cert === b.cert && a.key === b.key;

/** What is wrong with certificates that no connection can be made with. */
async function unusable({ ca, cert, key }: Secrets, credentials: Credentials): Promise<string | undefined> {
  const { createSecureContext } = await import("node:tls");
  const fails = (options: object): boolean => {
    try {
      createSecureContext(options);
      return false;
    } catch {
      return true;
    }
  };
  if (ca !== undefined && fails({ ca })) return "the configured CA cannot be read: it must be certificates in PEM";
  if (cert === undefined || key === undefined || !fails({ cert, key })) return undefined;
  return `${credentials.origin} and its key cannot be used: both must be PEM, and belong together`;
}

/** An API server does not repeat a token; what stands in front of it might. */
const withoutToken = (text: string, { token }: Secrets): string =>
  token === undefined ? text : text.replaceAll(token, "…");

/**
 * Milliseconds to wait before sending a request again that the API server refused for now. 429 and 503 say that nothing was done; after
 * another 5xx a write may have been, so only a read is sent again, and only when the API server asks for it.
 */
function retryAfter(response: Response, changes: boolean): number | undefined {
  const { status } = response;
  const header = response.headers.get("retry-after");
  if (status !== 429 && (status < 500 || header === null)) return undefined;
  if (changes && status !== 429 && status !== 503) return undefined;
  if (header === null) return 1000;
  const seconds = Number(header);
  const wait = Number.isFinite(seconds) ? seconds * 1000 : Date.parse(header) - Date.now();
  return Number.isNaN(wait) ? 1000 : Math.max(0, wait);
}

/**
 * fetch sends a PUT or DELETE again when the kept-alive connection that it took breaks, because HTTP calls them
 * idempotent. With a revision inside they are not: the second is refused when the first was carried out, and the caller would
 * take for another's what it wrote itself. What is streamed cannot be sent again.
 */
function sentOnce(body: string): ReadableStream<Uint8Array> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(new TextEncoder().encode(body));
      controller.close();
    },
  });
}
