import { GlobalNetworkPolicy } from "../api/globalnetworkpolicy.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPPool } from "../api/ippool.ts";
import type { Kind } from "../api/kind.ts";
import { API_VERSION, type Ref, type Resource } from "../api/meta.ts";
import { NetworkPolicy } from "../api/networkpolicy.ts";
import { Node } from "../api/node.ts";
import { checkUpdate } from "../api/resource.ts";
import { describeProblem, type Problem } from "../api/schema.ts";
import { isBuiltInTier, Tier } from "../api/tier.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { type Client, DatastoreError, type DeleteOptions } from "../datastore/index.ts";
import { cidrOverlaps, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { createIpam } from "./ipam.ts";

/**
 * Writing resources as upstream's client does it: a change of one object may have to be checked against others, and a
 * deletion has to give back what belonged to the object. For programs that write on behalf of people; the allocator and
 * the plugins write their own objects directly. Resources are given complete: defaults applied, validated on their own.
 */
export interface ManageOptions {
  /** Waits for allocations in progress before a pool's blocks are given up; default: a timer. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
}

/** Creates a resource. INVALID when it does not go together with what exists, EXISTS when there is one of that name. */
export async function createResource<R extends Resource>(client: Client, kind: Kind<R>, resource: R): Promise<R> {
  if (kind.checkAgainst) refuse(kind.checkAgainst(resource, (await client.list(kind)).items));
  if (isKind(kind, IPPool)) {
    const pool = resource as unknown as IPPool;
    const version = tryParseCidr(pool.spec.cidr)?.version;
    const { items } = await client.list(IPAMBlock, version === undefined ? undefined : { ipVersion: version });
    refuse(blockSizeProblems(pool, items));
  }
  if (isPolicy(kind)) await requireTier(client, (resource.spec as { tier: string }).tier);
  return client.create(kind, resource);
}

/**
 * Updates the resource at the revision it carries. INVALID when it changes what may not change, CONFLICT when the stored
 * one is of another revision, NOT_FOUND when there is none.
 */
export async function updateResource<R extends Resource>(client: Client, kind: Kind<R>, resource: R): Promise<R> {
  const { name, namespace } = resource.metadata;
  const previous = await client.get(kind, { name, ...(namespace === undefined ? {} : { namespace }) });
  if (previous) refuse(checkUpdate(kind, resource, previous));
  return client.update(kind, resource);
}

/** A new pool must not cover blocks of another size, which an earlier pool left behind with addresses in use. Pure. */
export function blockSizeProblems(pool: IPPool, blocks: readonly IPAMBlock[]): Problem[] {
  const cidr = tryParseCidr(pool.spec.cidr);
  if (!cidr) return [];
  const conflict = blocks.find(({ spec }) => {
    const block = tryParseCidr(spec.cidr);
    return block !== undefined && block.length !== pool.spec.blockSize && cidrOverlaps(block, cidr);
  });
  if (!conflict) return [];
  const message = `conflicts with existing allocations that use a different block size: the block ${conflict.spec.cidr} lies in ${pool.spec.cidr}`;
  return [{ path: "spec.blockSize", value: pool.spec.blockSize, message }];
}

/** Deletes a resource, and what must not outlive it: the affinities of a pool's blocks; a node's endpoints, addresses and blocks. */
export async function deleteResource<R extends Resource>(
  client: Client,
  kind: Kind<R>,
  ref: Ref,
  options: DeleteOptions & ManageOptions = {},
): Promise<R> {
  const { sleep = wait, ...rest } = options;
  if (isKind(kind, Tier)) await requireEmpty(client, ref.name);
  if (isKind(kind, IPPool)) return client.delete(kind, ref, await retirePool(client, ref, rest, sleep));
  if (isKind(kind, Node)) await retireNode(client, ref.name);
  return client.delete(kind, ref, rest);
}

/** Kubernetes has a kind of the same name and plural. */
const isPolicy = ({ kind, apiVersion }: { readonly kind: string; readonly apiVersion: string }): boolean =>
  apiVersion === API_VERSION && (kind === NetworkPolicy.kind || kind === GlobalNetworkPolicy.kind);

/** Policies are made in tiers that exist; the built-in ones always do, or will. */
async function requireTier(client: Client, name: string): Promise<void> {
  if (isBuiltInTier(name) || (await client.get(Tier, { name }))) return;
  refuse([{ path: "spec.tier", value: name, message: "must be a tier that exists; create it first" }]);
}

/** A tier that policies are in stays: without it they would not apply. */
async function requireEmpty(client: Client, name: string): Promise<void> {
  if (isBuiltInTier(name)) return; // the deletion is refused, in the kind's own words
  for (const kind of [NetworkPolicy, GlobalNetworkPolicy] as unknown as Kind<NetworkPolicy>[]) {
    const policy = (await client.list(kind)).items.find(({ spec }) => spec.tier === name);
    if (!policy) continue;
    const { namespace, name: own } = policy.metadata;
    const which = `${kind.kind} ${namespace === undefined ? own : `${namespace}/${own}`}`;
    throw new DatastoreError(
      "INVALID",
      `the tier ${name} has policies in it, such as ${which}; delete or move them first`,
    );
  }
}

/** How long an allocation that has read the pool as enabled may take to be written (libcalico-go/lib/clientv3/ippool.go). */
const SETTLE_MS = 500;

/** Disables the pool so that nobody assigns from it any more, and gives up its blocks. Answers how it may then be deleted. */
async function retirePool(
  client: Client,
  ref: Ref,
  options: DeleteOptions,
  sleep: (milliseconds: number) => Promise<void>,
): Promise<DeleteOptions> {
  const pool = await client.get(IPPool, ref);
  if (!pool) return options; // the deletion answers NOT_FOUND, in its own words
  let guard = options;
  if (pool.spec.disabled !== true) {
    pool.spec.disabled = true;
    if (options.resourceVersion !== undefined) pool.metadata.resourceVersion = options.resourceVersion;
    await client.update(IPPool, pool);
    const { resourceVersion: _used, ...others } = options;
    guard = others;
    await sleep(SETTLE_MS);
  }
  await createIpam(client).releaseAffinities(pool.spec.cidr);
  return guard;
}

async function retireNode(client: Client, name: string): Promise<void> {
  const ipam = createIpam(client);
  const { items: endpoints } = await client.list(WorkloadEndpoint, { node: name });
  const node = await client.get(Node, { name });
  const addresses = [
    ...endpoints.flatMap((endpoint) => endpoint.spec.ipNetworks ?? []),
    node?.spec.bgp?.ipv4IPIPTunnelAddr,
    node?.spec.ipv4VXLANTunnelAddr,
    node?.spec.ipv6VXLANTunnelAddr,
    node?.spec.wireguard?.interfaceIPv4Address,
    node?.spec.wireguard?.interfaceIPv6Address,
  ].flatMap((text) => (text ? (text.split("/", 1)[0] ?? []) : []));
  const requests = addresses.filter((text) => tryParseAddress(text)).map((address) => ({ address }));
  const outcomes = requests.length > 0 ? await ipam.releaseAddresses(requests) : [];
  // The endpoints are what still tells of these addresses.
  for (const { outcome, address, reason } of outcomes) {
    if (outcome === "unreadable")
      throw new DatastoreError("INVALID", `the address ${address} of node ${name} cannot be released: ${reason}`);
  }
  for (const { metadata } of endpoints) {
    const { name: endpoint, namespace } = metadata;
    await client.delete(WorkloadEndpoint, { name: endpoint, ...(namespace ? { namespace } : {}) }).catch(unlessGone);
  }
  await ipam.releaseOwner({ type: "host", name });
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length > 0) throw new DatastoreError("INVALID", problems.map(describeProblem).join("; "));
}

function unlessGone(error: unknown): void {
  if (!(error instanceof DatastoreError && error.code === "NOT_FOUND")) throw error;
}

function isKind(kind: { readonly plural: string }, other: { readonly plural: string }): boolean {
  return kind.plural === other.plural;
}

function wait(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
