import { IPPool } from "../../lib/api/ippool.ts";
import { type BgpWatch, type NodeBgpOptions, watchBgp } from "../../lib/bgp/config/index.ts";
import { CONTROL_SOCKET, serveControl, whyNotReady } from "../../lib/bgp/control/index.ts";
import { type Backend, openBirdBackend, openSpeaker, realEdges } from "../../lib/bgp/index.ts";
import type { Env } from "../../lib/cli/index.ts";
import type { Client } from "../../lib/datastore/index.ts";
import {
  hostFacts,
  isPolicyOnly,
  monitorAddresses,
  type PreparedNode,
  prepareNode,
  removeShutdownTimestamp,
  reportNodeStatus,
  unservedPools,
} from "../../lib/node/index.ts";
import { type Level, type Logger, openLogger } from "../../lib/telemetry/index.ts";
import { pause } from "../../lib/wait/index.ts";
import { bgpOptions } from "./bgp-options.ts";
import { statusSource } from "./bgp-status.ts";
import { askFelix } from "./health.ts";
import { type ClusterOfNode, kubernetesFactsOf } from "./kubernetes-facts.ts";
import { reportNetworkUp } from "./network-condition.ts";
import { controlSource, NO_BGP, NodeReport } from "./node-report.ts";
import { datastoreOf, nodeName, openDatastore, RUN_FOLDER, stopOn, takeLock } from "./process.ts";
import { restWhenQuiet } from "./rest.ts";

const LEVELS: Readonly<Record<string, Level>> = {
  debug: "debug",
  info: "info",
  warning: "warning",
  error: "error",
  fatal: "error",
  panic: "error",
  none: "none",
};
/** Between attempts to prepare the node. */
const RETRY_MS = 5_000;
/** Where BIRD's configuration is, beside upstream's of the same format. */
const BIRD_FOLDER = "/etc/calico/bird";

/** The process that keeps the Node resource and does BGP; answers the exit status. */
export async function runBgp(env: Env): Promise<number> {
  const level = LEVELS[(env.BGP_LOGSEVERITYSCREEN || "info").toLowerCase()] ?? "info";
  const log = openLogger({ component: "bgp", level });
  const stop = new AbortController();
  const { signal } = stop;
  stopOn(stop, log, "routes stay in the kernel, and peers keep theirs for the next process");
  using lock = await takeLock("bgp", signal, log);
  if (!lock) return 0;
  restWhenQuiet();
  const backend = await openBackend(env, log);
  const report = new NodeReport();
  const source = controlSource(nodeName(env), backend, report);
  const control = serveControl(CONTROL_SOCKET, source);
  try {
    const onTrouble = (why: string): void => {
      report.datastore = why;
    };
    const client = await openDatastore(() => datastoreOf(env, "bgp"), signal, onTrouble, log);
    if (!client) return 0;
    report.datastore = undefined;
    try {
      const keeping = { client, backend, report, source, env, signal, log };
      await Promise.all([keepNode(keeping), keepPlugin(keeping)]);
    } finally {
      await client.close();
    }
    return 0;
  } finally {
    await control.close();
    await backend?.close({ graceful: false });
  }
}

interface Keeping {
  readonly client: Client;
  readonly backend: Backend | undefined;
  readonly report: NodeReport;
  readonly source: ReturnType<typeof controlSource>;
  readonly env: Env;
  readonly signal: AbortSignal;
  readonly log: Logger;
}

/** Undefined: this node does no BGP. */
async function openBackend(env: Env, log: Logger): Promise<Backend | undefined> {
  const networking = env.CALICO_NETWORKING_BACKEND || "bird";
  if (networking !== "bird") {
    log.info("no BGP on this node", { CALICO_NETWORKING_BACKEND: networking });
    return undefined;
  }
  const speaker = env.CALICO_BGP_SPEAKER || "native";
  if (speaker === "bird") {
    return openBirdBackend({ log, folder: BIRD_FOLDER, socket: `${RUN_FOLDER}/bird.ctl`, after });
  }
  if (speaker !== "native") {
    log.warning("CALICO_BGP_SPEAKER is neither native nor bird; it is taken for native", { value: speaker });
  }
  return openSpeaker({ edges: realEdges(log), log });
}

function after(milliseconds: number, callback: () => void): () => void {
  const timer = setTimeout(callback, milliseconds);
  return () => clearTimeout(timer);
}

