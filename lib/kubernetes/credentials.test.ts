import { mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { ClusterConfig, ExecAuth } from "./config.ts";
import { Credentials, type ExecCredentials } from "./credentials.ts";
import { KubernetesError } from "./errors.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "credentials-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** As kubelet and certificate tools replace files. */
function replace(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(`${path}.new`, text);
  renameSync(`${path}.new`, path);
  return path;
}

const certificate = (text: string) => `-----BEGIN CERTIFICATE-----\n${text}\n-----END CERTIFICATE-----\n`;
const key = (text: string) => `-----BEGIN PRIVATE KEY-----\n${text}\n-----END PRIVATE KEY-----\n`;
const withAuth = (auth: ClusterConfig["auth"]): ClusterConfig => ({ server: "https://host", auth });
const exec = (fields: Partial<ExecAuth> = {}): ExecAuth => ({
  type: "exec",
  apiVersion: "client.authentication.k8s.io/v1",
  command: "helper",
  args: [],
  env: {},
  provideClusterInfo: false,
  interactiveMode: "Never",
  ...fields,
});

test("a token file is read again after a while, and at once when its token is refused", async () => {
  let now = 0;
  const file = replace("token", "one\n");
  const credentials = new Credentials(withAuth({ type: "tokenFile", file }), { now: () => now });
  const first = await credentials.current();
  expect(first).toEqual({ token: "one" });
  replace("token", "two\n");
  expect(await credentials.current()).toBe(first);
  const second = await credentials.renew(first);
  expect(second).toEqual({ token: "two" });
  replace("token", "three");
  now = 60_000;
  expect(await credentials.current()).toEqual({ token: "three" });
});

test("who was refused with older credentials gets those that came since", async () => {
  const file = replace("shared", "one");
  const credentials = new Credentials(withAuth({ type: "tokenFile", file }), { now: () => 0 });
  const used = await credentials.current();
  replace("shared", "two");
  const renewed = await credentials.renew(used);
  replace("shared", "three");
  expect(await credentials.renew(used)).toBe(renewed);
});

test("certificates and CA in files are followed, and an unchanged text keeps the connections", async () => {
  let now = 0;
  const files = { cert: { file: replace("crt", certificate("1")) }, key: { file: replace("key", key("1")) } };
  const config = {
    ...withAuth({ type: "certificate" as const, ...files }),
    ca: { file: replace("ca", certificate("ca")) },
  };
  const credentials = new Credentials(config, { now: () => now });
  const first = await credentials.current();
  expect(first).toEqual({ ca: certificate("ca"), cert: certificate("1"), key: key("1") });
  now = 60_000;
  expect(await credentials.current()).toBe(first);
  replace("ca", certificate("new"));
  now = 120_000;
  expect((await credentials.current()).ca).toBe(certificate("new"));
});

test("a file that cannot be used while it is rotated is taken to be what it was", async () => {
  const file = replace("rotating", "one");
  const credentials = new Credentials(withAuth({ type: "tokenFile", file }));
  const used = await credentials.current();
  for (const half of ["", "half\nof two"]) {
    replace("rotating", half);
    expect(await credentials.renew(used)).toEqual({ token: "one" });
  }
  rmSync(file);
  expect(await credentials.renew(used)).toEqual({ token: "one" });
});

test.each<[string, ClusterConfig["auth"], string]>([
  ["absent", { type: "tokenFile", file: "/nowhere/token" }, "there is no file /nowhere/token"],
  ["empty", { type: "tokenFile", file: "EMPTY" }, "empty: must hold a token"],
  ["PEM", { type: "certificate", cert: { file: "EMPTY" }, key: "x" }, "must be a CERTIFICATE in PEM"],
  ["key", { type: "certificate", cert: certificate("1"), key: "x" }, "the client key: must be a PRIVATE KEY in PEM"],
])("what was never right is CONFIG: %s", async (_name, auth, message) => {
  const empty = replace("empty", "\n");
  const config = withAuth(JSON.parse(JSON.stringify(auth).replace("EMPTY", empty)) as typeof auth);
  const reading = new Credentials(config).current();
  await expect(reading).rejects.toThrow(KubernetesError);
  await expect(reading).rejects.toThrow(message);
});

test("a credential program runs once for all who wait, and again when its answer expired or was refused", async () => {
  const answers: ExecCredentials[] = [
    { secrets: { token: "expired" }, expires: Date.now() - 1 },
    { secrets: { token: "good" }, expires: Date.now() + 3_600_000 },
    { secrets: { token: "renewed", cert: certificate("1"), key: key("1") } },
  ];
  let runs = 0;
  const run = async () => answers[runs++]!;
  const credentials = new Credentials(withAuth(exec()), { run });
  const [a, b] = await Promise.all([credentials.current(), credentials.current()]);
  expect([a.token, b.token, runs]).toEqual(["expired", "expired", 1]);
  const good = await credentials.current();
  expect([good.token, runs]).toEqual(["good", 2]);
  expect(await credentials.current()).toBe(good);
  const [c, d] = await Promise.all([credentials.renew(good), credentials.renew(good)]);
  expect([c.token, d.token, c.cert, runs]).toEqual(["renewed", "renewed", certificate("1"), 3]);
});

test("an answer that several waited for, and that is refused, is renewed for each of them", async () => {
  let runs = 0;
  const run = async () => ({ secrets: { token: `token-${++runs}` } });
  const credentials = new Credentials(withAuth(exec()), { run });
  const [a, b] = await Promise.all([credentials.current(), credentials.current()]);
  expect(b).toBe(a);
  expect((await credentials.renew(a)).token).toBe("token-2");
});

test("a program that fails is asked again the next time", async () => {
  let runs = 0;
  const run = async (): Promise<ExecCredentials> => {
    if (runs++ === 0) throw new KubernetesError("CONFIG", "not now");
    return { secrets: { token: "t" } };
  };
  const credentials = new Credentials(withAuth(exec()), { run });
  await expect(credentials.current()).rejects.toThrow("not now");
  expect((await credentials.current()).token).toBe("t");
});

test("messages can say where credentials come from, not what they are", () => {
  const origin = (auth: ClusterConfig["auth"]) => new Credentials(withAuth(auth)).origin;
  expect(origin({ type: "token", token: "secret" })).toBe("the token of the configuration");
  expect(origin({ type: "tokenFile", file: "/t" })).toBe("the token in /t");
  expect(origin({ type: "certificate", cert: "secret", key: "secret" })).toBe("the client certificate");
  expect(origin(exec())).toBe("what the program helper printed");
});
