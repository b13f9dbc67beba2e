/** ROUTE-REFRESH (RFC 2918 3) and the marks of a refresh's ends (RFC 7313 3.2, in the byte that was reserved). */
import { WireError } from "./error.ts";
import { frame, MESSAGE } from "./message.ts";
import { ERROR, type Family, type RouteRefresh } from "./types.ts";
import { HEADER_ERROR, REFRESH_ERROR } from "./words.ts";

const KINDS = ["request", "begin", "end"] as const;

/** `body` is the message without its header. Undefined: of a family or a kind that is not known here, to be ignored. Throws a {@link WireError}. */
export function decodeRouteRefresh(body: Uint8Array): RouteRefresh | undefined {
  if (body.length !== 4) {
    const message = frame(MESSAGE.ROUTE_REFRESH, body, 65535);
    const kind = body[2];
    if (kind === 1 || kind === 2) {
      // RFC 7313 5 wants the whole message back.
      throw new WireError(
        ERROR.ROUTE_REFRESH,
        REFRESH_ERROR.INVALID_LENGTH,
        `a ROUTE-REFRESH of ${message.length} bytes`,
        message.length <= 4096 - 21 ? message : message.slice(0, 4096 - 21),
      );
    }
    throw new WireError(
      ERROR.HEADER,
      HEADER_ERROR.BAD_LENGTH,
      `a ROUTE-REFRESH of ${message.length} bytes`,
      message.slice(16, 18),
    );
  }
  const family = familyOf((body[0]! << 8) | body[1]!, body[3]!);
  const kind = KINDS[body[2]!];
  return family === undefined || kind === undefined ? undefined : { family, kind };
}

/** A whole message. */
export function encodeRouteRefresh(refresh: RouteRefresh): Uint8Array {
  const afi = refresh.family === 4 ? 1 : 2;
  return frame(MESSAGE.ROUTE_REFRESH, Uint8Array.of(0, afi, KINDS.indexOf(refresh.kind), 1));
}

/** Unicast of AFI 1 or 2; undefined for all else. */
export function familyOf(afi: number, safi: number): Family | undefined {
  return safi !== 1 ? undefined : afi === 1 ? 4 : afi === 2 ? 6 : undefined;
}
