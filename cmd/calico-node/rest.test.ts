import { expect, test } from "vitest";
import { Rest } from "./rest.ts";

const MIB = 2 ** 20;
const BUSY = 5_000_000;
const look = (rest: Rest, processorUs: number, mib: number) =>
  rest.look({ processorUs, elapsedMs: 10_000, resident: mib * MIB });

test("a process gives back when it is quiet for the first time, and not while it works", () => {
  const rest = new Rest();
  expect(look(rest, BUSY, 100)).toBeUndefined();
  expect(look(rest, BUSY, 120)).toBeUndefined();
  expect(look(rest, 0, 120)).toBe("collect");
  expect(look(rest, 0, 110)).toBe("release");
  expect(look(rest, 0, 70)).toBeUndefined();
});

test("what it needs at rest it keeps: only what comes on top is given back", () => {
  const rest = new Rest();
  const rests = [look(rest, 0, 120), look(rest, 0, 110), look(rest, 0, 70)];
  expect(rests).toEqual(["collect", "release", undefined]);
  expect(look(rest, 0, 76)).toBeUndefined();
  expect(look(rest, BUSY, 150)).toBeUndefined();
  expect(look(rest, 0, 150)).toBe("collect");
  // Work that comes between the two changes nothing.
  expect(look(rest, BUSY, 150)).toBe("release");
  // It holds more than before, for good.
  expect(look(rest, 0, 130)).toBeUndefined();
  expect(look(rest, 0, 137)).toBeUndefined();
  // Less again: that counts from now on.
  expect(look(rest, 0, 60)).toBeUndefined();
  expect(look(rest, 0, 69)).toBe("collect");
});
