/** Each rule of what comes in and goes out by itself; everything together is model.test.ts. */
import { describe, expect, test } from "vitest";
import { parseAddress, parseCidr } from "../../ip/index.ts";
import type { AsSegment, Negotiated, PathAttributes } from "../wire/index.ts";
import { attributesText } from "./attributes.ts";
import { createRib } from "./index.ts";
import { Tables } from "./rib.ts";
import { ACCEPT, prefixText, Receiver, updatesOf } from "./testing.ts";
import type { Best, PeerId, Policy, Prefix, RibPeer } from "./types.ts";

const negotiated: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4, 6],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

function prefix(text: string): Prefix {
  const { version, base, length } = parseCidr(text);
  const bits = version === 4 ? base << 96n : base;
  const word = (i: number) => Number((bits >> BigInt(96 - 32 * i)) & 0xffff_ffffn);
  return { family: version, length, words: [word(0), word(1), word(2), word(3)] };
}

const P = prefix("10.1.0.0/24");
const P_TEXT = prefixText(P);

function path(...asns: number[]): AsSegment[] {
  return asns.length === 0 ? [] : [{ type: "sequence", asns }];
}

function attributes(rest: Partial<PathAttributes> = {}): PathAttributes {
  return {
    origin: 0,
    asPath: path(65001),
    nextHop: parseAddress("192.0.2.1"),
    atomicAggregate: false,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
    ...rest,
  };
}

class Net {
  readonly told: Best[] = [];
  readonly rib: Tables;
  #next = 1;

  constructor(options: { readonly restarting?: boolean | "choosing"; readonly sliceMs?: number } = {}) {
    this.rib = new Tables({
      routerId: 0x0a000001,
      asn: 64512,
      onBest: (changes) => this.told.push(...changes),
      ...options,
    });
  }

  peer(rest: Partial<RibPeer> & { readonly type: "ibgp" | "ebgp" }) {
    const number = this.#next++;
    const receiver = new Receiver(rest.negotiated ?? negotiated);
    const session: RibPeer = {
      name: `peer-${number}`,
      address: parseAddress(`192.0.2.${100 + number}`),
      routerId: number,
      asn: rest.type === "ibgp" ? 64512 : 65000 + number,
      localAsn: 64512,
      localAddress: { 4: parseAddress("192.0.2.254"), 6: parseAddress("2001:db8::254") },
      negotiated,
      nextHop: "auto",
      allowedOwnAsns: 0,
      importPolicy: ACCEPT,
      exportPolicy: ACCEPT,
      send: receiver.send,
      ...rest,
    };
    const id = this.rib.addPeer(session);
    const tell = (parts: Parameters<typeof updatesOf>[2], family: 4 | 6 = 4) => {
      for (const update of updatesOf(session, family, parts)) this.rib.update(id, update);
    };
    return {
      id,
      session,
      receiver,
      reach: (told: Partial<PathAttributes> = {}, ...prefixes: Prefix[]) => {
        const all = prefixes.length === 0 ? [P] : prefixes;
        tell({ reach: all.map((p) => [p] as const), attributes: attributes(told) }, all[0]!.family);
      },
      withdraw: (...prefixes: Prefix[]) => tell({ withdraw: (prefixes.length === 0 ? [P] : prefixes).map((p) => [p]) }),
    };
  }

  /** Names of all whose path of a prefix was told last. */
  best(p = P): PeerId[] {
    return (
      this.told.findLast(({ prefix }) => prefixText(prefix) === prefixText(p))?.paths.map(({ peer }) => peer) ?? []
    );
  }
}

/** What is sent for a path: by one peer, to another. */
async function passed(
  from: Partial<RibPeer> & { readonly type: "ibgp" | "ebgp" },
  to: Partial<RibPeer> & { readonly type: "ibgp" | "ebgp" },
  told: Partial<PathAttributes> = {},
): Promise<PathAttributes | undefined> {
  const net = new Net();
  const a = net.peer(from);
  const b = net.peer(to);
  a.reach(told);
  await net.rib.settled();
  return b.receiver.attributes.get(P_TEXT);
}

