/**
 * Bytes of netlink messages: integers in the machine's order (little-endian on every supported architecture), attributes as
 * length, type, value, padded to four bytes (include/uapi/linux/netlink.h). Attributes marked "be" carry network order.
 */
import { type Address, addressBytes } from "../ip/index.ts";
import { allocate } from "../sys/index.ts";
import { NetlinkParseError } from "./error.ts";

/** Flag bits of an attribute's type: NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NESTED = 0x8000;
const TYPE_MASK = 0x3fff;
const LONGEST_ATTRIBUTE = 0xffff;

const align = (length: number): number => (length + 3) & ~3;

/** Appends to a buffer that grows. */
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
    this.#view.setUint8(this.#reserve(1), value);
  }

  u16(value: number): void {
    this.#view.setUint16(this.#reserve(2), value, true);
  }

  u16be(value: number): void {
    this.#view.setUint16(this.#reserve(2), value, false);
  }

  u32(value: number): void {
    this.#view.setUint32(this.#reserve(4), value, true);
  }

  i32(value: number): void {
    this.#view.setInt32(this.#reserve(4), value, true);
  }

  u64(value: number | bigint): void {
    this.#view.setBigUint64(this.#reserve(8), BigInt(value), true);
  }

  raw(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#reserve(bytes.length));
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
    this.#reserve(align(this.#length) - this.#length);
  }

  attribute(type: number, bytes: Uint8Array): void {
    this.#open(type, 4 + bytes.length);
    this.raw(bytes);
    this.pad();
  }

  attributeU8(type: number, value: number): void {
    this.#open(type, 5);
    this.u8(value);
    this.pad();
  }

  attributeU16(type: number, value: number): void {
    this.#open(type, 6);
    this.u16(value);
    this.pad();
  }

  attributeU32(type: number, value: number): void {
    this.#open(type, 8);
    this.u32(value);
  }

  attributeU64(type: number, value: number | bigint): void {
    this.#open(type, 12);
    this.u64(value);
  }

  /** UTF-8 with the closing NUL. */
  attributeString(type: number, text: string): void {
    const bytes = new TextEncoder().encode(text);
    this.#open(type, 5 + bytes.length);
    this.raw(bytes);
    this.u8(0);
    this.pad();
  }

  attributeAddress(type: number, address: Address): void {
    this.attribute(type, addressBytes(address));
  }

  /** An attribute made of what `body` writes. `marked` sets NLA_F_NESTED, which strict parsers of the kernel ask for. */
  nested(type: number, body: () => void, marked = true): void {
    const start = this.#length;
    this.#open(marked ? type | NESTED : type, 4);
    body();
    const length = this.#length - start;
    if (length > LONGEST_ATTRIBUTE) throw new RangeError(`a netlink attribute of ${length} bytes is too long`);
    this.patchU16(start, length);
    this.pad();
  }

  #open(type: number, length: number): void {
    if (length > LONGEST_ATTRIBUTE) throw new RangeError(`a netlink attribute of ${length} bytes is too long`);
    const at = this.#reserve(4);
    this.#view.setUint16(at, length, true);
    this.#view.setUint16(at + 2, type, true);
  }

  #reserve(count: number): number {
    const at = this.#length;
    this.#length += count;
    if (this.#length > this.#bytes.length) {
      const grown = allocate(Math.max(this.#bytes.length * 2, this.#length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    return at;
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
    if (from > to || to > this.bytes.length) throw short(to, this.bytes.length);
    return this.bytes.subarray(from, to);
  }

  /** The attributes that follow a header of `from` bytes. */
  attributes(from: number): Attributes {
    return Attributes.parse(this.slice(Math.min(align(from), Math.max(from, this.bytes.length))));
  }

  #need(at: number, count: number): void {
    if (at + count > this.bytes.length) throw short(at + count, this.bytes.length);
  }
}

function short(needed: number, length: number): NetlinkParseError {
  return new NetlinkParseError(`truncated: ${needed} bytes are needed, ${length} are there`);
}

/** Attributes by type. Of a type that occurs twice the last one counts, as in the kernel's own parser; `list` has all. */
export class Attributes {
  readonly #values: Map<number, Uint8Array>;
  /** All, in order: for attributes that are lists. */
  readonly list: readonly (readonly [type: number, value: Uint8Array])[];

  private constructor(list: readonly (readonly [number, Uint8Array])[]) {
    this.list = list;
    this.#values = new Map(list);
  }

  /** Fewer than four bytes at the end are padding; an attribute that is longer than what is left is an error. */
  static parse(bytes: Uint8Array): Attributes {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const list: [number, Uint8Array][] = [];
    for (let at = 0; at + 4 <= bytes.length; ) {
      const length = view.getUint16(at, true);
      if (length < 4 || at + length > bytes.length) {
        throw new NetlinkParseError(`attribute of ${length} bytes where ${bytes.length - at} are left`);
      }
      list.push([view.getUint16(at + 2, true) & TYPE_MASK, bytes.subarray(at + 4, at + length)]);
      at += align(length);
    }
    return new Attributes(list);
  }

  get(type: number): Uint8Array | undefined {
    return this.#values.get(type);
  }

  u8(type: number): number | undefined {
    return this.#sized(type, 1)?.getUint8(0);
  }

  u16(type: number): number | undefined {
    return this.#sized(type, 2)?.getUint16(0, true);
  }

  u32(type: number): number | undefined {
    return this.#sized(type, 4)?.getUint32(0, true);
  }

  i32(type: number): number | undefined {
    return this.#sized(type, 4)?.getInt32(0, true);
  }

  /** Text up to the first NUL, or to the end: the kernel writes both forms. */
  string(type: number): string | undefined {
    const bytes = this.#values.get(type);
    if (!bytes) return undefined;
    const end = bytes.indexOf(0);
    return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
  }

  nested(type: number): Attributes | undefined {
    const bytes = this.#values.get(type);
    return bytes && Attributes.parse(bytes);
  }

  #sized(type: number, size: number): DataView | undefined {
    const bytes = this.#values.get(type);
    if (!bytes) return undefined;
    if (bytes.length < size) {
      throw new NetlinkParseError(`attribute ${type} has ${bytes.length} bytes, ${size} are needed`);
    }
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }
}
