import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { podInterfaceName } from "../api/names.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { CniError, parseEnvironment, parseNetworkConfig } from "../cni/index.ts";
import { DatastoreError } from "../datastore/index.ts";
import { IpamError } from "../ipam/index.ts";
import { VethError } from "../veth/index.ts";
import { goTime } from "./addresses.ts";
import { datastoreConfig } from "./datastore.ts";
import { asFailure } from "./failure.ts";
import { findGarbage, type Inventory, ownerOfMark } from "./garbage.ts";
import { identify, ownerMark, parseOwner } from "./identity.ts";
import { sanitizeMesosLabel } from "./mesos.ts";
import { podRoutes, randomMac } from "./plan.ts";
import { checkProfileName } from "./profile.ts";
import { statusFileName } from "./wait.ts";

const BASE = { cniVersion: "1.0.0", name: "net1", type: "calico", ipam: { type: "calico-ipam" } };

function callOf(config: object = {}, variables: Record<string, string> = {}) {
  const env = { CNI_COMMAND: "ADD", CNI_CONTAINERID: "abc", CNI_NETNS: "/a", CNI_IFNAME: "eth0", ...variables };
  const raw = { ...BASE, ...config };
  return { environment: parseEnvironment(env), config: parseNetworkConfig(raw), stdin: JSON.stringify(raw), env };
}

describe("the datastore", () => {
  const choose = (config: object, env: Record<string, string> = {}) => datastoreConfig(callOf(config).config, env);

  test("is the embedded one when nothing says otherwise", () => {
    expect(choose({})).toEqual({ type: "sqlite", file: "/var/lib/calico/datastore.db" });
    expect(choose({ datastore_file: "/a" })).toEqual({ type: "sqlite", file: "/a" });
  });

  test.each<[object, object]>([
    [{ etcd_endpoints: "http://a:2379,http://b:2379" }, { endpoints: ["http://a:2379", "http://b:2379"] }],
    [{ etcd_discovery_srv: "example.org" }, { endpoints: [], discoverySrv: "example.org" }],
    [{ etcd_authority: "a:2379" }, { endpoints: ["http://a:2379"] }],
    [{ etcd_authority: "a:2379", etcd_scheme: "https" }, { endpoints: ["https://a:2379"] }],
    [
      { etcd_endpoints: "https://a:2379", etcd_key_file: "/k", etcd_cert_file: "/c", etcd_ca_cert_file: "/ca" },
      { endpoints: ["https://a:2379"], keyFile: "/k", certFile: "/c", caCertFile: "/ca" },
    ],
  ])("is etcd with %j", (config, expected) => {
    expect(choose(config)).toEqual({ type: "etcdv3", ...expected });
    expect(choose({ ...config, datastore_type: "etcdv3" })).toEqual({ type: "etcdv3", ...expected });
  });

  test("is what the environment says where the configuration says nothing, and credentials come from there only", () => {
    const env = { ETCD_ENDPOINTS: "http://env:2379", CALICO_ETCD_USERNAME: "u", ETCD_PASSWORD: "p" };
    expect(choose({}, env)).toEqual({ type: "etcdv3", endpoints: ["http://env:2379"], username: "u", password: "p" });
    expect(choose({ datastore_type: "sqlite" }, env)).toMatchObject({ type: "sqlite" });
    expect(choose({ etcd_discovery_srv: "a.b" }, env)).toMatchObject({ endpoints: [], discoverySrv: "a.b" });
    expect(choose({}, { DATASTORE_TYPE: "sqlite", CALICO_DATASTORE_FILE: "/e" })).toEqual({
      type: "sqlite",
      file: "/e",
    });
  });

  test("is Kubernetes where the configuration says so or names an API server, with upstream's keys before its variables", () => {
    const env = {
      KUBECONFIG: "/env",
      K8S_API_TOKEN: "env",
      CALICO_API_GROUP: "projectcalico.org/v3",
      K8S_CLIENT_QPS: "9",
    };
    const kubernetes = { kubeconfig: "/a/kubeconfig" };
    expect(choose({ kubernetes })).toEqual({ type: "kubernetes", kubeconfig: "/a/kubeconfig" });
    expect(choose({ datastore_type: "kubernetes" }, env)).toEqual({
      type: "kubernetes",
      kubeconfig: "/env",
      token: "env",
      apiGroup: "v3",
      qps: 9,
    });
    expect(
      choose(
        {
          kubernetes: { k8s_api_root: "https://a:6443" },
          policy: { type: "k8s", k8s_certificate_authority: "/ca", k8s_client_certificate: "/c", k8s_client_key: "/k" },
          qps: 5,
          burst: 6,
          calico_api_group: "crd.projectcalico.org/v1",
        },
        env,
      ),
    ).toEqual({
      type: "kubernetes",
      apiEndpoint: "https://a:6443",
      caFile: "/ca",
      certFile: "/c",
      keyFile: "/k",
      qps: 5,
      burst: 6,
      apiGroup: "v1",
    });
    expect(choose({}, env)).toMatchObject({ type: "sqlite" });
    expect(choose({ datastore_type: "sqlite", kubernetes })).toMatchObject({ type: "sqlite" });
    expect(choose({ etcd_endpoints: "http://a:2379", kubernetes })).toMatchObject({ type: "etcdv3" });
  });

  test("that is configured wrongly is error 7, by key", () => {
    for (const [config, key] of [
      [{ datastore_type: "etcdv3" }, "etcd_endpoints"],
      [{ etcd_endpoints: "a:2379" }, "etcd_endpoints"],
      [{ etcd_endpoints: "http://a", etcd_key_file: "/k" }, "etcd_cert_file"],
      [{ datastore_type: "kubernetes", calico_api_group: "v2" }, "calico_api_group"],
    ] as const) {
      expect(() => choose(config)).toThrow(key);
    }
  });
});

