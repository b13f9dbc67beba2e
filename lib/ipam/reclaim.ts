import type { BlockAffinity } from "../api/blockaffinity.ts";
import { BlockAffinity as AffinityKind } from "../api/blockaffinity.ts";
import { IPAMBlock, ipamBlockRef } from "../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { parseCidr, tryParseAddress } from "../ip/index.ts";
import { ownerText } from "./affinity.ts";
import { addressText, collectCooled, isEmpty, release, sequenceOf } from "./block.ts";
import { claimBlock, releaseAffinity } from "./claim.ts";
import {
  type Context,
  commit,
  createContext,
  deleteOp,
  deleteRead,
  isRace,
  PartialCommit,
  retrying,
  updateOp,
} from "./context.ts";
import { lowerHandle, recountHandle } from "./counts.ts";
import { decrement, holdsNothing } from "./handle.ts";
import { affinityRef, readBlock } from "./reads.ts";
import { decideRelease, releaseAddresses } from "./release-addresses.ts";
import type { IpamConfig, IpamOptions, Owner, ReleaseOutcome, ReleaseRequest } from "./types.ts";

/**
 * What is to be given back of one block, and what the caller knows of it: what it was told by watches may be old, as every
 * write is guarded by the revision that was told.
 */
export interface ReclaimRequest {
  readonly block: IPAMBlock;
  /** Allocations of this block that nobody uses. */
  readonly release: readonly ReleaseRequest[];
  /** Whose block it shall be no more, once nothing is in use in it. */
  readonly giveUp?: {
    readonly owner: Owner;
    readonly affinity?: BlockAffinity;
    /** Allocations, by address and sequence number, that stay in use in a block without an owner: other nodes have them. */
    readonly staying?: readonly ReleaseRequest[];
  };
  /** The handle of an ID, if the caller knows it. */
  readonly handle: (id: string) => IPAMHandle | undefined;
}

export interface Reclaimed {
  /** One a request, in their order. */
  readonly outcomes: readonly ReleaseOutcome[];
  /** The owner of `giveUp` does not have the block any more. */
  readonly givenUp: boolean;
}

/**
 * Releases allocations of one block, gives up its affinity and deletes it, with as few requests as that takes: nothing is read
 * unless what the caller knows turns out to be old. Cut short anywhere, the same call with newer knowledge goes on.
 */
export async function reclaimBlock(
  client: Client,
  config: IpamConfig,
  request: ReclaimRequest,
  options: IpamOptions = {},
): Promise<Reclaimed> {
  const ctx = createContext(client, options);
  const progress: Progress = { marked: false };
  try {
    const done = await reclaimAsTold(ctx, config, request, progress);
    if (done) return done;
  } catch (error) {
    if (!isRace(error instanceof PartialCommit ? error.cause : error)) throw error;
  }
  return reclaimAsRead(ctx, config, request, progress);
}

/** Makes a handle count what blocks give it, and deletes one that holds nothing; an assignment under way for it begins again. */
export function settleHandle(client: Client, id: string, options: IpamOptions = {}): Promise<void> {
  return recountHandle(createContext(client, options), id, [], true);
}

interface Progress {
  /** The affinity is pendingDeletion by this call. */
  marked: boolean;
  outcomes?: readonly ReleaseOutcome[];
}

