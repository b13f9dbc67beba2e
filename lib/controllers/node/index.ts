/**
 * The node controller: garbage collection of IPAM (kube-controllers/pkg/controllers/node/ipam*.go; upstream's reasons are in its design/ipam).
 *
 *     watches of blocks, affinities, handles, pods, nodes -> Ledger (ledger.ts, facts.ts)
 *       -> decide.ts, planNode (pure) -> a last look at the API server (cluster.ts) -> reclaimBlock of lib/ipam
 *
 * A node that is gone is one piece of work, done in one pass over all of its blocks side by side, with no read of what the watches told
 * already. On nodes that exist only what was seen unused twice, a grace period apart, is released.
 *
 * What keeps the address of a live pod safe: (1) nothing is released of which it is not known that nobody uses it; (2) the allocation is
 * looked up before the API server is asked about its pod, and a pod is bound before it is given an address; (3) the release is bound to
 * the allocation's sequence number and handle and to the block's revision; (4) a handle is released whole or not at all. State is the
 * datastore alone: a collector that dies anywhere is followed by one that finds what is left.
 *
 * Not here: addresses of KubeVirt's machines, which outlive pods, and of whatever else is not known are left alone; so are the blocks of virtual owners
 * (load-balancer). Labels are not synced to Calico's nodes on etcd. A flannel migration is not looked for.
 */
export { createNodeController, DEFAULT_NODE_SETTINGS, type NodeControllerSettings } from "./controller.ts";
