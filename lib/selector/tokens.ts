import { SelectorError } from "./error.ts";

/** A label's name cannot be longer, in characters (upstream's tokenizer). */
const MAX_LABEL = 512;

/** What a token is: punctuation and operators stand for themselves. */
export type TokenKind =
  | "("
  | ")"
  | "{"
  | "}"
  | ","
  | "!"
  | "&&"
  | "||"
  | "=="
  | "!="
  | "in"
  | "not in"
  | "contains"
  | "starts with"
  | "ends with"
  | "label"
  | "text"
  | "has"
  | "all"
  | "global"
  | "end";

/** One token. `value` is the name of a label, the label inside has(), or a text without its quotes. */
export interface Token {
  readonly kind: TokenKind;
  readonly value: string;
  /** Index of its first character. */
  readonly at: number;
}

/** The operators that are words, as they may be spelled after a label: blanks inside are free, also absent. */
const WORDS: readonly (readonly [TokenKind, readonly string[]])[] = [
  ["contains", ["contains"]],
  ["starts with", ["starts", "with"]],
  ["ends with", ["ends", "with"]],
  ["not in", ["not", "in"]],
  ["in", ["in"]],
];

/**
 * The tokens of a selector, ending with `end`. What a word means depends on the token before it: after a label only an
 * operator can follow, so `in`, `contains` and the like are labels everywhere else.
 */
export function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = skipBlanks(text, 0);
  while (at < text.length) {
    const start = at;
    const character = text[at]!;
    switch (character) {
      case "(":
      case ")":
      case "{":
      case "}":
      case ",":
        tokens.push({ kind: character, value: "", at: start });
        at += 1;
        break;
      case '"':
      case "'": {
        const close = text.indexOf(character, at + 1);
        if (close < 0) throw new SelectorError(text, start, `a closing ${character} for the text that begins here`);
        tokens.push({ kind: "text", value: text.slice(at + 1, close), at: start });
        at = close + 1;
        break;
      }
      case "=":
      case "&":
      case "|": {
        const kind = `${character}${character}` as "==" | "&&" | "||";
        if (text[at + 1] !== character) throw new SelectorError(text, start, kind);
        tokens.push({ kind, value: "", at: start });
        at += 2;
        break;
      }
      case "!": {
        const kind = text[at + 1] === "=" ? "!=" : "!";
        tokens.push({ kind, value: "", at: start });
        at += kind.length;
        break;
      }
      default:
        at = word(text, at, tokens);
    }
    at = skipBlanks(text, at);
  }
  tokens.push({ kind: "end", value: "", at });
  return tokens;
}

/** Reads what begins with a letter (or with anything that nothing begins with); answers where it ends. */
function word(text: string, at: number, tokens: Token[]): number {
  if (tokens.at(-1)?.kind === "label") {
    for (const [kind, words] of WORDS) {
      const after = operatorEnd(text, at, words);
      if (after === undefined) continue;
      tokens.push({ kind, value: "", at });
      return after;
    }
    throw new SelectorError(
      text,
      at,
      `an operator after the label ${tokens.at(-1)!.value}: ==, !=, in, not in, contains, starts with or ends with`,
    );
  }
  if (text.startsWith("has(", at)) {
    const from = skipBlanks(text, at + 4);
    const to = labelEnd(text, from, "a label");
    const close = skipBlanks(text, to);
    if (text[close] !== ")") throw new SelectorError(text, close, "a ) to close has(");
    tokens.push({ kind: "has", value: text.slice(from, to), at });
    return close + 1;
  }
  for (const kind of ["all", "global"] as const) {
    if (!text.startsWith(`${kind}(`, at)) continue;
    const close = skipBlanks(text, at + kind.length + 1);
    if (text[close] !== ")") throw new SelectorError(text, close, `a ) to close ${kind}(`);
    tokens.push({ kind, value: "", at });
    return close + 1;
  }
  const to = labelEnd(text, at, "a label, has(), all(), global(), ! or (");
  tokens.push({ kind: "label", value: text.slice(at, to), at });
  return to;
}

/** The end of an operator's words, when they are there and a character follows that cannot belong to a label. */
function operatorEnd(text: string, at: number, words: readonly string[]): number | undefined {
  let end = at;
  for (const [index, part] of words.entries()) {
    if (index > 0) end = skipBlanks(text, end);
    if (!text.startsWith(part, end)) return undefined;
    end += part.length;
  }
  // Upstream looks past the blanks behind an operator of two words, and not behind one of one.
  const next = words.length > 1 ? skipBlanks(text, end) : end;
  return isLabelCharacter(text.charCodeAt(next)) ? undefined : end;
}

function labelEnd(text: string, from: number, expected: string): number {
  let to = from;
  while (isLabelCharacter(text.charCodeAt(to))) to++;
  if (to === from) throw new SelectorError(text, from, expected);
  if (to - from > MAX_LABEL) throw new SelectorError(text, from, `a label of at most ${MAX_LABEL} characters`);
  return to;
}

/** Only space and tab: a line break is no blank in this language. */
function skipBlanks(text: string, from: number): number {
  let at = from;
  while (text[at] === " " || text[at] === "\t") at++;
  return at;
}

/** a-z A-Z 0-9 _ . / - */
function isLabelCharacter(code: number): boolean {
  return (code >= 97 && code <= 122) || (code >= 65 && code <= 90) || (code >= 45 && code <= 57) || code === 95;
}
