/** Configuration files: checked apart, replaced by renaming. */
import { spawn } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { BirdError } from "./errors.ts";
import { RESOURCE } from "./words.ts";

/** Text by file name. */
export type BirdFiles = Readonly<Record<string, string>>;

/** A name is a file in the folder, and none of ours that are on their way. */
export function checkNames(files: BirdFiles, main: string): void {
  for (const name of Object.keys(files)) {
    if (name !== basename(name) || name.startsWith(".")) throw new RangeError(`"${name}" is no file name`);
  }
  if (!Object.hasOwn(files, main)) throw new RangeError(`there is no ${main} among the files`);
}

/** What is in the folder now under these names; absent files are undefined. */
export async function currentFiles(folder: string, names: readonly string[]): Promise<Map<string, string | undefined>> {
  const read = async (name: string) => [name, await readFile(join(folder, name), "utf8").catch(absent)] as const;
  return new Map(await Promise.all(names.map(read)));
}

/** Each by renaming, the main file last: whoever reads it finds the others. Passwords are in them: nobody else may read. */
export async function replaceFiles(
  folder: string,
  files: ReadonlyMap<string, string | undefined>,
  main: string,
  mode: number,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [name, text] of [...files].toSorted(([a], [b]) => Number(a === main) - Number(b === main))) {
    const path = join(folder, name);
    if (text === undefined) {
      await rm(path, { force: true });
    } else {
      const fresh = join(folder, `.${name}.new`);
      await rm(fresh, { force: true });
      await writeFile(fresh, text, { mode });
      await rename(fresh, path);
    }
  }
}

/** What an end in the middle of a check, or of a replacement, left. */
export async function removeLeftovers(folder: string): Promise<void> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => absent(error) ?? []);
  const ours = names.filter((name) => /^\.check-|^\..+\.new$/.test(name));
  await Promise.all(ours.map((name) => rm(join(folder, name), { recursive: true, force: true })));
}

/** Runs `check` on a copy of the files in a folder of their own beside the real one. */
export async function withCopy(
  folder: string,
  files: BirdFiles,
  main: string,
  mode: number,
  check: (main: string) => Promise<void>,
): Promise<void> {
  await mkdir(folder, { recursive: true });
  const copy = await mkdtemp(join(folder, ".check-"));
  try {
    await replaceFiles(copy, new Map(Object.entries(files)), main, mode);
    await check(join(copy, main));
  } finally {
    await rm(copy, { recursive: true, force: true });
  }
}

export interface ParseRun {
  readonly status: number | null;
  readonly output: string;
}

/** `bird -p`. Undefined: there is no such executable. */
export function runParser(
  executable: string,
  path: string,
  environment: NodeJS.ProcessEnv,
  timeoutMs: number,
): Promise<ParseRun | undefined> {
  const { promise, resolve, reject } = Promise.withResolvers<ParseRun | undefined>();
  const child = spawn(executable, ["-p", "-c", path], {
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: timeoutMs,
  });
  let output = "";
  const collect = (chunk: Buffer): void => {
    if (output.length < 65_536) output += chunk.toString();
  };
  child.stdout.on("data", collect);
  child.stderr.on("data", collect);
  child.on("error", (error: NodeJS.ErrnoException) => (error.code === "ENOENT" ? resolve(undefined) : reject(error)));
  child.on("close", (status) => resolve({ status, output }));
  return promise;
}

/** BIRD's complaint as an error that names line and resource. BIRD 2: `file:12:3 text`; BIRD 1.6: `file, line 12: text`. */
export function refusal(output: string, files: BirdFiles): BirdError {
  const complaint = output.trim() || "no reason given";
  const found = /(\S+?)(?::(\d+):\d+|, line (\d+):?)\s+(.*)/.exec(complaint);
  const file = basename(found?.[1] ?? "");
  const line = Number(found?.[2] ?? found?.[3]);
  const text = files[file];
  if (!found || text === undefined || !(line > 0))
    return new BirdError("BIRD_REFUSED", `BIRD refused the configuration: ${complaint}`);
  const resource = resourceAt(text, line);
  const of = resource === undefined ? "" : `, of ${resource}`;
  return new BirdError(
    "BIRD_REFUSED",
    `BIRD refused line ${line} of ${file}${of}: ${found[4]}; the configuration before it stays in force`,
    {
      file,
      line,
      ...(resource !== undefined && { resource }),
    },
  );
}

/** What the comment at the head of its paragraph says; lines count from 1. A paragraph without one is of no resource. */
export function resourceAt(text: string, line: number): string | undefined {
  const above = text.split("\n").slice(0, line).toReversed();
  const end = above.findIndex((one) => one.trim() === "");
  const comment = above.slice(0, end < 0 ? above.length : end).find((one) => one.startsWith(RESOURCE));
  return comment?.slice(RESOURCE.length).trim();
}

function absent(error: NodeJS.ErrnoException): undefined {
  if (error.code === "ENOENT") return undefined;
  throw error;
}
