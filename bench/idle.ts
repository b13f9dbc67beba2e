/**
 * `npm run bench:idle [pods] [policies] [seconds] [sqlite|kubernetes…]`: what a node's agent costs while nothing happens. One node of the
 * lab has the built `calico-node` whole, so many pods (100) and policies (1,000, shared out among the pods), and a second node as its BGP
 * peer. Prints tables; nothing is passed or failed. BUN_…, MALLOC_… and FELIX_… of the environment are handed on, to try settings.
 */
import { copyFileSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { createCluster } from "../conformance/cni/cluster.ts";
import { KubernetesCluster } from "../conformance/kubernetes/cluster.ts";
import type { Daemon, Lab, Node } from "../conformance/lab/index.ts";
import { machine, markdownTable, median } from "./stats.ts";

const words = process.argv.slice(2);
const [pods = 100, policies = 1000, seconds = 30] = words.filter((word) => /^\d+$/.test(word)).map(Number);
const STORES = ["sqlite", "kubernetes"] as const;
type Store = (typeof STORES)[number];
const stores = STORES.filter((store) => words.includes(store) || !words.some((word) => /^[a-z]/.test(word)));

const NAMESPACE = "default";
const DATAPLANE = { FELIX_NFTABLESMODE: "Enabled" };
const PATIENCE_MS = 120_000;
/** What a start leaves behind is collected and given back in this time. */
const REST_MS = Number(process.env.IDLE_REST_MS ?? 45_000);
const AT_ONCE = 10;
const COPY = "/tmp/calico-node";
/** The manifest's probes, and how often kubelet asks them, in seconds. */
const PROBES = [
  ["--felix-live", "--bgp-live"],
  ["--felix-ready", "--bgp-ready"],
];
const PROBE_PERIOD = 10;

interface World {
  readonly lab: Lab;
  /** Of the agent on a node. */
  env(node: Node): Readonly<Record<string, string>>;
  apply(...resources: object[]): Promise<void>;
  addPod(name: string, labels: Readonly<Record<string, string>>): Promise<void>;
  dispose(): Promise<void>;
}

const dist = process.env.CALICO_DIST ? { dist: process.env.CALICO_DIST } : {};

async function sqliteWorld(): Promise<World> {
  const cluster = await createCluster({ nodes: 2, agent: false, ...dist });
  const node = cluster.nodes[0]!;
  return {
    lab: cluster.lab,
    env: () => cluster.env,
    apply: (...resources) => cluster.apply(...resources),
    addPod: async (name, labels) => {
      await cluster.apply(podObject(name, labels, node.name));
      const pod = await node.pod(name);
      const args = { IgnoreUnknown: "1", K8S_POD_NAMESPACE: NAMESPACE, K8S_POD_NAME: name };
      const attachment = { args: { ...args, K8S_POD_INFRA_CONTAINER_ID: pod.containerId } };
      await pod.add(cluster.conf({ policy: { type: "k8s" } }), attachment);
    },
    dispose: () => cluster.dispose(),
  };
}

async function kubernetesWorld(): Promise<World> {
  const cluster = await KubernetesCluster.create({ mode: "v1", nodes: 2 });
  return {
    lab: cluster.lab,
    env: (node) => {
      mkdirSync(node.path("/etc/calico"), { recursive: true });
      copyFileSync(
        cluster.server.kubeconfig("node", { server: cluster.relay.url }),
        node.path("/etc/calico/kubeconfig"),
      );
      return { DATASTORE_TYPE: "kubernetes", KUBECONFIG: "/etc/calico/kubeconfig" };
    },
    apply: (...resources) => cluster.applyCalico(...resources),
    addPod: async (name, labels) => {
      const outcome = await cluster.cni("ADD", await cluster.pod(name, { labels }));
      if (outcome.status !== 0) throw new Error(`ADD of ${name}: ${outcome.stdout}${outcome.stderr}`);
    },
    dispose: () => cluster.dispose(),
  };
}

const podObject = (name: string, labels: object, nodeName: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace: NAMESPACE, labels },
  spec: { nodeName, serviceAccountName: "default", containers: [{ name: "c", image: "none" }] },
});

