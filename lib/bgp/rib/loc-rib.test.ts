/** What is best, and who is told of it. */
import { describe, expect, test } from "vitest";
import { formatCidr, parseAddress } from "../../ip/index.ts";
import { cidrOf, createRib } from "./index.ts";
import { attributes, Net, P, prefix } from "./testing/net.ts";
import { updatesOf } from "./testing.ts";
import type { Policy } from "./types.ts";

describe("the best of a prefix", () => {
  test("is told with all that are as good, each next hop once, and again only when it changes", async () => {
    const net = new Net();
    const [a, b, c] = [net.peer({ type: "ibgp" }), net.peer({ type: "ibgp" }), net.peer({ type: "ibgp" })];
    c.reach({ nextHop: parseAddress("192.0.2.3") });
    b.reach({ nextHop: parseAddress("192.0.2.2") });
    a.reach({ nextHop: parseAddress("192.0.2.2") });
    await net.rib.settled();
    expect(net.best()).toEqual([a.id, c.id]);
    expect(net.rib.explain(P).map(({ from, best }) => [from, best])).toEqual([
      [a.session.name, true],
      [b.session.name, false],
      [c.session.name, true],
    ]);
    const { length } = net.told;
    b.reach({ nextHop: parseAddress("192.0.2.2"), med: 0 });
    b.withdraw();
    await net.rib.settled();
    expect(net.told.length).toBe(length);
  });

  test("is nothing to tell where a local route wins, and that depends on preference", async () => {
    const net = new Net();
    const importPolicy: Policy = {
      key: "raise",
      ignoresPrefix: true,
      decide: ({ attributes }) => ({ attributes, preference: attributes.med === 1 ? 201 : 200 }),
    };
    const peer = net.peer({ type: "ibgp", importPolicy });
    net.rib.setLocal(P, "static", { source: "static" });
    peer.reach();
    await net.rib.settled();
    expect(net.best()).toEqual([]);
    peer.reach({ med: 1 });
    await net.rib.settled();
    expect(net.best()).toEqual([peer.id]);
    net.rib.setLocal(P, "device", { source: "device", interface: "eth0" });
    await net.rib.settled();
    expect(net.best()).toEqual([]);
    expect(net.rib.explain(P).map(({ from }) => from)).toEqual(["device", peer.session.name, "static"]);
    // A kernel route has 10: anything learned wins.
    net.rib.setLocal(P, "static", undefined);
    net.rib.setLocal(P, "device", undefined);
    net.rib.setLocal(P, "kernel", { source: "kernel" });
    await net.rib.settled();
    expect(net.best()).toEqual([peer.id]);
  });
});

test("many changes are told in batches, each as it is then, of both families", async () => {
  const batches: number[] = [];
  const seen = new Map<string, number[]>();
  const rib = createRib({
    routerId: 1,
    asn: 64512,
    onBest: (changes) => {
      batches.push(changes.length);
      for (const { prefix: of, paths } of changes) {
        const text = formatCidr(cidrOf(of));
        seen.set(text, [...(seen.get(text) ?? []), paths.length]);
      }
    },
  });
  const { session } = new Net().peer({ type: "ebgp" });
  const id = rib.addPeer(session);
  const texts = Array.from({ length: 3000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`);
  const texts6 = ["2001:db8:1:2:3:4:5:6/128", "2001:db8::/32"];
  const all = (some: readonly string[]) => some.map((text) => [prefix(text)] as const);
  for (const [family, some] of [[6, texts6] as const, [4, texts] as const])
    for (const update of updatesOf(session, family, { reach: all(some), attributes: attributes() }))
      rib.update(id, update);
  await rib.settled();
  for (const update of updatesOf(session, 4, { withdraw: all(texts) })) rib.update(id, update);
  await rib.settled();
  for (const text of texts6) expect(seen.get(text)).toEqual([1]);
  for (const text of texts) expect(seen.get(text)).toEqual([1, 0]);
  expect(seen.size).toBe(texts.length + texts6.length);
  expect(Math.max(...batches)).toBeLessThan(texts.length);
  expect(batches.length).toBeLessThan(20);
});
