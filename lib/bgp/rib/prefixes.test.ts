import fc from "fast-check";
import { expect, test } from "vitest";
import { NumberQueue } from "./columns.ts";
import { PrefixTable } from "./prefixes.ts";

const word = fc.oneof(fc.integer({ min: -3, max: 3 }), fc.integer());

test.each([4, 6] as const)("IPv%d prefixes are found, let go and found no more, as in a map", (family) => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          length: fc.nat(family === 4 ? 32 : 128),
          words: fc.tuple(word, word, word, word),
          add: fc.boolean(),
        }),
        { maxLength: 300 },
      ),
      (steps) => {
        const table = new PrefixTable(family);
        const model = new Map<string, number>();
        for (const { length, words, add } of steps) {
          const [w0, w1, w2, w3] = family === 4 ? [words[0], 0, 0, 0] : words;
          const key = [length, w0, w1, w2, w3].join();
          if (add) {
            const id = table.intern(length, w0, w1, w2, w3);
            const known = model.get(key);
            if (known === undefined) expect([...model.values()]).not.toContain(id);
            else expect(id).toBe(known);
            model.set(key, id);
          } else if (model.has(key)) {
            table.release(model.get(key)!);
            model.delete(key);
          }
          expect(table.size).toBe(model.size);
          expect(table.find(length, w0, w1, w2, w3)).toBe(model.get(key) ?? -1);
        }
        for (const [key, id] of model) {
          const [length, w0, w1, w2, w3] = key.split(",").map(Number) as [number, number, number, number, number];
          expect(table.find(length, w0, w1, w2, w3)).toBe(id);
          expect(table.prefix(id)).toEqual({ family, length, words: [w0 >>> 0, w1 >>> 0, w2 >>> 0, w3 >>> 0] });
        }
      },
    ),
  );
});

test("thousands of prefixes keep their ids while the table grows, and ids that were let go are used again", () => {
  const table = new PrefixTable(6);
  const ids = Array.from({ length: 20_000 }, (_, i) => table.intern(64, 0x20010db8, i, 0, 0));
  expect(new Set(ids).size).toBe(20_000);
  for (let i = 0; i < 20_000; i += 2) table.release(ids[i]!);
  for (const [i, id] of ids.entries()) expect(table.find(64, 0x20010db8, i, 0, 0)).toBe(i % 2 === 0 ? -1 : id);
  for (let i = 0; i < 10_000; i++) table.intern(48, i, 0, 0, 0);
  expect(table.limit).toBe(20_000);
});

test("a queue is first in, first out, however it grows", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(100), fc.nat(100)), { maxLength: 30 }), (rounds) => {
      const queue = new NumberQueue();
      const model: number[] = [];
      let next = 0;
      for (const [pushed, shifted] of rounds) {
        for (let i = 0; i < pushed; i++) {
          queue.push(next);
          model.push(next++);
        }
        for (let i = 0; i < shifted && model.length > 0; i++) expect(queue.shift()).toBe(model.shift());
        expect(queue.size).toBe(model.length);
      }
    }),
  );
});
