/** Routes of peers that are not here: kept, told again, dropped. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { attributes, Net, negotiated, P, P_TEXT, prefix } from "./testing/net.ts";
import { prefixText, Receiver, updatesOf } from "./testing.ts";

describe("graceful restart", () => {
  test("a peer's routes stay while it is away, are replaced when it is back, and what is not goes at its End-of-RIB", async () => {
    const net = new Net();
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    const [q, r] = [prefix("10.2.0.0/16"), prefix("10.3.0.0/16")];
    a.reach({}, P, q, r);
    await net.rib.settled();
    const { messages } = b.receiver;
    net.rib.removePeer(a.id, [4]);
    await net.rib.settled();
    expect(b.receiver.messages).toBe(messages);
    expect(net.rib.explain(P)).toMatchObject([{ best: true, stale: true }]);
    // Again before it was done: still nothing is taken away.
    const once = net.rib.addPeer(a.session);
    net.rib.removePeer(once, [4]);
    const again = net.rib.addPeer(a.session);
    expect(again).toBe(a.id);
    a.reach({}, P);
    a.reach({ med: 7 }, q);
    await net.rib.settled();
    expect(b.receiver.messages).toBe(messages);
    net.rib.endOfRib(again, 4);
    await net.rib.settled();
    expect([...b.receiver.view.keys()].sort()).toEqual([prefixText(P), prefixText(q)]);
    expect(net.rib.explain(P)).toMatchObject([{ best: true, stale: false }]);
  });

  test("who does not come back loses its routes, of families that were not kept at once", async () => {
    const net = new Net();
    const [a, b] = [net.peer({ type: "ibgp" }), net.peer({ type: "ebgp" })];
    const v6 = prefix("2001:db8:1::/48");
    a.reach({}, P);
    a.reach({ nextHop: parseAddress("2001:db8::1") }, v6);
    await net.rib.settled();
    expect(b.receiver.view.size).toBe(2);
    net.rib.removePeer(a.id, [4]);
    await net.rib.settled();
    expect([...b.receiver.view.keys()]).toEqual([P_TEXT]);
    net.rib.dropStale(a.session.name);
    await net.rib.settled();
    expect(b.receiver.view.size).toBe(0);
  });

  test("while we restart ourselves, local routes are sent, and learned ones and ends of tables wait", async () => {
    const net = new Net({ restarting: true });
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    const q = prefix("10.2.0.0/16");
    net.rib.setLocal(q, "static", { source: "static" });
    a.reach();
    await net.rib.settled();
    expect(b.receiver.events).toEqual([`+${prefixText(q)}`]);
    expect(net.told).toEqual([]);
    expect(net.rib.explain(P)).toMatchObject([{ best: false, why: expect.stringContaining("after a restart") }]);
    net.rib.endOfRestart();
    await net.rib.settled();
    expect(b.receiver.events.slice(1).sort()).toEqual([`+${P_TEXT}`, "end 4", "end 6"]);
    expect(b.receiver.events.indexOf(`+${P_TEXT}`)).toBeLessThan(b.receiver.events.indexOf("end 4"));
    expect(net.best()).toEqual([a.id]);
  });
});

describe("a peer that goes with many routes", () => {
  const many = Array.from({ length: 20_000 }, (_, i) => prefix(`10.${i >> 8}.${i & 255}.0/24`));

  test("does not hold up the others until all of them are gone", async () => {
    const net = new Net({ sliceMs: 0 });
    const a = net.peer({ type: "ebgp" });
    const b = net.peer({ type: "ebgp" });
    a.reach({}, ...many);
    b.reach({}, prefix("10.200.0.0/16"));
    await net.rib.settled();
    net.rib.removePeer(a.id, []);
    expect(net.rib.explain(many[0]!)).toEqual([]);
    let turns = 0;
    for (let over = false; !over; turns++) {
      void net.rib.settled().then(() => (over = true));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(turns).toBeGreaterThan(3);
    expect(net.rib.sizes()).toMatchObject({ prefixes: 1, paths: 1, peers: 1 });
    expect(b.receiver.view.size).toBe(0);
  });

  test("and comes back before all of them are gone has those that it tells again", async () => {
    const net = new Net({ sliceMs: 0 });
    const a = net.peer({ type: "ebgp" });
    const b = net.peer({ type: "ebgp" });
    a.reach({}, ...many);
    await net.rib.settled();
    net.rib.removePeer(a.id, []);
    await new Promise((resolve) => setImmediate(resolve));
    const id = net.rib.addPeer({ ...a.session, routerId: 77, send: new Receiver(negotiated).send });
    for (const update of updatesOf(a.session, 4, {
      reach: many.slice(0, 10).map((p) => [p] as const),
      attributes: attributes(),
    }))
      net.rib.update(id, update);
    await net.rib.settled();
    expect(net.rib.counts(id).received[4]).toBe(10);
    expect(net.rib.sizes()).toMatchObject({ paths: 10, peers: 2 });
    expect(b.receiver.view.size).toBe(10);
    net.rib.removePeer(id, []);
    await net.rib.settled();
    expect(net.rib.sizes()).toMatchObject({ prefixes: 0, paths: 0, peers: 1 });
  });
});

describe("a restart with nothing to keep", () => {
  test("chooses and tells at once, and only the ends of tables wait", async () => {
    const net = new Net({ restarting: "choosing" });
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    a.reach();
    await net.rib.settled();
    expect(net.best()).toEqual([a.id]);
    expect(b.receiver.events).toEqual([`+${P_TEXT}`]);
    net.told.length = 0;
    net.rib.endOfRestart();
    await net.rib.settled();
    expect(b.receiver.events.slice(1).sort()).toEqual(["end 4", "end 6"]);
    expect(net.told).toEqual([]);
  });
});

describe("refresh", () => {
  test("before the end of the first table was sent has no marks (RFC 7313 4): they would end what is stale too early", async () => {
    const net = new Net({ restarting: true });
    const b = net.peer({ type: "ebgp", enhancedRefresh: true });
    net.rib.setLocal(P, "static", { source: "static" });
    await net.rib.settled();
    net.rib.sendAgain(b.id, 4);
    await net.rib.settled();
    expect(b.receiver.events).toEqual([`+${P_TEXT}`, `+${P_TEXT}`]);
    net.rib.endOfRestart();
    await net.rib.settled();
    expect(b.receiver.events.slice(2).sort()).toEqual(["end 4", "end 6"]);
  });

  test("sends the table again, its begin and end marked where both know that", async () => {
    const net = new Net();
    const a = net.peer({ type: "ebgp" });
    const plain = net.peer({ type: "ebgp" });
    const enhanced = net.peer({ type: "ebgp", enhancedRefresh: true });
    a.reach();
    await net.rib.settled();
    for (const { receiver, id } of [plain, enhanced]) {
      receiver.events.length = 0;
      net.rib.sendAgain(id, 4);
    }
    await net.rib.settled();
    expect(plain.receiver.events).toEqual([`+${P_TEXT}`]);
    expect(enhanced.receiver.events).toEqual(["begin 4 again", `+${P_TEXT}`, "end 4 again"]);
  });

  test("of the other's table takes away what it did not tell again, at its end and not at an End-of-RIB", async () => {
    const net = new Net();
    const a = net.peer({ type: "ebgp" });
    const q = prefix("10.2.0.0/16");
    a.reach({}, P, q);
    net.rib.refreshBegins(a.id, 4);
    a.reach({}, q);
    net.rib.endOfRib(a.id, 4);
    await net.rib.settled();
    expect(net.rib.counts(a.id).received[4]).toBe(2);
    net.rib.refreshEnds(a.id, 4);
    await net.rib.settled();
    expect([...net.rib.routesOf(a.id, "received", 4)].map((route) => prefixText(route.prefix))).toEqual([
      prefixText(q),
    ]);
  });
});
