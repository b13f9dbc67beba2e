import { describe, expect, test } from "vitest";
import type { Node } from "../../api/node.ts";
import type { KubernetesObject } from "../../kubernetes/index.ts";
import { nodeFromKubernetes, nodeToKubernetes } from "./node.ts";

const P = "projectcalico.org/";
const ANNOTATIONS = {
  [`${P}IPv4Address`]: "10.0.0.1/24",
  [`${P}IPv6Address`]: "fd00::1/64",
  [`${P}ASNumber`]: "64513",
  [`${P}RouteReflectorClusterID`]: "244.0.0.1",
  [`${P}IPv4IPIPTunnelAddr`]: "10.244.0.1",
  [`${P}IPv4VXLANTunnelAddr`]: "10.244.0.2",
  [`${P}VXLANTunnelMACAddr`]: "66:f9:37:c3:7e:94",
  [`${P}IPv6VXLANTunnelAddr`]: "fd01::2",
  [`${P}VXLANTunnelMACAddrV6`]: "66:0f:35:f2:60:df",
  [`${P}IPv4WireguardInterfaceAddr`]: "10.244.0.3",
  [`${P}IPv6WireguardInterfaceAddr`]: "fd01::3",
  [`${P}WireguardPublicKey`]: "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgY=",
  [`${P}WireguardPublicKeyV6`]: "jlkVyQYooZYzI2wFfNhSZez5eWh44yfq1wKVjLvSXgZ=",
  [`${P}Interfaces`]: '[{"name":"eth0","addresses":["10.0.0.1","fd00::1"]}]',
  [`${P}labels`]: '{"own":"1","zone":"ours"}',
  [`${P}annotations`]: '{"note":"n"}',
};

const kubernetes = (annotations: Record<string, string> = {}, spec: object = {}): KubernetesObject =>
  ({
    ...{ apiVersion: "v1", kind: "Node" },
    metadata: {
      ...{ name: "n1", uid: "u", resourceVersion: "7", creationTimestamp: "2026-01-02T03:04:05Z" },
      labels: { zone: "a" },
      annotations: { "kubelet.io/x": "y", ...annotations },
    },
    spec,
    status: {
      addresses: [
        { type: "Hostname", address: "n1" },
        { type: "InternalIP", address: "10.0.0.1" },
        { type: "ExternalIP", address: "1.2.3.4" },
      ],
      capacity: { cpu: "2" },
    },
  }) as KubernetesObject;

const FULL: Node = {
  apiVersion: "projectcalico.org/v3",
  kind: "Node",
  metadata: {
    ...{ name: "n1", uid: "u", resourceVersion: "7", creationTimestamp: "2026-01-02T03:04:05Z" },
    labels: { own: "1", zone: "a" },
    annotations: { note: "n", [`${P}kube-labels`]: '{"zone":"a"}' },
  },
  spec: {
    bgp: {
      ...{ asNumber: 64513, ipv4Address: "10.0.0.1/24", ipv6Address: "fd00::1/64" },
      ...{ ipv4IPIPTunnelAddr: "10.244.0.1", routeReflectorClusterID: "244.0.0.1" },
    },
    ...{ ipv4VXLANTunnelAddr: "10.244.0.2", vxlanTunnelMACAddr: "66:f9:37:c3:7e:94" },
    ...{ ipv6VXLANTunnelAddr: "fd01::2", vxlanTunnelMACAddrV6: "66:0f:35:f2:60:df" },
    orchRefs: [{ nodeName: "n1", orchestrator: "k8s" }],
    wireguard: { interfaceIPv4Address: "10.244.0.3", interfaceIPv6Address: "fd01::3" },
    interfaces: [{ name: "eth0", addresses: ["10.0.0.1", "fd00::1"] }],
    addresses: [
      { address: "10.0.0.1/24", type: "CalicoNodeIP" },
      { address: "fd00::1/64", type: "CalicoNodeIP" },
      { address: "10.0.0.1", type: "InternalIP" },
      { address: "1.2.3.4", type: "ExternalIP" },
    ],
  },
  status: {
    wireguardPublicKey: ANNOTATIONS[`${P}WireguardPublicKey`]!,
    wireguardPublicKeyV6: ANNOTATIONS[`${P}WireguardPublicKeyV6`]!,
    podCIDRs: ["10.244.0.0/24"],
  },
};

