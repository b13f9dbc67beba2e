/** What BGP is like, for CalicoNodeStatus resources. */
import type { PeerStatus, RouteText } from "../../lib/bgp/control/index.ts";
import type { Backend } from "../../lib/bgp/index.ts";
import type { BgpRouteStatus, StatusSource } from "../../lib/node/index.ts";
import { VERSION } from "../../lib/telemetry/index.ts";

export function statusSource(backend: Backend): StatusSource {
  const started = Date.now();
  const peers = async (family: 4 | 6) => (await backend.status()).peers.filter((peer) => peer.family === family);
  return {
    agent: async (family) => {
      const status = await backend.status();
      if (!status.peers.some((peer) => peer.family === family)) return undefined;
      const ready = status.peers.some((peer) => peer.family === family && peer.state === "Established");
      return { ready, version: VERSION, routerId: status.routerId, started, reconfigured: started };
    },
    peers,
    routes: async (family) => {
      const addresses = new Map((await peers(family)).map((peer) => [peer.name, peer]));
      const best = (await backend.status()).backend === "speaker" ? backend.routes("best") : undefined;
      const separator = family === 4 ? "." : ":";
      return [...(best ?? [])]
        .filter(({ prefix }) => prefix.includes(separator))
        .map((route) => routeOf(route, family, addresses.get(route.from)));
    },
  };
}

const SOURCES: Readonly<Record<string, BgpRouteStatus["source"]>> = {
  static: "Static",
  kernel: "Kernel",
  device: "Direct",
};

function routeOf({ prefix, nextHop, from }: RouteText, family: 4 | 6, peer: PeerStatus | undefined): BgpRouteStatus {
  return {
    family,
    primary: true,
    destination: prefix,
    ...(nextHop !== "-" && { gateway: nextHop }),
    ...(from === "static" && nextHop === "-" && { interface: "blackhole" }),
    source: SOURCES[from] ?? (peer?.kind === "mesh" ? "NodeMesh" : "BGPPeer"),
    ...(peer && { peerAddress: peer.address }),
  };
}
