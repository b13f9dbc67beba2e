/**
 * What the policies of a namespace and those of the whole cluster have in common: fields, what is filled in, and rules
 * across fields. The kinds are in `networkpolicy.ts` and `globalnetworkpolicy.ts`.
 */
import type { Columns } from "./kind.ts";
import type { ObjectMeta, Resource } from "./meta.ts";
import { checkRules, type Rule, rules } from "./rule.ts";
import * as s from "./schema.ts";

/** Label that names a policy's tier, so that clients find the policies of a tier by it. */
export const TIER_LABEL = "projectcalico.org/tier";
/** The tier of policies that name none. */
export const DEFAULT_TIER = "default";

const TYPES = ["Ingress", "Egress"] as const;

/** Selectors of endpoints are as long as those of rules. */
export const selectorField = (doc: string) => s.optional(s.string({ doc, format: "selector", maxLength: 1024 }));

/** The fields of every policy; made anew for each kind. */
export const policyFields = () => ({
  tier: s.withDefault(s.string({ doc: "The tier in which the policy applies.", format: "name" }), DEFAULT_TIER),
  order: s.optional(
    s.number({
      doc: "Policies of a tier apply from the lowest order to the highest, those without one last, and those of the same order by name.",
    }),
  ),
  ingress: rules("What may reach the endpoints: rules in order, of which the first that matches decides."),
  egress: rules("What the endpoints may reach: rules in order, of which the first that matches decides."),
  selector: selectorField("The endpoints to which the policy applies; absent: all of them."),
  types: s.computed(
    s.array(s.oneOf(TYPES), {
      doc: "The directions to which the policy applies. What no rule of such a direction matches is for the tier's default action.",
      unique: true,
      maxItems: 2,
    }),
    "Ingress, unless there are only egress rules; Egress when there are egress rules",
  ),
  serviceAccountSelector: selectorField("Only endpoints of pods whose service account's labels match."),
  performanceHints: s.optional(
    s.array(s.oneOf(["AssumeNeededOnEveryNode"]), {
      doc: "How to process the policy faster; never changes what it does. AssumeNeededOnEveryNode: every node prepares for it.",
      unique: true,
    }),
  ),
});

/** What {@link completePolicy} and {@link checkPolicy} look at. */
export interface PolicySpec {
  tier: string;
  order?: number;
  ingress?: Rule[];
  egress?: Rule[];
  selector?: string;
  types: (typeof TYPES)[number][];
  serviceAccountSelector?: string;
}

type Policy = Resource<string, PolicySpec>;

/** The directions of a policy that does not say them (api/pkg/defaults/networkpolicy.go): a list of no rules counts as none. */
export function defaultTypes(ingress: unknown, egress: unknown): PolicySpec["types"] {
  if (!hasItems(egress)) return ["Ingress"];
  return hasItems(ingress) ? ["Ingress", "Egress"] : ["Egress"];
}

/** Fills in `types`, and the label that repeats the tier. */
export function completePolicy(policy: { metadata: ObjectMeta; spec: PolicySpec }): void {
  const { metadata, spec } = policy;
  const types: unknown = spec.types ?? [];
  if (Array.isArray(types) && types.length === 0) spec.types = defaultTypes(spec.ingress, spec.egress);
  // What has the wrong type is left for the schema to report.
  if (!isObject(metadata) || typeof spec.tier !== "string") return;
  const labels = metadata.labels ?? {};
  if (isObject(labels) && labels[TIER_LABEL] !== spec.tier) metadata.labels = { ...labels, [TIER_LABEL]: spec.tier };
}

/**
 * What a staged policy asks for: that its policy be made or changed, that it be deleted, that rules be proposed for it from what is
 * seen, or nothing for now.
 */
export const STAGED_ACTIONS = ["Set", "Delete", "Learn", "Ignore"] as const;

export const stagedActionField = () =>
  s.withDefault(
    s.oneOf(STAGED_ACTIONS, {
      doc: "What enforcing the staged policy means: Set makes or changes the policy of this name, Delete removes it, Learn is for tools that propose rules, and Ignore keeps it aside.",
    }),
    "Set",
  );

/** Rules of a staged policy with the action Delete, which says nothing of a policy but its tier. */
export function checkStagedDelete(spec: object, allowed: readonly string[]): s.Problem[] {
  return Object.entries(spec as Readonly<Record<string, unknown>>)
    .filter(([field, value]) => !allowed.includes(field) && !isNothing(value))
    .map(([field, value]) => ({
      path: `spec.${field}`,
      value,
      message: `must be absent where stagedAction is Delete; only ${allowed.join(" and ")} may be there`,
    }));
}

/** What Go has for an absent field. */
const isNothing = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === "" ||
  value === false ||
  (Array.isArray(value) && value.length === 0) ||
  (isObject(value) && Object.values(value).every(isNothing));

/** Rules across fields of any policy. `selectors`: the fields that select the policy's endpoints. */
export function checkPolicy(policy: Policy, selectors: readonly string[]): s.Problem[] {
  const { spec } = policy;
  const problems = [
    ...checkRules(spec.ingress ?? [], "spec.ingress", "ingress"),
    ...checkRules(spec.egress ?? [], "spec.egress", "egress"),
  ];
  const report = (path: string, value: unknown, message: string) => problems.push({ path, value, message });
  for (const field of selectors) {
    const value = (spec as unknown as Readonly<Record<string, unknown>>)[field];
    if (typeof value === "string" && value.includes("global(")) {
      report(`spec.${field}`, value, "must not use global(); it belongs in the namespaceSelector of a rule");
    }
  }
  for (const [i, rule] of (spec.ingress ?? []).entries()) {
    const { services } = rule.destination ?? {};
    if (services) {
      report(`spec.ingress[${i}].destination.services`, services, "is for the source in ingress rules");
    }
  }
  for (const [i, rule] of (spec.egress ?? []).entries()) {
    const { services } = rule.source ?? {};
    if (services) report(`spec.egress[${i}].source.services`, services, "is for the destination in egress rules");
    if (rule.http) report(`spec.egress[${i}].http`, rule.http, "is for ingress rules only");
  }
  return problems;
}

const LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?";

/** Whether a text is one DNS-1123 label, or two with a dot between them: what names of policies are made of. */
export function isPolicyName(name: string): boolean {
  return new RegExp(`^(${LABEL}\\.)?${LABEL}$`).test(name);
}

/** The columns of `calicoctl get`. */
export function policyColumns<R extends Policy>(): Columns<R> {
  return [
    { title: "NAME", value: (policy) => policy.metadata.name },
    { title: "TIER", value: (policy) => policy.spec.tier },
    { title: "ORDER", wide: true, value: (policy) => String(policy.spec.order ?? "<nil>") },
    { title: "SELECTOR", wide: true, value: (policy) => policy.spec.selector ?? "" },
  ];
}

const hasItems = (list: unknown): boolean => Array.isArray(list) && list.length > 0;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
