/**
 * What a Kubernetes cluster needs to hold Calico's kinds: their CustomResourceDefinitions and the admission policies beside
 * them, printed from the schemas of lib/api. Two groups exist. `v3` is projectcalico.org/v3, where kubectl shows the kinds
 * as Calico's clients do, and the API server defaults and checks them as our Client does. `v1` is crd.projectcalico.org/v1,
 * the store behind an older Calico's clients, which people do not look at.
 *
 * Data flow: a Kind's schema -> openapi.ts (OpenAPI v3) -> kinds.ts (what upstream's definitions say beyond a schema: names,
 * columns, defaults, rules in CEL) -> a plain object, for a client to apply or {@link toYaml} to print.
 *
 * Node, WorkloadEndpoint and Profile have none: they are made from Kubernetes' own Nodes, Pods, Namespaces and ServiceAccounts.
 */
import { stringify } from "yaml";
import { type AdmissionObject, admissionObjects } from "./admission.ts";
import { type CustomResourceDefinition, definitionOf, type Group } from "./definition.ts";
import { DEFINITIONS } from "./kinds.ts";

export type { AdmissionObject } from "./admission.ts";
export type { CustomResourceDefinition, Group } from "./definition.ts";
export type { JsonSchema, Validation } from "./openapi.ts";

/** The definitions of all kinds that are stored in a group, by name. Fresh objects. */
export function crdsOf(group: Group): CustomResourceDefinition[] {
  return DEFINITIONS.map((definition) => definitionOf(definition, group));
}

/**
 * What goes with the group `v3`: MutatingAdmissionPolicies that fill in the types, tier and tier label of policies
 * (admissionregistration.k8s.io/v1beta1, which an API server of 1.34 serves when it is told to), a ValidatingAdmissionPolicy that
 * keeps the built-in tiers, and their bindings. Upstream's names, so that they replace upstream's.
 */
export function admissionPolicies(): AdmissionObject[] {
  return admissionObjects();
}

/** Objects as a stream of YAML documents; the same text for the same objects. */
export function toYaml(objects: readonly object[]): string {
  return objects.map((object) => `---\n${stringify(object, { lineWidth: 0, aliasDuplicateObjects: false })}`).join("");
}
