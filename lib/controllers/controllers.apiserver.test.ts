/** The controllers of pools, tiers and host endpoints, and the configuration, on a real API server that stores projectcalico.org/v3 itself. */
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { GlobalNetworkPolicy } from "../api/globalnetworkpolicy.ts";
import { HostEndpoint } from "../api/hostendpoint.ts";
import { IPAMBlock } from "../api/ipamblock.ts";
import { IPPool, newIPPool } from "../api/ippool.ts";
import { KubeControllersConfiguration } from "../api/kubecontrollersconfiguration.ts";
import { API_VERSION } from "../api/meta.ts";
import { Tier } from "../api/tier.ts";
import { type Client, openClient, openCluster } from "../datastore/index.ts";
import { createIpam } from "../ipam/index.ts";
import type { Kubernetes } from "../kubernetes/index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../kubernetes/testing/index.ts";
import { silentLogger } from "../telemetry/index.ts";
import { defaultConfiguration, followConfig } from "./config/index.ts";
import { type Controller, type ControllerContext, select } from "./controller.ts";
import { hostEndpointsController } from "./hostendpoints/index.ts";
import { IPPOOL_FINALIZER, ippoolController } from "./ippool/index.ts";
import { type RunningController, runController } from "./testing.ts";
import { TIER_FINALIZER, tierController } from "./tier/index.ts";

const missing = apiServerMissing();
const WITHIN = { timeout: 20_000, interval: 100 };