describe("what comes in", () => {
  test("has our AS in its path no more often than allowed", async () => {
    const net = new Net();
    const strict = net.peer({ type: "ebgp" });
    const lax = net.peer({ type: "ebgp", allowedOwnAsns: 1 });
    strict.reach({ asPath: path(65001, 64512) });
    lax.reach({ asPath: path(65001, 64512, 3, 64512) });
    await net.rib.settled();
    expect(net.rib.explain(P).map(({ why }) => why)).toEqual(["AS path has our own AS", "AS path has our own AS"]);
    lax.reach({ asPath: path(65001, 64512, 3) });
    await net.rib.settled();
    expect(net.best()).toEqual([lax.id]);
    expect(net.rib.counts(strict.id)).toMatchObject({ received: { 4: 1, 6: 0 }, accepted: { 4: 0, 6: 0 } });
  });

  test.each([
    ["our router id as ORIGINATOR_ID", { originatorId: 0x0a000001 }, "ORIGINATOR_ID is our own router id"],
    ["our cluster id", { clusterList: [3, 7] }, "CLUSTER_LIST has our own cluster id"],
    ["our address as next hop", { nextHop: parseAddress("192.0.2.254") }, "the next hop is our own address"],
  ])("is refused with %s", async (_, told, why) => {
    const net = new Net();
    net.peer({ type: "ibgp", reflectorClient: 7 }).reach({ asPath: [], ...told });
    await net.rib.settled();
    expect(net.rib.explain(P)).toMatchObject([{ best: false, why }]);
    expect(net.best()).toEqual([]);
  });

  test("by eBGP has no LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST", async () => {
    const net = new Net();
    const seen: PathAttributes[] = [];
    const importPolicy: Policy = {
      key: "look",
      ignoresPrefix: false,
      decide: (route) => {
        seen.push(route.attributes);
        return { attributes: route.attributes };
      },
    };
    // The wire takes them away already where it is told that the peer is external; here it is not.
    const peer = net.peer({ type: "ebgp", importPolicy });
    for (const update of updatesOf({ negotiated, type: "ibgp" }, 4, {
      reach: [[P]],
      attributes: attributes({ localPref: 900, originatorId: 5, clusterList: [1] }),
    }))
      net.rib.update(peer.id, update);
    await net.rib.settled();
    expect(seen.map((a) => attributesText(a, 0))).toEqual([attributesText(attributes(), 0)]);
  });
});

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

describe("several peers with equal export", () => {
  test("get the very same messages", async () => {
    const net = new Net();
    const messages: Uint8Array[][] = [[], [], []];
    const source = net.peer({ type: "ebgp" });
    for (const list of messages) net.peer({ type: "ebgp", send: (message) => list.push(message) > 0 });
    source.reach({}, ...Array.from({ length: 3000 }, (_, i) => prefix(`10.${i >> 8}.${i & 255}.0/24`)));
    await net.rib.settled();
    // Two ends of tables and what 3000 prefixes take.
    expect(messages[0]!.length).toBe(2 + 3);
    const updates = (list: Uint8Array[]) => list.filter(({ length }) => length > 100);
    for (const list of messages)
      for (const [i, update] of updates(list).entries()) expect(update).toBe(updates(messages[0]!)[i]);
  });

  test("one of them is slow: the others have all, it stops at once, and gets each prefix once and as it is then", async () => {
    const net = new Net();
    const source = net.peer({ type: "ebgp" });
    const [fast, slow] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    await net.rib.settled();
    slow.receiver.room = 1;
    const many = Array.from({ length: 5000 }, (_, i) => prefix(`10.${i >> 8}.${i & 255}.0/24`));
    source.reach({}, ...many);
    await net.rib.settled();
    for (let med = 0; med < 20; med++) {
      source.reach({ asPath: path(65001, med + 1) }, ...many);
      await net.rib.settled();
    }
    source.withdraw(...many.slice(0, 2500));
    await net.rib.settled();
    expect(fast.receiver.view.size).toBe(2500);
    expect(slow.receiver.messages).toBe(1 + 2);
    slow.receiver.room = Number.POSITIVE_INFINITY;
    slow.receiver.events.length = 0;
    net.rib.resume(slow.id);
    await net.rib.settled();
    expect([...slow.receiver.view].sort()).toEqual([...fast.receiver.view].sort());
    // The rest of the batch it was in, and then what there is: not the twenty rounds between.
    expect(slow.receiver.events.length).toBeLessThanOrEqual(2 * many.length);
  });

  test("who leaves in the middle of a batch is forgotten, and the others go on", async () => {
    const net = new Net();
    const source = net.peer({ type: "ebgp" });
    const [gone, stays] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    await net.rib.settled();
    gone.receiver.room = 1;
    source.reach({}, ...Array.from({ length: 5000 }, (_, i) => prefix(`10.${i >> 8}.${i & 255}.0/24`)));
    await net.rib.settled();
    net.rib.removePeer(gone.id, []);
    net.rib.resume(gone.id);
    source.withdraw(P);
    await net.rib.settled();
    expect(stays.receiver.view.size).toBe(4999);
  });
});

describe("a change that ends where it began", () => {
  test("sends and tells nothing", async () => {
    const net = new Net();
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    a.reach();
    await net.rib.settled();
    const { messages } = b.receiver;
    a.withdraw();
    a.reach();
    a.reach({ communities: [3] });
    a.reach();
    await net.rib.settled();
    expect(b.receiver.messages).toBe(messages);
  });

  test("as does one of what is not sent on", async () => {
    const net = new Net();
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    a.reach({ med: 1 });
    await net.rib.settled();
    const { messages } = b.receiver;
    const told = net.told.length;
    a.reach({ med: 2 });
    await net.rib.settled();
    expect(b.receiver.messages).toBe(messages);
    expect(net.told.length).toBe(told + 1);
  });
});

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

