import { API_VERSION, type ObjectMeta } from "../../api/meta.ts";
import type { Node, NodeSpec, NodeStatus } from "../../api/node.ts";
import {
  addressAt,
  type Cidr,
  formatAddress,
  formatCidr,
  hostCidr,
  tryParseAddress,
  tryParseCidr,
} from "../../ip/index.ts";
import type { KubernetesObject } from "../../kubernetes/index.ts";
import { sorted } from "../codec.ts";

/**
 * Calico's Node as annotations of Kubernetes' (libcalico-go/lib/backend/k8s/resources/node.go). A Node has the labels of both: its own
 * are in an annotation, and Kubernetes' win. An annotation that is not what it must be counts as absent, as upstream has it:
 * a node with a wrong tunnel address is still a node. Pure.
 */

const P = "projectcalico.org/";
const ANNOTATIONS = {
  labels: `${P}labels`,
  annotations: `${P}annotations`,
  /** Of a Node that was read: which of its labels are Kubernetes' own, so that an update does not make them Calico's. Never stored. */
  kubeLabels: `${P}kube-labels`,
  ipv4Address: `${P}IPv4Address`,
  ipv6Address: `${P}IPv6Address`,
  asNumber: `${P}ASNumber`,
  routeReflectorClusterID: `${P}RouteReflectorClusterID`,
  ipv4IPIPTunnelAddr: `${P}IPv4IPIPTunnelAddr`,
  ipv4VXLANTunnelAddr: `${P}IPv4VXLANTunnelAddr`,
  vxlanTunnelMACAddr: `${P}VXLANTunnelMACAddr`,
  ipv6VXLANTunnelAddr: `${P}IPv6VXLANTunnelAddr`,
  vxlanTunnelMACAddrV6: `${P}VXLANTunnelMACAddrV6`,
  wireguardIPv4: `${P}IPv4WireguardInterfaceAddr`,
  wireguardIPv6: `${P}IPv6WireguardInterfaceAddr`,
  wireguardPublicKey: `${P}WireguardPublicKey`,
  wireguardPublicKeyV6: `${P}WireguardPublicKeyV6`,
  interfaces: `${P}Interfaces`,
} as const;

interface KubernetesNode extends KubernetesObject {
  spec?: { podCIDR?: string; podCIDRs?: string[] };
  status?: { addresses?: { type?: string; address?: string }[] };
}

type Annotations = Record<string, string>;

/** The Node that Kubernetes' Node is. `usePodCidr`: its tunnel addresses are the first of its pod network. */
export function nodeFromKubernetes(object: KubernetesObject, usePodCidr = false): Node {
  const { metadata = {}, spec = {}, status = {} } = object as KubernetesNode;
  const { name = "", uid, resourceVersion, creationTimestamp } = metadata;
  const found: Annotations = metadata.annotations ?? {};
  const kubeLabels = metadata.labels ?? {};
  const nodeSpec = specOf(found, name);
  if (usePodCidr && spec.podCIDR) {
    const address = firstAddress(spec.podCIDR);
    nodeSpec.bgp = {
      ...without(nodeSpec.bgp, "ipv4IPIPTunnelAddr"),
      ...(address ? { ipv4IPIPTunnelAddr: address } : {}),
    };
    const { interfaceIPv6Address: _, ...wireguard } = without(nodeSpec.wireguard, "interfaceIPv4Address");
    nodeSpec.wireguard = {
      ...wireguard,
      ...(address && found[ANNOTATIONS.wireguardPublicKey] ? { interfaceIPv4Address: address } : {}),
    };
  }
  if (Object.keys(nodeSpec.bgp ?? {}).length === 0) delete nodeSpec.bgp;
  if (Object.keys(nodeSpec.wireguard ?? {}).length === 0) delete nodeSpec.wireguard;
  const addresses = [
    ...[nodeSpec.bgp?.ipv4Address, nodeSpec.bgp?.ipv6Address].flatMap((address) =>
      address === undefined ? [] : [{ address, type: "CalicoNodeIP" as const }],
    ),
    ...(Array.isArray(status.addresses) ? status.addresses : []).flatMap(({ type, address = "" }) =>
      type === "InternalIP" || type === "ExternalIP" ? [{ address, type } as const] : [],
    ),
  ];
  if (addresses.length > 0) nodeSpec.addresses = addresses;
  const nodeStatus = statusOf(found, spec.podCIDRs);
  return {
    apiVersion: API_VERSION,
    kind: "Node",
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      labels: { ...mapIn(found, ANNOTATIONS.labels), ...kubeLabels },
      annotations: {
        ...mapIn(found, ANNOTATIONS.annotations),
        [ANNOTATIONS.kubeLabels]: JSON.stringify(sorted(kubeLabels)),
      },
    },
    spec: nodeSpec,
    ...(Object.keys(nodeStatus).length === 0 ? {} : { status: nodeStatus }),
  };
}

