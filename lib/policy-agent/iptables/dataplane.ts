/** A round of changes, one after the other, and what is noticed in between. */
import { silentLogger } from "../../telemetry/index.ts";
import {
  type Applied,
  type Dataplane,
  type DataplaneCounts,
  DataplaneError,
  type IpVersion,
  type Program,
  TABLES,
} from "../rules/index.ts";
import { type TableEvent, type Watch, watchLock, watchNft, watchSets } from "./events.ts";
import { Family } from "./family.ts";
import { Intake } from "./intake.ts";
import { isOurChain } from "./names.ts";
import { type Backend, DEFAULTS, type IptablesOptions } from "./options.ts";
import type { Dialect } from "./render.ts";
import { hasTool, iptablesTool, makeTools, type Tools, toolMissing } from "./run.ts";
import { Sets } from "./sets.ts";

/** Milliseconds that notifications are gathered for before they are told. */
const GATHER = 10;
/** Milliseconds until sets that there was no time to destroy are tried again. */
const DESTROY_AGAIN = 1_000;
/** Problems that an error names; the rest is counted. */
const NAMED = 5;

/**
 * Opens the dataplane in the namespace; nothing in the kernel changes before the first apply.
 * Throws {@link DataplaneError} DATAPLANE_TOOL_MISSING.
 */
export async function openIptables(options: IptablesOptions): Promise<Dataplane> {
  const versions: IpVersion[] = options.programs.v6 ? [4, 6] : [4];
  requireTools(options.backend, versions);
  const dataplane = new IptablesDataplane(options);
  dataplane.watch(options);
  return dataplane;
}

/** Throws DATAPLANE_TOOL_MISSING for the first that is not there. */
export function requireTools(backend: Backend, versions: readonly IpVersion[]): void {
  const names = versions.flatMap((version) => [
    iptablesTool(version, backend, "restore"),
    iptablesTool(version, backend, "save"),
  ]);
  for (const name of [...names, "ipset"]) if (!hasTool(name)) throw toolMissing(name);
}

