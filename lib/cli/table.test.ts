import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { columns } from "./columns.ts";
import { styleFor } from "./style.ts";
import { table } from "./table.ts";
import { displayWidth } from "./text.ts";
import { type UsageRow, usageTable } from "./usage-table.ts";

const plain = styleFor({ write() {}, isTerminal: false }, {});

describe("the table of ipam show", () => {
  // The rows are those of upstream's calicoctl/tests/fv/ipam_test.go; the layout was printed by go-pretty 6.8.1 with the
  // settings of calicoctl/commands/ipam/show.go.
  const rows: UsageRow[] = [
    ["IP Pool", "10.65.0.0/16", 65536, 5, 0, 65531],
    ["Block", "10.65.79.0/26", 64, 5, 0, 59],
    ["IP Pool", "10.66.0.0/16", 65536, 11, 0, 65525],
    ["Block", "10.66.137.224/29", 8, 8, 0, 0],
    ["Block", "10.66.137.232/29", 8, 3, 0, 5],
    ["IP Pool", "fd5f:abcd:64::/48", 2n ** 80n, 7, 0, 2n ** 80n - 7n],
    ["Block", "fd5f:abcd:64:4f2c:ec1b:27b9:1989:77c0/122", 64, 7, 0, 57],
  ].map(([grouping, cidr, capacity, inUse, reserved, free]) => {
    return { grouping, cidr, capacity, inUse, reserved, free } as UsageRow;
  });

  test("is the one that upstream prints", () => {
    expect(usageTable(rows, plain)).toBe(
      `
+----------+-------------------------------------------+------------+------------+--------------+-------------------+
| GROUPING | CIDR                                      | IPS TOTAL  | IPS IN USE | IPS RESERVED | IPS FREE          |
+----------+-------------------------------------------+------------+------------+--------------+-------------------+
| IP Pool  | 10.65.0.0/16                              |      65536 |     5 (0%) |       0 (0%) |      65531 (100%) |
| Block    | 10.65.79.0/26                             |         64 |     5 (8%) |       0 (0%) |          59 (92%) |
| IP Pool  | 10.66.0.0/16                              |      65536 |    11 (0%) |       0 (0%) |      65525 (100%) |
| Block    | 10.66.137.224/29                          |          8 |   8 (100%) |       0 (0%) |            0 (0%) |
| Block    | 10.66.137.232/29                          |          8 |    3 (38%) |       0 (0%) |           5 (62%) |
| IP Pool  | fd5f:abcd:64::/48                         | 1.2089e+24 |     7 (0%) |       0 (0%) | 1.2089e+24 (100%) |
| Block    | fd5f:abcd:64:4f2c:ec1b:27b9:1989:77c0/122 |         64 |    7 (11%) |       0 (0%) |          57 (89%) |
+----------+-------------------------------------------+------------+------------+--------------+-------------------+
`.slice(1),
    );
  });

  test("has the same layout in colour", () => {
    const colour = styleFor({ write() {}, isTerminal: true }, {});
    const coloured = usageTable(rows, colour);
    expect(coloured).toContain("\x1b[");
    expect(Bun.stripANSI(coloured)).toBe(usageTable(rows, plain));
  });
});

describe("a boxed table", () => {
  test("without rows is its headings, as go-pretty prints it", () => {
    expect(table({ headings: ["IP", "BLOCK OWNER"], rows: [] })).toBe(
      "+----+-------------+\n| IP | BLOCK OWNER |\n+----+-------------+\n+----+-------------+\n",
    );
  });

  test("gives a cell of several lines several lines, and wide characters their width", () => {
    expect(
      table({
        headings: ["A", "B"],
        rows: [
          ["x\ny", "日本é"],
          ["tab\tz", "b"],
        ],
      }),
    ).toBe(
      "+----------+-------+\n| A        | B     |\n+----------+-------+\n| x        | 日本é |\n| y        |       |\n" +
        "| tab    z | b     |\n+----------+-------+\n",
    );
  });

  test("never breaks, whatever the cells", () => {
    const cell = fc.oneof(
      fc.string({ unit: "binary" }),
      fc.string({ unit: "grapheme" }),
      fc.constant("\x1b[2J\r\n\u202e"),
    );
    fc.assert(
      fc.property(
        fc.array(fc.array(cell, { maxLength: 4 }), { maxLength: 6 }),
        fc.array(cell, { maxLength: 4, minLength: 1 }),
        (rows, headings) => {
          const lines = table({ headings, rows, right: headings.slice(1) }).split("\n");
          expect(lines.pop()).toBe("");
          const width = displayWidth(lines[0]!);
          expect(lines[0]).toMatch(/^\+(-+\+)+$/);
          for (const line of lines) {
            expect(displayWidth(line)).toBe(width);
            expect(line).toMatch(/^[|+].*[|+]$/u);
            expect(line).not.toMatch(/[\u0000-\u001f\u007f-\u009f]/);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});

describe("the plain columns of calicoctl get", () => {
  test("are laid out as Go's tabwriter does, the last one padded too", () => {
    const rows = [
      ["a", "10.0.0.0/8", "all()"],
      ["longer-name", "", "x"],
    ];
    expect(columns({ headings: ["NAME", "CIDR", "SELECTOR"], rows })).toBe(
      "NAME          CIDR         SELECTOR   \n" +
        "a             10.0.0.0/8   all()      \n" +
        "longer-name                x          \n",
    );
    expect(columns({ headings: ["A", "B"], rows: [["", ""]] })).toBe("A    B    \n          \n");
  });

  test("keep every row on one line, and every column where its heading is", () => {
    const cell = fc.string({ unit: "binary" });
    fc.assert(
      fc.property(fc.array(fc.array(cell, { minLength: 2, maxLength: 2 }), { maxLength: 6 }), (rows) => {
        const lines = columns({ headings: ["NAME", "CIDR"], rows }).split("\n");
        expect(lines.length).toBe(rows.length + 2);
        for (const line of lines.slice(0, -1)) expect(displayWidth(line)).toBe(displayWidth(lines[0]!));
      }),
      { numRuns: 300 },
    );
  });
});

test("colour is for terminals that want it", () => {
  const sink = (isTerminal: boolean) => ({ write() {}, isTerminal });
  expect(styleFor(sink(true), {}).enabled).toBe(true);
  expect(styleFor(sink(false), {}).enabled).toBe(false);
  expect(styleFor(sink(true), { NO_COLOR: "1" }).enabled).toBe(false);
  expect(styleFor(sink(true), { NO_COLOR: "" }).enabled).toBe(true);
  expect(styleFor(sink(true), { TERM: "dumb" }).enabled).toBe(false);
});
