/**
 * BGP's messages, as a pure codec over bytes: what arrives becomes values (types.ts), and values become what is sent. No sockets, no timers,
 * no tables.
 *
 * In: chunks of a TCP stream go into a {@link MessageReader}, which yields whole messages as views of those chunks; the type says which `decode…`
 * reads the body. An UPDATE's prefixes stay bytes: {@link eachPrefix} walks them with numbers only, so that a message of a thousand prefixes makes a
 * handful of objects. Its attributes stay bytes, too, as the key they are known by; `attributes()` decodes them for whoever has not seen the key.
 * A key is the attributes in four-octet form without what has been discarded and without any prefix, and means the same on every session.
 *
 * Out: {@link encodeAttributes} once for each set of attributes, then an {@link UpdateWriter} packs prefixes behind them, message by message.
 *
 * What is wrong on the wire is a {@link WireError} with the NOTIFICATION to send; it ends the session. Errors of path attributes (RFC 7606) do not:
 * the prefixes of that message count as withdrawn, or the attribute is left out, and `problems` says so in words.
 *
 * RFC 4271 4, 6.1-6.3 (messages and their errors), 4760 (IPv6), 2545 3 (its next hops), 8950 (IPv4 over IPv6), 6793 (four-octet AS numbers, both ways),
 * 5492 and 9072 (capabilities), 2918 and 7313 (route refresh), 4724 and 8538 (graceful restart), 4456 (reflection), 1997, 4360 and 8092 (communities),
 * 5065 3 (segments of confederations, read only), 7911 (add-path), 7606 and 7607 (errors), 4486, 9003, 9384 and 9687 (NOTIFICATIONs), 8654 (extended
 * messages).
 *
 * Gaps: families other than IPv4 and IPv6 unicast are read as numbers in capabilities and otherwise left out. Extended communities and unknown
 * attributes are bytes. What needs to know of the own node (loops, next hops that are its own, the first AS of a path) is not looked at here, nor are
 * prefixes that mean no destination (multicast, loopback).
 */
export { type AttributeLimits, DEFAULT_LIMITS, decodeAttributes } from "./attributes.ts";
export { type EncodedAttributes, encodeAttributes } from "./encode-attributes.ts";
export { WireError } from "./error.ts";
export {
  encodeKeepalive,
  HEADER_LENGTH,
  MAX_EXTENDED_LENGTH,
  MAX_LENGTH,
  MESSAGE,
  type MessageType,
} from "./message.ts";
export { countPrefixes, eachPrefix, type PrefixVisitor, PrefixWriter } from "./nlri.ts";
export { decodeNotification, encodeNotification, innerNotification } from "./notification.ts";
export { decodeOpen, encodeOpen, negotiate } from "./open.ts";
export { type Message, MessageReader } from "./reader.ts";
export { decodeRouteRefresh, encodeRouteRefresh } from "./refresh.ts";
export type * from "./types.ts";
export { ERROR, ORIGIN } from "./types.ts";
export { decodeUpdate, type UpdateContext } from "./update.ts";
export { encodeEndOfRib, encodeUpdates, type Prefixes, UpdateWriter } from "./update-writer.ts";
export { CEASE, describeNotification, HEADER_ERROR, OPEN_ERROR, UPDATE_ERROR } from "./words.ts";
