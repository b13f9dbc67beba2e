import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  countPrefixes,
  decodeUpdate,
  type EncodedAttributes,
  encodeAttributes,
  encodeEndOfRib,
  encodeUpdates,
  type Family,
  type Negotiated,
  type PathAttributes,
  PrefixWriter,
  UpdateWriter,
} from "./index.ts";
import { anyPrefixes, hex, SESSION, type TestPrefix, toHex } from "./testing.ts";

const MARKER = "ff".repeat(16);
const V4: PathAttributes = {
  origin: 0,
  asPath: [{ type: "sequence", asns: [64512, 4_200_000_000] }],
  nextHop: { version: 4, value: 0x0a000001n },
  localPref: 100,
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
};
const V6: PathAttributes = { ...V4, nextHop: { version: 6, value: (0x20010db8n << 96n) | 1n } };
const WIDE: Negotiated = { ...SESSION, extendedNextHop: true };

function write(negotiated: Negotiated, work: (writer: UpdateWriter) => void): Uint8Array[] {
  const messages: Uint8Array[] = [];
  const writer = new UpdateWriter(negotiated, (message) => messages.push(message));
  work(writer);
  writer.flush();
  return messages;
}

const digits = (messages: readonly Uint8Array[]) => messages.map(toHex);
const expected = (...messages: string[]) => messages.map((message) => toHex(hex(`${MARKER} ${message}`)));

describe("the bytes", () => {
  const encoded = encodeAttributes(V4, SESSION, { family: 4 });

  test("of IPv4: the field of RFC 4271", () => {
    const messages = write(SESSION, (writer) => {
      writer.reach(encoded);
      writer.add(26, 0x0a000040, 0, 0, 0);
      writer.add(0, 0, 0, 0, 0);
    });
    const attributes = "40 01 01 00 40 02 0a 0202 0000fc00 fa56ea00 40 03 04 0a000001 40 05 04 00000064";
    expect(digits(messages)).toEqual(expected(`003c 02 0000 001f ${attributes} 1a 0a000040 00`));
  });

  test("of IPv6: MP_REACH_NLRI first (RFC 7606 5.1), without NEXT_HOP", () => {
    const messages = write(SESSION, (writer) => {
      writer.reach(encodeAttributes(V6, SESSION, { family: 6 }));
      writer.add(64, 0x20010db8, 0x00010002, 0, 0);
    });
    const reach = "90 0e 001e 0002 01 10 20010db8000000000000000000000001 00 40 20010db800010002";
    expect(digits(messages)).toEqual(
      expected(`0051 02 0000 003a ${reach} 40 01 01 00 40 02 0a 0202 0000fc00 fa56ea00 40 05 04 00000064`),
    );
  });

  test("of IPv4 over an IPv6 next hop (RFC 8950 3)", () => {
    const messages = write(WIDE, (writer) => {
      writer.reach(encodeAttributes(V6, WIDE, { family: 4 }));
      writer.add(26, 0x0a000040, 0, 0, 0);
    });
    expect(digits(messages)[0]).toContain(
      "900e001a" + "000101" + "10" + "20010db8000000000000000000000001" + "00" + "1a0a000040",
    );
    expect(() => encodeAttributes(V6, SESSION, { family: 4 })).toThrow(RangeError);
  });

  test("of withdrawals", () => {
    const withdrawn = (family: Family, negotiated: Negotiated) =>
      digits(
        write(negotiated, (writer) => {
          writer.withdraw(family);
          writer.add(26, 0x0a000040, 0, 0, 0);
        }),
      );
    expect(withdrawn(4, SESSION)).toEqual(expected("001c 02 0005 1a 0a000040 0000"));
    expect(withdrawn(4, WIDE)).toEqual(expected("0023 02 0000 000c 90 0f 0008 0001 01 1a 0a000040"));
    expect(withdrawn(6, SESSION)).toEqual(expected("0023 02 0000 000c 90 0f 0008 0002 01 1a 0a000040"));
  });

  test("of path identifiers (RFC 7911 3)", () => {
    const messages = write({ ...SESSION, addPathSend: [4] }, (writer) => {
      writer.withdraw(4);
      writer.add(8, 0x0a000000, 0, 0, 0, 0xfffffffe);
    });
    expect(digits(messages)).toEqual(expected("001d 02 0006 fffffffe 08 0a 0000"));
  });

  test("of the end of a table (RFC 4724 2)", () => {
    expect(digits([encodeEndOfRib(4), encodeEndOfRib(6)])).toEqual(
      expected("0017 02 0000 0000", "001d 02 0000 0006 80 0f 03 0002 01"),
    );
  });

  test("of attributes on a two-octet session (RFC 6793 4.2.2)", () => {
    const attributes = { ...V4, aggregator: { asn: 4_200_000_000, address: 1 }, atomicAggregate: true };
    const { bytes } = encodeAttributes(attributes, { ...SESSION, fourOctetAsn: false }, { family: 4 });
    expect(toHex(bytes)).toBe(
      toHex(
        hex(
          "40 01 01 00 40 02 06 0202 fc00 5ba0 40 03 04 0a000001 40 05 04 00000064 40 06 00 c0 07 06 5ba0 00000001 " +
            "c0 11 0a 0202 0000fc00 fa56ea00 c0 12 08 fa56ea00 00000001",
        ),
      ),
    );
  });

  test("a path of more than 255 AS numbers has several segments", () => {
    const asns = Array.from({ length: 300 }, (_, i) => i + 1);
    const { bytes } = encodeAttributes({ ...V4, asPath: [{ type: "sequence", asns }] }, SESSION, { family: 4 });
    expect(toHex(bytes.subarray(4, 10))).toBe("500204b4" + "02ff");
  });

  test("an unknown attribute is marked Partial (RFC 4271 5)", () => {
    const { bytes } = encodeAttributes({ ...V4, unknown: [{ flags: 0xc0, type: 233, value: hex("01") }] }, SESSION, {
      family: 4,
    });
    expect(toHex(bytes.subarray(-4))).toBe("e0e90101");
  });

  test("an IPv4 next hop of IPv6 is written as IPv4-mapped", () => {
    const { nextHop } = encodeAttributes(V4, SESSION, { family: 6 });
    expect(toHex(nextHop!)).toBe("00000000000000000000ffff0a000001");
  });
});

