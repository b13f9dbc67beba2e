import { describe, expect, test } from "vitest";
import { checkResource } from "../../api/resource.ts";
import { describeProblem } from "../../api/schema.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import type { PodObject } from "./objects.ts";
import { type EndpointOptions, hasEndpoint, isFinished, podToEndpoint } from "./pod.ts";

interface Parts {
  metadata?: object;
  annotations?: Record<string, string>;
  spec?: object;
  status?: object;
}

const podOf = ({ metadata, annotations, spec, status }: Parts = {}): PodObject => ({
  metadata: {
    name: "pod-a",
    namespace: "default",
    resourceVersion: "1234",
    annotations: annotations ?? {},
    ...metadata,
  },
  spec: { nodeName: "node-a", containers: [], ...spec },
  status: { phase: "Running", ...status },
});
const convert = (parts: Parts, options?: EndpointOptions) => podToEndpoint(podOf(parts), options);
const endpointOf = (parts: Parts) => convert(parts).value!;
const complaints = (parts: Parts) => convert(parts).problems.map(describeProblem);
const networksOf = (parts: Parts) => endpointOf(parts).spec.ipNetworks;

test("a pod becomes the endpoint that upstream makes of it", () => {
  const pod: PodObject = {
    metadata: {
      name: "podA",
      namespace: "default",
      generateName: "pod",
      uid: "30316465-6365-4463-ad63-3564622d3638",
      creationTimestamp: "2026-01-31T12:00:00Z",
      resourceVersion: "1234",
      annotations: {
        arbitrary: "annotation",
        "cni.projectcalico.org/containerID": "c0ffee",
        "k8s.v1.cni.cncf.io/network-status": "[]",
      },
      labels: { labelA: "valueA", "projectcalico.org/namespace": "forged" },
    },
    spec: {
      nodeName: "nodeA",
      serviceAccountName: "till",
      initContainers: [{ ports: [{ name: "init-port", containerPort: 3000 }] }],
      containers: [
        { ports: [{ containerPort: 5678 }, { name: "no-proto", containerPort: 1234 }] },
        {
          ports: [
            { name: "tcp-proto", protocol: "TCP", containerPort: 1024 },
            { name: "with-host-port", protocol: "TCP", containerPort: 8080, hostPort: 5678 },
            { name: "and-host-ip", protocol: "TCP", containerPort: 8081, hostPort: 6789, hostIP: "1.2.3.4" },
            { protocol: "TCP", containerPort: 500, hostPort: 5000 },
            { name: "udp-proto", protocol: "UDP", containerPort: 432 },
            { name: "sctp-proto", protocol: "SCTP", containerPort: 891 },
            { name: "unkn-proto", protocol: "unknown", containerPort: 567 },
          ],
        },
      ],
    },
    status: { podIP: "192.168.0.1" },
  };
  const before = structuredClone(pod);
  const { value, problems } = podToEndpoint(pod);
  const port = (name: string, port: number, rest: object = {}) => ({
    name,
    protocol: "TCP",
    port,
    hostPort: 0,
    hostIP: "",
    ...rest,
  });
  expect(problems).toEqual([]);
  expect(value).toEqual({
    apiVersion: "projectcalico.org/v3",
    kind: "WorkloadEndpoint",
    metadata: {
      name: "nodeA-k8s-podA-eth0",
      namespace: "default",
      uid: "30316465-6365-4463-ad63-3564622d3638",
      resourceVersion: "1234",
      creationTimestamp: "2026-01-31T12:00:00Z",
      generateName: "pod",
      labels: {
        labelA: "valueA",
        "projectcalico.org/namespace": "default",
        "projectcalico.org/orchestrator": "k8s",
        "projectcalico.org/serviceaccount": "till",
      },
      annotations: { "k8s.v1.cni.cncf.io/network-status": "[]" },
    },
    spec: {
      orchestrator: "k8s",
      node: "nodeA",
      containerID: "c0ffee",
      pod: "podA",
      endpoint: "eth0",
      serviceAccountName: "till",
      ipNetworks: ["192.168.0.1/32"],
      profiles: ["kns.default", "ksa.default.till"],
      interfaceName: "cali7f94ce7c295",
      ports: [
        port("no-proto", 1234),
        port("tcp-proto", 1024),
        port("with-host-port", 8080, { hostPort: 5678 }),
        port("and-host-ip", 8081, { hostPort: 6789, hostIP: "1.2.3.4" }),
        port("", 500, { hostPort: 5000 }),
        port("udp-proto", 432, { protocol: "UDP" }),
        port("sctp-proto", 891, { protocol: "SCTP" }),
        port("init-port", 3000),
      ],
    },
  });
  expect(pod).toEqual(before);
});

