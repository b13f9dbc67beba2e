import { BlockAffinity } from "../../api/blockaffinity.ts";
import type { Kind, KindKey } from "../../api/kind.ts";
import { API_VERSION, type Ref, type Resource } from "../../api/meta.ts";
import type { Kubernetes, KubernetesObject } from "../../kubernetes/index.ts";
import type {
  Capabilities,
  Client,
  DeleteOptions,
  Index,
  ListResult,
  Operation,
  Unreadable,
  WatchEvent,
  WatchOptions,
} from "../client.ts";
import { isMarkedDeleted } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { selects } from "../select.ts";
import { Connection, type KindStore, type Source } from "./connection.ts";
import { EndpointStore } from "./endpoints.ts";
import { asDatastoreError, asUnreadable } from "./errors.ts";
import type { ApiGroup } from "./group.ts";
import { isIpamKind, keyOf, UNLABELLED_AFFINITIES } from "./mapping.ts";
import { NodeStore } from "./nodes.ts";
import { ObjectStore } from "./objects.ts";
import type { KindWatch } from "./watch.ts";

const CAPABILITIES: Capabilities = { atomicBatch: false, softDelete: true, resumableWatch: true, views: true };

/** How many objects are read one by one at a time. */
const READS_AT_ONCE = 50;

export interface KubernetesClientOptions {
  /** Absent: the API server is asked, once, when it is first needed. */
  readonly group?: ApiGroup | undefined;
  readonly usePodCidr?: boolean;
  /** How the names of pods' interfaces on the host begin; `cali` when absent. */
  readonly interfacePrefix?: string | undefined;
}

/**
 * The Client of a Kubernetes API server. Each kind has a store: custom resources and Kubernetes' own kinds as they are
 * (objects.ts, mapping.ts), WorkloadEndpoint from Pods (endpoints.ts), Node (nodes.ts), and Profile from Namespaces and
 * ServiceAccounts (profiles.ts). What a plugin does not need is loaded when it is used.
 */
export class KubernetesClient implements Client {
  readonly name: string;
  readonly capabilities = CAPABILITIES;
  readonly #on: Connection;
  readonly #options: KubernetesClientOptions;
  readonly #stores = new Map<string, Promise<KindStore>>();
  /** Those that more may follow, by kind and index. */
  readonly #watches = new Map<string, KindWatch>();
  #closed = false;

  constructor(kubernetes: Kubernetes, options: KubernetesClientOptions = {}) {
    this.name = kubernetes.name;
    this.#options = options;
    this.#on = new Connection(kubernetes, options.group, options.usePodCidr ?? false);
  }