function specOf(found: Annotations, name: string): NodeSpec {
  const cidr = (key: string, version: 4 | 6) =>
    valid(found[key], (text) => parseCidrOrAddress(text)?.version === version);
  const network = (key: string, version: 4 | 6) => valid(found[key], (text) => isNetwork(text, version));
  const mac = (key: string) => valid(found[key], (text) => MAC.test(text));
  const bgp = {
    ...field("asNumber", asNumber(found[ANNOTATIONS.asNumber])),
    ...field("ipv4Address", cidr(ANNOTATIONS.ipv4Address, 4)),
    ...field("ipv6Address", cidr(ANNOTATIONS.ipv6Address, 6)),
    ...field("ipv4IPIPTunnelAddr", network(ANNOTATIONS.ipv4IPIPTunnelAddr, 4)),
    ...field("routeReflectorClusterID", network(ANNOTATIONS.routeReflectorClusterID, 4)),
  };
  const wireguard = {
    ...field("interfaceIPv4Address", network(ANNOTATIONS.wireguardIPv4, 4)),
    ...field("interfaceIPv6Address", network(ANNOTATIONS.wireguardIPv6, 6)),
  };
  return {
    bgp,
    ...field("ipv4VXLANTunnelAddr", network(ANNOTATIONS.ipv4VXLANTunnelAddr, 4)),
    ...field("vxlanTunnelMACAddr", mac(ANNOTATIONS.vxlanTunnelMACAddr)),
    ...field("ipv6VXLANTunnelAddr", network(ANNOTATIONS.ipv6VXLANTunnelAddr, 6)),
    ...field("vxlanTunnelMACAddrV6", mac(ANNOTATIONS.vxlanTunnelMACAddrV6)),
    orchRefs: [{ nodeName: name, orchestrator: "k8s" }],
    wireguard,
    ...field("interfaces", interfacesOf(found[ANNOTATIONS.interfaces])),
  };
}

function statusOf(found: Annotations, podCIDRs: unknown): NodeStatus {
  return {
    ...field("wireguardPublicKey", found[ANNOTATIONS.wireguardPublicKey] || undefined),
    ...field("wireguardPublicKeyV6", found[ANNOTATIONS.wireguardPublicKeyV6] || undefined),
    ...field("podCIDRs", Array.isArray(podCIDRs) && podCIDRs.length > 0 ? podCIDRs.map(String) : undefined),
  };
}

/**
 * Kubernetes' Node with what a Node says in its annotations; `object` is not changed. What has no annotation (addresses,
 * orchRefs, podCIDRs) comes from elsewhere and cannot be changed here.
 */
export function nodeToKubernetes(node: Node, object: KubernetesObject): KubernetesObject {
  const { spec, status } = node;
  const { bgp, wireguard } = spec;
  const own = ownMetadata(node.metadata);
  const wanted: Readonly<Record<string, string | undefined>> = {
    [ANNOTATIONS.labels]: jsonMap(own.labels),
    [ANNOTATIONS.annotations]: jsonMap(own.annotations),
    [ANNOTATIONS.ipv4Address]: bgp?.ipv4Address,
    [ANNOTATIONS.ipv6Address]: bgp?.ipv6Address,
    [ANNOTATIONS.asNumber]: bgp?.asNumber === undefined ? undefined : String(bgp.asNumber),
    [ANNOTATIONS.routeReflectorClusterID]: bgp?.routeReflectorClusterID,
    [ANNOTATIONS.ipv4IPIPTunnelAddr]: bgp?.ipv4IPIPTunnelAddr,
    [ANNOTATIONS.ipv4VXLANTunnelAddr]: spec.ipv4VXLANTunnelAddr,
    [ANNOTATIONS.vxlanTunnelMACAddr]: spec.vxlanTunnelMACAddr,
    [ANNOTATIONS.ipv6VXLANTunnelAddr]: spec.ipv6VXLANTunnelAddr,
    [ANNOTATIONS.vxlanTunnelMACAddrV6]: spec.vxlanTunnelMACAddrV6,
    [ANNOTATIONS.wireguardIPv4]: wireguard?.interfaceIPv4Address,
    [ANNOTATIONS.wireguardIPv6]: wireguard?.interfaceIPv6Address,
    [ANNOTATIONS.wireguardPublicKey]: status?.wireguardPublicKey,
    [ANNOTATIONS.wireguardPublicKeyV6]: status?.wireguardPublicKeyV6,
    [ANNOTATIONS.interfaces]: spec.interfaces && JSON.stringify(spec.interfaces.map(inGoOrder)),
  };
  const annotations: Annotations = { ...object.metadata?.annotations };
  for (const key of Object.keys(wanted)) {
    if (wanted[key]) annotations[key] = wanted[key];
    else delete annotations[key];
  }
  return { ...object, metadata: { ...object.metadata, annotations } };
}

