import { formatProblem, isLabelKey, isLabelValue } from "./formats.ts";
import type { Format } from "./schema.ts";

/**
 * A first look at an object, for what nearly every object of its kind looks like. Each pod's ADD and DEL is a new process, to which
 * building a schema and walking it costs more than reading the datastore, so a kind that they read can say with a small
 * table what is surely right. Whatever the table does not know is left to the schema, which alone says what is wrong.
 */
export type Look =
  /** Any text. */
  | "text"
  | "boolean"
  /** An integer; only in what is stored, as its limits are not known here. */
  | "integer"
  /** A text of a format. */
  | Format
  /** A list of such texts. */
  | readonly [Format | "text"]
  /** One of these texts. */
  | { readonly oneOf: readonly string[] }
  /** An object whose values are texts, or one of labels. */
  | { readonly mapOf: "texts" | "labels" };

/**
 * Whether all fields of an object are in `looks` and as they say. True only when the schema would find nothing wrong
 * with them; false says nothing. `stored`: by the rules for what is stored, where formats and enumerations do not count.
 */
export function isPlain(object: unknown, looks: Readonly<Record<string, Look>>, stored: boolean): boolean {
  if (typeof object !== "object" || object === null || Array.isArray(object)) return false;
  const fields = object as Readonly<Record<string, unknown>>;
  for (const field of Object.keys(fields)) {
    if (!Object.hasOwn(looks, field)) return false;
    const look = looks[field]!;
    const value = fields[field];
    if (look === "boolean") {
      if (typeof value !== "boolean") return false;
    } else if (look === "integer") {
      if (!stored || !Number.isSafeInteger(value)) return false;
    } else if (typeof look === "string") {
      if (typeof value !== "string") return false;
      if (look === "text") continue;
      if (value === "" || !(stored || formatProblem(look, value) === undefined)) return false;
    } else if ("oneOf" in look) {
      if (typeof value !== "string" || value === "" || !(stored || look.oneOf.includes(value))) return false;
    } else if ("mapOf" in look) {
      if (!isMapOfTexts(value, !stored && look.mapOf === "labels")) return false;
    } else {
      if (!Array.isArray(value)) return false;
      for (const item of value) {
        if (typeof item !== "string") return false;
        if (look[0] === "text") continue;
        if (item === "" || !(stored || formatProblem(look[0], item) === undefined)) return false;
      }
    }
  }
  return true;
}

function isMapOfTexts(value: unknown, labels: boolean): boolean {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  const map = value as Readonly<Record<string, unknown>>;
  for (const key of Object.keys(map)) {
    const text = map[key];
    if (typeof text !== "string" || (labels && !(isLabelKey(key) && isLabelValue(text)))) return false;
  }
  return true;
}
