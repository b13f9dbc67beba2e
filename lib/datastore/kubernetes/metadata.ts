import { API_VERSION, type ObjectMeta, type OwnerReference } from "../../api/meta.ts";
import { convertUid } from "../../kubernetes/conversion/index.ts";
import type { KubernetesObject, ObjectMeta as StoredMeta } from "../../kubernetes/index.ts";
import { sorted } from "../codec.ts";
import { apiVersionOf } from "./group.ts";

/**
 * The metadata of objects in crd.projectcalico.org/v1. The object's own metadata holds its name, and of labels and
 * annotations only Calico's; all of it is in one annotation, as JSON. So an API server for projectcalico.org/v3 can be built on
 * top of them, whose objects then need uids of their own: those are derived (libcalico-go/lib/backend/k8s/resources/resources.go).
 */
const METADATA = "projectcalico.org/metadata";

/** The kinds whose real name is in the annotation, because older versions put their tier before it. */
const POLICIES: readonly string[] = [
  "GlobalNetworkPolicy",
  "NetworkPolicy",
  "StagedGlobalNetworkPolicy",
  "StagedNetworkPolicy",
];

const isOurs = (key: string): boolean => key.includes("projectcalico.org/") || key.includes("operator.tigera.io/");

/** The metadata that is stored in v1 for a resource of a kind. */
export function toV1Metadata(kind: string, metadata: ObjectMeta): StoredMeta {
  const { name, namespace, uid, resourceVersion, labels, annotations } = metadata;
  // A uid that is none of ours fits no object, and the API server says so.
  const converted = uid ? (convertUid(uid) ?? uid) : undefined;
  const ownLabels = filtered(labels, isOurs);
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(converted === undefined ? {} : { uid: converted }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(Object.keys(ownLabels).length > 0 ? { labels: ownLabels } : {}),
    annotations: { ...filtered(annotations, isOurs), [METADATA]: JSON.stringify(inAnnotation(kind, metadata)) },
  };
}

/** In the order and with the omissions of Go's ObjectMeta. */
function inAnnotation(kind: string, metadata: ObjectMeta): Record<string, unknown> {
  const { name, generateName, generation, creationTimestamp, deletionTimestamp, labels, annotations } = metadata;
  const { deletionGracePeriodSeconds, ownerReferences = [], finalizers = [] } = metadata;
  const hasAny = (map: object | undefined): boolean => map !== undefined && Object.keys(map).length > 0;
  return {
    ...(POLICIES.includes(kind) ? { name } : {}),
    ...(generateName ? { generateName } : {}),
    ...(generation ? { generation } : {}),
    ...(creationTimestamp ? { creationTimestamp } : {}),
    ...(deletionTimestamp ? { deletionTimestamp } : {}),
    ...(deletionGracePeriodSeconds === undefined ? {} : { deletionGracePeriodSeconds }),
    ...(hasAny(labels) ? { labels: sorted(labels) } : {}),
    ...(hasAny(annotations) ? { annotations: sorted(annotations) } : {}),
    ...(ownerReferences.length > 0
      ? { ownerReferences: ownerReferences.map((owner) => ownedIn(owner, [API_VERSION], apiVersionOf("v1"))) }
      : {}),
    ...(finalizers.length > 0 ? { finalizers } : {}),
  };
}

/**
 * The metadata of a resource that is stored in v1. `report` is told the field that cannot be read, and what it must be: a
 * metadata annotation that is not what Go would read back.
 */
