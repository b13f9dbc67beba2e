import type { Kind } from "../../api/kind.ts";
import type { Ref, Resource } from "../../api/meta.ts";
import { endpointNamePrefix, parseEndpointName } from "../../api/names.ts";
import { checkResource, completeResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import {
  deletedEndpointToPodPatch,
  type EndpointOptions,
  endpointToPodPatch,
  type PodPatch,
  podToEndpoint,
} from "../../kubernetes/conversion/index.ts";
import { KubernetesError, type KubernetesObject, type ResourcePath } from "../../kubernetes/index.ts";
import type { DeleteOptions, Index } from "../client.ts";
import { unreadable } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { describeRef } from "../keys.ts";
import { type Connection, isThere, type KindStore, notFound, requiredRevision, type Source } from "./connection.ts";
import { whereOf } from "./mapping.ts";

const PODS: ResourcePath = { group: "", version: "v1", plural: "pods" };

/**
 * WorkloadEndpoints are Pods that have a node. Of an endpoint that is written only its addresses and its container are kept, as
 * annotations, by a patch of the pod's status: kubelet reports a pod's addresses late, and undoes what others write there. The
 * patch is guarded by the uid: a new pod of the same name is left alone. All else is derived from the pod. The plugin's role lets it get a
 * pod and patch its status, and no more.
 */
export class EndpointStore implements KindStore {
  readonly kind: Kind;
  readonly #on: Connection;
  readonly #options: EndpointOptions;

  constructor(on: Connection, kind: Kind, options: EndpointOptions = {}) {
    this.kind = kind;
    this.#on = on;
    this.#options = options;
  }

  sources(index: Index | undefined): readonly Source[] {
    const read = (object: KubernetesObject): Resource | undefined => this.#read(object);
    if (index && "node" in index)
      return [{ path: PODS, query: { fieldSelector: `spec.nodeName=${index.node}` }, read }];
    if (!index || !("namespace" in index)) return [{ path: PODS, read }];
    const path = { ...PODS, namespace: index.namespace };
    const pod = podOfIndex(index);
    return [{ path, ...(pod === undefined ? {} : { query: { fieldSelector: `metadata.name=${pod}` } }), read }];
  }

  async get(ref: Ref): Promise<Resource | undefined> {
    const path = podPath(this.kind, ref);
    const pod = path && (await this.getPod(path));
    const endpoint = pod && this.#read(pod);
    return endpoint?.metadata.name === ref.name ? endpoint : undefined;
  }

  /** The endpoints of the one pod that an index means, by a get; undefined when it means more than one pod. */
  async listByGet(index: Index): Promise<{ pod: KubernetesObject | undefined; read: Source["read"] } | undefined> {
    const name = podOfIndex(index);
    if (name === undefined || !("namespace" in index)) return undefined;
    const pod = await this.getPod({ ...PODS, namespace: index.namespace, name });
    return { pod, read: (object) => this.#read(object) };
  }

  async getPod(path: ResourcePath): Promise<KubernetesObject | undefined> {
    try {
      return await this.#on.kubernetes.get<KubernetesObject>(path, { parse: JSON.parse });
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }

  has(ref: Ref): Promise<boolean> {
    return isThere(this.get(ref));
  }

  create(resource: Resource): Promise<Resource> {
    return this.#write(resource);
  }

  update(resource: Resource): Promise<Resource> {
    requiredRevision(this.kind, resource);
    return this.#write(resource);
  }

  /** Answers the endpoint as it is afterwards: without addresses. */
  async delete(ref: Ref, options: DeleteOptions): Promise<Resource> {
    const { uid, resourceVersion } = options;
    return this.#answer(ref, await this.#patch(ref, deletedEndpointToPodPatch({ uid, resourceVersion })));
  }

  /** An endpoint that cannot be read can still be deleted: what of its pod is wrong has nothing to do with that. */
  #answer(ref: Ref, pod: KubernetesObject): Resource {
    try {
      const endpoint = this.#read(pod);
      if (endpoint) return endpoint;
    } catch (error) {
      if (!(error instanceof DatastoreError) || error.code !== "INVALID") throw error;
      const { apiVersion, kind } = this.kind;
      const { uid, resourceVersion } = pod.metadata ?? {};
      const metadata = {
        name: ref.name,
        ...(ref.namespace === undefined ? {} : { namespace: ref.namespace }),
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      };
      return { apiVersion, kind, metadata, spec: {} };
    }
    throw notFound(this.kind, ref);
  }

  async #write(given: Resource): Promise<Resource> {
    const resource = completeResource(this.kind, structuredClone(given));
    const problem = checkResource(this.kind, resource, { unknown: "keep" })[0];
    if (problem)
      throw new DatastoreError("INVALID", `${describeRef(this.kind, given.metadata)}: ${describeProblem(problem)}`);
    const patch = endpointToPodPatch(resource as WorkloadEndpoint, { uid: given.metadata.uid });
    const endpoint = this.#read(await this.#patch(resource.metadata, patch));
    if (endpoint) return endpoint;
    throw notFound(this.kind, resource.metadata);
  }

  /** Answers the pod. */
  async #patch(ref: Ref, patch: PodPatch): Promise<KubernetesObject> {
    const path = podPath(this.kind, ref);
    if (!path)
      throw new DatastoreError(
        "INVALID",
        `${describeRef(this.kind, ref)}: metadata.name: must be that of a Kubernetes pod's endpoint, <node>-k8s-<pod>-eth0, ` +
          `as there are no others on Kubernetes`,
      );
    try {
      return await this.#on.kubernetes.patch<KubernetesObject>({ ...path, subresource: "status" }, "strategic", patch, {
        parse: JSON.parse,
      });
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "NOT_FOUND") throw notFound(this.kind, ref);
      throw error;
    }
  }

  #read(object: KubernetesObject): Resource | undefined {
    const { value, problems } = podToEndpoint(object, this.#options);
    const problem = value ? undefined : problems[0];
    if (problem) throw unreadable(whereOf(PODS, object, this.#on.name), describeProblem(problem));
    return value;
  }
}

/** The pod of an endpoint; undefined when its name is not that of a pod's. */
function podPath(kind: Kind, { name, namespace }: Ref): ResourcePath | undefined {
  if (!namespace)
    throw new DatastoreError("INVALID", `${kind.kind} ${name}: metadata.namespace: missing: must be the pod's`);
  const { orchestrator, pod } = parseEndpointName(name) ?? {};
  return orchestrator === "k8s" && pod ? { ...PODS, namespace, name: pod } : undefined;
}

/** The pod whose endpoints' names all begin so. */
function podOfIndex(index: Index): string | undefined {
  if (!("namePrefix" in index)) return undefined;
  const id = parseEndpointName(index.namePrefix);
  if (!id?.pod || id.orchestrator !== "k8s") return undefined;
  const { endpoint: _, ...pod } = id;
  return index.namePrefix.startsWith(endpointNamePrefix(pod)) ? id.pod : undefined;
}
