import { formatMeans, formatProblem, isLabelKey, isLabelValue } from "./formats.ts";
import type { Node, ObjectNode, Schema } from "./schema.ts";

/** One thing that is wrong with a value. */
export interface Problem {
  /** Where: "spec.cidr", "spec.ports[0].name". */
  readonly path: string;
  /** What is there; undefined when it is missing. */
  readonly value: unknown;
  /** What is wrong and what would be right, to be read after the path and the value. */
  readonly message: string;
}

export interface ValidateOptions {
  /** Fields that the schema does not know: a problem (default), or kept silently. */
  readonly unknown?: "report" | "keep";
  /**
   * Check only types and required fields. For stored objects, which another version may have written by other rules: whoever uses a
   * value makes of one that it does not know what is safe, so that one odd object does not stop what has nothing to do with it.
   */
  readonly stored?: boolean;
}

/** How much of a value a message quotes. */
const QUOTED = 80;
const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

type Json = Record<string, unknown>;

/** `spec.cidr: "10.0.0.0": must be …` in one line. */
export function describeProblem(problem: Problem): string {
  const value = problem.value === undefined ? "" : `${quoteValue(problem.value)}: `;
  return `${problem.path}: ${value}${problem.message}`;
}

/**
 * Completes a value in place and answers it: fields with a default get it when they are absent, null, "" or []; other
 * optional fields that are null are removed, as null is absence to Go; integers that are held as bigints become such. What
 * has the wrong type is left alone for {@link validate} to report.
 */
export function applyDefaults<T>(schema: Schema<T>, value: unknown): T {
  return complete(schema, value ?? (schema.type === "object" ? {} : value)) as T;
}

function complete(node: Node, value: unknown): unknown {
  switch (node.type) {
    case "object":
      if (isObject(value)) completeFields(node, value);
      return value;
    case "array":
      if (Array.isArray(value) && changes(node.items)) {
        for (let i = 0; i < value.length; i++) value[i] = complete(node.items, value[i]);
      }
      return value;
    case "map":
      if (isObject(value) && changes(node.values)) {
        for (const key of Object.keys(value)) define(value, key, complete(node.values, value[key]));
      }
      return value;
    case "integer":
      if (node.wide && typeof value === "number" && Number.isSafeInteger(value)) return BigInt(value);
      return node.text === "as-number" && typeof value === "string" ? (asNumber(value) ?? value) : value;
    default:
      return value;
  }
}

function completeFields(node: ObjectNode, object: Json): void {
  for (const name of Object.keys(node.fields)) {
    const field = node.fields[name]!;
    const value = Object.hasOwn(object, name) ? object[name] : undefined;
    if (field.default !== undefined && isEmpty(value)) object[name] = copy(field.default);
    else if (value === undefined) continue;
    else if (value === null && !field.nullable) delete object[name];
    else {
      const completed = complete(field, value);
      if (completed !== value) object[name] = completed;
    }
  }
}

/** Whether completing can change a value of this schema, so that long lists of plain values are not walked. */
function changes(node: Node): boolean {
  if (node.type === "object") return true;
  if (node.type === "array") return changes(node.items);
  if (node.type === "map") return changes(node.values);
  return node.type === "integer" && (node.wide === true || node.text !== undefined);
}

const isEmpty = (value: unknown): boolean =>
  value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0);

function copy(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(copy);
  return isObject(value) ? { ...value } : value;
}

/** An AS number as text: decimal, or two 16-bit halves with a dot (RFC 5396 asdot). */
function asNumber(text: string): number | undefined {
  const halves = /^(\d{1,10})(?:\.(\d{1,5}))?$/.exec(text);
  if (!halves) return undefined;
  if (halves[2] === undefined) return Number(halves[1]);
  const [high, low] = [Number(halves[1]), Number(halves[2])];
  return high <= 0xffff && low <= 0xffff ? high * 0x10000 + low : undefined;
}

/**
 * What is wrong with a value, in the order of its fields; empty when nothing is. Never throws. `path` is where the value
 * lies in its object. Fields that have a default, or are computed, may be absent.
 */
export function validate(schema: Schema, value: unknown, path: string, options: ValidateOptions = {}): Problem[] {
  const problems: Problem[] = [];
  new Validator(options, problems).visit(schema, value, path);
  return problems;
}

