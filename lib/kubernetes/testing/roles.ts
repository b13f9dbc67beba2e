/**
 * Users of a test's API server, and what they may do. The service accounts have exactly the rules of upstream's manifests
 * (charts/calico/templates/calico-node-rbac.yaml, calico-kube-controllers-rbac.yaml without what serves migrations), so that a request too many is a 403 here as it is there.
 */

export const USERS = ["admin", "admin-token", "reader", "nobody", "cni", "node", "controllers"] as const;
export type UserName = (typeof USERS)[number];

/** Users of the static token file: name → groups. */
export const TOKEN_USERS = {
  "admin-token": ["system:masters"],
  reader: ["readers"],
  nobody: [],
} as const satisfies Partial<Record<UserName, readonly string[]>>;

/** Users that are service accounts in kube-system, and their ClusterRole of the same name. */
export const SERVICE_ACCOUNTS = {
  cni: "calico-cni-plugin",
  node: "calico-node",
  controllers: "calico-kube-controllers",
} as const satisfies Partial<Record<UserName, string>>;

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

const core = (resources: readonly string[], verbs: readonly string[]): Rule => ({ apiGroups: [""], resources, verbs });
const calico = (resources: readonly string[], verbs: readonly string[]): Rule => ({
  apiGroups: ["projectcalico.org", "crd.projectcalico.org"],
  resources,
  verbs,
});
const READ = ["get", "list", "watch"] as const;

/** ClusterRole → rules. */
export const CLUSTER_ROLES: Readonly<Record<string, readonly Rule[]>> = {
  "calico-cni-plugin": [
    core(["pods", "nodes", "namespaces"], ["get"]),
    core(["pods/status"], ["patch"]),
    calico(
      [
        ...["blockaffinities", "ipamblocks", "ipamhandles", "clusterinformations", "ippools"],
        ...["ipreservations", "ipamconfigurations", "ipamconfigs"],
      ],
      ["get", "list", "create", "update", "delete"],
    ),
    { apiGroups: ["kubevirt.io"], resources: ["virtualmachineinstances", "virtualmachines"], verbs: ["get"] },
  ],
  "calico-node": [
    { ...core(["serviceaccounts/token"], ["create"]), resourceNames: ["calico-cni-plugin"] },
    core(["pods", "nodes", "namespaces"], ["get"]),
    { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["watch", "list"] },
    core(["endpoints", "services"], ["watch", "list", "get"]),
    core(["configmaps"], ["get"]),
    core(["nodes/status"], ["patch", "update"]),
    { apiGroups: ["networking.k8s.io"], resources: ["networkpolicies"], verbs: ["watch", "list"] },
    { apiGroups: ["policy.networking.k8s.io"], resources: ["clusternetworkpolicies"], verbs: ["watch", "list"] },
    core(["pods", "namespaces", "serviceaccounts"], ["list", "watch"]),
    core(["pods/status"], ["patch"]),
    calico(
      [
        ...["globalfelixconfigs", "globalbgpconfigs", "felixconfigurations", "bgppeers", "bgpfilters"],
        ...["bgpconfigurations", "ippools", "ipreservations", "ipamblocks", "globalnetworkpolicies"],
        ...["stagedglobalnetworkpolicies", "networkpolicies", "stagednetworkpolicies"],
        ...["stagedkubernetesnetworkpolicies", "globalnetworksets", "networksets", "clusterinformations"],
        ...["hostendpoints", "blockaffinities", "caliconodestatuses", "tiers"],
      ],
      READ,
    ),
    calico(["tiers"], ["create"]),
    calico(["ippools", "felixconfigurations", "bgpconfigurations", "clusterinformations"], ["create", "update"]),
    calico(["caliconodestatuses"], ["update"]),
    core(["nodes"], READ),
    calico(["bgpconfigurations", "bgppeers"], ["create", "update"]),
    calico(["blockaffinities", "ipamblocks", "ipamhandles"], ["get", "list", "create", "update", "delete"]),
    calico(["ipamconfigurations", "ipamconfigs"], ["get", "create"]),
    calico(["blockaffinities"], ["watch"]),
    { apiGroups: ["apps"], resources: ["daemonsets"], verbs: ["get"] },
    { apiGroups: ["kubevirt.io"], resources: ["virtualmachineinstancemigrations"], verbs: READ },
  ],
  "calico-kube-controllers": [
    core(["nodes", "pods", "namespaces"], READ),
    core(["services", "services/status"], ["get", "list", "update", "watch"]),
    calico(["ipreservations", "ippools"], ["list", "watch"]),
    calico(
      [
        ...["blockaffinities", "ipamblocks", "ipamhandles", "ipamconfigurations", "ipamconfigs", "tiers"],
        "hostendpoints",
      ],
      ["get", "list", "create", "update", "delete", "watch"],
    ),
    calico(["clusterinformations", "kubecontrollersconfigurations"], ["get", "list", "create", "update", "watch"]),
    calico(["kubecontrollersconfigurations/status"], ["get", "update"]),
    calico(
      ["networkpolicies", "stagednetworkpolicies", "globalnetworkpolicies", "stagedglobalnetworkpolicies"],
      ["watch", "list", "get", "create", "update", "delete"],
    ),
  ],
  readers: [{ apiGroups: ["*"], resources: ["*"], verbs: READ }],
};

/** The objects that make the roles and the accounts real. */
export function accessObjects(): object[] {
  const rbac = "rbac.authorization.k8s.io";
  const bind = (role: string, subject: object): object => ({
    apiVersion: `${rbac}/v1`,
    kind: "ClusterRoleBinding",
    metadata: { name: role },
    roleRef: { apiGroup: rbac, kind: "ClusterRole", name: role },
    subjects: [subject],
  });
  return [
    ...Object.entries(CLUSTER_ROLES).map(([name, rules]) => ({
      apiVersion: `${rbac}/v1`,
      kind: "ClusterRole",
      metadata: { name },
      rules,
    })),
    ...Object.values(SERVICE_ACCOUNTS).flatMap((name) => [
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { namespace: "kube-system", name } },
      bind(name, { kind: "ServiceAccount", namespace: "kube-system", name }),
    ]),
    bind("readers", { apiGroup: rbac, kind: "Group", name: "readers" }),
  ];
}