describe("names", () => {
  const of = (config: object, args = "", variables = {}) =>
    identify(callOf(config, { CNI_ARGS: args, ...variables }), "n", {});

  test("of a container that is no pod", () => {
    expect(of({})).toMatchObject({
      orchestrator: "cni",
      namespace: "default",
      endpointName: "n-cni-abc-eth0",
      endpointPrefix: "n-cni-abc-",
      hostInterface: "caliabc",
      handle: "net1.abc",
      legacyHandle: "abc",
      owner: "net1/abc/eth0",
    });
  });

  test("of a pod", () => {
    expect(of({}, "K8S_POD_NAME=coredns-abc;K8S_POD_NAMESPACE=kube-system")).toMatchObject({
      orchestrator: "k8s",
      namespace: "kube-system",
      pod: "coredns-abc",
      endpointName: "n-k8s-coredns--abc-eth0",
      hostInterface: "cali3d5d6ab04b5",
      handle: "net1.abc",
      legacyHandle: "kube-system.coredns-abc",
    });
  });

  test("need both of a pod's arguments", () => {
    expect(of({}, "K8S_POD_NAME=a").orchestrator).toBe("cni");
    expect(of({}, "CNI_TEST_NAMESPACE=testing").namespace).toBe("testing");
  });

  test.each(["K8S_POD_NAME=a/b;K8S_POD_NAMESPACE=c", "K8S_POD_NAME=a;K8S_POD_NAMESPACE=-c", "CNI_TEST_NAMESPACE=../x"])(
    "that could leave their place are refused: %s",
    (args) => {
      expect(() => of({}, args)).toThrow(CniError);
    },
  );

  test("that make no endpoint name are refused", () => {
    expect(() => of({}, "", { CNI_CONTAINERID: "abc-" })).toThrow("CNI_CONTAINERID");
  });

  test("are on the interface as a mark, which is read again unless it is too long", () => {
    expect(parseOwner(ownerMark("net", "cid", "eth0"))).toEqual({ network: "net", containerId: "cid", ifName: "eth0" });
    const long = ownerMark("n".repeat(200), "c".repeat(200), "eth0");
    expect(Buffer.byteLength(long)).toBeLessThanOrEqual(240);
    expect(parseOwner(long)).toBeUndefined();
    expect(parseOwner("somebody else")).toBeUndefined();
  });

  test("tell from a mark that is too long whose it is, part by part", () => {
    const name = fc.stringMatching(/^[a-z0-9][-_.a-z0-9]{0,150}$/);
    const parts = fc.tuple(name, name, fc.constantFrom("eth0", "eth1"));
    fc.assert(
      fc.property(parts, parts, ([network, container, ifName], [otherNetwork, otherContainer, otherIfName]) => {
        const owner = ownerOfMark(ownerMark(network, container, ifName))!;
        expect(owner.isNetwork(network) && owner.isContainer(container) && owner.ifName === ifName).toBe(true);
        expect(owner.isNetwork(otherNetwork)).toBe(network === otherNetwork);
        expect(owner.isContainer(otherContainer)).toBe(container === otherContainer);
        expect(owner.ifName === otherIfName).toBe(ifName === otherIfName);
      }),
    );
    // What could be anybody's is nobody's.
    for (const mark of ["somebody else", `#${"0".repeat(64)}`, `#${"0".repeat(64)}/x/eth0`, "a/b", "a/b/c/d", ""])
      expect(ownerOfMark(mark)).toBeUndefined();
  });
});

