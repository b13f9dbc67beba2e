/** How far a peer has got in what its group is sent. */
import type { Batch } from "./batch.ts";
import type { Group } from "./group.ts";
import type { Peer } from "./peers.ts";
import type { Policy } from "./types.ts";

export class Feed {
  readonly peer: Peer;
  group: Group;
  /** Place in the group's log: what stands before has been sent. */
  cursor = 0;
  /** What is being sent: a slow peer stops within. */
  batch: Batch | undefined;
  /** The next of its messages. */
  next = 0;
  /** Where the batch ends. */
  batchEnd = 0;
  /** The initial table is not at its end yet. */
  owesEnd = true;
  /** The end is where the log ends once the table has worked through so many changes ({@link Table.queued}). */
  armAt: number;
  /** Place in the log at which the initial table ends; -1: not known. */
  endAt = -1;
  /** Wants everything again. */
  refresh = false;
  /** Place in the log at which that ends; -1: none is under way. */
  refreshEndAt = -1;
  /** On the way from what another group was sent, and how far. */
  transfer: Transfer | undefined;
  walk = 0;
  /** Another export policy: changes groups as soon as it has all that this one is sent, so that it is known what it has. */
  wanted: Policy | undefined;

  constructor(peer: Peer, group: Group, armAt: number) {
    this.peer = peer;
    this.group = group;
    this.armAt = armAt;
  }

  /** Takes no more of the batch, if it was within one. */
  drop(): void {
    this.batch = undefined;
    this.next = 0;
  }
}

/** What the members of a group had been sent when some of them left for another: these get the difference. */
export class Snapshot {
  /** By prefix: set + 1; 0 is nothing. */
  readonly out: Int32Array;
  /** Index of the peer that it came from, who has not got it. */
  readonly from: Uint16Array;
  readonly limit: number;
  /** State of the group of which it is. */
  readonly version: number;
  users = 0;

  constructor(out: Int32Array, from: Uint16Array, limit: number, version: number) {
    this.out = out;
    this.from = from;
    this.limit = limit;
    this.version = version;
  }
}

/** From a snapshot to another group; shared by all who go the same way at the same time. */
export class Transfer {
  readonly snapshot: Snapshot;
  /** Place in the new group's log from which they follow it; -1: not begun. */
  joinAt = -1;
  readonly feeds = new Set<Feed>();
  readonly batches = new Map<number, Batch>();

  constructor(snapshot: Snapshot) {
    this.snapshot = snapshot;
  }
}
