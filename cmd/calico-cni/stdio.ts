import type { PluginIo } from "../../lib/cni/index.ts";
import { readAll, writeAll } from "../../lib/sys/index.ts";

/** The process's own environment, stdin and stdout. */
export function processIo(env: PluginIo["env"]): PluginIo {
  return { env, readStdin, stdout: writeStdout };
}

/** All of stdin; a pipe that does not block is read as it fills. */
export function readStdin(): string {
  return readAll(0, "read the network configuration from stdin");
}

/** Writes all of it before it returns: the process ends right after. A reader that has gone is no error. */
export function writeStdout(text: string): void {
  try {
    writeAll(1, text, "write to stdout");
  } catch {}
}
