import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Attachment, CniVerb, Node, Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { BY_AGENT, type Cluster, createCluster, interfaces, kubernetesArgs, pool } from "./cluster.ts";
import { expectError, expectNothingLeft } from "./expect.ts";
import { NOTHING, remains } from "./records.ts";

describeLab("what is wrong is said in an error object, and leaves nothing", () => {
  let cluster: Cluster;
  let node: Node;
  beforeAll(async () => {
    cluster = await createCluster({
      pools: [pool("pool4", "10.65.0.0/16"), pool("tiny", "10.99.0.0/30", { blockSize: 30 })],
    });
    node = cluster.nodes[0]!;
  });
  afterEach(() => cluster.clean());
  afterAll(() => cluster?.dispose());

  /** What is given instead of a network configuration: its text, or changes of a good one; undefined removes a key. */
  type Input = string | Record<string, unknown>;
  const configurations: [string, Input, number, RegExp][] = [
    ["nothing", "", 6, /JSON.*empty/s],
    ["broken JSON", '{"cniVersion": "1.0.0", "name": ', 6, /JSON/],
    ["a list", "[]", 6, /object/],
    ["null", "null", 6, /object/],
    ["no name", { name: undefined }, 7, /"name"/],
    ["a name that is none", { name: "../up" }, 7, /"name"/],
    ["a name that is a number", { name: 7 }, 7, /"name"/],
    ["an unknown version", { cniVersion: "9.9.9" }, 1, /"cniVersion".*9\.9\.9.*1\.1\.0/s],
    ["a version that is a number", { cniVersion: 1 }, 7, /"cniVersion"/],
    ["no IPAM", { ipam: undefined }, 7, /"ipam\.type"/],
    ["IPAM that is a list", { ipam: [] }, 7, /"ipam"/],
    ["an IPAM plugin that does not exist", { ipam: { type: "no-such-ipam" } }, 7, /"ipam\.type".*no-such-ipam/],
    ["an IPAM plugin with a path", { ipam: { type: "../host-local" } }, 7, /"ipam\.type"/],
    ["pools that are no list", { ipam: { type: "calico-ipam", ipv4_pools: "pool4" } }, 7, /"ipam\.ipv4_pools"/],
    ["a pool that does not exist", { ipam: { type: "calico-ipam", ipv4_pools: ["mistyped"] } }, 102, /mistyped/],
    ["IPv6 without a pool for it", { ipam: { type: "calico-ipam", assign_ipv6: "true" } }, 102, /IPv6/],
    ["an MTU that is text", { mtu: "big" }, 7, /"mtu"/],
    ["an MTU that is too small", { mtu: 5 }, 7, /"mtu"/],
    ["a device type nobody knows", { device_type: "tap" }, 7, /"device_type"/],
    ["an external dataplane", { dataplane_options: { type: "grpc" } }, 2, /"dataplane_options\.type".*grpc/],
    ["a datastore nobody knows", { datastore_type: "consul" }, 7, /"datastore_type"/],
    ["Kubernetes without an API server", { datastore_type: "kubernetes" }, 7, /"kubernetes\.kubeconfig"/],
    ["etcd without endpoints", { datastore_type: "etcdv3" }, 7, /etcd_endpoints/],
    ["an endpoint that is no URL", { datastore_type: "etcdv3", etcd_endpoints: "nonsense" }, 7, /etcd_endpoints/],
    [
      "a certificate without its key",
      { datastore_type: "etcdv3", etcd_endpoints: "https://10.0.0.1:1", etcd_cert_file: "/c" },
      7,
      /etcd_key_file/,
    ],
    ["a readiness gate that is no URL", { readiness_gates: ["here"] }, 7, /"readiness_gates\[0\]"/],
    ["a node name that is none", { nodename: "a b" }, 7, /nodename/],
    ["a nodename file that is missing", { nodename_file: "/none" }, 11, /\/none/],
  ];
  // An agent makes it.
  if (!BY_AGENT) {
    const required = { require_mtu_file: true };
    configurations.push(["a required MTU file that is missing", required, 11, /require_mtu_file/]);
  }
  test.each(configurations)("ADD with a configuration that has %s", async (_, input, code, message) => {
    const pod = await node.pod("bad");
    const conf = typeof input === "string" ? input : JSON.stringify({ ...cluster.conf(), ...input });
    expectError(await pod.cni("ADD", conf, { args: kubernetesArgs(pod) }), code, message);
    await expectNothingLeft(cluster);
  });

  const calls: [string, CniVerb | string, Attachment, number, RegExp][] = [
    ["no CNI_NETNS", "ADD", { netns: "" }, 4, /CNI_NETNS/],
    ["no CNI_CONTAINERID", "ADD", { containerId: "" }, 4, /CNI_CONTAINERID/],
    [
      "neither CNI_IFNAME nor CNI_CONTAINERID",
      "DEL",
      { ifName: "", containerId: "" },
      4,
      /CNI_CONTAINERID.*CNI_IFNAME/,
    ],
    ["a verb nobody knows", "MOVE", {}, 4, /CNI_COMMAND.*MOVE/],
    ["a container ID with a slash", "ADD", { containerId: "../x" }, 4, /CNI_CONTAINERID/],
    ["a namespace that does not exist", "ADD", { netns: "/run/netns/none" }, 4, /CNI_NETNS.*\/run\/netns\/none/],
    ["a namespace that is a file", "ADD", { netns: "/etc/hostname" }, 4, /CNI_NETNS.*\/etc\/hostname/],
    ["the node's own namespace", "ADD", { netns: "/proc/self/ns/net" }, 4, /CNI_NETNS/],
    ["an interface name of 16 characters", "ADD", { ifName: "sixteencharacter" }, 4, /CNI_IFNAME.*15/s],
    ["an interface name with a slash", "ADD", { ifName: "a/b" }, 4, /CNI_IFNAME/],
    ["CNI_ARGS that are none", "ADD", { env: { CNI_ARGS: "nonsense" } }, 4, /CNI_ARGS/],
    ["an address that is none", "ADD", { args: { IP: "10.65.0" } }, 4, /IP.*10\.65\.0/],
    ["an address in no pool", "ADD", { args: { IP: "192.0.2.1" } }, 102, /192\.0\.2\.1/],
    ["CHECK without what ADD answered", "CHECK", {}, 7, /"prevResult"/],
  ];
  test.each(calls)("a call with %s", async (_, verb, attachment, code, message) => {
    const pod = await node.pod("bad");
    expectError(await pod.cni(verb as CniVerb, cluster.conf(), attachment), code, message);
    await expectNothingLeft(cluster);
  });

  test("verbs that the version of the configuration does not have", async () => {
    const pod = await node.pod("bad");
    expectError(await pod.cni("CHECK", cluster.conf({ cniVersion: "0.3.1" })), 1, /CHECK.*0\.3\.1/);
    expectError(await pod.cni("GC", cluster.conf({ cniVersion: "1.0.0" })), 1, /GC.*1\.0\.0/);
    expectError(await pod.cni("STATUS", cluster.conf({ cniVersion: "1.0.0" })), 1, /STATUS.*1\.0\.0/);
  });

  describe("a name that is taken is refused, and its owner is not touched:", () => {
    test("the pod has an interface of that name", async () => {
      const pod = await node.pod("taken");
      await pod.run(["ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other"]);
      const before = await pod.run(["ip", "-brief", "link"]);
      expectError(await pod.cni("ADD", cluster.conf()), 106, /eth0/);
      expect(await pod.run(["ip", "-brief", "link"])).toBe(before);
      await expectNothingLeft(cluster);
    });

    test("the node has an interface of the host side's name", async () => {
      const pod = await node.pod("taken");
      const name = `cali${pod.containerId.slice(0, 11)}`;
      await node.run(["ip", "link", "add", name, "type", "bridge"]);
      expectError(await pod.cni("ADD", cluster.conf()), 106, new RegExp(name));
      expect(await interfaces(node)).toEqual([name]);
      expect(remains(await cluster.records())).toEqual(NOTHING);
    });

    test("another container's host side has that name", async () => {
      const [pod, late] = (await node.pods(["one", "two"])) as [Pod, Pod];
      const prefix = pod.containerId.slice(0, 11);
      await pod.add(cluster.conf());
      const before = remains(await cluster.records());
      const attachment = { containerId: `${prefix}-another` };
      expectError(await late.cni("ADD", cluster.conf(), attachment), 106, new RegExp(`cali${prefix}`));
      expect(remains(await cluster.records())).toEqual(before);
      await pod.run(["ping", "-c1", "-W2", node.address4]);
      expect((await late.cni("DEL", cluster.conf(), attachment)).status).toBe(0);
      await pod.run(["ping", "-c1", "-W2", node.address4]);
      await pod.del(cluster.conf());
      await expectNothingLeft(cluster);
    });
  });

  test("a pool without room is named, with the reason; room that is made is used", async () => {
    const conf = cluster.conf({ ipam: { type: "calico-ipam", ipv4_pools: ["tiny"] } });
    const pods = await node.pods(["r1", "r2", "r3", "r4", "r5"]);
    for (const pod of pods.slice(0, 4)) await pod.add(conf);
    const before = remains(await cluster.records());
    expectError(await pods[4]!.cni("ADD", conf), 102, /tiny.*10\.99\.0\.0\/30/s);
    expect(remains(await cluster.records())).toEqual(before);
    await pods[0]!.del(conf);
    await pods[4]!.add(conf);
    for (const pod of pods.slice(1)) await pod.del(conf);
    await expectNothingLeft(cluster);
  });

  describe("the datastore", () => {
    test.each([
      ["refuses connections", () => `http://${cluster.lab.underlay4}:9`],
      ["does not answer at all", () => "http://172.31.0.250:2379"],
    ])("%s: try again later, and which one", async (_, endpoint) => {
      const pod = await node.pod("down");
      const conf = cluster.conf({ datastore_type: "etcdv3", etcd_endpoints: endpoint() });
      for (const verb of ["ADD", "DEL"] as const) {
        const outcome = await pod.cni(verb, conf, { timeout: 20_000 });
        expectError(outcome, 11, new RegExp(endpoint().replaceAll(".", "\\.")));
      }
      await expectNothingLeft(cluster);
    });

    const damages: [string, (good: string) => string | Uint8Array][] = [
      ["holds something else", () => "this is not a database\n".repeat(400)],
      [
        "lost its middle",
        (good) => {
          const bytes = new Uint8Array(readFileSync(good));
          return bytes.fill(0xff, 4096, Math.floor(bytes.length * 0.9));
        },
      ],
      ["was cut short", (good) => new Uint8Array(readFileSync(good)).slice(0, 5000)],
    ];
    test.each(damages)("is a file that %s: said, and not a byte of it changes", async (_, damage) => {
      const pod = await node.pod("corrupt");
      const folder = `${cluster.lab.machineShare}/corrupt`;
      mkdirSync(folder, { recursive: true });
      copyFileSync(`${cluster.lab.machineShare}/datastore.db`, `${folder}/good.db`);
      const file = `${folder}/datastore.db`;
      writeFileSync(file, damage(`${folder}/good.db`));
      const bytes = readFileSync(file);
      const conf = cluster.conf({ datastore_file: `${cluster.lab.share}/corrupt/datastore.db` });
      for (const verb of ["ADD", "DEL"] as const) {
        expectError(await pod.cni(verb, conf), 101, /\/mnt\/share\/corrupt\/datastore\.db/);
        expect(Buffer.compare(readFileSync(file), bytes), `${verb} changed the file`).toBe(0);
      }
      expect(await interfaces(node)).toEqual([]);
    });

    test("is on a full disk: said, nothing is left, and works again when there is room", async () => {
      const pod = await node.pod("fulldisk");
      const file = "/mnt/small/datastore.db";
      await node.run(["sh", "-c", "mkdir -p /mnt/small && mount -t tmpfs -o size=2m tmpfs /mnt/small"]);
      const env = { DATASTORE_TYPE: "sqlite", DATASTORE_FILE: file };
      await node.run(["calicoctl", "apply", "-f", "-"], { env, stdin: JSON.stringify(pool("small", "10.65.0.0/24")) });
      const conf = cluster.conf({ datastore_file: file });
      await pod.add(conf);
      await pod.del(conf);
      await node.exec(["sh", "-c", "cat /dev/zero >/mnt/small/ballast"]);
      // As pods come, the room that the file has inside is used up as well; from then on every one of them is refused.
      let refused: { pod: Pod } | undefined;
      const pods = await node.pods(Array.from({ length: 60 }, (_, index) => `fill${index}`));
      const attached: Pod[] = [];
      for (const each of pods) {
        const outcome = await each.cni("ADD", conf);
        if (outcome.status === 0) attached.push(each);
        else {
          expectError(outcome, 101, /\/mnt\/small\/datastore\.db.*(full|room|space)/is);
          refused = { pod: each };
          break;
        }
      }
      expect(refused, "the disk was never full").toBeDefined();
      expect(await interfaces(node)).toHaveLength(attached.length);
      await node.run(["rm", "/mnt/small/ballast"]);
      await refused!.pod.add(conf);
      for (const each of [...attached, refused!.pod]) await each.del(conf);
      const shown = await node.run(["calico-ipam", "check", "-o", "json"], { env });
      expect(shown).not.toContain("calico-net.");
      expect(await interfaces(node)).toEqual([]);
      await node.run(["umount", "/mnt/small"]);
    });
  });
});
