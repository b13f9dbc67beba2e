/** The dataplane over a netfilter socket: when to compare the whole and when only what changed, what to say when it fails. */

import {
  type Monitor,
  type Netfilter,
  NetlinkError,
  NetlinkParseError,
  NF_SUBSYSTEM,
  openNetfilter,
} from "../../netlink/netfilter/index.ts";
import { currentNamespace, type Namespace, SysError } from "../../sys/index.ts";
import {
  type Applied,
  type Changes,
  type Dataplane,
  type DataplaneCounts,
  DataplaneError,
  type IpVersion,
  type Program,
  type Programs,
  TABLES,
} from "../rules/index.ts";
import { difference, emptyHeld, type Held, inTurns, leavesNothing, settle, type Wants } from "./diff.ts";
import { joinListed, type Shape } from "./elements.ts";
import { watchTables } from "./events.ts";
import { readGeneration, readSet, readTable, type Snapshot } from "./kernel.ts";
import { nameIn, setName } from "./names.ts";
import { type Operation, stepRequest } from "./operations.ts";
import { type Outcome, piecemeal, Sender } from "./transaction.ts";
import { changed, everything, PortSetUse, type Problem } from "./wants.ts";

export interface NftablesOptions {
  readonly programs: Programs;
  /** Most members of one set (FelixConfiguration `maxIpsetSize`); 1,048,576 when absent. */
  readonly maxSetSize?: number;
  /** Name of the table in the families ip and ip6; `calico` when absent. */
  readonly table?: string;
  /** Where to work; the namespace that the thread is in when absent. */
  readonly namespace?: Namespace;
}

const MAX_SET_SIZE = 1_048_576;
const TABLE = "calico";
/** How often the kernel is read anew because somebody changed rules meanwhile; then what was read has to do, as events tell the rest. */
const READ_ATTEMPTS = 4;
/** How many things are named in an error, and in what was repaired. */
const MOST_WORDS = 20;
/** From how many steps on a transaction's events are passed over. */
const MANY_COMMANDS = 200;

/** What is to be of one IP version. */
interface Plan {
  readonly family: Family;
  /** What of it is not done yet. */
  wants: Wants;
  /** Steps beside those that the wants take. */
  readonly more: readonly Operation[];
}

/** One IP version. */
interface Family {
  readonly version: IpVersion;
  readonly program: Program;
  held: Held;
  use: PortSetUse;
  /** Kernel's names of what the program has changed since the last complete apply. */
  readonly pending: Set<string>;
}

export class NftablesDataplane implements Dataplane {
  readonly name = "nftables";
  readonly #table: string;
  readonly #maxSetSize: number;
  readonly #own: Namespace | undefined;
  readonly #netfilter: Netfilter;
  readonly #sender: Sender;
  readonly #watch: () => Monitor;
  #monitor: Monitor;
  readonly #families: readonly Family[];
  readonly #callbacks: ((what: string) => void)[] = [];
  #recheck = true;
  #known = false;

