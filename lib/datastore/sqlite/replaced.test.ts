import { Database } from "bun:sqlite";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { IPPool } from "../../api/ippool.ts";
import { lockFileSync } from "../../sys/index.ts";
import { DatastoreError } from "../errors.ts";
import { KeyValueClient } from "../key-value-client.ts";
import { codeOf, Watcher } from "../suite/index.ts";
import { pool } from "../suite/support.ts";
import { lockPath } from "./file.ts";
import { openSqlite, type SqliteStore } from "./store.ts";

const root = mkdtempSync(join(tmpdir(), "datastore-replaced-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let files = 0;
const fresh = (): string => join(root, `${++files}`, "datastore.db");
const open = (file: string, options: { synchronous?: "normal"; brief?: boolean } = {}): SqliteStore =>
  openSqlite({ type: "sqlite", file, ...options });

const remove = (file: string) => {
  for (const name of [file, `${file}-wal`, `${file}-shm`]) rmSync(name, { force: true });
};
/** As docs/datastore.md says. */
const backup = (file: string): string => {
  const copy = `${file}.backup-${++files}`;
  const database = new Database(file);
  database.run(`VACUUM INTO '${copy}'`);
  database.close();
  return copy;
};
const restore = (copy: string, file: string) => {
  copyFileSync(copy, `${file}.restored`);
  using _lock = lockFileSync(lockPath(file), { timeout: 5000 });
  for (const rest of [`${file}-wal`, `${file}-shm`]) rmSync(rest, { force: true });
  renameSync(`${file}.restored`, file);
};
const valueAt = async (store: SqliteStore, key: string) => (await store.read([{ key }])).results[0]![0]?.value;
const put = (store: SqliteStore, key: string, value: string | undefined) => store.transact([], [{ key, value }]);
async function eventually(condition: () => Promise<boolean>): Promise<void> {
  for (const deadline = Date.now() + 20_000; !(await condition()); ) {
    if (Date.now() > deadline) throw new Error("not in time");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

describe("a file that is replaced while it is open", () => {
  for (const brief of [false, true])
    test(`refuses the next write${brief ? " of a brief process" : ""}, then serves the new one`, async () => {
      const [file, other] = [fresh(), fresh()];
      const another = open(other);
      await put(another, "/a", "new");
      await another.close();
      const store = open(file, { brief });
      await put(store, "/a", "old");
      restore(other, file);
      const refusal = put(store, "/a", "lost");
      expect(await codeOf(refusal)).toBe("UNAVAILABLE");
      await expect(refusal).rejects.toThrow("was replaced or removed while open");
      expect(await valueAt(store, "/a")).toBe("new");
      await put(store, "/b", "1");
      const witness = open(file);
      expect(await valueAt(witness, "/b")).toBe("1");
      expect(witness.database.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
      await Promise.all([store.close(), witness.close()]);
    });

  test("is noticed by who only reads", async () => {
    const [file, other] = [fresh(), fresh()];
    const another = open(other);
    await put(another, "/a", "new");
    await another.close();
    const store = open(file);
    await put(store, "/a", "old");
    restore(other, file);
    await eventually(async () => (await valueAt(store, "/a")) === "new");
    await store.close();
  });

  test("makes watches tell the difference, and then go on", async () => {
    const file = fresh();
    const client = new KeyValueClient(open(file));
    await client.create(IPPool, pool("a", "10.0.0.0/16"));
    const watcher = new Watcher(client, IPPool);
    await watcher.count(2);
    const copy = backup(file);
    await client.create(IPPool, pool("b", "10.1.0.0/16"));
    await watcher.count(3);
    restore(copy, file);
    const writer = new KeyValueClient(open(file));
    // The restored file is as far as the old one was before anybody notices.
    await writer.create(IPPool, pool("c", "10.2.0.0/16"));
    await watcher.until((told) => told.includes("deleted b") && told.includes("added c") && told.at(-1) === "synced");
    const before = watcher.events.length;
    await writer.create(IPPool, pool("d", "10.3.0.0/16"));
    expect((await watcher.count(before + 1)).at(-1)).toBe("added d");
    await watcher.stop();
    await Promise.all([client.close(), writer.close()]);
  });

  test("makes a watch of the store end in a gap, also when the file is only removed", async () => {
    const file = fresh();
    const store = open(file);
    const { revision } = await store.read([]);
    const watch = store.watch({ key: "/a" }, revision, new AbortController().signal)[Symbol.asyncIterator]();
    const next = watch.next();
    remove(file);
    await expect(next).rejects.toMatchObject({ name: "Gap" });
    await store.close();
  });
});

describe("a file that is removed while it is open", () => {
  test("is not made anew behind the operator's back, and is taken up again when somebody made it", async () => {
    const file = fresh();
    const store = open(file);
    await put(store, "/a", "old");
    remove(file);
    expect(await codeOf(put(store, "/a", "lost"))).toBe("UNAVAILABLE");
    const refusal = valueAt(store, "/a");
    expect(await codeOf(refusal)).toBe("UNAVAILABLE");
    await expect(refusal).rejects.toThrow("was replaced or removed while open");
    expect(existsSync(file)).toBe(false);
    const maker = open(file);
    await put(maker, "/a", "new");
    expect(await valueAt(store, "/a")).toBe("new");
    await Promise.all([store.close(), maker.close()]);
  });

  test("with its folder is the same", async () => {
    const file = fresh();
    const store = open(file);
    const watcher = new Watcher(new KeyValueClient(store), IPPool);
    await watcher.count(1);
    rmSync(dirname(file), { recursive: true });
    expect(await codeOf(put(store, "/a", "lost"))).toBe("UNAVAILABLE");
    mkdirSync(dirname(file));
    const maker = new KeyValueClient(open(file));
    await maker.create(IPPool, pool("a", "10.0.0.0/16"));
    await watcher.until((told) => told.includes("added a"));
    await watcher.stop();
    await Promise.all([store.close(), maker.close()]);
  });
});

describe("a file that is made anew", () => {
  test("knows no revision of the old one", async () => {
    const file = fresh();
    const old = new KeyValueClient(open(file));
    const kept = await old.create(IPPool, pool("a", "10.0.0.0/16"));
    const { revision } = await old.list(IPPool);
    await old.close();
    remove(file);

    const client = new KeyValueClient(open(file));
    expect(await codeOf(client.update(IPPool, kept))).toBe("NOT_FOUND");
    await client.create(IPPool, pool("a", "10.9.0.0/16"));
    expect(await codeOf(client.update(IPPool, kept))).toBe("CONFLICT");
    const { resourceVersion } = kept.metadata;
    expect(await codeOf(client.delete(IPPool, { name: "a" }, { resourceVersion: resourceVersion! }))).toBe("CONFLICT");
    const watcher = new Watcher(client, IPPool, { from: revision });
    expect(await watcher.count(2)).toEqual(["added a", "synced"]);
    const added = watcher.events[0]!;
    expect(added.type === "added" && added.resource.spec.cidr).toBe("10.9.0.0/16");
    await watcher.stop();
    await client.close();
  });
});

describe("a backup", () => {
  test("that is restored knows no revision that was given after it was made", async () => {
    const file = fresh();
    const store = open(file);
    await put(store, "/a", "1");
    const copy = backup(file);
    const { revision } = await put(store, "/a", "2");
    await store.close();
    restore(copy, file);

    const restored = open(file);
    expect(await valueAt(restored, "/a")).toBe("1");
    expect(restored.database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
    await put(restored, "/a", "3");
    const update = await restored.transact([{ key: "/a", modRevision: revision }], [{ key: "/a", value: "4" }]);
    expect(update.succeeded).toBe(false);
    const watch = restored.watch({ key: "/a" }, revision, new AbortController().signal)[Symbol.asyncIterator]();
    await expect(watch.next()).rejects.toMatchObject({ name: "Gap" });
    const { revision: now } = await restored.read([]);
    await restored.close();
    // Only what was restored begins anew.
    const again = open(file);
    expect((await again.read([])).revision).toBe(now);
    await again.close();
  });

  test("is what the message about a damaged file asks for, and how", () => {
    const file = join(root, "damaged.db");
    for (const content of ["x".repeat(5000), ""]) {
      writeFileSync(file, content);
      try {
        open(file);
        expect.unreachable();
      } catch (error) {
        expect(error).toBeInstanceOf(DatastoreError);
        expect((error as DatastoreError).message).toContain(`remove ${file}-wal and ${file}-shm`);
      }
    }
  });
});

describe("the file beside others", () => {
  /** What SQLite answers to a statement, the first times it is prepared or run. */
  function disturb(store: SqliteStore, sql: string, codes: string[]): void {
    const prepare = store.database.prepare.bind(store.database);
    store.database.prepare = ((text: string) => {
      const statement = prepare(text);
      if (text !== sql) return statement;
      const fail = (): undefined => {
        const code = codes.shift();
        if (code) throw Object.assign(new Error(`as the test asked: ${code}`), { code });
      };
      return {
        get: () => fail() ?? statement.get(),
        run: () => fail() ?? statement.run(),
        finalize: () => statement.finalize(),
      };
    }) as unknown as typeof store.database.prepare;
  }

  test("waits while another process recovers the log", async () => {
    const store = open(fresh());
    disturb(store, "BEGIN", ["SQLITE_PROTOCOL", "SQLITE_BUSY_RECOVERY", "SQLITE_BUSY"]);
    expect((await store.read([{ key: "/a" }])).results).toEqual([[]]);
    await store.close();
  });

  test("tells a watch, not the process, when it cannot be looked at", async () => {
    const store = open(fresh());
    disturb(store, "PRAGMA data_version", ["SQLITE_IOERR_READ", "SQLITE_CANTOPEN", "SQLITE_PROTOCOL"]);
    disturb(store, "BEGIN", ["", "", "SQLITE_IOERR_READ", "SQLITE_BUSY"]);
    const watcher = new Watcher(new KeyValueClient(store), IPPool);
    await watcher.count(1);
    const writer = new KeyValueClient(open(store.file));
    for (const name of ["a", "b"]) {
      await writer.create(IPPool, pool(name, "10.0.0.0/16"));
      await watcher.until((told) => told.includes(`added ${name}`));
    }
    await watcher.stop();
    await Promise.all([store.close(), writer.close()]);
  });
});

describe("the log", () => {
  test("of changes keeps 16 MiB of what was, the newest", async () => {
    const store = open(fresh(), { synchronous: "normal" });
    const large = "x".repeat(256 * 1024);
    const until = async (rest: number, value: string): Promise<number> => {
      for (;;) {
        const { revision } = await put(store, "/a", value);
        if (revision % 256 === rest) return revision;
      }
    };
    await until(256 - 80, "small");
    const revision = await until(0, large);
    const kept = store.database
      .query("SELECT sum(octet_length(value)) AS bytes, max(revision) AS revision FROM changes")
      .get() as { bytes: number; revision: number };
    expect(kept.revision).toBe(revision);
    expect(kept.bytes).toBeLessThanOrEqual(16 * 2 ** 20);
    expect(kept.bytes).toBeGreaterThan(15 * 2 ** 20);
    const watching = (from: number) =>
      store.watch({ key: "/a" }, from, new AbortController().signal)[Symbol.asyncIterator]();
    const { value } = await watching(revision - 60).next();
    expect(value.length).toBe(60);
    await expect(watching(revision - 70).next()).rejects.toMatchObject({ name: "Gap" });
    await store.close();
  });

  test("of changes never loses the last one, however large", async () => {
    const store = open(fresh(), { synchronous: "normal" });
    let revision = 0;
    while (revision % 256 !== 253) revision = (await put(store, "/a", "")).revision;
    await put(store, "/large", "x".repeat(17 * 2 ** 20));
    revision = (await put(store, "/a", "")).revision;
    expect(await put(store, "/large", undefined)).toMatchObject({ succeeded: true, revision: revision + 1 });
    expect((revision + 1) % 256).toBe(0);
    expect((await store.read([])).revision).toBe(revision + 1);
    expect((await put(store, "/a", "2")).revision).toBe(revision + 2);
    await store.close();
  });

  test("of writes shrinks again after a reader held it up", async () => {
    for (const brief of [false, true]) {
      const file = fresh();
      const store = open(file, { synchronous: "normal", brief });
      const reader = new Database(file);
      reader.run("BEGIN");
      reader.query("SELECT count(*) FROM kv").get();
      const large = "x".repeat(2 ** 20);
      for (let i = 0; i < 10; i++) await put(store, `/${i}`, large);
      expect(statSync(`${file}-wal`).size).toBeGreaterThan(8 * 2 ** 20);
      reader.run("COMMIT");
      for (let i = 0; i < 3; i++) await put(store, "/a", "1");
      expect(statSync(`${file}-wal`).size).toBeLessThanOrEqual(4 * 2 ** 20);
      reader.close();
      await store.close();
    }
  });
});
