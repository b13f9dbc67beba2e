import { describe, expect, test } from "vitest";
import { countPrefixes, decodeUpdate, type Negotiated, type UpdateContext, type WireError } from "./index.ts";
import { body, GOOD, hex, MANDATORY, NLRI, REACH_V6, SESSION, toHex, UNREACH_V6 } from "./testing.ts";

const TWO_OCTETS: Negotiated = { ...SESSION, fourOctetAsn: false };

type Peer = UpdateContext["peer"];

/** What became of one IPv4 prefix (and the IPv6 one, where there is one): how many are withdrawn and reached, and the words. */
function outcome(bytes: Uint8Array, peer: Peer = "ibgp", negotiated = SESSION, limits?: UpdateContext["limits"]) {
  const updates = decodeUpdate(bytes, negotiated, limits ? { peer, limits } : { peer });
  const sum = (field: "withdrawn" | "reached") =>
    updates.flatMap((update) => update[field]).reduce((total, nlri) => total + countPrefixes(nlri), 0);
  for (const update of updates) if (update.reached.length > 0) update.attributes();
  return {
    withdrawn: sum("withdrawn"),
    reached: sum("reached"),
    problems: updates.flatMap((update) => update.problems),
  };
}

function reset(bytes: Uint8Array, negotiated = SESSION, peer: Peer = "ibgp") {
  try {
    decodeUpdate(bytes, negotiated, { peer });
  } catch (error) {
    return (error as WireError).notification;
  }
  throw new Error("the session was not reset");
}

const WITHDRAWN = { withdrawn: 1, reached: 0, problems: [expect.stringContaining("routes withdrawn")] };
const without = (name: keyof typeof GOOD) =>
  Object.entries(GOOD)
    .filter(([other]) => other !== name)
    .map(([, digits]) => digits)
    .join(" ");

