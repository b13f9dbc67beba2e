import type { FelixConfigurationSpec } from "../../api/felixconfiguration.ts";
import type { Type } from "./types.ts";

/** One parameter of the agent. Its name is upstream's; a variable of the environment is FELIX_ and the name, in any case. */
export interface Parameter<T = unknown> {
  readonly type: Type<T>;
  /** What it is where nothing sets it, as a text; absent: the type's zero. */
  readonly default?: string;
  /** The field of a FelixConfiguration that sets it. Absent: none does. */
  readonly field?: keyof FelixConfigurationSpec;
  /** What it is for. Absent: what the field's schema says. */
  readonly doc?: string;
  /** The agent does not run with a value that it cannot read. Else the default is taken. */
  readonly fatal?: true;
  /** Only the environment, the file and overrides count: it is needed before a datastore can be read. */
  readonly local?: true;
  /** Where it comes from, when it is not for people to set. */
  readonly from?: "ClusterInformation" | "Node";
  /** A change takes effect without a restart. */
  readonly live?: true;
  /** Taken so that files of other Calicos can be used, but nothing here depends on it. */
  readonly ignored?: true;
  /** May hold a password: appears in no message. */
  readonly secret?: true;
}

/** What the values of a table of parameters are. */
export type ValuesOf<P> = { readonly [K in keyof P]: P[K] extends Parameter<infer T> ? T : never };

export const parameter = <T>(type: Type<T>, options: Omit<Parameter<T>, "type"> = {}): Parameter<T> => ({
  type,
  ...options,
});