  async get<R extends Resource>(kind: Kind<R>, ref: Ref): Promise<R | undefined> {
    if (ref.name === kind.builtIn?.name) return kind.builtIn.make();
    return (await this.#with(kind, (store) => store.get(ref))) as R | undefined;
  }

  async exists(key: KindKey, ref: Ref): Promise<boolean> {
    if (ref.name === key.builtIn?.name) return true;
    // Enough of a kind for a store that reads no object. Not kept: others need one that can.
    const kind = { apiVersion: API_VERSION, ...key } as Kind;
    return this.#translated(async () => (await this.#make(kind)).has(ref));
  }

  async list<R extends Resource>(kind: Kind<R>, index?: Index): Promise<ListResult<R>> {
    const result = await this.#with(kind, (store) => this.#list(store, index));
    if (kind.builtIn) result.items.push(kind.builtIn.make());
    return result as ListResult<R>;
  }

  async create<R extends Resource>(kind: Kind<R>, resource: R): Promise<R> {
    return (await this.#carryOut({ op: "create", kind: plain(kind), resource }, false)) as R;
  }

  async update<R extends Resource>(kind: Kind<R>, resource: R): Promise<R> {
    return (await this.#carryOut({ op: "update", kind: plain(kind), resource }, false)) as R;
  }

  async delete<R extends Resource>(kind: Kind<R>, ref: Ref, options: DeleteOptions = {}): Promise<R> {
    return (await this.#carryOut({ ...options, op: "delete", kind: plain(kind), ref }, false)) as R;
  }

  async batch(operations: readonly Operation[]): Promise<Resource[]> {
    const answers: Resource[] = [];
    for (const operation of operations) answers.push(await this.#carryOut(operation, false));
    return answers;
  }

  async commit(operations: readonly Operation[]): Promise<void> {
    for (const operation of operations) {
      if (operation.op === "delete") await this.#discard(operation);
      else await this.#carryOut(operation, true);
    }
  }

  async *watch<R extends Resource>(
    kind: Kind<R>,
    options: WatchOptions = {},
  ): AsyncGenerator<WatchEvent<R>, void, undefined> {
    const { index, from, signal, shared } = options;
    const store = await this.#with(kind, async (found) => found);
    const { KindWatch } = await import("./watch.ts");
    const name = shared && from === undefined ? `${keyOfKind(kind)} ${JSON.stringify(index)}` : undefined;
    let watch = name === undefined ? undefined : this.#watches.get(name);
    if (!watch) {
      const onEnd = (): void => {
        if (name !== undefined && this.#watches.get(name) === watch) this.#watches.delete(name);
      };
      watch = new KindWatch(this.#on.kubernetes, plain(kind), store.sources(index), { index, from, onEnd });
      if (name !== undefined) this.#watches.set(name, watch);
    }
    yield* watch.follow<R>(signal);
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#on.kubernetes.close();
  }

  #carryOut(operation: Operation, trusts: boolean): Promise<Resource> {
    const { kind } = operation;
    const { name } = operation.op === "delete" ? operation.ref : operation.resource.metadata;
    return this.#with(kind, async (store) => {
      if (operation.op !== "delete" && name === kind.builtIn?.name)
        throw new DatastoreError(operation.op === "create" ? "EXISTS" : "INVALID", kind.builtIn.refusal(operation.op));
      if (operation.op === "create") return store.create(operation.resource, trusts);
      if (operation.op === "update") return store.update(operation.resource, trusts);
      refuseDelete(kind, name);
      return store.delete(operation.ref, operation);
    });
  }

  #discard({ kind, ref, ...options }: Operation & { op: "delete" }): Promise<void> {
    return this.#with(kind, async (store) => {
      refuseDelete(kind, ref.name);
      if (store.discard) await store.discard(ref, options);
      else await store.delete(ref, options);
    });
  }

  /** Does something with a kind's store. */
  #with<R extends Resource, T>(kind: Kind<R>, work: (store: KindStore) => Promise<T>): Promise<T> {
    return this.#translated(async () => work(await this.#store(plain(kind))));
  }

  /** Throws DatastoreError and nothing else. */
  async #translated<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new DatastoreError("UNAVAILABLE", `${this.name}: the connection was closed`);
    try {
      return await work();
    } catch (error) {
      if (this.#closed && !(error instanceof DatastoreError))
        throw new DatastoreError("UNAVAILABLE", `${this.name}: the connection was closed`, { cause: error });
      throw asDatastoreError(error);
    }
  }

