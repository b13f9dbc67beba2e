/**
 * One table of one IP version: what it should hold, what the kernel is known to hold, and the commands that lead from one to the other. No
 * effects: {@link TableState.plan} says what would be sent, {@link TableState.commit} that it was accepted, {@link TableState.compare}
 * what iptables-save really found.
 */
import type { Hook, Table } from "../rules/index.ts";
import { type Content, EMPTY, renderChain } from "./hash.ts";
import { KERNEL_CHAINS } from "./names.ts";
import { emptyTable, type KernelRule, type KernelTable } from "./read.ts";
import type { Dialect } from "./render.ts";

export type InsertMode = "insert" | "append";

/** Calico's rules in one of the kernel's chains. */
interface HookContent {
  readonly first: Content;
  readonly last: Content;
}

/** What is to be sent for a table. */
export interface Plan {
  readonly table: Table;
  /** Between `*table` and `COMMIT`. */
  readonly lines: readonly string[];
  /** For each line the chain, of ours or of the kernel's, for which it is there. */
  readonly owners: readonly string[];
  /** What chains hold afterwards; undefined: they are gone. */
  readonly chains: ReadonlyMap<string, Content | undefined>;
  readonly hooks: ReadonlySet<Hook>;
  /** How many more rules deny than before: tables that deny more go first. */
  readonly tightening: number;
  /** What cannot be as it should, in words. */
  readonly problems: readonly string[];
}

const NO_RULES: HookContent = { first: EMPTY, last: EMPTY };

export class TableState {
  readonly table: Table;
  readonly #dialect: Dialect;
  readonly #insertMode: InsertMode;
  readonly #wanted = new Map<string, Content>();
  readonly #wantedHooks = new Map<Hook, HookContent>();
  /** Chains and hooks that cannot be said in iptables, and why. */
  readonly #unsayable = new Map<string, string>();
  /** What was accepted last for each chain that is there: what it falls back to. */
  readonly #standing = new Map<string, Content>();
  /** How many chains of `standing` refer to a chain. */
  readonly #references = new Map<string, number>();
  #kernel: KernelTable = emptyTable();
  readonly #dirty = new Set<string>();
  readonly #dirtyHooks = new Set<Hook>();

  constructor(table: Table, dialect: Dialect, insertMode: InsertMode) {
    this.table = table;
    this.#dialect = dialect;
    this.#insertMode = insertMode;
  }

