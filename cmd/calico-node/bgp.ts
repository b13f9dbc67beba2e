import { type NodeBgpOptions, watchBgp } from "../../lib/bgp/config/index.ts";
import { CONTROL_SOCKET, type ControlSource, serveControl } from "../../lib/bgp/control/index.ts";
import { type Backend, openBirdBackend, openSpeaker, realEdges } from "../../lib/bgp/index.ts";
import type { Env } from "../../lib/cli/index.ts";
import { type Client, datastoreConfigFromEnv } from "../../lib/datastore/index.ts";
import {
  hostFacts,
  monitorAddresses,
  type PreparedNode,
  prepareNode,
  reportNodeStatus,
  type UnservedPool,
} from "../../lib/node/index.ts";
import { type Level, type Logger, openLogger } from "../../lib/telemetry/index.ts";
import { pause } from "../../lib/wait/index.ts";
import { bgpOptions } from "./bgp-options.ts";
import { statusSource } from "./bgp-status.ts";
import { kubernetesFactsOf } from "./kubernetes-facts.ts";
import { nodeName, openDatastore, RUN_FOLDER, stopOn, takeLock } from "./process.ts";

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
  const backend = await openBackend(env, log);
  const problems: NodeProblems = { start: undefined, unserved: [] };
  const control = backend && serveControl(CONTROL_SOCKET, withProblems(backend, problems));
  try {
    const client = await openDatastore(env, signal, () => {}, log);
    if (!client) return 0;
    try {
      await keepNode(client, backend, problems, env, signal, log);
    } finally {
      await client.close();
    }
    return 0;
  } finally {
    await control?.close();
    await backend?.close({ graceful: false });
  }
}

/** What start-up has to say, beside what BGP has. */
interface NodeProblems {
  /** Why the node is not prepared. */
  start: string | undefined;
  unserved: readonly UnservedPool[];
}

function withProblems(backend: Backend, problems: NodeProblems): ControlSource {
  return {
    status: async () => {
      const status = await backend.status();
      const own = [
        ...(problems.start === undefined ? [] : [problems.start]),
        ...problems.unserved.map(({ message }) => message),
      ];
      return { ...status, problems: [...own, ...status.problems] };
    },
    explain: (prefix) => backend.explain(prefix),
    routes: (which, peer) => backend.routes(which, peer),
  };
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
async function keepNode(
  client: Client,
  backend: Backend | undefined,
  problems: NodeProblems,
  env: Env,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  const name = nodeName(env);
  const facts = hostFacts();
  const kubernetes = kubernetesFactsOf(datastoreConfigFromEnv(env), name);
  // A node that was prepared before goes on with what it has, whatever start-up thinks of it now.
  const watching = backend && watchNode(client, backend, bgpOptions(env, facts), signal, log);
  try {
    let prepared: PreparedNode | undefined;
    while (!signal.aborted && !prepared) {
      try {
        const known = await kubernetes.ask();
        prepared = await prepareNode(client, env, facts, { log, signal, ...(known && { kubernetes: known }) });
        problems.start = undefined;
        problems.unserved = prepared.unserved;
      } catch (error) {
        problems.start = (error as Error).message;
        log.error("the node is not prepared; tried again", { error: problems.start });
        await pause(RETRY_MS, signal);
      }
    }
    if (!prepared) return;
    const onChange = ({ unserved }: PreparedNode): void => {
      problems.unserved = unserved;
    };
    await Promise.all([
      watching,
      monitorAddresses(client, env, {
        name,
        facts,
        kubernetes: () => kubernetes.ask(),
        said: prepared.warnings,
        onChange,
        log,
        signal,
      }),
      backend && reportNodeStatus(client, { node: name, source: statusSource(backend), log, signal }),
    ]);
  } finally {
    await watching?.catch(() => {});
    await kubernetes.close();
  }
}

async function watchNode(
  client: Client,
  backend: Backend,
  options: NodeBgpOptions,
  signal: AbortSignal,
  log: Logger,
): Promise<void> {
  const watch = watchBgp({
    client,
    signal,
    ...options,
    onChange: (bgp) => {
      backend.configure(bgp).catch((error: Error) => log.error("cannot configure BGP", { error: error.message }));
    },
    onTrouble: (kind, why) => {
      if (why === undefined) log.info("is watched for BGP", { kind });
      else log.warning("cannot be watched for BGP", { kind, why });
    },
  });
  await watch.done;
}
