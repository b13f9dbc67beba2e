import { isIP } from "node:net";
import fc from "fast-check";
import { Address4, Address6 } from "ip-address";
import { describe, expect, test } from "vitest";
import {
  type Address,
  addressAt,
  addressBytes,
  addressFromBytes,
  type Cidr,
  cidrContains,
  cidrFromAddress,
  cidrOverlaps,
  cidrSize,
  compareAddresses,
  containsAddress,
  eui64LinkLocal,
  formatAddress,
  formatCidr,
  formatMac,
  hostCidr,
  offsetOf,
  parseAddress,
  parseCidr,
  parseMac,
  sameCidr,
  subnetAt,
  tryParseAddress,
  tryParseCidr,
} from "./index.ts";

const v4: fc.Arbitrary<Address> = fc.nat(0xffff_ffff).map((value) => ({ version: 4, value: BigInt(value) }));
/** Groups that are often zero, so that `::` appears in every place. IPv4-mapped addresses are IPv4 here and left out. */
const v6: fc.Arbitrary<Address> = fc
  .array(fc.oneof(fc.constant(0), fc.constant(0xffff), fc.nat(0xffff)), { minLength: 8, maxLength: 8 })
  .map((groups) => groups.reduce((value, group) => (value << 16n) | BigInt(group), 0n))
  .filter((value) => value >> 32n !== 0xffffn)
  .map((value) => ({ version: 6, value }));
const address = fc.oneof(v4, v6);
const cidr: fc.Arbitrary<Cidr> = fc
  .tuple(address, fc.nat(128))
  .map(([base, length]) => cidrFromAddress(base, base.version === 4 ? length % 33 : length));
/** Two networks near each other, so that they often overlap. */
const neighbours = fc.tuple(address, fc.nat(32), fc.nat(32), fc.nat(300)).map(([base, a, b, offset]): [Cidr, Cidr] => {
  const bits = base.version === 4 ? 32 : 128;
  const other = { version: base.version, value: (base.value + BigInt(offset)) % (1n << BigInt(bits)) };
  return [cidrFromAddress(base, bits - a), cidrFromAddress(other, bits - b)];
});

const peer = (of: Address | Cidr) => {
  const value = "value" in of ? of.value : of.base;
  const suffix = "length" in of ? `/${of.length}` : "";
  return of.version === 4
    ? new Address4(Address4.fromBigInt(value).address + suffix)
    : new Address6(Address6.fromBigInt(value).address + suffix);
};

