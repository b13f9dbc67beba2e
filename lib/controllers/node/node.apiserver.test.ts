import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { IPAMBlock, ipamBlockRef } from "../../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef } from "../../api/ipamhandle.ts";
import { type Client, openClient } from "../../datastore/index.ts";
import { createIpam } from "../../ipam/index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../../kubernetes/testing/index.ts";
import { probe } from "../status.ts";
import { countIpam, deleteNodes, fillCluster } from "./testing.ts";

const missing = apiServerMissing();
const ROOT = join(import.meta.dirname, "../../..");
/** GC_NODES=10 for a quick look. */
const NODES = Number(process.env.GC_NODES ?? 100);
const EACH = 10;
const range = (count: number): number[] => [...Array(count).keys()];

describe.skipIf(missing)(`calico-kube-controllers on Kubernetes${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  let client: Client;
  let folder: string;
  const running: ChildProcess[] = [];

  beforeAll(async () => {
    server = await startApiServer({ crds: "v1" });
    client = await openClient({ type: "kubernetes", kubeconfig: server.kubeconfig("admin") });
    folder = mkdtempSync(join(tmpdir(), "controllers-"));
    return async () => {
      await client?.close();
      await server?.stop();
      rmSync(folder, { recursive: true, force: true });
    };
  });
  afterEach(async () => {
    for (const child of running.splice(0)) await kill(child);
  });

  const statusFile = (): string => join(folder, "status.json");
  /** The program itself, with exactly the rights that upstream's manifest gives it. */
  function start(): ChildProcess {
    const child = spawn(process.execPath, [join(ROOT, "cmd/calico/main.ts"), "component", "kube-controllers"], {
      env: {
        PATH: process.env.PATH,
        DATASTORE_TYPE: "kubernetes",
        KUBECONFIG: server.kubeconfig("controllers"),
        ENABLED_CONTROLLERS: "node",
        STATUS_FILE: statusFile(),
      },
      stdio: ["ignore", "inherit", "pipe"],
    });
    child.stderr!.on("data", (data: Buffer) => void logged.push(String(data)));
    running.push(child);
    return child;
  }
  const logged: string[] = [];
  async function kill(child: ChildProcess, signal: "SIGKILL" | "SIGTERM" = "SIGKILL"): Promise<number | null> {
    if (child.exitCode !== null || child.signalCode !== null) return child.exitCode;
    const ended = new Promise<number | null>((resolve) => child.once("exit", resolve));
    child.kill(signal);
    return ended;
  }
  async function until(what: string, holds: () => Promise<boolean>, within = 120_000): Promise<void> {
    const limit = Date.now() + within;
    while (!(await holds().catch(() => false))) {
      if (Date.now() > limit)
        throw new Error(`${what} did not happen in ${within} ms; log:\n${logged.join("").slice(-4000)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  const pod = (name: string, node: string, address: string): object => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: "default", annotations: { "cni.projectcalico.org/podIP": `${address}/32` } },
    spec: { nodeName: node, containers: [{ name: "main", image: "none" }] },
  });

  test(`${NODES} nodes with ${NODES * EACH} blocks go at once; the controller and the API server die in the middle`, async () => {
    const gone = range(NODES).map((index) => `gone-${index}`);
    await server.apply({
      apiVersion: "v1",
      kind: "ServiceAccount",
      metadata: { name: "default", namespace: "default" },
    });
    await fillCluster(server, client, { nodes: [...gone, "stays"], blocksPerNode: EACH, addressesPerBlock: 1 });
    const ipam = createIpam(client);
    // A pod on the node that stays, and one whose node goes while Kubernetes still has the pod.
    const attributes = (name: string, node: string) => ({ namespace: "default", pod: name, node });
    const assign = async (name: string, node: string): Promise<string> => {
      const handle = `k8s-pod-network.${name}`;
      const { v4 } = await ipam.autoAssign({
        num4: 1,
        host: node,
        handle,
        use: "Workload",
        attributes: attributes(name, node),
      });
      await server.apply(pod(name, node, v4[0]!.address));
      return v4[0]!.address;
    };
    const stays = await assign("web", "stays");
    const late = await assign("late", "gone-7");
    const before = await countIpam(server);
    expect(before).toMatchObject({
      blocks: (NODES + 1) * EACH,
      affinities: (NODES + 1) * EACH,
      handles: (NODES + 1) * EACH + 2,
    });

    // What a killed process leaves of a block that is gone is a handle, and the node that stays has addresses without pods: they go after the grace period.
    await server.apply({
      ...{
        apiVersion: "crd.projectcalico.org/v1",
        kind: "KubeControllersConfiguration",
        metadata: { name: "default" },
      },
      spec: { controllers: { node: { leakGracePeriod: "10s" } } },
    });
    start();
    await until("ready", async () => probe("ready", statusFile()).good, 30_000);
    await deleteNodes(server, gone);
    await until("the first blocks", async () => (await countIpam(server)).blocks < 0.9 * NODES * EACH);
    await kill(running.pop()!);
    const { blocks } = await countIpam(server);
    expect(blocks).toBeGreaterThan(2);

    const second = start();
    await until("more blocks", async () => (await countIpam(server)).blocks < 0.5 * NODES * EACH);
    await server.kill();
    await server.restart();
    await until("all but what is used", async () => (await countIpam(server)).blocks === 2);
    expect(await ipam.allocationOf(late)).toMatchObject({ handle: "k8s-pod-network.late" });

    await server.request("DELETE", "/api/v1/namespaces/default/pods/late?gracePeriodSeconds=0");
    await until("the last block", async () => (await countIpam(server)).blocks === 1);
    await until("handles and affinities", async () => {
      const { affinities, handles } = await countIpam(server);
      return affinities === 1 && handles === 1;
    });
    expect(await ipam.allocationOf(stays)).toMatchObject({ handle: "k8s-pod-network.web" });
    const { findings } = await ipam.check({ endpoints: false });
    expect(findings).toEqual([]);
    expect(await kill(second, "SIGTERM")).toBe(0);
  });

  test("addresses that another Calico wrote, in one block with ours", async () => {
    const client = await openClient({ type: "kubernetes", kubeconfig: server.kubeconfig("admin") });
    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "mixed" } });
    const ipam = createIpam(client);
    const ours = await ipam.autoAssign({
      ...{ num4: 1, host: "mixed", handle: "k8s-pod-network.ours", use: "Workload" },
      attributes: { namespace: "default", pod: "ours", node: "mixed", timestamp: "2026-01-02 03:04:05.6 +0000 UTC" },
    });
    const { block: cidr } = ours.v4[0]!;
    // As upstream stores them: fields in its order, a tunnel's address beside a pod's, nothing of metadata in the block.
    const path = `/apis/crd.projectcalico.org/v1/ipamblocks/${cidr.replaceAll(".", "-").replace("/", "-")}`;
    const stored = await server.request<{
      spec: {
        allocations: (number | null)[];
        attributes: object[];
        unallocated: number[];
        sequenceNumberForAllocation: Record<string, number>;
      };
    }>("GET", path);
    stored.spec.allocations[5] =
      stored.spec.attributes.push({
        handle_id: "k8s-pod-network.theirs",
        secondary: {
          namespace: "default",
          node: "mixed",
          pod: "theirs",
          timestamp: "2026-01-02 03:04:05.678901234 +0000 UTC",
        },
      }) - 1;
    stored.spec.allocations[6] =
      stored.spec.attributes.push({
        handle_id: "vxlan-tunnel-addr-mixed",
        secondary: { node: "mixed", type: "vxlanTunnelAddress" },
      }) - 1;
    stored.spec.unallocated = stored.spec.unallocated.filter((ordinal) => ordinal !== 5 && ordinal !== 6);
    stored.spec.sequenceNumberForAllocation["5"] = 7;
    await server.request("PUT", path, stored);
    for (const id of ["k8s-pod-network.theirs", "vxlan-tunnel-addr-mixed"]) {
      await server.request("POST", "/apis/crd.projectcalico.org/v1/ipamhandles", {
        ...{ apiVersion: "crd.projectcalico.org/v1", kind: "IPAMHandle", metadata: { name: id } },
        spec: { handleID: id, block: { [cidr]: 1 }, deleted: false },
      });
    }
    start();
    await until("ready", async () => probe("ready", statusFile()).good, 30_000);
    expect(await client.get(IPAMBlock, ipamBlockRef(cidr))).toBeDefined();
    await deleteNodes(server, ["mixed"]);
    await until("the block", async () => (await client.get(IPAMBlock, ipamBlockRef(cidr))) === undefined);
    for (const id of ["k8s-pod-network.ours", "k8s-pod-network.theirs", "vxlan-tunnel-addr-mixed"])
      await until(id, async () => (await client.get(IPAMHandle, ipamHandleRef(id))) === undefined);
    await client.close();
  });
});
