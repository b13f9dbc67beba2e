import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { silentLogger } from "../telemetry/index.ts";
import { supervise } from "./index.ts";

let folder: string;
let marks: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "supervise-"));
  marks = join(folder, "marks");
  appendFileSync(marks, "");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A worker that leaves its pid and then runs the script. */
const worker = (script: string) => ({ name: "worker", command: ["/bin/sh", "-c", `echo $$ >>${marks}; ${script}`] });
const starts = (): number[] => readFileSync(marks, "utf8").trim().split("\n").filter(Boolean).map(Number);

async function until(condition: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 10_000; !condition(); ) {
    if (performance.now() > deadline) throw new Error("it did not happen in 10 s");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

function run(script: string, times = {}) {
  const stop = new AbortController();
  const done = supervise({
    workers: [worker(script)],
    env: { PATH: process.env.PATH },
    log: silentLogger,
    signal: stop.signal,
    times,
  });
  return { stop, done };
}

test("a worker that asks for it is started again at once", async () => {
  const { stop, done } = run("exit 129", { firstPauseMs: 1_000_000 });
  await until(() => starts().length >= 3);
  stop.abort();
  await done;
});

test("a worker that fails is started again after a pause, longer each time", async () => {
  const { stop, done } = run("exit 1", { firstPauseMs: 1, mostPauseMs: 4 });
  await until(() => starts().length >= 4);
  stop.abort();
  await done;
});

test("a worker that is killed is started again", async () => {
  const { stop, done } = run("exec sleep 1000", { firstPauseMs: 1 });
  await until(() => starts().length === 1);
  process.kill(starts()[0]!, "SIGKILL");
  await until(() => starts().length === 2);
  stop.abort();
  await done;
  expect(() => process.kill(starts()[1]!, 0)).toThrow();
});

test("the end of supervision ends the worker, also one that does not listen", async () => {
  const { stop, done } = run("trap '' TERM; while :; do sleep 0.05; done", { graceMs: 50 });
  await until(() => starts().length === 1);
  stop.abort();
  await done;
  expect(() => process.kill(starts()[0]!, 0)).toThrow();
});

test("a worker's standard input ends with its supervisor", async () => {
  const said = join(folder, "said");
  const child = Bun.spawn(
    [
      process.execPath,
      "-e",
      `import { supervise } from ${JSON.stringify(join(import.meta.dirname, "index.ts"))};
       import { silentLogger } from ${JSON.stringify(join(import.meta.dirname, "../telemetry/index.ts"))};
       await supervise({ workers: [{ name: "w", command: ["/bin/sh", "-c", "echo $$ >>${marks}; cat; echo ended >${said}"] }],
         env: process.env, log: silentLogger, signal: new AbortController().signal });`,
    ],
    { stdout: "ignore", stderr: "inherit", stdin: "ignore" },
  );
  await until(() => starts().length === 1);
  child.kill("SIGKILL");
  await child.exited;
  await until(() => existsSync(said));
});
