import { describe, expect, test } from "vitest";
import type { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import { newBlockAffinity } from "../../api/blockaffinity.ts";
import { type IPPoolSpec, newIPPool } from "../../api/ippool.ts";
import type { Node } from "../../api/node.ts";
import { nodeBgp } from "./node-bgp.ts";
import { bgpFilter, bgpPeer, configuration, node, service } from "./testing.ts";
import type { BgpInputs, NodeBgpOptions } from "./types.ts";

const SELF = node("n1", { ipv4Address: "10.0.0.1/24", ipv6Address: "FD00:0::1/64" });
const on = (inputs: BgpInputs = {}, options: Partial<NodeBgpOptions> = {}) =>
  nodeBgp({ nodes: [SELF], ...inputs }, { node: "n1", ...options });
const configured = (spec: Partial<BGPConfiguration["spec"]>, own?: Partial<BGPConfiguration["spec"]>) =>
  on({ configurations: [configuration(spec), ...(own ? [configuration(own, "node.n1")] : [])] });

describe("the node", () => {
  test("of a cluster that says nothing", () => {
    expect(on()).toMatchObject({
      node: "n1",
      asn: 64512,
      routerId: "10.0.0.1",
      log: "info",
      listen: { onlyNodeAddresses: false },
      ignoredInterfaces: [],
      ipv4: { family: 4, address: "10.0.0.1", subnet: "10.0.0.0/24", normalPriority: 1024, peers: [] },
      ipv6: { family: 6, address: "fd00::1", subnet: "fd00::/64", normalPriority: 1024 },
      problems: [],
    });
    expect(on().ipv4.programs).toEqual({ noEncap: true, ipip: false });
  });

  test("its router ID is its address, one that is given, or a hash of its name that is no multicast address", () => {
    expect(on({}, { routerId: "10.10.10.10" }).routerId).toBe("10.10.10.10");
    // Upstream's golden files: the hash of kube-master.
    expect(nodeBgp({}, { node: "kube-master", routerId: "hash" }).routerId).toBe("25.79.212.8");
    for (let i = 0; i < 200; i++) {
      const [first] = nodeBgp({}, { node: `n${i}`, routerId: "hash" }).routerId.split(".");
      expect(Number(first)).toBeLessThan(224);
    }
    const bad = on({}, { routerId: "fd00::1" });
    expect(bad.routerId).toBe("10.0.0.1");
    expect(bad.problems).toEqual([
      'environment: CALICO_ROUTER_ID "fd00::1": must be like 10.0.0.1, or hash; it is taken for absent',
    ]);
    const six = on({ nodes: [node("n1", { ipv6Address: "fd00::1/64" })] });
    expect(six.routerId).toBe(nodeBgp({}, { node: "n1", routerId: "hash" }).routerId);
    expect(six.problems[0]).toContain("has no IPv4 address to be its router ID");
  });

  test("what its resource lacks is said only once start-up has written it", () => {
    for (const nodes of [[], [node("n1", { ipv6Address: "fd00::1/64" })]]) {
      const when = (prepared: boolean) => nodeBgp({ nodes }, { node: "n1", isPrepared: () => prepared });
      expect(when(false).problems).toEqual([]);
      expect(when(true).problems).toContainEqual(expect.stringContaining("Node n1: has no IPv4 address"));
      expect(when(true).problems).toEqual(nodeBgp({ nodes }, { node: "n1" }).problems);
      expect({ ...when(false), problems: [] }).toEqual({ ...when(true), problems: [] });
    }
  });

  test("pods of a family that it has no address of are unreachable, and that is said", () => {
    const cidr = "fd00:10:244::40/122";
    const affinities = [newBlockAffinity({ node: "n1", type: "host", cidr, state: "confirmed" })];
    const when = (ipv6Address: string | undefined, options: Partial<NodeBgpOptions> = {}): readonly string[] =>
      nodeBgp(
        { nodes: [node("n1", { ipv4Address: "10.0.0.1/24", ...(ipv6Address && { ipv6Address }) })], affinities },
        { node: "n1", ...options },
      ).problems;
    expect(when(undefined)).toEqual([
      expect.stringMatching(
        /^Node n1: has blocks of IPv6 addresses \(fd00:10:244::40\/122\) and no .*Set IP6 to autodetect/,
      ),
    ]);
    expect(when("fd31::1/64")).toEqual([]);
    expect(when(undefined, { isPrepared: () => false })).toEqual([]);
  });

  test("without a resource it has no sessions, and that is said", () => {
    const bgp = on(
      {
        nodes: [node("other", { ipv4Address: "10.0.0.2/24" })],
        peers: [bgpPeer("x", { peerIP: "10.9.0.1", asNumber: 1 })],
      },
      { routerId: "hash" },
    );
    expect([bgp.ipv4.peers, bgp.ipv6.peers]).toEqual([[], []]);
    expect(bgp.problems).toEqual([
      "Node n1: there is no such resource; BGP has no address to speak from, and no sessions",
    ]);
  });

  test("addresses and numbers that are wrong count as absent", () => {
    const bgp = on(
      {
        nodes: [
          node("n1", {
            ipv4Address: "10.0.0.1/33",
            ipv6Address: "10.0.0.1/24",
            asNumber: 0,
            routeReflectorClusterID: "x",
          }),
          node("n2", { ipv4Address: "10.0.0.2" }),
        ],
        peers: [bgpPeer("x", { peerIP: "10.9.0.1", asNumber: 1 })],
      },
      { routerId: "hash" },
    );
    expect(bgp).toMatchObject({ asn: 64512, ipv4: { peers: [] } });
    expect(bgp).not.toHaveProperty("clusterId");
    expect(bgp.problems.map((text) => text.replace(/:.*/, ""))).toEqual([
      "Node n1",
      "Node n1",
      "Node n1",
      "Node n1",
      "BGPPeer x",
    ]);
    expect(bgp.problems[4]).toBe(
      'BGPPeer x: spec.peerIP "10.9.0.1": this node has no IPv4 address; there is no session',
    );
  });

  test("its own configuration counts before that of all, where it may say something", () => {
    const bgp = configured(
      {
        asNumber: 65000,
        listenPort: 1790,
        logSeverityScreen: "Warning",
        bindMode: "NodeIP",
        ignoredInterfaces: ["veth*"],
      },
      { listenPort: 1791, logSeverityScreen: "debug", bindMode: "None" },
    );
    expect(bgp).toMatchObject({
      asn: 65000,
      log: "debug",
      listen: { port: 1791, onlyNodeAddresses: true },
      ignoredInterfaces: ["veth*"],
    });
    expect(configured({ logSeverityScreen: "Warning" }).log).toBe("none");
    expect(configured({ logSeverityScreen: "INFO" }).log).toBe("info");
    const odd = on({ configurations: [configuration({ listenPort: 1 }, "n1")] });
    expect(odd.listen).toEqual({ onlyNodeAddresses: false });
    expect(odd.problems[0]).toContain("BGPConfiguration n1: is not read");
  });

  test("metrics and what BGP programs", () => {
    expect(configured({ ipv4NormalRoutePriority: 100 })).toMatchObject({
      ipv4: { normalPriority: 100 },
      ipv6: { normalPriority: 1024 },
    });
    const programs = (programClusterRoutes: string) => configured({ programClusterRoutes } as never);
    expect(programs("Enabled").ipv6.programs).toEqual({ noEncap: true, ipip: true });
    expect(programs("Disabled").ipv4.programs).toEqual({ noEncap: false, ipip: false });
    expect(programs("EnabledIPIPOnly").ipv4.programs).toEqual({ noEncap: false, ipip: true });
    const later = programs("EnabledForSome");
    expect(later.ipv4.programs).toEqual({ noEncap: true, ipip: false });
    expect(later.problems[0]).toContain("spec.programClusterRoutes");
  });

  test("WireGuard: who is reached through it, when the node itself is", () => {
    const through = (name: string, address: string, wireguard: Node["spec"]["wireguard"]): Node => {
      const made = node(name, { ipv4Address: address });
      return { ...made, spec: { ...made.spec, ...(wireguard ? { wireguard } : {}) } };
    };
    const wg = { interfaceIPv4Address: "192.168.0.1" };
    const nodes = [
      through("n1", "10.0.0.1/24", wg),
      through("n2", "10.0.0.20/24", wg),
      through("n3", "10.0.0.3/24", wg),
      through("n4", "10.0.0.4/24", undefined),
      through("n5", "10.0.0.5/24", { interfaceIPv6Address: "fd00::5" }),
    ];
    expect(on({ nodes }).ipv4.wireguardPeers).toEqual(["10.0.0.20", "10.0.0.3"]);
    expect(nodeBgp({ nodes }, { node: "n4" }).ipv4.wireguardPeers).toEqual([]);
  });
});

test("pools: disabled ones too, in the order of their text", () => {
  const pool = (name: string, spec: Partial<IPPoolSpec> & { cidr: string }) => newIPPool(name, spec);
  const { ipv4, ipv6 } = on({
    pools: [
      pool("a", { cidr: "192.168.0.0/16", ipipMode: "CrossSubnet" }),
      pool("b", { cidr: "10.1.0.0/16", vxlanMode: "Always", disableBGPExport: true }),
      pool("c", { cidr: "10.0.0.0/16", disabled: true }),
      pool("d", { cidr: "fd01::/48", vxlanMode: "CrossSubnet" }),
      pool("e", { cidr: "100.64.0.0/16", ipipMode: "Always" }),
    ],
  });
  expect(ipv4.pools).toEqual([
    { cidr: "10.0.0.0/16", encapsulation: "none", exported: true },
    { cidr: "10.1.0.0/16", encapsulation: "vxlan", exported: false },
    { cidr: "100.64.0.0/16", encapsulation: "ipip", exported: true },
    { cidr: "192.168.0.0/16", encapsulation: "ipip-cross-subnet", exported: true },
  ]);
  expect(ipv6.pools).toEqual([{ cidr: "fd01::/48", encapsulation: "vxlan-cross-subnet", exported: true }]);
});

describe("blocks", () => {
  const affinity = (cidr: string, more: object = {}) => {
    const made = newBlockAffinity({ node: "n1", type: "host", cidr, state: "confirmed" });
    return { ...made, spec: { ...made.spec, ...more } };
  };

  test("the node's own, but what it is about to get; in the order of upstream's keys", () => {
    const { ipv4, ipv6 } = on({
      affinities: [
        affinity("192.168.221.64/26"),
        affinity("192.168.221.192/26", { state: "pendingDeletion" }),
        affinity("10.0.0.0/26", { state: "pending" }),
        affinity("10.1.0.0/26", { node: "n2" }),
        affinity("10.2.0.0/26", { type: "virtual" }),
        affinity("10.3.0.0/26", { deleted: true }),
        affinity("10.4.0.1/32", { state: "" }),
        affinity("fd01::/122"),
      ],
    });
    expect(ipv4.blocks).toEqual([
      { cidr: "10.4.0.1/32" },
      { cidr: "192.168.221.192/26", state: "pendingDeletion" },
      { cidr: "192.168.221.64/26", state: "confirmed" },
    ]);
    expect(ipv6.blocks).toEqual([{ cidr: "fd01::/122", state: "confirmed" }]);
  });

  test("with USE_POD_CIDR those that Kubernetes gave the node", () => {
    const nodes: Node[] = [{ ...SELF, status: { podCIDRs: ["10.244.1.0/24", "fd02::/64", "x"] } }];
    const { ipv4, ipv6, problems } = on({ nodes, affinities: [affinity("10.1.0.0/26")] }, { usePodCidr: true });
    expect(ipv4.blocks).toEqual([{ cidr: "10.244.1.0/24", state: "confirmed" }]);
    expect(ipv6.blocks).toEqual([{ cidr: "fd02::/64", state: "confirmed" }]);
    expect(problems).toEqual(['Node n1: status.podCIDRs "x": must be a CIDR; it is not advertised']);
  });
});

describe("communities", () => {
  const advertises = (prefixAdvertisements: BGPConfiguration["spec"]["prefixAdvertisements"]) => ({
    communities: [
      { name: "standard", value: "100:6532" },
      { name: "large", value: "100:555:107" },
    ],
    prefixAdvertisements: prefixAdvertisements!,
  });

  test("by name and by value, each once, in the order of their text", () => {
    const { ipv4, ipv6 } = configured(
      advertises([
        { cidr: "192.168.0.0/16", communities: ["standard", "5663:12", "large", "100:6532"] },
        { cidr: "fd00:96::0/112", communities: ["large"] },
        { communities: ["large"] },
        { cidr: "10.0.0.0/8", communities: [] },
      ]),
    );
    expect(ipv4.communities).toEqual([
      {
        prefix: "192.168.0.0/16",
        communities: [
          [100, 555, 107],
          [100, 6532],
          [5663, 12],
        ],
      },
    ]);
    expect(ipv6.communities).toEqual([{ prefix: "fd00:96::0/112", communities: [[100, 555, 107]] }]);
  });

  test("the node's own advertisements replace those of all, with names of their own", () => {
    const { ipv4, problems } = configured(advertises([{ cidr: "10.0.0.0/8", communities: ["standard"] }]), {
      prefixAdvertisements: [{ cidr: "10.1.0.0/16", communities: ["standard", "1:2", "70000:1"] }],
    });
    expect(ipv4.communities).toEqual([{ prefix: "10.1.0.0/16", communities: [[1, 2]] }]);
    expect(problems).toEqual([
      'BGPConfiguration node.n1: spec.prefixAdvertisements[0].communities "70000:1": must be a community, or the name of one in spec.communities; it is left out',
      'BGPConfiguration node.n1: spec.prefixAdvertisements[0].communities "standard": must be a community, or the name of one in spec.communities; it is left out',
    ]);
  });
});

test("bad input never throws, and what is wrong is told", () => {
  const junk = { cidr: "x", node: "n1", type: "host", state: "confirmed", deleted: false };
  const { problems } = on(
    {
      configurations: [
        configuration({
          serviceClusterIPs: [{ cidr: "x" }],
          nodeMeshMaxRestartTime: "x",
          prefixAdvertisements: [{ cidr: "x", communities: ["1:1"] }],
        }),
      ],
      pools: [{ apiVersion: "projectcalico.org/v3", kind: "IPPool", metadata: { name: "p" }, spec: junk as never }],
      affinities: [
        { apiVersion: "projectcalico.org/v3", kind: "BlockAffinity", metadata: { name: "b" }, spec: junk as never },
      ],
      peers: [
        bgpPeer("a", {}),
        bgpPeer("b", { peerIP: "x" }),
        bgpPeer("c", { peerIP: "10.9.0.1", asNumber: 1, filters: ["gone"], keepaliveTime: "x" }),
      ],
      filters: [bgpFilter("f", { importV4: [{ action: "Maybe" as never }] })],
      services: [service("s", { clusterIP: "x" })],
      unreadable: [{ kind: "BGPPeer", name: "u", message: "spec: must be an object" }],
    },
    { advertiseClusterIps: "" },
  );
  const about = problems.map((text) => /^[^:]*/.exec(text)![0]);
  expect([...new Set(about)].sort()).toEqual([
    "BGPConfiguration default",
    "BGPFilter f",
    "BGPPeer a",
    "BGPPeer b",
    "BGPPeer c",
    "BGPPeer u",
    "BlockAffinity b",
    "IPPool p",
  ]);
});

test("a filter that is there and cannot be read lets nothing pass", () => {
  const { filters } = on({ unreadable: [{ kind: "BGPFilter", name: "f", message: "spec.importV4: must be a list" }] });
  expect(filters.f).toMatchObject({ importV4: [{ action: "reject" }], exportV6: [{ action: "reject" }] });
  const known = on({ filters: [bgpFilter("f", {})], unreadable: [{ kind: "BGPFilter", name: "f", message: "" }] });
  expect(known.filters.f!.importV4).toEqual([]);
});

test("times are not negative", () => {
  const { problems, ipv4 } = on({
    configurations: [configuration({ nodeMeshMaxRestartTime: "-2m" })],
    peers: [bgpPeer("p", { peerIP: "10.9.0.1", asNumber: 1, maxRestartTime: "-1s", keepaliveTime: "-90s" })],
  });
  expect(problems.toSorted()).toEqual([
    'BGPConfiguration default: spec.nodeMeshMaxRestartTime "-2m": must be a duration such as 2m30s; it is taken for absent',
    'BGPPeer p: spec.keepaliveTime "-90s": must be a duration such as 90s or 2m30s; it is taken for absent',
    'BGPPeer p: spec.maxRestartTime "-1s": must be a duration such as 90s or 2m30s; it is taken for absent',
  ]);
  const sound = on({
    configurations: [configuration({})],
    peers: [bgpPeer("p", { peerIP: "10.9.0.1", asNumber: 1 })],
  });
  expect(ipv4.peers).toEqual(sound.ipv4.peers);
});
