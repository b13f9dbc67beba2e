/** Each rule of the tables has its tests in the file of its topic; everything together is model.test.ts. Here: whose turn it is. */
import { expect, test } from "vitest";
import { createRib } from "./index.ts";
import { Net } from "./testing/net.ts";
import type { Policy } from "./types.ts";

test("work leaves room for others between slices, and stops when the tables are closed", async () => {
  let decided = 0;
  const slow: Policy = {
    key: "slow",
    ignoresPrefix: false,
    decide: ({ attributes }) => {
      decided++;
      return { attributes };
    },
  };
  const rib = createRib({ routerId: 1, asn: 64512, sliceMs: 0, onBest: () => {} });
  for (let i = 0; i < 20_000; i++)
    rib.setLocal({ family: 4, length: 32, words: [i, 0, 0, 0] }, "static", { source: "static" });
  await rib.settled();
  const net = new Net().peer({ type: "ebgp" });
  rib.addPeer({ ...net.session, name: "other", exportPolicy: slow });
  let turns = 0;
  while (decided < 10_000) {
    turns++;
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(turns).toBeGreaterThan(1);
  rib.close();
  const before = decided;
  await rib.settled();
  await new Promise((resolve) => setImmediate(resolve));
  expect(decided).toBe(before);
});
