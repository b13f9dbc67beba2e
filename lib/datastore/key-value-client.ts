import type { Kind, KindKey } from "../api/kind.ts";
import type { Ref, Resource } from "../api/meta.ts";
import { PROFILE_KEY } from "../api/names.ts";
import { checkPlain, checkResource } from "../api/resource.ts";
import { describeProblem } from "../api/schema.ts";
import { ReadBatcher } from "./batcher.ts";
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
} from "./client.ts";
import { decode, encode, goTime, isMarkedDeleted, isModelKind, modelUid } from "./codec.ts";
import { DatastoreError } from "./errors.ts";
import { describeRef, keyOf, parseKey, rangesOf, refOf, refOfKey } from "./keys.ts";
import { listIndex, selects } from "./select.ts";
import type { Compare, KeyValueStore, Stored, TransactResult, Write } from "./store.ts";
import { watchKind } from "./watch.ts";

const CAPABILITIES: Capabilities = { atomicBatch: true, softDelete: false, resumableWatch: true, views: false };

/** How often a write whose conditions the caller left open is tried again when somebody else was quicker. */
const ATTEMPTS = 10;

/** One operation of a batch, ready to be sent. */
interface Prepared {
  readonly compare: Compare;
  readonly write: Write;
  /** The answer to the caller once it is committed at `revision`. */
  answer(revision: number, previous: Stored | undefined): Resource;
  /** Why it was refused, when its condition was not met: `current` is what is there instead. */
  refusal(current: Stored | undefined): DatastoreError;
  /** The caller named no revision, so after a refusal it may be prepared and tried again. */
  readonly retry?: (current: Stored | undefined) => boolean;
}

/** Objects that are marked deleted, by key: creating over one of them is replacing it. */
type Replaceable = Map<string, Stored>;

/** The Client of every store that is a {@link KeyValueStore}: resources become keys and values here, and nowhere else. */
export class KeyValueClient implements Client {
  readonly name: string;
  readonly capabilities: Capabilities;
  readonly #store: KeyValueStore;
  readonly #reads: ReadBatcher;

  constructor(store: KeyValueStore, capabilities: Partial<Capabilities> = {}) {
    this.#store = store;
    this.#reads = new ReadBatcher(store);
    this.name = store.name;
    this.capabilities = { ...CAPABILITIES, ...capabilities };
  }

