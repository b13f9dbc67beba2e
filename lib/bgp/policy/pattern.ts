/**
 * BIRD's string patterns (lib/patmatch.c): `?` is one character, `*` any number of them, a backslash takes away the meaning of what follows.
 *
 * Behind a star BIRD jumps from one occurrence of the next character of the pattern to the next, and looks for that character even where it is a
 * wildcard: `*?` and `**x` match only what has a `?` or `*` in it. Kept, so that a pattern means the same in both back ends.
 */
export function matchesPattern(pattern: string, text: string): boolean {
  return matches(pattern, 0, text, 0);
}

function matches(pattern: string, from: number, text: string, at: number): boolean {
  let p = from;
  let s = at;
  while (p < pattern.length) {
    const c = pattern[p];
    if (c === "?" && s < text.length) {
      p++;
      s++;
    } else if (c === "*") {
      let next = pattern[p + 1];
      if (next === undefined) return true;
      if (next === "\\" && p + 2 < pattern.length) next = pattern[p + 2] ?? next;
      for (let found = text.indexOf(next, s); found >= 0; found = text.indexOf(next, found + 1)) {
        if (matches(pattern, p + 1, text, found)) return true;
      }
      return false;
    } else {
      if (c === "\\" && p + 1 < pattern.length) p++;
      if (s >= text.length || pattern[p] !== text[s]) return false;
      p++;
      s++;
    }
  }
  return s === text.length;
}
