/**
 * The label selector language: text -> tokens -> tree -> canonical text, evaluation and id.
 *
 *     app == "web" && (tier in {"front", "back"} || !has(internal))
 *
 * `!` binds tightest, then `&&`, then `||`. Labels are compared as texts. What the language means, its limits, and its
 * canonical form are upstream's (libcalico-go/lib/selector); error messages are this project's own, and the depth is
 * limited so that no input can exhaust the stack.
 *
 * For very many objects and selectors: LabelStore keeps labels as numbers, SelectorIndex which selectors match which objects.
 */
import { parse } from "./parse.ts";
import { evaluate, type Labels, type Node, print } from "./tree.ts";

export { SelectorError } from "./error.ts";
export { LabelStore } from "./labels.ts";
export { type Restriction, restrictionsOf } from "./restrictions.ts";
export { SelectorIndex } from "./selector-index.ts";
export type { Labels, Node } from "./tree.ts";

/** A parsed selector. */
export interface Selector {
  /** The canonical text: equal for selectors that differ only in spelling, and equal to what other Calicos print. */
  readonly text: string;
  /** The tree, for those who transform selectors or index by them. */
  readonly root: Node;
  /** Whether labels match. */
  matches(labels: Labels): boolean;
}

/** Parses a selector; the empty text is all(). Throws SelectorError. */
export function parseSelector(text: string): Selector {
  return selectorOf(parse(text));
}

/** The selector of a tree. */
export function selectorOf(root: Node): Selector {
  return { text: print(root), root, matches: (labels) => evaluate(root, labels) };
}

/** The IP-set id of a selector: `s:` and the base64url SHA-224 of `s:<canonical text>`. */
export function selectorId(selector: Selector): string {
  return `s:${new Bun.CryptoHasher("sha224").update(`s:${selector.text}`).digest("base64url")}`;
}
