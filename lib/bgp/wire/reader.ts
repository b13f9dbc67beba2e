import { WireError } from "./error.ts";
import { HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, MESSAGE, type MessageType } from "./message.ts";
import { ERROR } from "./types.ts";
import { HEADER_ERROR } from "./words.ts";

/** A whole message. `body` is what follows the header: a view of the chunk it came in, valid until the next `push` or `next`. */
export interface Message {
  readonly type: MessageType;
  readonly body: Uint8Array;
}

/** Least lengths by type: RFC 4271 4.2 to 4.5, RFC 2918 3. */
const LEAST = [0, 29, 23, 21, HEADER_LENGTH, 23];

const NOTHING = new Uint8Array(0);

/**
 * Cuts a TCP stream into messages. Messages that lie in one chunk are views of it; only one that straddles chunks is copied, so at most one message
 * is kept. The header is checked as soon as it is there (RFC 4271 6.1), so nonsense is not waited for.
 *
 * ```ts
 * reader.push(chunk);
 * for (let message = reader.next(); message; message = reader.next()) handle(message);
 * ```
 */
export class MessageReader {
  /** RFC 8654: set when both OPENs offered it. */
  extended = false;
  #chunk: Uint8Array = NOTHING;
  #at = 0;
  /** The beginning of a message whose end is yet to come. */
  #carry: Uint8Array = NOTHING;
  #carried = 0;
  #failed: WireError | undefined;

  /** Bytes that are here and belong to no message yet yielded. */
  get buffered(): number {
    return this.#carried + this.#chunk.length - this.#at;
  }

  /** More of the stream. The chunk must stay as it is until `next` has returned undefined. */
  push(chunk: Uint8Array): void {
    if (this.#at < this.#chunk.length) {
      // The one before was not read to its end.
      const rest = this.#chunk.subarray(this.#at);
      const joined = new Uint8Array(rest.length + chunk.length);
      joined.set(rest);
      joined.set(chunk, rest.length);
      this.#chunk = joined;
    } else {
      this.#chunk = chunk;
    }
    this.#at = 0;
  }

  /** The next whole message; undefined until more comes. Throws a {@link WireError} on a bad header, and again from then on: the stream is lost. */
  next(): Message | undefined {
    if (this.#failed) throw this.#failed;
    if (this.#carried > 0) return this.#straddling();
    const chunk = this.#chunk;
    const at = this.#at;
    const left = chunk.length - at;
    if (left >= HEADER_LENGTH) {
      const length = this.#check(chunk, at);
      if (left >= length) {
        this.#at = at + length;
        return { type: chunk[at + 18] as MessageType, body: chunk.subarray(at + HEADER_LENGTH, at + length) };
      }
      this.#fill(length);
    } else if (left > 0) {
      this.#fill(HEADER_LENGTH);
    } else {
      // Nothing is held on to while the peer is silent.
      this.#chunk = NOTHING;
      this.#at = 0;
    }
    return undefined;
  }

  #straddling(): Message | undefined {
    if (this.#carried < HEADER_LENGTH && !this.#fill(HEADER_LENGTH)) return undefined;
    const length = this.#check(this.#carry, 0);
    if (!this.#fill(length)) return undefined;
    this.#carried = 0;
    const message = this.#carry;
    // The view that goes out must not be written over by the next message that straddles.
    this.#carry = NOTHING;
    return { type: message[18] as MessageType, body: message.subarray(HEADER_LENGTH, length) };
  }

  /** Takes bytes of the chunk until there are `wanted`; says whether there are, and lets go of the chunk when it is used up. */
  #fill(wanted: number): boolean {
    this.#room(wanted);
    const take = Math.min(wanted - this.#carried, this.#chunk.length - this.#at);
    this.#carry.set(this.#chunk.subarray(this.#at, this.#at + take), this.#carried);
    this.#carried += take;
    this.#at += take;
    if (this.#at === this.#chunk.length) {
      this.#chunk = NOTHING;
      this.#at = 0;
    }
    return this.#carried === wanted;
  }

  #room(length: number): void {
    if (this.#carry.length >= length) return;
    const larger = new Uint8Array(length);
    larger.set(this.#carry.subarray(0, this.#carried));
    this.#carry = larger;
  }

  /** The length of the message whose header is at `at`. */
  #check(bytes: Uint8Array, at: number): number {
    let marker = 0xff;
    for (let i = at; i < at + 16; i++) marker &= bytes[i]!;
    if (marker !== 0xff) this.#fail(HEADER_ERROR.NOT_SYNCHRONIZED, "no marker where a message has to begin", NOTHING);
    const length = (bytes[at + 16]! << 8) | bytes[at + 17]!;
    const type = bytes[at + 18]!;
    if (length < HEADER_LENGTH || length > MAX_EXTENDED_LENGTH) this.#badLength(type, length);
    const least = LEAST[type];
    if (least === undefined || type === 0)
      this.#fail(HEADER_ERROR.BAD_TYPE, `there is no message type ${type}`, Uint8Array.of(type));
    const most =
      type === MESSAGE.KEEPALIVE
        ? HEADER_LENGTH
        : this.extended && type !== MESSAGE.OPEN
          ? MAX_EXTENDED_LENGTH
          : MAX_LENGTH;
    if (length < least || length > most) this.#badLength(type, length);
    return length;
  }

  #badLength(type: number, length: number): never {
    this.#fail(
      HEADER_ERROR.BAD_LENGTH,
      `a message of type ${type} cannot have ${length} bytes`,
      Uint8Array.of(length >>> 8, length & 255),
    );
  }

  #fail(subcode: number, words: string, data: Uint8Array): never {
    this.#failed = new WireError(ERROR.HEADER, subcode, words, data);
    throw this.#failed;
  }
}
