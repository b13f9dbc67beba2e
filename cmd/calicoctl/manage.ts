import type { Kind } from "../../lib/api/kind.ts";
import type { ObjectMeta, Ref, Resource } from "../../lib/api/meta.ts";
import { type Client, DatastoreError } from "../../lib/datastore/index.ts";
import { ipamAdmin } from "../../lib/ipam/index.ts";
import { identify, type Target } from "./targets.ts";

/** Why one resource could not be dealt with; `message` is for the user. */
export class ResourceError extends Error {
  override readonly name = "ResourceError";
  constructor(
    /** Upstream's classes, which flags such as --skip-exists refer to. */
    readonly code: "EXISTS" | "NOT_FOUND" | "CONFLICT" | "UNSUPPORTED" | "INVALID" | "FAILED",
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** A target with its namespace decided, and what to do with it. */
export interface Job extends Target {
  readonly namespace: string | undefined;
}

/** Creates; EXISTS when there is one of that name. */
export async function create(client: Client, job: Job): Promise<Resource> {
  const resource = writable("create", job);
  return translated(job, async () => {
    if (resource.metadata.resourceVersion) {
      throw new ResourceError(
        "INVALID",
        'metadata.resourceVersion: must not be set to create; "apply" and "replace" use it',
      );
    }
    return (await ipamAdmin()).createResource(client, job.kind, fresh(resource, job));
  });
}

/** Creates, or updates when there is one of that name already. */
export async function apply(client: Client, job: Job): Promise<Resource> {
  const resource = writable("apply", job);
  return translated(job, async () => {
    const existing = await client.get(job.kind, refOf(job));
    if (!existing) {
      try {
        return await (await ipamAdmin()).createResource(client, job.kind, fresh(resource, job));
      } catch (error) {
        if (!(error instanceof DatastoreError && error.code === "EXISTS")) throw error;
      }
    }
    return update(client, job, resource);
  });
}

/** How often an update is tried when others change the resource at the same time. */
const ATTEMPTS = 5;

async function update(client: Client, job: Job, resource: Resource): Promise<Resource> {
  const wanted = resource.metadata.resourceVersion;
  for (let attempt = 1; ; attempt++) {
    const existing = await client.get(job.kind, refOf(job));
    if (!existing) throw new DatastoreError("NOT_FOUND", "");
    const latest = existing.metadata.resourceVersion;
    if (wanted && wanted !== latest) {
      throw new ResourceError(
        "CONFLICT",
        `update conflict: ${nameOf(job)}: resource version '${wanted}' is out of date (latest: ${latest}). Update the resource YAML/JSON in order to make changes`,
      );
    }
    try {
      return await (await ipamAdmin()).updateResource(client, job.kind, merged(job.kind, existing, resource));
    } catch (error) {
      const conflict = error instanceof DatastoreError && error.code === "CONFLICT";
      if (!conflict || wanted || attempt === ATTEMPTS) throw error;
    }
  }
}

/** Deletes; NOT_FOUND when there is none. A resource version in the file guards it. */
export async function remove(client: Client, job: Job): Promise<Resource> {
  if (job.kind.managed) throw unsupported("delete", job);
  return translated(job, async () => {
    const { resourceVersion } = job.metadata;
    return (await ipamAdmin()).deleteResource(client, job.kind, refOf(job), resourceVersion ? { resourceVersion } : {});
  });
}

/** One resource by name; NOT_FOUND when there is none. */
export async function get(client: Client, job: Job): Promise<Resource> {
  return translated(job, async () => {
    const { name } = job.metadata;
    // Their stored keys are not made from the name alone, so they are found by it.
    const found = FOUND_BY_LIST.includes(job.kind.kind)
      ? (await client.list(job.kind)).items.find((item) => item.metadata.name === name)
      : await client.get(job.kind, refOf(job));
    if (!found) throw new DatastoreError("NOT_FOUND", "");
    return found;
  });
}

const FOUND_BY_LIST: readonly string[] = ["BlockAffinity", "IPAMBlock", "IPAMHandle"];

/** All resources of a kind, or those of one namespace, as a list object, in the kind's order, else by name; and what could not be read. */
export async function list(client: Client, kind: Kind, namespace: string | undefined): Promise<Listing> {
  const { items, revision, unreadable } = await client.list(kind, namespace === undefined ? undefined : { namespace });
  const key = ({ metadata }: Resource) => `${metadata.namespace ?? ""}/${metadata.name}`;
  const byName = (a: Resource, b: Resource) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0);
  const order = (a: Resource, b: Resource) => kind.compare?.(a, b) || byName(a, b);
  const value = {
    kind: `${kind.kind}List`,
    apiVersion: kind.apiVersion,
    metadata: { resourceVersion: revision },
    items: [...items].sort(order),
  };
  return { value, failures: unreadable.map(({ error }) => error.message) };
}

export interface Listing {
  readonly value: ResourceList;
  /** A sentence for each stored object that could not be read. */
  readonly failures: readonly string[];
}

export interface ResourceList {
  readonly kind: string;
  readonly apiVersion: string;
  readonly metadata: { readonly resourceVersion: string };
  readonly items: readonly Resource[];
}

/** The resource of a job that may be written; refused where only Calico itself writes the kind, or where it is wrong. */
function writable(verb: string, job: Job): Resource {
  if (job.kind.managed) throw unsupported(verb, job);
  if (job.problems.length > 0 || !job.resource) throw new ResourceError("INVALID", job.problems.join("; "));
  return job.resource;
}

function unsupported(verb: string, job: Job): ResourceError {
  return new ResourceError(
    "UNSUPPORTED",
    `operation ${verb} is not supported on ${nameOf(job)}: resource is readonly, only Calico itself writes it`,
  );
}

/** For a creation only what a person may say of the metadata counts; the datastore fills in the rest. */
function fresh(resource: Resource, job: Job): Resource {
  const metadata: ObjectMeta = {
    name: resource.metadata.name,
    ...(job.namespace === undefined ? {} : { namespace: job.namespace }),
    ...said(job.kind, resource),
  };
  return { ...resource, metadata };
}

/** For an update the stored metadata stays, but for what a person may say of it. */
function merged(kind: Kind, existing: Resource, resource: Resource): Resource {
  const kept: Partial<Record<string, unknown>> = { ...existing.metadata };
  for (const field of Object.keys(said(kind, existing))) delete kept[field];
  const metadata = { ...kept, ...said(kind, resource) } as ObjectMeta;
  const status = resource.status ?? existing.status;
  return { ...resource, metadata, ...(status === undefined ? {} : { status }) };
}

/** The metadata that people write: labels and annotations, and in Kubernetes' own kinds all that an API server does not. */
function said({ verbatim }: Kind, { metadata }: Resource): Partial<ObjectMeta> {
  const { labels, annotations } = metadata;
  if (!verbatim) return { ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) };
  const {
    name: _name,
    namespace: _namespace,
    uid: _uid,
    resourceVersion: _resourceVersion,
    generation: _generation,
    creationTimestamp: _creationTimestamp,
    deletionTimestamp: _deletionTimestamp,
    deletionGracePeriodSeconds: _deletionGracePeriodSeconds,
    ...others
  } = metadata;
  return others;
}

/** Says what the datastore answered in upstream's words, which scripts look for. */
async function translated<T>(job: Job, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof DatastoreError)) throw error;
    const fail = (code: ResourceError["code"], message: string) => new ResourceError(code, message, { cause: error });
    switch (error.code) {
      case "EXISTS":
        throw fail("EXISTS", `resource already exists: ${nameOf(job)}`);
      case "NOT_FOUND":
        throw fail("NOT_FOUND", `resource does not exist: ${nameOf(job)}`);
      case "CONFLICT":
        throw fail("CONFLICT", `update conflict: ${nameOf(job)}: it was changed by somebody else meanwhile`);
      case "INVALID":
      case "UNSUPPORTED":
        throw fail(error.code, error.message);
      default:
        throw error;
    }
  }
}

function refOf(job: Job): Ref {
  return { name: job.metadata.name, ...(job.namespace === undefined ? {} : { namespace: job.namespace }) };
}

function nameOf(job: Job): string {
  return identify(job.kind, job.metadata.name, job.namespace);
}
