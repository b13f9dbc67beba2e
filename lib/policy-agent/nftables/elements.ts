/**
 * Sets and maps, and their elements as bytes. A set of nets holds intervals: the kernel keeps the first address, and the first one after the last,
 * marked as an end, as two elements (net/netfilter/nft_set_rbtree.c); an interval up to the very last address has no end.
 */
import { addressBytes, addressFromBytes, formatAddress } from "../../ip/index.ts";
import { Attributes, NetlinkParseError, type Writer } from "../../netlink/netfilter/index.ts";
import type { PortRange, SetType } from "../calc/index.ts";
import type { IpVersion } from "../rules/index.ts";
import { VERDICT, VERDICT_CODE, writeVerdict } from "./expressions.ts";
import { netOf, UnsayableError } from "./normal.ts";

/** What a set holds: of programs, of rules' ports, or a dispatch's verdict map. */
export type Shape = SetType | "ports" | "map";

const FLAG = { ANONYMOUS: 1, INTERVAL: 4, MAP: 8 } as const;
/** Flags that make a set another one: constant, interval, map, time-out, evaluated. Concatenation shows in the type. */
const TELLING_FLAGS = 0x3e;
const DATA_VERDICT = 0xffffff00;
/** nft's own numbers of types, six bits each in a concatenation: what `nft list` reads. */
const TYPE = { ipv4: 7, ipv6: 8, protocol: 12, service: 13, interface: 41 } as const;
/** IFNAMSIZ */
const INTERFACE_NAME_SIZE = 16;

/** How the kernel describes a set. */
export interface SetForm {
  readonly flags: number;
  readonly keyType: number;
  readonly keyLength: number;
  /** Of maps. */
  readonly dataType?: number;
}

export function formOf(shape: Shape, version: IpVersion): SetForm {
  const addressType = version === 4 ? TYPE.ipv4 : TYPE.ipv6;
  const addressLength = version === 4 ? 4 : 16;
  switch (shape) {
    case "net":
      return { flags: FLAG.INTERVAL, keyType: addressType, keyLength: addressLength };
    case "port":
      // Each part of a concatenation takes words of four bytes.
      return {
        flags: 0,
        keyType: (addressType << 12) | (TYPE.protocol << 6) | TYPE.service,
        keyLength: addressLength + 8,
      };
    case "ports":
      return { flags: FLAG.INTERVAL, keyType: TYPE.service, keyLength: 2 };
    case "map":
      return { flags: FLAG.MAP, keyType: TYPE.interface, keyLength: INTERFACE_NAME_SIZE, dataType: DATA_VERDICT };
  }
}

/** Which of ours a set of the kernel is; `foreign`: none. Undefined for an anonymous one, which is part of a rule. */
export function shapeOf(form: SetForm, version: IpVersion): Shape | "foreign" | undefined {
  if (form.flags & FLAG.ANONYMOUS) return undefined;
  for (const shape of ["net", "port", "ports", "map"] as const) {
    const ours = formOf(shape, version);
    if (
      ours.flags === (form.flags & TELLING_FLAGS) &&
      ours.keyType === form.keyType &&
      ours.keyLength === form.keyLength &&
      ((ours.flags & FLAG.MAP) === 0) === (form.dataType === undefined || form.dataType === 0) &&
      (ours.dataType === undefined || ours.dataType === form.dataType)
    ) {
      return shape;
    }
  }
  return "foreign";
}

/** As nft writes it. */
export function shapeText(shape: Shape, version: IpVersion): string {
  const address = version === 4 ? "ipv4_addr" : "ipv6_addr";
  switch (shape) {
    case "net":
      return `type ${address}; flags interval;`;
    case "port":
      return `type ${address} . inet_proto . inet_service;`;
    case "ports":
      return "type inet_service; flags interval;";
    case "map":
      return "type ifname : verdict;";
  }
}

const HOST_ORDER = 1;
const NETWORK_ORDER = 2;
/** NFTNL_UDATA_SET_…: notes for nft, without which it lists addresses the wrong way round. */
const NOTE = { KEY_ORDER: 0, DATA_ORDER: 1, DATA_INTERVAL: 6 } as const;

/** Byte order of keys (and, of maps, of data), as nft notes it with a set. */
export function setNotes(shape: Shape): Uint8Array {
  const notes: number[] = [];
  const note = (type: number, value: number): number => notes.push(type, 4, value, 0, 0, 0);
  if (shape === "map") {
    note(NOTE.KEY_ORDER, HOST_ORDER);
    note(NOTE.DATA_ORDER, 0);
    note(NOTE.DATA_INTERVAL, 0);
  } else if (shape === "port") {
    note(NOTE.KEY_ORDER, 0);
  } else {
    note(NOTE.KEY_ORDER, NETWORK_ORDER);
  }
  return Uint8Array.from(notes);
}

