/**
 * What Kubernetes says about the pod of an ADD, with `policy.type` k8s, and always where Kubernetes is the datastore: labels,
 * ports, service account, limits, and the annotations of the pod and its namespace.
 *
 * The objects come from the datastore when that is Kubernetes, else from the API server that the configuration names, else from
 * where `calicoctl apply` puts them in a datastore of our own. An API server must have them; elsewhere nobody has to
 * keep them, and a pod without its object is one without labels and annotations.
 *
 * The endpoint is made by the very conversion by which Kubernetes' pods are read as endpoints, from the pod as it will be
 * once its addresses are on it: so it says the same in every datastore.
 */
import { Namespace } from "../api/kubernetes/namespace.ts";
import { Pod } from "../api/kubernetes/pod.ts";
import { describeProblem } from "../api/schema.ts";
import type { WorkloadEndpoint, WorkloadEndpointSpec } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type Invocation, parseArgs } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { tryParseCidr } from "../ip/index.ts";
import { ANNOTATION, podToEndpoint } from "../kubernetes/conversion/index.ts";
import { podInterfaceMac } from "../veth/index.ts";
import { type Annotated, isPastIpam, type Wishes, wishesOf } from "./annotations.ts";
import { apiServerConfig } from "./datastore.ts";
import { type EndpointFields, hostNetwork } from "./endpoint.ts";
import { step } from "./failure.ts";
import { type Host, netnsOf } from "./host.ts";
import type { Identity } from "./identity.ts";

/** What an ADD needs to know about a Kubernetes pod. */
export interface PodFacts {
  readonly wishes: Wishes;
  /** For pools' namespaceSelector. */
  readonly namespaceLabels: Readonly<Record<string, string>>;
  /** Where Kubernetes is the datastore: the endpoint that the pod is already, with the addresses and the container that are noted on it. */
  readonly recorded?: WorkloadEndpoint;
  /** The endpoint to write, in the place of `existing` where there is one. */
  build(fields: Pick<EndpointFields, "addresses" | "mac">, existing: WorkloadEndpoint | undefined): WorkloadEndpoint;
}

/** The call, and where it looks things up. */
export interface Asking {
  readonly call: Invocation;
  readonly host: Host;
  readonly client: Client;
  readonly identity: Identity;
}

/** Reads the pod and its namespace. Throws CniError 11 when an API server does not have them, 107 when an annotation is wrong. */
export async function readPodFacts(asking: Asking): Promise<PodFacts> {
  const { call, host, client, identity } = asking;
  const { pod, namespace } = await withApiServer(asking, (server) => readObjects(asking, server));
  if (client.capabilities.views) requireHere(pod, identity);
  const named = annotatedPod(pod);
  const wishes = wishesOf(named, annotated(`Namespace ${identity.namespace}`, namespace), call.config);
  // Before anything is assigned: what is wrong with the pod, and what it therefore does not get.
  const { value, problems } = convert(pod, identity, [], "");
  if (!value) throw new CniError(errorCode.annotation, `${named.name}: ${problems.map(describeProblem).join("; ")}`);
  for (const problem of problems) host.log.warning(`${named.name}: ${describeProblem(problem)}`);
  const recorded = client.capabilities.views ? await recordedEndpoint(asking, pod) : undefined;
  return {
    wishes,
    namespaceLabels: namespace?.metadata.labels ?? {},
    ...(recorded === undefined ? {} : { recorded }),
    build: (fields, existing) => buildPodEndpoint(asking, { pod, wishes }, fields, existing),
  };
}

/** Whether the pod's addresses are nobody's by annotation, so that the allocator does not know them. */
export async function hasAddressesPastIpam(asking: Asking): Promise<boolean> {
  const { pod, namespace } = asking.identity;
  const found = await withApiServer(asking, (server) => server.get(Pod, { name: pod, namespace }));
  return found !== undefined && isPastIpam(annotatedPod(found));
}

