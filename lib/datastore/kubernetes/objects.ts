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
import { type ApiGroup, apiVersionOf } from "./group.ts";
import { affinitySelector, isIpamKind, type Mapping, mappingOf } from "./mapping.ts";

/** How often a write whose conditions the caller left open is tried again when somebody else was quicker. */
const ATTEMPTS = 10;
/** How many texts are kept of what was read. */
const KEPT = 32;

/** Kinds whose objects are stored one to one: Calico's as custom resources, and Kubernetes' own. */
export class ObjectStore implements KindStore {
  readonly kind: Kind;
  readonly #on: Connection;
  readonly #map: Mapping;
  readonly #group: ApiGroup;
  /**
   * The text of soft-deleted objects that were read, by path: an object is deleted by writing it again, and whoever deletes one
   * has nearly always just read it.
   */
  readonly #texts = new Map<string, { readonly resourceVersion: string; readonly text: string }>();

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
      const found = (attempt === 1 && this.#remembered(ref, options.resourceVersion)) || (await this.#read(ref));
      if (!found) throw notFound(this.kind, ref);
      const last = this.#decodeAnyhow(found, ref);
      if (isMarked(this.#map, last)) {
        await this.#finish(ref, found);
        throw notFound(this.kind, ref);
      }
      checkPreconditions(this.kind, ref, last, options);
      try {
        if (this.#map.isSoftDeleted) await this.#finish(ref, await this.#marked(ref, found));
        else await this.#remove(ref, found);
        return last;
      } catch (error) {
        const isRace = error instanceof KubernetesError && error.code === "CONFLICT";
        if (isRace && !options.resourceVersion && attempt < ATTEMPTS) continue;
        throw this.#refused(error, ref, options.resourceVersion);
      }
    }
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
    const path = this.#map.path(ref);
    let text = "";
    const parse = (answer: string): unknown => {
      text = answer;
      return this.#parse(answer);
    };
    try {
      const object = await this.#on.kubernetes.get<KubernetesObject>(path, { parse });
      if (this.#map.isSoftDeleted) this.#remember(path, object, text);
      return object;
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "NOT_FOUND" && !error.resourceMissing) return undefined;
      throw error;
    }
  }

  #remember({ name = "" }: ResourcePath, object: KubernetesObject, text: string): void {
    const { resourceVersion } = object.metadata ?? {};
    this.#texts.delete(name);
    if (resourceVersion === undefined) return;
    this.#texts.set(name, { resourceVersion, text });
    for (const oldest of this.#texts.keys()) {
      if (this.#texts.size <= KEPT) break;
      this.#texts.delete(oldest);
    }
  }

  /** What was read of the revision that is to be deleted, so that it need not be read again. */
  #remembered(ref: Ref, resourceVersion: string | undefined): KubernetesObject | undefined {
    const { name = "" } = this.#map.path(ref);
    const kept = this.#texts.get(name);
    if (!kept || kept.resourceVersion !== resourceVersion) return undefined;
    const object = this.#parse(kept.text) as KubernetesObject;
    return isMarked(this.#map, this.#decodeAnyhow(object, ref)) ? undefined : object;
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

  /** The object as it is when it is marked; where the API server takes no mark, because it would not take the object either, as it is. */
  async #marked(ref: Ref, object: KubernetesObject): Promise<KubernetesObject> {
    try {
      return await this.#mark(ref, object);
    } catch (error) {
      if (error instanceof KubernetesError && error.code === "INVALID") return object;
      throw error;
    }
  }

  /** Marks the object as deleted. Like every write of upstream's it leaves no finalizers, which would keep the object there for ever. */
  #mark(ref: Ref, object: KubernetesObject): Promise<KubernetesObject> {
    const { spec } = object as { spec?: Record<string, unknown> };
    const { finalizers: _, ...metadata } = object.metadata ?? {};
    const asText = this.kind.kind === "BlockAffinity" && object.apiVersion === apiVersionOf("v1");
    const marked = { ...object, metadata, spec: { ...spec, deleted: asText ? "true" : true } };
    return this.#on.kubernetes.replace<KubernetesObject>(this.#map.path(ref), marked, { parse: this.#parse });
  }

  /** Deletes exactly this revision of the object. */
  async #remove(ref: Ref, { metadata = {} }: KubernetesObject): Promise<void> {
    const { uid, resourceVersion } = metadata;
    await this.#on.kubernetes.delete(this.#map.path(ref), { preconditions: { uid, resourceVersion } });
  }

  /** Deletes an object that is marked. Others may be doing so as well. */
  async #finish(ref: Ref, found: KubernetesObject): Promise<void> {
    let marked = found;
    try {
      if (hasFinalizers(found)) marked = await this.#marked(ref, found);
      await this.#remove(ref, marked);
    } catch (error) {
      if (!(error instanceof KubernetesError) || (error.code !== "NOT_FOUND" && error.code !== "CONFLICT")) throw error;
      if (error.code === "NOT_FOUND") return;
      const now = await this.#read(ref);
      if (!now || now.metadata?.uid !== marked.metadata?.uid || now.metadata?.resourceVersion === undefined) return;
      if (isMarked(this.#map, this.#decodeAnyhow(now, ref))) await this.#remove(ref, now).catch(unlessGone);
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

function hasFinalizers({ metadata }: KubernetesObject): boolean {
  const finalizers = metadata?.finalizers;
  return Array.isArray(finalizers) && finalizers.length > 0;
}

function unlessGone(error: unknown): void {
  if (!(error instanceof KubernetesError) || (error.code !== "NOT_FOUND" && error.code !== "CONFLICT")) throw error;
}
