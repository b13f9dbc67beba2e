/** Values for properties (fast-check): all that the wire can carry, in the form that the decoder gives them. */
import fc from "fast-check";
import { capabilityCodes } from "../capabilities.ts";
import type { AsSegment, Capabilities, Family, GracefulRestart, Notification, Open, PathAttributes } from "../types.ts";

export interface TestPrefix {
  readonly length: number;
  /** Signed, bits after `length` are 0. */
  readonly words: readonly [number, number, number, number];
  readonly pathId: number;
}

const u32 = fc.nat(0xffffffff);
const family = fc.constantFrom<Family>(4, 6);

export function anyPrefixes(of: Family, constraints: fc.ArrayConstraints = {}): fc.Arbitrary<TestPrefix[]> {
  const width = of === 4 ? 32 : 128;
  const one = fc
    .tuple(fc.integer({ min: 0, max: width }), fc.tuple(u32, u32, u32, u32), u32)
    .map(([length, given, pathId]): TestPrefix => {
      const word = (index: number) => {
        const bits = Math.min(Math.max(length - 32 * index, 0), 32);
        return bits === 0 ? 0 : given[index]! & (-1 << (32 - bits));
      };
      return { length, words: [word(0), word(1), word(2), word(3)], pathId };
    });
  return fc.array(one, constraints);
}

const segment: fc.Arbitrary<AsSegment> = fc.record({
  type: fc.constantFrom<AsSegment["type"]>("sequence", "set", "confederationSequence", "confederationSet"),
  asns: fc.array(fc.oneof(fc.integer({ min: 1, max: 0xffffffff }), fc.integer({ min: 1, max: 0xffff })), {
    minLength: 1,
    maxLength: 20,
  }),
});

const v4Hop = fc.integer({ min: 1, max: 0xdfffffff }).map((value) => ({ version: 4 as const, value: BigInt(value) }));
const v6Hop = fc
  .bigInt(1n, (1n << 120n) - 1n)
  .map((value) => ({ version: 6 as const, value: (0x20n << 120n) | value }));
const linkLocal = fc
  .bigInt(0n, (1n << 64n) - 1n)
  .map((value) => ({ version: 6 as const, value: (0xfe80n << 112n) | value }));
const numbers = (most: number) => fc.uniqueArray(u32, { maxLength: most });
const bytes = (most: number) => fc.uint8Array({ maxLength: most });

/** Attributes of prefixes of that family; `v6Hops` for IPv4 prefixes with IPv6 next hops, too. Unknown attributes are Partial already. */
export function anyAttributes(of: Family, v6Hops = false): fc.Arbitrary<PathAttributes> {
  const v6 = fc.record({ nextHop: v6Hop, linkLocalNextHop: linkLocal }, { requiredKeys: ["nextHop"] });
  const v4 = fc.record({ nextHop: v4Hop });
  const hops = of === 6 ? v6 : v6Hops ? fc.oneof(v4, v6) : v4;
  const unknown = fc.record({ flags: fc.constant(0xe0), type: fc.integer({ min: 200, max: 254 }), value: bytes(300) });
  const rest = fc.record(
    {
      origin: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
      asPath: fc.array(segment, { maxLength: 4 }),
      med: u32,
      localPref: u32,
      atomicAggregate: fc.boolean(),
      aggregator: fc.record({ asn: fc.integer({ min: 1, max: 0xffffffff }), address: u32 }),
      communities: numbers(70),
      largeCommunities: fc.uniqueArray(fc.tuple(u32, u32, u32), { maxLength: 25, selector: (c) => c.join(":") }),
      extendedCommunities: fc.array(fc.uint8Array({ minLength: 8, maxLength: 8 }), { maxLength: 5 }),
      originatorId: u32,
      clusterList: fc.array(u32, { maxLength: 5 }),
      unknown: fc.uniqueArray(unknown, { maxLength: 3, selector: (attribute) => attribute.type }),
    },
    {
      requiredKeys: [
        "origin",
        "asPath",
        "atomicAggregate",
        "communities",
        "largeCommunities",
        "extendedCommunities",
        "clusterList",
        "unknown",
      ],
    },
  );
  return fc.tuple(hops, rest).map(([hop, other]) => ({ ...hop, ...other }));
}

const gracefulRestart: fc.Arbitrary<GracefulRestart> = fc.record({
  restarting: fc.boolean(),
  notification: fc.boolean(),
  time: fc.nat(4095),
  families: fc.uniqueArray(fc.record({ family, forwarding: fc.boolean() }), { selector: (entry) => entry.family }),
});

const capabilities: fc.Arbitrary<Capabilities> = fc.record(
  {
    families: fc.uniqueArray(family, { minLength: 1 }),
    routeRefresh: fc.boolean(),
    enhancedRouteRefresh: fc.boolean(),
    extendedMessages: fc.boolean(),
    fourOctetAsn: fc.boolean(),
    gracefulRestart,
    addPath: fc.uniqueArray(
      fc
        .constantFrom([true, false], [false, true], [true, true])
        .chain(([send, receive]) => fc.record({ family, send: fc.constant(send!), receive: fc.constant(receive!) })),
      { selector: (entry) => entry.family },
    ),
    extendedNextHop: fc.boolean(),
    others: fc.array(
      fc.record({
        code: fc.integer({ min: 0, max: 255 }).filter((code) => !capabilityCodes.has(code)),
        value: bytes(255),
      }),
      { maxLength: 5 },
    ),
  },
  {
    requiredKeys: [
      "families",
      "routeRefresh",
      "enhancedRouteRefresh",
      "extendedMessages",
      "fourOctetAsn",
      "addPath",
      "extendedNextHop",
      "others",
    ],
  },
);

export const anyOpen: fc.Arbitrary<Open> = fc
  .tuple(capabilities, fc.integer({ min: 1, max: 0xffffffff }), fc.integer({ min: 1, max: 0xffff }))
  .chain(([offered, large, small]) =>
    fc.record({
      asn: fc.constant(offered.fourOctetAsn ? large : small),
      holdTime: fc.oneof(fc.constant(0), fc.integer({ min: 3, max: 0xffff })),
      routerId: fc.integer({ min: 1, max: 0xffffffff }),
      capabilities: fc.constant(offered),
    }),
  );

/** Without text. */
export const anyNotification: fc.Arbitrary<Notification> = fc
  .record({ code: fc.nat(255), subcode: fc.nat(255), data: bytes(600) })
  .filter(({ code }) => code !== 6);
