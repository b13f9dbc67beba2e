import { conditions } from "./condition.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    // Older Calicos stored tiers without it, the default one among them. Read or written, such a tier is given this order by upstream's
    // clients and by its Kubernetes datastore (libcalico-go/lib/resources/tier.go).
    order: s.withDefault(s.number({ doc: "Tiers apply from the lowest order to the highest." }), 1_000_000),
    defaultAction: s.withDefault(
      s.oneOf(["Pass", "Deny"], {
        doc: "What happens to packets of an endpoint that the tier's policies select but no rule matches.",
      }),
      "Deny",
    ),
  }),
);

const status = s.lazy(() => s.object({ conditions: conditions("What is true of the tier at present: Ready.") }));

export type TierSpec = s.Infer<ReturnType<typeof spec>>;
export type TierStatus = s.Infer<ReturnType<typeof status>>;
export type Tier = Resource<"Tier", TierSpec, TierStatus>;

/** The tiers that cannot be deleted, and what they must be (api/pkg/apis/projectcalico/v3/tier.go). */
export const BUILT_IN = [
  { name: "default", order: 1_000_000, defaultAction: "Deny" },
  { name: "kube-admin", order: 1_000, defaultAction: "Pass" },
  { name: "kube-baseline", order: 10_000_000, defaultAction: "Pass" },
] as const;

/** A stage of policies; tiers are walked in their order until one decides. */
export const Tier: Kind<Tier> = {
  kind: "Tier",
  apiVersion: API_VERSION,
  plural: "tiers",
  namespaced: false,
  aliases: [],
  doc: "A stage of policies; tiers are walked in their order until one decides.",
  get spec() {
    return spec();
  },
  get status() {
    return status();
  },
  names: "label-name",
  compare: (a, b) => a.spec.order - b.spec.order,
  check(tier) {
    const builtIn = BUILT_IN.find(({ name }) => name === tier.metadata.name);
    if (!builtIn) return [];
    return (["order", "defaultAction"] as const)
      .filter((field) => tier.spec[field] !== builtIn[field])
      .map((field) => ({
        path: `spec.${field}`,
        value: tier.spec[field],
        message: `must be ${builtIn[field]} in the tier ${builtIn.name}`,
      }));
  },
  refuseDelete: (name) => (isBuiltInTier(name) ? `the tier ${name} is built in and cannot be deleted` : undefined),
  get columns(): Columns<Tier> {
    return [
      { title: "NAME", value: (tier) => tier.metadata.name },
      { title: "ORDER", value: (tier) => String(tier.spec.order) },
    ];
  },
};

/** The tiers that every datastore has, as they are first written, in the order in which upstream writes them. */
export function builtInTiers(): Tier[] {
  return BUILT_IN.map(({ name, order, defaultAction }) => ({
    apiVersion: API_VERSION,
    kind: "Tier",
    metadata: { name },
    spec: { order, defaultAction },
  }));
}

/** Whether a tier of this name is one that must not be deleted. */
export function isBuiltInTier(name: string): boolean {
  return BUILT_IN.some((tier) => tier.name === name);
}
