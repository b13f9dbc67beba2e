import { describe, expect, test } from "vitest";
import { BlockAffinity, blockAffinityRef, newBlockAffinity } from "./blockaffinity.ts";
import { newClusterInformation } from "./clusterinformation.ts";
import { ipamBlockRef, newIPAMBlock } from "./ipamblock.ts";
import { defaultIPAMConfiguration, IPAMConfiguration } from "./ipamconfiguration.ts";
import { ipamHandleRef, newIPAMHandle } from "./ipamhandle.ts";
import { IPPool, type IPPoolSpec, newIPPool, selectsNamespace, selectsNode } from "./ippool.ts";
import type { Kind } from "./kind.ts";
import type { Resource } from "./meta.ts";
import { findKind, KINDS, kindNames, parseResource, parseResources } from "./registry.ts";
import { checkResource, checkUpdate } from "./resource.ts";
import { describeProblem, type Node } from "./schema.ts";
import { builtInTiers, isBuiltInTier, Tier } from "./tier.ts";

const parse = (kind: string, spec: unknown, metadata: unknown = { name: "x" }) =>
  parseResource({ apiVersion: "projectcalico.org/v3", kind, metadata, spec });
const problems = (kind: string, spec: unknown, metadata?: unknown) =>
  parse(kind, spec, metadata).problems.map(describeProblem);

