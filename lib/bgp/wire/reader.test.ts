import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { encodeKeepalive, encodeRouteRefresh, MESSAGE, MessageReader, WireError } from "./index.ts";
import { hex } from "./testing.ts";

const MARKER = "ff".repeat(16);

function update(length: number): Uint8Array {
  const message = new Uint8Array(length);
  message.fill(0xff, 0, 16);
  message.set([length >>> 8, length, MESSAGE.UPDATE], 16);
  for (let i = 19; i < length; i++) message[i] = i;
  return message;
}

function concat(messages: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(messages.reduce((sum, message) => sum + message.length, 0));
  let at = 0;
  for (const message of messages) {
    out.set(message, at);
    at += message.length;
  }
  return out;
}

function failure(bytes: Uint8Array, extended = false): WireError {
  const reader = new MessageReader();
  reader.extended = extended;
  reader.push(bytes);
  try {
    reader.next();
  } catch (error) {
    if (error instanceof WireError) return error;
  }
  throw new Error("it was not refused");
}

describe("a stream in chunks", () => {
  test("however it is cut, the same messages come out", () => {
    const lengths = fc.array(fc.integer({ min: 23, max: 4096 }), { minLength: 1, maxLength: 8 });
    const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(lengths, cuts, (sizes, chunks) => {
        const messages = sizes.flatMap((size) => [update(size), encodeKeepalive()]);
        const stream = concat(messages);
        const reader = new MessageReader();
        const out: Uint8Array[] = [];
        for (let at = 0, i = 0; at < stream.length; i++) {
          const size = chunks[i % chunks.length]!;
          // A chunk of its own, spoilt afterwards: nothing may be kept of it by reference.
          const chunk = stream.slice(at, at + size);
          reader.push(chunk);
          for (let message = reader.next(); message; message = reader.next()) out.push(message.body.slice());
          chunk.fill(0);
          at += size;
        }
        expect(reader.buffered).toBe(0);
        expect(out).toEqual(messages.map((message) => message.slice(19)));
      }),
      { numRuns: 100 },
    );
  });

  test("a message that lies in one chunk is not copied", () => {
    const chunk = concat([update(40), encodeKeepalive()]);
    const reader = new MessageReader();
    reader.push(chunk);
    const message = reader.next();
    expect(message?.body.buffer).toBe(chunk.buffer);
    expect(message?.body.byteOffset).toBe(19);
    expect(reader.next()?.type).toBe(MESSAGE.KEEPALIVE);
  });

  test("chunks that come before the one before has been read are joined", () => {
    const stream = concat([update(100), update(200)]);
    const reader = new MessageReader();
    for (let at = 0; at < stream.length; at += 70) reader.push(stream.slice(at, at + 70));
    expect(reader.buffered).toBe(300);
    expect([reader.next()?.body.length, reader.next()?.body.length, reader.next()]).toEqual([81, 181, undefined]);
  });

  test("a message that straddled stays as it is while the next one does", () => {
    const [first, second] = [update(60), update(60).fill(7, 19)];
    const reader = new MessageReader();
    reader.push(first.slice(0, 30));
    expect(reader.next()).toBeUndefined();
    reader.push(concat([first.slice(30), second.slice(0, 30)]));
    const message = reader.next()!;
    expect(reader.next()).toBeUndefined();
    expect(message.body).toEqual(first.slice(19));
  });
});

describe("the header (RFC 4271 6.1)", () => {
  test("a marker that is not all ones", () => {
    const error = failure(hex(`${"ff".repeat(15)}fe 0013 04`));
    expect(error.notification).toEqual({ code: 1, subcode: 1, data: new Uint8Array(0) });
  });

  test.each([
    ["shorter than a header", "0012 02"],
    ["longer than 4096", "1001 02"],
    ["an OPEN of 28", "001c 01"],
    ["an UPDATE of 22", "0016 02"],
    ["a NOTIFICATION of 20", "0014 03"],
    ["a KEEPALIVE of 20", "0014 04"],
    ["a ROUTE-REFRESH of 22", "0016 05"],
  ])("%s is a bad length, which is sent back", (_, rest) => {
    const error = failure(hex(`${MARKER} ${rest} ${"00".repeat(40)}`));
    expect(error.notification).toEqual({ code: 1, subcode: 2, data: hex(rest.slice(0, 4)) });
  });

  test.each([0, 6, 255])("there is no type %i, which is sent back", (type) => {
    const error = failure(hex(`${MARKER} 0017 ${type.toString(16).padStart(2, "0")} 00000000`));
    expect(error.notification).toEqual({ code: 1, subcode: 3, data: Uint8Array.of(type) });
  });

  test("is refused before the rest of the message is there, and ever after", () => {
    const reader = new MessageReader();
    reader.push(hex(`${MARKER} ffff 02`));
    expect(() => reader.next()).toThrow(WireError);
    reader.push(encodeKeepalive());
    expect(() => reader.next()).toThrow(WireError);
  });

  test("with RFC 8654 an UPDATE may have 65535 bytes, OPEN and KEEPALIVE may not", () => {
    const reader = new MessageReader();
    reader.extended = true;
    reader.push(concat([update(65535), encodeRouteRefresh({ family: 4, kind: "request" })]));
    expect(reader.next()?.body.length).toBe(65535 - 19);
    expect(reader.next()?.type).toBe(MESSAGE.ROUTE_REFRESH);
    expect(failure(hex(`${MARKER} 1001 01`), true).subcode).toBe(2);
    expect(failure(hex(`${MARKER} 0014 04`), true).subcode).toBe(2);
  });
});
