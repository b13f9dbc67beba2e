import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatCidr, parseAddress, parseCidr } from "../ip/index.ts";
import { type RouteInfo, type RouteType, RT_SCOPE } from "../netlink/index.ts";
import { type Decision, decide, elect, isRoute, keyOf, sameRoute, type WantedRoute } from "./decide.ts";

const want = (cidr: string, index: number, more: Partial<WantedRoute> = {}): WantedRoute => {
  const destination = parseCidr(cidr);
  return {
    destination,
    index,
    metric: 1024,
    protocol: 3,
    ...(destination.version === 4 && { scope: RT_SCOPE.LINK }),
    ...more,
  };
};
const have = (cidr: string, index: number, more: Partial<RouteInfo> = {}): RouteInfo => ({
  scope: RT_SCOPE.UNIVERSE,
  ...want(cidr, index),
  table: 254,
  type: "unicast",
  flags: 0,
  ...more,
});
const all = (): boolean => true;
const text = (route: { destination: WantedRoute["destination"]; index?: number; metric?: number }): string =>
  `${formatCidr(route.destination)}@${route.index}/${route.metric}`;
const texts = ({ release, program, clean }: Decision): string[] => [
  ...release.map((route) => `release ${text(route)}`),
  ...program.map((route) => `program ${text(route)}`),
  ...clean.map((route) => `clean ${text(route)}`),
];

describe("what to change of routes", () => {
  it("is nothing when the kernel has what is wanted", () => {
    const wanted = [want("10.0.0.1/32", 7), want("fd00::1/128", 7)];
    expect(texts(decide(wanted, [have("10.0.0.1/32", 7), have("fd00::1/128", 7)], all))).toEqual([]);
  });

  it("takes the plugin's route over without a gap: first ours beside it, then it goes", () => {
    const found = [have("10.0.0.1/32", 7, { metric: 0 })];
    expect(texts(decide([want("10.0.0.1/32", 7)], found, all))).toEqual([
      "program 10.0.0.1/32@7/1024",
      "clean 10.0.0.1/32@7/0",
    ]);
  });

  it("takes a route away from its interface before another gets it", () => {
    expect(texts(decide([want("10.0.0.1/32", 8)], [have("10.0.0.1/32", 7)], all))).toEqual([
      "release 10.0.0.1/32@7/1024",
      "program 10.0.0.1/32@8/1024",
    ]);
  });

  it("puts ours in the place of one that differs, and only of one", () => {
    const differing = have("10.0.0.1/32", 7, { protocol: 4 });
    expect(texts(decide([want("10.0.0.1/32", 7)], [differing], () => false))).toEqual(["program 10.0.0.1/32@7/1024"]);
    const twice = [differing, have("10.0.0.1/32", 7, { gateway: parseAddress("10.9.9.9") })];
    expect(texts(decide([want("10.0.0.1/32", 7)], twice, all))).toEqual([
      "program 10.0.0.1/32@7/1024",
      "clean 10.0.0.1/32@7/1024",
    ]);
  });

  it("leaves what is not owned", () => {
    const found = [have("10.0.0.1/32", 7), have("10.0.0.2/32", 7, { protocol: 12 })];
    expect(texts(decide([], found, ({ protocol }) => protocol === 3))).toEqual(["release 10.0.0.1/32@7/1024"]);
  });

  it("sees every difference that matters", () => {
    const wanted = want("10.0.0.1/32", 7, { source: parseAddress("192.0.2.1") });
    const same = have("10.0.0.1/32", 7, { source: parseAddress("192.0.2.1") });
    expect(isRoute(same, wanted)).toBe(true);
    expect(isRoute({ ...same, flags: 0x10 }, wanted)).toBe(true); // RTNH_F_LINKDOWN comes and goes
    const { source: _, ...without } = same;
    const others: RouteInfo[] = [
      without,
      { ...same, source: parseAddress("192.0.2.2") },
      { ...same, index: 8 },
      { ...same, metric: 512 },
      { ...same, protocol: 4 },
      { ...same, scope: RT_SCOPE.UNIVERSE },
      { ...same, type: "blackhole" },
      { ...same, gateway: parseAddress("192.0.2.9") },
      { ...same, mtu: 1300 },
      { ...same, tos: 4 },
      { ...same, nextHops: [] },
    ];
    expect(others.filter((route) => isRoute(route, wanted))).toEqual([]);
    expect(isRoute(have("fd00::1/128", 7, { scope: 0 }), want("fd00::1/128", 7, { scope: RT_SCOPE.LINK }))).toBe(true);
  });

  it("elects the newest interface that is up", () => {
    expect(
      elect([
        { index: 3, up: true },
        { index: 9, up: false },
        { index: 5, up: true },
      ]),
    ).toBe(5);
    expect(elect([{ index: 3, up: false }])).toBeUndefined();
    expect(elect([])).toBeUndefined();
  });
});

