import { type NetworkConfig, parseJsonObject, parseNetworkConfig } from "./config.ts";
import { type Environment, parseEnvironment } from "./environment.ts";
import { CniError, errorCode, formatError } from "./errors.ts";
import { isObject } from "./fields.ts";
import { formatResult, type Result } from "./result.ts";
import { ABSENT_VERSION, type CniVersion, CURRENT_VERSION, isAtLeast, SUPPORTED_VERSIONS } from "./version.ts";

/** One checked call of a verb. */
export interface Invocation {
  readonly environment: Environment;
  readonly config: NetworkConfig;
  /** The configuration's text, for executed plugins. */
  readonly stdin: string;
  /** All variables of the call, for executed plugins. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A plugin: what it does for each verb. Every verb reports failure by throwing, at best a CniError. */
export interface Plugin {
  add(call: Invocation): Promise<Result>;
  del(call: Invocation): Promise<void>;
  check(call: Invocation): Promise<void>;
  gc(call: Invocation): Promise<void>;
  status(call: Invocation): Promise<void>;
}

/** A plugin whose code is loaded by the first verb: VERSION, and a call that is refused, then never pay for it. */
export function lazyPlugin(load: () => Promise<Plugin>): Plugin {
  return {
    add: async (call) => (await load()).add(call),
    del: async (call) => (await load()).del(call),
    check: async (call) => (await load()).check(call),
    gc: async (call) => (await load()).gc(call),
    status: async (call) => (await load()).status(call),
  };
}

/** The process around a plugin. */
export interface PluginIo {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readStdin: () => string | Promise<string>;
  readonly stdout: (text: string) => void;
}

/** The oldest version that has the verb. */
const SINCE: Partial<Record<Environment["command"], CniVersion>> = { CHECK: "0.4.0", GC: "1.1.0", STATUS: "1.1.0" };

/**
 * One call from beginning to end: reads the environment and stdin, calls the verb, prints the result or the error
 * object. Answers with the exit status, 0 or 1, and never throws.
 */
export async function runPlugin(plugin: Plugin, io: PluginIo): Promise<number> {
  // What an error object says it is, until the configuration tells.
  let version: string = CURRENT_VERSION;
  try {
    const environment = parseEnvironment(io.env);
    const stdin = await readAll(io, environment.command === "VERSION");
    if (environment.command === "VERSION") {
      io.stdout(print(versionAnswer(stdin)));
      return 0;
    }
    const raw = parseJsonObject(stdin);
    const config = parseNetworkConfig(raw, (found) => {
      version = found;
    });
    const since = SINCE[environment.command];
    if (since && !isAtLeast(config.cniVersion, since)) {
      throw new CniError(
        errorCode.incompatibleVersion,
        `incompatible CNI version: ${environment.command} exists since ${since}, "cniVersion" is ${config.cniVersion}`,
      );
    }
    const call: Invocation = { environment, config, stdin, env: io.env };
    const result = await dispatch(plugin, call);
    if (result) io.stdout(print(formatResult(result, config.cniVersion)));
    return 0;
  } catch (error) {
    io.stdout(formatError(asCniError(error), version));
    return 1;
  }
}

async function dispatch(plugin: Plugin, call: Invocation): Promise<Result | undefined> {
  switch (call.environment.command) {
    case "ADD":
      return plugin.add(call);
    case "DEL":
      await plugin.del(call);
      return undefined;
    case "CHECK":
      await plugin.check(call);
      return undefined;
    case "GC":
      await plugin.gc(call);
      return undefined;
    case "STATUS":
      await plugin.status(call);
      return undefined;
    case "VERSION":
      return undefined;
  }
}

async function readAll(io: PluginIo, optional: boolean): Promise<string> {
  try {
    return await io.readStdin();
  } catch (error) {
    if (optional) return "";
    throw new CniError(
      errorCode.ioFailure,
      `the network configuration cannot be read from stdin: ${(error as Error).message}`,
    );
  }
}

/** The version that is asked with comes back; callers of before 0.2.0 send nothing. */
function versionAnswer(stdin: string): Record<string, unknown> {
  let asked: string = ABSENT_VERSION;
  try {
    const raw: unknown = JSON.parse(stdin);
    if (isObject(raw) && typeof raw.cniVersion === "string" && raw.cniVersion !== "") asked = raw.cniVersion;
  } catch {
    asked = CURRENT_VERSION;
  }
  return { cniVersion: asked, supportedVersions: [...SUPPORTED_VERSIONS] };
}

/** Anything unexpected is libcni's "internal" 999, with its message and without its stack. */
function asCniError(error: unknown): CniError {
  if (error instanceof CniError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new CniError(
    errorCode.internal,
    `unexpected error: ${message.split("\n", 1)[0]}`,
    "this is a defect of the plugin; log_level debug records where it happened",
  );
}

function print(object: unknown): string {
  return `${JSON.stringify(object, undefined, 4)}\n`;
}
