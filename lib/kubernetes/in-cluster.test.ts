import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { KubernetesError } from "./errors.ts";
import { inClusterConfig, isInCluster } from "./in-cluster.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "in-cluster-"));
  for (const name of ["ca.crt", "token"]) writeFileSync(join(folder, name), name);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("the address is the environment's, the credentials are files that are read when they are needed", () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  expect(isInCluster(env)).toBe(true);
  expect(inClusterConfig(env, folder)).toEqual({
    server: "https://10.96.0.1:443",
    ca: { file: join(folder, "ca.crt") },
    auth: { type: "tokenFile", file: join(folder, "token") },
  });
});

test("an IPv6 address stands in brackets", () => {
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "6443" };
  expect(inClusterConfig(env, folder).server).toBe("https://[fd00::1]:6443");
});

test.each([
  [{}, "KUBERNETES_SERVICE_HOST is not set"],
  [{ KUBERNETES_SERVICE_HOST: "a" }, "KUBERNETES_SERVICE_PORT is not set"],
  [{ KUBERNETES_SERVICE_HOST: "a b", KUBERNETES_SERVICE_PORT: "1" }, "are not a host and a port"],
  [{ KUBERNETES_SERVICE_HOST: "a", KUBERNETES_SERVICE_PORT: "https" }, "are not a host and a port"],
])("%j is refused by name", (env, message) => {
  expect(isInCluster({})).toBe(false);
  expect(() => inClusterConfig(env, folder)).toThrow(KubernetesError);
  expect(() => inClusterConfig(env, folder)).toThrow(message);
});

test("a service account that is not mounted is named", () => {
  const env = { KUBERNETES_SERVICE_HOST: "10.96.0.1", KUBERNETES_SERVICE_PORT: "443" };
  expect(() => inClusterConfig(env, "/nowhere")).toThrow("/nowhere/ca.crt is missing");
});
