import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Rule } from "../rules/index.ts";
import { type Content, renderChain } from "./hash.ts";
import { setName } from "./names.ts";
import { type KernelTable, parseSave } from "./read.ts";
import type { Dialect } from "./render.ts";
import { type InsertMode, type Plan, TableState } from "./table.ts";

const dialect: Dialect = { version: 4, setName: (id) => setName(4, id) };
const NOBODY: ReadonlySet<string> = new Set();
const always = (): boolean => true;
const jump = (chain: string): Rule => ({ match: [], action: { do: "jump", chain } });
const port = (protocol: number): Rule => ({ match: [{ is: "protocol", protocol }], action: { do: "accept" } });
const drop: Rule = { match: [], action: { do: "drop" } };
const content = (name: string, ...rules: readonly Rule[]): Content => renderChain(name, rules, dialect);

/** A filter table that obeys the lines of iptables-restore --noflush, all or none, and refuses what the kernel refuses. */
class Kernel {
  chains = new Map<string, string[]>([
    ["INPUT", []],
    ["FORWARD", []],
    ["OUTPUT", []],
  ]);

  send(lines: readonly string[]): void {
    const chains = new Map([...this.chains].map(([name, rules]) => [name, [...rules]]));
    const rulesOf = (name: string | undefined): string[] => {
      const rules = chains.get(name ?? "");
      if (rules === undefined) throw new Error(`no chain ${name}`);
      return rules;
    };
    const target = (rule: string): string | undefined => /--(?:jump|goto) (cali\S+)/.exec(rule)?.[1];
    for (const line of lines) {
      const [, made] = /^:(\S+) - \[0:0\]$/.exec(line) ?? [];
      const [, command, name, text = ""] = /^-([AIDX]) (\S+) ?(.*)$/.exec(line) ?? [];
      if ((command === "A" || command === "I") && target(text) !== undefined) rulesOf(target(text));
      if (made !== undefined) chains.set(made, []);
      else if (command === "A") rulesOf(name).push(text);
      else if (command === "I") {
        const [, number, rule = ""] = /^(\d+) (.*)$/.exec(text) ?? [];
        if (Number(number) > rulesOf(name).length + 1) throw new Error(`index too big: ${line}`);
        rulesOf(name).splice(Number(number) - 1, 0, rule);
      } else if (command === "D") {
        const at = rulesOf(name).indexOf(text);
        if (at < 0) throw new Error(`no such rule: ${line}`);
        rulesOf(name).splice(at, 1);
      } else if (command === "X") {
        if (rulesOf(name).length > 0) throw new Error(`not empty: ${line}`);
        for (const rules of chains.values())
          if (rules.some((rule) => target(rule) === name)) throw new Error(`in use: ${line}`);
        chains.delete(name ?? "");
      } else throw new Error(`not understood: ${line}`);
    }
    this.chains = chains;
  }

  save(): KernelTable {
    const lines = [...this.chains].map(([name]) => `:${name} - [0:0]`);
    for (const [name, rules] of this.chains) lines.push(...rules.map((rule) => `-A ${name} ${rule}`));
    const table = parseSave(["*filter", ...lines, "COMMIT"].join("\n")).get("filter");
    if (table === undefined) throw new Error("no filter table");
    return table;
  }
}

/** Sends what is planned, until nothing is left. */
function apply(state: TableState, kernel: Kernel, hold: ReadonlySet<string> = NOBODY): Plan | undefined {
  const plan = state.plan(hold, always);
  if (plan === undefined) return undefined;
  kernel.send(plan.lines);
  state.commit(plan);
  return plan;
}

function fresh(insertMode: InsertMode = "insert"): { state: TableState; kernel: Kernel } {
  const [state, kernel] = [new TableState("filter", dialect, insertMode), new Kernel()];
  state.compare(kernel.save());
  return { state, kernel };
}

