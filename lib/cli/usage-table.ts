import { fiveDigits, wholePercent } from "./numbers.ts";
import type { Style } from "./style.ts";
import { type Cell, table } from "./table.ts";

/** How full one pool or one block is. In use and reserved may overlap: free counts what is neither. */
export interface UsageRow {
  readonly grouping: "IP Pool" | "Block";
  readonly cidr: string;
  readonly capacity: number | bigint;
  readonly inUse: number | bigint;
  readonly reserved: number | bigint;
  readonly free: number | bigint;
}

const HEADINGS = ["GROUPING", "CIDR", "IPS TOTAL", "IPS IN USE", "IPS RESERVED", "IPS FREE"];

/** The table of `ipam show`, to the byte where there is no colour; full and nearly full rows stand out where there is. */
export function usageTable(rows: readonly UsageRow[], style: Style): string {
  return table({
    headings: HEADINGS,
    right: HEADINGS.slice(2),
    heading: style.bold,
    rows: rows.map((row): Cell[] => {
      const part = (count: number | bigint) => `${fiveDigits(count)} (${wholePercent(count, row.capacity)})`;
      return [
        row.grouping,
        row.cidr,
        fiveDigits(row.capacity),
        part(row.inUse),
        part(row.reserved),
        { text: part(row.free), style: alarm(row, style) },
      ];
    }),
  });
}

function alarm(row: UsageRow, style: Style): (text: string) => string {
  const free = Number(row.capacity) === 0 ? 0 : Number(row.free) / Number(row.capacity);
  // A full block is how blocks are meant to be used; a full pool is an outage to come.
  if (row.grouping === "Block") return style.dim;
  if (free <= 0.05) return style.red;
  return free <= 0.2 ? style.yellow : (text) => text;
}
