import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeAttributes,
  decodeUpdate,
  eachPrefix,
  encodeAttributes,
  type Family,
  type Negotiated,
  type Nlri,
  type PathAttributes,
  PrefixWriter,
  type Update,
  UpdateWriter,
} from "./index.ts";
import {
  anyAttributes,
  anyPrefixes,
  body,
  GOOD,
  hex,
  MANDATORY,
  NLRI,
  REACH_V6,
  referenceUpdate,
  SESSION,
  toHex,
  UNREACH_V6,
} from "./testing.ts";

const TWO_OCTETS: Negotiated = { ...SESSION, fourOctetAsn: false };
const IBGP = { peer: "ibgp" } as const;

function texts(nlri: readonly Nlri[]): string[] {
  const out: string[] = [];
  for (const field of nlri) {
    eachPrefix(field, (length, w0, w1, w2, w3, pathId) => {
      const words = (field.family === 4 ? [w0] : [w0, w1, w2, w3]).map((w) => (w >>> 0).toString(16).padStart(8, "0"));
      out.push(`${words.join("")}/${length}${field.addPath ? `#${pathId}` : ""}`);
    });
  }
  return out;
}

function one(bytes: Uint8Array, negotiated = SESSION, peer: "ibgp" | "ebgp" = "ibgp"): Update {
  const [update, ...more] = decodeUpdate(bytes, negotiated, { peer });
  expect(more).toEqual([]);
  expect(update!.problems).toEqual([]);
  return update!;
}

const PLAIN: PathAttributes = {
  origin: 0,
  asPath: [{ type: "sequence", asns: [64512, 4_200_000_000] }],
  nextHop: { version: 4, value: 0x0a000001n },
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
};

describe("fields", () => {
  test("IPv4 in the fields of RFC 4271", () => {
    const update = one(body(MANDATORY, `${NLRI} 00`, "20 0a010203"));
    expect(texts(update.withdrawn)).toEqual(["0a010203/32"]);
    expect(texts(update.reached)).toEqual(["0a000040/26", "00000000/0"]);
    expect(update.attributes()).toEqual(PLAIN);
    expect(toHex(update.attributesKey)).toBe(toHex(hex(MANDATORY)));
    expect(update.endOfRib).toBeUndefined();
  });

  test("IPv6 in MP_REACH_NLRI and MP_UNREACH_NLRI (RFC 4760 3, 4)", () => {
    const update = one(body(`${REACH_V6} ${UNREACH_V6} ${GOOD.origin} ${GOOD.asPath}`));
    expect(texts(update.withdrawn)).toEqual(["20010db8000200000000000000000000/48"]);
    expect(texts(update.reached)).toEqual(["20010db8000100000000000000000000/48"]);
    expect(update.attributes()).toEqual({ ...PLAIN, nextHop: { version: 6, value: (0x20010db8n << 96n) | 1n } });
  });

  test("both at once are two updates, each with its next hop; withdrawals come first", () => {
    const updates = decodeUpdate(body(`${MANDATORY} ${REACH_V6} ${UNREACH_V6}`, NLRI, "00"), SESSION, IBGP);
    expect(updates.map((update) => [texts(update.withdrawn), texts(update.reached)])).toEqual([
      [["00000000/0", "20010db8000200000000000000000000/48"], ["0a000040/26"]],
      [[], ["20010db8000100000000000000000000/48"]],
    ]);
    expect(updates.map((update) => update.attributes().nextHop.version)).toEqual([4, 6]);
  });

  test("IPv4 with an IPv6 next hop, where that was agreed on (RFC 8950)", () => {
    const reach = "80 0e 1a 0001 01 10 20010db8000000000000000000000001 00 1a 0a000040";
    const update = one(body(`${reach} ${GOOD.origin} ${GOOD.asPath}`), { ...SESSION, extendedNextHop: true });
    expect(update.reached.map((nlri) => nlri.family)).toEqual([4]);
    expect(update.attributes().nextHop.version).toBe(6);
  });

  test("IPv4 with an IPv4 next hop in MP_REACH_NLRI", () => {
    const update = one(body(`80 0e 0e 0001 01 04 0a000001 00 1a 0a000040 ${GOOD.origin} ${GOOD.asPath}`));
    expect(update.attributes()).toEqual(PLAIN);
  });

  test("path identifiers only of families that have them (RFC 7911 3)", () => {
    const negotiated: Negotiated = { ...SESSION, addPathReceive: [4] };
    const update = decodeUpdate(
      body(`${MANDATORY} ${REACH_V6}`, `00000007 ${NLRI} 00000008 ${NLRI}`),
      negotiated,
      IBGP,
    );
    expect(update.flatMap((part) => texts(part.reached))).toEqual([
      "0a000040/26#7",
      "0a000040/26#8",
      "20010db8000100000000000000000000/48",
    ]);
  });

  test("families that were not agreed on are ignored, and said to be", () => {
    const [update] = decodeUpdate(
      body(`${MANDATORY} ${REACH_V6} ${UNREACH_V6}`, NLRI),
      { ...SESSION, families: [4] },
      IBGP,
    );
    expect([texts(update!.withdrawn), texts(update!.reached)]).toEqual([[], ["0a000040/26"]]);
    expect(update!.problems).toHaveLength(2);
    const [other] = decodeUpdate(body(`${MANDATORY} ${REACH_V6}`, NLRI, "00"), { ...SESSION, families: [6] }, IBGP);
    expect([texts(other!.withdrawn), texts(other!.reached)]).toEqual([[], ["20010db8000100000000000000000000/48"]]);
    expect(other!.problems).toHaveLength(1);
  });
});

describe("the end of a table (RFC 4724 2)", () => {
  test("of IPv4: nothing", () => {
    expect(one(body("")).endOfRib).toBe(4);
    expect(one(body(""), { ...SESSION, families: [6] }).endOfRib).toBeUndefined();
  });

  test("of IPv6: MP_UNREACH_NLRI alone, without prefixes, of either length of length", () => {
    expect(one(body("80 0f 03 0002 01")).endOfRib).toBe(6);
    expect(one(body("90 0f 0003 0002 01")).endOfRib).toBe(6);
    expect(one(body("80 0f 03 0001 01")).endOfRib).toBe(4);
  });

  test.each([UNREACH_V6, `80 0f 03 0002 01 ${GOOD.origin}`, GOOD.origin])("not: %s", (attributes) => {
    expect(one(body(attributes)).endOfRib).toBeUndefined();
  });

  test("not beside an attribute that was discarded", () => {
    const [update] = decodeUpdate(body("80 0f 03 0002 01 40 06 01 00"), SESSION, IBGP);
    expect([update!.endOfRib, update!.problems.length]).toEqual([undefined, 1]);
  });

  test("not of a family that was not agreed on", () => {
    const [update] = decodeUpdate(body("80 0f 03 0002 01"), { ...SESSION, families: [4] }, IBGP);
    expect(update!.endOfRib).toBeUndefined();
  });
});

describe("attributes", () => {
  const v6 = (digits: string) => ({ version: 6 as const, value: BigInt(`0x${digits}`) });
  const GLOBAL = "20010db8000000000000000000000001";
  const LOCAL = "fe800000000000000000000000000001";

  test.each<[string, string, Partial<PathAttributes>]>([
    ["MULTI_EXIT_DISC (RFC 4271 5.1.4)", "80 04 04 ffffffff", { med: 4294967295 }],
    ["LOCAL_PREF (RFC 4271 5.1.5)", "40 05 04 00000064", { localPref: 100 }],
    ["ATOMIC_AGGREGATE (RFC 4271 5.1.6)", "40 06 00", { atomicAggregate: true }],
    [
      "AGGREGATOR (RFC 4271 5.1.7)",
      "c0 07 08 fa56ea00 0a000002",
      { aggregator: { asn: 4_200_000_000, address: 0x0a000002 } },
    ],
    [
      "COMMUNITIES, without repetitions (RFC 1997)",
      "c0 08 0c ffffff01 fc000001 ffffff01",
      { communities: [0xffffff01, 0xfc000001] },
    ],
    ["ORIGINATOR_ID (RFC 4456 8)", "80 09 04 0a000003", { originatorId: 0x0a000003 }],
    ["CLUSTER_LIST (RFC 4456 8)", "80 0a 08 00000001 00000002", { clusterList: [1, 2] }],
    [
      "extended communities (RFC 4360)",
      "c0 10 08 0002fc0000000001",
      { extendedCommunities: [hex("0002fc0000000001")] },
    ],
    [
      "large communities, without repetitions (RFC 8092)",
      "c0 20 24 fa56ea00 00000001 00000002 00000001 00000002 00000003 fa56ea00 00000001 00000002",
      {
        largeCommunities: [
          [4_200_000_000, 1, 2],
          [1, 2, 3],
        ],
      },
    ],
    ["an unknown transitive attribute", "c0 e9 02 0102", { unknown: [{ flags: 0xc0, type: 233, value: hex("0102") }] }],
    ["the same with a long length", "f0 e9 0002 0102", { unknown: [{ flags: 0xe0, type: 233, value: hex("0102") }] }],
    ["an unknown one that is not transitive goes no further", "80 e9 02 0102", {}],
    ["a long length where a short one would do", "50 05 0004 00000064", { localPref: 100 }],
    ["flags that mean nothing", "6f 05 04 00000064", { localPref: 100 }],
  ])("%s", (_, attribute, expected) => {
    expect(one(body(`${MANDATORY} ${attribute}`, NLRI)).attributes()).toEqual({ ...PLAIN, ...expected });
  });

  test("ORIGIN, and a path of all four kinds of segments (RFC 5065 3)", () => {
    const path = "40 02 1c 0301 0000fde9 0401 0000fdea 0202 0000fc00 00000001 0101 00000002";
    const update = one(body(`40 01 01 02 ${path} ${GOOD.nextHop}`, NLRI));
    expect(update.attributes()).toMatchObject({
      origin: 2,
      asPath: [
        { type: "confederationSequence", asns: [65001] },
        { type: "confederationSet", asns: [65002] },
        { type: "sequence", asns: [64512, 1] },
        { type: "set", asns: [2] },
      ],
    });
  });

  test("an empty path (RFC 4271 5.1.2)", () => {
    expect(one(body(`${GOOD.origin} 40 02 00 ${GOOD.nextHop}`, NLRI)).attributes().asPath).toEqual([]);
  });

  test.each([
    ["a global one", GLOBAL, { nextHop: v6(GLOBAL) }],
    ["a link-local one", LOCAL, { nextHop: v6(LOCAL) }],
    ["both (RFC 2545 3)", GLOBAL + LOCAL, { nextHop: v6(GLOBAL), linkLocalNextHop: v6(LOCAL) }],
    ["the link-local one twice", LOCAL + LOCAL, { nextHop: v6(LOCAL) }],
    ["none and the link-local one", "00".repeat(16) + LOCAL, { nextHop: v6(LOCAL) }],
    ["two global ones", GLOBAL + GLOBAL, { nextHop: v6(GLOBAL) }],
  ])("next hops of IPv6: %s", (_, hops, expected) => {
    const length = hops.length / 2;
    const reach = `80 0e ${(length + 12).toString(16)} 0002 01 ${length.toString(16)} ${hops} 00 30 20010db80001`;
    const attributes = one(body(`${reach} ${GOOD.origin} ${GOOD.asPath}`)).attributes();
    expect(attributes).toEqual({ ...PLAIN, ...expected });
  });
});

describe("two-octet AS numbers (RFC 6793)", () => {
  const reached = (attributes: string) =>
    one(body(`${GOOD.origin} ${GOOD.nextHop} ${attributes}`, NLRI), TWO_OCTETS).attributes();
  const PATH = "40 02 08 0203 fc00 5ba0 fc01";

  test("a path without AS4_PATH is what it says", () => {
    expect(reached(PATH).asPath).toEqual([{ type: "sequence", asns: [64512, 23456, 64513] }]);
  });

  test("AS4_PATH replaces the end of the path (4.2.3)", () => {
    const as4 = "c0 11 0a 0202 fa56ea00 0000fc01";
    expect(reached(`${PATH} ${as4}`).asPath).toEqual([{ type: "sequence", asns: [64512, 4_200_000_000, 64513] }]);
  });

  test("a set counts as one, segments of confederations as none", () => {
    const path = "40 02 12 0301 fde9 0201 fc00 0102 0001 0002 0201 5ba0";
    const as4 = "c0 11 10 0102 00000001 00000002 0201 fa56ea00";
    expect(reached(`${path} ${as4}`).asPath).toEqual([
      { type: "confederationSequence", asns: [65001] },
      { type: "sequence", asns: [64512] },
      { type: "set", asns: [1, 2] },
      { type: "sequence", asns: [4_200_000_000] },
    ]);
  });

  test("an AS4_PATH that is longer than the path is ignored", () => {
    const as4 = "c0 11 12 0204 00000001 00000002 00000003 00000004";
    expect(reached(`${PATH} ${as4}`).asPath).toEqual([{ type: "sequence", asns: [64512, 23456, 64513] }]);
  });

  test("AS4_AGGREGATOR counts where AGGREGATOR is AS_TRANS", () => {
    const aggregators = "c0 07 06 5ba0 0a000002 c0 12 08 fa56ea00 0a000003";
    expect(reached(`${PATH} ${aggregators}`).aggregator).toEqual({ asn: 4_200_000_000, address: 0x0a000003 });
  });

  test("an aggregator of two octets came later: AS4_AGGREGATOR and AS4_PATH are void", () => {
    const more = "c0 07 06 fc01 0a000002 c0 12 08 fa56ea00 0a000003 c0 11 0a 0202 fa56ea00 0000fc01";
    expect(reached(`${PATH} ${more}`)).toMatchObject({
      asPath: [{ type: "sequence", asns: [64512, 23456, 64513] }],
      aggregator: { asn: 64513, address: 0x0a000002 },
    });
  });

  test("AS4_AGGREGATOR alone means nothing", () => {
    expect(reached(`${PATH} c0 12 08 fa56ea00 0a000003`).aggregator).toBeUndefined();
  });

  test("a peer that speaks four octets must not send them: ignored, whatever they are (4.1, 6)", () => {
    const [update] = decodeUpdate(body(`${MANDATORY} c0 11 01 ff c0 12 00`, NLRI), SESSION, IBGP);
    expect(update!.attributes()).toEqual(PLAIN);
    expect(update!.problems).toHaveLength(2);
  });
});

describe("keys", () => {
  const key = (bytes: Uint8Array, negotiated = SESSION, peer: "ibgp" | "ebgp" = "ibgp") =>
    decodeUpdate(bytes, negotiated, { peer }).map((update) => toHex(update.attributesKey));

  test("do not depend on prefixes, however long MP_REACH_NLRI is", () => {
    const long = `${REACH_V6.replace("80 0e 1c", "90 0e 0124")} ${"30 20010db80003 ".repeat(37)} 20 20010db8`;
    const rest = `${GOOD.origin} ${GOOD.asPath}`;
    expect(key(body(`${long} ${rest}`))).toEqual(key(body(`${REACH_V6} ${rest}`)));
    expect(key(body(`${REACH_V6} ${UNREACH_V6} ${rest}`))).toEqual(key(body(`${REACH_V6} ${rest}`)));
    expect(key(body(MANDATORY, NLRI))).toEqual(key(body(MANDATORY, "00", "00")));
  });

  test("mean the same on sessions of two and of four octets", () => {
    const two = "40 02 06 0202 fc00 5ba0 c0 11 0a 0202 0000fc00 fa56ea00";
    const [update] = decodeUpdate(body(`${GOOD.origin} ${two} ${GOOD.nextHop}`, NLRI), TWO_OCTETS, IBGP);
    expect(decodeAttributes(update!.attributesKey)).toEqual(PLAIN);
  });

  test("do not have what was left out", () => {
    expect(key(body(`${MANDATORY} 40 05 04 00000064`, NLRI), SESSION, "ebgp")).toEqual([toHex(hex(MANDATORY))]);
    expect(key(body(`${MANDATORY} ${GOOD.nextHop}`, NLRI))).toEqual([toHex(hex(MANDATORY))]);
  });

  test("differ by next hop", () => {
    const other = REACH_V6.replace("0001 00 30", "0002 00 30");
    expect(key(body(`${other} ${GOOD.origin} ${GOOD.asPath}`))).not.toEqual(
      key(body(`${REACH_V6} ${GOOD.origin} ${GOOD.asPath}`)),
    );
  });

  test("are views of the message where nothing had to be changed", () => {
    const bytes = body(MANDATORY, NLRI);
    expect(one(bytes).attributesKey.buffer).toBe(bytes.buffer);
  });
});

describe("there and back", () => {
  const sessions = fc.record({
    fourOctetAsn: fc.boolean(),
    extendedMessages: fc.boolean(),
    addPath: fc.boolean(),
    family: fc.constantFrom<Family>(4, 6),
    extendedNextHop: fc.boolean(),
  });
  const cases = sessions.chain((session) =>
    fc.record({
      session: fc.constant(session),
      attributes: anyAttributes(session.family, session.extendedNextHop),
      prefixes: anyPrefixes(session.family, { minLength: 1, maxLength: 40 }),
    }),
  );

  test("any attributes on any session are those that were written, and a naive decoder agrees", () => {
    fc.assert(
      fc.property(cases, ({ session, attributes, prefixes }) => {
        const { family } = session;
        const addPath = session.addPath ? [family] : [];
        const negotiated: Negotiated = { ...session, families: [4, 6], addPathReceive: addPath, addPathSend: addPath };
        const messages: Uint8Array[] = [];
        const writer = new UpdateWriter(negotiated, (message) => messages.push(message));
        expect(writer.reach(encodeAttributes(attributes, negotiated, { family }))).toBe(true);
        for (const { length, words, pathId } of prefixes) writer.add(length, ...words, pathId);
        writer.flush();

        const updates = messages.flatMap((message) => decodeUpdate(message.subarray(19), negotiated, IBGP));
        const packed = new PrefixWriter(family, session.addPath);
        for (const { length, words, pathId } of prefixes) packed.add(length, ...words, pathId);
        expect(updates.flatMap((update) => texts(update.reached))).toEqual(texts([packed.nlri]));
        for (const update of updates) {
          expect(update.problems).toEqual([]);
          // An AS number that two octets hold nowhere but in a confederation's segment cannot be told (RFC 6793 4.2.2).
          if (session.fourOctetAsn) expect(update.attributes()).toEqual(attributes);
          else expect(withoutPath(update.attributes())).toEqual(withoutPath(attributes));
        }
        if (!session.fourOctetAsn) return;
        for (const message of messages) {
          const reference = referenceUpdate(message.subarray(19), addPath);
          const [update] = decodeUpdate(message.subarray(19), negotiated, IBGP);
          expect(reference.reached.flatMap((part) => part.prefixes)).toEqual(texts(update!.reached));
          const hop = update!.attributes().nextHop.value;
          expect(
            reference.reached[0]!.nextHop.startsWith(
              hop.toString(16).padStart(attributes.nextHop.version === 4 ? 8 : 32, "0"),
            ),
          ).toBe(true);
        }
      }),
      { numRuns: 300 },
    );
  });

  function withoutPath(attributes: PathAttributes): PathAttributes {
    return { ...attributes, asPath: [] };
  }

  test("a path on a two-octet session is the same to the other", () => {
    const path = fc.array(
      fc.record({
        type: fc.constantFrom("sequence" as const, "set" as const),
        asns: fc.array(fc.integer({ min: 1, max: 0xffffffff }), { minLength: 1, maxLength: 5 }),
      }),
      { maxLength: 4 },
    );
    fc.assert(
      fc.property(path, (asPath) => {
        const { bytes } = encodeAttributes({ ...PLAIN, asPath }, TWO_OCTETS, { family: 4 });
        const message = Uint8Array.from([0, 0, bytes.length >>> 8, bytes.length, ...bytes, 0]);
        expect(one(message, TWO_OCTETS).attributes().asPath).toEqual(asPath);
      }),
    );
  });
});