describe("a Node", () => {
  test("is Kubernetes' and its annotations", () => {
    expect(nodeFromKubernetes(kubernetes(ANNOTATIONS, { podCIDRs: ["10.244.0.0/24"] }))).toEqual(FULL);
    expect(nodeFromKubernetes({ metadata: { name: "n1" } })).toEqual({
      apiVersion: "projectcalico.org/v3",
      kind: "Node",
      metadata: { name: "n1", labels: {}, annotations: { [`${P}kube-labels`]: "{}" } },
      spec: { orchRefs: [{ nodeName: "n1", orchestrator: "k8s" }] },
    });
  });

  test("goes back into the same annotations, and touches nothing else", () => {
    const { [`${P}labels`]: _, ...others } = ANNOTATIONS;
    const bare = kubernetes();
    const before = structuredClone(bare);
    // The label that Kubernetes has as well is lost, as in upstream.
    const labels = '{"own":"1"}';
    const wanted = kubernetes({ ...others, [`${P}labels`]: labels });
    expect(nodeToKubernetes(FULL, bare)).toEqual(wanted);
    expect(bare).toEqual(before);
    // An update that changes nothing changes nothing.
    expect(nodeToKubernetes(nodeFromKubernetes(wanted), wanted)).toEqual(wanted);
  });

  test("without a value has no annotation for it", () => {
    const empty: Node = { ...FULL, metadata: { name: "n1" }, spec: {} };
    delete empty.status;
    expect(nodeToKubernetes(empty, kubernetes(ANNOTATIONS))).toEqual(kubernetes());
  });

  test("whose annotations are wrong has none of those", () => {
    const wrong = Object.fromEntries(Object.keys(ANNOTATIONS).map((key) => [key, "wrong"]));
    const { spec } = nodeFromKubernetes(kubernetes(wrong));
    expect(spec).toEqual({ orchRefs: FULL.spec.orchRefs, addresses: FULL.spec.addresses!.slice(2) });
    const swapped = { [`${P}IPv4Address`]: "fd00::1/64", [`${P}IPv6Address`]: "10.0.0.1/24" };
    expect(nodeFromKubernetes(kubernetes(swapped)).spec.bgp).toBeUndefined();
    const unmasked = { [`${P}IPv4IPIPTunnelAddr`]: "10.0.0.1/24", [`${P}ASNumber`]: "1.10" };
    expect(nodeFromKubernetes(kubernetes(unmasked)).spec.bgp).toEqual({ asNumber: 65546 });
    const interfaces = (text: string) => nodeFromKubernetes(kubernetes({ [`${P}Interfaces`]: text })).spec.interfaces;
    // What is no address is left out; what is no list of interfaces counts as absent.
    expect(interfaces('[{"name":"eth0","addresses":["10.0.0.1","x"]},null,{"addresses":null}]')).toEqual([
      { name: "eth0", addresses: ["10.0.0.1"] },
      {},
      {},
    ]);
    for (const text of [
      '[{"name":"eth0"},7]',
      '[{"name":5}]',
      '[{"addresses":"10.0.0.1"}]',
      '[{"addresses":[1]}]',
      "{}",
    ])
      expect(interfaces(text)).toBeUndefined();
  });

  test("with pod networks has its tunnel's address from there", () => {
    const spec = { podCIDR: "10.244.7.0/24", podCIDRs: ["10.244.7.0/24"] };
    const node = nodeFromKubernetes(kubernetes(ANNOTATIONS, spec), true);
    expect(node.spec.bgp!.ipv4IPIPTunnelAddr).toBe("10.244.7.1");
    expect(node.spec.wireguard).toEqual({ interfaceIPv4Address: "10.244.7.1" });
    const { [`${P}WireguardPublicKey`]: _, ...keyless } = ANNOTATIONS;
    expect(nodeFromKubernetes(kubernetes(keyless, spec), true).spec.wireguard).toBeUndefined();
    const six = { podCIDR: "fd01::/64" };
    expect(nodeFromKubernetes(kubernetes(ANNOTATIONS, six), true).spec.bgp).not.toHaveProperty("ipv4IPIPTunnelAddr");
    // Without a pod network yet, the annotations count.
    expect(nodeFromKubernetes(kubernetes(ANNOTATIONS), true).spec).toEqual(FULL.spec);
  });
});
