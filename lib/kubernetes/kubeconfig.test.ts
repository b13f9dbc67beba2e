import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { KubernetesError } from "./errors.ts";
import { type KubeconfigOptions, loadKubeconfig } from "./kubeconfig.ts";

const CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
const KEY = "-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n";
const base64 = (text: string) => Buffer.from(text).toString("base64");
const SECRET = "eyJhbGciOiJSUzI1NiJ9.c2VjcmV0.c2VjcmV0";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "kubeconfig-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Parts {
  readonly cluster?: object;
  readonly user?: object;
  readonly rest?: object;
}

/** A kubeconfig with one of each; JSON is YAML. */
const config = ({ cluster = {}, user = {}, rest = {} }: Parts = {}) =>
  JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "main",
    clusters: [{ name: "c", cluster: { server: "https://10.0.0.1:6443", ...cluster } }],
    users: [{ name: "u", user }],
    contexts: [{ name: "main", context: { cluster: "c", user: "u" } }],
    ...rest,
  });

const load = (parts: Parts, options: KubeconfigOptions = {}) => loadKubeconfig({ text: config(parts), ...options });

function refusal(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    expect(error).toBeInstanceOf(KubernetesError);
    expect((error as KubernetesError).code).toBe("CONFIG");
    expect((error as KubernetesError).message).not.toContain(SECRET);
    return (error as KubernetesError).message;
  }
  throw new Error("it was accepted");
}

describe("what a kubeconfig says", () => {
  test("YAML with certificates inline", () => {
    const text = `
apiVersion: v1
kind: Config
current-context: admin@lab
clusters:
- name: lab
  cluster:
    server: https://lab.example:6443/
    certificate-authority-data: ${base64(CERTIFICATE)}
    tls-server-name: kubernetes
users:
- name: admin
  user:
    client-certificate-data: ${base64(CERTIFICATE)}
    client-key-data: ${base64(KEY)}
contexts:
- name: admin@lab
  context: {cluster: lab, user: admin, namespace: team}
preferences: {}
`;
    expect(loadKubeconfig({ text })).toEqual({
      server: "https://lab.example:6443",
      ca: CERTIFICATE,
      serverName: "kubernetes",
      auth: { type: "certificate", cert: CERTIFICATE, key: KEY },
      namespace: "team",
    });
  });

  test("files are relative to the kubeconfig that names them", () => {
    const file = join(folder, "files.yaml");
    const user = { "client-certificate": "pki/a.crt", "client-key": "/etc/a.key" };
    writeFileSync(file, config({ cluster: { "certificate-authority": "ca.crt" }, user }));
    expect(loadKubeconfig({ file })).toEqual({
      server: "https://10.0.0.1:6443",
      ca: { file: join(folder, "ca.crt") },
      auth: { type: "certificate", cert: { file: join(folder, "pki/a.crt") }, key: { file: "/etc/a.key" } },
    });
  });

  test("data win over a file, a token file wins over a token, a certificate over both", () => {
    const cluster = { "certificate-authority": "x", "certificate-authority-data": base64(CERTIFICATE) };
    expect(load({ cluster }).ca).toBe(CERTIFICATE);
    const tokens = { token: SECRET, tokenFile: "/run/token" };
    expect(load({ user: tokens }).auth).toEqual({ type: "tokenFile", file: "/run/token" });
    const certificate = { "client-certificate": "/a", "client-key": "/b" };
    expect(load({ user: { ...tokens, ...certificate } }).auth).toMatchObject({ type: "certificate" });
  });

  test("a token; nothing", () => {
    expect(load({ user: { token: SECRET } }).auth).toEqual({ type: "token", token: SECRET });
    expect(load({}).auth).toEqual({ type: "none" });
  });

  test("insecure", () => {
    expect(load({ cluster: { "insecure-skip-tls-verify": true } })).toMatchObject({ insecureSkipTlsVerify: true });
  });

  test("exec", () => {
    const extension = { name: "client.authentication.k8s.io/exec", extension: { audience: "x" } };
    const exec = {
      apiVersion: "client.authentication.k8s.io/v1",
      command: "./helper",
      args: ["token"],
      env: [{ name: "PROFILE", value: "lab" }],
      interactiveMode: "Never",
      provideClusterInfo: true,
      installHint: "get it there",
    };
    const file = join(folder, "exec.yaml");
    writeFileSync(file, config({ user: { exec }, cluster: { extensions: [extension] } }));
    expect(loadKubeconfig({ file }).auth).toEqual({
      type: "exec",
      apiVersion: "client.authentication.k8s.io/v1",
      command: `${folder}/./helper`,
      args: ["token"],
      env: { PROFILE: "lab" },
      interactiveMode: "Never",
      provideClusterInfo: true,
      installHint: "get it there",
      clusterExtension: { audience: "x" },
    });
    const old = { apiVersion: "client.authentication.k8s.io/v1beta1", command: "helper", args: null, env: null };
    expect(load({ user: { exec: old } }).auth).toMatchObject({ command: "helper", interactiveMode: "IfAvailable" });
  });

  test("another context", () => {
    const contexts = [
      { name: "main", context: { cluster: "c", user: "u" } },
      { name: "other", context: { cluster: "c", user: "u", namespace: "there" } },
    ];
    expect(load({ rest: { contexts } }, { context: "other" }).namespace).toBe("there");
  });

  test("several files: what an earlier one says wins, absent ones are skipped", () => {
    const [first, second] = [join(folder, "first"), join(folder, "second")];
    writeFileSync(first, JSON.stringify({ clusters: [{ name: "c", cluster: { server: "https://first:1" } }] }));
    writeFileSync(second, config({ user: { token: SECRET } }));
    const found = loadKubeconfig({ file: `${folder}/absent:${first}:${second}` });
    expect(found).toMatchObject({ server: "https://first:1", auth: { type: "token" } });
  });
});

