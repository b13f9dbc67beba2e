import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BGPConfiguration } from "../api/bgpconfiguration.ts";
import { ClusterInformation } from "../api/clusterinformation.ts";
import { FelixConfiguration } from "../api/felixconfiguration.ts";
import { IPAMConfiguration } from "../api/ipamconfiguration.ts";
import { IPPool } from "../api/ippool.ts";
import { API_VERSION } from "../api/meta.ts";
import { Node, type NodeSpec } from "../api/node.ts";
import { type Client, DatastoreError, openClient } from "../datastore/index.ts";
import { MemoryData, memoryClient } from "../datastore/testing.ts";
import { nodeNameOf } from "./environment.ts";
import { type NodeError, prepareNode, removeShutdownTimestamp } from "./index.ts";
import { type KeptLog, keptLog, machine } from "./testing.ts";
import type { Env, HostFacts, KubernetesFacts } from "./types.ts";

let folder: string;
let log: KeptLog;
let data: MemoryData;
let client: Client;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "node-"));
  log = keptLog();
  data = new MemoryData();
  client = memoryClient({ data });
});
afterEach(() => rmSync(folder, { recursive: true }));

const env = (over: Env = {}): Env => ({ NODENAME: "n1", CALICO_NODENAME_FILE: join(folder, "nodename"), ...over });
const HOST = machine(["lo 127.0.0.1/8", "eth0 10.0.0.1/24 fd00::1/64"]);
const prepare = (over: Env = {}, facts: HostFacts = HOST, kubernetes?: KubernetesFacts, on = client) =>
  prepareNode(on, env(over), facts, { log, ...(kubernetes && { kubernetes }) });

const stored = async (name = "n1") => (await client.get(Node, { name }))!;
const putNode = (name: string, spec: NodeSpec, labels?: Record<string, string>) =>
  client.create(Node, { apiVersion: API_VERSION, kind: "Node", metadata: { name, ...(labels && { labels }) }, spec });

const revisions = async () => {
  const kinds = [Node, IPPool, FelixConfiguration, BGPConfiguration, IPAMConfiguration, ClusterInformation];
  const lists = await Promise.all(kinds.map((kind) => client.list(kind as typeof Node)));
  return lists.flatMap(({ items }) =>
    items.map(({ kind, metadata }) => `${kind} ${metadata.name} ${metadata.resourceVersion}`),
  );
};

describe("a new cluster", () => {
  test("has all that upstream's start-up makes", async () => {
    const prepared = await prepare({ AS: "65001", CLUSTER_TYPE: "k8s,bgp", CALICO_K8S_NODE_REF: "n1.example" });
    expect(prepared).toMatchObject({ name: "n1", ipv4: "10.0.0.1/24", asn: 65001, unserved: [], warnings: [] });
    expect(prepared.ipv6).toBeUndefined();
    expect((await stored()).spec).toEqual({
      bgp: { ipv4Address: "10.0.0.1/24", asNumber: 65001 },
      orchRefs: [{ nodeName: "n1.example", orchestrator: "k8s" }],
    });
    expect((await client.list(IPPool)).items.map(({ spec }) => spec.cidr)).toEqual([
      "192.168.0.0/16",
      expect.stringMatching(/^fd..:....?:.*::\/48$/),
    ]);
    expect((await client.get(FelixConfiguration, { name: "default" }))!.spec).toMatchObject({
      reportingInterval: "0s",
      logSeverityScreen: "Info",
    });
    expect((await client.get(FelixConfiguration, { name: "node.n1" }))!.spec).toMatchObject({
      defaultEndpointToHostAction: "Return",
    });
    expect((await client.get(BGPConfiguration, { name: "default" }))!.spec).toMatchObject({
      logSeverityScreen: "Info",
    });
    expect((await client.get(IPAMConfiguration, { name: "default" }))!.spec).toMatchObject({
      strictAffinity: false,
      autoAllocateBlocks: true,
    });
    expect((await client.get(ClusterInformation, { name: "default" }))!.spec).toMatchObject({
      clusterType: "k8s,bgp",
      datastoreReady: true,
    });
    expect(readFileSync(join(folder, "nodename"), "utf8")).toBe("n1");
    expect(readdirSync(folder)).toEqual(["nodename"]);
    expect(log.of("warning")).toEqual([]);
  });

  test("a second start changes nothing", async () => {
    await prepare({ IP: "autodetect", IP6: "autodetect" });
    const before = await revisions();
    await prepare({ IP: "autodetect", IP6: "autodetect" });
    expect(await revisions()).toEqual(before);
  });

  test("many nodes that start at once make each thing once", async () => {
    const starts = Array.from({ length: 12 }, (_, i) =>
      prepareNode(
        memoryClient({ data }),
        { NODENAME: `n${i}`, CALICO_NODENAME_FILE: join(folder, `nodename-${i}`) },
        machine([`eth0 10.0.0.${i + 1}/24`]),
        { log },
      ),
    );
    await Promise.all(starts);
    expect((await client.list(Node)).items).toHaveLength(12);
    expect((await client.list(IPPool)).items).toHaveLength(2);
    expect((await client.list(FelixConfiguration)).items).toHaveLength(13);
  });

  test("also on sqlite", async () => {
    const open = () =>
      openClient({ type: "sqlite", file: join(folder, "datastore.db") } as Parameters<typeof openClient>[0]);
    const clients = await Promise.all([open(), open()]);
    try {
      const facts = (i: number) => machine([`eth0 10.0.0.${i + 1}/24`]);
      await Promise.all(
        clients.map((on, i) =>
          prepareNode(on, { NODENAME: `n${i}`, CALICO_NODENAME_FILE: join(folder, `nodename-${i}`) }, facts(i), {
            log,
          }),
        ),
      );
      expect((await clients[0]!.list(Node)).items.map(({ spec }) => spec.bgp?.ipv4Address)).toEqual([
        "10.0.0.1/24",
        "10.0.0.2/24",
      ]);
      expect((await clients[0]!.list(IPPool)).items).toHaveLength(2);
    } finally {
      for (const one of clients) await one.close();
    }
  });

  test("a pool that asks for an encapsulation is made as asked, and reported", async () => {
    const { unserved } = await prepare({ CALICO_IPV4POOL_VXLAN: "Always" });
    expect((await client.get(IPPool, { name: "default-ipv4-ippool" }))!.spec.vxlanMode).toBe("Always");
    expect(unserved).toMatchObject([{ pool: "default-ipv4-ippool", encapsulation: "VXLAN" }]);
    expect(log.of("warning")).toEqual([expect.stringContaining("is not served")]);
  });

  test("kubeadm's network is the pool's, and the cluster is of its type", async () => {
    await prepare({}, HOST, { kubeadmConfig: { ClusterConfiguration: "podSubnet: 10.244.0.0/16" }, rancher: true });
    expect((await client.get(IPPool, { name: "default-ipv4-ippool" }))!.spec.cidr).toBe("10.244.0.0/16");
    expect((await client.get(ClusterInformation, { name: "default" }))!.spec.clusterType).toBe("kubeadm,rancher");
  });
});

