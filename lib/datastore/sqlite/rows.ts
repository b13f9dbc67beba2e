import type { Stored } from "../store.ts";

/** A row of `kv`. */
export interface Row {
  key: string;
  value: string;
  modified: number;
  created: number;
}

export const stored = (row: Row): Stored => ({
  key: row.key,
  value: row.value,
  modRevision: row.modified,
  createRevision: row.created,
});
