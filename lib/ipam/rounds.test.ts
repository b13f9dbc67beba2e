import { expect, test } from "vitest";
import { IPAMBlock, newIPAMBlock } from "../api/ipamblock.ts";
import type { IPPoolSpec } from "../api/ippool.ts";
import { MemoryData, memoryClient, type StoreOperation } from "../datastore/testing.ts";
import { formatCidr, parseCidr, subnetAt } from "../ip/index.ts";
import { createExtra } from "./fixture.suite.ts";
import { createIpam } from "./ipam.ts";
import { addNode, addPool } from "./testing.ts";

/** A cluster whose operations are counted, and how many keys they touched. */
async function counted(...pools: [string, string, Partial<IPPoolSpec>][]) {
  const data = new MemoryData();
  const plain = memoryClient({ data });
  for (const [name, cidr, spec] of pools) await addPool(plain, name, cidr, spec);
  const seen: StoreOperation[] = [];
  const client = memoryClient({ data, hook: (operation) => void seen.push(operation) });
  const ipam = createIpam(client, { sleep: async () => {} });
  const during = async (work: () => Promise<unknown>) => {
    seen.length = 0;
    await work();
    return {
      rounds: seen.map(({ type }) => type).join(" "),
      keys: seen.reduce((sum, { keys }) => sum + keys.length, 0),
    };
  };
  return { plain, ipam, during };
}

test("an addition to a confirmed block with room is two rounds of reads and one commit, with endpoint and both families", async () => {
  const { plain, ipam, during } = await counted(
    ["p4", "10.0.0.0/16", { nodeSelector: "has(rack)" }],
    ["p6", "fd00::/112", {}],
  );
  await addNode(plain, "n1", { rack: "1" });
  const add = (handle: string, extra = false) =>
    ipam.autoAssign({
      num4: 1,
      num6: 1,
      host: "n1",
      handle,
      use: "Workload",
      reuse: true,
      ...(extra ? { alsoWrite: () => [createExtra(handle)] } : {}),
    });
  await add("first");
  expect((await during(() => add("second", true))).rounds).toBe("read read write");
  expect((await during(() => ipam.releaseByHandle("second"))).rounds).toBe("read read write");
});

test("neither an addition nor a claim touches more keys when other nodes have a thousand blocks", async () => {
  const measure = async (others: number) => {
    const { plain, ipam, during } = await counted(["p", "10.0.0.0/12", {}]);
    const pool = parseCidr("10.0.0.0/12");
    for (let i = 0; i < others; i++) {
      // Spread over the pool as claims are.
      const cidr = formatCidr(subnetAt(pool, 26, (BigInt(i) * 7919n) % 16384n));
      await plain.create(IPAMBlock, newIPAMBlock({ cidr, affinity: `host:other-${i}`, sequenceNumber: 1n }));
    }
    const add = () => ipam.autoAssign({ num4: 1, host: "n1", use: "Workload" });
    return { claim: await during(add), addition: await during(add) };
  };
  const few = await measure(1);
  const many = await measure(1000);
  expect(many).toEqual(few);
  expect(many.addition.keys).toBeLessThan(12);
});
