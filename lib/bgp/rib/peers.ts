/** Those that paths come from: the node itself, by source, and its peers. */
import type { Family } from "../wire/index.ts";
import type { From } from "./export.ts";
import type { Feed } from "./feed.ts";
import type { Importer } from "./import.ts";
import type { LocalRoute, RibPeer } from "./types.ts";

/** Indexes below the first peer's are those of local routes. */
export const LOCAL_SOURCES = ["static", "kernel", "device"] as const;
export const FIRST_PEER = LOCAL_SOURCES.length;

/**
 * How a local route stands among the others, in BIRD's numbers (nest/route.h: DEF_PREF_STATIC, DEF_PREF_DIRECT, DEF_PREF_INHERITED). A learned route
 * (100) so wins over one that the kernel has, and loses to a static one unless upstream's filters raise it to 200 (live migration).
 */
export const LOCAL_PREFERENCE: Readonly<Record<LocalRoute["source"], number>> = {
  static: 200,
  device: 240,
  kernel: 10,
};

/** What a peer has in one family's table. */
export interface Tally {
  received: number;
  accepted: number;
  best: number;
}

export class Peer {
  readonly index: number;
  session: RibPeer;
  /** One object a session. */
  from: From;
  /** False: gone; what is left of it is stale. */
  up = true;
  /** Its session takes no more for now. */
  blocked = false;
  readonly tallies: Readonly<Record<Family, Tally>> = {
    4: { received: 0, accepted: 0, best: 0 },
    6: { received: 0, accepted: 0, best: 0 },
  };
  readonly feeds: Partial<Record<Family, Feed>> = {};
  readonly importers: Partial<Record<Family, Importer>> = {};

  constructor(index: number, session: RibPeer) {
    this.index = index;
    this.session = session;
    this.from = fromOf(session);
  }

  /** The peer is back. */
  begin(session: RibPeer): void {
    this.session = session;
    this.from = fromOf(session);
    this.up = true;
    this.blocked = false;
  }

  /** Nothing keeps its index. */
  get gone(): boolean {
    return !this.up && this.tallies[4].received === 0 && this.tallies[6].received === 0;
  }
}

export const LOCAL: From = { kind: "local", routerId: 0, clusterId: undefined };

function fromOf({ type, routerId, reflectorClient }: RibPeer): From {
  return { kind: type, routerId, clusterId: reflectorClient };
}
