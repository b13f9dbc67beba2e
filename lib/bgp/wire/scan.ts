/**
 * One pass over an UPDATE's path attributes: which are taken, where they lie, and whether the message has to be read as a withdrawal. Makes no
 * objects while nothing is wrong. What cannot be read so that every prefix of the message is known ends the session (RFC 7606 3 j, 5.3, 7.11):
 * "AFI/SAFI disable", the other way that 7606 offers, would leave a session that looks up and lacks half of its routes.
 */
import { ATTRIBUTE, attributeName, FLAG, KIND_BITS, KINDS, OPTIONAL_NON_TRANSITIVE } from "./attribute-types.ts";
import { isLinkLocal } from "./attributes.ts";
import { u16 } from "./bytes.ts";
import { type AttributeSession, attributeFault, isHostV4, isHostV6 } from "./check-attribute.ts";
import { WireError } from "./error.ts";
import { nlriFault } from "./nlri.ts";
import { familyOf } from "./refresh.ts";
import { ERROR, type Family, type Negotiated } from "./types.ts";
import { UPDATE_ERROR } from "./words.ts";

/** Problems that are told of one message, at most: whoever sends nonsense does not get to fill the log. */
const MOST_PROBLEMS = 8;

/** Words of what was wrong, bounded. */
export class Problems {
  readonly list: string[] = [];
  #more = 0;

  add(words: string): void {
    if (this.list.length < MOST_PROBLEMS) this.list.push(words);
    else this.list[MOST_PROBLEMS] = `and ${++this.#more} more`;
  }
}

/** The result of {@link scanAttributes}. There is one of it, used again for every message. */
export class Scan {
  /** Attributes that are taken, MP_REACH_NLRI and MP_UNREACH_NLRI not among them: where each begins, where its value does, where it ends. */
  readonly starts = new Int32Array(256);
  readonly values = new Int32Array(256);
  readonly ends = new Int32Array(256);
  readonly types = new Uint8Array(256);
  count = 0;
  /** By type: its place above plus one, or `LEFT_OUT`; 0 while there was none. */
  readonly seen = new Uint16Array(256);
  /** The types in `seen`, to be forgotten one by one: cheaper than all 256, message by message. */
  readonly #marked = new Uint8Array(256);
  #markedCount = 0;
  /** Nothing was left out, nor was there an MP_… attribute: the bytes as they came are the key. */
  whole = true;
  /** RFC 7606's treat-as-withdraw. */
  withdraw = false;
  problems: Problems | undefined;

  /** Where MP_REACH_NLRI's next hop and prefixes are; family undefined: there is none that concerns us. */
  reachFamily: Family | undefined;
  reachNextHop = 0;
  reachNextHopLength = 0;
  reachFrom = 0;
  reachTo = 0;
  /** There is one of a family that is not spoken here. */
  reachForeign = false;
  unreachFamily: Family | undefined;
  unreachFrom = 0;
  unreachTo = 0;

  /** Whether an attribute of that type is taken; its place. */
  find(type: number): number | undefined {
    const place = this.seen[type]!;
    return place === 0 || place === LEFT_OUT ? undefined : place - 1;
  }

  mark(type: number, place: number): void {
    if (this.seen[type] === 0) this.#marked[this.#markedCount++] = type;
    this.seen[type] = place;
  }

  problem(words: string): void {
    this.problems ??= new Problems();
    this.problems.add(words);
  }

