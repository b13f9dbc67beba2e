import type { ClusterInformation } from "../../api/clusterinformation.ts";
import type { FelixConfiguration } from "../../api/felixconfiguration.ts";
import type { Node } from "../../api/node.ts";
import type { Parameter } from "./parameter.ts";
import {
  type AgentConfig,
  defaultOf,
  findParameter,
  PARAMETER_NAMES,
  type ParameterName,
  parameterOf,
} from "./parameters.ts";
import {
  fromCluster,
  fromConfiguration,
  fromEnvironment,
  fromFile,
  fromNode,
  type RawConfig,
  SOURCE_NAMES,
  SOURCES,
  type Source,
} from "./sources.ts";
import type { Parsed, TableRange } from "./types.ts";

/** What the datastore says; see `chooseConfigurations`. */
export interface ConfigResources {
  readonly perNode?: FelixConfiguration;
  readonly selected?: FelixConfiguration;
  readonly default?: FelixConfiguration;
  /** Further ones that select the node, which do not count. */
  readonly others?: readonly FelixConfiguration[];
  /** This node's, for the addresses of its tunnels. */
  readonly node?: Node;
  readonly cluster?: ClusterInformation;
}

export interface ConfigInputs {
  /** The process's environment; variables that are not FELIX_… are passed over. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** The text of /etc/calico/felix.cfg; absent: there is none. */
  readonly file?: string;
  readonly resources?: ConfigResources;
  /** What the agent itself found out, such as that the kernel cannot do something; goes before all else. */
  readonly overrides?: RawConfig;
  /** The host's name, lower case: FelixHostname where nothing sets it. */
  readonly hostname?: string;
  /** Whether a file is there, for parameters that name one that must be; absent: not looked for. */
  readonly exists?: (path: string) => boolean;
}

/** Something about the configuration that somebody should know. */
export interface ConfigProblem {
  readonly code:
    | "CONFIG_INVALID_VALUE"
    | "CONFIG_UNKNOWN_PARAMETER"
    | "CONFIG_LOCAL_ONLY"
    | "CONFIG_DUPLICATE"
    | "CONFIG_AMBIGUOUS"
    | "CONFIG_INCONSISTENT"
    | "CONFIG_FILE";
  /** Absent: it is not about one. */
  readonly parameter?: string;
  readonly source?: Source;
  /** What is wrong, and what is done about it or what to do. */
  readonly message: string;
  /** The agent must not enforce by this configuration. */
  readonly fatal: boolean;
}

/** Where a parameter's value comes from. */
export interface Setting {
  readonly source: Source;
  /** As the source has it. */
  readonly text: string;
  /** What sources of lower precedence say. */
  readonly shadowed: readonly { readonly source: Source; readonly text: string }[];
}

export interface ResolvedConfig {
  /** Whole in any case; what cannot be read has its default. */
  readonly config: AgentConfig;
  /** Of the parameters that a source sets. */
  readonly settings: Readonly<Partial<Record<ParameterName, Setting>>>;
  /** What each source says, under the names of the parameters; of unknown ones under the name it uses. Empty texts are left out, as they say nothing. */
  readonly raw: Readonly<Record<Source, RawConfig>>;
  readonly problems: readonly ConfigProblem[];
}

