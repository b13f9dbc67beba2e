/** From one IP version's program to what its tables want: renders what changed, and nothing else. */
import type { SetId } from "../calc/index.ts";
import type { Changes, Hook, Program, Rule, Table } from "../rules/index.ts";
import { closeRules, TABLES } from "../rules/index.ts";
import { dispatchTree } from "./dispatch.ts";
import type { Family } from "./family.ts";
import { type Content, EMPTY, renderChain } from "./hash.ts";
import { KERNEL_CHAINS } from "./names.ts";
import type { Dialect } from "./render.ts";

/** Two lists of rules in one of the kernel's chains must not have the same hashes. */
const LAST = "-last";

export class Intake {
  readonly program: Program;
  readonly family: Family;
  readonly #dialect: Dialect;
  readonly #warn: (message: string) => void;
  readonly #isOverfull: (set: SetId) => boolean;
  /** The chains that each dispatch was lowered to. */
  readonly #trees: Record<Table, Map<string, readonly string[]>> = {
    raw: new Map(),
    mangle: new Map(),
    nat: new Map(),
    filter: new Map(),
  };
  /** Chains whose rules had to be closed for a set that has not all its members. */
  readonly #closed: Record<Table, Set<string>> = {
    raw: new Set(),
    mangle: new Set(),
    nat: new Set(),
    filter: new Set(),
  };
  readonly #overfull = new Set<SetId>();

  constructor(
    program: Program,
    family: Family,
    dialect: Dialect,
    isOverfull: (set: SetId) => boolean,
    warn: (message: string) => void,
  ) {
    this.#warn = warn;
    this.program = program;
    this.family = family;
    this.#dialect = dialect;
    this.#isOverfull = isOverfull;
  }

  /** Everything the program has, as if it had just changed. */
  all(): void {
    this.program.takeChanges();
    this.#noteSizes(this.program.sets.keys());
    for (const table of TABLES) {
      this.#trees[table].clear();
      this.#closed[table].clear();
      this.family.tables[table].wantNothing();
      for (const name of this.program.chains(table).keys()) this.#chain(table, name);
      for (const name of this.program.dispatches(table).keys()) this.#dispatch(table, name);
      for (const hook of KERNEL_CHAINS[table]) this.#hook(table, hook);
    }
  }

  /** What the program says has changed. */
  some(changes: Changes): void {
    const toggled = this.#noteSizes(changes.sets.keys());
    for (const table of TABLES) {
      for (const name of changes.chains[table]) this.#chain(table, name);
      for (const name of changes.dispatches[table]) this.#dispatch(table, name);
      for (const hook of changes.hooks[table]) this.#hook(table, hook);
      if (toggled.length === 0) continue;
      const touched = new Set(this.#closed[table]);
      for (const set of toggled) {
        for (const name of this.family.tables[table].chainsWithSet(this.#dialect.setName(set))) touched.add(name);
      }
      for (const name of touched) if (this.program.chains(table).has(name)) this.#chain(table, name);
    }
  }

  /** Sets of these names have other names now. */
  renamed(names: readonly string[]): void {
    for (const table of TABLES) {
      for (const old of names) {
        for (const name of this.family.tables[table].chainsWithSet(old)) {
          if (this.program.chains(table).has(name)) this.#chain(table, name);
        }
      }
      if (names.length > 0) for (const hook of KERNEL_CHAINS[table]) this.#hook(table, hook);
    }
  }

  /** Sets that became too big for the kernel, or small enough. */
  #noteSizes(sets: Iterable<SetId>): SetId[] {
    const toggled: SetId[] = [];
    for (const set of sets) {
      const isOverfull = this.#isOverfull(set);
      if (isOverfull === this.#overfull.has(set)) continue;
      toggled.push(set);
      if (isOverfull) this.#overfull.add(set);
      else this.#overfull.delete(set);
    }
    return toggled;
  }

  #chain(table: Table, name: string): void {
    const chain = this.program.chains(table).get(name);
    const closed = this.#closed[table];
    closed.delete(name);
    if (chain === undefined) {
      this.family.tables[table].want(name, undefined);
      return;
    }
    let { rules } = chain;
    // The nat table lets nothing through that the others would not.
    if (this.#overfull.size > 0 && table !== "nat") {
      const instead = closeRules(rules, (set) => this.#overfull.has(set));
      if (instead !== undefined) closed.add(name);
      rules = instead ?? rules;
    }
    this.#render(table, name, rules);
  }

  #dispatch(table: Table, name: string): void {
    const dispatch = this.program.dispatches(table).get(name);
    const before = this.#trees[table].get(name) ?? [];
    const tree = dispatch && dispatchTree(dispatch);
    const now = new Set(tree?.chains.map((chain) => chain.name));
    for (const old of before) if (!now.has(old)) this.family.tables[table].want(old, undefined);
    if (tree !== undefined && tree.unmatched.length > 0) {
      this.#warn(
        `iptables cannot match interfaces of these names, ${name} takes them for strangers: ${tree.unmatched.join(" ")}`,
      );
    }
    for (const chain of tree?.chains ?? []) this.#render(table, chain.name, chain.rules);
    if (tree === undefined) this.#trees[table].delete(name);
    else this.#trees[table].set(name, [...now]);
  }

  #render(table: Table, name: string, rules: readonly Rule[]): void {
    const state = this.family.tables[table];
    try {
      const content = renderChain(name, rules, this.#dialect);
      if (!state.wants(name, content)) state.want(name, content);
    } catch (error) {
      state.cannotSay(name, (error as Error).message);
    }
  }

  #hook(table: Table, hook: Hook): void {
    const rules = this.program.hooks(table).get(hook);
    const state = this.family.tables[table];
    const render = (list: readonly Rule[] | undefined, salt: string): Content =>
      list === undefined ? EMPTY : renderChain(hook, list, this.#dialect, salt);
    try {
      state.wantHook(hook, render(rules?.first, ""), render(rules?.last, LAST));
    } catch (error) {
      state.cannotSay(hook, (error as Error).message);
    }
  }
}
