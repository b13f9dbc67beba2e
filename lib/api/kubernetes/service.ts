import type { V1ServiceSpec, V1ServiceStatus } from "@kubernetes/client-node";
import { formatProblem } from "../formats.ts";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import { checkNetwork, checkPort, checkUnique, PROTOCOLS, parseAddress, partOf } from "./checks.ts";
import { labelsText, listText } from "./columns.ts";
import type { Json } from "./json.ts";

export interface Service extends Resource<"Service"> {
  spec: Json<V1ServiceSpec>;
  status?: Json<V1ServiceStatus>;
}

const policy = () => s.optional(s.oneOf(["Cluster", "Local"]));

const spec = partOf<Service["spec"]>(() =>
  s.object({
    type: s.optional(s.oneOf(["ClusterIP", "NodePort", "LoadBalancer", "ExternalName"])),
    selector: s.optional(s.map(s.string(), { labels: true })),
    clusterIP: s.optional(s.string()),
    clusterIPs: s.optional(s.array(s.string())),
    externalIPs: s.optional(s.array(s.string())),
    externalName: s.optional(s.string()),
    externalTrafficPolicy: policy(),
    internalTrafficPolicy: policy(),
    ipFamilies: s.optional(s.array(s.oneOf(["IPv4", "IPv6"]), { unique: true })),
    ipFamilyPolicy: s.optional(s.oneOf(["SingleStack", "PreferDualStack", "RequireDualStack"])),
    loadBalancerIP: s.optional(s.string()),
    loadBalancerSourceRanges: s.optional(s.array(s.string())),
    publishNotReadyAddresses: s.optional(s.boolean()),
    sessionAffinity: s.optional(s.oneOf(["ClientIP", "None"])),
    ports: s.optional(
      s.array(
        s.object({
          name: s.optional(s.string({ format: "label-name" })),
          protocol: s.optional(s.oneOf(PROTOCOLS)),
          port: s.integer({ min: 1, max: 65535 }),
          targetPort: s.optional(s.intOrString("port-or-name")),
          nodePort: s.optional(s.integer({ min: 0, max: 65535 })),
        }),
      ),
    ),
  }),
);

const ADDRESS = "must be an IP address";

/** One name and address for a set of pods. */
export const Service: Kind<Service> = {
  kind: "Service",
  apiVersion: "v1",
  plural: "services",
  namespaced: true,
  aliases: ["svc"],
  doc: "One name and address for a set of pods.",
  verbatim: true,
  get spec() {
    return spec();
  },
  names: "label-name",
  check({ spec }) {
    const { type = "ClusterIP", clusterIP, clusterIPs = [], ports = [], externalName } = spec;
    const problems: s.Problem[] = [];
    if (type === "ExternalName") {
      if (externalName === undefined || externalName === "")
        problems.push({
          path: "spec.externalName",
          value: undefined,
          message: "is missing; the type ExternalName needs it",
        });
      else if (formatProblem("name", externalName.toLowerCase().replace(/\.$/, "")) !== undefined)
        problems.push({ path: "spec.externalName", value: externalName, message: "must be a DNS name" });
    } else if (ports.length === 0 && clusterIP !== "None") {
      const message = "must have at least one port, unless clusterIP is None";
      problems.push({ path: "spec.ports", value: undefined, message });
    }
    const addresses: [string, string][] = [
      ...(clusterIP && clusterIP !== "None" ? [["spec.clusterIP", clusterIP] as [string, string]] : []),
      ...clusterIPs.flatMap((text, i): [string, string][] =>
        text === "None" ? [] : [[`spec.clusterIPs[${i}]`, text]],
      ),
      ...(spec.externalIPs ?? []).map((text, i): [string, string] => [`spec.externalIPs[${i}]`, text]),
    ];
    for (const [path, text] of addresses) {
      if (parseAddress(text)) continue;
      problems.push({ path, value: text, message: path.startsWith("spec.cluster") ? `${ADDRESS}, or None` : ADDRESS });
    }
    for (const [i, text] of (spec.loadBalancerSourceRanges ?? []).entries())
      problems.push(...checkNetwork(text.trim(), `spec.loadBalancerSourceRanges[${i}]`));
    for (const [i, { name, targetPort }] of ports.entries()) {
      if (ports.length > 1 && !name) {
        const message = "is missing; a service of several ports names each";
        problems.push({ path: `spec.ports[${i}].name`, value: undefined, message });
      }
      problems.push(...checkPort(targetPort, `spec.ports[${i}].targetPort`));
    }
    const named = ports.filter(({ name }) => name);
    if (named.length === ports.length)
      problems.push(
        ...checkUnique(
          ports,
          ({ name }) => name!,
          (i) => `spec.ports[${i}].name`,
        ),
      );
    problems.push(
      ...checkUnique(
        ports,
        ({ port, protocol = "TCP" }) => `${port}/${protocol}`,
        (i) => `spec.ports[${i}]`,
      ),
    );
    return problems;
  },
  get columns(): Columns<Service> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "TYPE", value: ({ spec }) => spec.type || "ClusterIP" },
      { title: "CLUSTER-IP", value: ({ spec }) => spec.clusterIP || "<none>" },
      { title: "EXTERNAL-IP", value: externalText },
      { title: "PORT(S)", value: ({ spec }) => listText((spec.ports ?? []).map(portText)) },
      { title: "SELECTOR", wide: true, value: ({ spec }) => labelsText(spec.selector) },
    ];
  },
};

function externalText({ spec, status }: Service): string {
  if (spec.type === "ExternalName") return spec.externalName || "<none>";
  const balanced = (status?.loadBalancer?.ingress ?? []).flatMap(({ ip, hostname }) => ip ?? hostname ?? []);
  return listText([...balanced, ...(spec.externalIPs ?? [])]);
}

function portText({ port, nodePort, protocol = "TCP" }: NonNullable<Service["spec"]["ports"]>[number]): string {
  return `${port}${nodePort ? `:${nodePort}` : ""}/${protocol}`;
}
