import {
  type HostEndpointTemplate,
  KubeControllersConfiguration,
  type KubeControllersConfigurationSpec,
  type KubeControllersConfigurationStatus,
} from "../../api/kubecontrollersconfiguration.ts";
import { API_VERSION } from "../../api/meta.ts";
import { completeResource } from "../../api/resource.ts";
import { formatDuration } from "../../telemetry/daemon.ts";
import type { Level } from "../../telemetry/index.ts";
import { parseDuration } from "../../wait/duration.ts";
import { ConfigError } from "./errors.ts";

/** What is in force: the environment over the resource over the defaults. Durations in milliseconds. */
export interface RunConfig {
  readonly logLevel: Level;
  readonly healthEnabled: boolean;
  /** 0: no metrics are served. */
  readonly prometheusPort: number;
  /** 0: no profiles are served. */
  readonly debugProfilePort: number;
  /** 0: etcd is not asked to compact. */
  readonly compactionPeriod: number;
  readonly controllers: ControllersConfig;
}

/** A controller that is absent does not run. */
export interface ControllersConfig {
  readonly node?: NodeControllerConfig;
  readonly policy?: MirrorControllerConfig;
  readonly workloadEndpoint?: MirrorControllerConfig;
  readonly serviceAccount?: MirrorControllerConfig;
  readonly namespace?: MirrorControllerConfig;
  readonly loadBalancer?: LoadBalancerConfig;
  readonly migration: { readonly policyNameMigrator: "Enabled" | "Disabled" };
}

export interface NodeControllerConfig {
  readonly syncLabels: boolean;
  readonly hostEndpoints: HostEndpointsConfig;
  /** Calico's nodes go with Kubernetes': where the datastore is not Kubernetes itself. */
  readonly deleteNodes: boolean;
  /** How long an address must look leaked; 0: leaks are not collected. */
  readonly leakGracePeriod: number;
}

export interface HostEndpointsConfig {
  readonly autoCreate: boolean;
  readonly createDefault: boolean;
  readonly templates: readonly HostEndpointTemplate[];
}

export interface MirrorControllerConfig {
  readonly reconcilerPeriod: number;
}

export interface LoadBalancerConfig {
  readonly assignIPs: "AllServices" | "RequestedServicesOnly";
}

/** The environment variables that have a part in it. */
export const ENVIRONMENT = [
  "LOG_LEVEL",
  "RECONCILER_PERIOD",
  "ENABLED_CONTROLLERS",
  "COMPACTION_PERIOD",
  "HEALTH_ENABLED",
  "SYNC_NODE_LABELS",
  "AUTO_HOST_ENDPOINTS",
] as const;
export type Environment = Readonly<Partial<Record<string, string>>>;

type Spec = KubeControllersConfigurationSpec;
type SpecControllers = Spec["controllers"];
type Mirrored = "policy" | "workloadEndpoint" | "serviceAccount" | "namespace";
type Enabled = Mirrored | "node" | "loadBalancer";

const MIRRORED: readonly Mirrored[] = ["policy", "workloadEndpoint", "serviceAccount", "namespace"];
/** What ENABLED_CONTROLLERS calls them. */
const NAMES: Readonly<Record<string, Enabled>> = {
  workloadendpoint: "workloadEndpoint",
  profile: "namespace",
  namespace: "namespace",
  policy: "policy",
  node: "node",
  serviceaccount: "serviceAccount",
  loadbalancer: "loadBalancer",
};
const MINUTE = 60_000;
const RECONCILER_PERIOD = 5 * MINUTE;
const COMPACTION_PERIOD = 10 * MINUTE;
const LEAK_GRACE_PERIOD = 15 * MINUTE;
const METRICS_PORT = 9094;

/** What upstream creates where there is none (kube-controllers/pkg/config/runconfig.go). */
export function defaultConfiguration(): KubeControllersConfiguration {
  const reconcilerPeriod = "5m0s";
  return completeResource(KubeControllersConfiguration, {
    apiVersion: API_VERSION,
    kind: "KubeControllersConfiguration",
    metadata: { name: "default" },
    spec: {
      logSeverityScreen: "Info",
      healthChecks: "Enabled",
      etcdV3CompactionPeriod: "10m0s",
      controllers: {
        node: {
          reconcilerPeriod,
          syncLabels: "Enabled",
          hostEndpoint: { autoCreate: "Disabled", createDefaultHostEndpoint: "Enabled" },
          leakGracePeriod: "15m0s",
        },
        policy: { reconcilerPeriod },
        workloadEndpoint: { reconcilerPeriod },
        serviceAccount: { reconcilerPeriod },
        namespace: { reconcilerPeriod },
        loadBalancer: { assignIPs: "AllServices" },
        migration: { policyNameMigrator: "Enabled" },
      },
    },
  });
}

