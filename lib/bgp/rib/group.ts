/**
 * Adj-RIB-Out of all peers with equal export behaviour. What they are sent is worked out and packed once; a member does without what came from itself.
 *
 * Changes stand in a log, each prefix once, at the place of its last change: a member is a cursor in it. Who is slow stays behind and finds, when it goes
 * on, each prefix once and as it is then; it holds up nobody, and costs the memory of one batch. Who is new, or wants everything again, begins at the
 * front. A withdrawal stays in the log until all cursors are behind it.
 *
 * A member that lags may be sent what it has, or a withdrawal of what it has not; one that keeps up is sent changes only. One exception: where the best
 * path moves between two members and what is sent for it stays equal, the others are sent it again.
 */
import { encodeEndOfRib, encodeRouteRefresh } from "../wire/index.ts";
import type { AttributeSet, ExportEntry } from "./attributes.ts";
import { type Audience, BATCH_MOST, type Batch, Packer } from "./batch.ts";
import { grownInt32, grownUint8, grownUint16 } from "./columns.ts";
import { type From, outgoing, type To, withheld } from "./export.ts";
import { type Feed, Snapshot, Transfer } from "./feed.ts";
import { FIRST_PEER, LOCAL } from "./peers.ts";
import type { Table } from "./table.ts";
import type { Policy, RibPeer } from "./types.ts";

/** Prefixes that are looked at for a new group in one step. */
const FILL_STEP = 4096;
/** Prefixes that are looked at for a batch of a transfer, at most. */
const WALK_STEP = 65_536;
/** Batches that are kept for others who come by. */
const BATCHES_KEPT = 4;
/** Preference means nothing to others: sets that are sent all have this. */
const OUT_PREFERENCE = 0;

export class Group {
  readonly key: string;
  readonly index: number;
  readonly to: To;
  readonly policy: Policy;
  readonly feeds = new Set<Feed>();
  /** Prefixes that are announced to somebody. */
  count = 0;
  /** Of these, those that came from a peer, by its index. */
  readonly countFrom: number[] = [];
  readonly #table: Table;
  readonly #packer: Packer;
  /** By prefix: set + 1, the peer it came from, place in the log + 1. 0 is none. */
  #out: Int32Array<ArrayBuffer>;
  #from: Uint16Array<ArrayBuffer>;
  #place: Int32Array<ArrayBuffer>;
  /** By prefix: 1 where the peer it came from may still have what was announced to it before. */
  #owed: Uint8Array<ArrayBuffer>;
  /** Prefix + 1; 0: it has moved on. */
  #log: Int32Array<ArrayBuffer> = new Int32Array(1024);
  #end = 0;
  #live = 0;
  /** Before it no withdrawal is left in the log. */
  #reaped = 0;
  /** Counts changes. */
  #version = 0;
  /** Prefixes below it have been looked at. */
  #filled = 0;
  /** Filled when the table has decided so many. */
  #filledAt = Number.POSITIVE_INFINITY;
  readonly #batches = new Map<number, Batch>();
  readonly #transfers = new Set<Transfer>();
  #snapshot: Snapshot | undefined;
  /** What `outgoing` made of what the policy answered. */
  readonly #made = new WeakMap<object, ExportEntry>();

  constructor(key: string, index: number, to: To, policy: Policy, peer: RibPeer, table: Table) {
    this.key = key;
    this.index = index;
    this.to = to;
    this.policy = policy;
    this.#table = table;
    this.#packer = new Packer(to.family, peer.negotiated);
    const { capacity } = table.prefixes;
    this.#out = new Int32Array(capacity);
    this.#from = new Uint16Array(capacity);
    this.#place = new Int32Array(capacity);
    this.#owed = new Uint8Array(capacity);
  }

  /** With the table's prefixes. */
  grow(capacity: number): void {
    this.#out = grownInt32(this.#out, capacity);
    this.#from = grownUint16(this.#from, capacity);
    this.#place = grownInt32(this.#place, capacity);
    this.#owed = grownUint8(this.#owed, capacity);
  }

