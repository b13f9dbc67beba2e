import { describe, expect, test } from "vitest";
import type { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import type { EndpointSlice, Service } from "../../api/kubernetes/index.ts";
import { nodeBgp } from "./node-bgp.ts";
import { configuration, node, service, slice } from "./testing.ts";
import type { NodeBgpOptions } from "./types.ts";

const RANGES = {
  serviceClusterIPs: [{ cidr: "10.96.0.0/12" }, { cidr: "fd96::/112" }],
  serviceExternalIPs: [{ cidr: "80.0.0.0/16" }, { cidr: "81.0.0.1/32" }],
  serviceLoadBalancerIPs: [{ cidr: "90.0.0.0/16" }, { cidr: "91.0.0.1/32" }],
};
const WHOLE = ["10.96.0.0/12", "80.0.0.0/16", "90.0.0.0/16"];

interface Scene {
  readonly ranges?: Partial<BGPConfiguration["spec"]>;
  readonly labels?: Record<string, string>;
  readonly services?: Service[];
  readonly slices?: EndpointSlice[];
  readonly options?: Partial<NodeBgpOptions>;
}

const on = ({ ranges = RANGES, labels = {}, services = [], slices = [], options = {} }: Scene) =>
  nodeBgp(
    {
      nodes: [node("n1", { ipv4Address: "10.0.0.1/24", ipv6Address: "fd00::1/64" }, labels)],
      configurations: [configuration(ranges)],
      services,
      endpointSlices: slices,
    },
    { node: "n1", ...options },
  );
/** The single addresses of one Service. */
const single = (spec: Service["spec"], slices: EndpointSlice[], balanced: string[] = [], ranges = {}) => {
  const { ipv4, ipv6 } = on({ services: [service("s", spec, balanced)], slices, ranges: { ...RANGES, ...ranges } });
  return [...ipv4.services, ...ipv6.services].filter((text) => /\/(32|128)$/.test(text));
};

const HERE = [slice("s", { n1: true, n2: true })];
const ELSEWHERE = [slice("s", { n2: true })];
const LOCAL: Service["spec"] = {
  type: "LoadBalancer",
  externalTrafficPolicy: "Local",
  clusterIP: "10.96.0.5",
  clusterIPs: ["10.96.0.5"],
  ipFamilies: ["IPv4"],
  externalIPs: ["80.0.0.5", "82.0.0.5"],
};
const CLUSTER: Service["spec"] = { ...LOCAL, externalTrafficPolicy: "Cluster" };

describe("whole ranges", () => {
  test("are advertised but those of one address, and never programmed, in the order of upstream's keys", () => {
    const { ipv4, ipv6 } = on({});
    expect(ipv4).toMatchObject({
      services: WHOLE,
      notProgrammed: WHOLE,
      externalRanges: ["80.0.0.0/16", "81.0.0.1/32"],
      loadBalancerRanges: ["90.0.0.0/16", "91.0.0.1/32"],
    });
    expect(ipv6).toMatchObject({ services: ["fd96::/112"], notProgrammed: ["fd96::/112"], externalRanges: [] });
  });

  test("of load balancers only while these are aggregated", () => {
    const { ipv4 } = on({ ranges: { ...RANGES, serviceLoadBalancerAggregation: "Disabled" } });
    expect(ipv4.services).toEqual(["10.96.0.0/12", "80.0.0.0/16"]);
    expect(ipv4.notProgrammed).toEqual(["10.96.0.0/12", "80.0.0.0/16"]);
    expect(ipv4.loadBalancerRanges).toEqual(["90.0.0.0/16", "91.0.0.1/32"]);
  });

  test("of cluster addresses come from the environment first", () => {
    const { ipv4 } = on({ options: { advertiseClusterIps: "10.100.0.0/16, 10.101.0.0/16" } });
    expect(ipv4.services).toEqual(["10.100.0.0/16", "10.101.0.0/16", "80.0.0.0/16", "90.0.0.0/16"]);
  });

  test("are not advertised from a node that load balancers leave out, nor is anything of a Service", () => {
    const labels = { "node.kubernetes.io/exclude-from-external-load-balancers": "true" };
    const { ipv4 } = on({ labels, services: [service("s", LOCAL)], slices: HERE });
    expect(ipv4.services).toEqual([]);
    expect(ipv4.notProgrammed).toEqual(WHOLE);
    const other = { "node.kubernetes.io/exclude-from-external-load-balancers": "false" };
    expect(on({ labels: other }).ipv4.services).toEqual(WHOLE);
  });
});

describe("single addresses", () => {
  const all = ["10.96.0.5/32", "80.0.0.5/32", "90.0.0.5/32"];

  test.each<[string, Service["spec"], EndpointSlice[], string[]]>([
    ["Local, with an endpoint here: all in the ranges", LOCAL, HERE, all],
    ["Local, with endpoints elsewhere", LOCAL, ELSEWHERE, []],
    ["Local, with an endpoint here that is not ready", LOCAL, [slice("s", { n1: false, n2: true })], []],
    [
      "Local, with endpoints in several slices",
      LOCAL,
      [slice("s", { n2: true }), slice("s", { n1: true }, "IPv4", "s-2")],
      all,
    ],
    ["Local, with endpoints of a family that it is not of", LOCAL, [slice("s", { n1: true }, "IPv6")], []],
    ["Local, of a node port", { ...LOCAL, type: "NodePort" }, HERE, all],
    ["Cluster: the ranges are enough", CLUSTER, HERE, []],
    ["no policy", { ...CLUSTER, externalTrafficPolicy: undefined } as never, HERE, []],
    [
      "Cluster with an external range of one address",
      { ...CLUSTER, externalIPs: ["81.0.0.1"] },
      ELSEWHERE,
      ["10.96.0.5/32", "81.0.0.1/32", "90.0.0.5/32"],
    ],
    [
      "what an API server fills in may be absent",
      { clusterIP: "10.96.0.5", externalIPs: ["81.0.0.1"] },
      ELSEWHERE,
      ["10.96.0.5/32", "81.0.0.1/32", "90.0.0.5/32"],
    ],
    ["nothing behind it at all", { ...CLUSTER, externalIPs: ["81.0.0.1"] }, [], []],
    ["headless", { ...LOCAL, clusterIP: "None", clusterIPs: ["None"] }, HERE, []],
    ["a name of something outside", { ...LOCAL, type: "ExternalName" }, HERE, []],
  ])("%s", (_, spec, slices, found) => {
    expect(single(spec, slices, ["90.0.0.5", "92.0.0.5"])).toEqual(found);
  });

  test("Cluster with a load balancer's range of one address, by its status or as it was asked for", () => {
    expect(single(CLUSTER, ELSEWHERE, ["91.0.0.1"])).toContain("91.0.0.1/32");
    expect(single({ ...CLUSTER, loadBalancerIP: "91.0.0.1" }, ELSEWHERE, ["91.0.0.1"])).toContain("91.0.0.1/32");
  });

  test("where load balancers are not aggregated: Cluster from every node while one endpoint is ready, Local as always", () => {
    const apart = { serviceLoadBalancerAggregation: "Disabled" } as const;
    expect(single(CLUSTER, ELSEWHERE, ["90.0.0.5"], apart)).toEqual(all);
    expect(single(CLUSTER, [slice("s", { n2: false })], ["90.0.0.5"], apart)).toEqual([]);
    expect(single(LOCAL, ELSEWHERE, ["90.0.0.5"], apart)).toEqual([]);
  });

  test("both families of one Service", () => {
    const dual: Service["spec"] = {
      ...LOCAL,
      clusterIPs: ["10.96.0.5", "fd96::5"],
      ipFamilies: ["IPv4", "IPv6"],
      externalIPs: [],
    };
    expect(single(dual, [slice("s", { n1: true }, "IPv6")])).toEqual(["10.96.0.5/32", "fd96::5/128"]);
  });

  test("cluster addresses only while a range of theirs is configured", () => {
    expect(single(LOCAL, HERE, ["90.0.0.5"], { serviceClusterIPs: [] })).toEqual(["80.0.0.5/32", "90.0.0.5/32"]);
    expect(on({ ranges: {}, services: [service("s", LOCAL)], slices: HERE }).ipv4.services).toEqual([]);
  });

  test("endpoints call the node as Kubernetes does", () => {
    const scene = { services: [service("s", LOCAL)], slices: [slice("s", { "ip-10-0-0-1": true })] };
    expect(on(scene).ipv4.services).toEqual(WHOLE);
    expect(on({ ...scene, options: { kubernetesNode: "ip-10-0-0-1" } }).ipv4.services).toContain("10.96.0.5/32");
    const own = node("n1", { ipv4Address: "10.0.0.1/24" });
    const nodes = [{ ...own, spec: { ...own.spec, orchRefs: [{ nodeName: "ip-10-0-0-1", orchestrator: "k8s" }] } }];
    const { ipv4 } = nodeBgp(
      { nodes, configurations: [configuration(RANGES)], services: scene.services, endpointSlices: scene.slices },
      { node: "n1" },
    );
    expect(ipv4.services).toContain("10.96.0.5/32");
  });

  test("an address of two Services is advertised while one of them is", () => {
    const services = [
      service("s", { ...LOCAL, clusterIP: "10.96.0.6", clusterIPs: ["10.96.0.6"] }),
      service("t", LOCAL),
    ];
    const { ipv4 } = on({ services, slices: [slice("s", { n2: true }), slice("t", { n1: true })] });
    expect(ipv4.services).toEqual(["10.96.0.0/12", "10.96.0.5/32", "80.0.0.0/16", "80.0.0.5/32", "90.0.0.0/16"]);
  });
});
