import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

/** The spec of a set in a namespace and of one in none. */
export const networkSetSpec = s.lazy(() =>
  s.object({
    nets: s.optional(
      s.array(s.string({ format: "cidr-or-ip" }), {
        doc: "The networks of the set, as CIDRs; a single address is a /32 or /128.",
        unique: true,
      }),
    ),
  }),
);

export type NetworkSetSpec = s.Infer<ReturnType<typeof networkSetSpec>>;
export type NetworkSet = Resource<"NetworkSet", NetworkSetSpec>;

/** Networks under common labels, which rules of policies in the same namespace select as they select endpoints. */
export const NetworkSet: Kind<NetworkSet> = {
  kind: "NetworkSet",
  apiVersion: API_VERSION,
  plural: "networksets",
  namespaced: true,
  aliases: ["netsets"],
  doc: "Networks under common labels, which rules of policies in the same namespace select as they select endpoints.",
  get spec() {
    return networkSetSpec();
  },
  check: checkNetworkSet,
  get columns(): Columns<NetworkSet> {
    return networkSetColumns();
  },
};

/** The label that says the namespace of an endpoint; a set gets it from where it is. */
const NAMESPACE_LABEL = "projectcalico.org/namespace";

/** Rules that both kinds of sets have. */
export function checkNetworkSet({ metadata }: Resource): s.Problem[] {
  const value = metadata.labels?.[NAMESPACE_LABEL];
  if (value === undefined) return [];
  const path = `metadata.labels["${NAMESPACE_LABEL}"]`;
  return [{ path, value, message: "is kept for the namespace of the object itself; use another label" }];
}

/** How long the list in a table may be, in characters. */
const LONGEST = 80;

/** The columns of `calicoctl get` for both kinds of sets. */
export function networkSetColumns<R extends Resource<string, NetworkSetSpec>>(): Columns<R> {
  return [
    { title: "NAME", value: (set) => set.metadata.name },
    {
      title: "NETS",
      wide: true,
      value: ({ spec }) => {
        const text = (spec.nets ?? []).join(",");
        return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text;
      },
    },
  ];
}
