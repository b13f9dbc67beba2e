import type { Ipam, IpamOptions } from "../types.ts";

export interface NodeAllocatorOptions extends IpamOptions {
  /** The node whose blocks are kept warm. Requests for other hosts are served as by createIpam. */
  readonly node: string;
  /** Its end is that of the allocator, as by close. */
  readonly signal?: AbortSignal;
}

/** The allocator of one node: answers as createIpam's does, and leaves the same objects. */
export interface NodeAllocator extends Ipam {
  /** Resolves once everything that an ordinary request needs is known, also when the allocator is closed before. */
  readonly inSync: Promise<void>;
  /** Stops watching, and waits for what is under way. What is asked later is served as by createIpam; the client stays open. */
  close(): Promise<void>;
}
