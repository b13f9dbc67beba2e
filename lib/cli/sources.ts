import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "./errors.ts";
import type { Io } from "./io.ts";

/** One input to read documents from. */
export interface Source {
  /** The path as it was given, or `standard input`. */
  readonly name: string;
  readonly text: string;
}

export interface Sources {
  readonly sources: readonly Source[];
  /** Set when the argument was a folder. */
  readonly folder?: string;
}

/**
 * What `-f` means: `-` is standard input; a file is itself; of a folder, its .yaml, .yml and .json files in the order of
 * their names, and with `recursive` those of the folders in it.
 */
export async function collectSources(path: string, io: Io, options: { readonly recursive: boolean }): Promise<Sources> {
  if (path === "-") return { sources: [{ name: "standard input", text: await io.stdin() }] };
  try {
    if (!statSync(path).isDirectory()) return { sources: [{ name: path, text: readFileSync(path, "utf8") }] };
    const files = manifestsIn(path, options.recursive);
    return { sources: files.map((name) => ({ name, text: readFileSync(name, "utf8") })), folder: path };
  } catch (cause) {
    const { code, path: failed } = cause as NodeJS.ErrnoException;
    const reason =
      code === "ENOENT" ? "no such file" : code === "EACCES" ? "permission denied" : (cause as Error).message;
    throw new CliError("FILE", `cannot read ${failed ?? path}: ${reason}`, { cause });
  }
}

function manifestsIn(folder: string, recursive: boolean): string[] {
  const entries = readdirSync(folder, { withFileTypes: true }).sort((a, b) => (a.name < b.name ? -1 : 1));
  return entries.flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return recursive ? manifestsIn(path, true) : [];
    return /\.(yaml|yml|json)$/i.test(entry.name) ? [path] : [];
  });
}
