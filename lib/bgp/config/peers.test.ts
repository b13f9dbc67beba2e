import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { BGPPeer } from "../../api/bgppeer.ts";
import { API_VERSION } from "../../api/meta.ts";
import type { Node } from "../../api/node.ts";
import type { Profile } from "../../api/profile.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { nodeBgp } from "./node-bgp.ts";
import { bgpFilter, bgpPeer, configuration, line, node, secret } from "./testing.ts";
import type { BgpInputs, NodeBgpOptions } from "./types.ts";

const NO_MESH = configuration({ nodeToNodeMeshEnabled: false });
const THREE = [
  node("a", { ipv4Address: "10.0.0.2/24", ipv6Address: "fd00::2/64" }, { rack: "1" }),
  node("b", { ipv4Address: "10.0.0.3/24", ipv6Address: "fd00::3/64" }, { rack: "1" }),
  node("c", { ipv4Address: "10.0.0.10/24" }, { rack: "2" }),
];

const at = (name: string, inputs: BgpInputs, options: Partial<NodeBgpOptions> = {}) =>
  nodeBgp({ nodes: THREE, ...inputs }, { node: name, ...options });
const lines = (name: string, inputs: BgpInputs, options?: Partial<NodeBgpOptions>) => {
  const { ipv4, ipv6 } = at(name, inputs, options);
  return [...ipv4.peers, ...ipv6.peers].map(line);
};
/** Sessions of node `a` without a mesh. */
const asked = (peers: BGPPeer[], more: BgpInputs = {}, name = "a") =>
  lines(name, { configurations: [NO_MESH], peers, ...more });

describe("the mesh", () => {
  test("every node peers with every other over each family that both have; the one with the greater text waits", () => {
    // Texts are compared, not numbers: 10.0.0.10 comes before 10.0.0.2.
    expect(lines("a", {})).toEqual([
      "Mesh_10_0_0_10: 10.0.0.10 as 64512, source 10.0.0.2",
      "Mesh_10_0_0_3: 10.0.0.3 as 64512, source 10.0.0.2, passive",
      "Mesh_fd00__3: fd00::3 as 64512, source fd00::2, passive",
    ]);
    expect(at("a", {}).ipv4.peers[0]).toMatchObject({ kind: "mesh", node: "c", reason: "node-to-node mesh" });
  });

  test("ports, AS numbers and the restart time are the configuration's; a port is not in the name", () => {
    const configurations = [
      configuration({ asNumber: 65000, listenPort: 1790, nodeMeshMaxRestartTime: "1m29.5s" }),
      configuration({ listenPort: 1791 }, "node.b"),
    ];
    const nodes = [...THREE.slice(0, 2), node("c", { ipv4Address: "10.0.0.10/24", asNumber: 65001 })];
    expect(lines("a", { nodes, configurations })).toEqual([
      "Mesh_10_0_0_10: 10.0.0.10 port 1790 as 65001, source 10.0.0.2, restart 90",
      "Mesh_10_0_0_3: 10.0.0.3 port 1791 as 65000, source 10.0.0.2, passive, restart 90",
      "Mesh_fd00__3: fd00::3 port 1791 as 65000, source fd00::2, passive, restart 90",
    ]);
    const own = at("c", { nodes, configurations });
    expect(own).toMatchObject({ asn: 65001, listen: { port: 1790 } });
    // What others without an AS number have is not this node's own.
    expect(own.ipv4.peers.map(({ asn }) => asn)).toEqual([65000, 65000]);
  });

  test("a link-local address means no place, so there is no session with it, and that is said", () => {
    const nodes = [...THREE.slice(0, 2), node("c", { ipv4Address: "10.0.0.10/24", ipv6Address: "fe80::10/64" })];
    const tor = bgpPeer("tor", { peerIP: "fe80::77", asNumber: 65001 });
    const { ipv6, problems } = at("a", { nodes, peers: [tor] });
    expect(ipv6.peers.map(({ name }) => name)).toEqual(["Mesh_fd00__3"]);
    expect(problems).toEqual([
      expect.stringMatching(/^Node c: its address fe80::10 is a link-local one.*left out of the mesh$/),
      expect.stringMatching(/^BGPPeer tor: fe80::77 is a link-local one.*there is no session with it$/),
    ]);
  });

  test("a route reflector is in no mesh", () => {
    const nodes = [...THREE, node("rr", { ipv4Address: "10.0.0.1/24", routeReflectorClusterID: "244.0.0.1" })];
    expect(lines("rr", { nodes })).toEqual([]);
    expect(at("rr", { nodes }).clusterId).toBe("244.0.0.1");
    expect(lines("a", { nodes })).toEqual(lines("a", {}));
  });

  test("it can be disabled", () => {
    expect(lines("a", { configurations: [NO_MESH] })).toEqual([]);
  });

  test("without the password that it should have there is none of it, and it is told why", () => {
    const mesh = (secretKeyRef: object) =>
      configuration({ nodeMeshPassword: { secretKeyRef: { name: "bgp", key: "mesh", ...secretKeyRef } } });
    const secrets = [secret("kube-system", "bgp", { mesh: "hush" }), secret("other", "bgp", { mesh: "wrong" })];
    expect(lines("c", { configurations: [mesh({})], secrets })).toEqual([
      "Mesh_10_0_0_2: 10.0.0.2 as 64512, source 10.0.0.10, passive, password hush",
      "Mesh_10_0_0_3: 10.0.0.3 as 64512, source 10.0.0.10, passive, password hush",
    ]);
    const without = at("c", { configurations: [mesh({ key: "other" })], secrets });
    expect(without.ipv4.peers).toEqual([]);
    expect(without.problems).toEqual([
      'BGPConfiguration default: spec.nodeMeshPassword: Secret kube-system/bgp has no key "other"; there are no sessions of the mesh, rather than some without the password',
    ]);
    expect(lines("c", { configurations: [mesh({ key: "other", optional: true })], secrets })).toHaveLength(2);
    expect(lines("c", { configurations: [mesh({})], secrets }, { secretNamespace: "other" })[0]).toContain("wrong");
  });

  test("two nodes of one address are one too many", () => {
    const { ipv4, problems } = at("a", { nodes: [...THREE, node("d", { ipv4Address: "10.0.0.3/24" })] });
    expect(ipv4.peers.map(({ node }) => node)).toEqual(["c", "b"]);
    expect(problems).toEqual(["Node d: has the address 10.0.0.3, as node b has; it is left out of the mesh"]);
  });
});

