import fc from "fast-check";
import { expect, test } from "vitest";
import { type ControlPacket, decodePacket, encodePacket, PACKET_LENGTH } from "./packet.ts";

const word = fc.integer({ min: 0, max: 0xffff_ffff });
const packets: fc.Arbitrary<ControlPacket> = fc
  .record({
    diagnostic: fc.integer({ min: 0, max: 31 }),
    state: fc.constantFrom("AdminDown", "Down", "Init", "Up"),
    poll: fc.boolean(),
    final: fc.boolean(),
    independent: fc.boolean(),
    demand: fc.boolean(),
    multiplier: fc.integer({ min: 1, max: 255 }),
    myDiscriminator: fc.integer({ min: 1, max: 0xffff_ffff }),
    yourDiscriminator: word,
    desiredMinTx: word,
    requiredMinRx: word,
    requiredMinEchoRx: word,
  } as const)
  .filter(({ state, yourDiscriminator }) => yourDiscriminator !== 0 || state === "Down" || state === "AdminDown");

function encode(packet: ControlPacket): Uint8Array {
  const bytes = new Uint8Array(PACKET_LENGTH);
  encodePacket(packet, bytes);
  return bytes;
}

test("what is encoded is decoded", () => {
  fc.assert(fc.property(packets, (packet) => void expect(decodePacket(encode(packet))).toEqual(packet)));
});

test("bytes that are no packet are answered with a reason, never an exception", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 60 }), (bytes) => {
      const decoded = decodePacket(bytes);
      if (typeof decoded === "string") expect(decoded).not.toBe("");
      else expect(decoded.multiplier).toBeGreaterThan(0);
    }),
  );
});

const good: ControlPacket = {
  diagnostic: 1,
  state: "Init",
  poll: true,
  final: false,
  independent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 0x01020304,
  yourDiscriminator: 0x05060708,
  desiredMinTx: 1_000_000,
  requiredMinRx: 300_000,
  requiredMinEchoRx: 0,
};

test("the bytes are those of RFC 5880 4.1", () => {
  const hex = [...encode(good)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  expect(hex).toBe("21a0031801020304" + "05060708" + "000f4240" + "000493e0" + "00000000");
});

/** A byte of the good packet, made wrong. */
const damages: [string, number, number, RegExp][] = [
  ["another version", 0, 0x41, /version 2/],
  ["a length below 24", 3, 23, /length/],
  ["a length beyond the datagram", 3, 25, /length/],
  ["authentication", 1, 0xa4, /authenticated/],
  ["the multipoint bit", 1, 0xa1, /multipoint/],
  ["a multiplier of 0", 2, 0, /multiplier/],
];

test.each(damages)("a packet with %s is dropped", (_what, at, value, reason) => {
  const bytes = encode(good);
  bytes[at] = value;
  expect(decodePacket(bytes)).toMatch(reason);
});

test("a packet without discriminators is dropped, one without yours only when it claims to be up", () => {
  expect(decodePacket(encode({ ...good, myDiscriminator: 0 }))).toMatch(/discriminator/);
  expect(decodePacket(encode({ ...good, yourDiscriminator: 0 }))).toMatch(/nobody/);
  expect(decodePacket(encode({ ...good, yourDiscriminator: 0, state: "Down" }))).toMatchObject({ state: "Down" });
});

test("what follows the packet is left alone", () => {
  expect(decodePacket(new Uint8Array([...encode(good), 1, 2, 3]))).toEqual(good);
});
