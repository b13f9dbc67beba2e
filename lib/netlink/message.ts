/** Netlink messages: header, acknowledgement, end of a dump (include/uapi/linux/netlink.h). */
import { NetlinkError, NetlinkParseError } from "./error.ts";
import { Attributes, Reader, type Writer } from "./wire.ts";

export const HEADER = 16;

/** Message types; those of rtnetlink come in fours: NEW, DEL, GET, SET. */
export const TYPE = {
  NOOP: 1,
  ERROR: 2,
  DONE: 3,
  OVERRUN: 4,
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  SETLINK: 19,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
  NEWQDISC: 36,
  DELQDISC: 37,
  GETQDISC: 38,
  SETNEIGHTBL: 67,
  GETNSID: 90,
} as const;

export const FLAG = {
  REQUEST: 0x1,
  ACK: 0x4,
  /** The kernel sends the asker, too, the notification that it sends of the change: how netfilter tells handles. */
  ECHO: 0x8,
  /** The dump is not of one moment: tables changed while it ran. */
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  REPLACE: 0x100,
  EXCLUSIVE: 0x200,
  CREATE: 0x400,
  APPEND: 0x800,
  /** In an acknowledgement: the offending message is not repeated whole. */
  CAPPED: 0x100,
  /** In an acknowledgement or the end of a dump: attributes with an explanation follow. */
  ACK_TLVS: 0x200,
} as const;

export const AF = { UNSPEC: 0, INET: 2, BRIDGE: 7, INET6: 10 } as const;

/** The address family of an IP version, or of no version in particular. */
export function familyOf(version: 4 | 6 | undefined): number {
  return version === undefined ? AF.UNSPEC : version === 4 ? AF.INET : AF.INET6;
}

export interface Message {
  readonly type: number;
  readonly flags: number;
  readonly sequence: number;
  readonly port: number;
  /** What follows the header: a view of the datagram, valid until the socket receives again. */
  readonly payload: Uint8Array;
}

/** One thing to ask of the kernel. */
export interface Request<Reply = void> {
  readonly type: number;
  /** Beside REQUEST and ACK, which are set when it is sent. */
  readonly flags: number;
  /** Writes the family's header and attributes. */
  readonly body: (writer: Writer) => void;
  /** What is attempted on which object, for errors: "delete the link cali123". */
  readonly attempt: () => string;
  /** Present when the kernel answers with a message rather than only an acknowledgement. */
  readonly decode?: (message: Message) => Reply;
}

/** Asks for a table. */
export interface DumpRequest<Item> {
  readonly type: number;
  readonly body: (writer: Writer) => void;
  readonly attempt: () => string;
  /** Undefined for a message that is not of this table or not asked for: kernels before 4.20 do not filter. */
  readonly decode: (message: Message) => Item | undefined;
}

/** Appends one message; where the next one begins. */
export function encodeMessage(
  writer: Writer,
  type: number,
  flags: number,
  sequence: number,
  body: (writer: Writer) => void,
): number {
  const start = writer.words4(0, type | (flags << 16), sequence, 0); // the last is the port: the kernel fills in the sender's
  body(writer);
  const end = writer.length;
  writer.patchU32(start, end - start);
  if ((end & 3) === 0) return end;
  writer.pad();
  return writer.length;
}

/** The messages of one datagram. */
export function parseMessages(datagram: Uint8Array): Message[] {
  const view = new DataView(datagram.buffer, datagram.byteOffset, datagram.byteLength);
  const messages: Message[] = [];
  for (let at = 0; at < datagram.length; ) {
    if (datagram.length - at < HEADER) {
      throw new NetlinkParseError(`${datagram.length - at} bytes are left where a message header of 16 should begin`);
    }
    const length = view.getUint32(at, true);
    if (length < HEADER || length > datagram.length - at) {
      throw new NetlinkParseError(`message of ${length} bytes where ${datagram.length - at} are left`);
    }
    messages.push({
      type: view.getUint16(at + 4, true),
      flags: view.getUint16(at + 6, true),
      sequence: view.getUint32(at + 8, true),
      port: view.getUint32(at + 12, true),
      payload: datagram.subarray(at + HEADER, at + length),
    });
    at += Math.ceil(length / 4) * 4;
  }
  return messages;
}

/** Attribute of an extended acknowledgement: the explanation in words. */
const EXPLANATION = 1;

/** What an ERROR message says: undefined when it is an acknowledgement of success. */
export function parseError(message: Message, attempt: () => string): NetlinkError | undefined {
  const reader = new Reader(message.payload);
  const errno = -reader.i32(0);
  if (errno === 0) return undefined;
  // The offending message follows the errno: its header only when capped.
  let explained = 4 + HEADER;
  if (!(message.flags & FLAG.CAPPED)) explained = 4 + Math.max(HEADER, Math.ceil(reader.u32(4) / 4) * 4);
  return new NetlinkError(errno, attempt(), explanation(message, explained));
}

/** What the DONE message of a dump says: undefined when the dump is complete. */
export function parseDone(message: Message, attempt: () => string): NetlinkError | undefined {
  if (message.payload.length < 4) return undefined;
  const errno = -new Reader(message.payload).i32(0);
  return errno > 0 ? new NetlinkError(errno, attempt(), explanation(message, 4)) : undefined;
}

function explanation(message: Message, at: number): string | undefined {
  if (!(message.flags & FLAG.ACK_TLVS) || at > message.payload.length) return undefined;
  return Attributes.parse(message.payload.subarray(at)).string(EXPLANATION) || undefined;
}
