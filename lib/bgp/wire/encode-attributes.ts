/** Path attributes to bytes, once for all prefixes that have them. */
import { addressBytes } from "../../ip/index.ts";
import { AS_TRANS, as4PathOf, needsFourOctets, writeAsPath } from "./as-path.ts";
import { ATTRIBUTE, FLAG, OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, WELL_KNOWN } from "./attribute-types.ts";
import { ByteWriter } from "./bytes.ts";
import type { Family, Negotiated, PathAttributes } from "./types.ts";

/** Ready for an {@link UpdateWriter}; of the sessions that were negotiated alike. */
export interface EncodedAttributes {
  readonly family: Family;
  /** All but MP_REACH_NLRI, in order of their type. */
  readonly bytes: Uint8Array;
  /** What MP_REACH_NLRI has; absent: the prefixes go into the field of RFC 4271, and NEXT_HOP is among `bytes`. */
  readonly nextHop?: Uint8Array;
}

const out = new ByteWriter();
const value = new ByteWriter();

/**
 * Everything that `attributes` has is written: what may go to whom (LOCAL_PREF, reflection's attributes) is the caller's to decide. Communities,
 * extended communities and the rest keep their order. IPv4 prefixes with an IPv6 next hop need RFC 8950 on the session, else a RangeError; an IPv4
 * next hop of IPv6 prefixes is written as IPv4-mapped (RFC 4291 2.5.5.2).
 */
export function encodeAttributes(
  attributes: PathAttributes,
  negotiated: Pick<Negotiated, "fourOctetAsn" | "extendedNextHop">,
  { family }: { readonly family: Family },
): EncodedAttributes {
  const { nextHop } = attributes;
  const classic = family === 4 && nextHop.version === 4;
  if (family === 4 && !classic && !negotiated.extendedNextHop) {
    throw new RangeError("IPv4 prefixes with an IPv6 next hop, to a peer that has not agreed to it (RFC 8950)");
  }
  const asSize = negotiated.fourOctetAsn ? 4 : 2;

  value.u8(attributes.origin);
  put(WELL_KNOWN, ATTRIBUTE.ORIGIN);
  writeAsPath(value, attributes.asPath, asSize);
  put(WELL_KNOWN, ATTRIBUTE.AS_PATH);
  if (classic) {
    value.copy(addressBytes(nextHop));
    put(WELL_KNOWN, ATTRIBUTE.NEXT_HOP);
  }
  putNumber(OPTIONAL_NON_TRANSITIVE, ATTRIBUTE.MULTI_EXIT_DISC, attributes.med);
  putNumber(WELL_KNOWN, ATTRIBUTE.LOCAL_PREF, attributes.localPref);
  if (attributes.atomicAggregate) put(WELL_KNOWN, ATTRIBUTE.ATOMIC_AGGREGATE);
  const { aggregator } = attributes;
  if (aggregator !== undefined) {
    if (asSize === 4) value.u32(aggregator.asn);
    else value.u16(aggregator.asn > 0xffff ? AS_TRANS : aggregator.asn);
    value.u32(aggregator.address);
    put(OPTIONAL_TRANSITIVE, ATTRIBUTE.AGGREGATOR);
  }
  putNumbers(OPTIONAL_TRANSITIVE, ATTRIBUTE.COMMUNITIES, attributes.communities);
  putNumber(OPTIONAL_NON_TRANSITIVE, ATTRIBUTE.ORIGINATOR_ID, attributes.originatorId);
  putNumbers(OPTIONAL_NON_TRANSITIVE, ATTRIBUTE.CLUSTER_LIST, attributes.clusterList);
  if (attributes.extendedCommunities.length > 0) {
    for (const community of attributes.extendedCommunities) value.copy(community);
    put(OPTIONAL_TRANSITIVE, ATTRIBUTE.EXTENDED_COMMUNITIES);
  }
  if (asSize === 2) putAs4(attributes);
  if (attributes.largeCommunities.length > 0) {
    for (const community of attributes.largeCommunities) for (const part of community) value.u32(part);
    put(OPTIONAL_TRANSITIVE, ATTRIBUTE.LARGE_COMMUNITIES);
  }
  for (const { flags, type, value: bytes } of attributes.unknown) {
    value.copy(bytes);
    // RFC 4271 5: not understood here, and whoever comes next is to know.
    put((flags & ~FLAG.EXTENDED_LENGTH) | FLAG.PARTIAL, type);
  }

  const bytes = out.take();
  return classic ? { family, bytes } : { family, bytes, nextHop: multiprotocolNextHop(attributes) };
}

/** RFC 6793 4.2.2: what two octets cannot hold goes beside. */
function putAs4({ asPath, aggregator }: PathAttributes): void {
  const as4 = as4PathOf(asPath);
  if (needsFourOctets(as4)) {
    writeAsPath(value, as4, 4);
    put(OPTIONAL_TRANSITIVE, ATTRIBUTE.AS4_PATH);
  }
  if (aggregator !== undefined && aggregator.asn > 0xffff) {
    value.u32(aggregator.asn);
    value.u32(aggregator.address);
    put(OPTIONAL_TRANSITIVE, ATTRIBUTE.AS4_AGGREGATOR);
  }
}

/** RFC 2545 3: a link-local address stands behind a global one. */
function multiprotocolNextHop({ nextHop, linkLocalNextHop }: PathAttributes): Uint8Array {
  const first = new Uint8Array(16);
  const bytes = addressBytes(nextHop);
  if (bytes.length === 4) first.fill(0xff, 10, 12);
  first.set(bytes, 16 - bytes.length);
  if (linkLocalNextHop === undefined) return first;
  const both = new Uint8Array(32);
  both.set(first);
  both.set(addressBytes(linkLocalNextHop), 16);
  return both;
}

function putNumber(flags: number, type: number, number: number | undefined): void {
  if (number === undefined) return;
  value.u32(number);
  put(flags, type);
}

function putNumbers(flags: number, type: number, numbers: readonly number[]): void {
  if (numbers.length === 0) return;
  for (const number of numbers) value.u32(number);
  put(flags, type);
}

/** The attribute whose value has been written to `value`. */
function put(flags: number, type: number): void {
  const { length } = value;
  out.u8(length > 255 ? flags | FLAG.EXTENDED_LENGTH : flags);
  out.u8(type);
  if (length > 255) out.u16(length);
  else out.u8(length);
  out.append(value);
}
