import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Capabilities, decodeOpen, encodeOpen, negotiate, type Open, WireError } from "./index.ts";
import { anyOpen, hex, toHex } from "./testing.ts";

const NOTHING: Capabilities = {
  families: [4],
  routeRefresh: false,
  enhancedRouteRefresh: false,
  extendedMessages: false,
  fourOctetAsn: false,
  addPath: [],
  extendedNextHop: false,
  others: [],
};

/** Version 4, AS 64512, hold time 180, identifier 10.0.0.1, then what is given. */
const open = (rest: string) => hex(`04 fc00 00b4 0a000001 ${rest}`);
/** With one parameter of these capabilities. */
const offering = (capabilities: string) => {
  const { length } = hex(capabilities);
  return decodeOpen(open(`${byte(length + 2)} 02 ${byte(length)} ${capabilities}`));
};
const byte = (value: number) => value.toString(16).padStart(2, "0");

function refusal(bytes: Uint8Array) {
  try {
    decodeOpen(bytes);
  } catch (error) {
    if (error instanceof WireError) return error.notification;
    throw error;
  }
  throw new Error("it was not refused");
}

describe("OPEN (RFC 4271 4.2)", () => {
  test("without optional parameters: IPv4 alone", () => {
    expect(decodeOpen(open("00"))).toEqual({
      asn: 64512,
      holdTime: 180,
      routerId: 0x0a000001,
      capabilities: NOTHING,
    } satisfies Open);
  });

  test.each([
    ["another version, with the one that is spoken", "05 fc00 00b4 0a000001 00", 1, "0004"],
    ["AS 0 (RFC 7607)", "04 0000 00b4 0a000001 00", 2, ""],
    ["AS 0 in four octets", "04 5ba0 00b4 0a000001 08 02 06 41 04 00000000", 2, ""],
    ["identifier 0 (RFC 6286)", "04 fc00 00b4 00000000 00", 3, ""],
    ["an optional parameter that is not capabilities", "04 fc00 00b4 0a000001 03 01 01 00", 4, ""],
    ["a hold time of one second", "04 fc00 0001 0a000001 00", 6, ""],
    ["a hold time of two", "04 fc00 0002 0a000001 00", 6, ""],
    ["more bytes than the parameters have", "04 fc00 00b4 0a000001 00 00", 0, ""],
    ["fewer", "04 fc00 00b4 0a000001 04 02 00", 0, ""],
    ["a parameter that ends after the message", "04 fc00 00b4 0a000001 02 02 01", 0, ""],
    ["a parameter without a length", "04 fc00 00b4 0a000001 01 02", 0, ""],
    ["a capability that ends after its parameter", "04 fc00 00b4 0a000001 04 02 02 02 01", 0, ""],
    ["a capability without a length", "04 fc00 00b4 0a000001 03 02 01 02", 0, ""],
  ])("%s", (_, bytes, subcode, data) => {
    expect(refusal(hex(bytes))).toEqual({ code: 2, subcode, data: hex(data) });
  });

  test("hold times 0 and 3 are good", () => {
    expect(decodeOpen(hex("04 fc00 0000 0a000001 00")).holdTime).toBe(0);
    expect(decodeOpen(hex("04 fc00 0003 0a000001 00")).holdTime).toBe(3);
  });

  test("what is written is read again", () => {
    fc.assert(
      fc.property(anyOpen, (value) => {
        const message = encodeOpen(value);
        expect(message[18]).toBe(1);
        expect((message[16]! << 8) | message[17]!).toBe(message.length);
        expect(decodeOpen(message.subarray(19))).toEqual(value);
      }),
      { numRuns: 500 },
    );
  });

  test("an AS number of four octets is AS_TRANS in the fixed field (RFC 6793 9)", () => {
    const message = encodeOpen({
      asn: 4_200_000_000,
      holdTime: 90,
      routerId: 1,
      capabilities: { ...NOTHING, fourOctetAsn: true },
    });
    expect(toHex(message.subarray(19))).toBe("045ba0005a000000010e02" + "0c" + "010400010001" + "4104fa56ea00");
  });
});

