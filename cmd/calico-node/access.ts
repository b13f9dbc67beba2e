import { type Access, calicoRule, coreRule, READ } from "../../lib/install/index.ts";
import { CNI_ACCESS } from "../calico-cni/access.ts";

/** What the agent asks of an API server: for policy, BGP, the node itself, and addresses on the plugin's behalf. */
export const NODE_ACCESS: Access = {
  account: "calico-node",
  rules: [
    // Tokens for the plugin, and for nobody else.
    coreRule(["serviceaccounts/token"], ["create"], [CNI_ACCESS.account]),
    // Endpoints and their profiles are made from these. Single ones are read when a pod is attached.
    coreRule(["namespaces", "nodes", "pods"], READ),
    coreRule(["serviceaccounts"], ["list", "watch"]),
    coreRule(["pods/status"], ["patch"]),
    // The node's addresses are annotations; the condition NetworkUnavailable is a patch.
    coreRule(["nodes/status"], ["update", "patch"]),
    // kubeadm's and Rancher's own, for the CIDR of pods.
    coreRule(["configmaps"], ["get"]),
    // Advertised by BGP; ports of Services in policy rules.
    coreRule(["services"], ["list", "watch"]),
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
    { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["list", "watch"] },
    { apiGroups: ["policy.networking.k8s.io"], resources: ["clusternetworkpolicies"], verbs: ["list", "watch"] },
    calicoRule(
      [
        ...["bgpfilters", "bgppeers", "globalnetworkpolicies", "globalnetworksets", "hostendpoints"],
        ...["ipreservations", "networkpolicies", "networksets", "stagedglobalnetworkpolicies"],
        ...["stagedkubernetesnetworkpolicies", "stagednetworkpolicies"],
      ],
      ["list", "watch"],
    ),
    // What a new cluster begins with is made by its first node.
    calicoRule(["clusterinformations", "felixconfigurations"], [...READ, "create", "update"]),
    calicoRule(["bgpconfigurations", "ippools", "tiers", "ipamconfigurations", "ipamconfigs"], [...READ, "create"]),
    // Where a cluster's definition has no status apart, it is written with the rest.
    calicoRule(["caliconodestatuses"], [...READ, "update"]),
    calicoRule(["caliconodestatuses/status"], ["update"]),
    calicoRule(["blockaffinities", "ipamblocks"], [...READ, "create", "update", "delete"]),
    calicoRule(["ipamhandles"], ["get", "create", "update", "delete"]),
  ],
};
