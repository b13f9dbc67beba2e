import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { isPlain } from "./plain.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    clusterGUID: s.optional(
      s.string({ doc: "Identifies the cluster: 32 hexadecimal digits, made when it is first written." }),
    ),
    clusterType: s.optional(s.string({ doc: "What the cluster is made of, separated by commas: k8s,bgp,kdd." })),
    calicoVersion: s.optional(s.string({ doc: "The version that runs in the cluster." })),
    datastoreReady: s.optional(
      s.boolean({ doc: "False while the datastore is being migrated: nothing is attached meanwhile." }),
    ),
    variant: s.optional(s.string({ doc: "Which variant of Calico is active." })),
  }),
);

export type ClusterInformationSpec = s.Infer<ReturnType<typeof spec>>;
export type ClusterInformation = Resource<"ClusterInformation", ClusterInformationSpec>;

/** What this cluster is. There is one, named `default`; it is made when a datastore is first used. */
export const ClusterInformation: Kind<ClusterInformation> = {
  kind: "ClusterInformation",
  apiVersion: API_VERSION,
  plural: "clusterinformations",
  namespaced: false,
  aliases: ["clusterinfo", "clusterinfos"],
  doc: "What this cluster is. There is one, named default; it is made when a datastore is first used.",
  singleton: "default",
  get spec() {
    return spec();
  },
  managed: true,
  isPlain: (information, stored) =>
    isPlain(
      information,
      { clusterGUID: "text", clusterType: "text", calicoVersion: "text", datastoreReady: "boolean", variant: "text" },
      stored,
    ),
  get columns(): Columns<ClusterInformation> {
    return [
      { title: "NAME", value: (information) => information.metadata.name },
      { title: "CLUSTERGUID", value: (information) => information.spec.clusterGUID ?? "" },
      { title: "CLUSTERTYPE", value: (information) => information.spec.clusterType ?? "" },
      { title: "CALICOVERSION", value: (information) => information.spec.calicoVersion ?? "" },
      { title: "DATASTOREREADY", value: (information) => String(information.spec.datastoreReady ?? "<nil>") },
    ];
  },
};

/** The object as it is first written: a new GUID, and the datastore ready. */
export function newClusterInformation(fields: { calicoVersion: string; clusterType: string }): ClusterInformation {
  return {
    apiVersion: API_VERSION,
    kind: "ClusterInformation",
    metadata: { name: "default" },
    spec: {
      clusterGUID: crypto.randomUUID().replaceAll("-", ""),
      ...(fields.clusterType === "" ? {} : { clusterType: fields.clusterType }),
      calicoVersion: fields.calicoVersion,
      datastoreReady: true,
    },
  };
}
