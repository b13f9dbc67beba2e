import { afterAll, beforeAll, expect } from "vitest";
import { type BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { type IPAMBlock, newIPAMBlock } from "../../api/ipamblock.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import type { Client, WatchEvent, WatchOptions } from "../client.ts";
import { DatastoreError, type DatastoreErrorCode } from "../errors.ts";
import { KeyValueClient } from "../key-value-client.ts";
import { keyOf } from "../keys.ts";
import { type KeyValueStore, prefixRange, type Stored } from "../store.ts";

/** An empty datastore under test, seen through its Client. */
export interface ClientSubject {
  /** Another connection to it. */
  open(): Promise<Client>;
  /** Removes everything. */
  clear(): Promise<void>;
  /** Puts something that cannot be read in an object's place, as a program that checks nothing would. Answers its key. */
  spoil(kind: Kind, name: string): Promise<string>;
  /** Removes what {@link spoil} has put there. */
  unspoil(kind: Kind, name: string): Promise<void>;
  /** Makes what an endpoint needs before it can be written, where that is anything. */
  prepareEndpoint?(endpoint: WorkloadEndpoint): Promise<void>;
  /** Makes it forget how it came to its present state. */
  compact(): Promise<void>;
  /** Ends and restarts its server, where it has one. */
  restart?(): Promise<void>;
  remove(): Promise<void>;
}

/** One that is an ordered map of keys to texts. */
export interface Subject {
  /** Another connection to it. */
  open(): Promise<KeyValueStore>;
  /** Makes it forget how it came to its present state. */
  compact(): Promise<void>;
  /** Ends and restarts its server, where it has one. */
  restart?(): Promise<void>;
  remove(): Promise<void>;
}

/** What the tests of a suite work on; its fields are there once the tests run. */
export interface Context {
  subject: Pick<ClientSubject, "compact" | "restart" | "spoil" | "unspoil">;
  client: Client;
  /** Another client of the same datastore, closed when the suite ends. */
  another(): Promise<Client>;
  /** Removes everything. */
  clear(): Promise<void>;
  /** Creates an endpoint, and what it needs to be there. */
  createEndpoint(endpoint: WorkloadEndpoint): Promise<WorkloadEndpoint>;
}

/** The same where keys and texts can be seen. */
export interface KeyValueContext extends Context {
  store: KeyValueStore;
  openStore(): Promise<KeyValueStore>;
  /** What is stored under a key. */
  raw(key: string): Promise<Stored | undefined>;
  /** Stores a value as another program would; undefined removes it. */
  put(key: string, value: string | undefined): Promise<void>;
  /** Removes everything under a prefix, or everything. */
  clear(prefix?: string): Promise<void>;
}

/** A fresh datastore for the tests of the describe block that this is called in. */
export function prepareClient(make: () => Promise<ClientSubject>): Context {
  const opened: Client[] = [];
  let subject: ClientSubject;
  const on: Context = Object.assign({} as Context, {
    another: async () => {
      const made = await subject.open();
      opened.push(made);
      return made;
    },
    clear: () => subject.clear(),
    createEndpoint: async (endpoint: WorkloadEndpoint) => {
      await subject.prepareEndpoint?.(endpoint);
      return on.client.create(WorkloadEndpoint, endpoint);
    },
  } satisfies Partial<Context>);
  beforeAll(async () => {
    on.subject = subject = await make();
    on.client = await on.another();
  });
  afterAll(async () => {
    for (const one of opened) await one.close();
    await subject?.remove();
  });
  return on;
}

/** The same for a datastore that is an ordered map. */
export function prepare(make: () => Promise<Subject>): KeyValueContext {
  let subject: Subject;
  const clear = async (prefix = "/calico/"): Promise<void> => {
    const { results } = await on.store.read([prefixRange(prefix)]);
    const keys = results[0]!.map(({ key }) => key);
    for (let start = 0; start < keys.length; start += 100)
      await on.store.transact(
        [],
        keys.slice(start, start + 100).map((key) => ({ key, value: undefined })),
      );
  };
  const put = async (key: string, value: string | undefined): Promise<void> => {
    expect((await on.store.transact([], [{ key, value }])).succeeded).toBe(true);
  };
  const on = Object.assign(
    prepareClient(async () => {
      subject = await make();
      on.store = await subject.open();
      return {
        open: async () => new KeyValueClient(await subject.open()),
        clear,
        spoil: async (kind, name) => {
          const key = keyOf(kind, { name })!;
          await put(key, "{");
          return key;
        },
        unspoil: (kind, name) => put(keyOf(kind, { name })!, undefined),
        compact: () => subject.compact(),
        ...(subject.restart ? { restart: () => subject.restart!() } : {}),
        remove: async () => {
          await on.store.close();
          await subject.remove();
        },
      };
    }),
    {
      openStore: () => subject.open(),
      raw: async (key: string) => (await on.store.read([{ key }])).results[0]?.[0],
      put,
      clear,
    },
  ) as KeyValueContext;
  return on;
}

export const pool = (name: string, cidr: string): IPPool => ({
  apiVersion: IPPool.apiVersion,
  kind: "IPPool",
  metadata: { name },
  spec: { cidr } as IPPool["spec"],
});

export const endpoint = (namespace: string, node: string, pod: string, iface = "eth0"): WorkloadEndpoint => ({
  apiVersion: WorkloadEndpoint.apiVersion,
  kind: "WorkloadEndpoint",
  metadata: { name: `${node}-k8s-${pod}-${iface}`, namespace },
  spec: {
    orchestrator: "k8s",
    node,
    pod,
    endpoint: iface,
    ipNetworks: ["10.0.0.1/32"],
    interfaceName: "cali0",
  } as WorkloadEndpoint["spec"],
});

export const block = (cidr: string, affinity?: string): IPAMBlock =>
  newIPAMBlock({ cidr, sequenceNumber: 1_700_000_000_123_456_789n, ...(affinity ? { affinity } : {}) });

export const affinity = (node: string, cidr: string, type: "host" | "virtual" = "host"): BlockAffinity =>
  newBlockAffinity({ node, cidr, type, state: "confirmed" });

/** The same with a change: where nothing changes, an API server keeps the revision as well. */
export const touched = <R extends Resource>(resource: R): R => ({
  ...resource,
  metadata: { ...resource.metadata, annotations: { touched: crypto.randomUUID() } },
});

export const names = (resources: readonly Resource[]): string[] => resources.map(({ metadata }) => metadata.name);

/** The code of the DatastoreError that `work` throws. */
export async function codeOf(work: Promise<unknown>): Promise<DatastoreErrorCode | "no error"> {
  try {
    await work;
    return "no error";
  } catch (error) {
    if (error instanceof DatastoreError) return error.code;
    throw error;
  }
}

/** A watch whose events are collected. */
export class Watcher<R extends Resource> {
  readonly events: WatchEvent<R>[] = [];
  failure: unknown;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(client: Client, kind: Kind<R>, options: WatchOptions = {}) {
    this.#done = (async () => {
      try {
        for await (const event of client.watch(kind, { ...options, signal: this.#abort.signal }))
          this.events.push(event);
      } catch (error) {
        this.failure = error;
      }
    })();
  }

  /** `added web`, `synced`… without the first `skip`. */
  told(skip = 0): string[] {
    return this.events.slice(skip).map((event) => {
      if (event.type === "synced") return "synced";
      return `${event.type} ${event.type === "invalid" ? event.key : event.resource.metadata.name}`;
    });
  }

  /** Waits until `condition` holds of what was told. */
  async until(condition: (told: string[]) => boolean): Promise<string[]> {
    for (const deadline = Date.now() + 20_000; !condition(this.told()); ) {
      if (this.failure) throw this.failure;
      if (Date.now() > deadline) throw new Error(`not told in time, only: ${this.told().join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.told();
  }

  count(events: number): Promise<string[]> {
    return this.until((told) => told.length >= events);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
    if (this.failure) throw this.failure;
  }
}