/** The labels of the pod's namespace, of which an API server must know. */
export async function readNamespaceLabels(asking: Asking): Promise<Readonly<Record<string, string>>> {
  const { namespace: name } = asking.identity;
  return withApiServer(asking, async (server) => {
    const namespace = await server.get(Namespace, { name });
    if (!namespace && server.capabilities.views) throw missing(`Namespace ${name}`, server);
    return namespace?.metadata.labels ?? {};
  });
}

/** Does something with where the pods are. */
export async function withApiServer<T>(
  { call, host, client }: Asking,
  work: (server: Client) => Promise<T>,
): Promise<T> {
  const config = client.capabilities.views ? undefined : apiServerConfig(call.config, host.env);
  if (!config) return step("the datastore cannot be read", () => work(client));
  const server = await step("the Kubernetes API server cannot be used", () => host.openClient(config));
  try {
    return await step("the Kubernetes API server cannot be asked", () => work(server));
  } finally {
    await server.close();
  }
}

interface Objects {
  readonly pod: Pod;
  readonly namespace: Namespace | undefined;
}

async function readObjects({ call, host, client, identity }: Asking, server: Client): Promise<Objects> {
  const { pod: name, namespace } = identity;
  const warm = server === client ? host.agent?.warm : undefined;
  // Without the uid nobody could tell a pod from a later one of its name.
  const { K8S_POD_UID: uid } = parseArgs(call.environment.args);
  const [pod, itsNamespace] = await Promise.all([
    (uid && warm?.pod(namespace, name, uid)) || server.get(Pod, { name, namespace }),
    warm?.namespace(namespace) ?? server.get(Namespace, { name: namespace }),
  ]);
  if (server.capabilities.views) {
    if (!pod) throw missing(`Pod ${namespace}/${name}`, server);
    if (!itsNamespace) throw missing(`Namespace ${namespace}`, server);
    requireSame(pod, call);
    return { pod, namespace: itsNamespace };
  }
  if (!pod)
    host.log.warning("there is no such Pod: it is taken to have no labels and annotations", { namespace, name });
  return { pod: pod ?? emptyPod(namespace, name), namespace: itsNamespace };
}

function missing(what: string, server: Client): CniError {
  return new CniError(
    errorCode.tryAgainLater,
    `${what} does not exist in ${server.name}`,
    "it was deleted, or the API server does not know yet of this node's static pod",
  );
}

function emptyPod(namespace: string, name: string): Pod {
  return { apiVersion: "v1", kind: "Pod", metadata: { namespace, name }, spec: { containers: [] } };
}

/**
 * Refuses a sandbox of a pod that was replaced by another one of the same name, where the runtime says whose the sandbox is. A
 * static pod has one uid for the kubelet and another for the API server.
 */
function requireSame({ metadata }: Pod, call: Invocation): void {
  const { K8S_POD_UID: uid = "" } = parseArgs(call.environment.args);
  if (uid === "" || uid === metadata.uid || metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined) return;
  throw new CniError(
    errorCode.tryAgainLater,
    `the sandbox is not that of Pod ${metadata.namespace}/${metadata.name}: another pod of that name has replaced its own`,
    `K8S_POD_UID in CNI_ARGS is ${uid}, the pod's uid is ${metadata.uid}`,
  );
}

/** On Kubernetes a pod's endpoint is called after the node that the pod is on: anywhere else nobody would find it. */
function requireHere({ metadata, spec }: Pod, identity: Identity): void {
  const { nodeName = "", hostNetwork } = spec;
  if (nodeName === identity.node && hostNetwork !== true) return;
  const where = nodeName === "" ? "on no node yet" : hostNetwork ? "on its node's own network" : `on node ${nodeName}`;
  throw new CniError(
    errorCode.tryAgainLater,
    `Pod ${metadata.namespace}/${metadata.name} is ${where}, and this node is ${identity.node}`,
    'a pod of this name may have been replaced by another; or this node has another name in Kubernetes than here, see "nodename"',
  );
}

function annotatedPod(pod: Pod): Annotated {
  return annotated(`Pod ${pod.metadata.namespace}/${pod.metadata.name}`, pod);
}

