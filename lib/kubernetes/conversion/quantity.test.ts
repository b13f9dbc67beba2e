import fc from "fast-check";
import { expect, test } from "vitest";
import { parseQuantity } from "./quantity.ts";

test.each<[string, bigint]>([
  ["0", 0n],
  ["1M", 1_000_000n],
  ["10k", 10_000n],
  ["+1P", 10n ** 15n],
  ["1.01k", 1010n],
  ["1.5Gi", 1_610_612_736n],
  ["4Gi", 2n ** 32n],
  ["12e6", 12_000_000n],
  ["12E6", 12_000_000n],
  ["12E", 12n * 10n ** 18n],
  ["1e+3", 1000n],
  ["15e-1", 2n],
  ["1500m", 2n],
  ["1n", 1n],
  [".5", 1n],
  ["5.", 5n],
  ["-1.5", -1n],
  ["-2k", -2000n],
  ["007", 7n],
  ["1e99999999999", 10n ** 60n],
  ["1e-99999999999", 1n],
])("%s is %s", (text, value) => expect(parseQuantity(text)).toBe(value));

test.each(["", " 1", "1 ", "1KB", "1Kii", "k1", "1e", "1.2.3", "abc", "--1", "1m5", "1,5", "0x10", "1".repeat(61)])(
  "%j is no quantity",
  (text) => expect(parseQuantity(text)).toBeUndefined(),
);

test("is the number times its suffix, rounded up", () => {
  const suffixes = [
    ["", 1],
    ["k", 1e3],
    ["M", 1e6],
    ["Ki", 1024],
    ["Mi", 1024 ** 2],
  ] as const;
  fc.assert(
    fc.property(fc.nat(1e6), fc.nat(99), fc.constantFrom(...suffixes), (whole, hundredths, [suffix, factor]) => {
      const text = `${whole}.${String(hundredths).padStart(2, "0")}${suffix}`;
      // In hundredths, which are whole numbers that a double holds exactly.
      expect(parseQuantity(text)).toBe(BigInt(Math.ceil(((whole * 100 + hundredths) * factor) / 100)));
    }),
  );
});
