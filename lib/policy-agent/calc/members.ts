import type { SetType } from "./messages.ts";
import { isHost, lengthOf, type NetKey, netText, subnets, versionOf, widened } from "./nets.ts";

/** What changes in a set that was sent before. */
export interface Delta {
  readonly added: readonly string[];
  readonly removed: readonly string[];
}

/** Of prefix lengths that are not of single addresses, how many members have them. */
type Lengths = Map<number, number>;

/**
 * The members of one set, counted: a member is there for as long as anybody contributes it. In sets of networks a member that lies inside
 * another is not shown until that one goes, since the kernel's interval sets refuse overlaps (upstream: felix/labelindex,
 * memberDeduplicator). Changes are gathered until they are taken, so what comes and goes in between is never seen.
 */
export class Members {
  readonly #type: SetType;
  readonly #counts = new Map<NetKey, number>();
  readonly #v4: Lengths = new Map();
  readonly #v6: Lengths = new Map();
  /** Whether members that changed since the last taking were there before. */
  readonly #before = new Map<NetKey, boolean>();
  /** Before anything was taken there is nothing to compare with. */
  #wasTaken = false;

  /** Keys of a set of type `port` are the members' texts. */
  constructor(type: SetType) {
    this.#type = type;
  }

  get hasChanged(): boolean {
    return this.#before.size > 0;
  }

  add(key: NetKey): void {
    const count = this.#counts.get(key) ?? 0;
    this.#counts.set(key, count + 1);
    if (count === 0) this.#note(key, true);
  }

  remove(key: NetKey): void {
    const count = this.#counts.get(key);
    if (count === undefined) return;
    if (count > 1) {
      this.#counts.set(key, count - 1);
      return;
    }
    this.#counts.delete(key);
    this.#note(key, false);
  }

  /** All that is to be seen now; what changed counts as taken. */
  takeAll(): string[] {
    this.#settle();
    if (this.#type === "port") return [...this.#counts.keys()] as string[];
    const found: string[] = [];
    const anyWide = this.#v4.size > 0 || this.#v6.size > 0;
    for (const key of this.#counts.keys()) {
      if (!anyWide || !this.#isCovered(key, this.#isThere)) found.push(netText(key));
    }
    return found;
  }

  /** What is to be seen that was not when the changes were last taken, and the other way round. */
  takeDelta(): Delta {
    const added: string[] = [];
    const removed: string[] = [];
    for (const key of this.#affected()) {
      const is = this.#isThere(key) && !this.#isCovered(key, this.#isThere);
      const was = this.#wasThere(key) && !this.#isCovered(key, this.#wasThere);
      if (is && !was) added.push(this.#text(key));
      if (was && !is) removed.push(this.#text(key));
    }
    this.#settle();
    return { added, removed };
  }

  #settle(): void {
    this.#wasTaken = true;
    this.#before.clear();
    for (const lengths of [this.#v4, this.#v6])
      for (const [length, count] of lengths) if (count === 0) lengths.delete(length);
  }

  readonly #isThere = (key: NetKey): boolean => this.#counts.has(key);
  readonly #wasThere = (key: NetKey): boolean => this.#before.get(key) ?? this.#counts.has(key);

  #text(key: NetKey): string {
    return this.#type === "port" ? (key as string) : netText(key);
  }

  #note(key: NetKey, isThere: boolean): void {
    // Back to what it was: nothing has changed.
    if (this.#wasTaken) {
      if (this.#before.get(key) === isThere) this.#before.delete(key);
      else this.#before.set(key, !isThere);
    }
    if (this.#type === "port" || isHost(key)) return;
    const lengths = versionOf(key) === 4 ? this.#v4 : this.#v6;
    const length = lengthOf(key);
    // A length that nobody has any more stays until the changes are taken: it may matter for what was.
    lengths.set(length, (lengths.get(length) ?? 0) + (isThere ? 1 : -1));
  }

  #isCovered(key: NetKey, there: (key: NetKey) => boolean): boolean {
    if (this.#type === "port") return false;
    const lengths = versionOf(key) === 4 ? this.#v4 : this.#v6;
    if (lengths.size === 0) return false;
    const own = lengthOf(key);
    for (const length of lengths.keys()) if (length < own && there(widened(key, length))) return true;
    return false;
  }

  /** What changed, and what lies inside of networks that did. */
  #affected(): Iterable<NetKey> {
    if (this.#type === "port") return [...this.#before.keys()];
    const affected = new Set(this.#before.keys());
    const wide = new Set<NetKey>();
    for (const key of this.#before.keys()) {
      if (isHost(key)) continue;
      const inside = this.#inside(key);
      if (inside === undefined) wide.add(key);
      else for (const one of inside) affected.add(one);
    }
    if (wide.size > 0) {
      const isIn = (key: NetKey) => wide.has(key);
      for (const key of this.#counts.keys()) if (this.#isCovered(key, isIn)) affected.add(key);
    }
    return affected;
  }

  /** Members inside a network by asking for each that could be; undefined where looking at all members is less work. */
  #inside(key: NetKey): NetKey[] | undefined {
    if (typeof key === "string") return undefined;
    const own = lengthOf(key);
    const lengths = [...this.#v4.keys(), 32].filter((length) => length > own);
    const work = lengths.reduce((sum, length) => sum + 2 ** (length - own), 0);
    if (work > this.#counts.size) return undefined;
    const found: NetKey[] = [];
    for (const length of lengths) for (const one of subnets(key, length)) if (this.#counts.has(one)) found.push(one);
    return found;
  }
}