describe("IPPool", () => {
  test("what is read has its defaults", () => {
    expect(parse("IPPool", { cidr: "10.0.0.0/16", ipipMode: "", allowedUses: [] }).resource?.spec).toEqual({
      cidr: "10.0.0.0/16",
      vxlanMode: "Never",
      ipipMode: "Never",
      blockSize: 26,
      nodeSelector: "all()",
      allowedUses: ["Workload", "Tunnel"],
      assignmentMode: "Automatic",
    });
    expect(newIPPool("v6", { cidr: "FD00:0:0::/64", natOutgoing: true }).spec).toMatchObject({
      cidr: "fd00::/64",
      blockSize: 122,
      natOutgoing: true,
    });
  });

  test.each<[string, object, string[]]>([
    ["right", { cidr: "10.0.0.0/16", ipipMode: "CrossSubnet", blockSize: 20 }, []],
    ["right for IPv6", { cidr: "fd00::/64", vxlanMode: "Always", blockSize: 128 }, []],
    ["disabled pools may be small", { cidr: "10.0.0.0/30", disabled: true }, []],
    ["no CIDR", {}, ["spec.cidr: is missing; it must be a CIDR such as 10.0.0.0/16 or fd00::/64"]],
    ["an address", { cidr: "10.0.0.0" }, ['spec.cidr: "10.0.0.0": must be a CIDR such as 10.0.0.0/16 or fd00::/64']],
    [
      "host bits",
      { cidr: "10.0.0.1/16" },
      ['spec.cidr: "10.0.0.1/16": has bits beyond its prefix length; must be 10.0.0.0/16'],
    ],
    [
      "link-local",
      { cidr: "169.254.0.0/24" },
      ['spec.cidr: "169.254.0.0/24": overlaps with the link-local range 169.254.0.0/16; must be outside of it'],
    ],
    [
      "all of IPv6",
      { cidr: "::/0" },
      ['spec.cidr: "::/0": overlaps with the link-local range fe80::/10; must be outside of it'],
    ],
    [
      "block too large",
      { cidr: "10.0.0.0/8", blockSize: 19 },
      ["spec.blockSize: 19: must be from 20 to 32 in an IPv4 pool"],
    ],
    [
      "block of the other version",
      { cidr: "fd00::/64", blockSize: 26 },
      ["spec.blockSize: 26: must be from 116 to 128 in an IPv6 pool"],
    ],
    [
      "smaller than a block",
      { cidr: "10.0.0.0/27" },
      ['spec.cidr: "10.0.0.0/27": is smaller than one block of /26; must be /26 or larger, or blockSize 27 or more'],
    ],
    [
      "both encapsulations",
      { cidr: "10.0.0.0/16", ipipMode: "Always", vxlanMode: "Always" },
      ['spec.ipipMode: "Always": cannot be on together with vxlanMode Always; one of them must be Never'],
    ],
    [
      "IP-in-IP for IPv6",
      { cidr: "fd00::/64", ipipMode: "Always" },
      ['spec.ipipMode: "Always": must be Never in an IPv6 pool; vxlanMode works there'],
    ],
    [
      "an unknown mode",
      { cidr: "10.0.0.0/16", ipipMode: "always" },
      ['spec.ipipMode: "always": must be one of Never, Always, CrossSubnet'],
    ],
    [
      "load balancer with others",
      { cidr: "10.0.0.0/16", allowedUses: ["LoadBalancer", "Workload"] },
      [
        'spec.allowedUses: ["LoadBalancer","Workload"]: must not combine LoadBalancer with Workload or Tunnel; use two pools',
      ],
    ],
    [
      "load balancer with what only pods have",
      {
        cidr: "10.0.0.0/16",
        allowedUses: ["LoadBalancer"],
        vxlanMode: "Always",
        disableBGPExport: true,
        nodeSelector: "has(a)",
      },
      [
        'spec.allowedUses: ["LoadBalancer"]: must not hold LoadBalancer when ipipMode or vxlanMode is on; set both to Never',
        "spec.disableBGPExport: true: must be false in a pool for LoadBalancer",
        'spec.nodeSelector: "has(a)": must be all() in a pool for LoadBalancer',
      ],
    ],
    [
      "namespaces and tunnels",
      { cidr: "10.0.0.0/16", namespaceSelector: "has(a)" },
      [
        'spec.namespaceSelector: "has(a)": must be absent in a pool for Tunnel, which is the default use; set allowedUses to [Workload]',
      ],
    ],
    [
      "global()",
      { cidr: "10.0.0.0/16", nodeSelector: "global()" },
      ['spec.nodeSelector: "global()": must not use global(), which has no meaning in a pool'],
    ],
    [
      "a broken selector",
      { cidr: "10.0.0.0/16", nodeSelector: "a =" },
      ['spec.nodeSelector: "a =": must be a selector; expected == at character 3, found "="'],
    ],
  ])("%s", (_, spec, expected) => {
    expect(problems("IPPool", spec)).toEqual(expected);
  });

  test("pools must not overlap, but one does not overlap with itself", () => {
    const pool = newIPPool("a", { cidr: "10.0.0.0/16" });
    const others = [
      newIPPool("a", { cidr: "10.0.0.0/16" }),
      newIPPool("b", { cidr: "10.1.0.0/16" }),
      newIPPool("c", { cidr: "10.0.0.0/8" }),
      newIPPool("d", { cidr: "::/8" }),
    ];
    expect(IPPool.checkAgainst?.(pool, others).map(describeProblem)).toEqual([
      'spec.cidr: "10.0.0.0/16": overlaps with 10.0.0.0/8 of the pool c; pools must not share addresses',
    ]);
  });

  test("neither its CIDR nor its block size can change, and a load balancer's stays one", () => {
    const change = (before: Partial<IPPoolSpec>, after: Partial<IPPoolSpec>) =>
      checkUpdate(
        IPPool,
        newIPPool("a", { cidr: "10.0.0.0/16", ...after }),
        newIPPool("a", { cidr: "10.0.0.0/16", ...before }),
      ).map(describeProblem);
    const instead = "make a new pool, disable this one, and delete it when its addresses are free";
    expect(change({}, { disabled: true, vxlanMode: "Always" })).toEqual([]);
    expect(change({}, { cidr: "10.0.0.0/8" })).toEqual([
      `spec.cidr: "10.0.0.0/8": cannot change from 10.0.0.0/16; ${instead}`,
    ]);
    expect(change({ cidr: "fd00::/64" }, { cidr: "fd00:0::/64" })).toEqual([]);
    expect(change({}, { blockSize: 27 })).toEqual([`spec.blockSize: 27: cannot change from 26; ${instead}`]);
    expect(change({ allowedUses: ["LoadBalancer"] }, {})).toEqual([
      'spec.allowedUses: ["Workload","Tunnel"]: cannot change from LoadBalancer to Workload or Tunnel; make another pool',
    ]);
  });

  test("selects nodes and namespaces by their labels", () => {
    const pool = newIPPool("a", {
      cidr: "10.0.0.0/16",
      nodeSelector: 'zone == "west"',
      namespaceSelector: "has(team)",
    });
    expect(selectsNode(pool, { zone: "west" })).toBe(true);
    expect(selectsNode(pool, {})).toBe(false);
    expect(selectsNamespace(pool, { team: "" })).toBe(true);
    expect(selectsNamespace(pool, {})).toBe(false);
    const open = newIPPool("b", { cidr: "10.0.0.0/16" });
    expect(selectsNode(open, {}) && selectsNamespace(open, {})).toBe(true);
    expect(selectsNode(newIPPool("c", { cidr: "10.0.0.0/16", nodeSelector: "a =" }), {})).toBe(false);
  });
});

