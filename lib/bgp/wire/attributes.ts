/** From an attribute key, or attributes that have been checked, to their meaning. */
import type { Address } from "../../ip/index.ts";
import { decodeAsPath } from "./as-path.ts";
import { ATTRIBUTE, attributeName, FLAG, KINDS, OPTIONAL_TRANSITIVE } from "./attribute-types.ts";
import { u16, u32 } from "./bytes.ts";
import type { AsSegment, PathAttributes } from "./types.ts";

/** How much of what may come without end is taken. A route that has more counts as withdrawn; the session stays. */
export interface AttributeLimits {
  /** AS numbers in a path. */
  readonly asPathLength: number;
  readonly communities: number;
  readonly extendedCommunities: number;
  readonly largeCommunities: number;
  readonly clusterList: number;
  /** Bytes of all attributes together that are not known here. */
  readonly unknownBytes: number;
}

/**
 * What a message of 4096 bytes could hold, give or take: more comes only in extended messages (RFC 8654), and could not be passed on to a peer
 * without them.
 */
export const DEFAULT_LIMITS: AttributeLimits = {
  asPathLength: 1000,
  communities: 1000,
  extendedCommunities: 500,
  largeCommunities: 330,
  clusterList: 1000,
  unknownBytes: 4000,
};

/**
 * The attributes that `key` stands for: an Update's `attributesKey`, or a copy. Pure, and the same for every session. Bytes of other origin are
 * for {@link decodeUpdate}; here they give a RangeError or nonsense.
 */
export function decodeAttributes(key: Uint8Array): PathAttributes {
  let origin: PathAttributes["origin"] = 2;
  let asPath: readonly AsSegment[] = [];
  let nextHop: Address | undefined;
  let linkLocalNextHop: Address | undefined;
  let med: number | undefined;
  let localPref: number | undefined;
  let atomicAggregate = false;
  let aggregator: PathAttributes["aggregator"];
  let communities: readonly number[] = [];
  let largeCommunities: PathAttributes["largeCommunities"] = [];
  let extendedCommunities: readonly Uint8Array[] = [];
  let originatorId: number | undefined;
  let clusterList: readonly number[] = [];
  const unknown: { flags: number; type: number; value: Uint8Array }[] = [];

  for (let at = 0; at < key.length; ) {
    const flags = key[at]!;
    const type = key[at + 1]!;
    const long = (flags & FLAG.EXTENDED_LENGTH) !== 0;
    const from = at + (long ? 4 : 3);
    const to = from + (long ? u16(key, at + 2) : key[at + 2]!);
    if (!(to <= key.length)) throw new RangeError(`${attributeName(type)} ends after the attributes`);
    at = to;
    switch (type) {
      case ATTRIBUTE.ORIGIN:
        origin = key[from] as PathAttributes["origin"];
        break;
      case ATTRIBUTE.AS_PATH:
        asPath = decodeAsPath(key, from, to, 4);
        break;
      case ATTRIBUTE.NEXT_HOP:
        nextHop = { version: 4, value: BigInt(u32(key, from)) };
        break;
      case ATTRIBUTE.MP_REACH_NLRI: {
        const hops = nextHops(key, from + 4, key[from + 3]!);
        nextHop = hops.nextHop;
        linkLocalNextHop = hops.linkLocal;
        break;
      }
      case ATTRIBUTE.MULTI_EXIT_DISC:
        med = u32(key, from);
        break;
      case ATTRIBUTE.LOCAL_PREF:
        localPref = u32(key, from);
        break;
      case ATTRIBUTE.ATOMIC_AGGREGATE:
        atomicAggregate = true;
        break;
      case ATTRIBUTE.AGGREGATOR:
        aggregator = { asn: u32(key, from), address: u32(key, from + 4) };
        break;
      case ATTRIBUTE.COMMUNITIES:
        communities = unique(words(key, from, to));
        break;
      case ATTRIBUTE.LARGE_COMMUNITIES:
        largeCommunities = triples(words(key, from, to));
        break;
      case ATTRIBUTE.EXTENDED_COMMUNITIES:
        extendedCommunities = Array.from({ length: (to - from) / 8 }, (_, i) =>
          key.slice(from + 8 * i, from + 8 * i + 8),
        );
        break;
      case ATTRIBUTE.ORIGINATOR_ID:
        originatorId = u32(key, from);
        break;
      case ATTRIBUTE.CLUSTER_LIST:
        clusterList = words(key, from, to);
        break;
      default:
        // RFC 4271 9: an unknown attribute that is not transitive goes no further.
        if (KINDS[type]! < 0 && (flags & OPTIONAL_TRANSITIVE) === OPTIONAL_TRANSITIVE) {
          unknown.push({ flags: flags & ~FLAG.EXTENDED_LENGTH, type, value: key.slice(from, to) });
        }
    }
  }
  if (nextHop === undefined) throw new RangeError("attributes without a next hop");
  return {
    origin,
    asPath,
    nextHop,
    ...(linkLocalNextHop === undefined ? {} : { linkLocalNextHop }),
    ...(med === undefined ? {} : { med }),
    ...(localPref === undefined ? {} : { localPref }),
    atomicAggregate,
    ...(aggregator === undefined ? {} : { aggregator }),
    communities,
    largeCommunities,
    extendedCommunities,
    ...(originatorId === undefined ? {} : { originatorId }),
    clusterList,
    unknown,
  };
}

