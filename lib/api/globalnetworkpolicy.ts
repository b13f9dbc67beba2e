import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { checkPolicy, completePolicy, isPolicyName, policyColumns, policyFields, selectorField } from "./policy.ts";
import * as s from "./schema.ts";

/** The fields of a GlobalNetworkPolicy; made anew for each kind. */
export const globalPolicyFields = () => ({
  ...policyFields(),
  namespaceSelector: selectorField("Only endpoints in namespaces whose labels match."),
  doNotTrack: s.optional(
    s.boolean({
      doc: "Apply before connection tracking, and do not track what is allowed. For host endpoints; needs applyOnForward.",
    }),
  ),
  preDNAT: s.optional(
    s.boolean({
      doc: "Apply before destination addresses are translated. For host endpoints and ingress only; needs applyOnForward.",
    }),
  ),
  applyOnForward: s.optional(
    s.boolean({ doc: "Apply to what a host endpoint forwards, and not only to what begins or ends at the host." }),
  ),
});

const spec = s.lazy(() => s.object(globalPolicyFields()));

export type GlobalNetworkPolicySpec = s.Infer<ReturnType<typeof spec>>;
export type GlobalNetworkPolicy = Resource<"GlobalNetworkPolicy", GlobalNetworkPolicySpec>;

/** What may reach endpoints of any namespace, and of hosts, and what they may reach. */
export const GlobalNetworkPolicy: Kind<GlobalNetworkPolicy> = {
  kind: "GlobalNetworkPolicy",
  apiVersion: API_VERSION,
  plural: "globalnetworkpolicies",
  namespaced: false,
  aliases: ["gnp", "gnps"],
  doc: "What may reach endpoints of any namespace, and of hosts, and what they may reach.",
  get spec() {
    return spec();
  },
  complete: completePolicy,
  check: checkGlobalNetworkPolicy,
  get columns(): Columns<GlobalNetworkPolicy> {
    return policyColumns();
  },
};

/** Rules across fields of a GlobalNetworkPolicy, or of one that is staged. */
export function checkGlobalNetworkPolicy(policy: Resource<string, GlobalNetworkPolicySpec>): s.Problem[] {
  const { spec } = policy;
  const problems = checkPolicy(policy, ["selector", "serviceAccountSelector", "namespaceSelector"]);
  problems.push(...checkGlobalPolicyName(policy));
  const report = (path: string, value: unknown, message: string) => problems.push({ path, value, message });

  if (spec.doNotTrack && spec.preDNAT) {
    report("spec.preDNAT", true, "cannot be true together with doNotTrack; make it two policies");
  }
  if (spec.preDNAT && (spec.egress ?? []).length > 0) {
    report("spec.egress", spec.egress, "must be empty in a policy with preDNAT, which is for ingress only");
  }
  if (spec.preDNAT && spec.types.includes("Egress")) {
    report("spec.types", spec.types, "must be [Ingress] in a policy with preDNAT");
  }
  for (const field of ["doNotTrack", "preDNAT"] as const) {
    if (spec[field] && !spec.applyOnForward) {
      report("spec.applyOnForward", spec.applyOnForward, `must be true in a policy with ${field}`);
    }
  }
  for (const [direction, side] of [
    ["ingress", "source"],
    ["egress", "destination"],
  ] as const) {
    for (const [i, rule] of (spec[direction] ?? []).entries()) {
      const services = rule[side]?.services;
      if (!services || services.namespace) continue;
      const message = "is missing; it must be the namespace of the service, as the policy is in none";
      report(`spec.${direction}[${i}].${side}.services.namespace`, services.namespace, message);
    }
  }
  return problems;
}

export function checkGlobalPolicyName({ metadata: { name } }: Pick<Resource, "metadata">): s.Problem[] {
  if (isPolicyName(name)) return [];
  const message = "must be a name of lower-case letters, digits and -, or two such names with a dot between them";
  return [{ path: "metadata.name", value: name, message }];
}
