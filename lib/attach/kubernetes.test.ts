import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import { Namespace } from "../api/kubernetes/namespace.ts";
import { Pod } from "../api/kubernetes/pod.ts";
import { API_VERSION } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { parseNetworkConfig, type Result } from "../cni/index.ts";
import { createIpam } from "../ipam/index.ts";
import { describeAsRoot } from "../sys/testing.ts";
import { apiServerConfig } from "./datastore.ts";
import { assignForCaller, releaseForCaller } from "./ipam-plugin.ts";
import { type CallOptions, failureOf, makeIpamPlugin, makeSite, type Site } from "./testing.ts";

const CONTAINER = "0123456789abcdef";
const HANDLE = `net1.${CONTAINER}`;
const ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web";
const K8S = { policy: { type: "k8s" } };
const CNI = "cni.projectcalico.org/";

const annotated = (annotations: Readonly<Record<string, string>>) => ({ annotations });
const json = (...items: string[]): string => JSON.stringify(items);
const addressesOf = ({ ips }: Result): string[] => ips.map(({ address }) => address);

/** Calls for the pod default/web, with `policy.type` k8s. */
const call = ({ config = {}, ...rest }: CallOptions = {}): CallOptions => ({
  args: ARGS,
  config: { ...K8S, ...config },
  ...rest,
});

