/** The messages' form: struct nfgenmsg after the netlink header, type = subsystem << 8 | number. */
import type { DumpRequest, Message, Request } from "../message.ts";
import { Attributes, Reader, type Writer } from "../wire.ts";

/** Bytes of struct nfgenmsg. */
export const NFGENMSG = 4;

/** Who a message is for: NFNL_SUBSYS_…. */
export const NF_SUBSYSTEM = { CONNTRACK: 1, QUEUE: 3, LOG: 4, IPSET: 6, NFTABLES: 10, COMPAT: 11, HOOK: 12 } as const;

/** Multicast groups: NFNLGRP_…. */
export const NF_GROUP = {
  CONNTRACK_NEW: 1,
  CONNTRACK_UPDATE: 2,
  CONNTRACK_DESTROY: 3,
  NFTABLES: 7,
  NFTRACE: 9,
} as const;

/** Protocol families as netfilter counts them: NFPROTO_…. */
export const NF_FAMILY = { UNSPEC: 0, INET: 1, IPV4: 2, ARP: 3, NETDEV: 5, BRIDGE: 7, IPV6: 10 } as const;

/** A message of netfilter, its header taken off. */
export interface NetfilterMessage {
  /** NF_SUBSYSTEM */
  readonly subsystem: number;
  /** Number within the subsystem: NFT_MSG_…, IPCTNL_MSG_…. */
  readonly type: number;
  /** NLM_F */
  readonly flags: number;
  /** Port id of the socket that caused a notification (not a process id), 0 for the kernel itself. */
  readonly port: number;
  readonly sequence: number;
  /** NF_FAMILY */
  readonly family: number;
  /** `res_id`: nftables puts the low 16 bits of the ruleset's generation here. */
  readonly resource: number;
  /** The attributes' bytes: a view, valid until the call that delivered it returns. */
  readonly payload: Uint8Array;
  /** The payload, parsed. Throws {@link NetlinkParseError} when it is damaged. */
  attributes(): Attributes;
}

/** Where a message goes and what it carries. */
export interface NetfilterAddress {
  /** NF_SUBSYSTEM */
  readonly subsystem: number;
  /** Number within the subsystem. */
  readonly type: number;
  /** NF_FAMILY; UNSPEC when absent. */
  readonly family?: number;
  /** `res_id`; 0 when absent. */
  readonly resource?: number;
  /** Writes the attributes. */
  readonly attributes?: (writer: Writer) => void;
  /** What is attempted on which object, for errors. */
  readonly attempt: () => string;
}

export interface NetfilterRequest<Reply = void> extends NetfilterAddress {
  /** NLM_F bits beside REQUEST and ACK. */
  readonly flags?: number;
  /** Present when the kernel answers with a message rather than only an acknowledgement. */
  readonly decode?: (message: NetfilterMessage) => Reply;
}

export interface NetfilterDump<Item> extends NetfilterAddress {
  /** Undefined for a message that was not asked for. */
  readonly decode: (message: NetfilterMessage) => Item | undefined;
}

/** A request for {@link Netlink.request}, {@link Netlink.batch} and {@link Netfilter.transaction}. */
export function nfRequest<Reply = void>(request: NetfilterRequest<Reply>): Request<Reply> {
  const { decode } = request;
  return {
    type: (request.subsystem << 8) | request.type,
    flags: request.flags ?? 0,
    attempt: request.attempt,
    body: (writer) => writeNetfilter(writer, request),
    ...(decode && { decode: (message: Message) => decode(decodeNetfilter(message)) }),
  };
}

/** A table for {@link Netlink.dump}. */
export function nfDump<Item>(dump: NetfilterDump<Item>): DumpRequest<Item> {
  return {
    type: (dump.subsystem << 8) | dump.type,
    attempt: dump.attempt,
    body: (writer) => writeNetfilter(writer, dump),
    decode: (message) => dump.decode(decodeNetfilter(message)),
  };
}

export function writeNetfilter(
  writer: Writer,
  { family = NF_FAMILY.UNSPEC, resource = 0, attributes }: NetfilterAddress,
): void {
  writer.u8(family);
  writer.u8(0); // version: NFNETLINK_V0
  writer.u16be(resource);
  attributes?.(writer);
}

/** Takes a message's header off. Throws {@link NetlinkParseError} when it is too short to have one. */
export function decodeNetfilter(message: Message): NetfilterMessage {
  const reader = new Reader(message.payload);
  const payload = reader.slice(NFGENMSG);
  return {
    subsystem: message.type >> 8,
    type: message.type & 0xff,
    flags: message.flags,
    port: message.port,
    sequence: message.sequence,
    family: reader.u8(0),
    resource: (reader.u8(2) << 8) | reader.u8(3),
    payload,
    attributes: () => Attributes.parse(payload),
  };
}
