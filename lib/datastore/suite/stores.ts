import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { Node } from "../../api/node.ts";
import { parseCidr } from "../../ip/index.ts";
import { KeyValueClient } from "../key-value-client.ts";
import { blockKey, IPAM, keyOf } from "../keys.ts";
import { prefixRange, type Stored } from "../store.ts";
import { codeOf, type KeyValueContext } from "./support.ts";

/** The store beneath the client. */
export function storeTests(on: KeyValueContext): void {
  describe("the store", () => {
    test("agrees with a naive model on any sequence of operations", async () => {
      const keys = ["/m/a", "/m/a/b", "/m/a0", "/m/b", "/m/\u{1F600}", "/m/\uffee", "/m/é"];
      const key = fc.constantFrom(...keys);
      const write = fc.record({
        key,
        value: fc.option(fc.string({ unit: "binary", maxLength: 8 }), { nil: undefined }),
      });
      const compare = fc.record({ key, kind: fc.constantFrom("right", "any", "absent", "wrong") });
      const step = fc.record({
        compares: fc.uniqueArray(compare, { maxLength: 2, selector: (one) => one.key }),
        writes: fc.uniqueArray(write, { maxLength: 4, selector: (one) => one.key }),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
          await on.clear("/m/");
          const model = new Map<string, Stored>();
          const start = (await on.store.read([])).revision;
          const history: string[] = [];
          for (const { compares, writes } of steps) {
            const asked = compares.map(({ key, kind }) => {
              const now = model.get(key)?.modRevision ?? 0;
              return {
                key,
                modRevision:
                  kind === "any" ? ("any" as const) : kind === "right" ? now : kind === "absent" ? 0 : now + 7,
              };
            });
            const holds = asked.every(({ key, modRevision }) =>
              modRevision === "any" ? model.has(key) : (model.get(key)?.modRevision ?? 0) === modRevision,
            );
            const result = await on.store.transact(asked, writes);
            expect(result.succeeded).toBe(holds);
            if (!result.succeeded) {
              expect(result.current).toEqual(asked.map(({ key }) => model.get(key)));
              continue;
            }
            expect(result.previous).toEqual(
              writes.map(({ key, value }) => (value === undefined ? model.get(key) : undefined)),
            );
            for (const { key, value } of writes) {
              const before = model.get(key);
              if (value !== undefined) {
                const { revision } = result;
                model.set(key, {
                  key,
                  value,
                  modRevision: revision,
                  createRevision: before?.createRevision ?? revision,
                });
                history.push(`put ${key} ${JSON.stringify(value)} after ${JSON.stringify(before?.value)}`);
              } else if (model.delete(key)) history.push(`delete ${key} after ${JSON.stringify(before?.value)}`);
            }
          }
          const sorted = [...model.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
          const { results } = await on.store.read([
            prefixRange("/m/"),
            { key: "/m/a" },
            { start: "/m/a", end: "/m/b" },
          ]);
          expect(results[0]).toEqual(sorted);
          expect(results[1]).toEqual(sorted.filter((one) => one.key === "/m/a"));
          expect(results[2]).toEqual(sorted.filter((one) => /^\/m\/a/.test(one.key)));

          const told: string[] = [];
          const abort = new AbortController();
          if (history.length > 0)
            for await (const events of on.store.watch(prefixRange("/m/"), start, abort.signal)) {
              for (const event of events)
                told.push(
                  event.type === "put"
                    ? `put ${event.stored.key} ${JSON.stringify(event.stored.value)} after ${JSON.stringify(event.previous?.value)}`
                    : `delete ${event.key} after ${JSON.stringify(event.previous?.value)}`,
                );
              if (told.length >= history.length) abort.abort();
            }
          // Within one transaction the order is the store's own.
          expect(told.sort()).toEqual(history.sort());
        }),
        { numRuns: 25 },
      );
    }, 60_000);

    test("reads of one moment are one round trip and one state", async () => {
      await on.clear();
      let reads = 0;
      const counted = new KeyValueClient({
        name: on.store.name,
        read: (ranges) => {
          reads++;
          return on.store.read(ranges);
        },
        transact: (compares, writes) => on.store.transact(compares, writes),
        watch: (range, from, signal) => on.store.watch(range, from, signal),
        close: async () => {},
      });
      await on.client.create(Node, {
        apiVersion: Node.apiVersion,
        kind: "Node",
        metadata: { name: "n1" },
        spec: {},
      } as Node);
      const [node, pools, handle] = await Promise.all([
        counted.get(Node, { name: "n1" }),
        counted.list(IPPool),
        counted.get(IPAMHandle, ipamHandleRef("h")),
      ]);
      expect(reads).toBe(1);
      expect([node?.metadata.name, pools.items, handle]).toEqual(["n1", [], undefined]);
    });

    test("a closed client says so", async () => {
      const one = new KeyValueClient(await on.openStore());
      await one.close();
      await one.close();
      expect(await codeOf(one.get(IPPool, { name: "main" }))).toBe("UNAVAILABLE");
    });
  });

  test("keys of blocks are canonical", () => {
    expect(blockKey(parseCidr("10.0.0.77/26"))).toBe(`${IPAM}assignment/ipv4/block/10.0.0.64-26`);
    expect(keyOf(IPAMBlock as unknown as Kind, { name: "x", spec: { cidr: "FD00:0::/122" } })).toBe(
      `${IPAM}assignment/ipv6/block/fd00::-122`,
    );
  });
}
