/** Whether an OPEN is acceptable, and what both OPENs settle. Pure. */
import {
  type Capabilities,
  ERROR,
  type Family,
  type Negotiated,
  type Notification,
  negotiate,
  OPEN_ERROR,
  type Open,
} from "../wire/index.ts";

/** What both OPENs of a connection come to. */
export interface Settled {
  readonly negotiated: Negotiated;
  /** Seconds; 0: no hold timer, and no KEEPALIVEs. */
  readonly holdTime: number;
  /** Seconds; 0: none. */
  readonly keepaliveTime: number;
  /** Both offered graceful restart: the families whose routes of the other are kept when the connection is lost, and for how many seconds. */
  readonly restart?: { readonly families: readonly Family[]; readonly time: number; readonly notification: boolean };
}

export interface OwnOpen {
  readonly localAsn: number;
  readonly peerAsn: number;
  readonly routerId: number;
  readonly holdTime: number;
  readonly keepaliveTime?: number;
}

/** Undefined: acceptable. */
export function judgeOpen(
  own: OwnOpen,
  offered: Capabilities,
  open: Open,
): { readonly notification: Notification; readonly why: string } | undefined {
  const refuse = (subcode: number, why: string, data = new Uint8Array(0)) => ({
    notification: { code: ERROR.OPEN, subcode, data },
    why,
  });
  if (open.asn !== own.peerAsn) {
    return refuse(OPEN_ERROR.BAD_PEER_AS, `it is of AS ${open.asn}, and AS ${own.peerAsn} is configured here for it`);
  }
  // RFC 6286 2.2: between ASes router ids need not differ.
  if (open.routerId === own.routerId && own.localAsn === own.peerAsn) {
    return refuse(
      OPEN_ERROR.BAD_BGP_IDENTIFIER,
      `it has the router id of this node, ${dottedQuad(open.routerId)}: give one of them another`,
    );
  }
  const { families } = negotiate(offered, open.capabilities);
  if (families.length === 0) {
    // RFC 5492 5: the capabilities that were missed, as they would have been sent.
    const wanted = Uint8Array.from(offered.families.flatMap((family) => [1, 4, 0, family === 4 ? 1 : 2, 0, 1]));
    const names = (list: readonly Family[]) => list.map((family) => `IPv${family}`).join(" and ") || "neither";
    return refuse(
      OPEN_ERROR.UNSUPPORTED_CAPABILITY,
      `it offers ${names(open.capabilities.families)} unicast, and this side ${names(offered.families)}`,
      wanted,
    );
  }
  return undefined;
}

/** Of an acceptable OPEN. */
export function settle(own: OwnOpen, offered: Capabilities, open: Open): Settled {
  const negotiated = negotiate(offered, open.capabilities);
  const holdTime = Math.min(own.holdTime, open.holdTime);
  const third = Math.max(1, Math.floor(holdTime / 3));
  const theirs = open.capabilities.gracefulRestart;
  const ours = offered.gracefulRestart;
  return {
    negotiated,
    holdTime,
    // More than a third would risk the session for one that was lost (RFC 4271 4.4).
    keepaliveTime: holdTime === 0 ? 0 : Math.min(third, Math.max(1, own.keepaliveTime ?? third)),
    ...(ours &&
      theirs && {
        restart: {
          families: negotiated.families.filter((family) => theirs.families.some((entry) => entry.family === family)),
          time: theirs.time,
          notification: ours.notification && theirs.notification,
        },
      }),
  };
}

/**
 * RFC 4271 6.8: of two connections the one stays that the side with the higher router id has made; the higher AS where the ids are
 * equal (RFC 6286 2.3).
 */
export function keptInitiator(own: OwnOpen, open: Open): "local" | "remote" {
  if (own.routerId !== open.routerId) return own.routerId > open.routerId ? "local" : "remote";
  return own.localAsn > open.asn ? "local" : "remote";
}

export function dottedQuad(value: number): string {
  return [value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255].join(".");
}
