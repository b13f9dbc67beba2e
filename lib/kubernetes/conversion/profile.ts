import { API_VERSION } from "../../api/meta.ts";
import type { Profile } from "../../api/profile.ts";
import type { Problem } from "../../api/schema.ts";
import { Field } from "./field.ts";
import { creationTimestamp, derivedUid } from "./metadata.ts";
import type { Conversion, NamespaceObject, ServiceAccountObject } from "./objects.ts";

const NAMESPACE = { profile: "kns.", label: "pcns." } as const;
const SERVICE_ACCOUNT = { profile: "ksa.", label: "pcsa." } as const;
/** Behind a prefix: the label by which selectors name one namespace or service account. */
const NAME_LABEL = "projectcalico.org/name";

/** `kns.<namespace>` */
export function namespaceProfileName(namespace: string): string {
  return NAMESPACE.profile + namespace;
}

/** `ksa.<namespace>.<name>`; no namespace is "default". */
export function serviceAccountProfileName(namespace: string, name: string): string {
  return `${SERVICE_ACCOUNT.profile}${namespace || "default"}.${name}`;
}

/** Which object a profile is made of. */
export type ProfileSource =
  | { readonly kind: "Namespace"; readonly name: string }
  | { readonly kind: "ServiceAccount"; readonly namespace: string; readonly name: string };

/** Which object a profile of this name is made of; undefined for profiles that are not made of any. Names of accounts may have dots. */
export function profileSource(profile: string): ProfileSource | undefined {
  if (profile.startsWith(NAMESPACE.profile)) {
    const name = profile.slice(NAMESPACE.profile.length);
    return name === "" ? undefined : { kind: "Namespace", name };
  }
  if (!profile.startsWith(SERVICE_ACCOUNT.profile)) return undefined;
  const rest = profile.slice(SERVICE_ACCOUNT.profile.length);
  const dot = rest.indexOf(".");
  if (dot <= 0 || dot === rest.length - 1) return undefined;
  return { kind: "ServiceAccount", namespace: rest.slice(0, dot), name: rest.slice(dot + 1) };
}

/** The profile of all pods of a namespace: allows everything, and gives them the namespace's labels as `pcns.…`. */
export function namespaceToProfile(namespace: NamespaceObject): Conversion<Profile> {
  const problems: Problem[] = [];
  const metadata = new Field(namespace, problems).get("metadata");
  const name = nameOf(metadata);
  if (name === undefined) return { problems };
  const value = profileOf(metadata, namespaceProfileName(name), {
    ingress: [{ action: "Allow", source: {}, destination: {} }],
    egress: [{ action: "Allow", source: {}, destination: {} }],
    labelsToApply: inheritedLabels(metadata, NAMESPACE.label, name),
  });
  const revision = metadata.get("resourceVersion").text();
  if (revision !== "") value.metadata.resourceVersion = joinProfileRevisions(revision, "");
  return { value, problems };
}

/** The profile of all pods of a service account: has no rules, and gives them the account's labels as `pcsa.…`. */
export function serviceAccountToProfile(account: ServiceAccountObject): Conversion<Profile> {
  const problems: Problem[] = [];
  const metadata = new Field(account, problems).get("metadata");
  const name = nameOf(metadata);
  if (name === undefined) return { problems };
  const profile = serviceAccountProfileName(metadata.get("namespace").text(), name);
  const value = profileOf(metadata, profile, {
    labelsToApply: inheritedLabels(metadata, SERVICE_ACCOUNT.label, name),
  });
  const revision = metadata.get("resourceVersion").text();
  if (revision !== "") value.metadata.resourceVersion = joinProfileRevisions("", revision);
  return { value, problems };
}

/** The revision of a list of profiles, or of one: `<namespaces' revision>/<service accounts' revision>`, either of which may be "". */
export function joinProfileRevisions(namespaces: string, serviceAccounts: string): string {
  return `${namespaces}/${serviceAccounts}`;
}

/** The parts of {@link joinProfileRevisions}, both "" for "" and "0"; undefined when it is no such revision. */
export function splitProfileRevision(revision: string): { namespaces: string; serviceAccounts: string } | undefined {
  if (revision === "" || revision === "0") return { namespaces: "", serviceAccounts: "" };
  const parts = revision.split("/");
  return parts.length === 2 ? { namespaces: parts[0]!, serviceAccounts: parts[1]! } : undefined;
}

function nameOf(metadata: Field): string | undefined {
  const field = metadata.get("name");
  const before = field.problems.length;
  const name = field.text();
  if (name !== "") return name;
  return field.problems.length > before ? undefined : field.report("is missing");
}

function inheritedLabels(metadata: Field, prefix: string, name: string): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [key, value] of metadata.get("labels").texts()) labels[prefix + key] = value;
  labels[prefix + NAME_LABEL] = name;
  return labels;
}

function profileOf(metadata: Field, name: string, spec: Profile["spec"]): Profile {
  return {
    apiVersion: API_VERSION,
    kind: "Profile",
    metadata: { name, ...creationTimestamp(metadata), ...derivedUid(metadata) },
    spec,
  };
}
