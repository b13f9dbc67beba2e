import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { isPlain } from "./plain.ts";
import { arePlainRules, checkRules, rules } from "./rule.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    ingress: rules("What may reach endpoints that refer to the profile."),
    egress: rules("What endpoints that refer to the profile may reach."),
    labelsToApply: s.optional(
      s.map(s.string(), { doc: "Labels of endpoints that refer to the profile; their own labels win.", labels: true }),
    ),
  }),
);

export type ProfileSpec = s.Infer<ReturnType<typeof spec>>;
export type Profile = Resource<"Profile", ProfileSpec>;

/** Labels and rules that endpoints inherit by naming the profile; on Kubernetes there is one a namespace and one a service account. */
export const Profile: Kind<Profile> = {
  kind: "Profile",
  apiVersion: API_VERSION,
  plural: "profiles",
  namespaced: false,
  aliases: ["pro", "pros"],
  doc: "Labels and rules that endpoints inherit by naming the profile.",
  get spec() {
    return spec();
  },
  // What the plugin writes for a network.
  isPlain(profile, stored) {
    if (!stored || typeof profile !== "object" || profile === null) return false;
    const { ingress = [], egress = [], ...others } = profile as Partial<ProfileSpec>;
    return (
      isPlain(others, { labelsToApply: { mapOf: "labels" } }, stored) && arePlainRules(ingress) && arePlainRules(egress)
    );
  },
  check: ({ spec }) => [
    ...checkRules(spec.ingress ?? [], "spec.ingress", "ingress"),
    ...checkRules(spec.egress ?? [], "spec.egress", "egress"),
  ],
  get columns(): Columns<Profile> {
    return [
      { title: "NAME", value: (profile) => profile.metadata.name },
      { title: "LABELS", wide: true, value: (profile) => labelsText(profile.spec.labelsToApply ?? {}) },
    ];
  },
};

const labelsText = (labels: Readonly<Record<string, string>>): string =>
  Object.keys(labels)
    .map((key) => `${key}=${labels[key]}`)
    .sort()
    .join(",");
