/** Sessions. Timers, filters and options are BIRD 1.6's; where a session listens is its own business in BIRD 2. */
import { type BfdParameters, type Family, familyOf, type NodeBgp, type Peer } from "../../model/index.ts";
import { exportBody, importBody, indent, nextHop, sourceAddress } from "../sections.ts";
import { ofResource, type Words } from "../words.ts";
import { exportFunction } from "./export.ts";

/** BIRD's, in seconds. */
const DEFAULT_HOLD_TIME = 240;

export function peerTemplate(model: NodeBgp): string[] {
  const debug = { none: [], debug: ["debug all;"], info: ["debug { states, routes, filters, events };"] }[model.log];
  return [
    "template bgp calico_peer {",
    ...indent(2, [
      ...debug,
      "graceful restart on;",
      "connect delay time 2;",
      "connect retry time 5;",
      "error wait time 5,30;",
    ]),
    "}",
    "",
  ];
}

export function peerProtocol(model: NodeBgp, family: Family, peer: Peer, words: Words): string[] {
  const of = peer.reason;
  const number = (value: number, what: string, most?: number) => words.number(value, `${of}: ${what}`, 0, most);
  const lines = [
    // The reason is ours or a resource's name; what cannot be said of it is no ground to refuse a session.
    `description ${words.text(of.replace(/[^\x20-\x7e]|"/g, " "), of)};`,
    ...local(model, family, peer, words),
    `neighbor ${words.address(peer.address, family, of)}${peer.port === undefined ? "" : ` port ${number(peer.port, "port", 65_535)}`} as ${number(peer.asn, "asNumber")};`,
    ...hops(peer, words),
    ...(peer.passive ? ["passive on;"] : []),
    ...(peer.restartTime === undefined
      ? []
      : [`graceful restart time ${number(peer.restartTime, "maxRestartTime", 4095)};`]),
    ...(peer.keepaliveTime === undefined
      ? []
      : [...holdTime(peer.keepaliveTime), `keepalive time ${number(peer.keepaliveTime, "keepaliveTime", 65_535)};`]),
    ...(peer.reflectorClient === undefined
      ? []
      : [
          "rr client;",
          `rr cluster id ${words.address(peer.reflectorClient, 4, `${of}: route reflector cluster id`)};`,
        ]),
    ...(peer.password === undefined ? [] : [`password ${words.password(peer.password, of)};`]),
    ...(peer.allowedOwnAsns > 0 ? [`allow local as ${number(peer.allowedOwnAsns, "numAllowedLocalASNumbers")};`] : []),
    ...(peer.bfd ? bfd(peer.bfd, of, words) : []),
    `ipv${family} {`,
    ...indent(2, [
      "gateway recursive;",
      "add paths on;",
      ...nextHop(peer),
      "import filter {",
      ...indent(2, importBody(model, family, peer, words)),
      "};",
      "export filter {",
      ...indent(2, exportBody(model, family, peer, exportFunction(family), words)),
      "};",
    ]),
    "};",
  ];
  return [
    ofResource(of),
    `protocol bgp ${words.symbol(peer.name, of)} from calico_peer {`,
    ...indent(2, lines),
    "}",
    "",
  ];
}

/** BIRD refuses a keepalive time above the hold time; three are to be missed (RFC 4271 10), as with our own speaker. */
function holdTime(keepaliveTime: number): string[] {
  return 3 * keepaliveTime > DEFAULT_HOLD_TIME ? [`hold time ${Math.min(65_535, 3 * keepaliveTime)};`] : [];
}

/** The local end. With bindMode NodeIP the session's listening socket is bound to the node's address, which is then what it speaks from, too. */
function local(model: NodeBgp, family: Family, peer: Peer, words: Words): string[] {
  const { port, onlyNodeAddresses } = model.listen;
  const address =
    sourceAddress(model, family, peer) ?? (onlyNodeAddresses ? familyOf(model, family).address : undefined);
  const parts = [
    ...(address === undefined ? [] : [words.address(address, family, `${peer.reason}: source address`)]),
    ...(port === undefined ? [] : [`port ${words.number(port, "BGPConfiguration: listenPort", 1, 65_535)}`]),
    `as ${words.number(peer.localAsn ?? model.asn, `${peer.reason}: local AS number`)}`,
  ];
  return [`local ${parts.join(" ")};`, ...(onlyNodeAddresses ? ["strict bind on;"] : [])];
}

/** GTSM counts hops; BIRD asks for BFD of a single hop only where the session is one. */
function hops(peer: Peer, words: Words): string[] {
  if (peer.ttlSecurity !== undefined) {
    return [`multihop ${words.number(peer.ttlSecurity, `${peer.reason}: ttlSecurity`, 1, 255)};`, "ttl security on;"];
  }
  return [peer.bfd && !peer.bfd.multihop ? "direct;" : "multihop;", "ttl security off;"];
}

function bfd(parameters: BfdParameters, of: string, words: Words): string[] {
  return [
    "bfd {",
    ...indent(2, [
      `min rx interval ${words.number(parameters.minReceive, `${of}: BFD`, 1)} ms;`,
      `min tx interval ${words.number(parameters.minSend, `${of}: BFD`, 1)} ms;`,
      `multiplier ${words.number(parameters.multiplier, `${of}: BFD multiplier`, 1, 255)};`,
    ]),
    "};",
  ];
}
