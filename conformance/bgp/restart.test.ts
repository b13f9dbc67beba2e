/**
 * `calico-node` whole on three nodes, ended and started again in every way: connections between pods go on without one segment sent twice, no
 * route leaves a kernel, nothing that policy denies passes, and what changed meanwhile is in force afterwards. The third node's back end is
 * BIRD where there is one.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type BgpStatus, ControlClient } from "../../lib/bgp/control/index.ts";
import { type Cluster, createCluster, kubernetesArgs, pool } from "../cni/cluster.ts";
import { addressesIn } from "../cni/result.ts";
import { type Daemon, missingBuild, missingTool, type Node } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Flow, Traffic } from "../policy/faults/traffic.ts";
import { type ProbePlace, Prober } from "../policy/prober.ts";
import { until } from "./ours.ts";
import { bird2 } from "./peers/index.ts";
import { Stream, tcpTroubles } from "./stream.ts";
import { watchRoutes } from "./watches.ts";

const NAMESPACE = "default";
const SERVER = "server";
const FRIEND = "friend";
const STRANGER = "stranger";
const PORT = 4_000;
const STREAM_PORT = 7_000;
const PATIENCE = 60_000;
/** Of a node's kernel, within the pool: the others learn it. */
const EXTRA = "10.65.99.0/24";

const withBird = bird2.missing() === undefined;

/** All that has to hold, whatever happens to an agent. */
const GUARDED: readonly Flow[] = [
  { from: FRIEND, to: SERVER, version: 4, port: PORT, expected: "allow" },
  { from: FRIEND, to: SERVER, version: 4, port: PORT + 1, expected: "allow", established: true },
  { from: SERVER, to: STRANGER, version: 4, port: PORT, expected: "allow" },
  { from: STRANGER, to: SERVER, version: 4, port: PORT, expected: "deny" },
];

describeLab("calico-node restarts", restarts, missingBuild() ?? missingTool("nft"));

