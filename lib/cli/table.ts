import { displayWidth, printable } from "./text.ts";

/** One cell: text, or text whose colour is added after the layout is known. */
export type Cell = string | { readonly text: string; style(text: string): string };

export interface TableOptions {
  readonly headings: readonly string[];
  readonly rows: readonly (readonly Cell[])[];
  /** Headings of the columns whose cells are aligned to the right. Headings themselves never are. */
  readonly right?: readonly string[];
  /** Emphasis of the headings. */
  heading?(text: string): string;
}

/**
 * A boxed table, as `calicoctl ipam show` prints it (go-pretty's default style): a cell of several lines makes a row of
 * several lines, and what a terminal would interpret is shown as a replacement character, so no cell can break the box.
 */
export function table(options: TableOptions): string {
  const right = new Set(options.right ?? []);
  const heading = options.heading ?? ((text: string) => text);
  const rows = options.rows.map((row) => options.headings.map((_, column) => linesOf(row[column] ?? "")));
  const head = options.headings.map((title) => linesOf({ text: title, style: heading }));
  const widths = options.headings.map((_, column) =>
    Math.max(0, ...[head, ...rows].flatMap((row) => row[column]!.lines.map(displayWidth))),
  );
  const rule = `+${widths.map((width) => "-".repeat(width + 2)).join("+")}+\n`;
  const render = (row: readonly Lines[], aligned: boolean): string => {
    const height = Math.max(1, ...row.map((cell) => cell.lines.length));
    let out = "";
    for (let line = 0; line < height; line++) {
      const cells = row.map((cell, column) => {
        const text = cell.lines[line] ?? "";
        const padding = " ".repeat(widths[column]! - displayWidth(text));
        const shown = text === "" ? "" : cell.style(text);
        return aligned && right.has(options.headings[column]!) ? padding + shown : shown + padding;
      });
      out += `| ${cells.join(" | ")} |\n`;
    }
    return out;
  };
  return rule + render(head, false) + rule + rows.map((row) => render(row, true)).join("") + rule;
}

interface Lines {
  readonly lines: readonly string[];
  style(text: string): string;
}

function linesOf(cell: Cell): Lines {
  const text = typeof cell === "string" ? cell : cell.text;
  const style = typeof cell === "string" ? (same: string) => same : cell.style;
  return { lines: text.split(/\r\n|\r|\n/).map(printable), style };
}
