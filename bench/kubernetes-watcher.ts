/**
 * One watcher of `bench:kubernetes`, in a process of its own: `kubernetes-watcher.ts WHAT KUBECONFIG NODE`. Says one line of JSON
 * when it is in sync, and goes on until its input ends.
 */
import { readFileSync } from "node:fs";
import { BlockAffinity } from "../lib/api/blockaffinity.ts";
import { IPAMBlock } from "../lib/api/ipamblock.ts";
import { IPPool } from "../lib/api/ippool.ts";
import type { Kind } from "../lib/api/kind.ts";
import { Node } from "../lib/api/node.ts";
import { Profile } from "../lib/api/profile.ts";
import { Tier } from "../lib/api/tier.ts";
import { WorkloadEndpoint } from "../lib/api/workloadendpoint.ts";
import { type Client, type Index, openClient } from "../lib/datastore/index.ts";
import { type KubernetesObject, loadKubeconfig, openKubernetes, reflect } from "../lib/kubernetes/index.ts";

export interface WatcherReport {
  readonly objects: number;
  readonly watches: number;
  /** From the first request until all that there was is known. */
  readonly milliseconds: number;
  /** Resident memory at its highest, and after a collection of garbage. */
  readonly peakBytes: number;
  readonly restingBytes: number;
}

const [what = "", kubeconfig = "", node = ""] = process.argv.slice(2);
const PODS = { group: "", version: "v1", plural: "pods" };
const stop = new AbortController();
/** Kept referenced, as an agent would. */
const kept = new Map<string, unknown>();

/** Resolves when in sync, and goes on watching. */
function pods(transform: (object: KubernetesObject & { spec: { nodeName: string } }) => unknown): Promise<void> {
  const kubernetes = openKubernetes(loadKubeconfig({ file: kubeconfig }));
  return new Promise((synced, failed) => {
    const follow = async (): Promise<void> => {
      for await (const event of reflect({ kubernetes, path: PODS, transform, signal: stop.signal })) {
        if (event.type === "synced") synced();
        else if (event.type === "failed") process.stderr.write(`${event.error.message}\n`);
        else if (event.type === "deleted") kept.delete(event.key);
        else if (event.type !== "bookmark") kept.set(event.key, event.object);
      }
      await kubernetes.close();
    };
    follow().catch(failed);
  });
}

function resources(client: Client, kind: Kind, index?: Index): Promise<void> {
  return new Promise((synced, failed) => {
    const follow = async (): Promise<void> => {
      for await (const event of client.watch(kind, { signal: stop.signal, ...(index ? { index } : {}) })) {
        if (event.type === "synced") synced();
        else if (event.type === "invalid") process.stderr.write(`${event.error.message}\n`);
        else {
          const { namespace, name } = event.resource.metadata;
          const key = `${kind.kind} ${namespace}/${name}`;
          if (event.type === "deleted") kept.delete(key);
          else kept.set(key, event.resource);
        }
      }
    };
    follow().catch(failed);
  });
}

const open = () => openClient({ type: "kubernetes", kubeconfig });

/** How many watches were begun. */
async function start(): Promise<number> {
  switch (what) {
    case "nothing":
      await open();
      return 0;
    case "pods":
      await pods((object) => object);
      return 1;
    case "pods-small":
      await pods(({ metadata, spec: { nodeName } }) => {
        const { name, namespace, labels } = metadata ?? {};
        return { name, namespace, labels, nodeName };
      });
      return 1;
    case "endpoints":
      await resources(await open(), WorkloadEndpoint);
      return 1;
    case "endpoints-of-node":
      await resources(await open(), WorkloadEndpoint, { node });
      return 1;
    case "nodes":
      await resources(await open(), Node);
      return 1;
    case "agent": {
      const client = await open();
      const cluster = [Node, Profile, Tier, IPPool, IPAMBlock, BlockAffinity];
      await Promise.all([
        ...cluster.map((kind) => resources(client, kind as Kind)),
        resources(client, WorkloadEndpoint as Kind, { node }),
      ]);
      return cluster.length + 1;
    }
    default:
      throw new Error(`nothing is called ${what}`);
  }
}

const status = (field: string) =>
  1024 * Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync("/proc/self/status", "utf8"))?.[1]);

const before = performance.now();
const watches = await start();
const milliseconds = performance.now() - before;
const peakBytes = status("VmHWM");
Bun.gc(true);
await Bun.sleep(500);
Bun.gc(true);
const report: WatcherReport = { objects: kept.size, watches, milliseconds, peakBytes, restingBytes: status("VmRSS") };
process.stdout.write(`${JSON.stringify(report)}\n`);
for await (const _ of process.stdin);
stop.abort();
process.exit(0);
