import type { Kind, KindKey } from "../api/kind.ts";
import type { Ref, Resource } from "../api/meta.ts";
import { affinityName, cidrName } from "../api/names.ts";
import { type Cidr, formatCidr, parseCidr, tryParseCidr } from "../ip/index.ts";
import type { Index } from "./client.ts";
import { DatastoreError } from "./errors.ts";
import { inRange, prefixRange, type Range } from "./store.ts";

/**
 * Where each object is stored: upstream's keys, exactly (libcalico-go/lib/backend/model). Resources lie under their
 * plural; the objects of IPAM keep the older layout of the v1 model, because that is what every other Calico reads.
 */
export const RESOURCES = "/calico/resources/v3/projectcalico.org/";
/** Of Kubernetes' own kinds: a place of ours, which no other Calico reads, as it has them from an API server. */
export const KUBERNETES = "/calico/resources/v3/kubernetes/";
export const IPAM = "/calico/ipam/v2/";
const BLOCKS = `${IPAM}assignment/`;
/** The largest block has 2^12 addresses: /20 and /116. */
const MAX_BLOCK_BITS = 12;
const HANDLES = `${IPAM}handle/`;
export const IPAM_CONFIG = `${IPAM}config`;

export type AffinityType = "host" | "virtual";

/** What a key of a kind identifies. Fields that the kind's key does not hold are absent. */
export interface KeyParts {
  readonly name: string;
  readonly namespace?: string;
  readonly cidr?: Cidr;
  readonly node?: string;
  readonly affinityType?: AffinityType;
}

/** The CIDR that {@link cidrName} made a name of; undefined when it is none. */
export function cidrOfName(name: string): Cidr | undefined {
  const dash = name.lastIndexOf("-");
  if (dash < 0) return undefined;
  const address = name.slice(0, dash);
  const length = name.slice(dash + 1);
  return (
    tryParseCidr(`${address.replaceAll("-", ".")}/${length}`) ??
    tryParseCidr(`${address.replaceAll("-", ":")}/${length}`)
  );
}

/** The key of an object. Undefined for a BlockAffinity of which only the name is given: the name does not tell its key. */
export function keyOf(kind: KindKey, ref: Ref): string | undefined {
  switch (kind.kind) {
    case "IPAMBlock":
      return blockKey(blockCidr(ref));
    case "BlockAffinity":
      return affinityKey(ref);
    case "IPAMHandle":
      return HANDLES + segment(kind, "spec.handleID", ref.spec?.handleID ?? ref.name);
    case "IPAMConfiguration":
      if (ref.name !== "default") throw invalid(kind, ref, `metadata.name: "${ref.name}": must be "default"`);
      return IPAM_CONFIG;
    default: {
      const name = segment(kind, "metadata.name", ref.name);
      const prefix = `${kind.verbatim ? KUBERNETES : RESOURCES}${kind.plural}/`;
      if (!kind.namespaced) return prefix + name;
      return `${prefix}${segment(kind, "metadata.namespace", ref.namespace)}/${name}`;
    }
  }
}

export function blockKey(cidr: Cidr): string {
  return `${BLOCKS}ipv${cidr.version}/block/${formatCidr(cidr).replace("/", "-")}`;
}

/** How an object is named in messages: `BlockAffinity node1-10-0-0-0-26`, `WorkloadEndpoint prod/web`. */
export function describeRef(kind: KindKey, ref: Ref): string {
  return `${kind.kind} ${ref.namespace === undefined ? "" : `${ref.namespace}/`}${ref.name}`;
}

