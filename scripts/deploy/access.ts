/** RBAC, from the lists that stand beside the programs. */
import { CNI_ACCESS } from "../../cmd/calico-cni/access.ts";
import { CONTROLLERS_ACCESS } from "../../cmd/calico-kube-controllers/access.ts";
import { NODE_ACCESS } from "../../cmd/calico-node/access.ts";
import type { AccessRule } from "../../lib/install/index.ts";
import { type Component, labels, type ManifestObject, NAMESPACE } from "./common.ts";

export const ACCESS = [NODE_ACCESS, CNI_ACCESS, CONTROLLERS_ACCESS] as const;

const RBAC = "rbac.authorization.k8s.io";

/** Beside the roles of another Calico, which these leave as they are: of the programs that run on nodes, as those are changed one by one. */
export function upgradeAccessObjects(): ManifestObject[] {
  return [NODE_ACCESS, CNI_ACCESS].flatMap(({ account, rules }) =>
    roleAndBinding(`${account}-more`, account, rules, "upgrade"),
  );
}

export function accessObjects(): ManifestObject[] {
  return ACCESS.flatMap(({ account, rules }) => [
    {
      ...{ apiVersion: "v1", kind: "ServiceAccount" },
      metadata: { name: account, namespace: NAMESPACE, labels: labels("access") },
    },
    ...roleAndBinding(account, account, rules, "access"),
  ]);
}

function roleAndBinding(
  name: string,
  account: string,
  rules: readonly AccessRule[],
  component: Component,
): ManifestObject[] {
  return [
    { apiVersion: `${RBAC}/v1`, kind: "ClusterRole", metadata: { name, labels: labels(component) }, rules },
    {
      ...{ apiVersion: `${RBAC}/v1`, kind: "ClusterRoleBinding" },
      metadata: { name, labels: labels(component) },
      roleRef: { apiGroup: RBAC, kind: "ClusterRole", name },
      subjects: [{ kind: "ServiceAccount", name: account, namespace: NAMESPACE }],
    },
  ];
}
