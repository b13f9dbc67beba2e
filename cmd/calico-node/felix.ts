import { fstatSync } from "node:fs";
import { hostname } from "node:os";
import type { Env } from "../../lib/cli/index.ts";
import { type Client, datastoreConfigFromEnv, ensureInitialized, openClient } from "../../lib/datastore/index.ts";
import {
  type AgentConfig,
  type ConfigInputs,
  describeConfigProblem,
  resolveConfig,
  runAgent,
} from "../../lib/policy-agent/index.ts";
import { type FileLock, lockFileSync, makeFolder, pathExists, readTextFile } from "../../lib/sys/index.ts";
import { joinLoggers, type Level, type Logger, openLogger } from "../../lib/telemetry/index.ts";
import { pause } from "../../lib/wait/index.ts";

const CONFIG_FILE = "/etc/calico/felix.cfg";
const NODENAME_FILE = "/var/lib/calico/nodename";
const RUN_FOLDER = "/var/run/calico";
const RETRY_MS = 1_000;

/** The process for policy and routes to workloads; answers the exit status. */
export async function runFelix(env: Env): Promise<number> {
  const file = readTextFile(CONFIG_FILE);
  const local: ConfigInputs = {
    environment: env,
    ...(file === undefined ? {} : { file }),
    hostname: nodeName(env),
    exists: pathExists,
  };
  const { config, settings, problems } = resolveConfig(local);
  let loggers = loggersOf(config);
  const log = joinLoggers(() => loggers);
  const fatal = problems.filter((problem) => problem.fatal);
  if (fatal.length > 0) {
    for (const problem of fatal) log.error(describeConfigProblem(problem));
    return 1;
  }
  const stop = new AbortController();
  stopOn(stop, log);
  using lock = await takeLock(stop.signal, log);
  if (!lock) return 0;
  const datastore = datastoreEnv(env, config, "DatastoreType" in settings);
  return await runAgent({
    connect: (signal, onTrouble) => openDatastore(datastore, signal, onTrouble, log),
    local,
    nodeName: config.FelixHostname,
    config,
    log,
    onConfig: (now) => {
      loggers = loggersOf(now);
    },
    signal: stop.signal,
  });
}

/** As upstream's start-up finds it: NODENAME, the file that it left, the older HOSTNAME, the machine's name. */
function nodeName(env: Env): string {
  const name = env.NODENAME || readTextFile(NODENAME_FILE)?.trim() || env.HOSTNAME || hostname();
  return name.trim().toLowerCase();
}

const LEVELS: Readonly<Record<string, Level>> = {
  TRACE: "debug",
  DEBUG: "debug",
  INFO: "info",
  WARNING: "warning",
  ERROR: "error",
  FATAL: "error",
};
const LOG_FILE = { maxBytes: 100 * 1024 * 1024, maxFiles: 5, maxAgeDays: 30 };

/** To standard error and to a file, each from its own level on; `none` turns one off. */
function loggersOf({ LogSeverityScreen, LogSeverityFile, LogFilePath }: AgentConfig): Logger[] {
  const component = "felix";
  const screen = openLogger({ component, level: LEVELS[LogSeverityScreen] ?? "none" });
  if (LogFilePath === "" || LogSeverityFile === "") return [screen];
  const file = { path: LogFilePath, ...LOG_FILE };
  return [screen, openLogger({ component, level: LEVELS[LogSeverityFile] ?? "none", file, stderr: false })];
}

/** Ends on signals, and with whoever supervises: standard input is a pipe that only its end writes to. */
function stopOn(stop: AbortController, log: Logger): void {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info("ends; what is enforced stays", { signal });
      stop.abort();
    });
  }
  // Also what a person starts by hand has a standard input; only a supervisor gives it a pipe or a socket.
  const input = fstatSync(0);
  if (input.isFIFO() || input.isSocket()) {
    process.stdin.on("end", () => {
      log.warning("ends, because the process that supervised it has ended; what is enforced stays");
      stop.abort();
    });
    process.stdin.resume();
  }
}

/** Two agents on one node would undo each other's work. */
async function takeLock(signal: AbortSignal, log: Logger): Promise<FileLock | undefined> {
  makeFolder(RUN_FOLDER);
  const path = `${RUN_FOLDER}/felix.lock`;
  for (let said = false; !signal.aborted; said = true) {
    const lock = lockFileSync(path, { abandon: () => true });
    if (lock) return lock;
    if (!said) log.warning("waits: another calico-node felix runs on this node", { lock: path });
    await pause(RETRY_MS, signal);
  }
  return undefined;
}

/** Felix' own names for the datastore's settings go before those that all of Calico's programs share. */
function datastoreEnv(env: Env, config: AgentConfig, named: boolean): Env {
  if (!named) return env;
  const etcd =
    config.DatastoreType === "etcdv3"
      ? {
          ETCD_ENDPOINTS: config.EtcdEndpoints.join(",") || `${config.EtcdScheme}://${config.EtcdAddr}`,
          ...(config.EtcdCaFile ? { ETCD_CA_CERT_FILE: config.EtcdCaFile } : {}),
          ...(config.EtcdCertFile ? { ETCD_CERT_FILE: config.EtcdCertFile } : {}),
          ...(config.EtcdKeyFile ? { ETCD_KEY_FILE: config.EtcdKeyFile } : {}),
        }
      : {};
  return { ...env, DATASTORE_TYPE: config.DatastoreType, ...etcd };
}

/** Waits for the datastore as long as it takes: what an earlier agent left in the kernel holds meanwhile. */
async function openDatastore(
  env: Env,
  signal: AbortSignal,
  onTrouble: (why: string) => void,
  log: Logger,
): Promise<Client | undefined> {
  while (!signal.aborted) {
    let client: Client | undefined;
    try {
      client = await openClient(datastoreConfigFromEnv(env));
      await ensureInitialized(client);
      return client;
    } catch (error) {
      const { message } = error as Error;
      log.error("the datastore cannot be used; tried again", { error: message });
      onTrouble(message);
      await client?.close();
    }
    await pause(RETRY_MS, signal);
  }
  return undefined;
}
