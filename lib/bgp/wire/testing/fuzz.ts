/**
 * Valid messages, damaged in the ways that lengths, counts and types can be, into the codec: whatever comes of it, it is a value that can be written
 * again, or a WireError that can be sent. Deterministic by its seed.
 */
import { isDeepStrictEqual } from "node:util";
import { encodeAttributes } from "../encode-attributes.ts";
import { WireError } from "../error.ts";
import { HEADER_LENGTH, MESSAGE } from "../message.ts";
import { eachPrefix } from "../nlri.ts";
import { decodeNotification, encodeNotification } from "../notification.ts";
import { decodeOpen, encodeOpen } from "../open.ts";
import { type Message, MessageReader } from "../reader.ts";
import { decodeRouteRefresh, encodeRouteRefresh } from "../refresh.ts";
import type { Family, Negotiated, Nlri, PathAttributes, Update } from "../types.ts";
import { decodeUpdate, type UpdateContext } from "../update.ts";
import { encodeUpdates } from "../update-writer.ts";
import { describeNotification } from "../words.ts";
import { corpus } from "./corpus.ts";
import { mutate, Random } from "./mutate.ts";
import { referencePrefixes } from "./reference.ts";

export interface FuzzOptions {
  /** Mutated messages. */
  readonly count: number;
  readonly seed: number;
}

export interface FuzzReport {
  /** Messages that were read, those refused by an error of the session, and UPDATEs whose routes became withdrawals or were repaired. */
  readonly read: number;
  readonly refused: number;
  readonly mended: number;
}

/** Throws an Error that names seed, number and bytes of the first message that breaks the contract. */
export function fuzzMessages({ count, seed }: FuzzOptions): FuzzReport {
  const random = new Random(seed);
  const messages = corpus();
  const report = { read: 0, refused: 0, mended: 0 };
  for (let index = 0; index < count; index++) {
    const bytes = mutate(random, messages);
    const session = SESSIONS[random.below(SESSIONS.length)]!;
    try {
      feed(random, bytes, session, report);
    } catch (error) {
      const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
      throw new Error(`fuzz, seed ${seed}, message ${index}, session ${JSON.stringify(session)}: ${digits}`, {
        cause: error,
      });
    }
  }
  return report;
}

interface Session {
  readonly negotiated: Negotiated;
  readonly context: UpdateContext;
}

const base: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4, 6],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

const SESSIONS: readonly Session[] = [
  { negotiated: base, context: { peer: "ibgp" } },
  { negotiated: base, context: { peer: "ebgp" } },
  { negotiated: { ...base, fourOctetAsn: false }, context: { peer: "ibgp" } },
  { negotiated: { ...base, extendedMessages: true, extendedNextHop: true }, context: { peer: "ibgp" } },
  { negotiated: { ...base, addPathReceive: [4, 6], addPathSend: [4, 6] }, context: { peer: "ebgp" } },
  { negotiated: { ...base, families: [4] }, context: { peer: "ebgp", limits: { asPathLength: 3, communities: 2 } } },
];

/** Everything that this codec can say. */
const WIDEST: Negotiated = { ...base, extendedMessages: true, extendedNextHop: true };

function feed(
  random: Random,
  bytes: Uint8Array,
  session: Session,
  report: { -readonly [K in keyof FuzzReport]: number },
) {
  const reader = new MessageReader();
  reader.extended = session.negotiated.extendedMessages;
  try {
    for (let at = 0; at < bytes.length; ) {
      const size = random.below(4) === 0 ? 1 + random.below(bytes.length) : bytes.length;
      reader.push(bytes.subarray(at, at + size));
      at += size;
      for (let message = reader.next(); message; message = reader.next()) {
        if (read(message, session)) report.mended++;
        report.read++;
      }
    }
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    report.refused++;
    const { notification } = error;
    const sent = encodeNotification(notification);
    assert(sent.length <= 4096, "a NOTIFICATION that is too long");
    assert(isDeepStrictEqual(decodeNotification(sent.subarray(HEADER_LENGTH)), notification), "another NOTIFICATION");
    assert(describeNotification(notification).length > 0 && error.message.length > 0, "no words");
  }
}

