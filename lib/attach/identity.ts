import {
  containerInterfaceName,
  type EndpointId,
  endpointName,
  endpointNamePrefix,
  podInterfaceName,
} from "../api/names.ts";
import { CniError, errorCode, type Invocation, parseArgs } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { sanitizeMesosLabel } from "./mesos.ts";
import { isSegment } from "./settings.ts";

/** Whose attachment it is, and what it is called wherever it leaves a trace. */
export interface Identity {
  /** Name of the CNI network. */
  readonly network: string;
  readonly node: string;
  readonly containerId: string;
  /** The interface in the pod. */
  readonly ifName: string;
  readonly orchestrator: "cni" | "k8s";
  readonly namespace: string;
  /** "" unless the orchestrator is k8s. */
  readonly pod: string;
  /** Name of the WorkloadEndpoint. */
  readonly endpointName: string;
  /** With which the names of all endpoints of this pod or container begin. */
  readonly endpointPrefix: string;
  /** What {@link endpointPrefix} is made from, to tell "pod" from "pod-1". */
  readonly endpointId: EndpointId;
  readonly hostInterface: string;
  /** The mark on the host interface; see {@link parseOwner}. */
  readonly owner: string;
  /** Under which the addresses are found: `<network>.<container id>`. */
  readonly handle: string;
  /** What very old versions used for a handle; released on DEL as well, as upstream does. */
  readonly legacyHandle: string;
  /** The address asked for by `IP=` in CNI_ARGS, "" when none is. */
  readonly requestedIp: string;
  /** Labels of the endpoint from the network configuration. */
  readonly labels: Readonly<Record<string, string>>;
}

/** Longest mark that lib/veth keeps on an interface. */
const MAX_OWNER = 240;

/** From CNI_ARGS and the configuration to names, by upstream's rules (facts 2.3 and 2.5). Throws CniError 4 or 7. */
export function identify(call: Invocation, node: string, env: Invocation["env"]): Identity {
  const { config, environment } = call;
  const { containerId, ifName } = environment;
  const args = parseArgs(environment.args);
  const pod = args.K8S_POD_NAME ?? "";
  const podNamespace = args.K8S_POD_NAMESPACE ?? "";
  const isPod = pod !== "" && podNamespace !== "";
  const mesos = isPod ? { labels: {}, namespace: "" } : mesosLabels(config.mesosLabels);
  const namespace = isPod ? podNamespace : mesos.namespace || args.CNI_TEST_NAMESPACE || "default";
  checkSegment("K8S_POD_NAME", pod);
  checkSegment(
    isPod ? "K8S_POD_NAMESPACE" : mesos.namespace ? "projectcalico.org/namespace" : "CNI_TEST_NAMESPACE",
    namespace,
  );
  const base: EndpointId = isPod
    ? { node, orchestrator: "k8s", pod }
    : { node, orchestrator: "cni", containerID: containerId };
  return {
    network: config.name,
    node,
    containerId,
    ifName,
    orchestrator: isPod ? "k8s" : "cni",
    namespace,
    pod: isPod ? pod : "",
    endpointName: nameOf({ ...base, endpoint: ifName }),
    endpointPrefix: endpointNamePrefix(base),
    endpointId: base,
    hostInterface: isPod ? podInterfaceName(namespace, pod, interfacePrefix(env)) : containerInterfaceName(containerId),
    owner: ownerMark(config.name, containerId, ifName),
    handle: handleOf(config.name, containerId),
    legacyHandle: isPod ? `${namespace}.${pod}` : containerId,
    requestedIp: args.IP ?? "",
    labels: mesos.labels,
  };
}

/**
 * The identity where the endpoints are to be found. On Kubernetes an endpoint is a pod, and called after eth0 whatever its
 * interface is called.
 */
export function identityIn({ capabilities }: Client, identity: Identity): Identity {
  if (!capabilities.views || identity.orchestrator !== "k8s" || identity.ifName === "eth0") return identity;
  return { ...identity, endpointName: nameOf({ ...identity.endpointId, endpoint: "eth0" }) };
}

export function handleOf(network: string, containerId: string): string {
  return `${network}.${containerId}`;
}

/**
 * The mark of an attachment on its host interface. Where its parts are too long to be kept, network and container are hashed
 * each on its own: garbage collection has to know a mark of its network without a record that would tell the rest.
 */
export function ownerMark(network: string, containerId: string, ifName: string): string {
  const mark = `${network}/${containerId}/${ifName}`;
  // A character has three bytes at most; counting them costs a new process 0.3 ms.
  if (mark.length <= MAX_OWNER / 3 || Buffer.byteLength(mark) <= MAX_OWNER) return mark;
  return `#${sha256(network)}/${sha256(containerId)}/${ifName}`;
}

export function sha256(text: string): string {
  return new Bun.CryptoHasher("sha256").update(text).digest("hex");
}

/** The parts of a mark; undefined for another program's, or a hashed one. No part can hold a slash, and no name begins with "#". */
export function parseOwner(mark: string): { network: string; containerId: string; ifName: string } | undefined {
  const parts = mark.split("/");
  if (parts.length !== 3 || mark.startsWith("#")) return undefined;
  return { network: parts[0]!, containerId: parts[1]!, ifName: parts[2]! };
}

/** Whether a mark is of the same container and network as an attachment, and of another interface. */
export function isAnotherInterface(mark: string, { network, containerId, ifName }: Identity): boolean {
  const owner = parseOwner(mark);
  return owner?.network === network && owner.containerId === containerId && owner.ifName !== ifName;
}

/** Upstream lets Felix' own variable decide how pods' interfaces begin; of several prefixes the first counts. */
function interfacePrefix(env: Invocation["env"]): string {
  return (env.FELIX_INTERFACEPREFIX ?? "").split(",")[0]!.trim() || "cali";
}

function nameOf(id: EndpointId): string {
  try {
    return endpointName(id);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_CONTAINERID, CNI_IFNAME and the node's name make no endpoint name: ${error.message}`,
    );
  }
}

function checkSegment(name: string, value: string): void {
  if (value === "" || (value.length <= 253 && isSegment(value))) return;
  throw new CniError(
    errorCode.invalidEnvironment,
    `${name} is no name: ${JSON.stringify(value.slice(0, 80))}`,
    "it has letters, digits, '.', '_' and '-', and begins and ends with a letter or digit",
  );
}

function mesosLabels(given: readonly { key: string; value: string }[]): {
  labels: Record<string, string>;
  namespace: string;
} {
  const labels: Record<string, string> = {};
  let namespace = "";
  for (const { key, value } of given) {
    if (key === "projectcalico.org/namespace") namespace = sanitizeMesosLabel(value);
    else labels[sanitizeMesosLabel(key)] = sanitizeMesosLabel(value);
  }
  return { labels, namespace };
}
