/** bird_ipam.cfg, bird6_ipam.cfg: what goes to peers, and what into the kernel, by pools. */
import { type Family, type FamilyBgp, familyOf, type NodeBgp, type Pool } from "../../model/index.ts";
import {
  indent,
  metricBody,
  poolExport,
  poolStatement,
  reflectedRanges,
  rejectLocalBody,
  tunnelBody,
  wireguardBody,
  within,
} from "../sections.ts";
import { byText, ofResource, type Words } from "../words.ts";

export function ipamFile(model: NodeBgp, family: Family, words: Words): string[] {
  const bgp = familyOf(model, family);
  return [
    "function reject_local_routes () {",
    ...indent(2, rejectLocalBody()),
    "}",
    "",
    ofResource("IPPools, services and BGPConfiguration"),
    "function calico_export_to_bgp_peers(bool internal_peer) {",
    ...indent(2, [
      ...poolExport(bgp, false, words),
      "if (internal_peer) then {",
      ...indent(2, tunnelBody(bgp)),
      "}",
      "reject_local_routes();",
      "apply_communities();",
      "calico_aggr();",
      ...within(bgp.services, family, "accept", "service address", words),
      ...reflectedRanges(model, bgp, words),
      ...poolExport(bgp, true, words),
    ]),
    "}",
    "",
    "filter calico_kernel_programming {",
    ...indent(2, [
      ...within(bgp.notProgrammed, family, "reject", "service address", words),
      ...metricBody(model, family, words),
      ...wireguardBody(bgp, words),
      ...poolsIntoKernel(bgp, words),
      "accept;",
    ]),
    "}",
  ];
}

/** IPv6 has rejections only, as acceptance is what is at the end anyway; IPv4 needs to know the node's own subnet, and says nothing without. */
function poolsIntoKernel(bgp: FamilyBgp, words: Words): string[] {
  if (bgp.family === 4 && bgp.subnet === undefined) return [];
  return bgp.pools
    .flatMap((pool) => {
      const body = kernelStatement(bgp, pool, words);
      return bgp.family === 6 && body !== "reject;" ? [] : [poolStatement(bgp, pool.cidr, body, words)];
    })
    .toSorted(byText);
}

function kernelStatement(bgp: FamilyBgp, pool: Pool, words: Words): string {
  switch (pool.encapsulation) {
    case "none":
      return bgp.programs.noEncap ? "accept;" : "reject;";
    case "vxlan":
    case "vxlan-cross-subnet":
      return "reject;";
  }
  if (!bgp.programs.ipip) return "reject;";
  if (bgp.family === 6 || bgp.subnet === undefined) return "accept;";
  if (pool.encapsulation === "ipip") return 'krt_tunnel="tunl0"; accept;';
  const subnet = words.cidr(bgp.subnet, bgp.family, "Node: subnet");
  return `if (defined(bgp_next_hop)&&(bgp_next_hop ~ ${subnet})) then krt_tunnel=""; else krt_tunnel="tunl0"; accept;`;
}
