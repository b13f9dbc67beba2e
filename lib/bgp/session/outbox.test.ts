import fc from "fast-check";
import { expect, it } from "vitest";
import { Outbox } from "./outbox.ts";

function message(length: number, mark: number): Uint8Array {
  const bytes = new Uint8Array(length).fill(mark);
  bytes[16] = length >> 8;
  bytes[17] = length;
  return bytes;
}

it("whatever the kernel takes at a time, messages leave whole, in order, and once; cleared, only the one that was begun", () => {
  const length = fc.integer({ min: 19, max: 4096 });
  const action = fc.oneof(
    length.map((size) => ({ append: size })),
    fc.integer({ min: 0, max: 9000 }).map((room) => ({ room })),
    fc.constant({ clear: true }),
  );
  const check = (actions: readonly ({ append: number } | { room: number } | { clear: boolean })[]) => {
    const outbox = new Outbox();
    const out: number[] = [];
    // The naive one: messages as they are, the first perhaps begun.
    let waiting: Uint8Array[] = [];
    const expected: number[] = [];
    let mark = 0;
    for (const one of actions) {
      if ("append" in one) {
        const next = message(one.append, mark++ % 251);
        outbox.append(next);
        waiting.push(next);
      } else if ("room" in one) {
        let { room } = one;
        outbox.flush((bytes) => {
          const taken = Math.min(room, bytes.length);
          room -= taken;
          for (const byte of bytes.subarray(0, taken)) out.push(byte);
          return taken;
        });
        for (let left = one.room; left > 0 && waiting.length > 0; ) {
          const first = waiting[0]!;
          const taken = Math.min(left, first.length);
          for (const byte of first.subarray(0, taken)) expected.push(byte);
          left -= taken;
          if (taken === first.length) waiting.shift();
          else waiting[0] = Object.assign(first.subarray(taken), { begun: true });
        }
      } else {
        outbox.clear();
        waiting = waiting.filter((first) => "begun" in first);
      }
      expect(outbox.pending).toBe(waiting.reduce((sum, { length: size }) => sum + size, 0));
    }
    expect(Buffer.compare(Uint8Array.from(out), Uint8Array.from(expected))).toBe(0);
  };
  fc.assert(fc.property(fc.array(action, { maxLength: 40 }), check), { numRuns: 60 });
});