/** A member of a program's set: taken apart only while it is compared or sent, because there may be a million of them. */
export interface Member {
  readonly member: string;
  readonly type: SetType;
  readonly version: IpVersion;
}

/** An element as the kernel has it. */
export interface Parts {
  readonly key: Uint8Array;
  /** First key after an interval; `open`: it goes to the last. Absent where keys stand alone. */
  readonly end?: Uint8Array | "open";
  /** Chain to go to: of maps. */
  readonly chain?: string;
}

export type Element = Member | Parts;

const PROTOCOLS: Readonly<Record<string, number>> = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 };

/** Throws {@link UnsayableError} for a member that cannot be an element. */
export function partsOf(element: Element): Parts {
  if ("key" in element) return element;
  const { member, type, version } = element;
  return type === "net" ? netParts(member, version) : portParts(member, version);
}

function netParts(member: string, version: IpVersion): Parts {
  const { address, length } = netOf(member, version);
  const key = addressBytes(address);
  return { key, end: after(key, length) };
}

/** The key after the network of `length` bits that begins at `key`. */
function after(key: Uint8Array, length: number): Uint8Array | "open" {
  if (length === 0) return "open";
  const end = key.slice();
  let carry = 1 << (7 - ((length - 1) & 7));
  for (let i = (length - 1) >> 3; i >= 0; i--) {
    const sum = end[i]! + carry;
    end[i] = sum & 0xff;
    if (sum < 256) return end;
    carry = 1;
  }
  return "open";
}

function portParts(member: string, version: IpVersion): Parts {
  const [, address, name, digits] = /^([^,]+),([a-z0-9]+):(\d+)$/i.exec(member) ?? [];
  const protocol = PROTOCOLS[name?.toLowerCase() ?? ""] ?? Number(name);
  const port = Number(digits);
  if (address === undefined || !(protocol >= 0 && protocol <= 255) || !(port <= 0xffff)) {
    throw new UnsayableError(`${JSON.stringify(member)} is no address with a port such as 10.0.0.1,tcp:80`);
  }
  const net = netOf(address, version);
  const bytes = addressBytes(net.address);
  if (net.length !== bytes.length * 8) throw new UnsayableError(`${JSON.stringify(member)} is no single address`);
  const key = new Uint8Array(bytes.length + 8);
  key.set(bytes);
  key[bytes.length] = protocol;
  key[bytes.length + 4] = port >> 8;
  key[bytes.length + 5] = port & 0xff;
  return { key };
}

export function portRangeParts({ first, last }: PortRange): Parts {
  const bytes = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 0xff);
  return { key: bytes(first), end: last === 0xffff ? "open" : bytes(last + 1) };
}

export function mapParts(interfaceName: string, chain: string): Parts {
  const bytes = new TextEncoder().encode(interfaceName);
  if (bytes.length === 0 || bytes.length >= INTERFACE_NAME_SIZE) {
    throw new UnsayableError(`${JSON.stringify(interfaceName)} is no name of an interface`);
  }
  const key = new Uint8Array(INTERFACE_NAME_SIZE);
  key.set(bytes);
  return { key, chain };
}

/** As nft writes it. */
export function elementText(element: Element): string {
  const { key, end, chain } = partsOf(element);
  if (chain !== undefined) return `"${interfaceName(key)}" : goto ${chain}`;
  if (end === undefined) {
    const address = key.length - 8;
    return `${formatKey(key.subarray(0, address))} . ${key[address]} . ${formatKey(key.subarray(address + 4, address + 6))}`;
  }
  if ("member" in element) return element.member;
  const last = end === "open" ? new Uint8Array(key.length).fill(0xff) : before(end);
  return Buffer.compare(key, last) === 0 ? formatKey(key) : `${formatKey(key)}-${formatKey(last)}`;
}

function before(key: Uint8Array): Uint8Array {
  const last = key.slice();
  for (let i = last.length - 1; i >= 0 && last[i]!-- === 0; i--);
  return last;
}

const formatKey = (key: Uint8Array): string =>
  key.length === 2 ? `${(key[0]! << 8) | key[1]!}` : formatAddress(addressFromBytes(key));

export const interfaceName = (key: Uint8Array): string => Buffer.from(key).toString("utf8").replace(/\0+$/, "");

/** One text for one element of a set (not of a map), whatever it was read from: key, and of intervals the end. */
export function keyText({ key, end }: Parts): string {
  const text = latin1(key);
  return end === undefined || end === "open" ? text : text + latin1(end);
}

/** The element that {@link keyText} made the text of. */
export function partsOfText(text: string, shape: Shape, version: IpVersion): Parts {
  const { keyLength } = formOf(shape, version);
  const bytes = Buffer.from(text, "latin1");
  if (shape === "port") return { key: bytes };
  return { key: bytes.subarray(0, keyLength), end: bytes.length > keyLength ? bytes.subarray(keyLength) : "open" };
}

const latin1 = (bytes: Uint8Array): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1");

