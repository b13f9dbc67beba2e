/**
 * The policy agent's configuration: some two hundred parameters, and what they are on this node.
 *
 * One table (parameters.ts, out of table-*.ts) says of each parameter its type, default, the field of a FelixConfiguration that sets it, and
 * whether a change can be applied while the agent runs. All else comes from it: reading, the type {@link AgentConfig}, the reference
 * page docs/felix-configuration.md.
 *
 * Data flow: each source -> texts by name (sources.ts: environment, file, resources) -> the text that counts, by precedence, read by
 * the parameter's type (resolve.ts) -> rules across parameters -> {@link ResolvedConfig}. From high to low the sources are: overrides
 * of the agent's own, variables FELIX_<name>, the file /etc/calico/felix.cfg, FelixConfiguration node.<node>, the one that selects
 * the node, the one named default, and the built-in default. Pure: who calls reads files, environment and datastore.
 *
 * Known gaps: regular expressions are JavaScript's, of Go's flags `(?i)` only at the beginning; a dataplane driver's executable is not looked for.
 */
export { changedParameters, needsRestart } from "./changes.ts";
export { configurationPage } from "./document.ts";
export type { Parameter } from "./parameter.ts";
export { type AgentConfig, findParameter, PARAMETERS, type ParameterName } from "./parameters.ts";
export {
  type ConfigInputs,
  type ConfigProblem,
  type ConfigResources,
  describeConfigProblem,
  type ResolvedConfig,
  resolveConfig,
  routeTables,
  type Setting,
  tableSettings,
} from "./resolve.ts";
export { chooseConfigurations, type RawConfig, SOURCE_NAMES, type Source } from "./sources.ts";
export type { PortRange, ProtoPort, TableRange } from "./types.ts";
