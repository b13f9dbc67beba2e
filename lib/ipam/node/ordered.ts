import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import type { Resource } from "../../api/meta.ts";
import type { Operation } from "../../datastore/index.ts";
import { ownerText } from "../affinity.ts";
import {
  carryOut,
  createOp,
  deleteOp,
  isRace,
  PartialCommit,
  RETRIES,
  tooManyConflicts,
  updateOp,
} from "../context.ts";
import { blockOperation } from "../release.ts";
import { giveBack, type Taken, undo } from "../undo.ts";
import { blocksOf, countsOf, drop, keepBlocksConsistent, releaseIn } from "./decide.ts";
import type { Assignment, Decided, Desk, Job, Release, ReleaseJob } from "./jobs.ts";
import type { Facts } from "./warm.ts";

/** What became of the write of one block: what is stored now (undefined when it was deleted), or why it failed. */
type Outcome = { readonly stored: Resource | undefined } | { readonly error: unknown };

/** What became of all of them, and whether what an unanswered one may have assigned was given back. */
interface Outcomes {
  readonly of: ReadonlyMap<IPAMBlock, Outcome>;
  readonly givenBack: ReadonlyMap<IPAMBlock, Promise<boolean>>;
}

/**
 * Writes a batch where every object is a write of its own, in the order of the direct path, so that a crash at any point leaves
 * nothing that it would not leave: handles of assignments, and what callers add to releases; then each block once; then what
 * callers add to assignments, and the handles of releases. Resolves when the blocks are written: the rest of each request
 * goes on by itself.
 */
export async function commitInOrder(desk: Desk, facts: Facts, decided: Decided): Promise<void> {
  const handles = new Map<Assignment, IPAMHandle>();
  const freeing: ReleaseJob[] = [];
  await Promise.all([
    ...decided.assignments.map((one) => createHandle(desk, decided.alone, one, handles)),
    ...decided.releases.map((job) => addToRelease(desk, decided.alone, job, freeing)),
  ]);
  // In the order in which they were decided, not in that of the answers.
  const assignments = decided.assignments.filter((one) => handles.has(one));
  const releases = releaseIn(decided.work, freeing);
  const of = new Map<IPAMBlock, Outcome>();
  const writes = [...blocksOf(assignments, releases)].map(async (block) =>
    of.set(block, await writeBlock(desk, block)),
  );
  await Promise.all(writes);

  const outcomes: Outcomes = { of, givenBack: giveBackUnanswered(desk, assignments, of) };
  for (const one of assignments) desk.background(finishAssignment(desk, one, handles.get(one)!, outcomes));
  desk.alone(decided.alone);
  const freed = new Set(
    releases.flatMap(({ addresses }) => [...addresses.keys()]).filter((block) => isStored(of, block)),
  );
  const consistent = keepBlocksConsistent(desk, facts, freed);
  desk.background(consistent);
  for (const one of releases) desk.background(finishRelease(desk, one, of, consistent));
  const served = assignments.some(
    ({ job, portions }) => job.followed && portions.every(({ block }) => isStored(of, block)),
  );
  const isRefused = [...of.keys()].some((block) => !isStored(of, block));
  desk.withoutRoom(decided.withoutRoom, isRefused || freed.size > 0, served);
}

const isStored = (outcomes: ReadonlyMap<IPAMBlock, Outcome>, block: IPAMBlock): boolean =>
  "stored" in (outcomes.get(block) ?? {});

/** Creates the handle of an assignment; without one its addresses go back, and when it exists already the direct path has to read it. */
async function createHandle(
  { ctx }: Desk,
  alone: Job[],
  one: Assignment,
  handles: Map<Assignment, IPAMHandle>,
): Promise<void> {
  const { job, portions } = one;
  try {
    handles.set(one, await ctx.client.create(IPAMHandle, newIPAMHandle(job.handleId, countsOf(portions))));
  } catch (error) {
    drop(portions);
    if (isRace(error)) alone.push(job);
    else job.reject(error);
  }
}

/** Writes what the caller adds to a release. Where it is refused the direct path asks the caller anew. */
async function addToRelease({ ctx }: Desk, alone: Job[], job: ReleaseJob, freeing: ReleaseJob[]): Promise<void> {
  try {
    for (const operation of job.extra) await carryOut(ctx.client, operation);
    job.extra = [];
    freeing.push(job);
  } catch (error) {
    if (isRace(error)) alone.push(job);
    else job.reject(error);
  }
}

async function writeBlock({ ctx, known, owner }: Desk, block: IPAMBlock): Promise<Outcome> {
  const operation = blockOperation(ctx, block);
  const { cidr } = block.spec;
  // A value that is being written is not known any more, whatever becomes of it.
  known.dropBlock(cidr);
  try {
    const stored = await carryOut(ctx.client, operation);
    if (operation.op === "update" && block.spec.affinity === ownerText(owner)) known.keepBlock(stored as IPAMBlock);
    return { stored };
  } catch (error) {
    return { error };
  }
}

