import type { Schema } from "./schema.ts";

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
   * Check only what a reader relies on: types, required fields, enumerations, and that addresses are addresses. For
   * stored objects, which another version may have written by other rules.
   */
  readonly stored?: boolean;
}

/** `spec.cidr: "10.0.0.0": must be …` in one line. */
export declare function describeProblem(problem: Problem): string;

/** Completes `value` in place. */
export declare function applyDefaults<T>(schema: Schema<T>, value: unknown): T;

export declare function validate(schema: Schema, value: unknown, path: string, options?: ValidateOptions): Problem[];
