import { IPAMBlock } from "../api/ipamblock.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { WorkloadEndpoint as Kind } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { formatAddress, parseCidr } from "../ip/index.ts";
import { createIpam, type Ipam, type ReleaseByHandleOptions, type ReleaseRequest } from "../ipam/index.ts";
import { type DeletePlan, type ListedPodInterface, listPodInterfaces } from "../veth/index.ts";
import { callIpamPlugin, isOwnIpam, underLock } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { removeInterface } from "./delete.ts";
import { deleteEndpoint } from "./endpoint.ts";
import { asFailure, step } from "./failure.ts";
import type { Host } from "./host.ts";
import { handleOf, ownerMark, parseOwner } from "./identity.ts";
import { readNodename } from "./settings.ts";

/** What GC found of this network on this node, before it decides. */
export interface Inventory {
  readonly network: string;
  readonly node: string;
  readonly endpoints: readonly WorkloadEndpoint[];
  readonly interfaces: readonly ListedPodInterface[];
  /** Handles that hold addresses of this node and begin with the network's name and a dot. */
  readonly handles: ReadonlySet<string>;
  readonly valid: readonly { readonly containerId: string; readonly ifName: string }[];
}

/** What GC removes. */
export interface Garbage {
  readonly interfaces: readonly ListedPodInterface[];
  readonly endpoints: readonly WorkloadEndpoint[];
  readonly handles: readonly string[];
}

/**
 * Decides what of the inventory is garbage; pure. An attachment is (container, interface); a handle is the container's,
 * and stays while any of its attachments is valid. What cannot be shown to be this network's stays: network "a" and
 * container "b.c" share their handle's name with network "a.b" and container "c", and only a record or an interface that
 * says which it is can tell them apart.
 */
export function findGarbage(inventory: Inventory): Garbage {
  const { network, node, valid } = inventory;
  const isValid = (containerId: string | undefined, ifName: string | undefined): boolean =>
    valid.some((one) => one.containerId === containerId && (one.ifName === "" || one.ifName === ifName));
  const validContainers = new Set(valid.map((one) => one.containerId));
  const marked = new Map<string, string>();
  const ofOthers = new Map<string, string>();
  const interfaces: ListedPodInterface[] = [];
  for (const item of inventory.interfaces) {
    const owner = parseOwner(item.owner);
    if (owner?.network === network) {
      marked.set(item.name, owner.containerId);
      if (item.condemned || !isValid(owner.containerId, owner.ifName)) interfaces.push(item);
    } else {
      if (owner) ofOthers.set(item.name, owner.containerId);
      // Its own DEL has condemned it, and was cut short.
      if (item.condemned) interfaces.push(item);
    }
  }
  const marks = new Set(inventory.interfaces.map(({ owner }) => owner));
  const isOfNetwork = ({ spec }: WorkloadEndpoint): boolean => {
    const containerId = spec.containerID ?? "";
    const other = spec.orchestrator === "cni" && (spec.profiles?.length ?? 0) > 0 && spec.profiles![0] !== network;
    if (marked.get(spec.interfaceName ?? "") === containerId || marks.has(markOf(network, spec))) return true;
    if (other || ofOthers.get(spec.interfaceName ?? "") === containerId) return false;
    return spec.profiles?.[0] === network || inventory.handles.has(handleOf(network, containerId));
  };
  const own = inventory.endpoints.filter(
    (endpoint) =>
      endpoint.spec.node === node &&
      (endpoint.spec.orchestrator === "cni" || endpoint.spec.orchestrator === "k8s") &&
      endpoint.spec.containerID !== undefined &&
      isOfNetwork(endpoint),
  );
  const endpoints = own.filter(({ spec }) => !isValid(spec.containerID, spec.endpoint));
  // The record is written first: an interface whose maker died before it was marked is the one that the record names.
  const named = new Set(endpoints.map(({ spec }) => spec.interfaceName));
  // A mark too long to be kept is a hash, which only comparing can tell.
  const hashed = new Set(endpoints.map(({ spec }) => markOf(network, spec)).filter((mark) => mark.startsWith("#")));
  interfaces.push(
    ...inventory.interfaces.filter(
      ({ condemned, name, owner }) => !condemned && (owner === "" ? named.has(name) : hashed.has(owner)),
    ),
  );
  const known = new Set([...own.map(({ spec }) => spec.containerID!), ...marked.values()]);
  const handles = [...inventory.handles].filter((handle) => {
    const containerId = handle.slice(network.length + 1);
    if (validContainers.has(containerId)) return false;
    return !containerId.includes(".") || known.has(containerId);
  });
  return { interfaces, endpoints, handles };
}

