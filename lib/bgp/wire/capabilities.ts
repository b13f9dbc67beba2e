/** Capabilities (RFC 5492): code, length, value. */
import { familyOf } from "./refresh.ts";
import type { Capabilities, Family, GracefulRestart } from "./types.ts";
import { capabilityName } from "./words.ts";

/** IANA's codes of what is understood here. */
const CODE = {
  MULTIPROTOCOL: 1,
  ROUTE_REFRESH: 2,
  EXTENDED_NEXT_HOP: 5,
  EXTENDED_MESSAGES: 6,
  GRACEFUL_RESTART: 64,
  FOUR_OCTET_ASN: 65,
  ADD_PATH: 69,
  ENHANCED_ROUTE_REFRESH: 70,
} as const;

/** What `others` never has, MULTIPROTOCOL of foreign families apart. */
export const capabilityCodes: ReadonlySet<number> = new Set(Object.values(CODE));

/** Flags of RFC 4724 3 and RFC 8538 2, in the first byte; and of each family. */
const RESTARTING = 0x80;
const NOTIFICATION = 0x40;
const FORWARDING = 0x80;

/** What has been read so far. */
export interface FoundCapabilities {
  families: Family[];
  /** Any multiprotocol capability at all: then IPv4 counts only where it is named (RFC 4760 8). */
  multiprotocol: boolean;
  routeRefresh: boolean;
  enhancedRouteRefresh: boolean;
  extendedMessages: boolean;
  extendedNextHop: boolean;
  asn: number | undefined;
  gracefulRestart: GracefulRestart | undefined;
  addPath: { family: Family; send: boolean; receive: boolean }[];
  others: { code: number; value: Uint8Array }[];
}

export function emptyCapabilities(): FoundCapabilities {
  return {
    families: [],
    multiprotocol: false,
    routeRefresh: false,
    enhancedRouteRefresh: false,
    extendedMessages: false,
    extendedNextHop: false,
    asn: undefined,
    gracefulRestart: undefined,
    addPath: [],
    others: [],
  };
}

/** Adds one capability; returns what is wrong with it. RFC 5492 4: the same code may come more than once. */
export function decodeCapability(found: FoundCapabilities, code: number, value: Uint8Array): string | undefined {
  const { length } = value;
  const bad = () => `capability ${code} (${capabilityName(code)}) with ${length} bytes`;
  switch (code) {
    case CODE.MULTIPROTOCOL: {
      if (length !== 4) return bad();
      found.multiprotocol = true;
      const family = familyOf((value[0]! << 8) | value[1]!, value[3]!);
      if (family === undefined) found.others.push({ code, value: value.slice() });
      else if (!found.families.includes(family)) found.families.push(family);
      return undefined;
    }
    case CODE.ROUTE_REFRESH:
      if (length !== 0) return bad();
      found.routeRefresh = true;
      return undefined;
    case CODE.ENHANCED_ROUTE_REFRESH:
      if (length !== 0) return bad();
      found.enhancedRouteRefresh = true;
      return undefined;
    case CODE.EXTENDED_MESSAGES:
      if (length !== 0) return bad();
      found.extendedMessages = true;
      return undefined;
    case CODE.FOUR_OCTET_ASN:
      if (length !== 4) return bad();
      found.asn = ((value[0]! << 24) | (value[1]! << 16) | (value[2]! << 8) | value[3]!) >>> 0;
      return undefined;
    case CODE.EXTENDED_NEXT_HOP:
      if (length % 6 !== 0) return bad();
      // RFC 8950 4: AFI and SAFI of the prefixes, AFI of the next hop, each in two bytes.
      for (let at = 0; at < length; at += 6) {
        const [a, b, c, d, e, f] = value.subarray(at, at + 6);
        if (a === 0 && b === 1 && c === 0 && d === 1 && e === 0 && f === 2) found.extendedNextHop = true;
      }
      return undefined;
    case CODE.GRACEFUL_RESTART:
      if (length % 4 !== 2) return bad();
      // RFC 4724 3: the last one counts.
      found.gracefulRestart = gracefulRestart(value);
      return undefined;
    case CODE.ADD_PATH:
      if (length % 4 !== 0 || length === 0) return bad();
      for (let at = 0; at < length; at += 4) {
        const family = familyOf((value[at]! << 8) | value[at + 1]!, value[at + 2]!);
        const how = value[at + 3]!;
        // RFC 7911 4: any other number is not understood, and ignored.
        if (family === undefined || how < 1 || how > 3) continue;
        const entry = { family, receive: (how & 1) !== 0, send: (how & 2) !== 0 };
        const known = found.addPath.findIndex((other) => other.family === family);
        if (known < 0) found.addPath.push(entry);
        else found.addPath[known] = entry;
      }
      return undefined;
    default:
      found.others.push({ code, value: value.slice() });
      return undefined;
  }
}

