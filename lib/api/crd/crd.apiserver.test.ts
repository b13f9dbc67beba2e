/**
 * The definitions on a real API server: it takes them, shows objects as it should, and refuses, completes and protects what
 * our own validator and Client refuse, complete and protect.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ApiServer, apiServerMissing, startApiServer } from "../../kubernetes/testing/index.ts";
import { newBlockAffinity } from "../blockaffinity.ts";
import { newIPAMBlock } from "../ipamblock.ts";
import { newIPAMHandle } from "../ipamhandle.ts";
import { API_VERSION, type ObjectMeta } from "../meta.ts";
import { findKind, parseResource } from "../registry.ts";
import { describeProblem } from "../schema.ts";
import { crdsOf, type JsonSchema } from "./index.ts";

type Group = "v1" | "v3";
type Json = Record<string, unknown>;
type Spec = Json & { readonly types?: unknown; readonly tier?: unknown };

const GROUPS: readonly Group[] = ["v1", "v3"];
/** The fields for which the group v1 has no defaults. */
const IPAM = { strictAffinity: false, autoAllocateBlocks: true };
const missing = apiServerMissing();

describe.skipIf(missing)(`definitions on an API server${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;

  beforeAll(async () => {
    server = await startApiServer({ crds: "both" });
  });
  afterAll(() => server?.stop());

  /** Where objects of a kind are, and how the group calls it. */
  function place(group: Group, kindName: string) {
    const { namespaced, plural: own } = findKind(kindName)!;
    const wanted = group === "v1" && own === "ipamconfigurations" ? "ipamconfigs" : own;
    const crd = crdsOf(group).find(({ spec }) => spec.names.plural === wanted)!;
    const { kind, plural } = crd.spec.names;
    const api = `${crd.spec.group}/${group}`;
    return { path: `/apis/${api}/${namespaced ? "namespaces/default/" : ""}${plural}`, apiVersion: api, kind };
  }

  const objectOf = (group: Group, kindName: string, spec: unknown, metadata: Partial<ObjectMeta>) => {
    const { apiVersion, kind } = place(group, kindName);
    return { apiVersion, kind, metadata: { name: "x", ...metadata }, spec };
  };

  /** Why the server refuses an object; undefined when it takes it. Nothing is written. */
  async function refusal(
    group: Group,
    kind: string,
    spec: unknown,
    metadata: Partial<ObjectMeta> = {},
  ): Promise<string | undefined> {
    const query = "?dryRun=All&fieldValidation=Strict";
    try {
      await server.request("POST", place(group, kind).path + query, objectOf(group, kind, spec, metadata));
      return undefined;
    } catch (error) {
      if (error instanceof Error && "status" in error && [400, 422].includes(error.status as number))
        return error.message;
      throw error;
    }
  }

  /** Why our validator does. */
  const problems = (kind: string, spec: unknown, metadata: Partial<ObjectMeta> = {}) =>
    parseResource({ apiVersion: API_VERSION, kind, metadata: { name: "x", ...metadata }, spec }).problems;

  test("all of them are established, without a word of complaint", async () => {
    const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    const { items } = await server.request<{ items: { metadata: ObjectMeta; status: { conditions: Json[] } }[] }>(
      "GET",
      path,
    );
    const states = items.map(({ metadata, status }) => [
      metadata.name,
      status.conditions.map(({ type, status }) => `${type as string}=${status as string}`).sort(),
    ]);
    expect(Object.fromEntries(states)).toEqual(
      Object.fromEntries(
        GROUPS.flatMap(crdsOf).map(({ metadata }) => [metadata.name, ["Established=True", "NamesAccepted=True"]]),
      ),
    );
  });

  test("kubectl finds and shows what it should in v3, and nothing special in v1", async () => {
    interface Discovery {
      resources: { name: string; shortNames?: string[] }[];
    }
    const shortNames = async (group: Group) =>
      (await server.request<Discovery>("GET", `/apis/${place(group, "Tier").apiVersion}`)).resources
        .flatMap((resource) => resource.shortNames ?? [])
        .sort();
    expect(await shortNames("v1")).toEqual([]);
    expect(await shortNames("v3")).toEqual([
      ..."affinities affinity bgpconfig bgpconfigs caliconetworkpolicy cgnp clusterinfo clusterinfos cnp felixconfig felixconfigs".split(
        " ",
      ),
      ..."gnp gns hep heps ipamconfig ipamconfigs kcc kccs scnp sgnp sknp snp".split(" "),
    ]);
    for (const [name, tier] of [
      ["a", "default"],
      ["b", "other"],
    ] as const) {
      await server.request("POST", place("v3", "GlobalNetworkPolicy").path, {
        ...objectOf("v3", "GlobalNetworkPolicy", { tier, order: 1.5 }, { name }),
      });
    }
    const { path } = place("v3", "GlobalNetworkPolicy");
    const found = await server.request<{ items: { metadata: ObjectMeta }[] }>(
      "GET",
      `${path}?fieldSelector=spec.tier=other`,
    );
    expect(found.items.map(({ metadata }) => metadata.name)).toEqual(["b"]);
    const labelled = await server.request<typeof found>("GET", `${path}?labelSelector=projectcalico.org/tier=default`);
    expect(labelled.items.map(({ metadata }) => metadata.name)).toEqual(["a"]);
  });

  /**
   * One object for each rule that the server has, and what it says of it; our validator refuses each as well. The texts are
   * those of rules.ts, which the last test of this table makes sure of.
   */
  const pool = (spec: Json) => ["IPPool", { cidr: "10.0.0.0/16", ...spec }] as const;
  const ingress = (rule: Json) => ["NetworkPolicy", { ingress: [{ action: "Allow", ...rule }] }] as const;
  const services = { name: "web", namespace: "default" };
  const global = (spec: Json) => ["GlobalNetworkPolicy", spec] as const;
  const host = (spec: Json) => ["HostEndpoint", spec] as const;
  const felix = (spec: Json) => ["FelixConfiguration", spec] as const;
  const bgp = (spec: Json) => ["BGPConfiguration", spec, { name: "default" }] as const;
  const peer = (spec: Json) => ["BGPPeer", spec] as const;
  const filter = (rule: Json) => ["BGPFilter", { exportV4: [{ action: "Accept", ...rule }] }] as const;
  const tier = (name: string, order: number, defaultAction: string) =>
    ["Tier", { order, defaultAction }, { name }] as const;
  const REFUSED: readonly (readonly [string, readonly [string, Json, Partial<ObjectMeta>?]])[] = [
    ["cidr has bits beyond its prefix length", pool({ cidr: "10.0.0.1/16" })],
    ["cidr overlaps with the link-local range 169.254.0.0/16", pool({ cidr: "169.254.4.0/24" })],
    ["cidr overlaps with the link-local range 169.254.0.0/16", pool({ cidr: "168.0.0.0/6" })],
    ["cidr overlaps with the link-local range fe80::/10", pool({ cidr: "febf::/64" })],
    ["cidr overlaps with the link-local range fe80::/10", pool({ cidr: "fe00::/8" })],
    ["blockSize must be from 20 to 32 in an IPv4 pool, and from 116 to 128 in an IPv6 pool", pool({ blockSize: 19 })],
    [
      "blockSize must be from 20 to 32 in an IPv4 pool, and from 116 to 128 in an IPv6 pool",
      pool({ cidr: "fd00::/64", blockSize: 115 }),
    ],
    ["cidr is smaller than one block; make it larger, or blockSize", pool({ cidr: "10.0.0.0/27" })],
    ["cidr is smaller than one block; make it larger, or blockSize", pool({ cidr: "fd00::/123" })],
    [
      "ipipMode and vxlanMode cannot both be on; one of them must be Never",
      pool({ ipipMode: "Always", vxlanMode: "CrossSubnet" }),
    ],
    ["ipipMode must be Never in an IPv6 pool; vxlanMode works there", pool({ cidr: "fd00::/64", ipipMode: "Always" })],
    [
      "allowedUses must not combine LoadBalancer with Workload or Tunnel; use two pools",
      pool({ allowedUses: ["LoadBalancer", "Workload"] }),
    ],
    [
      "allowedUses must not hold LoadBalancer when ipipMode or vxlanMode is on; set both to Never",
      pool({ allowedUses: ["LoadBalancer"], vxlanMode: "Always" }),
    ],
    [
      "disableBGPExport must be false in a pool for LoadBalancer",
      pool({ allowedUses: ["LoadBalancer"], disableBGPExport: true }),
    ],
    [
      "nodeSelector must be all() in a pool for LoadBalancer",
      pool({ allowedUses: ["LoadBalancer"], nodeSelector: "has(rack)" }),
    ],
    [
      "namespaceSelector must be absent in a pool for Tunnel; set allowedUses to [Workload]",
      pool({ allowedUses: ["Tunnel"], namespaceSelector: "has(team)" }),
    ],
    ["nodeSelector must not use global(), which has no meaning in a pool", pool({ nodeSelector: "global()" })],
    [
      "namespaceSelector must not use global(), which has no meaning in a pool",
      pool({ allowedUses: ["Workload"], namespaceSelector: "global()" }),
    ],
    ["defaultAction must be Deny in the tier default", tier("default", 1_000_000, "Pass")],
    ["order must be 1000000 in the tier default", tier("default", 5, "Deny")],
    ["defaultAction must be Pass in the tier kube-admin", tier("kube-admin", 1_000, "Deny")],
    ["order must be 1000 in the tier kube-admin", tier("kube-admin", 1_000.5, "Pass")],
    ["defaultAction must be Pass in the tier kube-baseline", tier("kube-baseline", 10_000_000, "Deny")],
    ["order must be 10000000 in the tier kube-baseline", tier("kube-baseline", 1_000_000, "Pass")],
    ["icmp needs the protocol ICMP or ICMPv6", ingress({ icmp: { type: 8 } })],
    ["icmp needs the protocol ICMP or ICMPv6", ingress({ protocol: "TCP", icmp: { type: 8 } })],
    ["ipVersion must be 4 when protocol is ICMP", ingress({ protocol: "ICMP", ipVersion: 6 })],
    ["ipVersion must be 4 when protocol is ICMP", ingress({ protocol: 1, ipVersion: 6 })],
    ["ipVersion must be 6 when protocol is ICMPv6", ingress({ protocol: "58", ipVersion: 4 })],
    ["ipVersion must be 4 when notProtocol is ICMP", ingress({ notProtocol: "1", ipVersion: 6 })],
    ["ipVersion must be 6 when notProtocol is ICMPv6", ingress({ notProtocol: 58, ipVersion: 4 })],
    ["http needs the protocol TCP, or none", ingress({ protocol: "UDP", http: { methods: ["GET"] } })],
    ["http is for rules with the action Allow only", ingress({ action: "Deny", http: { methods: ["GET"] } })],
    [
      "destination.ports and notPorts cannot be combined with services, which say the ports",
      ["NetworkPolicy", { egress: [{ action: "Deny", protocol: "TCP", destination: { services, ports: [80] } }] }],
    ],
    ["selector must not use global(); it belongs in namespaceSelector", ingress({ source: { selector: "global()" } })],
    ["services needs a name", ingress({ source: { services: { namespace: "default" } } })],
    ...["nets", "notNets"].map(
      (field) =>
        [
          `${field} cannot be combined with services`,
          ingress({ source: { services, [field]: ["10.0.0.0/8"] } }),
        ] as const,
    ),
    ...["selector", "notSelector", "namespaceSelector"].map(
      (field) =>
        [`${field} cannot be combined with services`, ingress({ source: { services, [field]: "has(a)" } })] as const,
    ),
    [
      "serviceAccounts cannot be combined with services",
      ingress({ source: { services, serviceAccounts: { names: ["a"] } } }),
    ],
    ["code needs a type", ingress({ protocol: "ICMP", icmp: { code: 0 } })],
    ["code needs a type", ingress({ protocol: "ICMP", notICMP: { code: 0 } })],
    ...["selector", "serviceAccountSelector", "namespaceSelector"].map(
      (field) =>
        [
          `${field} must not use global(); it belongs in the namespaceSelector of a rule`,
          global({ [field]: "has(a) && global()" }),
        ] as const,
    ),
    [
      "selector must not use global(); it belongs in the namespaceSelector of a rule",
      ["NetworkPolicy", { selector: "global()" }],
    ],
    [
      "preDNAT cannot be true together with doNotTrack; make it two policies",
      global({ preDNAT: true, doNotTrack: true, applyOnForward: true }),
    ],
    [
      "egress must be empty in a policy with preDNAT, which is for ingress only",
      global({ preDNAT: true, applyOnForward: true, types: ["Ingress"], egress: [{ action: "Deny" }] }),
    ],
    [
      "types must be [Ingress] in a policy with preDNAT",
      global({ preDNAT: true, applyOnForward: true, types: ["Egress"] }),
    ],
    ["applyOnForward must be true in a policy with preDNAT or doNotTrack", global({ doNotTrack: true })],
    ["selector must not use global()", ["StagedNetworkPolicy", { selector: "global()" }]],
    [
      "applyOnForward must be true in a policy with preDNAT or doNotTrack",
      ["StagedGlobalNetworkPolicy", { preDNAT: true }],
    ],
    [
      "interfaceName is missing; it must be an interface or *, unless expectedIPs has the interface's addresses",
      host({ expectedIPs: [], interfaceName: "" }),
    ],
    ["node is missing; it must be the name of a node", ["HostEndpoint", { interfaceName: "*" }]],
    [
      "nodeSelector must be absent where the name is default or begins with node.",
      ["FelixConfiguration", { nodeSelector: "all()" }, { name: "default" }],
    ],
    [
      "nodeSelector must be absent where the name is default or begins with node.",
      ["FelixConfiguration", { nodeSelector: "all()" }, { name: "node.a" }],
    ],
    [
      "routeTableRange cannot be there together with routeTableRanges; remove it",
      felix({ routeTableRange: { min: 1, max: 2 }, routeTableRanges: [] }),
    ],
    ["natOutgoingAddress must be an IPv4 address", felix({ natOutgoingAddress: "fd00::1" })],
    ["deviceRouteSourceAddress must be an IPv4 address", felix({ deviceRouteSourceAddress: "web" })],
    ["deviceRouteSourceAddressIPv6 must be an IPv6 address", felix({ deviceRouteSourceAddressIPv6: "10.0.0.1" })],
    ["max must be from min to 250", felix({ routeTableRange: { min: 1, max: 251 } })],
    ["max must be min or more", felix({ routeTableRanges: [{ min: 2, max: 1 }] })],
    [
      "nodeMeshPassword must be absent where nodeToNodeMeshEnabled is false",
      bgp({ nodeToNodeMeshEnabled: false, nodeMeshPassword: {} }),
    ],
    [
      "nodeMeshMaxRestartTime must be absent where nodeToNodeMeshEnabled is false",
      bgp({ nodeToNodeMeshEnabled: false, nodeMeshMaxRestartTime: "1m" }),
    ],
    [
      "communities must be used: prefixAdvertisements is missing",
      bgp({ communities: [{ name: "a", value: "1:2" }], prefixAdvertisements: [] }),
    ],
    // What the schemas themselves say.
    ["spec.serviceClusterIPs[0].cidr in body must be of type cidr", bgp({ serviceClusterIPs: [{ cidr: "10.0.0.1" }] })],
    [
      "spec.prefixAdvertisements[0].cidr in body must be of type cidr",
      bgp({ prefixAdvertisements: [{ cidr: "web", communities: [] }] }),
    ],
    [
      "spec.communities[0].value: Invalid value",
      bgp({ communities: [{ name: "a", value: "1" }], prefixAdvertisements: [{ cidr: "::/0", communities: [] }] }),
    ],
    ["spec.logSeverityScreen: Invalid value", bgp({ logSeverityScreen: "Verbose" })],
    ["spec.listenPort: Invalid value", bgp({ listenPort: 0 })],
    ["nodeSelector cannot be there together with node", peer({ node: "n1", nodeSelector: "all()" })],
    ["peerSelector cannot be there together with peerIP", peer({ peerIP: "10.0.0.1", peerSelector: "all()" })],
    ["asNumber must be absent together with peerSelector", peer({ peerSelector: "all()", asNumber: 1 })],
    [
      "peerIP cannot be there together with localWorkloadSelector",
      peer({ localWorkloadSelector: "all()", asNumber: 1, peerIP: "10.0.0.1" }),
    ],
    [
      "peerSelector cannot be there together with localWorkloadSelector",
      peer({ localWorkloadSelector: "all()", asNumber: 1, peerSelector: "all()" }),
    ],
    [
      "asNumber is missing; with localWorkloadSelector it must be the workload's AS number",
      peer({ localWorkloadSelector: "all()" }),
    ],
    ["reachableBy must be absent without peerIP, whose gateway it is", peer({ reachableBy: "10.0.0.1" })],
    [
      "keepOriginalNextHop cannot be there together with nextHopMode, which replaces it",
      peer({ peerIP: "10.0.0.1", keepOriginalNextHop: true, nextHopMode: "Self" }),
    ],
    ["spec.ttlSecurity: Invalid value", peer({ ttlSecurity: 256 })],
    ['spec.reversePeering: Unsupported value: "No"', peer({ reversePeering: "No" })],
    ["cidr and matchOperator must both be there, or neither", filter({ cidr: "10.0.0.0/8" })],
    ["prefixLength must be absent without cidr", filter({ prefixLength: { min: 8 } })],
    [
      "operations must be absent unless action is Accept",
      filter({ action: "Reject", operations: [{ setPriority: { value: 1 } }] }),
    ],
    ["spec.exportV4[0].action: Required value", ["BGPFilter", { exportV4: [{}] }]],
    ["spec.exportV4[0].communities.values[0]: Invalid value", filter({ communities: { values: ["65536:1"] } })],
    ["spec.exportV4[0].communities.values: Too many", filter({ communities: { values: ["1:1", "1:2"] } })],
    [
      "spec.exportV4[0].operations[0]: Too many",
      filter({
        operations: [{ setPriority: { value: 1 }, addCommunity: { value: "1:1" } }],
      }),
    ],
    ["spec.exportV4[0].operations[0] in body should have at least 1 properties", filter({ operations: [{}] })],
    [
      'spec.classes[0]: Unsupported value: "All"',
      ["CalicoNodeStatus", { node: "n1", classes: ["All"], updatePeriodSeconds: 1 }],
    ],
    ["spec.ipv6NormalRoutePriority: Invalid value", bgp({ ipv6NormalRoutePriority: 2147483647 })],
    ['spec.bindMode: Unsupported value: "All"', bgp({ bindMode: "All" })],
    ['spec.programClusterRoutes: Unsupported value: "On"', bgp({ programClusterRoutes: "On" })],
    ["spec.ignoredInterfaces[1]: Duplicate value", bgp({ ignoredInterfaces: ["a", "a"] })],
    [
      "spec.nodeMeshPassword.secretKeyRef.key: Required value",
      bgp({ nodeMeshPassword: { secretKeyRef: { name: "a" } } }),
    ],
    [
      "spec.ports[0].name: Required value",
      host({ node: "n1", interfaceName: "*", ports: [{ protocol: "TCP", port: 1 }] }),
    ],
    ['spec.stagedAction: Unsupported value: "Keep"', ["StagedNetworkPolicy", { stagedAction: "Keep" }]],
    ['spec.policyTypes[0]: Unsupported value: "Both"', ["StagedKubernetesNetworkPolicy", { policyTypes: ["Both"] }]],
    ["spec.chainInsertMode: Invalid value", felix({ chainInsertMode: "Top" })],
    ["spec.routeRefreshInterval: Invalid value", felix({ routeRefreshInterval: "90" })],
    ["spec.iptablesMarkMask: Invalid value", felix({ iptablesMarkMask: 4294967296 })],
    [
      "spec.failsafeInboundHostPorts[0].port: Required value",
      felix({ failsafeInboundHostPorts: [{ protocol: "TCP" }] }),
    ],
    ["spec.cidr: Required value", ["IPPool", {}]],
    ["spec.cidr in body must be of type cidr", ["IPPool", { cidr: "10.0.0.0" }]],
    ['spec.ipipMode: Unsupported value: "Sometimes"', pool({ ipipMode: "Sometimes" })],
    ["spec.allowedUses[1]: Duplicate value", pool({ allowedUses: ["Workload", "Workload"] })],
    ['unknown field "spec.color"', pool({ color: "red" })],
    ['spec.defaultAction: Unsupported value: "Allow"', ["Tier", { defaultAction: "Allow" }]],
    ["spec.ingress[0].action: Required value", ["NetworkPolicy", { ingress: [{}] }]],
    ["spec.ingress[0].ipVersion: Unsupported value: 5", ingress({ ipVersion: 5 })],
    ["spec.ingress[0].icmp.type: Invalid value", ingress({ protocol: "ICMP", icmp: { type: 255 } })],
    ["spec.types[1]: Duplicate value", ["NetworkPolicy", { types: ["Egress", "Egress"] }]],
    ["spec.selector: Too long", ["NetworkPolicy", { selector: `has(${"a".repeat(1100)})` }]],
    [
      "spec.ingress: Too many",
      ["NetworkPolicy", { ingress: Array.from({ length: 1025 }, () => ({ action: "Deny" })) }],
    ],
    ["spec.nets[1]: Duplicate value", ["NetworkSet", { nets: ["10.0.0.0/8", "10.0.0.0/8"] }]],
    [
      "spec.ipCooldownSeconds: Invalid value",
      ["IPAMConfiguration", { ...IPAM, ipCooldownSeconds: 1201 }, { name: "default" }],
    ],
    ["spec.reservedCIDRs[0] in body must be of type cidr", ["IPReservation", { reservedCIDRs: ["web"] }]],
  ];

  test.each(REFUSED)("is refused by both: %s: %j", async (message, [kind, spec, metadata]) => {
    expect(problems(kind, spec, metadata).map(describeProblem)).not.toEqual([]);
    for (const group of GROUPS) expect(await refusal(group, kind, spec, metadata), group).toContain(message);
  });

  test("every rule is in that table", () => {
    const rules = (schema: JsonSchema): string[] => [
      ...(schema["x-kubernetes-validations"] ?? [])
        .filter(({ rule }) => !rule.includes("oldSelf"))
        .map(({ message }) => message),
      ...Object.values(schema.properties ?? {}).flatMap(rules),
      ...(schema.items ? rules(schema.items) : []),
    ];
    const all = GROUPS.flatMap(crdsOf).flatMap((crd) => rules(crd.spec.versions[0].schema.openAPIV3Schema));
    const seen = REFUSED.map(([message]) => message);
    expect([...new Set(all)].filter((message) => !seen.includes(message))).toEqual([]);
  });

  test.each<[string, Json, Partial<ObjectMeta>?]>([
    [...pool({ blockSize: 32, natOutgoing: true, disableBGPExport: true })],
    [...pool({ cidr: "10.0.0.0/30", disabled: true, vxlanMode: "Always", ipipMode: "Never" })],
    [
      ...pool({
        cidr: "fd00::/64",
        vxlanMode: "CrossSubnet",
        blockSize: 128,
        namespaceSelector: "has(a)",
        allowedUses: ["Workload"],
      }),
    ],
    [...pool({ allowedUses: ["LoadBalancer"], assignmentMode: "Manual", nodeSelector: "all()" })],
    [...tier("default", 1_000_000, "Deny")],
    [...tier("kube-admin", 1_000, "Pass")],
    [...tier("mine", -1.5, "Pass")],
    ["Tier", {}],
    ["NetworkPolicy", {}],
    ["NetworkPolicy", { tier: "mine", order: 1.5, types: ["Egress"], performanceHints: ["AssumeNeededOnEveryNode"] }],
    [...ingress({ protocol: "TCP", source: { ports: [80, "1000:2000", "http"], notNets: ["10.0.0.0/8"] } })],
    [...ingress({ protocol: "ICMPv6", ipVersion: 6, icmp: { type: 128, code: 0 }, notICMP: { type: 1 } })],
    [...ingress({ protocol: 6, http: { methods: ["GET"], paths: [{ exact: "/a" }, { prefix: "/b" }] } })],
    [...ingress({ source: { services }, destination: { selector: "has(a)", namespaceSelector: "global()" } })],
    [
      ...ingress({
        source: { serviceAccounts: { names: ["a"], selector: "has(b)" } },
        metadata: { annotations: { a: "b" } },
      }),
    ],
    [...global({ preDNAT: true, applyOnForward: true, ingress: [{ action: "Pass" }], egress: [], types: ["Ingress"] })],
    [...global({ doNotTrack: true, applyOnForward: true, egress: [{ action: "Log" }], namespaceSelector: "all()" })],
    ["NetworkSet", { nets: ["10.0.0.0/8", "fd00::1"] }],
    ["GlobalNetworkSet", {}, { labels: { a: "b" } }],
    ["IPReservation", { reservedCIDRs: ["10.0.0.1/32"] }],
    ["IPAMConfiguration", IPAM, { name: "default" }],
    [...host({ node: "n1", interfaceName: "eth0", ports: [{ name: "web", protocol: 6, port: 80 }] })],
    [...host({ node: "n1", expectedIPs: ["10.0.0.1", "fd00::1"], profiles: ["a"] })],
    ["FelixConfiguration", { nodeSelector: "has(rack)" }],
    [
      ...felix({
        chainInsertMode: "APPEND",
        logSeverityScreen: "debug",
        routeRefreshInterval: "1m30s",
        bpfLogLevel: "",
      }),
    ],
    [
      ...felix({
        failsafeInboundHostPorts: [],
        natPortRange: "1:5",
        kubeNodePortRanges: [80, "1:5"],
        istioDSCPMark: "EF",
      }),
    ],
    [
      ...felix({
        failsafeOutboundHostPorts: [{ protocol: "UDP", port: 53, net: "10.0.0.0/8" }],
        iptablesMarkMask: 4294901760,
      }),
    ],
    [...felix({ bpfConntrackTimeouts: { tcpSynSent: "20s", tcpFinsSeen: "Auto" }, bpfLogFilters: { all: "tcp" } })],
    [...bgp({})],
    [
      ...bgp({
        logSeverityScreen: "debug",
        asNumber: 4294967295,
        nodeToNodeMeshEnabled: true,
        nodeMeshMaxRestartTime: "2m30s",
        nodeMeshPassword: { secretKeyRef: { name: "a", key: "b", optional: true } },
        serviceClusterIPs: [{ cidr: "10.96.0.0/12" }, {}],
        serviceLoadBalancerIPs: [{ cidr: "fd00::/64" }],
        serviceLoadBalancerAggregation: "Disabled",
        ignoredInterfaces: ["veth*", "eth0.100"],
        localWorkloadPeeringIPV4: "169.254.1.1",
      }),
    ],
    [
      ...bgp({
        communities: [{ name: "a", value: "65000:1:2" }],
        prefixAdvertisements: [{ cidr: "10.0.0.0/8", communities: ["a", "1:2"] }],
      }),
    ],
    ["BGPConfiguration", { listenPort: 178, logSeverityScreen: "" }, { name: "node.n1" }],
    [...peer({})],
    [...peer({ node: "", nodeSelector: "all()", peerIP: "", peerSelector: "has(rr)", asNumber: 0 })],
    [
      ...peer({
        peerIP: "[fd00::1]:1790",
        asNumber: 4294967295,
        localASNumber: 65001,
        nextHopMode: "Keep",
        password: { secretKeyRef: { name: "a", key: "b" } },
        sourceAddress: "None",
        maxRestartTime: "2m",
        keepaliveTime: "",
        numAllowedLocalASNumbers: 1,
        ttlSecurity: 1,
        reachableBy: "fd01::1",
        filters: ["a"],
        reversePeering: "Auto",
        failureDetectionMode: "BFDIfDirectlyConnected",
      }),
    ],
    [
      ...filter({
        cidr: "10.0.0.0/8",
        matchOperator: "In",
        prefixLength: { min: 8 },
        interface: "*.calico",
        source: "RemotePeers",
        peerType: "iBGP",
        communities: { values: ["65535:0"] },
        asPathPrefix: [4294967295],
        priority: 1,
        operations: [{ addCommunity: { value: "1:2:4294967295" } }, { prependASPath: { prefix: [1] } }],
      }),
    ],
    ["CalicoNodeStatus", { node: "n1", classes: ["BGP", "Routes"], updatePeriodSeconds: 0 }],
    ["StagedNetworkPolicy", { stagedAction: "Delete", tier: "mine" }],
    ["StagedGlobalNetworkPolicy", { stagedAction: "Learn", ingress: [{ action: "Allow" }] }],
    ["StagedKubernetesNetworkPolicy", {}],
    [
      "StagedKubernetesNetworkPolicy",
      {
        podSelector: { matchLabels: { a: "b" } },
        ingress: [{ from: [{ podSelector: {} }], ports: [{ port: "web" }] }],
      },
    ],
  ])("is taken by both: %s %j", async (kind, spec, metadata) => {
    expect(problems(kind, spec, metadata).map(describeProblem)).toEqual([]);
    for (const group of GROUPS) expect(await refusal(group, kind, spec, metadata), group).toBeUndefined();
  });

  test("what our validator takes, the server takes", async () => {
    const word = fc.constantFrom("has(a)", "global()", "", "all()");
    const net = fc.constantFrom("10.0.0.0/8", "192.168.0.1", "fd00::/8");
    const some = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined, freq: 2 });
    const protocol = fc.constantFrom("TCP", "UDP", "ICMP", "ICMPv6", "SCTP", 1, 6, 58, "58", 132);
    const entity = fc.record({
      nets: some(fc.array(net, { maxLength: 2 })),
      notNets: some(fc.array(net, { maxLength: 1 })),
      selector: some(word),
      notSelector: some(word),
      namespaceSelector: some(word),
      ports: some(fc.array(fc.constantFrom<number | string>(80, "1:5", "web"), { maxLength: 2 })),
      services: some(fc.constantFrom({ name: "a", namespace: "b" }, { namespace: "b" }, {})),
      serviceAccounts: some(fc.constantFrom({}, { names: ["a"] })),
    });
    const match = fc.record({ type: some(fc.nat(255)), code: some(fc.nat(256)) });
    const rule = fc.record({
      action: fc.constantFrom("Allow", "Deny", "Log", "Pass"),
      ipVersion: some(fc.constantFrom(4, 6)),
      protocol: some(protocol),
      notProtocol: some(protocol),
      icmp: some(match),
      notICMP: some(match),
      source: some(entity),
      destination: some(entity),
      http: some(fc.constant({ methods: ["GET"] })),
    });
    const rules = some(fc.array(rule, { minLength: 1, maxLength: 2 }));
    const flag = some(fc.boolean());
    const policy = fc.record({
      ingress: rules,
      egress: rules,
      selector: some(word),
      types: some(fc.uniqueArray(fc.constantFrom("Ingress", "Egress"), { minLength: 1 })),
      preDNAT: flag,
      doNotTrack: flag,
      applyOnForward: flag,
      namespaceSelector: some(word),
    });
    const cidr = fc.constantFrom(
      "10.0.0.0/16",
      "10.0.0.0/26",
      "10.0.0.0/28",
      "10.1.2.3/24",
      "fd00::/64",
      "fe80::/64",
      "::/0",
    );
    const mode = some(fc.constantFrom("Never", "Always"));
    const ipPool = fc.record({
      cidr,
      blockSize: some(fc.constantFrom(0, 20, 26, 28, 122, 128)),
      ipipMode: mode,
      vxlanMode: mode,
      disabled: flag,
      disableBGPExport: flag,
      nodeSelector: some(fc.constantFrom("all()", "has(a)")),
      namespaceSelector: some(word),
      allowedUses: some(fc.subarray(["Workload", "Tunnel", "LoadBalancer"])),
    });
    const verdicts: Record<string, number> = {};
    const agrees = (kind: string) => async (spec: object) => {
      const plain = JSON.parse(JSON.stringify(spec)) as Json;
      const ours = problems(kind, plain).map(describeProblem);
      const theirs = await refusal("v3", kind, plain);
      const verdict = `${kind} ${ours.length === 0 ? "taken" : "refused"}`;
      verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
      if (ours.length === 0) expect(theirs, JSON.stringify(plain)).toBeUndefined();
      if (theirs !== undefined) expect(ours, theirs).not.toEqual([]);
    };
    await fc.assert(fc.asyncProperty(policy, agrees("GlobalNetworkPolicy")), { numRuns: 300 });
    await fc.assert(fc.asyncProperty(ipPool, agrees("IPPool")), { numRuns: 200 });
    // Both happen to both, so the comparison says something.
    expect(Object.keys(verdicts)).toHaveLength(4);
    expect(Math.min(...Object.values(verdicts)), JSON.stringify(verdicts)).toBeGreaterThan(10);
  });

  test("a pool keeps its addresses and block size", async () => {
    for (const group of GROUPS) {
      const { path } = place(group, "IPPool");
      const created = await server.request<Json & { spec: Json }>(
        "POST",
        path,
        objectOf(group, "IPPool", { cidr: "10.9.0.0/16", blockSize: 26 }, { name: "kept" }),
      );
      for (const [field, value] of [
        ["cidr", "10.8.0.0/16"],
        ["blockSize", 27],
      ] as const) {
        const changed = { ...created, spec: { ...created.spec, [field]: value } };
        await expect(server.request("PUT", `${path}/kept`, changed)).rejects.toThrow(`spec.${field}: Invalid value`);
      }
    }
  });

  test.each<[Spec, Partial<ObjectMeta>]>([
    [{}, {}],
    [{ ingress: [{ action: "Allow" }] }, { labels: { a: "b" } }],
    [{ egress: [{ action: "Allow" }] }, { labels: {} }],
    [{ ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] }, {}],
    [{ egress: [{ action: "Allow" }], tier: "" }, {}],
    [{ types: ["Egress"], tier: "other" }, { labels: { "projectcalico.org/tier": "default", a: "b" } }],
  ])("the server completes a policy as our Client does: %j %j", async (spec, metadata) => {
    for (const kind of ["NetworkPolicy", "GlobalNetworkPolicy", "StagedNetworkPolicy", "StagedGlobalNetworkPolicy"]) {
      const made = await server.request<{ metadata: ObjectMeta; spec: Spec }>(
        "POST",
        `${place("v3", kind).path}?dryRun=All`,
        objectOf("v3", kind, spec, metadata),
      );
      const { resource } = parseResource({ apiVersion: API_VERSION, kind, metadata: { name: "x", ...metadata }, spec });
      const { types, tier } = resource!.spec as Spec;
      expect({ labels: made.metadata.labels, types: made.spec.types, tier: made.spec.tier }).toEqual({
        labels: resource!.metadata.labels,
        types,
        tier,
      });
    }
  });

  test.each<[Spec, string[]]>([
    [{ ingress: [] }, ["Ingress"]],
    [{ egress: [] }, ["Egress"]],
    [{ ingress: [], egress: [] }, ["Ingress", "Egress"]],
    [{ ingress: [], egress: [{ action: "Allow" }] }, ["Ingress", "Egress"]],
  ])("an empty list counts for the server, as it does for upstream's: %j", async (spec, types) => {
    for (const kind of ["NetworkPolicy", "GlobalNetworkPolicy"]) {
      const { path } = place("v3", kind);
      const made = await server.request<{ spec: Spec }>("POST", `${path}?dryRun=All`, objectOf("v3", kind, spec, {}));
      expect(made.spec.types).toEqual(types);
    }
  });

  test("the server fills in what our Client does of a BGPConfiguration, but the log severity of all nodes", async () => {
    for (const group of GROUPS) {
      const { path } = place(group, "BGPConfiguration");
      const made = await server.request<{ spec: Json }>(
        "POST",
        `${path}?dryRun=All`,
        objectOf(group, "BGPConfiguration", {}, { name: "node.n1" }),
      );
      const metadata = { name: "node.n1" };
      expect(made.spec).toEqual(
        parseResource({ apiVersion: API_VERSION, kind: "BGPConfiguration", metadata, spec: {} }).resource!.spec,
      );
    }
  });

  test("a policy that moves to another tier is labelled anew", async () => {
    const { path } = place("v3", "NetworkPolicy");
    const created = await server.request<{ metadata: ObjectMeta; spec: Spec }>(
      "POST",
      path,
      objectOf("v3", "NetworkPolicy", {}, { name: "moves" }),
    );
    const moved = await server.request<typeof created>("PUT", `${path}/moves`, {
      ...created,
      spec: { ...created.spec, tier: "other" },
    });
    expect(moved.metadata.labels).toEqual({ "projectcalico.org/tier": "other" });
  });

  test("built-in tiers cannot be deleted, others can", async () => {
    const { path } = place("v3", "Tier");
    for (const [kind, spec, metadata] of [
      tier("default", 1_000_000, "Deny"),
      tier("kube-admin", 1_000, "Pass"),
      tier("kube-baseline", 10_000_000, "Pass"),
      tier("mine", 1, "Deny"),
    ])
      await server.request("POST", path, objectOf("v3", kind, spec, metadata));
    for (const name of ["default", "kube-admin", "kube-baseline"]) {
      await expect(server.request("DELETE", `${path}/${name}`)).rejects.toThrow(
        `the tier ${name} is built in and cannot be deleted`,
      );
    }
    await server.request("DELETE", `${path}/mine`);
  });

  test("what IPAM writes is taken, with the fields that Go Calico always writes", async () => {
    const affinity = newBlockAffinity({ type: "host", node: "n1", cidr: "10.0.0.0/26", state: "pending" });
    const block = newIPAMBlock({ cidr: "10.0.0.0/30", affinity: "host:n1", sequenceNumber: 5n });
    const spec = JSON.parse(
      JSON.stringify(block.spec, (_, value: unknown) => (typeof value === "bigint" ? Number(value) : value)),
    ) as Json;
    const handle = newIPAMHandle("Net.Container", { "10.0.0.0/26": 1 });
    for (const group of GROUPS) {
      const deleted = group === "v1" ? "false" : false;
      expect(await refusal(group, "BlockAffinity", { ...affinity.spec, deleted }, affinity.metadata)).toBeUndefined();
      expect(await refusal(group, "IPAMBlock", { ...spec, strictAffinity: false }, block.metadata)).toBeUndefined();
      expect(await refusal(group, "IPAMBlock", spec, block.metadata)).toContain("spec.strictAffinity: Required value");
      expect(await refusal(group, "IPAMHandle", handle.spec, handle.metadata)).toBeUndefined();
      expect(await refusal(group, "ClusterInformation", { datastoreReady: true, clusterType: "k8s" })).toBeUndefined();
    }
  });

  test("the status of a pool and a tier is written apart from the rest", async () => {
    const condition = {
      type: "Ready",
      status: "True",
      reason: "OK",
      message: "",
      lastTransitionTime: "2026-01-31T12:00:00Z",
    };
    for (const group of GROUPS) {
      const { path } = place(group, "Tier");
      const made = await server.request<Json>("POST", path, {
        ...objectOf(group, "Tier", { order: 1 }, { name: "status" }),
        status: { conditions: [condition] },
      });
      expect(made.status).toBeUndefined();
      const written = await server.request<Json>("PUT", `${path}/status/status`, {
        ...made,
        status: { conditions: [condition] },
      });
      expect(written.status).toEqual({ conditions: [condition] });
    }
  });
});
