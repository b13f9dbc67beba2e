/** How much of a selector a message quotes. */
const QUOTED = 120;

/** The text is no selector. `message` quotes it and says where it stops making sense and what would make sense there. */
export class SelectorError extends Error {
  override readonly name = "SelectorError";
  /** The message without the quoted text, for callers who show the text anyway. */
  readonly detail: string;

  constructor(
    text: string,
    /** Index, from 0, of the character that cannot stand there; the length of the text when it ends too soon. */
    readonly position: number,
    /** What could stand there, in words. */
    readonly expected: string,
  ) {
    const found =
      position < text.length ? `found ${JSON.stringify(text.slice(position, position + 16))}` : "found the end";
    const detail = `expected ${expected} at character ${position + 1}, ${found}`;
    const quoted = text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
    super(`${JSON.stringify(quoted)} is not a selector: ${detail}`);
    this.detail = detail;
  }
}
