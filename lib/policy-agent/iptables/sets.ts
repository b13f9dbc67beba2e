/**
 * The IP sets of both IP versions: made and filled before rules refer to them, changed by their differences, and destroyed when no rule
 * refers to them any more. All through `ipset restore`, one run for a whole round.
 *
 * A set that is to have more members than MaxIpsetSize keeps those it has, as far as they are still right, and takes new ones while there is
 * room; what is left over waits for room. Rules that would let more through without the missing ones are closed (closeRules (rules/)).
 */
import type { SetId } from "../calc/index.ts";
import { DataplaneError, type IpSet, type IpVersion, type Program, type SetChange } from "../rules/index.ts";
import { FAMILY, KERNEL_TYPE, kernelMembers, parseIpsetSave, type SavedSet } from "./members.ts";
import { isOurSet, setName, temporarySetName } from "./names.ts";
import type { Tools } from "./run.ts";

/** What the kernel is known to hold under a name. */
interface Standing {
  readonly version: IpVersion;
  /** `hash:net` */
  readonly type: string;
  readonly maxelem: number;
  size: number;
}

/** What is still to be done to a set of the program, in the kernel's spelling. */
interface Work {
  readonly version: IpVersion;
  readonly id: SetId;
  /** `add` and `remove` are not known: the kernel's set has to be read first. */
  compare: boolean;
  readonly add: Set<string>;
  readonly remove: Set<string>;
}

/** The lines for one set, and what is so when they have been accepted. */
interface Job {
  readonly name: string;
  readonly lines: readonly string[];
  readonly done: () => void;
  /** The name of a set that is left over when the job is refused. */
  readonly temporary?: string;
}

export interface SetsResult {
  /** Lines that were accepted. */
  readonly commands: number;
  readonly problems: readonly string[];
  /** What did not fit, in words. */
  readonly full: readonly string[];
}

/** Reading single sets costs a run each: with more than this all are read at once. */
const SINGLE_READS = 8;
/** A set of which more than this and more than half differs is made anew and takes the other's place at once. */
const REPLACE = 1_000;
/** Milliseconds that a round may spend on destroying: where the kernel waits for its readers each takes 40 ms. */
const DESTROY_TIME = 60;
/** So often it is tried to destroy a set that something refers to, until all is compared again. */
const DESTROY_TRIES = 3;
/** So many sets may be refused in a round before the rest waits for the next. */
const REFUSALS = 20;

export class Sets {
  readonly #programs: ReadonlyMap<IpVersion, Program>;
  readonly #tools: Tools;
  readonly #max: number;
  readonly #standing = new Map<string, Standing>();
  readonly #work = new Map<string, Work>();
  /** Names under which there may be a set with who knows what in it. */
  readonly #uncertain = new Set<string>();
  /** Sets to destroy, and how often that was refused because something refers to them. */
  readonly #doomed = new Map<string, number>();
  /** Usual names of sets that have their other name. */
  readonly #others = new Set<string>();
  readonly #renamed: string[] = [];
  #complaints: string[] = [];
  #temporary = 0;

  constructor(programs: readonly Program[], tools: Tools, maxIpsetSize: number) {
    this.#programs = new Map(programs.map((program) => [program.ipVersion, program]));
    this.#tools = tools;
    this.#max = maxIpsetSize;
  }

  /** Sets of Calico's that the kernel is known to hold, by name, with their sizes. */
  get standing(): ReadonlyMap<string, { readonly size: number }> {
    return this.#standing;
  }

  /** How many sets wait to be destroyed. */
  get doomed(): number {
    return this.#doomed.size;
  }

  /** Those of them for which it is worth trying again, though no rule of ours changes. */
  get #destroyable(): string[] {
    return [...this.#doomed].flatMap(([name, refusals]) => (refusals < DESTROY_TRIES ? name : []));
  }

