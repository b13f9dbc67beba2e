/**
 * A kernel in memory, and the dataplane over it: what rules/dataplane.ts promises, without root. The kernel holds a copy of the programs, walks
 * packets through it (interpret.ts), refuses what a kernel refuses, and lets tests play the others who edit it.
 */
import { type Applied, type Dataplane, type DataplaneCounts, DataplaneError, type Programs } from "../dataplane.ts";
import type { LimitTable, Rules } from "../interpret.ts";
import { ConntrackTable } from "../interpret-conntrack.ts";
import { type Chain, type Dispatch, type Hook, type IpVersion, type Rule, TABLES, type Table } from "../ir.ts";
import { type Changes, type HookRules, type IpSet, type Program, sameRules } from "../program.ts";

const perTable = <T>(make: () => T): Record<Table, T> => ({ raw: make(), mangle: make(), nat: make(), filter: make() });

/** A chain in the kernel; `handle` is new each time it is made or changed. */
export interface KernelChain extends Chain {
  readonly handle: number;
}

/** What the kernel holds of one IP version. */
export class KernelState implements Rules {
  readonly ipVersion: IpVersion;
  readonly #chains = perTable(() => new Map<string, KernelChain>());
  readonly #dispatches = perTable(() => new Map<string, Dispatch>());
  readonly #hooks = perTable(() => new Map<Hook, HookRules>());
  readonly sets = new Map<string, IpSet>();
  readonly conntrack = new ConntrackTable();
  readonly limits: LimitTable = new Map();
  /** What others have made, in words. */
  readonly foreign: string[] = [];

  constructor(ipVersion: IpVersion) {
    this.ipVersion = ipVersion;
  }
  chains(table: Table): Map<string, KernelChain> {
    return this.#chains[table];
  }
  dispatches(table: Table): Map<string, Dispatch> {
    return this.#dispatches[table];
  }
  hooks(table: Table): Map<Hook, HookRules> {
    return this.#hooks[table];
  }
}

/** One network namespace's packet filter. */
export class Kernel {
  readonly 4 = new KernelState(4);
  readonly 6 = new KernelState(6);
  readonly #listeners = new Set<(what: string) => void>();
  #handles = 0;

