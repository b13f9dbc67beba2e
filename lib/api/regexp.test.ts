import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseGoRegExp } from "./regexp.ts";

const matches = (pattern: string, text: string): boolean | undefined => parseGoRegExp(pattern)?.test(text);

describe("an expression of Go's", () => {
  // What Go answers was asked of its regexp package.
  test.each<[pattern: string, matching: string[], not: string[]]>([
    ["^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)", ["eth0", "enp3s0", "wlan1"], ["lo", "cali1", "ena"]],
    ["(?i)^ETH", ["eth0", "ETH1"], ["veth"]],
    ["^eth\\z", ["eth"], ["eth0", "eth\n"]],
    ["\\Aeth", ["eth0"], ["veth"]],
    ["(?m)^b$", ["a\nb\nc"], ["ab"]],
    ["^[[:alpha:]]+0$", ["eth0"], ["eth10", "0"]],
    ["^[^[:digit:]]$", ["a"], ["1"]],
    ["(?P<kind>eth|ens)[0-9]", ["eth0"], ["eth"]],
    ["(?<kind>eth)", ["eth"], []],
    ["\\Qa.b\\E.", ["a.bc"], ["axbc"]],
    ["\\Qa.b", ["a.b"], ["axb"]],
    ["[]a]", ["]", "a"], ["b"]],
    ["[^]a]", ["b"], ["]", "a"]],
    ["[[a]", ["[", "a"], ["]"]],
    ["a\\-b\\_", ["a-b_"], ["ab"]],
    ["\\x41\\x{42}", ["AB"], ["ab"]],
    ["^\\s$", [" ", "\t"], ["\v", "\u00a0"]],
    ["^a(?i:b)c$", ["abc", "aBc"], ["Abc", "abC"]],
    ["x{2}", ["xx"], ["x"]],
    ["", ["", "anything"], []],
  ])("%s means what it means there", (pattern, matching, not) => {
    for (const text of matching) expect(matches(pattern, text), text).toBe(true);
    for (const text of not) expect(matches(pattern, text), text).toBe(false);
  });

  test.each([
    ..."(?=a) (?!a) (?<=a)b (?<!a)b (a)\\1 \\Z \\h \\cA \\u0041 ( [a [[:none:]] a** \\ [\\".split(" "),
    // These are Go's, and have no translation.
    ..."\\pL a(?i)b (?U)a+ \\C \\x{1F600} [\\S]".split(" "),
  ])("%s is refused", (pattern) => expect(parseGoRegExp(pattern)).toBeUndefined());

  test("that quotes everything matches just that", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary-ascii" }), (text) => {
        const quoted = text.replace(/[\\.+*?()|[\]{}^$]/g, "\\$&");
        expect(parseGoRegExp(`^${quoted}$`)?.exec(text)?.[0]).toBe(text);
      }),
    );
  });

  test("never throws", () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(..."\\[]^():?P<>{}*+|.$azAZdsQE-,1[:alpha:]") }), (text) => {
        parseGoRegExp(text);
      }),
      { numRuns: 2000 },
    );
  });
});
