import type { Kind } from "../../api/kind.ts";
import type { Ref, Resource } from "../../api/meta.ts";
import type { Node } from "../../api/node.ts";
import { checkResource, completeResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { KubernetesError, type KubernetesObject, type ResourcePath } from "../../kubernetes/index.ts";
import type { Index } from "../client.ts";
import { DatastoreError } from "../errors.ts";
import { describeRef } from "../keys.ts";
import {
  type Connection,
  checkPreconditions,
  type KindStore,
  notFound,
  requiredRevision,
  type Source,
} from "./connection.ts";
import { nodeFromKubernetes, nodeToKubernetes } from "./node.ts";

const NODES: ResourcePath = { group: "", version: "v1", plural: "nodes" };

/**
 * Nodes are Kubernetes' own, and what is Calico's of them is in their annotations. Those are written through the status
 * subresource, which is what a node's agent may write. kubelet makes Nodes, and Kubernetes deletes them.
 */
export class NodeStore implements KindStore {
  readonly kind: Kind;
  readonly #on: Connection;

  constructor(on: Connection, kind: Kind) {
    this.kind = kind;
    this.#on = on;
  }

  sources(index: Index | undefined): readonly Source[] {
    const query = index && "node" in index ? { fieldSelector: `metadata.name=${index.node}` } : undefined;
    return [{ path: NODES, ...(query ? { query } : {}), read: (object) => this.#decode(object) }];
  }

  async get(ref: Ref): Promise<Resource | undefined> {
    const found = await this.#read(ref);
    return found && this.#decode(found);
  }

  async has(ref: Ref): Promise<boolean> {
    return (await this.#read(ref)) !== undefined;
  }

  async create(resource: Resource): Promise<Resource> {
    if (await this.#read(resource.metadata))
      throw new DatastoreError("EXISTS", `${describeRef(this.kind, resource.metadata)} exists already`);
    throw new DatastoreError(
      "UNSUPPORTED",
      `${describeRef(this.kind, resource.metadata)} cannot be created in ${this.#on.name}: kubelet makes the Nodes there`,
    );
  }

  async update(given: Resource): Promise<Resource> {
    const revision = requiredRevision(this.kind, given);
    const node = completeResource(this.kind, structuredClone(given)) as Node;
    const problem = checkResource(this.kind, node as Resource, { unknown: "keep" })[0];
    if (problem)
      throw new DatastoreError("INVALID", `${describeRef(this.kind, given.metadata)}: ${describeProblem(problem)}`);
    // The rest of the object is kubelet's, and goes back as it is.
    const found = await this.#read(given.metadata);
    if (!found) throw notFound(this.kind, given.metadata);
    checkPreconditions(this.kind, given.metadata, this.#decode(found), { resourceVersion: revision });
    const path = { ...NODES, name: given.metadata.name, subresource: "status" };
    return this.#decode(
      await this.#on.kubernetes.replace<KubernetesObject>(path, nodeToKubernetes(node, found), { parse: JSON.parse }),
    );
  }

  async delete(ref: Ref): Promise<Resource> {
    if (!(await this.#read(ref))) throw notFound(this.kind, ref);
    throw new DatastoreError(
      "UNSUPPORTED",
      `${describeRef(this.kind, ref)} cannot be deleted in ${this.#on.name} by Calico: use 'kubectl delete node ${ref.name}'`,
    );
  }

  #decode(object: KubernetesObject): Resource {
    return nodeFromKubernetes(object, this.#on.usePodCidr);
  }

  async #read(ref: Ref): Promise<KubernetesObject | undefined> {
    try {
      return await this.#on.kubernetes.get<KubernetesObject>({ ...NODES, name: ref.name }, { parse: JSON.parse });
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "NOT_FOUND") return undefined;
      throw error;
    }
  }
}
