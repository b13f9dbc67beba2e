import type { V1LocalObjectReference, V1ObjectReference } from "@kubernetes/client-node";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import { NO_SPEC } from "./checks.ts";
import type { Json } from "./json.ts";

export interface ServiceAccount extends Resource<"ServiceAccount"> {
  automountServiceAccountToken?: boolean;
  secrets?: Json<V1ObjectReference>[];
  imagePullSecrets?: Json<V1LocalObjectReference>[];
}

const fields = s.lazy(() =>
  s.object({
    automountServiceAccountToken: s.optional(s.boolean()),
    secrets: s.optional(s.array(s.object({ name: s.optional(s.string()) }))),
    imagePullSecrets: s.optional(s.array(s.object({ name: s.optional(s.string()) }))),
  }),
);

/** Who a pod is, and whose labels it inherits in policies. */
export const ServiceAccount: Kind<ServiceAccount> = {
  kind: "ServiceAccount",
  apiVersion: "v1",
  plural: "serviceaccounts",
  namespaced: true,
  aliases: ["sa"],
  doc: "Who a pod is, and whose labels it inherits in policies.",
  verbatim: true,
  spec: NO_SPEC,
  get fields() {
    return fields();
  },
  get columns(): Columns<ServiceAccount> {
    return [{ title: "NAME", value: ({ metadata }) => metadata.name }];
  },
};
