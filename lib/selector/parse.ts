import { SelectorError } from "./error.ts";
import { type Token, type TokenKind, tokenize } from "./tokens.ts";
import type { Node } from "./tree.ts";

/** How deep && and || may lie in each other. Everything that walks a tree recurses, so this bounds its stack. */
const MAX_HEIGHT = 256;
/** How many parentheses may be open at once, redundant ones included; they bound the parser's own stack. */
const MAX_OPEN = 1024;

const OPERATORS: ReadonlySet<TokenKind> = new Set(["==", "!=", "contains", "starts with", "ends with"] as const);
type Comparison = "==" | "!=" | "contains" | "starts with" | "ends with";

/** The tree of a selector; the empty text is `all()`. Throws SelectorError. */
export function parse(text: string): Node {
  const parser = new Parser(text, tokenize(text));
  return parser.root();
}

/** A tree and how deep && and || lie in each other in it. */
interface Part {
  readonly node: Node;
  readonly height: number;
}

class Parser {
  #next = 0;
  #open = 0;

  constructor(
    readonly text: string,
    readonly tokens: readonly Token[],
  ) {}

  root(): Node {
    if (this.#peek().kind === "end") return { op: "all" };
    const part = this.#chain("||");
    if (this.#peek().kind !== "end") this.#fail("&&, || or the end");
    return part.node;
  }

  /** One or more operands joined by `op`; && binds tighter than ||. */
  #chain(op: "||" | "&&"): Part {
    const at = this.#peek().at;
    const first = op === "||" ? this.#chain("&&") : this.#operation();
    if (this.#peek().kind !== op) return first;
    const operands = [first.node];
    let height = first.height;
    while (this.#peek().kind === op) {
      this.#next++;
      const part = op === "||" ? this.#chain("&&") : this.#operation();
      operands.push(part.node);
      height = Math.max(height, part.height);
    }
    if (height >= MAX_HEIGHT) {
      throw new SelectorError(this.text, at, `at most ${MAX_HEIGHT} levels of && and || in each other`);
    }
    return { node: { op, operands }, height: height + 1 };
  }

  #operation(): Part {
    let negated = false;
    while (this.#peek().kind === "!") {
      negated = !negated;
      this.#next++;
    }
    const part = this.#operand();
    return negated ? { node: { op: "!", operand: part.node }, height: part.height } : part;
  }

  #operand(): Part {
    const token = this.#peek();
    switch (token.kind) {
      case "(": {
        if (this.#open === MAX_OPEN) this.#fail(`at most ${MAX_OPEN} open parentheses`);
        this.#next++;
        this.#open++;
        const part = this.#chain("||");
        if (this.#peek().kind !== ")") this.#fail(`&&, || or a ) for the ( at character ${token.at + 1}`);
        this.#next++;
        this.#open--;
        return part;
      }
      case "all":
      case "global":
        this.#next++;
        return { node: { op: token.kind }, height: 0 };
      case "has":
        this.#next++;
        return { node: { op: "has", label: token.value }, height: 0 };
      case "label":
        this.#next++;
        return { node: this.#comparison(token.value), height: 0 };
      default:
        return this.#fail("a label, has(), all(), global(), ! or (");
    }
  }

  #comparison(label: string): Node {
    const { kind } = this.#peek();
    if (kind === "in" || kind === "not in") {
      this.#next++;
      return { op: kind, label, values: this.#set() };
    }
    if (!OPERATORS.has(kind)) {
      this.#fail(`an operator after the label ${label}: ==, !=, in, not in, contains, starts with or ends with`);
    }
    this.#next++;
    const value = this.#peek();
    if (value.kind !== "text") this.#fail("a text in quotes");
    this.#next++;
    return { op: kind as Comparison, label, value: value.value };
  }

  /** `{"a", "b"}`; it may be empty, and may have a comma behind its last text. */
  #set(): string[] {
    if (this.#peek().kind !== "{") this.#fail('a set such as {"a", "b"}');
    this.#next++;
    const values = new Set<string>();
    while (this.#peek().kind === "text") {
      values.add(this.#peek().value);
      this.#next++;
      if (this.#peek().kind !== ",") break;
      this.#next++;
    }
    if (this.#peek().kind !== "}") this.#fail("a text in quotes, a comma or a }");
    this.#next++;
    return [...values].sort(byCodePoint);
  }

  #peek(): Token {
    return this.tokens[this.#next]!;
  }

  #fail(expected: string): never {
    throw new SelectorError(this.text, this.#peek().at, expected);
  }
}

/** The order of the texts' UTF-8 bytes, in which Go sorts; UTF-16 order differs beyond the basic plane. */
function byCodePoint(a: string, b: string): number {
  const left = Array.from(a);
  const right = Array.from(b);
  for (let i = 0; i < left.length && i < right.length; i++) {
    const difference = left[i]!.codePointAt(0)! - right[i]!.codePointAt(0)!;
    if (difference !== 0) return difference;
  }
  return left.length - right.length;
}
