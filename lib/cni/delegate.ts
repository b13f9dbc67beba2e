import { type Command, quote } from "./environment.ts";
import { CniError, errorCode } from "./errors.ts";
import { isObject } from "./fields.ts";

/** Another plugin's call, as section 4 of the specification has it: the caller's environment and whole configuration. */
export interface DelegateCall {
  /** The plugin's name, a file in one of `path`. */
  readonly type: string;
  readonly command: Command;
  readonly path: readonly string[];
  /** The environment this plugin was called with; CNI_COMMAND is replaced. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The network configuration, as JSON text. */
  readonly stdin: string;
  /** After this long the plugin is killed, in milliseconds. */
  readonly timeoutMs: number;
  /** Where what the plugin writes to stderr goes. */
  readonly stderr?: (text: string) => void;
}

/** The full path of a plugin: the first regular file of that name in CNI_PATH's folders. CniError 7 or 4 when there is none. */
export function findPlugin(type: string, path: readonly string[]): string {
  if (path.length === 0) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_PATH is missing: it says where the plugin ${quote(type)} is`,
      "it is a list of folders separated by ':'",
    );
  }
  const { statSync } = process.getBuiltinModule("node:fs");
  for (const folder of path) {
    const file = `${folder}/${type}`;
    if (statSync(file, { throwIfNoEntry: false })?.isFile()) return file;
  }
  throw new CniError(
    errorCode.invalidConfiguration,
    `"ipam.type" names the plugin ${quote(type)}, which is in no folder of CNI_PATH`,
    `looked in ${path.join(":")}`,
  );
}

/**
 * Executes another plugin and answers with the JSON it printed, or undefined where it printed nothing. Its error object
 * becomes a CniError with the same code, message and details; whatever else goes wrong becomes one too.
 */
export async function executeDelegate(call: DelegateCall): Promise<unknown> {
  const file = findPlugin(call.type, call.path);
  const { spawn } = await import("node:child_process");
  const outcome = await new Promise<Outcome>((resolve) => {
    const env: Record<string, string> = { CNI_COMMAND: call.command };
    for (const [name, value] of Object.entries(call.env)) {
      if (value !== undefined && name !== "CNI_COMMAND") env[name] = value;
    }
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let settled = false;
    const settle = (how: Omit<Outcome, "stdout" | "stderr">): void => {
      if (settled) return;
      settled = true;
      resolve({ ...how, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(err).toString() });
    };
    try {
      const { accessSync, constants } = process.getBuiltinModule("node:fs");
      accessSync(file, constants.X_OK);
      const child = spawn(file, [], { env, stdio: ["pipe", "pipe", "pipe"] });
      const timer = setTimeout(() => {
        child.kill("SIGKILL");
        settle({ problem: `it did not answer within ${call.timeoutMs / 1000} s and was killed` });
      }, call.timeoutMs);
      child.stdout.on("data", (chunk: Buffer) => out.push(chunk));
      child.stderr.on("data", (chunk: Buffer) => err.push(chunk));
      // A plugin may end without reading its input.
      child.stdin.on("error", () => {});
      child.on("error", (error) => {
        clearTimeout(timer);
        settle({ problem: `it cannot be executed: ${error.message}` });
      });
      child.on("close", (code, signal) => {
        clearTimeout(timer);
        if (code === 0) settle({});
        else settle({ problem: signal ? `it was ended by ${signal}` : `it ended with exit status ${code}` });
      });
      child.stdin.end(call.stdin);
    } catch (error) {
      settle({ problem: `it cannot be executed: ${(error as Error).message}` });
    }
  });
  if (outcome.stderr !== "") call.stderr?.(outcome.stderr);
  return readOutcome(call, outcome);
}

interface Outcome {
  readonly problem?: string;
  readonly stdout: string;
  readonly stderr: string;
}

function readOutcome(call: DelegateCall, outcome: Outcome): unknown {
  const printed = outcome.stdout.trim();
  let answer: unknown;
  try {
    answer = printed === "" ? undefined : JSON.parse(printed);
  } catch {
    answer = null;
  }
  const isError = isObject(answer) && typeof answer.code === "number" && typeof answer.msg === "string";
  if (outcome.problem === undefined && answer !== null && !isError) return answer;
  if (isObject(answer) && isError) {
    const details = answer.details;
    throw new CniError(answer.code as number, answer.msg as string, typeof details === "string" ? details : "");
  }
  const problem = outcome.problem ?? "it answered with something that is not JSON";
  const said = (printed || outcome.stderr.trim()).slice(0, 500);
  throw new CniError(
    answer === null && outcome.problem === undefined ? errorCode.decodingFailure : errorCode.internal,
    `the plugin ${quote(call.type)} failed at ${call.command}: ${problem}`,
    said === "" ? "it said nothing" : `it said: ${said}`,
  );
}
