/** RBAC, from the lists that stand beside the programs. */
import { CNI_ACCESS } from "../../cmd/calico-cni/access.ts";
import { CONTROLLERS_ACCESS } from "../../cmd/calico-kube-controllers/access.ts";
import { NODE_ACCESS } from "../../cmd/calico-node/access.ts";
import { labels, type ManifestObject, NAMESPACE } from "./common.ts";

export const ACCESS = [NODE_ACCESS, CNI_ACCESS, CONTROLLERS_ACCESS] as const;

const RBAC = "rbac.authorization.k8s.io";

export function accessObjects(): ManifestObject[] {
  return ACCESS.flatMap(({ account, rules }) => [
    {
      ...{ apiVersion: "v1", kind: "ServiceAccount" },
      metadata: { name: account, namespace: NAMESPACE, labels: labels("access") },
    },
    { apiVersion: `${RBAC}/v1`, kind: "ClusterRole", metadata: { name: account, labels: labels("access") }, rules },
    {
      ...{ apiVersion: `${RBAC}/v1`, kind: "ClusterRoleBinding" },
      metadata: { name: account, labels: labels("access") },
      roleRef: { apiGroup: RBAC, kind: "ClusterRole", name: account },
      subjects: [{ kind: "ServiceAccount", name: account, namespace: NAMESPACE }],
    },
  ]);
}
