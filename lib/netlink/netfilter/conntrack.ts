/**
 * Connections that the kernel tracks: include/uapi/linux/netfilter/nfnetlink_conntrack.h, net/netfilter/nf_conntrack_netlink.c.
 *
 * When an endpoint goes its address may be another's soon: what the kernel remembers of the address's connections (that they were allowed,
 * where they were translated to) must go with it. The original tuple is what the first packet had, the reply tuple is what answers
 * have after translation: an endpoint that called is the source of the original, one that was called is the source of the reply.
 */
import { type Address, addressBytes, addressFromBytes, formatAddress } from "../../ip/index.ts";
import type { DumpRequest, Request } from "../message.ts";
import type { Netlink } from "../socket.ts";
import { Attributes, TYPE_MASK, type Writer } from "../wire.ts";
import { type NetfilterMessage, NF_FAMILY, NF_SUBSYSTEM, NFGENMSG, nfDump, nfRequest } from "./message.ts";

const MSG = { NEW: 0, GET: 1, DELETE: 2 } as const;
const CTA = { TUPLE_ORIG: 1, TUPLE_REPLY: 2, STATUS: 3, TIMEOUT: 7, MARK: 8, ID: 12, ZONE: 18, FILTER: 25 } as const;
const TUPLE = { IP: 1, PROTO: 2 } as const;
const IP = { V4_SRC: 1, V4_DST: 2, V6_SRC: 3, V6_DST: 4 } as const;
const PROTO = { NUM: 1, SRC_PORT: 2, DST_PORT: 3 } as const;
const FILTER = { ORIG_FLAGS: 1, REPLY_FLAGS: 2 } as const;
/** Which parts of a tuple a dump is filtered by. */
const BY = { SOURCE: 1 << 0, DESTINATION: 1 << 1 } as const;
/** Up to this many addresses the kernel filters, in a walk of its table for each place; beyond, all flows are read once. */
const FILTERED_ADDRESSES = 1;

/** Status bits: IPS_…. */
export const CT_STATUS = {
  SEEN_REPLY: 1 << 1,
  ASSURED: 1 << 2,
  CONFIRMED: 1 << 3,
  SRC_NAT: 1 << 4,
  DST_NAT: 1 << 5,
} as const;

export interface FlowTuple {
  readonly source: Address;
  readonly destination: Address;
  /** IPPROTO */
  readonly protocol: number;
  /** Of protocols that have ports. */
  readonly sourcePort?: number;
  readonly destinationPort?: number;
}

/** A tracked connection. */
export interface Flow {
  readonly original: FlowTuple;
  readonly reply: FlowTuple;
  /** CT_STATUS */
  readonly status: number;
  readonly mark: number;
  readonly zone: number;
  /** Seconds until it is forgotten without another packet. */
  readonly timeout: number;
  /** Tells it from a later connection with the same tuple, unless the kernel gave that the same memory. */
  readonly id: number;
  /** The original tuple as the kernel wrote it, to name the flow by. */
  readonly key: Uint8Array;
}

/** Where in a flow an address stands. */
export type FlowField = "originalSource" | "originalDestination" | "replySource" | "replyDestination";
/** Calls of the address, and calls to it (felix/conntrack). */
export const ENDPOINT_FIELDS: readonly FlowField[] = ["originalSource", "replySource"];

export interface FlowFilter {
  readonly version: 4 | 6;
  /** What stands in one place. */
  readonly field?: FlowField;
  readonly address?: Address;
}

/**
 * The tracked flows of an IP version, or those that have an address in a place. Kernels since 5.8 send no others; what older ones send is
 * left out here.
 */
