import type { Resource } from "./meta.ts";
import type { Problem, Schema } from "./schema.ts";

/**
 * The one definition of a kind. Types, defaults, validation, command-line tables and (later) CRD YAML, OpenAPI and
 * reference pages all come from it, so that adding a kind is adding one file that exports one of these, and one line
 * in `registry.ts`.
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
  readonly spec: Schema<R["spec"]>;
  readonly status?: Schema<R["status"]>;
  /** The only name an object of the kind may have, where there is but one object: `default`. */
  readonly singleton?: string;
  /** How names are checked. `name` (a DNS-1123 subdomain) unless said otherwise; `any` only forbids what breaks keys. */
  readonly names?: "name" | "any";
  /** Fills in what depends on other fields. Changes the resource; called after the schema's defaults. */
  complete?(resource: R): void;
  /** Rules across fields that a schema cannot say; called with defaults applied, after the schema found no problem. */
  check?(resource: R): Problem[];
  /** Rules that need the other objects of the kind, such as overlap. `others` may contain the resource's own earlier state. */
  checkAgainst?(resource: R, others: readonly R[]): Problem[];
  /** Columns of `calicoctl get`: the plain ones, and what `-o wide` adds. */
  readonly columns: readonly Column<R>[];
}

/** One column of a table. */
export interface Column<R extends Resource> {
  readonly title: string;
  value(resource: R): string;
  /** When it is shown: always (absent), only with `-o wide`, or only without it. */
  readonly wide?: boolean;
}
