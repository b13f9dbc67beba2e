import { Database, type Statement } from "bun:sqlite";
import { lockFileSync, pathExists } from "../../sys/index.ts";
import type { SqliteConfig } from "../config.ts";
import { DatastoreError } from "../errors.ts";
import type { Compare, KeyValueStore, Range, ReadResult, Stored, StoreEvent, TransactResult, Write } from "../store.ts";
import { Gap, inRange } from "../store.ts";
import { isBusy, replacedWhileOpen, sqliteError, textField } from "./errors.ts";
import { checkFile, createFile, hasMoved, lockPath } from "./file.ts";

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
/** What the kept changes may hold of earlier values, in bytes: a block with large attributes must not grow the file without end. */
const KEPT_BYTES = 16 * 2 ** 20;

/** How often who only reads looks whether the path still names the open file, in milliseconds; who writes looks every time. */
const LOOK = 1000;

/** What is left of a write-ahead log that a long read made grow, in bytes; the size at which it is folded in usually. */
const LOG_LIMIT = 4 * 2 ** 20;

/**
 * Pages of the write-ahead log after which a brief process folds it in. The first process to open a file that nobody has open reads
 * the whole log, so it is kept short where processes come and go.
 */
const BRIEF_CHECKPOINT = 100;

const COLUMNS = "key, value, modified, created";
const ONE = `SELECT ${COLUMNS} FROM kv WHERE key = ?1`;

/** A row of `kv`. */
export interface Row {
  key: string;
  value: string;
  modified: number;
  created: number;
}

const stored = (row: Row): Stored => ({
  key: row.key,
  value: row.value,
  modRevision: row.modified,
  createRevision: row.created,
});

/** All changes after a revision, up to another. */
interface News {
  readonly from: number;
  readonly events: readonly StoreEvent[];
  readonly revision: number;
}

/** How long to wait between attempts when another process is at work, in milliseconds. */
const PAUSE = 0.3;

/** Opens the datastore, making it when there is none. */
export function openSqlite(config: SqliteConfig): SqliteStore {
  const { file, timeout = TIMEOUT } = config;
  let database: Database | undefined;
  try {
    database = openExisting(file);
    if (!database) {
      if (config.create === false) refuseAbsent(file);
      else createFile(file, timeout);
      database = new Database(file, { readwrite: true, create: false });
    }
    settle(config, database);
    return new SqliteStore(config, database, timeout);
  } catch (error) {
    database?.close();
    throw sqliteError(file, error);
  }
}

/** Whoever only looks or removes must not take an empty datastore for the one that is not there. */
function refuseAbsent(file: string): void {
  if (pathExists(file)) return;
  throw new DatastoreError(
    "UNAVAILABLE",
    `sqlite ${file}: does not exist: check the file's name and that its disk is mounted`,
  );
}

/** Makes sure that an opened file is a datastore, and sets what belongs to the connection. */
function settle({ file, timeout = TIMEOUT, synchronous, brief }: SqliteConfig, database: Database): void {
  let pragmas = `PRAGMA journal_size_limit = ${LOG_LIMIT}`;
  // FULL is what Bun's SQLite begins with.
  if (synchronous === "normal") pragmas += "; PRAGMA synchronous = NORMAL";
  if (brief) pragmas += `; PRAGMA wal_autocheckpoint = ${BRIEF_CHECKPOINT}`;
  patiently(performance.now() + timeout, () => {
    checkFile(file, database, timeout);
    database.run(pragmas);
  });
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
      if (!isBusy(error) || left <= 0) throw error;
      Bun.sleepSync(PAUSE * (0.5 + Math.random()));
    }
  }
}

export class SqliteStore implements KeyValueStore {
  readonly name: string;
  readonly #statements = new Map<string, Statement>();
  readonly #waiting = new Set<() => void>();
  /** There while there are watches. */
  #notice: Disposable | undefined;
  /** What was read last for a watch; nothing has been noticed since. */
  #news: News | undefined;
  #dataVersion = -1;
  #closed = false;
  /** When the path was last compared with the open file. */
  #looked = performance.now();
  /** The path names another file than the one that was open, and that one is not open yet. */
  #lost = false;
  /** How many files have been lost so far: what a watch has seen of one says nothing about the next. */
  #generation = 0;
  readonly file: string;
  readonly brief: boolean;