test("endpoints of ordinary pods are valid as resources", () => {
  const endpoint = endpointOf({
    status: { podIPs: [{ ip: "10.0.0.1" }, { ip: "fd00::1" }] },
    spec: { containers: [{ ports: [{ name: "http", containerPort: 80 }] }] },
    annotations: {
      "cni.projectcalico.org/floatingIPs": '["1.1.1.1", "2001:db8::1"]',
      "cni.projectcalico.org/allowedSourcePrefixes": '["8.8.8.8/32"]',
      "qos.projectcalico.org/ingressBandwidth": "1M",
      "qos.projectcalico.org/dscp": "EF",
    },
  });
  expect(checkResource(WorkloadEndpoint, endpoint)).toEqual([]);
});

test("pods without a node or on the node's network have no endpoint, and that is no problem", () => {
  for (const spec of [{ nodeName: "" }, { nodeName: undefined }, { hostNetwork: true }]) {
    expect(hasEndpoint(podOf({ spec }))).toBe(false);
    expect(convert({ spec })).toEqual({ problems: [] });
  }
  expect(hasEndpoint(podOf())).toBe(true);
});

test("the interface's name begins as Felix is told", () => {
  expect(convert({}, { interfacePrefix: "eth" }).value?.spec.interfaceName).toMatch(/^eth[0-9a-f]{11}$/);
});

test("long names of service accounts make a profile, but no label", () => {
  for (const [length, labelled] of [
    [62, true],
    [63, false],
  ] as const) {
    const name = "s".repeat(length);
    const endpoint = endpointOf({ spec: { serviceAccountName: name } });
    expect(endpoint.spec.profiles).toEqual(["kns.default", `ksa.default.${name}`]);
    expect("projectcalico.org/serviceaccount" in endpoint.metadata.labels!).toBe(labelled);
  }
});

