import type { Env } from "../../lib/cli/index.ts";
import {
  ConfigError,
  type ControllerContext,
  controllersOf,
  enabledControllers,
  followConfig,
  type RunConfig,
  runControllers,
  StatusFile,
  select,
  systemTime,
} from "../../lib/controllers/index.ts";
import {
  apiGroupOf,
  type Client,
  type DatastoreConfig,
  DatastoreError,
  datastoreConfigFromEnv,
  ensureInitialized,
  openClient,
  openCluster,
} from "../../lib/datastore/index.ts";
import {
  inClusterConfig,
  isInCluster,
  type Kubernetes,
  KubernetesError,
  loadKubeconfig,
  openKubernetes,
} from "../../lib/kubernetes/index.ts";
import { addProcessMetrics, Metrics, openTelemetryServer, type TelemetryServer } from "../../lib/telemetry/daemon.ts";
import { joinLoggers, type Level, type Logger, openLogger, VERSION } from "../../lib/telemetry/index.ts";
import { orAborted, pause } from "../../lib/wait/index.ts";

/** Until the datastore is tried again at start, between looks at its health, and between signs of life. In milliseconds. */
const RETRY_MS = 1_000;
const HEALTH_MS = 10_000;
/** A look at health that takes longer has failed; upstream's longest. */
const HEALTH_TIMEOUT_MS = 16_000;

/** Runs the controllers until a signal; answers the exit status. */
export async function run(env: Env): Promise<number> {
  let level: Level = "info";
  const loggers = new Map<string, Logger>();
  const logger = (component: string): Logger =>
    joinLoggers(() => {
      const key = `${component} ${level}`;
      const known = loggers.get(key) ?? openLogger({ component, level });
      loggers.set(key, known);
      return [known];
    });
  const log = logger("kube-controllers");
  const stop = new AbortController();
  const { signal } = stop;
  for (const name of ["SIGTERM", "SIGINT"] as const) {
    process.once(name, () => {
      log.info("ends", { signal: name });
      stop.abort();
    });
  }
  const status = new StatusFile({
    ...(env.STATUS_FILE && { path: env.STATUS_FILE }),
    onError: (error) => log.warning("the status file cannot be written: probes by it fail", { error: error.message }),
  });
  status.set("Startup", false, "initialized to false");
  const alive = setInterval(() => status.touch(), HEALTH_MS);
  let opened: Opened | undefined;
  let server: TelemetryServer | undefined;
  try {
    opened = await connect(env, status, log, signal);
    if (!opened) return 0;
    const { client, kubernetes, isV3 } = opened;
    const { config, done } = await followConfig({ client, environment: env, log: logger("config"), signal });
    status.set("Startup", true);
    const metrics = new Metrics();
    addProcessMetrics(metrics);
    const serve = (port: number): void => {
      server?.close();
      server =
        port === 0
          ? undefined
          : openTelemetryServer({
              host: "",
              port,
              metrics,
              onError: (error) => log.error("metrics cannot be served; tried again", { port, error: error.message }),
            });
    };
    level = config.value.logLevel;
    serve(config.value.prometheusPort);
    const port = select(config, ({ prometheusPort }) => prometheusPort);
    port.onChange(() => serve(port.value));
    config.onChange(() => {
      level = config.value.logLevel;
    });
    const context = (name: string): ControllerContext => ({
      client,
      kubernetes,
      metrics,
      time: systemTime,
      log: logger(name),
      report: (ready, reason) => status.set(name, ready, reason),
    });
    const health = keepHealth(client, kubernetes, config, status, signal);
    await runControllers({
      make: controllersOf(context, config),
      enabled: select(config, (value: RunConfig) => enabledControllers(value, isV3)),
      onStopped: (name) => status.remove(name),
      onFailed: (name, error) => status.set(name, false, (error as Error).message),
      log,
      signal,
    });
    await Promise.all([done, health]);
    return 0;
  } catch (error) {
    if (signal.aborted) return 0;
    if (!isWrongConfiguration(error)) throw error;
    log.error("ends: the configuration is wrong", { error: error.message });
    return 1;
  } finally {
    clearInterval(alive);
    server?.close();
    await Promise.all([opened?.client.close(), opened?.kubernetes.close()]);
  }
}

interface Opened {
  readonly client: Client;
  readonly kubernetes: Kubernetes;
  readonly isV3: boolean;
}

/** Waits for datastore and cluster as long as it takes. Throws when no waiting can help, as the configuration is wrong. */
async function connect(env: Env, status: StatusFile, log: Logger, signal: AbortSignal): Promise<Opened | undefined> {
  let said = "";
  while (!signal.aborted) {
    let client: Client | undefined;
    try {
      const config = datastoreOf(env);
      client = await openClient(config);
      await ensureInitialized(client);
      const kubernetes = await clusterOf(config, env);
      const isV3 = config.type === "kubernetes" && (await apiGroupOf(config, kubernetes)) === "v3";
      return { client, kubernetes, isV3 };
    } catch (error) {
      const { message } = error as Error;
      if (message !== said && !isWrongConfiguration(error))
        log.error("cannot begin; tried again every second", { error: message });
      said = message;
      status.set("Startup", false, `Error initializing datastore: ${message}`);
      await client?.close();
      if (isWrongConfiguration(error)) throw error;
    }
    await pause(RETRY_MS, signal);
  }
  return undefined;
}

function datastoreOf(env: Env): DatastoreConfig {
  const config = datastoreConfigFromEnv(env);
  return config.type === "kubernetes" ? { ...config, userAgent: `calico-kube-controllers/${VERSION}` } : config;
}

/** The cluster whose nodes and pods these are: the datastore's own, or, with etcd, that of KUBECONFIG or of this pod. */
async function clusterOf(config: DatastoreConfig, env: Env): Promise<Kubernetes> {
  if (config.type === "kubernetes") return openCluster(config);
  if (env.KUBECONFIG) return openKubernetes(loadKubeconfig({ file: env.KUBECONFIG }));
  if (isInCluster(env)) return openKubernetes(await inClusterConfig(env));
  throw new DatastoreError("CONFIG", "no cluster is named: set KUBECONFIG, or run in a pod of the cluster");
}

/** A kind that the cluster does not have may yet be installed: that is waited for. */
function isWrongConfiguration(error: unknown): error is Error {
  if (error instanceof DatastoreError) return error.code === "CONFIG" && !error.kindMissing;
  return error instanceof ConfigError || (error instanceof KubernetesError && error.code === "CONFIG");
}

/** Upstream's two conditions: whether the datastore answers and is initialized, and whether the API server is healthy. */
async function keepHealth(
  client: Client,
  kubernetes: Kubernetes,
  config: { readonly value: RunConfig },
  status: StatusFile,
  signal: AbortSignal,
): Promise<void> {
  const look = async (part: string, trouble: string, work: (limit: AbortSignal) => Promise<unknown>): Promise<void> => {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(HEALTH_TIMEOUT_MS)]);
    try {
      await orAborted(work(limit), limit);
      status.set(part, true);
    } catch (error) {
      if (!signal.aborted) status.set(part, false, `${trouble}: ${(error as Error).message}`);
    }
  };
  while (!signal.aborted) {
    if (config.value.healthEnabled) {
      await look("CalicoDatastore", "Error verifying datastore", () => ensureInitialized(client));
      await look("KubeAPIServer", "Error reaching apiserver", (limit) =>
        kubernetes.request("GET", "/healthz", { signal: limit, parse: (text) => text }),
      );
    } else {
      status.remove("CalicoDatastore");
      status.remove("KubeAPIServer");
    }
    await pause(HEALTH_MS, signal);
  }
}
