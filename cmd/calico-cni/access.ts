import { type Access, calicoRule, coreRule } from "../../lib/install/index.ts";

/** What the plugin asks of an API server: nothing of other nodes' pods, and no list of pods at all. */
export const CNI_ACCESS: Access = {
  account: "calico-cni-plugin",
  rules: [
    // Whose sandbox it is, and which pools it may have; the Node's podCIDRs and labels.
    coreRule(["namespaces", "nodes", "pods"], ["get"]),
    // The endpoint is annotations of the pod.
    coreRule(["pods/status"], ["patch"]),
    calicoRule(["clusterinformations", "ipamconfigurations", "ipamconfigs"], ["get"]),
    calicoRule(["ippools", "ipreservations"], ["list"]),
    calicoRule(["blockaffinities", "ipamblocks"], ["get", "list", "create", "update", "delete"]),
    calicoRule(["ipamhandles"], ["get", "create", "update", "delete"]),
  ],
};
