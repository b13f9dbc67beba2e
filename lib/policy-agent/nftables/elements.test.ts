import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressBytes, formatAddress } from "../../ip/index.ts";
import { NetlinkParseError } from "../../netlink/netfilter/index.ts";
import {
  elementText,
  formOf,
  joinListed,
  keyText,
  type ListedElement,
  mapParts,
  type Parts,
  partsOf,
  partsOfText,
  portRangeParts,
  readElements,
  shapeOf,
} from "./elements.ts";

const hex = (bytes: Uint8Array | "open" | undefined): string | undefined =>
  bytes instanceof Uint8Array ? Buffer.from(bytes).toString("hex") : bytes;
const net = (member: string, version: 4 | 6): [string | undefined, string | undefined] => {
  const { key, end } = partsOf({ member, type: "net", version });
  return [hex(key), hex(end)];
};
/** What the kernel lists of an element. */
const listed = ({ key, end }: Parts): ListedElement[] => [
  { key: latin1(key), isEnd: false },
  ...(end instanceof Uint8Array ? [{ key: latin1(end), isEnd: true }] : []),
];
const latin1 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("latin1");

describe("members as elements", () => {
  it("are intervals of addresses", () => {
    expect(net("10.0.0.0/8", 4)).toEqual(["0a000000", "0b000000"]);
    expect(net("10.0.0.255/32", 4)).toEqual(["0a0000ff", "0a000100"]);
    expect(net("10.0.0.255", 4)).toEqual(["0a0000ff", "0a000100"]);
    expect(net("10.64.0.0/10", 4)).toEqual(["0a400000", "0a800000"]);
    expect(net("192.0.0.0/2", 4)).toEqual(["c0000000", "open"]);
    expect(net("255.255.255.255/32", 4)).toEqual(["ffffffff", "open"]);
    expect(net("0.0.0.0/0", 4)).toEqual(["00000000", "open"]);
    expect(net("fd00::ffff/128", 6)[1]).toBe("fd000000000000000000000000010000");
  });

  it("are addresses with protocol and port, each in words of its own", () => {
    const key = (member: string, version: 4 | 6): string | undefined =>
      hex(partsOf({ member, type: "port", version }).key);
    expect(key("10.0.0.1,tcp:80", 4)).toBe("0a0000010600000000500000");
    expect(key("10.0.0.1,SCTP:65535", 4)).toBe("0a00000184000000ffff0000");
    expect(key("10.0.0.1,17:53", 4)).toBe("0a0000011100000000350000");
    expect(key("fd00::1,udp:53", 6)).toBe("fd0000000000000000000000000000011100000000350000");
  });

  it.each([
    ["rubbish", "net"],
    ["fd00::/8", "net"],
    ["10.0.0.0/33", "net"],
    ["10.0.0.1", "port"],
    ["10.0.0.0/8,tcp:1", "port"],
    ["10.0.0.1,tcp:65536", "port"],
    ["10.0.0.1,nonsense:1", "port"],
  ] as const)("that are none are refused: %s in a set of type %s", (member, type) => {
    expect(() => partsOf({ member, type, version: 4 })).toThrow(member.split(",")[0]);
  });

  it("have a text as nft writes it", () => {
    expect(elementText({ member: "10.0.0.0/8", type: "net", version: 4 })).toBe("10.0.0.0/8");
    expect(elementText({ member: "10.0.0.1,tcp:80", type: "port", version: 4 })).toBe("10.0.0.1 . 6 . 80");
    expect(elementText(portRangeParts({ first: 1, last: 9 }))).toBe("1-9");
    expect(elementText(portRangeParts({ first: 65535, last: 65535 }))).toBe("65535");
    expect(elementText(mapParts("cali1", "filter-x"))).toBe('"cali1" : goto filter-x');
    expect(elementText(partsOf({ member: "10.0.0.0/31", type: "net", version: 4 }))).toBe("10.0.0.0-10.0.0.1");
    expect(() => mapParts("sixteen-or-longer", "x")).toThrow("no name of an interface");
  });
});

describe("what the kernel lists", () => {
  it("is joined to the intervals that were sent, in whatever order, touching or not", () => {
    // The lengths of a chain of nets that follow one another, with some left out.
    const blocks = fc.array(fc.tuple(fc.integer({ min: 24, max: 32 }), fc.boolean()), { maxLength: 30 });
    fc.assert(
      fc.property(fc.constantFrom(4 as const, 6 as const), blocks, fc.boolean(), (version, list, nothingFirst) => {
        const bits = version === 4 ? 32 : 128;
        let next = version === 4 ? 0xfff00000n : (0xfd00n << 112n) | 0xff00n;
        const members: string[] = [];
        for (const [length, taken] of list) {
          const size = 1n << BigInt(32 - length);
          next = ((next + size - 1n) / size) * size;
          if (taken) members.push(`${formatAddress({ version, value: next })}/${length + bits - 32}`);
          next += size;
        }
        const sent = members.map((member) => partsOf({ member, type: "net", version }));
        const first: ListedElement[] = nothingFirst
          ? [{ key: latin1(addressBytes({ version, value: 0n })), isEnd: true }]
          : [];
        const joined = joinListed([...first, ...sent.flatMap(listed)].toReversed(), "net");
        expect(joined).toEqual(sent.map(keyText));
        expect(sent.map(keyText).map((text) => keyText(partsOfText(text, "net", version)))).toEqual(sent.map(keyText));
      }),
    );
  });

  it("is refused when it is damaged, and never reads beyond", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        try {
          readElements(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(NetlinkParseError);
        }
      }),
    );
  });

  it("is one of our sets, a foreign one, or part of a rule", () => {
    for (const version of [4, 6] as const) {
      for (const shape of ["net", "port", "ports", "map"] as const) {
        const form = formOf(shape, version);
        expect(shapeOf(form, version)).toBe(shape);
        expect(shapeOf({ ...form, flags: form.flags | 0x10 }, version)).toBe("foreign");
        expect(shapeOf({ ...form, flags: form.flags | 1 }, version)).toBeUndefined();
      }
    }
    expect(shapeOf(formOf("net", 4), 6)).toBe("foreign");
  });
});
