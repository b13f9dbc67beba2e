import type { Kind } from "../../api/kind.ts";
import type { Ref, Resource } from "../../api/meta.ts";
import type { Kubernetes, KubernetesObject, Query, ResourcePath } from "../../kubernetes/index.ts";
import type { DeleteOptions, Index } from "../client.ts";
import { DatastoreError } from "../errors.ts";
import { describeRef } from "../keys.ts";
import { type ApiGroup, discoverGroup } from "./group.ts";

/** What all kinds of one Client share. */
export class Connection {
  readonly kubernetes: Kubernetes;
  readonly usePodCidr: boolean;
  #group: Promise<ApiGroup> | undefined;

  constructor(kubernetes: Kubernetes, group: ApiGroup | undefined, usePodCidr: boolean) {
    this.kubernetes = kubernetes;
    this.usePodCidr = usePodCidr;
    if (group) this.#group = Promise.resolve(group);
  }

  /** For messages. */
  get name(): string {
    return this.kubernetes.name;
  }

  /** The group of Calico's resources. The API server is asked once; when it did not answer, the next caller asks again. */
  group(): Promise<ApiGroup> {
    this.#group ??= discoverGroup(this.kubernetes).catch((error: unknown) => {
      this.#group = undefined;
      throw error;
    });
    return this.#group;
  }
}

/** Objects of the API server from which resources of a kind come. */
export interface Source {
  /** A collection. */
  readonly path: ResourcePath;
  /** What of it. */
  readonly query?: Query | undefined;
  readonly parse?: ((text: string) => unknown) | undefined;
  /** The resource that an object is; undefined when it is none. Throws INVALID. */
  read(object: KubernetesObject): Resource | undefined;
  /** What an object that cannot be read tells of its resource. Absent: its own name and namespace. */
  readonly refOf?: ((object: KubernetesObject) => Ref) | undefined;
}

/**
 * How one kind is kept on an API server. What these throw may be a KubernetesError. Objects that are marked deleted are among
 * what they read, except by `get`.
 */
export interface KindStore {
  readonly kind: Kind;
  /** Where the objects of an index are, and perhaps a few more. */
  sources(index: Index | undefined): readonly Source[];
  get(ref: Ref): Promise<Resource | undefined>;
  /** Whether there is such an object, readable or not. */
  has(ref: Ref): Promise<boolean>;
  /** `trusts`: what the allocator has made is not checked. */
  create(resource: Resource, trusts: boolean): Promise<Resource>;
  update(resource: Resource, trusts: boolean): Promise<Resource>;
  delete(ref: Ref, options: DeleteOptions): Promise<Resource>;
  /** The same, without an answer: where the revision is given it is one request. Absent: it costs as much as `delete`. */
  discard?(ref: Ref, options: DeleteOptions): Promise<void>;
}

/** Whether what is read is there, readable or not. */
export async function isThere(reading: Promise<Resource | undefined>): Promise<boolean> {
  try {
    return (await reading) !== undefined;
  } catch (error) {
    if (error instanceof DatastoreError && error.code === "INVALID") return true;
    throw error;
  }
}

/** The revision that an update must name. */
export function requiredRevision(kind: Kind, resource: Resource): string {
  const { resourceVersion } = resource.metadata;
  if (resourceVersion) return resourceVersion;
  throw new DatastoreError(
    "INVALID",
    `${describeRef(kind, resource.metadata)}: metadata.resourceVersion: missing: read the object, and update what was read`,
  );
}

/** Refuses a deletion of another object, or revision, than the caller means. */
export function checkPreconditions(kind: Kind, ref: Ref, found: Resource, options: DeleteOptions): void {
  const { uid, resourceVersion } = found.metadata;
  const of = describeRef(kind, ref);
  if (options.uid !== undefined && options.uid !== uid)
    throw new DatastoreError("CONFLICT", `${of} was deleted and made again since it was read: it has another uid`);
  if (options.resourceVersion && options.resourceVersion !== resourceVersion)
    throw new DatastoreError(
      "CONFLICT",
      `${of} changed since revision ${options.resourceVersion}, it is at ${resourceVersion}: read it again`,
    );
}

export function notFound(kind: Kind, ref: Ref): DatastoreError {
  return new DatastoreError("NOT_FOUND", `${describeRef(kind, ref)} does not exist`);
}
