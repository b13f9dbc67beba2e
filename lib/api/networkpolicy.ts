import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { checkPolicy, completePolicy, isPolicyName, policyColumns, policyFields } from "./policy.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() => s.object(policyFields()));

export type NetworkPolicySpec = s.Infer<ReturnType<typeof spec>>;
export type NetworkPolicy = Resource<"NetworkPolicy", NetworkPolicySpec>;

/**
 * Names that begin so are of policies made from Kubernetes' NetworkPolicies and from OpenStack's security groups; any
 * DNS-1123 subdomain may follow.
 */
const FOREIGN = /^(knp|ossg)\.default\./;

/** What may reach the endpoints of one namespace, and what they may reach. */
export const NetworkPolicy: Kind<NetworkPolicy> = {
  kind: "NetworkPolicy",
  apiVersion: API_VERSION,
  plural: "networkpolicies",
  namespaced: true,
  aliases: ["policy", "np", "policies", "pol", "pols"],
  doc: "What may reach the endpoints of one namespace, and what they may reach.",
  get spec() {
    return spec();
  },
  complete: completePolicy,
  check: checkNetworkPolicy,
  get columns(): Columns<NetworkPolicy> {
    return policyColumns();
  },
};

/** Rules across fields of a NetworkPolicy, or of one that is staged. */
export function checkNetworkPolicy(policy: Resource<string, NetworkPolicySpec>): s.Problem[] {
  return [...checkNetworkPolicyName(policy), ...checkPolicy(policy, ["selector", "serviceAccountSelector"])];
}

export function checkNetworkPolicyName({ metadata: { name } }: Pick<Resource, "metadata">): s.Problem[] {
  if (isPolicyName(name) || FOREIGN.test(name)) return [];
  const message = "must be a name of lower-case letters, digits and -, or two such names with a dot between them";
  return [{ path: "metadata.name", value: name, message }];
}