describe("addresses", () => {
  const everywhere = {
    podIPs: [{ ip: "1.0.0.1" }, { ip: "fd00::1" }],
    podIP: "2.0.0.1",
    annotations: {
      "cni.projectcalico.org/podIPs": "3.0.0.1/32,fd00::3/128",
      "cni.projectcalico.org/podIP": "4.0.0.1/32",
      "vpc.amazonaws.com/pod-ips": "5.0.0.1,fd00::5",
    },
  };

  test("come from the status, then from Calico's annotations, then from Amazon's", () => {
    const { podIPs, podIP, annotations } = everywhere;
    const { "cni.projectcalico.org/podIPs": many, "cni.projectcalico.org/podIP": one, ...amazon } = annotations;
    const calicoOne = { ...amazon, "cni.projectcalico.org/podIP": one };
    const calico = { ...calicoOne, "cni.projectcalico.org/podIPs": many };
    expect(networksOf({ status: { podIPs, podIP }, annotations: calico })).toEqual(["1.0.0.1/32", "fd00::1/128"]);
    expect(networksOf({ status: { podIPs: [], podIP }, annotations: calico })).toEqual(["2.0.0.1/32"]);
    expect(networksOf({ annotations: calico })).toEqual(["3.0.0.1/32", "fd00::3/128"]);
    expect(networksOf({ annotations: calicoOne })).toEqual(["4.0.0.1/32"]);
    expect(networksOf({ annotations: amazon })).toEqual(["5.0.0.1/32", "fd00::5/128"]);
    expect(networksOf({})).toEqual([]);
  });

  test.each([
    [{ status: { podIP: "foobar" } }, 'status.podIP: "foobar": "foobar" is not an IP address'],
    [{ status: { podIPs: [{ ip: "1.0.0.1" }, {}] } }, 'status.podIPs[1].ip: "" is not an IP address'],
    [
      { annotations: { "cni.projectcalico.org/podIPs": "1.0.0.1, 1.0.0.2" } },
      'metadata.annotations["cni.projectcalico.org/podIPs"]: "1.0.0.1, 1.0.0.2": " 1.0.0.2" is not an IP address',
    ],
  ])("%j is no pod to go on with", (parts, message) => {
    expect(convert(parts).value).toBeUndefined();
    expect(complaints(parts)).toEqual([message]);
  });

  const owned = { status: { podIP: "1.0.0.1" } };
  test.each<[string, Parts, boolean]>([
    ["Pending", { status: { phase: "Pending" } }, false],
    ["Unknown", { status: { phase: "Unknown" } }, false],
    ["Succeeded", { status: { phase: "Succeeded" } }, true],
    ["Failed", { status: { phase: "Failed" } }, true],
    ["Completed", { status: { phase: "Completed" } }, true],
    ["running with an empty annotation", { annotations: { "cni.projectcalico.org/podIP": "" } }, false],
    [
      "being deleted with an empty annotation",
      { metadata: { deletionTimestamp: "2026-01-31T12:00:00Z" }, annotations: { "cni.projectcalico.org/podIP": "" } },
      true,
    ],
    [
      "being deleted with Amazon's annotation empty",
      { metadata: { deletionTimestamp: "2026-01-31T12:00:00Z" }, annotations: { "vpc.amazonaws.com/pod-ips": "" } },
      true,
    ],
    [
      "being deleted with its address",
      {
        metadata: { deletionTimestamp: "2026-01-31T12:00:00Z" },
        annotations: { "cni.projectcalico.org/podIP": "1.0.0.1/32" },
      },
      false,
    ],
    ["being deleted without annotation", { metadata: { deletionTimestamp: "2026-01-31T12:00:00Z" } }, false],
  ])("of a pod that is %s", (_, parts, finished) => {
    const { annotations, metadata, status } = parts;
    const pod = {
      annotations,
      metadata: { ...metadata, ...(annotations ? { annotations } : {}) },
      status: { ...owned.status, ...status },
    };
    expect(isFinished(podOf(pod as Parts))).toBe(finished);
    expect(networksOf(pod as Parts)).toEqual(finished ? [] : ["1.0.0.1/32"]);
  });
});

