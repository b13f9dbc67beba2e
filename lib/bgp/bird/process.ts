/** BIRD as a child process. */
import { type ChildProcess, spawn } from "node:child_process";
import { BirdError } from "./errors.ts";

/** How BIRD ended. */
export interface BirdEnd {
  /** Absent when it was not our child: all that is known is that its control socket closed. */
  readonly exitCode?: number;
  readonly signal?: string;
  /** The last it wrote to its log. */
  readonly lastLines: readonly string[];
}

export interface BirdChild {
  readonly pid: number;
  readonly ended: Promise<BirdEnd>;
  kill(signal: "SIGTERM" | "SIGKILL"): void;
}

const LAST_LINES = 20;

/** Throws a {@link BirdError} `BIRD_NOT_RUNNING` when it cannot be executed. */
export async function startChild(
  executable: string,
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  log: (line: string) => void,
): Promise<BirdChild> {
  const child = spawn(executable, args, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
  const { promise, resolve } = Promise.withResolvers<BirdEnd>();
  const lastLines: string[] = [];
  readLines(child, (line) => {
    lastLines.push(line);
    if (lastLines.length > LAST_LINES) lastLines.shift();
    log(line);
  });
  child.on("close", (code, signal) =>
    resolve({ ...(code !== null && { exitCode: code }), ...(signal !== null && { signal }), lastLines }),
  );
  await new Promise<void>((started, failed) => {
    child.on("spawn", started);
    child.on("error", (error: NodeJS.ErrnoException) =>
      failed(
        new BirdError(
          "BIRD_NOT_RUNNING",
          `${executable} cannot be started (${error.code ?? error.message}); is BIRD installed?`,
        ),
      ),
    );
  });
  return { pid: child.pid ?? 0, ended: promise, kill: (signal) => void child.kill(signal) };
}

/** A line that never ends is given out in pieces. */
function readLines(child: ChildProcess, line: (text: string) => void): void {
  const decoder = new TextDecoder();
  let rest = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > 8192) {
      lines.push(rest);
      rest = "";
    }
    for (const text of lines) line(text);
  });
}