/** Undefined: the block is not the owner's, or the affinity is not known, so more has to be looked at. */
async function reclaimAsTold(
  ctx: Context,
  config: IpamConfig,
  request: ReclaimRequest,
  progress: Progress,
): Promise<Reclaimed | undefined> {
  const { giveUp } = request;
  const block = structuredClone(request.block);
  const { spec } = block;
  if (giveUp && (spec.affinity !== ownerText(giveUp.owner) || !giveUp.affinity)) return undefined;
  const changed = collectCooled(spec, config.ipCooldownSeconds, ctx.now());
  const wanted = request.release.flatMap((one) => {
    const address = tryParseAddress(one.address);
    return address ? [{ request: one, address }] : [];
  });
  const decided = decideRelease(block, wanted);
  release(spec, decided.ordinals, config.ipCooldownSeconds, ctx.now());
  const empty = isEmpty(spec);
  // What cools down is in nobody's use: it stays behind in a block without an owner.
  const leave = giveUp !== undefined && (empty || isIdle(block, giveUp.staying));
  const outcomes = request.release.map((one) => decided.outcomes.get(one)!);
  if (!leave && !changed && decided.ordinals.length === 0 && !(empty && spec.affinity === undefined))
    return { outcomes, givenUp: false };
  if (leave) {
    delete spec.affinity;
    delete spec.affinityClaimTime;
  }
  const handles = [...decided.counts].map(([id, count]) => ({ id, count, handle: request.handle(id) }));
  if (handles.some(({ handle }) => !handle)) return undefined;
  const write = blockWrite(ctx, block);
  const { client } = ctx;
  if (client.capabilities.atomicBatch) {
    const operations = [write];
    for (const { handle, count } of handles) operations.push(lowered(ctx, handle!, spec.cidr, count));
    if (leave) operations.push(deleteOp(ctx, AffinityKind, refOf(giveUp!.owner, spec.cidr), giveUp!.affinity!));
    await commit(ctx, operations);
    return { outcomes, givenUp: leave };
  }
  let affinity = giveUp?.affinity;
  if (leave && affinity && affinity.spec.state !== "pendingDeletion") {
    affinity = await client.update(AffinityKind, {
      ...affinity,
      spec: { ...affinity.spec, state: "pendingDeletion" as const },
    });
    progress.marked = true;
  }
  await commit(ctx, [write]);
  progress.outcomes = outcomes;
  // From here on the addresses are free, and what fails is mended by whoever comes next.
  if (leave && affinity) {
    await deleteRead(ctx, AffinityKind, refOf(giveUp!.owner, spec.cidr), affinity).catch((error: unknown) => {
      // Its owner is back and claims it, or somebody else has deleted it.
      if (!isRace(error)) throw error;
    });
  }
  await Promise.all(
    handles.map(({ id, count, handle }) => lowerHandle(ctx, handle, id, new Map([[spec.cidr, count]]))),
  );
  return { outcomes, givenUp: leave };
}

/** The same by what is stored now. */
async function reclaimAsRead(
  ctx: Context,
  config: IpamConfig,
  request: ReclaimRequest,
  progress: Progress,
): Promise<Reclaimed> {
  const outcomes = progress.outcomes ?? (await releaseAddresses(ctx, request.release));
  const { giveUp } = request;
  if (!giveUp) {
    await collectOrphan(ctx, config, request.block.spec.cidr);
    return { outcomes, givenUp: false };
  }
  const cidr = parseCidr(request.block.spec.cidr);
  const idle = await retrying(ctx, `read block ${request.block.spec.cidr}`, async () => {
    const block = await readBlock(ctx, cidr);
    if (!block) return undefined;
    collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
    return isIdle(block, giveUp.staying) ? block.spec.sequenceNumber : undefined;
  });
  const result = await releaseAffinity(ctx, config, giveUp.owner, cidr, {
    // An owner may only be taken off a block with addresses that cool down, and of exactly this state.
    ...(idle === undefined ? { mustBeEmpty: true } : { sequenceNumber: idle }),
  });
  if (progress.marked && (result === "not-empty" || result === "changed")) await claimBlock(ctx, giveUp.owner, cidr);
  return { outcomes, givenUp: result === "released" || result === "absent" || result === "not-owner" };
}

/** Frees what has cooled down in a block, and deletes the block when it is empty and nobody's. */
async function collectOrphan(ctx: Context, config: IpamConfig, text: string): Promise<void> {
  await retrying(ctx, `collect block ${text}`, async () => {
    const block = await readBlock(ctx, parseCidr(text));
    if (!block) return;
    const changed = collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
    if (!changed && !(isEmpty(block.spec) && block.spec.affinity === undefined)) return;
    await ctx.client.commit([blockWrite(ctx, block)]);
  });
}

/** Whether all that is allocated cools down, or may stay. */
function isIdle({ spec }: IPAMBlock, staying: readonly ReleaseRequest[] = []): boolean {
  const may = new Set(staying.map(({ address, sequenceNumber }) => `${address} ${sequenceNumber}`));
  const cidr = parseCidr(spec.cidr);
  return spec.allocations.every(
    (index, ordinal) =>
      index === null ||
      spec.attributes[index]?.releasedAt !== undefined ||
      may.has(`${addressText(cidr, ordinal)} ${sequenceOf(spec, ordinal)}`),
  );
}

function blockWrite(ctx: Context, block: IPAMBlock): Operation {
  if (block.spec.affinity === undefined && isEmpty(block.spec))
    return deleteOp(ctx, IPAMBlock, ipamBlockRef(block.spec.cidr), block);
  block.spec.sequenceNumber += 1n;
  return updateOp(IPAMBlock, block);
}

function lowered(ctx: Context, read: IPAMHandle, cidr: string, count: number): Operation {
  const handle = { ...read, spec: { ...read.spec, block: { ...read.spec.block } } };
  decrement(handle.spec, cidr, count);
  return holdsNothing(handle.spec)
    ? deleteOp(ctx, IPAMHandle, ipamHandleRef(read.spec.handleID), read)
    : updateOp(IPAMHandle, handle);
}

const refOf = (owner: Owner, cidr: string) => affinityRef(owner, parseCidr(cidr));