/** Next hops of 4, 16 or 32 bytes (RFC 4760 3, RFC 2545 3, RFC 8950 3). */
function nextHops(bytes: Uint8Array, at: number, length: number): { nextHop: Address; linkLocal: Address | undefined } {
  if (length === 4) return { nextHop: { version: 4, value: BigInt(u32(bytes, at)) }, linkLocal: undefined };
  const nextHop = v6(bytes, at);
  // Some send the link-local address twice, something else as the second, or no first: what is left is one next hop.
  if (length < 32 || !isLinkLocal(bytes, at + 16)) return { nextHop, linkLocal: undefined };
  const linkLocal = v6(bytes, at + 16);
  return nextHop.value === 0n || isLinkLocal(bytes, at)
    ? { nextHop: linkLocal, linkLocal: undefined }
    : { nextHop, linkLocal };
}

/** By words: a shift a byte costs microseconds, and every set of attributes of IPv6 pays. */
function v6(bytes: Uint8Array, at: number): Address {
  const high = (BigInt(u32(bytes, at)) << 32n) | BigInt(u32(bytes, at + 4));
  const low = (BigInt(u32(bytes, at + 8)) << 32n) | BigInt(u32(bytes, at + 12));
  return { version: 6, value: (high << 64n) | low };
}

/** fe80::/10 (RFC 4291 2.4). */
export function isLinkLocal(bytes: Uint8Array, at: number): boolean {
  return bytes[at] === 0xfe && (bytes[at + 1]! & 0xc0) === 0x80;
}

function words(bytes: Uint8Array, from: number, to: number): number[] {
  const out = new Array<number>((to - from) >>> 2);
  for (let i = 0; i < out.length; i++) out[i] = u32(bytes, from + 4 * i);
  return out;
}

function unique(numbers: number[]): readonly number[] {
  if (numbers.length < 2) return numbers;
  const seen = new Set(numbers);
  return seen.size === numbers.length ? numbers : [...seen];
}

function triples(numbers: readonly number[]): (readonly [number, number, number])[] {
  const out: (readonly [number, number, number])[] = [];
  const seen = new Set<string>();
  for (let i = 0; i + 2 < numbers.length; i += 3) {
    const [a, b, c] = [numbers[i]!, numbers[i + 1]!, numbers[i + 2]!];
    const name = `${a}:${b}:${c}`;
    // RFC 8092 5: repetitions are removed.
    if (seen.has(name)) continue;
    seen.add(name);
    out.push([a, b, c]);
  }
  return out;
}
