/**
 * What the table holds and what it shall hold → the steps from one to the other. Pure.
 *
 * Steps are in an order in which nothing is referred to before it is there, nor taken away while it is referred to: the kernel checks that step by step, while
 * packets see all of a transaction at once. But for one thing: a new set of intervals is there some microseconds after the rules that come with it (as
 * nf_tables_commit calls nft_set_commit_update after it has published the generation; measured: docs/decisions/0008). They would find it empty,
 * and let through what it denies: {@link inTurns}.
 */
import type { IpVersion } from "../rules/index.ts";
import { type Element, mapParts, type Shape } from "./elements.ts";
import { type BaseChain, baseText } from "./names.ts";
import { type Operation, type SentRule, type Step, splitStep } from "./operations.ts";

/** A chain in the kernel. */
export interface HeldChain {
  /** Where the kernel enters it, as nft writes it; empty for one that is only jumped to. */
  readonly base: string;
  /** Hashes of its rules, in order, separated by blanks; `?` for a rule that has none. */
  readonly hashes: string;
  /** Number of rules. */
  readonly rules: number;
}

/** What the table of one family holds, without the elements of sets. */
export interface Held {
  /** `dormant`: somebody took it out of use. Nothing can be changed in it then, but all of it at once. */
  table: "absent" | "present" | "dormant";
  readonly chains: Map<string, HeldChain>;
  readonly sets: Map<string, Shape | "foreign">;
  /** Entries of verdict maps: interface → chain; also `sets` has these. */
  readonly maps: Map<string, ReadonlyMap<string, string>>;
}

export interface WantedChain {
  readonly base?: BaseChain;
  readonly rules: readonly SentRule[];
}

/** How a set differs. */
export interface WantedSet {
  readonly shape: "net" | "port" | "ports";
  /** All of it when the set is not there. */
  readonly added: readonly Element[];
  readonly removed: readonly Element[];
}

/** What shall be of the objects that are named; undefined: nothing. Of what is not named nothing is said. */
export interface Wants {
  readonly chains: Map<string, WantedChain | undefined>;
  readonly sets: Map<string, WantedSet | undefined>;
  readonly maps: Map<string, ReadonlyMap<string, string> | undefined>;
}

export const noWants = (): Wants => ({ chains: new Map(), sets: new Map(), maps: new Map() });

export const emptyHeld = (): Held => ({ table: "absent", chains: new Map(), sets: new Map(), maps: new Map() });

function hashesOf(rules: readonly SentRule[]): string {
  return rules.map(({ hash }) => hash).join(" ");
}

const baseOf = (chain: WantedChain): string => (chain.base ? baseText(chain.base) : "");

/** Steps by the place that they have in a transaction. */
class Plan {
  readonly #stages: Operation[][] = [];
  constructor(readonly version: IpVersion) {}

  add(stage: number, unit: string, step: Step): void {
    const stages = this.#stages;
    stages[stage] ??= [];
    for (const part of splitStep(step)) stages[stage].push({ ...part, version: this.version, unit });
  }

  operations(): Operation[] {
    return this.#stages.flat();
  }
}

const STAGE = {
  table: 0,
  flush: 1,
  unmap: 2,
  // Before chains: with a map the kernel lets go of the chains in it.
  deleteSet: 3,
  deleteChain: 4,
  addSet: 5,
  deleteElements: 6,
  addElements: 7,
  addChain: 8,
  addMap: 9,
  addRules: 10,
  map: 11,
} as const;

/**
 * The steps from what is held to what is wanted. Chains that stay and look into a set that is made anew (of another shape) must be
 * among the wants: they are refilled.
 */
export function difference(held: Held, wants: Wants, version: IpVersion): Operation[] {
  if (leavesNothing(held, wants)) {
    return held.table === "absent" ? [] : [{ do: "delete-table", version, unit: "table" }];
  }
  const plan = new Plan(version);
  if (held.table === "absent") plan.add(STAGE.table, "table", { do: "add-table" });
  const remade = remadeSets(held, wants);
  for (const [name, want] of wants.sets) planSet(plan, held, name, want);
  for (const [name, want] of wants.chains) planChain(plan, held, name, want, remade);
  for (const [name, want] of wants.maps) planMap(plan, held, name, want);
  return plan.operations();
}

/** Whether nothing is left, so that the table goes too. */
export function leavesNothing(held: Pick<Held, "chains" | "sets">, wants: Wants): boolean {
  for (const want of wants.chains.values()) if (want) return false;
  for (const want of wants.maps.values()) if (want) return false;
  for (const want of wants.sets.values()) if (want) return false;
  for (const name of held.chains.keys()) if (!wants.chains.has(name)) return false;
  for (const name of held.sets.keys()) if (!wants.sets.has(name) && !wants.maps.has(name)) return false;
  return true;
}