export function fromV1Metadata(
  kind: string,
  stored: KubernetesObject,
  report: (field: string, value: unknown, must: string) => never,
): ObjectMeta {
  const { managedFields: _m, selfLink: _s, ...own } = stored.metadata ?? {};
  const metadata = own as unknown as ObjectMeta;
  if (metadata.uid !== undefined) {
    const uid = convertUid(String(metadata.uid));
    metadata.uid = uid ?? report("metadata.uid", metadata.uid, "a UUID");
  }
  const { [METADATA]: text, ...annotations } = metadata.annotations ?? {};
  if (text === undefined) return metadata;
  const kept = parsed(text);
  if (typeof kept === "string") return report(`metadata.annotations["${METADATA}"]`, text, kept);
  const { name, namespace, uid, resourceVersion } = metadata;
  const labels = { ...metadata.labels, ...kept.labels };
  const ownAnnotations = { ...annotations, ...kept.annotations };
  const creationTimestamp = kept.creationTimestamp || metadata.creationTimestamp;
  // What was written before uids were converted names the API group, but has the other's uid.
  const before = [apiVersionOf("v1"), API_VERSION];
  const owners = kept.ownerReferences?.map((owner) => ownedIn(owner, before, API_VERSION));
  return {
    ...kept,
    name: kept.name || (POLICIES.includes(kind) ? untiered(name, stored) : name),
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(creationTimestamp ? { creationTimestamp } : {}),
    ...(Object.keys(labels).length > 0 ? { labels } : {}),
    ...(Object.keys(ownAnnotations).length > 0 ? { annotations: ownAnnotations } : {}),
    ...(owners === undefined ? {} : { ownerReferences: owners }),
  };
}

/** A policy of the default tier was once stored as `default.<name>`. */
function untiered(name: string, stored: KubernetesObject): string {
  const { tier = "" } = ((stored as { spec?: unknown }).spec ?? {}) as { tier?: unknown };
  return tier === "" || tier === "default" ? name.replace(/^default\./, "") : name;
}

/** An owner of one of Calico's kinds, as it is called in the other group. */
function ownedIn(owner: OwnerReference, from: readonly string[], to: string): OwnerReference {
  if (!from.includes(owner.apiVersion)) return owner;
  return { ...owner, apiVersion: to, uid: convertUid(owner.uid) ?? owner.uid };
}

/** What a metadata annotation says; a text when it cannot be read: what it must be. Null is absence, as to Go. */
function parsed(text: string): Partial<ObjectMeta> | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "a JSON object";
  }
  if (!isObject(value)) return "a JSON object";
  // Older versions kept these two as well.
  const { managedFields: _m, selfLink: _s, ...found } = value;
  for (const field of Object.keys(found)) {
    const is = FIELDS.get(field);
    if (found[field] === null) delete found[field];
    else if (is && !is.test(found[field])) return `JSON in which ${field} is ${is.must}`;
  }
  return found;
}

interface Field {
  readonly must: string;
  test(value: unknown): boolean;
}

const TEXT: Field = { must: "a text", test: (value) => typeof value === "string" };
const NUMBER: Field = { must: "an integer", test: Number.isSafeInteger };
const TEXTS: Field = { must: "an object of texts", test: (value) => isObject(value) && allTexts(Object.values(value)) };

const OWNERS: Field = {
  must: "a list of objects with apiVersion, kind, name and uid",
  test: (value) =>
    Array.isArray(value) &&
    value.every((one) => isObject(one) && allTexts([one.apiVersion, one.kind, one.name, one.uid])),
};

const FIELDS: ReadonlyMap<string, Field> = new Map([
  ["name", TEXT],
  ["generateName", TEXT],
  ["generation", NUMBER],
  ["creationTimestamp", TEXT],
  ["deletionTimestamp", TEXT],
  ["deletionGracePeriodSeconds", NUMBER],
  ["labels", TEXTS],
  ["annotations", TEXTS],
  ["ownerReferences", OWNERS],
  ["finalizers", { must: "a list of texts", test: (value) => Array.isArray(value) && allTexts(value) }],
]);

const allTexts = (values: readonly unknown[]): boolean => values.every((value) => typeof value === "string");

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function filtered(map: Record<string, string> | undefined, keep: (key: string) => boolean): Record<string, string> {
  const kept: Record<string, string> = {};
  for (const key of Object.keys(map ?? {})) if (keep(key)) kept[key] = map![key]!;
  return kept;
}
