import type { Address, Cidr } from "../ip/index.ts";
import type { Namespace } from "../sys/index.ts";

/** One route inside the pod: always through the host, by 169.254.1.1 or the host end's link-local address. */
export interface PodRoute {
  readonly destination: Cidr;
}

/** What a pod's interface shall be. Pure data: made from an assignment, used again by CHECK. */
export interface PodInterfacePlan {
  /** Path of the pod's network namespace. */
  readonly netns: string;
  /** Name inside the pod, usually eth0. At most 15 bytes. */
  readonly containerInterface: string;
  /** Name on the host, e.g. cali1234567890a. At most 15 bytes. */
  readonly hostInterface: string;
  /**
   * Who owns the host interface: opaque text, compared for equality, kept in the interface's alias; at most 240 bytes.
   * The same owner replaces what it left over; another owner's interface is refused.
   */
  readonly owner: string;
  readonly mtu: number;
  /** MAC of the pod's end as six bytes; a random local one when absent. */
  readonly mac?: Uint8Array;
  /** Transmit and receive queues of both ends. Upstream's default is 1. */
  readonly numQueues: number;
  /** "netkit" falls back to "veth" on a kernel that lacks it. */
  readonly deviceType: "veth" | "netkit";
  /** The pod's addresses: each is set as /32 or /128. */
  readonly addresses: readonly Address[];
  /**
   * What the pod reaches through the host, usually 0.0.0.0/0 and ::/0: routes via 169.254.1.1, or the host end's link-local
   * address. Those of an IP version that the pod has no address of are left out, as upstream does.
   */
  readonly routes: readonly PodRoute[];
  /** Whether the host gets its /32 and /128 routes to the pod. False for the target of a live migration. */
  readonly hostRoutes: boolean;
  /** container_settings.allow_ip_forwarding */
  readonly allowIpForwarding: boolean;
  /** MAC of the host's end; ee:ee:ee:ee:ee:ee when absent. The kernel's choice replaces one that it refuses. */
  readonly hostMac?: Uint8Array;
  /** The namespace of the host's end; the calling thread's own when absent. */
  readonly hostNetns?: Namespace;
}

/** What {@link createPodInterface} made. */
export interface PodInterface {
  readonly deviceType: "veth" | "netkit";
  readonly containerInterface: string;
  readonly containerIndex: number;
  /** "aa:bb:…", lower case: what belongs in the CNI result and the WorkloadEndpoint. */
  readonly containerMac: string;
  readonly hostInterface: string;
  readonly hostIndex: number;
  readonly hostMac: string;
  /** What the caller should log: a fallback that was taken, a setting that could not be made. One sentence each. */
  readonly notes: readonly string[];
}

/** What to take down. Idempotent: succeeds when all of it is already gone. */
export interface DeletePlan {
  /** Path of the pod's namespace as the runtime gave it; absent, gone or dead is all right. */
  readonly netns?: string;
  readonly containerInterface: string;
  readonly hostInterface: string;
  /** The same text as in {@link PodInterfacePlan.owner}; "" for an interface whose maker died before it was marked. */
  readonly owner: string;
  /**
   * The host networks ("10.0.0.1/32") that a record of this owner gives to the interface. One without any mark is then taken for
   * the owner's when its maker died early, or when the host routes one of these through it: another Calico made it.
   */
  readonly recorded?: readonly string[];
  /**
   * A file that may be locked while interfaces are deleted, so that deletions that arrive together share the kernel's
   * grace periods (about 30 ms each otherwise). Its folder must exist. Without it each deletion is the kernel's own.
   */
  readonly lockFile?: string;
  /** How long to wait for the lock, in milliseconds, before deleting alone; 10 000 when absent. */
  readonly lockTimeout?: number;
  readonly hostNetns?: Namespace;
}

export interface DeleteOutcome {
  /**
   * "deleted": this call, or one that it shared the work with, removed the interface. "absent": nothing was there.
   * "foreign": an interface of that name is there and belongs to another owner; it was left alone.
   */
  readonly result: "deleted" | "absent" | "foreign";
  /** Whose the interface is that was left alone; absent when it carries no mark. */
  readonly owner?: string;
  /** One sentence each; says whose the interface is when "foreign". */
  readonly notes: readonly string[];
  /** How many deletions this call asked of the kernel: 0 when another one's covered it. */
  readonly kernelDeletions: number;
}

/** One thing that is not as planned. */
export interface Finding {
  /** Where: "pod" or "host". */
  readonly side: "pod" | "host";
  /** What is wrong, in field words: "interface", "mac", "mtu", "state", "owner", "address", "route", "sysctl", "peer", "namespace". */
  readonly kind:
    | "namespace"
    | "interface"
    | "owner"
    | "peer"
    | "mac"
    | "mtu"
    | "state"
    | "address"
    | "route"
    | "sysctl";
  /** One sentence: what, where, found, expected. */
  readonly message: string;
}

/** A host interface that carries an owner mark. */
export interface ListedPodInterface {
  readonly name: string;
  readonly index: number;
  /** "" when its maker died before it was marked: then only records can tell whose it was. */
  readonly owner: string;
  readonly up: boolean;
  /** A deletion has been asked for and is under way, or was cut short. */
  readonly condemned: boolean;
}

export type VethErrorCode =
  /** The plan itself is wrong: a name over 15 bytes, an MTU that no interface can have, no address. */
  | "INVALID"
  /** The host interface's name is taken by an interface that is not this owner's. */
  | "HOST_INTERFACE_TAKEN"
  /** The pod has an interface of that name already, which is not this owner's. */
  | "CONTAINER_INTERFACE_TAKEN"
  /** The namespace path does not exist, is no network namespace, or is the host's own. */
  | "NETNS"
  /** An IPv6 address is asked for and this kernel has no IPv6. */
  | "NO_IPV6"
  /** A route to the pod's address exists through another interface. */
  | "ROUTE_CONFLICT"
  /** The kernel refused a step; `cause` is the NetlinkError or SysError with the errno. */
  | "KERNEL";

/** The one error of this folder. The message says what was attempted, on which object, and what would help. */
export class VethError extends Error {
  override readonly name = "VethError";
  constructor(
    readonly code: VethErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
