import { readFileSync } from "node:fs";
import type { Health } from "./health.ts";
import type { Metrics } from "./metrics.ts";

/** Until a port is tried again that another process has, and between looks at the certificate's files. In milliseconds. */
const RETRY = 1000;
const RELOAD = 30_000;

/** Names as PrometheusMetricsClientAuth has them (Go's crypto/tls). */
export type ClientAuth =
  | "NoClientCert"
  | "RequestClientCert"
  | "RequireAnyClientCert"
  | "VerifyClientCertIfGiven"
  | "RequireAndVerifyClientCert";

/** Files in PEM. They are read again when they change. */
export interface ServerTls {
  readonly certFile: string;
  readonly keyFile: string;
  /** Who signs clients' certificates. */
  readonly caFile?: string;
  /**
   * NoClientCert when absent. RequestClientCert asks for nothing, as what is not looked at need not be sent; the other
   * three require a certificate that the CA signed: Bun cannot take one unsigned, or do without one.
   */
  readonly clientAuth?: ClientAuth;
}

export interface TelemetryServerOptions {
  /** HealthHost, PrometheusMetricsHost. "localhost" is 127.0.0.1; "": every address. */
  readonly host: string;
  /** 0: any that is free. */
  readonly port: number;
  /** Answered under /liveness and /readiness. */
  readonly health?: Health;
  /** Answered under /metrics. */
  readonly metrics?: Metrics;
  readonly tls?: ServerTls;
  /** Between looks at the files of `tls`, in milliseconds; 30 s when absent. */
  readonly reloadInterval?: number;
  /** It cannot listen (the port is taken, the certificate's files cannot be read) and tries again every second. */
  readonly onError: (error: Error) => void;
}

export interface TelemetryServer extends Disposable {
  /** Undefined while it cannot listen. */
  readonly port: number | undefined;
  close(): void;
}

/** An HTTP or HTTPS server of health, of metrics, or of both. What fails is said once and tried until it succeeds. */
export function openTelemetryServer(options: TelemetryServerOptions): TelemetryServer {
  return new HttpServer(options);
}

class HttpServer implements TelemetryServer {
  readonly #options: TelemetryServerOptions;
  #server: Bun.Server<undefined> | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #files = "";
  #said = "";
  #closed = false;

  constructor(options: TelemetryServerOptions) {
    this.#options = options;
    this.#listen();
  }

  get port(): number | undefined {
    return this.#server?.port;
  }

  #listen(): void {
    if (this.#closed) return;
    const { host, port, tls } = this.#options;
    try {
      const files = tls && readTls(tls);
      const text = JSON.stringify(files ?? "");
      if (!this.#server || text !== this.#files) {
        const again = this.#server?.port;
        this.#server?.stop();
        this.#server = undefined;
        this.#server = Bun.serve({
          ...(host !== "" && { hostname: host === "localhost" ? "127.0.0.1" : host }),
          port: again ?? port,
          ...(files && { tls: files }),
          development: false,
          fetch: (request) => this.#answer(request),
          error: () => new Response("internal error\n", { status: 500 }),
        });
        this.#files = text;
      }
      this.#said = "";
      if (tls) this.#later(this.#options.reloadInterval ?? RELOAD);
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#said) this.#options.onError(error as Error);
      this.#said = message;
      this.#later(RETRY);
    }
  }

  #later(delay: number): void {
    this.#timer = setTimeout(() => this.#listen(), delay);
    this.#timer.unref();
  }

  #answer(request: Request): Response {
    const { health, metrics } = this.#options;
    if (request.method !== "GET" && request.method !== "HEAD")
      return new Response("method not allowed\n", { status: 405 });
    const path = new URL(request.url).pathname;
    if (metrics && path === "/metrics") {
      return new Response(metrics.text(), { headers: { "content-type": "text/plain; version=0.0.4; charset=utf-8" } });
    }
    return health?.answer(path) ?? new Response("404 page not found\n", { status: 404 });
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#server?.stop(true);
    this.#server = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function readTls({ certFile, keyFile, caFile, clientAuth = "NoClientCert" }: ServerTls) {
  const verified = clientAuth !== "NoClientCert" && clientAuth !== "RequestClientCert";
  if (verified && caFile === undefined) {
    throw new Error(`client certificates are to be verified (${clientAuth}), but no file with their CA is configured`);
  }
  return {
    cert: readFileSync(certFile, "utf8"),
    key: readFileSync(keyFile, "utf8"),
    ...(caFile !== undefined && verified && { ca: readFileSync(caFile, "utf8") }),
    ...(verified && { requestCert: true, rejectUnauthorized: true }),
  };
}