describe("overrides", () => {
  test("replace what the kubeconfig says", () => {
    const overrides = {
      server: "https://other:443",
      caFile: "/ca",
      certFile: "/cert",
      keyFile: "/key",
      qps: 20,
      burst: 40,
    };
    expect(load({ user: { token: SECRET } }, { overrides })).toEqual({
      server: "https://other:443",
      ca: { file: "/ca" },
      auth: { type: "certificate", cert: { file: "/cert" }, key: { file: "/key" } },
      qps: 20,
      burst: 40,
    });
  });

  test("with a server, no kubeconfig is needed", () => {
    expect(loadKubeconfig({ overrides: { server: "http://127.0.0.1:8080", token: SECRET } })).toEqual({
      server: "http://127.0.0.1:8080",
      auth: { type: "token", token: SECRET },
    });
  });

  test("empty ones count as absent", () => {
    const overrides = { server: "", caFile: "", certFile: "", keyFile: "", token: "" };
    expect(load({}, { overrides }).server).toBe("https://10.0.0.1:6443");
  });

  test("insecure drops the kubeconfig's CA", () => {
    const cluster = { "certificate-authority-data": base64(CERTIFICATE) };
    const found = load({ cluster }, { overrides: { insecureSkipTlsVerify: true } });
    expect(found.ca).toBeUndefined();
    expect(found.insecureSkipTlsVerify).toBe(true);
  });

  test("half a certificate is refused", () => {
    expect(refusal(() => load({}, { overrides: { keyFile: "/key" } }))).toContain("only the key file is given");
  });
});

