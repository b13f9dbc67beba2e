import type { Node } from "./tree.ts";

/**
 * What labels must have so that a selector can match them: the label is there, and where `values` is given it is one of these. The
 * index looks up who can match by one of a selector's restrictions.
 */
export interface Restriction {
  readonly label: string;
  readonly values?: ReadonlySet<string>;
}

/** All that can be said of each label by itself, by label. A restriction to no value at all says that nothing matches. */
export function restrictionsOf(node: Node): ReadonlyMap<string, Restriction> {
  switch (node.op) {
    case "==":
      return one({ label: node.label, values: new Set([node.value]) });
    case "in":
      return one({ label: node.label, values: new Set(node.values) });
    case "has":
    case "contains":
    case "starts with":
    case "ends with":
      return one({ label: node.label });
    case "&&":
      return node.operands.map(restrictionsOf).reduce(both);
    case "||":
      return node.operands.map(restrictionsOf).reduce(either);
    default:
      // A label that is absent matches these, or they say nothing of one.
      return NOTHING;
  }
}

const NOTHING: ReadonlyMap<string, Restriction> = new Map();
const one = (restriction: Restriction) => new Map([[restriction.label, restriction]]);

function both(a: ReadonlyMap<string, Restriction>, b: ReadonlyMap<string, Restriction>) {
  if (a.size === 0) return b;
  if (b.size === 0) return a;
  const found = new Map(a);
  for (const [label, second] of b) {
    const first = found.get(label);
    const values =
      first?.values === undefined
        ? second.values
        : second.values === undefined
          ? first.values
          : first.values.intersection(second.values);
    found.set(label, values === undefined ? { label } : { label, values });
  }
  return found;
}

function either(a: ReadonlyMap<string, Restriction>, b: ReadonlyMap<string, Restriction>) {
  const found = new Map<string, Restriction>();
  for (const [label, first] of a) {
    const second = b.get(label);
    if (second === undefined) continue;
    const known = first.values !== undefined && second.values !== undefined;
    found.set(label, known ? { label, values: first.values.union(second.values) } : { label });
  }
  return found;
}
