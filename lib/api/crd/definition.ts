import type { Kind } from "../kind.ts";
import { type JsonSchema, openApi, type Validation } from "./openapi.ts";

/** crd.projectcalico.org/v1 or projectcalico.org/v3. */
export type Group = "v1" | "v3";

export const GROUPS: Readonly<Record<Group, string>> = { v1: "crd.projectcalico.org", v3: "projectcalico.org" };

/** A column of `kubectl get`. */
export interface PrinterColumn {
  readonly name: string;
  readonly type: "string" | "integer" | "number" | "boolean" | "date";
  readonly jsonPath: string;
  readonly description?: string;
}

/** What a definition has beyond the schema of its kind. Columns, short names and selectable fields are the group v3's. */
export interface Definition {
  readonly kind: Kind;
  readonly shortNames?: readonly string[];
  readonly columns?: readonly PrinterColumn[];
  /** Fields by which `kubectl get --field-selector` finds objects, beside name and namespace. */
  readonly selectable?: readonly string[];
  /** The fields of `spec` whose default the API server fills in. The others' are left to who reads them. */
  readonly defaults?: readonly string[];
  /** Those whose default it fills in in the group v3 only. */
  readonly defaultsInV3?: readonly string[];
  /** Fields of `spec` that Go Calico always writes, and which the API server therefore asks for, though they have a default for us. */
  readonly written?: readonly string[];
  /** How the group v1 calls the kind, where it does not as we do. */
  readonly v1?: { readonly kind: string; readonly plural: string };
  /** Rules in CEL, by the path of the value that they check; "" is the whole object. */
  readonly rules?: Readonly<Record<string, readonly Validation[]>>;
  /** Changes to the schema of the value at a path, where upstream's says something else than ours does. */
  readonly adjust?: Readonly<Record<string, (schema: JsonSchema, group: Group) => void>>;
  /** `metadata` and `spec` must be there in the group v1 as well. */
  readonly wholeInV1?: true;
}

export interface CustomResourceDefinition {
  readonly apiVersion: "apiextensions.k8s.io/v1";
  readonly kind: "CustomResourceDefinition";
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly names: {
      readonly kind: string;
      readonly listKind: string;
      readonly plural: string;
      readonly singular: string;
      readonly shortNames?: readonly string[];
    };
    readonly scope: "Cluster" | "Namespaced";
    readonly versions: readonly [
      {
        readonly name: Group;
        readonly served: true;
        readonly storage: true;
        readonly schema: { readonly openAPIV3Schema: JsonSchema };
        readonly additionalPrinterColumns?: readonly PrinterColumn[];
        readonly selectableFields?: readonly { readonly jsonPath: string }[];
        readonly subresources?: { readonly status: Record<string, never> };
      },
    ];
  };
}

/** The CustomResourceDefinition of a kind in a group. */
export function definitionOf(definition: Definition, group: Group): CustomResourceDefinition {
  const { shortNames, columns, selectable } = group === "v3" ? definition : {};
  const { kind, plural } = (group === "v1" ? definition.v1 : undefined) ?? definition.kind;
  return {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: `${plural}.${GROUPS[group]}` },
    spec: {
      group: GROUPS[group],
      names: {
        kind,
        listKind: `${kind}List`,
        plural,
        singular: kind.toLowerCase(),
        ...(shortNames ? { shortNames: [...shortNames] } : {}),
      },
      scope: definition.kind.namespaced ? "Namespaced" : "Cluster",
      versions: [
        {
          name: group,
          served: true,
          storage: true,
          ...(columns ? { additionalPrinterColumns: [...columns] } : {}),
          schema: { openAPIV3Schema: schemaOf(definition, group) },
          ...(selectable ? { selectableFields: selectable.map((jsonPath) => ({ jsonPath })) } : {}),
          ...(definition.kind.status ? { subresources: { status: {} } } : {}),
        },
      ],
    },
  };
}

function schemaOf(definition: Definition, group: Group): JsonSchema {
  const { kind, rules = {}, adjust = {} } = definition;
  const visit = (path: string, schema: JsonSchema): void => {
    if (path === "spec") completeSpec(definition, group, schema);
    adjust[path]?.(schema, group);
    const more = rules[path];
    if (more) schema["x-kubernetes-validations"] = [...(schema["x-kubernetes-validations"] ?? []), ...more];
  };
  const schema: JsonSchema = {
    description: kind.doc,
    type: "object",
    properties: {
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { type: "object" },
      spec: openApi(kind.spec, "spec", visit),
      ...(kind.status ? { status: openApi(kind.status, "status", visit) } : {}),
    },
    ...(group === "v3" || definition.wholeInV1 ? { required: ["metadata", "spec"] } : {}),
  };
  visit("", schema);
  return schema;
}

/** What upstream's API server asks for and fills in at the top of a spec. */
function completeSpec(definition: Definition, group: Group, spec: JsonSchema): void {
  const { kind, defaults = [], defaultsInV3 = [], written = [] } = definition;
  if (kind.spec.type !== "object") return;
  for (const name of group === "v3" ? [...defaults, ...defaultsInV3] : defaults) {
    spec.properties![name]!.default = plain(kind.spec.fields[name]!.default);
  }
  const required = [...(spec.required ?? []), ...written].sort();
  if (required.length > 0) spec.required = required;
}

/** As JSON has it: no bigints, and nothing shared. */
function plain(value: unknown): unknown {
  return typeof value === "bigint" ? Number(value) : structuredClone(value);
}
