/** What every cluster has from its first node on; made where it is missing, and completed where upstream completes it. */
import { BGPConfiguration } from "../api/bgpconfiguration.ts";
import { FelixConfiguration, type FelixConfigurationSpec } from "../api/felixconfiguration.ts";
import { defaultIPAMConfiguration, IPAMConfiguration } from "../api/ipamconfiguration.ts";
import type { Kind } from "../api/kind.ts";
import { API_VERSION, type Resource } from "../api/meta.ts";
import { type Client, DatastoreError, ensureInitialized } from "../datastore/index.ts";
import { VERSION } from "../telemetry/index.ts";
import type { Env, KubernetesFacts } from "./types.ts";

const ATTEMPTS = 20;

export const isCode = (error: unknown, ...codes: DatastoreError["code"][]): boolean =>
  error instanceof DatastoreError && codes.includes(error.code);

/** ClusterInformation and tiers, Felix', BGP's and IPAM's configuration. Any number of nodes may do it at once. */
export async function ensureDefaults(
  client: Client,
  name: string,
  env: Env,
  kubernetes: KubernetesFacts | undefined,
): Promise<void> {
  const types = [
    ...(env.CLUSTER_TYPE ? [env.CLUSTER_TYPE] : []),
    ...(kubernetes?.kubeadmConfig ? ["kubeadm"] : []),
    ...(kubernetes?.rancher ? ["rancher"] : []),
  ];
  await ensureInitialized(client, { calicoVersion: VERSION, clusterType: types.join(",") });
  // Upstream's start-up: Felix reports to the datastore only when it is asked to, and logs what is informative.
  await ensureFelix(client, "default", { reportingInterval: "0s", logSeverityScreen: "Info" });
  // Workloads may reach their own host, where a cluster has no Kubernetes that would have opened that up.
  if (!client.capabilities.views) await ensureFelix(client, `node.${name}`, { defaultEndpointToHostAction: "Return" });
  const bgp: BGPConfiguration = {
    apiVersion: API_VERSION,
    kind: "BGPConfiguration",
    metadata: { name: "default" },
    spec: { serviceLoadBalancerAggregation: "Enabled" },
  };
  // Absent, they mean the same; roles of older installations do not let a node make them.
  await ensure(client, BGPConfiguration, bgp, { optional: true });
  await ensure(client, IPAMConfiguration, defaultIPAMConfiguration(), { optional: true });
}

/** Fills in the fields that a configuration does not say. */
async function ensureFelix(client: Client, name: string, fields: Partial<FelixConfigurationSpec>): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      const found = await client.get(FelixConfiguration, { name });
      if (!found) {
        const metadata = { name };
        const spec = fields as FelixConfigurationSpec;
        await client.create(FelixConfiguration, {
          apiVersion: API_VERSION,
          kind: "FelixConfiguration",
          metadata,
          spec,
        });
        return;
      }
      const spec = { ...fields, ...withoutEmpty(found.spec) } as FelixConfigurationSpec;
      if (!Bun.deepEquals(spec, found.spec)) await client.update(FelixConfiguration, { ...found, spec });
      return;
    } catch (error) {
      if (attempt === ATTEMPTS || !isCode(error, "EXISTS", "CONFLICT", "NOT_FOUND")) throw error;
    }
  }
}

const withoutEmpty = (spec: object): object =>
  Object.fromEntries(Object.entries(spec).filter(([, value]) => value !== undefined && value !== ""));

/** Makes the object when there is none of its name, whatever that is like. `optional`: this account need not be allowed to. */
export async function ensure<R extends Resource>(
  client: Client,
  kind: Kind<R>,
  resource: R,
  { optional = false } = {},
): Promise<boolean> {
  if (await client.exists(kind, { name: resource.metadata.name })) return false;
  try {
    await client.create(kind, resource);
    return true;
  } catch (error) {
    if (isCode(error, "EXISTS") || (optional && isCode(error, "UNAUTHORIZED"))) return false;
    throw error;
  }
}
