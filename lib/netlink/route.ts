/** Routes: include/uapi/linux/rtnetlink.h (struct rtmsg), net/ipv4/fib_frontend.c, net/ipv6/route.c. */
import {
  type Address,
  addressBytes,
  addressFromBytes,
  type Cidr,
  cidrFromAddress,
  formatAddress,
  formatCidr,
} from "../ip/index.ts";
import { AF, type DumpRequest, FLAG, familyOf, type Message, type Request, TYPE } from "./message.ts";
import { Attributes, Reader, type Writer } from "./wire.ts";

const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  VIA: 18,
} as const;
const RTAX_MTU = 2;
const RTNH_F_DEAD = 1;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RTMSG = 12;
const RTNEXTHOP = 8;

export const RT_TABLE = { UNSPEC: 0, DEFAULT: 253, MAIN: 254, LOCAL: 255 } as const;
export const RT_SCOPE = { UNIVERSE: 0, SITE: 200, LINK: 253, HOST: 254, NOWHERE: 255 } as const;
/** Who made a route. Calico: 3 for workloads, 80 for blocks and overlays; BIRD is 12. */
export const RT_PROTOCOL = {
  UNSPEC: 0,
  REDIRECT: 1,
  KERNEL: 2,
  BOOT: 3,
  STATIC: 4,
  RA: 9,
  BIRD: 12,
  CALICO: 80,
} as const;

const TYPES = [
  "unspec",
  "unicast",
  "local",
  "broadcast",
  "anycast",
  "multicast",
  "blackhole",
  "unreachable",
  "prohibit",
  "throw",
  "nat",
] as const;
export type RouteType = (typeof TYPES)[number];

/** One way out. */
export interface NextHop {
  readonly gateway?: Address;
  readonly index?: number;
  /** The gateway is taken to be on the link, whatever the link's addresses say. */
  readonly onlink?: boolean;
  /** 1 to 256, for multipath routes; 1 when absent. */
  readonly weight?: number;
  /** Of a route with several, as the kernel describes it: this one's link is down. Not for requests. */
  readonly dead?: boolean;
}

/** A route to add or delete. One next hop is given by `gateway` and `index`, several by `nextHops`. */
export interface RouteChange extends NextHop {
  readonly destination: Cidr;
  readonly nextHops?: readonly NextHop[];
  /** RT_TABLE; main when absent. */
  readonly table?: number;
  /** RT_PROTOCOL; boot when absent, as `ip route` and Go's netlink package do. */
  readonly protocol?: number;
  /** RT_SCOPE; universe when absent. IPv6 has no scopes and ignores it. */
  readonly scope?: number;
  /** "unicast" when absent. */
  readonly type?: RouteType;
  /** Priority: lower is preferred. IPv6's default is 1024, IPv4's 0. */
  readonly metric?: number;
  readonly source?: Address;
  readonly mtu?: number;
  /** Type of service that it is for; 0 when absent: any. IPv4 keeps one route of a metric for each. */
  readonly tos?: number;
}

/** A route as the kernel describes it. A route with one next hop has it in `gateway` and `index`, and no `nextHops`. */
export interface RouteInfo extends RouteChange {
  readonly table: number;
  readonly protocol: number;
  readonly scope: number;
  readonly type: RouteType;
  readonly metric: number;
  readonly flags: number;
}

/** "exclusive": EEXIST when the destination has a route of that metric; "replace": takes its place; "append": beside it. */
export type RouteMode = "exclusive" | "replace" | "append";

const MODES: Record<RouteMode, number> = {
  exclusive: FLAG.CREATE | FLAG.EXCLUSIVE,
  replace: FLAG.CREATE | FLAG.REPLACE,
  append: FLAG.CREATE | FLAG.APPEND,
};

/** Adds a route. */
export function routeAdd(route: RouteChange, mode: RouteMode = "exclusive"): Request {
  return {
    type: TYPE.NEWROUTE,
    flags: MODES[mode],
    attempt: () => `${mode === "replace" ? "set" : "add"} the route ${describeRoute(route)}`,
    body: (writer) => body(writer, route, RT_PROTOCOL.BOOT, RT_SCOPE.UNIVERSE),
  };
}

/** Deletes the first route that has all the given properties; ESRCH when there is none. */
export function routeDelete(route: RouteChange): Request {
  return {
    type: TYPE.DELROUTE,
    flags: 0,
    attempt: () => `delete the route ${describeRoute(route)}`,
    // Absent properties match anything: NOWHERE is how IPv4 says so for the scope.
    body: (writer) => body(writer, route, RT_PROTOCOL.UNSPEC, RT_SCOPE.NOWHERE),
  };
}

