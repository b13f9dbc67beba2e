/**
 * A cluster with two families, on which deploy/calico.yaml was applied with what docs/install.md says under "IPv6 as well", word by word: whatever holds for
 * IPv4 holds for IPv6.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Connection } from "../policy/faults/connection.ts";
import { type Flow, Traffic } from "../policy/faults/traffic.ts";
import type { ProbePlace } from "../policy/prober.ts";
import { type Cluster, clusterMissing, type PodObject } from "./cluster.ts";
import { changed, changesOf } from "./install-page.ts";
import { AGENT, agentOf, agentsReady, installed, NAMESPACE, POOL, POOL6 } from "./manifest.ts";
import type { ClusterNode } from "./node.ts";
import { heldIn, ipamOf, nothingLeft, remains } from "./remains.ts";
import { reportFailures } from "./report.ts";
import { BUSYBOX } from "./stock.ts";
import { amongThemselves, ask, deployment, PORT, SELECTOR, scale, service, WEB } from "./workload.ts";

const PODS = 4;
const FAMILIES = [4, 6] as const;
/** Of the conversation that lives through everything, and of packets that policy is about. */
const LASTING_PORT = 9000;
const POLICY_PORT = 9001;
const HOST_PORT = 8888;
const missing = clusterMissing();

interface AnnotatedNode {
  readonly metadata: { readonly name: string; readonly annotations: Readonly<Record<string, string>> };
}

interface ServiceObject {
  readonly spec: { readonly clusterIPs: readonly string[]; readonly ipFamilies: readonly string[] };
}

