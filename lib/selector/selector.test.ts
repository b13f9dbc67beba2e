import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Labels, type Node, parseSelector, SelectorError, selectorId, selectorOf } from "./index.ts";

const canonical: [input: string, text: string][] = [
  ["", "all()"],
  ["  \t", "all()"],
  [" all( ) ", "all()"],
  [" (all() )", "all()"],
  ["global()", "global()"],
  ["has( a )", "has(a)"],
  ["! (has( b)||! has(a ))", "!(has(b) || !has(a))"],
  [`! (a == "b"&&! c != "d")`, `!(a == "b" && !c != "d")`],
  [`a == "'"`, `a == "'"`],
  [`a == '"'`, `a == '"'`],
  [`a startswith '"'`, `a starts with '"'`],
  [`a ends   with "'"`, `a ends with "'"`],
  [`a!='x'`, `a != "x"`],
  [`a notin{'d',"a",'d',}`, `a not in {"a", "d"}`],
  ["a in {}", "a in {}"],
  ["!!has(a)", "has(a)"],
  ["!!!has(a)", "!has(a)"],
  ["((((has(a)))))", "has(a)"],
  ["has(a) && has(b) && has(c)", "(has(a) && has(b) && has(c))"],
  ["has(a) || has(b) && has(c)", "(has(a) || (has(b) && has(c)))"],
  ["(has(a) || has(b)) && has(c)", "((has(a) || has(b)) && has(c))"],
  [`in == "x" && contains contains "y"`, `(in == "x" && contains contains "y")`],
  [`all == "x"`, `all == "x"`],
  [`k8s-app/x.y_z- == "é"`, `k8s-app/x.y_z- == "é"`],
  ['a in {"\u{1f600}", "\uffee"}', 'a in {"\uffee", "\u{1f600}"}'],
];

describe("canonical text", () => {
  test.each(canonical)("%s", (input, text) => {
    expect(parseSelector(input).text).toBe(text);
    expect(parseSelector(text).text).toBe(text);
  });

  test.each([
    ["all()", "s:5y5I3VdRZfDU01O--xXAPx2yxCQQqMf0M6IWug"],
    ["!(has(b) || !has(a))", "s:Iss0uCleLYv1GSv_pNm7hAO58kE9jAx1NKyG3Q"],
    [`! (a == "b"&&! c != "d")`, "s:lh3haoY1ikTRkd4UZu0nWSaIBknYLPJLX16d-w"],
  ])("the id of %s is the one other Calicos compute", (input, id) => {
    expect(selectorId(parseSelector(input))).toBe(id);
  });
});

describe("evaluation", () => {
  const table: [selector: string, matching: Labels[], other: Labels[]][] = [
    [`a == "b"`, [{ a: "b" }, { a: "b", c: "d" }], [{}, { a: "c" }, { c: "d" }]],
    [`a != "b"`, [{}, { a: "a" }], [{ a: "b" }]],
    [`a in {"'", '"', "c"}`, [{ a: "c" }, { a: '"' }, { a: "'" }], [{}, { a: "e" }]],
    [`a not in {"c"}`, [{}, { a: "e" }], [{ a: "c" }]],
    ["a in {}", [], [{}, { a: "" }]],
    [`a contains "a"`, [{ a: "a" }, { a: "bab" }], [{}, { a: "b" }, { b: "aaa" }]],
    [`a starts with "a"`, [{ a: "abb" }], [{}, { a: "baa" }]],
    [`a ends with "a"`, [{ a: "bba" }], [{}, { a: "aab" }]],
    ["has(a)", [{ a: "" }], [{}, { b: "a" }]],
    [`!a == 'a1' && b == 'b1'`, [{ b: "b1" }], [{ a: "a1", b: "b1" }]],
    ["has(a) || has(b) && has(c)", [{ a: "" }, { b: "", c: "" }], [{ b: "" }, { c: "" }]],
    ["global()", [{}], []],
    ["has(constructor) || has(toString)", [], [{}]],
    ["has(__proto__)", [], [{}]],
  ];
  test.each(table)("%s", (text, matching, other) => {
    const selector = parseSelector(text);
    for (const labels of matching) expect(selector.matches(labels), JSON.stringify(labels)).toBe(true);
    for (const labels of other) expect(selector.matches(labels), JSON.stringify(labels)).toBe(false);
  });
});