describeAsRoot("a Kubernetes pod", () => {
  describe.each(["sqlite", "kubernetes"] as const)("in %s", (backend) => {
    let site: Site;
    beforeEach(async () => {
      site = await makeSite(backend);
      await site.makePool("pool4", "10.77.0.0/16");
    });
    afterEach(() => site[Symbol.dispose]());

    const add = (options?: CallOptions) => site.add(call(options));
    const del = (options?: CallOptions) => site.del(call(options));
    const endpoint = async (): Promise<WorkloadEndpoint> =>
      (await site.client.get(WorkloadEndpoint, { namespace: "default", name: "node--1-k8s-web-eth0" }))!;
    const held = async (handle = HANDLE): Promise<string[]> =>
      (await createIpam(site.client).ipsByHandle(handle)).map(({ address }) => address);
    const mac = (): string => /link\/ether (\S+)/.exec(site.pod.exec("ip", "link", "show", "eth0"))![1]!;

    it("has an endpoint with all that Kubernetes says about it", async () => {
      await site.makeNamespace("default", { labels: { team: "blue" } });
      await site.makePod(
        "web",
        {
          generateName: "web-",
          labels: { app: "web" },
          annotations: {
            [`${CNI}allowedSourcePrefixes`]: json("192.0.2.0/24"),
            [`${CNI}floatingIPs`]: json("203.0.113.9", "2001:db8::9"),
            "kubernetes.io/ingress-bandwidth": "1M",
            "qos.projectcalico.org/egressBandwidth": "2M",
            "qos.projectcalico.org/egressBurst": "4M",
            "qos.projectcalico.org/dscp": "AF11",
          },
        },
        {
          serviceAccountName: "runner",
          containers: [
            {
              name: "main",
              ports: [
                { name: "http", containerPort: 80 },
                { name: "dns", containerPort: 53, protocol: "UDP", hostPort: 5353 },
              ],
            },
          ],
        },
      );
      const result = await add({ config: { feature_control: { floating_ips: true } } });
      const [address] = addressesOf(result);
      const { metadata, spec } = await endpoint();
      expect(metadata).toMatchObject({
        name: "node--1-k8s-web-eth0",
        namespace: "default",
        generateName: "web-",
        labels: {
          app: "web",
          "projectcalico.org/namespace": "default",
          "projectcalico.org/orchestrator": "k8s",
          "projectcalico.org/serviceaccount": "runner",
        },
      });
      expect({ mac: mac(), ...spec }).toEqual({
        orchestrator: "k8s",
        node: "node-1",
        containerID: CONTAINER,
        pod: "web",
        endpoint: "eth0",
        serviceAccountName: "runner",
        ipNetworks: [address],
        ipNATs: [{ internalIP: address!.replace("/32", ""), externalIP: "203.0.113.9" }],
        profiles: ["kns.default", "ksa.default.runner"],
        interfaceName: "cali68caf03a5f4",
        mac: mac(),
        ports: [
          { name: "http", protocol: "TCP", port: 80, hostPort: 0, hostIP: "" },
          { name: "dns", protocol: "UDP", port: 53, hostPort: 5353, hostIP: "" },
        ],
        allowSpoofedSourcePrefixes: ["192.0.2.0/24"],
        qosControls: {
          ingressBandwidth: 1_000_000,
          ingressBurst: 4_294_967_296,
          egressBandwidth: 2_000_000,
          egressBurst: 4_000_000,
          dscp: "AF11",
        },
      });
      expect(site.logged.join("\n")).toMatch(/floating addresses are left out.*2001:db8::9/);
      const [allocation] = await createIpam(site.client).ipsByHandle(HANDLE);
      expect(allocation!.attributes).toEqual({
        pod: "web",
        namespace: "default",
        node: "node-1",
        timestamp: "2024-10-19 20:50:00.03 +0000 UTC",
      });
      await site.check(result, call({ config: { feature_control: { floating_ips: true } } }));
      await del();
      expect(await site.traces()).toEqual([]);
    });

    it("keeps address and MAC when its ADD is repeated, and nothing is written", async () => {
      await site.makePod("web");
      const first = await add();
      const before = await endpoint();
      expect(await add()).toEqual(first);
      expect((await endpoint()).metadata.resourceVersion).toBe(before.metadata.resourceVersion);
      expect(await held()).toHaveLength(1);
    });

    it("loses labels and limits on its endpoint that the pod has lost", async () => {
      await site.makePod("web", { labels: { app: "web" } });
      await add();
      const pod = (await site.client.get(Pod, { namespace: "default", name: "web" }))!;
      await site.client.update(Pod, { ...pod, metadata: { ...pod.metadata, labels: { role: "db" } } });
      await add();
      const { labels } = (await endpoint()).metadata;
      expect(labels).toMatchObject({ role: "db" });
      expect(labels).not.toHaveProperty("app");
    });

    describe("ipAddrs", () => {
      const ask = (...addresses: string[]) => annotated({ [`${CNI}ipAddrs`]: json(...addresses) });

      it("gives exactly these, through the allocator", async () => {
        await site.makePool("pool6", "fd77::/64");
        await site.makePod("web", ask("10.77.3.33", "fd77::33"));
        const result = await add();
        expect(addressesOf(result)).toEqual(["10.77.3.33/32", "fd77::33/128"]);
        expect((await held()).sort()).toEqual(["10.77.3.33", "fd77::33"]);
        expect((await endpoint()).spec.ipNetworks).toEqual(["10.77.3.33/32", "fd77::33/128"]);
        await site.check(result, call());
        expect(await add()).toEqual(result);
        await del();
        expect(await site.traces()).toEqual([]);
      });

      it("takes them from the pod's former sandbox, whose late DEL leaves them", async () => {
        await site.makePod("web", ask("10.77.3.33"));
        await add();
        const newer = { container: "newer", netns: site.anotherPod().path };
        const result = await add(newer);
        expect(addressesOf(result)).toEqual(["10.77.3.33/32"]);
        await del();
        expect(await held("net1.newer")).toEqual(["10.77.3.33"]);
        await site.check(result, call(newer));
        await del(newer);
        expect(await site.traces()).toEqual([]);
      });

      it("does not take them from another pod, and leaves nothing behind", async () => {
        await site.makePool("pool6", "fd77::/64");
        await site.makePod("other", ask("10.77.3.33"));
        const other = { args: ARGS.replace("web", "other"), container: "other", netns: site.anotherPod().path };
        await add(other);
        await site.makePod("web", ask("fd77::33", "10.77.3.33"));
        const error = await failureOf(add());
        expect(error.code).toBe(106);
        expect(error.message).toContain("Pod default/web: the annotation cni.projectcalico.org/ipAddrs: 10.77.3.33");
        expect(await held()).toEqual([]);
        await del(other);
        expect(await site.traces()).toEqual([]);
      });

      it("is refused for an address in no pool, one of the wrong form, and two of a family", async () => {
        for (const [addresses, code, message] of [
          [["192.0.2.1"], 102, "192.0.2.1 is in no IP pool"],
          [["10.77.3"], 107, '"10.77.3" is no IP address'],
          [["10.77.0.1", "10.77.0.2"], 107, "more than one IPv4 address"],
          [[], 107, "has no address"],
        ] as const) {
          await site.makePod("web", ask(...addresses));
          const error = await failureOf(add());
          expect(error.message).toContain("Pod default/web: the annotation cni.projectcalico.org/ipAddrs");
          expect(error.message).toContain(message);
          expect(error.code).toBe(code);
        }
        expect(await site.traces()).toEqual([]);
      });

      it("needs calico-ipam", async () => {
        makeIpamPlugin(site.folder, "host-local", { cniVersion: "1.0.0", ips: [{ address: "10.5.0.9/24" }] });
        await site.makePod("web", ask("10.77.3.33"));
        const error = await failureOf(add({ config: { ipam: { type: "host-local" } } }));
        expect([error.code, error.message]).toEqual([107, expect.stringContaining("which needs calico-ipam")]);
      });
    });

    describe("ipAddrsNoIpam", () => {
      const allowed = { config: { feature_control: { ip_addrs_no_ipam: true } } };
      const ask = annotated({ [`${CNI}ipAddrsNoIpam`]: json("192.0.2.7") });

      it("gives these past the allocator, where the network allows it", async () => {
        await site.makePod("web", ask);
        const result = await add(allowed);
        expect(addressesOf(result)).toEqual(["192.0.2.7/32"]);
        expect(await held()).toEqual([]);
        expect((await endpoint()).spec.ipNetworks).toEqual(["192.0.2.7/32"]);
        await site.check(result, call(allowed));
        expect(await add(allowed)).toEqual(result);
        await del(allowed);
        expect(await site.traces()).toEqual([]);
      });

      it("is refused where it does not, and beside ipAddrs", async () => {
        await site.makePod("web", ask);
        const error = await failureOf(add());
        expect(error.code).toBe(107);
        expect(error.message).toContain("cni.projectcalico.org/ipAddrsNoIpam");
        expect(error.details).toContain("requested feature is not enabled: ip_addrs_no_ipam");
        await site.makePod("web", annotated({ ...ask.annotations, [`${CNI}ipAddrs`]: json("10.77.0.1") }));
        expect((await failureOf(add(allowed))).message).toContain("a pod may have one of them");
      });

      it("leaves nothing when the interface cannot be made", async () => {
        await site.makePod("web", ask);
        site.pod.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
        expect((await failureOf(add(allowed))).code).toBe(106);
        expect(await site.traces()).toEqual([]);
      });
    });

    describe("ipv4pools and ipv6pools", () => {
      beforeEach(async () => {
        await site.makePool("special", "10.78.0.0/24", { nodeSelector: "!all()" });
        await site.makePool("roomy", "10.79.0.0/24", { nodeSelector: "!all()" });
        await site.makePool("six", "fd78::/112", { nodeSelector: "!all()" });
      });
      const config = { ipam: { type: "calico-ipam", ipv4_pools: ["pool4"] } };
      const netns = () => site.anotherPod().path;

      it("are the pod's before the namespace's before the configuration's, by name or CIDR", async () => {
        await site.makePod("web");
        expect(addressesOf(await add({ config }))[0]).toMatch(/^10\.77\./);
        await site.makeNamespace("default", annotated({ [`${CNI}ipv4pools`]: json("10.78.0.0/24") }));
        expect(addressesOf(await add({ config, container: "b", netns: netns() }))[0]).toMatch(/^10\.78\./);
        await site.makePod("web", annotated({ [`${CNI}ipv4pools`]: json("roomy") }));
        expect(addressesOf(await add({ config, container: "c", netns: netns() }))[0]).toMatch(/^10\.79\./);
      });

      it("hold for IPv6 as well, and an empty list means any pool", async () => {
        const wishes = { [`${CNI}ipv6pools`]: json("six"), [`${CNI}ipFamilies`]: json("IPv6") };
        await site.makePod("web", annotated(wishes));
        expect(addressesOf(await add())[0]).toMatch(/^fd78::/);
        await site.makePod("web", annotated({ [`${CNI}ipv4pools`]: "[]" }));
        const special = { ipam: { type: "calico-ipam", ipv4_pools: ["special"] } };
        expect(addressesOf(await add({ config: special, container: "b", netns: netns() }))[0]).toMatch(/^10\.77\./);
      });

      it("are refused by annotation and object when there is no such pool, or no list", async () => {
        for (const [value, message] of [
          [json("nobody"), 'the IPv4 pool "nobody" that was asked for does not exist'],
          [json("six"), "is not an IPv4 pool"],
          ["special", "must be a JSON list of texts"],
          ['{"a":1}', "must be a JSON list of texts"],
          ["[1]", "must be a JSON list of texts"],
        ] as const) {
          await site.makePod("web", annotated({ [`${CNI}ipv4pools`]: value }));
          const error = await failureOf(add());
          expect(error.code).toBe(107);
          expect(error.message).toContain("Pod default/web: the annotation cni.projectcalico.org/ipv4pools");
          expect(error.message).toContain(message);
        }
        await site.makePod("web");
        await site.makeNamespace("default", annotated({ [`${CNI}ipv4pools`]: json("nobody") }));
        const error = await failureOf(add());
        expect(error.message).toContain("Namespace default: the annotation cni.projectcalico.org/ipv4pools");
        expect(await site.traces()).toEqual([]);
      });

      it("say whose they are when they are full", async () => {
        await site.makePool("tiny", "10.80.0.0/32", { blockSize: 32 });
        const tiny = annotated({ [`${CNI}ipv4pools`]: json("tiny") });
        await site.makePod("other", tiny);
        await add({ args: ARGS.replace("web", "other"), container: "other", netns: netns() });
        await site.makePod("web", tiny);
        const error = await failureOf(add());
        expect(error.code).toBe(102);
        expect(error.message).toMatch(/^Pod default\/web: the annotation \S+ipv4pools: no free IPv4 address/);
      });
    });

    describe("ipFamilies", () => {
      beforeEach(() => site.makePool("pool6", "fd77::/64"));
      const families = (...wanted: string[]) => annotated({ [`${CNI}ipFamilies`]: json(...wanted) });

      it.each<[string[], RegExp[]]>([
        [["IPv6"], [/^fd77:/]],
        [["IPv4"], [/^10\.77\./]],
        [
          ["IPv6", "IPv4"],
          [/^10\.77\./, /^fd77:/],
        ],
      ])("%j are the pod's families", async (wanted, expected) => {
        await site.makePod("web", families(...wanted));
        const given = addressesOf(await add());
        expect(given).toHaveLength(expected.length);
        for (const [index, pattern] of expected.entries()) expect(given[index]).toMatch(pattern);
      });

      it("of the namespace hold unless the pod has its own", async () => {
        await site.makeNamespace("default", families("IPv6"));
        await site.makePod("web");
        expect(addressesOf(await add())[0]).toMatch(/^fd77:/);
        await site.makePod("web", families("IPv4"));
        expect(addressesOf(await add({ container: "b", netns: site.anotherPod().path }))[0]).toMatch(/^10\./);
      });

      it("that do not exist are refused", async () => {
        for (const wanted of [["ipv4"], ["IPv5"], []]) {
          await site.makePod("web", families(...wanted));
          const error = await failureOf(add());
          expect([error.code, error.message]).toEqual([107, expect.stringContaining(`${CNI}ipFamilies`)]);
        }
      });
    });

    describe("hwAddr", () => {
      it.each(["02:AA:bb:cc:dd:01", "02-aa-bb-cc-dd-01", "02aa.bbcc.dd01"])("%s is the MAC", async (text) => {
        await site.makePod("web", annotated({ [`${CNI}hwAddr`]: text }));
        const result = await add();
        expect(mac()).toBe("02:aa:bb:cc:dd:01");
        expect(result.interfaces[1]!.mac).toBe("02:aa:bb:cc:dd:01");
        expect(await add()).toEqual(result);
      });

      it("is refused when no interface can have it", async () => {
        for (const text of ["", "02:00", "01:00:5e:00:00:01", "00:00:00:00:00:00", "02:00:00:00:00:00:00:01"]) {
          await site.makePod("web", annotated({ [`${CNI}hwAddr`]: text }));
          const error = await failureOf(add());
          expect([error.code, error.message]).toEqual([107, expect.stringContaining(`${CNI}hwAddr`)]);
        }
        expect(await site.traces()).toEqual([]);
      });
    });

    it("is refused floatingIPs that the network does not allow, or that are none", async () => {
      await site.makePod("web", annotated({ [`${CNI}floatingIPs`]: json("203.0.113.9") }));
      expect((await failureOf(add())).details).toContain("requested feature is not enabled: floating_ips");
      await site.makePod("web", annotated({ [`${CNI}floatingIPs`]: json("203.0.113") }));
      const error = await failureOf(add({ config: { feature_control: { floating_ips: true } } }));
      expect([error.code, error.message]).toEqual([107, expect.stringContaining(`${CNI}floatingIPs`)]);
    });

    it("is refused allowedSourcePrefixes that cannot be read, by field and object", async () => {
      await site.makePod("web", annotated({ [`${CNI}allowedSourcePrefixes`]: json("here") }));
      const error = await failureOf(add());
      expect(error.code).toBe(107);
      expect(error.message).toContain("Pod default/web: metadata.annotations");
      expect(error.message).toContain(`${CNI}allowedSourcePrefixes`);
      expect(await site.traces()).toEqual([]);
      // What the runtime does after a failed ADD.
      await del();
    });

    it("is attached without a limit that cannot be read, and the log says so", async () => {
      await site.makePod("web", annotated({ "qos.projectcalico.org/ingressBandwidth": "a lot" }));
      await add();
      expect((await endpoint()).spec.qosControls).toBeUndefined();
      expect(site.logged.join("\n")).toMatch(/warning: Pod default\/web: .*qos.projectcalico.org\/ingressBandwidth/);
    });

    it("gets addresses of pools that select its namespace, and STATUS does not ask for which", async () => {
      await site.makePool("blue", "10.90.0.0/24", { namespaceSelector: "team == 'blue'", allowedUses: ["Workload"] });
      await site.client.delete(IPPool, { name: "pool4" });
      await site.status(call());
      await site.makeNamespace("default", { labels: { team: "blue" } });
      await site.makePod("web");
      expect(addressesOf(await add())[0]).toMatch(/^10\.90\.0\./);
      await site.makeNamespace("default", { labels: { team: "red" } });
      const error = await failureOf(add({ container: "b", netns: site.anotherPod().path }));
      expect([error.code, error.message]).toEqual([102, expect.stringContaining("namespaceSelector team == 'blue'")]);
    });

    it("gets addresses for another plugin of pools that select its namespace", async () => {
      await site.makePool("blue", "10.90.0.0/24", { namespaceSelector: "team == 'blue'", allowedUses: ["Workload"] });
      await site.client.delete(IPPool, { name: "pool4" });
      await site.makeNamespace("default", { labels: { team: "blue" } });
      const result = await assignForCaller(site.call("ADD", call()), site.machine);
      expect(addressesOf(result)[0]).toMatch(/^10\.90\.0\./);
      await releaseForCaller(site.call("DEL", call()), site.machine);
      expect(await site.traces()).toEqual([]);
    });

    describe("with usePodCidr", () => {
      const answer = { cniVersion: "1.0.0", ips: [{ address: "10.5.0.9/24" }] };
      const echo = async (ipam: object, config: object = {}) => {
        makeIpamPlugin(site.folder, "host-local", answer);
        site.pod.exec("sh", "-c", `sed -i 's,cat >/dev/null,cat >"${site.folder}/stdin",' "${site.folder}/host-local"`);
        await add({ config: { ...config, ipam: { type: "host-local", ...ipam } } });
        const given: unknown = await Bun.file(`${site.folder}/stdin`).json();
        return (given as { ipam: unknown }).ipam;
      };
      const node = (name: string, ...podCIDRs: string[]) =>
        site.client.create(Node, {
          apiVersion: API_VERSION,
          kind: "Node",
          metadata: { name },
          spec: {},
          status: { podCIDRs },
        });

      it("gives host-local the node's networks, in both of its forms, and keeps what else there is", async () => {
        await site.makePod("web");
        await node("node-1", "10.5.0.0/24", "fd05::/112");
        expect(await echo({ subnet: "usePodCidr", dataDir: "/d" })).toEqual({
          type: "host-local",
          subnet: "10.5.0.0/24",
          dataDir: "/d",
        });
        await del({ config: { ipam: { type: "host-local", subnet: "usePodCidr" } } });
        expect(await Bun.file(`${site.folder}/stdin`).json()).toMatchObject({ ipam: { subnet: "0.0.0.0/0" } });
        const ranges = [[{ subnet: "USEPODCIDR", rangeStart: "10.5.0.3" }], [{ subnet: "usePodCidrIPv6" }]];
        expect(await echo({ ranges })).toEqual({
          type: "host-local",
          ranges: [[{ subnet: "10.5.0.0/24", rangeStart: "10.5.0.3" }], [{ subnet: "fd05::/112" }]],
        });
        await del({ config: { ipam: { type: "host-local", ranges } } });
        expect(await site.traces()).toEqual([]);
      });

      it("takes the node that kubernetes.node_name names", async () => {
        await site.makePod("web");
        await node("here", "10.6.0.0/24");
        expect(await echo({ subnet: "usePodCidr" }, { kubernetes: { node_name: "here" } })).toMatchObject({
          subnet: "10.6.0.0/24",
        });
      });

      it("is refused by name of the node where there is no such network", async () => {
        await site.makePod("web");
        expect((await failureOf(echo({ subnet: "usePodCidr" }))).message).toContain("Node node-1 does not exist");
        await node("node-1");
        expect((await failureOf(echo({ subnet: "usePodCidr" }))).message).toContain("no podCidr for node node-1");
        await node("two", "10.6.0.0/24", "10.7.0.0/24");
        const two = { kubernetes: { node_name: "two" } };
        expect((await failureOf(echo({ subnet: "usePodCidr" }, two))).message).toContain("two pod networks of one");
        await node("six", "fd05::/112");
        const six = { kubernetes: { node_name: "six" } };
        const error = await failureOf(echo({ subnet: "usePodCidr" }, six));
        expect([error.code, error.message]).toEqual([7, expect.stringContaining("Node six has no IPv4 pod network")]);
      });
    });

    describe("and its sandboxes", () => {
      const newer = () => ({ container: "newer", netns: site.anotherPod().path });

      it("a late DEL of the old one takes nothing of its successor", async () => {
        await site.makePod("web");
        const old = await add();
        const young = newer();
        const result = await add(young);
        expect(addressesOf(result)).not.toEqual(addressesOf(old));
        await del();
        expect((await endpoint()).spec).toMatchObject({ containerID: "newer", ipNetworks: addressesOf(result) });
        await site.check(result, call(young));
        await del(young);
        expect(await site.traces()).toEqual([]);
      });

      it("of a former pod of the name too", async () => {
        await site.makePod("web");
        await add();
        await site.makePod("web");
        const young = newer();
        const result = await add(young);
        await del();
        await site.check(result, call(young));
        await del(young);
        expect(await site.traces()).toEqual([]);
      });

      it("DEL before the new pod's ADD leaves the new pod alone", async () => {
        if (backend !== "kubernetes") return;
        await site.makePod("web");
        await add();
        const { metadata } = await site.makePod("web");
        await del();
        const pod = (await site.client.get(Pod, { namespace: "default", name: "web" }))!;
        expect(pod.metadata.resourceVersion).toBe(metadata.resourceVersion);
        expect(await site.traces()).toEqual([]);
      });

      it("DEL succeeds when pod and namespace are gone, and twice", async () => {
        await site.makePod("web");
        await add();
        await site.client.delete(Pod, { namespace: "default", name: "web" });
        await site.client.delete(Namespace, { name: "default" });
        await del();
        await del();
        expect(await site.traces()).toEqual([]);
      });

      it("an ADD after DEL of the same container is a new one", async () => {
        await site.makePod("web");
        await add();
        await del();
        const result = await add();
        await site.check(result, call());
        await del();
        expect(await site.traces()).toEqual([]);
      });
    });

    it("that a failed ADD was for has no trace of it", async () => {
      await site.makePod("web");
      site.pod.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other");
      expect((await failureOf(add())).code).toBe(106);
      expect(await site.traces()).toEqual([]);
    });
  });

  describe("in a datastore of our own", () => {
    it("without its object has no labels and annotations, and the log says so", async () => {
      using site = await makeSite("sqlite");
      await site.makePool("pool4", "10.77.0.0/16");
      await site.add(call());
      expect(site.logged.join("\n")).toContain("there is no such Pod");
      const { items } = await site.client.list(WorkloadEndpoint);
      expect(items[0]!.spec.profiles).toEqual(["kns.default"]);
    });

    it("is looked up at the API server that the configuration names", () => {
      const config = (extra: object) =>
        parseNetworkConfig({ cniVersion: "1.0.0", name: "n", ipam: { type: "calico-ipam" }, ...extra });
      expect(apiServerConfig(config({ policy: { type: "k8s", k8s_auth_token: "t" } }), {})).toBeUndefined();
      expect(
        apiServerConfig(
          config({
            etcd_endpoints: "http://a:2379",
            policy: { type: "k8s", k8s_api_root: "https://a:6443/api/v1/", k8s_auth_token: "t" },
            qps: 7,
          }),
          { K8S_API_TOKEN: "other", KUBECONFIG: "/other", K8S_CLIENT_BURST: "9" },
        ),
      ).toEqual({ type: "kubernetes", apiEndpoint: "https://a:6443", token: "t", qps: 7, burst: 9 });
    });
  });

  describe("where Kubernetes is the datastore", () => {
    let site: Site;
    beforeEach(async () => {
      site = await makeSite("kubernetes");
      await site.makePool("pool4", "10.77.0.0/16");
    });
    afterEach(() => site[Symbol.dispose]());
    const add = (options?: CallOptions) => site.add(call(options));
    const del = (options?: CallOptions) => site.del(call(options));
    const annotations = async () =>
      (await site.client.get(Pod, { namespace: "default", name: "web" }))!.metadata.annotations ?? {};

    it("gets upstream's annotations, and loses all but the container's", async () => {
      await site.makePod("web");
      const [address] = addressesOf(await add());
      const [podIP, podIPs, containerID] = [`${CNI}podIP`, `${CNI}podIPs`, `${CNI}containerID`];
      expect(await annotations()).toEqual({ [podIP]: address, [podIPs]: address, [containerID]: CONTAINER });
      await del();
      expect(await annotations()).toEqual({ [podIP]: "", [podIPs]: "", [containerID]: CONTAINER });
    });

    it("must exist, with its namespace, on this node, and be the one of the sandbox", async () => {
      const refused = async (message: string, options?: CallOptions): Promise<void> => {
        const error = await failureOf(add(options));
        expect([error.code, error.message]).toEqual([11, expect.stringContaining(message)]);
      };
      await refused("Pod default/web does not exist in kubernetes");
      const { metadata } = await site.makePod("web");
      await site.client.delete(Namespace, { name: "default" });
      await refused("Namespace default does not exist");
      await site.makePod("web", {}, { nodeName: "node-2" });
      await refused("Pod default/web is on node node-2, and this node is node-1");
      await site.makePod("web", {}, { hostNetwork: true });
      await refused("on its node's own network");
      await site.makePod("web");
      await refused("another pod of that name", { args: `${ARGS};K8S_POD_UID=${metadata.uid}` });
      expect(await site.traces()).toEqual([]);
      const { uid } = (await site.client.get(Pod, { namespace: "default", name: "web" }))!.metadata;
      await add({ args: `${ARGS};K8S_POD_UID=${uid}` });
    });

    it("may have another uid for the kubelet when it is static", async () => {
      await site.makePod("web", annotated({ "kubernetes.io/config.mirror": "hash" }));
      await add({ args: `${ARGS};K8S_POD_UID=hash` });
    });

    it("is the only thing that can be attached, and its DEL finds nothing to do for anything else", async () => {
      const error = await failureOf(site.add({ config: K8S }));
      expect([error.code, error.message]).toEqual([4, expect.stringContaining("K8S_POD_NAMESPACE")]);
      await site.del({ config: K8S });
    });

    it("keeps the addresses that ADD noted, whatever the kubelet says of a former sandbox's", async () => {
      const { metadata, spec } = await site.makePod("web");
      const status = { podIPs: [{ ip: "10.5.0.1" }], phase: "Running" };
      await site.client.update(Pod, { apiVersion: "v1", kind: "Pod", metadata, spec, status });
      makeIpamPlugin(site.folder, "host-local", { cniVersion: "1.0.0", ips: [{ address: "10.5.0.9/24" }] });
      const config = { ipam: { type: "host-local" } };
      expect(addressesOf(await add({ config }))).toEqual(["10.5.0.9/32"]);
      expect(addressesOf(await add({ config }))).toEqual(["10.5.0.9/32"]);
    });

    it("needs no policy.type", async () => {
      await site.makePod("web", annotated({ [`${CNI}ipAddrs`]: json("10.77.3.33") }));
      expect(addressesOf(await add({ config: { policy: {} } }))).toEqual(["10.77.3.33/32"]);
    });

    it("is detached though one of its annotations cannot be read any more", async () => {
      await site.makePod("web");
      await add();
      const pod = (await site.client.get(Pod, { namespace: "default", name: "web" }))!;
      const wrong = { ...pod.metadata.annotations, [`${CNI}allowedSourcePrefixes`]: "here" };
      await site.client.update(Pod, { ...pod, metadata: { ...pod.metadata, annotations: wrong } });
      await del();
      expect(await createIpam(site.client).ipsByHandle(HANDLE)).toEqual([]);
      expect(site.host.exec("ip", "-o", "link")).not.toContain("cali");
      expect(site.logged.join("\n")).toContain("it cannot be read");
    });

    it("is not written by an ADD that took so long that another pod has its name", async () => {
      await site.makePod("web");
      let replaced = false;
      site.hook = async ({ type }) => {
        if (type !== "write" || replaced) return;
        replaced = true;
        await site.makePod("web");
      };
      const error = await failureOf(add());
      expect([error.code, error.message]).toEqual([11, expect.stringContaining("replaced by another")]);
      expect(await annotations()).toEqual({});
      expect(await site.traces()).toEqual([]);
    });

    it("has one interface, whatever it is called: a second one's DEL leaves it", async () => {
      await site.makePod("web");
      const result = await add({ ifName: "net0" });
      await site.check(result, call({ ifName: "net0" }));
      expect(await add({ ifName: "net0" })).toEqual(result);
      expect((await failureOf(add({ ifName: "net1" }))).code).toBe(106);
      await del({ ifName: "net1" });
      await site.check(result, call({ ifName: "net0" }));
      await del({ ifName: "net0" });
      expect(await site.traces()).toEqual([]);
    });

    it("is collected without a list of pods", async () => {
      await site.makePod("web");
      await site.makePod("stays");
      await add();
      const stays = { args: ARGS.replace("web", "stays"), container: "stays", netns: site.anotherPod().path };
      const result = await add(stays);
      await site.gc([{ containerID: "stays", ifname: "eth0" }]);
      expect((await annotations())[`${CNI}podIP`]).toBe("");
      await site.check(result, call(stays));
      await del(stays);
      expect(await site.traces()).toEqual([]);
    });
  });

  describe("whose former sandbox is deleted while the new one is added, at whatever moment,", () => {
    let site: Site;
    beforeEach(async () => {
      site = await makeSite("kubernetes");
      await site.makePool("pool4", "10.77.0.0/16");
    });
    afterEach(() => site[Symbol.dispose]());

    /** Does the one while the other does its nth operation, for every n; a lock of its own lets it go on. */
    const meeting = async (
      annotations: Readonly<Record<string, string>>,
      first: (young: CallOptions) => Promise<unknown>,
      second: (young: CallOptions) => Promise<unknown>,
    ): Promise<void> => {
      const young = { container: "newer", netns: site.anotherPod().path };
      for (let moment = 0; ; moment++) {
        await site.makePod("web", { annotations });
        await site.add(call());
        let met = false;
        site.hook = async ({ operation }) => {
          if (operation !== moment || met) return;
          met = true;
          site.hook = undefined;
          await second(young);
        };
        await first(young);
        site.hook = undefined;
        if (!met) {
          expect(moment).toBeGreaterThan(5);
          return;
        }
        const pod = (await site.client.get(Pod, { namespace: "default", name: "web" }))!;
        const networks = pod.metadata.annotations?.[`${CNI}podIPs`];
        expect(networks).toMatch(/^10\.77\..*\/32$/);
        expect(pod.metadata.annotations?.[`${CNI}containerID`]).toBe("newer");
        const { ips } = await site.add(call(young));
        expect(ips.map(({ address }) => address)).toEqual([networks]);
        const held = await createIpam(site.client).ipsByHandle("net1.newer");
        expect(held.map(({ address }) => `${address}/32`)).toEqual([networks]);
        await site.del(call(young));
        expect(await site.traces()).toEqual([]);
      }
    };
    const lock = () => ({ ipam_lock_file: `${site.folder}/another.lock` });
    const exact = { [`${CNI}ipAddrs`]: json("10.77.3.33") };

    it.each([{}, exact])("the new one keeps what it got: DEL within ADD, annotations %j", (annotations) =>
      meeting(
        annotations,
        (young) => site.add(call(young)),
        () => site.del(call({ config: lock() })),
      ),
    );

    it.each([{}, exact])("the new one keeps what it got: ADD within DEL, annotations %j", (annotations) =>
      meeting(
        annotations,
        () => site.del(call()),
        (young) => site.add(call({ ...young, config: lock() })),
      ),
    );
  });

  describe("where each write is a commit of its own, after a crash", () => {
    let site: Site;
    beforeEach(async () => {
      site = await makeSite("kubernetes");
      await site.makePool("pool4", "10.77.0.0/16");
    });
    afterEach(() => site[Symbol.dispose]());

    /** Runs the work with a crash around its writes, one after the other, until it gets through; `then` follows each. */
    const crashing = async (work: () => Promise<unknown>, then: () => Promise<void>): Promise<number> => {
      for (let write = 0; write < 30; write++) {
        for (const fault of ["crash", "crash-after"] as const) {
          let crashed = false;
          site.hook = (operation) => {
            if (operation.type !== "write" || operation.write !== write || crashed) return undefined;
            crashed = true;
            return fault;
          };
          await work().then(
            () => {},
            () => {},
          );
          site.hook = undefined;
          await then();
          if (!crashed) return write;
        }
      }
      throw new Error("it never ends");
    };

    it("of an ADD, DEL leaves nothing", async () => {
      const writes = await crashing(
        async () => {
          await site.makePod("web");
          await site.add(call());
        },
        async () => {
          await site.del(call());
          expect(await site.traces()).toEqual([]);
        },
      );
      expect(writes).toBeGreaterThanOrEqual(3);
    });

    it("of an ADD, the next sandbox works, and the DELs of both leave nothing", async () => {
      const young = { container: "newer", netns: site.anotherPod().path };
      await crashing(
        async () => {
          await site.makePod("web");
          await site.add(call());
        },
        async () => {
          const result = await site.add(call(young));
          await site.del(call());
          await site.check(result, call(young));
          await site.del(call(young));
          expect(await site.traces()).toEqual([]);
        },
      );
    });

    it("of an ADD, GC leaves nothing but a handle that counts nothing, which check finds", async () => {
      await crashing(
        async () => {
          await site.makePod("web");
          await site.add(call());
        },
        async () => {
          await site.gc([]);
          const left = await site.traces();
          expect(left.filter((trace) => !trace.startsWith("handle"))).toEqual([]);
          if (left.length === 0) return;
          const { findings } = await createIpam(site.client).check();
          expect(findings.map(({ kind }) => kind)).toContain("handle-empty");
          await createIpam(site.client).repair();
          expect(await site.traces()).toEqual([]);
        },
      );
    });

    it("of a DEL, the next one leaves nothing", async () => {
      await crashing(
        async () => {
          const hook = site.hook;
          site.hook = undefined;
          await site.makePod("web");
          await site.add(call());
          site.hook = hook;
          await site.del(call());
        },
        async () => {
          await site.del(call());
          expect(await site.traces()).toEqual([]);
        },
      );
    });

    it("of an ADD with exact addresses that a former sandbox holds, both DELs leave nothing", async () => {
      const young = { container: "newer", netns: site.anotherPod().path };
      await crashing(
        async () => {
          const hook = site.hook;
          site.hook = undefined;
          await site.makePod("web", annotated({ [`${CNI}ipAddrs`]: json("10.77.3.33") }));
          await site.add(call());
          site.hook = hook;
          await site.add(call(young));
        },
        async () => {
          await site.del(call());
          await site.del(call(young));
          expect(await site.traces()).toEqual([]);
          expect(await site.client.get(IPAMHandle, ipamHandleRef(HANDLE))).toBeUndefined();
        },
      );
    });
  });
});
