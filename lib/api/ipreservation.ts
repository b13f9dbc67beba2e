import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    reservedCIDRs: s.optional(
      s.array(s.string({ format: "cidr-or-ip" }), {
        doc: "Addresses that are not assigned automatically, as CIDRs.",
        unique: true,
      }),
    ),
  }),
);

export type IPReservationSpec = s.Infer<ReturnType<typeof spec>>;
export type IPReservation = Resource<"IPReservation", IPReservationSpec>;

/** Addresses that IPAM must not assign on its own. Addresses that are in use already stay in use. */
export const IPReservation: Kind<IPReservation> = {
  kind: "IPReservation",
  apiVersion: API_VERSION,
  plural: "ipreservations",
  namespaced: false,
  aliases: ["reservation", "reservations"],
  doc: "Addresses that IPAM must not assign on its own. Addresses that are in use already stay in use.",
  get spec() {
    return spec();
  },
  get columns(): Columns<IPReservation> {
    return [
      { title: "NAME", value: (reservation) => reservation.metadata.name },
      { title: "CIDRS", wide: true, value: (reservation) => shortened(reservation.spec.reservedCIDRs ?? []) },
    ];
  },
};

/** How long the list in a table may be, in characters. */
const LONGEST = 80;

function shortened(cidrs: readonly string[]): string {
  const text = cidrs.join(",");
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text;
}