describe("treat-as-withdraw", () => {
  test.each<[string, string]>([
    ["ORIGIN is missing (3 d)", without("origin")],
    ["AS_PATH is missing", without("asPath")],
    ["NEXT_HOP is missing", without("nextHop")],
    ["ORIGIN of no length (7.1)", `${without("origin")} 40 01 00`],
    ["ORIGIN of two bytes", `${without("origin")} 40 01 02 0000`],
    ["an undefined ORIGIN", `${without("origin")} 40 01 01 03`],
    ["ORIGIN as an optional attribute (3 c)", `${without("origin")} c0 01 01 00`],
    ["ORIGIN that is not transitive", `${without("origin")} 00 01 01 00`],
    ["a segment of type 0 (7.2)", `${without("asPath")} 40 02 06 0001 0000fc00`],
    ["a segment of type 5", `${without("asPath")} 40 02 06 0501 0000fc00`],
    ["a segment that is longer than the path", `${without("asPath")} 40 02 06 0202 0000fc00`],
    ["one byte behind the segments", `${without("asPath")} 40 02 07 0201 0000fc00 02`],
    ["an empty segment", `${without("asPath")} 40 02 08 0200 0201 0000fc00`],
    ["AS 0 in the path (RFC 7607)", `${without("asPath")} 40 02 0a 0202 0000fc00 00000000`],
    ["AS_PATH as an optional attribute", `${without("asPath")} c0 02 06 0201 0000fc00`],
    ["NEXT_HOP of three bytes (7.3)", `${without("nextHop")} 40 03 03 0a0000`],
    ["NEXT_HOP of five", `${without("nextHop")} 40 03 05 0a00000100`],
    ["next hop 0.0.0.0 (RFC 4271 6.3)", `${without("nextHop")} 40 03 04 00000000`],
    ["next hop 224.0.0.1", `${without("nextHop")} 40 03 04 e0000001`],
    ["next hop 255.255.255.255", `${without("nextHop")} 40 03 04 ffffffff`],
    ["MULTI_EXIT_DISC of three bytes (7.4)", `${MANDATORY} 80 04 03 000000`],
    ["MULTI_EXIT_DISC as transitive", `${MANDATORY} c0 04 04 00000000`],
    ["LOCAL_PREF of five bytes from inside (7.5)", `${MANDATORY} 40 05 05 0000000000`],
    ["LOCAL_PREF of no length", `${MANDATORY} 40 05 00`],
    ["COMMUNITIES of no length (7.8)", `${MANDATORY} c0 08 00`],
    ["COMMUNITIES of six bytes", `${MANDATORY} c0 08 06 fc0000010000`],
    ["COMMUNITIES that are not transitive", `${MANDATORY} 80 08 04 fc000001`],
    ["ORIGINATOR_ID of three bytes from inside (7.9)", `${MANDATORY} 80 09 03 0a0000`],
    ["CLUSTER_LIST of no length from inside (7.10)", `${MANDATORY} 80 0a 00`],
    ["CLUSTER_LIST of five bytes", `${MANDATORY} 80 0a 05 0000000100`],
    ["extended communities of no length (7.14)", `${MANDATORY} c0 10 00`],
    ["extended communities of nine bytes", `${MANDATORY} c0 10 09 000000000000000000`],
    ["large communities of no length (RFC 8092 5)", `${MANDATORY} c0 20 00`],
    ["large communities of eleven bytes", `${MANDATORY} c0 20 0b 0000000000000000000000`],
    ["a well-known attribute that nobody knows", `${MANDATORY} 40 e9 01 00`],
    ["an attribute that ends after all of them (4)", `${MANDATORY} c0 08 05 fc000001`],
    ["the same, of no known length", `${MANDATORY} c0 e9 02 00`],
    ["an attribute without a length", `${MANDATORY} c0 08`],
    ["an attribute without a type", `${MANDATORY} c0`],
    ["a long length of which half is missing", `${MANDATORY} d0 08 00`],
  ])("%s", (_, attributes) => {
    expect(outcome(body(attributes, NLRI))).toEqual(WITHDRAWN);
  });

  test("a confederation's segment from outside of one (RFC 5065 5)", () => {
    const attributes = `${without("asPath")} 40 02 06 0301 0000fde9`;
    expect(outcome(body(attributes, NLRI), "ebgp")).toEqual(WITHDRAWN);
    expect(outcome(body(attributes, NLRI), "ibgp").reached).toBe(1);
  });

  test("all prefixes of the message, beside those that it withdraws", () => {
    const attributes = `${without("origin")} ${REACH_V6} ${UNREACH_V6}`;
    expect(outcome(body(attributes, `${NLRI} 00`, "20 0a010203"))).toMatchObject({ withdrawn: 5, reached: 0 });
  });

  test("a missing NEXT_HOP is none where all prefixes are in MP_REACH_NLRI, a wrong one is", () => {
    expect(outcome(body(`${REACH_V6} ${GOOD.origin} ${GOOD.asPath}`))).toEqual({
      withdrawn: 0,
      reached: 1,
      problems: [],
    });
    expect(outcome(body(`${REACH_V6} ${GOOD.origin}`))).toEqual(WITHDRAWN);
  });

  test.each(["00".repeat(16), `ff02${"00".repeat(13)}01`, "00".repeat(32)])("next hop %s of IPv6", (hop) => {
    const length = hop.length / 2;
    const hexLength = length.toString(16);
    const reach = `80 0e ${(length + 12).toString(16)} 0002 01 ${hexLength} ${hop} 00 30 20010db80001`;
    expect(outcome(body(`${reach} ${GOOD.origin} ${GOOD.asPath}`))).toEqual(WITHDRAWN);
  });

  test("what exceeds a limit", () => {
    const limits = {
      asPathLength: 1,
      communities: 1,
      extendedCommunities: 1,
      largeCommunities: 1,
      clusterList: 1,
      unknownBytes: 3,
    };
    const path = `${without("asPath")} 40 02 06 0201 0000fc00`;
    const over = [
      MANDATORY,
      `${path} c0 08 08 fc000001 fc000002`,
      `${path} c0 10 10 ${"00".repeat(16)}`,
      `${path} c0 20 18 ${"00".repeat(24)}`,
      `${path} 80 0a 08 ${"00".repeat(8)}`,
      `${path} c0 e9 02 0000 c0 ea 02 0000`,
    ];
    for (const attributes of over) {
      expect(outcome(body(attributes, NLRI), "ibgp", SESSION, limits)).toEqual(WITHDRAWN);
      expect(outcome(body(attributes, NLRI)).reached).toBe(1);
    }
    expect(outcome(body(`${path} c0 08 04 fc000001 c0 e9 03 000000`, NLRI), "ibgp", SESSION, limits).reached).toBe(1);
  });
});