describe("other kinds", () => {
  test("IPAMConfiguration", () => {
    expect(defaultIPAMConfiguration().spec).toEqual({
      strictAffinity: false,
      autoAllocateBlocks: true,
      maxBlocksPerHost: 0,
      kubeVirtVMAddressPersistence: "Enabled",
      ipCooldownSeconds: 0,
    });
    expect(checkResource(IPAMConfiguration, defaultIPAMConfiguration())).toEqual([]);
    expect(
      problems(
        "IPAMConfiguration",
        { autoAllocateBlocks: false, maxBlocksPerHost: 2, ipCooldownSeconds: 0 },
        { name: "default" },
      ),
    ).toEqual([
      "spec.autoAllocateBlocks: false: cannot be false together with strictAffinity: a node could then only borrow; set one of them to true",
      "spec.maxBlocksPerHost: 2: needs strictAffinity true: a node at its limit would otherwise borrow without limit; set it, or 0 here",
    ]);
    expect(problems("IPAMConfiguration", { ipCooldownSeconds: 1201 }, { name: "other" })).toEqual([
      'metadata.name: "other": must be default; there is one IPAMConfiguration',
      "spec.ipCooldownSeconds: 1201: must be an integer from 0 to 1200 (seconds)",
    ]);
  });

  test("IPReservation takes CIDRs and addresses", () => {
    expect(problems("IPReservation", { reservedCIDRs: ["10.0.0.0/24", "10.0.1.1", "fd00::1"] })).toEqual([]);
    expect(problems("IPReservation", { reservedCIDRs: ["10.0.0"] })).toEqual([
      'spec.reservedCIDRs[0]: "10.0.0": must be a CIDR such as 10.0.0.0/16 or fd00::/64, or an address',
    ]);
  });

  test("an IPAMBlock is laid out with all addresses free", () => {
    const block = newIPAMBlock({ cidr: "10.0.0.0/30", affinity: "host:n1", sequenceNumber: 2n ** 60n });
    expect(block.metadata.name).toBe("10-0-0-0-30");
    expect(block.spec).toEqual({
      cidr: "10.0.0.0/30",
      affinity: "host:n1",
      allocations: [null, null, null, null],
      unallocated: [0, 1, 2, 3],
      attributes: [],
      sequenceNumber: 2n ** 60n,
      sequenceNumberForAllocation: {},
      deleted: false,
    });
    expect(ipamBlockRef("fd00::/122")).toEqual({ name: "fd00---122", spec: { cidr: "fd00::/122" } });
    expect(() => newIPAMBlock({ cidr: "10.0.0.0/8", sequenceNumber: 0n })).toThrow(
      "10.0.0.0/8 is too large for a block",
    );
  });

  test("an IPAMBlock as another Calico stores it is read, with numbers beyond 2^53", () => {
    const stored = {
      cidr: "10.0.0.0/30",
      affinity: "host:n1",
      allocations: [0, null, 0, null],
      unallocated: [1, 3],
      attributes: [{ handle_id: "h", secondary: { node: "n1" }, releasedAt: null }],
      sequenceNumber: 1_754_000_000_000_000_001n,
      sequenceNumberForAllocation: { "0": 1_754_000_000_000_000_000n, "2": 5 },
      deleted: false,
      strictAffinity: false,
    };
    const { resource, problems } = parse("IPAMBlock", stored);
    expect(problems).toEqual([]);
    expect(resource?.spec).toMatchObject({
      attributes: [{ handle_id: "h", secondary: { node: "n1" } }],
      sequenceNumber: 1_754_000_000_000_000_001n,
      sequenceNumberForAllocation: { "0": 1_754_000_000_000_000_000n, "2": 5n },
    });
  });

  test("BlockAffinity carries the name and labels that others look for", () => {
    const id = { type: "host", node: "node1", cidr: "10.0.0.0/26" } as const;
    const affinity = newBlockAffinity({ ...id, state: "pending" });
    expect(affinity.metadata).toEqual({
      name: "node1-10-0-0-0-26",
      labels: {
        "projectcalico.org/hostname-hash": "7DS2CCNJGGLTHBDQLLFO6SX24SY2YDDEG3W2VN556FA2W4DLLV5A",
        "projectcalico.org/affinity-type": "host",
        "projectcalico.org/ip-version": "4",
      },
    });
    expect(checkResource(BlockAffinity, affinity)).toEqual([]);
    expect(blockAffinityRef(id)).toEqual({ name: "node1-10-0-0-0-26", spec: id });
    expect(parse("BlockAffinity", { state: "", node: "n", cidr: "10.0.0.0/26" }).resource?.spec).toMatchObject({
      state: "confirmed",
      type: "host",
    });
  });

  test("IPAMHandle is named in lower case", () => {
    expect(ipamHandleRef("K8s-Pod.ABC")).toEqual({ name: "k8s-pod.abc", spec: { handleID: "K8s-Pod.ABC" } });
    expect(newIPAMHandle("A", { "10.0.0.0/26": 1 })).toMatchObject({
      metadata: { name: "a" },
      spec: { handleID: "A", deleted: false },
    });
  });

  test("Node", () => {
    const right = {
      bgp: { ipv4Address: "10.0.0.1/24", asNumber: "64512" },
      addresses: [{ address: "10.0.0.1/24", type: "CalicoNodeIP" }],
    };
    expect(parse("Node", right)).toMatchObject({ problems: [], resource: { spec: { bgp: { asNumber: 64512 } } } });
    expect(problems("Node", { bgp: {} })).toEqual([
      "spec.bgp: {}: must not be empty; leave it out, or say ipv4Address",
    ]);
    expect(problems("Node", { bgp: { ipv4Address: "fd00::1/64", asNumber: "x" } })).toEqual([
      'spec.bgp.asNumber: "x": must be an integer from 0 to 4294967295',
      'spec.bgp.ipv4Address: "fd00::1/64": must be an IPv4 address, or one with its prefix length such as 10.0.0.1/24',
    ]);
  });

  test("WorkloadEndpoint", () => {
    const spec = {
      node: "n1",
      orchestrator: "cni",
      containerID: "abc",
      endpoint: "eth0",
      interfaceName: "caliabc",
      mac: "ee:ee:ee:ee:ee:ee",
      ipNetworks: ["10.0.0.1/32", "fd00::1/128"],
      ports: [{ name: "http", protocol: "TCP", port: 80 }],
    };
    const { resource, problems: none } = parse("WorkloadEndpoint", spec, { namespace: "default" });
    expect(none).toEqual([]);
    expect(resource?.metadata.name).toBe("n1-cni-abc-eth0");
    expect(problems("WorkloadEndpoint", spec, { name: "other" })).toEqual([
      'metadata.name: "other": must be n1-cni-abc-eth0, which is made of the spec',
    ]);
    const wrong = {
      ...spec,
      ipNetworks: ["10.0.0.0/24"],
      ipNATs: [{ internalIP: "10.0.0.1", externalIP: "fd00::1" }],
      ports: [{ protocol: "ICMP", port: 1 }],
      qosControls: { ingressBandwidth: 10, egressBurst: 1 },
    };
    expect(problems("WorkloadEndpoint", wrong, {})).toEqual([
      'spec.ipNetworks[0]: "10.0.0.0/24": must be one address: /32',
      'spec.ipNATs[0].externalIP: "fd00::1": must be IPv4, as its internalIP is',
      'spec.ipNATs[0].internalIP: "10.0.0.1": must be one of spec.ipNetworks',
      'spec.ports[0].protocol: "ICMP": must be one that has ports: TCP, UDP or SCTP',
      "spec.ports[0].name: is missing; a port without hostPort needs a name",
      "spec.qosControls.ingressBandwidth: 10: must be 0, or from 1000 to 1000000000000000",
    ]);
  });

  test("ClusterInformation begins with a new GUID", () => {
    const [a, b] = [
      newClusterInformation({ calicoVersion: "v1", clusterType: "" }),
      newClusterInformation({ calicoVersion: "v1", clusterType: "cni" }),
    ];
    expect(a.spec.clusterGUID).toMatch(/^[0-9a-f]{32}$/);
    expect(a.spec.clusterGUID).not.toBe(b.spec.clusterGUID);
    expect(a.spec).not.toHaveProperty("clusterType");
    expect(b).toMatchObject({
      metadata: { name: "default" },
      spec: { clusterType: "cni", calicoVersion: "v1", datastoreReady: true },
    });
  });

  test("the built-in tiers are what they must be", () => {
    expect(builtInTiers().map((tier) => [tier.metadata.name, tier.spec.order, tier.spec.defaultAction])).toEqual([
      ["default", 1_000_000, "Deny"],
      ["kube-admin", 1_000, "Pass"],
      ["kube-baseline", 10_000_000, "Pass"],
    ]);
    for (const tier of builtInTiers()) {
      expect(checkResource(Tier, tier)).toEqual([]);
      expect(isBuiltInTier(tier.metadata.name)).toBe(true);
    }
    expect(problems("Tier", { order: 5 }, { name: "kube-admin" })).toEqual([
      "spec.order: 5: must be 1000 in the tier kube-admin",
      'spec.defaultAction: "Deny": must be Pass in the tier kube-admin',
    ]);
    expect(parse("Tier", {}, { name: "own" }).resource?.spec).toEqual({ order: 1_000_000, defaultAction: "Deny" });
    expect(problems("Tier", {}, { name: "a.b" })).toHaveLength(1);
  });

  test.each<[string, object, string[]]>([
    [
      "right",
      { action: "Allow", protocol: "TCP", source: { selector: "has(a)" }, destination: { ports: [80, "1:2", "http"] } },
      [],
    ],
    ["named ports need no protocol", { action: "Allow", destination: { ports: ["http"] } }, []],
    [
      "numbers do",
      { action: "Allow", destination: { ports: [80] } },
      ["destination.ports: [80]: needs a protocol that has ports: TCP, UDP or SCTP"],
    ],
    [
      "ICMP has none",
      { action: "Allow", protocol: 1, source: { notPorts: ["x"] } },
      ['source.notPorts: ["x"]: needs a protocol that has ports: TCP, UDP or SCTP'],
    ],
    [
      "ICMP fields",
      { action: "Deny", protocol: "TCP", icmp: { code: 1 } },
      ['icmp: {"code":1}: needs the protocol ICMP or ICMPv6', "icmp.code: 1: needs a type"],
    ],
    [
      "ICMPv6 over IPv4",
      { action: "Deny", protocol: "ICMPv6", ipVersion: 4 },
      ["ipVersion: 4: must be 6 when protocol is ICMPv6"],
    ],
    ["an action", { action: "allow" }, ['action: "allow": must be one of Allow, Deny, Log, Pass']],
    [
      "both IP versions",
      { action: "Allow", source: { nets: ["10.0.0.0/8"] }, destination: { nets: ["fd00::/8"] } },
      ['destination.nets[0]: "fd00::/8": must be IPv4, as source.nets[0] is; use one rule for each IP version'],
    ],
    [
      "another IP version",
      { action: "Allow", ipVersion: 6, source: { nets: ["10.0.0.0/8"] } },
      ['source.nets[0]: "10.0.0.0/8": must be IPv6, as ipVersion says'],
    ],
    [
      "nothing left",
      { action: "Allow", source: { notNets: ["0.0.0.0/0"] } },
      ['source.notNets[0]: "0.0.0.0/0": excludes every address; nothing would match'],
    ],
    [
      "global()",
      { action: "Allow", source: { selector: "global()", namespaceSelector: "global() && has(a)" } },
      [
        'source.selector: "global()": must not use global(); it belongs in namespaceSelector',
        'source.namespaceSelector: "global() && has(a)": must be global() alone where it uses global()',
      ],
    ],
    [
      "services",
      { action: "Allow", protocol: "TCP", destination: { services: {}, selector: "all()", ports: [80] } },
      [
        "destination.services.name: is missing; it must be the name of a service",
        'destination.selector: "all()": cannot be combined with services',
        "destination.ports: [80]: cannot be combined with services, which say the ports",
      ],
    ],
    [
      "HTTP",
      { action: "Deny", protocol: "UDP", http: { methods: ["GET", "GET"], paths: [{ exact: "x" }, {}] } },
      [
        'http: {"methods":["GET","GET"],"paths":[{"exact":"x"},{}]}: needs the protocol TCP, or none',
        'http: {"methods":["GET","GET"],"paths":[{"exact":"x"},{}]}: is for rules with the action Allow only',
        'http.methods: ["GET","GET"]: must name each method once',
        'http.paths[0]: {"exact":"x"}: must begin with / and hold no ?, # or blank',
        "http.paths[1]: {}: must have either exact or prefix",
      ],
    ],
  ])("rules of a Profile: %s", (_, rule, expected) => {
    expect(problems("Profile", { ingress: [rule] })).toEqual(expected.map((text) => `spec.ingress[0].${text}`));
  });
});

