import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { inRange, prefixRange, type Range, type StoreEvent } from "../store.ts";
import { openSqlite } from "./store.ts";

const root = mkdtempSync(join(tmpdir(), "datastore-watches-"));
afterAll(() => rmSync(root, { recursive: true, force: true }));
let files = 0;

const RANGES: readonly Range[] = [{ key: "/a/1" }, prefixRange("/a/"), prefixRange("/b/"), prefixRange("/")];
const KEYS = ["/a/1", "/a/2", "/b/1", "/c"];
/** Written last, to keys in every range. */
const END = "end";

interface Write {
  readonly key: string;
  readonly value: string | undefined;
}

const text = (event: StoreEvent): string =>
  event.type === "put"
    ? `${event.stored.key}=${event.stored.value}@${event.stored.modRevision}`
    : `${event.key} gone@${event.revision}`;

test("watches of one connection share what is read, and each hears all of its own, once and in order", async () => {
  const write = fc.record({
    by: fc.constantFrom("own", "other"),
    key: fc.constantFrom(...KEYS),
    value: fc.option(fc.constantFrom("1", "2"), { nil: undefined }),
    // How many watches begin now, at the revision of the moment; and how long others get to do something.
    begins: fc.nat({ max: 2 }),
    turns: fc.nat({ max: 3 }),
  });
  const run = async (writes: readonly (Write & { by: string; begins: number; turns: number })[]) => {
    const file = join(root, `${++files}`, "datastore.db");
    const [own, other] = [openSqlite({ type: "sqlite", file }), openSqlite({ type: "sqlite", file })];
    const abort = new AbortController();
    const log: { key: string; revision: number; text: string }[] = [];
    const present = new Set<string>();
    const watches: { range: Range; from: number; heard: string[]; done: Promise<void> }[] = [];
    const begin = async () => {
      const range = RANGES[watches.length % RANGES.length]!;
      const { revision: from } = await own.read([]);
      const heard: string[] = [];
      const done = (async () => {
        for await (const events of own.watch(range, from, abort.signal)) {
          heard.push(...events.map(text));
          if (heard.at(-1)?.includes(`=${END}`)) return;
        }
      })();
      watches.push({ range, from, heard, done });
    };
    const put = async (store: typeof own, { key, value }: Write) => {
      const { revision } = await store.transact([], [{ key, value }]);
      if (value === undefined && !present.delete(key)) return;
      if (value !== undefined) present.add(key);
      log.push({
        key,
        revision,
        text: value === undefined ? `${key} gone@${revision}` : `${key}=${value}@${revision}`,
      });
    };
    for (const { by, begins, turns, ...what } of writes) {
      for (let i = 0; i < begins; i++) await begin();
      await put(by === "own" ? own : other, what);
      for (let i = 0; i < turns; i++) await new Promise((resolve) => setImmediate(resolve));
    }
    for (const key of KEYS.filter((one) => one === "/a/1" || one === "/b/1")) await put(other, { key, value: END });
    await Promise.all(watches.map(({ done }) => done));
    for (const { range, from, heard } of watches) {
      const expected = log.filter((one) => one.revision > from && inRange(range, one.key)).map((one) => one.text);
      // A watch ends with the first batch that ends with the end.
      expect(heard).toEqual(expected.slice(0, heard.length));
      expect(heard.at(-1)).toContain(`=${END}`);
    }
    abort.abort();
    await Promise.all([own.close(), other.close()]);
  };
  await fc.assert(fc.asyncProperty(fc.array(write, { minLength: 1, maxLength: 12 }), run), { numRuns: 15 });
}, 60_000);
