/**
 * One node with a few pods under policy, a machine outside, and an agent that can be ended, replaced and deceived. `x/server` may be reached by
 * `x/friend` and by nobody else; `x/friend` by everybody.
 */

import { Database } from "bun:sqlite";
import { join } from "node:path";
import { type Backend, type Cluster, createCluster, pool } from "../../cni/cluster.ts";
import { addressesIn } from "../../cni/result.ts";
import type { Node, Pod } from "../../lab/index.ts";
import { type ProbePlace, type ProbeResult, Prober } from "../prober.ts";
import type { DataplaneName } from "../world.ts";
import { Agent, type AgentOptions, until } from "./agent.ts";
import { enforced } from "./kernel.ts";
import { type Flow, Traffic } from "./traffic.ts";

export const SERVER = "x/server";
export const FRIEND = "x/friend";
export const STRANGER = "y/stranger";
export const OUTSIDE = "outside";
export const PORT = 4_000;

/** What has to hold whatever happens to the agent. */
export const GUARDED: readonly Flow[] = ([4, 6] as const).flatMap((version) => [
  { from: FRIEND, to: SERVER, version, port: PORT, expected: "allow" as const },
  { from: FRIEND, to: SERVER, version, port: PORT + 1, expected: "allow" as const, established: true },
  { from: STRANGER, to: FRIEND, version, port: PORT, expected: "allow" as const },
  { from: STRANGER, to: SERVER, version, port: PORT, expected: "deny" as const },
  { from: OUTSIDE, to: SERVER, version, port: PORT, expected: "deny" as const },
]);

export interface BedOptions {
  readonly dataplane: DataplaneName;
  readonly backend?: Backend;
}

export class Bed {
  readonly places = new Map<string, ProbePlace>();
  readonly pods = new Map<string, Pod>();
  readonly node: Node;
  #agents: Agent[] = [];
  #traffic: Traffic[] = [];

  private constructor(
    readonly cluster: Cluster,
    readonly dataplane: DataplaneName,
  ) {
    this.node = cluster.nodes[0]!;
  }

  /** With the pods attached and their policy in the datastore; no agent runs yet. */
  static async create({ dataplane, backend = "sqlite" }: BedOptions): Promise<Bed> {
    const cluster = await createCluster({
      nodes: 2,
      backend,
      ...(process.env.CALICO_DIST ? { dist: process.env.CALICO_DIST } : {}),
      pools: [pool("pool4", "10.65.0.0/24", { blockSize: 26 }), pool("pool6", "fd65::/120")],
    });
    try {
      const bed = new Bed(cluster, dataplane);
      const [node, outside] = cluster.nodes as [Node, Node];
      bed.places.set(OUTSIDE, {
        name: OUTSIDE,
        netns: `/proc/${outside.pid}/ns/net`,
        addresses: { 4: outside.address4, 6: outside.address6 },
      });
      await outside.run(["ip", "-batch", "-"], {
        stdin: `route add 10.65.0.0/24 via ${node.address4}\nroute add fd65::/120 via ${node.address6}\n`,
      });
      await cluster.apply(namespace("x"), namespace("y"), serverPolicy());
      for (const place of [SERVER, FRIEND, STRANGER]) await bed.attach(place);
      return bed;
    } catch (error) {
      await cluster.dispose();
      throw error;
    }
  }

