/**
 * Credential programs, as client.authentication.k8s.io/v1 has them: the program is told in KUBERNETES_EXEC_INFO what is wanted, and
 * prints an ExecCredential. What it prints is a secret and never part of a message.
 */
import { isatty } from "node:tty";
import type { ClusterConfig, ExecAuth } from "./config.ts";
import { checkedToken, type ExecCredentials } from "./credentials.ts";
import { KubernetesError } from "./errors.ts";

/** How long a program may take when nobody can be asked, in milliseconds. */
const LIMIT = 60_000;

export async function runCredentialProgram(auth: ExecAuth, config: ClusterConfig): Promise<ExecCredentials> {
  const where = `the credential program ${auth.command}`;
  const interactive = auth.interactiveMode !== "Never" && isatty(0);
  if (auth.interactiveMode === "Always" && !interactive)
    throw refuse(`${where} must be able to ask the user (interactiveMode: Always), and there is no terminal`);
  const { exitCode, output, complaint } = await run(auth, where, info(auth, config, interactive), interactive);
  if (exitCode !== 0)
    throw refuse(
      `${where} ended with ${exitCode}${complaint === "" ? "" : `: ${complaint}`}: run it by hand to see why`,
    );
  return parse(output, auth, where);
}

async function run(auth: ExecAuth, where: string, execInfo: string, interactive: boolean) {
  let child: Bun.Subprocess<"inherit" | "ignore", "pipe", "inherit" | "pipe">;
  try {
    child = Bun.spawn([auth.command, ...auth.args], {
      env: { ...process.env, ...auth.env, KUBERNETES_EXEC_INFO: execInfo },
      stdin: interactive ? "inherit" : "ignore",
      stdout: "pipe",
      stderr: interactive ? "inherit" : "pipe",
      ...(interactive ? {} : { timeout: LIMIT, killSignal: "SIGKILL" }),
    });
  } catch (error) {
    const hint = auth.installHint ? `: ${auth.installHint.trim()}` : ": install it or correct exec.command";
    throw new KubernetesError("CONFIG", `${where} cannot be started${hint}`, { cause: error });
  }
  const [output, complaint] = await Promise.all([
    new Response(child.stdout).text(),
    child.stderr ? new Response(child.stderr).text() : "",
  ]);
  await child.exited;
  return { exitCode: child.exitCode ?? child.signalCode, output, complaint: harmless(complaint) };
}

function info(auth: ExecAuth, config: ClusterConfig, interactive: boolean): string {
  const cluster = auth.provideClusterInfo
    ? {
        cluster: {
          server: config.server,
          ...(config.serverName ? { "tls-server-name": config.serverName } : {}),
          ...(config.insecureSkipTlsVerify ? { "insecure-skip-tls-verify": true } : {}),
          ...(typeof config.ca === "string"
            ? { "certificate-authority-data": Buffer.from(config.ca).toString("base64") }
            : {}),
          ...(auth.clusterExtension === undefined ? {} : { config: auth.clusterExtension }),
        },
      }
    : {};
  return JSON.stringify({ apiVersion: auth.apiVersion, kind: "ExecCredential", spec: { ...cluster, interactive } });
}

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
