/** Routes between BGP and the kernel's main table: what is learned goes in, what is local comes out. */
import type { Address, Cidr } from "../../ip/index.ts";

/** A route that BGP found best, as it shall be in the kernel. */
export interface LearnedRoute {
  readonly destination: Cidr;
  /** BGP next hops: not necessarily on a network of the node; they are resolved to gateways here, and again when routes change. */
  readonly nextHops: readonly Address[];
  readonly metric: number;
  /** It wins over a local workload's route of the same prefix (live migration: the workload is moving away). */
  readonly overridesLocal: boolean;
}

/** A route in the kernel that is not of BGP's making. */
export interface KernelRoute {
  readonly destination: Cidr;
  /** RTA_PRIORITY; 0 is IPv4's default. Of a connected one it says nothing (0): BIRD's `direct` routes have no `krt_metric`, so leave it out. */
  readonly metric: number;
  readonly protocol: number;
  /** Absent: blackhole and the like, and routes with several next hops. */
  readonly interface?: string;
  readonly gateway?: Address;
  /** Of the interface's own network, as its addresses say: BIRD's protocol `direct`. All others are of `learn`. */
  readonly connected: boolean;
}

/**
 * A connected route and a learnt one of the same destination are told of apart, as they are two sources to BGP: `connected` of `was` and `now` is
 * the same. Of each kind a destination has one.
 */
export interface LocalChange {
  readonly destination: Cidr;
  readonly was?: KernelRoute;
  readonly now?: KernelRoute;
}

/**
 * What a next hop costs: 0 on a connected network of the node; 1 behind a route of another, or a static one; `Number.POSITIVE_INFINITY` where there is
 * none but learned ones, where that is a blackhole and the like, or where the address is the node's own.
 */
export interface NextHopCost {
  readonly nextHop: Address;
  readonly cost: number;
}

export interface KernelOptions {
  /** Routes that are ours to make, change and remove carry it. BIRD's, 12: what it left is taken over. */
  readonly protocol: number;
  /** The slow comparison as a whole, in milliseconds. */
  readonly checkInterval: number;
  /** Local routes of others: what came, what changed, what went (`now` absent). The first call has all there are. */
  onLocal(changes: readonly LocalChange[]): void;
  /** Followed next hops ({@link KernelTable.follow}) that cost something else now. */
  onCosts?(changes: readonly NextHopCost[]): void;
  /** Next hops nothing leads to, and what could not be programmed, in words; again when that changes. */
  onProblems(problems: readonly string[]): void;
}

export interface KernelTable {
  /** Whether the kernel had routes of ours when the table was opened: those of a process before. */
  readonly inherited: boolean;
  /** Destinations that changed; undefined removes. Differences are programmed together soon after. */
  setLearned(destination: Cidr, route: LearnedRoute | undefined): void;
  /**
   * Routes this node keeps itself: blackholes of its blocks and services, and routes to peers behind a gateway. All of them each time, and all
   * are programmed: what is not to be (`notProgrammed` of the model, upstream's `calico_kernel_programming`) the caller leaves out. Metric 0,
   * as BIRD's statics have (IPv6: the kernel makes it 1024). A gateway has to be on a network of the node. They go before learned ones.
   */
  setStatic(routes: readonly StaticRoute[]): void;
  /** What a next hop costs; `onCosts` tells when that changes, until {@link unfollow}. Once each. */
  follow(nextHop: Address): number;
  unfollow(nextHop: Address): void;
  /** Until then nothing of ours is removed from the kernel: a restart must not withdraw what will be learned again (RFC 4724). */
  endOfRestart(): void;
  /** Resolves when everything that was asked for is in the kernel, or is a problem. What the kernel has yet to tell of does not count. */
  settled(): Promise<void>;
  /** Stops; the kernel's routes stay. */
  close(): Promise<void>;
}

export interface StaticRoute {
  readonly destination: Cidr;
  /** Absent: blackhole. */
  readonly via?: Address;
}
