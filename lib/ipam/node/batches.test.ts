import * as fc from "fast-check";
import { expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { IPPool, newIPPool } from "../../api/ippool.ts";
import { type Client, DatastoreError } from "../../datastore/index.ts";
import { type Fault, MemoryData, memoryClient, type StoreOperation } from "../../datastore/testing.ts";
import { createExtra } from "../fixture.suite.ts";
import { createIpam } from "../ipam.ts";
import { addPool, blocks, contradictions, handles, owners, setConfig } from "../testing.ts";
import type { AutoAssignRequest, Ipam } from "../types.ts";
import { startNodeAllocator } from "./allocator.ts";
import { upToDate } from "./fleet.suite.ts";

const NAMES = Array.from({ length: 100 }, (_, index) => `h${index}`);

/** All of a client, to be overlaid. */
const bound = (client: Client): Client => ({
  name: client.name,
  capabilities: client.capabilities,
  get: (kind, ref) => client.get(kind, ref),
  exists: (kind, ref) => client.exists(kind, ref),
  list: (kind, index) => client.list(kind, index),
  create: (kind, resource) => client.create(kind, resource),
  update: (kind, resource) => client.update(kind, resource),
  delete: (kind, ref, options) => client.delete(kind, ref, options),
  batch: (operations) => client.batch(operations),
  commit: (operations) => client.commit(operations),
  watch: (kind, options) => client.watch(kind, options),
  close: () => client.close(),
});

interface Node {
  readonly plain: Client;
  readonly allocator: ReturnType<typeof startNodeAllocator>;
  /** The operations of the allocator during some work: how many reads, and the keys written. */
  during(work: () => Promise<unknown>): Promise<{ reads: number; writes: number; keys: string[] }>;
}

/** A node whose allocator knows everything and has a block. */
async function node(
  atomic: boolean,
  blockSize: number,
  hook: (operation: StoreOperation) => Fault | Promise<Fault> = () => undefined,
): Promise<Node> {
  const data = new MemoryData();
  const capabilities = { atomicBatch: atomic };
  const plain = memoryClient({ data, capabilities });
  await addPool(plain, "p", "10.0.0.0/16", { blockSize });
  const seen: StoreOperation[] = [];
  const see = (operation: StoreOperation) => {
    seen.push(operation);
    return hook(operation);
  };
  const client = memoryClient({ data, capabilities, hook: see });
  const allocator = startNodeAllocator(client, { node: "n1", sleep: async () => {} });
  await allocator.inSync;
  await allocator.autoAssign(add("first"));
  await allocator.autoAssign(add("second"));
  await upToDate(plain, "n1", allocator);
  const during: Node["during"] = async (work) => {
    seen.length = 0;
    await work();
    const writes = seen.filter(({ type }) => type === "write");
    return { reads: seen.length - writes.length, writes: writes.length, keys: writes.flatMap(({ keys }) => keys) };
  };
  return { plain, allocator, during };
}

const add = (handle: string, more: Partial<AutoAssignRequest> = {}): AutoAssignRequest => ({
  ...{ num4: 1, host: "n1", handle, use: "Workload", reuse: true },
  ...more,
});
const addAll = (ipam: Ipam) => Promise.all(NAMES.map((name) => ipam.autoAssign(add(name))));
const blockKeys = (keys: readonly string[]) => keys.filter((key) => key.includes("/block/")).length;

test.each([true, false])(
  "100 additions, and 100 releases, share block writes and read nothing (atomic: %s)",
  async (atomic) => {
    const { plain, allocator, during } = await node(atomic, 24);
    const added = await during(() => addAll(allocator));
    expect(added.reads).toBe(0);
    expect(blockKeys(added.keys)).toBeLessThanOrEqual(5);
    expect(added.keys.length - blockKeys(added.keys)).toBe(100);
    if (atomic) expect(added.writes).toBeLessThanOrEqual(5);
    expect((await owners(plain)).size).toBe(102);
    expect(await contradictions(plain)).toEqual([]);
    const released = await during(() => Promise.all(NAMES.map((name) => allocator.releaseByHandle(name))));
    expect(released.reads).toBe(0);
    expect(blockKeys(released.keys)).toBeLessThanOrEqual(5);
    expect((await owners(plain)).size).toBe(2);
    expect(await contradictions(plain)).toEqual([]);
    await allocator.close();
  },
);

test("a configuration that may be read but not watched is read, not for every request", async () => {
  const data = new MemoryData();
  const plain = memoryClient({ data });
  await addPool(plain, "p", "10.0.0.0/16", { blockSize: 26 });
  await setConfig(plain, { strictAffinity: true });
  const refused = new DatastoreError("UNAUTHORIZED", "may not watch");
  let gets = 0;
  const client: Client = {
    ...bound(plain),
    get: (kind, ref) => {
      if (kind.kind === "IPAMConfiguration") gets++;
      return plain.get(kind, ref);
    },
    watch: (kind, options) => {
      if (kind.kind === "IPAMConfiguration") throw refused;
      return plain.watch(kind, options);
    },
  };
  const allocator = startNodeAllocator(client, { node: "n1" });
  await allocator.inSync;
  expect(allocator.facts()?.config.strictAffinity).toBe(true);
  await allocator.autoAssign(add("first"));
  const before = gets;
  for (const name of NAMES.slice(0, 10)) await allocator.autoAssign(add(name));
  expect(gets - before).toBeLessThan(10);
  expect((await owners(plain)).size).toBe(11);
  await allocator.close();
});

test("what goes the direct way does so one after the other", async () => {
  const { plain, allocator } = await node(false, 24);
  let atOnce = 0;
  let most = 0;
  const pass = async () => {
    most = Math.max(most, ++atOnce);
    await Bun.sleep(0);
    atOnce--;
    return [];
  };
  const direct = NAMES.slice(0, 20).map((handle, index) =>
    allocator.assignIp({ ...add(handle), address: `10.0.200.${index}`, alsoWrite: pass }),
  );
  await Promise.all(direct);
  expect(most).toBe(1);
  expect(await contradictions(plain)).toEqual([]);
  await allocator.close();
});

test.each([true, false])("whoever comes while a write is under way is in the next one (atomic: %s)", async (atomic) => {
  let hold: Promise<void> | undefined;
  const { plain, allocator, during } = await node(atomic, 24, async ({ type }) => {
    if (type === "write") await hold;
    return undefined;
  });
  let go = () => {};
  hold = new Promise((resolve) => {
    go = resolve;
  });
  const { keys } = await during(async () => {
    const first = allocator.autoAssign(add("a"));
    await new Promise((resolve) => setImmediate(resolve));
    const others = ["b", "c", "d"].map((name) => allocator.autoAssign(add(name)));
    await new Promise((resolve) => setImmediate(resolve));
    go();
    await Promise.all([first, ...others]);
  });
  expect(blockKeys(keys)).toBe(2);
  expect((await owners(plain)).size).toBe(6);
  await allocator.close();
});

test.each([true, false])("a hundred that need new blocks claim each of them once (atomic: %s)", async (atomic) => {
  const { plain, allocator, during } = await node(atomic, 28);
  const { keys } = await during(() => addAll(allocator));
  expect((await owners(plain)).size).toBe(102);
  expect((await blocks(plain)).length).toBe(7);
  // A claim writes the block, and each of its addresses is part of few further writes.
  expect(blockKeys(keys)).toBeLessThan(60);
  expect(await contradictions(plain)).toEqual([]);
  await allocator.close();
});

test.each([true, false])(
  "those whose own operations are refused do not keep the others from theirs (atomic: %s)",
  async (atomic) => {
    const { plain, allocator } = await node(atomic, 24);
    await plain.batch([createExtra("h3"), createExtra("h70")]);
    const results = await Promise.allSettled(
      NAMES.map((name) => allocator.autoAssign(add(name, { alsoWrite: () => [createExtra(name)] }))),
    );
    expect(results.flatMap(({ status }, index) => (status === "rejected" ? [index] : []))).toEqual([3, 70]);
    await allocator.close();
    expect((await owners(plain)).size).toBe(100);
    expect(await contradictions(plain)).toEqual([]);
  },
);

test("the same handle is served in turn: an addition that is made again gets what the first got", async () => {
  for (const atomic of [true, false]) {
    const { plain, allocator } = await node(atomic, 24);
    const [one, two] = await Promise.all([allocator.autoAssign(add("a")), allocator.autoAssign(add("a"))]);
    expect(two!.v4[0]!.address).toBe(one!.v4[0]!.address);
    const [, released] = await Promise.all([allocator.autoAssign(add("b")), allocator.releaseByHandle("b")]);
    expect(released.addresses).toHaveLength(1);
    expect(await contradictions(plain)).toEqual([]);
    await allocator.close();
  }
});

test("a pool that is disabled, a cooldown and a block that is taken away are obeyed as soon as the watch tells", async () => {
  const { plain, allocator } = await node(false, 26);
  await setConfig(plain, { ipCooldownSeconds: 60 });
  await upToDate(plain, "n1", allocator);
  await allocator.releaseByHandle("first");
  expect((await blocks(plain))[0]!.spec.attributes.some(({ releasedAt }) => releasedAt !== undefined)).toBe(true);
  await createIpam(plain).releaseOwner({ type: "host", name: "n1" });
  // Nothing of it is known yet: the write finds out.
  const { v4 } = await allocator.autoAssign(add("a"));
  const owned = (await blocks(plain)).find(({ spec }) => spec.cidr === v4[0]!.block);
  expect(owned!.spec.affinity).toBe("host:n1");
  const pool = (await plain.get(IPPool, { name: "p" }))!;
  await plain.update(IPPool, { ...pool, spec: { ...pool.spec, disabled: true } });
  await upToDate(plain, "n1", allocator);
  await expect(allocator.autoAssign(add("b"))).rejects.toMatchObject({ code: "IPAM_NO_POOLS" });
  await allocator.close();
});

test("what is not known, or was not listed for ten minutes, is read", async () => {
  const data = new MemoryData();
  const plain = memoryClient({ data });
  await addPool(plain, "p", "10.0.0.0/24");
  let now = Date.parse("2026-01-01T00:00:00Z");
  let reads = 0;
  const hook = ({ type }: StoreOperation) => {
    if (type === "read") reads++;
    return undefined;
  };
  const client = memoryClient({ data, hook });
  const allocator = startNodeAllocator(client, { node: "n1", clock: () => now });
  await allocator.autoAssign(add("early"));
  await allocator.inSync;
  await allocator.autoAssign(add("a"));
  reads = 0;
  await allocator.autoAssign(add("b"));
  expect(reads).toBe(0);
  now += 11 * 60_000;
  await allocator.autoAssign(add("c"));
  expect(reads).toBeGreaterThan(0);
  await upToDate(plain, "n1", allocator);
  await allocator.autoAssign(add("d"));
  reads = 0;
  await allocator.autoAssign(add("e"));
  expect(reads).toBe(0);
  await allocator.close();
  expect(await contradictions(plain)).toEqual([]);
});

test("an affinity whose block does not exist, and blocks of a second pool, change nothing for others", async () => {
  const { plain, allocator } = await node(false, 26);
  await plain.create(
    BlockAffinity,
    newBlockAffinity({ type: "host", node: "n1", cidr: "10.0.9.0/26", state: "confirmed" }),
  );
  await plain.create(IPPool, newIPPool("q", { cidr: "10.9.0.0/16", assignmentMode: "Manual" }));
  await upToDate(plain, "n1", allocator);
  const [a, b] = await Promise.all([allocator.autoAssign(add("a")), allocator.autoAssign(add("b", { pools4: ["q"] }))]);
  expect(a!.v4[0]!.pool).toBe("p");
  expect(b!.v4[0]!.pool).toBe("q");
  await allocator.close();
});

/** What can be asked; each at most once for a handle. */
const request = fc.record({
  handle: fc.nat({ max: 30 }),
  num4: fc.nat({ max: 3 }),
  num6: fc.nat({ max: 1 }),
  release: fc.boolean(),
  refused: fc.boolean(),
  tick: fc.nat({ max: 2 }),
});

test("any mix of requests ends as it does one by one: who asked has as much, and nothing contradicts itself", async () => {
  const play = async (
    ipam: Ipam,
    plain: Client,
    asked: readonly (typeof request extends fc.Arbitrary<infer T> ? T : never)[],
    together: boolean,
  ) => {
    await addPool(plain, "p4", "10.0.0.0/24", { blockSize: 29 });
    await addPool(plain, "p6", "fd00::/120", { blockSize: 125 });
    await plain.batch([createExtra("taken")]);
    const begun: Promise<unknown>[] = [];
    for (const { handle, num4, num6, release, refused, tick } of asked) {
      const id = `h${handle}`;
      const extra = refused ? { alsoWrite: () => [createExtra("taken")] } : {};
      const one = release ? ipam.releaseByHandle(id) : ipam.autoAssign(add(id, { num4, num6, reuse: false, ...extra }));
      begun.push(one.catch(() => {}));
      if (!together) await one.catch(() => {});
      else if (tick > 0) await new Promise((resolve) => setImmediate(resolve));
    }
    await Promise.all(begun);
  };
  await fc.assert(
    fc.asyncProperty(fc.array(request, { maxLength: 40 }), fc.boolean(), async (asked, atomic) => {
      const capabilities = { atomicBatch: atomic };
      const naive = memoryClient({ capabilities });
      await play(createIpam(naive, { sleep: async () => {} }), naive, asked, false);
      const client = memoryClient({ capabilities });
      const allocator = startNodeAllocator(client, { node: "n1", sleep: async () => {} });
      await allocator.inSync;
      await play(allocator, client, asked, true);
      await allocator.close();
      expect(await contradictions(client)).toEqual([]);
      const sums = async (of: Client) =>
        Object.fromEntries(
          Object.entries(await handles(of)).map(([id, block]) => [id, Object.values(block).reduce((a, b) => a + b, 0)]),
        );
      expect(await sums(client)).toEqual(await sums(naive));
    }),
    { numRuns: 60 },
  );
});
