import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { formatLine, openLogger } from "./index.ts";

const folder = mkdtempSync(join(tmpdir(), "logger-"));
afterAll(() => rmSync(folder, { recursive: true }));

const lines = (path: string) => readFileSync(path, "utf8").trimEnd().split("\n");

describe("log lines", () => {
  test("have upstream's shape", () => {
    const when = new Date("2024-10-19T20:50:00.035Z");
    expect(formatLine(when, "info", 81, "cni", "assigned", { ip: "10.0.0.1", count: 2, none: undefined })).toBe(
      '2024-10-19 20:50:00.035 [INFO][81] cni: assigned ip="10.0.0.1" count=2\n',
    );
  });

  test("a value or a message cannot forge a line", () => {
    const line = formatLine(new Date(0), "error", 1, "x", "a\nb", { evil: 'v"\n2024 [INFO]' });
    expect(line.trimEnd()).not.toContain("\n");
  });
});

describe("the log file", () => {
  test("appears with its folder at the first line that passes the level", () => {
    const path = join(folder, "new", "cni.log");
    const log = openLogger({
      component: "t",
      level: "info",
      stderr: false,
      file: { path, maxBytes: 0, maxFiles: 1, maxAgeDays: 0 },
    });
    log.debug("not this");
    expect(() => readFileSync(path)).toThrow();
    log.warning("this");
    expect(lines(path)).toHaveLength(1);
  });

  test("rotates at its size and keeps so many", () => {
    const path = join(folder, "rotating.log");
    const log = openLogger({
      component: "t",
      level: "info",
      stderr: false,
      file: { path, maxBytes: 120, maxFiles: 2, maxAgeDays: 0 },
    });
    for (let i = 0; i < 10; i++) log.info(`line ${i} of some length`);
    expect(lines(path).at(-1)).toContain("line 9");
    expect(lines(`${path}.1`).at(-1)).toMatch(/line [678]/);
    expect(() => readFileSync(`${path}.3`)).toThrow();
  });

  test("that cannot be written does not fail the caller", () => {
    const log = openLogger({
      component: "t",
      level: "info",
      stderr: false,
      file: { path: `${folder}/rotating.log/x/y`, maxBytes: 0, maxFiles: 1, maxAgeDays: 0 },
    });
    expect(() => log.info("x")).not.toThrow();
  });
});