export function conntrackFlows(filter: FlowFilter): DumpRequest<Flow> {
  const { version, field, address } = filter;
  const family = version === 4 ? NF_FAMILY.IPV4 : NF_FAMILY.IPV6;
  return nfDump({
    subsystem: NF_SUBSYSTEM.CONNTRACK,
    type: MSG.GET,
    family,
    attempt: () =>
      address ? `list the connections with ${formatAddress(address)} as ${field}` : "list the connections",
    ...(field && address && { attributes: (writer: Writer) => filterBy(writer, field, address) }),
    decode: (message) => {
      if (message.type !== MSG.NEW || message.family !== family) return undefined;
      const flow = decodeFlow(message);
      if (!flow || !field || !address) return flow;
      return fieldOf(flow, field).value === address.value ? flow : undefined;
    },
  });
}

function filterBy(writer: Writer, field: FlowField, address: Address): void {
  const original = field === "originalSource" || field === "originalDestination";
  const isSource = field === "originalSource" || field === "replySource";
  const type = address.version === 4 ? (isSource ? IP.V4_SRC : IP.V4_DST) : isSource ? IP.V6_SRC : IP.V6_DST;
  writer.nested(original ? CTA.TUPLE_ORIG : CTA.TUPLE_REPLY, () => {
    writer.nested(TUPLE.IP, () => writer.attribute(type, addressBytes(address)));
  });
  const flags = isSource ? BY.SOURCE : BY.DESTINATION;
  writer.nested(CTA.FILTER, () => {
    // In the machine's order, as the one exception among netfilter's attributes.
    writer.attributeU32(FILTER.ORIG_FLAGS, original ? flags : 0);
    writer.attributeU32(FILTER.REPLY_FLAGS, original ? 0 : flags);
  });
}

/** The address in one place of a flow. */
export function fieldOf(flow: Flow, field: FlowField): Address {
  switch (field) {
    case "originalSource":
      return flow.original.source;
    case "originalDestination":
      return flow.original.destination;
    case "replySource":
      return flow.reply.source;
    case "replyDestination":
      return flow.reply.destination;
  }
}

/** Forgets one connection; ENOENT when it is no longer tracked. */
export function conntrackDelete(flow: Flow): Request {
  const { original, key, zone, id } = flow;
  return nfRequest({
    subsystem: NF_SUBSYSTEM.CONNTRACK,
    type: MSG.DELETE,
    family: original.source.version === 4 ? NF_FAMILY.IPV4 : NF_FAMILY.IPV6,
    attempt: () =>
      `forget the connection of ${formatAddress(original.source)} to ${formatAddress(original.destination)}`,
    attributes: (writer) => {
      writer.nested(CTA.TUPLE_ORIG, () => writer.raw(key));
      if (zone !== 0) writer.attributeU16be(CTA.ZONE, zone);
      writer.attributeU32be(CTA.ID, id);
    },
  });
}

/**
 * Forgets all connections that have one of the addresses in one of the places; how many there were. What arrives of a
 * connection afterwards is a new connection, which policy decides on. Throws NetlinkError when the kernel refuses, EOPNOTSUPP or
 * EINVAL without connection tracking.
 */
export function flushConntrack(
  netfilter: Netlink,
  addresses: readonly Address[],
  fields: readonly FlowField[] = ENDPOINT_FIELDS,
): number {
  let count = 0;
  for (const version of [4, 6] as const) {
    const wanted = addresses.filter((address) => address.version === version);
    if (wanted.length > 0) count += forget(netfilter, findFlows(netfilter, version, wanted, fields));
  }
  return count;
}

function findFlows(
  netfilter: Netlink,
  version: 4 | 6,
  addresses: readonly Address[],
  fields: readonly FlowField[],
): Iterable<Flow> {
  if (addresses.length > FILTERED_ADDRESSES) return netfilter.dump(flowsOfAny(version, addresses, fields));
  const found = new Map<string, Flow>();
  for (const address of addresses) {
    for (const field of fields) {
      for (const flow of netfilter.dump(conntrackFlows({ version, field, address }))) {
        found.set(`${flow.id}/${flow.zone}/${flow.key.join()}`, flow);
      }
    }
  }
  return found.values();
}

