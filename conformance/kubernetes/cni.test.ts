/**
 * The plugin as a kubelet's runtime calls it, with upstream's CNI role and nothing more, for pods that an API server has: all of it by
 * the plugin itself, and again by way of the nodes' agents, which have upstream's role for those.
 */
import { createHash } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { summarise } from "../../lib/kubernetes/testing/index.ts";
import type { Agent } from "../cni/agent.ts";
import { interfaces, type NetworkConf, pool } from "../cni/cluster.ts";
import { expectError, expectSuccess } from "../cni/expect.ts";
import { addressesIn } from "../cni/result.ts";
import type { CniOutcome, CniVerb, Pod } from "../lab/index.ts";
import { GROUP_VERSION, KubernetesCluster } from "./cluster.ts";
import { describeLabModes } from "./suite.ts";

const IPS = "cni.projectcalico.org/podIPs";
const IP = "cni.projectcalico.org/podIP";
const CONTAINER = "cni.projectcalico.org/containerID";
const DUAL = { ipam: { type: "calico-ipam", assign_ipv4: "true", assign_ipv6: "true" } };

/** Upstream's name of a pod's interface on the node. */
const hostInterface = (namespace: string, name: string) =>
  `cali${createHash("sha1").update(`${namespace}.${name}`).digest("hex").slice(0, 11)}`;

/** Of an ADD that succeeded. It may have warned: of what an earlier sandbox left, for example. */
function addresses(outcome: CniOutcome): string[] {
  expect(outcome.status, outcome.stdout + outcome.stderr).toBe(0);
  return addressesIn(outcome.json as Record<string, unknown>);
}

const VOLATILE = new Set([
  ...["uid", "resourceVersion", "creationTimestamp", "managedFields", "timestamp", "mac"],
  ...["sequenceNumber", "affinityClaimTime", "generation"],
]);

/** Without what differs from run to run whoever does it, and with the pods' containers and namespaces by their number. */
function masked(value: unknown, pods: readonly Pod[]): unknown {
  let text = JSON.stringify(value, (key, part: unknown) => {
    if (key === "sequenceNumberForAllocation") return Object.keys(part as object).sort();
    return VOLATILE.has(key) && part !== undefined ? "…" : part;
  });
  for (const [index, pod] of pods.entries())
    text = text.replaceAll(pod.containerId, `container ${index}`).replaceAll(pod.netns, `namespace ${index}`);
  return JSON.parse(
    text.replaceAll(/"projectcalico.org\/metadata":"(?:[^"\\]|\\.)*"/g, '"projectcalico.org/metadata":"…"'),
  );
}

