/** What is to be sent and has not been taken by the kernel yet: bytes in one buffer, with the ends of messages known. */

/** From so many bytes on there is no room, until they are down to the lower number. */
export const HIGH_WATER = 256 * 1024;
export const LOW_WATER = 64 * 1024;
/** Somebody goes on sending without room. */
export const OVERFLOW = 16 * 1024 * 1024;
/** An empty buffer that is larger is let go: hundreds of peers are idle most of the time. */
const KEPT = 16 * 1024;

const NOTHING = new Uint8Array(0);

export class Outbox {
  #buffer: Uint8Array = NOTHING;
  #at = 0;
  #end = 0;
  /** Where the first message begins of which nothing has been sent. */
  #boundary = 0;

  /** Bytes. */
  get pending(): number {
    return this.#end - this.#at;
  }

  /** A whole message. */
  append(message: Uint8Array): void {
    const { length } = message;
    if (this.#end + length > this.#buffer.length) this.#grow(length);
    this.#buffer.set(message, this.#end);
    this.#end += length;
  }

  /** Gives what there is to `write`, which says how much it took; whether that was all. */
  flush(write: (bytes: Uint8Array) => number): boolean {
    while (this.#at < this.#end) {
      const taken = write(this.#buffer.subarray(this.#at, this.#end));
      this.#at += taken;
      while (this.#boundary < this.#at) this.#boundary += this.#lengthAt(this.#boundary);
      // Less than was given: the kernel is full, and the next write would be refused.
      if (this.#at < this.#end) return false;
    }
    this.#at = 0;
    this.#end = 0;
    this.#boundary = 0;
    if (this.#buffer.length > KEPT) this.#buffer = NOTHING;
    return true;
  }

  /** Forgets all but the rest of a message of which the other has a part already. */
  clear(): void {
    this.#end = Math.max(this.#boundary, this.#at);
  }

  #lengthAt(at: number): number {
    return Math.max(1, (this.#buffer[at + 16]! << 8) | this.#buffer[at + 17]!);
  }

  #grow(length: number): void {
    const { pending } = this;
    const needed = pending + length;
    if (needed <= this.#buffer.length && this.#at >= this.#buffer.length / 2) {
      this.#buffer.copyWithin(0, this.#at, this.#end);
    } else {
      // With room to spare, so that what stays unsent is not moved with every message.
      let size = Math.max(4096, this.#buffer.length);
      while (size < needed * 1.5) size *= 2;
      const larger = new Uint8Array(size);
      larger.set(this.#buffer.subarray(this.#at, this.#end));
      this.#buffer = larger;
    }
    this.#boundary -= this.#at;
    this.#at = 0;
    this.#end = pending;
  }
}
