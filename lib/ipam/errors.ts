export type IpamErrorCode =
  /** No pool may be used at all: none exists, or none fits. */
  | "IPAM_NO_POOLS"
  /** Pools fit, but none gave an address. */
  | "IPAM_POOL_EXHAUSTED"
  /** A pool that was asked for by name or CIDR does not exist or may not be used. */
  | "IPAM_POOL_NOT_FOUND"
  /** The address asked for is somebody else's. */
  | "IPAM_ADDRESS_IN_USE"
  /** The address or block asked for is in no pool that may be used. */
  | "IPAM_NOT_IN_POOL"
  /** The pool of the address does not allow the use. */
  | "IPAM_WRONG_USE"
  /** The address is in another node's block, and affinity is strict. */
  | "IPAM_STRICT_AFFINITY"
  /** Others kept changing the same objects; trying again later may help. */
  | "IPAM_CONFLICT"
  /** The request itself is wrong. */
  | "IPAM_INVALID"
  /** Settings that contradict each other. */
  | "IPAM_CONFIG"
  /** A block contradicts itself, or cannot be read; nothing is assigned from it until it is repaired. */
  | "IPAM_CORRUPT"
  /** The datastore has to be locked for this. */
  | "IPAM_NOT_LOCKED";

/** Why one pool gave nothing. */
export interface PoolReason {
  readonly pool: string;
  readonly cidr: string;
  readonly reason: string;
}

/** The error of the allocator. `message` says what failed, why, and what would help. */
export class IpamError extends Error {
  override readonly name = "IpamError";
  /** For IPAM_NO_POOLS and IPAM_POOL_EXHAUSTED: why each pool gave nothing. */
  readonly pools: readonly PoolReason[];
  /** Where it is about the pools of one address family. */
  readonly family: 4 | 6 | undefined;
  constructor(
    readonly code: IpamErrorCode,
    message: string,
    options?: { cause?: unknown; pools?: readonly PoolReason[]; family?: 4 | 6 },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.pools = options?.pools ?? [];
    this.family = options?.family;
  }
}
