import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ClusterConfig, ExecAuth } from "./config.ts";
import { runCredentialProgram } from "./exec.ts";

const SECRET = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0c2VjcmV0c2VjcmV0.c2VjcmV0";
const V1 = "client.authentication.k8s.io/v1";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "exec-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let scripts = 0;
function script(body: string): string {
  const path = join(folder, `helper-${scripts++}`);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

const run = (command: string, fields: Partial<ExecAuth> = {}, config: Partial<ClusterConfig> = {}, limit?: number) => {
  const auth: ExecAuth = {
    type: "exec",
    apiVersion: V1,
    command,
    args: [],
    env: {},
    provideClusterInfo: false,
    interactiveMode: "Never",
    ...fields,
  };
  return runCredentialProgram(auth, { server: "https://host:6443", auth, ...config }, limit);
};

const printing = (value: unknown): string => script(`cat <<'END'\n${JSON.stringify(value)}\nEND`);
const credential = (status: object) => ({ apiVersion: V1, kind: "ExecCredential", status });

test("token and expiry", async () => {
  const status = { token: SECRET, expirationTimestamp: "2030-01-01T00:00:00Z" };
  expect(await run(printing(credential(status)))).toEqual({
    secrets: { token: SECRET },
    expires: Date.UTC(2030, 0, 1),
  });
});

test("a certificate with its key", async () => {
  const status = { clientCertificateData: "CERT", clientKeyData: "KEY" };
  expect(await run(printing(credential(status)))).toEqual({ secrets: { cert: "CERT", key: "KEY" } });
});

test("the program gets its arguments, its environment and what is wanted", async () => {
  const command = script(
    `printf '{"apiVersion":"${V1}","kind":"ExecCredential","status":{"token":"%s.%s.%s"}}' "$1" "$PROFILE" "$(printf %s "$KUBERNETES_EXEC_INFO" | base64 -w0)"`,
  );
  const fields = {
    args: ["an-argument"],
    env: { PROFILE: "lab" },
    provideClusterInfo: true,
    clusterExtension: { a: 1 },
  };
  const { secrets } = await run(command, fields, { ca: "PEM", serverName: "kubernetes" });
  const [argument, profile, info] = secrets.token!.split(".");
  expect([argument, profile]).toEqual(["an-argument", "lab"]);
  expect(JSON.parse(atob(info!))).toEqual({
    apiVersion: V1,
    kind: "ExecCredential",
    spec: {
      cluster: {
        server: "https://host:6443",
        "tls-server-name": "kubernetes",
        "certificate-authority-data": btoa("PEM"),
        config: { a: 1 },
      },
      interactive: false,
    },
  });
});

test("a CA in a file is passed on as its text, as client-go does", async () => {
  const command = script(
    `printf '{"apiVersion":"${V1}","kind":"ExecCredential","status":{"token":"%s"}}' "$(printf %s "$KUBERNETES_EXEC_INFO" | base64 -w0)"`,
  );
  const file = join(folder, "ca.crt");
  writeFileSync(file, "PEM");
  const { secrets } = await run(command, { provideClusterInfo: true }, { ca: { file } });
  expect(JSON.parse(atob(secrets.token!)).spec.cluster["certificate-authority-data"]).toBe(btoa("PEM"));
});

test("a program whose child holds on to its output is given up all the same", async () => {
  const pid = join(folder, "sleeper");
  const error = await run(script(`sleep 600 & echo $! >${pid}; wait`), {}, {}, 100).catch((one: unknown) => one);
  process.kill(Number(readFileSync(pid, "utf8")), "SIGKILL");
  expect(error).toMatchObject({ name: "KubernetesError", code: "CONFIG" });
  expect((error as Error).message).toContain("did not end within 0.1 s");
});

test("a program that prints without end is given up", async () => {
  const error = await run(script("exec yes")).catch((one: unknown) => one);
  expect((error as Error).message).toContain("printed more than any credential is");
});

describe("what goes wrong is named, without what was printed", () => {
  test.each<[string, () => string, string]>([
    ["absent", () => "/nowhere/helper", "cannot be started: get it there"],
    ["failing", () => script(`echo "token ${SECRET} is old" >&2; exit 3`), "ended with 3: token … is old"],
    ["killed", () => script("kill -9 $$"), "ended with SIGKILL"],
    ["no JSON", () => script(`echo ${SECRET}`), "printed something that is not JSON"],
    ["another kind", () => printing({ token: SECRET }), `something else than an ExecCredential of ${V1}`],
    ["another version", () => printing({ ...credential({ token: SECRET }), apiVersion: "v2" }), "something else than"],
    ["nothing", () => printing(credential({})), "neither a token nor a client certificate"],
    ["no status", () => printing({ apiVersion: V1, kind: "ExecCredential" }), "neither a token nor"],
    ["half", () => printing(credential({ token: SECRET, clientKeyData: "k" })), "go together"],
    ["a number", () => printing(credential({ token: 5 })), "status.token must be a string"],
    ["two lines", () => printing(credential({ token: `${SECRET}\r\nA: b` })), "status.token: holds what no token does"],
    ["no time", () => printing(credential({ token: SECRET, expirationTimestamp: "soon" })), "RFC 3339"],
  ])("%s", async (_name, command, message) => {
    const error = await run(command(), { installHint: "get it there\n" }).catch((one: unknown) => one as Error);
    expect(error).toMatchObject({ name: "KubernetesError", code: "CONFIG" });
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).toContain("the credential program ");
    expect((error as Error).message).not.toContain(SECRET);
  });
});
