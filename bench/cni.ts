/**
 * `npm run bench:cni [pairs] [burst] [names]`: what giving a pod its network costs, side by side in one run. The contestants take turns, so
 * that a noisy moment of the machine hits them all; medians are printed, and nothing is passed or failed.
 * `names`: a regular expression of those that take part beside the floor; all when absent.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { startEtcd } from "../lib/datastore/testing.ts";
import {
  type ApiServer,
  type AuditSummary,
  apiServerMissing,
  startApiServer,
} from "../lib/kubernetes/testing/index.ts";
import { inNamespace } from "../lib/sys/index.ts";
import { makeNetwork, startBenchAgent } from "./agent.ts";
import { type Command, type Contestant, floor, kubernetesPlugin, type Pod, plugin } from "./cni-contestants.ts";
import { enterSandbox, must } from "./sandbox.ts";
import { machine, markdownTable, median, ms, percentile } from "./stats.ts";

const root = join(import.meta.dirname, "..");
const folder = enterSandbox(import.meta.filename, root);
const pairs = Number(process.argv[2] ?? 50);
const burst = Number(process.argv[3] ?? 100);
const wanted = new RegExp(process.argv[4] ?? "");
const dist = join(root, "dist");

/** A program that prints one line, compiled as ours is: the least a compiled executable can cost. */
function helloWorld(): string {
  const source = join(folder, "hello.ts");
  const out = join(folder, "hello");
  writeFileSync(source, 'console.log("hello");\n');
  must(
    join(root, "node_modules/.bin/bun"),
    ...["build", "--compile", "--minify", "--bytecode", "--splitting", "--format=esm"],
    ...["--no-compile-autoload-dotenv", "--no-compile-autoload-bunfig", source, `--outfile=${out}`],
  );
  return out;
}

function calicoConfig(name: string, datastore: object): object {
  return {
    cniVersion: "1.0.0",
    name,
    type: "calico",
    nodename: "bench-node",
    nodename_file_optional: true,
    log_level: "warning",
    ...datastore,
    ipam: { type: "calico-ipam" },
  };
}

const MODES = ["v1", "v3"] as const;

const etcd = await startEtcd();
const stores: Record<string, { config: object; env: Record<string, string> }> = {
  sqlite: {
    config: { datastore_type: "sqlite", datastore_file: join(folder, "datastore.db") },
    env: { DATASTORE_TYPE: "sqlite", DATASTORE_FILE: join(folder, "datastore.db") },
  },
  "sqlite by the agent": {
    config: { datastore_type: "sqlite", datastore_file: join(folder, "agent.db") },
    env: { DATASTORE_TYPE: "sqlite", DATASTORE_FILE: join(folder, "agent.db") },
  },
  etcd: {
    config: { datastore_type: "etcdv3", etcd_endpoints: etcd.endpoint },
    env: { DATASTORE_TYPE: "etcdv3", ETCD_ENDPOINTS: etcd.endpoint },
  },
};
const pool = {
  apiVersion: "projectcalico.org/v3",
  kind: "IPPool",
  metadata: { name: "bench" },
  spec: { cidr: "10.65.0.0/16", blockSize: 26 },
};
const apiServers: ApiServer[] = [];
const noApiServer = apiServerMissing();
const networks = [0, 1, 2].map(makeNetwork);
for (const [index, mode] of noApiServer ? [] : MODES.entries()) {
  const server = await startApiServer({ crds: mode, audit: true, host: networks[index + 1]!.host });
  apiServers.push(server);
  for (const name of ["bench-node", "agent-node"])
    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name } });
  stores[`kubernetes ${mode}`] = { config: {}, env: { KUBECONFIG: server.kubeconfig("admin") } };
}
for (const store of Object.values(stores)) {
  const applied = spawnSync(join(dist, "calicoctl"), ["apply", "-f", "-"], {
    input: JSON.stringify(pool),
    env: { ...process.env, ...store.env },
    encoding: "utf8",
  });
  if (applied.status !== 0) throw new Error(`calicoctl apply: ${applied.stderr}${applied.stdout}`);
}

