/**
 * Which prefixes of Services a node advertises. Whole ranges, from every node: those of cluster addresses, of external addresses, and of load
 * balancers while these are aggregated. Single addresses of a Service, from the nodes that serve it: with externalTrafficPolicy
 * Local those with a ready endpoint; with Cluster all, where a range is of one address or load balancers are not aggregated.
 */
import type { BGPConfigurationSpec } from "../../api/bgpconfiguration.ts";
import type { EndpointSlice, Service } from "../../api/kubernetes/index.ts";
import { type Address, type Cidr, containsAddress, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import type { Family } from "../model/index.ts";
import { byText, type Problems, quoted } from "./problems.ts";

/** Kubernetes' label of nodes that are no targets of load balancers. */
const EXCLUDE = "node.kubernetes.io/exclude-from-external-load-balancers";
const SERVICE_NAME = "kubernetes.io/service-name";

export interface ServicePrefixes {
  readonly services: readonly string[];
  readonly notProgrammed: readonly string[];
  readonly externalRanges: readonly string[];
  readonly loadBalancerRanges: readonly string[];
}

export interface ServiceInputs {
  readonly configuration: Partial<BGPConfigurationSpec> | undefined;
  readonly advertiseClusterIps: string | undefined;
  readonly nodeLabels: Readonly<Record<string, string>>;
  /** What endpoints call the node. */
  readonly kubernetesNode: string;
  readonly services: Iterable<Service>;
  readonly endpointSlices: Iterable<EndpointSlice>;
}

/** One of the configured ranges. Text is kept as it is written: upstream's files have it so. */
interface Range {
  readonly text: string;
  readonly cidr: Cidr;
  readonly isSingle: boolean;
}

interface Ranges {
  readonly cluster: readonly Range[];
  readonly external: readonly Range[];
  readonly loadBalancer: readonly Range[];
  readonly aggregates: boolean;
}

export function servicePrefixes(inputs: ServiceInputs, problems: Problems): Readonly<Record<Family, ServicePrefixes>> {
  const ranges = readRanges(inputs, problems);
  const whole = new Set([
    ...ranges.cluster.map(({ text }) => text),
    ...[...ranges.external, ...(ranges.aggregates ? ranges.loadBalancer : [])].flatMap(({ text, isSingle }) =>
      isSingle ? [] : [text],
    ),
  ]);
  const advertised = new Set<string>();
  // An excluded node does not take what others advertise for the ranges as routes either: `whole` stays.
  if (inputs.nodeLabels[EXCLUDE] !== "true") {
    for (const text of whole) advertised.add(text);
    addSingle(advertised, inputs, ranges, problems);
  }
  const of = (family: Family): ServicePrefixes => {
    const isOf = (text: string): boolean => text.includes(":") === (family === 6);
    return {
      services: [...advertised].filter(isOf).sort(byKey),
      notProgrammed: [...whole].filter(isOf).sort(byKey),
      externalRanges: ranges.external.map(({ text }) => text).filter(isOf),
      loadBalancerRanges: ranges.loadBalancer.map(({ text }) => text).filter(isOf),
    };
  };
  return { 4: of(4), 6: of(6) };
}

/** The order of upstream's keys, in which a dash stands for the slash. */
export const byKey = (a: string, b: string): number => byText(a.replace("/", "-"), b.replace("/", "-"));

function readRanges({ configuration = {}, advertiseClusterIps }: ServiceInputs, problems: Problems): Ranges {
  const read = (texts: readonly (string | undefined)[], field: string, resource: string): Range[] =>
    texts.flatMap((text) => {
      if (!text) return [];
      const cidr = tryParseCidr(text);
      if (cidr) return [{ text, cidr, isSingle: cidr.length === (cidr.version === 4 ? 32 : 128) }];
      problems.add(resource, `${field} ${quoted(text)}: must be a CIDR; it is not advertised`);
      return [];
    });
  const configured = (field: "serviceClusterIPs" | "serviceExternalIPs" | "serviceLoadBalancerIPs"): Range[] =>
    read(
      (configuration[field] ?? []).map(({ cidr }) => cidr),
      `spec.${field}`,
      "BGPConfiguration default",
    );
  const legacy = advertiseClusterIps?.split(",").map((text) => text.trim());
  return {
    cluster: legacy?.some((text) => text !== "")
      ? read(legacy, "CALICO_ADVERTISE_CLUSTER_IPS", "environment")
      : configured("serviceClusterIPs"),
    external: configured("serviceExternalIPs"),
    loadBalancer: configured("serviceLoadBalancerIPs"),
    aggregates: (configuration.serviceLoadBalancerAggregation || "Enabled") === "Enabled",
  };
}

function addSingle(into: Set<string>, inputs: ServiceInputs, ranges: Ranges, problems: Problems): void {
  const { cluster, external, loadBalancer } = ranges;
  if (cluster.length + external.length + loadBalancer.length === 0) return;
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of inputs.endpointSlices) {
    const service = slice.metadata.labels?.[SERVICE_NAME];
    if (!service) continue;
    const key = `${slice.metadata.namespace}/${service}`;
    const there = slices.get(key);
    if (there) there.push(slice);
    else slices.set(key, [slice]);
  }
  for (const service of inputs.services) {
    const { name, namespace } = service.metadata;
    const behind = slices.get(`${namespace}/${name}`);
    if (!behind || !isAdvertised(service, behind, ranges, inputs.kubernetesNode)) continue;
    const { spec, status } = service;
    const add = (texts: Iterable<string>, field: string, within: readonly Range[] | undefined): void => {
      for (const text of texts) {
        const address = tryParseAddress(text);
        if (!address)
          problems.add(
            `Service ${namespace}/${name}`,
            `${field} ${quoted(text)}: must be an address; it is not advertised`,
          );
        else if (!within || contains(within, address)) into.add(`${text}/${text.includes(":") ? 128 : 32}`);
      }
    };
    if (cluster.length > 0) add(clusterAddresses(spec), "spec.clusterIPs", undefined);
    if (external.length > 0) add(spec.externalIPs ?? [], "spec.externalIPs", external);
    if (loadBalancer.length > 0) {
      const addresses = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => ip || []);
      add(addresses, "status.loadBalancer.ingress", loadBalancer);
    }
  }
}