describe("attribute discard", () => {
  test.each<[string, string, Negotiated]>([
    ["ATOMIC_AGGREGATE of one byte (7.6)", "40 06 01 00", SESSION],
    ["ATOMIC_AGGREGATE as optional (3 f)", "c0 06 00", SESSION],
    ["AGGREGATOR of six bytes (7.7)", "c0 07 06 fc00 0a000002", SESSION],
    ["AGGREGATOR that is not transitive", "80 07 08 0000fc00 0a000002", SESSION],
    ["AGGREGATOR of AS 0 (RFC 7607)", "c0 07 08 00000000 0a000002", SESSION],
    ["AGGREGATOR of eight bytes from a two-octet speaker", "c0 07 08 0000fc00 0a000002", TWO_OCTETS],
    ["AS4_PATH with half a segment (RFC 6793 6)", "c0 11 04 0201 0000", TWO_OCTETS],
    ["AS4_PATH of no length", "c0 11 00", TWO_OCTETS],
    ["AS4_PATH that is not transitive", "80 11 06 0201 0000fc00", TWO_OCTETS],
    ["AS4_AGGREGATOR of six bytes", "c0 12 06 fc00 0a000002", TWO_OCTETS],
    ["the second of two attributes (3 g)", GOOD.origin.replace("00", "02"), SESSION],
  ])("%s", (_, attribute, negotiated) => {
    const path = negotiated.fourOctetAsn ? GOOD.asPath : "40 02 06 0202 fc00 5ba0";
    const [update] = decodeUpdate(body(`${without("asPath")} ${path} ${attribute}`, NLRI), negotiated, {
      peer: "ibgp",
    });
    expect(update!.problems).toEqual([expect.stringContaining("discarded")]);
    expect(update!.reached).toHaveLength(1);
    expect(update!.attributes()).toMatchObject({ origin: 0, atomicAggregate: false });
    expect(update!.attributes().aggregator).toBeUndefined();
  });

  test.each([
    ["LOCAL_PREF (7.5)", "40 05 04 00000064"],
    ["malformed LOCAL_PREF", "c0 05 01 00"],
    ["ORIGINATOR_ID (7.9)", "80 09 04 0a000003"],
    ["malformed ORIGINATOR_ID", "80 09 00"],
    ["CLUSTER_LIST (7.10)", "80 0a 04 00000001"],
    ["malformed CLUSTER_LIST", "80 0a 03 000000"],
  ])("%s from an eBGP peer is as if it were not there", (_, attribute) => {
    const [update] = decodeUpdate(body(`${MANDATORY} ${attribute}`, NLRI), SESSION, { peer: "ebgp" });
    expect(update!.reached).toHaveLength(1);
    expect(toHex(update!.attributesKey)).toBe(toHex(hex(MANDATORY)));
  });

  test("the strongest action counts (3 h)", () => {
    expect(outcome(body(`${MANDATORY} 40 06 01 00 c0 08 00`, NLRI))).toMatchObject({ withdrawn: 1, reached: 0 });
  });

  test("a second one is discarded even where the first was at fault", () => {
    expect(outcome(body(`${MANDATORY} 40 06 01 00 40 06 00`, NLRI)).problems).toHaveLength(2);
  });

  test("words are few, however many attributes are wrong", () => {
    const { problems } = outcome(body(`${MANDATORY} ${"40 01 00".repeat(500)}`, NLRI));
    expect(problems).toHaveLength(9);
    expect(problems.at(-1)).toBe("and 492 more");
  });
});

