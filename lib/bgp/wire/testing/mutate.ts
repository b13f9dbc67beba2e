/** Damage to messages, by chance that can be repeated. */

/** xorshift32. */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 0 || 1;
  }

  /** Less than `most`, at least 0. */
  below(most: number): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return (x >>> 0) % most;
  }
}

/** What lengths, counts, flags and types are likely to be mistaken for. */
const TELLING = [0, 1, 2, 3, 4, 5, 8, 14, 15, 16, 17, 18, 31, 32, 33, 64, 127, 128, 129, 254, 255];

/** One of `messages`, damaged up to four times; mostly with the header's length put right again, so that the body is read. */
export function mutate(random: Random, messages: readonly Uint8Array[]): Uint8Array {
  const original = messages[random.below(messages.length)]!;
  let bytes = original.slice();
  for (let times = random.below(5); times > 0; times--) {
    const at =
      random.below(16) === 0 ? random.below(bytes.length) : Math.min(19 + random.below(bytes.length), bytes.length - 1);
    switch (random.below(8)) {
      case 0:
        bytes[at] = bytes[at]! ^ (1 << random.below(8));
        break;
      case 1:
        bytes[at] = random.below(256);
        break;
      case 2:
      case 3:
        bytes[at] = TELLING[random.below(TELLING.length)]!;
        break;
      case 4:
        bytes = bytes.slice(0, Math.max(at, 19));
        break;
      case 5: {
        const size = Math.min(1 + random.below(8), bytes.length - at);
        bytes = join(bytes.subarray(0, at), bytes.subarray(at + size));
        break;
      }
      case 6: {
        const extra = new Uint8Array(1 + random.below(8));
        for (let i = 0; i < extra.length; i++) extra[i] = random.below(256);
        bytes = join(bytes.subarray(0, at), extra, bytes.subarray(at));
        break;
      }
      default: {
        const other = messages[random.below(messages.length)]!;
        const from = random.below(other.length);
        bytes = join(bytes.subarray(0, at), other.subarray(from, from + random.below(64)), bytes.subarray(at));
      }
    }
    if (bytes.length < 19) bytes = join(bytes, new Uint8Array(19 - bytes.length));
  }
  if (random.below(8) !== 0) {
    bytes[16] = bytes.length >>> 8;
    bytes[17] = bytes.length;
  }
  // Of an UPDATE without withdrawn prefixes: the length of all attributes follows, so that the damage is found within them.
  if (bytes[18] === 2 && bytes.length >= 23 && bytes[19] === 0 && bytes[20] === 0 && random.below(2) === 0) {
    const attributes = ((original[21]! << 8) | original[22]!) + bytes.length - original.length;
    bytes[21] = Math.max(attributes, 0) >>> 8;
    bytes[22] = Math.max(attributes, 0);
  }
  return bytes;
}

function join(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
