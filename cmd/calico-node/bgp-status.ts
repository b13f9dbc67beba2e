/** What BGP is like, for CalicoNodeStatus resources. */
import type { PeerStatus, RouteText } from "../../lib/bgp/control/index.ts";
import type { Backend } from "../../lib/bgp/index.ts";
import type { BgpRouteStatus, StatusSource } from "../../lib/node/index.ts";
import { VERSION } from "../../lib/telemetry/index.ts";
import type { NodeReport } from "./node-report.ts";

export function statusSource(backend: Backend, report: Pick<NodeReport, "startedAt" | "configuredAt">): StatusSource {
  return {
    agent: async (family) => {
      // As upstream's: ready is a daemon that runs and has a configuration, whatever its sessions.
      const status = await backend.status();
      const isOurs = status.backend === "speaker";
      const started = isOurs ? report.startedAt : status.startedAt;
      if (started === undefined || status.node === "") return undefined;
      if (family === 6 && !status.peers.some((peer) => peer.family === 6)) return undefined;
      const reconfigured = (isOurs ? report.configuredAt : status.reconfiguredAt) ?? started;
      return { ready: true, version: status.version ?? VERSION, routerId: status.routerId, started, reconfigured };
    },
    peers: async (family) => (await backend.status()).peers.filter((peer) => peer.family === family),
    routes: async function* () {
      const status = await backend.status();
      // A BIRD that does not run has none to tell: that it is not ready is to be told nevertheless.
      if (status.backend === "bird" && status.startedAt === undefined) return;
      const peers = new Map(status.peers.map((peer) => [peer.name, peer]));
      for await (const route of (await backend.routes("best")) ?? []) yield routeOf(route, peers.get(route.from));
    },
  };
}

const SOURCES: Readonly<Record<string, BgpRouteStatus["source"]>> = {
  static: "Static",
  kernel: "Kernel",
  device: "Direct",
};

function routeOf({ prefix, nextHop, from }: RouteText, peer: PeerStatus | undefined): BgpRouteStatus {
  return {
    family: prefix.includes(":") ? 6 : 4,
    primary: true,
    destination: prefix,
    ...(nextHop !== "-" && { gateway: nextHop }),
    ...(from === "static" && nextHop === "-" && { interface: "blackhole" }),
    source: SOURCES[from] ?? (peer?.kind === "mesh" ? "NodeMesh" : "BGPPeer"),
    ...(peer && { peerAddress: peer.address }),
  };
}
