import type { V1Node, V1Pod } from "@kubernetes/client-node";
import { BlockAffinity } from "../../api/blockaffinity.ts";
import { ClusterInformation } from "../../api/clusterinformation.ts";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import { IPReservation } from "../../api/ipreservation.ts";
import { Node } from "../../api/node.ts";
import { type Cidr, tryParseCidr } from "../../ip/index.ts";
import { ipamAdmin } from "../../ipam/index.ts";
import type { Wire } from "../../kubernetes/index.ts";
import type { Controller, ControllerContext, Live } from "../controller.ts";
import { type Mirror, mirror, mirrorKubernetes } from "../mirror.ts";
import { WorkQueue } from "../queue.ts";
import { liveCluster } from "./cluster.ts";
import { Collector } from "./collector.ts";
import { type Pod, podFacts } from "./facts.ts";
import { Ledger } from "./ledger.ts";
import { IpamMetrics } from "./metrics.ts";
import { kubernetesNodeOf } from "./names.ts";
import { Tombstones } from "./tombstones.ts";

export interface NodeControllerSettings {
  /** How long an address must look unused before it is released, in milliseconds; 0: on nodes that exist nothing is collected. */
  readonly leakGracePeriod: number;
}

/** KubeControllersConfiguration's defaults. */
export const DEFAULT_NODE_SETTINGS: NodeControllerSettings = { leakGracePeriod: 15 * 60_000 };

/** Upstream scans so often when there is no grace period, or a long one. */
const SCAN_MS = 5 * 60_000;
/** Between looks for objects that are only marked as deleted, after there were any and after there were none. */
const MARKED_MS = { some: 15_000, none: 60 * 60_000 };
/** Changes of a node's blocks come in bursts, most of them of the collector's own making. */
const SETTLE_MS = 2_000;

const core = (plural: string) => ({ group: "", version: "v1", plural });

/**
 * Collects garbage of IPAM (collector.ts). A node that is deleted is one piece of work, begun at once; everything else is looked for at intervals of half the
 * grace period. Metrics are upstream's.
 */
export function createNodeController(context: ControllerContext, settings: Live<NodeControllerSettings>): Controller {
  const metrics = new IpamMetrics(context.metrics);
  return { name: "node", run: (signal) => runNodeController(context, settings, metrics, signal) };
}