const byAgent = stores["sqlite by the agent"]!;
const executable = join(dist, "calico-node");
const agent = await startBenchAgent({
  ...{ executable, folder, network: networks[0]!, node: "bench-node" },
  datastore: byAgent.env,
});
const agents = [agent];
/** By the plugin alone, and by the agent of a node of its own. */
async function onKubernetes(mode: (typeof MODES)[number], server: ApiServer, index: number): Promise<Contestant[]> {
  const network = networks[index + 1]!;
  const datastore = { DATASTORE_TYPE: "kubernetes", KUBECONFIG: server.kubeconfig("admin-token") };
  const serving = await startBenchAgent({ executable, folder, network, node: "agent-node", datastore });
  agents.push(serving);
  const cni = join(dist, "calico-cni");
  return [
    kubernetesPlugin(mode, { server, node: "bench-node", asks: "plugin" }, cni, dist),
    serving.serving(kubernetesPlugin(mode, { server, node: "agent-node", asks: "agent" }, cni, dist)),
  ];
}

const DEBIAN = "/usr/lib/cni";
const hostLocal = (subnet: string) => ({ type: "host-local", subnet, routes: [{ dst: "0.0.0.0/0" }] });
mkdirSync(join(folder, "batch"));
const all: Contestant[] = [
  plugin("calico, sqlite", join(dist, "calico-cni"), dist, calicoConfig("bench-sqlite", stores.sqlite!.config)),
  agent.serving(
    plugin("calico, sqlite, fast path", join(dist, "calico-cni"), dist, calicoConfig("bench-agent", byAgent.config)),
  ),
  plugin("calico, etcd", join(dist, "calico-cni"), dist, calicoConfig("bench-etcd", stores.etcd!.config)),
  ...(await Promise.all(apiServers.map((server, index) => onKubernetes(MODES[index]!, server, index)))).flat(),
  plugin("bridge + host-local", join(DEBIAN, "bridge"), DEBIAN, {
    ...{ cniVersion: "1.0.0", name: "bench-bridge", type: "bridge", bridge: "bench0", isGateway: true },
    ipam: hostLocal("10.97.0.0/16"),
  }),
  plugin("ptp + host-local", join(DEBIAN, "ptp"), DEBIAN, {
    ...{ cniVersion: "1.0.0", name: "bench-ptp", type: "ptp" },
    ipam: hostLocal("10.98.0.0/16"),
  }),
  floor(join(folder, "batch")),
];
const contestants = all.filter((one, index) => wanted.test(one.name) || index === all.length - 1);

const FAST = ", fast path";
const SQLITE_FAST = `calico, sqlite${FAST}`;
const isFastOnKubernetes = (name: string): boolean => name.includes("kubernetes") && name.endsWith(FAST);

let pods = 0;
function makePod(): Pod {
  const id = ++pods;
  const netns = `bench-${id}`;
  must("ip", "netns", "add", netns);
  return { id, netns };
}
const removePod = (pod: Pod) => must("ip", "netns", "del", pod.netns);

interface Outcome {
  readonly milliseconds: number;
  readonly problem?: string;
}

/** Starts something where the contestant's node is. */
function within<T extends object>({ network }: Pick<Contestant, "network">, start: () => T): T {
  return network ? inNamespace(network.namespace, start as () => never) : start();
}

function run(commands: readonly Command[], where: Pick<Contestant, "network"> = {}): Outcome {
  let milliseconds = 0;
  for (const { argv, env, stdin } of commands) {
    const before = performance.now();
    const done = within(where, () =>
      Bun.spawnSync([...argv], {
        stdin: Buffer.from(stdin ?? ""),
        env: env ?? process.env,
        stdout: "pipe",
        stderr: "pipe",
      }),
    );
    milliseconds += performance.now() - before;
    if (done.exitCode !== 0) return { milliseconds, problem: `${done.stdout}${done.stderr}` };
  }
  return { milliseconds };
}

function mustRun(what: string, commands: readonly Command[], where: Pick<Contestant, "network"> = {}): Outcome {
  const outcome = run(commands, where);
  if (outcome.problem) throw new Error(`${what}: ${outcome.problem}`);
  return outcome;
}

/**
 * The largest process of an ADD, in MiB; the median of five. A child inherits the peak of what started it, so it is
 * started by something small: GNU time.
 */
async function peakMemory(contestant: Contestant): Promise<string> {
  const peaks: number[] = [];
  const report = join(folder, "peak");
  for (let round = 0; round < 5; round++) {
    const pod = makePod();
    await contestant.prepare?.([pod]);
    let peak = 0;
    for (const command of contestant.add(pod)) {
      const timed = { ...command, argv: ["/usr/bin/time", "-f", "%M", "-o", report, ...command.argv] };
      mustRun(`${contestant.name} ADD`, [timed], contestant);
      peak = Math.max(peak, Number(readFileSync(report, "utf8").trim()) / 1024);
    }
    peaks.push(peak);
    mustRun(`${contestant.name} DEL`, contestant.del(pod), contestant);
    await contestant.tidy?.([pod]);
    removePod(pod);
  }
  return median(peaks).toFixed(0);
}