describe("what is there", () => {
  test("stays: labels, tunnel addresses, other orchestrators, other BGP settings", async () => {
    const spec: NodeSpec = {
      bgp: {
        ipv4Address: "10.0.0.1/24",
        asNumber: 65010,
        ipv4IPIPTunnelAddr: "192.168.1.1",
        routeReflectorClusterID: "1.2.3.4",
      },
      orchRefs: [{ nodeName: "vm-7", orchestrator: "openstack" }],
      ipv4VXLANTunnelAddr: "192.168.1.2",
    };
    await putNode("n1", spec, { rack: "a" });
    await prepare({ IP: "10.0.0.1", CALICO_K8S_NODE_REF: "n1" });
    const node = await stored();
    expect(node.metadata.labels).toEqual({ rack: "a" });
    expect(node.spec).toEqual({
      ...spec,
      orchRefs: [...spec.orchRefs!, { nodeName: "n1", orchestrator: "k8s" }],
      interfaces: [{ name: "eth0", addresses: ["10.0.0.1"] }],
    });
  });

  test("an administrator's configuration is completed, not replaced", async () => {
    const metadata = { name: "default" };
    await client.create(FelixConfiguration, {
      apiVersion: API_VERSION,
      kind: "FelixConfiguration",
      metadata,
      spec: { logSeverityScreen: "Debug", ipv6Support: false },
    } as FelixConfiguration);
    await client.create(BGPConfiguration, {
      apiVersion: API_VERSION,
      kind: "BGPConfiguration",
      metadata,
      spec: { nodeToNodeMeshEnabled: false },
    } as BGPConfiguration);
    await prepare();
    expect((await client.get(FelixConfiguration, metadata))!.spec).toMatchObject({
      logSeverityScreen: "Debug",
      ipv6Support: false,
      reportingInterval: "0s",
    });
    expect((await client.get(BGPConfiguration, metadata))!.spec.nodeToNodeMeshEnabled).toBe(false);
  });

  test("a write by somebody else in between is not lost", async () => {
    await putNode("n1", {});
    let once = true;
    const racing = memoryClient({
      data,
      hook: async (operation) => {
        if (!once || operation.type !== "write") return;
        once = false;
        const node = await stored();
        await client.update(Node, { ...node, metadata: { ...node.metadata, labels: { by: "somebody" } } });
      },
    });
    await prepare({}, HOST, undefined, racing);
    expect(once).toBe(false);
    const node = await stored();
    expect(node.metadata.labels).toEqual({ by: "somebody" });
    expect(node.spec.bgp?.ipv4Address).toBe("10.0.0.1/24");
  });
});

