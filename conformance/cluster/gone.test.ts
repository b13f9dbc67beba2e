/**
 * What a node had is given back when it is deleted, be it ours or one that runs upstream's Go Calico, whose records lie beside ours, also in the same
 * block: shown, released and collected are both alike.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, clusterMissing } from "./cluster.ts";
import { killControllers } from "./kill.ts";
import { agentsReady, CONFLIST, CONTROLLERS, installed, NAMESPACE, setLeakGracePeriod } from "./manifest.ts";
import type { ClusterNode } from "./node.ts";
import { heldIn, type Ipam, ipamOf, nothingLeft, remains } from "./remains.ts";
import { reportFailures } from "./report.ts";
import * as go from "./upstream.ts";
import { amongThemselves, ask, deployment, PORT, SELECTOR, scale } from "./workload.ts";

const PODS = 6;
/** Blocks of the Go node, beside the one with its pods: enough work for the collector that it can be killed in the middle of it. */
const MORE_BLOCKS = 150;
/** A collector that is killed between a block and a handle leaves the handle, which is then looked at for so long. */
const GRACE = "10s";
const GO_NODE = "node3";
const GO_PODS = ["go-1", "borrower"] as const;
const GO_BLOCK = "192.168.200.0/26";
const moreBlocks = Array.from(
  { length: MORE_BLOCKS },
  (_, index) => `192.168.${210 + Math.floor(index / 4)}.${(index % 4) * 64}/26`,
);
const missing = clusterMissing();