describe("addresses", () => {
  test.each([
    ["0.0.0.0", 4, 0n],
    ["255.255.255.255", 4, 0xffffffffn],
    ["::", 6, 0n],
    ["::1", 6, 1n],
    ["1::", 6, 1n << 112n],
    ["FE80::A", 6, (0xfe80n << 112n) + 10n],
    ["::1.2.3.4", 6, 0x01020304n],
    ["64:ff9b::1.2.3.4", 6, (0x64n << 112n) + (0xff9bn << 96n) + 0x01020304n],
    ["::ffff:1.2.3.4", 4, 0x01020304n],
    ["::ffff:102:304", 4, 0x01020304n],
    ["1:2:3:4:5:6:7::", 6, 0x0001_0002_0003_0004_0005_0006_0007_0000n],
    ["::2:3:4:5:6:7:8", 6, 0x0000_0002_0003_0004_0005_0006_0007_0008n],
  ])("%s is an address", (text, version, value) => {
    expect(parseAddress(text)).toEqual({ version, value });
  });

  test.each([
    "",
    " ",
    "1.2.3",
    "1.2.3.4.5",
    "1.2.3.256",
    "01.2.3.4",
    "1.2.3.4 ",
    "1.2.3.-4",
    "0x1.2.3.4",
    "1e-7.2.3.4",
    "1e2.2.3.4",
    "NaN.2.3.4",
    "1.2.3.4/8",
    "1.2..4",
    ":",
    ":::",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1:2:3:4:5:6:7:8::",
    "::1:2:3:4:5:6:7:8",
    "1::2::3",
    "12345::",
    "g::",
    "1.2.3.4::",
    "::1.2.3.4:5",
    "::1.2.3",
    "fe80::1%eth0",
    ":1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7:8:",
    "[::1]",
    "::1\n",
  ])("%j is none", (text) => {
    expect(tryParseAddress(text)).toBeUndefined();
    expect(() => parseAddress(text)).toThrow(RangeError);
  });

  test("any text is read as the system reads it", () => {
    const pieces = fc.constantFrom("0", "1", "ff", "ffff", "255", "256", "01", ":", "::", ".", "1.2.3.4", "g", "-");
    const texts = fc.oneof(
      fc.array(pieces, { maxLength: 15 }).map((list) => list.join("")),
      fc.ipV4(),
      fc.ipV6(),
    );
    fc.assert(
      fc.property(texts, (text) => {
        expect(tryParseAddress(text) !== undefined, text).toBe(isIP(text) !== 0);
      }),
      { numRuns: 5000 },
    );
  });

  test("the number of a text and the text of a number are those of ip-address", () => {
    fc.assert(
      fc.property(address, (a) => {
        const other = peer(a);
        expect(formatAddress(a)).toBe(other.correctForm());
        expect(parseAddress(other.address)).toEqual(a);
        expect(parseAddress(other.correctForm()).value).toBe(other.bigInt());
      }),
      { numRuns: 3000 },
    );
  });

  test("generated texts mean what ip-address says", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const a = parseAddress(text);
        const value = new Address6(text).bigInt();
        expect(a).toEqual(
          value >> 32n === 0xffffn ? { version: 4, value: value & 0xffffffffn } : { version: 6, value },
        );
      }),
      { numRuns: 2000 },
    );
  });

  test("text, bytes and offsets lead back", () => {
    fc.assert(
      fc.property(address, fc.bigInt({ min: -300n, max: 300n }), (a, offset) => {
        expect(parseAddress(formatAddress(a))).toEqual(a);
        expect(addressFromBytes(addressBytes(a))).toEqual(a);
        const digits = a.version === 4 ? 8 : 32;
        expect(Buffer.from(addressBytes(a)).toString("hex")).toBe(peer(a).bigInt().toString(16).padStart(digits, "0"));
        expect(offsetOf(a, addressAt(a, offset))).toBe(offset);
      }),
    );
    expect(() => addressFromBytes(new Uint8Array(5))).toThrow("an address has 4 or 16 bytes, not 5");
  });

  test("the order is total, IPv4 first", () => {
    fc.assert(
      fc.property(fc.array(address), (list) => {
        const sorted = list.toSorted(compareAddresses);
        for (let i = 1; i < sorted.length; i++) {
          const [a, b] = [sorted[i - 1]!, sorted[i]!];
          expect(a.version < b.version || (a.version === b.version && a.value <= b.value)).toBe(true);
        }
      }),
    );
  });
});