export class IptablesDataplane implements Dataplane {
  readonly name: Dataplane["name"];
  readonly #logger;
  readonly #tools: Tools;
  readonly #sets: Sets;
  readonly #intakes: readonly Intake[];
  readonly #watches: Watch[] = [];
  readonly #callbacks: ((what: string) => void)[] = [];
  /** What is under way, and must end before something else begins. */
  #work: Promise<unknown> = Promise.resolve();
  #working = false;
  /** Counts changes of ours: what was read before one is no news after it. */
  #generation = 0;
  /** What the kernel held at first has been taken over. */
  #adopted = false;
  #compareTables = true;
  #compareSets = true;
  /** What others did since the last round, as far as it has been told. */
  readonly #told = new Set<string>();
  readonly #gathered = new Set<string>();
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #destroying: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: IptablesOptions) {
    const { programs, backend, namespace } = options;
    this.name = `iptables-${backend}`;
    this.#logger = options.logger ?? silentLogger;
    this.#tools = makeTools({
      timeout: options.toolTimeout ?? DEFAULTS.toolTimeout,
      ...(namespace && { namespace }),
      ...(options.lockFile !== undefined && { lockFile: options.lockFile }),
    });
    const all: Program[] = programs.v6 ? [programs.v4, programs.v6] : [programs.v4];
    this.#sets = new Sets(all, this.#tools, options.maxIpsetSize ?? DEFAULTS.maxIpsetSize);
    this.#intakes = all.map((program) => {
      const version = program.ipVersion;
      const dialect: Dialect = { version, setName: (id) => this.#sets.nameOf(version, id) };
      const family = new Family({
        dialect,
        backend,
        insertMode: options.insertMode ?? DEFAULTS.insertMode,
        lockTimeout: options.lockTimeout ?? DEFAULTS.lockTimeout,
        ...(options.lockProbeInterval !== undefined && { lockProbeInterval: options.lockProbeInterval }),
        tools: this.#tools,
        hasSet: (name) => this.#sets.standing.has(name),
      });
      const warn = (message: string): void => this.#logger.warning(message);
      return new Intake(program, family, dialect, (id) => this.#sets.isOverfull(version, id), warn);
    });
  }

  get counts(): DataplaneCounts {
    let [chains, rules] = [0, 0];
    for (const { family } of this.#intakes) {
      for (const table of TABLES) {
        const counts = family.tables[table].counts;
        chains += counts.chains;
        rules += counts.rules;
      }
    }
    return { chains, rules, sets: this.#sets.standing.size, maps: 0 };
  }

  recheck(): void {
    this.#compareTables = true;
    this.#compareSets = true;
  }

  onDrift(callback: (what: string) => void): void {
    this.#callbacks.push(callback);
  }

  apply(): Promise<Applied> {
    return this.#exclusive(async () => {
      let result: { applied: Applied; full: readonly string[] };
      try {
        result = await this.#apply();
      } catch (error) {
        this.recheck();
        throw error;
      }
      const { applied, full } = result;
      // Nothing is in doubt here: comparing would not make room.
      if (full.length > 0) throw new DataplaneError("DATAPLANE_SET_FULL", listed(full));
      return applied;
    });
  }

  async #apply(): Promise<{ applied: Applied; full: readonly string[] }> {
    this.#takeIn();
    const known = this.#adopted;
    const compared = this.#compareTables || this.#compareSets;
    const repaired = await this.#compare(known);
    await this.#sets.settle();
    const renamed = this.#sets.takeRenamed();
    for (const intake of this.#intakes) intake.renamed(renamed);
    this.#adopted = true;
    const sets = await this.#sets.write();
    const results = await Promise.all(this.#intakes.map(({ family }) => family.write()));
    const destroyed = await this.#sets.destroy();
    this.#destroyLater();
    const problems = [...sets.problems, ...results.flatMap((result) => result.problems)];
    if (problems.length > 0) throw new DataplaneError("DATAPLANE_REFUSED", listed([...problems, ...sets.full]));
    const commands = sets.commands + destroyed + results.reduce((sum, result) => sum + result.commands, 0);
    return { applied: { commands, compared, repaired }, full: sets.full };
  }

  #takeIn(): void {
    for (const intake of this.#intakes) {
      const { ipVersion } = intake.program;
      if (this.#adopted) {
        const changes = intake.program.takeChanges();
        this.#sets.change(ipVersion, changes.sets);
        intake.some(changes);
      } else intake.all();
    }
  }

  /** In words, what others had changed. */
  async #compare(known: boolean): Promise<string[]> {
    const words: string[] = [];
    const [tables, sets] = [this.#compareTables, this.#compareSets];
    // Whatever is told of from here on may be missing in what is read now: that takes another comparison.
    this.#compareTables = false;
    this.#compareSets = false;
    this.#told.clear();
    if (tables) {
      const found = await Promise.all(this.#intakes.map(({ family }) => family.read()));
      this.#intakes.forEach(({ family }, index) => {
        const read = found[index];
        if (read === undefined) return;
        if (known) words.push(...family.differences(read));
        family.compare(read);
      });
    }
    if (sets) words.push(...(await this.#sets.compareAll(known)));
    return words;
  }

  async remove(): Promise<void> {
    const problems = await this.clear(true);
    if (this.#sets.doomed > 0) problems.push(`${this.#sets.doomed} sets are in use still`);
    if (problems.length > 0) throw new DataplaneError("DATAPLANE_REFUSED", listed(problems));
  }

  /** Removes all rules and chains, and where `sets` says so the sets that then nothing refers to. What was refused, in words. */
  clear(sets: boolean): Promise<string[]> {
    return this.#exclusive(async () => {
      const problems: string[] = [];
      for (const { family } of this.#intakes) {
        family.compare(await family.read());
        for (const table of TABLES) family.tables[table].wantNothing();
        problems.push(...(await family.write()).problems);
      }
      if (sets) await this.#sets.destroyEverything();
      this.#adopted = false;
      this.recheck();
      return problems;
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const watch of this.#watches) watch.close();
    clearTimeout(this.#gathering);
    clearTimeout(this.#destroying);
    await this.#work.catch(() => {});
  }

  #exclusive<T>(action: () => Promise<T>): Promise<T> {
    const run = async (): Promise<T> => {
      this.#working = true;
      this.#generation++;
      try {
        return await action();
      } finally {
        this.#working = false;
      }
    };
    const result = this.#work.then(run, run);
    this.#work = result;
    return result;
  }

  /** Where destroying is slow, a little at a time, for as long as some go. */
  #destroyLater(): void {
    if (this.#sets.doomed === 0 || this.#closed || this.#destroying !== undefined) return;
    this.#destroying = setTimeout(() => {
      this.#destroying = undefined;
      void this.#exclusive(() => this.#sets.destroy()).then(
        (destroyed) => (destroyed > 0 ? this.#destroyLater() : undefined),
        (error: Error) => this.#logger.warning("could not destroy IP sets", { error: error.message }),
      );
    }, DESTROY_AGAIN);
    this.#destroying.unref();
  }

  /** Begins to notice what others change. */
  watch(options: IptablesOptions): void {
    const namespace = options.namespace && { namespace: options.namespace };
    const onError = (error: Error): void =>
      this.#logger.warning("cannot watch for changes by others", { error: error.message });
    const look = (): Promise<void> => this.#lookAtTables();
    if (options.backend === "nft") {
      this.#watches.push(
        watchNft({
          ...namespace,
          pids: this.#tools.pids,
          onEvent: (event) => this.#onTableEvent(event),
          onLost: () => this.#onTables("notifications of nf_tables were lost"),
          onError: (error) => {
            onError(error);
            if (!this.#closed) this.#watches.push(watchLock({ look, onError }));
          },
        }),
      );
    } else {
      const path = options.lockFile ?? process.env.XTABLES_LOCKFILE ?? DEFAULTS.lockFile;
      this.#watches.push(watchLock({ path, isOwn: this.#tools.isOwnLockEvent, look, onError }));
    }
    const interval = options.ipsetCheckInterval ?? DEFAULTS.ipsetCheckInterval;
    if (interval > 0) {
      this.#watches.push(
        watchSets({
          ...namespace,
          interval,
          names: () => this.#sets.standing.keys(),
          isQuiet: () => this.#adopted && !this.#working,
          look: (name, size) => this.#lookAtSet(name, size),
          onError,
        }),
      );
    }
  }

  #onTableEvent({ version, table, chain }: TableEvent): void {
    const family = this.#intakes.find((intake) => intake.program.ipVersion === version)?.family;
    if (!this.#adopted || family === undefined) return;
    const state = family.tables[table];
    const concerns = chain === undefined ? state.inUse : isOurChain(chain) || state.usesHook(chain);
    if (concerns)
      this.#onTables(
        `${version === 6 ? "IPv6 " : ""}${chain === undefined ? "" : `chain ${chain} of `}table ${table} was changed`,
      );
  }

  #onTables(what: string): void {
    if (!this.#adopted) return;
    this.#compareTables = true;
    this.#tell(what);
  }

  /** Whether the tables still are what they were left as; for what the kernel does not tell of. */
  async #lookAtTables(): Promise<void> {
    if (!this.#adopted) return;
    await this.#work.catch(() => {});
    const generation = this.#generation;
    for (const { family } of this.#intakes) {
      const differences = family.differences(await family.read());
      // A round that began meanwhile ends with a use of the lock, and so with another look.
      if (this.#closed || this.#generation !== generation) return;
      for (const what of differences) this.#onTables(what);
    }
  }

  #lookAtSet(name: string, found: number | "gone" | undefined): void {
    const size = this.#sets.standing.get(name)?.size;
    if (size === undefined || found === undefined || found === size) return;
    this.#compareSets = true;
    this.#tell(found === "gone" ? `set ${name} was gone` : `set ${name} had ${found} members instead of ${size}`);
  }

  /** Gathers what comes together into one call. */
  #tell(what: string): void {
    if (this.#closed || this.#told.has(what)) return;
    this.#told.add(what);
    this.#gathered.add(what);
    this.#gathering ??= setTimeout(() => {
      this.#gathering = undefined;
      const all = listed([...this.#gathered]);
      this.#gathered.clear();
      for (const callback of this.#callbacks) callback(all);
    }, GATHER);
  }
}

function listed(words: readonly string[]): string {
  const rest = words.length - NAMED;
  return words.slice(0, NAMED).join("; ") + (rest > 0 ? `; and ${rest} more` : "");
}
