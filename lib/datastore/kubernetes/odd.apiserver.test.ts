import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { ClusterInformation } from "../../api/clusterinformation.ts";
import { IPAMBlock, newIPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import { Tier } from "../../api/tier.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../../kubernetes/testing/index.ts";
import type { Client } from "../client.ts";
import { ensureInitialized } from "../initialise.ts";
import { codeOf, Watcher } from "../suite/index.ts";
import { clientOf, makeNamespace, podObject } from "./testing.ts";

const missing = apiServerMissing();
const P = "projectcalico.org/";
const V1 = "/apis/crd.projectcalico.org/v1";

describe.skipIf(missing)(`what others have written${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  let client: Client;
  beforeAll(async () => {
    server = await startApiServer({ crds: "v1" });
    await makeNamespace(server, "prod");
    client = await clientOf(server, "admin", "v1");
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
  });
  const registry = (plural: string, name: string): string => `/registry/crd.projectcalico.org/${plural}/${name}`;

  test("a cluster that is initialised says that its datastore is Kubernetes, as upstream's do", async () => {
    const type = async () => (await client.get(ClusterInformation, { name: "default" }))?.spec.clusterType;
    await ensureInitialized(client, { calicoVersion: "v3.33.0" });
    expect(await type()).toBe("kdd");
    await ensureInitialized(client, { calicoVersion: "v3.33.0", clusterType: "k8s,bgp" });
    expect(await type()).toBe("kdd,k8s,bgp");
    await server.request("DELETE", `${V1}/clusterinformations/default`);
    await ensureInitialized(client, { clusterType: "k8s,bgp," });
    expect(await type()).toBe("k8s,bgp,kdd");
  });

  test.each([
    '{"ownerReferences":5}',
    '{"ownerReferences":[null]}',
    '{"labels":"text"}',
    '{"labels":{"a":1}}',
    '{"annotations":[1]}',
    '{"finalizers":{"a":"b"}}',
    '{"creationTimestamp":7}',
    "[]",
  ])("a metadata annotation that is %s is one object's, and the others are told", async (text) => {
    const pool = (name: string, cidr: string) => ({
      ...{ apiVersion: "crd.projectcalico.org/v1", kind: "IPPool" },
      metadata: { name, ...(name === "odd" ? { annotations: { [`${P}metadata`]: text } } : {}) },
      spec: { cidr },
    });
    const handle = (name: string) => ({
      ...{ apiVersion: "crd.projectcalico.org/v1", kind: "IPAMHandle" },
      metadata: { name, ...(name === "odd" ? { annotations: { [`${P}metadata`]: text } } : {}) },
      spec: { handleID: name, block: {} },
    });
    await server.apply(pool("odd", "10.0.0.0/16"), pool("good", "10.1.0.0/16"), handle("odd"), handle("good"));
    for (const kind of [IPPool, IPAMHandle] as unknown as (typeof IPPool)[]) {
      const { items, unreadable } = await client.list(kind);
      expect(items.map(({ metadata }) => metadata.name)).toEqual(["good"]);
      expect(unreadable.map(({ ref }) => ref.name)).toEqual(["odd"]);
      expect(unreadable[0]!.error.message).toContain(`annotations["${P}metadata"]`);
      expect(await codeOf(client.get(kind, { name: "odd" }))).toBe("INVALID");
      const watcher = new Watcher(client, kind);
      await watcher.until((told) => told.includes("synced"));
      expect(watcher.told().filter((one) => one.startsWith("added"))).toEqual(["added good"]);
      expect(watcher.events.some(({ type }) => type === "invalid")).toBe(true);
      await watcher.stop();
      for (const name of ["odd", "good"]) await client.delete(kind, { name });
    }
  });

  test("an affinity that cannot be read leaves a gap among its host's blocks, and the list of them says so", async () => {
    const good = newBlockAffinity({ node: "n1", cidr: "10.0.0.0/30", type: "host", state: "confirmed" });
    await client.create(BlockAffinity, good);
    await client.create(IPAMBlock, newIPAMBlock({ cidr: "10.0.0.0/30", affinity: "host:n1", sequenceNumber: 1n }));
    const name = "n1-10-0-0-4-30";
    const stored = await server.request<{ metadata: object }>("GET", `${V1}/blockaffinities/n1-10-0-0-0-30`);
    await server.writeRaw(registry("blockaffinities", name), {
      ...stored,
      metadata: { ...stored.metadata, name, uid: crypto.randomUUID() },
      spec: { node: "n1", state: "confirmed", cidr: "10.0.0.4/99", deleted: "false" },
    });
    const blocks = await client.list(IPAMBlock, { node: "n1" });
    expect(blocks.items.map(({ spec }) => spec.cidr)).toEqual(["10.0.0.0/30"]);
    const [hidden, ...more] = blocks.unreadable;
    expect(more).toEqual([]);
    expect(hidden).toMatchObject({
      key: `blockaffinities.crd.projectcalico.org ${name}`,
      ref: { name, spec: { cidr: "10.0.0.4/30" } },
    });
    for (const one of [name, "n1-10-0-0-0-30"]) await client.delete(BlockAffinity, { name: one });
    await client.delete(IPAMBlock, { name: "10-0-0-0-30" });
  });

  test("what no schema allows can be deleted all the same", async () => {
    for (const [kind, plural, name] of [
      [IPAMBlock, "ipamblocks", "10-0-0-0-30"],
      [BlockAffinity, "blockaffinities", "n1-10-0-0-0-30"],
      [IPAMHandle, "ipamhandles", "h"],
      [IPPool, "ippools", "p"],
    ] as unknown as [typeof IPPool, string, string][])
      for (const spec of [{ cidr: 7 }, 5, null, { deleted: "maybe" }]) {
        const uid = crypto.randomUUID();
        const metadata = { name, uid, creationTimestamp: "2026-01-02T03:04:05Z" };
        const body = { apiVersion: "crd.projectcalico.org/v1", kind: kind.kind, metadata, spec };
        await server.writeRaw(registry(plural, name), body);
        const { unreadable } = await client.list(kind);
        expect([spec, unreadable.map(({ ref }) => ref.name)]).toEqual([spec, [name]]);
        expect([spec, await codeOf(client.delete(kind, { name }))]).toEqual([spec, "no error"]);
        expect(await client.get(kind, { name })).toBeUndefined();
      }
  });

  test("an endpoint is deleted although something else of its pod cannot be read", async () => {
    await server.apply(
      podObject("prod", "bad", "n1", {
        annotations: { "cni.projectcalico.org/floatingIPs": "nonsense", "cni.projectcalico.org/containerID": "c1" },
      }),
    );
    const path = "/api/v1/namespaces/prod/pods/bad";
    const status = { status: { podIP: "10.0.0.1", podIPs: [{ ip: "10.0.0.1" }] } };
    await server.request("PATCH", `${path}/status`, status, "application/merge-patch+json");
    const ref = { name: "n1-k8s-bad-eth0", namespace: "prod" };
    expect(await codeOf(client.get(WorkloadEndpoint, ref))).toBe("INVALID");
    const { uid } = (await server.request<{ metadata: { uid: string } }>("GET", path)).metadata;
    expect(await client.delete(WorkloadEndpoint, ref, { uid })).toMatchObject({ metadata: { ...ref, uid } });
    await server.request("DELETE", `${path}?gracePeriodSeconds=0`);
  });

  test("what somebody holds by a finalizer is deleted, as upstream deletes it, and can be made again", async () => {
    await client.create(IPAMHandle, newIPAMHandle("held", {}));
    const finalizers = { metadata: { finalizers: ["example.com/held"] } };
    await server.request("PATCH", `${V1}/ipamhandles/held`, finalizers, "application/merge-patch+json");
    await client.delete(IPAMHandle, ipamHandleRef("held"));
    expect(await client.get(IPAMHandle, ipamHandleRef("held"))).toBeUndefined();
    const again = await client.create(IPAMHandle, newIPAMHandle("held", { "10.0.0.0/26": 1 }));
    await client.delete(IPAMHandle, ipamHandleRef("held"), {
      uid: again.metadata.uid!,
      resourceVersion: again.metadata.resourceVersion!,
    });
  });

  test("a status that the cluster's CustomResourceDefinition does not have is left out", async () => {
    const crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tiers.crd.projectcalico.org";
    const version = "/spec/versions/0";
    const none = [
      { op: "remove", path: `${version}/subresources` },
      { op: "remove", path: `${version}/schema/openAPIV3Schema/properties/status` },
    ];
    await server.request("PATCH", crd, none, "application/json-patch+json");
    for (const deadline = Date.now() + 20_000; Date.now() < deadline; await Bun.sleep(50)) {
      const { resources } = await server.request<{ resources: { name: string }[] }>("GET", V1);
      if (!resources.some(({ name }) => name === "tiers/status")) break;
    }
    const conditions = [
      { type: "Ready", status: "True", reason: "OK", message: "", lastTransitionTime: "2026-01-02T03:04:05Z" },
    ];
    const made = await client.create(Tier, {
      ...{ apiVersion: Tier.apiVersion, kind: "Tier", metadata: { name: "t" } },
      ...{ spec: { order: 5, defaultAction: "Deny" }, status: { conditions } },
    } as Tier);
    expect(made.spec.order).toBe(5);
    await client.update(Tier, { ...made, spec: { ...made.spec, order: 6 }, status: { conditions } } as Tier);
    expect((await client.get(Tier, { name: "t" }))!.spec.order).toBe(6);
    await client.delete(Tier, { name: "t" });
  });
});
