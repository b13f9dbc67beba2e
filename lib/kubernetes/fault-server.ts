/** For tests: an HTTPS server in this process that answers as the test says, and certificates to go with it. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createSecureServer, type Http2ServerRequest, type Http2ServerResponse } from "node:http2";
import type { Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import type { ClusterConfig } from "./config.ts";

export interface Asked {
  readonly method: string;
  /** With its query. */
  readonly url: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: string;
  /** The common name of the client's certificate. */
  readonly client: string | undefined;
  /** One a connection. */
  readonly socket: Socket;
}

export interface Answer {
  /** Answers with JSON. */
  json(value: unknown, status?: number, headers?: Record<string, string>): void;
  text(value: string, status?: number, headers?: Record<string, string>): void;
  /** Begins an answer that goes on; `write` sends a chunk as it is. */
  stream(): {
    write(chunk: string | Uint8Array): void;
    event(type: string, object: unknown): void;
    end(): void;
    drop(): void;
  };
  /** Closes the connection without an answer. */
  drop(): void;
}

export type Handler = (asked: Asked, answer: Answer) => void;

export interface FaultServer {
  readonly url: string;
  readonly port: number;
  readonly config: ClusterConfig;
  readonly asked: Asked[];
  handler: Handler;
  /** How many connections there have been. */
  connections(): number;
  close(): Promise<void>;
  /** Listens on the port again. */
  open(): Promise<void>;
}

export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

export interface TestCertificates {
  /** A folder for the test's files. */
  readonly folder: string;
  readonly ca: string;
  /** A CA that has issued nothing. */
  readonly otherCa: string;
  /** For 127.0.0.1 and localhost. */
  readonly server: Certificate;
  /** For another.example only. */
  readonly misnamed: Certificate;
  client(name: string): Certificate;
  /** Writes a file into the folder and answers its path. */
  write(name: string, text: string): string;
  remove(): void;
}

export function makeTestCertificates(): TestCertificates {
  const folder = mkdtempSync(join(tmpdir(), "kubernetes-test-"));
  const path = (name: string) => join(folder, name);
  const read = (name: string) => readFileSync(path(name), "utf8");
  const openssl = (...options: string[]) => {
    const { status, stderr, error } = spawnSync("openssl", options, { encoding: "utf8" });
    if (status !== 0) throw new Error(`openssl ${options[0]}: ${error?.message ?? stderr}`);
  };
  const key = (name: string) => [
    "-newkey",
    "ec",
    "-pkeyopt",
    "ec_paramgen_curve:P-256",
    "-nodes",
    "-keyout",
    path(name),
  ];
  for (const name of ["ca", "other"])
    openssl("req", "-x509", "-days", "2", "-subj", `/CN=${name}`, ...key(`${name}.key`), "-out", path(`${name}.crt`));
  const issue = (name: string, extension: string): Certificate => {
    writeFileSync(path(`${name}.ext`), extension);
    openssl("req", "-new", "-subj", `/O=testers/CN=${name}`, ...key(`${name}.key`), "-out", path(`${name}.csr`));
    openssl(
      ...["x509", "-req", "-days", "2", "-in", path(`${name}.csr`), "-CA", path("ca.crt"), "-CAkey", path("ca.key")],
      ...["-CAcreateserial", "-extfile", path(`${name}.ext`), "-out", path(`${name}.crt`)],
    );
    return { cert: read(`${name}.crt`), key: read(`${name}.key`) };
  };
  return {
    folder,
    ca: read("ca.crt"),
    otherCa: read("other.crt"),
    server: issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\n"),
    misnamed: issue("misnamed", "subjectAltName=DNS:another.example\n"),
    client: (name) => issue(name, "extendedKeyUsage=clientAuth\n"),
    write: (name, text) => {
      writeFileSync(path(name), text);
      return path(name);
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  };
}

export async function startFaultServer(
  certificates: TestCertificates,
  handler: Handler = (_asked, answer) => answer.json({}),
  certificate: Certificate = certificates.server,
): Promise<FaultServer> {
  const asked: Asked[] = [];
  const sockets = new Set<Socket>();
  let count = 0;
  const server = createSecureServer(
    { ...certificate, ca: certificates.ca, requestCert: true, rejectUnauthorized: false, allowHTTP1: true },
    (request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const one = describe(request, Buffer.concat(chunks).toString());
        asked.push(one);
        self.handler(one, answering(one, response));
      });
      request.on("error", () => {});
    },
  );
  server.on("secureConnection", (socket) => {
    count++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  let port = 0;
  const open = async () => {
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    port = (server.address() as { port: number }).port;
  };
  await open();
  const url = `https://127.0.0.1:${port}`;
  const self: FaultServer = {
    url,
    port,
    config: { server: url, ca: certificates.ca, auth: { type: "none" } },
    asked,
    handler,
    connections: () => count,
    open,
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  return self;
}

function describe(request: Http2ServerRequest, body: string): Asked {
  const url = new URL(request.url, "https://server");
  const socket = request.socket as TLSSocket;
  return {
    method: request.method,
    url: request.url,
    path: url.pathname,
    query: url.searchParams,
    headers: request.headers,
    body,
    client: socket.getPeerCertificate()?.subject?.CN as string | undefined,
    socket,
  };
}

function answering(asked: Asked, response: Http2ServerResponse): Answer {
  const drop = () => asked.socket.destroy();
  const text: Answer["text"] = (value, status = 200, headers = {}) => {
    response.writeHead(status, { "content-type": "text/plain", ...headers });
    response.end(value);
  };
  return {
    text,
    json: (value, status, headers) =>
      text(JSON.stringify(value), status, { "content-type": "application/json", ...headers }),
    drop,
    stream: () => {
      response.writeHead(200, { "content-type": "application/json" });
      (response as unknown as { flushHeaders?(): void }).flushHeaders?.();
      const write = (chunk: string | Uint8Array) => void response.write(chunk);
      return {
        write,
        event: (type, object) => write(`${JSON.stringify({ type, object })}\n`),
        end: () => response.end(),
        drop,
      };
    },
  };
}

/** A Status as an API server answers it. */
export const status = (code: number, reason: string, message: string, details?: object) => ({
  kind: "Status",
  apiVersion: "v1",
  status: "Failure",
  code,
  reason,
  message,
  ...(details ? { details } : {}),
});

/** Waits until `condition` holds. */
export async function until(condition: () => boolean | undefined, what = "the condition"): Promise<void> {
  for (const deadline = Date.now() + 10_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 5)))
    if (Date.now() > deadline) throw new Error(`waited 10 s for ${what}`);
}