  /** Id of the set that is announced for a prefix, or -1. */
  sent(id: number): number {
    return this.#out[id]! - 1;
  }
  /** Where that came from. */
  sentFrom(id: number): number {
    return this.#from[id]!;
  }

  /** Whether it has been through the whole table, and what was to be decided meanwhile has been. */
  get filled(): boolean {
    return this.#table.decided >= this.#filledAt;
  }
  /** Whether there is something to {@link fill}. */
  get fills(): boolean {
    return this.#filledAt === Number.POSITIVE_INFINITY;
  }

  /** A stretch of the table that was there before the group. */
  fill(): void {
    const { prefixes } = this.#table;
    const until = Math.min(this.#filled + FILL_STEP, prefixes.limit);
    // What waits to be decided comes by itself.
    for (let id = this.#filled; id < until; id++)
      if (this.#table.stands(id)) this.changed(id, this.#table.loc.bestOf(id));
    this.#filled = until;
    if (until === prefixes.limit) this.#filledAt = this.#table.queued;
  }

  /** The best path of a prefix is another, or another than before; -1: there is none. */
  changed(id: number, path: number): void {
    const set = path < 0 ? undefined : this.#export(id, path);
    const out = set ? set.id + 1 : 0;
    const from = set ? this.#table.paths.peer[path]! : 0;
    const had = this.#out[id]!;
    const hadFrom = this.#from[id]!;
    if (had === out && (out === 0 || hadFrom === from)) return;

    const { attributes } = this.#table;
    const place = this.#place[id]! - 1;
    if (out !== 0) {
      attributes.refer(out - 1);
      this.count++;
      this.countFrom[from] = (this.countFrom[from] ?? 0) + 1;
      this.#owed[id] = this.#mayHave(from, place, had !== 0 && hadFrom !== from, this.#owed[id] === 1 || had === 0);
      this.#from[id] = from;
    } else {
      // `from` stays: the peer that it came from need not be told that it is gone, unless it still has an older one.
      this.#owed[id] = this.#mayHave(hadFrom, place, false, this.#owed[id] === 1);
    }
    if (had !== 0) {
      attributes.release(had - 1);
      this.count--;
      this.countFrom[hadFrom]!--;
    }
    this.#out[id] = out;
    if (place >= 0) {
      this.#log[place] = 0;
      this.#live--;
    } else this.#table.in.hold(id);
    this.#append(id);
  }

  /**
   * Whether the peer that a path came from may have been announced another before: 1 or 0. `surely` it was, or it was where it `lags`, not having come
   * by the last change of the prefix, at `place`, yet. On the way from another group it may have anything.
   */
  #mayHave(from: number, place: number, surely: boolean, lags: boolean): 0 | 1 {
    const feed = from < FIRST_PEER ? undefined : this.#member(from);
    if (!feed) return 0;
    return surely || feed.transfer || (lags && place >= 0 && feed.cursor <= place) ? 1 : 0;
  }

  /** A feed joins: from the front. */
  join(feed: Feed): void {
    this.feeds.add(feed);
    // What was left out because nobody wanted it, somebody does now.
    this.#batches.clear();
  }

  leave(feed: Feed): void {
    this.feeds.delete(feed);
    feed.drop();
    if (feed.transfer) this.#endTransfer(feed);
  }

  /** From the members of another group to this one, by difference. */
  receive(feed: Feed, snapshot: Snapshot): void {
    let transfer = [...this.#transfers].find((other) => other.snapshot === snapshot && other.joinAt < 0);
    if (!transfer) {
      transfer = new Transfer(snapshot);
      snapshot.users++;
      this.#transfers.add(transfer);
    }
    transfer.feeds.add(feed);
    feed.transfer = transfer;
    feed.walk = 0;
    feed.group = this;
    this.join(feed);
  }

  /** Whether the feed has been sent all there is, so that it has what {@link snapshot} says. */
  upToDate(feed: Feed): boolean {
    return (
      this.filled &&
      !feed.batch &&
      !feed.transfer &&
      !feed.refresh &&
      feed.endAt < 0 &&
      feed.refreshEndAt < 0 &&
      feed.cursor >= this.#end
    );
  }

  /** What an up-to-date member has. Sets and prefixes of it are kept until {@link Table.forget}. */
  snapshot(): Snapshot {
    if (this.#snapshot?.version === this.#version && this.#snapshot.users > 0) return this.#snapshot;
    const { limit } = this.#table.prefixes;
    const snapshot = new Snapshot(this.#out.slice(0, limit), this.#from.slice(0, limit), limit, this.#version);
    for (let id = 0; id < limit; id++) {
      const set = snapshot.out[id]! - 1;
      if (set < 0) continue;
      this.#table.attributes.refer(set);
      this.#table.in.hold(id);
    }
    this.#snapshot = snapshot;
    return snapshot;
  }

  /** Nobody is left. */
  close(): void {
    const { limit } = this.#table.prefixes;
    for (let id = 0; id < limit; id++) {
      if (this.#out[id] !== 0) this.#table.attributes.release(this.#out[id]! - 1);
      if (this.#place[id] !== 0) this.#table.in.letGo(id);
    }
  }

  /** Sends what there is to each member, a batch at most. False: nothing to do. `armed` says whether a member's initial table may end here. */
  flush(armed: (feed: Feed) => boolean): boolean {
    let worked = false;
    for (const feed of this.feeds) {
      if (feed.peer.blocked) continue;
      if (this.#advance(feed, armed)) worked = true;
    }
    if (worked) this.#tidy();
    return worked;
  }

  #advance(feed: Feed, armed: (feed: Feed) => boolean): boolean {
    if (feed.batch) {
      this.#deliver(feed);
      return true;
    }
    const { session } = feed.peer;
    const { transfer } = feed;
    if (transfer) {
      if (!this.filled) return false;
      if (transfer.joinAt < 0) transfer.joinAt = this.#end;
      if (feed.walk < transfer.snapshot.limit || feed.walk < this.#table.prefixes.limit) {
        this.#take(feed, this.#difference(transfer, feed.walk));
      } else {
        feed.cursor = transfer.joinAt;
        this.#endTransfer(feed);
      }
      return true;
    }
    if (feed.refresh && this.filled) {
      feed.refresh = false;
      feed.cursor = 0;
      // RFC 7313 4: no marks before the End-of-RIB, which ends this, too.
      if (feed.owesEnd) return true;
      feed.refreshEndAt = this.#end;
      if (session.enhancedRefresh) this.#say(feed, encodeRouteRefresh({ family: this.to.family, kind: "begin" }));
      return true;
    }
    if (feed.owesEnd && feed.endAt < 0 && this.filled && armed(feed)) feed.endAt = this.#end;
    if (feed.endAt >= 0 && feed.cursor >= feed.endAt) {
      feed.endAt = -1;
      feed.owesEnd = false;
      this.#say(feed, encodeEndOfRib(this.to.family));
      return true;
    }
    if (feed.refreshEndAt >= 0 && feed.cursor >= feed.refreshEndAt) {
      feed.refreshEndAt = -1;
      if (session.enhancedRefresh) this.#say(feed, encodeRouteRefresh({ family: this.to.family, kind: "end" }));
      return true;
    }
    if (feed.cursor >= this.#end) return false;
    this.#take(feed, this.#changes(feed.cursor));
    return true;
  }

  #say(feed: Feed, message: Uint8Array): void {
    if (!feed.peer.session.send(message)) feed.peer.blocked = true;
  }

  #take(feed: Feed, batch: Batch): void {
    feed.batch = batch;
    feed.batchEnd = batch.end;
    feed.next = 0;
    this.#deliver(feed);
  }

  #deliver(feed: Feed): void {
    const { messages, audiences } = feed.batch!;
    const { peer } = feed;
    while (feed.next < messages.length) {
      if (peer.blocked) return;
      const audience = audiences[feed.next]!;
      const message = messages[feed.next++]!;
      if (audience > 0 ? audience === peer.index : audience < 0 && -audience !== peer.index) continue;
      if (!peer.session.send(message)) peer.blocked = true;
    }
    if (feed.transfer) feed.walk = feed.batchEnd;
    else feed.cursor = feed.batchEnd;
    feed.drop();
  }

  /** What stands in the log from that place on. */
  #changes(start: number): Batch {
    const known = this.#batches.get(start);
    if (known) return known;
    const { builder } = this.#table;
    let at = start;
    for (let count = 0; at < this.#end && count < BATCH_MOST; at++) {
      const id = this.#log[at]! - 1;
      if (id < 0) continue;
      count++;
      const from = this.#from[id]!;
      const set = this.#out[id]! - 1;
      if (from < FIRST_PEER) builder.add(id, set, 0);
      else if (set < 0) builder.add(id, set, this.#owed[id] === 1 ? 0 : from);
      else {
        builder.add(id, set, from);
        if (this.#owed[id] === 1) builder.add(id, -1, -from);
      }
    }
    const batch = builder.pack(this.#packer, (audience) => this.#wanted(audience), at);
    if (this.feeds.size > 1) keep(this.#batches, start, batch);
    return batch;
  }

  /** What differs between a snapshot and this group, from that prefix on. */
  #difference(transfer: Transfer, start: number): Batch {
    const known = transfer.batches.get(start);
    if (known) return known;
    const { builder, prefixes } = this.#table;
    const { snapshot, joinAt } = transfer;
    const limit = Math.max(snapshot.limit, prefixes.limit);
    const until = Math.min(limit, start + WALK_STEP);
    let id = start;
    for (; id < until && builder.size < BATCH_MOST; id++) {
      // Changed since: the log has it, and comes after this.
      if (this.#place[id]! - 1 >= joinAt) continue;
      const had = id < snapshot.limit ? snapshot.out[id]! : 0;
      const out = this.#out[id]!;
      if (had === 0 && out === 0) continue;
      const hadFrom = had === 0 ? 0 : snapshot.from[id]!;
      const from = this.#from[id]!;
      if (out === 0) builder.add(id, -1, except(hadFrom));
      else {
        if (had !== out) builder.add(id, out - 1, except(from));
        else if (hadFrom !== from && hadFrom >= FIRST_PEER) builder.add(id, out - 1, -hadFrom);
        if (had !== 0 && hadFrom !== from && from >= FIRST_PEER) builder.add(id, -1, -from);
      }
    }
    const batch = builder.pack(this.#packer, (audience) => this.#wanted(audience), id);
    if (transfer.feeds.size > 1) keep(transfer.batches, start, batch);
    return batch;
  }

  #wanted(audience: Audience): boolean {
    if (audience < 0) return this.#member(-audience) !== undefined;
    return audience === 0 || this.feeds.size > 1 || this.#member(audience) === undefined;
  }

  #member(peer: number): Feed | undefined {
    const feed = this.#table.feedOf(peer);
    return feed?.group === this ? feed : undefined;
  }

  /** What is sent for a path; undefined: nothing. */
  #export(id: number, path: number): AttributeSet | undefined {
    const table = this.#table;
    const set = table.attributes.sets[table.paths.accepted[path]!]!;
    const index = table.paths.peer[path]!;
    const from = index < FIRST_PEER ? LOCAL : table.peer(index).from;
    if (withheld(set.attributes, from, this.to) !== undefined) return undefined;
    const known = set.exports?.[this.index];
    const same = known?.owner === this && known.from === from;
    if (same && this.policy.ignoresPrefix) return known.result && table.attributes.alive(known.result);
    const verdict = this.policy.decide(table.route(id, path, set.attributes));
    if (!verdict) {
      if (this.policy.ignoresPrefix) this.#remember(set, from, undefined);
      return undefined;
    }
    if (verdict.attributes === set.attributes || this.policy.ignoresPrefix) {
      if (same) return known.result && table.attributes.alive(known.result);
      const result = this.#outgoing(verdict.attributes, from);
      this.#remember(set, from, result);
      return result;
    }
    const made = this.#made.get(verdict.attributes);
    if (made?.from === from) return made.result && table.attributes.alive(made.result);
    const result = this.#outgoing(verdict.attributes, from);
    this.#made.set(verdict.attributes, { owner: this, from, result });
    return result;
  }

  #remember(set: AttributeSet, from: From, result: AttributeSet | undefined): void {
    set.exports ??= [];
    set.exports[this.index] = { owner: this, from, result };
  }

  #outgoing(attributes: Parameters<typeof outgoing>[0], from: From): AttributeSet | undefined {
    const out = outgoing(attributes, from, this.to);
    return out && this.#table.attributes.made(out, OUT_PREFERENCE);
  }

  #append(id: number): void {
    if (this.#end === this.#log.length) {
      if (this.#end > 2 * this.#live + 1024) this.#compact();
      else this.#log = grownInt32(this.#log, this.#log.length * 2);
    }
    this.#log[this.#end++] = id + 1;
    this.#place[id] = this.#end;
    this.#live++;
    this.#version++;
  }

  /** Takes withdrawals out of the log that everybody has seen, and batches that nobody will come for. */
  #tidy(): void {
    let least = this.#end;
    for (const feed of this.feeds) if (!feed.transfer) least = Math.min(least, feed.cursor);
    for (const { joinAt } of this.#transfers) if (joinAt >= 0) least = Math.min(least, joinAt);
    for (; this.#reaped < least; this.#reaped++) {
      const id = this.#log[this.#reaped]! - 1;
      if (id < 0 || this.#out[id] !== 0) continue;
      this.#log[this.#reaped] = 0;
      this.#live--;
      this.#place[id] = 0;
      this.#owed[id] = 0;
      this.#table.in.letGo(id);
    }
    if (least === this.#end) this.#batches.clear();
  }

  /** Closes the gaps; cursors move with what they stand before. */
  #compact(): void {
    const moved = new Map<number, number>();
    for (const feed of this.feeds) for (const place of placesOf(feed)) moved.set(place, 0);
    for (const { joinAt } of this.#transfers) moved.set(joinAt, 0);
    moved.set(this.#reaped, 0);
    const places = [...moved.keys()].filter((place) => place >= 0).sort((a, b) => a - b);
    let next = 0;
    let to = 0;
    for (let at = 0; at <= this.#end; at++) {
      while (next < places.length && places[next] === at) moved.set(places[next++]!, to);
      if (at === this.#end || this.#log[at] === 0) continue;
      const id = this.#log[at]! - 1;
      this.#log[to++] = id + 1;
      this.#place[id] = to;
    }
    this.#end = to;
    const move = (place: number) => (place < 0 ? place : moved.get(place)!);
    for (const feed of this.feeds) {
      if (!feed.transfer) {
        feed.cursor = move(feed.cursor);
        if (feed.batch) feed.batchEnd = move(feed.batchEnd);
      }
      feed.endAt = move(feed.endAt);
      feed.refreshEndAt = move(feed.refreshEndAt);
    }
    for (const transfer of this.#transfers) transfer.joinAt = move(transfer.joinAt);
    this.#reaped = move(this.#reaped);
    this.#batches.clear();
  }

  #endTransfer(feed: Feed): void {
    const transfer = feed.transfer!;
    feed.transfer = undefined;
    transfer.feeds.delete(feed);
    if (transfer.feeds.size > 0) return;
    this.#transfers.delete(transfer);
    this.#table.forget(transfer.snapshot);
  }
}

function except(from: number): Audience {
  return from < FIRST_PEER ? 0 : from;
}

function placesOf(feed: Feed): number[] {
  const places = [feed.endAt, feed.refreshEndAt];
  if (!feed.transfer) places.push(feed.cursor);
  if (feed.batch && !feed.transfer) places.push(feed.batchEnd);
  return places;
}

function keep(batches: Map<number, Batch>, start: number, batch: Batch): void {
  batches.set(start, batch);
  if (batches.size <= BATCHES_KEPT) return;
  for (const oldest of batches.keys()) {
    batches.delete(oldest);
    break;
  }
}