describe("resources", () => {
  test.each<[string, unknown, string[]]>([
    ["no object", "text", ['resource: "text": must be an object with apiVersion, kind, metadata and spec']],
    [
      "nothing in it",
      {},
      [
        "apiVersion: is missing; it must be projectcalico.org/v3",
        "kind: is missing; it must be one of BGPConfiguration, BGPFilter, BGPPeer, BlockAffinity, CalicoNodeStatus, ClusterInformation, ClusterNetworkPolicy, EndpointSlice, FelixConfiguration, GlobalNetworkPolicy, GlobalNetworkSet, HostEndpoint, IPAMBlock, IPAMConfiguration, IPAMHandle, IPPool, IPReservation, KubeControllersConfiguration, Namespace, NetworkPolicy, NetworkSet, Node, Pod, Profile, Secret, Service, ServiceAccount, StagedGlobalNetworkPolicy, StagedKubernetesNetworkPolicy, StagedNetworkPolicy, Tier, WorkloadEndpoint",
      ],
    ],
    [
      "another version",
      { apiVersion: "crd.projectcalico.org/v1", kind: "Tier", metadata: { name: "a" } },
      ['apiVersion: "crd.projectcalico.org/v1": must be projectcalico.org/v3'],
    ],
    [
      "no name",
      { apiVersion: "projectcalico.org/v3", kind: "Tier", metadata: {} },
      ["metadata.name: is missing; it must be a string"],
    ],
    [
      "metadata",
      {
        apiVersion: "projectcalico.org/v3",
        kind: "IPReservation",
        metadata: { name: "A_b", namespace: "x", labels: { a: "!" }, extra: 1 },
        more: 2,
      },
      [
        'metadata.name: "A_b": must be a name of lower-case letters, digits, - and ., at most 253 long, with a letter or digit at both ends of every part',
        'metadata.namespace: "x": must be absent; objects of the kind IPReservation are in no namespace',
        'metadata.labels["a"]: "!": must be empty, or at most 63 letters, digits, -, _ and ., with a letter or digit at both ends',
        "metadata.extra: 1: is not a field here; the fields are name, namespace, uid, resourceVersion, creationTimestamp, deletionTimestamp, deletionGracePeriodSeconds, generateName, generation, labels, annotations, ownerReferences, finalizers",
        "more: 2: is not a field here; the fields are apiVersion, kind, metadata, spec and status",
      ],
    ],
  ])("%s", (_, value, expected) => {
    expect(parseResource(value).problems.map(describeProblem)).toEqual(expected);
  });

  test("what kubectl prints is read, and the input is left alone", () => {
    const value = Object.freeze({
      apiVersion: "projectcalico.org/v3",
      kind: "IPPool",
      metadata: Object.freeze({
        name: "p",
        creationTimestamp: null,
        managedFields: [],
        uid: "u",
        resourceVersion: "7",
      }),
      spec: Object.freeze({ cidr: "10.0.0.0/16" }),
    });
    const { kind, resource, problems } = parseResource(value);
    expect(problems).toEqual([]);
    expect(kind).toBe(IPPool);
    expect(resource?.metadata).toEqual({ name: "p", uid: "u", resourceVersion: "7" });
  });

  test("lists of every form are taken apart", () => {
    const item = { apiVersion: "projectcalico.org/v3", kind: "Tier", metadata: { name: "a" }, spec: {} };
    const { apiVersion: _, kind: __, ...bare } = item;
    for (const value of [
      item,
      [item],
      { apiVersion: "v1", kind: "List", items: [item] },
      { apiVersion: item.apiVersion, kind: "TierList", items: [bare] },
    ]) {
      const parsed = parseResources(value);
      expect(parsed.map((one) => [one.resource?.metadata.name, one.problems])).toEqual([["a", []]]);
    }
    expect(parseResources([])).toEqual([]);
    expect(parseResources({ kind: "List" })[0]?.problems).not.toEqual([]);
  });
});

