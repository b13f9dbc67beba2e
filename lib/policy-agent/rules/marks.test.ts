import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { allocateMarks, EndpointMarks, RulesError } from "./marks.ts";

const plain = { wireguard: false, ipvs: false };

describe("bits of the mark", () => {
  it("are upstream's with upstream's mask", () => {
    expect(allocateMarks(0xffff0000, plain)).toEqual({
      accept: 0x10000,
      pass: 0x20000,
      drop: 0x40000,
      scratch0: 0x80000,
      scratch1: 0x100000,
      endpoint: 0,
      nonCaliEndpoint: 0,
    });
    expect(allocateMarks(0xffff0000, { wireguard: false, ipvs: true })).toMatchObject({
      endpoint: 0xffe00000,
      nonCaliEndpoint: 0x200000,
    });
    expect(allocateMarks(0xffff0000, { wireguard: true, ipvs: true })).toMatchObject({
      endpoint: 0xffc00000,
      nonCaliEndpoint: 0x400000,
    });
  });
  it("are taken from whatever mask there is, low to high", () => {
    expect(allocateMarks(0x80000f01, plain)).toMatchObject({ accept: 1, pass: 0x100, scratch1: 0x800 });
    expect(allocateMarks(0xf8000000, plain)).toMatchObject({ scratch1: 0x80000000 });
  });
  it("must be enough", () => {
    expect(() => allocateMarks(0xf, plain)).toThrow(RulesError);
    expect(() => allocateMarks(0x3f, { wireguard: false, ipvs: true })).toThrow(
      "RULES_MARK_MASK: mark mask 0x3f has 6 bits, 7 are needed; give IptablesMarkMask or NftablesMarkMask more",
    );
  });
});

describe("marks of endpoints", () => {
  it("are different, within the mask, neither zero nor reserved, and stay until they are released", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 20 }), (names) => {
        const marks = new EndpointMarks(0xaa800000, 0x800000);
        const got = names.map((name) => marks.get(name));
        // Five bits hold 32 numbers, less zero and the reserved one.
        expect(got.every((mark) => mark !== undefined && mark !== 0 && mark !== 0x800000)).toBe(true);
        expect(got.every((mark) => (mark! & ~0xaa800000) === 0)).toBe(true);
        expect(new Set(got).size).toBe(names.length);
        expect(names.map((name) => marks.get(name))).toEqual(got);
      }),
    );
  });
  it("do not depend on the order in which endpoints come, as long as they do not collide", () => {
    const one = new EndpointMarks(0xffe00000, 0x200000);
    const other = new EndpointMarks(0xffe00000, 0x200000);
    other.get("cali9");
    expect(other.get("cali1")).toBe(one.get("cali1"));
  });
  it("run out, and come back", () => {
    const marks = new EndpointMarks(0b11, 0b01);
    expect([marks.get("a"), marks.get("b")].sort()).toEqual([2, 3]);
    expect(marks.get("c")).toBeUndefined();
    marks.release("a");
    expect(marks.get("c")).toBeDefined();
    marks.release("never");
  });
});
