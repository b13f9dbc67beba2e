import { formatProblem } from "./formats.ts";
import type { Kind } from "./kind.ts";
import { API_VERSION, type ObjectMeta, type Resource } from "./meta.ts";
import { isPlain } from "./plain.ts";
import * as s from "./schema.ts";

const metadata: () => s.Schema<ObjectMeta> = s.lazy(() =>
  s.object({
    name: s.string({ minLength: 1 }),
    namespace: s.optional(s.string({ format: "label-name" })),
    uid: s.optional(s.string()),
    resourceVersion: s.optional(s.string()),
    creationTimestamp: s.optional(s.string({ format: "date-time" })),
    deletionTimestamp: s.optional(s.string({ format: "date-time" })),
    deletionGracePeriodSeconds: s.optional(s.integer()),
    generateName: s.optional(s.string()),
    generation: s.optional(s.integer()),
    labels: s.optional(s.map(s.string(), { labels: true })),
    annotations: s.optional(s.map(s.string())),
    ownerReferences: s.optional(
      s.array(
        s.object({
          apiVersion: s.string(),
          kind: s.string(),
          name: s.string(),
          uid: s.string(),
          controller: s.optional(s.boolean()),
          blockOwnerDeletion: s.optional(s.boolean()),
        }),
      ),
    ),
    finalizers: s.optional(s.array(s.string())),
  }),
);

/** All annotations of one object together, in bytes (Kubernetes). */
const MAX_ANNOTATIONS = 256 * 1024;
const MAX_NAME = 253;

type Json = Record<string, unknown>;

/** {@link metadata} at first sight. */
function isPlainMetadata(meta: unknown, stored: boolean): boolean {
  const looks = {
    name: "text",
    namespace: "label-name",
    uid: "text",
    resourceVersion: "text",
    creationTimestamp: "date-time",
    generateName: "text",
    labels: { mapOf: "labels" },
    annotations: { mapOf: "texts" },
  } as const;
  return isPlain(meta, looks, stored) && Boolean((meta as Partial<ObjectMeta>).name);
}

/** Fills in the defaults of a resource, in place, and answers it. What has the wrong type is left for {@link checkResource}. */
export function completeResource<R extends Resource>(kind: Kind<R>, resource: R): R {
  if (!isPlainMetadata(resource.metadata, true))
    resource.metadata = s.applyDefaults(metadata(), resource.metadata) as ObjectMeta;
  if (kind.verbatim) dropNulls(kind, resource);
  else if (!kind.isPlain?.(resource.spec, true)) resource.spec = s.applyDefaults(kind.spec, resource.spec);
  if (resource.status && kind.status) s.applyDefaults(kind.status, resource.status);
  if (kind.verbatim || isObject(resource.spec)) kind.complete?.(resource);
  return resource;
}

/** {@link completeResource} of what is stored, and what is then wrong with it for a reader: {@link checkResource} with `stored`. */
export function completeStored<R extends Resource>(kind: Kind<R>, resource: R): s.Problem[] {
  // Nearly all that a plugin reads: looked at once, and not before it is completed and again after it.
  if (!resource.status && isPlainMetadata(resource.metadata, true) && kind.isPlain?.(resource.spec, true)) {
    kind.complete?.(resource);
    return [];
  }
  return checkResource(kind, completeResource(kind, resource), { unknown: "keep", stored: true });
}

/**
 * {@link checkResource} of a resource that a first look finds complete and right, so that only the rules across fields are left.
 * Undefined when it takes a closer look.
 */
export function checkPlain<R extends Resource>(kind: Kind<R>, resource: R): s.Problem[] | undefined {
  if (resource.status || !isPlainMetadata(resource.metadata, false) || !kind.isPlain?.(resource.spec, false))
    return undefined;
  const problems = checkMetadata(kind, resource.metadata);
  return problems.length === 0 ? (kind.check?.(resource) ?? []) : problems;
}

/** Null is absence to Go, which writes it for lists without items; the types of the kinds do not have it. */
function dropNulls<R extends Resource>(kind: Kind<R>, resource: R): void {
  for (const field of ["spec", "status"] as const) if (resource[field] === null) delete resource[field];
  if (resource.spec !== undefined) s.applyDefaults(kind.spec, resource.spec);
  if (kind.fields) s.applyDefaults(kind.fields, resource);
}

/**
 * What is wrong with a completed resource: its metadata, its spec, and the kind's rules across fields. With
 * `stored`, only what a reader relies on: see {@link s.ValidateOptions}. Never throws.
 */
export function checkResource<R extends Resource>(
  kind: Kind<R>,
  resource: R,
  options: s.ValidateOptions = {},
): s.Problem[] {
  if (kind.verbatim) options = { ...options, unknown: "keep" };
  const { stored = false } = options;
  const problems: s.Problem[] = [];
  if (!isPlainMetadata(resource.metadata, stored))
    problems.push(...s.validate(metadata(), resource.metadata, "metadata", options));
  if (kind.verbatim) problems.push(...checkVerbatim(kind, resource, options));
  else if (!kind.isPlain?.(resource.spec, stored))
    problems.push(...s.validate(kind.spec, resource.spec, "spec", options));
  if (resource.status && kind.status) problems.push(...s.validate(kind.status, resource.status, "status", options));
  if (stored) return problems;
  if (isObject(resource.metadata)) problems.unshift(...checkMetadata(kind, resource.metadata));
  return problems.length === 0 ? (kind.check?.(resource) ?? []) : problems;
}