/** A write without an answer may have been carried out, or be carried out yet: what it assigns is given back, in one write for all. */
function giveBackUnanswered(
  { ctx, known }: Desk,
  assignments: readonly Assignment[],
  outcomes: ReadonlyMap<IPAMBlock, Outcome>,
): Map<IPAMBlock, Promise<boolean>> {
  const givenBack = new Map<IPAMBlock, Promise<boolean>>();
  for (const [block, outcome] of outcomes) {
    if ("stored" in outcome || isRace(outcome.error)) continue;
    const taken: Taken[] = [];
    for (const { job, portions } of assignments) {
      for (const portion of portions)
        if (portion.block === block) taken.push({ handleId: job.handleId, fresh: portion.fresh });
    }
    const giving = giveBack(ctx, block, taken, true).then(
      () => true,
      (error: unknown) => {
        ctx.log.warning("could not give back what may have been assigned; calicoctl ipam check finds it", {
          block: block.spec.cidr,
          error: String(error),
        });
        return false;
      },
    );
    givenBack.set(
      block,
      giving.finally(() => known.dropBlock(block.spec.cidr)),
    );
  }
  return givenBack;
}

/** What remains of an assignment once the blocks are written, or were not. What fails undoes this request and no other. */
async function finishAssignment(
  desk: Desk,
  { job, portions, assigned, extra }: Assignment,
  handle: IPAMHandle,
  outcomes: Outcomes,
): Promise<void> {
  const { ctx, known } = desk;
  const operations: Operation[] = [createOp(IPAMHandle, handle)];
  const done: (Resource | undefined)[] = [handle];
  const failures: unknown[] = [];
  for (const { block } of portions) {
    const outcome = outcomes.of.get(block)!;
    if ("error" in outcome) {
      failures.push(outcome.error);
      continue;
    }
    operations.push(updateOp(IPAMBlock, block));
    done.push(outcome.stored);
  }
  const inBlocks = failures.length > 0;
  try {
    if (!inBlocks) {
      operations.push(...extra);
      for (const operation of extra) done.push(await carryOut(ctx.client, operation));
    }
  } catch (error) {
    failures.push(error);
  }
  if (failures.length === 0) {
    if (handle) known.keepHandle(handle);
    return job.resolve(assigned);
  }
  const cause = failures.find((error) => !isRace(error)) ?? failures[0];
  try {
    const given = await Promise.all(portions.map(({ block }) => outcomes.givenBack.get(block)));
    // The handle goes last: as long as an address may be assigned, it leads there.
    if (!given.includes(false)) {
      const grant = { portions, handleId: job.handleId, handle: undefined, extra };
      await undo(ctx, grant, operations, new PartialCommit(done, cause));
      if (done.length > (handle ? 1 : 0)) for (const { block } of portions) known.dropBlock(block.spec.cidr);
    }
  } catch (error) {
    return job.reject(error);
  }
  if (!isRace(cause)) return job.reject(cause);
  if (!inBlocks) return void (await job.alone());
  if (++job.conflicts < RETRIES) desk.again(job);
  else job.reject(tooManyConflicts(`assign addresses for node ${job.request.host}`, cause));
}

/** What remains of a release: its handle, once every block that it counts is written. */
async function finishRelease(
  desk: Desk,
  { job, addresses }: Release,
  outcomes: ReadonlyMap<IPAMBlock, Outcome>,
  consistent: Promise<void>,
): Promise<void> {
  const { ctx, known } = desk;
  const failures: unknown[] = [];
  for (const [block, texts] of addresses) {
    const outcome = outcomes.get(block)!;
    if ("error" in outcome) failures.push(outcome.error);
    else for (const text of texts) job.released.add(text);
  }
  if (failures.length > 0) {
    const cause = failures.find((error) => !isRace(error)) ?? failures[0];
    if (!isRace(cause)) return job.reject(cause);
    if (++job.conflicts < RETRIES) return desk.again(job);
    return job.reject(tooManyConflicts(`release what handle ${job.handleId} holds`, cause));
  }
  known.dropHandle(job.handleId);
  try {
    await carryOut(ctx.client, deleteOp(ctx, IPAMHandle, ipamHandleRef(job.handleId), job.handle));
    await consistent;
    job.resolve({ addresses: [...job.released], found: true });
  } catch (error) {
    // It has been raised, or deleted, by somebody else meanwhile: what it counts now is read anew.
    if (isRace(error)) await job.alone();
    else job.reject(error);
  }
}