/** The kernel's table, as far as it matters: routes of one destination, metric and type of service are in a row. */
class Table {
  routes: RouteInfo[];
  constructor(routes: readonly RouteInfo[]) {
    this.routes = [...routes];
  }
  delete(route: RouteInfo): void {
    const at = this.routes.findIndex((other) => sameRoute(other, route));
    if (at >= 0) this.routes.splice(at, 1);
  }
  replace(route: WantedRoute): void {
    const added: RouteInfo = { scope: RT_SCOPE.UNIVERSE, ...route, table: 254, type: "unicast", flags: 0 };
    const key = keyOf(route.destination);
    const at = this.routes.findIndex(
      (other) => keyOf(other.destination) === key && other.metric === route.metric && !other.tos,
    );
    if (at >= 0) this.routes[at] = added;
    else this.routes.push(added);
  }
}

describe("what to change of any routes", () => {
  const cidr = fc.constantFrom("10.0.0.1/32", "10.0.0.2/32", "10.0.0.0/24", "fd00::1/128", "fd00::2/128");
  const index = fc.constantFrom(5, 6, 7);
  const found = fc.record({
    cidr,
    index,
    metric: fc.constantFrom(0, 512, 1024),
    protocol: fc.constantFrom(3, 4, 12),
    type: fc.constantFrom<RouteType>("unicast", "unicast", "unicast", "blackhole"),
    tos: fc.constantFrom(0, 0, 0, 4),
    gateway: fc.constantFrom(undefined, undefined, "192.0.2.1"),
  });
  const situation = fc.record({
    wanted: fc.uniqueArray(fc.record({ cidr, index, metric: fc.constantFrom(512, 1024) }), {
      selector: (each) => each.cidr,
    }),
    found: fc.uniqueArray(found, { selector: (each) => JSON.stringify(each), maxLength: 8 }),
    ownAll: fc.boolean(),
  });
  const build = (input: typeof situation extends fc.Arbitrary<infer T> ? T : never) => ({
    wanted: input.wanted.map(({ cidr: text, index: at, metric }) => want(text, at, { metric })),
    found: input.found.map(({ cidr: text, index: at, gateway, tos, ...rest }) =>
      have(text, at, { ...rest, ...(tos && { tos }), ...(gateway && { gateway: parseAddress(gateway) }) }),
    ),
    owned: (route: RouteInfo): boolean => input.ownAll || route.protocol === 3,
  });

  it("ends with what is wanted, deletes all else that is owned and nothing that is not, and has then nothing to do", () => {
    fc.assert(
      fc.property(situation, (input) => {
        const { wanted, found: before, owned } = build(input);
        const table = new Table(before);
        const run = (): number => {
          const decision = decide(wanted, table.routes, owned);
          for (const route of decision.release) table.delete(route);
          for (const route of decision.program) table.replace(route);
          for (const route of decision.clean) table.delete(route);
          return texts(decision).length;
        };
        run();
        // A table that cannot be had at once: somebody's second route that stands before ours in the place.
        for (let rounds = 0; run() > 0; rounds++) expect(rounds).toBeLessThan(3);
        for (const route of wanted) expect(table.routes.filter((other) => isRoute(other, route))).toHaveLength(1);
        const unwanted = table.routes.filter((route) => !wanted.some((target) => isRoute(route, target)));
        expect(unwanted.filter(owned).map(text)).toEqual([]);
        for (const route of before) {
          if (owned(route) || table.routes.some((other) => sameRoute(other, route))) continue;
          // Gone although it is not owned: only because ours stands in its place.
          expect(
            wanted.some(
              (target) => keyOf(target.destination) === keyOf(route.destination) && target.metric === route.metric,
            ),
          ).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
  });

  it("never leaves a destination without a route that has one to the right interface all along", () => {
    fc.assert(
      fc.property(situation, (input) => {
        const { wanted, found: before, owned } = build(input);
        const table = new Table(before);
        const reached = (): Set<string> =>
          new Set(
            table.routes
              .filter((route) => route.type === "unicast" && !route.tos)
              .map((route) => `${keyOf(route.destination)}@${route.index}`),
          );
        const start = reached();
        const steady = wanted
          .map((route) => `${keyOf(route.destination)}@${route.index}`)
          .filter((each) => start.has(each));
        const decision = decide(wanted, before, owned);
        const check = (): void => {
          const now = reached();
          expect(steady.filter((each) => !now.has(each))).toEqual([]);
        };
        for (const route of decision.release) {
          table.delete(route);
          check();
        }
        for (const route of decision.program) {
          table.replace(route);
          check();
        }
        for (const route of decision.clean) {
          table.delete(route);
          check();
        }
      }),
      { numRuns: 500 },
    );
  });
});