  constructor(
    readonly config: SqliteConfig,
    public database: Database,
    readonly timeout: number,
  ) {
    this.file = config.file;
    this.brief = config.brief ?? false;
    this.name = `sqlite ${config.file}`;
  }

  async read(ranges: readonly Range[]): Promise<ReadResult> {
    return this.#read(() => ({
      revision: this.#revision(),
      results: this.#ranges(ranges),
    }));
  }

  async transact(compares: readonly Compare[], writes: readonly Write[]): Promise<TransactResult> {
    const result = this.#write(() => this.#apply(compares, writes));
    if (result.succeeded && this.#waiting.size > 0) this.#wake();
    return result;
  }

  async *watch(range: Range, from: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]> {
    const generation = this.#generation;
    const [{ changesAfter }, { noticeWrites }] = await Promise.all([import("./changes.ts"), import("./notice.ts")]);
    const replaced = () => {
      if (this.#generation !== generation) throw new Gap(`${this.name} was replaced or removed while open`);
    };
    const changes = (seen: number): News => {
      // Watches that have seen the same, which is nearly all there are, ask the same question when something wakes them.
      const known = this.#news;
      if (known?.from === seen && this.#generation === generation) return known;
      try {
        return this.#read(() => {
          replaced();
          const news = {
            from: seen,
            ...changesAfter((sql) => this.#statement(sql), stored, seen, this.#revision()),
          };
          this.#news = news;
          return news;
        });
      } catch (error) {
        replaced();
        throw error;
      }
    };
    let wake = () => {};
    const waiting = () => wake();
    this.#waiting.add(waiting);
    signal.addEventListener("abort", waiting);
    try {
      if (!this.#closed) this.#notice ??= noticeWrites(this.file, () => this.#noticed());
      for (let seen = from; !signal.aborted && !this.#closed; ) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve;
        });
        const { events, revision } = changes(seen);
        seen = revision;
        const ours = events.filter((event) => inRange(range, event.type === "put" ? event.stored.key : event.key));
        if (ours.length > 0) yield ours;
        if (signal.aborted || this.#closed) return;
        await changed;
      }
    } finally {
      signal.removeEventListener("abort", waiting);
      this.#waiting.delete(waiting);
      if (this.#waiting.size === 0) this.#ignoreWrites();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#ignoreWrites();
    if (this.#waiting.size > 0) this.#wake();
    if (this.brief || this.#lost) return;
    try {
      this.#disconnect();
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
    const get = this.#statement(ONE);
    const current: (Stored | undefined)[] = [];
    const known = new Map<string, Stored | undefined>();
    let hold = true;
    for (const compare of compares) {
      const row = get.get(compare.key) as Row | null;
      const found = row ? stored(row) : undefined;
      current.push(found);
      known.set(compare.key, found);
      if (!holds(compare, found)) hold = false;
    }
    if (!hold) return { succeeded: false, revision: before, current };
    const revision = before + 1;
    let changed = false;
    const previous: (Stored | undefined)[] = [];
    const log = this.#statement(
      "INSERT INTO changes (revision, key, value, modified, created) VALUES (?1, ?2, ?3, ?4, ?5)",
    );
    for (const { key, value } of writes) {
      let old = known.get(key);
      if (old === undefined && !known.has(key)) {
        const row = get.get(key) as Row | null;
        if (row) old = stored(row);
      }
      previous.push(value === undefined ? old : undefined);
      if (value === undefined && !old) continue;
      changed = true;
      log.run(revision, key, old?.value ?? null, old?.modRevision ?? null, old?.createRevision ?? null);
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
    if (changed && revision % TRIM_EVERY === 0) this.#trim(revision);
    return { succeeded: true, revision: changed ? revision : before, previous };
  }

  /** Forgets changes that are too many or too large to keep; the last one, of `revision`, stays in any case. */
  #trim(revision: number): void {
    const tooLarge = this.#statement(`
      SELECT max(revision) AS revision FROM (
        SELECT revision, sum(octet_length(value)) OVER (ORDER BY revision DESC, key DESC) AS bytes FROM changes
      ) WHERE bytes > ${KEPT_BYTES}`).get() as { revision: number | null };
    const oldest = Math.max(revision - KEPT_CHANGES, (tooLarge.revision ?? 0) + 1);
    this.#statement("DELETE FROM changes WHERE revision < ?1").run(Math.min(oldest, revision));
  }

  #revision(): number {
    return (this.#statement("SELECT max(revision) AS revision FROM changes").get() as { revision: number }).revision;
  }

  #ranges(ranges: readonly Range[]): Stored[][] {
    const get = this.#statement(ONE);
    const results: Stored[][] = [];
    for (const range of ranges) {
      const found: Stored[] = [];
      results.push(found);
      if ("key" in range) {
        const row = get.get(range.key) as Row | null;
        if (row) found.push(stored(row));
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
    return this.#guard(() => {
      const now = performance.now();
      if (now - this.#looked > LOOK) {
        this.#look(now);
        if (this.#lost) this.#reopen();
      }
      return patiently(now + this.timeout, () => this.#transaction("BEGIN", work));
    });
  }

  #write<T>(work: () => T): T {
    return this.#guard(() => {
      const now = performance.now();
      const deadline = now + this.timeout;
      using _lock = lockFileSync(lockPath(this.file), { timeout: this.timeout });
      // What the caller decided on was read from the other file.
      this.#look(now);
      if (this.#lost) throw replacedWhileOpen(this.file);
      return patiently(deadline, () => this.#transaction("BEGIN IMMEDIATE", work));
    });
  }

  #guard<T>(work: () => T): T {
    if (this.#closed) throw new DatastoreError("UNAVAILABLE", `${this.name}: the client is closed`);
    try {
      if (this.#lost) this.#reopen();
      return work();
    } catch (error) {
      throw error instanceof Gap ? error : sqliteError(this.file, error);
    }
  }

  /** Lets go of the open file when the path does not name it any more. `now` is of `performance.now()`. */
  #look(now: number): void {
    this.#looked = now;
    if (!hasMoved(this.database)) return;
    this.#lost = true;
    this.#generation++;
    this.#dataVersion = -1;
    // SQLite looks as well before it removes a log: that of the new file stays.
    this.#disconnect();
    this.#wake();
  }

  /** Opens what the path names now. Never makes a file: a missing one is the operator's to put back, or to make anew. */
  #reopen(): void {
    const database = openExisting(this.file);
    if (!database) throw replacedWhileOpen(this.file);
    try {
      settle(this.config, database);
    } catch (error) {
      database.close();
      throw error;
    }
    this.database = database;
    this.#lost = false;
    this.#looked = performance.now();
  }

  #disconnect(): void {
    for (const statement of this.#statements.values()) statement.finalize();
    this.#statements.clear();
    this.database.close();
  }

  /** Lets the watches look. */
  #wake(): void {
    this.#news = undefined;
    for (const wake of [...this.#waiting]) wake();
  }

  #ignoreWrites(): void {
    this.#notice?.[Symbol.dispose]();
    this.#notice = undefined;
  }

  /** Another process may have written. Whatever goes wrong here is for the watches: their next read meets it, where it can be tried again. */
  #noticed(): void {
    try {
      const now = performance.now();
      if (now - this.#looked > LOOK) this.#look(now);
      if (!this.#lost) {
        const { data_version: version } = this.#statement("PRAGMA data_version").get() as { data_version: number };
        if (version === this.#dataVersion) return;
        this.#dataVersion = version;
      }
    } catch {
      this.#dataVersion = -1;
    }
    this.#wake();
  }
}

function holds(compare: Compare, current: Stored | undefined): boolean {
  if (compare.modRevision === "any") return current !== undefined;
  return (current?.modRevision ?? 0) === compare.modRevision;
}