describe("BGPPeers by address", () => {
  test("for all nodes, for one, and for some", () => {
    const peers = [
      bgpPeer("all", { peerIP: "10.9.0.1", asNumber: 65001 }),
      bgpPeer("one", { node: "a", peerIP: "10.9.0.2:1790", asNumber: 65002 }),
      bgpPeer("some", { nodeSelector: "rack == '1'", peerIP: "[fd09::3]:1790", asNumber: 65003 }),
      bgpPeer("others", { nodeSelector: "rack == '2'", peerIP: "10.9.0.4", asNumber: 65004 }),
    ];
    expect(asked(peers)).toEqual([
      "Global_10_9_0_1: 10.9.0.1 as 65001, source 10.0.0.2",
      "Node_10_9_0_2_port_1790: 10.9.0.2 port 1790 as 65002, source 10.0.0.2",
      "Node_fd09__3_port_1790: fd09::3 port 1790 as 65003, source fd00::2",
    ]);
  });

  test("every option", () => {
    const filters = [bgpFilter("f", {}), bgpFilter("g", {})];
    const options: BGPPeer["spec"] = {
      asNumber: 65001,
      localASNumber: 65002,
      sourceAddress: "None",
      maxRestartTime: "90.5s",
      keepaliveTime: "1500ms",
      numAllowedLocalASNumbers: 2,
      ttlSecurity: 3,
      filters: ["g", "f"],
      nextHopMode: "Self",
      password: { secretKeyRef: { name: "s", key: "k" } },
    };
    expect(
      asked([bgpPeer("x", { peerIP: "10.9.0.1", ...options })], {
        filters,
        secrets: [secret("kube-system", "s", { k: "hush" })],
      }),
    ).toEqual([
      "Global_10_9_0_1: 10.9.0.1 as 65001, local as 65002, ttl 3, restart 91, keepalive 2, password hush, next hop self, allow 2, filters g f",
    ]);
  });

  test.each<[string, BGPPeer["spec"], string]>([
    ["to others the older next hop is kept", { asNumber: 65001, keepOriginalNextHop: true }, "keep"],
    ["within the AS it is not", { asNumber: 64512, keepOriginalNextHop: true }, "auto"],
    [
      "nor within the AS that it says it is",
      { asNumber: 65001, localASNumber: 65001, keepOriginalNextHop: true },
      "auto",
    ],
    ["nextHopMode counts before", { asNumber: 65001, keepOriginalNextHop: true, nextHopMode: "Auto" }, "auto"],
    ["Keep is for all", { asNumber: 64512, nextHopMode: "Keep" }, "keep"],
  ])("%s", (_, spec, nextHop) => {
    const { ipv4 } = at("a", { configurations: [NO_MESH], peers: [bgpPeer("x", { peerIP: "10.9.0.1", ...spec })] });
    expect(ipv4.peers[0]!.nextHop).toBe(nextHop);
  });

  test("a node that is meant by its address: its port is known, it peers back, and of a peering of all the greater waits", () => {
    const configurations = [NO_MESH, configuration({ listenPort: 1790 }, "node.b")];
    const peers = [bgpPeer("x", { peerIP: "10.0.0.3", asNumber: 64512 })];
    expect(lines("a", { configurations, peers })).toEqual([
      "Global_10_0_0_3_port_1790: 10.0.0.3 port 1790 as 64512, source 10.0.0.2, passive",
    ]);
    // No session with itself; the other end of the others' is to each its own.
    expect(lines("b", { configurations, peers })).toEqual([
      "Node_10_0_0_10: 10.0.0.10 as 64512, source 10.0.0.3",
      "Node_10_0_0_2: 10.0.0.2 as 64512, source 10.0.0.3",
    ]);
  });

  test("with another AS number, or at a port where it does not listen, it does not peer back", () => {
    const configurations = [NO_MESH, configuration({ listenPort: 1790 }, "node.b")];
    const back = (peerIP: string, asNumber: number) =>
      lines("b", { configurations, peers: [bgpPeer("x", { node: "a", peerIP, asNumber })] });
    expect(back("10.0.0.3:1790", 64512)).toHaveLength(1);
    expect(back("10.0.0.3:179", 64512)).toEqual([]);
    expect(back("10.0.0.3", 65001)).toEqual([]);
  });

  test("of two that select every node, the node's own address is no complaint", () => {
    const peers = [bgpPeer("y", { peerSelector: "all()" }), bgpPeer("z", { node: "a", peerSelector: "all()" })];
    const of = (nodes: readonly Node[]) => at("a", { nodes, configurations: [NO_MESH], peers }).problems;
    expect(of(THREE.slice(0, 1))).toEqual([]);
    expect(of(THREE)).toEqual([
      "BGPPeer z: asks for a peering with 10.0.0.3, as BGPPeer y does, which counts",
      "BGPPeer z: asks for a peering with fd00::3, as BGPPeer y does, which counts",
      "BGPPeer z: asks for a peering with 10.0.0.10, as BGPPeer y does, which counts",
    ]);
    const many = [...THREE, node("d", { ipv4Address: "10.0.0.11/24" })];
    expect(of(many)).toEqual([
      "BGPPeer z: asks for peerings with 4 addresses (such as 10.0.0.3), as BGPPeer y does, which counts",
    ]);
  });

  test("one address and port is peered with once: what is for all counts first, then by name", () => {
    const peers = [
      bgpPeer("z", { peerIP: "10.9.0.1", asNumber: 65001 }),
      bgpPeer("a", { node: "a", peerIP: "10.9.0.1", asNumber: 65002 }),
      bgpPeer("y", { peerIP: "10.9.0.1:179", asNumber: 65003 }),
      bgpPeer("b", { peerIP: "10.9.0.1:1790", asNumber: 65004 }),
    ];
    const { ipv4, problems } = at("a", { configurations: [NO_MESH], peers });
    expect(ipv4.peers.map(line)).toEqual([
      "Global_10_9_0_1_port_179: 10.9.0.1 port 179 as 65003, source 10.0.0.2",
      "Global_10_9_0_1_port_1790: 10.9.0.1 port 1790 as 65004, source 10.0.0.2",
    ]);
    expect(problems).toEqual([
      "BGPPeer z: asks for a peering with 10.9.0.1, as BGPPeer y does, which counts",
      "BGPPeer a: asks for a peering with 10.9.0.1, as BGPPeer y does, which counts",
    ]);
  });

  test("without an AS number it must be a node of the cluster's", () => {
    expect(asked([bgpPeer("x", { node: "a", peerIP: "10.0.0.3" })])).toEqual([
      "Node_10_0_0_3: 10.0.0.3 as 64512, source 10.0.0.2",
    ]);
    const { ipv4, problems } = at("a", { configurations: [NO_MESH], peers: [bgpPeer("x", { peerIP: "10.9.0.1" })] });
    expect(ipv4.peers).toEqual([]);
    expect(problems).toEqual([
      "BGPPeer x: spec.asNumber: is missing; it must be the AS number of the peer; there is no session",
    ]);
  });

  test("a gateway makes a route, in the order of upstream's keys, and none to the node itself", () => {
    const via = { asNumber: 65001, reachableBy: "10.0.0.254" };
    const peers = [
      bgpPeer("1", { peerIP: "10.9.0.9", ...via }),
      bgpPeer("2", { peerIP: "10.9.0.10", ...via }),
      bgpPeer("3", { node: "a", peerIP: "10.9.1.1", ...via }),
      bgpPeer("4", { peerIP: "10.0.0.2", ...via }),
      bgpPeer("5", { peerIP: "fd09::1", asNumber: 65001, reachableBy: "fd00::0:fe" }),
      bgpPeer("6", { peerIP: "fd09::2", asNumber: 65001, reachableBy: "10.0.0.254" }),
    ];
    const { ipv4, ipv6, problems } = at("a", { configurations: [NO_MESH], peers });
    expect(ipv4.peerRoutes).toEqual([
      { peer: "10.9.0.10", via: "10.0.0.254", kind: "global" },
      { peer: "10.9.0.9", via: "10.0.0.254", kind: "global" },
      { peer: "10.9.1.1", via: "10.0.0.254", kind: "node" },
    ]);
    expect(ipv6.peerRoutes).toEqual([{ peer: "fd09::1", via: "fd00::0:fe", kind: "global" }]);
    expect(problems).toEqual([
      'BGPPeer 6: spec.reachableBy "10.0.0.254": must be an IPv6 address, as peerIP is; there is no session',
    ]);
  });

  test("a password that cannot be read: no session, nor one by another way without it", () => {
    const password = { secretKeyRef: { name: "s", key: "k" } };
    const peers = [
      bgpPeer("x", { peerIP: "10.0.0.3", asNumber: 64512, password }),
      bgpPeer("y", { node: "a", peerIP: "10.0.0.3", asNumber: 64512 }),
    ];
    for (const name of ["a", "b"]) {
      const { ipv4, problems } = at(name, { configurations: [NO_MESH], peers });
      expect(ipv4.peers).toEqual([]);
      expect(problems.join("\n")).toContain("Secret kube-system/s is not there or may not be read");
    }
    const secrets = [secret("kube-system", "s", { k: "" }), secret("kube-system", "t", { k: "x".repeat(81) })];
    expect(asked([bgpPeer("x", { peerIP: "10.9.0.1", asNumber: 1, password })], { secrets })).toEqual([]);
    const long = { secretKeyRef: { name: "t", key: "k" } };
    expect(asked([bgpPeer("x", { peerIP: "10.9.0.1", asNumber: 1, password: long })], { secrets })).toEqual([]);
  });

  test("no message holds a password", () => {
    const peers = [
      bgpPeer("x", { peerIP: "10.9.0.1", asNumber: 1, password: { secretKeyRef: { name: "s", key: "k" } } }),
    ];
    const secrets = [secret("kube-system", "s", { k: "hush".repeat(21) })];
    expect(at("a", { peers, secrets }).problems.join("\n")).not.toContain("hush");
  });
});