/** The configuration of this node. Never throws: what is wrong is in `problems`. */
export function resolveConfig(inputs: ConfigInputs): ResolvedConfig {
  const problems: ConfigProblem[] = [];
  const raw = readSources(inputs, problems);
  const values: Partial<Record<ParameterName, unknown>> = {};
  const settings: Partial<Record<ParameterName, Setting & { shadowed: { source: Source; text: string }[] }>> = {};
  for (const source of SOURCES) {
    for (const [given, text] of Object.entries(raw[source])) {
      const name = findParameter(given);
      if (name === undefined) {
        const message = `there is no such parameter; ${SOURCE_NAMES[source]} sets it to no effect`;
        problems.push({ code: "CONFIG_UNKNOWN_PARAMETER", parameter: given, source, message, fatal: false });
        continue;
      }
      const known = parameterOf(name);
      if (known.local && isDatastore(source)) {
        const message = `is needed before the datastore is read, so it must be in the environment or the file; ${SOURCE_NAMES[source]} sets it to no effect`;
        problems.push({ code: "CONFIG_LOCAL_ONLY", parameter: name, source, message, fatal: false });
        continue;
      }
      const before = settings[name];
      const parsed = read(known, text, inputs.exists);
      if ("must" in parsed) problems.push(invalid(name, known, source, text, parsed.must, before !== undefined));
      if (before) before.shadowed.push({ source, text });
      else {
        settings[name] = { source, text, shadowed: [] };
        // A value that cannot be read still hides those of lower precedence, as it does for upstream.
        values[name] = "value" in parsed ? parsed.value : defaultOf(known);
      }
    }
  }
  for (const name of PARAMETER_NAMES) {
    if (!(name in values)) values[name] = defaultOf(parameterOf(name));
  }
  if (!settings.FelixHostname) values.FelixHostname = inputs.hostname ?? "";
  const config = values as AgentConfig;
  problems.push(...check(config));
  return { config, settings, raw, problems };
}

const isDatastore = (source: Source): boolean => source === "perNode" || source === "selected" || source === "global";

function readSources(inputs: ConfigInputs, problems: ConfigProblem[]): Record<Source, RawConfig> {
  const { environment = {}, file, resources = {}, overrides = {} } = inputs;
  const { values, bad } = file === undefined ? { values: [], bad: [] } : fromFile(file);
  for (const { line } of bad) {
    const message = `line ${line} must be "name = value", "[section]", or a comment after # or ;`;
    problems.push({ code: "CONFIG_FILE", source: "file", message, fatal: true });
  }
  if (resources.selected && resources.others?.length) {
    const names = resources.others.map(({ metadata }) => metadata.name).join(", ");
    const message = `the FelixConfiguration ${resources.selected.metadata.name} selects the node, and so do ${names}; the oldest counts`;
    problems.push({ code: "CONFIG_AMBIGUOUS", source: "selected", message, fatal: false });
  }
  const configuration = (found: FelixConfiguration | undefined) => (found ? fromConfiguration(found) : []);
  const pairs: Record<Source, readonly [string, string][]> = {
    override: Object.entries(overrides),
    environment: fromEnvironment(environment),
    file: values,
    perNode: [...(resources.node ? fromNode(resources.node) : []), ...configuration(resources.perNode)],
    selected: configuration(resources.selected),
    global: [...(resources.cluster ? fromCluster(resources.cluster) : []), ...configuration(resources.default)],
  };
  const merged = (source: Source) => merge(source, pairs[source], problems);
  return {
    override: merged("override"),
    environment: merged("environment"),
    file: merged("file"),
    perNode: merged("perNode"),
    selected: merged("selected"),
    global: merged("global"),
  };
}

/** One text for each name; of several the last counts. */
function merge(source: Source, pairs: readonly [string, string][], problems: ConfigProblem[]): RawConfig {
  const texts = new Map<string, string>();
  for (const [given, text] of pairs) {
    if (text === "") continue;
    const name = findParameter(given) ?? given;
    const before = texts.get(name);
    // Annotations of a resource are there to go before its fields.
    if (before !== undefined && before !== text && !isDatastore(source)) {
      const message = `is set more than once in ${SOURCE_NAMES[source]}; the last one counts`;
      problems.push({ code: "CONFIG_DUPLICATE", parameter: name, source, message, fatal: false });
    }
    texts.set(name, text);
  }
  return Object.fromEntries(texts);
}

function read({ type }: Parameter, text: string, exists: ConfigInputs["exists"]): Parsed<unknown> {
  if (text.toLowerCase() === "none") {
    // A word of the type's own goes before: FlowLogsPolicyEvaluationMode=None.
    if (type.words?.includes("None")) return type.parse(text);
    return type.nonZero ? { must: `${type.means}; there is no none` } : { value: type.zero };
  }
  const parsed = type.parse(text);
  return "value" in parsed && type.file && exists && !exists(text) ? { must: type.means } : parsed;
}

