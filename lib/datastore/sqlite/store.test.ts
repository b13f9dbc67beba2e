import { Database } from "bun:sqlite";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { DatastoreError } from "../errors.ts";
import { prefixRange, type StoreEvent } from "../store.ts";
import { codeOf, datastoreSuite } from "../suite/index.ts";
import { openSqlite } from "./store.ts";

const root = mkdtempSync(join(tmpdir(), "datastore-sqlite-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let files = 0;
const fresh = (): string => join(root, `${++files}`, "datastore.db");
const open = (file: string, options: { timeout?: number; synchronous?: "normal"; brief?: boolean } = {}) =>
  openSqlite({ type: "sqlite", file, ...options });
const opening = (file: string) => codeOf((async () => (await open(file, { timeout: 500 })).close())());

datastoreSuite("sqlite", async () => {
  const file = fresh();
  return {
    open: async () => open(file),
    compact: async () => {
      const store = open(file);
      store.compact(1);
      await store.close();
    },
    remove: async () => {},
  };
});

describe("the file", () => {
  test("is made with its folder, for its owner alone, and survives", async () => {
    const file = join(root, "deep", "er", "datastore.db");
    const store = open(file);
    await store.transact([], [{ key: "/a", value: "1" }]);
    expect(statSync(join(root, "deep")).mode & 0o777).toBe(0o700);
    for (const name of readdirSync(join(root, "deep", "er")))
      expect([name, statSync(join(root, "deep", "er", name)).mode & 0o777]).toEqual([name, 0o600]);
    await store.close();
    const again = open(file);
    expect((await again.read([{ key: "/a" }])).results[0]).toMatchObject([{ value: "1" }]);
    await again.close();
  });

  test("is written through to the disk unless asked otherwise", async () => {
    const file = fresh();
    for (const [options, level] of [
      [{}, 2],
      [{ synchronous: "normal" }, 1],
    ] as const) {
      const store = open(file, options);
      expect(store.database.query("PRAGMA synchronous").get()).toEqual({ synchronous: level });
      expect(store.database.query("PRAGMA journal_mode").get()).toEqual({ journal_mode: "wal" });
      await store.close();
    }
  });

  test("a brief process leaves its log to the next one", async () => {
    const file = fresh();
    const brief = open(file, { brief: true });
    await brief.transact([], [{ key: "/a", value: "1" }]);
    await brief.close();
    expect(await codeOf(brief.read([]))).toBe("UNAVAILABLE");
    const next = open(file);
    expect((await next.read([{ key: "/a" }])).results[0]).toMatchObject([{ value: "1" }]);
    await next.close();
  });

  test("of another kind is CORRUPT and stays as it is", async () => {
    const good = fresh();
    await open(good).close();
    const make: Record<string, (file: string) => void> = {
      "not a database": (file) => writeFileSync(file, "x".repeat(5000)),
      empty: (file) => writeFileSync(file, ""),
      "another program's": (file) => {
        const other = new Database(file);
        other.run("CREATE TABLE t (x)");
        other.run("PRAGMA application_id = 7");
        other.close();
      },
      "cut off in its first page": (file) => {
        copyFileSync(good, file);
        truncateSync(file, 1000);
      },
      "cut off after its first page": (file) => {
        copyFileSync(good, file);
        truncateSync(file, 4096);
      },
      "with an overwritten page": (file) => {
        const bytes = readFileSync(good);
        bytes.fill(0xff, 4096, 3 * 4096);
        writeFileSync(file, bytes);
      },
    };
    for (const [what, damage] of Object.entries(make)) {
      const file = join(root, `${what}.db`);
      damage(file);
      const before = readFileSync(file);
      const used = async () => {
        const store = open(file);
        try {
          await store.read([prefixRange("/")]);
          await store.transact([], [{ key: "/a", value: "1" }]);
        } finally {
          await store.close();
        }
      };
      expect([what, await codeOf(used())]).toEqual([what, "CORRUPT"]);
      await expect(used()).rejects.toThrow(file);
      expect([what, readFileSync(file).equals(before)]).toEqual([what, true]);
    }
  });

  test("of a later layout is refused by name", async () => {
    const file = fresh();
    const store = open(file);
    store.database.run("PRAGMA user_version = 2");
    await store.close();
    expect(await opening(file)).toBe("CONFIG");
  });

  test("that cannot be made or opened says why", async () => {
    expect(await opening("/proc/none/datastore.db")).not.toBe("no error");
    const folder = join(root, "folder.db", "inside");
    await open(join(folder, "datastore.db")).close();
    expect(await opening(join(root, "folder.db", "inside"))).toBe("UNAVAILABLE");
    const file = join(folder, "datastore.db", "below.db");
    expect(await opening(file)).toBe("UNAVAILABLE");
    await expect((async () => open(file))()).rejects.toThrow(DatastoreError);
  });

  test("that may only be read is UNAUTHORIZED", async ({ skip }) => {
    const file = fresh();
    await open(file).close();
    chmodSync(file, 0o400);
    const script = `const {openSqlite} = await import(${JSON.stringify(join(import.meta.dirname, "store.ts"))});
      try { await openSqlite({type: "sqlite", file: ${JSON.stringify(file)}}).transact([], [{key: "/a", value: "1"}]); console.log("written") }
      catch (error) { console.log(error.code) }`;
    // Root may write anyway: become somebody else, who may enter the folder.
    if (process.getuid?.() !== 0) return skip("needs root, to become another user");
    const shared = mkdtempSync(join(root, "tmp-"));
    chmodSync(shared, 0o777);
    chmodSync(root, 0o755);
    chmodSync(join(file, ".."), 0o755);
    chmodSync(file, 0o444);
    const run = spawnSync(process.execPath, ["-e", script], { uid: 65534, encoding: "utf8", env: { TMPDIR: shared } });
    if (run.error || (run.stdout === "" && /EACCES|Permission/.test(run.stderr)))
      return skip("another user cannot run bun here");
    expect(run.stdout.trim()).toBe("UNAUTHORIZED");
  });

  test("that is full leaves what was there, and serves again when there is room", async () => {
    const file = fresh();
    const store = open(file);
    await store.transact([], [{ key: "/a", value: "1" }]);
    const pages = (store.database.query("PRAGMA page_count").get() as { page_count: number }).page_count;
    store.database.run(`PRAGMA max_page_count = ${pages + 2}`);
    const large = { key: "/large", value: "x".repeat(100_000) };
    expect(await codeOf(store.transact([], [large, { key: "/a", value: "2" }]))).toBe("FULL");
    expect((await store.read([prefixRange("/")])).results[0]).toMatchObject([{ key: "/a", value: "1" }]);
    store.database.run("PRAGMA max_page_count = 100000");
    expect((await store.transact([], [large])).succeeded).toBe(true);
    await store.close();
  });

  test("on a disk without room is FULL", async ({ skip }) => {
    const folder = mkdtempSync(join(root, "tmpfs-"));
    // In a mount namespace of its own, so that nothing is left whatever happens.
    const script = `const {openSqlite} = await import(${JSON.stringify(join(import.meta.dirname, "store.ts"))});
      const store = openSqlite({type: "sqlite", file: ${JSON.stringify(join(folder, "datastore.db"))}});
      await store.transact([], [{key: "/a", value: "1"}]);
      try { for (let i = 0; i < 1000; i++) await store.transact([], [{key: "/" + i, value: "x".repeat(9000)}]); }
      catch (error) { console.log(error.code) }
      console.log((await store.read([{key: "/a"}])).results[0][0].value);
      await store.close();`;
    const mounted = ["-m", "sh", "-c", 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -e "$3"', "sh", folder];
    const run = spawnSync("unshare", [...mounted, process.execPath, script], { encoding: "utf8" });
    if (run.error || run.status !== 0) {
      if (process.getuid?.() !== 0) return skip("needs root, to mount a small disk");
      throw new Error(run.stderr);
    }
    expect(run.stdout.trim().split("\n")).toEqual(["FULL", "1"]);
  });
});

describe("processes", () => {
  const run = (script: string, ...args: string[]): ChildProcess =>
    spawn(process.execPath, [join(import.meta.dirname, script), ...args], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = (child: ChildProcess) => new Promise<number | null>((resolve) => child.once("close", resolve));

  test("fifty, half of them killed, lose no addition to a counter and make none twice", async () => {
    const file = fresh();
    const reported = new Map<number, number>();
    const children = Array.from({ length: 50 }, (_, i) => {
      const child = run("counting-process.ts", file, "20");
      const { pid } = child;
      if (pid === undefined) throw new Error("no process");
      reported.set(pid, 0);
      child.stdout!.on("data", (dots: Buffer) => {
        reported.set(pid, reported.get(pid)! + dots.length);
        // Somewhere in the middle of its work, another place for each.
        if (i % 2 === 1 && reported.get(pid)! >= 1 + (i % 19)) child.kill("SIGKILL");
      });
      return child;
    });
    const codes = await Promise.all(children.map(ended));
    expect(codes.filter((_, i) => i % 2 === 0)).toEqual(Array.from({ length: 25 }, () => 0));
    const store = open(file);
    const { results } = await store.read([{ key: "/counter" }, prefixRange("/by/")]);
    const done = results[1]!.map(({ key, value }) => [Number(key.slice(4)), Number(value)] as const);
    expect(results[0]![0]!.value).toBe(String(done.reduce((sum, [, count]) => sum + count, 0)));
    // What a process reported is there; one more may be, when it was killed before it could say so.
    for (const [pid, count] of done) expect(count - reported.get(pid)!).toBeOneOf([0, 1]);
    expect(store.database.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
    await store.close();
  }, 120_000);

  test("that are killed while they make the file leave none, or a whole one", async () => {
    const file = fresh();
    for (let delay = 0; delay < 8; delay++) {
      const child = run("counting-process.ts", file, "1");
      const timer = setTimeout(() => child.kill("SIGKILL"), 20 + delay * 4);
      await ended(child);
      clearTimeout(timer);
      if (existsSync(file)) {
        expect(await opening(file)).toBe("no error");
        for (const name of readdirSync(join(file, ".."))) rmSync(join(file, "..", name));
      }
    }
    expect(await opening(file)).toBe("no error");
  });

  test("that open a new file at once use the same one", async () => {
    const file = fresh();
    const children = Array.from({ length: 8 }, () => run("counting-process.ts", file, "2"));
    expect(await Promise.all(children.map(ended))).toEqual(children.map(() => 0));
    const store = open(file);
    expect((await store.read([{ key: "/counter" }])).results[0]).toMatchObject([{ value: "16" }]);
    await store.close();
  });

  test("that hold the datastore for too long make others say so", async () => {
    const file = fresh();
    const holder = open(file);
    holder.database.run("BEGIN IMMEDIATE");
    const other = open(file, { timeout: 100 });
    expect((await other.read([{ key: "/a" }])).results).toEqual([[]]);
    expect(await codeOf(other.transact([], [{ key: "/a", value: "1" }]))).toBe("UNAVAILABLE");
    holder.database.run("ROLLBACK");
    expect(await codeOf(other.transact([], [{ key: "/a", value: "1" }]))).toBe("no error");
    await Promise.all([holder.close(), other.close()]);
  });

  test("tell each other's watches", async () => {
    const file = fresh();
    const store = open(file);
    const from = (await store.read([])).revision;
    const abort = new AbortController();
    const events: StoreEvent[] = [];
    const end = ended(run("counting-process.ts", file, "3"));
    for await (const batch of store.watch({ key: "/counter" }, from, abort.signal)) {
      events.push(...batch);
      if (events.length === 3) abort.abort();
    }
    expect(events.map((event) => event.type === "put" && event.stored.value)).toEqual(["1", "2", "3"]);
    await end;
    await store.close();
  });
});

test("the log of changes is bounded", async () => {
  const store = open(fresh(), { synchronous: "normal" });
  const begun = (await store.read([])).revision;
  store.database.run(`INSERT INTO changes (revision, key) VALUES (${begun + 9000}, '')`);
  for (let i = 0; i < 300; i++) await store.transact([], [{ key: "/a", value: String(i) }]);
  const { oldest, count } = store.database
    .query("SELECT min(revision) AS oldest, count(*) AS count FROM changes")
    .get() as { oldest: number; count: number };
  expect(oldest).toBeGreaterThan(begun);
  expect(count).toBeLessThan(5000);
  const abort = new AbortController();
  const watch = store.watch({ key: "/a" }, begun + 5, abort.signal)[Symbol.asyncIterator]();
  await expect(watch.next()).rejects.toThrow("gone");
  await store.close();
});

/** Kills a process, from outside, at the `when`-th of the calls by which SQLite and we change files. */
const strace = spawnSync("strace", ["-V"]).error ? "strace is not installed" : undefined;
describe.skipIf(strace)("a process that is killed at any call that changes a file", () => {
  const calls = "pwrite64,fsync,fdatasync,ftruncate,unlink,rename,renameat,renameat2,mkdir,fchmodat,chmod,fchown";

  test("leaves no datastore, or a whole one with all that was reported", async () => {
    for (let when = 1, killed = true; killed; when += 2) {
      const file = fresh();
      const run = spawnSync(
        "strace",
        [
          ...["-f", "-qq", "-o", "/dev/null", "-e", `trace=${calls}`, "-e", `inject=${calls}:signal=KILL:when=${when}`],
          ...[process.execPath, join(import.meta.dirname, "counting-process.ts"), file, "2"],
        ],
        { encoding: "utf8" },
      );
      killed = run.signal === "SIGKILL" || run.status === 137;
      if (!killed) expect([when, run.status, run.stderr]).toEqual([when, 0, ""]);
      const store = open(file);
      const count = Number((await store.read([{ key: "/counter" }])).results[0]![0]?.value ?? 0);
      expect(count - run.stdout.length).toBeOneOf([0, 1]);
      expect(store.database.query("PRAGMA integrity_check").get()).toEqual({ integrity_check: "ok" });
      expect((await store.transact([], [{ key: "/after", value: "1" }])).succeeded).toBe(true);
      await store.close();
      expect(readdirSync(join(file, "..")).sort()).toEqual(["datastore.db", "datastore.db-lock"]);
    }
  }, 120_000);
});
