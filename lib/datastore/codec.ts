import type { Kind } from "../api/kind.ts";
import type { ObjectMeta, Resource } from "../api/meta.ts";
import { completeStored } from "../api/resource.ts";
import { describeProblem } from "../api/schema.ts";
import { isGoTime } from "../api/time.ts";
import { type Cidr, formatCidr, tryParseCidr } from "../ip/index.ts";
import { DatastoreError } from "./errors.ts";
import { exactInteger, parseJson, stringifyJson } from "./json.ts";
import { handleIdOfKey, type KeyParts, parseKey } from "./keys.ts";
import type { Stored } from "./store.ts";

/**
 * Between resources and the JSON that is stored for them. Most kinds are stored as they are; blocks, affinities, handles and
 * the IPAM configuration are stored in upstream's older v1 model, which has other field names, no metadata, and Go's rules
 * for what is left out (libcalico-go/lib/backend/model). Fields that we do not know are carried along in `spec` and are
 * written back, so that a newer Calico's additions outlive our updates. Like Go, reading checks types and required fields:
 * which value of an enumeration it knows, and which text it can parse, is for the user of a value to say.
 */

type Json = Record<string, unknown>;

/** How a kind of the v1 model is stored. Kinds without one of these are stored as resources. */
interface ModelCodec {
  /** The spec of a stored value. */
  decode(reader: Reader, parts: KeyParts, key: string): Json;
  encode(spec: Json): Json;
}

/** Reads fields of one stored object; what it does not accept is reported with key and field. */
export class Reader {
  constructor(
    readonly key: string,
    readonly value: Json,
    /** Where in the object `value` is. */
    readonly path = "",
  ) {}

  fail(field: string, value: unknown, must: string): never {
    throw unreadable(this.key, `${this.path}${field}: ${sample(value)}: must be ${must}`);
  }

  boolean(field: string): boolean {
    const value = this.value[field] ?? false;
    return typeof value === "boolean" ? value : this.fail(field, value, "true or false");
  }

  text(field: string): string | undefined {
    const value = this.value[field] ?? undefined;
    return value === undefined || typeof value === "string" ? value : this.fail(field, value, "a string");
  }

  /** In Go's form; undefined when it is absent or empty. */
  time(field: string): string | undefined {
    const value = this.text(field);
    if (value === undefined || value === "") return undefined;
    if (isGoTime(value)) return value;
    const time = RFC3339.test(value) ? goTime(value) : undefined;
    return typeof time === "string" && RFC3339.test(time) ? time : this.fail(field, value, "a time as in RFC 3339");
  }

  integer(field: string): number {
    const value = this.value[field] ?? 0;
    return isWhole(value) ? value : this.fail(field, value, "an integer");
  }

  list(field: string): unknown[] {
    const value = this.value[field] ?? [];
    return Array.isArray(value) ? value : this.fail(field, value, "a list");
  }

  map<V>(field: string, convert: (value: unknown) => V | undefined, must: string): Record<string, V> {
    const value = this.value[field] ?? {};
    if (!isObject(value)) return this.fail(field, value, "an object");
    const map: Record<string, V> = {};
    for (const name of Object.keys(value))
      define(map, name, convert(value[name]) ?? this.fail(`${field}.${name}`, value[name], must));
    return map;
  }

  /** The fields that are neither in the model nor in the spec's own vocabulary. */
  others(known: ReadonlySet<string>): Json {
    const others: Json = {};
    for (const field of Object.keys(this.value)) if (!known.has(field)) define(others, field, this.value[field]);
    return others;
  }
}

const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/;
const MAX_UINT64 = 0xffff_ffff_ffff_ffffn;

const BLOCK_FIELDS = new Set([
  "cidr",
  "affinity",
  "affinity_claim_time",
  "affinityClaimTime",
  "allocations",
  "unallocated",
  "attributes",
  "sequenceNumber",
  "sequenceNumberForAllocation",
  "deleted",
  "hostAffinity",
  "strictAffinity",
]);

/**
 * {@link parseJson} of a block. What exceeds 2^53 stands in its last fields, and only these are read with an eye on that: asked
 * for every entry of `allocations` and `unallocated`, it takes a plugin longer than anything else that it does with a block.
 */