  /** Chains and rules of Calico's that the kernel is known to hold. */
  get counts(): { chains: number; rules: number } {
    let rules = 0;
    for (const hashes of this.#kernel.chains.values()) rules += hashes.length;
    for (const list of this.#kernel.hooks.values()) rules += list.filter((rule) => rule.ours).length;
    return { chains: this.#kernel.chains.size, rules };
  }

  /** Whether anything of Calico's should be here, or is. */
  get inUse(): boolean {
    return this.#wanted.size > 0 || this.#kernel.chains.size > 0 || this.#wantedHooks.size > 0;
  }

  /** Whether Calico has rules in the chain of the kernel. */
  usesHook(name: string): boolean {
    const wanted = this.#wantedHooks.get(name as Hook);
    return wanted !== undefined && wanted.first.lines.length + wanted.last.lines.length > 0;
  }

  /** Names of chains whose rules look into the set. */
  chainsWithSet(set: string): string[] {
    return [...this.#wanted].flatMap(([name, content]) => (content.sets.includes(set) ? [name] : []));
  }

  /** Whether just this is wanted already. */
  wants(name: string, content: Content): boolean {
    const wanted = this.#wanted.get(name);
    return wanted !== undefined && !this.#unsayable.has(name) && same(wanted.hashes, content.hashes);
  }

  /** What a chain should hold; undefined: it should not be there. */
  want(name: string, content: Content | undefined): void {
    this.#unsayable.delete(name);
    if (content === undefined) this.#wanted.delete(name);
    else this.#wanted.set(name, content);
    this.#dirty.add(name);
  }

  /** The chain should be there, but what it should hold cannot be said. */
  cannotSay(name: string, why: string): void {
    this.#unsayable.set(name, why);
    if ((KERNEL_CHAINS[this.table] as readonly string[]).includes(name)) this.#dirtyHooks.add(name as Hook);
    else this.#dirty.add(name);
  }

  wantHook(hook: Hook, first: Content, last: Content): void {
    this.#unsayable.delete(hook);
    this.#wantedHooks.set(hook, { first, last });
    this.#dirtyHooks.add(hook);
  }

  /** Nothing of Calico's should be here any more. */
  wantNothing(): void {
    for (const name of this.#wanted.keys()) this.#dirty.add(name);
    this.#wanted.clear();
    this.#unsayable.clear();
    for (const hook of KERNEL_CHAINS[this.table]) this.wantHook(hook, EMPTY, EMPTY);
  }

  /** In words, what is not as it was left. */
  differences(found: KernelTable): string[] {
    const words: string[] = [];
    const say = (name: string, what: string): void => void words.push(`chain ${this.table} ${name} ${what}`);
    for (const [name, hashes] of this.#kernel.chains) {
      const now = found.chains.get(name);
      if (now === undefined) say(name, "was gone");
      else if (!same(now, hashes)) say(name, "was changed");
    }
    for (const name of found.chains.keys()) if (!this.#kernel.chains.has(name)) say(name, "was not ours");
    for (const hook of KERNEL_CHAINS[this.table]) {
      const [before, now] = [this.#kernel.hooks.get(hook) ?? [], found.hooks.get(hook) ?? []];
      if (this.#isRight(hook, before) && !this.#isRight(hook, now)) say(hook, "had lost its way to Calico's rules");
    }
    return words;
  }

  /** Takes over what iptables-save found. Afterwards the plan is what is needed to make it right. */
  compare(found: KernelTable): void {
    this.#kernel = found;
    this.#dirty.clear();
    this.#dirtyHooks.clear();
    for (const [name, hashes] of found.chains) {
      const wanted = this.#wanted.get(name);
      if (wanted === undefined || !same(hashes, wanted.hashes) || this.#unsayable.has(name)) this.#dirty.add(name);
      else this.#stand(name, wanted);
    }
    for (const names of [this.#wanted.keys(), this.#standing.keys()]) {
      for (const name of names) if (!found.chains.has(name)) this.#dirty.add(name);
    }
    for (const hook of KERNEL_CHAINS[this.table]) {
      if (!this.#isRight(hook, found.hooks.get(hook) ?? [])) this.#dirtyHooks.add(hook);
    }
    for (const [name, why] of this.#unsayable) this.cannotSay(name, why);
  }

  /**
   * What to send; undefined: nothing. Chains (and hooks) in `hold` stay what they are, or deny when they are new. So do chains
   * that look into a set that is not there.
   */
  plan(hold: ReadonlySet<string>, hasSet: (name: string) => boolean): Plan | undefined {
    if (this.#dirty.size === 0 && this.#dirtyHooks.size === 0) return undefined;
    const problems: string[] = [];
    const chains = new Map<string, Content | undefined>();
    for (const name of this.#dirty) {
      const wanted = this.#wanted.get(name);
      const why = this.#whyNot(name, wanted, hasSet);
      if (why !== undefined) problems.push(`chain ${this.table} ${name}: ${why}; ${this.#insteadOf(name)}`);
      if (wanted === undefined && why === undefined) {
        if (!hold.has(name)) chains.set(name, undefined);
      } else if (wanted === undefined || why !== undefined || hold.has(name)) {
        const instead = this.#fallback(name, hasSet);
        if (instead !== undefined) chains.set(name, instead);
      } else {
        chains.set(name, wanted);
      }
    }
    const hooks = new Set([...this.#dirtyHooks].filter((hook) => !hold.has(hook) && !this.#unsayable.has(hook)));
    for (const hook of this.#dirtyHooks) {
      const why = this.#unsayable.get(hook);
      if (why !== undefined) problems.push(`chain ${this.table} ${hook}: ${why}; it stays as it is`);
    }
    this.#closeGaps(chains, hooks, problems);
    this.#keepReferred(chains, hooks, problems);
    const { lines, owners } = this.#lines(chains, hooks);
    let tightening = 0;
    for (const [name, content] of chains) {
      tightening += (content?.denials ?? 0) - (this.#standing.get(name)?.denials ?? 0);
    }
    return { table: this.table, lines, owners, chains, hooks, tightening, problems };
  }

  /** The kernel has accepted the plan. What it held back, or put something else in place of, is still to be done. */
  commit(plan: Plan): void {
    for (const [name, content] of plan.chains) {
      if (content === undefined) this.#kernel.chains.delete(name);
      else this.#kernel.chains.set(name, content.hashes);
      this.#stand(name, content);
      if (this.#wanted.get(name) === content && !this.#unsayable.has(name)) this.#dirty.delete(name);
    }
    for (const hook of plan.hooks) {
      const { first, last } = this.#wantedHooks.get(hook) ?? NO_RULES;
      const others = (this.#kernel.hooks.get(hook) ?? []).filter((rule) => !rule.ours);
      const [top, bottom] = [kernelRules(first), kernelRules(last)];
      this.#kernel.hooks.set(
        hook,
        this.#insertMode === "insert" ? [...top, ...others, ...bottom] : [...others, ...top, ...bottom],
      );
      this.#dirtyHooks.delete(hook);
    }
  }

  #whyNot(name: string, wanted: Content | undefined, hasSet: (name: string) => boolean): string | undefined {
    const missing = wanted?.sets.find((set) => !hasSet(set));
    return this.#unsayable.get(name) ?? (missing === undefined ? undefined : `its set ${missing} could not be made`);
  }

  #insteadOf(name: string): string {
    const wasThere = this.#standing.has(name) || this.#kernel.chains.has(name);
    return wasThere ? "it stays what it was" : this.table === "nat" ? "it is empty" : "it denies";
  }

  /** What a chain holds while it cannot hold what it should; undefined: what it has, which is of whoever was here before. */
  #fallback(name: string, hasSet: (name: string) => boolean): Content | undefined {
    const before = this.#standing.get(name);
    if (before === undefined && this.#kernel.chains.has(name)) return undefined;
    return before?.sets.every(hasSet) ? before : this.#closed(name);
  }

  /** The nat table sees only the first packet of a connection, and must not filter. */
  #closed(name: string): Content {
    if (this.table === "nat") return EMPTY;
    return renderChain(name, [{ match: [], action: { do: "drop" }, comment: "Cannot be programmed" }], this.#dialect);
  }

  /** A chain that is jumped to and not there would have all be refused: it denies. */
  #closeGaps(chains: Map<string, Content | undefined>, hooks: ReadonlySet<Hook>, problems: string[]): void {
    const missing = new Map<string, string>();
    const look = (from: string, content: Content | undefined): void => {
      for (const target of content?.targets ?? []) {
        if (chains.get(target) === undefined && !this.#kernel.chains.has(target)) missing.set(target, from);
      }
    };
    for (const [name, content] of chains) look(name, content);
    for (const hook of hooks) {
      const { first, last } = this.#wantedHooks.get(hook) ?? NO_RULES;
      look(hook, first);
      look(hook, last);
    }
    for (const [name, from] of missing) {
      problems.push(`chain ${this.table} ${name}: it is no chain, but ${from} jumps to it; ${this.#insteadOf(name)}`);
      chains.set(name, this.#closed(name));
      this.#dirty.add(name);
    }
  }

  /** A chain that something still refers to cannot go: all would be refused. */
  #keepReferred(chains: Map<string, Content | undefined>, hooks: ReadonlySet<Hook>, problems: string[]): void {
    const going = [...chains].filter(([, content]) => content === undefined).map(([name]) => name);
    if (going.length === 0) return;
    const change = new Map<string, number>();
    const count = (target: string, by: number): void => void change.set(target, (change.get(target) ?? 0) + by);
    for (const [name, content] of chains) {
      for (const target of this.#standing.get(name)?.targets ?? []) count(target, -1);
      for (const target of content?.targets ?? []) count(target, 1);
    }
    for (const hook of KERNEL_CHAINS[this.table]) {
      const { first, last } = this.#wantedHooks.get(hook) ?? NO_RULES;
      if (!this.#dirtyHooks.has(hook) || hooks.has(hook)) {
        for (const target of [...first.targets, ...last.targets]) count(target, 1);
      } else {
        for (const { text } of this.#kernel.hooks.get(hook) ?? []) count(/ ?(?:-j|-g) (\S+)/.exec(text)?.[1] ?? "", 1);
      }
    }
    for (const name of going) {
      if ((this.#references.get(name) ?? 0) + (change.get(name) ?? 0) <= 0) continue;
      problems.push(`chain ${this.table} ${name}: it should go, but rules still jump to it; it stays what it was`);
      chains.delete(name);
    }
  }

  #lines(
    chains: ReadonlyMap<string, Content | undefined>,
    hooks: ReadonlySet<Hook>,
  ): { lines: string[]; owners: string[] } {
    const lines: string[] = [];
    const owners: string[] = [];
    const put = (owner: string, line: string): void => {
      lines.push(line);
      owners.push(owner);
    };
    // Made or emptied before anything refers to them: that is what this line does with --noflush.
    const written: [string, readonly string[]][] = [];
    for (const [name, content] of chains) {
      const before = this.#kernel.chains.get(name);
      if (before === undefined && content === undefined) continue;
      if (before !== undefined && content !== undefined && same(before, content.hashes)) continue;
      const isLonger =
        before !== undefined && before.length > 0 && content !== undefined && extendsList(before, content.hashes);
      if (!isLonger) put(name, `:${name} - [0:0]`);
      if (content !== undefined) written.push([name, content.lines.slice(isLonger ? before.length : 0)]);
    }
    for (const [name, rules] of written) for (const rule of rules) put(name, `-A ${name} ${rule}`);
    for (const hook of hooks) for (const line of this.#hookLines(hook)) put(hook, line);
    for (const [name, content] of chains) {
      if (content === undefined && this.#kernel.chains.has(name)) put(name, `-X ${name}`);
    }
    return { lines, owners };
  }

  /** Rules are taken away by what they say, because their numbers may have changed since they were read. */
  #hookLines(hook: Hook): string[] {
    const rules = this.#kernel.hooks.get(hook) ?? [];
    if (this.#isRight(hook, rules)) return [];
    const { first, last } = this.#wantedHooks.get(hook) ?? NO_RULES;
    const lines = rules.filter((rule) => rule.ours).map(({ text }) => `-D ${hook} ${text}`);
    if (this.#insertMode === "append") lines.push(...first.lines.map((rule) => `-A ${hook} ${rule}`));
    else lines.push(...first.lines.map((rule, index) => `-I ${hook} ${index + 1} ${rule}`));
    lines.push(...last.lines.map((rule) => `-A ${hook} ${rule}`));
    return lines;
  }

  /** Whether the rules of one of the kernel's chains are what they should be, and where they should be. */
  #isRight(hook: Hook, rules: readonly KernelRule[]): boolean {
    const { first, last } = this.#wantedHooks.get(hook) ?? NO_RULES;
    const wanted = [...first.hashes, ...last.hashes];
    const at = rules.flatMap((rule, index) => (rule.ours ? [index] : []));
    if (
      !same(
        at.map((index) => rules[index]?.hash ?? ""),
        wanted,
      )
    )
      return false;
    const top = this.#insertMode === "insert" ? first.hashes.length : 0;
    const behind = rules.length - wanted.length;
    return at.every((index, position) => index === (position < top ? position : position + behind));
  }

  #stand(name: string, content: Content | undefined): void {
    const before = this.#standing.get(name);
    if (before === content) return;
    for (const target of before?.targets ?? []) {
      const left = (this.#references.get(target) ?? 0) - 1;
      if (left > 0) this.#references.set(target, left);
      else this.#references.delete(target);
    }
    if (content === undefined) this.#standing.delete(name);
    else this.#standing.set(name, content);
    for (const target of content?.targets ?? []) {
      this.#references.set(target, (this.#references.get(target) ?? 0) + 1);
    }
  }
}

const kernelRules = ({ lines, hashes }: Content): KernelRule[] =>
  lines.map((text, index) => ({ text, hash: hashes[index] ?? "", ours: true }));

const same = (a: readonly string[], b: readonly string[]): boolean => a.length === b.length && extendsList(a, b);

/** Whether the longer begins with the whole of the shorter. */
function extendsList(shorter: readonly string[], longer: readonly string[]): boolean {
  return shorter.length <= longer.length && shorter.every((hash, index) => hash === longer[index]);
}
