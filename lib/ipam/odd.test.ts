import { beforeEach, describe, expect, test } from "vitest";
import { IPAMBlock } from "../api/ipamblock.ts";
import type { Client } from "../datastore/index.ts";
import { MemoryData, memoryClient } from "../datastore/testing.ts";
import type { Logger } from "../telemetry/index.ts";
import { createExtra } from "./fixture.suite.ts";
import { createIpam } from "./ipam.ts";
import { addNode, addPool, handles, owners } from "./testing.ts";
import type { Ipam } from "./types.ts";

/** Objects that a newer Calico, or somebody by hand, has written: they stop nothing that has nothing to do with them. */

const RESOURCES = "/calico/resources/v3/projectcalico.org/";
const IPAM = "/calico/ipam/v2/";
const BLOCKS = `${IPAM}assignment/ipv4/block/`;

let data: MemoryData;
let client: Client;
let ipam: Ipam;
let warnings: string[];

beforeEach(async () => {
  data = new MemoryData();
  client = memoryClient({ data });
  warnings = [];
  const note = (message: string, fields?: object) => void warnings.push(`${message} ${JSON.stringify(fields ?? {})}`);
  const log = { warning: note, info: () => {}, debug: () => {}, error: note } as unknown as Logger;
  ipam = createIpam(client, { sleep: async () => {}, log });
  await addPool(client, "main", "10.0.0.0/24", { blockSize: 28 });
});

const put = (key: string, value: string): void => {
  data.transact([], [{ key, value }]);
};

const add = async (handle: string, host = "n1", num4 = 1): Promise<string[]> => {
  const { v4 } = await ipam.autoAssign({ num4, host, handle, use: "Workload" });
  return v4.map(({ address }) => address);
};

describe("an odd object", () => {
  const odd: Record<string, () => Promise<void> | void> = {
    "reservation of no address": () =>
      put(`${RESOURCES}ipreservations/r`, '{"spec":{"reservedCIDRs":["10.0.0.300","10.9.0.0/24"]}}'),
    "pool for a use of tomorrow": () =>
      put(
        `${RESOURCES}ippools/new`,
        '{"spec":{"cidr":"10.5.0.0/16","allowedUses":["Workload","Egress"],"ipipMode":"Often"}}',
      ),
    "pool that cannot be read": () => put(`${RESOURCES}ippools/bad`, '{"spec":{"cidr":7}}'),
    "reservation that cannot be read": () => put(`${RESOURCES}ipreservations/bad`, "{"),
    "node with addresses of another type": () =>
      put(
        `${RESOURCES}nodes/n1`,
        '{"spec":{"addresses":[{"address":"n1","type":"Hostname"}],"bgp":{"ipv4Address":"autodetect"}}}',
      ),
    "node that cannot be read": () => put(`${RESOURCES}nodes/n1`, '{"spec":[]}'),
    "configuration of tomorrow": () =>
      put(
        `${IPAM}config`,
        '{"auto_allocate_blocks":true,"kubeVirtVMAddressPersistence":"Sometimes","maxBlocksPerHost":-1}',
      ),
    "affinity in an unknown state": () => put(`${IPAM}host/n1/ipv4/block/10.0.0.0-28`, '{"state":"paused"}'),
    "affinity that cannot be read": () => put(`${IPAM}host/n1/ipv4/block/10.0.0.0-28`, '{"state":7}'),
    "block that cannot be read": () => put(`${BLOCKS}10.0.0.16-28`, "{"),
    "handle of another that cannot be read": () => put(`${IPAM}handle/other`, "{"),
    "handle with a negative count": () => put(`${IPAM}handle/first`, '{"block":{"10.0.0.0/28":-3,"nonsense":2}}'),
  };

  test.each(Object.keys(odd))("(%s) stops neither ADD nor DEL", async (name) => {
    await odd[name]!();
    const got = [...(await add("first")), ...(await add("second", "n2")), ...(await add("many", "n1", 30))];
    expect(new Set(got).size).toBe(32);
    await ipam.releaseByHandle("first");
    await ipam.releaseByHandle("many");
    await ipam.releaseByHandle("second");
    for (const { spec } of (await client.list(IPAMBlock)).items)
      expect(spec.allocations.every((one) => one === null)).toBe(true);
    expect(Object.keys(await handles(client))).toEqual([]);
    await ipam.check();
    await ipam.repair({ unused: true });
  });

  test("that is passed over is named by key and field", async () => {
    put(`${RESOURCES}ippools/bad`, '{"spec":{"cidr":7}}');
    await add("h");
    expect(warnings.join()).toMatch(/ippools\/bad: spec\.cidr: 7: must be/);
  });
});