describe("networks", () => {
  test.each([
    ["10.1.2.3/8", "10.0.0.0/8"],
    ["10.1.2.3/0", "0.0.0.0/0"],
    ["10.1.2.3/32", "10.1.2.3/32"],
    ["FD00:0:0::1/64", "fd00::/64"],
    ["fd00::1/128", "fd00::1/128"],
    ["::/0", "::/0"],
  ])("%s is %s", (text, canonical) => {
    expect(formatCidr(parseCidr(text))).toBe(canonical);
  });

  test.each([
    "10.0.0.0",
    "10.0.0.0/",
    "10.0.0.0/33",
    "::/129",
    "10.0.0.0/08",
    "10.0.0.0/-1",
    "10.0.0.0/-0",
    "10.0.0.0/8.5",
    "10.0.0.0/1e1",
    "10.0.0.0/1e-7",
    "::/NaN",
    "10.0.0.0/8/8",
    "/8",
    "x/8",
    "::ffff:1.2.3.4/96",
    "10.0.0.0/ 8",
  ])("%j is none", (text) => {
    expect(tryParseCidr(text)).toBeUndefined();
    expect(() => parseCidr(text)).toThrow(`"${text}" is not a CIDR`);
  });

  test("bounds, size and membership are those of ip-address", () => {
    fc.assert(
      fc.property(cidr, fc.bigInt({ min: -2n, max: 300n }), (c, offset) => {
        const other = peer(c);
        expect(formatCidr(c)).toBe(`${other.startAddress().correctForm()}/${c.length}`);
        expect(c.base + cidrSize(c) - 1n).toBe(other.endAddress().bigInt());
        const bits = c.version === 4 ? 32n : 128n;
        const a: Address = { version: c.version, value: BigInt.asUintN(Number(bits), c.base + offset) };
        expect(containsAddress(c, a)).toBe(peer(hostCidr(a)).isInSubnet(other));
        expect(containsAddress(c, { version: c.version === 4 ? 6 : 4, value: a.value & 0xffffffffn })).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  test("containment and overlap are those of the sets of addresses", () => {
    fc.assert(
      fc.property(neighbours, ([a, b]) => {
        const lastOf = (c: Cidr) => c.base + cidrSize(c) - 1n;
        expect(cidrContains(a, b)).toBe(a.base <= b.base && lastOf(a) >= lastOf(b));
        expect(cidrOverlaps(a, b)).toBe(a.base <= lastOf(b) && b.base <= lastOf(a));
        expect(cidrOverlaps(a, b)).toBe(cidrOverlaps(b, a));
        expect(sameCidr(a, b)).toBe(cidrContains(a, b) && cidrContains(b, a));
        expect(cidrContains(a, b)).toBe(peer(b).isInSubnet(peer(a)));
      }),
      { numRuns: 2000 },
    );
    expect(cidrOverlaps(parseCidr("0.0.0.0/0"), parseCidr("::/0"))).toBe(false);
  });

  test("subnets tile their network", () => {
    fc.assert(
      fc.property(cidr, fc.nat(6), (c, more) => {
        const length = Math.min(c.version === 4 ? 32 : 128, c.length + more);
        const count = 2 ** (length - c.length);
        let next = c.base;
        for (let i = 0; i < count; i++) {
          const subnet = subnetAt(c, length, i);
          expect(subnet.base).toBe(next);
          expect(cidrContains(c, subnet)).toBe(true);
          next += cidrSize(subnet);
        }
        expect(next).toBe(c.base + cidrSize(c));
      }),
    );
  });

  test("the text leads back", () => {
    fc.assert(
      fc.property(cidr, (c) => {
        expect(parseCidr(formatCidr(c))).toEqual(c);
      }),
    );
  });
});

describe("MAC addresses", () => {
  test("text leads back, also with dashes and capitals", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (mac) => {
        const text = formatMac(mac);
        expect(text).toMatch(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
        expect(parseMac(text)).toEqual(mac);
        expect(parseMac(text.replaceAll(":", "-").toUpperCase())).toEqual(mac);
      }),
    );
  });

  test.each([
    "",
    "ee:ee:ee:ee:ee",
    "ee:ee:ee:ee:ee:ee:ee",
    "eeee.eeee.eeee",
    "gg:ee:ee:ee:ee:ee",
    "ee:ee:ee:ee:ee:ee\n",
  ])("%j is none", (text) => {
    expect(() => parseMac(text)).toThrow(RangeError);
  });

  test("the link-local address is the kernel's", () => {
    expect(formatAddress(eui64LinkLocal(parseMac("ee:ee:ee:ee:ee:ee")))).toBe("fe80::ecee:eeff:feee:eeee");
    expect(formatAddress(eui64LinkLocal(parseMac("02:00:5e:10:00:01")))).toBe("fe80::5eff:fe10:1");
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 6, maxLength: 6 }), (mac) => {
        const address = eui64LinkLocal(mac);
        const made =
          new Address6(`fe80::/64`).bigInt() +
          Address6.fromByteArray([
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            mac[0]! ^ 2,
            mac[1]!,
            mac[2]!,
            255,
            254,
            mac[3]!,
            mac[4]!,
            mac[5]!,
          ]).bigInt();
        expect(address).toEqual({ version: 6, value: made });
      }),
    );
  });
});
