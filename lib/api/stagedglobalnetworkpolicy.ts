import { checkGlobalNetworkPolicy, checkGlobalPolicyName, globalPolicyFields } from "./globalnetworkpolicy.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { checkStagedDelete, completePolicy, policyColumns, stagedActionField } from "./policy.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() => s.object({ stagedAction: stagedActionField(), ...globalPolicyFields() }));

export type StagedGlobalNetworkPolicySpec = s.Infer<ReturnType<typeof spec>>;
export type StagedGlobalNetworkPolicy = Resource<"StagedGlobalNetworkPolicy", StagedGlobalNetworkPolicySpec>;

/** A GlobalNetworkPolicy that is not enforced: nodes say what it would do. `types` where the action is Delete: see StagedNetworkPolicy. */
export const StagedGlobalNetworkPolicy: Kind<StagedGlobalNetworkPolicy> = {
  kind: "StagedGlobalNetworkPolicy",
  apiVersion: API_VERSION,
  plural: "stagedglobalnetworkpolicies",
  namespaced: false,
  aliases: ["sgnp", "sgnps"],
  doc: "A GlobalNetworkPolicy that is not enforced, to see what it would do.",
  get spec() {
    return spec();
  },
  complete: completePolicy,
  check(policy) {
    if (policy.spec.stagedAction !== "Delete") return checkGlobalNetworkPolicy(policy);
    return [
      ...checkGlobalPolicyName(policy),
      ...checkStagedDelete({ ...policy.spec, types: [] }, ["stagedAction", "tier"]),
    ];
  },
  get columns(): Columns<StagedGlobalNetworkPolicy> {
    return policyColumns();
  },
};
