import type { Operation } from "../datastore/index.ts";
import type { Logger } from "../telemetry/index.ts";

/** What an address is for; a pool says in `allowedUses` which it serves. */
export type Use = "Workload" | "Tunnel" | "LoadBalancer";

/** Who blocks are affine to: a node, or a name of its own such as `load-balancer`. */
export interface Owner {
  readonly type: "host" | "virtual";
  readonly name: string;
}

/** What is kept with an allocation; other programs know it by the keys `pod`, `namespace`, `node`, `type`, `timestamp`. */
export type Attributes = Readonly<Record<string, string>>;

export interface IpamOptions {
  /** Milliseconds since 1970; default: the system's clock. */
  readonly clock?: () => number;
  /** From 0 up to 1; default: Math.random. Spreads retries, and the choice among blocks of one address. */
  readonly random?: () => number;
  /** Waits between retries; default: a timer. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
  readonly log?: Logger;
}

/** Operations that belong to the same commit. Called anew on every attempt, so that they may be made from a fresh read. */
export type AlsoWrite = (assigned: Assigned) => readonly Operation[] | Promise<readonly Operation[]>;

export interface AutoAssignRequest {
  /** How many IPv4 addresses; default 0. */
  readonly num4?: number;
  /** How many IPv6 addresses; default 0. */
  readonly num6?: number;
  /** The node that assigns; for `LoadBalancer` the name of the virtual owner, `load-balancer`. */
  readonly host: string;
  /** Under what the addresses can be found and released again. Cut at a carriage return. */
  readonly handle?: string;
  readonly attributes?: Attributes;
  readonly use: Use;
  /** Names or CIDRs of the pools to take IPv4 addresses from: their selectors and assignment mode then do not count. Absent or empty: every pool that fits. */
  readonly pools4?: readonly string[];
  /** The same for IPv6. */
  readonly pools6?: readonly string[];
  /** Labels of the pod's namespace, for `namespaceSelector`; default none. `any`: which pod it is for is not known. */
  readonly namespaceLabels?: Readonly<Record<string, string>> | "any";
  /** Labels of the node, where the caller has read it already. Absent: the Node resource is read; one that does not exist has no labels. */
  readonly nodeLabels?: Readonly<Record<string, string>>;
  /** How many blocks of one address family the host may hold; the smaller of this and the configuration's counts, 20 when both are 0. */
  readonly maxBlocksPerHost?: number;
  /**
   * Count the addresses that the handle already holds towards the numbers asked for, and assign only what is missing:
   * an attempt that was cut short and is made again then leaves nothing behind. The handle must be the caller's alone.
   */
  readonly reuse?: boolean;
  readonly alsoWrite?: AlsoWrite;
}

/** What {@link Ipam.requireRoom} is asked: as {@link AutoAssignRequest}. */
export type RoomRequest = Pick<
  AutoAssignRequest,
  "num4" | "num6" | "host" | "use" | "pools4" | "pools6" | "namespaceLabels" | "maxBlocksPerHost"
>;

/** All that was asked for: a request is granted as a whole or not at all. */
export interface Assigned {
  readonly v4: readonly AssignedAddress[];
  readonly v6: readonly AssignedAddress[];
}

export interface AssignedAddress {
  readonly version: 4 | 6;
  /** Canonical text, without a prefix length. */
  readonly address: string;
  /** CIDR of the block it is from. */
  readonly block: string;
  /** Name of the pool; empty for a reused address whose pool is gone. */
  readonly pool: string;
  /** Guards a later release by address. */
  readonly sequenceNumber: bigint;
}

export interface AssignIpRequest {
  readonly address: string;
  readonly host: string;
  readonly handle?: string;
  readonly attributes?: Attributes;
  /** Absent: any pool will do, whatever it allows. */
  readonly use?: Use;
  /** An address that this very handle holds already is granted again. */
  readonly reuse?: boolean;
  readonly alsoWrite?: AlsoWrite;
}

export interface ReleaseByHandleOptions {
  /** Operations of the same commit, before the release: the deletion of the endpoint. Called anew on every attempt, also when the handle holds nothing. */
  readonly alsoWrite?: () => readonly Operation[] | Promise<readonly Operation[]>;
}

export interface Released {
  /** Addresses that this call released, canonical text. */
  readonly addresses: readonly string[];
  /** Whether the handle existed. */
  readonly found: boolean;
}

/** One address to release. Handle and sequence number make sure that it is still the same allocation. */
export interface ReleaseRequest {
  readonly address: string;
  readonly handle?: string;
  readonly sequenceNumber?: bigint;
}

export interface ReleaseOutcome {
  readonly address: string;
  /**
   * `released`; `not-allocated`: it was free already, or cools down; `refused`: somebody else's by now, because handle
   * or sequence number differ: read again and decide anew; `unreadable`: its block cannot be read, so it stays as it is,
   * and `reason` names the block.
   */
  readonly outcome: "released" | "not-allocated" | "refused" | "unreadable";
  readonly reason?: string;
}

/** What is known of one allocated address. */
export interface Allocation {
  readonly address: string;
  readonly block: string;
  readonly handle?: string;
  readonly attributes: Attributes;
  /** The second owner while an address moves between two pods. */
  readonly alternateAttributes?: Attributes;
  /** Set while the address cools down, RFC 3339; it then belongs to nobody. */
  readonly releasedAt?: string;
  readonly sequenceNumber: bigint;
}

/** What happened to a request for the affinity of a block. */
export interface ClaimResult {
  readonly claimed: readonly string[];
  /** Blocks that belong to another owner. */
  readonly taken: readonly string[];
}

export interface AffinityReleaseResult {
  readonly released: readonly string[];
  /** Blocks whose affinity stays because addresses are in use. */
  readonly notEmpty: readonly string[];
}

/** Cluster-wide settings; a field that is absent in the datastore has its default. */
export interface IpamConfig {
  readonly strictAffinity: boolean;
  readonly autoAllocateBlocks: boolean;
  readonly maxBlocksPerHost: number;
  readonly kubeVirtVMAddressPersistence: "Enabled" | "Disabled";
  readonly ipCooldownSeconds: number;
}

/** Counts of addresses. `inUse` and `reserved` may cover the same address, so only `available` says what can still be assigned. */
export interface Utilisation {
  readonly capacity: bigint;
  /** Allocated, also those that cool down. */
  readonly inUse: bigint;
  readonly reserved: bigint;
  readonly available: bigint;
}

export interface BlockUtilisation extends Utilisation {
  readonly cidr: string;
  /** `host:<node>` or `virtual:<name>`; absent: nobody's. */
  readonly affinity?: string;
  /** Allocated to another node than the one the block is affine to. */
  readonly borrowed: number;
  /** The stored block cannot be read: all of its addresses count as in use. */
  readonly unreadable?: true;
}

export interface PoolUtilisation extends Utilisation {
  readonly name: string;
  readonly cidr: string;
  readonly blocks: readonly BlockUtilisation[];
}

export interface UtilisationReport {
  readonly pools: readonly PoolUtilisation[];
  /** Blocks that no pool contains. */
  readonly orphans: readonly BlockUtilisation[];
  /** Blocks that cannot be read, and why; they count as in use. */
  readonly unreadable: readonly UnreadableBlock[];
}

export interface UnreadableBlock {
  readonly cidr: string;
  /** Names the stored key and what is wrong with it. */
  readonly problem: string;
}

/** One thing that is not as it should be. */
export interface Finding {
  readonly kind: FindingKind;
  /** The address, block, handle or node it is about. */
  readonly subject: string;
  /** One sentence for people. */
  readonly message: string;
  /** What `repair` does about it; absent: nothing, and the message says who can. */
  readonly repair?: string;
  /** What it takes to find the objects again. */
  readonly detail: {
    readonly block?: string;
    readonly handle?: string;
    readonly node?: string;
    readonly owner?: Owner;
    readonly sequenceNumber?: bigint;
  };
}

export type FindingKind =
  /** An address names a handle that does not exist, or one that does not count it. */
  | "handle-missing"
  /** A handle that holds no address. */
  | "handle-empty"
  /** A handle counts more or fewer addresses of a block than the block gives it. */
  | "handle-count"
  /** An affinity whose block does not exist. */
  | "affinity-without-block"
  /** A block is affine to an owner that has no affinity for it, or none that is confirmed. */
  | "block-without-affinity"
  /** An owner has an affinity for a block that belongs to another. */
  | "affinity-of-another"
  /** Two blocks that share addresses. */
  | "blocks-overlap"
  /** An allocated address that no pool contains. */
  | "outside-pools"
  /** An address of a node that does not exist. */
  | "node-gone"
  /** An affinity of a node that does not exist. */
  | "affinity-node-gone"
  /** Allocated, but no endpoint and no node uses it. */
  | "not-in-use"
  /** Used by an endpoint or a node, but not allocated, though a pool contains it. */
  | "not-allocated"
  /** The block contradicts itself. */
  | "block-corrupt"
  /** A stored object that cannot be read; everything else is compared as far as it does not depend on it. */
  | "unreadable";

export interface CheckOptions {
  /** Compare with the addresses of endpoints and nodes as well; default true. */
  readonly endpoints?: boolean;
}

export interface CheckReport {
  readonly findings: readonly Finding[];
  readonly blocks: number;
  readonly allocations: number;
  readonly handles: number;
  readonly affinities: number;
  /** Allocations that cool down: neither in use nor leaked. */
  readonly cooling: number;
}

export interface RepairOptions {
  /** Release the addresses and affinities of nodes that do not exist; default false. */
  readonly goneNodes?: boolean;
  /** Release addresses that nothing uses; default false. Only safe while no pod is being attached, as its endpoint is written last. */
  readonly unused?: boolean;
}

export interface RepairReport {
  readonly repaired: readonly Finding[];
  /** What still is not as it should be afterwards. */
  readonly remaining: readonly Finding[];
}

/** A pool split into smaller ones. */
export interface SplitResult {
  readonly removed: string;
  readonly created: readonly { readonly name: string; readonly cidr: string }[];
}

/** The allocator. All methods throw IpamError, or DatastoreError when the datastore fails. */
export interface Ipam {
  /** Assigns addresses of the host's own blocks, then of a new block, of a reclaimed one, and of others' blocks. */
  autoAssign(request: AutoAssignRequest): Promise<Assigned>;
  /**
   * Whether a host could be given an address of each family of which any are asked for, as things are: throws what autoAssign would. Writes
   * nothing, and costs little unless the pools are nearly full.
   */
  requireRoom(request: RoomRequest): Promise<void>;
  /** Assigns one given address; claims its block for the host when nobody has it. */
  assignIp(request: AssignIpRequest): Promise<AssignedAddress>;
  /** Releases all that a handle holds, and the handle. A handle that does not exist is no error. */
  releaseByHandle(handle: string, options?: ReleaseByHandleOptions): Promise<Released>;
  /** Releases single addresses; one outcome each, in the order asked. */
  releaseAddresses(requests: readonly ReleaseRequest[]): Promise<ReleaseOutcome[]>;
  /** What a handle holds; empty when there is none of that ID. */
  ipsByHandle(handle: string): Promise<Allocation[]>;
  /** What is known of an address; undefined when it is free. */
  allocationOf(address: string): Promise<Allocation | undefined>;
  /** Claims every block of a CIDR of a pool for an owner. */
  claimAffinity(cidr: string, owner: Owner): Promise<ClaimResult>;
  /** Gives up an owner's blocks. Addresses in use stay in use, in a block without owner, unless `mustBeEmpty`. */
  releaseOwner(owner: Owner, options?: { readonly mustBeEmpty?: boolean }): Promise<AffinityReleaseResult>;
  /** Gives up every owner's blocks within a pool's CIDR, or those of one owner. */
  releaseAffinities(
    cidr: string,
    options?: { readonly owner?: Owner; readonly mustBeEmpty?: boolean },
  ): Promise<AffinityReleaseResult>;
  /** The host's first block of each family asked for, claimed when it has none. */
  ensureBlock(request: {
    readonly host: string;
    readonly versions: readonly (4 | 6)[];
    readonly pools4?: readonly string[];
    readonly pools6?: readonly string[];
  }): Promise<{ readonly v4?: string; readonly v6?: string }>;
  /** Frees addresses whose cooldown has passed in blocks that nobody else touches; answers how many. */
  collectCooled(): Promise<number>;
  configuration(): Promise<IpamConfig>;
  /** Changes settings; IPAM_CONFIG when they contradict each other. */
  configure(changes: Partial<IpamConfig>): Promise<IpamConfig>;
  /** How full pools are; names or CIDRs, default all. */
  utilisation(pools?: readonly string[]): Promise<UtilisationReport>;
  /** Looks for contradictions between blocks, affinities, handles, pools, nodes and endpoints. Changes nothing. */
  check(options?: CheckOptions): Promise<CheckReport>;
  /** Checks, repairs what can be repaired without guessing, and checks again. Safe beside running allocators. */
  repair(options?: RepairOptions): Promise<RepairReport>;
  /** Replaces a pool by `parts` (a power of two) equal ones. The datastore must be locked: ClusterInformation's datastoreReady false. */
  splitPool(pool: string, parts: number): Promise<SplitResult>;
}
