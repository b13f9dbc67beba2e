/**
 * What every resource has in common: the Kubernetes object shape that Calico's projectcalico.org/v3 kinds use.
 * Types only; nothing here costs a caller anything at run time, except the two constants.
 */

/** The API group and version of all of Calico's own kinds. */
export const API_VERSION = "projectcalico.org/v3";

export interface ObjectMeta {
  name: string;
  /** Set on namespaced kinds only. */
  namespace?: string;
  uid?: string;
  /** Opaque: compared for equality on one object, never ordered. Absent on an object that was not read from a datastore. */
  resourceVersion?: string;
  /** RFC 3339, UTC. */
  creationTimestamp?: string | null;
  deletionTimestamp?: string | null;
  deletionGracePeriodSeconds?: number;
  generateName?: string;
  generation?: number;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  finalizers?: string[];
}

export interface OwnerReference {
  apiVersion: string;
  kind: string;
  name: string;
  uid: string;
  controller?: boolean;
  blockOwnerDeletion?: boolean;
}

/**
 * One object of any kind. `Spec` is the kind's own part. Without it (`Resource<"Secret">`) an object may have a spec, of
 * whatever shape, or none: some kinds of Kubernetes keep their fields beside `metadata`.
 */
export type Resource<Name extends string = string, Spec = unknown, Status = unknown> = {
  apiVersion: string;
  kind: Name;
  metadata: ObjectMeta;
  status?: Status;
} & (unknown extends Spec ? { spec?: Spec } : { spec: Spec });

/**
 * Which object is meant. `spec` carries the identifying fields of the kinds whose stored key is not made from the name
 * alone: a BlockAffinity (type, node, cidr) and an IPAMHandle (handleID); their files export a function that makes one.
 */
export interface Ref {
  name: string;
  namespace?: string;
  spec?: Readonly<Record<string, unknown>>;
}
