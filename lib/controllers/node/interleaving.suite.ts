/**
 * Runs collectors, plugins and a cluster that changes against one in-memory datastore, one step at a time, in an order that a test decides. A step is one
 * operation of the datastore, one question to the API server, one change of the cluster, or the arrival of what one watch has to tell; so events may
 * be as late as can be.
 */
import { BlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle } from "../../api/ipamhandle.ts";
import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import type { Client } from "../../datastore/index.ts";
import { Crashed, type Fault, MemoryData, memoryClient, type StoreOperation } from "../../datastore/testing.ts";
import { createIpam, type Ipam } from "../../ipam/index.ts";
import { addPool, affinities, Clock, contradictions, owners } from "../../ipam/testing.ts";
import { silentLogger } from "../../telemetry/index.ts";
import type { LiveCluster } from "./cluster.ts";
import { Collector } from "./collector.ts";
import type { Pod } from "./facts.ts";
import { Ledger } from "./ledger.ts";

export const GRACE = 900_000;

/** What one simulated process can do; each waits for its turn. */
export interface Player {
  readonly ipam: Ipam;
  /** Another moment: what follows may come at any time. */
  turn(): Promise<void>;
  /** A plugin's ADD for a pod that is bound, and the pod's status with the address. */
  add(pod: string, container: string): Promise<void>;
  /** A node's agent assigns its tunnel's address. */
  tunnel(node: string): Promise<void>;
  /** A plugin's DEL: the pod loses its address, then the address is free. */
  del(pod: string, container: string): Promise<void>;
  /** Kubernetes' part. */
  createPod(pod: string, node: string): Promise<void>;
  deletePod(pod: string): Promise<void>;
  deleteNode(node: string): Promise<void>;
  createNode(node: string): Promise<void>;
  /** What this process' watches have to tell arrives: of one of them, or of all, one after the other. */
  hear(what?: Stream): Promise<void>;
  reclaim(node: string): Promise<void>;
  scan(): Promise<void>;
  /** Time goes by. */
  wait(milliseconds: number): Promise<void>;
}

export type Stream = "nodes" | "pods" | "blocks" | "affinities" | "handles";
/** Pods first: an allocation is then newer than what is known of pods. */
const STREAMS: readonly Stream[] = ["pods", "nodes", "handles", "affinities", "blocks"];

export interface Scenario {
  readonly name: string;
  setup(player: Player): Promise<void>;
  readonly players: readonly ((player: Player) => Promise<void>)[];
}

export interface FaultAt {
  readonly player: number;
  /** Which of its writes. */
  readonly write: number;
  readonly fault: Exclude<Fault, undefined>;
}

export interface RunOptions {
  readonly atomic: boolean;
  readonly faults?: readonly FaultAt[];
  choose(ready: readonly number[], current: number | undefined, step: number): number;
}

export interface RunResult {
  readonly violations: readonly string[];
  readonly steps: readonly {
    readonly ready: readonly number[];
    readonly chosen: number;
    readonly current: number | undefined;
  }[];
  /** Writes of each player. */
  readonly writes: readonly number[];
}

interface Held {
  readonly pod: string;
  readonly uid: string;
}

/** In place of a pod's uid; the pod is a node then. */
const TUNNEL = "tunnel";

class World {
  readonly data = new MemoryData();
  readonly clock = new Clock();
  readonly violations: string[] = [];
  readonly pods = new Map<string, Pod>();
  readonly nodes = new Set<string>();
  /** Address to the pod that was told it, and not told that it lost it. */
  readonly held = new Map<string, Held>();
  #uid = 0;
  #seed = 7;

  constructor(readonly atomic: boolean) {}

  client(hook?: (operation: StoreOperation) => Promise<Fault>): Client {
    return memoryClient({ data: this.data, capabilities: { atomicBatch: this.atomic }, ...(hook && { hook }) });
  }

  random = (): number => {
    this.#seed = (this.#seed * 48271) % 2147483647;
    return this.#seed / 2147483647;
  };

  /** Whether the one that was told the address still runs. */
  isLive({ pod, uid }: Held): boolean {
    if (uid === TUNNEL) return this.nodes.has(pod);
    return this.pods.get(pod)?.uid === uid;
  }

