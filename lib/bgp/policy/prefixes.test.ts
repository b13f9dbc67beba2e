import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Cidr, cidrContains, cidrFromAddress, formatCidr, parseCidr, sameCidr } from "../../ip/index.ts";
import type { Prefix } from "../rib/index.ts";
import { CidrIndex, Net, prefixIn } from "./prefixes.ts";

/** Few bits differ, so that networks hold each other often. */
const cidrOf = (version: 4 | 6): fc.Arbitrary<Cidr> => {
  const width = version === 4 ? 32 : 128;
  return fc
    .tuple(
      fc.constantFrom(0n, 1n, 2n, (1n << BigInt(width)) - 1n, 5n << BigInt(width - 8)),
      fc.nat({ max: width }),
      fc.nat({ max: 7 }),
    )
    .map(([base, length, low]) =>
      cidrFromAddress(
        { version, value: base ^ ((BigInt(low) << BigInt(Math.max(0, width - length))) % (1n << BigInt(width))) },
        length,
      ),
    );
};
const family = fc.constantFrom(4 as const, 6 as const);
const signed = (prefix: Prefix): Prefix => ({
  ...prefix,
  words: prefix.words.map((word) => word | 0) as [number, number, number, number],
});

describe("prefixes as numbers", () => {
  it("lie within a CIDR, or are it, exactly when their text says so; words with sign or without", () => {
    const cases = family.chain((version) => fc.tuple(cidrOf(version), cidrOf(version), fc.boolean()));
    fc.assert(
      fc.property(cases, ([outer, inner, negative]) => {
        const net = new Net(formatCidr(outer), outer.version);
        const prefix = prefixIn(inner.version, formatCidr(inner));
        expect(net.covers(negative ? signed(prefix) : prefix)).toBe(cidrContains(outer, inner));
        expect(net.equals(negative ? signed(prefix) : prefix)).toBe(sameCidr(outer, inner));
      }),
    );
  });

  it("find the first CIDR of a list that holds them, as a search from its beginning does", () => {
    const cases = family.chain((version) =>
      fc.tuple(fc.array(cidrOf(version), { maxLength: 30 }), cidrOf(version), fc.boolean()),
    );
    fc.assert(
      fc.property(cases, ([list, inner, negative]) => {
        const index = new CidrIndex(list.map(formatCidr), inner.version);
        const prefix = prefixIn(inner.version, formatCidr(inner));
        const place = list.findIndex((outer) => cidrContains(outer, inner));
        expect(index.first(negative ? signed(prefix) : prefix)).toBe(place);
        expect(index.lengthAt(place)).toBe(list[place]?.length ?? -1);
      }),
    );
  });

  it("are of their own family only", () => {
    expect(() => new CidrIndex(["fd00::/64"], 4)).toThrow(RangeError);
    expect(() => new Net("10.0.0.0/8", 6)).toThrow('"10.0.0.0/8" is no IPv6 CIDR');
    expect(parseCidr("10.0.0.0/8").base).toBe(BigInt(prefixIn(4, "10.0.0.0/8").words[0]));
  });
});
