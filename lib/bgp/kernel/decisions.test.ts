import * as fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Address,
  type Cidr,
  cidrFromAddress,
  containsAddress,
  formatAddress,
  formatCidr,
  parseAddress,
  parseCidr,
} from "../../ip/index.ts";
import type { AddressInfo, LinkInfo, RouteInfo } from "../../netlink/index.ts";
import { Costs } from "./costs.ts";
import { describeProblems } from "./index.ts";
import { OwnRoutes } from "./learned.ts";
import { NextHops, PATH, Paths, SET } from "./next-hops.ts";
import { connectedRoutes, learnable, OtherRoutes, stepOf } from "./others.ts";
import { AddressIndex, PrefixTable, wordsOf } from "./prefixes.ts";
import { type Graph, hopKey, resolveNextHop, type Step } from "./resolve.ts";

const address = (version: 4 | 6): fc.Arbitrary<Address> =>
  fc.bigInt({ min: 0n, max: (1n << (version === 4 ? 32n : 128n)) - 1n }).map((value) => ({ version, value }));
const version = fc.constantFrom<4 | 6>(4, 6);
/** Of a small space, so that prefixes meet. */
const cidr = (v: 4 | 6): fc.Arbitrary<Cidr> =>
  fc
    .tuple(fc.nat(255), fc.constantFrom(0, 1, 3, 4, 7, 8, v === 4 ? 32 : 128))
    .map(([byte, length]) => cidrFromAddress({ version: v, value: BigInt(byte) << (v === 4 ? 24n : 120n) }, length));

