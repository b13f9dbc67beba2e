import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ClusterInformation } from "../api/clusterinformation.ts";
import { Profile } from "../api/profile.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { createIpam } from "../ipam/index.ts";
import { describeAsRoot } from "../sys/testing.ts";
import { underLock } from "./addresses.ts";
import { failureOf, makeIpamPlugin, makeSite, type Site } from "./testing.ts";

const CONTAINER = "0123456789abcdef";

describeAsRoot("ADD", () => {
  let site: Site;
  beforeEach(async () => {
    site = await makeSite();
    await site.makePool("pool4", "10.77.0.0/16");
    await site.makePool("pool6", "fd77::/64");
  });
  afterEach(() => site[Symbol.dispose]());

  const endpoints = async (): Promise<WorkloadEndpoint[]> => (await site.client.list(WorkloadEndpoint)).items;
  const dual = { ipam: { type: "calico-ipam", assign_ipv6: "true" } };
  const link = (where: "host" | "pod", name: string) =>
    JSON.parse(site[where].exec("ip", "-d", "-j", "link", "show", name))[0] as {
      mtu: number;
      address: string;
      num_tx_queues: number;
      linkinfo: { info_kind: string };
    };

  it("gives the pod an address and says what it made", async () => {
    const result = await site.add();
    const address = result.ips[0]!.address;
    expect(result).toEqual({
      interfaces: [
        { name: "cali0123456789a" },
        { name: "eth0", mac: link("pod", "eth0").address, mtu: 1500, sandbox: site.pod.path },
      ],
      ips: [{ address, interface: 1 }],
      routes: [{ dst: address }],
      dns: { nameservers: [], domain: "", search: [], options: [] },
    });
    expect(address).toMatch(/^10\.77\.\d+\.\d+\/32$/);
    expect(site.pod.exec("ip", "-4", "-o", "addr", "show", "eth0")).toContain(address);
    expect(site.host.exec("ip", "route", "show", address)).toContain("dev cali0123456789a scope link");
  });

  it("records the endpoint as upstream's plugin does", async () => {
    const result = await site.add();
    const [endpoint] = await endpoints();
    expect(endpoint!.metadata).toMatchObject({
      name: `node--1-cni-${CONTAINER}-eth0`,
      namespace: "default",
      labels: { "projectcalico.org/namespace": "default", "projectcalico.org/orchestrator": "cni" },
    });
    expect(endpoint!.spec).toEqual({
      orchestrator: "cni",
      node: "node-1",
      containerID: CONTAINER,
      endpoint: "eth0",
      ipNetworks: [result.ips[0]!.address],
      profiles: ["net1"],
      interfaceName: "cali0123456789a",
      mac: result.interfaces[1]!.mac,
    });
  });

  it("keeps who uses the address with it, under the handle of network and container", async () => {
    await site.add();
    const [allocation] = await createIpam(site.client).ipsByHandle(`net1.${CONTAINER}`);
    expect(allocation!.attributes).toEqual({ node: "node-1", timestamp: "2024-10-19 20:50:00.03 +0000 UTC" });
  });

  it("makes the network's profile, and leaves one that is there alone", async () => {
    await site.add();
    const profile = await site.client.get(Profile, { name: "net1" });
    expect(profile!.spec).toMatchObject({
      ingress: [{ action: "Allow", source: { selector: "has(net1)" } }],
      egress: [{ action: "Allow" }],
      labelsToApply: { net1: "" },
    });
    await site.client.update(Profile, { ...profile!, spec: { ...profile!.spec, labelsToApply: { changed: "yes" } } });
    await site.add({ container: "second", netns: site.anotherPod().path });
    expect((await site.client.get(Profile, { name: "net1" }))!.spec.labelsToApply).toEqual({ changed: "yes" });
  });

  it("leaves nothing when it is taken back", async () => {
    await site.add({ config: dual });
    expect(await site.traces()).not.toEqual([]);
    await site.del({ config: dual });
    expect(await site.traces()).toEqual([]);
    expect(site.pod.exec("ip", "-o", "link")).not.toContain("eth0");
  });

  describe("of the same container again", () => {
    it("answers the same and changes nothing", async () => {
      const first = await site.add({ config: dual });
      const before = [await site.traces(), await endpoints(), link("pod", "eth0")];
      expect(await site.add({ config: dual })).toEqual(first);
      expect([await site.traces(), await endpoints(), link("pod", "eth0")]).toEqual(before);
    });

    it("repairs an interface that lost its address", async () => {
      const first = await site.add();
      site.pod.exec("ip", "addr", "flush", "dev", "eth0");
      expect(await site.add()).toEqual(first);
      await site.check(first);
    });

    it.each<[string, "pod" | "host", string]>([
      ["a setting of the pod", "pod", "echo 1 >/proc/sys/net/ipv4/ip_forward"],
      ["the pod's MTU", "pod", "ip link set eth0 mtu 1400"],
    ])("leaves the interface of a running pod alone though %s differs, and says so", async (_what, where, command) => {
      const first = await site.add();
      const index = link("pod", "eth0");
      site[where].exec("sh", "-c", command);
      expect(await site.add()).toEqual(first);
      expect(link("pod", "eth0")).toMatchObject({ ifindex: (index as unknown as { ifindex: number }).ifindex });
      expect(site.logged.join("\n")).toMatch(/warning: left as it is: /);
    });

    it("repairs routes and the host's settings on the interface that is there", async () => {
      const first = await site.add({ config: dual });
      const before = site.pod.exec("cat", "/sys/class/net/eth0/ifindex");
      site.pod.exec("ip", "route", "del", "default");
      site.pod.exec("ip", "-6", "route", "del", "default");
      site.host.exec("ip", "route", "del", first.ips[0]!.address);
      site.host.exec("sh", "-c", "echo 0 >/proc/sys/net/ipv4/conf/cali0123456789a/proxy_arp");
      site.host.exec("sh", "-c", "echo 0 >/proc/sys/net/ipv6/conf/cali0123456789a/proxy_ndp");
      expect(await site.add({ config: dual })).toEqual(first);
      await site.check(first, { config: dual });
      expect(site.pod.exec("cat", "/sys/class/net/eth0/ifindex")).toBe(before);
      site.host.exec("ip", "link", "set", "cali0123456789a", "down");
      await site.add({ config: dual });
      await site.check(first, { config: dual });
    });

    it("makes the interface that is missing, with the same address and MAC", async () => {
      const first = await site.add();
      site.host.exec("ip", "link", "del", "cali0123456789a");
      expect(await site.add()).toEqual(first);
      await site.check(first);
    });

    it("writes the record that is missing, with the address that the handle holds", async () => {
      const first = await site.add();
      const [endpoint] = await endpoints();
      await site.client.delete(WorkloadEndpoint, endpoint!.metadata as never);
      const again = await site.add();
      expect(again.ips).toEqual(first.ips);
      expect((await endpoints())[0]!.spec.ipNetworks).toEqual([first.ips[0]!.address]);
    });

    it("with another network adds its profile and shares the interface", async () => {
      const first = await site.add();
      const second = await site.add({ config: { name: "net2" } });
      expect(second.ips).toEqual(first.ips);
      expect((await endpoints())[0]!.spec.profiles).toEqual(["net1", "net2"]);
      await site.del({ config: { name: "net2" } });
      expect((await endpoints())[0]!.spec.profiles).toEqual(["net1"]);
      await site.check(first);
    });

    it("with another interface name is refused, and its DEL leaves the first one alone", async () => {
      const first = await site.add();
      const error = await failureOf(site.add({ ifName: "eth1" }));
      expect(error.code).toBe(106);
      expect(error.message).toContain("eth0");
      await site.del({ ifName: "eth1" });
      await site.check(first);
    });
  });

  describe("that cannot be done leaves nothing behind", () => {
    it("when another container has the name of the host interface", async () => {
      const first = await site.add({ container: "same-begin-1" });
      const other = site.anotherPod();
      const error = await failureOf(site.add({ container: "same-begin-2", netns: other.path }));
      expect(error.code).toBe(106);
      expect(error.message).toContain("calisame-begin-");
      await site.check(first, { container: "same-begin-1" });
      expect((await endpoints()).map(({ spec }) => spec.containerID)).toEqual(["same-begin-1"]);
      expect(await createIpam(site.client).ipsByHandle("net1.same-begin-2")).toEqual([]);
      // Nor does its DEL, which runtimes send after a failed ADD.
      await site.del({ container: "same-begin-2", netns: other.path });
      await site.check(first, { container: "same-begin-1" });
    });

    it("when the host interface is nobody's we know", async () => {
      site.host.exec("ip", "link", "add", "cali0123456789a", "type", "bridge");
      expect((await failureOf(site.add())).code).toBe(106);
      expect(await site.traces()).toEqual(["interface cali0123456789a"]);
    });

    it("when the pod has an interface of that name", async () => {
      site.pod.exec("ip", "link", "add", "eth0", "type", "bridge");
      expect((await failureOf(site.add())).code).toBe(106);
      expect(await site.traces()).toEqual([]);
      expect(site.pod.exec("ip", "-o", "link")).toContain("eth0");
    });

    it("when no pool has room, and says why", async () => {
      const full = await makeSite();
      await full.makePool("tiny", "10.9.0.0/30", { blockSize: 30 });
      await full.makePool("off", "10.8.0.0/24", { disabled: true });
      const pods = [1, 2, 3, 4, 5].map((number) => [`pod-${number}`, full.anotherPod().path] as const);
      try {
        for (const [container, netns] of pods.slice(0, 4)) await full.add({ container, netns });
        const before = await full.traces();
        const error = await failureOf(full.add({ container: "pod-5", netns: pods[4]![1] }));
        expect(error.code).toBe(102);
        expect(`${error.message} ${error.details}`).toContain("tiny");
        expect(await full.traces()).toEqual(before);
      } finally {
        full[Symbol.dispose]();
      }
    });

    it("when only one family has a pool", async () => {
      const config = { ipam: { type: "calico-ipam", assign_ipv6: "true", ipv6_pools: ["nowhere"] } };
      const error = await failureOf(site.add({ config }));
      expect(error.code).toBe(102);
      expect(error.message).toContain("nowhere");
      expect(await site.traces()).toEqual([]);
    });

    it("when CNI_NETNS does not exist, is a file, or is the host's", async () => {
      const file = join(site.folder, "file");
      writeFileSync(file, "");
      for (const netns of ["/run/netns/none-such", file, site.host.path, "/proc/self/ns/net"]) {
        const error = await failureOf(site.add({ netns }));
        expect(error.code).toBe(4);
        expect(error.message).toContain(netns);
        expect(await site.traces()).toEqual([]);
      }
    });

    it("whatever operation of the datastore fails, and at the latest after its DEL", async () => {
      await site.add({ container: "warm-up", netns: site.anotherPod().path });
      const clean = await site.traces();
      for (const fault of ["unavailable", "lost", "crash", "crash-after"] as const) {
        let reached = true;
        for (let at = 0; reached && at < 40; at++) {
          reached = false;
          site.hook = ({ operation }) => {
            if (operation !== at) return undefined;
            reached = true;
            return fault;
          };
          const outcome = await site.add().then(
            () => "added",
            () => "failed",
          );
          site.hook = undefined;
          const isOver = fault === "crash" || fault === "crash-after" || outcome === "added";
          if (isOver) await site.del();
          expect(await site.traces(), `${fault} at operation ${at}`).toEqual(clean);
        }
        expect(reached).toBe(false);
      }
    });
  });

  describe("is refused", () => {
    it("while the datastore is not ready", async () => {
      const information = await site.client.get(ClusterInformation, { name: "default" });
      await site.client.update(ClusterInformation, {
        ...information!,
        spec: { ...information!.spec, datastoreReady: false },
      });
      for (const verb of ["add", "del", "status"] as const) {
        const error = await failureOf(site[verb]());
        expect(error.code).toBe(verb === "status" ? 50 : 11);
        expect(error.message).toContain("not ready");
      }
    });

    it("on a shared datastore that nobody has set up", async () => {
      await site.client.delete(ClusterInformation, { name: "default" });
      const error = await failureOf(site.add());
      expect(error.code).toBe(11);
      expect(error.message).toContain("ClusterInformation");
    });

    it("when the datastore is down, and says which", async () => {
      const error = await failureOf(site.add({ config: { etcd_endpoints: "http://127.0.0.1:1" } }));
      expect(error.code).toBe(11);
      expect(error.message).toContain("127.0.0.1:1");
    });

    it("when the datastore's file is corrupt, which it leaves as it is", async () => {
      const file = join(site.folder, "corrupt.db");
      writeFileSync(file, "this is no database".repeat(1000));
      const before = readFileSync(file);
      const error = await failureOf(site.add({ config: { datastore_type: "sqlite", datastore_file: file } }));
      expect(error.code).toBe(101);
      expect(error.message).toContain(file);
      expect(readFileSync(file).equals(before)).toBe(true);
    });
  });

  describe("honours", () => {
    it("mtu", async () => {
      const result = await site.add({ config: { mtu: 1400 } });
      expect(result.interfaces[1]!.mtu).toBe(1400);
      expect([link("pod", "eth0").mtu, link("host", "cali0123456789a").mtu]).toEqual([1400, 1400]);
    });

    it("num_queues", async () => {
      await site.add({ config: { num_queues: 3 } });
      expect([link("pod", "eth0").num_tx_queues, link("host", "cali0123456789a").num_tx_queues]).toEqual([3, 3]);
    });

    it("device_type netkit, where the kernel has it", async () => {
      await site.add({ config: { device_type: "netkit" } });
      expect(["netkit", "veth"]).toContain(link("host", "cali0123456789a").linkinfo.info_kind);
      await site.del({ config: { device_type: "netkit" } });
      expect(await site.traces()).toEqual([]);
    });

    it.each([false, true])("container_settings.allow_ip_forwarding %s", async (allowed) => {
      await site.add({ config: { ...dual, container_settings: { allow_ip_forwarding: allowed } } });
      const forwarding = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"].map((name) =>
        site.pod.exec("cat", `/proc/sys/${name}`).trim(),
      );
      expect(forwarding).toEqual(allowed ? ["1", "1"] : ["0", "0"]);
    });

    it("ipam.assign_ipv4 and ipam.assign_ipv6", async () => {
      const only6 = { ipam: { type: "calico-ipam", assign_ipv4: "false", assign_ipv6: "true" } };
      const result = await site.add({ config: only6 });
      expect(result.ips.map(({ address }) => address)).toEqual([expect.stringMatching(/^fd77:.*\/128$/)]);
      await site.check(result, { config: only6 });
      const neither = { ipam: { type: "calico-ipam", assign_ipv4: "false" } };
      expect((await failureOf(site.add({ container: "b", config: neither }))).code).toBe(7);
    });

    it("ipam.ipv4_pools and ipam.ipv6_pools, by name and by CIDR", async () => {
      await site.makePool("manual4", "10.78.0.0/24", { assignmentMode: "Manual" });
      await site.makePool("manual6", "fd78::/64", { assignmentMode: "Manual" });
      const ipam = { type: "calico-ipam", assign_ipv6: "true", ipv4_pools: ["manual4"], ipv6_pools: ["fd78::/64"] };
      const { ips } = await site.add({ config: { ipam } });
      expect(ips.map(({ address }) => address)).toEqual([
        expect.stringMatching(/^10\.78\./),
        expect.stringMatching(/^fd78:/),
      ]);
    });

    it("an address that CNI_ARGS asks for", async () => {
      const args = "IgnoreUnknown=1;IP=10.77.3.4";
      const first = await site.add({ args });
      expect(first.ips[0]!.address).toBe("10.77.3.4/32");
      expect(await site.add({ args })).toEqual(first);
      const other = await failureOf(site.add({ args, container: "b", netns: site.anotherPod().path }));
      expect(other.code).toBe(106);
      expect((await failureOf(site.add({ args: "IP=ten", container: "c" }))).code).toBe(4);
      await site.del({ args });
      expect(await site.traces()).toEqual([]);
    });

    it("ipam_lock_file", async () => {
      const file = join(site.folder, "some", "lock");
      const marker = join(site.folder, "released");
      mkdirSync(join(site.folder, "some"));
      const holder = spawn("flock", [file, "sh", "-c", `echo held; sleep 0.3; touch ${marker}`]);
      await new Promise((resolve) => holder.stdout.once("data", resolve));
      await site.add({ config: { ipam_lock_file: file } });
      expect(existsSync(marker)).toBe(true);
    });

    it("ipam_lock_file for a time, and goes on without it when its holder does not let go", async () => {
      const file = join(site.folder, "lock");
      const holder = spawn("flock", [file, "sh", "-c", "echo held; read line"], { stdio: ["pipe", "pipe", "ignore"] });
      await new Promise((resolve) => holder.stdout.once("data", resolve));
      holder.kill("SIGSTOP");
      try {
        const call = site.call("ADD", { config: { ipam_lock_file: file } });
        expect(await underLock(call, site.machine, async () => "done", 100)).toBe("done");
        expect(site.logged.join("\n")).toMatch(/warning: the IPAM lock cannot be taken; going on without .*100 ms/);
      } finally {
        holder.kill("SIGCONT");
        holder.stdin.end("\n");
      }
    });

    it("args of Mesos: labels, made fit for selectors, and the namespace", async () => {
      const labels = [
        { key: "projectcalico.org/namespace", value: "team a" },
        { key: "DCOS_SPACE", value: "/a/b/c" },
      ];
      const config = { args: { "org.apache.mesos": { network_info: { labels: { labels } } } } };
      await site.add({ config });
      const [endpoint] = await endpoints();
      expect(endpoint!.metadata.namespace).toBe("team-a");
      expect(endpoint!.metadata.labels).toMatchObject({ DCOS_SPACE: "a.b.c", "projectcalico.org/namespace": "team-a" });
      await site.del({ config });
      expect(await site.traces()).toEqual([]);
    });

    it("runtimeConfig.dns", async () => {
      const config = { runtimeConfig: { dns: { servers: ["10.0.0.10"], searches: ["a.b"], options: ["ndots:2"] } } };
      expect((await site.add({ config })).dns).toEqual({
        nameservers: ["10.0.0.10"],
        domain: "",
        search: ["a.b"],
        options: ["ndots:2"],
      });
    });

    it("feature_control.ip_addrs_no_ipam by refusing it, as upstream, and floating_ips by ignoring it", async () => {
      const error = await failureOf(site.add({ config: { feature_control: { ip_addrs_no_ipam: true } } }));
      expect(error.code).toBe(2);
      expect(error.message).toContain("ip_addrs_no_ipam");
      await site.add({ config: { feature_control: { floating_ips: true } } });
    });

    it("policy.type: with one the network's profile is not made", async () => {
      await site.add({ config: { policy: { type: "k8s" } } });
      expect(await site.client.get(Profile, { name: "net1" })).toBeUndefined();
    });

    it("readiness_gates", async () => {
      let asked = 0;
      const gate = Bun.serve({
        port: 0,
        fetch: () => new Response("", { status: ++asked < 2 ? 503 : 204 }),
      });
      try {
        await site.add({ config: { readiness_gates: [`http://127.0.0.1:${gate.port}/readiness`] } });
        expect(asked).toBe(2);
      } finally {
        await gate.stop(true);
      }
    });

    it("policy_setup_timeout_seconds and endpoint_status_dir", async () => {
      const folder = join(site.folder, "status");
      mkdirSync(folder);
      const config = { policy_setup_timeout_seconds: 1, endpoint_status_dir: folder };
      await site.add({ config });
      expect(site.logged.join("\n")).toMatch(/warning: .*policy is not in force/);
      site.logged.length = 0;
      writeFileSync(join(folder, "cni default%2Fb eth0"), "");
      await site.add({ config, container: "b", netns: site.anotherPod().path });
      expect(site.logged.join("\n")).not.toContain("policy is not in force");
    });

    it("policy_setup_timeout_seconds attaches nothing before the agent has enforced policy since the node started", async () => {
      const folder = join(site.folder, "not-made");
      const config = { policy_setup_timeout_seconds: 1, endpoint_status_dir: folder };
      const error = await failureOf(site.add({ config }));
      expect(error.code).toBe(11);
      expect(`${error.message} ${error.details}`).toMatch(/policy is not in force on this node yet .*not-made/);
      expect(await site.traces()).toEqual([]);
      mkdirSync(folder);
      await site.add({ config });
    });

    it("policy_setup_timeout_seconds waits for the policy of this pod, not of an earlier one of its name", async () => {
      const folder = join(site.folder, "status");
      mkdirSync(folder);
      const file = join(folder, "k8s default%2Fnginx eth0");
      writeFileSync(file, '{"ifaceName":"calic440f455693","ipv4Nets":["192.0.2.1/32"]}');
      const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;K8S_POD_INFRA_CONTAINER_ID=abc";
      const config = { policy_setup_timeout_seconds: 1, endpoint_status_dir: folder };
      const { ips } = await site.add({ args, config });
      expect(site.logged.join("\n")).toMatch(/warning: .*policy is not in force/);
      site.logged.length = 0;
      writeFileSync(
        file,
        JSON.stringify({ ifaceName: "calic440f455693", ipv4Nets: ips.map(({ address }) => address) }),
      );
      await site.add({ args, config });
      expect(site.logged.join("\n")).not.toContain("policy is not in force");
    });
  });

  describe("of a Kubernetes pod", () => {
    const args = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx;K8S_POD_INFRA_CONTAINER_ID=abc";

    it("uses the pod's name for the endpoint and the host interface, and keeps it with the address", async () => {
      const result = await site.add({ args });
      expect(result.interfaces[0]!.name).toBe("calic440f455693");
      const [endpoint] = await endpoints();
      expect(endpoint!.metadata).toMatchObject({ name: "node--1-k8s-nginx-eth0", namespace: "default" });
      expect(endpoint!.spec).toMatchObject({
        orchestrator: "k8s",
        pod: "nginx",
        containerID: CONTAINER,
        profiles: ["net1"],
      });
      const [allocation] = await createIpam(site.client).ipsByHandle(`net1.${CONTAINER}`);
      expect(allocation!.attributes).toMatchObject({ pod: "nginx", namespace: "default", node: "node-1" });
      await site.del({ args });
      expect(await site.traces()).toEqual([]);
    });

    it("takes the beginning of interface names from Felix' variable", async () => {
      const machine = { ...site.machine, env: { FELIX_INTERFACEPREFIX: "tap,cali" } };
      const { addAttachment } = await import("./add.ts");
      const result = await addAttachment(site.call("ADD", { args }), machine);
      expect(result.interfaces[0]!.name).toBe("tapc440f455693");
    });

    it("lets everybody in by the network's profile, and uses the namespace's with policy.type k8s", async () => {
      await site.add({ args });
      expect((await site.client.get(Profile, { name: "net1" }))!.spec.ingress).toMatchObject([{ action: "Allow" }]);
      await site.del({ args });
      await site.add({ args, config: { policy: { type: "k8s" } } });
      expect((await endpoints())[0]!.spec.profiles).toEqual(["kns.default"]);
    });

    it("replaces the pod's former sandbox, whose DEL then releases only its own address", async () => {
      const old = await site.add({ args });
      const pod = site.anotherPod();
      const fresh = await site.add({ args, container: "newer", netns: pod.path });
      expect(fresh.ips[0]!.address).not.toBe(old.ips[0]!.address);
      expect((await endpoints()).map(({ spec }) => spec.containerID)).toEqual(["newer"]);
      await site.del({ args });
      await site.check(fresh, { args, container: "newer", netns: pod.path });
      expect(await createIpam(site.client).ipsByHandle(`net1.${CONTAINER}`)).toEqual([]);
      await site.del({ args, container: "newer", netns: pod.path });
      expect(await site.traces()).toEqual([]);
    });

    it("is not confused by a pod whose name begins like another's", async () => {
      await site.add({ args: "K8S_POD_NAMESPACE=default;K8S_POD_NAME=nginx-1" });
      await site.add({ args, container: "b", netns: site.anotherPod().path });
      expect((await endpoints()).map(({ spec }) => spec.pod).sort()).toEqual(["nginx", "nginx-1"]);
    });

    it("routes what host-local's routes say, and everything as well with include_default_routes", async () => {
      makeIpamPlugin(site.folder, "host-local", {
        cniVersion: "1.0.0",
        ips: [{ address: "10.5.0.9/24", gateway: "10.5.0.1" }],
      });
      const ipam = { type: "host-local", routes: [{ dst: "10.5.0.0/16", gw: "10.5.0.1" }, { dst: "10.6.0.0/16" }] };
      await site.add({ args, config: { ipam } });
      expect(site.pod.exec("ip", "route")).toBe(
        "10.5.0.0/16 via 169.254.1.1 dev eth0 \n10.6.0.0/16 via 169.254.1.1 dev eth0 \n169.254.1.1 dev eth0 scope link \n",
      );
      const second = await makeSite();
      try {
        makeIpamPlugin(second.folder, "host-local", { cniVersion: "1.0.0", ips: [{ address: "10.5.0.9/24" }] });
        await second.add({ args, config: { ipam, include_default_routes: true } });
        expect(second.pod.exec("ip", "route")).toContain("default via 169.254.1.1");
        expect(second.pod.exec("ip", "route")).toContain("10.6.0.0/16 via 169.254.1.1");
      } finally {
        second[Symbol.dispose]();
      }
    });
  });

  it("of twenty containers at once gives each its own address", async () => {
    const pods = Array.from({ length: 20 }, (_, number) => [`pod-${number}`, site.anotherPod().path] as const);
    const results = await Promise.all(pods.map(([container, netns]) => site.add({ container, netns })));
    expect(new Set(results.map(({ ips }) => ips[0]!.address)).size).toBe(20);
    await Promise.all(pods.map(([container, netns]) => site.del({ container, netns })));
    expect(await site.traces()).toEqual([]);
  });
});