  /** The name of a set in the kernel. */
  nameOf(version: IpVersion, id: SetId): string {
    return setName(version, id, this.#others.has(setName(version, id)));
  }

  /** Names that are not used any more, because a set of another type has them; since the last call. */
  takeRenamed(): string[] {
    return this.#renamed.splice(0);
  }

  /** Whether a set should have more members than it may. */
  isOverfull(version: IpVersion, id: SetId): boolean {
    const set = this.#programs.get(version)?.sets.get(id);
    return set !== undefined && wantedSize(set) > this.#max;
  }

  /** Takes in what changed in the program. */
  change(version: IpVersion, changes: ReadonlyMap<SetId, SetChange>): void {
    for (const [id, change] of changes) {
      const set = this.#programs.get(version)?.sets.get(id);
      const name = set ? this.#nameFor(version, set) : this.nameOf(version, id);
      if (set === undefined) {
        this.#work.delete(name);
        if (this.#standing.has(name) || this.#uncertain.has(name)) this.#doomed.set(name, 0);
        continue;
      }
      const work = this.#workFor(version, id);
      if (this.#doomed.delete(name) || change.whole) work.compare = true;
      if (work.compare) continue;
      for (const member of change.removed) {
        for (const spelled of kernelMembers(member, set.type, version)) {
          // Half of a net that went may have become a member of its own.
          if (!set.members.has(spelled) && !work.add.delete(spelled)) work.remove.add(spelled);
        }
      }
      for (const member of change.added) {
        for (const spelled of this.#spell(set, member, version)) {
          if (!work.remove.delete(spelled)) work.add.add(spelled);
        }
      }
    }
  }

  /** Reads all sets. In words, what others changed when `known`: this is not the first time. */
  async compareAll(known: boolean): Promise<string[]> {
    const saved = new Map((await this.#save([])).map((set) => [set.name, set]));
    const words: string[] = [];
    const quiet = new Set(this.#work.keys());
    for (const name of this.#standing.keys()) if (known && !saved.has(name)) words.push(`set ${name} was gone`);
    for (const name of saved.keys()) {
      if (known && !this.#standing.has(name) && !quiet.has(name)) words.push(`set ${name} was not ours`);
    }
    this.#standing.clear();
    this.#uncertain.clear();
    this.#doomed.clear();
    this.#work.clear();
    for (const set of saved.values()) this.#found(set);
    for (const [version, program] of this.#programs)
      for (const set of program.sets.values()) this.#nameFor(version, set);
    const wanted = this.#wanted();
    for (const name of saved.keys()) if (!wanted.has(name)) this.#doomed.set(name, 0);
    for (const [name, { version, id }] of wanted) {
      const work = this.#workFor(version, id);
      const difference = this.#settle(work, saved.get(name));
      if (difference === 0) this.#work.delete(name);
      else if (known && saved.has(name) && !quiet.has(name)) words.push(`set ${name} had other members`);
    }
    return words;
  }

  /** Reads the sets of which it is not known what they hold. */
  async settle(): Promise<void> {
    const doubtful = [...this.#work].filter(([, work]) => work.compare);
    const toRead = doubtful
      .map(([name]) => name)
      .filter((name) => this.#standing.has(name) || this.#uncertain.has(name));
    const saved = new Map((toRead.length === 0 ? [] : await this.#save(toRead)).map((set) => [set.name, set]));
    for (const [name, work] of doubtful) {
      const found = saved.get(name);
      this.#uncertain.delete(name);
      this.#standing.delete(name);
      if (found !== undefined) this.#found(found);
      const set = this.#programs.get(work.version)?.sets.get(work.id);
      const now = set && this.#nameFor(work.version, set);
      // One of another type came in its place: the other name is new.
      if (now !== undefined && now !== name) this.#settle(this.#workFor(work.version, work.id), undefined);
      else if (this.#settle(work, found) === 0) this.#work.delete(name);
    }
  }

  /** Makes and fills sets, after {@link settle}; says what was refused. Throws only when there is no ipset. */
  async write(): Promise<SetsResult> {
    const problems = this.#complaints;
    this.#complaints = [];
    let jobs = [...this.#work].flatMap(([name, work]) => this.#job(name, work) ?? []);
    let commands = 0;
    for (let refusals = 0; jobs.length > 0; refusals++) {
      const { accepted, refused, words } = await this.#restore(jobs);
      for (const job of jobs.slice(0, accepted)) {
        commands += job.lines.length;
        job.done();
      }
      if (refused === undefined) break;
      problems.push(`set ${refused.name} was refused: ${words}`);
      this.#uncertain.add(refused.name);
      if (refused.temporary !== undefined) this.#doomed.set(refused.temporary, 0);
      const work = this.#work.get(refused.name);
      if (work) work.compare = true;
      jobs = refusals < REFUSALS ? jobs.slice(accepted + 1) : [];
    }
    return { commands, problems, full: this.#full() };
  }

  /** Destroys sets that nothing wants, as many as there is time for; `all`: whatever time it takes. The lines that were accepted. */
  async destroy(all = false): Promise<number> {
    const end = performance.now() + DESTROY_TIME;
    const names = all ? [...this.#doomed.keys()] : this.#destroyable;
    let commands = 0;
    for (let batch = 1; names.length > 0 && (all || performance.now() < end); batch *= 2) {
      const jobs = names
        .splice(0, batch)
        .map((name) => ({ name, lines: [`destroy ${name}`], done: () => this.#gone(name) }));
      while (jobs.length > 0) {
        const { accepted, refused, words } = await this.#restore(jobs);
        for (const job of jobs.splice(0, accepted)) {
          commands++;
          job.done();
        }
        if (refused === undefined) break;
        // nf_tables lets go of a rule's sets a moment after the rule is gone; others may refer to a set for ever.
        if (/does not exist/.test(words)) this.#gone(refused.name);
        else this.#doomed.set(refused.name, (this.#doomed.get(refused.name) ?? 0) + 1);
        jobs.shift();
      }
    }
    return commands;
  }

  /** Destroys every set of Calico's that nothing refers to, whatever the programs say. */
  async destroyEverything(): Promise<void> {
    for (const { name } of await this.#save([])) this.#doomed.set(name, 0);
    this.#work.clear();
    for (let tries = 0; tries < DESTROY_TRIES && this.#doomed.size > 0; tries++) {
      if (tries > 0) await new Promise((resolve) => setTimeout(resolve, 20 * tries));
      await this.destroy(true);
    }
  }

  #gone(name: string): void {
    this.#doomed.delete(name);
    this.#standing.delete(name);
    this.#uncertain.delete(name);
  }

  /** Sets that the programs have, by their names in the kernel. */
  #wanted(): Map<string, { version: IpVersion; id: SetId }> {
    const wanted = new Map<string, { version: IpVersion; id: SetId }>();
    for (const [version, program] of this.#programs) {
      for (const id of program.sets.keys()) wanted.set(this.nameOf(version, id), { version, id });
    }
    return wanted;
  }

  /** The name for a set; where one of another type stands under it, and rules may look into it, its other name from now on. */
  #nameFor(version: IpVersion, { id, type }: IpSet): string {
    const name = this.nameOf(version, id);
    const standing = this.#standing.get(name);
    if (standing === undefined || standing.type === KERNEL_TYPE[type]) return name;
    const usual = setName(version, id);
    if (!this.#others.delete(usual)) this.#others.add(usual);
    this.#work.delete(name);
    this.#doomed.set(name, 0);
    this.#renamed.push(name);
    this.#workFor(version, id).compare = true;
    return this.nameOf(version, id);
  }

  #found(set: SavedSet): void {
    const version: IpVersion = set.family === FAMILY[6] ? 6 : 4;
    this.#standing.set(set.name, { version, type: set.type, maxelem: set.maxelem, size: set.members.length });
  }

  /** Fills the work from what was read (undefined: there is no such set); how much differs. */
  #settle(work: Work, saved: SavedSet | undefined): number {
    const set = this.#programs.get(work.version)?.sets.get(work.id);
    work.compare = false;
    work.add.clear();
    work.remove.clear();
    if (set === undefined) return 0;
    for (const member of set.members) {
      for (const spelled of this.#spell(set, member, work.version)) work.add.add(spelled);
    }
    if (saved === undefined) return work.add.size + 1;
    for (const member of saved.members) if (!work.add.delete(member)) work.remove.add(member);
    return work.add.size + work.remove.size + (this.#isUsable(set, saved) ? 0 : 1);
  }

  #isUsable(set: IpSet, { type, maxelem }: { readonly type: string; readonly maxelem: number }): boolean {
    return type === KERNEL_TYPE[set.type] && maxelem === this.#max;
  }

  #spell(set: IpSet, member: string, version: IpVersion): readonly string[] {
    const spelled = kernelMembers(member, set.type, version);
    if (spelled.length === 0) {
      this.#complaints.push(`set ${this.nameOf(version, set.id)}: ${JSON.stringify(member)} cannot be its member`);
    }
    return spelled;
  }

  #workFor(version: IpVersion, id: SetId): Work {
    const name = this.nameOf(version, id);
    let work = this.#work.get(name);
    if (work === undefined) {
      work = { version, id, compare: false, add: new Set(), remove: new Set() };
      this.#work.set(name, work);
    }
    return work;
  }

  #job(name: string, work: Work): Job | undefined {
    const { version, id } = work;
    const set = this.#programs.get(version)?.sets.get(id);
    if (set === undefined) return undefined;
    const standing = this.#standing.get(name);
    if (standing === undefined) return this.#make(name, set, work);
    const changes = work.add.size + work.remove.size;
    const isNew = !this.#isUsable(set, standing) || (changes > REPLACE && changes * 2 > standing.size);
    if (isNew) return this.#replace(name, set, work);
    const byRoom = this.#max - standing.size;
    const isTight = work.add.size > byRoom;
    const removed = [...work.remove];
    const added = isTight ? [...work.add].slice(0, Math.max(0, byRoom + removed.length)) : [...work.add];
    if (added.length + removed.length === 0) return undefined;
    const adding = added.map((member) => `add ${name} ${member}`);
    const removing = removed.map((member) => `del ${name} ${member}`);
    return {
      name,
      // A net may give way to its parts: what is in both must never be missing, as long as there is room.
      lines: isTight ? [...removing, ...adding] : [...adding, ...removing],
      done: () => {
        standing.size += added.length - removed.length;
        for (const member of added) work.add.delete(member);
        work.remove.clear();
        if (work.add.size === 0) this.#work.delete(name);
      },
    };
  }

  #create(name: string, set: IpSet, version: IpVersion): string {
    return `create ${name} ${KERNEL_TYPE[set.type]} family ${FAMILY[version]} maxelem ${this.#max}`;
  }

  #make(name: string, set: IpSet, work: Work): Job {
    const added = [...work.add].slice(0, this.#max);
    return {
      name,
      lines: [this.#create(name, set, work.version), ...added.map((member) => `add ${name} ${member}`)],
      done: () => this.#made(name, set, work, added),
    };
  }

  /** Fills a set under another name and puts it in the place of the one that is there. */
  #replace(name: string, set: IpSet, work: Work): Job {
    const members = [...set.members].flatMap((member) => kernelMembers(member, set.type, work.version));
    const kept = members.filter((member) => !work.add.has(member));
    const chosen = [...kept, ...work.add].slice(0, this.#max);
    const left = [...kept, ...work.add].slice(this.#max);
    let temporary = temporarySetName(work.version, this.#temporary++);
    while (this.#standing.has(temporary)) temporary = temporarySetName(work.version, this.#temporary++);
    return {
      name,
      temporary,
      lines: [
        this.#create(temporary, set, work.version),
        `flush ${temporary}`,
        ...chosen.map((member) => `add ${temporary} ${member}`),
        `swap ${temporary} ${name}`,
        `destroy ${temporary}`,
      ],
      done: () => {
        work.add.clear();
        for (const member of left) work.add.add(member);
        this.#made(name, set, work, chosen);
      },
    };
  }

  #made(name: string, set: IpSet, work: Work, members: readonly string[]): void {
    const { version } = work;
    this.#standing.set(name, { version, type: KERNEL_TYPE[set.type], maxelem: this.#max, size: members.length });
    for (const member of members) work.add.delete(member);
    work.remove.clear();
    if (work.add.size === 0) this.#work.delete(name);
  }

  #full(): string[] {
    return [...this.#work].flatMap(([name, work]) => {
      if (work.compare || work.add.size === 0 || !this.isOverfull(work.version, work.id)) return [];
      return `set ${name} (${work.id}) is full: ${work.add.size} members do not fit in beside ${this.#max}; raise MaxIpsetSize`;
    });
  }

  /** Sends jobs in one run: how many were accepted, and the one after them that was not. */
  async #restore(jobs: readonly Job[]): Promise<{ accepted: number; refused?: Job; words: string }> {
    const lines = jobs.flatMap((job) => job.lines);
    const result = await this.#tools.run(["ipset", "restore", "-exist"], `${lines.join("\n")}\n`);
    if (result.ok) return { accepted: jobs.length, words: "" };
    let left = (result.line ?? 1) - 1;
    const accepted = jobs.findIndex((job) => {
      if (left < job.lines.length) return true;
      left -= job.lines.length;
      return false;
    });
    const refused = jobs[accepted];
    const words = `ipset: ${result.words} (${refused?.lines[left] ?? ""})`;
    return refused === undefined ? { accepted: jobs.length, words } : { accepted, refused, words };
  }

  /** Sets of Calico's of the IP versions at hand; none named: all. */
  async #save(names: readonly string[]): Promise<SavedSet[]> {
    const read = async (name?: string): Promise<SavedSet[]> => {
      const result = await this.#tools.run(["ipset", "save", ...(name === undefined ? [] : [name])]);
      if (!result.ok && name !== undefined && /does not exist/.test(result.words)) return [];
      if (!result.ok) throw new DataplaneError("DATAPLANE_UNREADABLE", `ipset save failed: ${result.words}`);
      return parseIpsetSave(result.output);
    };
    if (names.length === 0 || names.length > SINGLE_READS) {
      return (await read()).filter(({ name }) => [...this.#programs.keys()].some((version) => isOurSet(version, name)));
    }
    return (await Promise.all(names.map(read))).flat();
  }
}

function wantedSize(set: IpSet): number {
  return set.members.size + (set.members.has("0.0.0.0/0") || set.members.has("::/0") ? 1 : 0);
}
