/**
 * One client for every datastore. The contract is shaped by its hardest backend, Kubernetes: revisions are opaque and
 * belong to one object, lists are per kind and named index, deletes carry revision and uid, and only what a backend
 * declares in its capabilities may be relied on. Backends are loaded by `import()`: a plugin that talks to etcd never
 * reads the code of sqlite.
 */
export { openClient } from "./open.ts";
export { type DatastoreConfig, datastoreConfigFromEnv } from "./config.ts";
export type {
  Capabilities,
  Client,
  DeleteOptions,
  Index,
  ListResult,
  Operation,
  WatchEvent,
  WatchOptions,
} from "./client.ts";
export { DatastoreError, type DatastoreErrorCode } from "./errors.ts";
export { parseJson, stringifyJson } from "./json.ts";
