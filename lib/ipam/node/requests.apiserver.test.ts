import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { IPPool, newIPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { type Client, type Operation, openClient } from "../../datastore/index.ts";
import { type ApiServer, apiServerMissing, startApiServer, summarise } from "../../kubernetes/testing/index.ts";
import { contradictions } from "../testing.ts";
import type { AutoAssignRequest } from "../types.ts";
import { openNodeAllocator } from "./index.ts";
import type { NodeAllocator } from "./types.ts";

const missing = apiServerMissing();
const COUNT = 100;
const NAMES = Array.from({ length: COUNT }, (_, index) => `pod-${index}`);

describe.skipIf(missing)(`requests of a node's allocator${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  let client: Client;
  let allocator: NodeAllocator;
  const endpoints = new Map<string, WorkloadEndpoint>();

  beforeAll(async () => {
    server = await startApiServer({ crds: "v1", audit: true });
    client = await openClient({ type: "kubernetes", kubeconfig: server.kubeconfig("admin-token") });
    await server.apply(
      { apiVersion: "v1", kind: "Node", metadata: { name: "n1" } },
      { apiVersion: "v1", kind: "Namespace", metadata: { name: "a" } },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "a" } },
    );
    const spec = { nodeName: "n1", serviceAccountName: "default", containers: [{ name: "main", image: "none" }] };
    for (const name of NAMES)
      await server.apply({ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "a" }, spec });
    await client.create(IPPool, newIPPool("p", { cidr: "10.0.0.0/16", blockSize: 24 }));
    for (const endpoint of (await client.list(WorkloadEndpoint)).items) endpoints.set(endpoint.spec.pod!, endpoint);
    allocator = await openNodeAllocator(client, { node: "n1" });
    await allocator.inSync;
    await allocator.autoAssign({ num4: 1, host: "n1", handle: "first", use: "Workload" });
    // What the claim has changed is known when the next one needs no read.
    await allocator.autoAssign({ num4: 1, host: "n1", handle: "second", use: "Workload" });
  }, 120_000);
  afterAll(async () => {
    await allocator?.close();
    await client?.close();
    await server?.stop();
  });

  /** What was asked of the server meanwhile, watches apart. */
  async function during(work: () => Promise<unknown>): Promise<{ requests: Record<string, number>; reads: number }> {
    const before = (await server.audit()).length;
    await work();
    const events = (await server.audit()).slice(before);
    const asked = events.filter(({ verb, uri }) => verb !== "watch" && uri.startsWith("/api"));
    const { byVerb } = summarise(asked);
    const reads = asked.filter(({ verb }) => verb === "get" || verb === "list").length;
    return { requests: Object.fromEntries([...byVerb].sort()), reads };
  }

  const endpointKind = WorkloadEndpoint as unknown as Kind;
  const recorded = (name: string, addresses: readonly string[]): Operation => {
    const endpoint = endpoints.get(name)!;
    const ipNetworks = addresses.map((address) => `${address}/32`);
    const resource = { ...endpoint, spec: { ...endpoint.spec, ipNetworks, containerID: name } };
    return { op: "update", kind: endpointKind, resource };
  };
  const add = (name: string): AutoAssignRequest => ({
    ...{ num4: 1, host: "n1", handle: `h.${name}`, use: "Workload", reuse: true, namespaceLabels: {} },
    attributes: { node: "n1", pod: name, namespace: "a" },
    alsoWrite: ({ v4 }) => [recorded(name, [v4[0]!.address])],
  });

  test("100 additions at once: one handle and one pod patch each, a few block writes, no read", async () => {
    const { requests, reads } = await during(() => Promise.all(NAMES.map((name) => allocator.autoAssign(add(name)))));
    expect(reads, JSON.stringify(requests)).toBe(0);
    expect(requests["create ipamhandles.crd.projectcalico.org"]).toBe(COUNT);
    expect(requests["patch pods/status"]).toBe(COUNT);
    expect(requests["update ipamblocks.crd.projectcalico.org"]).toBeLessThanOrEqual(COUNT / 10);
    expect(Object.keys(requests)).toHaveLength(3);
    expect(await contradictions(client)).toEqual([]);
  });

  test("100 releases at once: a few block writes", async () => {
    const { requests } = await during(() => Promise.all(NAMES.map((name) => allocator.releaseByHandle(`h.${name}`))));
    expect(requests["update ipamblocks.crd.projectcalico.org"]).toBeLessThanOrEqual(COUNT / 10);
    expect(requests["get ipamblocks.crd.projectcalico.org"]).toBeUndefined();
    expect(requests["delete ipamhandles.crd.projectcalico.org"]).toBe(COUNT);
    expect(await contradictions(client)).toEqual([]);
  });
});