test("a configuration that cannot be read stops ADD, but not DEL", async () => {
  await add("h");
  put(`${IPAM}config`, '{"strict_affinity":"yes"}');
  await expect(add("other")).rejects.toMatchObject({ code: "INVALID" });
  expect((await ipam.releaseByHandle("h")).addresses.length).toBe(1);
  expect(warnings.join()).toContain("strict_affinity");
});

test("a block that cannot be read gives nothing; the DEL of its pod ends, and its handle stays until it is mended", async () => {
  const [address] = await add("h");
  const [block] = (await client.list(IPAMBlock)).items;
  const key = `${BLOCKS}${block!.spec.cidr.replace("/", "-")}`;
  const value = data.read([{ key }]).results[0]![0]!.value;
  put(key, value.replace('"deleted":false', '"deleted":"no"'));
  expect((await ipam.releaseByHandle("h")).addresses).toEqual([]);
  expect(await handles(client)).toEqual({ h: { [block!.spec.cidr]: 1 } });
  const others = await add("others", "n1", 200);
  expect(others).not.toContain(address);
  const { findings } = await ipam.check({ endpoints: false });
  expect(findings).toMatchObject([{ kind: "unreadable", subject: key }]);
  await ipam.repair();
  expect(await handles(client)).toHaveProperty("h");
  put(key, value);
  expect((await ipam.releaseByHandle("h")).addresses).toEqual([address]);
});

test("nothing counts as unused while an endpoint cannot be read", async () => {
  await addNode(client, "n1");
  await add("h");
  expect((await ipam.check()).findings.map(({ kind }) => kind)).toEqual(["not-in-use"]);
  put(`${RESOURCES}workloadendpoints/ns/n1-k8s-web-eth0`, "{");
  expect((await ipam.check()).findings.map(({ kind }) => kind)).toEqual(["unreadable"]);
});

test("keys of a handle that are no CIDR are skipped, and others are made canonical", async () => {
  const [address] = await add("h");
  const [[cidr]] = Object.entries((await handles(client)).h!) as [[string, number]];
  const [base] = cidr.split("/");
  const other = `${base!.replace(/\d+$/, (last) => String(Number(last) + 3))}/28`;
  put(`${IPAM}handle/h`, JSON.stringify({ block: { "": 1, "10.0.0.0/99": 1, [other]: 1 } }));
  expect((await ipam.ipsByHandle("h")).length).toBe(1);
  await ipam.repair();
  expect(await handles(client)).toEqual({ h: { [cidr]: 1 } });
  put(`${IPAM}handle/h`, JSON.stringify({ block: { "": 1, "10.0.0.0/99": 1, [other]: 1 } }));
  expect((await ipam.releaseByHandle("h")).addresses).toEqual([address]);
  expect(warnings.join()).toContain("10.0.0.0/99");
});

test("a new block is not made over a live one that is much smaller", async () => {
  await addPool(client, "old", "10.7.0.0/24", { blockSize: 32 });
  const ask = (num4: number, pool: string) =>
    ipam.autoAssign({ num4, host: "n1", handle: "h", use: "Workload", pools4: [pool] });
  const [old] = (await ask(1, "old")).v4;
  const pool = { name: "old" };
  await client.delete((await import("../api/ippool.ts")).IPPool, pool);
  await addPool(client, "new", "10.7.0.0/23", { blockSize: 24 });
  expect(old!.address).toMatch(/^10\.7\.0\./);
  expect((await ask(1, "new")).v4[0]!.block).toBe("10.7.1.0/24");
});

const keyOfBlock = (cidr: string): string => `${BLOCKS}${cidr.replace("/", "-")}`;
const storedAt = (key: string): string => data.read([{ key }]).results[0]![0]!.value;