function markOf(network: string, { containerID = "", endpoint = "" }: WorkloadEndpoint["spec"]): string {
  return ownerMark(network, containerID, endpoint);
}

/**
 * GC: removes every attachment of this network on this node that the runtime does not name, and the leftovers of
 * interrupted deletions. Goes on after a failure, and reports all of them in the end.
 */
export async function collectGarbage(call: Invocation, host: Host): Promise<void> {
  const node = readNodename(call.config, host, true);
  const failures: string[] = [];
  const attempt = async (what: string, action: () => unknown): Promise<void> => {
    try {
      await action();
    } catch (error) {
      failures.push(`${what}: ${(asFailure(error, "failed") as Error).message}`);
    }
  };
  await withClient(call.config, host, async (client) => {
    const information = await step("the datastore cannot be read", () => readClusterInformation(client));
    await requireReady(client, information);
    const { held, ...inventory } = await takeInventory(call, host, client, node);
    const garbage = findGarbage(inventory);
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
  if (!isOwnIpam(call)) await attempt(`the plugin "${call.config.ipam.type}"`, () => callIpamPlugin(call, host, "GC"));
  if (failures.length > 0) {
    throw new CniError(
      errorCode.garbage,
      `GC of network "${call.config.name}" could not remove everything`,
      failures.join("; "),
    );
  }
}

/** Addresses on this node by their handle, as the blocks have them. */
type Held = ReadonlyMap<string, readonly ReleaseRequest[]>;
type Attempt = (what: string, action: () => unknown) => Promise<void>;

async function takeInventory(
  call: Invocation,
  host: Host,
  client: Client,
  node: string,
): Promise<Inventory & { readonly held: Held }> {
  const [{ items: endpoints }, held] = await step("the datastore cannot be read", () =>
    Promise.all([
      client.list(Kind, { node }),
      isOwnIpam(call) ? heldOnNode(client, call.config.name, node) : (new Map() as Held),
    ]),
  );
  const interfaces = await step("the interfaces cannot be listed", () => listPodInterfaces(host.hostNetns));
  const handles = new Set(held.keys());
  return { network: call.config.name, node, endpoints, interfaces, handles, held, valid: call.config.validAttachments };
}

/**
 * The network's handles with addresses on this node, and the addresses. Borrowed addresses are in other nodes' blocks, so
 * all blocks are read; tunnels' addresses have a type, and are nobody's garbage.
 */
export async function heldOnNode(client: Client, network: string, node: string): Promise<Held> {
  const held = new Map<string, ReleaseRequest[]>();
  const { items } = await client.list(IPAMBlock);
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
    }
  }
  return held;
}

/** Releases what a handle holds; where its object is missing, the addresses that were just seen with its name. */
export async function releaseHeld(
  ipam: Ipam,
  handle: string,
  seen: readonly ReleaseRequest[],
  options?: ReleaseByHandleOptions,
): Promise<void> {
  const { found } = await ipam.releaseByHandle(handle, options);
  if (!found && seen.length > 0) await ipam.releaseAddresses(seen);
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
    const containerInterface = parseOwner(owner)?.ifName ?? "eth0";
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
  { garbage, kept, held }: { garbage: Garbage; kept: ReadonlySet<WorkloadEndpoint>; held: Held },
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
