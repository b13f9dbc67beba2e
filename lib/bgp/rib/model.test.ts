/** The tables against the naive ones of testing.ts: whatever happens, once it is quiet everybody has been sent, and told, the same. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Address, formatAddress, parseAddress, parseCidr } from "../../ip/index.ts";
import type { AsSegment, Family, Negotiated, PathAttributes } from "../wire/index.ts";
import { Tables } from "./rib.ts";
import { NaiveRib, prefixText, Receiver, sentText, Told, updatesOf } from "./testing.ts";
import type { LocalRoute, PeerId, Policy, Prefix, RibPeer } from "./types.ts";

const OWN_ID = 0x0a000001;
const OWN_AS = 64512;
const OWN = { 4: parseAddress("10.0.0.1"), 6: parseAddress("fd00::1") } as const;

const PREFIXES = ["10.1.0.0/24", "10.1.0.0/25", "10.2.0.0/16", "0.0.0.0/0", "10.9.9.9/32", "fd00:1::/64", "::/0"].map(
  (text): Prefix => {
    const { version, base, length } = parseCidr(text);
    const words: [number, number, number, number] = [0, 0, 0, 0];
    const bits = version === 4 ? base << 96n : base;
    for (let i = 0; i < 4; i++) words[i] = Number((bits >> BigInt(96 - 32 * i)) & 0xffff_ffffn);
    return { family: version, length, words };
  },
);

const POLICIES: readonly Policy[] = [
  { key: "accept", ignoresPrefix: true, decide: ({ attributes }) => ({ attributes }) },
  { key: "reject", ignoresPrefix: true, decide: () => undefined },
  {
    key: "prefer long",
    ignoresPrefix: false,
    decide: ({ prefix, attributes }) =>
      prefix.length >= 24 ? { attributes: { ...attributes, localPref: 300 } } : { attributes },
  },
  {
    key: "not short",
    ignoresPrefix: false,
    decide: ({ prefix, attributes }) => (prefix.length < 20 ? undefined : { attributes }),
  },
  {
    key: "prefer tagged",
    ignoresPrefix: true,
    decide: ({ attributes, source }) =>
      source === "bgp" && attributes.communities.includes(7) ? { attributes, preference: 250 } : { attributes },
  },
  {
    key: "tag by interface",
    ignoresPrefix: false,
    decide: ({ attributes, interface: name, metric }) =>
      name === "eth1" || metric === 512 ? { attributes: { ...attributes, communities: [8] } } : { attributes },
  },
  {
    key: "prepend",
    ignoresPrefix: true,
    decide: ({ attributes }) => ({
      attributes: { ...attributes, asPath: [{ type: "sequence", asns: [65100] }, ...attributes.asPath] },
    }),
  },
];

const sequence = (...asns: number[]): AsSegment => ({ type: "sequence", asns });
const PATHS: readonly (readonly AsSegment[])[] = [
  [],
  [sequence(65001)],
  [sequence(65002)],
  [sequence(65001, 65010)],
  [sequence(65002, 65010)],
  [sequence(65001), { type: "set", asns: [1, 2, 3] }],
  [{ type: "set", asns: [4, 5] }],
  [sequence(65001, OWN_AS)],
];

/** What a peer tells, family and next hop of the family apart. */
const attributes = fc
  .record({
    origin: fc.constantFrom<(0 | 1 | 2)[]>(0, 0, 0, 2),
    asPath: fc.constantFrom(...PATHS),
    hop: fc.constantFrom(2, 2, 3, 1),
    med: fc.constantFrom(undefined, undefined, 0, 10),
    localPref: fc.constantFrom(undefined, 100, 100, 200),
    communities: fc.constantFrom<number[][]>([], [], [7], [0xffffff01], [0xffffff02]),
    originatorId: fc.constantFrom(undefined, undefined, OWN_ID, 77),
    clusterList: fc.constantFrom<number[][]>([], [], [9], [5], [6, 6]),
  })
  .map(
    ({ hop, med, localPref, originatorId, ...rest }) =>
      (family: Family): PathAttributes => ({
        ...rest,
        nextHop: parseAddress(family === 4 ? `10.0.0.${hop}` : `fd00::${hop}`),
        atomicAggregate: false,
        largeCommunities: [],
        extendedCommunities: [],
        unknown: [],
        ...(med !== undefined && { med }),
        ...(localPref !== undefined && { localPref }),
        ...(originatorId !== undefined && { originatorId }),
      }),
  );

const negotiated: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4, 6],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

