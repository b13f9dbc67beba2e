/** A generated case in a datastore: written in one transaction, and read back as the agents hear of it. */
import { GlobalNetworkPolicy } from "../../../lib/api/globalnetworkpolicy.ts";
import { GlobalNetworkSet } from "../../../lib/api/globalnetworkset.ts";
import type { Kind } from "../../../lib/api/kind.ts";
import { EndpointSlice } from "../../../lib/api/kubernetes/index.ts";
import { API_VERSION, type Resource } from "../../../lib/api/meta.ts";
import { NetworkPolicy } from "../../../lib/api/networkpolicy.ts";
import { NetworkSet } from "../../../lib/api/networkset.ts";
import { Profile } from "../../../lib/api/profile.ts";
import { StagedGlobalNetworkPolicy } from "../../../lib/api/stagedglobalnetworkpolicy.ts";
import { StagedNetworkPolicy } from "../../../lib/api/stagednetworkpolicy.ts";
import { Tier } from "../../../lib/api/tier.ts";
import { WorkloadEndpoint } from "../../../lib/api/workloadendpoint.ts";
import type { Client, Operation } from "../../../lib/datastore/index.ts";
import type { Input } from "../../../lib/policy-agent/calc/index.ts";
import { toInput } from "../../../lib/policy-agent/intake/index.ts";

/** Name of the tier, and beginning of the pods', by which an agent's progress is seen. */
export const BARRIER = "barrier";

const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;

const KINDS: readonly Kind[] = [
  plain(Tier),
  plain(Profile),
  plain(NetworkSet),
  plain(GlobalNetworkSet),
  plain(EndpointSlice),
  plain(NetworkPolicy),
  plain(GlobalNetworkPolicy),
  plain(StagedNetworkPolicy),
  plain(StagedGlobalNetworkPolicy),
  plain(WorkloadEndpoint),
];

/**
 * Makes the datastore hold the resources, and of their kinds only what a cluster has anyway beside them. In the same transaction the barriers'
 * pods are opened on a port, by a tier before all others.
 */
export async function write(client: Client, resources: readonly Resource[], port: number): Promise<void> {
  const operations: Operation[] = [];
  const wanted = [...resources, ...barrier(port)];
  for (const kind of KINDS) {
    const present = new Map((await client.list(kind)).items.map((one) => [nameOf(one), one]));
    for (const resource of wanted.filter((one) => one.kind === kind.kind)) {
      const old = present.get(nameOf(resource));
      present.delete(nameOf(resource));
      if (old === undefined) {
        operations.push({ op: "create", kind, resource });
        continue;
      }
      const { resourceVersion, uid } = old.metadata;
      const metadata = { ...resource.metadata, resourceVersion, uid } as Resource["metadata"];
      operations.push({ op: "update", kind, resource: { ...merged(old, resource), metadata } });
    }
    if (kind.kind === "WorkloadEndpoint") continue;
    for (const { metadata } of present.values()) {
      if (metadata.name === kind.builtIn?.name) continue;
      operations.push({ op: "delete", kind, ref: { name: metadata.name, ...namespaceOf(metadata) } });
    }
  }
  await client.batch(operations);
}

/** All that policy is made of, as it is stored now. */
export async function read(client: Client): Promise<Resource[]> {
  return (await Promise.all(KINDS.map(async (kind) => (await client.list(kind)).items))).flat();
}

/** What the calculation hears of stored resources; throws when something of them could not be understood. */
export function inputsOf(resources: readonly Resource[]): Input[] {
  return resources.flatMap((resource) => {
    const { input, problems } = toInput(resource);
    if (problems.length > 0) throw new Error(`${resource.kind} ${nameOf(resource)}: ${problems.join("; ")}`);
    return input === undefined ? [] : [input];
  });
}

/** Resources to store for generated inputs. Kubernetes' own policies come converted, and are stored as what they are then. */
export function resourcesOf(inputs: readonly Input[]): Resource[] {
  return inputs.flatMap((input): Resource[] => {
    const resource = (input.kind === "Policy" ? input.policy : input.resource) as Resource | undefined;
    if (resource === undefined || resource.kind === "Node") return [];
    const spec = resource.spec as { readonly stagedAction?: string; readonly tier?: string } | undefined;
    if (spec?.stagedAction !== "Delete") return [resource];
    return [{ ...resource, spec: { stagedAction: "Delete", ...(spec.tier === undefined ? {} : { tier: spec.tier }) } }];
  });
}

/** Of a pod only what a case may choose is replaced: what the plugin knows better stays. */
function merged(old: Resource, resource: Resource): Resource {
  if (resource.kind !== "WorkloadEndpoint") return resource;
  const { serviceAccountName, profiles, ports } = (resource as WorkloadEndpoint).spec;
  const { serviceAccountName: _, ...rest } = (old as WorkloadEndpoint).spec;
  const chosen = serviceAccountName === undefined ? {} : { serviceAccountName };
  return { ...resource, spec: { ...rest, ...chosen, profiles, ports } };
}

function barrier(port: number): Resource[] {
  const ingress = [{ action: "Allow", protocol: "TCP", destination: { ports: [port] } }, { action: "Deny" }];
  const spec = { tier: BARRIER, selector: `projectcalico.org/namespace == '${BARRIER}'`, types: ["Ingress"], ingress };
  return [
    { apiVersion: API_VERSION, kind: "Tier", metadata: { name: BARRIER }, spec: { order: 1, defaultAction: "Pass" } },
    { apiVersion: API_VERSION, kind: "GlobalNetworkPolicy", metadata: { name: BARRIER }, spec },
  ];
}

const nameOf = ({ metadata }: Resource): string => `${metadata.namespace ?? ""}/${metadata.name}`;
const namespaceOf = ({ namespace }: Resource["metadata"]): { namespace?: string } =>
  namespace === undefined ? {} : { namespace };