describe("what is no selector", () => {
  const table: [text: string, position: number, expected: string][] = [
    ["b == b", 5, "a text in quotes"],
    ["'b1' == b", 0, "a label, has(), all(), global(), ! or ("],
    ["b", 1, "an operator after the label b: ==, !=, in, not in, contains, starts with or ends with"],
    ["a b", 2, "an operator after the label a: ==, !=, in, not in, contains, starts with or ends with"],
    ["a containsx 'b'", 2, "an operator after the label a: ==, !=, in, not in, contains, starts with or ends with"],
    ["a starts with b", 2, "an operator after the label a: ==, !=, in, not in, contains, starts with or ends with"],
    ["a ! 'b'", 2, "an operator after the label a: ==, !=, in, not in, contains, starts with or ends with"],
    ["!", 1, "a label, has(), all(), global(), ! or ("],
    [`foo == "bar" &`, 13, "&&"],
    [`foo == "bar" | has(x)`, 13, "||"],
    [`foo = "bar"`, 4, "=="],
    [`foo in {"", ||`, 12, "a text in quotes, a comma or a }"],
    [`foo in {"a" "b"}`, 12, "a text in quotes, a comma or a }"],
    [`foo in ""`, 7, 'a set such as {"a", "b"}'],
    [`"FOO'`, 0, 'a closing " for the text that begins here'],
    [`(a == "foo"`, 11, "&&, || or a ) for the ( at character 1"],
    [`a == "foo")`, 10, "&&, || or the end"],
    ["()", 1, "a label, has(), all(), global(), ! or ("],
    ["%", 0, "a label, has(), all(), global(), ! or ("],
    ["has(foo) &&", 11, "a label, has(), all(), global(), ! or ("],
    ["has(foo", 7, "a ) to close has("],
    ["has()", 4, "a label"],
    ["all(x)", 4, "a ) to close all("],
    ["has(a)\n", 6, "a label, has(), all(), global(), ! or ("],
    [`é == "x"`, 0, "a label, has(), all(), global(), ! or ("],
    [`${"x".repeat(513)} == "x"`, 0, "a label of at most 512 characters"],
  ];
  test.each(table)("%s", (text, position, expected) => {
    const error = failure(text);
    expect(error.position).toBe(position);
    expect(error.expected).toBe(expected);
  });

  test("the message quotes the text, the place and what is there", () => {
    expect(failure("a == b").message).toBe(
      '"a == b" is not a selector: expected a text in quotes at character 6, found "b"',
    );
    expect(failure("a ==").detail).toBe("expected a text in quotes at character 5, found the end");
    expect(failure(`${"(".repeat(5000)}`).message.length).toBeLessThan(300);
  });

  test("any text is a selector or a SelectorError whose position lies in it", () => {
    const pieces = fc.constantFrom(
      "a",
      "in",
      "not",
      "has(",
      "all()",
      "(",
      ")",
      "{",
      "}",
      ",",
      "!",
      "=",
      "&&",
      "||",
      '"',
      "'",
      " ",
      "é",
    );
    const texts = fc.oneof(
      fc.string(),
      fc.array(pieces, { maxLength: 12 }).map((list) => list.join("")),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          const selector = parseSelector(text);
          expect(parseSelector(selector.text).text).toBe(selector.text);
        } catch (error) {
          if (!(error instanceof SelectorError)) throw error;
          expect(error.position).toBeGreaterThanOrEqual(0);
          expect(error.position).toBeLessThanOrEqual(text.length);
        }
      }),
      { numRuns: 3000 },
    );
  });
});

