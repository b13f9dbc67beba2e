/**
 * A bad network between a client and its API server: a proxy that ends TLS, so that it can spoil watches event by event.
 * It has a CA and a certificate of its own, and lets users in by their tokens; client certificates end at it.
 */
import { readFileSync } from "node:fs";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { issue, makeAuthority } from "./certificates.ts";
import type { UserName } from "./roles.ts";
import { WatchSpoiler } from "./spoiler.ts";
import type { ApiServer } from "./types.ts";

/** What is done to watches, from now on: the fields of {@link ApiProxy.fault} may be set at any time. */
export interface WatchFault {
  /** Milliseconds for which each event is held back. */
  delay?: number;
  /**
   * How many events are collected and then passed on shuffled (at most `delay` ms, or 50, are waited for more). The order of the events of
   * one object stays, and nothing passes a bookmark: no client could make sense of that.
   */
  reorder?: number;
  /** A connection is cut, in the middle of a line, after so many events. */
  cutAfter?: number;
  /** Nothing is passed on, and connections stay open. What came meanwhile follows when it is set to false. */
  hold?: boolean;
}

export interface ProxiedRequest {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly watch: boolean;
  readonly status: number;
}

export interface ProxyOptions {
  /** Seed of the shuffling. Default: 1. */
  readonly seed?: number;
  /** An answer instead of the server's, or undefined to pass the request on. */
  answer?(request: Request): Response | undefined | Promise<Response | undefined>;
}

export interface ApiProxy {
  readonly url: string;
  /** PEM of the CA of this proxy's certificate. */
  readonly ca: string;
  readonly fault: WatchFault;
  /** All requests so far, in the order of their answers. */
  readonly requests: readonly ProxiedRequest[];
  /** Watches that are open at present. */
  readonly watches: number;
  /** A kubeconfig that leads through the proxy. */
  kubeconfig(user: Exclude<UserName, "admin">): string;
  /** Ends all open watches at once, in the middle of a line if there is one; events that were held back are passed on before. */
  cut(): void;
  stop(): Promise<void>;
}

let proxies = 0;

export async function startApiProxy(server: ApiServer, options: ProxyOptions = {}): Promise<ApiProxy> {
  const file = `proxy-${process.pid}-${++proxies}`;
  const authority = makeAuthority(server.folder, `${file}-ca`);
  const pair = issue(server.folder, authority, {
    ...{ file, subject: "/CN=proxy", usage: "serverAuth" },
    names: ["127.0.0.1", "localhost"],
  });
  const tls = { cert: readFileSync(pair.cert, "utf8"), key: readFileSync(pair.key, "utf8") };
  return new SpoilingProxy(server, options, readFileSync(authority.cert, "utf8"), tls).listen();
}

/** Fields of a request or an answer that belong to one connection only (RFC 9110, 7.6.1), or that fetch sets itself. */
const HOP_BY_HOP = ["connection", "host", "content-length", "transfer-encoding", "keep-alive", "upgrade", "te"];

class SpoilingProxy implements ApiProxy {
  readonly fault: WatchFault = {};
  readonly requests: ProxiedRequest[] = [];
  readonly #open = new Set<WatchSpoiler>();
  readonly #listener: Server;
  readonly #server: ApiServer;
  readonly #options: ProxyOptions;
  #port = 0;
  #random: number;

  constructor(
    server: ApiServer,
    options: ProxyOptions,
    readonly ca: string,
    tls: { readonly cert: string; readonly key: string },
  ) {
    this.#server = server;
    this.#options = options;
    this.#random = options.seed ?? 1;
    // Not Bun.serve, which keeps an answer's headers until there is a body: a watch answers before anything happens.
    this.#listener = createServer(tls, (request, response) => void this.#serve(request, response));
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve, reject) => {
      this.#listener.once("error", reject);
      this.#listener.listen(0, "127.0.0.1", resolve);
    });
    this.#port = (this.#listener.address() as AddressInfo).port;
    return this;
  }

  get url(): string {
    return `https://127.0.0.1:${this.#port}`;
  }

  get watches(): number {
    return this.#open.size;
  }

  kubeconfig(user: Exclude<UserName, "admin">): string {
    return this.#server.kubeconfig(user, { server: this.url, ca: this.ca });
  }

  cut(): void {
    for (const spoiler of [...this.#open]) spoiler.cut();
  }

  stop(): Promise<void> {
    this.cut();
    return new Promise((resolve) => {
      this.#listener.close(() => resolve());
      this.#listener.closeAllConnections();
    });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    // A request may still come on a connection that stop() was about to close.
    if (!this.#listener.listening) return void response.destroy();
    const path = request.url ?? "/";
    const method = request.method ?? "GET";
    const watch = ["1", "true"].includes(new URL(path, this.url).searchParams.get("watch") ?? "");
    const begin = (status: number, headers: Headers): void => {
      this.requests.push({ method, path, watch, status });
      for (const name of HOP_BY_HOP) headers.delete(name);
      response.writeHead(status, Object.fromEntries(headers));
    };
    const abort = new AbortController();
    response.on("close", () => abort.abort());
    try {
      const headers = new Headers();
      for (const [name, value] of Object.entries(request.headers))
        if (value !== undefined && !HOP_BY_HOP.includes(name)) headers.set(name, String(value));
      headers.set("accept-encoding", "identity");
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const asked = { method, headers, ...(chunks.length > 0 ? { body: Buffer.concat(chunks) } : {}) };
      const answer =
        (await this.#options.answer?.(new Request(this.url + path, asked))) ??
        (await fetch(this.#server.url + path, {
          ...{ ...asked, signal: abort.signal, tls: { ca: this.#server.ca }, redirect: "manual", timeout: false },
        }));
      if (!watch || !answer.ok || !answer.body) {
        const body = await answer.bytes();
        begin(answer.status, answer.headers);
        response.end(body);
        return;
      }
      begin(answer.status, answer.headers);
      response.flushHeaders();
      const spoiler = new WatchSpoiler(answer.body, response, this.fault, () => this.#next());
      this.#open.add(spoiler);
      response.on("close", () => {
        this.#open.delete(spoiler);
        spoiler.close();
      });
    } catch {
      // The server is not there: to the client that looks as if this were the server.
      response.destroy();
    }
  }

  /** A number in [0, 1), the same ones for the same seed (Park and Miller's generator). */
  #next(): number {
    this.#random = (this.#random * 48271) % 0x7fffffff;
    return this.#random / 0x7fffffff;
  }
}
