import { readFileSync, writeSync } from "node:fs";
import type { PluginIo } from "../../lib/cni/index.ts";

/** The process's own environment, stdin and stdout. */
export function processIo(env: PluginIo["env"]): PluginIo {
  return { env, readStdin, stdout: writeStdout };
}

/** All of stdin; a pipe that does not block is read as it fills. */
export function readStdin(): string | Promise<string> {
  try {
    return readFileSync(0, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EAGAIN") return Bun.stdin.text();
    throw error;
  }
}

/** Writes all of it before it returns: the process ends right after. A reader that has gone is no error. */
export function writeStdout(text: string): void {
  let rest = Buffer.from(text);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(1, rest));
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "EAGAIN") Bun.sleepSync(1);
      else return;
    }
  }
}
