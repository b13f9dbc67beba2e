import type { Kind } from "../../api/kind.ts";
import type { Ref, Resource } from "../../api/meta.ts";
import { checkResource, completeResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { KubernetesError, type KubernetesObject, type ResourcePath } from "../../kubernetes/index.ts";
import type { DeleteOptions, Index } from "../client.ts";
import { goTime } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { parseJson, stringifyJson } from "../json.ts";
import { describeRef, refOf } from "../keys.ts";
import {
  type Connection,
  checkPreconditions,
  type KindStore,
  notFound,
  requiredRevision,
  type Source,
} from "./connection.ts";
import type { ApiGroup } from "./group.ts";
import { affinitySelector, isIpamKind, type Mapping, mappingOf } from "./mapping.ts";

/** How often a write whose conditions the caller left open is tried again when somebody else was quicker. */
const ATTEMPTS = 10;

/** Kinds whose objects are stored one to one: Calico's as custom resources, and Kubernetes' own. */
export class ObjectStore implements KindStore {
  readonly kind: Kind;
  readonly #on: Connection;
  readonly #map: Mapping;
  readonly #group: ApiGroup;

  constructor(on: Connection, kind: Kind, group: ApiGroup) {
    this.kind = kind;
    this.#on = on;
    this.#group = group;
    this.#map = mappingOf(kind, group);
  }

  sources(index: Index | undefined): readonly Source[] {
    const { collection } = this.#map;
    const inNamespace = index && "namespace" in index && this.kind.namespaced;
    const path = inNamespace ? { ...collection, namespace: index.namespace } : collection;
    if (inNamespace && "name" in index)
      return [{ ...this.source(path, undefined), query: { fieldSelector: `metadata.name=${index.name}` } }];
    // Of Kubernetes' own kinds, the one that a node can be asked for.
    if (this.kind.kind === "Pod" && index && "node" in index)
      return [{ ...this.source(path, undefined), query: { fieldSelector: `spec.nodeName=${index.node}` } }];
    const selector =
      this.kind.kind === "BlockAffinity" && index && "node" in index
        ? affinitySelector(index.node, index.affinityType)
        : undefined;
    return [this.source(path, selector)];
  }

  source(path: ResourcePath, labelSelector: string | undefined): Source {
    return {
      path,
      ...(labelSelector === undefined ? {} : { query: { labelSelector } }),
      parse: this.#parse,
      read: (object) => this.#decode(object),
      refOf: this.#map.refOf,
    };
  }

  async get(ref: Ref): Promise<Resource | undefined> {
    const found = await this.#read(ref);
    if (!found) return undefined;
    const resource = this.#decode(found);
    if (!isMarked(this.#map, resource)) return resource;
    // Whoever marked it was cut short. When it cannot be finished now, it is absent all the same.
    await this.#finish(ref, found).catch(() => undefined);
    return undefined;
  }

  async has(ref: Ref): Promise<boolean> {
    return (await this.#read(ref)) !== undefined;
  }

  async create(given: Resource, trusts: boolean): Promise<Resource> {
    const { uid: _u, resourceVersion: _v, ...metadata } = given.metadata;
    // In v3 it is the API server's to say.
    if (this.#group === "v1" && !this.#map.isSoftDeleted) metadata.creationTimestamp ||= goTime(new Date()) as string;
    const { name: _, ...collection } = this.#map.path(refOf(given));
    const resource = this.#prepared({ ...given, metadata }, trusts);
    for (let attempt = 1; ; attempt++) {
      try {
        const made = await this.#on.kubernetes.create<KubernetesObject>(collection, this.#map.encode(resource), {
          parse: this.#parse,
        });
        return await this.#withStatus(resource, made);
      } catch (error) {
        if (!(error instanceof KubernetesError) || error.code !== "ALREADY_EXISTS") throw error;
        if (attempt < ATTEMPTS && this.#map.isSoftDeleted && (await this.#finishMarked(refOf(given)))) continue;
        throw new DatastoreError("EXISTS", `${describeRef(this.kind, given.metadata)} exists already`, {
          cause: error,
        });
      }
    }
  }

  async update(given: Resource, trusts: boolean): Promise<Resource> {
    requiredRevision(this.kind, given);
    const path = this.#map.path(refOf(given));
    const { creationTimestamp } = given.metadata;
    const isKept = creationTimestamp || this.#group === "v3" || this.#map.isSoftDeleted;
    const resource = this.#prepared(isKept ? given : await this.#withCreationTime(given), trusts);
    try {
      const object = this.#map.encode(resource);
      const written = await this.#on.kubernetes.replace<KubernetesObject>(path, object, { parse: this.#parse });
      return await this.#withStatus(resource, written);
    } catch (error) {
      throw this.#refused(error, given.metadata, given.metadata.resourceVersion);
    }
  }

  async delete(ref: Ref, options: DeleteOptions): Promise<Resource> {
    for (let attempt = 1; ; attempt++) {
      const found = await this.#read(ref);
      if (!found) throw notFound(this.kind, ref);
      const last = this.#decodeAnyhow(found, ref);
      if (isMarked(this.#map, last)) {
        await this.#finish(ref, found);
        throw notFound(this.kind, ref);
      }
      checkPreconditions(this.kind, ref, last, options);
      try {
        await this.#remove(ref, found.metadata ?? {});
        return last;
      } catch (error) {
        const isRace = error instanceof KubernetesError && error.code === "CONFLICT";
        if (isRace && !options.resourceVersion && attempt < ATTEMPTS) continue;
        throw this.#refused(error, ref, options.resourceVersion);
      }
    }
  }

  async discard(ref: Ref, options: DeleteOptions): Promise<void> {
    const { resourceVersion } = options;
    if (resourceVersion) {
      try {
        // A revision is that of one write of one object: there is nothing for the uid to add.
        return await this.#remove(ref, { resourceVersion });
      } catch (error) {
        const isRace = error instanceof KubernetesError && error.code === "CONFLICT";
        if (!isRace) throw this.#refused(error, ref, resourceVersion);
        // What it is now says whether it was changed, or marked as deleted.
      }
    }
    await this.delete(ref, options);
  }

  readonly #parse = (text: string): unknown => (this.kind.verbatim ? JSON.parse(text) : parseJson(text));

  #decode(object: KubernetesObject): Resource {
    return this.#map.decode(object, this.#on.name);
  }

  /** An object that cannot be read can still be deleted. */
  #decodeAnyhow(object: KubernetesObject, ref: Ref): Resource {
    try {
      return this.#decode(object);
    } catch (error) {
      if (!(error instanceof DatastoreError)) throw error;
      const { name, namespace } = ref;
      const { uid, resourceVersion } = object.metadata ?? {};
      return {
        apiVersion: this.kind.apiVersion,
        kind: this.kind.kind,
        metadata: {
          name,
          ...(namespace === undefined ? {} : { namespace }),
          ...(uid === undefined ? {} : { uid }),
          ...(resourceVersion === undefined ? {} : { resourceVersion }),
        },
        spec: {},
      };
    }
  }

  async #read(ref: Ref): Promise<KubernetesObject | undefined> {
    try {
      return await this.#on.kubernetes.get<KubernetesObject>(this.#map.path(ref), { parse: this.#parse });
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "NOT_FOUND" && !error.resourceMissing) return undefined;
      throw error;
    }
  }

  /** A resource that may be written: checked, and complete. */
  #prepared(given: Resource, trusts: boolean): Resource {
    const { kind } = this;
    // The API server knows its own kinds better.
    if (kind.verbatim) return given;
    const fail = (problem: string, cause?: unknown): never => {
      throw new DatastoreError("INVALID", `${describeRef(kind, given.metadata)}: ${problem}`, { cause });
    };
    if (isIpamKind(kind)) {
      // What could not be read again is not written.
      if (!trusts) this.#decode(parseJson(stringifyJson(this.#map.encode(given))) as KubernetesObject);
      return given;
    }
    let copy: Resource;
    try {
      copy = structuredClone(given);
    } catch (cause) {
      return fail("cannot be written as JSON", cause);
    }
    const resource = completeResource(kind, copy);
    const problem = checkResource(kind, resource, { unknown: "keep" })[0];
    return problem ? fail(describeProblem(problem)) : resource;
  }

  /** A caller that built the object anew must not change when it was made. */
  async #withCreationTime(given: Resource): Promise<Resource> {
    const found = await this.#read(refOf(given));
    const before = found && this.#decodeAnyhow(found, refOf(given)).metadata;
    const { creationTimestamp } = before ?? {};
    if (!creationTimestamp) return given;
    return { ...given, metadata: { ...given.metadata, creationTimestamp } };
  }

  /** The resource that was written; its status has a path of its own, where the cluster's definition of the kind has one. */
  async #withStatus(wanted: Resource, written: KubernetesObject): Promise<Resource> {
    const resource = this.#decode(written);
    if (!this.#map.hasStatus || wanted.status === undefined || Bun.deepEquals(wanted.status, resource.status))
      return resource;
    const path = { ...this.#map.path(refOf(wanted)), subresource: "status" };
    const body = { ...written, status: wanted.status };
    try {
      return this.#decode(await this.#on.kubernetes.replace<KubernetesObject>(path, body, { parse: this.#parse }));
    } catch (error) {
      // An older definition, which has no status (or the object is gone by now): what is in the spec was written all the same.
      if (error instanceof KubernetesError && error.code === "NOT_FOUND") return resource;
      throw error;
    }
  }

  /** Deletes exactly this revision of the object; like upstream's deletions of objects of IPAM, whatever finalizers it has. */
  async #remove(ref: Ref, { uid, resourceVersion }: NonNullable<KubernetesObject["metadata"]>): Promise<void> {
    const left = await this.#on.kubernetes.delete<KubernetesObject>(this.#map.path(ref), {
      preconditions: { uid, resourceVersion },
      parse: this.#parse,
    });
    if (this.#map.isSoftDeleted && hasFinalizers(left)) await this.#letGo(ref, left as KubernetesObject);
  }

  /** Takes off the finalizers that keep an object which was deleted; with the last of them it goes. */
  async #letGo(ref: Ref, deleted: KubernetesObject): Promise<void> {
    let object: KubernetesObject | undefined = deleted;
    for (let attempt = 1; object?.metadata?.uid === deleted.metadata?.uid; attempt++) {
      const { finalizers: _, ...metadata } = object?.metadata ?? {};
      const free = { ...object, metadata } as KubernetesObject;
      try {
        await this.#on.kubernetes.replace<KubernetesObject>(this.#map.path(ref), free, { parse: this.#parse });
        return;
      } catch (error) {
        if (!(error instanceof KubernetesError)) throw error;
        // The API server would not take it as it is, with or without finalizers.
        if (error.code === "NOT_FOUND" || error.code === "INVALID") return;
        if (error.code !== "CONFLICT" || attempt >= ATTEMPTS) throw error;
        object = await this.#read(ref);
      }
    }
  }

  /** Deletes an object that is marked. Others may be doing so as well. */
  async #finish(ref: Ref, marked: KubernetesObject): Promise<void> {
    try {
      await this.#remove(ref, marked.metadata ?? {});
    } catch (error) {
      if (!(error instanceof KubernetesError) || (error.code !== "NOT_FOUND" && error.code !== "CONFLICT")) throw error;
      if (error.code === "NOT_FOUND") return;
      const now = await this.#read(ref);
      if (!now || now.metadata?.uid !== marked.metadata?.uid || now.metadata?.resourceVersion === undefined) return;
      if (isMarked(this.#map, this.#decodeAnyhow(now, ref))) await this.#remove(ref, now.metadata).catch(unlessGone);
      else throw error;
    }
  }

  /** Whether the object is marked as deleted; if so, it is gone afterwards, or is somebody's new one. */
  async #finishMarked(ref: Ref): Promise<boolean> {
    const found = await this.#read(ref);
    if (!found) return true;
    if (!isMarked(this.#map, this.#decodeAnyhow(found, ref))) return false;
    await this.#finish(ref, found);
    return true;
  }

  #refused(error: unknown, ref: Ref, expected: string | undefined): unknown {
    if (!(error instanceof KubernetesError) || error.resourceMissing) return error;
    if (error.code === "NOT_FOUND") return notFound(this.kind, ref);
    if (error.code !== "CONFLICT") return error;
    const since = expected === undefined ? "while it was being deleted" : `since revision ${expected}`;
    return new DatastoreError("CONFLICT", `${describeRef(this.kind, ref)} changed ${since}: read it again`, {
      cause: error,
    });
  }
}

function isMarked(map: Mapping, resource: Resource): boolean {
  return map.isSoftDeleted && (resource.spec as { deleted?: unknown } | undefined)?.deleted === true;
}

function hasFinalizers(answer: object): boolean {
  const finalizers = (answer as KubernetesObject).metadata?.finalizers;
  return Array.isArray(finalizers) && finalizers.length > 0;
}

function unlessGone(error: unknown): void {
  if (!(error instanceof KubernetesError) || (error.code !== "NOT_FOUND" && error.code !== "CONFLICT")) throw error;
}
