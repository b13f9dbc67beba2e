import { displayWidth, printable } from "./text.ts";

export interface ColumnsOptions {
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
  /** Emphasis of the headings. */
  heading?(text: string): string;
}

const PADDING = 3;
const MIN_WIDTH = 5;

/**
 * The plain table of `calicoctl get`, laid out as Go's tabwriter does with the settings upstream uses: cells to the left,
 * three spaces between columns, none narrower than five, the last one padded, too.
 */
export function columns(options: ColumnsOptions): string {
  const oneLine = (text: string) => printable(text.replace(/\s*[\r\n\t]\s*/g, " "));
  const head = options.headings.map(oneLine);
  const rows = options.rows.map((row) => head.map((_, column) => oneLine(row[column] ?? "")));
  const widths = head.map((_, column) =>
    Math.max(MIN_WIDTH, ...[head, ...rows].map((row) => displayWidth(row[column]!) + PADDING)),
  );
  const render = (row: readonly string[], style: (text: string) => string): string =>
    `${row.map((text, column) => style(text) + " ".repeat(widths[column]! - displayWidth(text))).join("")}\n`;
  return render(head, options.heading ?? ((text) => text)) + rows.map((row) => render(row, (text) => text)).join("");
}
