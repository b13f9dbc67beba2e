/**
 * The tables of one family, put together: what a peer tells goes into the Adj-RIB-In at once, prefixes that changed are decided a step at a time, and what
 * is decided goes to those who follow the best and to each group's Adj-RIB-Out.
 */
import { eachPrefix, type Family, type Nlri, type PathAttributes, type Update } from "../wire/index.ts";
import { AdjRibIn } from "./adj-rib-in.ts";
import type { AttributeSet, AttributeTable } from "./attributes.ts";
import { BatchBuilder } from "./batch.ts";
import type { Feed, Snapshot } from "./feed.ts";
import type { Group } from "./group.ts";
import type { Importer } from "./import.ts";
import { LocRib, type LocRibOptions } from "./loc-rib.ts";
import { LocalRoutes } from "./local.ts";
import type { NextHops } from "./next-hops.ts";
import { PATH, type PathTable, STALE } from "./paths.ts";
import type { Peer, Tally } from "./peers.ts";
import type { PrefixTable } from "./prefixes.ts";
import type { Prefix, Route } from "./types.ts";
import { Upkeep, type UpkeepOptions } from "./upkeep.ts";
import { View } from "./view.ts";

/** Prefixes that are decided in one step. */
const STEP = 2048;

export type TableOptions = LocRibOptions & UpkeepOptions & { readonly nextHops: NextHops | undefined };

export class Table {
  readonly family: Family;
  readonly in: AdjRibIn;
  readonly local: LocalRoutes;
  readonly loc: LocRib;
  readonly upkeep: Upkeep;
  readonly builder: BatchBuilder;
  /** By index, with gaps. */
  readonly groups: (Group | undefined)[] = [];
  readonly prefixes: PrefixTable;
  readonly attributes: AttributeTable;
  readonly paths: PathTable;
  readonly #peers: TableOptions["peers"];
  readonly #view: View;

  // Of the update that is being read.
  #peer!: Peer;
  #tally!: Tally;
  #importer!: Importer;
  #received!: AttributeSet;
  #prepared: AttributeSet | number = -1;

  constructor(options: TableOptions) {
    const { family, peers, nextHops } = options;
    this.family = family;
    this.#peers = peers;
    const grow = (capacity: number): void => {
      this.loc.grow(capacity);
      for (const group of this.groups) group?.grow(capacity);
    };
    this.in = new AdjRibIn(family, grow, nextHops);
    this.prefixes = this.in.prefixes;
    this.attributes = this.in.attributes;
    this.paths = this.in.paths;
    this.local = new LocalRoutes(family, this.in);
    this.loc = new LocRib(this.in, options);
    this.#view = new View(family, this.in, this.local);
    this.upkeep = new Upkeep(this.in, this.#view, options);
    this.builder = new BatchBuilder(this.prefixes, this.attributes);
  }

  peer(index: number): Peer {
    return this.#peers[index]!;
  }

  feedOf(peer: number): Feed | undefined {
    return this.#peers[peer]?.feeds[this.family];
  }

  // What comes in.

  update(peer: Peer, update: Update): void {
    const importer = peer.importers[this.family];
    if (!importer) return;
    this.#peer = peer;
    this.#tally = peer.tallies[this.family];
    this.#importer = importer;
    // RFC 4271 4.3: a prefix that is in both counts as reached.
    for (const nlri of update.withdrawn) if (nlri.family === this.family) eachPrefix(nlri, this.#withdraw);
    if (update.reached.some((nlri) => this.#concerns(nlri))) {
      const received = this.attributes.received(update);
      this.attributes.refer(received.id);
      const prepared = importer.prepare(received);
      if (typeof prepared !== "number") this.attributes.refer(prepared.id);
      this.#received = received;
      this.#prepared = prepared;
      for (const nlri of update.reached) if (this.#concerns(nlri)) eachPrefix(nlri, this.#reach);
      if (typeof prepared !== "number") this.attributes.release(prepared.id);
      this.attributes.release(received.id);
    }
  }

  #concerns(nlri: Nlri): boolean {
    return nlri.family === this.family && nlri.bytes.length > 0;
  }

  readonly #withdraw = (length: number, w0: number, w1: number, w2: number, w3: number, pathId: number): void => {
    const id = this.prefixes.find(length, w0, w1, w2, w3);
    if (id < 0) return;
    const row = this.in.find(id, this.#peer.index, pathId | 0);
    if (row >= 0) this.in.remove(row, this.#tally);
  };

  readonly #reach = (length: number, w0: number, w1: number, w2: number, w3: number, pathId: number): void => {
    const id = this.in.intern(length, w0, w1, w2, w3);
    const { paths } = this;
    const row = this.in.find(id, this.#peer.index, pathId | 0);
    let accepted = this.#prepared;
    if (typeof accepted !== "number" && !this.#importer.policy.ignoresPrefix)
      accepted = this.#importer.decide(accepted, this.#view.prefix(id));
    const into = typeof accepted === "number" ? accepted : accepted.id;
    if (row < 0) {
      this.in.add(id, this.#peer.index, pathId | 0, this.#received.id, into, this.#tally);
      if (into >= 0) this.in.queue(id);
      return;
    }
    // Told again before it was its turn to go: what was decided meanwhile was without it.
    if ((paths.flags[row]! & PATH.GONE) !== 0) this.in.queue(id);
    paths.flags[row]! &= ~(STALE | PATH.GONE);
    this.in.receive(row, this.#received.id);
    this.in.accept(row, into, this.#tally);
  };

  // What is left to do.

  /** A step of it. False: nothing to do. */
  work(): boolean {
    let worked = this.upkeep.step();
    const count = Math.min(this.in.waiting, STEP);
    for (let i = 0; i < count; i++) this.#decide(this.in.take());
    if (count > 0) worked = true;
    for (const group of this.groups) {
      if (!group?.fills) continue;
      group.fill();
      worked = true;
    }
    return worked;
  }

  #decide(id: number): void {
    const best = this.loc.decide(id);
    // For every prefix of a table: an iterator would cost an eighth of a withdrawal.
    for (let index = 0; index < this.groups.length; index++) this.groups[index]?.changed(id, best);
    this.in.free(id);
  }

  /** Whether there are prefixes to decide. */
  get backlog(): boolean {
    return this.in.waiting > 0;
  }
  /** Prefixes that ever were queued, and decided: who waits for what was queued by now, notes the one until the other has come to it. */
  get queued(): number {
    return this.in.queued;
  }
  get decided(): number {
    return this.loc.decided;
  }

  // For groups.

  /** Whether a prefix is in use and decided: what is best of it stands. */
  stands(id: number): boolean {
    return this.prefixes.has(id) && !this.in.isQueued(id);
  }

  /** As policies see it; the object is used again. */
  route(id: number, path: number, attributes: PathAttributes): Route {
    return this.#view.route(id, path, attributes);
  }

  forget(snapshot: Snapshot): void {
    if (--snapshot.users > 0) return;
    for (let id = 0; id < snapshot.limit; id++) {
      const set = snapshot.out[id]! - 1;
      if (set < 0) continue;
      this.attributes.release(set);
      this.in.letGo(id);
    }
  }

  // For questions.

  /** Id of a prefix, or -1. */
  find({ length, words }: Prefix): number {
    return this.prefixes.find(length, words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0);
  }
}