describe("addresses", () => {
  const cases: [string, Env, NodeSpec["bgp"] | undefined, NodeSpec["bgp"]][] = [
    ["IPv4 is found out when nothing is said", {}, undefined, { ipv4Address: "10.0.0.1/24" }],
    [
      "IPv6 only when it is asked for",
      { IP6: "autodetect" },
      undefined,
      { ipv4Address: "10.0.0.1/24", ipv6Address: "fd00::1/64" },
    ],
    [
      "one that is recorded stays when nothing is said",
      {},
      { ipv4Address: "10.0.0.77/24" },
      { ipv4Address: "10.0.0.77/24" },
    ],
    [
      "and is replaced when detection is asked for",
      { IP: "autodetect" },
      { ipv4Address: "10.0.0.77/24" },
      { ipv4Address: "10.0.0.1/24" },
    ],
    [
      "an address gets the length of its interface's network",
      { IP: "10.0.0.1" },
      undefined,
      { ipv4Address: "10.0.0.1/24" },
    ],
    ["also one of IPv6", { IP: "none", IP6: "fd00::1" }, undefined, { ipv6Address: "fd00::1/64" }],
    ["one that is nowhere is alone", { IP: "10.9.9.9" }, undefined, { ipv4Address: "10.9.9.9/32" }],
    ["a length that is given counts", { IP: "10.0.0.1/16" }, undefined, { ipv4Address: "10.0.0.1/16" }],
    [
      "none leaves what is recorded",
      { IP: "none", IP6: "autodetect" },
      { ipv4Address: "10.0.0.1/24" },
      { ipv4Address: "10.0.0.1/24", ipv6Address: "fd00::1/64" },
    ],
  ];
  test.each(cases)("%s", async (_name, over, recorded, expected) => {
    if (recorded) await putNode("n1", { bgp: recorded });
    await prepare(over);
    expect((await stored()).spec.bgp).toEqual(expected);
  });

  test("one that the machine does not have is warned of", async () => {
    await putNode("n1", { bgp: { ipv4Address: "10.0.0.77/24" } });
    await prepare();
    expect(log.of("warning")).toEqual([expect.stringContaining("no interface of this machine has 10.0.0.77/24")]);
  });

  test("detection that fails keeps what is recorded, and says so", async () => {
    await putNode("n1", { bgp: { ipv4Address: "10.0.0.77/24" } });
    await prepare({ IP: "autodetect", IP_AUTODETECTION_METHOD: "interface=nosuch" });
    expect((await stored()).spec.bgp?.ipv4Address).toBe("10.0.0.77/24");
    expect(log.of("warning")[0]).toContain("10.0.0.77/24 is kept: no other was found by interface=nosuch");
  });

  test("interfaces are recorded for the families that were asked for", async () => {
    await prepare(
      { IP: "autodetect", IP6: "autodetect" },
      machine(["lo 127.0.0.1/8", "eth1", "eth0 10.0.0.1/24 fd00::1/64", "cali1 10.1.1.1/32"]),
    );
    expect((await stored()).spec.interfaces).toEqual([
      { name: "eth0", addresses: ["10.0.0.1", "fd00::1"] },
      { name: "eth1" },
    ]);
  });

  test("with policy only, the Node has none and is not made", async () => {
    const prepared = await prepare({ CALICO_NETWORKING_BACKEND: "none", AS: "65001" });
    expect(prepared.node).toBeUndefined();
    expect(await client.get(Node, { name: "n1" })).toBeUndefined();
    expect((await client.list(IPPool)).items).toHaveLength(2);
  });

  const failures: [Env, NodeError["code"], RegExp][] = [
    [
      { IP: "autodetect", IP_AUTODETECTION_METHOD: "interface=nosuch" },
      "NO_ADDRESS",
      /interface=nosuch.*10\.0\.0\.1\/24 on eth0/,
    ],
    [{ IP: "none" }, "NO_ADDRESS", /neither an IPv4 nor an IPv6/],
    [{ IP: "10.0.0" }, "ENVIRONMENT", /IP=10\.0\.0/],
    [{ IP: "fd00::1" }, "ENVIRONMENT", /IP=fd00::1: is not an IPv4 address/],
    [{ IP6: "10.0.0.1" }, "ENVIRONMENT", /IP6=10\.0\.0\.1/],
    [{ AS: "64512x" }, "ENVIRONMENT", /AS=64512x/],
    [{ AS: "4294967296" }, "ENVIRONMENT", /AS=4294967296/],
    [{ CALICO_NODENAME_FILE: "/proc/nosuch/nodename" }, "FILE", /nodename/],
  ];
  test.each(failures)("%o fails with one clear message", async (over, code, message) => {
    await expect(prepare(over)).rejects.toMatchObject({
      name: "NodeError",
      code,
      message: expect.stringMatching(message),
    });
  });

  test("an AS number may be of two halves", async () => {
    await prepare({ AS: "1.10" });
    expect((await stored()).spec.bgp?.asNumber).toBe(65546);
  });
});

