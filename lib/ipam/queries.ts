import type { IPAMBlock } from "../api/ipamblock.ts";
import type { IPAMHandle } from "../api/ipamhandle.ts";
import { offsetOf, parseCidr, tryParseAddress } from "../ip/index.ts";
import {
  addressText,
  attributesAt,
  baseOf,
  cleanHandle,
  collectCooled,
  isAllocated,
  ordinalsOfHandle,
  sequenceOf,
} from "./block.ts";
import { type Context, isUnreadable } from "./context.ts";
import { IpamError } from "./errors.ts";
import { cidrOf, findBlock, listBlocks, readAllPools, readBlock, readConfig, readHandle } from "./reads.ts";
import type { Allocation } from "./types.ts";

/** See {@link Ipam.ipsByHandle}. */
export async function ipsByHandle(ctx: Context, handleText: string): Promise<Allocation[]> {
  const id = cleanHandle(handleText);
  const blocks = await blocksOfHandle(ctx, id);
  return blocks.flatMap((block) =>
    block ? ordinalsOfHandle(block.spec, id).map((ordinal) => describeAllocation(block, ordinal)) : [],
  );
}

/** The blocks that a handle counts; all there are when it cannot be read, as it is only their index. Throws INVALID when a block cannot be read either. */
async function blocksOfHandle(ctx: Context, id: string): Promise<(IPAMBlock | undefined)[]> {
  let handle: IPAMHandle | undefined;
  try {
    handle = await readHandle(ctx, id);
  } catch (error) {
    if (!isUnreadable(error)) throw error;
    ctx.log.warning("a stored handle cannot be read; all blocks are", { handle: id, error: error.message });
    return listBlocks(ctx, undefined, (_cidr, problem) => {
      throw problem;
    });
  }
  return Promise.all(Object.keys(handle?.spec.block ?? {}).map((cidr) => readBlock(ctx, parseCidr(cidr))));
}

/** See {@link Ipam.allocationOf}. */
export async function allocationOf(ctx: Context, text: string): Promise<Allocation | undefined> {
  const address = tryParseAddress(text);
  if (!address) throw new IpamError("IPAM_INVALID", `address: "${text}" is not an IP address`);
  const [config, pools] = await Promise.all([readConfig(ctx), readAllPools(ctx)]);
  const block = await findBlock(ctx, pools, address);
  if (!block) return undefined;
  collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
  const ordinal = Number(offsetOf(baseOf(cidrOf(block)), address));
  return isAllocated(block.spec, ordinal) ? describeAllocation(block, ordinal) : undefined;
}

/** An allocated ordinal as the door describes it. */
export function describeAllocation(block: IPAMBlock, ordinal: number): Allocation {
  const held = attributesAt(block.spec, ordinal);
  return {
    address: addressText(cidrOf(block), ordinal),
    block: block.spec.cidr,
    ...(held?.handle_id === undefined ? {} : { handle: cleanHandle(held.handle_id) }),
    attributes: held?.secondary ?? {},
    ...(held?.alternateOwnerAttrs === undefined ? {} : { alternateAttributes: held.alternateOwnerAttrs }),
    ...(held?.releasedAt === undefined ? {} : { releasedAt: held.releasedAt }),
    sequenceNumber: sequenceOf(block.spec, ordinal),
  };
}
