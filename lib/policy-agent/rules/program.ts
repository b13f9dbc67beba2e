/**
 * The desired state of one IP version: what the dataplane makes the kernel hold. Writing here touches memory only; it notes what
 * changed, so that {@link Program.takeChanges} tells the dataplane no more than it must do. Setting what is there already changes nothing.
 */
import type { SetId, SetType } from "../calc/index.ts";
import type { Chain, Dispatch, Hook, IpVersion, Rule, Table } from "./ir.ts";
import { TABLES } from "./ir.ts";

export interface IpSet {
  readonly id: SetId;
  readonly type: SetType;
  /** Of the program's IP version only. */
  readonly members: ReadonlySet<string>;
}

/** What the rules of Calico are at one of the kernel's hooks. */
export interface HookRules {
  /** Before everybody else's (or after, where the configuration says append; nftables has a chain of its own there). */
  readonly first: readonly Rule[];
  /** After everybody else's. */
  readonly last: readonly Rule[];
}

export interface SetChange {
  /** The set is new, of another type, or known only as a whole: `added` and `removed` say nothing. */
  whole: boolean;
  readonly added: Set<string>;
  readonly removed: Set<string>;
}

/** Names of what is not as it was when the changes were last taken. What a name stands for now, the program says; nothing: removed. */
export interface Changes {
  readonly chains: Readonly<Record<Table, ReadonlySet<string>>>;
  readonly dispatches: Readonly<Record<Table, ReadonlySet<string>>>;
  readonly hooks: Readonly<Record<Table, ReadonlySet<Hook>>>;
  readonly sets: ReadonlyMap<SetId, SetChange>;
  readonly empty: boolean;
}

const perTable = <T>(make: () => T): Record<Table, T> => ({
  raw: make(),
  mangle: make(),
  nat: make(),
  filter: make(),
});

/** See the top of the file. */
export class Program {
  readonly ipVersion: IpVersion;
  readonly #chains = perTable(() => new Map<string, Chain>());
  readonly #dispatches = perTable(() => new Map<string, Dispatch>());
  readonly #hooks = perTable(() => new Map<Hook, HookRules>());
  readonly #sets = new Map<SetId, { readonly id: SetId; readonly type: SetType; readonly members: Set<string> }>();
  #changes = noChanges();

  constructor(ipVersion: IpVersion) {
    this.ipVersion = ipVersion;
  }

  chains(table: Table): ReadonlyMap<string, Chain> {
    return this.#chains[table];
  }
  dispatches(table: Table): ReadonlyMap<string, Dispatch> {
    return this.#dispatches[table];
  }
  hooks(table: Table): ReadonlyMap<Hook, HookRules> {
    return this.#hooks[table];
  }
  get sets(): ReadonlyMap<SetId, IpSet> {
    return this.#sets;
  }

  setChain(table: Table, chain: Chain): void {
    const chains = this.#chains[table];
    const before = chains.get(chain.name);
    if (before !== undefined && sameRules(before.rules, chain.rules)) return;
    chains.set(chain.name, chain);
    this.#changes.chains[table].add(chain.name);
  }

  removeChain(table: Table, name: string): void {
    if (this.#chains[table].delete(name)) this.#changes.chains[table].add(name);
  }

  setDispatch(table: Table, dispatch: Dispatch): void {
    this.#dispatches[table].set(dispatch.name, dispatch);
    this.#changes.dispatches[table].add(dispatch.name);
  }

  removeDispatch(table: Table, name: string): void {
    if (this.#dispatches[table].delete(name)) this.#changes.dispatches[table].add(name);
  }

  setHook(table: Table, hook: Hook, rules: HookRules): void {
    const before = this.#hooks[table].get(hook);
    if (before !== undefined && sameRules(before.first, rules.first) && sameRules(before.last, rules.last)) return;
    this.#hooks[table].set(hook, rules);
    this.#changes.hooks[table].add(hook);
  }

  /** The whole of a set; members of the other IP version are left out. */
  setSet(id: SetId, type: SetType, members: Iterable<string>): void {
    const wanted = new Set<string>();
    for (const member of members) if (this.#isMine(member)) wanted.add(member);
    const before = this.#sets.get(id);
    if (before === undefined || before.type !== type) {
      this.#sets.set(id, { id, type, members: wanted });
      this.#changes.sets.set(id, { whole: true, added: new Set(), removed: new Set() });
      return;
    }
    const gone = [...before.members].filter((member) => !wanted.has(member));
    this.changeSet(id, wanted, gone);
  }

  /** Adds and removes members of a set that is there; what is there already, or not there, is passed over. */
  changeSet(id: SetId, added: Iterable<string>, removed: Iterable<string>): void {
    const set = this.#sets.get(id);
    if (set === undefined) return;
    const before = this.#changes.sets.get(id);
    const change = before ?? { whole: false, added: new Set<string>(), removed: new Set<string>() };
    let changed = false;
    for (const member of removed) {
      if (!set.members.delete(member)) continue;
      changed = true;
      if (!change.added.delete(member)) change.removed.add(member);
    }
    for (const member of added) {
      if (!this.#isMine(member) || set.members.has(member)) continue;
      set.members.add(member);
      changed = true;
      if (!change.removed.delete(member)) change.added.add(member);
    }
    if (changed && before === undefined) this.#changes.sets.set(id, change);
  }

  removeSet(id: SetId): void {
    if (!this.#sets.delete(id)) return;
    this.#changes.sets.set(id, { whole: true, added: new Set(), removed: new Set() });
  }

  /** What changed since the last call, which begins anew. */
  takeChanges(): Changes {
    const taken = this.#changes;
    this.#changes = noChanges();
    return {
      ...taken,
      empty:
        taken.sets.size === 0 &&
        TABLES.every(
          (table) =>
            taken.chains[table].size === 0 && taken.dispatches[table].size === 0 && taken.hooks[table].size === 0,
        ),
    };
  }

  #isMine(member: string): boolean {
    const comma = member.indexOf(",");
    const isV6 = (comma < 0 ? member : member.slice(0, comma)).includes(":");
    return isV6 === (this.ipVersion === 6);
  }
}

const noChanges = () => ({
  chains: perTable(() => new Set<string>()),
  dispatches: perTable(() => new Set<string>()),
  hooks: perTable(() => new Set<Hook>()),
  sets: new Map<SetId, SetChange>(),
});

/** Whether two lists of rules say the same: they are plain data, made by the same functions in the same order of fields. */
export function sameRules(a: readonly Rule[], b: readonly Rule[]): boolean {
  return a === b || (a.length === b.length && JSON.stringify(a) === JSON.stringify(b));
}
