/** BIRD 2: one daemon, one file, both families. Written for 2.0.12 (Debian 12); names of a family end in `_v4` or `_v6`. */
import { FAMILIES, type Family, familyOf, type NodeBgp, type Peer } from "../../model/index.ts";
import { filterFunctions } from "../filters.ts";
import { directInterfaces, indent } from "../sections.ts";
import { ofResource, Words } from "../words.ts";
import { exportFunctions } from "./export.ts";
import { kernelFilter, kernelProtocol } from "./kernel.ts";
import { peerProtocol, peerTemplate } from "./peers.ts";
import { staticProtocol } from "./static.ts";

/**
 * A BIRD 2 configuration of the same meaning as {@link renderBird1}'s.
 *
 * Throws {@link BirdError} `BIRD_UNSAYABLE`.
 */
export function renderBird2(model: NodeBgp): { readonly "bird.cfg": string } {
  const words = new Words();
  const debug = { none: [], debug: ["debug all;"], info: ["debug { states };"] }[model.log];
  const peers = FAMILIES.flatMap((family) => sessionsOf(model, family).map((peer) => ({ family, peer })));
  const lines = [
    "# Made by Calico from its resources: changes are lost.",
    "log stderr all;",
    // A form that can be read back; the default one leaves out either the day or the time.
    'timeformat protocol "%Y-%m-%dT%H:%M:%S";',
    "",
    ofResource(`Node ${model.node}`),
    `router id ${words.address(model.routerId, 4, "router id")};`,
    "",
    "protocol device {",
    ...indent(2, [...debug, "scan time 2;"]),
    "}",
    "",
    ofResource("BGPConfiguration: ignoredInterfaces"),
    "protocol direct {",
    ...indent(2, [...debug, "ipv4;", "ipv6;", `interface ${directInterfaces(model, words)};`]),
    "}",
    "",
    ...FAMILIES.flatMap((family) => [
      ...staticProtocol(model, family, words),
      ...filterFunctions(model, family, words),
      ...exportFunctions(model, family, words),
      ...kernelFilter(model, family, words),
      ...kernelProtocol(family),
    ]),
    ...(peers.some(({ peer }) => peer.bfd) ? ["protocol bfd {", "}", ""] : []),
    ...(peers.length > 0 ? peerTemplate(model) : []),
    ...peers.flatMap(({ family, peer }) => peerProtocol(model, family, peer, words)),
  ];
  words.check();
  return { "bird.cfg": `${lines.join("\n")}\n` };
}

/**
 * The node without the sessions that BIRD's language cannot say (a password with a quotation mark), and why each is missing: {@link renderBird2}
 * would refuse all the others with them.
 */
export function sayable(model: NodeBgp): { readonly model: NodeBgp; readonly problems: readonly string[] } {
  const problems: string[] = [];
  const family = (of: Family) => {
    const bgp = familyOf(model, of);
    // Where the node has no address of the family there are no sessions to be left out.
    if (bgp.address === undefined) return bgp;
    const peers = bgp.peers.filter((peer) => {
      const words = new Words();
      peerProtocol(model, of, peer, words);
      for (const why of words.unsayable) problems.push(`${why}; there is no session with ${peer.address}`);
      return words.unsayable.length === 0;
    });
    return peers.length === bgp.peers.length ? bgp : { ...bgp, peers };
  };
  const [ipv4, ipv6] = [family(4), family(6)];
  return problems.length === 0 ? { model, problems } : { model: { ...model, ipv4, ipv6 }, problems };
}

function sessionsOf(model: NodeBgp, family: Family): readonly Peer[] {
  const bgp = familyOf(model, family);
  return bgp.address === undefined ? [] : bgp.peers;
}

/** What the configuration asks for and plain BIRD cannot do, in words for the user. */
export function bird2Problems(model: NodeBgp): string[] {
  const pools = model.ipv4.programs.ipip ? model.ipv4.pools : [];
  return pools
    .filter(({ encapsulation }) => encapsulation === "ipip" || encapsulation === "ipip-cross-subnet")
    .map(
      ({ cidr }) =>
        `IPPool ${cidr}: BIRD 2 cannot program routes through an IPIP tunnel, so those are missing; set BGPConfiguration.programClusterRoutes to EnabledNoEncapOnly and leave them to the agent`,
    );
}
