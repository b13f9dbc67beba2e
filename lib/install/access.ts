/** What a program may ask of the API server: RBAC rules, declared beside the program that needs them and put into manifests from there. */

/** `rbac.authorization.k8s.io/v1` PolicyRule. */
export interface AccessRule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
  readonly resourceNames?: readonly string[];
}

/** Of one program. */
export interface Access {
  /** The service account, its ClusterRole and the binding have this name, which is upstream's. */
  readonly account: string;
  readonly rules: readonly AccessRule[];
}

/** Of the core group. */
export const coreRule = (
  resources: readonly string[],
  verbs: readonly string[],
  resourceNames?: readonly string[],
): AccessRule => ({ apiGroups: [""], resources, verbs, ...(resourceNames && { resourceNames }) });

/** Of Calico's own kinds, in both of the groups in which they may be stored. */
export const calicoRule = (resources: readonly string[], verbs: readonly string[]): AccessRule => ({
  apiGroups: ["projectcalico.org", "crd.projectcalico.org"],
  resources,
  verbs,
});

export const READ = ["get", "list", "watch"] as const;
