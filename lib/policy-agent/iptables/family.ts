/**
 * The four tables of one IP version, and how they reach the kernel: everything that differs with one run of iptables-restore. When that is
 * refused, table by table, and within a table without the chains that are to blame.
 */
import { DataplaneError, type IpVersion, TABLES, type Table } from "../rules/index.ts";
import type { Backend } from "./options.ts";
import { emptyTable, type KernelTable, parseSave } from "./read.ts";
import type { Dialect } from "./render.ts";
import { iptablesTool, type ToolResult, type Tools } from "./run.ts";
import { type InsertMode, type Plan, TableState } from "./table.ts";

export interface FamilyOptions {
  readonly dialect: Dialect;
  readonly backend: Backend;
  readonly insertMode: InsertMode;
  readonly lockTimeout: number;
  readonly lockProbeInterval?: number;
  readonly tools: Tools;
  /** Whether there is a set of the kernel's name. */
  readonly hasSet: (name: string) => boolean;
}

export interface FamilyResult {
  /** Lines that were accepted. */
  readonly commands: number;
  /** What could not be done. */
  readonly problems: readonly string[];
}

/** The filter table first: it is the one that denies. */
const ORDER: readonly Table[] = ["filter", "mangle", "raw", "nat"];
const NOTHING: ReadonlySet<string> = new Set();
/** So many runs may be spent in a round to find out which chains are to blame. */
const SEARCH_RUNS = 100;

/** Not the fault of what was sent: worth another round, and no search. */
const PASSING = /xtables lock|Resource temporarily unavailable|Device or resource busy.*TABLE|Interrupted system call/i;

export class Family {
  readonly version: IpVersion;
  readonly tables: Readonly<Record<Table, TableState>>;
  readonly #options: FamilyOptions;
  readonly #restore: readonly string[];
  readonly #save: readonly string[];