describe("prefixes by number", () => {
  it("are a map, and find what covers an address, the longest first", () => {
    const run = version.chain((v) =>
      fc.tuple(
        fc.constant(v),
        fc.array(fc.record({ cidr: cidr(v), remove: fc.boolean() }), { maxLength: 200 }),
        fc.array(address(v), { maxLength: 10 }),
      ),
    );
    fc.assert(
      fc.property(run, ([v, steps, addresses]) => {
        const table = new PrefixTable(v);
        const model = new Map<string, Cidr>();
        for (const { cidr: each, remove } of steps) {
          const key = formatCidr(each);
          if (remove) {
            const slot = table.findCidr(each);
            expect(slot >= 0).toBe(model.delete(key));
            if (slot >= 0) table.remove(slot);
          } else {
            model.set(key, each);
            expect(table.cidrAt(table.add(each))).toEqual(each);
          }
          expect(table.size).toBe(model.size);
        }
        const slots = [...Array(table.end).keys()].filter((slot) => table.isUsed(slot));
        expect(slots.map((slot) => formatCidr(table.cidrAt(slot))).sort()).toEqual([...model.keys()].sort());
        for (const one of addresses) {
          const naive = [...model.values()]
            .filter((each) => containsAddress(each, one))
            .sort((a, b) => b.length - a.length);
          const found = [...table.covering(wordsOf(v, one.value))].map((slot) => table.cidrAt(slot));
          expect(found).toEqual(naive);
        }
        const index = new AddressIndex(v);
        index.set(addresses);
        for (const each of model.values()) {
          expect(index.anyIn(each)).toBe(addresses.some((one) => containsAddress(each, one)));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("hold a hundred thousand, through removals", () => {
    const table = new PrefixTable(6);
    const at = (i: number): Cidr => ({ version: 6, base: (0xfdn << 120n) | (BigInt(i) << 64n), length: 64 });
    for (let i = 0; i < 100_000; i++) table.add(at(i));
    for (let i = 0; i < 100_000; i += 3) table.remove(table.findCidr(at(i)));
    let wrong = 0;
    for (let i = 0; i < 100_000; i++) if (table.findCidr(at(i)) >= 0 !== (i % 3 !== 0)) wrong++;
    expect(wrong).toBe(0);
  });
});

describe("a next hop", () => {
  /** Learned routes by destination; 10.0.0.0/24 is on link 2, and 10.0.0.1 the node's own. */
  const graph = (learned: Record<string, string[]>): Graph => ({
    isOwn: (one) => formatAddress(one) === "10.0.0.1",
    lookup: (one): Step => {
      if (containsAddress(parseCidr("10.0.0.0/24"), one)) return { kind: "link", index: 2 };
      const best = Object.keys(learned)
        .map(parseCidr)
        .filter((each) => containsAddress(each, one))
        .sort((a, b) => b.length - a.length)[0];
      return best && { kind: "recursive", nextHops: learned[formatCidr(best)]!.map(parseAddress) };
    },
  });
  const resolved = (hop: string, learned: Record<string, string[]> = {}): string => {
    const { hops, problem } = resolveNextHop(parseAddress(hop), graph(learned));
    return problem ?? hops.map(({ gateway, index }) => `${gateway && formatAddress(gateway)}%${index}`).join();
  };

  it("is a neighbour, or is reached through others, or is not", () => {
    expect(resolved("10.0.0.9")).toBe("10.0.0.9%2");
    expect(resolved("10.0.0.1")).toBe("it is an address of this node");
    expect(resolved("10.1.0.5")).toBe("no route to it");
    const learned = {
      "10.1.0.0/16": ["10.2.0.1", "10.0.0.9"],
      "10.2.0.0/16": ["10.0.0.8", "10.0.0.9"],
      "10.3.0.0/16": ["10.9.9.9"],
    };
    expect(resolved("10.1.0.5", learned)).toBe("10.0.0.8%2,10.0.0.9%2");
    expect(resolved("10.3.0.5", learned)).toBe("its route leads through 10.9.9.9: no route to it");
  });

  it("does not lead in circles, and what can be reached beside a circle does not depend on where one begins", () => {
    expect(resolved("10.1.0.5", { "10.1.0.0/16": ["10.1.0.5"] })).toBe("the routes to it lead back to it");
    const learned = { "10.1.0.0/16": ["10.2.0.5", "10.0.0.7"], "10.2.0.0/16": ["10.1.0.5"] };
    expect([resolved("10.1.0.5", learned), resolved("10.2.0.5", learned)]).toEqual(["10.0.0.7%2", "10.0.0.7%2"]);
  });
});

describe("what is done about a difference", () => {
  type Kernel = Map<string, { ours: boolean; path: string; metric: number; destination: Cidr }>;
  const route = (destination: Cidr, more: Partial<RouteInfo>): RouteInfo => ({
    destination,
    table: 254,
    protocol: 12,
    scope: 0,
    type: "unicast",
    metric: 1024,
    flags: 0,
    ...more,
  });
  const destinations = ["20.0.0.0/24", "20.0.0.0/26", "20.0.0.7/32", "30.0.0.0/8"].map(parseCidr);
  const hops = ["10.0.0.8", "10.0.0.9", "10.1.0.9", "20.0.0.7", "30.1.1.1"].map(parseAddress);
  const metric = fc.constantFrom(512, 1024);
  const destination = fc.constantFrom(...destinations);
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("learn" as const),
      destination,
      hops: fc.option(fc.subarray(hops, { minLength: 1 }), { nil: undefined }),
      metric,
      overrides: fc.boolean(),
    }),
    fc.record({ kind: fc.constant("static" as const), blocks: fc.subarray(destinations) }),
    fc.record({ kind: fc.constant("other" as const), destination, metric, there: fc.boolean() }),
    fc.record({ kind: fc.constant("meddle" as const), destination, metric, by: fc.constantFrom("delete", "change") }),
    fc.record({ kind: fc.constant("link" as const), up: fc.boolean() }),
    fc.record({ kind: fc.constant("work" as const), count: fc.integer({ min: 1, max: 3 }) }),
    fc.record({ kind: fc.constant("list" as const) }),
  );

  it("leads to what would be programmed from scratch, and never touches what is another's", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const paths = new Paths();
        const nextHops = new NextHops(paths);
        const others = new OtherRoutes(4);
        const own = new OwnRoutes(4, nextHops, paths, others);
        const kernel: Kernel = new Map();
        let up = true;
        const wanted = new Map<string, { destination: Cidr; hops: Address[]; metric: number; overrides: boolean }>();
        let blocks: Cidr[] = [];
        const pathText = (path: number): string =>
          path === PATH.BLACKHOLE ? "blackhole" : paths.hops(path).map(hopKey).join();

        const lookup = (one: Address): Step => {
          if (containsAddress(parseCidr("10.0.0.0/24"), one)) return { kind: "link", index: 2 };
          if (containsAddress(parseCidr("10.1.0.0/24"), one)) return up ? { kind: "link", index: 3 } : undefined;
          const candidates = [...wanted.values(), ...blocks.map((block) => ({ destination: block, hops: undefined }))]
            .filter((each) => containsAddress(each.destination, one))
            .sort(
              (a, b) =>
                b.destination.length - a.destination.length ||
                Number(a.hops !== undefined) - Number(b.hops !== undefined),
            );
          const best = candidates[0];
          if (!best) return undefined;
          return best.hops ? { kind: "recursive", nextHops: best.hops } : { kind: "end", name: "a blackhole" };
        };
        const graph: Graph = { isOwn: () => false, lookup };

        const work = (count: number): void => {
          own.queueSets(nextHops.resolve(graph, true));
          for (const slot of own.take(count)) {
            const to = own.destinationAt(slot);
            for (const operation of own.decide(slot, true).operations) {
              const key = `${formatCidr(to)} ${operation.metric}`;
              const there = kernel.get(key);
              expect(there?.ours ?? true).toBe(true);
              if (operation.kind === "delete") kernel.delete(key);
              else {
                if (operation.kind === "exclusive") expect(there).toBeUndefined();
                const change = {
                  ours: true,
                  path: pathText(operation.path),
                  metric: operation.metric,
                  destination: to,
                };
                kernel.set(key, change);
              }
              own.done(slot, operation);
            }
            own.tidy(slot);
          }
        };
        const otherRoute = (to: Cidr, at: number): RouteInfo =>
          route(to, { protocol: 3, metric: at, index: 9, scope: 253 });
        const strange = (to: Cidr, at: number): RouteInfo =>
          route(to, { metric: at, index: 2, gateway: parseAddress("10.0.0.99") });

        for (const each of steps) {
          if (each.kind === "learn") {
            const key = formatCidr(each.destination);
            if (each.hops) {
              wanted.set(key, { ...each, hops: each.hops });
              own.setLearned(each.destination, nextHops.hold(4, each.hops), each.metric, each.overrides);
            } else {
              wanted.delete(key);
              own.forgetLearned(each.destination);
            }
          } else if (each.kind === "static") {
            blocks = each.blocks;
            own.setStatic(blocks.map((block) => ({ destination: block, set: SET.BLACKHOLE })));
          } else if (each.kind === "other") {
            const key = `${formatCidr(each.destination)} ${each.metric}`;
            const there = kernel.get(key);
            if (each.there && (!there || there.ours)) {
              if (there?.ours) own.lost(otherRoute(each.destination, each.metric), true);
              kernel.set(key, { ours: false, path: "other", metric: each.metric, destination: each.destination });
              others.add(otherRoute(each.destination, each.metric));
              own.queueDestination(each.destination);
            } else if (!each.there && there && !there.ours) {
              kernel.delete(key);
              others.remove(each.destination, (other) => other.metric === each.metric);
              own.queueDestination(each.destination);
            }
          } else if (each.kind === "meddle") {
            const key = `${formatCidr(each.destination)} ${each.metric}`;
            const there = kernel.get(key);
            if (there && !there.ours) continue;
            if (each.by === "delete" && there) {
              kernel.delete(key);
              own.lost(strange(each.destination, each.metric), false);
            } else if (each.by === "change") {
              kernel.set(key, { ours: true, path: "strange", metric: each.metric, destination: each.destination });
              own.found(strange(each.destination, each.metric), true);
            }
          } else if (each.kind === "link") {
            up = each.up;
          } else if (each.kind === "work") {
            work(each.count);
          } else {
            // Everything of ours goes, and nobody tells.
            for (const [key, { ours }] of kernel) if (ours) kernel.delete(key);
            own.beginListing();
            own.endListing(() => true);
            own.queueDifferent();
          }
        }
        for (let i = 0; own.queued > 0 || i < 2; i++) {
          expect(i).toBeLessThan(100);
          work(3);
        }

        const expected: string[] = [];
        const free = (to: Cidr, at: number): boolean => others.at(to).every((other) => other.metric !== at);
        for (const to of destinations) {
          const learnt = wanted.get(formatCidr(to));
          if (blocks.some((block) => formatCidr(block) === formatCidr(to))) {
            if (free(to, 0)) expected.push(`${formatCidr(to)} 0 blackhole`);
          } else if (learnt) {
            const lowest = Math.min(learnt.metric, ...others.at(to).map((other) => other.metric - 1));
            const at = learnt.overrides ? lowest : learnt.metric;
            const found = new Map(
              learnt.hops.flatMap((hop) => resolveNextHop(hop, graph).hops).map((hop) => [hopKey(hop), hop]),
            );
            if (found.size > 0 && free(to, at))
              expected.push(`${formatCidr(to)} ${at} ${pathText(paths.of([...found.values()]))}`);
          }
        }
        const there = [...kernel.values()].filter(({ ours }) => ours);
        const text = there.map((each) => `${formatCidr(each.destination)} ${each.metric} ${each.path}`);
        expect(text.sort()).toEqual(expected.sort());
      }),
      { numRuns: 500 },
    );
  });

  it("keeps everything until the restart is over", () => {
    const paths = new Paths();
    const nextHops = new NextHops(paths);
    const own = new OwnRoutes(4, nextHops, paths, new OtherRoutes(4));
    const left = route(destinations[0]!, { gateway: hops[0]!, index: 2 });
    own.found(left, false);
    const [slot = -1] = own.take(1);
    expect(own.decide(slot, false).operations).toEqual([]);
    expect(own.decide(slot, true).operations).toEqual([{ kind: "delete", metric: 1024 }]);
  });

  it("tells a foreign route of our protocol by whatever we would not have written", () => {
    const paths = new Paths();
    const plain = route(destinations[0]!, { gateway: hops[0]!, index: 2 });
    const known = paths.ofRoute(plain);
    expect(known).toBeGreaterThan(PATH.FOREIGN);
    const strange: Partial<RouteInfo>[] = [
      { mtu: 1400 },
      { source: hops[1]! },
      { type: "prohibit" },
      { scope: 253 },
      { tos: 4 },
    ];
    for (const each of strange) expect(paths.ofRoute({ ...plain, ...each })).toBe(PATH.FOREIGN);
    expect(paths.ofRoute(route(destinations[0]!, { nextHops: [{ gateway: hops[0]!, index: 2, weight: 3 }] }))).toBe(
      PATH.FOREIGN,
    );
  });
});