function restarts(): void {
  let cluster: Cluster;
  let agents: readonly Agent[];
  const places = new Map<string, ProbePlace>();

  beforeAll(async () => {
    const dist = process.env.CALICO_DIST ? { dist: process.env.CALICO_DIST } : {};
    cluster = await createCluster({ nodes: 3, agent: false, pools: [pool("pool", "10.65.0.0/16")], ...dist });
    const [one, two, three] = cluster.nodes as [Node, Node, Node];
    await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } }, onlyFriends);
    agents = [
      new Agent(cluster, one),
      new Agent(cluster, two),
      new Agent(cluster, three, withBird ? { CALICO_BGP_SPEAKER: "bird" } : {}),
    ];
    await Promise.all(agents.map((agent) => agent.start()));
    for (const [name, node] of [
      [SERVER, one],
      [FRIEND, two],
      [STRANGER, three],
    ] as const) {
      places.set(name, await attach(cluster, node, name));
    }
    for (const agent of agents) await agent.settled();
    const prober = new Prober([...places.values()]);
    try {
      const ask = { version: 4, port: PORT, protocol: 17 } as const;
      let verdicts = "";
      await until(
        async () => {
          const results = await prober.probe([
            { ...ask, from: FRIEND, to: SERVER },
            { ...ask, from: SERVER, to: STRANGER },
            { ...ask, from: STRANGER, to: FRIEND },
            { ...ask, from: STRANGER, to: SERVER },
          ]);
          verdicts = results.map(({ verdict }) => verdict).join();
          return verdicts === "allow,allow,allow,deny";
        },
        () => [verdicts, ...agents.map((agent) => agent.log().slice(-2_000))].join("\n---\n"),
        PATIENCE,
      );
    } finally {
      prober.close();
    }
    // Until the first of a block's addresses makes it the node's, its route is told for itself.
    for (const node of cluster.nodes) {
      const learned = () => node.run(["ip", "-4", "route", "show", "proto", "bird"]);
      await until(
        async () => !/^10\.65\.[\d.]+ via/m.test(await learned()),
        async () => `${node.name} has routes to single pods:\n${await learned()}`,
        PATIENCE,
      );
    }
  });
  afterAll(() => cluster?.dispose());

  const end = (name: string) => {
    const { netns, addresses } = places.get(name)!;
    return { name, netns, address: addresses[4] };
  };

  /** Does something while pods talk, and then says what they and the kernels noticed of it. `flows`: beside those that always have to hold. */
  async function unnoticed(what: () => Promise<void>, flows: readonly Flow[] = [STRANGER_TO_FRIEND]): Promise<void> {
    const before = [SERVER, FRIEND, STRANGER].map((name) => tcpTroubles(end(name)));
    const monitors = await Promise.all(cluster.nodes.map(watchRoutes));
    // Their files go on where an earlier one's ended.
    const earlier = monitors.map((monitor) => deleted(monitor).length);
    const streams = await Promise.all(
      [
        [FRIEND, SERVER],
        [SERVER, STRANGER],
        [STRANGER, FRIEND],
      ].map(([from = "", to = ""]) => Stream.open(end(from), end(to), STREAM_PORT)),
    );
    const traffic = Traffic.start(places, [...GUARDED, ...flows]);
    try {
      await traffic.pass(20);
      await what();
      await traffic.pass(20);
      expect(await traffic.stop(), "packets that were lost, or passed and must not").toEqual([]);
      // Before the streams are ended, which is a reset.
      expect([SERVER, FRIEND, STRANGER].map((name) => tcpTroubles(end(name)))).toEqual(before);
      for (const { name, sent, returned, ended, longestGap } of await Promise.all(streams.map((one) => one.stop()))) {
        process.stdout.write(`${name}: ${sent} words, longest gap ${longestGap.toFixed(0)} ms\n`);
        expect({ name, ended, returned }).toEqual({ name, ended: undefined, returned: sent });
      }
      for (const [index, monitor] of monitors.entries()) {
        expect(deleted(monitor).slice(earlier[index]), `routes that left the kernel of node${index + 1}`).toEqual([]);
      }
    } finally {
      traffic.close();
      for (const stream of streams) stream.close();
      await Promise.all(monitors.map((monitor) => monitor.end()));
    }
  }

  describe.each(["SIGTERM", "SIGKILL"] as const)("%s", (signal) => {
    test("of every node's agent, one node after the other", async () => {
      await unnoticed(async () => {
        for (const agent of agents) {
          await agent.end(signal);
          await agent.start();
          await agent.settled();
        }
      });
    });

    // RFC 4724 4.1 has a speaker wait for no peer that restarts, too: BIRD's node would lose for a moment what that one has yet to tell.
    test("of all at the same time that speak BGP themselves", async () => {
      const ours = agents.filter(({ isBird }) => !isBird);
      await unnoticed(async () => {
        await Promise.all(ours.map((agent) => agent.end(signal)));
        await Promise.all(ours.map((agent) => agent.start()));
        for (const agent of agents) await agent.settled();
      });
    });
  });

  test("killed again while it starts", async () => {
    await unnoticed(async () => {
      const agent = agents[0]!;
      for (const pause of [50, 400, 1_000]) {
        await agent.end("SIGKILL");
        await agent.start();
        await Bun.sleep(pause);
      }
      await agent.settled();
    });
  });

  test("another executable in its place, as an upgrade has it", async () => {
    await unnoticed(async () => {
      for (const agent of agents) {
        await agent.end("SIGTERM");
        await agent.start("upgraded");
        await agent.settled();
      }
    });
    for (const agent of agents) expect(agent.commands()).toContain("/opt/upgraded/calico-node");
  });

  test("what changes while an agent is away is in force, and in the kernel, when it is ready again", async () => {
    const [one, two] = cluster.nodes as [Node, Node, Node];
    const agent = agents[1]!;
    await one.run(["ip", "route", "add", EXTRA, "dev", "eth0", "proto", "static"]);
    const leads = async (): Promise<boolean> => (await two.run(["ip", "route", "show", EXTRA])).includes("proto bird");
    await until(leads, () => agent.log().slice(-3_000));
    const verdict = async (from: string, to: string): Promise<string> => {
      const prober = new Prober([places.get(from)!, places.get(to)!]);
      try {
        return (await prober.probe([{ from, to, version: 4, port: PORT, protocol: 17 }]))[0]!.verdict;
      } finally {
        prober.close();
      }
    };
    const away = async (change: () => Promise<unknown>): Promise<void> => {
      await agent.end("SIGKILL");
      await change();
      await agent.start();
      await agent.settled();
    };
    const traffic = Traffic.start(places, GUARDED);
    try {
      await away(async () => {
        await cluster.apply(noStrangers);
        await one.run(["ip", "route", "delete", EXTRA]);
        expect(await verdict(STRANGER, FRIEND)).toBe("allow");
        expect(await leads()).toBe(true);
      });
      expect(await verdict(STRANGER, FRIEND)).toBe("deny");
      await until(
        async () => !(await leads()),
        () => agent.log().slice(-3_000),
      );
      await away(() => cluster.calicoctl("delete", "networkpolicy", "no-strangers", `--namespace=${NAMESPACE}`));
      expect(await verdict(STRANGER, FRIEND)).toBe("allow");
      expect(await traffic.stop()).toEqual([]);
    } finally {
      traffic.close();
    }
  });

  test("a FelixConfiguration that needs a new start: felix anew on every node, everything else as it was", async () => {
    const felix = () => agents.map((agent) => agent.pid("felix"));
    const bgp = () => agents.map((agent) => agent.pid("bgp"));
    const [felixes, bgps] = [felix(), bgp()];
    await unnoticed(async () => {
      await cluster.apply(configuration({ chainInsertMode: "Append" }));
      for (const [index, agent] of agents.entries()) {
        await until(
          () =>
            /starts anew, as it asked for/.test(agent.log()) && ![undefined, felixes[index]].includes(felix()[index]),
          () => agent.log().slice(-3_000),
        );
        await agent.settled();
      }
    });
    expect(bgp()).toEqual(bgps);
  });

  test("one that is live as upstream's is takes effect in the same process", async () => {
    const [agent] = agents as [Agent];
    const before = agents.map((one) => one.commands("pids"));
    await cluster.apply(
      configuration({
        chainInsertMode: "Append",
        logSeverityScreen: "Debug",
        healthTimeoutOverrides: [{ name: "CalculationGraph", timeout: "77s" }],
      }),
    );
    await until(
      async () => (await agent.health()).includes("1m17s"),
      async () => `${await agent.health()}\n${agent.log().slice(-3_000)}`,
    );
    expect(agents.map((one) => one.commands("pids"))).toEqual(before);
  });
}

