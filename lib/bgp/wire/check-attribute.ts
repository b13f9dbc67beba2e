/**
 * One path attribute under RFC 7606: is it as its specification says, and what becomes of the message if not. Three answers, weakest first:
 *
 * - `ignore`: the attribute has no meaning on this session, and is left out (7606 7.5, 7.9, 7.10: attributes of iBGP from an eBGP peer; RFC 6793 4.1
 *   and 6). Not even its form matters.
 * - `discard`: left out, too, because it is malformed and cannot influence which route is taken (7606 3 f: ATOMIC_AGGREGATE, AGGREGATOR).
 * - `withdraw`: the message's prefixes count as withdrawn (7606 2).
 *
 * What ends the session concerns the message's frame, MP_REACH_NLRI and MP_UNREACH_NLRI alone: see `scan.ts`. A well-known attribute that is not
 * known here withdraws: RFC 7606 leaves RFC 4271's reset for it unchanged, but it is far more probably an optional attribute whose flags were
 * damaged (3 c), and no sender is made to repeat it by losing the session. BIRD does the same.
 */
import { asPathFault } from "./as-path.ts";
import { ATTRIBUTE, FLAG, KIND_BITS, KINDS } from "./attribute-types.ts";
import type { AttributeLimits } from "./attributes.ts";
import { u32 } from "./bytes.ts";

export interface AttributeSession {
  readonly external: boolean;
  readonly fourOctetAsn: boolean;
  readonly limits: AttributeLimits;
}

export interface AttributeFault {
  readonly action: "ignore" | "discard" | "withdraw";
  /** What is wrong, to be put behind the attribute's name. */
  readonly words: string;
}

const FROM_OUTSIDE: AttributeFault = { action: "ignore", words: "from an eBGP peer" };
const FROM_FOUR_OCTETS: AttributeFault = { action: "ignore", words: "from a peer that speaks four-octet AS numbers" };

const withdraw = (words: string): AttributeFault => ({ action: "withdraw", words });
const discard = (words: string): AttributeFault => ({ action: "discard", words });

/** Undefined: as it should be. The value lies in `bytes` between `from` and `to`. MP_REACH_NLRI and MP_UNREACH_NLRI are not for here. */
export function attributeFault(
  flags: number,
  type: number,
  bytes: Uint8Array,
  from: number,
  to: number,
  session: AttributeSession,
): AttributeFault | undefined {
  const length = to - from;
  switch (type) {
    case ATTRIBUTE.LOCAL_PREF:
    case ATTRIBUTE.ORIGINATOR_ID:
    case ATTRIBUTE.CLUSTER_LIST:
      if (session.external) return FROM_OUTSIDE;
      break;
    case ATTRIBUTE.AS4_PATH:
    case ATTRIBUTE.AS4_AGGREGATOR:
      if (session.fourOctetAsn) return FROM_FOUR_OCTETS;
      break;
  }

  const kind = KINDS[type]!;
  if (kind < 0) {
    if ((flags & FLAG.OPTIONAL) === 0) return withdraw("which says it is well-known, and is not");
    return undefined;
  }
  if ((flags & KIND_BITS) !== kind) {
    const words = `flags 0x${flags.toString(16).padStart(2, "0")}`;
    return hasNoSay(type) ? discard(words) : withdraw(words);
  }

  switch (type) {
    case ATTRIBUTE.ORIGIN:
      if (length !== 1) return withdraw(wrongLength(length));
      return bytes[from]! > 2 ? withdraw(`value ${bytes[from]}`) : undefined;
    case ATTRIBUTE.AS_PATH: {
      const size = session.fourOctetAsn ? 4 : 2;
      const words = asPathFault(bytes, from, to, size, !session.external, session.limits.asPathLength);
      return words === undefined ? undefined : withdraw(words);
    }
    case ATTRIBUTE.NEXT_HOP:
      if (length !== 4) return withdraw(wrongLength(length));
      return isHostV4(bytes, from) ? undefined : withdraw("not the address of a host");
    case ATTRIBUTE.MULTI_EXIT_DISC:
    case ATTRIBUTE.LOCAL_PREF:
    case ATTRIBUTE.ORIGINATOR_ID:
      return length === 4 ? undefined : withdraw(wrongLength(length));
    case ATTRIBUTE.ATOMIC_AGGREGATE:
      return length === 0 ? undefined : discard(wrongLength(length));
    case ATTRIBUTE.AGGREGATOR:
      if (length !== (session.fourOctetAsn ? 8 : 6)) return discard(wrongLength(length));
      // RFC 7607 2.
      return (session.fourOctetAsn ? u32(bytes, from) : (bytes[from]! << 8) | bytes[from + 1]!) === 0
        ? discard("AS 0")
        : undefined;
    case ATTRIBUTE.AS4_AGGREGATOR:
      if (length !== 8) return discard(wrongLength(length));
      return u32(bytes, from) === 0 ? discard("AS 0") : undefined;
    case ATTRIBUTE.AS4_PATH: {
      if (length === 0) return discard(wrongLength(length));
      // RFC 6793 6: segments of confederations are left out of it later, the rest of it counts.
      const words = asPathFault(bytes, from, to, 4, true, session.limits.asPathLength);
      return words === undefined ? undefined : discard(words);
    }
    case ATTRIBUTE.CLUSTER_LIST:
      return list(length, 4, session.limits.clusterList);
    case ATTRIBUTE.COMMUNITIES:
      return list(length, 4, session.limits.communities);
    case ATTRIBUTE.EXTENDED_COMMUNITIES:
      return list(length, 8, session.limits.extendedCommunities);
    case ATTRIBUTE.LARGE_COMMUNITIES:
      return list(length, 12, session.limits.largeCommunities);
    default:
      return undefined;
  }
}

/** RFC 7606 3 f and RFC 6793 6: attributes that can be left out without changing where packets go. */
function hasNoSay(type: number): boolean {
  return (
    type === ATTRIBUTE.ATOMIC_AGGREGATE ||
    type === ATTRIBUTE.AGGREGATOR ||
    type === ATTRIBUTE.AS4_PATH ||
    type === ATTRIBUTE.AS4_AGGREGATOR
  );
}

/** RFC 7606 7.8, 7.10, 7.14, RFC 8092 5: some, and whole ones. */
function list(length: number, each: number, most: number): AttributeFault | undefined {
  if (length === 0 || length % each !== 0) return withdraw(wrongLength(length));
  return length / each > most ? withdraw(`${length / each} of them, of ${most} at most`) : undefined;
}

function wrongLength(length: number): string {
  return `length ${length}`;
}

/** RFC 4271 6.3 wants the address of a host: not 0.0.0.0, not multicast, not broadcast. */
export function isHostV4(bytes: Uint8Array, at: number): boolean {
  const address = u32(bytes, at);
  return address !== 0 && address >>> 28 !== 0xe && address !== 0xffffffff;
}

/** Not `::`, not multicast (RFC 4291 2.5.2, 2.7). */
export function isHostV6(bytes: Uint8Array, at: number): boolean {
  if (bytes[at] === 0xff) return false;
  for (let i = at; i < at + 16; i++) if (bytes[i] !== 0) return true;
  return false;
}
