import { Database } from "bun:sqlite";
import { allocate, folderOf, lockFileSync, makeFolder, pathExists } from "../../sys/index.ts";
import { DatastoreError } from "../errors.ts";
import { howToRestore } from "./errors.ts";

/** "CALI": marks the file as ours, so that another program's database is never written to. */
export const APPLICATION_ID = 0x43414c49;
export const SCHEMA_VERSION = 1;

/**
 * `kv` is the data. `changes` is what happened, for watches: what each key held before each change (its value after a change is
 * what it held before the next one, or holds now). The revision of the store is that of the last change, so the last change is never
 * removed. Revisions begin at the time in milliseconds: a file that is made anew does not repeat those of the one before, which
 * somebody may have kept.
 */
const schema = (): string => `
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
BEGIN;
CREATE TABLE kv (
  key TEXT NOT NULL PRIMARY KEY,
  value TEXT NOT NULL,
  modified INTEGER NOT NULL,
  created INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE changes (
  revision INTEGER NOT NULL,
  key TEXT NOT NULL,
  value TEXT,
  modified INTEGER,
  created INTEGER,
  PRIMARY KEY (revision, key)
) STRICT, WITHOUT ROWID;
INSERT INTO changes (revision, key) VALUES (${Date.now()}, '');
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};
COMMIT;
`;

/** The lock that writers take first. */
export const lockPath = (file: string): string => `${file}-lock`;

/**
 * Makes a new, empty datastore at `file` unless another process was quicker. It appears complete or not at all: it is made under
 * another name and then renamed, so a process that is killed half-way leaves nothing that looks like a datastore.
 */
export function createFile(file: string, timeout: number): void {
  const { chmodSync, closeSync, openSync, renameSync, rmSync } = files();
  const folder = folderOf(file);
  if (!pathExists(folder)) makeFolder(folder, 0o700);
  using _lock = lockFileSync(lockPath(file), { timeout });
  if (pathExists(file)) return;
  const draft = `${file}-new`;
  for (const leftover of [draft, `${draft}-wal`, `${draft}-shm`, `${draft}-journal`]) rmSync(leftover, { force: true });
  // A -wal file without its database is the rest of one that was removed: it must not be replayed into the new one.
  for (const rest of [`${file}-wal`, `${file}-shm`]) rmSync(rest, { force: true });
  closeSync(openSync(draft, "wx", 0o600));
  chmodSync(draft, 0o600);
  const database = new Database(draft, { readwrite: true, create: false });
  try {
    database.exec(schema());
  } finally {
    database.close(true);
  }
  sync(draft);
  renameSync(draft, file);
  sync(folder);
}

/** CORRUPT unless an opened file is a datastore of ours. */
export function checkFile(file: string, database: Database, timeout: number): void {
  const pragma = (name: string): unknown => {
    using statement = database.prepare(`PRAGMA ${name}`);
    return (statement.get() as Record<string, unknown>)[name];
  };
  const found = { id: pragma("application_id"), version: pragma("user_version") };
  if (found.id === APPLICATION_ID && found.version === SCHEMA_VERSION) {
    if (pragma("journal_mode") !== "wal") adoptBackup(file, database, timeout);
    return;
  }
  if (found.id === APPLICATION_ID)
    throw new DatastoreError(
      "CONFIG",
      `sqlite ${file}: has layout ${found.version}, this version reads layout ${SCHEMA_VERSION}: use the version that wrote it`,
    );
  const what = files().statSync(file).size === 0 ? "is empty" : "is not a datastore of Calico";
  throw new DatastoreError("CORRUPT", `sqlite ${file}: ${what}: ${howToRestore(file)}; it was not changed`);
}

/**
 * A file without a write-ahead log is a backup (VACUUM INTO leaves it so) that was put in the place of the datastore. Its revisions go
 * on from now: those that were given after it was made must not be given again, because somebody may have kept one.
 */
function adoptBackup(file: string, database: Database, timeout: number): void {
  using _lock = lockFileSync(lockPath(file), { timeout });
  database
    .transaction(() => {
      // Another process may have been quicker, which this transaction has noticed.
      using mode = database.prepare("PRAGMA journal_mode");
      if ((mode.get() as { journal_mode: string }).journal_mode === "wal") return;
      database.run(
        `INSERT INTO changes (revision, key) SELECT max(coalesce(max(revision), 0) + 1, ${Date.now()}), '' FROM changes`,
      );
      database.run("DELETE FROM changes WHERE revision < (SELECT max(revision) FROM changes)");
    })
    .immediate();
  database.run("PRAGMA journal_mode = WAL");
}

const HAS_MOVED = 20;

/**
 * Whether the path that was opened names another file now, or none (SQLITE_FCNTL_HAS_MOVED: one stat(2), compared with the inode of the
 * open file).
 */
export function hasMoved(database: Database): boolean {
  const answer = allocate(8);
  database.fileControl(HAS_MOVED, answer);
  return answer[0] !== 0;
}

/** Making a datastore is rare; opening one, which every plugin does, must not load node:fs. */
const files = () => process.getBuiltinModule("node:fs");

function sync(path: string): void {
  const { closeSync, fsyncSync, openSync } = files();
  const fd = openSync(path, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