const STRANGER_TO_FRIEND: Flow = { from: STRANGER, to: FRIEND, version: 4, port: PORT, expected: "allow" };

const deleted = (monitor: Daemon): string[] =>
  monitor
    .log()
    .split("\n")
    .filter((line) => line.startsWith("Deleted "));

const configuration = (spec: object): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "FelixConfiguration",
  metadata: { name: "default" },
  spec,
});

const networkPolicy = (name: string, spec: object): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "NetworkPolicy",
  metadata: { name, namespace: NAMESPACE },
  spec,
});
const onlyFriends = networkPolicy("only-friends", {
  selector: `role == '${SERVER}'`,
  types: ["Ingress"],
  ingress: [{ action: "Allow", source: { selector: `role == '${FRIEND}'` } }],
});
const noStrangers = networkPolicy("no-strangers", {
  selector: `role == '${FRIEND}'`,
  types: ["Ingress"],
  ingress: [{ action: "Deny", source: { selector: `role == '${STRANGER}'` } }, { action: "Allow" }],
});

async function attach(cluster: Cluster, node: Node, name: string): Promise<ProbePlace> {
  await cluster.apply({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: NAMESPACE, labels: { role: name } },
    spec: { nodeName: node.name, containers: [{ name: "main", image: "none" }] },
  });
  const pod = await node.pod(name);
  const conf = cluster.conf({ policy: { type: "k8s" } });
  const [address = ""] = addressesIn(await pod.add(conf, { args: kubernetesArgs(pod, NAMESPACE) }));
  return { name, netns: node.path(pod.netns), addresses: { 4: address, 6: "" } };
}

