import type { Io, Sink } from "./io.ts";

/** Streams that keep what was written, for programs run inside a test. */
export interface MemoryIo extends Io {
  readonly out: () => string;
  readonly err: () => string;
}

export function memoryIo(options: { readonly stdin?: string; readonly terminal?: boolean } = {}): MemoryIo {
  let out = "";
  let err = "";
  const sink = (keep: (text: string) => void): Sink => ({ write: keep, isTerminal: options.terminal ?? false });
  return {
    stdout: sink((text) => {
      out += text;
    }),
    stderr: sink((text) => {
      err += text;
    }),
    stdin: async () => options.stdin ?? "",
    out: () => out,
    err: () => err,
  };
}
