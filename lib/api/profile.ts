import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { PROFILE_KEY } from "./names.ts";
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

const DEFAULT_ALLOW = PROFILE_KEY.builtIn.name;

/** Labels and rules that endpoints inherit by naming the profile; on Kubernetes there is one a namespace and one a service account. */
export const Profile: Kind<Profile> = {
  ...PROFILE_KEY,
  apiVersion: API_VERSION,
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
  builtIn: {
    name: DEFAULT_ALLOW,
    make: () => ({
      apiVersion: API_VERSION,
      kind: "Profile",
      metadata: { name: DEFAULT_ALLOW, resourceVersion: "1" },
      spec: { ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] },
    }),
    // Upstream's words (libcalico-go/lib/clientv3/profile.go).
    refusal: (op) =>
      op === "create"
        ? `${DEFAULT_ALLOW} already exists. The profile "${DEFAULT_ALLOW}" is default provided by Calico`
        : `The profile "${DEFAULT_ALLOW}" is a default provided by Calico and cannot be ${op}d`,
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