it("paths that nobody uses are forgotten, and their numbers used again", () => {
  const paths = new Paths();
  const by = (index: number): number => paths.of([{ gateway: parseAddress("10.0.0.9"), index }]);
  const [first, second] = [by(1), by(2)];
  paths.keep(new Set([second]));
  expect([paths.size, by(2), by(3), paths.hops(first)[0]?.index]).toEqual([1, second, first, 3]);
});

describe("routes of others", () => {
  const at = (text: string, more: Partial<RouteInfo>): RouteInfo => ({
    destination: parseCidr(text),
    table: 254,
    protocol: 3,
    scope: 0,
    type: "unicast",
    metric: 0,
    flags: 0,
    index: 2,
    ...more,
  });
  const name = (index: number): string | undefined => (index === 2 ? "eth0" : undefined);

  it("are learnt as BIRD learns them", () => {
    const taken = (route: RouteInfo): boolean => learnable([route], name) !== undefined;
    expect(taken(at("10.1.0.0/16", {}))).toBe(true);
    expect(taken(at("10.1.0.0/16", { type: "blackhole" }))).toBe(true);
    expect(taken(at("::/0", { protocol: 9 }))).toBe(true);
    const not: RouteInfo[] = [
      at("10.1.0.0/16", { protocol: 2 }),
      at("10.1.0.0/16", { protocol: 1 }),
      at("10.1.0.0/16", { protocol: 0 }),
      at("10.1.0.0/16", { index: 7 }),
      at("10.1.0.0/16", { tos: 4 }),
      at("10.1.0.0/16", { type: "throw" }),
      at("10.1.0.0/16", { type: "multicast" }),
      at("10.1.0.0/16", { flags: 1 }),
      at("fe80::/64", {}),
      at("ff00::/8", {}),
    ];
    for (const each of not)
      expect([formatCidr(each.destination), taken(each)]).toEqual([formatCidr(each.destination), false]);
    expect(learnable([at("10.1.0.0/16", { metric: 9 }), at("10.1.0.0/16", { metric: 5 })], name)?.metric).toBe(5);
  });

  it("lead next hops on: by the link, by a gateway, told to be on the link where the kernel would not believe it, or to an end", () => {
    expect(stepOf(at("10.1.0.0/16", { scope: 253 }))).toEqual({ kind: "link", index: 2 });
    expect(stepOf(at("10.1.0.0/16", {}))).toEqual({ kind: "link", index: 2, onlink: true });
    const gateway = parseAddress("10.0.0.9");
    expect(stepOf(at("10.1.0.0/16", { gateway, onlink: true }))).toEqual({
      kind: "gateways",
      hops: [{ gateway, index: 2, onlink: true }],
    });
    expect(stepOf(at("10.1.0.0/16", { type: "unreachable" }))).toEqual({
      kind: "end",
      name: "marked unreachable (10.1.0.0/16)",
    });
  });

  it("of interfaces are those of their primary addresses", () => {
    const link = (index: number, name: string, up = true): LinkInfo => ({ index, name, up }) as LinkInfo;
    const info = (index: number, text: string, more: Partial<AddressInfo> = {}): AddressInfo => {
      const [host = "", length] = text.split("/");
      return { index, address: parseAddress(host), length: Number(length), scope: 0, flags: 0, ...more };
    };
    const found = connectedRoutes(
      [link(1, "lo"), link(2, "eth0"), link(3, "eth1"), link(4, "eth2", false)],
      [
        info(1, "127.0.0.1/8", { scope: 254 }),
        info(1, "10.9.9.9/32"),
        info(2, "10.0.0.1/24"),
        info(2, "10.0.0.2/24", { flags: 1 }),
        info(3, "10.0.0.3/24"),
        info(3, "10.8.0.1/32", { peer: parseAddress("10.8.0.2") }),
        info(3, "fe80::1/64", { scope: 253 }),
        info(4, "10.4.0.1/24"),
      ],
    );
    expect([...found].map(([key, { interface: by }]) => `${key} ${by}`).sort()).toEqual([
      "10.0.0.0/24 eth0",
      "10.8.0.2/32 eth1",
      "10.9.9.9/32 lo",
    ]);
  });
});