export interface Merged {
  readonly config: RunConfig;
  /** What the resource shall say of it. */
  readonly status: KubeControllersConfigurationStatus;
  /** What of the resource was not understood, and what counts instead. */
  readonly warnings: readonly string[];
}

/**
 * The configuration in force, with upstream's precedence: a variable that is set wins over the resource's field; ENABLED_CONTROLLERS
 * over which controllers the resource has. A value of a later version counts as the default. Throws {@link ConfigError} for a variable.
 */
export function mergeConfig(environment: Environment, spec: Spec): Merged {
  return new Merge(environment, spec).result();
}

class Merge {
  readonly #environment: Environment;
  readonly #spec: Spec;
  readonly #used: Record<string, string> = {};
  readonly #warnings: string[] = [];

  constructor(environment: Environment, spec: Spec) {
    this.#environment = environment;
    this.#spec = spec;
  }

  result(): Merged {
    const [logLevel, logSeverityScreen] = this.#logLevel();
    const enabled = this.#enabled();
    const period = this.#variable("RECONCILER_PERIOD", durationOf, DURATION);
    const compactionPeriod =
      this.#variable("COMPACTION_PERIOD", durationOf, DURATION) ??
      this.#duration("etcdV3CompactionPeriod", this.#spec.etcdV3CompactionPeriod, COMPACTION_PERIOD);
    const healthEnabled =
      this.#variable("HEALTH_ENABLED", booleanOf, BOOLEAN) ?? this.#spec.healthChecks !== "Disabled";

    const own: SpecControllers = this.#spec.controllers;
    const running: SpecControllers = {};
    const controllers: { -readonly [K in keyof ControllersConfig]: ControllersConfig[K] } = {
      migration: { policyNameMigrator: own.migration?.policyNameMigrator === "Disabled" ? "Disabled" : "Enabled" },
    };
    for (const name of MIRRORED) {
      if (!enabled.has(name)) continue;
      const given = own[name]?.reconcilerPeriod;
      const reconcilerPeriod =
        period ?? this.#duration(`controllers.${name}.reconcilerPeriod`, given, RECONCILER_PERIOD);
      controllers[name] = { reconcilerPeriod };
      // Not what counts where the resource says nothing, as upstream.
      const said = period === undefined ? given : formatGo(period);
      running[name] = said === undefined ? {} : { reconcilerPeriod: said };
    }
    if (enabled.has("loadBalancer")) {
      const given = own.loadBalancer?.assignIPs ?? "AllServices";
      const assignIPs = given === "RequestedServicesOnly" ? given : "AllServices";
      if (given !== assignIPs) this.#odd("controllers.loadBalancer.assignIPs", given, assignIPs);
      controllers.loadBalancer = { assignIPs };
      running.loadBalancer = { assignIPs };
    }
    running.migration = { ...controllers.migration };
    if (enabled.has("node")) [controllers.node, running.node] = this.#node(own.node);

    return {
      config: {
        logLevel,
        healthEnabled,
        prometheusPort: this.#spec.prometheusMetricsPort ?? METRICS_PORT,
        debugProfilePort: this.#spec.debugProfilePort ?? 0,
        compactionPeriod,
        controllers,
      },
      status: {
        runningConfig: {
          logSeverityScreen,
          healthChecks: healthEnabled ? "Enabled" : "Disabled",
          etcdV3CompactionPeriod: formatGo(compactionPeriod),
          controllers: running,
        },
        environmentVars: this.#used,
      },
      warnings: this.#warnings,
    };
  }

