/** UPDATE bodies put together by hand. */
import type { Negotiated } from "../types.ts";
import { hex } from "./hex.ts";

export const SESSION: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4, 6],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

/** Attributes by name: `flags type length value` in digits. The path is 64512, 4200000000. */
export const GOOD = {
  origin: "40 01 01 00",
  asPath: "40 02 0a 0202 0000fc00 fa56ea00",
  nextHop: "40 03 04 0a000001",
} as const;
export const MANDATORY = `${GOOD.origin} ${GOOD.asPath} ${GOOD.nextHop}`;

/** 2001:db8::1 as next hop, and 2001:db8:1::/48. */
export const REACH_V6 = "80 0e 1c 0002 01 10 20010db8000000000000000000000001 00 30 20010db80001";
export const UNREACH_V6 = "80 0f 0a 0002 01 30 20010db80002";
/** 10.0.0.64/26 */
export const NLRI = "1a 0a000040";

/** Fields of an UPDATE in digits. */
export function body(attributes: string, nlri = "", withdrawn = ""): Uint8Array<ArrayBuffer> {
  return hex(`${size(withdrawn)} ${withdrawn} ${size(attributes)} ${attributes} ${nlri}`);
}

function size(digits: string): string {
  return hex(digits).length.toString(16).padStart(4, "0");
}
