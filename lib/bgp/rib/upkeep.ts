/**
 * Work over all paths, or all that a peer told, in steps between which others get their turn: taking out what is gone, importing again by another policy,
 * and deciding again where a next hop costs something else.
 */
import type { Family } from "../wire/index.ts";
import type { AdjRibIn } from "./adj-rib-in.ts";
import { PATH } from "./paths.ts";
import type { Peer } from "./peers.ts";
import type { View } from "./view.ts";
import { Walk } from "./walk.ts";

/** Paths that are looked at for those that are gone, in one step. */
const SWEEP_STEP = 4096;
/** Paths that are imported again, in one step. */
const IMPORT_STEP = 2048;

/** Paths that are looked at for those with a next hop that costs something else, in one step. */
const COST_STEP = 8192;

/** Paths of a peer whose import policy is another. */
interface Reimport {
  readonly peer: Peer;
  readonly another: boolean;
  next: number;
}

export interface UpkeepOptions {
  readonly family: Family;
  /** By index. */
  readonly peers: readonly (Peer | undefined)[];
  /** What was dropped of that peer is out. */
  onSwept(peer: Peer): void;
}

export class Upkeep {
  readonly #options: UpkeepOptions;
  readonly #in: AdjRibIn;
  readonly #view: View;
  #reimports: Reimport[] = [];
  /** Where paths that are gone are being taken out, and whose they are. */
  readonly #sweepWalk = new Walk();
  readonly #sweepFor = new Set<Peer>();
  /** Where next hops are being looked at, and since which age of the next hops they count as changed. */
  readonly #costWalk = new Walk();
  #costSince = 0;

  constructor(adjRibIn: AdjRibIn, view: View, options: UpkeepOptions) {
    this.#in = adjRibIn;
    this.#view = view;
    this.#options = options;
  }

  /** Marks all that a peer told. */
  mark(peer: Peer, flag: number): void {
    const { paths } = this.#in;
    for (let row = 0; row < paths.limit; row++)
      if (paths.peer[row] === peer.index && paths.received[row]! >= 0) paths.flags[row]! |= flag;
  }

  /** Takes away what a peer told: all of it, or of it what has one of these flags. They are marked now, and taken out in steps. */
  drop(peer: Peer, flags: number | undefined): void {
    const { paths } = this.#in;
    let left = peer.tallies[this.#options.family].received;
    let any = false;
    for (let row = 0; row < paths.limit && left > 0; row++) {
      if (paths.peer[row] !== peer.index || paths.received[row]! < 0) continue;
      left--;
      if (flags !== undefined && (paths.flags[row]! & flags) === 0) continue;
      paths.flags[row]! |= PATH.GONE;
      any = true;
    }
    if (!any) return;
    this.#sweepFor.add(peer);
    this.#sweepWalk.begin(paths.limit);
  }

  /** Imports again what a peer told, in steps. `another`: it has another address or router id, too, and all of it is decided again. */
  reimport(peer: Peer, another: boolean): void {
    const before = this.#reimports.find((other) => other.peer === peer);
    this.#reimports = this.#reimports.filter((other) => other !== before);
    if (peer.tallies[this.#options.family].received > 0)
      this.#reimports.push({ peer, next: 0, another: another || before?.another === true });
  }

  /** Next hops cost something else, from that age on: see next-hops.ts. */
  recost(age: number): void {
    if (!this.#costWalk.active) this.#costSince = age;
    this.#costWalk.begin(this.#in.paths.limit);
  }

  /** Whether there are paths that are gone and not taken out yet. */
  get sweeping(): boolean {
    return this.#sweepWalk.active;
  }

  /** A step of each. False: nothing to do. */
  step(): boolean {
    const { sweeping } = this;
    if (sweeping) this.#sweep();
    const recosting = this.#costWalk.active;
    if (recosting) this.#costStep();
    const reimport = this.#reimports[0];
    if (reimport) {
      this.#importStep(reimport);
      // To the end of the row: peers take turns.
      this.#reimports.shift();
      if (reimport.next < this.#in.paths.limit) this.#reimports.push(reimport);
    }
    return sweeping || recosting || reimport !== undefined;
  }

  #sweep(): void {
    const { paths } = this.#in;
    const { peers, family, onSwept } = this.#options;
    for (let i = 0; i < SWEEP_STEP; i++) {
      const row = this.#sweepWalk.next();
      if (row < 0) break;
      if (paths.received[row]! >= 0 && (paths.flags[row]! & PATH.GONE) !== 0)
        this.#in.remove(row, peers[paths.peer[row]!]!.tallies[family]);
    }
    if (this.#sweepWalk.active) return;
    const done = [...this.#sweepFor];
    this.#sweepFor.clear();
    for (const peer of done) {
      if (peer.tallies[family].received === 0)
        this.#reimports = this.#reimports.filter((reimport) => reimport.peer !== peer);
      onSwept(peer);
    }
  }

  /** A path that is alone has nothing to be chosen from. */
  #costStep(): void {
    const { paths, attributes } = this.#in;
    for (let i = 0; i < COST_STEP; i++) {
      const row = this.#costWalk.next();
      if (row < 0) break;
      if (paths.received[row]! < 0 || paths.accepted[row]! < 0) continue;
      const nextHop = attributes.sets[paths.accepted[row]!]!.nextHop;
      if (!nextHop || nextHop.changed < this.#costSince) continue;
      const id = paths.prefix[row]!;
      if (paths.next[this.#in.first(id)] !== 0) this.#in.queue(id);
    }
  }

  #importStep(reimport: Reimport): void {
    const { paths, attributes } = this.#in;
    const { peer } = reimport;
    const importer = peer.importers[this.#options.family];
    const tally = peer.tallies[this.#options.family];
    const until = importer ? Math.min(paths.limit, reimport.next + IMPORT_STEP) : paths.limit;
    for (let row = reimport.next; importer && row < until; row++) {
      if (paths.peer[row] !== peer.index || paths.received[row]! < 0) continue;
      const prepared = importer.prepare(attributes.sets[paths.received[row]!]!);
      if (typeof prepared === "number") {
        this.#in.accept(row, prepared, tally);
        continue;
      }
      attributes.refer(prepared.id);
      const accepted = importer.decide(prepared, this.#view.prefix(paths.prefix[row]!));
      this.#in.accept(row, typeof accepted === "number" ? accepted : accepted.id, tally);
      attributes.release(prepared.id);
      if (reimport.another) this.#in.queue(paths.prefix[row]!);
    }
    reimport.next = until;
  }
}
