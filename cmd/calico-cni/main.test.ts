import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openClient } from "../../lib/datastore/index.ts";

const MAIN = join(import.meta.dirname, "..", "calico", "main.ts");

let folder = "";
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "calico-cni-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(args: string[], env: Record<string, string>, stdin: string | object) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], {
    encoding: "utf8",
    input: typeof stdin === "string" ? stdin : JSON.stringify(stdin),
    env: { PATH: process.env.PATH ?? "", HOME: folder, ...env },
  });
  return {
    status,
    stdout,
    stderr,
    json: stdout.startsWith("{") ? (JSON.parse(stdout) as Record<string, unknown>) : {},
  };
}

const network = (): Record<string, unknown> => ({
  cniVersion: "1.0.0",
  name: "net",
  type: "calico",
  nodename: "n",
  nodename_file_optional: true,
  datastore_type: "sqlite",
  datastore_file: join(folder, "datastore.db"),
  ipam_lock_file: join(folder, "ipam.lock"),
  log_file_path: join(folder, "cni.log"),
  ipam: { type: "calico-ipam" },
});

test("VERSION by the process", () => {
  const { status, json, stderr } = run([], { CNI_COMMAND: "VERSION" }, '{"cniVersion":"0.4.0"}');
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  expect(json).toMatchObject({ cniVersion: "0.4.0" });
});

test("-v prints the version", () => {
  expect(run(["-v"], {}, "").stdout).toMatch(/^v\d+\.\d+\.\d+\S*\n$/);
});

test("a flag that is not understood is error 100", () => {
  const { status, json } = run(["-x"], { CNI_COMMAND: "ADD" }, "");
  expect(status).toBe(1);
  expect(json).toMatchObject({ code: 100, msg: "failed to parse CLI flags" });
});

test("-t tells whether the datastore can be used", async () => {
  const missing = run(["-t"], {}, { ...network(), datastore_file: join(folder, "none.db") });
  expect(missing.json).toMatchObject({ code: 100, msg: "data store connection failed" });
  expect(missing.json.details).toContain("none.db");
  expect(existsSync(join(folder, "none.db"))).toBe(false);
  await (await openClient({ type: "sqlite", file: join(folder, "datastore.db") })).close();
  expect(run(["-t"], { CNI_COMMAND: "VERSION" }, network())).toMatchObject({ status: 0, stdout: "" });
  const away = run(["-t"], {}, { ...network(), datastore_type: "etcdv3", etcd_endpoints: "http://127.0.0.1:1" });
  expect(away.status).toBe(1);
  expect(away.json).toMatchObject({ code: 100, msg: "data store connection failed" });
  expect(away.json.details).toContain("127.0.0.1:1");
});

test("a failure is an error object on stdout, a line on stderr and exit status 1", () => {
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "abc", CNI_NETNS: "/run/netns/none-such", CNI_IFNAME: "eth0" };
  const { status, json, stderr } = run([], env, network());
  expect(status).toBe(1);
  expect(json).toMatchObject({ cniVersion: "1.0.0", code: 4 });
  expect(stderr).toContain("ADD failed: CNI_NETNS does not exist");
});

test("all of a long debug log reaches stderr before the process ends", () => {
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "abc", CNI_NETNS: "/run/netns/none-such", CNI_IFNAME: "eth0" };
  const { stderr } = run([], env, { ...network(), log_level: "debug" });
  expect(stderr).toContain("ADD failed");
  expect(stderr).toMatch(/where it happened .*\n$/);
});

test.each(["", "{", "[]"])("stdin %j is an error object", (stdin) => {
  const env = { CNI_COMMAND: "DEL", CNI_CONTAINERID: "abc", CNI_IFNAME: "eth0" };
  const { status, json } = run([], env, stdin);
  expect(status).toBe(1);
  expect(json).toMatchObject({ code: 6 });
});

test("an ADD on a node where no policy has been in force since its boot waits for that, and says so", () => {
  const conf = { ...network(), policy_setup_timeout_seconds: 1, endpoint_status_dir: join(folder, "not-made") };
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "c", CNI_IFNAME: "eth0", CNI_PATH: "/none" };
  const began = performance.now();
  // Its own network namespace is refused whatever the node's state is, so that nothing is ever made here.
  const { json } = run([], { ...env, CNI_NETNS: "/proc/self/ns/net" }, conf);
  expect(performance.now() - began).toBeGreaterThanOrEqual(1000);
  expect(json).toMatchObject({ code: 4 });
  expect(readFileSync(join(folder, "cni.log"), "utf8")).toMatch(
    /waits for calico-node to bring network policy into force on this node container="c" seconds=1/,
  );
});
