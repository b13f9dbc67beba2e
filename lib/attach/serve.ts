import { CniError, type Invocation, type PluginIo, type Result, runPlugin } from "../cni/index.ts";
import type { Host } from "./host.ts";
import { localHost } from "./host.ts";
import { attachLogger } from "./log.ts";

/** What a program does for each verb, on a machine. */
export interface Verbs {
  add(call: Invocation, host: Host): Promise<Result>;
  del(call: Invocation, host: Host): Promise<void>;
  check(call: Invocation, host: Host): Promise<void>;
  gc(call: Invocation, host: Host): Promise<void>;
  status(call: Invocation, host: Host): Promise<void>;
}

export interface ServeOptions extends PluginIo {
  /** What log lines call the program. */
  readonly component: string;
  /** Another machine than this one, for tests. */
  readonly makeHost?: (call: Invocation) => Host;
}

/** One call of a program by a container runtime, logged where its configuration says. Answers with the exit status. */
export function serveVerbs(verbs: Verbs, options: ServeOptions): Promise<number> {
  const makeHost = options.makeHost ?? ((call) => localHost(call.env, attachLogger(call.config, options.component)));
  return runPlugin(
    {
      add: (call) => logged(call, makeHost(call), verbs.add),
      del: (call) => logged(call, makeHost(call), verbs.del),
      check: (call) => logged(call, makeHost(call), verbs.check),
      gc: (call) => logged(call, makeHost(call), verbs.gc),
      status: (call) => logged(call, makeHost(call), verbs.status),
    },
    options,
  );
}

/** The runtime gets the error, the log what stands behind it; a stack only where somebody debugs. */
async function logged<T>(call: Invocation, host: Host, verb: (call: Invocation, host: Host) => Promise<T>): Promise<T> {
  try {
    return await verb(call, host);
  } catch (error) {
    const { command, containerId, ifName } = call.environment;
    const isExpected = error instanceof CniError;
    host.log.error(`${command} failed: ${error instanceof Error ? error.message : String(error)}`, {
      network: call.config.name,
      container: containerId || undefined,
      interface: ifName || undefined,
      code: isExpected ? error.code : undefined,
      details: (isExpected && error.details) || undefined,
    });
    if (error instanceof Error) host.log.debug("where it happened", { stack: stackOf(error) });
    throw error;
  }
}

function stackOf(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by ${stackOf(error.cause)}` : "";
  return `${error.stack ?? error.message}${cause}`;
}
