/** Chains that several endpoints jump to: in a table exactly as long as somebody does. */
import type { Target } from "./groups.ts";
import type { IpVersion, Rule, Table } from "./ir.ts";
import type { Program } from "./program.ts";

/** That a chain of the table jumps to the target. */
export interface Use {
  readonly table: Table;
  readonly target: Target;
}

interface SharedChain extends Use {
  users: number;
}

export class SharedChains {
  readonly #programs: readonly Program[];
  readonly #render: (target: Target, table: Table, version: IpVersion) => readonly Rule[];
  readonly #chains = new Map<string, SharedChain>();
  readonly #uses = new Map<string, readonly Use[]>();
  readonly #dirty = new Set<string>();

  constructor(
    programs: readonly Program[],
    render: (target: Target, table: Table, version: IpVersion) => readonly Rule[],
  ) {
    this.#programs = programs;
    this.#render = render;
  }

  /** All that one user jumps to, in place of what it did before. */
  use(user: string, uses: readonly Use[]): void {
    for (const use of uses) this.#acquire(use);
    for (const use of this.#uses.get(user) ?? []) this.#release(use);
    if (uses.length > 0) this.#uses.set(user, uses);
    else this.#uses.delete(user);
  }

  /** What a chain of this name says has changed, in whatever tables it is. */
  refresh(chain: string, tables: readonly Table[]): void {
    for (const table of tables) {
      const key = keyOf(table, chain);
      if (this.#chains.has(key)) this.#dirty.add(key);
    }
  }

  /** Writes what changed. */
  flush(): void {
    for (const key of this.#dirty) {
      const shared = this.#chains.get(key)!;
      const { table, target, users } = shared;
      for (const program of this.#programs) {
        if (users === 0) program.removeChain(table, target.chain);
        else program.setChain(table, { name: target.chain, rules: this.#render(target, table, program.ipVersion) });
      }
      if (users === 0) this.#chains.delete(key);
    }
    this.#dirty.clear();
  }

  #acquire({ table, target }: Use): void {
    const key = keyOf(table, target.chain);
    const known = this.#chains.get(key);
    if (known) known.users++;
    else this.#chains.set(key, { table, target, users: 1 });
    if (known && known.users > 1) return;
    this.#dirty.add(key);
    if (target.kind === "group") for (const member of target.members) this.#acquire({ table, target: member });
  }

  #release({ table, target }: Use): void {
    const key = keyOf(table, target.chain);
    const known = this.#chains.get(key)!;
    if (--known.users > 0) return;
    this.#dirty.add(key);
    if (target.kind === "group") for (const member of target.members) this.#release({ table, target: member });
  }
}

const keyOf = (table: Table, chain: string): string => `${table} ${chain}`;