  /** Attaches a pod; its label `role` is its name. `changes` are laid over the network configuration. */
  async attach(place: string, changes: Readonly<Record<string, unknown>> = {}): Promise<ProbePlace> {
    const [, name = ""] = place.split("/");
    await this.cluster.apply(podObject(place));
    const pod = await this.node.pod(name);
    this.pods.set(place, pod);
    const [v4 = "", v6 = ""] = addressesIn(await pod.add(this.#conf(changes), this.#attachment(place, pod))).sort();
    const there = { name: place, netns: this.node.path(pod.netns), addresses: { 4: v4, 6: v6 } };
    this.places.set(place, there);
    return there;
  }

  async detach(place: string): Promise<void> {
    const pod = this.pods.get(place)!;
    await pod.del(this.#conf({}), this.#attachment(place, pod));
    await pod.remove();
    await this.cluster.calicoctl("delete", "pod", place.split("/")[1]!, `--namespace=${place.split("/")[0]}`);
    this.pods.delete(place);
    this.places.delete(place);
  }

  #conf(changes: Readonly<Record<string, unknown>>): object {
    return this.cluster.conf({
      policy: { type: "k8s" },
      ipam: { type: "calico-ipam", assign_ipv6: "true" },
      ...changes,
    });
  }

  #attachment(place: string, pod: Pod) {
    const [space = "", name = ""] = place.split("/");
    return {
      args: {
        IgnoreUnknown: "1",
        K8S_POD_NAMESPACE: space,
        K8S_POD_NAME: name,
        K8S_POD_INFRA_CONTAINER_ID: pod.containerId,
      },
    };
  }

  /** Starts an agent; not waited for. */
  start(options: Partial<AgentOptions> = {}): Agent {
    const agent = new Agent(this.node, {
      dataplane: this.dataplane,
      log: join(this.cluster.lab.machineShare, `agent-${this.#agents.length}.log`),
      ...options,
      env: { ...this.cluster.env, ...options.env },
    });
    this.#agents.push(agent);
    return agent;
  }

  /** Packets of what has to hold from now on, and of more. */
  guard(flows: readonly Flow[] = GUARDED): Traffic {
    const traffic = Traffic.start(this.places, flows);
    this.#traffic.push(traffic);
    return traffic;
  }

  async verdict(from: string, to: string, version: 4 | 6 = 4, port = PORT): Promise<ProbeResult["verdict"]> {
    const prober = new Prober([this.places.get(from)!, this.places.get(to)!]);
    try {
      const [result] = await prober.probe([{ from, to, version, port, protocol: 17 }]);
      return result!.verdict;
    } finally {
      prober.close();
    }
  }

  async becomes(
    verdict: ProbeResult["verdict"],
    from: string,
    to: string,
    timeout = 10_000,
    port = PORT,
  ): Promise<void> {
    const wrong = (): string =>
      `${from} > ${to} port ${port} does not become ${verdict}; ${this.#agents.at(-1)?.log().slice(-3_000)}`;
    await until(async () => (await this.verdict(from, to, 4, port)) === verdict, wrong, timeout);
  }

  enforced(): Promise<string> {
    return enforced(this.node, this.dataplane);
  }

  apply(...resources: object[]): Promise<void> {
    return this.cluster.apply(...resources);
  }

  async delete(...resources: object[]): Promise<void> {
    const list = { apiVersion: "v1", kind: "List", items: resources };
    await this.node.run(["calicoctl", "delete", "--skip-not-exists", "-f", "-"], {
      env: this.cluster.env,
      stdin: JSON.stringify(list),
    });
  }

  /** What the datastore holds under a key. */
  stored(key: string): string | undefined {
    using database = new Database(`${this.cluster.lab.machineShare}/datastore.db`);
    const row = database.query("SELECT value FROM kv WHERE key = ?").get(key) as { value: string } | null;
    return row?.value;
  }

  /** Puts texts into the datastore past everything that would refuse them; undefined removes what is there. */
  store(values: Readonly<Record<string, string | undefined>>): void {
    using database = new Database(`${this.cluster.lab.machineShare}/datastore.db`);
    database.run("PRAGMA busy_timeout = 5000");
    database
      .transaction(() => {
        const { revision } = database.query("SELECT max(revision) + 1 AS revision FROM changes").get() as {
          revision: number;
        };
        for (const [key, value] of Object.entries(values)) {
          const before = database.query("SELECT value, modified, created FROM kv WHERE key = ?").get(key) as {
            value: string;
            modified: number;
            created: number;
          } | null;
          database
            .query("INSERT INTO changes (revision, key, value, modified, created) VALUES (?, ?, ?, ?, ?)")
            .run(revision, key, before?.value ?? null, before?.modified ?? null, before?.created ?? null);
          if (value === undefined) database.query("DELETE FROM kv WHERE key = ?").run(key);
          else
            database
              .query("INSERT OR REPLACE INTO kv (key, value, modified, created) VALUES (?, ?, ?, ?)")
              .run(key, value, revision, before?.created ?? revision);
        }
      })
      .immediate();
  }

  /** Ends what a test left running. */
  async endAll(): Promise<void> {
    for (const traffic of this.#traffic.splice(0)) traffic.close();
    for (const agent of this.#agents) if (!agent.hasEnded) await agent.kill();
  }

  async dispose(): Promise<void> {
    await this.endAll();
    await this.cluster.dispose();
  }
}

export const namespace = (name: string): object => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels: { ns: name } },
});

const podObject = (place: string): object => {
  const [space = "", name = ""] = place.split("/");
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: space, labels: { role: name } },
    spec: { nodeName: "node1", containers: [{ name: "main", image: "none" }] },
  };
};

/** Denies by one set of addresses, and allows by another. `more` rules come last and concern nobody whose packets are counted. */
export function serverPolicy(more: readonly object[] = []): object {
  return {
    apiVersion: "projectcalico.org/v3",
    kind: "NetworkPolicy",
    metadata: { name: "server", namespace: "x" },
    spec: {
      selector: "role == 'server'",
      types: ["Ingress"],
      ingress: [
        { action: "Deny", source: { selector: "role == 'stranger'", namespaceSelector: "all()" } },
        { action: "Allow", source: { selector: "role == 'friend'" } },
        ...more,
      ],
    },
  };
}
