/** The cluster itself: what it takes to believe what other suites say that run on it. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type HostNetwork, hostNetwork } from "../lab/index.ts";
import { agentReady, daemonSet, installConflist, removePlugins, startAgent } from "./calico.ts";
import { Cluster, clusterMissing, type PodObject } from "./cluster.ts";
import { startKubeProxy } from "./kube-proxy.ts";
import { BUSYBOX, calicoImage } from "./stock.ts";

const SERVICE = "10.96.0.80";
const PORT = 8080;
const missing = clusterMissing();

/** Pods that answer over HTTP with their name, as many on one node as on another. */
const deployment = (replicas: number): object => ({
  ...{ apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "web", namespace: "default" } },
  spec: {
    replicas,
    selector: { matchLabels: { app: "web" } },
    template: {
      metadata: { labels: { app: "web" } },
      spec: {
        terminationGracePeriodSeconds: 1,
        topologySpreadConstraints: [
          {
            ...{ maxSkew: 1, topologyKey: "kubernetes.io/hostname", whenUnsatisfiable: "DoNotSchedule" },
            labelSelector: { matchLabels: { app: "web" } },
          },
        ],
        containers: [
          {
            ...{ name: "web", image: BUSYBOX, imagePullPolicy: "Never" },
            command: [
              ...["sh", "-c"],
              `echo "I am $HOSTNAME"; mkdir -p /www; echo $HOSTNAME >/www/index.html; exec httpd -f -p ${PORT} -h /www`,
            ],
          },
        ],
      },
    },
  },
});

const service = {
  ...{ apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "default" } },
  spec: { clusterIP: SERVICE, selector: { app: "web" }, ports: [{ port: 80, targetPort: PORT }] },
};

const HOW = ["as processes of the nodes", "as a DaemonSet"] as const;

describe.skipIf(missing !== undefined)(missing ? `cluster (skipped: ${missing})` : "cluster", () => {
  let before: HostNetwork;
  beforeAll(async () => {
    before = await hostNetwork();
  });

  describe.each(HOW)("with calico-node %s", (how) => {
    let cluster: Cluster;
    let pods: readonly PodObject[] = [];

    beforeAll(async () => {
      const contained = how === "as a DaemonSet";
      cluster = await Cluster.create({ nodes: 2, images: contained ? [await calicoImage()] : [] });
      await cluster.phase("Calico ready", async () => {
        for (const node of cluster.nodes) {
          installConflist(cluster, node);
          await startKubeProxy(cluster, node);
          if (contained) removePlugins(node);
          else await startAgent(cluster, node);
        }
        if (contained) {
          await cluster.server.apply(...daemonSet(cluster));
          await cluster.podsReady("k8s-app=calico-node", cluster.nodes.length, "kube-system");
        }
        await Promise.all(cluster.nodes.map((node) => agentReady(cluster, node)));
        await cluster.nodesReady();
      });
      await cluster.phase("4 pods ready", async () => {
        await cluster.server.apply(deployment(4), service);
        pods = await cluster.podsReady("app=web", 4);
      });
    });
    afterAll(async () => {
      await cluster?.dispose();
      if (cluster) process.stdout.write(`cluster ${how}: ${cluster.summary()}\n`);
    });

    test("pods of a Deployment are on both nodes, and have addresses of the pool", () => {
      expect(new Set(pods.map(({ spec }) => spec.nodeName)).size).toBe(2);
      const addresses = pods.map(({ status }) => status.podIP);
      expect(new Set(addresses).size).toBe(4);
      for (const address of addresses) expect(address).toMatch(/^10\.65\./);
    });

    test("they reach each other, on their node and over BGP on the other", async () => {
      for (const from of [pods[0]!, pods[1]!])
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

    /** The name of the pod behind an address, "" when nothing answers. */
    async function ask(from: PodObject, address: string, port: number): Promise<string> {
      const script = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 ${address} ${port}`;
      const { status, stdout } = await cluster.exec(from, ["sh", "-c", script]);
      return status === 0 ? (stdout.trim().split("\n").at(-1) ?? "") : "";
    }

    test("a Service leads to all of them, also to those of the other node", async () => {
      const seen = new Set<string>();
      await cluster.until("all pods answer for the Service", async () => {
        seen.add(await ask(pods[0]!, SERVICE, 80));
        return pods.every(({ metadata }) => seen.has(metadata.name));
      });
    });

    test("a NetworkPolicy isolates them, until it is deleted", async () => {
      const [from, to] = [pods[0]!, pods.find(({ spec }) => spec.nodeName !== pods[0]!.spec.nodeName)!];
      const answer = (): Promise<string> => ask(from, to.status.podIP!, PORT);
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
      await first!.kubelet.end("SIGKILL");
      await second!.containerd.end("SIGKILL");
      await cluster.server.apply(deployment(6));
      await cluster.startKubelet(first!);
      await second!.startContainerd();
      await cluster.podsReady("app=web", 6);
    });

    test("without pods no address is held", async () => {
      await cluster.server.apply(deployment(0));
      await cluster.podsReady("app=web", 0);
      await cluster.until("all addresses are released", async () => (await cluster.held()) === 0);
    });
  });

  test("the machine's own network is as it was", async () => {
    expect(await hostNetwork()).toEqual(before);
  });
});
