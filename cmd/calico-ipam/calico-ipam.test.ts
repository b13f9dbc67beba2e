import { Database } from "bun:sqlite";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, describe, expect, test } from "vitest";
import { ClusterInformation } from "../../lib/api/clusterinformation.ts";
import { IPAMHandle, newIPAMHandle } from "../../lib/api/ipamhandle.ts";
import { IPPool, newIPPool } from "../../lib/api/ippool.ts";
import { memoryIo } from "../../lib/cli/testing.ts";
import { type Client, ensureInitialized, openClient } from "../../lib/datastore/index.ts";
import { createIpam } from "../../lib/ipam/index.ts";
import { main as calicoctl } from "../calicoctl/main.ts";
import { main } from "./main.ts";
import { upgrade } from "./upgrade.ts";

const folder = mkdtempSync(join(tmpdir(), "calico-ipam-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let number = 0;
let config = "";
let database = "";
beforeEach(async () => {
  database = join(folder, `${number++}.db`);
  config = join(folder, `${number}.cfg`);
  writeFileSync(
    config,
    `apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nspec:\n  datastoreFile: ${database}\n`,
  );
  await withClient(async (client) => {
    await ensureInitialized(client);
    await client.create(IPPool, newIPPool("a", { cidr: "10.65.0.0/24", blockSize: 29 }));
  });
});

async function withClient<T>(use: (client: Client) => Promise<T>): Promise<T> {
  const client = await openClient({ type: "sqlite", file: database });
  try {
    return await use(client);
  } finally {
    await client.close();
  }
}

async function ipam(...argv: string[]) {
  const io = memoryIo();
  const status = await main([...argv, "-c", config], {}, io);
  expect(io.err()).not.toContain("    at ");
  return { status, out: io.out(), err: io.err() };
}

/** Assigns addresses and answers them. */
const assign = (count: number, attributes: Record<string, string>, host = "n1", handle = "net.container") =>
  withClient(async (client) => {
    const request = { num4: count, host, handle, attributes, use: "Workload" } as const;
    return (await createIpam(client).autoAssign(request)).v4.map(({ address }) => address);
  });

const lock = (ready: boolean) =>
  withClient(async (client) => {
    const information = await client.get(ClusterInformation, { name: "default" });
    information!.spec.datastoreReady = ready;
    await client.update(ClusterInformation, information!);
  });

describe("show", () => {
  test("is the table of calicoctl ipam show, with blocks when asked", async () => {
    const [address] = await assign(3, { node: "n1", pod: "web", namespace: "default" });
    const { out } = await ipam("show");
    expect(out).toBe(
      `
+----------+--------------+-----------+------------+--------------+-----------+
| GROUPING | CIDR         | IPS TOTAL | IPS IN USE | IPS RESERVED | IPS FREE  |
+----------+--------------+-----------+------------+--------------+-----------+
| IP Pool  | 10.65.0.0/24 |       256 |     3 (1%) |       0 (0%) | 253 (99%) |
+----------+--------------+-----------+------------+--------------+-----------+
`.slice(1),
    );
    const io = memoryIo();
    expect(await calicoctl(["ipam", "show", "-c", config], {}, io)).toBe(0);
    expect(io.out()).toBe(out);
    const blocks = (await ipam("show", "--show-blocks")).out;
    expect(blocks).toMatch(/\| Block {4}\| 10\.65\.0\.\d+\/29 +\| +8 \| +3 \(38%\) \| +0 \(0%\) \| +5 \(62%\) \|\n/);
    const json = JSON.parse((await ipam("show", "--show-blocks", "-o", "json")).out);
    expect(json.pools[0]).toMatchObject({ name: "a", capacity: 256, inUse: 3, available: 253 });
    expect(json.pools[0].blocks[0]).toMatchObject({ capacity: 8, inUse: 3, affinity: "host:n1", borrowed: 0 });

    expect((await ipam("show", `--ip=${address}`)).out).toBe(
      `IP ${address} is in use\nHandle ID: net.container\nActive Owner Attributes:\n  namespace: default\n  node: n1\n  pod: web\n`,
    );
    expect((await ipam("show", "--ip=10.65.0.250")).out).toBe("10.65.0.250 is not assigned\n");
    expect(JSON.parse((await ipam("show", "--ip=10.65.0.250", "-o", "json")).out)).toEqual({
      address: "10.65.0.250",
      inUse: false,
    });
    expect((await ipam("show", "--ip=10.240.0.300")).err).toBe("invalid IP address specified: 10.240.0.300\n");
  });

  test("lists borrowed addresses", async () => {
    const [address] = await assign(1, { node: "n2", pod: "web", namespace: "default" });
    const { out } = await ipam("show", "--show-borrowed");
    expect(out).toMatch(/\| IP +\| BORROWING-NODE \| BLOCK +\| BLOCK OWNER \| TYPE \| ALLOCATED-TO \|\n/);
    expect(out).toMatch(
      new RegExp(`\\| ${address} +\\| n2 +\\| 10\\.65\\.0\\.\\d+/29 +\\| n1 +\\| pod +\\| default/web +\\|`),
    );
  });

  test("shows the configuration that configure changes", async () => {
    expect((await ipam("configure", "--strictaffinity=true", "--max-blocks-per-host=7")).out).toBe(
      "Successfully set StrictAffinity to: true\nSuccessfully set MaxBlocksPerHost to: 7\n",
    );
    expect((await ipam("configure", "--ip-cooldown-seconds=9", "--kubevirt-ip-persistence=Disabled")).out).toBe(
      "Successfully set KubeVirtVMAddressPersistence to: Disabled\nSuccessfully set IPCooldownSeconds to: 9\n",
    );
    expect((await ipam("show", "--show-configuration")).out).toBe(
      `
+------------------------------+----------+
| PROPERTY                     | VALUE    |
+------------------------------+----------+
| StrictAffinity               | true     |
| AutoAllocateBlocks           | true     |
| MaxBlocksPerHost             | 7        |
| KubeVirtVMAddressPersistence | Disabled |
| IPCooldownSeconds            | 9        |
+------------------------------+----------+
`.slice(1),
    );
  });

  test("refuses settings that make no sense", async () => {
    expect((await ipam("configure")).err).toContain("at least one configuration option must be specified\n");
    expect((await ipam("configure", "--strictaffinity=maybe")).err).toContain(
      "Use true or false to set strictaffinity",
    );
    expect((await ipam("configure", "--max-blocks-per-host=many")).err).toContain('invalid value "many"');
    expect((await ipam("configure", "--kubevirt-ip-persistence=on")).err).toContain("Use Enabled or Disabled");
    expect((await ipam("configure", "--ip-cooldown-seconds=1201")).err).toContain("use a number from 0 to 1200");
    // Needs strict affinity: the allocator's own rule.
    const contradiction = await ipam("configure", "--strictaffinity=false", "--max-blocks-per-host=7");
    expect(contradiction.status).toBe(1);
    expect(contradiction.err).not.toContain("internal error");
    expect((await ipam("show", "-o", "yaml")).err).toBe(
      "unrecognized output format 'yaml': there is json, and text without -o\n",
    );
  });
});

describe("what cannot be read", () => {
  const spoil = (key: string): void => {
    const store = new Database(database);
    expect(store.run("UPDATE kv SET value = ?1 WHERE key LIKE ?2", ["{", `%${key}`]).changes).toBe(1);
    store.close();
  };
  const blockOf = (address: string): string => `10.65.0.${Math.floor(Number(address.split(".")[3]) / 8) * 8}/29`;

  test("is in no count of free addresses, and is named in table and JSON", async () => {
    const [address] = await assign(3, { node: "n1" });
    const cidr = blockOf(address!);
    spoil(`/assignment/ipv4/block/${cidr.replace("/", "-")}`);
    const { status, out } = await ipam("show", "--show-blocks");
    expect(status).toBe(0);
    expect(out).toMatch(/\| IP Pool +\| 10\.65\.0\.0\/24 +\| +256 \| +8 \(3%\) \| +0 \(0%\) \| 248 \(97%\) \|\n/);
    expect(out).toMatch(
      new RegExp(`\\| Block +\\| ${cidr} +\\| +8 \\| +8 \\(100%\\) \\| +0 \\(0%\\) \\| +0 \\(0%\\) \\|\n`),
    );
    expect(out).toMatch(new RegExp(`cannot be read.*counted as in use.*\n.*${cidr}: .*${cidr.replace("/", "-")}`));
    const json = JSON.parse((await ipam("show", "-o", "json")).out);
    expect(json.pools[0]).toMatchObject({ inUse: 8, available: 248 });
    expect(json.unreadable).toMatchObject([{ cidr }]);
    const borrowed = await ipam("show", "--show-borrowed");
    expect(borrowed.out).toContain(cidr);
    expect(JSON.parse((await ipam("show", "--show-borrowed", "-o", "json")).out).unreadable).toMatchObject([{ cidr }]);
  });

  test("as a handle is a finding of check, which makes it neither leaked nor missing", async () => {
    await assign(1, { node: "n1" });
    spoil("/handle/net.container");
    const { status, out } = await ipam("check");
    expect(status).toBe(0);
    expect(out).toContain("unreadable");
    expect(out).toContain("/handle/net.container");
    expect(out).toContain("Found 0 handles mentioned in blocks with no matching handle resource.\n");
    expect(JSON.parse((await ipam("check", "-o", "json")).out).leakedHandles ?? []).toEqual([]);
  });

  test("as a block keeps only its own addresses from being released", async () => {
    const [first] = await assign(1, { node: "n1" }, "n1", "one");
    const [second] = await assign(1, { node: "n2" }, "n2", "two");
    await ipam("check", "-o", join(folder, "both.json"));
    spoil(`/assignment/ipv4/block/${blockOf(first!).replace("/", "-")}`);
    const result = await ipam("release", `--from-report=${join(folder, "both.json")}`, "--force");
    expect(result.status).toBe(1);
    expect(result.out).toContain("Released 1 IPs successfully\n");
    expect(result.err).toContain(blockOf(first!).replace("/", "-"));
    expect((await ipam("show", `--ip=${second}`)).out).toContain("is not assigned");
    const one = await ipam("release", `--ip=${first}`);
    expect(one).toMatchObject({ status: 1, err: expect.stringContaining(blockOf(first!).replace("/", "-")) });
  });
});

describe("check and release", () => {
  const report = () => join(folder, `${number}.json`);

  test("find leaked addresses and handles, and give them back", async () => {
    const [leaked] = await assign(1, { node: "n1", pod: "gone", namespace: "default" });
    await withClient((client) => client.create(IPAMHandle, newIPAMHandle("leaked-handle", { "10.65.0.0/29": 1 })));
    const { status, out } = await ipam("check", "--show-problem-ips", "-o", report());
    expect(status).toBe(0);
    expect(out).toContain(`  ${leaked} leaked; attrs Main:net.container Extra:namespace=default,node=n1,pod=gone\n`);
    expect(out).toContain("Found 1 handles with no matching IPs (and 1 handles with matches).\n");
    expect(out).toContain("Check complete; found 2 problems.\n");
    expect(out).toContain("'calico-ipam check -o report.json'");
    expect(JSON.parse(readFileSync(report(), "utf8")).leakedHandles[0].ID).toBe("leaked-handle");
    expect(JSON.parse((await ipam("check", "-o", "json")).out)).toMatchObject({ problems: 2 });

    expect(await ipam("release", `--from-report=${report()}`)).toMatchObject({
      status: 1,
      err: "data store is not locked. Either lock the data store, or re-run with --force\n",
    });
    const released = await ipam("release", `--from-report=${report()}`, "--force");
    expect(released.out).toBe(
      "WARNING: Data store is not locked. Ignoring due to --force option\n" +
        "Releasing 1 old IPs...\nReleased 1 IPs successfully\n" +
        "Deleting 1 handles...\nReleased 1 handles; 0 skipped; 0 errors.\n" +
        "You may now unlock the data store.\n",
    );
    const again = await ipam("release", `--from-report=${report()}`, "--force");
    expect(again.out).toContain("1 addresses marked as leaked in the report had already been cleaned up.\n");
    expect(again.out).toContain("Released 0 handles; 1 skipped; 0 errors.\n");
    expect(again.out).not.toContain("IPs successfully");
    expect((await ipam("check")).out).toContain("Check complete; found 0 problems.\n");
  });

  test("leave an address alone that was assigned again since the report", async () => {
    await lock(true);
    const [address] = await assign(1, { pod: "old" });
    await ipam("check", "-o", report());
    await withClient(async (client) => {
      const allocator = createIpam(client);
      await allocator.releaseByHandle("net.container");
      await allocator.assignIp({ address: address!, host: "n1", handle: "net.other" });
    });
    const { out } = await ipam("release", `--from-report=${report()}`, "--force");
    expect(out).toContain("1 addresses were left alone, because they are assigned to somebody else by now.\n");
    expect((await ipam("show", `--ip=${address}`)).out).toContain("Handle ID: net.other\n");
  });

  test("work with a locked datastore without force", async () => {
    await assign(1, { pod: "gone" });
    await lock(false);
    await ipam("check", "-o", report());
    const { status, out } = await ipam("release", `--from-report=${report()}`, "-o", "json");
    expect(status).toBe(0);
    expect(JSON.parse(out)).toEqual({
      addresses: { released: 1, skipped: 0 },
      handles: { released: 0, skipped: 0, errors: 0 },
    });
  });

  test("release one address, and say when there is nothing to release", async () => {
    const [address] = await assign(1, {});
    expect((await ipam("release", `--ip=${address}`)).out).toBe(`Successfully released IP address ${address}\n`);
    expect(await ipam("release", `--ip=${address}`)).toMatchObject({
      status: 1,
      err: `IP address ${address} is not assigned\n`,
    });
    expect((await ipam("release")).err).toContain("give an address with --ip, or a report with --from-report\n");
    expect((await ipam("release", "--from-report=/nowhere.json")).err).toContain(
      "cannot read the report /nowhere.json",
    );
    writeFileSync(report(), "{}");
    expect((await ipam("release", `--from-report=${report()}`)).err).toContain("is not a report of 'ipam check'");
  });
});

describe("split", () => {
  test("needs a locked datastore, and cuts the pool into equal parts", async () => {
    expect((await ipam("split", "4", "--name=a")).err).toMatch(/locked/);
    await lock(false);
    const { status, out } = await ipam("split", "4", "--cidr=10.65.0.0/24");
    expect(status).toBe(0);
    expect(out).toBe(
      "IP Pool a was successfully split into 4 smaller pools.\n" +
        ["0", "64", "128", "192"]
          .map((last, index) => `Created split-a-${index} with CIDR 10.65.0.${last}/26.\n`)
          .join("") +
        "You may now unlock the data store.\n",
    );
    expect((await ipam("show")).out.split("\n")).toHaveLength(9);
  });

  test("refuses what cannot be split", async () => {
    await lock(false);
    expect((await ipam("split")).err).toContain("say into how many pools to split");
    expect((await ipam("split", "x", "--name=a")).err).toContain("x is not a valid number");
    expect((await ipam("split", "3", "--name=a")).err).toContain("not a valid power of 2: 3");
    expect((await ipam("split", "4")).err).toContain("no name or CIDR provided");
    expect((await ipam("split", "4", "--name=b")).err).toBe("unable to find IP pool with name b\n");
    expect((await ipam("split", "4", "--cidr=10.9.0.0/24")).err).toContain("unable to find IP pool");
    expect((await ipam("split", "512", "--name=a")).status).toBe(1);
  });
});

test("-v prints the version", async () => {
  const io = memoryIo();
  expect(await main(["-v"], {}, io)).toBe(0);
  expect(io.out()).toMatch(/^v\S+\n$/);
});

test("-upgrade succeeds where host-local has assigned nothing, and refuses what it cannot import", () => {
  const state = mkdtempSync(join(folder, "host-local-"));
  const run = (path: string) => {
    const io = memoryIo();
    return { status: upgrade(io, path), text: io.out() + io.err() };
  };
  expect(run(join(state, "absent")).status).toBe(0);
  writeFileSync(join(state, "lock"), "");
  writeFileSync(join(state, "last_reserved_ip.0"), "10.0.0.7");
  expect(run(state)).toEqual({
    status: 0,
    text: `no addresses of the host-local plugin in ${state}: there is nothing to import\n`,
  });
  writeFileSync(join(state, "10.0.0.7"), "container");
  expect(run(state)).toMatchObject({ status: 1, text: expect.stringContaining("this version cannot import them") });
});
