import fc from "fast-check";
import { describe, expect, expectTypeOf, test } from "vitest";
import type { IPAMBlockSpec } from "./ipamblock.ts";
import type { IPPoolSpec } from "./ippool.ts";
import { KINDS } from "./registry.ts";
import { checkResource, completeResource } from "./resource.ts";
import * as s from "./schema.ts";

const schema = s.object({
  name: s.string({ format: "name" }),
  size: s.withDefault(s.integer({ min: 0, max: 10, unit: "seconds" }), 3),
  mode: s.withDefault(s.oneOf(["A", "B"]), "A"),
  uses: s.withDefault(s.array(s.oneOf(["x", "y"]), { unique: true, maxItems: 3 }), ["x"]),
  as: s.optional(s.integer({ text: "as-number", max: 4294967295 })),
  big: s.optional(s.wideInteger()),
  bigs: s.optional(s.map(s.wideInteger())),
  slots: s.optional(s.array(s.nullable(s.integer()))),
  labels: s.optional(s.map(s.string(), { labels: true })),
  inner: s.optional(s.object({ on: s.withDefault(s.boolean(), true), note: s.optional(s.string({ maxLength: 5 })) })),
  block: s.computed(s.integer(), "from the name"),
});
type Sample = s.Infer<typeof schema>;

describe("types", () => {
  test("are those of the fields", () => {
    expectTypeOf<Sample["name"]>().toEqualTypeOf<string>();
    expectTypeOf<Sample["mode"]>().toEqualTypeOf<"A" | "B">();
    expectTypeOf<Sample["big"]>().toEqualTypeOf<bigint | undefined>();
    expectTypeOf<Sample["slots"]>().toEqualTypeOf<(number | null)[] | undefined>();
    expectTypeOf<IPAMBlockSpec["sequenceNumberForAllocation"]>().toEqualTypeOf<Record<string, bigint>>();
    expectTypeOf<IPPoolSpec["vxlanMode"]>().toEqualTypeOf<"Never" | "Always" | "CrossSubnet">();
    expectTypeOf<Sample>().toHaveProperty("block");
    // @ts-expect-error cidr and others are required
    const incomplete: IPPoolSpec = {};
    // @ts-expect-error an optional field is left out, not undefined
    const explicit: Pick<IPPoolSpec, "natOutgoing"> = { natOutgoing: undefined };
    expect([incomplete, explicit]).toHaveLength(2);
  });
});

describe("defaults", () => {
  test("fill in what is absent, null, empty, and drop other nulls", () => {
    const value = { name: "n", mode: "", uses: [], inner: { note: null }, labels: null, slots: [1, null] };
    expect(s.applyDefaults(schema, value)).toEqual({
      name: "n",
      size: 3,
      mode: "A",
      uses: ["x"],
      inner: { on: true },
      slots: [1, null],
    });
  });

  test("are copies", () => {
    const first = s.applyDefaults(schema, { name: "a" });
    first.uses.push("y");
    expect(s.applyDefaults(schema, { name: "b" }).uses).toEqual(["x"]);
  });

  test("widen integers and read AS numbers", () => {
    const value = { name: "n", big: 5, bigs: { "1": 7, "2": 2n ** 60n }, as: "1.10" };
    expect(s.applyDefaults(schema, value)).toMatchObject({ big: 5n, bigs: { "1": 7n, "2": 2n ** 60n }, as: 65546 });
    expect(s.applyDefaults(schema, { name: "n", as: "64512" }).as).toBe(64512);
  });

  test("a key called __proto__ is a key like any other", () => {
    const value = JSON.parse('{"name": "n", "bigs": {"__proto__": 5}}') as unknown;
    const { bigs } = s.applyDefaults(schema, value);
    expect(Object.entries(bigs ?? {})).toEqual([["__proto__", 5n]]);
    expect(Object.getPrototypeOf(bigs)).toBe(Object.prototype);
  });
});

