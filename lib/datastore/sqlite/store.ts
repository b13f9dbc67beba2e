import { Database, type Statement } from "bun:sqlite";
import { lockFileSync } from "../../sys/index.ts";
import type { SqliteConfig } from "../config.ts";
import { DatastoreError } from "../errors.ts";
import type { Compare, KeyValueStore, Range, ReadResult, Stored, StoreEvent, TransactResult, Write } from "../store.ts";
import { Gap } from "../store.ts";
import { sqliteError, textField } from "./errors.ts";
import { checkFile, createFile, lockPath } from "./file.ts";
import { type Row, stored } from "./rows.ts";

/**
 * The embedded datastore: one file in WAL mode that any number of processes of one machine share. Opening an existing file does
 * next to nothing, statements are prepared when they are first needed, and one transaction costs one sync of the disk.
 *
 * Writers take a file lock first: SQLite's own back-off can leave one process waiting for seconds while others pass it. The wait is
 * bounded, because whoever holds the lock may have been stopped.
 */
const TIMEOUT = 10_000;

/** Changes that are kept for watches that were away, and how often the older ones are removed. */
const KEPT_CHANGES = 4096;
const TRIM_EVERY = 256;

/** How often watches look whether another process wrote; one look costs a microsecond. */
const POLL = 25;

/**
 * Pages of the write-ahead log after which a brief process folds it in. The first process to open a file that nobody has open reads
 * the whole log, so it is kept short where processes come and go.
 */
const BRIEF_CHECKPOINT = 100;

const COLUMNS = "key, value, modified, created";

/** How long to wait between attempts when another process is at work, in milliseconds. */
const PAUSE = 0.3;

/** Opens the datastore, making it when there is none. */
export function openSqlite(config: SqliteConfig): SqliteStore {
  const { file, timeout = TIMEOUT } = config;
  let database: Database | undefined;
  try {
    database = openExisting(file);
    if (!database) {
      createFile(file, timeout);
      database = new Database(file, { readwrite: true, create: false });
    }
    const opened = database;
    patiently(performance.now() + timeout, () => checkFile(file, opened));
    // FULL is what Bun's SQLite begins with.
    if (config.synchronous === "normal") database.run("PRAGMA synchronous = NORMAL");
    if (config.brief) database.run(`PRAGMA wal_autocheckpoint = ${BRIEF_CHECKPOINT}`);
    return new SqliteStore(file, database, timeout, config.brief ?? false);
  } catch (error) {
    database?.close();
    throw sqliteError(file, error);
  }
}

/** Undefined when there is no such file. */
function openExisting(file: string): Database | undefined {
  try {
    return new Database(file, { readwrite: true, create: false });
  } catch (error) {
    // Whether it exists cannot be asked now: another process may just have made it.
    if (textField(error, "code") === "SQLITE_CANTOPEN") return undefined;
    throw error;
  }
}

/** Repeats `work` while another process is in the way, until `deadline` (of `performance.now()`). */
function patiently<T>(deadline: number, work: () => T): T {
  for (;;) {
    try {
      return work();
    } catch (error) {
      const left = deadline - performance.now();
      if (!textField(error, "code").startsWith("SQLITE_BUSY") || left <= 0) throw error;
      Bun.sleepSync(PAUSE * (0.5 + Math.random()));
    }
  }
}

export class SqliteStore implements KeyValueStore {
  readonly name: string;
  readonly #statements = new Map<string, Statement>();
  readonly #waiting = new Set<() => void>();
  #timer: ReturnType<typeof setInterval> | undefined;
  #dataVersion = -1;
  #closed = false;

  constructor(
    readonly file: string,
    readonly database: Database,
    readonly timeout: number,
    readonly brief: boolean,
  ) {
    this.name = `sqlite ${file}`;
  }

