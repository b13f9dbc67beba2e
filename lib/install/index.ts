/**
 * Calico into a node: the executables that the container runtime calls, how they are let into the API server, and the network configuration that
 * makes the runtime call them.
 *
 *     an init container, or a person: `calico install`      install.ts -> tls.ts, executables.ts, token.ts, conflist.ts
 *     the agent, for as long as it runs: keepCni            keep.ts -> renewal.ts -> token.ts; conflist.ts
 *
 * Names, places and defaults are upstream's (cni-plugin/pkg/install, node/pkg/cni), so that its manifests go on working. What is not:
 * - A file appears as a whole or not at all (files.ts: lock, temporary file, fsync, rename, fsync of the folder), and keeps its inode when nothing
 *   of it changes. The names of the plugins are links of one file.
 * - The network configuration comes last, and only when the executables and the kubeconfig that it names are there
 *   (docs/decisions/0013-the-agent-writes-the-conflist.md). Another network's is never replaced.
 * - A token is tried, through the text that becomes the file, before it replaces the one before. It is renewed at half of its life, when the API server
 *   no longer takes it, and when the file is not what it was.
 *
 * Known gaps: Windows; no tokens from API servers before 1.20, which have no TokenRequest.
 */
export { type Access, type AccessRule, calicoRule, coreRule, READ } from "./access.ts";
export {
  type Conflist,
  type ConflistFacts,
  type Env,
  type Places,
  placeConflist,
  placesOf,
  renderConflist,
  templateOf,
} from "./conflist.ts";
export { InstallError, type InstallErrorCode } from "./errors.ts";
export { binFolders, type ExecutablesOptions, installExecutables, isTrue, PLUGIN_NAMES } from "./executables.ts";
export type { Step } from "./files.ts";
export { type InstallOptions, install, PARTS, type Part } from "./install.ts";
export { addTokenMetrics, type KeepCniOptions, keepCni } from "./keep.ts";
export { lifeOf, type PluginAccess, renderKubeconfig, type TokenLife } from "./kubeconfig.ts";
export { installTls } from "./tls.ts";
export { type TokenSource, tokenSourceOf } from "./token.ts";
