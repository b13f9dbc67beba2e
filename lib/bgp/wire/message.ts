/** The header that every message has (RFC 4271 4.1): marker, length, type. */

export const HEADER_LENGTH = 19;
/** RFC 4271 4.1. */
export const MAX_LENGTH = 4096;
/** RFC 8654 4: of all messages but OPEN and KEEPALIVE, where both offered it. */
export const MAX_EXTENDED_LENGTH = 65535;

/** Message types: RFC 4271 4.1, RFC 2918 3. */
export const MESSAGE = { OPEN: 1, UPDATE: 2, NOTIFICATION: 3, KEEPALIVE: 4, ROUTE_REFRESH: 5 } as const;
export type MessageType = (typeof MESSAGE)[keyof typeof MESSAGE];

/** Writes marker, length and type at the front of `into`. */
export function writeHeader(into: Uint8Array, length: number, type: MessageType): void {
  into.fill(0xff, 0, 16);
  into[16] = length >>> 8;
  into[17] = length;
  into[18] = type;
}

/** A whole message around `body`, in memory of its own. Throws a RangeError where it would be longer than `limit`. */
export function frame(type: MessageType, body: Uint8Array, limit = MAX_LENGTH): Uint8Array {
  const length = HEADER_LENGTH + body.length;
  if (length > limit) throw new RangeError(`a message of ${length} bytes is longer than ${limit}`);
  const message = new Uint8Array(length);
  writeHeader(message, length, type);
  message.set(body, HEADER_LENGTH);
  return message;
}

const KEEPALIVE = frame(MESSAGE.KEEPALIVE, new Uint8Array(0));

/** KEEPALIVE (RFC 4271 4.4). Always the same bytes: not to be changed. */
export function encodeKeepalive(): Uint8Array {
  return KEEPALIVE;
}
