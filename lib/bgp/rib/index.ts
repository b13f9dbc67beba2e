/**
 * The tables of a BGP speaker (RFC 4271 3.2), written for size: Adj-RIB-In, Loc-RIB with the decision process, Adj-RIB-Out.
 *
 *     update() → prefixes and attributes become numbers (prefixes.ts, attributes.ts) → loops and import policy (import.ts) → Adj-RIB-In (adj-rib-in.ts,
 *     paths.ts), and routes of the node itself (local.ts) → prefix queued
 *     costs of next hops are others (next-hops.ts) → prefixes that can choose queued
 *     prefix queued → decided: Loc-RIB (loc-rib.ts, decision.ts) → onBest (best-changes.ts), and each group of peers with equal export behaviour
 *     group (group.ts): export rules and policy (export.ts) → log of changes → packed once (batch.ts) → each member at its own pace (feed.ts)
 *
 * table.ts puts one family's together, upkeep.ts goes over all paths or a peer's (a peer is gone, a policy is another, a next hop
 * costs something else; walk.ts), rib.ts says whose turn it is.
 *
 * What comes in is taken at once, a message at a time; everything else is done in slices between which others get their turn. There is no object for a
 * prefix or a path but at the edges: in `onBest`, `explain`, `routesOf`, `entries`.
 *
 * RFC 4271 5.1 and 9, 4456 (reflection), 1997 (well-known communities), 2918 and 7313 (refresh), 4724 (graceful restart), 5065 5.3 (path length), 7606 7
 * (attributes an eBGP peer has no say in), 7911 (several paths of a peer), 8950 (IPv6 next hops of IPv4 prefixes).
 *
 * A policy sees routes as they are in Loc-RIB: on import after what an eBGP peer has no say in is taken away, on export before AS, next hop and reflection
 * attributes are set, as BIRD 2 does it. A path without LOCAL_PREF counts as 100 and has none.
 *
 * What next hops cost the kernel's side says ({@link NextHopCosts}). RFC 4271 9.1.2 leaves a path whose next hop cannot be reached out of the choice; here,
 * as with BIRD 2, it is behind all others of its preference, before LOCAL_PREF is looked at, and stays, and is told, where there is no other: nothing is
 * withdrawn while a link flaps, and the kernel's side says what is wrong.
 *
 * Known gaps: of a prefix one path is sent, also where the peer would take several. Link-local next hops are not passed on. RFC 4724 4.2 has what is stale for the second time deleted;
 * here it stays until the caller's `dropStale`, so that a second restart during the first cuts nothing. An eBGP next hop on a network shared with a third
 * router is not passed on (RFC 4271 5.1.3 2), `keep` does that.
 */
export { DEFAULT_LOCAL_PREF } from "./attributes.ts";
export { cidrOf, prefixOf } from "./cidr.ts";
export { createRib } from "./rib.ts";
export type * from "./types.ts";