describe("annotations about addresses", () => {
  const floating = (text: string, podIPs = [{ ip: "192.168.0.1" }, { ip: "fd30::4" }]) => ({
    annotations: { "cni.projectcalico.org/floatingIPs": text },
    status: { podIPs },
  });
  const prefixes = (text: string) => ({ annotations: { "cni.projectcalico.org/allowedSourcePrefixes": text } });

  test("floating addresses lead to the pod's of their version", () => {
    expect(endpointOf(floating('["1.1.1.1", "fd80:1::1", "2.2.2.2"]')).spec.ipNATs).toEqual([
      { internalIP: "192.168.0.1", externalIP: "1.1.1.1" },
      { internalIP: "fd30::4", externalIP: "fd80:1::1" },
      { internalIP: "192.168.0.1", externalIP: "2.2.2.2" },
    ]);
    expect(endpointOf(floating('["fd80:1::1"]', [{ ip: "1.0.0.1" }])).spec.ipNATs).toBeUndefined();
    // A pod that has no address yet needs none.
    expect(
      endpointOf({ annotations: { "cni.projectcalico.org/floatingIPs": "nonsense" } }).spec.ipNATs,
    ).toBeUndefined();
  });

  test("allowed source prefixes are made canonical", () => {
    expect(endpointOf(prefixes('["1.1.1.1/16", "FD00::1/64"]')).spec.allowSpoofedSourcePrefixes).toEqual([
      "1.1.0.0/16",
      "fd00::/64",
    ]);
    expect(endpointOf(prefixes("")).spec.allowSpoofedSourcePrefixes).toBeUndefined();
    expect(endpointOf(prefixes("[]")).spec.allowSpoofedSourcePrefixes).toBeUndefined();
  });

  test.each<[string, Parts]>([
    ["floatingIPs", floating("")],
    ["floatingIPs", floating("{}")],
    ["floatingIPs", floating("[1]")],
    ["floatingIPs", floating('["gumbo"]')],
    ["allowedSourcePrefixes", prefixes('[""]')],
    ["allowedSourcePrefixes", prefixes('["gumbo"]')],
    ["allowedSourcePrefixes", prefixes('["1.1.1.1"]')],
    ["allowedSourcePrefixes", prefixes("nonsense")],
  ])("a %s that cannot be read is named, and nothing is made", (name, parts) => {
    expect(convert(parts).value).toBeUndefined();
    for (const complaint of complaints(parts)) {
      expect(complaint).toContain(`metadata.annotations["cni.projectcalico.org/${name}"]`);
    }
    expect(complaints(parts)).not.toEqual([]);
  });

  test("a pod without a name or namespace is none", () => {
    expect(complaints({ metadata: { name: "" } })).toEqual([
      'metadata.name: "": cannot be part of an endpoint\'s name: the name of an endpoint needs a pod',
    ]);
    expect(complaints({ metadata: { namespace: undefined } })).toEqual(["metadata.namespace: is missing"]);
    expect(convert({ metadata: { name: "-a" } }).value).toBeUndefined();
  });
});

