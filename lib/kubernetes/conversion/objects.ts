import type { Problem } from "../../api/schema.ts";

/**
 * What the conversions read of Kubernetes' objects, as their JSON has it. Everything is optional: an object that was stored past an
 * API server's validation may lack it, or have it with another type, which the conversions report.
 */
export interface Metadata {
  readonly name?: string;
  readonly namespace?: string;
  readonly generateName?: string;
  readonly uid?: string;
  readonly resourceVersion?: string;
  readonly creationTimestamp?: string | null;
  readonly deletionTimestamp?: string | null;
  readonly labels?: Readonly<Record<string, string>> | null;
  readonly annotations?: Readonly<Record<string, string>> | null;
}

interface KubernetesObject {
  readonly metadata?: Metadata;
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** v1 Namespace. */
export interface NamespaceObject extends KubernetesObject {}
/** v1 ServiceAccount. */
export interface ServiceAccountObject extends KubernetesObject {}
/** v1 Pod. */
export interface PodObject extends KubernetesObject {}
/** networking.k8s.io/v1 NetworkPolicy. */
export interface NetworkPolicyObject extends KubernetesObject {}
/** policy.networking.k8s.io/v1alpha2 ClusterNetworkPolicy. */
export interface ClusterNetworkPolicyObject extends KubernetesObject {}

/** What became of an object. */
export interface Conversion<T> {
  /** Absent when nothing can be made of the object; then there are problems, or there is nothing to make. */
  readonly value?: T;
  /** What is wrong with the object, each with the path of the field. With a value: what the value therefore leaves out or replaces. */
  readonly problems: readonly Problem[];
}
