import { ClusterInformation } from "../api/clusterinformation.ts";
import { IPPool } from "../api/ippool.ts";
import { formatCidr, sameCidr, subnetAt, tryParseCidr } from "../ip/index.ts";
import { asRead, type Context } from "./context.ts";
import { IpamError } from "./errors.ts";
import { readAllPools } from "./reads.ts";
import type { SplitResult } from "./types.ts";

/**
 * See {@link Ipam.splitPool}. Blocks stay as they are: each lies in exactly one of the parts. The old pool is disabled
 * first, then the parts are made, then it is deleted, so that addresses always have a pool; run again after a failure,
 * it goes on with the parts that are missing.
 */
export async function splitPool(ctx: Context, text: string, parts: number): Promise<SplitResult> {
  const { client } = ctx;
  const [cluster, pools] = await Promise.all([client.get(ClusterInformation, { name: "default" }), readAllPools(ctx)]);
  if (cluster?.spec.datastoreReady !== false)
    throw new IpamError(
      "IPAM_NOT_LOCKED",
      "the datastore is not locked: run 'calicoctl datastore migrate lock' first, so that nothing is assigned meanwhile, and unlock afterwards",
    );
  const cidr = tryParseCidr(text);
  const pool = pools.find((one) => one.name === text || (cidr && sameCidr(one.cidr, cidr)));
  if (!pool) throw new IpamError("IPAM_POOL_NOT_FOUND", `there is no IP pool "${text}"`);
  const power = Math.log2(parts);
  if (!Number.isInteger(power) || power < 1)
    throw new IpamError("IPAM_INVALID", `parts: ${parts}: must be a power of two, 2 or more`);
  const length = pool.cidr.length + power;
  if (length > pool.blockSize)
    throw new IpamError(
      "IPAM_INVALID",
      `parts: ${parts}: parts of /${length} would be smaller than the blocks of pool ${pool.name} (/${pool.blockSize})`,
    );
  const { resource, name } = pool;
  const old = resource.spec.disabled
    ? resource
    : await client.update(IPPool, { ...resource, spec: { ...resource.spec, disabled: true } });
  const created: { name: string; cidr: string }[] = [];
  for (let index = 0; index < parts; index++) {
    const part = { name: `split-${name.slice(0, 245)}-${index}`, cidr: formatCidr(subnetAt(pool.cidr, length, index)) };
    created.push(part);
    if (pools.some((one) => one.name === part.name && formatCidr(one.cidr) === part.cidr)) continue;
    const { labels, annotations } = resource.metadata;
    await client.create(IPPool, {
      apiVersion: resource.apiVersion,
      kind: resource.kind,
      metadata: { name: part.name, ...(labels ? { labels } : {}), ...(annotations ? { annotations } : {}) },
      spec: { ...resource.spec, cidr: part.cidr, disabled: false },
    });
  }
  await client.delete(IPPool, { name }, asRead(ctx, old));
  return { removed: name, created };
}
