/** What goes out: to whom, and with which attributes. */
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import type { AsSegment } from "../wire/index.ts";
import { Net, negotiated, P, P_TEXT, passed, path, prefix } from "./testing/net.ts";
import { prefixText } from "./testing.ts";

describe("what goes out", () => {
  test("does not go back to where it came from, nor, learned by iBGP, to iBGP peers", async () => {
    const net = new Net();
    const [a, b, c] = [net.peer({ type: "ibgp" }), net.peer({ type: "ibgp" }), net.peer({ type: "ebgp" })];
    a.reach({ asPath: [] });
    await net.rib.settled();
    expect([a, b, c].map(({ receiver }) => receiver.view.size)).toEqual([0, 0, 1]);
  });

  test("to eBGP: our AS in front, ourselves as next hop, without MED and LOCAL_PREF", async () => {
    const sent = await passed({ type: "ibgp" }, { type: "ebgp", localAsn: 64999 }, { med: 5, localPref: 300 });
    expect(sent).toMatchObject({ asPath: path(64999, 65001), nextHop: parseAddress("192.0.2.254") });
    expect(sent).not.toHaveProperty("med");
    expect(sent).not.toHaveProperty("localPref");
  });

  test("to eBGP: a full segment, a set and what confederations put there are not touched by our AS", async () => {
    const full = Array.from({ length: 255 }, (_, i) => 1000 + i);
    expect((await passed({ type: "ebgp" }, { type: "ebgp" }, { asPath: path(...full) }))?.asPath).toEqual([
      ...path(64512),
      ...path(...full),
    ]);
    const set: AsSegment = { type: "set", asns: [1, 2] };
    expect((await passed({ type: "ebgp" }, { type: "ebgp" }, { asPath: [set] }))?.asPath).toEqual([
      ...path(64512),
      set,
    ]);
  });

  test("from eBGP to iBGP: path, next hop and MED as they are, LOCAL_PREF 100", async () => {
    const sent = await passed({ type: "ebgp" }, { type: "ibgp" }, { med: 5 });
    expect(sent).toMatchObject({ asPath: path(65001), nextHop: parseAddress("192.0.2.1"), med: 5, localPref: 100 });
    expect(sent).not.toHaveProperty("originatorId");
  });

  test.each([
    ["self", "ibgp", "192.0.2.254"],
    ["keep", "ebgp", "192.0.2.1"],
    ["auto", "ibgp", "192.0.2.1"],
    ["auto", "ebgp", "192.0.2.254"],
  ] as const)("has the next hop of mode %s towards %s", async (nextHop, type, expected) => {
    expect((await passed({ type: "ibgp", reflectorClient: 1 }, { type, nextHop }))?.nextHop).toEqual(
      parseAddress(expected),
    );
  });

  test.each([
    ["NO_ADVERTISE", 0xffffff02, [false, false]],
    ["NO_EXPORT", 0xffffff01, [true, false]],
    ["NO_EXPORT_SUBCONFED", 0xffffff03, [true, false]],
    ["any other", 65000, [true, true]],
  ] as const)("is kept back from iBGP and eBGP by %s", async (_, community, expected) => {
    const told = { communities: [community] };
    const results = [
      await passed({ type: "ebgp" }, { type: "ibgp" }, told),
      await passed({ type: "ebgp" }, { type: "ebgp" }, told),
    ];
    expect(results.map((sent) => sent !== undefined)).toEqual(expected);
  });

  test("is reflected from and to clients, marked with originator and clusters", async () => {
    const client = { type: "ibgp", reflectorClient: 7, routerId: 50 } as const;
    const other = { type: "ibgp", routerId: 60 } as const;
    const told = { asPath: [], localPref: 100, clusterList: [1] };
    expect(await passed(client, other, told)).toMatchObject({ originatorId: 50, clusterList: [7, 1] });
    expect(await passed(other, client, told)).toMatchObject({ originatorId: 60, clusterList: [7, 1] });
    expect(await passed(client, client, told)).toMatchObject({ originatorId: 50, clusterList: [7, 1] });
    expect(await passed(client, { ...client, reflectorClient: 8 }, told)).toMatchObject({ clusterList: [7, 8, 1] });
    expect(await passed(client, other, { ...told, originatorId: 9 })).toMatchObject({ originatorId: 9 });
    expect(await passed(other, other, told)).toBeUndefined();
  });

  test("of this node has it as next hop, or on iBGP the route's own", async () => {
    const net = new Net();
    const [internal, external] = [net.peer({ type: "ibgp" }), net.peer({ type: "ebgp" })];
    const sent = () => [internal, external].map(({ receiver }) => receiver.attributes.get(P_TEXT)?.nextHop);
    const [self, gateway] = [parseAddress("192.0.2.254"), parseAddress("192.0.2.77")];
    net.rib.setLocal(P, "kernel", { source: "kernel" });
    await net.rib.settled();
    expect(sent()).toEqual([self, self]);
    net.rib.setLocal(P, "kernel", { source: "kernel", nextHop: gateway });
    await net.rib.settled();
    expect(sent()).toEqual([gateway, self]);
    expect(external.receiver.attributes.get(P_TEXT)?.asPath).toEqual(path(64512));
    net.rib.setLocal(P, "kernel", undefined);
    await net.rib.settled();
    expect(sent()).toEqual([undefined, undefined]);
  });

  test("needs a next hop of its family: IPv6 routes do not go where we have no IPv6 address", async () => {
    const net = new Net();
    const v6 = prefix("2001:db8:1::/48");
    const without = net.peer({ type: "ebgp", localAddress: { 4: parseAddress("192.0.2.254") } });
    const extended = net.peer({
      type: "ebgp",
      localAddress: { 6: parseAddress("2001:db8::254") },
      negotiated: { ...negotiated, extendedNextHop: true },
    });
    net.rib.setLocal(v6, "static", { source: "static" });
    net.rib.setLocal(P, "static", { source: "static" });
    await net.rib.settled();
    expect([...without.receiver.view.keys()]).toEqual([P_TEXT]);
    expect([...extended.receiver.view.keys()].sort()).toEqual([P_TEXT, prefixText(v6)]);
    expect(extended.receiver.attributes.get(P_TEXT)?.nextHop).toEqual(parseAddress("2001:db8::254"));
  });

  test("that was sent, or told, is read only as long as the peer is there", async () => {
    const net = new Net();
    const [a, b] = [net.peer({ type: "ibgp" }), net.peer({ type: "ebgp" })];
    const prefixes = Array.from({ length: 100 }, (_, i) => prefix(`10.2.${i}.0/24`));
    prefixes.forEach((one, i) => void a.reach({ med: i }, one));
    await net.rib.settled();
    const sent = net.rib.routesOf(b.id, "sent", 4)[Symbol.iterator]();
    const received = net.rib.routesOf(a.id, "received", 4)[Symbol.iterator]();
    for (let i = 0; i < 10; i++) expect([sent.next().done, received.next().done]).toEqual([false, false]);
    for (const peer of [a, b]) net.rib.removePeer(peer.id, []);
    await net.rib.settled();
    // Others take the numbers of what is gone.
    const [c, d] = [net.peer({ type: "ibgp" }), net.peer({ type: "ebgp" })];
    prefixes.forEach((one, i) => void c.reach({ med: 1000 + i }, one));
    await net.rib.settled();
    expect(d.receiver.view.size).toBe(100);
    expect([sent.next().done, received.next().done]).toEqual([true, true]);
  });

  test("does not go out where its attributes fill a message, and what was there before goes", async () => {
    const net = new Net();
    const [a, b] = [
      net.peer({ type: "ebgp", negotiated: { ...negotiated, extendedMessages: true } }),
      net.peer({ type: "ebgp" }),
    ];
    a.reach();
    await net.rib.settled();
    expect(b.receiver.view.size).toBe(1);
    a.reach({ communities: Array.from({ length: 1020 }, (_, i) => i) });
    await net.rib.settled();
    expect(b.receiver.view.size).toBe(0);
  });
});
