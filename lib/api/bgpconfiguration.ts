import { formatCidr, tryParseCidr } from "../ip/index.ts";
import { DURATION, priority, severity } from "./felixfields.ts";
import { isMasked } from "./formats.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const serviceBlocks = (doc: string) =>
  s.optional(s.array(s.object({ cidr: s.optional(s.string({ doc: "The addresses.", format: "cidr" })) }), { doc }));

const COMMUNITY_FORM =
  "Standard, aa:nn, of two numbers up to 65535 (RFC 1997); or large, aa:nn:mm, of three up to 4294967295 (RFC 8092). aa is an AS number.";

const communities = s.lazy(() =>
  s.array(
    s.object({
      name: s.optional(s.string({ doc: "What prefixAdvertisements call it.", format: "name", maxLength: 253 })),
      value: s.optional(
        s.string({
          doc: COMMUNITY_FORM,
          maxLength: 40,
          pattern: {
            source: "(\\d+):(\\d+)|(\\d+):(\\d+):(\\d+)",
            means: "a community such as 65000:100 or 65000:1:2",
          },
        }),
      ),
    }),
    { doc: "Names for BGP communities, which tag routes.", maxItems: 500 },
  ),
);

const advertisements = s.lazy(() =>
  s.array(
    s.object({
      cidr: s.optional(s.string({ doc: "Which routes: those within it.", format: "cidr" })),
      communities: s.optional(
        s.array(s.string(), {
          doc: `What they are tagged with: names of the communities here, or values. ${COMMUNITY_FORM}`,
          maxItems: 50,
        }),
      ),
    }),
    { doc: "How the routes of a prefix are advertised.", maxItems: 500 },
  ),
);

const password = s.lazy(() =>
  s.object(
    {
      secretKeyRef: s.optional(
        s.object(
          {
            name: s.optional(s.string({ doc: "The Secret." })),
            key: s.string({ doc: "Which of its values." }),
            optional: s.optional(s.boolean({ doc: "There need be no such Secret or value." })),
          },
          { doc: "Where it is kept: a value of a Secret in the namespace of the node's pod." },
        ),
      ),
    },
    {
      doc: "The password of peerings in the mesh (TCP MD5, RFC 2385). Only in the one named default, and only with a mesh.",
    },
  ),
);