function parseBlock(text: string): unknown {
  // In a text a quote has a backslash before it, so this is a name. When it is not one of the block itself, but of something in
  // it, the brackets of neither part close, and the whole is parsed.
  const at = text.lastIndexOf(',"sequenceNumber":');
  if (at < 0) return parseJson(text);
  let first: unknown;
  let last: unknown;
  try {
    first = parseJson(`${text.slice(0, at)}}`);
    last = parseJson(`{${text.slice(at + 1)}`);
  } catch {
    return parseJson(text);
  }
  return isObject(first) && isObject(last) ? { ...first, ...last } : parseJson(text);
}

const block: ModelCodec = {
  decode: (reader, parts) => decodeBlock(reader, parts.cidr!, "affinity_claim_time"),
  encode: (spec) => encodeBlock(spec, "affinity_claim_time"),
};

type ClaimTimeField = "affinity_claim_time" | "affinityClaimTime";

/** The spec of a stored block. Kubernetes' blocks are the same but for the name of one field. Throws INVALID. */
export function decodeBlock(reader: Reader, named: Cidr, claimTime: ClaimTimeField): Json {
  const text = reader.text("cidr") ?? reader.fail("cidr", undefined, "a CIDR");
  const cidr = tryParseCidr(text);
  const expected = formatCidr(named);
  if (!cidr || formatCidr(cidr) !== expected) return reader.fail("cidr", text, `${expected}, as in its key`);
  const bits = (cidr.version === 4 ? 32 : 128) - cidr.length;
  if (bits > 16) reader.fail("cidr", text, "a block of at most 65536 addresses");
  const size = 1 << bits;

  const attributes = reader.list("attributes");
  for (let i = 0; i < attributes.length; i++) attributes[i] = attribute(reader, attributes[i], i);
  const allocations = reader.list("allocations");
  if (allocations.length !== size)
    reader.fail("allocations", allocations.length, `a list of ${size} entries, one an address`);
  // No function is called for an entry: what a plugin calls 34 times starts the compiler's threads.
  for (let i = 0; i < size; i++) {
    const index = allocations[i];
    if (index !== null && !(typeof index === "number" && Number.isSafeInteger(index) && index >= 0))
      reader.fail(`allocations[${i}]`, index, "null or an index into attributes");
  }
  const unallocated = reader.list("unallocated");
  for (let i = 0; i < unallocated.length; i++) {
    const ordinal = unallocated[i];
    if (!(typeof ordinal === "number" && Number.isInteger(ordinal) && ordinal >= 0 && ordinal < size))
      reader.fail(`unallocated[${i}]`, ordinal, `an integer from 0 to ${size - 1}`);
  }
  // Blocks written before owners had types name a host alone (model.AllocationBlock.HostAffinity). An `affinity` of null is an
  // owner given up: what an older writer left beside it does not count.
  const host = "affinity" in reader.value ? undefined : reader.text("hostAffinity");
  const affinity = reader.text("affinity") ?? (host ? `host:${host}` : undefined);
  const claimed = reader.time(claimTime);
  const sequence = reader.value.sequenceNumber ?? 0;
  return {
    cidr: expected,
    ...(affinity === undefined ? {} : { affinity }),
    ...(claimed === undefined ? {} : { affinityClaimTime: claimed }),
    allocations,
    unallocated,
    attributes,
    sequenceNumber: uint64(sequence) ?? reader.fail("sequenceNumber", sequence, "an unsigned 64-bit integer"),
    sequenceNumberForAllocation: reader.map("sequenceNumberForAllocation", uint64, "an unsigned 64-bit integer"),
    deleted: reader.boolean("deleted"),
    ...reader.others(BLOCK_FIELDS),
  };
}

/** What is stored of a block's spec. Its large integers are such as `JSON.stringify` prints exactly. */
export function encodeBlock(spec: Json, claimTime: ClaimTimeField): Json {
  return {
    cidr: canonicalCidr(spec.cidr),
    affinity: spec.affinity ?? null,
    ...(spec.affinityClaimTime ? { [claimTime]: goTime(spec.affinityClaimTime) } : {}),
    allocations: spec.allocations ?? [],
    unallocated: spec.unallocated ?? [],
    attributes: storedAttributes(spec.attributes ?? []),
    sequenceNumber: exactInteger(spec.sequenceNumber ?? 0),
    sequenceNumberForAllocation: exactIntegers(sorted(spec.sequenceNumberForAllocation) ?? {}),
    deleted: spec.deleted ?? false,
    ...without(spec, BLOCK_FIELDS),
  };
}