/** Whether the node advertises the addresses of a Service one by one. What an API server would fill in may be absent here. */
function isAdvertised(
  { spec, status }: Service,
  slices: readonly EndpointSlice[],
  { external, loadBalancer, aggregates }: Ranges,
  node: string,
): boolean {
  const { type = "ClusterIP", externalIPs = [] } = spec;
  if (type !== "ClusterIP" && type !== "NodePort" && type !== "LoadBalancer") return false;
  const addresses = clusterAddresses(spec);
  if (addresses.length === 0) return false;
  const isReachable = type !== "ClusterIP" || externalIPs.length > 0;
  const policy = spec.externalTrafficPolicy || (isReachable ? "Cluster" : "");
  if (policy === "Cluster") {
    const balanced = [spec.loadBalancerIP, ...(status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip)];
    if (type === "LoadBalancer" && balanced.some((text) => isSingle(loadBalancer, text))) return true;
    if (externalIPs.some((text) => isSingle(external, text))) return true;
  }
  const isLocal = policy === "Local";
  if (!isLocal && aggregates) return false;
  const families = spec.ipFamilies ?? addresses.map((text) => (text.includes(":") ? "IPv6" : "IPv4"));
  return slices.some(
    ({ addressType, endpoints }) =>
      families.includes(addressType) &&
      (endpoints ?? []).some(
        ({ conditions, nodeName }) => conditions?.ready !== false && (!isLocal || nodeName === node),
      ),
  );
}

/** None of a Service without cluster address (headless). */
function clusterAddresses({ clusterIP, clusterIPs }: Service["spec"]): readonly string[] {
  const all = clusterIPs?.length ? clusterIPs : clusterIP ? [clusterIP] : [];
  return (clusterIP ?? all[0] ?? "None") === "None" || clusterIP === "" ? [] : all;
}

const contains = (ranges: readonly Range[], address: Address): boolean =>
  ranges.some(({ cidr }) => containsAddress(cidr, address));

function isSingle(ranges: readonly Range[], text: string | undefined): boolean {
  if (!text || !ranges.some((range) => range.isSingle)) return false;
  const address = tryParseAddress(text);
  return address !== undefined && ranges.some(({ cidr, isSingle }) => isSingle && containsAddress(cidr, address));
}