const want = (state: TableState, name: string, ...rules: readonly Rule[]): void =>
  state.want(name, content(name, ...rules));
const hookRules = (state: TableState, first: readonly Rule[], last: readonly Rule[] = []): void =>
  state.wantHook("FORWARD", content("FORWARD", ...first), renderChain("FORWARD", last, dialect, "-last"));

describe("what is sent for a table", () => {
  it("makes chains before rules jump to them, and hooks last", () => {
    const { state, kernel } = fresh();
    want(state, "cali-FORWARD", jump("cali-b"));
    want(state, "cali-b", drop);
    hookRules(state, [jump("cali-FORWARD")]);
    const plan = apply(state, kernel);
    expect(plan?.lines.map((line) => line.replace(/"cali:[\w-]{16}"/, "#"))).toEqual([
      ":cali-FORWARD - [0:0]",
      ":cali-b - [0:0]",
      "-A cali-FORWARD -m comment --comment # --jump cali-b",
      "-A cali-b -m comment --comment # --jump DROP",
      "-I FORWARD 1 -m comment --comment # --jump cali-FORWARD",
    ]);
    expect(plan?.owners).toEqual(["cali-FORWARD", "cali-b", "cali-FORWARD", "cali-b", "FORWARD"]);
    expect(plan?.tightening).toBe(1);
    expect(apply(state, kernel)).toBeUndefined();
  });

  it("only adds to a chain that got longer, and empties one that changed", () => {
    const { state, kernel } = fresh();
    want(state, "cali-a", port(6));
    apply(state, kernel);
    want(state, "cali-a", port(6), port(17));
    expect(apply(state, kernel)?.lines).toEqual([`-A cali-a ${content("cali-a", port(6), port(17)).lines[1]}`]);
    want(state, "cali-a", port(17));
    expect(apply(state, kernel)?.lines).toEqual([
      ":cali-a - [0:0]",
      `-A cali-a ${content("cali-a", port(17)).lines[0]}`,
    ]);
    state.want("cali-a", undefined);
    expect(apply(state, kernel)?.lines).toEqual([":cali-a - [0:0]", "-X cali-a"]);
    expect(kernel.save().chains.size).toBe(0);
  });

  it("takes over what is right, and cleans up what another version left", () => {
    const { state, kernel } = fresh();
    want(state, "cali-a", port(6));
    hookRules(state, [jump("cali-a")]);
    apply(state, kernel);
    kernel.send([":cali-old - [0:0]", "-A cali-old --jump DROP", ":felix-FORWARD - [0:0]"]);
    kernel.send(["-I FORWARD 1 --jump cali-old", "-I FORWARD 1 -i eth0 --jump ACCEPT"]);
    const successor = new TableState("filter", dialect, "insert");
    want(successor, "cali-a", port(6));
    hookRules(successor, [jump("cali-a")]);
    successor.compare(kernel.save());
    const plan = apply(successor, kernel);
    expect(plan?.lines.filter((line) => line.includes(" cali-a ") && !line.includes("FORWARD"))).toEqual([]);
    expect([...kernel.chains.keys()].sort()).toEqual(["FORWARD", "INPUT", "OUTPUT", "cali-a"]);
    expect(kernel.chains.get("FORWARD")).toEqual([
      content("FORWARD", jump("cali-a")).lines[0],
      "-i eth0 --jump ACCEPT",
    ]);
    expect(successor.counts).toEqual({ chains: 1, rules: 2 });
  });

  it.each(["insert", "append"] as const)("keeps its rules in place among those of others, with %s", (mode) => {
    const { state, kernel } = fresh(mode);
    kernel.send(["-A FORWARD one", "-A FORWARD two"]);
    state.compare(kernel.save());
    hookRules(state, [port(6)], [port(17)]);
    apply(state, kernel);
    const [first, last] = [
      content("FORWARD", port(6)).lines[0],
      renderChain("FORWARD", [port(17)], dialect, "-last").lines[0],
    ];
    const right = mode === "insert" ? [first, "one", "two", last] : ["one", "two", first, last];
    expect(kernel.chains.get("FORWARD")).toEqual(right);
    kernel.send(["-I FORWARD 1 zero", "-A FORWARD three"]);
    expect(state.differences(kernel.save())).toEqual(["chain filter FORWARD had lost its way to Calico's rules"]);
    state.compare(kernel.save());
    apply(state, kernel);
    const others = ["zero", "one", "two", "three"];
    expect(kernel.chains.get("FORWARD")).toEqual(
      mode === "insert" ? [first, ...others, last] : [...others, first, last],
    );
  });

  it("says in words what others did", () => {
    const { state, kernel } = fresh();
    for (const name of ["cali-a", "cali-b", "cali-c"]) want(state, name, port(6));
    apply(state, kernel);
    kernel.send([":cali-a - [0:0]", ":cali-b - [0:0]", "-X cali-b", ":cali-x - [0:0]"]);
    expect(state.differences(kernel.save())).toEqual([
      "chain filter cali-a was changed",
      "chain filter cali-b was gone",
      "chain filter cali-x was not ours",
    ]);
  });
});

