/**
 * JSON whose integers are exact. Block sequence numbers are Unix nanoseconds and so exceed 2^53: an integer that a double
 * cannot hold is read as a bigint, and a bigint is written as an integer.
 */

interface RawJson {
  rawJSON(text: string): unknown;
}

/** Longest digit run a double always holds is 15; a text without a longer one needs no second look at its numbers. */
const LONG_INTEGER = /\d{16}/;
const INTEGER = /^-?\d+$/;

/** `JSON.parse`, but integers beyond ±(2^53-1) come out as bigint. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  if (!LONG_INTEGER.test(text)) return JSON.parse(text);
  return JSON.parse(text, exact);
}

function exact(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  return source !== undefined && INTEGER.test(source) ? BigInt(source) : value;
}

/** `JSON.stringify` that prints a bigint as an integer. `space` indents for people. */
export function stringifyJson(value: unknown, space?: number): string {
  try {
    return JSON.stringify(value, undefined, space);
  } catch {
    // There is a bigint in it. Asking for each value costs a multiple, so it is done only then.
    return JSON.stringify(value, (_key, one: unknown) => exactInteger(one), space);
  }
}

/** A bigint as a value that `JSON.stringify` prints as an integer; anything else as it is. */
export function exactInteger(value: unknown): unknown {
  return typeof value === "bigint" ? (JSON as unknown as RawJson).rawJSON(value.toString()) : value;
}
