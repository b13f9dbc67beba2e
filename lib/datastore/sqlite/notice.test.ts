import { Database } from "bun:sqlite";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, expect, test, vi } from "vitest";
import { noticeWrites } from "./notice.ts";
import { openSqlite } from "./store.ts";

const root = mkdtempSync(join(tmpdir(), "datastore-notice-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
afterEach(() => {
  vi.restoreAllMocks();
  vi.useRealTimers();
});

let files = 0;
const fresh = () => join(root, `${++files}`, "datastore.db");
const open = (file: string) => openSqlite({ type: "sqlite", file });

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 20_000; !condition(); ) {
    if (performance.now() > deadline) throw new Error("not in time");
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** So that what is noticed can only have been told. */
const withoutIntervals = () =>
  vi.spyOn(globalThis, "setInterval").mockImplementation((() => undefined) as unknown as typeof globalThis.setInterval);

test("a writer is noticed when it lets go of the lock, after what it wrote can be read", async () => {
  const file = fresh();
  const [reader, writer] = [open(file), open(file)];
  withoutIntervals();
  const seen: (string | undefined)[] = [];
  const pending: Promise<void>[] = [];
  const look = async () => void seen.push((await reader.read([{ key: "/a" }])).results[0]![0]?.value);
  const notice = noticeWrites(file, () => void pending.push(look()));
  await writer.transact([], [{ key: "/a", value: "1" }]);
  await until(() => seen.includes("1"));
  await writer.transact([], [{ key: "/a", value: "2" }]);
  await until(() => seen.includes("2"));
  // One notice a write: nothing but the end of a write is one.
  expect(seen).toEqual(["1", "2"]);
  notice[Symbol.dispose]();
  await Promise.all(pending);
  await Promise.all([reader.close(), writer.close()]);
});

test("a watch hears of another process's write without any timer", async () => {
  const file = fresh();
  const [store, other] = [open(file), open(file)];
  const { revision } = await store.read([]);
  withoutIntervals();
  const abort = new AbortController();
  const values: string[] = [];
  const watching = (async () => {
    for await (const events of store.watch({ key: "/a" }, revision, abort.signal))
      for (const event of events) if (event.type === "put") values.push(event.stored.value);
  })();
  for (const value of ["1", "2", "3"]) {
    await until(() => values.length === Number(value) - 1);
    await other.transact([], [{ key: "/a", value }]);
  }
  await until(() => values.length === 3);
  abort.abort();
  await watching;
  expect(values).toEqual(["1", "2", "3"]);
  await Promise.all([store.close(), other.close()]);
});

test("a watch hears of what is written past the lock", async () => {
  const file = fresh();
  const store = open(file);
  const { revision } = await store.read([]);
  const abort = new AbortController();
  const shell = new Database(file);
  shell.run("PRAGMA busy_timeout = 5000");
  setTimeout(() => {
    shell.run(`INSERT INTO kv (key, value, modified, created) VALUES ('/a', '1', ${revision + 1}, ${revision + 1})`);
    shell.run(`INSERT INTO changes (revision, key) VALUES (${revision + 1}, '/a')`);
  }, 10);
  for await (const events of store.watch({ key: "/a" }, revision, abort.signal)) {
    expect(events).toMatchObject([{ type: "put", stored: { key: "/a", value: "1" } }]);
    abort.abort();
  }
  shell.close();
  await store.close();
});

test("where nothing can be watched it is looked for, until the end", () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  let looks = 0;
  const notice = noticeWrites(join(root, "no such folder", "datastore.db"), () => looks++);
  vi.advanceTimersByTime(50);
  expect(looks).toBe(2);
  notice[Symbol.dispose]();
  vi.advanceTimersByTime(1000);
  expect(looks).toBe(2);
});
