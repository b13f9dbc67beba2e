import { API_VERSION } from "../../api/meta.ts";
import { endpointName, podInterfaceName } from "../../api/names.ts";
import type { Problem } from "../../api/schema.ts";
import type { WorkloadEndpoint, WorkloadEndpointSpec } from "../../api/workloadendpoint.ts";
import { type Cidr, formatAddress, formatCidr, hostCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { ANNOTATION } from "./annotations.ts";
import { Field } from "./field.ts";
import { creationTimestamp, resourceVersion } from "./metadata.ts";
import type { Conversion, PodObject } from "./objects.ts";
import { namespaceProfileName, serviceAccountProfileName } from "./profile.ts";
import { qosControls } from "./qos.ts";

type Ports = NonNullable<WorkloadEndpointSpec["ports"]>;
type Nats = NonNullable<WorkloadEndpointSpec["ipNATs"]>;

/** The value of a label has at most 63 characters; upstream leaves the label out from there on. */
const LABEL_LIMIT = 63;
/** "Completed" is in documentation only, and in upstream. */
const FINISHED_PHASES = ["Succeeded", "Failed", "Completed"];

export interface EndpointOptions {
  /** How the names of pods' interfaces on the host begin: the first of Felix' interface prefixes. Default `cali`. */
  readonly interfacePrefix?: string;
}

/** Whether a pod has an endpoint: one that is on a node, and not on the node's own network. It never ceases to have one. */
export function hasEndpoint(pod: PodObject): boolean {
  const spec = new Field(pod, []).get("spec");
  return !spec.get("hostNetwork").isTrue() && spec.get("nodeName").text() !== "";
}

/**
 * Whether a pod's addresses are no longer its own although it is still there: it ended, or it is being deleted and the plugin that gave
 * it the addresses has taken them back, which it says by an empty annotation.
 */
export function isFinished(pod: PodObject): boolean {
  const root = new Field(pod, []);
  const metadata = root.get("metadata");
  if (metadata.get("deletionTimestamp").isSet) {
    for (const key of [ANNOTATION.podIP, ANNOTATION.awsPodIPs]) {
      const annotation = metadata.get("annotations").get(key);
      if (annotation.isSet && annotation.text() === "") return true;
    }
  }
  return FINISHED_PHASES.includes(root.get("status").get("phase").text());
}

/**
 * The endpoint of a pod as upstream derives it. No value and no problem for a pod that has none ({@link hasEndpoint}); no value but
 * problems where an address or an annotation that is about addresses cannot be read, or the name not be made. The MAC
 * address is not known to Kubernetes.
 */
export function podToEndpoint(pod: PodObject, options: EndpointOptions = {}): Conversion<WorkloadEndpoint> {
  const problems: Problem[] = [];
  if (!hasEndpoint(pod)) return { problems };
  const root = new Field(pod, problems);
  const [metadata, podSpec] = [root.get("metadata"), root.get("spec")];
  const annotations = metadata.get("annotations");
  const name = metadata.get("name").text();
  const namespace = metadata.get("namespace").text();
  const node = podSpec.get("nodeName").text();
  if (namespace === "") metadata.get("namespace").report("is missing");
  const endpoint = nameOf(node, name, root);
  const found = podNetworks(root);
  const networks = isFinished(pod) ? [] : found;
  const ipNATs = networks.length > 0 ? floatingAddresses(annotations.get(ANNOTATION.floatingIPs), networks) : [];
  const prefixes = allowedPrefixes(annotations.get(ANNOTATION.allowedSourcePrefixes));
  if (problems.length > 0) return { problems };

  // From here on problems cost no more than what they are about.
  const serviceAccount = podSpec.get("serviceAccountName").text();
  const ports = [...containerPorts(podSpec.get("containers")), ...containerPorts(podSpec.get("initContainers"))];
  const qos = qosControls(annotations);
  const containerID = annotations.get(ANNOTATION.containerID).text();
  const networkStatus = annotations.get(ANNOTATION.networkStatus);
  const uid = metadata.get("uid").text();
  const generateName = metadata.get("generateName").text();
  const profiles = [namespaceProfileName(namespace)];
  if (serviceAccount !== "") profiles.push(serviceAccountProfileName(namespace, serviceAccount));

  const value: WorkloadEndpoint = {
    apiVersion: API_VERSION,
    kind: "WorkloadEndpoint",
    metadata: {
      name: endpoint,
      namespace,
      ...(uid === "" ? {} : { uid }),
      ...resourceVersion(metadata),
      ...creationTimestamp(metadata),
      ...(generateName === "" ? {} : { generateName }),
      labels: labelsOf(metadata, namespace, serviceAccount),
      ...(networkStatus.isSet ? { annotations: { [ANNOTATION.networkStatus]: networkStatus.text() } } : {}),
    },
    spec: {
      orchestrator: "k8s",
      node,
      ...(containerID === "" ? {} : { containerID }),
      pod: name,
      endpoint: "eth0",
      ...(serviceAccount === "" ? {} : { serviceAccountName: serviceAccount }),
      ipNetworks: networks.map(formatCidr),
      ...(ipNATs.length === 0 ? {} : { ipNATs }),
      profiles,
      interfaceName: podInterfaceName(namespace, name, options.interfacePrefix),
      ...(ports.length === 0 ? {} : { ports }),
      ...(prefixes.length === 0 ? {} : { allowSpoofedSourcePrefixes: prefixes }),
      ...(qos === undefined ? {} : { qosControls: qos }),
    },
  };
  return { value, problems };
}

function nameOf(node: string, pod: string, root: Field): string {
  try {
    return endpointName({ node, orchestrator: "k8s", pod, endpoint: "eth0" });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    root.get("metadata").get("name").report(`cannot be part of an endpoint's name: ${error.message}`);
    return "";
  }
}

/** The pod's own labels, and those by which policies find it. */
function labelsOf(metadata: Field, namespace: string, serviceAccount: string): Record<string, string> {
  const labels: Record<string, string> = Object.fromEntries(metadata.get("labels").texts());
  labels["projectcalico.org/namespace"] = namespace;
  labels["projectcalico.org/orchestrator"] = "k8s";
  if (serviceAccount !== "" && serviceAccount.length < LABEL_LIMIT) {
    labels["projectcalico.org/serviceaccount"] = serviceAccount;
  }
  return labels;
}

/** The addresses of a pod from the first place that has any: its status, Calico's annotations, Amazon's annotation. */
function podNetworks(root: Field): Cidr[] {
  const status = root.get("status");
  const annotations = root.get("metadata").get("annotations");
  const listed = status.get("podIPs").items();
  if (listed.length > 0) return networksOf(listed.map((item) => [item.get("ip"), item.get("ip").text()]));
  for (const [field, many] of [
    [status.get("podIP"), false],
    [annotations.get(ANNOTATION.podIPs), true],
    [annotations.get(ANNOTATION.podIP), false],
    [annotations.get(ANNOTATION.awsPodIPs), true],
  ] as const) {
    const text = field.text();
    if (text !== "") return networksOf((many ? text.split(",") : [text]).map((part) => [field, part]));
  }
  return [];
}

/** Each an address, or one with its prefix length. */
function networksOf(texts: readonly (readonly [Field, string])[]): Cidr[] {
  const networks: Cidr[] = [];
  for (const [field, text] of texts) {
    const address = tryParseAddress(text);
    const network = address ? hostCidr(address) : tryParseCidr(text);
    if (network) networks.push(network);
    else field.report(`${JSON.stringify(text)} is not an IP address`);
  }
  return networks;
}

/** Floating addresses, each translated to the pod's address of the same version. Those of a version that the pod has not are left out. */
function floatingAddresses(field: Field, networks: readonly Cidr[]): Nats {
  if (!field.isSet) return [];
  const own = new Map<4 | 6, Cidr>();
  for (const network of networks) {
    own.set(network.version, network);
    if (network.length === (network.version === 4 ? 32 : 128)) continue;
    field.report(`needs an address to lead to; the pod has the network ${formatCidr(network)}`);
  }
  const nats: Nats = [];
  for (const text of jsonTexts(field)) {
    const external = tryParseAddress(text);
    if (!external) {
      field.report(`must be a JSON list of addresses; ${JSON.stringify(text)} is none`);
      continue;
    }
    // By its text: an IPv4-mapped address is for IPv6.
    const internal = own.get(text.includes(":") ? 6 : 4);
    if (internal) {
      const internalIP = formatAddress({ version: internal.version, value: internal.base });
      nats.push({ internalIP, externalIP: text });
    }
  }
  return nats;
}

function allowedPrefixes(field: Field): string[] {
  if (field.text() === "") return [];
  const prefixes: string[] = [];
  for (const text of jsonTexts(field)) {
    const cidr = tryParseCidr(text);
    if (cidr) prefixes.push(formatCidr(cidr));
    else field.report(`must be a JSON list of CIDRs; ${JSON.stringify(text)} is none`);
  }
  return prefixes;
}

/** The texts of a list in JSON. */
function jsonTexts(field: Field): string[] {
  let parsed: unknown;
  try {
    parsed = JSON.parse(field.text());
  } catch {
    field.report('must be a JSON list such as ["10.0.0.1"]');
    return [];
  }
  const list = new Field(parsed, field.problems, field.path);
  return list.items().map((item) => item.text());
}

/** The ports that rules can name, and those that the node leads to the pod. */
function containerPorts(containers: Field): Ports {
  const ports: Ports = [];
  for (const container of containers.items()) {
    for (const port of container.get("ports").items()) {
      const number = port.get("containerPort").integer(0, 65535) ?? 0;
      const hostPort = port.get("hostPort").integer(0, 65535) ?? 0;
      const name = port.get("name").text();
      // Other protocols are left out in silence, as upstream does.
      const protocol = port.get("protocol").text() || "TCP";
      if (number === 0 || (hostPort === 0 && name === "") || !["TCP", "UDP", "SCTP"].includes(protocol)) continue;
      ports.push({ name, protocol, port: number, hostPort, hostIP: port.get("hostIP").text() });
    }
  }
  return ports;
}
