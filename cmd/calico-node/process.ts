/** What the processes of a node have in common: when they end, that there is one of each, and the datastore. */
import { fstatSync } from "node:fs";
import { hostname } from "node:os";
import type { Env } from "../../lib/cli/index.ts";
import {
  type Client,
  type DatastoreConfig,
  datastoreConfigFromEnv,
  ensureInitialized,
  openClient,
} from "../../lib/datastore/index.ts";
import { nodeNameOf } from "../../lib/node/environment.ts";
import { type FileLock, lockFileSync, makeFolder } from "../../lib/sys/index.ts";
import { type Logger, VERSION } from "../../lib/telemetry/index.ts";
import { pause } from "../../lib/wait/index.ts";

/** Sockets and locks. */
export const RUN_FOLDER = "/var/run/calico";
const RETRY_MS = 1_000;

/** What all processes of this node call it. */
export const nodeName = (env: Env): string => nodeNameOf(env, hostname());

/** Ends on signals, and with whoever supervises: standard input is a pipe that only its end writes to. `stays`: what is left behind, for the log. */
export function stopOn(stop: AbortController, log: Logger, stays: string): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info(`ends; ${stays}`, { signal });
      stop.abort();
    });
  }
  // Also what a person starts by hand has a standard input; only a supervisor gives it a pipe or a socket.
  const input = fstatSync(0);
  if (input.isFIFO() || input.isSocket()) {
    process.stdin.on("end", () => {
      log.warning(`ends, because the process that supervised it has ended; ${stays}`);
      stop.abort();
    });
    process.stdin.resume();
  }
}

/** Two of one kind on one node would undo each other's work. Undefined: it was to end before the other did. */
export async function takeLock(name: "felix" | "bgp", signal: AbortSignal, log: Logger): Promise<FileLock | undefined> {
  makeFolder(RUN_FOLDER);
  const path = `${RUN_FOLDER}/${name}.lock`;
  for (let said = false; !signal.aborted; said = true) {
    const lock = lockFileSync(path, { abandon: () => true });
    if (lock) return lock;
    if (!said) log.warning(`waits: another calico-node ${name} runs on this node`, { lock: path });
    await pause(RETRY_MS, signal);
  }
  return undefined;
}

/** The datastore that the environment names; an API server's audit log tells this process from the node's others by `name`. */
export function datastoreOf(env: Env, name: "felix" | "bgp" | "startup" | "shutdown"): DatastoreConfig {
  const config = datastoreConfigFromEnv(env);
  return config.type === "kubernetes" ? { ...config, userAgent: `calico-node-${name}/${VERSION}` } : config;
}

/** Waits for the datastore as long as it takes: what an earlier process left in the kernel holds meanwhile. */
export async function openDatastore(
  config: () => DatastoreConfig,
  signal: AbortSignal,
  onTrouble: (why: string) => void,
  log: Logger,
): Promise<Client | undefined> {
  let said = "";
  while (!signal.aborted) {
    let client: Client | undefined;
    try {
      client = await openClient(config());
      await ensureInitialized(client);
      return client;
    } catch (error) {
      const { message } = error as Error;
      if (message !== said) log.error("the datastore cannot be used; tried again every second", { error: message });
      said = message;
      onTrouble(message);
      await client?.close();
    }
    await pause(RETRY_MS, signal);
  }
  return undefined;
}
