/**
 * The power of nodes is cut, and they boot: their pods come back with addresses, and nobody gets in meanwhile whom a policy keeps out. The network
 * configuration outlives a boot and the policy in the kernel does not: until the agent is there, no pod gets a network.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Stream } from "../bgp/stream.ts";
import { type Cluster, clusterMissing, isReady, type PodObject } from "./cluster.ts";
import { type Echoes, startEchoes } from "./echoes.ts";
import { holdAgent } from "./kill.ts";
import { AGENT, agentOf, CONTROLLERS, installed, NAMESPACE, POOL } from "./manifest.ts";
import type { ClusterNode } from "./node.ts";
import { reboot } from "./reboot.ts";
import { heldIn, ipamOf } from "./remains.ts";
import { reportFailures } from "./report.ts";
import { BUSYBOX } from "./stock.ts";
import { ask, deployment, PORT, SELECTOR, SERVICE, service, WEB } from "./workload.ts";

const PODS = 4;
const FRIEND = "friend";
const STRANGER = "stranger";
const STREAM_PORT = 9000;
const LOG = "/var/log/calico/cni/cni.log";
/** What the agent makes with its first policy after a boot. */
const IN_FORCE = "/run/calico/endpoint-status";
/** What the plugin says when it begins to wait for that, and to the runtime when it has waited for as long as it was told to. */
const WAITS = "waits for calico-node to bring network policy into force on this node";
const REFUSED = "network policy is not in force on this node yet";
const missing = clusterMissing();

interface RunningPod extends PodObject {
  readonly status: PodObject["status"] & { readonly containerStatuses?: readonly { readonly containerID?: string }[] };
}

/** Asks the Service all the time, and says each time that it is answered. */
const client = (role: string, node: string): object => ({
  ...{ apiVersion: "v1", kind: "Pod", metadata: { name: `${role}-${node}`, namespace: "default", labels: { role } } },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    containers: [
      {
        ...{ name: role, image: BUSYBOX, imagePullPolicy: "Never" },
        command: [
          ...["sh", "-c"],
          `while :; do
            case $(printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc -w 1 ${SERVICE} 80) in *200*) echo got in;; esac
            sleep 0.2
          done`,
        ],
      },
    ],
  },
});

const friendsOnly = {
  ...{ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy" },
  metadata: { name: "friends-only", namespace: "default" },
  spec: {
    podSelector: { matchLabels: { app: WEB } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { role: FRIEND } } }] }],
  },
};

const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
const addressesOf = (pods: readonly PodObject[]): string[] =>
  pods.flatMap(({ status: { podIP } }) => (podIP !== undefined && POOL.test(podIP) ? [podIP] : [])).toSorted();

