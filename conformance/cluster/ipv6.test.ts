/** A cluster without IPv4, also on the nodes, on which deploy/calico.yaml was applied with what docs/install.md says under "IPv6 alone". */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, clusterMissing, type PodObject } from "./cluster.ts";
import { changed, changesOf } from "./install-page.ts";
import { installed, POOL6 } from "./manifest.ts";
import { nothingLeft, remains } from "./remains.ts";
import { reportFailures } from "./report.ts";
import { ask, deployment, PORT, SELECTOR, scale, service } from "./workload.ts";

const SERVICE6 = "fd00:10:96::80";
const missing = clusterMissing();

describe.skipIf(missing !== undefined)(missing ? `IPv6 alone (skipped: ${missing})` : "IPv6 alone", () => {
  let cluster: Cluster;
  let empty: readonly string[];
  let pods: readonly PodObject[] = [];

  beforeAll(async () => {
    const changes = changesOf("IPv6 as well", "IPv6 alone");
    ({ cluster } = await installed({ families: [6], change: (manifest) => changed(manifest, changes) }));
    empty = await remains(cluster);
    const { metadata, spec } = service;
    await cluster.server.apply(deployment(4), {
      ...{ apiVersion: "v1", kind: "Service", metadata, spec: { ...spec, clusterIP: SERVICE6 } },
    });
    pods = await cluster.podsReady(SELECTOR, 4);
  });
  afterAll(async () => {
    await cluster?.dispose();
    if (cluster) process.stdout.write(`IPv6 alone: ${cluster.summary()}\n`);
  });
  reportFailures(() => cluster);

  test("nodes have BGP for IPv6 only, and nothing to complain of", async () => {
    for (const { lab } of cluster.nodes) {
      expect(await lab.run(["ip", "-4", "address", "show", "dev", "eth0"])).toBe("");
      const status = await lab.run(["calicoctl", "node", "status"]);
      expect(status).toContain("No IPv4 peers found.\n\nIPv6 BGP status\n");
      expect(status).toMatch(/\| fd31::\d+ +\| node-to-node mesh \| up /);
      expect(await lab.run(["calico-node", "bgp", "peers"])).not.toContain("Not as configured");
    }
    const { stdout } = await cluster.calicoctl("get", "ippools", "--output=wide");
    expect(stdout).toMatch(/default-ipv6-ippool +fd00:10:244::\/56 +true /);
    expect(stdout).not.toContain("default-ipv4-ippool");
  });

  test("pods have one address each, and reach each other, a Service and what is outside", async () => {
    for (const { status } of pods) expect(status.podIPs).toEqual([{ ip: expect.stringMatching(POOL6) as string }]);
    for (const from of [pods[0]!, pods.find(({ spec }) => spec.nodeName !== pods[0]!.spec.nodeName)!]) {
      for (const to of pods) expect(await ask(cluster, from, to.status.podIP!, PORT)).toBe(to.metadata.name);
      await cluster.until("the Service answers", async () => (await ask(cluster, from, SERVICE6, 80)) !== "");
      expect((await cluster.exec(from, ["ping", "-c1", "-W2", cluster.lab.underlay6])).status).toBe(0);
    }
  });

  test("a NetworkPolicy isolates them, until it is deleted", async () => {
    const [from, to] = [pods[0]!, pods.find(({ spec }) => spec.nodeName !== pods[0]!.spec.nodeName)!];
    const answer = (): Promise<string> => ask(cluster, from, to.status.podIP!, PORT);
    await cluster.server.apply({
      ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
      metadata: { name: "closed", namespace: "default" },
      spec: { podSelector: {}, policyTypes: ["Ingress"] },
    });
    await cluster.until("nobody reaches them", async () => (await answer()) === "");
    await cluster.kubectl("delete", "networkpolicy", "closed");
    await cluster.until("they answer again", async () => (await answer()) === to.metadata.name);
  });

  test("without pods nothing of them is left", async () => {
    expect((await remains(cluster)).join("\n")).toMatch(/allocation fd00:10:244:/);
    await scale(cluster, 0);
    await nothingLeft(cluster, empty);
    expect((await cluster.calicoctl("ipam", "check")).stdout).toMatch(/Check complete; found 0 problems/);
  });
});
