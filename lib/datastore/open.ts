import type { Client } from "./client.ts";
import type { DatastoreConfig } from "./config.ts";
import { KeyValueClient } from "./key-value-client.ts";
import type { KeyValueStore } from "./store.ts";

/** Connects to a datastore. Only the code of the chosen backend is loaded. */
export async function openClient(config: DatastoreConfig): Promise<Client> {
  return new KeyValueClient(await openStore(config));
}

/** The store beneath {@link openClient}. */
export async function openStore(config: DatastoreConfig): Promise<KeyValueStore> {
  switch (config.type) {
    case "sqlite":
      return (await import("./sqlite/store.ts")).openSqlite(config);
    case "etcdv3":
      return (await import("./etcd/store.ts")).openEtcd(config);
  }
}
