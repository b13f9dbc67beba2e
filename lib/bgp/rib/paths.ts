/** The paths of all prefixes, as columns: Adj-RIB-In (what was told) and Loc-RIB (what of it may be chosen) in one row. */
import { grownInt32, grownUint8, grownUint16 } from "./columns.ts";

/** Flags of a path. */
export const PATH = {
  /** Its peer went and is awaited (RFC 4724). */
  RESTART_STALE: 1,
  /** Its peer tells everything again, and has not told this one yet (RFC 7313). */
  REFRESH_STALE: 2,
  /** `onBest` has been told of it. */
  TOLD: 4,
  /** It is gone, and will be taken out when it is its turn: not for choosing any more. */
  GONE: 8,
} as const;

export const STALE = PATH.RESTART_STALE | PATH.REFRESH_STALE;

export class PathTable {
  /** Ids are below it. */
  limit = 0;
  size = 0;
  /** The next path of the same prefix + 1; 0 is the end. Of a row that is free: the next free one + 1. */
  next: Int32Array<ArrayBuffer>;
  prefix: Int32Array<ArrayBuffer>;
  /** Set as told; -1: the row is free. */
  received: Int32Array<ArrayBuffer>;
  /** Set after the import policy, or below 0 why not (REFUSED). */
  accepted: Int32Array<ArrayBuffer>;
  pathId: Int32Array<ArrayBuffer>;
  peer: Uint16Array<ArrayBuffer>;
  flags: Uint8Array<ArrayBuffer>;
  #free = 0;

  constructor(capacity = 1024) {
    this.next = new Int32Array(capacity);
    this.prefix = new Int32Array(capacity);
    this.received = new Int32Array(capacity);
    this.accepted = new Int32Array(capacity);
    this.pathId = new Int32Array(capacity);
    this.peer = new Uint16Array(capacity);
    this.flags = new Uint8Array(capacity);
  }

  /** A row whose columns the caller fills. */
  allocate(): number {
    this.size++;
    if (this.#free !== 0) {
      const row = this.#free - 1;
      this.#free = this.next[row]!;
      return row;
    }
    if (this.limit === this.next.length) this.#grow();
    return this.limit++;
  }

  release(row: number): void {
    this.size--;
    this.received[row] = -1;
    this.next[row] = this.#free;
    this.#free = row + 1;
  }

  #grow(): void {
    const length = this.next.length * 2;
    this.next = grownInt32(this.next, length);
    this.prefix = grownInt32(this.prefix, length);
    this.received = grownInt32(this.received, length);
    this.accepted = grownInt32(this.accepted, length);
    this.pathId = grownInt32(this.pathId, length);
    this.peer = grownUint16(this.peer, length);
    this.flags = grownUint8(this.flags, length);
  }
}
