import fc from "fast-check";
import { expect, test } from "vitest";
import { fiveDigits, wholePercent } from "./numbers.ts";

test("counts are printed as Go's %.5g prints them", () => {
  // Printed by Go 1.26: fmt.Sprintf("%.5g", float64(n)).
  const golden: [number | bigint, string][] = [
    [0, "0"],
    [1, "1"],
    [64, "64"],
    [65536, "65536"],
    [99999, "99999"],
    [100000, "1e+05"],
    [123445, "1.2344e+05"],
    [123455, "1.2346e+05"],
    [123456, "1.2346e+05"],
    [131072, "1.3107e+05"],
    [999995, "1e+06"],
    [1048576, "1.0486e+06"],
    [16777216, "1.6777e+07"],
    [4294967296, "4.295e+09"],
    [2n ** 64n, "1.8447e+19"],
    [2n ** 80n, "1.2089e+24"],
  ];
  for (const [count, text] of golden) expect(fiveDigits(count)).toBe(text);
});

test("a printed count is within half a unit of its fifth digit", () => {
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 2n ** 128n }), (count) => {
      expect(fiveDigits(count)).toMatch(/^(\d{1,5}|\d(\.\d{1,4})?e\+\d\d)$/);
      expect(Math.abs(Number(fiveDigits(count)) - Number(count))).toBeLessThanOrEqual(Number(count) * 5.0001e-5);
    }),
  );
});

test("percentages are whole, halves to even", () => {
  expect(wholePercent(3, 8)).toBe("38%");
  expect(wholePercent(5, 8)).toBe("62%");
  expect(wholePercent(1, 8)).toBe("12%");
  expect(wholePercent(5, 65536)).toBe("0%");
  expect(wholePercent(65531, 65536)).toBe("100%");
  expect(wholePercent(2n ** 80n, 2n ** 80n)).toBe("100%");
  expect(wholePercent(0, 0)).toBe("0%");
});
