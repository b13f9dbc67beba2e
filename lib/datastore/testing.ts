/**
 * For tests of whatever uses a datastore: an in-memory one that passes the same behaviour suite as the real ones, with
 * hooks that decide the order of operations of several clients and what goes wrong.
 */
import type { ApiServer } from "../kubernetes/testing/index.ts";
import type { Capabilities, Client } from "./client.ts";
import { KeyValueClient } from "./key-value-client.ts";
import { type Hook, MemoryData, MemoryStore } from "./memory/store.ts";
import type { ClientSubject } from "./suite/index.ts";

export { type EtcdServer, type EtcdServerOptions, findEtcd, startEtcd } from "./etcd/server.ts";
export { Crashed, type Fault, type Hook, MemoryData, type StoreOperation } from "./memory/store.ts";
export type { ClientSubject } from "./suite/index.ts";

export interface MemoryOptions {
  /** The data; clients that are given the same one see each other's writes. A new, empty one when absent. */
  readonly data?: MemoryData;
  /** Awaited before every operation of this client; see {@link Fault}. Reads asked for in one synchronous stretch are one operation. */
  readonly hook?: Hook;
  /** Capabilities to differ from the defaults: `atomicBatch: false` carries out a batch write by write, as Kubernetes does. */
  readonly capabilities?: Partial<Capabilities>;
}

/** A client of an in-memory datastore. */
export function memoryClient(options: MemoryOptions = {}): Client {
  return new KeyValueClient(new MemoryStore(options.data ?? new MemoryData(), options.hook), options.capabilities);
}

/** A real API server as a datastore of tests; see kubernetes/testing.ts. `server` has the group's CRDs, and ends with the subject. */
export async function apiServerSubject(server: ApiServer, group: "v1" | "v3"): Promise<ClientSubject> {
  return (await import("./kubernetes/testing.ts")).apiServerSubject(server, group);
}