describe("what is wrong is named by file and field", () => {
  const exec = { apiVersion: "client.authentication.k8s.io/v1", command: "x", interactiveMode: "Never" };
  test.each<[Parts, string]>([
    [{ cluster: { server: "" } }, 'cluster "c": server: missing: must be https://host:port'],
    [{ cluster: { server: "10.0.0.1:6443" } }, 'cluster "c": server: "10.0.0.1:6443": must be https://host:port'],
    [{ cluster: { server: 5 } }, 'cluster "c": server: must be a string'],
    [{ cluster: { "proxy-url": "http://proxy:3128" } }, 'cluster "c": proxy-url: proxies are not supported'],
    [{ cluster: { "certificate-authority-data": "%%" } }, "certificate-authority-data: must be a CERTIFICATE in PEM"],
    [{ cluster: { "certificate-authority-data": base64("nothing") } }, "certificate-authority-data: must be a"],
    [{ cluster: { "insecure-skip-tls-verify": "yes" } }, "insecure-skip-tls-verify: must be true or false"],
    [
      { cluster: { "insecure-skip-tls-verify": true, "certificate-authority": "/ca" } },
      "insecure-skip-tls-verify: excludes a certificate authority",
    ],
    [{ user: { "client-certificate": "/a" } }, 'user "u": client-certificate: is given without client-key'],
    [{ user: { "client-key-data": base64(CERTIFICATE) } }, "client-key-data: must be a PRIVATE KEY in PEM"],
    [{ user: { token: `${SECRET}\nX-Evil: 1` } }, 'user "u": token: holds what no token does'],
    [{ user: { username: "a", password: SECRET } }, 'user "u": username: not supported since Kubernetes 1.19'],
    [{ user: { "auth-provider": { name: "gcp" } } }, 'user "u": auth-provider: removed from Kubernetes in 1.26'],
    [{ user: { token: SECRET, as: "root" } }, 'user "u": as: impersonation is not supported'],
    [{ user: { token: SECRET, "as-groups": ["viewers"] } }, 'user "u": as-groups: impersonation is not supported'],
    [{ user: { token: SECRET, "as-uid": "1" } }, 'user "u": as-uid: impersonation is not supported'],
    [{ user: { exec: { ...exec, command: "" } } }, 'user "u": exec: command: missing'],
    [{ user: { exec: { ...exec, apiVersion: "v1" } } }, 'exec: apiVersion: "v1": must be one of client.auth'],
    [{ user: { exec: { ...exec, interactiveMode: "no" } } }, 'exec: interactiveMode: "no": must be one of Never'],
    [{ user: { exec: { ...exec, interactiveMode: undefined } } }, "exec: interactiveMode: missing"],
    [{ user: { exec: { ...exec, args: "x" } } }, "exec: args: must be a list of strings"],
    [{ user: { exec: { ...exec, env: [{ value: SECRET }] } } }, "exec: env[0]: name: missing"],
    [{ rest: { "current-context": "away" } }, 'current-context: "away" is none of its contexts (main)'],
    [{ rest: { "current-context": "" } }, "current-context: missing: must be one of its contexts (main)"],
    [{ rest: { contexts: [{ name: "main", context: { cluster: "d", user: "u" } }] } }, '"d" is none of clusters (c)'],
    [{ rest: { contexts: [{ name: "main", context: { user: "u" } }] } }, 'context "main": cluster: missing'],
    [{ rest: { clusters: {} } }, "clusters: must be a list"],
    [{ rest: { users: [5] } }, "users[0]: must be a mapping"],
    [{ rest: { kind: "Pod" } }, 'kind: "Pod": must be "Config"'],
  ])("%#: %j", (parts, message) => {
    expect(refusal(() => load(parts))).toContain(message);
    const file = join(folder, "wrong.yaml");
    writeFileSync(file, config(parts));
    expect(refusal(() => loadKubeconfig({ file }))).toContain(`kubeconfig ${file}: `);
  });

  test("a password in the address is not repeated", () => {
    const server = `https://admin:${SECRET}@host:6443`;
    expect(refusal(() => load({ cluster: { server } }))).toContain("must not contain a user name or password");
  });

  test("a text that is no YAML is not quoted", () => {
    expect(refusal(() => loadKubeconfig({ text: `{"token": "${SECRET}` }))).toContain("is neither YAML nor JSON");
    expect(refusal(() => loadKubeconfig({ text: SECRET }))).toContain("must be a mapping");
  });

  test("files that are not there", () => {
    expect(refusal(() => loadKubeconfig({ file: "/nowhere" }))).toBe("kubeconfig /nowhere: there is no such file");
    expect(refusal(() => loadKubeconfig({ file: "/nowhere:/else" }))).toContain("there is none of these files");
    expect(refusal(() => loadKubeconfig({ file: folder }))).toContain(`kubeconfig ${folder}: `);
    expect(refusal(() => loadKubeconfig({}))).toContain("current-context: missing");
  });
});