test.each([
  ["/a/b/c", "a.b.c"],
  ["key", "key"],
  ["a b", "a-b"],
  ["--a..b--", "a.b"],
  ["grüße/ü", "gr-e"],
  ["///", ""],
  ["a-.-b", "a.b"],
])("the Mesos label %j becomes %j", (given, expected) => {
  expect(sanitizeMesosLabel(given)).toBe(expected);
});

test("a time is printed as Go prints it", () => {
  expect(goTime(Date.UTC(2024, 9, 19, 20, 50, 0, 35))).toBe("2024-10-19 20:50:00.035 +0000 UTC");
  expect(goTime(Date.UTC(2024, 9, 19, 20, 50, 10, 0))).toBe("2024-10-19 20:50:10 +0000 UTC");
  expect(goTime(Date.UTC(2024, 9, 19, 20, 50, 10, 500))).toBe("2024-10-19 20:50:10.5 +0000 UTC");
});

describe("a network's name", () => {
  const PROFILE = /^(?=.{1,63}$)[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
  const pod = { CNI_ARGS: "K8S_POD_NAME=a;K8S_POD_NAMESPACE=b" };
  const check = (name: string, policyType: string, variables = {}): void => {
    const call = callOf({ name: "net1" }, variables);
    checkProfileName({ ...identify(call, "n", {}), network: name }, policyType);
  };

  test("is refused when it cannot be a profile's, naming the key", () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[-a-cA_.0]{1,8}$/), (name) => {
        if (PROFILE.test(name)) check(name, "");
        else expect(() => check(name, "")).toThrow(/^"name" is /);
      }),
    );
    expect(() => check("n".repeat(64), "")).toThrow('"name"');
    expect(() => check("Net", "k8s")).toThrow('"name"');
    check("n".repeat(63), "");
  });

  test("may be any for pods with policy.type k8s, whose profiles are their namespaces'", () => {
    check("Net_1", "k8s", pod);
    expect(() => check("Net_1", "", pod)).toThrow('"name"');
  });
});

test("a MAC is local and for one receiver", () => {
  for (let i = 0; i < 200; i++) expect(randomMac()).toMatch(/^.[26ae](:[0-9a-f]{2}){5}$/);
});

test("only a Kubernetes pod with host-local has other routes than the default ones", () => {
  const ipam = { type: "host-local", routes: [{ dst: "10.0.0.0/8" }] };
  const args = { CNI_ARGS: "K8S_POD_NAME=a;K8S_POD_NAMESPACE=b" };
  const lengths = (config: object, variables = {}) => {
    const call = callOf(config, variables);
    return podRoutes(call, identify(call, "n", {})).map(({ destination }) => destination.length);
  };
  expect(lengths({ ipam })).toEqual([0, 0]);
  expect(lengths({ ipam }, args)).toEqual([8]);
  expect(lengths({ ipam, include_default_routes: true }, args)).toEqual([0, 0, 8]);
  expect(lengths({}, args)).toEqual([0, 0]);
});