/** Flows with any of many addresses. Most have none: they are passed over before anything is made of them. */
function flowsOfAny(version: 4 | 6, addresses: readonly Address[], fields: readonly FlowField[]): DumpRequest<Flow> {
  const values = new Set(addresses.map(({ value }) => value));
  const tails = new Set(addresses.map(({ value }) => Number(value & 0xffffffffn)));
  const all = conntrackFlows({ version });
  return {
    ...all,
    decode: (message) => {
      if (!mayHave(message.payload, tails)) return undefined;
      const flow = all.decode(message);
      return flow && fields.some((field) => values.has(fieldOf(flow, field).value)) ? flow : undefined;
    },
  };
}

/** Whether the last four bytes of an address of either tuple are among `tails`. Anything that is no flow as usual may have them. */
function mayHave(payload: Uint8Array, tails: ReadonlySet<number>): boolean {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  let tuples = 0;
  for (let at = NFGENMSG; at + 12 <= payload.length && tuples < 2; ) {
    const length = view.getUint16(at, true);
    const type = view.getUint16(at + 2, true) & TYPE_MASK;
    if (length < 4 || at + length > payload.length) return true;
    if (type === CTA.TUPLE_ORIG || type === CTA.TUPLE_REPLY) {
      // The first within a tuple are its addresses: source and destination.
      const end = at + 4 + view.getUint16(at + 4, true);
      if ((view.getUint16(at + 6, true) & TYPE_MASK) !== TUPLE.IP || end > at + length) return true;
      for (let ip = at + 8; ip + 8 <= end; ) {
        const size = view.getUint16(ip, true);
        if (size < 8 || ip + size > end) return true;
        if (tails.has(view.getUint32(ip + size - 4, false))) return true;
        ip += (size + 3) & ~3;
      }
      tuples++;
    }
    at += (length + 3) & ~3;
  }
  return tuples < 2;
}

function forget(netfilter: Netlink, flows: Iterable<Flow>): number {
  let count = 0;
  for (const { error } of netfilter.batch([...flows].map(conntrackDelete))) {
    if (!error) count++;
    else if (error.code !== "ENOENT") throw error; // it ended meanwhile, or another has its tuple
  }
  return count;
}

/** A message of a flow; undefined when it is of neither IP version. */
export function decodeFlow(message: NetfilterMessage): Flow | undefined {
  const attributes = message.attributes();
  const key = attributes.get(CTA.TUPLE_ORIG);
  const original = decodeTuple(key);
  const reply = decodeTuple(attributes.get(CTA.TUPLE_REPLY));
  if (!key || !original || !reply) return undefined;
  return {
    original,
    reply,
    status: attributes.u32be(CTA.STATUS) ?? 0,
    mark: attributes.u32be(CTA.MARK) ?? 0,
    zone: attributes.u16be(CTA.ZONE) ?? 0,
    timeout: attributes.u32be(CTA.TIMEOUT) ?? 0,
    id: attributes.u32be(CTA.ID) ?? 0,
    key: key.slice(), // the message is a view of a buffer that is used again
  };
}

function decodeTuple(bytes: Uint8Array | undefined): FlowTuple | undefined {
  const tuple = bytes && Attributes.parse(bytes);
  const ip = tuple?.nested(TUPLE.IP);
  const proto = tuple?.nested(TUPLE.PROTO);
  const source = ip?.get(IP.V4_SRC) ?? ip?.get(IP.V6_SRC);
  const destination = ip?.get(IP.V4_DST) ?? ip?.get(IP.V6_DST);
  if (
    !source ||
    !destination ||
    (source.length !== 4 && source.length !== 16) ||
    source.length !== destination.length
  ) {
    return undefined;
  }
  const sourcePort = proto?.u16be(PROTO.SRC_PORT);
  const destinationPort = proto?.u16be(PROTO.DST_PORT);
  return {
    source: addressFromBytes(source),
    destination: addressFromBytes(destination),
    protocol: proto?.u8(PROTO.NUM) ?? 0,
    ...(sourcePort !== undefined && { sourcePort }),
    ...(destinationPort !== undefined && { destinationPort }),
  };
}
