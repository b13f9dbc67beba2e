/**
 * The CNI protocol, specification 0.1.0 to 1.1.0, and nothing else: what a runtime says to a plugin (environment and
 * network configuration), what a plugin says back (a result in the version that was asked for, or an error object), and
 * how one plugin executes another. It knows nothing of datastores, addresses' origin or interfaces.
 *
 *   environment + stdin → `runPlugin` → `Invocation` → the plugin's verb → `Result` → the requested version on stdout
 *                                                                       ↘ `CniError` → error object, exit status 1
 *
 * Facts: SPEC.md of containernetworking/cni at 1.1.0 and its tags, libcni's types; the network configuration's keys are
 * upstream Calico's (cni-plugin/pkg/types/types.go).
 */

export {
  type DatastoreKeys,
  type IpamConfig,
  type LogKeys,
  type NetworkConfig,
  parseJsonObject,
  parseNetworkConfig,
  type RouteConfig,
  type ValidAttachment,
} from "./config.ts";
export { type DelegateCall, executeDelegate, findPlugin } from "./delegate.ts";
export { type CniArgs, type Command, type Environment, isName, parseArgs, parseEnvironment } from "./environment.ts";
export { CniError, type ErrorCode, errorCode, formatError } from "./errors.ts";
export { type Invocation, lazyPlugin, type Plugin, type PluginIo, runPlugin } from "./plugin.ts";
export {
  addressOf,
  type Dns,
  formatResult,
  type Interface,
  type IpConfig,
  NO_DNS,
  parseResult,
  type Result,
  type Route,
} from "./result.ts";
export { type CniVersion, isAtLeast, SUPPORTED_VERSIONS } from "./version.ts";
