import type { Resource } from "./meta.ts";
import type { Problem, Schema } from "./schema.ts";

/**
 * The one definition of a kind. Types, defaults, validation, command-line tables and (later) CRD YAML, OpenAPI and
 * reference pages all come from it, so that adding a kind is adding one file that exports one of these, and one line
 * in `registry.ts`. Schemas and columns are getters: a plugin loads kinds of which it needs the name and little else.
 */
export interface Kind<R extends Resource = Resource> {
  readonly kind: R["kind"];
  readonly apiVersion: string;
  /** Lower case, as in URLs and etcd keys: `ippools`. */
  readonly plural: string;
  readonly namespaced: boolean;
  /** Further names that calicoctl takes for the kind, lower case: `ipp`, `pool`. The kind and its plural always work. */
  readonly aliases: readonly string[];
  /** What the kind is for, in a sentence or two. */
  readonly doc: string;
  readonly spec: Schema<Exclude<R["spec"], undefined>>;
  readonly status?: Schema<Exclude<R["status"], undefined>>;
  /**
   * One of Kubernetes' own kinds: its objects are kept as they were given, with fields that no schema here knows, and are
   * completed by nothing but {@link complete}. A spec whose schema is optional may be absent.
   */
  readonly verbatim?: true;
  /** Of a verbatim kind: an object of the fields that lie beside metadata, spec and status, such as a Secret's `data`. */
  readonly fields?: Schema;
  /** Written by Calico itself: shown to people, but neither made nor changed from their files. */
  readonly managed?: true;
  /** The only name an object of the kind may have, where there is but one object: `default`. */
  readonly singleton?: string;
  /** An object that every cluster has without it being stored: see {@link BuiltIn}. */
  readonly builtIn?: BuiltIn<R>;
  /** How names are checked: as DNS-1123 subdomains (absent), as DNS-1123 labels, or only for what breaks keys. */
  readonly names?: "label-name" | "any";
  /**
   * A first look at a spec: true only when it is complete and the schema would find nothing wrong with it, so that the schema need not
   * even be built. False says nothing. For the kinds that a plugin reads; see `plain.ts`.
   */
  isPlain?(spec: unknown, stored: boolean): boolean;
  /** Fills in what depends on other fields. Changes the resource; called after the schema's defaults. */
  complete?(resource: R): void;
  /** Rules across fields that a schema cannot say; called with defaults applied, after the schema found no problem. */
  check?(resource: R): Problem[];
  /** Rules for making an object among the others of its kind, such as overlap. One of the same name counts as itself. */
  checkAgainst?(resource: R, others: readonly R[]): Problem[];
  /** Rules for changing an object, beyond the fields that its schema calls immutable. */
  checkUpdate?(resource: R, previous: R): Problem[];
  /** Why the object of this name cannot be deleted; undefined when it can. */
  refuseDelete?(name: string): string | undefined;
  /** The order of `calicoctl get`; by name when absent. */
  compare?(a: R, b: R): number;
  /** Columns of `calicoctl get`: the plain ones, and what `-o wide` adds. */
  readonly columns: Columns<R>;
}

/** What it takes to find the objects of a kind. A Kind is one; a small constant is another, where the rest is not to be loaded. */
export type KindKey = Pick<Kind, "kind" | "plural" | "namespaced" | "verbatim"> & {
  readonly builtIn?: Pick<BuiltIn<Resource>, "name">;
};

/** An object that datastores serve as if it were stored. One of its name that is stored does not count, and it cannot be written. */
export interface BuiltIn<R extends Resource> {
  readonly name: string;
  /** A fresh one. */
  make(): R;
  /** Why it cannot be created, updated or deleted. */
  refusal(op: "create" | "update" | "delete"): string;
}

export type Columns<R extends Resource> = readonly Column<R>[];

/** One column of a table. */
export interface Column<R extends Resource> {
  readonly title: string;
  value(resource: R): string;
  /** When it is shown: always (absent), only with `-o wide`, or only without it. */
  readonly wide?: boolean;
}