const policy = (i: number): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: "NetworkPolicy",
  metadata: { name: `policy-${i}`, namespace: NAMESPACE },
  spec: {
    selector: `number == '${i % pods}'`,
    types: ["Ingress", "Egress"],
    ingress: [
      {
        action: "Allow",
        protocol: "TCP",
        source: { selector: `number == '${(i + 1) % pods}'` },
        destination: { ports: [80, 8000 + i] },
      },
      { action: "Allow", protocol: "TCP", source: { nets: [`10.200.${i & 255}.0/24`] } },
    ],
    egress: [{ action: "Allow" }],
  },
});

/** What the kernel says of a process: sizes in KiB. */
interface Sample {
  readonly name: string;
  readonly resident: number;
  readonly proportional: number;
  readonly anonymous: number;
  readonly threads: number;
  /** In seconds. */
  readonly processor: number;
  /** How often each of its threads began to wait, and so was woken, by thread. */
  readonly waits: ReadonlyMap<string, number>;
}

function sample(pid: number, name: string): Sample {
  const read = (file: string): string => readFileSync(`/proc/${pid}/${file}`, "utf8");
  const rollup = read("smaps_rollup");
  const size = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(rollup)?.[1]);
  const stat = read("stat");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const threads = readdirSync(`/proc/${pid}/task`);
  return {
    name,
    resident: size("Rss"),
    proportional: size("Pss"),
    anonymous: size("Anonymous"),
    threads: threads.length,
    // Clock ticks of 10 ms (USER_HZ).
    processor: (Number(fields[11]) + Number(fields[12])) / 100,
    waits: new Map(threads.map((thread) => [thread, waitsOf(`/proc/${pid}/task/${thread}/status`)])),
  };
}

/** Of a thread that has ended meanwhile: none. */
function waitsOf(file: string): number {
  try {
    return Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(readFileSync(file, "utf8"))?.[1]);
  } catch {
    return 0;
  }
}

/** The agent's processes, in the order in which they were started. */
function processes(root: number): { readonly pid: number; readonly name: string }[] {
  const children = readdirSync(`/proc/${root}/task`).flatMap((task) =>
    readFileSync(`/proc/${root}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number),
  );
  const [, name = ""] = readFileSync(`/proc/${root}/cmdline`, "utf8").split("\0");
  return [{ pid: root, name: name || "supervisor" }, ...children.sort((a, b) => a - b).flatMap(processes)];
}

async function until(what: string, holds: () => boolean | Promise<boolean>, log: () => string): Promise<void> {
  for (const deadline = performance.now() + PATIENCE_MS; !(await holds()); await Bun.sleep(50)) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${PATIENCE_MS} ms\n${log().slice(-4000)}`);
  }
}

const settings = Object.fromEntries(
  Object.entries(process.env).flatMap(([name, value]) =>
    /^(BUN_|MALLOC_|FELIX_)/.test(name) && value ? [[name, value]] : [],
  ),
);

function startAgent(world: World, node: Node, executable = "calico-node"): Promise<Daemon> {
  return node.daemon("calico-node", [executable], {
    ...{ NODENAME: node.name, IP: "autodetect", NO_DEFAULT_POOLS: "true" },
    ...{ FELIX_HEALTHENABLED: "true", FELIX_LOGSEVERITYSCREEN: "Info" },
    ...DATAPLANE,
    ...world.env(node),
    ...settings,
  });
}

/** Of a process, and of all together: processor in per cent, waits a second. */
type Row = Omit<Sample, "waits"> & { readonly waits: number };

const mib = (kib: number): string => (kib / 1024).toFixed(0);
const sum = (numbers: readonly number[]): number => numbers.reduce((all, one) => all + one, 0);
const HEAD = ["process", "resident MiB", "proportional", "anonymous", "threads", "% of a core", "wake-ups/s"];

