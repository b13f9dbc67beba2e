import type { BlockAffinity } from "../api/blockaffinity.ts";
import type { Owner } from "./types.ts";

/**
 * An affinity goes through pending (the owner wants the block) and confirmed (the block is written and names the
 * owner) to pendingDeletion (the owner gives it up). Only a confirmed affinity whose block names the same owner counts;
 * everything else is a claim or a release that was cut short, and is taken up again by whoever meets it.
 */

/** How a block names its owner: `host:node1`. */
export function ownerText(owner: Owner): string {
  return `${owner.type}:${owner.name}`;
}

/** The owner that a block names. */
export function parseOwner(text: string | undefined): Owner | undefined {
  if (text?.startsWith("host:")) return { type: "host", name: text.slice(5) };
  if (text?.startsWith("virtual:")) return { type: "virtual", name: text.slice(8) };
  return undefined;
}

/** The owner an affinity is of. */
export function ownerOf(affinity: BlockAffinity): Owner {
  return { type: affinity.spec.type, name: affinity.spec.node };
}

/** How long a block must have been its owner's before another may reclaim it: two nodes must not take it from each other in turn. */
export const RECLAIM_AGE_MS = 60_000;

/** Whether a block that was claimed at `claimTime` (RFC 3339; absent in old blocks) may be reclaimed. */
export function isOldEnough(claimTime: string | undefined, now: number): boolean {
  const claimed = claimTime === undefined ? Number.NaN : Date.parse(claimTime);
  return !(now - claimed < RECLAIM_AGE_MS);
}

/** Blocks that one host may hold: the smaller of the request's limit and the configuration's, and 20 when there is neither. */
export function blockLimit(requested: number, configured: number): number {
  if (requested > 0 && configured > 0) return Math.min(requested, configured);
  return Math.max(requested, configured, 0) || 20;
}
