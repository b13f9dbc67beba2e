/**
 * The selectors of policies and rules as one selector over the labels of endpoints, put together as upstream's sync processors do
 * (libcalico-go/lib/backend/syncersv1/updateprocessors), because IP-set ids are hashes of the result. Namespaces and service accounts are
 * labels that endpoints inherit: `pcns.` and `pcsa.` before the label's name. Trees are joined, not texts: a selector cannot end the
 * parenthesis that the policy's namespace is outside of.
 */
import type { EntityRule } from "../../api/rule.ts";
import { type Node, parseSelector } from "../../selector/index.ts";
import { textOf, textsOf } from "./fields.ts";

export const NAMESPACE_LABEL = "projectcalico.org/namespace";
export const SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount";
export const NAMESPACE_PREFIX = "pcns.";
export const SERVICE_ACCOUNT_PREFIX = "pcsa.";

/** What a selector is made of, and what of it could not be read. */
export interface Composed {
  /** Absent: nothing is said. Parts that could not be read are left out of it. */
  readonly node?: Node;
  readonly problems: readonly string[];
}

/** The endpoints that a policy is for; `namespace`: of a policy in one. */
export function policySelector(spec: Readonly<Record<string, unknown>>, namespace: string | undefined): Composed {
  const reader = new Reader();
  let node = reader.read("selector", spec.selector);
  if (namespace !== undefined) {
    const own: Node = { op: "==", label: NAMESPACE_LABEL, value: namespace };
    node = node === undefined ? own : { op: "&&", operands: [node, own] };
  } else {
    const namespaces = reader.read("namespaceSelector", spec.namespaceSelector, NAMESPACE_PREFIX);
    if (namespaces !== undefined) node = replaceAll(and(node, namespaces), { op: "has", label: NAMESPACE_LABEL });
  }
  const accounts = reader.read("serviceAccountSelector", spec.serviceAccountSelector, SERVICE_ACCOUNT_PREFIX);
  if (accounts !== undefined) {
    node = and(node, accounts);
    if (namespace === undefined) node = replaceAll(node, { op: "has", label: SERVICE_ACCOUNT_LABEL });
  }
  return { node: node ?? { op: "all" }, problems: reader.problems };
}

/** The endpoints that one side of a rule is about, and those that it is not about. */
export interface SideSelectors {
  /** Absent: any address. Has the negation in it where there is something to take away from. */
  readonly node?: Node;
  readonly not?: Node;
  /** Parts of what must hold that could not be read. */
  readonly problems: readonly string[];
  /** `notSelector` could not be read. */
  readonly notProblems: readonly string[];
}

export function sideSelectors(side: EntityRule, namespace: string | undefined): SideSelectors {
  const reader = new Reader();
  const notReader = new Reader();
  const not = notReader.read("notSelector", side.notSelector);
  const parts: Node[] = [];
  const accounts = serviceAccounts(side.serviceAccounts, reader);
  if (accounts !== undefined) parts.push(accounts);
  const own = reader.read("selector", side.selector);
  if (own !== undefined) parts.push(own);
  let node = parts.length === 2 ? ({ op: "&&", operands: parts } as const) : parts[0];

  const names = reader.read("namespaceSelector", side.namespaceSelector, NAMESPACE_PREFIX);
  let namespaces: Node | undefined;
  if (names !== undefined) namespaces = inNamespaces(names);
  else if (namespace !== undefined && textOf(side.namespaceSelector) === "") {
    // Any way of naming endpoints, the negative one too, is about the policy's own namespace.
    const isSelective = node !== undefined || textOf(side.notSelector) !== "" || reader.problems.length > 0;
    if (isSelective) namespaces = { op: "==", label: NAMESPACE_LABEL, value: namespace };
  }
  if (namespaces !== undefined) node = node === undefined ? namespaces : { op: "&&", operands: [namespaces, node] };
  const problems = reader.problems;
  const notProblems = notReader.problems;
  if (node !== undefined && not !== undefined) {
    return { node: { op: "&&", operands: [node, negated(not)] }, problems, notProblems };
  }
  return { ...(node && { node }), ...(not && { not }), problems, notProblems };
}

/** Which of a namespaceSelector's `all()` and `global()` means what, over endpoints. */
function inNamespaces(node: Node): Node {
  const inAny: Node = { op: "has", label: NAMESPACE_LABEL };
  return mapLeaves(node, (leaf) => (leaf.op === "all" ? inAny : leaf.op === "global" ? negated(inAny) : leaf));
}

function serviceAccounts(given: EntityRule["serviceAccounts"], reader: Reader): Node | undefined {
  if (typeof given !== "object" || given === null) return undefined;
  const selected = reader.read("serviceAccounts.selector", given.selector, SERVICE_ACCOUNT_PREFIX);
  const names = [...new Set(textsOf(given.names))].sort();
  const isComplete = Array.isArray(given.names) ? textsOf(given.names).length === given.names.length : !given.names;
  if (!isComplete) reader.problems.push("serviceAccounts.names must be texts");
  if (names.length === 0 || !isComplete) return selected;
  const named: Node = { op: "in", label: SERVICE_ACCOUNT_LABEL, values: names };
  return selected === undefined ? named : { op: "&&", operands: [selected, named] };
}

class Reader {
  readonly problems: string[] = [];

  /** The tree of a field, its labels prefixed; undefined when it is empty or, which is noted, no selector. */
  read(field: string, value: unknown, prefix = ""): Node | undefined {
    if (value === undefined || value === null || value === "") return undefined;
    if (typeof value !== "string") {
      this.problems.push(`${field} must be a selector`);
      return undefined;
    }
    try {
      const { root } = parseSelector(value);
      return prefix === ""
        ? root
        : mapLeaves(root, (leaf) => ("label" in leaf ? { ...leaf, label: prefix + leaf.label } : leaf));
    } catch (error) {
      this.problems.push(`${field}: ${error instanceof Error ? error.message : String(error)}`);
      return undefined;
    }
  }
}

const and = (first: Node | undefined, second: Node): Node =>
  first === undefined ? second : { op: "&&", operands: [first, second] };

const negated = (node: Node): Node => (node.op === "!" ? node.operand : { op: "!", operand: node });

const replaceAll = (node: Node, by: Node): Node => mapLeaves(node, (leaf) => (leaf.op === "all" ? by : leaf));

function mapLeaves(node: Node, change: (leaf: Node) => Node): Node {
  if ("operands" in node) return { ...node, operands: node.operands.map((operand) => mapLeaves(operand, change)) };
  if (node.op !== "!") return change(node);
  const operand = mapLeaves(node.operand, change);
  return negated(operand);
}