  async get<R extends Resource>(kind: Kind<R>, ref: Ref): Promise<R | undefined> {
    if (ref.name === kind.builtIn?.name) return kind.builtIn.make();
    const stored = (await this.#stored(plain(kind), ref)) ?? (mayBeMade(kind, ref) && (await this.#made(ref)));
    const resource = stored && decode(kind, stored);
    return resource && !isMarkedDeleted(resource) ? resource : undefined;
  }

  async exists(kind: KindKey, ref: Ref): Promise<boolean> {
    if (ref.name === kind.builtIn?.name) return true;
    const key = keyOf(kind, ref);
    if (key === undefined)
      throw new DatastoreError("INVALID", `${describeRef(kind, ref)}: its name does not tell its key`);
    if ((await this.#reads.read([{ key }])).results[0]!.length > 0) return true;
    return mayBeMade(kind, ref) && (await this.#made(ref)) !== undefined;
  }

  async list<R extends Resource>(kind: Kind<R>, index?: Index): Promise<ListResult<R>> {
    const reads = kind.kind === "Profile" ? await this.#profiles() : this.#reads;
    const { revision, stored } = await listIndex(plain(kind), index, (ranges) => reads.read(ranges));
    const items: R[] = [];
    const unreadable: Unreadable[] = [];
    const { builtIn } = kind;
    for (const one of stored) {
      if (builtIn && parseKey(plain(kind), one.key)?.name === builtIn.name) continue;
      try {
        const resource = decode(kind, one);
        if (resource && !isMarkedDeleted(resource) && selects(index, resource)) items.push(resource);
      } catch (error) {
        if (!(error instanceof DatastoreError)) throw error;
        unreadable.push({ key: one.key, ref: refOfKey(plain(kind), one.key), error });
      }
    }
    if (builtIn) items.push(builtIn.make());
    return { items, unreadable, revision: String(revision) };
  }

  async create<R extends Resource>(kind: Kind<R>, resource: R): Promise<R> {
    const answers = await this.#answered([{ op: "create", kind: plain(kind), resource }]);
    return answers[0] as R;
  }

  async update<R extends Resource>(kind: Kind<R>, resource: R): Promise<R> {
    const answers = await this.#answered([{ op: "update", kind: plain(kind), resource }]);
    return answers[0] as R;
  }

  async delete<R extends Resource>(kind: Kind<R>, ref: Ref, options: DeleteOptions = {}): Promise<R> {
    const answers = await this.#answered([{ op: "delete", kind: plain(kind), ref, ...options }]);
    return answers[0] as R;
  }

  async batch(operations: readonly Operation[]): Promise<Resource[]> {
    if (this.capabilities.atomicBatch) return operations.length === 0 ? [] : this.#answered(operations);
    const answers: Resource[] = [];
    for (const operation of operations) answers.push(...(await this.#answered([operation])));
    return answers;
  }

  async commit(operations: readonly Operation[]): Promise<void> {
    if (this.capabilities.atomicBatch) {
      if (operations.length > 0) await this.#transact(operations, true);
    } else for (const operation of operations) await this.#transact([operation], true);
  }

  watch<R extends Resource>(kind: Kind<R>, options: WatchOptions = {}): AsyncIterable<WatchEvent<R>> {
    return watchKind(kind.kind === "Profile" ? this.#profiles() : this.#store, kind, options);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #answered(operations: readonly Operation[]): Promise<Resource[]> {
    const { prepared, result } = await this.#transact(operations, false);
    return prepared.map(({ answer }, i) => answer(result.revision, result.previous[i]));
  }

  /** Carries out operations in one transaction. `trusts`: the objects of IPAM are not checked. */
  async #transact(operations: readonly Operation[], trusts: boolean) {
    const replaceable: Replaceable = new Map();
    for (let attempt = 1; ; attempt++) {
      const preparing: Promise<Prepared>[] = [];
      for (const operation of operations) preparing.push(this.#prepare(operation, replaceable, trusts));
      const prepared = await Promise.all(preparing);
      const compares: Compare[] = [];
      const writes: Write[] = [];
      for (const { compare, write } of prepared) {
        compares.push(compare);
        writes.push(write);
      }
      refuseRepeatedKeys(writes);
      const result = await this.#store.transact(compares, writes);
      if (result.succeeded) return { prepared, result };
      const failed = firstFailure(prepared, result);
      const current = result.current[prepared.indexOf(failed)];
      if (attempt === ATTEMPTS || !failed.retry?.(current)) throw failed.refusal(current);
    }
  }

  async #prepare(operation: Operation, replaceable: Replaceable, trusts: boolean): Promise<Prepared> {
    const { builtIn } = operation.kind;
    if (builtIn) {
      const { name } = operation.op === "delete" ? operation.ref : operation.resource.metadata;
      if (name === builtIn.name)
        throw new DatastoreError(operation.op === "create" ? "EXISTS" : "INVALID", builtIn.refusal(operation.op));
      if (mayBeMade(operation.kind, { name })) {
        const refusal = await (await this.#profiles()).refusal(name, operation.op);
        if (refusal) throw refusal;
      }
    }
    switch (operation.op) {
      case "create":
        return this.#prepareCreate(operation.kind, operation.resource, replaceable, trusts);
      case "update":
        return this.#prepareUpdate(operation.kind, operation.resource, trusts);
      case "delete": {
        const refusal = operation.kind.refuseDelete?.(operation.ref.name);
        if (refusal !== undefined) throw new DatastoreError("INVALID", refusal);
        return this.#prepareDelete(operation.kind, operation.ref, operation);
      }
    }
  }

  async #prepareCreate(kind: Kind, given: Resource, replaceable: Replaceable, trusts: boolean): Promise<Prepared> {
    const resource = isModelKind(kind) ? given : withBirth(given);
    const { key, value, decoded } = encodeChecked(kind, resource, trusts);
    const marked = replaceable.get(key);
    return {
      compare: { key, modRevision: marked?.modRevision ?? 0 },
      write: { key, value },
      answer: (revision) => decoded(revision, marked?.createRevision ?? revision),
      refusal: () => new DatastoreError("EXISTS", `${describeRef(kind, resource.metadata)} exists already`),
      retry: (current) => {
        if (!current || !isHidden(kind, current)) return false;
        replaceable.set(key, current);
        return true;
      },
    };
  }

  async #prepareUpdate(kind: Kind, given: Resource, trusts: boolean): Promise<Prepared> {
    const of = describeRef(kind, given.metadata);
    if (!given.metadata.resourceVersion)
      throw new DatastoreError(
        "INVALID",
        `${of}: metadata.resourceVersion: missing: read the object, and update what was read`,
      );
    const modRevision = revisionOf(given.metadata.resourceVersion, of);
    let resource = given;
    if (!isModelKind(kind) && (!given.metadata.uid || !given.metadata.creationTimestamp)) {
      // A caller that built the object anew must not change what it is.
      const stored = await this.#stored(kind, refOf(given));
      const before = stored && stored.modRevision === modRevision ? attempt(() => decode(kind, stored)) : undefined;
      const { uid, creationTimestamp } = before?.metadata ?? {};
      resource = {
        ...given,
        metadata: { ...(uid ? { uid } : {}), ...(creationTimestamp ? { creationTimestamp } : {}), ...given.metadata },
      };
    }
    const { key, value, decoded } = encodeChecked(kind, resource, trusts);
    return {
      compare: { key, modRevision },
      write: { key, value },
      answer: (revision) => decoded(revision, undefined),
      refusal: (current) => changed(of, current, given.metadata.resourceVersion!),
    };
  }

  async #prepareDelete(kind: Kind, ref: Ref, options: DeleteOptions): Promise<Prepared> {
    const of = describeRef(kind, ref);
    let key = keyOf(kind, ref);
    let modRevision: number | "any" = options.resourceVersion ? revisionOf(options.resourceVersion, of) : "any";
    // A store of keys gives a revision once, so whoever names one names the very object; its uid would cost a read.
    const byUid = options.uid !== undefined && !options.resourceVersion;
    if (key === undefined || byUid) {
      const stored = await this.#stored(kind, ref);
      if (!stored) throw new DatastoreError("NOT_FOUND", `${of} does not exist`);
      key = stored.key;
      if (byUid) {
        const uid = isModelKind(kind) ? modelUid(stored) : attempt(() => decode(kind, stored))?.metadata.uid;
        if (uid !== options.uid)
          throw new DatastoreError(
            "CONFLICT",
            `${of} was deleted and made again since it was read: it has another uid`,
          );
        modRevision = stored.modRevision;
      }
    }
    return {
      compare: { key, modRevision },
      write: { key, value: undefined },
      // An object that cannot be read can still be deleted.
      answer: (_revision, previous) =>
        (previous && attempt(() => decode(kind, previous))) ?? placeholder(kind, ref, previous),
      refusal: (current) => changed(of, current, options.resourceVersion),
      retry: (current) => byUid && current !== undefined,
    };
  }

  /** The store with the profiles that are made of Kubernetes' objects. */
  async #profiles() {
    return new (await import("./profile-view.ts")).ProfileView(this.#store);
  }

  /** The profile of a name that is made of a Namespace or a ServiceAccount. */
  async #made({ name }: Ref): Promise<Stored | undefined> {
    const key = keyOf(PROFILE_KEY, { name })!;
    return (await (await this.#profiles()).read([{ key }])).results[0]?.[0];
  }

  async #stored(kind: Kind, ref: Ref): Promise<Stored | undefined> {
    const key = keyOf(kind, ref);
    if (key !== undefined) return (await this.#reads.read([{ key }])).results[0]?.[0];
    // Only the name of an affinity is given, and its key cannot be told from that.
    const { results } = await this.#reads.read(rangesOf(kind, undefined));
    return results.flat().find((stored) => attempt(() => decode(kind, stored))?.metadata.name === ref.name);
  }
}

/** A resource as it is created. */
function withBirth(given: Resource): Resource {
  const metadata = {
    ...given.metadata,
    uid: given.metadata.uid || crypto.randomUUID(),
    creationTimestamp: given.metadata.creationTimestamp || (goTime(new Date()) as string),
  };
  return { ...given, metadata };
}

/** What is written for a resource, after making sure that it can be read again, unless that is trusted. */
function encodeChecked(kind: Kind, resource: Resource, trusts: boolean) {
  const ref = refOf(resource);
  const key = keyOf(kind, ref);
  if (key === undefined)
    throw new DatastoreError("INVALID", `${describeRef(kind, resource.metadata)}: spec.cidr: missing: must be a CIDR`);
  let value = encode(kind, resource);
  const read = (modRevision: number, createRevision: number): Resource =>
    decode(kind, { key, value, modRevision, createRevision })!;
  // What cannot be read again is not written, and what is written is complete.
  if (isModelKind(kind)) {
    if (!trusts) read(0, 0);
  } else {
    let problems = checkPlain(kind, resource);
    if (problems === undefined) {
      const complete = read(0, 0);
      problems = checkResource(kind, complete, { unknown: "keep" });
      value = encode(kind, complete);
    }
    if (problems.length > 0)
      throw new DatastoreError("INVALID", `${describeRef(kind, resource.metadata)}: ${describeProblem(problems[0]!)}`);
  }
  const decoded = (modRevision: number, createRevision: number | undefined): Resource => {
    const answer = read(modRevision, createRevision ?? 0);
    if (createRevision === undefined && isModelKind(kind)) {
      if (resource.metadata.uid) answer.metadata.uid = resource.metadata.uid;
      else delete answer.metadata.uid;
    }
    return answer;
  };
  return { key, value, decoded };
}

function refuseRepeatedKeys(writes: readonly Write[]): void {
  const seen = new Set<string>();
  for (const { key } of writes) {
    if (seen.has(key))
      throw new DatastoreError("INVALID", `${key} is written twice in one batch: make them two batches, or one write`);
    seen.add(key);
  }
}

function firstFailure(prepared: readonly Prepared[], result: TransactResult & { succeeded: false }): Prepared {
  const failed = prepared.find(({ compare }, i) => {
    const current = result.current[i];
    return compare.modRevision === "any" ? !current : (current?.modRevision ?? 0) !== compare.modRevision;
  });
  return failed ?? prepared[0]!;
}

function changed(of: string, current: Stored | undefined, expected: string | undefined): DatastoreError {
  if (!current) return new DatastoreError("NOT_FOUND", `${of} does not exist`);
  const at =
    expected === undefined
      ? "while it was being deleted"
      : `since revision ${expected}, it is at ${current.modRevision}`;
  return new DatastoreError("CONFLICT", `${of} changed ${at}: read it again`);
}

function revisionOf(resourceVersion: string, of: string): number {
  // Anything else is a revision that this store cannot have given: the object is not the one that was read.
  const revision = Number(resourceVersion);
  if (Number.isSafeInteger(revision) && revision > 0 && String(revision) === resourceVersion) return revision;
  throw new DatastoreError(
    "INVALID",
    `${of}: metadata.resourceVersion: ${JSON.stringify(resourceVersion)}: must be one that was read from this datastore`,
  );
}

function isHidden(kind: Kind, stored: Stored): boolean {
  const resource = attempt(() => decode(kind, stored));
  return resource !== undefined && isMarkedDeleted(resource);
}

function placeholder(kind: Kind, ref: Ref, stored: Stored | undefined): Resource {
  return {
    apiVersion: kind.apiVersion,
    kind: kind.kind,
    metadata: {
      name: ref.name,
      ...(ref.namespace === undefined ? {} : { namespace: ref.namespace }),
      ...(stored ? { resourceVersion: String(stored.modRevision) } : {}),
    },
    spec: {},
  };
}

/** The result, or undefined when a stored object cannot be read. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch (error) {
    if (error instanceof DatastoreError) return undefined;
    throw error;
  }
}

/** Whether there can be such an object without it being stored: a profile with the name of one that Kubernetes' objects have. */
function mayBeMade({ kind }: { readonly kind: string }, { name }: { readonly name: string }): boolean {
  return kind === "Profile" && (name.startsWith("kns.") || name.startsWith("ksa."));
}

/** A Kind<R> takes an R where a Kind takes any resource; the codec only ever gives it its own. */
const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;
