import { containerInterfaceName, endpointNamePrefix, parseEndpointName, podInterfaceName } from "../api/names.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import type { Unreadable } from "../datastore/index.ts";
import type { ListedPodInterface } from "../veth/index.ts";
import { handleOf, ownerMark, parseOwner, sha256 } from "./identity.ts";

/** What GC found of this network on this node, before it decides. */
export interface Inventory {
  readonly network: string;
  readonly node: string;
  readonly endpoints: readonly WorkloadEndpoint[];
  /** Endpoints that are stored and cannot be read, any node's: their names tell whose they are. */
  readonly unreadable: readonly UnreadableEndpoint[];
  readonly interfaces: readonly ListedPodInterface[];
  /** Handles that hold addresses of this node and begin with the network's name and a dot. */
  readonly handles: ReadonlySet<string>;
  /** `<namespace>/<pod>` of those handles that are a Kubernetes pod's. */
  readonly pods: ReadonlyMap<string, string>;
  readonly valid: readonly Attachment[];
}

export interface Attachment {
  readonly containerId: string;
  readonly ifName: string;
}

export interface UnreadableEndpoint {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
  /** Names the key and what is wrong with it. */
  readonly problem: string;
}

/** An endpoint that keeps its attachment from being removed. */
export interface Blocked {
  readonly endpoint: UnreadableEndpoint;
  /** The attachments it may be about, as far as they are known: a pod's record has no container in its name. */
  readonly attachments: readonly Attachment[];
}

/** What GC removes. */
export interface Garbage {
  readonly interfaces: readonly ListedPodInterface[];
  readonly endpoints: readonly WorkloadEndpoint[];
  readonly handles: readonly string[];
  /** What it leaves because nobody can say what it belongs to. */
  readonly blocked: readonly Blocked[];
}

export function unreadableEndpoint({ key, ref, error }: Unreadable): UnreadableEndpoint {
  return { key, name: ref.name, namespace: ref.namespace ?? "", problem: error.message };
}

/** Whether an endpoint of that name may be this node's; one that no Calico would give may be anybody's whose name it begins with. */
export function mayBeOfNode(node: string, name: string): boolean {
  const id = parseEndpointName(name);
  return id ? id.node === node : name.startsWith(endpointNamePrefix({ node, orchestrator: "" }));
}

/**
 * Decides what of the inventory is garbage; pure. An attachment is (container, interface); a handle is the container's,
 * and stays while any of its attachments is valid. What cannot be shown to be this network's stays: network "a" and
 * container "b.c" share their handle's name with network "a.b" and container "c", and only a record or an interface that
 * says which it is can tell them apart. What an endpoint that cannot be read may be about stays as well.
 */
export function findGarbage(inventory: Inventory): Garbage {
  const found = findStale(inventory);
  const protections = inventory.unreadable.flatMap((endpoint) => protectionOf(endpoint, inventory, found) ?? []);
  return {
    interfaces: found.interfaces.filter((item) => !protections.some((one) => one.interfaces.has(item))),
    endpoints: found.endpoints.filter(
      ({ spec }) => !protections.some((one) => one.isContainer(spec.containerID ?? "")),
    ),
    handles: found.handles.filter((handle) => !protections.some((one) => one.handles.has(handle))),
    blocked: protections.map(({ endpoint, attachments }) => ({ endpoint, attachments })),
  };
}

function isValid({ valid }: Inventory, isContainer: (containerId: string) => boolean, ifName?: string): boolean {
  return valid.some((one) => isContainer(one.containerId) && (one.ifName === "" || one.ifName === ifName));
}

/** What is not valid, by all that can be read. */
function findStale(inventory: Inventory): Omit<Garbage, "blocked"> {
  const { network, node, valid } = inventory;
  const validContainers = new Set(valid.map((one) => one.containerId));
  const owners = new Map(inventory.interfaces.map((item) => [item, ownerOfMark(item.owner)]));
  const interfaces = inventory.interfaces.filter((item) => {
    const owner = owners.get(item);
    // What is condemned its own DEL has condemned, and was cut short.
    return item.condemned || (owner?.isNetwork(network) && !isValid(inventory, owner.isContainer, owner.ifName));
  });
  const ofNetwork = [...owners.values()].flatMap((owner) => (owner?.isNetwork(network) ? [owner] : []));
  const marks = new Set(inventory.interfaces.map(({ owner }) => owner));
  const isOfNetwork = ({ spec }: WorkloadEndpoint): boolean => {
    const containerId = spec.containerID ?? "";
    const marked = [...owners].flatMap(([{ name }, owner]) =>
      name === spec.interfaceName && owner?.isContainer(containerId) ? [owner] : [],
    );
    if (marked.some((owner) => owner.isNetwork(network)) || marks.has(markOf(network, spec))) return true;
    const other = spec.orchestrator === "cni" && (spec.profiles?.length ?? 0) > 0 && spec.profiles![0] !== network;
    if (other || marked.length > 0) return false;
    return spec.profiles?.[0] === network || inventory.handles.has(handleOf(network, containerId));
  };
  const own = inventory.endpoints.filter(
    (endpoint) =>
      endpoint.spec.node === node &&
      (endpoint.spec.orchestrator === "cni" || endpoint.spec.orchestrator === "k8s") &&
      endpoint.spec.containerID !== undefined &&
      isOfNetwork(endpoint),
  );
  const endpoints = own.filter(({ spec }) => !isValid(inventory, (id) => id === spec.containerID, spec.endpoint));
  // The record is written first: an interface whose maker died before it was marked is the one that the record names.
  const named = new Set(endpoints.map(({ spec }) => spec.interfaceName));
  interfaces.push(
    ...inventory.interfaces.filter(({ condemned, name, owner }) => !condemned && owner === "" && named.has(name)),
  );
  const known = new Set(own.map(({ spec }) => spec.containerID!));
  const handles = [...inventory.handles].filter((handle) => {
    const containerId = handle.slice(network.length + 1);
    if (validContainers.has(containerId)) return false;
    return (
      !containerId.includes(".") || known.has(containerId) || ofNetwork.some((one) => one.isContainer(containerId))
    );
  });
  return { interfaces, endpoints, handles };
}

