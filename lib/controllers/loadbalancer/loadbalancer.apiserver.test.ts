import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool, type IPPoolSpec, newIPPool } from "../../api/ippool.ts";
import { type Client, openClient, openCluster } from "../../datastore/index.ts";
import { createIpam } from "../../ipam/index.ts";
import type { Kubernetes } from "../../kubernetes/index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../../kubernetes/testing/index.ts";
import type { LoadBalancerConfig } from "../config/index.ts";
import { Setting } from "../controller.ts";
import { type RunningController, runController } from "../testing.ts";
import { loadBalancerController } from "./index.ts";
import { handleOf, heldIn, type Service } from "./service.ts";

const missing = apiServerMissing();
const WITHIN = { timeout: 20_000, interval: 100 };
const SERVICES = "/api/v1/namespaces/default/services";

describe.skipIf(missing)(`load balancers on Kubernetes${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  let client: Client;
  let kubernetes: Kubernetes;
  let admin: Client;
  const running: RunningController[] = [];

  beforeAll(async () => {
    server = await startApiServer({ crds: "v1", arguments: ["--service-cluster-ip-range=10.96.0.0/16,fd96::/112"] });
    const config = { type: "kubernetes", kubeconfig: server.kubeconfig("controllers") } as const;
    client = await openClient(config);
    kubernetes = await openCluster(config);
    admin = await openClient({ type: "kubernetes", kubeconfig: server.kubeconfig("admin") });
  });
  afterAll(async () => {
    await client?.close();
    await kubernetes?.close();
    await admin?.close();
    await server?.stop();
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.stop();
    const { items } = await server.request<{ items: Service[] }>("GET", SERVICES);
    for (const { metadata, spec } of items)
      if (spec?.type === "LoadBalancer" || metadata?.name !== "kubernetes")
        await server.request("DELETE", `${SERVICES}/${metadata?.name}`);
    // What is held goes by the controller itself, with pools or without.
    await start().finish(async () => expect(await held()).toEqual([]));
    for (const { metadata } of (await admin.list(IPPool)).items) await admin.delete(IPPool, { name: metadata.name });
    await createIpam(admin).releaseOwner({ type: "virtual", name: "load-balancer" });
  });

  function start(config: Setting<LoadBalancerConfig> = new Setting<LoadBalancerConfig>({ assignIPs: "AllServices" })) {
    const one = runController((context) => loadBalancerController(context, config), { client, kubernetes });
    running.push(one);
    const stop = async () => {
      running.splice(running.indexOf(one), 1);
      await one.stop();
    };
    return {
      ...one,
      stop,
      finish: async (holds: () => Promise<void>) => {
        await vi.waitFor(holds, WITHIN);
        await stop();
      },
    };
  }

  const addPool = (name: string, cidr: string, spec: Partial<IPPoolSpec> = {}) =>
    admin.create(
      IPPool,
      newIPPool(name, { cidr, blockSize: cidr.includes(":") ? 126 : 30, allowedUses: ["LoadBalancer"], ...spec }),
    );

  function addService(
    name: string,
    spec: Service["spec"] = {},
    annotations: Record<string, string> = {},
  ): Promise<Service> {
    return server.request("POST", SERVICES, {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name, annotations },
      spec: { type: "LoadBalancer", ports: [{ port: 80 }], ...spec },
    });
  }
  const read = (name: string) => server.request<Service>("GET", `${SERVICES}/${name}`);
  const patch = (name: string, body: object) =>
    server.request("PATCH", `${SERVICES}/${name}`, body, "application/merge-patch+json");
  const shown = async (name: string) => ((await read(name)).status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip);
  const shows = (name: string, addresses: readonly unknown[]) =>
    vi.waitFor(async () => expect(await shown(name)).toEqual(addresses), WITHIN);
  /** Handles and addresses of all blocks. */
  async function held(): Promise<string[]> {
    const blocks = (await admin.list(IPAMBlock)).items;
    return blocks.flatMap(({ spec }) =>
      spec.allocations.flatMap((index, i) => (index === null ? [] : [`${spec.attributes[index]?.handle_id} ${i}`])),
    );
  }
  /** As blocks say it. */
  const heldBy = async (service: Service): Promise<string[]> =>
    (await admin.list(IPAMBlock)).items
      .flatMap((block) => heldIn(block) ?? [])
      .flatMap(({ handle, address }) => (handle === handleOf(service) ? [address] : []));

  test("a Service gets an address, under upstream's handle and owner, and gives it back", async () => {
    await addPool("lb", "203.0.113.0/29");
    start();
    const service = await addService("web");
    const [address] = await vi.waitUntil(async () => {
      const found = await shown("web");
      return found.length > 0 && found;
    }, WITHIN);
    expect(address).toMatch(/^203\.0\.113\.\d$/);
    const [block] = (await admin.list(IPAMBlock)).items;
    expect(block?.spec.affinity).toBe("virtual:load-balancer");
    expect(block?.spec.attributes).toEqual([
      {
        handle_id: handleOf(service),
        secondary: {
          service: "web",
          namespace: "default",
          type: "LoadBalancer",
          timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? \+0000 UTC$/),
        },
      },
    ]);
    await server.request("DELETE", `${SERVICES}/web`);
    await vi.waitFor(async () => expect(await held()).toEqual([]), WITHIN);
    await vi.waitFor(async () => expect((await admin.list(IPAMHandle)).items).toEqual([]), WITHIN);
  });

  test("never a second address: restarts, two controllers at once, lost statuses", async () => {
    await addPool("lb", "203.0.113.0/28");
    const names = [..."abcdef"];
    const services = await Promise.all(names.map((name) => addService(name)));
    start();
    start();
    // Both may assign one at the same moment; then one of the two goes back.
    const settled = async () => {
      for (const one of services) {
        expect(await shown(one.metadata!.name!)).toHaveLength(1);
        expect(await heldBy(one)).toEqual(await shown(one.metadata!.name!));
      }
      expect(await held()).toHaveLength(names.length);
    };
    await vi.waitFor(settled, WITHIN);
    for (const one of running.splice(0)) await one.stop();
    // One that came late may still have assigned a second address, and not yet have given it back.
    const before = new Map(
      await Promise.all(services.map(async (one) => [one.metadata!.name!, await heldBy(one)] as const)),
    );
    // As a crash between the allocator and the status leaves it.
    for (const name of names.slice(0, 3))
      await server.request(
        "PATCH",
        `${SERVICES}/${name}/status`,
        { status: { loadBalancer: null } },
        "application/merge-patch+json",
      );
    start();
    await vi.waitFor(settled, WITHIN);
    await vi.waitFor(
      async () => expect((await createIpam(admin).check({ endpoints: false })).findings).toEqual([]),
      WITHIN,
    );
    for (const one of services)
      expect(before.get(one.metadata!.name!)).toEqual(expect.arrayContaining(await heldBy(one)));
  });

  test("a Service that is made again under its name while nobody looks has an address of its own, and the old one goes", async () => {
    await addPool("lb", "203.0.113.0/29");
    const first = await addService("web");
    await start().finish(async () => expect(await shown("web")).toHaveLength(1));
    await server.request("DELETE", `${SERVICES}/web`);
    const second = await addService("web");
    start();
    await vi.waitFor(async () => expect(await shown("web")).toHaveLength(1), WITHIN);
    await vi.waitFor(async () => expect(await heldBy(first)).toEqual([]), WITHIN);
    expect(await heldBy(second)).toEqual(await shown("web"));
  });

  test("asked for by annotation and loadBalancerIP, changed while it runs; what is taken is told and tried again", async () => {
    await addPool("lb", "203.0.113.0/28");
    await addPool("kept", "198.51.100.0/28", { assignmentMode: "Manual" });
    const config = new Setting<LoadBalancerConfig>({ assignIPs: "RequestedServicesOnly" });
    const controller = start(config);
    await addService("plain");
    await addService("web", {}, { "projectcalico.org/loadBalancerIPs": '["203.0.113.5"]' });
    await shows("web", ["203.0.113.5"]);
    await addService("late", { loadBalancerIP: "203.0.113.5" });
    await vi.waitFor(() => expect(controller.warnings.join()).toContain("default/late"), WITHIN);
    await patch("web", { metadata: { annotations: { "projectcalico.org/loadBalancerIPs": '["203.0.113.6"]' } } });
    await shows("web", ["203.0.113.6"]);
    await shows("late", ["203.0.113.5"]);
    await patch("web", {
      metadata: {
        annotations: { "projectcalico.org/loadBalancerIPs": null, "projectcalico.org/ipv4pools": '["kept"]' },
      },
    });
    await vi.waitFor(async () => expect((await shown("web"))[0]).toMatch(/^198\.51\.100\./), WITHIN);
    // Not its to give: nothing was asked.
    expect(await shown("plain")).toEqual([]);
    config.set({ assignIPs: "AllServices" });
    await vi.waitFor(async () => expect((await shown("plain"))[0]).toMatch(/^203\.0\.113\./), WITHIN);
    config.set({ assignIPs: "RequestedServicesOnly" });
    await shows("plain", []);
    await vi.waitFor(async () => expect(await held()).toHaveLength(2), WITHIN);
  });

  test("both families; the one that there are pools for comes first, the other with its pool", async () => {
    await addPool("lb", "203.0.113.0/29");
    const controller = start();
    const service = await addService("web", { ipFamilyPolicy: "RequireDualStack", ipFamilies: ["IPv6", "IPv4"] });
    await vi.waitFor(async () => expect(await shown("web")).toHaveLength(1), WITHIN);
    await vi.waitFor(() => expect(controller.warnings.join()).toContain("default/web"), WITHIN);
    await addPool("lb6", "2001:db8::/120");
    await vi.waitFor(async () => expect(await shown("web")).toHaveLength(2), WITHIN);
    const now = await shown("web");
    expect(now[0]).toContain(":");
    expect((await heldBy(service)).toSorted()).toEqual(now.toSorted());
  });

  test("a pool that goes takes its addresses along; what another implementation wrote stays", async () => {
    await addPool("lb", "203.0.113.0/29");
    start();
    await addService("web");
    const foreign = await addService("other", { loadBalancerClass: "example.com/other" });
    await server.request(
      "PATCH",
      `${SERVICES}/${foreign.metadata!.name}/status`,
      { status: { loadBalancer: { ingress: [{ ip: "192.0.2.1" }] } } },
      "application/merge-patch+json",
    );
    await vi.waitFor(async () => expect((await shown("web"))[0]).toMatch(/^203/), WITHIN);
    await addPool("next", "198.51.100.0/29");
    await admin.delete(IPPool, { name: "lb" });
    await vi.waitFor(async () => expect((await shown("web"))[0]).toMatch(/^198/), WITHIN);
    await admin.delete(IPPool, { name: "next" });
    await shows("web", []);
    await vi.waitFor(async () => expect(await held()).toEqual([]), WITHIN);
    expect(await shown("other")).toEqual(["192.0.2.1"]);
  });

  test("no pool for the namespace until its labels say so", async () => {
    await addPool("lb", "203.0.113.0/29", { namespaceSelector: "shop == 'yes'" });
    const controller = start();
    await addService("web");
    await vi.waitFor(() => expect(controller.warnings.join()).toContain("default/web"), WITHIN);
    const labels = (shop: string | null) =>
      server.request(
        "PATCH",
        "/api/v1/namespaces/default",
        { metadata: { labels: { shop } } },
        "application/merge-patch+json",
      );
    await labels("yes");
    await vi.waitFor(async () => expect(await shown("web")).toHaveLength(1), WITHIN);
    await labels(null);
  });
});
