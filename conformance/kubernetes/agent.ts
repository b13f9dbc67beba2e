/** The built agent on a node of a {@link KubernetesCluster}, and packets that say what it enforces. */
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { addressesIn } from "../cni/result.ts";
import type { Node, Pod } from "../lab/index.ts";
import { type Probe, type ProbePlace, type ProbeResult, Prober } from "../policy/prober.ts";
import type { KubernetesCluster, PodOptions } from "./cluster.ts";

/** Far more than anything here needs, in milliseconds. */
const PATIENCE = 60_000;
const TCP = 6;
/** Each has a log of its own. */
let started = 0;

/** Polls until something holds; what `describe` says is in the error when it does not within the time. */
export async function until(
  what: string,
  holds: () => boolean | Promise<boolean>,
  describe: () => string = () => "",
  milliseconds = PATIENCE,
): Promise<void> {
  const deadline = performance.now() + milliseconds;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${milliseconds} ms\n${describe()}`);
    await Bun.sleep(20);
  }
}

/** `calico-node` as upstream's DaemonSet runs it: with the role of its service account and no more. */
export class Agent {
  readonly #process: Bun.Subprocess;
  readonly #file: string;

  private constructor(
    readonly node: Node,
    file: string,
    process: Bun.Subprocess,
  ) {
    this.#file = file;
    this.#process = process;
  }

  /** Not waited for. */
  static start(
    cluster: KubernetesCluster,
    environment: Readonly<Record<string, string>> = {},
    node: Node = cluster.node,
  ): Agent {
    const { lab, server, relay } = cluster;
    const folder = node.path("/etc/calico");
    mkdirSync(folder, { recursive: true });
    copyFileSync(server.kubeconfig("node", { server: relay.url }), join(folder, "kubeconfig"));
    const file = join(lab.machineShare, `agent-${node.name}-${++started}.log`);
    const log = Bun.file(file);
    const enter = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net", "--wdns=/"];
    const child = Bun.spawn(["nsenter", `--target=${node.pid}`, ...enter, "--", "calico-node"], {
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        DATASTORE_TYPE: "kubernetes",
        KUBECONFIG: "/etc/calico/kubeconfig",
        NODENAME: node.name,
        FELIX_HEALTHENABLED: "true",
        FELIX_LOGSEVERITYSCREEN: "Info",
        ...environment,
      },
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    return new Agent(node, file, child);
  }

  /** All that it has logged so far. */
  log(): string {
    return existsSync(this.#file) ? readFileSync(this.#file, "utf8") : "";
  }

  /** How often its log says something. */
  said(text: string): number {
    return this.log().split(text).length - 1;
  }

  /** Why it is not ready, in its own words; "" when it is. */
  async problem(): Promise<string> {
    const { status, stdout, stderr } = await this.node.exec(["calico-node", "health", "--felix-ready"]);
    return status === 0 ? "" : stdout + stderr;
  }

  async isAlive(): Promise<boolean> {
    return (await this.node.exec(["calico-node", "health", "--felix-live"])).status === 0;
  }

  async ready(): Promise<void> {
    let problem = "";
    await until(
      "the agent is ready",
      async () => {
        problem = await this.problem();
        return problem === "";
      },
      () => `${problem}\n${this.log()}`,
    );
  }

  /** The process for policy, as the machine knows it; undefined while there is none. */
  get felix(): number | undefined {
    return children(children(this.#process.pid)[0]).find((pid) => argument(pid, 1) === "felix");
  }

  /** Kills the process for policy, and waits until the supervisor has started another one. */
  async crash(): Promise<void> {
    const before = this.felix;
    if (before === undefined) throw new Error(`no felix runs\n${this.log()}`);
    process.kill(before, "SIGKILL");
    await until(
      "felix runs again",
      () => this.felix !== undefined && this.felix !== before,
      () => this.log(),
    );
  }

  async stop(): Promise<void> {
    await terminate(this.#process);
  }
}

/** Ends what `nsenter` runs: it forks where it enters a pid namespace, and passes no signal on. */
export async function terminate(nsenter: Bun.Subprocess): Promise<void> {
  if (nsenter.exitCode === null) process.kill(children(nsenter.pid)[0] ?? nsenter.pid, "SIGTERM");
  await nsenter.exited;
}

/** The index-th word of a process' command line; undefined when it has ended. */
function argument(pid: number, index: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0")[index];
  } catch {
    return undefined;
  }
}

function children(pid: number | undefined): number[] {
  if (pid === undefined) return [];
  try {
    return readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number),
    );
  } catch {
    return [];
  }
}

/** An attached pod as an end of packets. */
export async function attach(
  cluster: KubernetesCluster,
  name: string,
  options: PodOptions & { readonly conf?: Readonly<Record<string, unknown>> } = {},
): Promise<{ readonly pod: Pod; readonly place: ProbePlace }> {
  const { conf = {}, ...of } = options;
  const pod = await cluster.pod(name, of);
  const network = cluster.conf({ ipam: { type: "calico-ipam", assign_ipv6: "true" }, ...conf });
  const outcome = await cluster.cni("ADD", pod, network, of.namespace);
  if (outcome.status !== 0) throw new Error(`ADD of ${name}: ${outcome.stdout}${outcome.stderr}`);
  const addresses = addressesIn(outcome.json as Record<string, unknown>);
  const [v4, v6] = [addresses.find((one) => !one.includes(":")), addresses.find((one) => one.includes(":"))];
  if (v4 === undefined || v6 === undefined) throw new Error(`${name} has the addresses ${addresses.join(", ")}`);
  return { pod, place: { name, netns: pod.node.path(pod.netns), addresses: { 4: v4, 6: v6 } } };
}

/** A node of the lab as an end of packets. */
export const host = (node: Node, name = node.name): ProbePlace => ({
  name,
  netns: `/proc/${node.pid}/ns/net`,
  addresses: { 4: node.address4, 6: node.address6 },
});

/** A packet and what is to become of it: `["web", "db", 80, "allow"]`. TCP over IPv4 unless `more` says otherwise. */
export type Expected = readonly [
  from: string,
  to: string,
  port: number,
  verdict: ProbeResult["verdict"],
  more?: Partial<Probe>,
];

/** Sends packets between places until all of them fare as they should. */
export async function expectPackets(
  places: readonly ProbePlace[],
  expected: readonly Expected[],
  explain: () => string = () => "",
  milliseconds = PATIENCE,
): Promise<readonly ProbeResult[]> {
  const prober = new Prober(places);
  try {
    let wrong: string[] = [];
    let results: readonly ProbeResult[] = [];
    await until(
      "packets fare as they should",
      async () => {
        results = await prober.probe(
          expected.map(([from, to, port, , more]) => ({ from, to, port, version: 4, protocol: TCP, ...more })),
        );
        wrong = expected.flatMap(([from, to, port, verdict], index) => {
          const { verdict: was, at } = results[index]!;
          if (was !== verdict) return [`${from} -> ${to}:${port}: ${was}, should be ${verdict}`];
          return was === "allow" && at !== to ? [`${from} -> ${to}:${port}: came out at ${at}`] : [];
        });
        return wrong.length === 0;
      },
      () => `${wrong.join("\n")}\n${explain()}`,
      milliseconds,
    );
    return results;
  } finally {
    prober.close();
  }
}