test("the status file of an endpoint is named as Felix names it", () => {
  const endpoint = { spec: { endpoint: "eth0" } } as WorkloadEndpoint;
  const pod = identify(callOf({}, { CNI_ARGS: "K8S_POD_NAME=a-b;K8S_POD_NAMESPACE=ns" }), "n", {});
  expect(statusFileName(pod, endpoint)).toBe("k8s ns%2Fa-b eth0");
});

test.each<[Error, number]>([
  [new DatastoreError("UNAVAILABLE", "etcd http://a is down"), 11],
  [new DatastoreError("CONFLICT", "x"), 11],
  [new DatastoreError("UNAUTHORIZED", "x"), 101],
  [new DatastoreError("CORRUPT", "x"), 101],
  [new DatastoreError("FULL", "x"), 101],
  [new DatastoreError("CONFIG", "x"), 7],
  [new IpamError("IPAM_POOL_EXHAUSTED", "x", { pools: [{ pool: "p", cidr: "10.0.0.0/24", reason: "full" }] }), 102],
  [new IpamError("IPAM_CONFLICT", "x"), 11],
  [new VethError("HOST_INTERFACE_TAKEN", "x"), 106],
  [new VethError("NETNS", "x"), 4],
  [new VethError("KERNEL", "x"), 103],
])("%o has the code %i", (error, code) => {
  const failure = asFailure(error, "what was done");
  expect(failure).toMatchObject({ code, cause: error });
  expect((failure as Error).message).toContain(error.message);
});

test("why each pool gave nothing is in the details", () => {
  const error = new IpamError("IPAM_POOL_EXHAUSTED", "x", {
    pools: [{ pool: "p", cidr: "10.0.0.0/24", reason: "it is full" }],
  });
  expect(asFailure(error, "y")).toMatchObject({ details: "p (10.0.0.0/24): it is full" });
});

test("an error that nobody made on purpose stays what it is", () => {
  const error = new TypeError("x");
  expect(asFailure(error, "y")).toBe(error);
});

