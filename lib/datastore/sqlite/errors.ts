import { folderOf } from "../../sys/index.ts";
import { DatastoreError, type DatastoreErrorCode } from "../errors.ts";

const LOCKED = "other processes kept it locked for too long: find out what holds it (fuser)";
const FORBIDDEN = "may not be written: check the file's and folder's owner, mode and mount";
const REPLACED = "was replaced or removed while open";

/** How SQLite's answers begin, as a code of ours and what would help. */
const MEANINGS: readonly (readonly [string, DatastoreErrorCode, string])[] = [
  ["SQLITE_FULL", "FULL", "no room on the disk: make room and try again; nothing was changed"],
  ["SQLITE_BUSY", "UNAVAILABLE", LOCKED],
  ["SQLITE_LOCKED", "UNAVAILABLE", LOCKED],
  ["SQLITE_PROTOCOL", "UNAVAILABLE", LOCKED],
  ["SQLITE_NOTADB", "CORRUPT", "is not an SQLite database"],
  ["SQLITE_CORRUPT", "CORRUPT", "is damaged, and neither repaired nor made anew"],
  ["SQLITE_READONLY_DBMOVED", "UNAVAILABLE", REPLACED],
  ["SQLITE_READONLY", "UNAUTHORIZED", FORBIDDEN],
  ["SQLITE_PERM", "UNAUTHORIZED", FORBIDDEN],
  ["SQLITE_AUTH", "UNAUTHORIZED", FORBIDDEN],
  ["SQLITE_CANTOPEN", "UNAVAILABLE", "cannot be opened: check that the folder exists and may be written"],
  ["SQLITE_IOERR", "UNAVAILABLE", "reading or writing the file failed: check the disk and the kernel's log"],
];

/** The DatastoreError for whatever an operation on `file` threw. */
export function sqliteError(file: string, error: unknown): DatastoreError {
  if (error instanceof DatastoreError) return error;
  const code = textField(error, "code");
  const message = error instanceof Error ? error.message : String(error);
  // The index beside the log (-shm) grows through a memory map, and SQLite calls a disk without room an I/O error there.
  if (code.startsWith("SQLITE_IOERR") && isOutOfRoom(folderOf(file)))
    return new DatastoreError("FULL", `sqlite ${file}: no room on the disk (${message})`, { cause: error });
  for (const [prefix, meaning, remedy] of MEANINGS)
    if (code.startsWith(prefix)) {
      const restore = meaning === "CORRUPT" ? `: ${howToRestore(file)}` : "";
      return new DatastoreError(meaning, `sqlite ${file}: ${remedy}${restore} (${message})`, { cause: error });
    }
  if (code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG")
    return new DatastoreError("FULL", `sqlite ${file}: no room on the disk (${message})`, { cause: error });
  if (code === "EACCES" || code === "EPERM" || code === "EROFS")
    return new DatastoreError("UNAUTHORIZED", `sqlite ${file}: may not be written (${message})`, { cause: error });
  return new DatastoreError("UNAVAILABLE", `sqlite ${file}: ${message}`, { cause: error });
}

/** What to do about a file that cannot be used. A log that is left beside it would be replayed into the backup and spoil it. */
export const howToRestore = (file: string): string =>
  `restore a backup (stop what writes it, remove ${file}-wal and ${file}-shm, then put the backup in its place), or name another file`;

/** The path does not name the file that was opened. */
export const replacedWhileOpen = (file: string): DatastoreError =>
  new DatastoreError(
    "UNAVAILABLE",
    `sqlite ${file}: ${REPLACED}; nothing was written: the file that is there now is used from the next attempt on; when there is none, put it back, or restart to begin with an empty one`,
  );

/** Another process is at work: it writes, or (PROTOCOL, BUSY_RECOVERY) reads the log in after one was killed. */
export function isBusy(error: unknown): boolean {
  const code = textField(error, "code");
  return code.startsWith("SQLITE_BUSY") || code === "SQLITE_PROTOCOL";
}

/** Not a whole step of the -shm file (32 KiB) is left. */
function isOutOfRoom(folder: string): boolean {
  try {
    const { bavail, bsize } = process.getBuiltinModule("node:fs").statfsSync(folder);
    return bavail * bsize < 32_768;
  } catch {
    return false;
  }
}

export function textField(error: unknown, field: string): string {
  const value = typeof error === "object" && error !== null ? (error as Record<string, unknown>)[field] : undefined;
  return typeof value === "string" ? value : "";
}
