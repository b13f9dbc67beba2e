/**
 * A cluster on which deploy/calico.yaml was applied and nothing else: DaemonSet and Deployment run as containers, of an image that holds what the
 * Containerfile says. That `calico-node` also works as a plain process of a node is shown without kubelets, by conformance/kubernetes.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HostNetwork, hostNetwork } from "../lab/index.ts";
import { accessOf } from "./access.ts";
import { type Cluster, clusterMissing, type PodObject } from "./cluster.ts";
import { killContainerd, killKubelet } from "./kill.ts";
import {
  AGENT,
  agentOf,
  agentsReady,
  CONTROLLERS,
  type Installed,
  installed,
  logOf,
  NAMESPACE,
  POOL,
} from "./manifest.ts";
import { nothingLeft, remains } from "./remains.ts";
import { reportFailures } from "./report.ts";
import { ask, deployment, PORT, SELECTOR, SERVICE, scale, service } from "./workload.ts";

const missing = clusterMissing();

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason?: string;
  readonly message?: string;
}

interface Probe {
  readonly exec: { readonly command: readonly string[] };
}

interface ProbedPod extends PodObject {
  readonly spec: PodObject["spec"] & {
    readonly containers: readonly {
      readonly name: string;
      readonly livenessProbe: Probe;
      readonly readinessProbe: Probe;
    }[];
  };
}

describe.skipIf(missing !== undefined)(missing ? `cluster (skipped: ${missing})` : "cluster", () => {
  let before: HostNetwork;
  beforeAll(async () => {
    before = await hostNetwork();
  });

  describe("with Calico by its manifest", () => {
    let bed: Installed;
    let cluster: Cluster;
    let empty: readonly string[];
    let pods: readonly PodObject[] = [];

    beforeAll(async () => {
      bed = await installed({ audit: true });
      cluster = bed.cluster;
      empty = await remains(cluster);
      await cluster.phase("4 pods ready", async () => {
        await cluster.server.apply(deployment(4), service);
        pods = await cluster.podsReady(SELECTOR, 4);
      });
    });
    afterAll(async () => {
      await cluster?.dispose();
      if (cluster) process.stdout.write(`cluster: ${cluster.summary()}\n`);
    });
    reportFailures(() => cluster);

    const conditionOf = async (node: string): Promise<Condition | undefined> => {
      const path = `/api/v1/nodes/${node}`;
      const { status } = await cluster.server.request<{ status: { conditions: Condition[] } }>("GET", path);
      return status.conditions.find(({ type }) => type === "NetworkUnavailable");
    };
    const UP = { status: "False", reason: "CalicoIsUp", message: "Calico is running on this node" };
    const DOWN = { status: "True", reason: "CalicoIsDown", message: "Calico is shutting down on this node" };

    test("nodes are Ready once they have the network configuration, and not before", async () => {
      // That one was never seen without the other is what `installed` watches.
      expect(bed.nodes.map(({ node }) => node)).toEqual(["node1", "node2"]);
      for (const { node, conflist, ready } of bed.nodes) {
        process.stdout.write(`${node}: network configuration after ${conflist} ms, Ready after ${ready} ms\n`);
        expect(ready).toBeGreaterThanOrEqual(conflist);
        await cluster.until(
          `${node} is said to have a network`,
          async () => (await conditionOf(node))?.status === "False",
        );
        expect(await conditionOf(node)).toMatchObject(UP);
      }
    });

    test("every probe of the manifest answers, by the very command", async () => {
      for (const selector of [AGENT, CONTROLLERS])
        for (const pod of (await cluster.pods(selector, NAMESPACE)) as readonly ProbedPod[])
          for (const { name, livenessProbe, readinessProbe } of pod.spec.containers)
            for (const { exec } of [livenessProbe, readinessProbe]) {
              const { status, stdout, stderr } = await cluster.exec(pod, exec.command);
              expect({ name, status, said: stdout + stderr }, exec.command.join(" ")).toMatchObject({ status: 0 });
            }
    });

    test("pods of a Deployment are on both nodes, and have addresses of the default pool", () => {
      expect(new Set(pods.map(({ spec }) => spec.nodeName)).size).toBe(2);
      const addresses = pods.map(({ status }) => status.podIP);
      expect(new Set(addresses).size).toBe(4);
      for (const address of addresses) expect(address).toMatch(POOL);
    });

    test("they were attached by the agent, all of them", async () => {
      for (const node of cluster.nodes) {
        const log = await logOf(cluster, await agentOf(cluster, node));
        const attached = log.split("\n").filter((line) => line.includes("attached") && !line.includes("detached"));
        for (const { metadata, spec } of pods)
          if (spec.nodeName === node.name) expect(attached.join("\n")).toContain(metadata.name);
      }
    });

    test("they reach each other, on their node and over BGP on the other", async () => {
      for (const from of [pods[0]!, pods.find(({ spec }) => spec.nodeName !== pods[0]!.spec.nodeName)!])
        for (const to of pods)
          await cluster.until(`${from.metadata.name} reaches ${to.metadata.name}`, async () => {
            const ping = ["ping", "-c1", "-W1", to.status.podIP!];
            return (await cluster.exec(from, ping)).status === 0;
          });
    });

    test("kubectl logs shows what a container said", async () => {
      const { name } = pods[0]!.metadata;
      expect((await cluster.kubectl("logs", name)).stdout).toBe(`I am ${name}\n`);
    });

    test("a Service leads to all of them, also to those of the other node", async () => {
      const seen = new Set<string>();
      await cluster.until("all pods answer for the Service", async () => {
        seen.add(await ask(cluster, pods[0]!, SERVICE, 80));
        return pods.every(({ metadata }) => seen.has(metadata.name));
      });
    });

    test("a NetworkPolicy isolates them, until it is deleted", async () => {
      const [from, to] = [pods[0]!, pods.find(({ spec }) => spec.nodeName !== pods[0]!.spec.nodeName)!];
      const answer = (): Promise<string> => ask(cluster, from, to.status.podIP!, PORT);
      expect(await answer()).toBe(to.metadata.name);
      await cluster.server.apply({
        ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
        metadata: { name: "closed", namespace: "default" },
        spec: { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"] },
      });
      await cluster.until("nobody reaches them", async () => (await answer()) === "");
      await cluster.kubectl("delete", "networkpolicy", "closed");
      await cluster.until("they answer again", async () => (await answer()) === to.metadata.name);
    });

    test("kubelet and containerd are killed and come back, and pods are made and unmade as before", async () => {
      const [first, second] = cluster.nodes;
      await scale(cluster, 6, [
        { after: 0, work: () => killKubelet(cluster, first!) },
        { after: 0, work: () => killContainerd(second!) },
      ]);
      await cluster.nodesReady();
    });

    test("a node whose agent is taken away says that it has no network, until the next agent is ready", async () => {
      const [node] = cluster.nodes;
      const { name } = (await agentOf(cluster, node!)).metadata;
      const removal = cluster.kubectl("delete", "pod", `--namespace=${NAMESPACE}`, name);
      await cluster.until("it says so", async () => (await conditionOf(node!.name))?.status === "True");
      expect(await conditionOf(node!.name)).toMatchObject(DOWN);
      await removal;
      await agentsReady(cluster);
      await cluster.until("it has one again", async () => (await conditionOf(node!.name))?.status === "False");
      expect(await conditionOf(node!.name)).toMatchObject(UP);
    });

    test("without pods nothing of them is left", async () => {
      await scale(cluster, 0);
      await nothingLeft(cluster, empty);
    });

    test("nobody asked for what the manifest does not allow", async () => {
      for (const { account, requests, refused, unused } of await accessOf(cluster)) {
        process.stdout.write(`${account}: ${requests} requests, never used: ${unused.join(", ") || "nothing"}\n`);
        expect(refused, account).toEqual([]);
        // The plugin leaves everything to the agent.
        if (account !== "calico-cni-plugin") expect(requests, account).toBeGreaterThan(20);
      }
    });
  });

  test("the machine's own network is as it was", async () => {
    expect(await hostNetwork()).toEqual(before);
  });
});
