/** AS_PATH (RFC 4271 4.3 b) in two and in four octets an AS (RFC 6793), and its segments of confederations (RFC 5065 3). */
import { type ByteWriter, u16, u32 } from "./bytes.ts";
import type { AsSegment } from "./types.ts";

/** RFC 6793 9: stands for an AS number that two octets cannot hold. */
export const AS_TRANS = 23456;

const SET = 1;
const SEQUENCE = 2;
const CONFEDERATION_SEQUENCE = 3;
const CONFEDERATION_SET = 4;
const TYPES = [undefined, "set", "sequence", "confederationSequence", "confederationSet"] as const;
const CODES = { set: SET, sequence: SEQUENCE, confederationSequence: 3, confederationSet: 4 } as const;
/** What one byte can count. */
const MOST_IN_SEGMENT = 255;

/** What is wrong with the path's bytes (RFC 7606 7.2, RFC 7607 2, RFC 5065 5); undefined: nothing. `size` is 2 or 4 octets an AS. */
export function asPathFault(
  bytes: Uint8Array,
  from: number,
  to: number,
  size: 2 | 4,
  confederations: boolean,
  most: number,
): string | undefined {
  let at = from;
  let total = 0;
  while (at < to) {
    if (to - at < 2) return "one byte too many";
    const type = bytes[at]!;
    const count = bytes[at + 1]!;
    if (type < SET || type > CONFEDERATION_SET) return `a segment of type ${type}`;
    if (type >= CONFEDERATION_SEQUENCE && !confederations) return "a confederation's segment from outside of one";
    if (count === 0) return "an empty segment";
    at += 2;
    const end = at + count * size;
    if (end > to) return "a segment that ends after it";
    if (size === 4) {
      for (; at < end; at += 4) {
        if ((bytes[at]! | bytes[at + 1]! | bytes[at + 2]! | bytes[at + 3]!) === 0) return "AS 0";
      }
    } else {
      for (; at < end; at += 2) {
        if ((bytes[at]! | bytes[at + 1]!) === 0) return "AS 0";
      }
    }
    total += count;
  }
  return total > most ? `${total} AS numbers, of ${most} at most` : undefined;
}

/** The segments of a path that has been checked. */
export function decodeAsPath(bytes: Uint8Array, from: number, to: number, size: 2 | 4): AsSegment[] {
  const segments: AsSegment[] = [];
  let at = from;
  while (at < to) {
    const type = TYPES[bytes[at]!]!;
    const count = bytes[at + 1]!;
    at += 2;
    const asns = new Array<number>(count);
    for (let i = 0; i < count; i++, at += size) asns[i] = size === 4 ? u32(bytes, at) : u16(bytes, at);
    segments.push({ type, asns });
  }
  return segments;
}

/** RFC 4271 9.1.2.2 a and RFC 5065 5.3: a set counts as one, what is of confederations not at all. */
function pathLength(segments: readonly AsSegment[]): number {
  let length = 0;
  for (const { type, asns } of segments) length += type === "sequence" ? asns.length : type === "set" ? 1 : 0;
  return length;
}

/** RFC 6793 4.2.3: the path of a two-octet speaker, with what it did not understand but passed on. */
export function mergeAs4Path(path: readonly AsSegment[], as4Path: readonly AsSegment[]): readonly AsSegment[] {
  const as4 = as4Path.filter((segment) => segment.type === "sequence" || segment.type === "set");
  let more = pathLength(path) - pathLength(as4);
  if (more < 0 || as4.length === 0) return path;
  const merged: AsSegment[] = [];
  for (const segment of path) {
    if (segment.type === "sequence") {
      if (more === 0) break;
      const asns = segment.asns.slice(0, more);
      merged.push({ type: segment.type, asns });
      more -= asns.length;
    } else if (segment.type === "set") {
      if (more === 0) break;
      merged.push(segment);
      more--;
    } else {
      merged.push(segment);
    }
  }
  const last = merged.at(-1);
  const [first, ...rest] = as4;
  const joins = last?.type === "sequence" && first?.type === "sequence";
  if (joins && last.asns.length + first.asns.length <= MOST_IN_SEGMENT) {
    merged[merged.length - 1] = { type: "sequence", asns: [...last.asns, ...first.asns] };
    return [...merged, ...rest];
  }
  return [...merged, ...as4];
}

/** Segments of more than 255 AS numbers become several; empty ones are left out. */
export function writeAsPath(out: ByteWriter, segments: readonly AsSegment[], size: 2 | 4): void {
  for (const { type, asns } of segments) {
    for (let from = 0; from < asns.length; from += MOST_IN_SEGMENT) {
      const to = Math.min(from + MOST_IN_SEGMENT, asns.length);
      out.u8(CODES[type]);
      out.u8(to - from);
      for (let i = from; i < to; i++) {
        const asn = asns[i]!;
        if (size === 4) out.u32(asn);
        else out.u16(asn > 0xffff ? AS_TRANS : asn);
      }
    }
  }
}

/** Whether some AS number needs four octets, so that a two-octet speaker is sent AS4_PATH as well (RFC 6793 4.2.2). */
export function needsFourOctets(segments: readonly AsSegment[]): boolean {
  return segments.some(({ asns }) => asns.some((asn) => asn > 0xffff));
}

/** RFC 6793 3: segments of confederations are not part of AS4_PATH. */
export function as4PathOf(segments: readonly AsSegment[]): AsSegment[] {
  return segments.filter(({ type }) => type === "sequence" || type === "set");
}
