/** Each step of the decision process by itself: RFC 4271 9.1.2.2, RFC 4456 9, RFC 5065 5.3. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import type { AsSegment, PathAttributes } from "../wire/index.ts";
import { AttributeSet } from "./attributes.ts";
import { type Candidate, choose, whyNot } from "./decision.ts";
import { UNREACHABLE } from "./next-hops.ts";

const sequence = (...asns: number[]): AsSegment => ({ type: "sequence", asns });

function candidate(
  attributes: Partial<PathAttributes> = {},
  rest: Partial<Candidate> & { readonly preference?: number } = {},
): Candidate {
  const { preference = 100, ...peer } = rest;
  const all: PathAttributes = {
    origin: 0,
    asPath: [sequence(65001)],
    nextHop: parseAddress("192.0.2.1"),
    atomicAggregate: false,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
    ...attributes,
  };
  return {
    set: new AttributeSet(all, preference, "", 0),
    local: false,
    ibgp: false,
    cost: 0,
    routerId: 10,
    address: parseAddress("192.0.2.1"),
    pathId: 0,
    ...peer,
  };
}

/** In every order the first of the two wins. */
function wins(winner: Candidate, loser: Candidate): string {
  for (const order of [
    [winner, loser],
    [loser, winner],
  ]) {
    const chosen = order.slice();
    choose(chosen);
    expect(chosen[0]).toBe(winner);
  }
  const chosen = [winner, loser];
  choose(chosen);
  return `${chosen.length === 1 ? "" : "ECMP: "}${whyNot(loser, [winner, loser], chosen)}`;
}

describe("a path wins over another", () => {
  test("by preference, before all else", () => {
    expect(wins(candidate({ localPref: 1 }, { preference: 200 }), candidate({ localPref: 900 }))).toBe(
      "lower preference (100, the best has 200)",
    );
  });

  test("as a local route of the same preference", () => {
    const local = candidate({ asPath: [] }, { local: true, preference: 200, address: undefined });
    expect(wins(local, candidate({}, { preference: 200 }))).toBe("a local route of the same preference wins");
    expect(wins(candidate({}, { preference: 201 }), local)).toMatch(/^lower preference/);
  });

  test("by a next hop that can be reached, before LOCAL_PREF and after preference", () => {
    const unreachable = candidate({ localPref: 900, nextHop: parseAddress("10.0.0.9") }, { cost: UNREACHABLE });
    expect(wins(candidate({}, { cost: 1 }), unreachable)).toBe("its next hop 10.0.0.9 cannot be reached");
    expect(wins(candidate({}, { cost: UNREACHABLE, preference: 101 }), candidate())).toMatch(/^lower preference/);
    const local = candidate({ asPath: [] }, { local: true, address: undefined });
    expect(wins(local, unreachable)).toMatch(/^a local route/);
    // Where none can be reached, the rest decides.
    expect(wins(unreachable, candidate({}, { cost: UNREACHABLE }))).toMatch(/LOCAL_PREF/);
    const [one, other] = [candidate({}, { cost: UNREACHABLE }), candidate({}, { cost: UNREACHABLE, routerId: 11 })];
    expect(wins(one, other)).toMatch(/^ECMP: .*router id/);
  });

  test("by LOCAL_PREF, which is 100 where there is none", () => {
    expect(wins(candidate({ localPref: 200, asPath: [sequence(1, 2, 3)] }), candidate())).toBe(
      "lower LOCAL_PREF (100, the best has 200)",
    );
    expect(wins(candidate(), candidate({ localPref: 99 }))).toMatch(/LOCAL_PREF/);
  });

  test("by the length of the AS path: a set counts as one, confederations as nothing", () => {
    expect(wins(candidate(), candidate({ asPath: [sequence(65001, 65002)] }))).toBe(
      "longer AS path (2, the best has 1)",
    );
    const set = candidate({ asPath: [sequence(65001), { type: "set", asns: [1, 2, 3] }] });
    expect(wins(set, candidate({ asPath: [sequence(65001, 1, 2)] }))).toMatch(/\(3, the best has 2\)/);
    const confederation = candidate({
      asPath: [
        { type: "confederationSequence", asns: [1, 2] },
        { type: "confederationSet", asns: [3] },
        sequence(65001),
      ],
    });
    expect(wins(confederation, set)).toMatch(/\(2, the best has 1\)/);
  });

  test("by ORIGIN", () => {
    expect(wins(candidate({ origin: 0, med: 5 }), candidate({ origin: 2 }))).toBe(
      "ORIGIN INCOMPLETE, the best has IGP",
    );
  });

  test("by MED, where both are of one neighbouring AS; none is 0", () => {
    const low = candidate({ med: 5 }, { routerId: 99 });
    expect(wins(low, candidate({ med: 6 }))).toBe("higher MED (6, a path of the same neighbouring AS 65001 has 5)");
    expect(wins(candidate({}, { routerId: 99 }), candidate({ med: 1 }))).toMatch(/higher MED \(1,/);
    // Others' MED says nothing: the router id decides.
    expect(wins(candidate({ med: 6, asPath: [sequence(65002)] }), low)).toMatch(/^ECMP: .*router id/);
  });

  test("of which AS a path is, confederations in front do not change", () => {
    const asPath = [{ type: "confederationSequence", asns: [9] } as const, sequence(65001)];
    expect(wins(candidate({ med: 1, asPath }, { routerId: 99 }), candidate({ med: 2 }))).toMatch(/higher MED/);
  });

  test("by eBGP", () => {
    expect(wins(candidate({}, { routerId: 99 }), candidate({}, { ibgp: true }))).toBe(
      "learned by iBGP, the best by eBGP",
    );
  });

  test("by the nearer next hop, after eBGP and before the router id; they are not as good", () => {
    const near = candidate({}, { routerId: 99 });
    expect(wins(near, candidate({}, { cost: 1 }))).toBe("its next hop is farther away");
    expect(wins(candidate({}, { cost: 1 }), candidate({}, { ibgp: true }))).toBe("learned by iBGP, the best by eBGP");
    expect(wins(candidate({ med: 1 }, { cost: 1 }), candidate({ med: 2 }))).toMatch(/higher MED/);
    expect(wins(candidate({}, { cost: 1 }), candidate({}, { cost: 1, routerId: 99 }))).toMatch(/^ECMP: /);
  });

  test("by the lowest router id, or ORIGINATOR_ID in its place; both are as good", () => {
    expect(wins(candidate(), candidate({}, { routerId: 0xff000000 }))).toBe(
      "ECMP: equally good; higher router id (255.0.0.0, the best has 0.0.0.10)",
    );
    expect(wins(candidate({ originatorId: 3 }, { routerId: 99 }), candidate())).toMatch(/has 0\.0\.0\.3\)/);
  });

  test("by the shortest CLUSTER_LIST", () => {
    const address = parseAddress("192.0.2.200");
    expect(wins(candidate({ clusterList: [1] }, { address }), candidate({ clusterList: [1, 2] }))).toBe(
      "ECMP: equally good; longer CLUSTER_LIST",
    );
  });

  test("by the lowest address of the peer, and of one peer's paths by path identifier", () => {
    expect(wins(candidate(), candidate({}, { address: parseAddress("192.0.2.10") }))).toBe(
      "ECMP: equally good; higher peer address",
    );
    expect(wins(candidate({}, { pathId: 1 }), candidate({}, { pathId: 2 }))).toBe(
      "ECMP: equally good; higher path identifier",
    );
  });
});

