import { describe, expect, test } from "vitest";
import { checkFile, importsOf } from "./check-floors.ts";

const messages = (file: string, text: string) => checkFile(file, text).map((violation) => violation.message);

describe("floors", () => {
  test("an arrow of the table passes, through the door", () => {
    expect(messages("lib/ipam/assign.ts", 'import { x } from "../datastore/index.ts";')).toEqual([]);
    expect(messages("lib/ipam/assign.ts", 'import type { IPPool } from "../api/ippool.ts";')).toEqual([]);
    expect(messages("lib/datastore/sqlite/store.ts", 'import { lock } from "../../sys/index.ts";')).toEqual([]);
  });

  test("an arrow upward, or not in the table, is refused", () => {
    expect(messages("lib/netlink/a.ts", 'import { x } from "../veth/index.ts";')).toHaveLength(1);
    expect(messages("lib/cni/a.ts", 'import { x } from "../datastore/index.ts";')).toHaveLength(1);
    expect(messages("lib/ipam/a.ts", 'const x = await import("../veth/index.ts");')).toHaveLength(1);
    expect(messages("lib/sys/a.ts", 'import { x } from "../ip/index.ts";')).toHaveLength(1);
  });

  test("what is behind a door stays there", () => {
    expect(messages("lib/attach/a.ts", 'import { x } from "../ipam/block.ts";')).toHaveLength(1);
    expect(messages("lib/attach/a.test.ts", 'import { x } from "../datastore/testing.ts";')).toEqual([]);
    expect(messages("lib/attach/a.ts", 'import { x } from "../datastore/testing.ts";')).toHaveLength(1);
  });

  test("a test may look at the kernel, the product may not go around its floor", () => {
    const text = 'import { linkSet } from "../netlink/index.ts";';
    expect(messages("lib/attach/a.test.ts", text)).toEqual([]);
    expect(messages("lib/attach/a.ts", text)).toHaveLength(1);
  });

  test("bun:ffi is lib/sys's alone", () => {
    expect(messages("lib/sys/libc.ts", 'import { dlopen } from "bun:ffi";')).toEqual([]);
    expect(messages("lib/netlink/socket.ts", 'import { dlopen } from "bun:ffi";')).toHaveLength(1);
  });

  test("every form of import is seen, with its line", () => {
    const text =
      'import a from "./a.ts";\nimport "./b.ts";\nexport {\n  c,\n} from "./c.ts";\nconst d = import("./d.ts");\n';
    expect(importsOf(text)).toEqual([
      { specifier: "./a.ts", line: 1 },
      { specifier: "./b.ts", line: 2 },
      { specifier: "./c.ts", line: 5 },
      { specifier: "./d.ts", line: 6 },
    ]);
  });
});