describe.skipIf(missing !== undefined)(missing ? `reboot (skipped: ${missing})` : "reboot", () => {
  let cluster: Cluster;
  /** Where calico-kube-controllers runs, and the other one. */
  let node: ClusterNode;
  let other: ClusterNode;

  beforeAll(async () => {
    ({ cluster } = await installed());
    const [controllers] = await cluster.pods(CONTROLLERS, NAMESPACE);
    node = cluster.nodes.find(({ name }) => name === controllers!.spec.nodeName)!;
    other = cluster.nodes.find((one) => one !== node)!;
    await cluster.phase("pods ready", async () => {
      const clients = cluster.nodes.flatMap(({ name }) => [client(FRIEND, name), client(STRANGER, name)]);
      await cluster.server.apply(friendsOnly, deployment(PODS), service, ...clients);
      await cluster.podsReady(SELECTOR, PODS);
      for (const role of [FRIEND, STRANGER]) await cluster.podsReady(`role=${role}`, cluster.nodes.length);
    });
  });
  afterAll(async () => {
    await cluster?.dispose();
    if (cluster) process.stdout.write(`reboot: ${cluster.summary()}\n`);
  });
  reportFailures(() => cluster);

  const everyPod = async (): Promise<RunningPod[]> => {
    const selectors = [SELECTOR, `role in (${FRIEND},${STRANGER})`];
    const ours = [AGENT, CONTROLLERS];
    const pods = await Promise.all([
      ...selectors.map((selector) => cluster.pods(selector)),
      ...ours.map((selector) => cluster.pods(selector, NAMESPACE)),
    ]);
    return pods.flat() as RunningPod[];
  };
  const on = <T extends PodObject>(where: ClusterNode, pods: readonly T[]): T[] =>
    pods.filter(({ spec }) => spec.nodeName === where.name);
  const roleOn = async (role: string, where: ClusterNode): Promise<PodObject> =>
    on(where, await cluster.pods(`role=${role}`))[0]!;

  /** Waits until all pods are as ready as before the boot: those of these nodes in new containers, under the same names. */
  async function back(before: readonly RunningPod[], nodes: readonly ClusterNode[]): Promise<RunningPod[]> {
    const names = new Set(nodes.map(({ name }) => name));
    const containerOf = (pod: RunningPod | undefined): string | undefined =>
      pod?.status.containerStatuses?.[0]?.containerID;
    const old = new Map(before.map((pod) => [pod.metadata.uid, containerOf(pod)]));
    let pods: RunningPod[] = [];
    let waiting: string[] = [];
    await cluster.until(
      "all pods are ready again",
      async () => {
        pods = await everyPod();
        waiting = pods
          .filter((pod) => {
            const container = containerOf(pod);
            const isNew = container !== undefined && container !== old.get(pod.metadata.uid);
            return !isReady(pod) || (names.has(pod.spec.nodeName ?? "") && !isNew);
          })
          .map(({ metadata }) => metadata.name);
        return waiting.length === 0 && pods.length === before.length;
      },
      () => waiting.join(", "),
    );
    expect(pods.map(({ metadata }) => metadata.uid).toSorted()).toEqual(
      before.map(({ metadata }) => metadata.uid).toSorted(),
    );
    return pods;
  }

  /** How often a client got in, as far as its containers' logs reach: the present one's, and that of the one before. */
  async function gotIn(role: string, where: ClusterNode): Promise<{ readonly now: number; readonly before: number }> {
    const count = async (...more: readonly string[]): Promise<number> =>
      (await cluster.kubectl("logs", `${role}-${where.name}`, ...more)).stdout.split("got in").length - 1;
    return { now: await count(), before: await count("--previous") };
  }

  /** Friends get in on either node, by the Service and at each pod's address, and strangers never did, since their containers run. */
  async function expectConnected(): Promise<void> {
    const web = await cluster.pods(SELECTOR);
    for (const where of cluster.nodes) {
      await cluster.until(`friend of ${where.name} got in`, async () => (await gotIn(FRIEND, where)).now > 0);
      const friend = await roleOn(FRIEND, where);
      for (const to of web)
        await cluster.until(
          `${friend.metadata.name} reaches ${to.metadata.name}`,
          async () => (await ask(cluster, friend, to.status.podIP!, PORT)) === to.metadata.name,
        );
      expect(await gotIn(STRANGER, where)).toEqual({ now: 0, before: 0 });
      const stranger = await roleOn(STRANGER, where);
      expect(await ask(cluster, stranger, web[0]!.status.podIP!, PORT)).toBe("");
    }
  }

  /** Exactly the addresses of pods are held, at once: what the former sandboxes had is given back by the kubelet's DELs. */
  async function expectAddresses(pods: readonly PodObject[]): Promise<void> {
    const addresses = addressesOf(pods);
    expect(addresses).toHaveLength(PODS + 2 * cluster.nodes.length + 1);
    const held = heldIn(await ipamOf(cluster)).map((line) => line.split(" ")[0]!);
    expect(held.toSorted()).toEqual(addresses);
    const { status, stdout, stderr } = await cluster.calicoctl("ipam", "check", "--show-problem-ips");
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/Check complete; found 0 problems/);
  }

  /** What the plugin has logged on a node from now on. */
  function newLines(where: ClusterNode): () => string[] {
    const read = (): string => readFileSync(where.lab.path(LOG), "utf8");
    const { length } = read();
    return () => read().slice(length).split("\n");
  }

  /** Pods waited for the node's policy, and none got a network before it was in force. */
  async function expectOrder(where: ClusterNode, lines: readonly string[], pods: readonly PodObject[]): Promise<void> {
    const inForce = statSync(where.lab.path(IN_FORCE)).birthtimeMs;
    const attached = lines.filter((line) => line.includes("cni-plugin: attached"));
    expect(attached.length).toBeGreaterThanOrEqual(addressesOf(on(where, pods)).length);
    for (const line of attached) expect(timeOf(line), line).toBeGreaterThanOrEqual(Math.floor(inForce));
    expect(lines.filter((line) => line.includes(WAITS)).length).toBeGreaterThan(0);
  }

  /** What events say of sandboxes that were refused for want of policy: each names its sandbox. */
  async function refusals(): Promise<string[]> {
    const path = "/api/v1/events?fieldSelector=reason%3DFailedCreatePodSandBox";
    const { items } = await cluster.server.request<{ items: { message: string }[] }>("GET", path);
    return items.map(({ message }) => message).filter((message) => message.includes(REFUSED));
  }

  /** Of pods. */
  async function interfacesOf(where: ClusterNode): Promise<string[]> {
    const text = await where.lab.run(["ip", "-o", "link", "show", "type", "veth"]);
    return text.split("\n").filter((line) => /^\d+: cali/.test(line));
  }

  /** From outside, on `other`: what reaches pods of `node`, all the time, and a connection between two pods that has nothing to do with it. */
  async function guard(): Promise<Guard> {
    const blocks = (await ipamOf(cluster)).blocks.filter(({ affinity }) => affinity === `host:${node.name}`);
    const targets = blocks.map(({ cidr }) => cidr);
    const [friend, stranger] = await Promise.all([roleOn(FRIEND, other), roleOn(STRANGER, other)]);
    const end = (pod: PodObject) => ({
      name: pod.metadata.name,
      netns: `/proc/${other.processes(pod.metadata.uid)[0]}/ns/net`,
      address: pod.status.podIP!,
    });
    const stream = await Stream.open(end(friend), end(on(other, await cluster.pods(SELECTOR))[0]!), STREAM_PORT);
    return {
      stream,
      friend: startEchoes(other, friend, targets),
      stranger: startEchoes(other, stranger, targets),
    };
  }
  interface Guard {
    readonly stream: Stream;
    readonly friend: Echoes;
    readonly stranger: Echoes;
  }

  /** The friend hears every pod, before the boot or after it, and the stranger those that nothing protects, and no other. */
  async function hears({ friend, stranger }: Guard, pods: readonly PodObject[]): Promise<void> {
    const isWeb = ({ metadata }: PodObject): boolean => metadata.name.startsWith(WEB);
    const here = on(node, pods);
    for (const [echoes, expected] of [
      [friend, addressesOf(here)],
      [stranger, addressesOf(here.filter((pod) => !isWeb(pod)))],
    ] as const)
      await cluster.until(
        "all echoes are heard that are to be",
        async () => expected.every((address) => echoes.heard.has(address)),
        () => `heard ${[...echoes.heard].join(", ")} of ${expected.join(", ")}`,
      );
  }

  async function expectGuarded(
    { stream, friend, stranger }: Guard,
    before: readonly PodObject[],
    after: readonly PodObject[],
  ): Promise<void> {
    const [heardByFriend, heardByStranger] = [await friend.stop(), await stranger.stop()];
    const protectedOnes = addressesOf([...on(node, before), ...on(node, after)]).filter((address) =>
      [...before, ...after].some(
        ({ metadata, status }) => status.podIP === address && metadata.name.startsWith(`${WEB}-`),
      ),
    );
    expect(protectedOnes.filter((address) => !friend.heard.has(address))).toEqual([]);
    // Whoever else answers has no policy.
    const open = new Set(addressesOf([...before, ...after]).filter((address) => !protectedOnes.includes(address)));
    expect([...stranger.heard].filter((address) => !open.has(address))).toEqual([]);
    const { sent, returned, longestGap, ended } = await stream.stop();
    expect({ returned, ended }).toEqual({ returned: sent, ended: undefined });
    process.stdout.write(
      `asked in vain: ${heardByStranger.rounds} rounds, at most ${heardByStranger.longestPause} ms apart ` +
        `(the friend ${heardByFriend.rounds}); a stream beside it: ${sent} words, at most ${Math.round(longestGap)} ms apart\n`,
    );
  }

  test("a node is rebooted: its pods come back, get addresses only under policy, and nobody else gets in", async () => {
    const before = await everyPod();
    await expectConnected();
    const guarded = await guard();
    await hears(guarded, before);
    const lines = newLines(node);
    const booted = await reboot(cluster, [node]);
    const after = await back(before, [node]);
    process.stdout.write(`one node: from boot to all pods ready ${seconds(performance.now() - booted)}\n`);
    await expectAddresses(after);
    await hears(guarded, after);
    await expectConnected();
    await expectGuarded(guarded, before, after);
    await expectOrder(node, lines(), after);
  });

  test("both nodes are rebooted at once: nothing waits for each other", async () => {
    const before = await everyPod();
    const lines = cluster.nodes.map(newLines);
    const booted = await reboot(cluster, cluster.nodes);
    const after = await back(before, cluster.nodes);
    process.stdout.write(`both nodes: from boot to all pods ready ${seconds(performance.now() - booted)}\n`);
    await expectAddresses(after);
    await expectConnected();
    for (const [index, where] of cluster.nodes.entries()) await expectOrder(where, lines[index]!(), after);
  });

  test("a node is rebooted without the API server, which goes again as the agent starts, and that one is late: it recovers by itself", async () => {
    const { relay } = cluster;
    const { target } = relay;
    const away = (): void => {
      relay.target = undefined;
      relay.cut();
    };
    const before = await everyPod();
    const guarded = await guard();
    await hears(guarded, before);
    const lines = newLines(node);
    const agent = await agentOf(cluster, node);
    const booted = await reboot(cluster, [node], away);
    await cluster.until("the kubelet misses its API server", async () =>
      /connection refused|EOF|reset by peer/.test(node.kubelet.log()),
    );
    relay.target = target;
    await cluster.until("the agent is started", async () => node.processes(agent.metadata.uid).length > 1);
    away();
    // Before a pod gets a new sandbox, its former one has to be gone, and a DEL needs the API server.
    await cluster.until("a DEL has failed", async () => lines().some((line) => line.includes("DEL failed")));
    expect(existsSync(node.lab.path(IN_FORCE))).toBe(false);
    const goOn = await holdAgent(cluster, node, agent);
    relay.target = target;
    const told = new Set(await refusals());
    await cluster.until("events say what pods wait for", async () => (await refusals()).some((one) => !told.has(one)));
    expect(existsSync(node.lab.path(IN_FORCE))).toBe(false);
    expect(await interfacesOf(node)).toEqual([]);
    goOn();
    const late = performance.now();
    const after = await back(before, [node]);
    process.stdout.write(
      `without the API server at first: from boot to all pods ready ${seconds(performance.now() - booted)}, ` +
        `since the agent goes on ${seconds(performance.now() - late)}\n`,
    );
    await expectAddresses(after);
    await hears(guarded, after);
    await expectConnected();
    await expectGuarded(guarded, before, after);
    await expectOrder(node, lines(), after);
  });
});

/** Milliseconds, of a line of a log: "2026-11-23 12:44:31.493 [INFO]…", in UTC. */
const timeOf = (line: string): number => Date.parse(`${line.slice(0, 23).replace(" ", "T")}Z`);