describe("BGPPeers by selector", () => {
  const RR = [
    ...THREE,
    node("r", { ipv4Address: "10.0.0.1/24", routeReflectorClusterID: "244.0.0.1" }, { rr: "yes" }),
    node("s", { ipv4Address: "10.0.0.4/24", routeReflectorClusterID: "244.0.0.1" }, { rr: "yes" }),
    node("t", { ipv4Address: "10.0.0.5/24", routeReflectorClusterID: "244.0.0.2" }, { rr: "yes" }),
  ];
  const reflectors = bgpPeer("rr", { nodeSelector: "all()", peerSelector: "has(rr)" });

  test("reflectors reflect for all but those of their own cluster id", () => {
    expect(asked([reflectors], { nodes: RR }, "r")).toEqual([
      "Node_10_0_0_10: 10.0.0.10 as 64512, source 10.0.0.1, client of 244.0.0.1",
      "Node_10_0_0_2: 10.0.0.2 as 64512, source 10.0.0.1, client of 244.0.0.1",
      "Node_10_0_0_3: 10.0.0.3 as 64512, source 10.0.0.1, client of 244.0.0.1",
      "Node_10_0_0_4: 10.0.0.4 as 64512, source 10.0.0.1",
      "Node_10_0_0_5: 10.0.0.5 as 64512, source 10.0.0.1, client of 244.0.0.1",
    ]);
    expect(asked([reflectors], { nodes: RR }, "c")).toEqual([
      "Node_10_0_0_1: 10.0.0.1 as 64512, source 10.0.0.10",
      "Node_10_0_0_4: 10.0.0.4 as 64512, source 10.0.0.10",
      "Node_10_0_0_5: 10.0.0.5 as 64512, source 10.0.0.10",
    ]);
  });

  test("Manual: only the nodes that have the peering, not those they have it with", () => {
    const manual = bgpPeer("rr", { nodeSelector: "!has(rr)", peerSelector: "has(rr)", reversePeering: "Manual" });
    expect(asked([manual], { nodes: RR }, "a")).toHaveLength(3);
    expect(asked([manual], { nodes: RR }, "r")).toEqual([]);
  });

  test("an explicit peering counts before the other end of another", () => {
    const peers = [
      reflectors,
      bgpPeer("explicit", { node: "r", peerIP: "10.0.0.2", asNumber: 64512, keepaliveTime: "5s" }),
    ];
    expect(asked(peers, { nodes: RR }, "r")).toContain(
      "Node_10_0_0_2: 10.0.0.2 as 64512, source 10.0.0.1, keepalive 5, client of 244.0.0.1",
    );
  });

  test("what selects nothing because it is no selector is told of", () => {
    const peers = [bgpPeer("x", { nodeSelector: "rack == ", peerSelector: "all()" })];
    const { ipv4, problems } = at("a", { configurations: [NO_MESH], peers });
    expect(ipv4.peers).toEqual([]);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(
      /^BGPPeer x: spec\.nodeSelector "rack == ": must be a selector, .*; it selects nothing$/,
    );
  });
});