describe("session reset", () => {
  const NO_DATA = new Uint8Array(0);

  test.each<[string, Uint8Array, number]>([
    ["withdrawn routes that exceed the message (RFC 4271 6.3)", hex("0005 0000"), 1],
    ["no room for the length of the attributes", hex("0002 0000"), 1],
    ["attributes that exceed the message", hex("0000 0001"), 1],
    ["prefixes of 33 bits (5.3)", body(MANDATORY, "21 0a00000001"), 10],
    ["a prefix that ends after the message", body(MANDATORY, "20 0a0000"), 10],
    ["withdrawn prefixes of 33 bits (3 i)", body("", "", "21 0a00000001"), 10],
    ["a withdrawn prefix that ends after its field", body(MANDATORY, NLRI, "18 0a"), 10],
    ["MP_REACH_NLRI twice (3 g)", body(`${REACH_V6} ${REACH_V6} ${GOOD.origin} ${GOOD.asPath}`), 1],
    ["MP_UNREACH_NLRI twice", body(`${UNREACH_V6} ${UNREACH_V6}`), 1],
    ["MP_REACH_NLRI that ends after the attributes", body(`${MANDATORY} 80 0e ff 0002`, NLRI), 1],
    ["MP_UNREACH_NLRI that ends after the attributes", body(`${MANDATORY} 80 0f 08 0002 01`, NLRI), 1],
    ["attributes without prefixes, and one to withdraw for (5.2)", body(`${GOOD.origin} c0 08 00`), 1],
    ["the same with withdrawn routes", body("40 01 00", "", NLRI), 1],
    ["the same with MP_UNREACH_NLRI", body(`${UNREACH_V6} 40 01 00`), 1],
  ])("%s", (_, bytes, subcode) => {
    expect(reset(bytes)).toEqual({ code: 3, subcode, data: NO_DATA });
  });

  test.each<[string, string]>([
    ["MP_REACH_NLRI of four bytes", "80 0e 04 0002 01 00"],
    ["MP_REACH_NLRI as transitive", `c0${REACH_V6.slice(2)}`],
    ["a next hop of 4 bytes for IPv6 (7.11)", "80 0e 0c 0002 01 04 0a000001 00 10 2001"],
    ["a next hop of 24", `80 0e 20 0002 01 18 ${"20".repeat(24)} 00 10 2001`],
    ["a next hop that ends after the attribute", "80 0e 06 0002 01 10 2001"],
    [
      "a next hop of 16 bytes for IPv4, not agreed on (RFC 8950)",
      `80 0e 1a 0001 01 10 ${"20".repeat(16)} 00 1a 0a000040`,
    ],
    ["a prefix of 129 bits", `80 0e 27 0002 01 10 ${"20".repeat(16)} 00 81 ${"00".repeat(17)}`],
    ["MP_UNREACH_NLRI of two bytes", "80 0f 02 0002"],
    ["MP_UNREACH_NLRI as well-known", `40${UNREACH_V6.slice(2)}`],
    ["a withdrawn prefix that ends after the attribute", "80 0f 05 0002 01 30 20"],
  ])("%s goes back as an optional attribute's error (RFC 4760 7)", (_, attribute) => {
    expect(reset(body(`${attribute} ${GOOD.origin} ${GOOD.asPath}`))).toEqual({
      code: 3,
      subcode: 9,
      data: hex(attribute),
    });
  });

  test("path identifiers that were not agreed on, or are missing", () => {
    expect(reset(body(MANDATORY, `0000001a ${NLRI}`)).subcode).toBe(10);
    expect(reset(body(MANDATORY, NLRI), { ...SESSION, addPathReceive: [4] }).subcode).toBe(10);
  });

  test("not where nothing is reached and the attribute could be discarded", () => {
    expect(outcome(body(`${GOOD.origin} 40 06 01 00`, "", NLRI))).toMatchObject({ withdrawn: 1, reached: 0 });
  });

  test("not where the prefixes are of a family that is not spoken here", () => {
    const labelled = "80 0e 0d 0001 04 04 0a000001 00 1a 0a0000";
    expect(outcome(body(`${labelled} ${GOOD.asPath} 40 01 00`))).toMatchObject({ withdrawn: 0, reached: 0 });
  });
});
