/** What filters do to attributes. A change remembers its results: the same attributes become the same object every time. */
import type { Community, FilterOperation } from "../model/index.ts";
import { PRIORITY_BASE } from "../model/index.ts";
import type { AsSegment, PathAttributes } from "../wire/index.ts";

export interface Change {
  apply(attributes: PathAttributes): PathAttributes;
}

/** Most ASNs of a segment (RFC 4271 4.3: its length is one octet). */
const SEGMENT_LENGTH = 255;

export function remembered(make: (attributes: PathAttributes) => PathAttributes): Change {
  const made = new WeakMap<PathAttributes, PathAttributes>();
  return {
    apply(attributes) {
      let result = made.get(attributes);
      if (result === undefined) {
        result = make(attributes);
        made.set(attributes, result);
      }
      return result;
    },
  };
}

/** Several, one after the other; undefined where nothing is to be done. */
export function inOrder(changes: readonly Change[]): Change | undefined {
  if (changes.length <= 1) return changes[0];
  return remembered((attributes) => changes.reduce((changed, change) => change.apply(changed), attributes));
}

export function changeOf(operation: FilterOperation): Change {
  switch (operation.kind) {
    case "addCommunity":
      return addCommunity(operation.community);
    case "prependAsPath":
      return remembered((attributes) => ({ ...attributes, asPath: prepend(attributes.asPath, operation.asns) }));
    case "setPriority":
      return setLocalPref((PRIORITY_BASE - operation.priority) >>> 0);
  }
}

export function addCommunity(community: Community): Change {
  return remembered((attributes) => {
    if (hasCommunity(attributes, community)) return attributes;
    return community.length === 2
      ? { ...attributes, communities: [...attributes.communities, standardCommunity(community)] }
      : { ...attributes, largeCommunities: [...attributes.largeCommunities, community] };
  });
}

export function setLocalPref(localPref: number): Change {
  return remembered((attributes) => (attributes.localPref === localPref ? attributes : { ...attributes, localPref }));
}

/** Of a neighbour in another AS it counts nothing (RFC 4271 5.1.5). */
export const dropLocalPref: Change = remembered((attributes) => {
  const { localPref: _, ...rest } = attributes;
  return rest;
});

export function hasCommunity(attributes: PathAttributes, community: Community): boolean {
  if (community.length === 2) return attributes.communities.includes(standardCommunity(community));
  const [asn, first, second] = community;
  return attributes.largeCommunities.some((one) => one[0] === asn && one[1] === first && one[2] === second);
}

/** As one number (RFC 1997). */
export function standardCommunity(community: readonly [number, number]): number {
  return ((community[0] << 16) | community[1]) >>> 0;
}

/** Into the leading sequence as long as there is room in it (RFC 4271 5.1.2). */
function prepend(path: readonly AsSegment[], asns: readonly number[]): readonly AsSegment[] {
  let result = path;
  for (const asn of asns.toReversed()) {
    const [first, ...rest] = result;
    result =
      first?.type === "sequence" && first.asns.length < SEGMENT_LENGTH
        ? [{ type: "sequence", asns: [asn, ...first.asns] }, ...rest]
        : [{ type: "sequence", asns: [asn] }, ...result];
  }
  return result;
}
