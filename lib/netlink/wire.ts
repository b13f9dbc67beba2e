/**
 * Bytes of netlink messages: integers in the machine's order (little-endian on every supported architecture), attributes as
 * length, type, value, padded to four bytes (include/uapi/linux/netlink.h). Attributes marked "be" carry network order.
 */
import { type Address, addressBytes } from "../ip/index.ts";
import { allocate } from "../sys/index.ts";
import { NetlinkParseError } from "./error.ts";

/** A flag bit of an attribute's type, NLA_F_NESTED, and the type without it and NLA_F_NET_BYTEORDER. */
export const NESTED = 0x8000;
export const TYPE_MASK = 0x3fff;
const LONGEST_ATTRIBUTE = 0xffff;

const align = (length: number): number => (length + 3) & ~3;

/**
 * Appends to a buffer that grows. What an ADD writes is a few hundred fields, each once: headers are written in words of four
 * bytes and attributes at once, because a new process pays for a function's first call, and more for one that gets hot.
 */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  constructor(capacity = 512) {
    this.#bytes = allocate(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** What has been written: a copy in memory of its own, which may be handed to the kernel. */
  finish(): Uint8Array<ArrayBuffer> {
    const bytes = allocate(this.#length);
    bytes.set(this.#bytes.subarray(0, this.#length));
    return bytes;
  }

  u8(value: number): void {
    const at = this.#reserve(1);
    this.#view.setUint8(at, value);
  }

  u16(value: number): void {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, true);
  }

  u16be(value: number): void {
    const at = this.#reserve(2);
    this.#view.setUint16(at, value, false);
  }

  u32(value: number): void {
    const at = this.#length;
    this.#length = at + 4;
    if (this.#length > this.#bytes.length) this.#grow();
    this.#view.setUint32(at, value, true);
  }

  u32be(value: number): void {
    const at = this.#reserve(4);
    this.#view.setUint32(at, value, false);
  }

  /** Four words of 32 bits: a message's header, or struct ifinfomsg. Answers where they begin. */
  words4(a: number, b: number, c: number, d: number): number {
    const at = this.#length;
    this.#length = at + 16;
    if (this.#length > this.#bytes.length) this.#grow();
    const view = this.#view;
    view.setUint32(at, a, true);
    view.setUint32(at + 4, b, true);
    view.setUint32(at + 8, c, true);
    view.setUint32(at + 12, d, true);
    return at;
  }

  i32(value: number): void {
    const at = this.#reserve(4);
    this.#view.setInt32(at, value, true);
  }

  u64(value: number | bigint): void {
    const at = this.#reserve(8);
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  raw(bytes: Uint8Array): void {
    const at = this.#reserve(bytes.length);
    this.#bytes.set(bytes, at);
  }

  zeros(count: number): void {
    this.#reserve(count);
  }

  /** Overwrites four bytes that were written before. */
  patchU32(at: number, value: number): void {
    this.#view.setUint32(at, value, true);
  }

  patchU16(at: number, value: number): void {
    this.#view.setUint16(at, value, true);
  }

  pad(): void {
    if (this.#length & 3) this.#reserve(align(this.#length) - this.#length);
  }

  attribute(type: number, bytes: Uint8Array): void {
    const at = this.#open(type, bytes.length);
    this.#bytes.set(bytes, at);
  }

  attributeU8(type: number, value: number): void {
    const at = this.#open(type, 1);
    this.#view.setUint8(at, value);
  }

  attributeU16(type: number, value: number): void {
    const at = this.#open(type, 2);
    this.#view.setUint16(at, value, true);
  }

  attributeU32(type: number, value: number): void {
    const at = this.#length;
    this.#length = at + 8;
    if (this.#length > this.#bytes.length) this.#grow();
    this.#view.setUint32(at, 8 | (type << 16), true);
    this.#view.setUint32(at + 4, value, true);
  }

  attributeU64(type: number, value: number | bigint): void {
    const at = this.#open(type, 8);
    if (value === 0) return; // the usual value here, and the room is zeroed: the first bigint costs a new process 0.1 ms
    this.#view.setBigUint64(at, BigInt(value), true);
  }

  /** Netfilter's attributes are in network order (Documentation/userspace-api/netlink/intro.rst). */
  attributeU16be(type: number, value: number): void {
    const at = this.#open(type, 2);
    this.#view.setUint16(at, value, false);
  }

  attributeU32be(type: number, value: number): void {
    const at = this.#open(type, 4);
    this.#view.setUint32(at, value, false);
  }

  attributeU64be(type: number, value: number | bigint): void {
    const at = this.#open(type, 8);
    this.#view.setBigUint64(at, BigInt(value), false);
  }

  /** UTF-8 with the closing NUL. */
  attributeString(type: number, text: string): void {
    const bytes = new TextEncoder().encode(text);
    const at = this.#open(type, bytes.length + 1);
    this.#bytes.set(bytes, at);
  }

  attributeAddress(type: number, address: Address): void {
    this.attribute(type, addressBytes(address));
  }

  /** An attribute made of what `body` writes. `marked` sets NLA_F_NESTED, which strict parsers of the kernel ask for. */
  nested(type: number, body: () => void, marked = true): void {
    const start = this.begin(marked ? type | NESTED : type);
    body();
    this.end(start);
  }

  /** Begins an attribute that holds others, up to `end` with what this answers. `type` has NESTED where the kernel asks for it. */
  begin(type: number): number {
    return this.#open(type, 0) - 4;
  }

  end(start: number): void {
    const length = this.#length - start;
    if (length > LONGEST_ATTRIBUTE) throw new RangeError(`a netlink attribute of ${length} bytes is too long`);
    this.#view.setUint16(start, length, true);
    this.pad();
  }

  /** Writes the header of an attribute of `size` bytes and leaves room, padded, for them; where they begin. */
  #open(type: number, size: number): number {
    const length = 4 + size;
    if (length > LONGEST_ATTRIBUTE) throw new RangeError(`a netlink attribute of ${length} bytes is too long`);
    const at = this.#reserve((length + 3) & ~3);
    this.#view.setUint16(at, length, true);
    this.#view.setUint16(at + 2, type, true);
    return at + 4;
  }

  /** Makes room; the view and the bytes may be others afterwards. */
  #reserve(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) this.#grow();
    return at;
  }

  /** Up to the length. */
  #grow(): void {
    const grown = allocate(Math.max(this.#bytes.length * 2, this.#length));
    grown.set(this.#bytes);
    this.#bytes = grown;
    this.#view = new DataView(grown.buffer);
  }
}

/** Reads integers at offsets; what lies outside is a {@link NetlinkParseError}. */
export class Reader {
  readonly #view: DataView;
  constructor(readonly bytes: Uint8Array) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  u8(at: number): number {
    this.#need(at, 1);
    return this.#view.getUint8(at);
  }

  u16(at: number): number {
    this.#need(at, 2);
    return this.#view.getUint16(at, true);
  }

  u32(at: number): number {
    this.#need(at, 4);
    return this.#view.getUint32(at, true);
  }

  i32(at: number): number {
    this.#need(at, 4);
    return this.#view.getInt32(at, true);
  }

  slice(from: number, to = this.bytes.length): Uint8Array {
    if (from > to || to > this.bytes.length) throw truncated(to, this.bytes.length);
    return this.bytes.subarray(from, to);
  }

  /** The attributes that follow a header of `from` bytes, a multiple of four. */
  attributes(from: number): Attributes {
    return Attributes.parse(this.slice(from));
  }

  #need(at: number, count: number): void {
    if (at + count > this.bytes.length) throw truncated(at + count, this.bytes.length);
  }
}

export function truncated(needed: number, length: number): NetlinkParseError {
  return new NetlinkParseError(`truncated: ${needed} bytes are needed, ${length} are there`);
}

/** Text up to the first NUL, or to the end: the kernel writes both forms. */
export function textOf(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

/**
 * Attributes by type. Of a type that occurs twice the last one counts, as in the kernel's own parser; `list` has all.
 * Nothing is taken apart before it is asked for: most of a link's sixty attributes interest nobody.
 */
export class Attributes {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  /** Where the value of the last attribute of a type begins. */
  readonly #places: readonly number[];

  private constructor(bytes: Uint8Array, view: DataView, places: readonly number[]) {
    this.#bytes = bytes;
    this.#view = view;
    this.#places = places;
  }

  /** Fewer than four bytes at the end are padding; an attribute that is longer than what is left is an error. */
  static parse(bytes: Uint8Array): Attributes {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const places: number[] = [];
    for (let at = 0; at + 4 <= bytes.length; ) {
      const length = view.getUint16(at, true);
      if (length < 4 || at + length > bytes.length) {
        throw new NetlinkParseError(`attribute of ${length} bytes where ${bytes.length - at} are left`);
      }
      places[view.getUint16(at + 2, true) & TYPE_MASK] = at + 4;
      at += (length + 3) & ~3;
    }
    return new Attributes(bytes, view, places);
  }

  /** All, in order: for attributes that are lists. */
  list(): [type: number, value: Uint8Array][] {
    const list: [number, Uint8Array][] = [];
    for (let at = 0; at + 4 <= this.#bytes.length; ) {
      const length = this.#view.getUint16(at, true);
      list.push([this.#view.getUint16(at + 2, true) & TYPE_MASK, this.#bytes.subarray(at + 4, at + length)]);
      at += align(length);
    }
    return list;
  }

  get(type: number): Uint8Array | undefined {
    const at = this.#find(type, 0);
    return at < 0 ? undefined : this.#bytes.subarray(at, at - 4 + this.#view.getUint16(at - 4, true));
  }

  u8(type: number): number | undefined {
    const at = this.#find(type, 1);
    return at < 0 ? undefined : this.#view.getUint8(at);
  }

  u16(type: number): number | undefined {
    const at = this.#find(type, 2);
    return at < 0 ? undefined : this.#view.getUint16(at, true);
  }

  u32(type: number): number | undefined {
    const at = this.#find(type, 4);
    return at < 0 ? undefined : this.#view.getUint32(at, true);
  }

  i32(type: number): number | undefined {
    const at = this.#find(type, 4);
    return at < 0 ? undefined : this.#view.getInt32(at, true);
  }

  u16be(type: number): number | undefined {
    const at = this.#find(type, 2);
    return at < 0 ? undefined : this.#view.getUint16(at, false);
  }

  u32be(type: number): number | undefined {
    const at = this.#find(type, 4);
    return at < 0 ? undefined : this.#view.getUint32(at, false);
  }

  u64be(type: number): bigint | undefined {
    const at = this.#find(type, 8);
    return at < 0 ? undefined : this.#view.getBigUint64(at, false);
  }

  /** See {@link textOf}. */
  string(type: number): string | undefined {
    const bytes = this.get(type);
    return bytes && textOf(bytes);
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.get(type);
    return bytes && Attributes.parse(bytes);
  }

  /** Where the value of this type begins, which must have `size` bytes at least; -1 without one. */
  #find(type: number, size: number): number {
    const at = this.#places[type];
    if (at === undefined) return -1;
    const length = this.#view.getUint16(at - 4, true) - 4;
    if (length < size) {
      throw new NetlinkParseError(`attribute ${type} has ${length} bytes, ${size} are needed`);
    }
    return at;
  }
}
