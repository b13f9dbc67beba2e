import { quote } from "./environment.ts";
import { CniError, errorCode } from "./errors.ts";

/**
 * Typed reading of one JSON object of a configuration. Every complaint is a CniError 7 that names the key by its path
 * and never repeats a value of unknown meaning (it may be a secret). `null` is absent, as in Go's JSON.
 */
export class Fields {
  constructor(
    private readonly object: Readonly<Record<string, unknown>>,
    /** The path of the object itself, "" for the whole configuration. */
    private readonly path: string = "",
  ) {}

  /**
   * The object itself, when every key that `shape` names holds what it says. One loop over the keys that are there rather than
   * a function for each that may be: in a new process, which every ADD is, calls cost more than anything that they do.
   */
  checked<const S extends Shape>(shape: S): Checked<S> {
    for (const key in this.object) {
      const value = this.object[key];
      if (value === null || !Object.hasOwn(shape, key)) continue;
      const type = shape[key]!;
      if (type === "string") {
        if (typeof value === "string" && !value.includes("\0")) continue;
      } else if (type === "boolean") {
        if (typeof value === "boolean") continue;
      }
      this[type](key); // complains, or finds that all is well
    }
    return this.object as Checked<S>;
  }

  string(key: string): string {
    const value = this.value(key);
    if (value === undefined) return "";
    if (typeof value !== "string") throw this.wrong(key, "a string", value);
    if (value.includes("\0")) throw this.invalid(key, "holds a zero byte");
    return value;
  }

  boolean(key: string): boolean {
    const value = this.value(key);
    if (value === undefined) return false;
    if (typeof value !== "boolean") throw this.wrong(key, "true or false", value);
    return value;
  }

  /** True or false as JSON or as text, which is what upstream's `assign_ipv4` takes; undefined when absent. */
  textualBoolean(key: string): boolean | undefined {
    const value = this.value(key);
    if (value === undefined || typeof value === "boolean") return value;
    if (typeof value === "string" && /^(true|false)$/i.test(value)) return value.toLowerCase() === "true";
    throw this.wrong(key, '"true" or "false"', value);
  }

  /** A whole number from `least` to `most`; 0 when absent. */
  integer(key: string, least: number, most: number): number {
    const value = this.value(key);
    if (value === undefined) return 0;
    if (typeof value !== "number" || !Number.isInteger(value)) throw this.wrong(key, "a whole number", value);
    if (value < least || value > most) throw this.invalid(key, `is ${value}, it must be from ${least} to ${most}`);
    return value;
  }

  strings(key: string): readonly string[] {
    const list = this.list(key);
    for (const [index, item] of list.entries()) {
      if (typeof item !== "string") throw this.wrong(`${key}[${index}]`, "a string", item);
      if (item.includes("\0")) throw this.invalid(`${key}[${index}]`, "holds a zero byte");
    }
    return list as readonly string[];
  }

  /** A JSON array; empty when absent. */
  list(key: string): readonly unknown[] {
    const value = this.value(key);
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.wrong(key, "a list", value);
    return value;
  }

  /** The fields of every object in a list. */
  objects(key: string): readonly Fields[] {
    return this.list(key).map((item, index) => {
      if (!isObject(item)) throw this.wrong(`${key}[${index}]`, "an object", item);
      return new Fields(item, this.at(`${key}[${index}]`));
    });
  }

  /** The fields of an object inside this one; no fields when absent. */
  fields(key: string): Fields {
    return new Fields(this.record(key) ?? {}, this.at(key));
  }

  /** A JSON object as it is; undefined when absent. */
  record(key: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.value(key);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw this.wrong(key, "an object", value);
    return value;
  }

  /** Whether the key is there at all, `null` included. */
  has(key: string): boolean {
    return Object.hasOwn(this.object, key);
  }

  /** An error about a key's value. `what` follows the key: `"mtu" is 7, ...`. */
  invalid(key: string, what: string): CniError {
    return new CniError(
      errorCode.invalidConfiguration,
      `${quote(this.at(key))} ${what}`,
      "in the network configuration on stdin",
    );
  }

  private value(key: string): unknown {
    const value = Object.hasOwn(this.object, key) ? this.object[key] : undefined;
    return value === null ? undefined : value;
  }

  private wrong(key: string, expected: string, value: unknown): CniError {
    const got = Array.isArray(value)
      ? "a list"
      : isObject(value)
        ? "an object"
        : typeof value === "string"
          ? "text"
          : `a ${typeof value}`;
    return this.invalid(key, `must be ${expected}, not ${got === expected ? "this one" : got}`);
  }

  private at(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }
}

/** What keys must hold, each named by the method that reads it. */
export type Shape = Readonly<
  Record<string, "string" | "boolean" | "textualBoolean" | "strings" | "record" | "objects">
>;

/** An object whose keys hold what a shape says, as JSON has it: `null` is absent. */
export type Checked<S extends Shape> = {
  readonly [Key in keyof S]?:
    | (S[Key] extends "string"
        ? string
        : S[Key] extends "boolean"
          ? boolean
          : S[Key] extends "textualBoolean"
            ? boolean | string
            : S[Key] extends "strings"
              ? readonly string[]
              : S[Key] extends "record"
                ? Readonly<Record<string, unknown>>
                : readonly Readonly<Record<string, unknown>>[])
    | null;
};

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
