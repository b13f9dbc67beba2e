/**
 * `npm run soak:cluster`: a Deployment scales from nothing to many and back on a cluster that deploy/calico.yaml installed, round after round, while
 * what it needs is killed (-9) at random. After each round nothing of the pods may be left, in the datastore or on a node, and `calicoctl ipam
 * check` finds nothing. A line a round, a summary, and status 1 when a pod did not come or something is left.
 *
 *     npm run soak:cluster -- [MINUTES] [--seed N] [--pods N]
 *
 * A seed repeats what is killed and when in the course of a scale; not how processes happen to interleave.
 */
import { parseArgs } from "node:util";
import { Random } from "../../lib/policy-agent/naive/index.ts";
import { type Cluster, clusterMissing } from "./cluster.ts";
import { killAgent, killContainerd, killControllers, killFelix, killKubelet } from "./kill.ts";
import { agentsReady, installed, setLeakGracePeriod } from "./manifest.ts";
import { heldIn, ipamOf, nothingLeft, remains } from "./remains.ts";
import { report } from "./report.ts";
import { percentile } from "./summary.ts";
import { amongThemselves, deployment, type Meanwhile, scale, service } from "./workload.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { seed: { type: "string" }, pods: { type: "string", default: "40" } },
});
const number = (what: string, text: string): number => {
  const value = Number(text);
  if (text !== "" && value >= 0) return value;
  throw new RangeError(`${what}: "${text}" is not a number`);
};
const minutes = number("minutes", positionals[0] ?? "10");
const pods = number("--pods", values.pods);
const seed = number("--seed", values.seed ?? String(Math.floor(Math.random() * 2 ** 31)));
const random = new Random(seed);
const say = (text: string): void => void process.stdout.write(`${text}\n`);
const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
const killed = new Map<string, number>();

/** What can be killed. Everything of it is started again, by the harness or by Kubernetes. */
const VICTIMS = [
  "agent",
  "felix",
  "kubelet",
  "containerd",
  "kube-controller-manager",
  "calico-kube-controllers",
] as const;

/** Up to three kills, at parts of the way that are known beforehand. */
function chaos(cluster: Cluster, names: string[]): Meanwhile[] {
  return Array.from({ length: random.integer(1, 3) }, () => {
    const victim = random.pick(VICTIMS);
    const node = random.pick(cluster.nodes);
    const after = random.next() * 0.8;
    const where = victim.includes("controller") ? victim : `${victim} of ${node.name}`;
    names.push(`${where} at ${Math.round(after * 100)}%`);
    const work = async (): Promise<void> => {
      killed.set(victim, (killed.get(victim) ?? 0) + 1);
      if (victim === "agent") await killAgent(cluster, node);
      else if (victim === "felix") await killFelix(cluster, node);
      else if (victim === "kubelet") await inTurn(`kubelet ${node.name}`, () => killKubelet(cluster, node));
      else if (victim === "containerd") await inTurn(`containerd ${node.name}`, () => killContainerd(node));
      else if (victim === "kube-controller-manager") await inTurn(victim, () => cluster.plane.killControllers());
      else await killControllers(cluster);
    };
    return { after, work };
  });
}

/** What the harness starts again is killed once it is there. */
const turns = new Map<string, Promise<void>>();
function inTurn(what: string, work: () => Promise<void>): Promise<void> {
  const turn = (turns.get(what) ?? Promise.resolve()).then(work);
  turns.set(what, turn);
  return turn;
}

async function soak(cluster: Cluster): Promise<boolean> {
  await setLeakGracePeriod(cluster, "10s");
  await cluster.server.apply(deployment(0), service, amongThemselves);
  const empty = await remains(cluster);
  const starts: number[] = [];
  const deadline = performance.now() + minutes * 60_000;
  let rounds = 0;
  let leaked = false;
  while (!leaked && (rounds === 0 || performance.now() < deadline)) {
    const [up, down]: [string[], string[]] = [[], []];
    try {
      const there = await scale(cluster, pods, chaos(cluster, up));
      starts.push(...there.starts);
      const gone = await scale(cluster, 0, chaos(cluster, down));
      const began = performance.now();
      await nothingLeft(cluster, empty);
      await agentsReady(cluster);
      const { status, stdout, stderr } = await cluster.calicoctl("ipam", "check", "--show-problem-ips");
      if (status !== 0 || !stdout.includes("found 0 problems"))
        throw new Error(`calicoctl ipam check: ${stdout}${stderr}`);
      rounds++;
      say(
        `round ${rounds}: up ${seconds(there.milliseconds)} (a pod p50 ${seconds(percentile(there.starts, 0.5))}, ` +
          `p99 ${seconds(percentile(there.starts, 0.99))}), killed: ${up.join(", ")}; ` +
          `down ${seconds(gone.milliseconds)}, killed: ${down.join(", ")}; nothing left after ${seconds(performance.now() - began)}`,
      );
    } catch (error) {
      leaked = true;
      say(`round ${rounds + 1}, killed on the way up: ${up.join(", ")}; down: ${down.join(", ") || "(not begun)"}`);
      say(`${(error as Error).message}\n${await report(cluster)}`);
    }
  }
  const before = empty.filter((line) => line.startsWith("allocation ")).length;
  const left = heldIn(await ipamOf(cluster)).length - before;
  const kills = [...killed].map(([victim, times]) => `${victim} ${times}`).join(", ");
  say(
    `seed ${seed}: ${rounds} rounds, ${starts.length} pods started, p50 ${seconds(percentile(starts, 0.5))}, ` +
      `p99 ${seconds(percentile(starts, 0.99))}; killed: ${kills}; allocations left: ${left}${leaked ? "; FAILED" : ""}`,
  );
  return !leaked && left === 0;
}

const missing = clusterMissing();
if (missing !== undefined) {
  process.stderr.write(`soak:cluster: ${missing}\n`);
  process.exit(1);
}
say(`seed ${seed}, ${pods} pods, ${minutes} minutes`);
const { cluster, nodes } = await installed();
let good = false;
try {
  for (const { node, conflist, ready } of nodes) say(`${node}: conflist ${seconds(conflist)}, Ready ${seconds(ready)}`);
  good = await soak(cluster);
} finally {
  await cluster.dispose();
}
say(cluster.summary());
process.exit(good ? 0 : 1);
