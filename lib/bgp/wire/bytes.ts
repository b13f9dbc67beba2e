/** Numbers in network byte order. */

export function u16(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 8) | bytes[at + 1]!;
}

/** Unsigned. */
export function u32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

/** Writes into memory that grows; `take` copies what was written and begins anew. */
export class ByteWriter {
  #bytes = new Uint8Array(256);
  length = 0;

  u8(value: number): void {
    this.#room(1);
    this.#bytes[this.length++] = value;
  }

  u16(value: number): void {
    this.#room(2);
    this.#bytes[this.length++] = value >>> 8;
    this.#bytes[this.length++] = value;
  }

  u32(value: number): void {
    this.#room(4);
    this.#bytes[this.length++] = value >>> 24;
    this.#bytes[this.length++] = value >>> 16;
    this.#bytes[this.length++] = value >>> 8;
    this.#bytes[this.length++] = value;
  }

  /** The bytes of `from` between `start` and `end`. */
  copy(from: Uint8Array, start = 0, end = from.length): void {
    this.#room(end - start);
    // Attributes are a few bytes each: cheaper in a loop than a view for `set`.
    const into = this.#bytes;
    let at = this.length;
    if (end - start > 64) {
      into.set(from.subarray(start, end), at);
      at += end - start;
    } else {
      for (let i = start; i < end; i++) into[at++] = from[i]!;
    }
    this.length = at;
  }

  /** What `other` has; it begins anew. */
  append(other: ByteWriter): void {
    this.copy(other.#bytes, 0, other.length);
    other.length = 0;
  }

  take(): Uint8Array {
    const bytes = this.#bytes.slice(0, this.length);
    this.length = 0;
    return bytes;
  }

  #room(more: number): void {
    if (this.length + more <= this.#bytes.length) return;
    const larger = new Uint8Array(Math.max(this.#bytes.length * 2, this.length + more));
    larger.set(this.#bytes.subarray(0, this.length));
    this.#bytes = larger;
  }
}
