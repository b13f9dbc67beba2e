import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseDuration } from "./duration.ts";

const MS = 1;
const SECOND = 1_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;

/** What Go's time.ParseDuration answers, by its documentation and its own table of cases. */
const GO: readonly [string, number | undefined][] = [
  ["0", 0],
  ["+0", 0],
  ["-0", 0],
  ["0s", 0],
  ["-0s", 0],
  ["5s", 5 * SECOND],
  ["+5s", 5 * SECOND],
  ["-5s", -5 * SECOND],
  ["1478s", 1478 * SECOND],
  ["5.s", 5 * SECOND],
  [".5s", 500],
  ["-.5s", -500],
  ["1.004s", 1004],
  ["100.00100s", 100_001],
  ["10ns", 0.00001],
  ["11us", 0.011],
  ["12\u00b5s", 0.012],
  ["12\u03bcs", 0.012],
  ["13ms", 13 * MS],
  ["15m", 15 * MINUTE],
  ["16h", 16 * HOUR],
  ["3h30m", 3.5 * HOUR],
  ["10.5s4m", 4 * MINUTE + 10_500],
  ["5s5s", 10 * SECOND],
  ["-2m3.4s", -(2 * MINUTE + 3400)],
  ["1h15m30.918273645s", HOUR + 15 * MINUTE + 30_918.273645],
  ["39h9m14.425s", 39 * HOUR + 9 * MINUTE + 14_425],
  ["1.9ns", 0.000001],
  ["0.3333333333333333333h", 20 * MINUTE],
  ["0.100000000000000000000h", 6 * MINUTE],
  ["0.830103483285477580700h", 49 * MINUTE + 48_372.539827],
  ["9223372036854775807ns", 9_223_372_036_854.775],
  ["-9223372036854775808ns", -9_223_372_036_854.775],
  ["2562047h47m16.854775807s", 9_223_372_036_854.775],
  ["9223372036854775808ns", undefined],
  ["-9223372036854775809ns", undefined],
  ["2562048h", undefined],
  ["9223372036854775.808us", undefined],
  ["", undefined],
  ["3", undefined],
  ["00", undefined],
  ["-", undefined],
  ["+", undefined],
  ["s", undefined],
  [".", undefined],
  ["-.", undefined],
  [".s", undefined],
  ["+.s", undefined],
  ["1d", undefined],
  ["1S", undefined],
  ["1s2", undefined],
  ["1.2.3s", undefined],
  ["1 s", undefined],
  [" 1s", undefined],
  ["1s\n", undefined],
  ["1m-1s", undefined],
  ["--1s", undefined],
  ["1e3s", undefined],
  ["1,5s", undefined],
  ["\u0661s", undefined],
  ["Infinityh", undefined],
];

describe("durations are Go's", () => {
  test.each(GO)("%j is %j ms", (text, milliseconds) => {
    expect(parseDuration(text)).toBe(milliseconds);
  });

  test("parts add up, in any order and of any unit", () => {
    const units = { h: 3_600_000_000_000n, m: 60_000_000_000n, s: 1_000_000_000n, ms: 1_000_000n, us: 1000n, ns: 1n };
    const part = fc.tuple(fc.nat(100_000), fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[])));
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        const nanoseconds = parts.reduce((sum, [number, unit]) => sum + BigInt(number) * units[unit], 0n);
        const text = parts.map(([number, unit]) => `${number}${unit}`).join("");
        expect(parseDuration(text)).toBe(Number(nanoseconds) / 1e6);
        expect(parseDuration(`-${text}`)).toBe(Number(-nanoseconds) / 1e6);
      }),
    );
  });

  test("no text throws, or is anything but a finite number", () => {
    const texts = fc.oneof(fc.string(), fc.stringMatching(/^[+-]?[0-9.]{0,30}(ns|us|ms|s|m|h|d)?[0-9.smhn]{0,8}$/));
    fc.assert(fc.property(texts, (text) => Number.isFinite(parseDuration(text) ?? 0)));
  });
});
