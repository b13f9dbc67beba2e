/**
 * The process that runs a dataplane, started inside the router's network namespace: `bun driver.ts MODULE OPTIONS`. MODULE exports `open`
 * ({@link OpenDataplane}), OPTIONS is JSON. Obeys the lines of its standard input (protocol.ts); ends with it.
 */
import { createInterface } from "node:readline";
import { type Dataplane, DataplaneError } from "../dataplane.ts";
import { Program } from "../program.ts";
import { type Asked, read, replay, type Said, write } from "./protocol.ts";
import type { OpenDataplane } from "./testbed.ts";

const say = (value: Said): void => void process.stdout.write(write(value));

async function obey(dataplane: Dataplane, v4: Program, v6: Program, asked: Asked): Promise<Said> {
  switch (asked.do) {
    case "edit":
      for (const edit of asked.edits) replay(edit.version === 4 ? v4 : v6, edit);
      return { id: asked.id };
    case "apply":
      return { id: asked.id, result: await dataplane.apply() };
    case "recheck":
      dataplane.recheck();
      return { id: asked.id };
    case "counts":
      return { id: asked.id, result: dataplane.counts };
    case "remove":
      await dataplane.remove();
      return { id: asked.id };
    case "close":
      await dataplane.close();
      return { id: asked.id };
  }
}

async function main(): Promise<void> {
  const [module = "", options = "null"] = process.argv.slice(2);
  const { open } = (await import(module)) as { open: OpenDataplane };
  const v4 = new Program(4);
  const v6 = new Program(6);
  const dataplane = await open({ v4, v6 }, JSON.parse(options));
  dataplane.onDrift((drift) => say({ drift }));
  say({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = read(line) as Asked;
    try {
      say(await obey(dataplane, v4, v6, asked));
    } catch (error) {
      const code = error instanceof DataplaneError ? { code: error.code } : {};
      say({ id: asked.id, error: { ...code, message: error instanceof Error ? error.message : String(error) } });
    }
    if (asked.do === "close") break;
  }
  process.exit(0);
}

await main();