/** `calico-node` as a container runs it: what is left of it when its first process ends is killed. */
class Agent {
  readonly #cluster: Cluster;
  readonly #env: Readonly<Record<string, string>>;
  readonly #daemons: Daemon[] = [];

  constructor(
    cluster: Cluster,
    readonly node: Node,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.#cluster = cluster;
    this.#env = env;
  }

  get isBird(): boolean {
    return this.#env.CALICO_BGP_SPEAKER === "bird";
  }

  get #daemon(): Daemon {
    return this.#daemons.at(-1)!;
  }

  /** Not waited for. `version`: a copy of the executable, with that name for a folder. */
  async start(version?: string): Promise<void> {
    const folder = version === undefined ? "/usr/local/bin" : `/opt/${version}`;
    if (version !== undefined) {
      mkdirSync(this.node.path(folder), { recursive: true });
      copyFileSync(this.node.path("/usr/local/bin/calico-node"), this.node.path(`${folder}/calico-node`));
    }
    this.#daemons.push(
      await this.node.daemon(`calico-node-${this.#daemons.length}`, [`${folder}/calico-node`], {
        ...this.#cluster.env,
        ...{ NODENAME: this.node.name, IP: "autodetect", NO_DEFAULT_POOLS: "true" },
        ...{ FELIX_HEALTHENABLED: "true", FELIX_NFTABLESMODE: "Enabled", FELIX_DEFAULTENDPOINTTOHOSTACTION: "ACCEPT" },
        ...this.#env,
      }),
    );
  }

  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    const all = [this.#daemon.pid, ...descendants(this.#daemon.pid)];
    await this.#daemon.end(signal);
    for (const pid of all) kill(pid);
    await until(
      () => !all.some((pid) => alive(pid)),
      () => `processes of ${this.node.name} do not end`,
    );
  }

  async health(): Promise<string> {
    const { stdout, stderr } = await this.node.exec(["curl", "-s", "http://localhost:9099/readiness"]);
    return stdout + stderr;
  }

  /** Ready by its probes, and all of its sessions up with nothing of a restart left. */
  async settled(): Promise<void> {
    let said = "";
    await until(
      async () => {
        const probe = await this.node.exec(["calico-node", "health", "--felix-ready", "--bgp-ready"]);
        const status = await this.#status();
        said = `${probe.stdout}${probe.stderr}${JSON.stringify(status)}`;
        return probe.status === 0 && status?.restarting === false;
      },
      () => `${this.node.name} is not settled: ${said}\n${this.log().slice(-4_000)}`,
      PATIENCE,
    );
  }

  async #status(): Promise<BgpStatus | undefined> {
    try {
      return await new ControlClient(this.node.path("/run/calico/bgp.sock")).status();
    } catch {
      return undefined;
    }
  }

  log(): string {
    return this.#daemon.log();
  }

  /** The process of that name. */
  pid(name: "felix" | "bgp"): number | undefined {
    return descendants(this.#daemon.pid).find((pid) => commandLine(pid)[1] === name);
  }

  /** Of its processes; or their ids. */
  commands(what: "pids" | "words" = "words"): string {
    const all = [this.#daemon.pid, this.pid("felix"), this.pid("bgp")];
    return what === "pids"
      ? all.join(" ")
      : all.map((pid) => (pid === undefined ? "" : commandLine(pid).join(" "))).join("\n");
  }
}

function descendants(pid: number): number[] {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number),
    );
    return children.flatMap((child) => [child, ...descendants(child)]);
  } catch {
    return [];
  }
}

function commandLine(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    return [];
  }
}

/** A zombie is not. */
function alive(pid: number): boolean {
  try {
    return !/\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