type Kind = Pick<RibPeer, "type" | "asn" | "routerId" | "nextHop" | "allowedOwnAsns"> & {
  readonly reflectorClient?: number;
  readonly negotiated: Negotiated;
};
/** Two that could share what is sent in each kind, and two of one AS. */
const KINDS: readonly Kind[] = [
  { type: "ebgp", asn: 65001, routerId: 11, nextHop: "auto", allowedOwnAsns: 0, negotiated },
  { type: "ebgp", asn: 65001, routerId: 12, nextHop: "auto", allowedOwnAsns: 1, negotiated },
  { type: "ibgp", asn: OWN_AS, routerId: 13, nextHop: "auto", allowedOwnAsns: 0, negotiated },
  { type: "ibgp", asn: OWN_AS, routerId: 77, nextHop: "self", allowedOwnAsns: 0, negotiated },
  { type: "ibgp", asn: OWN_AS, routerId: 15, nextHop: "auto", allowedOwnAsns: 0, reflectorClient: 5, negotiated },
  {
    type: "ibgp",
    asn: OWN_AS,
    routerId: 15,
    nextHop: "auto",
    allowedOwnAsns: 0,
    reflectorClient: 5,
    negotiated: { ...negotiated, addPathReceive: [4, 6], addPathSend: [6] },
  },
  { type: "ibgp", asn: OWN_AS, routerId: 17, nextHop: "keep", allowedOwnAsns: 0, reflectorClient: 6, negotiated },
];

const peerIndex = fc.nat(KINDS.length - 1);
const policyIndex = fc.nat(POLICIES.length - 1);
const somePrefixes = fc.uniqueArray(fc.nat(PREFIXES.length - 1), { maxLength: 4 });
const family = fc.constantFrom<Family[]>(4, 6);
const pathId = fc.constantFrom(1, 2, 0xffff_ffff);

const step = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("update" as const),
      peer: peerIndex,
      reach: somePrefixes,
      attributes,
      withdraw: somePrefixes,
      pathId,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("up" as const),
      peer: peerIndex,
      importing: policyIndex,
      exporting: policyIndex,
      onlyV4: fc.boolean(),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("down" as const),
      peer: peerIndex,
      keep: fc.constantFrom<Family[][]>([], [4], [4, 6]),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constantFrom("endOfRib" as const, "refreshBegins" as const, "refreshEnds" as const),
      peer: peerIndex,
      family,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("sendAgain" as const), peer: peerIndex, family }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("dropStale" as const, "endOfRestart" as const), peer: peerIndex }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("policies" as const),
      peers: fc.uniqueArray(peerIndex, { minLength: 1 }),
      importing: policyIndex,
      exporting: policyIndex,
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("local" as const),
      prefix: fc.nat(PREFIXES.length - 1),
      source: fc.constantFrom<LocalRoute["source"][]>("static", "kernel", "device"),
      name: fc.constantFrom("eth0", "eth1", undefined),
      metric: fc.constantFrom(undefined, 512),
      via: fc.boolean(),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("costs" as const),
      changes: fc.array(
        fc.record({
          nextHop: fc.constantFrom("10.0.0.2", "10.0.0.3", "10.0.0.9", "fd00::2", "fd00::3"),
          cost: fc.constantFrom(0, 1, 1, Number.POSITIVE_INFINITY),
        }),
        { minLength: 1, maxLength: 4 },
      ),
    }),
  },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("room" as const), peer: peerIndex, room: fc.nat(3) }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constantFrom("settle" as const, "turn" as const) }) },
);

interface Live {
  readonly session: RibPeer;
  readonly id: PeerId;
  readonly receiver: Receiver;
}

class World {
  readonly naive: NaiveRib;
  readonly names = new Map<PeerId, string>();
  readonly told = new Told((peer) => this.names.get(peer) ?? "?");
  readonly rib: Tables;
  readonly live = new Map<number, Live>();
  /** By next hop; 0 of those that are not in it. */
  readonly costs = new Map<string, number>();
  readonly followed = new Set<string>();

  constructor(restarting: boolean, maxPaths: number) {
    const costOf = (nextHop: Address) => this.costs.get(formatAddress(nextHop)) ?? 0;
    this.naive = new NaiveRib({ routerId: OWN_ID, maxPaths, costOf });
    this.naive.restarting = restarting;
    this.rib = new Tables({
      routerId: OWN_ID,
      asn: OWN_AS,
      onBest: this.told.onBest,
      restarting,
      maxPaths,
      costs: {
        follow: (nextHop) => {
          expect(this.followed).not.toContain(formatAddress(nextHop));
          this.followed.add(formatAddress(nextHop));
          return costOf(nextHop);
        },
        unfollow: (nextHop) => expect(this.followed.delete(formatAddress(nextHop))).toBe(true),
      },
      // Each step is a slice: whatever can come between two, does.
      sliceMs: 0,
    });
  }

