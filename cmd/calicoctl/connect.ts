import { readFileSync } from "node:fs";
import { type Call, CliError, type Option, parseApiConfig } from "../../lib/cli/index.ts";
import {
  type Client,
  type DatastoreConfig,
  datastoreConfig,
  datastoreConfigFromEnv,
  openClient,
} from "../../lib/datastore/index.ts";
import { type Logger, openLogger } from "../../lib/telemetry/index.ts";

const DEFAULT_CONFIG = "/etc/calico/calicoctl.cfg";

/** Understood by every command of both programs. */
export const GLOBAL_OPTIONS: Readonly<Record<string, Option>> = {
  "log-level": {
    type: "text",
    short: "l",
    value: "LEVEL",
    summary: "What to log on stderr: panic, fatal, error, warn, info or debug.",
    default: "panic",
  },
  "allow-version-mismatch": {
    type: "boolean",
    summary: "Accepted for scripts; the versions of client and cluster are not compared.",
  },
  context: {
    type: "text",
    value: "NAME",
    summary: "The context of the kubeconfig to use instead of its current one.",
  },
};

/** Of the commands that talk to a datastore. */
export const CONFIG_OPTION: Readonly<Record<string, Option>> = {
  config: {
    type: "text",
    short: "c",
    value: "FILE",
    summary: "How to reach the datastore (CalicoAPIConfig); without the file, the environment says it.",
    default: DEFAULT_CONFIG,
  },
};

const LEVELS = {
  panic: "none",
  fatal: "error",
  error: "error",
  warn: "warning",
  info: "info",
  debug: "debug",
} as const;

/** The logger that --log-level asks for; silent unless asked. */
export function loggerOf(call: Call): Logger {
  const name = call.args.text("log-level") ?? "panic";
  if (!Object.hasOwn(LEVELS, name)) {
    throw new CliError("USAGE", `unknown log level: ${name}, expected one of: ${Object.keys(LEVELS).join(", ")}`);
  }
  return openLogger({ component: "calicoctl", level: LEVELS[name as keyof typeof LEVELS] });
}

/** Opens the datastore that the command line, the configuration file or the environment names, and closes it afterwards. */
export async function withClient<T>(call: Call, use: (client: Client, log: Logger) => Promise<T>): Promise<T> {
  const log = loggerOf(call);
  const client = await openClient(inContext(call, await configurationOf(call, log)));
  log.info("datastore opened", { datastore: client.name });
  try {
    return await use(client, log);
  } finally {
    await client.close();
  }
}

/** --context counts where the datastore is Kubernetes; elsewhere scripts may give it all the same. */
function inContext(call: Call, config: DatastoreConfig): DatastoreConfig {
  const context = call.args.text("context");
  return context && config.type === "kubernetes" ? { ...config, context } : config;
}

/** As upstream: the file when there is one, and then nothing from the environment; a file asked for by name must be there. */
async function configurationOf(call: Call, log: Logger): Promise<DatastoreConfig> {
  const path = call.args.text("config") ?? DEFAULT_CONFIG;
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (path !== DEFAULT_CONFIG) {
      throw new CliError("CONFIG", `Error reading config file: ${path}: ${(cause as Error).message}`, { cause });
    }
    log.info("no configuration file, the environment names the datastore", { file: path });
    return datastoreConfigFromEnv(call.env);
  }
  const { settings, unused } = await parseApiConfig(text, path);
  for (const key of unused) log.info("a setting is not used by this datastore", { file: path, key });
  return datastoreConfig(settings, (setting) => `${path}: spec.${setting}`);
}
