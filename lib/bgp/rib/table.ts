/**
 * The tables of one family. What a peer tells goes into Adj-RIB-In at once (paths, linked by prefix); prefixes that changed wait in a queue to be decided,
 * and what is decided goes to those who follow the best and to each group's Adj-RIB-Out.
 */
import type { Address } from "../../ip/index.ts";
import { eachPrefix, type Family, type Nlri, type PathAttributes, type Update } from "../wire/index.ts";
import { type AttributeSet, AttributeTable } from "./attributes.ts";
import { BatchBuilder } from "./batch.ts";
import { grownInt32, grownUint8, grownUint16, NumberQueue } from "./columns.ts";
import { type Candidate, choose } from "./decision.ts";
import type { Feed, Snapshot } from "./feed.ts";
import { type Group, sourceOf } from "./group.ts";
import type { Importer } from "./import.ts";
import { PATH, PathTable, STALE } from "./paths.ts";
import { FIRST_PEER, LOCAL_PREFERENCE, LOCAL_SOURCES, type Peer, type Tally } from "./peers.ts";
import { PrefixTable } from "./prefixes.ts";
import type { Best, LocalRoute, Prefix, Route } from "./types.ts";

/** Flags of a prefix. */
const QUEUED = 1;
/** What `onBest` was told is not so any more. */
const OUTDATED = 2;

/** Prefixes that are decided, and paths that are imported again, in one step. */
const STEP = 2048;
/** Paths that are looked at for those that are gone, in one step. */
const SWEEP_STEP = 4096;

/** Paths of a peer whose import policy is another. */
interface Reimport {
  readonly peer: Peer;
  readonly another: boolean;
  next: number;
}

export interface TableOptions {
  readonly family: Family;
  readonly maxPaths: number;
  /** By index. */
  readonly peers: readonly (Peer | undefined)[];
  /** A prefix has other best paths. */
  onBest(best: Best): void;
  /** What was dropped of that peer is out. */
  onSwept(peer: Peer): void;
}

export class Table {
  readonly family: Family;
  readonly prefixes: PrefixTable;
  readonly attributes = new AttributeTable();
  readonly paths = new PathTable();
  readonly builder: BatchBuilder;
  /** By index, with gaps. */
  readonly groups: (Group | undefined)[] = [];
  readonly locals = new Map<number, LocalRoute>();
  /** While the speaker restarts, learned paths are not for choosing. */
  restarting = false;
  /** Prefixes that ever were queued and decided. */
  queued = 0;
  decided = 0;
  readonly #options: TableOptions;
  readonly #queue = new NumberQueue();
  #reimports: Reimport[] = [];
  /** Where paths that are gone are being taken out, how many are still to be looked at, and whose they are. */
  #sweepAt = 0;
  #sweepLeft = 0;
  readonly #sweepFor = new Set<Peer>();
  /** By prefix: first path + 1, best path + 1, the peer of that + 1, flags, and how many Adj-RIB-Outs know it. */
  #head: Int32Array<ArrayBuffer>;
  #best: Int32Array<ArrayBuffer>;
  #bestPeer: Uint16Array<ArrayBuffer>;
  #flags: Uint8Array<ArrayBuffer>;
  #holds: Uint16Array<ArrayBuffer>;
  readonly #localTallies: readonly Tally[] = LOCAL_SOURCES.map(() => ({ received: 0, accepted: 0, best: 0 }));

  // Of the update that is being read.
  #peer!: Peer;
  #tally!: Tally;
  #importer!: Importer;
  #received!: AttributeSet;
  #prepared: AttributeSet | number = -1;