describe("what cannot be as it should", () => {
  it("a chain that is jumped to and not there denies", () => {
    const { state, kernel } = fresh();
    want(state, "cali-a", jump("cali-nowhere"));
    const plan = apply(state, kernel);
    expect(plan?.problems).toEqual(["chain filter cali-nowhere: it is no chain, but cali-a jumps to it; it denies"]);
    expect(kernel.chains.get("cali-nowhere")?.[0]).toMatch(/--jump DROP$/);
    want(state, "cali-nowhere", port(6));
    expect(apply(state, kernel)?.problems).toEqual([]);
    expect(kernel.save().chains.get("cali-nowhere")).toEqual(content("cali-nowhere", port(6)).hashes);
  });

  it("a chain that goes while rules jump to it stays", () => {
    const { state, kernel } = fresh();
    want(state, "cali-a", jump("cali-b"));
    want(state, "cali-b", port(6));
    apply(state, kernel);
    state.want("cali-b", undefined);
    expect(apply(state, kernel)?.problems).toEqual([
      "chain filter cali-b: it should go, but rules still jump to it; it stays what it was",
    ]);
    expect(kernel.chains.get("cali-b")).toHaveLength(1);
    want(state, "cali-a", port(17));
    apply(state, kernel);
    expect(kernel.chains.has("cali-b")).toBe(false);
  });

  it("a chain that cannot be said or lacks a set stays what it was, and denies when it is new", () => {
    const { state, kernel } = fresh();
    want(state, "cali-a", port(6));
    apply(state, kernel);
    state.cannotSay("cali-a", "why");
    state.cannotSay("cali-new", "why");
    want(state, "cali-set", { match: [{ is: "set", side: "source", set: "s:x" }], action: { do: "accept" } });
    const plan = state.plan(NOBODY, () => false);
    expect(plan?.problems).toEqual([
      "chain filter cali-a: why; it stays what it was",
      "chain filter cali-new: why; it denies",
      "chain filter cali-set: its set cali40s:x could not be made; it denies",
    ]);
    kernel.send(plan?.lines ?? []);
    expect(kernel.chains.get("cali-a")).toEqual(content("cali-a", port(6)).lines);
    for (const name of ["cali-new", "cali-set"]) expect(kernel.chains.get(name)?.[0]).toMatch(/--jump DROP$/);
  });

  it("a chain that another left stays what it was, too", () => {
    const { state, kernel } = fresh();
    kernel.send([":cali-a - [0:0]", "-A cali-a somebody's"]);
    state.cannotSay("cali-a", "why");
    state.compare(kernel.save());
    expect(apply(state, kernel)?.problems).toEqual(["chain filter cali-a: why; it stays what it was"]);
    expect(kernel.chains.get("cali-a")).toEqual(["somebody's"]);
  });

  it("what is held back stays what it was, and is done when it is not", () => {
    const { state, kernel } = fresh();
    want(state, "cali-a", port(6));
    apply(state, kernel);
    want(state, "cali-a", port(17));
    want(state, "cali-b", jump("cali-a"));
    want(state, "cali-c", jump("cali-b"));
    apply(state, kernel, new Set(["cali-a", "cali-b"]));
    expect(kernel.chains.get("cali-a")).toEqual(content("cali-a", port(6)).lines);
    expect(kernel.chains.get("cali-b")?.[0]).toMatch(/--jump DROP$/);
    expect(kernel.chains.get("cali-c")).toEqual(content("cali-c", jump("cali-b")).lines);
    apply(state, kernel);
    expect(kernel.chains.get("cali-a")).toEqual(content("cali-a", port(17)).lines);
    expect(kernel.chains.get("cali-b")).toEqual(content("cali-b", jump("cali-a")).lines);
  });
});

