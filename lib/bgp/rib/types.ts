/** The edges of the tables: peers that routes come from and go to, local routes, and those that follow the best. */
import type { Address } from "../../ip/index.ts";
import type { Family, Negotiated, PathAttributes, Update } from "../wire/index.ts";

/** A prefix as numbers: four words of 32 bits, most significant first, of which IPv4 uses the first; bits after `length` are 0. */
export interface Prefix {
  readonly family: Family;
  readonly length: number;
  readonly words: readonly [number, number, number, number];
}

/** Where a route comes from, as filters ask (BIRD's RTS_…). */
export type Source = "bgp" | "static" | "kernel" | "device";

/** A route as policies see it. The object is one that is used again: copy what is to be kept. */
export interface Route {
  readonly prefix: Prefix;
  readonly source: Source;
  /** The interface of a local route. */
  readonly interface?: string;
  /** The kernel metric of a local route. */
  readonly metric?: number;
  readonly attributes: PathAttributes;
}

/** What a policy made of a route: undefined is rejected; the very same attributes object is accepted as it is. */
export type Verdict = { readonly attributes: PathAttributes; readonly preference?: number } | undefined;

/** A compiled policy. Pure: equal routes have equal verdicts for as long as it is in use. */
export interface Policy {
  decide(route: Route): Verdict;
  /** The verdict depends on attributes and source alone, never on prefix, interface or metric: one answer serves all prefixes with the same attributes. */
  readonly ignoresPrefix: boolean;
  /** Two policies of the same key decide alike: peers that have it share what is sent. */
  readonly key: string;
}

export type PeerId = number;

/** What the tables have to know of a session that is up. */
export interface RibPeer {
  /** For words: `Mesh_10_0_0_2`. */
  readonly name: string;
  readonly type: "ibgp" | "ebgp";
  /** The other's address and router id: the last ties are broken by them. */
  readonly address: Address;
  readonly routerId: number;
  readonly asn: number;
  /** What this side says it is: the AS that is put in front, and looked for in paths that come in. */
  readonly localAsn: number;
  /** Own address on the session, the next hop for `self`; of each family where it is known. */
  readonly localAddress: Partial<Record<Family, Address>>;
  readonly negotiated: Negotiated;
  /** Both know RFC 7313: a table that is sent again gets its begin and end marked. Default false. */
  readonly enhancedRefresh?: boolean;
  readonly nextHop: "auto" | "self" | "keep";
  /** Set: reflected to with this cluster id (RFC 4456). */
  readonly reflectorClient?: number;
  readonly allowedOwnAsns: number;
  readonly importPolicy: Policy;
  readonly exportPolicy: Policy;
  /** Takes a whole message; false: no more until `resume`. Never throws. */
  send(message: Uint8Array): boolean;
}

/** A route of this node. */
export interface LocalRoute {
  readonly source: Exclude<Source, "bgp">;
  readonly interface?: string;
  readonly metric?: number;
  /** Absent: this node is where it ends. */
  readonly nextHop?: Address;
}

/** The best of a prefix, for the kernel. Several next hops are paths that are equally good (ECMP). */
export interface Best {
  readonly prefix: Prefix;
  /** In a fixed order. */
  readonly paths: readonly {
    readonly peer: PeerId;
    readonly attributes: PathAttributes;
    readonly preference: number;
  }[];
}

/** Told in batches of what changed; a prefix that has no route from a peer any more has no paths. The objects are used again: copy what is to be kept. */
export type BestListener = (changes: readonly Best[]) => void;

/** What a next hop costs now: lower is better, and with `Number.POSITIVE_INFINITY` nothing leads there. */
export interface NextHopCost {
  readonly nextHop: Address;
  readonly cost: number;
}

/** Who knows what next hops cost (RFC 4271 9.1.2.1): the kernel's side, by routes that are not of BGP, as the choice would else depend on itself. */
export interface NextHopCosts {
  /** What it costs, see {@link NextHopCost}; from now on {@link Rib.costsChanged} has to be told when that changes. */
  follow(nextHop: Address): number;
  /** It is of no interest any more. */
  unfollow(nextHop: Address): void;
}

