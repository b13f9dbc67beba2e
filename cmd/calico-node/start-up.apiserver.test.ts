/** Start-up and BGP's configuration on a real API server, with exactly the rights that upstream's manifests give calico-node. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { watchBgp } from "../../lib/bgp/config/index.ts";
import type { NodeBgp } from "../../lib/bgp/model/index.ts";
import { type Client, datastoreConfigFromEnv, openClient } from "../../lib/datastore/index.ts";
import { type ApiServer, apiServerMissing, startApiServer, type UserName } from "../../lib/kubernetes/testing/index.ts";
import { prepareNode, reportNodeStatus } from "../../lib/node/index.ts";
import { keptLog, machine } from "../../lib/node/testing.ts";
import { silentLogger } from "../../lib/telemetry/index.ts";
import { kubernetesFactsOf } from "./kubernetes-facts.ts";
import { setNetworkUnavailable } from "./network-condition.ts";

const missing = apiServerMissing();

describe.each(["v1", "v3"] as const)("%s", (group) => {
  describe.skipIf(missing !== undefined)(missing ? `start-up (skipped: ${missing})` : "start-up", () => {
    const folder = mkdtempSync(join(tmpdir(), "start-up-test-"));
    let server: ApiServer;
    const clients: Client[] = [];
    beforeAll(async () => {
      server = await startApiServer({ crds: group });
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
    });
    afterAll(async () => {
      await Promise.all(clients.map((client) => client.close()));
      await server?.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    const env = (user: UserName) => ({
      DATASTORE_TYPE: "kubernetes",
      KUBECONFIG: server.kubeconfig(user),
      ...(group === "v3" && { CALICO_API_GROUP: "projectcalico.org/v3" }),
      NODENAME: "n1",
      IP: "autodetect",
      CALICO_NODENAME_FILE: join(folder, "nodename"),
    });
    const open = async (user: UserName): Promise<Client> => {
      const client = await openClient(datastoreConfigFromEnv(env(user)));
      clients.push(client);
      return client;
    };
    const conditionOf = async () => {
      const { status } = await server.request<{ status: { conditions?: { type: string; status: string }[] } }>(
        "GET",
        "/api/v1/nodes/n1",
      );
      return status.conditions?.find(({ type }) => type === "NetworkUnavailable");
    };

    test("prepares the node, is told what BGP shall be, and opens the node for pods", async () => {
      const client = await open("node");
      const kubernetes = kubernetesFactsOf(datastoreConfigFromEnv(env("node")), "n1");
      const known = await kubernetes.ask();
      const prepared = await prepareNode(client, env("node"), machine(["eth0 10.0.0.1/24"]), {
        log: silentLogger,
        ...(known && { kubernetes: known }),
      });
      expect(prepared.ipv4).toBe("10.0.0.1/24");

      const stop = new AbortController();
      const troubles = new Map<string, string>();
      const told = Promise.withResolvers<NodeBgp>();
      const watch = watchBgp({
        client,
        node: "n1",
        signal: stop.signal,
        onChange: told.resolve,
        onTrouble: (kind, why) => void (why === undefined ? troubles.delete(kind) : troubles.set(kind, why)),
      });
      expect((await told.promise).ipv4).toMatchObject({ address: "10.0.0.1", subnet: "10.0.0.0/24" });
      expect([...troubles]).toEqual([]);
      stop.abort();
      await watch.done;

      const cluster = (await kubernetes.cluster())!;
      await setNetworkUnavailable(cluster, "n1", true);
      expect(await conditionOf()).toMatchObject({ status: "True", reason: "CalicoIsDown" });
      await setNetworkUnavailable(cluster, "n1", false);
      expect(await conditionOf()).toMatchObject({ status: "False", reason: "CalicoIsUp" });
      await kubernetes.close();
    });

    // Upstream's definitions have the status apart, and its manifests' role does not let a node write it: operator and API server's users have to.
    test("answers a CalicoNodeStatus as soon as it may, and says until then that it may not", async () => {
      const stop = new AbortController();
      const client = await open("node");
      await server.apply({
        apiVersion: group === "v1" ? "crd.projectcalico.org/v1" : "projectcalico.org/v3",
        kind: "CalicoNodeStatus",
        metadata: { name: "of-n1" },
        spec: { node: "n1", classes: ["Agent"], updatePeriodSeconds: 1 },
      });
      const daemon = { ready: true, version: "v1", routerId: "10.0.0.1", started: 0, reconfigured: 0 };
      const source = { agent: async () => daemon, peers: async () => [], routes: async function* () {} };
      const log = keptLog();
      const done = reportNodeStatus(client, { node: "n1", source, log, signal: stop.signal });
      await expect.poll(() => JSON.stringify(log.lines), { timeout: 20_000 }).toContain("caliconodestatuses/status");
      const rbac = "rbac.authorization.k8s.io";
      const apiGroups = ["crd.projectcalico.org", "projectcalico.org"];
      await server.apply(
        {
          apiVersion: `${rbac}/v1`,
          kind: "ClusterRole",
          metadata: { name: "node-status" },
          rules: [{ apiGroups, resources: ["caliconodestatuses/status"], verbs: ["update"] }],
        },
        {
          apiVersion: `${rbac}/v1`,
          kind: "ClusterRoleBinding",
          metadata: { name: "node-status" },
          roleRef: { apiGroup: rbac, kind: "ClusterRole", name: "node-status" },
          subjects: [{ kind: "ServiceAccount", name: "calico-node", namespace: "kube-system" }],
        },
      );
      const path = `/apis/${group === "v1" ? "crd.projectcalico.org/v1" : "projectcalico.org/v3"}/caliconodestatuses/of-n1`;
      await expect
        .poll(async () => JSON.stringify(await server.request("GET", path)), { timeout: 20_000 })
        .toMatch(/"birdV4":\{[^}]*"state":"Ready"/);
      stop.abort();
      await done;
    });

    test("without any rights, every kind that is waited for is named with why", async () => {
      const client = await open("nobody");
      const stop = new AbortController();
      const troubles = new Map<string, string | undefined>();
      const watch = watchBgp({
        client,
        node: "n1",
        signal: stop.signal,
        onChange: () => {},
        onTrouble: (kind, why) => troubles.set(kind, why),
      });
      await expect.poll(() => [...watch.missing].every((kind) => troubles.get(kind) !== undefined)).toBe(true);
      expect([...watch.missing]).toEqual(expect.arrayContaining(["Node", "BGPPeer", "IPPool", "BGPConfiguration"]));
      expect(troubles.get("Node")).toContain("forbidden");
      stop.abort();
      await watch.done;
    });
  });
});
