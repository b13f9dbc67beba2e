import type { Node } from "../schema.ts";

/** An OpenAPI v3 schema as apiextensions.k8s.io/v1 takes it: always structural, so that the API server prunes by it. */
export interface JsonSchema {
  description?: string;
  type?: "object" | "array" | "string" | "integer" | "number" | "boolean";
  format?: string;
  enum?: readonly (string | number)[];
  default?: unknown;
  nullable?: true;
  minimum?: number;
  maximum?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
  minProperties?: number;
  maxProperties?: number;
  pattern?: string;
  items?: JsonSchema;
  properties?: Record<string, JsonSchema>;
  additionalProperties?: JsonSchema;
  required?: readonly string[];
  anyOf?: readonly JsonSchema[];
  "x-kubernetes-int-or-string"?: true;
  "x-kubernetes-list-type"?: "set" | "map" | "atomic";
  "x-kubernetes-list-map-keys"?: readonly string[];
  "x-kubernetes-validations"?: readonly Validation[];
}

/** A rule in CEL, as the API server evaluates it on create and update. */
export interface Validation {
  readonly rule: string;
  readonly message: string;
  readonly reason: "FieldValueInvalid" | "FieldValueForbidden" | "FieldValueRequired";
}

/** Changes the schema that was made for the value at a path; see {@link openApi}. */
export type Adjust = (path: string, schema: JsonSchema) => void;

/**
 * The OpenAPI schema of one of our schemas. Defaults are left out, as only some of them are the API server's to fill in, and so are
 * formats that it does not know. `adjust` is called for every value, inner ones first: `spec.ingress[].source`; the values of
 * a map are `{}`.
 */
export function openApi(node: Node, path: string, adjust: Adjust): JsonSchema {
  const description = describe(node);
  const schema: JsonSchema = {
    ...(description === "" ? {} : { description }),
    ...shape(node, path, adjust),
    ...(node.nullable ? { nullable: true as const } : {}),
  };
  if (node.immutable !== undefined) {
    const message = `cannot change; ${node.immutable}`;
    schema["x-kubernetes-validations"] = [{ rule: "self == oldSelf", message, reason: "FieldValueInvalid" }];
  }
  adjust(path, schema);
  return schema;
}

function shape(node: Node, path: string, adjust: Adjust): JsonSchema {
  switch (node.type) {
    case "boolean":
    case "number":
      return { type: node.type };
    case "integer":
      return {
        type: "integer",
        ...(node.wide ? { format: "int64" } : {}),
        ...(node.enum ? { enum: node.enum } : {}),
        ...(node.min === undefined ? {} : { minimum: node.min }),
        ...(node.max === undefined ? {} : { maximum: node.max }),
      };
    case "int-or-string":
      return { anyOf: [{ type: "integer" }, { type: "string" }], "x-kubernetes-int-or-string": true };
    case "string":
      return {
        type: "string",
        ...(node.format === "date-time" ? { format: "date-time" } : {}),
        ...(node.enum ? { enum: node.enum } : {}),
        // To Go an empty text is an absent one: it writes some that are.
        ...(node.pattern ? { pattern: `^(?:${node.pattern.source})${node.optional ? "?" : ""}$` } : {}),
        ...(node.minLength === undefined ? {} : { minLength: node.minLength }),
        ...(node.maxLength === undefined ? {} : { maxLength: node.maxLength }),
      };
    case "array":
      return {
        type: "array",
        items: openApi(node.items, `${path}[]`, adjust),
        ...(node.maxItems === undefined ? {} : { maxItems: node.maxItems }),
        ...(node.unique ? { "x-kubernetes-list-type": "set" as const } : {}),
      };
    case "map":
      return { type: "object", additionalProperties: openApi(node.values, `${path}{}`, adjust) };
    case "object": {
      const properties: Record<string, JsonSchema> = {};
      const required: string[] = [];
      for (const name of Object.keys(node.fields).sort()) {
        const field = node.fields[name]!;
        properties[name] = openApi(field, `${path}.${name}`, adjust);
        if (!field.optional && field.default === undefined && field.computed === undefined) required.push(name);
      }
      return { type: "object", properties, ...(required.length === 0 ? {} : { required }) };
    }
  }
}

function describe(node: Node): string {
  const parts = [node.doc ?? ""];
  if (node.unit !== undefined) parts.push(`In ${node.unit}.`);
  if (node.computed !== undefined) parts.push(`Default: ${node.computed}.`);
  return parts.filter((part) => part !== "").join(" ");
}
