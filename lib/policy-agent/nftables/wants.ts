/** Programs → what shall be in the table, under the kernel's names. Pure: what cannot be said becomes a problem, and closes what it would have opened. */
import type { SetId } from "../calc/index.ts";
import {
  type Changes,
  closeRules,
  type DataplaneErrorCode,
  type Dispatch,
  type Hook,
  type IpSet,
  type Program,
  type Rule,
  TABLES,
  type Table,
} from "../rules/index.ts";
import { type Held, noWants, type WantedChain, type WantedSet, type Wants } from "./diff.ts";
import { type Element, keyText, mapParts, partsOf, partsOfText, portRangeParts, type Shape } from "./elements.ts";
import { baseChain, nameIn, type PortSet, setName } from "./names.ts";
import { UnsayableError } from "./normal.ts";
import type { SentRule } from "./operations.ts";
import { compileRules, portSetsOf, tagRule } from "./render.ts";

/** Something of a program that is not, or not as it should be, in the kernel. */
export interface Problem {
  /** `chain filter-cali-FORWARD`, of which family: `ip chain …`. */
  readonly unit: string;
  readonly code: DataplaneErrorCode;
  readonly message: string;
}

/** Elements that a set has in the kernel, as `keyText` makes them. */
export type ReadElements = (name: string, shape: Shape) => ReadonlySet<string>;

export interface WantsOptions {
  readonly held: Held;
  readonly read: ReadElements;
  readonly maxSetSize: number;
}

/** Which chains look into which sets of ports. */
export class PortSetUse {
  readonly #byChain = new Map<string, readonly PortSet[]>();
  readonly #count = new Map<string, number>();

