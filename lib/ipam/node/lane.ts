import { backOff, type Context } from "../context.ts";
import { IpamError } from "../errors.ts";
import type { Owner } from "../types.ts";
import { commitTogether } from "./atomic.ts";
import { decide } from "./decide.ts";
import type { AssignJob, Decided, Desk, Job } from "./jobs.ts";
import type { Known } from "./known.ts";
import { commitInOrder } from "./ordered.ts";
import type { Facts, Warm } from "./warm.ts";

/** Requests of one batch. In a transaction each is a handle and an endpoint or two, and etcd takes 128 operations. */
const MOST = { atomic: 40, ordered: 250 };

/**
 * The queue of the node: one batch at a time is decided and written, and whoever comes meanwhile is in the next. Those that
 * find no room wait beside it, so as not to hold up others: one of them goes the direct way, which claims or borrows, and the
 * rest come back to what it has brought.
 */
export class Lane implements Desk {
  readonly #warm: Warm;
  readonly #queue: Job[] = [];
  #running: Promise<void> | undefined;
  readonly #background = new Set<Promise<void>>();
  #waiting: AssignJob[] = [];
  #isLeading = false;
  /** How many have gone ahead, by now and when the batch began. */
  #led = 0;
  #ledBefore = 0;
  /** Batches in a row in which a block had changed. */
  #conflicts = 0;
  #conflicted = false;

  constructor(
    readonly ctx: Context,
    readonly owner: Owner,
    readonly known: Known,
    warm: Warm,
  ) {
    this.#warm = warm;
  }

  add(job: Job): void {
    this.#queue.push(job);
    this.#start();
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#running || this.#background.size > 0) {
      await this.#running;
      await Promise.all(this.#background);
    }
  }

  facts(): Facts | undefined {
    return this.#warm.facts();
  }

  again(job: Job): void {
    this.#conflicted = true;
    this.#queue.unshift(job);
    this.#start();
  }

  alone(jobs: readonly Job[]): void {
    for (const job of jobs) this.background(job.alone().then(() => {}));
  }

  background(work: Promise<void>): void {
    const done = work.catch((error: unknown) => {
      this.ctx.log.error("what follows an allocation has failed", { error: String(error) });
    });
    this.#background.add(done);
    void done.then(() => this.#background.delete(done));
  }

  withoutRoom(jobs: readonly AssignJob[], changed: boolean, served: boolean): void {
    for (const job of jobs) {
      if (changed || this.#led !== this.#ledBefore) this.#queue.push(job);
      else if (job.followed && !served && !this.#isLeading) this.alone([job]);
      else this.#waiting.push(job);
    }
    if (!this.#isLeading && this.#waiting.length > 0) this.background(this.#lead());
  }

  #start(): void {
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined;
      if (this.#queue.length > 0) this.#start();
    });
  }

  async #run(): Promise<void> {
    // Whoever asks in the same moment belongs to the first batch.
    await undefined;
    const most = this.ctx.client.capabilities.atomicBatch ? MOST.atomic : MOST.ordered;
    while (this.#queue.length > 0) {
      this.#conflicts = this.#conflicted ? this.#conflicts + 1 : 0;
      this.#conflicted = false;
      if (this.#conflicts > 1) await backOff(this.ctx, this.#conflicts - 1);
      const batch = this.#queue.splice(0, most);
      await this.#commit(batch);
    }
  }

  async #commit(batch: readonly Job[]): Promise<void> {
    this.#ledBefore = this.#led;
    const facts = this.facts();
    if (!facts) return this.alone(batch);
    if (this.ctx.client.capabilities.atomicBatch) return commitTogether(this, facts, batch);
    let decided: Decided;
    try {
      decided = await decide(this, facts, batch);
    } catch (error) {
      // Nothing is written yet: a block could not be read.
      for (const job of batch) job.reject(error);
      return;
    }
    await commitInOrder(this, facts, decided);
  }

  async #lead(): Promise<void> {
    this.#isLeading = true;
    let error: unknown;
    try {
      error = await this.#waiting.shift()?.alone();
      this.known.dropBlocks();
      await this.#warm.listAffinities();
    } catch (failure) {
      error = failure;
    }
    this.#isLeading = false;
    this.#led++;
    const followers = this.#waiting;
    this.#waiting = [];
    for (const job of followers) {
      // Where nothing is left, each is told by itself what its pools have.
      if (error instanceof IpamError && error.code === "IPAM_POOL_EXHAUSTED") this.alone([job]);
      else {
        job.followed ||= error === undefined;
        this.add(job);
      }
    }
  }
}