async function runNodeController(
  context: ControllerContext,
  settings: Live<NodeControllerSettings>,
  metrics: IpamMetrics,
  outer: AbortSignal,
): Promise<void> {
  const { client, kubernetes, log, time } = context;
  const stop = new AbortController();
  const signal = AbortSignal.any([outer, stop.signal]);
  const ledger = new Ledger();
  const troubles = new Map<string, string>();
  const tell = (): void => {
    const [what] = troubles;
    context.report(!what, what ? `${what[0]} cannot be watched: ${what[1]}` : "");
  };
  const about = (what: string) => ({
    signal,
    time,
    onTrouble: (why: string | undefined) => {
      if (why === undefined) troubles.delete(what);
      else {
        log.warning("cannot watch, and tries again", { what, error: why });
        troubles.set(what, why);
      }
      if (running) tell();
    },
  });
  let running = false;
  let isLocked = false;
  let blocks: Mirror<IPAMBlock> | undefined;
  const collector = new Collector({
    client,
    live: liveCluster(kubernetes),
    ledger,
    log,
    time,
    grace: () => settings.value.leakGracePeriod,
    unreadable: () => (blocks?.unreadable.size ?? 0) > 0,
    onReclaimed: (allocation) => metrics.reclaimed(allocation),
  });
  const tombstones = new Tombstones();
  const period = (): number => {
    const { leakGracePeriod } = settings.value;
    return leakGracePeriod > 0 ? Math.min(SCAN_MS, leakGracePeriod / 2) : SCAN_MS;
  };
  const queue = new WorkQueue({
    time,
    workers: 16,
    backoff: { first: 500, most: 60_000 },
    onFailure: (key, error, attempt, wait) =>
      log.warning("not done, and tried again", {
        key,
        error: (error as Error).message,
        attempt,
        wait: Math.round(wait),
      }),
    work: async (key) => {
      // While the datastore is locked nobody writes, and nothing is taken to be superfluous.
      if (isLocked) return key === SCAN || key === MARKED ? period() : undefined;
      if (key === MARKED) return (await tombstones.sweep(kubernetes)) > 0 ? MARKED_MS.some : MARKED_MS.none;
      if (key !== SCAN) {
        await collector.reclaimNode(key.slice(NODE.length));
        return undefined;
      }
      for (const node of collector.goneNodes()) queue.add(NODE + node);
      await collector.scan();
      return period();
    },
  });
  const wake = (nodes: Iterable<string>, after: number): void => {
    if (!running) return;
    for (const node of nodes) if (ledger.looksGone(node)) queue.addAfter(NODE + node, after);
  };
  /** Calico's names of one of Kubernetes' nodes. */
  const namesOf = (name: string): string[] => [
    ...[...ledger.calicoNodes].flatMap(([calico, kubernetesName]) => (kubernetesName === name ? [calico] : [])),
    name,
  ];

  const reservations = mirror<IPReservation>({ ...about("IPReservations"), client, kind: IPReservation });
  const { readReservations } = await ipamAdmin();
  const pools = mirror<IPPool, string>({
    ...about("IPPools"),
    client,
    kind: IPPool,
    transform: ({ spec }) => (tryParseCidr(spec.cidr) ? spec.cidr : undefined),
  });
  blocks = mirror<IPAMBlock>({
    ...about("IPAMBlocks"),
    client,
    kind: IPAMBlock,
    onChange: (name, block) => wake(ledger.setBlock(name, block), SETTLE_MS),
  });
  const all: Mirror<unknown>[] = [
    pools,
    reservations,
    blocks,
    mirror<BlockAffinity>({
      ...about("BlockAffinities"),
      client,
      kind: BlockAffinity,
      onChange: (name, affinity) => wake(ledger.setAffinity(name, affinity), SETTLE_MS),
    }),
    mirror<IPAMHandle>({
      ...about("IPAMHandles"),
      client,
      kind: IPAMHandle,
      onChange: (name, handle) => ledger.setHandle(name, handle),
    }),
    mirror<ClusterInformation>({
      ...about("ClusterInformation"),
      client,
      kind: ClusterInformation,
      onChange: (name, information) => {
        if (name !== "default") return;
        const locked = information?.spec.datastoreReady === false;
        if (locked !== isLocked)
          log.info(locked ? "waits: the datastore is locked" : "goes on: the datastore is not locked");
        isLocked = locked;
        if (!locked && running) queue.add(SCAN);
      },
    }),
    mirrorKubernetes<Wire<V1Node>, string>({
      ...about("nodes"),
      kubernetes,
      path: core("nodes"),
      transform: ({ metadata }) => metadata?.name,
      onChange: (name, now) => {
        if (now !== undefined) ledger.nodes.add(name);
        else if (ledger.nodes.delete(name)) wake(namesOf(name), 0);
      },
    }),
    mirrorKubernetes<Wire<V1Pod>, Pod>({
      ...about("pods"),
      kubernetes,
      path: core("pods"),
      transform: podFacts,
      onChange: (key, now, before) => {
        ledger.setPod(key, now);
        const node = now?.node || before?.node;
        if (node && !ledger.nodes.has(node)) wake(namesOf(node), SETTLE_MS);
      },
    }),
  ];
  if (!client.capabilities.views) {
    all.push(
      mirror<Node>({
        ...about("Nodes"),
        client,
        kind: Node,
        onChange: (name, node) => {
          if (node) ledger.calicoNodes.set(name, kubernetesNodeOf(node));
          else ledger.calicoNodes.delete(name);
          wake([name], SETTLE_MS);
        },
      }),
    );
  }
  const deaf = settings.onChange(() => queue.add(SCAN));
  try {
    const ended = new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
    await Promise.race([Promise.all(all.map((one) => one.whenSynced())), ended]);
    if (signal.aborted) return;
    running = true;
    tell();
    metrics.show({
      ledger,
      pools: pools.items,
      reservedIn: (cidrs: readonly Cidr[]) => {
        const reserved = readReservations([...reservations.items.values()]);
        return cidrs.map((cidr) => reserved.count(cidr));
      },
      isCandidate: (id) => collector.isCandidate(id),
      get oldest() {
        return collector.oldest;
      },
      now: time.now,
      synced: true,
    });
    queue.add(SCAN);
    if (client.capabilities.softDelete) queue.add(MARKED);
    for (const node of ledger.calicoNodes.keys()) wake([node], 0);
    await queue.run(signal);
  } finally {
    deaf();
    stop.abort();
    await Promise.all(all.map(({ done }) => done));
  }
}

const NODE = "node/";
const SCAN = "scan";
const MARKED = "marked";
