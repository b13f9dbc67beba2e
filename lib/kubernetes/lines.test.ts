import fc from "fast-check";
import { expect, test } from "vitest";
import { LineSplitter, LineTooLong, LONGEST_LINE } from "./lines.ts";

/** The bytes of `text` in chunks that end at `cuts`, whatever lies there. */
function chunks(text: string, cuts: readonly number[]): Uint8Array[] {
  const bytes = new TextEncoder().encode(text);
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  return [...ends, bytes.length].map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

const event = fc.record({
  type: fc.constantFrom("ADDED", "MODIFIED", "DELETED"),
  object: fc.record({ name: fc.string({ unit: "grapheme" }), text: fc.string({ unit: "binary" }) }),
});

test("the lines do not depend on where the chunks end", () => {
  fc.assert(
    fc.property(fc.array(event), fc.array(fc.nat()), fc.constantFrom("\n", "\r\n", "\n\n"), (events, cuts, newline) => {
      const splitter = new LineSplitter();
      const text = events.map((one) => JSON.stringify(one) + newline).join("");
      const lines = chunks(text, cuts).flatMap((chunk) => splitter.push(chunk));
      expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual(JSON.parse(JSON.stringify(events)));
      expect(splitter.rest()).toBe("");
    }),
  );
});

test("what has no end yet is the rest, and only that", () => {
  fc.assert(
    fc.property(fc.array(event), event, fc.array(fc.nat()), fc.nat(), (events, last, cuts, length) => {
      const splitter = new LineSplitter();
      const unfinished = JSON.stringify(last).slice(0, 1 + (length % (JSON.stringify(last).length - 1)));
      const text = events.map((one) => `${JSON.stringify(one)}\n`).join("") + unfinished;
      const lines = chunks(text, cuts).flatMap((chunk) => splitter.push(chunk));
      expect(lines).toHaveLength(events.length);
      expect(splitter.rest()).toBe(new TextDecoder().decode(new TextEncoder().encode(unfinished)).trim());
    }),
  );
});

test("integers that a double cannot hold come through as they were written", () => {
  const line = '{"spec":{"sequenceNumber":1767225600123456789}}';
  expect(new LineSplitter().push(new TextEncoder().encode(`${line}\n`))).toEqual([line]);
});

test("a chunk is not kept: its buffer may be used again", () => {
  const splitter = new LineSplitter();
  const chunk = new TextEncoder().encode('{"a":');
  splitter.push(chunk);
  chunk.fill(0x78);
  expect(splitter.push(new TextEncoder().encode("1}\n"))).toEqual(['{"a":1}']);
});

test("a line without an end is refused before it fills the memory", () => {
  const splitter = new LineSplitter();
  const chunk = new Uint8Array(8 * 2 ** 20).fill(0x61);
  expect(() => {
    for (let length = 0; length <= LONGEST_LINE; length += chunk.length) splitter.push(chunk);
  }).toThrow(LineTooLong);
});
