/** Answers CalicoNodeStatus resources (node/pkg/status). */
import { CalicoNodeStatus, type CalicoNodeStatusSpec, type CalicoNodeStatusStatus } from "../api/caliconodestatus.ts";
import { type Client, DatastoreError } from "../datastore/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { pause } from "../wait/index.ts";
import { isCode } from "./defaults.ts";
import { formatMoment, formatSince } from "./time.ts";
import type { BgpAgentStatus, BgpPeerStatus, BgpRouteStatus, StatusSource } from "./types.ts";

const WRITE_ATTEMPTS = 3;
/** Routes of a family at most. With more, the resource would be larger than etcd takes (1.5 MiB, at some 200 bytes a route). */
const ROUTES = 3_000;
/** What does not wait for anything must let others have their turn, so many routes apart. */
const TURN = 1_000;
/** Before a watch that failed is begun again; and where the cluster does not know the kind at all. */
const RETRY_MS = 1000;
const RETRY_MISSING_MS = 60_000;

export interface StatusReporterOptions {
  /** The node's name. */
  readonly node: string;
  readonly source: StatusSource;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

interface Job {
  readonly spec: CalicoNodeStatusSpec;
  readonly stop: AbortController;
  readonly done: Promise<void>;
}

/** Keeps the status of the CalicoNodeStatus resources for this node, each as often as it asks for (updatePeriodSeconds; 0: once), until the signal is aborted. */
export async function reportNodeStatus(client: Client, options: StatusReporterOptions): Promise<void> {
  const { log, signal } = options;
  const jobs = new Map<string, Job>();
  while (!signal.aborted) {
    try {
      await follow(client, options, jobs);
    } catch (error) {
      const missing = error instanceof DatastoreError && error.kindMissing;
      const fields = { error: (error as Error).message };
      if (missing) log.info("node status is not reported", fields);
      else log.warning("CalicoNodeStatus resources cannot be watched; tried again", fields);
      await pause(missing ? RETRY_MISSING_MS : RETRY_MS, signal);
    }
  }
  for (const { stop } of jobs.values()) stop.abort();
  await Promise.all([...jobs.values()].map(({ done }) => done));
}

async function follow(client: Client, options: StatusReporterOptions, jobs: Map<string, Job>): Promise<void> {
  const { log, signal, node } = options;
  // A new list: what is not in it any more has ended while nobody watched.
  const listed = new Set<string>();
  let synced = false;
  for await (const event of client.watch(CalicoNodeStatus, { signal })) {
    if (event.type === "synced") {
      for (const name of jobs.keys()) if (!listed.has(name)) end(jobs, name);
      synced = true;
    } else if (event.type === "invalid") {
      log.warning("a CalicoNodeStatus cannot be read", { key: event.key, error: event.error.message });
    } else {
      const { metadata, spec } = event.resource;
      if (!synced) listed.add(metadata.name);
      const running = jobs.get(metadata.name);
      const wanted = event.type !== "deleted" && spec.node === node;
      // Our own writes come back here, too.
      if (wanted && running && Bun.deepEquals(running.spec, spec)) continue;
      end(jobs, metadata.name);
      if (wanted) jobs.set(metadata.name, begin(client, options, metadata.name, spec));
    }
  }
}

function end(jobs: Map<string, Job>, name: string): void {
  jobs.get(name)?.stop.abort();
  jobs.delete(name);
}

function begin(client: Client, options: StatusReporterOptions, name: string, spec: CalicoNodeStatusSpec): Job {
  const stop = new AbortController();
  const run = async (): Promise<void> => {
    // Once for as long as it is the same, as it may be tried every second.
    let said: string | undefined;
    const say = (words: string, error?: string): void => {
      const all = `${words} ${error}`;
      if (all !== said) options.log.warning(words, { name, ...(error !== undefined && { error }) });
      said = all;
    };
    for (;;) {
      try {
        if (await report(client, options, name, spec, stop.signal)) said = undefined;
        else say(`there are more routes than the ${ROUTES} of a family that a CalicoNodeStatus shows`);
      } catch (error) {
        say("node status is not up to date", (error as Error).message);
      }
      if (spec.updatePeriodSeconds === 0) return;
      await pause(spec.updatePeriodSeconds * 1000, stop.signal);
      if (stop.signal.aborted) return;
    }
  };
  return { spec, stop, done: run() };
}

/** Everything is written, or nothing; false: but for routes that are too many. */
async function report(
  client: Client,
  { node, source, log }: StatusReporterOptions,
  name: string,
  { classes }: CalicoNodeStatusSpec,
  signal: AbortSignal,
): Promise<boolean> {
  const { parts, isWhole } = await collect(classes, source);
  for (let attempt = 1; !signal.aborted; attempt++) {
    const found = await client.get(CalicoNodeStatus, { name });
    if (found?.spec.node !== node) return isWhole;
    const { lastUpdated: _, ...before } = found.status ?? {};
    const status: CalicoNodeStatusStatus = { ...before, ...parts };
    if (found.status && Bun.deepEquals(status, before)) return isWhole;
    status.lastUpdated = new Date().toISOString().replace(/\.\d+/, "");
    try {
      await client.update(CalicoNodeStatus, { ...found, status });
      log.debug("node status is written", { name });
      return isWhole;
    } catch (error) {
      if (attempt === WRITE_ATTEMPTS || !isCode(error, "CONFLICT", "NOT_FOUND")) throw error;
    }
  }
  return isWhole;
}

/** What the classes ask for; the others' parts are left as they are. */
async function collect(
  classes: CalicoNodeStatusSpec["classes"],
  source: StatusSource,
): Promise<{ readonly parts: CalicoNodeStatusStatus; readonly isWhole: boolean }> {
  const both = async <T>(ask: (family: 4 | 6) => Promise<T>): Promise<[T, T]> => [await ask(4), await ask(6)];
  const status: CalicoNodeStatusStatus = {};
  let isWhole = true;
  if (classes.includes("Agent")) {
    const [v4, v6] = await both((family) => source.agent(family));
    status.agent = { birdV4: agentOf(v4), birdV6: agentOf(v6) };
  }
  if (classes.includes("BGP")) {
    const [v4, v6] = (await both((family) => source.peers(family))).map((peers) => peersOf(peers ?? []));
    status.bgp = {
      numberEstablishedV4: v4!.established,
      numberNotEstablishedV4: v4!.others,
      numberEstablishedV6: v6!.established,
      numberNotEstablishedV6: v6!.others,
      ...(v4!.peers.length > 0 && { peersV4: v4!.peers }),
      ...(v6!.peers.length > 0 && { peersV6: v6!.peers }),
    };
  }
  if (classes.includes("Routes")) {
    const { v4, v6, isCut } = await routesOf(source);
    isWhole = !isCut;
    status.routes = { ...(v4.length > 0 && { routesV4: v4 }), ...(v6.length > 0 && { routesV6: v6 }) };
  }
  return { parts: status, isWhole };
}

type Agent = NonNullable<NonNullable<CalicoNodeStatusStatus["agent"]>["birdV4"]>;
type Peer = NonNullable<NonNullable<CalicoNodeStatusStatus["bgp"]>["peersV4"]>[number];
type Route = NonNullable<NonNullable<CalicoNodeStatusStatus["routes"]>["routesV4"]>[number];

function agentOf(agent: BgpAgentStatus | undefined): Agent {
  if (!agent) return { state: "NotReady" };
  return {
    state: agent.ready ? "Ready" : "NotReady",
    version: agent.version,
    routerID: agent.routerId,
    lastBootTime: formatMoment(agent.started),
    lastReconfigurationTime: formatMoment(agent.reconfigured),
  };
}

const ESTABLISHED = "Established";
const STATES = ["Idle", "Connect", "Active", "OpenSent", "OpenConfirm", ESTABLISHED, "Close"] as const;
const PEER_TYPES = { mesh: "NodeMesh", global: "GlobalPeer", node: "NodePeer" } as const;

/** Upstream has no word for peers that are workloads, and leaves them out. */
function peersOf(all: readonly BgpPeerStatus[]): { peers: Peer[]; established: number; others: number } {
  const shown = all.filter(({ kind }) => kind !== "localWorkload");
  const established = shown.filter(({ state }) => state === ESTABLISHED).length;
  const peers = shown.map(({ address, kind, state, since }) => ({
    peerIP: address,
    type: PEER_TYPES[kind as keyof typeof PEER_TYPES],
    ...(isState(state) && { state }),
    since: formatSince(since, Date.now()),
  }));
  return { peers, established, others: shown.length - established };
}

const isState = (state: string): state is (typeof STATES)[number] => STATES.some((one) => one === state);

async function routesOf(source: StatusSource): Promise<{ v4: Route[]; v6: Route[]; isCut: boolean }> {
  const [v4, v6]: [Route[], Route[]] = [[], []];
  let isCut = false;
  let number = 0;
  for await (const route of source.routes()) {
    if (++number % TURN === 0) await new Promise((resolve) => setImmediate(resolve));
    const routes = route.family === 4 ? v4 : v6;
    if (routes.length < ROUTES) routes.push(routeOf(route));
    else isCut = true;
    if (isCut && v4.length === ROUTES && v6.length === ROUTES) break;
  }
  return { v4, v6, isCut };
}

function routeOf(route: BgpRouteStatus): Route {
  return {
    type: route.primary ? "FIB" : "RIB",
    destination: route.destination,
    gateway: route.gateway ?? "N/A",
    ...(route.interface !== undefined && { interface: route.interface }),
    learnedFrom: {
      sourceType: route.source,
      ...(route.peerAddress !== undefined && { peerIP: route.peerAddress }),
    },
  };
}
