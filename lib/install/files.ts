/** Files that others read at any moment: they are there as a whole or not at all, whatever dies when. */
import {
  accessSync,
  closeSync,
  constants,
  fchmodSync,
  fsyncSync,
  linkSync,
  lstatSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { lockFileSync } from "../sys/index.ts";
import { InstallError } from "./errors.ts";

/** What happened to a file, or would. */
export interface Step {
  readonly path: string;
  readonly action: "written" | "linked" | "unchanged" | "left alone" | "removed";
  /** Where the action alone does not tell. */
  readonly why?: string;
}

/** Begins the names of all that is unfinished. */
const UNFINISHED = ".calico-install.";
/** No runtime takes it for a configuration: those end in .conf, .conflist or .json, and may begin with a point. */
const unfinishedOf = (name: string): string => `${UNFINISHED}${name}.new`;
const LOCK = `${UNFINISHED}lock`;
const CHUNK = 1 << 20;
const PERMISSIONS = 0o7777;

/** Does the work as the only installer in the folder. What an earlier one left unfinished is gone then. */
export function inFolder<T>(folder: string, work: () => T): T {
  return translated(`write in ${folder}`, () => {
    using _lock = lockFileSync(join(folder, LOCK), { timeout: 60_000 });
    for (const name of readdirSync(folder))
      if (name.startsWith(UNFINISHED) && name !== LOCK) rmSync(join(folder, name), { force: true });
    return work();
  });
}

/** Writes a text to a file of the folder, which {@link inFolder} holds; one that says so already, with that mode, keeps its inode. */
export function placeText(folder: string, name: string, text: string, mode: number, dryRun = false): Step {
  const path = join(folder, name);
  const bytes = Buffer.from(text);
  const found = regular(path);
  if (found && found.size === bytes.length && found.mode === mode && contentOf(path).equals(bytes))
    return { path, action: "unchanged" };
  if (!dryRun) {
    const unfinished = join(folder, unfinishedOf(name));
    writeNew(unfinished, mode, (fd) => writeAll(fd, bytes, bytes.length));
    renameSync(unfinished, path);
    syncFolder(folder);
  }
  return { path, action: "written" };
}

/**
 * Puts an executable into the folder, which {@link inFolder} holds, under each of the names: as one file with several links where the file
 * system has those. A name that leads to the same bytes already is left as it is: whoever runs it, or is about to, notices nothing. One that
 * runs and is replaced goes on with the file that it began with.
 */
export function placeExecutable(source: string, folder: string, names: readonly string[], dryRun = false): Step[] {
  let done = names.find((name) => isSame(source, join(folder, name)));
  return names.map((name) => {
    const path = join(folder, name);
    if (name === done || isSame(source, path)) return { path, action: "unchanged" };
    const linked = done !== undefined;
    if (!dryRun) {
      const unfinished = join(folder, unfinishedOf(name));
      if (done === undefined || !tryLink(join(folder, done), unfinished)) copyNew(source, unfinished);
      renameSync(unfinished, path);
      // rename() does nothing where both names are links of one file already.
      rmSync(unfinished, { force: true });
      syncFolder(folder);
    }
    done ??= name;
    return { path, action: linked ? "linked" : "written" };
  });
}

/** Takes a file away. */
export function removeFile(path: string, dryRun = false): Step {
  if (!dryRun) translated(`remove ${path}`, () => rmSync(path, { force: true }));
  return { path, action: "removed" };
}

/** Whether files can be made in it. */
export function isWritable(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return lstatSync(`${folder}/.`).isDirectory();
  } catch {
    return false;
  }
}

/** The whole of a file. */
export function contentOf(path: string): Buffer {
  const fd = openSync(path, constants.O_RDONLY);
  try {
    const parts: Buffer[] = [];
    for (;;) {
      const chunk = Buffer.alloc(64 * 1024);
      const count = readSync(fd, chunk);
      if (count === 0) return Buffer.concat(parts);
      parts.push(chunk.subarray(0, count));
    }
  } finally {
    closeSync(fd);
  }
}

/** What the file system says becomes an {@link InstallError}. */
export function translated<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof InstallError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    const remedy =
      code === "EROFS"
        ? "; the file system is read-only: mount another folder, or set UPDATE_CNI_BINARIES=false where the node brings the executables"
        : code === "EACCES" || code === "EPERM"
          ? "; it takes root, and SELinux or AppArmor may forbid it all the same"
          : code === "ENOSPC"
            ? "; the disk is full"
            : "";
    throw new InstallError("FILES", `cannot ${what}: ${message}${remedy}`, { cause: error });
  }
}

/** Undefined: there is no file of this name; a link or a folder is none. */
function regular(path: string): { readonly size: number; readonly mode: number } | undefined {
  const found = lstatSync(path, { throwIfNoEntry: false });
  return found?.isFile() ? { size: found.size, mode: found.mode & PERMISSIONS } : undefined;
}

const EXECUTABLE = 0o755;

function isSame(source: string, path: string): boolean {
  const found = regular(path);
  if (found?.mode !== EXECUTABLE) return false;
  const from = openSync(source, constants.O_RDONLY);
  try {
    const to = openSync(path, constants.O_RDONLY);
    try {
      const [a, b] = [Buffer.alloc(CHUNK), Buffer.alloc(CHUNK)];
      for (;;) {
        const [length, other] = [fill(from, a), fill(to, b)];
        if (length !== other || a.compare(b, 0, length, 0, length) !== 0) return false;
        if (length < CHUNK) return true;
      }
    } finally {
      closeSync(to);
    }
  } finally {
    closeSync(from);
  }
}

/** How much was left to read, up to the length of the buffer. */
function fill(fd: number, buffer: Buffer): number {
  let length = 0;
  while (length < buffer.length) {
    const count = readSync(fd, buffer, length, buffer.length - length, null);
    if (count === 0) break;
    length += count;
  }
  return length;
}

/** False where the file system has no links, or no room for one more. */
function tryLink(from: string, to: string): boolean {
  try {
    linkSync(from, to);
    return true;
  } catch {
    return false;
  }
}

function copyNew(source: string, path: string): void {
  const from = openSync(source, constants.O_RDONLY);
  try {
    const buffer = Buffer.alloc(CHUNK);
    writeNew(path, EXECUTABLE, (fd) => {
      for (let length = fill(from, buffer); length > 0; length = fill(from, buffer)) writeAll(fd, buffer, length);
    });
  } finally {
    closeSync(from);
  }
}

/** On the disk and closed when this returns: a file that is open for writing cannot be executed. */
function writeNew(path: string, mode: number, write: (fd: number) => void): void {
  const fd = openSync(path, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  try {
    write(fd);
    fchmodSync(fd, mode);
    fsyncSync(fd);
  } catch (error) {
    rmSync(path, { force: true });
    throw error;
  } finally {
    closeSync(fd);
  }
}

function writeAll(fd: number, bytes: Buffer, length: number): void {
  for (let at = 0; at < length; ) at += writeSync(fd, bytes, at, length - at);
}

/** Without it a power cut may undo the renaming. */
function syncFolder(folder: string): void {
  const fd = openSync(folder, constants.O_RDONLY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
