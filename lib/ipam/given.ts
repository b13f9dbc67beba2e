import { type Cidr, cidrFromAddress, formatAddress, offsetOf, tryParseAddress } from "../ip/index.ts";
import { ownerText, parseOwner } from "./affinity.ts";
import { allocateOrdinal, attributesAt, baseOf, cleanHandle, collectCooled } from "./block.ts";
import { claimBlock } from "./claim.ts";
import { backOff, type Context, isRace, RETRIES, tooManyConflicts } from "./context.ts";
import { IpamError } from "./errors.ts";
import { describePortion, ExtraRefused, type Portion, writeGrant } from "./grant.ts";
import { disabledReason, poolOf, wrongUse } from "./pools.ts";
import { cidrOf, findBlock, findOverlap, readAllPools, readBlock, readConfig, readHandle } from "./reads.ts";
import type { AssignedAddress, AssignIpRequest, Owner } from "./types.ts";

/** See {@link Ipam.assignIp}. Reservations and selectors do not apply to an address that is asked for by name. */
export async function assignIp(ctx: Context, request: AssignIpRequest): Promise<AssignedAddress> {
  const address = tryParseAddress(request.address);
  if (!address) throw new IpamError("IPAM_INVALID", `address: "${request.address}" is not an IP address`);
  if (request.host === "") throw new IpamError("IPAM_INVALID", "host: must name the node that assigns");
  const text = formatAddress(address);
  const owner: Owner = { type: request.use === "LoadBalancer" ? "virtual" : "host", name: request.host };
  const handleId = request.handle === undefined ? undefined : cleanHandle(request.handle);
  const readOwnHandle = () => (handleId === undefined ? undefined : readHandle(ctx, handleId));
  const [config, allPools, firstHandle] = await Promise.all([readConfig(ctx), readAllPools(ctx), readOwnHandle()]);

  const pool = poolOf(allPools, address);
  const problem = !pool
    ? "is in no IP pool"
    : disabledReason(pool) && `is in pool ${pool.name}, which ${disabledReason(pool)}`;
  if (!pool || problem)
    throw new IpamError("IPAM_NOT_IN_POOL", `${text} ${problem}; 'calicoctl get ippools -o wide' shows the pools`);
  const misuse = request.use === undefined ? undefined : wrongUse(pool, request.use);
  if (misuse !== undefined) throw new IpamError("IPAM_WRONG_USE", `${text} is in pool ${pool.name}, which ${misuse}`);

  let handle = firstHandle;
  let unexplained = 0;
  let block = await findBlock(ctx, allPools, address);
  for (let attempt = 0; ; attempt++) {
    if (!block) {
      const cidr = cidrFromAddress(address, pool.blockSize);
      await refuseOverlap(ctx, cidr, text);
      block = await claimBlock(ctx, owner, cidr);
      if (!block) {
        block = await readBlock(ctx, cidr);
        if (!block && attempt >= RETRIES) throw tooManyConflicts(`assign ${text}`, undefined);
        if (!block) continue;
      }
    }
    collectCooled(block.spec, config.ipCooldownSeconds, ctx.now());
    const { spec } = block;
    if (config.strictAffinity && spec.affinity !== ownerText(owner)) {
      const whose = parseOwner(spec.affinity)?.name;
      throw new IpamError(
        "IPAM_STRICT_AFFINITY",
        `${text} is in block ${spec.cidr}, which ${whose ? `belongs to ${whose}` : "has no owner"}, and strictAffinity is on: ${request.host} may only assign from its own blocks`,
      );
    }
    const ordinal = Number(offsetOf(baseOf(cidrOf(block)), address));
    const current = attributesAt(spec, ordinal);
    const isOurs = current?.handle_id !== undefined && cleanHandle(current.handle_id) === handleId;
    let portion: Portion;
    if (request.reuse && isOurs) {
      portion = { block, fresh: [], held: [ordinal], pool: pool.name };
    } else if (allocateOrdinal(spec, ordinal, handleId, request.attributes ?? {})) {
      portion = { block, fresh: [ordinal], held: [], pool: pool.name };
    } else {
      throw inUse(text, spec.cidr, current);
    }
    const assigned = describePortion(portion)[0]!;
    const both = { v4: address.version === 4 ? [assigned] : [], v6: address.version === 6 ? [assigned] : [] };
    const before = block.metadata.resourceVersion;
    try {
      const extra = (await request.alsoWrite?.(both)) ?? [];
      const portions = portion.fresh.length > 0 || extra.length > 0 ? [portion] : [];
      await writeGrant(ctx, { portions, handleId, handle, extra });
      return assigned;
    } catch (error) {
      const refused = error instanceof ExtraRefused ? error.cause : error;
      if (!isRace(refused)) throw error;
      if (attempt + 1 >= RETRIES) throw tooManyConflicts(`assign ${text}`, refused);
      await backOff(ctx, attempt);
      const [handleAgain, blockAgain] = await Promise.all([readOwnHandle(), readBlock(ctx, cidrOf(block))]);
      const same =
        handleAgain?.metadata.resourceVersion === handle?.metadata.resourceVersion &&
        blockAgain?.metadata.resourceVersion === before;
      if ((error instanceof ExtraRefused || same) && request.alsoWrite && ++unexplained > 5) throw refused;
      handle = handleAgain;
      block = blockAgain;
    }
  }
}

function inUse(
  address: string,
  block: string,
  current: { handle_id?: string; releasedAt?: string } | undefined,
): IpamError {
  if (current?.releasedAt !== undefined)
    return new IpamError(
      "IPAM_ADDRESS_IN_USE",
      `${address} was released at ${current.releasedAt} and still cools down (ipCooldownSeconds); try again later`,
    );
  const by = current?.handle_id === undefined ? "" : ` by ${current.handle_id}`;
  return new IpamError(
    "IPAM_ADDRESS_IN_USE",
    `${address} (block ${block}) is in use${by}; 'calico-ipam show --ip=${address}' says by whom`,
  );
}

/** A block may not be made where one of another size lies, even when that does not hold the address. */
async function refuseOverlap(ctx: Context, cidr: Cidr, address: string): Promise<void> {
  let hidden: Error | undefined;
  const other = await findOverlap(ctx, cidr, (error) => {
    hidden = error;
  });
  if (hidden)
    throw new IpamError(
      "IPAM_CORRUPT",
      `${address} would need a block that shares addresses with block ${other}, which cannot be read: ${hidden.message}`,
      { cause: hidden },
    );
  if (other !== undefined)
    throw new IpamError(
      "IPAM_ADDRESS_IN_USE",
      `${address} would need a block that shares addresses with block ${other}, made when the pool had another block size; release that one first`,
    );
}
