import type { EntityRule, Rule } from "../../api/rule.ts";
import { describeProblem, type Problem } from "../../api/schema.ts";
import { formatCidr, tryParseCidr } from "../../ip/index.ts";
import type { Field } from "./field.ts";
import type { Conversion } from "./objects.ts";

/** The kind by which upstream tells a policy made of a Kubernetes NetworkPolicy from Calico's own of the same name. */
export const NETWORK_POLICY = "KubernetesNetworkPolicy";
/** The same for ClusterNetworkPolicies. */
export const CLUSTER_NETWORK_POLICY = "KubernetesClusterNetworkPolicy";

/** What a policy that was made of another is known by. */
export interface PolicyKey {
  readonly kind: typeof NETWORK_POLICY | typeof CLUSTER_NETWORK_POLICY;
  readonly name: string;
  /** Of NetworkPolicies only. */
  readonly namespace?: string;
}

/** With a key but no value, the policy does not apply, and one that was made of an earlier version must go. */
export interface ConvertedPolicy<T> extends Conversion<T> {
  /** Absent only where the object has no name. */
  readonly key?: PolicyKey;
}

/** What `path` leads to was not converted: the problems of its parts in one. */
export function refused(field: Field, what: string, causes: readonly Problem[]): void {
  field.report(`${what}: ${causes.map(describeProblem).join("; ")}`);
}

/** Networks in their canonical text; what is none is reported. */
export function networks(list: Field): string[] {
  return list.items().flatMap((item) => network(item) ?? []);
}

export function network(field: Field): string | undefined {
  const cidr = tryParseCidr(field.text());
  return cidr ? formatCidr(cidr) : field.report("must be a CIDR such as 10.0.0.0/16 or fd00::/64");
}

/** One rule from its parts, with upstream's shape: both sides are there, what says nothing is not. */
export function ruleOf(
  action: Rule["action"],
  direction: "ingress" | "egress",
  match: { protocol?: string; ports?: (number | string)[] },
  peer: EntityRule,
  name = "",
): Rule {
  const ports = match.ports === undefined ? {} : { ports: match.ports };
  return {
    action,
    ...(match.protocol === undefined ? {} : { protocol: match.protocol }),
    ...(direction === "ingress"
      ? { source: peer, destination: ports }
      : { source: {}, destination: { ...ports, ...peer } }),
    ...(name === "" ? {} : { metadata: { annotations: { name } } }),
  };
}
