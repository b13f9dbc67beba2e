import { IPAMBlock, ipamBlockRef } from "../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import { selectsNode } from "../api/ippool.ts";
import { DatastoreError, type Operation } from "../datastore/index.ts";
import { type Address, formatAddress, offsetOf, parseCidr, tryParseAddress } from "../ip/index.ts";
import { parseOwner } from "./affinity.ts";
import {
  addressText,
  attributesAt,
  baseOf,
  cleanHandle,
  collectCooled,
  isAllocated,
  isEmpty,
  ordinalsOfHandle,
  release,
  sequenceOf,
} from "./block.ts";
import { releaseAffinity } from "./claim.ts";
import {
  backOff,
  type Context,
  commit,
  deleteOp,
  isRace,
  PartialCommit,
  RETRIES,
  retrying,
  tooManyConflicts,
  updateOp,
} from "./context.ts";
import { lowerHandle } from "./counts.ts";
import { IpamError } from "./errors.ts";
import { decrement, holdsNothing } from "./handle.ts";
import { disabledReason, type Pool, poolOf, selectsAll } from "./pools.ts";
import { cidrOf, findBlock, readAllPools, readBlock, readConfig, readHandle, readNodeLabels } from "./reads.ts";
import type { IpamConfig, ReleaseByHandleOptions, Released, ReleaseOutcome, ReleaseRequest } from "./types.ts";

/**
 * See {@link Ipam.releaseByHandle}. What the caller adds is written first, then the blocks, then the handle: whatever
 * is left after a crash, the same call finishes it. A block that the handle counts but that gives it nothing is written
 * all the same: an assignment for this handle that is under way must not find its block unchanged once the handle is gone.
 */
export async function releaseByHandle(
  ctx: Context,
  handleText: string,
  options: ReleaseByHandleOptions = {},
): Promise<Released> {
  const id = cleanHandle(handleText);
  if (id === "") throw new IpamError("IPAM_INVALID", "handle: must not be empty");
  let [config, pools, handle] = await Promise.all([readConfig(ctx), readAllPools(ctx), readHandle(ctx, id)]);
  const found = handle !== undefined;
  const released = new Set<string>();
  let unexplained = 0;
  for (let attempt = 0; ; attempt++) {
    const [extra, blocks] = await Promise.all([
      options.alsoWrite?.() ?? [],
      Promise.all(Object.keys(handle?.spec.block ?? {}).map((cidr) => readBlock(ctx, parseCidr(cidr)))),
    ]);
    const operations: Operation[] = [...extra];
    const addresses: string[] = [];
    const written: IPAMBlock[] = [];
    for (const block of blocks) {
      if (!block) continue;
      collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
      const ordinals = ordinalsOfHandle(block.spec, id);
      addresses.push(...ordinals.map((ordinal) => addressText(cidrOf(block), ordinal)));
      release(block.spec, ordinals, config.ipCooldownSeconds, ctx.now());
      written.push(block);
      operations.push(blockOperation(ctx, block));
    }
    if (handle) operations.push(deleteOp(ctx, IPAMHandle, ipamHandleRef(id), handle));
    try {
      await commit(ctx, operations);
      for (const address of addresses) released.add(address);
      for (const block of written) await keepConsistent(ctx, config, pools, block);
      return { addresses: [...released], found };
    } catch (error) {
      const cause = error instanceof PartialCommit ? error.cause : error;
      if (!isRace(cause)) throw cause;
      if (error instanceof PartialCommit) {
        const blocksDone = error.done.length - extra.length;
        for (const block of written.slice(0, Math.max(0, blocksDone))) noteReleased(block, addresses, released);
      }
      if (attempt + 1 >= RETRIES) throw tooManyConflicts(`release what handle ${id} holds`, cause);
      await backOff(ctx, attempt);
      const before = [handle, ...blocks].map((one) => one?.metadata.resourceVersion).join();
      handle = await readHandle(ctx, id);
      const again = await Promise.all(blocks.map((block) => block && readBlock(ctx, cidrOf(block))));
      const same = before === [handle, ...again].map((one) => one?.metadata.resourceVersion).join();
      // When nothing of ours has changed it is the caller's operations that are refused.
      if (same && options.alsoWrite && ++unexplained > 5) throw cause;
    }
  }
}

function noteReleased(block: IPAMBlock, addresses: readonly string[], released: Set<string>): void {
  const cidr = cidrOf(block);
  for (const address of addresses) {
    const parsed = tryParseAddress(address);
    if (!parsed || parsed.version !== cidr.version) continue;
    const ordinal = Number(offsetOf(baseOf(cidr), parsed));
    if (ordinal >= 0 && ordinal < block.spec.allocations.length) released.add(address);
  }
}

/** A block without an owner goes with its last address. */
function blockOperation(ctx: Context, block: IPAMBlock): Operation {
  if (block.spec.affinity === undefined && isEmpty(block.spec))
    return deleteOp(ctx, IPAMBlock, ipamBlockRef(block.spec.cidr), block);
  block.spec.sequenceNumber += 1n;
  return updateOp(IPAMBlock, block);
}