it("problems are words, and not too many", () => {
  const destination = parseCidr("192.168.4.0/26");
  const nextHop = parseAddress("10.1.0.5");
  expect(
    describeProblems([{ kind: "unreachable", nextHop, reason: "no route to it", destination, destinations: 1 }]),
  ).toEqual(["next hop 10.1.0.5 of 192.168.4.0/26: no route to it"]);
  const many = Array.from({ length: 25 }, () => ({
    kind: "refused" as const,
    destination,
    error: new Error("EINVAL"),
  }));
  const lines = describeProblems(many);
  expect([lines.length, lines.at(-1)]).toEqual([11, "15 more destinations: the kernel refused the route"]);
});

describe("costs of next hops", () => {
  it("are looked up in slices, and from the beginning when something changes meanwhile", () => {
    let [now, asked] = [0, 0];
    const costs = new Costs(() => {
      asked++;
      return now;
    });
    const nextHops = Array.from({ length: 1000 }, (_, i) => parseAddress(`10.0.${i >> 8}.${i & 255}`));
    for (const nextHop of nextHops) expect(costs.follow(nextHop)).toBe(0);
    expect([costs.pending, asked]).toEqual([false, 1000]);
    costs.routeChanged(parseCidr("10.1.0.0/16"));
    expect(costs.pending).toBe(false);
    costs.routeChanged(parseCidr("10.0.3.0/24"));
    now = 1;
    const first = costs.slice(0);
    expect(first.length).toBeGreaterThan(0);
    expect(first.length).toBeLessThan(1000);
    expect(costs.pending).toBe(true);
    now = 2;
    costs.outdate();
    const told = new Map<string, number>();
    while (costs.pending) for (const { nextHop, cost } of costs.slice(0)) told.set(formatAddress(nextHop), cost);
    expect(told).toEqual(new Map(nextHops.map((nextHop) => [formatAddress(nextHop), 2])));
    costs.outdate();
    for (const nextHop of nextHops.slice(1)) costs.unfollow(nextHop);
    asked = 0;
    while (costs.pending) expect(costs.slice(0)).toEqual([]);
    expect(asked).toBe(1);
    // Followed twice is asked once; gone and back, anew.
    now = 3;
    expect([costs.follow(nextHops[0]!), costs.follow(nextHops[1]!)]).toEqual([2, 3]);
  });
});