  constructor(options: FamilyOptions) {
    this.#options = options;
    this.version = options.dialect.version;
    const state = (table: Table): TableState => new TableState(table, options.dialect, options.insertMode);
    this.tables = { raw: state("raw"), mangle: state("mangle"), nat: state("nat"), filter: state("filter") };
    const { backend, lockTimeout, lockProbeInterval } = options;
    const { version } = this;
    this.#restore = [
      iptablesTool(version, backend, "restore"),
      "--noflush",
      "--wait",
      String(lockTimeout),
      ...(lockProbeInterval === undefined ? [] : ["--wait-interval", String(Math.round(lockProbeInterval * 1000))]),
    ];
    this.#save = [iptablesTool(version, backend, "save")];
  }

  /** What the kernel holds now, or one table of it. Throws DATAPLANE_UNREADABLE. */
  async read(table?: Table): Promise<ReadonlyMap<Table, KernelTable>> {
    const { ok, output, words } = await this.#options.tools.run([...this.#save, ...(table ? ["-t", table] : [])]);
    // A table that others filled by nft itself is left out with a remark, and looks empty.
    const foreign = /table `(raw|mangle|nat|filter)' is incompatible/i.exec(`${output} ${words}`);
    if (!ok || foreign) {
      throw new DataplaneError(
        "DATAPLANE_UNREADABLE",
        foreign
          ? `${this.#save[0]} cannot read the table ${foreign[1]}, because somebody put into it what only nft can say; move that to another table`
          : `${this.#save[0]} failed: ${words || "it did not say why"}`,
      );
    }
    return parseSave(output);
  }

  /** In words, what others changed since the last round. */
  differences(found: ReadonlyMap<Table, KernelTable>): string[] {
    const words = TABLES.flatMap((table) => this.tables[table].differences(found.get(table) ?? emptyTable()));
    return this.version === 6 ? words.map((word) => `IPv6 ${word}`) : words;
  }

  compare(found: ReadonlyMap<Table, KernelTable>): void {
    for (const table of TABLES) this.tables[table].compare(found.get(table) ?? emptyTable());
  }

  /** Makes the kernel hold what the tables want. Never throws for what was refused, but says so. */
  async write(): Promise<FamilyResult> {
    const problems: string[] = [];
    const plans = ORDER.flatMap((table) => this.tables[table].plan(NOTHING, this.#options.hasSet) ?? []);
    // A table that is to deny more goes before one that is to deny less, so that nothing slips through in between.
    plans.sort((a, b) => b.tightening - a.tightening);
    const sent = await this.#send(plans);
    if (sent.ok) return { commands: sent.lines, problems: plans.flatMap((plan) => plan.problems) };
    if (PASSING.test(sent.words)) return { commands: 0, problems: [sent.words] };
    let commands = 0;
    this.compare(await this.read());
    for (const { table } of plans) {
      const search = new Search(this, table, this.#options.hasSet);
      commands += await search.run(problems);
    }
    return { commands, problems };
  }

  /** Sends plans in one run and commits them when they were accepted. */
  async #send(plans: readonly Plan[]): Promise<ToolResult & { lines: number; owner?: string }> {
    const owners: (string | undefined)[] = [];
    const input: string[] = [];
    let lines = 0;
    let sections = 0;
    for (const plan of plans) {
      if (plan.lines.length === 0) continue;
      lines += plan.lines.length;
      sections++;
      input.push(`*${plan.table}`, ...plan.lines, "COMMIT");
      owners.push(undefined, ...plan.owners, undefined);
    }
    const result: ToolResult =
      lines === 0
        ? { ok: true, output: "", words: "" }
        : await this.#options.tools.runLocking(this.#restore, `${input.join("\n")}\n`, sections);
    if (result.ok) for (const plan of plans) this.tables[plan.table].commit(plan);
    const owner = result.line === undefined ? undefined : owners[result.line - 1];
    const line = result.line === undefined ? undefined : input[result.line - 1];
    const words = line === undefined ? result.words : `${result.words} (${line})`;
    return { ...result, words: `${this.#restore[0]}: ${words}`, lines, ...(owner !== undefined && { owner }) };
  }

  /** Sends what a table needs without what is to be held back; a plan of nothing is accepted. */
  async attempt(
    table: Table,
    hold: ReadonlySet<string>,
  ): Promise<ToolResult & { lines: number; owner?: string; plan?: Plan }> {
    const plan = this.tables[table].plan(hold, this.#options.hasSet);
    if (plan === undefined) return { ok: true, output: "", words: "", lines: 0 };
    return { ...(await this.#send([plan])), plan };
  }

  /** Whether the table can be changed at all. */
  async works(table: Table): Promise<ToolResult> {
    return this.#options.tools.runLocking(this.#restore, `*${table}\nCOMMIT\n`, 1);
  }

  /** Reads one table again after a refusal: what was planned may rest on what is no longer so. */
  async reread(table: Table): Promise<void> {
    this.tables[table].compare((await this.read(table)).get(table) ?? emptyTable());
  }
}

/** Finds the chains of one table because of which it is refused, and gets the rest accepted. */
class Search {
  readonly #family: Family;
  readonly #table: Table;
  readonly #hasSet: (name: string) => boolean;
  readonly #bad = new Map<string, string>();
  #runs = 0;
  #commands = 0;

  constructor(family: Family, table: Table, hasSet: (name: string) => boolean) {
    this.#family = family;
    this.#table = table;
    this.#hasSet = hasSet;
  }

  /** Lines that were accepted. */
  async run(problems: string[]): Promise<number> {
    const works = await this.#family.works(this.#table);
    if (!works.ok) {
      problems.push(`table ${this.#table} of IPv${this.#family.version}: ${works.words}`);
      return 0;
    }
    // What the tool says of lines is nearly always right, and then costs one run a bad chain.
    let words: string | undefined;
    for (let guesses = 0; guesses < 8; guesses++) {
      const result = await this.#attempt(new Set(this.#bad.keys()));
      if (result === undefined) {
        words = undefined;
        break;
      }
      words = result.words;
      if (result.owner === undefined || this.#bad.has(result.owner)) break;
      this.#bad.set(result.owner, result.words);
    }
    if (words !== undefined) {
      // What was guessed so far did not help.
      this.#bad.clear();
      const plan = this.#family.tables[this.#table].plan(NOTHING, this.#hasSet);
      await this.#divide([...new Set(plan?.owners ?? [])], [], words);
    }
    // The tool may have named a neighbour: each is given another chance with the rest in place.
    for (const name of [...this.#bad.keys()]) {
      const others = new Set([...this.#bad.keys()].filter((other) => other !== name));
      const result = await this.#attempt(others);
      if (result === undefined) this.#bad.delete(name);
      else this.#bad.set(name, result.words);
    }
    const left = this.#family.tables[this.#table].plan(new Set(this.#bad.keys()), this.#hasSet);
    if (left) problems.push(...left.problems);
    for (const [name, why] of this.#bad) problems.push(`chain ${this.#table} ${name} was refused: ${why}`);
    return this.#commands;
  }

  /** With all of `names`, and `held` held back, the table is refused: finds the bad ones among them. */
  async #divide(names: readonly string[], held: readonly string[], words: string): Promise<void> {
    const [only] = names;
    if (only === undefined) return;
    if (names.length === 1 || this.#runs >= SEARCH_RUNS) {
      for (const name of names) this.#bad.set(name, words);
      return;
    }
    const half = names.length >> 1;
    for (const [part, rest] of [
      [names.slice(0, half), names.slice(half)],
      [names.slice(half), []],
    ] as const) {
      const hold = [...held, ...rest];
      const result = await this.#attempt(new Set([...hold, ...this.#bad.keys()]));
      if (result !== undefined) await this.#divide(part, hold, result.words);
    }
  }

  /** Undefined: accepted. */
  async #attempt(hold: ReadonlySet<string>): Promise<(ToolResult & { owner?: string }) | undefined> {
    this.#runs++;
    const result = await this.#family.attempt(this.#table, hold);
    if (result.ok) {
      this.#commands += result.lines;
      return undefined;
    }
    await this.#family.reread(this.#table);
    return result;
  }
}
