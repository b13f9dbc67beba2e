/** bird.cfg, bird6.cfg: protocols and sessions. */
import { type Family, familyOf, type NodeBgp } from "../../model/index.ts";
import { filterFunctions } from "../filters.ts";
import { communitiesBody, directInterfaces, indent } from "../sections.ts";
import { ofResource, type Words } from "../words.ts";
import { bfdProtocol, peerProtocol, peerTemplate } from "./peers.ts";

export function mainFile(model: NodeBgp, family: Family, words: Words): string[] {
  const bgp = familyOf(model, family);
  const name = family === 4 ? "bird" : "bird6";
  const debug = { none: [], debug: ["debug all;"], info: ["debug { states };"] }[model.log];
  return [
    ofResource("BGPConfiguration: prefixAdvertisements"),
    "function apply_communities ()",
    "{",
    ...indent(6, communitiesBody(bgp, words)),
    "}",
    "",
    "template kernel kernel_template {",
    ...indent(2, ["learn;", "persist;", "scan time 2;", "import all;"]),
    "}",
    "",
    ofResource("BGPConfiguration: ignoredInterfaces"),
    "template direct direct_template {",
    ...indent(2, [...debug, `interface ${directInterfaces(model, words)};`]),
    "}",
    "",
    `include "${name}_aggr.cfg";`,
    `include "${name}_ipam.cfg";`,
    "",
    ofResource(`Node ${model.node}`),
    `router id ${words.address(model.routerId, 4, "router id")};`,
    ...listen(model, family, words),
    "",
    "protocol kernel from kernel_template {",
    ...indent(2, ["export filter calico_kernel_programming;", "graceful restart;", "merge paths on;"]),
    "}",
    "",
    "protocol device {",
    ...indent(2, [...debug, "scan time 2;"]),
    "}",
    "",
    "protocol direct from direct_template {",
    "}",
    "",
    ...(bgp.address === undefined
      ? [`# No IPv${family} address for BGP on this node.`]
      : sessions(model, family, words)),
  ];
}

function listen(model: NodeBgp, family: Family, words: Words): string[] {
  const { address } = familyOf(model, family);
  const { port, onlyNodeAddresses } = model.listen;
  const parts = [
    ...(onlyNodeAddresses && address !== undefined
      ? [` address ${words.address(address, family, "Node: BGP address")}`]
      : []),
    ...(port === undefined ? [] : [` port ${words.number(port, "BGPConfiguration: listenPort", 1, 65_535)}`]),
  ];
  return parts.length === 0
    ? []
    : [ofResource("BGPConfiguration: listenPort, bindMode"), `listen bgp${parts.join("")};`];
}

function sessions(model: NodeBgp, family: Family, words: Words): string[] {
  const { peers } = familyOf(model, family);
  return [
    ...peerTemplate(model, words),
    "",
    ...filterFunctions(model, family, words),
    "",
    ...bfdProtocol(peers, words),
    ...peers.flatMap((peer) => [...peerProtocol(model, family, peer, words), ""]),
  ];
}