/** The ranges that hold all objects of a kind, or of an index of it; other keys may lie in them too. */
export function rangesOf(kind: Kind, index: Index | undefined): Range[] {
  switch (kind.kind) {
    case "IPAMBlock":
      if (index && "overlapping" in index) return overlappingRanges(parseCidr(index.overlapping));
      return [prefixRange(index && "ipVersion" in index ? `${BLOCKS}ipv${index.ipVersion}/block/` : BLOCKS)];
    case "BlockAffinity": {
      // Nothing but "host" and "virtual" lies between the two.
      if (!index || !("node" in index)) return [{ start: `${IPAM}host/`, end: `${IPAM}virtual0` }];
      const node = segment(kind, "spec.node", index.node);
      const ranges: Range[] = [];
      if (index.affinityType !== "virtual") ranges.push(prefixRange(`${IPAM}host/${node}/`));
      if (index.affinityType !== "host") ranges.push(prefixRange(`${IPAM}virtual/${node}/`));
      return ranges;
    }
    case "IPAMHandle":
      return [prefixRange(HANDLES)];
    case "IPAMConfiguration":
      return [{ key: IPAM_CONFIG }];
    default: {
      const prefix = `${kind.verbatim ? KUBERNETES : RESOURCES}${kind.plural}/`;
      if (index && "node" in index && kind.kind === "Node")
        return [{ key: `${prefix}${segment(kind, "metadata.name", index.node)}` }];
      if (!index || !("namespace" in index) || !kind.namespaced) return [prefixRange(prefix)];
      const namespace = segment(kind, "metadata.namespace", index.namespace);
      if ("name" in index) return [{ key: `${prefix}${namespace}/${segment(kind, "metadata.name", index.name)}` }];
      return [prefixRange(`${prefix}${namespace}/${"namePrefix" in index ? index.namePrefix : ""}`)];
    }
  }
}

/**
 * Where blocks that share addresses with a CIDR may lie: those around it each have one key; those inside too when
 * they are few, else, for IPv4, they are among the keys of their first three bytes. The text of IPv6 has no such parts: there a CIDR
 * of more than 64 addresses, which is larger than the default block, costs the whole family.
 */
function overlappingRanges({ version, base, length }: Cidr): Range[] {
  const family = `${BLOCKS}ipv${version}/block/`;
  const bits = version === 4 ? 32 : 128;
  const isFew = bits - length <= (version === 4 ? 2 : 6);
  if (length < bits - MAX_BLOCK_BITS || (version === 6 && !isFew)) return [prefixRange(family)];
  const ranges: Range[] = [];
  const at = (value: bigint, size: number): void => {
    ranges.push({ key: blockKey({ version, base: value, length: size }) });
  };
  const least = isFew ? length + 1 : Math.min(length, 24);
  for (let size = bits - MAX_BLOCK_BITS; size < least; size++) {
    const shift = BigInt(bits - size);
    at((base >> shift) << shift, size);
  }
  if (!isFew) {
    for (let part = 0n; part < 1n << BigInt(Math.max(0, 24 - length)); part++) {
      const first = formatCidr({ version, base: (base & ~0xffn) + (part << 8n), length: 32 });
      ranges.push(prefixRange(`${family}${first.slice(0, first.lastIndexOf(".") + 1)}`));
    }
    // Read already, within the first prefix, when they begin where it does: what a key gave is not to be listed twice.
    return ranges.filter(
      (range) => !("key" in range) || !ranges.some((other) => other !== range && inRange(other, range.key)),
    );
  }
  for (let size = length + 1; size <= bits; size++) {
    for (let index = 0n; index < 1n << BigInt(size - length); index++) at(base + (index << BigInt(bits - size)), size);
  }
  return ranges;
}

/** What a key identifies, or undefined when it is not one of the kind. */
export function parseKey(kind: Kind, key: string): KeyParts | undefined {
  switch (kind.kind) {
    case "IPAMBlock": {
      const cidr = key.startsWith(BLOCKS) ? keyCidr(key.slice(BLOCKS.length).split("/")) : undefined;
      return cidr && { name: cidrName(formatCidr(cidr)), cidr };
    }
    case "BlockAffinity": {
      if (!key.startsWith(IPAM)) return undefined;
      const [affinityType, node, ...rest] = key.slice(IPAM.length).split("/");
      const cidr = keyCidr(rest);
      if (!cidr || !node || (affinityType !== "host" && affinityType !== "virtual")) return undefined;
      return { name: affinityName(node, formatCidr(cidr)), cidr, node, affinityType };
    }
    case "IPAMHandle": {
      const id = key.startsWith(HANDLES) ? key.slice(HANDLES.length) : "";
      return id === "" || id.includes("/") ? undefined : { name: id.toLowerCase() };
    }
    case "IPAMConfiguration":
      return key === IPAM_CONFIG ? { name: "default" } : undefined;
    default: {
      const prefix = `${kind.verbatim ? KUBERNETES : RESOURCES}${kind.plural}/`;
      if (!key.startsWith(prefix)) return undefined;
      const parts = key.slice(prefix.length).split("/");
      if (parts.length !== (kind.namespaced ? 2 : 1) || parts.includes("")) return undefined;
      return kind.namespaced ? { namespace: parts[0]!, name: parts[1]! } : { name: parts[0]! };
    }
  }
}

