/** Routes of a family between BIRD's table and the kernel's. */
import { type Family, type FamilyBgp, familyOf, type NodeBgp, type Pool } from "../../model/index.ts";
import { indent, metricBody, poolStatement, wireguardBody, within } from "../sections.ts";
import { byText, ofResource, type Words } from "../words.ts";

export function kernelFilter(model: NodeBgp, family: Family, words: Words): string[] {
  const bgp = familyOf(model, family);
  return [
    ofResource("IPPools and services"),
    `filter calico_kernel_v${family} {`,
    ...indent(2, [
      // BIRD 1.6 keeps networks of interfaces to itself (`device routes no`); BIRD 2 would put its own in place of the kernel's.
      "if (source = RTS_DEVICE) then reject;",
      ...within(bgp.notProgrammed, family, "reject", "service address", words),
      ...metricBody(model, family, words),
      ...wireguardBody(bgp, words),
      ...poolsIntoKernel(bgp, words),
      "accept;",
    ]),
    "}",
    "",
  ];
}

/** Metric 0: that of the route (`krt_metric`) counts, not the protocol's, which is 32 unless told otherwise. */
export function kernelProtocol(family: Family): string[] {
  return [
    `protocol kernel kernel${family} {`,
    ...indent(2, [
      "learn;",
      "persist;",
      "scan time 2;",
      "metric 0;",
      "graceful restart on;",
      "merge paths on;",
      `ipv${family} {`,
      "  import all;",
      `  export filter calico_kernel_v${family};`,
      "};",
    ]),
    "}",
    "",
  ];
}

/** As in BIRD 1.6: without the node's own subnet, IPv4 pools decide nothing. */
function poolsIntoKernel(bgp: FamilyBgp, words: Words): string[] {
  if (bgp.family === 4 && bgp.subnet === undefined) return [];
  return bgp.pools
    .flatMap((pool) => {
      const body = kernelStatement(bgp, pool, words);
      return bgp.family === 6 && body === "accept;" ? [] : [poolStatement(bgp, pool.cidr, body, words)];
    })
    .toSorted(byText);
}

/** Of an IPIP pool, BIRD 2 can program what needs no tunnel: blocks of this node, and of nodes on its subnet where the pool asks for that. */
function kernelStatement(bgp: FamilyBgp, pool: Pool, words: Words): string {
  switch (pool.encapsulation) {
    case "none":
      return bgp.programs.noEncap ? "accept;" : "reject;";
    case "vxlan":
    case "vxlan-cross-subnet":
      return "reject;";
  }
  if (!bgp.programs.ipip) return "reject;";
  if (pool.encapsulation === "ipip" || bgp.subnet === undefined) return "if (source = RTS_BGP) then reject; accept;";
  const subnet = words.cidr(bgp.subnet, bgp.family, "Node: subnet");
  return `if (source = RTS_BGP && !(bgp_next_hop ~ ${subnet})) then reject; accept;`;
}
