import type { Env } from "../../lib/cli/index.ts";
import { addTokenMetrics } from "../../lib/install/index.ts";
import {
  type AgentConfig,
  type ConfigInputs,
  describeConfigProblem,
  resolveConfig,
  runAgent,
} from "../../lib/policy-agent/index.ts";
import { pathExists, readTextFile } from "../../lib/sys/index.ts";
import { joinLoggers, type Level, type Logger, openLogger } from "../../lib/telemetry/index.ts";
import { serveAttach } from "./attach.ts";
import { datastoreOf, nodeName, openDatastore, stopOn, takeLock } from "./process.ts";
import { restWhenQuiet } from "./rest.ts";

const CONFIG_FILE = "/etc/calico/felix.cfg";

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
  stopOn(stop, log, "what is enforced stays");
  using lock = await takeLock("felix", stop.signal, log);
  if (!lock) return 0;
  restWhenQuiet();
  const datastore = datastoreEnv(env, config, "DatastoreType" in settings);
  return await runAgent({
    connect: (signal, onTrouble) => openDatastore(() => datastoreOf(datastore, "felix"), signal, onTrouble, log),
    local,
    nodeName: config.FelixHostname,
    config,
    log,
    onConfig: (now) => {
      loggers = loggersOf(now);
    },
    addMetrics: (metrics) => addTokenMetrics(metrics, env),
    serve: (running) =>
      serveAttach(running, { nodeName: config.FelixHostname, datastore: datastoreOf(datastore, "felix"), log }),
    signal: stop.signal,
  });
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