function annotated(name: string, object: Pod | Namespace | undefined): Annotated {
  return { name, annotations: object?.metadata.annotations ?? {} };
}

/** The endpoint that the pod is, once it has these addresses and this container. Its status may tell of a former sandbox's. */
function convert(pod: Pod, identity: Identity, networks: readonly string[], containerID: string) {
  const annotations = { ...pod.metadata.annotations };
  annotations[ANNOTATION.podIP] = networks[0] ?? "";
  annotations[ANNOTATION.podIPs] = networks.join(",");
  annotations[ANNOTATION.containerID] = containerID;
  delete annotations[ANNOTATION.awsPodIPs];
  const { status: _status, ...rest } = pod;
  const { deletionTimestamp: _deleted, ...metadata } = pod.metadata;
  const spec = { ...pod.spec, nodeName: identity.node, hostNetwork: false };
  return podToEndpoint({ ...rest, metadata: { ...metadata, annotations }, spec });
}

/**
 * The pod as an endpoint by what ADD and DEL have noted on it: its status, which a Client's view prefers, is the kubelet's and
 * may be a former sandbox's. Kubernetes keeps no MAC; the container's own interface has it.
 */
async function recordedEndpoint({ call, host, identity }: Asking, pod: Pod): Promise<WorkloadEndpoint | undefined> {
  const annotations = pod.metadata.annotations ?? {};
  const containerId = annotations[ANNOTATION.containerID] ?? "";
  const noted = (annotations[ANNOTATION.podIPs] || annotations[ANNOTATION.podIP] || "").split(",");
  const networks = noted.filter((text) => tryParseCidr(text) !== undefined);
  const { value } = convert(pod, identity, networks, containerId);
  if (!value) return undefined;
  const isOurs = containerId === identity.containerId;
  const mac = isOurs ? await podInterfaceMac(netnsOf(call, host), identity.ifName) : undefined;
  const known = { interfaceName: identity.hostInterface, ...(mac === undefined ? {} : { mac }) };
  return { ...value, spec: { ...value.spec, ...known } };
}

/** What the pod alone says of its endpoint. */
const OF_POD = ["serviceAccountName", "ports", "ipNATs", "allowSpoofedSourcePrefixes", "qosControls"] as const;

function buildPodEndpoint(
  { host, client, identity }: Asking,
  { pod, wishes }: { readonly pod: Pod; readonly wishes: Wishes },
  { addresses, mac }: Pick<EndpointFields, "addresses" | "mac">,
  existing: WorkloadEndpoint | undefined,
): WorkloadEndpoint {
  const { value } = convert(pod, identity, addresses.map(hostNetwork), identity.containerId);
  // The conversion was tried before, and can only fail by an annotation that has been read since then.
  if (!value) throw new CniError(errorCode.annotation, `Pod ${identity.namespace}/${identity.pod} makes no endpoint`);
  const missing = wishes.floating.filter((one) => !value.spec.ipNATs?.some(({ externalIP }) => externalIP === one));
  if (missing.length > 0) {
    host.log.warning("floating addresses are left out, as the pod has no address of their family", {
      pod: `${identity.namespace}/${identity.pod}`,
      addresses: missing.join(","),
    });
  }
  if (client.capabilities.views) {
    // By the revision and uid of the pod that was read, so that a later pod of the name does not get it.
    return { ...value, spec: { ...value.spec, mac, interfaceName: identity.hostInterface } };
  }
  const kept = existing?.spec.containerID === identity.containerId ? existing : undefined;
  const spec: WorkloadEndpointSpec = { ...kept?.spec };
  for (const field of OF_POD) delete spec[field];
  const { endpointName: name, namespace, ifName: endpoint, hostInterface: interfaceName } = identity;
  const { labels, generateName } = value.metadata;
  return {
    ...value,
    metadata: {
      ...existing?.metadata,
      name: existing?.metadata.name ?? name,
      namespace,
      ...(labels === undefined ? {} : { labels }),
      ...(generateName === undefined ? {} : { generateName }),
    },
    spec: { ...spec, ...value.spec, mac, interfaceName, endpoint },
  };
}
