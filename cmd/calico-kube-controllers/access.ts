import { type Access, calicoRule, coreRule, READ } from "../../lib/install/index.ts";

/** What the controllers of the cluster ask of an API server. */
export const CONTROLLERS_ACCESS: Access = {
  account: "calico-kube-controllers",
  rules: [
    // Whose addresses are still in use.
    coreRule(["nodes", "pods"], READ),
    // Addresses of load balancers, and for which namespaces a pool is.
    coreRule(["namespaces"], ["list", "watch"]),
    coreRule(["services"], READ),
    coreRule(["services/status"], ["update"]),
    calicoRule(["ipamconfigurations", "ipamconfigs"], ["get"]),
    calicoRule(["ipreservations"], ["list", "watch"]),
    calicoRule(["blockaffinities", "ipamblocks", "ipamhandles"], [...READ, "create", "update", "delete"]),
    calicoRule(["hostendpoints"], [...READ, "create", "update", "delete"]),
    calicoRule(["clusterinformations"], [...READ, "create", "update"]),
    calicoRule(["kubecontrollersconfigurations"], ["list", "watch", "create", "update"]),
    calicoRule(["kubecontrollersconfigurations/status"], ["update"]),
    calicoRule(["ippools"], ["list", "watch"]),
    // The built-in ones are made where nobody has made them.
    calicoRule(["tiers"], [...READ, "create"]),
    // Finalizers, which keep a pool until its blocks are gone and a tier until its policies are, and conditions: of the newer group only.
    {
      apiGroups: ["projectcalico.org"],
      resources: ["ippools", "ippools/status", "tiers", "tiers/status"],
      verbs: ["patch"],
    },
    calicoRule(
      ["globalnetworkpolicies", "networkpolicies", "stagedglobalnetworkpolicies", "stagednetworkpolicies"],
      ["list", "watch"],
    ),
  ],
};
