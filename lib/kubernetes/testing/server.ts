import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AUDIT_POLICY, type AuditEvent, parseAudit } from "./audit.ts";
import { apiServerMissing, ETCD, KUBE_APISERVER } from "./binaries.ts";
import { type Certificates, makeCertificates, signToken } from "./certificates.ts";
import { EtcdKeys } from "./etcd.ts";
import { writeKubeconfig } from "./kubeconfig.ts";
import { ObjectWriter } from "./objects.ts";
import { claimFolder, forget, quietPort, removeAtExit, ServerProcess, untilServing } from "./processes.ts";
import { accessObjects, SERVICE_ACCOUNTS, TOKEN_USERS, type UserName } from "./roles.ts";
import {
  type ApiServer,
  type ApiServerOptions,
  type Group,
  type KubeconfigOptions,
  RequestFailed,
  type ServiceAccountToken,
} from "./types.ts";

const ISSUER = "https://kubernetes.default.svc";

/** Starts etcd and kube-apiserver and resolves when both serve, the users exist and the CRDs asked for are served: some 5 s. */
export async function startApiServer(options: ApiServerOptions = {}): Promise<ApiServer> {
  const missing = apiServerMissing();
  if (missing) throw new Error(missing);
  for (let attempt = 1; ; attempt++) {
    const folder = claimFolder();
    removeAtExit(folder);
    const host = options.host ?? "127.0.0.1";
    const server = new RealApiServer(folder, host, await quietPort(host), options);
    try {
      await server.up();
      return server;
    } catch (error) {
      await server.stop();
      // Another test file took the same port between the look and the bind.
      if (attempt < 3 && error instanceof Error && error.message.includes("address already in use")) continue;
      throw error;
    }
  }
}

class RealApiServer implements ApiServer {
  readonly url: string;
  readonly ca: string;
  readonly #files: Certificates;
  readonly #etcd: ServerProcess;
  readonly #apiserver: ServerProcess;
  readonly #keys: EtcdKeys;
  readonly #objects: ObjectWriter;
  readonly #tls: { readonly ca: string; readonly cert: string; readonly key: string };
  readonly #options: ApiServerOptions;
  readonly #tokens: Partial<Record<UserName, string>> = {};
  #kubeconfigs = 0;

  constructor(
    readonly folder: string,
    readonly host: string,
    readonly port: number,
    options: ApiServerOptions,
  ) {
    this.#options = options;
    this.url = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
    this.#files = makeCertificates(folder, [host, "localhost", "kubernetes.default.svc", ...(options.names ?? [])]);
    const [ca, cert, key] = [this.#files.caCert, this.#files.adminCert, this.#files.adminKey].map((file) =>
      readFileSync(file, "utf8"),
    );
    this.ca = ca!;
    this.#tls = { ca: ca!, cert: cert!, key: key! };
    for (const user of Object.keys(TOKEN_USERS) as UserName[]) this.#tokens[user] = `token-of-${user}`;
    const socket = join(folder, "etcd.sock");
    this.#keys = new EtcdKeys(socket);
    this.#objects = new ObjectWriter((method, path, body, type) => this.request(method, path, body, type));
    this.#etcd = new ServerProcess("etcd", etcdCommand(folder, socket), folder, options.prefix);
    this.#apiserver = new ServerProcess("kube-apiserver", this.#command(socket), folder, options.prefix);
  }