export function finishCapabilities(found: FoundCapabilities): Capabilities {
  return {
    families: found.multiprotocol ? found.families : [4],
    routeRefresh: found.routeRefresh,
    enhancedRouteRefresh: found.enhancedRouteRefresh,
    extendedMessages: found.extendedMessages,
    fourOctetAsn: found.asn !== undefined,
    ...(found.gracefulRestart ? { gracefulRestart: found.gracefulRestart } : {}),
    addPath: found.addPath,
    extendedNextHop: found.extendedNextHop,
    others: found.others,
  };
}

function gracefulRestart(value: Uint8Array): GracefulRestart {
  const families: { family: Family; forwarding: boolean }[] = [];
  for (let at = 2; at < value.length; at += 4) {
    const family = familyOf((value[at]! << 8) | value[at + 1]!, value[at + 2]!);
    if (family === undefined || families.some((entry) => entry.family === family)) continue;
    families.push({ family, forwarding: (value[at + 3]! & FORWARDING) !== 0 });
  }
  return {
    restarting: (value[0]! & RESTARTING) !== 0,
    notification: (value[0]! & NOTIFICATION) !== 0,
    time: ((value[0]! & 0x0f) << 8) | value[1]!,
    families,
  };
}

/** All of them one after the other, in a fixed order; `asn` is what the four-octet capability says. */
export function encodeCapabilities(capabilities: Capabilities, asn: number): Uint8Array {
  const out: number[] = [];
  const add = (code: number, ...value: number[]) => out.push(code, value.length, ...value);
  const afi = (family: Family) => (family === 4 ? 1 : 2);
  for (const family of capabilities.families) add(CODE.MULTIPROTOCOL, 0, afi(family), 0, 1);
  if (capabilities.routeRefresh) add(CODE.ROUTE_REFRESH);
  if (capabilities.extendedNextHop) add(CODE.EXTENDED_NEXT_HOP, 0, 1, 0, 1, 0, 2);
  if (capabilities.extendedMessages) add(CODE.EXTENDED_MESSAGES);
  const restart = capabilities.gracefulRestart;
  if (restart) {
    const flags = (restart.restarting ? RESTARTING : 0) | (restart.notification ? NOTIFICATION : 0);
    const time = Math.min(Math.max(Math.trunc(restart.time), 0), 4095);
    const families = restart.families.flatMap(({ family, forwarding }) => [
      0,
      afi(family),
      1,
      forwarding ? FORWARDING : 0,
    ]);
    add(CODE.GRACEFUL_RESTART, flags | (time >>> 8), time & 255, ...families);
  }
  if (capabilities.fourOctetAsn) {
    add(CODE.FOUR_OCTET_ASN, asn >>> 24, (asn >>> 16) & 255, (asn >>> 8) & 255, asn & 255);
  }
  const addPath = capabilities.addPath.filter((entry) => entry.send || entry.receive);
  if (addPath.length > 0) {
    add(
      CODE.ADD_PATH,
      ...addPath.flatMap((entry) => [0, afi(entry.family), 1, (entry.receive ? 1 : 0) | (entry.send ? 2 : 0)]),
    );
  }
  if (capabilities.enhancedRouteRefresh) add(CODE.ENHANCED_ROUTE_REFRESH);
  for (const { code, value } of capabilities.others) {
    if (value.length > 255) throw new RangeError(`capability ${code} has ${value.length} bytes, of 255 at most`);
    add(code, ...value);
  }
  return Uint8Array.from(out);
}