describe("messages are full, and never too long", () => {
  const kinds = fc.record({
    family: fc.constantFrom<Family>(4, 6),
    addPath: fc.boolean(),
    extendedMessages: fc.boolean(),
    way: fc.constantFrom("classic", "other", "withdraw"),
  });
  const cases = kinds.chain((kind) =>
    fc.record({
      kind: fc.constant(kind),
      prefixes: anyPrefixes(kind.family, { minLength: 1, maxLength: 3 }),
      times: fc.integer({ min: 1, max: 1500 }),
    }),
  );

  test("one by one or packed, the same messages, from which the same prefixes come", () => {
    fc.assert(
      fc.property(cases, ({ kind, prefixes, times }) => {
        const { family, addPath, extendedMessages, way } = kind;
        const families = addPath ? [family] : [];
        const negotiated: Negotiated = {
          ...SESSION,
          extendedMessages,
          extendedNextHop: way === "other",
          addPathSend: families,
          addPathReceive: families,
        };
        const attributes = family === 6 || way === "other" ? V6 : V4;
        const encoded = encodeAttributes(attributes, negotiated, { family });
        const all: TestPrefix[] = Array.from({ length: times }, () => prefixes).flat();
        const begin = (writer: UpdateWriter) => (way === "withdraw" ? writer.withdraw(family) : writer.reach(encoded));
        const messages = write(negotiated, (writer) => {
          begin(writer);
          for (const { length, words, pathId } of all) writer.add(length, ...words, pathId);
        });

        const packed = new PrefixWriter(family, addPath);
        for (const { length, words, pathId } of all) packed.add(length, ...words, pathId);
        const { nlri } = packed;
        const again = encodeUpdates(
          way === "withdraw" ? { withdrawn: nlri } : { attributes: encoded, reached: nlri },
          negotiated,
        );
        expect(digits(again)).toEqual(digits(messages));

        const limit = extendedMessages ? 65535 : 4096;
        const sizes = messages.map((message) => message.length);
        expect(Math.max(...sizes)).toBeLessThanOrEqual(limit);
        // One more prefix would not have fitted.
        for (const size of sizes.slice(0, -1)) expect(size).toBeGreaterThan(limit - 22);
        const updates = messages.flatMap((message) => decodeUpdate(message.subarray(19), negotiated, { peer: "ibgp" }));
        const fields = updates.flatMap((update) => (way === "withdraw" ? update.withdrawn : update.reached));
        expect(toHex(Uint8Array.from(fields.flatMap(({ bytes }) => [...bytes])))).toBe(toHex(nlri.bytes));
        expect(fields.reduce((sum, field) => sum + countPrefixes(field), 0)).toBe(all.length);
      }),
      { numRuns: 60 },
    );
  });

  test("attributes that leave no room for a prefix are refused, and those that just do are not", () => {
    const sized = (size: number, family: Family): EncodedAttributes => {
      const unknown = [{ flags: 0xe0, type: 233, value: new Uint8Array(size) }];
      return encodeAttributes({ ...(family === 4 ? V4 : V6), unknown }, SESSION, { family });
    };
    for (const family of [4, 6] as const) {
      let most = 0;
      const messages = write(SESSION, (writer) => {
        for (let size = 3900; size < 4096; size++) if (writer.reach(sized(size, family))) most = size;
        expect(writer.reach(sized(most, family))).toBe(true);
        for (let i = 0; i < 6; i++) writer.add(family === 4 ? 32 : 128, i, 0, 0, 0);
      });
      expect(most).toBeGreaterThan(3950);
      expect(messages.length).toBeGreaterThan(1);
      expect(Math.max(...messages.map((message) => message.length))).toBeLessThanOrEqual(4096);
      expect(() =>
        encodeUpdates({ attributes: sized(4096, family), reached: new PrefixWriter(family).nlri }, SESSION),
      ).toThrow(RangeError);
    }
  });
});