  set(chain: string, sets: readonly PortSet[]): void {
    for (const { name } of this.#byChain.get(chain) ?? []) this.#count.set(name, this.#count.get(name)! - 1);
    if (sets.length === 0) this.#byChain.delete(chain);
    else this.#byChain.set(chain, sets);
    for (const { name } of sets) this.#count.set(name, (this.#count.get(name) ?? 0) + 1);
  }

  /** Those that were used and are not any more; forgets them. */
  takeUnused(): string[] {
    const unused: string[] = [];
    for (const [name, count] of this.#count) if (count <= 0) unused.push(name);
    for (const name of unused) this.#count.delete(name);
    return unused;
  }
}

/** Drops everything: stands for a chain that could not be made. */
export const CLOSED: readonly Rule[] = [{ match: [], action: { do: "drop" }, comment: "Refused by the kernel" }];

/** Everything of the program, and nothing else that is held. */
export function everything(
  program: Program,
  use: PortSetUse,
  options: WantsOptions,
): { readonly wants: Wants; readonly problems: readonly Problem[] } {
  const builder = new Builder(program, use, options);
  for (const id of program.sets.keys()) builder.wholeSet(id);
  for (const table of TABLES) {
    for (const name of program.chains(table).keys()) builder.chain(table, name);
    for (const name of program.dispatches(table).keys()) builder.dispatch(table, name);
    for (const hook of program.hooks(table).keys()) builder.hook(table, hook);
  }
  const { wants } = builder.finish(true);
  for (const name of options.held.chains.keys()) if (!builder.named.chains.has(name)) wants.chains.set(name, undefined);
  for (const [name, shape] of options.held.sets) {
    if (builder.named.sets.has(name)) continue;
    if (shape === "map") wants.maps.set(name, undefined);
    else wants.sets.set(name, undefined);
  }
  return { wants, problems: builder.problems };
}

/** What the changes name. Undefined when they are such that the whole has to be compared: a set of another type, or one with too many members. */
export function changed(
  program: Program,
  changes: Changes,
  use: PortSetUse,
  options: WantsOptions,
): { readonly wants: Wants; readonly problems: readonly Problem[] } | undefined {
  const builder = new Builder(program, use, options);
  for (const [id, change] of changes.sets) {
    const name = setName(program.ipVersion, id);
    const set = program.sets.get(id);
    const shape = options.held.sets.get(name);
    if (set && shape !== undefined && shape !== set.type) return undefined;
    // Rules that look into it have to change, too.
    if (set && set.members.size > options.maxSetSize) return undefined;
    if (change.whole || !set || shape === undefined) builder.wholeSet(id);
    else builder.setDelta(id, set, change.added, change.removed);
  }
  for (const table of TABLES) {
    for (const name of changes.chains[table]) builder.chain(table, name);
    for (const name of changes.dispatches[table]) builder.dispatch(table, name);
    for (const hook of changes.hooks[table]) builder.hook(table, hook);
  }
  return builder.finish(false);
}

class Builder {
  readonly #program: Program;
  readonly #use: PortSetUse;
  readonly #options: WantsOptions;
  readonly #wants = noWants();
  readonly #portSets = new Map<string, PortSet>();
  readonly problems: Problem[] = [];
  /** Names that the program has something for, also where it is left as it is because it cannot be said. */
  readonly named = { chains: new Set<string>(), sets: new Set<string>() };

  constructor(program: Program, use: PortSetUse, options: WantsOptions) {
    this.#program = program;
    this.#use = use;
    this.#options = options;
  }

  chain(table: Table, name: string): void {
    const chain = this.#program.chains(table).get(name);
    const full = nameIn(table, name);
    if (!chain) {
      this.#gone(full);
      return;
    }
    this.#chain(full, table, chain.rules, (rules) => ({ rules }));
  }

  hook(table: Table, hook: Hook): void {
    const rules = this.#program.hooks(table).get(hook);
    const all = rules ? [...rules.first, ...rules.last] : [];
    const full = nameIn(table, hook);
    if (all.length === 0) {
      this.#gone(full);
      return;
    }
    const base = baseChain(table, hook);
    if (base) {
      this.#chain(full, table, all, (rules) => ({ base, rules }));
      return;
    }
    this.#problem(`chain ${full}`, `the table ${table} has no chain at ${hook}`);
  }

  dispatch(table: Table, name: string): void {
    const dispatch = this.#program.dispatches(table).get(name);
    const full = nameIn(table, name);
    if (!dispatch) {
      this.#gone(full);
      this.#wants.maps.set(full, undefined);
      return;
    }
    this.#chain(full, table, dispatch.otherwise, (otherwise) => ({
      rules: [dispatchRule(full, dispatch), ...otherwise],
    }));
    const entries = new Map<string, string>();
    for (const [interfaceName, chain] of dispatch.entries) {
      try {
        mapParts(interfaceName, chain);
        entries.set(interfaceName, nameIn(table, chain));
      } catch (error) {
        // The interface meets what the dispatch has for those that it does not know.
        this.#problem(`map ${full}`, wordsOf(error));
      }
    }
    this.named.sets.add(full);
    this.#wants.maps.set(full, entries);
  }

  wholeSet(id: SetId): void {
    const set = this.#program.sets.get(id);
    const name = setName(this.#program.ipVersion, id);
    if (!set) {
      this.#wants.sets.set(name, undefined);
      return;
    }
    this.named.sets.add(name);
    const elements = this.#elements(name, set, this.#thatFit(name, set));
    if (elements) this.#replace(name, set.type, elements);
  }

  setDelta(id: SetId, set: IpSet, added: Iterable<string>, removed: Iterable<string>): void {
    const name = setName(this.#program.ipVersion, id);
    this.named.sets.add(name);
    const more = this.#elements(name, set, added);
    const less = this.#elements(name, set, removed);
    if (more && less) this.#wants.sets.set(name, { shape: set.type, added: more, removed: less });
  }

  /** Also what the chains make necessary. `compare`: sets of ports that are there are looked into. */
  finish(compare: boolean): { readonly wants: Wants; readonly problems: readonly Problem[] } {
    for (const name of this.#use.takeUnused()) this.#wants.sets.set(name, undefined);
    for (const { name, ranges } of this.#portSets.values()) {
      this.named.sets.add(name);
      if (compare || this.#options.held.sets.get(name) !== "ports") {
        this.#replace(name, "ports", ranges.map(portRangeParts));
      }
    }
    return { wants: this.#wants, problems: this.problems };
  }

  #gone(chain: string): void {
    this.#use.set(chain, []);
    this.#wants.chains.set(chain, undefined);
  }

  #chain(
    name: string,
    table: Table,
    rules: readonly Rule[],
    make: (compiled: readonly SentRule[]) => WantedChain,
  ): void {
    this.named.chains.add(name);
    const context = { version: this.#program.ipVersion, table };
    let portSets: readonly PortSet[] = [];
    // The nat table lets nothing through that the others would not.
    const closed = table === "nat" ? undefined : closeRules(rules, (id) => this.#isOverfull(id));
    try {
      const compiled = compileRules(name, closed ?? rules, context);
      portSets = portSetsOf(closed ?? rules, context.version);
      this.#wants.chains.set(name, make(compiled));
    } catch (error) {
      this.#problem(`chain ${name}`, wordsOf(error));
      // What is there was right once.
      if (!this.#options.held.chains.has(name)) {
        this.#wants.chains.set(name, make(compileRules(name, CLOSED, context)));
      }
    }
    this.#use.set(name, portSets);
    for (const set of portSets) this.#portSets.set(set.name, set);
  }

  #isOverfull(id: SetId): boolean {
    return (this.#program.sets.get(id)?.members.size ?? 0) > this.#options.maxSetSize;
  }

  /** Of an overfull set as many members as it may have, those first that have been its members longest. */
  #thatFit(name: string, set: IpSet): Iterable<string> {
    const { maxSetSize } = this.#options;
    if (!this.#isOverfull(set.id)) return set.members;
    const message = `${set.members.size} members are more than maxIpsetSize ${maxSetSize} allows; it has so many of them, and rules deny rather than rely on it`;
    this.problems.push({ unit: this.#unit(`set ${name}`), code: "DATAPLANE_SET_FULL", message });
    return set.members.values().take(maxSetSize);
  }

  #elements(name: string, set: IpSet, members: Iterable<string>): Element[] | undefined {
    try {
      const { type } = set;
      const version = this.#program.ipVersion;
      return Array.from(members, (member) => {
        const element: Element = { member, type, version };
        partsOf(element); // throws for one that is none
        return element;
      });
    } catch (error) {
      this.#problem(`set ${name}`, wordsOf(error));
      return undefined;
    }
  }

  /** What differs between the set and what it shall hold. */
  #replace(name: string, shape: WantedSet["shape"], elements: readonly Element[]): void {
    if (this.#options.held.sets.get(name) !== shape) {
      this.#wants.sets.set(name, { shape, added: elements, removed: [] });
      return;
    }
    const surplus = new Set(this.#options.read(name, shape));
    const added = elements.filter((element) => !surplus.delete(keyText(partsOf(element))));
    const removed = Array.from(surplus, (text) => partsOfText(text, shape, this.#program.ipVersion));
    this.#wants.sets.set(name, { shape, added, removed });
  }

  #unit(name: string): string {
    return `${this.#program.ipVersion === 4 ? "ip" : "ip6"} ${name}`;
  }

  #problem(unit: string, message: string): void {
    this.problems.push({ unit: this.#unit(unit), code: "DATAPLANE_REFUSED", message });
  }
}

function wordsOf(error: unknown): string {
  if (error instanceof UnsayableError) return error.message;
  throw error;
}

/** First in a dispatch's chain. */
function dispatchRule(map: string, { direction }: Dispatch): SentRule {
  const text = `${direction === "in" ? "iifname" : "oifname"} vmap @${map}`;
  return { ...tagRule(map, text), text, dispatch: { direction, map } };
}