/** "blackhole 10.0.0.0/26 dev 7 via 10.0.0.1 table 99". */
export function describeRoute(route: RouteChange): string {
  let text = route.type === undefined || route.type === "unicast" ? "" : `${route.type} `;
  text += formatCidr(route.destination);
  if (route.gateway) text += ` via ${formatAddress(route.gateway)}`;
  if (route.index !== undefined) text += ` on the link with index ${route.index}`;
  if (route.nextHops) text += ` with ${route.nextHops.length} next hops`;
  if (route.table !== undefined && route.table !== RT_TABLE.MAIN) text += ` in table ${route.table}`;
  return text;
}

function body(writer: Writer, route: RouteChange, protocol: number, scope: number): void {
  const { destination, nextHops } = route;
  const table = route.table ?? RT_TABLE.MAIN;
  const type = TYPES.indexOf(route.type ?? "unicast");
  // struct rtmsg in words of four bytes: family, prefix lengths of destination and source, type of service;
  writer.u32(familyOf(destination.version) | (destination.length << 8) | ((route.tos ?? 0) << 24));
  const shown = table < 256 ? table : RT_TABLE.UNSPEC;
  writer.u32(shown | ((route.protocol ?? protocol) << 8) | ((route.scope ?? scope) << 16) | (type << 24));
  writer.u32(route.onlink ? RTNH_F_ONLINK : 0);
  if (destination.length > 0) {
    writer.attributeAddress(RTA.DST, { version: destination.version, value: destination.base });
  }
  if (table >= 256) writer.attributeU32(RTA.TABLE, table);
  if (route.metric !== undefined) writer.attributeU32(RTA.PRIORITY, route.metric);
  if (route.source) writer.attributeAddress(RTA.PREFSRC, route.source);
  if (route.mtu !== undefined) {
    const { mtu } = route;
    writer.nested(RTA.METRICS, () => writer.attributeU32(RTAX_MTU, mtu));
  }
  if (route.index !== undefined) writer.attributeU32(RTA.OIF, route.index);
  if (route.gateway) gateway(writer, destination.version, route.gateway);
  if (nextHops)
    writer.nested(
      RTA.MULTIPATH,
      () => nextHops.forEach((hop) => void nextHop(writer, destination.version, hop)),
      false,
    );
}

/** An IPv4 route may have an IPv6 gateway (RFC 5549), which has an attribute of its own. */
function gateway(writer: Writer, version: 4 | 6, address: Address): void {
  if (address.version === version) {
    writer.attributeAddress(RTA.GATEWAY, address);
    return;
  }
  const value = addressBytes(address);
  const via = new Uint8Array(2 + value.length);
  via[0] = familyOf(address.version);
  via.set(value, 2);
  writer.attribute(RTA.VIA, via);
}

function nextHop(writer: Writer, version: 4 | 6, hop: NextHop): void {
  const start = writer.length;
  writer.u16(0);
  writer.u8(hop.onlink ? RTNH_F_ONLINK : 0);
  writer.u8((hop.weight ?? 1) - 1);
  writer.i32(hop.index ?? 0);
  if (hop.gateway) gateway(writer, version, hop.gateway);
  writer.patchU16(start, writer.length - start);
}

export interface RouteFilter {
  readonly version?: 4 | 6;
  readonly table?: number;
  readonly index?: number;
  readonly protocol?: number;
  readonly type?: RouteType;
}

/** All routes of all tables, or those that have all the given properties. */
export function routes(filter: RouteFilter = {}): DumpRequest<RouteInfo> {
  const { table, index, protocol, type } = filter;
  return {
    type: TYPE.GETROUTE,
    attempt: () => "list the routes",
    body: (writer) => {
      writer.u8(familyOf(filter.version));
      writer.zeros(3);
      writer.u8(table !== undefined && table < 256 ? table : 0);
      writer.u8(protocol ?? 0);
      writer.u8(0);
      writer.u8(type === undefined ? 0 : TYPES.indexOf(type));
      writer.u32(0);
      if (table !== undefined) writer.attributeU32(RTA.TABLE, table);
      if (index !== undefined) writer.attributeU32(RTA.OIF, index);
    },
    decode: (message) => {
      // Cached exceptions (learnt path MTUs) are no routes of anybody's.
      if (message.type !== TYPE.NEWROUTE || new Reader(message.payload).u32(8) & RTM_F_CLONED) return undefined;
      const route = decodeRoute(message);
      return route && matches(route, filter) ? route : undefined;
    },
  };
}

