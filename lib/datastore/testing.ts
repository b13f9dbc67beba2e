/**
 * For tests of whatever uses a datastore: an in-memory one that passes the same behaviour suite as the real ones, with
 * hooks that decide the order of operations of several clients and what goes wrong.
 */
import type { Capabilities, Client } from "./client.ts";
import { KeyValueClient } from "./key-value-client.ts";
import { type Hook, MemoryData, MemoryStore } from "./memory/store.ts";

export { type EtcdServer, type EtcdServerOptions, findEtcd, startEtcd } from "./etcd/server.ts";
export { Crashed, type Fault, type Hook, MemoryData, type StoreOperation } from "./memory/store.ts";

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
