import { IPAMBlock } from "../api/ipamblock.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { WorkloadEndpoint as Kind } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { createIpam } from "../ipam/index.ts";
import { type ListedPodInterface, listPodInterfaces } from "../veth/index.ts";
import { callIpamPlugin, isOwnIpam, underLock } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { removeInterface } from "./delete.ts";
import { deleteEndpoint } from "./endpoint.ts";
import { asFailure, step } from "./failure.ts";
import type { Host } from "./host.ts";
import { handleOf, parseOwner } from "./identity.ts";
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
  const interfaces: ListedPodInterface[] = [];
  for (const item of inventory.interfaces) {
    const owner = parseOwner(item.owner);
    if (owner?.network === network) {
      marked.set(item.name, owner.containerId);
      if (item.condemned || !isValid(owner.containerId, owner.ifName)) interfaces.push(item);
    } else if (item.condemned) {
      // Its own DEL has condemned it, and was cut short.
      interfaces.push(item);
    }
  }
  const isOfNetwork = ({ spec }: WorkloadEndpoint): boolean => {
    const containerId = spec.containerID ?? "";
    const other = spec.orchestrator === "cni" && (spec.profiles?.length ?? 0) > 0 && spec.profiles![0] !== network;
    if (marked.get(spec.interfaceName ?? "") === containerId) return true;
    if (other) return false;
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
  interfaces.push(
    ...inventory.interfaces.filter((item) => item.owner === "" && !item.condemned && named.has(item.name)),
  );
  const known = new Set([...own.map(({ spec }) => spec.containerID!), ...marked.values()]);
  const handles = [...inventory.handles].filter((handle) => {
    const containerId = handle.slice(network.length + 1);
    if (validContainers.has(containerId)) return false;
    return !containerId.includes(".") || known.has(containerId);
  });
  return { interfaces, endpoints, handles };
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
    const inventory = await takeInventory(call, host, client, node);
    const garbage = findGarbage(inventory);
    for (const item of garbage.interfaces) {
      const ifName = parseOwner(item.owner)?.ifName ?? "eth0";
      await attempt(`interface ${item.name}`, () =>
        removeInterface(host, { containerInterface: ifName, hostInterface: item.name, owner: item.owner }),
      );
    }
    await removeRecords(call, host, client, garbage, attempt);
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

async function takeInventory(call: Invocation, host: Host, client: Client, node: string): Promise<Inventory> {
  const [{ items: endpoints }, handles] = await step("the datastore cannot be read", () =>
    Promise.all([
      client.list(Kind, { node }),
      isOwnIpam(call) ? handlesOnNode(client, call.config.name, node) : new Set<string>(),
    ]),
  );
  const interfaces = await step("the interfaces cannot be listed", () => listPodInterfaces(host.hostNetns));
  return { network: call.config.name, node, endpoints, interfaces, handles, valid: call.config.validAttachments };
}

/**
 * The network's handles with addresses on this node. Borrowed addresses are in other nodes' blocks, so all blocks are
 * read; tunnels' addresses have a type, and are nobody's garbage.
 */
export async function handlesOnNode(client: Client, network: string, node: string): Promise<Set<string>> {
  const handles = new Set<string>();
  const { items } = await client.list(IPAMBlock);
  for (const { spec } of items) {
    const inUse = new Set(spec.allocations);
    for (const [index, { handle_id, secondary, releasedAt }] of spec.attributes.entries()) {
      if (!inUse.has(index) || releasedAt !== undefined || handle_id === undefined) continue;
      if (handle_id.startsWith(`${network}.`) && secondary?.node === node && secondary.type === undefined)
        handles.add(handle_id);
    }
  }
  return handles;
}

async function removeRecords(
  call: Invocation,
  host: Host,
  client: Client,
  garbage: Garbage,
  attempt: (what: string, action: () => unknown) => Promise<void>,
): Promise<void> {
  const ipam = createIpam(client, { clock: host.now, log: host.log });
  const left = new Set(garbage.endpoints);
  for (const handle of garbage.handles) {
    const containerId = handle.slice(call.config.name.length + 1);
    const own = garbage.endpoints.filter(({ spec }) => spec.containerID === containerId);
    for (const endpoint of own) left.delete(endpoint);
    await attempt(`handle ${handle}`, () =>
      underLock(call, host, () => ipam.releaseByHandle(handle, { alsoWrite: () => deletions(client, own) })),
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