class Validator {
  readonly #stored: boolean;
  readonly #reportUnknown: boolean;
  readonly #problems: Problem[];

  constructor(options: ValidateOptions, problems: Problem[]) {
    this.#stored = options.stored ?? false;
    this.#reportUnknown = (options.unknown ?? "report") === "report";
    this.#problems = problems;
  }

  visit(node: Node, value: unknown, path: string): void {
    if (value === null && node.nullable) return;
    const wrong = this.#wrong(node, value);
    if (wrong !== undefined) {
      this.#problems.push({ path, value, message: `must be ${wrong}` });
      return;
    }
    if (node.type === "object") this.#fields(node, value as Json, path);
    else if (node.type === "array") this.#items(node.items, value as unknown[], path, node.unique === true);
    else if (node.type === "map") {
      const map = value as Json;
      for (const key of Object.keys(map)) {
        const at = `${path}[${JSON.stringify(key)}]`;
        if (node.labels && !this.#stored) this.#label(key, map[key], at);
        this.visit(node.values, map[key], at);
      }
    }
  }

  /** What the value itself must be and is not; what lies inside it is checked afterwards. */
  #wrong(node: Node, value: unknown): string | undefined {
    switch (node.type) {
      case "boolean":
        return typeof value === "boolean" ? undefined : "true or false";
      case "number":
        return typeof value === "number" && Number.isFinite(value) ? undefined : "a number";
      case "object":
      case "map":
        return isObject(value) ? undefined : "an object";
      case "array":
        if (!Array.isArray(value)) return "a list";
        if (this.#stored || node.maxItems === undefined || value.length <= node.maxItems) return undefined;
        return `a list of at most ${node.maxItems} items, not ${value.length}`;
      case "integer": {
        if (node.wide) {
          return typeof value === "bigint" && value >= 0n && value <= MAX_UINT64
            ? undefined
            : "an integer from 0 to 2^64-1";
        }
        if (node.enum && !this.#stored) return node.enum.some((one) => one === value) ? undefined : oneOf(node.enum);
        const min = this.#stored ? undefined : node.min;
        const max = this.#stored ? undefined : node.max;
        const right =
          typeof value === "number" &&
          Number.isSafeInteger(value) &&
          !(min !== undefined && value < min) &&
          !(max !== undefined && value > max);
        if (right) return undefined;
        return node.enum ? oneOf(node.enum) : integerMeans(node.min, node.max, node.unit);
      }
      case "int-or-string": {
        if (typeof value !== "string" && !(Number.isSafeInteger(value) && (value as number) >= 0)) {
          return formatMeans(node.format);
        }
        return this.#stored ? undefined : formatProblem(node.format, String(value));
      }
      case "string": {
        if (node.enum && !(this.#stored && typeof value === "string"))
          return node.enum.some((one) => one === value) ? undefined : oneOf(node.enum);
        if (typeof value !== "string") return node.format ? formatMeans(node.format) : "a string";
        // To Go an empty text is an absent one, wherever absence is allowed.
        if (value === "" && (node.optional || node.default !== undefined)) return undefined;
        if (this.#stored) return undefined;
        if (node.minLength !== undefined && value.length < node.minLength) return "a text that is not empty";
        if (node.maxLength !== undefined && value.length > node.maxLength) {
          return `at most ${node.maxLength} characters long, not ${value.length}`;
        }
        if (node.pattern && !new RegExp(`^(?:${node.pattern.source})$`).test(value)) return node.pattern.means;
        return node.format === undefined ? undefined : formatProblem(node.format, value);
      }
    }
  }

  #fields(node: ObjectNode, object: Json, path: string): void {
    for (const name of Object.keys(node.fields)) {
      const field = node.fields[name]!;
      const at = path === "" ? name : `${path}.${name}`;
      const value = Object.hasOwn(object, name) ? object[name] : undefined;
      if (value !== undefined && !(value === null && !field.nullable)) {
        const before = this.#problems.length;
        this.visit(field, value, at);
        if (field.secret) this.#conceal(before);
      } else if (!field.optional && field.default === undefined && field.computed === undefined) {
        this.#problems.push({ path: at, value: undefined, message: `is missing; it must be ${means(field)}` });
      }
    }
    if (!this.#reportUnknown) return;
    for (const name of Object.keys(object)) {
      if (Object.hasOwn(node.fields, name)) continue;
      const known = Object.keys(node.fields);
      const near = known.find((candidate) => isNear(candidate, name));
      this.#problems.push({
        path: path === "" ? name : `${path}.${name}`,
        value: object[name],
        message: `is not a field here; ${near === undefined ? `the fields are ${known.join(", ")}` : `did you mean ${near}?`}`,
      });
    }
  }

  /** Takes the values out of the problems from `first` on. */
  #conceal(first: number): void {
    for (let i = first; i < this.#problems.length; i++) this.#problems[i] = { ...this.#problems[i]!, value: undefined };
  }

  #items(node: Node, items: readonly unknown[], path: string, unique: boolean): void {
    const seen = new Set<unknown>();
    for (let i = 0; i < items.length; i++) {
      const item = items[i];
      this.visit(node, item, `${path}[${i}]`);
      if (!unique || this.#stored) continue;
      if (seen.has(item)) {
        this.#problems.push({ path: `${path}[${i}]`, value: item, message: "is in the list already; remove one" });
      }
      seen.add(item);
    }
  }

  #label(key: string, value: unknown, path: string): void {
    if (!isLabelKey(key))
      this.#problems.push({ path, value: undefined, message: `has a key that must be ${LABEL_KEY}` });
    if (typeof value === "string" && !isLabelValue(value)) {
      this.#problems.push({ path, value, message: `must be ${LABEL_VALUE}` });
    }
  }
}

const LABEL_KEY =
  "a label's: an optional DNS name and /, then at most 63 letters, digits, -, _ and ., with a letter or digit at both ends";
const LABEL_VALUE = "empty, or at most 63 letters, digits, -, _ and ., with a letter or digit at both ends";

/** What a schema wants, to be read after "must be". */
function means(node: Node): string {
  switch (node.type) {
    case "boolean":
      return "true or false";
    case "number":
      return "a number";
    case "object":
    case "map":
      return "an object";
    case "array":
      return "a list";
    case "int-or-string":
      return formatMeans(node.format);
    case "integer":
      return node.enum ? oneOf(node.enum) : integerMeans(node.min, node.max, node.unit);
    case "string":
      if (node.enum) return oneOf(node.enum);
      if (node.format) return formatMeans(node.format);
      return node.pattern?.means ?? "a string";
  }
}

function integerMeans(min: number | undefined, max: number | undefined, unit: string | undefined): string {
  const of = unit === undefined ? "" : ` (${unit})`;
  if (max !== undefined) return `an integer from ${min ?? Number.MIN_SAFE_INTEGER} to ${max}${of}`;
  return min === undefined ? `an integer${of}` : `an integer of ${min} or more${of}`;
}

const oneOf = (values: readonly (string | number)[]): string => `one of ${values.join(", ")}`;

/** Whether two names differ in case, or in one letter that is wrong, missing, added, or swapped with its neighbour. */
function isNear(a: string, b: string): boolean {
  const [x, y] = [a.toLowerCase(), b.toLowerCase()];
  let start = 0;
  while (start < x.length && x[start] === y[start]) start++;
  let end = 0;
  while (end < Math.min(x.length, y.length) - start && x[x.length - 1 - end] === y[y.length - 1 - end]) end++;
  const [left, right] = [x.slice(start, x.length - end), y.slice(start, y.length - end)];
  if (left.length <= 1 && right.length <= 1) return true;
  return left.length === 2 && right.length === 2 && left[0] === right[1] && left[1] === right[0];
}

/** A value as JSON, cut short. */
function quoteValue(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  let text: string;
  try {
    text = JSON.stringify(value, (_, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) ?? "";
  } catch {
    text = String(value);
  }
  return text.length > QUOTED ? `${text.slice(0, QUOTED)}…` : text;
}

/** Sets an own property also where the key is "__proto__". */
function define(object: Json, key: string, value: unknown): void {
  Object.defineProperty(object, key, { value, writable: true, enumerable: true, configurable: true });
}

function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
