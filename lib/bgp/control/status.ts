/** What a speaker says of itself: the same values for logs, readiness, `calico-node bgp` and `calicoctl node status`. Plain JSON. */
import type { Family, PeerKind } from "../model/index.ts";

export type { Family } from "../model/index.ts";

export interface BgpStatus {
  readonly node: string;
  readonly asn: number;
  readonly routerId: string;
  /** `speaker` is ours; `none`: this node does no BGP (CALICO_NETWORKING_BACKEND). */
  readonly backend: "speaker" | "bird" | "none";
  /** Graceful restart: routes of before are kept until all peers have told theirs again. */
  readonly restarting: boolean;
  /** Of the daemon that is not this program: BIRD's. */
  readonly version?: string;
  /** Milliseconds since 1970; absent: it is not known, or not running. */
  readonly startedAt?: number;
  readonly reconfiguredAt?: number;
  readonly peers: readonly PeerStatus[];
  /** What could not be used of the configuration, and what of it the kernel refuses, in words. */
  readonly problems: readonly string[];
  /** What start-up waits for, in words: until then the node is not ready, whatever its sessions are. Absent: nothing. */
  readonly waitsFor?: readonly string[];
  /** Pools whose addresses other nodes cannot reach, in words: the node is ready nevertheless. They are among the problems, too. */
  readonly notServed?: readonly string[];
}

/** A code for programs, words for people, and when: milliseconds since 1970. */
export interface PeerError {
  readonly code: string;
  readonly message: string;
  readonly at: number;
}

export interface PeerStatus {
  readonly name: string;
  readonly kind: PeerKind;
  readonly family: Family;
  readonly address: string;
  readonly port: number;
  readonly asn: number;
  readonly node?: string;
  /** Which resource asked for it. */
  readonly reason: string;
  readonly passive: boolean;
  /** RFC 4271 8.2.2: Idle, Connect, Active, OpenSent, OpenConfirm, Established. */
  readonly state: string;
  /** Milliseconds since 1970. */
  readonly since: number;
  /** The last thing that went wrong, kept after it is over. */
  readonly lastError?: PeerError;
  /** What ended the last session that was Established: kept beside the errors of the attempts to come back, and after those. */
  readonly endedBy?: PeerError;
  readonly localAddress?: string;
  readonly routerId?: string;
  readonly holdTime?: number;
  readonly capabilities?: readonly string[];
  readonly messages: { readonly sent: number; readonly received: number };
  readonly flaps: number;
  readonly routes: {
    readonly received: number;
    readonly accepted: number;
    readonly best: number;
    readonly sent: number;
  };
  readonly bfd?: { readonly state: string; readonly diagnostic: string; readonly detectionTime: number };
}

/** A route as people read it. */
export interface RouteText {
  readonly prefix: string;
  readonly nextHop: string;
  /** Who told it: a peer's name, or `static`, `kernel`, `device`. */
  readonly from: string;
  readonly origin: "IGP" | "EGP" | "incomplete";
  /** `64512 {64513 64514}` */
  readonly asPath: string;
  readonly localPref?: number;
  readonly med?: number;
  /** `64512:100`, `64512:1:2` */
  readonly communities: readonly string[];
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  readonly stale: boolean;
  readonly best?: boolean;
  /** Why it is, or is not, the best. */
  readonly why?: string;
}

/** What peers told, what of it was accepted, what they were sent; and what is best. */
export type WhichRoutes = "received" | "accepted" | "sent" | "best";

/** In the place of a route, as the last line: why there are no more of them though there may be. */
export interface BrokenOff {
  readonly brokenOff: string;
}