describe("the registry", () => {
  test("names are unique, and find their kind in any case", () => {
    const seen = new Map<string, string>();
    for (const kind of KINDS) {
      for (const name of kindNames(kind)) {
        expect(name).toBe(name.toLowerCase());
        expect(seen.get(name), name).toBeUndefined();
        seen.set(name, kind.kind);
        expect(findKind(name.toUpperCase())).toBe(kind);
      }
    }
    expect(findKind("nothing")).toBeUndefined();
  });

  test.each([
    ["pool", "IPPool"],
    ["ipp", "IPPool"],
    ["wep", "WorkloadEndpoint"],
    ["no", "Node"],
    ["pro", "Profile"],
    ["tier", "Tier"],
    ["ipreservation", "IPReservation"],
    ["ipamconfig", "IPAMConfiguration"],
    ["clusterinfo", "ClusterInformation"],
    ["hep", "HostEndpoint"],
    ["felixconfig", "FelixConfiguration"],
    ["spol", "StagedNetworkPolicy"],
    ["sgnp", "StagedGlobalNetworkPolicy"],
    ["skpol", "StagedKubernetesNetworkPolicy"],
  ])("%s is %s", (name, kind) => {
    expect(findKind(name)?.kind).toBe(kind);
  });

  test("every field is documented", () => {
    const undocumented = (node: Node, path: string): string[] => {
      if (node.type === "array") return undocumented(node.items, `${path}[]`);
      if (node.type === "map") return undocumented(node.values, `${path}{}`);
      if (node.type !== "object") return [];
      return Object.entries(node.fields).flatMap(([name, field]) => [
        ...(field.doc ? [] : [`${path}.${name}`]),
        ...undocumented(field, `${path}.${name}`),
      ]);
    };
    for (const kind of KINDS) {
      expect(kind.doc, kind.kind).not.toBe("");
      expect([
        ...undocumented(kind.spec, kind.kind),
        ...(kind.status ? undocumented(kind.status, kind.kind) : []),
      ]).toEqual([]);
    }
  });

  test("tables have upstream's headings", () => {
    const headings = (kind: Kind, wide: boolean) =>
      kind.columns
        .filter((column) => wide || !column.wide)
        .map((column) => column.title)
        .join(" ");
    const table = KINDS.filter((kind) => !kind.managed || kind.kind === "ClusterInformation");
    expect(Object.fromEntries(table.map((kind) => [kind.kind, [headings(kind, false), headings(kind, true)]]))).toEqual(
      {
        ClusterInformation: [
          "NAME CLUSTERGUID CLUSTERTYPE CALICOVERSION DATASTOREREADY",
          "NAME CLUSTERGUID CLUSTERTYPE CALICOVERSION DATASTOREREADY",
        ],
        BGPConfiguration: ["NAME LOGSEVERITY MESHENABLED ASNUMBER", "NAME LOGSEVERITY MESHENABLED ASNUMBER"],
        BGPFilter: [
          "NAME NUMEXPORTV4 NUMIMPORTV4 NUMEXPORTV6 NUMIMPORTV6",
          "NAME NUMEXPORTV4 NUMIMPORTV4 NUMEXPORTV6 NUMIMPORTV6",
        ],
        BGPPeer: ["NAME PEERIP NODE ASN", "NAME PEERIP NODE ASN"],
        CalicoNodeStatus: ["NAME NODE", "NAME NODE CLASSES"],
        FelixConfiguration: ["NAME", "NAME"],
        GlobalNetworkPolicy: ["NAME TIER", "NAME TIER ORDER SELECTOR"],
        GlobalNetworkSet: ["NAME", "NAME NETS"],
        HostEndpoint: ["NAME NODE", "NAME NODE INTERFACE IPS PROFILES"],
        IPAMConfiguration: [
          "NAME STRICTAFFINITY AUTOALLOCATEBLOCKS",
          "NAME STRICTAFFINITY AUTOALLOCATEBLOCKS MAXBLOCKSPERHOST",
        ],
        IPPool: [
          "NAME CIDR SELECTOR",
          "NAME CIDR NAT IPIPMODE VXLANMODE DISABLED DISABLEBGPEXPORT SELECTOR ASSIGNMENTMODE",
        ],
        IPReservation: ["NAME", "NAME CIDRS"],
        KubeControllersConfiguration: ["NAME", "NAME"],
        NetworkPolicy: ["NAME TIER", "NAME TIER ORDER SELECTOR"],
        NetworkSet: ["NAME", "NAME NETS"],
        Node: ["NAME", "NAME ASN IPV4 IPV6"],
        Profile: ["NAME", "NAME LABELS"],
        StagedGlobalNetworkPolicy: ["NAME TIER", "NAME TIER ORDER SELECTOR"],
        StagedKubernetesNetworkPolicy: ["NAME", "NAME PODSELECTOR"],
        StagedNetworkPolicy: ["NAME TIER", "NAME TIER ORDER SELECTOR"],
        Tier: ["NAME ORDER", "NAME ORDER"],
        WorkloadEndpoint: ["WORKLOAD NODE NETWORKS INTERFACE", "NAME WORKLOAD NODE NETWORKS INTERFACE PROFILES NATS"],
      },
    );
  });

  test.each<[string, unknown, string[]]>([
    [
      "IPPool",
      { cidr: "10.0.0.0/16", natOutgoing: true },
      ["x", "10.0.0.0/16", "true", "Never", "Never", "false", "false", "all()", "Automatic"],
    ],
    ["IPReservation", { reservedCIDRs: ["10.0.0.0/24", "10.0.1.0/24"] }, ["x", "10.0.0.0/24,10.0.1.0/24"]],
    [
      "IPReservation",
      { reservedCIDRs: Array.from({ length: 20 }, (_, i) => `10.0.${i}.0/24`) },
      ["x", "10.0.0.0/24,10.0.1.0/24,10.0.2.0/24,10.0.3.0/24,10.0.4.0/24,10.0.5.0/24,10.0...."],
    ],
    ["GlobalNetworkPolicy", { order: 2.5, selector: "all()" }, ["x", "default", "2.5", "all()"]],
    ["NetworkPolicy", { tier: "t" }, ["x", "t", "<nil>", ""]],
    ["NetworkSet", { nets: ["10.0.0.0/24", "fd00::1"] }, ["x", "10.0.0.0/24,fd00::1"]],
    ["Node", {}, ["x", "", "", ""]],
    ["Node", { bgp: { ipv4Address: "10.0.0.1/24" } }, ["x", "(64512)", "10.0.0.1/24", ""]],
    ["Profile", { labelsToApply: { b: "1", a: "2" } }, ["x", "a=2,b=1"]],
    ["Tier", { order: 5 }, ["x", "5"]],
    [
      "WorkloadEndpoint",
      {
        pod: "p",
        node: "n",
        ipNetworks: ["10.0.0.1/32"],
        ipNATs: [{ internalIP: "10.0.0.1", externalIP: "1.2.3.4" }],
        profiles: ["a", "b"],
      },
      ["x", "p", "n", "10.0.0.1/32", "", "a,b", "{10.0.0.1 1.2.3.4}"],
    ],
    ["ClusterInformation", {}, ["x", "", "", "", "<nil>"]],
    ["BGPConfiguration", {}, ["x", "", "-", "-"]],
    [
      "BGPConfiguration",
      { logSeverityScreen: "Info", nodeToNodeMeshEnabled: false, asNumber: "0.7" },
      ["x", "Info", "false", "7"],
    ],
    ["BGPPeer", {}, ["x", "", "(global)", "0"]],
    ["BGPPeer", { nodeSelector: "all()", peerIP: "10.0.0.1", asNumber: "1.1" }, ["x", "10.0.0.1", "all()", "65537"]],
    ["BGPPeer", { node: "n", peerSelector: "has(rr)" }, ["x", "", "n", "0"]],
    ["BGPFilter", { importV6: [{ action: "Accept" }] }, ["x", "0", "0", "0", "1"]],
    ["CalicoNodeStatus", { node: "n", classes: ["BGP", "Agent"], updatePeriodSeconds: 10 }, ["x", "n", "BGP,Agent"]],
    ["FelixConfiguration", {}, ["x"]],
    [
      "HostEndpoint",
      { node: "n", interfaceName: "eth0", expectedIPs: ["10.0.0.1", "fd00::1"], profiles: ["a", "b"] },
      ["x", "n", "eth0", "10.0.0.1,fd00::1", "a,b"],
    ],
    ["HostEndpoint", {}, ["x", "", "", "", ""]],
    ["StagedNetworkPolicy", { order: 1, selector: "has(a)" }, ["x", "default", "1", "has(a)"]],
    ["StagedGlobalNetworkPolicy", { tier: "t" }, ["x", "t", "<nil>", ""]],
    ["StagedKubernetesNetworkPolicy", { podSelector: { matchLabels: { a: "b" } } }, ["x", "a=b"]],
    ["BlockAffinity", { node: "n", cidr: "10.0.0.0/26" }, ["x", "10.0.0.0/26", "n", "host", "confirmed"]],
    ["IPAMBlock", { cidr: "10.0.0.0/30", unallocated: [1] }, ["x", "10.0.0.0/30", "", "1"]],
    ["IPAMHandle", { handleID: "X" }, ["x", "X"]],
    ["IPAMConfiguration", {}, ["x", "false", "true", "0"]],
  ])("a row of %s", (name, spec, expected) => {
    const { kind, resource } = parse(name, spec);
    expect(kind?.columns.map((column) => column.value(resource as Resource))).toEqual(expected);
  });
});
