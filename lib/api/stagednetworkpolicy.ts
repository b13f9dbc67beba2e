import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { checkNetworkPolicy, checkNetworkPolicyName } from "./networkpolicy.ts";
import { checkStagedDelete, completePolicy, policyColumns, policyFields, stagedActionField } from "./policy.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() => s.object({ stagedAction: stagedActionField(), ...policyFields() }));

export type StagedNetworkPolicySpec = s.Infer<ReturnType<typeof spec>>;
export type StagedNetworkPolicy = Resource<"StagedNetworkPolicy", StagedNetworkPolicySpec>;

/**
 * A NetworkPolicy that is not enforced: nodes say what it would do. Upstream leaves out `types` where the action is Delete; here they
 * are filled in as ever, and mean nothing.
 */
export const StagedNetworkPolicy: Kind<StagedNetworkPolicy> = {
  kind: "StagedNetworkPolicy",
  apiVersion: API_VERSION,
  plural: "stagednetworkpolicies",
  namespaced: true,
  aliases: ["stagedpolicy", "snp", "stagedpolicies", "spol", "spols"],
  doc: "A NetworkPolicy that is not enforced, to see what it would do.",
  get spec() {
    return spec();
  },
  complete: completePolicy,
  check(policy) {
    if (policy.spec.stagedAction !== "Delete") return checkNetworkPolicy(policy);
    return [
      ...checkNetworkPolicyName(policy),
      ...checkStagedDelete({ ...policy.spec, types: [] }, ["stagedAction", "tier"]),
    ];
  },
  get columns(): Columns<StagedNetworkPolicy> {
    return policyColumns();
  },
};