describe("any series of programs", () => {
  const names = ["cali-a", "cali-b", "cali-c", "cali-d", "cali-e"];
  /** A chain jumps only to those after it, so that there are no circles. */
  const rules = (from: number) =>
    fc.array(
      fc.oneof(fc.constantFrom(1, 6, 17).map(port), fc.constantFrom(...names.slice(from + 1), "cali-e").map(jump)),
      { maxLength: 4 },
    );
  const program = fc.record({
    chains: fc.tuple(
      ...names.map((_, index) =>
        fc.option(index === 4 ? fc.array(fc.constant(port(6)), { minLength: 1, maxLength: 1 }) : rules(index), {
          nil: undefined,
        }),
      ),
    ),
    hooked: fc.boolean(),
    tampering: fc.constantFrom("", ...names.slice(0, 4), "hook", "foreign"),
  });

  it("ends as the last one does from scratch, whatever was there before and whoever interfered", () => {
    fc.assert(
      fc.property(fc.array(program, { minLength: 1, maxLength: 6 }), (programs) => {
        const { state, kernel } = fresh();
        const wanted = new Map<string, readonly Rule[]>();
        let foreign: string[] = [];
        for (const { chains, hooked, tampering } of programs) {
          wanted.clear();
          for (const [index, list] of chains.entries()) {
            const name = names[index] ?? "";
            // Only what is defined may be jumped to.
            const defined = list?.filter(
              ({ action }) => !("chain" in action) || chains[names.indexOf(action.chain)] !== undefined,
            );
            if (defined !== undefined) wanted.set(name, defined);
            state.want(name, defined && content(name, ...defined));
          }
          hookRules(state, hooked && wanted.has("cali-a") ? [jump("cali-a")] : []);
          expect(apply(state, kernel)?.problems ?? []).toEqual([]);
          if (tampering === "hook") kernel.chains.set("FORWARD", []);
          else if (tampering === "foreign") kernel.send(["-I FORWARD 1 somebody's"]);
          else if (kernel.chains.has(tampering)) kernel.chains.get(tampering)?.reverse().splice(1);
          foreign =
            tampering === "hook" ? [] : (kernel.chains.get("FORWARD") ?? []).filter((rule) => rule === "somebody's");
          state.compare(kernel.save());
          apply(state, kernel);
          expect(kernel.save().chains).toEqual(
            new Map([...wanted].map(([name, list]) => [name, content(name, ...list).hashes])),
          );
          const first = hooked && wanted.has("cali-a") ? content("FORWARD", jump("cali-a")).lines : [];
          expect(kernel.chains.get("FORWARD")).toEqual([...first, ...foreign]);
          expect(state.plan(NOBODY, always)).toBeUndefined();
        }
      }),
      { numRuns: 300 },
    );
  });
});