/** The handle ID in a key that {@link parseKey} accepted. */
export function handleIdOfKey(key: string): string {
  return key.slice(HANDLES.length);
}

/** What a key that {@link parseKey} accepts tells of its object: a Ref that finds it. */
export function refOfKey(kind: Kind, key: string): Ref {
  const { name, namespace, cidr, node, affinityType } = parseKey(kind, key)!;
  const spec: Record<string, unknown> = {
    ...(cidr ? { cidr: formatCidr(cidr) } : {}),
    ...(node === undefined ? {} : { node, type: affinityType }),
    ...(kind.kind === "IPAMHandle" ? { handleID: handleIdOfKey(key) } : {}),
  };
  const given = Object.keys(spec).length > 0;
  return { name, ...(namespace === undefined ? {} : { namespace }), ...(given ? { spec } : {}) };
}

/** A Ref that finds `resource`, whatever its kind. */
export function refOf(resource: Resource): Ref {
  const { name, namespace } = resource.metadata;
  const spec = resource.spec;
  return {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(typeof spec === "object" && spec !== null ? { spec: spec as Readonly<Record<string, unknown>> } : {}),
  };
}

/** The CIDR in the last parts of a key: ipv4/block/10.0.0.0-26. */
function keyCidr([family, block, text, ...rest]: readonly string[]): Cidr | undefined {
  if ((family !== "ipv4" && family !== "ipv6") || block !== "block" || rest.length > 0) return undefined;
  return text ? tryParseCidr(text.replace("-", "/")) : undefined;
}

function blockCidr(ref: Ref): Cidr {
  const given = ref.spec?.cidr;
  const cidr = typeof given === "string" ? tryParseCidr(given) : cidrOfName(ref.name);
  if (cidr) return cidr;
  throw new DatastoreError(
    "INVALID",
    `IPAMBlock ${ref.name}: spec.cidr: ${JSON.stringify(given ?? ref.name)}: must be a CIDR`,
  );
}

function affinityKey(ref: Ref): string | undefined {
  const { cidr: text, node, type } = ref.spec ?? {};
  if (text === undefined && node === undefined) return undefined;
  const cidr = typeof text === "string" ? tryParseCidr(text) : undefined;
  const of = `BlockAffinity ${ref.name}`;
  if (!cidr) throw new DatastoreError("INVALID", `${of}: spec.cidr: ${JSON.stringify(text)}: must be a CIDR`);
  if (typeof node !== "string" || !isSegment(node))
    throw new DatastoreError("INVALID", `${of}: spec.node: ${JSON.stringify(node)}: must be a name without "/"`);
  const affinityType = type === undefined || type === "" ? "host" : type;
  if (affinityType !== "host" && affinityType !== "virtual")
    throw new DatastoreError("INVALID", `${of}: spec.type: ${JSON.stringify(type)}: must be "host" or "virtual"`);
  return `${IPAM}${affinityType}/${node}/ipv${cidr.version}/block/${formatCidr(cidr).replace("/", "-")}`;
}

const isSegment = (text: unknown): text is string => typeof text === "string" && text !== "" && !text.includes("/");

function segment(kind: KindKey, path: string, text: unknown): string {
  if (isSegment(text)) return text;
  throw new DatastoreError(
    "INVALID",
    `${kind.kind}: ${path}: ${text === undefined ? "missing" : JSON.stringify(text)}: must be a name without "/"`,
  );
}

function invalid(kind: KindKey, ref: Ref, problem: string): DatastoreError {
  return new DatastoreError("INVALID", `${describeRef(kind, ref)}: ${problem}`);
}