const spec = s.lazy(() =>
  s.object({
    logSeverityScreen: s.optional(
      s.described(
        severity(""),
        "What is written to standard output: this severity and what is graver. Absent: Info in the one named default, what that says in any other.",
      ),
    ),
    nodeToNodeMeshEnabled: s.optional(
      s.boolean({ doc: "Every node peers with every other. Only in the one named default; absent: true." }),
    ),
    asNumber: s.optional(
      s.integer({
        doc: "The AS number of nodes that have none of their own. Only in the one named default; absent: 64512.",
        min: 0,
        max: 4294967295,
        text: "as-number",
      }),
    ),
    serviceLoadBalancerIPs: serviceBlocks(
      "Addresses of load balancers that are advertised: those in status.loadBalancer.ingress of a Service that lie in one of these. Only in the one named default.",
    ),
    serviceExternalIPs: serviceBlocks(
      "External addresses that are advertised: those in externalIPs of a Service that lie in one of these. Only in the one named default.",
    ),
    serviceClusterIPs: serviceBlocks(
      "From where Services get their cluster addresses; these blocks are advertised, and addresses in them. Only in the one named default.",
    ),
    serviceLoadBalancerAggregation: s.withDefault(
      s.oneOf(["Enabled", "Disabled"], {
        doc: "Whether the blocks of serviceLoadBalancerIPs are advertised whole (Enabled), or each Service's address by itself, so that it is withdrawn when the Service fails (Disabled).",
      }),
      "Enabled",
    ),
    communities: s.optional(communities()),
    prefixAdvertisements: s.optional(advertisements()),
    listenPort: s.optional(s.integer({ doc: "The TCP port that BGP listens on; absent: 179.", min: 1, max: 65535 })),
    nodeMeshPassword: s.optional(password()),
    nodeMeshMaxRestartTime: s.optional(
      s.string({
        doc: "How long peers in the mesh keep a node's routes while it restarts (graceful restart, RFC 4724), as a Go duration: 2m30s. Only in the one named default, and only with a mesh; absent: 2m.",
        pattern: DURATION,
      }),
    ),
    bindMode: s.optional(
      s.oneOf(["None", "NodeIP"], {
        doc: "Where BGP listens: on all addresses (None), or on the node's own, which its spec.bgp says (NodeIP). Absent: None.",
      }),
    ),
    ignoredInterfaces: s.optional(
      s.array(
        s.string({
          pattern: {
            source: "[a-zA-Z0-9_.*-]{1,15}",
            means: "the name of a network interface: 1 to 15 letters, digits, _, . or -, and * for any of them",
          },
        }),
        { doc: "Interfaces whose routes BGP does not look at. * in a name stands for any characters.", unique: true },
      ),
    ),
    localWorkloadPeeringIPV4: s.optional(
      s.string({
        doc: "The IPv4 address, best a link-local one, at which a node's own workloads peer with it.",
        format: "ip4",
      }),
    ),
    localWorkloadPeeringIPV6: s.optional(
      s.string({
        doc: "The IPv6 address, best a link-local one, at which a node's own workloads peer with it.",
        format: "ip6",
      }),
    ),
    programClusterRoutes: s.optional(
      s.oneOf(["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"], {
        doc: "For which pools without VXLAN BGP makes the routes to other nodes' workloads: all, none, those with IP-in-IP, or those without encapsulation. What is left out here the policy agent must make, by the field of the same name in its FelixConfiguration: a route that neither makes is missing, and over one that both make they quarrel. BGP for IP-in-IP is deprecated. Absent: EnabledNoEncapOnly.",
      }),
    ),
    ipv4NormalRoutePriority: priority(
      "Metric of the policy agent's IPv4 routes to workloads, as the FelixConfiguration has it: BGP tells by it the routes of a virtual machine that moves. Absent: 1024.",
    ),
    ipv6NormalRoutePriority: priority(
      "Metric of the policy agent's IPv6 routes to workloads, as the FelixConfiguration has it: BGP tells by it the routes of a virtual machine that moves. Absent: 1024.",
    ),
  }),
);

export type BGPConfigurationSpec = s.Infer<ReturnType<typeof spec>>;
export type BGPConfiguration = Resource<"BGPConfiguration", BGPConfigurationSpec>;

/** How BGP works: on all nodes in the one named `default`; `node.<node>` has a log severity, port and advertisements for one node. */
export const BGPConfiguration: Kind<BGPConfiguration> = {
  kind: "BGPConfiguration",
  apiVersion: API_VERSION,
  plural: "bgpconfigurations",
  namespaced: false,
  aliases: ["bgpconfig", "bgpconfigs"],
  doc: "How BGP works: on all nodes in the one named default; node.<node> has a log severity, port and advertisements for one node.",
  get spec() {
    return spec();
  },
  complete,
  check,
  get columns(): Columns<BGPConfiguration> {
    return [
      { title: "NAME", value: (configuration) => configuration.metadata.name },
      { title: "LOGSEVERITY", value: ({ spec }) => spec.logSeverityScreen ?? "" },
      { title: "MESHENABLED", value: ({ spec }) => String(spec.nodeToNodeMeshEnabled ?? "-") },
      { title: "ASNUMBER", value: ({ spec }) => String(spec.asNumber ?? "-") },
    ];
  },
};

/** What only the one named `default` may say (libcalico-go/lib/clientv3/bgpconfig.go). */
const GLOBAL = [
  "nodeToNodeMeshEnabled",
  "asNumber",
  "serviceLoadBalancerIPs",
  "serviceExternalIPs",
  "serviceClusterIPs",
  "nodeMeshPassword",
  "nodeMeshMaxRestartTime",
] as const;

const SERVICE_BLOCKS = ["serviceLoadBalancerIPs", "serviceExternalIPs", "serviceClusterIPs"] as const;

/**
 * Upstream's definition fills in Info under every name, so that one node's configuration takes back what the cluster's says. Here that
 * of a node stays absent. Empty texts go: a Go reader takes none for a duration, and an API server none for a CIDR.
 */
