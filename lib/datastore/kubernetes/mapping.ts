import type { Kind } from "../../api/kind.ts";
import { API_VERSION, type ObjectMeta, type Ref, type Resource } from "../../api/meta.ts";
import { cidrName, hostnameHash } from "../../api/names.ts";
import { checkResource, completeResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { formatCidr, tryParseCidr } from "../../ip/index.ts";
import { describePath, type KubernetesObject, type ResourcePath } from "../../kubernetes/index.ts";
import { decodeBlock, encodeBlock, Reader, sample, sorted, unreadable, without } from "../codec.ts";
import { DatastoreError } from "../errors.ts";
import { cidrOfName } from "../keys.ts";
import { type ApiGroup, apiVersionOf, GROUPS } from "./group.ts";
import { fromV1Metadata, toV1Metadata } from "./metadata.ts";

/**
 * Between resources and the objects that are stored for them, one to one: Calico's kinds as custom resources of either
 * group, and Kubernetes' own kinds as they are. The objects of IPAM have shapes of their own, in v1 and v3 slightly different ones.
 * Pure. What cannot be read is INVALID, naming object and field, as in codec.ts.
 */

type Json = Record<string, unknown>;

/** Where objects of a kind are, and how they come to be read. */
export interface Mapping {
  readonly kind: Kind;
  /** Their collection, over all namespaces. */
  readonly collection: ResourcePath;
  /** Others mark them as deleted before they delete them. */
  readonly isSoftDeleted: boolean;
  /** The API server keeps their status apart, and takes it at a path of its own. */
  readonly hasStatus: boolean;
  /** One object's path. */
  path(ref: Ref): ResourcePath;
  /** The resource that an object is. `server` is for messages. */
  decode(object: KubernetesObject, server: string): Resource;
  /** The object that a resource is stored as. */
  encode(resource: Resource): KubernetesObject;
  /** What an object that cannot be read tells of its resource. Absent: its own name and namespace. */
  readonly refOf?: ((object: KubernetesObject) => Ref) | undefined;
}

/** The mapping of a kind that is stored as a resource of its own. */
export function mappingOf(kind: Kind, group: ApiGroup): Mapping {
  return kind.apiVersion === API_VERSION ? customMapping(kind, group) : plainMapping(kind);
}

function plainMapping(kind: Kind): Mapping {
  const [group, version] = kind.apiVersion.includes("/") ? kind.apiVersion.split("/") : ["", kind.apiVersion];
  const collection: ResourcePath = { group: group!, version: version!, plural: kind.plural };
  return {
    kind,
    collection,
    isSoftDeleted: false,
    hasStatus: false,
    path: (ref) => pathOf(kind, collection, ref, ref.name),
    decode(object, server) {
      const metadata = ownMetadata(object);
      return {
        ...object,
        apiVersion: kind.apiVersion,
        kind: kind.kind,
        metadata: checked(kind, metadata, object, server),
      };
    },
    encode: (resource) => ({
      ...(resource as unknown as KubernetesObject),
      apiVersion: kind.apiVersion,
      kind: kind.kind,
    }),
  };
}

const IPAM_KINDS: readonly string[] = ["IPAMBlock", "BlockAffinity", "IPAMHandle", "IPAMConfiguration"];

/** Whether a kind is one of the allocator's own, which the Client does not check against a schema before it writes them. */
export const isIpamKind = (kind: Kind): boolean => kind.apiVersion === API_VERSION && IPAM_KINDS.includes(kind.kind);

/** IPAMConfiguration had another name in v1. */
const V1_NAMES: Readonly<Record<string, { readonly kind: string; readonly plural: string }>> = {
  IPAMConfiguration: { kind: "IPAMConfig", plural: "ipamconfigs" },
};

function customMapping(kind: Kind, group: ApiGroup): Mapping {
  const stored = (group === "v1" ? V1_NAMES[kind.kind] : undefined) ?? { kind: kind.kind, plural: kind.plural };
  const collection: ResourcePath = { ...GROUPS[group], plural: stored.plural };
  const apiVersion = apiVersionOf(group);
  const isIpam = isIpamKind(kind);
  return {
    kind,
    collection,
    isSoftDeleted: isIpam && kind.kind !== "IPAMConfiguration",
    hasStatus: kind.status !== undefined,
    path: (ref) => pathOf(kind, collection, ref, storedName(kind, ref)),
    refOf: kind.kind === "IPAMBlock" ? refOfBlock : kind.kind === "BlockAffinity" ? refOfAffinity : undefined,
    decode(object, server) {
      const where = whereOf(collection, object, server);
      const report = (field: string, value: unknown, must: string): never => {
        throw unreadable(where, `${field}: ${sample(value)}: must be ${must}`);
      };
      const metadata = group === "v1" ? fromV1Metadata(kind.kind, object, report) : ownMetadata(object);
      const { spec: found, status, ...others } = object as KubernetesObject & { spec?: unknown; status?: unknown };
      const spec = found ?? {};
      if (!isObject(spec)) return report("spec", spec, "an object");
      const base = { ...others, apiVersion: API_VERSION, kind: kind.kind };
      if (isIpam) {
        const reader = new Reader(where, spec, "spec.");
        return { ...base, metadata, spec: decodeIpam(kind.kind, reader, metadata.name) };
      }
      const resource = completeResource(kind, {
        ...base,
        metadata,
        spec,
        ...(status === undefined || status === null ? {} : { status }),
      });
      const problem = checkResource(kind, resource, { unknown: "keep", stored: true })[0];
      if (problem) throw unreadable(where, describeProblem(problem));
      return resource;
    },
    encode(resource) {
      const { metadata, spec, status, ...others } = resource;
      const kept =
        isIpam && kind.kind !== "IPAMConfiguration" ? ipamMetadata(kind.kind, metadata, spec as Json) : metadata;
      return {
        ...others,
        apiVersion,
        kind: stored.kind,
        metadata: (group === "v1" ? toV1Metadata(kind.kind, kept) : kept) as NonNullable<KubernetesObject["metadata"]>,
        spec: isIpam ? encodeIpam(kind.kind, (spec ?? {}) as Json, group) : (spec ?? {}),
        ...(status === undefined ? {} : { status }),
      } as KubernetesObject;
    },
  };
}

/**
 * All that is stored of the metadata of blocks, affinities and handles: which object it is, and an affinity's labels, by which one host's
 * are found. Hosts' names can be longer than labels may be.
 */
function ipamMetadata(
  kind: string,
  { name, uid, resourceVersion }: ObjectMeta,
  { node, type, cidr }: Json,
): ObjectMeta {
  const labels = {
    "projectcalico.org/hostname-hash": hostnameHash(String(node)),
    "projectcalico.org/affinity-type": String(type ?? "host"),
    "projectcalico.org/ip-version": String(cidr).includes(":") ? "6" : "4",
  };
  return {
    name,
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(kind === "BlockAffinity" ? { labels } : {}),
  };
}

/** The selector of a host's affinities. */
export function affinitySelector(node: string, type: "host" | "virtual" | undefined): string {
  const host = `projectcalico.org/hostname-hash=${hostnameHash(node)}`;
  return type === undefined ? host : `${host},projectcalico.org/affinity-type=${type}`;
}

/** The affinities that a Calico older than the labels has written. */
export const UNLABELLED_AFFINITIES = "!projectcalico.org/affinity-type";

/** The name under which an object is stored, which the fields that identify it may make. */
function storedName(kind: Kind, ref: Ref): string {
  const { cidr, handleID } = ref.spec ?? {};
  if (kind.kind === "IPAMBlock" && typeof cidr === "string") {
    const parsed = tryParseCidr(cidr);
    if (!parsed)
      throw new DatastoreError("INVALID", `IPAMBlock ${ref.name}: spec.cidr: ${sample(cidr)}: must be a CIDR`);
    return cidrName(formatCidr(parsed));
  }
  return kind.kind === "IPAMHandle" && typeof handleID === "string" ? handleID.toLowerCase() : ref.name;
}

function pathOf(kind: Kind, collection: ResourcePath, ref: Ref, name: string): ResourcePath {
  if (typeof name !== "string" || name === "" || name.includes("/"))
    throw new DatastoreError("INVALID", `${kind.kind}: metadata.name: ${sample(name)}: must be a name without "/"`);
  if (!kind.namespaced) return { ...collection, name };
  const { namespace } = ref;
  if (!namespace || namespace.includes("/"))
    throw new DatastoreError(
      "INVALID",
      `${kind.kind} ${name}: metadata.namespace: ${sample(namespace)}: must be the name of a namespace`,
    );
  return { ...collection, namespace, name };
}

const BOOLEANS: Readonly<Record<string, boolean>> = {
  ...{ "": false, "0": false, f: false, F: false, false: false, FALSE: false, False: false },
  ...{ "1": true, t: true, T: true, true: true, TRUE: true, True: true },
};

const AFFINITY_FIELDS = new Set(["state", "node", "type", "cidr", "deleted"]);
const HANDLE_FIELDS = new Set(["handleID", "block", "deleted"]);
const CONFIG_FIELDS = new Set([
  "strictAffinity",
  "autoAllocateBlocks",
  "maxBlocksPerHost",
  "kubeVirtVMAddressPersistence",
  "ipCooldownSeconds",
]);

function decodeIpam(kind: string, reader: Reader, name: string): Json {
  switch (kind) {
    case "IPAMBlock": {
      const cidr = cidrOfName(name) ?? reader.fail("cidr", reader.value.cidr, `what the name ${name} is made of`);
      return decodeBlock(reader, cidr, "affinityClaimTime");
    }
    case "BlockAffinity": {
      const node = reader.text("node") || reader.fail("node", reader.value.node, "the name of a node");
      const cidr = tryParseCidr(reader.text("cidr") ?? "") ?? reader.fail("cidr", reader.value.cidr, "a CIDR");
      // A text in v1, so that conversions in older API servers did not lose it.
      const { deleted = false } = reader.value;
      const isDeleted = typeof deleted === "string" ? BOOLEANS[deleted] : deleted;
      return {
        state: reader.text("state") || "confirmed",
        node,
        type: reader.text("type") || "host",
        cidr: formatCidr(cidr),
        deleted: typeof isDeleted === "boolean" ? isDeleted : reader.fail("deleted", deleted, "true or false"),
        ...reader.others(AFFINITY_FIELDS),
      };
    }
    case "IPAMHandle": {
      const handleID = reader.text("handleID") ?? "";
      if (handleID.toLowerCase() !== name) reader.fail("handleID", handleID, `${name} but for case, as its name`);
      return {
        handleID,
        block: reader.map("block", (n) => (Number.isSafeInteger(n) ? n : undefined), "an integer"),
        deleted: reader.boolean("deleted"),
        ...reader.others(HANDLE_FIELDS),
      };
    }
    default:
      return {
        strictAffinity: reader.boolean("strictAffinity"),
        // Absent means false here, which is not the kind's default.
        autoAllocateBlocks: reader.boolean("autoAllocateBlocks"),
        maxBlocksPerHost: reader.integer("maxBlocksPerHost"),
        kubeVirtVMAddressPersistence: reader.text("kubeVirtVMAddressPersistence") || "Enabled",
        ipCooldownSeconds: reader.integer("ipCooldownSeconds"),
        ...reader.others(CONFIG_FIELDS),
      };
  }
}

function encodeIpam(kind: string, spec: Json, group: ApiGroup): Json {
  switch (kind) {
    case "IPAMBlock": {
      const { affinity, ...block } = encodeBlock(spec, "affinityClaimTime");
      // Unused, and required.
      return { ...(affinity === null ? {} : { affinity }), ...block, strictAffinity: false };
    }
    case "BlockAffinity": {
      const deleted = spec.deleted ?? false;
      const cidr = typeof spec.cidr === "string" ? tryParseCidr(spec.cidr) : undefined;
      return {
        state: spec.state ?? "confirmed",
        node: spec.node,
        type: spec.type ?? "host",
        cidr: cidr ? formatCidr(cidr) : spec.cidr,
        deleted: group === "v1" ? String(deleted) : deleted,
        ...without(spec, AFFINITY_FIELDS),
      };
    }
    case "IPAMHandle":
      return {
        handleID: spec.handleID,
        block: sorted(spec.block) ?? {},
        deleted: spec.deleted ?? false,
        ...without(spec, HANDLE_FIELDS),
      };
    default:
      return {
        strictAffinity: spec.strictAffinity ?? false,
        autoAllocateBlocks: spec.autoAllocateBlocks ?? true,
        ...(spec.maxBlocksPerHost ? { maxBlocksPerHost: spec.maxBlocksPerHost } : {}),
        ...(spec.kubeVirtVMAddressPersistence
          ? { kubeVirtVMAddressPersistence: spec.kubeVirtVMAddressPersistence }
          : {}),
        ...(spec.ipCooldownSeconds ? { ipCooldownSeconds: spec.ipCooldownSeconds } : {}),
        ...without(spec, CONFIG_FIELDS),
      };
  }
}

/** A block that cannot be read still has its CIDR's name. */
function refOfBlock({ metadata: { name = "" } = {} }: KubernetesObject): Ref {
  return refNaming(name, name);
}

/** And an affinity that of its node and its CIDR. */
function refOfAffinity(object: KubernetesObject): Ref {
  const { name = "" } = object.metadata ?? {};
  const { spec } = object as { spec?: { node?: unknown } | null };
  const node = spec?.node;
  return refNaming(name, typeof node === "string" && name.startsWith(`${node}-`) ? name.slice(node.length + 1) : "");
}

function refNaming(name: string, cidrText: string): Ref {
  const cidr = cidrOfName(cidrText);
  return { name, ...(cidr === undefined ? {} : { spec: { cidr: formatCidr(cidr) } }) };
}

/** An object as messages name it: `kubernetes https://…: ippools.crd.projectcalico.org main`. */
export function whereOf(collection: ResourcePath, object: KubernetesObject, server: string): string {
  return `${server}: ${keyOf(collection, object)}`;
}

/** An object as a key names it: `ippools.crd.projectcalico.org main`. */
export function keyOf(collection: ResourcePath, object: KubernetesObject): string {
  const { name, namespace } = object.metadata ?? {};
  return describePath({ ...collection, namespace, name: name ?? "" });
}

/** Without what only the API server has use for. */
function ownMetadata(object: KubernetesObject): ObjectMeta {
  const { managedFields: _m, selfLink: _s, ...metadata } = object.metadata ?? {};
  return metadata as unknown as ObjectMeta;
}

function checked(kind: Kind, metadata: ObjectMeta, object: KubernetesObject, server: string): ObjectMeta {
  if (typeof metadata.name === "string" && metadata.name !== "") return metadata;
  throw unreadable(`${server}: ${kind.plural}`, `metadata.name: ${sample(object.metadata?.name)}: must be a name`);
}

const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);