/** Prepares the Node resource, then keeps it, BGP and what is said of both. Resolves when the signal is aborted. */
async function keepNode(keeping: Keeping): Promise<void> {
  const { client, backend, report, env, signal, log } = keeping;
  const name = nodeName(env);
  const facts = hostFacts();
  const kubernetes = kubernetesFactsOf(datastoreOf(env, "bgp"), name);
  // A node that was prepared before goes on with what it has, whatever start-up thinks of it now.
  const watch = backend && watchNode(keeping, backend, bgpOptions(env, facts));
  try {
    let prepared: PreparedNode | undefined;
    while (!signal.aborted && !prepared) {
      try {
        const known = await kubernetes.ask();
        prepared = await prepareNode(client, env, facts, { log, signal, ...(known && { kubernetes: known }) });
        removeShutdownTimestamp(env);
        report.start = undefined;
        report.prepared = true;
        watch?.again();
        report.unserved = isPolicyOnly(env) ? [] : prepared.unserved;
      } catch (error) {
        prepared = undefined;
        if (signal.aborted) break;
        report.start = (error as Error).message;
        log.error("the node is not prepared; tried again", { error: report.start });
        await pause(RETRY_MS, signal);
      }
    }
    if (!prepared) return;
    await Promise.all([
      watch?.done,
      monitorAddresses(client, env, {
        name,
        facts,
        kubernetes: () => kubernetes.ask(),
        said: prepared.warnings,
        log,
        signal,
      }),
      keepNetworkUp(keeping, kubernetes),
      backend && reportNodeStatus(client, { node: name, source: statusSource(backend, report), log, signal }),
    ]);
  } finally {
    await watch?.done.catch(() => {});
    await kubernetes.close();
  }
}

/** Tells Kubernetes that pods may come, once they would have a network. */
async function keepNetworkUp({ source, report, env, signal, log }: Keeping, kubernetes: ClusterOfNode): Promise<void> {
  const cluster = isPolicyOnly(env) ? undefined : await kubernetes.cluster();
  if (!cluster) return;
  await reportNetworkUp({
    kubernetes: cluster,
    node: env.CALICO_K8S_NODE_REF || nodeName(env),
    whyNot: async () =>
      // As the probe: a peer that is gone must not keep pods from every node that is restarted.
      whyNotReady(await source.status(), Date.now() - report.startedAt) ??
      (env.FELIX_HEALTHENABLED === "true" ? await askFelix("readiness", env) : undefined),
    log,
    signal,
  });
}

/** Keeps what the CNI plugin needs of the node's files: its kubeconfig, and the network configuration once there would be a network. */
async function keepPlugin({ backend, report, env, signal, log }: Keeping): Promise<void> {
  const { keepCni } = await import("../../lib/install/index.ts");
  // Of BGP alone: what is in the way of the plugin's files is no reason to wait for them.
  const status = async () => (await backend?.status()) ?? NO_BGP;
  await keepCni({
    env,
    node: env.CALICO_K8S_NODE_REF || nodeName(env),
    // What is in its way is in its own log, and in the probe's answer.
    whyNotEnforced: async () =>
      env.FELIX_HEALTHENABLED === "true" && (await askFelix("readiness", env)) !== undefined
        ? "felix is not ready"
        : undefined,
    whyNotPrepared: async () => report.notPrepared(await status()).join("; ") || undefined,
    whyNotReached: async () => whyNotReady(await status(), Date.now() - report.startedAt),
    onTrouble: (why) => {
      report.cni = why;
    },
    log,
    signal,
  });
}

function watchNode({ client, report, signal, log }: Keeping, backend: Backend, options: NodeBgpOptions): BgpWatch {
  let pools: unknown;
  const watch = watchBgp({
    client,
    signal,
    ...options,
    isPrepared: () => report.prepared,
    onChange: (bgp) => {
      const known = [bgp.ipv4.pools, bgp.ipv6.pools];
      // They are the same objects for as long as no pool changes.
      if (!Bun.deepEquals(known, pools) && report.prepared) void askForPools();
      pools = known;
      report.configuredAt = Date.now();
      backend.configure(bgp).catch((error: Error) => log.error("cannot configure BGP", { error: error.message }));
    },
    onTrouble: (kind, why) => {
      report.trouble(kind, why);
      if (why === undefined) log.info("is watched for BGP", { kind });
      else log.warning("cannot be watched for BGP", { kind, why });
    },
  });
  report.missing = watch.missing;
  return watch;

  async function askForPools(): Promise<void> {
    try {
      report.unserved = unservedPools((await client.list(IPPool)).items);
      for (const { message } of report.unserved) log.warning(message);
    } catch (error) {
      log.warning("the pools cannot be listed", { error: (error as Error).message });
    }
  }
}