  #logLevel(): [Level, NonNullable<Spec["logSeverityScreen"]>] {
    const given = this.#variable("LOG_LEVEL", levelOf, LEVELS);
    if (given) return given;
    const { logSeverityScreen = "Info" } = this.#spec;
    const found = levelOf(logSeverityScreen);
    if (!found) this.#odd("logSeverityScreen", logSeverityScreen, "Info");
    return found ?? ["info", "Info"];
  }

  #enabled(): ReadonlySet<Enabled> {
    const given = this.#variable("ENABLED_CONTROLLERS", controllersOf, CONTROLLERS);
    if (given) return given;
    const own = this.#spec.controllers;
    return new Set((["node", "loadBalancer", ...MIRRORED] as const).filter((name) => own[name] !== undefined));
  }

  #node(own: SpecControllers["node"]): [NodeControllerConfig, NonNullable<SpecControllers["node"]>] {
    const running: NonNullable<SpecControllers["node"]> = {};
    const isKubernetes = this.#environment.DATASTORE_TYPE === "kubernetes";
    let syncLabels = false;
    // There the labels are the Node's own.
    if (isKubernetes) this.#used.DATASTORE_TYPE = "kubernetes";
    else syncLabels = this.#variable("SYNC_NODE_LABELS", booleanOf, BOOLEAN) ?? own?.syncLabels !== "Disabled";
    running.syncLabels = syncLabels ? "Enabled" : "Disabled";

    const asked = this.#variable("AUTO_HOST_ENDPOINTS", onOffOf, "enabled or disabled");
    let hostEndpoints: HostEndpointsConfig = { autoCreate: asked ?? false, createDefault: true, templates: [] };
    if (asked === undefined && own?.hostEndpoint) {
      const { autoCreate, createDefaultHostEndpoint, templates = [] } = own.hostEndpoint;
      const createDefault = createDefaultHostEndpoint !== "Disabled";
      hostEndpoints = { autoCreate: autoCreate === "Enabled", createDefault, templates };
    }
    if (asked === true || (asked === undefined && own?.hostEndpoint)) {
      const { autoCreate, createDefault, templates } = hostEndpoints;
      running.hostEndpoint = {
        autoCreate: autoCreate ? "Enabled" : "Disabled",
        createDefaultHostEndpoint: createDefault ? "Enabled" : "Disabled",
        ...(templates.length === 0 ? {} : { templates: structuredClone(templates) as HostEndpointTemplate[] }),
      };
    }
    const given = own?.leakGracePeriod;
    if (given !== undefined) running.leakGracePeriod = given;
    const leakGracePeriod = this.#duration("controllers.node.leakGracePeriod", given, LEAK_GRACE_PERIOD);
    return [{ syncLabels, hostEndpoints, deleteNodes: !isKubernetes, leakGracePeriod }, running];
  }

  /** The value of a variable that is set, though it be to nothing. */
  #variable<T>(name: (typeof ENVIRONMENT)[number], read: (text: string) => T | undefined, must: string): T | undefined {
    const text = this.#environment[name];
    if (text === undefined) return undefined;
    this.#used[name] = text;
    const value = read(text);
    if (value === undefined) throw new ConfigError(name, text, must);
    return value;
  }

  #duration(field: string, text: string | undefined, fallback: number): number {
    if (text === undefined || text === "") return fallback;
    const value = durationOf(text);
    if (value === undefined) this.#odd(field, text, formatGo(fallback));
    return value ?? fallback;
  }

  #odd(field: string, value: string, instead: string): void {
    this.#warnings.push(`spec.${field}: ${JSON.stringify(value)} is not known; ${instead} counts`);
  }
}

const DURATION = "a duration such as 5m or 1m30s";
const BOOLEAN = "true or false";
const LEVELS = "one of panic, fatal, error, warning, info, debug, trace";
const CONTROLLERS = `a list of ${Object.keys(NAMES).join(", ")} with commas between; others are not here`;

function durationOf(text: string): number | undefined {
  const value = parseDuration(text);
  return value === undefined || value < 0 ? undefined : value;
}

/** As Go's strconv.ParseBool. */
function booleanOf(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  return /^(0|f|F|FALSE|false|False)$/.test(text) ? false : undefined;
}

function onOffOf(text: string): boolean | undefined {
  const lower = text.toLowerCase();
  return lower === "enabled" ? true : lower === "disabled" ? false : undefined;
}

/** logrus' names of levels, and what the status calls them; it has no word for trace. */
function levelOf(text: string): [Level, NonNullable<Spec["logSeverityScreen"]>] | undefined {
  switch (text.toLowerCase()) {
    case "panic":
      return ["error", "Panic"];
    case "fatal":
      return ["error", "Fatal"];
    case "error":
      return ["error", "Error"];
    case "warn":
    case "warning":
      return ["warning", "Warning"];
    case "info":
      return ["info", "Info"];
    case "debug":
    case "trace":
      return ["debug", "Debug"];
    default:
      return undefined;
  }
}

function controllersOf(text: string): ReadonlySet<Enabled> | undefined {
  const names = text.split(",").map((name) => NAMES[name.trim()]);
  return names.some((name) => name === undefined) ? undefined : new Set(names as Enabled[]);
}

/** A duration as Go prints it: 1h0m0s, 5m0s, 1.5s, 500ms, 0s. */
const formatGo = (milliseconds: number): string => (milliseconds === 0 ? "0s" : formatDuration(milliseconds));
