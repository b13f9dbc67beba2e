import type { NodeBgpOptions } from "../../lib/bgp/config/index.ts";
import type { Env } from "../../lib/cli/index.ts";
import { cidrFromAddress, formatCidr } from "../../lib/ip/index.ts";
import type { HostFacts } from "../../lib/node/index.ts";
import { nodeName } from "./process.ts";

/** What environment and machine say of BGP on this node, by upstream's names. */
export const bgpOptions = (env: Env, facts: HostFacts): NodeBgpOptions => ({
  node: nodeName(env),
  ...(env.CALICO_ROUTER_ID && { routerId: env.CALICO_ROUTER_ID }),
  ...(env.CALICO_ADVERTISE_CLUSTER_IPS && { advertiseClusterIps: env.CALICO_ADVERTISE_CLUSTER_IPS }),
  ...(env.CALICO_K8S_NODE_REF && { kubernetesNode: env.CALICO_K8S_NODE_REF }),
  ...(env.NAMESPACE && { secretNamespace: env.NAMESPACE }),
  usePodCidr: env.USE_POD_CIDR === "true",
  connectedNetworks: facts
    .interfaces()
    .flatMap(({ addresses }) => addresses.map(({ address, length }) => formatCidr(cidrFromAddress(address, length)))),
});
