/** The values of BGP's messages. What is here is data; `decode…` and `encode…` make it from bytes and back. */
import type { Address } from "../../ip/index.ts";

/** AFI 1 or 2 with SAFI 1. Other families are carried in capabilities as numbers and otherwise ignored. */
export type Family = 4 | 6;

/** OPEN (RFC 4271 4.2). */
export interface Open {
  /** The sender's AS: of the four-octet capability where there is one (RFC 6793), of the fixed field otherwise. */
  readonly asn: number;
  /** Seconds; 0 or at least 3. */
  readonly holdTime: number;
  /** As an unsigned number. Not 0. */
  readonly routerId: number;
  readonly capabilities: Capabilities;
}

/** RFC 5492. Absent or false: not offered. */
export interface Capabilities {
  /** Multiprotocol (RFC 4760); without the capability a speaker has IPv4 only, and this is [4]. */
  readonly families: readonly Family[];
  /** RFC 2918. */
  readonly routeRefresh: boolean;
  /** RFC 7313. */
  readonly enhancedRouteRefresh: boolean;
  /** RFC 8654: messages of up to 65535 bytes. */
  readonly extendedMessages: boolean;
  /** RFC 6793: paths have four octets an AS. */
  readonly fourOctetAsn: boolean;
  readonly gracefulRestart?: GracefulRestart;
  /** RFC 7911. */
  readonly addPath: readonly { readonly family: Family; readonly send: boolean; readonly receive: boolean }[];
  /** RFC 8950: IPv4 prefixes with an IPv6 next hop. */
  readonly extendedNextHop: boolean;
  /** What is none of these: code and value, for words to the user. */
  readonly others: readonly { readonly code: number; readonly value: Uint8Array }[];
}

/** RFC 4724 3, RFC 8538 2. */
export interface GracefulRestart {
  /** The sender has just restarted. */
  readonly restarting: boolean;
  /** It keeps routes over a NOTIFICATION, too (RFC 8538's N bit). */
  readonly notification: boolean;
  /** Seconds within which it will be back; at most 4095. */
  readonly time: number;
  /** Families whose forwarding state it keeps, and whether it did over this restart. */
  readonly families: readonly { readonly family: Family; readonly forwarding: boolean }[];
}

/** NOTIFICATION (RFC 4271 4.5). */
export interface Notification {
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
  /** Of a Cease by an administrator: what they said (RFC 9003), cleaned of control characters. */
  readonly text?: string;
}

/** ROUTE-REFRESH (RFC 2918), or one of the ends of a refresh (RFC 7313). */
export interface RouteRefresh {
  readonly family: Family;
  readonly kind: "request" | "begin" | "end";
}

export const ORIGIN = { IGP: 0, EGP: 1, INCOMPLETE: 2 } as const;

export interface AsSegment {
  readonly type: "sequence" | "set" | "confederationSequence" | "confederationSet";
  readonly asns: readonly number[];
}

/** Path attributes in meaning; AS4_PATH and AS4_AGGREGATOR are already merged (RFC 6793 4.2.3). */
export interface PathAttributes {
  readonly origin: 0 | 1 | 2;
  readonly asPath: readonly AsSegment[];
  readonly nextHop: Address;
  /** Beside a global IPv6 next hop (RFC 2545 3). */
  readonly linkLocalNextHop?: Address;
  readonly med?: number;
  readonly localPref?: number;
  readonly atomicAggregate: boolean;
  readonly aggregator?: { readonly asn: number; readonly address: number };
  /** RFC 1997: each as one unsigned number. Sorted as received, without repetitions. */
  readonly communities: readonly number[];
  /** RFC 8092. */
  readonly largeCommunities: readonly (readonly [number, number, number])[];
  /** RFC 4360: eight bytes each, passed on as they are. */
  readonly extendedCommunities: readonly Uint8Array[];
  /** RFC 4456. */
  readonly originatorId?: number;
  readonly clusterList: readonly number[];
  /** Optional transitive attributes that are not known here, to be passed on with the Partial bit. */
  readonly unknown: readonly { readonly flags: number; readonly type: number; readonly value: Uint8Array }[];
}

/** What a decoder and an encoder have to know of a session, settled by both OPENs. */
export interface Negotiated {
  readonly fourOctetAsn: boolean;
  readonly extendedMessages: boolean;
  readonly families: readonly Family[];
  /** Families whose prefixes carry a path identifier, as received and as sent. */
  readonly addPathReceive: readonly Family[];
  readonly addPathSend: readonly Family[];
  readonly extendedNextHop: boolean;
}

/** Prefixes as they stand in a message: length in bits and as many bytes, each with a path identifier in front where `addPath` says so. Already checked. */
export interface Nlri {
  readonly family: Family;
  readonly addPath: boolean;
  readonly bytes: Uint8Array;
}

/**
 * UPDATE (RFC 4271 4.3), read with RFC 7606: what is malformed becomes a withdrawal or is left out, and only what cannot be read at all ends the
 * session (decoding throws a {@link WireError} then).
 */
export interface Update {
  readonly withdrawn: readonly Nlri[];
  /** Prefixes that have the attributes below. Empty when those were malformed: then they are among `withdrawn`. */
  readonly reached: readonly Nlri[];
  /**
   * A key of everything the attributes mean, next hop included and prefixes not: equal bytes are equal attributes. Whoever keeps attributes
   * by it calls `attributes` once for many messages. Valid until the next message is decoded; copy it to keep it.
   */
  readonly attributesKey: Uint8Array;
  /** Decodes. Call only where `reached` is not empty. */
  attributes(): PathAttributes;
  /** An empty UPDATE of that family: the end of its table (RFC 4724 2). */
  readonly endOfRib?: Family;
  /** What was wrong and what was done about it, in words. */
  readonly problems: readonly string[];
}

/** Codes and subcodes of NOTIFICATIONs. */
export const ERROR = {
  HEADER: 1,
  OPEN: 2,
  UPDATE: 3,
  HOLD_TIMER: 4,
  FSM: 5,
  CEASE: 6,
  ROUTE_REFRESH: 7,
  /** RFC 9687: the other did not read for too long. */
  SEND_HOLD_TIMER: 8,
} as const;