  /** Throws DATAPLANE_TOOL_MISSING when the kernel has no nftables. */
  constructor(options: NftablesOptions) {
    const { programs, maxSetSize = MAX_SET_SIZE, table = TABLE } = options;
    this.#table = table;
    this.#maxSetSize = maxSetSize;
    // Listening may begin anew at any time, wherever the thread is then.
    this.#own = options.namespace ? undefined : currentNamespace();
    const namespace = options.namespace ?? this.#own!;
    this.#families = [programs.v4, programs.v6]
      .filter((program) => program !== undefined)
      .map((program) => ({
        version: program.ipVersion,
        program,
        held: emptyHeld(),
        use: new PortSetUse(),
        pending: new Set(),
      }));
    this.#netfilter = openNetfilter(namespace);
    try {
      const { port } = askFirst(this.#netfilter);
      this.#sender = new Sender(this.#netfilter, table);
      this.#watch = () =>
        watchTables({
          table,
          versions: this.#families.map(({ version }) => version),
          port,
          namespace,
          onChange: (what) => this.#drifted(what),
          onLoss: () => {
            if (!this.#sender.isAlone()) this.#drifted("rules were changed faster than events could be read");
          },
          onEnd: (error) => this.#drifted(`changes by others are not noticed any more: ${error.message}`),
        });
      this.#monitor = this.#watch();
    } catch (error) {
      this.#netfilter.close();
      this.#own?.close();
      throw error;
    }
  }

  async apply(): Promise<Applied> {
    const before = this.#sender.commands;
    try {
      const compared = this.#recheck || !this.#applyChanges();
      const repaired = compared ? await this.#applyAll() : [];
      const commands = this.#sender.commands - before;
      this.#skipOwnNoise(commands);
      return { commands, compared, repaired };
    } catch (error) {
      this.#recheck = true;
      throw inWords(error);
    }
  }

  recheck(): void {
    this.#recheck = true;
  }

  onDrift(callback: (what: string) => void): void {
    this.#callbacks.push(callback);
  }

  get counts(): DataplaneCounts {
    let chains = 0;
    let rules = 0;
    let sets = 0;
    let maps = 0;
    for (const { held } of this.#families) {
      chains += held.chains.size;
      maps += held.maps.size;
      sets += held.sets.size - held.maps.size;
      for (const chain of held.chains.values()) rules += chain.rules;
    }
    return { chains, rules, sets, maps };
  }

  async remove(): Promise<void> {
    this.#recheck = true;
    for (const family of this.#families) this.#deleteTable(family);
  }

  #deleteTable(family: Family): void {
    // To retire a table is to make it where there is none; to delete it then is right all the same.
    for (const what of ["retire-table", "delete-table"] as const) {
      const request = stepRequest({ do: what }, family.version, this.#table, 0);
      const [failure] = this.#netfilter.transaction(NF_SUBSYSTEM.NFTABLES, [request]).errors;
      if (failure) throw new DataplaneError("DATAPLANE_REFUSED", failure.error.message, { cause: failure.error });
    }
    family.held = emptyHeld();
  }

  async close(): Promise<void> {
    this.#monitor.close();
    this.#netfilter.close();
    this.#own?.close();
  }

  /**
   * The kernel tells us of our own changes, too, one by one. Many of them are better not read: where nobody else has changed anything since
   * the last comparison, listening begins anew behind them.
   */
  #skipOwnNoise(commands: number): void {
    if (commands < MANY_COMMANDS) return;
    const fresh = this.#watch();
    const alone = this.#sender.isAlone();
    (alone ? this.#monitor : fresh).close();
    if (alone) this.#monitor = fresh;
  }

  #drifted(what: string): void {
    this.#recheck = true;
    for (const callback of this.#callbacks) callback(what);
  }

  /** Only what the programs name. False when that is not enough: then everything has to be compared. */
  #applyChanges(): boolean {
    const plans: Plan[] = [];
    let enough = true;
    for (const family of this.#families) {
      const { program, held, use } = family;
      const changes = program.takeChanges();
      if (changes.empty) continue;
      notePending(family, changes);
      const options = { ...this.#reading(family), held };
      const planned = enough ? changed(program, changes, use, options) : undefined;
      if (!planned || planned.problems.length > 0) {
        enough = false;
        continue;
      }
      plans.push({ family, wants: planned.wants, more: [] });
    }
    if (!enough || this.#send(plans).did !== "committed") {
      this.#recheck = true;
      return false;
    }
    for (const { family } of plans) family.pending.clear();
    return true;
  }

  /** New sets first, then all the rest at once; notes what is done. `expected`: the generation that the plans were made for, when it matters. */
  #send(plans: readonly Plan[], expected?: number): Outcome {
    const turns = plans.map(({ family, wants }) => inTurns(family.held, wants));
    const steps = ({ family }: Plan, wants: Wants): Operation[] => difference(family.held, wants, family.version);
    const fresh = plans.flatMap((plan, i) => (turns[i]!.sets.sets.size > 0 ? steps(plan, turns[i]!.sets) : []));
    const first = this.#sender.send(fresh, expected);
    if (first.did !== "committed") return first;
    for (const [i, plan] of plans.entries()) {
      if (turns[i]!.sets.sets.size > 0) settle(plan.family.held, turns[i]!.sets);
      plan.wants = turns[i]!.rest;
    }
    const rest = plans.flatMap((plan) => [...steps(plan, plan.wants), ...plan.more]);
    const then = this.#sender.send(rest, expected === undefined ? undefined : this.#sender.generation);
    if (then.did === "committed") for (const { family, wants } of plans) settle(family.held, wants);
    return then;
  }

  #reading({ version }: Family) {
    return {
      maxSetSize: this.#maxSetSize,
      read: (name: string, shape: Shape) =>
        new Set(joinListed(readSet(this.#netfilter, version, this.#table, name), shape)),
    };
  }

  /** Compares the kernel with the programs. Answers what others had changed, in words. */
  async #applyAll(): Promise<readonly string[]> {
    const noted: string[] = [];
    for (let attempt = 1; ; attempt++) {
      const { generation } = readGeneration(this.#netfilter);
      const snapshots = await this.#readAll();
      const patient = attempt < READ_ATTEMPTS;
      if (patient && readGeneration(this.#netfilter).generation !== generation) continue;
      // Nothing of a table that is out of use is enforced, and the kernel refuses to change base chains while it is put to use again.
      const dormant = this.#families.filter((_, i) => snapshots[i]!.table === "dormant");
      if (dormant.length > 0) {
        for (const family of dormant) {
          this.#deleteTable(family);
          if (this.#known) noted.push(`table ${tableText(family, this.#table)} was out of use`);
        }
        continue;
      }
      // From here to the end of sending nothing else runs: a drift that is told of later is a later one.
      this.#recheck = false;
      this.#sender.begin(generation);
      const plans = this.#families.map((family, i) => this.#compare(family, snapshots[i]!));
      const outcome = this.#send(plans, patient ? generation : undefined);
      if (outcome.did === "overtaken") continue;
      const problems = plans.flatMap((plan) => plan.problems);
      for (const { family, wants } of plans) {
        if (outcome.did !== "committed") problems.push(...piecemeal(this.#sender, family.held, wants, family.version));
        family.pending.clear();
      }
      this.#known = true;
      if (problems.length > 0) throw errorOf(problems);
      return shortened([...noted, ...plans.flatMap((plan) => plan.repaired)]);
    }
  }

  async #readAll(): Promise<Snapshot[]> {
    const snapshots: Snapshot[] = [];
    for (const { version } of this.#families) {
      snapshots.push(await readTable(this.#netfilter, version, this.#table));
    }
    return snapshots;
  }

  #compare(family: Family, snapshot: Snapshot) {
    const { program, version } = family;
    notePending(family, program.takeChanges());
    const before = family.held;
    family.held = { table: snapshot.table, chains: snapshot.chains, sets: snapshot.sets, maps: snapshot.maps };
    family.use = new PortSetUse();
    const { wants, problems } = everything(program, family.use, {
      held: snapshot,
      maxSetSize: this.#maxSetSize,
      read: (name) => snapshot.elements.get(name) ?? new Set(),
    });
    // With the table they go by themselves.
    const more = (leavesNothing(snapshot, wants) ? [] : snapshot.flowtables).map(
      (flowtable): Operation => ({ do: "delete-flowtable", flowtable, version, unit: `flowtable ${flowtable}` }),
    );
    const repaired = this.#known ? repairs(before, snapshot, wants, family, this.#table) : [];
    return { family, wants, more, problems: [...problems], repaired };
  }
}

/** What the kernel or the socket says, as an error of a dataplane. */
function inWords(error: unknown): unknown {
  if (error instanceof NetlinkError || error instanceof NetlinkParseError) {
    const message = `what nftables holds cannot be read: ${error.message}`;
    return new DataplaneError("DATAPLANE_UNREADABLE", message, { cause: error });
  }
  if (error instanceof SysError) return new DataplaneError("DATAPLANE_REFUSED", error.message, { cause: error });
  return error;
}

function askFirst(netfilter: Netfilter): { readonly port: number } {
  try {
    return readGeneration(netfilter);
  } catch (error) {
    if (!(error instanceof NetlinkError)) throw error;
    if (error.code === "EPERM") {
      const remedy = "the process needs CAP_NET_ADMIN in the network namespace";
      throw new DataplaneError("DATAPLANE_REFUSED", `${error.message}: ${remedy}`, { cause: error });
    }
    const remedy = "the kernel has no nftables; load the module nf_tables, or use iptables (NFTablesMode: Disabled)";
    throw new DataplaneError("DATAPLANE_TOOL_MISSING", `${error.message}: ${remedy}`, { cause: error });
  }
}

const tableText = ({ version }: Family, table: string): string => `${version === 4 ? "ip" : "ip6"} ${table}`;

function notePending({ pending, version }: Family, changes: Changes): void {
  for (const table of TABLES) {
    for (const name of changes.chains[table]) pending.add(nameIn(table, name));
    for (const name of changes.dispatches[table]) pending.add(nameIn(table, name));
    for (const name of changes.hooks[table]) pending.add(nameIn(table, name));
  }
  for (const id of changes.sets.keys()) pending.add(setName(version, id));
}

/** What the kernel holds otherwise than it did after the last apply, and the program did not change since. */
function repairs(before: Held, now: Held, wants: Wants, family: Family, tableName: string): string[] {
  const { pending } = family;
  const words: string[] = [];
  if (before.table === "present" && now.table === "absent") return [`table ${tableText(family, tableName)} was gone`];
  for (const [name, chain] of before.chains) {
    const is = now.chains.get(name);
    if (!is) words.push(`chain ${name} was gone`);
    else if (is.base !== chain.base) words.push(`chain ${name} was at another place`);
    else if (is.hashes !== chain.hashes) words.push(`rules of chain ${name} were not as they were left`);
  }
  for (const name of now.chains.keys()) if (!before.chains.has(name)) words.push(`chain ${name} was not ours`);
  for (const [name, shape] of before.sets) {
    const is = now.sets.get(name);
    if (is === undefined) words.push(`${shape === "map" ? "map" : "set"} ${name} was gone`);
    else if (is !== shape) words.push(`set ${name} was of another type`);
  }
  for (const name of now.sets.keys()) if (!before.sets.has(name)) words.push(`set ${name} was not ours`);
  for (const [name, entries] of before.maps) {
    const is = now.maps.get(name);
    if (is && (is.size !== entries.size || [...entries].some(([key, chain]) => is.get(key) !== chain))) {
      words.push(`entries of map ${name} were not as they were left`);
    }
  }
  for (const [name, want] of wants.sets) {
    if (!want || pending.has(name) || !before.sets.has(name) || before.sets.get(name) !== now.sets.get(name)) continue;
    if (want.added.length > 0) words.push(`set ${name} lacked ${want.added.length} of its members`);
    if (want.removed.length > 0) words.push(`set ${name} had ${want.removed.length} members too many`);
  }
  return words;
}

function shortened(words: readonly string[]): readonly string[] {
  if (words.length <= MOST_WORDS) return words;
  return [...words.slice(0, MOST_WORDS), `and ${words.length - MOST_WORDS} more`];
}

function errorOf(problems: readonly Problem[]): DataplaneError {
  const words = problems.map(({ unit, message }) => `${unit}: ${message}`);
  // What refers to a set that is full may be refused for it.
  const code = problems.find((problem) => problem.code === "DATAPLANE_SET_FULL")?.code ?? problems[0]!.code;
  const remedy = "What is refused keeps its last good rules, or drops where it has none; everything else is in force";
  return new DataplaneError(code, `${shortened(words).join("; ")}. ${remedy}`);
}
