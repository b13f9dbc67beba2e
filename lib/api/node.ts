import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const bgp = s.lazy(() =>
  s.object(
    {
      asNumber: s.optional(
        s.integer({ doc: "The node's AS number; absent: the cluster's.", min: 0, max: 4294967295, text: "as-number" }),
      ),
      ipv4Address: s.optional(
        s.string({ doc: "IPv4 address of the node with the length of its subnet.", format: "cidr4" }),
      ),
      ipv6Address: s.optional(
        s.string({ doc: "IPv6 address of the node with the length of its subnet.", format: "cidr6" }),
      ),
      ipv4IPIPTunnelAddr: s.optional(s.string({ doc: "Address of tunl0.", format: "ip4" })),
      routeReflectorClusterID: s.optional(
        s.string({ doc: "Makes the node a route reflector of this cluster ID.", format: "ip4" }),
      ),
    },
    { doc: "How the node takes part in BGP." },
  ),
);

const spec = s.lazy(() =>
  s.object({
    bgp: s.optional(bgp()),
    ipv4VXLANTunnelAddr: s.optional(s.string({ doc: "Address of vxlan.calico.", format: "ip4" })),
    vxlanTunnelMACAddr: s.optional(s.string({ doc: "MAC of vxlan.calico.", format: "mac" })),
    ipv6VXLANTunnelAddr: s.optional(s.string({ doc: "Address of vxlan-v6.calico.", format: "ip6" })),
    vxlanTunnelMACAddrV6: s.optional(s.string({ doc: "MAC of vxlan-v6.calico.", format: "mac" })),
    orchRefs: s.optional(
      s.array(
        s.object({
          nodeName: s.optional(s.string({ doc: "What the orchestrator calls the node." })),
          orchestrator: s.string({ doc: "The orchestrator: k8s." }),
        }),
        {
          doc: "What orchestrators call the node.",
        },
      ),
    ),
    wireguard: s.optional(
      s.object(
        {
          interfaceIPv4Address: s.optional(s.string({ doc: "Address of wireguard.cali.", format: "ip4" })),
          interfaceIPv6Address: s.optional(s.string({ doc: "Address of wg-v6.cali.", format: "ip6" })),
        },
        { doc: "The node's WireGuard interfaces." },
      ),
    ),
    addresses: s.optional(
      s.array(
        s.object({
          address: s.string({ doc: "The address, also with the length of its subnet.", format: "cidr-or-ip" }),
          type: s.optional(
            s.oneOf(["CalicoNodeIP", "InternalIP", "ExternalIP"], { doc: "Who says so: Calico, or Kubernetes." }),
          ),
        }),
        { doc: "Addresses at which the node can be reached." },
      ),
    ),
    interfaces: s.optional(
      s.array(
        s.object({
          name: s.optional(s.string({ doc: "Name of the interface." })),
          addresses: s.optional(s.array(s.string(), { doc: "Its addresses." })),
        }),
        {
          doc: "The node's network interfaces.",
        },
      ),
    ),
  }),
);

const status = s.lazy(() =>
  s.object({
    wireguardPublicKey: s.optional(s.string({ doc: "Public key of wireguard.cali.", format: "wireguard-key" })),
    wireguardPublicKeyV6: s.optional(s.string({ doc: "Public key of wg-v6.cali.", format: "wireguard-key" })),
    podCIDRs: s.optional(s.array(s.string(), { doc: "The pod networks that Kubernetes gave the node." })),
  }),
);

export type NodeSpec = s.Infer<ReturnType<typeof spec>>;
export type NodeStatus = s.Infer<ReturnType<typeof status>>;
export type Node = Resource<"Node", NodeSpec, NodeStatus>;

/** The AS number of a cluster that does not configure one; in parentheses it is shown for nodes without their own. */
const DEFAULT_AS = 64512;

/** A machine that runs workloads, and how others reach it. */
export const Node: Kind<Node> = {
  kind: "Node",
  apiVersion: API_VERSION,
  plural: "nodes",
  namespaced: false,
  aliases: ["no", "nos"],
  doc: "A machine that runs workloads, and how others reach it.",
  get spec() {
    return spec();
  },
  get status() {
    return status();
  },
  check(node) {
    if (!node.spec.bgp || Object.keys(node.spec.bgp).length > 0) return [];
    return [{ path: "spec.bgp", value: node.spec.bgp, message: "must not be empty; leave it out, or say ipv4Address" }];
  },
  get columns(): Columns<Node> {
    return [
      { title: "NAME", value: (node) => node.metadata.name },
      {
        title: "ASN",
        wide: true,
        value: (node) => (node.spec.bgp ? String(node.spec.bgp.asNumber ?? `(${DEFAULT_AS})`) : ""),
      },
      { title: "IPV4", wide: true, value: (node) => node.spec.bgp?.ipv4Address ?? "" },
      { title: "IPV6", wide: true, value: (node) => node.spec.bgp?.ipv6Address ?? "" },
    ];
  },
};
