/** The node controller where Calico's datastore is etcd, and nodes and pods are those of a Kubernetes beside it. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { BlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool, newIPPool } from "../../api/ippool.ts";
import { API_VERSION } from "../../api/meta.ts";
import { Node } from "../../api/node.ts";
import { type Client, openClient, openCluster } from "../../datastore/index.ts";
import { type EtcdServer, findEtcd, startEtcd } from "../../datastore/testing.ts";
import { createIpam, type Ipam } from "../../ipam/index.ts";
import { contradictions } from "../../ipam/testing.ts";
import type { Kubernetes } from "../../kubernetes/index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../../kubernetes/testing/index.ts";
import { Setting } from "../controller.ts";
import { type RunningController, runController } from "../testing.ts";
import { createNodeController } from "./index.ts";

const missing = apiServerMissing() ?? (findEtcd() ? undefined : "no etcd");
const WITHIN = { timeout: 45_000, interval: 100 };
const NODES = 10;
const gone = [...Array(NODES).keys()].map((index) => `gone-${index}`);

describe.skipIf(missing)(`the node controller on etcd${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let etcd: EtcdServer;
  let server: ApiServer;
  let client: Client;
  let kubernetes: Kubernetes;
  let ipam: Ipam;
  let running: RunningController | undefined;

  beforeAll(async () => {
    [etcd, server] = await Promise.all([startEtcd(), startApiServer()]);
    client = await openClient(etcd.config);
    kubernetes = await openCluster({ type: "kubernetes", kubeconfig: server.kubeconfig("controllers") });
    ipam = createIpam(client);
    await server.apply({
      ...{ apiVersion: "v1", kind: "ServiceAccount" },
      metadata: { name: "default", namespace: "default" },
    });
    await client.create(IPPool, newIPPool("pool", { cidr: "10.0.0.0/16", blockSize: 28 }));
  });
  afterEach(async () => {
    await running?.stop();
    running = undefined;
  });
  afterAll(async () => {
    await Promise.all([client?.close(), kubernetes?.close()]);
    await Promise.all([etcd?.stop(), server?.stop()]);
  });

  const start = (): void => {
    const settings = new Setting({ leakGracePeriod: 500 });
    running = runController((context) => createNodeController(context, settings), { client, kubernetes });
  };
  /** A node of Kubernetes, and what calico-node makes of it in etcd; Calico may call it by another name. */
  async function addNode(name: string, calico = name): Promise<void> {
    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name } });
    await client.create(Node, {
      ...{ apiVersion: API_VERSION, kind: "Node", metadata: { name: calico } },
      spec: { orchRefs: [{ orchestrator: "k8s", nodeName: name }] },
    });
  }
  async function attach(pod: string, node: string, kubernetesNode = node): Promise<string> {
    const attributes = { namespace: "default", pod, node };
    const request = { num4: 1, host: node, handle: `net.${pod}`, use: "Workload", attributes } as const;
    const { v4 } = await ipam.autoAssign(request);
    const { address } = v4[0]!;
    await server.apply({
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: { name: pod, namespace: "default", annotations: { "cni.projectcalico.org/podIP": `${address}/32` } },
      spec: { nodeName: kubernetesNode, containers: [{ name: "main", image: "none" }] },
    });
    return address;
  }
  const deletePod = (pod: string) =>
    server.request("DELETE", `/api/v1/namespaces/default/pods/${pod}?gracePeriodSeconds=0`);
  const handles = async () => (await client.list(IPAMHandle)).items.map(({ spec }) => spec.handleID).sort();
  const nodes = async () => (await client.list(Node)).items.map(({ metadata }) => metadata.name).sort();
  const hosts = async () => [...new Set((await client.list(BlockAffinity)).items.map(({ spec }) => spec.node))].sort();

  test("nodes that go give back everything, Calico's own Nodes too; etcd dies in the middle", async () => {
    await addNode("stays", "stays-in-calico");
    await client.create(Node, { apiVersion: API_VERSION, kind: "Node", metadata: { name: "bare-metal" }, spec: {} });
    for (const name of gone) {
      await addNode(name);
      await attach(`p-${name}`, name);
      const tunnel = { node: name, type: "vxlanTunnelAddress" };
      const handle = `vxlan-tunnel-addr-${name}`;
      await ipam.autoAssign({ num4: 1, host: name, handle, use: "Tunnel", attributes: tunnel });
    }
    const address = await attach("web", "stays-in-calico", "stays");
    await ipam.autoAssign({ num4: 1, host: "bare-metal", handle: "vm-of-openstack", use: "Workload" });
    start();
    await vi.waitFor(() => expect(running!.state.ready).toBe(true), WITHIN);
    for (const name of gone.slice(1)) await deletePod(`p-${name}`);
    await Promise.all(gone.map((name) => server.request("DELETE", `/api/v1/nodes/${name}`)));
    await etcd.kill();
    await etcd.start();
    await vi.waitFor(async () => {
      expect(await nodes()).toEqual(["bare-metal", "gone-0", "stays-in-calico"]);
      expect(await hosts()).toEqual(["bare-metal", "gone-0", "stays-in-calico"]);
    }, WITHIN);
    // The pod of a node that is gone is there as long as Kubernetes says so, and the tunnel with it.
    expect(await handles()).toEqual(["net.p-gone-0", "net.web", "vm-of-openstack", "vxlan-tunnel-addr-gone-0"]);
    await deletePod("p-gone-0");
    await vi.waitFor(async () => {
      expect(await nodes()).toEqual(["bare-metal", "stays-in-calico"]);
      expect(await handles()).toEqual(["net.web", "vm-of-openstack"]);
    }, WITHIN);
    expect(await hosts()).toEqual(["bare-metal", "stays-in-calico"]);
    expect(await ipam.allocationOf(address)).toMatchObject({ handle: "net.web" });
    expect(await contradictions(client)).toEqual([]);
  });

  test("an address that a pod has left behind goes after the grace period, a live one does not", async () => {
    await attach("lost", "stays-in-calico", "stays");
    await deletePod("lost");
    start();
    await vi.waitFor(async () => expect(await handles()).toEqual(["net.web", "vm-of-openstack"]), WITHIN);
    expect((await client.list(IPAMBlock)).items).toHaveLength(2);
    expect(await contradictions(client)).toEqual([]);
  });
});
