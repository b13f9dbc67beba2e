/**
 * From resources to what BGP shall be on one node: upstream's confd without its templates. Which sessions, under which names, with which
 * side passive; which blocks and Service prefixes are advertised; filters, communities, pools.
 *
 *     datastore -> watchBgp (watch.ts, one Source a kind) -> BgpInputs
 *       -> nodeBgp (pure): cluster.ts (nodes, configurations) · peerings.ts (what BGPPeers ask for) · peers.ts (sessions, mesh)
 *          services.ts · filters.ts · passwords.ts · bfd.ts
 *       -> NodeBgp (../model), unchanged parts the same objects as before (share.ts): for ../bird and ../speaker.ts
 *
 * Facts are of upstream's confd/pkg/backends/calico (client.go, bgp_processor.go, routes.go, secret_watcher.go, local_bgp_peer_watcher.go) and
 * of felix/calc's ActiveBGPPeerCalculator. Where the answer is another than upstream's, it is on purpose:
 *
 * - A password that cannot be read: no session. Upstream connects without one. `optional` in the reference says that it may.
 * - Of two BGPPeers that ask for the same peer, the first by name counts; upstream's choice is by chance.
 * - A mesh peer without an AS number of its own has the cluster's. Upstream takes that of the node it is rendered for.
 * - A node that listens where peerIP says is meant by it, whatever the port of the others; upstream also asks for that.
 * - peerIP without asNumber means a node of the cluster's AS, or is refused; upstream's BIRD then refuses its whole configuration.
 * - Nothing is routed by a gateway (reachableBy) to the node itself.
 * - Rules of a filter, or whole filters, that cannot be read let less pass, not more. Upstream writes no configuration any more.
 * - A node without IPv4 address and CALICO_ROUTER_ID has the hash of its name for a router ID; upstream has none.
 *
 * Which rights it needs: list and watch of nodes, bgpconfigurations, bgppeers, bgpfilters, ippools, blockaffinities (not with USE_POD_CIDR); of services and
 * endpointslices (discovery.k8s.io) while a range of Services is configured; of pods, namespaces and serviceaccounts while a
 * BGPPeer has a localWorkloadSelector; of each named Secret (`resourceNames` is enough) in the namespace of the node's pod. What of
 * the latter three is refused counts as empty, and readiness hears of it.
 *
 * Not here: CALICO_NETWORKING_BACKEND, and autodetection (lib/node).
 */
export { nodeBgp } from "./node-bgp.ts";
export type { BgpInputs, BgpWatch, NodeBgpOptions, Unreadable, WatchBgpOptions } from "./types.ts";
export { watchBgp } from "./watch.ts";