/** Labels and annotations that are the Node's own, and not Kubernetes'. */
function ownMetadata(metadata: ObjectMeta): Pick<ObjectMeta, "labels" | "annotations"> {
  const { [ANNOTATIONS.kubeLabels]: kubeLabels, ...annotations } = metadata.annotations ?? {};
  const inherited = kubeLabels === undefined ? {} : (jsonObject(kubeLabels) ?? {});
  const labels: Annotations = {};
  for (const key of Object.keys(metadata.labels ?? {}))
    if (!Object.hasOwn(inherited, key)) labels[key] = metadata.labels![key]!;
  return { labels, annotations };
}

const inGoOrder = ({ name, addresses }: NonNullable<NodeSpec["interfaces"]>[number]) => ({
  ...(name ? { name } : {}),
  ...(addresses && addresses.length > 0 ? { addresses } : {}),
});

function jsonMap(map: Annotations | undefined): string | undefined {
  return map && Object.keys(map).length > 0 ? JSON.stringify(sorted(map)) : undefined;
}

function mapIn(found: Annotations, key: string): Annotations {
  const object = found[key] === undefined ? undefined : jsonObject(found[key]);
  const isMap = object && Object.values(object).every((value) => typeof value === "string");
  return isMap ? (object as Annotations) : {};
}

function interfacesOf(text: string | undefined): NodeSpec["interfaces"] {
  const list = text === undefined ? undefined : json(text);
  if (!Array.isArray(list) || !list.every(isInterface)) return undefined;
  return list.map((one: Interface) => {
    const { name, addresses } = one ?? {};
    const good = addresses?.filter((address) => address !== null && tryParseAddress(address)) as string[] | undefined;
    return { ...(name ? { name } : {}), ...(good ? { addresses: good } : {}) };
  });
}

type Interface = { name?: string | null; addresses?: (string | null)[] | null } | null;

/** Null is absence, as to Go. */
function isInterface(one: unknown): one is Interface {
  if (one === null) return true;
  if (!isObject(one)) return false;
  const { name, addresses } = one;
  const isText = (value: unknown): boolean => value === undefined || value === null || typeof value === "string";
  return isText(name) && (addresses === undefined || addresses === null || isTexts(addresses, isText));
}

const isTexts = (list: unknown, isText: (value: unknown) => boolean): boolean =>
  Array.isArray(list) && list.every(isText);

/** The first address after a pod network's own: 10.1.2.0/24 -> 10.1.2.1. IPv4 only, as upstream. */
function firstAddress(podCidr: string): string | undefined {
  const cidr = tryParseCidr(podCidr);
  return cidr?.version === 4 ? formatAddress(addressAt({ version: 4, value: cidr.base }, 1)) : undefined;
}

/** 48 or 64 bits, in the forms that Go takes. */
const MAC =
  /^(?:[\da-f]{2}([:-])(?:[\da-f]{2}\1){4}(?:[\da-f]{2}\1[\da-f]{2}\1)?[\da-f]{2}|(?:[\da-f]{4}\.){2}[\da-f]{4})$/i;

function parseCidrOrAddress(text: string): Cidr | undefined {
  const address = tryParseAddress(text);
  return address ? hostCidr(address) : tryParseCidr(text);
}

/** An address, or a network without bits beyond its prefix. */
function isNetwork(text: string, version: 4 | 6): boolean {
  const cidr = parseCidrOrAddress(text);
  if (cidr?.version !== version) return false;
  const address = tryParseAddress(text.replace(/\/.*$/, ""));
  return address !== undefined && formatAddress(address) === formatCidr(cidr).replace(/\/.*$/, "");
}

function asNumber(text: string | undefined): number | undefined {
  const halves = /^(\d{1,10})(?:\.(\d{1,5}))?$/.exec(text ?? "");
  if (!halves) return undefined;
  const [high, low] = [Number(halves[1]), halves[2] === undefined ? undefined : Number(halves[2])];
  if (low === undefined) return high <= 0xffff_ffff ? high : undefined;
  return high <= 0xffff && low <= 0xffff ? high * 0x1_0000 + low : undefined;
}

function valid(text: string | undefined, isValid: (text: string) => boolean): string | undefined {
  return text && isValid(text) ? text : undefined;
}

const field = <K extends string, V>(name: K, value: V | undefined): { [key in K]?: V } =>
  (value === undefined ? {} : { [name]: value }) as { [key in K]?: V };

function without<T extends object, K extends keyof T>(object: T | undefined, key: K): Omit<T, K> {
  const { [key]: _, ...others } = object ?? ({} as T);
  return others;
}

function jsonObject(text: string): Record<string, unknown> | undefined {
  const value = json(text);
  return isObject(value) ? value : undefined;
}

function json(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
