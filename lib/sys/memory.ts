/**
 * `size` zeroed bytes that may be handed to the kernel. A plain `new Uint8Array(n)` must not be: a small one lives
 * inside the JavaScript heap and moves when its `.buffer` is first touched, which leaves an earlier pointer dangling.
 */
export function allocate(size: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(size));
}

/** The text as UTF-8 with the closing NUL that C expects. A NUL within it is refused: C would cut the text there. */
export function cString(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) throw new RangeError(`${JSON.stringify(text)} contains a NUL character`);
  const encoded = new TextEncoder().encode(text);
  const bytes = allocate(encoded.length + 1);
  bytes.set(encoded);
  return bytes;
}
