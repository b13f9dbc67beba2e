import type { IPAMBlock } from "../../api/ipamblock.ts";
import type { IPAMHandle } from "../../api/ipamhandle.ts";
import type { Operation } from "../../datastore/index.ts";
import type { Context } from "../context.ts";
import type { Portion } from "../grant.ts";
import type { Assigned, AutoAssignRequest, Owner, Released } from "../types.ts";
import type { Work } from "../work.ts";
import type { Known } from "./known.ts";
import type { Facts } from "./warm.ts";

interface Answering<T> {
  resolve(answer: T): void;
  reject(error: unknown): void;
  /** Does it as createIpam does, from the beginning. Resolves with the error, if any, when the caller has its answer. */
  alone(): Promise<unknown>;
  /** How often its writes were refused because a block had changed. */
  conflicts: number;
}

/** An autoAssign that waits to be committed with others. */
export interface AssignJob extends Answering<Assigned> {
  readonly kind: "assign";
  readonly request: AutoAssignRequest;
  readonly wanted: Readonly<Record<4 | 6, number>>;
  readonly handleId: string;
  /** There was no room for it, and another has got more since. */
  followed: boolean;
}

/** A releaseByHandle that waits to be committed with others. */
export interface ReleaseJob extends Answering<Released> {
  readonly kind: "release";
  readonly handleId: string;
  /** As it was read or written last. */
  readonly handle: IPAMHandle;
  /** What the caller adds and is not written yet. */
  extra: readonly Operation[];
  /** What earlier attempts have released. */
  readonly released: Set<string>;
}

export type Job = AssignJob | ReleaseJob;

/** What a batch needs of the allocator. */
export interface Desk {
  readonly ctx: Context;
  readonly owner: Owner;
  readonly known: Known;
  facts(): Facts | undefined;
  /** Puts a job first in the queue again. */
  again(job: Job): void;
  /**
   * Nothing was free for these in the node's blocks. `changed`: the batch has released addresses, or a block was not what it had been
   * thought to be; `served`: others that had waited for room have got it.
   */
  withoutRoom(jobs: readonly AssignJob[], changed: boolean, served: boolean): void;
  /** Has jobs served as createIpam does. */
  alone(jobs: readonly Job[]): void;
  /** Keeps close waiting. */
  background(work: Promise<void>): void;
}

/** An assignment that is decided, but not written. */
export interface Assignment {
  readonly job: AssignJob;
  readonly portions: readonly Portion[];
  readonly assigned: Assigned;
  readonly extra: readonly Operation[];
}

/** A release as it is decided in the blocks' values. */
export interface Release {
  readonly job: ReleaseJob;
  /** Addresses by the block that they are in. Blocks that give the handle nothing are written as well. */
  readonly addresses: Map<IPAMBlock, readonly string[]>;
}

/** A batch that is decided: all of it in the values of `work`. */
export interface Decided {
  readonly work: Work;
  readonly assignments: readonly Assignment[];
  readonly releases: readonly ReleaseJob[];
  readonly withoutRoom: readonly AssignJob[];
  /** To be served alone once the batch is written. */
  readonly alone: Job[];
}
