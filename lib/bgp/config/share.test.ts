import fc from "fast-check";
import { expect, test } from "vitest";
import { share } from "./share.ts";

test("the answer is equal to the new value, whatever the old one was", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (before, after) => {
      const wanted = JSON.stringify(after);
      expect(JSON.stringify(share<unknown>(before, after))).toBe(wanted);
      // As JSON has it: without -0.
      const known = JSON.parse(wanted) as unknown;
      expect(share<unknown>(known, JSON.parse(wanted))).toBe(known);
    }),
  );
});

test("what did not change is the very same object, also where its list changed", () => {
  const before = {
    peers: [
      { name: "a", filters: ["f"] },
      { name: "b", filters: ["g"] },
    ],
    blocks: [{ cidr: "10.0.0.0/26" }],
    listen: { port: 179 },
  };
  const after = share(before, {
    peers: [
      { name: "0", filters: [] },
      { name: "a", filters: ["f"] },
      { name: "b", filters: ["g", "h"] },
    ],
    blocks: [{ cidr: "10.0.0.0/26" }],
    listen: { port: 180 },
  });
  expect(after).not.toBe(before);
  expect(after.peers[1]).toBe(before.peers[0]!);
  expect(after.peers[2]).not.toBe(before.peers[1]);
  expect(after.blocks).toBe(before.blocks);
  expect(after.listen).toEqual({ port: 180 });
});

test("a field that went is gone", () => {
  expect(share<object>({ a: 1, b: 2 }, { a: 1 })).toEqual({ a: 1 });
  expect(Object.keys(share<object>({ a: 1, b: 2 }, { a: 1 }))).toEqual(["a"]);
});
