/**
 * The decision process (RFC 4271 9.1, with RFC 4456 9 and RFC 5065 5.3): which of a prefix's paths is the best, and which are as good up to the
 * tie-breakers (ECMP, BIRD's `merge paths`). Each step keeps the best of those that the step before left, so that the order in which paths arrived
 * has no say, also where MED (which is compared between paths of one neighbouring AS only) makes "better than" intransitive.
 *
 * Preference, BIRD's notion, comes before all of BGP's own: a policy sets it to let a learned route win over a local one.
 */
import { type Address, compareAddresses, formatAddress } from "../../ip/index.ts";
import type { AttributeSet } from "./attributes.ts";
import { UNREACHABLE } from "./next-hops.ts";

/** A path, as far as it matters here. */
export interface Candidate {
  set: AttributeSet;
  local: boolean;
  ibgp: boolean;
  /** What the next hop costs; 0 of local routes. */
  cost: number;
  /** Of the peer. */
  routerId: number;
  /** Of the peer; undefined for local routes. */
  address: Address | undefined;
  /** RFC 7911; the same peer's paths are told apart by it at last. */
  pathId: number;
}

/** Compared as real routers' defaults and the RFC have it: always between paths of the same neighbouring AS, never between others. */
interface Step {
  /** Lower wins. */
  rank(candidate: Candidate): number;
  /** Between paths of equal group only. */
  group?(candidate: Candidate): number;
  /** The words for a loser. */
  why(loser: Candidate, winner: Candidate): string;
}

/** What decides between paths that are good in different measure. */
const STEPS: readonly Step[] = [
  {
    rank: ({ set }) => -set.preference,
    why: (l, w) => `lower preference (${l.set.preference}, the best has ${w.set.preference})`,
  },
  { rank: ({ local }) => (local ? 0 : 1), why: () => "a local route of the same preference wins" },
  // RFC 4271 9.1.2.1 leaves it out. As with BIRD it stays when there is no other, so that nothing is withdrawn while a link flaps.
  {
    rank: ({ cost }) => (cost === UNREACHABLE ? 1 : 0),
    why: ({ set }) => `its next hop ${formatAddress(set.attributes.nextHop)} cannot be reached`,
  },
  {
    rank: ({ set }) => -set.localPref,
    why: (l, w) => `lower LOCAL_PREF (${l.set.localPref}, the best has ${w.set.localPref})`,
  },
  {
    rank: ({ set }) => set.pathLength,
    why: (l, w) => `longer AS path (${l.set.pathLength}, the best has ${w.set.pathLength})`,
  },
  {
    rank: ({ set }) => set.attributes.origin,
    why: (l, w) => `ORIGIN ${ORIGINS[l.set.attributes.origin]}, the best has ${ORIGINS[w.set.attributes.origin]}`,
  },
  {
    rank: ({ set }) => set.med,
    group: ({ set }) => set.neighbourAs,
    why: (l, w) =>
      `higher MED (${l.set.med}, a path of the same neighbouring AS ${w.set.neighbourAs} has ${w.set.med})`,
  },
  { rank: ({ ibgp }) => (ibgp ? 1 : 0), why: () => "learned by iBGP, the best by eBGP" },
  // RFC 4271 9.1.2.2 (e).
  { rank: ({ cost }) => cost, why: () => "its next hop is farther away" },
];

const ORIGINS = ["IGP", "EGP", "INCOMPLETE"] as const;

/** What decides between paths that are equally good: RFC 4271 9.1.2.2 (f) and (g), with RFC 4456 9. */
const TIES: readonly {
  compare(a: Candidate, b: Candidate): number;
  why(loser: Candidate, winner: Candidate): string;
}[] = [
  {
    compare: (a, b) => originator(a) - originator(b),
    why: (l, w) => `equally good; higher router id (${dotted(originator(l))}, the best has ${dotted(originator(w))})`,
  },
  {
    compare: (a, b) => a.set.attributes.clusterList.length - b.set.attributes.clusterList.length,
    why: () => "equally good; longer CLUSTER_LIST",
  },
  {
    compare: (a, b) => (a.address && b.address ? compareAddresses(a.address, b.address) : 0),
    why: () => "equally good; higher peer address",
  },
  { compare: (a, b) => a.pathId - b.pathId, why: () => "equally good; higher path identifier" },
];

function originator({ set, routerId }: Candidate): number {
  return set.attributes.originatorId ?? routerId;
}

/** The order among equally good paths; 0 only for one and the same path. */
export function compareTies(a: Candidate, b: Candidate): number {
  for (const { compare } of TIES) {
    const order = compare(a, b);
    if (order !== 0) return order;
  }
  return 0;
}

/** Keeps those that are equally good, the best first; in place. */
export function choose(candidates: Candidate[]): void {
  for (const step of STEPS) {
    if (candidates.length < 2) return;
    keep(candidates, step);
  }
  if (candidates.length > 1) candidates.sort(compareTies);
}

function keep(candidates: Candidate[], { rank, group }: Step): void {
  let kept = 0;
  if (!group) {
    let best = Number.POSITIVE_INFINITY;
    for (const candidate of candidates) {
      const mine = rank(candidate);
      if (mine > best) continue;
      if (mine < best) kept = 0;
      best = mine;
      candidates[kept++] = candidate;
    }
    candidates.length = kept;
    return;
  }
  // Judged before anything moves: candidates are compared with each other, not with a running best.
  const losers = candidates.map((candidate) =>
    candidates.some((other) => group(other) === group(candidate) && rank(other) < rank(candidate)),
  );
  for (const [index, candidate] of candidates.slice().entries()) if (!losers[index]) candidates[kept++] = candidate;
  candidates.length = kept;
}

/** Why a path is not the best, in words; undefined: it is. `all` are those that were chosen from, `chosen` what {@link choose} left of them. */
export function whyNot(loser: Candidate, all: readonly Candidate[], chosen: readonly Candidate[]): string | undefined {
  const winner = chosen[0];
  if (!winner || winner === loser) return undefined;
  let left = all.slice();
  for (const step of STEPS) {
    const before = left;
    left = left.slice();
    keep(left, step);
    if (left.includes(loser)) continue;
    const { group, rank } = step;
    const better = group
      ? before.find((other) => group(other) === group(loser) && rank(other) < rank(loser))
      : undefined;
    return step.why(loser, better ?? winner);
  }
  for (const { compare, why } of TIES) if (compare(loser, winner) !== 0) return why(loser, winner);
  return undefined;
}

const dotted = (routerId: number): string => formatAddress({ version: 4, value: BigInt(routerId >>> 0) });