describe("workloads", () => {
  const endpoint = (
    name: string,
    on: string,
    labels: Record<string, string>,
    ipNetworks: string[],
    profiles: string[] = [],
  ) =>
    ({
      apiVersion: API_VERSION,
      kind: "WorkloadEndpoint",
      metadata: { name, namespace: "shop", labels },
      spec: { orchestrator: "k8s", node: on, endpoint: "eth0", ipNetworks, profiles },
    }) as WorkloadEndpoint;
  const profile: Profile = {
    apiVersion: API_VERSION,
    kind: "Profile",
    metadata: { name: "kns.shop" },
    spec: { labelsToApply: { "pcns.tier": "net", app: "none" } },
  };
  const endpoints = [
    endpoint("w1", "a", { app: "bird" }, ["192.168.1.2/32", "fd01::2/128", "192.168.1.3/32"], ["kns.shop"]),
    endpoint("w2", "b", { app: "bird" }, ["192.168.1.4/32"]),
    endpoint("w3", "a", { app: "bird" }, []),
  ];
  const peers = [
    bgpPeer("2-global", {
      localWorkloadSelector: "app == 'bird'",
      asNumber: 65001,
      localASNumber: 65002,
      filters: ["f"],
    }),
    bgpPeer("3-later", { node: "a", localWorkloadSelector: "has(app)", asNumber: 65009 }),
  ];

  test("the node's own are waited for, at their first address of each family; no password, source or port", () => {
    expect(asked(peers, { endpoints, filters: [bgpFilter("f", {})] })).toEqual([
      "Local_Workload_192_168_1_2: 192.168.1.2 as 65001, local as 65002, passive, filters f",
      "Local_Workload_fd01__2: fd01::2 as 65001, local as 65002, passive, filters f",
    ]);
  });

  test("labels of profiles count, but less than an endpoint's own; of several BGPPeers the first by name", () => {
    const first = bgpPeer("1-first", {
      nodeSelector: "rack == '1'",
      localWorkloadSelector: "pcns.tier == 'net'",
      asNumber: 65003,
    });
    expect(asked([...peers, first], { endpoints, profiles: [profile] })[0]).toContain("as 65003");
    expect(asked(peers, { endpoints, profiles: [profile] })[0]).toContain("as 65001");
    const elsewhere = bgpPeer("0-elsewhere", { node: "b", localWorkloadSelector: "all()", asNumber: 65004 });
    expect(asked([elsewhere, ...peers], { endpoints })[0]).toContain("as 65001");
  });
});

