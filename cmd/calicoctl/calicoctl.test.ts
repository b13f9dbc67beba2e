import { Database } from "bun:sqlite";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { memoryIo } from "../../lib/cli/testing.ts";
import { openClient } from "../../lib/datastore/index.ts";
import { type EtcdServer, findEtcd, startEtcd } from "../../lib/datastore/testing.ts";
import { createIpam } from "../../lib/ipam/index.ts";
import { main } from "./main.ts";

const folder = mkdtempSync(join(tmpdir(), "calicoctl-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let number = 0;
/** A file in the test's folder, and its path. */
function file(text: string, extension = "yaml"): string {
  const path = join(folder, `${number++}.${extension}`);
  writeFileSync(path, text);
  return path;
}

const HEAD = "apiVersion: projectcalico.org/v3\n";
const pool = (name: string, cidr: string, more = "") =>
  `${HEAD}kind: IPPool\nmetadata:\n  name: ${name}\nspec:\n  cidr: ${cidr}\n${more}`;

interface Outcome {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

/** Every run names its datastore by a configuration file, so that none of the machine's can be meant. */
function runner(config: string) {
  const path = file(`${HEAD}kind: CalicoAPIConfig\nmetadata:\nspec:\n${config}`, "cfg");
  return async (argv: string, stdin?: string): Promise<Outcome> => {
    const io = memoryIo(stdin === undefined ? {} : { stdin });
    const words = argv.split(" ").filter((word) => word !== "");
    const status = await main([...words, "-c", path], {}, io);
    expect(io.err()).not.toContain("    at ");
    return { status, out: io.out(), err: io.err() };
  };
}

const done = (out: string): Outcome => ({ status: 0, out, err: "" });
const failed = (err: string, out = ""): Outcome => ({ status: 1, out, err });

/** What a person does with resources, on any datastore. */
function behaviour(fresh: () => Promise<string>): void {
  let ctl: ReturnType<typeof runner>;
  beforeEach(async () => {
    ctl = runner(await fresh());
  });

  test("create, get, apply and delete a pool", async () => {
    expect(await ctl("create -f -", pool("a", "10.65.0.0/16"))).toEqual(
      done("Successfully created 1 'IPPool' resource(s)\n"),
    );
    expect(await ctl("get ippool a")).toEqual(
      done("NAME   CIDR           SELECTOR   \na      10.65.0.0/16   all()      \n\n"),
    );
    expect((await ctl("get pools -o wide")).out).toBe(
      "NAME   CIDR           NAT     IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR   ASSIGNMENTMODE   \n" +
        "a      10.65.0.0/16   false   Never      Never       false      false              all()      Automatic        \n\n",
    );
    expect(await ctl("create -f -", pool("a", "10.65.0.0/16"))).toEqual(
      failed(
        "failed to create 'IPPool' resource: standard input: document 1 (IPPool \"a\"): resource already exists: IPPool(a)\n",
      ),
    );
    expect((await ctl("create --skip-exists -f -", pool("a", "10.65.0.0/16"))).status).toBe(0);
    expect(await ctl("apply -f -", pool("a", "10.65.0.0/16", "  natOutgoing: true\n"))).toEqual(
      done("Successfully applied 1 'IPPool' resource(s)\n"),
    );
    expect((await ctl("get ipp -o custom-columns=NAME,NAT")).out).toBe("NAME   NAT    \na      true   \n\n");
    expect(await ctl("delete ippool a")).toEqual(done("Successfully deleted 1 'IPPool' resource(s)\n"));
    expect(await ctl("delete ippool a")).toEqual(
      failed("Failed to delete 'IPPool' resource: resource does not exist: IPPool(a)\n"),
    );
    expect((await ctl("delete -s ippool a")).status).toBe(0);
    expect((await ctl("get ippools -o json")).out).toMatch(
      /^\{\n {2}"kind": "IPPoolList",\n {2}"apiVersion": "projectcalico.org\/v3",\n {2}"metadata": \{\n {4}"resourceVersion": "\d+"\n {2}\},\n {2}"items": \[\]\n\}\n$/,
    );
  });

  test("the first write makes ClusterInformation and the built-in tiers, once", async () => {
    expect((await ctl("get clusterinfo -o json")).out).toContain('"items": []');
    await ctl("apply -f -", pool("a", "10.65.0.0/16"));
    const before = (await ctl("get clusterinformation default -o yaml")).out;
    expect(before).toMatch(/clusterGUID: ["']?[0-9a-f]{32}["']?\n/);
    expect(before).toContain("datastoreReady: true\n");
    expect((await ctl("get tiers")).out).toBe(
      "NAME            ORDER      \nkube-admin      1000       \ndefault         1000000    \nkube-baseline   10000000   \n\n",
    );
    await ctl("apply -f -", pool("b", "10.66.0.0/16"));
    expect((await ctl("get clusterinformation default -o yaml")).out).toBe(before);
    expect((await ctl("delete tier default")).err).toBe(
      "Failed to delete 'Tier' resource: the tier default is built in and cannot be deleted\n",
    );
  });

  test("what is printed can be fed back, and a resource version guards it", async () => {
    await ctl("apply -f -", pool("a", "10.65.0.0/16"));
    for (const format of ["yaml", "json"]) {
      const { out } = await ctl(`get ippool a -o ${format}`);
      expect(await ctl("apply -f -", out)).toEqual(done("Successfully applied 1 'IPPool' resource(s)\n"));
      const again = await ctl("apply -f -", out);
      expect(again.status).toBe(1);
      expect(again.err).toMatch(/update conflict: IPPool\(a\): resource version '\d+' is out of date \(latest: \d+\)/);
      expect((await ctl("delete -f -", out)).err).toContain("update conflict: IPPool(a)");
      expect((await ctl("create -f -", out)).err).toContain("metadata.resourceVersion: must not be set to create");
    }
    const { out: all } = await ctl("get ippools -o yaml");
    expect(await ctl("delete -f -", all)).toEqual(done("Successfully deleted 1 'IPPool' resource(s)\n"));
  });

  test("labels and annotations are replaced by what the file says, the rest of the metadata stays", async () => {
    const labelled = pool("a", "10.65.0.0/16").replace("  name: a\n", "  name: a\n  labels: {zone: x}\n");
    await ctl("apply -f -", labelled);
    const uid = /uid: (.*)\n/.exec((await ctl("get ippool a -o yaml")).out)?.[1];
    await ctl("apply -f -", pool("a", "10.65.0.0/16"));
    const { out } = await ctl("get ippool a -o yaml");
    expect(out).not.toContain("zone");
    expect(out).toContain(`uid: ${uid}\n`);
    expect((await ctl("get ippool a -o yaml --export")).out).not.toMatch(/uid|resourceVersion|creationTimestamp/);
  });

  test("one wrong document does not keep the others from being applied, and is named with its place", async () => {
    const path = file(
      `${pool("a", "10.65.0.0/16")}---\n${pool("b", "10.0.0.0/33")}---\n${pool("c", "10.66.0.0/16", "  blocksize: 28\n")}`,
    );
    expect(await ctl(`apply -f ${path}`)).toEqual(
      failed(
        "hit error:\n" +
          `  ${path}: document 2 (IPPool "b"): spec.cidr: "10.0.0.0/33": must be a CIDR such as 10.0.0.0/16 or fd00::/64\n` +
          `  ${path}: document 3 (IPPool "c"): spec.blocksize: 28: is not a field here; did you mean blockSize?\n`,
        "Partial success: applied the first 1 out of 3 'IPPool' resources:\n",
      ),
    );
    expect((await ctl("get ippools -o custom-columns=NAME")).out).toBe("NAME   \na      \n\n");
  });

  test("a document of no known kind, or one that cannot be read, keeps everything from being written", async () => {
    const wrong = await ctl("apply -f -", `${pool("a", "10.65.0.0/16")}---\n${HEAD}kind: IPool\nmetadata: {name: x}\n`);
    expect(wrong.status).toBe(1);
    expect(wrong.err).toMatch(
      /^failed to execute command: standard input: document 2 \(IPool "x"\): kind: "IPool": must be one of .*; did you mean "IPPool"\?\n$/,
    );
    expect((await ctl("apply -f -", "kind: [\n")).err).toMatch(
      /^failed to execute command: standard input: document 1: line \d+, column \d+: /,
    );
    expect((await ctl("apply -f -", "kind: IPPool\nmetadata: {name: x}\nspec: {cidr: 10.0.0.0/8}\n")).err).toContain(
      "apiVersion",
    );
    expect((await ctl("get ippools -o custom-columns=NAME")).out).toBe("NAME   \n\n");
  });

  test("pools must not overlap, nor change what their blocks were made for", async () => {
    await ctl("apply -f -", pool("a", "10.65.0.0/16"));
    expect((await ctl("apply -f -", pool("b", "10.65.1.0/24"))).err).toContain(
      "overlaps with 10.65.0.0/16 of the pool a",
    );
    expect((await ctl("apply -f -", pool("a", "10.67.0.0/16"))).err).toMatch(
      /^failed to apply 'IPPool' resource: .*spec\.cidr: "10\.67\.0\.0\/16": cannot change/,
    );
    expect((await ctl("apply -f -", pool("a", "10.65.0.0/16", "  blockSize: 28\n"))).err).toContain("spec.blockSize");
  });

  test("several names give a table each; what is missing is said at the end", async () => {
    await ctl("apply -f -", pool("a", "10.65.0.0/16"));
    await ctl("apply -f -", pool("b", "10.66.0.0/16"));
    const table = (name: string, cidr: string) =>
      `NAME   CIDR           SELECTOR   \n${name}      ${cidr}   all()      \n\n`;
    expect(await ctl("get ippool a blah b")).toEqual(
      failed("resource does not exist: IPPool(blah)\n", table("a", "10.65.0.0/16") + table("b", "10.66.0.0/16")),
    );
    expect(await ctl("delete ippool a blah b")).toEqual(
      failed(
        "Failed to delete 'IPPool' resource: resource does not exist: IPPool(blah)\n",
        "Successfully deleted 2 'IPPool' resource(s)\n",
      ),
    );
  });

  test("endpoints live in namespaces", async () => {
    const endpoint = (namespace: string) =>
      `${HEAD}kind: WorkloadEndpoint\nmetadata: {name: n1-k8s-web-eth0, namespace: ${namespace}}\n` +
      "spec: {orchestrator: k8s, node: n1, pod: web, endpoint: eth0, interfaceName: cali1, ipNetworks: [10.65.0.1/32]}\n";
    expect((await ctl("apply -f -", `${endpoint("blue")}---\n${endpoint("green")}`)).out).toBe(
      "Successfully applied 2 'WorkloadEndpoint' resource(s)\n",
    );
    expect((await ctl("get wep")).out).toBe("WORKLOAD   NODE   NETWORKS   INTERFACE   \n\n");
    expect((await ctl("get wep -n blue")).out).toBe(
      "NAMESPACE   WORKLOAD   NODE   NETWORKS       INTERFACE   \nblue        web        n1     10.65.0.1/32   cali1       \n\n",
    );
    expect((await ctl("get wep -A -o custom-columns=NAMESPACE,NAME")).out).toBe(
      "NAMESPACE   NAME              \nblue        n1-k8s-web-eth0   \ngreen       n1-k8s-web-eth0   \n\n",
    );
    expect((await ctl("get wep n1-k8s-web-eth0")).err).toBe(
      "resource does not exist: WorkloadEndpoint(default/n1-k8s-web-eth0)\n",
    );
    expect((await ctl("get wep n1-k8s-web-eth0 -n blue -o json")).status).toBe(0);
    expect((await ctl("get wep n1-k8s-web-eth0 -A")).err).toContain("cannot use --all-namespaces");
    expect((await ctl("get wep -A -n blue")).err).toContain("cannot use both --namespace and --all-namespaces");
    expect((await ctl("apply -n red -f -", endpoint("blue"))).err).toContain(
      "resource namespace does not match client namespace. blue != red",
    );
    expect((await ctl("get ippool -n blue")).err).toBe("IPPool is not namespaced\n");
    expect((await ctl("delete wep n1-k8s-web-eth0 -n blue")).out).toBe(
      "Successfully deleted 1 'WorkloadEndpoint' resource(s)\n",
    );
  });

  test("what only Calico writes is shown but not written", async () => {
    const written = `${HEAD}kind: ClusterInformation\nmetadata: {name: default}\nspec: {clusterGUID: x}\n`;
    await ctl("apply -f -", pool("a", "10.65.0.0/16"));
    expect((await ctl("apply -f -", written)).err).toContain(
      "operation apply is not supported on ClusterInformation(default)",
    );
    expect((await ctl("delete clusterinfo default")).err).toContain("is not supported on ClusterInformation(default)");
    expect((await ctl("delete blockaffinity x")).err).toContain("is not supported on BlockAffinity(x)");
  });
}

describe("on sqlite", () => {
  behaviour(async () => `  datastoreType: sqlite\n  datastoreFile: ${join(folder, `${number++}.db`)}\n`);

  test("a list says what it could not read, and shows the rest", async () => {
    const path = join(folder, "odd.db");
    const ctl = runner(`  datastoreFile: ${path}\n`);
    await ctl("apply -f -", `${pool("a", "10.65.0.0/24")}---\n${pool("b", "10.66.0.0/24")}`);
    const database = new Database(path);
    const odd = JSON.stringify({ kind: "IPPool", metadata: { name: "b" }, spec: { cidr: 7 } });
    database.run("UPDATE kv SET value = ?1 WHERE key LIKE '%/ippools/b'", [odd]);
    database.close();
    const { status, out, err } = await ctl("get ippools -o custom-columns=NAME");
    expect({ status, out }).toEqual({ status: 1, out: "NAME   \na      \n\n" });
    expect(err).toMatch(/ippools\/b.*spec\.cidr/);
  });

  test("blocks, affinities and handles are shown, by name as well", async () => {
    const path = join(folder, "ipam.db");
    const ctl = runner(`  datastoreFile: ${path}\n`);
    await ctl("apply -f -", pool("a", "10.65.0.0/24"));
    const client = await openClient({ type: "sqlite", file: path });
    try {
      await createIpam(client).autoAssign({ num4: 1, host: "n1", use: "Workload", handle: "net.container" });
    } finally {
      await client.close();
    }
    for (const kind of ["ipamblock", "blockaffinity", "ipamhandle"]) {
      const { out } = await ctl(`get ${kind} -o custom-columns=NAME`);
      const name = out.split("\n")[1]?.trim() ?? "";
      expect(name).not.toBe("");
      const one = await ctl(`get ${kind} ${name} -o json`);
      expect(one.status).toBe(0);
      expect(one.out).toContain(`"name": "${name}"`);
    }
    // A double would round it.
    expect((await ctl("get ipamblocks -o json")).out).toMatch(/"sequenceNumber": \d{19},?\n/);
  });
});

const etcd = findEtcd();
describe.skipIf(!etcd)(`on etcd${etcd ? "" : " (skipped: no etcd binary)"}`, () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await startEtcd();
  });
  afterAll(async () => {
    await server?.stop();
  });
  behaviour(async () => {
    await server.call("/v3/kv/deleterange", { key: btoa("\0"), range_end: btoa("\0") });
    return `  datastoreType: etcdv3\n  etcdEndpoints: ${server.endpoint}\n`;
  });
});

describe("what is typed wrongly", () => {
  const ctl = runner(`  datastoreFile: ${join(folder, "typed.db")}\n`);

  test("is said, with what there is", async () => {
    expect((await ctl("get ipool")).err).toBe(
      `failed to get resources: resource type 'ipool' is not supported; did you mean "ippool" or "pool"?\n`,
    );
    expect((await ctl("get somekind somename")).err).toMatch(
      /^failed to get resources: resource type 'somekind' is not supported; there is bgpconfiguration, /,
    );
    expect((await ctl("get")).err).toMatch(/^say which resources: KIND \[NAME...\], or -f FILE\n/);
    expect((await ctl("delete ippool")).err).toBe("say which resource to delete: KIND NAME..., or -f FILE\n");
    expect((await ctl("create")).err).toMatch(/^say what to create: -f FILE, or -f - for standard input\n/);
    expect((await ctl("get ippool -o xml")).err).toMatch(/^unrecognized output format 'xml'/);
    expect((await ctl("get ippool -o custom-columns=CIDER")).err).toMatch(
      /^unknown heading CIDER, valid values are: NAME, CIDR, /,
    );
    expect((await ctl("get ippool -l loud")).err).toMatch(/^unknown log level: loud, expected one of: panic, /);
    expect((await ctl("apply -f /nowhere/pool.yaml")).err).toBe("cannot read /nowhere/pool.yaml: no such file\n");
    expect((await ctl("apply -f -", "")).err).toBe("no resources specified in file standard input\n");
    expect(await ctl("apply --skip-empty -f -", "")).toEqual(done("No resources specified\n"));
  });

  test("about the datastore names the datastore or the file", async () => {
    const io = memoryIo();
    expect(await main(["get", "ippools", "-c", "/nowhere/calicoctl.cfg"], {}, io)).toBe(1);
    expect(io.err()).toMatch(/^Error reading config file: \/nowhere\/calicoctl\.cfg: /);
    const wrong = file(`${HEAD}kind: CalicoAPIConfig\nspec:\n  datastoreType: zookeeper\n`, "cfg");
    const second = memoryIo();
    expect(await main(["get", "ippools", "-c", wrong], {}, second)).toBe(1);
    expect(second.err()).toBe(
      `${wrong}: spec.datastoreType: "zookeeper": must be "sqlite", "etcdv3" or "kubernetes"\n`,
    );
    const down = runner("  datastoreType: etcdv3\n  etcdEndpoints: http://127.0.0.1:1\n");
    expect((await down("get ippools")).err).toMatch(/^etcd http:\/\/127\.0\.0\.1:1: cannot be reached/);
  });

  test.skipIf(existsSync("/etc/calico/calicoctl.cfg"))(
    "--context chooses among a kubeconfig's clusters (skipped where the machine has a configuration)",
    async () => {
      const cluster = (port: number) => ({ server: `http://127.0.0.1:${port}` });
      const kubeconfig = {
        apiVersion: "v1",
        kind: "Config",
        clusters: [
          { name: "here", cluster: cluster(1) },
          { name: "there", cluster: cluster(2) },
        ],
        contexts: [
          { name: "one", context: { cluster: "here" } },
          { name: "two", context: { cluster: "there" } },
        ],
        "current-context": "one",
      };
      const env = { KUBECONFIG: file(JSON.stringify(kubeconfig), "kubeconfig") };
      for (const [args, said] of [
        [[], "http://127.0.0.1:1"],
        [["--context", "two"], "http://127.0.0.1:2"],
        [["--context", "three"], "three"],
      ] as const) {
        const io = memoryIo();
        expect(await main(["get", "ippools", ...args], env, io)).toBe(1);
        expect(io.err()).toContain(said);
      }
    },
  );

  test.skipIf(existsSync("/etc/calico/calicoctl.cfg"))(
    "without a configuration file the environment counts (skipped where the machine has one)",
    async () => {
      const io = memoryIo();
      expect(await main(["get", "ippools"], { DATASTORE_TYPE: "kubernetes" }, io)).toBe(1);
      expect(io.err()).toMatch(
        /^the datastore is Kubernetes, but no API server is named: set KUBECONFIG or K8S_API_ENDPOINT/,
      );
    },
  );
});

test("version", async () => {
  const ctl = runner(`  datastoreFile: ${join(folder, "version.db")}\n`);
  expect((await ctl("version --client")).out).toMatch(/^Client Version: {4}v\S+\n$/);
  expect((await ctl("version")).err).toContain("unable to retrieve Cluster Version or Type");
  await ctl("apply -f -", pool("a", "10.65.0.0/24"));
  expect((await ctl("version")).out).toMatch(
    /^Client Version: {4}v\S+\nCluster Version: {3}\S+\nCluster Type: {6}\S+\n$/,
  );
});
