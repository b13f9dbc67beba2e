/** UPDATE (RFC 4271 4.3) as it is read: RFC 4760 for IPv6, RFC 7606 for what is wrong. */
import { ATTRIBUTE, attributeName } from "./attribute-types.ts";
import { type AttributeLimits, DEFAULT_LIMITS, decodeAttributes } from "./attributes.ts";
import { u16 } from "./bytes.ts";
import { WireError } from "./error.ts";
import { makeKey } from "./key.ts";
import { nlriFault } from "./nlri.ts";
import { Scan, scanAttributes } from "./scan.ts";
import { ERROR, type Family, type Negotiated, type Nlri, type PathAttributes, type Update } from "./types.ts";
import { UPDATE_ERROR } from "./words.ts";

/** Whom the message is from. */
export interface UpdateContext {
  readonly peer: "ibgp" | "ebgp";
  /** What is not given is as in {@link DEFAULT_LIMITS}. */
  readonly limits?: Partial<AttributeLimits>;
}

const NO_NLRI: readonly Nlri[] = [];
const NO_PROBLEMS: readonly string[] = [];
const NO_BYTES = new Uint8Array(0);

/** Messages are decoded one after the other, each to its end. */
const scan = new Scan();

class DecodedUpdate implements Update {
  declare readonly endOfRib?: Family;

  constructor(
    readonly withdrawn: readonly Nlri[],
    readonly reached: readonly Nlri[],
    readonly attributesKey: Uint8Array,
    readonly problems: readonly string[],
  ) {}

  attributes(): PathAttributes {
    return decodeAttributes(this.attributesKey);
  }
}

/**
 * `body` is the message without its header. One update; two where the message reaches prefixes both in the field of RFC 4271 and in MP_REACH_NLRI,
 * which have different next hops. Withdrawals come first, also within one update: what it both withdraws and reaches is reached (RFC 4271 4.3).
 * Throws a {@link WireError} where the session cannot go on.
 */
export function decodeUpdate(body: Uint8Array, negotiated: Negotiated, context: UpdateContext): readonly Update[] {
  const end = body.length;
  const withdrawnTo = end < 4 ? end + 1 : 2 + u16(body, 0);
  const from = withdrawnTo + 2;
  const to = from > end ? end + 1 : from + u16(body, withdrawnTo);
  if (to > end) {
    throw new WireError(
      ERROR.UPDATE,
      UPDATE_ERROR.MALFORMED_ATTRIBUTE_LIST,
      "the lengths of withdrawn routes and attributes exceed the message",
    );
  }
  const classicAddPath = negotiated.addPathReceive.includes(4);
  const fault = nlriFault(body, 2, withdrawnTo, 4, classicAddPath) ?? nlriFault(body, to, end, 4, classicAddPath);
  if (fault !== undefined) {
    throw new WireError(ERROR.UPDATE, UPDATE_ERROR.INVALID_NETWORK_FIELD, `the prefixes have ${fault}`);
  }

  scanAttributes(scan, body, from, to, negotiated, {
    external: context.peer === "ebgp",
    fourOctetAsn: negotiated.fourOctetAsn,
    limits: context.limits === undefined ? DEFAULT_LIMITS : limitsOf(context.limits),
  });

  const classic = negotiated.families.includes(4);
  if (!classic && (withdrawnTo > 2 || to < end)) scan.problem("IPv4 prefixes, which were not agreed on; ignored");
  const reachesClassic = classic && to < end;
  const reachesMore = scan.reachFamily !== undefined && scan.reachFrom < scan.reachTo;
  if (reachesClassic || reachesMore) missing(ATTRIBUTE.ORIGIN);
  if (reachesClassic || reachesMore) missing(ATTRIBUTE.AS_PATH);
  if (reachesClassic) missing(ATTRIBUTE.NEXT_HOP);
  // RFC 7606 5.2: without a prefix that is reached it is not certain that all of them were found.
  if (scan.withdraw && to === end && !reachesMore && !scan.reachForeign) {
    throw new WireError(
      ERROR.UPDATE,
      UPDATE_ERROR.MALFORMED_ATTRIBUTE_LIST,
      `attributes without prefixes, and: ${scan.problems?.list.join("; ")}`,
    );
  }

  let withdrawn = NO_NLRI;
  if (classic && withdrawnTo > 2) withdrawn = [nlri(body, 2, withdrawnTo, 4, negotiated)];
  if (scan.unreachFamily !== undefined && scan.unreachFrom < scan.unreachTo) {
    withdrawn = [...withdrawn, nlri(body, scan.unreachFrom, scan.unreachTo, scan.unreachFamily, negotiated)];
  }
  const classicNlri = reachesClassic ? [nlri(body, to, end, 4, negotiated)] : NO_NLRI;
  const moreNlri = reachesMore ? [nlri(body, scan.reachFrom, scan.reachTo, scan.reachFamily!, negotiated)] : NO_NLRI;
  const problems = scan.problems?.list ?? NO_PROBLEMS;

  if (scan.withdraw) {
    return [new DecodedUpdate([...withdrawn, ...classicNlri, ...moreNlri], NO_NLRI, NO_BYTES, problems)];
  }
  const { fourOctetAsn } = negotiated;
  if (reachesClassic) {
    const asItCame = scan.whole && fourOctetAsn;
    const key = asItCame ? body.subarray(from, to) : makeKey(scan, body, false, fourOctetAsn);
    const first = new DecodedUpdate(withdrawn, classicNlri, key, problems);
    if (!reachesMore) return [first];
    return [first, new DecodedUpdate(NO_NLRI, moreNlri, makeKey(scan, body, true, fourOctetAsn), NO_PROBLEMS)];
  }
  if (reachesMore) {
    return [new DecodedUpdate(withdrawn, moreNlri, makeKey(scan, body, true, fourOctetAsn), problems)];
  }
  const update: DecodedUpdate & { endOfRib?: Family } = new DecodedUpdate(withdrawn, NO_NLRI, NO_BYTES, problems);
  if (withdrawn.length === 0) {
    const family = endOfRib(end, from, to, negotiated);
    if (family !== undefined) update.endOfRib = family;
  }
  return [update];
}

function nlri(body: Uint8Array, from: number, to: number, family: Family, negotiated: Negotiated): Nlri {
  return { family, addPath: negotiated.addPathReceive.includes(family), bytes: body.subarray(from, to) };
}

/** RFC 4724 2: nothing at all, or nothing but an MP_UNREACH_NLRI without prefixes. */
function endOfRib(end: number, from: number, to: number, negotiated: Negotiated): Family | undefined {
  if (end === 4) return negotiated.families.includes(4) ? 4 : undefined;
  const alone = scan.count === 0 && scan.problems === undefined && from < to && to === end;
  return alone && scan.seen[ATTRIBUTE.MP_REACH_NLRI] === 0 ? scan.unreachFamily : undefined;
}

/** RFC 7606 3 d. LOCAL_PREF is not mandatory in its sense: a route of an iBGP peer without has the default. */
function missing(type: number): void {
  if (scan.seen[type] !== 0) return;
  scan.withdraw = true;
  scan.problem(`${attributeName(type)} is missing; routes withdrawn`);
}

function limitsOf(limits: Partial<AttributeLimits>): AttributeLimits {
  return { ...DEFAULT_LIMITS, ...limits };
}