describe("a handle that cannot be read", () => {
  const key = `${IPAM}handle/h`;

  test("is released by what the blocks say, borrowed addresses too, in one commit with what the caller adds", async () => {
    const other = await add("other", "n2", 3);
    const mine = await add("h", "n1", 250);
    put(key, "{");
    const alsoWrite = () => [createExtra("extra")];
    const { addresses, found } = await ipam.releaseByHandle("h", { alsoWrite });
    expect(found).toBe(true);
    expect([...addresses].sort()).toEqual([...mine].sort());
    expect(await client.get(createExtra("extra").kind, { name: "extra" })).toBeDefined();
    expect([...(await owners(client)).keys()].sort()).toEqual([...other].sort());
    expect(storedAt(key)).toBe("{");
    expect(warnings.join()).toContain(key);
    expect(await ipam.releaseByHandle("h")).toEqual({ addresses: [], found: true });
  });

  test("is asked about by what the blocks say, as long as all of them can be read", async () => {
    const mine = await add("h", "n1", 20);
    put(key, "{");
    expect((await ipam.ipsByHandle("h")).map(({ address }) => address).sort()).toEqual([...mine].sort());
    expect(warnings.join()).toContain(key);
    const [block] = (await client.list(IPAMBlock)).items;
    put(keyOfBlock(block!.spec.cidr), "{");
    await expect(ipam.ipsByHandle("h")).rejects.toMatchObject({ code: "INVALID" });
  });

  test("is released where there are no transactions, too", async () => {
    const mine = await add("h", "n1", 40);
    await add("other", "n2");
    put(key, "{");
    const apart = createIpam(memoryClient({ data, capabilities: { atomicBatch: false } }), { sleep: async () => {} });
    const { addresses } = await apart.releaseByHandle("h", { alsoWrite: () => [createExtra("extra")] });
    expect([...addresses].sort()).toEqual([...mine].sort());
    expect([...(await owners(client)).values()]).toEqual(["other"]);
  });

  test("is not released when what the caller adds is refused for good", async () => {
    const mine = await add("h");
    put(key, "{");
    await ipam.releaseByHandle("h", { alsoWrite: () => [createExtra("extra")] });
    const [again] = await add("i");
    put(`${IPAM}handle/i`, "{");
    const failure = ipam.releaseByHandle("i", { alsoWrite: () => [createExtra("extra")] });
    await expect(failure).rejects.toMatchObject({ code: "EXISTS" });
    expect([...(await owners(client)).keys()]).toEqual([again]);
    expect(mine).toHaveLength(1);
  });

  test("is released again when somebody writes its block at the same time", async () => {
    const mine = await add("h");
    put(key, "{");
    let once = true;
    const alsoWrite = async () => {
      if (once) await add("meanwhile");
      once = false;
      return [];
    };
    expect((await ipam.releaseByHandle("h", { alsoWrite })).addresses).toEqual(mine);
    expect([...(await owners(client)).values()]).toEqual(["meanwhile"]);
  });

  test("leaves what is in a block that cannot be read, and says so", async () => {
    await add("h");
    const [block] = (await client.list(IPAMBlock)).items;
    put(key, "{");
    put(keyOfBlock(block!.spec.cidr), "{");
    expect((await ipam.releaseByHandle("h")).addresses).toEqual([]);
    expect(warnings.join()).toContain(block!.spec.cidr);
    await ipam.repair();
    // It may hold addresses in that block.
    expect(storedAt(key)).toBe("{");
  });

  test("is a finding, which repair mends from the blocks or deletes", async () => {
    const mine = await add("h", "n1", 2);
    put(key, "{");
    put(`${IPAM}handle/nobodys`, "[]");
    const { findings } = await ipam.check({ endpoints: false });
    expect(findings).toMatchObject([
      { kind: "unreadable", subject: key, detail: { handle: "h" }, repair: expect.stringContaining("handle") },
      { kind: "unreadable", subject: `${IPAM}handle/nobodys`, detail: { handle: "nobodys" } },
    ]);
    const { repaired, remaining } = await ipam.repair();
    expect(remaining).toEqual([]);
    expect(repaired.map(({ subject }) => subject)).toEqual([key, `${IPAM}handle/nobodys`]);
    const [cidr] = Object.keys((await handles(client)).h!);
    expect(await handles(client)).toEqual({ h: { [cidr!]: 2 } });
    expect([...(await ipam.releaseByHandle("h")).addresses].sort()).toEqual(mine.sort());
  });

  test("keeps none of its addresses from being released by address", async () => {
    const [address] = await add("h");
    put(key, "{");
    expect(await ipam.releaseAddresses([{ address: address! }])).toMatchObject([{ outcome: "released" }]);
    expect((await owners(client)).size).toBe(0);
    expect(warnings.join()).toContain(key);
  });
});

