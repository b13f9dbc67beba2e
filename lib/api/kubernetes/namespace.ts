import type { V1NamespaceSpec, V1NamespaceStatus } from "@kubernetes/client-node";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import { NO_SPEC } from "./checks.ts";
import { labelsText } from "./columns.ts";
import type { Json } from "./json.ts";

export interface Namespace extends Resource<"Namespace"> {
  spec?: Json<V1NamespaceSpec>;
  status?: Json<V1NamespaceStatus>;
}

/** The label that every Namespace has, so that selectors can name it. Its value is the name, whatever a file says. */
const NAME_LABEL = "kubernetes.io/metadata.name";

/** Where namespaced objects lie, and whose labels its pods inherit in policies. */
export const Namespace: Kind<Namespace> = {
  kind: "Namespace",
  apiVersion: "v1",
  plural: "namespaces",
  namespaced: false,
  aliases: ["ns"],
  doc: "Where namespaced objects lie, and whose labels its pods inherit in policies.",
  verbatim: true,
  spec: NO_SPEC,
  names: "label-name",
  complete({ metadata }) {
    if (!metadata?.name || typeof (metadata.labels ?? {}) !== "object") return;
    metadata.labels = { ...metadata.labels, [NAME_LABEL]: metadata.name };
  },
  get columns(): Columns<Namespace> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "LABELS", wide: true, value: ({ metadata }) => labelsText(metadata.labels) },
    ];
  },
};
