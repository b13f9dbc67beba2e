/**
 * A process of the contention test: adds one to a shared counter, by compare-and-swap, as often as it is told, and writes a line after each
 * addition. Arguments: file, times.
 */
import { writeSync } from "node:fs";
import { openSqlite } from "./store.ts";

const [file = "", times = "0"] = process.argv.slice(2);
const store = openSqlite({ type: "sqlite", file, timeout: 60_000, brief: true });
for (let done = 0; done < Number(times); ) {
  const before = (await store.read([{ key: "/counter" }])).results[0]![0];
  const { succeeded } = await store.transact(
    [{ key: "/counter", modRevision: before?.modRevision ?? 0 }],
    [
      { key: "/counter", value: String(Number(before?.value ?? 0) + 1) },
      { key: `/by/${process.pid}`, value: String(done + 1) },
    ],
  );
  if (!succeeded) continue;
  done++;
  writeSync(1, ".");
}