const ATTRIBUTE_FIELDS = new Set(["handle_id", "secondary", "alternateOwnerAttrs", "releasedAt"]);

function attribute(block: Reader, value: unknown, index: number): Json {
  if (!isObject(value)) return block.fail(`attributes[${index}]`, value, "an object");
  const reader = new Reader(block.key, value, `${block.path}attributes[${index}].`);
  const texts = (field: string): Json | undefined => {
    const map = reader.map(field, (item) => (typeof item === "string" ? item : undefined), "a string");
    return isEmpty(map) ? undefined : map;
  };
  const handle = reader.text("handle_id");
  const secondary = texts("secondary");
  const alternate = texts("alternateOwnerAttrs");
  const released = reader.time("releasedAt");
  return {
    ...(handle === undefined ? {} : { handle_id: handle }),
    ...(secondary === undefined ? {} : { secondary }),
    ...(alternate === undefined ? {} : { alternateOwnerAttrs: alternate }),
    ...(released === undefined ? {} : { releasedAt: released }),
    ...reader.others(ATTRIBUTE_FIELDS),
  };
}

function storedAttributes(list: unknown): unknown {
  if (!Array.isArray(list)) return list;
  const stored: unknown[] = [];
  for (const one of list) stored.push(storedAttribute(one));
  return stored;
}

function exactIntegers(map: unknown): unknown {
  if (!isObject(map)) return map;
  const exact: Json = {};
  for (const name of Object.keys(map)) define(exact, name, exactInteger(map[name]));
  return exact;
}

function storedAttribute(value: unknown): unknown {
  if (!isObject(value)) return value;
  const { handle_id: handle, secondary, alternateOwnerAttrs: alternate, releasedAt: released } = value;
  return {
    ...(handle === undefined || handle === null ? {} : { handle_id: handle }),
    ...(isEmpty(secondary) ? {} : { secondary: sorted(secondary) }),
    ...(isEmpty(alternate) ? {} : { alternateOwnerAttrs: sorted(alternate) }),
    ...(released ? { releasedAt: goTime(released) } : {}),
    ...without(value, ATTRIBUTE_FIELDS),
  };
}

const AFFINITY_FIELDS = new Set(["state", "node", "type", "cidr", "deleted"]);

const affinity: ModelCodec = {
  decode(reader, parts) {
    return {
      // Affinities were once stored without a value, and were confirmed.
      state: reader.text("state") || "confirmed",
      node: parts.node!,
      type: parts.affinityType!,
      cidr: formatCidr(parts.cidr!),
      deleted: reader.boolean("deleted"),
      ...reader.others(AFFINITY_FIELDS),
    };
  },
  encode(spec) {
    return { state: spec.state ?? "confirmed", deleted: spec.deleted ?? false, ...without(spec, AFFINITY_FIELDS) };
  },
};

const HANDLE_FIELDS = new Set(["handleID", "block", "deleted"]);

const handle: ModelCodec = {
  decode(reader, _parts, key) {
    return {
      handleID: handleIdOfKey(key),
      block: reader.map("block", (n) => (isWhole(n) ? n : undefined), "an integer"),
      deleted: reader.boolean("deleted"),
      ...reader.others(HANDLE_FIELDS),
    };
  },
  encode(spec) {
    return {
      block: sorted(spec.block) ?? {},
      deleted: spec.deleted ?? false,
      ...without(spec, HANDLE_FIELDS),
    };
  },
};

const CONFIG_FIELDS = new Set([
  "strict_affinity",
  "strictAffinity",
  "auto_allocate_blocks",
  "autoAllocateBlocks",
  "maxBlocksPerHost",
  "kubeVirtVMAddressPersistence",
  "ipCooldownSeconds",
]);

const config: ModelCodec = {
  decode(reader) {
    return {
      strictAffinity: reader.boolean("strict_affinity"),
      // Left out when false: absence is not the default of the kind.
      autoAllocateBlocks: reader.boolean("auto_allocate_blocks"),
      maxBlocksPerHost: reader.integer("maxBlocksPerHost"),
      kubeVirtVMAddressPersistence: reader.text("kubeVirtVMAddressPersistence") || "Enabled",
      ipCooldownSeconds: reader.integer("ipCooldownSeconds"),
      ...reader.others(CONFIG_FIELDS),
    };
  },
  encode(spec) {
    return {
      ...(spec.strictAffinity ? { strict_affinity: spec.strictAffinity } : {}),
      ...((spec.autoAllocateBlocks ?? true) ? { auto_allocate_blocks: spec.autoAllocateBlocks ?? true } : {}),
      ...(spec.maxBlocksPerHost ? { maxBlocksPerHost: spec.maxBlocksPerHost } : {}),
      ...(spec.kubeVirtVMAddressPersistence ? { kubeVirtVMAddressPersistence: spec.kubeVirtVMAddressPersistence } : {}),
      ...(spec.ipCooldownSeconds ? { ipCooldownSeconds: spec.ipCooldownSeconds } : {}),
      ...without(spec, CONFIG_FIELDS),
    };
  },
};

