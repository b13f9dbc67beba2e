import { existsSync, mkdirSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CHECKOUT, missingTool, type Node, run } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Cluster, createCluster, kubernetesArgs } from "./cluster.ts";
import { expectError, expectNothingLeft, expectSuccess } from "./expect.ts";

describeLab("a directory of somebody else's as working directory", () => {
  let cluster: Cluster;
  let node: Node;
  const trap = "/tmp/trap";
  beforeAll(async () => {
    cluster = await createCluster();
    node = cluster.nodes[0]!;
    const file = (name: string, text: string) => {
      const path = node.path(join(trap, name));
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text);
    };
    file(
      "sprung.ts",
      `require("node:fs").writeFileSync("${trap}/sprung", String(process.pid)); console.log("sprung");`,
    );
    file("bunfig.toml", 'preload = ["./sprung.ts"]\nlogLevel = "debug"\n[test]\npreload = ["./sprung.ts"]\n');
    file("package.json", '{ "name": "trap", "type": "commonjs", "imports": { "#x": "./sprung.ts" } }');
    file("tsconfig.json", '{ "compilerOptions": { "paths": { "*": ["./sprung.ts"] } } }');
    file("node_modules/yaml/index.js", `require("${trap}/sprung.ts")`);
    for (const name of [".env", ".env.local", ".env.production", ".env.development"]) {
      file(
        name,
        "CNI_COMMAND=VERSION\nDATASTORE_TYPE=etcdv3\nETCD_ENDPOINTS=http://127.0.0.1:1\nFELIX_INTERFACEPREFIX=trap\n",
      );
    }
  });
  afterAll(() => cluster?.dispose());
  const sprung = () => existsSync(node.path(join(trap, "sprung")));

  test("the trap works: the runtime itself falls into it", async () => {
    await node.run([join(CHECKOUT, "node_modules/.bin/bun"), "-e", "0"], { cwd: trap });
    expect(sprung()).toBe(true);
    await node.run(["rm", join(trap, "sprung")]);
  });

  test("no configuration of the runtime is read there by the plugin", async () => {
    const pod = await node.pod("env");
    const { datastore_type: _, ...conf } = cluster.conf() as Record<string, unknown>;
    const args = kubernetesArgs(pod);
    const added = await pod.cni("ADD", conf, { args, cwd: trap });
    expectSuccess(added);
    expect(added.stdout).toMatch(/"cali[0-9a-f]{11}"/);
    expectSuccess(await pod.cni("DEL", conf, { args, cwd: trap }));
    await expectNothingLeft(cluster);
    expect(sprung()).toBe(false);
  });

  test("nor by the command lines", async () => {
    const env = { DATASTORE_FILE: cluster.keys.datastore_file! };
    expect(await node.run(["calicoctl", "get", "ippool"], { cwd: trap, env })).toContain("pool4");
    expect(await node.run(["calico-ipam", "show"], { cwd: trap, env })).toContain("10.65.0.0/16");
    expect(await node.run(["calico", "version"], { cwd: trap })).not.toContain("sprung");
    expect(sprung()).toBe(false);
  });

  test("secrets of a configuration are in no message and no log", async () => {
    const pod = await node.pod("secret");
    const secret = "s3cret-token-of-the-cluster";
    const conf = cluster.conf({
      policy: { type: "k8s", k8s_auth_token: secret },
      log_level: "debug",
      datastore_type: "etcdv3",
      etcd_endpoints: `http://root:${secret}@${cluster.lab.underlay4}:9`,
    });
    const outcome = await pod.cni("ADD", conf);
    expect(outcome.json).toMatchObject({ code: 7, msg: expect.stringContaining("etcd_endpoints") });
    const broken = await pod.cni("ADD", `{"policy": {"k8s_auth_token": "${secret}"`);
    expectError(broken, 6);
    const good = cluster.conf({ policy: { type: "k8s", k8s_auth_token: secret }, log_level: "debug" });
    await pod.add(good);
    await pod.del(good);
    const logs = await node.exec(["sh", "-c", "cat /var/log/calico/cni/* 2>/dev/null"]);
    expect(logs.stdout).not.toBe("");
    for (const text of [outcome, broken, logs].flatMap(({ stdout, stderr }) => [stdout, stderr])) {
      expect(text).not.toContain(secret);
    }
    await expectNothingLeft(cluster);
  });
});

const NOBODY = 65534;

describe("without root", () => {
  const missing =
    process.getuid?.() !== 0 ? "is run as root, to become nobody" : (missingTool("setpriv") ?? unreadable());

  test.skipIf(missing !== undefined)(
    `the suites that need root say so by name, and pass${missing ? ` (skipped: ${missing})` : ""}`,
    async () => {
      const command = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", "--"];
      const vitest = [
        process.execPath,
        "--bun",
        "node_modules/vitest/vitest.mjs",
        "run",
        "--project=conformance",
        "--configLoader=runner",
      ];
      const outcome = await run(
        [...command, ...vitest, "--reporter=verbose", "--cache=false", "conformance/lab", "conformance/cni/plugins"],
        {
          cwd: CHECKOUT,
          env: { NO_COLOR: "1", HOME: "/nonexistent", TMPDIR: "/tmp" },
        },
      );
      expect(outcome.status, outcome.stdout + outcome.stderr).toBe(0);
      expect(outcome.stdout).toMatch(/↓.*lab \(skipped: needs root, for namespaces\)/);
      expect(outcome.stdout).toMatch(/↓.*beside other CNI plugins \(skipped: needs root, for namespaces\)/);
      expect(outcome.stdout).not.toMatch(/ \d+ failed/);
    },
  );
});

/** Why an ordinary user cannot read this checkout, or undefined when one can. */
function unreadable(): string | undefined {
  for (let folder = CHECKOUT; folder !== "/"; folder = dirname(folder)) {
    if ((statSync(folder).mode & 0o005) !== 0o005) return `${folder} is not open to others`;
  }
  return undefined;
}
