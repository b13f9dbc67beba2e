/** This node's own routes: the same as in BIRD 1.6's aggregation file. */

import type { Family, NodeBgp } from "../../model/index.ts";
import { staticRoutes } from "../bird1/aggregation.ts";
import { indent } from "../sections.ts";
import { ofResource, type Words } from "../words.ts";

export function staticProtocol(model: NodeBgp, family: Family, words: Words): string[] {
  return [
    ofResource(`blocks and services of node ${model.node}`),
    `protocol static static${family} {`,
    ...indent(2, [`ipv${family};`, ...staticRoutes(model, family, words)]),
    "}",
    "",
  ];
}
