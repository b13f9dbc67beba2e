import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { createIpam } from "../ipam/index.ts";
import { linkSet, openNetlink, pairAdd } from "../netlink/index.ts";
import { openNamespace } from "../sys/index.ts";
import { describeAsRoot } from "../sys/testing.ts";
import { collectForCaller, releaseForCaller } from "./ipam-plugin.ts";
import { failureOf, makeSite, type Site } from "./testing.ts";

const CONTAINER = "0123456789abcdef";
const LINK = "cali0123456789a";
/** The group that lib/veth makes interfaces in until they are marked. */
const UNFINISHED = 0xca11de2;

describeAsRoot("whose an attachment is", () => {
  let site: Site;
  beforeEach(async () => {
    site = await makeSite();
    await site.makePool("pool4", "10.77.0.0/16");
  });
  afterEach(() => site[Symbol.dispose]());

  const endpoint = async (): Promise<WorkloadEndpoint> => (await site.client.list(WorkloadEndpoint)).items[0]!;
  const edit = async (spec: object): Promise<void> => {
    const before = await endpoint();
    await site.client.update(WorkloadEndpoint, { ...before, spec: { ...before.spec, ...spec } });
  };
  const profiles = async () => (await endpoint()).spec.profiles;
  const net2 = { config: { name: "net2" } };
  const links = (): string => site.host.exec("ip", "-o", "link");
  const addresses = async (): Promise<string[]> => (await site.traces()).filter((trace) => trace.startsWith("address"));
  /** As another Calico leaves it: without a mark. */
  const unmark = (): void => {
    using host = openNetlink(site.host.namespace);
    host.execute([linkSet({ name: LINK }, { alias: "" })]);
    expect(site.host.exec("ip", "-d", "link", "show", LINK)).not.toContain("alias");
  };
  const loseHandle = async (handle: string): Promise<void> => {
    await site.client.delete(IPAMHandle, ipamHandleRef(handle));
    expect(await addresses()).toHaveLength(1);
  };

  describe("is said by the interface's mark, not by the order of profiles", () => {
    it("so the network that made it repeats its ADD and deletes it, though it is not the first", async () => {
      const first = await site.add();
      await site.add(net2);
      await edit({ profiles: ["net2", "net1"] });
      expect(await site.add()).toEqual(first);
      await site.check(first);
      await site.del();
      expect(await site.traces()).toEqual([]);
    });

    it("so a second network takes only its profile back, though it is the first", async () => {
      const first = await site.add();
      await site.add(net2);
      await edit({ profiles: ["net2", "net1"] });
      const second = await site.add(net2);
      await site.check(second, net2);
      await site.del(net2);
      expect(await profiles()).toEqual(["net1"]);
      await site.check(first);
    });

    it("so a second network is refused while the first one's interface is not there", async () => {
      await site.add();
      site.host.exec("ip", "link", "del", LINK);
      const error = await failureOf(site.add(net2));
      expect(error.code).toBe(11);
      expect(error.message).toContain(LINK);
      expect(await profiles()).toEqual(["net1"]);
    });

    it("so without an interface any network's DEL removes the record", async () => {
      await site.add();
      site.host.exec("ip", "link", "del", LINK);
      await site.del(net2);
      expect(await endpoint()).toBeUndefined();
      await site.del();
      expect(await site.traces()).toEqual([]);
    });
  });

  describe("without a mark, because another Calico made it, is said by record and route:", () => {
    beforeEach(async () => {
      await site.add();
      unmark();
    });

    it("CHECK finds nothing, and a repeated ADD changes nothing", async () => {
      const before = site.pod.exec("ip", "-o", "link", "show", "eth0");
      const result = await site.add();
      expect(site.pod.exec("ip", "-o", "link", "show", "eth0")).toBe(before);
      await site.check(result);
    });

    it("DEL removes it without the namespace", async () => {
      await site.del({ netns: "" });
      expect(await site.traces()).toEqual([]);
    });

    it("a second network shares it, and takes only its profile back", async () => {
      await site.add(net2);
      expect(await profiles()).toEqual(["net1", "net2"]);
      await site.del(net2);
      expect(await profiles()).toEqual(["net1"]);
      expect(links()).toContain(LINK);
    });

    it("GC removes it", async () => {
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("GC leaves one that is valid", async () => {
      await site.gc([{ containerID: CONTAINER, ifname: "eth0" }]);
      expect(links()).toContain(LINK);
    });

    it("GC leaves one that no route proves, and its record and address, and says so", async () => {
      const { ipNetworks } = (await endpoint()).spec;
      site.host.exec("ip", "route", "del", ipNetworks![0]!);
      const before = await site.traces();
      const error = await failureOf(site.gc([]));
      expect(error.code).toBe(105);
      expect(error.details).toContain(LINK);
      expect(await site.traces()).toEqual(before);
    });
  });

  it("without a mark, a pod's new sandbox replaces it", async () => {
    const args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx";
    await site.add({ args });
    using host = openNetlink(site.host.namespace);
    host.execute([linkSet({ name: "calic440f455693" }, { alias: "" })]);
    const options = { args, container: "newer", netns: site.anotherPod().path };
    await site.check(await site.add(options), options);
  });

  describe("of an interface that was made and not yet marked", () => {
    const makeUnfinished = (): void => {
      using pod = openNamespace(site.pod.path);
      using host = openNetlink(site.host.namespace);
      host.execute([
        pairAdd({
          kind: "veth",
          name: LINK,
          peerName: "eth0",
          peerNetnsFd: pod.fd,
          mtu: 1500,
          queues: 1,
          group: UNFINISHED,
        }),
      ]);
    };
    const withRecord = async (): Promise<void> => {
      await site.add();
      site.host.exec("ip", "link", "del", LINK);
      makeUnfinished();
    };

    it.each(["given", ""])("is said to DEL by its record, with the namespace %j", async (netns) => {
      await withRecord();
      await site.del(netns === "" ? { netns } : {});
      expect(await site.traces()).toEqual([]);
    });

    it("is said to DEL by the pod that it leads to, without a record", async () => {
      makeUnfinished();
      await site.del();
      expect(await site.traces()).toEqual([]);
    });

    it("is said to GC by a record that is garbage", async () => {
      await withRecord();
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("is not known to GC without a record, or with a valid one", async () => {
      makeUnfinished();
      await site.gc([]);
      expect(links()).toContain(LINK);
      await site.del();
      await withRecord();
      await site.gc([{ containerID: CONTAINER, ifname: "eth0" }]);
      expect(links()).toContain(LINK);
    });

    it("is a finding of CHECK, and a repeated ADD makes it anew", async () => {
      const result = await site.add();
      site.host.exec("ip", "link", "del", LINK);
      makeUnfinished();
      expect((await failureOf(site.check(result))).details).toContain("unfinished");
      await site.check(await site.add());
    });
  });

  it("is found by GC though the names are too long for the mark", async () => {
    const options = { container: "c".repeat(180), config: { name: "n".repeat(60) } };
    await site.add(options);
    expect(site.host.exec("ip", "-d", "link", "show", "calicccccccccccc".slice(0, 15))).toContain("calico:#");
    await site.gc([{ containerID: options.container, ifname: "eth0" }], options);
    expect(links()).toContain("caliccc");
    await site.gc([], options);
    expect(await site.traces()).toEqual([]);
  });

  it("is found by GC though the names are too long for the mark and the record is gone", async () => {
    const [ours, theirs] = ["n".repeat(60), "m".repeat(60)];
    const attach = (name: string, container: string) =>
      site.add({ config: { name }, container, netns: site.anotherPod().path });
    await attach(ours, "c".repeat(180));
    await attach(ours, "d".repeat(180));
    await attach(theirs, "e".repeat(180));
    for (const { metadata } of (await site.client.list(WorkloadEndpoint)).items)
      await site.client.delete(WorkloadEndpoint, metadata as never);
    const valid = [{ containerID: "d".repeat(180), ifname: "eth0" }];
    await site.gc(valid, { config: { name: ours } });
    expect(links()).not.toContain("caliccc");
    expect(links()).toContain("caliddd");
    expect(links()).toContain("calieee");
    expect(await addresses()).toHaveLength(2);
    await site.gc([], { config: { name: theirs } });
    await site.gc([], { config: { name: ours } });
    expect(await site.traces()).toEqual([]);
  });

  describe("of addresses whose handle is missing", () => {
    it("is known to DEL by the record", async () => {
      await site.add();
      await loseHandle(`net1.${CONTAINER}`);
      await site.del();
      expect(await site.traces()).toEqual([]);
    });

    it.each(["with", "without"])("is known to GC %s a record", async (record) => {
      await site.add();
      await loseHandle(`net1.${CONTAINER}`);
      if (record === "without") await site.client.delete(WorkloadEndpoint, (await endpoint()).metadata as never);
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("is known to calico-ipam's GC", async () => {
      await createIpam(site.client).autoAssign({
        num4: 1,
        host: "node-1",
        handle: "net1.gone",
        use: "Workload",
        attributes: { node: "node-1" },
      });
      await loseHandle("net1.gone");
      await collectForCaller(site.call("GC", { config: { "cni.dev/valid-attachments": [] } }), site.machine);
      expect(await site.traces()).toEqual([]);
    });
  });

  describe("of the handle that very old versions used", () => {
    const assign = (handle: string, attributes: Record<string, string>) =>
      createIpam(site.client).autoAssign({ num4: 1, host: "node-1", handle, use: "Workload", attributes });
    const args = "K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx";
    const node = "node-1";

    it.each<[string, Record<string, string>]>([
      ["no attributes", {}],
      ["the same pod's", { node, pod: "nginx", namespace: "default" }],
    ])("is the pod's with %s", async (_what, attributes) => {
      await assign("default.nginx", attributes);
      await site.del({ args });
      expect(await site.traces()).toEqual([]);
    });

    it.each<[string, Record<string, string>]>([
      ["another pod's", { node, pod: "web", namespace: "default" }],
      ["those of a container of today", { node, timestamp: "2024-10-19 20:50:00.03 +0000 UTC" }],
    ])("is not the pod's with %s", async (_what, attributes) => {
      await assign("default.nginx", attributes);
      await site.del({ args });
      await releaseForCaller(site.call("DEL", { args }), site.machine);
      expect(await addresses()).toHaveLength(1);
    });

    it("is not a container's whose ID has a dot, or a pod's", async () => {
      await assign("net7.live", {});
      await site.del({ container: "net7.live" });
      await assign("live", { node, pod: "a", namespace: "b" });
      await site.del({ container: "live" });
      expect(await addresses()).toHaveLength(2);
    });
  });
});
