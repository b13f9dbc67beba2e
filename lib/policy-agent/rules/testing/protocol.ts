/** What a test process and the process that runs a dataplane say to each other: one JSON value a line. */
import type { Applied, DataplaneCounts, DataplaneErrorCode } from "../dataplane.ts";
import { DataplaneError } from "../dataplane.ts";
import type { IpVersion } from "../ir.ts";
import type { Program } from "../program.ts";
import type { Edits } from "./testbed.ts";

/** One call on a program. */
export interface Edit {
  readonly version: IpVersion;
  readonly call: keyof Edits;
  readonly args: readonly unknown[];
}

export type Asked =
  | { readonly id: number; readonly do: "edit"; readonly edits: readonly Edit[] }
  | { readonly id: number; readonly do: "apply" | "recheck" | "counts" | "remove" | "close" };

export type Said =
  | { readonly ready: true }
  | { readonly drift: string }
  | { readonly id: number; readonly result?: Applied | DataplaneCounts }
  | { readonly id: number; readonly error: { readonly code?: DataplaneErrorCode; readonly message: string } };

/** JSON with maps, sets and their nesting. */
export function write(value: Asked | Said): string {
  return `${JSON.stringify(value, (_, inner: unknown) => {
    if (inner instanceof Map) return { "<map>": [...inner] };
    if (inner instanceof Set) return { "<set>": [...inner] };
    return inner;
  })}\n`;
}

export function read(line: string): unknown {
  return JSON.parse(line, (_, inner: unknown) => {
    if (typeof inner !== "object" || inner === null) return inner;
    if ("<map>" in inner) return new Map(inner["<map>"] as [unknown, unknown][]);
    if ("<set>" in inner) return new Set(inner["<set>"] as unknown[]);
    return inner;
  });
}

/** An {@link Edits} that only notes what is called. */
export function recorder(version: IpVersion, edits: Edit[]): Edits {
  const note =
    (call: keyof Edits) =>
    (...args: unknown[]): void => {
      // What is passed may be an iterator that can be walked only once.
      const kept = args.map((arg) => (isIterable(arg) && !(arg instanceof Map) ? [...arg] : arg));
      edits.push({ version, call, args: kept });
    };
  return {
    setChain: note("setChain"),
    removeChain: note("removeChain"),
    setDispatch: note("setDispatch"),
    removeDispatch: note("removeDispatch"),
    setHook: note("setHook"),
    setSet: note("setSet"),
    changeSet: note("changeSet"),
    removeSet: note("removeSet"),
  };
}

/** Plays recorded calls on a program. */
export function replay(program: Program, edit: Edit): void {
  (program[edit.call] as (...args: readonly unknown[]) => void).apply(program, edit.args as unknown[]);
}

/** The error as it was thrown at the other end. */
export function toError(error: { readonly code?: DataplaneErrorCode; readonly message: string }): Error {
  if (error.code === undefined) return new Error(error.message);
  return new DataplaneError(error.code, error.message.replace(`${error.code}: `, ""));
}

function isIterable(value: unknown): value is Iterable<unknown> {
  return typeof value === "object" && value !== null && Symbol.iterator in value;
}
