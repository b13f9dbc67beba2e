import { describe, expect, test } from "vitest";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import type { Kind } from "../../api/kind.ts";
import { codeOf, datastoreSuite } from "../suite/index.ts";
import { Crashed, type Fault, MemoryData, memoryClient } from "../testing.ts";
import { MemoryStore } from "./store.ts";

datastoreSuite("memory", async () => {
  const data = new MemoryData();
  return {
    open: async () => new MemoryStore(data),
    compact: async () => data.compact(),
    remove: async () => {},
  };
});

describe("faults", () => {
  const faulty = (fault: Fault, atWrite: number) => {
    const data = new MemoryData();
    const client = memoryClient({
      data,
      hook: ({ type, write }) => (type === "write" && write === atWrite ? fault : undefined),
    });
    return { client, witness: memoryClient({ data }) };
  };
  const handles = async (client: { list: ReturnType<typeof memoryClient>["list"] }) =>
    (await client.list(IPAMHandle)).items.map(({ metadata }) => metadata.name);

  test("a conflict is injected before the n-th write", async () => {
    const { client, witness } = faulty("conflict", 1);
    const handle = await client.create(IPAMHandle, newIPAMHandle("a", {}));
    expect(await codeOf(client.update(IPAMHandle, handle))).toBe("CONFLICT");
    expect(await codeOf(client.update(IPAMHandle, handle))).toBe("no error");
    expect(await handles(witness)).toEqual(["a"]);
  });

  test("a crash ends the client before or after a write", async () => {
    for (const [fault, left] of [
      ["crash", ["a"]],
      ["crash-after", ["a", "b"]],
    ] as const) {
      const { client, witness } = faulty(fault, 1);
      await client.create(IPAMHandle, newIPAMHandle("a", {}));
      await expect(client.create(IPAMHandle, newIPAMHandle("b", {}))).rejects.toThrow(Crashed);
      await expect(client.get(IPAMHandle, ipamHandleRef("a"))).rejects.toThrow(Crashed);
      expect(await handles(witness)).toEqual(left);
    }
  });

  test("an answer is lost, or the datastore is away", async () => {
    for (const [fault, left] of [
      ["unavailable", []],
      ["lost", ["a"]],
    ] as const) {
      const { client, witness } = faulty(fault, 0);
      expect(await codeOf(client.create(IPAMHandle, newIPAMHandle("a", {})))).toBe("UNAVAILABLE");
      expect(await handles(witness)).toEqual(left);
    }
  });

  test("a batch that is not atomic is written one by one", async () => {
    const data = new MemoryData();
    const client = memoryClient({
      data,
      capabilities: { atomicBatch: false },
      hook: ({ write }) => (write === 1 ? "crash" : undefined),
    });
    const kind = IPAMHandle as unknown as Kind;
    const create = (id: string) => ({ op: "create", kind, resource: newIPAMHandle(id, {}) }) as const;
    await expect(client.batch([create("a"), create("b")])).rejects.toThrow(Crashed);
    expect(await handles(memoryClient({ data }))).toEqual(["a"]);
  });

  test("a scheduler decides who goes next", async () => {
    const data = new MemoryData();
    const order: string[] = [];
    const waiting = new Map<string, () => void>();
    const client = (name: string) =>
      memoryClient({
        data,
        hook: () =>
          new Promise((resolve) => {
            waiting.set(name, () => {
              order.push(name);
              resolve(undefined);
            });
          }),
      });
    const [one, two] = [client("one"), client("two")];
    const both = Promise.all([
      codeOf(one.create(IPAMHandle, newIPAMHandle("a", {}))),
      codeOf(two.create(IPAMHandle, newIPAMHandle("a", {}))),
    ]);
    while (waiting.size < 2) await Promise.resolve();
    waiting.get("two")!();
    waiting.get("one")!();
    expect(await both).toEqual(["EXISTS", "no error"]);
    expect(order).toEqual(["two", "one"]);
  });
});