test("MED that turns in a circle is judged the same in every order", () => {
  // Pairwise: a beats b (router id), b beats c (router id), c beats a (MED).
  const a = candidate({ med: 10 }, { routerId: 1 });
  const b = candidate({ asPath: [sequence(65002)] }, { routerId: 2 });
  const c = candidate({ med: 0 }, { routerId: 3 });
  for (const order of [
    [a, b, c],
    [a, c, b],
    [b, a, c],
    [b, c, a],
    [c, a, b],
    [c, b, a],
  ]) {
    choose(order);
    expect(order).toEqual([b, c]);
  }
});

test("the choice does not depend on the order of candidates", () => {
  const any = fc
    .record({
      med: fc.constantFrom(undefined, 1, 2),
      localPref: fc.constantFrom(undefined, 100, 101),
      asPath: fc.constantFrom<AsSegment[][]>([], [sequence(1)], [sequence(2)], [sequence(1, 2)]),
      ibgp: fc.boolean(),
      routerId: fc.nat(3),
      host: fc.nat(255),
      cost: fc.constantFrom(0, 1, UNREACHABLE),
    })
    .map(({ med, localPref, asPath, ibgp, routerId, host, cost }) =>
      candidate(
        { asPath, ...(med !== undefined && { med }), ...(localPref !== undefined && { localPref }) },
        { ibgp, routerId, cost, address: parseAddress(`192.0.2.${host}`) },
      ),
    );
  fc.assert(
    fc.property(
      fc
        .uniqueArray(any, { maxLength: 6, selector: ({ address }) => address?.value })
        .chain((all) => fc.tuple(fc.constant(all), fc.shuffledSubarray(all, { minLength: all.length }))),
      ([one, other]) => {
        choose(one);
        choose(other);
        expect(other).toEqual(one);
      },
    ),
  );
});
