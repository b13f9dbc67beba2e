import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    strictAffinity: s.withDefault(
      s.boolean({ doc: "A node assigns only from its own blocks and never borrows from another's." }),
      false,
    ),
    autoAllocateBlocks: s.withDefault(s.boolean({ doc: "Nodes claim further blocks on their own." }), true),
    maxBlocksPerHost: s.withDefault(
      s.integer({
        doc: "How many blocks may be affine to one node; 0 for no limit but the built-in one of 20 a request.",
        min: 0,
        max: 1_000_000,
      }),
      0,
    ),
    kubeVirtVMAddressPersistence: s.withDefault(
      s.oneOf(["Enabled", "Disabled"], {
        doc: "A KubeVirt virtual machine keeps its address when its pod is made anew.",
      }),
      "Enabled",
    ),
    ipCooldownSeconds: s.withDefault(
      s.integer({
        doc: "How long a released address is held back before it is assigned again.",
        unit: "seconds",
        min: 0,
        max: 1200,
      }),
      0,
    ),
  }),
);

export type IPAMConfigurationSpec = s.Infer<ReturnType<typeof spec>>;
export type IPAMConfiguration = Resource<"IPAMConfiguration", IPAMConfigurationSpec>;

/** Cluster-wide settings of IPAM. There is one, named `default`; when it is absent, every field has its default. */
export const IPAMConfiguration: Kind<IPAMConfiguration> = {
  kind: "IPAMConfiguration",
  apiVersion: API_VERSION,
  plural: "ipamconfigurations",
  namespaced: false,
  aliases: ["ipamconfig", "ipamconfigs"],
  doc: "Cluster-wide settings of IPAM. There is one, named default; when it is absent, every field has its default.",
  singleton: "default",
  get spec() {
    return spec();
  },
  check(configuration) {
    const { strictAffinity, autoAllocateBlocks, maxBlocksPerHost } = configuration.spec;
    const problems: s.Problem[] = [];
    if (!strictAffinity && !autoAllocateBlocks) {
      const message =
        "cannot be false together with strictAffinity: a node could then only borrow; set one of them to true";
      problems.push({ path: "spec.autoAllocateBlocks", value: false, message });
    }
    if (maxBlocksPerHost > 0 && !strictAffinity) {
      const message =
        "needs strictAffinity true: a node at its limit would otherwise borrow without limit; set it, or 0 here";
      problems.push({ path: "spec.maxBlocksPerHost", value: maxBlocksPerHost, message });
    }
    return problems;
  },
  get columns(): Columns<IPAMConfiguration> {
    return [
      { title: "NAME", value: (configuration) => configuration.metadata.name },
      { title: "STRICTAFFINITY", value: (configuration) => String(configuration.spec.strictAffinity) },
      { title: "AUTOALLOCATEBLOCKS", value: (configuration) => String(configuration.spec.autoAllocateBlocks) },
      { title: "MAXBLOCKSPERHOST", wide: true, value: (configuration) => String(configuration.spec.maxBlocksPerHost) },
    ];
  },
};

/** The configuration of a cluster that has none stored. */
export function defaultIPAMConfiguration(): IPAMConfiguration {
  return {
    apiVersion: API_VERSION,
    kind: "IPAMConfiguration",
    metadata: { name: "default" },
    spec: s.applyDefaults(spec(), {}),
  };
}
