/** A real etcd server for tests, on loopback, with its data in a folder of its own. */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EtcdConfig } from "../config.ts";

export interface EtcdServerOptions {
  /** HTTPS only, and clients must show a certificate of the server's CA. Needs openssl. */
  readonly tls?: boolean;
  /** Users must log in; `config` has the credentials of root. */
  readonly auth?: boolean;
  /** Further options of the command: `--quota-backend-bytes=…`. */
  readonly arguments?: readonly string[];
}

export interface EtcdServer {
  readonly endpoint: string;
  /** How to reach it as its administrator. */
  readonly config: EtcdConfig;
  /** Ends the process as a crash would; {@link start} begins it again on the same data and port. */
  kill(): Promise<void>;
  start(): Promise<void>;
  /** Removes everything before the present revision. */
  compact(): Promise<void>;
  /** Carries out a call of the gateway as root. */
  call(path: string, body: object): Promise<unknown>;
  /** Ends the process and removes its data. */
  stop(): Promise<void>;
}

/** The etcd binary: from ETCD_BINARY, the PATH, or undefined. */
export function findEtcd(): string | undefined {
  const named = process.env.ETCD_BINARY;
  if (named && existsSync(named)) return named;
  return (process.env.PATH ?? "/usr/bin")
    .split(":")
    .map((folder) => join(folder, "etcd"))
    .find((file) => existsSync(file));
}

const PASSWORD = "s3cret-of-root";

/** Starts a server and resolves when it serves. Throws when there is no binary. */
export async function startEtcd(options: EtcdServerOptions = {}): Promise<EtcdServer> {
  const binary = findEtcd();
  if (!binary) throw new Error("etcd is not installed (Debian: etcd-server), and ETCD_BINARY names none");
  const folder = mkdtempSync(join(tmpdir(), "etcd-test-"));
  const [port, peerPort] = await Promise.all([freePort(), freePort()]);
  const scheme = options.tls ? "https" : "http";
  const endpoint = `${scheme}://127.0.0.1:${port}`;
  const files = options.tls ? makeCertificates(folder) : undefined;
  let server: ChildProcess | undefined;

  const config: EtcdConfig = {
    type: "etcdv3",
    endpoints: [endpoint],
    ...(files ? { caCertFile: files.ca, certFile: files.clientCert, keyFile: files.clientKey } : {}),
    ...(options.auth ? { username: "root", password: PASSWORD } : {}),
  };
  let authorization: string | undefined;
  const post = async (path: string, body: object): Promise<unknown> => {
    const response = await fetch(endpoint + path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: authorization ? { authorization } : {},
      signal: AbortSignal.timeout(5000),
      ...(files ? { tls: await tlsOf(files) } : {}),
    } as RequestInit);
    const text = await response.text();
    if (!response.ok) throw new Error(`etcd ${path}: ${text}`);
    return JSON.parse(text) as unknown;
  };
  const login = async () => {
    // A token of before is not shown: etcd checks it, and right after users were turned on it knows none.
    authorization = undefined;
    const answer = (await post("/v3/auth/authenticate", { name: "root", password: PASSWORD })) as { token: string };
    authorization = answer.token;
  };

  const start = async (): Promise<void> => {
    const child = spawn(
      binary,
      [
        ...["--name", "test", "--data-dir", join(folder, "data")],
        ...["--listen-client-urls", endpoint, "--advertise-client-urls", endpoint],
        ...["--listen-peer-urls", `http://127.0.0.1:${peerPort}`],
        ...["--initial-advertise-peer-urls", `http://127.0.0.1:${peerPort}`],
        ...["--initial-cluster", `test=http://127.0.0.1:${peerPort}`, "--log-level", "error"],
        ...(files
          ? [
              "--cert-file",
              files.serverCert,
              "--key-file",
              files.serverKey,
              "--trusted-ca-file",
              files.ca,
              "--client-cert-auth",
            ]
          : []),
        ...(options.arguments ?? []),
      ],
      { stdio: ["ignore", "ignore", "pipe"], env: { PATH: "/usr/bin:/bin", ETCD_UNSUPPORTED_ARCH: process.arch } },
    );
    server = child;
    let log = "";
    child.stderr?.on("data", (chunk: Buffer) => {
      log = (log + chunk.toString()).slice(-2000);
    });
    for (const deadline = Date.now() + 30_000; ; ) {
      try {
        await post("/v3/kv/range", { key: "AA==" });
        return;
      } catch (error) {
        // With users the call is refused, by a server that serves.
        if (error instanceof Error && /user name is empty|auth/.test(error.message)) return;
        if (child.exitCode !== null || Date.now() > deadline)
          throw new Error(`etcd did not start: ${log}`, { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
    }
  };
  const kill = (): Promise<void> => {
    const child = server;
    server = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
    return new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.kill("SIGKILL");
    });
  };
  const call = async (path: string, body: object): Promise<unknown> => {
    if (options.auth) await login();
    return post(path, body);
  };
  const stop = async (): Promise<void> => {
    await kill();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await start();
    if (options.auth) {
      await post("/v3/auth/user/add", { name: "root", password: PASSWORD });
      await post("/v3/auth/user/grant", { user: "root", role: "root" }).catch(async () => {
        await post("/v3/auth/role/add", { name: "root" });
        await post("/v3/auth/user/grant", { user: "root", role: "root" });
      });
      await post("/v3/auth/enable", {});
    }
  } catch (error) {
    await stop();
    throw error;
  }
  const compact = async (): Promise<void> => {
    const answer = (await call("/v3/kv/range", { key: "AA==" })) as { header: { revision: string } };
    await call("/v3/kv/compaction", { revision: answer.header.revision, physical: true });
  };
  return { endpoint, config, kill, start, compact, call, stop };
}

interface Certificates {
  readonly ca: string;
  readonly serverCert: string;
  readonly serverKey: string;
  readonly clientCert: string;
  readonly clientKey: string;
}

async function tlsOf(files: Certificates): Promise<object> {
  const [ca, cert, key] = await Promise.all(
    [files.ca, files.clientCert, files.clientKey].map((file) => Bun.file(file).text()),
  );
  return { ca, cert, key };
}

/** A CA, a server's certificate for 127.0.0.1 and localhost, and a client's. */
function makeCertificates(folder: string): Certificates {
  const path = (name: string) => join(folder, name);
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
  openssl("req", "-x509", "-days", "2", "-subj", "/CN=test CA", ...key("ca.key"), "-out", path("ca.crt"));
  const issue = (name: string, extensions: string) => {
    writeFileSync(path(`${name}.ext`), extensions);
    openssl("req", "-new", "-subj", `/CN=${name}`, ...key(`${name}.key`), "-out", path(`${name}.csr`));
    openssl(
      ...["x509", "-req", "-days", "2", "-in", path(`${name}.csr`), "-CA", path("ca.crt"), "-CAkey", path("ca.key")],
      ...["-CAcreateserial", "-extfile", path(`${name}.ext`), "-out", path(`${name}.crt`)],
    );
  };
  // The gateway connects to its own server with the server's certificate, so that is a client's as well.
  issue("server", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth,clientAuth\n");
  issue("client", "extendedKeyUsage=clientAuth\n");
  return {
    ca: path("ca.crt"),
    serverCert: path("server.crt"),
    serverKey: path("server.key"),
    clientCert: path("client.crt"),
    clientKey: path("client.key"),
  };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() =>
        typeof address === "object" && address ? resolve(address.port) : reject(new Error("no free port")),
      );
    });
  });
}