const MODELS: Readonly<Record<string, ModelCodec>> = {
  IPAMBlock: block,
  BlockAffinity: affinity,
  IPAMHandle: handle,
  IPAMConfiguration: config,
};

/** Whether objects of the kind are stored without metadata, in the v1 model. */
export function isModelKind(kind: Kind): boolean {
  return MODELS[kind.kind] !== undefined;
}

/**
 * The resource of a stored object. INVALID, naming key and field, when it cannot be read; undefined when the key is not one
 * of the kind.
 */
export function decode<R extends Resource>(kind: Kind<R>, stored: Stored): R | undefined {
  const parts = parseKey(kind as unknown as Kind, stored.key);
  if (!parts) return undefined;
  const model = MODELS[kind.kind];
  // Only an affinity may be stored without a value.
  const value =
    stored.value === "" && kind.kind === "BlockAffinity"
      ? {}
      : parseStored(stored, model === block ? parseBlock : parseJson);
  const resource = model
    ? {
        apiVersion: kind.apiVersion,
        kind: kind.kind,
        metadata: { name: parts.name, uid: modelUid(stored), resourceVersion: String(stored.modRevision) },
        spec: model.decode(new Reader(stored.key, value), parts, stored.key),
      }
    : decodeResource(kind as unknown as Kind, stored, value, parts);
  return resource as unknown as R;
}

/** What is stored for a resource. INVALID when it holds something that JSON cannot. */
export function encode(kind: Kind, resource: Resource): string {
  const model = MODELS[kind.kind];
  try {
    if (model) return stringifyJson(model.encode(isObject(resource.spec) ? resource.spec : {}));
    const { apiVersion: _v, kind: _k, metadata, spec, status, ...others } = resource as Resource & Json;
    return stringifyJson({
      kind: kind.kind,
      apiVersion: kind.apiVersion,
      metadata: storedMetadata(metadata as ObjectMeta),
      ...(kind.verbatim && spec === undefined ? {} : { spec: spec ?? {} }),
      ...(status === undefined ? {} : { status }),
      ...others,
    });
  } catch (cause) {
    if (cause instanceof DatastoreError) throw cause;
    throw new DatastoreError("INVALID", `${kind.kind} ${resource.metadata.name}: cannot be written as JSON`, { cause });
  }
}

/** Whether an object is marked as deleted: it then counts as absent. */
export function isMarkedDeleted(resource: Resource): boolean {
  return MODELS[resource.kind] !== undefined && (resource.spec as Json).deleted === true;
}

/** Go's metav1.Time: RFC 3339 in UTC without fractions. Text that is no time is kept, for validation to name. */
export function goTime(time: unknown): unknown {
  if (typeof time === "string") {
    if (isGoTime(time) || !RFC3339.test(time)) return time;
  } else if (!(time instanceof Date)) return time;
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? time : `${date.toISOString().slice(0, 19)}Z`;
}

