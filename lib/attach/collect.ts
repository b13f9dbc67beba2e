import { BlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { endpointName } from "../api/names.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { WorkloadEndpoint as Kind } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import { type Client, DatastoreError, type ListResult, type Operation, type Unreadable } from "../datastore/index.ts";
import { formatAddress, parseCidr } from "../ip/index.ts";
import { createIpam, type Ipam, type ReleaseByHandleOptions, type ReleaseRequest } from "../ipam/index.ts";
import { type DeletePlan, listPodInterfaces } from "../veth/index.ts";
import { callIpamPlugin, isOwnIpam, underLock } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { removeInterface } from "./delete.ts";
import { deleteEndpoint } from "./endpoint.ts";
import { asFailure, step } from "./failure.ts";
import {
  type Blocked,
  findGarbage,
  type Garbage,
  type Inventory,
  markOf,
  mayBeOfNode,
  ownerOfMark,
  unreadableEndpoint,
} from "./garbage.ts";
import type { Host } from "./host.ts";
import { readNodename } from "./settings.ts";

/**
 * GC: removes every attachment of this network on this node that the runtime does not name, and the leftovers of
 * interrupted deletions. Goes on after a failure, and reports all of them in the end.
 */
export async function collectGarbage(call: Invocation, host: Host): Promise<void> {
  const node = readNodename(call.config, host, true);
  const failures: string[] = [];
  const blocked: Blocked[] = [];
  const attempt = async (what: string, action: () => unknown): Promise<void> => {
    try {
      await action();
    } catch (error) {
      failures.push(`${what}: ${(asFailure(error, "failed") as Error).message}`);
    }
  };
  await withClient(call.config, host, async (client) => {
    const information = await step("the datastore cannot be read", () => readClusterInformation(client, host));
    await requireReady(client, information);
    const { held, problems, ...inventory } = await takeInventory(call, host, client, node);
    failures.push(...problems);
    const garbage = findGarbage(inventory);
    blocked.push(...garbage.blocked);
    for (const { key, name, problem } of inventory.unreadable) {
      if (mayBeOfNode(node, name))
        host.log.warning("a stored WorkloadEndpoint cannot be read", { key, error: problem });
    }
    for (const { endpoint } of blocked)
      failures.push(`the endpoint ${endpoint.key} cannot be read, so its attachment stays: ${endpoint.problem}`);
    const kept = await removeInterfaces(host, inventory, garbage, attempt);
    await removeRecords(call, host, client, { garbage, kept, held }, attempt);
    host.log.info("collected garbage", {
      network: call.config.name,
      interfaces: garbage.interfaces.length,
      endpoints: garbage.endpoints.length,
      handles: garbage.handles.length,
      failures: failures.length,
    });
  });
  if (!isOwnIpam(call)) {
    await attempt(`the plugin "${call.config.ipam.type}"`, () => callIpamPlugin(withValid(call, blocked), host, "GC"));
  }
  if (failures.length > 0) {
    throw new CniError(
      errorCode.garbage,
      `GC of network "${call.config.name}" could not remove everything`,
      failures.join("; "),
    );
  }
}

/** The call as another IPAM plugin gets it: what this plugin leaves in place is valid there too. */
function withValid(call: Invocation, blocked: readonly Blocked[]): Invocation {
  if (blocked.length === 0) return call;
  const unknown = blocked.find(({ attachments }) => attachments.length === 0);
  if (unknown) {
    const why = `nobody can say which addresses are those of the endpoint ${unknown.endpoint.key}`;
    throw new CniError(errorCode.garbage, `it was not asked to collect: ${why}`);
  }
  const more = blocked.flatMap(({ attachments }) =>
    attachments.map(({ containerId, ifName }) => ({ containerID: containerId, ifname: ifName })),
  );
  const raw: Record<string, unknown> = { ...call.config.raw };
  const [name, olderName] = ["cni.dev/valid-attachments", "cni.dev/attachments"];
  for (const key of [name, olderName]) if (Array.isArray(raw[key])) raw[key] = [...raw[key], ...more];
  raw[name] ??= raw[olderName] ?? more;
  return { ...call, stdin: JSON.stringify(raw), config: { ...call.config, raw } };
}

/** Addresses on this node by their handle, as the blocks have them. */
type Requests = ReadonlyMap<string, readonly ReleaseRequest[]>;

export interface Held {
  readonly requests: Requests;
  /** `<namespace>/<pod>` that the addresses of a handle say they are of. */
  readonly pods: ReadonlyMap<string, string>;
  /** Blocks of this node that cannot be read, a sentence each: what is in them stays. */
  readonly problems: readonly string[];
}

const NOTHING: Held = { requests: new Map(), pods: new Map(), problems: [] };

type Attempt = (what: string, action: () => unknown) => Promise<void>;

async function takeInventory(
  call: Invocation,
  host: Host,
  client: Client,
  node: string,
): Promise<Inventory & { readonly held: Requests; readonly problems: readonly string[] }> {
  const { name: network, validAttachments: valid } = call.config;
  const [{ items: endpoints, unreadable }, { requests: held, pods, problems }] = await step(
    "the datastore cannot be read",
    async () => {
      const held = isOwnIpam(call) ? heldOnNode(client, host, network, node) : NOTHING;
      if (!client.capabilities.views) return Promise.all([client.list(Kind, { node }), held]);
      const found = await held;
      return [await endpointsOfPods(client, node, new Set(found.pods.values())), found] as const;
    },
  );
  const interfaces = await step("the interfaces cannot be listed", () => listPodInterfaces(host.hostNetns));
  const handles = new Set(held.keys());
  const hidden = unreadable.map(unreadableEndpoint);
  return { network, node, endpoints, unreadable: hidden, interfaces, handles, pods, held, problems, valid };
}

/**
 * On Kubernetes a plugin may get pods and not list them: the endpoints of those that addresses are assigned to. Another pod's has
 * nothing that could be collected but the note of an address on it, which goes with the pod.
 */
async function endpointsOfPods(
  client: Client,
  node: string,
  pods: ReadonlySet<string>,
): Promise<Pick<ListResult<WorkloadEndpoint>, "items" | "unreadable">> {
  const items: WorkloadEndpoint[] = [];
  const unreadable: Unreadable[] = [];
  for (const one of pods) {
    const [namespace = "", pod = ""] = one.split("/");
    let ref: { name: string; namespace: string };
    try {
      ref = { name: endpointName({ node, orchestrator: "k8s", pod, endpoint: "eth0" }), namespace };
    } catch (error) {
      // What an address is said to be of need not be a pod's name.
      if (error instanceof RangeError) continue;
      throw error;
    }
    try {
      const endpoint = await client.get(Kind, ref);
      if (endpoint) items.push(endpoint);
    } catch (error) {
      if (!(error instanceof DatastoreError) || error.code !== "INVALID") throw error;
      unreadable.push({ key: `pods ${one}`, ref, error });
    }
  }
  return { items, unreadable };
}

/**
 * The network's handles with addresses on this node, and the addresses. Borrowed addresses are in other nodes' blocks, so
 * all blocks are read; tunnels' addresses have a type, and are nobody's garbage.
 */
export async function heldOnNode(client: Client, host: Host, network: string, node: string): Promise<Held> {
  const held = new Map<string, ReleaseRequest[]>();
  const pods = new Map<string, string>();
  const { items, unreadable } = await client.list(IPAMBlock);
  for (const { spec } of items) {
    for (const [ordinal, index] of spec.allocations.entries()) {
      const attributes = index === null ? undefined : spec.attributes[index];
      const { handle_id: handle, secondary, releasedAt } = attributes ?? {};
      if (releasedAt !== undefined || !handle?.startsWith(`${network}.`)) continue;
      if (secondary?.node !== node || secondary.type !== undefined) continue;
      const { version, base } = parseCidr(spec.cidr);
      const address = formatAddress({ version, value: base + BigInt(ordinal) });
      const request = { address, handle, sequenceNumber: spec.sequenceNumberForAllocation[String(ordinal)] ?? 0n };
      held.set(handle, [...(held.get(handle) ?? []), request]);
      if (secondary.pod !== undefined) pods.set(handle, `${secondary.namespace ?? ""}/${secondary.pod}`);
    }
  }
  return { requests: held, pods, problems: await blockProblems(client, host, node, unreadable) };
}

/** Logs which blocks cannot be read, and answers of those that are this node's that they are not collected. */
async function blockProblems(
  client: Client,
  host: Host,
  node: string,
  blocks: readonly Unreadable[],
): Promise<string[]> {
  if (blocks.length === 0) return [];
  for (const { key, error } of blocks)
    host.log.warning("a stored IPAMBlock cannot be read: what is in it is not collected", {
      key,
      error: error.message,
    });
  const affine = await client.list(BlockAffinity, { node, affinityType: "host" });
  const own = new Set<unknown>([
    ...affine.items.map(({ spec }) => spec.cidr),
    ...affine.unreadable.map(({ ref }) => ref.spec?.cidr),
  ]);
  return blocks
    .filter(({ ref }) => own.has(ref.spec?.cidr))
    .map(({ ref, error }) => `the block ${ref.spec?.cidr} cannot be read, so its addresses stay: ${error.message}`);
}

/** Releases what a handle holds; where its object is missing, the addresses that were just seen with its name. */
export async function releaseHeld(
  ipam: Ipam,
  handle: string,
  seen: readonly ReleaseRequest[],
  options?: ReleaseByHandleOptions,
): Promise<void> {
  const { found } = await ipam.releaseByHandle(handle, options);
  if (found || seen.length === 0) return;
  for (const { outcome, address, reason } of await ipam.releaseAddresses(seen)) {
    if (outcome === "unreadable") throw new Error(`${address} cannot be released: ${reason}`);
  }
}

/**
 * Removes the interfaces; answers the endpoints whose interface had to stay, and which therefore keep their addresses. An
 * endpoint whose interface is in no list has one without a mark, if any: see DeletePlan.recorded.
 */
async function removeInterfaces(
  host: Host,
  { network, interfaces }: Inventory,
  garbage: Garbage,
  attempt: Attempt,
): Promise<Set<WorkloadEndpoint>> {
  const kept = new Set<WorkloadEndpoint>();
  const listed = new Set(interfaces.map(({ name }) => name));
  const remove = async (plan: DeletePlan, endpoints: readonly WorkloadEndpoint[]): Promise<void> => {
    let done = false;
    await attempt(`interface ${plan.hostInterface}`, () => {
      const { result, owner, notes } = removeInterface(host, plan);
      if (result === "foreign" && owner === undefined) throw new Error(notes.at(-1));
      done = true;
    });
    if (!done) for (const endpoint of endpoints) kept.add(endpoint);
  };
  for (const { name, owner } of garbage.interfaces) {
    const containerInterface = ownerOfMark(owner)?.ifName ?? "eth0";
    await remove(
      { containerInterface, hostInterface: name, owner },
      garbage.endpoints.filter(({ spec }) => spec.interfaceName === name),
    );
  }
  for (const endpoint of garbage.endpoints) {
    const { interfaceName = "", endpoint: ifName = "eth0", ipNetworks = [] } = endpoint.spec;
    if (interfaceName === "" || listed.has(interfaceName)) continue;
    const owner = markOf(network, endpoint.spec);
    const plan = { containerInterface: ifName, hostInterface: interfaceName, owner, recorded: ipNetworks };
    await remove(plan, [endpoint]);
  }
  return kept;
}

async function removeRecords(
  call: Invocation,
  host: Host,
  client: Client,
  { garbage, kept, held }: { garbage: Garbage; kept: ReadonlySet<WorkloadEndpoint>; held: Requests },
  attempt: Attempt,
): Promise<void> {
  const ipam = createIpam(client, { clock: host.now, log: host.log });
  const left = new Set(garbage.endpoints.filter((endpoint) => !kept.has(endpoint)));
  const keptContainers = new Set([...kept].map(({ spec }) => spec.containerID));
  for (const handle of garbage.handles) {
    const containerId = handle.slice(call.config.name.length + 1);
    if (keptContainers.has(containerId)) continue;
    const own = [...left].filter(({ spec }) => spec.containerID === containerId);
    for (const endpoint of own) left.delete(endpoint);
    const alsoWrite = () => deletions(client, own);
    await attempt(`handle ${handle}`, () =>
      underLock(call, host, () => releaseHeld(ipam, handle, held.get(handle) ?? [], { alsoWrite })),
    );
  }
  for (const endpoint of left) {
    await attempt(`endpoint ${endpoint.metadata.name}`, async () => client.batch(await deletions(client, [endpoint])));
  }
}

/** The deletion of endpoints that are still the same container's, at their present revision. */
async function deletions(client: Client, endpoints: readonly WorkloadEndpoint[]): Promise<Operation[]> {
  const fresh = await Promise.all(endpoints.map(({ metadata }) => client.get(Kind, metadata)));
  return fresh.flatMap((endpoint, index) =>
    endpoint && endpoint.spec.containerID === endpoints[index]!.spec.containerID ? [deleteEndpoint(endpoint)] : [],
  );
}
