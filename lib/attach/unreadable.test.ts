import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { createIpam } from "../ipam/index.ts";
import { describeAsRoot } from "../sys/testing.ts";
import { type CallOptions, failureOf, makeSite, type Site } from "./testing.ts";

const ENDPOINTS = "/calico/resources/v3/projectcalico.org/workloadendpoints/";
const BLOCKS = "/calico/ipam/v2/assignment/ipv4/block/";

/** What is stored and cannot be read is neither free nor absent. */
describeAsRoot("an object that cannot be read", () => {
  let site: Site;
  beforeEach(async () => {
    site = await makeSite();
    await site.makePool("pool4", "10.77.0.0/16");
  });
  afterEach(() => site[Symbol.dispose]());

  const attach = (container: string, options: CallOptions = {}) =>
    site.add({ container, netns: site.anotherPod().path, ...options });
  /** Makes a stored value unreadable; answers how to mend it. */
  const spoil = (key: string): (() => void) => {
    const { value } = site.data.read([{ key }]).results[0]![0]!;
    const put = (text: string): void => void site.data.transact([], [{ key, value: text }]);
    put("{");
    return () => put(value);
  };
  const endpointKey = (name: string, namespace = "default"): string => `${ENDPOINTS}${namespace}/${name}`;
  const stored = (key: string): boolean => site.data.read([{ key }]).results[0]!.length === 1;
  const warned = (): string => site.logged.filter((line) => line.startsWith("warning")).join("\n");
  const handles = async (): Promise<string[]> =>
    (await site.traces()).filter((trace) => trace.startsWith("handle")).map((trace) => trace.slice(7));
  const pod = { args: "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0" };

  describe("as an endpoint keeps GC from its attachment, and from no other:", () => {
    it.each<[string, string, CallOptions, string]>([
      ["a container's", endpointKey("node--1-cni-broken-eth0"), {}, "calibroken"],
      ["a pod's", endpointKey("node--1-k8s-web--0-eth0", "prod"), pod, "cali"],
    ])("%s", async (_whose, key, options, link) => {
      await attach("stale");
      await attach("broken", options);
      const before = await site.traces();
      const mend = spoil(key);
      const error = await failureOf(site.gc([]));
      expect(error.code).toBe(105);
      expect(error.details).toContain(key);
      expect(warned()).toContain(key);
      expect(stored(key)).toBe(true);
      const left = await site.traces();
      expect(left).toContain("handle net1.broken");
      expect(left.filter((trace) => trace.startsWith("address"))).toHaveLength(1);
      expect(left.filter((trace) => trace.startsWith(`interface ${link}`))).toHaveLength(1);
      // The endpoint is there too, but cannot be listed.
      expect(left).toHaveLength(before.length / 2 - 1);
      mend();
      await site.gc([]);
      expect(await site.traces()).toEqual([]);
    });

    it("a valid one's, which is only logged", async () => {
      await attach("live");
      await attach("pod", pod);
      await attach("stale");
      const keys = [endpointKey("node--1-cni-live-eth0"), endpointKey("node--1-k8s-web--0-eth0", "prod")];
      for (const key of keys) spoil(key);
      await site.gc(["live", "pod"].map((containerID) => ({ containerID, ifname: "eth0" })));
      expect((await handles()).sort()).toEqual(["net1.live", "net1.pod"]);
      for (const key of keys) expect(warned()).toContain(key);
    });

    it("another network's or another node's, which is not this call's concern", async () => {
      await attach("other", { config: { name: "net2" } });
      await attach("far", { config: { nodename: "node-2" } });
      const keys = [endpointKey("node--1-cni-other-eth0"), endpointKey("node--2-cni-far-eth0")];
      for (const key of keys) spoil(key);
      await attach("stale");
      await site.gc([]);
      expect((await handles()).sort()).toEqual(["net1.far", "net2.other"]);
      for (const key of keys) expect(stored(key)).toBe(true);
    });

    it("one of which nothing else is left", async () => {
      await attach("broken");
      const key = endpointKey("node--1-cni-broken-eth0");
      site.host.exec("ip", "link", "del", "calibroken");
      await createIpam(site.client).releaseByHandle("net1.broken");
      spoil(key);
      expect((await failureOf(site.gc([]))).details).toContain(key);
      expect(stored(key)).toBe(true);
    });

    it("one whose interface carries no mark", async () => {
      await attach("broken");
      site.host.exec("ip", "link", "del", "calibroken");
      site.host.exec("ip", "link", "add", "calibroken", "type", "bridge");
      spoil(endpointKey("node--1-cni-broken-eth0"));
      await failureOf(site.gc([]));
      expect(await handles()).toEqual(["net1.broken"]);
      expect(site.host.exec("ip", "-o", "link")).toContain("calibroken");
    });

    it("and another IPAM plugin is told that it is valid", async () => {
      const asked = join(site.folder, "asked");
      const script = join(site.folder, "other-ipam");
      writeFileSync(
        script,
        `#!/bin/sh\ncat >"${asked}.$CNI_COMMAND"\n` +
          `[ "$CNI_COMMAND" = ADD ] && printf '{"cniVersion":"1.0.0","ips":[{"address":"10.5.0.%s/24"}]}' $$\nexit 0\n`.replace(
            "$$",
            '"$(printf %s "$CNI_CONTAINERID" | wc -c)"',
          ),
      );
      chmodSync(script, 0o755);
      const config = { ipam: { type: "other-ipam" } };
      for (const container of ["broken", "stale", "live"]) await attach(container, { config });
      await attach("sandbox", { ...pod, config });
      const keys = [endpointKey("node--1-cni-broken-eth0"), endpointKey("node--1-k8s-web--0-eth0", "prod")];
      for (const key of keys) spoil(key);
      const error = await failureOf(site.gc([{ containerID: "live", ifname: "eth0" }], { config }));
      for (const key of keys) expect(error.details).toContain(key);
      expect(JSON.parse(readFileSync(`${asked}.GC`, "utf8"))["cni.dev/valid-attachments"]).toEqual([
        { containerID: "live", ifname: "eth0" },
        { containerID: "broken", ifname: "eth0" },
        { containerID: "sandbox", ifname: "eth0" },
      ]);
    });

    it("and another IPAM plugin is not asked when nobody knows whose it is", async () => {
      const asked = join(site.folder, "asked");
      const script = join(site.folder, "other-ipam");
      const answer = '{"cniVersion":"1.0.0","ips":[{"address":"10.5.0.9/24"}]}';
      writeFileSync(
        script,
        `#!/bin/sh\ncat >"${asked}.$CNI_COMMAND"\n[ "$CNI_COMMAND" = ADD ] && echo '${answer}'\nexit 0\n`,
      );
      chmodSync(script, 0o755);
      const config = { ipam: { type: "other-ipam" } };
      await attach("a-pod", { ...pod, config });
      const [endpoint] = (await site.client.list(WorkloadEndpoint)).items;
      site.host.exec("ip", "link", "del", endpoint!.spec.interfaceName!);
      spoil(endpointKey("node--1-k8s-web--0-eth0", "prod"));
      expect((await failureOf(site.gc([], { config }))).details).toContain("other-ipam");
      expect(existsSync(`${asked}.GC`)).toBe(false);
    });
  });

  describe("as an endpoint of the same container", () => {
    beforeEach(async () => {
      await attach("one");
      spoil(endpointKey("node--1-cni-one-eth0"));
    });

    it.each(["eth0", "eth1"])("keeps ADD of %s from giving it a second interface", async (ifName) => {
      const before = await site.traces();
      const error = await failureOf(attach("one", { ifName }));
      expect(error.code).toBe(101);
      expect(error.message).toContain(endpointKey("node--1-cni-one-eth0"));
      expect(await site.traces()).toEqual(before);
    });

    it("keeps the DEL of another interface from releasing its address", async () => {
      const before = await site.traces();
      expect((await failureOf(site.del({ container: "one", ifName: "eth1" }))).code).toBe(101);
      expect(await site.traces()).toEqual(before);
    });
  });

  it("as an endpoint does not stop those whose names only begin like its own", async () => {
    await attach("one", { args: "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web-0" });
    spoil(endpointKey("node--1-k8s-web--0-eth0", "prod"));
    await attach("two", { args: "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web" });
    await site.del({ container: "two", args: "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web" });
    expect(await handles()).toEqual(["net1.one"]);
  });

  it("as an endpoint of this node keeps a former sandbox's interface in its place", async () => {
    const web = { args: "K8S_POD_NAMESPACE=prod;K8S_POD_NAME=web" };
    await attach("first", web);
    const [endpoint] = (await site.client.list(WorkloadEndpoint)).items;
    // A second sandbox took over the record, and was killed before it took over the interface.
    await site.client.update(WorkloadEndpoint, { ...endpoint!, spec: { ...endpoint!.spec, containerID: "second" } });
    await attach("neighbour", pod);
    const mend = spoil(endpointKey("node--1-k8s-web--0-eth0", "prod"));
    const error = await failureOf(attach("third", web));
    expect(error.code).toBe(106);
    expect(warned()).toContain(endpointKey("node--1-k8s-web--0-eth0", "prod"));
    mend();
    await attach("third", web);
  });

  it("as a block of this node is named by GC, which collects what is in the others", async () => {
    await attach("stale");
    const { address } = (await createIpam(site.client).autoAssign({ num4: 1, host: "node-1", use: "Workload" })).v4[0]!;
    await createIpam(site.client).claimAffinity("10.77.200.0/26", { type: "host", name: "node-1" });
    await createIpam(site.client).claimAffinity("10.77.201.0/26", { type: "host", name: "node-2" });
    for (const name of ["10.77.200.0-26", "10.77.201.0-26"]) spoil(BLOCKS + name);
    const error = await failureOf(site.gc([]));
    expect(error.details).toContain("10.77.200.0-26");
    expect(error.details).not.toContain("10.77.201.0-26");
    expect(warned()).toContain("10.77.201.0-26");
    expect(await handles()).toEqual([]);
    expect(address).toMatch(/^10\.77\./);
  });

  it("as the handle of a container does not stop its DEL", async () => {
    await attach("one");
    const key = "/calico/ipam/v2/handle/net1.one";
    spoil(key);
    await site.del({ container: "one" });
    expect(await site.traces()).toEqual([]);
    expect(warned()).toContain(key);
    expect(stored(key)).toBe(true);
    await createIpam(site.client).repair();
    expect(stored(key)).toBe(false);
  });

  it("as the handle of a stale container does not stop GC", async () => {
    await attach("one");
    spoil("/calico/ipam/v2/handle/net1.one");
    await site.gc([]);
    expect(await site.traces()).toEqual([]);
  });
});
