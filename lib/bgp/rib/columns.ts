/** Columns of the tables: typed arrays that grow by doubling. */

/**
 * A longer array with the same beginning; the rest is 0. The old one is gone: its memory is handed over (ArrayBuffer.transfer), so that a large table
 * does not have both copies for longer than the copy takes.
 */
export function grownInt32(column: Int32Array<ArrayBuffer>, length: number): Int32Array<ArrayBuffer> {
  return new Int32Array(column.buffer.transfer(length * 4));
}

export function grownUint16(column: Uint16Array<ArrayBuffer>, length: number): Uint16Array<ArrayBuffer> {
  return new Uint16Array(column.buffer.transfer(length * 2));
}

export function grownUint8(column: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(column.buffer.transfer(length));
}

/** First in, first out, of numbers of 32 bits: a ring that grows. */
export class NumberQueue {
  #ring: Int32Array<ArrayBuffer> = new Int32Array(64);
  #first = 0;
  size = 0;

  push(value: number): void {
    if (this.size === this.#ring.length) this.#grow();
    this.#ring[(this.#first + this.size++) & (this.#ring.length - 1)] = value;
  }

  /** Call only where `size` is not 0. */
  shift(): number {
    const value = this.#ring[this.#first]!;
    this.#first = (this.#first + 1) & (this.#ring.length - 1);
    // What was needed once for a whole table need not stay.
    if (--this.size === 0 && this.#ring.length > 65_536) this.#ring = new Int32Array(64);
    if (this.size === 0) this.#first = 0;
    return value;
  }

  #grow(): void {
    const length = this.#ring.length;
    const ring = grownInt32(this.#ring, length * 2);
    // What had wrapped around goes behind what had not.
    ring.copyWithin(length, 0, this.#first);
    this.#ring = ring;
  }
}