describe("QoS annotations", () => {
  const qos = (annotations: Record<string, string>) => {
    const long = Object.entries(annotations).map(([key, value]) => [
      key.includes("/") ? key : `qos.projectcalico.org/${key}`,
      value,
    ]);
    const { value, problems } = convert({ annotations: Object.fromEntries(long) });
    return { controls: value?.spec.qosControls, problems: problems.map(describeProblem) };
  };

  test("all that are in range", () => {
    expect(
      qos({
        ingressBandwidth: "1M",
        egressBandwidth: "2M",
        ingressBurst: "3M",
        egressBurst: "4M",
        ingressPeakrate: "5M",
        egressPeakrate: "6M",
        ingressMinburst: "7M",
        egressMinburst: "8M",
        ingressPacketRate: "2k",
        egressPacketRate: "9k",
        ingressPacketBurst: "1k",
        egressPacketBurst: "10k",
        ingressMaxConnections: "13M",
        egressMaxConnections: "14M",
        dscp: "cs5",
      }),
    ).toEqual({
      controls: {
        ingressBandwidth: 1_000_000,
        egressBandwidth: 2_000_000,
        ingressBurst: 3_000_000,
        egressBurst: 4_000_000,
        ingressPeakrate: 5_000_000,
        egressPeakrate: 6_000_000,
        ingressMinburst: 7_000_000,
        egressMinburst: 8_000_000,
        ingressPacketRate: 2000,
        egressPacketRate: 9000,
        ingressPacketBurst: 1000,
        egressPacketBurst: 10_000,
        ingressMaxConnections: 13_000_000,
        egressMaxConnections: 14_000_000,
        dscp: "CS5",
      },
      problems: [],
    });
  });

  test("out of range they become the nearest limit, and each is named", () => {
    const { controls, problems } = qos({
      ingressBandwidth: "1",
      egressBandwidth: "20P",
      ingressBurst: "3",
      egressBurst: "40P",
      ingressPeakrate: "5",
      egressPeakrate: "50P",
      ingressMinburst: "7",
      egressMinburst: "8Gi",
      ingressPacketRate: "0",
      egressPacketRate: "60P",
      ingressPacketBurst: "0",
      egressPacketBurst: "70P",
      ingressMaxConnections: "-1",
      egressMaxConnections: "80P",
    });
    expect(controls).toEqual({
      ingressBandwidth: 1000,
      egressBandwidth: 1_000_000_000_000_000,
      ingressBurst: 1000,
      egressBurst: 34_359_738_360,
      ingressPeakrate: 1010,
      egressPeakrate: 1_010_000_000_000_000,
      ingressMinburst: 1000,
      egressMinburst: 100_000_000,
      ingressPacketRate: 1,
      egressPacketRate: 10_000,
      ingressPacketBurst: 1,
      egressPacketBurst: 10_000,
      ingressMaxConnections: 1,
      egressMaxConnections: 4_294_967_295,
    });
    expect(problems).toHaveLength(14);
    expect(problems[0]).toBe(
      'metadata.annotations["qos.projectcalico.org/ingressBandwidth"]: "1": must be from 1k to 1P bits per second; 1000 is used instead',
    );
  });

  test.each([
    ["Burst", "Bandwidth"],
    ["Peakrate", "Bandwidth"],
    ["Minburst", "Peakrate"],
    ["PacketBurst", "PacketRate"],
  ])("%s alone is ignored", (limit, needed) => {
    for (const direction of ["ingress", "egress"]) {
      const { controls, problems } = qos({ [`${direction}${limit}`]: "3k" });
      expect(controls).toBeUndefined();
      expect(problems).toHaveLength(1);
      expect(problems[0]).toContain(`qos.projectcalico.org/${direction}${limit}`);
      expect(problems[0]).toContain(`qos.projectcalico.org/${direction}${needed}`);
    }
  });

  test("bursts have defaults, a peak rate is above the rate", () => {
    expect(qos({ ingressBandwidth: "1M", egressPacketRate: "10" }).controls).toEqual({
      ingressBandwidth: 1_000_000,
      ingressBurst: 2 ** 32,
      egressPacketRate: 10,
      egressPacketBurst: 5,
    });
    const slow = qos({ ingressBandwidth: "1M", ingressPeakrate: "1M", ingressMinburst: "2k" });
    expect(slow.controls).toEqual({ ingressBandwidth: 1_000_000, ingressBurst: 2 ** 32 });
    expect(slow.problems).toHaveLength(2);
  });

  test("Calico's bandwidth annotations go before Kubernetes', also when they are wrong", () => {
    const kubernetes = { "kubernetes.io/ingress-bandwidth": "1M", "kubernetes.io/egress-bandwidth": "2M" };
    expect(qos(kubernetes).controls).toMatchObject({ ingressBandwidth: 1_000_000, egressBandwidth: 2_000_000 });
    expect(qos({ ...kubernetes, ingressBandwidth: "3M" }).controls).toMatchObject({ ingressBandwidth: 3_000_000 });
    const { controls, problems } = qos({ ...kubernetes, ingressBandwidth: "fast" });
    expect(controls).toEqual({ egressBandwidth: 2_000_000, egressBurst: 2 ** 32 });
    expect(problems).toEqual([
      'metadata.annotations["qos.projectcalico.org/ingressBandwidth"]: "fast": must be a quantity such as 10M, from 1k to 1P bits per second; it is ignored',
    ]);
  });

  test.each<[string, number | string | undefined]>([
    ["0", 0],
    ["63", 63],
    ["ef", "EF"],
    [" AF11 ", "AF11"],
    ["64", undefined],
    ["AF14", undefined],
    ["-1", undefined],
    ["", undefined],
  ])("the code point %j", (text, value) => {
    const { controls, problems } = qos({ dscp: text });
    expect(controls?.dscp).toBe(value);
    expect(problems).toHaveLength(value === undefined ? 1 : 0);
  });
});