describe.skipIf(missing)(`controllers of v3 resources${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  let client: Client;
  let kubernetes: Kubernetes;
  const running: { stop(): Promise<void> }[] = [];

  beforeAll(async () => {
    server = await startApiServer({ crds: "v3" });
    const config = { type: "kubernetes", kubeconfig: server.kubeconfig("admin") } as const;
    client = await openClient(config);
    kubernetes = await openCluster(config);
  });
  afterAll(async () => {
    await client?.close();
    await kubernetes?.close();
    await server?.stop();
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.stop();
  });

  function start(make: (context: ControllerContext) => Controller): RunningController {
    const one = runController(make, { client, kubernetes });
    running.push(one);
    return one;
  }

  test("of pools that overlap one may assign; it is kept until its blocks are released, and then the next one may", async () => {
    const reason = async (name: string) =>
      (await client.get(IPPool, { name }))?.status?.conditions?.find(({ type }) => type === "Allocatable")?.reason;
    const finalizers = async (name: string) => (await client.get(IPPool, { name }))?.metadata.finalizers ?? [];
    start(ippoolController);
    await client.create(IPPool, newIPPool("a", { cidr: "10.0.0.0/16" }));
    await vi.waitFor(async () => expect(await finalizers("a")).toEqual([IPPOOL_FINALIZER]), WITHIN);
    expect(await reason("a")).toBe("OK");
    await client.create(IPPool, newIPPool("b", { cidr: "10.0.0.0/24" }));
    await vi.waitFor(async () => expect(await reason("b")).toBe("CIDROverlap"), WITHIN);
    expect(await finalizers("b")).toEqual([]);

    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
    const ipam = createIpam(client);
    const { v4 } = await ipam.autoAssign({ num4: 1, host: "n1", handle: "pod", use: "Workload" });
    await client.delete(IPPool, { name: "a" });
    await vi.waitFor(async () => expect(await reason("a")).toBe("Terminating"), WITHIN);
    // Nobody owns the block any more, but it is in use.
    await vi.waitFor(
      async () => expect((await client.list(IPAMBlock)).items[0]?.spec.affinity).toBeUndefined(),
      WITHIN,
    );
    await expect(ipam.autoAssign({ num4: 1, host: "n1", use: "Workload" })).rejects.toMatchObject({
      code: "IPAM_NO_POOLS",
    });
    expect(await reason("b")).toBe("CIDROverlap");
    expect(await ipam.ipsByHandle("pod")).toMatchObject([{ address: v4[0]!.address }]);
    await ipam.releaseByHandle("pod");
    await vi.waitFor(async () => expect(await client.get(IPPool, { name: "a" })).toBeUndefined(), WITHIN);
    await vi.waitFor(async () => expect(await reason("b")).toBe("OK"), WITHIN);
    await vi.waitFor(async () => expect(await finalizers("b")).toEqual([IPPOOL_FINALIZER]), WITHIN);
  });

  test("a tier waits for its policies", async () => {
    start(tierController);
    await client.create(Tier, {
      apiVersion: API_VERSION,
      kind: "Tier",
      metadata: { name: "security" },
      spec: { order: 10, defaultAction: "Deny" },
    });
    const tier = () => client.get(Tier, { name: "security" });
    await vi.waitFor(async () => expect((await tier())?.metadata.finalizers).toEqual([TIER_FINALIZER]), WITHIN);
    await client.create(GlobalNetworkPolicy, {
      apiVersion: API_VERSION,
      kind: "GlobalNetworkPolicy",
      metadata: { name: "security.allow" },
      spec: { tier: "security", selector: "all()", types: ["Ingress"] },
    } as GlobalNetworkPolicy);
    await client.delete(Tier, { name: "security" });
    await vi.waitFor(
      async () =>
        expect((await tier())?.status?.conditions).toMatchObject([
          {
            type: "Ready",
            status: "False",
            reason: "Terminating",
            message: "Waiting for policies to be removed: 1 GlobalNetworkPolicy",
          },
        ]),
      WITHIN,
    );
    await client.delete(GlobalNetworkPolicy, { name: "security.allow" });
    await vi.waitFor(async () => expect(await tier()).toBeUndefined(), WITHIN);
  });

  test("the configuration is made, followed, and told; host endpoints follow it", async () => {
    const stop = new AbortController();
    const { config, done } = await followConfig({
      client,
      environment: { DATASTORE_TYPE: "kubernetes", LOG_LEVEL: "warn" },
      log: silentLogger,
      signal: stop.signal,
    });
    running.push({
      stop: () => {
        stop.abort();
        return done;
      },
    });
    const stored = async () => (await client.get(KubeControllersConfiguration, { name: "default" }))!;
    await vi.waitFor(async () => {
      const { spec, status } = await stored();
      expect(spec).toEqual(defaultConfiguration().spec);
      expect(status?.environmentVars).toEqual({ DATASTORE_TYPE: "kubernetes", LOG_LEVEL: "warn" });
      expect(status?.runningConfig).toMatchObject({ logSeverityScreen: "Warning", healthChecks: "Enabled" });
    }, WITHIN);
    // Its own writes come back to it, and are not answered.
    const { resourceVersion } = (await stored()).metadata;

    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "hep1", labels: { rack: "a" } } });
    start((context) =>
      hostEndpointsController(
        context,
        select(config, ({ controllers }) => controllers.node!.hostEndpoints),
      ),
    );
    const endpoint = () => client.get(HostEndpoint, { name: "hep1-auto-hep" });
    expect(await endpoint()).toBeUndefined();
    expect((await stored()).metadata.resourceVersion).toBe(resourceVersion);
    const path = "/apis/projectcalico.org/v3/kubecontrollersconfigurations/default";
    const set = (autoCreate: string) =>
      server.request(
        "PATCH",
        path,
        { spec: { controllers: { node: { hostEndpoint: { autoCreate } } } } },
        "application/merge-patch+json",
      );
    await set("Enabled");
    await vi.waitFor(async () => expect((await endpoint())?.metadata.labels).toMatchObject({ rack: "a" }), WITHIN);
    expect((await endpoint())?.spec).toMatchObject({ node: "hep1", interfaceName: "*" });
    await vi.waitFor(async () => {
      const { status } = await stored();
      expect(status?.runningConfig?.controllers.node?.hostEndpoint?.autoCreate).toBe("Enabled");
    }, WITHIN);
    await server.request("DELETE", "/api/v1/nodes/hep1");
    await vi.waitFor(async () => expect(await endpoint()).toBeUndefined(), WITHIN);
    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "hep1" } });
    await vi.waitFor(async () => expect(await endpoint()).toBeDefined(), WITHIN);
    await set("Disabled");
    await vi.waitFor(async () => expect(await endpoint()).toBeUndefined(), WITHIN);
  });
});
