import { expect, test } from "vitest";
import { BlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPPool, newIPPool } from "../api/ippool.ts";
import { API_VERSION } from "../api/meta.ts";
import { NetworkPolicy } from "../api/networkpolicy.ts";
import { Node } from "../api/node.ts";
import { Tier } from "../api/tier.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { memoryClient } from "../datastore/testing.ts";
import { createIpam } from "./ipam.ts";
import { createResource, deleteResource, updateResource } from "./resources.ts";

const sleep = async () => {};
const pool = () => newIPPool("a", { cidr: "10.65.0.0/24" });

test("pools must not overlap, nor change their CIDR or block size", async () => {
  const client = memoryClient();
  const stored = await createResource(client, IPPool, pool());
  await expect(createResource(client, IPPool, newIPPool("b", { cidr: "10.65.0.128/25" }))).rejects.toMatchObject({
    code: "INVALID",
    message: expect.stringContaining("overlaps with 10.65.0.0/24 of the pool a"),
  });
  await expect(createResource(client, IPPool, pool())).rejects.toMatchObject({ code: "EXISTS" });
  const change = (spec: Partial<IPPool["spec"]>) =>
    updateResource(client, IPPool, { ...stored, spec: { ...stored.spec, ...spec } });
  await expect(change({ cidr: "10.66.0.0/24" })).rejects.toMatchObject({ code: "INVALID" });
  await expect(change({ blockSize: 28 })).rejects.toMatchObject({ code: "INVALID" });
  expect((await change({ natOutgoing: true })).spec.natOutgoing).toBe(true);
});

test("a pool must not cover blocks of another size", async () => {
  const client = memoryClient();
  await createResource(client, IPPool, pool());
  await createIpam(client).autoAssign({ num4: 1, host: "n1", use: "Workload", handle: "h" });
  await deleteResource(client, IPPool, { name: "a" }, { sleep });
  await expect(
    createResource(client, IPPool, newIPPool("b", { cidr: "10.65.0.0/16", blockSize: 28 })),
  ).rejects.toMatchObject({ code: "INVALID", message: expect.stringContaining("different block size") });
  expect((await createResource(client, IPPool, newIPPool("b", { cidr: "10.65.0.0/16" }))).metadata.name).toBe("b");
});

test("deleting a pool gives up its blocks and keeps addresses in use", async () => {
  const client = memoryClient();
  const ipam = createIpam(client);
  await createResource(client, IPPool, pool());
  await ipam.ensureBlock({ host: "idle", versions: [4] });
  const { v4 } = await ipam.autoAssign({ num4: 1, host: "busy", use: "Workload", handle: "h" });
  let waited = 0;
  const deleted = await deleteResource(
    client,
    IPPool,
    { name: "a" },
    {
      sleep: async (milliseconds) => {
        waited = milliseconds;
        // Whoever asks meanwhile gets nothing from it.
        await expect(ipam.autoAssign({ num4: 1, host: "busy", use: "Workload" })).rejects.toMatchObject({
          code: "IPAM_NO_POOLS",
        });
      },
    },
  );
  expect(deleted.metadata.name).toBe("a");
  expect(waited).toBe(500);
  expect((await client.list(BlockAffinity)).items).toEqual([]);
  expect((await client.list(IPAMBlock)).items.map(({ spec }) => spec.affinity)).toEqual([undefined]);
  expect(await ipam.allocationOf(v4[0]!.address)).toBeDefined();
  await expect(deleteResource(client, IPPool, { name: "a" }, { sleep })).rejects.toMatchObject({ code: "NOT_FOUND" });
});

test("a pool that changed since it was read is not deleted", async () => {
  const client = memoryClient();
  const stored = await createResource(client, IPPool, pool());
  await updateResource(client, IPPool, { ...stored, spec: { ...stored.spec, natOutgoing: true } });
  const { resourceVersion = "" } = stored.metadata;
  await expect(deleteResource(client, IPPool, { name: "a" }, { resourceVersion, sleep })).rejects.toMatchObject({
    code: "CONFLICT",
  });
  expect((await client.get(IPPool, { name: "a" }))?.spec.disabled).toBeUndefined();
});

test("deleting a node takes its endpoints, addresses and blocks along, and nobody else's", async () => {
  const client = memoryClient();
  const ipam = createIpam(client);
  await createResource(client, IPPool, pool());
  const own = await ipam.autoAssign({ num4: 2, host: "n1", use: "Workload", handle: "h1" });
  const other = await ipam.autoAssign({ num4: 1, host: "n2", use: "Workload", handle: "h2" });
  const [pod, tunnel] = own.v4.map(({ address }) => address);
  const endpoint = (node: string, address: string): WorkloadEndpoint => ({
    apiVersion: API_VERSION,
    kind: "WorkloadEndpoint",
    metadata: { name: `${node}-k8s-web-eth0`, namespace: "default" },
    spec: { orchestrator: "k8s", node, pod: "web", endpoint: "eth0", ipNetworks: [`${address}/32`] },
  });
  await client.create(WorkloadEndpoint, endpoint("n1", pod!));
  await client.create(WorkloadEndpoint, endpoint("n2", other.v4[0]!.address));
  await client.create(Node, {
    apiVersion: API_VERSION,
    kind: "Node",
    metadata: { name: "n1" },
    spec: { bgp: { ipv4IPIPTunnelAddr: tunnel! } },
  });
  await deleteResource(client, Node, { name: "n1" });
  expect((await client.list(WorkloadEndpoint)).items.map(({ spec }) => spec.node)).toEqual(["n2"]);
  expect((await client.list(BlockAffinity)).items.map(({ spec }) => spec.node)).toEqual(["n2"]);
  expect(await ipam.ipsByHandle("h1")).toEqual([]);
  expect(await ipam.ipsByHandle("h2")).toHaveLength(1);
});

test("a built-in tier cannot be deleted", async () => {
  const client = memoryClient();
  await expect(deleteResource(client, Tier, { name: "default" })).rejects.toMatchObject({ code: "INVALID" });
});

test("a policy needs its tier, and keeps it", async () => {
  const client = memoryClient();
  const policy = (tier: string): NetworkPolicy => ({
    apiVersion: API_VERSION,
    kind: "NetworkPolicy",
    metadata: { name: "web", namespace: "prod" },
    spec: { tier, types: ["Ingress"] },
  });
  await expect(createResource(client, NetworkPolicy, policy("mine"))).rejects.toMatchObject({
    code: "INVALID",
    message: 'spec.tier: "mine": must be a tier that exists; create it first',
  });
  await createResource(client, Tier, {
    apiVersion: API_VERSION,
    kind: "Tier",
    metadata: { name: "mine" },
    spec: { order: 1, defaultAction: "Pass" },
  });
  const created = await createResource(client, NetworkPolicy, policy("mine"));
  await expect(deleteResource(client, Tier, { name: "mine" })).rejects.toMatchObject({
    code: "INVALID",
    message: "the tier mine has policies in it, such as NetworkPolicy prod/web; delete or move them first",
  });
  await updateResource(client, NetworkPolicy, { ...created, spec: { ...created.spec, tier: "default" } });
  await deleteResource(client, Tier, { name: "mine" });
  expect(await client.get(Tier, { name: "mine" })).toBeUndefined();
});
