/** Loc-RIB (RFC 4271 3.2): of each prefix the path that is best, by the decision process over what the Adj-RIB-In has. What changes is told. */
import type { Address } from "../../ip/index.ts";
import type { Family } from "../wire/index.ts";
import type { AdjRibIn } from "./adj-rib-in.ts";
import type { AttributeSet } from "./attributes.ts";
import type { BestChanges } from "./best-changes.ts";
import { grownInt32, grownUint16 } from "./columns.ts";
import { type Candidate, choose, compareTies } from "./decision.ts";
import { PATH } from "./paths.ts";
import { FIRST_PEER, type Peer } from "./peers.ts";
import type { Best } from "./types.ts";

/** Of all prefixes: one for each would be half of the memory that a withdrawal of everything takes. */
const NO_PATHS: Best["paths"] = [];

/** A path, by its row. */
export interface PathCandidate extends Candidate {
  readonly row: number;
}

export interface LocRibOptions {
  readonly family: Family;
  /** Most paths of a {@link Best}. */
  readonly maxPaths: number;
  /** By index. */
  readonly peers: readonly (Peer | undefined)[];
  readonly changes: BestChanges;
}

export class LocRib {
  /** While the speaker restarts, learned paths are not for choosing. */
  restarting = false;
  /** Prefixes that ever were decided. */
  decided = 0;
  readonly #in: AdjRibIn;
  readonly #options: LocRibOptions;
  /** By prefix: best path + 1, and the peer of that + 1. */
  #best: Int32Array<ArrayBuffer>;
  #bestPeer: Uint16Array<ArrayBuffer>;
  #lastTold: { readonly set: AttributeSet; readonly peer: number; readonly paths: Best["paths"] } | undefined;

  constructor(adjRibIn: AdjRibIn, options: LocRibOptions) {
    this.#in = adjRibIn;
    this.#options = options;
    const { capacity } = adjRibIn.prefixes;
    this.#best = new Int32Array(capacity);
    this.#bestPeer = new Uint16Array(capacity);
  }

  /** With the prefixes. */
  grow(capacity: number): void {
    this.#best = grownInt32(this.#best, capacity);
    this.#bestPeer = grownUint16(this.#bestPeer, capacity);
  }

  /** The best path of a prefix as it was decided last, or -1. */
  bestOf(id: number): number {
    return this.#best[id]! - 1;
  }

  /** Decides a prefix. The best path, or -1. */
  decide(id: number): number {
    this.decided++;
    const first = this.#in.first(id);
    const best = first < 0 ? this.#none(id) : this.#in.paths.next[first] === 0 ? this.#one(id, first) : this.#many(id);
    const peer = best < 0 ? 0 : this.#in.paths.peer[best]! + 1;
    const before = this.#bestPeer[id]!;
    if (before !== peer) {
      if (before > FIRST_PEER) this.#count(before - 1, -1);
      if (peer > FIRST_PEER) this.#count(peer - 1, 1);
      this.#bestPeer[id] = peer;
    }
    this.#best[id] = best + 1;
    return best;
  }

  /** The peer may be gone already: then nobody asks for its count. */
  #count(peer: number, by: number): void {
    const known = this.#options.peers[peer];
    if (known) known.tallies[this.#options.family].best += by;
  }

  #none(id: number): -1 {
    if (this.#in.takeOutdated(id)) this.#tell(id, NO_PATHS);
    return -1;
  }

  /** Most prefixes have one path: nothing is made for these. */
  #one(id: number, row: number): number {
    const { paths } = this.#in;
    const best = this.eligible(row) ? row : -1;
    const tell = best >= 0 && paths.peer[best]! >= FIRST_PEER;
    const flags = paths.flags[row]!;
    const outdated = this.#in.takeOutdated(id);
    if (!outdated && ((flags & PATH.TOLD) !== 0) === tell) return best;
    paths.flags[row] = tell ? flags | PATH.TOLD : flags & ~PATH.TOLD;
    this.#tell(id, tell ? this.#alone(row) : NO_PATHS);
    return best;
  }

  #many(id: number): number {
    const { paths } = this.#in;
    const candidates: PathCandidate[] = [];
    const rows = this.#in.pathsOf(id);
    for (const row of rows) if (this.eligible(row)) candidates.push(this.candidate(row));
    choose(candidates);
    const best = candidates[0]?.row ?? -1;
    const tell = candidates[0]?.local === false ? this.several(candidates) : [];
    let changed = this.#in.takeOutdated(id);
    for (const row of rows) {
      const flags = paths.flags[row]!;
      const now = tell.includes(row);
      if (((flags & PATH.TOLD) !== 0) === now) continue;
      paths.flags[row] = now ? flags | PATH.TOLD : flags & ~PATH.TOLD;
      changed = true;
    }
    if (changed)
      this.#tell(
        id,
        tell.map((row) => this.#path(row)),
      );
    return best;
  }

  #tell(id: number, paths: Best["paths"]): void {
    this.#options.changes.add(this.#in.prefixes, id, paths);
  }

  #path(row: number): Best["paths"][number] {
    const { attributes, preference } = this.#in.attributes.sets[this.#in.paths.accepted[row]!]!;
    return { peer: this.#in.paths.peer[row]!, attributes, preference };
  }

  /** Many prefixes in a row have equal paths: they share the object. */
  #alone(row: number): Best["paths"] {
    const set = this.#in.attributes.sets[this.#in.paths.accepted[row]!]!;
    const peer = this.#in.paths.peer[row]!;
    if (this.#lastTold?.set !== set || this.#lastTold.peer !== peer)
      this.#lastTold = { set, peer, paths: [this.#path(row)] };
    return this.#lastTold.paths;
  }

  // For questions.

  /** Whether a path may be chosen. */
  eligible(row: number): boolean {
    const { accepted, flags, peer } = this.#in.paths;
    return accepted[row]! >= 0 && (flags[row]! & PATH.GONE) === 0 && (!this.restarting || peer[row]! < FIRST_PEER);
  }

  candidate(row: number): PathCandidate {
    const { paths, attributes } = this.#in;
    const index = paths.peer[row]!;
    const set = attributes.sets[paths.accepted[row]!]!;
    const pathId = paths.pathId[row]! >>> 0;
    if (index < FIRST_PEER)
      return { row, set, local: true, ibgp: false, cost: 0, routerId: index, address: undefined, pathId };
    const { type, routerId, address } = this.#options.peers[index]!.session;
    return { row, set, local: false, ibgp: type === "ibgp", cost: attributes.costOf(set), routerId, address, pathId };
  }

  /** Of equally good paths those with next hops of their own (two reflectors tell the same one), as many as there may be. */
  several(candidates: readonly PathCandidate[]): number[] {
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

  /** What was told of a prefix. */
  best(id: number): Best {
    const { paths, prefixes } = this.#in;
    const told = this.#in
      .pathsOf(id)
      .filter((row) => (paths.flags[row]! & PATH.TOLD) !== 0 && paths.accepted[row]! >= 0);
    const rows = told.length > 1 ? inOrder(told.map((row) => this.candidate(row))) : told;
    return { prefix: prefixes.prefix(id), paths: rows.map((row) => this.#path(row)) };
  }
}

/** They were as good when it was decided: what their next hops cost since then does not count. */
function inOrder(candidates: PathCandidate[]): number[] {
  return candidates.sort(compareTies).map(({ row }) => row);
}