describe("other policies", () => {
  const only = (text: string): Policy => ({
    key: `only ${text}`,
    ignoresPrefix: false,
    decide: ({ prefix: p, attributes }) => (prefixText(p) === text ? { attributes } : undefined),
  });

  test("send the differences only, to all who have them in the same messages", async () => {
    const net = new Net();
    const source = net.peer({ type: "ebgp" });
    const peers = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    const [q, r] = [prefix("10.2.0.0/16"), prefix("10.3.0.0/16")];
    source.reach({}, P, q, r);
    await net.rib.settled();
    for (const { receiver } of peers) receiver.events.length = 0;
    for (const { id } of peers.slice(0, 2)) net.rib.setPolicies(id, ACCEPT, only(P_TEXT));
    await net.rib.settled();
    for (const { receiver } of peers.slice(0, 2)) {
      expect(receiver.events.sort()).toEqual([`-${prefixText(q)}`, `-${prefixText(r)}`]);
      receiver.events.length = 0;
    }
    expect(peers[2]!.receiver.events).toEqual([]);
    // Back into the group of the third.
    for (const { id } of peers) net.rib.setPolicies(id, ACCEPT, ACCEPT);
    await net.rib.settled();
    expect(peers[0]!.receiver.events.sort()).toEqual([`+${prefixText(q)}`, `+${prefixText(r)}`]);
    expect(peers[2]!.receiver.events).toEqual([]);
    expect(net.rib.sizes().groups).toBe(2);
  });

  test("let in what had been told before, without asking for it again", async () => {
    const net = new Net();
    const a = net.peer({ type: "ebgp", importPolicy: only("nothing") });
    a.reach();
    await net.rib.settled();
    expect(net.rib.explain(P)).toMatchObject([{ why: "rejected by the import policy" }]);
    net.rib.setPolicies(a.id, ACCEPT, ACCEPT);
    await net.rib.settled();
    expect(net.best()).toEqual([a.id]);
    net.rib.setPolicies(a.id, only("nothing"), ACCEPT);
    await net.rib.settled();
    expect(net.best()).toEqual([]);
  });

  test("while the best moves from one who has them to another, leave each with what it should have", async () => {
    // Each step is a slice.
    const net = new Net({ sliceMs: 0 });
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    a.reach();
    b.reach();
    await net.rib.settled();
    expect([a.receiver.view.size, b.receiver.view.size]).toEqual([0, 1]);
    for (const { id } of [a, b]) net.rib.setPolicies(id, ACCEPT, { ...ACCEPT, key: "accept, too" });
    // They have left their group, and the other one has not been through the table yet.
    await new Promise((resolve) => setImmediate(resolve));
    a.withdraw();
    await net.rib.settled();
    expect([a.receiver.view.size, b.receiver.view.size]).toEqual([1, 0]);
    expect(net.rib.sizes().groups).toBe(2);
  });

  test("reach a slow peer that has become the source of what it had of another meanwhile", async () => {
    const net = new Net();
    const [source, a] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    const many = Array.from({ length: 9000 }, (_, i) => prefix(`10.${i >> 8}.${i & 255}.0/24`));
    const last = many.at(-1)!;
    source.reach({ asPath: path(65001, 65002) }, ...many);
    await net.rib.settled();
    const tagged: Policy = {
      key: "tagged",
      ignoresPrefix: true,
      decide: ({ attributes }) => (attributes.communities.includes(7) ? { attributes } : undefined),
    };
    a.receiver.room = 1;
    net.rib.setPolicies(a.id, ACCEPT, tagged);
    await net.rib.settled();
    a.reach({ communities: [7] }, last);
    await net.rib.settled();
    expect(a.receiver.view.has(prefixText(last))).toBe(true);
    a.receiver.room = Number.POSITIVE_INFINITY;
    net.rib.resume(a.id);
    await net.rib.settled();
    expect(a.receiver.view.size).toBe(0);
  });

  test("of the same key change nothing and ask nobody", async () => {
    const net = new Net();
    const [a, b] = [net.peer({ type: "ebgp" }), net.peer({ type: "ebgp" })];
    a.reach();
    await net.rib.settled();
    const { messages } = b.receiver;
    const fails: Policy = {
      ...ACCEPT,
      decide: () => {
        throw new Error("asked");
      },
    };
    net.rib.setPolicies(b.id, fails, fails);
    await net.rib.settled();
    expect(b.receiver.messages).toBe(messages);
  });
});

test("several paths of one peer are told apart by their identifiers (RFC 7911)", async () => {
  const net = new Net();
  const both: Negotiated = { ...negotiated, addPathReceive: [4] };
  const a = net.peer({ type: "ibgp", negotiated: both });
  const tell = (parts: Parameters<typeof updatesOf>[2]) => {
    for (const update of updatesOf(a.session, 4, parts)) net.rib.update(a.id, update);
  };
  tell({ reach: [[P, 1]], attributes: attributes({ nextHop: parseAddress("192.0.2.1") }) });
  tell({ reach: [[P, 2]], attributes: attributes({ nextHop: parseAddress("192.0.2.2") }) });
  await net.rib.settled();
  expect(net.best()).toEqual([a.id, a.id]);
  tell({ withdraw: [[P, 1]] });
  await net.rib.settled();
  expect(net.told.at(-1)?.paths.map(({ attributes }) => attributes.nextHop)).toEqual([parseAddress("192.0.2.2")]);
});

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