describe("BFD", () => {
  const MODE = "projectcalico.org/failureDetectionMode";
  const on = (
    spec: BGPPeer["spec"],
    annotations: Record<string, string> = {},
    options: Partial<NodeBgpOptions> = {},
  ) => {
    const { ipv4, problems } = at(
      "a",
      { configurations: [NO_MESH], peers: [bgpPeer("x", { asNumber: 65001, ...spec }, annotations)] },
      options,
    );
    return [ipv4.peers[0]?.bfd, problems] as const;
  };
  const times = { minReceive: 300, minSend: 300, multiplier: 3 };

  test("with who is on a network of the node", () => {
    const mode = { failureDetectionMode: "BFDIfDirectlyConnected" } as const;
    expect(on({ peerIP: "10.0.0.254", ...mode })).toEqual([{ ...times, multihop: false }, []]);
    const [none, problems] = on({ peerIP: "10.9.0.1", ...mode });
    expect(none).toBeUndefined();
    expect(problems[0]).toContain("10.9.0.1 is on no network of this node; there is no BFD with it");
    expect(on({ peerIP: "10.9.0.1", ...mode }, {}, { connectedNetworks: ["10.9.0.0/31"] })[0]).toBeDefined();
    expect(on({ peerIP: "10.0.0.254", reachableBy: "10.0.0.1", ...mode })[0]).toBeUndefined();
    expect(on({ peerIP: "10.0.0.254", failureDetectionMode: "None" })).toEqual([undefined, []]);
  });

  test("annotations win, reach over hops, and set the times", () => {
    const annotations = {
      [MODE]: "BFD",
      "projectcalico.org/bfdMinimumRecvInterval": "50ms",
      "projectcalico.org/bfdMinimumSendInterval": "1s",
      "projectcalico.org/bfdMultiplier": "5",
    };
    expect(on({ peerIP: "10.9.0.1", failureDetectionMode: "None" }, annotations)).toEqual([
      { minReceive: 50, minSend: 1000, multiplier: 5, multihop: true },
      [],
    ]);
    expect(on({ peerIP: "10.0.0.254", failureDetectionMode: "BFDIfDirectlyConnected" }, { [MODE]: "None" })[0]).toBe(
      undefined,
    );
  });

  test("what cannot be used is told of", () => {
    expect(on({ peerIP: "10.0.0.254" }, { [MODE]: "yes" })).toEqual([
      undefined,
      [`BGPPeer x: metadata.annotations["${MODE}"] "yes": must be None or BFDIfDirectlyConnected; there is no BFD`],
    ]);
    const [bfd, problems] = on(
      { peerIP: "10.0.0.254" },
      { [MODE]: "BFD", "projectcalico.org/bfdMinimumSendInterval": "1ms", "projectcalico.org/bfdMultiplier": "0" },
    );
    expect(bfd).toEqual({ ...times, multihop: false });
    expect(problems).toHaveLength(2);
  });

  test("both ends of a peering of nodes have it", () => {
    const peers = [
      bgpPeer("x", { node: "a", peerIP: "10.0.0.3", asNumber: 64512, failureDetectionMode: "BFDIfDirectlyConnected" }),
    ];
    for (const name of ["a", "b"])
      expect(at(name, { configurations: [NO_MESH], peers }).ipv4.peers[0]!.bfd).toBeDefined();
  });
});

