import { describe, expect, test } from "vitest";
import { BGPConfiguration } from "./bgpconfiguration.ts";
import { parseResource } from "./registry.ts";
import { completeStored } from "./resource.ts";
import { describeProblem } from "./schema.ts";

const parse = (spec: unknown, name = "default") =>
  parseResource({ apiVersion: "projectcalico.org/v3", kind: "BGPConfiguration", metadata: { name }, spec });
const problems = (spec: unknown, name?: string) => parse(spec, name).problems.map(describeProblem);
const stored = (spec: unknown) => ({
  apiVersion: "projectcalico.org/v3",
  kind: "BGPConfiguration" as const,
  metadata: { name: "default" },
  spec: spec as BGPConfiguration["spec"],
});

const FORM = "a community such as 65000:100 or 65000:1:2";
const used = [{ cidr: "10.0.0.0/8", communities: ["a"] }];

describe("BGPConfiguration", () => {
  test("has upstream's fields", () => {
    const { spec } = BGPConfiguration;
    if (spec.type !== "object") throw new Error("not an object");
    expect(Object.keys(spec.fields)).toHaveLength(19);
  });

  test.each<[string, object, string?]>([
    ["nothing in it", {}],
    ["words in any case", { logSeverityScreen: "warning" }],
    ["a mesh", { nodeToNodeMeshEnabled: true, nodeMeshMaxRestartTime: "2m30s", asNumber: 4294967295 }],
    ["a password", { nodeMeshPassword: { secretKeyRef: { name: "bgp", key: "password" } } }],
    [
      "services",
      {
        serviceClusterIPs: [{ cidr: "10.96.0.0/12" }, { cidr: "fd00:96::/112" }],
        serviceExternalIPs: [{}],
        serviceLoadBalancerIPs: [{ cidr: "192.0.2.1/32" }],
        serviceLoadBalancerAggregation: "Disabled",
      },
    ],
    [
      "communities by name and by value",
      {
        communities: [
          { name: "a", value: "65535:65535" },
          { name: "b.c", value: "4294967295:0:1" },
        ],
        prefixAdvertisements: [{ cidr: "10.0.0.0/8", communities: ["a", "b.c", "1:2", "65536:1:1"] }],
      },
    ],
    ["advertisements without communities", { prefixAdvertisements: [{ cidr: "fd00::/8", communities: [] }] }],
    ["interfaces", { ignoredInterfaces: ["docker0", "veth*", "*.100"] }],
    ["addresses for workloads", { localWorkloadPeeringIPV4: "169.254.1.1", localWorkloadPeeringIPV6: "fe80::1" }],
    ["the rest", { listenPort: 1790, bindMode: "NodeIP", programClusterRoutes: "Disabled" }],
    ["metrics", { ipv4NormalRoutePriority: 1, ipv6NormalRoutePriority: 2147483646 }],
    ["what is for one node", { logSeverityScreen: "Debug", listenPort: 178, prefixAdvertisements: used.slice(1) }, "x"],
    ["empty lists for one node", { serviceClusterIPs: [], serviceExternalIPs: [] }, "node.n1"],
  ])("takes %s", (_, spec, name) => {
    expect(problems(spec, name)).toEqual([]);
  });

  test.each<[string, object, string[]]>([
    [
      "a severity",
      { logSeverityScreen: "Verbose" },
      ['spec.logSeverityScreen: "Verbose": must be one of Trace, Debug, Info, Warning, Error, Fatal'],
    ],
    ["a mode", { bindMode: "All" }, ['spec.bindMode: "All": must be one of None, NodeIP']],
    ["an AS number", { asNumber: 4294967296 }, ["spec.asNumber: 4294967296: must be an integer from 0 to 4294967295"]],
    ["a port", { listenPort: 0 }, ["spec.listenPort: 0: must be an integer from 1 to 65535"]],
    [
      "a metric",
      { ipv4NormalRoutePriority: 2147483647 },
      ["spec.ipv4NormalRoutePriority: 2147483647: must be an integer from 1 to 2147483646"],
    ],
    [
      "a duration",
      { nodeMeshMaxRestartTime: "-1s" },
      ['spec.nodeMeshMaxRestartTime: "-1s": must be a duration such as 90s, 1m30s or 500ms'],
    ],
    [
      "a password that is no reference",
      { nodeMeshPassword: { secretKeyRef: { name: "bgp" } } },
      ["spec.nodeMeshPassword.secretKeyRef.key: is missing; it must be a string"],
    ],
    [
      "the wrong family",
      { localWorkloadPeeringIPV4: "fe80::1", localWorkloadPeeringIPV6: "10.0.0.1" },
      [
        'spec.localWorkloadPeeringIPV4: "fe80::1": must be an IPv4 address',
        'spec.localWorkloadPeeringIPV6: "10.0.0.1": must be an IPv6 address',
      ],
    ],
    [
      "an address for a block",
      { serviceClusterIPs: [{ cidr: "10.96.0.0" }] },
      ['spec.serviceClusterIPs[0].cidr: "10.96.0.0": must be a CIDR such as 10.0.0.0/16 or fd00::/64'],
    ],
    [
      "bits beyond the prefix",
      {
        serviceExternalIPs: [{ cidr: "10.0.0.0/8" }, { cidr: "10.0.0.1/8" }],
        prefixAdvertisements: [{ cidr: "fd00::1/64", communities: [] }],
      },
      [
        'spec.serviceExternalIPs[1].cidr: "10.0.0.1/8": has bits beyond its prefix length; must be 10.0.0.0/8',
        'spec.prefixAdvertisements[0].cidr: "fd00::1/64": has bits beyond its prefix length; must be fd00::/64',
      ],
    ],
    [
      "what a mesh has, without one",
      {
        nodeToNodeMeshEnabled: false,
        nodeMeshMaxRestartTime: "1m",
        nodeMeshPassword: { secretKeyRef: { name: "a", key: "b" } },
      },
      [
        'spec.nodeMeshPassword: {"secretKeyRef":{"name":"a","key":"b"}}: must be absent where nodeToNodeMeshEnabled is false: it is for peers in the mesh',
        'spec.nodeMeshMaxRestartTime: "1m": must be absent where nodeToNodeMeshEnabled is false: it is for peers in the mesh',
      ],
    ],
    [
      "communities that tag nothing",
      { communities: [{ name: "a", value: "1:2" }] },
      [
        'spec.communities: [{"name":"a","value":"1:2"}]: must be used: prefixAdvertisements says for which routes, and is missing',
      ],
    ],
    [
      "the form of communities",
      { communities: [{ name: "A", value: "1" }], prefixAdvertisements: used },
      [
        'spec.communities[0].name: "A": must be a name of lower-case letters, digits, - and ., at most 253 long, with a letter or digit at both ends of every part',
        `spec.communities[0].value: "1": must be ${FORM}`,
      ],
    ],
    [
      "communities with half of it",
      { communities: [{ name: "a" }, { value: "1:2" }], prefixAdvertisements: used },
      [
        "spec.communities[0].value: is missing, of a",
        "spec.communities[1].name: is missing; prefixAdvertisements refer to it",
      ],
    ],
    [
      "numbers too large",
      {
        communities: [{ name: "a", value: "65536:1" }],
        prefixAdvertisements: [{ cidr: "10.0.0.0/8", communities: ["1:1:4294967296", "1:65536", "a"] }],
      },
      [
        'spec.communities[0].value: "65536:1": must be of numbers up to 65535, as a community of 2 numbers',
        'spec.prefixAdvertisements[0].communities[0]: "1:1:4294967296": must be of numbers up to 4294967295, as a community of 3 numbers',
        'spec.prefixAdvertisements[0].communities[1]: "1:65536": must be of numbers up to 65535, as a community of 2 numbers',
      ],
    ],
    [
      "communities that nobody named",
      { prefixAdvertisements: [{ cidr: "10.0.0.0/8", communities: ["gold"] }, {}] },
      [
        'spec.prefixAdvertisements[0].communities[0]: "gold": must be the name of one of spec.communities, or a value such as 65000:100 or 65000:1:2',
        "spec.prefixAdvertisements[1].cidr: is missing; it must be a CIDR such as 10.0.0.0/16 or fd00::/64",
        "spec.prefixAdvertisements[1].communities: is missing; it must be a list",
      ],
    ],
    [
      "all interfaces",
      { ignoredInterfaces: ["eth0", "*"] },
      ['spec.ignoredInterfaces[1]: "*": must not be * alone, which would leave no interface'],
    ],
    [
      "an interface's name",
      { ignoredInterfaces: ["eth0", "eth0", "a b"] },
      [
        'spec.ignoredInterfaces[1]: "eth0": is in the list already; remove one',
        'spec.ignoredInterfaces[2]: "a b": must be the name of a network interface: 1 to 15 letters, digits, _, . or -, and * for any of them',
      ],
    ],
    ["a field", { asnumber: 1 }, ["spec.asnumber: 1: is not a field here; did you mean asNumber?"]],
  ])("refuses %s", (_, spec, expected) => {
    expect(problems(spec)).toEqual(expected);
  });

  test("what is for all nodes is in the one named default", () => {
    const spec = {
      nodeToNodeMeshEnabled: true,
      asNumber: 64512,
      serviceLoadBalancerIPs: [{ cidr: "10.1.0.0/16" }],
      serviceExternalIPs: [{ cidr: "10.2.0.0/16" }],
      serviceClusterIPs: [{ cidr: "10.3.0.0/16" }],
      nodeMeshPassword: {},
      nodeMeshMaxRestartTime: "1s",
    };
    expect(problems(spec)).toEqual([]);
    for (const name of ["node.n1", "other"]) {
      const { problems } = parse(spec, name);
      expect(problems.map(({ path }) => path)).toEqual(Object.keys(spec).map((field) => `spec.${field}`));
      expect(problems[0]?.message).toBe("must be absent but in the one named default; it is for all nodes");
    }
  });

  test("has defaults that take nothing back in a node's", () => {
    const rest = { serviceLoadBalancerAggregation: "Enabled" };
    expect(parse({}).resource?.spec).toEqual({ logSeverityScreen: "Info", ...rest });
    expect(parse({ logSeverityScreen: "Error" }).resource?.spec).toEqual({ logSeverityScreen: "Error", ...rest });
    expect(parse({}, "node.n1").resource?.spec).toEqual(rest);
  });

  test("an AS number may be written in two parts, and empty texts are nothing", () => {
    expect(parse({ asNumber: "1.10", nodeMeshMaxRestartTime: "", serviceClusterIPs: [{ cidr: "" }] })).toMatchObject({
      problems: [],
      resource: { spec: { asNumber: 65546, serviceClusterIPs: [{}] } },
    });
    expect(parse({ nodeMeshMaxRestartTime: "" }).resource?.spec).not.toHaveProperty("nodeMeshMaxRestartTime");
  });

  test("a stored one is read though its writer checked nothing, unless a field has another type", () => {
    expect(
      completeStored(
        BGPConfiguration,
        stored({
          communities: [{ value: "x" }],
          prefixAdvertisements: [{}],
          serviceClusterIPs: [{ cidr: "10.96.0.1/12" }, null, {}],
          nodeMeshMaxRestartTime: "soon",
        }),
      ).map(({ path }) => path),
    ).toEqual(["spec.serviceClusterIPs[1]"]);
    for (const spec of [{ serviceClusterIPs: "10.96.0.0/12" }, { serviceClusterIPs: [1, "a"] }, { asNumber: [] }]) {
      expect(completeStored(BGPConfiguration, stored(spec))).not.toEqual([]);
    }
  });
});