describe("capabilities (RFC 5492)", () => {
  test.each<[string, string, Partial<Capabilities>]>([
    ["multiprotocol IPv6 only (RFC 4760 8)", "01 04 0002 00 01", { families: [6] }],
    ["multiprotocol IPv4 and IPv6", "01 04 0001 00 01 01 04 0002 00 01", { families: [4, 6] }],
    [
      "a family that is not known here",
      "01 04 0001 00 80",
      { families: [], others: [{ code: 1, value: hex("00010080") }] },
    ],
    ["route refresh (RFC 2918 2)", "02 00", { routeRefresh: true }],
    ["extended next hop (RFC 8950 4)", "05 06 0001 0001 0002", { extendedNextHop: true }],
    ["extended next hop of labels", "05 06 0001 0004 0002", { extendedNextHop: false }],
    ["extended messages (RFC 8654 3)", "06 00", { extendedMessages: true }],
    ["four-octet AS numbers (RFC 6793 3)", "41 04 fa56ea00", { fourOctetAsn: true }],
    ["enhanced route refresh (RFC 7313 3.1)", "46 00", { enhancedRouteRefresh: true }],
    [
      "graceful restart (RFC 4724 3)",
      "40 0a 8078 0001 01 80 0002 01 00",
      {
        gracefulRestart: {
          restarting: true,
          notification: false,
          time: 120,
          families: [
            { family: 4, forwarding: true },
            { family: 6, forwarding: false },
          ],
        },
      },
    ],
    [
      "graceful restart of notifications, too (RFC 8538 2)",
      "40 02 4fff",
      { gracefulRestart: { restarting: false, notification: true, time: 4095, families: [] } },
    ],
    [
      "the last of two graceful restarts",
      "40 02 8001 40 02 0002",
      { gracefulRestart: { restarting: false, notification: false, time: 2, families: [] } },
    ],
    [
      "add-path (RFC 7911 4)",
      "45 08 0001 01 03 0002 01 01",
      {
        addPath: [
          { family: 4, send: true, receive: true },
          { family: 6, send: false, receive: true },
        ],
      },
    ],
    [
      "add-path neither sent nor received is ignored",
      "45 08 0001 01 04 0002 01 02",
      { addPath: [{ family: 6, send: true, receive: false }] },
    ],
    ["what is not known is kept", "49 03 026131", { others: [{ code: 73, value: hex("026131") }] }],
  ])("%s", (_, bytes, expected) => {
    const { capabilities } = offering(bytes);
    expect(capabilities).toEqual({ ...NOTHING, ...expected });
  });

  test("the AS is that of the capability, whatever the field says", () => {
    expect(offering("41 04 fa56ea00").asn).toBe(4_200_000_000);
  });

  test.each([
    "01 03 000100",
    "02 01 00",
    "05 05 0001000100",
    "06 01 00",
    "40 03 000000",
    "41 02 fc00",
    "45 03 000101",
    "45 00",
    "46 01 00",
  ])("%s has a length that the capability does not have", (bytes) => {
    expect(() => offering(bytes)).toThrow(expect.objectContaining({ code: 2, subcode: 0 }));
  });

  test("several parameters with one capability each", () => {
    const { capabilities } = decodeOpen(open("0c 02 02 0200 02 06 0104 0002 0001"));
    expect(capabilities).toEqual({ ...NOTHING, families: [6], routeRefresh: true });
  });
});

describe("extended optional parameters (RFC 9072)", () => {
  test("told by the first type, whatever the short length says", () => {
    for (const short of ["ff", "01"]) {
      expect(decodeOpen(open(`${short} ff 0005 02 0002 0200`)).capabilities.routeRefresh).toBe(true);
    }
  });

  test("only used where the short form does not hold them", () => {
    const value = (size: number): Open => ({
      asn: 64512,
      holdTime: 90,
      routerId: 1,
      // Six bytes are the family's.
      capabilities: { ...NOTHING, others: [{ code: 73, value: new Uint8Array(size) }] },
    });
    const short = encodeOpen(value(245));
    expect([short[28], short[29], short[30]]).toEqual([255, 2, 253]);
    expect(decodeOpen(short.subarray(19))).toEqual(value(245));
    const long = encodeOpen(value(246));
    expect(toHex(long.subarray(28, 35))).toBe("ffff01010200fe");
    expect(decodeOpen(long.subarray(19))).toEqual(value(246));
  });

  test.each(["ff ff 00", "ff ff 0005 02 0003 0200", "ff ff 0002 02 00", "ff ff 0006 02 0002 0200"])(
    "%s is malformed",
    (rest) => {
      expect(refusal(open(rest))).toMatchObject({ code: 2, subcode: 0 });
    },
  );
});

test("what is settled is what both offered", () => {
  const ours: Capabilities = {
    ...NOTHING,
    families: [4, 6],
    fourOctetAsn: true,
    extendedMessages: true,
    addPath: [
      { family: 4, send: false, receive: true },
      { family: 6, send: true, receive: true },
    ],
  };
  const theirs: Capabilities = {
    ...NOTHING,
    families: [6, 4],
    fourOctetAsn: true,
    extendedNextHop: true,
    addPath: [
      { family: 4, send: true, receive: true },
      { family: 6, send: false, receive: true },
    ],
  };
  expect(negotiate(ours, theirs)).toEqual({
    fourOctetAsn: true,
    extendedMessages: false,
    families: [4, 6],
    addPathReceive: [4],
    addPathSend: [6],
    extendedNextHop: false,
  });
});
