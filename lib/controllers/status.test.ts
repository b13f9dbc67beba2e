import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { probe, StatusFile } from "./status.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "status-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

test("is written as upstream's, and probes say what is not ready", () => {
  const path = join(folder, "deep/status.json");
  const status = new StatusFile({
    path,
    onError: (error) => {
      throw error;
    },
  });
  status.set("Startup", true);
  status.set("CalicoDatastore", false, "Error verifying datastore: no");
  expect(readFileSync(path, "utf8")).toBe(
    '{"Readiness":{"Startup":{"Ready":true,"Reason":""},"CalicoDatastore":{"Ready":false,"Reason":"Error verifying datastore: no"}}}',
  );
  expect(probe("ready", path)).toEqual({ good: false, text: "Error verifying datastore: no" });
  status.set("CalicoDatastore", true);
  expect(probe("live", path)).toEqual({ good: true, text: "Ready" });
  expect(status.ready).toBe(true);
  utimesSync(path, 0, 0);
  expect(probe("live", path).good).toBe(false);
  expect(probe("ready", path).good).toBe(true);
  status.touch();
  expect(probe("live", path).good).toBe(true);
});

test("a file that says nothing, or is none, is not ready", () => {
  const path = join(folder, "status.json");
  expect(probe("ready", path)).toMatchObject({
    good: false,
    text: expect.stringContaining("Failed to read status file"),
  });
  for (const text of ["", "{}", '{"Readiness":{}}', '{"Readiness":{"a":null}}', "null"]) {
    writeFileSync(path, text);
    expect(probe("ready", path).good, text).toBe(false);
  }
});
