/** What goes out to peers of a family: `calico_export_v4(bool internal_peer)`, which accepts, rejects, or leaves it to its caller. */
import { type Family, familyOf, type NodeBgp } from "../../model/index.ts";
import {
  aggregationBody,
  communitiesBody,
  indent,
  poolExport,
  reflectedRanges,
  rejectLocalBody,
  tunnelBody,
  within,
} from "../sections.ts";
import { ofResource, type Words } from "../words.ts";

export function exportFunction(family: Family): string {
  return `calico_export_v${family}`;
}

export function exportFunctions(model: NodeBgp, family: Family, words: Words): string[] {
  const bgp = familyOf(model, family);
  return [
    ofResource(`block affinities of node ${model.node}`),
    `function calico_aggr_v${family}() {`,
    ...indent(2, aggregationBody(model, family, words)),
    "}",
    "",
    ofResource("IPPools, services and BGPConfiguration"),
    `function ${exportFunction(family)}(bool internal_peer) {`,
    ...indent(2, [
      ...poolExport(bgp, false, words),
      "if (internal_peer) then {",
      ...indent(2, tunnelBody(bgp)),
      "}",
      ...rejectLocalBody(),
      ...communitiesBody(bgp, words),
      `calico_aggr_v${family}();`,
      ...within(bgp.services, family, "accept", "service address", words),
      ...reflectedRanges(model, bgp, words),
      ...poolExport(bgp, true, words),
    ]),
    "}",
    "",
  ];
}
