import type { Statement } from "bun:sqlite";
import { Gap, type Stored, type StoreEvent } from "../store.ts";
import type { Row } from "./store.ts";

interface ChangeRow {
  revision: number;
  key: string;
  value: string | null;
  modified: number | null;
  created: number | null;
}

/**
 * The changes after `from`, oldest first. The log has what a key held before each change; what it held after one is what
 * it held before the next, so the log is read from its end. To be called inside a read transaction.
 */
export function changesAfter(
  statement: (sql: string) => Statement,
  stored: (row: Row) => Stored,
  from: number,
  revision: number,
): { events: StoreEvent[]; revision: number } {
  if (from === revision) return { events: [], revision };
  const oldest = statement("SELECT min(revision) AS revision FROM changes").get() as { revision: number };
  // A revision from the future belongs to another file, or to this one before it was restored from a copy.
  if (from > revision || from < oldest.revision - 1) throw new Gap(`changes after revision ${from} are gone`);
  const rows = statement(
    "SELECT revision, key, value, modified, created FROM changes WHERE revision > ?1 AND key > '' ORDER BY revision DESC, key DESC",
  ).all(from) as ChangeRow[];
  const events: StoreEvent[] = [];
  const after = new Map<string, Stored | undefined>();
  for (const row of rows) {
    const { key } = row;
    if (!after.has(key)) {
      const now = statement("SELECT key, value, modified, created FROM kv WHERE key = ?1").get(key) as Row | null;
      after.set(key, now ? stored(now) : undefined);
    }
    const next = after.get(key);
    const previous =
      row.value === null
        ? undefined
        : stored({ key, value: row.value, modified: row.modified!, created: row.created! });
    events.push(
      next ? { type: "put", stored: next, previous } : { type: "delete", key, revision: row.revision, previous },
    );
    after.set(key, previous);
  }
  return { events: events.reverse(), revision };
}
