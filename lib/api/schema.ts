/**
 * A schema is plain data that says what a value looks like: its type, limits, default, documentation and units. The
 * TypeScript type of a kind is inferred from it, values are completed and checked by it, and CRD YAML, OpenAPI and the
 * reference pages are printed from it. Kinds build theirs on first use ({@link lazy}), because every plugin run loads them.
 *
 * Data flow: JSON or YAML -> {@link applyDefaults} (fills in, drops nulls, widens integers) -> {@link validate}.
 */
export { applyDefaults, describeProblem, type Problem, type ValidateOptions, validate } from "./validate.ts";

/** What the text of a string must be. The checks are in `formats.ts`, each with the words of its error message. */
export type Format =
  | "cidr"
  | "cidr4"
  | "cidr6"
  | "ip"
  | "ip4"
  | "ip6"
  /** A CIDR, also with bits beyond its prefix length, or an address. */
  | "cidr-or-ip"
  /** A CIDR without bits beyond its prefix length, or an address that stands for its /32 or /128. */
  | "net"
  | "mac"
  /** RFC 3339. */
  | "date-time"
  /** DNS-1123 subdomain: what Kubernetes allows as most names. */
  | "name"
  /** DNS-1123 label. */
  | "label-name"
  /** A name of a Linux network interface. */
  | "interface"
  /** A selector of the language in lib/selector. */
  | "selector"
  /** 32 bytes in base64. */
  | "wireguard-key"
  | "container-id"
  | "port-name"
  /** TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite, or a number 1-255. */
  | "protocol"
  /** A port, a range "1000:2000", or the name of one. */
  | "port"
  /** A port, or the name of a container's port. */
  | "port-or-name"
  /** A name such as EF or AF11, or a number 0-63. */
  | "dscp";

/** What every schema may carry. */
export interface Common {
  /** One or more sentences for the reference pages. */
  readonly doc?: string;
  /** "seconds", "bits per second": for the reference pages and messages. */
  readonly unit?: string;
  /** The value may be null, and null then means something other than absence. */
  readonly nullable?: true;
  /** As a field of an object: may be absent. */
  readonly optional?: true;
  /** As a field of an object: taken when the field is absent, null, "" or []. */
  readonly default?: unknown;
  /** As a field of an object: may be absent in what is read, and is then filled in by the kind's `complete`. The text says how. */
  readonly computed?: string;
  /** May not change once the object exists. The text says what to do instead. */
  readonly immutable?: string;
  /** As a field of an object: what is in it appears in no message. */
  readonly secret?: true;
}

export interface StringNode extends Common {
  readonly type: "string";
  readonly enum?: readonly string[];
  /** A regular expression for the whole text, and what it stands for in words. */
  readonly pattern?: { readonly source: string; readonly means: string };
  readonly format?: Format;
  readonly minLength?: number;
  readonly maxLength?: number;
}

export interface IntegerNode extends Common {
  readonly type: "integer";
  readonly min?: number;
  readonly max?: number;
  readonly enum?: readonly number[];
  /** Held as a bigint: the values go beyond 2^53. */
  readonly wide?: true;
  /** Also taken as text, and turned into the number: an AS number as "64512" or "1.10". */
  readonly text?: "as-number";
}

export interface NumberNode extends Common {
  readonly type: "number";
}

export interface BooleanNode extends Common {
  readonly type: "boolean";
}

/** A number or a text, as Go Calico's `numorstring` types. */
export interface IntOrStringNode extends Common {
  readonly type: "int-or-string";
  readonly format: "protocol" | "port" | "port-or-name" | "dscp";
}

export interface ArrayNode extends Common {
  readonly type: "array";
  readonly items: Node;
  readonly maxItems?: number;
  /** No two items are equal. */
  readonly unique?: true;
}

/** An object with free keys. */
export interface MapNode extends Common {
  readonly type: "map";
  readonly values: Node;
  /** Keys and values follow Kubernetes' rules for labels. */
  readonly labels?: true;
}

export interface ObjectNode extends Common {
  readonly type: "object";
  readonly fields: Readonly<Record<string, Node>>;
}

/** Any schema, as data to walk over. */
export type Node =
  | StringNode
  | IntegerNode
  | NumberNode
  | BooleanNode
  | IntOrStringNode
  | ArrayNode
  | MapNode
  | ObjectNode;

