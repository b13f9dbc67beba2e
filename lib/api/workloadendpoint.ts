import { hostCidr, sameCidr, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { endpointName } from "./names.ts";
import { isPlain } from "./plain.ts";
import { hasPorts } from "./protocol.ts";
import * as s from "./schema.ts";

const port = s.lazy(() =>
  s.object({
    name: s.withDefault(s.string({ doc: "What rules call the port.", format: "port-name" }), ""),
    protocol: s.intOrString("protocol", { doc: "TCP, UDP, SCTP or another protocol." }),
    port: s.integer({ doc: "The port in the workload.", min: 1, max: 65535 }),
    hostPort: s.withDefault(
      s.integer({ doc: "The port of the node that leads to it; 0: none.", min: 0, max: 65535 }),
      0,
    ),
    hostIP: s.withDefault(
      s.string({ doc: "The address of the node on which hostPort listens; empty: all.", format: "net" }),
      "",
    ),
  }),
);

const limit = (doc: string, unit: string, max = Number.MAX_SAFE_INTEGER) =>
  s.optional(s.integer({ doc, unit, min: 0, max }));

const qosControls = s.lazy(() =>
  s.object({
    ingressBandwidth: limit("Rate limit towards the workload.", "bits per second"),
    ingressBurst: limit("Burst size towards the workload.", "bits"),
    ingressPeakrate: limit("Peak rate towards the workload.", "bits per second"),
    ingressMinburst: limit("Size of bursts at the peak rate; 0: the MTU.", "bytes"),
    egressBandwidth: limit("Rate limit from the workload.", "bits per second"),
    egressBurst: limit("Burst size from the workload.", "bits"),
    egressPeakrate: limit("Peak rate from the workload.", "bits per second"),
    egressMinburst: limit("Size of bursts at the peak rate; 0: the MTU.", "bytes"),
    ingressPacketRate: limit("Packet limit towards the workload.", "packets per second", 10_000),
    ingressPacketBurst: limit("Packets beyond the rate at once.", "packets", 10_000),
    egressPacketRate: limit("Packet limit from the workload.", "packets per second", 10_000),
    egressPacketBurst: limit("Packets beyond the rate at once.", "packets", 10_000),
    ingressMaxConnections: limit("Connections to the workload at one time.", "connections", 4294967295),
    egressMaxConnections: limit("Connections from the workload at one time.", "connections", 4294967295),
    dscp: s.optional(
      s.intOrString("dscp", { doc: "Differentiated services code point of packets that leave the cluster." }),
    ),
  }),
);

const spec = s.lazy(() =>
  s.object({
    orchestrator: s.optional(s.string({ doc: "k8s, cni, or another orchestrator.", format: "name" })),
    workload: s.optional(
      s.string({ doc: "The workload's name where the orchestrator is neither k8s nor cni.", format: "name" }),
    ),
    node: s.optional(s.string({ doc: "The node it runs on.", format: "name" })),
    containerID: s.optional(
      s.string({ doc: "The container runtime's ID of the pod sandbox.", format: "container-id" }),
    ),
    pod: s.optional(s.string({ doc: "The pod's name.", format: "name" })),
    endpoint: s.optional(s.string({ doc: "The interface inside the workload: eth0.", format: "name" })),
    serviceAccountName: s.optional(s.string({ doc: "The pod's service account.", format: "name" })),
    ipNetworks: s.optional(s.array(s.string({ format: "net" }), { doc: "The endpoint's addresses, as /32 and /128." })),
    ipNATs: s.optional(
      s.array(
        s.object({
          internalIP: s.string({ doc: "One of the endpoint's addresses.", format: "ip" }),
          externalIP: s.string({ doc: "The address that leads to it.", format: "ip" }),
        }),
        { doc: "One-to-one address translations." },
      ),
    ),
    ipv4Gateway: s.optional(s.string({ doc: "The workload's IPv4 gateway.", format: "ip4" })),
    ipv6Gateway: s.optional(s.string({ doc: "The workload's IPv6 gateway.", format: "ip6" })),
    profiles: s.optional(
      s.array(s.string({ format: "name" }), { doc: "Profiles whose labels and rules apply, in this order." }),
    ),
    interfaceName: s.optional(s.string({ doc: "The interface on the node: cali…", format: "interface" })),
    mac: s.optional(s.string({ doc: "MAC address of the interface inside the workload.", format: "mac" })),
    ports: s.optional(s.array(port(), { doc: "Named ports, to which rules may refer." })),
    allowSpoofedSourcePrefixes: s.optional(
      s.array(s.string({ format: "cidr-or-ip" }), { doc: "Source addresses the workload may use besides its own." }),
    ),
    qosControls: s.optional(s.described(qosControls(), "Limits of bandwidth, packets and connections.")),
  }),
);

export type QoSControls = s.Infer<ReturnType<typeof qosControls>>;
export type WorkloadEndpointSpec = s.Infer<ReturnType<typeof spec>>;
export type WorkloadEndpoint = Resource<"WorkloadEndpoint", WorkloadEndpointSpec>;

/** One interface of one workload, with its addresses. Its name is made by `names.ts`. */
export const WorkloadEndpoint: Kind<WorkloadEndpoint> = {
  kind: "WorkloadEndpoint",
  apiVersion: API_VERSION,
  plural: "workloadendpoints",
  namespaced: true,
  aliases: ["wep", "weps"],
  doc: "One interface of one workload, with its addresses.",
  get spec() {
    return spec();
  },
  // What the plugin writes.
  isPlain: (endpoint, stored) =>
    isPlain(
      endpoint,
      {
        orchestrator: "name",
        node: "name",
        containerID: "container-id",
        pod: "name",
        endpoint: "name",
        ipNetworks: ["net"],
        profiles: ["name"],
        interfaceName: "interface",
        mac: "mac",
      },
      stored,
    ),
  complete(endpoint) {
    if (endpoint.metadata.name) return;
    const name = expectedName(endpoint.spec);
    if (name !== undefined) endpoint.metadata.name = name;
  },
  check,
  get columns(): Columns<WorkloadEndpoint> {
    return [
      { title: "NAME", wide: true, value: (endpoint) => endpoint.metadata.name },
      { title: "WORKLOAD", value: ({ spec }) => spec.workload || spec.pod || "" },
      { title: "NODE", value: ({ spec }) => spec.node ?? "" },
      { title: "NETWORKS", value: ({ spec }) => (spec.ipNetworks ?? []).join(",") },
      { title: "INTERFACE", value: ({ spec }) => spec.interfaceName ?? "" },
      { title: "PROFILES", wide: true, value: ({ spec }) => (spec.profiles ?? []).join(",") },
      {
        title: "NATS",
        wide: true,
        value: ({ spec }) => (spec.ipNATs ?? []).map((nat) => `{${nat.internalIP} ${nat.externalIP}}`).join(","),
      },
    ];
  },
};

/** Limits that go together: the rate from which on, and up to which, the value counts (facts of upstream's QoSControls). */
const RATES = [
  { field: "Bandwidth", min: 1_000, max: 1e15 },
  { field: "Burst", min: 1_000, max: 34_359_738_360 },
  { field: "Peakrate", min: 1_010, max: 1.01e15 },
  { field: "Minburst", min: 1_000, max: 1e8 },
] as const;

function check(endpoint: WorkloadEndpoint): s.Problem[] {
  const { spec, metadata } = endpoint;
  const problems: s.Problem[] = [];
  const report = (path: string, value: unknown, message: string) => problems.push({ path, value, message });

  const expected = expectedName(spec);
  if (expected !== undefined && expected !== metadata.name) {
    report("metadata.name", metadata.name, `must be ${expected}, which is made of the spec`);
  }
  const { ipNetworks = [], ipNATs, ports } = spec;
  for (let i = 0; i < ipNetworks.length; i++) {
    const cidr = tryParseCidr(ipNetworks[i]!);
    if (cidr && cidr.length !== (cidr.version === 4 ? 32 : 128)) {
      report(`spec.ipNetworks[${i}]`, ipNetworks[i], `must be one address: /${cidr.version === 4 ? 32 : 128}`);
    }
  }
  for (const [i, nat] of ipNATs?.entries() ?? []) {
    const [internal, external] = [tryParseAddress(nat.internalIP), tryParseAddress(nat.externalIP)];
    if (!internal || !external) continue;
    if (internal.version !== external.version) {
      report(`spec.ipNATs[${i}].externalIP`, nat.externalIP, `must be IPv${internal.version}, as its internalIP is`);
    }
    const own = ipNetworks.some((text) => {
      const address = tryParseAddress(text);
      const cidr = address ? hostCidr(address) : tryParseCidr(text);
      return cidr !== undefined && sameCidr(cidr, hostCidr(internal));
    });
    if (!own) report(`spec.ipNATs[${i}].internalIP`, nat.internalIP, "must be one of spec.ipNetworks");
  }
  for (const [i, port] of ports?.entries() ?? []) {
    if (!hasPorts(port.protocol)) {
      report(`spec.ports[${i}].protocol`, port.protocol, "must be one that has ports: TCP, UDP or SCTP");
    }
    if (port.name === "" && port.hostPort === 0) {
      report(`spec.ports[${i}].name`, undefined, "is missing; a port without hostPort needs a name");
    }
  }
  if (spec.qosControls) checkRates(spec.qosControls, report);
  return problems;
}

/** The name that the spec makes; undefined while it lacks a part. */
function expectedName(spec: WorkloadEndpointSpec): string | undefined {
  const { node = "", orchestrator = "", pod = "", containerID = "", workload = "", endpoint = "" } = spec;
  try {
    return endpointName({ node, orchestrator, pod, containerID, workload, endpoint });
  } catch {
    return undefined;
  }
}

function checkRates(qos: QoSControls, report: (path: string, value: unknown, message: string) => void): void {
  for (const direction of ["ingress", "egress"] as const) {
    if (!qos[`${direction}Bandwidth`]) continue;
    for (const { field, min, max } of RATES) {
      const value = qos[`${direction}${field}`];
      if (value && (value < min || value > max)) {
        report(`spec.qosControls.${direction}${field}`, value, `must be 0, or from ${min} to ${max}`);
      }
    }
  }
}
