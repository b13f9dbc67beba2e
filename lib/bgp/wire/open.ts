/** OPEN (RFC 4271 4.2, 6.2) with its optional parameters in either length (RFC 9072). */
import { AS_TRANS } from "./as-path.ts";
import { decodeCapability, emptyCapabilities, encodeCapabilities, finishCapabilities } from "./capabilities.ts";
import { WireError } from "./error.ts";
import { frame, MESSAGE } from "./message.ts";
import { type Capabilities, ERROR, type Family, type Negotiated, type Open } from "./types.ts";
import { OPEN_ERROR } from "./words.ts";

const VERSION = 4;
/** RFC 5492 4. */
const CAPABILITIES = 2;
/** RFC 9072 2. */
const EXTENDED = 255;

/** `body` is the message without its header. Throws a {@link WireError}: what it is about is whether this OPEN can be read, not whether it is acceptable to us. */
export function decodeOpen(body: Uint8Array): Open {
  const malformed = (words: string) => new WireError(ERROR.OPEN, OPEN_ERROR.UNSPECIFIC, words);
  if (body.length < 10) throw malformed("an OPEN that ends before its optional parameters");
  if (body[0] !== VERSION) {
    throw new WireError(
      ERROR.OPEN,
      OPEN_ERROR.UNSUPPORTED_VERSION,
      `BGP version ${body[0]}`,
      Uint8Array.of(0, VERSION),
    );
  }
  const holdTime = (body[3]! << 8) | body[4]!;
  if (holdTime === 1 || holdTime === 2) {
    throw new WireError(ERROR.OPEN, OPEN_ERROR.UNACCEPTABLE_HOLD_TIME, `a hold time of ${holdTime} seconds`);
  }
  const routerId = ((body[5]! << 24) | (body[6]! << 16) | (body[7]! << 8) | body[8]!) >>> 0;
  // RFC 6286 2.2.
  if (routerId === 0) throw new WireError(ERROR.OPEN, OPEN_ERROR.BAD_BGP_IDENTIFIER, "BGP identifier 0");

  let at = 10;
  let length = body[9]!;
  // RFC 9072 2: told by the type of what would be the first parameter, whatever the short length says.
  const extended = length > 0 && body[10] === EXTENDED;
  if (extended) {
    if (body.length < 13) throw malformed("an OPEN without the length of its optional parameters");
    length = (body[11]! << 8) | body[12]!;
    at = 13;
  }
  if (at + length !== body.length) throw malformed("the length of the optional parameters is not that of the message");

  const found = emptyCapabilities();
  const header = extended ? 3 : 2;
  while (at < body.length) {
    if (body.length - at < header) throw malformed("an optional parameter without a length");
    const type = body[at]!;
    const end = at + header + (extended ? (body[at + 1]! << 8) | body[at + 2]! : body[at + 1]!);
    if (end > body.length) throw malformed(`optional parameter ${type} ends after the message`);
    if (type !== CAPABILITIES) {
      throw new WireError(ERROR.OPEN, OPEN_ERROR.UNSUPPORTED_OPTIONAL_PARAMETER, `optional parameter ${type}`);
    }
    at += header;
    while (at < end) {
      if (end - at < 2) throw malformed("a capability without a length");
      const valueEnd = at + 2 + body[at + 1]!;
      if (valueEnd > end) throw malformed(`capability ${body[at]} ends after its parameter`);
      const fault = decodeCapability(found, body[at]!, body.subarray(at + 2, valueEnd));
      if (fault !== undefined) throw malformed(fault);
      at = valueEnd;
    }
  }

  const asn = found.asn ?? (body[1]! << 8) | body[2]!;
  // RFC 7607 2.
  if (asn === 0) throw new WireError(ERROR.OPEN, OPEN_ERROR.BAD_PEER_AS, "AS 0");
  return { asn, holdTime, routerId, capabilities: finishCapabilities(found) };
}

/** A whole message. Throws a RangeError where the capabilities do not fit in 4096 bytes. */
export function encodeOpen(open: Open): Uint8Array {
  const capabilities = encodeCapabilities(open.capabilities, open.asn);
  // RFC 9072 2: the long form only where the short one does not hold them. A parameter has a header of two bytes, or three.
  const extended = capabilities.length + 2 > 255;
  const head = capabilities.length === 0 ? 0 : extended ? 6 : 2;
  const body = new Uint8Array(10 + head + capabilities.length);
  const asn = open.asn > 0xffff ? AS_TRANS : open.asn;
  body.set([VERSION, asn >>> 8, asn, open.holdTime >>> 8, open.holdTime]);
  body.set([open.routerId >>> 24, open.routerId >>> 16, open.routerId >>> 8, open.routerId], 5);
  if (extended) {
    const total = capabilities.length + 3;
    const { length } = capabilities;
    body.set([EXTENDED, EXTENDED, total >>> 8, total, CAPABILITIES, length >>> 8, length], 9);
  } else if (head > 0) {
    body.set([capabilities.length + 2, CAPABILITIES, capabilities.length], 9);
  }
  body.set(capabilities, 10 + head);
  return frame(MESSAGE.OPEN, body);
}

/** What holds on a session in which this side sent `ours` and the other `theirs`. Pure; families in our order. */
export function negotiate(ours: Capabilities, theirs: Capabilities): Negotiated {
  const both = (family: Family, send: Capabilities, receive: Capabilities) =>
    send.addPath.some((entry) => entry.family === family && entry.send) &&
    receive.addPath.some((entry) => entry.family === family && entry.receive);
  const families = ours.families.filter((family) => theirs.families.includes(family));
  return {
    fourOctetAsn: ours.fourOctetAsn && theirs.fourOctetAsn,
    extendedMessages: ours.extendedMessages && theirs.extendedMessages,
    families,
    addPathReceive: families.filter((family) => both(family, theirs, ours)),
    addPathSend: families.filter((family) => both(family, ours, theirs)),
    extendedNextHop: ours.extendedNextHop && theirs.extendedNextHop,
  };
}
