import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { hasPorts } from "./protocol.ts";
import * as s from "./schema.ts";

const port = s.lazy(() =>
  s.object({
    name: s.string({ doc: "What rules call the port.", format: "port-name" }),
    protocol: s.intOrString("protocol", { doc: "TCP, UDP or SCTP." }),
    port: s.integer({ doc: "The port of the host.", min: 1, max: 65535 }),
  }),
);

const spec = s.lazy(() =>
  s.object({
    node: s.optional(s.string({ doc: "The node whose interface it is.", format: "name", maxLength: 253 })),
    interfaceName: s.optional(
      s.string({
        doc: "The interface of the host; * for all traffic of the host on whatever interface, that of its workloads included. Absent: the interface that has one of expectedIPs.",
        format: "interface",
        maxLength: 15,
      }),
    ),
    expectedIPs: s.optional(
      s.array(s.string({ format: "ip" }), {
        doc: "The interface's addresses: by which it is found where interfaceName is absent, and which stand for the endpoint where a rule's selector matches it.",
        unique: true,
      }),
    ),
    profiles: s.optional(
      s.array(s.string({ format: "name" }), {
        doc: "Profiles whose rules apply after those of policies, in this order.",
        unique: true,
      }),
    ),
    ports: s.optional(s.array(port(), { doc: "Named ports, to which rules may refer." })),
  }),
);

export type HostEndpointSpec = s.Infer<ReturnType<typeof spec>>;
export type HostEndpoint = Resource<"HostEndpoint", HostEndpointSpec>;

/** One interface of a node, or all of them, to which policies apply. */
export const HostEndpoint: Kind<HostEndpoint> = {
  kind: "HostEndpoint",
  apiVersion: API_VERSION,
  plural: "hostendpoints",
  namespaced: false,
  aliases: ["hep", "heps"],
  doc: "One interface of a node, or all of them, to which policies apply.",
  get spec() {
    return spec();
  },
  check,
  get columns(): Columns<HostEndpoint> {
    return [
      { title: "NAME", value: (endpoint) => endpoint.metadata.name },
      { title: "NODE", value: ({ spec }) => spec.node ?? "" },
      { title: "INTERFACE", wide: true, value: ({ spec }) => spec.interfaceName ?? "" },
      { title: "IPS", wide: true, value: ({ spec }) => (spec.expectedIPs ?? []).join(",") },
      { title: "PROFILES", wide: true, value: ({ spec }) => (spec.profiles ?? []).join(",") },
    ];
  },
};

/** The rules of upstream's CRD and validator (hostendpoint.go, validateEndpointPort). */
function check({ spec }: HostEndpoint): s.Problem[] {
  const problems: s.Problem[] = [];
  if (!spec.node) {
    problems.push({ path: "spec.node", value: undefined, message: "is missing; it must be the name of a node" });
  }
  if (!spec.interfaceName && (spec.expectedIPs ?? []).length === 0) {
    const message = "is missing; it must be an interface or *, unless expectedIPs has the interface's addresses";
    problems.push({ path: "spec.interfaceName", value: undefined, message });
  }
  for (const [i, { protocol }] of (spec.ports ?? []).entries()) {
    if (hasPorts(protocol)) continue;
    const message = "must be one that has ports: TCP, UDP or SCTP";
    problems.push({ path: `spec.ports[${i}].protocol`, value: protocol, message });
  }
  return problems;
}