  up(index: number, importPolicy: Policy, exportPolicy: Policy, families: readonly Family[]): void {
    const kind = { ...KINDS[index]!, negotiated: { ...KINDS[index]!.negotiated, families } };
    const receiver = new Receiver(kind.negotiated);
    const session: RibPeer = {
      ...kind,
      name: `peer-${index}`,
      address: parseAddress(`10.0.0.${100 + index}`),
      localAsn: OWN_AS,
      localAddress: OWN,
      enhancedRefresh: index % 2 === 0,
      importPolicy,
      exportPolicy,
      send: receiver.send,
    };
    if (this.live.has(index)) this.naive.removePeer(session.name, []);
    this.naive.addPeer(session);
    const id = this.rib.addPeer(session);
    this.names.set(id, session.name);
    this.live.set(index, { session, id, receiver });
  }

  async run(s: StepOf): Promise<void> {
    const live = "peer" in s ? this.live.get(s.peer) : undefined;
    switch (s.kind) {
      case "up":
        return this.up(s.peer, POLICIES[s.importing]!, POLICIES[s.exporting]!, s.onlyV4 ? [4] : [4, 6]);
      case "down":
        if (!live) return;
        this.live.delete(s.peer);
        this.naive.removePeer(live.session.name, s.keep);
        return this.rib.removePeer(live.id, s.keep);
      case "update":
        if (!live) return;
        for (const family of live.session.negotiated.families) {
          const id = live.session.negotiated.addPathReceive.includes(family) ? s.pathId : 0;
          const of = (indexes: readonly number[]) =>
            indexes.map((i) => PREFIXES[i]!).filter((prefix) => prefix.family === family);
          const told = s.attributes(family);
          for (const prefix of of(s.withdraw)) this.naive.withdraw(live.session.name, prefix, id);
          for (const prefix of of(s.reach)) this.naive.reach(live.session.name, prefix, id, told);
          for (const update of updatesOf(live.session, family, {
            withdraw: of(s.withdraw).map((prefix) => [prefix, id] as const),
            reach: of(s.reach).map((prefix) => [prefix, id] as const),
            attributes: told,
          }))
            this.rib.update(live.id, update);
        }
        return;
      case "endOfRib":
      case "refreshBegins":
      case "refreshEnds":
        if (!live?.session.negotiated.families.includes(s.family)) return;
        this.naive[s.kind](live.session.name, s.family);
        return this.rib[s.kind](live.id, s.family);
      case "sendAgain":
        return live && this.rib.sendAgain(live.id, s.family);
      case "dropStale":
        this.naive.dropStale(`peer-${s.peer}`);
        return this.rib.dropStale(`peer-${s.peer}`);
      case "endOfRestart":
        this.naive.restarting = false;
        return this.rib.endOfRestart();
      case "policies":
        for (const index of s.peers) {
          const peer = this.live.get(index);
          if (!peer) continue;
          const policies = { importPolicy: POLICIES[s.importing]!, exportPolicy: POLICIES[s.exporting]! };
          this.naive.peers.get(peer.session.name)!.session = { ...peer.session, ...policies };
          this.rib.setPolicies(peer.id, policies.importPolicy, policies.exportPolicy);
        }
        return;
      case "local": {
        const prefix = PREFIXES[s.prefix]!;
        const route: LocalRoute | undefined =
          s.name === undefined
            ? undefined
            : {
                source: s.source,
                interface: s.name,
                ...(s.metric !== undefined && { metric: s.metric }),
                ...(s.via && { nextHop: parseAddress(prefix.family === 4 ? "10.0.0.9" : "fd00::9") }),
              };
        this.naive.setLocal(prefix, s.source, route);
        return this.rib.setLocal(prefix, s.source, route);
      }
      case "costs": {
        for (const { nextHop, cost } of s.changes) this.costs.set(nextHop, cost);
        const told = [...new Set(s.changes.map(({ nextHop }) => nextHop))].filter((text) => this.followed.has(text));
        return this.rib.costsChanged(
          told.map((text) => ({ nextHop: parseAddress(text), cost: this.costs.get(text)! })),
        );
      }
      case "room":
        if (!live) return;
        // None: from the next message on it takes no more.
        if (live.receiver.room === Number.POSITIVE_INFINITY) live.receiver.room = s.room + 1;
        else if (live.receiver.room <= 0) {
          live.receiver.room = s.room + 1;
          this.rib.resume(live.id);
        }
        return;
      case "turn":
        await new Promise((resolve) => setImmediate(resolve));
        return;
      case "settle":
        return this.rib.settled();
    }
  }