  #store(kind: Kind): Promise<KindStore> {
    const key = keyOfKind(kind);
    let store = this.#stores.get(key);
    if (!store) {
      store = this.#make(kind).catch((error: unknown) => {
        this.#stores.delete(key);
        throw error;
      });
      this.#stores.set(key, store);
    }
    return store;
  }

  async #make(kind: Kind): Promise<KindStore> {
    if (kind.apiVersion !== API_VERSION) return new ObjectStore(this.#on, kind, "v1");
    const { interfacePrefix } = this.#options;
    switch (kind.kind) {
      case "WorkloadEndpoint":
        return new EndpointStore(this.#on, kind, interfacePrefix === undefined ? {} : { interfacePrefix });
      case "Node":
        return new NodeStore(this.#on, kind);
      case "Profile":
        return new (await import("./profiles.ts")).ProfileStore(this.#on, kind);
      default:
        return new ObjectStore(this.#on, kind, await this.#on.group());
    }
  }

  async #list(store: KindStore, index: Index | undefined): Promise<ListResult<Resource>> {
    if (index && store instanceof EndpointStore) {
      const one = await store.listByGet(index);
      if (one) return this.#collected([{ path: POD, read: one.read, objects: one.pod ? [one.pod] : [] }], index, "");
    }
    if (index && "node" in index && isIpamKind(store.kind)) {
      if (store.kind.kind === "IPAMBlock") return this.#blocksOf(store, index);
      if (store.kind.kind === "BlockAffinity") return this.#affinitiesOf(store as ObjectStore, index);
    }
    return this.#listed(store.sources(index), index);
  }

  async #listed(sources: readonly Source[], index: Index | undefined): Promise<ListResult<Resource>> {
    const lists = await Promise.all(
      sources.map(async (source) => {
        const { query, parse = JSON.parse } = source;
        const { items, resourceVersion } = await this.#on.kubernetes.list<KubernetesObject>(source.path, {
          query,
          parse,
        });
        return { ...source, objects: items, resourceVersion };
      }),
    );
    return this.#collected(lists, index, lists.map(({ resourceVersion }) => resourceVersion).join("/"));
  }

  #collected(
    lists: readonly (Pick<Source, "path" | "read" | "refOf"> & { readonly objects: readonly KubernetesObject[] })[],
    index: Index | undefined,
    revision: string,
  ): ListResult<Resource> {
    const items: Resource[] = [];
    const unreadable: Unreadable[] = [];
    for (const { path, read, refOf, objects } of lists) {
      for (const object of objects) {
        try {
          const resource = read(object);
          if (resource && !isMarkedDeleted(resource) && selects(index, resource)) items.push(resource);
        } catch (error) {
          const key = keyOf(path, object);
          unreadable.push({ key, ref: refOf?.(object) ?? refOfObject(object), error: asUnreadable(error, key) });
        }
      }
    }
    return { items, unreadable, revision };
  }

  /**
   * A host's affinities by their labels. An older Calico wrote none: where a host has no labelled one, those without are looked
   * through, and get labels, as upstream's upgrade of a host gives them. The plugin's role allows it, and who may not still sees them.
   */
  async #affinitiesOf(store: ObjectStore, index: Index & { node: string }): Promise<ListResult<Resource>> {
    const found = await this.#listed(store.sources(index), index);
    if (found.items.length > 0 || found.unreadable.length > 0) return found;
    const { path } = store.sources(undefined)[0]!;
    const old = await this.#listed([store.source(path, UNLABELLED_AFFINITIES)], index);
    const labelled = await Promise.all(old.items.map((one) => store.update(one, true).catch(() => one)));
    return { ...old, items: labelled };
  }

  /** A host's blocks, through its affinities, so that the cost does not grow with other hosts' blocks. */
  async #blocksOf(store: KindStore, index: Index & { node: string }): Promise<ListResult<Resource>> {
    const affinities = await this.#affinitiesOf((await this.#store(plain(BlockAffinity))) as ObjectStore, index);
    const cidrs = new Set(affinities.items.map(({ spec }) => (spec as { cidr: string }).cidr));
    const items: Resource[] = [];
    // Nobody knows which block it is of.
    const unreadable: Unreadable[] = [...affinities.unreadable];
    const left = [...cidrs].map((cidr): Ref => ({ name: cidr, spec: { cidr } }));
    while (left.length > 0) {
      const round = left.splice(0, READS_AT_ONCE);
      const read = await Promise.all(
        round.map(async (ref) => {
          try {
            return await store.get(ref);
          } catch (error) {
            if (!(error instanceof DatastoreError) || error.code !== "INVALID") throw error;
            unreadable.push({ key: `ipamblocks ${ref.name}`, ref, error });
            return undefined;
          }
        }),
      );
      for (const block of read) if (block && selects(index, block)) items.push(block);
    }
    // A watch from the earlier revision misses nothing.
    return { items, unreadable, revision: affinities.revision };
  }
}

const POD = { group: "", version: "v1", plural: "pods" } as const;

function refuseDelete(kind: Kind, name: string): void {
  const refusal = name === kind.builtIn?.name ? kind.builtIn.refusal("delete") : kind.refuseDelete?.(name);
  if (refusal !== undefined) throw new DatastoreError("INVALID", refusal);
}

/** What an object that cannot be read tells of itself: enough to get or delete it. */
function refOfObject({ metadata = {} }: KubernetesObject): Ref {
  const { name = "", namespace } = metadata;
  return { name, ...(namespace === undefined ? {} : { namespace }) };
}

const keyOfKind = ({ apiVersion, kind }: Pick<Kind, "apiVersion" | "kind">): string => `${apiVersion} ${kind}`;

/** A Kind<R> takes an R where a Kind takes any resource; a store only ever gives it its own. */
const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;
