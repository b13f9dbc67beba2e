/** A selector as a tree: plain data, immutable. `!!x` is `x`, and one operand alone is not wrapped. */
export type Node =
  | { readonly op: "all" | "global" }
  | { readonly op: "has"; readonly label: string }
  | {
      readonly op: "==" | "!=" | "contains" | "starts with" | "ends with";
      readonly label: string;
      readonly value: string;
    }
  /** `values` are distinct and sorted by code point. */
  | { readonly op: "in" | "not in"; readonly label: string; readonly values: readonly string[] }
  | { readonly op: "!"; readonly operand: Node }
  | { readonly op: "&&" | "||"; readonly operands: readonly Node[] };

/** Labels of one object. */
export type Labels = Readonly<Record<string, string>>;

/**
 * Whether labels match. A label that is absent matches `!=` and `not in`, and no other comparison. `global()` is true
 * here: which objects a namespace selector looks at is decided by whoever holds it.
 */
export function evaluate(node: Node, labels: Labels): boolean {
  switch (node.op) {
    case "all":
    case "global":
      return true;
    case "!":
      return !evaluate(node.operand, labels);
    case "&&":
      for (const operand of node.operands) if (!evaluate(operand, labels)) return false;
      return true;
    case "||":
      for (const operand of node.operands) if (evaluate(operand, labels)) return true;
      return false;
  }
  const value = Object.hasOwn(labels, node.label) ? labels[node.label] : undefined;
  if (value === undefined) return node.op === "!=" || node.op === "not in";
  switch (node.op) {
    case "has":
      return true;
    case "==":
      return value === node.value;
    case "!=":
      return value !== node.value;
    case "contains":
      return value.includes(node.value);
    case "starts with":
      return value.startsWith(node.value);
    case "ends with":
      return value.endsWith(node.value);
    case "in":
      return node.values.includes(value);
    case "not in":
      return !node.values.includes(value);
  }
}

/**
 * The canonical text: one space around operators, double quotes unless the value holds one, parentheses around every
 * `&&` and `||` and nowhere else. IP-set ids are hashes of it, so it is the same to the byte in every Calico.
 */
export function print(node: Node): string {
  switch (node.op) {
    case "all":
    case "global":
      return `${node.op}()`;
    case "has":
      return `has(${node.label})`;
    case "in":
    case "not in":
      return `${node.label} ${node.op} {${node.values.map(quote).join(", ")}}`;
    case "!":
      return `!${print(node.operand)}`;
    case "&&":
    case "||":
      return `(${node.operands.map(print).join(` ${node.op} `)})`;
    default:
      return `${node.label} ${node.op} ${quote(node.value)}`;
  }
}

const quote = (value: string): string => (value.includes('"') ? `'${value}'` : `"${value}"`);