  nextHandle(): number {
    return ++this.#handles;
  }
  /** Somebody who is not the dataplane changed something. */
  changedByOthers(what: string): void {
    for (const listener of this.#listeners) listener(what);
  }
  listen(listener: (what: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** An empty kernel. */
export function makeKernel(): Kernel {
  return new Kernel();
}

/** Opens the dataplane of the fake. `breathe` is awaited between two of its steps: where a kill can hit. */
export function fakeDataplane(
  programs: Programs,
  kernel: Kernel = makeKernel(),
  breathe: () => Promise<void> = () => Promise.resolve(),
): Dataplane {
  return new FakeDataplane(programs, kernel, breathe);
}

class FakeDataplane implements Dataplane {
  readonly name = "fake";
  readonly #programs: readonly Program[];
  readonly #kernel: Kernel;
  readonly #breathe: () => Promise<void>;
  readonly #left: Map<Program, Changes[]>;
  readonly #stopListening: () => void;
  #callback: (what: string) => void = () => {};
  #compare: "first" | "again" | undefined = "first";

  constructor(programs: Programs, kernel: Kernel, breathe: () => Promise<void>) {
    this.#programs = programs.v6 === undefined ? [programs.v4] : [programs.v4, programs.v6];
    this.#left = new Map(this.#programs.map((program) => [program, []]));
    this.#kernel = kernel;
    this.#breathe = breathe;
    this.#stopListening = kernel.listen((what) => {
      this.#compare ??= "again";
      this.#callback(what);
    });
  }

  async apply(): Promise<Applied> {
    const compare = this.#compare;
    this.#compare = undefined;
    const round = { commands: 0, repaired: [] as string[], refused: [] as string[] };
    for (const program of this.#programs) {
      const left = this.#left.get(program) ?? [];
      left.push(program.takeChanges());
      const task = new Task(program, this.#kernel[program.ipVersion], this.#kernel, compare, left);
      task.bringSets();
      await this.#breathe();
      task.bringRules();
      await this.#breathe();
      task.removeSets();
      round.commands += task.commands;
      round.repaired.push(...task.repaired);
      round.refused.push(...task.refused);
      left.length = 0;
    }
    if (round.refused.length > 0) {
      this.#compare = "again";
      const cause = `the kernel refused ${round.refused.join("; ")}`;
      throw new DataplaneError(
        "DATAPLANE_REFUSED",
        `${cause}; everything else is in force, and it is tried again with the next change`,
      );
    }
    return { commands: round.commands, compared: compare !== undefined, repaired: round.repaired };
  }

  recheck(): void {
    this.#compare ??= "again";
  }
  onDrift(callback: (what: string) => void): void {
    this.#callback = callback;
  }
  get counts(): DataplaneCounts {
    let [chains, rules, sets, maps] = [0, 0, 0, 0];
    for (const { ipVersion } of this.#programs) {
      const state = this.#kernel[ipVersion];
      for (const table of TABLES) {
        chains += state.chains(table).size;
        for (const chain of state.chains(table).values()) rules += chain.rules.length;
        for (const hook of state.hooks(table).values()) rules += hook.first.length + hook.last.length;
        maps += state.dispatches(table).size;
      }
      sets += state.sets.size;
    }
    return { chains, rules, sets, maps };
  }
  async remove(): Promise<void> {
    for (const { ipVersion } of this.#programs) {
      const state = this.#kernel[ipVersion];
      for (const table of TABLES) {
        state.hooks(table).clear();
        state.dispatches(table).clear();
        state.chains(table).clear();
      }
      state.sets.clear();
    }
    this.#compare = "first";
  }
  async close(): Promise<void> {
    this.#stopListening();
  }
}

/** One apply of one IP version. */
class Task {
  commands = 0;
  readonly repaired: string[] = [];
  readonly refused: string[] = [];
  readonly #program: Program;
  readonly #state: KernelState;
  readonly #kernel: Kernel;
  readonly #compare: "first" | "again" | undefined;
  readonly #changes: readonly Changes[];

  constructor(
    program: Program,
    state: KernelState,
    kernel: Kernel,
    compare: "first" | "again" | undefined,
    changes: readonly Changes[],
  ) {
    this.#program = program;
    this.#state = state;
    this.#kernel = kernel;
    this.#compare = compare;
    this.#changes = changes;
  }

  /** Names to look at: those that changed; when comparing, all there are on either side. */
  #names<T>(changed: (changes: Changes) => Iterable<T>, wanted: Iterable<T>, held: Iterable<T>): Map<T, boolean> {
    const names = new Map<T, boolean>();
    if (this.#compare !== undefined) for (const name of [...wanted, ...held]) names.set(name, false);
    for (const changes of this.#changes) for (const name of changed(changes)) names.set(name, true);
    return names;
  }

  #repaired(changedByUs: boolean, what: string): void {
    this.commands++;
    if (this.#compare === "again" && !changedByUs) this.repaired.push(what);
  }

  bringSets(): void {
    const { sets } = this.#program;
    for (const [id, changed] of this.#names((one) => one.sets.keys(), sets.keys(), this.#state.sets.keys())) {
      const wanted = sets.get(id);
      if (wanted === undefined) continue;
      const held = this.#state.sets.get(id);
      if (held?.type === wanted.type && sameMembers(held.members, wanted.members)) continue;
      this.#state.sets.set(id, { id, type: wanted.type, members: new Set(wanted.members) });
      this.#repaired(changed, `set ${id} was ${held === undefined ? "gone" : "not as it should be"}`);
    }
  }

  /** All tables at once, as a kernel's transaction: what it refuses stays as it was, and so does what would lead to it. */
  bringRules(): void {
    for (const table of TABLES) {
      const [chains, held] = [this.#program.chains(table), this.#state.chains(table)];
      for (const [name, changed] of this.#names((one) => one.chains[table], chains.keys(), held.keys())) {
        const wanted = chains.get(name);
        if (wanted === undefined) continue;
        if (this.#isRefused(table, name, wanted.rules)) {
          if (!held.has(name)) held.set(name, { name, rules: [DROP], handle: this.#kernel.nextHandle() });
          continue;
        }
        const before = held.get(name);
        if (before !== undefined && sameRules(before.rules, wanted.rules)) continue;
        held.set(name, { ...wanted, handle: this.#kernel.nextHandle() });
        this.#repaired(changed, `chain ${table}-${name} was ${before === undefined ? "gone" : "not as it should be"}`);
      }
      this.#bringDispatches(table);
      this.#bringHooks(table);
      for (const name of [...held.keys()]) {
        if (chains.has(name)) continue;
        held.delete(name);
        this.commands++;
      }
    }
  }

  #bringDispatches(table: Table): void {
    const [wanted, held] = [this.#program.dispatches(table), this.#state.dispatches(table)];
    for (const [name, changed] of this.#names((one) => one.dispatches[table], wanted.keys(), held.keys())) {
      const dispatch = wanted.get(name);
      if (dispatch === undefined) {
        if (held.delete(name)) this.commands++;
        continue;
      }
      const before = held.get(name);
      if (before !== undefined && sameDispatch(before, dispatch)) continue;
      held.set(name, { ...dispatch, entries: new Map(dispatch.entries) });
      this.#repaired(changed, `dispatch ${table}-${name} was ${before === undefined ? "gone" : "not as it should be"}`);
    }
  }

  #bringHooks(table: Table): void {
    const [wanted, held] = [this.#program.hooks(table), this.#state.hooks(table)];
    for (const [hook, changed] of this.#names((one) => one.hooks[table], wanted.keys(), held.keys())) {
      const rules = wanted.get(hook);
      if (rules === undefined) {
        if (held.delete(hook)) this.commands++;
        continue;
      }
      if (this.#isRefused(table, hook, [...rules.first, ...rules.last])) continue;
      const before = held.get(hook);
      if (before !== undefined && sameRules(before.first, rules.first) && sameRules(before.last, rules.last)) continue;
      held.set(hook, rules);
      this.#repaired(changed, `hook ${table}-${hook} was ${before === undefined ? "gone" : "not as it should be"}`);
    }
  }

  removeSets(): void {
    for (const id of [...this.#state.sets.keys()]) {
      if (this.#program.sets.has(id)) continue;
      this.#state.sets.delete(id);
      this.commands++;
    }
  }

  /** Translation outside of the nat table, and chains and sets that are not there, no kernel accepts. */
  #isRefused(table: Table, name: string, rules: readonly Rule[]): boolean {
    const wrong = rules.find(({ match, action }) => {
      if (action.do === "masquerade" || action.do === "snat" || action.do === "dnat") return table !== "nat";
      if (action.do === "notrack") return table !== "raw";
      if ((action.do === "jump" || action.do === "goto") && !this.#exists(table, action.chain)) return true;
      return match.some((one) => (one.is === "set" || one.is === "port-set") && !this.#state.sets.has(one.set));
    });
    if (wrong !== undefined) this.refused.push(`${JSON.stringify(wrong.action)} in ${table}-${name}`);
    return wrong !== undefined;
  }

  #exists(table: Table, chain: string): boolean {
    return this.#program.chains(table).has(chain) || this.#program.dispatches(table).has(chain);
  }
}

const DROP: Rule = { match: [], action: { do: "drop" }, comment: "the kernel refused the chain's rules" };

function sameMembers(a: ReadonlySet<string>, b: ReadonlySet<string>): boolean {
  return a.size === b.size && [...a].every((member) => b.has(member));
}

function sameDispatch(a: Dispatch, b: Dispatch): boolean {
  return (
    a.direction === b.direction &&
    a.entries.size === b.entries.size &&
    [...a.entries].every(([name, chain]) => b.entries.get(name) === chain) &&
    sameRules(a.otherwise, b.otherwise)
  );
}
