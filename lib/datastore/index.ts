/**
 * One client for every datastore. The contract is shaped by its hardest backend, Kubernetes: revisions are opaque and
 * belong to one object, lists are per kind and named index, deletes carry revision and uid, and only what a backend
 * declares in its capabilities may be relied on. Backends are loaded by `import()`: a plugin that talks to etcd never
 * reads the code of sqlite.
 *
 * Data flow: Client (client.ts) -> KeyValueClient, which makes keys (keys.ts) and JSON (codec.ts) of resources, joins
 * reads of one moment into one round trip (batcher.ts) and turns changes into events (watch.ts) -> a KeyValueStore
 * (store.ts): sqlite/, etcd/ or, for tests, memory/. On Kubernetes the Client is another one, kubernetes/, as objects there have no
 * keys of ours, and some are views of Kubernetes' own. There one watch serves all followers in a process that say that they share it.
 */
export type {
  Capabilities,
  Client,
  DeleteOptions,
  Index,
  ListResult,
  Operation,
  Unreadable,
  WatchEvent,
  WatchOptions,
} from "./client.ts";
export {
  type DatastoreConfig,
  type DatastoreSettings,
  datastoreConfig,
  datastoreConfigFromEnv,
  datastoreConfigFromPlugin,
  type EtcdConfig,
  type KubernetesConfig,
  type SqliteConfig,
} from "./config.ts";
export { DatastoreError, type DatastoreErrorCode } from "./errors.ts";
export { ensureInitialized, type InitialiseOptions } from "./initialise.ts";
export { parseJson, stringifyJson } from "./json.ts";
export { apiGroupOf, openClient, openCluster } from "./open.ts";