function invalid(
  parameter: ParameterName,
  known: Parameter,
  source: Source,
  text: string,
  must: string,
  isShadowed: boolean,
): ConfigProblem {
  // Upstream does not start with `none` for any parameter that has none, whether its other mistakes are fatal or not.
  const fatal = !isShadowed && (known.fatal === true || (text.toLowerCase() === "none" && known.type.nonZero === true));
  const outcome = isShadowed
    ? "it does not count, as another source goes before"
    : fatal
      ? "correct it; nothing is enforced by a guess"
      : `its default ${known.default === undefined ? "" : `${known.default} `}is used instead`;
  const quoted = known.secret ? "its value" : JSON.stringify(text);
  const message = `${quoted} in ${SOURCE_NAMES[source]}: must be ${must}; ${outcome}`;
  return { code: "CONFIG_INVALID_VALUE", parameter, source, message, fatal };
}

/** Rules across parameters. */
function check(config: AgentConfig): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const report = (parameter: ParameterName, message: string, fatal: boolean) =>
    problems.push({ code: "CONFIG_INCONSISTENT", parameter, message, fatal });
  if (config.FelixHostname === "") {
    report("FelixHostname", "is not set, and the host's name is not known; set FELIX_FELIXHOSTNAME", true);
  }
  if (config.DatastoreType === "etcdv3" && config.EtcdEndpoints.length === 0) {
    for (const name of ["EtcdScheme", "EtcdAddr"] as const) {
      if (config[name] === "") report(name, "must not be none where EtcdEndpoints is not set", true);
    }
  }
  const { TyphaCAFile, TyphaCertFile, TyphaKeyFile, TyphaCN, TyphaURISAN } = config;
  if (TyphaCAFile || TyphaCertFile || TyphaKeyFile || TyphaCN || TyphaURISAN) {
    for (const name of ["TyphaCAFile", "TyphaCertFile", "TyphaKeyFile"] as const) {
      if (config[name] === "") report(name, "must be set where another parameter of TLS to Typha is", true);
    }
    if (!TyphaCN && !TyphaURISAN) {
      report("TyphaCN", "or TyphaURISAN must be set where another parameter of TLS to Typha is", true);
    }
  }
  if (config.RouteTableRange && config.RouteTableRanges.length > 0) {
    report("RouteTableRange", "does not count where RouteTableRanges is set; remove it", false);
  }
  for (const version of ["IPv4", "IPv6"] as const) {
    const [elevated, normal] = [`${version}ElevatedRoutePriority`, `${version}NormalRoutePriority`] as const;
    if (config[elevated] >= config[normal]) {
      const message = `${config[elevated]} must be less than ${normal}, ${config[normal]}, to go before it`;
      report(elevated, message, false);
    }
  }
  return problems;
}

/** A problem in one line: `CONFIG_INVALID_VALUE: HealthPort: "x" in the environment: must be …`. */
export function describeConfigProblem({ code, parameter, message }: ConfigProblem): string {
  return `${code}: ${parameter === undefined ? "" : `${parameter}: `}${message}`;
}

/** What the dataplane in use has of the parameters that exist for iptables and nftables each. */
export function tableSettings(config: AgentConfig, dataplane: "iptables" | "nftables") {
  return dataplane === "nftables"
    ? {
        filterAllowAction: config.NftablesFilterAllowAction,
        mangleAllowAction: config.NftablesMangleAllowAction,
        filterDenyAction: config.NftablesFilterDenyAction,
        markMask: config.NftablesMarkMask,
        /** Milliseconds; 0: never. */
        refreshInterval: config.NftablesRefreshInterval,
      }
    : {
        filterAllowAction: config.IptablesFilterAllowAction,
        mangleAllowAction: config.IptablesMangleAllowAction,
        filterDenyAction: config.IptablesFilterDenyAction,
        markMask: config.IptablesMarkMask,
        refreshInterval: config.IptablesRefreshInterval,
      };
}

const DEFAULT_TABLES: TableRange = { min: 1, max: 250 };

/** The routing tables that may be used; those that the kernel keeps for itself (253 to 255) are for the caller to leave out. */
export function routeTables({ RouteTableRange, RouteTableRanges }: AgentConfig): readonly TableRange[] {
  if (RouteTableRanges.length > 0) return RouteTableRanges;
  return [RouteTableRange ?? DEFAULT_TABLES];
}
