import type { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import { DatastoreError, type Operation } from "../../datastore/index.ts";
import { ownerText } from "../affinity.ts";
import { createOp, deleteOp, isRace, isUnreadable, RETRIES, tooManyConflicts } from "../context.ts";
import { cidrOf, readBlock } from "../reads.ts";
import { blockOperation } from "../release.ts";
import { blocksOf, countsOf, decide, keepBlocksConsistent, releaseIn } from "./decide.ts";
import type { Decided, Desk, Job } from "./jobs.ts";
import type { Facts } from "./warm.ts";

/** Operations of one commit: etcd takes 128 unless it is told otherwise. */
const MOST_OPERATIONS = 128;

/**
 * Writes a batch in one commit: handles, each block once, what callers add, the handles of releases. When it is refused and a
 * block has changed, all is decided anew on the new value. When none has, somebody's own objects are the reason: the batch is
 * halved until those are by themselves, and they alone go the direct way.
 */
export async function commitTogether(desk: Desk, facts: Facts, jobs: readonly Job[]): Promise<void> {
  let decided: Decided;
  try {
    decided = await decide(desk, facts, jobs);
  } catch (error) {
    return rejectAll(jobs, error);
  }
  const { assignments, withoutRoom, alone } = decided;
  const committing: Job[] = [...assignments.map(({ job }) => job), ...decided.releases];
  const committed = committing.length > 0 && (await commitDecided(desk, facts, decided, committing));
  desk.alone(alone);
  const isRefused = committing.length > 0 && !committed;
  const served = committed && assignments.some(({ job }) => job.followed);
  desk.withoutRoom(withoutRoom, isRefused || decided.releases.length > 0, served);
}

/** Whether it was committed as a whole. */
async function commitDecided(desk: Desk, facts: Facts, decided: Decided, jobs: readonly Job[]): Promise<boolean> {
  const { ctx, known, owner } = desk;
  const { assignments } = decided;
  const releases = releaseIn(decided.work, decided.releases);
  const blocks = [...blocksOf(assignments, releases)];
  const operations: Operation[] = [];
  for (const { job, portions } of assignments) {
    operations.push(createOp(IPAMHandle, newIPAMHandle(job.handleId, countsOf(portions))));
  }
  const before = new Map(blocks.map((block) => [block, block.metadata.resourceVersion]));
  for (const block of blocks) {
    operations.push(blockOperation(ctx, block));
    known.dropBlock(block.spec.cidr);
  }
  for (const { extra } of assignments) operations.push(...extra);
  for (const { job } of releases) {
    operations.push(...job.extra, deleteOp(ctx, IPAMHandle, ipamHandleRef(job.handleId), job.handle));
  }
  if (operations.length > MOST_OPERATIONS && jobs.length > 1) {
    await commitHalves(desk, facts, jobs);
    return false;
  }
  try {
    const answers = await ctx.client.batch(operations);
    for (const [index, answer] of answers.entries()) {
      const operation = operations[index]!;
      if (operation.op === "delete") continue;
      if (operation.kind.kind === "IPAMHandle") known.keepHandle(answer as IPAMHandle);
      if (operation.kind.kind !== "IPAMBlock") continue;
      const block = answer as IPAMBlock;
      if (block.spec.affinity === ownerText(owner)) known.keepBlock(block);
    }
  } catch (error) {
    await refused(desk, facts, jobs, before, error);
    return false;
  }
  for (const { job, assigned } of assignments) job.resolve(assigned);
  const freed = new Set(releases.flatMap(({ addresses }) => [...addresses.keys()]));
  const consistent = keepBlocksConsistent(desk, facts, freed);
  desk.background(
    consistent.finally(() => {
      for (const { job, addresses } of releases) {
        known.dropHandle(job.handleId);
        job.resolve({ addresses: [...addresses.values()].flat(), found: true });
      }
    }),
  );
  return true;
}

async function refused(
  desk: Desk,
  facts: Facts,
  jobs: readonly Job[],
  before: ReadonlyMap<IPAMBlock, string | undefined>,
  error: unknown,
): Promise<void> {
  const { ctx } = desk;
  // Nobody knows whether it was carried out, or there is nobody left to know.
  if (!(error instanceof DatastoreError) || error.code === "UNAVAILABLE") return rejectAll(jobs, error);
  let changed = false;
  try {
    changed = isRace(error) && (await haveChanged(ctx, before));
  } catch (unread) {
    return rejectAll(jobs, unread);
  }
  if (changed) {
    for (const job of [...jobs].reverse()) {
      if (++job.conflicts < RETRIES) desk.again(job);
      else job.reject(tooManyConflicts("change the node's blocks", error));
    }
    return;
  }
  const [first] = jobs;
  if (jobs.length > 1) await commitHalves(desk, facts, jobs);
  else if (first && isRace(error)) desk.alone([first]);
  else first?.reject(error);
}

/** Whether blocks are not any more as they were read; one that cannot be read now has changed. */
async function haveChanged(ctx: Desk["ctx"], before: ReadonlyMap<IPAMBlock, string | undefined>): Promise<boolean> {
  const now = await Promise.all(
    [...before].map(async ([block, revision]) => {
      try {
        return (await readBlock(ctx, cidrOf(block)))?.metadata.resourceVersion === revision;
      } catch (error) {
        if (!isUnreadable(error)) throw error;
        return false;
      }
    }),
  );
  return now.includes(false);
}

function rejectAll(jobs: readonly Job[], error: unknown): void {
  for (const job of jobs) job.reject(error);
}

async function commitHalves(desk: Desk, facts: Facts, jobs: readonly Job[]): Promise<void> {
  const middle = Math.ceil(jobs.length / 2);
  await commitTogether(desk, facts, jobs.slice(0, middle));
  await commitTogether(desk, facts, jobs.slice(middle));
}