function checkVerbatim<R extends Resource>(kind: Kind<R>, resource: R, options: s.ValidateOptions): s.Problem[] {
  const spec = s.object({ spec: kind.spec });
  return [spec, ...(kind.fields ? [kind.fields] : [])].flatMap((one) => s.validate(one, resource, "", options));
}

/** What is wrong with changing `previous` to `resource`: fields that may not change, and the kind's own rules. Both completed and right by themselves. */
export function checkUpdate<R extends Resource>(kind: Kind<R>, resource: R, previous: R): s.Problem[] {
  const problems: s.Problem[] = [];
  if (!kind.verbatim && kind.spec.type === "object") {
    for (const name of Object.keys(kind.spec.fields)) {
      const instead = kind.spec.fields[name]!.immutable;
      const [value, before] = [(resource.spec as Json)[name], (previous.spec as Json)[name]];
      if (instead === undefined || value === before) continue;
      problems.push({ path: `spec.${name}`, value, message: `cannot change from ${before}; ${instead}` });
    }
  }
  return [...problems, ...(kind.checkUpdate?.(resource, previous) ?? [])];
}

function checkMetadata(kind: Kind, meta: ObjectMeta): s.Problem[] {
  const problems: s.Problem[] = [];
  const { name, namespace, annotations } = meta;
  if (typeof name === "string" && name !== "") {
    const message = nameProblem(kind, name);
    if (message !== undefined) problems.push({ path: "metadata.name", value: name, message });
  }
  if (!kind.namespaced && namespace !== undefined && namespace !== null && namespace !== "") {
    const message = `must be absent; objects of the kind ${kind.kind} are in no namespace`;
    problems.push({ path: "metadata.namespace", value: namespace, message });
  }
  if (isObject(annotations)) {
    let bytes = 0;
    for (const key of Object.keys(annotations))
      bytes += Buffer.byteLength(key) + Buffer.byteLength(String(annotations[key]));
    if (bytes > MAX_ANNOTATIONS) {
      const message = `must be at most ${MAX_ANNOTATIONS} bytes together, not ${bytes}`;
      problems.push({ path: "metadata.annotations", value: undefined, message });
    }
  }
  return problems;
}

function nameProblem(kind: Kind, name: string): string | undefined {
  if (kind.singleton !== undefined) {
    return name === kind.singleton ? undefined : `must be ${kind.singleton}; there is one ${kind.kind}`;
  }
  if (kind.names === "any") {
    const right = name.length <= MAX_NAME && !/[\0-\x20/]/.test(name);
    return right ? undefined : `must be at most ${MAX_NAME} characters without blanks and slashes`;
  }
  const means = formatProblem(kind.names ?? "name", name);
  return means === undefined ? undefined : `must be ${means}`;
}

/** A resource of a kind that was found by its name. */
export interface ParsedResource {
  /** Undefined when the kind is not known. */
  readonly kind?: Kind;
  /** Completed. Undefined when the kind is not known or the value is no object; to be used only when there are no problems. */
  readonly resource?: Resource;
  readonly problems: readonly s.Problem[];
}

/**
 * Reads one resource of any of `kinds` from JSON or YAML data, completes and checks it. The value is copied. Never throws.
 * A namespaced resource without a namespace is let through: the caller knows the default one.
 */
export function readResource(kinds: readonly Kind[], value: unknown, options: s.ValidateOptions = {}): ParsedResource {
  if (!isObject(value)) {
    return {
      problems: [{ path: "resource", value, message: "must be an object with apiVersion, kind, metadata and spec" }],
    };
  }
  const problems: s.Problem[] = [];
  // A kind's name may be another group's as well.
  const namesakes = kinds.filter((candidate) => candidate.kind === value.kind);
  const kind = namesakes.find(({ apiVersion }) => apiVersion === value.apiVersion) ?? namesakes[0];
  const versions = new Set((kind ? namesakes : kinds).map(({ apiVersion }) => apiVersion));
  if (typeof value.apiVersion !== "string" || !versions.has(value.apiVersion)) {
    const state = value.apiVersion === undefined ? "is missing; it must" : "must";
    const message = `${state} be ${kind ? [...versions].join(" or ") : API_VERSION}`;
    problems.push({ path: "apiVersion", value: value.apiVersion, message });
  }
  if (!kind) {
    const state = value.kind === undefined ? "is missing; it must" : "must";
    const names = [...new Set(kinds.map((one) => one.kind))].sort();
    problems.push({ path: "kind", value: value.kind, message: `${state} be one of ${names.join(", ")}` });
    return { problems };
  }
  const copy = structuredClone(value);
  const meta = copy.metadata ?? {};
  if (isObject(meta)) {
    // Kubernetes prints these; they are not ours to keep.
    delete meta.managedFields;
    delete meta.selfLink;
  }
  const own = { apiVersion: kind.apiVersion, kind: kind.kind, metadata: meta as unknown as ObjectMeta };
  if (kind.verbatim) {
    const resource = completeResource(kind, { ...copy, ...own });
    return { kind, resource, problems: [...problems, ...checkResource(kind, resource, options)] };
  }
  const resource = completeResource(kind, {
    ...own,
    spec: copy.spec,
    ...(copy.status === undefined || copy.status === null ? {} : { status: copy.status }),
  });
  problems.push(...checkResource(kind, resource, options));
  for (const field of Object.keys(value)) {
    if (["apiVersion", "kind", "metadata", "spec", "status"].includes(field) || options.unknown === "keep") continue;
    problems.push({
      path: field,
      value: value[field],
      message: "is not a field here; the fields are apiVersion, kind, metadata, spec and status",
    });
  }
  return { kind, resource, problems };
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
