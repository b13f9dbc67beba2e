/** Resources for tests, with as little said as can be. */
import type { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import type { BGPFilter } from "../../api/bgpfilter.ts";
import type { BGPPeer } from "../../api/bgppeer.ts";
import type { EndpointSlice, Secret, Service } from "../../api/kubernetes/index.ts";
import { API_VERSION } from "../../api/meta.ts";
import type { Node } from "../../api/node.ts";
import type { Peer } from "../model/index.ts";

type Labels = Record<string, string>;

export const node = (name: string, bgp: NonNullable<Node["spec"]["bgp"]>, labels: Labels = {}): Node => ({
  apiVersion: API_VERSION,
  kind: "Node",
  metadata: { name, labels },
  spec: { bgp },
});

export const configuration = (spec: Partial<BGPConfiguration["spec"]>, name = "default"): BGPConfiguration => ({
  apiVersion: API_VERSION,
  kind: "BGPConfiguration",
  metadata: { name },
  spec: { serviceLoadBalancerAggregation: "Enabled", ...spec },
});

export const bgpPeer = (name: string, spec: BGPPeer["spec"], annotations: Labels = {}): BGPPeer => ({
  apiVersion: API_VERSION,
  kind: "BGPPeer",
  metadata: { name, annotations },
  spec,
});

export const bgpFilter = (name: string, spec: BGPFilter["spec"]): BGPFilter => ({
  apiVersion: API_VERSION,
  kind: "BGPFilter",
  metadata: { name },
  spec,
});

export const secret = (namespace: string, name: string, values: Labels): Secret => ({
  apiVersion: "v1",
  kind: "Secret",
  metadata: { name, namespace },
  data: Object.fromEntries(Object.entries(values).map(([key, text]) => [key, Buffer.from(text).toString("base64")])),
});

export const service = (name: string, spec: Service["spec"], balanced: readonly string[] = []): Service => ({
  apiVersion: "v1",
  kind: "Service",
  metadata: { name, namespace: "shop" },
  spec,
  ...(balanced.length > 0 ? { status: { loadBalancer: { ingress: balanced.map((ip) => ({ ip })) } } } : {}),
});

/** The endpoints of a service: by node, whether they are ready. */
export const slice = (
  of: string,
  nodes: Readonly<Record<string, boolean>>,
  addressType: "IPv4" | "IPv6" = "IPv4",
  name = `${of}-1`,
): EndpointSlice => ({
  apiVersion: "discovery.k8s.io/v1",
  kind: "EndpointSlice",
  metadata: { name, namespace: "shop", labels: { "kubernetes.io/service-name": of } },
  addressType,
  endpoints: Object.entries(nodes).map(([nodeName, ready]) => ({
    addresses: [addressType === "IPv4" ? "192.168.0.1" : "fd00::1"],
    conditions: { ready },
    nodeName,
  })),
});

/** A session in one line, in the words of BIRD's file. */
export function line(peer: Peer): string {
  const words = [`${peer.name}: ${peer.address}${peer.port ? ` port ${peer.port}` : ""} as ${peer.asn}`];
  if (peer.localAsn !== undefined) words.push(`local as ${peer.localAsn}`);
  if (peer.sourceAddress !== undefined) words.push(`source ${peer.sourceAddress}`);
  if (peer.ttlSecurity !== undefined) words.push(`ttl ${peer.ttlSecurity}`);
  if (peer.passive) words.push("passive");
  if (peer.restartTime !== undefined) words.push(`restart ${peer.restartTime}`);
  if (peer.keepaliveTime !== undefined) words.push(`keepalive ${peer.keepaliveTime}`);
  if (peer.reflectorClient !== undefined) words.push(`client of ${peer.reflectorClient}`);
  if (peer.password !== undefined) words.push(`password ${peer.password}`);
  if (peer.nextHop !== "auto") words.push(`next hop ${peer.nextHop}`);
  if (peer.allowedOwnAsns > 0) words.push(`allow ${peer.allowedOwnAsns}`);
  if (peer.filters.length > 0) words.push(`filters ${peer.filters.join(" ")}`);
  if (peer.bfd)
    words.push(
      `bfd ${peer.bfd.minReceive}/${peer.bfd.minSend}x${peer.bfd.multiplier}${peer.bfd.multihop ? " multihop" : ""}`,
    );
  return words.join(", ");
}
