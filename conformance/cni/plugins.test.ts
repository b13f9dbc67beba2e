import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { CHECKOUT, type Node, type Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Cluster, createCluster, interfaces, kubernetesArgs } from "./cluster.ts";
import { cnitool, confList, missingCnitool } from "./cnitool.ts";
import { expectError, expectNothingLeft, expectSuccess } from "./expect.ts";
import { NOTHING, remains } from "./records.ts";
import { addressesIn, faults } from "./result.ts";

const missingPlugins = ["host-local", "portmap", "bandwidth", "tuning"].every((name) =>
  existsSync(`/usr/lib/cni/${name}`),
)
  ? undefined
  : "needs Debian's containernetworking-plugins: scripts/setup installs them";

describeLab(
  "beside other CNI plugins",
  () => {
    let cluster: Cluster;
    let first: Node;
    let second: Node;
    beforeAll(async () => {
      cluster = await createCluster({ nodes: 2 });
      [first, second] = cluster.nodes as [Node, Node];
    });
    afterEach(() => cluster.clean());
    afterAll(() => cluster?.dispose());

    describe.skipIf(missingCnitool !== undefined)(
      `chained${missingCnitool ? ` (skipped: ${missingCnitool})` : ""}`,
      () => {
        test("with portmap, bandwidth and tuning: all of them work, CHECK passes, DEL takes all away", async () => {
          const pod = await first.pod("chain");
          const args = kubernetesArgs(pod);
          const capabilities = {
            portMappings: [{ hostPort: 8080, containerPort: 80, protocol: "tcp" }],
            bandwidth: {
              ingressRate: 8_000_000,
              ingressBurst: 8_000_000,
              egressRate: 8_000_000,
              egressBurst: 8_000_000,
            },
          };
          const portmap = { type: "portmap", snat: true, capabilities: { portMappings: true } };
          const others = [
            { type: "bandwidth", capabilities: { bandwidth: true } },
            { type: "tuning", sysctl: { "net.core.somaxconn": "500" } },
          ];
          const list = confList(cluster.conf(), portmap, ...others);
          const added = await cnitool.call("ADD", list, pod, args, capabilities);
          expectSuccess(added);
          const server =
            'Bun.listen({ hostname: "0.0.0.0", port: 80, socket: { open(s) { s.end("hello\\n"); }, data() {} } })';
          pod.node.start([join(CHECKOUT, "node_modules/.bin/bun"), "-e", server], {}, pod.name);
          const client = ["timeout", "1", "bash", "-c", `cat </dev/tcp/${first.address4}/8080`];
          await expect.poll(async () => (await second.exec(client)).stdout, { timeout: 10_000 }).toBe("hello\n");
          const [hostSide] = (await interfaces(first)).filter((name) => name.startsWith("cali"));
          expect(await first.run(["tc", "qdisc", "show", "dev", hostSide!])).toContain("tbf");
          expect(await pod.run(["cat", "/proc/sys/net/core/somaxconn"])).toBe("500\n");

          // Not portmap, whose CHECK (Debian's 1.1.1) looks for an IPv4 pod's rules in IPv6's tables, too.
          expectSuccess(await cnitool.call("CHECK", confList(cluster.conf(), ...others), pod, args, capabilities));
          expectSuccess(await cnitool.call("DEL", list, pod, args, capabilities));
          await expectNothingLeft(cluster);
          expect((await second.exec(client)).status).not.toBe(0);
        });

        test("a plugin after it that fails: the runtime's DEL leaves nothing", async () => {
          const pod = await first.pod("chainfail");
          const list = confList(cluster.conf(), { type: "tuning", sysctl: { "net.core.nonsense": "1" } });
          expect((await cnitool.call("ADD", list, pod)).status).toBe(1);
          expect((await cluster.records()).endpoints).toHaveLength(1);
          await cnitool.call("DEL", list, pod);
          await expectNothingLeft(cluster);
        });

        test("cnitool's GC without valid attachments takes everything of the network", async () => {
          const pods = await first.pods(["gc1", "gc2"]);
          const list = confList(cluster.conf({ cniVersion: "1.1.0" }));
          for (const pod of pods) expectSuccess(await cnitool.call("ADD", list, pod, kubernetesArgs(pod)));
          expectSuccess(await cnitool.call("GC", list, pods[0]!));
          await expectNothingLeft(cluster);
        });
      },
    );

    describe("host-local assigns", () => {
      const leases = (node: Node) =>
        readdirSync(node.path("/var/lib/cni/networks/calico-net")).filter((name) => /^[0-9a-f]+[.:]/.test(name));

      test("addresses of its subnet; the pod is wired and recorded all the same, and DEL gives the address back", async () => {
        const pod = await first.pod("local");
        const args = kubernetesArgs(pod);
        const conf = cluster.conf({ ipam: { type: "host-local", subnet: "10.88.0.0/24" } });
        const result = await pod.add(conf, { args });
        expect(faults("1.0.0", result)).toEqual([]);
        const [address] = addressesIn(result);
        expect(address).toMatch(/^10\.88\.0\./);
        await first.run(["ping", "-c1", "-W2", address!]);
        const records = await cluster.records();
        expect(records.endpoints.map(({ addresses }) => addresses)).toEqual([[address!]]);
        expect(records.held).toEqual([]);
        expect(leases(first)).toEqual([address]);
        expect(await pod.add(conf, { args })).toMatchObject({ ips: [{ address: `${address}/32` }] });
        expectSuccess(await pod.cni("CHECK", { ...conf, prevResult: result }, { args }));
        await pod.del(conf, { args });
        await pod.del(conf, { args });
        expect(leases(first)).toEqual([]);
        await expectNothingLeft(cluster);
      });

      test("both families, from ranges", async () => {
        const pod = await first.pod("localdual");
        const ranges = [[{ subnet: "10.88.1.0/24" }], [{ subnet: "fd88::/64" }]];
        const conf = cluster.conf({ ipam: { type: "host-local", ranges } });
        const addresses = addressesIn(await pod.add(conf));
        expect(addresses).toHaveLength(2);
        for (const address of addresses) await first.run(["ping", "-c1", "-W2", address]);
        await pod.del(conf);
        expect(leases(first)).toEqual([]);
        await expectNothingLeft(cluster);
      });

      test("its refusal is passed on, and nothing is left", async () => {
        const conf = cluster.conf({ ipam: { type: "host-local", subnet: "10.88.2.0/30" } });
        const pods = (await first.pods(["full1", "full2"])) as [Pod, Pod];
        await pods[0].add(conf);
        const before = remains(await cluster.records());
        expectError(await pods[1].cni("ADD", conf), undefined, /no IP addresses available|10\.88\.2/);
        expect(remains(await cluster.records())).toEqual(before);
        expect(leases(first)).toHaveLength(1);
        await pods[0].del(conf);
        await expectNothingLeft(cluster);
      });

      test("a failure after it: its address is given back", async () => {
        const pod = await first.pod("localfail");
        const conf = cluster.conf({ ipam: { type: "host-local", subnet: "10.88.3.0/24" } });
        await pod.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other"]);
        expectError(await pod.cni("ADD", conf), 106, /eth0/);
        expect(leases(first)).toEqual([]);
        await expectNothingLeft(cluster);
      });
    });

    test("calico-ipam serves a plugin that delegates to it", async () => {
      const pod = await first.pod("delegate");
      const conf = cluster.conf({ ipam: { type: "calico-ipam", assign_ipv6: "true" } });
      const attachment = { plugin: "calico-ipam", args: kubernetesArgs(pod) };
      const outcome = await pod.cni("ADD", conf, attachment);
      expectSuccess(outcome);
      const addresses = addressesIn(outcome.json);
      expect(addresses).toHaveLength(2);
      const records = await cluster.records();
      expect(records.held.map(({ address }) => address).sort()).toEqual([...addresses].sort());
      expect(records.endpoints).toEqual([]);
      expect(await interfaces(first)).toEqual([]);
      expectSuccess(await pod.cni("CHECK", { ...conf, prevResult: outcome.json }, attachment));
      expectSuccess(await pod.cni("DEL", conf, attachment));
      expectSuccess(await pod.cni("DEL", conf, attachment));
      expect(remains(await cluster.records())).toEqual(NOTHING);
    });
  },
  missingPlugins,
);
