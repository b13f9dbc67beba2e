/** BIRD 1.6, one daemon a family: what upstream's confd generates. */
import type { Family, NodeBgp } from "../../model/index.ts";
import { Words } from "../words.ts";
import { aggregationFile } from "./aggregation.ts";
import { ipamFile } from "./ipam.ts";
import { mainFile } from "./main.ts";

export const BIRD1_FILES = [
  "bird.cfg",
  "bird6.cfg",
  "bird_aggr.cfg",
  "bird6_aggr.cfg",
  "bird_ipam.cfg",
  "bird6_ipam.cfg",
] as const;

export type Bird1File = (typeof BIRD1_FILES)[number];

/**
 * The six files of upstream's confd, line for line; `bird.cfg` and `bird6.cfg` are the daemons' own and include the others from the same folder.
 * Lines that only upstream's fork of BIRD takes (`krt_tunnel`) are there exactly when BGP programs routes to IPIP pools (`programs.ipip`); those for BFD,
 * which upstream does not have, when a peer asks for it.
 *
 * Throws {@link BirdError} `BIRD_UNSAYABLE`.
 */
export function renderBird1(model: NodeBgp): Record<Bird1File, string> {
  const words = new Words();
  const file = (render: (model: NodeBgp, family: Family, words: Words) => string[], family: Family): string =>
    `${["# Made by Calico from its resources: changes are lost.", ...render(model, family, words)].join("\n")}\n`;
  const files = {
    "bird.cfg": file(mainFile, 4),
    "bird6.cfg": file(mainFile, 6),
    "bird_aggr.cfg": file(aggregationFile, 4),
    "bird6_aggr.cfg": file(aggregationFile, 6),
    "bird_ipam.cfg": file(ipamFile, 4),
    "bird6_ipam.cfg": file(ipamFile, 6),
  };
  words.check();
  return files;
}