describe("messages", () => {
  const problems = (value: unknown, options?: s.ValidateOptions) =>
    s.validate(schema, s.applyDefaults(schema, value), "spec", options).map(s.describeProblem);

  test.each<[string, unknown, string[]]>([
    ["nothing wrong", { name: "n" }, []],
    ["no object", "text", ['spec: "text": must be an object']],
    ["a list", [], ["spec: []: must be an object"]],
    [
      "a missing field",
      {},
      [
        "spec.name: is missing; it must be a name of lower-case letters, digits, - and ., at most 253 long, with a letter or digit at both ends of every part",
      ],
    ],
    ["a wrong type", { name: "n", size: "3" }, ['spec.size: "3": must be an integer from 0 to 10 (seconds)']],
    ["out of range", { name: "n", size: 11 }, ["spec.size: 11: must be an integer from 0 to 10 (seconds)"]],
    ["a fraction", { name: "n", size: 1.5 }, ["spec.size: 1.5: must be an integer from 0 to 10 (seconds)"]],
    [
      "a lossy integer",
      { name: "n", size: 2n ** 60n },
      ["spec.size: 1152921504606846976: must be an integer from 0 to 10 (seconds)"],
    ],
    ["not in the enumeration", { name: "n", mode: "a" }, ['spec.mode: "a": must be one of A, B']],
    ["an item", { name: "n", uses: ["x", "z"] }, ['spec.uses[1]: "z": must be one of x, y']],
    ["a repeated item", { name: "n", uses: ["x", "x"] }, ['spec.uses[1]: "x": is in the list already; remove one']],
    [
      "too many items",
      { name: "n", uses: ["x", "y", "x", "y"] },
      ['spec.uses: ["x","y","x","y"]: must be a list of at most 3 items, not 4'],
    ],
    [
      "too wide",
      { name: "n", big: 2n ** 64n },
      ["spec.big: 18446744073709551616: must be an integer from 0 to 2^64-1"],
    ],
    [
      "a label's value",
      { name: "n", labels: { a: "b c" } },
      [
        'spec.labels["a"]: "b c": must be empty, or at most 63 letters, digits, -, _ and ., with a letter or digit at both ends',
      ],
    ],
    [
      "a label's key",
      { name: "n", labels: { "/a": "b" } },
      [
        'spec.labels["/a"]: has a key that must be a label\'s: an optional DNS name and /, then at most 63 letters, digits, -, _ and ., with a letter or digit at both ends',
      ],
    ],
    [
      "too long",
      { name: "n", inner: { note: "123456" } },
      ['spec.inner.note: "123456": must be at most 5 characters long, not 6'],
    ],
    ["a misspelt field", { name: "n", Size: 3 }, ["spec.Size: 3: is not a field here; did you mean size?"]],
    ["swapped letters", { name: "n", moed: "A" }, ['spec.moed: "A": is not a field here; did you mean mode?']],
    [
      "an unknown field",
      { name: "n", inner: { other: 1 } },
      ["spec.inner.other: 1: is not a field here; the fields are on, note"],
    ],
    ["a long value", { name: "n", mode: "x".repeat(200) }, [`spec.mode: "${"x".repeat(79)}…: must be one of A, B`]],
  ])("%s", (_, value, expected) => {
    expect(problems(value)).toEqual(expected);
  });

  test("a reader keeps unknown fields, and leaves rules to the writer", () => {
    const stored = { name: "Not a name", size: 99, more: true, labels: { "": "" } };
    expect(problems(stored, { unknown: "keep", stored: true })).toEqual([]);
    expect(problems({ ...stored, mode: "C" }, { unknown: "keep", stored: true })).toEqual([]);
    expect(problems({ ...stored, mode: 7 }, { unknown: "keep", stored: true })).toEqual([
      "spec.mode: 7: must be one of A, B",
    ]);
  });
});

