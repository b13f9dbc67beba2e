/**
 * From Kubernetes' objects to Calico's and, for pods, back: pure functions, no I/O.
 *
 *     Pod                   -> WorkloadEndpoint                  podToEndpoint
 *     WorkloadEndpoint      -> patch of a pod's status           endpointToPodPatch, deletedEndpointToPodPatch
 *     Namespace             -> Profile kns.<namespace>           namespaceToProfile
 *     ServiceAccount        -> Profile ksa.<namespace>.<name>    serviceAccountToProfile
 *     NetworkPolicy         -> NetworkPolicy, tier default       networkPolicyToPolicy
 *     ClusterNetworkPolicy  -> GlobalNetworkPolicy, tier         clusterNetworkPolicyToPolicy
 *                              kube-admin or kube-baseline
 *
 * Names, labels, annotations and rules are upstream's (libcalico-go/lib/backend/k8s/conversion). Whatever is read may be damaged:
 * no function here throws, each answers with a {@link Conversion} that lists what is wrong, and what cannot be converted
 * lets nothing through. Where that is stricter than upstream, the file says so; objects an API server accepted convert alike.
 */
export { ANNOTATION } from "./annotations.ts";
export { clusterNetworkPolicyToPolicy } from "./clusternetworkpolicy.ts";
export { networkPolicyToPolicy } from "./networkpolicy.ts";
export type {
  ClusterNetworkPolicyObject,
  Conversion,
  Metadata,
  NamespaceObject,
  NetworkPolicyObject,
  PodObject,
  ServiceAccountObject,
} from "./objects.ts";
export {
  type EndpointOptions,
  hasEndpoint,
  isFinished,
  podToEndpoint,
} from "./pod.ts";
export { deletedEndpointToPodPatch, endpointToPodPatch, type PodPatch, type PodPatchGuard } from "./podpatch.ts";
export {
  CLUSTER_NETWORK_POLICY,
  type ConvertedPolicy,
  NETWORK_POLICY,
  type PolicyKey,
} from "./policy.ts";
export {
  joinProfileRevisions,
  namespaceProfileName,
  namespaceToProfile,
  type ProfileSource,
  profileSource,
  serviceAccountProfileName,
  serviceAccountToProfile,
  splitProfileRevision,
} from "./profile.ts";
export { convertUid } from "./uid.ts";