/** Pairs of ADD and DEL, the contestants taking turns. */
async function oneAtATime(): Promise<void> {
  const counts = contestants.map(() => ({ requests: 0, writes: 0, adds: 0, asked: "" }));
  const add = contestants.map((): Outcome[] => []);
  const del = contestants.map((): Outcome[] => []);
  for (let round = -2; round < pairs; round++) {
    for (const [index, contestant] of contestants.entries()) {
      const pod = makePod();
      await contestant.prepare?.([pod]);
      // Counting reads a log that grows: a few rounds tell, because each does the same.
      const before = round >= 0 && round < 5 ? await contestant.counted?.() : undefined;
      const added = mustRun(`${contestant.name} ADD`, contestant.add(pod), contestant);
      const after = before && (await contestant.counted?.());
      if (before && after) {
        counts[index]!.requests += after.requests - before.requests;
        counts[index]!.writes += after.writes - before.writes;
        counts[index]!.adds++;
        counts[index]!.asked = [...after.byVerb]
          .map(([verb, count]) => [count - (before.byVerb.get(verb) ?? 0), verb] as const)
          .flatMap(([count, verb]) => (count === 0 ? [] : [`${count} x ${verb}`]))
          .join(", ");
      }
      const deleted = mustRun(`${contestant.name} DEL`, contestant.del(pod), contestant);
      await contestant.tidy?.([pod]);
      removePod(pod);
      if (round < 0) continue; // the first rounds warm the page cache, and make bridge and blocks
      add[index]!.push(added);
      del[index]!.push(deleted);
    }
  }
  const times = (outcomes: readonly Outcome[]) => outcomes.map((outcome) => outcome.milliseconds);
  const floorAdd = median(times(add.at(-1)!));
  const floorDel = median(times(del.at(-1)!));
  const rows: string[][] = [];
  for (const [index, contestant] of contestants.entries()) {
    const a = times(add[index]!);
    const d = times(del[index]!);
    const { requests, writes, adds } = counts[index]!;
    rows.push([
      contestant.name,
      ms(median(a)),
      ms(percentile(a, 0.95)),
      ms(percentile(a, 0.99)),
      (median(a) / floorAdd).toFixed(2),
      ms(median(d)),
      ms(percentile(d, 0.95)),
      (median(d) / floorDel).toFixed(2),
      await peakMemory(contestant),
      adds === 0 ? "" : `${(requests / adds).toFixed(1)} / ${(writes / adds).toFixed(1)}`,
    ]);
  }
  const head = [
    ...["one at a time", "ADD p50 ms", "p95", "p99", "x floor", "DEL p50 ms", "p95", "x floor", "peak MiB"],
    "requests / writes an ADD",
  ];
  process.stdout.write(`${markdownTable(head, rows)}\n\n`);
  for (const [index, { name }] of contestants.entries()) {
    const { asked } = counts[index]!;
    if (asked !== "") process.stdout.write(`${name}, one ADD: ${asked}\n\n`);
  }
  const p50 = (name: string) => median(times(add[contestants.findIndex((one) => one.name === name)]!));
  const onSqlite = contestants.some(({ name }) => name === SQLITE_FAST) ? p50(SQLITE_FAST) : Number.NaN;
  for (const { name, roundTrips = [] } of contestants.filter((one) => isFastOnKubernetes(one.name))) {
    const reach = 1.5 * onSqlite + median(roundTrips);
    process.stdout.write(
      `${name}: ADD p50 ${ms(p50(name))} ms; reach: ${ms(reach)}, 1.5 x ${ms(onSqlite)} (sqlite's) and a round trip, ${ms(median(roundTrips))}\n\n`,
    );
  }
}

/** What an ADD asked of an API server, as the columns of a table. */
function requestsEach(before: AuditSummary, after: AuditSummary, adds: number): string[] {
  const each = (pattern: RegExp): string => {
    let count = 0;
    for (const [what, many] of after.byVerb) if (pattern.test(what)) count += many - (before.byVerb.get(what) ?? 0);
    return (count / adds).toFixed(2);
  };
  return [/^(get|list) /, /^create ipamhandles/, /^(update|create) ipamblocks/, /^patch pods\/status/].map(each);
}