  async quiet(): Promise<void> {
    for (const { id, receiver } of this.live.values()) {
      receiver.room = Number.POSITIVE_INFINITY;
      this.rib.resume(id);
    }
    await this.rib.settled();
  }

  check(): void {
    for (const { session, id, receiver } of this.live.values()) {
      expect(sorted(receiver.view), session.name).toEqual(sorted(this.naive.view(session.name)));
      for (const family of session.negotiated.families) {
        const sent = [...this.rib.routesOf(id, "sent", family)];
        expect(this.rib.counts(id).sent[family], `${session.name} sent`).toBe(sent.length);
        for (const { prefix, attributes } of sent)
          expect(receiver.view.get(prefixText(prefix))).toBe(sentText(attributes));
        const received = this.naive.peers.get(session.name)!.routes.filter((r) => r.prefix.family === family);
        expect(this.rib.counts(id).received[family]).toBe(received.length);
        const accepted = [...this.rib.routesOf(id, "accepted", family)].length;
        expect(this.rib.counts(id).accepted[family]).toBe(accepted);
        const ends = receiver.events.filter((event) => event === `end ${family}`).length;
        expect(ends, `ends of ${session.name}`).toBe(this.naive.restarting ? 0 : 1);
      }
    }
    expect(sorted(this.told.paths)).toEqual(sorted(this.naive.best()));
    const entries = ([4, 6] as const)
      .flatMap((family) => [...this.rib.entries(family)])
      .filter(({ paths }) => paths.length > 0)
      .map(({ prefix, paths }): [string, string] => [prefixText(prefix), this.told.text(paths)]);
    expect(sorted(new Map(entries))).toEqual(sorted(this.naive.best()));
    for (const prefix of PREFIXES) {
      const told = this.told.paths.get(prefixText(prefix));
      const explained = this.rib.explain(prefix);
      expect(explained.every(({ why }) => why.length > 0)).toBe(true);
      if (told !== undefined)
        expect(explained.filter(({ best, source }) => best && source === "bgp").length).toBe(told.split("\n").length);
    }
  }
}

type StepOf = typeof step extends fc.Arbitrary<infer T> ? T : never;

function sorted(map: ReadonlyMap<string, string>): [string, string][] {
  return [...map].sort(([a], [b]) => (a < b ? -1 : 1));
}

const accept = POLICIES[0]!;

test("whatever happens, everybody ends up with what the naive tables say", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.boolean(),
      fc.constantFrom(64, 2),
      fc.array(peerIndex, { maxLength: 5 }),
      fc.array(step, { maxLength: 60 }),
      async (restarting, maxPaths, first, steps) => {
        const world = new World(restarting, maxPaths);
        for (const index of first) world.up(index, accept, accept, [4, 6]);
        for (const s of steps) await world.run(s);
        await world.quiet();
        world.check();
        // And nothing is left of anybody.
        for (const [index, { id }] of world.live) {
          world.rib.removePeer(id, []);
          world.live.delete(index);
        }
        for (const index of KINDS.keys()) world.rib.dropStale(`peer-${index}`);
        for (const { prefix, source } of world.naive.locals.slice()) world.rib.setLocal(prefix, source, undefined);
        await world.rib.settled();
        expect(world.told.paths.size).toBe(0);
        expect(world.rib.sizes()).toEqual({
          prefixes: 0,
          paths: 0,
          attributes: 0,
          groups: 0,
          peers: 0,
          nextHops: 0,
        });
        expect([...world.followed]).toEqual([]);
      },
    ),
    { numRuns: Number(process.env.RIB_RUNS ?? 400) },
  );
}, 120_000);

test("the order in which peers tell does not matter", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc
        .array(fc.record({ peer: peerIndex, prefix: fc.nat(PREFIXES.length - 1), attributes }), { maxLength: 20 })
        .map((all) => all.filter((a, at) => all.findIndex((b) => b.peer === a.peer && b.prefix === a.prefix) === at))
        .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      async ([one, other]) => {
        const results: [string, string][][] = [];
        for (const order of [one, other]) {
          const world = new World(false, 64);
          for (const index of KINDS.keys()) world.up(index, accept, accept, [4, 6]);
          for (const [at, { peer, prefix, attributes }] of order.entries()) {
            await world.run({ kind: "update", peer, reach: [prefix], attributes, withdraw: [], pathId: 1 });
            if (at % 3 === 0) await world.run({ kind: "turn" });
          }
          await world.quiet();
          results.push([
            ...sorted(world.told.paths),
            ...[...world.live].flatMap(([, { receiver }]) => sorted(receiver.view)),
          ]);
        }
        expect(results[0]).toEqual(results[1]);
      },
    ),
    { numRuns: 100 },
  );
}, 60_000);
