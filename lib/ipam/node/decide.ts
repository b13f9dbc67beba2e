import type { IPAMBlock } from "../../api/ipamblock.ts";
import type { Operation } from "../../datastore/index.ts";
import { parseOwner } from "../affinity.ts";
import { BLOCKS_A_ROUND, chooseFamily, toAssigned } from "../assign.ts";
import { addressText, baseOf, isEmpty, ordinalsOfHandle, putBack, release } from "../block.ts";
import { IpamError } from "../errors.ts";
import type { Portion } from "../grant.ts";
import { disabledReason, poolOf, selectsAll } from "../pools.ts";
import { cidrOf } from "../reads.ts";
import { keepConsistent } from "../release.ts";
import { confirmedBlock, type Serving, take } from "../serving.ts";
import { cidrsOf, type Family, load, remember, type Work } from "../work.ts";
import type { AssignJob, Assignment, Decided, Desk, Job, Release, ReleaseJob } from "./jobs.ts";
import type { Facts } from "./warm.ts";

/**
 * Decides what a batch assigns, in one value of each block, and reads the blocks it releases from. Releases are not in the values
 * yet, and what they free is not assigned by the same batch: a release may still be refused, and nobody may have its address then.
 * What cannot be decided from what is known has to be served alone.
 */
export async function decide(desk: Desk, facts: Facts, jobs: readonly Job[]): Promise<Decided> {
  const { ctx, owner } = desk;
  const { config, reservations, pools: allPools } = facts;
  const work: Work = { ctx, owner, config, reservations, allPools, blocks: new Map(), unreadable: new Set() };
  const placed: Omit<Assignment, "extra">[] = [];
  const withoutRoom: AssignJob[] = [];
  const releases: ReleaseJob[] = [];
  const alone: Job[] = [];
  await bring(
    desk,
    work,
    jobs.flatMap((job) => (job.kind === "release" ? Object.keys(job.handle.spec.block) : [])),
  );
  for (const job of jobs) {
    if (job.kind === "release") {
      // What an unreadable block has counts with the handle until it is mended.
      if (Object.keys(job.handle.spec.block).some((cidr) => work.unreadable.has(cidr))) alone.push(job);
      else releases.push(job);
      continue;
    }
    try {
      const portions = await place(desk, work, facts, job);
      if (portions) placed.push({ job, portions, assigned: toAssigned(portions) });
      else withoutRoom.push(job);
    } catch (error) {
      if (!(error instanceof IpamError)) throw error;
      alone.push(job);
    }
  }
  const assignments: Assignment[] = [];
  await Promise.all(
    placed.map(async ({ job, portions, assigned }) => {
      let extra: readonly Operation[];
      try {
        extra = (await job.request.alsoWrite?.(assigned)) ?? [];
      } catch (error) {
        drop(portions);
        return job.reject(error);
      }
      assignments.push({ job, portions, assigned, extra });
    }),
  );
  return { work, assignments, releases, withoutRoom, alone };
}

/** Gives back in the values what was decided for a request. */
export function drop(portions: readonly Portion[]): void {
  for (const { block, fresh } of portions) putBack(block.spec, fresh);
}

/** Releases in the blocks' values. */
export function releaseIn(work: Work, jobs: readonly ReleaseJob[]): Release[] {
  const { ctx, config } = work;
  return jobs.map((job) => {
    const addresses = new Map<IPAMBlock, readonly string[]>();
    for (const cidr of Object.keys(job.handle.spec.block)) {
      const block = work.blocks.get(cidr);
      if (!block) continue;
      const ordinals = ordinalsOfHandle(block.spec, job.handleId);
      addresses.set(
        block,
        ordinals.map((ordinal) => addressText(cidrOf(block), ordinal)),
      );
      release(block.spec, ordinals, config.ipCooldownSeconds, ctx.now());
    }
    return { job, addresses };
  });
}

/** The blocks to write, each once. */
export function blocksOf(assignments: readonly Assignment[], releases: readonly Release[]): Set<IPAMBlock> {
  const touched = new Set<IPAMBlock>();
  for (const { portions } of assignments) for (const { block } of portions) touched.add(block);
  for (const { addresses } of releases) for (const block of addresses.keys()) touched.add(block);
  return touched;
}

/** What a request's handle counts. */
export function countsOf(portions: readonly Portion[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { block, fresh } of portions) counts[block.spec.cidr] = fresh.length;
  return counts;
}

/** Gives empty blocks back as releaseByHandle does, reading only where a block may have to be. */
export async function keepBlocksConsistent(desk: Desk, facts: Facts, blocks: Iterable<IPAMBlock>): Promise<void> {
  for (const block of blocks) {
    if (!isEmpty(block.spec) || staysWith(desk, facts, block)) continue;
    await keepConsistent(desk.ctx, facts.config, block);
    desk.known.dropBlock(block.spec.cidr);
  }
}

function staysWith({ owner }: Desk, { pools }: Facts, block: IPAMBlock): boolean {
  const other = parseOwner(block.spec.affinity);
  if (other?.type !== "host") return !other;
  const pool = poolOf(pools, baseOf(cidrOf(block)));
  if (other.name !== owner.name || !pool) return false;
  return disabledReason(pool) !== undefined || selectsAll(pool.resource.spec.nodeSelector);
}

/** Allocates for one request from the node's confirmed blocks; undefined, and nothing allocated, when they have too little. */
async function place(desk: Desk, work: Work, facts: Facts, job: AssignJob): Promise<Portion[] | undefined> {
  const { request, wanted, handleId } = job;
  const labels = request.nodeLabels ?? facts.nodeLabels;
  const placed: Portion[] = [];
  const families: Family[] = [];
  for (const version of [4, 6] as const) {
    if (wanted[version] > 0) families.push(chooseFamily(work, facts.rows, labels, version, wanted[version], request));
  }
  for (const family of families) {
    const portions: Portion[] = [];
    const serving: Serving = { work, family, request, handleId, portions, need: family.wanted };
    const rows = family.rows.filter(({ confirmed }) => confirmed);
    for (let first = 0; first < rows.length && serving.need > 0; first += BLOCKS_A_ROUND) {
      const round = rows.slice(first, first + BLOCKS_A_ROUND);
      await bring(desk, work, cidrsOf(round));
      for (const row of round) {
        const block = confirmedBlock(work, row);
        if (block) take(serving, block);
      }
    }
    placed.push(...portions);
    if (serving.need === 0) continue;
    drop(placed);
    return undefined;
  }
  return placed;
}

/** Makes blocks part of the work: as they are known, else as they are read. */
async function bring({ known }: Desk, work: Work, cidrs: readonly string[]): Promise<void> {
  const missing: string[] = [];
  for (const cidr of cidrs) {
    if (work.blocks.has(cidr)) continue;
    const block = known.block(cidr);
    if (block) remember(work, cidr, block);
    else missing.push(cidr);
  }
  if (missing.length === 0) return;
  await load(work, missing);
  for (const cidr of missing) {
    const block = work.blocks.get(cidr);
    if (block) known.keepBlock(structuredClone(block));
  }
}