describe("garbage", () => {
  const endpoint = (containerID: string, spec: object = {}): WorkloadEndpoint =>
    ({
      metadata: { name: `n-cni-${containerID}-eth0` },
      spec: {
        node: "n",
        orchestrator: "cni",
        containerID,
        endpoint: "eth0",
        profiles: ["net"],
        interfaceName: `cali${containerID}`,
        ...spec,
      },
    }) as unknown as WorkloadEndpoint;
  const link = (owner: string, more: object = {}) => ({
    name: `cali${owner.split("/")[1]}`,
    index: 1,
    owner,
    up: true,
    condemned: false,
    ...more,
  });
  const inventory = (more: Partial<Inventory>): Inventory => ({
    network: "net",
    node: "n",
    endpoints: [],
    interfaces: [],
    unreadable: [],
    handles: new Set(),
    pods: new Map(),
    valid: [],
    ...more,
  });

  test("is what no list names", () => {
    const found = findGarbage(
      inventory({
        endpoints: [endpoint("a"), endpoint("b")],
        interfaces: [link("net/a/eth0"), link("net/b/eth0")],
        handles: new Set(["net.a", "net.b"]),
        valid: [{ containerId: "a", ifName: "eth0" }],
      }),
    );
    expect(found.endpoints.map(({ spec }) => spec.containerID)).toEqual(["b"]);
    expect(found.interfaces.map(({ owner }) => owner)).toEqual(["net/b/eth0"]);
    expect(found.handles).toEqual(["net.b"]);
  });

  test("is not another network's, node's or orchestrator's", () => {
    const found = findGarbage(
      inventory({
        endpoints: [
          endpoint("a", { profiles: ["net2", "net"] }),
          endpoint("b", { node: "m" }),
          endpoint("c", { orchestrator: "openstack" }),
          endpoint("d", { orchestrator: "k8s", profiles: ["kns.default"] }),
        ],
        interfaces: [link("net2/a/eth0"), link("somebody else")],
      }),
    );
    expect(found).toEqual({ interfaces: [], endpoints: [], handles: [], blocked: [] });
  });

  test("is a Kubernetes pod's whose handle or interface is the network's", () => {
    const pod = endpoint("d", { orchestrator: "k8s", profiles: ["kns.default"] });
    expect(findGarbage(inventory({ endpoints: [pod], handles: new Set(["net.d"]) })).endpoints).toEqual([pod]);
    expect(findGarbage(inventory({ endpoints: [pod], interfaces: [link("net/d/eth0")] })).endpoints).toEqual([pod]);
  });

  test("is not a handle that may be of a network with a longer name, unless something says so", () => {
    const handles = new Set(["net.a.b"]);
    expect(findGarbage(inventory({ handles })).handles).toEqual([]);
    expect(findGarbage(inventory({ handles, endpoints: [endpoint("a.b")] })).handles).toEqual(["net.a.b"]);
    expect(findGarbage(inventory({ handles, interfaces: [link("net/a.b/eth0")] })).handles).toEqual(["net.a.b"]);
    expect(findGarbage(inventory({ handles, interfaces: [link("net.a/b/eth0")] })).handles).toEqual([]);
  });

  test("is an interface without a mark that a stale record names, and no other such one", () => {
    const interfaces = [
      { ...link(""), name: "calia", owner: "" },
      { ...link(""), name: "calib", owner: "" },
    ];
    const found = findGarbage(inventory({ endpoints: [endpoint("a")], interfaces }));
    expect(found.interfaces.map(({ name }) => name)).toEqual(["calia"]);
  });

  test("is an interface whose mark is hashed, though no record tells, unless it is valid or another network's", () => {
    const network = "n".repeat(150);
    const container = (letter: string): string => letter.repeat(150);
    const hashed = (of: string, letter: string) => link(ownerMark(of, container(letter), "eth0"), { name: letter });
    const interfaces = [hashed(network, "a"), hashed(network, "b"), hashed("m".repeat(150), "c")];
    const collect = (valid: Inventory["valid"], more: Partial<Inventory> = {}) =>
      findGarbage(inventory({ network, interfaces, valid, ...more }));
    const names = (valid: Inventory["valid"]) => collect(valid).interfaces.map(({ name }) => name);
    expect(names([])).toEqual(["a", "b"]);
    expect(names([{ containerId: container("a"), ifName: "eth0" }])).toEqual(["b"]);
    expect(names([{ containerId: container("a"), ifName: "" }])).toEqual(["b"]);
    expect(names([{ containerId: container("a"), ifName: "eth1" }])).toEqual(["a", "b"]);
    const record = endpoint(container("a"), { interfaceName: "a", profiles: ["edited"] });
    const found = collect([], { endpoints: [record] });
    expect(found.endpoints).toEqual([record]);
    expect(found.interfaces.map(({ name }) => name)).toEqual(["a", "b"]);
    const dotted = `${container("d")}.x`;
    const mark = link(ownerMark(network, dotted, "eth0"), { name: "d" });
    expect(collect([], { interfaces: [mark], handles: new Set([`${network}.${dotted}`]) }).handles).toHaveLength(1);
    const others = { interfaces: [link(ownerMark("m".repeat(150), container("a"), "eth0"), { name: "a" })] };
    expect(collect([], { ...others, endpoints: [endpoint(container("a"), { interfaceName: "a" })] })).toMatchObject({
      interfaces: [],
    });
  });

  test("is what was condemned, whosever it was", () => {
    const interfaces = [link("net/a/eth0", { condemned: true }), link("net2/b/eth0", { condemned: true })];
    expect(
      findGarbage(inventory({ interfaces, valid: [{ containerId: "a", ifName: "eth0" }] })).interfaces,
    ).toHaveLength(2);
  });

  test("is nothing that an endpoint which cannot be read may be about, and is named when it would be", () => {
    const unreadable = (name: string, namespace = "default") => ({
      key: `/${namespace}/${name}`,
      name,
      namespace,
      problem: "is spoilt",
    });
    const cni = findGarbage(
      inventory({
        unreadable: [unreadable("n-cni-a-eth0"), unreadable("n-cni-other-eth0"), unreadable("m-cni-b-eth0")],
        interfaces: [link("net/a/eth0"), link("net/b/eth0"), link("net2/other/eth0")],
        handles: new Set(["net.a", "net.b"]),
      }),
    );
    expect(cni.interfaces.map(({ owner }) => owner)).toEqual(["net/b/eth0"]);
    expect(cni.handles).toEqual(["net.b"]);
    expect(cni.blocked).toMatchObject([
      { endpoint: { key: "/default/n-cni-a-eth0" }, attachments: [{ containerId: "a", ifName: "eth0" }] },
    ]);

    // A pod's record does not have its container in its name: the addresses' attributes and the interface do.
    const pod = findGarbage(
      inventory({
        unreadable: [unreadable("n-k8s-web-eth0", "prod")],
        interfaces: [link("net/a/eth0", { name: podInterfaceName("prod", "web", "eni") }), link("net/b/eth0")],
        handles: new Set(["net.a", "net.b", "net.c"]),
        pods: new Map([
          ["net.c", "prod/web"],
          ["net.b", "prod/other"],
        ]),
      }),
    );
    expect(pod.interfaces.map(({ owner }) => owner)).toEqual(["net/b/eth0"]);
    expect(pod.handles).toEqual(["net.b"]);
    expect(pod.blocked).toHaveLength(1);

    // Nobody finds a record by a name that no Calico gives.
    const odd = findGarbage(
      inventory({
        unreadable: [unreadable("n-cni-a-b-c-d")],
        interfaces: [link("net/a/eth0")],
        handles: new Set(["net.a"]),
        endpoints: [endpoint("z")],
      }),
    );
    expect(odd).toMatchObject({ handles: ["net.a"], blocked: [{ attachments: [] }] });
    expect(odd.interfaces).toHaveLength(1);
    expect(odd.endpoints).toHaveLength(1);

    const valid = findGarbage(
      inventory({ unreadable: [unreadable("n-cni-a-eth0")], valid: [{ containerId: "a", ifName: "eth0" }] }),
    );
    expect(valid.blocked).toEqual([]);
  });

  test("never holds what is valid or another network's, whatever the inventory", () => {
    const container = fc.constantFrom("a", "b", "c.d", "d");
    const network = fc.constantFrom("net", "net.c", "net2");
    const arbitrary = fc.record({
      endpoints: fc.array(fc.tuple(container, network).map(([id, profile]) => endpoint(id, { profiles: [profile] }))),
      interfaces: fc.array(fc.tuple(network, container).map(([of, id]) => link(`${of}/${id}/eth0`))),
      handles: fc.array(container.map((id) => `net.${id}`)).map((list) => new Set(list)),
      valid: fc.array(container.map((containerId) => ({ containerId, ifName: "eth0" }))),
    });
    fc.assert(
      fc.property(arbitrary, (parts) => {
        const found = findGarbage(inventory(parts));
        const valid = new Set<string>(parts.valid.map(({ containerId }) => containerId));
        for (const { spec } of found.endpoints) {
          expect(valid.has(spec.containerID!)).toBe(false);
          const marked = parts.interfaces.some(({ owner }) => owner === `net/${spec.containerID}/eth0`);
          expect(spec.profiles![0] === "net" || marked).toBe(true);
        }
        for (const { owner } of found.interfaces) {
          expect(owner.startsWith("net/")).toBe(true);
          expect(valid.has(owner.split("/")[1]!)).toBe(false);
        }
        for (const handle of found.handles) expect(valid.has(handle.slice(4))).toBe(false);
      }),
    );
  });
});