/** Names of sets that are there in a shape that they shall not have. */
export function remadeSets(held: Held, wants: Wants): Set<string> {
  const remade = new Set<string>();
  for (const [name, want] of wants.sets) {
    const shape = held.sets.get(name);
    if (want && shape !== undefined && shape !== want.shape) remade.add(name);
  }
  for (const [name, want] of wants.maps) {
    const shape = held.sets.get(name);
    if (want && shape !== undefined && shape !== "map") remade.add(name);
  }
  return remade;
}

function planSet(plan: Plan, held: Held, name: string, want: WantedSet | undefined): void {
  const unit = `set ${name}`;
  const shape = held.sets.get(name);
  if (shape !== undefined && shape !== want?.shape) {
    plan.add(STAGE.deleteSet, unit, { do: "delete-set", set: name, map: shape === "map" });
  }
  if (!want) return;
  if (shape !== want.shape) plan.add(STAGE.addSet, unit, { do: "add-set", set: name, shape: want.shape });
  const elements = (verb: "add-elements" | "delete-elements", stage: number, list: readonly Element[]): void => {
    if (list.length > 0) plan.add(stage, unit, { do: verb, set: name, map: false, elements: list });
  };
  if (shape === want.shape) elements("delete-elements", STAGE.deleteElements, want.removed);
  elements("add-elements", STAGE.addElements, want.added);
}

function planChain(
  plan: Plan,
  held: Held,
  name: string,
  want: WantedChain | undefined,
  remade: ReadonlySet<string>,
): void {
  const unit = `chain ${name}`;
  const has = held.chains.get(name);
  if (!want) {
    if (!has) return;
    if (has.rules > 0) plan.add(STAGE.flush, unit, { do: "flush-chain", chain: name });
    plan.add(STAGE.deleteChain, unit, { do: "delete-chain", chain: name });
    return;
  }
  const moves = has !== undefined && has.base !== baseOf(want);
  const looksAnew =
    remade.size > 0 && want.rules.some(({ text }) => [...remade].some((set) => text.includes(`@${set}`)));
  if (has && !moves && !looksAnew && has.hashes === hashesOf(want.rules)) return;
  if (has && has.rules > 0) plan.add(STAGE.flush, unit, { do: "flush-chain", chain: name });
  if (moves) plan.add(STAGE.deleteChain, unit, { do: "delete-chain", chain: name });
  if (!has || moves) {
    plan.add(STAGE.addChain, unit, { do: "add-chain", chain: name, ...(want.base && { base: want.base }) });
  }
  for (const rule of want.rules) plan.add(STAGE.addRules, unit, { do: "add-rule", chain: name, rule });
}

function planMap(plan: Plan, held: Held, name: string, want: ReadonlyMap<string, string> | undefined): void {
  const unit = `map ${name}`;
  const shape = held.sets.get(name);
  const has = (shape === "map" ? held.maps.get(name) : undefined) ?? new Map<string, string>();
  const elements = (entries: Iterable<[string, string]>): Element[] =>
    Array.from(entries, ([key, chain]) => mapParts(key, chain));
  const gone = [...has].filter(([key, chain]) => want?.get(key) !== chain);
  // Also before the map goes: kernels before 6.5 do not let go of the chains in it by themselves in time.
  if (gone.length > 0) {
    plan.add(STAGE.unmap, unit, { do: "delete-elements", set: name, map: true, elements: elements(gone) });
  }
  if (shape !== undefined && (!want || shape !== "map")) {
    plan.add(STAGE.deleteSet, unit, { do: "delete-set", set: name, map: shape === "map" });
  }
  if (!want) return;
  if (shape !== "map") plan.add(STAGE.addMap, unit, { do: "add-set", set: name, shape: "map" });
  const fresh = [...want].filter(([key, chain]) => has.get(key) !== chain);
  if (fresh.length > 0) {
    plan.add(STAGE.map, unit, { do: "add-elements", set: name, map: true, elements: elements(fresh) });
  }
}

/**
 * The wants in two transactions: sets that are not there yet, to which nothing refers, and then the rest. A set that is made anew in another
 * shape goes with its rules, and what is added to one that is there with all that changes at the same time: old rules are not to meet it.
 */
export function inTurns(held: Held, wants: Wants): { readonly sets: Wants; readonly rest: Wants } {
  const sets = noWants();
  const rest: Wants = { ...wants, sets: new Map() };
  for (const [name, want] of wants.sets) (want && !held.sets.has(name) ? sets : rest).sets.set(name, want);
  return { sets, rest };
}

/** Notes that the wants are done. */
export function settle(held: Held, wants: Wants): void {
  for (const [name, want] of wants.sets) {
    if (want) held.sets.set(name, want.shape);
    else held.sets.delete(name);
  }
  for (const [name, want] of wants.maps) {
    if (want) {
      held.maps.set(name, want);
      held.sets.set(name, "map");
    } else {
      held.maps.delete(name);
      held.sets.delete(name);
    }
  }
  for (const [name, want] of wants.chains) {
    if (!want) held.chains.delete(name);
    else held.chains.set(name, { base: baseOf(want), hashes: hashesOf(want.rules), rules: want.rules.length });
  }
  held.table = held.chains.size === 0 && held.sets.size === 0 ? "absent" : "present";
}