  player(client: Client, turn: () => Promise<void>): Player {
    const { clock } = this;
    const ipam = createIpam(client, { clock: clock.now, random: this.random, sleep: async () => {} });
    const ledger = new Ledger();
    const live: LiveCluster = {
      nodeExists: async (name) => {
        await turn();
        return this.nodes.has(name);
      },
      podsOn: async (node) => {
        await turn();
        return new Map([...this.pods].filter(([, pod]) => pod.node === node));
      },
      pod: async (key) => {
        await turn();
        return this.pods.get(key);
      },
    };
    const collector = new Collector({
      client,
      live,
      ledger,
      log: silentLogger,
      time: { now: clock.now, random: this.random },
      grace: () => GRACE,
      sleep: async () => {},
    });
    const plain = this.client();
    const hear = async (what: Stream): Promise<void> => {
      switch (what) {
        case "nodes":
          ledger.nodes.clear();
          for (const node of this.nodes) ledger.nodes.add(node);
          return;
        case "pods":
          for (const key of [...ledger.pods.keys()]) if (!this.pods.has(key)) ledger.setPod(key, undefined);
          for (const [key, pod] of this.pods) ledger.setPod(key, pod);
          return;
        case "blocks":
          return told(plain, IPAMBlock, known.blocks, (name, block) => void ledger.setBlock(name, block));
        case "affinities":
          return told(plain, BlockAffinity, known.affinities, (name, one) => void ledger.setAffinity(name, one));
        case "handles":
          return told(plain, IPAMHandle, known.handles, (name, handle) => ledger.setHandle(name, handle));
      }
    };
    const known = { blocks: new Set<string>(), affinities: new Set<string>(), handles: new Set<string>() };
    const change = (work: () => void) => async (): Promise<void> => {
      await turn();
      work();
    };
    return {
      ipam,
      turn,
      add: async (pod, container) => {
        await turn();
        const bound = this.pods.get(pod);
        if (!bound || bound.node === "") return;
        const [namespace, name] = pod.split("/") as [string, string];
        const assigned = await ipam.autoAssign({
          num4: 1,
          host: bound.node,
          handle: container,
          use: "Workload",
          attributes: { pod: name, namespace, node: bound.node },
        });
        const { address } = assigned.v4[0]!;
        const other = this.held.get(address);
        if (other && this.isLive(other)) this.violations.push(`${address} of ${other.pod} was given to ${pod}`);
        await turn();
        // The patch is for the pod that the sandbox was made for.
        if (this.pods.get(pod)?.uid !== bound.uid) return;
        this.held.set(address, { pod, uid: bound.uid });
        this.pods.set(pod, { ...this.pods.get(pod)!, addresses: [address], reported: true });
      },
      tunnel: async (node) => {
        const handle = `vxlan-tunnel-addr-${node}`;
        const attributes = { node, type: "vxlanTunnelAddress" };
        const { v4 } = await ipam.autoAssign({ num4: 1, host: node, handle, use: "Tunnel", attributes });
        this.held.set(v4[0]!.address, { pod: node, uid: TUNNEL });
      },
      del: async (pod, container) => {
        await turn();
        const bound = this.pods.get(pod);
        const lost = bound?.addresses ?? [];
        for (const address of lost) if (this.held.get(address)?.uid === bound!.uid) this.held.delete(address);
        if (bound) this.pods.set(pod, { ...bound, addresses: [], finished: true });
        await ipam.releaseByHandle(container);
      },
      createPod: (pod, node) =>
        change(() => {
          if (this.pods.has(pod)) return;
          const uid = `uid-${this.#uid++}`;
          this.pods.set(pod, { key: pod, uid, node, addresses: [], reported: false, finished: false, unclear: false });
        })(),
      deletePod: (pod) => change(() => void this.pods.delete(pod))(),
      deleteNode: (node) => change(() => void this.nodes.delete(node))(),
      createNode: (node) => change(() => void this.nodes.add(node))(),
      hear: async (what) => {
        for (const stream of what ? [what] : STREAMS) {
          await turn();
          await hear(stream);
        }
      },
      reclaim: async (node) => {
        await collector.reclaimNode(node).catch(unlessRetried);
      },
      scan: async () => {
        await collector.scan().catch(unlessRetried);
      },
      wait: (milliseconds) => change(() => clock.advance(milliseconds / 1000))(),
    };
  }
}

/** A failure is tried again later; a crash ends the process. */
function unlessRetried(error: unknown): void {
  const failures = (error as { failures?: { error: unknown }[] }).failures?.map((one) => one.error) ?? [error];
  const crash = failures.find((one) => one instanceof Crashed);
  if (crash) throw crash;
  if (failures.some((one) => (one as { code?: string }).code !== "UNAVAILABLE")) throw error;
}

async function told<R extends Resource>(
  client: Client,
  kind: Kind<R>,
  known: Set<string>,
  tell: (name: string, resource: R | undefined) => void,
): Promise<void> {
  const { items } = await client.list(kind);
  const names = new Set(items.map(({ metadata }) => metadata.name));
  for (const name of known) if (!names.has(name)) tell(name, undefined);
  known.clear();
  for (const item of items) {
    tell(item.metadata.name, item);
    known.add(item.metadata.name);
  }
}

/** A player's process: stops at every step until it is told to go on. */
class Process {
  readonly #waiting: (() => void)[] = [];
  #rest: (() => void) | undefined;
  done = false;
  error: unknown;
  writes = 0;

  constructor(readonly faults: readonly FaultAt[]) {}

  readonly turn = (): Promise<void> =>
    new Promise((go) => {
      this.#waiting.push(go);
      this.#rest?.();
    });

  readonly hook = async ({ type }: StoreOperation): Promise<Fault> => {
    await this.turn();
    if (type === "read") return undefined;
    const number = this.writes++;
    return this.faults.find(({ write }) => write === number)?.fault;
  };

  start(work: Promise<void>): void {
    const end = (error?: unknown) => {
      this.done = true;
      this.error = error;
      this.#rest?.();
    };
    work.then(() => end(), end);
  }

