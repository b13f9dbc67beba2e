import { DEFAULT_TIER, defaultTypes } from "../../api/policy.ts";
import { type Node, parseSelector, selectorOf } from "../../selector/index.ts";
import { NAMESPACE_LABEL, policySelector } from "./endpoint-selector.ts";
import { fieldsOf, listOf, textOf, textsOf } from "./fields.ts";
import { isStaged, type PolicyId } from "./messages.ts";

/** Where a policy applies, and for what traffic; {@link PolicyFacts.flags}. */
export const INGRESS = 1;
export const EGRESS = 2;
export const DO_NOT_TRACK = 4;
export const PRE_DNAT = 8;
export const ON_FORWARD = 16;
/** `AssumeNeededOnEveryNode`. */
export const EVERYWHERE = 32;
/** A part of what selects its endpoints cannot be read: it is for all that the rest selects, and lets nothing through. */
export const CLOSED = 64;

/**
 * What is kept of a policy, which is little: nearly all policies of a cluster are for endpoints of other nodes. Rules stay text until an
 * endpoint needs them; the text also tells whether a resource that is read again says anything new.
 */
export interface PolicyFacts {
  readonly id: PolicyId;
  readonly tier: string;
  /** Infinity: none, so it comes last. */
  readonly order: number;
  readonly flags: number;
  /** Canonical text of who it is for. */
  readonly selector: string;
  /** JSON of `[ingress, egress]`; of a direction for which the policy is not, null. */
  readonly rules: string;
}

/** A policy that was just read. */
export interface PolicyRead extends PolicyFacts {
  /** The tree of `selector`. */
  readonly root: Node;
}

/** A composed selector shorter than this cannot be too deep. */
const MAYBE_DEEP = 2000;

/** Undefined: the policy does not apply at all, which is no problem where it asks for it. */
export function readPolicy(id: PolicyId, resource: unknown, report: (why: string) => void): PolicyRead | undefined {
  const isNamespaced = !id.kind.includes("Global") && id.kind !== "KubernetesClusterNetworkPolicy";
  if (isNamespaced !== (id.namespace !== undefined && id.namespace !== "")) {
    report(isNamespaced ? "it has no namespace; it is ignored" : "it is in a namespace; it is ignored");
    return undefined;
  }
  const spec = fieldsOf(fieldsOf(resource).spec);
  // What a staged policy would delete is for the one who looks at it; there is nothing to evaluate.
  if (isStaged(id.kind) && spec.stagedAction === "Delete") return undefined;

  const [ingress, egress] = [rulesOf("ingress", spec.ingress, report), rulesOf("egress", spec.egress, report)];
  const types = textsOf(spec.types).map((type) => type.toLowerCase());
  for (const type of types) {
    if (type === "ingress" || type === "egress") continue;
    report(`types has ${JSON.stringify(type)}, which is neither Ingress nor Egress; it does not count`);
  }
  const given = types.length > 0 ? types : defaultTypes(ingress, egress).map((type) => type.toLowerCase());
  let flags = 0;
  if (given.includes("ingress")) flags |= INGRESS;
  if (given.includes("egress")) flags |= EGRESS;
  if (!isNamespaced) {
    if (spec.doNotTrack === true) flags |= DO_NOT_TRACK;
    if (spec.preDNAT === true) flags |= PRE_DNAT;
    if (spec.applyOnForward === true) flags |= ON_FORWARD;
  }
  if (textsOf(spec.performanceHints).includes("AssumeNeededOnEveryNode")) flags |= EVERYWHERE;

  const composed = policySelector(spec, isNamespaced ? id.namespace : undefined);
  const problems = [...composed.problems];
  let root: Node = composed.node ?? { op: "all" };
  let selector = selectorOf(root).text;
  if (selector.length > MAYBE_DEEP) {
    try {
      parseSelector(selector);
    } catch (error) {
      problems.push(error instanceof Error ? error.message : String(error));
      root = policySelector({}, isNamespaced ? id.namespace : undefined).node!;
      selector = selectorOf(root).text;
    }
  }
  if (problems.length > 0) {
    if (selectsEverything(root)) {
      report(`${problems.join("; ")}; it is not enforced, because it would be for every endpoint of the cluster`);
      return undefined;
    }
    flags |= CLOSED;
    report(`${problems.join("; ")}; it is for every endpoint that the rest of it selects, and allows nothing`);
  }
  const { order } = spec;
  return {
    id,
    tier: textOf(spec.tier) || DEFAULT_TIER,
    order: typeof order === "number" && !Number.isNaN(order) ? order : Number.POSITIVE_INFINITY,
    flags,
    selector,
    root,
    rules: JSON.stringify([flags & INGRESS ? ingress : null, flags & EGRESS ? egress : null]),
  };
}

/** One rule that nobody can read, which denies, for what is no list of rules. */
function rulesOf(direction: "ingress" | "egress", rules: unknown, report: (why: string) => void): readonly unknown[] {
  if (rules === undefined || rules === null || Array.isArray(rules)) return listOf(rules);
  report(`${direction} must be a list of rules; it denies everything`);
  return [{ action: "Deny" }];
}

/**
 * Nothing that could be read limits whom a policy is for. Closing all of a cluster, hosts included, for a mistyped selector (which a
 * CustomResourceDefinition does not notice) is worse than what it is meant to prevent: upstream ignores such a policy, too.
 */
const selectsEverything = (root: Node): boolean =>
  root.op === "all" || (root.op === "has" && root.label === NAMESPACE_LABEL);

/** Whether two readings of a policy say the same. */
export function samePolicy(a: PolicyFacts, b: PolicyFacts): boolean {
  return sameStanding(a, b) && a.selector === b.selector && a.rules === b.rules;
}

/** Whether a policy stands at the same place among others, so that endpoints do not notice the change. */
export function sameStanding(a: PolicyFacts, b: PolicyFacts): boolean {
  return a.tier === b.tier && a.order === b.order && a.flags === b.flags;
}

/** Of one tier: by order, then by `name/namespace/kind` (felix/calc/policy_sorter.go). */
export function comparePolicies(a: PolicyFacts, b: PolicyFacts): number {
  if (a.order !== b.order) return a.order < b.order ? -1 : 1;
  if (a.id.name !== b.id.name && !a.id.name.startsWith(b.id.name) && !b.id.name.startsWith(a.id.name)) {
    return a.id.name < b.id.name ? -1 : 1;
  }
  const [left, right] = [tieBreak(a.id), tieBreak(b.id)];
  return left < right ? -1 : left > right ? 1 : 0;
}

const tieBreak = ({ name, namespace = "", kind }: PolicyId): string => `${name}/${namespace}/${kind}`;