export interface RibOptions {
  readonly routerId: number;
  readonly asn: number;
  /** Absent: every next hop can be reached and costs the same. */
  readonly costs?: NextHopCosts;
  /** Most paths of a {@link Best}. Default 64. */
  readonly maxPaths?: number;
  readonly onBest: BestListener;
  /**
   * Routes are collected, and nothing learned is told on nor an End-of-RIB sent, until `endOfRestart`; local routes are sent at once. `choosing`:
   * only the End-of-RIB waits, as this node forwards nothing yet that a choice made too early could change. Default false.
   */
  readonly restarting?: boolean | "choosing";
  /** How long a slice of work may take before other work gets its turn, in milliseconds. Default 10. */
  readonly sliceMs?: number;
}

export interface PeerCounts {
  /** Of each family. */
  readonly received: Readonly<Record<Family, number>>;
  readonly accepted: Readonly<Record<Family, number>>;
  readonly best: Readonly<Record<Family, number>>;
  readonly sent: Readonly<Record<Family, number>>;
}

export interface Rib {
  /** The session is up: from now on it is sent what is best, the end of each table marked (RFC 4724). Stale routes of a peer of that name become its own. */
  addPeer(peer: RibPeer): PeerId;
  update(peer: PeerId, update: Update): void;
  /** The other has told everything: what is stale still goes. */
  endOfRib(peer: PeerId, family: Family): void;
  /** The other wants its table again (RFC 2918), marked by begin and end where both know that (RFC 7313). */
  sendAgain(peer: PeerId, family: Family): void;
  /** The other begins, or has ended, to tell everything again (RFC 7313). */
  refreshBegins(peer: PeerId, family: Family): void;
  refreshEnds(peer: PeerId, family: Family): void;
  /** The session is gone. Of the families named the routes stay, as stale (RFC 4724), until `endOfRib` of the next session or `dropStale`. */
  removePeer(peer: PeerId, keep: readonly Family[]): void;
  dropStale(name: string): void;
  /** Other policies from now on: decides again what came in and what is sent, and sends the differences only. */
  setPolicies(peer: PeerId, importPolicy: Policy, exportPolicy: Policy): void;
  /** The local route of that prefix and source; undefined: none any more. */
  setLocal(prefix: Prefix, source: LocalRoute["source"], route: LocalRoute | undefined): void;
  /** What followed next hops cost from now on. Prefixes that can choose, and have a path over one of them, are decided again, in slices. */
  costsChanged(changes: readonly NextHopCost[]): void;
  /** There is room again. */
  resume(peer: PeerId): void;
  counts(peer: PeerId): PeerCounts;
  /** Every path of a prefix with the reason why it is, or is not, the best, in words. */
  explain(prefix: Prefix): readonly Explained[];
  /** What a peer told, what of it the import policy let in, or what it was sent; for `calico-node bgp routes`. */
  routesOf(peer: PeerId, which: "received" | "accepted" | "sent", family: Family): Iterable<PeerRoute>;
  /** Of a speaker that restarts: it has been waited long enough with choosing, and only the End-of-RIB goes on waiting, as with `choosing`. */
  choose(): void;
  /**
   * Of a speaker that restarts (`restarting`): everybody has told everything, or took too long. From now on best routes are chosen, told to
   * `onBest` and to peers, and peers get their End-of-RIB (RFC 4724 4.1: selection is deferred until then).
   */
  endOfRestart(): void;
  /** Everything there is, in slices. */
  readonly entries: (family: Family) => Iterable<Best>;
  /** Resolves when nothing is left to do: for tests and measurements. */
  settled(): Promise<void>;
  close(): void;
}

export interface PeerRoute {
  readonly prefix: Prefix;
  readonly attributes: PathAttributes;
  readonly stale: boolean;
}

export interface Explained {
  readonly from: string;
  readonly source: Source;
  readonly attributes: PathAttributes;
  readonly best: boolean;
  /** `lower LOCAL_PREF (100, the best has 200)`, `rejected by the import policy`, `AS path has our own AS`. */
  readonly why: string;
  readonly stale: boolean;
}
