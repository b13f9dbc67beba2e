/** The sessions of bird.cfg and bird6.cfg. */
import type { Family, NodeBgp, Peer } from "../../model/index.ts";
import { exportBody, importBody, indent, nextHop, sourceAddress } from "../sections.ts";
import { ofResource, type Words } from "../words.ts";

export function peerTemplate(model: NodeBgp, words: Words): string[] {
  const debug = { none: [], debug: ["debug all;"], info: ["debug { states, routes, filters, events };"] }[model.log];
  return [
    "template bgp bgp_template {",
    ...indent(2, [
      ...debug,
      'description "Connection to BGP peer";',
      `local as ${words.number(model.asn, "Node: AS number")};`,
      "gateway recursive;",
      "add paths on;",
      "graceful restart;",
      "connect delay time 2;",
      "connect retry time 5;",
      "error wait time 5,30;",
    ]),
    "}",
  ];
}

export function peerProtocol(model: NodeBgp, family: Family, peer: Peer, words: Words): string[] {
  const of = peer.reason;
  const source = sourceAddress(model, family, peer);
  const number = (value: number, what: string, most?: number) => words.number(value, `${of}: ${what}`, 0, most);
  const port = peer.port === undefined ? "" : ` port ${number(peer.port, "port", 65_535)}`;
  const lines = [
    ...(peer.localAsn === undefined ? [] : [`local as ${number(peer.localAsn, "localASNumber")};`]),
    `neighbor ${words.address(peer.address, family, of)}${port} as ${number(peer.asn, "asNumber")};`,
    ...(source === undefined ? [] : [`source address ${words.address(source, family, `${of}: source address`)};`]),
    ...hops(peer, words),
    "import filter {",
    ...indent(2, importBody(model, family, peer, words)),
    "};",
    "export filter {",
    ...indent(2, exportBody(model, family, peer, "calico_export_to_bgp_peers", words)),
    "};",
    ...(peer.passive ? ["passive on;"] : []),
    ...(peer.restartTime === undefined
      ? []
      : [`graceful restart time ${number(peer.restartTime, "maxRestartTime", 4095)};`]),
    ...(peer.keepaliveTime === undefined
      ? []
      : [`keepalive time ${number(peer.keepaliveTime, "keepaliveTime", 65_535)};`]),
    ...(peer.reflectorClient === undefined
      ? []
      : [
          "rr client;",
          `rr cluster id ${words.address(peer.reflectorClient, 4, `${of}: route reflector cluster id`)};`,
        ]),
    ...(peer.password === undefined ? [] : [`password ${words.password(peer.password, of)};`]),
    ...nextHop(peer),
    ...(peer.allowedOwnAsns > 0 ? [`allow local as ${number(peer.allowedOwnAsns, "numAllowedLocalASNumbers")};`] : []),
    ...(peer.bfd ? ["bfd on;"] : []),
  ];
  return [ofResource(of), `protocol bgp ${words.symbol(peer.name, of)} from bgp_template {`, ...indent(2, lines), "}"];
}

/** GTSM counts hops; BIRD asks for BFD of a single hop only where the session is one. */
function hops(peer: Peer, words: Words): string[] {
  if (peer.ttlSecurity !== undefined) {
    return ["ttl security on;", `multihop ${words.number(peer.ttlSecurity, `${peer.reason}: ttlSecurity`, 1, 255)};`];
  }
  return ["ttl security off;", peer.bfd && !peer.bfd.multihop ? "direct;" : "multihop;"];
}

/** BIRD 1.6 has intervals of interfaces and of all multihop sessions, not of a session: the shortest that a peer asks for is everybody's. */
export function bfdProtocol(peers: readonly Peer[], words: Words): string[] {
  const asked = peers.flatMap((peer) => (peer.bfd ? [peer.bfd] : []));
  if (asked.length === 0) return [];
  const least = (of: (bfd: (typeof asked)[number]) => number) => words.number(Math.min(...asked.map(of)), "BFD", 1);
  const intervals = [
    `min rx interval ${least((bfd) => bfd.minReceive)} ms;`,
    `min tx interval ${least((bfd) => bfd.minSend)} ms;`,
    `multiplier ${words.number(Math.max(...asked.map((bfd) => bfd.multiplier)), "BFD multiplier", 1, 255)};`,
  ];
  return [
    "protocol bfd {",
    '  interface "*" {',
    ...indent(4, intervals),
    "  };",
    "  multihop {",
    ...indent(4, intervals),
    "  };",
    "}",
    "",
  ];
}
