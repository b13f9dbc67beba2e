import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { countPrefixes, eachPrefix, type Family, type Nlri, PrefixWriter } from "./index.ts";
import { nlriFault } from "./nlri.ts";
import { anyPrefixes, hex, referencePrefixes, type TestPrefix, toHex } from "./testing.ts";

function pack(family: Family, addPath: boolean, prefixes: readonly TestPrefix[]): PrefixWriter {
  const writer = new PrefixWriter(family, addPath, 16);
  for (const { length, words, pathId } of prefixes) writer.add(length, ...words, pathId);
  return writer;
}

function walk(nlri: Nlri): TestPrefix[] {
  const out: TestPrefix[] = [];
  eachPrefix(nlri, (length, w0, w1, w2, w3, pathId) => out.push({ length, words: [w0, w1, w2, w3], pathId }));
  return out;
}

const text = (family: Family, addPath: boolean) => (prefix: TestPrefix) => {
  const words = prefix.words.slice(0, family === 4 ? 1 : 4).map((word) => (word >>> 0).toString(16).padStart(8, "0"));
  return `${words.join("")}/${prefix.length}${addPath ? `#${prefix.pathId}` : ""}`;
};

const kinds: readonly [Family, boolean][] = [
  [4, false],
  [4, true],
  [6, false],
  [6, true],
];

describe.each(kinds)("prefixes of IPv%i, with path identifiers: %s", (family, addPath) => {
  test("what is packed is walked again", () => {
    fc.assert(
      fc.property(anyPrefixes(family, { maxLength: 30 }), (prefixes) => {
        const writer = pack(family, addPath, prefixes);
        expect(walk(writer.nlri)).toEqual(prefixes.map((prefix) => (addPath ? prefix : { ...prefix, pathId: 0 })));
        expect(countPrefixes(writer.nlri)).toBe(prefixes.length);
        expect(writer.count).toBe(prefixes.length);
        expect(nlriFault(writer.bytes, 0, writer.bytes.length, family, addPath)).toBeUndefined();
      }),
    );
  });

  test("valid bytes of any origin are read as a naive decoder reads them", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        fc.pre(nlriFault(bytes, 0, bytes.length, family, addPath) === undefined);
        const walked = walk({ family, addPath, bytes }).map(text(family, addPath));
        expect(walked).toEqual(referencePrefixes(family, bytes, addPath));
      }),
      { numRuns: 300 },
    );
  });

  test("a field that is cut anywhere but between prefixes is at fault", () => {
    fc.assert(
      fc.property(anyPrefixes(family, { minLength: 1, maxLength: 6 }), (prefixes) => {
        const { bytes } = pack(family, addPath, prefixes);
        const ends = new Set<number>([0]);
        for (let i = 1; i <= prefixes.length; i++) ends.add(pack(family, addPath, prefixes.slice(0, i)).bytes.length);
        for (let cut = 0; cut <= bytes.length; cut++) {
          expect(nlriFault(bytes, 0, cut, family, addPath) === undefined).toBe(ends.has(cut));
        }
      }),
      { numRuns: 50 },
    );
  });
});

test("the bytes of RFC 4271 4.3: length, then as many bytes as it needs", () => {
  const writer = new PrefixWriter(4);
  writer.add(0, 0, 0, 0, 0);
  writer.add(8, 0x0a000000, 0, 0, 0);
  writer.add(26, 0x0a000040, 0, 0, 0);
  writer.add(32, 0x0a010203, 0, 0, 0);
  expect(toHex(writer.bytes)).toBe(toHex(hex("00 08 0a 1a 0a000040 20 0a010203")));
  writer.clear();
  expect([writer.count, writer.bytes.length]).toEqual([0, 0]);
});

test("bits behind the length are cut off, in both directions", () => {
  const writer = new PrefixWriter(4);
  writer.add(9, 0xffffffff, 0, 0, 0);
  expect(toHex(writer.bytes)).toBe("09ff80");
  expect(walk({ family: 4, addPath: false, bytes: hex("09 ffff 00") }).map(text(4, false))).toEqual([
    "ff800000/9",
    "00000000/0",
  ]);
});

test("words are signed, path identifiers are not", () => {
  const [prefix] = walk({ family: 4, addPath: true, bytes: hex("ffffffff 20 c0000201") });
  expect(prefix).toEqual({ length: 32, words: [0xc0000201 | 0, 0, 0, 0], pathId: 0xffffffff });
});

test.each<[string, Family, boolean, string]>([
  ["33 bits of IPv4", 4, false, "21 0a00000001"],
  ["129 bits of IPv6", 6, false, `81 ${"00".repeat(17)}`],
  ["a path identifier alone", 4, true, "00000001"],
  ["half of one", 4, true, "0000"],
])("at fault: %s", (_, family, addPath, bytes) => {
  expect(nlriFault(hex(bytes), 0, hex(bytes).length, family, addPath)).toBeTypeOf("string");
});
