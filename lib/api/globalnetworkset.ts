import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { checkNetworkSet, type NetworkSetSpec, networkSetColumns, networkSetSpec } from "./networkset.ts";

export type GlobalNetworkSetSpec = NetworkSetSpec;
export type GlobalNetworkSet = Resource<"GlobalNetworkSet", GlobalNetworkSetSpec>;

/** Networks under common labels, which rules of any policy select as they select endpoints. */
export const GlobalNetworkSet: Kind<GlobalNetworkSet> = {
  kind: "GlobalNetworkSet",
  apiVersion: API_VERSION,
  plural: "globalnetworksets",
  namespaced: false,
  aliases: ["gnetsets"],
  doc: "Networks under common labels, which rules of any policy select as they select endpoints.",
  get spec() {
    return networkSetSpec();
  },
  check: checkNetworkSet,
  get columns(): Columns<GlobalNetworkSet> {
    return networkSetColumns();
  },
};
