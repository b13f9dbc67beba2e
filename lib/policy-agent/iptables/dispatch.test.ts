import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Chain, Rule } from "../rules/index.ts";
import { dispatchTree } from "./dispatch.ts";

const otherwise: readonly Rule[] = [{ match: [], action: { do: "drop" }, comment: "Unknown interface" }];
const tree = (names: readonly string[], name = "cali-from-wl-dispatch") =>
  dispatchTree({ name, direction: "in", entries: new Map(names.map((one) => [one, `to-${one}`])), otherwise });

/** One line a rule: `chain: interface → chain`. */
const shown = (chains: readonly Chain[]): string[] =>
  chains.flatMap(({ name, rules }) =>
    rules.map(({ match, action }) => {
      const [first] = match;
      const what = first?.is === "interface" ? first.name : "";
      return `${name}: ${what} ${"chain" in action ? action.chain : action.do}`.replaceAll(
        "cali-from-wl-dispatch",
        "D",
      );
    }),
  );

/** Where a packet of an interface ends up, and how many rules it was compared with. */
function walk(chains: readonly Chain[], root: string, interfaceName: string): { end: string; rules: number } {
  let chain = chains.find(({ name }) => name === root);
  for (let rules = 0, step = 0; chain !== undefined && step < 1_000; step++) {
    let next: string | undefined;
    for (const { match, action } of chain.rules) {
      rules++;
      const [first] = match;
      const name = first?.is === "interface" ? first.name : "*";
      if (!(name.endsWith("*") ? interfaceName.startsWith(name.slice(0, -1)) : name === interfaceName)) continue;
      if (!("chain" in action)) return { end: action.do, rules };
      next = action.chain;
      break;
    }
    if (next === undefined) return { end: "return", rules };
    const child = chains.find(({ name }) => name === next);
    if (child === undefined) return { end: next, rules };
    chain = child;
  }
  throw new Error("the walk does not end");
}

describe("a dispatch as a tree of chains", () => {
  it("branches by the character behind what all have in common", () => {
    expect(shown(tree(["cali1a", "cali1b", "cali2c", "cali3"]).chains)).toEqual([
      "D-1: cali1a to-cali1a",
      "D-1: cali1b to-cali1b",
      "D-1:  drop",
      "D: cali1* D-1",
      "D: cali2c to-cali2c",
      "D: cali3 to-cali3",
      "D:  drop",
    ]);
  });

  it("has a rule for a name that others begin with", () => {
    expect(shown(tree(["eth1", "eth10", "eth11"]).chains)).toEqual([
      "D: eth1 to-eth1",
      "D: eth10 to-eth10",
      "D: eth11 to-eth11",
      "D:  drop",
    ]);
  });

  it("is only what holds for strangers when there is no entry", () => {
    expect(shown(tree([]).chains)).toEqual(["D:  drop"]);
  });

  it("leaves out what no iptables can match, and says so", () => {
    const { chains, unmatched } = tree(["cali1", 'ca"li', "cali+"]);
    expect(unmatched).toEqual(["cali+", 'ca"li'].sort());
    expect(walk(chains, "cali-from-wl-dispatch", "cali1").end).toBe("to-cali1");
  });

  it("sends every interface to its chain and every other to what is there for strangers", () => {
    const name = fc.string({ unit: fc.constantFrom("a", "b", "1", ".", "é"), minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(fc.uniqueArray(name, { maxLength: 60 }), fc.array(name), (names, strangers) => {
        const { chains } = tree(names);
        expect(new Set(chains.map((chain) => chain.name)).size).toBe(chains.length);
        for (const { name: chain } of chains) expect(chain.length).toBeLessThanOrEqual(28);
        for (const one of [...names, ...strangers]) {
          expect(walk(chains, "cali-from-wl-dispatch", one).end).toBe(names.includes(one) ? `to-${one}` : "drop");
        }
      }),
    );
  });

  it("stays short on the way through with a thousand workloads", () => {
    const names = Array.from(
      { length: 1_000 },
      (_, index) => `cali${((index * 2_654_435_761) % 2 ** 32).toString(16).padStart(8, "0")}`,
    );
    const { chains } = tree(names);
    expect(Math.max(...names.map((one) => walk(chains, "cali-from-wl-dispatch", one).rules))).toBeLessThan(70);
  });
});