declare const inferred: unique symbol;

/** A schema of values of type `T`. */
export type Schema<T = unknown> = Node & { readonly [inferred]?: T };

/** The type of the values that a schema describes, defaults applied. */
export type Infer<S> = S extends { readonly [inferred]?: infer T } ? Exclude<T, undefined> : never;

type Fields = Readonly<Record<string, Node>>;
type OptionalKeys<F> = { [K in keyof F]: F[K] extends { readonly optional: true } ? K : never }[keyof F];
/** The object type of a set of fields. */
export type ObjectOf<F> = { [K in Exclude<keyof F, OptionalKeys<F>>]: Infer<F[K]> } & {
  [K in OptionalKeys<F>]?: Infer<F[K]>;
} extends infer O
  ? { [K in keyof O]: O[K] }
  : never;

type Options<N extends Common> = Omit<
  N,
  "type" | "items" | "values" | "fields" | "optional" | "default" | "computed" | "nullable" | "enum" | "wide"
>;

/** A text. */
export const string = (options: Options<StringNode> = {}): Schema<string> => ({ type: "string", ...options });

/** One of a few texts. */
export const oneOf = <const V extends string>(values: readonly V[], options: Options<StringNode> = {}): Schema<V> => ({
  type: "string",
  enum: values,
  ...options,
});

/** An integer that a double holds exactly. */
export const integer = (options: Options<IntegerNode> = {}): Schema<number> => ({ type: "integer", ...options });

/** One of a few integers. */
export const oneOfIntegers = <const V extends number>(
  values: readonly V[],
  options: Options<IntegerNode> = {},
): Schema<V> => ({ type: "integer", enum: values, ...options });

/** An unsigned 64-bit integer, held as a bigint. */
export const wideInteger = (options: Options<IntegerNode> = {}): Schema<bigint> => ({
  type: "integer",
  wide: true,
  ...options,
});

/** Any finite number. */
export const number = (options: Options<NumberNode> = {}): Schema<number> => ({ type: "number", ...options });

export const boolean = (options: Options<BooleanNode> = {}): Schema<boolean> => ({ type: "boolean", ...options });

/** A number or a text of the given format. */
export const intOrString = (
  format: IntOrStringNode["format"],
  options: Omit<Options<IntOrStringNode>, "format"> = {},
): Schema<number | string> => ({ type: "int-or-string", format, ...options });

export const array = <S extends Node>(items: S, options: Options<ArrayNode> = {}): Schema<Infer<S>[]> => ({
  type: "array",
  items,
  ...options,
});

/** An object with free keys. */
export const map = <S extends Node>(values: S, options: Options<MapNode> = {}): Schema<Record<string, Infer<S>>> => ({
  type: "map",
  values,
  ...options,
});

/** An object of known fields. */
export const object = <const F extends Fields>(fields: F, options: Options<ObjectNode> = {}): Schema<ObjectOf<F>> => ({
  type: "object",
  fields,
  ...options,
});

/** A field that may be absent. Null counts as absent, as it does for Go. */
export const optional = <S extends Node>(schema: S): Schema<Infer<S>> & { readonly optional: true } => ({
  ...schema,
  optional: true,
});

/** A value that may be null. */
export const nullable = <S extends Node>(schema: S): Schema<Infer<S> | null> => ({ ...schema, nullable: true });

/** A field that takes `value` when it is absent. The default is copied, never shared. */
export const withDefault = <S extends Node>(schema: S, value: Infer<S>): Schema<Infer<S>> => ({
  ...schema,
  default: value,
});

/** A field whose default depends on other fields; the kind's `complete` fills it in. `how` is for the reference pages. */
export const computed = <S extends Node>(schema: S, how: string): Schema<Infer<S>> => ({ ...schema, computed: how });

/**
 * A schema that is built when it is first asked for. Every kind's is: a plugin decodes a handful of kinds, and must not pay
 * for the schemas of all that it could.
 */
export const lazy = <S extends Node>(build: () => S): (() => S) => {
  let built: S | undefined;
  return () => {
    built ??= build();
    return built;
  };
};

/** The same schema with other documentation, for an object that is used in several places. */
export const described = <S extends Node>(schema: S, doc: string): S => ({ ...schema, doc });