/** See {@link Ipam.releaseAddresses}. */
export async function releaseAddresses(ctx: Context, requests: readonly ReleaseRequest[]): Promise<ReleaseOutcome[]> {
  const parsed = requests.map((request) => {
    const address = tryParseAddress(request.address);
    if (!address) throw new IpamError("IPAM_INVALID", `address: "${request.address}" is not an IP address`);
    return { request, address };
  });
  const [config, pools] = await Promise.all([readConfig(ctx), readAllPools(ctx)]);
  const blocks = await Promise.all(parsed.map(({ address }) => findBlock(ctx, pools, address)));
  const outcomes = new Map<ReleaseRequest, ReleaseOutcome>();
  const byBlock = new Map<string, Wanted[]>();
  for (const [index, { request, address }] of parsed.entries()) {
    const block = blocks[index];
    if (!block) outcomes.set(request, { address: formatAddress(address), outcome: "not-allocated" });
    else byBlock.set(block.spec.cidr, [...(byBlock.get(block.spec.cidr) ?? []), { request, address }]);
  }
  const known = new Map(blocks.flatMap((block) => (block ? [[block.spec.cidr, block] as const] : [])));
  for (const [cidr, wanted] of byBlock) {
    for (const [request, outcome] of await releaseFromBlock(ctx, config, pools, cidr, wanted, known.get(cidr)))
      outcomes.set(request, outcome);
  }
  return requests.map((request) => outcomes.get(request)!);
}

interface Wanted {
  readonly request: ReleaseRequest;
  readonly address: Address;
}

/** Releases addresses of one block; the block is written before the handles' counts, where that is not one commit. */
async function releaseFromBlock(
  ctx: Context,
  config: IpamConfig,
  pools: readonly Pool[],
  cidr: string,
  wanted: readonly Wanted[],
  known: IPAMBlock | undefined,
): Promise<Map<ReleaseRequest, ReleaseOutcome>> {
  let block = known;
  return retrying(ctx, `release addresses of block ${cidr}`, async (attempt) => {
    if (attempt > 0) block = await readBlock(ctx, parseCidr(cidr));
    const decided = decide(block, wanted);
    if (!block || decided.ordinals.length === 0) return decided.outcomes;
    const handles = await Promise.all([...decided.counts.keys()].map((id) => readHandle(ctx, id)));
    release(block.spec, decided.ordinals, config.ipCooldownSeconds, ctx.now());
    const operations = [blockOperation(ctx, block)];
    if (ctx.client.capabilities.atomicBatch) {
      for (const handle of handles) if (handle) operations.push(...lowered(ctx, handle, cidr, decided.counts));
      await commit(ctx, operations);
    } else {
      await commit(ctx, operations);
      for (const [index, [id, count]] of [...decided.counts].entries())
        await lowerHandle(ctx, handles[index], id, new Map([[cidr, count]]));
    }
    await keepConsistent(ctx, config, pools, block);
    return decided.outcomes;
  });
}

function lowered(ctx: Context, handle: IPAMHandle, cidr: string, counts: ReadonlyMap<string, number>): Operation[] {
  const id = handle.spec.handleID;
  if (handle.spec.block[cidr] === undefined) return [];
  decrement(handle.spec, cidr, counts.get(id) ?? 0);
  return [
    holdsNothing(handle.spec) ? deleteOp(ctx, IPAMHandle, ipamHandleRef(id), handle) : updateOp(IPAMHandle, handle),
  ];
}

/** Which of the addresses may be released, and how many of each handle those are. */
function decide(block: IPAMBlock | undefined, wanted: readonly Wanted[]) {
  const outcomes = new Map<ReleaseRequest, ReleaseOutcome>();
  const ordinals = new Set<number>();
  const counts = new Map<string, number>();
  for (const { request, address } of wanted) {
    const text = formatAddress(address);
    const ordinal = block ? Number(offsetOf(baseOf(cidrOf(block)), address)) : -1;
    const held = block && attributesAt(block.spec, ordinal);
    if (!block || !isAllocated(block.spec, ordinal) || held?.releasedAt !== undefined) {
      outcomes.set(request, { address: text, outcome: "not-allocated" });
      continue;
    }
    const handle = held?.handle_id === undefined ? undefined : cleanHandle(held.handle_id);
    const sequence = sequenceOf(block.spec, ordinal);
    const reason =
      request.sequenceNumber !== undefined && request.sequenceNumber !== sequence
        ? `it was assigned again: its sequence number is ${sequence}, not ${request.sequenceNumber}`
        : request.handle !== undefined && cleanHandle(request.handle) !== (handle ?? "")
          ? `it belongs to ${handle ?? "nobody"}, not to ${cleanHandle(request.handle)}`
          : undefined;
    if (reason !== undefined) {
      outcomes.set(request, { address: text, outcome: "refused", reason });
      continue;
    }
    outcomes.set(request, { address: text, outcome: "released" });
    if (ordinals.has(ordinal)) continue;
    ordinals.add(ordinal);
    if (handle !== undefined) counts.set(handle, (counts.get(handle) ?? 0) + 1);
  }
  return { outcomes, ordinals: [...ordinals], counts };
}

/**
 * After a release: an empty block goes back when its pool does not select its node any more, or when its owner is a virtual
 * one, which has no node whose end would free it. The addresses are released already, so a failure here is only logged.
 */
async function keepConsistent(
  ctx: Context,
  config: IpamConfig,
  pools: readonly Pool[],
  block: IPAMBlock,
): Promise<void> {
  const owner = parseOwner(block.spec.affinity);
  if (!owner || !isEmpty(block.spec)) return;
  const cidr = cidrOf(block);
  try {
    if (owner.type === "host") {
      const pool = poolOf(pools, baseOf(cidr));
      if (!pool || disabledReason(pool) !== undefined || selectsAll(pool.resource.spec.nodeSelector)) return;
      const labels = await readNodeLabels(ctx, owner.name);
      if (!labels || selectsNode(pool.resource, labels)) return;
    }
    await releaseAffinity(ctx, config, owner, cidr, { mustBeEmpty: true });
  } catch (error) {
    if (!(error instanceof DatastoreError) && !(error instanceof IpamError)) throw error;
    ctx.log.warning("could not give back an empty block", { block: block.spec.cidr, error: error.message });
  }
}
