import type { Problem } from "../../api/schema.ts";

/**
 * A place in an object of which nothing is known: knows its path, and reports where it is not what is asked for. Absent and null are
 * the same, as they are to Go.
 */
export class Field {
  readonly #value: unknown;
  readonly #parent: Field | string;
  readonly #name: string | number;
  readonly problems: Problem[];

  /** The root, or what lies under a name or an index in `parent`. */
  constructor(value: unknown, problems: Problem[], parent: Field | string = "", name: string | number = "") {
    this.#value = value ?? undefined;
    this.problems = problems;
    this.#parent = parent;
    this.#name = name;
  }

  /** Made when it is asked for: most fields are as they should be. */
  get path(): string {
    if (typeof this.#parent === "string") return this.#parent;
    const before = this.#parent.path;
    const name = this.#name;
    if (typeof name === "number") return `${before}[${name}]`;
    if (!/^[a-z]\w*$/i.test(name)) return `${before}[${JSON.stringify(name)}]`;
    return before === "" ? name : `${before}.${name}`;
  }

  /** The same place, with its own list of problems. */
  reportingTo(problems: Problem[]): Field {
    return new Field(this.#value, problems, this.#parent, this.#name);
  }

  get isSet(): boolean {
    return this.#value !== undefined;
  }

  /** The field of an object; unset when this is none. Own fields only. */
  get(name: string): Field {
    const value = this.#value;
    const child = isRecord(value) && Object.hasOwn(value, name) ? value[name] : undefined;
    return new Field(child, this.problems, this, name);
  }

  /** Whether it is an object; anything else that is set is reported. */
  isObject(): boolean {
    if (!this.isSet || isRecord(this.#value)) return this.isSet;
    this.report("must be an object");
    return false;
  }

  /** The names of the fields that are set. */
  keys(): string[] {
    const value = this.#value;
    return isRecord(value) ? Object.keys(value).filter((key) => (value[key] ?? undefined) !== undefined) : [];
  }

  /** The items of a list; none when it is unset, or no list, which is reported. */
  items(): Field[] {
    if (!this.isSet) return [];
    if (Array.isArray(this.#value)) return this.#value.map((item, i) => new Field(item, this.problems, this, i));
    this.report("must be a list");
    return [];
  }

  /** The text; "" when it is unset, or something else, which is reported. */
  text(): string {
    if (typeof this.#value === "string") return this.#value;
    if (this.isSet) this.report("must be text");
    return "";
  }

  /** Texts of an object with free keys, sorted by key; others are reported and left out. A null is "", as it is to Go in a map. */
  texts(): [string, string][] {
    const value = this.#value;
    if (!this.isObject() || !isRecord(value)) return [];
    const found: [string, string][] = [];
    for (const key of Object.keys(value).sort()) {
      const { problems } = this;
      const before = problems.length;
      const text = this.get(key).text();
      if (problems.length === before) found.push([key, text]);
    }
    return found;
  }

  /** Exactly true; anything but a truth value is reported. */
  isTrue(): boolean {
    if (this.isSet && typeof this.#value !== "boolean") this.report("must be true or false");
    return this.#value === true;
  }

  /** An integer within limits; undefined when it is unset, or something else, which is reported. */
  integer(min: number, max: number): number | undefined {
    const value = this.#value;
    if (typeof value === "number" && Number.isInteger(value) && value >= min && value <= max) return value;
    if (this.isSet) this.report(`must be an integer from ${min} to ${max}`);
    return undefined;
  }

  isNumber(): boolean {
    return typeof this.#value === "number";
  }

  /** Adds a problem. Answers undefined, to be returned. */
  report(message: string): undefined {
    this.problems.push({ path: this.path, value: this.#value, message });
    return undefined;
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