describe("one writer for many sets of attributes", () => {
  test("each message has what was said last; none is empty", () => {
    const other = encodeAttributes({ ...V4, med: 5 }, SESSION, { family: 4 });
    const messages = write(SESSION, (writer) => {
      writer.reach(encodeAttributes(V4, SESSION, { family: 4 }));
      writer.add(8, 0x0a000000, 0, 0, 0);
      writer.reach(other);
      writer.withdraw(4);
      writer.add(8, 0x0b000000, 0, 0, 0);
      writer.reach(encodeAttributes(V6, SESSION, { family: 6 }));
      writer.add(16, 0x20010000, 0, 0, 0);
      writer.reach(other);
      writer.add(8, 0x0c000000, 0, 0, 0);
    });
    const updates = messages.flatMap((message) => decodeUpdate(message.subarray(19), SESSION, { peer: "ibgp" }));
    const bytes = (field: "withdrawn" | "reached") =>
      updates.map((update) => update[field].map((nlri) => toHex(nlri.bytes)));
    expect(bytes("reached")).toEqual([["080a"], [], ["102001"], ["080c"]]);
    expect(bytes("withdrawn")).toEqual([[], ["080b"], [], []]);
    expect(updates[0]!.attributes()).toEqual(V4);
    expect(updates[2]!.attributes()).toEqual(V6);
    expect(updates[3]!.attributes()).toEqual({ ...V4, med: 5 });
  });

  test("a message that was emitted is not written over", () => {
    const messages = write(SESSION, (writer) => {
      writer.withdraw(4);
      for (let i = 0; i < 3000; i++) writer.add(32, i, 0, 0, 0);
    });
    const first = messages[0]!.slice();
    expect(messages.length).toBeGreaterThan(2);
    expect(toHex(first.subarray(19 + 2, 19 + 12))).toBe("20000000002000000001");
  });

  test("what is no use of it is said", () => {
    const writer = new UpdateWriter(SESSION, () => {});
    expect(() => writer.add(8, 0, 0, 0, 0)).toThrow(RangeError);
    expect(() => writer.addPacked({ family: 4, addPath: false, bytes: hex("00") })).toThrow(RangeError);
    writer.withdraw(4);
    expect(() => writer.addPacked({ family: 6, addPath: false, bytes: hex("00") })).toThrow(RangeError);
    expect(() => writer.addPacked({ family: 4, addPath: true, bytes: hex("0000000000") })).toThrow(RangeError);
  });
});
