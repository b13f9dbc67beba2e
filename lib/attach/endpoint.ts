import { API_VERSION } from "../api/meta.ts";
import { endpointNameMatches } from "../api/names.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { WorkloadEndpoint as Kind } from "../api/workloadendpoint.ts";
import { type Client, DatastoreError, type Operation } from "../datastore/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Identity } from "./identity.ts";

/** What the datastore knows of a pod's interface, complete before the interface exists. */
export interface EndpointFields {
  /** Without prefix lengths. */
  readonly addresses: readonly string[];
  readonly mac: string;
  readonly profiles: readonly string[];
}

/**
 * The endpoint record as upstream writes it, in the place of `existing` where the pod had one (facts 2.2 and 2.5). What others
 * have written on it stays for the same container only: a new sandbox starts without.
 */
export function buildEndpoint(
  identity: Identity,
  fields: EndpointFields,
  existing: WorkloadEndpoint | undefined,
): WorkloadEndpoint {
  const container = existing?.spec.containerID;
  const kept = container === undefined || container === identity.containerId ? existing : undefined;
  const ipNetworks: string[] = [];
  for (const address of fields.addresses) ipNetworks.push(hostNetwork(address));
  return {
    apiVersion: API_VERSION,
    kind: "WorkloadEndpoint",
    metadata: {
      ...existing?.metadata,
      name: existing?.metadata.name ?? identity.endpointName,
      namespace: identity.namespace,
      labels: {
        ...kept?.metadata.labels,
        ...identity.labels,
        // Set on every write, whatever a caller says (clientv3, updateLabelsForStorage).
        "projectcalico.org/namespace": identity.namespace,
        "projectcalico.org/orchestrator": identity.orchestrator,
      },
    },
    spec: {
      ...kept?.spec,
      orchestrator: identity.orchestrator,
      node: identity.node,
      containerID: identity.containerId,
      ...(identity.pod === "" ? {} : { pod: identity.pod }),
      endpoint: identity.ifName,
      ipNetworks,
      profiles: [...fields.profiles],
      interfaceName: identity.hostInterface,
      mac: fields.mac,
    },
  };
}

/** 10.0.0.1 -> 10.0.0.1/32 */
export function hostNetwork(address: string): string {
  return `${address}/${address.includes(":") ? 128 : 32}`;
}

/** Writes it: an update where there is one, a creation otherwise. Nothing when it would change nothing. */
export function writeEndpoint(endpoint: WorkloadEndpoint, existing: WorkloadEndpoint | undefined): Operation[] {
  if (existing === undefined) return [{ op: "create", kind: Kind, resource: endpoint }];
  if (Bun.deepEquals(existing, endpoint)) return [];
  return [{ op: "update", kind: Kind, resource: endpoint }];
}

export function readEndpoint(client: Client, identity: Identity): Promise<WorkloadEndpoint | undefined> {
  return client.get(Kind, { name: identity.endpointName, namespace: identity.namespace });
}

/**
 * The endpoint to delete. On Kubernetes it cannot be read while somebody has given its pod an annotation that is wrong: nobody else can
 * read it then either, so there is no endpoint, and the pod must not be kept from ending for that.
 */
export async function readEndpointToDelete(
  client: Client,
  identity: Identity,
  log: Logger,
): Promise<WorkloadEndpoint | undefined> {
  try {
    return await readEndpoint(client, identity);
  } catch (error) {
    if (!client.capabilities.views || !(error instanceof DatastoreError) || error.code !== "INVALID") throw error;
    log.warning("the pod's annotations stay as they are, because it cannot be read", { error: error.message });
    return undefined;
  }
}

/**
 * The endpoints of the same pod or container, whatever their interfaces are called. Throws INVALID when one of them cannot be
 * read: taken for absent, its pod would get a second interface, or lose its addresses.
 */
export async function endpointsOfPod(client: Client, identity: Identity): Promise<WorkloadEndpoint[]> {
  const { endpointId, endpointPrefix, namespace, orchestrator } = identity;
  // On Kubernetes all endpoints are pods.
  if (client.capabilities.views && orchestrator !== "k8s") return [];
  const { items, unreadable } = await client.list(Kind, { namespace, namePrefix: endpointPrefix });
  for (const { ref, error } of unreadable) if (endpointNameMatches(endpointId, ref.name)) throw error;
  const endpoints: WorkloadEndpoint[] = [];
  for (const endpoint of items) {
    if (endpointNameMatches(endpointId, endpoint.metadata.name)) endpoints.push(endpoint);
  }
  return endpoints;
}

/** The deletion of exactly this revision. */
export function deleteEndpoint(endpoint: WorkloadEndpoint): Operation {
  const { name, namespace, resourceVersion, uid } = endpoint.metadata;
  return {
    op: "delete",
    kind: Kind,
    ref: { name, ...(namespace === undefined ? {} : { namespace }) },
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(uid === undefined ? {} : { uid }),
  };
}

/** 10.0.0.1/32 -> 10.0.0.1 */
export function addressesOfEndpoint(endpoint: WorkloadEndpoint): string[] {
  return (endpoint.spec.ipNetworks ?? []).map((network) => network.replace(/\/\d+$/, ""));
}
