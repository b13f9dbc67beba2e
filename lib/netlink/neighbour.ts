/** Neighbours (ARP, NDP, proxies, forwarding database): include/uapi/linux/neighbour.h. */
import { type Address, addressFromBytes, formatAddress, formatMac } from "../ip/index.ts";
import { AF, type DumpRequest, FLAG, familyOf, type Message, type Request, TYPE } from "./message.ts";
import { NESTED, Reader, type Writer } from "./wire.ts";

const NDA = { DST: 1, LLADDR: 2, IFINDEX: 8 } as const;
const NDTA = { NAME: 1, PARMS: 6 } as const;
const NDTPA = { IFINDEX: 1, PROXY_DELAY: 13 } as const;
const NTF_PROXY = 0x08;
const NTF_SELF = 0x02;
const NDMSG = 12;

/** States of an entry. */
export const NUD = {
  INCOMPLETE: 0x01,
  REACHABLE: 0x02,
  STALE: 0x04,
  DELAY: 0x08,
  PROBE: 0x10,
  FAILED: 0x20,
  NOARP: 0x40,
  PERMANENT: 0x80,
} as const;

export interface NeighbourChange {
  readonly index: number;
  /** Absent for an entry of the forwarding database that has no remote address. */
  readonly address?: Address;
  readonly mac?: Uint8Array;
  /** NUD bits; PERMANENT when absent. */
  readonly state?: number;
  /** The link answers for this address on behalf of another. */
  readonly proxy?: boolean;
  /** An entry of a VXLAN's or bridge's own forwarding database. */
  readonly forwarding?: boolean;
}

export interface NeighbourInfo {
  readonly index: number;
  readonly address?: Address;
  readonly mac?: string;
  readonly state: number;
  readonly proxy: boolean;
  readonly forwarding: boolean;
}

function body(writer: Writer, change: NeighbourChange): void {
  writer.u8(change.forwarding ? AF.BRIDGE : familyOf(change.address?.version));
  writer.zeros(3);
  writer.i32(change.index);
  writer.u16(change.proxy ? 0 : (change.state ?? NUD.PERMANENT));
  writer.u8((change.proxy ? NTF_PROXY : 0) | (change.forwarding ? NTF_SELF : 0));
  writer.u8(0);
  if (change.address) writer.attributeAddress(NDA.DST, change.address);
  if (change.mac) writer.attribute(NDA.LLADDR, change.mac);
}

function describe(change: NeighbourChange): string {
  const what = change.address ? formatAddress(change.address) : change.mac ? formatMac(change.mac) : "without address";
  return `${change.proxy ? "proxy entry" : "neighbour"} ${what} on the link with index ${change.index}`;
}

/** Adds an entry or takes the place of the one that is there. */
export function neighbourSet(change: NeighbourChange): Request {
  return {
    type: TYPE.NEWNEIGH,
    flags: FLAG.CREATE | FLAG.REPLACE,
    attempt: () => `set the ${describe(change)}`,
    body: (writer) => body(writer, change),
  };
}

/** Removes an entry; ENOENT when there is none. */
export function neighbourDelete(change: NeighbourChange): Request {
  return {
    type: TYPE.DELNEIGH,
    flags: 0,
    attempt: () => `remove the ${describe(change)}`,
    body: (writer) => body(writer, change),
  };
}

/** Entries of one kind: neighbours, proxy entries (`proxy`) or forwarding database (`forwarding`). */
export function neighbours(
  filter: {
    readonly index?: number;
    readonly version?: 4 | 6;
    readonly proxy?: boolean;
    readonly forwarding?: boolean;
  } = {},
): DumpRequest<NeighbourInfo> {
  const { index, version } = filter;
  const proxy = filter.proxy ?? false;
  const forwarding = filter.forwarding ?? false;
  return {
    type: TYPE.GETNEIGH,
    attempt: () => "list the neighbours",
    body: (writer) => {
      writer.u8(forwarding ? AF.BRIDGE : familyOf(version));
      writer.zeros(3);
      // Neighbours are filtered by an attribute, the forwarding database by the header, proxies not at all.
      writer.i32(forwarding ? (index ?? 0) : 0);
      writer.u16(0);
      writer.u8(proxy ? NTF_PROXY : 0);
      writer.u8(0);
      if (index !== undefined && !forwarding && !proxy) writer.attributeU32(NDA.IFINDEX, index);
    },
    decode: (message) => {
      if (message.type !== TYPE.NEWNEIGH) return undefined;
      const info = decodeNeighbour(message);
      if (info.proxy !== proxy || info.forwarding !== forwarding) return undefined;
      if (index !== undefined && info.index !== index) return undefined;
      return version === undefined || info.address?.version === version ? info : undefined;
    },
  };
}

/** A NEWNEIGH or DELNEIGH message. */
export function decodeNeighbour(message: Message): NeighbourInfo {
  const reader = new Reader(message.payload);
  const attributes = reader.attributes(NDMSG);
  const bytes = attributes.get(NDA.DST);
  const mac = attributes.get(NDA.LLADDR);
  return {
    index: reader.i32(4),
    state: reader.u16(8),
    proxy: (reader.u8(10) & NTF_PROXY) !== 0,
    forwarding: reader.u8(0) === AF.BRIDGE,
    ...(bytes && (bytes.length === 4 || bytes.length === 16) && { address: addressFromBytes(bytes) }),
    ...(mac?.length === 6 && { mac: formatMac(mac) }),
  };
}

/** Sets how long (ms, at most) a link waits before it answers for others: net/ipv4/neigh/<link>/proxy_delay, or IPv6's. */
export function neighbourTableSet(index: number, version: 4 | 6, settings: { readonly proxyDelay: number }): Request {
  return {
    type: TYPE.SETNEIGHTBL,
    flags: FLAG.REPLACE,
    attempt: () => `set the proxy delay of the link with index ${index} to ${settings.proxyDelay} ms`,
    body: (writer) => {
      writer.u32(familyOf(version)); // and three bytes of nothing
      writer.attributeString(NDTA.NAME, version === 4 ? "arp_cache" : "ndisc_cache");
      const parameters = writer.begin(NDTA.PARMS | NESTED);
      writer.attributeU32(NDTPA.IFINDEX, index);
      writer.attributeU64(NDTPA.PROXY_DELAY, settings.proxyDelay);
      writer.end(parameters);
    },
  };
}