  reset(): void {
    this.count = 0;
    for (let i = 0; i < this.#markedCount; i++) this.seen[this.#marked[i]!] = 0;
    this.#markedCount = 0;
    this.whole = true;
    this.withdraw = false;
    this.problems = undefined;
    this.reachFamily = undefined;
    this.reachForeign = false;
    this.unreachFamily = undefined;
  }
}

/** Larger than any place. */
const LEFT_OUT = 0xffff;

export function scanAttributes(
  scan: Scan,
  bytes: Uint8Array,
  from: number,
  to: number,
  negotiated: Negotiated,
  session: AttributeSession,
): void {
  scan.reset();
  let unknownBytes = 0;
  let at = from;
  while (at < to) {
    const start = at;
    const flags = bytes[at]!;
    const type = at + 1 < to ? bytes[at + 1]! : -1;
    const long = (flags & FLAG.EXTENDED_LENGTH) !== 0;
    const value = at + (long ? 4 : 3);
    const length = value > to ? 0 : long ? u16(bytes, at + 2) : bytes[at + 2]!;
    const end = value + length;
    if (end > to) {
      truncated(scan, type);
      break;
    }
    at = end;

    if (scan.seen[type] !== 0) {
      scan.whole = false;
      repeated(scan, type);
      continue;
    }
    if (type === ATTRIBUTE.MP_REACH_NLRI || type === ATTRIBUTE.MP_UNREACH_NLRI) {
      scan.whole = false;
      scan.mark(type, LEFT_OUT);
      if ((flags & KIND_BITS) !== OPTIONAL_NON_TRANSITIVE) multiprotocolError(bytes, start, end, "has wrong flags");
      if (type === ATTRIBUTE.MP_REACH_NLRI) scanReach(scan, bytes, start, value, end, negotiated);
      else scanUnreach(scan, bytes, start, value, end, negotiated);
      continue;
    }
    const fault = attributeFault(flags, type, bytes, value, end, session);
    if (fault !== undefined) {
      scan.whole = false;
      scan.mark(type, LEFT_OUT);
      if (fault.action === "withdraw") scan.withdraw = true;
      const done =
        fault.action === "withdraw" ? "routes withdrawn" : fault.action === "discard" ? "discarded" : "ignored";
      scan.problem(`${attributeName(type)}: ${fault.words}; ${done}`);
      continue;
    }
    if (KINDS[type]! < 0) unknownBytes += end - value;
    const place = scan.count++;
    scan.starts[place] = start;
    scan.values[place] = value;
    scan.ends[place] = end;
    scan.types[place] = type;
    scan.mark(type, place + 1);
  }
  if (unknownBytes > session.limits.unknownBytes) {
    scan.withdraw = true;
    scan.problem(
      `${unknownBytes} bytes of unknown attributes, of ${session.limits.unknownBytes} at most; routes withdrawn`,
    );
  }
}

/** An attribute does not fit in what is left (RFC 7606 4): the fields around it can still be found, unless it is the one that has prefixes. */
function truncated(scan: Scan, type: number): void {
  if (type === ATTRIBUTE.MP_REACH_NLRI || type === ATTRIBUTE.MP_UNREACH_NLRI) {
    throw new WireError(
      ERROR.UPDATE,
      UPDATE_ERROR.MALFORMED_ATTRIBUTE_LIST,
      `${attributeName(type)} ends after the attributes`,
    );
  }
  scan.whole = false;
  scan.withdraw = true;
  const name = type < 0 ? "an attribute without a type" : attributeName(type);
  scan.problem(`${name} ends after the attributes; routes withdrawn`);
}

/** RFC 7606 3 g. */
function repeated(scan: Scan, type: number): void {
  if (type === ATTRIBUTE.MP_REACH_NLRI || type === ATTRIBUTE.MP_UNREACH_NLRI) {
    throw new WireError(ERROR.UPDATE, UPDATE_ERROR.MALFORMED_ATTRIBUTE_LIST, `${attributeName(type)} more than once`);
  }
  scan.problem(`${attributeName(type)} again; all but the first discarded`);
}

/** RFC 4760 3. */
function scanReach(
  scan: Scan,
  bytes: Uint8Array,
  start: number,
  from: number,
  to: number,
  negotiated: Negotiated,
): void {
  if (to - from < 5) multiprotocolError(bytes, start, to, "is too short");
  const family = spoken(scan, bytes, from, negotiated, "MP_REACH_NLRI");
  if (family === undefined) {
    scan.reachForeign = true;
    return;
  }
  const length = bytes[from + 3]!;
  const hop = from + 4;
  const v6Hop = length === 16 || length === 32;
  // RFC 8950 3 changes the next hops of IPv4 only where that was settled.
  const expected = family === 6 ? v6Hop : length === 4 || (v6Hop && negotiated.extendedNextHop);
  if (!expected || hop + length + 1 > to) multiprotocolError(bytes, start, to, `has a next hop of ${length} bytes`);
  const nlri = hop + length + 1;
  const addPath = negotiated.addPathReceive.includes(family);
  const fault = nlriFault(bytes, nlri, to, family, addPath);
  if (fault !== undefined) multiprotocolError(bytes, start, to, `has ${fault}`);
  const host =
    length === 4 ? isHostV4(bytes, hop) : isHostV6(bytes, hop) || (length === 32 && isLinkLocal(bytes, hop + 16));
  if (!host) {
    scan.withdraw = true;
    scan.problem("MP_REACH_NLRI: its next hop is not the address of a host; routes withdrawn");
  }
  scan.reachFamily = family;
  scan.reachNextHop = hop;
  scan.reachNextHopLength = length;
  scan.reachFrom = nlri;
  scan.reachTo = to;
}

/** RFC 4760 4. */
function scanUnreach(
  scan: Scan,
  bytes: Uint8Array,
  start: number,
  from: number,
  to: number,
  negotiated: Negotiated,
): void {
  if (to - from < 3) multiprotocolError(bytes, start, to, "is too short");
  const family = spoken(scan, bytes, from, negotiated, "MP_UNREACH_NLRI");
  if (family === undefined) return;
  const fault = nlriFault(bytes, from + 3, to, family, negotiated.addPathReceive.includes(family));
  if (fault !== undefined) multiprotocolError(bytes, start, to, `has ${fault}`);
  scan.unreachFamily = family;
  scan.unreachFrom = from + 3;
  scan.unreachTo = to;
}

function spoken(scan: Scan, bytes: Uint8Array, from: number, negotiated: Negotiated, name: string): Family | undefined {
  const afi = u16(bytes, from);
  const safi = bytes[from + 2]!;
  const family = familyOf(afi, safi);
  if (family !== undefined && negotiated.families.includes(family)) return family;
  scan.problem(`${name} of AFI ${afi}, SAFI ${safi}, which was not agreed on; ignored`);
  return undefined;
}

/** RFC 4760 7: the attribute goes along. */
function multiprotocolError(bytes: Uint8Array, start: number, end: number, words: string): never {
  const name = attributeName(bytes[start + 1]!);
  // The whole NOTIFICATION may have 4096 bytes, header and codes among them.
  const data = bytes.slice(start, Math.min(end, start + 4096 - 21));
  throw new WireError(ERROR.UPDATE, UPDATE_ERROR.OPTIONAL_ATTRIBUTE, `${name} ${words}`, data);
}
