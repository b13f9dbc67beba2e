import { describe, expect, it } from "vitest";
import { collectDump } from "./dump.ts";
import { NetlinkParseError } from "./error.ts";
import { type DumpRequest, encodeMessage, FLAG, type Message, parseMessages, TYPE } from "./message.ts";
import { Writer } from "./wire.ts";

const request: DumpRequest<number> = {
  type: TYPE.GETLINK,
  body: () => {},
  attempt: () => "list the numbers",
  decode: (message) => (message.type === TYPE.NEWLINK ? message.payload[0] : undefined),
};

const message = (type: number, flags: number, body: (writer: Writer) => void, sequence = 7): Message => {
  const writer = new Writer();
  encodeMessage(writer, type, flags, sequence, body);
  return parseMessages(writer.finish())[0]!;
};
const item = (value: number, flags = 0, sequence = 7): Message =>
  message(TYPE.NEWLINK, flags, (writer) => writer.u32(value), sequence);
const done = (errno = 0, explanation = ""): Message =>
  message(TYPE.DONE, explanation ? FLAG.ACK_TLVS : 0, (writer) => {
    writer.i32(-errno);
    if (explanation) writer.attributeString(1, explanation);
  });
const collect = (...datagrams: Message[][]): number[] | undefined => collectDump(() => datagrams.shift()!, 7, request);

describe("a dump", () => {
  it("ends with DONE, however many datagrams it takes", () => {
    expect(collect([item(1), item(2)], [item(3)], [done()])).toEqual([1, 2, 3]);
    expect(collect([message(TYPE.DONE, 0, () => {})])).toEqual([]);
  });

  it("is not believed when the table changed meanwhile, but read to its end", () => {
    const datagrams = [[item(1, FLAG.DUMP_INTR)], [item(2)], [done()]];
    expect(collectDump(() => datagrams.shift()!, 7, request)).toBeUndefined();
    expect(datagrams).toEqual([]);
    expect(collect([item(1)], [done(4)])).toBeUndefined(); // EINTR in the DONE message
  });

  it("throws what the kernel ended it with, in the kernel's words", () => {
    expect(() => collect([item(1), done(22, "Invalid filter")])).toThrow("list the numbers: EINVAL (Invalid filter)");
    const refused = message(TYPE.ERROR, FLAG.CAPPED | FLAG.ACK_TLVS, (writer) => {
      writer.i32(-1);
      writer.zeros(16);
      writer.attributeString(1, "not you");
    });
    expect(() => collect([refused])).toThrow("list the numbers: EPERM (not you)");
  });

  it("passes over answers to others", () => {
    expect(collect([item(9, 0, 6), item(1)], [done()])).toEqual([1]);
  });

  it("does not read past a message that is cut short", () => {
    const writer = new Writer();
    encodeMessage(writer, TYPE.NEWLINK, 0, 7, (body) => body.u32(1));
    const bytes = writer.finish();
    for (let length = 1; length < bytes.length; length++) {
      expect(() => parseMessages(bytes.subarray(0, length))).toThrow(NetlinkParseError);
    }
    expect(() => parseMessages(new Uint8Array(16))).toThrow("message of 0 bytes");
  });
});
