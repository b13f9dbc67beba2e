/** What kube-proxy is told by the API server, which is outside of the virtual machine; and the names of what is claimed about it. */

export const NODE = { name: "node1", address: "172.31.0.11" } as const;
export const OUTSIDE = "172.31.0.12";
export const BACKEND_PORT = 8080;
export const NODE_PORT = 30080;

/** The pods behind Services: the first two that are attached, of a pool that begins here. */
export const POOL = "10.65.0.0/26";
export const BACKENDS = { open: "10.65.0.0", picky: "10.65.0.1" } as const;

interface Service {
  readonly name: string;
  readonly address: string;
  readonly backend: string;
  readonly nodePort?: number;
}
export const SERVICES = {
  open: { name: "open", address: "10.96.0.50", backend: BACKENDS.open },
  picky: { name: "picky", address: "10.96.0.51", backend: BACKENDS.picky, nodePort: NODE_PORT },
  away: { name: "away", address: "10.96.0.52", backend: OUTSIDE },
} as const satisfies Record<string, Service>;

/** All that kube-proxy reads: the node, the Services and what is behind them. */
export function kubernetesObjects(): object[] {
  return Object.values<Service>(SERVICES).flatMap(({ name, address, backend, nodePort }) => [
    {
      ...{ apiVersion: "v1", kind: "Service", metadata: { name, namespace: "default" } },
      spec: {
        ...{ type: nodePort === undefined ? "ClusterIP" : "NodePort", clusterIP: address },
        ports: [
          { port: 80, targetPort: BACKEND_PORT, protocol: "TCP", ...(nodePort === undefined ? {} : { nodePort }) },
        ],
      },
    },
    {
      ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4" },
      metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": name } },
      endpoints: [{ addresses: [backend], conditions: { ready: true }, nodeName: NODE.name }],
      ports: [{ name: "", port: BACKEND_PORT, protocol: "TCP" }],
    },
  ]);
}

export const DATAPLANES = ["nftables", "iptables-nft", "iptables-legacy"] as const;
export type Dataplane = (typeof DATAPLANES)[number];

/** What is looked into on each dataplane. */
export const CLAIMS = {
  works: "a pod reaches a pod through its Service, and is seen as itself",
  ingress: "policy of the pod behind a Service sees its own port, and who asks",
  egress: "policy of who asks sees what is behind the Service, on this node and elsewhere",
  host: "the host reaches its pods through Services; a pod that may not reach the host reaches Services",
  nodePort: "policy of the pod behind a NodePort applies to who asks from outside",
} as const;
export type Claim = keyof typeof CLAIMS;

/** And once: the agent begins without kube-proxy, on the first dataplane, and at the end is left without it. */
export const FOLLOWS = {
  appears: "when kube-ipvs0 appears the agent changes its rules at once, and keeps its dataplane where that is fixed",
  auto: "NFTablesMode=Auto takes iptables beside IPVS",
  goes: "when kube-ipvs0 goes away the agent changes back, and Auto changes its dataplane",
} as const;
