import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IPPool } from "../api/ippool.ts";
import { IPReservation } from "../api/ipreservation.ts";
import { API_VERSION } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { type Invocation, NO_DNS, type Result, runPlugin } from "../cni/index.ts";
import { createIpam } from "../ipam/index.ts";
import { describeAsRoot } from "../sys/testing.ts";
import { assignForCaller, checkForCaller, collectForCaller, releaseForCaller } from "./ipam-plugin.ts";
import { type CallOptions, failureOf, makeIpamPlugin, makeSite, type Site } from "./testing.ts";

const HOST_LOCAL = "/usr/lib/cni/host-local";

describeAsRoot("an attachment", () => {
  let site: Site;
  beforeEach(async () => {
    site = await makeSite("sqlite");
    await site.makePool("pool4", "10.77.0.0/16");
    await site.makePool("pool6", "fd77::/64");
  });
  afterEach(async () => {
    await site.client.close();
    site[Symbol.dispose]();
  });
  const dual = { ipam: { type: "calico-ipam", assign_ipv6: "true" } };

  describe("is deleted", () => {
    it("when its namespace is gone", async () => {
      const pod = site.anotherPod();
      await site.add({ netns: pod.path, config: dual });
      pod.dispose();
      await site.del({ netns: pod.path, config: dual });
      expect(await site.traces()).toEqual([]);
    });

    it("without CNI_NETNS", async () => {
      await site.add({ config: dual });
      await site.del({ netns: "", config: dual });
      expect(await site.traces()).toEqual([]);
    });

    it("twice, and when it never was", async () => {
      await site.add();
      await site.del();
      await site.del();
      await site.del({ container: "never-was" });
      expect(await site.traces()).toEqual([]);
    });

    it("when its interface is gone, or its record, or its address", async () => {
      const { ips } = await site.add();
      site.host.exec("ip", "link", "del", "cali0123456789a");
      await site.del();
      expect(await site.traces()).toEqual([]);

      await site.add();
      const { items } = await site.client.list(WorkloadEndpoint);
      await site.client.delete(WorkloadEndpoint, items[0]!.metadata as never);
      await site.del();
      expect(await site.traces()).toEqual([]);

      await site.add();
      await createIpam(site.client).releaseByHandle("net1.0123456789abcdef");
      await site.del();
      expect(await site.traces()).toEqual([]);
      expect(ips).toHaveLength(1);
    });

    it("when CNI_NETNS leads to the host by now", async () => {
      await site.add();
      await site.del({ netns: site.host.path });
      expect(await site.traces()).toEqual([]);
    });

    it("with the handle that very old versions used", async () => {
      await createIpam(site.client).autoAssign({ num4: 1, host: "node-1", handle: "old-one", use: "Workload" });
      await site.del({ container: "old-one" });
      expect(await site.traces()).toEqual([]);
    });

    it("though somebody else wrote other profiles on its endpoint", async () => {
      await site.add();
      const [endpoint] = (await site.client.list(WorkloadEndpoint)).items;
      await site.client.update(WorkloadEndpoint, { ...endpoint!, spec: { ...endpoint!.spec, profiles: ["edited"] } });
      await site.del();
      expect(await site.traces()).toEqual([]);
    });

    it("with its own node's name in the configuration needs no nodename file", async () => {
      await site.add();
      await site.del({ config: { nodename_file_optional: false } });
      expect(await site.traces()).toEqual([]);
    });
  });

  describe("is checked", () => {
    let result: Result;
    beforeEach(async () => {
      result = await site.add({ config: dual });
      await site.check(result, { config: dual });
    });
    const problem = async (options: CallOptions = {}): Promise<string> => {
      const error = await failureOf(site.check(result, { ...options, config: { ...dual, ...options.config } }));
      expect(error.code).toBe(104);
      return error.details;
    };

    it("against a missing address", async () => {
      site.pod.exec("ip", "addr", "del", result.ips[0]!.address, "dev", "eth0");
      expect(await problem()).toContain(result.ips[0]!.address.replace("/32", ""));
    });

    it("against a missing route in the pod, and on the host", async () => {
      site.pod.exec("ip", "route", "del", "default");
      expect(await problem()).toContain("0.0.0.0/0");
      site.host.exec("ip", "route", "del", result.ips[0]!.address);
      expect(await problem()).toContain(result.ips[0]!.address.replace("/32", ""));
    });

    it("against an interface that is down", async () => {
      site.host.exec("ip", "link", "set", "cali0123456789a", "down");
      expect(await problem()).toContain("cali0123456789a");
    });

    it("against a setting", async () => {
      site.host.exec("sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/cali0123456789a/proxy_arp");
      expect(await problem()).toContain("proxy_arp");
    });

    it("against another MAC and another MTU", async () => {
      site.pod.exec("ip", "link", "set", "eth0", "mtu", "1300");
      expect(await problem()).toContain("1300");
    });

    it("against a missing interface and a missing namespace", async () => {
      site.host.exec("ip", "link", "del", "cali0123456789a");
      expect(await problem()).toContain("eth0");
      expect(await problem({ netns: "/run/netns/none-such" })).toContain("none-such");
    });

    it("against a missing record, and one with other addresses", async () => {
      const [endpoint] = (await site.client.list(WorkloadEndpoint)).items;
      await site.client.update(WorkloadEndpoint, {
        ...endpoint!,
        spec: { ...endpoint!.spec, ipNetworks: ["10.9.9.9/32"] },
      });
      expect(await problem()).toContain("10.9.9.9/32");
      await site.client.delete(WorkloadEndpoint, endpoint!.metadata as never);
      expect(await problem()).toContain("WorkloadEndpoint");
    });

    it("against an address that is not assigned to it", async () => {
      await createIpam(site.client).releaseByHandle("net1.0123456789abcdef");
      expect(await problem()).toContain("net1.0123456789abcdef");
    });

    it("and accepts what a plugin after it changed and said so", async () => {
      site.pod.exec("ip", "link", "set", "eth0", "mtu", "1300");
      site.pod.exec("ip", "link", "set", "eth0", "address", "02:00:00:00:00:77");
      const [hostSide, podSide] = result.interfaces;
      const changed = { ...result, interfaces: [hostSide!, { ...podSide!, mac: "02:00:00:00:00:77" }] };
      const error = await failureOf(site.check(changed, { config: dual }));
      // The MTU is wrong as long as the result does not say it; the MAC is right.
      expect(error.details).not.toContain("MAC");
    });

    it("only with a prevResult that has its interface", async () => {
      const { checkAttachment } = await import("./check.ts");
      expect((await failureOf(checkAttachment(site.call("CHECK"), site.machine))).message).toContain("prevResult");
      const error = await failureOf(site.check({ ...result, interfaces: [] }, { config: dual }));
      expect(error.message).toContain("prevResult.interfaces");
    });
  });

  describe("is collected", () => {
    const attach = async (container: string, options: CallOptions = {}): Promise<void> => {
      await site.add({ container, netns: site.anotherPod().path, ...options });
    };
    const handles = async (): Promise<string[]> =>
      (await site.traces()).filter((trace) => trace.startsWith("handle")).map((trace) => trace.slice(7));

    it("unless the runtime names it, or it is another network's or another node's", async () => {
      await attach("valid");
      await attach("stale-a", { config: dual });
      await attach("stale-b", { args: "K8S_POD_NAMESPACE=a;K8S_POD_NAME=b" });
      await attach("other-net", { config: { name: "net2" } });
      await attach("other-node", { config: { nodename: "node-2" } });
      const ipam = createIpam(site.client);
      const tunnel = { node: "node-1", type: "vxlanTunnelAddress" };
      await ipam.autoAssign({ num4: 1, host: "node-1", handle: "net1.tunnel", use: "Tunnel", attributes: tunnel });
      await site.gc([{ containerID: "valid", ifname: "eth0" }], { config: dual });
      expect((await handles()).sort()).toEqual(["net1.other-node", "net1.tunnel", "net1.valid", "net2.other-net"]);
      const links = (await site.traces()).filter((trace) => trace.startsWith("interface"));
      // The other node shares this host in the test; its interface is marked as of this network, and in no list.
      expect(links.sort()).toEqual(["interface calivalid", "interface caliother-net"].sort());
      const left = (await site.client.list(WorkloadEndpoint)).items.map(({ spec }) => spec.containerID);
      expect(left.sort()).toEqual(["other-net", "other-node", "valid"]);
    });

    it("by interface, but its addresses stay while its container has another attachment", async () => {
      await attach("two");
      await site.gc([{ containerID: "two", ifname: "eth1" }]);
      expect(await handles()).toEqual(["net1.two"]);
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("though its namespace, its record or its interface is gone", async () => {
      for (const container of ["a", "b", "c"]) await attach(container);
      site.host.exec("ip", "link", "del", "calia");
      const endpoints = (await site.client.list(WorkloadEndpoint)).items;
      await site.client.delete(WorkloadEndpoint, endpoints[1]!.metadata as never);
      await createIpam(site.client).releaseByHandle("net1.c");
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("where nothing is, without complaint", async () => {
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("with its addresses at another plugin, which is asked to collect too", async () => {
      const calls = makeIpamPlugin(site.folder, "other-ipam", {
        cniVersion: "1.0.0",
        ips: [{ address: "10.5.0.9/24" }],
      });
      const config = { ipam: { type: "other-ipam" } };
      await attach("x", { config });
      await site.gc([], { config });
      expect(await site.traces()).toEqual([]);
      expect(calls().at(-1)).toMatch(/^GC/);
    });
  });

  describe("STATUS", () => {
    it("is silent when all is well", async () => {
      await site.status({ config: dual });
    });

    it.each([
      ["no pool that may be used", { disabled: true }],
      ["a pool for other uses only", { allowedUses: ["Tunnel"] }],
    ])("is 50 with %s", async (_name, change) => {
      for (const pool of (await site.client.list(IPPool)).items) {
        await site.client.update(IPPool, { ...pool, spec: { ...pool.spec, ...change } } as IPPool);
      }
      const error = await failureOf(site.status());
      expect(error.code).toBe(50);
      expect(error.message).toContain("IPv4");
    });

    it("is 50 where pods wait for their policy, until the agent has enforced one since the node started", async () => {
      const folder = join(site.machine.files.endpointStatus, "fresh");
      const config = { policy_setup_timeout_seconds: 5, endpoint_status_dir: folder };
      const error = await failureOf(site.status({ config }));
      expect(error.code).toBe(50);
      expect(error.details).toContain(folder);
      mkdirSync(folder, { recursive: true });
      await site.status({ config });
    });

    it("is 50 when the pool is full", async () => {
      await site.makePool("tiny", "10.9.0.0/30", { blockSize: 30 });
      const config = { ipam: { type: "calico-ipam", ipv4_pools: ["tiny"] } };
      await site.status({ config });
      await createIpam(site.client).autoAssign({
        num4: 4,
        host: "node-1",
        handle: "h",
        use: "Workload",
        pools4: ["tiny"],
      });
      const error = await failureOf(site.status({ config }));
      expect(error.code).toBe(50);
      expect(error.message).toContain("tiny");
    });

    it("reads no more when other nodes have more blocks", async () => {
      const other = await makeSite();
      try {
        await other.makePool("pool4", "10.77.0.0/16");
        const ipam = createIpam(other.client);
        const read = async (): Promise<string[]> => {
          const keys: string[] = [];
          other.hook = (operation) => void keys.push(...operation.keys);
          await other.status();
          other.hook = undefined;
          return keys;
        };
        const request = { num4: 1, use: "Workload" } as const;
        const empty = await read();
        for (let node = 0; node < 30; node++) await ipam.autoAssign({ ...request, host: `other-${node}` });
        expect(await read()).toEqual(empty);
        await ipam.autoAssign({ ...request, host: "node-1" });
        const own = await read();
        for (let node = 30; node < 60; node++) await ipam.autoAssign({ ...request, host: `other-${node}` });
        expect(await read()).toEqual(own);
        // A list of all blocks is one read from where they begin; GC makes one.
        const listing: string[] = [];
        other.hook = ({ keys }) => void listing.push(...keys.filter((key) => key.includes("/assignment/")));
        await other.gc([]);
        expect(listing.length).toBeGreaterThan(0);
        expect([...empty, ...own].filter((key) => listing.includes(key))).toEqual([]);
      } finally {
        other[Symbol.dispose]();
      }
    });

    it("counts where places for blocks are scarce or addresses are reserved", async () => {
      await site.makePool("small", "10.9.0.0/29", { blockSize: 30 });
      const config = { ipam: { type: "calico-ipam", ipv4_pools: ["small"] } };
      const ipam = createIpam(site.client);
      for (const host of ["a", "b"])
        await ipam.autoAssign({ num4: 1, host, handle: host, use: "Workload", pools4: ["small"] });
      // All blocks are others', which have free addresses that can be borrowed.
      await site.status({ config });
      const reservation = { apiVersion: API_VERSION, kind: "IPReservation", metadata: { name: "r" } } as const;
      await site.client.create(IPReservation, { ...reservation, spec: { reservedCIDRs: ["10.9.0.0/29"] } });
      expect((await failureOf(site.status({ config }))).code).toBe(50);
    });

    it("is 50 when no pool selects this node, as far as the node's labels say", async () => {
      for (const pool of (await site.client.list(IPPool)).items) {
        await site.client.update(IPPool, { ...pool, spec: { ...pool.spec, nodeSelector: "rack == 'a'" } });
      }
      const error = await failureOf(site.status());
      expect(error.code).toBe(50);
      expect(error.message).toContain("rack == 'a'");
      const labels = { rack: "a" };
      const node = { apiVersion: API_VERSION, kind: "Node", metadata: { name: "node-1", labels }, spec: {} } as const;
      await site.client.create(Node, node);
      await site.status();
      // A pool that is asked for by name is used whatever it selects.
      await site.client.delete(Node, { name: "node-1" });
      await site.status({ config: { ipam: { type: "calico-ipam", ipv4_pools: ["pool4"] } } });
    });

    it("is 50 when this node may have no further block and its own are full, and while it may not borrow", async () => {
      await site.makePool("small", "10.9.0.0/28", { blockSize: 30 });
      const config = { ipam: { type: "calico-ipam", ipv4_pools: ["small"] } };
      const ipam = createIpam(site.client);
      const take = (num4: number, host: string) =>
        ipam.autoAssign({ num4, host, handle: host, use: "Workload", pools4: ["small"] });
      await take(4, "node-1");
      await site.status({ config });
      await ipam.configure({ strictAffinity: true, maxBlocksPerHost: 1 });
      const limited = await failureOf(site.status({ config }));
      expect(limited).toMatchObject({ code: 50, message: expect.stringContaining("maxBlocksPerHost") });
      await ipam.configure({ maxBlocksPerHost: 0, autoAllocateBlocks: false });
      const fixed = await failureOf(site.status({ config }));
      expect(fixed).toMatchObject({ code: 50, message: expect.stringContaining("autoAllocateBlocks") });
      await ipam.configure({ autoAllocateBlocks: true });
      await site.status({ config });
      for (const host of ["a", "b", "c"]) await take(1, host);
      const strict = await failureOf(site.status({ config }));
      expect(strict).toMatchObject({ code: 50, message: expect.stringContaining("strictAffinity") });
      await ipam.configure({ strictAffinity: false });
      await site.status({ config });
    });

    it("writes nothing, whatever it finds", async () => {
      const other = await makeSite();
      try {
        await other.makePool("pool4", "10.77.0.0/29", { blockSize: 30 });
        const ipam = createIpam(other.client);
        await ipam.claimAffinity("10.77.0.0/30", { type: "host", name: "old" });
        await ipam.claimAffinity("10.77.0.4/30", { type: "host", name: "older" });
        const writes: unknown[] = [];
        other.hook = (operation) => void (operation.type === "read" || writes.push(operation));
        const { revision } = other.data;
        await other.status();
        expect(other.data.revision).toBe(revision);
        expect(writes).toEqual([]);
      } finally {
        other[Symbol.dispose]();
      }
    });

    it("is 50 when the datastore is down, or the node's name is not known", async () => {
      const down = await failureOf(
        site.status({ config: { datastore_type: "etcdv3", etcd_endpoints: "http://127.0.0.1:1" } }),
      );
      expect(down.code).toBe(50);
      expect(down.message).toContain("127.0.0.1:1");
      const unknown = await failureOf(site.status({ config: { nodename: "", nodename_file_optional: false } }));
      expect(unknown.code).toBe(50);
      expect(unknown.message).toContain("nodename");
    });

    it("is 51 when a readiness gate is not ready", async () => {
      const error = await failureOf(site.status({ config: { readiness_gates: ["http://127.0.0.1:1/ready"] } }));
      expect(error.code).toBe(51);
      expect(error.message).toContain("http://127.0.0.1:1/ready");
    });
  });

  describe("with another IPAM plugin", () => {
    it("takes its addresses as /32, drops its gateways, keeps its routes, and calls it for every verb", async () => {
      const calls = makeIpamPlugin(site.folder, "other-ipam", {
        cniVersion: "0.4.0",
        ips: [{ version: "4", address: "10.5.0.9/24", gateway: "10.5.0.1" }],
        routes: [{ dst: "0.0.0.0/0", gw: "10.5.0.1" }],
        dns: { nameservers: ["10.5.0.2"] },
      });
      const config = { ipam: { type: "other-ipam" } };
      const result = await site.add({ config });
      expect(result).toMatchObject({
        ips: [{ address: "10.5.0.9/32", interface: 1 }],
        routes: [{ dst: "0.0.0.0/0", gw: "10.5.0.1" }],
        dns: { nameservers: ["10.5.0.2"] },
      });
      expect(result.ips[0]).not.toHaveProperty("gateway");
      await site.check(result, { config });
      const again = await site.add({ config });
      expect(again.ips).toEqual(result.ips);
      await site.status({ config });
      await site.del({ config });
      expect(await site.traces()).toEqual([]);
      expect(calls().map((line) => line.split(" ")[0])).toEqual(["ADD", "CHECK", "STATUS", "DEL"]);
      expect(calls()[0]).toContain("IgnoreUnknown=1");
    });

    it("gives back what it got when the interface cannot be made", async () => {
      const calls = makeIpamPlugin(site.folder, "other-ipam", {
        cniVersion: "1.0.0",
        ips: [{ address: "10.5.0.9/24" }],
      });
      site.pod.exec("ip", "link", "add", "eth0", "type", "bridge");
      const error = await failureOf(site.add({ config: { ipam: { type: "other-ipam" } } }));
      expect(error.code).toBe(106);
      expect(calls().map((line) => line.split(" ")[0])).toEqual(["ADD", "DEL"]);
      expect(await site.traces()).toEqual([]);
    });

    it.each<[string, object]>([
      ["no addresses", { cniVersion: "1.0.0" }],
      ["an address that is none", { cniVersion: "1.0.0", ips: [{ address: "ten" }] }],
    ])("that answers with %s fails, and leaves nothing", async (_name, answer) => {
      const calls = makeIpamPlugin(site.folder, "other-ipam", answer);
      await failureOf(site.add({ config: { ipam: { type: "other-ipam" } } }));
      expect(calls().at(-1)).toMatch(/^DEL/);
      expect(await site.traces()).toEqual([]);
    });

    it("that does not exist is named", async () => {
      const error = await failureOf(site.add({ config: { ipam: { type: "no-such-ipam" } } }));
      expect(error.message).toContain("no-such-ipam");
      expect(await site.traces()).toEqual([]);
    });

    it("refuses usePodCidr, which needs Kubernetes, and deletes in spite of it", async () => {
      makeIpamPlugin(site.folder, "host-local", {});
      const config = { ipam: { type: "host-local", subnet: "usePodCidr" } };
      expect((await failureOf(site.add({ config }))).message).toContain("usePodCidr");
      await site.del({ config });
    });

    const itWithHostLocal = existsSync(HOST_LOCAL) ? it : it.skip;
    itWithHostLocal(
      `works with Debian's host-local${existsSync(HOST_LOCAL) ? "" : " [skipped: it is not installed]"}`,
      async () => {
        const config = {
          cniVersion: "1.0.0",
          ipam: {
            type: "host-local",
            dataDir: join(site.folder, "host-local-data"),
            ranges: [[{ subnet: "10.5.0.0/24" }], [{ subnet: "fd05::/112" }]],
            routes: [{ dst: "0.0.0.0/0" }],
          },
        };
        const options = { config, env: { CNI_PATH: "/usr/lib/cni" } };
        const result = await site.add(options);
        expect(result.ips).toEqual([
          { address: "10.5.0.2/32", interface: 1 },
          { address: "fd05::2/128", interface: 1 },
        ]);
        expect(await site.add(options)).toEqual(result);
        await site.check(result, options);
        expect(existsSync(join(site.folder, "host-local-data", "net1", "10.5.0.2"))).toBe(true);
        await site.del(options);
        expect(existsSync(join(site.folder, "host-local-data", "net1", "10.5.0.2"))).toBe(false);
        expect(await site.traces()).toEqual([]);
      },
    );
  });

  describe("of another plugin that asks calico-ipam", () => {
    it("gets addresses with the length of their blocks, and a route each", async () => {
      const result = await assignForCaller(site.call("ADD", { config: dual }), site.machine);
      expect(result.ips.map(({ address }) => address)).toEqual([
        expect.stringMatching(/^10\.77\..*\/26$/),
        expect.stringMatching(/^fd77:.*\/122$/),
      ]);
      expect(result.routes.map(({ dst }) => dst)).toEqual(result.ips.map(({ address }) => address));
      await releaseForCaller(site.call("DEL", { config: dual }), site.machine);
      expect(await site.traces()).toEqual([]);
    });

    it("gets the address that it asks for", async () => {
      const { ips } = await assignForCaller(site.call("ADD", { args: "IP=10.77.1.2" }), site.machine);
      expect(ips).toEqual([{ address: "10.77.1.2/32" }]);
      await releaseForCaller(site.call("DEL"), site.machine);
      expect(await site.traces()).toEqual([]);
    });

    it("gets different addresses for two interfaces, and is checked by its handle", async () => {
      const first = await assignForCaller(site.call("ADD"), site.machine);
      const second = await assignForCaller(site.call("ADD", { ifName: "eth1" }), site.machine);
      expect(second.ips[0]!.address).not.toBe(first.ips[0]!.address);
      const prevResult = { cniVersion: "1.1.0", ips: first.ips };
      await checkForCaller(site.call("CHECK", { config: { prevResult } }), site.machine);
      await releaseForCaller(site.call("DEL"), site.machine);
      const error = await failureOf(checkForCaller(site.call("CHECK", { config: { prevResult } }), site.machine));
      expect(error.code).toBe(104);
    });

    it("is collected unless it is named", async () => {
      await assignForCaller(site.call("ADD", { container: "a" }), site.machine);
      await assignForCaller(site.call("ADD", { container: "b" }), site.machine);
      await assignForCaller(site.call("ADD", { container: "c", config: { name: "net2" } }), site.machine);
      const valid = [{ containerID: "a", ifname: "eth0" }];
      await collectForCaller(site.call("GC", { config: { "cni.dev/valid-attachments": valid } }), site.machine);
      const left = (await site.traces()).filter((trace) => trace.startsWith("handle"));
      expect(left.sort()).toEqual(["handle net1.a", "handle net2.c"]);
    });
  });

  it("is made in a datastore file that is made, and only by ADD", async () => {
    const file = join(site.folder, "away", "datastore.db");
    const config = { datastore_file: file };
    const prevResult = {
      ips: [{ address: "10.77.0.1/32", interface: 0 }],
      interfaces: [{ name: "eth0", sandbox: "x" }],
    };
    const verbs: [string, () => Promise<unknown>][] = [
      ["DEL", () => site.del({ config })],
      ["GC", () => site.gc([], { config })],
      ["CHECK", () => site.check({ ...prevResult, routes: [], dns: NO_DNS } as unknown as Result, { config })],
      ["calico-ipam DEL", () => releaseForCaller(site.call("DEL", { config }), site.machine)],
      ["-t", async () => (await import("./status.ts")).testDatastore(site.call("STATUS", { config }), site.machine)],
    ];
    for (const [verb, run] of verbs) {
      const error = await failureOf(run());
      expect(`${verb} ${error.code} ${error.message}`).toMatch(`${verb} 11 `);
      expect(error.message).toContain(file);
    }
    const error = await failureOf(site.status({ config }));
    expect(`${error.code} ${error.message}`).toMatch(/^50 .*away/);
    expect(existsSync(join(site.folder, "away"))).toBe(false);
    // It has no pool yet, but it is there.
    expect((await failureOf(site.add({ config }))).code).toBe(102);
    await site.del({ config });
  });

  it("is logged where the configuration says, without secrets, and errors with what stands behind them", async () => {
    const { pluginOf } = await import("./serve.ts");
    const { attachLogger } = await import("./log.ts");
    const { addAttachment } = await import("./add.ts");
    const file = join(site.folder, "logs", "cni.log");
    const serve = async (config: Record<string, unknown>, add = addAttachment): Promise<string> => {
      let printed = "";
      const call = site.call("ADD", {
        config: { log_file_path: file, policy: { k8s_auth_token: "SECRET" }, ...config },
      });
      const verbs = { add } as unknown as Parameters<typeof pluginOf>[0];
      const makeHost = ({ config: parsed }: Invocation) => ({ ...site.machine, log: attachLogger(parsed) });
      await runPlugin(pluginOf(verbs, "cni-plugin", makeHost), {
        env: call.env,
        readStdin: () => call.stdin,
        stdout: (text) => {
          printed += text;
        },
      });
      return printed;
    };
    await serve({ log_level: "error" });
    expect(existsSync(file)).toBe(false);
    await serve({ log_level: "info" });
    expect(readFileSync(file, "utf8")).toMatch(/\[INFO\]\[\d+\] cni-plugin: attached container="0123456789abcdef"/);
    const answer = await serve({ log_level: "error" }, () => Promise.reject(new TypeError("defect")));
    expect(JSON.parse(answer)).toMatchObject({ code: 999 });
    expect(readFileSync(file, "utf8")).toContain("ADD failed: defect");
    expect(readFileSync(file, "utf8")).not.toContain("at ");
    appendFileSync(file, "x".repeat(1_100_000));
    await serve({ log_level: "info", log_file_max_size: 1, log_file_max_count: 1, log_file_max_age: 1 });
    expect(existsSync(`${file}.1`)).toBe(true);
    expect(readFileSync(file, "utf8") + readFileSync(`${file}.1`, "utf8")).not.toContain("SECRET");
  });

  it("takes its node's name and MTU from where upstream's plugin does", async () => {
    const { readMtu, readNodename } = await import("./settings.ts");
    const name = (config: Record<string, unknown>): string =>
      readNodename(site.call("ADD", { config: { nodename: "", ...config } }).config, site.machine);
    const mtu = (config: Record<string, unknown> = {}): number =>
      readMtu(site.call("ADD", { config }).config, site.machine);
    expect(name({})).toBe("the-machine");
    expect(name({ hostname: "deprecated" })).toBe("deprecated");
    expect(() => name({ nodename_file_optional: false })).toThrow(site.machine.files.nodename);
    writeFileSync(site.machine.files.nodename, "from-file\n");
    expect(name({ hostname: "deprecated", nodename_file_optional: false })).toBe("from-file");
    const other = join(site.folder, "other-name");
    writeFileSync(other, "from-other-file");
    expect(name({ nodename_file: other })).toBe("from-other-file");
    expect(name({ nodename: "given", nodename_file: other })).toBe("given");
    expect(() => name({ nodename: "given", nodename_file: "/none/such", nodename_file_optional: false })).toThrow(
      "/none/such",
    );
    expect(() => name({ nodename: "a/b" })).toThrow("node's name");

    expect(mtu()).toBe(1500);
    expect(() => mtu({ require_mtu_file: true })).toThrow("require_mtu_file");
    writeFileSync(site.machine.files.mtu, "1440\n");
    expect([mtu(), mtu({ require_mtu_file: true }), mtu({ mtu: 1300 })]).toEqual([1440, 1440, 1300]);
    writeFileSync(site.machine.files.mtu, "many");
    expect(() => mtu()).toThrow(site.machine.files.mtu);
  });
});
