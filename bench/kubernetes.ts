/**
 * `npm run bench:kubernetes [nodes] [pods] [seconds]`: a cluster's worth of nodes and pods as objects of a real API server
 * (1,000 and 30,000 unless said otherwise), and what it costs to follow them. Every watcher is a process of its own. Prints
 * tables; nothing is passed or failed.
 */
import { join } from "node:path";
import { loadKubeconfig, openKubernetes } from "../lib/kubernetes/index.ts";
import { type ApiServer, type AuditEvent, startApiServer, summarise } from "../lib/kubernetes/testing/index.ts";
import type { WatcherReport } from "./kubernetes-watcher.ts";
import { machine, markdownTable } from "./stats.ts";

const nodes = Number(process.argv[2] ?? 1000);
const pods = Number(process.argv[3] ?? 30_000);
const seconds = Number(process.argv[4] ?? 60);
/** Enough to keep an API server busy, and few enough for its default limit of requests in flight. */
const AT_ONCE = 64;

const nodeName = (index: number) => `node-${String(index).padStart(4, "0")}`;

/** Objects as a scheduler and kubelets would have left them. */
function* objects(): Generator<{ readonly path: string; readonly body: object }> {
  for (let i = 0; i < nodes; i++) {
    const annotations = { "projectcalico.org/IPv4Address": `10.0.${i >> 8}.${i & 255}/16` };
    yield {
      path: "/api/v1/nodes",
      body: { metadata: { name: nodeName(i), annotations, labels: { "kubernetes.io/hostname": nodeName(i) } } },
    };
  }
  for (let i = 0; i < pods; i++) {
    const ip = `10.${64 + (i >> 16)}.${(i >> 8) & 255}.${i & 255}`;
    yield {
      path: "/api/v1/namespaces/default/pods",
      body: {
        metadata: {
          name: `web-${String(i % 300).padStart(3, "0")}-${i.toString(36).padStart(5, "0")}`,
          labels: { app: `web-${i % 300}`, "pod-template-hash": "5d4f8c7b9d" },
          annotations: {
            "cni.projectcalico.org/podIP": `${ip}/32`,
            "cni.projectcalico.org/podIPs": `${ip}/32`,
            "cni.projectcalico.org/containerID": i.toString(16).padStart(64, "0"),
          },
        },
        spec: {
          nodeName: nodeName(i % nodes),
          serviceAccountName: "default",
          containers: [
            { name: "web", image: "registry.example.org/web:1", ports: [{ name: "http", containerPort: 80 }] },
          ],
        },
      },
    };
  }
}

/** Creates all of them, several at a time: how many a second. */
async function populate(server: ApiServer): Promise<number> {
  const config = loadKubeconfig({ file: server.kubeconfig("admin-token") });
  const kubernetes = openKubernetes({ ...config, qps: 0, burst: 0 });
  const todo = objects();
  const before = performance.now();
  const worker = async (): Promise<void> => {
    for (let next = todo.next(); !next.done; next = todo.next())
      await kubernetes.request("POST", next.value.path, { body: next.value.body });
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  const rate = (1000 * (nodes + pods)) / (performance.now() - before);
  await kubernetes.close();
  return rate;
}

interface Watcher {
  /** What it says once it knows all there was. */
  readonly report: WatcherReport;
  stop(): Promise<void>;
}

/** Starts bench/kubernetes-watcher.ts and waits until it is in sync. */
async function watcher(what: string, kubeconfig: string): Promise<Watcher> {
  const script = join(import.meta.dirname, "kubernetes-watcher.ts");
  const child = Bun.spawn([process.execPath, script, what, kubeconfig, nodeName(0)], {
    ...{ stdin: "pipe", stdout: "pipe", stderr: "inherit" },
    env: { PATH: "/usr/bin:/bin" },
  });
  let said = "";
  for await (const chunk of child.stdout) {
    said += new TextDecoder().decode(chunk);
    if (said.includes("\n")) break;
  }
  if (!said.includes("\n")) throw new Error(`watcher ${what} ended: ${await child.exited}`);
  return {
    report: JSON.parse(said) as WatcherReport,
    stop: async () => {
      child.stdin.end();
      await child.exited;
    },
  };
}

const mib = (bytes: number) => (bytes / 2 ** 20).toFixed(0);

async function inSync(server: ApiServer): Promise<void> {
  const rows: string[][] = [];
  const kubeconfig = server.kubeconfig("node");
  for (const [name, what] of [
    ["an empty process with the client loaded", "nothing"],
    ["reflector, pods, all of each object kept", "pods"],
    ["reflector, pods, name, node and labels kept", "pods-small"],
    ["Client.watch(WorkloadEndpoint)", "endpoints"],
    ["Client.watch(WorkloadEndpoint) of one node", "endpoints-of-node"],
    ["Client.watch(Node)", "nodes"],
  ] as const) {
    const { report, stop } = await watcher(what, kubeconfig);
    await stop();
    rows.push([
      name,
      String(report.objects),
      (report.milliseconds / 1000).toFixed(2),
      mib(report.peakBytes),
      mib(report.restingBytes),
    ]);
  }
  const head = ["one watcher", "objects", "in sync after s", "peak MiB", "resting MiB"];
  process.stdout.write(`${markdownTable(head, rows)}\n\n`);
}

/** What a node asks of the API server while nothing happens, once all of its watches stand. */
async function idle(server: ApiServer): Promise<void> {
  const mine = (events: readonly AuditEvent[]) => events.filter(({ user }) => user.endsWith(":calico-node"));
  const { report, stop } = await watcher("agent", server.kubeconfig("node"));
  const before = mine(await server.audit()).length;
  await Bun.sleep(seconds * 1000);
  const summary = summarise(mine(await server.audit()).slice(before));
  await stop();
  const asked = [...summary.byVerb].map(([verb, count]) => `${count} x ${verb}`).join(", ");
  process.stdout.write(
    `${markdownTable(
      ["an idle node", "watches", "requests", "requests a second", "writes"],
      [
        [
          `${seconds} s`,
          String(report.watches),
          String(summary.requests),
          (summary.requests / seconds).toFixed(3),
          String(summary.writes),
        ],
      ],
    )}\n${asked === "" ? "" : `\n${asked}\n`}\n`,
  );
}

process.stdout.write(`bench:kubernetes, ${nodes} nodes, ${pods} pods, on ${machine()}\n\n`);
await using server = await startApiServer({ crds: "v1", audit: true });
const rate = await populate(server);
process.stdout.write(`${nodes + pods} objects created, ${rate.toFixed(0)} a second\n\n`);
await inSync(server);
await idle(server);
