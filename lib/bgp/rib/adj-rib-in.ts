/**
 * Adj-RIB-In of all peers (RFC 4271 3.2), with the local routes beside it: paths are rows of columns, linked by prefix. Whatever may change what is best of
 * a prefix puts that into a queue, where it stands once however much comes; the Loc-RIB takes it from there.
 *
 * Who keeps what: a path its sets of attributes, by reference counts; a prefix stays while it has paths, waits in the queue, or somebody holds it.
 */
import type { Family } from "../wire/index.ts";
import { AttributeTable } from "./attributes.ts";
import { grownInt32, grownUint8, grownUint16, NumberQueue } from "./columns.ts";
import type { NextHops } from "./next-hops.ts";
import { PATH, PathTable } from "./paths.ts";
import type { Tally } from "./peers.ts";
import { PrefixTable } from "./prefixes.ts";

/** Flags of a prefix. */
const QUEUED = 1;
/** What `onBest` was told is not so any more. */
const OUTDATED = 2;

export class AdjRibIn {
  readonly prefixes: PrefixTable;
  readonly attributes: AttributeTable;
  readonly paths = new PathTable();
  /** Prefixes that ever were queued. */
  queued = 0;
  readonly #queue = new NumberQueue();
  readonly #onGrow: (capacity: number) => void;
  /** By prefix: first path + 1, flags, and how many hold it. */
  #head: Int32Array<ArrayBuffer>;
  #flags: Uint8Array<ArrayBuffer>;
  #holds: Uint16Array<ArrayBuffer>;

  /** `onGrow`: there is room for so many prefixes now, and whoever has columns of them makes it, too. */
  constructor(family: Family, onGrow: (capacity: number) => void, nextHops?: NextHops) {
    this.prefixes = new PrefixTable(family);
    this.attributes = new AttributeTable(nextHops);
    this.#onGrow = onGrow;
    const { capacity } = this.prefixes;
    this.#head = new Int32Array(capacity);
    this.#flags = new Uint8Array(capacity);
    this.#holds = new Uint16Array(capacity);
  }

  /** Id of a prefix, a new one where there was none. Words are signed. */
  intern(length: number, w0: number, w1: number, w2: number, w3: number): number {
    const id = this.prefixes.intern(length, w0, w1, w2, w3);
    if (this.prefixes.capacity !== this.#head.length) {
      const { capacity } = this.prefixes;
      this.#head = grownInt32(this.#head, capacity);
      this.#flags = grownUint8(this.#flags, capacity);
      this.#holds = grownUint16(this.#holds, capacity);
      this.#onGrow(capacity);
    }
    return id;
  }

  // The paths of a prefix.

  /** One of them, or -1; the others are linked to it. */
  first(id: number): number {
    return this.#head[id]! - 1;
  }

  pathsOf(id: number): number[] {
    const rows: number[] = [];
    for (let row = this.first(id); row >= 0; row = this.paths.next[row]! - 1) rows.push(row);
    return rows;
  }

  /** That one of a peer, or -1. */
  find(id: number, peer: number, pathId: number): number {
    const { paths } = this;
    let row = this.#head[id]! - 1;
    while (row >= 0 && (paths.peer[row] !== peer || paths.pathId[row] !== pathId)) row = paths.next[row]! - 1;
    return row;
  }

  /** A new one, which nobody is told of yet: see {@link queue}. `accepted`: a set after the import policy, or below 0 where it is refused. */
  add(id: number, peer: number, pathId: number, received: number, accepted: number, tally: Tally): number {
    const { paths, attributes } = this;
    const row = paths.allocate();
    paths.prefix[row] = id;
    paths.peer[row] = peer;
    paths.pathId[row] = pathId;
    paths.flags[row] = 0;
    paths.received[row] = received;
    attributes.refer(received);
    paths.accepted[row] = accepted;
    if (accepted >= 0) {
      attributes.refer(accepted);
      tally.accepted++;
    }
    tally.received++;
    paths.next[row] = this.#head[id]!;
    this.#head[id] = row + 1;
    return row;
  }

  /** It was told again, with that set. */
  receive(row: number, set: number): void {
    const had = this.paths.received[row]!;
    if (had === set) return;
    this.attributes.refer(set);
    this.paths.received[row] = set;
    this.attributes.release(had);
  }

  /** The import policy says that now: a set, or below 0 where it is refused. */
  accept(row: number, set: number, tally: Tally): void {
    const { paths } = this;
    const had = paths.accepted[row]!;
    if (had === set) return;
    paths.accepted[row] = set;
    if (set >= 0) {
      this.attributes.refer(set);
      tally.accepted++;
    }
    if (had >= 0) {
      this.attributes.release(had);
      tally.accepted--;
    }
    if (had < 0 && set < 0) return;
    this.#outdate(row);
    this.queue(paths.prefix[row]!);
  }

  remove(row: number, tally: Tally): void {
    const { paths } = this;
    const id = paths.prefix[row]!;
    if (this.#head[id] === row + 1) this.#head[id] = paths.next[row]!;
    else {
      let before = this.#head[id]! - 1;
      while (paths.next[before] !== row + 1) before = paths.next[before]! - 1;
      paths.next[before] = paths.next[row]!;
    }
    this.#outdate(row);
    tally.received--;
    if (paths.accepted[row]! >= 0) {
      tally.accepted--;
      this.attributes.release(paths.accepted[row]!);
    }
    this.attributes.release(paths.received[row]!);
    paths.release(row);
    // Also where it was not for choosing: the prefix may not be needed any more.
    this.queue(id);
  }

  #outdate(row: number): void {
    if ((this.paths.flags[row]! & PATH.TOLD) !== 0) this.#flags[this.paths.prefix[row]!]! |= OUTDATED;
  }

  // What is to be decided.

  /** To be decided, unless it waits for that already. */
  queue(id: number): void {
    if ((this.#flags[id]! & QUEUED) !== 0) return;
    this.#flags[id]! |= QUEUED;
    this.#queue.push(id);
    this.queued++;
  }

  queueAll(): void {
    for (let id = 0; id < this.prefixes.limit; id++) if (this.#head[id] !== 0) this.queue(id);
  }

  /** How many wait. */
  get waiting(): number {
    return this.#queue.size;
  }

  isQueued(id: number): boolean {
    return (this.#flags[id]! & QUEUED) !== 0;
  }

  /** The next to be decided. Call only where somebody is {@link waiting}; {@link free} it afterwards. */
  take(): number {
    const id = this.#queue.shift();
    this.#flags[id]! &= ~QUEUED;
    return id;
  }

  /** Whether a path that `onBest` was told of is another or gone; asked once, as it is told then. */
  takeOutdated(id: number): boolean {
    if ((this.#flags[id]! & OUTDATED) === 0) return false;
    this.#flags[id]! &= ~OUTDATED;
    return true;
  }

  // How long a prefix stays.

  hold(id: number): void {
    this.#holds[id]!++;
  }

  letGo(id: number): void {
    this.#holds[id]!--;
    this.free(id);
  }

  /** Unless it is needed. */
  free(id: number): void {
    if (this.#head[id] !== 0 || this.#holds[id] !== 0 || (this.#flags[id]! & QUEUED) !== 0) return;
    if (!this.prefixes.has(id)) return;
    this.#flags[id] = 0;
    this.prefixes.release(id);
  }
}