function matches(route: RouteInfo, filter: RouteFilter): boolean {
  if (filter.version !== undefined && route.destination.version !== filter.version) return false;
  if (filter.table !== undefined && route.table !== filter.table) return false;
  if (filter.protocol !== undefined && route.protocol !== filter.protocol) return false;
  if (filter.type !== undefined && route.type !== filter.type) return false;
  if (filter.index === undefined || route.index === filter.index) return true;
  return route.nextHops?.some((hop) => hop.index === filter.index) ?? false;
}

/** Which route a packet to `destination` would take; ENETUNREACH, EHOSTUNREACH… when none. */
export function routeGet(destination: Address): Request<RouteInfo> {
  return {
    type: TYPE.GETROUTE,
    flags: 0,
    attempt: () => `look up the route to ${formatAddress(destination)}`,
    body: (writer) => {
      writer.u8(familyOf(destination.version));
      writer.u8(destination.version === 4 ? 32 : 128);
      writer.zeros(10);
      writer.attributeAddress(RTA.DST, destination);
    },
    decode: (message) => decodeRoute(message)!,
  };
}

/** A NEWROUTE or DELROUTE message; undefined for families other than IPv4 and IPv6. */
export function decodeRoute(message: Message): RouteInfo | undefined {
  const reader = new Reader(message.payload);
  const family = reader.u8(0);
  if (family !== AF.INET && family !== AF.INET6) return undefined;
  const version = family === AF.INET ? 4 : 6;
  const attributes = reader.attributes(RTMSG);
  const flags = reader.u32(8);
  const hops = attributes.get(RTA.MULTIPATH);
  const single = decodeHop(attributes, flags);
  const index = attributes.u32(RTA.OIF);
  const source = address(attributes.get(RTA.PREFSRC));
  const mtu = attributes.nested(RTA.METRICS)?.u32(RTAX_MTU);
  const length = reader.u8(1);
  const tos = reader.u8(3);
  return {
    destination: destination(version, attributes.get(RTA.DST), length),
    table: attributes.u32(RTA.TABLE) ?? reader.u8(4),
    protocol: reader.u8(5),
    scope: reader.u8(6),
    type: TYPES[reader.u8(7)] ?? "unspec",
    metric: attributes.u32(RTA.PRIORITY) ?? 0,
    flags,
    ...single,
    ...(index !== undefined && { index }),
    ...(source && { source }),
    ...(mtu !== undefined && { mtu }),
    ...(tos !== 0 && { tos }),
    ...(hops && { nextHops: decodeHops(hops) }),
  };
}

function destination(version: 4 | 6, bytes: Uint8Array | undefined, length: number): Cidr {
  const base = address(bytes);
  // A malformed length is the reader's concern no more than a malformed address: both are clamped to the family.
  const limit = Math.min(length, version === 4 ? 32 : 128);
  return cidrFromAddress(base?.version === version ? base : { version, value: 0n }, limit);
}

function decodeHop(attributes: Attributes, flags: number): NextHop {
  const via = attributes.get(RTA.VIA);
  const found = address(attributes.get(RTA.GATEWAY)) ?? address(via?.subarray(2));
  return { ...(found && { gateway: found }), ...(flags & RTNH_F_ONLINK && { onlink: true }) };
}

function decodeHops(bytes: Uint8Array): NextHop[] {
  const reader = new Reader(bytes);
  const hops: NextHop[] = [];
  for (let at = 0; at + RTNEXTHOP <= bytes.length; ) {
    const length = reader.u16(at);
    const attributes = Attributes.parse(reader.slice(at + RTNEXTHOP, at + Math.max(length, RTNEXTHOP)));
    const weight = reader.u8(at + 3) + 1;
    const flags = reader.u8(at + 2);
    const dead = (flags & RTNH_F_DEAD) !== 0;
    hops.push({ ...decodeHop(attributes, flags), index: reader.i32(at + 4), weight, ...(dead && { dead }) });
    at += Math.max(RTNEXTHOP, (length + 3) & ~3);
  }
  return hops;
}

function address(bytes: Uint8Array | undefined): Address | undefined {
  return bytes && (bytes.length === 4 || bytes.length === 16) ? addressFromBytes(bytes) : undefined;
}