interface Protection extends Blocked {
  readonly interfaces: ReadonlySet<ListedPodInterface>;
  readonly handles: ReadonlySet<string>;
  isContainer(containerId: string): boolean;
}

/**
 * What must stay because of one endpoint that cannot be read, by what its name and its pod's addresses and interface tell. Undefined
 * where it keeps nothing from being removed: it is another node's or network's, or the runtime names its attachment.
 */
function protectionOf(
  endpoint: UnreadableEndpoint,
  inventory: Inventory,
  found: Omit<Garbage, "blocked">,
): Protection | undefined {
  const { network, node, pods } = inventory;
  if (!mayBeOfNode(node, endpoint.name)) return undefined;
  const id = parseEndpointName(endpoint.name);
  const { containerID, pod, endpoint: ifName } = id ?? {};
  const isOurs = id?.orchestrator === "cni" || id?.orchestrator === "k8s";
  if (id && !isOurs) return undefined;
  // Nobody finds a record by such a name, so it stops nobody; it is reported all the same.
  if ((containerID ?? pod) === undefined || ifName === undefined) {
    return { endpoint, attachments: [], interfaces: new Set(), handles: new Set(), isContainer: () => false };
  }
  const podName = `${endpoint.namespace}/${pod}`;
  const hash = pod === undefined ? undefined : podInterfaceName(endpoint.namespace, pod, "");
  const isNamed = (name: string): boolean =>
    hash === undefined ? name === containerInterfaceName(containerID!) : name.endsWith(hash);
  const ofPod = [...pods].filter(([, one]) => pod !== undefined && one === podName).map(([handle]) => handle);
  const ofHandles = new Set(ofPod.map((handle) => handle.slice(network.length + 1)));
  const marked = inventory.interfaces.filter(({ name, owner }) => {
    const is = ownerOfMark(owner)?.isContainer;
    if (containerID === undefined) return isNamed(name) || (is !== undefined && [...ofHandles].some(is));
    return is ? is(containerID) : isNamed(name);
  });
  const owners = marked.flatMap(({ owner }) => ownerOfMark(owner) ?? []);
  const ours = owners.filter((owner) => owner.isNetwork(network));
  const isContainer = (one: string): boolean =>
    one === containerID || ofHandles.has(one) || ours.some((owner) => owner.isContainer(one));
  const handles = new Set([...inventory.handles].filter((handle) => isContainer(handle.slice(network.length + 1))));
  const interfaces = new Set(
    marked.filter(({ owner, condemned }) => !condemned && (ownerOfMark(owner)?.isNetwork(network) ?? true)),
  );
  const isKept =
    found.interfaces.some((one) => interfaces.has(one)) ||
    found.handles.some((handle) => handles.has(handle)) ||
    found.endpoints.some(({ spec }) => isContainer(spec.containerID ?? ""));
  const isAnothers = owners.length > 0 && ours.length === 0 && handles.size === 0;
  const isNamedValid = isValid(inventory, isContainer, ifName);
  if (!isKept && (isAnothers || isNamedValid)) return undefined;
  const containers = new Set([
    ...(containerID === undefined ? [] : [containerID]),
    ...ofHandles,
    ...inventory.interfaces.flatMap((one) => (interfaces.has(one) ? (parseOwner(one.owner)?.containerId ?? []) : [])),
  ]);
  const attachments = [...containers].map((containerId) => ({ containerId, ifName }));
  return { endpoint, attachments, interfaces, handles, isContainer };
}

/** Whose an interface is by its mark, of which names may only be known by comparing. */
export interface MarkOwner {
  readonly ifName: string;
  isNetwork(network: string): boolean;
  isContainer(containerId: string): boolean;
}

/** What a mark says, also when it is hashed; undefined for another program's. */
export function ownerOfMark(mark: string): MarkOwner | undefined {
  const plain = parseOwner(mark);
  if (plain) {
    return {
      ifName: plain.ifName,
      isNetwork: (network) => network === plain.network,
      isContainer: (containerId) => containerId === plain.containerId,
    };
  }
  const [, network, container, ifName] = /^#([0-9a-f]{64})\/([0-9a-f]{64})\/([^/]+)$/.exec(mark) ?? [];
  if (network === undefined || container === undefined || ifName === undefined) return undefined;
  return {
    ifName,
    isNetwork: (name) => sha256(name) === network,
    isContainer: (containerId) => sha256(containerId) === container,
  };
}

/** The mark of an endpoint's interface, were it this network's. */
export function markOf(network: string, { containerID = "", endpoint = "" }: WorkloadEndpoint["spec"]): string {
  return ownerMark(network, containerID, endpoint);
}