  readonly #route: {
    -readonly [K in "source" | "attributes"]: Route[K];
  } & { prefix: Prefix; interface?: string; metric?: number };
  readonly #routePrefix: { family: Family; length: number; words: [number, number, number, number] };
  #lastTold: { readonly set: AttributeSet; readonly peer: number; readonly paths: Best["paths"] } | undefined;

  constructor(options: TableOptions) {
    const { family } = options;
    this.family = family;
    this.#options = options;
    this.prefixes = new PrefixTable(family);
    this.builder = new BatchBuilder(this.prefixes, this.attributes);
    const { capacity } = this.prefixes;
    this.#head = new Int32Array(capacity);
    this.#best = new Int32Array(capacity);
    this.#bestPeer = new Uint16Array(capacity);
    this.#flags = new Uint8Array(capacity);
    this.#holds = new Uint16Array(capacity);
    this.#routePrefix = { family, length: 0, words: [0, 0, 0, 0] };
    this.#route = { prefix: this.#routePrefix, source: "bgp", attributes: NO_ATTRIBUTES };
  }

  peer(index: number): Peer {
    return this.#options.peers[index]!;
  }

  feedOf(peer: number): Feed | undefined {
    return this.#options.peers[peer]?.feeds[this.family];
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

  setLocal(prefix: Prefix, source: LocalRoute["source"], route: LocalRoute | undefined): void {
    const index = LOCAL_SOURCES.indexOf(source);
    const { length, words } = prefix;
    const [w0, w1, w2, w3] = [words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0];
    if (!route) {
      const id = this.prefixes.find(length, w0, w1, w2, w3);
      const row = id < 0 ? -1 : this.#find(id, index, 0);
      if (row >= 0) this.#remove(row, this.#localTallies[index]!);
      return;
    }
    const set = this.attributes.made(localAttributes(this.family, route.nextHop), LOCAL_PREFERENCE[source]);
    const id = this.#intern(length, w0, w1, w2, w3);
    const row = this.#find(id, index, 0);
    const path = row < 0 ? this.#add(id, index, 0, set.id, set.id, this.#localTallies[index]!) : row;
    if (row >= 0) {
      this.#receive(row, set.id);
      this.#accept(row, set.id, this.#localTallies[index]!);
    }
    this.locals.set(path, route);
    // Also where the attributes are as before: policies ask for interface and metric.
    this.#dirty(id);
  }

  /** Takes away what a peer told: all of it, or of it what has one of these flags. They are marked now, and taken out in steps. */
  drop(peer: Peer, flags: number | undefined): void {
    const { paths } = this;
    let left = peer.tallies[this.family].received;
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
    this.#sweepLeft = paths.limit;
  }

  /** Whether there are paths that are gone and not taken out yet. */
  get sweeping(): boolean {
    return this.#sweepLeft > 0;
  }

  #sweep(): void {
    const { paths } = this;
    const { peers, onSwept } = this.#options;
    const count = Math.min(this.#sweepLeft, SWEEP_STEP);
    for (let i = 0; i < count; i++) {
      if (this.#sweepAt >= paths.limit) this.#sweepAt = 0;
      const row = this.#sweepAt++;
      if (paths.received[row]! >= 0 && (paths.flags[row]! & PATH.GONE) !== 0)
        this.#remove(row, peers[paths.peer[row]!]!.tallies[this.family]);
    }
    this.#sweepLeft -= count;
    if (this.#sweepLeft > 0) return;
    const done = [...this.#sweepFor];
    this.#sweepFor.clear();
    for (const peer of done) {
      if (peer.tallies[this.family].received === 0)
        this.#reimports = this.#reimports.filter((reimport) => reimport.peer !== peer);
      onSwept(peer);
    }
  }

  /** Marks all that a peer told. */
  mark(peer: Peer, flag: number): void {
    const { paths } = this;
    for (let row = 0; row < paths.limit; row++)
      if (paths.peer[row] === peer.index && paths.received[row]! >= 0) paths.flags[row]! |= flag;
  }

  /** Imports again what a peer told, in steps. `another`: it has another address or router id, too, and all of it is decided again. */
  reimport(peer: Peer, another: boolean): void {
    const before = this.#reimports.find((other) => other.peer === peer);
    this.#reimports = this.#reimports.filter((other) => other !== before);
    if (peer.tallies[this.family].received > 0)
      this.#reimports.push({ peer, next: 0, another: another || before?.another === true });
  }

  /** Decides everything again. */
  decideAll(): void {
    for (let id = 0; id < this.prefixes.limit; id++) if (this.#head[id] !== 0) this.#dirty(id);
  }

  // What is left to do.

  /** A step of it. False: nothing to do. */
  work(): boolean {
    const sweeping = this.#sweepLeft > 0;
    if (sweeping) this.#sweep();
    const reimport = this.#reimports[0];
    if (reimport) {
      this.#reimportStep(reimport);
      // To the end of the row: peers take turns.
      this.#reimports.shift();
      if (reimport.next < this.paths.limit) this.#reimports.push(reimport);
    }
    const count = Math.min(this.#queue.size, STEP);
    for (let i = 0; i < count; i++) this.#decide(this.#queue.shift());
    let worked = count > 0 || reimport !== undefined || sweeping;
    for (const group of this.groups) {
      if (!group?.fills) continue;
      group.fill();
      worked = true;
    }
    return worked;
  }

  /** Whether there are prefixes to decide. */
  get backlog(): boolean {
    return this.#queue.size > 0;
  }

  // For groups.

  hold(id: number): void {
    this.#holds[id]!++;
  }

  letGo(id: number): void {
    this.#holds[id]!--;
    this.#free(id);
  }

  forget(snapshot: Snapshot): void {
    if (--snapshot.users > 0) return;
    for (let id = 0; id < snapshot.limit; id++) {
      const set = snapshot.out[id]! - 1;
      if (set < 0) continue;
      this.attributes.release(set);
      this.letGo(id);
    }
  }

  /** Whether a prefix is in use and decided: what is best of it stands. */
  stands(id: number): boolean {
    return this.prefixes.has(id) && (this.#flags[id]! & QUEUED) === 0;
  }

  /** The best path of a prefix that {@link stands}, or -1. */
  bestOf(id: number): number {
    return this.#best[id]! - 1;
  }

  /** As policies see it; the object is used again. */
  route(id: number, path: number, attributes: PathAttributes): Route {
    const route = this.#route;
    this.#setPrefix(id);
    const source = this.paths.peer[path]!;
    route.source = sourceOf(source);
    route.attributes = attributes;
    const local = source < FIRST_PEER ? this.locals.get(path) : undefined;
    if (local?.interface !== undefined) route.interface = local.interface;
    else delete route.interface;
    if (local?.metric !== undefined) route.metric = local.metric;
    else delete route.metric;
    return route;
  }

  // For questions.

  find(prefix: Prefix): number {
    const { length, words } = prefix;
    return this.prefixes.find(length, words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0);
  }

  /** Paths of a prefix. */
  pathsOf(id: number): number[] {
    const rows: number[] = [];
    for (let row = this.#head[id]! - 1; row >= 0; row = this.paths.next[row]! - 1) rows.push(row);
    return rows;
  }

  /** Whether a path may be chosen. */
  eligible(row: number): boolean {
    const { accepted, flags, peer } = this.paths;
    return accepted[row]! >= 0 && (flags[row]! & PATH.GONE) === 0 && (!this.restarting || peer[row]! < FIRST_PEER);
  }

  candidate(row: number): Candidate & { readonly row: number } {
    const { paths } = this;
    const index = paths.peer[row]!;
    const set = this.attributes.sets[paths.accepted[row]!]!;
    const pathId = paths.pathId[row]! >>> 0;
    if (index < FIRST_PEER) return { row, set, local: true, ibgp: false, routerId: index, address: undefined, pathId };
    const { type, routerId, address } = this.peer(index).session;
    return { row, set, local: false, ibgp: type === "ibgp", routerId, address, pathId };
  }

  /** What was told of a prefix. */
  best(id: number): Best {
    const { paths } = this;
    const rows = this.pathsOf(id).filter((row) => (paths.flags[row]! & PATH.TOLD) !== 0 && paths.accepted[row]! >= 0);
    if (rows.length > 1) {
      const candidates = rows.map((row) => this.candidate(row));
      choose(candidates);
      rows.splice(0, rows.length, ...candidates.map(({ row }) => row));
    }
    return { prefix: this.prefixes.prefix(id), paths: rows.map((row) => this.#told(row)) };
  }

  // Within.

  readonly #withdraw = (length: number, w0: number, w1: number, w2: number, w3: number, pathId: number): void => {
    const id = this.prefixes.find(length, w0, w1, w2, w3);
    if (id < 0) return;
    const row = this.#find(id, this.#peer.index, pathId | 0);
    if (row >= 0) this.#remove(row, this.#tally);
  };

  readonly #reach = (length: number, w0: number, w1: number, w2: number, w3: number, pathId: number): void => {
    const id = this.#intern(length, w0, w1, w2, w3);
    const { paths } = this;
    const row = this.#find(id, this.#peer.index, pathId | 0);
    let accepted = this.#prepared;
    if (typeof accepted !== "number" && !this.#importer.policy.ignoresPrefix) {
      this.#setPrefix(id);
      accepted = this.#importer.decide(accepted, this.#routePrefix);
    }
    const into = typeof accepted === "number" ? accepted : accepted.id;
    if (row < 0) {
      this.#add(id, this.#peer.index, pathId | 0, this.#received.id, into, this.#tally);
      if (into >= 0) this.#dirty(id);
      return;
    }
    // Told again before it was its turn to go: what was decided meanwhile was without it.
    if ((paths.flags[row]! & PATH.GONE) !== 0) this.#dirty(id);
    paths.flags[row]! &= ~(STALE | PATH.GONE);
    this.#receive(row, this.#received.id);
    this.#accept(row, into, this.#tally);
  };

  #concerns(nlri: Nlri): boolean {
    return nlri.family === this.family && nlri.bytes.length > 0;
  }

  #setPrefix(id: number): void {
    const { prefixes } = this;
    const prefix = this.#routePrefix;
    prefix.length = prefixes.length(id);
    prefix.words[0] = prefixes.w0(id) >>> 0;
    if (this.family === 4) return;
    prefix.words[1] = prefixes.w1(id) >>> 0;
    prefix.words[2] = prefixes.w2(id) >>> 0;
    prefix.words[3] = prefixes.w3(id) >>> 0;
  }

  #intern(length: number, w0: number, w1: number, w2: number, w3: number): number {
    const id = this.prefixes.intern(length, w0, w1, w2, w3);
    if (this.prefixes.capacity !== this.#head.length) {
      const { capacity } = this.prefixes;
      this.#head = grownInt32(this.#head, capacity);
      this.#best = grownInt32(this.#best, capacity);
      this.#bestPeer = grownUint16(this.#bestPeer, capacity);
      this.#flags = grownUint8(this.#flags, capacity);
      this.#holds = grownUint16(this.#holds, capacity);
      for (const group of this.groups) group?.grow(capacity);
    }
    return id;
  }

  #find(id: number, peer: number, pathId: number): number {
    const { paths } = this;
    let row = this.#head[id]! - 1;
    while (row >= 0 && (paths.peer[row] !== peer || paths.pathId[row] !== pathId)) row = paths.next[row]! - 1;
    return row;
  }

  #add(id: number, peer: number, pathId: number, received: number, accepted: number, tally: Tally): number {
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

  #receive(row: number, set: number): void {
    const had = this.paths.received[row]!;
    if (had === set) return;
    this.attributes.refer(set);
    this.paths.received[row] = set;
    this.attributes.release(had);
  }

  /** `set` is one after the import policy, or below 0 where it is refused. */
  #accept(row: number, set: number, tally: Tally): void {
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
    const id = paths.prefix[row]!;
    if ((paths.flags[row]! & PATH.TOLD) !== 0) this.#flags[id]! |= OUTDATED;
    this.#dirty(id);
  }

  #remove(row: number, tally: Tally): void {
    const { paths } = this;
    const id = paths.prefix[row]!;
    if (this.#head[id] === row + 1) this.#head[id] = paths.next[row]!;
    else {
      let before = this.#head[id]! - 1;
      while (paths.next[before] !== row + 1) before = paths.next[before]! - 1;
      paths.next[before] = paths.next[row]!;
    }
    if ((paths.flags[row]! & PATH.TOLD) !== 0) this.#flags[id]! |= OUTDATED;
    tally.received--;
    if (paths.accepted[row]! >= 0) {
      tally.accepted--;
      this.attributes.release(paths.accepted[row]!);
    }
    this.attributes.release(paths.received[row]!);
    if (paths.peer[row]! < FIRST_PEER) this.locals.delete(row);
    paths.release(row);
    // Also where it was not for choosing: the prefix may not be needed any more.
    this.#dirty(id);
  }

  #dirty(id: number): void {
    if ((this.#flags[id]! & QUEUED) !== 0) return;
    this.#flags[id]! |= QUEUED;
    this.#queue.push(id);
    this.queued++;
  }

  #decide(id: number): void {
    this.decided++;
    this.#flags[id]! &= ~QUEUED;
    const first = this.#head[id]! - 1;
    const best =
      first < 0 ? this.#none(id) : this.paths.next[first] === 0 ? this.#decideOne(id, first) : this.#decideMany(id);
    const peer = best < 0 ? 0 : this.paths.peer[best]! + 1;
    const before = this.#bestPeer[id]!;
    if (before !== peer) {
      if (before > FIRST_PEER) this.#bestCount(before - 1, -1);
      if (peer > FIRST_PEER) this.#bestCount(peer - 1, 1);
      this.#bestPeer[id] = peer;
    }
    this.#best[id] = best + 1;
    for (const group of this.groups) group?.changed(id, best);
    this.#free(id);
  }

  /** The peer may be gone already: then nobody asks for its count. */
  #bestCount(peer: number, by: number): void {
    const known = this.#options.peers[peer];
    if (known) known.tallies[this.family].best += by;
  }

  #none(id: number): -1 {
    if ((this.#flags[id]! & OUTDATED) !== 0) {
      this.#flags[id]! &= ~OUTDATED;
      this.#options.onBest({ prefix: this.prefixes.prefix(id), paths: [] });
    }
    return -1;
  }

  #decideOne(id: number, row: number): number {
    const { paths } = this;
    const best = this.eligible(row) ? row : -1;
    const tell = best >= 0 && paths.peer[best]! >= FIRST_PEER;
    const flags = paths.flags[row]!;
    const outdated = (this.#flags[id]! & OUTDATED) !== 0;
    if (!outdated && ((flags & PATH.TOLD) !== 0) === tell) return best;
    paths.flags[row] = tell ? flags | PATH.TOLD : flags & ~PATH.TOLD;
    this.#flags[id]! &= ~OUTDATED;
    this.#options.onBest({ prefix: this.prefixes.prefix(id), paths: tell ? this.#toldAlone(row) : [] });
    return best;
  }

  #decideMany(id: number): number {
    const { paths } = this;
    const candidates: ReturnType<Table["candidate"]>[] = [];
    const rows = this.pathsOf(id);
    for (const row of rows) if (this.eligible(row)) candidates.push(this.candidate(row));
    choose(candidates);
    const best = candidates[0]?.row ?? -1;
    const tell = candidates[0]?.local === false ? this.several(candidates) : [];
    let changed = (this.#flags[id]! & OUTDATED) !== 0;
    this.#flags[id]! &= ~OUTDATED;
    for (const row of rows) {
      const flags = paths.flags[row]!;
      const now = tell.includes(row);
      if (((flags & PATH.TOLD) !== 0) === now) continue;
      paths.flags[row] = now ? flags | PATH.TOLD : flags & ~PATH.TOLD;
      changed = true;
    }
    if (changed) this.#options.onBest({ prefix: this.prefixes.prefix(id), paths: tell.map((row) => this.#told(row)) });
    return best;
  }

  /** Of equally good paths those with next hops of their own (two reflectors tell the same one), as many as there may be. */
  several(candidates: readonly ReturnType<Table["candidate"]>[]): number[] {
    const rows: number[] = [];
    const hops: Address[] = [];
    for (const { row, set } of candidates) {
      const { nextHop } = set.attributes;
      if (hops.some(({ version, value }) => version === nextHop.version && value === nextHop.value)) continue;
      hops.push(nextHop);
      rows.push(row);
      if (rows.length === this.#options.maxPaths) break;
    }
    return rows;
  }

  #told(row: number): Best["paths"][number] {
    const { attributes, preference } = this.attributes.sets[this.paths.accepted[row]!]!;
    return { peer: this.paths.peer[row]!, attributes, preference };
  }

  /** Many prefixes in a row have equal paths: they share the object. */
  #toldAlone(row: number): Best["paths"] {
    const set = this.attributes.sets[this.paths.accepted[row]!]!;
    const peer = this.paths.peer[row]!;
    if (this.#lastTold?.set !== set || this.#lastTold.peer !== peer)
      this.#lastTold = { set, peer, paths: [this.#told(row)] };
    return this.#lastTold.paths;
  }

  #reimportStep(reimport: Reimport): void {
    const { paths } = this;
    const { peer } = reimport;
    const importer = peer.importers[this.family];
    const tally = peer.tallies[this.family];
    const until = importer ? Math.min(paths.limit, reimport.next + STEP) : paths.limit;
    for (let row = reimport.next; importer && row < until; row++) {
      if (paths.peer[row] !== peer.index || paths.received[row]! < 0) continue;
      const prepared = importer.prepare(this.attributes.sets[paths.received[row]!]!);
      if (typeof prepared === "number") {
        this.#accept(row, prepared, tally);
        continue;
      }
      this.attributes.refer(prepared.id);
      this.#setPrefix(paths.prefix[row]!);
      const accepted = importer.decide(prepared, this.#routePrefix);
      this.#accept(row, typeof accepted === "number" ? accepted : accepted.id, tally);
      this.attributes.release(prepared.id);
      if (reimport.another) this.#dirty(paths.prefix[row]!);
    }
    reimport.next = until;
  }

  #free(id: number): void {
    if (this.#head[id] !== 0 || this.#holds[id] !== 0 || (this.#flags[id]! & QUEUED) !== 0) return;
    if (!this.prefixes.has(id)) return;
    this.#flags[id] = 0;
    this.prefixes.release(id);
  }
}

const NO_ATTRIBUTES: PathAttributes = {
  origin: 0,
  asPath: [],
  nextHop: { version: 4, value: 0n },
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
};

/** Of a route of this node, as BIRD makes them: ORIGIN IGP, an empty path. The next hop is unspecified where the node is where it ends. */
function localAttributes(family: Family, nextHop: Address | undefined): PathAttributes {
  return { ...NO_ATTRIBUTES, nextHop: nextHop ?? { version: family, value: 0n } };
}
