import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { cidrOverlaps, parseCidr } from "../ip/index.ts";
import type { Answer } from "./batcher.ts";
import type { Index } from "./client.ts";
import { blockKey, parseKey, rangesOf } from "./keys.ts";
import type { Range, Stored } from "./store.ts";

/** Whether an object belongs to an index. Decides what the ranges of {@link rangesOf} leave open. */
export function selects(index: Index | undefined, resource: Resource): boolean {
  if (!index) return true;
  const spec = resource.spec as Readonly<Record<string, unknown>>;
  if ("overlapping" in index)
    return typeof spec.cidr === "string" && cidrOverlaps(parseCidr(spec.cidr), parseCidr(index.overlapping));
  if ("ipVersion" in index) {
    const cidr = spec.cidr;
    return typeof cidr === "string" && cidr.includes(":") === (index.ipVersion === 6);
  }
  if ("namePrefix" in index)
    return resource.metadata.namespace === index.namespace && resource.metadata.name.startsWith(index.namePrefix);
  if ("name" in index) return resource.metadata.namespace === index.namespace && resource.metadata.name === index.name;
  if ("namespace" in index) return resource.metadata.namespace === index.namespace;
  if (resource.kind === "Node") return resource.metadata.name === index.node;
  if (resource.kind === "Pod") return spec.nodeName === index.node;
  if (resource.kind === "IPAMBlock") {
    if (index.affinityType) return spec.affinity === `${index.affinityType}:${index.node}`;
    return spec.affinity === `host:${index.node}` || spec.affinity === `virtual:${index.node}`;
  }
  if (spec.node !== index.node) return false;
  return index.affinityType === undefined || resource.kind !== "BlockAffinity" || spec.type === index.affinityType;
}

/**
 * The stored objects of an index, and perhaps a few more. Blocks of a node are found through its affinities, so that the
 * cost does not grow with other nodes' blocks.
 */
export async function listIndex(
  kind: Kind,
  index: Index | undefined,
  read: (ranges: readonly Range[]) => Promise<Answer>,
): Promise<{ revision: number; stored: readonly Stored[] }> {
  if (kind.kind !== "IPAMBlock" || !index || !("node" in index)) {
    const { revision, results } = await read(rangesOf(kind, index));
    return { revision, stored: results.length === 1 ? results[0]! : results.flat() };
  }
  const affinity = { ...kind, kind: "BlockAffinity" };
  const affinities = await read(rangesOf(affinity, index));
  const keys = new Set<string>();
  for (const { key } of affinities.results.flat()) {
    const cidr = parseKey(affinity, key)?.cidr;
    if (cidr) keys.add(blockKey(cidr));
  }
  if (keys.size === 0) return { revision: affinities.revision, stored: [] };
  const { results } = await read([...keys].map((key) => ({ key })));
  // A watch from the earlier revision misses nothing.
  return { revision: affinities.revision, stored: results.flat() };
}
