/**
 * Credential programs, as client.authentication.k8s.io/v1 has them: the program is told in KUBERNETES_EXEC_INFO what is wanted, and
 * prints an ExecCredential. What it prints is a secret and never part of a message.
 */
import { isatty } from "node:tty";
import type { ClusterConfig, ExecAuth, Pem } from "./config.ts";
import { checkedToken, type ExecCredentials, readFile } from "./credentials.ts";
import { KubernetesError } from "./errors.ts";

/** How long a program may take when nobody can be asked, in milliseconds. */
const LIMIT = 60_000;
/** More than any credential is, in bytes. */
const MOST_OUTPUT = 2 ** 20;

/** `limit`: milliseconds. */
export async function runCredentialProgram(
  auth: ExecAuth,
  config: ClusterConfig,
  limit = LIMIT,
): Promise<ExecCredentials> {
  const where = `the credential program ${auth.command}`;
  const interactive = auth.interactiveMode !== "Never" && isatty(0);
  if (auth.interactiveMode === "Always" && !interactive)
    throw refuse(`${where} must be able to ask the user (interactiveMode: Always), and there is no terminal`);
  const { exitCode, output, complaint } = await run(
    auth,
    where,
    info(auth, config, interactive),
    interactive ? undefined : limit,
  );
  if (exitCode !== 0)
    throw refuse(
      `${where} ended with ${exitCode}${complaint === "" ? "" : `: ${complaint}`}: run it by hand to see why`,
    );
  return parse(output, auth, where);
}

/** Without a limit the user can be asked. */
async function run(auth: ExecAuth, where: string, execInfo: string, limit: number | undefined) {
  const interactive = limit === undefined;
  let child: Bun.Subprocess<"inherit" | "ignore", "pipe", "inherit" | "pipe">;
  try {
    child = Bun.spawn([auth.command, ...auth.args], {
      env: { ...process.env, ...auth.env, KUBERNETES_EXEC_INFO: execInfo },
      stdin: interactive ? "inherit" : "ignore",
      stdout: "pipe",
      stderr: interactive ? "inherit" : "pipe",
    });
  } catch (error) {
    const hint = auth.installHint ? `: ${auth.installHint.trim()}` : ": install it or correct exec.command";
    throw new KubernetesError("CONFIG", `${where} cannot be started${hint}`, { cause: error });
  }
  const ending = new AbortController();
  const giveUp = (why: string) => {
    child.kill("SIGKILL");
    ending.abort(refuse(`${where} ${why}: run it by hand to see why`));
  };
  const timer = interactive ? undefined : setTimeout(() => giveUp(`did not end within ${limit / 1000} s`), limit);
  try {
    const overflow = () => giveUp("printed more than any credential is");
    const [output, complaint] = await Promise.all([
      textOf(child.stdout, ending.signal, overflow),
      child.stderr ? textOf(child.stderr, ending.signal, overflow) : "",
    ]);
    await child.exited;
    return { exitCode: child.exitCode ?? child.signalCode, output, complaint: harmless(complaint) };
  } finally {
    clearTimeout(timer);
  }
}

/** All of a pipe. What a program started may hold it open for longer than the program lives, so the signal ends it as well. */
async function textOf(pipe: ReadableStream<Uint8Array>, signal: AbortSignal, overflow: () => void): Promise<string> {
  const reader = pipe.getReader();
  const ended = Promise.withResolvers<never>();
  ended.promise.catch(() => {});
  const end = () => ended.reject(signal.reason);
  if (signal.aborted) end();
  signal.addEventListener("abort", end);
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for (;;) {
      const { value } = await Promise.race([reader.read(), ended.promise]);
      if (!value) return Buffer.concat(chunks).toString();
      chunks.push(value);
      length += value.length;
      if (length > MOST_OUTPUT) overflow();
    }
  } finally {
    signal.removeEventListener("abort", end);
    reader.cancel().catch(() => {});
  }
}

function info(auth: ExecAuth, config: ClusterConfig, interactive: boolean): string {
  const cluster = auth.provideClusterInfo
    ? {
        cluster: {
          server: config.server,
          ...(config.serverName ? { "tls-server-name": config.serverName } : {}),
          ...(config.insecureSkipTlsVerify ? { "insecure-skip-tls-verify": true } : {}),
          ...(config.ca === undefined
            ? {}
            : { "certificate-authority-data": Buffer.from(pemText(config.ca)).toString("base64") }),
          ...(auth.clusterExtension === undefined ? {} : { config: auth.clusterExtension }),
        },
      }
    : {};
  return JSON.stringify({ apiVersion: auth.apiVersion, kind: "ExecCredential", spec: { ...cluster, interactive } });
}

const pemText = (pem: Pem): string => (typeof pem === "string" ? pem : readFile(pem.file, "the CA"));

function parse(output: string, auth: ExecAuth, where: string): ExecCredentials {
  let value: unknown;
  try {
    value = JSON.parse(output);
  } catch {
    throw refuse(`${where} printed something that is not JSON: must be an ExecCredential`);
  }
  const credential = (value ?? {}) as { kind?: unknown; apiVersion?: unknown; status?: Record<string, unknown> | null };
  if (credential.kind !== "ExecCredential" || credential.apiVersion !== auth.apiVersion)
    throw refuse(`${where} printed something else than an ExecCredential of ${auth.apiVersion}`);
  const field = (name: string): string => {
    const one = credential.status?.[name] ?? "";
    if (typeof one !== "string") throw refuse(`${where}: status.${name} must be a string`);
    return one;
  };
  const [token, cert, key, expiration] = [
    field("token"),
    field("clientCertificateData"),
    field("clientKeyData"),
    field("expirationTimestamp"),
  ];
  if ((cert === "") !== (key === ""))
    throw refuse(`${where}: status.clientCertificateData and status.clientKeyData go together`);
  if (token === "" && cert === "") throw refuse(`${where}: status has neither a token nor a client certificate`);
  const expires = expiration === "" ? undefined : Date.parse(expiration);
  if (Number.isNaN(expires)) throw refuse(`${where}: status.expirationTimestamp must be a time of RFC 3339`);
  return {
    secrets: {
      ...(token === "" ? {} : { token: checkedToken(token, `${where}: status.token`) }),
      ...(cert === "" ? {} : { cert, key }),
    },
    ...(expires === undefined ? {} : { expires }),
  };
}

/** The last of what the program said, on one line, without anything that is as long as a credential. */
const harmless = (text: string): string =>
  text
    .replaceAll(/[A-Za-z0-9+_=.-]{32,}/g, "…")
    .replaceAll(/\s+/g, " ")
    .trim()
    .slice(-300);

const refuse = (message: string): KubernetesError => new KubernetesError("CONFIG", message);
