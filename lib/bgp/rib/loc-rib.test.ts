/** What is best, and who is told of it. */
import { describe, expect, test } from "vitest";
import { formatAddress, formatCidr, parseAddress } from "../../ip/index.ts";
import { cidrOf, createRib } from "./index.ts";
import { attributes, Net, P, prefix } from "./testing/net.ts";
import { prefixText, updatesOf } from "./testing.ts";
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

describe("next hops and their costs", () => {
  const [NEAR, FAR] = [parseAddress("192.0.2.1"), parseAddress("198.51.100.1")];

  /** Two peers, the first of a higher LOCAL_PREF; and what is followed. */
  function two(costs: Record<string, number>, restarting = false) {
    const followed: string[] = [];
    const net = new Net({
      restarting,
      costs: {
        follow: (nextHop) => {
          followed.push(formatAddress(nextHop));
          return costs[formatAddress(nextHop)] ?? 0;
        },
        unfollow: (nextHop) => void followed.splice(followed.indexOf(formatAddress(nextHop)), 1),
      },
    });
    return { net, followed, a: net.peer({ type: "ibgp" }), b: net.peer({ type: "ibgp" }) };
  }

  test("decide what is best, and again when they change, of prefixes that can choose", async () => {
    const { net, followed, a, b } = two({ "198.51.100.1": Number.POSITIVE_INFINITY });
    const alone = prefix("10.2.0.0/24");
    a.reach({ nextHop: FAR, localPref: 200 }, P, alone);
    await net.rib.settled();
    // The only path is the best, whether it leads anywhere or not, and nobody asked.
    expect([net.best(), net.best(alone), followed]).toEqual([[a.id], [a.id], []]);
    b.reach({ nextHop: NEAR });
    await net.rib.settled();
    expect(net.best()).toEqual([b.id]);
    expect(net.rib.explain(P).map(({ from, why }) => [from, why])).toEqual([
      [b.session.name, "the best"],
      [a.session.name, "its next hop 198.51.100.1 cannot be reached"],
    ]);
    expect(followed.toSorted()).toEqual(["192.0.2.1", "198.51.100.1"]);

    const { length } = net.told;
    net.rib.costsChanged([{ nextHop: FAR, cost: Number.POSITIVE_INFINITY }]);
    net.rib.costsChanged([{ nextHop: parseAddress("203.0.113.9"), cost: 1 }]);
    await net.rib.settled();
    expect(net.told.length).toBe(length);
    net.rib.costsChanged([{ nextHop: FAR, cost: 1 }]);
    await net.rib.settled();
    expect(net.told.length).toBe(length + 1);
    expect(net.best()).toEqual([a.id]);
    // Both are gone: it is as if both were there, and nothing is withdrawn.
    net.rib.costsChanged([
      { nextHop: FAR, cost: Number.POSITIVE_INFINITY },
      { nextHop: NEAR, cost: Number.POSITIVE_INFINITY },
    ]);
    await net.rib.settled();
    expect([net.best(), net.best(alone)]).toEqual([[a.id], [a.id]]);

    net.rib.removePeer(a.id, []);
    net.rib.removePeer(b.id, []);
    await net.rib.settled();
    expect(followed).toEqual([]);
  });

  test("are part of what is equally good", async () => {
    const { net, followed, a, b } = two({});
    a.reach({ nextHop: FAR });
    b.reach({ nextHop: NEAR });
    await net.rib.settled();
    expect(net.best()).toEqual([a.id, b.id]);
    net.rib.costsChanged([{ nextHop: FAR, cost: 1 }]);
    // What was told stands until it is decided again.
    expect([...net.rib.entries(4)].map(({ paths }) => paths.length)).toEqual([2]);
    await net.rib.settled();
    expect(net.best()).toEqual([b.id]);
    expect(net.rib.explain(P)[1]!.why).toBe("its next hop is farther away");
    net.rib.costsChanged([{ nextHop: NEAR, cost: 1 }]);
    await net.rib.settled();
    expect(net.best()).toEqual([a.id, b.id]);
    net.rib.close();
    expect(followed).toEqual([]);
  });

  test("change what a peer is sent by what is best, never to nothing", async () => {
    const { net, a, b } = two({});
    const client = net.peer({ type: "ebgp", nextHop: "keep" });
    a.reach({ nextHop: FAR, localPref: 200 });
    b.reach({ nextHop: NEAR });
    await net.rib.settled();
    for (const cost of [Number.POSITIVE_INFINITY, 1, Number.POSITIVE_INFINITY]) {
      net.rib.costsChanged([{ nextHop: FAR, cost }]);
      await net.rib.settled();
      expect(client.receiver.attributes.get(prefixText(P))!.nextHop).toEqual(cost === 1 ? FAR : NEAR);
    }
    expect(client.receiver.events.filter((event) => event.startsWith("-"))).toEqual([]);
  });

  test("wait for the end of a restart like all else", async () => {
    const { net, a, b } = two({}, true);
    a.reach({ nextHop: FAR, localPref: 200 });
    b.reach({ nextHop: NEAR });
    net.rib.costsChanged([{ nextHop: FAR, cost: Number.POSITIVE_INFINITY }]);
    await net.rib.settled();
    expect(net.told).toEqual([]);
    net.rib.endOfRestart();
    await net.rib.settled();
    expect(net.best()).toEqual([a.id]);
    net.rib.costsChanged([{ nextHop: FAR, cost: Number.POSITIVE_INFINITY }]);
    await net.rib.settled();
    expect(net.best()).toEqual([b.id]);
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