describe("depth", () => {
  test("redundant parentheses and negations cost nothing up to the limit", () => {
    const open = "(".repeat(1024);
    expect(parseSelector(`${open}has(a)${")".repeat(1024)}`).text).toBe("has(a)");
    expect(parseSelector(`${"!".repeat(100_000)}has(a)`).text).toBe("has(a)");
    expect(failure(`(${open}has(a)`).expected).toBe("at most 1024 open parentheses");
  });

  test("what the limit allows round-trips, what it forbids is refused", () => {
    const nest = (levels: number): string => {
      let text = "has(a)";
      for (let i = 0; i < levels; i++) text = i % 2 ? `(${text} || has(b))` : `(${text} && has(b))`;
      return text;
    };
    const deepest = parseSelector(nest(256));
    expect(parseSelector(deepest.text).text).toBe(deepest.text);
    expect(deepest.matches({ b: "" })).toBe(true);
    expect(failure(nest(257)).expected).toBe("at most 256 levels of && and || in each other");
    expect(failure("(".repeat(1_000_000)).expected).toBe("at most 1024 open parentheses");
  });

  test("a long flat chain is fine", () => {
    const text = Array.from({ length: 5000 }, (_, i) => `has(l${i})`).join(" || ");
    expect(parseSelector(text).matches({ l4999: "" })).toBe(true);
  });
});

describe("properties", () => {
  const label = fc.constantFrom("a", "b", "c.d/e-f_g", "in", "all");
  const value = fc.constantFrom("", "x", "xy", "yx", "it's", 'say "x"', "ü\u{1f600}");
  const tree: fc.Arbitrary<Node> = fc.letrec<{ node: Node }>((tie) => ({
    node: fc.oneof(
      { maxDepth: 4, withCrossShrink: true },
      fc.constantFrom<Node>({ op: "all" }, { op: "global" }),
      fc.record({ op: fc.constant("has" as const), label }),
      fc.record({ op: fc.constantFrom("==", "!=", "contains", "starts with", "ends with"), label, value }),
      fc.record({
        op: fc.constantFrom("in", "not in"),
        label,
        values: fc.uniqueArray(value, { maxLength: 4 }).map((values) => values.sort()),
      }),
      fc.record({ op: fc.constantFrom("&&", "||"), operands: fc.array(tie("node"), { minLength: 2, maxLength: 4 }) }),
      tie("node").map((operand): Node => (operand.op === "!" ? operand.operand : { op: "!", operand })),
    ),
  })).node;
  const labels = fc.dictionary(label, value, { noNullPrototype: true });

  test("the canonical text parses to the same tree", () => {
    fc.assert(
      fc.property(tree, (node) => {
        const { text } = selectorOf(node);
        const again = parseSelector(text);
        expect(again.root).toEqual(node);
        expect(again.text).toBe(text);
      }),
      { numRuns: 1000 },
    );
  });

  test("evaluation agrees with the naive reading of the text", () => {
    fc.assert(
      fc.property(tree, labels, (node, labels) => {
        expect(parseSelector(selectorOf(node).text).matches(labels)).toBe(naive(node, new Map(Object.entries(labels))));
      }),
      { numRuns: 2000 },
    );
  });

  test("a selector or its negation matches, never both", () => {
    fc.assert(
      fc.property(tree, labels, (node, labels) => {
        const { text } = selectorOf(node);
        expect(parseSelector(`!(${text})`).matches(labels)).toBe(!parseSelector(text).matches(labels));
      }),
    );
  });
});

/** Set algebra over regular expressions: shares no line with the real evaluator. */
function naive(node: Node, labels: ReadonlyMap<string, string>): boolean {
  if ("operands" in node) {
    const answers = node.operands.map((operand) => naive(operand, labels));
    return node.op === "&&" ? !answers.includes(false) : answers.includes(true);
  }
  if (node.op === "!") return naive(node.operand, labels) === false;
  if (!("label" in node)) return true;
  const value = labels.get(node.label);
  const literally = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const is = (pattern: string) => value !== undefined && new RegExp(`^(?:${pattern})$`, "su").test(value);
  if ("values" in node) {
    const found = node.values.some((candidate) => is(literally(candidate)));
    return node.op === "in" ? found : !found;
  }
  if (!("value" in node)) return labels.has(node.label);
  const text = literally(node.value);
  const patterns = {
    "==": text,
    "!=": text,
    contains: `.*${text}.*`,
    "starts with": `${text}.*`,
    "ends with": `.*${text}`,
  };
  return is(patterns[node.op]) !== (node.op === "!=");
}

function failure(text: string): SelectorError {
  try {
    parseSelector(text);
  } catch (error) {
    if (error instanceof SelectorError) return error;
    throw error;
  }
  throw new Error(`${text} parsed`);
}
