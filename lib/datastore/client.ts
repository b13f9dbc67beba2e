import type { Kind, KindKey } from "../api/kind.ts";
import type { Ref, Resource } from "../api/meta.ts";

/** What a backend can promise beyond the contract. The behaviour suite skips by these, and says so. */
export interface Capabilities {
  /** `batch` commits all of its operations or none. Elsewhere they are carried out in order, and stop at the first failure. */
  readonly atomicBatch: boolean;
  /** Others mark objects of IPAM as deleted before they delete them, and may have left it at that: such an object counts as absent. */
  readonly softDelete: boolean;
  /** A watch may be resumed at a revision the caller kept, after a reconnect or a restart. */
  readonly resumableWatch: boolean;
  /**
   * Some kinds are views of Kubernetes' own objects. A WorkloadEndpoint is there as soon as its Pod has a node: creating and updating it
   * write addresses and container onto the Pod, whatever its revision, and deleting it takes the addresses off. A Node can be
   * updated, but neither created nor deleted. A Profile is a Namespace's or a ServiceAccount's and cannot be written.
   */
  readonly views: boolean;
}

/** A subset of a kind that a backend can find without reading the rest. */
export type Index =
  /**
   * BlockAffinity and IPAMBlock: those of one host or virtual owner, of either type when none is given; blocks are found
   * through their affinities. WorkloadEndpoint and Pod: those of one node. Node: the one of that name.
   */
  | { readonly node: string; readonly affinityType?: "host" | "virtual" }
  /** Any namespaced kind. */
  | { readonly namespace: string }
  /** Any namespaced kind: one object, as a role that may list and watch only that name can. */
  | { readonly namespace: string; readonly name: string }
  /** WorkloadEndpoint: names that begin so, in one namespace; how a plugin finds a pod's endpoint whatever its interface is called. */
  | { readonly namespace: string; readonly namePrefix: string }
  /** IPAMBlock: those that share addresses with a CIDR, whatever their size. Costs what lies near it, not what there is in all. */
  | { readonly overlapping: string }
  /** BlockAffinity, IPAMBlock and IPPool: one address family. */
  | { readonly ipVersion: 4 | 6 };

export interface ListResult<R extends Resource> {
  readonly items: R[];
  /**
   * What lies among these objects and cannot be read. Whoever relies on the list being whole looks here; to everyone else
   * an object that somebody wrote wrongly is as good as absent.
   */
  readonly unreadable: readonly Unreadable[];
  /** Where a watch may begin so as to miss nothing after this list. */
  readonly revision: string;
}

/** A stored object that cannot be read. */
export interface Unreadable {
  readonly key: string;
  /** What its key tells of it: enough to get or delete it. */
  readonly ref: Ref;
  /** INVALID; the message names key and field. */
  readonly error: Error;
}

export interface DeleteOptions {
  /** Delete only this revision of the object; CONFLICT otherwise. */
  readonly resourceVersion?: string;
  /**
   * Delete only the object with this uid; CONFLICT otherwise. Beside a revision it counts where a revision can come again for
   * another object; elsewhere the revision says it all.
   */
  readonly uid?: string;
}

/** One write of a batch. */
export type Operation =
  | { readonly op: "create"; readonly kind: Kind; readonly resource: Resource }
  | { readonly op: "update"; readonly kind: Kind; readonly resource: Resource }
  | ({ readonly op: "delete"; readonly kind: Kind; readonly ref: Ref } & DeleteOptions);

export type WatchEvent<R extends Resource> =
  | { readonly type: "added" | "modified"; readonly resource: R; readonly revision: string }
  /** `resource` is the last state the backend knew. */
  | { readonly type: "deleted"; readonly resource: R; readonly revision: string }
  /** Everything that existed when the watch began (or re-listed after a gap) has been delivered. */
  | { readonly type: "synced"; readonly revision: string }
  /**
   * One stored object cannot be read: reported by key, and the watch goes on. An earlier version of it that the watcher
   * knows stays in force.
   */
  | { readonly type: "invalid"; readonly key: string; readonly error: Error; readonly revision: string };

export interface WatchOptions {
  readonly index?: Index;
  /**
   * Start after this revision (from a list, or an event): only changes are delivered. Absent: list first, delivering each object
   * as `added`, then `synced`. When the revision is no longer known, what changed since is delivered from a new list, ending in
   * `synced`; an object that was deleted in between and that this watch never saw cannot be told then, so a caller that
   * kept objects from before drops those that the store no longer has.
   */
  readonly from?: string;
  /**
   * Others in this process follow the same kind and index: without `from`, one watch may serve all who say so, each at its own pace
   * and with objects of its own. Who comes later is told what that watch knows, which is as old as the watch is late (of a server
   * that went silent, three minutes): not for who has to see what was written a moment ago. Backends whose watches cost
   * their server nothing take no notice.
   */
  readonly shared?: boolean;
  readonly signal?: AbortSignal;
}

/**
 * A connection to a datastore. All methods throw DatastoreError and nothing else. Resources that come out are fresh
 * objects the caller may change; those that go in are not kept and not changed.
 */
export interface Client {
  /** For messages: "sqlite /var/lib/calico/datastore.db", "etcd http://127.0.0.1:2379". Never a secret. */
  readonly name: string;
  readonly capabilities: Capabilities;

  /** The object, or undefined when there is none. Throws INVALID when it is there but cannot be read. */
  get<R extends Resource>(kind: Kind<R>, ref: Ref): Promise<R | undefined>;
  /** Whether there is an object of that name, readable or not. */
  exists(kind: KindKey, ref: Ref): Promise<boolean>;
  /** All objects of a kind, or of one of its indexes. Those that cannot be read are named apart. */
  list<R extends Resource>(kind: Kind<R>, index?: Index): Promise<ListResult<R>>;
  /**
   * EXISTS when there is one of that name already. Fills uid, creationTimestamp, resourceVersion and the kind's defaults. Objects of
   * IPAM are stored without metadata, as upstream does: their uid is made from the revision that created them.
   */
  create<R extends Resource>(kind: Kind<R>, resource: R): Promise<R>;
  /**
   * Compare-and-swap on `metadata.resourceVersion`, which is required: CONFLICT when it changed, NOT_FOUND when it is gone. Whoever means to
   * stop others by an update changes something: where nothing does, the revision may stay what it was.
   */
  update<R extends Resource>(kind: Kind<R>, resource: R): Promise<R>;
  /** NOT_FOUND when there is none; returns the last state. */
  delete<R extends Resource>(kind: Kind<R>, ref: Ref, options?: DeleteOptions): Promise<R>;
  /** Several writes, atomic where `capabilities.atomicBatch`. Answers in the order asked; a deleted object's answer is its last state. */
  batch(operations: readonly Operation[]): Promise<Resource[]>;
  /**
   * Like `batch`, but answers nothing, and takes the objects of IPAM (blocks, affinities, handles) to be right as they are. For the
   * allocator, which has read or made them itself: reading back what is written costs a plugin more than writing it. A deletion at a revision
   * reads nothing either.
   */
  commit(operations: readonly Operation[]): Promise<void>;
  /** Changes of a kind from now, or from a revision, without a hole: after a gap it lists again and reports the difference. Ends when `signal` aborts. */
  watch<R extends Resource>(kind: Kind<R>, options?: WatchOptions): AsyncIterable<WatchEvent<R>>;
  close(): Promise<void>;
}
