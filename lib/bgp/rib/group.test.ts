/** Peers that share an Adj-RIB-Out: what they are sent together, each at its own pace. */
import { describe, expect, test } from "vitest";
import { Net, P, P_TEXT, path, prefix } from "./testing/net.ts";
import { ACCEPT, prefixText } from "./testing.ts";
import type { Policy } from "./types.ts";

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
