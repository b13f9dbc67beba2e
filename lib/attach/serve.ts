import { CniError, type Invocation, type Plugin, type Result } from "../cni/index.ts";
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

/**
 * The plugin of these verbs, each call on a machine and logged where its configuration says. `component` is what log lines
 * call the program; tests put another machine in the place of this one.
 */
export function pluginOf(verbs: Verbs, component: string, makeHost?: (call: Invocation) => Host): Plugin {
  const host = makeHost ?? ((call) => localHost(call.env, attachLogger(call.config, component)));
  return {
    add: (call) => logged(call, host(call), verbs.add),
    del: (call) => logged(call, host(call), verbs.del),
    check: (call) => logged(call, host(call), verbs.check),
    gc: (call) => logged(call, host(call), verbs.gc),
    status: (call) => logged(call, host(call), verbs.status),
  };
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
