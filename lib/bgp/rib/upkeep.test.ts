/** Work over the whole table, while it changes. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { Net, prefix } from "./testing/net.ts";
import { Walk } from "./walk.ts";

const many = (second: number, count: number) =>
  Array.from({ length: count }, (_, i) => prefix(`10.${second + (i >> 8)}.${i & 255}.0/24`));

test("all paths of a peer that is gone are taken out, though the table grows meanwhile", async () => {
  const net = new Net({ sliceMs: 0 });
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  // Rows at the beginning of the table were swept before, and are used again.
  const early = net.peer({ type: "ibgp" });
  early.reach({}, ...many(0, 5000));
  await net.rib.settled();
  net.rib.removePeer(early.id, []);
  await net.rib.settled();
  const gone = net.peer({ type: "ibgp" });
  gone.reach({}, ...many(0, 5000));
  net.peer({ type: "ibgp" }).reach({}, ...many(40, 8000));
  await net.rib.settled();
  net.rib.removePeer(gone.id, []);
  await turn();
  net.peer({ type: "ibgp" }).reach({}, ...many(80, 20_000));
  await net.rib.settled();
  expect(net.rib.sizes()).toMatchObject({ prefixes: 28_000, paths: 28_000, peers: 2 });
});

test("a next hop that changes while prefixes of another are still being looked for takes nothing from these", async () => {
  const hops = ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(parseAddress);
  const net = new Net({ sliceMs: 0, costs: { follow: () => 0, unfollow: () => {} } });
  const peers = hops.map(() => net.peer({ type: "ibgp" }));
  const [a, b, c] = peers.map((peer, index) => ({
    ...peer,
    told: { nextHop: hops[index]!, localPref: 300 - 100 * index },
  }));
  for (const { reach, told } of [a!, b!]) reach(told, ...many(0, 15_000));
  // Beside them, so that it is followed.
  for (const { reach, told } of [b!, c!]) reach(told, ...many(90, 1));
  await net.rib.settled();
  net.rib.costsChanged([{ nextHop: hops[0]!, cost: Number.POSITIVE_INFINITY }]);
  await new Promise((resolve) => setImmediate(resolve));
  net.rib.costsChanged([{ nextHop: hops[2]!, cost: 1 }]);
  await net.rib.settled();
  expect(net.rib.counts(a!.id).best[4]).toBe(0);
  expect(net.rib.counts(b!.id).best[4]).toBe(15_001);
});

test("a walk visits every row that there was when it began last, whenever that was and however the table grows", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ steps: fc.nat(12), grown: fc.nat(6), begin: fc.boolean() }), { maxLength: 20 }),
      (moves) => {
        const walk = new Walk();
        const due = new Set<number>();
        let limit = 0;
        for (const { steps, grown, begin } of moves) {
          limit += grown;
          if (begin) {
            walk.begin(limit);
            for (let row = 0; row < limit; row++) due.add(row);
          }
          for (let i = 0; i < steps; i++) {
            const row = walk.next();
            expect(row).toBeLessThan(limit);
            due.delete(row);
          }
        }
        let left = 0;
        for (let row = walk.next(); row >= 0; row = walk.next()) {
          due.delete(row);
          left++;
        }
        expect([...due]).toEqual([]);
        expect(left).toBeLessThanOrEqual(limit);
        expect(walk.active).toBe(false);
      },
    ),
  );
});
