import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  decodeNotification,
  decodeRouteRefresh,
  describeNotification,
  encodeKeepalive,
  encodeNotification,
  encodeRouteRefresh,
  innerNotification,
  WireError,
} from "./index.ts";
import { anyNotification, hex, toHex } from "./testing.ts";

const MARKER = "ff".repeat(16);

describe("NOTIFICATION", () => {
  test("what is written is read again", () => {
    fc.assert(
      fc.property(anyNotification, (value) => {
        expect(decodeNotification(encodeNotification(value).subarray(19))).toEqual(value);
      }),
    );
  });

  test("an administrator's words (RFC 9003 2)", () => {
    const message = encodeNotification({
      code: 6,
      subcode: 2,
      data: new Uint8Array(0),
      text: "neue Line Cards: größer",
    });
    const read = decodeNotification(message.subarray(19));
    expect(read.text).toBe("neue Line Cards: größer");
    expect(describeNotification(read)).toBe('Cease: administrative shutdown (6/2): "neue Line Cards: größer"');
  });

  test("words of more than 255 bytes are cut between characters", () => {
    const text = `a${"é".repeat(200)}`;
    const message = encodeNotification({ code: 6, subcode: 4, data: new Uint8Array(0), text });
    expect(message[21]).toBe(255);
    expect(decodeNotification(message.subarray(19)).text).toBe(`a${"é".repeat(127)}`);
    const odd = encodeNotification({ code: 6, subcode: 4, data: new Uint8Array(0), text: "é".repeat(200) });
    expect(odd[21]).toBe(254);
  });

  test.each([
    ["a length that exceeds the data", "06 02 05 6869"],
    ["no length", "06 02"],
    ["nothing", "06 02 00"],
    ["not UTF-8", "06 02 02 c328"],
    ["another subcode", "06 03 02 6869"],
  ])("no words: %s", (_, bytes) => {
    expect(decodeNotification(hex(bytes)).text).toBeUndefined();
  });

  test("words have no control characters and do not turn the line around", () => {
    const text = "a\u001b[31m\nb\u202ec";
    const bytes = new TextEncoder().encode(text);
    const body = Uint8Array.from([6, 2, bytes.length, ...bytes]);
    expect(decodeNotification(body).text).toBe("a [31m b c");
  });

  test("what is within a hard reset (RFC 8538 3)", () => {
    const read = decodeNotification(hex("06 09 06 02 02 6869"));
    expect(read.text).toBe("hi");
    expect(innerNotification(read)).toEqual({ code: 6, subcode: 2, data: hex("026869"), text: "hi" });
    expect(describeNotification(read)).toBe('Cease: hard reset (6/9): Cease: administrative shutdown (6/2): "hi"');
    expect(innerNotification(decodeNotification(hex("06 04 06 02")))).toBeUndefined();
  });

  test("hard resets in each other have an end", () => {
    expect(describeNotification(decodeNotification(hex(`06 09 ${"0609".repeat(2000)}`)))).toBe(
      "Cease: hard reset (6/9)",
    );
  });

  test("data that does not fit is cut", () => {
    expect(encodeNotification({ code: 3, subcode: 9, data: new Uint8Array(70_000) }).length).toBe(4096);
  });

  test.each([
    ["01 01", "message header error: connection not synchronized (1/1)"],
    ["01 02 1001", "message header error: bad message length (1/2): 4097 bytes"],
    ["01 03 09", "message header error: bad message type (1/3): type 9"],
    ["02 01 0003", "OPEN rejected: unsupported version number (2/1): it speaks version 3 at most"],
    ["02 02", "OPEN rejected: bad peer AS (2/2)"],
    [
      "02 07 41 04 0000fc00 02 00",
      "OPEN rejected: unsupported capability (2/7): it asks for four-octet AS numbers, route refresh",
    ],
    ["03 0b", "UPDATE error: malformed AS_PATH (3/11)"],
    ["04 00", "hold timer expired (4/0)"],
    ["05 03", "state machine error: unexpected message in Established (5/3)"],
    ["06 00", "Cease (6/0)"],
    ["06 01 0001 01 000003e8", "Cease: maximum number of prefixes reached (6/1): 1000 of AFI 1, SAFI 1"],
    ["06 0a", "Cease: BFD down (6/10)"],
    ["06 63", "Cease: subcode 99 (6/99)"],
    ["07 01", "ROUTE-REFRESH error: invalid message length (7/1)"],
    ["08 00", "send hold timer expired (8/0)"],
    ["63 01", "error code 99, subcode 1"],
  ])("%s in words", (bytes, words) => {
    expect(describeNotification(decodeNotification(hex(bytes)))).toBe(words);
  });

  test("every code and subcode has words", () => {
    const mute: string[] = [];
    for (let code = 0; code < 12; code++) {
      for (let subcode = 0; subcode < 16; subcode++) {
        const words = describeNotification({ code, subcode, data: new Uint8Array(0) });
        if (!/^[A-Za-z].*\d/.test(words)) mute.push(`${code}/${subcode}: ${words}`);
      }
    }
    expect(mute).toEqual([]);
  });
});

describe("ROUTE-REFRESH", () => {
  test.each([
    [{ family: 4, kind: "request" }, "0001 00 01"],
    [{ family: 6, kind: "request" }, "0002 00 01"],
    [{ family: 4, kind: "begin" }, "0001 01 01"],
    [{ family: 6, kind: "end" }, "0002 02 01"],
  ] as const)("%o (RFC 2918 3, RFC 7313 3.2)", (value, body) => {
    expect(toHex(encodeRouteRefresh(value))).toBe(toHex(hex(`${MARKER} 0017 05 ${body}`)));
    expect(decodeRouteRefresh(hex(body))).toEqual(value);
  });

  test.each(["0001 03 01", "0001 00 80", "0019 00 41"])("%s, of a kind or family not known, is ignored", (body) => {
    expect(decodeRouteRefresh(hex(body))).toBeUndefined();
  });

  test("begin and end of another length get the whole message back (RFC 7313 5)", () => {
    try {
      decodeRouteRefresh(hex("0001 01 01 00"));
      expect.unreachable();
    } catch (error) {
      expect((error as WireError).notification).toEqual({
        code: 7,
        subcode: 1,
        data: hex(`${MARKER} 0018 05 0001 01 01 00`),
      });
    }
  });

  test("a request of another length has a bad length: filters in it (RFC 5291) were not offered", () => {
    expect(() => decodeRouteRefresh(hex("0001 00 01 01"))).toThrow(WireError);
  });
});

test("KEEPALIVE is a header (RFC 4271 4.4)", () => {
  expect(toHex(encodeKeepalive())).toBe(toHex(hex(`${MARKER} 0013 04`)));
});
