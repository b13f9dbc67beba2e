/** What Calico's service accounts asked of the API server, held against what the manifest lets them. */
import type { AuditEvent } from "../../lib/kubernetes/testing/index.ts";
import type { Cluster } from "./cluster.ts";
import { NAMESPACE } from "./manifest.ts";

export interface AccountAccess {
  readonly account: string;
  readonly requests: number;
  /** "get pods: /api/v1/…", of answers of 401 and 403. */
  readonly refused: readonly string[];
  /** "get pods", of Calico's kinds in the group that this cluster has. */
  readonly unused: readonly string[];
}

interface ClusterRole {
  readonly rules: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}

/** Service accounts, whose ClusterRoles have the same names. */
const ACCOUNTS = ["calico-node", "calico-cni-plugin", "calico-kube-controllers"];

export async function accessOf(cluster: Cluster): Promise<AccountAccess[]> {
  const events = await cluster.server.audit();
  const { items } = await cluster.server.request<{ items: { metadata: { name: string } }[] }>(
    "GET",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
  );
  // "ipamblocks.crd.projectcalico.org"
  const stored = new Set(items.map(({ metadata }) => metadata.name));
  const roles = await Promise.all(
    ACCOUNTS.map((name) =>
      cluster.server.request<ClusterRole>("GET", `/apis/rbac.authorization.k8s.io/v1/clusterroles/${name}`),
    ),
  );
  return ACCOUNTS.map((account, index) => {
    const { rules } = roles[index]!;
    const asked = events.filter(({ user }) => user === `system:serviceaccount:${NAMESPACE}:${account}`);
    const used = new Set(asked.map(({ verb, resource }) => `${verb} ${resource}`));
    const granted = rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups.flatMap((group) =>
        resources.flatMap((resource) => {
          const [plural = "", part] = resource.split("/");
          const name = group === "" ? plural : `${plural}.${group}`;
          if (group.endsWith("projectcalico.org") && !stored.has(name)) return [];
          const whole = part ? `${name}/${part}` : name;
          return verbs.map((verb) => `${verb} ${whole}`);
        }),
      ),
    );
    return {
      account,
      requests: asked.length,
      refused: asked
        .filter(isRefused)
        .map(({ verb, resource, uri, status }) => `${status} ${verb} ${resource}: ${uri}`),
      unused: granted.filter((right) => !used.has(right)),
    };
  });
}

const isRefused = ({ status }: AuditEvent): boolean => status === 401 || status === 403;