const ELEMENT = { KEY: 1, DATA: 2, FLAGS: 3, NOTES: 6 } as const;
const DATA_VALUE = 1;
const DATA_VERDICT_ATTRIBUTE = 2;
const LIST_ELEMENT = 1;
const INTERVAL_END = 1;
const MOST_ELEMENT_BYTES = 128;
/** NFTNL_UDATA_SET_ELEM_FLAGS, "open": the end that is not there is meant. */
const OPEN_NOTE = Uint8Array.of(1, 4, 1, 0, 0, 0);

/** Writes the element as one or two of a list; to delete it, the key is enough. */
export function writeElement(writer: Writer, element: Element, keyOnly: boolean): void {
  const { key, end, chain } = partsOf(element);
  writer.nested(LIST_ELEMENT, () => {
    writeKey(writer, key);
    if (chain !== undefined && !keyOnly)
      writer.nested(ELEMENT.DATA, () => writeVerdict(writer, VERDICT_CODE.goto, chain));
    if (end === "open" && !keyOnly) writer.attribute(ELEMENT.NOTES, OPEN_NOTE);
  });
  if (end === undefined || end === "open") return;
  writer.nested(LIST_ELEMENT, () => {
    writer.attributeU32be(ELEMENT.FLAGS, INTERVAL_END);
    writeKey(writer, end);
  });
}

function writeKey(writer: Writer, key: Uint8Array): void {
  writer.nested(ELEMENT.KEY, () => writer.attribute(DATA_VALUE, key));
}

/** More bytes than this an element does not take in a message. */
export function elementSize(element: Element): number {
  return MOST_ELEMENT_BYTES + ("chain" in element ? element.chain!.length : 0);
}

/** One element as the kernel lists it. */
export interface ListedElement {
  /** Its bytes, one a character: such texts sort as the bytes do. */
  readonly key: string;
  readonly isEnd: boolean;
  /** Of maps: the chain to go to; empty for any other verdict. */
  readonly chain?: string;
}

/**
 * The elements of one message. Read in place, because there may be hundreds of thousands. One without a key is passed over: a
 * catch-all, which none of ours has.
 */
export function readElements(list: Uint8Array): ListedElement[] {
  const bytes = Buffer.from(list.buffer, list.byteOffset, list.length);
  const elements: ListedElement[] = [];
  for (let at = 0; at + 4 <= bytes.length; ) {
    const end = at + lengthAt(bytes, at);
    let key: string | undefined;
    let isEnd = false;
    let chain: string | undefined;
    for (let inner = at + 4; inner + 4 <= end; ) {
      const length = lengthAt(bytes, inner);
      const type = bytes.readUInt16LE(inner + 2) & TYPE_MASK;
      // Of the data the first attribute, after another header, is all there is.
      if (type === ELEMENT.KEY) key = bytes.toString("latin1", inner + 8, inner + lengthAt(bytes, inner + 4) + 4);
      else if (type === ELEMENT.FLAGS) isEnd = (bytes.readUInt32BE(inner + 4) & INTERVAL_END) !== 0;
      else if (type === ELEMENT.DATA) chain = chainOf(Attributes.parse(list.subarray(inner + 4, inner + length)));
      inner += (length + 3) & ~3;
    }
    if (key !== undefined) elements.push(chain === undefined ? { key, isEnd } : { key, isEnd, chain });
    at = (end + 3) & ~3;
  }
  return elements;
}

const TYPE_MASK = 0x3fff;

/** Length of the attribute with its header. */
function lengthAt(bytes: Buffer, at: number): number {
  const length = at + 4 <= bytes.length ? bytes.readUInt16LE(at) : 0;
  if (length < 4 || at + length > bytes.length) throw new NetlinkParseError(`an element of ${length} bytes`);
  return length;
}

function chainOf(data: Attributes): string | undefined {
  const verdict = data.nested(DATA_VERDICT_ATTRIBUTE);
  if (!verdict) return undefined;
  return verdict.u32be(VERDICT.CODE) === VERDICT_CODE.goto >>> 0 ? (verdict.string(VERDICT.CHAIN) ?? "") : "";
}

/** Texts of the elements of a set, as {@link keyText} makes them: beginnings and ends are joined where there are any. */
export function joinListed(listed: readonly ListedElement[], shape: Shape): string[] {
  if (shape === "port" || shape === "map") return listed.map(({ key }) => key);
  // An end and a beginning at the same key: one interval ends where the next begins.
  const sorted = listed.toSorted((a, b) =>
    a.key < b.key ? -1 : a.key > b.key ? 1 : Number(b.isEnd) - Number(a.isEnd),
  );
  const texts: string[] = [];
  let begun: string | undefined;
  for (const { key, isEnd } of sorted) {
    if (begun !== undefined) texts.push(begun + key);
    // An end without a beginning is what nft puts in front of all: nothing.
    begun = isEnd ? undefined : key;
  }
  if (begun !== undefined) texts.push(begun);
  return texts;
}