describe("a block that cannot be read", () => {
  test("fails the release of its own addresses only, and is named", async () => {
    const mine = await add("h", "n1", 2);
    const [block] = (await client.list(IPAMBlock)).items;
    const [theirs] = await add("other", "n2");
    const key = keyOfBlock(block!.spec.cidr);
    put(key, "{");
    const requests = [mine[0]!, theirs!, mine[1]!, "10.0.0.255"].map((address) => ({ address }));
    const outcomes = await ipam.releaseAddresses(requests);
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["unreadable", "released", "unreadable", "not-allocated"]);
    expect(outcomes[0]!.reason).toContain(key);
    expect(warnings.join()).toContain(key);
    expect(storedAt(key)).toBe("{");
  });

  test("of another size than its pool's gives now, too", async () => {
    put(`${BLOCKS}10.0.0.64-27`, "{");
    const outcomes = await ipam.releaseAddresses([{ address: "10.0.0.70" }, { address: "10.0.0.200" }]);
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["unreadable", "not-allocated"]);
  });

  test("keeps only its own addresses from being asked for", async () => {
    put(`${BLOCKS}10.0.0.16-28`, "{");
    // Smaller than the block that would have to be made around it.
    put(`${BLOCKS}10.0.0.36-30`, "{");
    const ask = (address: string) => ipam.assignIp({ address, host: "n1", handle: "h" });
    await expect(ask("10.0.0.17")).rejects.toMatchObject({ message: expect.stringContaining("10.0.0.16-28") });
    const beside = await ask("10.0.0.33").catch((error: Error) => error);
    expect(beside).toMatchObject({ code: "IPAM_CORRUPT", message: expect.stringContaining("10.0.0.36/30") });
    expect((beside as Error).message).toContain("cannot be read");
    expect((await ask("10.0.0.1")).address).toBe("10.0.0.1");
  });

  test("is given as a reason when nothing is left", async () => {
    for (let base = 0; base < 256; base += 16) if (base !== 32) put(`${BLOCKS}10.0.0.${base}-28`, "{");
    await add("h", "n1", 16);
    await expect(add("more")).rejects.toMatchObject({ message: expect.stringContaining("240 in blocks that cannot") });
    const room = ipam.requireRoom({ num4: 1, host: "n1", use: "Workload" });
    await expect(room).rejects.toMatchObject({ code: "IPAM_POOL_EXHAUSTED" });
  });

  test("counts as in use, and is named", async () => {
    await add("h", "n1", 2);
    put(`${BLOCKS}10.0.0.240-28`, "{");
    put(`${BLOCKS}10.9.0.0-28`, "{");
    const { pools, orphans, unreadable } = await ipam.utilisation();
    expect(pools[0]).toMatchObject({ capacity: 256n, inUse: 18n, available: 238n });
    expect(pools[0]!.blocks.at(-1)).toEqual({
      cidr: "10.0.0.240/28",
      unreadable: true,
      borrowed: 0,
      capacity: 16n,
      inUse: 16n,
      reserved: 0n,
      available: 0n,
    });
    expect(orphans).toMatchObject([{ cidr: "10.9.0.0/28", unreadable: true }]);
    expect(unreadable).toMatchObject([
      { cidr: "10.0.0.240/28", problem: expect.stringContaining("10.0.0.240-28") },
      { cidr: "10.9.0.0/28" },
    ]);
    expect((await ipam.utilisation(["main"])).unreadable).toHaveLength(1);
  });
});
