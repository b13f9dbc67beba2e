import type { Columns, Kind } from "./kind.ts";
import { labelSelector } from "./kubernetes/checks.ts";
import { selectorText } from "./kubernetes/columns.ts";
import {
  checkNetworkPolicySpec,
  type KubernetesNetworkPolicySpec,
  networkPolicyFields,
} from "./kubernetes/networkpolicy.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { checkStagedDelete, type STAGED_ACTIONS, stagedActionField } from "./policy.ts";
import * as s from "./schema.ts";

/** What a NetworkPolicy of Kubernetes says, and what is to become of it. An absent podSelector is {}, which selects all pods. */
export type StagedKubernetesNetworkPolicySpec = KubernetesNetworkPolicySpec & {
  stagedAction: (typeof STAGED_ACTIONS)[number];
  podSelector: NonNullable<KubernetesNetworkPolicySpec["podSelector"]>;
};
export type StagedKubernetesNetworkPolicy = Resource<
  "StagedKubernetesNetworkPolicy",
  StagedKubernetesNetworkPolicySpec
>;

const spec = s.lazy(
  () =>
    s.object({
      stagedAction: stagedActionField(),
      ...networkPolicyFields(),
      podSelector: s.withDefault(labelSelector("The pods that the policy is about; {} for all of the namespace."), {}),
    }) as s.Schema<StagedKubernetesNetworkPolicySpec>,
);

/** A NetworkPolicy of Kubernetes that is not enforced: nodes say what it would do. */
export const StagedKubernetesNetworkPolicy: Kind<StagedKubernetesNetworkPolicy> = {
  kind: "StagedKubernetesNetworkPolicy",
  apiVersion: API_VERSION,
  plural: "stagedkubernetesnetworkpolicies",
  namespaced: true,
  aliases: ["stagedkubernetespolicy", "sknp", "stagedkubernetespolicies", "skpol", "skpols"],
  doc: "A NetworkPolicy of Kubernetes that is not enforced, to see what it would do.",
  get spec() {
    return spec();
  },
  check({ spec }) {
    if (spec.stagedAction === "Delete") return checkStagedDelete(spec, ["stagedAction"]);
    return checkNetworkPolicySpec(spec);
  },
  get columns(): Columns<StagedKubernetesNetworkPolicy> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "PODSELECTOR", wide: true, value: ({ spec }) => selectorText(spec.podSelector) },
    ];
  },
};