  async read(ranges: readonly Range[]): Promise<ReadResult> {
    return this.#read(() => ({
      revision: this.#revision(),
      results: this.#ranges(ranges),
    }));
  }

  async transact(compares: readonly Compare[], writes: readonly Write[]): Promise<TransactResult> {
    const result = this.#write(() => this.#apply(compares, writes));
    if (result.succeeded && this.#waiting.size > 0) for (const wake of [...this.#waiting]) wake();
    return result;
  }

  async *watch(range: Range, from: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]> {
    const ended = new AbortController();
    const either = AbortSignal.any([signal, ended.signal]);
    const { changesAfter } = await import("./changes.ts");
    try {
      for (let seen = from; !signal.aborted && !this.#closed; ) {
        const changed = this.#nextChange(either);
        const { events, revision } = this.#read(() =>
          changesAfter((sql) => this.#statement(sql), range, seen, this.#revision()),
        );
        seen = revision;
        if (events.length > 0) yield events;
        await changed;
      }
    } finally {
      ended.abort();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#waiting.size > 0) for (const wake of [...this.#waiting]) wake();
    if (this.brief) return;
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    try {
      this.database.close();
    } catch (error) {
      throw sqliteError(this.file, error);
    }
  }

  /** Forgets old changes but for the last `keep`; watches that have not seen them list again. */
  compact(keep: number): void {
    this.#write(() => {
      this.#statement("DELETE FROM changes WHERE revision < ?1").run(this.#revision() - keep + 1);
    });
  }

  #apply(compares: readonly Compare[], writes: readonly Write[]): TransactResult {
    const before = this.#revision();
    const current: (Stored | undefined)[] = [];
    const known = new Map<string, Stored | undefined>();
    let hold = true;
    for (const compare of compares) {
      const stored = this.#get(compare.key);
      current.push(stored);
      known.set(compare.key, stored);
      if (!holds(compare, stored)) hold = false;
    }
    if (!hold) return { succeeded: false, revision: before, current };
    const revision = before + 1;
    let changed = false;
    const previous: (Stored | undefined)[] = [];
    for (const { key, value } of writes) {
      const old = known.has(key) ? known.get(key) : this.#get(key);
      previous.push(value === undefined ? old : undefined);
      if (value === undefined && !old) continue;
      changed = true;
      this.#statement("INSERT INTO changes (revision, key, value, modified, created) VALUES (?1, ?2, ?3, ?4, ?5)").run(
        revision,
        key,
        old?.value ?? null,
        old?.modRevision ?? null,
        old?.createRevision ?? null,
      );
      if (value === undefined) {
        this.#statement("DELETE FROM kv WHERE key = ?1").run(key);
        continue;
      }
      this.#statement(`INSERT OR REPLACE INTO kv (${COLUMNS}) VALUES (?1, ?2, ?3, ?4)`).run(
        key,
        value,
        revision,
        old?.createRevision ?? revision,
      );
    }
    if (changed && revision % TRIM_EVERY === 0)
      this.#statement("DELETE FROM changes WHERE revision < ?1").run(revision - KEPT_CHANGES);
    return { succeeded: true, revision: changed ? revision : before, previous };
  }

  #revision(): number {
    return (this.#statement("SELECT max(revision) AS revision FROM changes").get() as { revision: number }).revision;
  }

  #get(key: string): Stored | undefined {
    const row = this.#statement(`SELECT ${COLUMNS} FROM kv WHERE key = ?1`).get(key) as Row | null;
    return row ? stored(row) : undefined;
  }

  #ranges(ranges: readonly Range[]): Stored[][] {
    const results: Stored[][] = [];
    for (const range of ranges) {
      const found: Stored[] = [];
      results.push(found);
      if ("key" in range) {
        const one = this.#get(range.key);
        if (one) found.push(one);
      } else {
        const rows = this.#statement(`SELECT ${COLUMNS} FROM kv WHERE key >= ?1 AND key < ?2 ORDER BY key`);
        for (const row of rows.all(range.start, range.end) as Row[]) found.push(stored(row));
      }
    }
    return results;
  }

  #statement(sql: string): Statement {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Runs `work` in a transaction that commits when it returns, and is undone when it throws. */
  #transaction<T>(begin: "BEGIN" | "BEGIN IMMEDIATE", work: () => T): T {
    this.#statement(begin).run();
    try {
      const result = work();
      this.#statement("COMMIT").run();
      return result;
    } catch (error) {
      // A full disk, among others, has ended the transaction already.
      if (this.database.inTransaction) this.#statement("ROLLBACK").run();
      throw error;
    }
  }

  #read<T>(work: () => T): T {
    return this.#guard(() => patiently(this.#deadline(), () => this.#transaction("BEGIN", work)));
  }

  #write<T>(work: () => T): T {
    return this.#guard(() => {
      const deadline = this.#deadline();
      using _lock = lockFileSync(lockPath(this.file), { timeout: this.timeout });
      return patiently(deadline, () => this.#transaction("BEGIN IMMEDIATE", work));
    });
  }

  #deadline(): number {
    return performance.now() + this.timeout;
  }

  #guard<T>(work: () => T): T {
    if (this.#closed) throw new DatastoreError("UNAVAILABLE", `${this.name}: the client is closed`);
    try {
      return work();
    } catch (error) {
      throw error instanceof Gap ? error : sqliteError(this.file, error);
    }
  }

  /** Resolves at the next change by this or another process, or when the signal aborts. */
  #nextChange(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#waiting.delete(done);
        signal.removeEventListener("abort", done);
        if (this.#waiting.size === 0) {
          clearInterval(this.#timer);
          this.#timer = undefined;
        }
        resolve();
      };
      this.#waiting.add(done);
      signal.addEventListener("abort", done);
      this.#timer ??= setInterval(() => this.#poll(), POLL);
    });
  }

  #poll(): void {
    const { data_version: version } = this.#statement("PRAGMA data_version").get() as { data_version: number };
    if (version === this.#dataVersion) return;
    this.#dataVersion = version;
    for (const wake of [...this.#waiting]) wake();
  }
}

function holds(compare: Compare, current: Stored | undefined): boolean {
  if (compare.modRevision === "any") return current !== undefined;
  return (current?.modRevision ?? 0) === compare.modRevision;
}