describeLabModes("kubelet's plugin", (mode) => {
  let cluster: KubernetesCluster;
  beforeAll(async () => {
    cluster = await KubernetesCluster.create({ mode, nodes: 2, audit: true });
  });
  afterEach(() => cluster.clean());
  afterAll(() => cluster?.dispose());

  /** What the plugin left, for comparison. */
  let byPlugin: unknown[] | undefined;
  describe.each(["by the plugin itself", "by the node's agent"] as const)("%s", (way) => {
    const isByAgent = way === "by the node's agent";
    let agents: readonly Agent[] = [];
    if (isByAgent) {
      beforeAll(async () => {
        agents = await cluster.serveByAgents();
      });
      afterEach(async ({ task }) => {
        if (task.result?.state !== "fail") return;
        for (const agent of agents) process.stderr.write(agent.log());
      });
    }

    async function expectNoAddressHeld(): Promise<void> {
      expect(await cluster.held()).toEqual([]);
      expect(await cluster.stored("ipamhandles")).toEqual([]);
    }

    const annotations = async (name: string, namespace?: string) =>
      (await cluster.podObject(name, namespace)).metadata.annotations ?? {};

    describe("ADD, CHECK and DEL", () => {
      test("ADD gives the pod object its address, its interface the name of upstream's, and CHECK agrees", async () => {
        const pod = await cluster.pod("web");
        const added = await cluster.cni("ADD", pod);
        const [address] = addresses(added);
        expect(address).toMatch(/^10\.65\./);
        expect(await annotations("web")).toMatchObject({
          [IP]: `${address}/32`,
          [IPS]: `${address}/32`,
          [CONTAINER]: pod.containerId,
        });
        expect(await interfaces(cluster.node)).toEqual([hostInterface("default", "web")]);
        await cluster.node.run(["ping", "-c1", "-W2", address!]);
        expectSuccess(await cluster.cni("CHECK", pod, cluster.conf({ prevResult: added.json })));

        const [endpoint, ...more] = await cluster.get<{ metadata: { name: string }; spec: Record<string, unknown> }>(
          ...["workloadendpoints", "--namespace=default"],
        );
        expect(more).toEqual([]);
        expect(endpoint?.metadata.name).toBe("node1-k8s-web-eth0");
        expect(endpoint?.spec).toMatchObject({
          orchestrator: "k8s",
          node: "node1",
          pod: "web",
          containerID: pod.containerId,
          ipNetworks: [`${address}/32`],
          interfaceName: hostInterface("default", "web"),
          profiles: ["kns.default", "ksa.default.default"],
        });
        expectSuccess(await cluster.cni("DEL", pod));
        await expectNoAddressHeld();
      });

      test("DEL empties both address annotations, leaves the container's, and removes interface, address and handle", async () => {
        const pod = await cluster.pod("web");
        addresses(await cluster.cni("ADD", pod));
        expectSuccess(await cluster.cni("DEL", pod));
        expect(await annotations("web")).toMatchObject({ [IP]: "", [IPS]: "", [CONTAINER]: pod.containerId });
        expect(await interfaces(cluster.node)).toEqual([]);
        await expectNoAddressHeld();
        const affinities = await cluster.stored("blockaffinities");
        expect(affinities.map(({ spec }) => spec.state)).toEqual(["confirmed"]);
      });

      test("two families: one address of each, in the order IPv4, IPv6", async () => {
        const pod = await cluster.pod("dual");
        const given = addresses(await cluster.cni("ADD", pod, cluster.conf(DUAL)));
        expect(given).toHaveLength(2);
        expect(await annotations("dual")).toMatchObject({
          [IP]: `${given[0]}/32`,
          [IPS]: `${given[0]}/32,${given[1]}/128`,
        });
        for (const address of given) await cluster.node.run(["ping", "-c1", "-W2", address]);
        expectSuccess(await cluster.cni("DEL", pod, cluster.conf(DUAL)));
        await expectNoAddressHeld();
      });

      test("ADD that is repeated answers the same and writes nothing new", async () => {
        const pod = await cluster.pod("again");
        const first = await cluster.cni("ADD", pod);
        addresses(first);
        const held = await cluster.held();
        const second = await cluster.cni("ADD", pod);
        expect(second.json).toEqual(first.json);
        expect(await cluster.held()).toEqual(held);
        expectSuccess(await cluster.cni("DEL", pod));
      });

      test("DEL succeeds for a pod object that is gone, and for one that was never added", async () => {
        const pod = await cluster.pod("gone");
        addresses(await cluster.cni("ADD", pod));
        await cluster.deletePod("gone");
        expectSuccess(await cluster.cni("DEL", pod));
        expectSuccess(await cluster.cni("DEL", pod));
        await expectNoAddressHeld();
        expect(await interfaces(cluster.node)).toEqual([]);
        expectSuccess(await cluster.cni("DEL", await cluster.pod("never")));
      });

      test("ADD for a pod object that does not exist is an error that names it, and leaves nothing", async () => {
        const pod = await cluster.sandbox("nobody-knows-it");
        expectError(await cluster.cni("ADD", pod), undefined, /nobody-knows-it/);
        await expectNoAddressHeld();
        expect(await interfaces(cluster.node)).toEqual([]);
      });

      test("GC frees what is not in the list of attachments, and keeps what is", async () => {
        const conf = cluster.conf({ cniVersion: "1.1.0" });
        const stays = await cluster.pod("stays");
        const goes = await cluster.pod("goes");
        const added = await cluster.cni("ADD", stays, conf);
        const [kept] = addresses(added);
        addresses(await cluster.cni("ADD", goes, conf));
        const valid = [{ containerID: stays.containerId, ifname: "eth0" }];
        expectSuccess(
          await cluster.node
            .exec(["/opt/cni/bin/calico"], {
              env: { CNI_COMMAND: "GC", CNI_PATH: "/opt/cni/bin" },
              stdin: JSON.stringify({ ...conf, "cni.dev/valid-attachments": valid }),
            })
            .then((outcome) => ({ ...outcome, json: undefined })),
        );
        expect(await cluster.held()).toHaveLength(1);
        expect(await annotations("stays")).toMatchObject({ [IP]: `${kept}/32` });
        expectSuccess(await cluster.cni("CHECK", stays, { ...conf, prevResult: added.json }));
        expectSuccess(await cluster.cni("DEL", stays, conf));
      });

      test("fifty pods at once on two nodes: no address twice, and none left", async () => {
        const pods: Pod[] = [];
        for (let i = 0; i < 50; i++) pods.push(await cluster.pod(`many-${i}`, {}, cluster.lab.nodes[i % 2]!));
        const given = await Promise.all(pods.map(async (pod) => addresses(await cluster.cni("ADD", pod))[0]));
        expect(new Set(given).size).toBe(50);
        for (const outcome of await Promise.all(pods.map((pod) => cluster.cni("DEL", pod)))) expectSuccess(outcome);
        await expectNoAddressHeld();
      });
    });

    describe("sandboxes that follow each other", () => {
      test("a late DEL of the old sandbox leaves the address of its successor", async () => {
        const old = await cluster.pod("phoenix");
        addresses(await cluster.cni("ADD", old));
        await cluster.deletePod("phoenix");
        const young = await cluster.pod("phoenix");
        const [address] = addresses(await cluster.cni("ADD", young));
        expectSuccess(await cluster.cni("DEL", old));
        expect(await annotations("phoenix")).toMatchObject({ [IP]: `${address}/32`, [CONTAINER]: young.containerId });
        expect(await cluster.held()).toHaveLength(1);
        await cluster.node.run(["ping", "-c1", "-W2", address!]);
        expectSuccess(await cluster.cni("DEL", young));
        await expectNoAddressHeld();
      });

      test("a new sandbox of the same pod object is given an address, and the old one's is freed by its DEL", async () => {
        const old = await cluster.pod("restarted");
        addresses(await cluster.cni("ADD", old));
        const young = await cluster.sandbox("restarted");
        const [address] = addresses(await cluster.cni("ADD", young));
        expectSuccess(await cluster.cni("DEL", old));
        expect(await annotations("restarted")).toMatchObject({ [IP]: `${address}/32`, [CONTAINER]: young.containerId });
        await cluster.node.run(["ping", "-c1", "-W2", address!]);
        expectSuccess(await cluster.cni("DEL", young));
        await expectNoAddressHeld();
      });
    });

    describe("annotations", () => {
      beforeAll(() =>
        cluster.applyCalico(
          pool("special", "10.77.0.0/24", { nodeSelector: "!all()" }),
          pool("namespaced", "10.78.0.0/24", { nodeSelector: "!all()" }),
        ),
      );

      test("ipAddrs: exactly that address", async () => {
        const pod = await cluster.pod("exact", { annotations: { "cni.projectcalico.org/ipAddrs": '["10.65.3.33"]' } });
        expect(addresses(await cluster.cni("ADD", pod))).toEqual(["10.65.3.33"]);
        expectSuccess(await cluster.cni("DEL", pod));
        await expectNoAddressHeld();
      });

      test("ipv4pools: of the pod before the namespace's before the configuration's; by name or by CIDR", async () => {
        await cluster.namespace("pooled", { "cni.projectcalico.org/ipv4pools": '["10.78.0.0/24"]' });
        const own = { "cni.projectcalico.org/ipv4pools": '["special"]' };
        const podFirst = await cluster.pod("own", { namespace: "pooled", annotations: own });
        const fromNamespace = await cluster.pod("inherits", { namespace: "pooled" });
        const conf = cluster.conf({ ipam: { type: "calico-ipam", ipv4_pools: ["10.65.0.0/16"] } });
        expect(addresses(await cluster.cni("ADD", podFirst, conf, "pooled"))[0]).toMatch(/^10\.77\.0\./);
        expect(addresses(await cluster.cni("ADD", fromNamespace, conf, "pooled"))[0]).toMatch(/^10\.78\.0\./);
        for (const pod of [podFirst, fromNamespace]) expectSuccess(await cluster.cni("DEL", pod, conf, "pooled"));
        await expectNoAddressHeld();
      });

      test("hwAddr: that MAC address on the pod's interface", async () => {
        const mac = "1c:0c:0a:c0:ff:ee";
        const pod = await cluster.pod("hardware", { annotations: { "cni.projectcalico.org/hwAddr": mac } });
        addresses(await cluster.cni("ADD", pod));
        expect(await pod.run(["ip", "link", "show", "eth0"])).toContain(mac);
        expectSuccess(await cluster.cni("DEL", pod));
      });

      test("one that is no JSON list is an error that names annotation and value", async () => {
        const pod = await cluster.pod("wrong", { annotations: { "cni.projectcalico.org/ipv4pools": "special" } });
        expectError(await cluster.cni("ADD", pod), undefined, /ipv4pools/);
        await expectNoAddressHeld();
      });
    });

    test("every step is answered alike, and leaves the same objects, whoever does it", async () => {
      const seen: unknown[] = [];
      const [one, two, three] = [await cluster.pod("same-1"), await cluster.pod("same-2"), await cluster.pod("same-3")];
      const pods = [one, two, three] as const;
      const step = async (verb: CniVerb, pod: Pod, conf?: NetworkConf): Promise<void> => {
        const { status, json, stdout } = await cluster.cni(verb, pod, conf);
        const said = json ?? stdout;
        const kinds = ["ipamblocks", "ipamhandles", "blockaffinities"];
        const objects = await Promise.all(kinds.map((plural) => cluster.stored(plural)));
        const noted = await Promise.all(pods.map(({ name }) => annotations(name.split(".")[0]!)));
        seen.push(masked({ verb, status, said, objects, noted }, pods));
      };
      await step("ADD", one);
      await step("ADD", two, cluster.conf(DUAL));
      await step("ADD", two, cluster.conf(DUAL));
      await step("ADD", three, cluster.conf({ ipam: { type: "calico-ipam", ipv4_pools: ["none"] } }));
      await step("DEL", one);
      await step("DEL", one);
      await step("ADD", one);
      await step("DEL", two, cluster.conf(DUAL));
      await step("DEL", three);
      await step("DEL", one);
      await expectNoAddressHeld();
      if (isByAgent && byPlugin) expect(seen).toEqual(byPlugin);
      byPlugin ??= seen;
    });

    test("an API server that cannot be reached is an error, soon, and the next call is served again", async () => {
      const pod = await cluster.pod("alone");
      cluster.relay.target = undefined;
      cluster.relay.cut();
      const began = performance.now();
      const refused = await cluster.cni("ADD", pod);
      const seconds = (performance.now() - began) / 1000;
      cluster.relay.target = cluster.server.port;
      expectError(refused, 11);
      expect(seconds).toBeLessThan(30);
      const deadline = performance.now() + 60_000;
      let outcome = await cluster.cni("ADD", pod);
      while (outcome.status !== 0 && performance.now() < deadline) outcome = await cluster.cni("ADD", pod);
      expectSuccess(outcome);
      expectSuccess(await cluster.cni("DEL", pod));
      await expectNoAddressHeld();
    });

    test.runIf(isByAgent)(
      "none of it asks the API server for anything but by the agent, and an ADD reads nothing",
      async () => {
        const pods: Pod[] = [];
        for (let i = 0; i < 5; i++) pods.push(await cluster.pod(`quiet-${i}`));
        // The last is known by the time that the others are attached.
        let before = 0;
        for (const pod of pods) {
          before = (await cluster.server.audit()).length;
          expectSuccess(await cluster.cni("ADD", pod));
        }
        const asked = (await cluster.server.audit()).slice(before);
        expect(asked.filter(({ user }) => user.endsWith(":calico-cni-plugin"))).toEqual([]);
        const { byVerb } = summarise(
          asked.filter(({ user, verb }) => user.endsWith(":calico-node") && verb !== "watch"),
        );
        const group = GROUP_VERSION[mode].split("/")[0];
        expect(Object.fromEntries(byVerb)).toEqual({
          [`create ipamhandles.${group}`]: 1,
          [`update ipamblocks.${group}`]: 1,
          "patch pods/status": 1,
        });
        for (const pod of pods) expectSuccess(await cluster.cni("DEL", pod));
        await expectNoAddressHeld();
      },
    );

    describe.skipIf(isByAgent)("what it may do", () => {
      test("all of its requests are within upstream's role, and no pod is listed", async () => {
        const before = (await cluster.server.audit()).length;
        const pod = await cluster.pod("modest");
        const added = await cluster.cni("ADD", pod);
        expectSuccess(added);
        expectSuccess(await cluster.cni("CHECK", pod, cluster.conf({ prevResult: added.json })));
        expectSuccess(await cluster.cni("DEL", pod));
        const asked = (await cluster.server.audit())
          .slice(before)
          .filter(({ user }) => user.endsWith(":calico-cni-plugin"));
        expect(asked.length).toBeGreaterThan(0);
        expect(asked.filter(({ status }) => status === 403)).toEqual([]);
        expect(asked.filter(({ verb, resource }) => resource === "pods" && verb !== "get")).toEqual([]);
        expect(asked.filter(({ verb }) => verb === "watch")).toEqual([]);
      });

      test("without a right that it needs, it says which, and leaves nothing", async () => {
        const pod = await cluster.pod("refused");
        cluster.writeKubeconfig(cluster.node, cluster.server.kubeconfig("nobody", { server: cluster.relay.url }));
        try {
          expectError(await cluster.cni("ADD", pod), undefined, /forbidden|may not|not allowed/i);
        } finally {
          cluster.writeKubeconfig(cluster.node, cluster.server.kubeconfig("cni", { server: cluster.relay.url }));
        }
        expect(await interfaces(cluster.node)).toEqual([]);
        await expectNoAddressHeld();
      });
    });

    describe("what is stored", () => {
      test("blocks, affinities and handles have the names of upstream's, in the group of the mode", async () => {
        const pod = await cluster.pod("stored");
        addresses(await cluster.cni("ADD", pod));
        const [block] = await cluster.stored("ipamblocks");
        expect(block?.metadata.name).toMatch(/^10-65-\d+-\d+-26$/);
        const [affinity] = await cluster.stored("blockaffinities");
        expect(affinity?.metadata.name).toBe(`node1-${block?.metadata.name}`);
        const [handle] = await cluster.stored("ipamhandles");
        expect(handle?.metadata.name).toBe(`k8s-pod-network.${pod.containerId}`);
        const other = mode === "v1" ? "v3" : "v1";
        await expect(cluster.server.request("GET", `/apis/${GROUP_VERSION[other]}/ipamblocks`)).rejects.toThrow("404");
        expectSuccess(await cluster.cni("DEL", pod));
      });
    });
  });
});