  /** Resolves when it waits for its turn, or has ended. What goes on side by side within it is given time to get so far. */
  async atRest(): Promise<void> {
    if (!this.done && this.#waiting.length === 0)
      await new Promise<void>((resolve) => {
        this.#rest = resolve;
      });
    this.#rest = undefined;
  }

  go(): Promise<void> {
    this.#waiting.shift()!();
    return this.atRest();
  }
}

const POOL = "10.0.0.0/28";

/** Plays a scenario once. */
export async function run(scenario: Scenario, options: RunOptions): Promise<RunResult> {
  const world = new World(options.atomic);
  const plain = world.client();
  await addPool(plain, "pool", POOL, { blockSize: 30 });
  await scenario.setup(world.player(plain, async () => {}));
  const processes = scenario.players.map((play, index) => {
    const process = new Process((options.faults ?? []).filter(({ player }) => player === index));
    process.start(play(world.player(world.client(process.hook), process.turn)));
    return process;
  });
  await Promise.all(processes.map((process) => process.atRest()));
  const steps: { ready: number[]; chosen: number; current: number | undefined }[] = [];
  let last: number | undefined;
  for (;;) {
    const ready = [...processes.keys()].filter((index) => !processes[index]!.done);
    if (ready.length === 0) break;
    const current = last !== undefined && ready.includes(last) ? last : undefined;
    const chosen = options.choose(ready, current, steps.length);
    steps.push({ ready, chosen, current });
    if (steps.length > 3000) throw new Error(`${scenario.name}: no end after ${steps.length} steps`);
    await processes[chosen]!.go();
    last = chosen;
    await check(world, plain, "");
  }
  for (const { error } of processes)
    if (
      error !== undefined &&
      (error as Error).name !== "Crashed" &&
      (error as { code?: string }).code !== "UNAVAILABLE"
    )
      world.violations.push(`a player failed: ${error}`);
  await judge(world, plain);
  return { violations: world.violations, steps, writes: processes.map(({ writes }) => writes) };
}

/** At every moment: what a live pod was told it has is allocated, and to it. */
async function check(world: World, client: Client, when: string): Promise<void> {
  const now = await owners(client);
  for (const [address, held] of world.held) {
    if (world.isLive(held) && !now.has(address)) world.violations.push(`${when}${address} was taken from ${held.pod}`);
  }
}

/** In the end: another collector, which knows nothing of the first, gives back everything that no live pod has. */
async function judge(world: World, plain: Client): Promise<void> {
  const { violations } = world;
  const last = world.player(world.client(), async () => {});
  for (let round = 0; round < 4; round++) {
    await last.hear();
    for (const node of ["n1", "n2", "n3"]) await last.reclaim(node);
    await last.hear();
    await last.scan();
    await last.wait(GRACE);
  }
  await check(world, plain, "at the end: ");
  const live = [...world.held]
    .filter(([, held]) => world.isLive(held))
    .map(([address]) => address)
    .sort();
  // A pod that was never told is waited for.
  const waiting = new Set([...world.pods.values()].filter(({ reported }) => !reported).map(({ node }) => node));
  const kept = [...(await owners(plain)).keys()].sort();
  if (waiting.size === 0 && kept.join() !== live.join())
    violations.push(`at the end ${kept} are allocated, ${live} used`);
  violations.push(...(await contradictions(plain)).map((text) => `at the end: ${text}`));
  for (const row of await affinities(plain)) {
    const node = row.slice("host:".length).split(" ")[0]!;
    const isUsed = [...world.pods.values()].some((pod) => pod.node === node);
    if (!world.nodes.has(node) && !isUsed) violations.push(`at the end ${row} is left of a node that is gone`);
  }
}

/** Every schedule with at most `preemptions` preemptions, fewer first, up to `limit`. Answers how many were run. */
export async function explore(
  scenario: Scenario,
  options: Omit<RunOptions, "choose"> & { readonly preemptions: number; readonly limit: number },
  onViolation: (violations: readonly string[], schedule: readonly number[]) => void,
): Promise<number> {
  let level: { prefix: number[]; preempted: number }[] = [{ prefix: [], preempted: 0 }];
  let runs = 0;
  while (level.length > 0) {
    const next: typeof level = [];
    for (let entry = level.shift(); entry; entry = level.shift()) {
      if (runs >= options.limit) return runs;
      runs++;
      const { prefix, preempted } = entry;
      const { steps, violations } = await run(scenario, {
        ...options,
        choose: (ready, current, step) => prefix[step] ?? current ?? ready[0]!,
      });
      const schedule = steps.map(({ chosen }) => chosen);
      if (violations.length > 0) onViolation(violations, schedule);
      for (let step = prefix.length; step < steps.length; step++) {
        const { ready, chosen, current } = steps[step]!;
        for (const other of ready) {
          if (other === chosen) continue;
          const cost = preempted + (current === undefined ? 0 : 1);
          if (cost > options.preemptions) continue;
          (cost === preempted ? level : next).push({ prefix: [...schedule.slice(0, step), other], preempted: cost });
        }
      }
    }
    level = next;
  }
  return runs;
}
