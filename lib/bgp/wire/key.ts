/** Attribute keys: the attributes of a scan in one form for all sessions, without prefixes. */
import { AS_TRANS, as4PathOf, decodeAsPath, mergeAs4Path, writeAsPath } from "./as-path.ts";
import { ATTRIBUTE, FLAG, OPTIONAL_NON_TRANSITIVE, OPTIONAL_TRANSITIVE, WELL_KNOWN } from "./attribute-types.ts";
import { ByteWriter, u16 } from "./bytes.ts";
import type { Scan } from "./scan.ts";
import type { Family } from "./types.ts";

const out = new ByteWriter();
const path = new ByteWriter();

/**
 * The key of the prefixes in the classic field, or of those in MP_REACH_NLRI. Attributes stay as and where they came; MP_REACH_NLRI comes first,
 * cut off behind its next hop, and NEXT_HOP, which means nothing then (RFC 4760 3), is left out; two-octet AS numbers become four-octet ones.
 */
export function makeKey(scan: Scan, bytes: Uint8Array, multiprotocol: boolean, fourOctetAsn: boolean): Uint8Array {
  if (multiprotocol) writeNextHop(scan.reachFamily!, bytes, scan.reachNextHop, scan.reachNextHopLength);
  const as4Counts = fourOctetAsn ? false : as4Applies(scan, bytes);
  for (let i = 0; i < scan.count; i++) {
    const type = scan.types[i]!;
    if (type === ATTRIBUTE.NEXT_HOP && multiprotocol) continue;
    if (!fourOctetAsn) {
      if (type === ATTRIBUTE.AS4_PATH || type === ATTRIBUTE.AS4_AGGREGATOR) continue;
      if (type === ATTRIBUTE.AS_PATH) {
        writePath(scan, bytes, i, as4Counts);
        continue;
      }
      if (type === ATTRIBUTE.AGGREGATOR) {
        writeAggregator(scan, bytes, i, as4Counts);
        continue;
      }
    }
    out.copy(bytes, scan.starts[i]!, scan.ends[i]!);
  }
  return out.take();
}

function writeNextHop(family: Family, bytes: Uint8Array, at: number, length: number): void {
  out.u8(OPTIONAL_NON_TRANSITIVE);
  out.u8(ATTRIBUTE.MP_REACH_NLRI);
  out.u8(5 + length);
  out.u16(family === 4 ? 1 : 2);
  out.u8(1);
  out.u8(length);
  out.copy(bytes, at, at + length);
  out.u8(0);
}

/** RFC 6793 4.2.3: an aggregator that two octets can hold is later than AS4_AGGREGATOR and AS4_PATH, and both are void. */
function as4Applies(scan: Scan, bytes: Uint8Array): boolean {
  const aggregator = scan.find(ATTRIBUTE.AGGREGATOR);
  if (aggregator === undefined || scan.find(ATTRIBUTE.AS4_AGGREGATOR) === undefined) return true;
  return u16(bytes, scan.values[aggregator]!) === AS_TRANS;
}

function writePath(scan: Scan, bytes: Uint8Array, place: number, as4Counts: boolean): void {
  const segments = decodeAsPath(bytes, scan.values[place]!, scan.ends[place]!, 2);
  const as4 = as4Counts ? scan.find(ATTRIBUTE.AS4_PATH) : undefined;
  const merged =
    as4 === undefined
      ? segments
      : mergeAs4Path(segments, as4PathOf(decodeAsPath(bytes, scan.values[as4]!, scan.ends[as4]!, 4)));
  writeAsPath(path, merged, 4);
  out.u8(WELL_KNOWN | FLAG.EXTENDED_LENGTH);
  out.u8(ATTRIBUTE.AS_PATH);
  out.u16(path.length);
  out.append(path);
}

function writeAggregator(scan: Scan, bytes: Uint8Array, place: number, as4Counts: boolean): void {
  const value = scan.values[place]!;
  const asn = u16(bytes, value);
  const as4 = as4Counts && asn === AS_TRANS ? scan.find(ATTRIBUTE.AS4_AGGREGATOR) : undefined;
  out.u8(OPTIONAL_TRANSITIVE);
  out.u8(ATTRIBUTE.AGGREGATOR);
  out.u8(8);
  if (as4 === undefined) {
    out.u32(asn);
    out.copy(bytes, value + 2, value + 6);
  } else {
    out.copy(bytes, scan.values[as4]!, scan.ends[as4]!);
  }
}