describe("formats", () => {
  const table: Record<s.Format, [right: string[], wrong: string[]]> = {
    cidr: [
      ["10.0.0.0/8", "10.0.0.1/8", "fd00::/64"],
      ["10.0.0.0", "10.0.0.0/33", "x"],
    ],
    "cidr-or-ip": [
      ["10.0.0.1/8", "10.0.0.1", "::1"],
      ["10.0.0.0/33", "x"],
    ],
    cidr4: [
      ["10.0.0.1/24", "10.0.0.1"],
      ["fd00::/64", "10.0.0.1/x"],
    ],
    cidr6: [["fd00::1/64", "::"], ["10.0.0.1/24"]],
    ip: [
      ["10.0.0.1", "::1"],
      ["10.0.0.1/32", "10.0.0"],
    ],
    ip4: [["10.0.0.1"], ["::1"]],
    ip6: [["::1"], ["10.0.0.1"]],
    net: [
      ["10.0.0.0/8", "10.0.0.1", "fd00::/64"],
      ["10.0.0.1/8", "fd00::1/64"],
    ],
    mac: [
      ["ee:ee:ee:ee:ee:ee", "EE-EE-EE-EE-EE-EE"],
      ["ee:ee", "eeeeeeeeeeee"],
    ],
    "date-time": [
      ["2026-01-31T12:00:00Z", "2026-01-31T12:00:00.123456+02:00"],
      ["2026-01-31", "now"],
    ],
    name: [
      ["a", "a.b-c.1"],
      ["A", "-a", "a-", "a..b", "a.-b", "a_b", "a".repeat(254)],
    ],
    "label-name": [
      ["a", "a-b"],
      ["a.b", "A", "a-", "a".repeat(64)],
    ],
    interface: [
      ["eth0", "*", "cali_1.2-3"],
      ["", "a/b", "sixteen-letters-"],
    ],
    selector: [
      ["all()", 'a == "b"', ""],
      ["a ==", "a = 'b'"],
    ],
    "wireguard-key": [
      ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="],
      ["AAAA", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAB="],
    ],
    "container-id": [
      ["0123abcDEF", "a-b"],
      ["-a", "a-", "a_b"],
    ],
    "port-name": [
      ["http", "h2-c", "1a"],
      ["", "-a", "a--b", "12", "HTTP", "a234567890123456"],
    ],
    "port-or-name": [
      ["1", "65535", "http"],
      ["0", "65536", "1:2", "HTTP", ""],
    ],
    protocol: [
      ["TCP", "UDPLite", "6", "255"],
      ["tcp", "0", "256", "x"],
    ],
    port: [
      ["80", "1:65535", "http"],
      ["0", "65536", "2:1", "0:5", "a b", ""],
    ],
    dscp: [
      ["EF", "af11", "0", "63"],
      ["64", "AF14", "CS7", "-1"],
    ],
  };
  test.each(Object.entries(table))("%s", (format, [right, wrong]) => {
    const field = s.string({ format: format as s.Format });
    for (const text of right) expect(s.validate(field, text, "x"), text).toEqual([]);
    for (const text of wrong) expect(s.validate(field, text, "x"), text).toHaveLength(1);
  });

  test("a number may stand for a protocol, port or DSCP", () => {
    expect(s.validate(s.intOrString("protocol"), 6, "x")).toEqual([]);
    expect(s.validate(s.intOrString("port"), 8080, "x")).toEqual([]);
    for (const wrong of [-1, 1.5, 70000, true, null, 6n]) {
      expect(s.validate(s.intOrString("port"), wrong, "x"), String(wrong)).toHaveLength(1);
    }
  });

  test("a selector's message says where it is wrong", () => {
    expect(s.validate(s.string({ format: "selector" }), "a == b", "x").map(s.describeProblem)).toEqual([
      'x: "a == b": must be a selector; expected a text in quotes at character 6, found "b"',
    ]);
  });
});

describe("properties", () => {
  const names = [
    "name",
    "size",
    "mode",
    "uses",
    "as",
    "big",
    "bigs",
    "slots",
    "labels",
    "inner",
    "on",
    "note",
    "cidr",
    "spec",
  ];
  const json = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<unknown>(null, undefined, "", "A", "10.0.0.0/8", "1.10", true, 0, -1, 1.5, 2n ** 70n, Number.NaN),
      fc.array(tie("value"), { maxLength: 4 }),
      fc.dictionary(fc.oneof(fc.constantFrom(...names), fc.string(), fc.constant("__proto__")), tie("value"), {
        maxKeys: 6,
      }),
    ),
  })).value;

  test("nothing makes validation throw", () => {
    fc.assert(
      fc.property(json, fc.boolean(), (value, stored) => {
        for (const problem of s.validate(schema, s.applyDefaults(schema, value), "spec", { stored })) {
          expect(s.describeProblem(problem)).toMatch(/^spec/);
        }
      }),
      { numRuns: 2000 },
    );
  });

  test("completing twice is completing once", () => {
    fc.assert(
      fc.property(json, (value) => {
        const once = s.applyDefaults(schema, value);
        const kept = structuredClone(once);
        expect(s.applyDefaults(schema, once)).toEqual(kept);
      }),
      { numRuns: 1000 },
    );
  });

  test.each(KINDS.map((kind) => [kind.kind, kind] as const))(
    "%s: arbitrary data is completed and checked without an exception",
    (_, kind) => {
      const { spec } = kind;
      const fields = spec.type === "object" ? Object.keys(spec.fields) : [];
      const text = fc.constantFrom("10.0.0.0/24", "fd00::/64", "10.0.0.1", "Never", "all()", "k8s", "host", "TCP", "");
      const like = fc.dictionary(fc.constantFrom(...fields), fc.oneof(json, text, fc.array(text)), {
        maxKeys: 8,
        noNullPrototype: true,
      });
      fc.assert(
        fc.property(fc.oneof(like, json), json, fc.boolean(), (value, metadata, stored) => {
          const resource = { apiVersion: kind.apiVersion, kind: kind.kind, metadata, spec: value } as never;
          const completed = completeResource(kind, resource);
          const kept = structuredClone(completed);
          expect(completeResource(kind, completed)).toEqual(kept);
          checkResource(kind, completed, { stored });
        }),
        { numRuns: 300 },
      );
    },
  );
});