  get pids(): readonly number[] {
    return [this.#apiserver, this.#etcd].flatMap(({ running, pid }) => (running && pid !== undefined ? [pid] : []));
  }

  async up(): Promise<void> {
    this.#etcd.start();
    await untilServing(this.#etcd, () => this.#keys.healthy());
    await this.#start();
    await this.apply(...accessObjects());
    for (const user of ["cni", "node", "controllers"] as const) {
      const name = SERVICE_ACCOUNTS[user];
      this.#tokens[user] = await this.serviceAccountToken({ namespace: "kube-system", name });
    }
    if (this.#options.crds) await this.installCrds(this.#options.crds);
  }

  async #start(): Promise<void> {
    this.#apiserver.start();
    await untilServing(this.#apiserver, async () => {
      await this.request("GET", "/readyz");
      // Made by a loop of the server itself, which /readyz does not wait for.
      await this.request("GET", "/api/v1/namespaces/default");
      await this.request("GET", "/api/v1/namespaces/kube-system");
      return true;
    });
  }

  kubeconfig(user: UserName, options: KubeconfigOptions = {}): string {
    const file = join(this.folder, `${user}-${++this.#kubeconfigs}.kubeconfig`);
    const auth = (): object => {
      if (options.tokenFile !== undefined) return { tokenFile: options.tokenFile };
      if (options.token !== undefined) return { token: options.token };
      if (user !== "admin") return { token: this.token(user) };
      const data = (text: string) => Buffer.from(text).toString("base64");
      return { "client-certificate-data": data(this.#tls.cert), "client-key-data": data(this.#tls.key) };
    };
    writeKubeconfig(file, { server: options.server ?? this.url, ca: options.ca ?? this.ca, user, auth: auth() });
    return file;
  }

  token(user: Exclude<UserName, "admin">): string {
    return this.#tokens[user]!;
  }

  async serviceAccountToken({ namespace, name, seconds = 3600 }: ServiceAccountToken): Promise<string> {
    const path = `/api/v1/namespaces/${namespace}/serviceaccounts`;
    let account: { metadata: { uid: string } };
    try {
      account = await this.request("GET", `${path}/${name}`);
    } catch (error) {
      if (!(error instanceof RequestFailed && error.status === 404)) throw error;
      account = await this.request("POST", path, { metadata: { name } });
    }
    const now = Math.floor(Date.now() / 1000);
    // The server lets a token live a minute longer than it says, for clocks that differ.
    const exp = now + seconds - 60;
    return signToken(this.#files.accountKey, {
      iss: ISSUER,
      aud: [ISSUER],
      sub: `system:serviceaccount:${namespace}:${name}`,
      iat: Math.min(now, exp) - 60,
      nbf: Math.min(now, exp) - 60,
      exp,
      "kubernetes.io": { namespace, serviceaccount: { name, uid: account.metadata.uid } },
    });
  }

  async request<T = unknown>(method: string, path: string, body?: object, contentType?: string): Promise<T> {
    const response = await fetch(this.url + path, {
      method,
      signal: AbortSignal.timeout(30_000),
      tls: this.#tls,
      ...(body === undefined
        ? {}
        : { body: JSON.stringify(body), headers: { "content-type": contentType ?? "application/json" } }),
    });
    const text = await response.text();
    const parsed = text.startsWith("{") ? (JSON.parse(text) as unknown) : text;
    if (response.ok) return parsed as T;
    const message = (parsed as { message?: string }).message ?? text;
    throw new RequestFailed(response.status, `${method} ${path}: ${response.status} ${message}`, parsed);
  }

  async apply(...objects: readonly object[]): Promise<void> {
    await this.#objects.apply(objects);
  }

  async installCrds(group: Group): Promise<void> {
    const { admissionPolicies, crdsOf } = await import("../../api/crd/index.ts");
    const groups = group === "both" ? (["v1", "v3"] as const) : [group];
    for (const one of groups) await this.#objects.apply(crdsOf(one));
    if (group !== "v1") await this.#objects.applyPolicies(admissionPolicies());
  }

  async kill(): Promise<void> {
    await this.#apiserver.end("SIGKILL");
  }

  async restart(): Promise<void> {
    await this.kill();
    await this.#start();
  }

  pause(): void {
    this.#apiserver.signal("SIGSTOP");
  }

  resume(): void {
    this.#apiserver.signal("SIGCONT");
  }

  compact(): Promise<void> {
    return this.#keys.compact();
  }

  async writeRaw(key: string, value: object | undefined): Promise<void> {
    if (!key.startsWith("/registry/")) throw new Error(`${key}: keys of the API server begin with /registry/`);
    await this.#keys.write(key, value);
  }

  async audit(): Promise<readonly AuditEvent[]> {
    if (!this.#options.audit) throw new Error("no audit was asked for: startApiServer({ audit: true })");
    // A request is recorded when it was answered: one more tells that those before it are.
    const marker = `/version?audited=${crypto.randomUUID()}`;
    await this.request("GET", marker);
    for (const deadline = performance.now() + 10_000; ; ) {
      const events = parseAudit(readFileSync(this.#auditLog, "utf8"));
      if (events.some(({ uri }) => uri === marker)) return events.filter(({ uri }) => !uri.includes("?audited="));
      if (performance.now() > deadline) throw new Error("the audit log does not grow");
      await Bun.sleep(10);
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#apiserver.end(), this.#etcd.end()]);
    forget(this.folder);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  get #auditLog(): string {
    return join(this.folder, "audit.log");
  }

  #command(etcdSocket: string): string[] {
    const files = this.#files;
    const tokens = Object.entries(TOKEN_USERS).map(
      ([user, groups]) =>
        `${this.#tokens[user as UserName]},${user},${user}${groups.length > 0 ? `,"${groups.join(",")}"` : ""}\n`,
    );
    const tokenFile = join(this.folder, "tokens.csv");
    writeFileSync(tokenFile, tokens.join(""), { mode: 0o600 });
    const policy = join(this.folder, "audit-policy.json");
    writeFileSync(policy, JSON.stringify(AUDIT_POLICY));
    return [
      KUBE_APISERVER,
      `--etcd-servers=unix://${etcdSocket}`,
      ...[`--bind-address=${this.host}`, `--advertise-address=${this.host}`, `--secure-port=${this.port}`],
      // It would refuse to publish a loopback address as the endpoint of Service kubernetes, once a second.
      "--endpoint-reconciler-type=none",
      ...[`--tls-cert-file=${files.serverCert}`, `--tls-private-key-file=${files.serverKey}`],
      ...[`--client-ca-file=${files.caCert}`, `--token-auth-file=${tokenFile}`],
      ...[`--service-account-issuer=${ISSUER}`, `--service-account-key-file=${files.accountPublicKey}`],
      `--service-account-signing-key-file=${files.accountKey}`,
      "--service-cluster-ip-range=10.96.0.0/16",
      "--authorization-mode=RBAC",
      // A pod would need the account "default" of its namespace, which a controller makes.
      ...(this.#options.serviceAccounts ? [] : ["--disable-admission-plugins=ServiceAccount"]),
      "--feature-gates=MutatingAdmissionPolicy=true",
      "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
      "--allow-privileged=true",
      "--shutdown-delay-duration=0s",
      ...(this.#options.audit ? [`--audit-policy-file=${policy}`, `--audit-log-path=${this.#auditLog}`] : []),
      ...(this.#options.arguments ?? []),
    ];
  }
}

function etcdCommand(folder: string, socket: string): string[] {
  // A URL of a socket for peers has no path: it is a file in the working directory.
  const peer = "unix://peer.sock:1";
  return [
    ...[ETCD, "--name=test", `--data-dir=${join(folder, "etcd")}`, "--log-level=warn"],
    ...[`--listen-client-urls=unix://${socket}`, `--advertise-client-urls=unix://etcd.sock:1`],
    ...[`--listen-peer-urls=${peer}`, `--initial-advertise-peer-urls=${peer}`, `--initial-cluster=test=${peer}`],
    // The data is gone with the test; a crash of the API server is tested, and not one of the machine.
    "--unsafe-no-fsync",
  ];
}
