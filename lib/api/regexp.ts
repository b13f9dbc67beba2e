/**
 * Go's regular expressions (RE2's syntax, https://github.com/google/re2/wiki/Syntax), as resources and settings have them. What both
 * languages write alike is taken as it is, what they write differently is translated, and what only one of them has, or means otherwise
 * and has no translation here, is refused: an expression that quietly matched something else would be worse.
 */

/** Escapes that mean the same in both, outside of a class and within. */
const SAME = new Set([..."dDwWnrtfv"]);
const SPACE = "\\t\\n\\f\\r ";
/** In ASCII, as Go has them. */
const POSIX: Readonly<Record<string, string>> = {
  alnum: "0-9A-Za-z",
  alpha: "A-Za-z",
  ascii: "\\x00-\\x7f",
  blank: "\\t ",
  cntrl: "\\x00-\\x1f\\x7f",
  digit: "0-9",
  graph: "!-~",
  lower: "a-z",
  print: " -~",
  punct: "!-\\/:-@\\[-`{-~",
  space: "\\t\\n\\v\\f\\r ",
  upper: "A-Z",
  word: "0-9A-Za-z_",
  xdigit: "0-9A-Fa-f",
};

/** The expression with the meaning that it has in Go; undefined when it is none, or cannot be said here. */
export function parseGoRegExp(text: string): RegExp | undefined {
  const flags = /^\(\?([ims]+)\)/.exec(text);
  const source = translate(flags ? text.slice(flags[0].length) : text);
  if (source === undefined) return undefined;
  try {
    return new RegExp(source, [...new Set(flags?.[1])].join(""));
  } catch {
    return undefined;
  }
}

function translate(text: string): string | undefined {
  let made = "";
  for (let at = 0; at < text.length; ) {
    const piece = /^\\Q(.*?)(\\E|$)/s.exec(text.slice(at));
    const part = piece
      ? { made: RegExp.escape(piece[1]!), length: piece[0].length }
      : text[at] === "\\"
        ? escaped(text.slice(at), false)
        : text[at] === "["
          ? characterClass(text.slice(at))
          : text[at] === "("
            ? group(text.slice(at))
            : { made: text[at]!, length: 1 };
    if (!part) return undefined;
    made += part.made;
    at += part.length;
  }
  return made;
}

interface Part {
  readonly made: string;
  /** Of the text that it stands for. */
  readonly length: number;
}

function escaped(text: string, inClass: boolean): Part | undefined {
  const char = text[1];
  if (char === undefined) return undefined;
  const hex = /^\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,4})\})/.exec(text);
  if (hex) return { made: `\\u${(hex[1] ?? hex[2]!).padStart(4, "0")}`, length: hex[0].length };
  if (SAME.has(char)) return { made: `\\${char}`, length: 2 };
  if (char === "s") return { made: inClass ? SPACE : `[${SPACE}]`, length: 2 };
  if (char === "a") return { made: "\\x07", length: 2 };
  if (!inClass) {
    if (char === "S") return { made: `[^${SPACE}]`, length: 2 };
    if (char === "b" || char === "B") return { made: `\\${char}`, length: 2 };
    if (char === "A") return { made: "(?<![\\s\\S])", length: 2 };
    if (char === "z") return { made: "(?![\\s\\S])", length: 2 };
  }
  return /[!-/:-@[-`{-~]/.test(char) ? { made: RegExp.escape(char), length: 2 } : undefined;
}

/** Flags of what follows, in the middle, and what looks ahead or behind, are refused. */
function group(text: string): Part | undefined {
  if (text[1] !== "?") return { made: "(", length: 1 };
  const plain = /^\(\?[ims]*:/.exec(text);
  if (plain) return { made: plain[0], length: plain[0].length };
  const name = /^\(\?P?<(\w+)>/.exec(text);
  return name ? { made: `(?<${name[1]}>`, length: name[0].length } : undefined;
}

function characterClass(text: string): Part | undefined {
  const opening = /^\[\^?/.exec(text)![0];
  let made = opening;
  let at = opening.length;
  for (let isFirst = true; ; isFirst = false) {
    const char = text[at];
    if (char === undefined) return undefined;
    if (char === "]" && !isFirst) return { made: `${made}]`, length: at + 1 };
    const posix = /^\[:(\w+):\]/.exec(text.slice(at));
    if (posix || char === "\\") {
      const part = posix
        ? POSIX[posix[1]!] && { made: POSIX[posix[1]!]!, length: posix[0].length }
        : escaped(text.slice(at), true);
      if (!part) return undefined;
      made += part.made;
      at += part.length;
    } else {
      made += char === "]" || char === "[" ? `\\${char}` : char;
      at++;
    }
  }
}