describe.skipIf(missing !== undefined)(missing ? `deleted nodes (skipped: ${missing})` : "deleted nodes", () => {
  let cluster: Cluster;
  let empty: readonly string[];
  /** Where calico-kube-controllers runs, and the other one of ours. */
  let stays: ClusterNode;
  let goes: ClusterNode;

  beforeAll(async () => {
    ({ cluster } = await installed());
    await cluster.server.apply(deployment(0), amongThemselves);
    empty = await remains(cluster);
    const [controllers] = await cluster.pods(CONTROLLERS, NAMESPACE);
    stays = cluster.nodes.find(({ name }) => name === controllers!.spec.nodeName)!;
    goes = cluster.nodes.find((node) => node !== stays)!;
    await scale(cluster, PODS);
  });
  afterAll(async () => {
    await cluster?.dispose();
    if (cluster) process.stdout.write(`deleted nodes: ${cluster.summary()}\n`);
  });
  reportFailures(() => cluster);

  const calicoctl = async (...args: readonly string[]): Promise<string> => {
    const { status, stdout, stderr } = await cluster.calicoctl(...args);
    expect({ status, stderr }, `calicoctl ${args.join(" ")}: ${stdout}`).toEqual({ status: 0, stderr: "" });
    return stdout;
  };
  const blocksOf = ({ blocks }: Ipam, node: string): string[] =>
    blocks.filter(({ affinity }) => affinity === `host:${node}`).map(({ cidr }) => cidr);
  /** What is recorded of a node: its blocks, affinities, and addresses that carry its name or lie in them, with their handles. */
  const recordsOf = (ipam: Ipam, node: string): string[] => [
    ...blocksOf(ipam, node).map((cidr) => `block ${cidr}`),
    ...ipam.affinities.filter((one) => one.node === node).map(({ cidr }) => `affinity to ${cidr}`),
    ...heldIn({ ...ipam, blocks: ipam.blocks.filter(({ affinity }) => affinity === `host:${node}`) }),
  ];

  /** Addresses in the block of `stays` that upstream gave to pods: of before that node was upgraded, and one that its own node borrowed. */
  let former: string;
  let legacy: string;
  let borrowed: string;
  const formerContainer = go.containerId(0xf0);
  const borrowedHandle = go.podHandle(go.containerId(0xb0));

  test("records of a Go node are shown and checked with ours", async () => {
    const block = blocksOf(await ipamOf(cluster), stays.name)[0]!;
    const users = [
      { handle: go.podHandle(formerContainer), attributes: go.podAttributes("former", stays.name) },
      { handle: "default.legacy", attributes: go.podAttributes("legacy", stays.name) },
      { handle: borrowedHandle, attributes: go.podAttributes("borrower", GO_NODE) },
    ];
    const handles = users.map(({ handle }) => go.goHandle(handle, { [block]: 1 }));
    const own = [
      { ordinal: 0, handle: `ipip-tunnel-addr-${GO_NODE}`, attributes: { node: GO_NODE, type: "ipipTunnelAddress" } },
      { ordinal: 1, handle: go.podHandle(go.containerId(1)), attributes: go.podAttributes("go-1", GO_NODE) },
    ];
    await go.create(cluster, [
      go.goNode(GO_NODE, "172.31.0.13", "192.168.200.0"),
      ...handles,
      ...own.map(({ handle }) => go.goHandle(handle, { [GO_BLOCK]: 1 })),
    ]);
    [former, legacy, borrowed] = (await go.allocateIn(cluster, block, users)) as [string, string, string];
    const addresses = { "go-1": "192.168.200.1", borrower: borrowed };
    await go.create(cluster, [
      go.goBlock(GO_BLOCK, GO_NODE, own),
      go.goAffinity(GO_BLOCK, GO_NODE),
      go.goPod("go-1", GO_NODE, go.containerId(1), addresses["go-1"]),
      go.goPod("borrower", GO_NODE, go.containerId(0xb0), addresses.borrower),
    ]);
    for (const [name, address] of Object.entries(addresses))
      await cluster.server.request(
        ...(["PATCH", `/api/v1/namespaces/default/pods/${name}/status`, go.goPodStatus(address)] as const),
        "application/merge-patch+json",
      );

    const shown = await calicoctl("ipam", "show", "--show-blocks");
    for (const cidr of [block, GO_BLOCK]) expect(shown).toContain(cidr);
    const ofGo = await calicoctl("ipam", "show", "--ip=192.168.200.1");
    expect(ofGo).toContain("go-1");
    expect(await calicoctl("ipam", "show", `--ip=${borrowed}`)).toContain("borrower");
    expect(await calicoctl("ipam", "show", "--show-borrowed")).toContain(borrowed);
    // The two pods of before are not there any more: their addresses are what is leaked, and nothing else is.
    const check = await calicoctl("ipam", "check", "--show-problem-ips");
    expect(check.match(/\b192\.168\.\d+\.\d+\b(?=.*leaked)/g)?.toSorted()).toEqual([former, legacy].toSorted());
  });

  test("the plugin releases what the Go plugin gave, by the handles of a container and of long ago", async () => {
    const conflist = JSON.parse(readFileSync(stays.lab.path(CONFLIST), "utf8")) as {
      readonly name: string;
      readonly cniVersion: string;
      readonly plugins: readonly object[];
    };
    const { name, cniVersion, plugins } = conflist;
    const held = async (): Promise<string> => heldIn(await ipamOf(cluster)).join("\n");
    for (const [pod, container, address] of [
      ["former", formerContainer, former],
      ["legacy", go.containerId(0xe0), legacy],
    ] as const) {
      expect(await held()).toContain(`${address} `);
      const { status, stdout } = await stays.lab.exec(["/opt/cni/bin/calico"], {
        stdin: JSON.stringify({ ...plugins[0], name, cniVersion }),
        env: {
          ...{ CNI_COMMAND: "DEL", CNI_CONTAINERID: container, CNI_IFNAME: "eth0", CNI_PATH: "/opt/cni/bin" },
          CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${pod};K8S_POD_INFRA_CONTAINER_ID=${container}`,
        },
      });
      expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
      expect(await held()).not.toContain(`${address} `);
    }
    const handles = (await ipamOf(cluster)).handles.map(({ handleID }) => handleID);
    expect(handles).not.toContain(go.podHandle(formerContainer));
    expect(handles).not.toContain("default.legacy");
    expect(await calicoctl("ipam", "check")).toMatch(/found 0 problems/);
  });

  test("a Go node is deleted, and the collector killed in the middle: what it had is given back once its pods are gone", async () => {
    await setLeakGracePeriod(cluster, GRACE);
    const dead = moreBlocks.map((cidr, index) => ({ cidr, handle: go.podHandle(go.containerId(0x1000 + index)) }));
    await go.create(
      cluster,
      dead.flatMap(({ cidr, handle }, index) => [
        go.goHandle(handle, { [cidr]: 1 }),
        go.goBlock(cidr, GO_NODE, [{ ordinal: 7, handle, attributes: go.podAttributes(`dead-${index}`, GO_NODE) }]),
        go.goAffinity(cidr, GO_NODE),
      ]),
    );
    const before = await ipamOf(cluster);
    expect(blocksOf(before, GO_NODE)).toHaveLength(MORE_BLOCKS + 1);
    const ours = (ipam: Ipam): string[] => [...recordsOf(ipam, stays.name), ...recordsOf(ipam, goes.name)].toSorted();

    const began = performance.now();
    await cluster.server.request("DELETE", `/api/v1/nodes/${GO_NODE}`);
    let [whenKilled, now] = [0, before];
    await cluster.until("some of its blocks are given back", async () => {
      now = await ipamOf(cluster);
      whenKilled = blocksOf(now, GO_NODE).length;
      return whenKilled <= MORE_BLOCKS;
    });
    expect(await killControllers(cluster)).toBeGreaterThan(0);
    await cluster.until(
      "only what its pods use is left",
      async () => {
        now = await ipamOf(cluster);
        return blocksOf(now, GO_NODE).length <= 1;
      },
      () => recordsOf(now, GO_NODE).join("\n"),
    );
    const idle = performance.now() - began;
    await cluster.kubectl("delete", "pod", "--force", ...GO_PODS);
    await cluster.until(
      "nothing of it is left",
      async () => {
        now = await ipamOf(cluster);
        return recordsOf(now, GO_NODE).length === 0 && !heldIn(now).includes(`${borrowed} ${borrowedHandle}`);
      },
      () => recordsOf(now, GO_NODE).join("\n"),
    );
    process.stdout.write(
      `${MORE_BLOCKS + 1} blocks of a deleted node: killed with ${whenKilled} left, all but its pods' after ${(idle / 1000).toFixed(1)} s, ` +
        `the rest, once they are deleted, after ${((performance.now() - began) / 1000).toFixed(1)} s\n`,
    );
    await cluster.until("no handle of it is left", async () => {
      now = await ipamOf(cluster);
      return now.handles.every(({ handleID }) => !handleID.includes("c0de") && !handleID.includes(GO_NODE));
    });
    expect(ours(now)).toEqual(ours(before).filter((line) => line !== `${borrowed} ${borrowedHandle}`));
  });

  test("a node of ours is deleted, and the collector killed: what it had is given back, and the rest is not touched", async () => {
    await cluster.podsReady(CONTROLLERS, 1, NAMESPACE);
    const before = await ipamOf(cluster);
    expect(recordsOf(before, goes.name).length).toBeGreaterThan(PODS / 2);
    const survivors = (await cluster.pods(SELECTOR)).filter(({ spec }) => spec.nodeName === stays.name);
    await goes.kubelet.end("SIGKILL");
    const began = performance.now();
    await cluster.server.request("DELETE", `/api/v1/nodes/${goes.name}`);
    expect(await killControllers(cluster)).toBeGreaterThan(0);
    let now = before;
    await cluster.until(
      `nothing of ${goes.name} is left`,
      async () => {
        now = await ipamOf(cluster);
        return recordsOf(now, goes.name).length === 0;
      },
      () => recordsOf(now, goes.name).join("\n"),
    );
    process.stdout.write(`a node of ours: all after ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
    // Those that the pods of before had, and have.
    const held = heldIn(now);
    for (const line of heldIn(before))
      if (survivors.some(({ status }) => line.startsWith(`${status.podIP} `))) expect(held).toContain(line);
    expect(blocksOf(now, stays.name)).toEqual(expect.arrayContaining(blocksOf(before, stays.name)));
    // Those that took the place of the lost ones are on the node that is left.
    for (const { spec } of await cluster.podsReady(SELECTOR, PODS)) expect(spec.nodeName).toBe(stays.name);
  });

  test("its kubelet comes back, and the node works again", async () => {
    await cluster.startKubelet(goes);
    await cluster.until("it is registered", async () =>
      (await cluster.nodeObjects()).some(({ metadata }) => metadata.name === goes.name),
    );
    await cluster.nodesReady();
    await agentsReady(cluster);
    await scale(cluster, 2 * PODS);
    const pods = await cluster.podsReady(SELECTOR, 2 * PODS);
    const here = pods.find(({ spec }) => spec.nodeName === goes.name)!;
    const there = pods.find(({ spec }) => spec.nodeName === stays.name)!;
    for (const [from, to] of [
      [here, there],
      [there, here],
    ] as const)
      await cluster.until(
        `${from.metadata.name} reaches ${to.metadata.name}`,
        async () => (await ask(cluster, from, to.status.podIP!, PORT)) === to.metadata.name,
      );
    expect(blocksOf(await ipamOf(cluster), goes.name).length).toBeGreaterThan(0);
    await scale(cluster, 0);
    await nothingLeft(cluster, empty);
    expect(await calicoctl("ipam", "check")).toMatch(/found 0 problems/);
  });
});