describe.skipIf(missing !== undefined)(missing ? `dual stack (skipped: ${missing})` : "dual stack", () => {
  let cluster: Cluster;
  let empty: readonly string[];
  let pods: readonly PodObject[] = [];

  beforeAll(async () => {
    const changes = changesOf("IPv6 as well");
    ({ cluster } = await installed({
      ...{ families: [4, 6], proxies: ["nftables", "iptables"] },
      change: (manifest) => changed(manifest, changes),
    }));
    empty = await remains(cluster);
    const { metadata, spec } = service;
    await cluster.server.apply(deployment(PODS), {
      ...{ apiVersion: "v1", kind: "Service", metadata },
      spec: { ...spec, clusterIP: undefined, ipFamilyPolicy: "RequireDualStack" },
    });
    pods = await cluster.podsReady(SELECTOR, PODS);
  });
  afterAll(async () => {
    await cluster?.dispose();
    if (cluster) process.stdout.write(`dual stack: ${cluster.summary()}\n`);
  });
  reportFailures(() => cluster);

  const addressOf = ({ status }: PodObject, family: 4 | 6): string => status.podIPs?.[family === 4 ? 0 : 1]?.ip ?? "";
  const nodeOf = ({ spec }: PodObject): ClusterNode => cluster.nodes.find(({ name }) => name === spec.nodeName)!;
  const elsewhere = (pod: PodObject): PodObject => pods.find(({ spec }) => spec.nodeName !== pod.spec.nodeName)!;
  const placeOf = (pod: PodObject): ProbePlace => ({
    name: pod.metadata.name,
    netns: `/proc/${nodeOf(pod).processes(pod.metadata.uid)[0]}/ns/net`,
    addresses: { 4: addressOf(pod, 4), 6: addressOf(pod, 6) },
  });
  const calicoctl = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await cluster.calicoctl(...args);
    expect({ status, stderr }, `calicoctl ${args.join(" ")}: ${stdout}`).toEqual({ status: 0, stderr: "" });
    return stdout;
  };

  test("a Node has its addresses for BGP, and calicoctl shows both", async () => {
    const { items } = await cluster.server.request<{ items: AnnotatedNode[] }>("GET", "/api/v1/nodes");
    const wide = await calicoctl("get", "nodes", "--output=wide");
    for (const { name, lab } of cluster.nodes) {
      const { annotations } = items.find(({ metadata }) => metadata.name === name)!.metadata;
      expect(annotations).toMatchObject({
        "projectcalico.org/IPv4Address": `${lab.address4}/24`,
        "projectcalico.org/IPv6Address": `${lab.address6}/64`,
      });
      const line = wide.split("\n").find((one) => one.startsWith(name));
      for (const address of [`${lab.address4}/24`, `${lab.address6}/64`]) expect(line).toContain(address);
    }
  });

  test("kubelets report an address of each family, of both pools", () => {
    for (const { metadata, status } of pods) {
      const ips = (status.podIPs ?? []).map(({ ip }) => ip);
      expect(ips, metadata.name).toEqual([expect.stringMatching(POOL), expect.stringMatching(POOL6)]);
    }
    const all = pods.flatMap((pod) => FAMILIES.map((family) => addressOf(pod, family)));
    expect(new Set(all).size).toBe(2 * PODS);
    expect(new Set(pods.map(({ spec }) => spec.nodeName)).size).toBe(2);
  });

  test.each(FAMILIES)("pods reach each other over IPv%i, on the other node by a route of BGP", async (family) => {
    for (const from of [pods[0]!, elsewhere(pods[0]!)]) {
      const other = elsewhere(from);
      const route = ["ip", `-${family}`, "route", "show", "match", addressOf(other, family), "proto", "bird"];
      const peer = nodeOf(other).lab;
      expect(await nodeOf(from).lab.run(route)).toContain(`via ${family === 4 ? peer.address4 : peer.address6} `);
      for (const to of pods)
        expect(
          await ask(cluster, from, addressOf(to, family), PORT),
          `${from.spec.nodeName} to ${to.spec.nodeName}`,
        ).toBe(to.metadata.name);
      // The underlay has no routes to pods: an answer comes back to the node's address only.
      const outside = family === 4 ? cluster.lab.underlay4 : cluster.lab.underlay6;
      const { status, stdout, stderr } = await cluster.exec(from, ["ping", "-c1", "-W2", outside]);
      expect(status, stdout + stderr).toBe(0);
    }
  });

  test("a Service leads to all of them by both of its addresses, where kube-proxy is of nftables and where of iptables", async () => {
    const path = `/api/v1/namespaces/default/services/${WEB}`;
    const { clusterIPs, ipFamilies } = (await cluster.server.request<ServiceObject>("GET", path)).spec;
    expect(ipFamilies).toEqual(["IPv4", "IPv6"]);
    for (const from of [pods[0]!, elsewhere(pods[0]!)])
      for (const address of clusterIPs) {
        const seen = new Set<string>();
        await cluster.until(`all pods answer ${from.spec.nodeName} for ${address}`, async () => {
          seen.add(await ask(cluster, from, address, 80));
          return pods.every(({ metadata }) => seen.has(metadata.name));
        });
      }
  });

  test("a NetworkPolicy holds for both families alike: not a packet of those it denies, all of those it lets in", async () => {
    const [to, near] = pods.filter(({ spec }) => spec.nodeName === pods[0]!.spec.nodeName) as [PodObject, PodObject];
    const [far, friend] = pods.filter(({ spec }) => spec.nodeName !== to.spec.nodeName) as [PodObject, PodObject];
    const label = (pod: PodObject, text: string): Promise<unknown> =>
      cluster.kubectl("label", "pod", "--overwrite", pod.metadata.name, text);
    await label(to, "role=guarded");
    await label(friend, "role=friend");
    const places = new Map([to, near, far, friend].map((pod) => [pod.metadata.name, placeOf(pod)]));
    const flows = (denied: "allow" | "deny"): Flow[] =>
      FAMILIES.flatMap((version) => [
        ...[near, far, friend].map((from) => ({
          ...{ from: from.metadata.name, to: to.metadata.name, version, port: POLICY_PORT },
          expected: from === friend ? ("allow" as const) : denied,
        })),
        ...[near, far].map((other) => ({
          ...{ from: to.metadata.name, to: other.metadata.name, version, port: POLICY_PORT + 1 },
          expected: denied,
        })),
      ]);
    const pass = async (denied: "allow" | "deny"): Promise<readonly string[]> => {
      const traffic = Traffic.start(places, flows(denied));
      await traffic.pass(300);
      return await traffic.stop();
    };
    expect(await pass("allow")).toEqual([]);
    await cluster.server.apply({
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
      metadata: { name: "guard", namespace: "default" },
      spec: {
        podSelector: { matchLabels: { role: "guarded" } },
        policyTypes: ["Ingress", "Egress"],
        ingress: [{ from: [{ podSelector: { matchLabels: { role: "friend" } } }] }],
      },
    });
    for (const family of FAMILIES)
      await cluster.until(
        `IPv${family} is closed`,
        async () => (await ask(cluster, near, addressOf(to, family), PORT)) === "",
      );
    expect(await pass("deny")).toEqual([]);
    await cluster.kubectl("delete", "networkpolicy", "guard");
    for (const family of FAMILIES)
      await cluster.until(
        `IPv${family} is open`,
        async () => (await ask(cluster, near, addressOf(to, family), PORT)) === to.metadata.name,
      );
    expect(await pass("allow")).toEqual([]);
  });

  test("connections of both families and routes live through a rolling restart of calico-node", async () => {
    const [from, to] = [pods[0]!, elsewhere(pods[0]!)];
    const connections = await Promise.all(
      FAMILIES.map((family) => Connection.open(placeOf(from), placeOf(to), LASTING_PORT, family)),
    );
    const traffic = Traffic.start(
      new Map([from, to].map((pod) => [pod.metadata.name, placeOf(pod)])),
      FAMILIES.map((version) => ({
        ...{ from: from.metadata.name, to: to.metadata.name, version, port: POLICY_PORT, expected: "allow" },
      })),
    );
    try {
      const before = (await cluster.pods(AGENT, NAMESPACE)).map(({ metadata }) => metadata.uid);
      const restart = await cluster.kubectl("rollout", "restart", `--namespace=${NAMESPACE}`, "daemonset/calico-node");
      expect(restart.status, restart.stderr).toBe(0);
      await cluster.until("both agents are others, and ready", async () => {
        for (const connection of connections) await connection.answers();
        const now = await cluster.pods(AGENT, NAMESPACE);
        return now.length === 2 && now.every(({ metadata }) => !before.includes(metadata.uid));
      });
      await agentsReady(cluster);
      for (const connection of connections) await connection.answers();
    } finally {
      for (const connection of connections) connection.close();
    }
    expect(await traffic.stop()).toEqual([]);
  });

  test("a node whose agent was deleted serves both families again, to pods that come into a policy", async () => {
    await cluster.server.apply(amongThemselves);
    const { name } = (await agentOf(cluster, cluster.nodes[0]!)).metadata;
    await cluster.kubectl("delete", "pod", `--namespace=${NAMESPACE}`, name);
    await agentsReady(cluster);
    await scale(cluster, PODS + 2);
    pods = await cluster.podsReady(SELECTOR, PODS + 2);
    for (const from of [pods[0]!, elsewhere(pods[0]!)])
      for (const to of pods)
        for (const family of FAMILIES)
          await cluster.until(
            `${from.metadata.name} reaches ${addressOf(to, family)}`,
            async () => (await ask(cluster, from, addressOf(to, family), PORT)) === to.metadata.name,
          );
  });

  test("a pod may have IPv6 alone: kubelet probes it there, and its hostPort leads there", async () => {
    await cluster.server.apply({
      ...{ apiVersion: "v1", kind: "Pod" },
      metadata: {
        ...{ name: "six", namespace: "default", labels: { app: "six" } },
        annotations: { "cni.projectcalico.org/ipFamilies": '["IPv6"]' },
      },
      spec: {
        ...{ nodeName: cluster.nodes[0]!.name, terminationGracePeriodSeconds: 1 },
        containers: [
          {
            ...{ name: "six", image: BUSYBOX, imagePullPolicy: "Never" },
            command: ["sh", "-c", `mkdir -p /www; echo six >/www/index.html; exec httpd -f -p ${PORT} -h /www`],
            ports: [{ containerPort: PORT, hostPort: HOST_PORT }],
            readinessProbe: { httpGet: { path: "/", port: PORT }, periodSeconds: 1 },
          },
        ],
      },
    });
    const [six] = await cluster.podsReady("app=six", 1);
    const [{ ip }, ...more] = six!.status.podIPs as [{ ip: string }, ...object[]];
    expect(ip).toMatch(POOL6);
    expect(more).toEqual([]);
    for (const node of cluster.nodes) {
      const request = `printf 'GET / HTTP/1.0\\r\\n\\r\\n' | timeout 5 busybox nc ${nodeOf(six!).lab.address6} ${HOST_PORT}`;
      await cluster.until(`its hostPort answers ${node.name}`, async () =>
        (await node.lab.exec(["sh", "-c", request])).stdout.endsWith("six\n"),
      );
    }
    await cluster.kubectl("delete", "pod", "--now", "six");
    await cluster.podsReady("app=six", 0);
  });

  test("calicoctl shows who has which addresses of both pools", async () => {
    const shown = await calicoctl("ipam", "show", "--show-blocks");
    const { blocks } = await ipamOf(cluster);
    for (const family of FAMILIES) {
      const cidrs = blocks.map(({ cidr }) => cidr).filter((cidr) => cidr.includes(":") === (family === 6));
      expect(cidrs.length).toBe(2);
      for (const cidr of cidrs) expect(shown).toContain(cidr);
      expect(await calicoctl("ipam", "show", `--ip=${addressOf(pods[0]!, family)}`)).toContain(pods[0]!.metadata.name);
    }
    expect(await calicoctl("ipam", "check")).toMatch(/Check complete; found 0 problems/);
  });

  test("without pods nothing of them is left of either family", async () => {
    const held = heldIn(await ipamOf(cluster));
    for (const pod of pods)
      for (const family of FAMILIES) expect(held.join("\n")).toContain(`${addressOf(pod, family)} `);
    const full = (await remains(cluster)).join("\n");
    for (const pool of [
      /address in the firewall 192\.168\./,
      /address in the firewall fd00:10:244:/,
      /route fd00:10:244:/,
    ])
      expect(full).toMatch(pool);
    await scale(cluster, 0);
    await nothingLeft(cluster, empty);
    expect(await calicoctl("ipam", "check")).toMatch(/Check complete; found 0 problems/);
  });
});