/** Says whether something was wrong and mended. */
function read(message: Message, session: Session): boolean {
  const { type, body } = message;
  if (type === MESSAGE.OPEN) {
    const open = decodeOpen(body);
    // What is written may be a little longer: IPv4 is said, where silence meant it.
    if (body.length < 4000)
      assert(isDeepStrictEqual(decodeOpen(encodeOpen(open).subarray(HEADER_LENGTH)), open), "another OPEN");
  } else if (type === MESSAGE.NOTIFICATION) {
    const notification = decodeNotification(body);
    assert(describeNotification(notification).length > 0, "no words");
    encodeNotification(notification);
  } else if (type === MESSAGE.ROUTE_REFRESH) {
    const refresh = decodeRouteRefresh(body);
    if (refresh)
      assert(
        isDeepStrictEqual(encodeRouteRefresh(refresh).subarray(HEADER_LENGTH), body.slice()),
        "another ROUTE-REFRESH",
      );
  } else if (type === MESSAGE.UPDATE) {
    const updates = decodeUpdate(body, session.negotiated, session.context);
    for (const update of updates) checkUpdate(update);
    return updates.some((update) => update.problems.length > 0);
  }
  return false;
}

function checkUpdate(update: Update): void {
  for (const nlri of [...update.withdrawn, ...update.reached]) {
    assert(nlri.bytes.length > 0, "a field without prefixes");
    assert(
      isDeepStrictEqual(prefixesOf(nlri), referencePrefixes(nlri.family, nlri.bytes, nlri.addPath)),
      "other prefixes",
    );
  }
  for (const nlri of update.withdrawn) {
    const [again] = decodeAll(encodeUpdates({ withdrawn: nlri }, negotiatedFor(nlri)), nlri);
    assert(
      again?.withdrawn.length === 1 && isDeepStrictEqual(prefixesOf(again.withdrawn[0]!), prefixesOf(nlri)),
      "other withdrawals",
    );
  }
  for (const nlri of update.reached) {
    const attributes = update.attributes();
    const encoded = encodeAttributes(attributes, WIDEST, { family: nlri.family });
    const [again] = decodeAll(encodeUpdates({ attributes: encoded, reached: nlri }, negotiatedFor(nlri)), nlri);
    assert(
      again?.reached.length === 1 && isDeepStrictEqual(prefixesOf(again.reached[0]!), prefixesOf(nlri)),
      "other prefixes reached",
    );
    assert(isDeepStrictEqual(again.attributes(), asPassedOn(attributes)), "other attributes");
    assert(again.problems.length === 0, again.problems.join("; "));
  }
}

function decodeAll(messages: readonly Uint8Array[], nlri: Nlri): Update[] {
  assert(messages.length === 1, "more than one message");
  return messages.flatMap((message) =>
    decodeUpdate(message.subarray(HEADER_LENGTH), negotiatedFor(nlri), { peer: "ibgp" }),
  );
}

function negotiatedFor({ family, addPath }: Nlri): Negotiated {
  const families: Family[] = addPath ? [family] : [];
  return { ...WIDEST, addPathReceive: families, addPathSend: families };
}

/** RFC 4271 5: the Partial bit of what is not known here. */
function asPassedOn(attributes: PathAttributes): PathAttributes {
  return { ...attributes, unknown: attributes.unknown.map((one) => ({ ...one, flags: one.flags | 0x20 })) };
}

function prefixesOf(nlri: Nlri): string[] {
  const out: string[] = [];
  eachPrefix(nlri, (length, w0, w1, w2, w3, pathId) => {
    const digits = [w0, w1, w2, w3]
      .slice(0, nlri.family === 4 ? 1 : 4)
      .map((w) => (w >>> 0).toString(16).padStart(8, "0"));
    out.push(`${digits.join("")}/${length}${nlri.addPath ? `#${pathId}` : ""}`);
  });
  return out;
}

function assert(condition: boolean, words: string): asserts condition {
  if (!condition) throw new Error(words);
}
