import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LabelStore, type Labels, parseSelector, restrictionsOf, SelectorIndex } from "./index.ts";
import { Postings } from "./postings.ts";

const TEXTS = [
  "all()",
  "a == 'x'",
  "a != 'x'",
  "a in {'x', 'y'}",
  "a in {}",
  "a not in {'x'}",
  "has(b)",
  "!has(b)",
  "b contains 'y'",
  "b starts with 'x' && a == 'y'",
  "a == 'x' || b == 'x'",
  "a == 'x' || has(a)",
  "(a == 'x' || a == 'y') && has(c)",
  "a == 'x' && a == 'y'",
  "!(a == 'x' && has(b))",
  "c ends with 'z' || !(has(a) || has(b))",
].map((text) => parseSelector(text).text);

const labels = fc.record(
  { a: fc.constantFrom("x", "y", "xy"), b: fc.constantFrom("x", "xy"), c: fc.constantFrom("z") },
  { requiredKeys: [] },
) as fc.Arbitrary<Labels>;
const parents = fc.uniqueArray(fc.constantFrom("p", "q", "r"), { maxLength: 3 });

type Step =
  | { do: "object"; name: number; labels: Labels; parents: string[] }
  | { do: "no object"; name: number }
  | { do: "parent"; name: string; labels: Labels | undefined }
  | { do: "selector"; text: string }
  | { do: "no selector"; text: string };

const steps: fc.Arbitrary<Step[]> = fc.array(
  fc.oneof(
    { weight: 5, arbitrary: fc.record({ do: fc.constant("object" as const), name: fc.nat(30), labels, parents }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("no object" as const), name: fc.nat(30) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("parent" as const),
        name: fc.constantFrom("p", "q", "r"),
        labels: fc.option(labels, { nil: undefined }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant("selector" as const), text: fc.constantFrom(...TEXTS) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("no selector" as const), text: fc.constantFrom(...TEXTS) }) },
  ),
  { maxLength: 60 },
);

/** The index, and beside it the same in plain maps. */
class Pair {
  readonly store = new LabelStore();
  readonly only: Set<number> | undefined;
  readonly index: SelectorIndex;
  readonly items = new Map<number, { item: number; labels: Labels; parents: string[] }>();
  readonly parents = new Map<string, Labels>();
  readonly selectors = new Map<string, number>();

  constructor(isPart: boolean) {
    this.only = isPart ? new Set() : undefined;
    this.index = new SelectorIndex(this.store, this.only);
  }

  /** Of a part, only objects with an even name. */
  #isIn(name: number): boolean {
    return this.only === undefined || name % 2 === 0;
  }

  take(step: Step): void {
    const known = "name" in step && typeof step.name === "number" ? this.items.get(step.name) : undefined;
    switch (step.do) {
      case "object": {
        const item = known?.item ?? this.store.add(step.labels, step.parents);
        if (known !== undefined) this.store.set(item, step.labels, step.parents);
        this.items.set(step.name, { item, labels: step.labels, parents: step.parents });
        if (!this.#isIn(step.name)) return;
        this.only?.add(item);
        this.index.evaluate(item);
        return;
      }
      case "no object":
        if (known === undefined) return;
        this.items.delete(step.name);
        this.only?.delete(known.item);
        this.index.forget(known.item);
        this.store.remove(known.item);
        return;
      case "parent": {
        if (step.labels === undefined) this.parents.delete(step.name);
        else this.parents.set(step.name, step.labels);
        for (const group of this.store.setParent(step.name, step.labels)) {
          for (const item of [...this.store.itemsOf(group)]) {
            if (!this.store.has(item) || this.store.groupOf(item) !== group) continue;
            if (this.only === undefined || this.only.has(item)) this.index.evaluate(item);
          }
        }
        return;
      }
      case "selector": {
        if (this.selectors.has(step.text)) return;
        const id = this.index.add(step.text);
        this.selectors.set(step.text, id);
        const told: number[] = [];
        for (const _ of this.index.enroll(id, (item) => told.push(item)));
        expect(new Set(told).size).toBe(told.length);
        return;
      }
      case "no selector": {
        const id = this.selectors.get(step.text);
        if (id === undefined) return;
        this.selectors.delete(step.text);
        for (const _ of this.index.remove(id));
      }
    }
  }

  check(): void {
    for (const [name, { item, labels, parents }] of this.items) {
      let all: Labels = {};
      for (const parent of parents) all = { ...this.parents.get(parent), ...all };
      all = { ...all, ...labels };
      const wanted = this.#isIn(name) ? [...this.selectors].filter(([text]) => parseSelector(text).matches(all)) : [];
      const found = [...this.index.matchesOf(item)].sort();
      expect(found, JSON.stringify(all)).toEqual(wanted.map(([, id]) => id).sort());
    }
  }

  clear(): void {
    for (const name of [...this.items.keys()]) this.take({ do: "no object", name });
    for (const text of [...this.selectors.keys()]) this.take({ do: "no selector", text });
    for (const name of [...this.parents.keys()]) this.take({ do: "parent", name, labels: undefined });
  }
}