describe("an address that another node has", () => {
  beforeEach(() => putNode("other", { bgp: { ipv4Address: "10.0.0.1/8" } }));

  test("is refused, and nothing is written", async () => {
    await expect(prepare()).rejects.toMatchObject({
      code: "ADDRESS_CONFLICT",
      message: expect.stringMatching(/node other has the address 10\.0\.0\.1/),
    });
    expect(await client.get(Node, { name: "n1" })).toBeUndefined();
  });

  test("is taken when the check is turned off", async () => {
    await prepare({ DISABLE_NODE_IP_CHECK: "true" });
    expect((await stored()).spec.bgp?.ipv4Address).toBe("10.0.0.1/24");
  });

  test("takes the node's old one from it, when that was detected: it is not this machine's any more", async () => {
    await putNode("n1", { bgp: { ipv4Address: "10.0.0.77/24", asNumber: 65001 } });
    await expect(prepare({ IP: "autodetect" })).rejects.toMatchObject({ code: "ADDRESS_CONFLICT" });
    expect((await stored()).spec.bgp).toEqual({ asNumber: 65001 });
  });

  test("two that start at the same moment with one address do not both keep it", async () => {
    const facts = machine(["eth0 10.0.0.9/24"]);
    const start = (name: string) => prepareNode(memoryClient({ data }), env({ NODENAME: name }), facts, { log });
    const results = await Promise.allSettled([start("a"), start("b")]);
    expect(results.filter(({ status }) => status === "rejected").length).toBeGreaterThan(0);
    const nodes = (await client.list(Node)).items.filter(({ spec }) => spec.bgp?.ipv4Address === "10.0.0.9/24");
    expect(nodes.length).toBeLessThan(2);
  });
});

describe("the datastore", () => {
  test("is waited for when that is asked for", async () => {
    let failures = 2;
    const late = memoryClient({
      data,
      hook: () => {
        if (failures-- > 0) throw new DatastoreError("UNAVAILABLE", "not there yet");
      },
    });
    await expect(prepare({}, HOST, undefined, late)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await prepare({ WAIT_FOR_DATASTORE: "true" }, HOST, undefined, late);
    expect(log.of("info")[0]).toBe("waits for the datastore");
  });

  test("Kubernetes' nodes are not made here", async () => {
    const views = memoryClient({ data, capabilities: { views: true } });
    await expect(prepare({}, HOST, undefined, views)).rejects.toMatchObject({ code: "NODE_MISSING" });
    await putNode("n1", {});
    await prepare({}, HOST, undefined, views);
    expect(await client.get(FelixConfiguration, { name: "node.n1" })).toBeUndefined();
  });
});

test("an account that may not make the configurations of BGP and IPAM goes without; pools it must be able to make", async () => {
  const refusing = (kinds: RegExp) =>
    memoryClient({
      data,
      hook: ({ type, keys }) => {
        if (type === "write" && keys.some((key) => kinds.test(key)))
          throw new DatastoreError("UNAUTHORIZED", "may not");
      },
    });
  await expect(prepare({}, HOST, undefined, refusing(/ippool/))).rejects.toMatchObject({ code: "UNAUTHORIZED" });
  await prepare({}, HOST, undefined, refusing(/bgpconfig|ipam/));
  expect(await client.get(BGPConfiguration, { name: "default" })).toBeUndefined();
  expect((await client.list(IPPool)).items).toHaveLength(2);
});

test("the node's name is NODENAME, else what was recorded, else HOSTNAME in lower case, else the machine's", async () => {
  const file = join(folder, "nodename");
  const of = (over: Env) => nodeNameOf({ CALICO_NODENAME_FILE: file, ...over }, "Machine");
  expect(of({})).toBe("machine");
  expect(of({ HOSTNAME: "Host" })).toBe("host");
  writeFileSync(file, "recorded\n");
  expect(of({ HOSTNAME: "Host" })).toBe("recorded");
  expect(of({ HOSTNAME: "Host", NODENAME: " Named " })).toBe("Named");
});

test("the shutdown's timestamp is removed, and need not be there", () => {
  const file = join(folder, "shutdownTS");
  writeFileSync(file, "2024-01-01T00:00:00Z");
  removeShutdownTimestamp({ CALICO_SHUTDOWN_TIMESTAMP_FILE: file });
  removeShutdownTimestamp({ CALICO_SHUTDOWN_TIMESTAMP_FILE: file });
  expect(readdirSync(folder)).toEqual([]);
});
