import type { IPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import type { Operation } from "../datastore/index.ts";
import { type Address, formatAddress, offsetOf, parseCidr, tryParseAddress } from "../ip/index.ts";
import { attributesAt, baseOf, cleanHandle, isAllocated, release, sequenceOf } from "./block.ts";
import { type Context, commit, deleteOp, isUnreadable, retrying, updateOp } from "./context.ts";
import { lowerHandle } from "./counts.ts";
import { IpamError } from "./errors.ts";
import { decrement, holdsNothing } from "./handle.ts";
import { cidrOf, findBlock, readAllPools, readBlock, readConfig, readHandle } from "./reads.ts";
import { blockOperation, keepConsistent } from "./release.ts";
import type { IpamConfig, ReleaseOutcome, ReleaseRequest } from "./types.ts";

/** See {@link Ipam.releaseAddresses}. */
export async function releaseAddresses(ctx: Context, requests: readonly ReleaseRequest[]): Promise<ReleaseOutcome[]> {
  const parsed = requests.map((request) => {
    const address = tryParseAddress(request.address);
    if (!address) throw new IpamError("IPAM_INVALID", `address: "${request.address}" is not an IP address`);
    return { request, address };
  });
  const [config, pools] = await Promise.all([readConfig(ctx, true), readAllPools(ctx)]);
  const outcomes = new Map<ReleaseRequest, ReleaseOutcome>();
  const blocks = await Promise.all(
    parsed.map(({ request, address }) =>
      findBlock(ctx, pools, address).catch((error: unknown) => {
        outcomes.set(request, unreadable(ctx, formatAddress(address), error));
        return undefined;
      }),
    ),
  );
  const byBlock = new Map<string, Wanted[]>();
  for (const [index, { request, address }] of parsed.entries()) {
    const block = blocks[index];
    if (outcomes.has(request)) continue;
    if (!block) outcomes.set(request, { address: formatAddress(address), outcome: "not-allocated" });
    else byBlock.set(block.spec.cidr, [...(byBlock.get(block.spec.cidr) ?? []), { request, address }]);
  }
  const known = new Map(blocks.flatMap((block) => (block ? [[block.spec.cidr, block] as const] : [])));
  for (const [cidr, wanted] of byBlock) {
    try {
      for (const [request, outcome] of await releaseFromBlock(ctx, config, cidr, wanted, known.get(cidr)))
        outcomes.set(request, outcome);
    } catch (error) {
      // It became so since it was found.
      for (const { request, address } of wanted) outcomes.set(request, unreadable(ctx, formatAddress(address), error));
    }
  }
  return requests.map((request) => outcomes.get(request)!);
}

export interface Wanted {
  readonly request: ReleaseRequest;
  readonly address: Address;
}

/** What becomes of an address whose block cannot be read; any other error goes on. */
function unreadable(ctx: Context, address: string, error: unknown): ReleaseOutcome {
  if (!isUnreadable(error)) throw error;
  ctx.log.warning("an address stays allocated until its block is mended", { address, error: error.message });
  return { address, outcome: "unreadable", reason: error.message };
}

/** The handle of addresses that are released. One that cannot be read is left to repair: it is only the blocks' index. */
async function readCounts(ctx: Context, id: string): Promise<IPAMHandle | undefined> {
  try {
    return await readHandle(ctx, id);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    ctx.log.warning("a stored handle cannot be read, and stays as it is", { handle: id, error: error.message });
    return undefined;
  }
}

/** Releases addresses of one block; the block is written before the handles' counts, where that is not one commit. */
async function releaseFromBlock(
  ctx: Context,
  config: IpamConfig,
  cidr: string,
  wanted: readonly Wanted[],
  known: IPAMBlock | undefined,
): Promise<Map<ReleaseRequest, ReleaseOutcome>> {
  let block = known;
  return retrying(ctx, `release addresses of block ${cidr}`, async (attempt) => {
    if (attempt > 0) block = await readBlock(ctx, parseCidr(cidr));
    const decided = decideRelease(block, wanted);
    if (!block || decided.ordinals.length === 0) return decided.outcomes;
    const handles = await Promise.all([...decided.counts.keys()].map((id) => readCounts(ctx, id)));
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
    await keepConsistent(ctx, config, block);
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
export function decideRelease(block: IPAMBlock | undefined, wanted: readonly Wanted[]) {
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
