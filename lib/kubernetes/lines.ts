const NEWLINE = 0x0a;
const decoder = new TextDecoder();

/** A longer line is not an event: etcd takes objects of 1.5 MB by default. */
export const LONGEST_LINE = 64 * 2 ** 20;

/** A line is longer than any event. */
export class LineTooLong extends Error {}

/**
 * Cuts a stream of bytes into the lines of a watch, wherever the chunks end: also within a character. Lines are texts and not
 * values, because `Bun.JSONL` rounds integers that a double cannot hold. A long line is put together once, when its end comes.
 */
export class LineSplitter {
  /** The beginning of a line whose end has not come yet. */
  #pieces: Uint8Array[] = [];
  #length = 0;

  /** The lines that `chunk` completes, without those that are blank. */
  push(chunk: Uint8Array): string[] {
    const end = chunk.lastIndexOf(NEWLINE);
    if (end < 0) {
      this.#keep(chunk);
      return [];
    }
    const text = this.#text(chunk.subarray(0, end));
    if (end + 1 < chunk.length) this.#keep(chunk.subarray(end + 1));
    return text.split("\n").filter((line) => line.trim() !== "");
  }

  /** What came after the last newline, when the stream has ended. */
  rest(): string {
    return this.#text(new Uint8Array()).trim();
  }

  #keep(piece: Uint8Array): void {
    this.#length += piece.length;
    if (this.#length > LONGEST_LINE) throw new LineTooLong();
    // The chunk belongs to the stream, which may use it again.
    this.#pieces.push(piece.slice());
  }

  #text(last: Uint8Array): string {
    if (this.#pieces.length === 0) return decoder.decode(last);
    const whole = Buffer.concat([...this.#pieces, last]);
    this.#pieces = [];
    this.#length = 0;
    return decoder.decode(whole);
  }
}
