import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { type DelegateCall, executeDelegate, findPlugin } from "./delegate.ts";
import { CniError } from "./errors.ts";

let folder = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "cni-delegate-"));
  mkdirSync(join(folder, "empty"));
  mkdirSync(join(folder, "empty", "echo-plugin"));
  const scripts: Record<string, string> = {
    "echo-plugin":
      'printf \'{"command":"%s","id":"%s","path":"%s","stdin":%s}\' "$CNI_COMMAND" "$CNI_CONTAINERID" "$CNI_PATH" "$(cat)"; echo a note >&2',
    silent: "cat >/dev/null",
    refusing: 'printf \'{"cniVersion":"1.0.0","code":11,"msg":"busy","details":"come again"}\'; exit 1',
    lying: 'printf \'{"code":7,"msg":"wrong"}\'',
    garbled: "echo no json",
    failing: "echo it broke >&2; exit 3",
    mute: "exit 4",
    hanging: "exec sleep 60",
    unread: "exec true",
  };
  for (const [name, script] of Object.entries(scripts)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${script}\n`);
    chmodSync(join(folder, name), 0o755);
  }
  writeFileSync(join(folder, "not-executable"), "x", { mode: 0o644 });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

function run(type: string, more: Partial<DelegateCall> = {}): Promise<unknown> {
  return executeDelegate({
    type,
    command: "ADD",
    path: [join(folder, "empty"), folder],
    env: { ...process.env, CNI_COMMAND: "CHECK", CNI_CONTAINERID: "abc", CNI_PATH: folder },
    stdin: '{"name":"net"}',
    timeoutMs: 10_000,
    ...more,
  });
}

async function failure(work: Promise<unknown>): Promise<CniError> {
  const error = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(CniError);
  return error as CniError;
}

test("the plugin gets the caller's environment with its own command, and the whole configuration", async () => {
  const notes: string[] = [];
  const answer = await run("echo-plugin", { command: "DEL", stderr: (text) => notes.push(text) });
  expect(answer).toEqual({ command: "DEL", id: "abc", path: folder, stdin: { name: "net" } });
  expect(notes).toEqual(["a note\n"]);
});

test("a plugin that prints nothing answers undefined", async () => {
  expect(await run("silent")).toBeUndefined();
});

test("a plugin's error object comes back as it is, whatever its exit status", async () => {
  expect(await failure(run("refusing"))).toMatchObject({ code: 11, message: "busy", details: "come again" });
  expect(await failure(run("lying"))).toMatchObject({ code: 7, message: "wrong" });
});

test("a plugin that fails without an error object is quoted", async () => {
  expect(await failure(run("failing"))).toMatchObject({ code: 999, details: "it said: it broke" });
  expect((await failure(run("mute"))).details).toBe("it said nothing");
  expect(await failure(run("garbled"))).toMatchObject({ code: 6 });
});

test("a plugin that does not answer is killed", async () => {
  expect((await failure(run("hanging", { timeoutMs: 200 }))).message).toContain("did not answer within 0.2 s");
});

test("a plugin may end without reading a long configuration", async () => {
  expect(await run("unread", { stdin: JSON.stringify({ x: "y".repeat(1_000_000) }) })).toBeUndefined();
});

test("a plugin that is no program is reported", async () => {
  expect((await failure(run("not-executable"))).message).toContain("cannot be executed");
});

test("a plugin is looked for in CNI_PATH, folders of its name left out", async () => {
  expect(findPlugin("echo-plugin", [join(folder, "empty"), folder])).toBe(join(folder, "echo-plugin"));
  expect(await failure(run("nowhere"))).toMatchObject({ code: 7 });
  expect((await failure(run("nowhere"))).message).toContain("nowhere");
  expect(await failure(run("echo-plugin", { path: [] }))).toMatchObject({ code: 4 });
});
