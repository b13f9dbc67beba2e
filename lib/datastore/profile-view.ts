import type { Kind } from "../api/kind.ts";
import { Namespace, ServiceAccount } from "../api/kubernetes/index.ts";
import type { Ref, Resource } from "../api/meta.ts";
import { PROFILE_KEY } from "../api/names.ts";
import {
  namespaceProfileName,
  namespaceToProfile,
  profileSource,
  serviceAccountProfileName,
  serviceAccountToProfile,
} from "../kubernetes/conversion/index.ts";
import { DatastoreError } from "./errors.ts";
import { parseJson, stringifyJson } from "./json.ts";
import { KUBERNETES, keyOf, parseKey, RESOURCES, rangesOf } from "./keys.ts";
import {
  compareKeys,
  type KeyValueStore,
  prefixRange,
  type Range,
  type ReadResult,
  type Stored,
  type StoreEvent,
} from "./store.ts";

/**
 * Where Namespaces and ServiceAccounts were applied to a store of our own, their profiles (`kns.<namespace>`,
 * `ksa.<namespace>.<account>`) are there as on Kubernetes: made of them when they are read, never stored. This is a view of a store
 * that shows them under the keys at which stored profiles lie, so that all above treats both alike. A profile that is stored
 * under such a name, by whoever runs without Kubernetes, stands before the one that would be made.
 */
export class ProfileView implements Pick<KeyValueStore, "read" | "watch"> {
  readonly #store: KeyValueStore;

  constructor(store: KeyValueStore) {
    this.#store = store;
  }

  /** Of the key of a profile, or of all profiles. */
  async read(ranges: readonly Range[]): Promise<ReadResult> {
    const asked = ranges.map((range) => [range, ...sourcesOf(range)]);
    const { revision, results } = await this.#store.read(asked.flat());
    let next = 0;
    const merged = asked.map(({ length }) => {
      const [own = [], ...sources] = results.slice(next, next + length);
      next += length;
      const taken = new Set(own.map(({ key }) => key));
      const made = sources.flat().flatMap((source) => profileOf(source) ?? []);
      return [...own, ...made.filter(({ key }) => !taken.has(key))].sort((a, b) => compareKeys(a.key, b.key));
    });
    return { revision, results: merged };
  }

  /** Of all profiles, whatever the range. */
  async *watch(_range: Range, from: number, signal: AbortSignal): AsyncGenerator<readonly StoreEvent[]> {
    // One stream for all three kinds, so that the revision of an event says that nothing before it is missing.
    for await (const events of this.#store.watch(AROUND, from, signal)) {
      const seen: StoreEvent[] = [];
      for (const event of events) {
        const one = await this.#seen(event);
        if (one) seen.push(one);
      }
      if (seen.length > 0) yield seen;
    }
  }

  /** Why the profile cannot be written: it is one that is made. Undefined when there is none, or a stored one. */
  async refusal(name: string, op: "create" | "update" | "delete"): Promise<DatastoreError | undefined> {
    const key = keyOf(PROFILE_KEY, { name })!;
    const { own, source } = await this.#now(key);
    if (own || !source) return undefined;
    const { kind, namespace, name: of } = refOfSource(source.key)!;
    const what = `${kind} ${namespace === undefined ? "" : `${namespace}/`}${of}`;
    return op === "create"
      ? new DatastoreError("EXISTS", `Profile ${name} exists already: it is made of the ${what}`)
      : new DatastoreError("UNSUPPORTED", `Profile ${name} is made of the ${what}: ${op} that instead`);
  }

  /**
   * What a change of the store is to who sees profiles; undefined when it is none. Where one name has two sources, what counts is
   * their present state, which is at least as new as the event: a newer one follows with its own.
   */
  async #seen(event: StoreEvent): Promise<StoreEvent | undefined> {
    const changed = event.type === "put" ? event.stored.key : event.key;
    const isOwn = changed.startsWith(PROFILES);
    if (isOwn && sourceKey(changed) === undefined) return event;
    const key = isOwn ? changed : profileKey(changed);
    if (key === undefined) return undefined;
    const { own, source } = await this.#now(key);
    if (own && !isOwn) return undefined;
    const revision = event.type === "put" ? event.stored.modRevision : event.revision;
    const made = source && profileOf(source);
    const replaced = event.previous && (isOwn ? event.previous : profileOf(event.previous));
    const previous = replaced ?? (isOwn && made && made.createRevision < revision ? made : undefined);
    const present = own ?? made;
    return present
      ? { type: "put", stored: { ...present, modRevision: revision }, previous }
      : { type: "delete", key, revision, previous };
  }

  async #now(key: string): Promise<{ own: Stored | undefined; source: Stored | undefined }> {
    const source = sourceKey(key);
    const { results } = await this.#store.read([{ key }, ...(source === undefined ? [] : [{ key: source }])]);
    return { own: results[0]?.[0], source: results[1]?.[0] };
  }
}

const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;

const SOURCES = { Namespace: plain(Namespace), ServiceAccount: plain(ServiceAccount) } as const;
const PROFILES = `${RESOURCES}${PROFILE_KEY.plural}/`;
/** From the first key of the three kinds to their last. Others lie between them. */
const AROUND: Range = {
  start: `${KUBERNETES}${Namespace.plural}/`,
  end: (prefixRange(PROFILES) as { end: string }).end,
};

/** What the profiles in a range, one key or all, may be made of. */
function sourcesOf(range: Range): Range[] {
  if (!("key" in range)) return Object.values(SOURCES).flatMap((kind) => rangesOf(kind, undefined));
  const key = sourceKey(range.key);
  return key === undefined ? [] : [{ key }];
}

/** The key of what the profile under a key may be made of; undefined when it is made of nothing. */
function sourceKey(profile: string): string | undefined {
  const source = profileSource(profile.slice(PROFILES.length));
  return source && !source.name.includes("/") ? keyOf(SOURCES[source.kind], source) : undefined;
}

/** What a key of a Namespace or ServiceAccount identifies. */
function refOfSource(key: string): (Ref & { kind: keyof typeof SOURCES }) | undefined {
  for (const kind of ["Namespace", "ServiceAccount"] as const) {
    const parts = parseKey(SOURCES[kind], key);
    if (parts) return { kind, ...parts, spec: {} };
  }
  return undefined;
}

/** The key of the profile that is made of the object under a key. */
function profileKey(source: string): string | undefined {
  const ref = refOfSource(source);
  if (!ref) return undefined;
  const name =
    ref.kind === "Namespace" ? namespaceProfileName(ref.name) : serviceAccountProfileName(ref.namespace!, ref.name);
  return keyOf(PROFILE_KEY, { name });
}

/** The profile made of a stored object, as if it were stored. One that is no JSON stays as it is, to be reported by the reader. */
function profileOf(source: Stored): Stored | undefined {
  const key = profileKey(source.key);
  const ref = refOfSource(source.key);
  if (key === undefined || !ref) return undefined;
  let object: { metadata?: object } | undefined;
  try {
    object = parseJson(source.value) as typeof object;
  } catch {
    return { ...source, key };
  }
  const { kind, name, namespace } = ref;
  const named = { metadata: { ...object?.metadata, name, ...(namespace === undefined ? {} : { namespace }) } };
  const { value } = kind === "Namespace" ? namespaceToProfile(named) : serviceAccountToProfile(named);
  return { ...source, key, value: value ? stringifyJson(value) : source.value };
}
