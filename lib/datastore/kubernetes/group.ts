import { type Kubernetes, KubernetesError } from "../../kubernetes/index.ts";

/** Where Calico's resources are stored: "v1" as crd.projectcalico.org/v1, "v3" as projectcalico.org/v3 itself. */
export type ApiGroup = "v1" | "v3";

/** The API group and version of each. */
export const GROUPS: Readonly<Record<ApiGroup, { readonly group: string; readonly version: string }>> = {
  v1: { group: "crd.projectcalico.org", version: "v1" },
  v3: { group: "projectcalico.org", version: "v3" },
};

/** "crd.projectcalico.org/v1", "projectcalico.org/v3" */
export const apiVersionOf = (group: ApiGroup): string => `${GROUPS[group].group}/${GROUPS[group].version}`;

/**
 * The group of an API server that nobody has named, in one request. v3 only where projectcalico.org is served and
 * crd.projectcalico.org is not: where both are, an extension API server serves the former out of the latter
 * (libcalico-go/lib/backend/k8s/discovery.go). An API server that does not tell is taken for v1, as upstream does.
 */
export async function discoverGroup(kubernetes: Kubernetes): Promise<ApiGroup> {
  try {
    const { groups = [] } = await kubernetes.request<{ groups?: readonly { name?: string }[] }>("GET", "/apis");
    return chooseGroup(groups.map(({ name }) => name));
  } catch (error) {
    if (error instanceof KubernetesError && (error.code === "FORBIDDEN" || error.code === "NOT_FOUND")) return "v1";
    throw error;
  }
}

/** See {@link discoverGroup}. */
export function chooseGroup(served: readonly (string | undefined)[]): ApiGroup {
  return served.includes(GROUPS.v3.group) && !served.includes(GROUPS.v1.group) ? "v3" : "v1";
}
