import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { missingTool, type Node, type Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Backend, BY_AGENT, type Cluster, createCluster, interfaces, kubernetesArgs, pool } from "./cluster.ts";
import { expectError, expectNothingLeft, expectSuccess } from "./expect.ts";
import { contradictions } from "./records.ts";
import { addressesIn } from "./result.ts";

const backends: Backend[] = ["sqlite", "etcd"];
const DUAL = { ipam: { type: "calico-ipam", assign_ipv6: "true" } };

describe.each(backends)("pods on %s", (backend) => {
  describeLab(
    "kubelet's plugin",
    () => {
      let cluster: Cluster;
      let first: Node;
      let second: Node;
      beforeAll(async () => {
        cluster = await createCluster({ backend, nodes: 2 });
        [first, second] = cluster.nodes as [Node, Node];
      });
      afterEach(() => cluster.clean(["calico-net", "calico-net.2"]));
      afterAll(() => cluster?.dispose());

      const ping = (pod: Pod, address: string) => pod.run(["ping", "-c1", "-W2", address]);

      test("pods reach each other on one node and across nodes, over IPv4 and IPv6", async () => {
        const pods = [...(await first.pods(["web", "db"])), ...(await second.pods(["api"]))];
        const conf = cluster.conf(DUAL);
        const addresses = new Map<Pod, string[]>();
        for (const pod of pods) {
          addresses.set(pod, addressesIn(await pod.add(conf, { args: kubernetesArgs(pod) })));
        }
        const { blocks, affinities } = await cluster.records();
        expect(affinities.every(({ state }) => state === "confirmed")).toBe(true);
        expect(blocks.map(({ affinity }) => affinity).sort()).toEqual([
          "host:node1",
          "host:node1",
          "host:node2",
          "host:node2",
        ]);
        await cluster.lab.routeBlocks(affinities);
        for (const from of pods) {
          for (const to of pods) for (const address of addresses.get(to)!) await ping(from, address);
        }
        for (const pod of pods) await pod.del(conf, { args: kubernetesArgs(pod) });
        await expectNothingLeft(cluster);
        const after = await cluster.records();
        expect(after.affinities, "an empty block stays its node's").toHaveLength(4);
        await Promise.all(pods.map((pod) => pod.remove()));
      });

      test("ADD that is repeated answers the same and makes nothing new; it repairs what is missing", async () => {
        const pod = await first.pod("again");
        const args = kubernetesArgs(pod);
        const result = await pod.add(cluster.conf(), { args });
        const records = await cluster.records();
        expect(await pod.add(cluster.conf(), { args })).toEqual(result);
        expect(await cluster.records()).toEqual(records);
        await pod.run(["ip", "link", "delete", "eth0"]);
        expect(await pod.add(cluster.conf(), { args })).toEqual(result);
        await first.run(["ping", "-c1", "-W2", addressesIn(result)[0]!]);
        await pod.del(cluster.conf(), { args });
        await expectNothingLeft(cluster);
        await pod.remove();
      });

      test("DEL succeeds however much is gone: never added, twice, interface, record, or the namespace itself", async () => {
        const conf = cluster.conf();
        const pod = await first.pod("gone");
        const args = kubernetesArgs(pod);
        await pod.del(conf, { args });
        await pod.add(conf, { args });
        await pod.del(conf, { args });
        await pod.del(conf, { args });
        await expectNothingLeft(cluster);

        await pod.add(conf, { args });
        await pod.run(["ip", "link", "delete", "eth0"]);
        await pod.del(conf, { args });
        await expectNothingLeft(cluster);

        await pod.add(conf, { args });
        await pod.remove();
        await pod.del(conf, { args });
        await expectNothingLeft(cluster);

        const other = await first.pod("gone2");
        await other.add(conf, { args: kubernetesArgs(other) });
        await other.del(conf, { args: kubernetesArgs(other), netns: "" });
        await expectNothingLeft(cluster);
        await other.remove();
      });

      test("a late DEL of a pod's former sandbox leaves the new one alone", async () => {
        const conf = cluster.conf();
        const [old, fresh] = (await first.pods(["old", "fresh"])) as [Pod, Pod];
        const args = { ...kubernetesArgs(old), K8S_POD_NAME: "web-0" };
        await old.add(conf, { args });
        const freshArgs = { ...args, K8S_POD_INFRA_CONTAINER_ID: fresh.containerId };
        const result = await fresh.add(conf, { args: freshArgs });
        await old.del(conf, { args });
        const records = await cluster.records();
        expect(records.endpoints.map(({ addresses }) => addresses)).toEqual([addressesIn(result)]);
        expect(records.held.map(({ address }) => address)).toEqual(addressesIn(result));
        await first.run(["ping", "-c1", "-W2", addressesIn(result)[0]!]);
        await fresh.del(conf, { args: freshArgs });
        await expectNothingLeft(cluster);
        await Promise.all([old.remove(), fresh.remove()]);
      });

      test("a container without Kubernetes' names is attached under its ID", async () => {
        const pod = await first.pod("plain");
        const labels = { labels: [{ key: "app", value: "web" }] };
        const conf = cluster.conf({ args: { "org.apache.mesos": { network_info: { labels } } } });
        await pod.add(conf);
        expect(await interfaces(first)).toEqual([`cali${pod.containerId.slice(0, 11)}`]);
        const { stdout } = await cluster.calicoctl("get", "workloadendpoints", "-o", "json");
        expect(stdout).toContain('"app": "web"');
        expect(stdout).toContain('"orchestrator": "cni"');
        await pod.del(conf);
        await expectNothingLeft(cluster);
        await pod.remove();
      });

      test("an address that CNI_ARGS asks for is given, and is refused to the next one", async () => {
        const [pod, late] = (await first.pods(["wants", "late"])) as [Pod, Pod];
        const args = { ...kubernetesArgs(pod), IP: "10.65.200.7" };
        expect(addressesIn(await pod.add(cluster.conf(), { args }))).toEqual(["10.65.200.7"]);
        const refused = await late.cni("ADD", cluster.conf(), { args: { ...kubernetesArgs(late), IP: "10.65.200.7" } });
        expectError(refused, 106, /10\.65\.200\.7/);
        expect((await cluster.records()).endpoints).toHaveLength(1);
        await pod.del(cluster.conf(), { args });
        await expectNothingLeft(cluster);
        await Promise.all([pod.remove(), late.remove()]);
      });

      describe("CHECK names what is not as ADD left it", () => {
        const damages: [string, RegExp, (pod: Pod, result: unknown) => Promise<unknown>][] = [
          ["the interface is gone", /eth0/, (pod) => pod.run(["ip", "link", "delete", "eth0"])],
          ["it is down", /eth0/, (pod) => pod.run(["ip", "link", "set", "eth0", "down"])],
          [
            "an address is gone",
            /10\.65\./,
            (pod, result) => pod.run(["ip", "address", "delete", `${addressesIn(result)[0]}/32`, "dev", "eth0"]),
          ],
          ["the default route is gone", /route/, (pod) => pod.run(["ip", "route", "delete", "default"])],
          ["the MTU is another", /mtu/i, (pod) => pod.run(["ip", "link", "set", "eth0", "mtu", "1300"])],
        ];
        // An agent may put these right before anybody has looked.
        if (!BY_AGENT) {
          damages.push(
            [
              "the host's route is gone",
              /route/,
              (pod, result) => pod.node.run(["ip", "route", "delete", `${addressesIn(result)[0]}/32`]),
            ],
            [
              "a sysctl of the host's side is another",
              /proxy_arp/,
              async (pod) => {
                const [name] = await interfaces(pod.node);
                await pod.node.run(["sh", "-c", `echo 0 >/proc/sys/net/ipv4/conf/${name}/proxy_arp`]);
              },
            ],
          );
        }
        test.each(damages)("%s", async (_, message, damage) => {
          const pod = await first.pod("check");
          const args = kubernetesArgs(pod);
          const prevResult = await pod.add(cluster.conf(), { args });
          expectSuccess(await pod.cni("CHECK", cluster.conf({ prevResult }), { args }));
          await damage(pod, prevResult);
          expectError(await pod.cni("CHECK", cluster.conf({ prevResult }), { args }), 104, message);
          await pod.del(cluster.conf(), { args });
          await expectNothingLeft(cluster);
          await pod.remove();
        });

        test("the records are gone", async () => {
          const pod = await first.pod("check");
          const args = kubernetesArgs(pod);
          const prevResult = await pod.add(cluster.conf(), { args });
          const address = addressesIn(prevResult)[0]!;
          await first.run(["calico-ipam", "release", `--ip=${address}`], { env: cluster.env });
          expectError(await pod.cni("CHECK", cluster.conf({ prevResult }), { args }), 104, new RegExp(address));
          await pod.del(cluster.conf(), { args });
          await expectNothingLeft(cluster);
          await pod.remove();
        });
      });

      test("GC removes what the runtime does not name, of this network and node only", async () => {
        const conf = cluster.conf({ cniVersion: "1.1.0" });
        const otherNetwork = cluster.conf({ cniVersion: "1.1.0", name: "calico-net.2" });
        const [kept, stale, gone, foreign] = (await first.pods(["kept", "stale", "gone3", "foreign"])) as [
          Pod,
          Pod,
          Pod,
          Pod,
        ];
        const remote = await second.pod("remote");
        for (const pod of [kept, stale, gone, remote]) await pod.add(conf, { args: kubernetesArgs(pod) });
        await foreign.add(otherNetwork, { args: kubernetesArgs(foreign) });
        await gone.remove();
        await kept
          .cni("GC", {
            ...conf,
            "cni.dev/valid-attachments": [{ containerID: kept.containerId, ifname: "eth0" }],
          })
          .then(expectSuccess);
        const records = await cluster.records();
        expect(contradictions(records)).toEqual([]);
        expect([...records.handles.keys()].sort()).toEqual(
          [
            `calico-net.${kept.containerId}`,
            `calico-net.${remote.containerId}`,
            `calico-net.2.${foreign.containerId}`,
          ].sort(),
        );
        expect(records.endpoints).toHaveLength(3);
        expect(await interfaces(first)).toHaveLength(2);
        expect(await stale.run(["ip", "-brief", "link"])).not.toContain("eth0");
        for (const pod of [kept, remote]) {
          await pod.run(["ping", "-c1", "-W2", pod.node.address4]);
          await pod.cni("GC", { ...conf, "cni.dev/valid-attachments": [] }).then(expectSuccess);
        }
        await foreign.cni("GC", { ...otherNetwork, "cni.dev/valid-attachments": [] }).then(expectSuccess);
        await expectNothingLeft(cluster);
        await Promise.all([kept, stale, foreign, remote].map((pod) => pod.remove()));
      });

      test("STATUS says when an ADD could not be served", async () => {
        const pod = await first.pod("status");
        const conf = cluster.conf({ cniVersion: "1.1.0" });
        const none = { containerId: "", netns: "", ifName: "" };
        expectSuccess(await pod.cni("STATUS", conf, none));
        const ipam = { type: "calico-ipam", ipv4_pools: ["nowhere"] };
        expectError(await pod.cni("STATUS", { ...conf, ipam }, none), 50, /pool/);
        expectError(await pod.cni("STATUS", { ...conf, nodename_file: "/none" }, none), 50, /\/none/);
        const readiness_gates = [`http://${cluster.lab.underlay4}:9/ready`];
        expectError(await pod.cni("STATUS", { ...conf, readiness_gates }, none), 51, /:9\/ready/);
        await pod.remove();
      });

      test("a pool that is made, disabled and enabled counts at once", async () => {
        const pod = await first.pod("pools");
        const args = kubernetesArgs(pod);
        const conf = cluster.conf({ ipam: { type: "calico-ipam", ipv4_pools: ["late"] } });
        expectError(await pod.cni("ADD", conf, { args }), 102, /late/);
        await cluster.apply(pool("late", "10.77.0.0/24", { blockSize: 29 }));
        expect(addressesIn(await pod.add(conf, { args }))[0]).toMatch(/^10\.77\.0\./);
        await pod.del(conf, { args });
        await cluster.apply(pool("late", "10.77.0.0/24", { blockSize: 29, disabled: true }));
        expectError(await pod.cni("ADD", conf, { args }), 102, /late/);
        await expectNothingLeft(cluster);
        await pod.remove();
      });
    },
    backend === "etcd" ? (missingTool("etcd") ?? missingTool("etcdctl")) : undefined,
  );
});
