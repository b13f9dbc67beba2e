/** Upstream's start-up and shutdown as commands of their own, for images and hooks that call them. */
import { writeFileSync } from "node:fs";
import type { Env } from "../../lib/cli/index.ts";
import {
  hostFacts,
  isPolicyOnly,
  prepareNode,
  removeShutdownTimestamp,
  shutdownTimestampFile,
} from "../../lib/node/index.ts";
import { folderOf, makeFolder } from "../../lib/sys/index.ts";
import { openLogger } from "../../lib/telemetry/index.ts";
import { kubernetesFactsOf } from "./kubernetes-facts.ts";
import { setNetworkUnavailable } from "./network-condition.ts";
import { datastoreOf, nodeName, openDatastore } from "./process.ts";

/** kubelet gives a hook no more than the pod's grace period, which upstream's is 0 to 5 s. */
const SHUTDOWN_MS = 2_000;

/** Prepares the node once, and ends. `isComplete`: pods may come at once. */
export async function startUp(env: Env, isComplete: boolean): Promise<number> {
  const log = openLogger({ component: "startup", level: "info" });
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
  const client = await openDatastore(
    () => datastoreOf(env, "startup"),
    stop.signal,
    () => {},
    log,
  );
  if (!client) return 1;
  const kubernetes = kubernetesFactsOf(datastoreOf(env, "startup"), nodeName(env));
  try {
    const known = await kubernetes.ask();
    await prepareNode(client, env, hostFacts(), { log, signal: stop.signal, ...(known && { kubernetes: known }) });
    removeShutdownTimestamp(env);
    const cluster = isComplete && !isPolicyOnly(env) ? await kubernetes.cluster() : undefined;
    if (cluster) await setNetworkUnavailable(cluster, env.CALICO_K8S_NODE_REF || nodeName(env), false);
    return 0;
  } catch (error) {
    log.error("the node is not prepared", { error: (error as Error).message });
    return 1;
  } finally {
    await kubernetes.close();
    await client.close();
  }
}

/** Leaves the time in the shutdown timestamp file, and tells Kubernetes to put no pods here. What does not work is logged: the pod ends anyway. */
export async function shutDown(env: Env): Promise<number> {
  const log = openLogger({ component: "shutdown", level: "info" });
  const path = shutdownTimestampFile(env);
  try {
    makeFolder(folderOf(path));
    writeFileSync(path, new Date().toISOString().replace(/\.\d+/, ""), { mode: 0o644 });
  } catch (error) {
    log.error("the time of the shutdown cannot be written", { path, error: (error as Error).message });
  }
  if (isPolicyOnly(env)) return 0;
  const node = env.CALICO_K8S_NODE_REF || nodeName(env);
  const tell = async (): Promise<void> => {
    const kubernetes = kubernetesFactsOf(datastoreOf(env, "shutdown"), node);
    const cluster = await kubernetes.cluster();
    if (cluster) await setNetworkUnavailable(cluster, node, true);
    await kubernetes.close();
  };
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => reject(new Error(`no answer within ${SHUTDOWN_MS / 1000} s`)), SHUTDOWN_MS).unref();
  });
  try {
    await Promise.race([tell(), late]);
  } catch (error) {
    log.error("the Node's condition NetworkUnavailable cannot be set", { node, error: (error as Error).message });
  }
  return 0;
}