/** What kubelet's probes are beside that, which are processes of their own. */
async function probesInWords(node: Node): Promise<string> {
  const rounds = 5;
  const seconds: number[] = [];
  const ended: number[] = [];
  for (let round = 0; round < rounds; round++) {
    for (const probe of PROBES) {
      const { stderr } = await node.exec([
        "bash",
        "-c",
        `TIMEFORMAT='%U %S'; time calico-node health ${probe.join(" ")}`,
      ]);
      const [user = 0, system = 0] = stderr.trim().split("\n").at(-1)!.split(" ").map(Number);
      seconds.push(user + system);
    }
    ended.push(sum(seconds.splice(0)));
  }
  const share = (median(ended) / PROBE_PERIOD) * 100;
  return `the manifest's two probes: ${(median(ended) * 1000).toFixed(0)} ms of a core every ${PROBE_PERIOD} s, ${share.toFixed(2)} %`;
}

async function measure(store: Store): Promise<void> {
  const world = store === "sqlite" ? await sqliteWorld() : await kubernetesWorld();
  try {
    const [node, peer] = world.lab.nodes as [Node, Node];
    // Pages of a file are shared by all who run it, and no node shares them with another.
    copyFileSync(peer.path("/usr/local/bin/calico-node"), peer.path(COPY));
    const numbers = Array.from({ length: pods }, (_, i) => i);
    for (let at = 0; at < pods; at += AT_ONCE) {
      await Promise.all(numbers.slice(at, at + AT_ONCE).map((i) => world.addPod(`pod-${i}`, { number: String(i) })));
    }
    await world.apply(...Array.from({ length: policies }, (_, i) => policy(i)));
    const began = performance.now();
    const [agent] = await Promise.all([startAgent(world, node), startAgent(world, peer, COPY)]);
    await until(
      "policy is in force",
      () => agent.log().includes("policy is in force"),
      () => agent.log(),
    );
    const inForce = performance.now() - began;
    const probe = ["calico-node", "health", ...PROBES[1]!];
    await until(
      "it is ready",
      async () => (await node.exec(probe)).status === 0,
      () => agent.log(),
    );
    await Bun.sleep(REST_MS);
    const all = processes(agent.pid);
    const before = all.map(({ pid, name }) => sample(pid, name));
    await Bun.sleep(seconds * 1000);
    const after = all.map(({ pid, name }) => sample(pid, name));
    const rows = after.map((now, index) => {
      const { processor, waits } = before[index]!;
      const { name, resident, proportional, anonymous, threads } = now;
      return {
        ...{ name, resident, proportional, anonymous, threads },
        processor: ((now.processor - processor) / seconds) * 100,
        waits: sum([...now.waits].map(([thread, count]) => count - (waits.get(thread) ?? 0))) / seconds,
      };
    });
    const total = (field: Exclude<keyof Row, "name">): number => sum(rows.map((row) => row[field]));
    const line = (row: Row): string[] => [
      row.name,
      ...[row.resident, row.proportional, row.anonymous].map(mib),
      String(row.threads),
      row.processor.toFixed(2),
      row.waits.toFixed(1),
    ];
    const together = { name: "together", resident: total("resident"), proportional: total("proportional") };
    const rest = { anonymous: total("anonymous"), threads: total("threads"), waits: total("waits") };
    process.stdout.write(
      `${pods} pods, ${policies} policies, ${store}; in force ${inForce.toFixed(0)} ms after the start\n\n`,
    );
    process.stdout.write(
      `${markdownTable(HEAD, [...rows.map(line), line({ ...together, ...rest, processor: total("processor") })])}\n\n`,
    );
    process.stdout.write(`${await probesInWords(node)}\n\n`);
  } finally {
    await world.dispose();
  }
}

process.stdout.write(`${machine()}\n\n`);
for (const store of stores) await measure(store);
