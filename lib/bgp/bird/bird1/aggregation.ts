/** bird_aggr.cfg, bird6_aggr.cfg: static routes of this node, and what of them goes out. */
import { type Family, familyOf, type NodeBgp } from "../../model/index.ts";
import { aggregationBody, indent } from "../sections.ts";
import { ofResource, type Words } from "../words.ts";

export function aggregationFile(model: NodeBgp, family: Family, words: Words): string[] {
  const routes = staticRoutes(model, family, words);
  const { blocks } = familyOf(model, family);
  return [
    ofResource(`blocks and services of node ${model.node}`),
    "template static static_template {",
    ...indent(3, routes),
    "}",
    "",
    ...(routes.length > 0 || blocks.length > 0 ? ["protocol static from static_template {", "}", ""] : []),
    "function calico_aggr ()",
    "{",
    ...indent(6, aggregationBody(model, family, words)),
    "}",
  ];
}

/** Blackholes for blocks and services, and routes to peers behind a gateway. A block of one address would be the workload's own route. */
export function staticRoutes(model: NodeBgp, family: Family, words: Words): string[] {
  const bgp = familyOf(model, family);
  const host = family === 4 ? "/32" : "/128";
  const blackhole = (cidr: string, of: string) => `route ${words.cidr(cidr, family, of)} blackhole;`;
  const via = (kind: "global" | "node") =>
    bgp.peerRoutes
      .filter((route) => route.kind === kind)
      .map(({ peer, via }) => {
        const of = "BGPPeer: reachableBy";
        return `route ${words.address(peer, family, of)}${host} via ${words.address(via, family, of)};`;
      });
  return [
    ...bgp.blocks.filter(({ cidr }) => !cidr.endsWith(host)).map(({ cidr }) => blackhole(cidr, "block affinity")),
    ...bgp.services.map((cidr) => blackhole(cidr, "service address")),
    ...via("global"),
    ...via("node"),
  ];
}