describe("whatever the cluster", () => {
  const cluster = fc
    .array(
      fc.record({
        host: fc.integer({ min: 1, max: 65000 }),
        six: fc.boolean(),
        four: fc.boolean(),
        rack: fc.constantFrom("1", "2"),
        rr: fc.option(fc.constantFrom("1.1.1.1", "2.2.2.2"), { nil: undefined, freq: 4 }),
        asn: fc.option(fc.constantFrom(65001, 65002), { nil: undefined }),
      }),
      { minLength: 2, maxLength: 8 },
    )
    .map((hosts) => [...new Map(hosts.map((host) => [host.host, host])).values()])
    .map((hosts): Node[] =>
      hosts.map(({ host, four, six, rack, rr, asn }, i) =>
        node(
          `n${i}`,
          {
            ...(four ? { ipv4Address: `10.0.${host >> 8}.${host & 255}/16` } : {}),
            ...(six ? { ipv6Address: `fd00::${host.toString(16)}/64` } : {}),
            ...(rr ? { routeReflectorClusterID: rr } : {}),
            ...(asn ? { asNumber: asn } : {}),
          },
          { rack, ...(rr ? { rr } : {}) },
        ),
      ),
    );
  const selector = fc.constantFrom("all()", "rack == '1'", "rack == '2'", "has(rr)", "!has(rr)", "rack ==");
  const peers = (nodes: readonly Node[]): fc.Arbitrary<BGPPeer[]> =>
    fc
      .array(
        fc.record(
          {
            node: fc.constantFrom(...nodes.map(({ metadata }) => metadata.name)),
            nodeSelector: selector,
            peerSelector: selector,
            peerIP: fc.constantFrom("10.9.0.1", "fd09::1", ...addressesOf(nodes)),
            asNumber: fc.constantFrom(64512, 65001),
            keepaliveTime: fc.constantFrom("5s", "x"),
            sourceAddress: fc.constantFrom("None" as const, "UseNodeIP" as const),
          },
          { requiredKeys: [] },
        ),
        { maxLength: 4 },
      )
      .map((specs) => specs.map((spec, i) => bgpPeer(`p${i}`, spec as BGPPeer["spec"])));
  const addressesOf = (nodes: readonly Node[]): string[] =>
    nodes.flatMap(({ spec }) =>
      [spec.bgp?.ipv4Address, spec.bgp?.ipv6Address].flatMap((text) => text?.split("/")[0] ?? []),
    );
  const scene = cluster.chain((nodes) => fc.tuple(fc.constant(nodes), peers(nodes)));
  const everyNode = (inputs: BgpInputs & { nodes: readonly Node[] }) =>
    new Map(inputs.nodes.map(({ metadata: { name } }) => [name, nodeBgp(inputs, { node: name, routerId: "hash" })]));

  test("the mesh is symmetric, and exactly one of each pair waits", () => {
    fc.assert(
      fc.property(cluster, (nodes) => {
        const all = everyNode({ nodes });
        for (const [name, { ipv4, ipv6 }] of all) {
          for (const family of [ipv4, ipv6]) {
            for (const peer of family.peers) {
              const other = all.get(peer.node!)!;
              const back = (family.family === 4 ? other.ipv4 : other.ipv6).peers.filter(({ node }) => node === name);
              expect(back).toHaveLength(1);
              expect(back[0]!.passive).toBe(!peer.passive);
              expect(back[0]!.address).toBe(peer.sourceAddress);
              expect(back[0]!.asn).toBe(all.get(name)!.asn);
            }
          }
        }
      }),
      { numRuns: 60 },
    );
  });

  test("of peerings between nodes both ends are there; names are unique and sorted; the order of resources does not matter", () => {
    fc.assert(
      fc.property(scene, ([nodes, peers]) => {
        const inputs = { nodes, peers, configurations: [NO_MESH] };
        const all = everyNode(inputs);
        const reversed = everyNode({ ...inputs, nodes: [...nodes].reverse(), peers: [...peers].reverse() });
        expect([...reversed.keys()].sort().map((name) => reversed.get(name))).toEqual(
          [...all.keys()].sort().map((name) => all.get(name)),
        );
        for (const [name, { ipv4, ipv6 }] of all) {
          for (const family of [ipv4, ipv6]) {
            const names = family.peers.map((peer) => peer.name);
            expect(names).toEqual([...new Set(names)].sort());
            for (const peer of family.peers) {
              expect(peer.address).not.toBe(family.address);
              const other = peer.node === undefined ? undefined : all.get(peer.node);
              // A peering with an AS number that the node does not have means another.
              if (!other || other.asn !== peer.asn) continue;
              const back = (family.family === 4 ? other.ipv4 : other.ipv6).peers;
              expect(back.map(({ address }) => address)).toContain(family.address);
              const ends = back.filter(({ address }) => address === family.address);
              expect(peer.passive && ends.every(({ passive }) => passive)).toBe(false);
              expect(name).not.toBe(peer.node);
            }
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});