function decodeResource(kind: Kind, stored: Stored, value: Json, parts: KeyParts): Resource {
  const fail = (field: string, found: unknown, must: string): never => {
    throw unreadable(stored.key, `${field}: ${sample(found)}: must be ${must}`);
  };
  const metadata = value.metadata ?? {};
  if (!isObject(metadata)) return fail("metadata", metadata, "an object");
  const spec = value.spec ?? {};
  if (!isObject(spec)) return fail("spec", spec, "an object");
  const { apiVersion } = value;
  if (kind.verbatim && apiVersion !== undefined && apiVersion !== kind.apiVersion)
    fail("apiVersion", apiVersion, `"${kind.apiVersion}"`);
  if (value.kind !== undefined && value.kind !== kind.kind) fail("kind", value.kind, `"${kind.kind}"`);
  for (const field of ["name", "namespace"] as const) {
    const found = metadata[field] ?? undefined;
    if (found !== undefined && found !== "" && found !== parts[field])
      fail(`metadata.${field}`, found, parts[field] === undefined ? "absent" : `"${parts[field]}", as in its key`);
  }
  // What Go leaves out when it writes is left out here, so that reading and writing agree.
  const clean: Json = {};
  for (const field of Object.keys(metadata)) {
    const found = metadata[field];
    if (isEmpty(found) || found === "" || (field === "generation" && found === 0)) continue;
    define(clean, field, found);
  }
  const resource: Resource = {
    ...value,
    apiVersion: kind.apiVersion,
    kind: kind.kind,
    metadata: {
      ...clean,
      name: parts.name,
      ...(parts.namespace === undefined ? {} : { namespace: parts.namespace }),
      resourceVersion: String(stored.modRevision),
    },
    ...(kind.verbatim ? {} : { spec }),
  };
  const problem = completeStored(kind, resource)[0];
  if (problem) throw unreadable(stored.key, describeProblem(problem));
  return resource;
}

/** In the order of Go's ObjectMeta, without what is never stored. */
function storedMetadata(metadata: ObjectMeta): Json {
  const { name, generateName, namespace, uid, resourceVersion: _, generation, creationTimestamp, ...others } = metadata;
  const { labels, annotations, ...rest } = others;
  return {
    name,
    ...(generateName ? { generateName } : {}),
    ...(namespace === undefined ? {} : { namespace }),
    ...(uid ? { uid } : {}),
    ...(generation ? { generation } : {}),
    creationTimestamp: creationTimestamp ? goTime(creationTimestamp) : null,
    ...(isEmpty(labels) ? {} : { labels: sorted(labels) }),
    ...(isEmpty(annotations) ? {} : { annotations: sorted(annotations) }),
    ...rest,
  };
}

/**
 * Objects of the v1 model are stored without a uid. The revision that created one identifies it as well: made again under the
 * same key it has another. Written as a UUID of version 8.
 */
export function modelUid(stored: Stored): string {
  const hex = stored.createRevision.toString(16).padStart(15, "0");
  return `00000000-0000-8000-8${hex.slice(0, 3)}-${hex.slice(3)}`;
}

function parseStored(stored: Stored, parse: (text: string) => unknown): Json {
  let value: unknown;
  try {
    value = parse(stored.value);
  } catch (cause) {
    throw unreadable(stored.key, "is not JSON", cause);
  }
  // Quoting nothing of it: it may be what is left of a Secret.
  if (!isObject(value)) throw unreadable(stored.key, "must be a JSON object");
  return value;
}

/** INVALID: a stored object that cannot be read. */
export function unreadable(key: string, problem: string, cause?: unknown): DatastoreError {
  return new DatastoreError(
    "INVALID",
    `${key}: ${problem}; the stored object cannot be read, correct or delete it`,
    cause === undefined ? undefined : { cause },
  );
}

/** A short piece of a value for messages. */
export function sample(value: unknown): string {
  if (value === undefined) return "missing";
  const text = stringifyJson(value) ?? String(value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value);

function uint64(value: unknown): bigint | undefined {
  if (typeof value === "number") return Number.isSafeInteger(value) && value >= 0 ? BigInt(value) : undefined;
  return typeof value === "bigint" && value >= 0n && value <= MAX_UINT64 ? value : undefined;
}

const isEmpty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  (typeof value === "object" && !Array.isArray(value) && Object.keys(value).length === 0);

/** With its keys in order, as Go prints maps. */
export function sorted(map: unknown): unknown {
  if (!isObject(map)) return map ?? undefined;
  const names = Object.keys(map);
  if (names.length < 2) return map;
  const inOrder: Json = {};
  for (const name of names.sort()) define(inOrder, name, map[name]);
  return inOrder;
}

export function without(object: Json, known: ReadonlySet<string>): Json {
  const others: Json = {};
  for (const field of Object.keys(object)) if (!known.has(field)) define(others, field, object[field]);
  return others;
}

function canonicalCidr(text: unknown): unknown {
  const cidr = typeof text === "string" ? tryParseCidr(text) : undefined;
  return cidr ? formatCidr(cidr) : text;
}

/** Assignment that does not make a stored field called __proto__ the prototype. */
function define(object: Json, field: string, value: unknown): void {
  if (field === "__proto__")
    Object.defineProperty(object, field, { value, enumerable: true, configurable: true, writable: true });
  else object[field] = value;
}