function complete({ metadata, spec }: BGPConfiguration): void {
  if (metadata?.name === "default") spec.logSeverityScreen ||= "Info";
  if (spec.nodeMeshMaxRestartTime === "") delete spec.nodeMeshMaxRestartTime;
  for (const field of SERVICE_BLOCKS) {
    const blocks: unknown = spec[field]; // what is read may be anything yet
    if (!Array.isArray(blocks)) continue;
    for (const block of blocks as ({ cidr?: unknown } | undefined)[]) if (block?.cidr === "") delete block.cidr;
  }
}

/** The rules of upstream's CRD and validator (bgpconfig.go, validateBGPConfigurationSpec) and of its client, see {@link GLOBAL}. */
function check({ metadata, spec }: BGPConfiguration): s.Problem[] {
  const problems: s.Problem[] = [];
  const report = (field: string, value: unknown, message: string) =>
    problems.push({ path: `spec.${field}`, value, message });

  if (metadata.name !== "default") {
    for (const field of GLOBAL) {
      const value = spec[field];
      if (value === undefined || (Array.isArray(value) && value.length === 0)) continue;
      report(field, value, "must be absent but in the one named default; it is for all nodes");
    }
  }
  if (spec.nodeToNodeMeshEnabled === false) {
    for (const field of ["nodeMeshPassword", "nodeMeshMaxRestartTime"] as const) {
      if (spec[field] === undefined) continue;
      report(field, spec[field], "must be absent where nodeToNodeMeshEnabled is false: it is for peers in the mesh");
    }
  }
  for (const field of SERVICE_BLOCKS) {
    for (const [i, { cidr }] of (spec[field] ?? []).entries()) checkCidr(`${field}[${i}].cidr`, cidr);
  }
  checkCommunities();
  for (const [i, name] of (spec.ignoredInterfaces ?? []).entries()) {
    if (name === "*") report(`ignoredInterfaces[${i}]`, name, "must not be * alone, which would leave no interface");
  }
  return problems;

  function checkCidr(path: string, text: string | undefined): void {
    const cidr = text ? tryParseCidr(text) : undefined;
    if (!cidr || !text || isMasked(text)) return;
    report(path, text, `has bits beyond its prefix length; must be ${formatCidr(cidr)}`);
  }

  function checkCommunities(): void {
    const { communities = [], prefixAdvertisements = [] } = spec;
    if (communities.length > 0 && prefixAdvertisements.length === 0) {
      report("communities", communities, "must be used: prefixAdvertisements says for which routes, and is missing");
    }
    for (const [i, { name, value }] of communities.entries()) {
      if (!name) report(`communities[${i}].name`, name, "is missing; prefixAdvertisements refer to it");
      if (!value) report(`communities[${i}].value`, value, `is missing, of ${name ?? "a community"}`);
      else checkNumbers(`communities[${i}].value`, value);
    }
    const names = new Set(communities.map(({ name }) => name));
    for (const [i, { cidr, communities: used }] of prefixAdvertisements.entries()) {
      const path = `prefixAdvertisements[${i}]`;
      if (!cidr) report(`${path}.cidr`, cidr, "is missing; it must be a CIDR such as 10.0.0.0/16 or fd00::/64");
      checkCidr(`${path}.cidr`, cidr);
      if (!used) report(`${path}.communities`, used, "is missing; it must be a list");
      for (const [j, text] of (used ?? []).entries()) {
        const at = `${path}.communities[${j}]`;
        if (/^\d+(:\d+){1,2}$/.test(text)) checkNumbers(at, text);
        else if (!names.has(text)) {
          report(at, text, "must be the name of one of spec.communities, or a value such as 65000:100 or 65000:1:2");
        }
      }
    }
  }

  function checkNumbers(path: string, community: string): void {
    const numbers = community.split(":");
    const most = numbers.length === 2 ? 0xffff : 0xffff_ffff;
    if (numbers.every((number) => Number(number) <= most)) return;
    report(path, community, `must be of numbers up to ${most}, as a community of ${numbers.length} numbers`);
  }
}
