import { describe, expect, test } from "vitest";
import { IPPool } from "../api/ippool.ts";
import { type Fault, MemoryData, memoryClient, type StoreOperation } from "../datastore/testing.ts";
import { createIpam } from "./ipam.ts";
import { addPool, contradictions, handles, owners } from "./testing.ts";

/**
 * Writes without an answer, where a grant is several commits: the connection broke, and nobody can tell whether the write was
 * carried out, or still will be. Whatever it was, the handle finds what the container holds.
 */
const APART = { atomicBatch: false } as const;

/** A datastore with one block of the node, in which nothing is held. */
async function ready(): Promise<MemoryData> {
  const data = new MemoryData();
  const client = memoryClient({ data });
  await addPool(client, "main", "10.0.0.0/24", { blockSize: 28 });
  const ipam = createIpam(client, { sleep: async () => {} });
  await ipam.autoAssign({ num4: 1, host: "n1", handle: "before", use: "Workload" });
  await ipam.releaseByHandle("before");
  return data;
}

/** Assigns for "pod" through a client whose operations `fault` may spoil; whether it succeeded. */
async function assigns(data: MemoryData, fault: (operation: StoreOperation) => Fault): Promise<boolean> {
  const ipam = createIpam(memoryClient({ data, capabilities: APART, hook: fault }), { sleep: async () => {} });
  const request = { num4: 1, host: "n1", handle: "pod", use: "Workload" } as const;
  const extra = async () => [{ op: "create" as const, kind: IPPool, resource: other("10.9.0.0/24") }];
  return ipam.autoAssign({ ...request, alsoWrite: extra }).then(
    () => true,
    () => false,
  );
}

const other = (cidr: string): IPPool =>
  ({ apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: "other" }, spec: { cidr } }) as IPPool;

/** After this the next ADD of the container gets one address, and its DEL leaves nothing. */
async function expectNothingLeaks(data: MemoryData): Promise<void> {
  const client = memoryClient({ data, capabilities: APART });
  const ipam = createIpam(client, { sleep: async () => {} });
  await ipam.releaseByHandle("pod");
  expect([...(await owners(client)).keys()], "held after DEL").toEqual([]);
  expect(await handles(client)).toEqual({});
  expect(await contradictions(client)).toEqual([]);
}

describe("an assignment whose write is not answered", () => {
  test.each([0, 1, 2])("(write %i) although it was carried out", async (lost) => {
    const data = await ready();
    const succeeded = await assigns(data, ({ type, write }) =>
      type === "write" && write === lost ? "lost" : undefined,
    );
    expect(succeeded).toBe(false);
    await expectNothingLeaks(data);
  });

  test.each([0, 1, 2])("(write %i) and nothing after it is", async (lost) => {
    const data = await ready();
    const succeeded = await assigns(data, ({ write, type }) => {
      if (type === "write" && write === lost) return "lost";
      return write > lost ? "unavailable" : undefined;
    });
    expect(succeeded).toBe(false);
    await expectNothingLeaks(data);
  });

  test("the container's next ADD gets what the first was given, or something else, but one address", async () => {
    for (const lost of [0, 1, 2]) {
      const data = await ready();
      await assigns(data, ({ write, type }) => (type === "write" && write === lost ? "lost" : undefined));
      const client = memoryClient({ data, capabilities: APART });
      const ipam = createIpam(client, { sleep: async () => {} });
      const { v4 } = await ipam.autoAssign({ num4: 1, host: "n1", handle: "pod", use: "Workload", reuse: true });
      expect([...(await owners(client)).keys()]).toEqual(v4.map(({ address }) => address));
    }
  });

  test("and it is carried out only after everything was given back", async () => {
    const data = await ready();
    const late: (() => void)[] = [];
    const succeeded = await assigns(data, ({ write, type, late: later }) => {
      if (type !== "write" || write !== 1) return undefined;
      late.push(later);
      return "unavailable";
    });
    expect(succeeded).toBe(false);
    for (const arrive of late) arrive();
    await expectNothingLeaks(data);
  });
});
