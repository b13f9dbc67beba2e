/**
 * Kubernetes' own kinds, for the datastores that stand where no API server is: people apply the same files there, and what
 * reads Namespaces, Services or NetworkPolicies finds them alike. Objects are plain Kubernetes JSON and are kept as they
 * were given, also where a schema here does not know a field. What the API server would fill in is filled in only where
 * nobody but it could: a Secret's `data` from its `stringData`, and the label with a Namespace's name. Other defaults
 * (a port's protocol, a NetworkPolicy's policyTypes) are for the reader, who must bear with their absence anyway.
 *
 * Schemas and checks refuse what the API server would refuse a person (names, required fields, enumerations, addresses,
 * ports), and nothing that a real cluster may hold; where Kubernetes became stricter over time, the laxer rule counts.
 */
import type { Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import { ClusterNetworkPolicy } from "./clusternetworkpolicy.ts";
import { EndpointSlice } from "./endpointslice.ts";
import { Namespace } from "./namespace.ts";
import { KubernetesNetworkPolicy } from "./networkpolicy.ts";
import { Pod } from "./pod.ts";
import { Secret } from "./secret.ts";
import { Service } from "./service.ts";
import { ServiceAccount } from "./serviceaccount.ts";

export { ClusterNetworkPolicy, type ClusterNetworkPolicySpec } from "./clusternetworkpolicy.ts";
export { type Endpoint, type EndpointPort, EndpointSlice } from "./endpointslice.ts";
export { Namespace } from "./namespace.ts";
export { KubernetesNetworkPolicy, type KubernetesNetworkPolicySpec } from "./networkpolicy.ts";
export { Pod } from "./pod.ts";
export { Secret } from "./secret.ts";
export { Service } from "./service.ts";
export { ServiceAccount } from "./serviceaccount.ts";

const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;

/** All of them, by name. */
export const KUBERNETES_KINDS: readonly Kind[] = [
  plain(ClusterNetworkPolicy),
  plain(EndpointSlice),
  plain(Namespace),
  plain(KubernetesNetworkPolicy),
  plain(Pod),
  plain(Secret),
  plain(Service),
  plain(ServiceAccount),
];