describe("which selectors match which objects", () => {
  test.each([
    ["of all objects", false],
    ["of some objects", true],
  ])("agrees with asking every selector about every object, %s; and nothing is left when all is gone", (_, isPart) => {
    fc.assert(
      fc.property(steps, (steps) => {
        const pair = new Pair(isPart);
        for (const step of steps) {
          pair.take(step);
          pair.check();
        }
        pair.clear();
        expect(pair.store.counts).toEqual({ objects: 0, names: 0, pairs: 0, parents: 0 });
      }),
      { numRuns: 300 },
    );
  });

  test("a selector asks only objects with what it looks for, an object only selectors that look for what it has", () => {
    const store = new LabelStore();
    const index = new SelectorIndex(store);
    const items = Array.from({ length: 1000 }, (_, i) => store.add({ app: `app-${i}`, kind: "pod" }, [`ns-${i}`]));
    for (let i = 0; i < 1000; i++) store.setParent(`ns-${i}`, { namespace: `ns-${i}` });
    const steps = (text: string): number => {
      let looked = 0;
      const has = store.has.bind(store);
      store.has = (item) => {
        looked++;
        return has(item);
      };
      for (const _ of index.enroll(index.add(text), () => {}));
      store.has = has;
      return looked;
    };
    expect(steps(`app == "app-7"`)).toBe(1);
    expect(steps(`(kind == "pod" && namespace == "ns-7")`)).toBe(1);
    expect(steps(`namespace in {"ns-1", "ns-2"}`)).toBe(2);
    expect(steps(`(has(kind) && app == "none")`)).toBe(0);
    expect(index.matchesOf(items[7]!)).toHaveLength(2);

    let asked = 0;
    const find = store.find.bind(store);
    store.find = (item, name) => {
      asked++;
      return find(item, name);
    };
    for (let i = 0; i < 1000; i++) index.add(`(kind == "pod" && app == "app-${i}")`);
    asked = 0;
    index.evaluate(items[500]!);
    // All agree on the kind, so all but one or two lie under their app.
    expect(asked).toBeLessThan(20);
  });
});

describe("what labels must have for a selector to match", () => {
  test.each([
    ["all()", {}],
    ["a == 'x'", { a: ["x"] }],
    ["a == 'x' && a in {'x', 'y'} && has(b)", { a: ["x"], b: "any" }],
    ["a == 'x' && a == 'y'", { a: [] }],
    ["a == 'x' || a == 'y'", { a: ["x", "y"] }],
    ["a == 'x' || a contains 'y'", { a: "any" }],
    ["a == 'x' || b == 'y'", {}],
    ["(a == 'x' || b == 'y') && c starts with 'z'", { c: "any" }],
    ["!has(a) && b == 'x'", { b: ["x"] }],
    ["a != 'x' && !(b == 'y')", {}],
  ])("%s", (text, wanted) => {
    const found = [...restrictionsOf(parseSelector(text).root).values()].map(({ label, values }) => [
      label,
      values === undefined ? "any" : [...values].sort(),
    ]);
    expect(Object.fromEntries(found)).toEqual(wanted);
  });
});

test("postings agree with sets, whatever comes and goes", () => {
  const operations = fc.array(fc.record({ key: fc.nat(3), id: fc.nat(60), adds: fc.boolean() }), { maxLength: 400 });
  fc.assert(
    fc.property(operations, (operations) => {
      const sets = Array.from({ length: 4 }, () => new Set<number>());
      const postings = new Postings((key, id) => sets[key]!.has(id));
      for (const { key, id, adds } of operations) {
        if (adds === sets[key]!.has(id)) continue;
        if (adds) {
          sets[key]!.add(id);
          postings.add(key, id);
        } else {
          sets[key]!.delete(id);
          postings.remove(key, id);
        }
        const found = new Set(postings.each(key));
        expect(postings.size(key)).toBe(sets[key]!.size);
        for (const one of sets[key]!) expect(found.has(one)).toBe(true);
      }
    }),
  );
});
