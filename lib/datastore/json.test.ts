import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJson, stringifyJson } from "./json.ts";

describe("JSON", () => {
  test("keeps integers of any size to the last digit", () => {
    for (const integer of [
      "0",
      "-1",
      "9007199254740991",
      "9007199254740993",
      "18446744073709551615",
      "-9223372036854775808",
    ])
      expect(stringifyJson(parseJson(`{"n":[${integer}]}`))).toBe(`{"n":[${integer}]}`);
    expect(parseJson("9007199254740991")).toBe(9007199254740991);
    expect(parseJson("9007199254740993")).toBe(9007199254740993n);
    expect(parseJson('"12345678901234567890"')).toBe("12345678901234567890");
    expect(parseJson("1234567890123456.5")).toBe(1234567890123456.5);
    expect(parseJson("1e30")).toBe(1e30);
  });

  test("prints for people", () => {
    expect(stringifyJson({ a: 1n }, 2)).toBe('{\n  "a": 1\n}');
  });

  test("any value of integers, texts, lists and objects survives", () => {
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { depthSize: "small" },
        fc.constant(null),
        fc.boolean(),
        fc.string(),
        fc.bigInt(-(2n ** 70n), 2n ** 70n).map((n) => (Number.isSafeInteger(Number(n)) ? Number(n) : n)),
        fc.array(tie("value")),
        fc.dictionary(fc.string(), tie("value"), { noNullPrototype: true }),
      ),
    }));
    fc.assert(
      fc.property(value, (given) => {
        expect(parseJson(stringifyJson(given))).toEqual(given);
      }),
      { numRuns: 300 },
    );
  });

  test("what is no JSON is a SyntaxError, also with long numbers in it", () => {
    for (const text of ["", "{", "12345678901234567890x", "[1,]"]) expect(() => parseJson(text)).toThrow(SyntaxError);
  });
});
