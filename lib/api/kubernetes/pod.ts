import type { V1PodSpec, V1PodStatus } from "@kubernetes/client-node";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import { partOf } from "./checks.ts";
import { listText } from "./columns.ts";
import type { Json } from "./json.ts";

export interface Pod extends Resource<"Pod"> {
  spec: Json<V1PodSpec>;
  status?: Json<V1PodStatus>;
}

const port = s.lazy(() =>
  s.object({
    name: s.optional(s.string({ format: "port-name" })),
    containerPort: s.integer({ min: 1, max: 65535 }),
    protocol: s.optional(s.oneOf(["TCP", "UDP", "SCTP"])),
    hostPort: s.optional(s.integer({ min: 0, max: 65535 })),
    hostIP: s.optional(s.string()),
  }),
);

const spec = partOf<Pod["spec"]>(() =>
  s.object({
    containers: s.array(s.object({ name: s.string({ format: "label-name" }), ports: s.optional(s.array(port())) })),
    initContainers: s.optional(
      s.array(s.object({ name: s.string({ format: "label-name" }), ports: s.optional(s.array(port())) })),
    ),
    nodeName: s.optional(s.string()),
    serviceAccountName: s.optional(s.string()),
    hostNetwork: s.optional(s.boolean()),
  }),
);

const addresses = () => s.optional(s.array(s.object({ ip: s.optional(s.string()) })));

const status = partOf<NonNullable<Pod["status"]>>(() =>
  s.object({ phase: s.optional(s.string()), podIP: s.optional(s.string()), podIPs: addresses(), hostIPs: addresses() }),
);

/** Containers with one network. Only a record here: nothing runs them. */
export const Pod: Kind<Pod> = {
  kind: "Pod",
  apiVersion: "v1",
  plural: "pods",
  namespaced: true,
  aliases: ["po"],
  doc: "Containers with one network. Only a record here: nothing runs them.",
  verbatim: true,
  get spec() {
    return spec();
  },
  get status() {
    return status();
  },
  check({ spec: { containers } }) {
    return containers.length > 0
      ? []
      : [{ path: "spec.containers", value: undefined, message: "must have at least one container" }];
  },
  get columns(): Columns<Pod> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "STATUS", value: ({ status }) => status?.phase ?? "<none>" },
      { title: "IP", wide: true, value: ({ status }) => listText(addressesOf(status)) },
      { title: "NODE", wide: true, value: ({ spec }) => spec.nodeName ?? "<none>" },
    ];
  },
};

function addressesOf(status: Pod["status"]): string[] {
  const several = (status?.podIPs ?? []).map(({ ip }) => ip).filter((ip) => ip !== undefined);
  return several.length > 0 ? several : status?.podIP ? [status.podIP] : [];
}