/** One ADD for each of many pods, all started at once. */
async function allAtOnce(): Promise<void> {
  const rows: string[][] = [];
  const rates = new Map<string, number>();
  for (const contestant of contestants.slice(0, -1)) {
    const group = Array.from({ length: burst }, makePod);
    await contestant.prepare?.(group);
    const measure = async (commands: readonly Command[]): Promise<Outcome> => {
      const { argv, env, stdin } = commands[0]!;
      const before = performance.now();
      const child = within(contestant, () =>
        Bun.spawn([...argv], {
          stdin: Buffer.from(stdin ?? ""),
          env: env ?? process.env,
          stdout: "pipe",
          stderr: "pipe",
        }),
      );
      const status = await child.exited;
      const milliseconds = performance.now() - before;
      if (status === 0) return { milliseconds };
      const problem = (await new Response(child.stdout).text()) + (await new Response(child.stderr).text());
      return { milliseconds, problem };
    };
    const phase = async (commandsOf: (pod: Pod) => readonly Command[]) => {
      const before = performance.now();
      const outcomes = await Promise.all(group.map((pod) => measure(commandsOf(pod))));
      return { outcomes, rate: (1000 * burst) / (performance.now() - before) };
    };
    const before = await contestant.counted?.();
    const added = await phase((pod) => contestant.add(pod));
    const after = before && (await contestant.counted?.());
    const deleted = await phase((pod) => contestant.del(pod));
    const times = added.outcomes.map((outcome) => outcome.milliseconds);
    const failures = [...added.outcomes, ...deleted.outcomes].filter((outcome) => outcome.problem);
    for (const failure of failures.slice(0, 3)) process.stderr.write(`${contestant.name}: ${failure.problem}\n`);
    rates.set(contestant.name, added.rate);
    rows.push([
      contestant.name,
      added.rate.toFixed(0),
      ...[0.5, 0.95, 0.99].map((share) => ms(percentile(times, share))),
      deleted.rate.toFixed(0),
      String(failures.length),
      ...(before && after ? requestsEach(before, after, burst) : ["", "", "", ""]),
    ]);
    await contestant.tidy?.(group);
    for (const pod of group) removePod(pod);
  }
  const head = [
    ...[`${burst} at once`, "ADD/s", "p50 ms", "p95", "p99", "DEL/s", "failed"],
    ...["reads an ADD", "handles", "block writes", "pod patches"],
  ];
  process.stdout.write(`${markdownTable(head, rows)}\n\n`);
  for (const [name, rate] of rates) {
    const direct = rates.get(name.slice(0, -FAST.length));
    if (isFastOnKubernetes(name) && direct)
      process.stdout.write(
        `${name}: ${(rate / direct).toFixed(1)} times the plugin's own additions a second; reach: 2\n\n`,
      );
  }
}

/** What starting costs: VERSION of ours and of ptp beside a hello world compiled the same way. */
function startUp(): void {
  const hello = helloWorld();
  const env = { CNI_COMMAND: "VERSION", PATH: "/usr/bin:/bin" };
  const stdin = JSON.stringify({ cniVersion: "1.0.0", name: "bench", type: "calico" });
  const commands: [string, Command][] = [
    ["hello world, compiled the same way", { argv: [hello] }],
    ["calico VERSION", { argv: [join(dist, "calico-cni")], env, stdin }],
    ["ptp VERSION", { argv: [join(DEBIAN, "ptp")], env, stdin }],
  ];
  const times = commands.map((): number[] => []);
  for (let round = -2; round < pairs; round++) {
    for (const [index, [name, command]] of commands.entries()) {
      const { milliseconds } = mustRun(name, [command]);
      if (round >= 0) times[index]!.push(milliseconds);
    }
  }
  const base = median(times[0]!);
  const rows = commands.map(([name], index) => [
    name,
    ms(median(times[index]!)),
    ms(percentile(times[index]!, 0.95)),
    (median(times[index]!) / base).toFixed(2),
  ]);
  process.stdout.write(`${markdownTable(["start-up", "p50 ms", "p95", "x hello"], rows)}\n\n`);
}

process.stdout.write(`bench:cni, ${pairs} pairs, ${burst} at once, on ${machine()}\n\n`);
if (noApiServer) process.stdout.write(`without the Kubernetes rows: ${noApiServer}\n\n`);
try {
  startUp();
  await oneAtATime();
  await allAtOnce();
} finally {
  for (const server of apiServers) server.resume();
  await Promise.all(agents.map((one) => one.stop()));
  await etcd.stop();
  for (const server of apiServers) await server.stop();
}
